//! Peers that begin and do not go on, and peers that send a byte now and then.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    HEADER_TIMEOUT, MAX_P99, alone, connect_from, descriptors_at_rest, expect_rest,
    has_descriptors, is_long, p99_beside,
    support::{
        Frame, frame, handshake,
        process::{Process, cases},
    },
};

cases!(half_open_handshakes, slow_senders);

/// 2,000 heads that are never completed: 4 KiB each is the bound, and their time is limited.
fn half_open_handshakes(backend: &str) {
    let _alone = alone();
    if !has_descriptors(4500) {
        return;
    }
    let Some(process) = Process::start(backend, 4000) else { return };
    let base = descriptors_at_rest(&process);
    let before = process.settled_memory();
    let half = &handshake("/", "")[..60];
    let start = Instant::now();
    let mut streams: Vec<TcpStream> = (0..2000)
        .map(|number| {
            let mut stream = connect_from(process.address, number);
            stream.write_all(half).unwrap();
            stream
        })
        .collect();
    let p99 = p99_beside(&process);
    let cost = process.settled_memory().saturating_sub(before);
    eprintln!("2,000 half-open, {backend}: p99 {p99:?} of the others, {} KiB", cost >> 10);
    assert!(p99 < MAX_P99, "{p99:?}");
    assert!(cost < 2000 * 4 << 10, "{cost}");
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(start.elapsed() > HEADER_TIMEOUT, "not before their time");
    drop(streams);
    expect_rest(&process, base);
}

/// 300 peers send a byte at a time: heads and bodies until their time is over, frames as long as
/// they like.
fn slow_senders(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 2000) else { return };
    let base = descriptors_at_rest(&process);
    let before = process.settled_memory();
    let head = handshake("/", "X-Padding: more and more\r\n");
    let body = [&b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"[..], &[7; 1000]];
    let message = frame(Frame::BINARY, &[8; 120]);
    let mut heads: Vec<TcpStream> = (0..100).map(|n| connect_from(process.address, n)).collect();
    let mut bodies: Vec<TcpStream> = (0..100).map(|n| connect_from(process.address, n)).collect();
    bodies.iter_mut().for_each(|stream| stream.write_all(body[0]).unwrap());
    let mut peers: Vec<_> = (0..100).map(|_| process.open("/")).collect();
    let start = Instant::now();
    let time = if is_long() { 20 } else { 5 };
    let (mut sent, mut p99) = (0, None);
    while start.elapsed() < Duration::from_secs(time) {
        // Those whose time is over may have been closed: that is not their error.
        heads.iter_mut().for_each(|stream| drop(stream.write(&head[sent % 100..][..1])));
        bodies.iter_mut().for_each(|stream| drop(stream.write(&body[1][..1])));
        peers.iter_mut().for_each(|peer| peer.write(&message[sent % message.len()..][..1]));
        sent += 1;
        if sent == 20 {
            p99 = Some(p99_beside(&process));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let (p99, cost) = (p99.unwrap(), process.settled_memory().saturating_sub(before));
    eprintln!("slow senders, {backend}: p99 {p99:?} of the others, {} KiB", cost >> 10);
    assert!(p99 < MAX_P99, "{p99:?}");
    assert!(cost < 300 * 8 << 10, "{cost}");
    for stream in heads.iter_mut().chain(&mut bodies) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = [0; 13];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408 ");
    }
    for peer in &mut peers {
        peer.write(&message[sent % message.len()..]);
        for _ in 0..=sent / message.len() {
            peer.expect_frame(Frame::BINARY, &[8; 120]);
        }
    }
    drop((heads, bodies, peers));
    expect_rest(&process, base);
}
