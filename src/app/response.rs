//! [`Response`]: the answer to a request.

use std::{borrow::Cow, fmt};

use super::{BodySource, BodyWriter, EventStream, Responder};
use crate::http::{BodySize, Coding, ResponseError, ResponseWriter, Status};

/// The answer to a request: status, header fields, and a body that is there as a whole, or made
/// piece by piece as the client takes it.
///
/// Content-Length, Transfer-Encoding, Connection and Date are written by the server.
///
/// ```
/// use sockeye::{Response, Status};
///
/// let page = Response::html("<p>Hello</p>").header("Cache-Control", "no-store");
/// let gone = Response::new(Status::GONE);
/// assert_eq!((page.status(), gone.status()), (Status::OK, Status::GONE));
/// ```
pub struct Response {
    status: Status,
    content_type: Option<&'static str>,
    headers: Vec<(Cow<'static, str>, Cow<'static, [u8]>)>,
    body: Body,
}

/// What follows the head.
pub(super) enum Body {
    Bytes(Cow<'static, [u8]>),
    Source(BodySize, Box<dyn BodySource>),
    Written(BodySize, Box<dyn FnOnce(BodyWriter) + Send>),
    Events(Box<EventStream>),
    /// Another page is to answer.
    Pass,
    /// The response comes later; this one is none.
    Later(Box<dyn FnOnce(Responder) + Send>),
}

impl Response {
    /// A response without a body.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        let body = Body::Bytes(Cow::Borrowed(&[]));
        Self { status, content_type: None, headers: Vec::new(), body }
    }

    /// 200 with plain text. Static text costs no allocation.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::OK).body("text/plain; charset=utf-8", bytes_of(text.into()))
    }

    /// 200 with a page.
    #[must_use]
    pub fn html(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::OK).body("text/html; charset=utf-8", bytes_of(text.into()))
    }

    /// 200 with JSON.
    #[must_use]
    pub fn json(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::OK).body("application/json", bytes_of(text.into()))
    }

    /// The same with this status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The same with this body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        self.content_type = Some(content_type);
        self.body = Body::Bytes(body.into());
        self
    }

    /// The same with a body that is asked for piece by piece, as the client takes it. With a
    /// length it is announced, and has to be true; without one the body is sent in chunks.
    ///
    /// ```
    /// use sockeye::{App, Response, Status};
    ///
    /// let app = App::new().get("/count", |_| {
    ///     let mut count = 0;
    ///     Response::new(Status::OK).stream("text/plain", None, move |piece: &mut Vec<u8>, _| {
    ///         count += 1;
    ///         if count <= 1_000_000 {
    ///             piece.extend_from_slice(format!("{count}\n").as_bytes());
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn stream(
        mut self,
        content_type: &'static str,
        length: Option<u64>,
        source: impl BodySource,
    ) -> Self {
        self.content_type = Some(content_type);
        self.body =
            Body::Source(length.map_or(BodySize::Unknown, BodySize::Known), Box::new(source));
        self
    }

    /// The same with a body that is written from any thread: when the head has been sent, `start`
    /// gets the [`BodyWriter`]. With a length it is announced, and has to be true; without one the
    /// body is sent in chunks. Not called if there is no body to send, as for HEAD.
    ///
    /// ```
    /// use std::thread;
    /// use sockeye::{App, Response, Status, WriteError};
    ///
    /// let app = App::new().get("/report", |_| {
    ///     Response::new(Status::OK).written("text/csv", None, |writer| {
    ///         thread::spawn(move || {
    ///             for row in 0..1_000_000 {
    ///                 writer.write_blocking(format!("{row}\n").as_bytes())?;
    ///             }
    ///             writer.end();
    ///             Ok::<(), WriteError>(())
    ///         });
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn written(
        mut self,
        content_type: &'static str,
        length: Option<u64>,
        start: impl FnOnce(BodyWriter) + Send + 'static,
    ) -> Self {
        let size = length.map_or(BodySize::Unknown, BodySize::Known);
        self.content_type = Some(content_type);
        self.body = Body::Written(size, Box::new(start));
        self
    }

    /// Goes on with server-sent events; see [`EventStream`]. Clients that do not take them in time
    /// are dropped, and come back.
    #[must_use]
    pub fn events(stream: EventStream) -> Self {
        let response = Self::new(Status::OK).header("Cache-Control", "no-cache");
        // Proxies like nginx would collect events before they send them on.
        let mut response = response.header("X-Accel-Buffering", "no");
        response.content_type = Some("text/event-stream");
        response.body = Body::Events(Box::new(stream));
        response
    }

    /// None: the next page that fits is to answer, in the order from the most specific one on.
    ///
    /// ```
    /// use sockeye::{App, Response};
    ///
    /// let app = App::new()
    ///     .get("/:page", |request| match request.parameter("page").as_deref() {
    ///         Some("about") => Response::text("about"),
    ///         _ => Response::pass(),
    ///     })
    ///     .get("/*", |_| Response::text("anything else"));
    /// ```
    #[must_use]
    pub fn pass() -> Self {
        Self { body: Body::Pass, ..Self::new(Status::NOT_FOUND) }
    }

    #[inline]
    pub(super) fn is_pass(&self) -> bool {
        matches!(self.body, Body::Pass)
    }

    /// Not yet: `start` gets a [`Responder`], which may be used from any thread. Until then no
    /// further request of the same connection is read. After `Limits::answer_timeout` the client
    /// gets a 503.
    ///
    /// ```
    /// use std::thread;
    /// use sockeye::{App, Response};
    ///
    /// let app = App::new().get("/slow", |_| {
    ///     Response::later(|responder| {
    ///         thread::spawn(move || responder.respond(Response::text("at last")));
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn later(start: impl FnOnce(Responder) + Send + 'static) -> Self {
        let body = Body::Later(Box::new(start));
        Self { body, ..Self::new(Status::OK) }
    }

    /// The same with one more header field. A field that cannot be sent (a name that is no token,
    /// a value with line ends, a field that the server writes itself) makes the response a 500.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), bytes_of(value.into())));
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// A response to a request that failed, with its status as text for a person.
    pub(super) fn of_status(status: Status) -> Self {
        Self::text(status.to_string()).with_status(status)
    }

    /// Writes a response that is there as a whole.
    #[inline]
    pub(super) fn write<'s>(
        &'s self,
        body: &[u8],
        writer: ResponseWriter<'s>,
    ) -> Result<(), ResponseError> {
        writer.with_content_type(self.content_type).send(self.status, self.fields(), body)
    }

    /// Writes the head of a response whose body follows.
    pub(super) fn begin<'s>(
        &'s self,
        size: BodySize,
        writer: ResponseWriter<'s>,
    ) -> Result<Coding, ResponseError> {
        writer.with_content_type(self.content_type).begin(self.status, self.fields(), size)
    }

    /// Bytes of names and values.
    #[inline]
    pub(super) fn header_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    #[inline]
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The body, if it is there as a whole.
    #[inline]
    pub(super) fn whole_body(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The body, and the response without it.
    pub(super) fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.body, Body::Bytes(Cow::Borrowed(&[])))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

fn bytes_of(text: Cow<'static, str>) -> Cow<'static, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
