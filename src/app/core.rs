//! [`Core`]: what a handler can reach of its worker: connections, topics, counts. It knows no
//! reactor: what handlers do is carried out when they have returned.

use std::{collections::HashMap, rc::Rc};

use super::{
    Dropped, Limits, Prepared, Proxies, Remote, SendError, SendStatus, SocketId, Stats,
    WebSocketConfig,
    deflation::Deflation,
    delivery::{Delivery, Later},
    remote::{Interest, LETTER_BYTES, Letter},
};
use crate::{
    base::{Key, Outbox, Shared, Tick},
    conn::{Connection, Connections, Flags, Stage},
    pubsub::{self, Audience, Framed, PubSub, TurnFull, Variant},
    ws::{self, CloseCode, Message, Opcode},
};

/// The state of a worker, without its reactor and its handlers.
#[derive(Debug)]
pub struct Core {
    pub(super) connections: Connections,
    pub(super) topics: PubSub,
    // Of the WebSocket routes, by their numbers; behind them that of the event streams.
    pub(super) configs: Vec<Rc<WebSocketConfig>>,
    pub(super) event_route: u16,
    pub(super) proxies: Option<Proxies>,
    pub(super) stats: Stats,
    pub(super) remote: Remote,
    pub(super) worker: u8,
    pub(super) limits: Rc<Limits>,
    // What handlers are to be told, when the present one has returned.
    pub(super) farewells: Vec<Farewell>,
    pub(super) dropped: Vec<(Key, Dropped)>,
    // Whose reading goes on, so that what they have stashed is to be decoded.
    pub(super) resumed: Vec<Key>,
    // Messages of this turn for each worker. Empty between turns.
    pub(super) outgoing: Vec<Vec<(Letter, usize)>>,
    // `None` while it is in use, and if no route compresses.
    pub(super) deflation: Option<Box<Deflation>>,
    // What holds the message that a handler has been lent, if it is large and not in the reactor's
    // memory: sent on, it need not be copied.
    pub(super) lent: Option<Shared>,
    // Only counted if there is a limit.
    pub(super) connections_by_address: HashMap<std::net::IpAddr, usize>,
}

/// A WebSocket that is no longer open, whose handler has not been told.
#[derive(Debug)]
pub(super) struct Farewell {
    pub(super) key: Key,
    pub(super) route: u16,
    pub(super) slot: u32,
    pub(super) code: u16,
    pub(super) reason: Box<str>,
    pub(super) is_clean: bool,
}

impl Core {
    pub(super) fn new(remote: Remote, worker: u8, limits: Rc<Limits>) -> Self {
        let outgoing = remote.workers().map(|_| Vec::new()).collect();
        Self {
            connections: Connections::with_limit(limits.max_connections, Tick::default()),
            topics: PubSub::new(limits.topics),
            configs: Vec::new(),
            event_route: 0,
            proxies: None,
            stats: Stats::default(),
            remote,
            worker,
            limits,
            farewells: Vec::new(),
            dropped: Vec::new(),
            resumed: Vec::new(),
            outgoing,
            deflation: None,
            lent: None,
            connections_by_address: HashMap::new(),
        }
    }

    /// Whether a connection from this peer begins with a header of the PROXY protocol.
    pub(super) fn expects_proxy_header(&self, peer: Option<std::net::SocketAddr>) -> bool {
        let proxies = self.proxies.as_ref().filter(|proxies| proxies.speaks_proxy_protocol);
        proxies.is_some_and(|proxies| proxies.are_at(peer))
    }

    // Sending

    /// Appends to what goes to a connection, and counts that. Nothing is done if it has gone.
    pub(super) fn append<T>(
        &mut self,
        key: Key,
        append: impl FnOnce(&mut Outbox) -> T,
    ) -> Option<T> {
        let outbox = self.connections.outbox(key)?;
        let before = outbox.len();
        let appended = append(outbox);
        self.stats.bytes_out += outbox.len().saturating_sub(before) as u64;
        Some(appended)
    }

    /// Frames a message for a WebSocket of this worker.
    #[inline]
    pub(super) fn send(
        &mut self,
        key: Key,
        opcode: Opcode,
        is_last: bool,
        payload: &[u8],
    ) -> SendStatus {
        let bytes = ws::framed_length(payload.len());
        if !self.topics.has_pending()
            && let Some(cork) = self.connections.express(key, bytes)
        {
            ws::append_frame(cork, is_last, opcode, payload, None);
            self.stats.messages_out += u64::from(is_last && !opcode.is_control());
            self.stats.bytes_out += bytes as u64;
            return SendStatus::Sent;
        }
        self.send_compressed(key, opcode, is_last, payload)
    }

    pub(super) fn send_with_care(
        &mut self,
        key: Key,
        opcode: Opcode,
        is_last: bool,
        payload: &[u8],
    ) -> SendStatus {
        let status = self.admit(key, ws::framed_length(payload.len()), opcode, is_last);
        if status.is_accepted()
            && let Some(outbox) = self.connections.outbox(key)
        {
            match self.lent.as_ref().and_then(|lent| Some((lent, part_of(lent, payload)?))) {
                Some((lent, range)) => {
                    ws::append_header(outbox, is_last, opcode, payload.len());
                    outbox.push_shared_range(lent.clone(), range);
                }
                None => ws::append_frame(outbox, is_last, opcode, payload, None),
            }
        }
        status
    }

    pub(super) fn send_prepared(&mut self, key: Key, prepared: &Prepared) -> SendStatus {
        let compressed = self.compressed_form(key, prepared.frame());
        let frame = compressed.as_ref().unwrap_or(prepared.frame());
        let status = self.admit(key, frame.len(), Opcode::Binary, true);
        if status.is_accepted()
            && let Some(outbox) = self.connections.outbox(key)
        {
            super::delivery::append_shared(outbox, frame, 0..frame.len());
        }
        status
    }

    pub(super) fn send_fragment(
        &mut self,
        key: Key,
        piece: Message<'_>,
        is_last: bool,
    ) -> SendStatus {
        let Some(connection) = self.connections.get_mut(key) else { return SendStatus::Closed };
        let is_first = !connection.flags.take(Flags::IS_FRAGMENTING);
        let opcode = if is_first { piece.opcode() } else { Opcode::Continuation };
        let status = self.send_with_care(key, opcode, is_last, piece.as_bytes());
        if let Some(connection) = self.connections.get_mut(key) {
            let goes_on = if status.is_accepted() { !is_last } else { !is_first };
            connection.flags.set(Flags::IS_FRAGMENTING, goes_on);
        }
        status
    }

    /// Sends to a socket by its id: here at once, elsewhere by mail.
    pub(super) fn send_to(&mut self, id: SocketId, prepared: &Prepared) -> SendStatus {
        if id.worker_number() == self.worker {
            return self.send_prepared(id.key(), prepared);
        }
        match self.remote.send_prepared(id, prepared) {
            Ok(()) => SendStatus::Queued { bytes: prepared.len() },
            Err(SendError::Full) => {
                self.stats.mailbox_refused += 1;
                SendStatus::Dropped
            }
            Err(SendError::Closed) => SendStatus::Closed,
        }
    }

    /// Whether there is room for so many bytes more, and whether they are welcome.
    pub(super) fn admit(
        &mut self,
        key: Key,
        bytes: usize,
        opcode: Opcode,
        is_last: bool,
    ) -> SendStatus {
        let Some(connection) = self.connections.get(key).filter(|c| c.is_open()) else {
            return SendStatus::Closed;
        };
        // RFC 6455 §5.4: only control frames may stand between the fragments of a message.
        let is_control = opcode.is_control();
        if connection.flags.contains(Flags::IS_FRAGMENTING) && !is_control {
            return self.refuse(key, bytes);
        }
        let is_blocked = connection.is_blocked();
        if connection.subscriber.is_some() && self.topics.has_pending() {
            self.deliver_pending(key);
            // That may have been too much for it.
            if !self.connections.get(key).is_some_and(Connection::is_open) {
                return SendStatus::Closed;
            }
        }
        let config = &self.configs[usize::from(self.route_of(key))];
        let buffered = self.connections.buffered_bytes(key);
        if buffered > 0 && buffered.saturating_add(bytes) > config.queue_limit(is_blocked) {
            return self.refuse(key, bytes);
        }
        if config.reset_idle_timeout_on_send {
            let now = self.connections.now();
            if let Some(connection) = self.connections.get_mut(key) {
                connection.heard = now;
            }
        }
        self.stats.messages_out += u64::from(is_last && !is_control);
        self.stats.bytes_out += bytes as u64;
        if is_blocked { SendStatus::Queued { bytes: buffered + bytes } } else { SendStatus::Sent }
    }

    fn refuse(&mut self, key: Key, bytes: usize) -> SendStatus {
        self.stats.dropped_messages += 1;
        self.stats.dropped_bytes += bytes as u64;
        let config = &self.configs[usize::from(self.route_of(key))];
        if config.close_on_backpressure_limit {
            self.abort(key, BACKPRESSURE);
        }
        SendStatus::Dropped
    }

    fn route_of(&self, key: Key) -> u16 {
        self.connections.get(key).map_or(0, |connection| connection.route)
    }

    // Topics

    pub(super) fn subscribe(&mut self, key: Key, topic: &[u8]) -> Result<bool, pubsub::Error> {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.is_open()) else {
            return Err(pubsub::Error::UnknownSubscriber);
        };
        let id = match connection.subscriber {
            Some(id) => id,
            None => {
                let variant = match connection.compression.takes_shared() {
                    true => Variant::DEFLATED,
                    false => Variant::PLAIN,
                };
                let id = self.topics.add(key, variant)?;
                connection.subscriber = Some(id);
                id
            }
        };
        let result = self.with_topics(|topics, sink| topics.subscribe(id, topic, sink));
        self.tell_interest();
        result
    }

    pub(super) fn unsubscribe(&mut self, key: Key, topic: &[u8]) -> bool {
        let Some(id) = self.connections.get(key).and_then(|connection| connection.subscriber)
        else {
            return false;
        };
        let was_subscribed = self.with_topics(|topics, sink| topics.unsubscribe(id, topic, sink));
        self.tell_interest();
        was_subscribed
    }

    /// Publishes to every worker; returns whether somebody gets it.
    pub(super) fn publish(
        &mut self,
        from: Option<Key>,
        topic: &[u8],
        message: Message<'_>,
    ) -> bool {
        let framed = |core: &mut Self, audience: &Audience| {
            core.with_forms(Framed::plain(ws::frame(message)), audience)
        };
        self.publish_framed(from, topic, framed)
    }

    pub(super) fn publish_prepared(
        &mut self,
        from: Option<Key>,
        topic: &[u8],
        prepared: &Prepared,
    ) -> bool {
        let framed = |core: &mut Self, audience: &Audience| {
            core.with_forms(prepared.clone().into_framed(), audience)
        };
        self.publish_framed(from, topic, framed)
    }

    /// Publishes what `frame` makes, if there is an audience for it.
    pub(super) fn publish_framed(
        &mut self,
        from: Option<Key>,
        topic: &[u8],
        frame: impl FnOnce(&mut Self, &Audience) -> Framed,
    ) -> bool {
        self.learn_interest();
        let sender = from.and_then(|key| self.connections.get(key)?.subscriber);
        let audience = self.topics.audience(topic);
        if audience.subscribers == [0; Variant::COUNT] && audience.workers.is_empty() {
            return false;
        }
        let framed = frame(self, &audience);
        let framed = self.with_event_form(framed, &audience);
        let published = match self.topics.publish(topic, sender, framed) {
            Ok(published) => published,
            Err(TurnFull(framed)) => {
                self.end_topics_early();
                self.topics.publish(topic, sender, framed).unwrap_or_default()
            }
        };
        self.stats.published += 1;
        published.subscribers + published.workers > 0
    }

    /// Publishes what came from elsewhere to the subscribers on this worker.
    pub(super) fn publish_here(&mut self, topic: &[u8], framed: Framed) {
        let audience = self.topics.audience(topic);
        let framed = match &self.deflation {
            Some(_) => self.with_forms(framed, &audience),
            None => framed,
        };
        let framed = self.with_event_form(framed, &audience);
        if let Err(TurnFull(framed)) = self.topics.publish_remote(topic, framed) {
            self.end_topics_early();
            // An empty turn has room for any message.
            let _ = self.topics.publish_remote(topic, framed);
        }
    }

    /// What is published and not delivered goes to the outboxes of the subscribers, since the
    /// reactor cannot be spoken to now.
    fn end_topics_early(&mut self) {
        self.forward();
        let _ = self.with_topics(|topics, sink| topics.drain(sink));
    }

    /// What is pending for one socket goes before what it is sent next.
    pub(super) fn deliver_pending(&mut self, key: Key) {
        if let Some(id) = self.connections.get(key).and_then(|connection| connection.subscriber) {
            let _ = self.with_topics(|topics, sink| topics.drain_one(id, sink));
        }
    }

    pub(super) fn with_topics<T>(
        &mut self,
        act: impl FnOnce(&mut PubSub, &mut Delivery<'_, Later>) -> T,
    ) -> T {
        let Self { connections, topics, configs, stats, dropped, .. } = self;
        let mut sink = Delivery::new(connections, configs, stats, dropped, Later);
        let result = act(topics, &mut sink);
        let overflowed = sink.into_overflowed();
        self.abort_overflowed(overflowed);
        result
    }

    /// Drops those whose limit was reached and whose route says so.
    pub(super) fn abort_overflowed(&mut self, keys: Vec<Key>) {
        for key in keys {
            self.abort(key, BACKPRESSURE);
        }
    }

    /// Tells the other workers which topics are wanted here, before any byte leaves from which
    /// somebody could learn that they are.
    pub(super) fn tell_interest(&mut self) {
        while let Some(change) = self.topics.next_interest_change() {
            for worker in self.remote.workers().filter(|worker| *worker != self.worker) {
                let interest = Interest { worker: self.worker, change: change.clone() };
                // Without weight, so that it always finds room.
                let _ = self.remote.interest(worker).post(interest, 0);
            }
        }
    }

    /// Notes which topics other workers want. Done before each publish: whoever saw that another
    /// socket has subscribed may rely on its getting what is published then.
    pub(super) fn learn_interest(&mut self) {
        let mailbox = self.remote.interest(self.worker);
        if mailbox.is_empty() {
            return;
        }
        let mut news = Vec::new();
        mailbox.take(&mut news);
        for Interest { worker, change } in news {
            self.topics.note_interest(worker, &change.topic, change.interested);
        }
    }

    /// Posts this turn's messages to the workers that want them.
    pub(super) fn forward(&mut self) {
        if self.outgoing.len() < 2 {
            return;
        }
        let mut any = false;
        for message in self.topics.messages_of_turn() {
            let bytes = message.framed.bytes() + LETTER_BYTES;
            for worker in message.workers.iter() {
                let topic = message.topic.clone();
                let letter = Letter::Publish { topic, framed: message.framed.clone() };
                self.outgoing[usize::from(worker)].push((letter, bytes));
                any = true;
            }
        }
        if !any {
            return;
        }
        for worker in self.remote.workers() {
            let letters = &mut self.outgoing[usize::from(worker)];
            if !letters.is_empty() {
                let refused = self.remote.letters(worker).post_all(letters.drain(..));
                self.stats.mailbox_refused += refused as u64;
            }
        }
    }

    // Ending

    /// The application closes: our close frame first, the peer's then (RFC 6455 §7.1.2).
    pub(super) fn begin_close(&mut self, key: Key, status: Option<(CloseCode, &str)>) {
        if !self.connections.get(key).is_some_and(Connection::is_open) {
            return;
        }
        self.leave_topics(key);
        self.append(key, |outbox| ws::append_close(outbox, status, None));
        self.enter_stage(key, Stage::Closing);
    }

    pub(super) fn close_by_id(&mut self, id: SocketId, status: Option<(CloseCode, &str)>) {
        if id.worker_number() == self.worker {
            return self.begin_close(id.key(), status);
        }
        let status = status.map(|(code, reason)| (code, reason.into()));
        // Without weight; refused only by a worker that has ended.
        let _ = self.remote.post(id.worker_number(), Letter::Close { id, status }, 0);
    }

    /// The peer has done wrong, or its handler has: close with this code (RFC 6455 §7.1.7).
    pub(super) fn fail(&mut self, key: Key, code: CloseCode, reason: &str) {
        let Some(stage) = self.connections.get(key).map(|connection| connection.stage) else {
            return;
        };
        if !matches!(stage, Stage::WebSocket | Stage::Closing) {
            return;
        }
        self.leave_topics(key);
        log::debug!(worker = self.worker, socket:? = key; "closed with {}: {reason}", code.code());
        // After a close frame nothing may be sent (RFC 6455 §5.5.1).
        if stage == Stage::WebSocket {
            self.append(key, |outbox| ws::append_close(outbox, Some((code, reason)), None));
        }
        self.bid_farewell(key, code.code(), reason, false);
        self.enter_stage(key, Stage::Ending);
    }

    /// The peer's close frame has come: answer it, unless it is the answer (RFC 6455 §5.5.1).
    pub(super) fn peer_closed(&mut self, key: Key, status: Option<(CloseCode, &str)>) {
        let Some(stage) = self.connections.get(key).map(|connection| connection.stage) else {
            return;
        };
        if stage == Stage::WebSocket {
            self.leave_topics(key);
            let status = status.map(|(code, _)| (code, ""));
            self.append(key, |outbox| ws::append_close(outbox, status, None));
        }
        let (code, reason) = status.map_or((CloseCode::NO_STATUS, ""), |status| status);
        self.bid_farewell(key, code.code(), reason, true);
        self.enter_stage(key, Stage::Ending);
    }

    /// The connection is dropped as soon as the reactor can be told.
    pub(super) fn abort(&mut self, key: Key, reason: &str) {
        let Some(connection) = self.connections.get(key) else { return };
        match connection.stage {
            Stage::Aborting | Stage::Closed => return,
            Stage::WebSocket | Stage::Closing => {
                self.leave_topics(key);
                self.bid_farewell(key, CloseCode::ABNORMAL.code(), reason, false);
            }
            Stage::Http | Stage::Answering => self.leave_topics(key),
            Stage::Ending => {}
        }
        self.enter_stage(key, Stage::Aborting);
    }

    /// The connection ended without a close frame: its socket follows when all has left.
    pub(super) fn lose(&mut self, key: Key, reason: &str) {
        self.leave_topics(key);
        self.bid_farewell(key, CloseCode::ABNORMAL.code(), reason, false);
        self.enter_stage(key, Stage::Ending);
    }

    /// The last byte to be sent has been queued.
    pub(super) fn end(&mut self, key: Key) {
        // An event stream's.
        self.leave_topics(key);
        self.enter_stage(key, Stage::Ending);
    }

    fn bid_farewell(&mut self, key: Key, code: u16, reason: &str, is_clean: bool) {
        let Some(connection) = self.connections.get(key) else { return };
        // Those that are not WebSockets, and those that have been bidden farewell, have none.
        if !matches!(connection.stage, Stage::WebSocket | Stage::Closing) {
            return;
        }
        let (route, slot, reason) = (connection.route, connection.slot, reason.into());
        self.farewells.push(Farewell { key, route, slot, code, reason, is_clean });
        self.stats.websockets -= 1;
    }

    fn enter_stage(&mut self, key: Key, stage: Stage) {
        let deadline = self.connections.now().after(self.limits.close_timeout);
        let Some(connection) = self.connections.get_mut(key) else { return };
        // What is to be dropped, or has been, stays so: leaving its topics may have overflowed it.
        if matches!(connection.stage, Stage::Aborting | Stage::Closed) {
            return;
        }
        connection.stage = stage;
        connection.deadline = deadline;
        // Whoever is being closed is read from, so that the end is noticed.
        let was_paused = connection.flags.take(Flags::PAUSES);
        if stage == Stage::Ending {
            let _ = connection.take_stash();
        }
        if was_paused && stage == Stage::Closing {
            self.resumed.push(key);
        }
        self.connections.wake_at(key, deadline);
        self.connections.touch(key);
    }

    /// Publishes of this turn still arrive; then there are no topics any more.
    pub(super) fn leave_topics(&mut self, key: Key) {
        self.deliver_pending(key);
        let connection = self.connections.get_mut(key);
        if let Some(id) = connection.and_then(|connection| connection.subscriber.take()) {
            self.topics.remove(id);
            self.tell_interest();
        }
    }

    // Reading

    /// How far a connection has come, if more may be decoded for it in this turn. Not if enough
    /// has been produced for it, or published by whomever: then it goes on when that has left.
    #[inline]
    pub(super) fn goes_on(&mut self, key: Key) -> Option<Stage> {
        if self.topics.is_crowded() {
            self.resumed.push(key);
            return None;
        }
        self.connections.goes_on(key)
    }

    pub(super) fn set_paused(&mut self, key: Key, is_paused: bool) {
        let now = self.connections.now();
        let is_concerned =
            |connection: &&mut Connection| connection.is_open() || connection.has_exchange();
        let Some(connection) = self.connections.get_mut(key).filter(is_concerned) else { return };
        if connection.flags.contains(Flags::IS_PAUSED) == is_paused {
            return;
        }
        connection.flags.set(Flags::IS_PAUSED, is_paused);
        if !is_paused {
            connection.heard = now;
            connection.flags.remove(Flags::IS_PINGED);
            self.resumed.push(key);
        }
        self.connections.touch(key);
    }
}

/// Where in a message that has been lent this payload stands, if it is worth keeping the whole.
fn part_of(lent: &Shared, payload: &[u8]) -> Option<std::ops::Range<usize>> {
    (payload.len() >= lent.len() / 2).then(|| lent.range_of(payload)).flatten()
}

const BACKPRESSURE: &str = "too slow: max_backpressure is reached";
