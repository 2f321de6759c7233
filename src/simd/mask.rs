//! [`mask`]: the masking of RFC 6455 §5.3, which is its own inverse.
//!
//! Written in safe code over blocks whose length the compiler knows, which it turns into vector
//! instructions. Intrinsics did not measure better: the payload is in the first-level cache.

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
    let key = word.to_le_bytes();

    let (blocks, rest) = bytes.as_chunks_mut::<32>();
    for block in blocks {
        for four in block.as_chunks_mut::<4>().0 {
            *four = (u32::from_le_bytes(*four) ^ word).to_le_bytes();
        }
    }
    let (eights, rest) = rest.as_chunks_mut::<8>();
    for eight in eights {
        let twice = u64::from(word) << 32 | u64::from(word);
        *eight = (u64::from_le_bytes(*eight) ^ twice).to_le_bytes();
    }
    let (fours, rest) = rest.as_chunks_mut::<4>();
    if let [four] = fours {
        *four = (u32::from_le_bytes(*four) ^ word).to_le_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
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
        for offset in 0..64 {
            for length in 0..=300 {
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
        for cut in 0..100 {
            let (mut whole, mut pieces) = ([0xa5; 100], [0xa5; 100]);
            mask(&mut whole, key, 0);
            mask(&mut pieces[..cut], key, 0);
            mask(&mut pieces[cut..], key, cut);
            assert_eq!(pieces, whole);
        }
    }
}
