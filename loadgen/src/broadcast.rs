//! `loadgen broadcast`: messages that the server passes on to all other connections.
//!
//! Receivers are the connections from 0 on, publishers those after them. A publish is complete
//! when the last receiver has it, and then the next one is sent. With one publisher the messages
//! must arrive in the order in which they were sent; several send the same message.
//!
//! Rooms are such groups side by side: a connection belongs to the room that is its number modulo
//! the number of rooms.

use std::{collections::VecDeque, time::Duration};

use sockeye::{
    client::Url,
    reactor::{Reactor, Socket},
};

use crate::{
    Error,
    check::Check,
    driver::{At, Driver, Scenario},
    meter::Measured,
    options,
    random::Random,
    traffic::Traffic,
    wire::Wire,
};

/// The scenario's state.
#[derive(Debug)]
pub(crate) struct Broadcast {
    traffic: Traffic,
    receivers: Vec<Receiver>,
    publishers: Vec<Publisher>,
    rooms: Vec<Room>,
    // Rooms in which there may be room for another publish.
    ready: Vec<usize>,
    in_flight: usize,
    now: Duration,
    // Deliveries that are missing, over all publishes under way.
    due: u64,
}

#[derive(Debug, Default)]
struct Room {
    // The publishes under way, the oldest first; `first` is its number.
    under_way: VecDeque<Publish>,
    first: usize,
}

#[derive(Debug, Default)]
struct Receiver {
    check: Check,
    delivered: usize,
}

#[derive(Debug, Default)]
struct Publisher {
    check: Check,
    writes: usize,
}

#[derive(Debug)]
struct Publish {
    sent: Duration,
    // Receivers that do not have it.
    missing: usize,
}

impl Broadcast {
    /// Measures. What is counted is deliveries.
    pub(crate) fn run<R: Reactor<Socket = Socket>>(
        options: &options::Broadcast,
        mut driver: Driver<R>,
        random: &mut Random,
    ) -> Result<Measured, Error> {
        if options.segment > options.in_flight {
            return Err(Error::Options("--segment cannot be more than --in-flight"));
        }
        let (receivers, publishers) = (options.connections, options.publishers * options.rooms);
        if !receivers.is_multiple_of(options.rooms) {
            return Err(Error::Options("--rooms must divide --connections"));
        }
        let mut broadcast = Self::new(options, random)?;
        driver.openings.set_rooms(options.rooms);
        driver.openings.set_deflate(options.payload.offer());
        driver.open(0..receivers, &mut broadcast)?;
        if let Some(url) = &options.publisher_url {
            let url: Url = crate::parse_url(url)?;
            driver.wire.set_address(crate::first_address(&url)?);
            driver.openings.set_url(url);
        }
        driver.open(receivers..receivers + publishers, &mut broadcast)?;
        driver.run(receivers + publishers, &mut broadcast)
    }

    fn new(options: &options::Broadcast, random: &mut Random) -> Result<Self, Error> {
        let publishers = options.publishers * options.rooms;
        let traffic = if options.publishers == 1 {
            Traffic::new(options.payload, options.segment, publishers, random)?
        } else {
            Traffic::uniform(options.payload, options.segment, publishers, random)?
        };
        Ok(Self {
            traffic,
            receivers: (0..options.connections).map(|_| Receiver::default()).collect(),
            publishers: (0..publishers).map(|_| Publisher::default()).collect(),
            rooms: (0..options.rooms).map(|_| Room::default()).collect(),
            ready: (0..options.rooms).collect(),
            in_flight: options.in_flight,
            now: Duration::ZERO,
            due: 0,
        })
    }

    /// Publishes as much as may be under way, the publishers of each room in turns.
    fn publish<R: Reactor<Socket = Socket>>(&mut self, wire: &mut Wire<R>) {
        let (segment, count) = (self.traffic.segment(), self.rooms.len());
        let missing = self.receivers.len() / count;
        while let Some(index) = self.ready.pop() {
            let room = &mut self.rooms[index];
            while room.under_way.len() + segment <= self.in_flight {
                let published = room.first + room.under_way.len();
                let turn = published / segment % (self.publishers.len() / count);
                let number = turn * count + index;
                let publisher = &mut self.publishers[number];
                let connection = self.receivers.len() + number;
                wire.send_shared(connection, self.traffic.write(number, publisher.writes));
                publisher.writes += 1;
                self.due += (segment * missing) as u64;
                room.under_way.extend((0..segment).map(|_| Publish { sent: self.now, missing }));
            }
        }
    }

    /// One receiver has the next `count` messages.
    fn delivered(&mut self, index: usize, count: usize, at: &mut At<'_>) -> Result<(), Error> {
        let number = index % self.rooms.len();
        let room = &mut self.rooms[number];
        let receiver = &mut self.receivers[index];
        let begin = receiver.delivered - room.first;
        receiver.delivered += count;
        if begin + count > room.under_way.len() {
            let what = "more messages than were published".into();
            return Err(Error::Wrong { connection: index, what });
        }
        self.due -= count as u64;
        for publish in room.under_way.range_mut(begin..begin + count) {
            publish.missing -= 1;
            at.meter.completed(1, at.now.saturating_sub(publish.sent));
        }
        if room.under_way.front().is_some_and(|publish| publish.missing == 0) {
            self.ready.push(number);
        }
        while room.under_way.front().is_some_and(|publish| publish.missing == 0) {
            room.under_way.pop_front();
            room.first += 1;
        }
        Ok(())
    }
}

impl<R: Reactor<Socket = Socket>> Scenario<R> for Broadcast {
    fn start(&mut self, _index: usize, wire: &mut Wire<R>) {
        self.now = wire.now();
    }

    #[inline]
    fn received(&mut self, index: usize, bytes: &mut [u8], mut at: At<'_>) -> Result<(), Error> {
        let receivers = self.receivers.len();
        if let Some(receiver) = self.receivers.get_mut(index) {
            let count = receiver.check.received(index, bytes, &self.traffic)?;
            return self.delivered(index, count, &mut at);
        }
        // Whether publishers hear themselves, or each other, is up to the server.
        let publisher = &mut self.publishers[index - receivers];
        publisher.check.received(index, bytes, &self.traffic).map(drop)
    }

    #[inline]
    fn react(&mut self, index: usize, wire: &mut Wire<R>) {
        let receivers = self.receivers.len();
        let check = match self.receivers.get_mut(index) {
            Some(receiver) => &mut receiver.check,
            None => &mut self.publishers[index - receivers].check,
        };
        if let Some(mut replies) = check.take_replies() {
            wire.send(index, &mut replies);
        }
    }

    fn turn(&mut self, wire: &mut Wire<R>, at: At<'_>) -> Result<Duration, Error> {
        self.now = at.now;
        if at.meter.has_started() {
            self.publish(wire);
        }
        Ok(Duration::MAX)
    }

    fn due(&self) -> u64 {
        self.due
    }
}
