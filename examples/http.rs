//! An HTTP server beside a WebSocket, on the same port.
//!
//!     cargo run --release --example http -- --help

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use sockeye::{
    App, Files, HttpExchange, HttpHandler, Message, Reply, Request, Response, WebSocket, on_message,
};

mod options;

#[derive(Parser)]
#[command(version, about = ABOUT)]
struct Arguments {
    #[command(flatten)]
    options: options::Options,
    /// The folder whose files are served below /files/
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    files: PathBuf,
}

/// Takes uploads of any size, piece by piece, and says how much there was.
struct Upload;

impl HttpHandler for Upload {
    type Data = u64;

    fn max_body_bytes(&self) -> Option<u64> {
        Some(1 << 40)
    }

    fn request(&mut self, _: &Request<'_>) -> Reply<u64> {
        Reply::receive(0)
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, u64>, piece: &[u8]) {
        *exchange.data() += piece.len() as u64;
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, u64>) {
        let bytes = *exchange.data();
        exchange.respond(Response::json(format!("{{\"bytes\":{bytes}}}")));
    }
}

/// Returns what was sent, or greets.
fn echo(body: &[u8]) -> Response {
    match body {
        [] => Response::text("Hello, world!"),
        body => Response::new(sockeye::Status::OK).body("application/octet-stream", body.to_vec()),
    }
}

fn greet(request: &Request<'_>) -> Response {
    let name = request.parameter("name").unwrap_or_default();
    Response::json(serde_json::json!({ "hello": name }).to_string())
}

/// What `--help` says.
const ABOUT: &str = "Answers HTTP requests beside a WebSocket:
  curl --data hello http://127.0.0.1:9001/
  curl http://127.0.0.1:9001/hello/ada
  curl --upload-file FILE http://127.0.0.1:9001/upload
  curl http://127.0.0.1:9001/files/README.md";
/// Where a WebSocket is opened.
const SOCKET: &str = "/ws";

fn main() -> ExitCode {
    let Arguments { options, files } = Arguments::parse();
    options.serve(move |options| {
        let frames = |socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
            socket.send(message);
        };
        App::new()
            .with_body("*", "/", MAX_ECHO_BYTES, |_, body| echo(body))
            .get("/hello/:name", greet)
            .stream("*", "/upload", Upload)
            .files("/files/*", Files::new(&files).precompressed(true))
            .websocket_with("/ws", options.websocket_config(), on_message(frames))
    })
}

/// The longest body that is kept to be returned.
const MAX_ECHO_BYTES: u64 = 1 << 20;
