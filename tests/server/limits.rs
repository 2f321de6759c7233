//! Limits of a worker and of a socket: connections, control frames, reading that is paused,
//! messages in pieces.

use std::time::Duration;

use sockeye::{App, Limits, SocketId, WebSocketConfig};

use crate::support::{
    Bed, Frame, Log, On, Peer, Puppet, close_payload, frame, frame_of, get, numbered, scenarios,
};

scenarios!(
    connections_are_limited,
    connections_of_one_address_are_limited,
    too_many_control_frames_wait,
    a_socket_that_is_throttled_can_be_closed,
    a_paused_socket_is_not_read,
    a_paused_socket_does_not_idle,
    a_paused_socket_can_be_closed,
    a_paused_peer_goes_away,
    a_socket_pauses_and_is_resumed_in_one_turn,
    many_small_fragments_are_a_message,
    empty_fragments_are_not_free,
    pings_of_the_application_are_cut;
    calm:
    messages_may_come_in_pieces,
    sent_messages_may_count_as_life,
);

fn refused(peer: &mut Peer) {
    peer.write_if_possible(&get("/", ""));
    assert_eq!(peer.read_to_end().0, b"");
}

fn connections_are_limited(on: On) {
    let limits = Limits { max_connections: 3, ..Limits::default() };
    let log = Log::default();
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut peers: Vec<Peer> = (0..3).map(|_| bed.open("/")).collect();
    for _ in 0..2 {
        refused(&mut bed.connect());
    }
    bed.wait_for_stats("two are refused", |stats| stats.refused == 2);
    drop(peers.pop());
    bed.wait_for_stats("there is room", |stats| stats.connections == 2);
    let mut peer = bed.open("/");
    peer.text("say welcome");
    peer.expect_text("welcome");
}

fn connections_of_one_address_are_limited(on: On) {
    let limits = Limits { max_connections_per_address: 2, ..Limits::default() };
    let log = Log::default();
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let first = bed.open("/");
    let _second = bed.open("/");
    refused(&mut bed.connect());
    bed.wait_for_stats("one is refused", |stats| stats.refused == 1);
    first.reset();
    bed.wait_for_stats("there is room", |stats| stats.connections == 1);
    bed.open("/");
}

fn too_many_control_frames_wait(on: On) {
    let limits = Limits { max_control_frames_per_second: 10, ..Limits::default() };
    let log = Log::default();
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    let mut other = bed.open("/?name=other");
    for number in 0..25 {
        peer.write(&frame(Frame::PING, &numbered(number, 4)));
    }
    peer.text("say at last");
    let start = bed.clock();
    for number in 0..25 {
        peer.expect_frame(Frame::PONG, &numbered(number, 4));
        if number == 5 {
            other.text("say meanwhile");
            other.expect_text("meanwhile");
        }
    }
    peer.expect_text("at last");
    // 11 in the first second (one too many makes it pause), 11 in the next, 3 in the last.
    let time = bed.clock() - start;
    assert!((1000..3500).contains(&time.as_millis()), "{time:?}");
}

fn a_socket_that_is_throttled_can_be_closed(on: On) {
    let limits = Limits { max_control_frames_per_second: 10, ..Limits::default() };
    let log = Log::default();
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.write(&frame(Frame::PING, b"").repeat(12));
    for _ in 0..11 {
        peer.expect_frame(Frame::PONG, b"");
    }
    bed.remote().close(log.id(""), sockeye::CloseCode::NORMAL, "bye").unwrap();
    peer.expect_close(1000, "bye");
    peer.close(1000, "");
    peer.expect_goodbye();
    log.wait_for(&bed, "close 1000 clean");
}

/// A socket that the application does not read from.
fn paused(bed: &Bed, log: &Log) -> (Peer, SocketId) {
    let mut peer = bed.open("/");
    peer.text("say paused\npause");
    peer.expect_text("paused");
    (peer, log.id(""))
}

fn a_paused_socket_is_not_read(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let (mut peer, id) = paused(&bed, &log);
    // More than the kernel keeps.
    let count = if on.is_simulated() { 2_000 } else { 30_000 };
    let bytes: Vec<u8> =
        (0..count).flat_map(|number| frame(Frame::BINARY, &numbered(number, 300))).collect();
    peer.pour(bytes);
    bed.pass(Duration::from_millis(100));
    peer.expect_silence(Duration::from_millis(20));
    let received = bed.stats().bytes_in;
    assert!(received <= 2 * (64 << 10) + 1000, "{received} bytes were received all the same");
    // It can still be sent to.
    bed.on_worker(0, move |context| context.send(id, "news"));
    peer.expect_text("news");
    bed.on_worker(0, move |context| context.resume(id));
    for number in 0..count {
        assert_eq!(peer.frame().payload, numbered(number, 300));
    }
}

fn a_paused_socket_does_not_idle(on: On) {
    let log = Log::default();
    let idle_timeout = Duration::from_millis(200);
    let config = WebSocketConfig { idle_timeout, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let (mut peer, id) = paused(&bed, &log);
    peer.text("say patient");
    // Asked or not, it is not suspected.
    let mut pings = 0;
    let start = bed.clock();
    while (bed.clock() - start).as_millis() < 600 {
        bed.pass(Duration::from_millis(50));
    }
    assert_eq!(log.count("close"), 0);
    bed.on_worker(0, move |context| context.resume(id));
    loop {
        let frame = peer.frame();
        match frame.opcode {
            Frame::PING => pings += 1,
            _ => break assert_eq!(frame.payload, b"patient"),
        }
    }
    assert!(pings <= 1, "{pings} pings");
}

fn a_paused_socket_can_be_closed(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let (mut peer, id) = paused(&bed, &log);
    peer.text("say never");
    bed.on_worker(0, move |context| context.close(id, sockeye::CloseCode::NORMAL, "bye"));
    peer.expect_close(1000, "bye");
    peer.close(1000, "");
    peer.expect_goodbye();
    log.wait_for(&bed, "close 1000 clean");
    assert_eq!(log.count("message"), 1);
}

fn a_paused_peer_goes_away(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let (peer, id) = paused(&bed, &log);
    peer.reset();
    bed.pass(Duration::from_millis(20));
    // Noticed at once, or when it is sent to.
    bed.on_worker(0, move |context| context.send(id, "are you there?"));
    log.wait_for(&bed, "close 1006 unclean");
}

fn a_socket_pauses_and_is_resumed_in_one_turn(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    let commands = [
        frame(Frame::TEXT, b"pause\nresume\npause\nresume"),
        frame(Frame::TEXT, b"say one"),
        frame(Frame::TEXT, b"say two"),
    ];
    peer.write(&commands.concat());
    peer.expect_text("one");
    peer.expect_text("two");
}

fn piecewise(on: On, log: &Log) -> Bed {
    let config = WebSocketConfig {
        piecewise: true,
        max_payload_length: 1 << 20,
        ..WebSocketConfig::default()
    };
    on.bed().serve(Puppet::app_with(log, config))
}

fn messages_may_come_in_pieces(on: On) {
    let log = Log::default();
    let bed = piecewise(on, &log);
    let mut peer = bed.open("/");
    // What is there as a whole is a message.
    peer.text("say whole");
    peer.expect_text("whole");
    // The puppet sends each piece back: together they are the message.
    let message: String = ('a'..='z').cycle().take(100_000).collect();
    let bytes = frame(Frame::TEXT, message.as_bytes());
    let mut reply = String::new();
    for chunk in bytes.chunks(10_000) {
        peer.write(chunk);
        bed.pass(Duration::from_millis(1));
    }
    let mut count = 0;
    loop {
        let frame = peer.frame();
        assert_eq!(frame.opcode, if count == 0 { Frame::TEXT } else { Frame::CONTINUATION });
        reply.push_str(std::str::from_utf8(&frame.payload).unwrap());
        count += 1;
        if frame.is_last {
            break;
        }
    }
    assert!(count > 1);
    assert_eq!(reply, message);
    peer.text("say after");
    peer.expect_text("after");
}

fn many_small_fragments_are_a_message(on: On) {
    let log = Log::default();
    let config = WebSocketConfig { max_payload_length: 64 << 10, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peer = bed.open("/");
    let payload = numbered(0, 64 << 10);
    let mut bytes = Vec::new();
    for (index, piece) in payload.chunks(64).enumerate() {
        let opcode = if index == 0 { Frame::BINARY } else { Frame::CONTINUATION };
        let is_last = (index + 1) * 64 == payload.len();
        bytes.extend(frame_of(if is_last { 0x80 | opcode } else { opcode }, piece));
        if index % 100 == 0 {
            bytes.extend(frame(Frame::PING, b"between"));
        }
    }
    peer.write(&bytes);
    for _ in 0..=10 {
        peer.expect_frame(Frame::PONG, b"between");
    }
    peer.expect_frame(Frame::BINARY, &payload);
}

fn empty_fragments_are_not_free(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    peer.write(&frame_of(Frame::BINARY, b""));
    peer.write_if_possible(&frame_of(Frame::CONTINUATION, b"").repeat(10_000));
    let (bytes, _) = peer.read_to_end();
    assert!(bytes.is_empty() || bytes[2..].starts_with(&close_payload(1009, "")), "{bytes:?}");
    log.wait_for(&bed, "close 1009 unclean too many small fragments");
}

fn pings_of_the_application_are_cut(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    let payload = "p".repeat(200);
    peer.text(&format!("ping {payload}\nping short"));
    peer.expect_frame(Frame::PING, &payload.as_bytes()[..125]);
    peer.expect_frame(Frame::PING, b"short");
}

fn sent_messages_may_count_as_life(on: On) {
    for reset_idle_timeout_on_send in [false, true] {
        let log = Log::default();
        let config = WebSocketConfig {
            reset_idle_timeout_on_send,
            send_pings_automatically: false,
            idle_timeout: Duration::from_millis(500),
            ..WebSocketConfig::default()
        };
        let bed = on
            .bed()
            .serve(move || App::new().websocket_with("/", config.clone(), Puppet::new(&log)));
        let mut peer = bed.open("/");
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
        let start = bed.clock();
        while (bed.clock() - start).as_millis() < 900 {
            bed.remote().publish("news", "tick").unwrap();
            bed.pass(Duration::from_millis(50));
        }
        let stats = bed.stats();
        assert_eq!(stats.websockets == 1, reset_idle_timeout_on_send, "{stats:?}");
        drop(peer);
    }
}
