//! Exchanges that are not over when the head of their request has been read: bodies that are
//! collected or handed on, answers that come later, responses that are sent by and by.
//!
//! ```text
//!              head           body          end of the request            response complete
//! Collecting   ├── kept ──────┴── the page is asked ──▶ any of the others, or over
//! Handling     ├── handler ───┴── handler ──────────────────────────────▶ over
//! Later        ├── thrown away ┴─────────────── answered ──▶ any, or over
//! Sending      ├── thrown away ┴── piece by piece, as the client takes it ──▶ over
//! Written      ├── thrown away ┴── as another thread writes it ──▶ over
//! Handshake    ├─────────────── answered ──▶ WebSocket, or over
//! ```
//!
//! Invariant: `Connection::has_exchange` is set if and only if there is an entry here. When the
//! request is complete and its exchange is not over, the stage is `Answering`: what the client
//! sends next waits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{
    Service,
    exchange::{Phase, note_panic, request_of},
    handshake::Handshake,
    site_of,
    written::Written,
};
use crate::{
    app::{
        BodySource, EventStream, Request, Responder, Response, SocketId,
        event::HEARTBEAT,
        http_handler::{Desk, Handled, MAX_BUFFERED_BYTES, Progress},
        page::Page,
        response::Body,
        upgrade::{AnyVerdict, Ticket},
    },
    base::Key,
    conn::Stage,
    http::{self, BodySize, Coding, HeaderSlots, RequestHead, ResponseWriter, Status, Trailers},
};

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Active {
    // Tells the request from a later one of the same connection.
    number: u64,
    // Bytes of the body since its deadline was set.
    body_bytes: usize,
    state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// A request for a WebSocket is answered later.
    Handshake(Handshake),
    /// The body is kept until it is complete.
    Collecting(Collected),
    /// A handler gets the body, and responds.
    Handling(Handling),
    /// The answer comes from elsewhere.
    Later,
    /// The response is on its way.
    Sending(Sending),
    /// The response is written by another thread.
    Written(Written),
    /// The response goes on with events.
    Events { heartbeat: Duration },
}

/// A body in the making, the head before it, and the trailer section behind it.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) page: u16,
    // How many pages have passed the request on.
    pub(super) skip: usize,
    pub(super) head: Box<[u8]>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Box<[u8]>,
}

/// An exchange of a handler.
#[derive(Debug)]
pub(super) struct Handling {
    page: u16,
    slot: usize,
    progress: Progress,
}

/// A response in the making.
pub(super) struct Sending {
    source: Box<dyn BodySource>,
    coding: Coding,
    // What is left of an announced length.
    remaining: u64,
}

impl Active {
    /// Whether this is the exchange of the ticket, and not a later one.
    pub(super) fn is(&self, ticket: Ticket) -> bool {
        self.number == ticket.number
    }

    pub(super) fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    pub(super) fn into_state(self) -> State {
        self.state
    }
}

impl Handling {
    pub(super) fn new(page: u16, slot: usize) -> Self {
        Self { page, slot, progress: Progress::default() }
    }
}

impl Service {
    /// From now on this connection has an exchange, in place of another if it had one.
    pub(super) fn begin_exchange(&mut self, key: Key, state: State) -> Option<Ticket> {
        let connection = self.core.connections.get_mut(key)?;
        connection.has_exchange = true;
        self.exchange_count += 1;
        let number = self.exchange_count;
        self.exchanges.insert(key, Box::new(Active { number, body_bytes: 0, state }));
        Some(Ticket { id: SocketId::new(self.core.worker, key), number })
    }

    /// Whether the present request asks for a WebSocket.
    pub(super) fn is_handshake(&self, key: Key) -> bool {
        let active = self.exchanges.get(&key);
        active.is_some_and(|active| matches!(active.state, State::Handshake(_)))
    }

    /// How long the body of the present request may be.
    pub(super) fn max_body_bytes(&self, key: Key, has_exchange: bool) -> u64 {
        let active = has_exchange.then(|| self.exchanges.get(&key)).flatten();
        let page = active.and_then(|active| match &active.state {
            State::Collecting(collected) => Some(collected.page),
            State::Handling(handling) => Some(handling.page),
            _ => None,
        });
        let own = page.and_then(|page| self.pages[usize::from(page)].max_body_bytes());
        own.unwrap_or(self.core.limits.http.max_body_bytes)
    }

    /// A piece of a body has arrived.
    pub(super) fn body(&mut self, key: Key, piece: &[u8]) {
        let now = self.core.connections.now();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        // Most bodies that are not collected are wanted by nobody.
        if !connection.has_exchange {
            return;
        }
        let Some(active) = self.exchanges.get_mut(&key) else { return };
        active.body_bytes += piece.len();
        if active.body_bytes >= BODY_PROGRESS_BYTES {
            active.body_bytes = 0;
            // An earlier time that is set already is looked at, and set anew, when it comes.
            connection.deadline = now.after(self.core.limits.body_timeout);
        }
        match &mut active.state {
            State::Collecting(collected) => {
                if self.collected_bytes + piece.len() > self.core.limits.max_collected_bytes {
                    return self.fault(key, Status::SERVICE_UNAVAILABLE);
                }
                self.collected_bytes += piece.len();
                collected.body.extend_from_slice(piece);
            }
            State::Handling(_) => self.with_handler(key, |handler, desk, slot| {
                handler.body(desk, slot, piece);
            }),
            _ => {}
        }
    }

    /// The fields behind a body have arrived.
    pub(super) fn trailers(&mut self, key: Key, trailers: Trailers<'_>) {
        match self.exchanges.get_mut(&key).map(|active| &mut active.state) {
            Some(State::Collecting(collected)) => collected.trailers = trailers.bytes().into(),
            Some(State::Handling(_)) => self.with_handler(key, |handler, desk, slot| {
                handler.trailers(desk, slot, trailers);
            }),
            _ => {}
        }
    }

    /// The request is complete. If its exchange is not over, the next one has to wait.
    pub(super) fn request_complete(&mut self, key: Key) {
        let Some(connection) = self.core.connections.get(key) else { return };
        if !connection.has_exchange {
            return;
        }
        match self.exchanges.get(&key).map(|active| &active.state) {
            Some(State::Collecting(_)) => self.collected(key),
            Some(State::Handling(_)) => {
                self.with_handler(key, |handler, desk, slot| handler.end(desk, slot));
            }
            _ => {}
        }
        let connection = self.core.connections.get(key);
        if connection.is_some_and(|c| c.has_exchange && c.stage == Stage::Http) {
            self.await_answer(key);
        }
    }

    /// Nothing more is decoded until the exchange is over.
    pub(super) fn await_answer(&mut self, key: Key) {
        let timeout = match self.exchanges.get(&key).map(|active| &active.state) {
            Some(State::Events { heartbeat }) => *heartbeat,
            _ => self.core.limits.answer_timeout,
        };
        let deadline = self.core.connections.now().after(timeout);
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.stage = Stage::Answering;
        connection.deadline = deadline;
        self.core.connections.wake_at(key, deadline);
    }

    /// A body has been collected.
    fn collected(&mut self, key: Key) {
        let Some(active) = self.exchanges.remove(&key) else { return };
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.has_exchange = false;
        }
        let State::Collecting(collected) = active.state else { return };
        let Collected { skip, head, body, trailers, .. } = collected;
        self.collected_bytes -= body.len();
        let limits = http::Limits { max_body_bytes: u64::MAX, ..self.core.limits.http };
        let mut slots = HeaderSlots::new();
        // It has been parsed before, so that succeeds again.
        let Ok(head) = RequestHead::parse(&head, &mut slots, &limits) else { return };
        for skip in skip.. {
            let site = site_of(&self.sites, &self.hosts, &head);
            let found = match site.paths.find_after(head.method(), head.path(), skip) {
                Ok(found) => found,
                Err(no_match) => {
                    let response = self.without_page(&head, no_match);
                    return self.respond(key, response);
                }
            };
            let request = request_of(&self.core, key, &head, found.parameters);
            let request = Request { trailers: Trailers::of(&trailers), ..request };
            let response = match &mut self.pages[usize::from(*found.value)] {
                Page::Collecting { answer, .. } => {
                    catch_unwind(AssertUnwindSafe(|| answer(&request, &body)))
                }
                Page::Plain(answer) => catch_unwind(AssertUnwindSafe(|| answer(&request))),
                // It would have needed to see the body arrive.
                Page::Streaming(_) => Ok(Response::of_status(Status::NOT_FOUND)),
            };
            if !response.as_ref().is_ok_and(Response::is_pass) {
                return self.respond_or_500(key, response.ok());
            }
        }
    }

    /// Calls the handler of an exchange, and does what it has said.
    fn with_handler(&mut self, key: Key, call: impl FnOnce(&mut dyn Handled, Desk<'_>, usize)) {
        let Some(active) = self.exchanges.get_mut(&key) else { return };
        let number = active.number;
        let State::Handling(Handling { page, slot, progress }) = &mut active.state else { return };
        let (page, slot) = (usize::from(*page), *slot);
        let Page::Streaming(handler) = &mut self.pages[page] else { return };
        let desk = Desk { core: &mut self.core, date: &self.date, key, number, progress };
        let has_panicked =
            catch_unwind(AssertUnwindSafe(|| call(&mut **handler, desk, slot))).is_err();
        if has_panicked {
            note_panic(&mut self.core);
            let response = Response::of_status(Status::INTERNAL_SERVER_ERROR);
            progress.response = progress.coding.is_none().then_some(response);
            progress.is_torn = progress.coding.is_some();
            progress.is_over = true;
        }
        let is_torn = progress.is_torn;
        if let Some(response) = progress.response.take() {
            handler.discard(slot);
            self.respond(key, response);
        } else if progress.is_over {
            handler.discard(slot);
            self.finish(key);
        }
        if is_torn {
            self.core.abort(key, "");
        }
    }

    /// Begins a response that is not there as a whole.
    #[cold]
    pub(super) fn respond_by_and_by(&mut self, key: Key, head: &Response, body: Body) {
        match body {
            Body::Bytes(_) => {}
            // To nobody: the request has been answered for.
            Body::Pass => self.respond(key, Response::of_status(Status::NOT_FOUND)),
            Body::Later(start) => {
                let Some(ticket) = self.begin_exchange(key, State::Later) else { return };
                if self.core.connections.get(key).is_some_and(|c| c.stage == Stage::Answering) {
                    self.await_answer(key);
                }
                let responder = Responder::new(self.core.remote.clone(), ticket);
                // If it panics, the responder is dropped with it, which is an answer.
                if catch_unwind(AssertUnwindSafe(|| start(responder))).is_err() {
                    note_panic(&mut self.core);
                }
            }
            Body::Source(size, source) => self.begin_sending(key, head, size, source),
            Body::Written(size, start) => self.begin_written(key, head, size, start),
            Body::Events(stream) => self.begin_events(key, head, &stream),
        }
    }

    fn begin_sending(
        &mut self,
        key: Key,
        head: &Response,
        size: BodySize,
        source: Box<dyn BodySource>,
    ) {
        let Some((exchange, coding)) = self.begin_response(key, head, size) else { return };
        let remaining = match coding {
            Coding::Length(bytes) => bytes,
            Coding::Chunked | Coding::Close => u64::MAX,
        };
        self.begin_exchange(key, State::Sending(Sending { source, coding, remaining }));
        if exchange.is_head || remaining == 0 {
            return self.finish(key);
        }
        self.pump(key);
    }

    /// Writes the head of a response whose body follows; if that is not possible, a 500.
    pub(super) fn begin_response(
        &mut self,
        key: Key,
        head: &Response,
        size: BodySize,
    ) -> Option<(http::Exchange, Coding)> {
        if head.header_bytes() > self.core.limits.max_response_header_bytes {
            self.refuse_header(key);
            return None;
        }
        let exchange = self.core.connections.get(key)?.exchange;
        let outbox = self.core.connections.outbox(key)?;
        let before = outbox.len();
        match head.begin(size, ResponseWriter::new(outbox, &self.date, exchange)) {
            Ok(coding) => {
                self.core.stats.bytes_out += outbox.len().saturating_sub(before) as u64;
                self.set_keep_alive(key, exchange.keep_alive && coding != Coding::Close);
                Some((exchange, coding))
            }
            Err(error) => {
                log::error!(worker = self.core.worker; "a response cannot be sent: {error}");
                self.respond(key, Response::of_status(Status::INTERNAL_SERVER_ERROR));
                None
            }
        }
    }

    /// Begins an event stream.
    fn begin_events(&mut self, key: Key, head: &Response, stream: &EventStream) {
        let is_head = self.core.connections.get(key).is_some_and(|c| c.exchange.is_head);
        if !is_head && let Err(error) = self.core.subscribe_stream(key, &stream.topics) {
            log::warn!(worker = self.core.worker; "an event stream is refused: {error}");
            self.core.leave_topics(key);
            return self.respond(key, Response::of_status(Status::SERVICE_UNAVAILABLE));
        }
        let Some((exchange, _)) = self.begin_response(key, head, BodySize::Endless) else {
            return;
        };
        if let Some(outbox) = self.core.connections.outbox(key).filter(|_| !exchange.is_head) {
            outbox.append(&stream.first);
        }
        let heartbeat = stream.heartbeat;
        self.begin_exchange(key, State::Events { heartbeat });
        if exchange.is_head || self.grace.is_some() {
            self.finish(key);
        }
    }

    /// Ends the response if it is an event stream: the client has gone, or the server goes.
    pub(super) fn end_events(&mut self, key: Key) {
        let active = self.exchanges.get(&key).map(|active| &active.state);
        if let Some(State::Events { .. }) = active {
            self.finish(key);
        }
    }

    /// Says that the stream lives, unless the client has not even read what there is.
    fn keep_events_alive(&mut self, key: Key, heartbeat: Duration) {
        let now = self.core.connections.now();
        let timeout = self.core.limits.keep_alive_timeout;
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        if connection.is_blocked() && now >= connection.heard.after(timeout) {
            return self.core.abort(key, "");
        }
        let is_quiet = !connection.is_blocked() && connection.queued_bytes() == 0;
        let next = now.after(heartbeat);
        connection.deadline = next;
        self.core.connections.wake_at(key, next);
        if let Some(outbox) = self.core.connections.outbox(key).filter(|_| is_quiet) {
            outbox.append(HEARTBEAT);
        }
    }

    /// There may be room for more of a response.
    pub(super) fn pump(&mut self, key: Key) {
        let Some(connection) = self.core.connections.get(key) else { return };
        if !matches!(connection.stage, Stage::Http | Stage::Answering) || connection.is_blocked() {
            return;
        }
        let room = MAX_BUFFERED_BYTES.saturating_sub(self.core.connections.buffered_bytes(key));
        match self.exchanges.get_mut(&key).map(|active| &mut active.state) {
            Some(State::Sending(_)) if room == 0 => self.core.connections.await_settled(key),
            Some(State::Sending(_)) => self.send_piece(key, room),
            Some(State::Written(_)) if room == 0 => self.core.connections.await_settled(key),
            Some(State::Written(_)) => self.send_written(key, room),
            Some(State::Handling(handling)) if handling.progress.wants_room && room > 0 => {
                handling.progress.wants_room = false;
                self.with_handler(key, |handler, desk, slot| handler.writable(desk, slot));
            }
            _ => {}
        }
    }

    fn send_piece(&mut self, key: Key, room: usize) {
        let Some(State::Sending(sending)) = self.exchanges.get_mut(&key).map(|a| &mut a.state)
        else {
            return;
        };
        let Sending { source, coding, remaining } = sending;
        let piece = &mut self.piece;
        piece.clear();
        let max = usize::try_from(*remaining).map_or(room, |remaining| remaining.min(room));
        let made = catch_unwind(AssertUnwindSafe(|| source.produce(piece, max)));
        let is_known = matches!(coding, Coding::Length(_));
        let is_true = match made {
            Ok(Ok(())) => !is_known || !piece.is_empty() && piece.len() as u64 <= *remaining,
            Ok(Err(error)) => {
                // What an application says may quote what a peer has said.
                let error = error.to_string();
                let (worker, error) = (self.core.worker, error.escape_debug());
                log::warn!(worker; "a response is cut off: {error}");
                false
            }
            Err(_) => {
                note_panic(&mut self.core);
                false
            }
        };
        if !is_true {
            return self.core.abort(key, "");
        }
        let Some(outbox) = self.core.connections.outbox(key) else { return };
        if is_known {
            *remaining -= piece.len() as u64;
        }
        let is_over = piece.is_empty() || *remaining == 0;
        if !piece.is_empty() {
            coding.append(outbox, piece);
            self.core.stats.bytes_out += piece.len() as u64;
        }
        if is_over {
            coding.end(outbox);
        }
        piece.shrink_to(2 * MAX_BUFFERED_BYTES);
        if is_over {
            self.finish(key);
        } else {
            self.core.connections.await_settled(key);
        }
    }

    /// The response is complete: on to the next request, or the end.
    pub(super) fn finish(&mut self, key: Key) {
        self.exchanges.remove(&key);
        let idle = self.deadline(Phase::Idle);
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.has_exchange = false;
        let was_paused = std::mem::take(&mut connection.pauses.application);
        if !connection.exchange.keep_alive {
            self.core.end(key);
        } else if connection.stage == Stage::Answering {
            connection.stage = Stage::Http;
            connection.deadline = idle;
            self.core.connections.wake_at(key, idle);
            self.core.resumed.push(key);
        } else if was_paused || connection.is_peer_ended {
            self.core.resumed.push(key);
        }
        self.core.connections.touch(key);
    }

    /// The answer to a request that waited, if it still does.
    pub(super) fn judge(&mut self, ticket: Ticket, verdict: AnyVerdict) {
        let key = ticket.id.key();
        let Some(active) = self.exchanges.get(&key).filter(|a| a.number == ticket.number) else {
            return;
        };
        // The connection may have been dropped in the meantime, its slot not yet given back.
        let connection = self.core.connections.get(key);
        if !connection.is_some_and(|c| matches!(c.stage, Stage::Http | Stage::Answering)) {
            return;
        }
        match &active.state {
            State::Handshake(_) => return self.judge_handshake(key, verdict),
            State::Later => {}
            State::Handling(handling) if handling.progress.coding.is_none() => {
                if let Page::Streaming(handler) = &mut self.pages[usize::from(handling.page)] {
                    handler.discard(handling.slot);
                }
            }
            _ => return,
        }
        let response = verdict.downcast::<Response>().map_or_else(
            |_| Response::of_status(Status::INTERNAL_SERVER_ERROR),
            |response| *response,
        );
        self.respond(key, response);
    }

    /// Time has run out for a request that is complete.
    pub(super) fn expire_answer(&mut self, key: Key) {
        let timeout = self.core.limits.keep_alive_timeout;
        let now = self.core.connections.now();
        let Some(active) = self.exchanges.get(&key) else { return self.core.abort(key, "") };
        let has_begun = match &active.state {
            State::Events { heartbeat } => {
                let heartbeat = *heartbeat;
                return self.keep_events_alive(key, heartbeat);
            }
            State::Sending(_) | State::Written(_) => true,
            State::Handling(handling) => handling.progress.coding.is_some(),
            State::Handshake(_) | State::Later | State::Collecting(_) => false,
        };
        if !has_begun {
            self.abandon(key);
            self.set_keep_alive(key, false);
            return self.respond(key, Response::of_status(Status::SERVICE_UNAVAILABLE));
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        // A response on its way to a slow reader: as long as it moves, there is time. One that
        // its handler is slow to write may take for ever.
        let moved = connection.heard.after(timeout);
        if connection.is_blocked() && now >= moved {
            return self.core.abort(key, "");
        }
        let next = if connection.is_blocked() { moved } else { now.after(timeout) };
        connection.deadline = next;
        self.core.connections.wake_at(key, next);
    }

    /// Forgets an exchange that cannot be completed, and says whether its response has begun.
    pub(super) fn abandon(&mut self, key: Key) -> bool {
        let Some(active) = self.exchanges.remove(&key) else { return false };
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.has_exchange = false;
            connection.pauses.application = false;
        }
        match active.state {
            State::Handling(Handling { page, slot, progress }) => {
                let Page::Streaming(handler) = &mut self.pages[usize::from(page)] else {
                    return false;
                };
                let core = &mut self.core;
                if catch_unwind(AssertUnwindSafe(|| handler.aborted(core, slot))).is_err() {
                    note_panic(&mut self.core);
                }
                progress.coding.is_some()
            }
            State::Sending(_) | State::Written(_) | State::Events { .. } => true,
            State::Collecting(collected) => {
                self.collected_bytes -= collected.body.len();
                false
            }
            State::Handshake(_) | State::Later => false,
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let nothing = |_: &mut Vec<u8>, _: usize| Ok(());
        let source = std::mem::replace(&mut self.source, Box::new(nothing));
        // The application's code. A panic is told by its hook, and has no request to answer.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(source)));
    }
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sending({:?}, {} left)", self.coding, self.remaining)
    }
}

/// So much of a body has to arrive in each `body_timeout`.
const BODY_PROGRESS_BYTES: usize = 64 << 10;
