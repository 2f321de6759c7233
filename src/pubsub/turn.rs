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

    /// What belongs to this variant, of what there is for each, in the order of
    /// [`Variant::ALL`].
    pub(super) fn of<T>(self, all: &mut [T; Self::COUNT]) -> &mut T {
        let [plain, deflated, event_stream] = all;
        match self {
            Self::DEFLATED => deflated,
            Self::EVENT_STREAM => event_stream,
            _ => plain,
        }
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
        let [deflated, event_stream] = &mut self.others;
        match variant {
            Variant::DEFLATED => *deflated = Some(bytes),
            Variant::EVENT_STREAM => *event_stream = Some(bytes),
            _ => self.plain = bytes,
        }
        self
    }

    /// What subscribers of this variant get: the plain form unless there is one for them.
    #[must_use]
    pub fn form(&self, variant: Variant) -> &Shared {
        let other = variant.index().checked_sub(1).and_then(|other| self.others.get(other));
        other.and_then(Option::as_ref).unwrap_or(&self.plain)
    }

    /// Whether subscribers of this variant get a form of their own.
    #[must_use]
    pub fn has(&self, variant: Variant) -> bool {
        let other = variant.index().checked_sub(1).and_then(|other| self.others.get(other));
        other.is_none_or(Option::is_some)
    }

    /// Bytes of all forms.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let others = self.others.iter().flatten().filter(|form| !form.same_buffer(&self.plain));
        others.fold(self.plain.len(), |bytes, form| bytes.wrapping_add(form.len()))
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
        } else if let Some(last) = self.messages.get_mut(topic.last_pending as usize) {
            last.next = index;
        }
        topic.last_pending = index;
        // Lengths of what is in memory: their sum does not wrap.
        self.bytes = self.bytes.wrapping_add(message.framed.bytes());
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
        // No message has the index `NONE`.
        let mut index = first;
        while let Some(message) = self.messages.get(index as usize) {
            indices.push(index);
            index = message.next;
        }
    }

    pub(super) fn len(&self) -> u32 {
        index32(self.messages.len())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
