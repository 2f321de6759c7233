//! `loadgen idle`: connections at rest, and the memory that the server has for them.

use std::time::Duration;

use serde::Serialize;
use sockeye::reactor::{Reactor, Socket};

use crate::{Error, driver::Driver, echo::Echo, options, process::Server, random::Random};

/// What connections at rest cost the server.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// How many there are.
    pub connections: usize,
    /// Seconds that it took to open them.
    pub opened_seconds: f64,
    /// The server's resident memory without them. `None` unless its process is known.
    pub resident_before_bytes: Option<u64>,
    /// With them, after each has passed its messages.
    pub resident_after_traffic_bytes: Option<u64>,
    /// With them, at rest.
    pub resident_at_rest_bytes: Option<u64>,
    /// Growth for each connection at rest.
    pub resident_bytes_per_connection: Option<f64>,
    /// Seconds of CPU time that the server spent while they rested.
    pub server_cpu_seconds: Option<f64>,
}

impl Idle {
    /// Opens, passes messages, rests, passes a message again, and reports.
    pub(crate) fn run<R: Reactor<Socket = Socket>>(
        options: &options::Idle,
        mut driver: Driver<R>,
        random: &mut Random,
    ) -> Result<Self, Error> {
        let server = Server::new(&options.common.pid)?;
        let resident = || Ok::<_, Error>(server.usage()?.map(|usage| usage.resident_bytes));
        let before = resident()?;
        let mut echo = Echo::by_calls(options.payload, options.connections, random)?;
        let begin = driver.wire.now();
        driver.openings.set_deflate(options.payload.offer());
        driver.open(0..options.connections, &mut echo)?;
        let opened = driver.wire.now() - begin;
        for _ in 0..options.messages {
            pass_one(&mut driver, &mut echo, options.connections)?;
        }
        let after_traffic = resident()?;
        let usage = server.usage()?;
        rest(&mut driver, &mut echo, options.common.warmup + options.common.duration)?;
        let at_rest = resident()?;
        let cpu = server.usage()?.zip(usage).map(|(now, then)| now.since(&then).total());
        // Those that are dead, or have forgotten where they were, show now.
        pass_one(&mut driver, &mut echo, options.connections)?;
        #[allow(clippy::cast_precision_loss, reason = "a quotient of bytes")]
        let growth = at_rest
            .zip(before)
            .map(|(now, then)| (now as f64 - then as f64) / options.connections as f64);
        Ok(Self {
            connections: options.connections,
            opened_seconds: opened.as_secs_f64(),
            resident_before_bytes: before,
            resident_after_traffic_bytes: after_traffic,
            resident_at_rest_bytes: at_rest,
            resident_bytes_per_connection: growth,
            server_cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()),
        })
    }
}

/// Sends a message on each connection, some at a time, and waits for all echoes.
fn pass_one<R: Reactor<Socket = Socket>>(
    driver: &mut Driver<R>,
    echo: &mut Echo,
    connections: usize,
) -> Result<(), Error> {
    for index in 0..connections {
        let now = driver.wire.now();
        echo.send(index, now, &mut driver.wire);
        while echo.in_flight() >= MAX_IN_FLIGHT {
            driver.turn_within_patience(echo)?;
        }
    }
    while echo.in_flight() > 0 {
        driver.turn_within_patience(echo)?;
    }
    Ok(())
}

/// Sends nothing, but pongs.
fn rest<R: Reactor<Socket = Socket>>(
    driver: &mut Driver<R>,
    echo: &mut Echo,
    time: Duration,
) -> Result<(), Error> {
    let end = driver.wire.now() + time;
    while driver.wire.now() < end {
        let left = end - driver.wire.now();
        driver.turn(echo, left)?;
    }
    Ok(())
}

const MAX_IN_FLIGHT: u64 = 256;
