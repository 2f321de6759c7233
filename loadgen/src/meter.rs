//! [`Meter`]: counts and times what is complete, between the end of the warm-up and the end.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{
    Error,
    options::Common,
    process::{Server, Usage, own_time},
    progress::Progress,
};

/// The measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    server: Server,
    progress: Progress,
    phase: Phase,
    warmup: Duration,
    duration: Duration,
    patience: Duration,
    // When the phase ends.
    deadline: Duration,
    completed: u64,
    received_bytes: u64,
    latency: Histogram<u64>,
    lateness: Lateness,
    // When something was last received, and what that count was.
    heard: Duration,
    heard_bytes: u64,
    begin: Option<Snapshot>,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) duration: Duration,
    pub(crate) completed: u64,
    pub(crate) received_bytes: u64,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) own_time: Duration,
    pub(crate) server: Option<Usage>,
    /// How late messages left that were due at a fixed time, on average.
    pub(crate) mean_lateness: Option<Duration>,
    pub(crate) threads: u32,
}

impl Measured {
    /// Adds what another thread measured in the same time.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Error> {
        self.completed += other.completed;
        self.received_bytes += other.received_bytes;
        self.own_time += other.own_time;
        self.mean_lateness = self.mean_lateness.max(other.mean_lateness);
        self.threads += other.threads;
        self.latency
            .add(&other.latency)
            .map_err(|_| Error::Options("the histograms of two threads differ"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Warmup,
    Measuring,
    Over,
}

#[derive(Debug)]
struct Snapshot {
    now: Duration,
    own_time: Duration,
    server: Option<Usage>,
}

#[derive(Debug, Default)]
struct Lateness {
    sum: Duration,
    count: u32,
}

impl Meter {
    pub(crate) fn new(common: &Common, noun: &'static str) -> Result<Self, Error> {
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY_NANOS, 3)
            .map_err(|_| Error::Options("the histogram's bounds are wrong"))?;
        Ok(Self {
            server: Server::new(&common.pid)?,
            progress: Progress::new(common, noun),
            phase: Phase::Opening,
            warmup: common.warmup,
            duration: common.duration,
            patience: common.patience,
            deadline: Duration::MAX,
            completed: 0,
            received_bytes: 0,
            latency,
            lateness: Lateness::default(),
            heard: Duration::ZERO,
            heard_bytes: 0,
            begin: None,
        })
    }

    /// Tells how many connections are open.
    pub(crate) fn opened(&self, open: usize, of: usize) {
        self.progress.opened(open, of);
    }

    /// How long the server may be silent.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Begins the warm-up.
    pub(crate) fn start(&mut self, now: Duration) {
        self.phase = Phase::Warmup;
        self.deadline = now + self.warmup;
        self.heard = now;
    }

    /// Whether the connections are open.
    pub(crate) fn has_started(&self) -> bool {
        self.phase != Phase::Opening
    }

    #[inline]
    pub(crate) fn received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    /// So many messages are complete, each after this time.
    #[inline]
    pub(crate) fn completed(&mut self, count: usize, latency: Duration) {
        self.completed += count as u64;
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record_n(nanos, count as u64);
    }

    /// So many messages are complete whose time says nothing of the server.
    pub(crate) fn completed_untimed(&mut self, count: usize) {
        self.completed += count as u64;
    }

    /// A message left, so much later than it was due.
    pub(crate) fn sent_late(&mut self, lateness: Duration) {
        self.lateness.sum += lateness;
        self.lateness.count += 1;
    }

    /// To be called once in each turn. False when the measurement is over.
    pub(crate) fn turn(&mut self, now: Duration, due: u64) -> Result<bool, Error> {
        if self.heard_bytes != self.received_bytes || due == 0 {
            (self.heard, self.heard_bytes) = (now, self.received_bytes);
        } else if now > self.heard + self.patience {
            return Err(Error::Silent { time: self.patience, due });
        }
        self.progress.turn(now, self.completed);
        if now < self.deadline {
            return Ok(self.phase != Phase::Over);
        }
        match self.phase {
            Phase::Warmup => {
                self.phase = Phase::Measuring;
                self.deadline = now + self.duration;
                (self.completed, self.received_bytes, self.heard_bytes) = (0, 0, 0);
                self.latency.reset();
                self.lateness = Lateness::default();
                self.begin = Some(self.snapshot(now)?);
                Ok(true)
            }
            _ => {
                self.phase = Phase::Over;
                Ok(false)
            }
        }
    }

    /// The longest time to wait, so that the end is not missed.
    pub(crate) fn longest_wait(&self, now: Duration) -> Duration {
        self.deadline.saturating_sub(now).min(LONGEST_WAIT)
    }

    /// The outcome, at this time.
    pub(crate) fn finish(self, now: Duration) -> Result<Measured, Error> {
        self.progress.finish();
        let end = self.snapshot(now)?;
        let begin = self.begin.ok_or(Error::Options("the measurement ended before it began"))?;
        let server = end.server.zip(begin.server).map(|(end, begin)| end.since(&begin));
        let Lateness { sum, count } = self.lateness;
        Ok(Measured {
            duration: end.now - begin.now,
            completed: self.completed,
            received_bytes: self.received_bytes,
            latency: self.latency,
            own_time: end.own_time.saturating_sub(begin.own_time),
            server,
            mean_lateness: (count > 0).then(|| sum / count),
            threads: 1,
        })
    }

    fn snapshot(&self, now: Duration) -> Result<Snapshot, Error> {
        Ok(Snapshot { now, own_time: own_time(), server: self.server.usage()? })
    }
}

const MAX_LATENCY_NANOS: u64 = 60_000_000_000;
const LONGEST_WAIT: Duration = Duration::from_millis(100);
