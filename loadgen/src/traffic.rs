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

use std::cell::RefCell;

use sockeye::{
    base::{Outbox, Shared},
    reactor::MAX_RECEIVE_AHEAD,
    ws::{
        Message, Opcode, append_deflated, append_frame,
        deflate::{Deflaters, Inflaters},
        framed_length,
    },
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
    deflated: RefCell<Deflated>,
}

/// What is known of how the server compresses.
#[derive(Debug, Default)]
pub(crate) struct Deflated {
    pub(crate) inflaters: Inflaters,
    // For each message, the frame that carried it last, so that it need not be inflated again
    // when the same frame comes, as it does from servers that compress each message by itself.
    frames: Vec<Vec<u8>>,
}

impl Deflated {
    /// The length of the frame with which `bytes` begin, if that is known to carry this message.
    pub(crate) fn recognise(&self, number: usize, bytes: &[u8]) -> Option<usize> {
        let frame = self.frames.get(number).filter(|frame| !frame.is_empty())?;
        bytes.starts_with(frame).then_some(frame.len())
    }

    /// This frame has carried this message.
    pub(crate) fn learn(&mut self, number: usize, frame: &[u8]) {
        if self.frames.len() <= number {
            self.frames.resize_with(number + 1, Vec::new);
        }
        frame.clone_into(&mut self.frames[number]);
    }
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
        let sent = if payload.deflate { deflate(&payloads)? } else { payloads.clone() };
        let (frame_bytes, frame, frame_sent): (usize, FrameFn, FrameFn) = match framing {
            Framing::WebSocket if payload.deflate => {
                (framed_length(payload.payload), frame, deflated_frame)
            }
            Framing::WebSocket => (framed_length(payload.payload), frame, frame),
            Framing::Raw => (payload.payload, raw, raw),
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
                sent.iter().map(|payload| frame_sent(opcode, payload, Some(key))).collect();
            let mut frames = frames.iter().cycle();
            let mut group = |_| {
                let bytes: Vec<u8> = frames.by_ref().take(segment).flatten().copied().collect();
                Shared::from(&bytes[..])
            };
            (0..groups).map(&mut group).collect()
        });
        let writes = writes.collect();
        let expected = expected.into();
        let deflated = RefCell::default();
        Ok(Self { payload, framing, segment, frame_bytes, variants, expected, writes, deflated })
    }

    /// What is known of how the server compresses, if it does.
    pub(crate) fn deflated(&self) -> Option<&RefCell<Deflated>> {
        self.payload.deflate.then_some(&self.deflated)
    }

    /// Whether the server may refer to earlier messages.
    pub(crate) fn takes_over(&self) -> bool {
        self.payload.takeover
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
    if payload.deflate {
        return make_json(payload.payload, random);
    }
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

/// Records as a server of prices or positions may send them: about a quarter remains of them.
fn make_json(length: usize, random: &mut Random) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < length {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        let [kind, price, cents, amount, rest @ ..] = bytes;
        let id = u32::from_le_bytes(rest) % 1_000_000;
        let symbol = SYMBOLS[usize::from(kind) % SYMBOLS.len()];
        let cents = cents % 100;
        text += &format!(
            "{{\"id\":{id},\"symbol\":\"{symbol}\",\"price\":{price}.{cents:02},\
             \"amount\":{amount},\"side\":\"buy\"}},"
        );
    }
    text.truncate(length);
    text.into_bytes()
}

fn deflate(payloads: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    let mut deflaters = Deflaters::default();
    let hint = "--deflate needs messages that become shorter: try --payload 1K";
    let deflate = |payload: &Vec<u8>| {
        let deflated = deflaters.deflate(payload, WINDOW_BITS, LEVEL, b"");
        deflated.map(<[u8]>::to_vec).ok_or(Error::Options(hint))
    };
    payloads.iter().map(deflate).collect()
}

type FrameFn = fn(Opcode, &[u8], Option<[u8; 4]>) -> Vec<u8>;

fn frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut outbox = Outbox::default();
    append_frame(&mut outbox, true, opcode, payload, mask);
    outbox.contiguous().expect("header and payload of a frame stand side by side").to_vec()
}

fn deflated_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut outbox = Outbox::default();
    append_deflated(&mut outbox, opcode, payload, mask);
    outbox.contiguous().expect("header and payload of a frame stand side by side").to_vec()
}

fn raw(_: Opcode, payload: &[u8], _: Option<[u8; 4]>) -> Vec<u8> {
    payload.to_vec()
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
const SYMBOLS: [&str; 5] = ["EURUSD", "BTCUSD", "ETHUSD", "AAPL", "GOOG"];
const WINDOW_BITS: u8 = 15;
const LEVEL: u8 = 6;
const MAX_KEYS: usize = 64;
