//! Compressed messages where not all of them arrive (RFC 7692): who refers to earlier messages must
//! not refer to one that was dropped.

use std::{collections::VecDeque, time::Duration};

use sockeye::{
    App, CompressionConfig, Compressor, Decompressor, WebSocketConfig,
    ws::{
        Decoder, Event, Limits, Message, Role,
        deflate::{Deflaters, History, Inflaters, Inflating},
    },
};

use crate::support::{Bed, Frame, Log, On, Peer, Puppet, frame_of, handshake, scenarios};

scenarios!(
    sends_and_publishes_alternate,
    each_direction_is_agreed_on_by_itself,
    safari_15_0_to_15_3_gets_none,
    offers_are_tried_in_their_order_and_never_fail_the_handshake,
    messages_of_every_form_are_read,
    faults_of_compressed_messages_close_with_their_codes,
    what_is_not_worth_it_is_sent_as_it_is,
    a_publish_is_compressed_once_for_all,
    what_is_kept_is_let_go_at_rest;
    calm:
    some_are_dropped,
);

/// A peer that understands compressed messages.
struct Reader {
    peer: Peer,
    decoder: Decoder,
    inflaters: Inflaters,
    history: History,
    texts: VecDeque<String>,
}

impl Reader {
    #[track_caller]
    fn open(mut peer: Peer, target: &str) -> Self {
        peer.write(&handshake(target, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
        let response = peer.expect_switch();
        let agreed = response.header("Sec-WebSocket-Extensions").unwrap();
        assert!(agreed.starts_with("permessage-deflate"), "{agreed}");
        assert!(!agreed.contains("server_no_context_takeover"), "{agreed}");
        Self {
            peer,
            decoder: Decoder::new(Role::Client),
            inflaters: Inflaters::default(),
            history: History::new(15),
            texts: VecDeque::new(),
        }
    }

    /// The next text.
    #[track_caller]
    fn read_text(&mut self) -> String {
        loop {
            if let Some(text) = self.texts.pop_front() {
                return text;
            }
            let mut input = self.peer.read_some();
            assert!(!input.is_empty(), "nothing comes any more");
            let mut done = 0;
            loop {
                let Self { decoder, inflaters, history, .. } = self;
                let mut inflating = Inflating { inflaters, history: Some(history) };
                let limits = Limits { max_payload_length: 1 << 20, ..Limits::default() };
                let step = decoder.next_deflated(&mut input[done..], &limits, &mut inflating);
                let step = step.unwrap();
                done += step.consumed;
                match step.event {
                    Some(Event::Message(Message::Text(text))) => {
                        self.texts.push_back(text.to_owned());
                    }
                    Some(event) => panic!("a text, and not {event:?}"),
                    None => break,
                }
            }
        }
    }

    #[track_caller]
    fn subscribe(&mut self) {
        self.peer.text("subscribe news");
        assert_eq!(self.read_text(), "subscribe: Ok(true)");
    }
}

fn serve(on: On, log: &Log) -> Bed {
    let compression = CompressionConfig { threshold: 10, ..CompressionConfig::dedicated() };
    let config = WebSocketConfig { compression, ..WebSocketConfig::default() };
    on.bed().serve(Puppet::app_with(log, config))
}

/// A text that is like those before it, and yet does not become much shorter by itself.
fn story(number: u32, length: usize) -> String {
    let mut state = 7_u64;
    let mut text = format!("{number}:");
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push(char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap()));
    }
    text
}

fn sends_and_publishes_alternate(on: On) {
    let log = Log::default();
    let bed = serve(on, &log);
    let mut reader = Reader::open(bed.connect(), "/?name=reader");
    reader.subscribe();
    let id = log.id("reader");
    for round in 0..10 {
        bed.on_worker(0, move |context| {
            for number in 0..10 {
                let text = story(10 * round + number, 500);
                if (round + number) % 3 == 0 {
                    context.publish("news", &text);
                } else {
                    assert!(context.send(id, &text).is_accepted());
                }
            }
        });
        reader.peer.text(&format!("say {}\nsay {}", story(round, 900), story(round + 1, 900)));
        for number in 0..10 {
            assert_eq!(reader.read_text(), story(10 * round + number, 500));
        }
        assert_eq!(reader.read_text(), story(round, 900));
        assert_eq!(reader.read_text(), story(round + 1, 900));
    }
}

/// What the server answers to this offer, by a client of this name.
fn agreed(bed: &Bed, target: &str, offer: &str, user_agent: &str) -> Option<String> {
    let mut peer = bed.connect();
    let fields = format!("Sec-WebSocket-Extensions: {offer}\r\nUser-Agent: {user_agent}\r\n");
    peer.write(&handshake(target, &fields));
    peer.expect_switch().header("Sec-WebSocket-Extensions").map(str::to_owned)
}

fn each_direction_is_agreed_on_by_itself(on: On) {
    let (shared, dedicated) = (CompressionConfig::shared(), CompressionConfig::dedicated());
    let sends = CompressionConfig { decompressor: Decompressor::Shared, ..dedicated };
    let receives = CompressionConfig { compressor: Compressor::Shared, ..dedicated };
    let bed = on.bed().serve(move || {
        let route = |app: App, path, compression| {
            let config = WebSocketConfig { compression, ..WebSocketConfig::default() };
            app.websocket_with(path, config, Puppet::new(&Log::off()))
        };
        let app = route(App::new(), "/shared", shared);
        let app = route(app, "/dedicated", dedicated);
        route(route(app, "/sends", sends), "/receives", receives)
    });
    let server = "permessage-deflate; server_no_context_takeover";
    let client = "permessage-deflate; client_no_context_takeover";
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (target, offer, expected) in [
        ("/shared", "permessage-deflate", both),
        ("/dedicated", "permessage-deflate", "permessage-deflate"),
        ("/sends", "permessage-deflate", client),
        ("/receives", "permessage-deflate", server),
        ("/dedicated", server, server),
        ("/dedicated", client, client),
        ("/sends", server, both),
        ("/receives", client, both),
    ] {
        let answer = agreed(&bed, target, offer, "none");
        assert_eq!(answer.as_deref(), Some(expected), "{target} to {offer}");
    }
}

fn safari_15_0_to_15_3_gets_none(on: On) {
    let bed = serve(on, &Log::default());
    let browser = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, \
        like Gecko)";
    for (version, is_broken) in [("15.0", true), ("15.3", true), ("15.4", false), ("14.1", false)] {
        let name = format!("{browser} Version/{version} Safari/605.1.15");
        let answer = agreed(&bed, "/", "permessage-deflate", &name);
        assert_eq!(answer.is_none(), is_broken, "Safari {version}: {answer:?}");
    }
}

fn offers_are_tried_in_their_order_and_never_fail_the_handshake(on: On) {
    let bed = serve(on, &Log::default());
    for (offer, expected) in [
        // RFC 7692 §5.1: the first that can be accepted, of any number.
        ("x-other, permessage-deflate; server_max_window_bits=10, permessage-deflate", TEN),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ""),
        ("permessage-deflate; unheard_of, permessage-deflate; server_max_window_bits=10", TEN),
        // The server's window is of 12 bits, if the client knows of windows at all.
        ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits", ""),
        ("permessage-deflate; client_max_window_bits=9", "; client_max_window_bits=9"),
    ] {
        let answer = agreed(&bed, "/", offer, "none");
        assert_eq!(answer, Some(format!("permessage-deflate{expected}")), "{offer}");
    }
    // §7: declined, and the connection does without.
    for parameters in [
        "unheard_of",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits=10",
    ] {
        let mut peer = bed.connect();
        let fields = format!("Sec-WebSocket-Extensions: permessage-deflate; {parameters}\r\n");
        peer.write(&handshake("/", &fields));
        let response = peer.expect_switch();
        assert_eq!(response.header("Sec-WebSocket-Extensions"), None, "{parameters}");
        peer.text(&format!("say {}", "long ".repeat(20)));
        peer.expect_text(&"long ".repeat(20));
        peer.write(&frame_of(0xc1, b"\x00"));
        assert_eq!(close_code(&mut peer), 1002, "RSV1 without {parameters}");
    }
    // RFC 6455 §9.1: no list of extensions.
    for value in ["permessage-deflate;", "permessage-deflate; a=\"", "permessage-deflate b"] {
        let mut peer = bed.connect();
        peer.write(&handshake("/", &format!("Sec-WebSocket-Extensions: {value}\r\n")));
        peer.expect_status(400);
    }
}

const TEN: &str = "; server_max_window_bits=10";

/// A connection of a peer that answers frames by itself, and keeps nothing.
fn open_fresh(bed: &Bed) -> Peer {
    let mut peer = bed.connect();
    let offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
    peer.write(&handshake("/", &format!("Sec-WebSocket-Extensions: {offer}\r\n")));
    assert_eq!(peer.expect_switch().header("Sec-WebSocket-Extensions"), Some(offer_answered()));
    peer
}

fn offer_answered() -> &'static str {
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
}

/// The code of the close frame that comes next.
#[track_caller]
fn close_code(peer: &mut Peer) -> u16 {
    let frame = peer.frame();
    assert_eq!(frame.opcode, Frame::CLOSE, "{frame:?}");
    u16::from_be_bytes([frame.payload[0], frame.payload[1]])
}

fn messages_of_every_form_are_read(on: On) {
    let bed = serve(on, &Log::default());
    let mut peer = open_fresh(&bed);
    let raw = |flush| {
        let mut deflate = zlib_rs::Deflate::new(6, false, 15);
        let mut payload = vec![0; 100];
        deflate.compress(b"say 1\nsay 2", &mut payload, flush).unwrap();
        payload.truncate(usize::try_from(deflate.total_out()).unwrap());
        payload
    };
    let usual = raw(zlib_rs::DeflateFlush::SyncFlush);
    let usual = usual[..usual.len() - 4].to_vec();
    // RFC 7692 §7.2.3.4: a final block, and the byte after it that some leave out.
    let finished = raw(zlib_rs::DeflateFlush::Finish);
    let followed = [&finished[..], b"\x00"].concat();
    let stored = [&b"\x00\x0b\x00\xf4\xff"[..], b"say 1\nsay 2", b"\x00"].concat();
    // §7.2.3.5: several blocks, some of them empty.
    let several =
        [b"\x00\x06\x00\xf9\xffsay 1\n\x00\x00\x00\xff\xff", &b"\x00\x05\x00\xfa\xffsay 2\x00"[..]];
    for payload in [usual.clone(), finished, followed, stored, several.concat()] {
        peer.write(&frame_of(0xc1, &payload));
        peer.expect_text("1");
        peer.expect_text("2");
    }
    // Byte by byte, with control frames between; only the first fragment has RSV1 (§6.1).
    let (last, others) = usual.split_last().unwrap();
    for (index, byte) in others.iter().enumerate() {
        peer.write(&frame_of(if index == 0 { 0x41 } else { 0x00 }, &[*byte]));
        peer.write(&frame_of(0x89, b"there?"));
        peer.expect_frame(Frame::PONG, b"there?");
    }
    peer.write(&frame_of(0x80, &[*last]));
    peer.expect_text("1");
    peer.expect_text("2");
    // Empty messages, compressed and not, and then one that is not compressed (§6.1 asks for no
    // more than RSV1 to tell them apart).
    peer.write(&frame_of(0xc1, b"\x00"));
    peer.write(&frame_of(0x81, b""));
    peer.text("say after");
    peer.expect_text("after");
}

fn faults_of_compressed_messages_close_with_their_codes(on: On) {
    let bed = serve(on, &Log::default());
    let bomb = Deflaters::default().deflate(&[b'a'; 1 << 20], 15, 9, b"").unwrap().to_vec();
    assert!(bomb.len() < 2000, "{}", bomb.len());
    let not_text = b"\x00\x01\x00\xfe\xff\xff\x00";
    let cut = [frame_of(0x41, b"\xf2\x48\xcd"), frame_of(0xc0, b"\xc9\xc9\x07\x00")].concat();
    for (bytes, code) in [
        (frame_of(0xc1, b"\x07"), 1007),
        (frame_of(0xc1, b"\xf2\x00\x11\x00\x00"), 1007),
        (frame_of(0xc1, b"\xf2\x48\xcd"), 1007),
        (frame_of(0xc1, not_text), 1007),
        // RFC 7692 §6: control frames and continuations have no RSV1; nothing has RSV2 and 3.
        (frame_of(0xc9, b""), 1002),
        (frame_of(0xc8, b""), 1002),
        (cut, 1002),
        (frame_of(0xe1, b"\x00"), 1002),
        (frame_of(0xd1, b"\x00"), 1002),
        // What it becomes counts, and not what it is.
        (frame_of(0xc1, &bomb), 1009),
        (frame_of(0xc2, &bomb), 1009),
    ] {
        let mut peer = open_fresh(&bed);
        for piece in bytes.chunks(1 + bytes.len() / 20) {
            peer.write_if_possible(piece);
        }
        assert_eq!(close_code(&mut peer), code, "{bytes:x?}");
        if let Some(held) = bed.incomplete_bytes() {
            assert!(held <= 17 << 10, "{held} bytes");
        }
    }
}

fn what_is_not_worth_it_is_sent_as_it_is(on: On) {
    let bed = serve(on, &Log::default());
    let mut peer = open_fresh(&bed);
    // Nine bytes are below the threshold, and some others become no shorter.
    for text in ["aaaaaaaaa", "0123456789abcdef"] {
        peer.text(&format!("say {text}"));
        peer.expect_text(text);
    }
    bed.wait_for_stats("only the second was tried", |stats| stats.compressions == 1);
}

fn a_publish_is_compressed_once_for_all(on: On) {
    let log = Log::default();
    let bed = serve(on, &log);
    let mut readers: Vec<_> = (0..5).map(|_| Reader::open(bed.connect(), "/")).collect();
    for reader in &mut readers {
        reader.subscribe();
    }
    let mut plain = bed.open("/");
    plain.text("subscribe news");
    plain.expect_text("subscribe: Ok(true)");
    let before = bed.stats().compressions;
    for number in 0..3 {
        bed.on_worker(0, move |context| {
            context.publish("news", &story(number, 500));
        });
        for reader in &mut readers {
            assert_eq!(reader.read_text(), story(number, 500));
        }
        plain.expect_text(&story(number, 500));
    }
    bed.wait_for_stats("three were made", |stats| stats.compressions == before + 3);
}

fn what_is_kept_is_let_go_at_rest(on: On) {
    let compression = CompressionConfig {
        release_after: Duration::from_millis(200),
        threshold: 10,
        ..CompressionConfig::dedicated()
    };
    let config = WebSocketConfig { compression, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&Log::default(), config));
    let mut reader = Reader::open(bed.connect(), "/");
    // Digits, which become half as long by themselves.
    let text: String = (0..200).map(|n| format!("{},", n * 7919 % 10_007)).collect();
    let mut lengths = Vec::new();
    for round in 0..3 {
        let before = bed.stats().bytes_out;
        reader.peer.text(&format!("say {text}"));
        assert_eq!(reader.read_text(), text);
        bed.wait_for_stats("it is counted", |stats| stats.bytes_out > before);
        lengths.push(bed.stats().bytes_out - before);
        if round == 1 {
            bed.pass(Duration::from_millis(700));
        }
    }
    // The second refers to the first; the third has nothing to refer to any more.
    assert!(lengths[1] * 2 < lengths[0] && lengths[1] * 2 < lengths[2], "{lengths:?}");
}

fn some_are_dropped(on: On) {
    let log = Log::default();
    let bed = serve(on, &log);
    let mut reader = Reader::open(bed.connect_narrow(), "/?name=reader");
    reader.subscribe();
    let id = log.id("reader");
    // Sent by its own handler each message would refer to the one before; by others none does.
    let (mut number, mut expected, mut refused) = (0, Vec::new(), 0);
    while refused == 0 {
        let from = number;
        let statuses = bed.on_worker(0, move |context| {
            (from..from + 5)
                .map(|number| context.send(id, &story(number, 9000)))
                .collect::<Vec<_>>()
        });
        for status in statuses {
            match status.is_accepted() {
                true => expected.push(number),
                false => refused += 1,
            }
            number += 1;
        }
        assert!(number < 10_000, "the kernel takes everything");
    }
    bed.remote().publish("news", &story(number, 40_000)).unwrap();
    bed.wait_for_stats("that is dropped too", |stats| stats.dropped_messages == refused + 1);
    for number in expected {
        let text = reader.read_text();
        assert_eq!(text, story(number, 9000), "message {number}");
    }
    log.wait_for(&bed, "reader drain");
    reader.peer.text(&format!("say {}\nsay {}", story(1, 900), story(2, 900)));
    assert_eq!(reader.read_text(), story(1, 900));
    assert_eq!(reader.read_text(), story(2, 900));
}
