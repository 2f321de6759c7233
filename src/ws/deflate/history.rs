//! [`History`]: the end of what was said before, to which the next message may refer.

/// The last bytes of the messages of one direction, for context takeover (RFC 7692 §7.1.1).
///
/// ```
/// use sockeye::ws::deflate::History;
/// let mut history = History::new(9);
/// history.push(&[b'a'; 500]);
/// history.push(b"the end of it");
/// assert_eq!(history.bytes().len(), 512);
/// assert!(history.bytes().ends_with(b"aathe end of it"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct History {
    // Invariant: at most as many as the window has.
    bytes: Vec<u8>,
    window_bits: u8,
}

impl History {
    /// Nothing yet, and never more than 2 to the power of `window_bits` bytes, up to 32 KiB.
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        Self { bytes: Vec::new(), window_bits: window_bits.min(15) }
    }

    /// Adds what was said, and forgets what the window has no room for.
    pub fn push(&mut self, text: &[u8]) {
        let window = 1_usize << self.window_bits;
        // Of a text that is longer, what the window has room for: the end.
        let text = text.rchunks(window).next().unwrap_or_default();
        let kept = window.saturating_sub(text.len()).min(self.bytes.len());
        self.bytes.drain(..self.bytes.len().saturating_sub(kept));
        let length = kept.saturating_add(text.len());
        if length > self.bytes.capacity() {
            // Whoever says little doubles its memory, and whoever says more has all of the window
            // at once: what each step leaves behind may be of no use to anybody else, so that it
            // shall not come to more than 12 KiB.
            let capacity = match length {
                ..=SMALL_BYTES => {
                    length.max(self.bytes.capacity().saturating_mul(2)).min(SMALL_BYTES)
                }
                _ => window,
            };
            self.bytes.reserve_exact(capacity.min(window).saturating_sub(kept));
        }
        self.bytes.extend_from_slice(text);
    }

    /// Forgets everything, and gives the memory back.
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
    }

    /// What the next message may refer to.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The memory that it takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Up to here memory follows what was said.
const SMALL_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_the_last_bytes_in_no_more_memory_than_the_window(
            bits in 8..=10_u8,
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..20),
        ) {
            let mut history = History::new(bits);
            let mut all = Vec::new();
            for text in &texts {
                history.push(text);
                all.extend_from_slice(text);
                let window = 1 << bits;
                prop_assert_eq!(history.bytes(), &all[all.len().saturating_sub(window)..]);
                prop_assert!(history.held_bytes() <= window);
            }
            history.clear();
            prop_assert_eq!((history.bytes().len(), history.held_bytes()), (0, 0));
        }
    }

    #[test]
    fn little_is_left_behind_as_it_grows() {
        for size in [1, 100, 1000, 1024, 4095, 4096, 4097, 40_000] {
            let mut history = History::new(15);
            let (mut held, mut left_behind) = (0, 0);
            let mut said = 0;
            while said < 40_000 {
                history.push(&vec![b'a'; size]);
                said += size;
                if history.held_bytes() != held {
                    left_behind += held;
                    held = history.held_bytes();
                }
                assert!(said > SMALL_BYTES || held <= SMALL_BYTES);
            }
            assert!(left_behind < 12 << 10, "{left_behind} bytes in pieces of {size}");
            assert_eq!(held, 32 << 10);
        }
    }
}
