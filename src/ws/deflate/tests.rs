//! Deflated messages through the decoder: RFC 7692 §6 and §7.2 in literal bytes, limits, and
//! properties.

use proptest::prelude::*;

use super::*;
use crate::{
    base::Outbox,
    ws::{Decoder, Error, Event, Limits, Message, Opcode, Role, append_deflated, append_frame},
};

/// Reads as a client, with or without a history, what arrives in these pieces: the messages, and
/// the fault that ends them.
struct Reader {
    decoder: Decoder,
    inflaters: Inflaters,
    history: Option<History>,
    limits: Limits,
    messages: Vec<(bool, Vec<u8>)>,
    // Of a message of which the end has not come.
    piece: Vec<u8>,
    pings: usize,
}

impl Reader {
    fn new(history: Option<History>, limits: Limits) -> Self {
        let (decoder, inflaters) = (Decoder::new(Role::Client), Inflaters::default());
        let (messages, piece) = (Vec::new(), Vec::new());
        Self { decoder, inflaters, history, limits, messages, piece, pings: 0 }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        loop {
            let mut inflating =
                Inflating { inflaters: &mut self.inflaters, history: self.history.as_mut() };
            let step = self.decoder.next_deflated(input, &self.limits, &mut inflating)?;
            let consumed = step.consumed;
            match step.event {
                Some(Event::Message(message)) => {
                    self.messages.push((message.is_text(), message.as_bytes().to_vec()));
                }
                Some(Event::Fragment { message, is_last }) => {
                    assert!(is_last || !message.is_empty());
                    self.piece.extend_from_slice(message.as_bytes());
                    if is_last {
                        self.messages.push((message.is_text(), std::mem::take(&mut self.piece)));
                    }
                }
                Some(Event::Ping(_)) => self.pings += 1,
                Some(event) => panic!("{event:?}"),
                None => {
                    assert_eq!(consumed, input.len());
                    return Ok(());
                }
            }
            input = &mut input[consumed..];
        }
    }

    fn texts(&self) -> Vec<&str> {
        let text = |(_, bytes): &'_ (bool, Vec<u8>)| std::str::from_utf8(bytes).is_ok();
        assert!(self.messages.iter().all(text));
        self.messages.iter().map(|(_, bytes)| std::str::from_utf8(bytes).unwrap_or("")).collect()
    }
}

/// What this stream comes to, whole and byte by byte.
fn read_texts(stream: &[u8], history: Option<&History>) -> Result<Vec<String>, Error> {
    let outcome = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut reader = Reader::new(history.cloned(), Limits::default());
        for piece in pieces {
            reader.read(piece)?;
        }
        Ok(reader.texts().into_iter().map(String::from).collect::<Vec<_>>())
    };
    let whole = outcome(&mut std::iter::once(stream));
    assert_eq!(whole, outcome(&mut stream.chunks(1)), "{stream:x?}");
    whole
}

#[test]
fn the_examples_of_section_7_2_3() {
    let kept = || Some(History::new(15));
    let cases: [(&[u8], Option<History>, &[&str]); 8] = [
        // §7.2.3.1: one block, and the same in two fragments.
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", None, &["Hello"]),
        (b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", None, &["Hello"]),
        // §7.2.3.2: with the context taken over, and without.
        (
            b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00",
            kept(),
            &["Hello", "Hello"],
        ),
        (
            b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
            None,
            &["Hello", "Hello"],
        ),
        // §7.2.3.3: a block without compression.
        (b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", None, &["Hello"]),
        // §7.2.3.4: a final block.
        (b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", None, &["Hello"]),
        // §7.2.3.5: two blocks.
        (b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", None, &["Hello"]),
        // §7.2.3.6: an empty message.
        (b"\xc1\x01\x00", None, &[""]),
    ];
    for (stream, history, expected) in cases {
        let expected = expected.iter().map(|text| String::from(*text)).collect();
        assert_eq!(read_texts(stream, history.as_ref()), Ok(expected), "{stream:x?}");
    }
}

#[test]
fn final_blocks_and_empty_ones_stand_anywhere() {
    let cases: [(&[u8], &str); 6] = [
        // Without the byte that should follow a final block, or with nothing at all.
        (b"\xc1\x07\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello"),
        (b"\xc1\x00", ""),
        // Two final blocks, and empty ones of fixed codes between.
        (b"\xc1\x0f\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "HelloHello"),
        (b"\xc1\x0a\xf3\x48\xcd\xc9\xc9\x07\x00\x03\x00\x00", "Hello"),
        (b"\xc1\x06\x00\x00\x00\xff\xff\x00", ""),
        (b"\x41\x00\x00\x00\x80\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"),
    ];
    for (stream, expected) in cases {
        assert_eq!(read_texts(stream, None), Ok(vec![expected.into()]), "{stream:x?}");
    }
}

#[test]
fn rsv1_belongs_to_the_first_frame_of_a_message() {
    // RFC 7692 §6.
    let faults: [&[u8]; 9] = [
        b"\xc8\x00",                                     // close
        b"\xc9\x00",                                     // ping
        b"\xca\x00",                                     // pong
        b"\x01\x01a\xc0\x00",                            // continuation
        b"\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00", // continuation of a compressed message
        b"\xc0\x00",                                     // continuation of nothing
        b"\xa1\x00",                                     // RSV2
        b"\xd1\x00",                                     // RSV3
        b"\xf1\x00",                                     // all
    ];
    for stream in faults {
        assert_eq!(read_texts(stream, None), Err(Error::ReservedBits), "{stream:x?}");
    }
    assert_eq!(read_texts(b"\xc3\x00", None), Err(Error::ReservedOpcode));
    // Messages may be sent as they are.
    assert_eq!(read_texts(b"\x81\x01a\x01\x01b\x80\x00", None), Ok(vec!["a".into(), "b".into()]));
    // Without the extension there is no RSV1.
    let mut decoder = Decoder::new(Role::Client);
    let fault = decoder.next(&mut [0xc1, 0x00], &Limits::default()).err();
    assert_eq!(fault, Some(Error::ReservedBits));
}

#[test]
fn control_frames_stand_between_the_fragments_of_a_compressed_message() {
    let stream = b"\x41\x03\xf2\x48\xcd\x89\x01x\x80\x04\xc9\xc9\x07\x00\x89\x00";
    for size in 1..=stream.len() {
        let mut reader = Reader::new(None, Limits::default());
        for piece in stream.chunks(size) {
            reader.read(piece).expect("a good stream");
        }
        assert_eq!((reader.texts(), reader.pings), (vec!["Hello"], 2));
    }
}

#[test]
fn what_cannot_be_inflated_fails_the_connection() {
    let faults: [&[u8]; 7] = [
        b"\xc1\x01\x07",                     // a reserved type of block
        b"\xc1\x05\xf2\x00\x11\x00\x00",     // a reference to what was not said
        b"\xc1\x06\xf2\x48\xcd\xc9\xc9\x07", // the end is missing
        b"\xc1\x03\xf2\x48\xcd",
        b"\xc1\x08\x00\x05\x00\xfa\xff\x48\x65\x6c", // of a block without compression too
        b"\xc1\x05\x00\x05\x00\x00\xff",             // lengths that do not match
        b"\xc1\x0a\xf2\x48\xcd\xc9\xc9\x07\x00\xff\xff\xff",
    ];
    for stream in faults {
        assert_eq!(read_texts(stream, None), Err(Error::InvalidDeflate), "{stream:x?}");
    }
    assert_eq!(Error::InvalidDeflate.close_code().code(), 1007);
}

#[test]
fn texts_are_checked_while_they_are_inflated() {
    let mut deflaters = Deflaters::default();
    let mut text = vec![b'a'; 3000];
    text[100] = 0xff;
    let payload = deflaters.deflate(&text, 15, 1, b"").expect("shorter").to_vec();
    let mut outbox = Outbox::default();
    append_deflated(&mut outbox, Opcode::Text, &payload, None);
    let frame = outbox.contiguous().expect("one piece").to_vec();
    let mut reader = Reader::new(None, Limits::default());
    // The fault is found before the frame is complete.
    assert_eq!(reader.read(&frame[..frame.len() - 1]), Err(Error::InvalidUtf8));
    let mut reader = Reader::new(None, Limits::default());
    let mut binary = frame.clone();
    binary[0] = 0xc2;
    assert_eq!(reader.read(&binary), Ok(()));
    assert_eq!(reader.messages, [(false, text)]);
}

/// The payload that inflates to so many zeros.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut deflate = zlib_rs::Deflate::new(9, false, 15);
    let mut payload = vec![0; bytes / 1000 + 4096];
    let zeros = vec![0; 1 << 20];
    let mut length = 0;
    for _ in 0..bytes >> 20 {
        let flush = zlib_rs::DeflateFlush::NoFlush;
        deflate.compress(&zeros, &mut payload[length..], flush).expect("room");
        length = usize::try_from(deflate.total_out()).expect("a length");
    }
    deflate.compress(b"", &mut payload[length..], zlib_rs::DeflateFlush::SyncFlush).expect("room");
    payload.truncate(usize::try_from(deflate.total_out()).expect("a length") - 4);
    payload
}

#[test]
#[cfg_attr(miri, ignore = "mebibytes through zlib-rs")]
fn inflating_stops_at_the_limit() {
    let payload = bomb(4 << 20);
    assert!((4000..=4096).contains(&payload.len()), "{} bytes", payload.len());
    let mut outbox = Outbox::default();
    append_deflated(&mut outbox, Opcode::Binary, &payload, None);
    let frame = outbox.contiguous().expect("one piece").to_vec();
    for max in [1, 5000, 16 << 10, 100_000, (4 << 20) - 1] {
        for piecewise in [false, true] {
            let limits = Limits { max_payload_length: max, piecewise, ..Limits::default() };
            let mut reader = Reader::new(None, limits);
            let mut most = 0;
            let mut fault = None;
            for piece in frame.chunks(512) {
                if let Err(error) = reader.read(piece) {
                    fault = Some(error);
                    break;
                }
                most = most.max(reader.decoder.held_bytes());
            }
            assert_eq!(fault, Some(Error::MessageTooLong));
            assert!(most <= max + 1024, "{most} bytes of {max}");
        }
    }
    let limits = Limits { max_payload_length: 4 << 20, ..Limits::default() };
    let mut reader = Reader::new(None, limits);
    assert_eq!(reader.read(&frame), Ok(()));
    assert_eq!(reader.messages, [(false, vec![0; 4 << 20])]);
}

#[test]
#[cfg_attr(miri, ignore = "mebibytes through zlib-rs")]
fn the_largest_limit_is_none() {
    let payload = bomb(1 << 20);
    let mut outbox = Outbox::default();
    append_deflated(&mut outbox, Opcode::Binary, &payload, None);
    let limits = Limits { max_payload_length: usize::MAX, ..Limits::default() };
    let mut reader = Reader::new(None, limits);
    assert_eq!(reader.read(outbox.contiguous().expect("one piece")), Ok(()));
    assert!(reader.messages == [(false, vec![0; 1 << 20])], "a message of zeros");
}

#[test]
fn what_cannot_be_compressed_may_be_a_little_longer_than_the_limit() {
    let noise: Vec<u8> =
        (0..1000_u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0]).collect();
    // A block without compression.
    let payload = [&[0x00, 0xe8, 0x03, 0x17, 0xfc], &noise[..], &[0x00]].concat();
    let mut outbox = Outbox::default();
    append_deflated(&mut outbox, Opcode::Binary, &payload, None);
    let frame = outbox.contiguous().expect("one piece").to_vec();
    let limits = Limits { max_payload_length: 1000, ..Limits::default() };
    let mut reader = Reader::new(None, limits);
    assert_eq!(reader.read(&frame), Ok(()));
    assert_eq!(reader.messages, [(false, noise)]);
    // And there is an end to that.
    let mut reader = Reader::new(None, limits);
    assert_eq!(reader.read(b"\xc2\x7e\x05\x00"), Err(Error::MessageTooLong));
}

#[test]
fn deflaters_give_up_what_does_not_become_shorter() {
    let mut deflaters = Deflaters::default();
    for text in [&b""[..], b"a", b"short", b"0123456789"] {
        assert_eq!(deflaters.deflate(text, 15, 6, b""), None, "{text:?}");
    }
    let length = if cfg!(miri) { 1000 } else { 100_000 };
    let noise: Vec<u8> =
        (0..length).map(|n: u32| (n.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0]).collect();
    let shorter = deflaters.deflate(&noise, 15, 6, b"").map(<[u8]>::len);
    assert!(shorter.is_none_or(|length| length < noise.len()));
    for bits in [0, 7, 8, 16] {
        assert_eq!(deflaters.deflate(&[b'a'; 100], bits, 1, b""), None);
    }
}

#[test]
fn what_was_given_up_leaves_no_trace() {
    let mut deflaters = Deflaters::default();
    let noise: Vec<u8> =
        (0..40_000_u32).map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()[0] | 0x80).collect();
    let text = "a text like any other, and like any other text ".repeat(20).into_bytes();
    let (levels, lengths, times) = if cfg!(miri) { (1..=1, 2, 1) } else { (1..=9, 5, 5) };
    for level in levels {
        for length in [10, 100, 1000, 4000, 40_000].into_iter().take(lengths) {
            for _ in 0..times {
                let _ = deflaters.deflate(&noise[..length], 15, level, b"");
                let payload = deflaters.deflate(&text, 15, level, b"").expect("shorter");
                let mut outbox = Outbox::default();
                append_deflated(&mut outbox, Opcode::Binary, payload, None);
                let mut reader = Reader::new(None, Limits::default());
                let frame = outbox.contiguous().expect("one piece");
                assert_eq!(reader.read(frame), Ok(()), "level {level}, after {length} bytes");
                assert_eq!(reader.messages, [(false, text.clone())]);
            }
        }
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let (times, length) = if cfg!(miri) { (1..20_usize, 0..50) } else { (1..2000, 0..2000) };
    prop_oneof![
        "[a-d]{0,300}".prop_map(String::into_bytes),
        "[a-zß水🦊]{0,80}".prop_map(String::into_bytes),
        // Far references, over the borders of windows and pieces.
        ("[ab]{1,40}", times).prop_map(|(text, times)| text.repeat(times).into_bytes()),
        prop::collection::vec(any::<u8>(), length),
    ]
}

proptest! {
    /// What is deflated with any window, level and history is what arrives, however it is cut.
    #[test]
    fn messages_arrive(
        messages in prop::collection::vec((text(), any::<bool>(), 1..=9_u8), 1..8),
        bits in 9..=15_u8,
        memory_level in 1..=9_u8,
        takes_over in any::<bool>(),
        piecewise in any::<bool>(),
        fragment in 1..3000_usize,
        cut in 1..4000_usize,
    ) {
        let mut deflaters = Deflaters::new(memory_level);
        let mut said = takes_over.then(|| History::new(bits));
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for (message, is_text, level) in &messages {
            let is_text = *is_text && std::str::from_utf8(message).is_ok();
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            let history = said.as_ref().map_or(&b""[..], History::bytes);
            match deflaters.deflate(message, bits, *level, history) {
                Some(payload) => {
                    prop_assert!(payload.len() < message.len());
                    let mut frames = Outbox::default();
                    let mut fragments = payload.chunks(fragment).peekable();
                    let mut opcode = opcode;
                    while let Some(piece) = fragments.next() {
                        let fin = fragments.peek().is_none();
                        append_frame(&mut frames, fin, opcode, piece, None);
                        append_frame(&mut frames, true, Opcode::Ping, b"", None);
                        opcode = Opcode::Continuation;
                    }
                    let mut bytes = frames.contiguous().expect("one piece").to_vec();
                    bytes[0] |= 0x40;
                    outbox.append(&bytes);
                    if let Some(said) = &mut said {
                        said.push(message);
                    }
                }
                None => append_frame(&mut outbox, true, opcode, message, None),
            }
            expected.push((is_text, message.clone()));
        }
        let limits = Limits { max_payload_length: 1 << 20, piecewise, ..Limits::default() };
        let mut reader = Reader::new(takes_over.then(|| History::new(bits)), limits);
        let stream = outbox.contiguous().expect("one piece").to_vec();
        for piece in stream.chunks(cut) {
            prop_assert_eq!(reader.read(piece), Ok(()));
        }
        prop_assert_eq!(&reader.messages, &expected);
        prop_assert!(reader.decoder.is_idle());
    }

    /// Whatever arrives, whole or cut, comes to the same, and to no more than the limit.
    #[test]
    fn noise_does_no_harm(
        text in text(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        cut in 1..200_usize,
        piecewise in any::<bool>(),
    ) {
        let mut deflaters = Deflaters::default();
        let mut payload = deflaters.deflate(&text, 15, 6, b"").unwrap_or(&text).to_vec();
        for (at, byte) in noise.iter().filter(|_| !text.is_empty()) {
            let at = at.index(payload.len());
            payload[at] = *byte;
        }
        payload.truncate(end.index(payload.len() + 1));
        let mut outbox = Outbox::default();
        append_deflated(&mut outbox, Opcode::Binary, &payload, None);
        append_frame(&mut outbox, true, Opcode::Ping, b"", None);
        let stream = outbox.contiguous().expect("one piece").to_vec();
        let limits = Limits { max_payload_length: 10_000, piecewise, ..Limits::default() };
        let mut outcomes = [stream.len(), cut, 1].map(|cut| {
            let mut reader = Reader::new(None, limits);
            let result = stream.chunks(cut).try_for_each(|piece| reader.read(piece));
            assert!(reader.decoder.held_bytes() <= limits.max_payload_length + 1024);
            assert!(reader.messages.iter().all(|(_, bytes)| bytes.len() <= 10_000));
            (result, reader.messages, reader.pings)
        });
        outcomes.rotate_left(1);
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
        prop_assert_eq!(&outcomes[1], &outcomes[2]);
    }
}

#[test]
fn a_message_kept_is_lent_as_such() {
    let mut inflaters = Inflaters::default();
    let mut inflating = Inflating { inflaters: &mut inflaters, history: None };
    let mut decoder = Decoder::new(Role::Client);
    let mut input = *b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let limits = Limits { piecewise: true, ..Limits::default() };
    let step = decoder.next_deflated(&mut input, &limits, &mut inflating).expect("a good stream");
    let message = Message::Text("Hello");
    assert_eq!(step.event, Some(Event::Fragment { message, is_last: true }));
}
