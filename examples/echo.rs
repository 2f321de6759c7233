//! Sends every message back, on every path.
//!
//!     cargo run --release --example echo -- --help

use std::process::ExitCode;

use clap::Parser;
use sockeye::{App, Message, Response, WebSocket, on_message};

mod options;

/// What `--help` says.
const ABOUT: &str = "Sends every message back, on every path";
/// Where a WebSocket is opened: here on any path.
const SOCKET: &str = "";

fn main() -> ExitCode {
    options::Options::parse().serve(|options| {
        let echo = |socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
            socket.send(message);
        };
        App::new().get("/", |_| Response::text("Hello, world!")).websocket_with(
            "/*",
            options.websocket_config(),
            on_message(echo),
        )
    })
}
