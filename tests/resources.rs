//! What a server costs when peers behave badly: descriptors, processor time, memory.
//!
//! All of these are counted per process, so the server is a process of its own: this file runs
//! itself again, and what it is to serve stands in the environment.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock, and waits")]

use std::{
    env,
    io::Read,
    thread,
    time::{Duration, Instant},
};

use sockeye::{
    App, Backend, CompressionConfig, Limits, Message, Request, Response, Server, Upgrade,
    WebSocket, WebSocketConfig, WebSocketHandler,
};
use support::{
    Frame, Log, Peer, Puppet, close_payload, frame, frame_of, get, numbered,
    process::{self, Process},
};

mod support;

/// Not a test but the other process, if there is one.
#[test]
fn the_server() {
    let Ok(backend) = env::var("SOCKEYE_SERVE") else { return };
    let config = WebSocketConfig {
        idle_timeout: Duration::from_millis(1500),
        max_payload_length: LIMIT,
        ..WebSocketConfig::default()
    };
    let patient = WebSocketConfig { idle_timeout: Duration::ZERO, ..config.clone() };
    let app = move || {
        let with = |compression| WebSocketConfig { compression, ..patient.clone() };
        App::new()
            .get("/websockets", |request| {
                Response::text(request.remote().total_stats().websockets.to_string())
            })
            .get("/page/:length", |request| {
                let length = request.parameter("length").unwrap_or_default();
                Response::text("x".repeat(length.parse().unwrap_or(0)))
            })
            .websocket_with("/echo", patient.clone(), Echo)
            .websocket_with("/idle", config.clone(), Puppet::new(&Log::off()))
            .websocket_with("/shared", with(CompressionConfig::shared()), Puppet::new(&Log::off()))
            .websocket_with(
                "/dedicated",
                with(CompressionConfig::dedicated()),
                Puppet::new(&Log::off()),
            )
            .websocket_with("/*", patient.clone(), Puppet::new(&Log::off()))
    };
    let limits = Limits { max_control_frames_per_second: u16::MAX, ..Limits::default() };
    let backend: Backend = backend.parse().unwrap();
    let server = Server::new(app).backend(backend).limits(limits).workers(1);
    let running = server.listen("127.0.0.1:0").start().unwrap();
    println!("listening on {}", running.addresses()[0]);
    // Until the other process is gone.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Keeps nothing for its sockets.
struct Echo;

impl WebSocketHandler for Echo {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        socket.send(message);
    }
}

process::cases!(
    sockets_at_rest_cost_little,
    memory_goes_back_after_a_burst,
    descriptors_run_out,
    floods_cost_a_bounded_amount,
    pipelined_requests_cost_a_bounded_amount,
    slow_readers_cost_a_bounded_amount,
    a_thousand_vanish,
    bombs_cost_at_most_the_limit,
    unfinished_compressed_messages_cost_a_bounded_amount,
);

fn sockets_at_rest_cost_little(backend: &str) {
    let Some(process) = Process::start(backend, 2000) else { return };
    let mut peers = Vec::new();
    let mut grow_to = |count| {
        while peers.len() < count {
            let mut peer = process.open("/echo");
            peer.text("hello");
            peer.expect_text("hello");
            peers.push(peer);
        }
        process.settled_memory()
    };
    // What the first ones need is not theirs alone.
    let before = grow_to(100);
    let cost = grow_to(1000).saturating_sub(before) / 900;
    // By the sizes of what there is of each: 132 on a ring, 128 on epoll. Of the tables the last
    // pages are not full.
    assert!(cost <= 150, "{cost} bytes for each socket");
}

fn memory_goes_back_after_a_burst(backend: &str) {
    let Some(process) = Process::start(backend, 2000) else { return };
    let mut peers: Vec<Peer> = (0..600).map(|_| process.open("/echo")).collect();
    let before = process.settled_memory();
    // All of them are in the middle of a message at once.
    let message = frame(Frame::BINARY, &numbered(1, LIMIT - 1));
    let (most, last) = message.split_at(message.len() - 1);
    peers.iter_mut().for_each(|peer| peer.write(most));
    let burst = process.settled_memory() - before;
    for peer in &mut peers {
        peer.write(last);
        assert_eq!(peer.frame().payload.len(), LIMIT - 1);
    }
    assert!(burst > 600 * LIMIT as u64 / 2, "{burst} bytes for 600 messages");
    let (start, most) = (Instant::now(), before + burst / 4);
    while process.memory() > most {
        assert!(start.elapsed() < Duration::from_secs(10), "{} bytes are kept", process.memory());
        thread::sleep(Duration::from_millis(50));
    }
}

fn descriptors_run_out(backend: &str) {
    let Some(process) = Process::start(backend, 50) else { return };
    let mut served = process.open("/");
    // More than it can take: some are served, the others wait.
    let mut peers: Vec<Peer> = (0..60).map(|_| process.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.write(&get("/websockets", "")));
    thread::sleep(Duration::from_millis(300));
    let (before, start) = (process.processor_time(), Instant::now());
    // Meanwhile those it has are served.
    for number in 0..20 {
        let sent = Instant::now();
        served.binary(&numbered(number, 100));
        served.expect_frame(Frame::BINARY, &numbered(number, 100));
        assert!(sent.elapsed() < Duration::from_millis(500), "{:?}", sent.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    let used = process.processor_time() - before;
    let percent = 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64();
    assert!(percent < 5.0, "{percent:.1} % of a processor, for waiting");
    let count = peers.len();
    let mut waiting: Vec<Peer> = Vec::new();
    for mut peer in std::mem::take(&mut peers) {
        if peer.has_response(Duration::from_millis(1)) {
            peers.push(peer);
        } else {
            waiting.push(peer);
        }
    }
    assert!(peers.len() >= 20 && waiting.len() >= 10, "{} of {count} are served", peers.len());
    // A descriptor returns: the next one is accepted within 100 ms, if the machine lets it.
    let quickest = (0..5).map(|index| {
        let start = Instant::now();
        drop(peers.remove(0));
        assert!(waiting[index].has_response(Duration::from_secs(5)));
        start.elapsed()
    });
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
    // And at last all of them.
    drop(peers);
    for mut peer in waiting {
        peer.expect_status(200);
    }
    served.text("say fine");
    served.expect_text("fine");
}

fn floods_cost_a_bounded_amount(backend: &str) {
    let Some(process) = Process::start(backend, 1000) else { return };
    let kinds = [(Frame::BINARY, 100), (Frame::BINARY, 60_000), (Frame::PING, 125)];
    // What is used once stays with the process.
    process.open("/").text("say warm");
    for (opcode, length) in kinds {
        let count = 20;
        let bytes = frame(opcode, &numbered(7, length)).repeat(8_000_000 / length);
        let mut peers: Vec<Peer> = (0..count).map(|_| process.open_narrow("/")).collect();
        let before = process.settled_memory();
        for peer in &mut peers {
            peer.pour(bytes.clone());
        }
        let cost = process.settled_memory().saturating_sub(before) / count;
        // 64 KiB that have been received, 64 KiB and a message that wait to be sent, and what
        // the allocator adds.
        assert!(cost < 400 << 10, "{cost} bytes for each peer and messages of {length}");
        // And nothing is lost.
        let mut peer = peers.remove(0);
        for _ in 0..8_000_000 / length {
            assert_eq!(peer.frame().payload.len(), length);
        }
    }
}

fn pipelined_requests_cost_a_bounded_amount(backend: &str) {
    for length in [0, 100, 400, 1000, 20_000] {
        // One of its own for each: what has been used once is used again.
        let Some(process) = Process::start(backend, 1000) else { return };
        process.websockets();
        let count = 40;
        let request = get(&format!("/page/{length}"), "");
        let number = 4_000_000 / request.len();
        let mut peers: Vec<Peer> =
            (0..count).map(|_| Peer::real(process.address, Some(8 << 10))).collect();
        let before = process.settled_memory();
        for peer in &mut peers {
            peer.pour(request.repeat(number));
        }
        let cost = process.settled_memory().saturating_sub(before) / count;
        // 64 KiB of answers, and one more; what has been received waits as the bytes it is: 4 KiB
        // and a receive of 64 KiB at most. And what the allocator adds.
        let most = (136 << 10) + length as u64;
        assert!(cost <= most, "{cost} bytes for each client, and answers of {length}");
        // And nothing is lost.
        let mut peer = peers.remove(0);
        for _ in 0..number.min(2000) {
            assert_eq!(peer.response().body.len(), length);
        }
    }
}

fn slow_readers_cost_a_bounded_amount(backend: &str) {
    let Some(process) = Process::start(backend, 1000) else { return };
    let count = 50;
    let mut slow: Vec<Peer> = (0..count).map(|_| process.open_narrow("/")).collect();
    let mut quick = process.open("/");
    for peer in slow.iter_mut().chain([&mut quick]) {
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
    }
    let mut writer = process.open("/");
    let before = process.settled_memory();
    for _ in 0..400 {
        writer.text("publish_many news 20 1000");
        for number in 0..20 {
            quick.expect_frame(Frame::BINARY, &numbered(number, 1000));
        }
    }
    let cost = process.settled_memory().saturating_sub(before) / count;
    // max_backpressure is 64 KiB.
    assert!(cost < 100 << 10, "{cost} bytes for each slow reader");
}

/// Answers the ping that there may be; returns how many there were.
fn answer_ping(peer: &mut Peer, time: Duration) -> usize {
    if !peer.has_frame(time) {
        return 0;
    }
    peer.expect_frame(Frame::PING, b"");
    peer.write(&frame(Frame::PONG, b""));
    1
}

fn a_thousand_vanish(backend: &str) {
    let Some(process) = Process::start(backend, 4000) else { return };
    let mut memory = Vec::new();
    for _ in 0..2 {
        let (mut lively, mut answered) = (process.open("/idle"), 0);
        let mut peers = Vec::new();
        for number in 0..1000 {
            let mut peer = process.open("/idle");
            peer.text("subscribe news");
            peer.expect_text("subscribe: Ok(true)");
            peers.push(peer);
            if number % 10 == 0 {
                answered += answer_ping(&mut lively, Duration::from_millis(1));
            }
        }
        // Nothing more is heard of them, but of one.
        let start = Instant::now();
        while process.websockets() > 1 {
            assert!(start.elapsed() < Duration::from_secs(10), "{} are left", process.websockets());
            answered += answer_ping(&mut lively, Duration::from_millis(50));
        }
        assert!(start.elapsed() > Duration::from_secs(1), "not before their time");
        lively.text("count news");
        let mut answer = lively.frame();
        while answer.opcode == Frame::PING {
            lively.write(&frame(Frame::PONG, b""));
            answer = lively.frame();
        }
        assert_eq!((answer.opcode, &answer.payload[..]), (Frame::TEXT, &b"0"[..]));
        assert!(answered >= 1);
        drop(lively);
        for peer in &mut peers {
            // A ping at most, and the end.
            assert!(peer.read_to_end().0.len() <= 2);
        }
        memory.push(process.settled_memory());
    }
    // What the first thousand had is enough for the second.
    assert!(memory[1] <= memory[0] + (256 << 10), "{memory:?}");
}

/// What inflates to so many MiB of zeros; ends where a byte ends, so that it can be repeated.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let zeros = vec![0; mebibytes << 20];
    let mut deflate = zlib_rs::Deflate::new(9, false, 15);
    let mut payload = vec![0; 2048 * mebibytes];
    deflate.compress(&zeros, &mut payload, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    payload.truncate(usize::try_from(deflate.total_out()).unwrap());
    payload
}

const COMPRESSED: u8 = 0x40;
const LAST: u8 = 0x80;

fn bombs_cost_at_most_the_limit(backend: &str) {
    let Some(process) = Process::start(backend, 1000) else { return };
    let bomb = bomb(4);
    // No stream of deflate inflates to more than 1,032 times its length.
    assert!((4000..4200).contains(&bomb.len()), "{} bytes", bomb.len());
    let whole = frame_of(LAST | COMPRESSED | Frame::BINARY, &bomb);
    // 1,024 fragments of 4 KiB, with pings between: 4 GiB.
    let mut fragments = Vec::new();
    for number in 0..1024 {
        let first = if number == 0 { COMPRESSED | Frame::BINARY } else { Frame::CONTINUATION };
        let last = if number == 1023 { LAST } else { 0 };
        fragments.extend(frame_of(first | last, &bomb));
        fragments.extend(frame(Frame::PING, b""));
    }
    // The same as one frame: its length alone is too much.
    let announced = frame_of(LAST | COMPRESSED | Frame::BINARY, &bomb.repeat(1024));
    for target in ["/shared", "/dedicated"] {
        // What is as long as is allowed costs this much, its way back included.
        let (count, good) = (50, vec![0; LIMIT]);
        let mut peer = process.open_deflated(target);
        let small = {
            let mut deflate = zlib_rs::Deflate::new(9, false, 15);
            let mut payload = vec![0; 4096];
            deflate.compress(&good, &mut payload, zlib_rs::DeflateFlush::SyncFlush).unwrap();
            payload.truncate(usize::try_from(deflate.total_out()).unwrap() - 4);
            frame_of(LAST | COMPRESSED | Frame::BINARY, &payload)
        };
        let before = process.processor_time();
        for _ in 0..count {
            peer.write(&small);
            peer.read_some();
        }
        peer.text("say through");
        let allowed = process.processor_time() - before;
        let memory = process.most_memory();
        for (name, bytes) in
            [("whole", &whole), ("fragments", &fragments), ("announced", &announced)]
        {
            let before = process.processor_time();
            for _ in 0..count {
                let mut peer = process.open_deflated(target);
                peer.write_if_possible(&bytes[..bytes.len().min(64 << 10)]);
                let mut end = peer.frame();
                while end.opcode == Frame::PONG {
                    end = peer.frame();
                }
                assert_eq!(end.opcode, Frame::CLOSE);
                assert!(end.payload.starts_with(&close_payload(1009, "")), "{end:?}");
            }
            let used = process.processor_time() - before;
            // Opening and closing come on top, and the account is of 10 ms.
            let most = allowed + Duration::from_millis(3) * count;
            assert!(used <= most, "{used:?} for {count} {name} to {target}, {allowed:?} allowed");
        }
        let grown = process.most_memory() - memory;
        // One of them would be 4 MiB, and 50 of each kind have come.
        assert!(grown <= 1 << 20, "{grown} bytes more for bombs to {target}");
    }
}

fn unfinished_compressed_messages_cost_a_bounded_amount(backend: &str) {
    let noise = numbered(1, LIMIT - 100);
    let mut deflate = zlib_rs::Deflate::new(1, false, 15);
    let mut payload = vec![0; 2 * LIMIT];
    deflate.compress(&noise, &mut payload, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    payload.truncate(usize::try_from(deflate.total_out()).unwrap());
    let fragment = frame_of(COMPRESSED | Frame::BINARY, &payload);
    for target in ["/shared", "/dedicated"] {
        let Some(process) = Process::start(backend, 1000) else { return };
        let count = 100;
        let mut peers: Vec<Peer> = (0..count).map(|_| process.open_deflated(target)).collect();
        let before = process.settled_memory();
        peers.iter_mut().for_each(|peer| peer.write(&fragment));
        let cost = process.settled_memory().saturating_sub(before) / count;
        // The message, a decompressor, and what dedicated ones keep; and the allocator's part.
        assert!(cost < (LIMIT + (48 << 10) + (32 << 10) + (32 << 10)) as u64, "{cost} bytes");
    }
}

/// The longest message.
const LIMIT: usize = 64 << 10;
