//! Server-sent events and WebSockets that hear the same: what is posted to /publish.
//!
//!     cargo run --release --example sse -- --help
//!     curl --no-buffer http://127.0.0.1:9001/events
//!     curl --data 'hello' http://127.0.0.1:9001/publish

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use clap::Parser;
use sockeye::{
    App, Event, EventStream, Request, Response, Status, Upgrade, WebSocket, WebSocketHandler,
};

mod options;

/// A WebSocket that only listens.
struct Listener;

impl WebSocketHandler for Listener {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, ()>) {
        if let Err(error) = socket.subscribe(TOPIC) {
            log::warn!("a socket hears nothing: {error}");
        }
    }
}

fn events(request: &Request<'_>) -> Response {
    let mut stream = EventStream::new()
        .topic(TOPIC)
        .retry(Duration::from_secs(2))
        .heartbeat(Duration::from_secs(10));
    // Who comes back says what it has heard last. Real servers would repeat what it has missed.
    if let Some(last) = request.header("Last-Event-ID").and_then(|id| id.parse::<u64>().ok()) {
        let missed = COUNT.load(Ordering::Relaxed).saturating_sub(last).to_string();
        stream = stream.event(&Event::new(&missed).name("missed"));
    }
    Response::events(stream)
}

fn publish(request: &Request<'_>, body: &[u8]) -> Response {
    let Ok(text) = std::str::from_utf8(body) else {
        return Response::new(Status::BAD_REQUEST);
    };
    let id = (COUNT.fetch_add(1, Ordering::Relaxed) + 1).to_string();
    match request.remote().publish_event(TOPIC, &Event::new(text).id(&id)) {
        Ok(()) => Response::new(Status::NO_CONTENT),
        Err(error) => Response::text(error.to_string()).with_status(Status::SERVICE_UNAVAILABLE),
    }
}

/// What `--help` says.
const ABOUT: &str = "Sends what is posted to /publish to event streams and WebSockets:
  curl --no-buffer http://127.0.0.1:9001/events
  curl --data hello http://127.0.0.1:9001/publish";
/// Where a WebSocket is opened.
const SOCKET: &str = "/ws";

fn main() -> ExitCode {
    options::Options::parse().serve(|options| {
        App::new()
            .get("/", |_| Response::html(PAGE))
            .get("/events", events)
            .post("/publish", publish)
            .websocket_with("/ws", options.websocket_config(), Listener)
    })
}

static COUNT: AtomicU64 = AtomicU64::new(0);
const TOPIC: &str = "news";
const PAGE: &str = "<!doctype html><meta charset=utf-8><title>Events</title>\
    <form><input name=text autofocus><button>Publish</button></form><ul></ul><script>
    const form = document.forms[0]
    form.onsubmit = event => {
        event.preventDefault()
        fetch('publish', { method: 'POST', body: form.text.value })
        form.reset()
    }
    new EventSource('events').onmessage = event => {
        const item = document.createElement('li')
        item.textContent = event.lastEventId + ': ' + event.data
        document.querySelector('ul').append(item)
    }
    </script>";
