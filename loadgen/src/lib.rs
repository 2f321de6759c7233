//! Load generator for WebSocket and HTTP servers.
//!
//! One thread, on the reactors of the library, and little work for each message: what is sent
//! has been framed and masked beforehand, and what comes is compared with what is expected as it
//! stands there. So the generator costs less than the server it measures, and says so when it
//! does not.

#![forbid(unsafe_code)]

use std::{fs, io::Write, path::Path, time::Duration};

use sockeye::{
    client::Url,
    reactor::{self, Address, Config, EpollReactor, Reactor, Socket, UringReactor},
};

mod broadcast;
mod check;
mod connect;
mod curve;
mod driver;
mod echo;
mod error;
mod http;
mod idle;
mod meter;
mod mixed;
mod opening;
pub mod options;
mod process;
mod progress;
mod random;
mod report;
mod soak;
mod traffic;
mod wire;

use driver::Driver;
use meter::{Measured, Meter};
use options::{Backend, Common, Scenario};
use random::Random;
use wire::Wire;

pub use error::Error;
pub use idle::Idle;
pub use options::Options;
pub use report::{GeneratorCost, Latency, Limit, Load, Report, ServerCost};

/// Runs a scenario.
///
/// # Errors
/// If the server cannot be reached, or answers wrongly.
pub fn run(scenario: &Scenario) -> Result<Report, Error> {
    let common = scenario.common();
    let outcome = if common.threads == 1 { run_one(scenario)? } else { run_threads(scenario)? };
    let (mut load, mut idle) = (None, None);
    match outcome.result {
        Outcome::Measured(measured) => load = Some(Load::new(noun(scenario), &measured)),
        Outcome::Idle(found) => idle = Some(found),
    }
    Ok(Report {
        scenario: scenario.name(),
        url: common.url().to_owned(),
        backend: outcome.backend,
        options: settings(scenario),
        load,
        idle,
    })
}

/// What one thread came to, and how it spoke to the kernel.
struct Run {
    backend: &'static str,
    result: Outcome,
}

enum Outcome {
    Measured(Box<Measured>),
    Idle(Idle),
}

/// Each thread has its share of the connections. They begin together, nearly; the warm-up covers
/// the difference.
fn run_threads(scenario: &Scenario) -> Result<Run, Error> {
    let shares: Option<Vec<_>> =
        (0..scenario.common().threads).map(|thread| scenario.share(thread)).collect();
    let Some(shares) = shares else {
        return Err(Error::Options(
            "--threads is for echo, connect and http, with a connection for each at least",
        ));
    };
    std::thread::scope(|scope| {
        let run = |share| scope.spawn(move || run_one(share));
        let threads: Vec<_> = shares.iter().map(run).collect();
        let mut sum: Option<Run> = None;
        for thread in threads {
            let one = thread.join().map_err(|_| Error::Options("a thread panicked"))??;
            match (&mut sum, one.result) {
                (Some(Run { result: Outcome::Measured(sum), .. }), Outcome::Measured(one)) => {
                    sum.add(&one)?;
                }
                (_, result) => sum = Some(Run { backend: one.backend, result }),
            }
        }
        sum.ok_or(Error::Options("--threads must be above 0"))
    })
}

fn run_one(scenario: &Scenario) -> Result<Run, Error> {
    let common = scenario.common();
    if let Some(processor) = common.cpu {
        reactor::pin_thread(processor).map_err(|error| Error::Processor(processor, error))?;
    }
    let config = Config { busy_poll: Duration::from_micros(common.spin) };
    let uring = || UringReactor::new(&config).map_err(Error::Backend);
    let epoll = || EpollReactor::new(&config).map_err(Error::Backend);
    let on_uring = |reactor| Ok(Run { backend: "io_uring", result: run_on(reactor, scenario)? });
    let on_epoll = |reactor| Ok(Run { backend: "epoll", result: run_on(reactor, scenario)? });
    match common.backend {
        Backend::Uring => on_uring(uring()?),
        Backend::Epoll => on_epoll(epoll()?),
        Backend::Auto => match uring() {
            Ok(reactor) => on_uring(reactor),
            Err(_) => on_epoll(epoll()?),
        },
    }
}

fn run_on<R: Reactor<Socket = Socket>>(reactor: R, scenario: &Scenario) -> Result<Outcome, Error> {
    let common = scenario.common();
    let url = parse_url(common.url())?;
    let mut random = Random::new(common.seed);
    let wire = Wire::new(reactor, first_address(&url)?, sources(scenario));
    let meter = Meter::new(common, noun(scenario))?;
    let (host, target) = (url.host().to_owned(), url.target().to_owned());
    let driver = Driver::new(wire, url, random.clone(), meter);
    let measured = match scenario {
        Scenario::Echo(options) => echo::Echo::run(options, driver, &mut random)?,
        Scenario::Broadcast(options) => broadcast::Broadcast::run(options, driver, &mut random)?,
        Scenario::Idle(options) => {
            return Ok(Outcome::Idle(Idle::run(options, driver, &mut random)?));
        }
        Scenario::Connect(options) => connect::Connect::run(options, driver)?,
        Scenario::Http(options) => http::Http::run(options, driver, &host, &target)?,
        Scenario::Mixed(options) => mixed::Mixed::run(options, driver, &host, random)?,
        Scenario::Soak(options) => soak::run(options, driver, &host, random)?,
    };
    Ok(Outcome::Measured(Box::new(measured)))
}

/// Writes the files that were asked for. What is left to print, if anything, is returned.
///
/// # Errors
/// If a file cannot be written.
pub fn write(report: &Report, common: &Common) -> Result<Option<String>, Error> {
    if let (Some(path), Some(load)) = (&common.svg, &report.load) {
        let title = format!("{} at {}", report.scenario, report.url);
        curve::draw(load, &title, path)?;
    }
    let Some(path) = &common.json else { return Ok(Some(report.to_string())) };
    let explain = |error: &dyn std::fmt::Display| Error::Write(path.clone(), error.to_string());
    let json = serde_json::to_string_pretty(report).map_err(|error| explain(&error))?;
    if path == Path::new("-") {
        writeln!(std::io::stdout(), "{json}").map_err(|error| explain(&error))?;
        return Ok(None);
    }
    fs::write(path, json).map_err(|error| explain(&error))?;
    Ok(Some(report.to_string()))
}

/// `http://` means the same as `ws://` here: the scenario says what is spoken.
fn parse_url(text: &str) -> Result<Url, Error> {
    let url = match text.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => text.to_owned(),
    };
    Ok(url.parse()?)
}

fn first_address(url: &Url) -> Result<Address, Error> {
    let mut addresses = url.addresses()?;
    if addresses.is_empty() {
        return Err(Error::Options("the host has no address"));
    }
    Ok(addresses.swap_remove(0))
}

/// How many local addresses are needed.
fn sources(scenario: &Scenario) -> usize {
    let connections = match scenario {
        Scenario::Echo(options) => options.connections,
        Scenario::Broadcast(options) => options.connections + options.publishers * options.rooms,
        Scenario::Idle(options) => options.connections,
        // Ports that were just used may still be remembered.
        Scenario::Connect(options) => options.connections.max(8 * CONNECTIONS_PER_SOURCE),
        Scenario::Http(options) => options.connections,
        Scenario::Mixed(options) => options.connections.max(2 * CONNECTIONS_PER_SOURCE),
        Scenario::Soak(options) => options.mixed.connections.max(2 * CONNECTIONS_PER_SOURCE),
    };
    scenario.common().sources.unwrap_or(connections.div_ceil(CONNECTIONS_PER_SOURCE))
}

fn noun(scenario: &Scenario) -> &'static str {
    match scenario {
        Scenario::Echo(_) | Scenario::Idle(_) => "messages",
        Scenario::Broadcast(_) => "deliveries",
        Scenario::Connect(_) => "connections",
        Scenario::Http(_) => "requests",
        Scenario::Mixed(_) | Scenario::Soak(_) => "exchanges",
    }
}

fn settings(scenario: &Scenario) -> serde_json::Value {
    let settings = match scenario {
        Scenario::Echo(options) => serde_json::to_value(options),
        Scenario::Broadcast(options) => serde_json::to_value(options),
        Scenario::Idle(options) => serde_json::to_value(options),
        Scenario::Connect(options) => serde_json::to_value(options),
        Scenario::Http(options) => serde_json::to_value(options),
        Scenario::Mixed(options) => serde_json::to_value(options),
        Scenario::Soak(options) => serde_json::to_value(options),
    };
    settings.unwrap_or_default()
}

const CONNECTIONS_PER_SOURCE: usize = 25_000;
