//! [`Options`]: the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::candidate::Candidate;

/// Measures Sockeye side by side with other WebSocket and HTTP servers.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the peers, run all servers in turns under the same load, and compare them.
    Compare(Compare),
    /// Count the instructions of what runs for every message, and compare with the record.
    Instructions(Instructions),
    /// Run one of the servers of this crate, as `compare` does.
    Serve(Serve),
    /// Run the load generator, as `compare` does.
    #[command(hide = true)]
    Load(loadgen::Options),
    /// Run one kernel, as `instructions` does under callgrind.
    #[command(hide = true)]
    Kernel {
        /// Its name.
        name: String,
    },
}

/// `perf compare`.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// What to measure: names, or beginnings of names such as `echo-20b`; `all` for everything
    /// [default: the headline shapes]
    #[arg(short, long = "shape", value_delimiter = ',', value_name = "SHAPE")]
    pub(crate) shapes: Vec<String>,
    /// The peers; `none` for ours alone [default: all that can be built here]
    #[arg(short, long, value_delimiter = ',', value_name = "PEER")]
    pub(crate) peers: Vec<Peer>,
    /// Which of our servers
    #[arg(long, value_delimiter = ',', value_name = "NAME", default_values = ["uring", "epoll"])]
    pub(crate) ours: Vec<Backend>,
    /// How often each server is measured in each shape
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub(crate) rounds: u32,
    /// Seconds of each measurement
    #[arg(short, long, default_value = "2", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Seconds of load before that
    #[arg(short, long, default_value = "0.5", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Two short rounds of four shapes against uWebSockets: to see whether everything works
    #[arg(short, long, conflicts_with_all = ["rounds", "duration", "warmup"])]
    pub(crate) quick: bool,
    /// The processor of the servers [default: the first that we may use]
    #[arg(long, value_name = "N")]
    pub(crate) server_cpu: Option<usize>,
    /// The processor of the load generator [default: the last that we may use]
    #[arg(long, value_name = "N")]
    pub(crate) load_cpu: Option<usize>,
    /// Count system calls too, by strace, in a run of its own
    #[arg(long)]
    pub(crate) syscalls: bool,
    /// Where to write the results [default: perf/results/DATE-PROCESSOR]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// List the shapes and the peers, and exit
    #[arg(short, long)]
    pub(crate) list: bool,
}

/// A word for `--peers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// All of them.
    All,
    /// None of them.
    None,
    /// This one.
    One(Candidate),
}

impl std::str::FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let found = Candidate::peers().find(|peer| peer.name() == text);
        found.map(Self::One).ok_or_else(|| {
            let names: Vec<_> = Candidate::peers().map(Candidate::name).collect();
            format!("choose all, none, or of {}", names.join(", "))
        })
    }
}

/// How a server of ours speaks to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

/// `perf instructions`.
#[derive(Debug, Args)]
pub(crate) struct Instructions {
    /// Only kernels whose names begin like this
    #[arg(default_value = "")]
    pub(crate) beginning: String,
    /// Write what is counted into the record, with the reason in the commit
    #[arg(long)]
    pub(crate) record: bool,
    /// The record [default: perf/instructions.csv]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How much more than recorded is too much, in percent
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    pub(crate) tolerance: f64,
}

/// `perf serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Which server.
    #[arg(value_enum)]
    pub(crate) kind: Kind,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Where to listen
    #[arg(long, default_value_t = 9001)]
    pub(crate) port: u16,
    /// What to do with messages
    #[arg(long, value_enum, default_value_t = Mode::Echo)]
    pub(crate) mode: Mode,
    /// Bytes of the longest message
    #[arg(long, default_value_t = 16 << 10, value_name = "BYTES")]
    pub(crate) max_payload: usize,
    /// Seconds after which a silent socket is closed; 0 for never
    #[arg(long, default_value_t = 120, value_name = "SECS")]
    pub(crate) idle_timeout: u64,
    /// Whether messages are compressed
    #[arg(long, value_enum, default_value_t = Compress::None)]
    pub(crate) compress: Compress,
    /// How hard to compress, from 1 to 9 [default: the library's]
    #[arg(long)]
    pub(crate) level: Option<u8>,
    /// Number of threads
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: usize,
    /// Microseconds to look for work before a thread sleeps
    #[arg(long, default_value_t = 0)]
    pub(crate) busy_poll: u64,
}

/// The servers of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Sockeye over io_uring.
    Uring,
    /// Sockeye over epoll.
    Epoll,
    /// Bytes sent back over io_uring, without any protocol.
    FloorUring,
    /// Bytes sent back over epoll, without any protocol.
    FloorEpoll,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Send every message back.
    Echo,
    /// Send every message to all others.
    Broadcast,
    /// Send every message to all others that asked for the same path.
    Rooms,
    /// Answer requests.
    Http,
}

/// Whether and how a server compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    /// Not at all.
    None,
    /// Without memory between messages.
    Shared,
    /// With references to earlier messages.
    Dedicated,
}

impl Mode {
    /// Its name on the command line of every server.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Broadcast => "broadcast",
            Self::Rooms => "rooms",
            Self::Http => "http",
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let hint = "a number of seconds up to 600, such as 2 or 0.5";
    match text.trim_end_matches('s').parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 600.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(hint.into()),
    }
}

const EXAMPLES: &str = "\
Examples:
  perf compare                                     the headline shapes, all peers
  perf compare --quick                             two minutes, to see whether it works
  perf compare --shape echo-20b --peers uwebsockets --rounds 9
  perf compare --list                              what can be measured
  perf instructions                                what the kernels cost, machine or no machine
  perf serve uring --port 9001 --mode broadcast    one of our servers alone";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn times_and_peers_are_checked() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "inf", "NaN", "", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!("uwebsockets".parse(), Ok(Peer::One(Candidate::Uwebsockets)));
        assert_eq!("none".parse(), Ok(Peer::None));
        assert!("uring".parse::<Peer>().is_err_and(|text| text.contains("uwebsockets")));
    }
}
