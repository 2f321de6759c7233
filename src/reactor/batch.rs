//! [`Batch`]: the bytes of sends that have been queued and not yet submitted.
//!
//! They are small: copied side by side into one arena, which stays in the cache from turn to turn,
//! or shared by many receivers in a row. Nothing here moves until the batch is cleared, because the
//! kernel has been told the addresses.

use std::{io::IoSlice, mem, os::fd::RawFd};

use io_uring::{opcode, squeue, types};

use super::{sys, uring::Operation};
use crate::base::{Key, Outbox, Shared};

/// Sends of one submission.
#[derive(Debug)]
pub(super) struct Batch {
    number: u32,
    sends: Vec<(Key, Bytes)>,
    // Invariant: never grows beyond its first capacity, so that it stays in place.
    arena: Vec<u8>,
    shared: Vec<Shared>,
}

#[derive(Debug)]
enum Bytes {
    Arena { start: usize, len: usize },
    Shared { index: usize },
    TakenBack,
}

impl Default for Batch {
    fn default() -> Self {
        let arena = Vec::with_capacity(ARENA_BYTES);
        Self { number: 1, sends: Vec::with_capacity(SENDS), arena, shared: Vec::new() }
    }
}

impl Batch {
    /// Tells this batch from those before, but for one of four billion: its sends are taken for
    /// sends of this one, which costs a submission.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether it is time to submit.
    pub(super) fn is_full(&self) -> bool {
        self.sends.len() >= SENDS || self.arena.len() > ARENA_BYTES - COPY_BYTES
    }

    /// Takes what is in `bytes`, at most [`COPY_BYTES`], and returns the entry that sends it.
    pub(super) fn send(&mut self, key: Key, fd: RawFd, bytes: &mut Outbox) -> squeue::Entry {
        let start = self.arena.len();
        debug_assert!(start + bytes.len() <= self.arena.capacity());
        while !bytes.is_empty() {
            let mut piece = [IoSlice::new(&[])];
            bytes.slices(&mut piece);
            self.arena.extend_from_slice(&piece[0]);
            bytes.advance(piece[0].len());
        }
        let entry = send_entry(fd, &self.arena[start..]);
        self.push(key, Bytes::Arena { start, len: self.arena.len() - start }, &entry)
    }

    /// Like [`Batch::send`], for bytes that other sockets send too, at most [`SHARE_BYTES`].
    pub(super) fn send_shared(&mut self, key: Key, fd: RawFd, bytes: &Shared) -> squeue::Entry {
        // One reference for all receivers in a row.
        if !self.shared.last().is_some_and(|last| last.same_buffer(bytes)) {
            self.shared.push(bytes.clone());
        }
        let entry = send_entry(fd, bytes);
        self.push(key, Bytes::Shared { index: self.shared.len() - 1 }, &entry)
    }

    fn push(&mut self, key: Key, bytes: Bytes, entry: &squeue::Entry) -> squeue::Entry {
        self.sends.push((key, bytes));
        entry.clone().user_data(Operation::Send.tag(self.sends.len() as u64 - 1))
    }

    /// The bytes of a send that the kernel has refused.
    pub(super) fn take_back(&mut self, index: usize) -> Option<(Key, Outbox)> {
        let (key, bytes) = self.sends.get_mut(index)?;
        let mut outbox = Outbox::default();
        match mem::replace(bytes, Bytes::TakenBack) {
            Bytes::Arena { start, len } => {
                outbox.append(&self.arena[start..start + len]);
            }
            Bytes::Shared { index } => outbox.push_shared(self.shared[index].clone(), 0),
            Bytes::TakenBack => return None,
        }
        Some((*key, outbox))
    }

    /// Lets go of everything: the kernel has taken or refused it.
    pub(super) fn clear(&mut self) {
        if !self.sends.is_empty() {
            self.number = self.number.wrapping_add(1);
            self.sends.clear();
            self.arena.clear();
            self.shared.clear();
        }
    }
}

/// A send of everything, which has no completion when it succeeds.
#[allow(clippy::cast_possible_truncation, reason = "small")]
fn send_entry(fd: RawFd, bytes: &[u8]) -> squeue::Entry {
    let send = opcode::Send::new(types::Fd(fd), bytes.as_ptr(), bytes.len() as u32);
    send.flags(FLAGS).build().flags(squeue::Flags::SKIP_SUCCESS)
}

/// MSG_WAITALL makes a short send count as failed, so that it is not silent.
const FLAGS: i32 = sys::SEND_FLAGS | libc::MSG_WAITALL;
/// Sends of one submission: the kernel does better with a few at a time than with all at once.
const SENDS: usize = 32;
/// What is shorter is copied. What is longer costs more to keep away from the cache until the
/// submission than the system call of its own that it gets instead.
pub(super) const COPY_BYTES: usize = 16 << 10;
const ARENA_BYTES: usize = 128 << 10;
/// The longest shared buffer that waits for a submission.
pub(super) const SHARE_BYTES: usize = 1 << 20;
