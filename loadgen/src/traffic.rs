//! [`Traffic`]: every byte that is sent and expected, computed before the first is sent.
//!
//! Messages differ, in a fixed cycle, so that one that is lost, repeated or overtaken shows. What
//! a connection receives is compared with the cycle as it stands in memory, one comparison for
//! each receive, however many messages that brings:
//!
//! ```text
//! expected   │ frame 0 │ frame 1 │ … │ frame 15 │ frame 0 │ frame 1 │ …  one receive more
//!            └──────────── one period ──────────┘
//! writes[k]  │ frame k·s │ … │ frame k·s+s-1 │ masked                    s messages each
//! ```
//!
//! Connections take turns with a few masking keys, so that the tables stay in the cache. RFC 6455
//! §5.3 asks for a new key for each frame; that is to protect others from a client that runs
//! foreign code, which the generator does not, and sending costs nothing like this.

use sockeye::{
    base::{Outbox, Shared},
    reactor::MAX_RECEIVE_AHEAD,
    ws::{Message, Opcode, append_frame, framed_length},
};

use crate::{Error, options::Payload, random::Random};

/// The messages of a run, framed for both directions.
#[derive(Debug)]
pub(crate) struct Traffic {
    payload: Payload,
    framing: Framing,
    segment: usize,
    // Length of a frame that is received.
    frame_bytes: usize,
    // Different messages: one, or a multiple of `segment`.
    variants: usize,
    expected: Box<[u8]>,
    // For each masking key, for each group of `segment` messages, the bytes to write.
    writes: Vec<Box<[Shared]>>,
}

/// What stands around a message on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A frame of RFC 6455.
    WebSocket,
    /// Nothing: the receiver counts bytes.
    Raw,
}

impl Traffic {
    /// Messages for so many connections, which write `segment` of them at a time.
    ///
    /// # Errors
    /// If they would fill the memory.
    pub(crate) fn new(
        payload: Payload,
        segment: usize,
        connections: usize,
        random: &mut Random,
    ) -> Result<Self, Error> {
        let variants = variants(payload.payload, segment);
        Self::with_variants(payload, Framing::WebSocket, segment, connections, variants, random)
    }

    /// The same, but without frames: what is expected is what was sent.
    ///
    /// # Errors
    /// If messages are empty, or would fill the memory.
    pub(crate) fn raw(
        payload: Payload,
        segment: usize,
        connections: usize,
        random: &mut Random,
    ) -> Result<Self, Error> {
        if payload.payload == 0 {
            return Err(Error::Options("--raw needs a --payload of 1 at least"));
        }
        let variants = variants(payload.payload, segment);
        Self::with_variants(payload, Framing::Raw, segment, connections, variants, random)
    }

    /// The same message, all the time: for receivers that hear several senders.
    ///
    /// # Errors
    /// If it would fill the memory.
    pub(crate) fn uniform(
        payload: Payload,
        segment: usize,
        connections: usize,
        random: &mut Random,
    ) -> Result<Self, Error> {
        Self::with_variants(payload, Framing::WebSocket, segment, connections, 1, random)
    }

    fn with_variants(
        payload: Payload,
        framing: Framing,
        segment: usize,
        connections: usize,
        variants: usize,
        random: &mut Random,
    ) -> Result<Self, Error> {
        if variants.max(segment) * payload.payload > MAX_BYTES {
            return Err(Error::Options("--payload times --segment must be below 256 MiB"));
        }
        let payloads: Vec<Vec<u8>> =
            (0..variants).map(|number| make_payload(payload, number, random)).collect();
        let opcode = if payload.text { Opcode::Text } else { Opcode::Binary };
        let (frame_bytes, frame): (usize, FrameFn) = match framing {
            Framing::WebSocket => (framed_length(payload.payload), frame),
            Framing::Raw => (payload.payload, |_, payload, _| payload.to_vec()),
        };
        let length = variants * frame_bytes + COMPARED_BYTES;
        let mut expected = Vec::with_capacity(length + frame_bytes);
        for payload in payloads.iter().cycle() {
            if expected.len() >= length {
                break;
            }
            expected.extend(frame(opcode, payload, None));
        }
        let groups = variants.div_ceil(segment);
        let table_bytes = groups * segment * frame_bytes;
        let keys = (TABLE_BYTES / table_bytes).clamp(1, MAX_KEYS).min(connections);
        let writes = (0..keys).map(|_| {
            let key = random.masking_key();
            let frames: Vec<_> =
                payloads.iter().map(|payload| frame(opcode, payload, Some(key))).collect();
            let mut frames = frames.iter().cycle();
            let mut group = |_| {
                let bytes: Vec<u8> = frames.by_ref().take(segment).flatten().copied().collect();
                Shared::from(&bytes[..])
            };
            (0..groups).map(&mut group).collect()
        });
        let writes = writes.collect();
        let expected = expected.into();
        Ok(Self { payload, framing, segment, frame_bytes, variants, expected, writes })
    }

    /// What stands around the messages.
    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// The bytes of the write number `number` of a connection.
    pub(crate) fn write(&self, connection: usize, number: usize) -> &Shared {
        let writes = &self.writes[connection % self.writes.len()];
        &writes[number % writes.len()]
    }

    /// Messages in each write.
    pub(crate) fn segment(&self) -> usize {
        self.segment
    }

    /// Bytes after which the expected ones repeat.
    pub(crate) fn period(&self) -> usize {
        self.variants * self.frame_bytes
    }

    /// Bytes of an expected frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// What is expected from a position below the period on: [`COMPARED_BYTES`] at least.
    pub(crate) fn expected(&self, position: usize) -> &[u8] {
        &self.expected[position..]
    }

    /// The message with this number, as the receiver sees it.
    pub(crate) fn message(&self, number: usize) -> Message<'_> {
        let end = (number % self.variants + 1) * self.frame_bytes;
        let bytes = &self.expected[end - self.payload.payload..end];
        match std::str::from_utf8(bytes) {
            Ok(text) if self.payload.text => Message::Text(text),
            _ => Message::Binary(bytes),
        }
    }
}

fn make_payload(payload: Payload, number: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; payload.payload];
    random.fill(&mut bytes);
    // Even payloads of one byte differ.
    if let Some(first) = bytes.first_mut() {
        *first = b'0' + u8::try_from(number % 64).unwrap_or(0);
    }
    if payload.text {
        for byte in &mut bytes {
            *byte = b'0' + (*byte & 0x3f);
        }
    }
    bytes
}

type FrameFn = fn(Opcode, &[u8], Option<[u8; 4]>) -> Vec<u8>;

fn frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut outbox = Outbox::default();
    append_frame(&mut outbox, true, opcode, payload, mask);
    outbox.contiguous().expect("header and payload of a frame stand side by side").to_vec()
}

/// At least two, at least one write, and 16 as long as they are small.
fn variants(payload_bytes: usize, segment: usize) -> usize {
    let wanted = (LARGE_BYTES / payload_bytes.max(1)).clamp(2, 16);
    wanted.div_ceil(segment) * segment
}

/// Bytes that one comparison covers.
pub(crate) const COMPARED_BYTES: usize = MAX_RECEIVE_AHEAD;
const LARGE_BYTES: usize = 64 << 10;
const MAX_BYTES: usize = 256 << 20;
const TABLE_BYTES: usize = 4 << 20;
const MAX_KEYS: usize = 64;
