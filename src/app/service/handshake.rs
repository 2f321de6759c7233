//! Requests for WebSockets and their answers: the opening handshake (RFC 6455 §4.2).

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    Place, Service,
    active::State,
    exchange::{Phase, note_panic, request_of},
    site_of,
};
use crate::{
    app::{
        Compressor, Response,
        endpoint::Answer,
        upgrade::{AnyVerdict, Ticket},
    },
    base::{Key, Tick},
    conn::{Compression, Flags, Protocol, Stage},
    http::{RequestHead, Status},
    ws::{self, Opening, deflate::Agreement},
};

/// What a 101 needs to know of its request.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) route: u16,
    accept: ws::Accept,
    // The one that the route would choose.
    protocol: Option<Cow<'static, str>>,
    deflate: Option<Agreement>,
}

type Headers = Vec<(Cow<'static, str>, Cow<'static, str>)>;

impl Service {
    pub(super) fn handshake(&mut self, key: Key, head: &RequestHead<'_>, route: u16) {
        let opening = match Opening::read(head) {
            Ok(opening) => opening,
            Err(error) => return self.respond(key, refusal(error)),
        };
        let config = &self.core.configs[usize::from(route)];
        if !config.origin.allows(head) {
            return self.respond(key, refusal(ws::HandshakeError::Origin));
        }
        let offers = |name: &&String| opening.protocols().any(|offered| offered == name.as_str());
        let protocol = config.protocols.iter().find(offers).map(|name| Cow::Owned(name.clone()));
        let compression = &config.compression;
        let deflate = match compression.is_on() {
            true => opening.deflate(&compression.preferences()),
            false => None,
        };
        let handshake = Handshake { route, accept: opening.accept(), protocol, deflate };
        // Found before, so found again: the second time to lend its parameters.
        let site = site_of(&self.sites, &self.hosts, head);
        let Ok(found) = site.sockets.find(head.method(), head.path()) else { return };
        let request = request_of(&self.core, key, head, found.parameters);
        let endpoint = &mut self.routes[usize::from(route)];
        let answer = catch_unwind(AssertUnwindSafe(|| endpoint.upgrade(&request)));
        self.answer(key, handshake, answer.ok());
    }

    /// Carries out what a handler has said; `None` if it panicked.
    pub(super) fn answer(&mut self, key: Key, handshake: Handshake, answer: Option<Answer>) {
        match answer {
            Some(Answer::Accept { slot, .. }) if self.grace.is_some() => {
                self.routes[usize::from(handshake.route)].discard(slot);
                self.respond(key, Response::of_status(Status::SERVICE_UNAVAILABLE));
            }
            Some(Answer::Accept { slot, protocol, headers }) => {
                self.accept(key, handshake, slot, protocol, &headers);
            }
            Some(Answer::Reject(response)) => self.respond(key, response),
            Some(Answer::Later(start)) => self.wait_for_verdict(key, handshake, start),
            None => {
                note_panic(&mut self.core);
                self.respond(key, Response::of_status(Status::INTERNAL_SERVER_ERROR));
            }
        }
    }

    fn accept(
        &mut self,
        key: Key,
        handshake: Handshake,
        slot: u32,
        protocol: Option<Cow<'static, str>>,
        headers: &Headers,
    ) {
        let Handshake { route, accept, protocol: default, deflate } = handshake;
        let protocol = protocol.or(default);
        let headers = headers.iter().map(|(name, value)| (&**name, value.as_bytes()));
        let (protocol, agreed) = (protocol.as_deref(), deflate.as_ref());
        let date = &self.date;
        let accepted = self.core.append(key, |outbox| {
            ws::append_accept(outbox, accept, protocol, agreed, headers, date)
        });
        let Some(accepted) = accepted else { return };
        if let Err(error) = accepted {
            log::error!(worker = self.core.worker; "the 101 cannot be sent: {error}");
            self.routes[usize::from(route)].discard(slot);
            return self.respond(key, Response::of_status(Status::INTERNAL_SERVER_ERROR));
        }
        let now = self.core.connections.now();
        let config = &self.core.configs[usize::from(route)];
        let deadline = match config.max_lifetime.is_zero() {
            true => Tick::NEVER,
            false => now.after(config.max_lifetime),
        };
        let idle = (!config.idle_timeout.is_zero()).then(|| now.after(config.ping_after()));
        let deflates = config.compression.compressor != Compressor::Off;
        let compression = match (&deflate, &mut self.core.deflation) {
            (Some(agreement), Some(deflation)) => deflation.open(key, agreement, deflates),
            _ => Compression::default(),
        };
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.protocol = Protocol::WebSocket(ws::Decoder::new(ws::Role::Server));
        connection.compression = compression;
        connection.stage = Stage::WebSocket;
        (connection.route, connection.slot) = (route, slot);
        (connection.heard, connection.deadline) = (now, deadline);
        self.core.connections.wake_at(key, deadline);
        if let Some(idle) = idle {
            self.core.connections.wake_at(key, idle);
        }
        if compression.keeps_outgoing() {
            let release = self.core.release_history(key);
            self.core.connections.wake_at(key, release);
        }
        self.core.stats.websockets += 1;
        let at = Place { key, slot };
        self.call(key, route, |endpoint, core| endpoint.open(core, at));
    }

    /// The answer that a client has waited for.
    pub(super) fn judge_handshake(&mut self, key: Key, verdict: AnyVerdict) {
        let Some(active) = self.exchanges.remove(&key) else { return };
        let State::Handshake(handshake) = active.into_state() else { return };
        let answer = self.routes[usize::from(handshake.route)].judge(verdict);
        let idle = self.deadline(Phase::Idle);
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.flags.remove(Flags::HAS_EXCHANGE);
            connection.stage = Stage::Http;
            connection.deadline = idle;
            self.core.connections.wake_at(key, idle);
        }
        // Who has the id of a socket that was not to be must not reach the next one: so there is
        // none on this connection.
        if !matches!(answer, Answer::Accept { .. }) {
            self.set_keep_alive(key, false);
        }
        self.answer(key, handshake, Some(answer));
        self.core.resumed.push(key);
    }

    fn wait_for_verdict(
        &mut self,
        key: Key,
        handshake: Handshake,
        start: Box<dyn FnOnce(crate::Remote, Ticket)>,
    ) {
        let Some(ticket) = self.begin_exchange(key, State::Handshake(handshake)) else { return };
        self.await_answer(key);
        let remote = self.core.remote.clone();
        // If it panics, the pending upgrade is dropped with it, which is an answer.
        if catch_unwind(AssertUnwindSafe(|| start(remote, ticket))).is_err() {
            note_panic(&mut self.core);
        }
    }
}

/// The response to a handshake that fails.
pub(super) fn refusal(error: ws::HandshakeError) -> Response {
    let fields = error.fields().iter();
    let status = error.status();
    let text = format!("{status}: {error}");
    fields.fold(Response::text(text).with_status(status), |response, (name, value)| {
        response.header(*name, std::str::from_utf8(value).unwrap_or_default())
    })
}
