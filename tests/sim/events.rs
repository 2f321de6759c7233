//! [`Stream`]: the model of an event stream (HTML Living Standard, §9.2), and its peer's parser.

use std::time::Duration;

use sockeye::{App, Context, Event, EventStream, Response};

use super::{
    book::{Book, Expected, LOCAL, Need, Stage, book, text},
    exchange::Kind,
    handler::TOPICS,
};

/// What the model knows of an event stream beyond a socket.
#[derive(Debug)]
pub struct Stream {
    opened_at: Duration,
    pub heartbeat: Duration,
    /// Bytes of events that have been sent to it, and those of them that its peer has taken apart.
    expected_bytes: usize,
    arrived_bytes: usize,
    heartbeats: u32,
    events: u32,
    parser: Parser,
}

/// What an event has beside its data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventHead {
    id: Option<String>,
    name: Option<String>,
}

/// Takes apart what arrives.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    head: EventHead,
    data: Option<Vec<u8>>,
    is_comment: bool,
    bytes: usize,
}

pub fn with_pages(app: App, worker: usize) -> App {
    app.get("/events/:exchange", move |request| {
        let number = request.parameter("exchange").and_then(|n| n.parse().ok()).unwrap_or(0);
        book(|book| book.stream_opened(number, worker))
    })
}

/// Publishes an event with an id, a name, and lines of each kind.
pub fn publish(context: &mut Context<'_>, topic: usize, size: usize) {
    let worker = context.worker();
    let (data, head) = book(|book| {
        let (data, head) = book.new_event(size);
        book.published(worker, None, topic, data.as_bytes(), None);
        (data, head)
    });
    context.publish_event(TOPICS[topic], &head.event(&data));
}

/// Data as event streams bring it: with one kind of line end.
pub fn lines(data: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(data).replace("\r\n", "\n").replace('\r', "\n");
    text.into_bytes()
}

impl Stream {
    /// An event that is just being sent does for a heartbeat.
    pub fn signs_of_life(&self) -> u32 {
        self.heartbeats + self.events
    }
}

impl EventHead {
    pub fn event<'e>(&'e self, data: &'e str) -> Event<'e> {
        let mut event = Event::new(data);
        if let Some(id) = &self.id {
            event = event.id(id);
        }
        if let Some(name) = &self.name {
            event = event.name(name);
        }
        event
    }

    /// Bytes on the wire.
    fn length(&self, data: &[u8]) -> usize {
        let field = |value: &Option<String>, name: &str| {
            value.as_ref().map_or(0, |value| name.len() + 3 + value.len())
        };
        let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count();
        // Each line end of the data is counted with its line.
        field(&self.id, "id") + field(&self.name, "event") + data.len() + 6 * lines + 2
    }
}

impl Book {
    /// Data that no other event has, and what stands beside it.
    pub fn new_event(&mut self, size: usize) -> (String, EventHead) {
        let payload = self.payload("event", size);
        let mut data = String::from_utf8_lossy(&payload).into_owned();
        data += ["", "\n", "\r\nsecond line", "\rid: forged\n\n"][self.random.below(4)];
        let number = self.random.below(1000);
        let head = EventHead {
            id: (number.is_multiple_of(2)).then(|| number.to_string()),
            name: (number.is_multiple_of(3)).then(|| format!("name {number}")),
        };
        self.event_heads.insert(data.clone().into_bytes(), head.clone());
        self.event_heads.insert(lines(data.as_bytes()), head.clone());
        (data, head)
    }

    fn stream_opened(&mut self, exchange: usize, worker: usize) -> Response {
        let number = self.exchanges[exchange].client;
        let Kind::Events { topics, first, heartbeat } = self.exchanges[exchange].kind.clone()
        else {
            self.fail(format!("c{number} asked for no events"));
            return Response::text("");
        };
        self.note(|| format!("w{worker} opens the stream of c{number} to {topics:?}"));
        self.saw("an event stream is opened");
        let now = self.network.now();
        let socket = &mut self.sockets[number];
        (socket.stage, socket.worker) = (Stage::Open, worker);
        socket.topics.extend(topics.iter().copied());
        socket.stream = Some(Stream {
            opened_at: now,
            heartbeat,
            expected_bytes: 0,
            arrived_bytes: 0,
            heartbeats: 0,
            events: 0,
            parser: Parser::default(),
        });
        let mut stream = EventStream::new().heartbeat(heartbeat);
        for topic in topics {
            stream = stream.topic(TOPICS[topic]);
        }
        if exchange.is_multiple_of(2) {
            stream = stream.retry(Duration::from_millis(1500));
        }
        for _ in 0..first {
            let (data, head) = self.new_event(50);
            stream = stream.event(&head.event(&data));
            self.expect_event(number, LOCAL, data.as_bytes(), Need::Must);
        }
        Response::events(stream)
    }

    /// A stream has no gaps: it gets what is published, or ends.
    pub fn expect_event(&mut self, number: usize, source: usize, data: &[u8], need: Need) {
        let data = lines(data);
        let length = self.event_heads.get(&data).cloned().unwrap_or_default().length(&data);
        let limit = self.options.limits.max_event_backpressure;
        let waiting = self.stream_waits(number);
        let socket = &mut self.sockets[number];
        let Some(stream) = &mut socket.stream else { return };
        stream.expected_bytes += length;
        if waiting.saturating_add(length) > limit {
            socket.is_uncertain = true;
            for expected in socket.queues.iter_mut().flatten() {
                expected.need = Need::Perhaps;
            }
        }
        let need = match need {
            Need::Perhaps => Need::Perhaps,
            _ if socket.is_uncertain => Need::Perhaps,
            _ => Need::Must,
        };
        socket.queues[source].push_back(Expected { first: 0x81, payload: data, need });
    }

    /// So many bytes at most may wait for this peer in the server.
    fn stream_waits(&self, number: usize) -> usize {
        let socket = &self.sockets[number];
        let (Some(stream), Some(peer)) = (&socket.stream, &socket.peer) else { return usize::MAX };
        let age = self.network.now() - stream.opened_at;
        let heartbeats = age.as_millis() / stream.heartbeat.as_millis() + 1;
        let heartbeats = 3 * usize::try_from(heartbeats).expect("a moderate age");
        // Who has read nothing of it may have answers waiting in the server that come before it.
        let is_behind = peer.is_full() || peer.unread_bytes() > MOST_ANSWERED_BYTES / 8;
        let behind = if stream.arrived_bytes == 0 && is_behind { MOST_ANSWERED_BYTES } else { 0 };
        (behind + stream.expected_bytes + heartbeats + 600)
            .saturating_sub(stream.arrived_bytes + peer.unread_bytes())
    }

    /// Whether a stream may end, or may have ended.
    pub fn is_stream_uncertain(&self, number: usize) -> bool {
        let socket = &self.sockets[number];
        socket.is_uncertain
            || socket.may_break
            || socket.peer.is_none()
            || socket.stage != Stage::Open
            || self.options.breaks()
            || self.options.jumps
            || self.is_settling
    }

    /// The peer of a stream got these bytes.
    pub fn stream_got(&mut self, number: usize, bytes: &[u8]) {
        for &byte in bytes {
            let Some(stream) = &mut self.sockets[number].stream else { return };
            let parser = &mut stream.parser;
            parser.bytes += 1;
            if byte != b'\n' {
                parser.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut parser.line);
            match line.split_first_chunk::<2>() {
                _ if line.is_empty() => self.dispatch(number),
                _ if line == b":" => parser.is_comment = true,
                _ => {
                    let colon = line.windows(2).position(|two| two == b": ");
                    let (field, value) = line.split_at(colon.unwrap_or(line.len()));
                    let value = value.get(2..).unwrap_or_default();
                    let value_text = String::from_utf8_lossy(value).into_owned();
                    match field {
                        b"id" => parser.head.id = Some(value_text),
                        b"event" => parser.head.name = Some(value_text),
                        b"retry" if value == b"1500" => parser.is_comment = true,
                        b"data" => match &mut parser.data {
                            Some(data) => {
                                data.push(b'\n');
                                data.extend(value);
                            }
                            None => parser.data = Some(value.to_vec()),
                        },
                        _ => self.fail(format!("c{number} got the line {}", text(&line))),
                    }
                }
            }
        }
    }

    /// An empty line ends an event.
    fn dispatch(&mut self, number: usize) {
        let now = self.network.now();
        let Some(stream) = &mut self.sockets[number].stream else { return };
        let Parser { head, data, is_comment, bytes, .. } = std::mem::take(&mut stream.parser);
        let Some(data) = data else {
            // A heartbeat, or the time to wait before coming back.
            if bytes > 3 {
                return;
            }
            stream.heartbeats += 1;
            let count = stream.heartbeats;
            let most = (now - stream.opened_at).as_millis() / stream.heartbeat.as_millis() + 1;
            self.saw("a stream has a heartbeat");
            return self.check(is_comment && u128::from(count) <= most, || {
                format!("c{number} got {count} heartbeats, {most} at most")
            });
        };
        stream.arrived_bytes += bytes;
        stream.events += 1;
        let expected = self.event_heads.get(&data).cloned().unwrap_or_default();
        self.saw("an event arrives");
        if expected != EventHead::default() {
            self.saw("an event with an id or a name arrives");
        }
        self.check(expected == head, || {
            format!("c{number} got {head:?} with {}, expected {expected:?}", text(&data))
        });
        self.arrived(number, 0x81, &data);
    }

    /// The peer of a stream sees its end.
    pub fn stream_ended(&mut self, number: usize) {
        let is_excused = self.is_stream_uncertain(number);
        let is_slow = self.sockets[number].is_uncertain;
        self.check(is_excused, || format!("c{number}: the stream ended for no reason"));
        if is_slow {
            self.saw("a slow stream is ended");
        }
        let socket = &mut self.sockets[number];
        socket.stage = Stage::Closed;
        socket.topics.clear();
    }
}

/// What answers of a connection may wait in the server, and more.
const MOST_ANSWERED_BYTES: usize = 256 << 10;
