//! [`Exchange`]: requests whose bodies come in pieces, and answers that come later or from
//! elsewhere: their pages, what other threads do for them, and the model of both.

use std::{panic::resume_unwind, time::Duration};

use sockeye::{
    App, BodyWriter, Context, HttpExchange, HttpHandler, Reply, Request, Response, Status,
    Trailers, WriteError, reactor::SimRandom,
};

use super::{
    book::{Book, book, book_if_any},
    handler::{Deliberate, TOPICS},
    options::{Extras, pick},
    script,
};

/// A request, and what is to come of it.
#[derive(Debug)]
pub struct Exchange {
    pub client: usize,
    pub kind: Kind,
    /// Of the request if it is an upload, else of the response.
    body: Vec<u8>,
    /// So much stands before it where it is sent back: more than there is room for.
    prefix: usize,
    pub announced: Option<usize>,
    is_head: bool,
    trailers: Option<String>,
    progress: Progress,
    got: usize,
    is_paused: bool,
    has_begun: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Events { topics: Vec<usize>, first: usize, heartbeat: Duration },
    Written(Ending),
    Later(Answer),
    Upload(Mode),
    Collected,
}

/// What becomes of a body that is written elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Ends,
    /// The writer is dropped.
    Tears,
    /// The function that gets the writer panics.
    Panics,
}

/// What another thread answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Text,
    Written,
    Nothing,
    Never,
}

/// What a handler does with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Count,
    /// Sends it back, and reads no faster than that is taken.
    Echo,
    /// The answer comes from elsewhere.
    Later,
    /// Is not interested.
    Reject,
    Panic,
    /// Does not get all, because it is too long.
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Asked,
    Begun,
    Received,
    Aborted,
}

/// A body that another thread is writing.
pub struct Writing {
    exchange: usize,
    writer: BodyWriter,
    written: usize,
    is_told: Room,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Unknown,
    /// To be told.
    Awaited,
    Told,
}

/// As long as an upload may be.
const MAX_UPLOAD_BYTES: usize = 400_000;

pub fn with_pages(app: App, worker: usize) -> App {
    let number =
        |request: &Request<'_>| request.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(0);
    app.get("/written/:n", move |request| written(number(request), worker))
        .get("/later/:n", move |request| {
            let number = number(request);
            Response::later(move |responder| {
                book(|book| book.responders.push((number, responder)));
            })
        })
        .stream("PUT", "/upload/:n", Uploads { worker })
        .post("/collect/:n", move |request, body| {
            let trailers = of_trailers(request.trailers());
            book(|book| book.collected(number(request), body, &trailers));
            Response::text(format!("{} bytes", body.len()))
        })
}

fn written(number: usize, worker: usize) -> Response {
    let announced = book(|book| book.exchanges[number].announced.map(|length| length as u64));
    Response::new(Status::OK).written("application/octet-stream", announced, move |writer| {
        let panics = book(|book| {
            let exchange = &book.exchanges[number];
            let (is_head, panics) =
                (exchange.is_head, exchange.kind == Kind::Written(Ending::Panics));
            book.counts[worker].panics += u64::from(panics);
            book.check(!is_head, || format!("e{number}: HEAD has no body to write"));
            panics
        });
        if panics {
            resume_unwind(Box::new(Deliberate));
        }
        let is_told = Room::Unknown;
        let writing = Writing { exchange: number, writer, written: 0, is_told };
        book(|book| book.writings.push(writing));
    })
}

impl Exchange {
    /// Whether nobody will answer.
    pub fn is_forgotten(&self) -> bool {
        self.kind == Kind::Later(Answer::Never)
    }

    /// The body of the response.
    pub fn response(&self) -> Vec<u8> {
        let mut response = vec![b'p'; self.prefix];
        response.extend(&self.body);
        response.truncate(self.announced.unwrap_or(usize::MAX));
        response
    }

    /// Whether the peer gets all of that, and its end.
    pub fn is_whole(&self) -> bool {
        match self.announced {
            // Who writes all that was announced has nothing left to tear.
            Some(announced) => {
                let is_begun = self.kind != Kind::Written(Ending::Panics);
                let length = self.prefix + self.body.len();
                self.is_head || length >= announced && is_begun || announced == 0
            }
            None => {
                self.is_head || !matches!(self.kind, Kind::Written(Ending::Tears | Ending::Panics))
            }
        }
    }
}

/// A request of these kinds, and whether another may follow. `None`: none of them is wanted.
pub fn request(
    book: &mut Book,
    random: &mut SimRandom,
    client: usize,
) -> Option<(Vec<u8>, script::Response, bool)> {
    let Extras { streams, written, later, uploads, .. } = book.options.extras;
    let all = usize::from(streams + written + later + uploads);
    let mut draw = random.below(all.max(1));
    let mut is_it = |rate: u16| {
        let is_it = draw < usize::from(rate);
        draw = draw.wrapping_sub(rate.into());
        is_it
    };
    let kind = if is_it(streams) {
        Kind::Events {
            topics: (0..TOPICS.len()).filter(|_| random.below(2) == 0).collect(),
            first: random.below(3),
            heartbeat: Duration::from_millis(*pick(random, &[200, 1000, 15_000])),
        }
    } else if is_it(written) {
        Kind::Written(*pick(random, &[Ending::Ends, Ending::Ends, Ending::Tears, Ending::Panics]))
    } else if is_it(later) {
        Kind::Later(*pick(
            random,
            &[Answer::Text, Answer::Text, Answer::Written, Answer::Nothing, Answer::Never],
        ))
    } else if is_it(uploads) {
        match random.below(10) {
            0 => Kind::Upload(Mode::Reject),
            1 => Kind::Upload(Mode::Panic),
            2 => Kind::Upload(Mode::TooLong),
            3 | 4 => Kind::Upload(Mode::Later),
            5 | 6 => Kind::Collected,
            7 => Kind::Upload(Mode::Count),
            _ => Kind::Upload(Mode::Echo),
        }
    } else {
        return None;
    };
    let size = *pick(random, &[0, 1, 200, 2000, 20_000, 140_000, 390_000]);
    let size = size.min(random.below(size + 1) + 1);
    let mut exchange = Exchange {
        client,
        kind,
        body: bytes(random, size),
        prefix: 0,
        announced: None,
        is_head: false,
        trailers: None,
        progress: Progress::Asked,
        got: 0,
        is_paused: false,
        has_begun: false,
    };
    let (bytes, response, goes_on) = exchange.request(random, book.exchanges.len());
    book.exchanges.push(exchange);
    Some((bytes, response, goes_on))
}

/// A body that no other exchange has.
fn bytes(random: &mut SimRandom, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(random.next_u64().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

impl Exchange {
    /// Draws the rest.
    fn request(
        &mut self,
        random: &mut SimRandom,
        number: usize,
    ) -> (Vec<u8>, script::Response, bool) {
        let size = self.body.len();
        let is_10 = random.below(8) == 0;
        let version = if is_10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let host = format!("{version}\r\nHost: sim\r\n");
        let whole = script::Response { exchange: Some(number), ..script::Response::of(200) };
        let text = |text: String| script::Response { body: Some(text), ..whole.clone() };
        let none =
            |status: u16| script::Response { exchange: None, ..script::Response::of(status) };
        let later = |answer: Answer| match answer {
            Answer::Text => script::Response { exchange: None, ..text(format!("later {number}")) },
            Answer::Written => whole.clone(),
            Answer::Nothing => none(500),
            Answer::Never => script::Response { statuses: vec![500, 503], ..none(503) },
        };
        match self.kind {
            Kind::Events { .. } => {
                (format!("GET /events/{number} {host}\r\n").into_bytes(), whole, false)
            }
            Kind::Written(_) => {
                self.announced = match random.below(4) {
                    0 => Some(size),
                    1 => Some(random.below(2 * size + 2)),
                    _ => None,
                };
                self.is_head = random.below(8) == 0;
                let (method, response) = match self.is_head {
                    true => ("HEAD", script::Response { is_head: true, ..none(200) }),
                    false => ("GET", whole.clone()),
                };
                // Without a length a client of 1.0 would be told the end by the end.
                let goes_on = !is_10 && self.is_whole();
                (format!("{method} /written/{number} {host}\r\n").into_bytes(), response, goes_on)
            }
            Kind::Later(answer) => {
                let goes_on = !is_10 && !matches!(answer, Answer::Never);
                let bytes = format!("GET /later/{number} {host}\r\n").into_bytes();
                (bytes, later(answer), goes_on)
            }
            Kind::Upload(mode) => {
                if mode == Mode::TooLong {
                    let size = MAX_UPLOAD_BYTES + 1 + random.below(1000);
                    self.body = bytes(random, size);
                }
                if mode == Mode::Echo && random.below(2) == 0 {
                    self.prefix = 140_000;
                }
                let size = self.body.len();
                let bytes = self.upload(random, &format!("PUT /upload/{number}"));
                self.announced = (random.below(2) == 0).then_some(self.prefix + size);
                let response = match mode {
                    Mode::Count => {
                        script::Response { exchange: None, ..text(format!("{size} bytes")) }
                    }
                    Mode::Echo => whole.clone(),
                    Mode::Later => later(Answer::Text),
                    Mode::Reject => none(409),
                    Mode::Panic => none(500),
                    Mode::TooLong => none(413),
                };
                let goes_on = matches!(mode, Mode::Count | Mode::Echo | Mode::Later);
                (bytes, response, goes_on)
            }
            Kind::Collected => {
                self.body.truncate(2000);
                let size = self.body.len();
                let bytes = self.upload(random, &format!("POST /collect/{number}"));
                let response = script::Response { exchange: None, ..text(format!("{size} bytes")) };
                (bytes, response, true)
            }
        }
    }

    /// A request with a body.
    fn upload(&mut self, random: &mut SimRandom, line: &str) -> Vec<u8> {
        let body = self.body.clone();
        let expects = if random.below(8) == 0 { "Expect: 100-continue\r\n" } else { "" };
        if random.below(2) == 0 {
            let length = body.len();
            let head = format!(
                "{line} HTTP/1.1\r\nHost: sim\r\n{expects}Content-Length: {length}\r\n\r\n"
            );
            return [head.into_bytes(), body].concat();
        }
        let head = "HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n";
        let mut bytes = format!("{line} {head}{expects}\r\n").into_bytes();
        let mut rest = &body[..];
        while !rest.is_empty() {
            let most = *pick(random, &[20, 3000, 100_000]);
            let (chunk, left) = rest.split_at((1 + random.below(most)).min(rest.len()));
            let extension = *pick(random, &["", "", ";x=\"y\""]);
            bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
            rest = left;
        }
        bytes.extend(b"0\r\n");
        if random.below(2) == 0 {
            let sum = random.below(1000);
            bytes.extend(format!("X-Sum: {sum}\r\nContent-Length: 7\r\nx-more: \r\n").into_bytes());
            self.trailers = Some(format!("X-Sum={sum};x-more=;"));
        }
        bytes.extend(b"\r\n");
        bytes
    }
}

fn of_trailers(trailers: Trailers<'_>) -> String {
    let fields = trailers.iter();
    fields.map(|(name, value)| format!("{name}={};", String::from_utf8_lossy(value))).collect()
}

// Bodies of requests

struct Uploads {
    worker: usize,
}

/// What is kept for an exchange; the model counts what is given back.
struct Load {
    number: usize,
    mode: Mode,
}

impl Drop for Load {
    fn drop(&mut self) {
        book_if_any(|book| book.loads -= 1);
    }
}

impl HttpHandler for Uploads {
    type Data = Load;

    fn max_body_bytes(&self) -> Option<u64> {
        Some(MAX_UPLOAD_BYTES as u64)
    }

    fn request(&mut self, request: &Request<'_>) -> Reply<Load> {
        let number = request.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(0);
        let mode = book(|book| {
            book.note(|| format!("e{number} is asked for"));
            let exchange = &mut book.exchanges[number];
            let is_new = std::mem::replace(&mut exchange.progress, Progress::Begun);
            let Kind::Upload(mode) = exchange.kind else { return Mode::Reject };
            book.check(is_new == Progress::Asked, || format!("e{number} is asked for twice"));
            book.loads += usize::from(mode != Mode::Reject);
            mode
        });
        match mode {
            Mode::Reject => Reply::respond(Response::text("no").with_status(Status::CONFLICT)),
            _ => Reply::receive(Load { number, mode }),
        }
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, Load>, piece: &[u8]) {
        let Load { number, mode } = *exchange.data();
        let blinks = book(|book| {
            book.upload_piece(number, piece);
            book.random.below(8) == 0
        });
        match mode {
            Mode::Panic => self.panic(),
            Mode::Echo => {
                self.begin(exchange, number);
                if !exchange.write(piece) {
                    book(|book| book.saw("an upload waits for its reader"));
                    self.pause(exchange, number, true);
                }
            }
            _ if blinks => {
                self.pause(exchange, number, true);
                self.pause(exchange, number, false);
            }
            _ => {}
        }
    }

    fn trailers(&mut self, exchange: &mut HttpExchange<'_, Load>, trailers: Trailers<'_>) {
        let number = exchange.data().number;
        let got = of_trailers(trailers);
        book(|book| {
            let expected = book.exchanges[number].trailers.take();
            book.saw("a handler gets trailers");
            book.check(expected.as_ref() == Some(&got), || {
                format!("e{number} got the trailers {got}, expected {expected:?}")
            });
        });
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, Load>) {
        let Load { number, mode } = *exchange.data();
        let size = book(|book| book.upload_ended(number));
        match mode {
            Mode::Panic => self.panic(),
            Mode::Echo => {
                self.begin(exchange, number);
                exchange.end();
            }
            Mode::Later => {
                let responder = exchange.responder();
                book(|book| book.responders.push((number, responder)));
            }
            Mode::Count | Mode::Reject | Mode::TooLong => {
                exchange.respond(Response::text(format!("{size} bytes")));
            }
        }
    }

    fn writable(&mut self, exchange: &mut HttpExchange<'_, Load>) {
        let number = exchange.data().number;
        self.pause(exchange, number, false);
    }

    fn aborted(&mut self, _: &mut Context<'_>, load: Load) {
        book(|book| {
            let number = load.number;
            book.saw("an upload is aborted");
            let before = &mut book.exchanges[number].progress;
            let before = std::mem::replace(before, Progress::Aborted);
            book.check(before != Progress::Aborted, || format!("e{number} is aborted twice"));
        });
    }
}

impl Uploads {
    fn panic(&self) -> ! {
        book(|book| book.counts[self.worker].panics += 1);
        resume_unwind(Box::new(Deliberate));
    }

    fn begin(&self, exchange: &mut HttpExchange<'_, Load>, number: usize) {
        let length = book(|book| book.exchanges[number].announced.map(|length| length as u64));
        let head = Response::new(Status::OK);
        let begun = exchange.begin(&head, length);
        let prefix = book(|book| {
            book.check(begun.is_ok(), || format!("e{number} begins: {begun:?}"));
            let has_begun = std::mem::replace(&mut book.exchanges[number].has_begun, true);
            if has_begun { 0 } else { book.exchanges[number].prefix }
        });
        exchange.write(&vec![b'p'; prefix]);
    }

    fn pause(&self, exchange: &mut HttpExchange<'_, Load>, number: usize, pauses: bool) {
        book(|book| book.exchanges[number].is_paused = pauses);
        if pauses { exchange.pause() } else { exchange.resume() }
    }
}

impl Book {
    fn upload_piece(&mut self, number: usize, piece: &[u8]) {
        self.note(|| format!("e{number} gets {}", piece.len()));
        let exchange = &mut self.exchanges[number];
        let start = exchange.got;
        exchange.got += piece.len();
        let (is_paused, progress) = (exchange.is_paused, exchange.progress);
        let is_right = exchange.body.get(start..exchange.got) == Some(piece);
        self.check(is_right, || format!("e{number} got another body, from {start} on"));
        self.check(!is_paused, || format!("e{number} got a body though it is paused"));
        self.check(progress == Progress::Begun, || format!("e{number} got a body: {progress:?}"));
    }

    fn upload_ended(&mut self, number: usize) -> usize {
        self.note(|| format!("e{number} is received"));
        let exchange = &mut self.exchanges[number];
        let before = std::mem::replace(&mut exchange.progress, Progress::Received);
        let (got, size) = (exchange.got, exchange.body.len());
        let (is_paused, trailers) = (exchange.is_paused, exchange.trailers.clone());
        self.saw("an upload is received");
        self.check(got == size && before == Progress::Begun && !is_paused, || {
            format!("e{number} ended after {got} of {size}: {before:?}")
        });
        self.check(trailers.is_none(), || format!("e{number} missed its trailers {trailers:?}"));
        got
    }

    fn collected(&mut self, number: usize, body: &[u8], trailers: &str) {
        let exchange = &self.exchanges[number];
        let expected = exchange.trailers.clone().unwrap_or_default();
        let is_right = exchange.body == body;
        self.saw("a body is collected");
        if !expected.is_empty() {
            self.saw("a page gets trailers");
        }
        self.check(is_right, || format!("e{number} collected another body"));
        self.check(expected == trailers, || {
            format!("e{number} collected the trailers {trailers}, expected {expected}")
        });
    }
}

// What other threads do

/// Answers one of the requests that wait for it. Some are forgotten.
pub fn answer_one() {
    let next = book(|book| {
        let is_due = |(number, _): &(usize, _)| {
            !matches!(book.exchanges[*number].kind, Kind::Later(Answer::Never))
        };
        let at = book.responders.iter().position(is_due)?;
        Some(book.responders.swap_remove(at))
    });
    let Some((number, responder)) = next else { return };
    let answer = book(|book| {
        book.note(|| format!("e{number} is answered"));
        book.saw("a request is answered from elsewhere");
        match book.exchanges[number].kind {
            Kind::Later(answer) => answer,
            _ => Answer::Text,
        }
    });
    match answer {
        Answer::Text => responder.respond(Response::text(format!("later {number}"))),
        Answer::Written => responder.respond(written(number, 0)),
        Answer::Nothing | Answer::Never => drop(responder),
    }
}

/// Writes a piece of one of the bodies that are written, or all of it if there is room.
pub fn write_one(everything: bool) {
    let next = book(|book| {
        let count = book.writings.len();
        (count > 0).then(|| {
            let at = book.random.below(count);
            book.writings.swap_remove(at)
        })
    });
    if let Some(writing) = next
        && let Some(writing) = writing.go_on(everything)
    {
        book(|book| book.writings.push(writing));
    }
}

/// Writes until there is no room for anything more.
pub fn write_all() {
    for writing in book(|book| std::mem::take(&mut book.writings)) {
        if let Some(writing) = writing.go_on(true) {
            book(|book| book.writings.push(writing));
        }
    }
}

/// Lets go of a writer whose time has come.
pub fn told_of_room(exchange: usize) {
    book_if_any(|book| {
        book.note(|| format!("e{exchange} is told of room"));
        book.saw("a writer is told of room");
        let mut writings = book.writings.iter_mut();
        if let Some(writing) = writings.find(|writing| writing.exchange == exchange) {
            writing.is_told = Room::Told;
        }
    });
}

impl Writing {
    fn go_on(mut self, everything: bool) -> Option<Self> {
        if self.is_told == Room::Awaited {
            return Some(self);
        }
        let (body, ending, size) = book(|book| {
            let exchange = &book.exchanges[self.exchange];
            let left = exchange.body.len() - self.written;
            let piece = match book.random.below(3) {
                _ if everything => left.min(50_000),
                0 => book.random.below(left + 1),
                1 => book.random.below(200).min(left),
                _ => left,
            };
            let exchange = &book.exchanges[self.exchange];
            let body = exchange.body[self.written..self.written + piece].to_vec();
            let ending = match exchange.kind {
                Kind::Written(ending) => ending,
                _ => Ending::Ends,
            };
            (body, ending, exchange.body.len())
        });
        let result = self.writer.write(&body);
        let buffered = self.writer.buffered_amount();
        let number = self.exchange;
        book(|book| {
            book.note(|| format!("e{number} writes {}: {result:?}", body.len()));
            if self.is_told == Room::Told {
                book.check(result != Err(WriteError::Full), || {
                    format!("e{number} was told of room, and there is none")
                });
            }
        });
        self.is_told = Room::Unknown;
        match result {
            Ok(()) => self.written += body.len(),
            Err(WriteError::Full) => {
                book(|book| {
                    book.saw("a writer finds no room");
                    book.check(buffered >= 64 << 10, || {
                        format!("e{number}: {buffered} bytes wait, and there is no room")
                    });
                });
                self.is_told = Room::Awaited;
                self.writer.on_writable(move || told_of_room(number));
                return Some(self);
            }
            Err(WriteError::Closed) => {
                book(|book| book.writer_closed(number, self.written));
                return None;
            }
        }
        if self.written < size {
            return Some(self);
        }
        match ending {
            Ending::Ends => {
                book(|book| book.saw("a written body ends"));
                self.writer.end();
            }
            Ending::Tears | Ending::Panics => {
                book(|book| book.saw("a written body is torn"));
                drop(self.writer);
            }
        }
        None
    }
}

impl Book {
    /// Whether a response to this peer is to be cut off.
    pub fn tears(&self, client: usize) -> bool {
        let mut own = self.exchanges.iter().filter(|exchange| exchange.client == client);
        own.any(|exchange| !exchange.is_whole())
    }

    /// Nobody reads what is written: the peer has gone, or it has all that was announced.
    fn writer_closed(&mut self, number: usize, written: usize) {
        let exchange = &self.exchanges[number];
        let socket = &self.sockets[exchange.client];
        let has_all = exchange.announced.is_some_and(|announced| written >= announced);
        let is_gone = socket.may_break || socket.peer.is_none() || self.options.breaks();
        let is_excused = has_all || is_gone || self.options.jumps || self.is_settling;
        self.saw("a writer has no reader");
        self.check(is_excused, || format!("e{number}: nobody reads it, after {written} bytes"));
    }
}
