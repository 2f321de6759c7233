//! [`HeadLines`]: in one pass, where a head ends, and where its lines have their parts.
//!
//! Only for the head of a request that arrives whole and has nothing against it, which is to say
//! almost any. Of all others nothing is said: [`HeadBuffer`](super::head_buffer::HeadBuffer) waits
//! for the rest, and [`RequestHead::parse`](super::RequestHead::parse) finds out what is wrong.

use super::{
    HeaderSlots, Limits, Version,
    fields::FieldPlace,
    head::{AROUND_TARGET_BYTES, MAX_METHOD_BYTES},
};
use crate::simd::HeadBits;

/// The parts of a head; its fields are in the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadLines {
    /// Where the method ends, which begins the head.
    pub(super) method_end: usize,
    /// Where the target ends, which begins one byte behind the method.
    pub(super) target_end: usize,
    pub(super) version: Version,
    /// The length of the head, with the empty line that ends it.
    pub(super) length: usize,
}

impl HeadLines {
    /// Looks for the head that `input` begins with.
    pub(super) fn find(input: &[u8], slots: &mut HeaderSlots, limits: &Limits) -> Option<Self> {
        slots.clear();
        let bytes = input.get(..limits.max_head_bytes).unwrap_or(input);
        let mut request_line = None;
        // Of the line in progress: where it begins, and its first byte that is not of a token.
        let (mut start, mut delimiter) = (0, None);
        let (mut feeds_before, mut returns_before) = (0, 0);
        for base in (0..bytes.len()).step_by(BLOCK_BYTES) {
            let bits = block_at(bytes, base);
            // A line feed two bytes behind another ends the empty line, if all have their CR.
            let ends = bits.line_feeds & (bits.line_feeds << 2 | feeds_before >> 62);
            let within = through_lowest(ends);
            let behind_returns = bits.returns << 1 | returns_before >> 63;
            if ((behind_returns ^ bits.line_feeds) | bits.controls) & within != 0 {
                return None;
            }
            (feeds_before, returns_before) = (bits.line_feeds, bits.returns);

            let (mut feeds, mut delimiters) = (bits.line_feeds & within, bits.delimiters & within);
            while feeds != 0 {
                // Where its CR is: there is one.
                let end = place(base, feeds).wrapping_sub(1);
                let first = delimiter.take().unwrap_or_else(|| place(base, delimiters));
                delimiters &= !through_lowest(feeds);
                feeds &= feeds.wrapping_sub(1);
                match request_line {
                    None => request_line = Some(request_line_of(bytes, first, end, limits)?),
                    Some(line) if start == end => return Some(Self { length: after(end), ..line }),
                    Some(_) => slots.push(field_of(bytes, start, first, end)?, limits)?,
                }
                start = after(end);
            }
            if delimiter.is_none() && delimiters != 0 {
                delimiter = Some(place(base, delimiters));
            }
        }
        None
    }
}

/// The line before `end`, with the first byte in it that is not of the method (RFC 9112 §3).
fn request_line_of(bytes: &[u8], first: usize, end: usize, limits: &Limits) -> Option<HeadLines> {
    let line = bytes.get(..end)?;
    let (before, version) = match line.strip_suffix(b" HTTP/1.1") {
        Some(before) => (before, Version::Http11),
        None => (line.strip_suffix(b" HTTP/1.0")?, Version::Http10),
    };
    let is_sound = line.get(first) == Some(&b' ')
        && (1..=MAX_METHOD_BYTES).contains(&first)
        && first.saturating_add(1) < before.len()
        && end.saturating_add(1) < limits.max_target_bytes.saturating_add(AROUND_TARGET_BYTES);
    is_sound.then_some(HeadLines {
        method_end: first,
        target_end: before.len(),
        version,
        length: 0,
    })
}

/// The field line between `start` and `end`, with the first byte in it that is not of its name
/// (RFC 9112 §5).
fn field_of(bytes: &[u8], start: usize, first: usize, end: usize) -> Option<FieldPlace> {
    if first == start || bytes.get(first) != Some(&b':') {
        return None;
    }
    let is_space = |place: usize| matches!(bytes.get(place), Some(b' ' | b'\t'));
    // Places in the input: nothing wraps.
    let (mut from, mut to) = (first.wrapping_add(1), end);
    // The CR stops this.
    while is_space(from) {
        from = from.wrapping_add(1);
    }
    while to > from && is_space(to.wrapping_sub(1)) {
        to = to.wrapping_sub(1);
    }
    Some(FieldPlace { name: start..first, value: from..to })
}

/// What is behind the end is as good as a control: if the head does not end before, it is not
/// whole.
#[inline]
fn block_at(bytes: &[u8], base: usize) -> HeadBits {
    let rest = bytes.get(base..).unwrap_or_default();
    if let Some(block) = rest.first_chunk() {
        return HeadBits::of(block);
    }
    let mut block = [0; BLOCK_BYTES];
    if let Some(begin) = block.get_mut(..rest.len()) {
        begin.copy_from_slice(rest);
    }
    HeadBits::of(&block)
}

/// The place of the lowest bit.
fn place(base: usize, bits: u64) -> usize {
    // In the input, or at its end: nothing wraps.
    base.wrapping_add(bits.trailing_zeros() as usize)
}

/// What is behind the line end that begins here.
fn after(end: usize) -> usize {
    end.wrapping_add(2)
}

/// All bits up to the lowest that is set, and that; all if none is.
fn through_lowest(bits: u64) -> u64 {
    bits ^ bits.wrapping_sub(1)
}

const BLOCK_BYTES: usize = 64;
