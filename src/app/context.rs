//! [`Context`]: what can be done on a worker without a socket of one's own; [`Close`]: how a
//! socket ended.

use super::{Core, Event, Prepared, Remote, SendStatus, SocketId};
use crate::ws::{CloseCode, Message};

/// A worker, lent to a function that runs on its thread: by
/// [`Remote::run_on`](crate::Remote::run_on), and when a socket has been closed.
///
/// ```
/// use sockeye::{Context, SocketId};
///
/// fn tell(context: &mut Context<'_>, id: SocketId) {
///     context.send(id, "for you alone");
///     context.publish("lobby", "for everyone in the lobby, on every worker");
/// }
/// ```
#[derive(Debug)]
pub struct Context<'a>(pub(super) &'a mut Core);

impl Context<'_> {
    /// Sends a message to a socket of this worker. To those of others it is posted.
    pub fn send<'m>(&mut self, id: SocketId, message: impl Into<Message<'m>>) -> SendStatus {
        self.0.send_to(id, &Prepared::new(message))
    }

    /// As [`Context::send`], with a message that has been framed before.
    pub fn send_prepared(&mut self, id: SocketId, prepared: &Prepared) -> SendStatus {
        self.0.send_to(id, prepared)
    }

    /// Publishes a message to all subscribers of a topic, on all workers.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) {
        self.0.publish(None, topic.as_bytes(), message.into());
    }

    /// Publishes an event to all subscribers of a topic, on all workers: WebSockets get its data
    /// as a text message, event streams get all of it.
    pub fn publish_event(&mut self, topic: &str, event: &Event<'_>) {
        self.0.publish_event(topic.as_bytes(), event);
    }

    /// As [`Context::publish`], without compressing the message.
    pub fn publish_uncompressed<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) {
        self.0.publish_uncompressed(None, topic.as_bytes(), message.into());
    }

    /// As [`Context::publish`], with a message that has been framed before: for several topics.
    pub fn publish_prepared(&mut self, topic: &str, prepared: &Prepared) {
        self.0.publish_prepared(None, topic.as_bytes(), prepared);
    }

    /// Begins the closing handshake of a socket.
    pub fn close(&mut self, id: SocketId, code: CloseCode, reason: &str) {
        self.0.close_by_id(id, Some((code, reason)));
    }

    /// Stops reading from a socket, as [`WebSocket::pause`](crate::WebSocket::pause) does.
    pub fn pause(&mut self, id: SocketId) {
        self.set_paused(id, true);
    }

    /// Reads from a socket again: one that is paused has few occasions to say so itself.
    pub fn resume(&mut self, id: SocketId) {
        self.set_paused(id, false);
    }

    /// The number of subscribers that a topic has on this worker.
    #[must_use]
    pub fn subscriber_count(&self, topic: &str) -> usize {
        self.0.topics.subscriber_count(topic.as_bytes())
    }

    /// The number of this worker.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.0.worker.into()
    }

    /// A handle to reach this server from other threads.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.0.remote
    }

    fn set_paused(&mut self, id: SocketId, is_paused: bool) {
        if id.worker() == self.worker() {
            return self.0.set_paused(id.key(), is_paused);
        }
        // Refused only by a worker that has too much to do, or has ended.
        let set = move |context: &mut Context<'_>| context.set_paused(id, is_paused);
        if self.0.remote.run_on(id.worker(), set).is_err() {
            self.0.stats.mailbox_refused += 1;
        }
    }
}

/// How a socket ended.
///
/// ```
/// use sockeye::Close;
///
/// fn describe(close: &Close<'_>) -> String {
///     format!("{} left with {} {:?}", close.id, close.code, close.reason)
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Close<'a> {
    /// The socket that it was.
    pub id: SocketId,
    /// The code of the close frame that came first, or that was sent because of a fault of the
    /// peer's. 1005: the frame had none. 1006: there was no close frame (RFC 6455 §7.1.5).
    pub code: u16,
    /// The reason in that frame, or what happened instead.
    pub reason: &'a str,
    /// Whether the closing handshake was completed (RFC 6455 §7.1.4).
    pub is_clean: bool,
}
