//! Signals: a server that is told to end under load, and one that is stopped for a while.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    alone, descriptors_at_rest, expect_rest, is_long,
    support::{
        Frame, Peer, frame, numbered,
        process::{Process, cases},
    },
};

cases!(term_under_load, stopped_for_a_while);

/// Each client gets what was sent before its close frame, in order and without a gap, then 1001.
fn term_under_load(backend: &str) {
    let _alone = alone();
    let Some(mut process) = Process::start(backend, 1000) else { return };
    // Each in a thread of its own, so that all of them read at the same time, as clients do.
    let (ready, is_ready) = mpsc::channel();
    let echoes: Vec<_> = (0..30)
        .map(|_| {
            let (address, ready) = (process.address, ready.clone());
            thread::spawn(move || {
                let mut peer = Peer::real(address, None);
                peer.upgrade("/");
                let frames = (0..20_000).map(|number| frame(Frame::BINARY, &numbered(number, 500)));
                peer.pour(frames.flatten().collect());
                assert_eq!(peer.frame().payload, numbered(0, 500));
                ready.send(()).unwrap();
                read_to_farewell(&mut peer, |number| numbered(number + 1, 500))
            })
        })
        .collect();
    let mut readers: Vec<Peer> = (0..20).map(|_| process.open("/")).collect();
    for peer in &mut readers {
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
    }
    let mut slow = process.open_narrow("/");
    slow.text("send 200 1000");
    let mut writer = process.open("/");
    for number in 0..200 {
        writer.text(&format!("publish news {number}"));
    }
    (0..30).for_each(|_| is_ready.recv().unwrap());
    process.signal("TERM");
    for peer in &mut readers {
        read_to_farewell(peer, |number| number.to_string().into_bytes());
    }
    // All of it was sent before.
    assert_eq!(read_to_farewell(&mut slow, |number| numbered(number, 1000)), 200);
    drop(writer);
    let count: u32 = echoes.into_iter().map(|echo| echo.join().unwrap()).sum();
    assert!(process.has_ended_well(Duration::from_secs(8)), "it ends by itself");
    eprintln!("TERM, {backend}: {count} echoes until then, and none is missing");
}

/// Reads messages in their order, and then the farewell; returns how many there were.
#[track_caller]
fn read_to_farewell(peer: &mut Peer, expected: impl Fn(u32) -> Vec<u8>) -> u32 {
    for number in 0.. {
        let got = peer.frame();
        if got.opcode == Frame::CLOSE {
            assert_eq!(got.payload[..2], 1001_u16.to_be_bytes());
            peer.write_if_possible(&frame(Frame::CLOSE, &got.payload));
            return number;
        }
        assert_eq!(got.payload, expected(number));
    }
    unreachable!("no client gets so many")
}

/// A stop of more than twice the idle timeout: nobody is taken for dead, and nothing is lost.
fn stopped_for_a_while(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 2000) else { return };
    let base = descriptors_at_rest(&process);
    let mut peers: Vec<Peer> = (0..300).map(|_| process.open("/idle")).collect();
    for round in 0..if is_long() { 5 } else { 1 } {
        process.signal("STOP");
        for peer in peers.iter_mut().step_by(3) {
            for number in 0..10 {
                peer.binary(&numbered(number, 1000));
            }
        }
        thread::sleep(Duration::from_secs(5));
        process.signal("CONT");
        let start = Instant::now();
        for peer in peers.iter_mut().step_by(3) {
            for number in 0..10 {
                expect_binary(peer, &numbered(number, 1000));
            }
        }
        for peer in &mut peers {
            peer.binary(b"alive");
            expect_binary(peer, b"alive");
        }
        let time = start.elapsed();
        eprintln!("STOP and CONT {round}, {backend}: all are served after {time:?}");
        assert_eq!(process.websockets(), 300);
    }
    drop(peers);
    expect_rest(&process, base);
}

/// Answers pings until a message comes.
fn expect_binary(peer: &mut Peer, payload: &[u8]) {
    loop {
        let got = peer.frame();
        if got.opcode != Frame::PING {
            return assert_eq!((got.opcode, &got.payload[..]), (Frame::BINARY, payload));
        }
        peer.write(&frame(Frame::PONG, &got.payload));
    }
}
