//! [`Deflation`]: what a client needs where permessage-deflate has been agreed on (RFC 7692).

use crate::{
    base::Outbox,
    ws::{
        Opcode, append_deflated,
        deflate::{Agreement, Deflaters, History, Inflaters, Inflating, Window},
    },
};

/// Both directions of one connection.
#[derive(Debug)]
pub(super) struct Deflation {
    deflaters: Deflaters,
    outgoing: Window,
    // What was sent, if messages may refer to it.
    sent: Option<History>,
    inflaters: Inflaters,
    // What was received, if messages may refer to it.
    received: Option<History>,
}

impl Deflation {
    pub(super) fn new(agreement: &Agreement) -> Self {
        let history = |window: Window| window.is_taken_over.then(|| History::new(window.bits));
        Self {
            deflaters: Deflaters::default(),
            outgoing: agreement.outgoing(),
            sent: history(agreement.outgoing()),
            inflaters: Inflaters::default(),
            received: history(agreement.incoming()),
        }
    }

    /// Appends a message as one compressed frame. Returns `false`, and does nothing, if it is to
    /// be sent as it is.
    pub(super) fn append(
        &mut self,
        outbox: &mut Outbox,
        opcode: Opcode,
        message: &[u8],
        mask: [u8; 4],
    ) -> bool {
        if message.len() < THRESHOLD_BYTES {
            return false;
        }
        let history = self.sent.as_ref().map_or(&b""[..], History::bytes);
        let deflated = self.deflaters.deflate(message, self.outgoing.bits, LEVEL, history);
        let Some(payload) = deflated else { return false };
        append_deflated(outbox, opcode, payload, Some(mask));
        if let Some(history) = &mut self.sent {
            history.push(message);
        }
        true
    }

    /// What the decoder needs.
    pub(super) fn inflating(&mut self) -> Inflating<'_> {
        Inflating { inflaters: &mut self.inflaters, history: self.received.as_mut() }
    }
}

const LEVEL: u8 = 6;
/// Shorter messages are sent as they are.
const THRESHOLD_BYTES: usize = 64;
