//! [`Request`]: what a handler sees of a request.

// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)
)]

use std::{borrow::Cow, net::SocketAddr};

use super::{Proxies, Remote};
use crate::http::{self, Parameters, RequestHead, Trailers};

/// A request, lent from the receive buffer for the time of the call.
///
/// ```
/// use sockeye::{App, Response};
///
/// let app = App::new().get("/users/:name", |request| {
///     let name = request.parameter("name").unwrap_or_default();
///     Response::text(format!("Hello, {name}!"))
/// });
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(super) head: &'a RequestHead<'a>,
    pub(super) parameters: Parameters<'a, 'a>,
    pub(super) remote_addr: Option<SocketAddr>,
    pub(super) proxies: Option<&'a Proxies>,
    pub(super) remote: &'a Remote,
    pub(super) worker: u8,
    pub(super) trailers: Trailers<'a>,
}

impl<'a> Request<'a> {
    /// The method. Methods are case-sensitive.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.head.method()
    }

    /// The path, as it was sent: not decoded, without the query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// The decoded value of the route's parameter `:name`, or of the rest that `*` stands for.
    /// `None` if the route has none of this name, or if the value cannot be decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        self.parameters.first(name).and_then(|raw| http::decode(raw).ok())
    }

    /// The value of a parameter as it was sent: see [`Request::parameter`].
    #[must_use]
    pub fn raw_parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.first(name)
    }

    /// The query, as it was sent.
    #[must_use]
    pub fn raw_query(&self) -> Option<&'a str> {
        self.head.query()
    }

    /// The decoded value of the first pair of this name in the query.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        http::query(self.head.query()?, name)
    }

    /// The value of the first header field of this name, if it is text. Case does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.fields().first(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The members of the comma-separated list in all header fields of this name, as far as they
    /// are text. Not for lists with quoted strings.
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.head.fields().list(name).filter_map(|item| std::str::from_utf8(item).ok())
    }

    /// All header fields, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.head.fields().iter()
    }

    /// The fields behind the body, if it came in chunks and is there as a whole: for pages that get
    /// the body. A handler of pieces gets them by
    /// [`HttpHandler::trailers`](crate::HttpHandler::trailers).
    #[must_use]
    pub fn trailers(&self) -> Trailers<'a> {
        self.trailers
    }

    /// The host and port that the request is for.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.head.host()
    }

    /// The subprotocols that a client offers for its WebSocket, the preferred one first
    /// (RFC 6455 §11.3.4).
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = self.head.fields().list("sec-websocket-protocol");
        list.filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// The address of the other end of the connection; `None` for a Unix socket.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.remote_addr
    }

    /// A handle to reach this server's sockets from elsewhere.
    #[must_use]
    pub fn remote(&self) -> &'a Remote {
        self.remote
    }

    /// The number of the worker that serves this connection.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker.into()
    }
}
