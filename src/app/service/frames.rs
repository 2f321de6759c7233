//! Events of WebSockets, on their way to the handlers.

use super::{Place, Service, place};
use crate::{
    base::Key,
    conn::{Connection, Flags, Protocol, Stage},
    ws::{self, CloseCode, Event, Opcode},
};

impl Service {
    /// Decodes frames until more bytes are needed, or the connection may not go on. Returns how
    /// many bytes are done with.
    pub(super) fn decode_frames(&mut self, key: Key, input: &mut [u8]) -> usize {
        let Some(connection) = self.core.connections.get_mut(key) else { return input.len() };
        let (route, at) = place(key, connection);
        let Protocol::WebSocket(mut decoder) = connection.protocol.lend() else {
            return input.len();
        };
        let mut stage = connection.stage;
        let mut lent = match connection.compression.inflates() {
            true => self.core.deflation.as_mut().map(|deflation| deflation.lend(key)),
            false => None,
        };
        let limits = self.decoding[usize::from(route)];
        let mut done = 0;
        let goes_on = loop {
            let rest = &mut input[done..];
            let step = match &mut lent {
                None => decoder.next(rest, &limits),
                Some(lent) => decoder.next_deflated(rest, &limits, &mut lent.inflating()),
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    self.core.stats.protocol_errors += 1;
                    self.core.fail(key, error.close_code(), &error.to_string());
                    break false;
                }
            };
            done += step.consumed;
            let Some(event) = step.event else { break true };
            // After our close frame only the peer's is of interest (RFC 6455 §1.4).
            if stage == Stage::WebSocket {
                if let Some(gathered) = step.gathered {
                    self.core.lent = Some(gathered.clone());
                }
                self.event(route, at, event);
                self.core.lent = None;
            } else if let Event::Close(status) = event {
                self.core.peer_closed(key, status);
            }
            match self.core.goes_on(key) {
                Some(now) => stage = now,
                None => {
                    // Who has been sent a large message may be silent for long.
                    decoder.let_go();
                    break self.core.connections.get(key).is_some_and(Connection::is_decoded);
                }
            }
        };
        if let (Some(lent), Some(deflation)) = (lent, &mut self.core.deflation) {
            deflation.take_back(key, lent);
        }
        if goes_on && let Some(connection) = self.core.connections.get_mut(key) {
            connection.protocol = Protocol::WebSocket(decoder);
            return done;
        }
        input.len()
    }

    /// Deals with one event of an open WebSocket.
    #[inline]
    fn event(&mut self, route: u16, at: Place, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                self.core.stats.messages_in += 1;
                self.call(at.key, route, |endpoint, core| endpoint.message(core, at, message));
            }
            Event::Fragment { message, is_last } => {
                self.core.stats.messages_in += u64::from(is_last);
                self.call(at.key, route, |endpoint, core| {
                    endpoint.fragment(core, at, message, is_last);
                });
            }
            Event::Ping(payload) => {
                self.count_control_frame(at.key);
                // RFC 6455 §5.5.3: the same application data.
                if let Some(outbox) = self.core.connections.outbox(at.key) {
                    ws::append_frame(outbox, true, Opcode::Pong, payload, None);
                    self.core.stats.bytes_out += ws::framed_length(payload.len()) as u64;
                }
                self.call(at.key, route, |endpoint, core| endpoint.ping(core, at, payload));
            }
            Event::Pong(payload) => {
                self.count_control_frame(at.key);
                self.call(at.key, route, |endpoint, core| endpoint.pong(core, at, payload));
            }
            Event::Close(status) => self.core.peer_closed(at.key, status),
        }
    }

    /// Reading stops for the rest of the second in which there are too many of them.
    fn count_control_frame(&mut self, key: Key) {
        let now = self.core.connections.now();
        let max = self.core.limits.max_control_frames_per_second;
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        let second = second_of(now);
        if connection.control_frame_second != second {
            connection.control_frame_second = second;
            connection.control_frame_count = 0;
        }
        connection.control_frame_count = connection.control_frame_count.saturating_add(1);
        if connection.control_frame_count > max {
            connection.flags.insert(Flags::IS_THROTTLED);
            let at = now.after(std::time::Duration::from_secs(1));
            self.core.connections.wake_at(key, at);
            self.core.connections.touch(key);
        }
    }

    /// Closes every WebSocket, and every connection between two requests.
    pub(in crate::app) fn begin_shutdown(&mut self) {
        let keys: Vec<Key> = self.core.connections.keys().collect();
        for key in keys {
            let is_at_rest = self.core.connections.is_at_rest(key);
            let Some(connection) = self.core.connections.get_mut(key) else { continue };
            match connection.stage {
                Stage::WebSocket => {
                    let status = Some((CloseCode::GOING_AWAY, "the server is shutting down"));
                    self.core.begin_close(key, status);
                }
                Stage::Http if is_at_rest => self.core.abort(key, ""),
                Stage::Http if !connection.has_exchange() => self.core.end(key),
                Stage::Http | Stage::Answering => {
                    connection.exchange.keep_alive = false;
                    self.end_events(key);
                }
                Stage::Closing | Stage::Ending | Stage::Aborting | Stage::Closed => {}
            }
        }
        self.say_farewells();
    }

    /// Drops what is left.
    pub(in crate::app) fn end_shutdown(&mut self) {
        let keys: Vec<Key> = self.core.connections.keys().collect();
        for key in keys {
            self.core.abort(key, "the server has shut down");
        }
        self.say_farewells();
    }
}

/// The second that a tick is in, modulo 65,536.
#[allow(clippy::cast_possible_truncation, reason = "modulo is what is wanted")]
pub(super) fn second_of(tick: crate::base::Tick) -> u16 {
    (u64::from(tick.0) * u64::from(crate::base::Tick::MILLISECONDS) / 1000) as u16
}
