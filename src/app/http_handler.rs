//! [`HttpHandler`]: takes bodies of requests, and sends those of responses, in pieces.

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
};

use slab::Slab;

use super::{Context, Core, Remote, Request, Responder, Response, SocketId, upgrade::Ticket};
use crate::{
    base::Key,
    http::{BodySize, Coding, Date, ResponseError, ResponseWriter, Trailers},
};

/// What an application does with the requests of one route, if their bodies or those of its
/// responses are to be handled in pieces.
///
/// Each worker has a handler of its own. Calls for one exchange are in the order of events:
/// `request`, pieces of `body`, perhaps `trailers`, `end`, and `writable` in between. It is over
/// when the response is complete; if the client goes before, `aborted` is called.
///
/// ```
/// use sockeye::{App, HttpExchange, HttpHandler, Reply, Request, Response};
///
/// /// Counts the bytes of uploads without keeping them.
/// struct Count;
///
/// impl HttpHandler for Count {
///     type Data = u64;
///
///     fn max_body_bytes(&self) -> Option<u64> {
///         Some(1 << 40)
///     }
///     fn request(&mut self, _: &Request<'_>) -> Reply<u64> {
///         Reply::receive(0)
///     }
///     fn body(&mut self, exchange: &mut HttpExchange<'_, u64>, piece: &[u8]) {
///         *exchange.data() += piece.len() as u64;
///     }
///     fn end(&mut self, exchange: &mut HttpExchange<'_, u64>) {
///         let text = format!("{} bytes", exchange.data());
///         exchange.respond(Response::text(text));
///     }
/// }
///
/// let app = App::new().stream("PUT", "/count", Count);
/// ```
pub trait HttpHandler: 'static {
    /// What is kept for each exchange.
    type Data: 'static;

    /// The longest body that is taken; more is answered with 413. `None` for
    /// [`HttpLimits::max_body_bytes`](crate::HttpLimits).
    fn max_body_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether a body has to announce its length: if it comes in chunks, it is answered with 411.
    /// For handlers that hand bodies on to something that wants to know.
    fn requires_length(&self) -> bool {
        false
    }

    /// The head of a request has arrived.
    fn request(&mut self, request: &Request<'_>) -> Reply<Self::Data>;

    /// A piece of the body has arrived, without the coding it came in. To be slower than the
    /// client, [`pause`](HttpExchange::pause).
    fn body(&mut self, exchange: &mut HttpExchange<'_, Self::Data>, piece: &[u8]) {
        let _ = (exchange, piece);
    }

    /// The fields behind a body in chunks have arrived, if it has any.
    fn trailers(&mut self, exchange: &mut HttpExchange<'_, Self::Data>, trailers: Trailers<'_>) {
        let _ = (exchange, trailers);
    }

    /// The request is complete. Respond now, or begin to, or keep a
    /// [`responder`](HttpExchange::responder): `Limits::answer_timeout` runs until then.
    fn end(&mut self, exchange: &mut HttpExchange<'_, Self::Data>);

    /// There is room again, after a write that found none.
    fn writable(&mut self, exchange: &mut HttpExchange<'_, Self::Data>) {
        let _ = exchange;
    }

    /// The connection has gone, or time has run out, before the response was complete. Its data
    /// comes back.
    fn aborted(&mut self, context: &mut Context<'_>, data: Self::Data) {
        let _ = (context, data);
    }
}

/// What a handler says to the head of a request.
#[derive(Debug)]
pub struct Reply<D>(Decision<D>);

#[derive(Debug)]
enum Decision<D> {
    Respond(Response),
    Receive(D),
}

impl<D> Reply<D> {
    /// This is the response, whatever the body says.
    #[must_use]
    pub fn respond(response: Response) -> Self {
        Self(Decision::Respond(response))
    }

    /// The body is wanted; this is kept for the exchange.
    #[must_use]
    pub fn receive(data: D) -> Self {
        Self(Decision::Receive(data))
    }
}

/// A request that is being answered, lent to its handler for the time of the call.
#[derive(Debug)]
pub struct HttpExchange<'a, D> {
    desk: Desk<'a>,
    data: &'a mut D,
}

/// What of the worker an exchange needs.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) core: &'a mut Core,
    pub(super) date: &'a Date,
    pub(super) key: Key,
    pub(super) number: u64,
    pub(super) progress: &'a mut Progress,
}

/// How far the response of a handler's exchange has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    // Once its head is written.
    pub(super) coding: Option<Coding>,
    // What an announced length leaves to be written.
    remaining: u64,
    // To be sent when the handler has returned.
    pub(super) response: Option<Response>,
    pub(super) is_over: bool,
    // Whether what was written does not amount to what was announced.
    pub(super) is_torn: bool,
    // Whether the handler is to be told of room.
    pub(super) wants_room: bool,
}

impl<D> HttpExchange<'_, D> {
    /// What is kept for this exchange.
    pub fn data(&mut self) -> &mut D {
        self.data
    }

    /// The address of the other end; `None` for a Unix socket.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.desk.core.connections.get(self.desk.key).and_then(|c| c.peer.address())
    }

    /// Responds, when the handler has returned. The exchange is over then. No effect once a
    /// response has begun.
    pub fn respond(&mut self, response: Response) {
        if self.desk.progress.coding.is_none() && !self.desk.progress.is_over {
            self.desk.progress.response = Some(response);
        }
    }

    /// Begins a response of this status and header; its body is left out. With a length it is
    /// announced, and has to be kept; without one the body is sent in chunks.
    ///
    /// # Errors
    /// [`ResponseError`], and nothing has been sent. A header beyond
    /// [`Limits::max_response_header_bytes`](crate::Limits) is one.
    pub fn begin(&mut self, head: &Response, length: Option<u64>) -> Result<(), ResponseError> {
        let Desk { core, date, key, progress, .. } = &mut self.desk;
        if progress.coding.is_some() || progress.is_over || progress.response.is_some() {
            return Ok(());
        }
        let size = length.map_or(BodySize::Unknown, BodySize::Known);
        let Some(connection) = core.connections.get(*key) else { return Ok(()) };
        if head.header_bytes() > core.limits.max_response_header_bytes {
            return Err(ResponseError::HeaderTooLong);
        }
        let exchange = connection.exchange;
        let Some(outbox) = core.connections.outbox(*key) else { return Ok(()) };
        let coding = head.begin(size, ResponseWriter::new(outbox, date, exchange))?;
        if let Some(connection) = core.connections.get_mut(*key) {
            connection.exchange.keep_alive &= coding != Coding::Close;
        }
        progress.coding = Some(coding);
        progress.remaining = length.unwrap_or(u64::MAX);
        Ok(())
    }

    /// Writes a piece of the body, whatever room there is. Returns whether there is room for
    /// more; if not, `writable` tells when there is. Nothing happens before
    /// [`begin`](HttpExchange::begin).
    pub fn write(&mut self, piece: &[u8]) -> bool {
        self.append(piece);
        self.has_room()
    }

    /// Writes as much of a piece as there is room for, and returns how much that is. If it is not
    /// all, `writable` tells when there is room for more.
    pub fn try_write(&mut self, piece: &[u8]) -> usize {
        let buffered = self.buffered_amount();
        let taken = piece.len().min(MAX_BUFFERED_BYTES.saturating_sub(buffered));
        self.append(&piece[..taken]);
        if taken < piece.len() {
            self.has_room();
        }
        taken
    }

    /// Ends the body. The exchange is over when the handler has returned.
    pub fn end(&mut self) {
        let Desk { core, key, progress, .. } = &mut self.desk;
        let Some(coding) = progress.coding.filter(|_| !progress.is_over) else { return };
        progress.is_over = true;
        let is_head = is_head(core, *key);
        let is_short = matches!(coding, Coding::Length(_)) && progress.remaining > 0;
        progress.is_torn |= is_short && !is_head;
        if !is_head && let Some(outbox) = core.connections.outbox(*key) {
            coding.end(outbox);
        }
    }

    /// Bytes that wait to be sent on this connection.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.desk.core.connections.buffered_bytes(self.desk.key)
    }

    /// Stops reading the body. At most 64 KiB that have arrived already are kept; the client
    /// notices when the kernel's buffers are full.
    pub fn pause(&mut self) {
        self.desk.core.set_paused(self.desk.key, true);
    }

    /// Reads again.
    pub fn resume(&mut self) {
        self.desk.core.set_paused(self.desk.key, false);
    }

    /// A handle to respond from elsewhere. Dropped without a response, it is a 500, unless the
    /// response has begun; without effect after another response.
    #[must_use]
    pub fn responder(&self) -> Responder {
        let Desk { core, key, number, .. } = &self.desk;
        let ticket = Ticket { id: SocketId::new(core.worker, *key), number: *number };
        Responder::new(core.remote.clone(), ticket)
    }

    /// The worker, for what concerns others.
    pub fn context(&mut self) -> Context<'_> {
        Context(self.desk.core)
    }

    /// A handle to reach this server from other threads.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.desk.core.remote
    }

    fn append(&mut self, piece: &[u8]) {
        let Desk { core, key, progress, .. } = &mut self.desk;
        let Some(coding) = progress.coding.filter(|_| !progress.is_over) else { return };
        if is_head(core, *key) || piece.is_empty() {
            return;
        }
        let taken = usize::try_from(progress.remaining).map_or(piece.len(), |r| r.min(piece.len()));
        // More than was announced would be taken for the next response.
        progress.is_torn |= taken < piece.len();
        if coding != Coding::Chunked {
            progress.remaining -= taken as u64;
        }
        if taken > 0
            && let Some(outbox) = core.connections.outbox(*key)
        {
            coding.append(outbox, &piece[..taken]);
            core.stats.bytes_out += taken as u64;
        }
    }

    fn has_room(&mut self) -> bool {
        let has_room = self.buffered_amount() < MAX_BUFFERED_BYTES;
        if !has_room {
            self.desk.progress.wants_room = true;
            self.desk.core.connections.await_settled(self.desk.key);
        }
        has_room
    }
}

fn is_head(core: &Core, key: Key) -> bool {
    core.connections.get(key).is_none_or(|connection| connection.exchange.is_head)
}

/// A handler's route as the worker sees it.
pub(super) trait Handled {
    fn max_body_bytes(&self) -> Option<u64>;
    fn requires_length(&self) -> bool;
    /// The response, or where the data of the exchange is.
    fn request(&mut self, request: &Request<'_>) -> Result<usize, Response>;
    fn body(&mut self, desk: Desk<'_>, slot: usize, piece: &[u8]);
    fn trailers(&mut self, desk: Desk<'_>, slot: usize, trailers: Trailers<'_>);
    fn end(&mut self, desk: Desk<'_>, slot: usize);
    fn writable(&mut self, desk: Desk<'_>, slot: usize);
    fn aborted(&mut self, core: &mut Core, slot: usize);
    /// The exchange is over.
    fn discard(&mut self, slot: usize);
}

pub(super) struct HttpRoute<H: HttpHandler> {
    handler: H,
    data: Slab<H::Data>,
}

impl<H: HttpHandler> HttpRoute<H> {
    pub(super) fn new(handler: H) -> Self {
        Self { handler, data: Slab::new() }
    }

    fn with(
        &mut self,
        desk: Desk<'_>,
        slot: usize,
        call: impl FnOnce(&mut H, &mut HttpExchange<'_, H::Data>),
    ) {
        if let Some(data) = self.data.get_mut(slot) {
            call(&mut self.handler, &mut HttpExchange { desk, data });
        }
    }
}

impl<H: HttpHandler> Handled for HttpRoute<H> {
    fn max_body_bytes(&self) -> Option<u64> {
        self.handler.max_body_bytes()
    }

    fn requires_length(&self) -> bool {
        self.handler.requires_length()
    }

    fn request(&mut self, request: &Request<'_>) -> Result<usize, Response> {
        match self.handler.request(request).0 {
            Decision::Respond(response) => Err(response),
            Decision::Receive(data) => Ok(self.data.insert(data)),
        }
    }

    fn body(&mut self, desk: Desk<'_>, slot: usize, piece: &[u8]) {
        self.with(desk, slot, |handler, exchange| handler.body(exchange, piece));
    }

    fn trailers(&mut self, desk: Desk<'_>, slot: usize, trailers: Trailers<'_>) {
        self.with(desk, slot, |handler, exchange| handler.trailers(exchange, trailers));
    }

    fn end(&mut self, desk: Desk<'_>, slot: usize) {
        self.with(desk, slot, H::end);
    }

    fn writable(&mut self, desk: Desk<'_>, slot: usize) {
        self.with(desk, slot, H::writable);
    }

    fn aborted(&mut self, core: &mut Core, slot: usize) {
        if let Some(data) = self.data.try_remove(slot) {
            self.handler.aborted(&mut Context(core), data);
        }
    }

    fn discard(&mut self, slot: usize) {
        let data = self.data.try_remove(slot);
        // A panic is told by its hook, and has nobody's request to answer.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(data)));
    }
}

/// A streamed response is made no further ahead of its client than this.
pub(super) const MAX_BUFFERED_BYTES: usize = 128 << 10;
