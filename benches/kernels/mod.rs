//! What runs for every message, as closures without I/O: timed by `benches/`, and counted in
//! instructions by `perf instructions`. This file belongs to both.
//!
//! Decoders work in place, so their input is copied anew for each run: the copy is part of what
//! is measured, and small beside the rest.

use std::hint::black_box;

use sockeye::{
    base::{Key, Outbox, Shared},
    http::{self, HeaderSlots, ResponseWriter, Router, Status},
    pubsub::{self, Batch, Framed, PubSub, Sink, Variant},
    simd,
    ws::{self, FrameHeader, Opcode, Opening, Role, append_accept, append_frame},
};

/// One thing that is measured.
pub(crate) struct Kernel {
    /// `GROUP/CASE`.
    pub(crate) name: &'static str,
    /// How many messages, requests and so on a run takes.
    pub(crate) count: u32,
    /// Does it. Returns what depends on all of it, so that nothing is left out.
    pub(crate) run: Box<dyn FnMut() -> usize>,
}

impl Kernel {
    fn new(name: &'static str, count: u32, run: impl FnMut() -> usize + 'static) -> Self {
        Self { name, count, run: Box::new(run) }
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Kernel> {
    let mut kernels = decoders();
    kernels.extend(bytes());
    kernels.extend(requests());
    kernels.extend(fanouts());
    kernels.push(frame_headers());
    kernels.push(echo_frames());
    kernels.push(outbox_with_shared_pieces());
    kernels
}

fn decoders() -> Vec<Kernel> {
    let binary = |bytes: usize| (Opcode::Binary, vec![0xa5; bytes]);
    let chat = (0..600).map(|number| CHAT[number % CHAT.len()].as_bytes().to_vec());
    let chat: Vec<_> = chat.map(|text| (Opcode::Text, text)).collect();
    vec![
        decoder("decoder/20 B", &vec![binary(20); 1000], 1, usize::MAX),
        decoder("decoder/1 KiB", &vec![binary(1 << 10); 64], 1, usize::MAX),
        decoder("decoder/16 KiB", &vec![binary(16 << 10); 4], 1, usize::MAX),
        decoder("decoder/chat", &chat, 1, usize::MAX),
        decoder("decoder/20 B, cut", &vec![binary(20); 1000], 1, 1460),
        decoder("decoder/16 KiB, 16 fragments", &vec![binary(16 << 10); 4], 16, usize::MAX),
    ]
}

/// A stream of messages, cut into receives of a certain length.
fn decoder(
    name: &'static str,
    messages: &[(Opcode, Vec<u8>)],
    fragments: usize,
    cut: usize,
) -> Kernel {
    let stream = stream(messages, fragments);
    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let mut buffer = stream.clone();
    let limits = ws::Limits::default();
    Kernel::new(name, count, move || {
        buffer.copy_from_slice(&stream);
        let mut decoder = ws::Decoder::new(Role::Server);
        let (mut messages, mut bytes) = (0, 0);
        for received in buffer.chunks_mut(cut.min(stream.len())) {
            let mut rest = received;
            while !rest.is_empty() {
                let step = decoder.next(rest, &limits).expect("a good stream");
                if let Some(ws::Event::Message(message)) = step.event {
                    messages += 1;
                    bytes += message.as_bytes().len();
                }
                let consumed = step.consumed;
                if consumed == 0 {
                    break;
                }
                rest = &mut rest[consumed..];
            }
        }
        assert_eq!(messages, count, "{name}");
        bytes
    })
}

/// The messages as a client sends them.
pub(crate) fn stream(messages: &[(Opcode, Vec<u8>)], fragments: usize) -> Vec<u8> {
    let (mut stream, mut outbox) = (Vec::new(), Outbox::default());
    for (number, (opcode, payload)) in messages.iter().enumerate() {
        let pieces: Vec<_> = payload.chunks(payload.len().div_ceil(fragments).max(1)).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { *opcode } else { Opcode::Continuation };
            let key = [0x37, 0xfa, number.to_le_bytes()[0], 0x3d];
            append_frame(&mut outbox, index + 1 == pieces.len(), opcode, piece, Some(key));
            stream.extend_from_slice(outbox.contiguous().expect("a frame is not cut"));
            outbox.clear();
        }
    }
    stream
}

fn bytes() -> Vec<Kernel> {
    let mask = |name, length: usize, times: u32| {
        let mut payload = vec![0x5a; length];
        Kernel::new(name, times, move || {
            for phase in 0..times as usize {
                simd::mask(black_box(&mut payload), [0x37, 0xfa, 0x21, 0x3d], phase);
            }
            payload.len()
        })
    };
    let utf8 = |name, text: String, times: u32| {
        Kernel::new(name, times, move || {
            let valid = |_| simd::from_utf8(black_box(text.as_bytes())).map_or(0, str::len);
            (0..times).map(valid).sum()
        })
    };
    vec![
        mask("mask/20 B", 20, 1000),
        mask("mask/1 KiB", 1 << 10, 64),
        mask("mask/16 KiB", 16 << 10, 4),
        utf8("utf8/20 B, ASCII", "The quick brown fox.".into(), 1000),
        utf8("utf8/1 KiB, ASCII", "0123456789abcdef".repeat(64), 64),
        utf8("utf8/1 KiB, mixed", "Grüße, 世界! ".repeat(64), 64),
    ]
}

fn requests() -> Vec<Kernel> {
    let limits = http::Limits::default();
    let date = http::Date::from_unix(784_111_777);
    let mut outbox = Outbox::default();
    let handshake = Kernel::new("handshake", 1, move || {
        let mut input = UPGRADE.to_vec();
        let (mut decoder, mut slots) = (http::Decoder::default(), HeaderSlots::new());
        let step = decoder.next(&mut input, &mut slots, &limits).expect("a good request");
        let Some(http::Event::Request(head)) = step.event else { return 0 };
        let opening = Opening::read(&head).expect("a good handshake");
        append_accept(&mut outbox, opening.accept(), None, None, [], &date).expect("good fields");
        let length = outbox.len();
        outbox.clear();
        length
    });
    let mut router = Router::default();
    for (number, pattern) in ROUTES.iter().enumerate() {
        router.add("GET", pattern, number).expect("a good pattern");
    }
    let routing = Kernel::new("router", 4, move || {
        let find = |path| router.find("GET", black_box(path)).map_or(0, |found| *found.value);
        PATHS.map(find).iter().sum()
    });
    vec![handshake, pipelined_requests(), routing]
}

fn pipelined_requests() -> Kernel {
    let limits = http::Limits::default();
    let date = http::Date::from_unix(784_111_777);
    let (requests, mut outbox) = (GET.repeat(16), Outbox::default());
    let mut decoder = http::Decoder::default();
    Kernel::new("requests and responses", 16, move || {
        let mut input = requests.clone();
        let mut rest = &mut input[..];
        loop {
            let mut slots = HeaderSlots::new();
            let step = decoder.next(rest, &mut slots, &limits).expect("good requests");
            let consumed = step.consumed;
            match step.event {
                Some(http::Event::Request(head)) => {
                    let fields = [("Content-Type", &b"text/plain"[..])];
                    let mut writer = ResponseWriter::new(&mut outbox, &date, head.exchange());
                    let sent = writer.send(Status::OK, fields, b"Hello, world!");
                    sent.expect("good fields");
                }
                Some(_) => {}
                None => break,
            }
            rest = &mut rest[consumed..];
        }
        let length = outbox.len();
        outbox.clear();
        length
    })
}

fn fanouts() -> Vec<Kernel> {
    let fanout = |name, messages: u32, topics: u32| {
        let mut pubsub = PubSub::new(pubsub::Limits::default());
        let mut sink = Count::default();
        let names: Vec<String> = (0..topics).map(|topic| format!("room {topic}")).collect();
        for index in 0..1000 {
            let id = pubsub.add(Key::new(index, 0), Variant::PLAIN).expect("room for more");
            let name = &names[(index % topics) as usize];
            pubsub.subscribe(id, name.as_bytes(), &mut sink).expect("room for more");
        }
        let frame = ws::frame(ws::Message::Binary(&[0xa5; 100]));
        let deliveries = messages * 1000 / topics;
        Kernel::new(name, deliveries, move || {
            sink.bytes = 0;
            for number in 0..messages {
                let name = &names[(number % topics) as usize];
                pubsub.publish(name.as_bytes(), None, Framed::plain(frame.clone())).expect("room");
            }
            let sent = pubsub.drain(&mut sink);
            assert_eq!(sent.messages, u64::from(deliveries), "{name}");
            sink.bytes
        })
    };
    vec![
        fanout("fan-out/1 message to 1000", 1, 1),
        fanout("fan-out/16 messages to 1000", 16, 1),
        fanout("fan-out/100 messages to 100 rooms of 10", 100, 100),
    ]
}

#[derive(Default)]
struct Count {
    bytes: usize,
}

impl Sink for Count {
    fn deliver(&mut self, owner: Key, batch: &Batch<'_>) {
        self.bytes += batch.len() + owner.index() % 2;
    }
}

fn frame_headers() -> Kernel {
    Kernel::new("frame header", 1000, || {
        let encode = |number: u64| {
            let payload_length = black_box(number) * number / 3;
            let header =
                FrameHeader { fin: true, opcode: Opcode::Binary, mask: None, payload_length };
            header.encode().len()
        };
        (0..1000).map(encode).sum()
    })
}

fn echo_frames() -> Kernel {
    let mut outbox = Outbox::default();
    Kernel::new("frame 20 B into an outbox", 1000, move || {
        for _ in 0..1000 {
            append_frame(&mut outbox, true, Opcode::Binary, black_box(&[0xa5; 20]), None);
        }
        let length = outbox.len();
        outbox.advance(length);
        length
    })
}

fn outbox_with_shared_pieces() -> Kernel {
    let shared = Shared::from(&[0xa5; 4096][..]);
    Kernel::new("outbox with shared pieces", 64, move || {
        let mut outbox = Outbox::default();
        for _ in 0..64 {
            outbox.append(black_box(&[0xa5; 20]));
            outbox.push_shared(shared.clone(), 0);
        }
        let length = outbox.len();
        // The kernel takes what it likes.
        while !outbox.is_empty() {
            outbox.advance(outbox.len().min(10_000));
        }
        length
    })
}

/// What people send to each other.
pub(crate) const CHAT: [&str; 6] = [
    "ok",
    "Hello, is anybody here?",
    "Ja, grüß dich! Wie geht's?",
    "こんにちは、世界。今日はいい天気ですね。",
    "{\"type\":\"move\",\"id\":4711,\"x\":103.25,\"y\":-7.5,\"z\":0.125,\"tags\":[\"a\",\"b\"]}",
    "The longest line of this conversation goes on for a while, past the hundred and twenty-five \
     bytes that fit into the shortest kind of frame, so that its length takes two bytes more. 🎉",
];

/// As a browser asks.
const UPGRADE: &[u8] = b"GET /chat?room=7 HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n\
    Origin: https://example.org\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate\r\n\
    Accept-Language: en-GB,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

const GET: &[u8] = b"GET /hello HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n";

const ROUTES: [&str; 12] = [
    "/",
    "/about",
    "/chat",
    "/chat/:room",
    "/chat/:room/history",
    "/chat/:room/members/:member",
    "/files/*",
    "/login",
    "/logout",
    "/metrics",
    "/users/:user",
    "/users/:user/avatar",
];

const PATHS: [&str; 4] = ["/", "/chat/lobby/members/4711", "/files/a/b/c.txt", "/users/7/avatar"];
