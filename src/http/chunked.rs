//! [`ChunkDecoder`]: takes the chunked transfer coding off a body (RFC 9112 §7.1).
//!
//! Strict, since what two readers see differently smuggles requests: sizes are hexadecimal digits
//! and nothing else, lines end with CRLF, CRLF follows the data. Extensions are checked and
//! skipped, trailers checked and handed on, and both are bounded, as is the number of small chunks.

use super::{
    Error, Limits,
    token::{is_field_value_byte, is_token_byte},
};

/// A body in chunks, somewhere in the middle.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ChunkDecoder {
    // The size read so far; then what is left of the chunk's data.
    remaining: u64,
    // The sizes of all chunks that began.
    body_bytes: u64,
    // What the chunks cost beyond their data; in the trailer section, its bytes.
    overhead: u32,
    // Bytes of the line before the chunk; in the trailer section, its lines.
    line_bytes: u16,
    phase: Phase,
}

/// What is expected next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Size,
    // RFC 9112 §7.1.1: chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ).
    BeforeExtension,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    QuotedPair,
    QuotedEnd,
    LineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

/// What the next bytes of a chunked body are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Data, never empty.
    Data(&'a [u8]),
    /// Bytes of the trailer section, never none; more of it follows.
    Trailers(&'a [u8]),
    /// The body is over; these are the last bytes of its trailer section.
    End(&'a [u8]),
    /// Nothing yet: all bytes are taken, more are needed.
    More,
}

impl ChunkDecoder {
    /// Takes a prefix of `input`: returns its length and what it contains.
    pub(super) fn next<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
    ) -> Result<(usize, Piece<'a>), Error> {
        let mut trailers = self.is_in_trailers().then_some(input);
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            if self.phase == Phase::Data {
                let (data, after) = self.data(rest);
                return Ok((before(input, after).len(), Piece::Data(data)));
            }
            self.phase = self.step(*byte, limits)?;
            if trailers.is_none() && self.phase == Phase::TrailerStart {
                trailers = Some(after);
            }
            if self.phase == Phase::Done {
                let trailers = before(trailers.unwrap_or_default(), after);
                return Ok((before(input, after).len(), Piece::End(trailers)));
            }
            rest = after;
        }
        let trailers = trailers.filter(|trailers| !trailers.is_empty());
        Ok((input.len(), trailers.map_or(Piece::More, Piece::Trailers)))
    }

    fn is_in_trailers(&self) -> bool {
        matches!(
            self.phase,
            Phase::TrailerStart
                | Phase::TrailerName
                | Phase::TrailerValue
                | Phase::TrailerLineFeed
                | Phase::LastLineFeed
        )
    }

    /// What `input` has of the chunk's data, and what follows.
    fn data<'a>(&mut self, input: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let (data, after) = input.split_at_checked(length).unwrap_or((input, &[]));
        self.remaining = self.remaining.saturating_sub(data.len() as u64);
        if self.remaining == 0 {
            self.phase = Phase::DataReturn;
        }
        (data, after)
    }

    /// The phase after this byte of what surrounds the data.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<Phase, Error> {
        match self.phase {
            Phase::Size => self.size(byte, limits),
            Phase::BeforeExtension
            | Phase::BeforeName
            | Phase::Name
            | Phase::AfterName
            | Phase::BeforeValue
            | Phase::Value
            | Phase::Quoted
            | Phase::QuotedPair
            | Phase::QuotedEnd => self.extension(byte, limits),
            Phase::LineFeed if byte == b'\n' => self.begin_chunk(limits),
            Phase::LineFeed => Err(Error::ChunkLine),
            Phase::DataReturn if byte == b'\r' => Ok(Phase::DataLineFeed),
            Phase::DataLineFeed if byte == b'\n' => {
                self.line_bytes = 0;
                Ok(Phase::Size)
            }
            Phase::DataReturn | Phase::DataLineFeed => Err(Error::ChunkEnd),
            Phase::TrailerStart
            | Phase::TrailerName
            | Phase::TrailerValue
            | Phase::TrailerLineFeed => self.trailer(byte, limits),
            Phase::LastLineFeed if byte == b'\n' => Ok(Phase::Done),
            Phase::LastLineFeed => Err(Error::Trailer),
            // `next` treats data itself, and is not called when all is done.
            phase @ (Phase::Data | Phase::Done) => Ok(phase),
        }
    }

    fn size(&mut self, byte: u8, limits: &Limits) -> Result<Phase, Error> {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return match byte {
                _ if self.line_bytes == 0 => Err(Error::ChunkSize),
                b'\r' => Ok(Phase::LineFeed),
                b';' | b' ' | b'\t' => self.extension(byte, limits),
                b'\n' => Err(Error::ChunkLine),
                _ => Err(Error::ChunkSize),
            };
        };
        self.line_bytes = self.line_bytes.saturating_add(1);
        // More digits would overflow, or be zeros without a purpose.
        if self.line_bytes > MAX_SIZE_DIGITS {
            return Err(Error::ChunkSize);
        }
        self.remaining = self.remaining << 4 | u64::from(digit);
        let total = self.remaining.checked_add(self.body_bytes);
        if total.is_none_or(|total| total > limits.max_body_bytes) {
            return Err(Error::BodyTooLong);
        }
        Ok(Phase::Size)
    }

    fn extension(&mut self, byte: u8, limits: &Limits) -> Result<Phase, Error> {
        let phase = match (self.phase, byte) {
            (Phase::Name | Phase::Value | Phase::QuotedEnd, b'\r') => return Ok(Phase::LineFeed),
            (Phase::Quoted, b'"') => Phase::QuotedEnd,
            (Phase::Quoted, b'\\') => Phase::QuotedPair,
            (Phase::Quoted | Phase::QuotedPair, byte) if is_field_value_byte(byte) => Phase::Quoted,
            (Phase::BeforeName | Phase::Name, byte) if is_token_byte(byte) => Phase::Name,
            (Phase::BeforeValue | Phase::Value, byte) if is_token_byte(byte) => Phase::Value,
            (Phase::BeforeValue, b'"') => Phase::Quoted,
            (Phase::Name | Phase::AfterName, b'=') => Phase::BeforeValue,
            // White space around the signs is bad, and to be read over.
            (Phase::BeforeName, b' ' | b'\t') => Phase::BeforeName,
            (Phase::Name | Phase::AfterName, b' ' | b'\t') => Phase::AfterName,
            (Phase::BeforeValue, b' ' | b'\t') => Phase::BeforeValue,
            (Phase::Quoted | Phase::QuotedPair | Phase::BeforeName | Phase::BeforeValue, _) => {
                return Err(Error::ChunkLine);
            }
            // An extension is complete, or none has begun.
            (_, b';') => Phase::BeforeName,
            (_, b' ' | b'\t') => Phase::BeforeExtension,
            _ => return Err(Error::ChunkLine),
        };
        self.line_bytes = self.line_bytes.saturating_add(1);
        if self.line_bytes > limits.max_chunk_line_bytes {
            return Err(Error::ChunkLineTooLong);
        }
        self.charge(1, limits)?;
        Ok(phase)
    }

    fn begin_chunk(&mut self, limits: &Limits) -> Result<Phase, Error> {
        if self.remaining == 0 {
            (self.overhead, self.line_bytes) = (0, 0);
            return Ok(Phase::TrailerStart);
        }
        // Not more than the limit: the size was added to it, digit by digit.
        self.body_bytes = self.body_bytes.saturating_add(self.remaining);
        let missing = MIN_CHUNK_COST.saturating_sub(self.remaining.try_into().unwrap_or(u32::MAX));
        self.charge(missing, limits)?;
        Ok(Phase::Data)
    }

    fn charge(&mut self, cost: u32, limits: &Limits) -> Result<(), Error> {
        self.overhead = self.overhead.checked_add(cost).ok_or(Error::ChunkOverhead)?;
        let spare = limits.max_body_bytes.saturating_sub(self.body_bytes);
        if u64::from(self.overhead) > spare.saturating_add(limits.max_chunk_overhead_bytes.into()) {
            return Err(Error::ChunkOverhead);
        }
        Ok(())
    }

    fn trailer(&mut self, byte: u8, limits: &Limits) -> Result<Phase, Error> {
        let phase = match (self.phase, byte) {
            (Phase::TrailerStart, b'\r') => return Ok(Phase::LastLineFeed),
            (Phase::TrailerStart | Phase::TrailerName, byte) if is_token_byte(byte) => {
                Phase::TrailerName
            }
            (Phase::TrailerName, b':') => Phase::TrailerValue,
            (Phase::TrailerValue, b'\r') => Phase::TrailerLineFeed,
            (Phase::TrailerValue, byte) if is_field_value_byte(byte) => Phase::TrailerValue,
            (Phase::TrailerLineFeed, b'\n') => {
                self.line_bytes = self.line_bytes.saturating_add(1);
                Phase::TrailerStart
            }
            _ => return Err(Error::Trailer),
        };
        self.overhead = self.overhead.saturating_add(1);
        if self.overhead > limits.max_trailer_bytes {
            return Err(Error::TrailerTooLong);
        }
        if usize::from(self.line_bytes) > limits.max_field_count {
            return Err(Error::TooManyFields);
        }
        Ok(phase)
    }
}

/// What stands before `rest`, which is the end of `bytes`.
fn before<'a>(bytes: &'a [u8], rest: &[u8]) -> &'a [u8] {
    bytes.get(..bytes.len().saturating_sub(rest.len())).unwrap_or_default()
}

/// Digits of a chunk size, leading zeros among them: as many as fit into 64 bits.
const MAX_SIZE_DIGITS: u16 = 16;
/// A chunk costs at least this much, so that many tiny ones are not for free.
const MIN_CHUNK_COST: u32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, and how many bytes the body took; or the fault. The same however it is cut.
    fn decode(bytes: &[u8], limits: &Limits) -> Result<(Vec<u8>, Option<usize>), Error> {
        let by = |size: usize| {
            let mut decoder = ChunkDecoder::default();
            let (mut data, mut done) = (Vec::new(), 0);
            let mut trailers = Vec::new();
            for piece in bytes.chunks(size) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let (consumed, piece) = decoder.next(rest, limits)?;
                    (done, rest) = (done + consumed, &rest[consumed..]);
                    match piece {
                        Piece::Data(piece) => data.extend_from_slice(piece),
                        Piece::Trailers(piece) => trailers.extend_from_slice(piece),
                        Piece::End(piece) => {
                            trailers.extend_from_slice(piece);
                            assert!(bytes[..done].ends_with(&trailers));
                            assert!(bytes[..done - trailers.len()].ends_with(b"0\r\n"));
                            return Ok((data, Some(done)));
                        }
                        Piece::More => assert!(rest.is_empty()),
                    }
                }
            }
            Ok((data, None))
        };
        let whole = by(usize::MAX);
        for size in [1, 2, 3, 5] {
            assert_eq!(by(size), whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn chunks_are_joined() {
        let limits = Limits::default();
        let bytes = b"3\r\nabc\r\n00A;x=\"y;\" ;z\r\n0123456789\r\n0\r\nT: v\r\n\r\nnext";
        assert_eq!(decode(bytes, &limits), Ok((b"abc0123456789".to_vec(), Some(bytes.len() - 4))));
        assert_eq!(decode(b"3\r\nab", &limits), Ok((b"ab".to_vec(), None)));
    }

    #[test]
    fn the_body_is_bounded() {
        let limits = Limits { max_body_bytes: 5, ..Limits::default() };
        assert!(decode(b"2\r\nab\r\n3\r\nabc\r\n0\r\n\r\n", &limits).is_ok());
        assert_eq!(decode(b"2\r\nab\r\n4", &limits), Err(Error::BodyTooLong));
        assert_eq!(decode(b"FFFFFFFFFFFFFFFF", &limits), Err(Error::BodyTooLong));
        let limits = Limits { max_body_bytes: u64::MAX, ..limits };
        assert_eq!(decode(b"1\r\na\r\nFFFFFFFFFFFFFFFF\r\n", &limits), Err(Error::BodyTooLong));
        assert_eq!(decode(b"FFFFFFFFFFFFFFFF\r\nab", &limits), Ok((b"ab".to_vec(), None)));
        assert_eq!(decode(b"00000000000000001", &limits), Err(Error::ChunkSize));
    }

    #[test]
    fn the_chunk_line_is_bounded() {
        let limits = Limits { max_chunk_line_bytes: 16, ..Limits::default() };
        assert!(decode(b"1;aaaaaaaaaaaaaa\r\na\r\n0\r\n\r\n", &limits).is_ok());
        assert_eq!(decode(b"1;aaaaaaaaaaaaaaa", &limits), Err(Error::ChunkLineTooLong));
    }

    #[test]
    fn extensions_and_tiny_chunks_are_charged() {
        let limits =
            Limits { max_body_bytes: 64, max_chunk_overhead_bytes: 32, ..Limits::default() };
        let tiny = |count| [b"1\r\na\r\n".repeat(count), b"0\r\n\r\n".to_vec()].concat();
        // 16 for each, out of 64 + 32.
        assert!(decode(&tiny(6), &limits).is_ok());
        assert_eq!(decode(&tiny(7), &limits), Err(Error::ChunkOverhead));
        let adorned = b"10;aaaaaaaaaaaaaaa\r\n0123456789abcdef\r\n".repeat(4);
        assert_eq!(decode(&adorned, &limits), Err(Error::ChunkOverhead));
        // Chunks of ordinary size cost nothing.
        let ordinary = b"10\r\n0123456789abcdef\r\n".repeat(4);
        let limits = Limits { max_chunk_overhead_bytes: 0, ..limits };
        assert!(decode(&ordinary, &limits).is_ok());
    }

    #[test]
    fn the_trailer_section_is_bounded() {
        let limits = Limits { max_trailer_bytes: 12, ..Limits::default() };
        assert!(decode(b"0\r\nA: b\r\nC: d\r\n\r\n", &limits).is_ok());
        assert_eq!(decode(b"0\r\nA: b\r\nC: de\r\n", &limits), Err(Error::TrailerTooLong));
        let limits = Limits { max_field_count: 2, ..Limits::default() };
        assert!(decode(b"0\r\nA: b\r\nC: d\r\n\r\n", &limits).is_ok());
        assert_eq!(decode(b"0\r\nA:\r\nC:\r\nD:\r\n", &limits), Err(Error::TooManyFields));
    }

    /// RFC 9112 §7.1.1, read plainly.
    fn are_extensions(mut text: &str) -> bool {
        let skip = |text: &'_ str| text.len() - text.trim_start_matches([' ', '\t']).len();
        let token = |text: &str| text.bytes().take_while(|byte| is_token_byte(*byte)).count();
        while !text.is_empty() {
            let Some(rest) = text[skip(text)..].strip_prefix(';') else { return false };
            let name = &rest[skip(rest)..];
            let after = &name[token(name)..];
            if after.len() == name.len() {
                return false;
            }
            let Some(rest) = after[skip(after)..].strip_prefix('=') else {
                text = after;
                continue;
            };
            let value = &rest[skip(rest)..];
            let length = match value.strip_prefix('"') {
                None => token(value),
                Some(inside) => {
                    let mut escaped = false;
                    let end = inside.find(|c| {
                        let ends = c == '"' && !escaped;
                        escaped = c == '\\' && !escaped;
                        ends
                    });
                    end.map_or(0, |end| end + 2)
                }
            };
            if length == 0 {
                return false;
            }
            text = &value[length..];
        }
        true
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn extensions_are_those_of_the_grammar(
            parts in prop::collection::vec(prop::sample::select(
                &[";", ";", "x", "y", "=", "=", "\"", "\"", "\\", " ", "\t", ",", "\u{e9}"][..],
            ), 0..9),
        ) {
            let text = parts.concat();
            let bytes = format!("1{text}\r\nx\r\n0\r\n\r\n");
            let result = decode(bytes.as_bytes(), &Limits::default());
            let is_whole = result.is_ok_and(|(_, end)| end.is_some());
            prop_assert_eq!(is_whole, are_extensions(&text), "{:?}", text);
        }
    }
}
