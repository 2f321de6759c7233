//! Sends every message to every other socket.
//!
//!     cargo run --release --example broadcast -- --help

use std::process::ExitCode;

use clap::Parser;
use sockeye::{App, Message, Request, Response, Upgrade, WebSocket, WebSocketHandler};

mod options;

struct Broadcast;

impl WebSocketHandler for Broadcast {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, ()>) {
        if let Err(error) = socket.subscribe(TOPIC) {
            log::warn!("a socket hears nothing: {error}");
        }
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        socket.publish(TOPIC, message);
    }
}

/// What `--help` says.
const ABOUT: &str = "Sends every message to every other socket";
/// Where a WebSocket is opened: here on any path.
const SOCKET: &str = "";

fn main() -> ExitCode {
    options::Options::parse().serve(|options| {
        App::new().get("/", |_| Response::text("Hello, world!")).websocket_with(
            "/*",
            options.websocket_config(),
            Broadcast,
        )
    })
}

const TOPIC: &str = "all";
