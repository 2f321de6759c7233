//! Requests and their answers, as far as these are said at once; `active` has the others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    Service,
    active::{Collected, Handling, State},
    handshake::refusal,
    site_of,
};
use crate::{
    app::{Core, Request, Response, page::Page},
    base::{Key, Tick},
    conn::{Protocol, Stage},
    http::{
        self, BodyLength, Event, HeaderSlots, NoMatch, Parameters, RequestHead, ResponseWriter,
        Status, Trailers,
    },
    ws::{self, Opening},
};

impl Service {
    /// Decodes requests until more bytes are needed, or the connection may not go on. Returns
    /// how many bytes are done with; what follows them may be another protocol.
    pub(super) fn decode_requests(&mut self, key: Key, input: &mut [u8]) -> usize {
        let mut slots = std::mem::take(&mut self.slots);
        let done = self.decode_requests_with(&mut slots, key, input);
        self.slots = slots;
        done
    }

    fn decode_requests_with(
        &mut self,
        slots: &mut HeaderSlots,
        key: Key,
        input: &mut [u8],
    ) -> usize {
        let mut limits = self.core.limits.http;
        let Some(connection) = self.core.connections.get_mut(key) else { return input.len() };
        let has_exchange = connection.has_exchange;
        let Protocol::Http(mut decoder) = connection.protocol.lend() else { return 0 };
        let before = Phase::of(&decoder);
        // How long the body may be is known when its route is.
        limits.max_body_bytes = match before {
            Phase::Body => self.max_body_bytes(key, has_exchange),
            Phase::Idle | Phase::Head => u64::MAX,
        };
        let (mut done, mut count) = (0, 0);
        loop {
            let is_in_body = decoder.is_in_body();
            let step = match decoder.next(&mut input[done..], slots, &limits) {
                Ok(step) => step,
                Err(error) if is_in_body => {
                    self.body_fault(key, error.status());
                    return input.len();
                }
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
                    let taken = self.request(key, &head, step.rest);
                    if taken > 0 {
                        done += taken;
                        decoder.skip_body();
                    }
                    let connection = self.core.connections.get(key);
                    let has_exchange = connection.is_some_and(|c| c.has_exchange);
                    if decoder.is_in_body() {
                        limits.max_body_bytes = self.max_body_bytes(key, has_exchange);
                    } else if !has_exchange {
                        // It has been answered: that it is complete is no news to anybody.
                        decoder.skip_end();
                    }
                }
                Some(Event::Body(piece)) => self.body(key, piece),
                Some(Event::Trailers(trailers)) => self.trailers(key, trailers),
                Some(Event::End) => {
                    limits.max_body_bytes = u64::MAX;
                    self.request_complete(key);
                }
            }
            match self.core.connections.get(key).map(|connection| connection.stage) {
                Some(Stage::Http) if self.goes_on(key, count) => {}
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

    /// Whether more may be decoded, after so many requests in one go.
    #[inline]
    fn goes_on(&mut self, key: Key, count: usize) -> bool {
        if count < self.core.limits.max_pipelined_requests {
            return self.core.goes_on(key).is_some();
        }
        self.core.connections.fill(key);
        false
    }

    pub(super) fn deadline(&self, phase: Phase) -> Tick {
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
        log::debug!(worker = self.core.worker, socket:? = key; "a request is refused: {status}");
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        // A response that has begun cannot be taken back.
        if connection.has_exchange && self.abandon(key) {
            return self.core.abort(key, "");
        }
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.exchange = http::Exchange::FAULT;
        }
        self.respond(key, Response::of_status(status));
    }

    /// The body of a request is none. A request that has been answered is not answered once more:
    /// the client would take that for the answer to its next one.
    fn body_fault(&mut self, key: Key, status: Status) {
        if self.core.connections.get(key).is_some_and(|connection| connection.has_exchange) {
            return self.fault(key, status);
        }
        self.core.stats.bad_requests += 1;
        self.core.end(key);
    }

    /// Deals with the head of a request. What follows it is given too; returns how much of that
    /// was taken: all of a body, or nothing.
    fn request(&mut self, key: Key, head: &RequestHead<'_>, rest: &[u8]) -> usize {
        self.core.stats.requests += 1;
        let is_ending = self.grace.is_some();
        let Some(connection) = self.core.connections.get_mut(key) else { return 0 };
        connection.exchange = head.exchange();
        // A body that nobody wants is read over, if it is not too long for that.
        let max = self.core.limits.http.max_body_bytes;
        let is_long = matches!(head.body(), BodyLength::Known(length) if length > max);
        connection.exchange.keep_alive &= !is_ending && !is_long && !head.expect_continue();
        let site = site_of(&self.sites, &self.hosts, head);
        if Opening::is_asked_for(head)
            && let Ok(found) = site.sockets.find(head.method(), head.path())
        {
            let route = *found.value;
            self.handshake(key, head, route);
            return 0;
        }
        for skip in 0.. {
            match self.ask(key, head, rest, skip) {
                Asked::Done => return 0,
                Asked::Body => return body_in(head, rest).map_or(0, <[u8]>::len),
                Asked::Passed => {}
            }
        }
        0
    }

    /// Asks a page: the first that fits, or the one after so many others.
    #[inline]
    fn ask(&mut self, key: Key, head: &RequestHead<'_>, rest: &[u8], skip: usize) -> Asked {
        let site = site_of(&self.sites, &self.hosts, head);
        let found = match site.paths.find_after(head.method(), head.path(), skip) {
            Ok(found) => found,
            Err(no_match) => {
                let response = self.without_page(head, no_match);
                self.respond(key, response);
                return Asked::Done;
            }
        };
        let number = *found.value;
        let page = &mut self.pages[usize::from(number)];
        if let BodyLength::Known(length) = head.body() {
            let max = page.max_body_bytes().unwrap_or(self.core.limits.http.max_body_bytes);
            if length > max {
                self.fault(key, Status::CONTENT_TOO_LARGE);
                return Asked::Done;
            }
        }
        let request = request_of(&self.core, key, head, found.parameters);
        match page {
            Page::Plain(answer) => {
                let response = catch_unwind(AssertUnwindSafe(|| answer(&request))).ok();
                self.respond_unless_passed(key, response, Asked::Done)
            }
            Page::Collecting { answer, .. } => {
                let Some(body) = body_in(head, rest) else {
                    self.collect(key, head, (number, skip), rest.is_empty());
                    return Asked::Done;
                };
                let response = catch_unwind(AssertUnwindSafe(|| answer(&request, body))).ok();
                let keep_alive = head.keep_alive() && self.grace.is_none();
                self.set_keep_alive(key, keep_alive);
                self.respond_unless_passed(key, response, Asked::Body)
            }
            // RFC 9110 §15.5.12.
            Page::Streaming(handler)
                if handler.requires_length() && head.body() == BodyLength::Chunked =>
            {
                self.fault(key, Status::LENGTH_REQUIRED);
                Asked::Done
            }
            Page::Streaming(handler) => {
                match catch_unwind(AssertUnwindSafe(|| handler.request(&request))) {
                    Ok(Ok(slot)) => self.receive(key, head, number, slot, rest.is_empty()),
                    Ok(Err(response)) => {
                        return self.respond_unless_passed(key, Some(response), Asked::Done);
                    }
                    Err(_) => self.respond_or_500(key, None),
                }
                Asked::Done
            }
        }
    }

    #[inline]
    fn respond_unless_passed(
        &mut self,
        key: Key,
        response: Option<Response>,
        asked: Asked,
    ) -> Asked {
        match response {
            Some(response) if response.is_pass() => return Asked::Passed,
            Some(mut response) => self.respond_with(key, &mut response),
            None => self.respond_or_500(key, None),
        }
        asked
    }

    /// Begins to keep a body for its page.
    fn collect(
        &mut self,
        key: Key,
        head: &RequestHead<'_>,
        (page, skip): (u16, usize),
        is_awaited: bool,
    ) {
        let collected = Collected { page, skip, head: head.bytes().into(), ..Collected::default() };
        self.begin_exchange(key, State::Collecting(collected));
        self.invite_body(key, head, is_awaited);
    }

    /// Begins to hand a body to its handler.
    fn receive(
        &mut self,
        key: Key,
        head: &RequestHead<'_>,
        page: u16,
        slot: usize,
        is_awaited: bool,
    ) {
        self.begin_exchange(key, State::Handling(Handling::new(page, slot)));
        self.invite_body(key, head, is_awaited);
    }

    /// The body is wanted: says so to a client that asks (RFC 9110 §10.1.1), unless it has begun
    /// to send already.
    fn invite_body(&mut self, key: Key, head: &RequestHead<'_>, is_awaited: bool) {
        let keep_alive = head.keep_alive() && self.grace.is_none();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.exchange.keep_alive = keep_alive;
        if !head.expect_continue() {
            return;
        }
        let exchange = connection.exchange;
        if let Some(outbox) = self.core.connections.outbox(key).filter(|_| is_awaited) {
            let _ =
                ResponseWriter::new(outbox, &self.date, exchange).send(Status::CONTINUE, [], &[]);
        }
    }

    pub(super) fn without_page(&self, head: &RequestHead<'_>, no_match: NoMatch) -> Response {
        match no_match {
            NoMatch::MethodNotAllowed { allow } => {
                Response::of_status(Status::METHOD_NOT_ALLOWED).header("Allow", allow)
            }
            // RFC 9110 §9.3.7: a question to the server as a whole, whether it lives.
            NoMatch::NotFound if head.path() == "*" => Response::new(Status::NO_CONTENT),
            NoMatch::NotFound
                if site_of(&self.sites, &self.hosts, head)
                    .sockets
                    .find(head.method(), head.path())
                    .is_err() =>
            {
                Response::of_status(Status::NOT_FOUND)
            }
            // A WebSocket lives here, and was not asked for.
            NoMatch::NotFound if head.method() == "GET" => refusal(ws::HandshakeError::NotUpgrade),
            NoMatch::NotFound => refusal(ws::HandshakeError::Method),
        }
    }

    /// Sends what a page has said; `None` if it panicked.
    #[inline]
    pub(super) fn respond_or_500(&mut self, key: Key, response: Option<Response>) {
        let response = response.unwrap_or_else(|| {
            note_panic(&mut self.core);
            Response::of_status(Status::INTERNAL_SERVER_ERROR)
        });
        self.respond(key, response);
    }

    /// Writes a response to the request at hand, or begins to. If the connection is not kept
    /// alive, it is the last thing written.
    #[inline]
    pub(super) fn respond(&mut self, key: Key, mut response: Response) {
        self.respond_with(key, &mut response);
    }

    /// The same with a response that need not be moved.
    #[inline]
    fn respond_with(&mut self, key: Key, response: &mut Response) {
        match response.whole_body() {
            Some(body) => self.respond_whole(key, response, body),
            None => {
                let body = response.take_body();
                self.respond_by_and_by(key, response, body);
            }
        }
    }

    fn respond_whole(&mut self, key: Key, response: &Response, body: &[u8]) {
        if response.header_bytes() > self.core.limits.max_response_header_bytes {
            return self.refuse_header(key);
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        let mut exchange = connection.exchange;
        let has_exchange = connection.has_exchange;
        let Some(outbox) = self.core.connections.outbox(key) else { return };
        let before = outbox.len();
        let writer = ResponseWriter::new(outbox, &self.date, exchange);
        if let Err(error) = response.write(body, writer) {
            log::error!(worker = self.core.worker; "a response cannot be sent: {error}");
            exchange.keep_alive = false;
            let writer = ResponseWriter::new(outbox, &self.date, exchange);
            // Without any field of the application's: it can be sent.
            let _ = Response::new(Status::INTERNAL_SERVER_ERROR).write(&[], writer);
        }
        self.core.stats.bytes_out += outbox.len().saturating_sub(before) as u64;
        if has_exchange {
            self.set_keep_alive(key, exchange.keep_alive);
            self.finish(key);
        } else if !exchange.keep_alive {
            self.core.end(key);
        }
    }

    /// A response has too long a header to be sent.
    #[cold]
    pub(super) fn refuse_header(&mut self, key: Key) {
        log::error!(worker = self.core.worker; "a response exceeds max_response_header_bytes");
        self.respond(key, Response::of_status(Status::INTERNAL_SERVER_ERROR));
    }

    pub(super) fn set_keep_alive(&mut self, key: Key, keep_alive: bool) {
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.exchange.keep_alive = keep_alive;
        }
    }
}

/// What came of asking a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It has answered, or will.
    Done,
    /// It has answered, and taken the body.
    Body,
    /// It leaves the request to the next one.
    Passed,
}

/// The body of a request, if all of it is there.
fn body_in<'b>(head: &RequestHead<'_>, rest: &'b [u8]) -> Option<&'b [u8]> {
    match head.body() {
        BodyLength::None => Some(&[]),
        BodyLength::Known(length) => rest.get(..usize::try_from(length).ok()?),
        BodyLength::Chunked => None,
    }
}

/// The request as its page sees it.
#[inline]
pub(super) fn request_of<'a>(
    core: &'a Core,
    key: Key,
    head: &'a RequestHead<'a>,
    parameters: Parameters<'a, 'a>,
) -> Request<'a> {
    Request {
        head,
        parameters,
        remote_addr: core.connections.get(key).and_then(|c| c.peer.address()),
        proxies: core.proxies.as_ref(),
        remote: &core.remote,
        worker: core.worker,
        trailers: Trailers::default(),
    }
}

#[cold]
pub(super) fn note_panic(core: &mut Core) {
    core.stats.handler_panics += 1;
    log::error!(worker = core.worker; "a handler panicked: 500 is answered");
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
