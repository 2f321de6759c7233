//! [`Event`] and [`EventStream`]: server-sent events (HTML Living Standard, §9.2).
//!
//! An event stream subscribes to the same topics as WebSockets do. What is published is framed
//! once for all streams, and only if there are any. A stream ends with its connection, so that
//! its frames need no chunks around them.

// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)
)]

use std::time::Duration;

use super::Core;
use crate::{
    base::{Key, Shared},
    pubsub::{self, Audience, Framed, Variant},
    ws::{self, Message},
};

/// One server-sent event.
///
/// ```
/// use sockeye::{Context, Event};
///
/// fn announce(context: &mut Context<'_>, number: u64, price: &str) {
///     let id = number.to_string();
///     // WebSockets get the data as a text message, event streams all of it.
///     context.publish_event("prices", &Event::new(price).id(&id).name("price"));
/// }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Event<'a> {
    id: Option<&'a str>,
    name: Option<&'a str>,
    data: &'a str,
}

impl<'a> Event<'a> {
    /// An event with this data, of any number of lines.
    #[must_use]
    pub fn new(data: &'a str) -> Self {
        Self { id: None, name: None, data }
    }

    /// With this id, which a client sends as Last-Event-ID when it comes back. A line end or NUL
    /// ends it.
    #[must_use]
    pub fn id(mut self, id: &'a str) -> Self {
        self.id = Some(one_line(id));
        self
    }

    /// With this name instead of `message`. A line end ends it.
    #[must_use]
    pub fn name(mut self, name: &'a str) -> Self {
        self.name = Some(one_line(name));
        self
    }

    pub(super) fn data(&self) -> &'a str {
        self.data
    }

    /// As it goes on the wire.
    pub(super) fn frame(&self) -> Shared {
        let mut bytes = Vec::new();
        self.append(&mut bytes);
        Shared::from(&bytes[..])
    }

    fn append(&self, bytes: &mut Vec<u8>) {
        for (field, value) in [("id", self.id), ("event", self.name)] {
            if let Some(value) = value {
                append_line(bytes, field, value);
            }
        }
        // Each of the three line ends of the format would end the field.
        let mut rest = self.data;
        while let Some((line, after)) = rest.split_once(['\r', '\n']) {
            append_line(bytes, "data", line);
            let is_pair = rest.as_bytes().get(line.len()) == Some(&b'\r');
            rest = after.strip_prefix('\n').filter(|_| is_pair).unwrap_or(after);
        }
        append_line(bytes, "data", rest);
        bytes.push(b'\n');
    }
}

/// A response that goes on: what is published in its topics, as server-sent events.
///
/// ```
/// use sockeye::{App, Event, EventStream, Response};
///
/// let app = App::new().get("/prices", |request| {
///     let mut stream = EventStream::new().topic("prices");
///     if let Some(last) = request.header("Last-Event-ID") {
///         for price in prices_after(last) {
///             stream = stream.event(&Event::new(&price));
///         }
///     }
///     Response::events(stream)
/// });
/// # fn prices_after(_: &str) -> Vec<String> { Vec::new() }
/// ```
#[derive(Debug, Clone)]
pub struct EventStream {
    pub(super) topics: Vec<String>,
    pub(super) first: Vec<u8>,
    pub(super) heartbeat: Duration,
}

impl EventStream {
    /// Without topics and events.
    #[must_use]
    pub fn new() -> Self {
        Self { topics: Vec::new(), first: Vec::new(), heartbeat: Duration::from_secs(15) }
    }

    /// Subscribes to a topic. Binary messages in it do not show.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Begins with this event.
    #[must_use]
    pub fn event(mut self, event: &Event<'_>) -> Self {
        event.append(&mut self.first);
        self
    }

    /// How long the client is to wait before it comes back when the connection is lost.
    #[must_use]
    pub fn retry(mut self, delay: Duration) -> Self {
        append_line(&mut self.first, "retry", &delay.as_millis().to_string());
        self.first.push(b'\n');
        self
    }

    /// How often a comment is sent, by which both sides and whatever stands between them see that
    /// the connection lives; at least 100 ms. Default 15 s.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval.max(Duration::from_millis(100));
        self
    }
}

impl Default for EventStream {
    fn default() -> Self {
        Self::new()
    }
}

/// What event streams get of a message that was framed for WebSockets: one frame from a server
/// (RFC 6455 §5.2).
pub(super) fn frame_as_event(frame: &[u8]) -> Shared {
    let payload = match frame {
        [0x81, 127, rest @ ..] => rest.get(8..),
        [0x81, 126, rest @ ..] => rest.get(2..),
        [0x81, _, rest @ ..] => Some(rest),
        _ => None,
    };
    match payload.and_then(|payload| std::str::from_utf8(payload).ok()) {
        Some(text) => Event::new(text).frame(),
        None => Shared::from(HEARTBEAT),
    }
}

/// A comment, which clients pass over.
pub(super) const HEARTBEAT: &[u8] = b":\n\n";

fn one_line(text: &str) -> &str {
    text.split(['\r', '\n', '\0']).next().unwrap_or_default()
}

fn append_line(bytes: &mut Vec<u8>, field: &str, value: &str) {
    bytes.extend_from_slice(field.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

impl Core {
    /// Publishes an event to every worker: its data to WebSockets, all of it to event streams.
    pub(super) fn publish_event(&mut self, topic: &[u8], event: &Event<'_>) -> bool {
        let framed = |core: &mut Self, audience: &Audience| {
            let framed = Framed::plain(ws::frame(Message::Text(event.data())));
            core.with_forms(framed, audience).with(Variant::EVENT_STREAM, event.frame())
        };
        self.publish_framed(None, topic, framed)
    }

    /// Subscribes an event stream.
    pub(super) fn subscribe_stream(
        &mut self,
        key: Key,
        topics: &[String],
    ) -> Result<(), pubsub::Error> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let id = self.topics.add(key, Variant::EVENT_STREAM)?;
        connection.subscriber = Some(id);
        connection.route = self.event_route;
        let result = topics.iter().try_for_each(|topic| {
            self.with_topics(|topics, sink| topics.subscribe(id, topic.as_bytes(), sink)).map(drop)
        });
        self.tell_interest();
        result
    }

    /// Frames a message for event streams too, if there are any.
    pub(super) fn with_event_form(&self, framed: Framed, audience: &Audience) -> Framed {
        let streams = audience.subscribers.get(Variant::EVENT_STREAM.index());
        if streams.is_none_or(|count| *count == 0) || framed.has(Variant::EVENT_STREAM) {
            return framed;
        }
        let form = frame_as_event(framed.form(Variant::PLAIN));
        framed.with(Variant::EVENT_STREAM, form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{self, Message};

    #[test]
    fn events_have_a_line_for_each_line() {
        let frame = |event: Event<'_>| String::from_utf8(event.frame().to_vec()).unwrap();
        assert_eq!(frame(Event::new("a")), "data: a\n\n");
        assert_eq!(frame(Event::new("")), "data: \n\n");
        assert_eq!(frame(Event::new(" a\nb\r\nc\rd\n")), {
            "data:  a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        });
        let event = Event::new("x").id("7\nevent: forged").name("price\rdata: forged");
        assert_eq!(frame(event), "id: 7\nevent: price\ndata: x\n\n");
    }

    #[test]
    fn frames_of_any_length_become_events() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            let event = frame_as_event(&ws::frame(Message::Text(&text)));
            assert_eq!(&*event, format!("data: {text}\n\n").as_bytes(), "{length}");
        }
        assert_eq!(&*frame_as_event(&ws::frame(Message::Binary(b"x"))), HEARTBEAT);
    }
}
