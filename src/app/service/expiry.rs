//! What time asks of a worker: deadlines of requests and handshakes, pings and idle timeouts.

use super::{Service, exchange::Phase, frames::second_of};
use crate::{
    base::{Key, Tick},
    conn::{Flags, Protocol, Stage},
    http::Status,
    ws::{self, CloseCode, Opcode},
};

impl Service {
    /// The time of this connection has come, or may have.
    pub(in crate::app) fn expire(&mut self, key: Key) {
        let now = self.core.connections.now();
        let Some(connection) = self.core.connections.get(key) else { return };
        let deadline = connection.deadline;
        match connection.stage {
            Stage::WebSocket => self.expire_socket(key),
            Stage::Closed => {}
            _ if now < deadline => self.core.connections.wake_at(key, deadline),
            Stage::Http => self.expire_request(key),
            Stage::Answering => self.expire_answer(key),
            Stage::Closing => self.core.abort(key, "the close frame was not answered"),
            Stage::Ending | Stage::Aborting => self.core.abort(key, ""),
        }
        self.say_farewells();
    }

    /// What waited for this peer moves. Until its end has reached it, it cannot answer that.
    pub(in crate::app) fn moved(&mut self, key: Key) {
        let deadline = self.core.connections.now().after(self.core.limits.close_timeout);
        if let Some(connection) = self.core.connections.get_mut(key)
            && matches!(connection.stage, Stage::Closing | Stage::Ending)
        {
            connection.deadline = deadline;
        }
    }

    fn expire_request(&mut self, key: Key) {
        let now = self.core.connections.now();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        // A response on its way to a slow reader: as long as it moves, there is time.
        let moved = connection.heard.after(self.core.limits.keep_alive_timeout);
        if connection.queued_bytes() > 0 && now < moved {
            connection.deadline = moved;
            return self.core.connections.wake_at(key, moved);
        }
        // The application does not read, so that the client cannot be asked to be quicker.
        if connection.flags.contains(Flags::IS_PAUSED) {
            let later = now.after(self.core.limits.body_timeout);
            connection.deadline = later;
            return self.core.connections.wake_at(key, later);
        }
        let (is_blocked, has_exchange) = (connection.is_blocked(), connection.has_exchange());
        let phase = match &connection.protocol {
            Protocol::Http(decoder) => Phase::of(decoder),
            _ => Phase::Idle,
        };
        match phase {
            Phase::Idle if has_exchange => self.expire_answer(key),
            _ if is_blocked => self.core.abort(key, ""),
            Phase::Idle => self.core.end(key),
            Phase::Head | Phase::Body => self.fault(key, Status::REQUEST_TIMEOUT),
        }
    }

    fn expire_socket(&mut self, key: Key) {
        let now = self.core.connections.now();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        let mut next = Tick::NEVER;
        if connection.flags.contains(Flags::IS_THROTTLED) {
            if second_of(now) == connection.control_frame_second {
                next = next.min(Tick(now.0 + 1));
            } else {
                connection.flags.remove(Flags::IS_THROTTLED);
                self.core.resumed.push(key);
            }
        }
        if now >= connection.deadline {
            let status = Some((CloseCode::NORMAL, "please reconnect"));
            return self.core.begin_close(key, status);
        }
        next = next.min(connection.deadline);
        if connection.compression.keeps_outgoing() {
            next = next.min(self.core.release_history(key));
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        let config = &self.core.configs[usize::from(connection.route)];
        if !config.idle_timeout.is_zero() {
            // Who is not read from, because the application wishes so, is not suspected.
            if connection.flags.contains(Flags::IS_PAUSED) {
                connection.heard = now;
            }
            let is_pinged = connection.flags.contains(Flags::IS_PINGED);
            let pings = config.send_pings_automatically && !is_pinged;
            let ping_at = connection.heard.after(config.ping_after());
            let over_at = connection.heard.after(config.idle_timeout);
            if now >= over_at {
                self.core.stats.idle_timeouts += 1;
                return self.core.abort(key, "nothing was heard for the idle timeout");
            }
            next = next.min(over_at);
            if pings && now >= ping_at {
                connection.flags.insert(Flags::IS_PINGED);
                self.ask_for_life(key);
            } else if pings {
                next = next.min(ping_at);
            }
        }
        self.core.connections.wake_at(key, next);
    }

    fn ask_for_life(&mut self, key: Key) {
        // A peer that does not read would not answer, and its sends are waited for anyway.
        let connection = self.core.connections.get(key);
        if connection.is_some_and(|connection| connection.queued_bytes() > 0) {
            return;
        }
        if let Some(outbox) = self.core.connections.outbox(key) {
            ws::append_frame(outbox, true, Opcode::Ping, b"", None);
            self.core.stats.bytes_out += ws::framed_length(0) as u64;
        }
    }
}
