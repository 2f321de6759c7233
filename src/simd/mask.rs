//! [`mask`]: the masking of RFC 6455 §5.3, which is its own inverse.
//!
//! Written in safe code over blocks whose length the compiler knows, which it turns into vector
//! instructions: those that every processor has, and for long payloads those that this one has.
//! Intrinsics did not measure better: the payload is in the first-level cache.

/// Combines `bytes` with the masking key by exclusive or, in place.
///
/// `phase` is the position of the first byte in the payload: a payload that arrives in pieces is
/// unmasked piece by piece. Only its remainder by four matters.
///
/// ```
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58"; // RFC 6455 §5.7
/// sockeye::simd::mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
/// assert_eq!(&payload, b"Hello");
/// ```
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    // Little-endian whatever the machine, so that turning right drops the key's first bytes.
    let rotation = [0, 8, 16, 24][phase & 3];
    let word = u32::from_le_bytes(key).rotate_right(rotation);

    if bytes.len() < 32 {
        mask_short(bytes, word);
    } else {
        mask_many(bytes, word);
    }
}

// Not inlined: what it needs of registers would cost short payloads something.
#[inline(never)]
fn mask_many(bytes: &mut [u8], word: u32) {
    let (blocks, rest) = bytes.as_chunks_mut::<32>();
    if blocks.len() < LONG_BLOCKS {
        mask_blocks(blocks, word);
    } else {
        mask_long(blocks, word);
    }
    mask_short(rest, word);
}

#[inline]
fn mask_blocks(blocks: &mut [[u8; 32]], word: u32) {
    for block in blocks {
        for four in block.as_chunks_mut::<4>().0 {
            *four = (u32::from_le_bytes(*four) ^ word).to_le_bytes();
        }
    }
}

/// The same, with the widest instructions that are worth asking for.
#[inline(never)]
fn mask_long(blocks: &mut [[u8; 32]], word: u32) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "what the processor has, the compiler cannot know")]
        // SAFETY: the processor has AVX2.
        return unsafe { mask_blocks_avx2(blocks, word) };
    }
    mask_blocks(blocks, word);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn mask_blocks_avx2(blocks: &mut [[u8; 32]], word: u32) {
    mask_blocks(blocks, word);
}

/// From half a kilobyte on, it is worth asking.
const LONG_BLOCKS: usize = 16;

/// Masks fewer than 32 bytes, the way most messages are: without a loop if there are four or more.
///
/// ```text
/// 20 bytes   0       4       8       12      16      20
///            ├──── front ────┼──── second ───┤            what overlaps is read before it is
///                    ├──── third ────┼──── back ─────┤    written, and gets the same from both
/// ```
#[inline]
fn mask_short(bytes: &mut [u8], word: u32) {
    let length = bytes.len();
    if length >= 16 {
        let front = masked(bytes, 0, double(word));
        let second = masked(bytes, 8, double(word));
        let third = masked(bytes, length - 16, double(word.rotate_right(phase_bits(length))));
        let back = masked(bytes, length - 8, double(word.rotate_right(phase_bits(length))));
        put(bytes, 0, front);
        put(bytes, 8, second);
        put(bytes, length - 16, third);
        put(bytes, length - 8, back);
    } else if length >= 8 {
        let front = masked(bytes, 0, double(word));
        let back = masked(bytes, length - 8, double(word.rotate_right(phase_bits(length))));
        put(bytes, 0, front);
        put(bytes, length - 8, back);
    } else {
        for (byte, key) in bytes.iter_mut().zip(word.to_le_bytes().iter().cycle()) {
            *byte ^= key;
        }
    }
}

/// How far the key has turned at a place that is `length` minus a multiple of four.
#[inline]
fn phase_bits(length: usize) -> u32 {
    [0, 8, 16, 24][length & 3]
}

#[inline]
fn double(word: u32) -> u64 {
    u64::from(word) << 32 | u64::from(word)
}

#[inline]
fn masked(bytes: &[u8], at: usize, twice: u64) -> [u8; 8] {
    let eight = bytes[at..].first_chunk().copied().unwrap_or_default();
    (u64::from_le_bytes(eight) ^ twice).to_le_bytes()
}

#[inline]
fn put(bytes: &mut [u8], at: usize, eight: [u8; 8]) {
    if let Some(place) = bytes[at..].first_chunk_mut() {
        *place = eight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.3, as it stands there.
    fn scalar(bytes: &mut [u8], key: [u8; 4], phase: usize) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[(phase + i) % 4];
        }
    }

    #[test]
    fn equals_the_scalar_twin_at_every_offset_length_and_phase() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let original: Vec<u8> = (0..364_u32).map(|i| (i * 31 % 251) as u8).collect();
        let (offset_step, length_step) = if cfg!(miri) { (13, 23) } else { (1, 1) };
        for offset in (0..64).step_by(offset_step) {
            for length in (0..=300).step_by(length_step) {
                let phase = offset + length;
                let mut expected = original.clone();
                let mut masked = original.clone();
                scalar(&mut expected[offset..offset + length], key, phase);
                mask(&mut masked[offset..offset + length], key, phase);
                assert_eq!(masked, expected, "offset {offset}, length {length}");
            }
        }
    }

    #[test]
    fn pieces_are_masked_like_the_whole() {
        let key = [1, 2, 4, 8];
        for cut in (0..100).step_by(if cfg!(miri) { 7 } else { 1 }) {
            let (mut whole, mut pieces) = ([0xa5; 100], [0xa5; 100]);
            mask(&mut whole, key, 0);
            mask(&mut pieces[..cut], key, 0);
            mask(&mut pieces[cut..], key, cut);
            assert_eq!(pieces, whole);
        }
    }
}
