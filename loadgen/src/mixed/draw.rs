//! [`Draw`]: messages and requests as a seed decides.

use sockeye::{
    base::Outbox,
    ws::{Message, Opcode, append_frame},
};

use crate::random::Random;

/// What is sent, and has to come back.
#[derive(Debug)]
pub(crate) enum Payload {
    Text(String),
    Binary(Vec<u8>),
}

/// Draws messages, sizes and times.
#[derive(Debug)]
pub(crate) struct Draw {
    random: Random,
    max_bytes: usize,
}

impl Draw {
    pub(crate) fn new(random: Random, max_bytes: usize) -> Self {
        Self { random, max_bytes }
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.random.number() % end
    }

    /// One of so many places.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// A number from 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "24 bits are precise")]
    pub(crate) fn fraction(&mut self) -> f64 {
        self.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    pub(crate) fn masking_key(&mut self) -> [u8; 4] {
        self.random.masking_key()
    }

    /// Each order of magnitude is as likely as the others.
    fn bytes(&mut self) -> Vec<u8> {
        let magnitudes = u64::from(self.max_bytes.max(1).ilog2()) + 2;
        let limit = 1_u64 << self.below(magnitudes);
        let length = self.below(limit).min(self.max_bytes as u64);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.random.fill(&mut bytes);
        bytes
    }

    /// A message of a client, in one frame, or sometimes in two.
    pub(crate) fn message(&mut self, outbox: &mut Outbox) -> Payload {
        let bytes = self.bytes();
        let payload = if self.below(2) == 0 { text(&bytes) } else { Payload::Binary(bytes) };
        let (message, key) = (payload.message(), Some(self.random.masking_key()));
        let bytes = message.as_bytes();
        if bytes.len() > 1 && self.below(8) == 0 {
            let (first, rest) = bytes.split_at(bytes.len() / 2);
            append_frame(outbox, false, message.opcode(), first, key);
            append_frame(outbox, true, Opcode::Continuation, rest, key);
        } else {
            append_frame(outbox, true, message.opcode(), bytes, key);
        }
        payload
    }

    /// A request whose body is to be returned; sometimes in chunks.
    pub(crate) fn request(&mut self, host: &str, outbox: &mut Outbox) -> Payload {
        let body = self.bytes();
        let head = format!("POST /echo HTTP/1.1\r\nHost: {host}\r\n");
        outbox.append(head.as_bytes());
        if self.below(4) > 0 || body.is_empty() {
            outbox.append(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            outbox.append(&body);
            return Payload::Binary(body);
        }
        outbox.append(b"Transfer-Encoding: chunked\r\n\r\n");
        let size = 1 + usize::try_from(self.below(body.len() as u64)).unwrap_or(0);
        for chunk in body.chunks(size) {
            outbox.append(format!("{:x}\r\n", chunk.len()).as_bytes());
            outbox.append(chunk);
            outbox.append(b"\r\n");
        }
        outbox.append(b"0\r\n\r\n");
        Payload::Binary(body)
    }
}

impl Payload {
    pub(crate) fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// As many bytes, all of which are characters of a text; some take four.
fn text(bytes: &[u8]) -> Payload {
    let ascii = |bytes: &[u8]| bytes.iter().map(|byte| char::from(b'0' + (byte & 0x3f))).collect();
    Payload::Text(match bytes {
        [_, _, _, _, rest @ ..] => format!("🦀{}", ascii(rest)),
        short => ascii(short),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_and_all_sizes_occur() {
        let draw = |seed| {
            let mut draw = Draw::new(Random::new(seed), 1000);
            let mut outbox = Outbox::default();
            let sizes: Vec<usize> =
                (0..500).map(|_| draw.message(&mut outbox).as_bytes().len()).collect();
            sizes
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let sizes = draw(1);
        for range in [0..1, 1..16, 16..128, 128..512, 512..1001] {
            assert!(sizes.iter().any(|size| range.contains(size)), "{range:?}");
        }
        assert!(sizes.iter().all(|size| *size <= 1000));
    }
}
