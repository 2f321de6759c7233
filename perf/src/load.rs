//! Runs the load generator, as a process of its own, and reads what it reports.

use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{
    build::own_program,
    error::Error,
    options::Mode,
    process::{Processors, Server, spawn},
    shape::{Load, Shape},
};

/// What the generator reports, as far as it is of use here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Report {
    pub(crate) load: Option<Measured>,
    pub(crate) idle: Option<Idle>,
}

/// Under load.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Measured {
    pub(crate) noun: String,
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    pub(crate) received_bytes_per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) server: Option<ServerCost>,
    pub(crate) generator: GeneratorCost,
    pub(crate) limit: String,
}

/// In microseconds.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
}

/// Of each message.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ServerCost {
    pub(crate) cpu_us_each: f64,
    pub(crate) user_us_each: f64,
    pub(crate) system_us_each: f64,
    pub(crate) busiest_thread: f64,
    pub(crate) resident_bytes: u64,
}

/// Of the generator.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GeneratorCost {
    pub(crate) busy: f64,
}

/// At rest.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Idle {
    pub(crate) resident_at_rest_bytes: Option<u64>,
    pub(crate) resident_bytes_per_connection: Option<f64>,
}

/// How long to measure, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    pub(crate) duration: f64,
    pub(crate) warmup: f64,
}

/// `perf load`: the generator itself.
pub(crate) fn run(options: &loadgen::Options) -> Result<(), Error> {
    let explain =
        |error: loadgen::Error| Error::Load { what: "load".into(), why: error.to_string() };
    let report = loadgen::run(&options.scenario).map_err(explain)?;
    let table = loadgen::write(&report, options.scenario.common()).map_err(explain)?;
    print!("{}", table.unwrap_or_default());
    Ok(())
}

/// Puts this load on the server.
pub(crate) fn measure(
    server: &Server,
    shape: &Shape,
    is_raw: bool,
    rate: Option<f64>,
    time: Time,
    processors: Processors,
) -> Result<Report, Error> {
    let failure = |why: String| Error::Load { what: shape.name.clone(), why };
    let scheme = match shape.mode {
        Mode::Http => "http",
        Mode::Echo | Mode::Broadcast | Mode::Rooms => "ws",
    };
    let mut command = Command::new(own_program()?);
    command.args(["load", shape.scenario()]).args(shape.arguments(rate));
    command.args(is_raw.then_some("--raw"));
    command.arg(format!("{scheme}://127.0.0.1:{}/", server.port()));
    command.args(["--pid", &server.pid().to_string()]);
    command.args(["--cpu", &processors.load.to_string(), "--json", "-", "--quiet"]);
    command.args(["--duration", &format!("{}s", duration(shape, time))]);
    command.args(["--warmup", &format!("{}s", time.warmup)]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = spawn(command, Some(processors.load))
        .map_err(Error::io("cannot start the load generator"))?;
    let output = child.wait_with_output().map_err(Error::io("the load generator is lost"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed");
        return Err(failure(last.trim_start_matches("perf: load: ").to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failure(error.to_string()))
}

/// Connections at rest need no long measurement, but rest.
fn duration(shape: &Shape, time: Time) -> f64 {
    match shape.load {
        Load::Idle { .. } => time.duration.min(2.0),
        _ => time.duration,
    }
}
