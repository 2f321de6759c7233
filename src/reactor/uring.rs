//! [`UringReactor`]: completions as the kernel has them.
//!
//! Receives are multishot into a [`BufferRing`]. Small sends carry MSG_DONTWAIT: the kernel makes
//! them while it takes the submission, or refuses them, and never touches their memory afterwards.
//! A send that succeeds has no completion. So the bytes of a batch of sends need to live until the
//! batch is submitted, and what was not refused by then is sent. Large sends gain nothing from a
//! batch, and lose what the cache holds: they are made at once, by a system call.
//!
//! ```text
//! send ─▶ batch ─▶ io_uring_enter ─┬─▶ (silence)            taken by the kernel
//!                                  └─▶ short or EAGAIN ─▶ Unsent, and a poll for POLLOUT
//! ```

use std::{collections::VecDeque, io, os::fd::AsRawFd, sync::Arc, time::Duration};

use io_uring::{opcode, squeue, types};

use super::{
    Completion, Config, Listener, MAX_WAIT, Reactor, Socket, Waker,
    batch::Batch,
    buffers::{BufferRing, Piece},
    entries::Entries,
    sys,
    unsent::{Failure, Unsent},
};
use crate::base::{Key, Outbox, Shared};
use accepting::Accepting;
use receiving::Received;
use ring::{Enter, MAX_FRUITLESS_ENTERS, Reaped, Ring, is_passing};
use sending::Room;

mod accepting;
mod receiving;
mod ring;
mod sending;

pub(super) use ring::Operation;

/// io_uring, for Linux 6.1 and newer.
#[derive(Debug)]
pub struct UringReactor {
    // Dropped first, and empty by then: the kernel has let go of everything below.
    ring: Ring,
    buffers: BufferRing,
    batch: Batch,
    clock: sys::Clock,
    now: Duration,
    busy_poll: Duration,
    sockets: Entries<Entry>,
    // Invariant: only of those that are among the sockets.
    unsent: Unsent,
    listeners: Vec<Option<Accepting>>,
    // Receives and polls that have been completed, to be looked at.
    reaped: VecDeque<Reaped>,
    // Accepts that have been completed. The sockets are owned from the moment they are reaped.
    accepted: VecDeque<(usize, io::Result<Socket>)>,
    // Completions that requests have made.
    queue: VecDeque<Made>,
    // The piece that `next` has lent, and whose socket it is.
    lent: Option<(Key, Piece)>,
    // Sockets whose receive ended because the buffers had run out. They come first next time.
    starved: Vec<Key>,
    // Sockets whose receive ended because they had received enough for one turn.
    served: Vec<Key>,
    // Sockets that refused a send, and will be polled for POLLOUT.
    refused: Vec<Key>,
    // How many sockets are closing.
    closing: usize,
    // Sockets to be shut down or closed once the batch has been submitted.
    ending: Vec<(Key, Ending)>,
    wake: Arc<sys::EventFd>,
    // Why the ring cannot go on. Nothing is submitted any more then.
    failure: Option<i32>,
    // Neither `Send` nor `Sync`.
    _one_thread: std::marker::PhantomData<*const ()>,
}

#[derive(Debug)]
struct Entry {
    socket: Socket,
    // A receive is armed, or its submission is queued.
    receiving: bool,
    // The owner wants to receive.
    wanted: bool,
    ended: bool,
    // The kernel has refused a send, and the owner has not been told that there is room again.
    blocked: bool,
    // A poll for POLLOUT is armed, or its submission is queued.
    polling: bool,
    closing: bool,
    // The error after which nothing is sent any more.
    failed: Option<Failure>,
    // The batch that holds the last send.
    batch: u32,
}

const _: () = assert!(Entries::<Entry>::ENTRY_BYTES == 20);

#[derive(Debug, Clone, Copy)]
enum Made {
    Unsent { key: Key },
    Ended { key: Key, error: i32 },
    Closed { key: Key },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Shutdown,
    Close,
}

impl UringReactor {
    /// # Errors
    /// If this kernel, or this container, lacks io_uring or one of the operations used here. The
    /// text says which.
    pub fn new(config: &Config) -> io::Result<Self> {
        let ring = Ring::new(!config.busy_poll.is_zero())?;
        Self::with_ring(ring, config, true)
    }

    /// Whether there can be such a reactor.
    ///
    /// Asked on a thread of its own: the kernel takes a ring apart some time after it was closed,
    /// and interrupts what the thread that made it does then.
    ///
    /// # Errors
    /// As [`UringReactor::new`].
    pub fn probe(config: &Config) -> io::Result<()> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("sockeye-probe".into());
            let asked = thread.spawn_scoped(scope, || Self::new(config).map(drop))?;
            asked.join().unwrap_or_else(|_| Err(io::Error::other("the probe panicked")))
        })
    }

    /// A reactor that does without what came after Linux 6.1: buffers that several receives
    /// share, and receives with a bound. For tests.
    ///
    /// # Errors
    /// As [`UringReactor::new`].
    #[doc(hidden)]
    pub fn like_linux_6_1(config: &Config) -> io::Result<Self> {
        let mut ring = Ring::new(!config.busy_poll.is_zero())?;
        ring.forget_bounds();
        Self::with_ring(ring, config, false)
    }

    fn with_ring(ring: Ring, config: &Config, incremental: bool) -> io::Result<Self> {
        let buffers = BufferRing::register(&ring.submitter(), incremental)
            .map_err(|error| ring::explain("buffer rings (Linux 5.19)", &error))?;
        let mut reactor = Self {
            ring,
            buffers,
            batch: Batch::default(),
            clock: sys::Clock::start(),
            now: Duration::ZERO,
            busy_poll: config.busy_poll,
            sockets: Entries::default(),
            unsent: Unsent::default(),
            listeners: Vec::new(),
            reaped: VecDeque::new(),
            accepted: VecDeque::new(),
            queue: VecDeque::new(),
            lent: None,
            starved: Vec::new(),
            served: Vec::new(),
            refused: Vec::new(),
            closing: 0,
            ending: Vec::new(),
            wake: Arc::new(sys::EventFd::new()?),
            failure: None,
            _one_thread: std::marker::PhantomData,
        };
        reactor.arm_wake();
        Ok(reactor)
    }

    fn arm_wake(&mut self) {
        let poll = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), libc::POLLIN as u32);
        self.push(poll.build().user_data(Operation::Wake.tag(0)));
    }

    fn cancel(&mut self, operation: Operation, of: u64) {
        let cancel = opcode::AsyncCancel::new(operation.tag(of)).build();
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(cancel.user_data(Operation::Cancel.tag(0)));
    }

    /// Queues an entry. If the queue is full, the kernel takes what is in it first.
    fn push(&mut self, entry: impl std::borrow::Borrow<squeue::Entry>) {
        while self.failure.is_none() && self.ring.push(entry.borrow()).is_err() {
            self.submit();
        }
    }

    /// Submits without waiting. Afterwards the batch is settled and empty.
    fn submit(&mut self) {
        self.enter(Enter::Submit);
    }

    /// Submits everything, and has the kernel tell what there is to tell.
    fn enter(&mut self, mut how: Enter) {
        let mut fruitless = 0;
        while self.failure.is_none() {
            let queued = self.ring.queued();
            let result = self.ring.enter(how);
            let progress = self.reap() || self.ring.queued() < queued;
            if let Err(error) = result {
                fruitless = if progress { 0 } else { fruitless + 1 };
                if !is_passing(&error) || fruitless > MAX_FRUITLESS_ENTERS {
                    self.failure = Some(error.raw_os_error().unwrap_or(libc::EIO));
                }
            }
            if self.ring.is_drained() {
                break;
            }
            how = Enter::Submit;
        }
        self.batch.clear();
        // Only now: a queue that is full is submitted, which must not happen amid a batch.
        for key in std::mem::take(&mut self.refused) {
            self.arm_writable(key);
        }
        self.finish_ending();
    }

    /// Moves completions out of the ring, and settles the sends among them. Whether there were any.
    fn reap(&mut self) -> bool {
        let mut any = false;
        while let Some(reaped) = self.ring.pop() {
            any = true;
            match reaped.operation() {
                Operation::Send => self.settle_refused(reaped),
                Operation::Accept => self.note_accepted(reaped),
                Operation::Cancel => {}
                // The last completions of a socket are what `Closed` waits for: not another turn.
                Operation::Receive if self.closing > 0 && self.is_closing(reaped) => {
                    self.received(reaped);
                }
                Operation::Writable if self.closing > 0 && self.is_closing(reaped) => {
                    self.writable(Key::unpack(reaped.payload()));
                }
                _ => self.reaped.push_back(reaped),
            }
        }
        any
    }

    fn is_closing(&mut self, reaped: Reaped) -> bool {
        let key = Key::unpack(reaped.payload());
        self.sockets.get_mut(key).is_none_or(|entry| entry.closing)
    }

    /// Shuts down and closes what was waiting for the batch to be submitted.
    fn finish_ending(&mut self) {
        for (key, ending) in std::mem::take(&mut self.ending) {
            let Some(entry) = self.sockets.get_mut(key) else { continue };
            match ending {
                Ending::Shutdown if entry.blocked => {}
                Ending::Shutdown => sys::shutdown(entry.socket.as_raw_fd()),
                Ending::Close => self.release_if_idle(key),
            }
        }
    }

    /// Closes the descriptor, once no operation of the ring refers to it.
    fn release_if_idle(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if entry.closing && !entry.receiving && !entry.polling {
            self.sockets.remove(key);
            self.unsent.take(key);
            self.closing -= 1;
            self.queue.push_back(Made::Closed { key });
        }
    }

    fn made(&mut self, made: Made) -> Option<Completion<'static, Socket>> {
        match made {
            Made::Closed { key } => Some(Completion::Closed { key }),
            Made::Ended { key, error } => {
                let error = Some(io::Error::from_raw_os_error(error));
                self.sockets.get_mut(key).map(|_| Completion::Ended { key, error })
            }
            Made::Unsent { key } => {
                let rest = self.unsent.take(key)?;
                let error = self.sockets.get_mut(key)?.failed.map(io::Error::from);
                Some(Completion::Unsent { key, rest, error })
            }
        }
    }

    fn has_news(&self) -> bool {
        !self.queue.is_empty() || !self.reaped.is_empty() || !self.accepted.is_empty()
    }

    /// Spins for the time that `busy_poll` allows, then sleeps.
    fn enter_busily(&mut self, timeout: Option<Duration>) {
        let start = self.clock.now();
        let spin = timeout.map_or(self.busy_poll, |timeout| timeout.min(self.busy_poll));
        self.enter(Enter::Poll);
        while !self.has_news() && self.failure.is_none() {
            let spent = self.clock.now() - start;
            if spent >= spin {
                let rest = timeout.map(|timeout| timeout.saturating_sub(spent));
                return self.enter(Enter::Wait(rest));
            }
            if self.ring.has_news() {
                self.enter(Enter::Poll);
            }
            std::hint::spin_loop();
        }
    }
}

impl Reactor for UringReactor {
    type Listener = Listener;
    type Socket = Socket;

    fn listen(&mut self, number: usize, listener: Listener) -> io::Result<()> {
        self.begin_accepting(number, listener)
    }

    fn resume_accept(&mut self, number: usize) {
        self.go_on_accepting(number);
    }

    fn unlisten(&mut self, number: usize) {
        self.end_accepting(number);
    }

    fn open(&mut self, key: Key, socket: Socket) -> io::Result<()> {
        self.sockets.insert(key, Entry::new(socket));
        self.arm_receive(key);
        Ok(())
    }

    fn send(&mut self, key: Key, bytes: &mut Outbox) {
        self.send_outbox(key, bytes);
    }

    fn send_shared(&mut self, key: Key, bytes: &Shared) {
        self.send_buffer(key, bytes);
    }

    fn is_blocked(&mut self, key: Key) -> bool {
        self.settle(key) == Room::Refused
    }

    fn receive_into(&mut self, key: Key, bytes: &mut Vec<u8>, max: usize) -> usize {
        self.receive_behind(key, bytes, max)
    }

    fn pause(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        let wanted = std::mem::replace(&mut entry.wanted, false);
        if wanted && entry.receiving && !entry.closing {
            self.cancel(Operation::Receive, key.pack());
        }
    }

    fn resume(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        entry.wanted = true;
        self.arm_receive(key);
    }

    fn shutdown(&mut self, key: Key) {
        if self.sockets.get_mut(key).is_some_and(|entry| !entry.closing) {
            self.ending.push((key, Ending::Shutdown));
        }
    }

    fn close(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if std::mem::replace(&mut entry.closing, true) {
            return;
        }
        self.closing += 1;
        let (receiving, polling) = (entry.receiving, entry.polling);
        if receiving {
            self.cancel(Operation::Receive, key.pack());
        }
        if polling {
            self.cancel(Operation::Writable, key.pack());
        }
        self.ending.push((key, Ending::Close));
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| timeout.min(MAX_WAIT));
        self.take_back_lent();
        self.receive_on();
        if self.has_news() || !self.ending.is_empty() {
            self.enter(Enter::Poll);
        }
        if !self.has_news() {
            match timeout {
                Some(Duration::ZERO) => self.enter(Enter::Poll),
                _ if self.busy_poll.is_zero() => self.enter(Enter::Wait(timeout)),
                _ => self.enter_busily(timeout),
            }
        }
        self.now = self.clock.now();
        match self.failure {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok(()),
        }
    }

    fn next(&mut self) -> Option<Completion<'_, Socket>> {
        self.take_back_lent();
        loop {
            if let Some(made) = self.queue.pop_front() {
                match self.made(made) {
                    Some(completion) => return Some(completion),
                    None => continue,
                }
            }
            if let Some((number, result)) = self.accepted.pop_front() {
                match self.accepted(number, result) {
                    Some(completion) => return Some(completion),
                    None => continue,
                }
            }
            let reaped = self.reaped.pop_front()?;
            match reaped.operation() {
                Operation::Receive => match self.received(reaped) {
                    Some(Received::Bytes(key, piece)) => {
                        self.lent = Some((key, piece));
                        let bytes = self.buffers.bytes(piece);
                        return Some(Completion::Received { key, bytes });
                    }
                    Some(Received::End(key, error)) => {
                        return Some(Completion::Ended { key, error });
                    }
                    None => {}
                },
                Operation::Writable => {
                    let key = Key::unpack(reaped.payload());
                    if let Some(completion) = self.writable(key) {
                        return Some(completion);
                    }
                }
                Operation::Wake => {
                    self.wake.reset();
                    self.arm_wake();
                    return Some(Completion::Woken);
                }
                // Dealt with when they were reaped.
                Operation::Accept | Operation::Send | Operation::Cancel => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.wake);
        Waker::new(move || wake.signal())
    }
}

impl Drop for UringReactor {
    fn drop(&mut self) {
        self.ring.cancel_all();
        // Connections that have been accepted and not been looked at are closed, too.
        self.reap();
    }
}

impl Entry {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            receiving: false,
            wanted: true,
            ended: false,
            blocked: false,
            polling: false,
            closing: false,
            failed: None,
            batch: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Moved(UringReactor);

    // SAFETY: not kept. The kernel refuses the calls of any thread but the first, which is what
    // the test needs: a ring that cannot go on.
    unsafe impl Send for Moved {}

    #[test]
    fn a_ring_that_cannot_go_on_is_an_error_of_wait_and_nothing_spins() {
        let reactor = match UringReactor::new(&Config::default()) {
            Ok(reactor) => Moved(reactor),
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let elsewhere = std::thread::spawn(move || {
            let mut moved = reactor;
            let reactor = &mut moved.0;
            for number in 0..2 * ring::SUBMISSIONS {
                reactor.cancel(Operation::Accept, u64::from(number));
            }
            let first = reactor.wait(None).map_err(|error| error.kind());
            let second = reactor.wait(None).map_err(|error| error.kind());
            assert!(first.is_err(), "{first:?}");
            assert_eq!(first, second);
            assert!(reactor.next().is_none());
        });
        elsewhere.join().unwrap();
    }
}
