//! A TCP proxy of ours between client and server that delays, slices, stalls, resets and closes
//! halves. Whatever it does, bytes that arrive are the right ones, and nothing is left behind.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    alone, descriptors_at_rest, expect_rest, is_long,
    support::{
        End, Frame, Peer, close_payload, numbered,
        process::{Process, cases},
    },
};

cases!(
    bytes_are_late,
    bytes_come_one_by_one,
    bytes_stall,
    the_proxy_resets,
    the_proxy_closes_one_half,
);

/// What the proxy does to each direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Each piece waits so long.
    Delay(Duration),
    /// One byte at a time, each in a segment of its own.
    Slice,
    /// After so many bytes nothing moves for this time; then it goes on.
    Stall(usize, Duration),
    /// After so many bytes both sides are reset.
    Reset(usize),
    /// After so many bytes of the client its direction is ended; the other one goes on.
    HalfClose(usize),
}

/// Serves in threads of its own until the process ends.
fn proxy(server: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass(client, server, fault, true));
            thread::spawn(move || pass(back.0, back.1, fault, false));
        }
    });
    address
}

/// Passes bytes on in one direction until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, fault: Fault, is_upstream: bool) {
    let (mut bytes, mut passed) = ([0; 4096], 0);
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let result = match fault {
            Fault::Delay(time) => {
                thread::sleep(time);
                to.write_all(&bytes[..count])
            }
            Fault::Slice => bytes[..count].chunks(1).try_for_each(|byte| to.write_all(byte)),
            Fault::Stall(after, time) => {
                if passed < after && passed + count >= after {
                    thread::sleep(time);
                }
                to.write_all(&bytes[..count])
            }
            Fault::Reset(after) if is_upstream && passed + count >= after => {
                for stream in [&from, &to] {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                    // The other thread's descriptors go when it notices.
                    let _ = stream.shutdown(Shutdown::Read);
                }
                return;
            }
            Fault::HalfClose(after) if is_upstream && passed + count >= after => {
                let rest = after.saturating_sub(passed);
                let _ = to.write_all(&bytes[..rest]);
                break;
            }
            _ => to.write_all(&bytes[..count]),
        };
        if result.is_err() {
            break;
        }
        passed += count;
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Clients whose messages must come back as they were, whatever lies between.
fn echo_through(backend: &str, fault: Fault, clients: usize, count: u32, length: usize) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    let address = proxy(process.address, fault);
    let before = process.settled_memory();
    let mut peers: Vec<Peer> = (0..clients)
        .map(|_| {
            let mut peer = Peer::real(address, None);
            peer.upgrade("/");
            peer
        })
        .collect();
    for peer in &mut peers {
        for number in 0..count {
            peer.binary(&numbered(number, length));
        }
    }
    for peer in &mut peers {
        for number in 0..count {
            peer.expect_frame(Frame::BINARY, &numbered(number, length));
        }
        peer.close(1000, "");
    }
    for peer in &mut peers {
        peer.expect_frame(Frame::CLOSE, &close_payload(1000, ""));
        peer.expect_end(End::Fin);
    }
    drop(peers);
    expect_rest(&process, base);
    let cost = process.settled_memory().saturating_sub(before);
    // 64 KiB for each client is the bound.
    assert!(cost < (clients * 64 << 10) as u64, "{cost}");
}

fn bytes_are_late(backend: &str) {
    echo_through(backend, Fault::Delay(Duration::from_millis(30)), 20, 20, 2000);
}

fn bytes_come_one_by_one(backend: &str) {
    let count = if is_long() { 100 } else { 10 };
    echo_through(backend, Fault::Slice, 5, count, 700);
}

fn bytes_stall(backend: &str) {
    // Longer than the idle timeout would be, of a route that has none.
    let time = Duration::from_secs(if is_long() { 8 } else { 2 });
    echo_through(backend, Fault::Stall(5000, time), 20, 20, 1000);
}

/// Resets in the middle of handshakes, headers and messages.
fn the_proxy_resets(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    for after in [1, 100, 200, 203, 210, 1000, 5000, 20_000] {
        let address = proxy(process.address, Fault::Reset(after));
        for _ in 0..10 {
            let mut peer = Peer::real(address, None);
            peer.write_if_possible(&crate::support::handshake("/", ""));
            for number in 0..20 {
                let message = crate::support::frame(Frame::BINARY, &numbered(number, 1000));
                peer.write_if_possible(&message);
            }
            let _ = peer.read_to_end();
        }
    }
    expect_rest(&process, base);
}

/// The client's direction ends in the middle of its third message: what it sent before is
/// answered, and the connection ends.
fn the_proxy_closes_one_half(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    let request = crate::support::handshake("/", "");
    let message = crate::support::frame(Frame::BINARY, &numbered(7, 1000));
    let address = proxy(process.address, Fault::HalfClose(request.len() + message.len() * 5 / 2));
    for _ in 0..20 {
        let mut peer = Peer::real(address, None);
        peer.upgrade("/");
        peer.write_if_possible(&message.repeat(4));
        peer.expect_frame(Frame::BINARY, &numbered(7, 1000));
        peer.expect_frame(Frame::BINARY, &numbered(7, 1000));
        // Our fourth message may have met a closed socket of the proxy.
        assert_eq!(peer.read_to_end().0, b"");
    }
    expect_rest(&process, base);
}
