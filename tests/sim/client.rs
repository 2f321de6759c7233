//! [`Client`]: a peer that writes what its script says, and checks every byte that it gets.

use std::{collections::VecDeque, time::Duration};

use sockeye::{
    reactor::{SimPeer, SimRandom},
    ws::Accept,
};

use super::{
    book::{Book, Socket, book},
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Head,
    Frames,
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
        };
        if is_websocket {
            let handshake = script::handshake(random, number, route);
            client.out = handshake.bytes;
            client.is_eager = handshake.is_certain && random.below(2) == 0;
            client.is_finished = !handshake.statuses.contains(&101);
            let statuses = handshake.statuses;
            client.responses.push_back(Response { statuses, body: None, is_head: false });
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

    /// Begins to close in an orderly way.
    pub fn finish(&mut self) {
        if self.stage == Stage::Frames && !book(|book| has_last_word(book, self.number)) {
            book(|book| {
                let socket = &mut book.sockets[self.number];
                socket.codes.push(1000);
                socket.has_last_word = true;
            });
            self.out.extend(script::frame(&mut SimRandom::new(1), 0x88, b"\x03\xe8"));
        } else if self.stage == Stage::Head {
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
                    let (bytes, response, goes_on) = script::request(&mut random, book.options.bad);
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
        book(|book| {
            let options = &book.options;
            let gently = !was_reset && !options.breaks() && !options.jumps;
            let gently = gently && !book.sockets[number].may_break;
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
            }
        });
        if status == 101 {
            self.stage = Stage::Frames;
        } else if self.is_websocket {
            self.is_finished = true;
        }
        Some(end + length)
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
        let first = *first;
        let is_good = second & 0x80 == 0 && first & 0x70 == 0 && length < 1 << 24;
        if !is_good {
            book(|book| book.fail(format!("c{number} got no frame: {first:#x} {second:#x}")));
            return None;
        }
        let payload = input.get(header..header + length)?.to_vec();
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

/// Whether the peer has sent, or begun to send, what ends the connection.
fn has_last_word(book: &Book, number: usize) -> bool {
    book.sockets[number].has_last_word
}
