//! Hosts, and pages that leave a request to the next one.

use std::io::Write;

use sockeye::{App, Limits, Message, Response, Server, WebSocket, on_message};

use crate::bed::{connect, head, on_each_backend, response, talk};

fn named(name: &'static str) -> impl FnMut(&sockeye::Request<'_>) -> Response {
    move |_| Response::text(name)
}

fn ask(address: std::net::SocketAddr, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = talk(address, request.as_bytes());
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn hosts_have_apps_of_their_own() {
    let quiet = || on_message(|_: &mut WebSocket<'_, ()>, _: Message<'_>| {});
    let app = move || {
        let api =
            App::new().get("/", named("api")).get("/v1", named("v1")).websocket("/ws", quiet());
        let six = App::new().get("/", named("six"));
        App::new().get("/", named("any")).host("API.example.org", api).host("[::1]", six)
    };
    on_each_backend(&Limits::default(), app, |address, _| {
        for (host, path, body) in [
            ("example.org", "/", "any"),
            ("api.example.org", "/", "api"),
            ("Api.Example.Org:8080", "/", "api"),
            ("api.example.org", "/v1", "v1"),
            ("api.example.org.evil", "/", "any"),
            ("example.org", "/v1", "404 Not Found"),
            ("[::1]", "/", "six"),
            ("[::1]:80", "/", "six"),
            ("example.org", "http://api.example.org/v1", "v1"),
            ("api.example.org", "http://example.org/", "any"),
        ] {
            assert_eq!(ask(address, host, path), body, "{host} {path}");
        }
        for (host, status) in [("api.example.org", 101), ("example.org", 404)] {
            let mut peer = connect(address);
            let request = format!(
                "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            );
            peer.write_all(request.as_bytes()).unwrap();
            assert!(head(&mut peer).starts_with(&format!("HTTP/1.1 {status} ")), "{host}");
        }
    });
    let twice = || App::new().host("a", App::new()).host("A", App::new());
    let error = Server::new(twice).listen("127.0.0.1:0").workers(1).start().unwrap_err();
    assert!(error.to_string().contains("two apps for the host 'a'"), "{error}");
}

#[test]
fn a_page_passes_a_request_on() {
    let app = || {
        let pass_on = |name: &'static str, wanted: &'static str| {
            move |request: &sockeye::Request<'_>| match request.query("to").as_deref() {
                Some(to) if to == wanted => Response::text(name),
                _ => Response::pass(),
            }
        };
        App::new()
            .get("/a/b", pass_on("literal", "1"))
            .get("/a/:x", pass_on("parameter", "2"))
            .get("/a/*", pass_on("rest", "3"))
            .any("/*", pass_on("last", "4"))
            .post("/p/q", |_, body| match body {
                b"first" => Response::text("first"),
                _ => Response::pass(),
            })
            .with_body("POST", "/p/:x", 10, |_, body| match body {
                b"second" => Response::text("second"),
                _ => Response::pass(),
            })
    };
    on_each_backend(&Limits::default(), app, |address, _| {
        for (to, body) in [
            ("1", "literal"),
            ("2", "parameter"),
            ("3", "rest"),
            ("4", "last"),
            ("5", "404 Not Found"),
        ] {
            assert_eq!(ask(address, "h", &format!("/a/b?to={to}")), body);
        }
        for (body, answer) in [
            ("first", "first"),
            ("second", "second"),
            ("third", "404 Not Found"),
            ("", "404 Not Found"),
        ] {
            for gap in [false, true] {
                let mut peer = connect(address);
                let length = body.len();
                let head =
                    format!("POST /p/q HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
                peer.write_all(head.as_bytes()).unwrap();
                if gap {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                peer.write_all(body.as_bytes()).unwrap();
                let next = b"GET /a/b?to=1 HTTP/1.1\r\nHost: h\r\n\r\n";
                peer.write_all(next).unwrap();
                assert!(response(&mut peer).ends_with(&format!("\r\n\r\n{answer}")), "{body}");
                assert!(response(&mut peer).ends_with("\r\n\r\nliteral"), "{body}");
            }
        }
    });
}
