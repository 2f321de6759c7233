//! [`Held`]: the bytes of a connection that wait, if there are any.

use std::mem;

use crate::base::Outbox;

/// What waits to be sent, and what waits to be decoded. At rest it owns no memory.
#[derive(Debug, Default)]
pub(super) struct Held(Option<Box<Queues>>);

#[derive(Debug, Default)]
struct Queues {
    outbox: Outbox,
    stash: Vec<u8>,
}

impl Held {
    /// Where to append what is to be sent.
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        &mut self.0.get_or_insert_default().outbox
    }

    /// Gives away what waits to be sent, if something does.
    pub(super) fn send(&mut self, send: impl FnOnce(&mut Outbox)) {
        let Some(queues) = &mut self.0 else { return };
        if !queues.outbox.is_empty() {
            send(&mut queues.outbox);
            debug_assert!(queues.outbox.is_empty(), "all of it is the reactor's now");
        }
        match queues.stash.is_empty() {
            true => self.0 = None,
            false => queues.outbox = Outbox::default(),
        }
    }

    /// Takes what waits to be decoded.
    pub(super) fn take_stash(&mut self) -> Option<Vec<u8>> {
        let queues = self.0.as_mut()?;
        let stash = mem::take(&mut queues.stash);
        if queues.outbox.is_empty() {
            self.0 = None;
        }
        (!stash.is_empty()).then_some(stash)
    }

    /// Keeps bytes to be decoded later, behind those that are kept already.
    pub(super) fn stash(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.get_or_insert_default().stash.extend_from_slice(bytes);
        }
    }

    /// Keeps what is left of a stash that was taken. Nothing can have been stashed in between.
    pub(super) fn stash_again(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.stashed_bytes() == 0, "what came later would stand before it");
        if !bytes.is_empty() {
            self.0.get_or_insert_default().stash = bytes;
        }
    }

    /// Bytes that wait to be decoded.
    #[inline]
    pub(super) fn stashed_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |queues| queues.stash.len())
    }

    /// Bytes that wait to be sent.
    #[inline]
    pub(super) fn queued_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |queues| queues.outbox.len())
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queued_bytes() == 0 && self.stashed_bytes() == 0
    }
}

const _: () = assert!(size_of::<Held>() == 8);
