//! [`Deflation`]: the compressors of one worker, and what dedicated connections keep.

use super::CompressionConfig;
use crate::{
    base::{Key, Shared},
    conn::Compression,
    ws::{
        self, Opcode,
        deflate::{Agreement, Deflaters, History, Inflaters, Inflating},
    },
};

/// Only of workers with a route that compresses.
#[derive(Debug)]
pub(super) struct Deflation {
    pub(super) deflaters: Deflaters,
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
            deflaters: Deflaters::default(),
            inflaters: None,
            histories: Vec::new(),
            config,
            prepared: None,
        }
    }

    /// A connection has been opened with this agreement.
    pub(super) fn open(&mut self, key: Key, agreement: &Agreement) {
        let history = |window: ws::deflate::Window| {
            window.is_taken_over.then(|| Box::new(History::new(window.bits)))
        };
        let outgoing = history(agreement.outgoing());
        let incoming = history(agreement.incoming());
        if outgoing.is_none() && incoming.is_none() {
            return;
        }
        let index = key.index() as usize;
        if self.histories.len() <= index {
            self.histories.resize_with(index + 1, Histories::default);
        }
        self.histories[index] = Histories { outgoing, incoming };
    }

    /// A connection is gone.
    pub(super) fn close(&mut self, key: Key) {
        if let Some(histories) = self.histories.get_mut(key.index() as usize) {
            *histories = Histories::default();
        }
    }

    /// The payload of a message to one connection; `None` if it is to be sent as it is.
    pub(super) fn deflate(
        &mut self,
        key: Key,
        compression: Compression,
        level: u8,
        message: &[u8],
    ) -> Option<&[u8]> {
        let histories = self.histories.get(key.index() as usize);
        let history = histories.filter(|_| compression.keeps_outgoing());
        let history = history.and_then(|histories| histories.outgoing.as_deref());
        let bytes = history.map_or(&[][..], History::bytes);
        self.deflaters.deflate(message, compression.window_bits(), level, bytes)
    }

    /// What has been sent to this connection, if anything is kept of it.
    pub(super) fn outgoing(&mut self, key: Key) -> Option<&mut History> {
        self.histories.get_mut(key.index() as usize)?.outgoing.as_deref_mut()
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
        let histories = self.histories.get_mut(key.index() as usize);
        let history = histories.and_then(|histories| histories.incoming.take());
        Lent { inflaters: self.inflaters.take().unwrap_or_default(), history }
    }

    pub(super) fn take_back(&mut self, key: Key, lent: Lent) {
        self.inflaters = Some(lent.inflaters);
        if let Some(histories) = self.histories.get_mut(key.index() as usize) {
            histories.incoming = lent.history;
        }
    }
}

impl Lent {
    pub(super) fn inflating(&mut self) -> Inflating<'_> {
        Inflating { inflaters: &mut self.inflaters, history: self.history.as_deref_mut() }
    }
}
