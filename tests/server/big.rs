//! Messages at the ends of the scale.

use std::time::Duration;

use sockeye::WebSocketConfig;

use crate::support::{Frame, Log, On, Puppet, frame, numbered, scenarios};

scenarios!(
    ten_thousand_tiny_messages_in_one_segment,
    a_byte_at_a_time;
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
