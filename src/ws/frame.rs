//! Frame headers, written and read (RFC 6455 §5.2).
//!
//! ```text
//!   0               1               2               4              10 (or 2, or 4)
//!  +-+-----+-------+-+-------------+---------------+---------------+-------------+----
//!  |F| RSV |opcode |M| 7 bits, or  | 16 bits, or   | rest of 64    | masking-key | payload
//!  |I| 1-3 |       | | 126, or 127 | first of 64   | bits          | (if M)      |
//!  +-+-----+-------+-+-------------+---------------+---------------+-------------+----
//! ```
//!
//! Invariant: each fault is found at the first byte that makes it certain, in the order of the
//! bytes, so that it does not matter how they were cut.

use std::ops::Deref;

use super::{Error, Event, Limits, Message, Opcode, Role, close};
use crate::simd;

/// The header of a frame to be sent.
///
/// ```
/// use sockeye::ws::{FrameHeader, Opcode};
/// let header =
///     FrameHeader { fin: true, opcode: Opcode::Binary, mask: None, payload_length: 256 };
/// assert_eq!(&*header.encode(), b"\x82\x7e\x01\x00"); // RFC 6455 §5.7
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the frame is its message's last, or only one.
    pub fin: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// The masking-key: clients must have one, servers must not (RFC 6455 §5.1).
    pub mask: Option<[u8; 4]>,
    /// The bytes of the payload; below 2^63.
    pub payload_length: u64,
}

/// The bytes of a frame header.
#[derive(Debug, Clone, Copy)]
pub struct EncodedHeader {
    bytes: [u8; 16],
    // Invariant: at most MAX_HEADER_BYTES.
    length: u8,
}

impl FrameHeader {
    /// The bytes, with the length in its shortest form.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> EncodedHeader {
        let first = self.opcode.bits() | if self.fin { FIN } else { 0 };
        let mask_bit = if self.mask.is_some() { MASK } else { 0 };
        // RFC 6455 §5.2: the minimal number of bytes must be used, in network byte order.
        let (second, big_endian, mut length) =
            if let Ok(short @ 0..=MAX_CONTROL_PAYLOAD) = u8::try_from(self.payload_length) {
                (short, 0, 2_u8)
            } else if let Ok(medium) = u16::try_from(self.payload_length) {
                (LENGTH_16, u16::from_le_bytes(medium.to_be_bytes()).into(), 4)
            } else {
                (LENGTH_64, u64::from_le_bytes(self.payload_length.to_be_bytes()), 10)
            };
        // Put together in a register: bytes that are stored singly and loaded together must wait.
        let mut word =
            u128::from(first) | u128::from(second | mask_bit) << 8 | u128::from(big_endian) << 16;
        if let Some(key) = self.mask {
            // It stands behind 10 bytes at most: nothing wraps, and nothing is shifted out.
            let key = u128::from(u32::from_le_bytes(key));
            word |= key.wrapping_shl(u32::from(length).wrapping_mul(u8::BITS));
            length = length.wrapping_add(MASKING_KEY_BYTES);
        }
        let bytes = word.to_le_bytes();
        EncodedHeader { bytes, length }
    }
}

impl EncodedHeader {
    /// The same with RSV1: the message is compressed (RFC 7692 §6).
    #[must_use]
    pub(super) fn deflated(mut self) -> Self {
        self.bytes[0] |= RSV1;
        self
    }
}

impl Deref for EncodedHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// A frame of which the header has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceivedHeader {
    pub(super) fin: bool,
    /// Whether the message is compressed: only of a message's first frame.
    pub(super) deflated: bool,
    pub(super) opcode: Opcode,
    mask: Option<[u8; 4]>,
    header_length: u8,
    pub(super) payload_length: usize,
}

/// What a fragmented message has come to so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    // Invariant: at most `max_payload_length`, the payload of a frame that has begun included.
    payload_bytes: usize,
    overhead_bytes: usize,
    deflated: bool,
}

impl ReceivedHeader {
    /// Reads the header at the beginning of `bytes`; `None` if it is not complete.
    ///
    /// `progress` is that of the message whose next fragment is expected, if one is. `inflates`
    /// says whether messages may be compressed.
    #[inline]
    pub(super) fn read(
        bytes: &[u8],
        role: Role,
        progress: Option<&Progress>,
        limits: &Limits,
        inflates: bool,
    ) -> Result<Option<Self>, Error> {
        let [first, second, after @ ..] = bytes else {
            // The faults of the first byte do not wait for the second.
            return match bytes {
                [first, ..] => read_first(*first, progress.is_some(), inflates).map(|_| None),
                [] => Ok(None),
            };
        };
        let First { fin, opcode, deflated } = read_first(*first, progress.is_some(), inflates)?;
        let is_masked = second & MASK != 0;
        // RFC 6455 §5.1: a server must refuse frames that are not masked, a client those that are.
        match (role, is_masked) {
            (Role::Server, false) => return Err(Error::UnmaskedFrame),
            (Role::Client, true) => return Err(Error::MaskedFrame),
            _ => {}
        }
        let short = second & !MASK;
        if opcode.is_control() {
            check_control(opcode, short)?;
        }
        let Some((length, mut header_length)) = read_length(short, after)? else {
            return Ok(None);
        };
        let payload_length = if opcode.is_control() {
            usize::from(short)
        } else {
            let mut progress = progress.copied().unwrap_or_default();
            progress.deflated |= deflated;
            progress.admit(length, fin, limits)?
        };
        let mut mask = None;
        if is_masked {
            let after = bytes.get(usize::from(header_length)..).unwrap_or_default();
            let Some(key) = after.first_chunk() else { return Ok(None) };
            mask = Some(*key);
            // 14 at most: nothing wraps.
            header_length = header_length.wrapping_add(MASKING_KEY_BYTES);
        }
        Ok(Some(Self { fin, deflated, opcode, mask, header_length, payload_length }))
    }

    #[inline]
    pub(super) fn header_length(&self) -> usize {
        usize::from(self.header_length)
    }

    /// Whether this is no fragment, its payload is among the `available` bytes after it, and
    /// nothing has to be done to it but unmasking.
    #[inline]
    pub(super) fn is_whole(&self, available: usize) -> bool {
        self.is_single() && self.payload_length <= available && !self.deflated
    }

    /// Whether this is no fragment.
    #[inline]
    pub(super) fn is_single(&self) -> bool {
        self.fin && self.opcode != Opcode::Continuation
    }

    /// Unmasks, in place, bytes of the payload, of which the first has this position.
    #[inline]
    pub(super) fn unmask(&self, bytes: &mut [u8], position: usize) {
        if let Some(key) = self.mask {
            simd::mask(bytes, key, position);
        }
    }

    /// The event that a frame is which is no fragment, from its payload as it arrived.
    #[inline]
    pub(super) fn event<'i>(&self, payload: &'i mut [u8]) -> Result<Event<'i>, Error> {
        self.unmask(payload, 0);
        let payload: &'i [u8] = payload;
        Ok(match self.opcode {
            // RFC 6455 §8.1: text that is not UTF-8 fails the connection.
            Opcode::Text => Event::Message(Message::Text(
                simd::from_utf8(payload).map_err(|_| Error::InvalidUtf8)?,
            )),
            Opcode::Binary | Opcode::Continuation => Event::Message(Message::Binary(payload)),
            Opcode::Close | Opcode::Ping | Opcode::Pong => control_event(self.opcode, payload)?,
        })
    }
}

/// The event that a control frame is. Other opcodes make pongs of themselves: do not ask.
pub(super) fn control_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Error> {
    Ok(match opcode {
        Opcode::Close => Event::Close(close::read_payload(payload)?),
        Opcode::Ping => Event::Ping(payload),
        _ => Event::Pong(payload),
    })
}

impl Progress {
    /// Counts a frame that was admitted.
    pub(super) fn add(&mut self, frame: &ReceivedHeader) {
        self.payload_bytes = self.payload_bytes.saturating_add(frame.payload_length);
        let overhead = overhead(frame.payload_length, frame.fin);
        self.overhead_bytes = self.overhead_bytes.saturating_add(overhead);
        self.deflated |= frame.deflated;
    }

    /// Checks the length of the message's next frame.
    #[inline]
    fn admit(self, length: u64, fin: bool, limits: &Limits) -> Result<usize, Error> {
        let mut max = limits.max_payload_length;
        if self.deflated {
            // What cannot be compressed becomes a little longer. Nothing is kept of it.
            max = max.saturating_add(max / 8).saturating_add(MAX_DEFLATE_OVERHEAD_BYTES);
        }
        let room = max.saturating_sub(self.payload_bytes);
        let length = usize::try_from(length).map_err(|_| Error::MessageTooLong)?;
        let room = room.checked_sub(length).ok_or(Error::MessageTooLong)?;
        let room = room.saturating_add(limits.max_fragment_overhead_bytes);
        if self.overhead_bytes.saturating_add(overhead(length, fin)) > room {
            return Err(Error::FragmentOverhead);
        }
        Ok(length)
    }
}

/// What a frame costs beyond its payload. The last one of a message is free: it ends the cost.
#[inline]
fn overhead(payload_length: usize, fin: bool) -> usize {
    if fin { 0 } else { MIN_FRAGMENT_BYTES.saturating_sub(payload_length) }
}

/// What the first byte of a frame says.
struct First {
    fin: bool,
    deflated: bool,
    opcode: Opcode,
}

#[inline]
fn read_first(byte: u8, expects_continuation: bool, inflates: bool) -> Result<First, Error> {
    // RFC 6455 §5.2: without an extension that gives them a meaning, they must be zero.
    let deflated = byte & RESERVED != 0;
    if deflated && !(inflates && is_deflated(byte)) {
        return Err(Error::ReservedBits);
    }
    let fin = byte & FIN != 0;
    let opcode = Opcode::from_bits(byte & 0xf).ok_or(Error::ReservedOpcode)?;
    if opcode.is_control() {
        // RFC 6455 §5.5: control frames must not be fragmented.
        let first = First { fin, deflated, opcode };
        return if fin { Ok(first) } else { Err(Error::FragmentedControl) };
    }
    // RFC 6455 §5.4: the fragments of one message are not interleaved with those of another.
    match (opcode == Opcode::Continuation, expects_continuation) {
        (true, false) => Err(Error::UnexpectedContinuation),
        (false, true) => Err(Error::ExpectedContinuation),
        _ => Ok(First { fin, deflated, opcode }),
    }
}

/// RFC 7692 §6: the "Per-Message Compressed" bit is RSV1, on the first frame of a data message and
/// nowhere else. Reserved opcodes have no message: their fault is another.
#[cold]
fn is_deflated(byte: u8) -> bool {
    let opcode = Opcode::from_bits(byte & 0xf);
    let is_first = !matches!(opcode, Some(Opcode::Continuation)) && byte & 0x8 == 0;
    byte & RESERVED == RSV1 && is_first
}

fn check_control(opcode: Opcode, short: u8) -> Result<(), Error> {
    // RFC 6455 §5.5: control frames carry at most 125 bytes.
    if short > MAX_CONTROL_PAYLOAD {
        return Err(Error::ControlTooLong);
    }
    // RFC 6455 §5.5.1: if there is a body, its first two bytes are the code.
    if opcode == Opcode::Close && short == 1 {
        return Err(Error::ClosePayload);
    }
    Ok(())
}

/// The payload length, and how many bytes the header has up to it.
#[inline]
fn read_length(short: u8, after: &[u8]) -> Result<Option<(u64, u8)>, Error> {
    // RFC 6455 §5.2: the most significant bit is zero, the form the shortest possible.
    match short {
        LENGTH_16 => match after.first_chunk() {
            Some(bytes) => match u16::from_be_bytes(*bytes) {
                0..=0x7d => Err(Error::LengthNotMinimal),
                length => Ok(Some((length.into(), 4))),
            },
            None => Ok(None),
        },
        LENGTH_64 => match after.first_chunk() {
            Some(bytes) => match u64::from_be_bytes(*bytes) {
                0..=0xffff => Err(Error::LengthNotMinimal),
                length if length >> 63 != 0 => Err(Error::LengthTooLarge),
                length => Ok(Some((length, 10))),
            },
            None => Ok(None),
        },
        length => Ok(Some((length.into(), 2))),
    }
}

/// Two bytes, eight of the longest length, four of the masking-key.
pub(super) const MAX_HEADER_BYTES: usize = 14;
/// The longest payload of control frames, and the longest whose length the second byte says.
const MAX_CONTROL_PAYLOAD: u8 = 125;
/// What stands for a length of 16 bits.
const LENGTH_16: u8 = 126;
/// What stands for a length of 64 bits.
const LENGTH_64: u8 = 127;
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// RFC 7692 §6: with permessage-deflate, that a message is compressed.
const RSV1: u8 = 0x40;
const MASK: u8 = 0x80;
const MASKING_KEY_BYTES: u8 = 4;
/// What a compressed message may be longer than an eighth more than the limit of what it becomes.
const MAX_DEFLATE_OVERHEAD_BYTES: usize = 64;
/// Smaller fragments are charged as if they had this many bytes.
const MIN_FRAGMENT_BYTES: usize = 16;
