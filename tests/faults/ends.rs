//! Connections that end in every way but the polite one, and very many that come and go.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    alone, connect_from, descriptors_at_rest, expect_rest, is_long,
    support::{
        Frame, close_payload, frame, get, handshake, numbered,
        process::{Process, cases},
    },
};

cases!(ends_at_any_point, very_many_come_and_go);

/// What a client may have said when it ends.
fn beginnings() -> Vec<Vec<u8>> {
    let open = handshake("/", "");
    let message = frame(Frame::BINARY, &numbered(1, 3000));
    let first_half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let part = crate::support::frame_of(0x01, b"a fragment");
    vec![
        Vec::new(),
        first_half(&open),
        open.clone(),
        [&open[..], &message[..1]].concat(),
        [open.clone(), first_half(&message)].concat(),
        [open.clone(), message.clone(), first_half(&message)].concat(),
        [open.clone(), part].concat(),
        [open, frame(Frame::TEXT, b"subscribe news")].concat(),
        get("/websockets", "").repeat(3),
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome".to_vec(),
    ]
}

/// FIN without a close frame, a reset, and a closed socket, each at ten points, 20 times.
fn ends_at_any_point(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 2000) else { return };
    let base = descriptors_at_rest(&process);
    for end in ["fin", "reset", "close"] {
        let mut streams = Vec::new();
        for (number, bytes) in beginnings().iter().cycle().take(200).enumerate() {
            let mut stream = connect_from(process.address, number);
            stream.write_all(bytes).unwrap();
            streams.push(stream);
        }
        for mut stream in streams {
            match end {
                "fin" => {
                    stream.shutdown(Shutdown::Write).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    // What it has to say still comes, and then it ends, too.
                    stream.read_to_end(&mut Vec::new()).unwrap();
                }
                "reset" => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
                _ => {}
            }
        }
        expect_rest(&process, base);
    }
}

fn come_and_go(mut stream: TcpStream, number: usize) {
    let expect = |bytes: &[u8], stream: &mut TcpStream| {
        let mut got = vec![0; bytes.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
    };
    match number % 5 {
        0 => return,
        1 => {
            stream.write_all(&get("/websockets", "Connection: close\r\n")).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            return assert!(answer.starts_with(b"HTTP/1.1 200 "));
        }
        _ => stream.write_all(&handshake("/", "")).unwrap(),
    }
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    let small = u8::try_from(number % 100).unwrap();
    stream.write_all(&frame(Frame::BINARY, &[small; 3])).unwrap();
    expect(&[0x82, 3, small, small, small], &mut stream);
    match number % 5 {
        2 => {
            stream.write_all(&frame(Frame::CLOSE, &close_payload(1000, ""))).unwrap();
            expect(&[0x88, 2, 3, 0xe8], &mut stream);
            assert_eq!(stream.read(&mut byte).unwrap(), 0);
        }
        3 => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        _ => {}
    }
}

/// 5,000 connections (100,000 if there is time): the second half costs no memory, 512 KiB is
/// the bound.
fn very_many_come_and_go(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    let count = if is_long() { 100_000 } else { 5000 };
    let (start, mut memory) = (Instant::now(), Vec::new());
    for half in 0..2 {
        for number in 0..count / 2 {
            come_and_go(connect_from(process.address, half * count / 2 + number), number);
        }
        expect_rest(&process, base);
        memory.push(process.settled_memory());
    }
    eprintln!(
        "{count} connections, {backend}: {:.1?}, {} and {} KiB",
        start.elapsed(),
        memory[0] >> 10,
        memory[1] >> 10
    );
    assert!(memory[1] <= memory[0] + (512 << 10), "{memory:?}");
}
