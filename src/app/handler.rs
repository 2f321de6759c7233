//! [`WebSocketHandler`]: what an application does with the WebSockets of one route.

use super::{Close, Context, Dropped, Request, Upgrade, WebSocket};
use crate::ws::Message;

/// What an application does with the WebSockets of one route.
///
/// Each worker has a handler of its own, and calls it from one thread: handlers need no locks,
/// and may keep what they like in `self`. Calls for one socket are in the order of events:
/// `upgrade`, `open`, then messages and the rest, and last `close`, exactly once for each `open`.
///
/// What a handler sends leaves when it has returned. Nothing re-enters: closing, publishing and
/// sending call no handler before this one has returned. A panic closes the socket with 1011 and
/// ends nothing else.
///
/// ```
/// use sockeye::{Message, Request, Upgrade, WebSocket, WebSocketHandler};
///
/// #[derive(Default)]
/// struct Counter { total: u64 }
///
/// impl WebSocketHandler for Counter {
///     type Data = u64; // How many messages this socket has sent.
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u64> {
///         Upgrade::accept(0)
///     }
///     fn message(&mut self, socket: &mut WebSocket<'_, u64>, _: Message<'_>) {
///         self.total += 1;
///         *socket.data() += 1;
///         let answer = format!("{} of {}", socket.data(), self.total);
///         socket.send(&answer);
///     }
/// }
/// ```
pub trait WebSocketHandler: 'static {
    /// What is kept for each socket.
    type Data: 'static;

    /// Decides whether a client may open a WebSocket, and with which data. The handshake has been
    /// checked, the route's Origin policy too (RFC 6455 §4.2.2).
    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::Data>;

    /// The socket is open.
    fn open(&mut self, socket: &mut WebSocket<'_, Self::Data>) {
        let _ = socket;
    }

    /// A message has arrived. It is lent from the receive buffer, and complete: to keep it, copy
    /// it.
    fn message(&mut self, socket: &mut WebSocket<'_, Self::Data>, message: Message<'_>) {
        let _ = (socket, message);
    }

    /// A piece of a message has arrived, if the route is `piecewise`. Pieces of a text are whole
    /// characters. The last piece may be empty.
    fn fragment(
        &mut self,
        socket: &mut WebSocket<'_, Self::Data>,
        piece: Message<'_>,
        is_last: bool,
    ) {
        let _ = (socket, piece, is_last);
    }

    /// A ping has arrived. It is answered by itself.
    fn ping(&mut self, socket: &mut WebSocket<'_, Self::Data>, payload: &[u8]) {
        let _ = (socket, payload);
    }

    /// A pong has arrived.
    fn pong(&mut self, socket: &mut WebSocket<'_, Self::Data>, payload: &[u8]) {
        let _ = (socket, payload);
    }

    /// Everything that waited for a slow peer has left: the moment to tell it what it has missed.
    /// Not called as long as something waits, so under steady overload it may never come.
    fn drain(&mut self, socket: &mut WebSocket<'_, Self::Data>) {
        let _ = socket;
    }

    /// Published messages, or messages from other threads, were thrown away because the peer
    /// does not read: `max_backpressure` bytes wait for it, beside what the kernel has taken
    /// (megabytes, by default). Called once in a turn at most, with the sum. There is seldom room
    /// for another message now; tell the peer in `drain`. (What the handler sends itself is
    /// answered at once, by [`SendStatus::Dropped`](crate::SendStatus::Dropped).)
    ///
    /// ```
    /// use sockeye::{Dropped, Request, Upgrade, WebSocket, WebSocketHandler};
    ///
    /// struct Feed;
    ///
    /// impl WebSocketHandler for Feed {
    ///     type Data = u64; // Messages that the peer has missed.
    ///
    ///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u64> {
    ///         Upgrade::accept(0)
    ///     }
    ///     fn dropped(&mut self, socket: &mut WebSocket<'_, u64>, dropped: Dropped) {
    ///         *socket.data() += dropped.messages;
    ///     }
    ///     fn drain(&mut self, socket: &mut WebSocket<'_, u64>) {
    ///         let missed = std::mem::take(socket.data());
    ///         if missed > 0 {
    ///             socket.send(&format!("you have missed {missed} messages"));
    ///         }
    ///     }
    /// }
    /// ```
    fn dropped(&mut self, socket: &mut WebSocket<'_, Self::Data>, dropped: Dropped) {
        let _ = (socket, dropped);
    }

    /// The socket is no longer open. Its topics are gone, its data comes back.
    fn close(&mut self, context: &mut Context<'_>, data: Self::Data, close: Close<'_>) {
        let _ = (context, data, close);
    }
}

/// A handler that does one thing: what this closure says, with each message.
///
/// ```
/// use sockeye::{App, Message, WebSocket, on_message};
///
/// let app = App::new().websocket("/echo", on_message(
///     |socket: &mut WebSocket<'_, ()>, message: Message<'_>| { socket.send(message); },
/// ));
/// ```
pub fn on_message<F>(function: F) -> OnMessage<F>
where
    F: FnMut(&mut WebSocket<'_, ()>, Message<'_>) + 'static,
{
    OnMessage(function)
}

/// Made by [`on_message`].
#[derive(Debug, Clone)]
pub struct OnMessage<F>(F);

impl<F> WebSocketHandler for OnMessage<F>
where
    F: FnMut(&mut WebSocket<'_, ()>, Message<'_>) + 'static,
{
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        (self.0)(socket, message);
    }
}
