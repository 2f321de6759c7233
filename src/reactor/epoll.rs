//! [`EpollReactor`]: completions imitated over readiness, with `mio`.
//!
//! Each socket is registered once, edge-triggered, for both directions. A receive goes into the
//! one buffer of the reactor, so that a socket at rest costs nothing here but its entry. Small
//! sends are put off to the end of the turn; what the kernel does not take comes back as `Unsent`
//! from the queue.

use std::{collections::VecDeque, io, os::fd::AsRawFd, sync::Arc, time::Duration};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use super::{
    Completion, Config, Listener, MAX_WAIT, Reactor, Socket, Waker,
    entries::Entries,
    is_passing_accept_error,
    put_off::PutOff,
    sys,
    unsent::{Failure, Unsent, retry, send_now, send_slice_now},
};
use crate::base::{Key, Outbox, Shared};

/// Epoll, for kernels and containers without io_uring.
#[derive(Debug)]
pub struct EpollReactor {
    poll: Poll,
    events: Events,
    clock: sys::Clock,
    now: Duration,
    busy_poll: Duration,
    sockets: Entries<Entry>,
    // Invariant: only of those that are among the sockets.
    unsent: Unsent,
    listeners: Vec<Option<Accepting>>,
    // Completions that requests have made.
    queue: VecDeque<Made>,
    // Sockets that may have bytes, and listeners that may have connections, each at most once.
    ready: VecDeque<Source>,
    // Those whose turn is over though they may have more: fairness among sockets.
    again: Vec<Source>,
    buffer: Box<[u8]>,
    put_off: PutOff,
    waker: Arc<mio::Waker>,
    // Neither `Send` nor `Sync`.
    _one_thread: std::marker::PhantomData<*const ()>,
}

#[derive(Debug)]
struct Entry {
    socket: Socket,
    paused: bool,
    // Invariant: the socket stands in `ready` or `again`.
    queued: bool,
    // An edge has come that no receive has answered with "nothing there".
    readable: bool,
    // The peer's end has been announced: a short receive is not the last one.
    hung_up: bool,
    // The kernel's buffer was full, and the owner has not been told that there is room again.
    blocked: bool,
    ended: bool,
    // The error after which nothing is sent any more.
    failed: Option<Failure>,
}

const _: () = assert!(Entries::<Entry>::ENTRY_BYTES == 16);

#[derive(Debug)]
struct Accepting {
    listener: Listener,
    resting: bool,
    queued: bool,
    // So many are accepted before the turn ends, however many wait.
    left_in_turn: u32,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Socket(Key),
    Listener(usize),
}

#[derive(Debug, Clone, Copy)]
enum Made {
    Unsent { key: Key },
    Writable { key: Key },
    Ended { key: Key, error: i32 },
    Closed { key: Key },
    Woken,
}

impl EpollReactor {
    /// # Errors
    /// If the kernel has no descriptors left.
    pub fn new(config: &Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            clock: sys::Clock::start(),
            now: Duration::ZERO,
            busy_poll: config.busy_poll,
            sockets: Entries::default(),
            unsent: Unsent::default(),
            listeners: Vec::new(),
            queue: VecDeque::new(),
            ready: VecDeque::new(),
            again: Vec::new(),
            buffer: vec![0; RECEIVE_BUFFER_BYTES].into(),
            put_off: PutOff::default(),
            waker,
            _one_thread: std::marker::PhantomData,
        })
    }

    /// Makes the sends that were put off.
    fn make_sends(&mut self) {
        if self.put_off.is_empty() {
            return;
        }
        let Self { put_off, sockets, unsent, queue, .. } = self;
        put_off.drain(|key, bytes| {
            let Some(entry) = sockets.get_mut(key) else { return };
            let mut sent = 0;
            if entry.takes_more() {
                let result;
                (sent, result) = send_slice_now(entry.socket.as_raw_fd(), bytes);
                entry.note(result);
            }
            if sent < bytes.len() {
                let mut rest = Outbox::default();
                rest.append(&bytes[sent..]);
                if unsent.push(key, rest) {
                    queue.push_back(Made::Unsent { key });
                }
            }
        });
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        Ok(())
    }

    /// Spins for the time that `busy_poll` allows, then sleeps.
    fn poll_busily(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let start = self.clock.now();
        let spin = timeout.map_or(self.busy_poll, |timeout| timeout.min(self.busy_poll));
        loop {
            self.poll(Some(Duration::ZERO))?;
            let spent = self.clock.now() - start;
            if !self.events.is_empty() {
                return Ok(());
            }
            if spent >= spin {
                return self.poll(timeout.map(|timeout| timeout.saturating_sub(spent)));
            }
        }
    }

    fn note_events(&mut self) {
        for event in &self.events {
            match event.token() {
                WAKE => self.queue.push_back(Made::Woken),
                Token(packed) if packed & LISTENER != 0 => {
                    let number = packed & !LISTENER;
                    if let Some(Some(accepting)) = self.listeners.get_mut(number)
                        && !accepting.resting
                        && !std::mem::replace(&mut accepting.queued, true)
                    {
                        self.ready.push_back(Source::Listener(number));
                    }
                }
                Token(packed) => {
                    let key = Key::unpack(packed as u64);
                    let Some(entry) = self.sockets.get_mut(key) else { continue };
                    // A connection that is over has room for the error that tells so.
                    let room = event.is_writable() || event.is_write_closed() || event.is_error();
                    if room && entry.blocked {
                        self.queue.push_back(Made::Writable { key });
                    }
                    entry.hung_up |= event.is_read_closed() || event.is_error();
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        entry.readable = true;
                        if entry.wants_turn() {
                            entry.queued = true;
                            self.ready.push_back(Source::Socket(key));
                        }
                    }
                }
            }
        }
    }

    /// Receives from one socket. `None`: it had nothing.
    fn receive(&mut self, key: Key) -> Option<Received> {
        let entry = self.sockets.get_mut(key)?;
        entry.queued = false;
        if entry.paused || entry.ended || !entry.readable {
            return None;
        }
        match retry(|| sys::receive(entry.socket.as_raw_fd(), &mut self.buffer)) {
            Ok(0) => {
                entry.ended = true;
                Some(Received::End(None))
            }
            Ok(count) => {
                // A short receive has emptied the socket; the next bytes will be a new edge.
                entry.readable = count == self.buffer.len() || entry.hung_up;
                if entry.wants_turn() {
                    entry.queued = true;
                    self.again.push(Source::Socket(key));
                }
                Some(Received::Bytes(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                entry.readable = false;
                None
            }
            Err(error) => {
                entry.ended = true;
                Some(Received::End(Some(error)))
            }
        }
    }

    fn accept(&mut self, number: usize) -> Option<Completion<'static, Socket>> {
        let accepting = self.listeners.get_mut(number)?.as_mut()?;
        accepting.queued = false;
        loop {
            match sys::accept(accepting.listener.as_raw_fd()) {
                Ok((socket, peer)) => {
                    accepting.queued = true;
                    accepting.left_in_turn = accepting.left_in_turn.saturating_sub(1);
                    if accepting.left_in_turn > 0 {
                        self.ready.push_back(Source::Listener(number));
                    } else {
                        accepting.left_in_turn = ACCEPTS_PER_TURN;
                        self.again.push(Source::Listener(number));
                    }
                    return Some(Completion::Accepted { listener: number, socket, peer });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if is_passing_accept_error(&error) => {}
                Err(error) => {
                    accepting.resting = true;
                    return Some(Completion::AcceptFailed { listener: number, error });
                }
            }
        }
    }

    fn made(&mut self, made: Made) -> Option<Completion<'static, Socket>> {
        Some(match made {
            Made::Unsent { key } => {
                // What was put off comes back with it, and not behind what is sent later.
                self.make_sends();
                let rest = self.unsent.take(key)?;
                let error = self.sockets.get_mut(key)?.failed.map(io::Error::from);
                Completion::Unsent { key, rest, error }
            }
            Made::Writable { key } => {
                // What was put off while there was no room comes back, too.
                self.make_sends();
                if self.unsent.is_waiting(key) {
                    // It stands in the queue already, and is to be told first.
                    self.queue.push_back(made);
                    return None;
                }
                // Only now: until the owner knows, it must not overtake what came back to it.
                let entry = self.sockets.get_mut(key)?;
                std::mem::take(&mut entry.blocked).then_some(Completion::Writable { key })?
            }
            Made::Ended { key, error } => {
                let error = Some(io::Error::from_raw_os_error(error));
                self.sockets.get_mut(key).map(|_| Completion::Ended { key, error })?
            }
            Made::Closed { key } => Completion::Closed { key },
            Made::Woken => Completion::Woken,
        })
    }
}

impl Reactor for EpollReactor {
    type Listener = Listener;
    type Socket = Socket;

    fn listen(&mut self, number: usize, listener: Listener) -> io::Result<()> {
        if self.listeners.len() <= number {
            self.listeners.resize_with(number + 1, || None);
        }
        if self.listeners[number].is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let fd = listener.as_raw_fd();
        let token = Token(LISTENER | number);
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        let left_in_turn = ACCEPTS_PER_TURN;
        let accepting = Accepting { listener, resting: false, queued: false, left_in_turn };
        self.listeners[number] = Some(accepting);
        Ok(())
    }

    fn resume_accept(&mut self, number: usize) {
        if let Some(Some(accepting)) = self.listeners.get_mut(number)
            && std::mem::take(&mut accepting.resting)
            && !std::mem::replace(&mut accepting.queued, true)
        {
            self.ready.push_back(Source::Listener(number));
        }
    }

    fn unlisten(&mut self, number: usize) {
        let Some(slot) = self.listeners.get_mut(number) else { return };
        if let Some(accepting) = slot.take() {
            // Explicitly: other workers may hold the same socket, which keeps it registered.
            let fd = accepting.listener.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    fn open(&mut self, key: Key, socket: Socket) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(usize::try_from(key.pack()).expect("64-bit platform"));
        self.poll.registry().register(&mut SourceFd(&fd), token, interest)?;
        self.sockets.insert(key, Entry::new(socket));
        Ok(())
    }

    fn send(&mut self, key: Key, bytes: &mut Outbox) {
        if let Some(all) = bytes.contiguous().filter(|all| PutOff::is_small(all.len())) {
            let is_full = !all.is_empty() && self.put_off.push(key, all);
            bytes.clear();
            if is_full {
                self.make_sends();
            }
            return;
        }
        self.make_sends();
        let Some(entry) = self.sockets.get_mut(key) else { return bytes.clear() };
        if entry.takes_more() {
            entry.note(send_now(entry.socket.as_raw_fd(), bytes));
        }
        if !bytes.is_empty() && self.unsent.push(key, std::mem::take(bytes)) {
            self.queue.push_back(Made::Unsent { key });
        }
    }

    fn send_shared(&mut self, key: Key, bytes: &Shared) {
        self.make_sends();
        let Some(entry) = self.sockets.get_mut(key) else { return };
        let mut sent = 0;
        if entry.takes_more() {
            let result;
            (sent, result) = send_slice_now(entry.socket.as_raw_fd(), bytes);
            entry.note(result);
        }
        if sent < bytes.len() {
            let mut rest = Outbox::default();
            rest.push_shared(bytes.clone(), sent);
            if self.unsent.push(key, rest) {
                self.queue.push_back(Made::Unsent { key });
            }
        }
    }

    fn is_blocked(&mut self, key: Key) -> bool {
        self.make_sends();
        self.sockets.get_mut(key).is_some_and(|entry| !entry.takes_more())
    }

    fn receive_into(&mut self, key: Key, bytes: &mut Vec<u8>, max: usize) -> usize {
        let max = max.min(bytes.capacity() - bytes.len());
        let Some(entry) = self.sockets.get_mut(key) else { return 0 };
        if max == 0 || !entry.readable || entry.paused || entry.ended {
            return 0;
        }
        match retry(|| sys::receive_behind(entry.socket.as_raw_fd(), bytes, max)) {
            // The next receive finds the same.
            Ok(0) => 0,
            Ok(count) => {
                entry.readable = count == max || entry.hung_up;
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                entry.readable = false;
                0
            }
            // The kernel tells it once.
            Err(error) => {
                entry.ended = true;
                let error = error.raw_os_error().unwrap_or(libc::EIO);
                self.queue.push_back(Made::Ended { key, error });
                0
            }
        }
    }

    fn pause(&mut self, key: Key) {
        if let Some(entry) = self.sockets.get_mut(key) {
            entry.paused = true;
        }
    }

    fn resume(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        entry.paused = false;
        if entry.wants_turn() {
            entry.queued = true;
            self.again.push(Source::Socket(key));
        }
    }

    fn shutdown(&mut self, key: Key) {
        self.make_sends();
        if let Some(entry) = self.sockets.get_mut(key)
            && !entry.blocked
        {
            sys::shutdown(entry.socket.as_raw_fd());
        }
    }

    fn close(&mut self, key: Key) {
        self.make_sends();
        // Closing the only descriptor of a socket also ends its registration.
        if self.sockets.remove(key).is_some() {
            self.unsent.take(key);
            self.queue.push_back(Made::Closed { key });
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| timeout.min(MAX_WAIT));
        self.make_sends();
        self.ready.extend(self.again.drain(..));
        if !self.ready.is_empty() || !self.queue.is_empty() {
            self.poll(Some(Duration::ZERO))?;
        } else if self.busy_poll.is_zero() {
            self.poll(timeout)?;
        } else {
            self.poll_busily(timeout)?;
        }
        self.now = self.clock.now();
        self.note_events();
        Ok(())
    }

    fn next(&mut self) -> Option<Completion<'_, Socket>> {
        while let Some(made) = self.queue.pop_front() {
            if let Some(completion) = self.made(made) {
                return Some(completion);
            }
        }
        while let Some(source) = self.ready.pop_front() {
            match source {
                Source::Listener(number) => {
                    if let Some(accepted) = self.accept(number) {
                        return Some(accepted);
                    }
                }
                Source::Socket(key) => match self.receive(key) {
                    Some(Received::Bytes(count)) => {
                        let bytes = &mut self.buffer[..count];
                        return Some(Completion::Received { key, bytes });
                    }
                    Some(Received::End(error)) => return Some(Completion::Ended { key, error }),
                    None => {}
                },
            }
        }
        None
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn waker(&self) -> Waker {
        let waker = Arc::clone(&self.waker);
        // A failure means that the counter is at its maximum: the reactor is being woken already.
        Waker::new(move || drop(waker.wake()))
    }
}

impl Entry {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            paused: false,
            queued: false,
            readable: false,
            hung_up: false,
            blocked: false,
            ended: false,
            failed: None,
        }
    }

    fn takes_more(&self) -> bool {
        !self.blocked && self.failed.is_none()
    }

    /// Remembers why a send was refused.
    fn note(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
            Err(error) => self.failed = self.failed.or(Some(Failure::from(&error))),
        }
    }

    fn wants_turn(&self) -> bool {
        self.readable && !self.queued && !self.paused && !self.ended
    }
}

enum Received {
    Bytes(usize),
    End(Option<io::Error>),
}

const WAKE: Token = Token(usize::MAX);
const LISTENER: usize = 1 << 62;
const EVENTS_PER_WAIT: usize = 1024;
const ACCEPTS_PER_TURN: u32 = 64;
const RECEIVE_BUFFER_BYTES: usize = super::MAX_RECEIVE_AHEAD;
