//! [`Connections`]: all connections of one worker, and what the reactor has to be told of them.
//!
//! Handlers change connections while the reactor's receive buffer is lent to them, so that it
//! cannot be spoken to. What they do is noted here, and carried out when they have returned:
//!
//! ```text
//! handler ──▶ cork      what it sends to its own socket, sent when the receive is done
//!         ──▶ outboxes  what it sends to others, and what a slow peer has not taken yet
//!         ──▶ dirty     whom to look at, at the end of the turn: outbox, pause, end
//!         ──▶ awaited   whom to look at when their sends have settled (rule 5 of the reactor)
//! ```

use std::mem;

use super::{Connection, Protocol, Stage};
use crate::{
    base::{Key, KeyedSlab, Outbox, SlabFull, Tick, TimerWheel},
    reactor::Reactor,
};

/// The connections of a worker.
#[derive(Debug)]
pub struct Connections {
    slab: KeyedSlab<Connection>,
    wheel: TimerWheel,
    cork: Outbox,
    corked: Option<Key>,
    dirty: Vec<Key>,
    awaited: Vec<Key>,
    turn: u32,
    now: Tick,
}

impl Connections {
    /// None yet, and never more than `max_len`.
    #[must_use]
    pub fn with_limit(max_len: usize, now: Tick) -> Self {
        Self {
            slab: KeyedSlab::with_limit(max_len),
            wheel: TimerWheel::new(now),
            cork: Outbox::default(),
            corked: None,
            dirty: Vec::new(),
            awaited: Vec::new(),
            // Above zero, where the connections' own counts begin.
            turn: 1,
            now,
        }
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`SlabFull`] at the limit.
    pub fn insert(&mut self, connection: Connection) -> Result<Key, SlabFull> {
        let deadline = connection.deadline;
        let key = self.slab.insert_with(|_| connection)?;
        if deadline != Self::NEVER {
            self.wheel.set(key.index(), deadline);
        }
        Ok(key)
    }

    /// Forgets one: the reactor has said its last word on it.
    pub fn remove(&mut self, key: Key) -> Option<Connection> {
        let connection = self.slab.remove(key)?;
        self.wheel.cancel(key.index());
        Some(connection)
    }

    /// The connection, if this key still names one.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Connection> {
        self.slab.get(key)
    }

    /// The connection, if this key still names one.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Connection> {
        self.slab.get_mut(key)
    }

    /// How many there are, closed ones whose sockets have not gone yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Whether this connection is between two requests, and everything sent to it has long been
    /// the kernel's: it may be closed at once, and nothing is lost.
    #[must_use]
    pub fn is_at_rest(&self, key: Key) -> bool {
        self.get(key).is_some_and(|connection| {
            let is_idle = matches!(&connection.protocol, Protocol::Http(d) if d.is_idle());
            is_idle
                && connection.stage == Stage::Http
                && !connection.has_exchange
                && !connection.is_blocked
                && connection.queued_bytes() == 0
                && connection.stashed_bytes() == 0
                && self.turn.wrapping_sub(connection.sent_in_turn) > 1
        })
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.slab.iter().map(|(key, _)| key)
    }

    /// The tick of this turn.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.now
    }

    /// Begins a turn.
    pub fn begin_turn(&mut self, now: Tick) {
        self.turn = self.turn.wrapping_add(1);
        self.now = now;
    }

    // Time

    /// See to it that [`Connections::expired`] names this connection at `at` or earlier.
    pub fn wake_at(&mut self, key: Key, at: Tick) {
        if at != Self::NEVER && self.wheel.deadline(key.index()).is_none_or(|set| at < set) {
            self.wheel.set(key.index(), at);
        }
    }

    /// Appends those whose time has come. Each has to be set again if it is to be told again.
    pub fn expired(&mut self, keys: &mut Vec<Key>) {
        let mut indices = Vec::new();
        self.wheel.expire(self.now, &mut indices);
        keys.extend(indices.into_iter().filter_map(|index| self.slab.key_at(index)));
    }

    /// When [`Connections::expired`] has something to tell.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Tick> {
        self.wheel.next_expiry()
    }

    /// A time that does not come.
    pub const NEVER: Tick = Tick(u32::MAX);

    // Output

    /// From now on, until [`Connections::uncork`], what goes to this connection is gathered.
    pub fn cork(&mut self, key: Key) {
        self.corked = Some(key);
    }

    /// Sends what has been gathered.
    pub fn uncork<R: Reactor>(&mut self, reactor: &mut R) {
        let Some(key) = self.corked.take() else { return };
        if self.cork.is_empty() {
            return;
        }
        if let Some(connection) = self.slab.get_mut(key).filter(|c| c.stage != Stage::Closed) {
            connection.sent_in_turn = self.turn;
            reactor.send(key, &mut self.cork);
            // What is that much is sent at once: what arrives next need not be kept for later.
            let is_over = connection.outbox.is_none() && connection.stashed_bytes() == 0;
            if connection.is_full && is_over {
                connection.is_full = reactor.is_blocked(key);
            }
        }
        self.cork.clear();
    }

    /// How far the connection has come, if more may be decoded for it in this turn. Not if enough
    /// has been produced for it: decoding then stops until that has settled.
    #[inline]
    pub fn goes_on(&mut self, key: Key) -> Option<Stage> {
        let connection = self.slab.get_mut(key)?;
        let produced = self.cork.len() + connection.queued_bytes();
        if produced < FULL_TURN_BYTES {
            return connection.may_decode().then_some(connection.stage);
        }
        self.fill(key);
        None
    }

    /// Enough has been produced for this connection: nothing is decoded until that has settled.
    pub fn fill(&mut self, key: Key) {
        if let Some(connection) = self.slab.get_mut(key) {
            connection.is_full = true;
            self.await_settled(key);
        }
    }

    /// The cork, if this connection is the corked one and nothing speaks against appending so many
    /// bytes of a message to it: the short way of a reply.
    #[inline]
    pub fn express(&mut self, key: Key, bytes: usize) -> Option<&mut Outbox> {
        let connection = self.slab.get(key)?;
        let is_free = self.corked == Some(key)
            && connection.stage == Stage::WebSocket
            && connection.outbox.is_none()
            && !connection.is_blocked
            && !connection.is_fragmenting
            && !connection.compression.deflates()
            && self.cork.len() + bytes <= FULL_TURN_BYTES;
        is_free.then_some(&mut self.cork)
    }

    /// Where to append what is to be sent. The connection's stage is up to the caller.
    #[inline]
    pub fn outbox(&mut self, key: Key) -> Option<&mut Outbox> {
        let connection = self.slab.get_mut(key)?;
        if connection.outbox.is_none() && self.corked == Some(key) {
            return Some(&mut self.cork);
        }
        if !mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(key);
        }
        Some(connection.outbox.get_or_insert_default())
    }

    /// Bytes that wait to be sent to this connection.
    #[must_use]
    pub fn buffered_bytes(&self, key: Key) -> usize {
        let cork = if self.corked == Some(key) { self.cork.len() } else { 0 };
        cork + self.slab.get(key).map_or(0, Connection::queued_bytes)
    }

    /// Bytes gathered for the corked connection.
    #[must_use]
    pub fn corked_bytes(&self) -> usize {
        self.cork.len()
    }

    /// Sends a shared buffer without queueing it, if nothing stands before it.
    ///
    /// Returns `false` if something does, and nothing has been done then.
    pub fn send_shared<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: Key,
        bytes: &crate::base::Shared,
    ) -> bool {
        let Some(connection) = self.slab.get_mut(key) else { return true };
        if connection.outbox.is_some() || connection.is_shut_down {
            return false;
        }
        connection.sent_in_turn = self.turn;
        reactor.send_shared(key, bytes);
        true
    }

    /// Sends what is queued for this connection now. Returns `false` if the kernel is known to
    /// take nothing more.
    pub fn send_queued<R: Reactor>(&mut self, reactor: &mut R, key: Key) -> bool {
        let Some(connection) = self.slab.get_mut(key) else { return true };
        if connection.is_blocked {
            return false;
        }
        if let Some(mut outbox) = connection.outbox.take()
            && !outbox.is_empty()
        {
            connection.sent_in_turn = self.turn;
            reactor.send(key, &mut outbox);
        }
        true
    }

    /// Looks at this connection at the end of the turn.
    pub fn touch(&mut self, key: Key) {
        if let Some(connection) = self.slab.get_mut(key)
            && !mem::replace(&mut connection.is_dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Names this connection in [`Connections::settled`] when what it sent has settled, and the
    /// peer takes more.
    pub fn await_settled(&mut self, key: Key) {
        if let Some(connection) = self.slab.get_mut(key)
            && !mem::replace(&mut connection.is_awaited, true)
        {
            self.awaited.push(key);
        }
    }

    /// Whether [`Connections::settled`] waits for nothing but the next turn: then the reactor
    /// must not sleep.
    #[must_use]
    pub fn is_awaiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// The present turn's number.
    #[must_use]
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// Appends those that are awaited and have settled. To be called when the reactor has no more
    /// completions. Blocked ones are left out: they are told when they are not any more.
    pub fn settled(&mut self, keys: &mut Vec<Key>) {
        let Self { slab, turn, awaited, .. } = self;
        awaited.retain(|&key| {
            let Some(connection) = slab.get_mut(key) else { return false };
            if connection.sent_in_turn == *turn {
                return true;
            }
            connection.is_awaited = false;
            connection.is_full = false;
            if !connection.is_blocked && connection.stage != Stage::Closed {
                keys.push(key);
            }
            false
        });
    }

    /// The kernel did not take these bytes, and will take more when it says so.
    pub fn refused(&mut self, key: Key, rest: Outbox) {
        let Some(connection) = self.slab.get_mut(key).filter(|c| c.stage != Stage::Closed) else {
            return;
        };
        connection.is_blocked = true;
        connection.owes_drain = true;
        if !rest.is_empty() {
            connection.outbox.get_or_insert_default().put_back(rest);
        }
        self.touch(key);
    }

    /// The kernel takes more: it gets at once what waits, so that [`Connections::settled`] tells
    /// whether it has taken all of that.
    pub fn writable<R: Reactor>(&mut self, reactor: &mut R, key: Key) {
        if let Some(connection) = self.slab.get_mut(key) {
            connection.is_blocked = false;
            connection.heard = self.now;
            self.send_queued(reactor, key);
            self.touch(key);
            self.await_settled(key);
        }
    }

    /// Tells the reactor what has changed in all connections that were touched.
    pub fn flush<R: Reactor>(&mut self, reactor: &mut R) {
        for index in 0.. {
            let Some(&key) = self.dirty.get(index) else { break };
            self.update(reactor, key);
        }
        self.dirty.clear();
    }

    fn update<R: Reactor>(&mut self, reactor: &mut R, key: Key) {
        let Some(connection) = self.slab.get_mut(key) else { return };
        connection.is_dirty = false;
        match connection.stage {
            Stage::Closed => return,
            Stage::Aborting => return self.close(reactor, key),
            _ => {}
        }
        self.send_queued(reactor, key);
        self.update_reading(reactor, key);
        self.end(reactor, key);
    }

    /// Pauses or resumes. The one thing that does not wait for the end of the turn: the reactor
    /// could receive more before.
    pub fn update_reading<R: Reactor>(&mut self, reactor: &mut R, key: Key) {
        let Some(connection) = self.slab.get_mut(key) else { return };
        let wants_pause = connection.wants_pause();
        if wants_pause != connection.is_paused && connection.stage != Stage::Closed {
            connection.is_paused = wants_pause;
            if wants_pause { reactor.pause(key) } else { reactor.resume(key) }
        }
    }

    /// Goes on with ending a connection: first everything leaves, then our direction ends, then
    /// the peer's, then the socket is closed.
    fn end<R: Reactor>(&mut self, reactor: &mut R, key: Key) {
        let Some(connection) = self.slab.get_mut(key) else { return };
        if connection.stage != Stage::Ending || connection.is_blocked {
            return;
        }
        // The reactor had no more completions in this turn: only this turn's sends are open.
        if connection.sent_in_turn == self.turn {
            return self.await_settled(key);
        }
        if connection.is_peer_ended {
            return self.close(reactor, key);
        }
        if !mem::replace(&mut connection.is_shut_down, true) {
            reactor.shutdown(key);
        }
    }

    /// Closes the socket at once, whatever waits to be sent.
    pub fn close<R: Reactor>(&mut self, reactor: &mut R, key: Key) {
        let Some(connection) = self.slab.get_mut(key) else { return };
        if connection.stage != Stage::Closed {
            connection.stage = Stage::Closed;
            connection.outbox = None;
            connection.stash = None;
            connection.is_blocked = false;
            self.wheel.cancel(key.index());
            reactor.close(key);
        }
    }
}

/// When this much has been produced in answer to what was received, decoding stops until the
/// kernel has said what it takes. Bounds what a peer that does not read can cost.
pub const FULL_TURN_BYTES: usize = 64 << 10;
