//! [`Event`]: what a client hears from the server, in memory of its own.

use crate::ws::{self, CloseCode, Message};

/// What the server has sent.
///
/// ```
/// use sockeye::client::Event;
/// let event = Event::Text("hello".into());
/// assert_eq!(event.text(), Some("hello"));
/// assert!(event.message().is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping. It has been answered already.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The connection is closed. This is the last event.
    Closed {
        /// The server's close code; [`CloseCode::NO_STATUS`] if it gave none, and
        /// [`CloseCode::ABNORMAL`] if it ended the connection without a closing handshake.
        code: CloseCode,
        /// The server's reason; mostly empty.
        reason: String,
    },
}

impl Event {
    /// The text, if this is a text message.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The message, as [`Client::send`](super::Client::send) takes it, if this is one.
    #[must_use]
    pub fn message(&self) -> Option<Message<'_>> {
        match self {
            Self::Text(text) => Some(Message::Text(text)),
            Self::Binary(bytes) => Some(Message::Binary(bytes)),
            _ => None,
        }
    }

    pub(super) const fn broken() -> Self {
        Self::Closed { code: CloseCode::ABNORMAL, reason: String::new() }
    }
}

impl From<ws::Event<'_>> for Event {
    fn from(event: ws::Event<'_>) -> Self {
        match event {
            // Fragments are not asked for: the decoder gives whole messages.
            ws::Event::Message(message) | ws::Event::Fragment { message, .. } => match message {
                Message::Text(text) => Self::Text(text.to_owned()),
                Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            },
            ws::Event::Ping(payload) => Self::Ping(payload.to_vec()),
            ws::Event::Pong(payload) => Self::Pong(payload.to_vec()),
            ws::Event::Close(None) => {
                Self::Closed { code: CloseCode::NO_STATUS, reason: String::new() }
            }
            ws::Event::Close(Some((code, reason))) => {
                Self::Closed { code, reason: reason.to_owned() }
            }
        }
    }
}
