//! Parsers of bytes: however these are cut, they mean the same.

use sockeye::{
    base::Outbox,
    http::{self, Date, HeaderSlots, ResponseHeadDecoder, ResponseStep},
    ws::{
        self, Event, Opening, Role, append_accept,
        deflate::{History, Inflaters, Inflating},
    },
};

use super::{Choices, cuts, grammar};

/// What a stream of frames means: events, pieces of one message joined, and the fault at its end.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Message(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Fault(ws::Error),
}

struct Meaning {
    frames: Vec<Frame>,
    open: Option<(bool, Vec<u8>)>,
}

impl Meaning {
    /// Returns whether more may follow.
    fn push(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::Message(message) => {
                let bytes = message.as_bytes().to_vec();
                self.frames.push(Frame::Message(message.is_text(), bytes));
            }
            Event::Fragment { message, is_last } => {
                let open = self.open.get_or_insert((message.is_text(), Vec::new()));
                assert_eq!(open.0, message.is_text(), "a message keeps its kind");
                assert!(is_last || !message.is_empty(), "an empty piece, and not the last");
                open.1.extend_from_slice(message.as_bytes());
                if is_last {
                    let (is_text, bytes) = self.open.take().expect("it is open");
                    self.frames.push(Frame::Message(is_text, bytes));
                }
            }
            Event::Ping(payload) => self.frames.push(Frame::Ping(payload.to_vec())),
            Event::Pong(payload) => self.frames.push(Frame::Pong(payload.to_vec())),
            Event::Close(status) => {
                let status = status.map(|(code, reason)| (code.code(), reason.to_owned()));
                self.frames.push(Frame::Close(status));
                return false;
            }
        }
        true
    }
}

struct Setting {
    role: Role,
    limits: ws::Limits,
    deflates: bool,
    keeps_history: bool,
}

fn decode(pieces: &[&[u8]], setting: &Setting) -> Vec<Frame> {
    let mut decoder = ws::Decoder::new(setting.role);
    let (mut inflaters, mut history) = (Inflaters::default(), History::new(15));
    let mut meaning = Meaning { frames: Vec::new(), open: None };
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut done = 0;
        loop {
            let mut inflating = Inflating {
                inflaters: &mut inflaters,
                history: setting.keeps_history.then_some(&mut history),
            };
            let input = &mut piece[done..];
            let step = match setting.deflates {
                true => decoder.next_deflated(input, &setting.limits, &mut inflating),
                false => decoder.next(input, &setting.limits),
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    assert_eq!(decoder.next(&mut [], &setting.limits).err(), Some(error));
                    // A compressed message may be broken in several ways: no data, no text, too
                    // long. Which is seen first depends on the cuts.
                    let error = match error {
                        ws::Error::InvalidDeflate | ws::Error::MessageTooLong
                            if setting.deflates =>
                        {
                            ws::Error::InvalidUtf8
                        }
                        other => other,
                    };
                    meaning.frames.push(Frame::Fault(error));
                    return meaning.frames;
                }
            };
            done += step.consumed;
            let Some(event) = step.event else { break };
            if !meaning.push(event) {
                return meaning.frames;
            }
        }
        assert_eq!(done, piece.len(), "without an event all is consumed");
        let most = setting.limits.max_payload_length + (64 << 10);
        assert!(decoder.held_bytes() <= 2 * most, "{} bytes are held", decoder.held_bytes());
    }
    meaning.frames
}

fn frames_with(data: &[u8], deflates: bool) {
    let mut choices = Choices(data);
    let flags = choices.byte();
    let max_payload_length = [20, 130, 1000, 70_000][choices.below(4)];
    let lengths = choices.bytes(4);
    let limits = ws::Limits {
        max_payload_length,
        piecewise: flags & 1 != 0,
        max_fragment_overhead_bytes: if flags & 2 != 0 { 40 } else { 16 << 10 },
    };
    let role = if flags & 4 != 0 { Role::Client } else { Role::Server };
    let setting = Setting { role, limits, deflates, keeps_history: flags & 8 != 0 };
    let bytes = choices.rest();
    let [whole, ones, drawn] = cuts(bytes, lengths);
    let expected = decode(&whole, &setting);
    assert_eq!(decode(&ones, &setting), expected, "byte by byte");
    assert_eq!(decode(&drawn, &setting), expected, "cut after {lengths:?}");
    for frame in &expected {
        if let Frame::Message(is_text, bytes) = frame {
            assert!(bytes.len() <= max_payload_length, "{} bytes", bytes.len());
            assert!(!is_text || std::str::from_utf8(bytes).is_ok());
        }
    }
}

/// Frames, of both roles.
pub fn frames(data: &[u8]) {
    frames_with(data, false);
}

/// Frames where permessage-deflate has been agreed on.
pub fn deflated(data: &[u8]) {
    frames_with(data, true);
}

/// What a stream of requests means, in words.
fn transcript(pieces: &[&[u8]], limits: &http::Limits) -> Vec<String> {
    let mut decoder = http::Decoder::default();
    let (mut words, mut body) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut done = 0;
        loop {
            let mut slots = HeaderSlots::new();
            let step = match decoder.next(&mut piece[done..], &mut slots, limits) {
                Ok(step) => step,
                Err(error) => {
                    words.push(format!("fault {}", error.status().code()));
                    return words;
                }
            };
            done += step.consumed;
            match step.event {
                Some(http::Event::Request(head)) => {
                    let fields: Vec<_> = head.fields().iter().collect();
                    words.push(format!(
                        "{} {} {:?} {:?} {fields:?}",
                        head.method(),
                        head.path(),
                        head.query(),
                        head.host(),
                    ));
                    words.push(open(&head));
                }
                Some(http::Event::Body(data)) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(data);
                }
                Some(http::Event::Trailers(trailers)) => {
                    let fields: Vec<_> = trailers.iter().collect();
                    assert!(fields.len() <= limits.max_field_count);
                    assert!(trailers.first("content-length").is_none());
                    words.push(format!("trailers {fields:?}"));
                    assert!(decoder.is_at_end());
                }
                Some(http::Event::End) => {
                    assert!(body.len() as u64 <= limits.max_body_bytes);
                    words.push(format!("end {:?}", std::mem::take(&mut body)));
                    assert!(decoder.is_idle(), "between requests nothing is kept");
                }
                None => break,
            }
        }
        assert_eq!(done, piece.len(), "without an event all is consumed");
    }
    words
}

/// What becomes of a request as an opening handshake.
fn open(head: &http::RequestHead<'_>) -> String {
    if !Opening::is_asked_for(head) {
        return "no handshake".into();
    }
    let opening = match Opening::read(head) {
        Ok(opening) => opening,
        Err(error) => return format!("bad handshake {}", error.status().code()),
    };
    let protocol = opening.protocols().last();
    let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
    let accept = opening.accept();
    append_accept(&mut outbox, accept, protocol, None, [], &date).expect("it can be sent");
    let bytes = outbox.contiguous().expect("one piece");
    assert!(bytes.ends_with(b"\r\n\r\n"));
    let ends = bytes.windows(4).filter(|four| four == b"\r\n\r\n").count();
    assert_eq!(ends, 1, "nothing of the client's ends the head");
    format!("handshake {:?} {protocol:?}", accept.as_bytes())
}

fn requests_with(data: &[u8], before: &[u8]) {
    let mut choices = Choices(data);
    let flags = choices.byte();
    let limits = http::Limits {
        max_head_bytes: [16 << 10, 120][usize::from(flags & 1)],
        max_target_bytes: [8 << 10, 8][usize::from(flags >> 1 & 1)],
        max_field_count: [100, 3][usize::from(flags >> 2 & 1)],
        max_body_bytes: [1 << 20, 7][usize::from(flags >> 3 & 1)],
        max_chunk_overhead_bytes: [16 << 10, 30][usize::from(flags >> 4 & 1)],
        ..http::Limits::default()
    };
    let lengths = choices.bytes(4);
    let bytes = [before, choices.rest()].concat();
    let [whole, ones, drawn] = cuts(&bytes, lengths);
    let expected = transcript(&whole, &limits);
    assert_eq!(transcript(&ones, &limits), expected, "byte by byte");
    assert_eq!(transcript(&drawn, &limits), expected, "cut after {lengths:?}");
}

/// Requests, one after the other.
pub fn requests(data: &[u8]) {
    requests_with(data, b"");
}

/// One head: the decoder accepts it if and only if the grammar of the RFCs does.
pub fn heads(data: &[u8]) {
    // Below the limits of size, which the grammar does not know.
    let data = &data[..data.len().min(4096)];
    let start = if data.starts_with(b"\r\n") { 2 } else { 0 };
    let end = data[start..].windows(4).position(|four| four == b"\r\n\r\n");
    let bytes = &data[..end.map_or(data.len(), |end| start + end + 4)];
    let mut input = bytes.to_vec();
    let (mut decoder, mut slots) = (http::Decoder::default(), HeaderSlots::new());
    let step = decoder.next(&mut input, &mut slots, &http::Limits::default());
    let is_accepted = step.is_ok_and(|step| matches!(step.event, Some(http::Event::Request(_))));
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(
        is_accepted,
        grammar::is_request_head(bytes),
        "the decoder and the grammar: {text:?}"
    );
}

/// Bodies in the chunked coding.
pub fn chunked(data: &[u8]) {
    requests_with(data, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/// Requests for WebSockets.
pub fn handshake(data: &[u8]) {
    requests_with(
        data,
        b"GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\n",
    );
}

/// Heads of responses, as a client reads them.
pub fn responses(data: &[u8]) {
    let mut choices = Choices(data);
    let lengths = choices.bytes(4);
    let [whole, ones, drawn] = cuts(choices.rest(), lengths);
    let read = |pieces: &[&[u8]]| {
        let mut decoder = ResponseHeadDecoder::default();
        let mut read = 0;
        for piece in pieces {
            let mut piece = piece.to_vec();
            let mut slots = HeaderSlots::new();
            let step = decoder.next(&mut piece, &mut slots, &http::Limits::default());
            match step {
                Ok(ResponseStep { consumed, head: Some(head) }) => {
                    let fields: Vec<_> = head.fields().iter().collect();
                    return format!("{} {} {fields:?}", read + consumed, head.status().code());
                }
                Ok(ResponseStep { consumed, head: None }) => {
                    assert_eq!(consumed, piece.len());
                    read += consumed;
                }
                Err(error) => return format!("{error:?}"),
            }
        }
        "more".into()
    };
    let expected = read(&whole);
    assert_eq!(read(&ones), expected, "byte by byte");
    assert_eq!(read(&drawn), expected, "cut after {lengths:?}");
}
