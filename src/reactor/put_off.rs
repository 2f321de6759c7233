//! [`PutOff`]: small sends that wait for the end of the turn.
//!
//! A turn that receives from many sockets and then sends to many takes less of the processor than
//! one that goes to and fro: each half of the kernel's code stays in the cache while it is needed.

use std::ops::Range;

use crate::base::Key;

/// Copies of small sends, in their order.
#[derive(Debug)]
pub(super) struct PutOff {
    arena: Vec<u8>,
    sends: Vec<(Key, Range<usize>)>,
}

impl Default for PutOff {
    fn default() -> Self {
        Self { arena: Vec::with_capacity(ARENA_BYTES), sends: Vec::with_capacity(SENDS) }
    }
}

impl PutOff {
    /// Whether a send of so many bytes is small enough to be copied.
    pub(super) fn is_small(bytes: usize) -> bool {
        bytes <= COPY_BYTES
    }

    /// Adds a small send. True if it is time to make them.
    pub(super) fn push(&mut self, key: Key, bytes: &[u8]) -> bool {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.sends.push((key, start..self.arena.len()));
        self.sends.len() >= SENDS || self.arena.len() > ARENA_BYTES - COPY_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// Calls `make` for each, and forgets them.
    pub(super) fn drain(&mut self, mut make: impl FnMut(Key, &[u8])) {
        for (key, range) in self.sends.drain(..) {
            make(key, &self.arena[range]);
        }
        self.arena.clear();
    }
}

/// More would keep the first ones waiting, and gain nothing.
const SENDS: usize = 256;
const COPY_BYTES: usize = 4 << 10;
const ARENA_BYTES: usize = 64 << 10;
