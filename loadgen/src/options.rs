//! [`Options`]: the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use sockeye::ws::deflate::{Context, Preferences};

/// Measures what a WebSocket or HTTP server costs: CPU time per message, throughput, latency,
/// memory per connection. Every answer is checked, byte by byte.
#[derive(Debug, Clone, Parser)]
#[command(version, about, after_help = EXAMPLES, args_override_self = true)]
pub struct Options {
    /// What to do to the server.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// What is done to the server.
#[derive(Debug, Clone, Subcommand)]
pub enum Scenario {
    /// Send messages that the server echoes.
    Echo(Echo),
    /// Send messages that the server passes on to all other connections.
    Broadcast(Broadcast),
    /// Hold connections that are at rest, and see what memory they take.
    Idle(Idle),
    /// Open and close connections, each with both handshakes.
    Connect(Connect),
    /// Get one resource by plain HTTP/1.1, again and again.
    Http(Http),
    /// All kinds of traffic at once: echoes, rooms, HTTP, visitors, slow readers, tiny to large.
    Mixed(Mixed),
    /// The mixed load for as long as asked; fails if memory, descriptors, latency or statistics
    /// of the server drift.
    Soak(Soak),
}

/// `loadgen echo`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Echo {
    /// What every scenario has.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Connections.
    #[arg(short, long, default_value_t = 200, value_parser = count)]
    pub connections: usize,
    /// What is sent.
    #[command(flatten)]
    #[serde(flatten)]
    pub payload: Payload,
    /// Messages in flight on each connection.
    #[arg(short = 'n', long, default_value_t = 1, value_parser = count)]
    pub pipeline: usize,
    /// Messages in each write; a connection waits until so many may be sent.
    #[arg(short, long, default_value_t = 1, value_parser = count)]
    pub segment: usize,
    /// Messages per second over all connections, due at fixed times whether or not the server has
    /// answered, and latency counted from when they were due. Default: send as soon as an answer
    /// is there.
    #[arg(short, long, conflicts_with_all = ["pipeline", "segment"])]
    pub rate: Option<f64>,
    /// Send bytes over TCP as they are, without a handshake and without frames, to a server that
    /// sends them back: what the kernel costs, whoever speaks to it.
    #[arg(long, conflicts_with = "deflate")]
    pub raw: bool,
}

/// `loadgen broadcast`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Broadcast {
    /// What every scenario has.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Connections that receive.
    #[arg(short, long, default_value_t = 1000, value_parser = count)]
    pub connections: usize,
    /// Connections that send, in each room.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub publishers: usize,
    /// Rooms among which the receivers are divided. With more than one, the connections of room 7
    /// ask for the path /room/7.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub rooms: usize,
    /// What is sent.
    #[command(flatten)]
    #[serde(flatten)]
    pub payload: Payload,
    /// Messages that have been sent and not yet reached every receiver, in each room.
    #[arg(short = 'n', long, default_value_t = 1, value_parser = count)]
    pub in_flight: usize,
    /// Messages in each write of a publisher.
    #[arg(short, long, default_value_t = 1, value_parser = count)]
    pub segment: usize,
    /// Where the publishers connect to, if that is another path of the server.
    #[arg(long, conflicts_with = "rooms")]
    pub publisher_url: Option<String>,
}

/// `loadgen idle`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Idle {
    /// What every scenario has.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Connections.
    #[arg(short, long, default_value_t = 10_000, value_parser = count)]
    pub connections: usize,
    /// What is sent.
    #[command(flatten)]
    #[serde(flatten)]
    pub payload: Payload,
    /// Messages to echo on each connection before it rests.
    #[arg(short, long, default_value_t = 1)]
    pub messages: usize,
}

/// `loadgen connect`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Connect {
    /// What every scenario has.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Connections that are being opened or closed at a time.
    #[arg(short, long, default_value_t = 50, value_parser = count)]
    pub connections: usize,
}

/// `loadgen http`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Http {
    /// What every scenario has.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Connections.
    #[arg(short, long, default_value_t = 200, value_parser = count)]
    pub connections: usize,
    /// Requests in flight on each connection.
    #[arg(short = 'n', long, default_value_t = 1, value_parser = count)]
    pub pipeline: usize,
}

/// `loadgen mixed`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Mixed {
    /// What every scenario has. Of the URL only the host and the port count.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Connections.
    #[arg(short, long, default_value_t = 100, value_parser = count)]
    pub connections: usize,
    /// Bytes of the largest message and body; most are much smaller.
    #[arg(short, long, default_value = "16K", value_parser = size)]
    pub payload: usize,
    /// How long a connection rests between two exchanges, on average.
    #[arg(long, default_value = "5ms", value_parser = duration)]
    pub think: Duration,
}

/// `loadgen soak`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Soak {
    /// The load.
    #[command(flatten)]
    #[serde(flatten)]
    pub mixed: Mixed,
    /// How often to look at the server.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub period: Duration,
    /// MiB by which the server's memory may grow from the first third to the last.
    #[arg(long, default_value_t = 8)]
    pub max_growth: u64,
}

/// What is sent.
#[derive(Debug, Clone, Copy, Args, Serialize)]
pub struct Payload {
    /// Bytes of a message: 20, 16K, 1M.
    #[arg(short, long, default_value = "20", value_parser = size)]
    pub payload: usize,
    /// Send text messages instead of binary ones.
    #[arg(short, long)]
    pub text: bool,
    /// Send JSON, each message compressed by itself (permessage-deflate), and have the server
    /// compress too.
    #[arg(long)]
    pub deflate: bool,
    /// Let the server refer to earlier messages (context takeover), and expect references.
    #[arg(long, requires = "deflate")]
    pub takeover: bool,
}

impl Payload {
    /// How the server is to compress, if at all.
    pub(crate) fn offer(&self) -> Option<Preferences> {
        let context = match self.takeover {
            true => Context::TakenOver { window_bits: 15 },
            false => Context::Fresh,
        };
        self.deflate.then_some(Preferences { outgoing: context, incoming: context })
    }
}

/// What every scenario has.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Common {
    /// The server: ws://HOST:PORT/PATH, http://HOST:PORT/PATH or ws+unix:SOCKET:/PATH.
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:9001/", conflicts_with = "url")]
    pub address: String,
    /// The same by name.
    #[arg(long)]
    #[serde(skip)]
    pub url: Option<String>,
    /// How long to measure: 5, 2.5s, 300ms.
    #[arg(short, long, default_value = "5", value_parser = measured)]
    pub duration: Duration,
    /// How long to go on before that.
    #[arg(short, long, default_value = "1", value_parser = duration)]
    pub warmup: Duration,
    /// The server's process, to read its CPU time and memory (several: --pid 1,2).
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Threads that share the load, for echo, connect and http against many workers.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub threads: usize,
    /// The processor to run on (further threads take those after it); see to it that the server
    /// runs on others.
    #[arg(long)]
    pub cpu: Option<usize>,
    /// How the generator speaks to the kernel.
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    pub backend: Backend,
    /// Microseconds to look for answers before the generator sleeps: for low latency.
    #[arg(long, default_value_t = 0)]
    pub spin: u64,
    /// Addresses 127.0.0.1, 127.0.0.2 and so on to connect from: each has ports for 28,000
    /// connections. Default: as many as needed.
    #[arg(long)]
    pub sources: Option<usize>,
    /// What payloads and masks are drawn from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long the server may be silent while answers are due: 10, 300ms.
    #[arg(long, default_value = "10", value_parser = duration)]
    pub patience: Duration,
    /// Show no progress.
    #[arg(short, long)]
    pub quiet: bool,
    /// Write the results here as JSON; - for the standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the latency at each percentile into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// How the generator speaks to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// io_uring if there is one, else epoll.
    Auto,
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Scenario {
    /// Its name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Broadcast(_) => "broadcast",
            Self::Idle(_) => "idle",
            Self::Connect(_) => "connect",
            Self::Http(_) => "http",
            Self::Mixed(_) => "mixed",
            Self::Soak(_) => "soak",
        }
    }

    /// What every scenario has.
    #[must_use]
    pub fn common(&self) -> &Common {
        match self {
            Self::Echo(Echo { common, .. })
            | Self::Broadcast(Broadcast { common, .. })
            | Self::Idle(Idle { common, .. })
            | Self::Connect(Connect { common, .. })
            | Self::Http(Http { common, .. })
            | Self::Mixed(Mixed { common, .. })
            | Self::Soak(Soak { mixed: Mixed { common, .. }, .. }) => common,
        }
    }
}

impl Scenario {
    /// The part of it that one of several threads does. `None` if that cannot be shared.
    pub(crate) fn share(&self, thread: usize) -> Option<Self> {
        let mut share = self.clone();
        let (common, connections) = match &mut share {
            Self::Echo(Echo { common, connections, rate, .. }) => {
                #[allow(clippy::cast_precision_loss, reason = "a rate")]
                let threads = common.threads as f64;
                *rate = rate.map(|rate| rate / threads);
                (common, connections)
            }
            Self::Connect(Connect { common, connections })
            | Self::Http(Http { common, connections, .. }) => (common, connections),
            Self::Broadcast(_) | Self::Idle(_) | Self::Mixed(_) | Self::Soak(_) => return None,
        };
        let threads = common.threads;
        *connections = *connections / threads + usize::from(thread < *connections % threads);
        common.cpu = common.cpu.map(|first| first + thread);
        common.seed += thread as u64;
        common.quiet |= thread > 0;
        (*connections > 0).then_some(share)
    }
}

impl Common {
    /// Where the server is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_ref().unwrap_or(&self.address)
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".into()),
        Ok(count) if count <= MAX_COUNT => Ok(count),
        Ok(_) => Err(format!("at most {MAX_COUNT}")),
        Err(_) => Err("a number, such as 200".into()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        _ => return Err("a number of bytes, such as 20, 16K or 1M".into()),
    };
    let number: usize = digits.parse().map_err(|_| "a number of bytes, such as 20, 16K or 1M")?;
    let bytes = number.saturating_mul(factor);
    if bytes > MAX_PAYLOAD_BYTES {
        return Err(format!("at most {MAX_PAYLOAD_BYTES} bytes"));
    }
    Ok(bytes)
}

/// A time in which something can be measured.
fn measured(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < SHORTEST { Err("at least 100ms".into()) } else { Ok(duration) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text {
        _ if text.ends_with("ms") => (&text[..text.len() - 2], 0.001),
        _ if text.ends_with('s') => (&text[..text.len() - 1], 1.0),
        _ if text.ends_with('m') => (&text[..text.len() - 1], 60.0),
        _ => (text, 1.0),
    };
    let hint = "a time such as 5, 2.5s, 300ms or 1m";
    let seconds: f64 = number.parse().map_err(|_| hint)?;
    Duration::try_from_secs_f64(seconds * factor).map_err(|_| hint.into())
}

const SHORTEST: Duration = Duration::from_millis(100);
const MAX_COUNT: usize = 1 << 20;
const MAX_PAYLOAD_BYTES: usize = 64 << 20;
const EXAMPLES: &str = "\
Examples:
  loadgen echo --pid $(pgrep -x echo)                      20-byte messages on 200 connections
  loadgen echo ws://127.0.0.1:9001/ -p 16K -c 50           larger ones
  loadgen echo -n 16 -s 16                                 16 messages at a time
  loadgen echo --rate 50000 --svg latency.svg              latency under a fixed load
  loadgen broadcast -c 1000 -p 64 -n 4                     fan-out
  loadgen idle -c 10000 --pid $(pgrep -x echo)             memory per connection
  loadgen connect                                          handshakes per second
  loadgen http http://127.0.0.1:9001/ -n 16                pipelined requests
  loadgen mixed --seed 7                                   everything, with `--example mixed`
  loadgen soak -d 10m --pid $(pgrep -x mixed)              the same, until something drifts";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn sizes_and_durations_have_units() {
        for (text, bytes) in
            [("0", 0), ("20", 20), ("16K", 16_384), ("16kib", 16_384), ("1M", 1 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "1G", "-1", "65M"] {
            assert!(size(text).is_err(), "{text}");
        }
        for (text, millis) in [("5", 5000), ("2.5s", 2500), ("300ms", 300), ("1m", 60_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1h", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(count("0").is_err() && count("x").is_err());
    }
}
