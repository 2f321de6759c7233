//! [`Fanout`]: hands a turn's messages to the members of its topics, each set built once.
//!
//! The drawing in the module's head says how. What is kept between turns is scratch memory.

use super::{
    Batch, Deliveries, NONE, Sink, SubscriberId, TopicId, Variant,
    batch::{Coalesced, Individual, Selection},
    index32,
    subscriber::{Subscriber, Subscribers},
    topic::{Member, Topics},
    turn::Turn,
};
use crate::base::Key;

#[derive(Debug)]
pub(super) struct Fanout {
    grouping: Grouping,
    indices: Vec<u32>,
    positions: Vec<u32>,
    // The messages of the present set, or of the only topic.
    set: Coalesced,
    selection: Selection,
}

impl Fanout {
    pub(super) fn with_limit(max_sets: usize) -> Self {
        Self {
            grouping: Grouping::with_limit(max_sets),
            indices: Vec::new(),
            positions: Vec::new(),
            set: Coalesced::default(),
            selection: Selection::default(),
        }
    }

    /// Delivers everything that was published in this turn.
    pub(super) fn drain(
        &mut self,
        topics: &Topics,
        subscribers: &Subscribers,
        turn: &Turn,
        sink: &mut impl Sink,
    ) -> Deliveries {
        let mut deliveries = Deliveries::default();
        match turn.touched[..] {
            [] => {}
            [topic] => {
                self.drain_topic(topic, topics, subscribers, turn, &mut deliveries.to(sink));
            }
            _ => self.drain_sets(topics, subscribers, turn, &mut deliveries.to(sink)),
        }
        self.set.clear();
        self.selection.clear();
        deliveries
    }

    /// Delivers what is pending for one subscriber.
    pub(super) fn drain_one(
        &mut self,
        id: SubscriberId,
        topics: &Topics,
        subscribers: &Subscribers,
        turn: &Turn,
        sink: &mut impl Sink,
    ) -> Deliveries {
        let mut deliveries = Deliveries::default();
        let Self { indices, selection, .. } = self;
        let batch = alone(id, topics, subscribers, turn, indices, selection);
        deliveries.to(sink).deliver(subscribers[id].owner, &batch);
        self.selection.clear();
        deliveries
    }

    /// One topic only: its members get the same, but for the individuals among them.
    fn drain_topic(
        &mut self,
        id: TopicId,
        topics: &Topics,
        subscribers: &Subscribers,
        turn: &Turn,
        out: &mut Counted<'_, impl Sink>,
    ) {
        let topic = &topics[id];
        self.positions.clear();
        for &individual in &turn.individuals {
            self.positions.extend(topics.position(id, individual, subscribers));
        }
        self.positions.sort_unstable();
        self.indices.clear();
        turn.collect(topic.first_pending, &mut self.indices);
        for (variant, count) in Variant::ALL.into_iter().zip(topic.variants) {
            if count == 0 {
                continue;
            }
            self.set.build(&turn.messages, &self.indices, variant);
            let batch = self.set.batch();
            let (mut rest, mut first) = (&topic.members[..], 0);
            for &position in &self.positions {
                let ahead = position.saturating_sub(first) as usize;
                let Some((before, [member, after @ ..])) = rest.split_at_checked(ahead) else {
                    break;
                };
                out.deliver_members(before, variant, &batch);
                (rest, first) = (after, position.saturating_add(1));
                if member.variant == variant {
                    let mark = subscribers[member.subscriber].mark;
                    let individual = Individual { subscriber: member.subscriber, variant, mark };
                    let batch = self.selection.select(&self.set, &turn.messages, individual);
                    out.deliver(member.owner, &batch);
                }
            }
            out.deliver_members(rest, variant, &batch);
        }
    }

    /// Several topics: subscribers of the same ones get the same.
    fn drain_sets(
        &mut self,
        topics: &Topics,
        subscribers: &Subscribers,
        turn: &Turn,
        out: &mut Counted<'_, impl Sink>,
    ) {
        let Self { grouping, indices, set: all, selection, .. } = self;
        grouping.group(topics, subscribers, turn);
        let mut rest = &grouping.grouped[..];
        for (index, set) in grouping.sets.iter().enumerate() {
            let Some((recipients, others)) = rest.split_at_checked(set.count as usize) else {
                break;
            };
            rest = others;
            if recipients.is_empty() {
                continue;
            }
            if index == ALONE as usize {
                for Recipient { owner, subscriber, .. } in recipients {
                    let batch = alone(*subscriber, topics, subscribers, turn, indices, selection);
                    out.deliver(*owner, &batch);
                }
                continue;
            }
            indices.clear();
            let variant = grouping.collect(index, topics, turn, indices);
            all.build(&turn.messages, indices, variant);
            let batch = all.batch();
            for recipient in recipients {
                if recipient.individual {
                    let subscriber = recipient.subscriber;
                    let mark = subscribers[subscriber].mark;
                    let individual = Individual { subscriber, variant, mark };
                    let batch = selection.select(all, &turn.messages, individual);
                    out.deliver(recipient.owner, &batch);
                } else {
                    out.deliver(recipient.owner, &batch);
                }
            }
        }
    }
}

/// The batch of one subscriber, from its own list of topics.
fn alone<'a>(
    id: SubscriberId,
    topics: &Topics,
    subscribers: &Subscribers,
    turn: &Turn,
    indices: &mut Vec<u32>,
    selection: &'a mut Selection,
) -> Batch<'a> {
    let subscriber = &subscribers[id];
    indices.clear();
    let mut touched_count = 0_u32;
    for membership in subscriber.memberships.as_slice() {
        let topic = &topics[membership.topic];
        if topic.has_pending(subscriber.mark) {
            turn.collect(topic.first_pending, indices);
            touched_count = touched_count.saturating_add(1);
        }
    }
    if touched_count > 1 {
        indices.sort_unstable();
    }
    let Subscriber { variant, mark, .. } = *subscriber;
    let individual = Individual { subscriber: id, variant, mark };
    selection.build(&turn.messages, indices, individual)
}

/// A sink, and what it got.
struct Counted<'a, S> {
    sink: &'a mut S,
    deliveries: &'a mut Deliveries,
}

impl Deliveries {
    fn to<'a, S: Sink>(&'a mut self, sink: &'a mut S) -> Counted<'a, S> {
        Counted { sink, deliveries: self }
    }
}

impl<S: Sink> Counted<'_, S> {
    fn deliver_members(&mut self, members: &[Member], variant: Variant, batch: &Batch<'_>) {
        for member in members.iter().filter(|member| member.variant == variant) {
            self.deliver(member.owner, batch);
        }
    }

    fn deliver(&mut self, owner: Key, batch: &Batch<'_>) {
        if batch.message_count() > 0 {
            self.sink.deliver(owner, batch);
            // Statistics of 64 bits: they do not wrap in anybody's time.
            self.deliveries.batches = self.deliveries.batches.wrapping_add(1);
            let count = batch.message_count() as u64;
            self.deliveries.messages = self.deliveries.messages.wrapping_add(count);
        }
    }
}

/// Sorts the members of all touched topics by the set of touched topics that each has.
#[derive(Debug)]
struct Grouping {
    // By subscriber: its set so far, and the bit `INDIVIDUAL`. Invariant: zero between drains.
    set_of: Vec<u32>,
    // First the roots (the empty set, for each variant), then `ALONE`, then the others.
    sets: Vec<Set>,
    // In the order in which the topics came upon them.
    recipients: Vec<Recipient>,
    // The same ones, by set.
    grouped: Vec<Recipient>,
    max_sets: usize,
}

/// A set of touched topics: those of its parent and one more.
#[derive(Clone, Copy, Debug)]
struct Set {
    parent: u32,
    topic: TopicId,
    // The set with one topic more, valid for the topic with the number `child_of` in the turn.
    child: u32,
    child_of: u32,
    // Number of recipients.
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Recipient {
    owner: Key,
    subscriber: SubscriberId,
    individual: bool,
}

impl Grouping {
    fn with_limit(max_sets: usize) -> Self {
        Self {
            set_of: Vec::new(),
            sets: Vec::new(),
            recipients: Vec::new(),
            grouped: Vec::new(),
            max_sets: max_sets.min(!INDIVIDUAL as usize),
        }
    }

    fn group(&mut self, topics: &Topics, subscribers: &Subscribers, turn: &Turn) {
        self.set_of.resize(subscribers.bound(), 0);
        self.sets.clear();
        self.sets.resize(FIRST_SET, Set::EMPTY);
        self.recipients.clear();
        for individual in &turn.individuals {
            if let Some(entry) = self.set_of.get_mut(individual.index()) {
                *entry |= INDIVIDUAL;
            }
        }
        for (number, &topic) in turn.touched.iter().enumerate() {
            self.add_topic(index32(number), topic, &topics[topic].members);
        }
        self.sort();
        for individual in &turn.individuals {
            if let Some(entry) = self.set_of.get_mut(individual.index()) {
                *entry = 0;
            }
        }
    }

    /// Adds a topic to the sets of its members.
    fn add_topic(&mut self, number: u32, topic: TopicId, members: &[Member]) {
        // Neighbours mostly come from the same set and go to the same one.
        let (mut parent, mut child) = (NONE, NONE);
        for member in members {
            let Some(entry) = self.set_of.get_mut(member.subscriber.index()) else { continue };
            let individual = *entry & INDIVIDUAL;
            let mut set = *entry & !INDIVIDUAL;
            if set == 0 {
                set = index32(member.variant.index());
                self.recipients.push(Recipient {
                    owner: member.owner,
                    subscriber: member.subscriber,
                    individual: individual != 0,
                });
            }
            if set != parent {
                parent = set;
                child = child_of(set, number, topic, &mut self.sets, self.max_sets);
            }
            *entry = child | individual;
        }
    }

    /// Counting sort of the recipients by set; the entries of `set_of` go back to zero.
    fn sort(&mut self) {
        let (mut last, mut is_sorted) = (0, true);
        for recipient in &self.recipients {
            let Some(entry) = self.set_of.get(recipient.subscriber.index()) else { continue };
            let set = *entry & !INDIVIDUAL;
            if let Some(set) = self.sets.get_mut(set as usize) {
                // At most all recipients: nothing wraps.
                set.count = set.count.wrapping_add(1);
            }
            is_sorted &= last <= set;
            last = set;
        }
        if is_sorted {
            // So it is whenever no subscriber has two of the topics.
            std::mem::swap(&mut self.grouped, &mut self.recipients);
            for recipient in &self.grouped {
                if let Some(entry) = self.set_of.get_mut(recipient.subscriber.index()) {
                    *entry = 0;
                }
            }
            return;
        }
        // `child` has served; from here on it is where the set's next recipient goes.
        // Neither wraps: both end at the number of recipients.
        let mut start = 0_u32;
        for set in &mut self.sets {
            set.child = start;
            start = start.wrapping_add(set.count);
        }
        self.grouped.clear();
        self.grouped.extend_from_slice(&self.recipients);
        for recipient in &self.recipients {
            let entry = self.set_of.get_mut(recipient.subscriber.index());
            let set = entry.map_or(0, std::mem::take) & !INDIVIDUAL;
            let Some(set) = self.sets.get_mut(set as usize) else { continue };
            if let Some(place) = self.grouped.get_mut(set.child as usize) {
                *place = *recipient;
            }
            set.child = set.child.wrapping_add(1);
        }
    }

    /// Appends the indices of a set's messages in publish order, and returns its variant.
    fn collect(
        &self,
        index: usize,
        topics: &Topics,
        turn: &Turn,
        indices: &mut Vec<u32>,
    ) -> Variant {
        let mut at = index;
        let mut topic_count = 0_u32;
        while at >= FIRST_SET
            && let Some(set) = self.sets.get(at)
        {
            turn.collect(topics[set.topic].first_pending, indices);
            topic_count = topic_count.saturating_add(1);
            at = set.parent as usize;
        }
        if topic_count > 1 {
            indices.sort_unstable();
        }
        // The way ends at a root, which stands where its variant does.
        Variant::ALL.get(at).copied().unwrap_or_default()
    }
}

/// The set that has one topic more than this one: that of the `number`th topic.
fn child_of(parent: u32, number: u32, topic: TopicId, sets: &mut Vec<Set>, max_sets: usize) -> u32 {
    let next = sets.len();
    let Some(entry) = sets.get_mut(parent as usize) else { return ALONE };
    if entry.child_of == number {
        return entry.child;
    }
    if next.saturating_sub(FIRST_SET) >= max_sets {
        // Once reached, the limit stays reached: whoever is in this set stays in it.
        return ALONE;
    }
    let child = index32(next);
    (entry.child, entry.child_of) = (child, number);
    sets.push(Set { parent, topic, ..Set::EMPTY });
    child
}

impl Set {
    const EMPTY: Self =
        Self { parent: 0, topic: TopicId::new(0), child: 0, child_of: u32::MAX, count: 0 };
}

/// The set of those for whom the limit left none.
#[allow(clippy::cast_possible_truncation, reason = "a handful")]
const ALONE: u32 = Variant::COUNT as u32;

const FIRST_SET: usize = Variant::COUNT + 1;

const INDIVIDUAL: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_entries_are_small() {
        assert_eq!(size_of::<Recipient>(), 16);
        assert_eq!(size_of::<Set>(), 20);
    }
}
