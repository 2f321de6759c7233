//! [`Client`]: a peer that writes what its script says, and checks every byte that it gets.

use std::{collections::VecDeque, time::Duration};

use sockeye::{
    reactor::{SimPeer, SimRandom},
    ws::Accept,
};

use super::{
    book::{Book, Socket, book},
    deflation::Deflation,
    exchange,
    handler::LARGE_BYTES,
    options::pick,
    script::{self, Response},
};

pub struct Client {
    pub number: usize,
    is_websocket: bool,
    responses: VecDeque<Response>,
    pub stage: Stage,
    out: Vec<u8>,
    written: usize,
    /// Nothing new is written.
    is_finished: bool,
    /// Frames are written before the handshake is answered.
    is_eager: bool,
    input: Vec<u8>,
    reads: Reads,
    answers: bool,
    last_write: Duration,
    gets_responses: usize,
    incoming: Incoming,
}

/// A body that arrives.
#[derive(Default)]
struct Incoming {
    exchange: usize,
    expected: Vec<u8>,
    is_whole: bool,
    got: usize,
    coding: Coding,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// So many bytes are left.
    Length(usize),
    Chunked,
    /// So many bytes of a chunk, and its line end, are left.
    Chunk(usize),
    #[default]
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Head,
    Frames,
    /// In the body of a response.
    Body,
    /// In an event stream.
    Events,
    /// A close frame has come.
    Closed,
    /// The peer has let go of the connection.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    All,
    Little,
    Nothing,
}

impl Client {
    /// A new peer that has just connected.
    pub fn connected(book: &mut Book, mut peer: SimPeer) -> Self {
        let mut random = SimRandom::new(book.random.next_u64());
        let random = &mut random;
        let (number, route) = (book.sockets.len(), random.below(2));
        if random.below(3) == 0 {
            peer.set_window(*pick(random, &[0, 10, 1000, 5000]));
        }
        book.sockets.push(Socket::new(peer, route));
        let is_websocket = random.below(5) > 0;
        let is_websocket = is_websocket && !random.happens(book.options.extras.plain);
        let is_narrow = !is_websocket && random.happens(book.options.extras.exchanges / 2);
        if is_narrow && let Some(peer) = &mut book.sockets[number].peer {
            peer.set_window(*pick(random, &[10, 1000, 20_000]));
        }
        let mut client = Self {
            number,
            is_websocket,
            responses: VecDeque::new(),
            stage: Stage::Head,
            out: Vec::new(),
            written: 0,
            is_finished: false,
            is_eager: false,
            input: Vec::new(),
            reads: *pick(random, &[Reads::All, Reads::All, Reads::Little, Reads::Nothing]),
            answers: random.below(8) > 0,
            last_write: book.network.now(),
            gets_responses: 0,
            incoming: Incoming::default(),
        };
        if is_websocket {
            let handshake = script::handshake(random, number, route, book.options.extras.offers);
            client.out = handshake.bytes;
            client.is_eager = handshake.is_certain && random.below(2) == 0;
            client.is_finished = !handshake.statuses.contains(&101);
            let statuses = handshake.statuses;
            let response = Response { statuses, ..Response::of(101) };
            client.responses.push_back(response);
            book.sockets[number].offer = handshake.offer;
        }
        client
    }

    /// Writes or reads a little.
    pub fn act(&mut self) {
        if self.stage == Stage::Gone {
            return;
        }
        let choice = book(|book| book.random.below(3));
        match choice {
            0 => self.read(false),
            _ => self.write(false),
        }
    }

    /// Everything that is owed is written and read.
    pub fn settle(&mut self) {
        if self.stage == Stage::Gone {
            return;
        }
        (self.is_finished, self.reads, self.answers) = (true, Reads::All, true);
        book(|book| {
            if let Some(peer) = &mut book.sockets[self.number].peer {
                peer.set_window(256 << 10);
            }
        });
        self.write(true);
        self.read(true);
    }

    /// Whether it has something to write.
    pub fn owes(&self) -> bool {
        self.stage != Stage::Gone && self.written < self.out.len()
    }

    /// Begins to close in an orderly way.
    pub fn finish(&mut self) {
        if self.stage == Stage::Frames && !book(|book| has_last_word(book, self.number)) {
            book(|book| {
                let socket = &mut book.sockets[self.number];
                socket.codes.push(1000);
                socket.has_last_word = true;
            });
            self.out.extend(script::frame(&mut SimRandom::new(1), 0x88, b"\x03\xe8"));
        } else if matches!(self.stage, Stage::Head | Stage::Body | Stage::Events) {
            book(|book| {
                let socket = &mut book.sockets[self.number];
                socket.may_break = true;
                if let Some(peer) = &mut socket.peer {
                    peer.shutdown();
                }
            });
        }
        self.settle();
    }

    /// Lets go of the connection: the end of a process.
    pub fn vanish(&mut self) {
        book(|book| {
            let socket = &mut book.sockets[self.number];
            socket.may_break = true;
            socket.peer = None;
        });
        self.stage = Stage::Gone;
    }

    /// Does what is not done.
    pub fn be_rude(&mut self) {
        if self.stage == Stage::Gone {
            return;
        }
        let choice = book(|book| {
            let choice = book.random.below(3);
            let socket = &mut book.sockets[self.number];
            socket.may_break = true;
            book.note(|| format!("c{} is rude: {choice}", self.number));
            choice
        });
        match choice {
            0 => book(|book| {
                if let Some(peer) = &mut book.sockets[self.number].peer {
                    peer.shutdown();
                }
                self.is_finished = true;
                self.written = self.out.len();
                let socket = &mut book.sockets[self.number];
                socket.has_last_word = true;
            }),
            1 => {
                book(|book| book.sockets[self.number].peer.as_mut().map(SimPeer::reset));
                self.vanish();
            }
            _ => self.vanish(),
        }
    }

    fn write(&mut self, everything: bool) {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            self.think();
        }
        let left = self.out.len() - self.written;
        if left == 0 {
            return;
        }
        let start = self.written;
        book(|book| {
            let count = match book.random.below(3) {
                _ if everything => left,
                0 => 1 + book.random.below(left),
                1 => (1 + book.random.below(20)).min(left),
                _ => left,
            };
            self.written += count;
            self.last_write = book.network.now();
            book.written_bytes += count as u64;
            book.note(|| format!("c{} writes {count}", self.number));
            if let Some(peer) = &mut book.sockets[self.number].peer {
                peer.write(&self.out[start..start + count]);
            }
        });
    }

    /// Appends what is to be written next.
    fn think(&mut self) {
        if self.is_finished {
            return;
        }
        book(|book| {
            let mut random = SimRandom::new(book.random.next_u64());
            for _ in 0..=random.below(*pick(&mut random.clone(), &[1, 3, 16])) {
                if self.is_finished {
                    break;
                }
                if !self.is_websocket {
                    let is_extra = random.happens(book.options.extras.exchanges);
                    let extra = is_extra.then(|| exchange::request(book, &mut random, self.number));
                    let (bytes, response, goes_on) = extra
                        .flatten()
                        .unwrap_or_else(|| script::request(&mut random, book.options.bad));
                    book.note(|| format!("c{} asks {}", self.number, super::book::text(&bytes)));
                    self.out.extend(bytes);
                    self.responses.push_back(response);
                    self.is_finished = !goes_on;
                } else if self.stage == Stage::Frames || self.is_eager && self.stage == Stage::Head
                {
                    self.is_finished = !script::next_frames(book, self.number, &mut self.out);
                    book.sockets[self.number].has_last_word |= self.is_finished;
                }
            }
        });
    }

    fn read(&mut self, everything: bool) {
        let number = self.number;
        let (bytes, is_ended, was_reset) = book(|book| {
            let count = match self.reads {
                _ if everything => usize::MAX,
                Reads::All => usize::MAX,
                Reads::Little => book.random.below(200),
                Reads::Nothing => 0,
            };
            let Some(peer) = &mut book.sockets[number].peer else {
                return (Vec::new(), true, true);
            };
            (peer.read_at_most(count), peer.is_ended(), peer.was_reset())
        });
        let is_after_close = self.stage == Stage::Closed && !bytes.is_empty();
        self.input.extend(bytes);
        if is_after_close {
            book(|book| book.fail(format!("c{number} got bytes after its close frame")));
        }
        let mut done = 0;
        while let Some(count) = self.take(done) {
            done += count;
        }
        self.input.drain(..done);
        if is_ended {
            self.ended(was_reset);
        }
    }

    /// Nothing more comes. What has come is whole.
    fn ended(&mut self, was_reset: bool) {
        let number = self.number;
        let rest = self.input.len();
        let (stage, got) = (self.stage, self.gets_responses);
        let is_cut = stage == Stage::Body && !self.incoming.is_whole;
        // Who tears a response drops the connection, with what waits of those before.
        // The head of a slow stream may not have come through, either.
        let is_torn = is_cut
            || book(|book| {
                let is_stream = book.sockets[number].stream.is_some();
                book.tears(number) || is_stream && book.is_stream_uncertain(number)
            });
        book(|book| {
            let options = &book.options;
            let gently = !was_reset && !options.breaks() && !options.jumps;
            let gently = gently && !book.sockets[number].may_break && !is_torn;
            book.check(!gently || rest == 0 || book.is_settling, || {
                format!("c{number}: the connection ended {rest} bytes into something")
            });
            let is_refused = stage == Stage::Head && got == 0;
            let may_refuse = book.options.limits.max_connections < 100;
            let may_end = !gently || !is_refused || may_refuse || book.is_settling;
            book.check(may_end || !self.responses.is_empty() || !self.is_websocket, || {
                format!("c{number} was turned away without a word")
            });
            book.note(|| format!("c{number} sees the end"));
            if stage == Stage::Events {
                book.stream_ended(number);
            }
            if is_cut {
                book.saw("a body is cut off");
            } else if stage == Stage::Body {
                let Incoming { exchange, expected, got, coding, .. } = &self.incoming;
                let is_whole = *coding == Coding::Close && *got == expected.len();
                book.check(is_whole || !gently || book.is_settling, || {
                    format!("e{exchange} ends after {got} of {}", expected.len())
                });
            }
        });
        if stage == Stage::Head && self.responses.front().is_some() {
            let waited = book(|book| book.network.now() - self.last_write);
            book(|book| {
                let is_excused = was_reset
                    || book.options.breaks()
                    || book.sockets[number].may_break
                    || book.options.jumps
                    || book.is_settling
                    || book.options.limits.max_connections < 100
                    || is_torn
                    || self.written < self.out.len()
                    || waited > Duration::from_secs(1);
                book.check(is_excused, || format!("c{number} got no answer"));
            });
        }
        self.vanish();
    }

    /// Takes a response or a frame that stands at this place of the input.
    fn take(&mut self, at: usize) -> Option<usize> {
        match self.stage {
            Stage::Head => self.take_response(at),
            Stage::Frames => self.take_frame(at),
            Stage::Body => self.take_body(at),
            Stage::Events => {
                let bytes = &self.input[at..];
                book(|book| book.stream_got(self.number, bytes));
                (!bytes.is_empty()).then_some(bytes.len())
            }
            Stage::Closed | Stage::Gone => None,
        }
    }

    fn take_response(&mut self, at: usize) -> Option<usize> {
        let number = self.number;
        let input = &self.input[at..];
        let end = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let status: u16 = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let expected = self.responses.front().cloned();
        if status == 100 {
            book(|book| book.saw("a client is told to continue"));
            return Some(end);
        }
        if status == 200
            && let Some(exchange) = expected.as_ref().and_then(|expected| expected.exchange)
        {
            self.responses.pop_front();
            self.gets_responses += 1;
            self.begin_body(exchange, &head);
            return Some(end);
        }
        let is_head = expected.as_ref().is_some_and(|expected| expected.is_head);
        let length = if is_head { 0 } else { length };
        if input.len() < end + length {
            return None;
        }
        let body = String::from_utf8_lossy(&input[end..end + length]).into_owned();
        self.responses.pop_front();
        self.gets_responses += 1;
        book(|book| {
            book.note(|| format!("c{number} gets {status} {}", body.len()));
            let patient = book.network.now() - self.last_write < Duration::from_secs(9);
            let is_late = status == 408 && (!patient || book.options.jumps);
            let is_right = expected.as_ref().is_some_and(|e| e.statuses.contains(&status));
            let is_late = is_late || status == 503 && (book.is_settling || book.options.jumps);
            book.check(is_right || is_late, || {
                format!("c{number} got {status}, expected {expected:?}: {head}")
            });
            if let Some(wanted) = expected.and_then(|expected| expected.body) {
                book.check(wanted == body || !is_right, || format!("c{number} got {body}"));
            }
            let is_large = length == LARGE_BYTES && body.bytes().all(|byte| byte == b'x');
            book.check(length < 1000 || is_large, || format!("c{number} got {length} bytes"));
            if status == 101 {
                let accept = Accept::of_key(script::KEY.as_bytes());
                let accept = String::from_utf8_lossy(accept.as_bytes()).into_owned();
                book.check(head.contains(&accept), || format!("c{number} got {head}"));
                agree(book, number, &head);
            }
        });
        if status == 101 {
            self.stage = Stage::Frames;
        } else if self.is_websocket {
            self.is_finished = true;
        }
        Some(end + length)
    }

    fn begin_body(&mut self, number: usize, head: &str) {
        let (client, is_old) = (self.number, head.starts_with("HTTP/1.0"));
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.and_then(|length| length.parse().ok());
        let is_chunked = head.contains("Transfer-Encoding: chunked\r\n");
        let coding = match (length, is_chunked) {
            (Some(length), false) => Coding::Length(length),
            (None, true) => Coding::Chunked,
            _ => Coding::Close,
        };
        book(|book| {
            book.note(|| format!("c{client} gets the head of e{number}: {coding:?}"));
            let exchange = &book.exchanges[number];
            if matches!(exchange.kind, exchange::Kind::Events { .. }) {
                let is_stream = head.contains("Content-Type: text/event-stream\r\n");
                let is_right = is_stream && coding == Coding::Close;
                self.stage = Stage::Events;
                return book.check(is_right, || format!("c{client} got {head}"));
            }
            let is_right = length == exchange.announced && !is_old;
            let (expected, is_whole) = (exchange.response(), exchange.is_whole());
            self.incoming = Incoming { exchange: number, expected, is_whole, got: 0, coding };
            self.stage = Stage::Body;
            book.check(is_right, || format!("c{client} got {head}"));
        });
    }

    /// Takes a part of a body. It is as it was sent, and ends where it should.
    fn take_body(&mut self, at: usize) -> Option<usize> {
        let input = &self.input[at..];
        let incoming = &mut self.incoming;
        let number = incoming.exchange;
        let (taken, data) = match &mut incoming.coding {
            Coding::Length(0) => return self.end_body(0),
            Coding::Close => (input.len(), input),
            Coding::Length(left) => {
                let count = input.len().min(*left);
                *left -= count;
                (count, &input[..count])
            }
            Coding::Chunk(left) if *left > 2 => {
                let count = input.len().min(*left - 2);
                *left -= count;
                (count, &input[..count])
            }
            Coding::Chunk(_) => {
                let is_right = input.get(..2)? == b"\r\n";
                book(|book| book.check(is_right, || format!("e{number}: a chunk has no end")));
                incoming.coding = Coding::Chunked;
                (2, &[][..])
            }
            Coding::Chunked => {
                let end = input.windows(2).position(|two| two == b"\r\n")?;
                let size = std::str::from_utf8(&input[..end]).ok();
                let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
                match size {
                    Some(0) => {
                        input.get(end + 3)?;
                        return self.end_body(end + 4);
                    }
                    Some(size) => incoming.coding = Coding::Chunk(size + 2),
                    None => book(|book| book.fail(format!("e{number} has no chunk"))),
                }
                (end + 2, &[][..])
            }
        };
        let is_right = incoming.expected[incoming.got..].starts_with(data);
        incoming.got += data.len();
        let (got, length) = (incoming.got, incoming.expected.len());
        book(|book| {
            book.check(is_right, || format!("e{number}: another body, before {got} of {length}"));
        });
        if !is_right {
            incoming.got = length;
        }
        (taken > 0).then_some(taken)
    }

    /// The end of the body, after so many bytes more.
    fn end_body(&mut self, taken: usize) -> Option<usize> {
        let Incoming { exchange, expected, is_whole, got, .. } = std::mem::take(&mut self.incoming);
        book(|book| {
            book.note(|| format!("c{} has all of e{exchange}", self.number));
            book.saw("a body arrives in pieces");
            let length = expected.len();
            book.check(is_whole && got == length, || {
                format!("e{exchange} looks whole after {got} of {length}, may be: {is_whole}")
            });
        });
        self.stage = Stage::Head;
        Some(taken)
    }

    fn take_frame(&mut self, at: usize) -> Option<usize> {
        let number = self.number;
        let input = &self.input[at..];
        let [first, second, rest @ ..] = input else { return None };
        let (length, header): (usize, usize) = match second {
            126 => (u16::from_be_bytes(*rest.first_chunk()?).into(), 4),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
            length => (usize::from(*length), 2),
        };
        let mut first = *first;
        let is_deflated = first & 0x40 != 0;
        let may_be =
            matches!(first & 0x0f, 1 | 2) && book(|book| book.sockets[number].deflation.is_some());
        let is_good =
            second & 0x80 == 0 && first & 0x30 == 0 && (!is_deflated || may_be) && length < 1 << 24;
        if !is_good {
            book(|book| book.fail(format!("c{number} got no frame: {first:#x} {second:#x}")));
            return None;
        }
        let mut payload = input.get(header..header + length)?.to_vec();
        if is_deflated {
            first &= !0x40;
            book(|book| {
                let deflation = book.sockets[number].deflation.as_mut();
                let message = deflation.expect("agreed on").inflate(&payload);
                book.saw("the server compresses a message");
                match message {
                    Ok(message) => {
                        let is_shorter = payload.len() < message.len();
                        payload = message;
                        book.check(is_shorter, || format!("c{number}: compressed in vain"));
                    }
                    Err(error) => book.fail(format!("c{number} cannot inflate: {error}")),
                }
            });
        }
        match first {
            0x88 => self.take_close(&payload),
            0x89 if payload.is_empty() => self.answer(0x8a, &payload),
            _ => {
                book(|book| book.arrived(number, first, &payload));
                if first == 0x89 {
                    self.answer(0x8a, &payload);
                }
            }
        }
        Some(header + length)
    }

    fn answer(&mut self, first: u8, payload: &[u8]) {
        if self.answers && !book(|book| has_last_word(book, self.number)) {
            let input = super::book::Input::Pong(payload.to_vec());
            book(|book| book.sockets[self.number].inputs.push_back(input));
            self.out.extend(script::frame(&mut SimRandom::new(2), first, payload));
        }
    }

    fn take_close(&mut self, payload: &[u8]) {
        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        book(|book| book.arrived_close(self.number, code));
        self.stage = Stage::Closed;
        if self.answers && !book(|book| has_last_word(book, self.number)) {
            self.out.extend(script::frame(&mut SimRandom::new(3), 0x88, payload));
            book(|book| book.sockets[self.number].has_last_word = true);
        } else {
            book(|book| book.sockets[self.number].may_break = true);
        }
        self.is_finished = true;
    }
}

/// What follows from the answer to an offer of compression.
fn agree(book: &mut Book, number: usize, head: &str) {
    let answer = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let socket = &mut book.sockets[number];
    let config = &book.options.configs[socket.route].compression;
    let agreed = match socket.offer {
        Some(offer) => Deflation::agreed(offer, answer, config),
        None if answer.is_none() => Ok(None),
        None => Err(format!("{answer:?} to nothing")),
    };
    match agreed {
        Ok(None) => {}
        Ok(Some(deflation)) => {
            socket.deflation = Some(Box::new(deflation));
            book.saw("compression is agreed on");
        }
        Err(error) => book.fail(format!("c{number}: {error}")),
    }
}

/// Whether the peer has sent, or begun to send, what ends the connection.
fn has_last_word(book: &Book, number: usize) -> bool {
    book.sockets[number].has_last_word
}
