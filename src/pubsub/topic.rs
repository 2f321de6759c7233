//! [`TopicName`], [`TopicId`] and the table of topics: names, members and interest.
//!
//! A topic exists as long as it has local members, remote interest, messages of this turn, or a
//! change of interest that has not been reported. Names are chosen by peers and hence hashed with
//! a seed; the table is never iterated, so that nothing depends on the seed.

use std::{borrow::Borrow, collections::HashMap, fmt, hash::Hash, hash::Hasher, ops::Deref};

use slab::Slab;

use super::{
    InterestChange, NONE, SubscriberId, Variant, WorkerSet, index32, subscriber::Subscribers,
};
use crate::base::{Key, Shared};

/// The name of a topic: any bytes, compared exactly. Cloning shares it.
#[derive(Clone)]
pub struct TopicName(Shared);

impl Deref for TopicName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for TopicName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for TopicName {
    fn from(name: &[u8]) -> Self {
        Self(Shared::from(name))
    }
}

impl PartialEq for TopicName {
    fn eq(&self, other: &Self) -> bool {
        self.0[..] == other.0[..]
    }
}

impl Eq for TopicName {}

impl Hash for TopicName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0[..].hash(state);
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicName({:?})", String::from_utf8_lossy(&self.0))
    }
}

/// Names a topic as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicId(u32);

impl TopicId {
    pub(super) const fn new(index: u32) -> Self {
        Self(index)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: TopicName,
    // Dense, in no particular order: the drain runs over it.
    pub(super) members: Vec<Member>,
    // Invariant: how many members take each variant.
    pub(super) variants: [u32; Variant::COUNT],
    pub(super) workers: WorkerSet,
    // This turn's messages are a list from first to last, linked in the turn; or both are `NONE`.
    pub(super) first_pending: u32,
    pub(super) last_pending: u32,
    // What the other workers have been told last.
    is_reported: bool,
    // Index in `Topics::changes`. Invariant: not `NONE` if and only if `is_reported` is wrong.
    change: u32,
}

/// One subscriber of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) owner: Key,
    pub(super) subscriber: SubscriberId,
    // Index in the subscriber's memberships.
    pub(super) slot: u16,
    pub(super) variant: Variant,
}

impl Topic {
    /// Whether there are messages of this turn from index `mark` on.
    pub(super) fn has_pending(&self, mark: u32) -> bool {
        self.last_pending != NONE && self.last_pending >= mark
    }
}

#[derive(Debug, Default)]
pub(super) struct Topics {
    ids: HashMap<TopicName, TopicId>,
    entries: Slab<Topic>,
    // Topics whose interest has to be reported.
    changes: Vec<TopicId>,
    // Invariant: the number of topics with members.
    local_count: usize,
}

impl Topics {
    /// The topic of this name, made if there is none.
    pub(super) fn intern(&mut self, name: &[u8]) -> TopicId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let name = TopicName::from(name);
        let topic = Topic {
            name: name.clone(),
            members: Vec::new(),
            variants: [0; Variant::COUNT],
            workers: WorkerSet::default(),
            first_pending: NONE,
            last_pending: NONE,
            is_reported: false,
            change: NONE,
        };
        let id = TopicId(index32(self.entries.insert(topic)));
        self.ids.insert(name, id);
        id
    }

    /// Appends a member and returns its position.
    pub(super) fn push_member(&mut self, id: TopicId, member: Member) -> u32 {
        let topic = &mut self[id];
        let position = index32(topic.members.len());
        topic.members.push(member);
        let count = member.variant.of(&mut topic.variants);
        *count = count.saturating_add(1);
        if position == 0 {
            self.local_count = self.local_count.saturating_add(1);
            self.note_change(id);
        }
        position
    }

    /// Removes a member. If another takes its position, that one is returned.
    ///
    /// The caller calls [`Topics::release`] when it no longer needs the topic.
    pub(super) fn swap_remove_member(&mut self, id: TopicId, position: u32) -> Option<Member> {
        let topic = &mut self[id];
        let removed = topic.members.swap_remove(position as usize);
        let count = removed.variant.of(&mut topic.variants);
        *count = count.saturating_sub(1);
        let moved = topic.members.get(position as usize).copied();
        let len = topic.members.len();
        if topic.members.capacity() > SHRINK_ABOVE && len < topic.members.capacity() / 4 {
            topic.members.shrink_to(len.saturating_mul(2));
        }
        if len == 0 {
            self.local_count = self.local_count.saturating_sub(1);
            self.note_change(id);
        }
        moved
    }

    /// Lets go of the topic if nothing holds it any more.
    pub(super) fn release(&mut self, id: TopicId) {
        let topic = &self[id];
        let is_held = !topic.members.is_empty()
            || !topic.workers.is_empty()
            || topic.first_pending != NONE
            || topic.change != NONE;
        if !is_held {
            let topic = self.entries.remove(id.index());
            self.ids.remove(&topic.name);
        }
    }

    /// Takes one change of interest that has to be reported.
    pub(super) fn next_change(&mut self) -> Option<InterestChange> {
        let id = self.changes.pop()?;
        let topic = &mut self[id];
        topic.change = NONE;
        topic.is_reported = !topic.is_reported;
        let change = InterestChange { topic: topic.name.clone(), interested: topic.is_reported };
        self.release(id);
        Some(change)
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<TopicId> {
        self.ids.get(name).copied()
    }

    /// Where in the topic's list of members the subscriber is: looked up in the shorter list.
    pub(super) fn position(
        &self,
        id: TopicId,
        subscriber: SubscriberId,
        subscribers: &Subscribers,
    ) -> Option<u32> {
        let members = &self[id].members;
        let memberships = subscribers[subscriber].memberships.as_slice();
        if members.len() < memberships.len() {
            return members.iter().position(|m| m.subscriber == subscriber).map(index32);
        }
        memberships.iter().find(|m| m.topic == id).map(|m| m.position)
    }

    /// Number of topics, for whatever reason they exist.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of topics with members.
    pub(super) fn local_count(&self) -> usize {
        self.local_count
    }

    // A topic that goes to and fro before it was reported leaves no trace.
    fn note_change(&mut self, id: TopicId) {
        let next = index32(self.changes.len());
        let topic = &mut self[id];
        if topic.change == NONE {
            topic.change = next;
            self.changes.push(id);
            return;
        }
        let change = topic.change;
        topic.change = NONE;
        self.changes.swap_remove(change as usize);
        if let Some(&moved) = self.changes.get(change as usize) {
            self[moved].change = change;
        }
    }
}

impl std::ops::Index<TopicId> for Topics {
    type Output = Topic;

    #[expect(clippy::indexing_slicing, reason = "whoever has an id holds its topic")]
    fn index(&self, id: TopicId) -> &Topic {
        &self.entries[id.index()]
    }
}

impl std::ops::IndexMut<TopicId> for Topics {
    #[expect(clippy::indexing_slicing, reason = "whoever has an id holds its topic")]
    fn index_mut(&mut self, id: TopicId) -> &mut Topic {
        &mut self.entries[id.index()]
    }
}

/// A list of members smaller than this keeps its memory until the topic goes.
const SHRINK_ABOVE: usize = 64;
