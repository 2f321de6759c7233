//! Floor 1: topics, their subscribers, and the messages of one turn. Per worker, without I/O.
//!
//! Nothing is done per subscriber when a message is published: it joins the list of this turn.
//! At the end of the turn [`PubSub::drain`] goes once through the members of the topics that were
//! published to, and each subscriber gets all that is new to it as one [`Batch`]:
//!
//! ```text
//! publish      messages  0:a  1:b  2:a  3:c        touched topics, each with its list of messages
//!                        `---------'  a: 0 2   b: 1   c: 3
//!
//! drain    1.  for each touched topic, for each of its members:  set = child(set, topic)
//!
//!                {} --a--> {a} --b--> {a,b} --c--> {a,b,c}      child is one comparison, because
//!                 \---b--> {b} --c--> {b,c}                     a set remembers its last child
//!
//!          2.  sort the members by set (counting sort)
//!          3.  for each set: merge the messages, copy the small ones into one buffer, lend the
//!              same batch to each member of the set
//! ```
//!
//! If only one topic was touched, its dense list of members is the answer to 1 and 2.
//!
//! **Individuals** do not get all messages of their topics: senders (they skip their own), and
//! those who were drained or who subscribed in the middle of the turn (they have a *mark*, before
//! which everything is done). They get the batch of their set with pieces cut out, without a copy.
//!
//! **Order.** A subscriber gets messages in the order in which this worker published them, over
//! all topics. What the owner sends by itself keeps its place if it calls [`PubSub::drain_one`]
//! first. Subscribing and unsubscribing do that by themselves where it matters: whoever was
//! subscribed when a message was published gets it, and nobody else.
//!
//! **Other workers.** This floor keeps which of them want a topic ([`PubSub::note_interest`]),
//! says what changes here ([`PubSub::next_interest_change`]), and lists what to forward
//! ([`PubSub::messages_of_turn`]); sending is up to `cluster`.
//!
//! **Costs.** Unsubscribing and removing cost at most O(topics of that subscriber), whatever the
//! size of the topics. An idle subscriber of one topic takes 60 bytes. Hash tables are never
//! iterated, so everything is determined by the operations.

#![forbid(unsafe_code)]
// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

mod batch;
mod fanout;
mod interest;
mod subscriber;
#[cfg(test)]
mod tests;
mod topic;
mod turn;

pub use batch::{Batch, COALESCE_BELOW, Segment, Sink};
pub use interest::{InterestChange, WorkerSet};
pub use subscriber::SubscriberId;
pub use topic::{TopicId, TopicName};
pub use turn::{Framed, Outgoing, TurnFull, Variant};

use crate::base::Key;
use fanout::Fanout;
use subscriber::{Membership, Subscribers};
use topic::{Member, Topics};
use turn::{Pending, Turn};

/// The topics of one worker.
///
/// ```
/// use sockeye::base::{Key, Shared};
/// use sockeye::pubsub::{Batch, Framed, Limits, PubSub, Sink, Variant};
///
/// struct Print;
///
/// impl Sink for Print {
///     fn deliver(&mut self, owner: Key, batch: &Batch<'_>) {
///         println!("{} bytes to {owner:?}", batch.len());
///     }
/// }
///
/// let mut pubsub = PubSub::new(Limits::default());
/// let alice = pubsub.add(Key::new(1, 0), Variant::PLAIN)?;
/// let bob = pubsub.add(Key::new(2, 0), Variant::PLAIN)?;
/// pubsub.subscribe(alice, b"lobby", &mut Print)?;
/// pubsub.subscribe(bob, b"lobby", &mut Print)?;
///
/// let hello = Framed::plain(Shared::from(&b"\x81\x05hello"[..]));
/// let published = pubsub.publish(b"lobby", Some(alice), hello).unwrap();
/// assert_eq!(published.subscribers, 1);
/// assert_eq!(pubsub.drain(&mut Print).batches, 1);
/// # Ok::<(), sockeye::pubsub::Error>(())
/// ```
#[derive(Debug)]
pub struct PubSub {
    topics: Topics,
    subscribers: Subscribers,
    turn: Turn,
    fanout: Fanout,
    limits: Limits,
}

/// How much one worker's topics may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Subscribers. Default 2^24, as many as there are keys.
    pub max_subscribers: usize,
    /// Topics with subscribers on this worker. Default 1,048,576.
    pub max_topics: usize,
    /// Topics of one subscriber. Default 4,096; no more than 65,535 have an effect.
    pub max_topics_per_subscriber: usize,
    /// Bytes of a topic's name. Default 1,024.
    pub max_topic_name_bytes: usize,
    /// Messages of a turn; then it has to be drained before its end. Default 4,096.
    pub max_pending_messages: usize,
    /// Bytes of a turn's messages in all variants; one message alone may have more. Default 4 MiB.
    pub max_pending_bytes: usize,
    /// Distinct sets of touched topics in a drain, which bounds scratch memory: subscribers beyond
    /// it get batches of their own. Default 65,536.
    pub max_sets: usize,
}

/// What the caller or a limit stands in the way of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// [`Limits::max_subscribers`].
    TooManySubscribers,
    /// [`Limits::max_topics`].
    TooManyTopics,
    /// [`Limits::max_topics_per_subscriber`].
    TooManyTopicsPerSubscriber,
    /// [`Limits::max_topic_name_bytes`].
    TopicNameTooLong,
    /// The subscriber has been removed.
    UnknownSubscriber,
}

/// Who will get a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Published {
    /// Local subscribers, without the sender.
    pub subscribers: usize,
    /// Other workers that want it.
    pub workers: usize,
}

/// Who listens to a topic, to be asked before a message is framed and compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Audience {
    /// Local subscribers by variant, at [`Variant::ALL`]'s indices.
    pub subscribers: [u32; Variant::COUNT],
    /// Other workers that want it.
    pub workers: WorkerSet,
}

/// How much went to a sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Deliveries {
    /// Calls of the sink.
    pub batches: u64,
    /// Messages in them.
    pub messages: u64,
}

impl PubSub {
    /// Without topics and subscribers.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let max_topics_per_subscriber = limits.max_topics_per_subscriber.min(usize::from(u16::MAX));
        let max_subscribers = limits.max_subscribers.min(Key::MAX_INDEX as usize);
        let max_topics = limits.max_topics.min(Key::MAX_INDEX as usize);
        Self {
            topics: Topics::default(),
            subscribers: Subscribers::with_limit(max_subscribers),
            turn: Turn::default(),
            fanout: Fanout::with_limit(limits.max_sets),
            limits: Limits { max_subscribers, max_topics, max_topics_per_subscriber, ..limits },
        }
    }

    /// Registers a subscriber, which has no topics yet. Owners call it before the first
    /// `subscribe`, so that connections without topics cost nothing here.
    ///
    /// # Errors
    /// [`Error::TooManySubscribers`].
    pub fn add(&mut self, owner: Key, variant: Variant) -> Result<SubscriberId, Error> {
        self.subscribers.insert(owner, variant)
    }

    /// Removes a subscriber and all its subscriptions. Its id must not be used any more.
    ///
    /// What is pending for it is dropped, except if the caller called [`PubSub::drain_one`] first.
    pub fn remove(&mut self, id: SubscriberId) {
        if !self.subscribers.contains(id) {
            return;
        }
        while let Some(slot) = self.subscribers[id].memberships.as_slice().len().checked_sub(1) {
            self.remove_membership(id, slot);
        }
        self.subscribers.remove(id);
    }

    /// Adds a subscription; returns whether it is new. It begins with the next message: if the
    /// topic has messages of this turn already, what is pending for the subscriber goes to the
    /// sink first.
    ///
    /// # Errors
    /// A limit, or [`Error::UnknownSubscriber`]; then nothing has changed.
    pub fn subscribe(
        &mut self,
        id: SubscriberId,
        topic: &[u8],
        sink: &mut impl Sink,
    ) -> Result<bool, Error> {
        if !self.subscribers.contains(id) {
            return Err(Error::UnknownSubscriber);
        }
        let found = self.topics.find(topic);
        if found.is_some_and(|found| self.is_member(id, found)) {
            return Ok(false);
        }
        self.check_limits(id, topic, found)?;
        let topic = found.unwrap_or_else(|| self.topics.intern(topic));
        if self.topics[topic].has_pending(0) {
            let _ = self.drain_one(id, sink);
            self.mark(id);
        }
        let subscriber = &mut self.subscribers[id];
        let slot = subscriber.memberships.as_slice().len();
        let slot = u16::try_from(slot).map_err(|_| Error::TooManyTopicsPerSubscriber)?;
        let (owner, variant) = (subscriber.owner, subscriber.variant);
        let member = Member { owner, subscriber: id, slot, variant };
        let position = self.topics.push_member(topic, member);
        subscriber.memberships.push(Membership { topic, position });
        Ok(true)
    }

    /// Ends a subscription; returns whether there was one. If messages of this turn are pending
    /// in the topic, what is pending for the subscriber goes to the sink first.
    pub fn unsubscribe(&mut self, id: SubscriberId, topic: &[u8], sink: &mut impl Sink) -> bool {
        let Some(topic) = self.topics.find(topic).filter(|_| self.subscribers.contains(id)) else {
            return false;
        };
        let Some(position) = self.topics.position(topic, id, &self.subscribers) else {
            return false;
        };
        if self.topics[topic].has_pending(self.subscribers[id].mark) {
            let _ = self.drain_one(id, sink);
        }
        let Some(&Member { slot, .. }) = self.topics[topic].members.get(position as usize) else {
            return false;
        };
        self.remove_membership(id, slot.into());
        true
    }

    /// Publishes to all subscribers of a topic, except `from`, and keeps the message for other
    /// workers. A publisher that wants its own message gives no `from`.
    ///
    /// A message without an audience is dropped at once.
    ///
    /// # Errors
    /// [`TurnFull`] returns the message: the caller forwards and drains this turn, and repeats.
    pub fn publish(
        &mut self,
        topic: &[u8],
        from: Option<SubscriberId>,
        framed: Framed,
    ) -> Result<Published, TurnFull> {
        let Some(topic) = self.topics.find(topic) else {
            return Ok(Published::default());
        };
        let sender = from.filter(|&id| self.is_member(id, topic));
        let members = self.topics[topic].members.len();
        let subscribers = members.saturating_sub(usize::from(sender.is_some()));
        let workers = self.topics[topic].workers.len();
        self.push(Published { subscribers, workers }, topic, sender, framed, false)
    }

    /// Publishes what another worker published: it is not forwarded again.
    ///
    /// # Errors
    /// [`TurnFull`], as for [`PubSub::publish`].
    pub fn publish_remote(&mut self, topic: &[u8], framed: Framed) -> Result<Published, TurnFull> {
        let Some(topic) = self.topics.find(topic) else {
            return Ok(Published::default());
        };
        let subscribers = self.topics[topic].members.len();
        self.push(Published { subscribers, workers: 0 }, topic, None, framed, true)
    }

    /// Ends the turn: everything that is pending goes to the sink. Messages for other workers
    /// are taken from [`PubSub::messages_of_turn`] before.
    pub fn drain(&mut self, sink: &mut impl Sink) -> Deliveries {
        let deliveries = self.fanout.drain(&self.topics, &self.subscribers, &self.turn, sink);
        for id in self.turn.individuals.drain(..) {
            self.subscribers[id].individual = false;
            self.subscribers[id].mark = 0;
        }
        self.turn.clear(&mut self.topics);
        deliveries
    }

    /// What is pending for one subscriber goes to the sink at once: called before the owner
    /// sends something of its own, so that it does not overtake.
    pub fn drain_one(&mut self, id: SubscriberId, sink: &mut impl Sink) -> Deliveries {
        if !self.has_pending() || !self.has_pending_for(id) {
            return Deliveries::default();
        }
        let Self { topics, subscribers, turn, fanout, .. } = self;
        let deliveries = fanout.drain_one(id, topics, subscribers, turn, sink);
        self.mark(id);
        deliveries
    }

    /// Notes whether another worker has subscribers of a topic. What this takes is bounded by
    /// that worker's own limits.
    pub fn note_interest(&mut self, worker: u8, topic: &[u8], interested: bool) {
        if interested {
            let topic = self.topics.intern(topic);
            self.topics[topic].workers.insert(worker);
        } else if let Some(topic) = self.topics.find(topic) {
            self.topics[topic].workers.remove(worker);
            self.topics.release(topic);
        }
    }

    /// Takes one change of this worker's interest that the others do not know of, in no
    /// particular order of topics. At most one per topic: what went to and fro is not told.
    pub fn next_interest_change(&mut self) -> Option<InterestChange> {
        self.topics.next_change()
    }

    /// All such changes. Those that the iterator has not returned are kept.
    pub fn interest_changes(&mut self) -> impl Iterator<Item = InterestChange> {
        std::iter::from_fn(|| self.next_interest_change())
    }

    /// The messages that were published on this worker in this turn, oldest first.
    pub fn messages_of_turn(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.turn.messages.iter().filter(|message| !message.is_remote).map(|message| {
            let topic = &self.topics[message.topic];
            Outgoing { topic: &topic.name, workers: &topic.workers, framed: &message.framed }
        })
    }

    /// Whether anything is pending in this turn, for whomever.
    #[inline]
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.turn.messages.is_empty()
    }

    /// Whether so much is pending that it is time to drain the turn: half of what it can hold.
    #[inline]
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.turn.messages.len() > self.limits.max_pending_messages / 2
            || self.turn.bytes() > self.limits.max_pending_bytes / 2
    }

    /// Who listens to a topic.
    #[must_use]
    pub fn audience(&self, topic: &[u8]) -> Audience {
        let Some(topic) = self.topics.find(topic) else {
            return Audience::default();
        };
        let topic = &self.topics[topic];
        Audience { subscribers: topic.variants, workers: topic.workers }
    }

    /// The other workers that have subscribers of a topic.
    #[must_use]
    pub fn interested_workers(&self, topic: &[u8]) -> WorkerSet {
        self.audience(topic).workers
    }

    /// Number of local subscribers of a topic.
    #[must_use]
    pub fn subscriber_count(&self, topic: &[u8]) -> usize {
        self.topics.find(topic).map_or(0, |topic| self.topics[topic].members.len())
    }

    /// Whether the subscriber has this topic.
    #[must_use]
    pub fn is_subscribed(&self, id: SubscriberId, topic: &[u8]) -> bool {
        self.topics.find(topic).is_some_and(|topic| self.is_member(id, topic))
    }

    /// The topics of a subscriber, in no particular order.
    pub fn topics_of(&self, id: SubscriberId) -> impl ExactSizeIterator<Item = &TopicName> {
        let memberships = match self.subscribers.contains(id) {
            true => self.subscribers[id].memberships.as_slice(),
            false => &[],
        };
        memberships.iter().map(|membership| &self.topics[membership.topic].name)
    }

    /// Number of topics known here, for local subscribers or for other workers.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Number of subscribers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subscribers.len()
    }

    /// Whether there are no subscribers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(
        &mut self,
        published: Published,
        topic: TopicId,
        sender: Option<SubscriberId>,
        framed: Framed,
        is_remote: bool,
    ) -> Result<Published, TurnFull> {
        if published == Published::default() {
            return Ok(published);
        }
        let is_full = self.turn.messages.len() >= self.limits.max_pending_messages
            || self.turn.bytes().saturating_add(framed.bytes()) > self.limits.max_pending_bytes;
        if is_full && self.has_pending() {
            return Err(TurnFull(framed));
        }
        let message = Pending { framed, topic, sender, next: NONE, is_remote };
        self.turn.push(&mut self.topics, message);
        if let Some(sender) = sender {
            self.make_individual(sender);
        }
        Ok(published)
    }

    fn check_limits(
        &self,
        id: SubscriberId,
        topic: &[u8],
        found: Option<TopicId>,
    ) -> Result<(), Error> {
        let topic_count = self.subscribers[id].memberships.as_slice().len();
        let is_first = found.is_none_or(|found| self.topics[found].members.is_empty());
        if topic.len() > self.limits.max_topic_name_bytes {
            Err(Error::TopicNameTooLong)
        } else if topic_count >= self.limits.max_topics_per_subscriber {
            Err(Error::TooManyTopicsPerSubscriber)
        } else if is_first && self.topics.local_count() >= self.limits.max_topics {
            Err(Error::TooManyTopics)
        } else {
            Ok(())
        }
    }

    fn remove_membership(&mut self, id: SubscriberId, slot: usize) {
        let memberships = &mut self.subscribers[id].memberships;
        let Some(&Membership { topic, position }) = memberships.as_slice().get(slot) else {
            return;
        };
        // The subscriber's last membership takes the slot: its member has to know.
        if let Some(moved) = memberships.swap_remove(slot)
            && let members = &mut self.topics[moved.topic].members
            && let Some(member) = members.get_mut(moved.position as usize)
        {
            member.slot = u16::try_from(slot).unwrap_or(u16::MAX);
        }
        // The topic's last member takes the position: its membership has to know.
        if let Some(moved) = self.topics.swap_remove_member(topic, position) {
            let memberships = self.subscribers[moved.subscriber].memberships.as_mut_slice();
            if let Some(membership) = memberships.get_mut(usize::from(moved.slot)) {
                membership.position = position;
            }
        }
        self.topics.release(topic);
    }

    /// Everything published up to now is done for this subscriber.
    fn mark(&mut self, id: SubscriberId) {
        self.make_individual(id);
        self.subscribers[id].mark = self.turn.len();
    }

    fn make_individual(&mut self, id: SubscriberId) {
        if !std::mem::replace(&mut self.subscribers[id].individual, true) {
            self.turn.individuals.push(id);
        }
    }

    fn has_pending_for(&self, id: SubscriberId) -> bool {
        self.subscribers.contains(id) && {
            let subscriber = &self.subscribers[id];
            let mut memberships = subscriber.memberships.as_slice().iter();
            memberships.any(|m| self.topics[m.topic].has_pending(subscriber.mark))
        }
    }

    fn is_member(&self, id: SubscriberId, topic: TopicId) -> bool {
        self.subscribers.contains(id)
            && self.topics.position(topic, id, &self.subscribers).is_some()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_subscribers: Key::MAX_INDEX as usize,
            max_topics: 1 << 20,
            max_topics_per_subscriber: 4096,
            max_topic_name_bytes: 1024,
            max_pending_messages: 4096,
            max_pending_bytes: 4 << 20,
            max_sets: 1 << 16,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooManySubscribers => "too many subscribers",
            Self::TooManyTopics => "too many topics",
            Self::TooManyTopicsPerSubscriber => "too many topics of one subscriber",
            Self::TopicNameTooLong => "the topic's name is too long",
            Self::UnknownSubscriber => "the subscriber has been removed",
        })
    }
}

impl std::error::Error for Error {}

/// Indices of tables whose limits are far below 2^32.
#[allow(clippy::cast_possible_truncation, reason = "see above")]
fn index32(index: usize) -> u32 {
    debug_assert!(index < NONE as usize);
    index as u32
}

/// No index.
const NONE: u32 = u32::MAX;
