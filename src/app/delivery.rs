//! [`Delivery`]: brings published messages to their subscribers, within their limits.

use std::{ops::Range, rc::Rc, time::Duration};

use super::{Dropped, Stats, WebSocketConfig};
use crate::{
    base::{Key, Outbox, Shared, Tick},
    conn::{Connection, Connections, Flags},
    pubsub::{Batch, Segment, Sink},
    reactor::Reactor,
};

/// Takes what the topics of a worker deliver.
pub(super) struct Delivery<'a, W> {
    connections: &'a mut Connections,
    configs: &'a [Rc<WebSocketConfig>],
    stats: &'a mut Stats,
    dropped: &'a mut Vec<(Key, Dropped)>,
    // Those to be closed because of their limit: they cannot leave their topics while these
    // deliver.
    overflowed: Vec<Key>,
    way: W,
}

/// How bytes go from here.
pub(super) trait Way {
    /// Bytes that may be queued for a peer.
    fn queue_limit(&self, config: &WebSocketConfig, is_blocked: bool) -> usize;

    /// Sends a buffer at once, if nothing stands before it. If `false`, it is to be queued.
    fn send(&mut self, connections: &mut Connections, key: Key, bytes: &Shared) -> bool;

    /// Sends what is queued, and says whether the kernel has taken it.
    fn flush(&mut self, connections: &mut Connections, key: Key) -> bool;
}

/// Everything is queued: the reactor cannot be spoken to.
pub(super) struct Later;

/// The reactor can be spoken to.
pub(super) struct Now<'r, R>(pub(super) &'r mut R);

impl<'a, W: Way> Delivery<'a, W> {
    pub(super) fn new(
        connections: &'a mut Connections,
        configs: &'a [Rc<WebSocketConfig>],
        stats: &'a mut Stats,
        dropped: &'a mut Vec<(Key, Dropped)>,
        way: W,
    ) -> Self {
        Self { connections, configs, stats, dropped, overflowed: Vec::new(), way }
    }

    /// Those that are to be closed.
    pub(super) fn into_overflowed(self) -> Vec<Key> {
        self.overflowed
    }

    /// Queues what there is room for, message by message, and drops the rest.
    fn deliver_some(&mut self, owner: Key, batch: &Batch<'_>, limit: usize) {
        let mut dropped = Dropped::default();
        for message in batch.messages() {
            let bytes = message.range().len();
            let queued = self.connections.buffered_bytes(owner);
            let has_room = queued == 0 || queued.saturating_add(bytes) <= limit;
            if dropped.messages > 0 || !(has_room || self.way.flush(self.connections, owner)) {
                dropped.messages += 1;
                dropped.bytes += bytes as u64;
                continue;
            }
            self.queue(owner, message);
        }
        let delivered = batch.message_count() as u64 - dropped.messages;
        self.count(owner, delivered, batch.len() as u64 - dropped.bytes);
        if dropped.messages > 0 {
            self.stats.dropped_messages += dropped.messages;
            self.stats.dropped_bytes += dropped.bytes;
            self.dropped.push((owner, dropped));
            self.note_overflow(owner);
        }
    }

    fn note_overflow(&mut self, owner: Key) {
        let route = self.connections.get(owner).map_or(0, |connection| connection.route);
        if self.configs[usize::from(route)].close_on_backpressure_limit {
            self.overflowed.push(owner);
        }
    }

    fn queue(&mut self, owner: Key, segment: Segment<'_>) {
        if let Some(outbox) = self.connections.outbox(owner) {
            append_shared(outbox, segment.buffer(), segment.range());
        }
    }

    fn count(&mut self, owner: Key, messages: u64, bytes: u64) {
        self.stats.deliveries += messages;
        self.stats.messages_out += messages;
        self.stats.bytes_out += bytes;
        let now = self.connections.now();
        if messages > 0
            && let Some(connection) = self.connections.get_mut(owner)
            && self.configs[usize::from(connection.route)].reset_idle_timeout_on_send
        {
            connection.heard = now;
        }
    }
}

impl<W: Way> Sink for Delivery<'_, W> {
    fn deliver(&mut self, owner: Key, batch: &Batch<'_>) {
        let Some(connection) = self.connections.get(owner).filter(|c| c.is_subscribed()) else {
            return;
        };
        let (compression, flags) = (connection.compression, connection.flags);
        let is_blocked = connection.is_blocked();
        let config = &self.configs[usize::from(connection.route)];
        let limit = match connection.is_open() {
            true => self.way.queue_limit(config, is_blocked),
            false => stream_limit(connection, config, self.connections.now()),
        };
        // RFC 6455 §5.4: no message stands between the fragments of another.
        if flags.contains(Flags::IS_FRAGMENTING) {
            let (messages, bytes) = (batch.message_count() as u64, batch.len() as u64);
            self.stats.dropped_messages += messages;
            self.stats.dropped_bytes += bytes;
            return self.dropped.push((owner, Dropped { messages, bytes }));
        }
        if compression.keeps_outgoing()
            && let Some(connection) = self.connections.get_mut(owner)
        {
            connection.compression.make_void();
        }
        let queued = self.connections.buffered_bytes(owner);
        let has_room = queued.saturating_add(batch.len()) <= limit;
        if !(has_room || queued == 0 && batch.message_count() == 1) {
            return self.deliver_some(owner, batch, limit);
        }
        self.count(owner, batch.message_count() as u64, batch.len() as u64);
        if queued == 0
            && let Some(whole) = batch.contiguous().and_then(|segment| segment.whole())
            && self.way.send(self.connections, owner, whole)
        {
            return;
        }
        for segment in batch.segments() {
            self.queue(owner, segment);
        }
    }
}

impl Way for Later {
    fn queue_limit(&self, config: &WebSocketConfig, is_blocked: bool) -> usize {
        config.queue_limit(is_blocked)
    }

    fn send(&mut self, _: &mut Connections, _: Key, _: &Shared) -> bool {
        false
    }

    fn flush(&mut self, _: &mut Connections, _: Key) -> bool {
        false
    }
}

impl<R: Reactor> Way for Now<'_, R> {
    fn queue_limit(&self, config: &WebSocketConfig, _: bool) -> usize {
        config.max_backpressure
    }

    fn send(&mut self, connections: &mut Connections, key: Key, bytes: &Shared) -> bool {
        connections.send_shared(self.0, key, bytes)
    }

    fn flush(&mut self, connections: &mut Connections, key: Key) -> bool {
        connections.send_queued(self.0, key) && !self.0.is_blocked(key)
    }
}

/// Bytes that may be queued for an event stream. Since more would close it, being behind is not
/// enough: a client is slow if it has taken nothing for a while of what it was refused.
fn stream_limit(connection: &Connection, config: &WebSocketConfig, now: Tick) -> usize {
    let is_slow = connection.is_blocked() && now >= connection.heard.after(STREAM_PATIENCE);
    config.queue_limit(is_slow)
}

/// Queues a part of a shared buffer: by reference if it is large, else as a copy beside others.
pub(super) fn append_shared(outbox: &mut Outbox, bytes: &Shared, range: Range<usize>) {
    if range.len() < COPY_BELOW {
        outbox.append(&bytes[range]);
    } else {
        outbox.push_shared_range(bytes.clone(), range);
    }
}

/// How long an event stream may take nothing before it is held to its limit.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);
/// A reference costs a slow peer's memory more than a copy of so few bytes, and its send more
/// than a contiguous one.
const COPY_BELOW: usize = 2 << 10;
