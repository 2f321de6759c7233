//! What becomes of a message: [`SendStatus`] on the spot, [`Dropped`] afterwards.

/// What [`WebSocket::send`](crate::WebSocket::send) made of a message.
///
/// ```
/// use sockeye::{SendStatus, WebSocket};
///
/// fn offer(socket: &mut WebSocket<'_, ()>) {
///     match socket.send("tick") {
///         SendStatus::Sent => {}
///         SendStatus::Queued { bytes } => println!("the peer is slow: {bytes} bytes wait"),
///         SendStatus::Dropped => println!("the peer is too slow: this tick is lost"),
///         SendStatus::Closed => println!("the socket is being closed"),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendStatus {
    /// It leaves at the end of this turn.
    Sent,
    /// The peer is slow: it waits with what was sent before.
    Queued {
        /// Bytes that wait for this peer, with this message.
        bytes: usize,
    },
    /// It was thrown away: `max_backpressure` is reached.
    Dropped,
    /// It was thrown away: the socket is closed, or its closing handshake has begun.
    Closed,
}

impl SendStatus {
    /// Whether the message is on its way.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Sent | Self::Queued { .. })
    }
}

/// Messages that a socket did not get, because its peer does not read.
///
/// ```
/// let dropped = sockeye::Dropped { messages: 2, bytes: 300 };
/// println!("{} messages of {} bytes are lost", dropped.messages, dropped.bytes);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub messages: u64,
    /// Their bytes, as framed.
    pub bytes: u64,
}
