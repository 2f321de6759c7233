//! The alphabets of RFC 9110 §5.5 and §5.6.2: tokens and field values.

use crate::simd;

/// Whether these bytes are a token: a method, or a field name.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether this byte may stand in a token.
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)) == Some(&true)
}

/// Whether these bytes may be sent as a field value: without CR, LF, NUL and other controls, and
/// without white space around (a recipient would strip it).
pub(crate) fn is_field_value(bytes: &[u8]) -> bool {
    let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    are_of_value(bytes) && !edge(bytes.first()) && !edge(bytes.last())
}

/// Blocks of a length that the compiler knows, so that it can use vectors; the last one may overlap
/// the one before.
fn are_of_value(bytes: &[u8]) -> bool {
    let are_sound = |bytes: &[u8]| {
        bytes.iter().fold(true, |are_sound, byte| are_sound & is_field_value_byte(*byte))
    };
    match bytes.last_chunk::<16>() {
        Some(last) => {
            let (blocks, _) = bytes.as_chunks::<16>();
            blocks.iter().all(|block| are_sound(block)) && are_sound(last)
        }
        None => are_sound(bytes),
    }
}

/// Whether this byte may stand in a field value: visible, space, tab, or obs-text.
pub(super) fn is_field_value_byte(byte: u8) -> bool {
    (byte >= b' ') & (byte != 0x7f) | (byte == b'\t')
}

#[expect(clippy::indexing_slicing, reason = "the compiler does it")]
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = simd::is_token_byte(byte);
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_the_grammar() {
        let bytes: Vec<u8> = (0..=255).filter(|byte| is_token_byte(*byte)).collect();
        assert_eq!(
            String::from_utf8(bytes).as_deref(),
            Ok("!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~")
        );
        assert!(is_token(b"x-y") && !is_token(b"") && !is_token(b"x y"));
    }

    #[test]
    fn values_have_no_controls_and_no_space_around() {
        for value in [&b""[..], b"a", b"a\tb c", b"caf\xc3\xa9", b"\xff"] {
            assert!(is_field_value(value), "{value:?}");
        }
        for value in [&b" a"[..], b"a ", b"\ta", b"a\r\nb", b"a\nb", b"a\rb", b"\0", b"\x7f"] {
            assert!(!is_field_value(value), "{value:?}");
        }
    }
}
