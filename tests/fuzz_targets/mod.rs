//! What is fuzzed: functions of bytes that panic if something is wrong. The fuzzer in `fuzz/` calls
//! them with bytes that reach new code, and `tests/corpus.rs` with all that is kept of those.

use std::iter;

mod extensions;
#[path = "../../src/http/grammar/rules.rs"]
mod grammar;
mod mailbox;
mod parsers;
mod topics;
mod worker;

/// Takes an input, and panics if something is wrong.
pub type Target = fn(&[u8]);

/// All targets by name, which is also that of their folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("frames", parsers::frames),
    ("deflated", parsers::deflated),
    ("extensions", extensions::extensions),
    ("handshake", parsers::handshake),
    ("requests", parsers::requests),
    ("heads", parsers::heads),
    ("chunked", parsers::chunked),
    ("responses", parsers::responses),
    ("topics", topics::topics),
    ("mailbox", mailbox::mailbox),
    ("worker", worker::worker),
];

/// An input, read like a list of decisions. When it is used up, every decision is zero.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Ways to cut the same bytes: not at all, everywhere, and as these lengths say.
fn cuts<'a>(bytes: &'a [u8], lengths: &'a [u8]) -> [Vec<&'a [u8]>; 3] {
    let mut rest = bytes;
    let drawn = lengths.iter().map(|length| usize::from(*length) + 1);
    let mut pieces = Vec::new();
    for length in drawn.chain(iter::once(bytes.len())) {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    [vec![bytes], bytes.chunks(1).collect(), pieces]
}
