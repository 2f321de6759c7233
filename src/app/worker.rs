//! [`Worker`]: one core: a reactor and a [`Service`], turn after turn.
//!
//! ```text
//! wait ─▶ letters ─▶ completions ─▶ what has settled ─▶ what has expired ─▶ topics ─▶ flush ─┐
//!   ▲      of other    bytes to        drain, go on        pings, idle        one send      │
//!   │      threads     handlers        decoding            timeouts           each          │
//!   └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use super::{
    Service, Stats,
    counted_time::CountedTime,
    delivery::{Delivery, Now},
    leftovers::Leftovers,
    remote::Letter,
};
use crate::{
    base::{Key, Tick},
    conn::{Connection, Flags},
    reactor::{Completion, Reactor},
};

/// Serves connections on one thread.
#[derive(Debug)]
pub struct Worker<R: Reactor> {
    // Dropped first: the kernel lets go of everything.
    reactor: R,
    service: Service,
    listeners: usize,
    // Listeners that rest because descriptors have run out, and until when.
    resting: Vec<(usize, Duration)>,
    // When a shutdown has to be over.
    over_at: Option<Duration>,
    // What deadlines of connections are judged by.
    time: CountedTime,
    unix_time: fn() -> u64,
    leftovers: Leftovers,
    // Gives freed memory back to the machine.
    give_back: Option<fn()>,
    // The whole second in which the date was set last.
    dated: Option<u64>,
    keys: Vec<Key>,
    // Taken from the mailbox, and not opened yet.
    letters: VecDeque<Letter>,
}

impl<R: Reactor> Worker<R> {
    /// A worker that listens nowhere yet. `unix_time` is asked once in a second.
    pub fn new(reactor: R, service: Service, unix_time: fn() -> u64) -> Self {
        let core = &service.core;
        core.remote.letters(core.worker).attach(reactor.waker());
        core.remote.interest(core.worker).attach(reactor.waker());
        Self {
            reactor,
            service,
            listeners: 0,
            resting: Vec::new(),
            over_at: None,
            time: CountedTime::default(),
            unix_time,
            leftovers: Leftovers::default(),
            give_back: None,
            dated: None,
            keys: Vec::new(),
            letters: VecDeque::new(),
        }
    }

    /// Has `give_back` called when memory that was freed may go back to the machine.
    #[must_use]
    pub fn giving_back(mut self, give_back: fn()) -> Self {
        self.give_back = Some(give_back);
        self
    }

    /// Accepts connections from this listener too.
    ///
    /// # Errors
    /// Of the kernel.
    pub fn listen(&mut self, listener: R::Listener) -> io::Result<()> {
        self.reactor.listen(self.listeners, listener)?;
        self.listeners += 1;
        Ok(())
    }

    /// Serves until a shutdown is over.
    ///
    /// # Errors
    /// If the reactor cannot go on.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? {}
        Ok(())
    }

    /// One turn, which waits no longer than `max_wait` for something to do. Returns `false` when
    /// a shutdown is over.
    ///
    /// # Errors
    /// If the reactor cannot go on.
    pub fn turn(&mut self, max_wait: Option<Duration>) -> io::Result<bool> {
        let own_timeout = self.timeout();
        self.time.sleep(self.reactor.now(), own_timeout);
        let timeout = match (own_timeout, max_wait) {
            (Some(timeout), Some(max_wait)) => Some(timeout.min(max_wait)),
            (timeout, max_wait) => timeout.or(max_wait),
        };
        self.reactor.wait(timeout)?;
        self.begin_turn();
        self.read_letters();
        self.complete();
        self.settle();
        self.expire();
        self.deliver();
        self.service.core.connections.flush(&mut self.reactor);
        let goes_on = self.is_going_on();
        let core = &mut self.service.core;
        // What is left when a shutdown is over is closed with the reactor.
        core.stats.connections = if goes_on { core.connections.len() as u64 } else { 0 };
        core.stats.turns += 1;
        if let Some(deflation) = &core.deflation {
            core.stats.compressions = deflation.compressions();
        }
        core.remote.board(core.worker).publish(&core.stats);
        if let Some(give_back) = self.give_back
            && self.leftovers.look(self.reactor.now(), bytes_moved(&core.stats))
        {
            give_back();
        }
        Ok(goes_on)
    }

    /// What the worker serves.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// What moves the worker's bytes.
    #[doc(hidden)]
    #[must_use]
    pub fn reactor(&self) -> &R {
        &self.reactor
    }

    /// How long there is nothing to do, if nothing happens.
    fn timeout(&self) -> Option<Duration> {
        let core = &self.service.core;
        let owes_work = core.connections.is_awaiting()
            || !core.resumed.is_empty()
            || core.topics.has_pending()
            || !core.dropped.is_empty()
            || !self.letters.is_empty()
            // Those that came while earlier ones waited for room: their wake-up is used up.
            || !core.remote.letters(core.worker).is_empty();
        if owes_work {
            return Some(Duration::ZERO);
        }
        let now = self.reactor.now();
        let expiry = core.connections.next_expiry().map(|tick| Tick::default().until(tick));
        let expiry = expiry.map(|counted| self.time.reactor_time(counted));
        let rest = self.resting.iter().map(|(_, until)| *until).min();
        let quiet = self.give_back.and_then(|_| self.leftovers.due_at(bytes_moved(&core.stats)));
        let next = [expiry, rest, quiet, self.over_at].into_iter().flatten().min()?;
        Some(next.saturating_sub(now))
    }

    fn begin_turn(&mut self) {
        let now = self.reactor.now();
        self.service.core.connections.begin_turn(Tick::at(self.time.wake(now)));
        if self.dated != Some(now.as_secs()) {
            self.dated = Some(now.as_secs());
            self.service.set_date((self.unix_time)());
        }
        let reactor = &mut self.reactor;
        self.resting.retain(|(listener, until)| {
            if now >= *until {
                reactor.resume_accept(*listener);
            }
            now < *until
        });
    }

    fn read_letters(&mut self) {
        self.service.core.learn_interest();
        let core = &self.service.core;
        let mailbox = core.remote.letters(core.worker);
        if mailbox.is_empty() && self.letters.is_empty() {
            return;
        }
        if self.letters.is_empty() {
            // The memory of the batch before serves this one.
            let mut letters = Vec::from(std::mem::take(&mut self.letters));
            mailbox.take(&mut letters);
            self.letters = letters.into();
        }
        // When so much has been published that the topics are crowded, the rest has time until
        // the next turn.
        while !self.service.core.topics.is_crowded()
            && let Some(letter) = self.letters.pop_front()
        {
            self.service.open_letter(letter);
        }
        self.begin_shutdown();
    }

    fn complete(&mut self) {
        while let Some(completion) = self.reactor.next() {
            match completion {
                Completion::Received { key, bytes } => {
                    self.service.received(key, bytes);
                    self.receive_in_place(key);
                    self.service.core.connections.uncork(&mut self.reactor);
                }
                Completion::Unsent { key, rest, error: None } => {
                    self.service.core.connections.refused(key, rest);
                    self.service.core.connections.update_reading(&mut self.reactor, key);
                }
                Completion::Unsent { key, error, .. } | Completion::Ended { key, error } => {
                    self.service.ended(key, error.as_ref());
                }
                Completion::Writable { key } => {
                    self.service.core.connections.writable(&mut self.reactor, key);
                    self.service.moved(key);
                }
                Completion::Accepted { socket, peer, .. } => self.accept(socket, peer),
                Completion::AcceptFailed { listener, error } => {
                    self.service.core.stats.accept_errors += 1;
                    let until = self.reactor.now() + ACCEPT_REST;
                    self.resting.push((listener, until));
                    self.service.note_accept_error(&error);
                }
                Completion::Closed { key } => self.service.closed(key),
                // There may be letters that came after those of this turn had been read.
                Completion::Woken => self.read_letters(),
            }
        }
    }

    /// Receives the rest of a large message where it belongs, instead of copying it there from the
    /// reactor's buffer.
    #[inline]
    fn receive_in_place(&mut self, key: Key) {
        let mut received = 0;
        while received < MAX_IN_PLACE_BYTES
            && let Some((place, max)) = self.service.room(key)
        {
            let count = self.reactor.receive_into(key, place, max);
            if count == 0 {
                break;
            }
            self.service.received_in_place(key, count);
            received += count;
        }
    }

    fn accept(&mut self, socket: R::Socket, peer: Option<SocketAddr>) {
        let core = &mut self.service.core;
        core.stats.accepted += 1;
        let deadline = core.connections.now().after(core.limits.header_timeout);
        let mut connection = Connection::accepted(peer, core.connections.now(), deadline);
        let expects = core.expects_proxy_header(peer);
        connection.flags.set(Flags::EXPECTS_PROXY_HEADER, expects);
        if self.over_at.is_some() || !self.service.admit_address(peer) {
            self.service.core.stats.refused += 1;
            return;
        }
        let core = &mut self.service.core;
        let Ok(key) = core.connections.insert(connection) else {
            core.stats.refused += 1;
            return self.service.release_address(peer);
        };
        if let Err(error) = self.reactor.open(key, socket) {
            log::warn!(worker = core.worker; "a connection is lost: {error}");
            self.service.closed(key);
        }
    }

    fn settle(&mut self) {
        let mut keys = std::mem::take(&mut self.keys);
        self.service.core.connections.settled(&mut keys);
        for key in keys.drain(..) {
            self.service.settled(key);
            self.service.core.connections.uncork(&mut self.reactor);
        }
        keys.append(&mut self.service.core.resumed);
        for key in keys.drain(..) {
            self.service.go_on(key);
            self.service.core.connections.uncork(&mut self.reactor);
        }
        self.keys = keys;
    }

    fn expire(&mut self) {
        let mut keys = std::mem::take(&mut self.keys);
        self.service.core.connections.expired(&mut keys);
        for key in keys.drain(..) {
            self.service.expire(key);
        }
        self.keys = keys;
    }

    /// Sends what was published in this turn: one send for each subscriber.
    fn deliver(&mut self) {
        self.service.say_farewells();
        let core = &mut self.service.core;
        if core.topics.has_pending() {
            core.forward();
            let super::Core { connections, topics, configs, stats, dropped, .. } = core;
            let way = Now(&mut self.reactor);
            let mut sink = Delivery::new(connections, configs, stats, dropped, way);
            let _ = topics.drain(&mut sink);
            let overflowed = sink.into_overflowed();
            core.abort_overflowed(overflowed);
        }
        if let Some(deflation) = &mut self.service.core.deflation {
            deflation.end_turn();
        }
        self.service.report_dropped();
        self.service.say_farewells();
    }

    /// Begins a shutdown, or shortens it.
    fn begin_shutdown(&mut self) {
        let Some(grace) = self.service.grace else { return };
        let over_at = self.reactor.now() + grace;
        if self.over_at.is_none() {
            for listener in 0..self.listeners {
                self.reactor.unlisten(listener);
            }
            self.resting.clear();
            self.service.begin_shutdown();
        }
        self.over_at = Some(self.over_at.map_or(over_at, |before| before.min(over_at)));
    }

    fn is_going_on(&mut self) -> bool {
        let Some(over_at) = self.over_at else { return true };
        if !self.service.core.connections.is_empty() && self.reactor.now() < over_at {
            return true;
        }
        self.service.end_shutdown();
        false
    }
}

impl<R: Reactor> Drop for Worker<R> {
    fn drop(&mut self) {
        let core = &self.service.core;
        core.remote.letters(core.worker).close();
        core.remote.interest(core.worker).close();
    }
}

fn bytes_moved(stats: &Stats) -> u64 {
    stats.bytes_in + stats.bytes_out
}

/// When so much of one connection has been received, it is the others' turn.
const MAX_IN_PLACE_BYTES: usize = 1 << 20;
/// How long a listener rests when descriptors or memory have run out.
const ACCEPT_REST: Duration = Duration::from_millis(50);
