//! [`CompactSlab`]: values by index, as the `slab` crate has them, in no more bytes than they take:
//! that one adds 16 to a value of none.

use std::{mem, num::NonZeroU32};

use super::room;

/// Values that stay where they are until they are removed. A slot that has become free is used
/// again before the slab grows.
///
/// Who keeps an index forgets it when it removes the value: see [`KeyedSlab`](super::KeyedSlab) for
/// keys that may outlive theirs.
#[derive(Debug)]
pub struct CompactSlab<T> {
    slots: Vec<Slot<T>>,
    free: Link,
    len: usize,
}

impl<T> CompactSlab<T> {
    /// Stores a value.
    ///
    /// # Panics
    /// If there are four billion.
    pub fn insert(&mut self, value: T) -> u32 {
        let Some(index) = self.free.index() else {
            let index = u32::try_from(self.slots.len()).expect("less than four billion values");
            self.slots.push(Slot::Taken(value));
            self.len += 1;
            return index;
        };
        let slot = &mut self.slots[index as usize];
        if let Slot::Free(next) = mem::replace(slot, Slot::Taken(value)) {
            self.free = next;
        }
        self.len += 1;
        index
    }

    /// The value at this index.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.get_mut()
    }

    /// Removes the value at this index.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.slots.get_mut(index as usize)?.vacate(self.free)?;
        self.free = Link::to(index);
        self.len -= 1;
        Some(value)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Default for CompactSlab<T> {
    fn default() -> Self {
        Self { slots: Vec::with_capacity(room::<Slot<T>>()), free: Link::NONE, len: 0 }
    }
}

/// The place of a value. It takes no more than the value, if that has bit patterns to spare, and
/// four bytes if the value takes none.
#[derive(Debug)]
pub(super) enum Slot<T> {
    Taken(T),
    // With the next one that is free.
    Free(Link),
}

impl<T> Slot<T> {
    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Self::Taken(value) => Some(value),
            Self::Free(_) => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Taken(value) => Some(value),
            Self::Free(_) => None,
        }
    }

    /// Takes the value out, if there is one. The slot is free then, and before `next`.
    pub(super) fn vacate(&mut self, next: Link) -> Option<T> {
        if let Self::Free(_) = self {
            return None;
        }
        match mem::replace(self, Self::Free(next)) {
            Self::Taken(value) => Some(value),
            Self::Free(_) => None,
        }
    }
}

/// The index of a slot, or none.
// One more than the index, so that zero is left to tell a link from a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(NonZeroU32);

impl Link {
    pub(super) const NONE: Self = Self(NonZeroU32::MAX);

    pub(super) fn to(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    #[inline]
    pub(super) fn index(self) -> Option<u32> {
        (self != Self::NONE).then(|| self.0.get() - 1)
    }
}

const _: () = assert!(size_of::<Slot<()>>() == 4);
const _: () = assert!(size_of::<Slot<Box<u64>>>() == 16);
const _: () = assert!(size_of::<Slot<String>>() == 24);

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_free_slot_is_used_before_the_slab_grows() {
        let mut slab = CompactSlab::default();
        let indices: Vec<u32> = "abcd".chars().map(|value| slab.insert(value)).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
        for index in [1, 3, 0] {
            assert!(slab.remove(index).is_some());
            assert_eq!((slab.remove(index), slab.get_mut(index)), (None, None));
        }
        assert_eq!([(); 4].map(|()| slab.insert('x')), [0, 3, 1, 4]);
        assert_eq!((slab.get_mut(2).copied(), slab.get_mut(9)), (Some('c'), None));
    }

    #[test]
    fn values_of_no_size_have_slots_too() {
        let mut slab = CompactSlab::default();
        let indices = [(); 3].map(|()| slab.insert(()));
        assert_eq!(slab.remove(indices[1]), Some(()));
        assert_eq!((slab.remove(indices[1]), slab.len()), (None, 2));
        assert_eq!(slab.insert(()), indices[1]);
    }

    #[test]
    fn behaves_like_a_map() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (mut slab, mut model) = (CompactSlab::default(), BTreeMap::new());
        for number in 0..if cfg!(miri) { 500 } else { 10_000_u64 } {
            let index = draw(64) as u32;
            if draw(2) == 0 {
                assert_eq!(slab.remove(index), model.remove(&index));
            } else if slab.len() < 64 {
                let index = slab.insert(number);
                assert_eq!(model.insert(index, number), None);
            }
            assert_eq!(slab.get_mut(index).copied(), model.get(&index).copied());
            assert_eq!((slab.len(), slab.is_empty()), (model.len(), model.is_empty()));
        }
    }
}
