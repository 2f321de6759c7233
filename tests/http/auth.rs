//! Passwords, tokens and tickets, before the 101 and elsewhere.

use std::{io::Write, time::Duration};

use sockeye::{
    App, BasicAuth, BearerAuth, Limits, Message, Request, Response, Status, Tickets, Upgrade,
    WebSocket, WebSocketHandler,
};

use crate::bed::{connect, head, on_each_backend, talk};

struct Desk(Tickets<String>);

impl WebSocketHandler for Desk {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        match request.query("ticket").and_then(|ticket| self.0.redeem(&ticket)) {
            Some(name) => Upgrade::accept(name),
            None => Upgrade::reject(Status::UNAUTHORIZED),
        }
    }

    fn message(&mut self, _: &mut WebSocket<'_, String>, _: Message<'_>) {}
}

fn app(tickets: &Tickets<String>) -> App {
    let users = BasicAuth::new("a \"realm\"").user("ada", "lovelace").user("émile", "zo:la");
    let tokens = BearerAuth::new().token("sesame", "ali");
    let desk = Desk(tickets.clone());
    let tickets = tickets.clone();
    App::new()
        .get("/basic", move |request| match users.check(request) {
            Ok(name) => Response::text(tickets.issue(name, name.to_owned()).unwrap()),
            Err(unauthorized) => unauthorized,
        })
        .get("/bearer", move |request| match tokens.check(request) {
            Ok(name) => Response::text(name.to_owned()),
            Err(unauthorized) => unauthorized,
        })
        .websocket("/ws", desk)
}

#[test]
fn credentials_are_checked() {
    let cases = [
        ("/basic", "Authorization: Basic YWRhOmxvdmVsYWNl", 200),
        ("/basic", "authorization: basic   YWRhOmxvdmVsYWNl", 200),
        ("/basic", "Authorization: Basic w6ltaWxlOnpvOmxh", 200),
        ("/basic", "X: y", 401),
        ("/basic", "Authorization: Basic", 401),
        ("/basic", "Authorization: Basic !", 401),
        ("/basic", "Authorization: Basic YWRh", 401),
        ("/basic", "Authorization: Basic Og==", 401),
        ("/basic", "Authorization: Basic YWRhOmxvdmVsYWNlcw==", 401),
        ("/basic", "Authorization: Basic YWRhOmxvdmVsYWNlAA==", 401),
        ("/basic", "Authorization: Bearer YWRhOmxvdmVsYWNl", 401),
        ("/basic", "Authorization: Basic YWRhOmxvdmVsYWNl\r\nAuthorization: Basic x", 401),
        ("/bearer", "Authorization: Bearer sesame", 200),
        ("/bearer", "Authorization: BEARER sesame", 200),
        ("/bearer", "Authorization: Bearer sesam", 401),
        ("/bearer", "Authorization: Bearer sesamee", 401),
        ("/bearer", "Authorization: Bearer ", 401),
        ("/bearer", "Authorization: sesame", 401),
        ("/bearer", "X: y", 401),
    ];
    let tickets = Tickets::new(Duration::from_secs(60));
    on_each_backend(
        &Limits::default(),
        move || app(&tickets),
        |address, _| {
            for (path, field, status) in cases {
                let fields = format!("Host: h\r\nConnection: close\r\n{field}");
                let answer =
                    talk(address, format!("GET {path} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes());
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{field}: {answer}");
                let asks = answer.contains("\r\nWWW-Authenticate: ");
                assert_eq!(asks, status == 401, "{field}");
            }
            let answer = talk(address, b"GET /basic HTTP/1.0\r\n\r\n");
            let challenge = "WWW-Authenticate: Basic realm=\"a realm\", charset=\"UTF-8\"\r\n";
            assert!(answer.contains(challenge), "{answer}");
        },
    );
}

#[test]
fn a_ticket_opens_one_socket() {
    let tickets = Tickets::new(Duration::from_secs(60));
    on_each_backend(
        &Limits::default(),
        move || app(&tickets),
        |address, _| {
            let answer = talk(
                address,
                b"GET /basic HTTP/1.0\r\nAuthorization: Basic YWRhOmxvdmVsYWNl\r\n\r\n",
            );
            let ticket = answer.split_once("\r\n\r\n").unwrap().1;
            for (ticket, status) in [("", 401), (ticket, 101), (ticket, 401)] {
                let mut peer = connect(address);
                let request = format!(
                    "GET /ws?ticket={ticket} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Version: 13\r\n\r\n"
                );
                peer.write_all(request.as_bytes()).unwrap();
                let head = head(&mut peer);
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            }
        },
    );
}
