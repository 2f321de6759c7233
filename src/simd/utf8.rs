//! [`Utf8`]: UTF-8 checked while it arrives in pieces cut anywhere.
//!
//! Each piece is read once, by `simdutf8`. Its last bytes are looked at first: a character that
//! the cut divides is set aside (three bytes at most) and joined with what follows.
//! An impossible byte is refused as soon as it is seen, even in a character that is not complete.

use std::{error, fmt, str};

/// What is known of a text of which only the beginning has arrived.
///
/// ```
/// use sockeye::simd::Utf8;
///
/// let mut utf8 = Utf8::default();
/// utf8.push(b"K\xc3").unwrap();
/// assert!(utf8.finish().is_err(), "a character is incomplete");
/// utf8.push(b"\xa4se").unwrap();
/// assert!(utf8.finish().is_ok());
/// assert!(utf8.push(b"\xed\xa0").is_err(), "no surrogate begins a character");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8 {
    // Invariant: the first `len` bytes begin a character, and do not complete it.
    pending: [u8; 3],
    len: u8,
}

/// The bytes are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUtf8;

impl Utf8 {
    /// Checks the next piece.
    ///
    /// # Errors
    /// [`InvalidUtf8`] at the first byte that no continuation could make valid. The text is lost
    /// then, whatever follows.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        self.decode(bytes).map(drop)
    }

    /// Checks the next piece, and gives what it completes: the character that the last cut
    /// divided, if any, and then the whole characters of this piece.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<(Option<char>, &'a str), InvalidUtf8> {
        let (joined, bytes) = if self.len == 0 { (None, bytes) } else { self.join(bytes)? };
        let (whole, tail) = bytes.split_at(bytes.len() - incomplete_tail(bytes)?);
        let whole = from_utf8(whole)?;
        if !tail.is_empty() {
            self.pending[..tail.len()].copy_from_slice(tail);
            self.len = u8::try_from(tail.len()).unwrap_or(3);
        }
        Ok((joined, whole))
    }

    /// Completes the pending character, and returns it with the bytes that follow it.
    fn join<'a>(&mut self, bytes: &'a [u8]) -> Result<(Option<char>, &'a [u8]), InvalidUtf8> {
        let mut character = [0; 4];
        let start = usize::from(self.len);
        character[..start].copy_from_slice(&self.pending[..start]);
        for (i, byte) in bytes.iter().enumerate() {
            let end = start + i + 1;
            character[end - 1] = *byte;
            match str::from_utf8(&character[..end]) {
                Ok(text) => {
                    self.len = 0;
                    return Ok((text.chars().next(), &bytes[i + 1..]));
                }
                Err(e) if e.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => {
                    self.pending[end - 1] = *byte;
                    self.len = u8::try_from(end).unwrap_or(3);
                }
            }
        }
        Ok((None, &[]))
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if a character is incomplete.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// How many bytes of an incomplete character have been set aside.
    #[must_use]
    pub fn pending(&self) -> usize {
        usize::from(self.len)
    }
}

/// Checks a whole text.
///
/// # Errors
/// [`InvalidUtf8`] if it is none.
#[inline]
#[expect(unsafe_code, reason = "a check of its own, which the compiler cannot follow")]
pub fn from_utf8(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    if bytes.len() <= SHORT_BYTES && is_ascii(bytes) {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { str::from_utf8_unchecked(bytes) });
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// Whether all of these bytes are below 128: words of them joined, the last one overlapping.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().fold(0, |joined, byte| joined | byte) < 0x80;
    };
    let words = bytes.as_chunks().0.iter();
    let joined = words.fold(0, |joined, word| joined | u64::from_ne_bytes(*word));
    (joined | u64::from_ne_bytes(*last)) & HIGH == 0
}

/// Up to this length looking for ASCII first is worth its time.
const SHORT_BYTES: usize = 128;

/// How many bytes at the end begin a character that they do not complete.
fn incomplete_tail(bytes: &[u8]) -> Result<usize, InvalidUtf8> {
    for (i, byte) in bytes.iter().rev().take(3).enumerate() {
        let expected = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            // ASCII, or a byte that is never valid, which the check of the whole will refuse.
            _ => return Ok(0),
        };
        let found = i + 1;
        if found >= expected {
            return Ok(0);
        }
        // The second byte of a character may make it impossible: ED A0, F4 90, overlong forms.
        return match str::from_utf8(&bytes[bytes.len() - found..]) {
            Err(e) if e.error_len().is_none() => Ok(found),
            _ => Err(InvalidUtf8),
        };
    }
    Ok(0)
}

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid UTF-8")
    }
}

impl error::Error for InvalidUtf8 {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Joins what `decode` gives for these pieces.
    fn decode(pieces: &[&[u8]]) -> Result<String, InvalidUtf8> {
        let (mut utf8, mut text) = (Utf8::default(), String::new());
        for piece in pieces {
            let (joined, whole) = utf8.decode(piece)?;
            text.extend(joined);
            text.push_str(whole);
        }
        utf8.finish().map(|()| text)
    }

    /// The plain twin: the length of the longest beginning that could still become valid.
    fn possible(bytes: &[u8]) -> usize {
        match str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(e) if e.error_len().is_none() => bytes.len(),
            // The lead byte and those after it that were still possible, and then one that is not.
            Err(e) => {
                let start = e.valid_up_to();
                (start + 1..=bytes.len())
                    .find(|end| {
                        str::from_utf8(&bytes[start..*end]).is_err_and(|e| e.error_len().is_some())
                    })
                    .map_or(bytes.len(), |end| end - 1)
            }
        }
    }

    fn agrees_at_every_cut(bytes: &[u8]) {
        let expected = str::from_utf8(bytes).map(str::to_owned).map_err(|_| InvalidUtf8);
        let possible = possible(bytes);
        for cut in 0..=bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(decode(&[left, right]), expected, "{bytes:x?} cut at {cut}");
            // It fails with the first piece that has an impossible byte.
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.push(left).is_ok(), cut <= possible, "{bytes:x?} up to {cut}");
        }
        let singly: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&singly), expected, "{bytes:x?} byte by byte");
    }

    #[test]
    fn sequences_around_every_border_at_every_cut() {
        let borders = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
            0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
        ];
        let step = if cfg!(miri) { 17 } else { 1 };
        for a in (0..=255).step_by(step) {
            agrees_at_every_cut(&[a]);
            for b in borders {
                agrees_at_every_cut(&[a, b]);
            }
        }
        let step_of_leads = if cfg!(miri) { 5 } else { 1 };
        for a in borders.into_iter().filter(|a| *a > 0xbf).step_by(step_of_leads) {
            for b in borders.into_iter().step_by(step) {
                for c in [0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xe2] {
                    agrees_at_every_cut(&[a, b, c]);
                    for d in [0x7f, 0x80, 0xbf, 0xc2, 0xff] {
                        agrees_at_every_cut(&[a, b, c, d]);
                    }
                }
            }
        }
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        for bytes in [&b"\xed\xa0"[..], b"\xf4\x90", b"\xc0", b"\xc1", b"\xe0\x9f", b"\xf0\x8f"] {
            for pieces in [vec![bytes], bytes.chunks(1).collect()] {
                let mut utf8 = Utf8::default();
                assert!(pieces.iter().any(|piece| utf8.push(piece).is_err()), "{bytes:x?}");
            }
        }
    }

    #[test]
    fn short_texts_of_every_length_with_a_byte_at_every_place() {
        let text = "short text ".repeat(13).into_bytes();
        let step = if cfg!(miri) { 11 } else { 1 };
        for length in (0..=text.len()).step_by(step) {
            assert_eq!(from_utf8(&text[..length]).map(str::as_bytes), Ok(&text[..length]));
            for at in (0..length).step_by(step) {
                let mut bytes = text[..length].to_vec();
                for byte in [0x7f, 0x80, 0xc3, 0xff] {
                    bytes[at] = byte;
                    let expected = str::from_utf8(&bytes).map_err(|_| InvalidUtf8);
                    assert_eq!(from_utf8(&bytes), expected);
                }
            }
        }
    }

    #[test]
    fn long_texts_at_every_cut() {
        let text = "The brown fox 🦊 jumps über den faulen Hund, 素早い茶色の狐。 ".repeat(3);
        let text = if cfg!(miri) { text[..111].to_owned() } else { text };
        agrees_at_every_cut(text.as_bytes());
        for (at, byte) in [(0, 0x80), (60, 0xff), (100, 0xed), (text.len() - 1, 0xf0)] {
            let mut broken = text.clone().into_bytes();
            broken[at] = byte;
            agrees_at_every_cut(&broken);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_at_every_cut(
            text in "[a-zß水🦊]{0,40}",
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = text.into_bytes();
            for (at, byte) in noise {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            agrees_at_every_cut(&bytes);
        }
    }
}
