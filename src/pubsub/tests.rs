//! The rules one by one, then random operations against a model that delivers at once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base::Shared;

/// Remembers what each owner got, and checks that each batch is consistent in itself.
#[derive(Default)]
struct Record {
    bytes: BTreeMap<Key, Vec<u8>>,
    batches: Vec<(Key, usize)>,
    buffers: Vec<Shared>,
}

impl Sink for Record {
    fn deliver(&mut self, owner: Key, batch: &Batch<'_>) {
        let segments: Vec<u8> = batch.segments().flat_map(|s| s.bytes().to_vec()).collect();
        let messages: Vec<u8> = batch.messages().flat_map(|s| s.bytes().to_vec()).collect();
        assert_eq!(segments, messages);
        assert_eq!(segments.len(), batch.len());
        assert_eq!(batch.messages().len(), batch.message_count());
        assert_ne!(batch.message_count(), 0);
        assert_eq!(batch.contiguous().is_some(), batch.segments().len() == 1);
        for message in batch.messages().filter(|message| message.bytes().len() >= COALESCE_BELOW) {
            assert!(message.whole().is_some(), "big messages are not copied");
        }
        self.bytes.entry(owner).or_default().extend(segments);
        self.batches.push((owner, batch.message_count()));
        self.buffers.extend(batch.segments().map(|segment| segment.buffer().clone()));
    }
}

impl Record {
    fn got(&self, n: u32) -> &[u8] {
        self.bytes.get(&key(n)).map_or(&[], |bytes| bytes)
    }
}

fn key(n: u32) -> Key {
    Key::new(n, 0)
}

fn framed(bytes: &[u8]) -> Framed {
    Framed::plain(Shared::from(bytes))
}

/// Subscribers with the keys 0, 1, …, each with these topics.
fn setup<const N: usize>(topics: [&[&str]; N]) -> (PubSub, [SubscriberId; N]) {
    let mut pubsub = PubSub::new(Limits::default());
    let mut next = 0;
    let ids = topics.map(|topics| {
        let id = pubsub.add(key(next), Variant::PLAIN).unwrap();
        next += 1;
        for topic in topics {
            assert_eq!(pubsub.subscribe(id, topic.as_bytes(), &mut Nobody), Ok(true));
        }
        id
    });
    (pubsub, ids)
}

/// Where nothing is to arrive.
struct Nobody;

impl Sink for Nobody {
    fn deliver(&mut self, owner: Key, _: &Batch<'_>) {
        panic!("nothing is pending for {owner:?}");
    }
}

#[test]
fn a_single_message_goes_out_as_it_is() {
    let (mut pubsub, _) = setup([&["a"], &["a"], &["b"]]);
    let message = Shared::from(&b"hello"[..]);
    let published = pubsub.publish(b"a", None, Framed::plain(message.clone())).unwrap();
    assert_eq!(published, Published { subscribers: 2, workers: 0 });
    assert!(pubsub.has_pending());
    let mut record = Record::default();
    assert_eq!(pubsub.drain(&mut record), Deliveries { batches: 2, messages: 2 });
    assert!(record.buffers.iter().all(|buffer| buffer.same_buffer(&message)));
    assert_eq!(record.batches, [(key(0), 1), (key(1), 1)]);
    assert!(!pubsub.has_pending());
    assert_eq!(pubsub.drain(&mut Nobody), Deliveries::default());
}

#[test]
fn small_messages_are_one_buffer_for_all_and_big_ones_are_not_copied() {
    let (mut pubsub, _) = setup([&["a"], &["a"]]);
    let big = Shared::from(&[7; COALESCE_BELOW][..]);
    let _ = pubsub.publish(b"a", None, framed(b"x")).unwrap();
    let _ = pubsub.publish(b"a", None, framed(b"y")).unwrap();
    let _ = pubsub.publish(b"a", None, Framed::plain(big.clone())).unwrap();
    let _ = pubsub.publish(b"a", None, framed(b"z")).unwrap();
    let mut record = Record::default();
    let _ = pubsub.drain(&mut record);
    let [first, second] = [&record.buffers[..3], &record.buffers[3..]];
    assert!(first.iter().zip(second).all(|(a, b)| a.same_buffer(b)));
    assert_eq!(first[0][..], b"xy"[..]);
    assert!(first[1].same_buffer(&big));
    assert_eq!(record.batches, [(key(0), 4), (key(1), 4)]);
}

#[test]
fn subscribers_of_the_same_topics_share_a_buffer_in_publish_order() {
    let (mut pubsub, _) = setup([&["a", "b"], &["b"], &["b", "a"], &["a"]]);
    for (topic, text) in [("b", "1"), ("a", "2"), ("b", "3")] {
        let _ = pubsub.publish(topic.as_bytes(), None, framed(text.as_bytes())).unwrap();
    }
    let mut record = Record::default();
    assert_eq!(pubsub.drain(&mut record), Deliveries { batches: 4, messages: 9 });
    let got = [0, 1, 2, 3].map(|n| record.got(n));
    assert_eq!(got, [&b"123"[..], b"13", b"123", b"2"]);
    let whole: Vec<_> = record.buffers.iter().filter(|buffer| ***buffer == *b"123").collect();
    assert!(whole[0].same_buffer(whole[1]));
}

#[test]
fn senders_skip_their_own_messages_by_cutting_the_common_buffer() {
    let (mut pubsub, ids) = setup([&["a"], &["a"], &["a"]]);
    for (from, text) in [(0, "one"), (1, "two"), (0, "three")] {
        let published = pubsub.publish(b"a", Some(ids[from]), framed(text.as_bytes())).unwrap();
        assert_eq!(published.subscribers, 2);
    }
    let _ = pubsub.publish(b"a", None, framed(b"!")).unwrap();
    let mut record = Record::default();
    assert_eq!(pubsub.drain(&mut record), Deliveries { batches: 3, messages: 9 });
    let got = [0, 1, 2].map(|n| record.got(n));
    assert_eq!(got, [&b"two!"[..], b"onethree!", b"onetwothree!"]);
    assert!(record.buffers.iter().all(|buffer| buffer.same_buffer(&record.buffers[0])));
}

#[test]
fn too_many_cuts_are_copied_instead() {
    let (mut pubsub, ids) = setup([&["a"], &["a"]]);
    for n in 0..20_u8 {
        let from = (n % 2 == 0).then_some(ids[0]);
        let _ = pubsub.publish(b"a", from, framed(&[n])).unwrap();
    }
    let mut record = Record::default();
    let _ = pubsub.drain(&mut record);
    assert_eq!(record.buffers.len(), 2);
    assert!(record.got(0).iter().copied().eq((0..20).filter(|n| n % 2 == 1)));
    assert!(record.got(1).iter().copied().eq(0..20));
}

#[test]
fn a_publisher_with_no_other_audience_is_told_so() {
    let (mut pubsub, ids) = setup([&["a"], &["b"]]);
    assert_eq!(pubsub.publish(b"a", Some(ids[0]), framed(b"1")).unwrap(), Published::default());
    assert_eq!(pubsub.publish(b"?", Some(ids[0]), framed(b"1")).unwrap(), Published::default());
    assert!(!pubsub.has_pending());
    let published = pubsub.publish(b"b", Some(ids[0]), framed(b"1")).unwrap();
    assert_eq!(published.subscribers, 1);
    let _ = pubsub.drain(&mut Record::default());
}

#[test]
fn whoever_subscribes_in_the_turn_gets_later_messages_only() {
    let (mut pubsub, ids) = setup([&["a", "c"], &["b"]]);
    let mut record = Record::default();
    let _ = pubsub.publish(b"b", None, framed(b"1")).unwrap();
    let _ = pubsub.publish(b"a", None, framed(b"2")).unwrap();
    assert_eq!(pubsub.subscribe(ids[1], b"c", &mut Nobody), Ok(true));
    assert_eq!(pubsub.subscribe(ids[1], b"a", &mut record), Ok(true));
    assert_eq!(pubsub.subscribe(ids[1], b"a", &mut Nobody), Ok(false));
    assert_eq!(record.got(1), b"1");
    let _ = pubsub.publish(b"a", None, framed(b"3")).unwrap();
    let _ = pubsub.drain(&mut record);
    assert_eq!([record.got(0), record.got(1)], [b"23", b"13"]);
    // The mark ends with the turn.
    let _ = pubsub.publish(b"a", None, framed(b"4")).unwrap();
    let _ = pubsub.drain(&mut record);
    assert_eq!([record.got(0), record.got(1)], [b"234", b"134"]);
}

#[test]
fn publish_then_unsubscribe_still_delivers() {
    let (mut pubsub, ids) = setup([&["a"], &["a"]]);
    let mut record = Record::default();
    let _ = pubsub.publish(b"a", None, framed(b"1")).unwrap();
    assert!(pubsub.unsubscribe(ids[0], b"a", &mut record));
    assert!(!pubsub.unsubscribe(ids[0], b"a", &mut Nobody));
    let _ = pubsub.publish(b"a", None, framed(b"2")).unwrap();
    assert!(pubsub.unsubscribe(ids[1], b"a", &mut record));
    // The topic has nobody, yet its messages are still to be forwarded.
    assert_eq!(pubsub.messages_of_turn().map(|m| m.topic.to_vec()).collect::<Vec<_>>(), [b"a"; 2]);
    assert_eq!(pubsub.drain(&mut Nobody), Deliveries::default());
    assert_eq!([record.got(0), record.got(1)], [&b"1"[..], b"12"]);
    assert_eq!(pubsub.topic_count(), 0);
}

#[test]
fn draining_one_keeps_the_order_with_its_own_sends() {
    let (mut pubsub, ids) = setup([&["a"], &["a"]]);
    let mut record = Record::default();
    let _ = pubsub.publish(b"a", None, framed(b"1")).unwrap();
    assert_eq!(pubsub.drain_one(ids[0], &mut record).messages, 1);
    assert_eq!(pubsub.drain_one(ids[0], &mut Nobody).messages, 0);
    let _ = pubsub.publish(b"a", None, framed(b"2")).unwrap();
    assert_eq!(pubsub.drain(&mut record), Deliveries { batches: 2, messages: 3 });
    assert_eq!([record.got(0), record.got(1)], [b"12", b"12"]);
}

#[test]
fn a_number_used_again_in_the_turn_inherits_nothing() {
    let (mut pubsub, ids) = setup([&["a"], &["a"]]);
    let _ = pubsub.publish(b"a", Some(ids[0]), framed(b"1")).unwrap();
    pubsub.remove(ids[0]);
    pubsub.remove(ids[0]);
    let new = pubsub.add(key(9), Variant::PLAIN).unwrap();
    assert_eq!(new, ids[0]);
    assert_eq!(pubsub.subscribe(new, b"a", &mut Nobody), Ok(true));
    let _ = pubsub.publish(b"a", None, framed(b"2")).unwrap();
    let mut record = Record::default();
    let _ = pubsub.drain(&mut record);
    assert_eq!([record.got(0), record.got(1), record.got(9)], [&b""[..], b"12", b"2"]);
}

#[test]
fn removed_subscribers_are_inert() {
    let (mut pubsub, ids) = setup([&["a", "b", "c"]]);
    pubsub.remove(ids[0]);
    assert_eq!(pubsub.subscribe(ids[0], b"a", &mut Nobody), Err(Error::UnknownSubscriber));
    assert!(!pubsub.unsubscribe(ids[0], b"a", &mut Nobody));
    assert!(!pubsub.is_subscribed(ids[0], b"a"));
    assert_eq!(pubsub.topics_of(ids[0]).len(), 0);
    assert_eq!(pubsub.drain_one(ids[0], &mut Nobody), Deliveries::default());
    assert_eq!((pubsub.len(), pubsub.topic_count()), (0, 0));
}

#[test]
fn each_variant_gets_its_form() {
    for topics in [&["a"][..], &["a", "b"]] {
        let (mut pubsub, _) = setup([topics]);
        let deflated = pubsub.add(key(1), Variant::DEFLATED).unwrap();
        for topic in topics {
            pubsub.subscribe(deflated, topic.as_bytes(), &mut Nobody).unwrap();
            let both = framed(b"plain").with(Variant::DEFLATED, Shared::from(&b"zip"[..]));
            let _ = pubsub.publish(topic.as_bytes(), None, both).unwrap();
        }
        assert_eq!(pubsub.audience(b"a").subscribers, [1, 1, 0]);
        let _ = pubsub.publish(b"a", None, framed(b"!")).unwrap();
        let mut record = Record::default();
        let _ = pubsub.drain(&mut record);
        assert_eq!(record.got(0), [&b"plain".repeat(topics.len())[..], b"!"].concat());
        assert_eq!(record.got(1), [&b"zip".repeat(topics.len())[..], b"!"].concat());
    }
}

#[test]
fn changes_of_interest_are_told_once_and_only_if_they_last() {
    let (mut pubsub, ids) = setup([&["a"], &["a"]]);
    let told = |topic: &[u8], interested| InterestChange { topic: topic.into(), interested };
    assert!(pubsub.interest_changes().eq([told(b"a", true)]));
    pubsub.subscribe(ids[0], b"b", &mut Nobody).unwrap();
    pubsub.subscribe(ids[0], b"c", &mut Nobody).unwrap();
    pubsub.unsubscribe(ids[0], b"b", &mut Nobody);
    pubsub.unsubscribe(ids[0], b"a", &mut Nobody);
    assert!(pubsub.interest_changes().eq([told(b"c", true)]));
    pubsub.unsubscribe(ids[1], b"a", &mut Nobody);
    pubsub.subscribe(ids[1], b"a", &mut Nobody).unwrap();
    assert_eq!(pubsub.next_interest_change(), None);
    pubsub.remove(ids[1]);
    assert_eq!(pubsub.topic_count(), 2);
    assert!(pubsub.interest_changes().eq([told(b"a", false)]));
    assert_eq!(pubsub.topic_count(), 1);
}

#[test]
fn other_workers_interest_makes_an_audience() {
    let (mut pubsub, ids) = setup([&["a"]]);
    pubsub.note_interest(3, b"a", true);
    pubsub.note_interest(255, b"r", true);
    pubsub.note_interest(9, b"unknown", false);
    let to_workers = Published { subscribers: 0, workers: 1 };
    assert_eq!(pubsub.publish(b"a", Some(ids[0]), framed(b"1")).unwrap(), to_workers);
    assert_eq!(pubsub.publish(b"r", None, framed(b"2")).unwrap(), to_workers);
    assert_eq!(pubsub.publish_remote(b"a", framed(b"3")).unwrap().subscribers, 1);
    assert_eq!(pubsub.publish_remote(b"r", framed(b"4")).unwrap(), Published::default());
    let outgoing: Vec<_> = pubsub
        .messages_of_turn()
        .map(|m| {
            (m.topic.to_vec(), m.workers.iter().next(), m.framed.form(Variant::PLAIN).to_vec())
        })
        .collect();
    let expected = [(b"a", Some(3), b"1"), (b"r", Some(255), b"2")];
    assert_eq!(outgoing, expected.map(|(t, w, m)| (t.to_vec(), w, m.to_vec())));
    let mut record = Record::default();
    let _ = pubsub.drain(&mut record);
    assert_eq!(record.got(0), b"3");
    pubsub.note_interest(255, b"r", false);
    assert_eq!(pubsub.interested_workers(b"r"), WorkerSet::default());
    assert_eq!(pubsub.topic_count(), 1);
}

#[test]
fn limits_are_results() {
    let mut pubsub = PubSub::new(Limits {
        max_subscribers: 2,
        max_topics: 3,
        max_topics_per_subscriber: 2,
        max_topic_name_bytes: 4,
        ..Limits::default()
    });
    let first = pubsub.add(key(0), Variant::PLAIN).unwrap();
    let second = pubsub.add(key(1), Variant::PLAIN).unwrap();
    assert_eq!(pubsub.add(key(2), Variant::PLAIN), Err(Error::TooManySubscribers));
    let mut subscribe = |id, topic: &[u8]| pubsub.subscribe(id, topic, &mut Nobody);
    assert_eq!(subscribe(first, b"12345"), Err(Error::TopicNameTooLong));
    assert_eq!(subscribe(first, b"1234"), Ok(true));
    assert_eq!(subscribe(first, b""), Ok(true));
    assert_eq!(subscribe(first, b"c"), Err(Error::TooManyTopicsPerSubscriber));
    assert_eq!(subscribe(second, b"c"), Ok(true));
    assert_eq!(subscribe(second, b"d"), Err(Error::TooManyTopics));
    assert_eq!(subscribe(second, b""), Ok(true));
    assert_eq!(pubsub.topic_count(), 3);
}

#[test]
fn a_full_turn_hands_the_message_back() {
    let limits = Limits { max_pending_messages: 2, max_pending_bytes: 8, ..Limits::default() };
    let mut pubsub = PubSub::new(limits);
    let id = pubsub.add(key(0), Variant::PLAIN).unwrap();
    pubsub.subscribe(id, b"a", &mut Nobody).unwrap();
    let mut record = Record::default();
    for (accepted, refused) in [(&[&b"1"[..], b"2"][..], &b"3"[..]), (&[b"1234567"], b"89")] {
        for message in accepted {
            let _ = pubsub.publish(b"a", None, framed(message)).unwrap();
        }
        let TurnFull(message) = pubsub.publish(b"a", None, framed(refused)).unwrap_err();
        let _ = pubsub.drain(&mut record);
        let _ = pubsub.publish(b"a", None, message).unwrap();
        let _ = pubsub.drain(&mut record);
    }
    // A message beyond the limit has a turn of its own.
    let _ = pubsub.publish_remote(b"a", framed(b"0123456789")).unwrap();
    assert!(pubsub.publish_remote(b"a", framed(b"1")).is_err());
    let _ = pubsub.drain(&mut record);
    assert_eq!(record.got(0), b"1231234567890123456789");
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Add(bool),
    Remove(usize),
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Publish { from: Option<usize>, topic: usize, len: usize, is_remote: bool },
    Send(usize),
    Drain,
    TakeChanges,
    Note(u8, usize, bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let who = 0..12_usize;
    let topic = 0..TOPICS.len();
    let len = prop_oneof![9 => 0..20_usize, 1 => COALESCE_BELOW - 1..COALESCE_BELOW + 2];
    let from = prop::option::of(who.clone());
    prop_oneof![
        3 => any::<bool>().prop_map(Operation::Add),
        1 => who.clone().prop_map(Operation::Remove),
        9 => (who.clone(), topic.clone()).prop_map(|(w, t)| Operation::Subscribe(w, t)),
        3 => (who.clone(), topic.clone()).prop_map(|(w, t)| Operation::Unsubscribe(w, t)),
        12 => (from, topic.clone(), len, any::<bool>()).prop_map(|(from, topic, len, is_remote)| {
            Operation::Publish { from, topic, len, is_remote }
        }),
        2 => who.prop_map(Operation::Send),
        2 => Just(Operation::Drain),
        1 => Just(Operation::TakeChanges),
        1 => (0..4_u8, topic, any::<bool>()).prop_map(|(w, t, i)| Operation::Note(w, t, i)),
    ]
}

const TOPICS: [&[u8]; 6] = [b"a", b"b", b"c", b"lobby", b"", b"\xff\0"];

/// A subscriber of the model.
struct Model {
    key: Key,
    id: SubscriberId,
    is_deflated: bool,
    topics: BTreeSet<usize>,
    bytes: Vec<u8>,
}

/// The naive twin: every message is appended to every subscriber's bytes at once.
#[derive(Default)]
struct World {
    living: Vec<Model>,
    gone: Vec<Model>,
    told: BTreeSet<usize>,
    workers: BTreeSet<(u8, usize)>,
    forwarded: Vec<(usize, Vec<u8>)>,
    pending_topics: BTreeSet<usize>,
    key_count: u32,
    message_count: u8,
}

impl World {
    fn audience(&self, topic: usize) -> usize {
        self.living.iter().filter(|model| model.topics.contains(&topic)).count()
    }

    fn apply(&mut self, operation: Operation, pubsub: &mut PubSub, record: &mut Record) {
        match operation {
            Operation::Add(is_deflated) if self.living.len() < 12 => {
                let key = key(self.key_count);
                self.key_count += 1;
                let variant = Variant::ALL[usize::from(is_deflated)];
                let id = pubsub.add(key, variant).unwrap();
                let (topics, bytes) = (BTreeSet::new(), Vec::new());
                self.living.push(Model { key, id, is_deflated, topics, bytes });
            }
            Operation::Remove(who) if who < self.living.len() => {
                let model = self.living.swap_remove(who);
                pubsub.remove(model.id);
                self.gone.push(model);
            }
            Operation::Subscribe(who, topic) if who < self.living.len() => {
                let model = &mut self.living[who];
                let is_new = pubsub.subscribe(model.id, TOPICS[topic], record).unwrap();
                assert_eq!(is_new, model.topics.insert(topic));
            }
            Operation::Unsubscribe(who, topic) if who < self.living.len() => {
                let model = &mut self.living[who];
                let was_there = pubsub.unsubscribe(model.id, TOPICS[topic], record);
                assert_eq!(was_there, model.topics.remove(&topic));
            }
            Operation::Publish { from, topic, len, is_remote } => {
                self.publish(pubsub, from, topic, len, is_remote);
            }
            Operation::Send(who) if who < self.living.len() => {
                let model = &mut self.living[who];
                let _ = pubsub.drain_one(model.id, record);
                record.bytes.entry(model.key).or_default().extend(b"<own>");
                model.bytes.extend(b"<own>");
                assert_eq!(record.bytes.get(&model.key), Some(&model.bytes));
            }
            Operation::Drain => self.drain(pubsub, record),
            Operation::TakeChanges => self.take_changes(pubsub),
            Operation::Note(worker, topic, interested) => {
                pubsub.note_interest(worker, TOPICS[topic], interested);
                if interested {
                    self.workers.insert((worker, topic));
                } else {
                    self.workers.remove(&(worker, topic));
                }
            }
            _ => {}
        }
        self.check(pubsub);
    }

    fn publish(
        &mut self,
        pubsub: &mut PubSub,
        from: Option<usize>,
        topic: usize,
        len: usize,
        is_remote: bool,
    ) {
        self.message_count = self.message_count.wrapping_add(1);
        let plain = vec![self.message_count; len];
        let deflated = vec![!self.message_count; len / 2];
        let mut framed = framed(&plain);
        if self.message_count.is_multiple_of(3) {
            framed = framed.with(Variant::DEFLATED, Shared::from(&deflated[..]));
        }
        let deflated = framed.form(Variant::DEFLATED).to_vec();
        let from = from.and_then(|who| self.living.get(who)).filter(|_| !is_remote);
        let from = from.map(|model| model.id);
        let published = if is_remote {
            pubsub.publish_remote(TOPICS[topic], framed).unwrap()
        } else {
            pubsub.publish(TOPICS[topic], from, framed).unwrap()
        };
        let mut subscribers = 0;
        for model in &mut self.living {
            if model.topics.contains(&topic) && Some(model.id) != from {
                model.bytes.extend(if model.is_deflated { &deflated } else { &plain });
                subscribers += 1;
            }
        }
        let workers = self.workers.iter().filter(|(_, t)| *t == topic && !is_remote).count();
        assert_eq!(published, Published { subscribers, workers });
        if subscribers + workers > 0 {
            self.pending_topics.insert(topic);
            if !is_remote {
                self.forwarded.push((topic, plain));
            }
        }
    }

    fn drain(&mut self, pubsub: &mut PubSub, record: &mut Record) {
        let forwarded = pubsub.messages_of_turn().map(|message| {
            let topic = TOPICS.iter().position(|name| **name == **message.topic).unwrap();
            assert_eq!(*message.workers, pubsub.interested_workers(message.topic));
            (topic, message.framed.form(Variant::PLAIN).to_vec())
        });
        assert!(forwarded.eq(self.forwarded.drain(..)));
        self.pending_topics.clear();
        let before = record.batches.len();
        let deliveries = pubsub.drain(record);
        let batches = &record.batches[before..];
        assert_eq!(deliveries.batches, batches.len() as u64);
        let owners: BTreeSet<_> = batches.iter().map(|(owner, _)| owner).collect();
        assert_eq!(owners.len(), batches.len(), "one batch for each owner");
        let message_count: usize = batches.iter().map(|(_, n)| n).sum();
        assert_eq!(deliveries.messages, message_count as u64);
        for model in &self.living {
            let got = record.bytes.get(&model.key).map_or(&[][..], |bytes| bytes);
            assert_eq!(got, model.bytes);
        }
        for model in &self.gone {
            let got = record.bytes.get(&model.key).map_or(&[][..], |bytes| bytes);
            assert!(model.bytes.starts_with(got));
        }
    }

    fn take_changes(&mut self, pubsub: &mut PubSub) {
        for change in pubsub.interest_changes() {
            let topic = TOPICS.iter().position(|name| **name == *change.topic).unwrap();
            let is_change =
                if change.interested { self.told.insert(topic) } else { self.told.remove(&topic) };
            assert!(is_change);
        }
        let wanted: BTreeSet<_> = (0..TOPICS.len()).filter(|t| self.audience(*t) > 0).collect();
        assert_eq!(self.told, wanted);
    }

    fn check(&self, pubsub: &PubSub) {
        assert_eq!(pubsub.len(), self.living.len());
        assert_eq!(pubsub.has_pending(), !self.pending_topics.is_empty());
        let mut topic_count = 0;
        for (topic, name) in TOPICS.iter().enumerate() {
            let audience = self.audience(topic);
            assert_eq!(pubsub.subscriber_count(name), audience);
            let workers = self.workers.iter().filter(|(_, t)| *t == topic).map(|(w, _)| *w);
            assert!(pubsub.interested_workers(name).iter().eq(workers.clone()));
            let is_held = audience > 0
                || workers.count() > 0
                || self.told.contains(&topic)
                || self.pending_topics.contains(&topic);
            topic_count += usize::from(is_held);
        }
        assert_eq!(pubsub.topic_count(), topic_count);
        for model in &self.living {
            let names: BTreeSet<&[u8]> = pubsub.topics_of(model.id).map(|name| &**name).collect();
            assert_eq!(names, model.topics.iter().map(|topic| TOPICS[*topic]).collect());
            for (topic, name) in TOPICS.iter().enumerate() {
                assert_eq!(pubsub.is_subscribed(model.id, name), model.topics.contains(&topic));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 512 }))]

    #[test]
    fn behaves_like_delivering_each_message_at_once(
        operations in prop::collection::vec(operation(), 1..if cfg!(miri) { 30 } else { 120 }),
        max_sets in prop_oneof![Just(0_usize), 1..8_usize, Just(1 << 16)],
    ) {
        let mut pubsub = PubSub::new(Limits { max_sets, ..Limits::default() });
        let mut record = Record::default();
        let mut world = World::default();
        for operation in operations {
            world.apply(operation, &mut pubsub, &mut record);
        }
        world.apply(Operation::Drain, &mut pubsub, &mut record);
        while !world.living.is_empty() {
            world.apply(Operation::Remove(0), &mut pubsub, &mut record);
        }
        world.apply(Operation::TakeChanges, &mut pubsub, &mut record);
        for (worker, topic) in world.workers.clone() {
            world.apply(Operation::Note(worker, topic, false), &mut pubsub, &mut record);
        }
        prop_assert_eq!((pubsub.len(), pubsub.topic_count()), (0, 0));
        prop_assert!(!pubsub.has_pending());
    }
}
