//! What peers write: requests, and frames with orders for the handlers.

use sockeye::reactor::SimRandom;

use super::{
    book::{Book, Input},
    deflation,
    options::pick,
};

/// What a peer expects of a response.
#[derive(Debug, Clone)]
pub struct Response {
    pub statuses: Vec<u16>,
    pub body: Option<String>,
    pub is_head: bool,
    /// Whose body it has, and how that comes.
    pub exchange: Option<usize>,
}

impl Response {
    pub fn of(status: u16) -> Self {
        Self { statuses: vec![status], body: None, is_head: false, exchange: None }
    }
}

pub struct Handshake {
    pub bytes: Vec<u8>,
    pub statuses: Vec<u16>,
    /// Whether frames may be written at once.
    pub is_certain: bool,
    pub offer: Option<&'static str>,
}

pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request for a WebSocket, good or bad.
pub fn handshake(random: &mut SimRandom, number: usize, route: usize, offers: u16) -> Handshake {
    let (mut method, mut version, mut key) = ("GET", "HTTP/1.1", KEY);
    let (mut number_13, mut how, mut extra) = ("13", "", "");
    let (mut path, mut status) = (format!("/{route}"), 101);
    match random.below(40) {
        0 => (number_13, status) = ("8", 426),
        1 => (key, status) = ("too short", 400),
        2 => (method, status) = ("POST", 405),
        3 => (extra, status) = ("Origin: http://elsewhere.example\r\n", 403),
        4 => (path, status) = ("/nowhere".to_owned(), 404),
        5 => (how, status) = ("reject", 401),
        6 => (how, status) = ("panic", 500),
        7..14 => how = "later",
        14 => extra = "Sec-WebSocket-Protocol: soap, chat\r\n",
        15 => (version, status) = ("HTTP/1.0", 426),
        16 => extra = "Origin: http://sim\r\n",
        17 => (extra, status) = ("Content-Length: 3\r\n", 400),
        _ => {}
    }
    let offer = random.happens(offers).then(|| deflation::offer(random));
    let extensions =
        offer.map_or(String::new(), |offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
    let bytes = format!(
        "{method} {path}?n={number}&how={how} {version}\r\nHost: sim\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: {number_13}\r\n{extra}{extensions}\r\n"
    );
    let statuses = match how {
        "later" => vec![101, 401, 500, 503],
        _ => vec![status],
    };
    let is_certain = status == 101 && how.is_empty();
    Handshake { bytes: bytes.into_bytes(), statuses, is_certain, offer }
}

/// A plain request, and whether another may follow.
pub fn request(random: &mut SimRandom, bad: u16) -> (Vec<u8>, Response, bool) {
    let host = "Host: sim\r\n";
    let page =
        |status: u16, body: &str| Response { body: Some(body.to_owned()), ..Response::of(status) };
    if random.happens(bad) {
        let bytes = *pick::<&[u8]>(random, &[
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"GET /page/1 HTTP/1.1\r\nHost: sim\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"\x16\x03\x01\x02\r\n\r\n",
            b"GET /page/1 HTTP/1.1\nHost : sim\n\n\r\n\r\n",
        ]);
        return (bytes.to_vec(), Response::of(400), false);
    }
    let (text, response, goes_on) = match random.below(10) {
        0 => (format!("GET /none HTTP/1.1\r\n{host}\r\n"), Response::of(404), true),
        1 => {
            let response = Response { is_head: true, ..Response::of(200) };
            (format!("HEAD /page/1 HTTP/1.1\r\n{host}\r\n"), response, true)
        }
        2 => {
            let body = "b".repeat(random.below(2000));
            let length = body.len();
            let head = format!("POST /form HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n");
            (head + &body, page(200, "form"), true)
        }
        3 => {
            let head = format!("POST /form HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n");
            (
                head + "5;x=y\r\nabcde\r\n10\r\n0123456789abcdef\r\n0\r\nT: t\r\n\r\n",
                page(200, "form"),
                true,
            )
        }
        4 => (
            format!("GET /page/2 HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
            page(200, "page 2"),
            false,
        ),
        5 => (format!("GET /panic HTTP/1.1\r\n{host}\r\n"), Response::of(500), true),
        6 => (format!("GET /large HTTP/1.1\r\n{host}\r\n"), Response::of(200), true),
        _ => {
            let n = random.below(1000);
            (format!("GET /page/{n} HTTP/1.1\r\n{host}\r\n"), page(200, &format!("page {n}")), true)
        }
    };
    (text.into_bytes(), response, goes_on)
}

pub fn frame(random: &mut SimRandom, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("below 126")),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).expect("below 65,536").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let key = u32::try_from(random.below(1 << 32)).expect("32 bits").to_be_bytes();
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// What a peer writes next, noted as what its handler has to get. `None`: it was its last word.
pub fn next_frames(book: &mut Book, number: usize, bytes: &mut Vec<u8>) -> bool {
    let mut random = SimRandom::new(book.random.next_u64());
    let random = &mut random;
    if random.happens(book.options.bad) {
        bad_frame(book, random, number, bytes);
        return false;
    }
    match random.below(60) {
        0 => {
            close_frame(book, random, number, bytes);
            return false;
        }
        1..5 => {
            let payload = book.payload("c", 0);
            let (first, input) = match random.below(2) {
                0 => (0x89, Input::Ping(payload.clone())),
                _ => (0x8a, Input::Pong(payload.clone())),
            };
            book.sockets[number].inputs.push_back(input);
            bytes.extend(frame(random, first, &payload));
        }
        _ => message(book, random, number, bytes),
    }
    true
}

fn message(book: &mut Book, random: &mut SimRandom, number: usize, bytes: &mut Vec<u8>) {
    let limit = book.options.configs[book.sockets[number].route].max_payload_length;
    let order = order(book, random);
    let size = match random.below(20) {
        0 => limit - 8,
        1 => 1000,
        2 => 5000,
        3 => 70_000,
        _ => random.below(130),
    };
    let payload = book.payload(&order, size.min(limit - 8));
    let is_text = random.below(3) > 0;
    let mut opcode = if is_text { 1 } else { 2 };
    book.sockets[number].inputs.push_back(Input::Message { is_text, payload: payload.clone() });
    let deflates = book.options.extras.deflates;
    let deflation = book.sockets[number].deflation.as_mut().filter(|_| random.happens(deflates));
    let payload = match deflation {
        Some(deflation) => {
            opcode |= 0x40;
            let deflated = deflation.deflate(&payload);
            book.saw("a peer compresses a message");
            deflated
        }
        None => payload,
    };
    if random.below(4) > 0 {
        return bytes.extend(frame(random, 0x80 | opcode, &payload));
    }
    let pieces = 1 + random.below(4);
    let mut start = 0;
    for piece in 0..=pieces {
        let is_last = piece == pieces;
        let end = match is_last {
            true => payload.len(),
            false => start + random.below(payload.len() - start + 1),
        };
        let opcode = if piece == 0 { opcode } else { 0 };
        let fin = if is_last { 0x80 } else { 0 };
        bytes.extend(frame(random, fin | opcode, &payload[start..end]));
        if !is_last && random.below(4) == 0 {
            let payload = book.payload("between", 0);
            bytes.extend(frame(random, 0x89, &payload));
            let inputs = &mut book.sockets[number].inputs;
            inputs.insert(inputs.len() - 1, Input::Ping(payload));
        }
        start = end;
    }
}

/// What the handler is to do.
fn order(book: &Book, random: &mut SimRandom) -> String {
    if random.happens(book.options.extras.events) {
        let size = *pick(random, &[0, 100, 3000]);
        return format!("V{},{size}", random.below(5));
    }
    let topic = random.below(5);
    let other = random.below(book.sockets.len());
    let size = *pick(random, &[0, 10, 100, 2000, 3000, 40_000]);
    match random.below(60) {
        0..8 => format!("S{topic}"),
        8..10 => format!("U{topic}"),
        10..20 => format!("P{topic},{size}"),
        20..24 => format!("Q{topic},{}", random.below(12)),
        24..27 => format!("N{},{size}", random.below(10)),
        27 => format!("C{}", pick(random, &[1000, 1001, 1011, 3000, 4999])),
        28 => pick(random, &["A", "X", "z", "Z", "Z"]).to_string(),
        29..31 => format!("F{},{size}", 1 + random.below(4)),
        31 => format!("G0,{size}"),
        32..34 => "I".into(),
        34..38 => format!("T{other},{size}"),
        38..41 => format!("R{other},{size}"),
        41 => format!("K{other}"),
        _ => "E".into(),
    }
}

fn close_frame(book: &mut Book, random: &mut SimRandom, number: usize, bytes: &mut Vec<u8>) {
    let code: u16 = *pick(random, &[1000, 1001, 3000, 4999, 0]);
    let mut payload = Vec::new();
    if code > 0 {
        payload.extend(code.to_be_bytes());
        payload.extend(&b"good bye"[..random.below(9)]);
    }
    book.sockets[number].codes.push(if code > 0 { code } else { 1005 });
    bytes.extend(frame(random, 0x88, &payload));
}

/// Something that no peer may send.
fn bad_frame(book: &mut Book, random: &mut SimRandom, number: usize, bytes: &mut Vec<u8>) {
    let limit = book.options.configs[book.sockets[number].route].max_payload_length;
    let is_offered = book.sockets[number].offer.is_some();
    if let Some(deflation) = &mut book.sockets[number].deflation
        && random.below(2) == 0
    {
        let (code, frame) = match random.below(4) {
            0 => (1009, frame(random, 0xc2, &deflation.deflate(&vec![b'x'; limit + 1]))),
            1 => (1007, frame(random, 0xc1, &deflation.deflate(b"not \xff text"))),
            2 => (1007, frame(random, 0xc2, b"\xff\xff\xff no deflate")),
            _ => (1002, frame(random, 0xc9, b"a compressed ping")),
        };
        book.saw("a peer compresses what it may not");
        book.sockets[number].codes.push(code);
        return bytes.extend(frame);
    }
    let (code, frame) = match random.below(9) {
        0 => (1002, frame(random, 0x83, b"reserved opcode")),
        // The first one has a meaning to those who have agreed on it.
        1 if is_offered => (1002, frame(random, 0xa1, b"reserved bit")),
        1 => (1002, frame(random, 0xc1, b"reserved bit")),
        2 => (1002, b"\x81\x05plain".to_vec()),
        3 => (1002, frame(random, 0x09, b"a fragmented ping")),
        4 => (1002, frame(random, 0x80, b"nothing to continue")),
        5 => (1002, frame(random, 0x88, b"\x03")),
        6 => (1002, frame(random, 0x88, b"\x03\xed")),
        7 => (1007, frame(random, 0x81, b"not \xff text")),
        _ => (1009, frame(random, 0x82, &vec![b'x'; limit + 1])),
    };
    book.sockets[number].codes.push(code);
    bytes.extend(frame);
}
