//! Topics: who gets what, in which order, on one worker and across them.

use std::{sync::mpsc, thread};

use sockeye::{Limits, Prepared, SendError, SendStatus, TopicLimits};

use crate::support::{Bed, Frame, Log, On, Peer, Puppet, numbered, scenarios};

scenarios!(
    the_publisher_is_skipped,
    subscriptions_are_known_and_end,
    publish_then_unsubscribe_delivers,
    what_was_published_before_is_not_delivered,
    sends_and_publishes_keep_their_order,
    who_is_gone_has_no_topics,
    limits_are_errors,
    a_large_message_reaches_all,
    a_prepared_message_is_sent_to_many,
    one_that_has_subscribed_misses_nothing_of_other_workers,
    publishes_of_one_worker_keep_their_order_on_others,
    threads_publish_in_their_order,
    sockets_are_sent_to_across_workers,
    a_full_mailbox_is_an_error,
    fragments_are_not_interrupted,
);

#[track_caller]
fn subscribe(peer: &mut Peer, topic: &str) {
    peer.text(&format!("subscribe {topic}"));
    peer.expect_text("subscribe: Ok(true)");
}

/// Once this is answered, everything said before has been done.
#[track_caller]
fn settle(peer: &mut Peer) {
    peer.text("say settled");
    peer.expect_text("settled");
}

fn the_publisher_is_skipped(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut a = bed.open("/?name=a");
    let mut b = bed.open("/?name=b");
    a.text("publish news nobody is there");
    settle(&mut a);
    assert_eq!(log.last("publish"), "false");
    subscribe(&mut a, "news");
    a.text("publish news to myself");
    settle(&mut a);
    assert_eq!(log.last("publish"), "false", "nobody else is there");
    subscribe(&mut b, "news");
    a.text("publish news from a");
    b.expect_text("from a");
    assert_eq!(log.last("publish"), "true");
    settle(&mut a);
    a.text("publish_all news from the server");
    a.expect_text("from the server");
    b.expect_text("from the server");
    let mut outside = bed.open("/?name=c");
    outside.text("publish news from outside");
    a.expect_text("from outside");
    b.expect_text("from outside");
    bed.wait_for_stats("all are counted", |stats| stats.deliveries == 5);
}

fn subscriptions_are_known_and_end(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut a = bed.open("/?name=a");
    let mut b = bed.open("/?name=b");
    subscribe(&mut a, "x");
    a.text("subscribe x");
    a.expect_text("subscribe: Ok(false)");
    subscribe(&mut a, "y");
    a.text("topics\nis_subscribed x\nis_subscribed z\ncount x\nunsubscribe x\nunsubscribe x");
    for reply in ["x y", "true", "false", "1", "unsubscribe: true", "unsubscribe: false"] {
        a.expect_text(reply);
    }
    a.text("topics\ncount x");
    a.expect_text("y");
    a.expect_text("0");
    b.text("publish x lost\npublish y found");
    a.expect_text("found");
}

fn publish_then_unsubscribe_delivers(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut a = bed.open("/?name=a");
    subscribe(&mut a, "news");
    a.text("publish_all news last words\nunsubscribe news\npublish_all news too late");
    a.expect_text("last words");
    a.expect_text("unsubscribe: true");
    subscribe(&mut a, "news");
    a.text("publish_all news goodbye\nclose 1000 bye");
    a.expect_text("goodbye");
    a.expect_close(1000, "bye");
}

fn what_was_published_before_is_not_delivered(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut a = bed.open("/?name=a");
    let mut b = bed.open("/?name=b");
    subscribe(&mut b, "news");
    a.text("publish_all news before\nsubscribe news\npublish_all news after");
    a.expect_text("subscribe: Ok(true)");
    a.expect_text("after");
    b.expect_text("before");
    b.expect_text("after");
}

fn sends_and_publishes_keep_their_order(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut a = bed.open("/?name=a");
    let mut b = bed.open("/?name=b");
    subscribe(&mut b, "news");
    subscribe(&mut b, "more");
    for _ in 0..20 {
        a.text("publish news 1\ntell b 2\npublish more 3\npublish news 4\ntell b 5\ntell b 6");
        for number in 1..=6 {
            b.expect_text(&number.to_string());
        }
        // Its own replies stand among what others publish to it.
        b.text("publish_all news 1\nsay 2\npublish_all more 3\nsay 4");
        for number in 1..=4 {
            b.expect_text(&number.to_string());
        }
    }
}

fn who_is_gone_has_no_topics(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut witness = bed.open("/?name=witness");
    for end in ["close", "reset", "drop", "abort"] {
        let mut peer = bed.open("/?name=leaver");
        subscribe(&mut peer, "news");
        witness.text("count news");
        witness.expect_text("1");
        match end {
            "close" => {
                peer.close(1000, "");
                peer.expect_close(1000, "");
                peer.expect_goodbye();
            }
            "abort" => {
                peer.text("abort");
                peer.read_to_end();
            }
            "reset" => peer.reset(),
            _ => drop(peer),
        }
        bed.wait_for_stats("it is gone", |stats| stats.websockets == 1);
        witness.text("count news\npublish news nobody hears this");
        witness.expect_text("0");
    }
    bed.wait_until("nobody heard it", || log.count("publish false") == 4);
}

fn limits_are_errors(on: On) {
    let log = Log::default();
    let topics = TopicLimits {
        max_subscribers: 2,
        max_topics: 3,
        max_topics_per_subscriber: 2,
        max_topic_name_bytes: 5,
        ..TopicLimits::default()
    };
    let limits = Limits { topics, ..Limits::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut a = bed.open("/?name=a");
    let mut b = bed.open("/?name=b");
    let mut c = bed.open("/?name=c");
    let fails = |peer: &mut Peer, topic: &str| {
        peer.text(&format!("subscribe {topic}"));
        let reply = peer.read_text();
        assert!(reply.starts_with("subscribe: Err("), "{topic}: {reply}");
    };
    fails(&mut a, "longer");
    subscribe(&mut a, "short");
    subscribe(&mut a, "2");
    fails(&mut a, "3");
    subscribe(&mut b, "3");
    fails(&mut b, "4");
    fails(&mut c, "3");
    // Nothing else has happened to anybody.
    c.text("publish 3 hello");
    b.expect_text("hello");
    drop(b);
    bed.wait_for_stats("b is gone", |stats| stats.websockets == 2);
    subscribe(&mut c, "4");
}

fn a_large_message_reaches_all(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peers: Vec<Peer> = (0..5).map(|number| bed.open(&format!("/?name={number}"))).collect();
    for peer in &mut peers {
        subscribe(peer, "news");
    }
    // Larger than max_backpressure: one always finds room.
    let message = numbered(7, 200_000);
    bed.remote().publish("news", &message).unwrap();
    for peer in &mut peers {
        peer.expect_frame(Frame::BINARY, &message);
    }
}

fn a_prepared_message_is_sent_to_many(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(2).serve(Puppet::app(&log));
    let mut peers: Vec<Peer> =
        (0..8).map(|number| bed.open_on(number % 2, &format!("/?name={number}"))).collect();
    let ids: Vec<_> = (0..8).map(|number| log.id(&number.to_string())).collect();
    for length in [10, 3000, 100_000] {
        let message = numbered(7, length);
        let prepared = Prepared::new(&message);
        let ids = ids.clone();
        bed.on_worker(0, move |context| {
            for id in ids {
                let status = context.send_prepared(id, &prepared);
                let sent = if id.worker() == 0 {
                    SendStatus::Sent
                } else {
                    SendStatus::Queued { bytes: prepared.len() }
                };
                assert_eq!(status, sent);
            }
        });
        for peer in &mut peers {
            peer.expect_frame(Frame::BINARY, &message);
        }
    }
}

fn one_that_has_subscribed_misses_nothing_of_other_workers(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(3).serve(Puppet::app(&log));
    let mut reader = bed.open_on(0, "/?name=reader");
    let mut writers = [bed.open_on(1, "/?name=one"), bed.open_on(2, "/?name=two")];
    for round in 0..100 {
        let topic = format!("news{}", round % 3);
        subscribe(&mut reader, &topic);
        for writer in &mut writers {
            writer.text(&format!("publish {topic} {round}"));
        }
        reader.expect_text(&round.to_string());
        reader.expect_text(&round.to_string());
        reader.text(&format!("unsubscribe {topic}"));
        reader.expect_text("unsubscribe: true");
    }
}

fn publishes_of_one_worker_keep_their_order_on_others(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(2).serve(Puppet::app(&log));
    let mut readers = [bed.open_on(0, "/?name=near"), bed.open_on(1, "/?name=far")];
    for reader in &mut readers {
        subscribe(reader, "news");
        subscribe(reader, "more");
    }
    let mut writer = bed.open_on(0, "/?name=writer");
    for round in 0..20 {
        let commands: Vec<String> = (0..20)
            .map(|number| {
                let topic = if number % 3 == 0 { "more" } else { "news" };
                format!("publish {topic} {}", 20 * round + number)
            })
            .collect();
        writer.text(&commands.join("\n"));
    }
    for reader in &mut readers {
        for number in 0..400 {
            reader.expect_text(&number.to_string());
        }
    }
}

fn threads_publish_in_their_order(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(2).serve(Puppet::app(&log));
    let mut readers = [bed.open_on(0, "/?name=a"), bed.open_on(1, "/?name=b")];
    for reader in &mut readers {
        subscribe(reader, "news");
    }
    let (thread_count, count) = (4, 100);
    let threads: Vec<_> = (0..thread_count)
        .map(|thread| {
            let remote = bed.remote();
            thread::spawn(move || {
                for number in 0..count {
                    remote.publish("news", &format!("{thread} {number}")).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for reader in &mut readers {
        let mut next = vec![0; thread_count];
        for _ in 0..thread_count * count {
            let text = reader.read_text();
            let (thread, number) = text.split_once(' ').unwrap();
            let thread: usize = thread.parse().unwrap();
            assert_eq!(number, next[thread].to_string());
            next[thread] += 1;
        }
    }
}

fn sockets_are_sent_to_across_workers(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(2).serve(Puppet::app(&log));
    let mut near = bed.open_on(0, "/?name=near");
    let mut far = bed.open_on(1, "/?name=far");
    near.text("tell far hello\ntell near me too");
    near.expect_text("me too");
    far.expect_text("hello");
    far.text("close_other near enough");
    near.expect_close(1000, "enough");
    near.close(1000, "");
    near.expect_goodbye();
    log.wait_for(&bed, "near close 1000 clean");
    // Nobody is there any more, which does nobody harm.
    far.text("tell near hello?\nclose_other near again\nsay done");
    far.expect_text("done");
}

fn a_full_mailbox_is_an_error(on: On) {
    let log = Log::default();
    let limits = Limits { max_mailbox_bytes: 10_000, ..Limits::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut peer = bed.open("/?name=a");
    settle(&mut peer);
    let (id, remote) = (log.id("a"), bed.remote());
    // The worker is held up, so that its mailbox fills.
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    remote
        .run_on(0, move |_| {
            let _ = begun.send(());
            let _ = released.recv();
        })
        .unwrap();
    if !on.is_simulated() {
        has_begun.recv().unwrap();
    }
    let results: Vec<_> = (0..20).map(|_| remote.send(id, &[1; 1000])).collect();
    let fitting = results.iter().take_while(|result| result.is_ok()).count();
    assert!((8..10).contains(&fitting), "{results:?}");
    assert!(results[fitting..].iter().all(|result| *result == Err(SendError::Full)));
    assert_eq!(remote.publish("news", &[1; 1000]), Err(SendError::Full));
    drop(release);
    for _ in 0..fitting {
        assert_eq!(peer.frame().payload.len(), 1000);
    }
    settle(&mut peer);
    assert_eq!(remote.send(id, "again"), Ok(()));
    peer.expect_text("again");
    assert_eq!(remote.run_on(1, |_| {}), Err(SendError::Closed), "there is no such worker");
}

/// Reads a message in fragments, and no other between them.
#[track_caller]
fn expect_fragments(peer: &mut Peer, pieces: &[&str]) {
    for (index, piece) in pieces.iter().enumerate() {
        let frame = peer.frame();
        assert_eq!(frame.opcode, if index == 0 { Frame::TEXT } else { Frame::CONTINUATION });
        assert_eq!(frame.payload, piece.as_bytes());
        assert_eq!(frame.is_last, index + 1 == pieces.len());
    }
}

fn fragments_are_not_interrupted(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut a = bed.open("/?name=a");
    subscribe(&mut a, "news");
    // RFC 6455 §5.4: only control frames may stand between them.
    a.text("fragment first one\nsay between\nfragment next two\nping p\nfragment last three");
    let first = a.frame();
    assert_eq!(
        (first.is_last, first.opcode, &first.payload[..]),
        (false, Frame::TEXT, &b"one"[..])
    );
    let second = a.frame();
    assert_eq!((second.is_last, second.opcode), (false, Frame::CONTINUATION));
    a.expect_frame(Frame::PING, b"p");
    a.expect_frame(Frame::CONTINUATION, b"three");
    let statuses = ["Sent", "Dropped", "Sent", "Sent", "Sent"].map(|s| format!("status {s}"));
    bed.wait_until("all is written", || log.count("status") == 5);
    assert_eq!(
        log.lines().into_iter().filter(|l| l.starts_with("status")).collect::<Vec<_>>(),
        statuses
    );
    // What is published meanwhile is dropped, and reported.
    a.text("fragment first one");
    let mut b = bed.open("/?name=b");
    a.write(&crate::support::frame(Frame::PING, b"there?"));
    assert_eq!(a.frame().payload, b"one");
    a.expect_frame(Frame::PONG, b"there?");
    b.text("publish news lost");
    settle_on(&bed, &log, "a dropped 1 6");
    a.text("fragment last two\nsay after");
    a.expect_frame(Frame::CONTINUATION, b"two");
    a.expect_text("after");
    a.text("fragment last whole");
    expect_fragments(&mut a, &["whole"]);
    // The reply to `subscribe`, three messages in fragments, and one that is whole.
    bed.wait_for_stats("messages count, not fragments", |stats| stats.messages_out == 5);
}

fn settle_on(bed: &Bed, log: &Log, line: &str) {
    log.wait_for(bed, line);
}
