//! The life of a socket: the order of calls, and every way to end.

use std::time::Duration;

use sockeye::{CloseCode, Limits, WebSocketConfig};

use crate::support::{End, Frame, Log, On, Puppet, close_payload, frame, frame_of, scenarios};

scenarios!(
    calls_come_in_order_and_data_comes_back,
    the_peer_closes,
    the_peer_closes_without_a_code,
    the_application_closes,
    the_application_closes_and_sends_no_more,
    the_peer_answers_with_frames_under_way,
    the_application_aborts,
    another_thread_closes_and_aborts,
    a_protocol_error_closes_with_1002,
    invalid_text_closes_with_1007,
    a_message_too_big_closes_with_1009,
    the_input_ends_without_a_close_frame,
    the_connection_breaks,
    a_close_frame_that_is_not_answered,
    a_peer_that_does_not_end_its_connection,
    a_panic_costs_one_socket,
    a_quiet_peer_is_closed,
    a_peer_that_answers_pings_is_kept,
    without_pings_a_quiet_peer_is_closed_unasked,
    a_life_has_an_end,
);

fn calls_come_in_order_and_data_comes_back(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/?name=a");
    peer.text("say hello");
    peer.expect_text("hello");
    peer.write(&frame(Frame::PING, b"p1"));
    peer.expect_frame(Frame::PONG, b"p1");
    peer.write(&frame(Frame::PONG, b"p2"));
    peer.binary(b"\x00\xff");
    peer.expect_frame(Frame::BINARY, b"\x00\xff");
    peer.close(4321, "enough");
    peer.expect_close(4321, "");
    peer.expect_goodbye();
    let lines = [
        "a upgrade",
        "a open",
        "a message say hello",
        "status Sent",
        "a ping p1",
        "a pong p2",
        "a close 4321 clean enough",
    ];
    log.expect(&bed, &lines);
    bed.wait_for_stats("the socket is gone", |stats| stats.websockets == 0);
    let stats = bed.stats();
    assert_eq!((stats.messages_in, stats.messages_out), (2, 2), "{stats:?}");
    assert_eq!((stats.requests, stats.protocol_errors, stats.handler_panics), (1, 0, 0));
}

fn the_peer_closes(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    // What follows a close frame does not count (RFC 6455 §5.5.1).
    let late = frame(Frame::TEXT, b"say too late");
    peer.write(&[frame(Frame::CLOSE, &close_payload(1000, "bye")), late].concat());
    peer.expect_close(1000, "");
    peer.expect_goodbye();
    log.expect(&bed, &["upgrade", "open", "close 1000 clean bye"]);
}

fn the_peer_closes_without_a_code(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.write(&frame(Frame::CLOSE, b""));
    peer.expect_frame(Frame::CLOSE, b"");
    peer.expect_goodbye();
    log.expect(&bed, &["upgrade", "open", "close 1005 clean "]);
}

fn the_application_closes(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    let reason = "x".repeat(200);
    peer.text(&format!("close 4000 {reason}"));
    peer.expect_close(4000, &reason[..123]);
    log.wait_for(&bed, "message");
    assert_eq!(log.count("close"), 0, "the handshake is not over");
    peer.close(4000, "");
    peer.expect_goodbye();
    log.wait_for(&bed, "close 4000 clean");
}

fn the_application_closes_and_sends_no_more(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.text("say one\nclose 1000 first\nsay two\nclose 4000 second\nping p");
    peer.expect_text("one");
    peer.expect_close(1000, "first");
    peer.close(1000, "");
    peer.expect_goodbye();
    log.wait_for(&bed, "close 1000 clean");
    let statuses: Vec<_> = log.lines().into_iter().filter(|l| l.starts_with("status")).collect();
    assert_eq!(statuses, ["status Sent", "status Closed", "status Closed"]);
}

fn the_peer_answers_with_frames_under_way(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.text("close 1000 bye");
    peer.expect_close(1000, "bye");
    peer.text("say I did not know");
    peer.write(&frame(Frame::PING, b"?"));
    peer.close(1000, "");
    peer.expect_goodbye();
    log.expect(&bed, &["upgrade", "open", "message close 1000 bye", "close 1000 clean "]);
}

fn the_application_aborts(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.text("abort\nabort\nclose 1000 too late");
    let (bytes, _) = peer.read_to_end();
    assert_eq!(bytes, b"");
    log.wait_for(&bed, "close");
    assert_eq!(log.last("close"), "1006 unclean aborted by the application");
    assert_eq!(log.count("close"), 1);
}

fn another_thread_closes_and_aborts(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut closed = bed.open("/?name=closed");
    let mut aborted = bed.open("/?name=aborted");
    log.wait_for(&bed, "closed open");
    log.wait_for(&bed, "aborted open");
    let (remote, ids) = (bed.remote(), [log.id("closed"), log.id("aborted")]);
    std::thread::spawn(move || {
        remote.send(ids[0], "before").unwrap();
        remote.close(ids[0], CloseCode::GOING_AWAY, "go").unwrap();
        remote.send(ids[0], "after").unwrap();
        remote.abort(ids[1]).unwrap();
        remote.abort(ids[1]).unwrap();
    })
    .join()
    .unwrap();
    closed.expect_text("before");
    closed.expect_close(1001, "go");
    closed.close(1001, "");
    closed.expect_goodbye();
    assert_eq!(aborted.read_to_end().0, b"");
    log.wait_for(&bed, "closed close 1001 clean");
    log.wait_for(&bed, "aborted close 1006 unclean");
    assert_eq!(log.count("aborted close"), 1);
}

fn a_protocol_error_closes_with_1002(on: On) {
    let unmasked = vec![0x81, 0x01, b'x'];
    let faults = [
        (unmasked, "unmasked frame from a client"),
        (frame_of(0xc1, b"x"), "a reserved bit is set"),
        (frame_of(0x83, b"x"), "reserved opcode"),
        (frame_of(0x09, b"x"), "fragmented control frame"),
        (frame_of(0x80, b"x"), "continuation without a message"),
        (frame(Frame::CLOSE, b"x"), "close frame with half a code"),
        (frame(Frame::CLOSE, &close_payload(1005, "")), "invalid close code"),
    ];
    for (bytes, reason) in faults {
        let log = Log::default();
        let bed = on.bed().serve(Puppet::app(&log));
        let mut peer = bed.open("/");
        peer.write(&[frame(Frame::BINARY, b"fine"), bytes].concat());
        peer.expect_frame(Frame::BINARY, b"fine");
        peer.expect_close(1002, reason);
        peer.expect_goodbye();
        log.expect(&bed, &["upgrade", "open", &format!("close 1002 unclean {reason}")]);
        bed.wait_for_stats("it is counted", |stats| stats.protocol_errors == 1);
    }
}

fn invalid_text_closes_with_1007(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    // Known at the first impossible byte, before the message is there.
    let begun = frame_of(0x01, b"say \xce\xba\xed\xa0\x80");
    peer.write(&begun);
    peer.expect_close(1007, "invalid UTF-8");
    peer.expect_goodbye();
    log.expect(&bed, &["upgrade", "open", "close 1007 unclean invalid UTF-8"]);
}

fn a_message_too_big_closes_with_1009(on: On) {
    let log = Log::default();
    let config = WebSocketConfig { max_payload_length: 1000, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut whole = bed.open("/?name=whole");
    whole.binary(&[7; 1000]);
    whole.expect_frame(Frame::BINARY, &[7; 1000]);
    // At the header: the payload need not come.
    whole.write(&frame(Frame::BINARY, &[7; 1001])[..8]);
    whole.expect_close(1009, "message too long");
    whole.expect_goodbye();
    let mut pieces = bed.open("/?name=pieces");
    pieces.write(&frame_of(0x02, &[7; 600]));
    pieces.write(&frame_of(0x80, &[7; 600])[..8]);
    pieces.expect_close(1009, "message too long");
    pieces.expect_goodbye();
    log.wait_for(&bed, "whole close 1009 unclean");
    log.wait_for(&bed, "pieces close 1009 unclean");
}

fn the_input_ends_without_a_close_frame(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    // An answer to what came before the end still arrives.
    peer.text("send 100 1000");
    peer.write(&frame(Frame::BINARY, b"half")[..7]);
    peer.shutdown();
    for _ in 0..100 {
        assert_eq!(peer.frame().payload.len(), 1000);
    }
    peer.expect_goodbye();
    log.wait_for(&bed, "close");
    assert_eq!(log.last("close"), "1006 unclean the connection ended without a close frame");
}

fn the_connection_breaks(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    bed.open("/").reset();
    log.wait_for(&bed, "close 1006 unclean");
    assert_eq!(log.count("close"), 1);
}

fn a_close_frame_that_is_not_answered(on: On) {
    let log = Log::default();
    let limits = Limits { close_timeout: Duration::from_millis(200), ..Limits::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    let start = bed.clock();
    peer.text("close 1000 bye");
    peer.expect_close(1000, "bye");
    peer.write(&frame(Frame::PING, b"I am there"));
    assert_eq!(peer.read_to_end().0, b"");
    let time = bed.clock() - start;
    assert!((190..2000).contains(&time.as_millis()), "{time:?}");
    log.wait_for(&bed, "close 1006 unclean the close frame was not answered");
}

fn a_peer_that_does_not_end_its_connection(on: On) {
    let log = Log::default();
    let limits = Limits { close_timeout: Duration::from_millis(200), ..Limits::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.close(1000, "");
    peer.expect_close(1000, "");
    // Ours has ended; the peer sends on, which is thrown away, for a while.
    peer.expect_end(End::Fin);
    peer.write(&[0; 1000]);
    bed.wait_for_stats("the connection is closed", |stats| stats.connections == 0);
    log.expect(&bed, &["upgrade", "open", "close 1000 clean "]);
}

fn a_panic_costs_one_socket(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut witness = bed.open("/?name=witness");
    for event in ["open", "message", "ping", "pong"] {
        let mut peer = bed.open(&format!("/?name={event}&panic={event}"));
        match event {
            "message" => peer.text("say never"),
            "ping" => peer.write(&frame(Frame::PING, b"")),
            "pong" => peer.write(&frame(Frame::PONG, b"")),
            _ => {}
        }
        if event == "ping" {
            peer.expect_frame(Frame::PONG, b"");
        }
        peer.expect_close(1011, "internal error");
        peer.close(1011, "");
        peer.expect_goodbye();
        log.wait_for(&bed, &format!("{event} close 1011 unclean internal error"));
    }
    let mut peer = bed.connect();
    peer.write(&crate::support::handshake("/?panic=upgrade", ""));
    peer.expect_status(500);
    // Nothing was wrong with the request, so that another may follow.
    peer.write(&crate::support::handshake("/?name=close&panic=close", ""));
    peer.expect_switch();
    peer.close(1000, "");
    peer.expect_close(1000, "");
    peer.expect_goodbye();
    log.wait_for(&bed, "close close 1000");
    witness.text("say still here");
    witness.expect_text("still here");
    bed.wait_for_stats("all are counted", |stats| stats.handler_panics == 6);
}

fn quick(idle_timeout: u64) -> WebSocketConfig {
    WebSocketConfig {
        idle_timeout: Duration::from_millis(idle_timeout),
        ..WebSocketConfig::default()
    }
}

fn a_quiet_peer_is_closed(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app_with(&log, quick(400)));
    let mut peer = bed.open("/");
    let start = bed.clock();
    peer.expect_frame(Frame::PING, b"");
    assert!((bed.clock() - start).as_millis() >= 300, "no ping before it is due");
    assert_eq!(peer.read_to_end().0, b"");
    let time = bed.clock() - start;
    assert!((390..2000).contains(&time.as_millis()), "{time:?}");
    log.wait_for(&bed, "close 1006 unclean nothing was heard for the idle timeout");
    bed.wait_for_stats("it is counted", |stats| stats.idle_timeouts == 1);
}

fn a_peer_that_answers_pings_is_kept(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app_with(&log, quick(1000)));
    let mut peer = bed.open("/");
    for _ in 0..2 {
        peer.expect_frame(Frame::PING, b"");
        peer.write(&frame(Frame::PONG, b""));
    }
    peer.text("say alive");
    peer.expect_text("alive");
    assert_eq!(log.count("pong"), 2);
}

fn without_pings_a_quiet_peer_is_closed_unasked(on: On) {
    let log = Log::default();
    let config = WebSocketConfig { send_pings_automatically: false, ..quick(300) };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peer = bed.open("/");
    assert_eq!(peer.read_to_end().0, b"");
    log.wait_for(&bed, "close 1006 unclean nothing was heard");
}

fn a_life_has_an_end(on: On) {
    let log = Log::default();
    let max_lifetime = Duration::from_millis(200);
    let config = WebSocketConfig { max_lifetime, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peer = bed.open("/");
    let start = bed.clock();
    peer.expect_close(1000, "please reconnect");
    assert!((bed.clock() - start).as_millis() >= 150);
    peer.close(1000, "");
    peer.expect_goodbye();
    log.expect(&bed, &["upgrade", "open", "close 1000 clean "]);
}
