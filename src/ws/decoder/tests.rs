//! Tests of the decoder by topic of RFC 6455, in literal bytes, for both roles.
//!
//! Each stream is fed whole, byte by byte, and cut at every place or pair of places. What it means
//! is said in words, as [`transcript`] writes them.

mod memory;
mod splits;

use super::*;

/// What a stream means: `text(hi)`, `binary(0102)`, `ping(x)`, `pong(x)`, `close(1000 bye)`,
/// `close()`, and the name of the fault. Adjoining pieces of a message are joined; of a message
/// that goes on after something else, or does not go on, it is `text(hi...`. The pieces are the
/// bytes of each receive.
fn transcript<'p>(
    role: Role,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> String {
    let mut decoder = Decoder::new(role);
    let mut words = Words::default();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut done = 0;
        loop {
            let step = match decoder.next(&mut piece[done..], limits) {
                Ok(step) => step,
                Err(error) => {
                    let again = decoder.next(&mut [0x81], limits).err();
                    assert_eq!(again, Some(error), "a fault is repeated");
                    assert!(!decoder.is_idle() && decoder.held_bytes() == 0);
                    return words.fail(error);
                }
            };
            done += step.consumed;
            match step.event {
                Some(event) => words.add(event),
                None => break,
            }
        }
        assert_eq!(done, piece.len(), "without an event all is consumed");
        assert_eq!(decoder.is_idle(), decoder.held_bytes() == 0, "at rest nothing is kept");
    }
    words.end()
}

#[derive(Default)]
struct Words {
    words: Vec<String>,
    /// The message whose pieces arrive: whether it is text, and what it has.
    pieces: Option<(bool, Vec<u8>)>,
}

impl Words {
    fn add(&mut self, event: Event<'_>) {
        let word = match event {
            Event::Message(message) => {
                assert_eq!(self.pieces, None);
                show(message)
            }
            Event::Fragment { message, is_last } => {
                assert!(is_last || !message.is_empty(), "no empty piece but the last");
                let before = self.pieces.take().unwrap_or((message.is_text(), Vec::new()));
                assert_eq!(before.0, message.is_text());
                let (is_text, bytes) =
                    (before.0, [before.1.as_slice(), message.as_bytes()].concat());
                if !is_last {
                    self.pieces = Some((is_text, bytes));
                    return;
                }
                let text = String::from_utf8(bytes.clone());
                show(if is_text {
                    Message::Text(text.as_deref().expect("text"))
                } else {
                    Message::Binary(&bytes)
                })
            }
            Event::Ping(payload) => format!("ping({})", payload.escape_ascii()),
            Event::Pong(payload) => format!("pong({})", payload.escape_ascii()),
            Event::Close(None) => "close()".into(),
            Event::Close(Some((code, reason))) => format!("close({code} {reason})"),
        };
        self.pause();
        self.words.push(word);
    }

    /// Shows the pieces that came before something else.
    fn pause(&mut self) {
        if let Some((is_text, bytes)) = &mut self.pieces
            && !bytes.is_empty()
        {
            let kind = if *is_text { "text" } else { "binary" };
            self.words.push(format!("{kind}({}...", bytes.escape_ascii()));
            bytes.clear();
        }
    }

    /// Which pieces stand before a fault in the text depends on the cuts, and is left out.
    fn fail(mut self, error: Error) -> String {
        if error == Error::InvalidUtf8 {
            self.pieces = None;
        }
        let mut all = self.end();
        if !all.is_empty() {
            all.push(' ');
        }
        all + &format!("{error:?}")
    }

    fn end(mut self) -> String {
        self.pause();
        self.words.join(" ")
    }
}

fn show(message: Message<'_>) -> String {
    match message {
        Message::Text(text) => format!("text({text})"),
        Message::Binary(bytes) => {
            format!("binary({})", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
        }
    }
}

/// Checks the meaning of a stream, however it is cut.
#[track_caller]
fn means(role: Role, limits: &Limits, bytes: &[u8], expected: &str) {
    let shown = bytes.escape_ascii();
    assert_eq!(transcript(role, limits, [bytes]), expected, "{role:?} {shown}");
    assert_eq!(transcript(role, limits, bytes.chunks(1)), expected, "{shown} byte by byte");
    let step = if cfg!(miri) { 5 } else { 1 };
    for first in (0..=bytes.len()).step_by(step) {
        let last = if bytes.len() <= 48 { bytes.len() } else { first };
        for second in (first..=last).step_by(step) {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let cut = transcript(role, limits, pieces);
            assert_eq!(cut, expected, "{shown} cut at {first}, {second}");
        }
    }
}

/// The same for several streams of one role.
#[track_caller]
fn table(role: Role, limits: &Limits, cases: &[(&[u8], &str)]) {
    for (bytes, expected) in cases {
        means(role, limits, bytes, expected);
    }
}

fn client(cases: &[(&[u8], &str)]) {
    table(Role::Client, &Limits::default(), cases);
}

fn server(cases: &[(&[u8], &str)]) {
    table(Role::Server, &Limits::default(), cases);
}

#[test]
fn the_examples_of_section_5_7() {
    client(&[
        (b"\x81\x05Hello", "text(Hello)"),
        (b"\x01\x03Hel\x80\x02lo", "text(Hello)"),
        (b"\x89\x05Hello", "ping(Hello)"),
    ]);
    server(&[
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "text(Hello)"),
        (b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "pong(Hello)"),
    ]);
    for (header, length) in
        [(&b"\x82\x7e\x01\x00"[..], 256), (b"\x82\x7f\0\0\0\0\0\x01\0\0", 65_536)]
    {
        let limits = Limits { max_payload_length: length, ..Limits::default() };
        let bytes = [header, &vec![0xab; length]].concat();
        let expected = format!("binary({})", "ab".repeat(length));
        assert_eq!(transcript(Role::Client, &limits, [&bytes[..]]), expected);
        assert_eq!(transcript(Role::Client, &limits, bytes.chunks(7)), expected);
    }
}

#[test]
fn section_5_1_clients_mask_and_servers_do_not() {
    server(&[
        (b"\x81\x05Hello", "UnmaskedFrame"),
        (b"\x81\x00", "UnmaskedFrame"),
        (b"\x89\x00", "UnmaskedFrame"),
        (b"\x88\x00", "UnmaskedFrame"),
        (b"\x82\x7e", "UnmaskedFrame"),
        (b"\x81\x80\0\0\0\0\x81\x00", "text() UnmaskedFrame"),
        (b"\x81\x80\x12\x34\x56\x78", "text()"),
        (b"\x01\x81\0\0\0\0a\x80\x01b", "UnmaskedFrame"),
    ]);
    client(&[
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "MaskedFrame"),
        (b"\x81\x80", "MaskedFrame"),
        (b"\x8a\x80\0\0\0\0", "MaskedFrame"),
        (b"\x81\x00", "text()"),
        (b"\x01\x01a\x80\x81\0\0\0\0b", "MaskedFrame"),
    ]);
}

#[test]
fn section_5_2_reserved_bits_are_zero() {
    for first in 0..=255_u8 {
        let is_reserved = first & 0x70 != 0;
        let error = format!("{:?}", Error::ReservedBits);
        for (role, rest) in [(Role::Server, &b"\x80\0\0\0\0"[..]), (Role::Client, b"\x00")] {
            let bytes = [&[first], rest].concat();
            let meaning = transcript(role, &Limits::default(), [&bytes[..]]);
            assert_eq!(meaning == error, is_reserved, "{first:x}");
            // The first byte is enough.
            let alone = transcript(role, &Limits::default(), [&[first][..]]);
            assert_eq!(alone == error, is_reserved, "{first:x}");
        }
    }
    client(&[
        (b"\x91\x00", "ReservedBits"),
        (b"\x89\x01x\xa9\x01x", "ping(x) ReservedBits"),
        (b"\xff", "ReservedBits"),
        (b"\x01\x01a\xc0\x01b", "ReservedBits"),
    ]);
    server(&[(b"\xc1\x81\0\0\0\0a", "ReservedBits"), (b"\x93", "ReservedBits")]);
}

#[test]
fn section_5_2_reserved_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        for fin in [0, 0x80] {
            let first = fin | opcode;
            means(Role::Client, &Limits::default(), &[first, 0], "ReservedOpcode");
            means(Role::Server, &Limits::default(), &[first], "ReservedOpcode");
            let after = [1, 1, b'a', first, 0];
            means(Role::Client, &Limits::default(), &after, "ReservedOpcode");
        }
    }
}

#[test]
fn section_5_2_lengths_are_minimal_and_below_2_63() {
    let binary = |length: usize| format!("binary({})", "00".repeat(length));
    let zeros = [0; 126];
    client(&[
        (b"\x82\x7e\x00\x00", "LengthNotMinimal"),
        (b"\x82\x7e\x00\x7d", "LengthNotMinimal"),
        (b"\x82\x7f\0\0\0\0\0\0\0\0", "LengthNotMinimal"),
        (b"\x82\x7f\0\0\0\0\0\0\xff\xff", "LengthNotMinimal"),
        (b"\x82\x7f\x80\0\0\0\0\0\0\0", "LengthTooLarge"),
        (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "LengthTooLarge"),
        (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "MessageTooLong"),
        (b"\x82\x7f\x40\0\0\0\0\0\0\0", "MessageTooLong"),
        (b"\x82\x7f\0\0\0\0\0\x01\0\0", "MessageTooLong"),
        (b"\x82\x7e\x00", ""),
        (b"\x82\x7f\x80\0\0\0\0\0\0", ""),
        (&[b"\x82\x7d", &zeros[1..]].concat(), &binary(125)),
        (&[b"\x82\x7e\x00\x7e", &zeros[..]].concat(), &binary(126)),
    ]);
    server(&[
        (b"\x82\xfe\x00\x7d", "LengthNotMinimal"),
        (b"\x82\xff\x80\0\0\0\0\0\0\0\x01\x02\x03\x04", "LengthTooLarge"),
        (b"\x82\xff\0\0\0\0\0\0\xff\xff", "LengthNotMinimal"),
    ]);
    let all = Limits { max_payload_length: usize::MAX, ..Limits::default() };
    means(Role::Client, &all, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffab", "");
    means(Role::Client, &all, b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffab", "LengthTooLarge");
}

#[test]
fn section_5_3_the_key_is_any_and_of_each_frame() {
    server(&[
        (b"\x82\x83\x01\x02\x03\x04\x01\x02\x03", "binary(000000)"),
        (b"\x82\x85\xff\x00\x00\x00\0\0\0\0\0", "binary(ff000000ff)"),
        (
            b"\x82\x82\xff\xff\xff\xff\xff\xff\x82\x82\x01\x01\x01\x01\x02\x02",
            "binary(0000) binary(0303)",
        ),
        (b"\x02\x82\xff\xff\xff\xff\xff\xff\x80\x82\x01\x01\x01\x01\x02\x02", "binary(00000303)"),
    ]);
}

#[test]
fn section_5_4_fragments_make_one_message() {
    client(&[
        (b"\x01\x00\x00\x00\x80\x00", "text()"),
        (b"\x02\x00\x80\x01\x07", "binary(07)"),
        (b"\x01\x01a\x00\x01b\x00\x00\x00\x01c\x80\x01d\x81\x01e", "text(abcd) text(e)"),
        (b"\x01\x01a\x89\x01p\x00\x01b\x8a\x00\x80\x01c", "ping(p) pong() text(abc)"),
        (b"\x01\x01a\x88\x00\x80\x01c", "close()"),
        (b"\x80\x00", "UnexpectedContinuation"),
        (b"\x00\x01a", "UnexpectedContinuation"),
        (b"\x81\x01a\x80\x01b", "text(a) UnexpectedContinuation"),
        (b"\x01\x01a\x80\x01b\x80\x00", "text(ab) UnexpectedContinuation"),
        (b"\x01\x01a\x81\x01b", "ExpectedContinuation"),
        (b"\x01\x01a\x82\x01b", "ExpectedContinuation"),
        (b"\x01\x01a\x01\x01b", "ExpectedContinuation"),
        (b"\x02\x01a\x89\x00\x02\x01b", "ping() ExpectedContinuation"),
        (b"\x01", ""),
        (b"\x01\x01a\x00", ""),
    ]);
    server(&[
        (b"\x01\x81\0\0\0\0a\x89\x81\x01\0\0\0q\x80\x81\0\0\0\0b", "ping(p) text(ab)"),
        (b"\x80\x80\0\0\0\0", "UnexpectedContinuation"),
        (b"\x02\x80\0\0\0\0\x82\x80\0\0\0\0", "ExpectedContinuation"),
    ]);
}

#[test]
fn section_5_5_control_frames_are_short_and_whole() {
    let long = [b'x'; 125];
    let shown = format!("ping({})", "x".repeat(125));
    client(&[
        (b"\x89\x00\x8a\x00\x89\x01a\x8a\x01b", "ping() pong() ping(a) pong(b)"),
        (&[b"\x89\x7d", &long[..]].concat(), &shown),
        (b"\x89\x7e\x00\x7e", "ControlTooLong"),
        (b"\x8a\x7e", "ControlTooLong"),
        (b"\x88\x7f", "ControlTooLong"),
        (b"\x09\x00", "FragmentedControl"),
        (b"\x0a", "FragmentedControl"),
        (b"\x08\x02\x03\xe8", "FragmentedControl"),
        (b"\x01\x01a\x09\x00", "FragmentedControl"),
        (b"\x89\x02\xff\xfe", "ping(\\xff\\xfe)"),
    ]);
    server(&[
        (b"\x89\xfe", "ControlTooLong"),
        (b"\x09", "FragmentedControl"),
        (b"\x89\x84\x01\x02\x03\x04\x01\x02\x03\x04", "ping(\\x00\\x00\\x00\\x00)"),
    ]);
    // The limit of messages is not theirs.
    let none = Limits { max_payload_length: 0, ..Limits::default() };
    means(Role::Client, &none, b"\x89\x02hi\x88\x02\x03\xe8", "ping(hi) close(1000 )");
}

#[test]
fn section_5_5_1_close_has_a_code_and_a_reason_or_nothing() {
    client(&[
        (b"\x88\x00", "close()"),
        (b"\x88\x02\x03\xe8", "close(1000 )"),
        (b"\x88\x05\x03\xe9bye", "close(1001 bye)"),
        (b"\x88\x04\x0f\xa0\xc3\xa4", "close(4000 ä)"),
        (b"\x88\x01\x03", "ClosePayload"),
        (b"\x88\x01", "ClosePayload"),
        (b"\x88\x03\x03\xe8\xff", "InvalidUtf8"),
        (b"\x88\x03\x03\xe8\xc3", "InvalidUtf8"),
        (b"\x88\x03\x03\xed\xff", "CloseCode"),
        (b"\x81\x01a\x88\x00", "text(a) close()"),
    ]);
    server(&[
        (b"\x88\x80\x01\x02\x03\x04", "close()"),
        (b"\x88\x84\x01\x02\x03\x04\0\0\x6e\x6d", "CloseCode"),
        (b"\x88\x84\x00\x00\x01\x02\x03\xe8\x6e\x6d", "close(1000 oo)"),
        (b"\x88\x81\x01\x02\x03\x04", "ClosePayload"),
    ]);
    let reason = "r".repeat(123);
    let bytes = [b"\x88\x7d\x03\xe8", reason.as_bytes()].concat();
    means(Role::Client, &Limits::default(), &bytes, &format!("close(1000 {reason})"));
}

#[test]
fn section_5_5_1_what_follows_a_close_is_ignored() {
    client(&[
        (b"\x88\x00\x81\x01a", "close()"),
        (b"\x88\x00\xff\xff\xff", "close()"),
        (b"\x88\x02\x03\xe8\x88\x02\x03\xe8", "close(1000 )"),
        (b"\x02\x01a\x88\x02\x03\xe8\x80\x01b\x89\x00", "close(1000 )"),
    ]);
    let mut decoder = Decoder::new(Role::Client);
    let mut bytes = *b"\x88\x00";
    assert!(decoder.next(&mut bytes, &Limits::default()).is_ok());
    for _ in 0..3 {
        let mut more = [0xff; 1000];
        let step = decoder.next(&mut more, &Limits::default()).expect("no fault");
        assert_eq!((step.consumed, step.event), (1000, None));
        assert!(decoder.is_idle() && decoder.held_bytes() == 0);
    }
}

#[test]
fn section_7_4_codes_that_may_be_sent() {
    for code in (0..=u16::MAX).step_by(if cfg!(miri) { 251 } else { 1 }) {
        let is_good = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let [high, low] = code.to_be_bytes();
        let expected = if is_good { format!("close({code} x)") } else { "CloseCode".into() };
        let bytes = [0x88, 3, high, low, b'x'];
        assert_eq!(transcript(Role::Client, &Limits::default(), [&bytes[..]]), expected);
        assert_eq!(transcript(Role::Client, &Limits::default(), bytes.chunks(1)), expected);
    }
}

#[test]
fn sections_5_6_and_8_1_text_is_utf8() {
    let word = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}";
    let bytes = [b"\x81\x0b", word.as_bytes()].concat();
    means(Role::Client, &Limits::default(), &bytes, &format!("text({word})"));
    client(&[
        (b"\x01\x01\xf0\x00\x01\x9f\x00\x01\xa6\x80\x01\x8a", "text(🦊)"),
        (b"\x01\x01\xf0\x00\x00\x89\x01\xff\x80\x03\x9f\xa6\x8a", "ping(\\xff) text(🦊)"),
        (b"\x81\x01\xff", "InvalidUtf8"),
        (b"\x81\x02a\xc3", "InvalidUtf8"),
        (b"\x01\x02a\xc3\x80\x00", "InvalidUtf8"),
        (b"\x01\x01\xc3\x80\x01a", "InvalidUtf8"),
        (b"\x81\x02\xc0\xaf", "InvalidUtf8"),
        (b"\x81\x03\xed\xa0\x80", "InvalidUtf8"),
        (b"\x81\x04\xf4\x90\x80\x80", "InvalidUtf8"),
        (b"\x81\x05\xf8\x88\x80\x80\x80", "InvalidUtf8"),
        (b"\x81\x03\xef\xbf\xbf", "text(\u{ffff})"),
        (b"\x82\x02\xc3\x28", "binary(c328)"),
        (b"\x81\x01a\x81\x01\x80", "text(a) InvalidUtf8"),
    ]);
    server(&[
        (b"\x81\x82\x00\xff\x00\x00a\x00", "InvalidUtf8"),
        (b"\x81\x82\xc3\xa4\x00\x00\x00\x00", "text(ä)"),
    ]);
}

#[test]
fn section_8_1_the_first_impossible_byte_is_enough() {
    // The message is not complete: what has arrived of it is wrong already.
    for (text, fails_at) in [
        (&b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80 edited"[..], 7),
        (b"abc\xff more", 4),
        (b"\xed\xa0\x80 x", 2),
        (b"\xc3\x28 x", 2),
        (b"\xe0\x9f ", 2),
    ] {
        for frames in [1, 2] {
            let mut decoder = Decoder::new(Role::Client);
            let mut fed =
                if frames == 1 { b"\x81\x40".to_vec() } else { b"\x01\x01a\x00\x40".to_vec() };
            fed.extend_from_slice(&text[..fails_at - 1]);
            let step = decoder.next(&mut fed, &Limits::default()).expect("possible as yet");
            assert_eq!(step.event, None);
            let fault = decoder.next(&mut [text[fails_at - 1]], &Limits::default()).err();
            assert_eq!(fault, Some(Error::InvalidUtf8));
        }
    }
}

#[test]
fn limits_are_exact_and_cumulative() {
    let limits = Limits { max_payload_length: 3, ..Limits::default() };
    table(
        Role::Client,
        &limits,
        &[
            (b"\x81\x03abc", "text(abc)"),
            (b"\x81\x04", "MessageTooLong"),
            (b"\x82\x7e\x01\x00", "MessageTooLong"),
            (b"\x82\x7e\x00\x01", "LengthNotMinimal"),
            (b"\x01\x04", "MessageTooLong"),
            (b"\x01\x02ab\x80\x01c", "text(abc)"),
            (b"\x01\x02ab\x89\x05Hello\x80\x01c", "ping(Hello) text(abc)"),
            (b"\x01\x02ab\x80\x02", "MessageTooLong"),
            (b"\x01\x02ab\x00\x01c\x80\x01", "MessageTooLong"),
            (b"\x01\x02ab\x80\x01c\x81\x03def", "text(abc) text(def)"),
            (b"\x01\x03ab\xff\x80\x01", "InvalidUtf8"),
        ],
    );
    // The header's first ten bytes are enough: the key is not waited for.
    means(Role::Server, &limits, b"\x82\x84", "MessageTooLong");
    let nothing = Limits { max_payload_length: 0, ..Limits::default() };
    means(Role::Client, &nothing, b"\x81\x00\x82\x01", "text() MessageTooLong");
}

#[test]
fn small_fragments_are_charged() {
    let limits =
        Limits { max_payload_length: 20, max_fragment_overhead_bytes: 30, ..Limits::default() };
    table(
        Role::Client,
        &limits,
        &[
            // Each empty fragment costs 16 of 20 + 30.
            (b"\x01\x00\x00\x00\x00\x00\x80\x00", "text()"),
            (b"\x01\x00\x00\x00\x00\x00\x00\x00", "FragmentOverhead"),
            (b"\x01\x00\x00\x00\x00\x00\x89\x00\x80\x02ab", "ping() text(ab)"),
            // So do 15 that a byte lacks, and what has arrived of the payload: 5 + 45 of 50.
            (b"\x01\x01a\x00\x01b\x00\x01c\x80\x02de", "text(abcde)"),
            (b"\x01\x01a\x00\x01b\x00\x01c\x80\x03def", "FragmentOverhead"),
            (b"\x01\x01a\x00\x01b\x00\x01c\x00\x01d", "FragmentOverhead"),
            // The account is that of one message.
            (b"\x01\x00\x00\x00\x80\x00\x01\x00\x00\x00\x00\x00\x80\x01a", "text() text(a)"),
        ],
    );
    // A message of the greatest length in fragments of 16 costs nothing.
    let limits =
        Limits { max_payload_length: 100, max_fragment_overhead_bytes: 0, piecewise: false };
    let mut bytes = Vec::new();
    for index in 0..6 {
        bytes.extend_from_slice(&[if index == 0 { 2 } else { 0 }, 16]);
        bytes.extend_from_slice(&[7; 16]);
    }
    bytes.extend_from_slice(b"\x80\x04\x07\x07\x07\x07");
    means(Role::Client, &limits, &bytes, &format!("binary({})", "07".repeat(100)));
}

#[test]
fn many_fragments_of_64_bytes_pass() {
    // Autobahn 9.3: four mebibytes.
    let (count, slack) = if cfg!(miri) { (512, 64 << 10) } else { (65_536, 1024) };
    let limits = Limits { max_payload_length: count * 64, ..Limits::default() };
    let mut bytes = Vec::new();
    for index in 0..count {
        bytes.extend_from_slice(&[if index == 0 { 2 } else { 0 }, 64]);
        bytes.extend_from_slice(&[7; 64]);
    }
    bytes.extend_from_slice(b"\x80\x00");
    let mut decoder = Decoder::new(Role::Client);
    let (mut received, mut most_held, mut growths) = (0, 0, 0);
    for piece in bytes.chunks_mut(count) {
        let step = decoder.next(piece, &limits).expect("good frames");
        if let Some(Event::Message(message)) = step.event {
            received += message.len();
        }
        growths += usize::from(decoder.held_bytes() > most_held);
        most_held = most_held.max(decoder.held_bytes());
    }
    assert_eq!(received, count * 64);
    assert!(most_held <= 2 * count * 64 + slack, "{most_held}");
    assert!(growths <= 10, "each byte is moved a few times at most: {growths}");
}

#[test]
fn pieces_are_given_as_they_arrive() {
    let limits = Limits { piecewise: true, ..Limits::default() };
    let feed = |decoder: &mut Decoder, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let (mut seen, mut done) = (Vec::new(), 0);
        loop {
            let step = decoder.next(&mut bytes[done..], &limits).expect("no fault");
            done += step.consumed;
            seen.push(match step.event {
                Some(Event::Message(message)) => format!("={}", show(message)),
                Some(Event::Fragment { message, is_last: false }) => format!("+{}", show(message)),
                Some(Event::Fragment { message, is_last: true }) => format!(".{}", show(message)),
                Some(event) => format!("{event:?}"),
                None => return seen.join(" "),
            });
        }
    };
    let mut decoder = Decoder::new(Role::Client);
    // A message that is whole is one event, and so it is if only its header was cut.
    assert_eq!(feed(&mut decoder, b"\x81\x02hi\x82"), "=text(hi)");
    assert_eq!(feed(&mut decoder, b"\x01\x07"), "=binary(07)");
    assert!(decoder.is_idle());
    // Text in whole characters; a character that was cut comes by itself.
    assert_eq!(feed(&mut decoder, b"\x81\x09ab\xf0\x9f"), "+text(ab)");
    assert_eq!(feed(&mut decoder, b"\xa6"), "");
    assert_eq!(feed(&mut decoder, b"\x8acd"), "+text(🦊) +text(cd)");
    assert_eq!(feed(&mut decoder, b"e"), ".text(e)");
    assert!(decoder.is_idle() && decoder.held_bytes() == 0);
    // The last character may be the last piece.
    assert_eq!(feed(&mut decoder, b"\x81\x02\xc3"), "");
    assert_eq!(feed(&mut decoder, b"\xa4\x81\x00"), ".text(ä) =text()");
    // Fragments, and control frames between them.
    assert_eq!(feed(&mut decoder, b"\x02\x02\x01\x02\x00\x00\x89"), "+binary(0102)");
    assert_eq!(feed(&mut decoder, b"\x00\x00\x01\x03"), "Ping([]) +binary(03)");
    assert_eq!(feed(&mut decoder, b"\x80\x00"), ".binary()");
    assert!(decoder.is_idle() && decoder.held_bytes() == 0);
}

#[test]
fn piecewise_limits_and_faults_are_the_same() {
    let limits = Limits { max_payload_length: 6, piecewise: true, ..Limits::default() };
    table(
        Role::Client,
        &limits,
        &[
            (b"\x81\x06\xf0\x9f\xa6\x8aab\x82\x02\x01\x02", "text(🦊ab) binary(0102)"),
            (b"\x01\x03a\xf0\x9f\x89\x00\x80\x03\xa6\x8ab", "text(a... ping() text(🦊b)"),
            (b"\x81\x07", "MessageTooLong"),
            (b"\x02\x03abc\x80\x04", "binary(abc... MessageTooLong"),
            (b"\x81\x03a\xc3a", "InvalidUtf8"),
            (b"\x81\x02a\xc3", "InvalidUtf8"),
            (b"\x01\x02a\xc3\x80\x00", "InvalidUtf8"),
            (b"\x01\x02ab\x88\x00", "text(ab... close()"),
            (b"\x01\x02ab\x83", "text(ab... ReservedOpcode"),
            (b"\x01\x00\x89\x00\x80\x00", "ping() text()"),
        ],
    );
}

#[test]
fn a_whole_frame_is_lent_where_it_stands() {
    let mut decoder = Decoder::new(Role::Server);
    let mut bytes = *b"\x81\x82\x01\x01\x01\x01\x60\x63\x82\x81\x01\x01\x01\x01\x03";
    let place = bytes.as_ptr() as usize;
    let step = decoder.next(&mut bytes, &Limits::default()).expect("a good frame");
    let Some(Event::Message(Message::Text(text))) = step.event else { panic!("text") };
    assert_eq!((text, text.as_ptr() as usize), ("ab", place + 6));
    // Even if its header came before it.
    let (first, second) = bytes[8..].split_at_mut(5);
    let step = decoder.next(first, &Limits::default()).expect("a good frame");
    assert_eq!(step.event, None);
    let place = second.as_ptr();
    let step = decoder.next(second, &Limits::default()).expect("a good frame");
    let Some(Event::Message(Message::Binary(bytes))) = step.event else { panic!("binary") };
    assert_eq!((bytes, bytes.as_ptr()), (&[2][..], place.wrapping_add(1)));
    assert_eq!(decoder.held_bytes(), 0);
}
