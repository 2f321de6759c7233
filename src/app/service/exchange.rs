//! Requests and their answers, among them the opening handshake (RFC 6455 §4.2).

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{Place, Service};
use crate::{
    app::{
        Request, Response, SocketId,
        endpoint::Answer,
        upgrade::{AnyVerdict, Ticket},
    },
    base::{Key, Tick},
    conn::{Protocol, Stage},
    http::{self, Event, HeaderSlots, NoMatch, RequestHead, ResponseWriter, Status},
    ws::{self, Opening},
};

/// A request for a WebSocket that is answered later.
#[derive(Debug)]
pub(super) struct Waiting {
    handshake: Handshake,
    number: u64,
}

/// What a 101 needs to know of its request.
#[derive(Debug)]
struct Handshake {
    route: u16,
    accept: ws::Accept,
    // The one that the route would choose.
    protocol: Option<Cow<'static, str>>,
}

type Headers = Vec<(Cow<'static, str>, Cow<'static, str>)>;

impl Service {
    /// Decodes requests until more bytes are needed, or the connection may not go on. Returns
    /// how many bytes are done with; what follows them may be another protocol.
    pub(super) fn decode_requests(&mut self, key: Key, input: &mut [u8]) -> usize {
        let limits = self.core.limits.http;
        let Some(connection) = self.core.connections.get_mut(key) else { return input.len() };
        let Protocol::Http(mut decoder) = connection.protocol.lend() else { return 0 };
        let before = Phase::of(&decoder);
        let (mut done, mut count) = (0, 0);
        loop {
            let mut slots = HeaderSlots::new();
            let step = match decoder.next(&mut input[done..], &mut slots, &limits) {
                Ok(step) => step,
                Err(error) => {
                    self.fault(key, error.status());
                    return input.len();
                }
            };
            done += step.consumed;
            match step.event {
                None => break,
                Some(Event::Request(head)) => {
                    count += 1;
                    self.request(key, &head);
                }
                // A body that nobody wants.
                Some(Event::Body(_) | Event::End) => {}
            }
            match self.core.connections.get(key).map(|connection| connection.stage) {
                Some(Stage::Http) if self.core.goes_on(key).is_some() => {}
                Some(Stage::Http | Stage::Answering) => break,
                Some(Stage::WebSocket) => return done,
                _ => return input.len(),
            }
        }
        let phase = Phase::of(&decoder);
        let deadline = (count > 0 || phase != before).then(|| self.deadline(phase));
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.protocol = Protocol::Http(decoder);
            if let Some(deadline) = deadline.filter(|_| connection.stage == Stage::Http) {
                connection.deadline = deadline;
                self.core.connections.wake_at(key, deadline);
            }
        }
        done
    }

    fn deadline(&self, phase: Phase) -> Tick {
        let limits = &self.core.limits;
        self.core.connections.now().after(match phase {
            Phase::Idle => limits.keep_alive_timeout,
            Phase::Head => limits.header_timeout,
            Phase::Body => limits.body_timeout,
        })
    }

    /// What the client sent is no request: nobody knows where the next one would begin.
    pub(super) fn fault(&mut self, key: Key, status: Status) {
        self.core.stats.bad_requests += 1;
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.exchange = http::Exchange::FAULT;
        }
        self.respond(key, &Response::of_status(status));
    }

    fn request(&mut self, key: Key, head: &RequestHead<'_>) {
        self.core.stats.requests += 1;
        let is_ending = self.grace.is_some();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.exchange = head.exchange();
        connection.exchange.keep_alive &= !is_ending && !head.expect_continue();
        if Opening::is_asked_for(head)
            && let Ok(found) = self.sockets.find(head.method(), head.path())
        {
            return self.handshake(key, head, *found.value);
        }
        let response = match self.paths.find(head.method(), head.path()) {
            Ok(found) => {
                let page = &mut self.pages[usize::from(*found.value)];
                let request = Request {
                    head: *head,
                    parameters: found.parameters,
                    remote_addr: self.core.connections.get(key).and_then(|c| c.peer.address()),
                    remote: &self.core.remote,
                    worker: self.core.worker,
                };
                catch_unwind(AssertUnwindSafe(|| page.answer(&request))).unwrap_or_else(|_| {
                    self.core.stats.handler_panics += 1;
                    log::error!(worker = self.core.worker; "a handler panicked: 500 is answered");
                    Response::of_status(Status::INTERNAL_SERVER_ERROR)
                })
            }
            Err(no_match) => self.without_page(head, no_match),
        };
        self.respond(key, &response);
    }

    fn without_page(&self, head: &RequestHead<'_>, no_match: NoMatch) -> Response {
        match no_match {
            NoMatch::MethodNotAllowed { allow } => {
                Response::of_status(Status::METHOD_NOT_ALLOWED).header("Allow", allow)
            }
            NoMatch::NotFound if self.sockets.find(head.method(), head.path()).is_err() => {
                Response::of_status(Status::NOT_FOUND)
            }
            // A WebSocket lives here, and was not asked for.
            NoMatch::NotFound if head.method() == "GET" => refusal(ws::HandshakeError::NotUpgrade),
            NoMatch::NotFound => refusal(ws::HandshakeError::Method),
        }
    }

    fn handshake(&mut self, key: Key, head: &RequestHead<'_>, route: u16) {
        let opening = match Opening::read(head) {
            Ok(opening) => opening,
            Err(error) => return self.respond(key, &refusal(error)),
        };
        let config = &self.core.configs[usize::from(route)];
        if !config.origin.allows(head) {
            return self.respond(key, &refusal(ws::HandshakeError::Origin));
        }
        let offers = |name: &&String| opening.protocols().any(|offered| offered == name.as_str());
        let protocol = config.protocols.iter().find(offers).map(|name| Cow::Owned(name.clone()));
        let handshake = Handshake { route, accept: opening.accept(), protocol };
        // Found before, so found again: the second time to lend its parameters.
        let Ok(found) = self.sockets.find(head.method(), head.path()) else { return };
        let request = Request {
            head: *head,
            parameters: found.parameters,
            remote_addr: self.core.connections.get(key).and_then(|c| c.peer.address()),
            remote: &self.core.remote,
            worker: self.core.worker,
        };
        let endpoint = &mut self.routes[usize::from(route)];
        let answer = catch_unwind(AssertUnwindSafe(|| endpoint.upgrade(&request)));
        self.answer(key, handshake, answer.ok());
    }

    /// Carries out what a handler has said; `None` if it panicked.
    fn answer(&mut self, key: Key, handshake: Handshake, answer: Option<Answer>) {
        match answer {
            Some(Answer::Accept { slot, .. }) if self.grace.is_some() => {
                self.routes[usize::from(handshake.route)].discard(slot);
                self.respond(key, &Response::of_status(Status::SERVICE_UNAVAILABLE));
            }
            Some(Answer::Accept { slot, protocol, headers }) => {
                self.accept(key, handshake, slot, protocol, &headers);
            }
            Some(Answer::Reject(response)) => self.respond(key, &response),
            Some(Answer::Later(start)) => self.wait_for_verdict(key, handshake, start),
            None => {
                self.core.stats.handler_panics += 1;
                log::error!(worker = self.core.worker; "a handler panicked: 500 is answered");
                self.respond(key, &Response::of_status(Status::INTERNAL_SERVER_ERROR));
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
        let Handshake { route, accept, protocol: default } = handshake;
        let protocol = protocol.or(default);
        let headers = headers.iter().map(|(name, value)| (&**name, value.as_bytes()));
        let Some(outbox) = self.core.connections.outbox(key) else { return };
        if let Err(error) =
            ws::append_accept(outbox, accept, protocol.as_deref(), headers, &self.date)
        {
            log::error!(worker = self.core.worker; "the 101 cannot be sent: {error}");
            self.routes[usize::from(route)].discard(slot);
            return self.respond(key, &Response::of_status(Status::INTERNAL_SERVER_ERROR));
        }
        let now = self.core.connections.now();
        let config = &self.core.configs[usize::from(route)];
        let deadline = match config.max_lifetime.is_zero() {
            true => crate::conn::Connections::NEVER,
            false => now.after(config.max_lifetime),
        };
        let idle = (!config.idle_timeout.is_zero()).then(|| now.after(config.ping_after()));
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.protocol = Protocol::WebSocket(ws::Decoder::new(ws::Role::Server));
        connection.stage = Stage::WebSocket;
        (connection.route, connection.slot) = (route, slot);
        (connection.heard, connection.deadline) = (now, deadline);
        self.core.connections.wake_at(key, deadline);
        if let Some(idle) = idle {
            self.core.connections.wake_at(key, idle);
        }
        self.core.stats.websockets += 1;
        let at = Place { key, slot };
        self.call(key, route, |endpoint, core| endpoint.open(core, at));
    }

    fn wait_for_verdict(
        &mut self,
        key: Key,
        handshake: Handshake,
        start: Box<dyn FnOnce(crate::Remote, Ticket)>,
    ) {
        self.waiting_count += 1;
        let number = self.waiting_count;
        let deadline = self.core.connections.now().after(self.core.limits.answer_timeout);
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.stage = Stage::Answering;
        connection.deadline = deadline;
        self.core.connections.wake_at(key, deadline);
        self.waiting.insert(key, Waiting { handshake, number });
        let ticket = Ticket { id: SocketId::new(self.core.worker, key), number };
        let remote = self.core.remote.clone();
        // If it panics, the pending upgrade is dropped with it, which is an answer.
        if catch_unwind(AssertUnwindSafe(|| start(remote, ticket))).is_err() {
            self.core.stats.handler_panics += 1;
            log::error!(worker = self.core.worker; "a handler panicked: 500 is answered");
        }
    }

    /// The answer to a request that waited, if it still does.
    pub(super) fn judge(&mut self, ticket: Ticket, verdict: AnyVerdict) {
        let key = ticket.id.key();
        let is_current = self.waiting.get(&key).is_some_and(|w| w.number == ticket.number);
        let Some(Waiting { handshake, .. }) =
            is_current.then(|| self.waiting.remove(&key)).flatten()
        else {
            return;
        };
        let answer = self.routes[usize::from(handshake.route)].judge(verdict);
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.stage = Stage::Http;
        }
        let idle = self.deadline(Phase::Idle);
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.deadline = idle;
            self.core.connections.wake_at(key, idle);
        }
        self.answer(key, handshake, Some(answer));
        self.core.resumed.push(key);
    }

    /// Forgets the request that waits, so that it can be answered otherwise.
    pub(super) fn give_up_waiting(&mut self, key: Key) {
        self.waiting.remove(&key);
    }

    /// Writes a response to the request at hand. If the connection is not kept alive, it is the
    /// last thing written.
    pub(super) fn respond(&mut self, key: Key, response: &Response) {
        let Some(connection) = self.core.connections.get(key) else { return };
        let mut exchange = connection.exchange;
        let Some(outbox) = self.core.connections.outbox(key) else { return };
        let before = outbox.len();
        let mut writer = ResponseWriter::new(outbox, &self.date, exchange);
        if let Err(error) = response.write(&mut writer) {
            log::error!(worker = self.core.worker; "a response cannot be sent: {error}");
            exchange.keep_alive = false;
            let mut writer = ResponseWriter::new(outbox, &self.date, exchange);
            // Plain text and one field of ours: it can be sent.
            let _ = Response::of_status(Status::INTERNAL_SERVER_ERROR).write(&mut writer);
        }
        self.core.stats.bytes_out += outbox.len().saturating_sub(before) as u64;
        if !exchange.keep_alive {
            self.core.end(key);
        }
    }
}

/// Where a connection is in its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Head,
    Body,
}

impl Phase {
    pub(super) fn of(decoder: &http::Decoder) -> Self {
        if decoder.is_in_head() {
            Self::Head
        } else if decoder.is_in_body() {
            Self::Body
        } else {
            Self::Idle
        }
    }
}

fn refusal(error: ws::HandshakeError) -> Response {
    let fields = error.fields().iter();
    fields.fold(Response::of_status(error.status()), |response, (name, value)| {
        response.header(*name, std::str::from_utf8(value).unwrap_or_default())
    })
}
