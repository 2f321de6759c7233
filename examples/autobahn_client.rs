//! Puts the client under test by the Autobahn test suite: asks how many cases there are, and
//! echoes in each of them what comes, until the connection is closed.
//!
//! ```text
//! cargo run --release --example autobahn_client -- ws://127.0.0.1:9001
//! ```

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use sockeye::client::{Client, Compression, CompressionContext, Error, Event};

/// Runs every case of an Autobahn fuzzing server against Sockeye's client.
#[derive(Parser)]
struct Options {
    /// Where the suite listens, for example ws://127.0.0.1:9001.
    url: String,
    /// The name under which the results are filed.
    #[arg(long, default_value = "sockeye")]
    agent: String,
    /// How to offer that messages are compressed, as categories 12 and 13 of the suite want it.
    #[arg(long, value_enum, default_value_t = Mode::Off)]
    compression: Mode,
    /// How long a case may be silent, in seconds.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Not at all.
    Off,
    /// Each message by itself.
    Shared,
    /// With references to earlier ones.
    Dedicated,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(count) => {
            println!("{count} cases run");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<u32, Box<dyn std::error::Error>> {
    let count = case_count(options)?;
    for case in 1..=count {
        // How a case ends is for the suite to judge; many are meant to end with an error.
        if let Err(error) = echo(options, case) {
            eprintln!("case {case}: {error}");
        }
    }
    let mut client = connect(options, &format!("updateReports?agent={}", options.agent))?;
    while !matches!(client.receive()?, Event::Closed { .. }) {}
    Ok(count)
}

fn case_count(options: &Options) -> Result<u32, Box<dyn std::error::Error>> {
    let mut client = connect(options, "getCaseCount")?;
    let event = client.receive_message()?;
    Ok(event.text().ok_or("the suite did not tell the number of cases")?.trim().parse()?)
}

fn echo(options: &Options, case: u32) -> Result<(), Error> {
    let mut client = connect(options, &format!("runCase?case={case}&agent={}", options.agent))?;
    loop {
        let event = client.receive()?;
        if let Some(message) = event.message() {
            client.send(message)?;
        } else if let Event::Closed { .. } = event {
            return Ok(());
        }
    }
}

fn connect(options: &Options, target: &str) -> Result<Client, Error> {
    let url = format!("{}/{target}", options.url.trim_end_matches('/'));
    let mut builder = Client::builder(&url).timeout(Duration::from_secs(options.timeout));
    let context = match options.compression {
        Mode::Off => None,
        Mode::Shared => Some(CompressionContext::Fresh),
        Mode::Dedicated => Some(CompressionContext::TakenOver { window_bits: 15 }),
    };
    if let Some(context) = context {
        builder = builder.compression(Compression { outgoing: context, incoming: context });
    }
    builder.connect()
}
