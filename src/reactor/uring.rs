//! [`UringReactor`]: completions as the kernel has them.
//!
//! Receives are multishot into a [`BufferRing`]. Sends carry MSG_DONTWAIT: the kernel makes them
//! while it takes the submission, or refuses them, and never touches their memory afterwards. A
//! send that succeeds has no completion. So the bytes of a batch of sends need to live until the
//! batch is submitted, and what was not refused by then is sent.
//!
//! ```text
//! send ─▶ batch ─▶ io_uring_enter ─┬─▶ (silence)            taken by the kernel
//!                                  └─▶ short or EAGAIN ─▶ Unsent, and a poll for POLLOUT
//! ```

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::{
    Completion, Config, Listener, MAX_RECEIVE_AHEAD, Reactor, Socket, Waker,
    batch::Batch,
    buffers::{self, BufferRing, Piece},
    entries::Entries,
    is_passing_accept_error, sys,
};
use crate::base::{Key, Outbox, Shared};

/// io_uring, for Linux 6.1 and newer.
#[derive(Debug)]
pub struct UringReactor {
    // Dropped first: the kernel lets go of everything below.
    ring: Ring,
    buffers: BufferRing,
    batch: Batch,
    clock: sys::Clock,
    now: Duration,
    busy_poll: Duration,
    sockets: Entries<Entry>,
    listeners: Vec<Option<Accepting>>,
    // Completions of the kernel that have not been looked at.
    reaped: VecDeque<Reaped>,
    // Completions that requests have made.
    queue: VecDeque<Made>,
    // The piece that `next` has lent, and whose socket it is.
    lent: Option<(Key, Piece)>,
    // Sockets whose receive ended because the buffers had run out.
    starved: Vec<Key>,
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
    // A poll for POLLOUT is armed.
    blocked: bool,
    closing: bool,
    // The batch that holds the last send.
    batch: u64,
}

#[derive(Debug)]
struct Accepting {
    listener: Listener,
    armed: bool,
    resting: bool,
    closing: bool,
}

#[derive(Debug, Clone, Copy)]
struct Reaped {
    user_data: u64,
    result: i32,
    flags: u32,
}

#[derive(Debug)]
enum Made {
    Unsent { key: Key, rest: Outbox, error: Option<io::Error> },
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
        let ring = Ring::new()?;
        let buffers = BufferRing::register(&ring.0.submitter())
            .map_err(|error| explain("buffer rings (Linux 5.19)", &error))?;
        let wake = Arc::new(sys::EventFd::new()?);
        let mut reactor = Self {
            ring,
            buffers,
            batch: Batch::default(),
            clock: sys::Clock::start(),
            now: Duration::ZERO,
            busy_poll: config.busy_poll,
            sockets: Entries::default(),
            listeners: Vec::new(),
            reaped: VecDeque::new(),
            queue: VecDeque::new(),
            lent: None,
            starved: Vec::new(),
            ending: Vec::new(),
            wake,
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

    fn arm_receive(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if entry.receiving || entry.ended || entry.closing || !entry.wanted {
            return;
        }
        entry.receiving = true;
        let fd = types::Fd(entry.socket.as_raw_fd());
        let mut receive = opcode::RecvMulti::new(fd, buffers::GROUP).build();
        if self.ring.1 {
            limit_multishot(&mut receive, MAX_RECEIVE_AHEAD as u32);
        }
        self.push(receive.user_data(Operation::Receive.tag(key.pack())));
    }

    fn arm_accept(&mut self, number: usize) {
        let Some(Some(accepting)) = self.listeners.get_mut(number) else { return };
        if std::mem::replace(&mut accepting.armed, true) {
            return;
        }
        let fd = types::Fd(accepting.listener.as_raw_fd());
        let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build().user_data(Operation::Accept.tag(number as u64)));
    }

    fn cancel(&mut self, operation: Operation, of: u64) {
        let cancel = opcode::AsyncCancel::new(operation.tag(of)).build();
        self.push(cancel.user_data(Operation::Cancel.tag(0)));
    }

    /// Queues an entry. If the queue is full, the kernel takes what is in it first.
    fn push(&mut self, entry: impl std::borrow::Borrow<squeue::Entry>) {
        while self.failure.is_none() && self.ring.push(entry.borrow()).is_err() {
            self.submit();
        }
    }

    /// Queues a send that the batch holds the bytes for.
    fn push_send(&mut self, key: Key, make: impl FnOnce(&mut Batch, RawFd) -> squeue::Entry) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        entry.batch = self.batch.number();
        let send = make(&mut self.batch, entry.socket.as_raw_fd());
        self.push(send);
        if self.batch.is_full() {
            self.submit();
        }
    }

    /// Makes room for a send of this socket: at most one stands in a batch, because the second
    /// could succeed where the first was refused. False if it has to wait for `Writable`.
    fn settle(&mut self, key: Key) -> bool {
        let number = self.batch.number();
        match self.sockets.get_mut(key) {
            Some(entry) if entry.batch == number => self.submit(),
            _ => {}
        }
        self.sockets.get_mut(key).is_some_and(|entry| !entry.blocked)
    }

    /// Submits without waiting. Afterwards the batch is settled and empty.
    fn submit(&mut self) {
        self.enter(0, None);
    }

    /// Submits everything, and waits for `want` completions.
    fn enter(&mut self, mut want: usize, timeout: Option<Duration>) {
        let mut fruitless = 0;
        while self.failure.is_none() {
            let queued = self.ring.queued();
            let result = self.ring.enter(want, timeout);
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
            want = 0;
        }
        self.batch.clear();
        self.finish_ending();
    }

    /// Moves completions out of the ring, and settles the sends among them. Whether there were any.
    fn reap(&mut self) -> bool {
        let mut any = false;
        while let Some(reaped) = self.ring.pop() {
            any = true;
            if Operation::of(reaped.user_data) == Operation::Send {
                self.settle_refused(reaped);
            } else {
                self.reaped.push_back(reaped);
            }
        }
        any
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    fn settle_refused(&mut self, reaped: Reaped) {
        let index = (reaped.user_data & PAYLOAD) as usize;
        let Some((key, mut rest)) = self.batch.take_back(index) else { return };
        let error = match reaped.result {
            sent if sent >= 0 => {
                rest.advance((sent as usize).min(rest.len()));
                None
            }
            code if code == -libc::EAGAIN => None,
            code => Some(io::Error::from_raw_os_error(-code)),
        };
        if rest.is_empty() {
            return;
        }
        if error.is_none() {
            self.block(key);
        }
        self.queue.push_back(Made::Unsent { key, rest, error });
    }

    /// Asks to be told when the socket has room.
    fn block(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if entry.closing || std::mem::replace(&mut entry.blocked, true) {
            return;
        }
        let fd = types::Fd(entry.socket.as_raw_fd());
        let poll = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
        self.push(poll.user_data(Operation::Writable.tag(key.pack())));
    }

    /// Shuts down and closes what was waiting for the batch to be submitted.
    fn finish_ending(&mut self) {
        for (key, ending) in std::mem::take(&mut self.ending) {
            let Some(entry) = self.sockets.get_mut(key) else { continue };
            match ending {
                Ending::Shutdown => sys::shutdown(entry.socket.as_raw_fd()),
                Ending::Close => self.release_if_idle(key),
            }
        }
    }

    /// Closes the descriptor, once no operation of the ring refers to it.
    fn release_if_idle(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if entry.closing && !entry.receiving && !entry.blocked {
            self.sockets.remove(key);
            self.queue.push_back(Made::Closed { key });
        }
    }

    /// Releases what `next` has lent, and receives on if the kernel has stopped there.
    fn take_back_lent(&mut self) {
        if let Some((key, piece)) = self.lent.take() {
            self.buffers.release(piece);
            self.arm_receive(key);
        }
    }

    fn accepted(&mut self, reaped: Reaped) -> Option<Completion<'static, Socket>> {
        let number = (reaped.user_data & PAYLOAD) as usize;
        let socket = (reaped.result >= 0).then(|| {
            // SAFETY: a successful accept hands over a new descriptor.
            unsafe { sys::own(reaped.result) }
        });
        let accepting = self.listeners.get_mut(number)?.as_mut()?;
        accepting.armed &= cqueue::more(reaped.flags);
        let ended = !accepting.armed;
        if ended && accepting.closing {
            self.listeners[number] = None;
            return None;
        }
        let error = match socket {
            Some(socket) => {
                if ended {
                    self.arm_accept(number);
                }
                let peer = socket.peer();
                return Some(Completion::Accepted { listener: number, socket, peer });
            }
            None => io::Error::from_raw_os_error(-reaped.result),
        };
        if is_passing_accept_error(&error) {
            self.arm_accept(number);
            return None;
        }
        accepting.resting = true;
        Some(Completion::AcceptFailed { listener: number, error })
    }

    #[allow(clippy::cast_sign_loss, reason = "checked")]
    fn received(&mut self, reaped: Reaped) -> Option<Received> {
        let key = Key::unpack(reaped.user_data & PAYLOAD);
        let piece = cqueue::buffer_select(reaped.flags).map(|buffer| {
            let more = cqueue::buffer_more(reaped.flags);
            self.buffers.reported(buffer, reaped.result.max(0) as u32, more)
        });
        let Some(entry) = self.sockets.get_mut(key) else {
            if let Some(piece) = piece {
                self.buffers.release(piece);
            }
            return None;
        };
        entry.receiving &= cqueue::more(reaped.flags);
        if entry.closing || entry.ended {
            if let Some(piece) = piece {
                self.buffers.release(piece);
            }
            self.release_if_idle(key);
            return None;
        }
        match (reaped.result, piece) {
            (1.., Some(piece)) => Some(Received::Bytes(key, piece)),
            (result, piece) => {
                if let Some(piece) = piece {
                    self.buffers.release(piece);
                }
                self.receive_ended(key, result)
            }
        }
    }

    fn receive_ended(&mut self, key: Key, result: i32) -> Option<Received> {
        let entry = self.sockets.get_mut(key)?;
        match -result {
            libc::ENOBUFS => self.starved.push(key),
            // Paused. If it has been resumed in between, go on.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.arm_receive(key),
            0 => {
                entry.ended = true;
                return Some(Received::End(key, None));
            }
            code => {
                entry.ended = true;
                return Some(Received::End(key, Some(io::Error::from_raw_os_error(code))));
            }
        }
        None
    }

    fn writable(&mut self, key: Key) -> Option<Completion<'static, Socket>> {
        let entry = self.sockets.get_mut(key)?;
        entry.blocked = false;
        if entry.closing {
            self.release_if_idle(key);
            return None;
        }
        Some(Completion::Writable { key })
    }

    /// Spins for the time that `busy_poll` allows, then sleeps.
    fn enter_busily(&mut self, timeout: Option<Duration>) {
        let start = self.clock.now();
        let spin = timeout.map_or(self.busy_poll, |timeout| timeout.min(self.busy_poll));
        loop {
            self.enter(0, None);
            if !self.reaped.is_empty() || !self.queue.is_empty() {
                return;
            }
            let spent = self.clock.now() - start;
            if spent >= spin {
                return self.enter(1, timeout.map(|timeout| timeout.saturating_sub(spent)));
            }
        }
    }
}

impl Reactor for UringReactor {
    type Listener = Listener;
    type Socket = Socket;

    fn listen(&mut self, number: usize, listener: Listener) -> io::Result<()> {
        if self.listeners.len() <= number {
            self.listeners.resize_with(number + 1, || None);
        }
        if self.listeners[number].is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.listeners[number] =
            Some(Accepting { listener, armed: false, resting: false, closing: false });
        self.arm_accept(number);
        Ok(())
    }

    fn resume_accept(&mut self, number: usize) {
        if let Some(Some(accepting)) = self.listeners.get_mut(number)
            && std::mem::take(&mut accepting.resting)
        {
            self.arm_accept(number);
        }
    }

    fn unlisten(&mut self, number: usize) {
        let Some(Some(accepting)) = self.listeners.get_mut(number) else { return };
        if accepting.armed {
            accepting.closing = true;
            self.cancel(Operation::Accept, number as u64);
            // The port is free when this returns, whatever the ring still holds.
            self.submit();
        } else {
            self.listeners[number] = None;
        }
    }

    fn open(&mut self, key: Key, socket: Socket) -> io::Result<()> {
        self.sockets.insert(key, Entry::new(socket));
        self.arm_receive(key);
        Ok(())
    }

    fn send(&mut self, key: Key, bytes: &mut Outbox) {
        if bytes.is_empty() {
            return;
        }
        if self.settle(key) {
            self.push_send(key, |batch, fd| batch.send(key, fd, bytes));
        } else if self.sockets.get_mut(key).is_some() {
            let rest = std::mem::take(bytes);
            self.queue.push_back(Made::Unsent { key, rest, error: None });
        } else {
            bytes.clear();
        }
    }

    fn send_shared(&mut self, key: Key, bytes: &Shared) {
        if bytes.is_empty() {
            return;
        }
        if self.settle(key) {
            self.push_send(key, |batch, fd| batch.send_shared(key, fd, bytes));
        } else if self.sockets.get_mut(key).is_some() {
            let mut rest = Outbox::default();
            rest.push_shared(bytes.clone(), 0);
            self.queue.push_back(Made::Unsent { key, rest, error: None });
        }
    }

    fn is_blocked(&mut self, key: Key) -> bool {
        self.settle(key);
        self.sockets.get_mut(key).is_some_and(|entry| entry.blocked)
    }

    fn pause(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if std::mem::replace(&mut entry.wanted, false) && entry.receiving {
            self.cancel(Operation::Receive, key.pack());
        }
    }

    fn resume(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        entry.wanted = true;
        self.arm_receive(key);
    }

    fn shutdown(&mut self, key: Key) {
        self.ending.push((key, Ending::Shutdown));
    }

    fn close(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if std::mem::replace(&mut entry.closing, true) {
            return;
        }
        let (receiving, blocked) = (entry.receiving, entry.blocked);
        if receiving {
            self.cancel(Operation::Receive, key.pack());
        }
        if blocked {
            self.cancel(Operation::Writable, key.pack());
        }
        self.ending.push((key, Ending::Close));
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.take_back_lent();
        for key in std::mem::take(&mut self.starved) {
            self.arm_receive(key);
        }
        if !self.ending.is_empty() {
            self.submit();
        }
        if !self.queue.is_empty() || !self.reaped.is_empty() {
            self.enter(0, None);
        } else if self.busy_poll.is_zero() {
            self.enter(1, timeout);
        } else {
            self.enter_busily(timeout);
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
                return Some(match made {
                    Made::Unsent { key, rest, error } => Completion::Unsent { key, rest, error },
                    Made::Closed { key } => Completion::Closed { key },
                });
            }
            let reaped = self.reaped.pop_front()?;
            match Operation::of(reaped.user_data) {
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
                Operation::Accept => {
                    if let Some(completion) = self.accepted(reaped) {
                        return Some(completion);
                    }
                }
                Operation::Writable => {
                    let key = Key::unpack(reaped.user_data & PAYLOAD);
                    if let Some(completion) = self.writable(key) {
                        return Some(completion);
                    }
                }
                Operation::Wake => {
                    self.wake.reset();
                    self.arm_wake();
                    return Some(Completion::Woken);
                }
                Operation::Send | Operation::Cancel => {}
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

impl Entry {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            receiving: false,
            wanted: true,
            ended: false,
            blocked: false,
            closing: false,
            batch: 0,
        }
    }
}

enum Received {
    Bytes(Key, Piece),
    End(Key, Option<io::Error>),
}

/// What a completion is of: the top byte of its `user_data`. The rest is a key or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Receive,
    Send,
    Accept,
    Writable,
    Wake,
    Cancel,
}

impl Operation {
    pub(super) fn tag(self, payload: u64) -> u64 {
        debug_assert_eq!(payload & !PAYLOAD, 0);
        (self as u64) << 56 | payload
    }

    fn of(user_data: u64) -> Self {
        match user_data >> 56 {
            0 => Self::Receive,
            1 => Self::Send,
            2 => Self::Accept,
            3 => Self::Writable,
            4 => Self::Wake,
            _ => Self::Cancel,
        }
    }
}

/// The ring, and whether it can bound what a multishot receive brings at once.
struct Ring(IoUring, bool);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring(bounded: {})", self.1)
    }
}

impl Ring {
    fn new() -> io::Result<Self> {
        let mut ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)
            .map_err(|error| explain("a ring with DEFER_TASKRUN (Linux 6.1)", &error))?;
        let parameters = ring.params();
        let features = [
            (parameters.is_feature_nodrop(), "NODROP"),
            (parameters.is_feature_ext_arg(), "EXT_ARG"),
            (parameters.is_feature_fast_poll(), "FAST_POLL"),
            (parameters.is_feature_skip_cqe_on_success(), "CQE_SKIP"),
        ];
        if let Some((_, name)) = features.iter().find(|(has, _)| !has) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("lacks {name}")));
        }
        probe_operations(&ring)?;
        let _ = ring.submitter().register_ring_fd();
        let bounded = probe_bounded_receive(&mut ring).unwrap_or(false);
        Ok(Self(ring, bounded))
    }

    fn push(&mut self, entry: &squeue::Entry) -> Result<(), squeue::PushError> {
        // SAFETY: descriptors and memory in an entry outlive its operation: sends end while they
        // are submitted, and `Batch` keeps their bytes until then; receives and polls hold no
        // memory of ours but the buffer ring; a descriptor is closed after the last completion
        // of the operations on it.
        unsafe { self.0.submission().push(entry) }
    }

    fn pop(&mut self) -> Option<Reaped> {
        self.0.completion().next().map(|entry| Reaped {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        })
    }

    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<usize> {
        match timeout {
            Some(timeout) if want > 0 => {
                let timeout = types::Timespec::from(timeout);
                let args = types::SubmitArgs::new().timespec(&timeout);
                self.0.submitter().submit_with_args(want, &args)
            }
            _ => self.0.submit_and_wait(want),
        }
    }

    /// Submissions that the kernel has not taken.
    fn queued(&mut self) -> usize {
        self.0.submission().len()
    }

    /// Whether the kernel has taken every submission, and keeps no completion back.
    fn is_drained(&mut self) -> bool {
        let submissions = self.0.submission();
        submissions.is_empty() && !submissions.cq_overflow()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel tears a ring down in the background. This makes it let go of all buffers
        // and sockets now.
        let all = types::CancelBuilder::any();
        let _ = self.0.submitter().register_sync_cancel(Some(types::Timespec::new().sec(1)), all);
    }
}

fn probe_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        (opcode::RecvMulti::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        (opcode::AcceptMulti::CODE, "ACCEPT"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        // Came with Linux 6.0, as multishot receives did, which have no probe of their own.
        (opcode::SendZc::CODE, "SEND_ZC"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => {
            let text = format!("lacks the operation {name} (Linux 6.0)");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
        None => Ok(()),
    }
}

/// Whether a multishot receive can be told to end after so many bytes (Linux 6.17). Asked with a
/// receive on a descriptor that is no socket: EINVAL comes from an unknown field, before that.
fn probe_bounded_receive(ring: &mut IoUring) -> io::Result<bool> {
    let file = sys::EventFd::new()?;
    let mut receive = opcode::RecvMulti::new(types::Fd(file.as_raw_fd()), buffers::GROUP).build();
    limit_multishot(&mut receive, 1);
    // SAFETY: the descriptor outlives the operation, which fails while it is submitted.
    unsafe { ring.submission().push(&receive) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map(|entry| entry.result());
    Ok(result == Some(-libc::ENOTSOCK))
}

/// Ends a multishot receive after `bytes`: the field `optlen`, which the crate does not name.
fn limit_multishot(entry: &mut squeue::Entry, bytes: u32) {
    const OPTLEN: usize = 44;
    const { assert!(size_of::<squeue::Entry>() == 64) };
    let field = (&raw mut *entry).cast::<u8>();
    // SAFETY: inside of the entry, which has the layout of the kernel's `io_uring_sqe`.
    let field = unsafe { field.add(OPTLEN) };
    // SAFETY: four bytes at an offset that is a multiple of four; any value is valid.
    unsafe { field.cast::<u32>().write(bytes) };
}

/// Whether `io_uring_enter` may succeed when it is called again.
fn is_passing(error: &io::Error) -> bool {
    // EBUSY: completions have to be reaped first. EAGAIN: memory is short. ETIME: the timeout.
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME))
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => ": forbidden here (container policy or kernel.io_uring_disabled)",
        Some(libc::ENOMEM) => ": raise the limit on locked memory (ulimit -l)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("io_uring: {what}: {error}{hint}"))
}

const PAYLOAD: u64 = (1 << 56) - 1;
/// After so many calls in a row without any effect the kernel will not recover.
const MAX_FRUITLESS_ENTERS: u32 = 1000;
const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 4096;

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
            for number in 0..2 * SUBMISSIONS {
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
