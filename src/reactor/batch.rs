//! [`Batch`]: the bytes of sends that have been queued and not yet submitted.
//!
//! Small ones are copied side by side into one arena, which stays in the cache from turn to turn.
//! Large ones are kept as they are. Nothing here moves until the batch is cleared, because the
//! kernel has been told the addresses.

use std::{io::IoSlice, mem, os::fd::RawFd};

use io_uring::{opcode, squeue, types};

use super::{sys, uring::Operation};
use crate::base::{Key, Outbox, Shared};

/// Sends of one submission.
#[derive(Debug)]
pub(super) struct Batch {
    number: u64,
    sends: Vec<(Key, Bytes)>,
    // Invariant: never grows beyond its first capacity, so that it stays in place.
    arena: Vec<u8>,
    shared: Vec<Shared>,
    // Empty outboxes with memory, for those who gave theirs away.
    spare: Vec<Outbox>,
}

#[derive(Debug)]
enum Bytes {
    Arena { start: usize, len: usize },
    Whole(Outbox),
    // The kernel reads the header while it takes the submission.
    Gathered(Outbox, #[allow(dead_code, reason = "kept for the kernel")] Box<Header>),
    Shared { index: usize },
    TakenBack,
}

struct Header(libc::msghdr, Vec<libc::iovec>);

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header({} pieces)", self.0.msg_iovlen)
    }
}

impl Default for Batch {
    fn default() -> Self {
        let arena = Vec::with_capacity(ARENA_BYTES);
        let sends = Vec::with_capacity(SENDS);
        Self { number: 1, sends, arena, shared: Vec::new(), spare: Vec::new() }
    }
}

impl Batch {
    /// Tells this batch from those before.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is time to submit.
    pub(super) fn is_full(&self) -> bool {
        self.sends.len() >= SENDS || self.arena.len() > ARENA_BYTES - COPY_BYTES
    }

    /// Takes what is in `bytes`, and returns the entry that sends it.
    pub(super) fn send(&mut self, key: Key, fd: RawFd, bytes: &mut Outbox) -> squeue::Entry {
        let tag = Operation::Send.tag(self.sends.len() as u64);
        let (kept, entry) = match bytes.contiguous() {
            Some(all) if all.len() <= COPY_BYTES => {
                let start = self.arena.len();
                debug_assert!(start + all.len() <= self.arena.capacity());
                self.arena.extend_from_slice(all);
                let entry = send_entry(fd, &self.arena[start..]);
                bytes.clear();
                (Bytes::Arena { start, len: self.arena.len() - start }, entry)
            }
            Some(all) => {
                let entry = send_entry(fd, all);
                let spare = self.spare.pop().unwrap_or_default();
                (Bytes::Whole(mem::replace(bytes, spare)), entry)
            }
            None => {
                let bytes = mem::take(bytes);
                let header = gather(&bytes);
                let entry = opcode::SendMsg::new(types::Fd(fd), &raw const header.0)
                    .flags(FLAGS as u32)
                    .build();
                let gathered: usize = header.1.iter().map(|piece| piece.iov_len).sum();
                let entry = silent_if(gathered == bytes.len(), entry);
                (Bytes::Gathered(bytes, header), entry)
            }
        };
        self.sends.push((key, kept));
        entry.user_data(tag)
    }

    /// Like [`Batch::send`], for bytes that other sockets send too.
    pub(super) fn send_shared(&mut self, key: Key, fd: RawFd, bytes: &Shared) -> squeue::Entry {
        let tag = Operation::Send.tag(self.sends.len() as u64);
        // One reference for all receivers in a row.
        if !self.shared.last().is_some_and(|last| last.same_buffer(bytes)) {
            self.shared.push(bytes.clone());
        }
        self.sends.push((key, Bytes::Shared { index: self.shared.len() - 1 }));
        send_entry(fd, bytes).user_data(tag)
    }

    /// The bytes of a send that the kernel has refused.
    pub(super) fn take_back(&mut self, index: usize) -> Option<(Key, Outbox)> {
        let (key, bytes) = self.sends.get_mut(index)?;
        let outbox = match mem::replace(bytes, Bytes::TakenBack) {
            Bytes::Whole(outbox) | Bytes::Gathered(outbox, _) => outbox,
            Bytes::Arena { start, len } => {
                let mut outbox = Outbox::default();
                outbox.append(&self.arena[start..start + len]);
                outbox
            }
            Bytes::Shared { index } => {
                let mut outbox = Outbox::default();
                outbox.push_shared(self.shared[index].clone(), 0);
                outbox
            }
            Bytes::TakenBack => return None,
        };
        Some((*key, outbox))
    }

    /// Lets go of everything: the kernel has taken or refused it.
    pub(super) fn clear(&mut self) {
        if !self.sends.is_empty() {
            self.number += 1;
            for (_, bytes) in self.sends.drain(..) {
                if let Bytes::Whole(mut sent) = bytes
                    && self.spare.len() < SPARE
                {
                    sent.clear();
                    self.spare.push(sent);
                }
            }
            self.arena.clear();
            self.shared.clear();
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the rest of a longer one is sent later")]
fn send_entry(fd: RawFd, bytes: &[u8]) -> squeue::Entry {
    let len = bytes.len().min(MAX_SEND_BYTES) as u32;
    let entry = opcode::Send::new(types::Fd(fd), bytes.as_ptr(), len).flags(FLAGS).build();
    silent_if(bytes.len() <= MAX_SEND_BYTES, entry)
}

/// A send of everything has no completion when it succeeds. One that covers only the first part
/// has, so that the rest comes back.
fn silent_if(complete: bool, entry: squeue::Entry) -> squeue::Entry {
    if complete { entry.flags(squeue::Flags::SKIP_SUCCESS) } else { entry }
}

fn gather(bytes: &Outbox) -> Box<Header> {
    let mut pieces = vec![IoSlice::new(&[]); bytes.piece_count().min(MAX_PIECES)];
    let count = bytes.slices(&mut pieces);
    let vector = |piece: &IoSlice<'_>| libc::iovec {
        iov_base: piece.as_ptr().cast_mut().cast(),
        iov_len: piece.len(),
    };
    let vectors = pieces[..count].iter().map(vector).collect();
    let mut header = Box::new(Header(sys::message_header(&[]), vectors));
    header.0.msg_iov = header.1.as_mut_ptr();
    header.0.msg_iovlen = count;
    header
}

/// MSG_WAITALL makes a short send count as failed, so that it is not silent.
const FLAGS: i32 = sys::SEND_FLAGS | libc::MSG_WAITALL;
/// Sends of one submission: the kernel does better with a few at a time than with all at once.
const SENDS: usize = 32;
/// What is shorter is copied: cheaper than to keep its own buffer away from the cache.
const COPY_BYTES: usize = 2 << 10;
const ARENA_BYTES: usize = SENDS * COPY_BYTES;
/// `UIO_MAXIOV`: a message with more pieces is refused.
const MAX_PIECES: usize = 1024;
/// Outboxes that are kept for their memory.
const SPARE: usize = 4;
const MAX_SEND_BYTES: usize = 1 << 30;
