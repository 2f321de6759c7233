//! [`Report`]: what a run came to, for people and for programs.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;

use crate::{idle::Idle, meter::Measured};

/// The outcome of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The server.
    pub url: String,
    /// How the generator spoke to the kernel.
    pub backend: &'static str,
    /// The options of the run.
    pub options: serde_json::Value,
    /// What was measured, unless connections were at rest.
    pub load: Option<Load>,
    /// What was seen of connections at rest.
    pub idle: Option<Idle>,
}

/// What was measured under load.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// What is counted: messages, deliveries, connections, requests.
    pub noun: &'static str,
    /// Seconds measured.
    pub seconds: f64,
    /// How many were completed.
    pub count: u64,
    /// How many each second.
    pub per_second: f64,
    /// Bytes received each second.
    pub received_bytes_per_second: f64,
    /// How long each took.
    pub latency: Latency,
    /// What the server's process used, if it is known.
    pub server: Option<ServerCost>,
    /// What the generator used.
    pub generator: GeneratorCost,
    /// Who was busy all the time.
    pub limit: Limit,
}

/// Time from when a message was sent (or due) until its answer was there, in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// The average.
    pub mean: f64,
    /// Half took no longer.
    pub p50: f64,
    /// 90 of 100 took no longer.
    pub p90: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1000 took no longer.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
    /// Percentile and microseconds, for a curve.
    pub curve: Vec<(f64, f64)>,
}

/// What the server used.
#[derive(Debug, Clone, Serialize)]
pub struct ServerCost {
    /// CPU time for each of what is counted, in microseconds.
    pub cpu_us_each: f64,
    /// The part of it in user mode.
    pub user_us_each: f64,
    /// The part of it in the kernel.
    pub system_us_each: f64,
    /// CPU time per time: 2.0 is two processors.
    pub processors: f64,
    /// The same of the thread that used most.
    pub busiest_thread: f64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
}

/// What the generator used.
#[derive(Debug, Clone, Serialize)]
pub struct GeneratorCost {
    /// CPU time for each of what is counted, in microseconds.
    pub cpu_us_each: f64,
    /// CPU time of its threads per time, on average.
    pub busy: f64,
    /// Microseconds that messages left after they were due, on average, at a fixed rate.
    pub mean_lateness_us: Option<f64>,
}

/// Who was busy all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The generator: the server could have done more.
    Generator,
    /// A thread of the server.
    Server,
    /// Nobody: the load, or the machine's other work, set the pace.
    Neither,
    /// The server's process is not known, and the generator was busy.
    Unknown,
}

#[allow(clippy::cast_precision_loss, reason = "counts become rates")]
impl Load {
    pub(crate) fn new(noun: &'static str, measured: &Measured) -> Self {
        let seconds = measured.duration.as_secs_f64();
        let count = measured.completed as f64;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
        let server = measured.server.as_ref().map(|usage| ServerCost {
            cpu_us_each: each(usage.total()),
            user_us_each: each(usage.user()),
            system_us_each: each(usage.total() - usage.user()),
            processors: usage.total().as_secs_f64() / seconds,
            busiest_thread: usage.busiest_thread().as_secs_f64() / seconds,
            resident_bytes: usage.resident_bytes,
        });
        let lateness = measured.mean_lateness;
        let generator = GeneratorCost {
            cpu_us_each: each(measured.own_time),
            busy: measured.own_time.as_secs_f64() / seconds / measured.threads as f64,
            mean_lateness_us: lateness.map(|time| time.as_secs_f64() * 1e6),
        };
        Self {
            noun,
            seconds,
            count: measured.completed,
            per_second: count / seconds,
            received_bytes_per_second: measured.received_bytes as f64 / seconds,
            latency: Latency::new(&measured.latency),
            limit: Limit::find(server.as_ref(), &generator),
            server,
            generator,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds become microseconds")]
impl Latency {
    fn new(histogram: &Histogram<u64>) -> Self {
        let at = |percentile: f64| histogram.value_at_quantile(percentile / 100.0) as f64 / 1e3;
        // As close together as the rare ones are rare: 0, 90, 99, 99.9 and so on, ten in between.
        let percentiles = (0..POINTS * NINES)
            .map(|point| 100.0 * (1.0 - 10_f64.powf(-f64::from(point) / f64::from(POINTS))))
            .chain([100.0]);
        let curve = percentiles.map(|percentile| (percentile, at(percentile))).collect();
        Self {
            mean: histogram.mean() / 1e3,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            max: histogram.max() as f64 / 1e3,
            curve,
        }
    }
}

impl Limit {
    fn find(server: Option<&ServerCost>, generator: &GeneratorCost) -> Self {
        // At a fixed rate the generator is awake all the time: what tells is whether it is late.
        let saturated = match generator.mean_lateness_us {
            Some(lateness) => lateness > LATE_US,
            None => generator.busy > BUSY,
        };
        match server {
            Some(server) if server.busiest_thread > BUSY => Self::Server,
            Some(_) if saturated => Self::Generator,
            None if saturated => Self::Unknown,
            _ => Self::Neither,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {} over {}", self.scenario, self.url, self.backend)?;
        if let Some(load) = &self.load {
            load.fmt(f)?;
        }
        if let Some(idle) = &self.idle {
            idle.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { noun, seconds, count, latency, generator, .. } = self;
        let one = match *noun {
            "deliveries" => "delivery",
            other => other.trim_end_matches('s'),
        };
        let (rate, received) = (whole(self.per_second), whole(self.received_bytes_per_second));
        row(f, "rate", format_args!("{} {noun}/s", HumanCount(rate)))?;
        row(f, "count", format_args!("{} {noun} in {seconds:.2} s", HumanCount(*count)))?;
        row(f, "received", format_args!("{}/s", DecimalBytes(received)))?;
        let Latency { mean, p50, p90, p99, p99_9, max, .. } = latency;
        row(f, "latency", format_args!("mean {mean:.0}, max {max:.0} us"))?;
        let percentiles =
            format_args!("50% {p50:.0}, 90% {p90:.0}, 99% {p99:.0}, 99.9% {p99_9:.0} us");
        row(f, "", percentiles)?;
        match &self.server {
            Some(server) => {
                let ServerCost { cpu_us_each, user_us_each, system_us_each, .. } = server;
                let cpu = format!("{cpu_us_each:.3} us of CPU time for each {one}");
                let parts = format!("user {user_us_each:.3}, system {system_us_each:.3}");
                row(f, "server", format_args!("{cpu} ({parts})"))?;
                let ServerCost { processors, busiest_thread, resident_bytes, .. } = server;
                let busiest = busiest_thread * 100.0;
                let memory = DecimalBytes(*resident_bytes);
                let use_ = format!("{processors:.2} processors, busiest thread {busiest:.0} %");
                row(f, "", format_args!("{use_}, {memory} resident"))?;
            }
            None => row(f, "server", format_args!("unknown: name its process with --pid"))?,
        }
        let GeneratorCost { cpu_us_each, busy, mean_lateness_us } = generator;
        let busy = busy * 100.0;
        row(f, "generator", format_args!("{cpu_us_each:.3} us for each {one}, {busy:.0} % busy"))?;
        if let Some(lateness) = mean_lateness_us {
            row(f, "", format_args!("sent {lateness:.0} us late on average"))?;
        }
        match self.limit {
            Limit::Generator => writeln!(f, "the generator, not the server, was the limit"),
            Limit::Unknown => writeln!(
                f,
                "the generator was busy all the time; name the server's process with --pid to \
                 see whether it was, too"
            ),
            Limit::Server | Limit::Neither => Ok(()),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, time) = (self.connections, self.opened_seconds);
        let opened = format_args!("{} opened in {time:.2} s", HumanCount(count as u64));
        row(f, "connections", opened)?;
        let memory = [
            ("before", self.resident_before_bytes),
            ("after traffic", self.resident_after_traffic_bytes),
            ("at rest", self.resident_at_rest_bytes),
        ];
        for (name, bytes) in memory {
            if let Some(bytes) = bytes {
                row(f, name, format_args!("{} KiB resident", HumanCount(bytes >> 10)))?;
            }
        }
        if let Some(cpu) = self.server_cpu_seconds {
            row(f, "", format_args!("{cpu:.2} s of CPU time while at rest"))?;
        }
        match self.resident_bytes_per_connection {
            Some(bytes) => row(f, "growth", format_args!("{bytes:.0} bytes for each connection")),
            None => row(f, "server", format_args!("unknown: name its process with --pid")),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "  {name:<14} {value}")
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// Above this share of the time something counts as busy all the time.
const BUSY: f64 = 0.95;
/// A generator that sends later than this does not keep its rate.
const LATE_US: f64 = 1000.0;
/// Points of the curve for each nine of the percentile, and nines.
const POINTS: u32 = 10;
const NINES: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn server(busiest_thread: f64) -> ServerCost {
        ServerCost {
            cpu_us_each: 1.0,
            user_us_each: 0.2,
            system_us_each: 0.8,
            processors: busiest_thread,
            busiest_thread,
            resident_bytes: 1,
        }
    }

    #[test]
    fn the_limit_is_the_one_who_was_busy() {
        let generator =
            |busy, mean_lateness_us| GeneratorCost { cpu_us_each: 1.0, busy, mean_lateness_us };
        let find = |server: Option<f64>, busy, lateness| {
            Limit::find(server.map(self::server).as_ref(), &generator(busy, lateness))
        };
        assert_eq!(find(Some(0.99), 0.99, None), Limit::Server);
        assert_eq!(find(Some(0.5), 0.99, None), Limit::Generator);
        assert_eq!(find(Some(0.5), 0.5, None), Limit::Neither);
        assert_eq!(find(None, 0.99, None), Limit::Unknown);
        assert_eq!(find(Some(0.5), 1.0, Some(3.0)), Limit::Neither);
        assert_eq!(find(Some(0.5), 1.0, Some(5000.0)), Limit::Generator);
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut histogram = Histogram::new(3).unwrap();
        for micros in 1..=1000_u64 {
            histogram.record(micros * 1000).unwrap();
        }
        let latency = Latency::new(&histogram);
        assert!((latency.p50 - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99 - 990.0).abs() < 1.0, "{latency:?}");
        assert!((latency.max - 1000.0).abs() < 1.0, "{latency:?}");
        assert!(latency.curve.is_sorted_by_key(|point| point.1));
    }
}
