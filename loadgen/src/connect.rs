//! `loadgen connect`: connections that are opened and closed, each with both handshakes.
//!
//! The generator closes first, by a close frame, and waits for the server's and for the end of
//! the connection, as RFC 6455 §7.1.1 wants it: so the server keeps the remains (TIME_WAIT), not
//! the generator, whose ports would run out.

use std::time::Duration;

use sockeye::{
    base::{Outbox, Shared},
    reactor::{Reactor, Socket},
    ws::{CloseCode, Decoder, Event as Frame, Limits, Role, append_close},
};

use crate::{
    Error,
    driver::{Driver, ended},
    meter::Measured,
    options,
    wire::Event,
};

/// The scenario's state.
#[derive(Debug)]
pub(crate) struct Connect {
    slots: Vec<Slot>,
    close: Shared,
}

#[derive(Debug)]
struct Slot {
    begin: Duration,
    decoder: Decoder,
    has_closed: bool,
}

impl Connect {
    /// Measures. What is counted is connections that have been opened and closed.
    pub(crate) fn run<R: Reactor<Socket = Socket>>(
        options: &options::Connect,
        mut driver: Driver<R>,
    ) -> Result<Measured, Error> {
        let mut outbox = Outbox::default();
        append_close(&mut outbox, Some((CloseCode::NORMAL, "")), Some([0x11, 0x22, 0x33, 0x44]));
        let close = Shared::from(outbox.contiguous().expect("one frame"));
        let mut connect = Self { slots: Vec::new(), close };
        driver.wire.wait(Some(Duration::ZERO))?;
        driver.meter.start(driver.wire.now());
        for index in 0..options.connections {
            connect.open(index, &mut driver)?;
        }
        let due = options.connections as u64;
        while driver.meter.turn(driver.wire.now(), due)? {
            let wait = driver.meter.longest_wait(driver.wire.now());
            connect.turn(&mut driver, wait)?;
        }
        driver.meter.finish(driver.wire.now())
    }

    fn open<R: Reactor<Socket = Socket>>(
        &mut self,
        index: usize,
        driver: &mut Driver<R>,
    ) -> Result<(), Error> {
        let begin = driver.wire.now();
        driver.openings.begin(index, &mut driver.wire)?;
        let slot = Slot { begin, decoder: Decoder::new(Role::Client), has_closed: false };
        match self.slots.get_mut(index) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        Ok(())
    }

    fn turn<R: Reactor<Socket = Socket>>(
        &mut self,
        driver: &mut Driver<R>,
        timeout: Duration,
    ) -> Result<(), Error> {
        driver.wire.wait(Some(timeout))?;
        let now = driver.wire.now();
        let mut closed = Vec::new();
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
                        self.slots[index].received(index, rest)?;
                        driver.wire.send_shared(index, &self.close);
                    } else {
                        self.slots[index].received(index, rest)?;
                    }
                }
                Event::Ended { index, error } => {
                    if !self.slots[index].has_closed {
                        return Err(ended(index, error));
                    }
                    driver.meter.completed(1, now.saturating_sub(self.slots[index].begin));
                    driver.wire.close(index);
                }
                Event::Closed { index } => closed.push(index),
                Event::Nothing => {}
            }
        }
        for index in closed {
            self.open(index, driver)?;
        }
        Ok(())
    }
}

impl Slot {
    /// Waits for the server's close frame, and ignores what it says before.
    fn received(&mut self, connection: usize, mut bytes: &mut [u8]) -> Result<(), Error> {
        loop {
            let step = self.decoder.next(bytes, &Limits::default());
            let step = step.map_err(|error| Error::Protocol { connection, error })?;
            let consumed = step.consumed;
            match step.event {
                None => return Ok(()),
                Some(Frame::Close(Some((CloseCode::NORMAL, _)))) => self.has_closed = true,
                Some(Frame::Close(status)) => {
                    let code = status.map_or(CloseCode::NO_STATUS, |(code, _)| code).code();
                    let what = format!("close code {code}, not 1000");
                    return Err(Error::Wrong { connection, what });
                }
                Some(_) => {}
            }
            bytes = &mut bytes[consumed..];
        }
    }
}
