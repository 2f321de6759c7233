//! [`Book`]: the reference model. Handlers note in it what they see and do, and it says at once
//! what is wrong, and what each peer has to get.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use sockeye::{
    PendingUpgrade, Responder, SendStatus, SocketId, Stats,
    reactor::{SimNetwork, SimPeer, SimRandom},
    ws::framed_length,
};

use super::{
    deflation::Deflation,
    events::{self, EventHead, Stream},
    exchange::{Exchange, Writing},
    options::Options,
};

thread_local! {
    static BOOK: RefCell<Option<Book>> = const { RefCell::new(None) };
}

/// The book of this thread's world.
pub fn book<T>(look: impl FnOnce(&mut Book) -> T) -> T {
    BOOK.with_borrow_mut(|book| look(book.as_mut().expect("there is a world")))
}

/// As [`book`], if there is one: for what is called when things are dropped.
pub fn book_if_any(look: impl FnOnce(&mut Book)) {
    BOOK.with_borrow_mut(|book| book.as_mut().map(look));
}

pub fn open_book(new: Book) {
    BOOK.set(Some(new));
}

pub fn close_book() {
    // Its peers and pending upgrades reach for other things when they are dropped.
    drop(BOOK.take());
}

pub struct Book {
    pub options: Options,
    pub random: SimRandom,
    pub network: SimNetwork,
    pub sockets: Vec<Socket>,
    pub counts: Vec<Counts>,
    pub pending: Vec<(usize, PendingUpgrade<usize>)>,
    /// Published elsewhere, and on the way to each worker.
    pub letters: Vec<VecDeque<Letter>>,
    // What letters have brought, if they may be read later than the model thinks.
    posted: BTreeSet<Vec<u8>>,
    pub failures: Vec<String>,
    pub events: Option<VecDeque<String>>,
    max_events: usize,
    pub is_settling: bool,
    /// By all peers.
    pub written_bytes: u64,
    serial: u64,
    pub exchanges: Vec<Exchange>,
    /// Bodies that other threads are writing.
    pub writings: Vec<Writing>,
    /// Answers that other threads owe.
    pub responders: Vec<(usize, Responder)>,
    /// Exchanges of which a handler keeps data.
    pub loads: usize,
    /// What events have beside their data.
    pub event_heads: BTreeMap<Vec<u8>, EventHead>,
    /// How often what has happened.
    pub seen: BTreeMap<&'static str, u64>,
}

/// What the model knows of one client and its WebSocket.
pub struct Socket {
    pub peer: Option<SimPeer>,
    pub route: usize,
    pub stage: Stage,
    pub worker: usize,
    pub id: Option<SocketId>,
    /// What the handler has to get, in this order.
    pub inputs: VecDeque<Input>,
    piece: Vec<u8>,
    /// What the peer has to get, in this order for each source.
    pub queues: Vec<VecDeque<Expected>>,
    pub topics: BTreeSet<usize>,
    /// Codes of close frames, and of the `close` callback.
    pub codes: Vec<u16>,
    /// The connection may break, for a reason of its own.
    pub may_break: bool,
    /// A letter that closes it is on its way.
    pub is_uncertain: bool,
    pub is_paused: bool,
    pub is_fragmenting: bool,
    was_fragmenting: bool,
    opened_at: Duration,
    expected_bytes: u64,
    taken_before_turn: u64,
    /// As told to the handler.
    pub dropped: (u64, u64),
    /// As found out by the peer.
    pub missing: (u64, u64),
    got_posted: BTreeSet<Vec<u8>>,
    pub had_perhaps: bool,
    /// The peer has sent what ends the connection, or has begun to.
    pub has_last_word: bool,
    /// What the peer has offered, if it has.
    pub offer: Option<&'static str>,
    /// As agreed on.
    pub deflation: Option<Box<Deflation>>,
    /// It is no WebSocket, but an event stream.
    pub stream: Option<Stream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Fresh,
    Open,
    /// The server has begun to close it, or has dropped it.
    Closing,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Message { is_text: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

#[derive(Debug, Clone)]
pub struct Expected {
    pub first: u8,
    pub payload: Vec<u8>,
    pub need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Must,
    /// It may be dropped, and is counted then.
    MayDrop,
    /// Whether the socket was still open for it is not known.
    Perhaps,
}

#[derive(Debug, Clone)]
pub struct Letter {
    pub source: usize,
    pub to: To,
    pub first: u8,
    pub payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Topic(usize),
    Socket(usize),
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub messages_in: u64,
    pub messages_out: u64,
    pub published: u64,
    /// So many more may have had an audience.
    pub published_perhaps: u64,
    pub opened: u64,
    pub closed: u64,
    pub panics: u64,
    pub refused: (u64, u64),
    pub dropped: (u64, u64),
    /// Published messages and letters that have come to a socket, or been dropped for it; and so
    /// many more may have.
    pub due: u64,
    pub due_perhaps: u64,
    /// Letters that the mailbox of another worker has refused to take.
    pub mailbox_refused: u64,
    pub protocol_errors: u64,
    pub idle_timeouts: u64,
}

/// Sources: what the socket's worker sends, what the topics of each worker bring, what other
/// workers send, what comes from outside. Pongs may overtake what is published.
pub const LOCAL: usize = 0;
const PONGS: usize = 1;
pub const OUTSIDE: usize = 2;
pub const WORKERS: usize = 3;
pub const SENDERS: usize = 7;
const SOURCES: usize = 11;

impl Book {
    pub fn new(options: &Options, network: &SimNetwork) -> Self {
        Self {
            options: options.clone(),
            random: SimRandom::new(options.seed ^ 0xb00c),
            network: network.clone(),
            sockets: Vec::new(),
            counts: vec![Counts::default(); options.workers],
            pending: Vec::new(),
            letters: vec![VecDeque::new(); options.workers],
            posted: BTreeSet::new(),
            failures: Vec::new(),
            events: None,
            max_events: std::env::var("SIM_EVENTS").map_or(80, |n| n.parse().unwrap_or(80)),
            is_settling: false,
            written_bytes: 0,
            serial: 0,
            exchanges: Vec::new(),
            writings: Vec::new(),
            responders: Vec::new(),
            loads: 0,
            event_heads: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    pub fn fail(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.note(|| format!("FAILURE {text}"));
        self.failures.push(text);
    }

    pub fn check(&mut self, is_right: bool, text: impl FnOnce() -> String) {
        if !is_right {
            self.fail(text());
        }
    }

    /// Something has happened that the simulation is for.
    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.network.now();
        if let Some(events) = &mut self.events {
            let event = format!("{now:?} {}", text());
            if event.ends_with("turns") && events.back().is_some_and(|e| e.ends_with("turns")) {
                events.pop_back();
            }
            events.push_back(event);
            if events.len() > self.max_events {
                events.pop_front();
            }
        }
    }

    /// A payload that no other message has.
    pub fn payload(&mut self, head: &str, size: usize) -> Vec<u8> {
        self.serial += 1;
        let mut payload = format!("{head}|{}|", self.serial).into_bytes();
        while payload.len() + 4 < size {
            let letters: [&str; 4] = ["sock", "eye ", "ë…", "🐟"];
            payload.extend_from_slice(letters[self.random.below(4)].as_bytes());
        }
        payload
    }

    // What handlers see

    pub fn opened(&mut self, number: usize, worker: usize, id: SocketId) {
        let now = self.network.now();
        self.note(|| format!("w{worker} open c{number}"));
        let socket = &mut self.sockets[number];
        if !self.options.configs[socket.route].max_lifetime.is_zero() {
            socket.codes.push(1000);
        }
        let is_fresh = socket.stage == Stage::Fresh;
        socket.stage = Stage::Open;
        socket.worker = worker;
        socket.id = Some(id);
        socket.opened_at = now;
        self.counts[worker].opened += 1;
        self.check(is_fresh, || format!("c{number} was opened twice"));
    }

    /// A handler is called with this socket.
    fn called(&mut self, number: usize, what: &str) {
        let stage = self.sockets[number].stage;
        let what = what.to_owned();
        self.note(|| format!("{what} c{number}"));
        self.check(stage == Stage::Open, || format!("{what} for c{number}, which is {stage:?}"));
    }

    pub fn received(&mut self, number: usize, worker: usize, is_text: bool, payload: &[u8]) {
        self.called(number, &format!("message {}", text(payload)));
        self.counts[worker].messages_in += 1;
        let input = Input::Message { is_text, payload: payload.to_vec() };
        self.take_input(number, &input);
    }

    pub fn received_piece(
        &mut self,
        number: usize,
        worker: usize,
        is_text: bool,
        piece: &[u8],
        is_last: bool,
    ) -> Option<Vec<u8>> {
        self.called(number, "fragment");
        let is_piecewise = self.options.configs[self.sockets[number].route].piecewise;
        self.check(is_piecewise, || format!("c{number} gets pieces, and did not ask for them"));
        self.sockets[number].piece.extend_from_slice(piece);
        if !is_last {
            return None;
        }
        self.counts[worker].messages_in += 1;
        let payload = std::mem::take(&mut self.sockets[number].piece);
        self.note(|| format!("c{number} whole {}", text(&payload)));
        self.take_input(number, &Input::Message { is_text, payload: payload.clone() });
        Some(payload)
    }

    pub fn pinged(&mut self, number: usize, payload: &[u8]) {
        self.called(number, "ping");
        self.take_input(number, &Input::Ping(payload.to_vec()));
        self.expect(number, PONGS, 0x8a, payload.to_vec(), Need::Must);
    }

    pub fn ponged(&mut self, number: usize, payload: &[u8]) {
        self.called(number, "pong");
        self.take_input(number, &Input::Pong(payload.to_vec()));
    }

    fn take_input(&mut self, number: usize, input: &Input) {
        let expected = self.sockets[number].inputs.pop_front();
        let is_right = expected.as_ref() == Some(input);
        self.check(is_right, || {
            format!("c{number} sent {}, arrived {}", brief(&expected), brief(&Some(input.clone())))
        });
    }

    pub fn drained(&mut self, number: usize) {
        self.called(number, "drain");
    }

    pub fn told_dropped(&mut self, number: usize, worker: usize, messages: u64, bytes: u64) {
        self.called(number, "dropped");
        let limit = self.limit_of(number);
        let socket = &mut self.sockets[number];
        let taken = socket.taken_before_turn;
        let waiting = (socket.expected_bytes + HEAD_BYTES + SLACK_BYTES)
            .saturating_sub(socket.dropped.1 + taken);
        let is_due = waiting > limit as u64 || socket.was_fragmenting;
        let is_compressed = socket.deflation.is_some();
        socket.dropped.0 += messages;
        socket.dropped.1 += bytes;
        self.saw("a slow reader loses messages");
        if is_compressed {
            self.saw("compressed messages are dropped");
        }
        self.counts[worker].dropped.0 += messages;
        self.counts[worker].dropped.1 += bytes;
        self.check(is_due, || {
            format!("c{number} loses {messages} messages, {waiting} bytes wait of {limit}")
        });
    }

    pub fn closed(
        &mut self,
        number: usize,
        worker: usize,
        code: u16,
        reason: &str,
        is_clean: bool,
    ) {
        let is_fault = !is_clean && matches!(code, 1002 | 1007 | 1009);
        self.counts[worker].protocol_errors += u64::from(is_fault);
        let is_idle = code == 1006 && reason == "nothing was heard for the idle timeout";
        self.counts[worker].idle_timeouts += u64::from(is_idle);
        match code {
            1006 if is_idle => self.saw("an idle socket is closed"),
            1006 if reason.starts_with("too slow") => self.saw("a slow reader is closed"),
            1006 => self.saw("a socket is lost"),
            1001 if self.is_settling => self.saw("a socket is closed by a shutdown"),
            _ if is_clean => self.saw("a socket closes cleanly"),
            _ if is_fault => self.saw("a socket is closed for a fault of its peer"),
            1011 => self.saw("a socket is closed for a panic"),
            _ => self.saw("a socket closes otherwise"),
        }
        self.note(|| format!("w{worker} close c{number} {code} {is_clean}"));
        let breaks = self.options.breaks() || self.options.jumps || self.is_settling;
        self.counts[worker].closed += 1;
        let now = self.network.now();
        let config = &self.options.configs[self.sockets[number].route];
        let (idle, overflows) = (config.idle_timeout, config.close_on_backpressure_limit);
        let socket = &mut self.sockets[number];
        let stage = std::mem::replace(&mut socket.stage, Stage::Closed);
        let may_be_idle = !idle.is_zero() && now >= socket.opened_at + idle;
        let may_break = socket.may_break || breaks || may_be_idle || overflows;
        let is_code_right = match code {
            1006 => may_break && !is_clean,
            code => socket.codes.contains(&code),
        };
        let codes = socket.codes.clone();
        socket.may_break |= code == 1006;
        socket.topics.clear();
        self.give_up(number);
        self.check(matches!(stage, Stage::Open | Stage::Closing), || {
            format!("c{number} is closed, and was {stage:?}")
        });
        self.check(is_code_right, || {
            format!("c{number} is closed with {code}, expected {codes:?}, may break {may_break}")
        });
    }

    /// What letters bring for a socket that is closed does not reach it.
    fn give_up(&mut self, number: usize) {
        for queue in &mut self.sockets[number].queues[OUTSIDE..] {
            queue.iter_mut().for_each(|expected| expected.need = Need::Perhaps);
        }
    }

    // What handlers do

    /// The server has begun to close this socket, or has dropped it.
    pub fn closes(&mut self, number: usize, code: Option<u16>) {
        let socket = &mut self.sockets[number];
        if socket.stage == Stage::Open {
            socket.stage = Stage::Closing;
        }
        socket.topics.clear();
        match code {
            Some(code) => socket.codes.push(code),
            None => socket.may_break = true,
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of it is one send")]
    pub fn sent(
        &mut self,
        number: usize,
        worker: usize,
        source: usize,
        first: u8,
        payload: Vec<u8>,
        status: SendStatus,
        buffered: Option<usize>,
    ) {
        let limit = self.limit_of(number);
        let bytes = framed_length(payload.len());
        // FIN is set, and it is no control frame.
        let is_message = first & 0x88 == 0x80;
        self.note(|| format!("  {first:#x} {} to c{number}: {status:?}", text(&payload)));
        let is_uncertain = self.is_uncertain(number);
        let socket = &mut self.sockets[number];
        let stage = socket.stage;
        match status {
            SendStatus::Sent | SendStatus::Queued { .. } => {
                self.check(stage == Stage::Open, || {
                    format!("{status:?} to c{number}, which is {stage:?}")
                });
                if let (SendStatus::Queued { bytes }, Some(buffered)) = (status, buffered) {
                    self.check(bytes == buffered, || {
                        format!("c{number}: {bytes} bytes queued, {buffered} buffered")
                    });
                }
                self.counts[worker].messages_out += u64::from(is_message);
                self.expect(number, source, first, payload, Need::Must);
            }
            SendStatus::Dropped => {
                let is_due = buffered.is_none_or(|buffered| buffered + bytes > limit);
                let is_due = is_due || socket.is_fragmenting;
                self.counts[worker].refused.0 += 1;
                self.counts[worker].refused.1 += bytes as u64;
                if self.options.configs[self.sockets[number].route].close_on_backpressure_limit {
                    self.closes(number, None);
                }
                self.check(is_due, || {
                    format!("c{number}: refused with {buffered:?} + {bytes} of {limit}")
                });
            }
            SendStatus::Closed => {
                if is_uncertain {
                    self.closes(number, None);
                }
                self.check(stage != Stage::Open || is_uncertain, || {
                    format!("c{number} is said to be closed, and is {stage:?}")
                });
            }
        }
    }

    /// A message has been posted to the worker of this socket.
    pub fn posted(&mut self, number: usize, source: usize, payload: Vec<u8>) {
        // It may have been closed when the letter is read.
        let worker = self.sockets[number].worker;
        let due = self.counts[worker].due;
        self.expect(number, source, 0x81, payload, Need::MayDrop);
        let counts = &mut self.counts[worker];
        counts.due_perhaps += counts.due - due;
        counts.due = due;
    }

    /// A letter that closes this socket has been posted.
    pub fn will_close(&mut self, number: usize, code: Option<u16>) {
        let socket = &mut self.sockets[number];
        socket.is_uncertain = true;
        match code {
            Some(code) => socket.codes.push(code),
            None => socket.may_break = true,
        }
    }

    pub fn fragment_sent(&mut self, number: usize, is_last: bool, status: SendStatus) {
        let socket = &mut self.sockets[number];
        if status.is_accepted() {
            socket.is_fragmenting = !is_last;
            socket.was_fragmenting |= !is_last;
        }
    }

    pub fn subscribed(&mut self, number: usize, topic: usize, result: Option<bool>) {
        self.note(|| format!("  c{number} subscribes to {topic}: {result:?}"));
        let is_uncertain = self.is_uncertain(number);
        let socket = &mut self.sockets[number];
        match result {
            Some(is_new) => {
                let is_right = socket.topics.insert(topic) == is_new;
                self.check(is_right, || format!("c{number} subscribes to {topic}: {is_new}"));
            }
            None => {
                let stage = socket.stage;
                self.check(stage != Stage::Open || is_uncertain, || {
                    format!("c{number} may not subscribe, and is {stage:?}")
                });
            }
        }
    }

    pub fn unsubscribed(&mut self, number: usize, topic: usize, was: bool) {
        let is_uncertain = self.is_uncertain(number);
        let is_right = self.sockets[number].topics.remove(&topic) == was || is_uncertain;
        self.check(is_right, || format!("c{number} unsubscribes from {topic}: {was}"));
    }

    /// A handler has published.
    pub fn published(
        &mut self,
        worker: usize,
        from: Option<usize>,
        topic: usize,
        payload: &[u8],
        told: Option<bool>,
    ) {
        self.note(|| format!("w{worker} publishes {} to {topic} from {from:?}", text(payload)));
        let mut others = vec![false; self.options.workers];
        let (mut audience, mut reached, mut is_sure, mut certain) = (false, false, true, false);
        for number in 0..self.sockets.len() {
            if !self.sockets[number].topics.contains(&topic) {
                continue;
            }
            is_sure &= !self.is_uncertain(number);
            certain |= !self.is_uncertain(number);
            audience = true;
            reached |= Some(number) != from;
            let at = self.sockets[number].worker;
            if at != worker {
                others[at] = true;
            } else if Some(number) != from {
                self.expect(number, LOCAL, 0x81, payload.to_vec(), Need::MayDrop);
            }
        }
        for (at, _) in others.iter().enumerate().filter(|(_, wanted)| **wanted) {
            let source = WORKERS + worker;
            let payload = payload.to_vec();
            self.letters[at].push_back(Letter {
                source,
                to: To::Topic(topic),
                first: 0x81,
                payload,
            });
        }
        match certain {
            true => self.counts[worker].published += 1,
            false => self.counts[worker].published_perhaps += u64::from(audience),
        }
        if let Some(told) = told.filter(|_| is_sure) {
            self.check(told == reached, || format!("publish says {told} to topic {topic}"));
        }
    }

    /// A worker begins a turn: it reads its letters first.
    pub fn begin_turn(&mut self, worker: usize) {
        for socket in self.sockets.iter_mut().filter(|socket| socket.worker == worker) {
            socket.taken_before_turn = socket.peer.as_ref().map_or(0, SimPeer::taken_bytes);
        }
        let small_turns = self.options.has_small_turns();
        for letter in std::mem::take(&mut self.letters[worker]) {
            // Farewells are the last thing in a turn: what they publish leaves with the next one.
            let is_late = small_turns || letter.payload.starts_with(b"gone|");
            if is_late {
                let here = self.sockets.iter().filter(|socket| socket.worker == worker).count();
                self.counts[worker].due_perhaps += here as u64;
                self.posted.insert(letter.payload.clone());
                self.posted.insert(events::lines(&letter.payload));
            }
            for number in 0..self.sockets.len() {
                let socket = &self.sockets[number];
                let is_for_it = match letter.to {
                    To::Topic(topic) => socket.topics.contains(&topic),
                    To::Socket(to) => to == number,
                };
                if socket.worker == worker && is_for_it {
                    let (first, payload) = (letter.first, letter.payload.clone());
                    let need = match self.options.has_small_mailbox() || is_late {
                        true => Need::Perhaps,
                        false => Need::MayDrop,
                    };
                    self.expect(number, letter.source, first, payload, need);
                }
            }
        }
    }

    /// The peer has to get this.
    pub fn expect(
        &mut self,
        number: usize,
        source: usize,
        first: u8,
        payload: Vec<u8>,
        need: Need,
    ) {
        let is_uncertain = self.is_uncertain(number);
        let socket = &mut self.sockets[number];
        let is_delivery = need != Need::Must;
        let need = match need {
            Need::MayDrop if is_uncertain || socket.stage != Stage::Open => Need::Perhaps,
            need => need,
        };
        if is_delivery && let Some(counts) = self.counts.get_mut(socket.worker) {
            counts.due += u64::from(need == Need::MayDrop);
            counts.due_perhaps += u64::from(need == Need::Perhaps);
        }
        if socket.stream.is_some() {
            return self.expect_event(number, source, &payload, need);
        }
        socket.had_perhaps |= need == Need::Perhaps;
        socket.expected_bytes += framed_length(payload.len()) as u64;
        socket.queues[source].push_back(Expected { first, payload, need });
    }

    // What peers see

    /// The peer got a frame. Frames of one source come in their order.
    pub fn arrived(&mut self, number: usize, first: u8, payload: &[u8]) {
        self.note(|| format!("c{number} gets {first:#x} {}", text(payload)));
        let socket = &mut self.sockets[number];
        let is_it = |expected: &Expected| expected.first == first && expected.payload == payload;
        // Who has subscribed before a letter is read gets it. Not twice.
        let is_posted = self.posted.contains(payload);
        if is_posted && !socket.got_posted.insert(payload.to_vec()) {
            return self.fail(format!("c{number} got {} twice", text(payload)));
        }
        for (source, queue) in socket.queues.iter_mut().enumerate() {
            let passable = queue.iter().take_while(|expected| expected.need != Need::Must).count();
            let Some(at) = queue.iter().take(passable + 1).position(is_it) else { continue };
            for skipped in queue.drain(..at) {
                if skipped.need == Need::MayDrop {
                    socket.missing.0 += 1;
                    socket.missing.1 += framed_length(skipped.payload.len()) as u64;
                }
            }
            queue.pop_front();
            match source {
                OUTSIDE => self.saw("a message comes from outside"),
                WORKERS.. => self.saw("a message comes from another worker"),
                _ => {}
            }
            return;
        }
        if is_posted {
            return;
        }
        let heads: Vec<_> = socket.queues.iter().map(|queue| queue.front().map(head)).collect();
        self.fail(format!("c{number} got {first:#x} {}, expected {heads:?}", text(payload)));
    }

    /// The peer got a close frame: what was sent before it has come.
    pub fn arrived_close(&mut self, number: usize, code: Option<u16>) {
        self.note(|| format!("c{number} gets close {code:?}"));
        let socket = &mut self.sockets[number];
        let lost = socket.queues[LOCAL].iter().find(|expected| expected.need == Need::Must);
        let lost = lost.map(head);
        let code = code.unwrap_or(1005);
        let is_right = socket.codes.contains(&code);
        let codes = socket.codes.clone();
        self.check(is_right, || format!("c{number} got close {code}, expected {codes:?}"));
        self.check(lost.is_none(), || format!("c{number} was closed before it got {lost:?}"));
    }

    /// Nothing is under way any more: what is expected and did not come is missing.
    pub fn settle_account(&mut self, number: usize) {
        let socket = &mut self.sockets[number];
        let (mut lost, mut missed) = (None, Vec::new());
        for expected in socket.queues.iter_mut().flat_map(|queue| queue.drain(..)) {
            match expected.need {
                Need::Must => lost = Some(head(&expected)),
                Need::MayDrop => {
                    missed.push(head(&expected));
                    socket.missing.0 += 1;
                    socket.missing.1 += framed_length(expected.payload.len()) as u64;
                }
                Need::Perhaps => {}
            }
        }
        let (missing, dropped) = (socket.missing, socket.dropped);
        let is_known = !socket.had_perhaps && !self.options.has_small_turns();
        let socket_deflates = socket.deflation.is_some();
        let unread = socket.inputs.front().cloned().filter(|_| !socket.is_paused);
        self.check(lost.is_none(), || format!("c{number} never got {lost:?}"));
        self.check(unread.is_none(), || {
            format!("the server never got {} of c{number}", brief(&unread))
        });
        // What compressed messages came to is not known.
        let is_equal = match socket_deflates {
            true => missing.0 == dropped.0,
            false => missing == dropped,
        };
        self.check(!is_known || is_equal, || {
            format!("c{number} misses {missing:?}, told were {dropped:?}; at last {missed:?}")
        });
    }

    /// What was published, or has come in letters, has been delivered or dropped.
    pub fn check_deliveries(&mut self, number: usize, stats: &Stats) {
        let counts = self.counts[number];
        let most = counts.due + counts.due_perhaps;
        let done = (stats.messages_out + stats.dropped_messages)
            .saturating_sub(counts.messages_out + counts.refused.0);
        if !self.options.has_small_turns() {
            self.check((counts.due..=most).contains(&done), || {
                format!("w{number}: {done} delivered or dropped of {} to {most}", counts.due)
            });
            let is_exact = counts.due > 0 && counts.due_perhaps == 0;
            self.saw(match is_exact {
                true => "deliveries are counted to the last one",
                false => "deliveries are counted within bounds",
            });
        }
    }

    pub fn is_uncertain(&self, number: usize) -> bool {
        let socket = &self.sockets[number];
        if socket.stream.is_some() {
            return self.is_stream_uncertain(number);
        }
        let config = &self.options.configs[socket.route];
        let age = self.network.now().saturating_sub(socket.opened_at);
        let lifetime = config.max_lifetime;
        socket.is_uncertain
            || config.close_on_backpressure_limit
            || (!lifetime.is_zero() && age + Duration::from_millis(64) > lifetime)
    }

    fn limit_of(&self, number: usize) -> usize {
        self.options.configs[self.sockets[number].route].max_backpressure
    }
}

impl Socket {
    pub fn new(peer: SimPeer, route: usize) -> Self {
        Self {
            peer: Some(peer),
            route,
            stage: Stage::Fresh,
            worker: usize::MAX,
            id: None,
            inputs: VecDeque::new(),
            piece: Vec::new(),
            queues: vec![VecDeque::new(); SOURCES],
            topics: BTreeSet::new(),
            codes: Vec::new(),
            may_break: false,
            is_uncertain: false,
            is_paused: false,
            is_fragmenting: false,
            was_fragmenting: false,
            opened_at: Duration::ZERO,
            expected_bytes: 0,
            taken_before_turn: 0,
            dropped: (0, 0),
            missing: (0, 0),
            got_posted: BTreeSet::new(),
            had_perhaps: false,
            has_last_word: false,
            offer: None,
            deflation: None,
            stream: None,
        }
    }
}

pub fn head(expected: &Expected) -> String {
    format!("{:#x} {} ({:?})", expected.first, text(&expected.payload), expected.need)
}

fn brief(input: &Option<Input>) -> String {
    match input {
        None => "nothing".into(),
        Some(Input::Message { is_text, payload }) => format!("{is_text} {}", text(payload)),
        Some(Input::Ping(payload)) => format!("ping {}", text(payload)),
        Some(Input::Pong(payload)) => format!("pong {}", text(payload)),
    }
}

pub fn text(payload: &[u8]) -> String {
    let start = String::from_utf8_lossy(&payload[..payload.len().min(24)]).into_owned();
    format!("{start:?} of {}", payload.len())
}

/// A 101 has no more.
const HEAD_BYTES: u64 = 400;
/// Pings that the server sends by itself are not in the book.
const SLACK_BYTES: u64 = 100;
