//! [`SubscriberId`] and the table of subscribers: who they are and which topics they have.
//!
//! A subscriber of one topic costs 40 bytes here, 16 in the topic's list of members and 4 in the
//! drain's scratch memory; two topics are kept inline, more on the heap.

use std::{mem, num::NonZeroU32};

use super::{Error, TopicId, Variant, index32};
use crate::base::Key;

/// Names a subscriber. Its owner keeps it from `add` to `remove`, and forgets it then, because
/// the number is given to another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SubscriberId(NonZeroU32);

impl SubscriberId {
    // One more than the index, so that an `Option` of it takes no more than itself.
    fn new(index: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index32(index)))
    }

    pub(super) const fn index(self) -> usize {
        // It is not zero: nothing wraps.
        self.0.get().wrapping_sub(1) as usize
    }
}

#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) owner: Key,
    pub(super) memberships: Memberships,
    // Messages of this turn before this index are done. Invariant: zero unless `individual`.
    pub(super) mark: u32,
    pub(super) variant: Variant,
    // Invariant: whether the turn's list of individuals has this id, which outlives the owner.
    pub(super) individual: bool,
    is_live: bool,
}

/// One topic of a subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Membership {
    pub(super) topic: TopicId,
    // Index in the topic's list of members.
    pub(super) position: u32,
}

/// The topics of a subscriber, by slot.
#[derive(Debug, Default)]
pub(super) enum Memberships {
    #[default]
    None,
    One(Membership),
    Two([Membership; 2]),
    Many(Vec<Membership>),
}

#[derive(Debug)]
pub(super) struct Subscribers {
    entries: Vec<Subscriber>,
    free: Vec<SubscriberId>,
    max_len: usize,
}

impl Subscribers {
    pub(super) fn with_limit(max_len: usize) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), max_len }
    }

    /// A new subscriber without topics. It needs no mark even if the number had another owner in
    /// this turn, because it gets one when it subscribes to a topic with messages.
    pub(super) fn insert(&mut self, owner: Key, variant: Variant) -> Result<SubscriberId, Error> {
        if self.len() >= self.max_len {
            return Err(Error::TooManySubscribers);
        }
        if let Some(id) = self.free.pop() {
            let entry = &mut self[id];
            entry.owner = owner;
            entry.variant = variant;
            entry.mark = 0;
            entry.is_live = true;
            return Ok(id);
        }
        let id = SubscriberId::new(self.entries.len());
        let memberships = Memberships::None;
        let (mark, individual, is_live) = (0, false, true);
        self.entries.push(Subscriber { owner, memberships, mark, variant, individual, is_live });
        Ok(id)
    }

    /// The caller has emptied the memberships.
    pub(super) fn remove(&mut self, id: SubscriberId) {
        debug_assert!(self[id].memberships.as_slice().is_empty());
        self[id].is_live = false;
        self.free.push(id);
    }

    pub(super) fn contains(&self, id: SubscriberId) -> bool {
        self.entries.get(id.index()).is_some_and(|entry| entry.is_live)
    }

    /// Number of subscribers.
    pub(super) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len())
    }

    /// One more than the highest index ever used.
    pub(super) fn bound(&self) -> usize {
        self.entries.len()
    }
}

impl std::ops::Index<SubscriberId> for Subscribers {
    type Output = Subscriber;

    #[expect(clippy::indexing_slicing, reason = "ids are made here, and entries never go")]
    fn index(&self, id: SubscriberId) -> &Subscriber {
        &self.entries[id.index()]
    }
}

impl std::ops::IndexMut<SubscriberId> for Subscribers {
    #[expect(clippy::indexing_slicing, reason = "ids are made here, and entries never go")]
    fn index_mut(&mut self, id: SubscriberId) -> &mut Subscriber {
        &mut self.entries[id.index()]
    }
}

impl Memberships {
    pub(super) fn push(&mut self, new: Membership) {
        *self = match mem::take(self) {
            Self::None => Self::One(new),
            Self::One(first) => Self::Two([first, new]),
            Self::Two([first, second]) => Self::Many(vec![first, second, new]),
            Self::Many(mut all) => {
                all.push(new);
                Self::Many(all)
            }
        };
    }

    /// Removes the membership in this slot. If another takes its slot, that one is returned.
    pub(super) fn swap_remove(&mut self, slot: usize) -> Option<Membership> {
        *self = match mem::take(self) {
            Self::Many(mut all) => {
                all.swap_remove(slot);
                // Not at two, so that going to and fro between two and three allocates nothing.
                if let [last] = all[..] { Self::One(last) } else { Self::Many(all) }
            }
            Self::Two([_, other]) if slot == 0 => Self::One(other),
            Self::Two([other, _]) => Self::One(other),
            Self::One(_) | Self::None => Self::None,
        };
        self.as_slice().get(slot).copied()
    }

    pub(super) fn as_slice(&self) -> &[Membership] {
        match self {
            Self::None => &[],
            Self::One(first) => std::slice::from_ref(first),
            Self::Two(both) => both,
            Self::Many(all) => all,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Membership] {
        match self {
            Self::None => &mut [],
            Self::One(first) => std::slice::from_mut(first),
            Self::Two(both) => both,
            Self::Many(all) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_subscriber_is_small() {
        assert!(size_of::<Memberships>() <= 24);
        assert!(size_of::<Subscriber>() <= 40);
        let whole = size_of::<Subscriber>() + size_of::<super::super::topic::Member>() + 4;
        assert!(whole <= 60, "{whole}");
    }

    #[test]
    fn memberships_behave_like_a_vec() {
        let membership = |n| Membership { topic: TopicId::new(n), position: n };
        let mut memberships = Memberships::default();
        let mut model = Vec::new();
        for round in 0..200_u32 {
            if model.is_empty() || (round / 7) % 2 == 0 {
                memberships.push(membership(round));
                model.push(membership(round));
            } else {
                let slot = round as usize % model.len();
                model.swap_remove(slot);
                assert_eq!(memberships.swap_remove(slot), model.get(slot).copied());
            }
            assert_eq!(memberships.as_slice(), model);
            assert_eq!(memberships.as_mut_slice(), model);
        }
    }

    #[test]
    fn numbers_are_used_again() {
        let mut subscribers = Subscribers::with_limit(2);
        let key = Key::new(1, 0);
        let first = subscribers.insert(key, Variant::PLAIN).unwrap();
        subscribers.insert(key, Variant::PLAIN).unwrap();
        let full = subscribers.insert(key, Variant::PLAIN);
        assert_eq!(full, Err(Error::TooManySubscribers));
        subscribers.remove(first);
        assert!(!subscribers.contains(first));
        assert_eq!(subscribers.insert(key, Variant::PLAIN), Ok(first));
        assert_eq!(subscribers.bound(), 2);
    }
}
