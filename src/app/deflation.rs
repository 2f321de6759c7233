//! [`Deflation`]: the compressors of one worker, and what dedicated connections keep.

use super::{CompressionConfig, Core, SendStatus};
use crate::{
    base::{Key, Shared, Tick},
    conn::Compression,
    pubsub::{Audience, Framed, Variant},
    ws::{
        self, Message, Opcode,
        deflate::{Agreement, Deflaters, History, Inflaters, Inflating},
    },
};

/// Only of workers with a route that compresses.
#[derive(Debug)]
pub(super) struct Deflation {
    deflaters: Deflaters,
    // `None` while it is lent.
    inflaters: Option<Box<Inflaters>>,
    // By the indices of the connections' keys, as far as there have been dedicated ones.
    histories: Vec<Histories>,
    // For what goes to many: of the first route that compresses.
    config: CompressionConfig,
    // The last frame that was sent to many by name, and its compressed form.
    prepared: Option<(Shared, Shared)>,
}

/// What was said on one connection.
#[derive(Debug, Default)]
struct Histories {
    outgoing: Option<Box<History>>,
    incoming: Option<Box<History>>,
}

/// What decoding a connection's frames takes out, and has to bring back.
#[derive(Debug)]
pub(super) struct Lent {
    inflaters: Box<Inflaters>,
    history: Option<Box<History>>,
}

impl Deflation {
    pub(super) fn new(config: CompressionConfig) -> Self {
        Self {
            deflaters: Deflaters::new(config.memory_level),
            inflaters: None,
            histories: Vec::new(),
            config,
            prepared: None,
        }
    }

    /// How often a message was compressed, to its advantage or not.
    pub(super) fn compressions(&self) -> u64 {
        self.deflaters.uses()
    }

    /// A connection has been opened with this agreement.
    pub(super) fn open(&mut self, key: Key, agreement: &Agreement, deflates: bool) -> Compression {
        let compression = Compression::new(agreement, deflates);
        let history = |window: ws::deflate::Window| {
            window.is_taken_over.then(|| Box::new(History::new(window.bits)))
        };
        let outgoing = history(agreement.outgoing()).filter(|_| deflates);
        let incoming = history(agreement.incoming());
        if outgoing.is_none() && incoming.is_none() {
            return compression;
        }
        let index = key.index();
        if self.histories.len() <= index {
            self.histories.resize_with(index + 1, Histories::default);
        }
        self.histories[index] = Histories { outgoing, incoming };
        compression
    }

    /// A connection is gone.
    pub(super) fn close(&mut self, key: Key) {
        if let Some(histories) = self.histories.get_mut(key.index()) {
            *histories = Histories::default();
        }
    }

    /// What is kept of what was sent to this connection, if anything is.
    pub(super) fn outgoing(&mut self, key: Key) -> Option<&mut History> {
        self.histories.get_mut(key.index())?.outgoing.as_deref_mut()
    }

    /// A frame's form for everyone who takes compressed ones: the frame itself if that is too
    /// short, or would not become shorter.
    pub(super) fn shared_form(&mut self, plain: &Shared) -> Shared {
        let message = ws::framed_payload(plain);
        if message.len() < self.config.threshold {
            return plain.clone();
        }
        let opcode = Opcode::from_bits(plain[0] & 0xf).unwrap_or(Opcode::Binary);
        match self.deflaters.deflate(message, 15, self.config.publish_level, b"") {
            Some(payload) => ws::frame_deflated(opcode, payload),
            None => plain.clone(),
        }
    }

    /// As [`Self::shared_form`], for the same frame again and again.
    pub(super) fn prepared_form(&mut self, plain: &Shared) -> Shared {
        if let Some((known, form)) = &self.prepared
            && known.same_buffer(plain)
        {
            return form.clone();
        }
        let form = self.shared_form(plain);
        self.prepared = Some((plain.clone(), form.clone()));
        form
    }

    /// Lets go of what was prepared.
    pub(super) fn end_turn(&mut self) {
        self.prepared = None;
    }

    /// Lends what decoding this connection's frames needs.
    pub(super) fn lend(&mut self, key: Key) -> Lent {
        let histories = self.histories.get_mut(key.index());
        let history = histories.and_then(|histories| histories.incoming.take());
        Lent { inflaters: self.inflaters.take().unwrap_or_default(), history }
    }

    pub(super) fn take_back(&mut self, key: Key, lent: Lent) {
        self.inflaters = Some(lent.inflaters);
        if let Some(histories) = self.histories.get_mut(key.index()) {
            histories.incoming = lent.history;
        }
    }
}

impl Core {
    /// Sends a message to a socket for which messages are compressed, or takes the slow way of
    /// whatever else is sent.
    #[inline(never)]
    pub(super) fn send_compressed(
        &mut self,
        key: Key,
        opcode: Opcode,
        is_last: bool,
        payload: &[u8],
    ) -> SendStatus {
        let connection = self.connections.get(key).filter(|connection| connection.is_open());
        let deflates = connection.is_some_and(|connection| connection.compression.deflates());
        if deflates
            && !opcode.is_control()
            && let Some(mut deflation) = self.deflation.take()
        {
            let status = self.send_deflated(&mut deflation, key, opcode, payload);
            self.deflation = Some(deflation);
            return status;
        }
        self.send_with_care(key, opcode, is_last, payload)
    }

    fn send_deflated(
        &mut self,
        deflation: &mut Deflation,
        key: Key,
        opcode: Opcode,
        message: &[u8],
    ) -> SendStatus {
        // What is pending goes before it, and may be what makes the history void.
        self.deliver_pending(key);
        let Some(connection) = self.connections.get_mut(key) else { return SendStatus::Closed };
        let config = &self.configs[usize::from(connection.route)].compression;
        let (window_bits, level) = (connection.compression.window_bits(), config.level);
        if message.len() < config.threshold {
            return self.send_with_care(key, opcode, true, message);
        }
        let is_void = connection.compression.take_void();
        let Deflation { deflaters, histories, .. } = deflation;
        let histories = histories.get_mut(key.index());
        let mut history = histories.and_then(|histories| histories.outgoing.as_deref_mut());
        if let Some(history) = history.as_mut().filter(|_| is_void) {
            history.clear();
        }
        let before = history.as_ref().map_or(&[][..], |history| history.bytes());
        let Some(payload) = deflaters.deflate(message, window_bits, level, before) else {
            return self.send_with_care(key, opcode, true, message);
        };
        let status = self.admit(key, ws::framed_length(payload.len()), opcode, true);
        if status.is_accepted()
            && let Some(outbox) = self.connections.outbox(key)
        {
            ws::append_deflated(outbox, opcode, payload, None);
            if let Some(history) = history {
                history.push(message);
            }
        }
        status
    }

    /// The form of a frame in which this socket takes what is sent to many, unless that is the
    /// frame itself.
    pub(super) fn compressed_form(&mut self, key: Key, frame: &Shared) -> Option<Shared> {
        let deflation = self.deflation.as_mut()?;
        let connection = self.connections.get_mut(key)?;
        if !connection.compression.takes_shared() {
            return None;
        }
        connection.compression.make_void();
        Some(deflation.prepared_form(frame))
    }

    /// Lets go of what a dedicated compressor keeps, if nothing was heard of this socket for long
    /// enough. Returns when that will be.
    pub(super) fn release_history(&mut self, key: Key) -> Tick {
        let Some(connection) = self.connections.get(key) else { return Tick::NEVER };
        let config = &self.configs[usize::from(connection.route)].compression;
        if config.release_after.is_zero() {
            return Tick::NEVER;
        }
        let at = connection.heard.after(config.release_after);
        if self.connections.now() < at {
            return at;
        }
        let deflation = self.deflation.as_mut();
        if let Some(history) = deflation.and_then(|deflation| deflation.outgoing(key)) {
            history.clear();
        }
        Tick::NEVER
    }

    /// As [`Core::publish`], to everyone as it is.
    pub(super) fn publish_uncompressed(
        &mut self,
        from: Option<Key>,
        topic: &[u8],
        message: Message<'_>,
    ) -> bool {
        self.publish_framed(from, topic, |core, _| {
            let plain = ws::frame(message);
            match core.deflation {
                // So that other workers do not think of compressing it.
                Some(_) => Framed::plain(plain.clone()).with(Variant::DEFLATED, plain),
                None => Framed::plain(plain),
            }
        })
    }

    /// Adds the compressed form, if somebody here takes it and it has not been made elsewhere.
    pub(super) fn with_forms(&mut self, framed: Framed, audience: &Audience) -> Framed {
        match &mut self.deflation {
            Some(deflation)
                if audience.subscribers[DEFLATED_INDEX] > 0 && !framed.has(Variant::DEFLATED) =>
            {
                let form = deflation.shared_form(framed.form(Variant::PLAIN));
                framed.with(Variant::DEFLATED, form)
            }
            _ => framed,
        }
    }
}

impl Lent {
    pub(super) fn inflating(&mut self) -> Inflating<'_> {
        Inflating { inflaters: &mut self.inflaters, history: self.history.as_deref_mut() }
    }
}

/// Of [`Variant::DEFLATED`] among [`Variant::ALL`].
const DEFLATED_INDEX: usize = 1;
