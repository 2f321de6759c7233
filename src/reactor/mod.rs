//! Floor 2: bytes and the kernel. Knows no protocol.
//!
//! A [`Reactor`] takes requests, and hands back [`Completion`]s. There are three: io_uring,
//! epoll, and a simulation for tests. They are told apart by speed alone: `tests/conformance.rs`
//! runs on all of them.

use std::{io, net::SocketAddr, time::Duration};

use crate::base::{Key, Outbox, Shared};

mod batch;
mod blocking;
#[allow(unsafe_code, clippy::cast_possible_truncation, reason = "speaks to the kernel")]
mod buffers;
mod entries;
mod epoll;
mod listener;
mod put_off;
mod sim;
#[allow(unsafe_code, clippy::cast_possible_truncation, reason = "speaks to the kernel")]
mod sys;
mod unsent;
#[allow(unsafe_code, clippy::cast_possible_truncation, reason = "speaks to the kernel")]
mod uring;

pub use blocking::Connecting;
pub use epoll::EpollReactor;
pub use listener::{Address, Listener, connect};
pub use sim::{SimFaults, SimListener, SimNetwork, SimPeer, SimRandom, SimReactor, SimSocket};
pub use sys::{
    Clock, Socket, allowed_processors, give_back_memory, open_beneath, pin_thread, random,
    unix_time,
};
pub use uring::UringReactor;

/// Moves bytes between sockets and one worker.
///
/// Sockets and listeners are named by the caller: a listener by a small number, a socket by the
/// [`Key`] of its connection. One turn of a worker is
///
/// ```text
/// wait ──▶ next, next, next … None ──▶ requests (send, close, …) ──▶ wait
/// ```
///
/// and requests may be made between two calls of `next` as well.
///
/// # Contract
///
/// Every implementation keeps these rules, and callers may rely on nothing else.
///
/// 1. **Silence outside of life.** A key has completions only after `open` or `connect`, and none
///    after its `Closed`, which comes exactly once, and only after `close`. Until `Closed` has
///    come the key's slot must not be used again. Completions of a key that its owner has closed
///    may still come, and are to be ignored; requests for such a key, and for one that never
///    was, do nothing. `Ended` comes at most once, and no `Received` after it.
/// 2. **Memory.** What is given to `send` belongs to the reactor at once. What is not sent comes
///    back with `Unsent`. Received bytes are lent until the following call of `next` or `wait`.
///    On drop the kernel lets go of all memory before it is freed.
/// 3. **Counts and wake-ups.** A receive may bring any number of bytes from one on. `wait` may
///    return early, and with nothing to tell. After `Writable` the kernel may refuse all the same.
/// 4. **Order.** The receives of one socket come in the order of its bytes, those of
///    `receive_into` included, and its sends leave in the order in which they were made. Nothing
///    else is ordered.
/// 5. **Sends settle.** A send is complete when `next` has returned `None` after the next `wait`,
///    and if nothing was heard of it until then, the kernel has taken all of it. Otherwise `Unsent`
///    brings back what the kernel did not take, of all sends of that socket so far: then nothing
///    of it is under way any more. Without an error that means the peer is slow: `Writable`
///    follows when there is room. Who sends more before then gets that back in the same way. After
///    an `Unsent` with an error nothing is sent any more: all that follows comes back with one.
/// 6. **Running out** of buffers, queue entries or descriptors is no error of the reactor: it
///    does what it can, and goes on when there is room again. Only `accept` reports it, with
///    `AcceptFailed`, and rests until `resume_accept`.
/// 7. **Pausing** takes effect for bytes that have not yet been received: a few receives may
///    still come, of at most [`MAX_RECEIVE_AHEAD`] bytes on kernels that can be told so.
/// 8. **One thread.** A reactor is neither `Send` nor `Sync`. The only way in from outside is its
///    [`Waker`].
pub trait Reactor: Sized {
    /// A bound and listening socket.
    type Listener;
    /// A connected socket that has not been opened yet. Dropping it closes the connection.
    type Socket: std::fmt::Debug;

    /// Begins to accept connections, under a number of the caller's choice.
    ///
    /// # Errors
    /// Of the kernel, and if the number is in use.
    fn listen(&mut self, number: usize, listener: Self::Listener) -> io::Result<()>;

    /// Accepts again after `AcceptFailed`. No-op for a listener that is not resting.
    fn resume_accept(&mut self, number: usize);

    /// Closes the listener. Connections it accepted before may still be reported.
    fn unlisten(&mut self, number: usize);

    /// Begins to receive from a socket.
    ///
    /// # Errors
    /// Of the kernel; the socket is closed then, and the key stays silent.
    fn open(&mut self, key: Key, socket: Self::Socket) -> io::Result<()>;

    /// Sends everything in `bytes`, and leaves it empty.
    fn send(&mut self, key: Key, bytes: &mut Outbox);

    /// Sends a buffer that goes to other sockets too, without copying it.
    fn send_shared(&mut self, key: Key, bytes: &Shared);

    /// Whether the kernel takes no more for this socket now, or never will. Settles at once what
    /// was sent to it so far; its `Unsent` and `Writable` come through `next` all the same. For
    /// whoever sends much to one socket between two waits, and has to stop when the peer is slow.
    fn is_blocked(&mut self, key: Key) -> bool;

    /// Receives what has arrived for a socket straight behind `bytes`: at most `max`, and no more
    /// than there is room for without moving them. Returns how many.
    ///
    /// For whoever is in the middle of something large, and has just been told `Received`. Zero
    /// means nothing: what there is comes with `next` in any case, the end and errors always.
    fn receive_into(&mut self, key: Key, bytes: &mut Vec<u8>, max: usize) -> usize;

    /// Stops receiving. Idempotent.
    fn pause(&mut self, key: Key);

    /// Receives again. Idempotent.
    fn resume(&mut self, key: Key);

    /// Ends the sending direction after what has been sent so far. If some of that comes back with
    /// `Unsent`, the direction stays open, for its owner to send the rest and to ask again.
    fn shutdown(&mut self, key: Key);

    /// Closes the socket after what has been sent so far. `Closed` follows. What comes back with
    /// `Unsent` by then is lost.
    fn close(&mut self, key: Key);

    /// Submits what has been requested, and waits until there is a completion, a wake-up, or
    /// `timeout` is over (`None`: for as long as it takes).
    ///
    /// # Errors
    /// Only if the reactor cannot go on at all.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next completion, if there is one without waiting.
    fn next(&mut self) -> Option<Completion<'_, Self::Socket>>;

    /// Time since the reactor began, as of the last `wait`.
    fn now(&self) -> Duration;

    /// A handle that ends a `wait` from any thread.
    fn waker(&self) -> Waker;
}

/// Rule 8, checked by the compiler: of two applicable traits with the same function it cannot
/// tell which is meant, and the second one applies to what is `Send` or `Sync`.
macro_rules! assert_stays_on_its_thread {
    ($($reactor:ty),*) => {
        const _: () = {
            struct MaySend;
            struct MayShare;
            trait Check<Marker> {
                fn check() {}
            }
            impl<T> Check<()> for T {}
            impl<T: Send> Check<MaySend> for T {}
            impl<T: Sync> Check<MayShare> for T {}
            $(let _ = <$reactor as Check<_>>::check;)*
        };
    };
}

assert_stays_on_its_thread!(EpollReactor, UringReactor, SimReactor);

/// What became of a request.
#[derive(Debug)]
pub enum Completion<'a, Socket> {
    /// A connection has arrived.
    Accepted {
        /// The listener's number.
        listener: usize,
        /// To be opened or dropped.
        socket: Socket,
        /// `None` for a Unix socket.
        peer: Option<SocketAddr>,
    },
    /// Nothing is accepted until `resume_accept`: descriptors or memory have run out.
    AcceptFailed {
        /// The listener's number.
        listener: usize,
        /// Why.
        error: io::Error,
    },
    /// Bytes have arrived.
    Received {
        /// The socket.
        key: Key,
        /// At least one; lent until the following call of the reactor.
        bytes: &'a mut [u8],
    },
    /// Nothing more will arrive: the peer has ended its direction, or the connection has failed.
    Ended {
        /// The socket.
        key: Key,
        /// `None` if the peer ended it in an orderly way.
        error: Option<io::Error>,
    },
    /// The kernel did not take all that was sent.
    Unsent {
        /// The socket.
        key: Key,
        /// What it did not take.
        rest: Outbox,
        /// `None` if it will take more later, which `Writable` tells.
        error: Option<io::Error>,
    },
    /// There is room again after an `Unsent` without an error.
    Writable {
        /// The socket.
        key: Key,
    },
    /// The last word on a key that has been closed.
    Closed {
        /// The socket.
        key: Key,
    },
    /// The waker was used.
    Woken,
}

/// Ends a [`Reactor::wait`] from any thread.
#[derive(Clone)]
pub struct Waker(std::sync::Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that does this.
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(wake))
    }

    /// Ends the present `wait`, or the next one.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

/// At most this many bytes are received from one socket before its owner has seen them.
pub const MAX_RECEIVE_AHEAD: usize = 64 << 10;

/// No `wait` takes longer: kernels count in units that a longer time does not fit in.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// How a kernel backend is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long to look for completions before the thread sleeps. Zero: not at all.
    pub busy_poll: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { busy_poll: Duration::ZERO }
    }
}

/// Whether an error of `accept` concerns one connection only: the next may be better. All others
/// would come again at once.
fn is_passing_accept_error(error: &io::Error) -> bool {
    // accept(2): "errors already pending on the new socket [...] treat them like EAGAIN".
    matches!(
        error.raw_os_error(),
        Some(
            libc::EAGAIN
                | libc::EINTR
                | libc::ECANCELED
                | libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::ETIMEDOUT
        )
    )
}
