//! Slow clients: each part of a request has its time.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use sockeye::{App, HttpExchange, HttpHandler, Limits, Reply, Request, Response};

use crate::bed::{connect, on_each_backend, response, rest};

struct Count;

impl HttpHandler for Count {
    type Data = usize;

    fn max_body_bytes(&self) -> Option<u64> {
        Some(1 << 30)
    }

    fn request(&mut self, _: &Request<'_>) -> Reply<usize> {
        Reply::receive(0)
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, usize>, piece: &[u8]) {
        *exchange.data() += piece.len();
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, usize>) {
        let count = exchange.data().to_string();
        exchange.respond(Response::text(count));
    }
}

fn app() -> App {
    App::new()
        .get("/", |_| Response::text("hello"))
        .post("/body", |_, body| Response::text(body.len().to_string()))
        .stream("PUT", "/", Count)
}

fn limits() -> Limits {
    let millis = Duration::from_millis;
    Limits {
        header_timeout: millis(300),
        keep_alive_timeout: millis(400),
        body_timeout: millis(500),
        ..Limits::default()
    }
}

#[test]
fn a_head_and_a_body_that_drip_meet_their_deadlines() {
    let head =
        b"GET / HTTP/1.1\r\nHost: h\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n";
    let body =
        b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nxxxxxxxxxxxxxxxxxxxxxx";
    on_each_backend(&limits(), app, |address, _| {
        for (bytes, quick, millis) in [(&head[..], 1, 300), (&body[..], 60, 500)] {
            let mut peer = connect(address);
            let start = Instant::now();
            peer.write_all(&bytes[..quick]).unwrap();
            let mut writer = peer.try_clone().unwrap();
            let drip = bytes[quick..].to_vec();
            let dripping = thread::spawn(move || {
                for byte in drip.chunks(1) {
                    thread::sleep(Duration::from_millis(30));
                    if writer.write_all(byte).is_err() {
                        break;
                    }
                }
            });
            let answer = response(&mut peer);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            assert!(answer.contains("Connection: close"), "{answer}");
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(millis), "{took:?}");
            assert!(took < Duration::from_millis(millis + 600), "{took:?}");
            drop(peer);
            dripping.join().unwrap();
        }
    });
}

#[test]
fn who_says_nothing_is_closed_without_a_word() {
    on_each_backend(&limits(), app, |address, _| {
        for request in ["", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
            let mut peer = connect(address);
            peer.write_all(request.as_bytes()).unwrap();
            let start = Instant::now();
            if !request.is_empty() {
                assert!(response(&mut peer).ends_with("hello"));
            }
            assert_eq!(rest(&mut peer), "");
            assert!(start.elapsed() >= Duration::from_millis(290));
            assert!(start.elapsed() < Duration::from_secs(2));
        }
    });
}

#[test]
fn a_body_that_moves_may_take_longer_than_its_deadline() {
    on_each_backend(&limits(), app, |address, _| {
        let mut peer = connect(address);
        let pieces = 10;
        let length = pieces * (64 << 10);
        let head = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        peer.write_all(head.as_bytes()).unwrap();
        let start = Instant::now();
        for _ in 0..pieces {
            thread::sleep(Duration::from_millis(100));
            peer.write_all(&vec![b'x'; 64 << 10]).unwrap();
        }
        assert!(response(&mut peer).ends_with(&format!("\r\n\r\n{length}")));
        assert!(start.elapsed() > Duration::from_millis(900));
    });
}
