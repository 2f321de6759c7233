//! [`HeadBuffer`]: finds the end of a head, and keeps the beginning of one that is not complete.
//!
//! A head that arrives in one piece is lent as it stands there. Of one that does not, the pieces
//! gather on the heap, and each byte is looked at once, because the search goes on where it
//! stopped. Parsing is left to others, and happens once, when the head is complete. What is
//! refused here (a line that ends with LF alone, a head too long) depends on the bytes up to the
//! fault only, so that it does not matter how they were cut.

use super::{Error, Limits, head::AROUND_TARGET_BYTES, token};

/// The unfinished head of a connection. Without one it owns no memory.
#[derive(Debug, Default)]
pub(super) struct HeadBuffer(Option<Box<Partial>>);

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    search: Search,
    is_complete: bool,
}

/// Which side of the exchange the head is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl HeadBuffer {
    /// The next complete head and how many bytes of `input` belong to it; or `None`, when all of
    /// the input has been taken and more is needed. An empty line before it is part of the head.
    ///
    /// # Errors
    /// If the head cannot become a good one.
    pub(super) fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        side: Side,
        limits: &Limits,
    ) -> Result<Option<(&'a [u8], usize)>, Error> {
        match self.0 {
            Some(ref mut partial) => {
                let kept = partial.bytes.len();
                // More than the limit is of no use to the search.
                let useful = input.len().min(limits.max_head_bytes.saturating_sub(kept));
                partial.bytes.extend_from_slice(input.get(..useful).unwrap_or_default());
                let Some(end) = partial.search.end(&partial.bytes, side, limits)? else {
                    return Ok(None);
                };
                partial.bytes.truncate(end);
                partial.is_complete = true;
                Ok(Some((&partial.bytes, end.saturating_sub(kept))))
            }
            None => {
                let mut search = Search::default();
                if let Some(end) = search.end(input, side, limits)? {
                    return Ok(Some((input.get(..end).unwrap_or_default(), end)));
                }
                if !input.is_empty() {
                    let bytes = input.to_vec();
                    self.0 = Some(Box::new(Partial { bytes, search, is_complete: false }));
                }
                Ok(None)
            }
        }
    }

    /// Keeps a piece of a trailer section; with the last one, lends all of it. Its size is for
    /// others to bound.
    pub(super) fn gather<'a>(&'a mut self, piece: &'a [u8], is_last: bool) -> &'a [u8] {
        if self.0.is_none() && is_last {
            return piece;
        }
        let partial = self.0.get_or_insert_with(|| {
            let search = Search::default();
            Box::new(Partial { bytes: Vec::new(), search, is_complete: false })
        });
        partial.bytes.extend_from_slice(piece);
        partial.is_complete = is_last;
        &partial.bytes
    }

    /// Lets go of a head that was lent, if it was kept here.
    pub(super) fn free_complete(&mut self) {
        if self.0.as_ref().is_some_and(|partial| partial.is_complete) {
            self.0 = None;
        }
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |partial| partial.bytes.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// The search for the empty line that ends a head.
#[derive(Debug, Default)]
struct Search {
    // Invariant: no LF stands between `line_start` and `position`, and what is before
    // `line_start` are whole lines that end with CRLF.
    position: usize,
    line_start: usize,
    is_past_first_line: bool,
}

impl Search {
    /// The length of the head, once its end is among `bytes`.
    fn end(&mut self, bytes: &[u8], side: Side, limits: &Limits) -> Result<Option<usize>, Error> {
        let bytes = bytes.get(..limits.max_head_bytes).unwrap_or(bytes);
        check_first_bytes(bytes, side)?;
        loop {
            let (limit, error) = self.limit(side, limits);
            let window = bytes.get(..limit).unwrap_or(bytes);
            let unsearched = window.get(self.position..).unwrap_or_default();
            let Some(offset) = find_line_feed(unsearched) else {
                self.position = window.len();
                return if window.len() < limit { Ok(None) } else { Err(error) };
            };
            let line_feed = self.position.saturating_add(offset);
            let line = bytes.get(self.line_start..line_feed).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else { return Err(Error::BareLineFeed) };
            let is_empty = line.is_empty();
            let next = line_feed.saturating_add(1);
            (self.position, self.line_start) = (next, next);
            if is_empty && self.is_past_first_line {
                return Ok(Some(next));
            }
            // RFC 9112 §2.2: an empty line before the request-line is ignored. One is.
            self.is_past_first_line |= !is_empty;
        }
    }

    /// How many bytes may arrive before the line in progress ends, and the fault if it does not.
    fn limit(&self, side: Side, limits: &Limits) -> (usize, Error) {
        let head = (limits.max_head_bytes, Error::HeadTooLong);
        if self.is_past_first_line || side == Side::Response {
            return head;
        }
        let line = limits.max_target_bytes.saturating_add(AROUND_TARGET_BYTES);
        let line = line.saturating_add(self.line_start);
        if line < head.0 { (line, Error::TargetTooLong) } else { head }
    }
}

/// Refuses at once what can only be something else than HTTP.
fn check_first_bytes(bytes: &[u8], side: Side) -> Result<(), Error> {
    let is_good = match (side, bytes) {
        (_, [] | [b'\r'] | [b'\r', b'\n']) => side == Side::Request || bytes.is_empty(),
        (Side::Response, [first, ..]) => *first == b'H',
        (Side::Request, [b'\r', b'\n', first, ..] | [first, ..]) => token::is_token_byte(*first),
    };
    if is_good { Ok(()) } else { Err(Error::NotHttp) }
}

/// The place of the first LF.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut searched = 0_usize;
    for word in words {
        let feeds = line_feeds(*word);
        if feeds != 0 {
            return searched.checked_add((feeds.trailing_zeros() / 8) as usize);
        }
        searched = searched.saturating_add(word.len());
    }
    rest.iter().position(|byte| *byte == b'\n').and_then(|place| searched.checked_add(place))
}

/// The highest bit of each byte that is LF. A byte is not zero if adding 127 to its lower bits
/// carries into its highest one, or if that is set.
fn line_feeds(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const LOWER: u64 = ONES * 0x7f;
    let word = u64::from_le_bytes(word) ^ (ONES * 0x0a);
    // No byte of the sum carries into the next one.
    !((word & LOWER).wrapping_add(LOWER) | word | LOWER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(bytes: &[u8]) -> Result<Option<usize>, Error> {
        Search::default().end(bytes, Side::Request, &Limits::default())
    }

    #[test]
    fn the_end_is_the_first_empty_line() {
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest"), Ok(Some(24)));
        assert_eq!(end(b"\r\nGET / HTTP/1.1\r\n\r\n"), Ok(Some(20)));
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\r\n\r"), Ok(None));
        assert_eq!(end(b""), Ok(None));
    }

    #[test]
    fn bad_beginnings_are_refused_at_once() {
        for bytes in [&b"\x16\x03\x01"[..], b" GET", b"\nGET", b"\r\n\r\n", b"\r\n\n", b"\r\n "] {
            assert_eq!(end(bytes), Err(Error::NotHttp), "{bytes:?}");
        }
        assert_eq!(end(b"\rG"), Err(Error::NotHttp));
        let response = |bytes| Search::default().end(bytes, Side::Response, &Limits::default());
        assert_eq!(response(b"\r\nHTTP/1.1 200 OK\r\n\r\n"), Err(Error::NotHttp));
        assert_eq!(response(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(Some(19)));
    }

    #[test]
    fn a_bare_line_feed_is_a_fault_and_not_a_wait() {
        for bytes in [&b"GET / HTTP/1.1\n"[..], b"GET / HTTP/1.1\r\nA: b\n\n", b"G\r\nA\r\n\n"] {
            assert_eq!(end(bytes), Err(Error::BareLineFeed), "{bytes:?}");
        }
    }

    #[test]
    fn limits_are_exact() {
        let limits = Limits { max_head_bytes: 32, ..Limits::default() };
        let end = |bytes| Search::default().end(bytes, Side::Request, &limits);
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: aaaaaa\r\n\r\n"), Ok(Some(32)));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: aaaaaaa\r\n\r\n"), Err(Error::HeadTooLong));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: aaaaaaa\r\n"), Ok(None));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: aaaaaaa\r\n\r"), Err(Error::HeadTooLong));
        // What is wrong beyond the limit is not looked at.
        let limits = Limits { max_head_bytes: 2, ..limits };
        let beyond = Search::default().end(b"\r\n\r\n", Side::Request, &limits);
        assert_eq!(beyond, Err(Error::HeadTooLong));
    }

    #[test]
    fn pieces_gather_only_while_the_head_is_incomplete() {
        let limits = Limits::default();
        let mut buffer = HeadBuffer::default();
        let whole = b"G / HTTP/1.1\r\n\r\nrest";
        let Ok(Some((head, 16))) = buffer.next(whole, Side::Request, &limits) else {
            panic!("a complete head is found")
        };
        assert_eq!(head.as_ptr(), whole.as_ptr());
        assert!(buffer.is_empty());

        assert_eq!(buffer.next(&whole[..15], Side::Request, &limits), Ok(None));
        assert!(!buffer.is_empty());
        let expected: &[u8] = &whole[..16];
        assert_eq!(buffer.next(&whole[15..], Side::Request, &limits), Ok(Some((expected, 1))));
        buffer.free_complete();
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_head_that_drips_costs_each_byte_once() {
        // Were it searched from its beginning each time, this would take minutes.
        let max_head_bytes = if cfg!(miri) { 1 << 10 } else { 1 << 20 };
        let limits = Limits { max_head_bytes, ..Limits::default() };
        let value = "v".repeat(max_head_bytes - 22);
        let bytes = format!("G / HTTP/1.1\r\nA: {value}\r\n\r\n").into_bytes();
        let mut buffer = HeadBuffer::default();
        let (last, others) = bytes.split_last().expect("some bytes");
        for byte in others {
            let step = buffer.next(std::slice::from_ref(byte), Side::Request, &limits);
            assert_eq!(step, Ok(None));
        }
        let step = buffer.next(std::slice::from_ref(last), Side::Request, &limits);
        assert_eq!(step, Ok(Some((&bytes[..], 1))));
    }

    proptest! {
        #[test]
        fn the_first_line_feed_is_found(bytes in prop::collection::vec(8_u8..13, 0..40)) {
            let plain = bytes.iter().position(|byte| *byte == b'\n');
            prop_assert_eq!(find_line_feed(&bytes), plain);
        }

        #[test]
        fn cuts_do_not_matter(
            parts in prop::collection::vec(
                prop::sample::select(&["G", "\r\n", "\r", "\n", ":"][..]), 0..14),
            cut in 0_usize..20,
            max_head_bytes in 1_usize..20,
        ) {
            let bytes = parts.concat().into_bytes();
            let limits = Limits { max_head_bytes, max_target_bytes: 1, ..Limits::default() };
            let whole = Search::default().end(&bytes, Side::Request, &limits);
            let mut search = Search::default();
            let first = search.end(&bytes[..cut.min(bytes.len())], Side::Request, &limits);
            let cut = match first {
                Ok(None) => search.end(&bytes, Side::Request, &limits),
                decided => decided,
            };
            prop_assert_eq!(cut, whole);
        }
    }
}
