//! Copies that cost the same wherever source and destination lie.
//!
//! Copies of more than about 2 KiB are left by the C library to the processor's string
//! instructions, which take fifteen times as long (measured on an AMD EPYC) if the destination's
//! place in its page is 1 to 15 bytes behind that of the source. Between a receive buffer and a
//! message or an outbox this is the rule and not the exception: headers are that long.

/// What is copied at once.
pub(crate) const BLOCK_BYTES: usize = 2 << 10;

/// Appends `bytes`.
#[inline]
pub(crate) fn extend(to: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= BLOCK_BYTES {
        to.extend_from_slice(bytes);
    } else {
        extend_long(to, bytes);
    }
}

#[inline(never)]
fn extend_long(to: &mut Vec<u8>, bytes: &[u8]) {
    to.reserve(bytes.len());
    for block in bytes.chunks(BLOCK_BYTES) {
        to.extend_from_slice(block);
    }
}

/// Overwrites `to` with as many bytes.
///
/// # Panics
/// If there are more or fewer.
pub(crate) fn overwrite(to: &mut [u8], bytes: &[u8]) {
    assert_eq!(to.len(), bytes.len(), "as many bytes");
    for (to, block) in to.chunks_mut(BLOCK_BYTES).zip(bytes.chunks(BLOCK_BYTES)) {
        to.copy_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_whole() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i % 251) as u8).collect();
        for length in [0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 5000] {
            let (mut extended, mut overwritten) = (vec![7], vec![0; length]);
            extend(&mut extended, &bytes[..length]);
            overwrite(&mut overwritten, &bytes[..length]);
            assert_eq!((extended[0], &extended[1..]), (7, &bytes[..length]));
            assert_eq!(overwritten, &bytes[..length]);
        }
    }
}
