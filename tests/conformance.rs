//! The reactor's contract, kept by every backend that this machine has.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "the peers are ordinary blocking sockets")]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use sockeye::{
    base::{Key, Outbox},
    reactor::{Address, Completion, Config, EpollReactor, Listener, Reactor, Socket, UringReactor},
};

/// Accepts one connection under this key.
fn accept<R: Reactor<Listener = Listener, Socket = Socket>>(
    reactor: &mut R,
    key: Key,
) -> TcpStream {
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&address, 16).unwrap();
    let Address::Tcp(bound) = *listener.address() else { panic!("asked for TCP") };
    reactor.listen(0, listener).unwrap();
    let peer = TcpStream::connect(bound).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    loop {
        reactor.wait(Some(Duration::from_secs(5))).unwrap();
        if let Some(Completion::Accepted { socket, .. }) = reactor.next() {
            reactor.open(key, socket).unwrap();
            reactor.unlisten(0);
            return peer;
        }
    }
}

/// Echoes until the peer ends, then closes; returns what was received.
fn echo<R: Reactor>(reactor: &mut R, key: Key) -> usize {
    let (mut received, mut blocked, mut ended) = (0, false, false);
    let (mut reply, mut waiting) = (Outbox::default(), Outbox::default());
    loop {
        // Rule 5: what was sent before this wait is settled after it.
        let mut sent = false;
        let wait = if ended && !blocked { 0 } else { 5000 };
        reactor.wait(Some(Duration::from_millis(wait))).unwrap();
        while let Some(completion) = reactor.next() {
            match completion {
                Completion::Received { bytes, .. } => {
                    received += bytes.len();
                    reply.append(bytes);
                    if blocked {
                        waiting.append_outbox(std::mem::take(&mut reply));
                    } else {
                        reactor.send(key, &mut reply);
                        sent = true;
                    }
                }
                Completion::Unsent { rest, error, .. } => {
                    assert!(error.is_none(), "{error:?}");
                    blocked = true;
                    waiting.append_outbox(rest);
                }
                Completion::Writable { .. } => {
                    blocked = false;
                    reactor.send(key, &mut waiting);
                    sent = true;
                }
                Completion::Ended { error, .. } => {
                    assert!(error.is_none(), "{error:?}");
                    ended = true;
                }
                Completion::Closed { .. } => return received,
                other => panic!("{other:?}"),
            }
        }
        if ended && !sent && !blocked && waiting.is_empty() {
            reactor.close(key);
        }
    }
}

fn echoes_a_line<R: Reactor<Listener = Listener, Socket = Socket>>(reactor: &mut R) {
    let key = Key::new(3, 7);
    let mut peer = accept(reactor, key);
    peer.write_all(b"floor test").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(echo(reactor, key), 10);
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"floor test");
}

fn loses_nothing_to_a_slow_reader<R: Reactor<Listener = Listener, Socket = Socket>>(
    reactor: &mut R,
) {
    let key = Key::new(0, 1);
    let mut peer = accept(reactor, key);
    let sent: Vec<u8> = (0..20 << 20).map(|n: u32| (n % 251) as u8).collect();
    let expected = sent.clone();
    let client = std::thread::spawn(move || {
        let mut writer = peer.try_clone().unwrap();
        let write = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        write.join().unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        answer
    });
    assert_eq!(echo(reactor, key), expected.len());
    let answer = client.join().unwrap();
    let differs = answer.iter().zip(&expected).position(|(got, sent)| got != sent);
    assert_eq!((answer.len(), differs), (expected.len(), None));
}

#[test]
fn epoll_keeps_the_contract() {
    echoes_a_line(&mut EpollReactor::new(&Config::default()).unwrap());
    loses_nothing_to_a_slow_reader(&mut EpollReactor::new(&Config::default()).unwrap());
}

#[test]
fn uring_keeps_the_contract() {
    match UringReactor::new(&Config::default()) {
        Ok(mut reactor) => echoes_a_line(&mut reactor),
        Err(error) => return eprintln!("skipped: {error}"),
    }
    loses_nothing_to_a_slow_reader(&mut UringReactor::new(&Config::default()).unwrap());
}
