//! [`Entries`]: what a backend keeps per socket, indexed by the keys that its caller chose.
//!
//! The bit patterns that a descriptor does not take tell a vacant slot, so that an entry takes what
//! it holds and its generation.

use crate::base::{Key, room};

/// A table by index that checks the generation.
#[derive(Debug)]
pub(super) struct Entries<T>(Vec<Option<(u32, T)>>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::with_capacity(room::<Option<(u32, T)>>()))
    }
}

impl<T> Entries<T> {
    /// What each entry takes.
    pub(super) const ENTRY_BYTES: usize = size_of::<Option<(u32, T)>>();

    pub(super) fn insert(&mut self, key: Key, entry: T) {
        if self.0.len() <= key.index() {
            self.0.resize_with(key.index() + 1, || None);
        }
        let slot = &mut self.0[key.index()];
        debug_assert!(slot.is_none(), "a slot was used again before it was closed");
        *slot = Some((key.generation(), entry));
    }

    pub(super) fn is_vacant(&self, index: usize) -> bool {
        self.0.get(index).is_none_or(Option::is_none)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.0.get_mut(key.index()) {
            Some(Some((generation, entry))) if *generation == key.generation() => Some(entry),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        self.0[key.index()].take().map(|(_, entry)| entry)
    }

    /// The keys of all entries, by index.
    #[allow(clippy::cast_possible_truncation, reason = "indices of keys stay below 2^24")]
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.0.iter().enumerate().filter_map(|(index, slot)| {
            let (generation, _) = slot.as_ref()?;
            Some(Key::new(index as u32, *generation))
        })
    }
}
