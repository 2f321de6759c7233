//! A server and the real kernel, when peers, signals and networks do their worst.
//!
//! Each case is a server in a process of its own, on one worker that keeps to one processor; the
//! peers keep to another one, if there are two. In each case memory stays within the bound that
//! stands beside it, all descriptors come back, and the server answers afterwards.
//!
//! ```text
//! cargo test --release --test faults                  two minutes
//! SOCKEYE_LONG=1 cargo test --release --test faults   100,000 connections, and longer faults
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "peers are ordinary")]

#[path = "../support/mod.rs"]
mod support;

mod ends;
mod greedy;
mod network;
mod proxied;
mod senders;
mod signals;

use std::{
    env,
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use sockeye::{
    App, Backend, Limits, Response, Server, Status, WebSocketConfig,
    reactor::{allowed_processors, pin_thread},
};
use support::{Frame, Log, Puppet, frame, numbered, process::Process};

/// Not a test but the other process, if there is one.
#[test]
fn the_server() {
    let Ok(backend) = env::var("SOCKEYE_SERVE") else { return };
    let patient = WebSocketConfig {
        idle_timeout: Duration::ZERO,
        max_payload_length: 64 << 10,
        ..WebSocketConfig::default()
    };
    let idle = WebSocketConfig { idle_timeout: Duration::from_secs(2), ..patient.clone() };
    let app = move || {
        App::new()
            .get("/websockets", |request| {
                Response::text(request.remote().total_stats().websockets.to_string())
            })
            .with_body("POST", "/echo", 1 << 20, |_, body| {
                Response::new(Status::OK).body("application/octet-stream", body.to_vec())
            })
            .websocket_with("/idle", idle.clone(), Puppet::new(&Log::off()))
            .websocket_with("/*", patient.clone(), Puppet::new(&Log::off()))
    };
    let limits = Limits {
        header_timeout: HEADER_TIMEOUT,
        body_timeout: HEADER_TIMEOUT,
        close_timeout: Duration::from_secs(4),
        ..Limits::default()
    };
    let backend: Backend = backend.parse().unwrap();
    let listen = env::var("SOCKEYE_LISTEN").unwrap_or_else(|_| "127.0.0.1:0".into());
    let server = Server::new(app).backend(backend).limits(limits).workers(1).pin(true);
    let running = server.listen(listen).start().unwrap();
    let remote = running.remote();
    ctrlc::set_handler(move || remote.shutdown(Duration::from_secs(5))).unwrap();
    println!("listening on {}", running.addresses()[0]);
    // Until it is told to end, or the other process is gone.
    let remote = running.remote();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        remote.shutdown(Duration::ZERO);
    });
    running.join().unwrap();
}

/// One case at a time: they share the machine's descriptors, ports and processors.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let [_, .., last] = allowed_processors()[..] {
        pin_thread(last).unwrap();
    }
    guard
}

fn is_long() -> bool {
    env::var_os("SOCKEYE_LONG").is_some()
}

/// Whether this process and its servers may have so many descriptors.
fn has_descriptors(count: u32) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap();
    let has = soft == "unlimited" || soft.parse::<u32>().unwrap() >= count;
    if !has {
        eprintln!("skipped: {count} descriptors are needed, and {soft} allowed: see ulimit -n");
    }
    has
}

/// A connection from one of many local addresses, so that ports do not run out.
fn connect_from(address: SocketAddr, number: usize) -> TcpStream {
    let host = u8::try_from(1 + number % 200).unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0);
    socket.bind(&source.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.into()
}

/// How long the slowest of a hundred exchanges takes on a connection of its own, while others do
/// what they do. The machine may have other work: the best of three rounds counts, since what the
/// server does it does in all of them.
fn p99_beside(process: &Process) -> Duration {
    let mut peer = process.open("/");
    let mut round = || {
        let mut times: Vec<Duration> = (0..200)
            .map(|number| {
                let start = Instant::now();
                peer.binary(&numbered(number, 100));
                peer.expect_frame(Frame::BINARY, &numbered(number, 100));
                let time = start.elapsed();
                thread::sleep(Duration::from_millis(2));
                time
            })
            .collect();
        times.sort_unstable();
        times[197]
    };
    let mut best = Duration::MAX;
    for _ in 0..3 {
        best = best.min(round());
        if best < MAX_P99 {
            break;
        }
    }
    best
}

/// The server answers, nobody else is there, and it has as many descriptors as before.
fn expect_rest(process: &Process, descriptors: usize) {
    let start = Instant::now();
    while process.websockets() > 0 || process.descriptors() > descriptors {
        let (websockets, now) = (process.websockets(), process.descriptors());
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{websockets} sockets are left, and {now} descriptors of {descriptors}"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let mut peer = process.open("/");
    peer.text("say fine");
    peer.expect_text("fine");
    peer.write(&frame(Frame::CLOSE, b""));
    peer.expect_frame(Frame::CLOSE, b"");
}

/// What the server has when nobody is there.
fn descriptors_at_rest(process: &Process) -> usize {
    process.websockets();
    thread::sleep(Duration::from_millis(100));
    process.descriptors()
}

const HEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// A server without optimizations may take its time.
const MAX_P99: Duration = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 20 });
