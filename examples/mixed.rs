//! An echo, rooms, bodies and statistics on one port: what `loadgen mixed` and `loadgen soak` use.
//!
//!     cargo run --release --example mixed -- --help

use std::process::ExitCode;

use clap::Parser;
use sockeye::{
    App, Message, Request, Response, Status, Upgrade, WebSocket, WebSocketHandler, on_message,
};

mod options;

/// Passes each message on to the others at the same path.
struct Room;

impl WebSocketHandler for Room {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        Upgrade::accept(request.path().to_owned())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, String>) {
        let room = socket.data().clone();
        if let Err(error) = socket.subscribe(&room) {
            log::warn!("a socket hears nothing: {error}");
        }
    }

    fn message(&mut self, socket: &mut WebSocket<'_, String>, message: Message<'_>) {
        let room = socket.data().clone();
        socket.publish(&room, message);
    }
}

/// What all workers have done.
fn stats(request: &Request<'_>) -> Response {
    let stats = request.remote().total_stats();
    let stats = serde_json::json!({
        "connections": stats.connections,
        "websockets": stats.websockets,
        "accepted": stats.accepted,
        "refused": stats.refused,
        "accept_errors": stats.accept_errors,
        "requests": stats.requests,
        "bad_requests": stats.bad_requests,
        "messages_in": stats.messages_in,
        "messages_out": stats.messages_out,
        "dropped_messages": stats.dropped_messages,
        "published": stats.published,
        "deliveries": stats.deliveries,
        "mailbox_refused": stats.mailbox_refused,
        "protocol_errors": stats.protocol_errors,
        "idle_timeouts": stats.idle_timeouts,
        "handler_panics": stats.handler_panics,
    });
    Response::json(stats.to_string())
}

fn main() -> ExitCode {
    options::Options::parse().serve(|options| {
        let echo = |socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
            socket.send(message);
        };
        App::new()
            .with_body("*", "/echo", MAX_BODY_BYTES, |_, body| {
                Response::new(Status::OK).body("application/octet-stream", body.to_vec())
            })
            .get("/stats", stats)
            .websocket_with("/ws", options.websocket_config(), on_message(echo))
            .websocket_with("/room/*", options.websocket_config(), Room)
    })
}

/// The first line of `--help`.
const ABOUT: &str = "An echo, rooms, bodies and statistics: the server for `loadgen mixed`";
/// The path of its WebSocket.
const SOCKET: &str = "/ws";
const MAX_BODY_BYTES: u64 = 1 << 20;
