//! `loadgen mixed`: everything at once, and every byte of it checked.
//!
//! Of ten connections three echo, three share rooms in which one speaks to the others, two ask by
//! HTTP, one comes and goes, and one reads slowly. Messages are tiny to large, text and binary,
//! whole and in fragments; a seed decides all of it. Each exchange is a closed loop: when it is
//! complete, the connection rests, and begins the next.
//!
//! The server is `examples/mixed.rs`: `/ws` echoes, `/room/N` passes on, `/echo` returns bodies,
//! `/stats` counts.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    rc::Rc,
    time::Duration,
};

use hdrhistogram::Histogram;
use sockeye::{
    base::Outbox,
    reactor::{Reactor, Socket},
    ws::{
        CloseCode, Decoder, Event as Frame, Limits, Opcode, Role as End, append_close, append_frame,
    },
};

use crate::{
    Error,
    check::compare,
    driver::{Driver, ended},
    http::Response,
    meter::{Measured, Meter},
    options,
    random::Random,
    wire::{Event, Wire},
};

mod draw;

use draw::{Draw, Payload};

/// The scenario's state.
#[derive(Debug)]
pub(crate) struct Mixed {
    host: String,
    draw: Draw,
    think: Duration,
    // The last one is for questions about the server.
    slots: Vec<Slot>,
    rooms: Vec<Room>,
    timers: BinaryHeap<Reverse<(Duration, Actor)>>,
    now: Duration,
    // Exchanges that are not complete.
    due: u64,
    is_ending: bool,
    pub(crate) counts: Counts,
    /// Nanoseconds that exchanges took since this was last emptied.
    pub(crate) latency: Histogram<u64>,
}

/// What clients have done, in the words of the server's statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) published: u64,
    pub(crate) deliveries: u64,
}

/// Who has something to do when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Actor {
    Slot(usize),
    Room(usize),
}

#[derive(Debug)]
struct Slot {
    role: Role,
    stage: Stage,
    decoder: Decoder,
    // Of a response that is not complete.
    input: Vec<u8>,
    expected: VecDeque<Rc<Payload>>,
    replies: Outbox,
    // Whether what is expected is of an exchange, which began then.
    is_busy: bool,
    begun: Duration,
    // Exchanges of a visitor before it goes.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Echo,
    Member(usize),
    Http,
    Visitor,
    Slow,
    Inquirer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    Opening,
    Open,
    /// The end is under way; with a closing handshake that has not been answered yet, or without.
    Leaving {
        awaits_close: bool,
    },
}

#[derive(Debug, Default)]
struct Room {
    members: Vec<usize>,
    // Members that have not got everything.
    missing: usize,
    begun: Duration,
}

impl Mixed {
    /// Measures. What is counted is exchanges.
    pub(crate) fn run<R: Reactor<Socket = Socket>>(
        options: &options::Mixed,
        mut driver: Driver<R>,
        host: &str,
        random: Random,
    ) -> Result<Measured, Error> {
        let mut mixed = Self::new(options, host, random)?;
        mixed.go_on(&mut driver, |_, _| Ok(()))?;
        let now = driver.wire.now();
        driver.meter.finish(now)
    }

    pub(crate) fn new(options: &options::Mixed, host: &str, random: Random) -> Result<Self, Error> {
        let count = options.connections;
        let members: Vec<usize> =
            (0..count).filter(|index| (3..6).contains(&(index % 10))).collect();
        let room_count = (members.len() / ROOM_SIZE).max(1);
        let mut rooms: Vec<Room> = (0..room_count).map(|_| Room::default()).collect();
        if members.len() > 1 {
            for (number, index) in members.into_iter().enumerate() {
                rooms[number % room_count].members.push(index);
            }
        } else {
            rooms.clear();
        }
        let role = |index: usize| match index % 10 {
            3..6 => rooms.iter().position(|room| room.members.contains(&index)).map(Role::Member),
            6 | 7 => Some(Role::Http),
            8 => Some(Role::Visitor),
            9 => Some(Role::Slow),
            _ => None,
        };
        let mut slots: Vec<Slot> =
            (0..count).map(|index| Slot::new(role(index).unwrap_or(Role::Echo))).collect();
        slots.push(Slot::new(Role::Inquirer));
        // They come one after the other, and do not march in step.
        let spread = |index: usize| Duration::from_micros(500 * index as u64);
        let timers = (0..count).map(|index| (spread(index), Actor::Slot(index)));
        let timers = timers.chain((0..rooms.len()).map(|room| (spread(count), Actor::Room(room))));
        let timers = timers.map(Reverse).collect();
        Ok(Self {
            host: host.to_owned(),
            draw: Draw::new(random, options.payload),
            think: options.think,
            slots,
            rooms,
            timers,
            now: Duration::ZERO,
            due: 0,
            is_ending: false,
            counts: Counts::default(),
            latency: new_histogram()?,
        })
    }

    /// Goes on until the measurement is over, and calls `each` once in every turn.
    pub(crate) fn go_on<R: Reactor<Socket = Socket>>(
        &mut self,
        driver: &mut Driver<R>,
        mut each: impl FnMut(&mut Self, Duration) -> Result<(), Error>,
    ) -> Result<(), Error> {
        driver.wire.wait(Some(Duration::ZERO))?;
        driver.meter.start(driver.wire.now());
        while driver.meter.turn(driver.wire.now(), self.due)? {
            let wait = driver.meter.longest_wait(driver.wire.now());
            self.turn(driver, wait)?;
            each(self, self.now)?;
        }
        Ok(())
    }

    /// Begins nothing more, waits for what is under way, and closes all but the inquirer.
    pub(crate) fn end<R: Reactor<Socket = Socket>>(
        &mut self,
        driver: &mut Driver<R>,
    ) -> Result<(), Error> {
        self.is_ending = true;
        self.wait_for(driver, |mixed| mixed.due == 0)?;
        for index in 0..self.slots.len() - 1 {
            if self.slots[index].stage == Stage::Open {
                self.leave(index, &mut driver.wire, 2);
            }
        }
        self.wait_for(driver, |mixed| mixed.due == 0)
    }

    /// Ends the connection over which the server was asked.
    pub(crate) fn dismiss<R: Reactor<Socket = Socket>>(
        &mut self,
        driver: &mut Driver<R>,
    ) -> Result<(), Error> {
        self.leave(self.slots.len() - 1, &mut driver.wire, 2);
        self.wait_for(driver, |mixed| mixed.due == 0)
    }

    /// What the server says at this path.
    pub(crate) fn ask<R: Reactor<Socket = Socket>>(
        &mut self,
        driver: &mut Driver<R>,
        path: &str,
    ) -> Result<Vec<u8>, Error> {
        let index = self.slots.len() - 1;
        if self.slots[index].stage == Stage::Closed {
            self.connect(index, &mut driver.wire)?;
        }
        self.slots[index].input.clear();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        let mut outbox = Outbox::default();
        outbox.append(request.as_bytes());
        driver.wire.send(index, &mut outbox);
        self.counts.requests += 1;
        let mut body = None;
        self.wait_for(driver, |mixed| {
            let response = Response::parse(&mixed.slots[index].input).ok().flatten();
            body = response.map(|response| response.bytes[response.head_bytes..].to_vec());
            body.is_some()
        })?;
        Ok(body.unwrap_or_default())
    }

    fn wait_for<R: Reactor<Socket = Socket>>(
        &mut self,
        driver: &mut Driver<R>,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let (begin, patience) = (driver.wire.now(), driver.meter.patience());
        while !is_so(self) {
            self.turn(driver, Duration::from_millis(10))?;
            if driver.wire.now() - begin > patience {
                return Err(Error::Silent { time: patience, due: self.due.max(1) });
            }
        }
        Ok(())
    }

    /// One turn of the loop, no longer than that.
    pub(crate) fn turn<R: Reactor<Socket = Socket>>(
        &mut self,
        driver: &mut Driver<R>,
        timeout: Duration,
    ) -> Result<(), Error> {
        let next = self.timers.peek().map_or(Duration::MAX, |Reverse((time, _))| *time);
        driver.wire.wait(Some(timeout.min(next.saturating_sub(driver.wire.now()))))?;
        self.now = driver.wire.now();
        while let Some(event) = driver.wire.next() {
            match event {
                Event::Received { index, bytes } => {
                    driver.meter.received(bytes.len());
                    let mut rest = bytes;
                    if driver.openings.is_under_way(index) {
                        let Some(consumed) = driver.openings.received(index, rest)? else {
                            continue;
                        };
                        rest = &mut rest[consumed..];
                        self.slots[index].stage = Stage::Open;
                        self.completed(Actor::Slot(index), &mut driver.meter);
                    }
                    self.received(index, rest)?;
                    self.react(index, driver);
                }
                Event::Ended { index, error } => {
                    if self.slots[index].stage != (Stage::Leaving { awaits_close: false }) {
                        return Err(ended(index, error));
                    }
                    driver.wire.close(index);
                }
                Event::Closed { index } => {
                    self.slots[index].stage = Stage::Closed;
                    self.completed(Actor::Slot(index), &mut driver.meter);
                }
                Event::Nothing => {}
            }
        }
        while let Some(Reverse((time, actor))) = self.timers.peek().copied()
            && time <= self.now
        {
            self.timers.pop();
            match actor {
                Actor::Slot(index) => self.act(index, driver)?,
                Actor::Room(room) => self.speak(room, &mut driver.wire),
            }
        }
        Ok(())
    }

    /// Begins what comes next on this connection.
    fn act<R: Reactor<Socket = Socket>>(
        &mut self,
        index: usize,
        driver: &mut Driver<R>,
    ) -> Result<(), Error> {
        let Slot { role, stage, .. } = self.slots[index];
        match (stage, role) {
            // A slow one has waited long enough.
            (Stage::Open, Role::Slow) if !self.slots[index].expected.is_empty() => {
                driver.wire.set_paused(index, false);
            }
            _ if self.is_ending || role == Role::Inquirer => {}
            (Stage::Closed, Role::Http) => {
                self.connect(index, &mut driver.wire)?;
                self.request(index, &mut driver.wire);
            }
            (Stage::Closed, _) => {
                let room = match role {
                    Role::Member(room) => format!("/room/{room}"),
                    _ => "/ws".to_owned(),
                };
                self.begin(index, false);
                self.slots[index].renew(Stage::Opening);
                self.slots[index].left = self.draw.below(5);
                driver.openings.begin_at(index, Some(&room), &mut driver.wire)?;
                self.counts.accepted += 1;
                self.counts.requests += 1;
            }
            (Stage::Open, Role::Http) => self.request(index, &mut driver.wire),
            (Stage::Open, Role::Visitor) if self.slots[index].left == 0 => {
                let way = self.draw.below(3);
                self.leave(index, &mut driver.wire, way);
            }
            (Stage::Open, Role::Echo | Role::Visitor | Role::Slow) => {
                let count = if role == Role::Slow { 8 } else { 1 } + self.draw.below(4);
                self.begin(index, true);
                self.slots[index].left = self.slots[index].left.saturating_sub(1);
                let payloads = self.send(index, count, &mut driver.wire);
                self.slots[index].expected.extend(payloads);
                if role == Role::Slow {
                    driver.wire.set_paused(index, true);
                    let time = Duration::from_millis(100 + self.draw.below(900));
                    self.timers.push(Reverse((self.now + time, Actor::Slot(index))));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connect<R: Reactor<Socket = Socket>>(
        &mut self,
        index: usize,
        wire: &mut Wire<R>,
    ) -> Result<(), Error> {
        wire.connect(index)?;
        self.slots[index].renew(Stage::Open);
        self.counts.accepted += 1;
        Ok(())
    }

    /// Begins an exchange, which ends when all that is expected has come, or otherwise.
    fn begin(&mut self, index: usize, ends_with_answers: bool) {
        self.slots[index].begun = self.now;
        self.slots[index].is_busy = ends_with_answers;
        self.due += 1;
    }

    /// Sends so many messages in one write.
    fn send<R: Reactor<Socket = Socket>>(
        &mut self,
        index: usize,
        count: u64,
        wire: &mut Wire<R>,
    ) -> Vec<Rc<Payload>> {
        let mut outbox = Outbox::default();
        let payloads: Vec<_> =
            (0..count).map(|_| Rc::new(self.draw.message(&mut outbox))).collect();
        self.counts.messages_in += count;
        wire.send(index, &mut outbox);
        payloads
    }

    /// One member of a room says something, and all others are to hear it.
    fn speak<R: Reactor<Socket = Socket>>(&mut self, number: usize, wire: &mut Wire<R>) {
        let members = &self.rooms[number].members;
        if self.is_ending {
            return;
        }
        if members.iter().any(|&member| self.slots[member].stage != Stage::Open) {
            let later = self.now + Duration::from_millis(5);
            return self.timers.push(Reverse((later, Actor::Room(number))));
        }
        let speaker = members[self.draw.index(members.len())];
        let count = 1 + self.draw.below(4);
        let payloads = self.send(speaker, count, wire);
        self.counts.published += count;
        let room = &mut self.rooms[number];
        (room.missing, room.begun) = (room.members.len() - 1, self.now);
        for &member in room.members.iter().filter(|member| **member != speaker) {
            self.slots[member].expected.extend(payloads.iter().cloned());
            self.slots[member].is_busy = true;
        }
        self.due += 1;
    }

    /// Asks one to four things at once.
    fn request<R: Reactor<Socket = Socket>>(&mut self, index: usize, wire: &mut Wire<R>) {
        let count = 1 + self.draw.below(4);
        self.begin(index, true);
        let mut outbox = Outbox::default();
        for _ in 0..count {
            let payload = self.draw.request(&self.host, &mut outbox);
            self.slots[index].expected.push_back(Rc::new(payload));
        }
        self.counts.requests += count;
        wire.send(index, &mut outbox);
    }

    /// Ends a connection: with the closing handshake, with our FIN, or by closing the socket.
    fn leave<R: Reactor<Socket = Socket>>(&mut self, index: usize, wire: &mut Wire<R>, way: u64) {
        self.begin(index, false);
        self.slots[index].stage = Stage::Leaving { awaits_close: way == 0 };
        match way {
            0 => {
                let mut outbox = Outbox::default();
                let status = Some((CloseCode::NORMAL, "goodbye"));
                append_close(&mut outbox, status, Some(self.draw.masking_key()));
                wire.send(index, &mut outbox);
            }
            1 => wire.shutdown(index),
            _ => wire.close(index),
        }
    }

    fn received(&mut self, index: usize, bytes: &mut [u8]) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        match slot.role {
            Role::Inquirer => slot.input.extend_from_slice(bytes),
            Role::Http => slot.received_http(index, bytes)?,
            role => {
                let count = slot.received_frames(index, bytes)?;
                self.counts.messages_out += count;
                if let Role::Member(_) = role {
                    self.counts.deliveries += count;
                }
            }
        }
        Ok(())
    }

    /// Sends what is owed, and notes whether all that was expected has come.
    fn react<R: Reactor<Socket = Socket>>(&mut self, index: usize, driver: &mut Driver<R>) {
        let slot = &mut self.slots[index];
        if !slot.replies.is_empty() {
            driver.wire.send(index, &mut slot.replies);
        }
        if !slot.expected.is_empty() || !std::mem::take(&mut slot.is_busy) {
            return;
        }
        match slot.role {
            Role::Member(number) => {
                let room = &mut self.rooms[number];
                room.missing -= 1;
                if room.missing == 0 {
                    self.completed(Actor::Room(number), &mut driver.meter);
                }
            }
            _ => self.completed(Actor::Slot(index), &mut driver.meter),
        }
    }

    /// An exchange is complete: its actor rests, and begins another.
    fn completed(&mut self, actor: Actor, meter: &mut Meter) {
        let (begun, is_slow) = match actor {
            Actor::Slot(index) => (self.slots[index].begun, self.slots[index].role == Role::Slow),
            Actor::Room(number) => (self.rooms[number].begun, false),
        };
        let time = self.now.saturating_sub(begun);
        if is_slow {
            meter.completed_untimed(1);
        } else {
            meter.completed(1, time);
            self.latency.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        self.due -= 1;
        let rest = self.think.mul_f64(self.draw.fraction() * 2.0);
        self.timers.push(Reverse((self.now + rest, actor)));
    }
}

impl Slot {
    fn new(role: Role) -> Self {
        Self {
            role,
            stage: Stage::Closed,
            decoder: Decoder::new(End::Client),
            input: Vec::new(),
            expected: VecDeque::new(),
            replies: Outbox::default(),
            is_busy: false,
            begun: Duration::ZERO,
            left: 0,
        }
    }

    /// Another connection in the same place.
    fn renew(&mut self, stage: Stage) {
        self.stage = stage;
        self.decoder = Decoder::new(End::Client);
    }

    fn received_http(&mut self, connection: usize, bytes: &[u8]) -> Result<(), Error> {
        self.input.extend_from_slice(bytes);
        while let Some(response) = Response::parse(&self.input)? {
            let expected = self.expected.pop_front();
            let body = &response.bytes[response.head_bytes..];
            let what = match expected {
                None => "more responses than requests".into(),
                Some(_) if response.status.code() != 200 => {
                    format!("status {}", response.status.code())
                }
                Some(expected) if expected.as_bytes() != body => {
                    format!("not the {} bytes that were sent", expected.as_bytes().len())
                }
                Some(_) => {
                    self.input.drain(..response.bytes.len());
                    continue;
                }
            };
            return Err(Error::Wrong { connection, what });
        }
        Ok(())
    }

    /// Returns how many messages have come.
    fn received_frames(&mut self, connection: usize, mut bytes: &mut [u8]) -> Result<u64, Error> {
        let limits = Limits { max_payload_length: MAX_PAYLOAD_BYTES, ..Limits::default() };
        let mut count = 0;
        loop {
            let step = self.decoder.next(bytes, &limits);
            let step = step.map_err(|error| Error::Protocol { connection, error })?;
            let consumed = step.consumed;
            match step.event {
                None => return Ok(count),
                Some(Frame::Message(message) | Frame::Fragment { message, .. }) => {
                    let expected = self.expected.pop_front();
                    let result = match &expected {
                        Some(expected) => compare(message, expected.message()),
                        None => Err("a message that nobody sent".into()),
                    };
                    result.map_err(|what| Error::Wrong { connection, what })?;
                    count += 1;
                }
                Some(Frame::Ping(payload)) => {
                    let key = Some([0x5a; 4]);
                    append_frame(&mut self.replies, true, Opcode::Pong, payload, key);
                }
                Some(Frame::Pong(_)) => {}
                Some(Frame::Close(status)) => {
                    let code = status.map_or(CloseCode::NO_STATUS, |(code, _)| code);
                    if self.stage != (Stage::Leaving { awaits_close: true })
                        || code != CloseCode::NORMAL
                    {
                        let how = format!("close code {}", code.code());
                        return Err(Error::Ended { connection, how });
                    }
                    self.stage = Stage::Leaving { awaits_close: false };
                }
            }
            bytes = &mut bytes[consumed..];
        }
    }
}

pub(crate) fn new_histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .map_err(|_| Error::Options("the histogram's bounds are wrong"))
}

/// Members of a room, about.
const ROOM_SIZE: usize = 8;
const MAX_PAYLOAD_BYTES: usize = 128 << 20;
