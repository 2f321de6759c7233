//! [`Key`]: the name of a slot that is never passed on to the slot's next owner.

use std::fmt;

/// Names one entry of a [`KeyedSlab`](super::KeyedSlab), for as long as that entry lives.
///
/// The slot's index may be used again; the pair of index and generation is not. Packed, a key
/// takes 56 bits: 24 of index and 32 of generation, so that 8 are left for whoever stores it
/// (an operation code in a ring's `user_data`, a worker's number in a socket id).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    // Invariant: below `Key::MAX_INDEX`.
    index: u32,
    generation: u32,
}

impl Key {
    /// Number of distinct indices: a slab holds at most this many entries.
    pub const MAX_INDEX: u32 = 1 << 24;

    /// # Panics
    /// If `index` is not below [`Key::MAX_INDEX`].
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        assert!(index < Self::MAX_INDEX);
        Self { index, generation }
    }

    /// The slot.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How many owners the slot had before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Generation in bits 24 to 55, index in bits 0 to 23; bits 56 to 63 are zero.
    #[must_use]
    pub const fn pack(self) -> u64 {
        (self.generation as u64) << 24 | self.index as u64
    }

    /// The inverse of [`Key::pack`]; bits 56 to 63 are ignored.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "takes the fields apart")]
    pub const fn unpack(packed: u64) -> Self {
        Self { index: (packed & 0xff_ffff) as u32, generation: (packed >> 24) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_reversible_and_leaves_the_top_byte() {
        for key in [Key::new(0, 0), Key::new(Key::MAX_INDEX - 1, u32::MAX), Key::new(7, 1 << 31)] {
            assert_eq!(key.pack() >> 56, 0);
            assert_eq!(Key::unpack(key.pack()), key);
            assert_eq!(Key::unpack(key.pack() | 0xab << 56), key);
        }
    }
}
