//! [`KeyedSlab`]: the `slab` crate plus a generation per slot, so that a stale key is inert.

use slab::Slab;

use super::Key;

/// A slab whose keys never reach a later entry.
///
/// Generations live outside the entries, because they outlast them. A slot whose generation is
/// used up is retired: after four billion owners it leaks its few bytes instead of repeating a key.
#[derive(Debug)]
pub struct KeyedSlab<T> {
    entries: Slab<Option<T>>,
    // Invariant: as long as `entries` ever was; the generation of the slot's present or next entry.
    generations: Vec<u32>,
    len: usize,
    max_len: usize,
}

/// The slab is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlabFull;

impl<T> KeyedSlab<T> {
    /// An empty slab for at most `max_len` entries. Nothing is allocated yet.
    #[must_use]
    pub fn with_limit(max_len: usize) -> Self {
        let max_len = max_len.min(Key::MAX_INDEX as usize);
        Self { entries: Slab::new(), generations: Vec::new(), len: 0, max_len }
    }

    /// Stores the value that `make` returns for the key it will have.
    ///
    /// # Errors
    /// [`SlabFull`] if the limit is reached; `make` is not called then.
    #[allow(clippy::cast_possible_truncation, reason = "indices stay below Key::MAX_INDEX")]
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Result<Key, SlabFull> {
        if self.len >= self.max_len {
            return Err(SlabFull);
        }
        let entry = self.entries.vacant_entry();
        let index = entry.key();
        if index >= Key::MAX_INDEX as usize {
            return Err(SlabFull);
        }
        if index == self.generations.len() {
            self.generations.push(0);
        }
        let key = Key::new(index as u32, self.generations[index]);
        entry.insert(Some(make(key)));
        self.len += 1;
        Ok(key)
    }

    /// The entry of this key, unless it has been removed.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.is_current(key).then(|| self.entries.get(key.index())?.as_ref())?
    }

    /// The entry of this key, unless it has been removed.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        if !self.is_current(key) {
            return None;
        }
        self.entries.get_mut(key.index())?.as_mut()
    }

    /// Removes the entry. The key is inert from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        if !self.is_current(key) {
            return None;
        }
        let value = self.entries.get_mut(key.index())?.take()?;
        self.len -= 1;
        if let Some(next) = key.generation().checked_add(1) {
            self.generations[key.index()] = next;
            self.entries.remove(key.index());
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
        self.entries.get(index)?.as_ref()?;
        Some(Key::new(index as u32, self.generations[index]))
    }

    /// All entries, in the order of their indices.
    #[allow(clippy::cast_possible_truncation, reason = "indices stay below Key::MAX_INDEX")]
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().filter_map(|(index, entry)| {
            Some((Key::new(index as u32, self.generations[index]), entry.as_ref()?))
        })
    }

    fn is_current(&self, key: Key) -> bool {
        self.generations.get(key.index()) == Some(&key.generation())
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
        for n in 1..1000 {
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
        slab.generations[key.index()] = u32::MAX;
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
