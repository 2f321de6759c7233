//! Compressed messages where not all of them arrive (RFC 7692): who refers to earlier messages must
//! not refer to one that was dropped.

use std::collections::VecDeque;

use sockeye::{
    App, CompressionConfig, Compressor, Decompressor, WebSocketConfig,
    ws::{
        Decoder, Event, Limits, Message, Role,
        deflate::{History, Inflaters, Inflating},
    },
};

use crate::support::{Bed, Log, On, Peer, Puppet, handshake, scenarios};

scenarios!(
    sends_and_publishes_alternate,
    each_direction_is_agreed_on_by_itself,
    safari_15_0_to_15_3_gets_none;
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
