//! Who may open a WebSocket is decided before the 101: by a ticket that the page has fetched with
//! its user's password, by a token, and by the page's origin.
//!
//!     cargo run --release --example auth -- --help
//!     curl --user ada:lovelace --data '' http://127.0.0.1:9001/ticket

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use sockeye::{
    App, BasicAuth, BearerAuth, Message, Request, Response, Status, TicketError, Tickets, Upgrade,
    WebSocket, WebSocketHandler,
};

mod options;

/// A WebSocket that knows whom it belongs to.
struct Desk {
    tickets: Tickets<String>,
    tokens: BearerAuth,
}

impl WebSocketHandler for Desk {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        // The Origin has been compared already: a page of another site does not come this far.
        if let Some(ticket) = request.query("ticket") {
            return match self.tickets.redeem(&ticket) {
                Some(name) => Upgrade::accept(name),
                None => Upgrade::reject(Status::FORBIDDEN),
            };
        }
        match self.tokens.check(request) {
            Ok(name) => Upgrade::accept(name.to_owned()),
            Err(unauthorized) => Upgrade::respond(unauthorized),
        }
    }

    fn message(&mut self, socket: &mut WebSocket<'_, String>, message: Message<'_>) {
        let answer = match message {
            Message::Text(text) => format!("{} says {text}", socket.data()),
            Message::Binary(bytes) => format!("{} sends {} bytes", socket.data(), bytes.len()),
        };
        socket.send(&answer);
    }
}

/// What `--help` says.
const ABOUT: &str =
    "Opens WebSockets for tickets, which users get for their password, and for tokens:
  curl --user ada:lovelace --data '' http://127.0.0.1:9001/ticket";
/// Where a WebSocket is opened: with `?ticket=`, or a token in the field Authorization.
const SOCKET: &str = "/ws";

fn main() -> ExitCode {
    // All workers share the tickets: the WebSocket may come to another one.
    let tickets = Tickets::new(Duration::from_secs(30));
    options::Options::parse().serve(move |options| {
        let users = BasicAuth::new("example").user("ada", "lovelace").user("alan", "turing");
        let tokens = BearerAuth::new().token("0b5cd1c1-a-secret", "robot");
        let desk = Desk { tickets: tickets.clone(), tokens: tokens.clone() };
        let tickets = tickets.clone();
        App::new()
            .get("/", |_| Response::html(PAGE))
            .on("POST", "/ticket", move |request| match users.check(request) {
                Ok(name) => match tickets.issue(name, name.to_owned()) {
                    Ok(ticket) => Response::text(ticket).header("Cache-Control", "no-store"),
                    Err(TicketError::TooManyOfName) => Response::new(Status::TOO_MANY_REQUESTS),
                    Err(_) => Response::new(Status::SERVICE_UNAVAILABLE),
                },
                Err(unauthorized) => unauthorized,
            })
            .get("/whoami", move |request| match tokens.check(request) {
                Ok(name) => Response::text(name.to_owned()),
                Err(unauthorized) => unauthorized,
            })
            .websocket_with("/ws", options.websocket_config(), desk)
    })
}

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>Tickets</title><pre></pre><script>
    const say = text => { document.querySelector('pre').textContent += text + '\\n' }
    fetch('ticket', { method: 'POST' }).then(response => response.text()).then(ticket => {
        const socket = new WebSocket(location.href.replace('http', 'ws') + 'ws?ticket=' + ticket)
        socket.onopen = () => socket.send('hello')
        socket.onmessage = event => say(event.data)
    })
    </script>";
