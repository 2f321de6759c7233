//! Tests of the decoder by topic of RFC 6455, in literal bytes, for both roles.

use super::*;

#[test]
fn the_examples_of_the_rfc() {
    // RFC 6455 §5.7.
    let mut decoder = Decoder::new(Role::Client);
    let mut input = *b"\x01\x03Hel\x80\x02lo\x89\x05Hello";
    let step = decoder.next(&mut input, &Limits::default()).expect("good frames");
    assert_eq!((step.consumed, step.event), (9, Some(Event::Message(Message::Text("Hello")))));
    let step = decoder.next(&mut input[9..], &Limits::default()).expect("good frames");
    assert_eq!((step.consumed, step.event), (7, Some(Event::Ping(b"Hello"))));
}
