//! Every scenario, against a server that blocks, has a thread for each connection, and errs on
//! demand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "the server is an ordinary blocking one")]

use std::{
    io::{IoSlice, Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use clap::Parser;
use loadgen::{Error, Limit, Options, Report};
use sockeye::{
    App, Message, Request, Response, Upgrade, WebSocket, WebSocketHandler,
    base::Outbox,
    http::{self, HeaderSlots},
    on_message,
    ws::{Decoder, Event, Limits, Opcode, Opening, Role, append_close, append_frame},
};

/// What the server does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Echo,
    /// Echoes, with pings before and in the middle of each message, and in two fragments.
    EchoOddly,
    /// Passes each message on to all other connections.
    Broadcast,
    /// Changes a byte of message 100.
    Change,
    /// Swaps messages 100 and 101.
    Swap,
    /// Loses message 100.
    Lose,
    /// Sends message 100 twice.
    Repeat,
    /// Closes the connection that sent message 100.
    Close,
    /// Refuses to open WebSockets.
    Refuse,
}

#[derive(Debug)]
struct Server {
    habit: Habit,
    // Messages received.
    messages: AtomicUsize,
    requests: AtomicUsize,
    pongs: AtomicUsize,
    closes: AtomicUsize,
    streams: Mutex<Vec<Arc<Mutex<TcpStream>>>>,
}

impl Server {
    fn start(habit: Habit) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Arc::new(Self {
            habit,
            messages: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            pongs: AtomicUsize::new(0),
            closes: AtomicUsize::new(0),
            streams: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&server);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, stream) = (Arc::clone(&accepting), stream.unwrap());
                std::thread::spawn(move || server.serve(stream));
            }
        });
        (server, address)
    }

    /// A connection that breaks is the generator's right.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let writer = Arc::new(Mutex::new(stream.try_clone().ok()?));
        let mut input = [0; 4096];
        let mut requests = http::Decoder::default();
        loop {
            let count = stream.read(&mut input).ok().filter(|count| *count > 0)?;
            let mut rest = &mut input[..count];
            while !rest.is_empty() {
                let mut slots = HeaderSlots::new();
                let step = requests.next(rest, &mut slots, &http::Limits::default()).ok()?;
                let consumed = step.consumed;
                if let Some(http::Event::Request(head)) = step.event {
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    let answer = self.answer(&head);
                    let opens = answer.starts_with("HTTP/1.1 101");
                    // Nothing is broadcast in between: who has been answered gets it.
                    let mut streams = self.streams.lock().unwrap();
                    writer.lock().unwrap().write_all(answer.as_bytes()).ok()?;
                    if opens {
                        streams.push(Arc::clone(&writer));
                        drop(streams);
                        return self.serve_websocket(stream, &writer);
                    }
                }
                rest = &mut rest[consumed..];
            }
        }
    }

    fn answer(&self, head: &http::RequestHead<'_>) -> String {
        if !Opening::is_asked_for(head) {
            let number = self.requests.load(Ordering::Relaxed) % 60;
            return format!(
                "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:{number:02} GMT\r\n\
                 Content-Length: 5\r\n\r\nhello"
            );
        }
        if self.habit == Habit::Refuse {
            return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into();
        }
        let accept = Opening::read(head).unwrap().accept();
        let accept = std::str::from_utf8(accept.as_bytes()).unwrap();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }

    fn serve_websocket(&self, mut stream: TcpStream, own: &Arc<Mutex<TcpStream>>) -> Option<()> {
        let limits = Limits { max_payload_length: 1 << 20, ..Limits::default() };
        let mut decoder = Decoder::new(Role::Server);
        let mut input = vec![0; 64 << 10];
        let mut held = None;
        loop {
            let count = stream.read(&mut input).ok().filter(|count| *count > 0)?;
            let mut start = 0;
            let mut output = Outbox::default();
            let mut ends = false;
            loop {
                let step = decoder.next(&mut input[start..count], &limits).unwrap();
                start += step.consumed;
                match step.event {
                    None => break,
                    Some(Event::Message(message)) => {
                        let (opcode, bytes) = (message.opcode(), message.as_bytes());
                        if !self.message(opcode, bytes, own, &mut output, &mut held) {
                            ends = true;
                        }
                    }
                    Some(Event::Pong(_)) => {
                        self.pongs.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Event::Close(status)) => {
                        self.closes.fetch_add(1, Ordering::Relaxed);
                        append_close(&mut output, status, None);
                        ends = true;
                    }
                    Some(_) => {}
                }
            }
            while !output.is_empty() {
                let mut slices = [IoSlice::new(&[]); 16];
                let count = output.slices(&mut slices);
                let written = own.lock().unwrap().write_vectored(&slices[..count]).ok()?;
                output.advance(written);
            }
            if ends {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                self.streams.lock().unwrap().retain(|stream| !Arc::ptr_eq(stream, own));
                return None;
            }
        }
    }

    /// Does with a message what is the server's habit. False: end the connection.
    fn message(
        &self,
        opcode: Opcode,
        payload: &[u8],
        own: &Arc<Mutex<TcpStream>>,
        output: &mut Outbox,
        held: &mut Option<Vec<u8>>,
    ) -> bool {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let is_chosen = number == 100;
        let mut echo = |payload: &[u8]| append_frame(output, true, opcode, payload, None);
        if let Some(held) = held.take() {
            echo(payload);
            echo(&held);
            return true;
        }
        match self.habit {
            Habit::EchoOddly => {
                let half = payload.len() / 2;
                append_frame(output, true, Opcode::Ping, b"before", None);
                append_frame(output, false, opcode, &payload[..half], None);
                append_frame(output, true, Opcode::Ping, b"between", None);
                append_frame(output, true, Opcode::Continuation, &payload[half..], None);
            }
            Habit::Broadcast => {
                let mut frame = Outbox::default();
                append_frame(&mut frame, true, opcode, payload, None);
                for stream in self.streams.lock().unwrap().iter() {
                    if !Arc::ptr_eq(stream, own) {
                        let _ = stream.lock().unwrap().write_all(frame.contiguous().unwrap());
                    }
                }
            }
            Habit::Change if is_chosen => {
                let mut changed = payload.to_vec();
                changed[payload.len() / 2] ^= 1;
                echo(&changed);
            }
            Habit::Swap if is_chosen => *held = Some(payload.to_vec()),
            Habit::Lose if is_chosen => {}
            Habit::Repeat if is_chosen => {
                echo(payload);
                echo(payload);
            }
            Habit::Close if is_chosen => {
                append_close(output, None, None);
                return false;
            }
            _ => echo(payload),
        }
        true
    }
}

/// Runs the generator as from a command line, for a fraction of a second.
fn run(scenario: &str, address: &str, arguments: &str) -> Result<Report, Error> {
    let line = format!("loadgen {scenario} {address} -w 50ms -d 250ms --patience 2s {arguments}");
    let options = Options::try_parse_from(line.split_whitespace()).expect("good arguments");
    loadgen::run(&options.scenario)
}

/// The backends that this machine has.
fn backends() -> Vec<&'static str> {
    let config = sockeye::reactor::Config::default();
    match sockeye::reactor::UringReactor::probe(&config) {
        Ok(()) => vec!["--backend uring", "--backend epoll"],
        Err(error) => {
            eprintln!("io_uring skipped: {error}");
            vec!["--backend epoll"]
        }
    }
}

#[test]
fn echoes_are_counted() {
    for backend in backends() {
        for arguments in ["-c 5", "-c 3 -n 8 -s 4 -t", "-c 2 -n 5 -s 1 -p 0", "-c 2 -p 200000"] {
            let (server, address) = Server::start(Habit::Echo);
            let pid = std::process::id();
            let arguments = format!("{arguments} {backend} --pid {pid}");
            let report = run("echo", &format!("ws://{address}"), &arguments).unwrap();
            let load = report.load.expect("a load");
            let count = server.messages.load(Ordering::Relaxed);
            // The server has counted the warm-up too, and what was under way at the end.
            assert!(load.count > 100 || arguments.contains("200000"), "{arguments}: {load:?}");
            assert!(load.count > 0 && load.count <= count as u64, "{arguments}: {load:?}");
            assert!((0.24..1.0).contains(&load.seconds), "{load:?}");
            assert!(load.latency.p50 > 0.0 && load.latency.p50 <= load.latency.max, "{load:?}");
            let server = load.server.expect("a process");
            assert!(server.resident_bytes > 1 << 20, "{server:?}");
            assert!(load.generator.busy > 0.0, "{:?}", load.generator);
        }
    }
}

#[test]
fn threads_share_the_load() {
    for (scenario, arguments) in [
        ("echo", "-c 5 --threads 2 -n 2"),
        ("echo", "-c 4 --threads 4 --rate 1000"),
        ("http", "-c 3 --threads 2"),
        ("connect", "-c 3 --threads 3"),
    ] {
        let (server, address) = Server::start(Habit::Echo);
        let load = run(scenario, &format!("ws://{address}"), arguments).unwrap().load.unwrap();
        let requests = server.requests.load(Ordering::Relaxed) as u64;
        let messages = server.messages.load(Ordering::Relaxed) as u64;
        assert!(load.count > 10 && load.count <= requests.max(messages), "{arguments}: {load:?}");
        assert!(load.generator.busy < 1.1, "{load:?}");
        if arguments.contains("rate") {
            assert!((700.0..1300.0).contains(&load.per_second), "{load:?}");
        }
    }
    let (_, address) = Server::start(Habit::Echo);
    for arguments in ["-c 3 --threads 4", "--threads 2 --cpu 4000"] {
        assert!(run("echo", &format!("ws://{address}"), arguments).is_err(), "{arguments}");
    }
    assert!(run("idle", &format!("ws://{address}"), "-c 3 --threads 2").is_err());
}

/// Passes each message on within the path that its socket asked for.
struct Rooms;

impl WebSocketHandler for Rooms {
    type Data = Rc<str>;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Rc<str>> {
        Upgrade::accept(request.path().into())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, Rc<str>>) {
        let room = socket.data().clone();
        socket.subscribe(&room).unwrap();
    }

    fn message(&mut self, socket: &mut WebSocket<'_, Rc<str>>, message: Message<'_>) {
        let room = socket.data().clone();
        socket.publish(&room, message);
    }
}

#[test]
fn rooms_hear_their_own_publishers_only() {
    let server = sockeye::Server::new(|| App::new().websocket("/room/*", Rooms));
    let server = server.workers(1).listen("127.0.0.1:0").start().unwrap();
    let url = format!("ws://{}", server.addresses()[0]);
    for arguments in ["-c 12 --rooms 4", "-c 9 --rooms 3 --publishers 2 -n 4 -s 2"] {
        let load = run("broadcast", &url, arguments).unwrap().load.unwrap();
        assert!(load.count > 100, "{arguments}: {load:?}");
    }
    let error = run("broadcast", &url, "-c 10 --rooms 4").unwrap_err().to_string();
    assert!(error.contains("--rooms"), "{error}");
    server.remote().shutdown(std::time::Duration::ZERO);
    server.join().unwrap();
}

/// What `loadgen mixed` wants of a server; it errs about this message, if there is one.
fn mixed_server(wrong: Option<&'static str>) -> sockeye::Running {
    let counter = Arc::new(AtomicUsize::new(0));
    let is_wrong =
        move |what| wrong == Some(what) && counter.fetch_add(1, Ordering::Relaxed) == 100;
    let app = move || {
        let (in_echo, in_body) = (is_wrong.clone(), is_wrong.clone());
        let echo = move |socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
            let is_wrong = in_echo("echo");
            socket.send(if is_wrong { Message::Binary(b"something else") } else { message });
        };
        let body = move |_: &Request<'_>, body: &[u8]| {
            let body = if in_body("body") { b"something else" } else { body };
            Response::new(sockeye::Status::OK).body("application/octet-stream", body.to_vec())
        };
        App::new()
            .with_body("*", "/echo", 1 << 20, body)
            .websocket("/ws", on_message(echo))
            .websocket("/room/*", Rooms)
    };
    sockeye::Server::new(app).workers(2).listen("127.0.0.1:0").start().unwrap()
}

#[test]
fn everything_goes_on_at_once_and_is_checked() {
    for backend in backends() {
        let server = mixed_server(None);
        let url = format!("ws://{}", server.addresses()[0]);
        for arguments in ["-c 40", "-c 1", "-c 25 -p 0 --think 0", "-c 12 --seed 3 -p 1000"] {
            let arguments = format!("{arguments} {backend}");
            let load = run("mixed", &url, &arguments).unwrap().load.unwrap();
            assert!(load.count > 5, "{arguments}: {load:?}");
        }
        let stats = server.remote().total_stats();
        assert!(stats.published > 0 && stats.deliveries > stats.published, "{stats:?}");
        assert_eq!((stats.protocol_errors, stats.bad_requests, stats.dropped_messages), (0, 0, 0));
        for what in ["echo", "body"] {
            let server = mixed_server(Some(what));
            let url = format!("ws://{}", server.addresses()[0]);
            let error = run("mixed", &url, &format!("-c 20 -d 9s {backend}")).unwrap_err();
            assert!(matches!(error, Error::Wrong { .. }), "{error}");
        }
        let error = run("soak", &url, &format!("-c 20 {backend}")).unwrap_err().to_string();
        assert!(error.contains("--pid"), "{error}");
    }
}

/// A server without a protocol, which changes the byte with this number.
fn raw_server(changed: Option<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let (mut bytes, mut total) = ([0; 4096], 0_usize);
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let at = changed.and_then(|at| at.checked_sub(total));
                    if let Some(byte) = at.and_then(|at| bytes[..count].get_mut(at)) {
                        *byte ^= 1;
                    }
                    total += count;
                    if stream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn bytes_without_a_protocol_are_echoed_and_checked() {
    for (payload, options) in [("1", ""), ("20", "-n 8 -s 4"), ("70000", ""), ("20", "-r 500")] {
        let arguments = format!("--raw -c 3 -p {payload} {options}");
        let report = run("echo", &format!("ws://{}", raw_server(None)), &arguments).unwrap();
        assert!(report.load.unwrap().count > 20, "{arguments}");
    }
    let url = format!("ws://{}", raw_server(Some(30)));
    let error = run("echo", &url, "--raw -p 20 -c 1").unwrap_err();
    assert!(matches!(&error, Error::Wrong { what, .. } if what.contains("byte 10")), "{error}");
}

#[test]
fn a_rate_is_kept() {
    for backend in backends() {
        let (_, address) = Server::start(Habit::Echo);
        let arguments = format!("-c 4 --rate 2000 {backend}");
        let report = run("echo", &format!("ws://{address}"), &arguments).unwrap();
        let load = report.load.unwrap();
        assert!((1500.0..2500.0).contains(&load.per_second), "{load:?}");
        assert!(load.generator.mean_lateness_us.is_some());
        assert_ne!(load.limit, Limit::Server);
    }
}

#[test]
fn pings_are_answered_and_fragments_understood() {
    let (server, address) = Server::start(Habit::EchoOddly);
    let report = run("echo", &format!("ws://{address}"), "-c 3 -t -p 100 -n 2").unwrap();
    assert!(report.load.unwrap().count > 100);
    assert!(server.pongs.load(Ordering::Relaxed) > 200);
}

#[test]
fn wrong_echoes_are_detected() {
    for backend in backends() {
        let outcome = |habit, arguments: &str| {
            let (_, address) = Server::start(habit);
            run("echo", &format!("ws://{address}"), &format!("-d 9s {arguments} {backend}"))
                .unwrap_err()
        };
        for arguments in ["-c 3", "-c 2 -n 16 -s 16", "-c 2 -p 300 -t"] {
            let error = outcome(Habit::Change, arguments);
            let text = error.to_string();
            // Text with another byte may be no text at all.
            assert!(matches!(error, Error::Wrong { .. } | Error::Protocol { .. }), "{text}");
            assert!(text.contains("byte ") || text.contains("UTF-8"), "{text}");
            let error = outcome(Habit::Repeat, arguments);
            assert!(matches!(error, Error::Wrong { .. }), "{error}");
            let error = outcome(Habit::Close, arguments);
            assert!(matches!(error, Error::Ended { .. }), "{error}");
        }
        let error = outcome(Habit::Swap, "-c 2 -n 16 -s 16");
        assert!(matches!(error, Error::Wrong { .. }), "{error}");
        let error = outcome(Habit::Lose, "-c 2 -n 16");
        assert!(matches!(error, Error::Wrong { .. }), "{error}");
        let error = outcome(Habit::Lose, "-c 1 --patience 300ms");
        assert!(matches!(error, Error::Silent { due: 1, .. }), "{error}");
        let error = outcome(Habit::Refuse, "");
        assert!(matches!(error, Error::Refused(http::Status::NOT_FOUND)), "{error}");
    }
}

#[test]
fn every_delivery_of_a_broadcast_is_counted() {
    for backend in backends() {
        for arguments in ["", "-n 8 -s 4 -p 300", "--publishers 3 -n 6 -t"] {
            let (server, address) = Server::start(Habit::Broadcast);
            let url = format!("ws://{address}");
            let arguments = format!("-c 7 {arguments} --publisher-url {url}/other {backend}");
            let load = run("broadcast", &url, &arguments).unwrap().load.unwrap();
            let published = server.messages.load(Ordering::Relaxed) as u64;
            assert!(load.count > 100 && load.count <= 7 * published, "{arguments}: {load:?}");
        }
    }
    let (_, address) = Server::start(Habit::Echo);
    let error =
        run("broadcast", &format!("ws://{address}"), "-c 2 -d 9s --patience 300ms").unwrap_err();
    assert!(matches!(error, Error::Silent { due: 2, .. }), "{error}");
}

#[test]
fn connections_at_rest_are_held_and_live() {
    for backend in backends() {
        let (server, address) = Server::start(Habit::Echo);
        let arguments = format!("-c 100 -m 2 --pid {} {backend}", std::process::id());
        let idle = run("idle", &format!("ws://{address}"), &arguments).unwrap().idle.unwrap();
        assert_eq!(idle.connections, 100);
        // Twice before the rest, once after it.
        assert_eq!(server.messages.load(Ordering::Relaxed), 300);
        assert!(idle.resident_at_rest_bytes.unwrap() > 0);
        assert!(idle.resident_bytes_per_connection.is_some());
    }
}

#[test]
fn connections_are_opened_and_closed() {
    for backend in backends() {
        let (server, address) = Server::start(Habit::Echo);
        let report = run("connect", &format!("ws://{address}"), &format!("-c 4 {backend}"));
        let load = report.unwrap().load.unwrap();
        let closed = server.closes.load(Ordering::Relaxed) as u64;
        assert!(load.count > 10 && load.count <= closed, "{load:?}, {closed} closed");
    }
}

#[test]
fn responses_are_counted() {
    for backend in backends() {
        for arguments in ["-c 3", "-c 2 -n 7"] {
            let (server, address) = Server::start(Habit::Refuse);
            let arguments = format!("{arguments} {backend}");
            let load =
                run("http", &format!("http://{address}/x"), &arguments).unwrap().load.unwrap();
            let requests = server.requests.load(Ordering::Relaxed) as u64;
            assert!(load.count > 100 && load.count <= requests, "{arguments}: {load:?}");
        }
    }
}

#[test]
fn results_are_written() {
    let (_, address) = Server::start(Habit::Echo);
    let report = run("echo", &format!("ws://{address}"), "-c 2").unwrap();
    let directory = std::env::temp_dir().join(format!("loadgen-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (json, svg) = (directory.join("run.json"), directory.join("run.svg"));
    let line = format!("loadgen echo --json {} --svg {}", json.display(), svg.display());
    let options = Options::try_parse_from(line.split_whitespace()).unwrap();
    let table = loadgen::write(&report, options.scenario.common()).unwrap().unwrap();
    assert!(table.contains("messages/s") && table.contains("99.9%"), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(json["scenario"], "echo");
    assert_eq!(json["options"]["connections"], 2);
    assert!(json["load"]["latency"]["p99"].as_f64().unwrap() > 0.0);
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("polyline"), "{svg}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn nobody_at_the_address_is_explained() {
    let error = run("echo", "ws://127.0.0.1:1", "").unwrap_err().to_string();
    assert!(error.contains("is the server running there?"), "{error}");
    let error = run("echo", "tcp://127.0.0.1:1", "").unwrap_err().to_string();
    assert!(error.contains("ws://HOST:PORT"), "{error}");
    let error = run("echo", "ws://127.0.0.1:1", "--pid 4000000").unwrap_err().to_string();
    assert!(error.contains("--pid"), "{error}");
}
