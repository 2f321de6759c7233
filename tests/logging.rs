//! What peers send is not logged as it is: neither can they write lines of a log, nor colour them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "peers are ordinary")]

use std::sync::{Mutex, OnceLock};

use log::kv::{Key, Value, VisitSource};
use sockeye::{
    App, Proxies, Request, Response, Status, Upgrade, WebSocket, WebSocketConfig, WebSocketHandler,
};
use support::{Frame, ON_PURPOSE, On, Peer, close_payload, frame, run, silence_panics_on_purpose};

mod support;

/// Keeps every line, with its pairs of keys and values.
struct Capture(Mutex<Vec<String>>);

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Pairs<'l>(&'l mut String);
        impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
            fn visit_pair(
                &mut self,
                key: Key<'kvs>,
                value: Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                self.0.push_str(&format!(" {key}={value}"));
                Ok(())
            }
        }
        let mut line = format!("{} {}", record.level(), record.args());
        record.key_values().visit(&mut Pairs(&mut line)).unwrap();
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

/// All lines so far.
fn lines() -> Vec<String> {
    static CAPTURE: OnceLock<Capture> = OnceLock::new();
    let capture = CAPTURE.get_or_init(|| Capture(Mutex::new(Vec::new())));
    if log::set_logger(capture).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
    capture.0.lock().unwrap().clone()
}

/// Goes wrong over whatever it is told, and says why.
struct Careless;

impl WebSocketHandler for Careless {
    type Data = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let offered = request.header("Sec-WebSocket-Protocol").unwrap_or_default().to_owned();
        match request.raw_query() {
            Some("panic") => panic!("{ON_PURPOSE}"),
            Some("echo") => Upgrade::accept(()).header("X-Offered", offered + "\n" + FORGED),
            _ => Upgrade::accept(()),
        }
    }

    fn message(&mut self, _: &mut WebSocket<'_, ()>, _: sockeye::Message<'_>) {
        panic!("{ON_PURPOSE}");
    }
}

fn app() -> App {
    App::new()
        .proxies(Proxies::at(["127.0.0.0/8", "10.0.0.0/8"]).proxy_protocol().forwarded())
        .websocket_with("/socket", WebSocketConfig::default(), Careless)
        .get("/header", |request| {
            let name = request.query("name").unwrap_or_default().into_owned();
            Response::new(Status::OK).header("X-Name", name)
        })
        .get("/cut", |request| {
            let said = request.query("name").unwrap_or_default().into_owned();
            Response::new(Status::OK).stream("text/plain", None, move |_: &mut Vec<u8>, _| {
                Err(std::io::Error::other(said.clone()))
            })
        })
        .get("/panic", |request| panic!("{ON_PURPOSE}: {:?}", request.raw_query()))
}

const FORGED: &str = "\u{1b}[31mERROR forged";
const PROXY: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";

/// Everything that hostile peers say, each on a connection of its own.
fn hostile() -> Vec<Vec<u8>> {
    let request = |target: &str, fields: &str| {
        format!("{PROXY}GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n")
            .into_bytes()
    };
    let upgrade = |target: &str, fields: &str| {
        let handshake = support::handshake(target, fields);
        [PROXY.as_bytes(), &handshake].concat()
    };
    let encoded = "x%0A%1B%5B31mERROR%20forged";
    vec![
        format!("PROXY TCP4 {FORGED}\n{FORGED} 1 2\r\n").into_bytes(),
        format!("{FORGED}\n{FORGED}\r\n\r\n").into_bytes(),
        request(&format!("/{encoded}"), ""),
        request(&format!("/header?name={encoded}"), ""),
        request(&format!("/cut?name={encoded}"), ""),
        request(&format!("/panic?{encoded}"), ""),
        request(&format!("/\u{1b}[31m{encoded}"), ""),
        request("/", &format!("X-Field: {FORGED}\r\n")),
        request("/", &format!("{FORGED}: x\r\n")),
        request("/", &format!("Forwarded: for=\"{FORGED}\"\r\n")),
        request("/", &format!("User-Agent: a\n{FORGED}\r\n")),
        upgrade("/socket", &format!("Origin: http://{FORGED}\r\n")),
        upgrade("/socket", "Origin: http://elsewhere\r\n"),
        upgrade("/socket", &format!("Sec-WebSocket-Protocol: {FORGED}\r\n")),
        upgrade("/socket?echo", "Sec-WebSocket-Protocol: a\r\n"),
        upgrade("/socket?panic", ""),
        [upgrade("/socket", ""), frame(Frame::TEXT, format!("\n{FORGED}").as_bytes())].concat(),
        [upgrade("/socket", ""), frame(Frame::TEXT, b"\xff\n\x1b[31mERROR forged")].concat(),
        [upgrade("/socket", ""), frame(Frame::PING, format!("\n{FORGED}").as_bytes())].concat(),
        [upgrade("/socket", ""), frame(3, format!("\n{FORGED}").as_bytes())].concat(),
        [upgrade("/socket", ""), frame(Frame::CLOSE, &close_payload(1000, &format!("\n{FORGED}")))]
            .concat(),
        [upgrade("/socket", ""), frame(Frame::CLOSE, b"\x00\x01\n\x1b[31mERROR forged")].concat(),
    ]
}

fn nothing_that_peers_send_is_logged_as_it_is(on: On) {
    silence_panics_on_purpose();
    let before = lines().len();
    let bed = on.bed().serve(app);
    for bytes in hostile() {
        let mut peer: Peer = bed.connect();
        peer.write_if_possible(&bytes);
        peer.shutdown();
        peer.read_to_end();
    }
    drop(bed);
    let lines = &lines()[before..];
    for expected in ["panicked", "cannot be sent", "cut off"] {
        let is_there = lines.iter().any(|line| line.contains(expected));
        assert!(is_there, "{expected} is not in {lines:#?}");
    }
    for line in lines {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn nothing_that_peers_send_is_logged_as_it_is_uring() {
    run(On::Uring, nothing_that_peers_send_is_logged_as_it_is);
}

#[test]
fn nothing_that_peers_send_is_logged_as_it_is_epoll() {
    run(On::Epoll, nothing_that_peers_send_is_logged_as_it_is);
}

#[test]
fn nothing_that_peers_send_is_logged_as_it_is_sim() {
    run(On::Sim, nothing_that_peers_send_is_logged_as_it_is);
}
