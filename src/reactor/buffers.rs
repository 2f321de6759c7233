//! [`BufferRing`]: the memory that the kernel receives into.
//!
//! ```text
//! ring     │ bid 2 │ bid 0 │ bid 1 │     descriptors, in the order in which the kernel uses them
//! memory   │ 0 ██████▒▒···· │ 1 ····· │ 2 ····· │
//!              lent  received  free
//! ```
//!
//! With an incremental ring (Linux 6.12) the kernel fills a buffer piece by piece, so that small
//! receives share a large one. Without, each receive takes a whole buffer, so there are more, and
//! smaller ones. Either way the pieces of one buffer are reported in order, and a buffer goes back
//! to the ring when its last piece has been looked at.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{Submitter, types::BufRingEntry};

/// Receive buffers that are registered with a ring.
#[derive(Debug)]
pub(super) struct BufferRing {
    // Invariant: `count` entries, page-aligned, registered until the ring is gone.
    descriptors: Region,
    // Invariant: MEMORY bytes, initialised: `count` buffers of `size` bytes.
    memory: Region,
    size: u32,
    count: u16,
    // Invariant: how far each buffer has been reported.
    reported: Vec<u32>,
    tail: u16,
    incremental: bool,
}

/// A piece of a buffer that holds received bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    buffer: u16,
    start: u32,
    len: u32,
    // No further piece of this buffer will come.
    last: bool,
}

impl BufferRing {
    /// Registers the buffers as group [`GROUP`]; as an incremental ring if that is wanted and the
    /// kernel has such a thing.
    ///
    /// # Errors
    /// If the kernel knows no buffer rings.
    pub(super) fn register(submitter: &Submitter<'_>, incremental: bool) -> io::Result<Self> {
        let incremental_flag = io_uring::types::IOU_PBUF_RING_INC as u16;
        if incremental && let Ok(ring) = Self::with_size(submitter, LARGE, incremental_flag) {
            return Ok(ring);
        }
        Self::with_size(submitter, SMALL, 0)
    }

    fn with_size(submitter: &Submitter<'_>, size: u32, flags: u16) -> io::Result<Self> {
        let count = (MEMORY / size as usize) as u16;
        let descriptors = Region::zeroed(usize::from(count) * size_of::<BufRingEntry>());
        let memory = Region::zeroed(MEMORY);
        let address = descriptors.0.as_ptr() as u64;
        // SAFETY: the region holds `count` entries, and lives as long as this value, which the
        // reactor drops after the ring.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, flags) }?;
        let reported = vec![0; usize::from(count)];
        let incremental = flags != 0;
        let mut ring = Self { descriptors, memory, size, count, reported, tail: 0, incremental };
        for buffer in 0..count {
            ring.provide(buffer);
        }
        Ok(ring)
    }

    /// The piece that a completion reports: `len` bytes of `buffer`, and whether more of that
    /// buffer will follow.
    pub(super) fn reported(&mut self, buffer: u16, len: u32, more: bool) -> Piece {
        let start = self.reported[usize::from(buffer)];
        self.reported[usize::from(buffer)] += len;
        Piece { buffer, start, len, last: !(self.incremental && more) }
    }

    /// The bytes of a piece that has not been released.
    pub(super) fn bytes(&mut self, piece: Piece) -> &mut [u8] {
        let start = usize::from(piece.buffer) * self.size as usize + piece.start as usize;
        let end = start + piece.len as usize;
        assert!(piece.start + piece.len <= self.size && end <= self.memory.1.size());
        // SAFETY: inside of the region, as asserted.
        let first = unsafe { self.memory.0.add(start) };
        // SAFETY: initialised memory inside of the region. The kernel has reported it, and writes
        // to it only after `release`; the borrow of `self` keeps other borrows away.
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), piece.len as usize) }
    }

    /// Gives a piece back. With the last piece the buffer returns to the kernel.
    pub(super) fn release(&mut self, piece: Piece) {
        if piece.last {
            self.reported[usize::from(piece.buffer)] = 0;
            self.provide(piece.buffer);
        }
    }

    fn provide(&mut self, buffer: u16) {
        let base = self.descriptors.0.cast::<BufRingEntry>();
        // SAFETY: the index is below `count`.
        let mut slot = unsafe { base.add(usize::from(self.tail % self.count)) };
        // SAFETY: a valid entry of ours: the kernel reads it only after the store below. The
        // setters leave its last field alone, which in the first entry is the ring's tail.
        let entry = unsafe { slot.as_mut() };
        entry.set_addr(self.memory.0.as_ptr() as u64 + u64::from(buffer) * u64::from(self.size));
        entry.set_len(self.size);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the first entry of the ring.
        let tail = unsafe { BufRingEntry::tail(base.as_ptr()) };
        // SAFETY: the tail is aligned, lives as long as the ring, and is accessed atomically only.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Page-aligned memory that begins as zeros, and is not touched until it is used.
#[derive(Debug)]
struct Region(NonNull<u8>, Layout);

impl Region {
    fn zeroed(size: usize) -> Self {
        let layout = Layout::from_size_align(size, PAGE).expect("a small constant");
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        NonNull::new(memory).map_or_else(|| handle_alloc_error(layout), |m| Self(m, layout))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout.
        unsafe { dealloc(self.0.as_ptr(), self.1) };
    }
}

/// The buffer group's number.
pub(super) const GROUP: u16 = 0;
/// Bytes of a buffer that receives share: several of the largest, because one that comes to the
/// end of a buffer is cut there.
const LARGE: u32 = 256 << 10;
/// Bytes of a buffer that one receive has for itself.
const SMALL: u32 = 16 << 10;
/// Bytes of all buffers. There is a power of two of each size.
const MEMORY: usize = 1 << 20;
const PAGE: usize = 4096;
