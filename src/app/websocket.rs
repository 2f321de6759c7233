//! [`WebSocket`]: an open socket, lent to its handler.

use std::net::SocketAddr;

use super::{Context, Core, Prepared, Remote, SendStatus, SocketId};
use crate::{
    base::Key,
    pubsub,
    ws::{CloseCode, Message, Opcode},
};

/// An open WebSocket, lent to its handler for the time of the call.
///
/// ```
/// use sockeye::{Message, WebSocket};
///
/// fn message(socket: &mut WebSocket<'_, String>, message: Message<'_>) {
///     println!("{} says {message:?}", socket.data());
///     socket.publish("lobby", message);
///     socket.send("thank you");
/// }
/// ```
#[derive(Debug)]
pub struct WebSocket<'a, D> {
    pub(super) core: &'a mut Core,
    pub(super) key: Key,
    pub(super) data: &'a mut D,
}

impl<D> WebSocket<'_, D> {
    /// What is kept for this socket.
    #[inline]
    pub fn data(&mut self) -> &mut D {
        self.data
    }

    /// What is kept for this socket, and the socket without it: to send what stands in the data.
    ///
    /// ```
    /// use sockeye::WebSocket;
    ///
    /// fn tell(socket: &mut WebSocket<'_, String>) {
    ///     let (topic, mut socket) = socket.split();
    ///     socket.publish(topic, "news");
    /// }
    /// ```
    pub fn split(&mut self) -> (&mut D, WebSocket<'_, ()>) {
        // Of no size: nothing is allocated.
        let nothing = Box::leak(Box::new(()));
        (self.data, WebSocket { core: self.core, key: self.key, data: nothing })
    }

    /// This socket's name, to reach it from elsewhere.
    #[must_use]
    pub fn id(&self) -> SocketId {
        SocketId::new(self.core.worker, self.key)
    }

    /// The address of the other end; `None` for a Unix socket.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.core.connections.get(self.key).and_then(|connection| connection.peer.address())
    }

    /// Sends a message. It leaves when the handler has returned, with everything else that is
    /// sent to this socket in this turn.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> SendStatus {
        let message = message.into();
        self.core.send(self.key, message.opcode(), true, message.as_bytes())
    }

    /// As [`WebSocket::send`], without compressing the message: for what is compressed already, or
    /// secret beside text that an attacker may choose (RFC 7692 §8).
    pub fn send_uncompressed<'m>(&mut self, message: impl Into<Message<'m>>) -> SendStatus {
        let message = message.into();
        self.core.send_with_care(self.key, message.opcode(), true, message.as_bytes())
    }

    /// Sends a message that has been framed before.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> SendStatus {
        self.core.send_prepared(self.key, prepared)
    }

    /// Sends a piece of a message, as a fragment of its own (RFC 6455 §5.4). The first piece says
    /// whether it is text, and pieces of a text must be cut between characters. Until the last
    /// piece nothing else may be sent but pings: other messages are refused as
    /// [`SendStatus::Dropped`], and the socket should have no topics.
    pub fn send_fragment<'m>(
        &mut self,
        piece: impl Into<Message<'m>>,
        is_last: bool,
    ) -> SendStatus {
        self.core.send_fragment(self.key, piece.into(), is_last)
    }

    /// Sends a ping with at most 125 bytes; of a longer payload only those.
    pub fn ping(&mut self, payload: &[u8]) -> SendStatus {
        let payload = &payload[..payload.len().min(125)];
        self.core.send(self.key, Opcode::Ping, true, payload)
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2), with a code that may be sent: see
    /// [`CloseCode`]. A reason longer than 123 bytes is cut. The handler's `close` is called when
    /// it is over. What was sent before still arrives.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.core.begin_close(self.key, Some((code, reason)));
    }

    /// Drops the connection when the handler has returned, without a close frame. What was sent
    /// in this turn may be lost.
    pub fn abort(&mut self) {
        self.core.abort(self.key, "aborted by the application");
    }

    /// Subscribes to a topic; returns whether that is new. Messages published from now on arrive.
    ///
    /// # Errors
    /// [`TopicError`](crate::TopicError), if a limit of [`Limits::topics`](crate::Limits) is
    /// reached.
    pub fn subscribe(&mut self, topic: &str) -> Result<bool, pubsub::Error> {
        self.core.subscribe(self.key, topic.as_bytes())
    }

    /// Ends a subscription; returns whether there was one. Messages published before still
    /// arrive.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.core.unsubscribe(self.key, topic.as_bytes())
    }

    /// Whether this socket has subscribed to a topic.
    #[must_use]
    pub fn is_subscribed(&self, topic: &str) -> bool {
        let subscriber = self.subscriber();
        subscriber.is_some_and(|id| self.core.topics.is_subscribed(id, topic.as_bytes()))
    }

    /// The topics of this socket, in no particular order.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let names = self.subscriber().map(|id| self.core.topics.topics_of(id));
        names.into_iter().flatten().filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Publishes a message to all subscribers of a topic, on all workers, except this socket.
    /// Returns whether there is one.
    pub fn publish<'m>(&mut self, topic: &str, message: impl Into<Message<'m>>) -> bool {
        self.core.publish(Some(self.key), topic.as_bytes(), message.into())
    }

    /// As [`WebSocket::publish`], without compressing the message.
    pub fn publish_uncompressed<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> bool {
        self.core.publish_uncompressed(Some(self.key), topic.as_bytes(), message.into())
    }

    /// As [`WebSocket::publish`], with a message that has been framed before: for several topics.
    pub fn publish_prepared(&mut self, topic: &str, prepared: &Prepared) -> bool {
        self.core.publish_prepared(Some(self.key), topic.as_bytes(), prepared)
    }

    /// Bytes that wait to be sent to this socket.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.core.connections.buffered_bytes(self.key)
    }

    /// Stops reading. At most 64 KiB that have arrived already are kept; the peer notices when
    /// the kernel's buffers are full. `idle_timeout` does not run meanwhile.
    pub fn pause(&mut self) {
        self.core.set_paused(self.key, true);
    }

    /// Reads again.
    pub fn resume(&mut self) {
        self.core.set_paused(self.key, false);
    }

    /// The worker, for what concerns other sockets.
    pub fn context(&mut self) -> Context<'_> {
        Context(self.core)
    }

    /// A handle to reach this server from other threads.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.core.remote
    }

    fn subscriber(&self) -> Option<pubsub::SubscriberId> {
        self.core.connections.get(self.key).and_then(|connection| connection.subscriber)
    }
}
