//! [`KeyedSlab`]: values by keys that never reach a later value.

use std::mem;

use super::{
    Key,
    compact_slab::{Link, Slot},
    room,
};

/// A slab whose keys never reach a later entry.
///
/// A slot holds its generation, so that one look at it tells whether a key is current. A slot whose
/// generation is used up is retired: after four billion owners it leaks its few bytes instead of
/// repeating a key.
#[derive(Debug)]
pub struct KeyedSlab<T> {
    entries: Vec<Entry<T>>,
    free: Link,
    len: usize,
    max_len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    // Of the present value, or of the next one.
    generation: u32,
    slot: Slot<T>,
}

/// The slab is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlabFull;

impl<T> KeyedSlab<T> {
    /// What each entry takes.
    pub const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// An empty slab for at most `max_len` entries. It takes address space, and no memory
    /// yet.
    #[must_use]
    pub fn with_limit(max_len: usize) -> Self {
        let max_len = max_len.min(Key::MAX_INDEX as usize);
        let entries = Vec::with_capacity(room::<Entry<T>>().min(max_len));
        Self { entries, free: Link::NONE, len: 0, max_len }
    }

    /// Stores the value that `make` returns for the key it will have.
    ///
    /// # Errors
    /// [`SlabFull`] if the limit is reached; `make` is not called then.
    #[allow(clippy::cast_possible_truncation, reason = "indices stay below Key::MAX_INDEX")]
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Result<Key, SlabFull> {
        let index = self.free.index().map_or(self.entries.len(), |free| free as usize);
        if self.len >= self.max_len || index >= Key::MAX_INDEX as usize {
            return Err(SlabFull);
        }
        let generation = self.entries.get(index).map_or(0, |entry| entry.generation);
        let key = Key::new(index as u32, generation);
        let slot = Slot::Taken(make(key));
        match self.entries.get_mut(index) {
            None => self.entries.push(Entry { generation, slot }),
            Some(entry) => {
                if let Slot::Free(next) = mem::replace(&mut entry.slot, slot) {
                    self.free = next;
                }
            }
        }
        self.len += 1;
        Ok(key)
    }

    /// The entry of this key, unless it has been removed.
    #[inline]
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index())?;
        if entry.generation == key.generation() { entry.slot.get() } else { None }
    }

    /// The entry of this key, unless it has been removed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index())?;
        if entry.generation == key.generation() { entry.slot.get_mut() } else { None }
    }

    /// Removes the entry. The key is inert from now on.
    #[allow(clippy::cast_possible_truncation, reason = "indices stay below Key::MAX_INDEX")]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index())?;
        if entry.generation != key.generation() {
            return None;
        }
        let value = entry.slot.vacate(self.free)?;
        self.len -= 1;
        if let Some(next) = key.generation().checked_add(1) {
            entry.generation = next;
            self.free = Link::to(key.index() as u32);
        }
        Some(value)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of the entry that now lives at this index.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "indices stay below Key::MAX_INDEX")]
    pub fn key_at(&self, index: usize) -> Option<Key> {
        let entry = self.entries.get(index)?;
        entry.slot.get()?;
        Some(Key::new(index as u32, entry.generation))
    }

    /// All entries, in the order of their indices.
    #[allow(clippy::cast_possible_truncation, reason = "indices stay below Key::MAX_INDEX")]
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            Some((Key::new(index as u32, entry.generation), entry.slot.get()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_reaches_nothing_while_its_slot_is_reused() {
        let mut slab = KeyedSlab::with_limit(4);
        let first = slab.insert_with(|_| 0).unwrap();
        assert_eq!(slab.remove(first), Some(0));
        for n in 1..if cfg!(miri) { 50 } else { 1000 } {
            let key = slab.insert_with(|_| n).unwrap();
            assert_eq!(key.index(), first.index());
            assert_eq!(slab.get(first), None);
            assert_eq!(slab.get_mut(first), None);
            assert_eq!(slab.remove(first), None);
            assert_eq!(slab.get(key), Some(&n));
            assert_eq!(slab.remove(key), Some(n));
        }
        assert!(slab.is_empty());
    }

    #[test]
    fn the_limit_is_a_result() {
        let mut slab = KeyedSlab::with_limit(2);
        let a = slab.insert_with(|_| 'a').unwrap();
        slab.insert_with(|_| 'b').unwrap();
        assert_eq!(slab.insert_with(|_| 'c'), Err(SlabFull));
        slab.remove(a);
        assert!(slab.insert_with(|_| 'c').is_ok());
    }

    #[test]
    fn a_slot_with_its_last_generation_is_retired() {
        let mut slab = KeyedSlab::with_limit(8);
        let key = slab.insert_with(|_| ()).unwrap();
        slab.remove(key);
        slab.entries[key.index()].generation = u32::MAX;
        let last = slab.insert_with(|_| ()).unwrap();
        assert_eq!((last.index(), last.generation()), (key.index(), u32::MAX));
        slab.remove(last);
        assert_eq!(slab.get(last), None);
        assert_ne!(slab.insert_with(|_| ()).unwrap().index(), key.index());
    }

    #[test]
    fn iteration_and_lookup_by_index_see_living_entries_only() {
        let mut slab = KeyedSlab::with_limit(8);
        let keys: Vec<Key> = (0..4).map(|n| slab.insert_with(|_| n).unwrap()).collect();
        slab.remove(keys[1]);
        assert_eq!(slab.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(slab.key_at(1), None);
        assert_eq!(slab.key_at(2), Some(keys[2]));
        assert_eq!(slab.key_at(9), None);
    }
}
