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
    let header = FrameHeader { fin, opcode, mask, payload_length: payload.len() as u64 };
    let copy = outbox.append_two(&header.encode(), payload);
    if let Some(key) = mask {
        simd::mask(copy, key, 0);
    }
}

/// Appends a close frame. The reason is cut to what fits, between two characters.
///
/// A code that must not be sent (1005, 1006) makes a frame without one, as `None` does.
pub fn append_close(outbox: &mut Outbox, status: Option<(CloseCode, &str)>, mask: Option<[u8; 4]>) {
    let mut payload = [0; 2 + MAX_REASON_BYTES];
    let mut length = 0;
    // RFC 6455 §7.4.1: these codes must not be set as a status code by an endpoint.
    if let Some((code, reason)) = status.filter(|(code, _)| code.may_be_sent()) {
        let reason = &reason[..cut(reason, MAX_REASON_BYTES)];
        length = 2 + reason.len();
        payload[..2].copy_from_slice(&code.code().to_be_bytes());
        payload[2..length].copy_from_slice(reason.as_bytes());
    }
    append_frame(outbox, true, Opcode::Close, &payload[..length], mask);
}

/// The end of the last character that ends within `max` bytes.
fn cut(text: &str, max: usize) -> usize {
    (0..=text.len().min(max)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// A message as a server sends it, framed once for many receivers, in one allocation.
#[must_use]
pub fn frame(message: Message<'_>) -> Shared {
    let payload_length = message.len() as u64;
    let header = FrameHeader { fin: true, opcode: message.opcode(), mask: None, payload_length };
    Shared::concat(&header.encode(), message.as_bytes())
}

/// How many bytes the frame of a server with this payload has.
#[must_use]
pub const fn framed_length(payload_length: usize) -> usize {
    let header = match payload_length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    header + payload_length
}
