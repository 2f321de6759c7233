//! [`HeadBits`]: what each of 64 bytes of an HTTP head is, one bit for each, so that whole lines
//! are looked at by a handful of instructions (RFC 9110 §5.5, §5.6.2).
//!
//! The classes of a byte are found by its two halves, each of which selects from sixteen values in
//! one register: 32 bytes at a time where the processor has AVX2. Its twin has a table.

/// A set of the places 0 to 63 for each class; the first byte has the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadBits {
    /// LF.
    pub line_feeds: u64,
    /// CR.
    pub returns: u64,
    /// What may not stand in a head at all: controls but for CR, LF and tab.
    pub controls: u64,
    /// What may not stand in a token, CR, LF and all controls among it.
    pub delimiters: u64,
}

impl HeadBits {
    /// Looks at a block.
    ///
    /// ```
    /// let mut block = [b'a'; 64];
    /// block[..11].copy_from_slice(b"Host: a\r\n\r\n");
    /// let bits = sockeye::simd::HeadBits::of(&block);
    /// assert_eq!(bits.line_feeds, 1 << 8 | 1 << 10);
    /// assert_eq!(bits.delimiters, 1 << 4 | 1 << 5 | 0b1111 << 7);
    /// assert_eq!(bits.controls, 0);
    /// ```
    #[inline]
    #[must_use]
    pub fn of(block: &[u8; 64]) -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "what the processor has, the compiler cannot know")]
            // SAFETY: the processor has AVX2.
            return unsafe { avx2::head_bits(block) };
        }
        plain(block)
    }
}

fn plain(block: &[u8; 64]) -> HeadBits {
    let mut bits = HeadBits { line_feeds: 0, returns: 0, controls: 0, delimiters: 0 };
    for byte in block.iter().rev() {
        let class = CLASSES[usize::from(*byte)];
        bits.line_feeds = bits.line_feeds << 1 | u64::from(class & LINE_FEED);
        bits.returns = bits.returns << 1 | u64::from(class & RETURN != 0);
        bits.controls = bits.controls << 1 | u64::from(class & CONTROL != 0);
        bits.delimiters = bits.delimiters << 1 | u64::from(class & DELIMITER != 0);
    }
    bits
}

const LINE_FEED: u8 = 1;
const RETURN: u8 = 2;
const CONTROL: u8 = 4;
const DELIMITER: u8 = 8;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let character = byte as u8;
        classes[byte] = match character {
            b'\n' => LINE_FEED | DELIMITER,
            b'\r' => RETURN | DELIMITER,
            b'\t' => DELIMITER,
            0x00..b' ' | 0x7f => CONTROL | DELIMITER,
            _ if is_token_byte(character) => 0,
            _ => DELIMITER,
        };
        byte += 1;
    }
    classes
};

/// Whether this byte may stand in a token: RFC 9110 §5.6.2.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|')
        || byte == b'~'
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256,
        _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
    };

    use super::{HeadBits, is_token_byte, plain};

    #[target_feature(enable = "avx2")]
    pub(super) fn head_bits(block: &[u8; 64]) -> HeadBits {
        let (Some(low), Some(high)) = (block.first_chunk(), block.last_chunk()) else {
            return plain(block);
        };
        let (low, high) = (classes(load(low)), classes(load(high)));
        let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        HeadBits {
            line_feeds: join(low[0], high[0]),
            returns: join(low[1], high[1]),
            controls: join(low[2], high[2]),
            delimiters: join(low[3], high[3]),
        }
    }

    #[target_feature(enable = "avx2")]
    fn classes(bytes: __m256i) -> [u32; 4] {
        let equal_to = |byte: i8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte));
        let (line_feeds, returns, tabs) = (equal_to(0x0a), equal_to(0x0d), equal_to(0x09));
        let allowed = _mm256_or_si256(_mm256_or_si256(line_feeds, returns), tabs);
        // Unsigned: what the minimum leaves as it was is below a space.
        let below_space = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        let controls = _mm256_or_si256(_mm256_andnot_si256(allowed, below_space), equal_to(0x7f));

        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f));
        // A byte whose highest bit is set selects nothing.
        let by_lower = _mm256_shuffle_epi8(load(&UPPER_HALVES), bytes);
        let by_upper = _mm256_shuffle_epi8(load(&BIT_OF_HALF), upper);
        let tokens = _mm256_and_si256(by_lower, by_upper);
        let delimiters = _mm256_cmpeq_epi8(tokens, _mm256_setzero_si256());

        [line_feeds, returns, controls, delimiters]
            .map(|places| _mm256_movemask_epi8(places).cast_unsigned())
    }

    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 32]) -> __m256i {
        #[expect(unsafe_code, reason = "loads are by pointers")]
        // SAFETY: they are as many as are loaded, and need no alignment.
        unsafe {
            _mm256_loadu_si256(bytes.as_ptr().cast())
        }
    }

    /// For each lower half of a byte, the upper halves with which it is of a token: bit `n` for the
    /// half `n`. Twice, because each lane selects for itself.
    const UPPER_HALVES: [u8; 32] = {
        let mut halves = [0; 32];
        let mut byte = 0_u8;
        while byte < 128 {
            if is_token_byte(byte) {
                halves[(byte & 15) as usize] |= 1 << (byte >> 4);
                halves[(byte & 15) as usize + 16] |= 1 << (byte >> 4);
            }
            byte += 1;
        }
        halves
    };

    const BIT_OF_HALF: [u8; 32] = {
        let mut bits = [0; 32];
        let mut half = 0;
        while half < 8 {
            bits[half] = 1 << half;
            bits[half + 16] = 1 << half;
            half += 1;
        }
        bits
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_plain_twin_for_every_byte_at_every_place() {
        for byte in 0..=255_u8 {
            for place in (0..64).step_by(if cfg!(miri) { 21 } else { 1 }) {
                let mut block = [b'a'; 64];
                block[place] = byte;
                assert_eq!(HeadBits::of(&block), plain(&block), "{byte} at {place}");
            }
        }
        let all: Vec<u8> = (0..=255).collect();
        for block in all.as_chunks().0 {
            assert_eq!(HeadBits::of(block), plain(block));
        }
    }

    #[test]
    fn classes_are_those_of_the_grammar() {
        let of = |byte: u8| {
            let HeadBits { line_feeds, returns, controls, delimiters } = plain(&[byte; 64]);
            [line_feeds, returns, controls, delimiters].map(|bits| {
                assert!(bits == 0 || bits == u64::MAX);
                bits != 0
            })
        };
        for byte in (0..=255_u8).step_by(if cfg!(miri) { 5 } else { 1 }) {
            let is_control = byte.is_ascii_control() && !b"\t\r\n".contains(&byte);
            let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(of(byte), [byte == b'\n', byte == b'\r', is_control, !is_token], "{byte}");
        }
    }
}
