//! Peers that do not read: what is kept for them, what is not, and who is told.

use std::time::Duration;

use sockeye::{CloseCode, Limits, SendStatus, SocketId, TopicLimits, WebSocketConfig};

use crate::support::{Bed, Frame, Log, On, Peer, Puppet, frame, numbered, scenarios};

scenarios!(
    a_turn_may_send_more_than_waits,
    a_turn_is_bounded,
    publishes_and_sends_of_one_turn_all_arrive,
    a_turn_may_publish_more_than_fits,
    a_flood_of_small_messages,
    a_flood_of_large_messages,
    a_flood_of_pings;
    calm:
    a_slow_reader_of_a_busy_topic,
    a_slow_reader_may_be_closed_for_a_topic,
    a_panic_over_what_was_dropped,
    a_close_follows_what_waits,
    a_close_does_not_wait_for_ever,
    a_close_waits_while_something_moves,
    a_slow_peer_goes_away,
    a_slow_peer_that_says_nothing_idles,
    what_waits_is_limited_exactly,
    what_other_threads_send_is_dropped_and_reported,
    a_socket_may_be_closed_instead,
    a_publish_of_the_same_turn_may_close_it,
    the_queue_is_drained_once,
);

const LIMIT: usize = 64 << 10;

/// Sends to a peer that does not read until something waits: how many messages of how many bytes,
/// and how much waits.
#[track_caller]
fn fill(bed: &Bed, id: SocketId, length: usize) -> (u32, usize) {
    for number in 0..10_000 {
        let message = numbered(number, length);
        match bed.on_worker(0, move |context| context.send(id, &message)) {
            SendStatus::Sent => {}
            SendStatus::Queued { bytes } => return (number + 1, bytes),
            status => panic!("{status:?} after {number} messages"),
        }
    }
    panic!("the kernel takes everything")
}

#[track_caller]
fn send(bed: &Bed, id: SocketId, length: usize) -> SendStatus {
    let message = vec![b'x'; length];
    bed.on_worker(0, move |context| context.send(id, &message))
}

/// Reads so many numbered messages.
#[track_caller]
fn expect_numbered(peer: &mut Peer, count: u32, length: usize) {
    for number in 0..count {
        let payload = peer.frame().payload;
        assert_eq!(payload[..4], number.to_be_bytes(), "the number of message {number}");
        assert_eq!(payload.len(), length);
    }
}

fn what_waits_is_limited_exactly(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open_narrow("/");
    log.wait_for(&bed, "open");
    let id = log.id("");
    let (count, waiting) = fill(&bed, id, 10_000);
    let room = LIMIT - waiting;
    // Headers of four bytes, and of two.
    assert_eq!(send(&bed, id, room - 3), SendStatus::Dropped);
    assert_eq!(send(&bed, id, room - 4), SendStatus::Queued { bytes: LIMIT });
    assert_eq!(send(&bed, id, 0), SendStatus::Dropped);
    let bytes = room as u64 + 1 + 2;
    bed.wait_for_stats("both are counted", |stats| {
        (stats.dropped_messages, stats.dropped_bytes) == (2, bytes)
    });
    assert_eq!(log.count("dropped"), 0, "the sender was told on the spot");
    expect_numbered(&mut peer, count, 10_000);
    assert_eq!(peer.frame().payload.len(), room - 4);
    log.wait_for(&bed, "drain 0");
    assert_eq!(send(&bed, id, 1), SendStatus::Sent);
    peer.expect_frame(Frame::BINARY, b"x");
}

fn what_other_threads_send_is_dropped_and_reported(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open_narrow("/");
    log.wait_for(&bed, "open");
    let id = log.id("");
    let (count, waiting) = fill(&bed, id, 10_000);
    let fitting = u64::try_from((LIMIT - waiting) / 1004).unwrap();
    let remote = bed.remote();
    for _ in 0..fitting + 3 {
        remote.send(id, &[1; 1000]).unwrap();
    }
    bed.wait_for_stats("three are dropped", |stats| stats.dropped_messages == 3);
    bed.wait_until("they are reported", || {
        let lines = log.lines().into_iter().filter(|line| line.starts_with("dropped"));
        let counts = lines.map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap());
        counts.sum::<u64>() == 3
    });
    assert_eq!(bed.stats().dropped_bytes, 3 * 1004);
    assert!(log.most_buffered() <= LIMIT);
    expect_numbered(&mut peer, count, 10_000);
    for _ in 0..fitting {
        assert_eq!(peer.frame().payload.len(), 1000);
    }
    peer.expect_silence(Duration::from_millis(10));
}

fn a_socket_may_be_closed_instead(on: On) {
    let log = Log::default();
    let config =
        WebSocketConfig { close_on_backpressure_limit: true, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peer = bed.open_narrow("/");
    log.wait_for(&bed, "open");
    let id = log.id("");
    fill(&bed, id, 10_000);
    assert_eq!(send(&bed, id, LIMIT), SendStatus::Dropped);
    assert_eq!(send(&bed, id, 1), SendStatus::Closed);
    log.wait_for(&bed, "close 1006 unclean too slow: max_backpressure is reached");
    peer.read_to_end();
    assert_eq!(log.count("close"), 1);
}

/// What was published before goes before what is sent, and may be too much.
fn a_publish_of_the_same_turn_may_close_it(on: On) {
    let log = Log::default();
    let config =
        WebSocketConfig { close_on_backpressure_limit: true, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peer = bed.open_narrow("/");
    peer.text("subscribe news");
    peer.expect_text("subscribe: Ok(true)");
    let id = log.id("");
    fill(&bed, id, 10_000);
    let status = bed.on_worker(0, move |context| {
        context.publish("news", &[0; LIMIT][..]);
        context.send(id, "too late")
    });
    assert_eq!(status, SendStatus::Closed);
    log.wait_for(&bed, "close 1006 unclean too slow: max_backpressure is reached");
    peer.read_to_end();
    assert_eq!(log.count("close"), 1);
}

fn the_queue_is_drained_once(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open_narrow("/");
    log.wait_for(&bed, "open");
    let id = log.id("");
    for round in 1..=3 {
        let (count, _) = fill(&bed, id, 10_000);
        assert_eq!(log.count("drain"), round - 1, "not before it has left");
        expect_numbered(&mut peer, count, 10_000);
        bed.wait_until("it has drained", || log.count("drain") == round);
    }
    peer.expect_silence(Duration::from_millis(10));
    assert_eq!(log.count("drain 0"), 3);
}

fn a_turn_may_send_more_than_waits(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.text("send 1000 1000");
    expect_numbered(&mut peer, 1000, 1000);
    assert_eq!(log.last("sent"), "1000 queued 0 dropped 0 closed 0");
}

fn a_turn_is_bounded(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.text("send 20 1048576\nbuffered");
    expect_numbered(&mut peer, 15, 1 << 20);
    peer.text("say done");
    peer.expect_text("done");
    assert_eq!(log.last("sent"), "15 queued 0 dropped 5 closed 0");
    assert!(log.last("buffered").parse::<usize>().unwrap() <= 16 << 20);
    assert_eq!(bed.stats().dropped_messages, 5);
}

fn publishes_and_sends_of_one_turn_all_arrive(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut reader = bed.open("/?name=reader");
    reader.text("subscribe news");
    reader.expect_text("subscribe: Ok(true)");
    let id = log.id("reader");
    let pairs = 500;
    bed.on_worker(0, move |context| {
        for number in 0..pairs {
            context.publish("news", &numbered(2 * number, 1000));
            assert_eq!(context.send(id, &numbered(2 * number + 1, 1000)), SendStatus::Sent);
        }
    });
    expect_numbered(&mut reader, 2 * pairs, 1000);
    assert_eq!(bed.stats().dropped_messages, 0);
}

fn a_turn_may_publish_more_than_fits(on: On) {
    let log = Log::default();
    // More messages, and then more bytes, than one turn of topics takes.
    let topics =
        TopicLimits { max_pending_messages: 16, max_pending_bytes: 4096, ..TopicLimits::default() };
    let limits = Limits { topics, ..Limits::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut reader = bed.open("/?name=reader");
    reader.text("subscribe news");
    reader.expect_text("subscribe: Ok(true)");
    let mut writer = bed.open("/?name=writer");
    writer.text("publish_many news 1000 20");
    expect_numbered(&mut reader, 1000, 20);
    writer.text("publish_many news 10 5000");
    expect_numbered(&mut reader, 10, 5000);
    // And in many turns of handlers, all within one receive.
    let command = frame(Frame::TEXT, b"publish_many news 10 20");
    writer.write(&command.repeat(100));
    for _ in 0..100 {
        expect_numbered(&mut reader, 10, 20);
    }
    let remote = bed.remote();
    for number in 0..1000 {
        remote.publish("news", &numbered(number, 20)).unwrap();
    }
    expect_numbered(&mut reader, 1000, 20);
    assert_eq!(bed.stats().dropped_messages, 0);
}

/// A peer that writes all of this and reads nothing, until the server reads no more.
fn flood(on: On, bytes: &[u8], config: WebSocketConfig) -> (Bed, Log, Peer) {
    let log = Log::default();
    let limits = Limits { max_control_frames_per_second: u16::MAX, ..Limits::default() };
    let most = LIMIT + config.max_payload_length + 14;
    let bed = on.bed().limits(limits).serve(Puppet::app_with(&log, config));
    let mut peer = bed.open_narrow("/");
    peer.pour(bytes.to_vec());
    let mut before = 0;
    bed.wait_until("the server stops reading", || {
        bed.pass(Duration::from_millis(50));
        let now = bed.stats().bytes_in;
        now > 10_000 && std::mem::replace(&mut before, now) == now
    });
    let read = usize::try_from(bed.stats().bytes_in).unwrap();
    assert!(read < bytes.len(), "{read} bytes were read of {}", bytes.len());
    assert!(log.most_buffered() <= most, "{} bytes wait", log.most_buffered());
    (bed, log, peer)
}

fn a_flood_of_small_messages(on: On) {
    // The windows of simulated peers are small.
    let (count, length) = (if on.is_simulated() { 2_000 } else { 20_000 }, 300);
    let bytes: Vec<u8> =
        (0..count).flat_map(|number| frame(Frame::BINARY, &numbered(number, length))).collect();
    let (bed, _log, mut peer) = flood(on, &bytes, WebSocketConfig::default());
    expect_numbered(&mut peer, count, length);
    assert_eq!(bed.stats().dropped_messages, 0);
}

fn a_flood_of_large_messages(on: On) {
    let (count, length) = (if on.is_simulated() { 12 } else { 60 }, 100_000);
    let bytes: Vec<u8> =
        (0..count).flat_map(|number| frame(Frame::BINARY, &numbered(number, length))).collect();
    let config = WebSocketConfig { max_payload_length: length, ..WebSocketConfig::default() };
    let (bed, _log, mut peer) = flood(on, &bytes, config);
    expect_numbered(&mut peer, count, length);
    assert_eq!(bed.stats().dropped_messages, 0);
}

fn a_flood_of_pings(on: On) {
    let count = if on.is_simulated() { 4_000 } else { 45_000 };
    let bytes: Vec<u8> =
        (0..count).flat_map(|number| frame(Frame::PING, &numbered(number, 125))).collect();
    let (_bed, _log, mut peer) = flood(on, &bytes, WebSocketConfig::default());
    expect_numbered(&mut peer, count, 125);
}

fn a_slow_reader_of_a_busy_topic(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut slow = bed.open_narrow("/?name=slow");
    let mut quick = bed.open("/?name=quick");
    for peer in [&mut slow, &mut quick] {
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
    }
    let mut writer = bed.open("/?name=writer");
    let (rounds, each, length) = (100, 20, 4000);
    for _ in 0..rounds {
        writer.text(&format!("publish_many news {each} {length}"));
        expect_numbered(&mut quick, each, length);
    }
    let all = u64::from(rounds * each);
    bed.wait_for_stats("all are counted", |stats| stats.published == all);
    let stats = bed.stats();
    assert!(stats.dropped_messages > 0, "{stats:?}");
    assert_eq!(stats.dropped_bytes, stats.dropped_messages * 4004);
    let reported = log.lines().into_iter().filter_map(|line| {
        line.strip_prefix("slow dropped ")?.split(' ').next()?.parse::<u64>().ok()
    });
    assert_eq!(reported.sum::<u64>(), stats.dropped_messages);
    assert_eq!(log.count("quick dropped"), 0);
    assert!(log.most_buffered() <= LIMIT, "{} bytes wait", log.most_buffered());
    // What was not dropped arrives, and then the socket is as good as any other.
    for _ in 0..all - stats.dropped_messages {
        assert_eq!(slow.frame().payload.len(), length);
    }
    log.wait_for(&bed, "slow drain 0");
    writer.text("publish news after all");
    slow.expect_text("after all");
    quick.expect_text("after all");
}

fn a_slow_reader_may_be_closed_for_a_topic(on: On) {
    let log = Log::default();
    let config =
        WebSocketConfig { close_on_backpressure_limit: true, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut slow = bed.open_narrow("/?name=slow");
    let mut quick = bed.open("/?name=quick");
    for peer in [&mut slow, &mut quick] {
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
    }
    let mut writer = bed.open("/?name=writer");
    for _ in 0..100 {
        writer.text("publish_many news 20 4000");
        expect_numbered(&mut quick, 20, 4000);
    }
    log.wait_for(&bed, "slow close 1006 unclean too slow: max_backpressure is reached");
    slow.read_to_end();
    quick.text("count news");
    quick.expect_text("1");
}

fn a_panic_over_what_was_dropped(on: On) {
    for event in ["drain", "dropped"] {
        let log = Log::default();
        let bed = on.bed().serve(Puppet::app(&log));
        let mut peer = bed.open_narrow(&format!("/?panic={event}"));
        log.wait_for(&bed, "open");
        let id = log.id("");
        let (count, _) = fill(&bed, id, 10_000);
        if event == "dropped" {
            bed.remote().send(id, &[0; LIMIT]).unwrap();
            log.wait_for(&bed, "dropped");
        }
        expect_numbered(&mut peer, count, 10_000);
        peer.expect_close(1011, "internal error");
        peer.close(1011, "");
        peer.expect_goodbye();
        log.wait_for(&bed, "close 1011 unclean");
        bed.wait_for_stats("it is counted", |stats| stats.handler_panics == 1);
    }
}

fn a_close_follows_what_waits(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open_narrow("/");
    log.wait_for(&bed, "open");
    let id = log.id("");
    let (count, _) = fill(&bed, id, 10_000);
    bed.on_worker(0, move |context| context.close(id, CloseCode::NORMAL, "bye"));
    assert_eq!(send(&bed, id, 1), SendStatus::Closed);
    expect_numbered(&mut peer, count, 10_000);
    peer.expect_close(1000, "bye");
    peer.close(1000, "");
    peer.expect_goodbye();
    log.wait_for(&bed, "close 1000 clean");
}

fn a_close_does_not_wait_for_ever(on: On) {
    let log = Log::default();
    let limits = Limits { close_timeout: Duration::from_millis(200), ..Limits::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let _peer = bed.open_narrow("/");
    log.wait_for(&bed, "open");
    let id = log.id("");
    fill(&bed, id, 10_000);
    bed.on_worker(0, move |context| context.close(id, CloseCode::NORMAL, "bye"));
    log.wait_for(&bed, "close 1006 unclean the close frame was not answered");
    bed.wait_for_stats("the connection is gone", |stats| stats.connections == 0);
}

fn a_close_waits_while_something_moves(on: On) {
    let log = Log::default();
    let limits = Limits { close_timeout: Duration::from_secs(2), ..Limits::default() };
    let config = WebSocketConfig { max_backpressure: 32 << 20, ..WebSocketConfig::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app_with(&log, config));
    let mut peer = bed.open_narrow("/");
    // More than the kernel takes, and read for longer than the peer has time to answer a close.
    let count = if on.is_simulated() { 300 } else { 8000 };
    peer.text(&format!("send {count} 2000\nclose 1000 bye"));
    for number in 0..count {
        assert_eq!(peer.frame().payload, numbered(number, 2000));
        if number % (count / 50) == 0 {
            bed.pass(Duration::from_millis(100));
        }
    }
    peer.expect_close(1000, "bye");
    peer.close(1000, "");
    peer.expect_goodbye();
    log.wait_for(&bed, "close 1000 clean");
}

fn a_slow_peer_goes_away(on: On) {
    for end in ["reset", "drop", "abort"] {
        let log = Log::default();
        let bed = on.bed().serve(Puppet::app(&log));
        let peer = bed.open_narrow("/");
        log.wait_for(&bed, "open");
        let id = log.id("");
        fill(&bed, id, 10_000);
        match end {
            "reset" => peer.reset(),
            "drop" => drop(peer),
            _ => bed.remote().abort(id).unwrap(),
        }
        log.wait_for(&bed, "close 1006 unclean");
        bed.wait_for_stats("the connection is gone", |stats| stats.connections == 0);
        assert_eq!(log.count("close"), 1);
    }
}

fn a_slow_peer_that_says_nothing_idles(on: On) {
    let log = Log::default();
    // Long enough to fill the kernel's buffers meanwhile, with large messages.
    let idle_timeout = Duration::from_secs(1);
    let config =
        WebSocketConfig { idle_timeout, max_backpressure: 16 << 20, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let _peer = bed.open_narrow("/");
    log.wait_for(&bed, "open");
    // More than the kernel takes, and in one turn: the time runs already.
    let (id, message) = (log.id(""), numbered(0, 10_000));
    bed.on_worker(0, move |context| {
        for _ in 0..1000 {
            assert_ne!(context.send(id, &message), SendStatus::Dropped);
        }
    });
    log.wait_for(&bed, "close 1006 unclean nothing was heard for the idle timeout");
}
