//! `loadgen soak`: the mixed load for as long as asked, and a server that stays as it is.
//!
//! In every period memory, descriptors and latency are noted. In the end everybody leaves, and:
//!
//! - memory: the median of the last third is not above that of the first by more than
//!   `--max-growth`;
//! - latency: nor is its 99th percentile above three times what it was and 20 ms;
//! - descriptors: there never were more than two for each connection, and in the end as many as
//!   before the first came;
//! - statistics: the server has counted what the clients have, and nothing else.

use std::{fs, io, time::Duration};

use sockeye::reactor::{Reactor, Socket};

use crate::{
    Error,
    driver::Driver,
    meter::Measured,
    mixed::{Counts, Mixed},
    options,
    process::Server,
    random::Random,
};

/// What was seen of the server in one period.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_bytes: u64,
    descriptors: usize,
    p99: Duration,
}

/// Measures. What is counted is exchanges.
pub(crate) fn run<R: Reactor<Socket = Socket>>(
    options: &options::Soak,
    mut driver: Driver<R>,
    host: &str,
    random: Random,
) -> Result<Measured, Error> {
    let common = &options.mixed.common;
    let [pid] = common.pid[..] else {
        return Err(Error::Options("a soak looks at the server's process: name it with --pid"));
    };
    let server = Server::new(&common.pid)?;
    let mut mixed = Mixed::new(&options.mixed, host, random)?;
    if statistics(&mut mixed, &mut driver)?["requests"] != 0 {
        return Err(Error::Options("a soak needs a server that nobody has used before"));
    }
    mixed.dismiss(&mut driver)?;
    let base = settled_descriptors(pid, usize::MAX, &mut mixed, &mut driver)?;
    let mut samples: Vec<Sample> = Vec::new();
    let mut next = driver.wire.now() + common.warmup;
    mixed.go_on(&mut driver, |mixed, now| {
        if now < next {
            return Ok(());
        }
        let sample = Sample::take(pid, &server, mixed)?;
        // The first one is of the warm-up.
        if next > common.warmup + options.period {
            if !common.quiet {
                eprintln!("{:6.0} s: {sample}", now.as_secs_f64());
            }
            samples.push(sample);
        }
        next += options.period;
        Ok(())
    })?;
    mixed.end(&mut driver)?;
    let mut faults =
        drift(&samples, base + 2 * (options.mixed.connections + 1), options.max_growth);
    faults.extend(miscounts(&mut mixed, &mut driver)?);
    mixed.dismiss(&mut driver)?;
    let after = settled_descriptors(pid, base, &mut mixed, &mut driver)?;
    if after > base {
        faults.push(format!("{after} descriptors when everybody had gone, and {base} before"));
    }
    if !faults.is_empty() {
        return Err(Error::Drift(faults));
    }
    let now = driver.wire.now();
    driver.meter.finish(now)
}

impl Sample {
    fn take(pid: u32, server: &Server, mixed: &mut Mixed) -> Result<Self, Error> {
        let usage = server.usage()?.unwrap_or_default();
        let p99 = Duration::from_nanos(mixed.latency.value_at_quantile(0.99));
        mixed.latency.reset();
        let descriptors = descriptors(pid)?;
        Ok(Self { resident_bytes: usage.resident_bytes, descriptors, p99 })
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident_bytes, descriptors, p99 } = self;
        write!(f, "{} KiB, {descriptors} descriptors, p99 {p99:.1?}", resident_bytes >> 10)
    }
}

/// What has changed in the course of time that should not.
fn drift(samples: &[Sample], max_descriptors: usize, max_growth: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let third = samples.len() / 3;
    if third == 0 {
        return vec!["there was no time to see a change: three periods at least".into()];
    }
    let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
    let memory = [first, last].map(|some| median(some, |sample| sample.resident_bytes));
    if memory[1] > memory[0] + (max_growth << 20) {
        faults.push(format!("memory grew from {} to {} KiB", memory[0] >> 10, memory[1] >> 10));
    }
    let p99 = [first, last].map(|some| median(some, |sample| sample.p99));
    if p99[1] > 3 * p99[0] + MAX_DELAY {
        faults.push(format!("the 99th percentile grew from {:?} to {:?}", p99[0], p99[1]));
    }
    let most = samples.iter().map(|sample| sample.descriptors).max().unwrap_or(0);
    if most > max_descriptors {
        faults.push(format!("{most} descriptors, more than {max_descriptors}"));
    }
    faults
}

fn median<T: Ord + Copy>(samples: &[Sample], of: impl Fn(&Sample) -> T) -> T {
    let mut values: Vec<T> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// What the server has counted.
fn statistics<R: Reactor<Socket = Socket>>(
    mixed: &mut Mixed,
    driver: &mut Driver<R>,
) -> Result<serde_json::Value, Error> {
    let hint = "/stats is no JSON: is the server `--example mixed`?";
    serde_json::from_slice(&mixed.ask(driver, "/stats")?).map_err(|_| Error::Options(hint))
}

/// How the server's counts differ from those of the clients.
fn miscounts<R: Reactor<Socket = Socket>>(
    mixed: &mut Mixed,
    driver: &mut Driver<R>,
) -> Result<Vec<String>, Error> {
    let mut faults = Vec::new();
    // What a turn has counted is shown when it is over.
    for _ in 0..50 {
        let expected = expected(&mixed.counts);
        let counts = statistics(mixed, driver)?;
        let fault = |(name, expected): (&str, u64)| {
            let count = counts[name].as_u64();
            (count != Some(expected)).then(|| format!("{name} is {count:?}, not {expected}"))
        };
        faults = expected.into_iter().filter_map(fault).collect();
        if faults.is_empty() {
            break;
        }
        mixed.turn(driver, Duration::from_millis(20))?;
    }
    Ok(faults)
}

fn expected(counts: &Counts) -> Vec<(&'static str, u64)> {
    let Counts { accepted, requests, messages_in, messages_out, published, deliveries } = *counts;
    let never = [
        "refused",
        "accept_errors",
        "bad_requests",
        "dropped_messages",
        "mailbox_refused",
        "protocol_errors",
        "idle_timeouts",
        "handler_panics",
        "websockets",
    ];
    let mut all = vec![
        ("accepted", accepted),
        ("requests", requests),
        ("messages_in", messages_in),
        ("messages_out", messages_out),
        ("published", published),
        ("deliveries", deliveries),
        // The one that asks.
        ("connections", 1),
    ];
    all.extend(never.map(|name| (name, 0)));
    all
}

/// How many descriptors the server has, when it has had the time to close some.
fn settled_descriptors<R: Reactor<Socket = Socket>>(
    pid: u32,
    enough: usize,
    mixed: &mut Mixed,
    driver: &mut Driver<R>,
) -> Result<usize, Error> {
    let mut count = descriptors(pid)?;
    for _ in 0..200 {
        mixed.turn(driver, Duration::from_millis(20))?;
        let before = std::mem::replace(&mut count, descriptors(pid)?);
        if count <= enough && count == before {
            break;
        }
    }
    Ok(count)
}

fn descriptors(pid: u32) -> Result<usize, Error> {
    let explain = |error: io::Error| Error::Process(pid, error);
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).map_err(explain)?.count())
}

/// What a machine with other work may add.
const MAX_DELAY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(mebibytes: u64, descriptors: usize, millis: u64) -> Sample {
        let p99 = Duration::from_millis(millis);
        Sample { resident_bytes: mebibytes << 20, descriptors, p99 }
    }

    #[test]
    fn what_grows_is_found_and_what_varies_is_not() {
        let steady: Vec<Sample> = (0..30).map(|n| sample(10 + n % 3, 50, 2 + n % 5)).collect();
        assert_eq!(drift(&steady, 60, 8), Vec::<String>::new());
        let growing: Vec<Sample> = (0..30).map(|n| sample(10 + n, 50, 2 + 3 * n)).collect();
        let faults = drift(&growing, 40, 8);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(drift(&steady[..2], 60, 8).len(), 1);
    }
}
