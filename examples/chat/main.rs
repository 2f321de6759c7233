//! People who talk in rooms: `cargo run --release --example chat -- --help`
//!
//! A room lives on one worker, which its name decides; its people are on all of them, and post to
//! it what they do: everyone sees it in the same order, and nothing is locked.

use std::{collections::HashMap, process::ExitCode};

use clap::Parser;
use room::Room;
use serde_json::Value;
use sockeye::{
    App, CloseCode, Message, Remote, Request, Response, SendError, SocketId, Status, Upgrade,
    WebSocket, WebSocketConfig, WebSocketHandler,
};

#[path = "../options/mod.rs"]
mod options;
mod room;

/// The rooms that live on this worker.
#[derive(Default)]
struct Chat(HashMap<String, Room>);

/// Somebody in a room. Whatever becomes of the socket: when this is dropped, they have left.
struct Guest {
    id: SocketId,
    room: String,
    remote: Remote,
}

impl WebSocketHandler for Chat {
    type Data = Guest;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Guest> {
        let value = |key| request.query(key).unwrap_or_default().trim().to_owned();
        let (name, room, remote) = (value("name"), value("room"), request.remote().clone());
        if !is_name(&name) || !is_name(&room) {
            return Upgrade::reject(Status::BAD_REQUEST);
        }
        Upgrade::later(move |pending| {
            let guest = Guest { id: pending.id(), room: room.clone(), remote: remote.clone() };
            // A worker with too much to do drops `pending`, which answers with 500.
            let _ = visit(&remote, &room, move |room| room.admit(&name, guest, pending));
        })
    }

    fn message(&mut self, socket: &mut WebSocket<'_, Guest>, message: Message<'_>) {
        let event: Value = serde_json::from_slice(message.as_bytes()).unwrap_or_default();
        let text = event["text"].as_str().filter(|_| event["type"] == "message");
        let Some(text) = text.map(str::to_owned) else {
            return socket.close(CloseCode::UNSUPPORTED, "that is no message");
        };
        let Guest { id, ref room, ref remote } = *socket.data();
        if visit(remote, room, move |room| room.say(id, &text)).is_err() {
            socket.close(CloseCode::TRY_AGAIN_LATER, "too much is said at present");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let id = self.id;
        let _ = visit(&self.remote, &self.room, move |room| room.leave(id));
    }
}

/// Does something in a room, on the worker where it lives.
fn visit<F>(remote: &Remote, room: &str, act: F) -> Result<(), SendError>
where
    F: FnOnce(&mut Room) + Send + 'static,
{
    let worker = room.bytes().map(usize::from).sum::<usize>() % remote.worker_count();
    let (name, home) = (room.to_owned(), remote.clone());
    remote.run_with(worker, move |chat: &mut Chat, _| {
        if chat.0.len() >= MAX_ROOMS {
            chat.0.retain(|_, room| !room.is_empty());
        }
        act(chat.0.entry(name).or_insert_with_key(|name| Room::new(name, home)));
    })
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.chars().count()) && !name.contains(char::is_control)
}

fn main() -> ExitCode {
    options::Options::parse().serve(|options| {
        // Who misses a message is better off with a new connection, and the last messages.
        let config =
            WebSocketConfig { close_on_backpressure_limit: true, ..options.websocket_config() };
        let app = App::new().get("/", |_| Response::html(include_str!("chat.html")));
        app.websocket_with("/chat", config, Chat::default())
    })
}

/// When a worker has so many, those without people are forgotten, with what was said there.
const MAX_ROOMS: usize = 100;
const ABOUT: &str = "A chat with rooms, on a page that the server brings along";
const SOCKET: &str = "/chat?name=NAME&room=ROOM";
