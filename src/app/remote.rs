//! [`Remote`]: reaches the workers from any thread.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
    time::Duration,
};

use super::{
    Context, Event, Prepared, SocketId, Stats, WebSocketHandler,
    stats::Board,
    upgrade::{AnyVerdict, Ticket},
};
use crate::{
    cluster::{Full, Mailbox},
    pubsub::{Framed, InterestChange, TopicName, Variant},
    ws::{CloseCode, Message},
};

/// Reaches the workers of a server from any thread, also from the tasks of an async runtime.
///
/// Nothing here waits for a worker: requests are posted to its mailbox. Those of one thread to one
/// worker are carried out in their order.
///
/// ```no_run
/// use std::{thread, time::Duration};
/// use sockeye::{App, Message, Server, WebSocket, on_message};
///
/// # fn main() -> sockeye::Result<()> {
/// let chat = || App::new().websocket("/", on_message(
///     |socket: &mut WebSocket<'_, ()>, _: Message<'_>| { socket.subscribe("news").ok(); },
/// ));
/// let running = Server::new(chat).listen("127.0.0.1:9001").start()?;
/// let remote = running.remote();
/// thread::spawn(move || remote.publish("news", "hello from outside"));
/// running.join()
/// # }
/// ```
#[derive(Clone)]
pub struct Remote(Arc<[Desk]>);

/// What of a worker can be reached from outside.
#[derive(Debug)]
struct Desk {
    letters: Mailbox<Letter>,
    // Apart from the letters, because it is read in the middle of a turn: see `Core::publish`.
    interest: Mailbox<Interest>,
    board: Board,
}

/// Which topics another worker wants, or wants no more.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) worker: u8,
    pub(super) change: InterestChange,
}

/// What a worker is asked to do.
pub(super) enum Letter {
    /// Send to one socket.
    Send { id: SocketId, prepared: Prepared },
    /// Deliver to the topic's subscribers on this worker.
    Publish { topic: TopicName, framed: Framed },
    /// Begin the closing handshake of one socket.
    Close { id: SocketId, status: Option<(CloseCode, Box<str>)> },
    /// Drop the connection of one socket.
    Abort { id: SocketId },
    /// Answer a request for a WebSocket.
    Answer { ticket: Ticket, verdict: AnyVerdict },
    /// There is something to take from the writer of a response.
    Written { ticket: Ticket },
    /// Call a function of the application.
    Run(Box<dyn FnOnce(&mut Context<'_>) + Send>),
    /// Call a function of the application with the handler of this type.
    RunWith { handler: TypeId, function: HandlerFunction },
    /// End.
    Shutdown { grace: Duration },
}

/// A function that knows the type of its handler.
type HandlerFunction = Box<dyn FnOnce(&mut dyn Any, &mut Context<'_>) + Send>;

/// Why something could not be posted to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The worker has too much to do: its mailbox is at `max_mailbox_bytes`. Nothing was posted.
    Full,
    /// There is no such worker, or it has ended.
    Closed,
}

impl Remote {
    /// For workers that a test ties together itself. Those of a [`Server`](crate::Server) have
    /// theirs.
    #[doc(hidden)]
    #[must_use]
    pub fn new(workers: usize, max_mailbox_bytes: usize) -> Self {
        let desk = |_| Desk {
            letters: Mailbox::with_limit(max_mailbox_bytes),
            interest: Mailbox::with_limit(max_mailbox_bytes),
            board: Board::default(),
        };
        Self((0..workers).map(desk).collect())
    }

    /// Sends a message to one socket. If it has been closed, or is closed before the message
    /// arrives, nothing happens.
    ///
    /// # Errors
    /// [`SendError`], if the worker cannot be reached.
    pub fn send<'m>(&self, id: SocketId, message: impl Into<Message<'m>>) -> Result<(), SendError> {
        self.send_prepared(id, &Prepared::new(message))
    }

    /// Sends a message that has been framed before.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub fn send_prepared(&self, id: SocketId, prepared: &Prepared) -> Result<(), SendError> {
        let letter = Letter::Send { id, prepared: prepared.clone() };
        self.post(id.worker_number(), letter, prepared.len() + LETTER_BYTES)
    }

    /// Publishes a message to all subscribers of a topic, on all workers. It is framed once.
    ///
    /// # Errors
    /// [`SendError`], if one of the workers could not be reached; the others have the message.
    pub fn publish<'m>(
        &self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<(), SendError> {
        self.publish_framed(topic, &Prepared::new(message).into_framed())
    }

    fn publish_framed(&self, topic: &str, framed: &Framed) -> Result<(), SendError> {
        let topic = TopicName::from(topic.as_bytes());
        let bytes = framed.bytes() + LETTER_BYTES;
        let mut result = Ok(());
        for worker in self.workers() {
            let letter = Letter::Publish { topic: topic.clone(), framed: framed.clone() };
            result = result.and(self.post(worker, letter, bytes));
        }
        result
    }

    /// Publishes an event to all subscribers of a topic, on all workers: WebSockets get its data
    /// as a text message, event streams get all of it.
    ///
    /// # Errors
    /// As [`Remote::publish`].
    pub fn publish_event(&self, topic: &str, event: &Event<'_>) -> Result<(), SendError> {
        let framed = Prepared::new(event.data()).into_framed();
        self.publish_framed(topic, &framed.with(Variant::EVENT_STREAM, event.frame()))
    }

    /// Begins the closing handshake of one socket (RFC 6455 §7.1.2), with a code that may be sent:
    /// see [`CloseCode`].
    ///
    /// # Errors
    /// [`SendError`], if the worker cannot be reached.
    pub fn close(&self, id: SocketId, code: CloseCode, reason: &str) -> Result<(), SendError> {
        let status = Some((code, reason.into()));
        self.post(id.worker_number(), Letter::Close { id, status }, 0)
    }

    /// Drops the connection of one socket, without a close frame.
    ///
    /// # Errors
    /// [`SendError`], if the worker cannot be reached.
    pub fn abort(&self, id: SocketId) -> Result<(), SendError> {
        self.post(id.worker_number(), Letter::Abort { id }, 0)
    }

    /// Calls a function on a worker's thread, between two turns. It must not wait for anything.
    ///
    /// # Errors
    /// [`SendError`], if the worker cannot be reached; the function is dropped then.
    pub fn run_on(
        &self,
        worker: usize,
        function: impl FnOnce(&mut Context<'_>) + Send + 'static,
    ) -> Result<(), SendError> {
        let number = u8::try_from(worker).map_err(|_| SendError::Closed)?;
        self.post(number, Letter::Run(Box::new(function)), LETTER_BYTES)
    }

    /// Calls a function on a worker's thread, between two turns, with the handler of this type:
    /// so handlers of several workers can share what one of them keeps, without locks. Of several
    /// routes with such a handler the first one is meant. If the worker has none, the function is
    /// dropped, and a line in the log says so.
    ///
    /// ```
    /// use sockeye::{Message, Request, Upgrade, WebSocket, WebSocketHandler};
    ///
    /// #[derive(Default)]
    /// struct Tally { total: u64 } // Kept by worker 0 for all.
    ///
    /// impl WebSocketHandler for Tally {
    ///     type Data = ();
    ///
    ///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
    ///         Upgrade::accept(())
    ///     }
    ///     fn message(&mut self, socket: &mut WebSocket<'_, ()>, _: Message<'_>) {
    ///         let id = socket.id();
    ///         let asked = socket.remote().run_with(0, move |tally: &mut Tally, context| {
    ///             tally.total += 1;
    ///             context.send(id, &tally.total.to_string());
    ///         });
    ///         if asked.is_err() {
    ///             socket.abort();
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Remote::run_on`].
    pub fn run_with<H: WebSocketHandler>(
        &self,
        worker: usize,
        function: impl FnOnce(&mut H, &mut Context<'_>) + Send + 'static,
    ) -> Result<(), SendError> {
        let number = u8::try_from(worker).map_err(|_| SendError::Closed)?;
        let function = Box::new(move |handler: &mut dyn Any, context: &mut Context<'_>| {
            if let Some(handler) = handler.downcast_mut() {
                function(handler, context);
            }
        });
        let letter = Letter::RunWith { handler: TypeId::of::<H>(), function };
        self.post(number, letter, LETTER_BYTES)
    }

    /// What each worker has done.
    #[must_use]
    pub fn stats(&self) -> Vec<Stats> {
        self.0.iter().map(|desk| desk.board.read()).collect()
    }

    /// The sum over all workers.
    #[must_use]
    pub fn total_stats(&self) -> Stats {
        self.stats().into_iter().fold(Stats::default(), |mut sum, stats| {
            sum += stats;
            sum
        })
    }

    /// How many workers there are.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        self.0.len()
    }

    /// Ends the server: it accepts no more, closes every WebSocket with 1001, answers the requests
    /// it has, and gives all that was sent the time `grace` to leave. Then it drops what is left.
    ///
    /// A client gets what was sent to it before its close frame, and nothing after that: what is
    /// published while workers are closing reaches no socket of those that have begun. What one
    /// thread publishes here before it calls this reaches everyone.
    ///
    /// A second call can only shorten the time.
    pub fn shutdown(&self, grace: Duration) {
        for worker in self.workers() {
            // Refused only by a worker that has ended.
            let _ = self.post(worker, Letter::Shutdown { grace }, 0);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "at most 256 workers")]
    pub(super) fn workers(&self) -> impl Iterator<Item = u8> + use<> {
        (0..self.0.len()).map(|worker| worker as u8)
    }

    pub(super) fn letters(&self, worker: u8) -> &Mailbox<Letter> {
        &self.0[usize::from(worker)].letters
    }

    pub(super) fn interest(&self, worker: u8) -> &Mailbox<Interest> {
        &self.0[usize::from(worker)].interest
    }

    pub(super) fn board(&self, worker: u8) -> &Board {
        &self.0[usize::from(worker)].board
    }

    pub(super) fn post(&self, worker: u8, letter: Letter, bytes: usize) -> Result<(), SendError> {
        let desk = self.0.get(usize::from(worker)).ok_or(SendError::Closed)?;
        desk.letters.post(letter, bytes).map_err(|error| match error {
            Full::NoRoom(_) => SendError::Full,
            Full::Closed(_) => SendError::Closed,
        })
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({} workers)", self.worker_count())
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send { .. } => "Send",
            Self::Publish { .. } => "Publish",
            Self::Close { .. } => "Close",
            Self::Abort { .. } => "Abort",
            Self::Answer { .. } => "Answer",
            Self::Written { .. } => "Written",
            Self::Run(_) => "Run",
            Self::RunWith { .. } => "RunWith",
            Self::Shutdown { .. } => "Shutdown",
        })
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the worker's mailbox is full: try again later",
            Self::Closed => "there is no such worker any more",
        })
    }
}

impl std::error::Error for SendError {}

/// What a letter weighs beyond its message: empty ones are not free.
pub(super) const LETTER_BYTES: usize = 64;
