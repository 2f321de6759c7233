//! [`Page`]: what answers the requests of a route.

use super::{Request, Response, http_handler::Handled};

/// What answers the requests of a route that is no WebSocket's.
pub(super) enum Page {
    /// Says at the head what it has to say. Bodies are read and thrown away.
    Plain(Box<dyn FnMut(&Request<'_>) -> Response>),
    /// Gets the body as a whole.
    Collecting { max_body_bytes: Option<u64>, answer: Box<Collector> },
    /// Takes and sends bodies in pieces.
    Streaming(Box<dyn Handled>),
}

pub(super) type Collector = dyn FnMut(&Request<'_>, &[u8]) -> Response;

impl Page {
    /// The longest body that it takes; `None` for the limit of the server.
    pub(super) fn max_body_bytes(&self) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Collecting { max_body_bytes, .. } => *max_body_bytes,
            Self::Streaming(handler) => handler.max_body_bytes(),
        }
    }
}
