//! [`Outbox`]: bytes on their way out, in order, some of them shared with other connections.
//!
//! Small writes gather in one growing tail, so that what a handler writes in a turn is one
//! contiguous send. Shared buffers are queued by reference and never copied. Whoever sends looks
//! at [`Outbox::slices`], tells the kernel, and calls [`Outbox::advance`] with what it took.

use std::{collections::VecDeque, io::IoSlice, mem, ops::Range};

use super::{Shared, copy};

/// A queue of bytes with one reader and one writer.
///
/// An empty outbox made by `default` owns no heap memory.
#[derive(Debug, Default)]
pub struct Outbox {
    // What stands before the tail, oldest first.
    queue: VecDeque<Chunk>,
    tail: Vec<u8>,
    // Invariant: bytes already sent of the first chunk (or of the tail, if there is no chunk);
    // below that chunk's length unless the outbox is empty, and then zero.
    offset: usize,
    // Invariant: the bytes not yet sent, over all chunks.
    len: usize,
    // Invariant: so many chunks at the front have been sent and came back.
    returned: usize,
}

/// One piece of an outbox.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes of this connection alone.
    Owned(Vec<u8>),
    /// A range of bytes that other connections send as well.
    Shared(Shared, Range<usize>),
}

impl Outbox {
    /// Copies `bytes` to the end, and lends the copy (to mask it in place, for example).
    ///
    /// What one call appends is contiguous.
    pub fn append(&mut self, bytes: &[u8]) -> &mut [u8] {
        self.append_two(&[], bytes)
    }

    /// Copies two pieces to the end, side by side, and lends the copy of the second.
    // Inlined, because heads of a known size are then stored instead of copied.
    #[allow(clippy::inline_always, reason = "measured")]
    #[inline(always)]
    pub fn append_two(&mut self, head: &[u8], body: &[u8]) -> &mut [u8] {
        let len = head.len() + body.len();
        if self.tail.len() + len > CHUNK_BYTES.min(self.tail.capacity()) {
            self.reserve(len);
        }
        self.tail.extend_from_slice(head);
        let start = self.tail.len();
        copy::extend(&mut self.tail, body);
        self.len += len;
        &mut self.tail[start..]
    }

    /// Lets `write` append to the end what has many small pieces: so many bytes at most.
    #[inline]
    pub fn append_with(&mut self, most: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.len() + most > CHUNK_BYTES.min(self.tail.capacity()) {
            self.reserve(most);
        }
        let before = self.tail.len();
        write(&mut self.tail);
        self.len += self.tail.len() - before;
    }

    /// Makes room for `additional` bytes, so that appending them moves nothing.
    #[cold]
    pub fn reserve(&mut self, additional: usize) {
        if self.tail.len() + additional > CHUNK_BYTES {
            self.close_tail();
        }
        self.tail.reserve(additional);
    }

    /// Queues a shared buffer from its byte `skip` on.
    pub fn push_shared(&mut self, bytes: Shared, skip: usize) {
        let end = bytes.len();
        self.push_shared_range(bytes, skip.min(end)..end);
    }

    /// Queues a range of a shared buffer.
    ///
    /// # Panics
    /// If the buffer ends before the range does.
    pub fn push_shared_range(&mut self, bytes: Shared, range: Range<usize>) {
        assert!(range.end <= bytes.len(), "a range inside of the buffer");
        if !range.is_empty() {
            self.push(Chunk::Shared(bytes, range));
        }
    }

    /// Moves everything that `other` holds behind what this holds. What is small is copied, so
    /// that many small moves do not end in many small pieces.
    pub fn append_outbox(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        other.close_tail();
        let mut skip = other.offset;
        for chunk in other.queue {
            let skip = mem::take(&mut skip);
            match chunk {
                Chunk::Shared(bytes, range) => {
                    self.push_shared_range(bytes, range.start + skip..range.end);
                }
                Chunk::Owned(bytes) if skip == 0 && bytes.len() > COPY_BYTES => {
                    self.push(Chunk::Owned(bytes));
                }
                Chunk::Owned(bytes) => {
                    self.append(&bytes[skip..]);
                }
            }
        }
    }

    /// Puts back what was sent and not taken. It goes before everything that was never sent, and
    /// behind what came back earlier: that was sent earlier too.
    ///
    /// ```text
    /// came back earlier │ rest │ appended since
    /// ```
    pub fn put_back(&mut self, mut rest: Self) {
        debug_assert!(self.returned > 0 || self.offset == 0, "nothing was sent from here");
        rest.close_tail();
        // The usual case: nothing is moved, however large it is.
        if self.is_empty() {
            *self = rest;
            self.returned = self.queue.len();
            return;
        }
        let mut skip = rest.offset;
        self.len += rest.len;
        for mut chunk in rest.queue {
            chunk.cut(mem::take(&mut skip));
            self.queue.insert(self.returned, chunk);
            self.returned += 1;
        }
    }

    /// Forgets the first `count` bytes: they have been sent.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        self.len = self.len.checked_sub(count).expect("no more was sent than there was");
        let mut count = count + self.offset;
        while let Some(chunk) = self.queue.front() {
            if count < chunk.bytes().len() {
                self.offset = count;
                return;
            }
            count -= chunk.bytes().len();
            self.queue.pop_front();
            self.returned = self.returned.saturating_sub(1);
        }
        self.offset = count;
        if self.len == 0 {
            self.clear();
        }
    }

    /// Fills `slices` with what is to be sent first, and returns how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.offset;
        let mut count = 0;
        let tail = (!self.tail.is_empty()).then_some(self.tail.as_slice());
        for bytes in self.queue.iter().map(Chunk::bytes).chain(tail).take(slices.len()) {
            slices[count] = IoSlice::new(&bytes[mem::take(&mut skip)..]);
            count += 1;
        }
        count
    }

    /// How many slices hold everything.
    #[must_use]
    pub fn piece_count(&self) -> usize {
        self.queue.len() + usize::from(!self.tail.is_empty())
    }

    /// All the bytes, if they stand side by side.
    #[must_use]
    pub fn contiguous(&self) -> Option<&[u8]> {
        match self.queue.len() {
            0 => Some(&self.tail[self.offset..]),
            1 if self.tail.is_empty() => self.queue.front().map(|c| &c.bytes()[self.offset..]),
            _ => None,
        }
    }

    /// Bytes not yet sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything has been sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything. Of the memory only the tail is kept, for what is appended next: large
    /// messages would otherwise cost the kernel's clearing of fresh pages each time.
    pub fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.tail.clear();
        self.tail.shrink_to(KEPT_BYTES);
        self.offset = 0;
        self.len = 0;
        self.returned = 0;
    }

    fn push(&mut self, chunk: Chunk) {
        self.close_tail();
        self.len += chunk.bytes().len();
        self.queue.push_back(chunk);
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(Chunk::Owned(mem::take(&mut self.tail)));
        }
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes, range) => &bytes[range.clone()],
        }
    }

    /// Forgets the first `count` bytes.
    fn cut(&mut self, count: usize) {
        match self {
            Self::Owned(bytes) => drop(bytes.drain(..count)),
            Self::Shared(_, range) => range.start += count,
        }
    }
}

/// Small writes gather into chunks of this size, so that a slow peer's memory returns in steps.
const CHUNK_BYTES: usize = 64 << 10;
/// The most memory that an empty outbox keeps.
const KEPT_BYTES: usize = 1 << 20;
/// Owned pieces up to this size are copied rather than queued by themselves.
const COPY_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 1024];
        let count = outbox.slices(&mut slices);
        assert_eq!(count, outbox.piece_count());
        let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
        if let Some(contiguous) = outbox.contiguous() {
            assert_eq!(contiguous, all);
        }
        all
    }

    #[test]
    fn an_empty_outbox_owns_nothing_and_sent_bytes_are_let_go() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.tail.capacity() + outbox.queue.capacity(), 0);
        outbox.append(&vec![7; 3 << 20]);
        outbox.advance(3 << 20);
        assert!(outbox.tail.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn a_shared_buffer_is_not_copied() {
        let bytes = Shared::from(&b"broadcast"[..]);
        let mut outbox = Outbox::default();
        outbox.append(b"reply");
        outbox.push_shared(bytes.clone(), 0);
        outbox.push_shared_range(bytes.clone(), 2..5);
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(outbox.slices(&mut slices), 3);
        assert_eq!(slices[1].as_ptr(), bytes.as_ptr());
        assert_eq!((&*slices[2], slices[2].as_ptr()), (&b"oad"[..], bytes[2..].as_ptr()));
        assert_eq!(outbox.len(), 5 + 9 + 3);
    }

    #[test]
    fn moving_between_outboxes_copies_only_what_is_small() {
        let (mut outbox, mut other) = (Outbox::default(), Outbox::default());
        outbox.append(b"first");
        let place = other.append(&[1; COPY_BYTES + 1]).as_ptr();
        outbox.append_outbox(other);
        let mut small = Outbox::default();
        small.append(b"small");
        outbox.append_outbox(small);
        outbox.append(b"er");
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(outbox.slices(&mut slices), 3);
        assert_eq!(slices[1].as_ptr(), place);
        assert_eq!(&*slices[2], b"smaller");
    }

    #[test]
    fn what_came_back_stands_before_what_was_never_sent() {
        let mut outbox = Outbox::default();
        for (returned, later) in [("first ", "fourth "), ("second ", ""), ("third ", "fifth")] {
            let mut rest = Outbox::default();
            rest.append(b"sent ");
            rest.append(returned.as_bytes());
            rest.advance(5);
            outbox.put_back(rest);
            outbox.append(later.as_bytes());
        }
        assert_eq!(content(&outbox), b"first second third fourth fifth");
        assert_eq!(outbox.len(), 31);
        // Sent once more, and some of it came back again.
        outbox.advance(10);
        let mut sent = mem::take(&mut outbox);
        sent.advance(3);
        outbox.append(b" sixth");
        outbox.put_back(sent);
        assert_eq!(content(&outbox), b" third fourth fifth sixth"[1..]);
    }

    #[test]
    fn what_room_was_made_for_is_appended_in_place() {
        let mut outbox = Outbox::default();
        outbox.append(&[0; 10]);
        for additional in [100, CHUNK_BYTES] {
            outbox.reserve(additional);
            let first = outbox.append(b"x").as_ptr();
            let rest = outbox.append(&vec![0; additional - 1]).as_ptr();
            assert_eq!(first.wrapping_add(1), rest);
        }
        assert_eq!(outbox.len(), 10 + 100 + CHUNK_BYTES);
    }

    #[test]
    #[should_panic(expected = "inside of the buffer")]
    fn a_range_must_lie_inside_of_the_buffer() {
        Outbox::default().push_shared_range(Shared::from(&b"abc"[..]), 2..4);
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Append(usize),
        Share(usize, usize),
        ShareRange(usize, usize, usize),
        Move(usize, usize),
        Advance(usize),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (0..if cfg!(miri) { 4000_usize } else { 100_000 }).prop_map(Operation::Append),
            (0..50_usize, 0..60_usize).prop_map(|(len, skip)| Operation::Share(len, skip)),
            (0..50_usize, 0..60_usize, 0..60_usize)
                .prop_map(|(len, start, end)| Operation::ShareRange(len, start, end)),
            (0..9000_usize, 0..50_usize).prop_map(|(own, shared)| Operation::Move(own, shared)),
            (0..if cfg!(miri) { 8000_usize } else { 200_000 }).prop_map(Operation::Advance),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_queue_of_bytes(
            operations in prop::collection::vec(operation(), 1..if cfg!(miri) { 6 } else { 40 }),
        ) {
            let mut outbox = Outbox::default();
            let mut model: Vec<u8> = Vec::new();
            let mut next = 0_u8;
            let mut make = |len: usize| -> Vec<u8> {
                (0..len).map(|_| { next = next.wrapping_add(1); next }).collect()
            };
            for operation in operations {
                match operation {
                    Operation::Append(len) => {
                        let bytes = make(len);
                        assert_eq!(outbox.append(&bytes), bytes);
                        model.extend(bytes);
                    }
                    Operation::Share(len, skip) => {
                        let bytes = make(len);
                        outbox.push_shared(Shared::from(&bytes[..]), skip);
                        model.extend(&bytes[skip.min(len)..]);
                    }
                    Operation::ShareRange(len, start, end) => {
                        let (bytes, end) = (make(len), end.min(len));
                        let range = start.min(end)..end;
                        outbox.push_shared_range(Shared::from(&bytes[..]), range.clone());
                        model.extend(&bytes[range]);
                    }
                    Operation::Move(own, shared) => {
                        let (own, shared) = (make(own), make(shared));
                        let mut other = Outbox::default();
                        other.append(&own);
                        other.push_shared(Shared::from(&shared[..]), 0);
                        other.append(&own);
                        other.advance(own.len() / 2);
                        outbox.append_outbox(other);
                        model.extend(&own[own.len() / 2..]);
                        model.extend(shared);
                        model.extend(own);
                    }
                    Operation::Advance(count) => {
                        let count = count.min(outbox.len());
                        outbox.advance(count);
                        model.drain(..count);
                    }
                }
                prop_assert_eq!(outbox.len(), model.len());
                prop_assert_eq!(content(&outbox), model.clone());
            }
        }
    }
}
