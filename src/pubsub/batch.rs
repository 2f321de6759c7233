//! [`Batch`]: all that one subscriber gets at once; [`Sink`]: who takes it.
//!
//! Small messages are copied side by side, once for all who get the same ones; big ones, and a
//! small one that stands alone, are passed on as they are:
//!
//! ```text
//! messages   s0  s1  BIG2  s3        s: below COALESCE_BELOW
//! buffers    [s0 s1]  [BIG2]  [s3]   only the first is new
//! ```

use std::ops::Range;

use super::{SubscriberId, Variant, index32, turn::Pending};
use crate::base::{Key, Shared};

/// Takes what is to be sent.
///
/// A sink cannot reach the publisher while it is called, and should not panic: a turn that was
/// left half-way is delivered again.
pub trait Sink {
    /// `owner` gets all of `batch`, now and in this order. The batch is lent, and others get the
    /// same one: what must be kept is kept by cloning its buffers.
    fn deliver(&mut self, owner: Key, batch: &Batch<'_>);
}

/// What a subscriber gets: bytes for whoever just sends them, messages for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    buffers: &'a [Shared],
    segments: &'a [Span],
    messages: &'a [Placed],
    len: usize,
}

impl<'a> Batch<'a> {
    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never the case when a sink sees it, except if all messages are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of messages.
    #[must_use]
    pub fn message_count(&self) -> usize {
        self.messages.len()
    }

    /// The bytes, in as few pieces as there are.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'a>> + use<'a> {
        let buffers = self.buffers;
        self.segments.iter().map(move |&span| Segment::new(buffers, span))
    }

    /// The same bytes, message by message.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = Segment<'a>> + use<'a> {
        let buffers = self.buffers;
        self.messages.iter().map(move |placed| Segment::new(buffers, placed.span))
    }

    /// The bytes, if they are one piece.
    #[must_use]
    pub fn contiguous(&self) -> Option<Segment<'a>> {
        match self.segments {
            &[span] => Some(Segment::new(self.buffers, span)),
            _ => None,
        }
    }
}

/// A piece of a shared buffer.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    buffer: &'a Shared,
    start: usize,
    end: usize,
}

impl<'a> Segment<'a> {
    fn new(buffers: &'a [Shared], span: Span) -> Self {
        #[expect(clippy::indexing_slicing, reason = "spans are made together with their buffers")]
        let buffer = &buffers[span.buffer as usize];
        Self { buffer, start: span.start, end: span.end }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.buffer.get(self.range()).unwrap_or_default()
    }

    /// The buffer that has the bytes.
    #[must_use]
    pub fn buffer(&self) -> &'a Shared {
        self.buffer
    }

    /// Where in the buffer they are.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The buffer, if it has nothing else.
    #[must_use]
    pub fn whole(&self) -> Option<&'a Shared> {
        (self.range() == (0..self.buffer.len())).then_some(self.buffer)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    buffer: u32,
    start: usize,
    end: usize,
}

/// A message, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Placed {
    message: u32,
    span: Span,
}

/// The buffers of a batch, made from messages of the turn. Reused, so that a drain allocates no
/// more than what it sends.
#[derive(Debug, Default)]
pub(super) struct Coalesced {
    buffers: Vec<Shared>,
    segments: Vec<Span>,
    messages: Vec<Placed>,
    len: usize,
    scratch: Vec<u8>,
}

impl Coalesced {
    /// Holds these messages from now on, in this variant.
    pub(super) fn build(&mut self, turn: &[Pending], indices: &[u32], variant: Variant) {
        self.clear();
        #[expect(clippy::indexing_slicing, reason = "indices are of messages of this turn")]
        let form = |index: u32| turn[index as usize].framed.form(variant);
        let is_small = |index: &u32| form(*index).len() < COALESCE_BELOW;
        for run in indices.chunk_by(|a, b| is_small(a) && is_small(b)) {
            let buffer = index32(self.buffers.len());
            // Lengths of what is in memory: no sum of them wraps.
            let mut end = 0_usize;
            for &message in run {
                let start = end;
                end = start.wrapping_add(form(message).len());
                self.messages.push(Placed { message, span: Span { buffer, start, end } });
            }
            self.segments.push(Span { buffer, start: 0, end });
            self.len = self.len.wrapping_add(end);
            if let &[alone] = run {
                self.buffers.push(form(alone).clone());
                continue;
            }
            self.scratch.clear();
            for &message in run {
                self.scratch.extend_from_slice(form(message));
            }
            self.buffers.push(Shared::from(&self.scratch[..]));
        }
    }

    /// Lets go of the buffers, and of scratch memory beyond the ordinary.
    pub(super) fn clear(&mut self) {
        self.buffers.clear();
        self.segments.clear();
        self.messages.clear();
        self.len = 0;
        self.scratch.clear();
        self.scratch.shrink_to(KEPT_SCRATCH_BYTES);
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        Batch {
            buffers: &self.buffers,
            segments: &self.segments,
            messages: &self.messages,
            len: self.len,
        }
    }
}

/// Makes the batches of those who do not get all that their topics have.
#[derive(Debug, Default)]
pub(super) struct Selection {
    messages: Vec<Placed>,
    segments: Vec<Span>,
    indices: Vec<u32>,
    own: Coalesced,
}

impl Selection {
    /// Cuts out of `all` what one subscriber gets: no copy, unless too many cuts would be needed.
    pub(super) fn select<'a>(
        &'a mut self,
        all: &'a Coalesced,
        turn: &[Pending],
        for_whom: Individual,
    ) -> Batch<'a> {
        self.messages.clear();
        self.segments.clear();
        let mut len = 0_usize;
        for &placed in all.messages.iter().filter(|placed| for_whom.gets(turn, placed.message)) {
            let span = placed.span;
            len = len.saturating_add(span.end.saturating_sub(span.start));
            self.messages.push(placed);
            match self.segments.last_mut() {
                Some(last) if last.buffer == span.buffer && last.end == span.start => {
                    last.end = span.end;
                }
                _ => self.segments.push(span),
            }
        }
        if self.segments.len() > all.buffers.len().saturating_add(MAX_CUTS) {
            self.indices.clear();
            self.indices.extend(self.messages.iter().map(|placed| placed.message));
            self.own.build(turn, &self.indices, for_whom.variant);
            return self.own.batch();
        }
        Batch { buffers: &all.buffers, segments: &self.segments, messages: &self.messages, len }
    }

    /// The batch of one subscriber from the messages of its topics, given in publish order.
    pub(super) fn build(
        &mut self,
        turn: &[Pending],
        indices: &mut Vec<u32>,
        for_whom: Individual,
    ) -> Batch<'_> {
        indices.retain(|&message| for_whom.gets(turn, message));
        self.own.build(turn, indices, for_whom.variant);
        self.own.batch()
    }

    pub(super) fn clear(&mut self) {
        self.own.clear();
    }
}

/// What one subscriber gets of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Individual {
    pub(super) subscriber: SubscriberId,
    pub(super) variant: Variant,
    pub(super) mark: u32,
}

impl Individual {
    fn gets(self, turn: &[Pending], message: u32) -> bool {
        let is_own = |message: &Pending| message.sender == Some(self.subscriber);
        message >= self.mark && !turn.get(message as usize).is_some_and(is_own)
    }
}

/// Frames below this size are copied side by side; others are sent from where they are.
pub const COALESCE_BELOW: usize = 16 << 10;

/// So many pieces more than buffers, and a copy is cheaper than the gathering.
const MAX_CUTS: usize = 4;

const KEPT_SCRATCH_BYTES: usize = 64 << 10;
