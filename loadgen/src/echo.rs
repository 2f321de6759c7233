//! `loadgen echo`: messages that the server sends back.
//!
//! Closed loop: a connection sends when an answer has come, so the server sets the pace. Open
//! loop (`--rate`): messages are due at fixed times, one connection after the other, and their
//! latency counts from then, so that a server that stalls cannot hide it by stalling us too
//! (coordinated omission).

use std::{collections::VecDeque, time::Duration};

use sockeye::{
    base::Outbox,
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
pub(crate) struct Echo {
    traffic: Traffic,
    connections: Vec<Connection>,
    pace: Pace,
    now: Duration,
    due: u64,
}

/// What makes a message due.
#[derive(Debug)]
enum Pace {
    /// The answer to an earlier one, so that so many are in flight.
    Answers(usize),
    Schedule(Schedule),
    /// A call of [`Echo::send`].
    Calls,
}

#[derive(Debug, Default)]
struct Connection {
    check: Check,
    writes: usize,
    in_flight: usize,
    // When each write was made or due, and how many of its messages have not been answered.
    times: VecDeque<(Duration, usize)>,
}

/// When messages are due, whatever the server does.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    begin: Option<Duration>,
    sent: u32,
}

impl Echo {
    /// Measures.
    pub(crate) fn run<R: Reactor<Socket = Socket>>(
        options: &options::Echo,
        mut driver: Driver<R>,
        random: &mut Random,
    ) -> Result<Measured, Error> {
        if options.segment > options.pipeline {
            return Err(Error::Options("--segment cannot be more than --pipeline"));
        }
        let connections = options.connections;
        let traffic = match options.raw {
            true => Traffic::raw(options.payload, options.segment, connections, random)?,
            false => Traffic::new(options.payload, options.segment, connections, random)?,
        };
        let pace = match options.rate {
            Some(rate) => Pace::Schedule(Schedule::new(rate)?),
            None => Pace::Answers(options.pipeline),
        };
        let mut echo = Self::new(traffic, connections, pace);
        driver.openings.set_deflate(options.payload.offer());
        match options.raw {
            true => driver.connect(0..connections)?,
            false => driver.open(0..connections, &mut echo)?,
        }
        driver.run(connections, &mut echo)
    }

    /// One message at a time, when [`Echo::send`] is called.
    pub(crate) fn by_calls(
        payload: options::Payload,
        connections: usize,
        random: &mut Random,
    ) -> Result<Self, Error> {
        let traffic = Traffic::new(payload, 1, connections, random)?;
        Ok(Self::new(traffic, connections, Pace::Calls))
    }

    fn new(traffic: Traffic, connections: usize, pace: Pace) -> Self {
        let connections = (0..connections).map(|_| Connection::default()).collect();
        Self { traffic, connections, pace, now: Duration::ZERO, due: 0 }
    }

    /// Messages that have not been answered.
    pub(crate) fn in_flight(&self) -> u64 {
        self.due
    }

    /// Sends one write that counts from `time`.
    #[inline]
    pub(crate) fn send<R: Reactor<Socket = Socket>>(
        &mut self,
        index: usize,
        time: Duration,
        wire: &mut Wire<R>,
    ) {
        let connection = &mut self.connections[index];
        wire.send_shared(index, self.traffic.write(index, connection.writes));
        connection.sent(time, self.traffic.segment());
        self.due += self.traffic.segment() as u64;
    }

    /// Sends all that may be sent now; several writes as one.
    fn fill<R: Reactor<Socket = Socket>>(&mut self, index: usize, wire: &mut Wire<R>) {
        let Pace::Answers(pipeline) = self.pace else { return };
        let segment = self.traffic.segment();
        let free = pipeline - self.connections[index].in_flight;
        match free / segment {
            0 => {}
            1 => self.send(index, self.now, wire),
            writes => {
                let mut outbox = Outbox::default();
                let connection = &mut self.connections[index];
                for _ in 0..writes {
                    let bytes = self.traffic.write(index, connection.writes);
                    if bytes.len() <= COPIED_BYTES {
                        outbox.append(bytes);
                    } else {
                        outbox.push_shared(bytes.clone(), 0);
                    }
                    connection.sent(self.now, segment);
                }
                self.due += (writes * segment) as u64;
                wire.send(index, &mut outbox);
            }
        }
    }
}

impl<R: Reactor<Socket = Socket>> Scenario<R> for Echo {
    fn start(&mut self, index: usize, wire: &mut Wire<R>) {
        self.now = wire.now();
        self.fill(index, wire);
    }

    #[inline]
    fn received(&mut self, index: usize, bytes: &mut [u8], at: At<'_>) -> Result<(), Error> {
        self.now = at.now;
        let connection = &mut self.connections[index];
        let mut completed = connection.check.received(index, bytes, &self.traffic)?;
        if completed > connection.in_flight {
            let what = "more messages than were sent".into();
            return Err(Error::Wrong { connection: index, what });
        }
        connection.in_flight -= completed;
        self.due -= completed as u64;
        while let Some((time, left)) = connection.times.front_mut()
            && completed > 0
        {
            let count = completed.min(*left);
            at.meter.completed(count, at.now.saturating_sub(*time));
            completed -= count;
            *left -= count;
            if *left == 0 {
                connection.times.pop_front();
            }
        }
        Ok(())
    }

    #[inline]
    fn react(&mut self, index: usize, wire: &mut Wire<R>) {
        if let Some(mut replies) = self.connections[index].check.take_replies() {
            wire.send(index, &mut replies);
        }
        self.fill(index, wire);
    }

    fn turn(&mut self, wire: &mut Wire<R>, at: At<'_>) -> Result<Duration, Error> {
        if !at.meter.has_started() {
            return Ok(Duration::MAX);
        }
        for _ in 0..MAX_SENDS_PER_TURN {
            let Pace::Schedule(schedule) = &mut self.pace else { return Ok(Duration::MAX) };
            let Some((number, time)) = schedule.next(at.now) else { break };
            at.meter.sent_late(at.now - time);
            self.send(number % self.connections.len(), time, wire);
        }
        if self.due > MAX_DUE {
            return Err(Error::TooSlow { due: self.due });
        }
        match &mut self.pace {
            Pace::Schedule(schedule) => Ok(schedule.wait(at.now)),
            _ => Ok(Duration::MAX),
        }
    }

    fn due(&self) -> u64 {
        self.due
    }
}

impl Connection {
    #[inline]
    fn sent(&mut self, time: Duration, messages: usize) {
        self.writes += 1;
        self.in_flight += messages;
        self.times.push_back((time, messages));
    }
}

impl Schedule {
    fn new(rate: f64) -> Result<Self, Error> {
        match Duration::try_from_secs_f64(1.0 / rate) {
            Ok(interval) if !interval.is_zero() => Ok(Self { interval, begin: None, sent: 0 }),
            _ => Err(Error::Options("--rate must be above 0, and below a billion per second")),
        }
    }

    fn due(&mut self, now: Duration) -> Duration {
        *self.begin.get_or_insert(now) + self.interval * self.sent
    }

    /// The number of the next message that is due, and since when.
    fn next(&mut self, now: Duration) -> Option<(usize, Duration)> {
        let due = self.due(now);
        (due <= now).then(|| {
            self.sent += 1;
            (self.sent as usize - 1, due)
        })
    }

    /// For how long to wait: waking up takes the kernel up to a millisecond (that is how fine the
    /// timeout of epoll is), so the last of it is spent awake.
    fn wait(&mut self, now: Duration) -> Duration {
        self.due(now).saturating_sub(now).saturating_sub(WAKE_UP)
    }
}

const COPIED_BYTES: usize = 2 << 10;
const MAX_SENDS_PER_TURN: usize = 256;
const MAX_DUE: u64 = 1 << 20;
const WAKE_UP: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_wait_for_anybody() {
        let mut schedule = Schedule::new(1000.0).unwrap();
        let millis = Duration::from_millis;
        assert_eq!(schedule.next(millis(50)), Some((0, millis(50))));
        assert_eq!(schedule.next(millis(50)), None);
        assert_eq!(schedule.wait(millis(50)), Duration::ZERO);
        // After a pause everything that was missed is due since the time it was planned for.
        for number in 1..=100_u32 {
            let due = Some((number as usize, millis(50 + u64::from(number))));
            assert_eq!(schedule.next(millis(150)), due);
        }
        assert_eq!(schedule.next(millis(150)), None);
        let mut slow = Schedule::new(0.1).unwrap();
        assert_eq!(slow.next(millis(0)), Some((0, millis(0))));
        assert_eq!(slow.wait(millis(1000)), millis(8998));
        assert!(Schedule::new(0.0).is_err() && Schedule::new(-1.0).is_err());
        assert!(Schedule::new(1e12).is_err() && Schedule::new(f64::NAN).is_err());
    }
}
