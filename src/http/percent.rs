//! Percent-decoding (RFC 3986 §2.1), strict: what cannot be decoded is an error, not a guess.

use std::{borrow::Cow, fmt};

/// Decodes the percent-encoded bytes of a path segment or parameter. Text without any is lent.
///
/// ```
/// use sockeye::http::{PercentError, decode};
/// assert_eq!(decode("a%20b%C3%A9").as_deref(), Ok("a bé"));
/// assert_eq!(decode("100%"), Err(PercentError::Escape));
/// ```
///
/// # Errors
/// [`PercentError`] if a `%` is not followed by two hexadecimal digits, or if the result is not
/// UTF-8.
pub fn decode(text: &str) -> Result<Cow<'_, str>, PercentError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    decode_bytes(text.as_bytes(), false).map(Cow::Owned)
}

/// Decodes a name or value of a query: as [`decode`], and `+` is a space.
pub(super) fn decode_form(text: &str) -> Result<Cow<'_, str>, PercentError> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    decode_bytes(text.as_bytes(), true).map(Cow::Owned)
}

fn decode_bytes(bytes: &[u8], plus_is_space: bool) -> Result<String, PercentError> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => {
                let high = hex(rest.next()).ok_or(PercentError::Escape)?;
                let low = hex(rest.next()).ok_or(PercentError::Escape)?;
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            byte => *byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| PercentError::Utf8)
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    u8::try_from(char::from(*byte?).to_digit(16)?).ok()
}

/// Why text cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PercentError {
    /// A `%` that is not followed by two hexadecimal digits.
    Escape,
    /// The decoded bytes are not UTF-8.
    Utf8,
}

impl fmt::Display for PercentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "a percent sign is not followed by two hexadecimal digits",
            Self::Utf8 => "percent-encoded bytes are not UTF-8",
        })
    }
}

impl std::error::Error for PercentError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_without_escapes_is_lent() {
        assert!(matches!(decode("plain+text"), Ok(Cow::Borrowed("plain+text"))));
        assert!(matches!(decode_form("plain"), Ok(Cow::Borrowed("plain"))));
        assert_eq!(decode_form("a+b%2B").as_deref(), Ok("a b+"));
    }

    #[test]
    fn faults_are_errors() {
        for text in ["%", "%4", "a%4", "%zz", "%-1", "%+1", "% 1", "%%41", "%é"] {
            assert_eq!(decode(text), Err(PercentError::Escape), "{text}");
        }
        for text in ["%ff", "%C3", "%C3x%A9", "%ED%A0%80", "%C0%AF"] {
            assert_eq!(decode(text), Err(PercentError::Utf8), "{text}");
        }
    }

    proptest! {
        #[test]
        fn encoded_text_comes_back(text in any::<String>(), lower: bool) {
            let encode = |b: u8| if lower { format!("%{b:02x}") } else { format!("%{b:02X}") };
            let encoded: String = text.bytes().map(encode).collect();
            prop_assert_eq!(decode(&encoded), Ok(Cow::Owned(text)));
        }
    }
}
