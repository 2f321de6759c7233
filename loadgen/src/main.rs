//! `loadgen`: see `loadgen --help`.

use std::process::ExitCode;

use clap::Parser;
use loadgen::Options;

fn main() -> ExitCode {
    let scenario = Options::parse().scenario;
    let outcome =
        loadgen::run(&scenario).and_then(|report| loadgen::write(&report, scenario.common()));
    match outcome {
        Ok(table) => {
            print!("{}", table.unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
