//! Messages at the ends of the scale.

use std::time::Duration;

use sockeye::{App, Message, WebSocket, WebSocketConfig, on_message};

use crate::support::{Frame, Log, On, Puppet, frame, frame_of, numbered, scenarios};

scenarios!(
    ten_thousand_tiny_messages_in_one_segment,
    a_byte_at_a_time,
    long_messages_among_short_ones,
    parts_of_a_long_message_are_sent_on;
    calm:
    sixty_four_mebibytes,
);

fn sixty_four_mebibytes(on: On) {
    let log = Log::default();
    let max_payload_length = 64 << 20;
    let config = WebSocketConfig { max_payload_length, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peer = bed.open("/");
    // Once is enough where every byte costs a simulation.
    let length = if on.is_simulated() { 4 << 20 } else { max_payload_length };
    let message = numbered(7, length);
    peer.pour(frame(Frame::BINARY, &message));
    let echo = peer.frame();
    assert!(echo.is_last && echo.opcode == Frame::BINARY);
    assert!(echo.payload == message, "the echo is another message");
    peer.text("say after");
    peer.expect_text("after");
}

/// Longer than one receive, cut by it anywhere, in one frame and in fragments.
fn long_messages_among_short_ones(on: On) {
    let log = Log::default();
    let config = WebSocketConfig { max_payload_length: 1 << 20, ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peer = bed.open("/");
    let lengths = [20_000, 65_500, 65_536, 81_900, 131_072, 200_001, 262_144, 400_000];
    let lengths = if on.is_simulated() { &lengths[..5] } else { &lengths[..] };
    for (number, &length) in (0..).zip(lengths) {
        let message = numbered(number, length);
        let (first, second) = message.split_at(length / 3);
        let bytes = [
            frame(Frame::BINARY, &message),
            frame(Frame::BINARY, &numbered(number, 5)),
            frame_of(Frame::BINARY, first),
            frame(Frame::PING, b"amid"),
            frame(Frame::CONTINUATION, second),
            frame(Frame::TEXT, b"say next"),
        ];
        peer.pour(bytes.concat());
        peer.expect_frame(Frame::BINARY, &message);
        peer.expect_frame(Frame::BINARY, &numbered(number, 5));
        peer.expect_frame(Frame::PONG, b"amid");
        peer.expect_frame(Frame::BINARY, &message);
        peer.expect_text("next");
    }
    // The last one ends with a long message: its memory goes with it, and not when more comes.
    peer.pour(frame(Frame::BINARY, &numbered(9, 150_000)));
    peer.expect_frame(Frame::BINARY, &numbered(9, 150_000));
    bed.pass(Duration::from_millis(50));
    assert_eq!(bed.incomplete_bytes().unwrap_or(0), 0);
}

/// What holds a long message is shared with what is sent of it, and outlives the handler.
fn parts_of_a_long_message_are_sent_on(on: On) {
    let bed = on.bed().serve(|| {
        let config = WebSocketConfig { max_payload_length: 1 << 20, ..WebSocketConfig::default() };
        let handler = |socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
            let bytes = message.as_bytes();
            let third = bytes.len() / 3;
            // Some parts are worth keeping all of it, some are not, and one only looks like it.
            let copy = bytes.to_vec();
            for part in [bytes, &bytes[third..], &bytes[..third], &bytes[1..], &copy] {
                socket.send(Message::Binary(part));
            }
        };
        App::new().websocket_with("/", config, on_message(handler))
    });
    let mut peer = bed.open("/");
    for (number, length) in (0..).zip([90_000, 131_072]) {
        let message = numbered(number, length);
        peer.pour(frame(Frame::BINARY, &message));
        let third = length / 3;
        let all = &message[..];
        for part in [all, &all[third..], &all[..third], &all[1..], all] {
            peer.expect_frame(Frame::BINARY, part);
        }
    }
}

fn ten_thousand_tiny_messages_in_one_segment(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    let count = 10_000;
    peer.write(
        &(0..count)
            .flat_map(|number| frame(Frame::BINARY, &numbered(number, 4)))
            .collect::<Vec<u8>>(),
    );
    for number in 0..count {
        peer.expect_frame(Frame::BINARY, &numbered(number, 4));
    }
    bed.wait_for_stats("all are counted", |stats| stats.messages_out == u64::from(count));
}

fn a_byte_at_a_time(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/");
    let frames =
        [frame(Frame::TEXT, "say Käse".as_bytes()), frame(Frame::PING, b"p"), numbered_frame()];
    for byte in frames.concat() {
        peer.write(&[byte]);
        bed.pass(Duration::from_micros(50));
    }
    peer.expect_text("Käse");
    peer.expect_frame(Frame::PONG, b"p");
    peer.expect_frame(Frame::BINARY, &numbered(1, 300));
}

fn numbered_frame() -> Vec<u8> {
    frame(Frame::BINARY, &numbered(1, 300))
}
