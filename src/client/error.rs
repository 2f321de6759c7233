//! [`Error`]: why a client could not go on.

use std::{fmt, io, time::Duration};

use super::UrlError;
use crate::{
    http::{self, Status},
    ws,
};

/// What went wrong, and what to do.
#[derive(Debug)]
pub enum Error {
    /// The URL cannot be used.
    Url(UrlError),
    /// Nobody answers at this address.
    Connect {
        /// The URL.
        url: String,
        /// Why.
        error: io::Error,
    },
    /// The server answered the opening handshake with another status than 101.
    Refused(Status),
    /// The server's answer to the opening handshake is not one of HTTP.
    NotHttp(http::Error),
    /// The opening handshake went wrong in another way.
    Handshake(ws::ClientHandshakeError),
    /// The server broke the WebSocket protocol, or a limit of this client. The connection has been
    /// failed with the close code that belongs to the fault (RFC 6455 §7.1.7).
    Protocol(ws::Error),
    /// Nothing came, or nothing could be sent, for this long. The connection goes on.
    TimedOut(Option<Duration>),
    /// The connection was closed, from either side: connect anew.
    Closed,
    /// The payload of a ping has more than 125 bytes.
    PingTooLong,
    /// A whole message, or a fragment of the other type, while a fragmented message is under way.
    FragmentsUnderWay,
    /// The connection broke.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "cannot use this URL: {error}"),
            Self::Connect { url, error } => {
                write!(f, "cannot connect to {url} ({error}): is the server running there?")
            }
            Self::Refused(status) => {
                let code = status.code();
                write!(f, "the server answered {code}, not 101: is a WebSocket at this path?")
            }
            Self::NotHttp(error) => {
                write!(f, "the answer to the opening handshake is not HTTP ({error})")
            }
            Self::Handshake(error) => write!(f, "opening handshake: {error}"),
            Self::Protocol(error) => write!(f, "failed the connection: {error}"),
            Self::TimedOut(Some(time)) => write!(f, "the server was silent for {time:?}"),
            Self::TimedOut(None) => f.write_str("the server was silent for too long"),
            Self::Closed => f.write_str("the connection is closed: connect anew"),
            Self::PingTooLong => f.write_str("a ping carries at most 125 bytes"),
            Self::FragmentsUnderWay => {
                f.write_str("send the last fragment of this message, in its type, before others")
            }
            Self::Io(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Url(error) => Some(error),
            Self::Connect { error, .. } | Self::Io(error) => Some(error),
            Self::NotHttp(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Protocol(error) => Some(error),
            _ => None,
        }
    }
}

impl From<UrlError> for Error {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl From<ws::ClientHandshakeError> for Error {
    fn from(error: ws::ClientHandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
