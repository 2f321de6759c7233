//! [`Prepared`]: a message framed once, to be sent many times.

use crate::{
    base::Shared,
    pubsub::Framed,
    ws::{self, Message},
};

/// A message framed once, for many sockets that share no topic, or for many topics. Cloning
/// shares it.
///
/// ```
/// use sockeye::{Context, Prepared, SocketId};
///
/// fn announce(context: &mut Context<'_>, winners: &[SocketId]) {
///     let message = Prepared::new("you won");
///     for &id in winners {
///         context.send_prepared(id, &message);
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Prepared(Shared);

impl Prepared {
    /// Frames a message.
    #[must_use]
    pub fn new<'m>(message: impl Into<Message<'m>>) -> Self {
        Self(ws::frame(message.into()))
    }

    /// Bytes as framed.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a frame has at least two bytes")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn frame(&self) -> &Shared {
        &self.0
    }

    pub(super) fn into_framed(self) -> Framed {
        Framed::plain(self.0)
    }
}
