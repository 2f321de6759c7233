//! [`SimReactor`]: a reactor in memory, for tests of everything above this floor.
//!
//! It keeps the contract of [`Reactor`] and no more than that: [`SimFaults`] say how often it makes
//! use of what the contract allows. It reads no clock, and all that it does follows from the seed
//! of its [`SimNetwork`]. Memory that was lent is overwritten when the loan ends, so that whoever
//! kept it reads nonsense; a key whose slot is used again before its `Closed` is a panic.
//!
//! ```text
//! SimPeer ──segments, each with its time of arrival──▶ ┐
//!                                                      ├ Link ┤ SimReactor
//!         ◀──bytes not yet read, up to the window───── ┘
//! ```

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    Completion, MAX_RECEIVE_AHEAD, Reactor, Waker,
    entries::Entries,
    unsent::{Failure, Unsent},
};
use crate::base::{Key, Outbox, Shared};

mod faults;
mod network;

pub use faults::{SimFaults, SimRandom};
pub use network::{SimListener, SimNetwork, SimPeer, SimSocket};

/// The simulation's implementation of [`Reactor`], made by [`SimNetwork::reactor`].
#[derive(Debug)]
pub struct SimReactor {
    network: SimNetwork,
    number: usize,
    now: Duration,
    turn: u64,
    sockets: Entries<Entry>,
    // Invariant: only of those that are among the sockets.
    unsent: Unsent,
    listeners: Vec<Option<Accepting>>,
    // Requests that are carried out at the next `wait`, or when their socket is settled.
    pending: Vec<(Key, Request)>,
    // Completions that requests have made.
    queue: VecDeque<Made>,
    // Completions that come in the next turn, because this one had no room for them.
    put_off: Vec<Made>,
    // What may have something in this turn, in the order in which it will be looked at.
    ready: VecDeque<Source>,
    buffer: Vec<u8>,
    lent: usize,
    woken: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Entry {
    socket: SimSocket,
    paused: bool,
    // While paused: so many bytes come all the same.
    ahead: usize,
    ended: bool,
    // The error after which nothing is sent any more.
    failed: Option<Failure>,
    blocked: bool,
    // While blocked: not writable before this turn, whatever room there is.
    blocked_until: u64,
    // A `Writable` is queued.
    announced: bool,
    // The owner has closed it.
    closing: bool,
    // `Closed` comes in this turn.
    closed_at: Option<u64>,
}

#[derive(Debug)]
struct Accepting {
    listener: SimListener,
    resting: bool,
}

#[derive(Debug)]
enum Request {
    Send(Outbox),
    Shutdown,
    Close,
}

#[derive(Debug, Clone, Copy)]
enum Made {
    Unsent { key: Key },
    Writable { key: Key },
    Closed { key: Key },
    Woken,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Socket(Key),
    Listener(usize),
}

enum Received {
    Bytes(usize),
    End(Option<io::Error>),
}

impl SimReactor {
    fn new(network: SimNetwork, number: usize, woken: Arc<AtomicBool>) -> Self {
        Self {
            network,
            number,
            now: Duration::ZERO,
            turn: 0,
            sockets: Entries::default(),
            unsent: Unsent::default(),
            listeners: Vec::new(),
            pending: Vec::new(),
            queue: VecDeque::new(),
            put_off: Vec::new(),
            ready: VecDeque::new(),
            buffer: vec![0; MAX_RECEIVE_AHEAD],
            lent: 0,
            woken,
        }
    }

    /// Keys that were opened, and whose `Closed` has not come.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.sockets.keys()
    }

    /// Whether this fault happens now.
    fn happens(&self, rate: impl Fn(&SimFaults) -> u16) -> bool {
        self.network.state().happens(rate)
    }

    fn draw_below(&self, end: usize) -> usize {
        self.network.state().random.below(end)
    }

    /// Some turns from now.
    fn later(&self) -> u64 {
        self.turn + 1 + self.draw_below(4) as u64
    }

    fn request(&mut self, key: Key, request: Request) {
        if self.sockets.get_mut(key).is_none_or(|entry| entry.closing) {
            return;
        }
        if let (Request::Close, Some(entry)) = (&request, self.sockets.get_mut(key)) {
            entry.closing = true;
        }
        self.network.state().note_request(self.number);
        if !self.pending.is_empty() && self.happens(|faults| faults.full_queue) {
            self.settle();
        }
        // What comes back is told as a whole: nothing is left behind once something came back.
        let refuses = |entry: &mut Entry| entry.blocked || entry.failed.is_some();
        let settled = self.sockets.get_mut(key).is_some_and(refuses);
        self.pending.push((key, request));
        if settled || !self.happens(|faults| faults.late_send) {
            self.settle();
        }
    }

    /// Carries out what was requested.
    fn settle(&mut self) {
        for (key, request) in mem::take(&mut self.pending) {
            match request {
                Request::Send(bytes) => self.send_now(key, bytes),
                Request::Shutdown => {
                    if let Some(entry) = self.sockets.get_mut(key)
                        && !entry.blocked
                    {
                        self.network.state().links[entry.socket.link].shut();
                    }
                }
                Request::Close => {
                    let late = self.happens(|faults| faults.late_closed);
                    let closed_at = if late { self.later() } else { self.turn };
                    if let Some(entry) = self.sockets.get_mut(key) {
                        entry.closed_at = Some(closed_at);
                    }
                    self.finish_closing(key);
                }
            }
        }
    }

    fn send_now(&mut self, key: Key, mut bytes: Outbox) {
        let breaks = self.happens(|faults| faults.reset);
        let would_block = self.happens(|faults| faults.would_block);
        let short = self.happens(|faults| faults.short_send);
        let later = self.later();
        let Some(entry) = self.sockets.get_mut(key) else { return };
        let mut state = self.network.state();
        let now = state.now;
        if breaks {
            state.links[entry.socket.link].break_off();
        }
        let link = &state.links[entry.socket.link];
        if let (false, Some(error)) = (entry.blocked, link.refuses(now)) {
            entry.failed = entry.failed.or(Some(Failure::from(&error)));
        }
        let shut = entry.blocked || entry.failed.is_some() || would_block;
        let mut take = if shut { 0 } else { link.room().min(bytes.len()) };
        if short && take > 0 {
            take = state.random.below(take);
        }
        let link = &mut state.links[entry.socket.link];
        let mut left = take;
        while left > 0 {
            let mut slice = [IoSlice::new(&[])];
            bytes.slices(&mut slice);
            let count = left.min(slice[0].len());
            link.send(&slice[0][..count]);
            bytes.advance(count);
            left -= count;
        }
        drop(state);
        if bytes.is_empty() {
            return;
        }
        if entry.failed.is_none() && !mem::replace(&mut entry.blocked, true) {
            entry.blocked_until = if short || would_block { later } else { self.turn + 1 };
        }
        if self.unsent.push(key, bytes) {
            self.queue.push_back(Made::Unsent { key });
        }
    }

    /// Says that the key is closed, if its time has come.
    fn finish_closing(&mut self, key: Key) {
        let turn = self.turn;
        let due = |entry: &mut Entry| entry.closed_at.is_some_and(|at| at <= turn);
        if self.sockets.get_mut(key).is_some_and(due) {
            self.sockets.remove(key);
            self.unsent.take(key);
            self.queue.push_back(Made::Closed { key });
        }
    }

    /// Looks at everything, and notes what has something to tell. Whether something will have,
    /// without anybody's doing.
    fn look(&mut self) -> bool {
        let mut expects = false;
        for key in self.sockets.keys().collect::<Vec<_>>() {
            self.finish_closing(key);
            let Some(entry) = self.sockets.get_mut(key) else { continue };
            expects |= entry.closed_at.is_some();
            let state = self.network.state();
            let link = &state.links[entry.socket.link];
            if entry.blocked && !entry.announced {
                expects |= entry.blocked_until > self.turn;
                let room = link.room() > 0 || link.refuses(state.now).is_some();
                if room && entry.blocked_until <= self.turn {
                    entry.announced = true;
                    self.queue.push_back(Made::Writable { key });
                }
            }
            if !entry.ended && link.is_readable(state.now) && (!entry.paused || entry.ahead > 0) {
                self.ready.push_back(Source::Socket(key));
            }
        }
        for (number, accepting) in self.listeners.iter().enumerate() {
            if accepting.as_ref().is_some_and(|it| !it.resting && it.listener.has_connection()) {
                self.ready.push_back(Source::Listener(number));
            }
        }
        if self.woken.swap(false, Ordering::AcqRel) {
            self.queue.push_back(Made::Woken);
        }
        self.network.state().random.shuffle(self.ready.make_contiguous());
        expects
    }

    /// Receives from one socket. `None`: it had nothing.
    fn receive(&mut self, key: Key) -> Option<Received> {
        let short = self.happens(|faults| faults.short_read);
        let breaks = self.happens(|faults| faults.reset);
        let entry = self.sockets.get_mut(key)?;
        let limit = if entry.paused { entry.ahead } else { MAX_RECEIVE_AHEAD };
        if entry.ended || limit == 0 {
            return None;
        }
        let mut state = self.network.state();
        let now = state.now;
        if breaks {
            state.links[entry.socket.link].break_off();
        }
        let available = state.links[entry.socket.link].available(now).min(limit);
        let wanted = match available {
            2.. if short => 1 + state.random.below(available - 1),
            _ => available.max(1),
        };
        let link = &mut state.links[entry.socket.link];
        let result = link.receive(now, &mut self.buffer[..wanted])?;
        let more = link.is_readable(now);
        // What is left comes in this turn or in the next.
        let again = more && short && state.random.happens(500);
        drop(state);
        let received = match result {
            Ok(0) => Received::End(None),
            Ok(count) => Received::Bytes(count),
            Err(error) => Received::End(Some(error)),
        };
        match &received {
            Received::Bytes(count) => entry.ahead = entry.ahead.saturating_sub(*count),
            Received::End(_) => entry.ended = true,
        }
        if again {
            self.ready.push_back(Source::Socket(key));
        }
        Some(received)
    }

    fn accept(&mut self, number: usize) -> Option<Completion<'static, SimSocket>> {
        let fails = self.happens(|faults| faults.accept_failed);
        let accepting = self.listeners.get_mut(number)?.as_mut()?;
        if accepting.resting || !accepting.listener.has_connection() {
            return None;
        }
        if fails {
            accepting.resting = true;
            let at = usize::try_from(self.turn).unwrap_or(0) % ACCEPT_ERRORS.len();
            let error = io::Error::from_raw_os_error(ACCEPT_ERRORS[at]);
            return Some(Completion::AcceptFailed { listener: number, error });
        }
        let (socket, peer) = accepting.listener.accept()?;
        self.ready.push_back(Source::Listener(number));
        Some(Completion::Accepted { listener: number, socket, peer })
    }

    fn made(&mut self, made: Made) -> Option<Completion<'static, SimSocket>> {
        Some(match made {
            Made::Unsent { key } => {
                let rest = self.unsent.take(key)?;
                let error = self.sockets.get_mut(key)?.failed.map(io::Error::from);
                Completion::Unsent { key, rest, error }
            }
            Made::Writable { key } => {
                if self.unsent.is_waiting(key) {
                    // It stands in the queue already, and is to be told first.
                    self.queue.push_back(made);
                    return None;
                }
                let entry = self.sockets.get_mut(key)?;
                entry.announced = false;
                entry.blocked = false;
                Completion::Writable { key }
            }
            Made::Closed { key } => Completion::Closed { key },
            Made::Woken => Completion::Woken,
        })
    }

    /// Ends the loan of the receive buffer: what was in it is gone.
    fn take_back_lent(&mut self) {
        self.buffer[..mem::take(&mut self.lent)].fill(0xdd);
    }
}

impl Reactor for SimReactor {
    type Listener = SimListener;
    type Socket = SimSocket;

    fn listen(&mut self, number: usize, listener: SimListener) -> io::Result<()> {
        if self.listeners.len() <= number {
            self.listeners.resize_with(number + 1, || None);
        }
        if self.listeners[number].is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.listeners[number] = Some(Accepting { listener, resting: false });
        self.network.state().note_request(self.number);
        Ok(())
    }

    fn resume_accept(&mut self, number: usize) {
        if let Some(Some(accepting)) = self.listeners.get_mut(number) {
            accepting.resting = false;
            self.network.state().note_request(self.number);
        }
    }

    fn unlisten(&mut self, number: usize) {
        if let Some(accepting) = self.listeners.get_mut(number) {
            *accepting = None;
        }
    }

    fn open(&mut self, key: Key, socket: SimSocket) -> io::Result<()> {
        let vacant = self.sockets.is_vacant(key.index());
        assert!(vacant, "the slot of {key:?} was used again before its `Closed`");
        if self.happens(|faults| faults.open_failed) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        self.sockets.insert(key, Entry::new(socket));
        self.network.state().note_request(self.number);
        Ok(())
    }

    fn send(&mut self, key: Key, bytes: &mut Outbox) {
        let bytes = mem::take(bytes);
        if !bytes.is_empty() {
            self.request(key, Request::Send(bytes));
        }
    }

    fn send_shared(&mut self, key: Key, bytes: &Shared) {
        let mut outbox = Outbox::default();
        outbox.push_shared(bytes.clone(), 0);
        self.send(key, &mut outbox);
    }

    fn is_blocked(&mut self, key: Key) -> bool {
        self.settle();
        let refuses = |entry: &mut Entry| entry.blocked || entry.failed.is_some();
        self.sockets.get_mut(key).is_some_and(|entry| refuses(entry) && !entry.closing)
    }

    fn receive_into(&mut self, key: Key, bytes: &mut Vec<u8>, max: usize) -> usize {
        let nothing = self.happens(|faults| faults.spurious_wake);
        let short = self.happens(|faults| faults.short_read);
        let max = max.min(bytes.capacity() - bytes.len());
        let Some(entry) = self.sockets.get_mut(key) else { return 0 };
        if nothing || entry.paused || entry.ended || entry.closing {
            return 0;
        }
        let mut state = self.network.state();
        let now = state.now;
        let available = state.links[entry.socket.link].available(now).min(max);
        let wanted = match available {
            0 => return 0,
            2.. if short => 1 + state.random.below(available - 1),
            _ => available,
        };
        let start = bytes.len();
        bytes.resize(start + wanted, 0);
        let link = &mut state.links[entry.socket.link];
        let count = match link.receive(now, &mut bytes[start..]) {
            Some(Ok(count)) => count,
            // The next receive finds the same.
            Some(Err(_)) | None => 0,
        };
        bytes.truncate(start + count);
        count
    }

    fn pause(&mut self, key: Key) {
        let late = self.happens(|faults| faults.late_pause);
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if !mem::replace(&mut entry.paused, true) && late {
            let state = self.network.state();
            let available = state.links[entry.socket.link].available(state.now);
            entry.ahead = available.min(MAX_RECEIVE_AHEAD);
        }
    }

    fn resume(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        entry.paused = false;
        entry.ahead = 0;
        self.network.state().note_request(self.number);
    }

    fn shutdown(&mut self, key: Key) {
        self.request(key, Request::Shutdown);
    }

    fn close(&mut self, key: Key) {
        self.request(key, Request::Close);
    }

    /// Never sleeps. With nothing to tell it returns at once, or lets virtual time pass: see
    /// [`SimNetwork::set_runs_by_itself`].
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.take_back_lent();
        self.turn += 1;
        self.queue.extend(self.put_off.drain(..));
        self.settle();
        self.ready.clear();
        if !self.happens(|faults| faults.spurious_wake) {
            let expects = self.look();
            if self.queue.is_empty() && self.ready.is_empty() && !expects {
                let moved = self.network.state().rest(self.number, timeout);
                if moved {
                    self.look();
                }
            }
        }
        self.now = self.network.now();
        Ok(())
    }

    fn next(&mut self) -> Option<Completion<'_, SimSocket>> {
        self.take_back_lent();
        while let Some(made) = self.queue.pop_front() {
            // What was not sent has to be told in time (rule 5).
            let may_wait = !matches!(made, Made::Unsent { .. });
            if may_wait && self.happens(|faults| faults.overflow) {
                self.put_off.push(made);
                continue;
            }
            if let Some(completion) = self.made(made) {
                return Some(completion);
            }
        }
        if !self.ready.is_empty() && self.happens(|faults| faults.overflow) {
            self.ready.clear();
        }
        while let Some(source) = self.ready.pop_front() {
            match source {
                Source::Socket(_) if self.happens(|faults| faults.no_buffers) => {
                    self.ready.retain(|source| matches!(source, Source::Listener(_)));
                }
                Source::Listener(number) => {
                    if let Some(completion) = self.accept(number) {
                        return Some(completion);
                    }
                }
                Source::Socket(key) => match self.receive(key) {
                    Some(Received::Bytes(count)) => {
                        self.lent = count;
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
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Release))
    }
}

impl Entry {
    fn new(socket: SimSocket) -> Self {
        Self {
            socket,
            paused: false,
            ahead: 0,
            ended: false,
            failed: None,
            blocked: false,
            blocked_until: 0,
            announced: false,
            closing: false,
            closed_at: None,
        }
    }
}

/// Descriptors of the process, of the machine, buffers and memory.
const ACCEPT_ERRORS: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

#[cfg(test)]
mod tests;
