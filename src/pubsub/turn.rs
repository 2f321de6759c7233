//! [`Framed`]: a message as it goes on the wire; and the list of those published in this turn.

use super::{NONE, SubscriberId, TopicId, TopicName, WorkerSet, index32, topic::Topics};
use crate::base::Shared;

/// In which form a subscriber takes its messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Variant(u8);

impl Variant {
    /// Uncompressed; every message has this form.
    pub const PLAIN: Self = Self(0);
    /// Compressed with permessage-deflate, for whoever negotiated it.
    pub const DEFLATED: Self = Self(1);
    /// As a server-sent event, for event streams.
    pub const EVENT_STREAM: Self = Self(2);
    /// Number of variants.
    pub const COUNT: usize = 3;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [Self::PLAIN, Self::DEFLATED, Self::EVENT_STREAM];

    /// Its place in [`Variant::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A message framed once for all its receivers, in one or more variants.
///
/// ```
/// use sockeye::{base::Shared, pubsub::{Framed, Variant}};
///
/// let frame = Shared::from(&b"\x82\x02hi"[..]);
/// let framed = Framed::plain(frame.clone());
/// assert!(framed.form(Variant::DEFLATED).same_buffer(&frame));
/// ```
#[derive(Clone, Debug)]
pub struct Framed {
    plain: Shared,
    others: [Option<Shared>; Variant::COUNT - 1],
}

impl Framed {
    /// A message that everybody gets uncompressed.
    #[must_use]
    pub fn plain(bytes: Shared) -> Self {
        Self { plain: bytes, others: [const { None }; Variant::COUNT - 1] }
    }

    /// Adds or replaces one form.
    #[must_use]
    pub fn with(mut self, variant: Variant, bytes: Shared) -> Self {
        match variant.index().checked_sub(1) {
            Some(other) => self.others[other] = Some(bytes),
            None => self.plain = bytes,
        }
        self
    }

    /// What subscribers of this variant get: the plain form unless there is one for them.
    #[must_use]
    pub fn form(&self, variant: Variant) -> &Shared {
        let other = variant.index().checked_sub(1).and_then(|other| self.others[other].as_ref());
        other.unwrap_or(&self.plain)
    }

    /// Whether subscribers of this variant get a form of their own.
    #[must_use]
    pub fn has(&self, variant: Variant) -> bool {
        variant.index().checked_sub(1).is_none_or(|other| self.others[other].is_some())
    }

    /// Bytes of all forms.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let others = self.others.iter().flatten().filter(|form| !form.same_buffer(&self.plain));
        self.plain.len() + others.map(|form| form.len()).sum::<usize>()
    }
}

/// A message that was published on this worker in this turn.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where it was published.
    pub topic: &'a TopicName,
    /// Which other workers have subscribers of the topic.
    pub workers: &'a WorkerSet,
    /// The message.
    pub framed: &'a Framed,
}

/// The turn is full: drain it (and forward its messages) before this one is published again.
#[derive(Clone, Debug)]
pub struct TurnFull(pub Framed);

/// One message of the turn.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) framed: Framed,
    pub(super) topic: TopicId,
    pub(super) sender: Option<SubscriberId>,
    // The next message of the same topic, or `NONE`.
    pub(super) next: u32,
    // Whether it came from another worker, so that it is not sent on.
    pub(super) is_remote: bool,
}

#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) messages: Vec<Pending>,
    // The topics of these messages, in the order of their first ones.
    pub(super) touched: Vec<TopicId>,
    // Those who do not simply get all messages of their topics.
    pub(super) individuals: Vec<SubscriberId>,
    bytes: usize,
}

impl Turn {
    pub(super) fn push(&mut self, topics: &mut Topics, message: Pending) {
        let index = self.len();
        let topic = &mut topics[message.topic];
        if topic.first_pending == NONE {
            topic.first_pending = index;
            self.touched.push(message.topic);
        } else {
            self.messages[topic.last_pending as usize].next = index;
        }
        topic.last_pending = index;
        self.bytes += message.framed.bytes();
        self.messages.push(message);
    }

    /// Forgets the messages; the topics that only they held go with them.
    pub(super) fn clear(&mut self, topics: &mut Topics) {
        for &id in &self.touched {
            topics[id].first_pending = NONE;
            topics[id].last_pending = NONE;
            topics.release(id);
        }
        self.touched.clear();
        self.messages.clear();
        self.bytes = 0;
    }

    /// Appends the indices of a topic's messages to `indices`, oldest first.
    pub(super) fn collect(&self, first: u32, indices: &mut Vec<u32>) {
        let mut index = first;
        while index != NONE {
            indices.push(index);
            index = self.messages[index as usize].next;
        }
    }

    pub(super) fn len(&self) -> u32 {
        index32(self.messages.len())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
