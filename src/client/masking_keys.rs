//! [`MaskingKeys`]: a new masking key for each frame (RFC 6455 §5.3, §10.3).

use std::io;

use crate::reactor;

/// Draws masking keys.
///
/// "The masking key needs to be unpredictable", so that who chooses a payload cannot choose the
/// bytes on the wire. So the keys are not stretched out of a seed by a generator of ours: they
/// come from the kernel's, 64 at a time, which costs a few nanoseconds for each frame.
#[derive(Debug)]
pub(super) struct MaskingKeys {
    pool: [u8; POOL_BYTES],
    used: usize,
}

impl MaskingKeys {
    pub(super) fn new() -> Self {
        Self { pool: [0; POOL_BYTES], used: POOL_BYTES }
    }

    /// # Errors
    /// If the kernel has no randomness.
    pub(super) fn next(&mut self) -> io::Result<[u8; 4]> {
        if self.used == POOL_BYTES {
            self.pool = reactor::random()?;
            self.used = 0;
        }
        let (keys, _) = self.pool.as_chunks::<4>();
        let key = keys[self.used / 4];
        self.used += 4;
        Ok(key)
    }
}

/// The most that getrandom(2) hands out without being interrupted.
const POOL_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_repeat() {
        let mut keys = MaskingKeys::new();
        let mut drawn: Vec<_> = (0..300).map(|_| keys.next().unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        // Two equal ones among 300 happen once in 100,000 runs, three pairs never.
        assert!(drawn.len() > 297);
    }
}
