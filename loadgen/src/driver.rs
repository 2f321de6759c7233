//! [`Driver`]: the loop that all scenarios run in.

use std::{io, time::Duration};

use sockeye::{
    client::Url,
    reactor::{Reactor, Socket},
};

use crate::{
    Error,
    meter::{Measured, Meter},
    opening::Openings,
    random::Random,
    wire::{Event, Wire},
};

/// What a scenario does on its connections.
pub(crate) trait Scenario<R> {
    /// Sends what begins the exchange on a connection that is open.
    fn start(&mut self, index: usize, wire: &mut Wire<R>);

    /// Checks and counts received bytes.
    ///
    /// # Errors
    /// If they are wrong.
    fn received(&mut self, index: usize, bytes: &mut [u8], at: At<'_>) -> Result<(), Error>;

    /// Sends what the bytes just received have made due.
    fn react(&mut self, index: usize, wire: &mut Wire<R>);

    /// Sends what time has made due, and returns for how long nothing more will be.
    ///
    /// # Errors
    /// If the server has fallen too far behind.
    fn turn(&mut self, _wire: &mut Wire<R>, _at: At<'_>) -> Result<Duration, Error> {
        Ok(Duration::MAX)
    }

    /// Answers that have not come yet.
    fn due(&self) -> u64;
}

/// The present time, and where to count.
pub(crate) struct At<'a> {
    pub(crate) now: Duration,
    pub(crate) meter: &'a mut Meter,
}

/// Sockets, opening handshakes and the measurement.
#[derive(Debug)]
pub(crate) struct Driver<R> {
    pub(crate) wire: Wire<R>,
    pub(crate) openings: Openings,
    pub(crate) meter: Meter,
}

impl<R: Reactor<Socket = Socket>> Driver<R> {
    pub(crate) fn new(wire: Wire<R>, url: Url, random: Random, meter: Meter) -> Self {
        Self { wire, openings: Openings::new(url, random), meter }
    }

    /// Opens WebSocket connections under these numbers.
    pub(crate) fn open(
        &mut self,
        numbers: std::ops::Range<usize>,
        scenario: &mut impl Scenario<R>,
    ) -> Result<(), Error> {
        let (first, count) = (numbers.start, numbers.len());
        for index in numbers {
            self.openings.begin(index, &mut self.wire)?;
            while self.openings.under_way() >= MAX_OPENINGS {
                self.meter.opened(index - first, count);
                self.turn_within_patience(scenario)?;
            }
        }
        while self.openings.under_way() > 0 {
            self.turn_within_patience(scenario)?;
        }
        Ok(())
    }

    /// Opens connections under these numbers, without a handshake.
    pub(crate) fn connect(&mut self, numbers: std::ops::Range<usize>) -> Result<(), Error> {
        let (first, count) = (numbers.start, numbers.len());
        for index in numbers {
            self.meter.opened(index - first, count);
            self.wire.connect(index)?;
        }
        Ok(())
    }

    /// A turn for which the server has something to say.
    pub(crate) fn turn_within_patience(
        &mut self,
        scenario: &mut impl Scenario<R>,
    ) -> Result<(), Error> {
        let (begin, patience) = (self.wire.now(), self.meter.patience());
        self.turn(scenario, patience)?;
        let due = self.openings.under_way() as u64 + scenario.due();
        if due > 0 && self.wire.now() - begin > patience {
            return Err(Error::Silent { time: patience, due });
        }
        Ok(())
    }

    /// Starts the scenario on connections `0..count`, warms up, measures.
    pub(crate) fn run(
        mut self,
        count: usize,
        scenario: &mut impl Scenario<R>,
    ) -> Result<Measured, Error> {
        self.wire.wait(Some(Duration::ZERO))?;
        self.meter.start(self.wire.now());
        for index in 0..count {
            scenario.start(index, &mut self.wire);
        }
        let mut wait = Duration::ZERO;
        while self.meter.turn(self.wire.now(), scenario.due())? {
            wait = wait.min(self.meter.longest_wait(self.wire.now()));
            wait = self.turn(scenario, wait)?;
        }
        self.meter.finish(self.wire.now())
    }

    /// One turn of the loop. Returns for how long the scenario has nothing to do by itself.
    pub(crate) fn turn(
        &mut self,
        scenario: &mut impl Scenario<R>,
        timeout: Duration,
    ) -> Result<Duration, Error> {
        self.wire.wait(Some(timeout))?;
        let now = self.wire.now();
        while let Some(event) = self.wire.next() {
            match event {
                Event::Received { index, bytes } => {
                    self.meter.received(bytes.len());
                    let mut rest = bytes;
                    if self.openings.is_under_way(index) {
                        match self.openings.received(index, rest)? {
                            Some(consumed) if consumed < rest.len() => {
                                rest = &mut rest[consumed..];
                            }
                            _ => continue,
                        }
                    }
                    scenario.received(index, rest, At { now, meter: &mut self.meter })?;
                    scenario.react(index, &mut self.wire);
                }
                Event::Ended { index, error } => return Err(ended(index, error)),
                Event::Closed { .. } | Event::Nothing => {}
            }
        }
        scenario.turn(&mut self.wire, At { now, meter: &mut self.meter })
    }
}

/// The error for a connection that has ended without a close.
pub(crate) fn ended(connection: usize, error: Option<io::Error>) -> Error {
    let how = error.map_or_else(|| "without a close frame".to_owned(), |error| error.to_string());
    Error::Ended { connection, how }
}

const MAX_OPENINGS: usize = 64;
