//! Server-sent events, from the same topics as WebSockets.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use sockeye::{
    Address, App, Backend, Event, EventStream, Limits, Message, Request, Response, Running, Server,
    Upgrade, WebSocket, WebSocketHandler,
};

use crate::bed::{connect, head, on_each_backend, rest, talk};

struct Listener;

impl WebSocketHandler for Listener {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, ()>) {
        socket.subscribe("news").unwrap();
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        socket.publish("news", message);
    }
}

fn app() -> App {
    let events = |request: &Request<'_>| {
        let mut stream = EventStream::new().topic("news").retry(Duration::from_millis(1500));
        if let Some(last) = request.header("Last-Event-ID") {
            stream = stream.event(&Event::new("again").id(last));
        }
        Response::events(stream)
    };
    let quick = |_: &Request<'_>| {
        Response::events(EventStream::new().heartbeat(Duration::from_millis(100)))
    };
    App::new().get("/events", events).get("/quick", quick).websocket("/ws", Listener)
}

fn open_stream(address: SocketAddr, fields: &str) -> TcpStream {
    let mut peer = connect(address);
    let request = format!("GET /events HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    peer.write_all(request.as_bytes()).unwrap();
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
        Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n";
    assert_eq!(head(&mut peer), expected);
    expect(&mut peer, "retry: 1500\n\n");
    peer
}

fn open_socket(address: SocketAddr) -> TcpStream {
    let mut peer = connect(address);
    peer.write_all(
        b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    .unwrap();
    assert!(head(&mut peer).starts_with("HTTP/1.1 101 "));
    peer
}

fn expect(peer: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

fn wait_until(running: &Running, what: impl Fn(&Running) -> bool) {
    let start = Instant::now();
    while !what(running) {
        let stats = running.remote().total_stats();
        assert!(start.elapsed() < Duration::from_secs(5), "it does not come to pass: {stats:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_publish_reaches_event_streams_and_sockets() {
    on_each_backend(&Limits::default(), app, |address, running| {
        let mut stream = open_stream(address, "");
        let mut late = open_stream(address, "Last-Event-ID: 41\r\n");
        expect(&mut late, "id: 41\ndata: again\n\n");
        let mut socket = open_socket(address);
        let mut other = open_socket(address);
        let remote = running.remote();
        remote.publish("news", "one\ntwo").unwrap();
        remote.publish_event("news", &Event::new("three").id("3").name("count")).unwrap();
        for stream in [&mut stream, &mut late] {
            expect(stream, "data: one\ndata: two\n\nid: 3\nevent: count\ndata: three\n\n");
        }
        let mut frame = [0; 16];
        socket.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x81\x07one\ntwo\x81\x05three");
        // What a socket publishes goes to the streams and the other sockets.
        socket.write_all(b"\x81\x82\0\0\0\0hi").unwrap();
        expect(&mut stream, "data: hi\n\n");
        let mut frame = [0; 20];
        other.read_exact(&mut frame).unwrap();
        assert!(frame.ends_with(b"\x81\x02hi"));
        // Binary messages do not show.
        socket.write_all(b"\x82\x81\0\0\0\0\xff\x81\x81\0\0\0\0x").unwrap();
        expect(&mut stream, ":\n\ndata: x\n\n");
    });
}

#[test]
fn streams_live_as_long_as_their_clients() {
    on_each_backend(&Limits::default(), app, |address, running| {
        let mut quick = connect(address);
        quick.write_all(b"GET /quick HTTP/1.0\r\n\r\n").unwrap();
        head(&mut quick);
        expect(&mut quick, ":\n\n:\n\n:\n\n");
        let head = talk(address, b"HEAD /events HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(head.ends_with("Connection: close\r\n\r\n"), "{head}");
        // A client that ends its direction has gone.
        quick.shutdown(Shutdown::Write).unwrap();
        rest(&mut quick);
        let stream = open_stream(address, "");
        wait_until(running, |running| running.remote().total_stats().connections == 1);
        drop(stream);
        wait_until(running, |running| running.remote().total_stats().connections == 0);
        // A server that ends lets them go.
        let mut stream = open_stream(address, "");
        running.remote().shutdown(Duration::from_secs(5));
        assert_eq!(rest(&mut stream), "");
    });
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let limits = Limits { max_event_backpressure: 10_000, ..Limits::default() };
    on_each_backend(&limits, app, |address, running| {
        let mut slow = open_stream(address, "");
        let remote = running.remote();
        wait_until(running, |running| running.remote().total_stats().connections == 1);
        let text = "x".repeat(5_000);
        for _ in 0..100_000 {
            if remote.total_stats().connections == 0 {
                break;
            }
            let _ = remote.publish("news", &*text);
            thread::sleep(Duration::from_micros(100));
        }
        wait_until(running, |running| running.remote().total_stats().connections == 0);
        assert!(remote.total_stats().dropped_messages > 0);
        let mut bytes = Vec::new();
        let _ = slow.read_to_end(&mut bytes);
        // It comes back, and nobody else has noticed.
        let mut again = open_stream(address, "");
        remote.publish("news", "on").unwrap();
        expect(&mut again, "data: on\n\n");
    });
}

#[test]
fn a_client_that_reads_gets_a_burst_of_any_size() {
    on_each_backend(&Limits::default(), app, |address, running| {
        let mut stream = open_stream(address, "");
        for (count, length) in [(100, 1000), (3000, 1000), (2, 1 << 20), (3000, 5000)] {
            let total = count * (length + "data: \n\n".len());
            let mut reader = stream.try_clone().unwrap();
            // The turn may take its time, where tests are slow.
            reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let reading = thread::spawn(move || {
                let mut bytes = vec![0; total];
                reader.read_exact(&mut bytes).map(|()| bytes)
            });
            // In one turn.
            let publish = move |context: &mut sockeye::Context<'_>| {
                let text = "x".repeat(length);
                for _ in 0..count {
                    context.publish("news", &*text);
                }
            };
            running.remote().run_on(0, publish).unwrap();
            let bytes = reading.join().unwrap().expect("all of it arrives");
            assert!(bytes.ends_with(b"x\n\n"));
            let stats = running.remote().total_stats();
            assert_eq!(stats.dropped_messages, 0, "{count} of {length}");
        }
        expect_nothing_more(&mut stream, running);
    });
}

fn expect_nothing_more(stream: &mut TcpStream, running: &Running) {
    running.remote().shutdown(Duration::from_secs(5));
    assert_eq!(rest(stream), "");
}

#[test]
fn streams_of_all_workers_hear_what_a_socket_publishes() {
    for backend in [Backend::Epoll, Backend::Uring] {
        let server = Server::new(app).backend(backend).workers(3).listen("127.0.0.1:0");
        let running = match server.start() {
            Ok(running) => running,
            Err(error) if backend == Backend::Uring => return eprintln!("skipped: {error}"),
            Err(error) => panic!("{error}"),
        };
        let Address::Tcp(address) = running.addresses()[0] else { panic!("not TCP") };
        let mut streams: Vec<_> = (0..24).map(|_| open_stream(address, "")).collect();
        let per_worker = running.remote().stats();
        assert!(per_worker.iter().filter(|stats| stats.requests > 0).count() > 1, "on several");
        // What a stream's worker has told the others holds before the stream hears of it.
        let mut socket = open_socket(address);
        socket.write_all(b"\x81\x82\0\0\0\0hi\x81\x82\0\0\0\0ho").unwrap();
        for stream in &mut streams {
            expect(stream, "data: hi\n\ndata: ho\n\n");
        }
        let event = Event::new("third").id("3");
        running.remote().run_on(0, move |context| context.publish_event("news", &event)).unwrap();
        for stream in &mut streams {
            expect(stream, "id: 3\ndata: third\n\n");
        }
    }
}
