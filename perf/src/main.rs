//! `perf`: measures Sockeye side by side with other servers. See `perf --help`, and `README.md`
//! beside this crate for the method.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool that starts processes and waits for them; no floor of the library"
)]

use std::process::ExitCode;

use clap::Parser;

mod build;
mod candidate;
mod chart;
mod compare;
mod error;
mod floor;
mod instructions;
#[path = "../../benches/kernels/mod.rs"]
mod kernels;
mod load;
mod machine;
mod options;
mod process;
mod results;
mod serve;
mod shape;
mod summary;
mod syscalls;
mod table;

use options::{Command, Options};

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Instructions(options) => instructions::run(&options),
        Command::Kernel { name } => instructions::run_kernel(&name),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}
