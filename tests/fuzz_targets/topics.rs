//! Topics by operations, against a model that does all at once.

use std::collections::{BTreeMap, BTreeSet};

use sockeye::{
    base::{Key, Shared},
    pubsub::{Batch, Framed, Limits, PubSub, Sink, SubscriberId, TurnFull, Variant},
};

use super::Choices;

const SUBSCRIBERS: usize = 6;
const TOPICS: usize = 5;

/// What each subscriber got, in its order.
#[derive(Default)]
struct Got(BTreeMap<usize, Vec<u8>>);

impl Sink for Got {
    fn deliver(&mut self, owner: Key, batch: &Batch<'_>) {
        assert!(batch.message_count() > 0);
        let got = self.0.entry(owner.index()).or_default();
        let before = got.len();
        for segment in batch.segments() {
            got.extend_from_slice(&segment.buffer()[segment.range()]);
        }
        assert_eq!(got.len() - before, batch.len());
    }
}

#[derive(Default)]
struct Subscriber {
    id: Option<SubscriberId>,
    topics: BTreeSet<usize>,
}

#[allow(clippy::too_many_lines, reason = "one arm for each operation")]
pub fn topics(data: &[u8]) {
    let mut choices = Choices(data);
    let limits = Limits {
        max_topics_per_subscriber: [4096, 2][choices.below(2)],
        max_topics: [1 << 20, 3][choices.below(2)],
        max_pending_messages: [4096, 2][choices.below(2)],
        max_sets: [65_536, 1][choices.below(2)],
        ..Limits::default()
    };
    let mut pubsub = PubSub::new(limits);
    let mut subscribers: Vec<Subscriber> = Vec::new();
    subscribers.resize_with(SUBSCRIBERS, Subscriber::default);
    let (mut got, mut expected) = (Got::default(), Got::default());
    let mut serial = 0_u8;
    while !choices.is_empty() {
        let (who, topic) = (choices.below(SUBSCRIBERS), choices.below(TOPICS));
        let name = format!("topic {topic}");
        let subscriber = &mut subscribers[who];
        match (choices.below(10), subscriber.id) {
            (0..3, None) => {
                let variant = Variant::ALL[who % 2];
                subscriber.id = pubsub.add(Key::new(who as u32, 0), variant).ok();
            }
            (0..3, Some(id)) => {
                if let Ok(is_new) = pubsub.subscribe(id, name.as_bytes(), &mut got) {
                    assert_eq!(subscriber.topics.insert(topic), is_new);
                } else {
                    let few = limits.max_topics_per_subscriber == 2 || limits.max_topics == 3;
                    assert!(few, "refused without a reason");
                }
            }
            (3, Some(id)) => {
                let was = pubsub.unsubscribe(id, name.as_bytes(), &mut got);
                assert_eq!(subscriber.topics.remove(&topic), was);
            }
            (4, Some(id)) => {
                let _ = pubsub.drain_one(id, &mut got);
                pubsub.remove(id);
                *subscriber = Subscriber::default();
            }
            (5, Some(id)) => {
                let _ = pubsub.drain_one(id, &mut got);
                assert_eq!(got.0.get(&who), expected.0.get(&who), "it has all that is pending");
            }
            (6, _) => {
                let _ = pubsub.drain(&mut got);
                assert_eq!(got.0, expected.0);
            }
            (7, _) => pubsub.note_interest(choices.byte(), name.as_bytes(), who.is_multiple_of(2)),
            (_, from) => {
                serial = serial.wrapping_add(1);
                let size = [1, 3, 700, 5000][choices.below(4)];
                let plain = vec![serial; size];
                let mut framed = Framed::plain(Shared::from(&plain[..]));
                let deflated = vec![serial ^ 0x55; size / 2 + 1];
                let has_both = choices.below(2) == 0;
                if has_both {
                    framed = framed.with(Variant::DEFLATED, Shared::from(&deflated[..]));
                }
                let mut reached = 0;
                for (other, subscriber) in subscribers.iter().enumerate() {
                    let is_sender = other == who && from.is_some();
                    if subscriber.topics.contains(&topic) && !is_sender {
                        reached += 1;
                        let form = if has_both && other % 2 == 1 { &deflated } else { &plain };
                        expected.0.entry(other).or_default().extend_from_slice(form);
                    }
                }
                let published = match pubsub.publish(name.as_bytes(), from, framed) {
                    Ok(published) => published,
                    Err(TurnFull(framed)) => {
                        let _ = pubsub.drain(&mut got);
                        pubsub.publish(name.as_bytes(), from, framed).expect("an empty turn")
                    }
                };
                assert_eq!(published.subscribers, reached);
            }
        }
        while let Some(change) = pubsub.next_interest_change() {
            let count = pubsub.subscriber_count(&change.topic);
            assert_eq!(change.interested, count > 0);
        }
    }
    let _ = pubsub.drain(&mut got);
    assert_eq!(got.0, expected.0);
    for subscriber in subscribers {
        if let Some(id) = subscriber.id {
            assert_eq!(pubsub.topics_of(id).len(), subscriber.topics.len());
            pubsub.remove(id);
        }
    }
    assert!(pubsub.is_empty() && !pubsub.has_pending());
}
