//! Frames to be sent (RFC 6455 §5, §6.1).

use super::{CloseCode, FrameHeader, Message, Opcode, close::MAX_REASON_BYTES};
use crate::{
    base::{Outbox, Shared},
    simd,
};

/// Appends a frame, masked if there is a key (clients must give one, servers must not).
///
/// The frame is contiguous in the outbox. Fragmentation is the caller's: a first frame of the
/// message's opcode, then continuations, the last of them with `fin`.
///
/// ```
/// use sockeye::{base::Outbox, ws::{Opcode, append_frame}};
/// let mut outbox = Outbox::default();
/// append_frame(&mut outbox, true, Opcode::Text, b"Hello", None);
/// assert_eq!(outbox.contiguous(), Some(&b"\x81\x05Hello"[..])); // RFC 6455 §5.7
/// ```
///
/// # Panics
/// If a control frame is given more than 125 bytes, in debug builds.
#[inline]
pub fn append_frame(
    outbox: &mut Outbox,
    fin: bool,
    opcode: Opcode,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    // RFC 6455 §5.5.
    debug_assert!(!opcode.is_control() || fin && payload.len() <= 125, "a sound control frame");
    // The short way of what is sent most: a server's small frame, with a header of known size.
    if let (None, Ok(length @ 0..=125)) = (mask, u8::try_from(payload.len())) {
        let first = opcode.bits() | u8::from(fin) << 7;
        outbox.append_two(&[first, length], payload);
        return;
    }
    let header = FrameHeader { fin, opcode, mask, payload_length: payload.len() as u64 };
    let copy = outbox.append_two(&header.encode(), payload);
    if let Some(key) = mask {
        simd::mask(copy, key, 0);
    }
}

/// Appends the header of a server's frame, whose payload is appended by itself.
pub(crate) fn append_header(outbox: &mut Outbox, fin: bool, opcode: Opcode, payload_length: usize) {
    let payload_length = payload_length as u64;
    outbox.append(&FrameHeader { fin, opcode, mask: None, payload_length }.encode());
}

/// Appends the only frame of a compressed message, with the payload that
/// [`Deflaters`](super::deflate::Deflaters) made of it (RFC 7692 §6.1).
pub fn append_deflated(outbox: &mut Outbox, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let header = FrameHeader { fin: true, opcode, mask, payload_length: payload.len() as u64 };
    let copy = outbox.append_two(&header.encode().deflated(), payload);
    if let Some(key) = mask {
        simd::mask(copy, key, 0);
    }
}

/// Appends a close frame. The reason is cut to what fits, between two characters.
///
/// A code that must not be sent (1005, 1006) makes a frame without one, as `None` does.
pub fn append_close(outbox: &mut Outbox, status: Option<(CloseCode, &str)>, mask: Option<[u8; 4]>) {
    // RFC 6455 §7.4.1: these codes must not be set as a status code by an endpoint.
    let payload = match status.filter(|(code, _)| code.may_be_sent()) {
        Some((code, reason)) => {
            [&code.code().to_be_bytes(), cut(reason, MAX_REASON_BYTES).as_bytes()].concat()
        }
        None => Vec::new(),
    };
    append_frame(outbox, true, Opcode::Close, &payload, mask);
}

/// The characters that end within `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    (0..=text.len().min(max)).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// A message as a server sends it, framed once for many receivers, in one allocation.
#[must_use]
pub fn frame(message: Message<'_>) -> Shared {
    let payload_length = message.len() as u64;
    let header = FrameHeader { fin: true, opcode: message.opcode(), mask: None, payload_length };
    Shared::concat(&header.encode(), message.as_bytes())
}

/// As [`frame`], with the payload that [`Deflaters`](super::deflate::Deflaters) made of it.
#[must_use]
pub fn frame_deflated(opcode: Opcode, payload: &[u8]) -> Shared {
    let header =
        FrameHeader { fin: true, opcode, mask: None, payload_length: payload.len() as u64 };
    Shared::concat(&header.encode().deflated(), payload)
}

/// The payload of a frame that [`frame`] made.
#[must_use]
pub fn framed_payload(frame: &[u8]) -> &[u8] {
    let length = frame.get(1).map_or(0, |short| short & 0x7f);
    let header = match length {
        0..=125 => 2,
        126 => 4,
        _ => 10,
    };
    frame.get(header..).unwrap_or_default()
}

/// How many bytes the frame of a server with this payload has.
#[must_use]
pub const fn framed_length(payload_length: usize) -> usize {
    let header = match payload_length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    payload_length.saturating_add(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(status: Option<(CloseCode, &str)>, mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut outbox = Outbox::default();
        append_close(&mut outbox, status, mask);
        outbox.contiguous().expect("one piece").to_vec()
    }

    #[test]
    fn the_examples_of_section_5_7() {
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        let frame = |fin, opcode, payload: &[u8], mask| {
            let mut outbox = Outbox::default();
            append_frame(&mut outbox, fin, opcode, payload, mask);
            outbox.contiguous().expect("one piece").to_vec()
        };
        assert_eq!(frame(true, Opcode::Text, b"Hello", None), b"\x81\x05Hello");
        assert_eq!(frame(false, Opcode::Text, b"Hel", None), b"\x01\x03Hel");
        assert_eq!(frame(true, Opcode::Continuation, b"lo", None), b"\x80\x02lo");
        assert_eq!(frame(true, Opcode::Ping, b"Hello", None), b"\x89\x05Hello");
        for (opcode, first) in [(Opcode::Text, b"\x81"), (Opcode::Pong, b"\x8a")] {
            let masked = [&first[..], b"\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"].concat();
            assert_eq!(frame(true, opcode, b"Hello", key), masked);
        }
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        let cases: [(u64, &[u8]); 9] = [
            (0, b"\x82\x00"),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (127, b"\x82\x7e\x00\x7f"),
            (256, b"\x82\x7e\x01\x00"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
            (0x0102_0304_0506_0708, b"\x82\x7f\x01\x02\x03\x04\x05\x06\x07\x08"),
            (u64::MAX >> 1, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ];
        for (payload_length, expected) in cases {
            let mut header =
                FrameHeader { fin: true, opcode: Opcode::Binary, mask: None, payload_length };
            assert_eq!(&*header.encode(), expected);
            header.mask = Some([1, 2, 3, 4]);
            let mut masked = [expected, &[1, 2, 3, 4]].concat();
            masked[1] |= 0x80;
            assert_eq!(&*header.encode(), masked);
            if let Ok(length) = usize::try_from(payload_length >> 1) {
                // The longest do not fit into a usize with their header.
                let length = length.min(1 << 40);
                let header = FrameHeader { mask: None, payload_length: length as u64, ..header };
                assert_eq!(framed_length(length), header.encode().len() + length);
            }
        }
    }

    #[test]
    fn a_frame_is_contiguous_wherever_the_outbox_stands() {
        for before in [0, 1, 65_500, 65_535, 65_536, 100_000] {
            let lengths = [0, 1, 100, 2048, 2049, 65_535, 65_536, 200_000];
            for length in lengths.into_iter().take(if cfg!(miri) { 3 } else { 8 }) {
                let payload = vec![0x5a; length];
                let mut outbox = Outbox::default();
                outbox.append(&vec![0; before]);
                append_frame(&mut outbox, true, Opcode::Binary, &payload, None);
                assert_eq!(outbox.len(), before + framed_length(length));
                let mut slices = [std::io::IoSlice::new(&[]); 4];
                let count = outbox.slices(&mut slices);
                let last = &slices[count - 1];
                assert!(last.len() >= framed_length(length), "after {before}, {length}");
                assert_eq!(&last[last.len() - framed_length(length)..], &*frame((&payload).into()));
            }
        }
    }

    #[test]
    fn a_message_is_framed_once_as_a_server_sends_it() {
        assert_eq!(&*frame(Message::Text("Hello")), b"\x81\x05Hello");
        assert_eq!(&*frame(Message::Binary(b"")), b"\x82\x00");
        let long = vec![7; 70_000];
        let shared = frame(Message::Binary(&long));
        assert_eq!(&shared[..10], b"\x82\x7f\0\0\0\0\0\x01\x11\x70");
        assert_eq!(&shared[10..], long);
        assert_eq!(shared.len(), framed_length(long.len()));
    }

    #[test]
    fn close_frames_carry_what_may_be_sent() {
        assert_eq!(close(None, None), b"\x88\x00");
        assert_eq!(close(None, Some([1, 2, 3, 4])), b"\x88\x80\x01\x02\x03\x04");
        assert_eq!(close(Some((CloseCode::NORMAL, "bye")), None), b"\x88\x05\x03\xe8bye");
        let masked = close(Some((CloseCode::GOING_AWAY, "")), Some([1, 2, 3, 4]));
        assert_eq!(masked, b"\x88\x82\x01\x02\x03\x04\x02\xeb");
        // RFC 6455 §7.4.1.
        assert_eq!(close(Some((CloseCode::NO_STATUS, "x")), None), b"\x88\x00");
        assert_eq!(close(Some((CloseCode::ABNORMAL, "x")), None), b"\x88\x00");
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        for (reason, expected) in [
            ("r".repeat(123), 123),
            ("r".repeat(124), 123),
            ("ä".repeat(70), 122),
            (format!("r{}", "ä".repeat(70)), 123),
            ("🦊".repeat(40), 120),
            (format!("{}🦊", "r".repeat(121)), 121),
        ] {
            let frame = close(Some((CloseCode::NORMAL, &reason)), None);
            assert_eq!(usize::from(frame[1]), 2 + expected);
            assert_eq!(&frame[4..], &reason.as_bytes()[..expected]);
        }
    }

    #[test]
    #[should_panic(expected = "a sound control frame")]
    #[cfg(debug_assertions)]
    fn long_control_frames_are_a_mistake() {
        append_frame(&mut Outbox::default(), true, Opcode::Ping, &[0; 126], None);
    }
}
