//! The bytes of RFC 6455 and RFC 9112, made and read independently of the library.

/// A frame as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) is_last: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;

    /// The frame at the beginning of the bytes, with its length; `None` if it is not whole.
    #[track_caller]
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        assert_eq!(first & 0x70, 0, "reserved bits in {first:#x}");
        assert_eq!(second & 0x80, 0, "RFC 6455 §5.1: a server does not mask");
        let (length, rest) = match second {
            126 => rest.split_first_chunk().map(|(b, rest)| (u16::from_be_bytes(*b).into(), rest)),
            127 => rest.split_first_chunk().map(|(b, rest)| (u64::from_be_bytes(*b), rest)),
            short => Some((u64::from(short), rest)),
        }?;
        let payload = rest.get(..usize::try_from(length).unwrap())?.to_vec();
        let whole = bytes.len() - rest.len() + payload.len();
        Some((Self { is_last: first & 0x80 != 0, opcode: first & 15, payload }, whole))
    }
}

/// A whole, masked frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(0x80 | opcode, payload)
}

/// A masked frame with this first byte.
pub(crate) fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    bytes.push(first);
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[start..]);
    bytes
}

/// Eight bytes at a time, because tests are not optimized.
fn mask(payload: &mut [u8]) {
    let [a, b, c, d] = MASK;
    let mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let masked = u64::from_ne_bytes((&*chunk).try_into().unwrap()) ^ mask;
        chunk.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// A request that opens a WebSocket, with more header lines, each ended by CRLF.
pub(crate) fn handshake(target: &str, more: &str) -> Vec<u8> {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
    .into_bytes()
}

/// A plain request, with more header lines.
pub(crate) fn get(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n{more}\r\n").into_bytes()
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = fields.next().map(|(_, value)| value.as_str());
        assert!(fields.next().is_none(), "{name} is there twice in {self:?}");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The response at the beginning of the bytes, with its length; `None` if it is not whole.
    #[track_caller]
    pub(super) fn parse(bytes: &[u8], has_body: bool) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end - 4]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").expect("a status-line");
        let status = status[..3].parse().unwrap();
        let split = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a field");
            (name.to_owned(), value.to_owned())
        };
        let mut response = Self { status, headers: lines.map(split).collect(), body: Vec::new() };
        let length = response.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        if has_body {
            response.body = bytes.get(end..end + length)?.to_vec();
        }
        Some((response.clone(), end + response.body.len()))
    }
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
