//! `perf serve`: Sockeye's servers, through its public face and with its defaults, but for what
//! every measured server is told.

use std::{rc::Rc, time::Duration};

use sockeye::{
    App, Backend, CompressionConfig, Message, Request, Response, Server, Upgrade, WebSocket,
    WebSocketConfig, WebSocketHandler, on_message,
};

use crate::{
    error::Error,
    floor,
    options::{Compress, Kind, Mode, Serve},
};

/// Serves until it is ended.
pub(crate) fn run(options: &Serve) -> Result<(), Error> {
    let backend = match options.kind {
        Kind::Uring => Backend::Uring,
        Kind::Epoll => Backend::Epoll,
        Kind::FloorUring | Kind::FloorEpoll => return floor::run(options),
    };
    let mut compression = match options.compress {
        Compress::None => CompressionConfig::off(),
        Compress::Shared => CompressionConfig::shared(),
        Compress::Dedicated => CompressionConfig::dedicated(),
    };
    compression.level = options.level.unwrap_or(compression.level);
    let config = WebSocketConfig {
        max_payload_length: options.max_payload,
        idle_timeout: Duration::from_secs(options.idle_timeout),
        compression,
        ..WebSocketConfig::default()
    };
    let mode = options.mode;
    let explain = |error: sockeye::Error| Error::Server(error.to_string());
    let running = Server::new(move || app(mode, config.clone()))
        .backend(backend)
        .workers(options.workers)
        .busy_poll(Duration::from_micros(options.busy_poll))
        .listen(format!("{}:{}", options.host, options.port))
        .start()
        .map_err(explain)?;
    println!("listening on {}:{} ({})", options.host, options.port, running.backend());
    running.join().map_err(explain)
}

fn app(mode: Mode, config: WebSocketConfig) -> App {
    let app = App::new().get("/", |_| Response::text("Hello, world!"));
    match mode {
        Mode::Http => app,
        Mode::Broadcast => app.websocket_with("/*", config, Broadcast),
        Mode::Rooms => app.websocket_with("/*", config, Rooms),
        Mode::Echo => {
            let echo = |socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
                socket.send(message);
            };
            app.websocket_with("/*", config, on_message(echo))
        }
    }
}

struct Broadcast;

impl WebSocketHandler for Broadcast {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, ()>) {
        if let Err(error) = socket.subscribe(TOPIC) {
            eprintln!("a socket hears nothing: {error}");
        }
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        socket.publish(TOPIC, message);
    }
}

struct Rooms;

impl WebSocketHandler for Rooms {
    type Data = Rc<str>;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Rc<str>> {
        Upgrade::accept(request.path().into())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, Rc<str>>) {
        let room = socket.data().clone();
        if let Err(error) = socket.subscribe(&room) {
            eprintln!("a socket hears nothing: {error}");
        }
    }

    fn message(&mut self, socket: &mut WebSocket<'_, Rc<str>>, message: Message<'_>) {
        let room = socket.data().clone();
        socket.publish(&room, message);
    }
}

const TOPIC: &str = "all";
