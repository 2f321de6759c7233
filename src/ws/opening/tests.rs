//! A table of requests, good, borderline and bad, and what each must come to (RFC 6455 §4.2.1).

use super::*;
use crate::http::{Decoder, Event, HeaderSlots, Limits};

/// What a request comes to: `101` and the subprotocols, or the status and the fault.
fn outcome(request: &str) -> String {
    let mut bytes = request.as_bytes().to_vec();
    let mut decoder = Decoder::default();
    let mut slots = HeaderSlots::new();
    let step = match decoder.next(&mut bytes, &mut slots, &Limits::default()) {
        Ok(step) => step,
        Err(error) => return format!("{} http::{error:?}", error.status().code()),
    };
    let Some(Event::Request(head)) = step.event else { return "incomplete".into() };
    match Opening::read(&head) {
        Ok(opening) => {
            assert!(Opening::is_asked_for(&head));
            let protocols: Vec<&str> = opening.protocols().collect();
            let mut words = vec!["101"];
            words.extend(protocols);
            words.join(" ")
        }
        Err(error) => format!("{} {error:?}", error.status().code()),
    }
}

/// A good request: the one of RFC 6455 §1.3 with its fields in one place each.
const GOOD: [&str; 6] = [
    "GET /chat HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// The good request with one line replaced (or left out, if `line` is empty).
fn with(index: usize, line: &str) -> String {
    let mut lines = GOOD;
    lines[index] = line;
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    lines.join("\r\n") + "\r\n\r\n"
}

/// The good request with lines added.
fn and(lines: &str) -> String {
    format!("{}\r\n{lines}\r\n\r\n", GOOD.join("\r\n"))
}

/// Which line of the good request is replaced, by what, and what the request comes to.
const LINES: &[(usize, &str, &str)] = &[
    // 1: GET, HTTP/1.1 or higher, a target.
    (0, "GET /chat HTTP/1.1", "101"),
    (0, "GET / HTTP/1.1", "101"),
    (0, "GET /chat?a=b HTTP/1.1", "101"),
    (0, "GET http://server.example.com/chat HTTP/1.1", "101"),
    (0, "GET /chat HTTP/1.0", "400 HttpVersion"),
    (0, "GET /chat HTTP/0.9", "505 http::Version"),
    (0, "GET /chat HTTP/2.0", "505 http::Version"),
    (0, "get /chat HTTP/1.1", "405 Method"),
    (0, "POST /chat HTTP/1.1", "405 Method"),
    (0, "HEAD /chat HTTP/1.1", "405 Method"),
    (0, "OPTIONS * HTTP/1.1", "405 Method"),
    (0, "PUT /chat HTTP/1.1", "405 Method"),
    (0, "GET chat HTTP/1.1", "400 http::Target"),
    (0, "GET /chat#x HTTP/1.1", "400 http::Target"),
    (0, "GET ftp://server.example.com/chat HTTP/1.1", "400 http::Target"),
    // 2: Host.
    (1, "", "400 http::MissingHost"),
    (1, "Host:", "400 http::Host"),
    (1, "Host: a\r\nHost: a", "400 http::Host"),
    (1, "host: server.example.com:8080", "101"),
    (1, "Host: [::1]:9001", "101"),
    // 3: Upgrade.
    (2, "", "426 NotUpgrade"),
    (2, "Upgrade:", "426 NotUpgrade"),
    (2, "Upgrade: WebSocket", "101"),
    (2, "UPGRADE: WEBSOCKET", "101"),
    (2, "Upgrade:websocket", "101"),
    (2, "Upgrade: \t websocket \t", "101"),
    (2, "Upgrade: h2c", "426 NotUpgrade"),
    (2, "Upgrade: websockets", "426 NotUpgrade"),
    (2, "Upgrade: web socket", "426 NotUpgrade"),
    (2, "Upgrade: websocket/13", "426 NotUpgrade"),
    (2, "Upgrade: h2c, websocket", "101"),
    (2, "Upgrade: h2c\r\nUpgrade: websocket", "101"),
    // 4: Connection.
    (3, "", "400 Connection"),
    (3, "Connection:", "400 Connection"),
    (3, "Connection: upgrade", "101"),
    (3, "Connection: UPGRADE", "101"),
    (3, "Connection: keep-alive, Upgrade", "101"),
    (3, "Connection: Upgrade , keep-alive", "101"),
    (3, "Connection: keep-alive\r\nConnection: Upgrade", "101"),
    (3, "Connection: keep-alive", "400 Connection"),
    (3, "Connection: close", "400 Connection"),
    (3, "Connection: Upgraded", "400 Connection"),
    (3, "Connection: keep-alive Upgrade", "400 Connection"),
    // 5: Sec-WebSocket-Key.
    (4, "", "400 Key"),
    (4, "Sec-WebSocket-Key:", "400 Key"),
    (4, "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==", "101"),
    (4, "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==", "101"),
    (4, "Sec-WebSocket-Key: /+/+/+/+/+/+/+/+/+/+/w==", "101"),
    (4, "Sec-WebSocket-Key:   dGhlIHNhbXBsZSBub25jZQ==  ", "101"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWQ=", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWRk", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j====", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ-_", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSB ub25jZQ==", "400 Key"),
    (4, "Sec-WebSocket-Key: dGhlIHNhbXBs", "400 Key"),
    (
        4,
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "400 Key",
    ),
    // 6: Sec-WebSocket-Version.
    (5, "", "426 Version"),
    (5, "Sec-WebSocket-Version:", "426 Version"),
    (5, "SEC-WEBSOCKET-VERSION: 13", "101"),
    (5, "Sec-WebSocket-Version:13", "101"),
    (5, "Sec-WebSocket-Version: 8", "426 Version"),
    (5, "Sec-WebSocket-Version: 0", "426 Version"),
    (5, "Sec-WebSocket-Version: 7", "426 Version"),
    (5, "Sec-WebSocket-Version: 14", "426 Version"),
    (5, "Sec-WebSocket-Version: 013", "426 Version"),
    (5, "Sec-WebSocket-Version: +13", "426 Version"),
    (5, "Sec-WebSocket-Version: 13, 8", "426 Version"),
    (5, "Sec-WebSocket-Version: 8, 13", "426 Version"),
    (5, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8", "426 Version"),
    (5, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13", "426 Version"),
];

#[test]
fn each_line_must_be_as_the_rfc_demands() {
    assert!(LINES.len() >= 70);
    for (index, line, expected) in LINES {
        assert_eq!(outcome(&with(*index, line)), *expected, "{line}");
    }
}

#[test]
fn other_fields_are_what_they_are() {
    let many: Vec<String> = (0..65).map(|index| format!("p{index}")).collect();
    let protocols = |count: usize| format!("Sec-WebSocket-Protocol: {}", many[..count].join(","));
    let all = format!("101 {}", many[..64].join(" "));
    let cases = [
        // 8: subprotocols, in the client's order.
        ("Sec-WebSocket-Protocol: chat", "101 chat"),
        ("Sec-WebSocket-Protocol: soap, wamp.2.json ,mqtt", "101 soap wamp.2.json mqtt"),
        ("Sec-WebSocket-Protocol: b\r\nsec-websocket-protocol: a", "101 b a"),
        ("Sec-WebSocket-Protocol: a,, b,", "101 a b"),
        ("Sec-WebSocket-Protocol: a, A", "101 a A"),
        ("Sec-WebSocket-Protocol: a, a", "400 Protocols"),
        ("Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: a", "400 Protocols"),
        ("Sec-WebSocket-Protocol: a b", "400 Protocols"),
        ("Sec-WebSocket-Protocol: a/b", "400 Protocols"),
        ("Sec-WebSocket-Protocol: \"a\"", "400 Protocols"),
        ("Sec-WebSocket-Protocol: \u{e4}", "400 Protocols"),
        ("Sec-WebSocket-Protocol:", "400 Protocols"),
        ("Sec-WebSocket-Protocol: , ,", "400 Protocols"),
        (&protocols(64), &all),
        (&protocols(65), "400 Protocols"),
        // 9, 10: extensions that are not known, and fields that are not, are ignored; what is no
        // list of extensions fails (§9.1).
        ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "101"),
        ("Sec-WebSocket-Extensions: \"", "400 Extensions"),
        ("Sec-WebSocket-Extensions: foo\r\nSec-WebSocket-Extensions: a b", "400 Extensions"),
        ("Origin: http://elsewhere.example", "101"),
        ("Cookie: a=b\r\nX-Other: c", "101"),
        // Bodies, whose bytes would be taken for frames.
        ("Content-Length: 0", "101"),
        ("Content-Length: 3", "400 Body"),
        ("Transfer-Encoding: chunked", "400 Body"),
        ("Expect: 100-continue\r\nContent-Length: 3", "400 Body"),
    ];
    for (lines, expected) in cases {
        assert_eq!(outcome(&and(lines)), expected, "{lines}");
    }
}

#[test]
fn routes_may_answer_what_does_not_ask_for_a_websocket() {
    let asks = |request: &str| {
        let mut bytes = request.as_bytes().to_vec();
        let (mut decoder, mut slots) = (Decoder::default(), HeaderSlots::new());
        let step = decoder.next(&mut bytes, &mut slots, &Limits::default()).expect("a good head");
        let Some(Event::Request(head)) = step.event else { panic!("a head") };
        Opening::is_asked_for(&head)
    };
    assert!(asks(&with(0, GOOD[0])));
    assert!(asks(&with(4, "")), "badly asked for, but asked for");
    assert!(asks(&with(0, "POST / HTTP/1.1")));
    assert!(!asks(&with(2, "")));
    assert!(!asks(&with(2, "Upgrade: h2c")));
    // RFC 9110 §7.8.
    assert!(!asks(&with(0, "GET / HTTP/1.0")));
}

#[test]
fn the_proof_is_that_of_the_rfc() {
    // RFC 6455 §1.3 and §4.2.2.
    let accept = Accept::of_key(b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(accept.as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let other = Accept::of_key(b"AQIDBAUGBwgJCgsMDQ4PEC==");
    assert_ne!(other, accept);
}

#[test]
fn the_101_is_that_of_the_rfc() {
    let accept = Accept::of_key(b"dGhlIHNhbXBsZSBub25jZQ==");
    let write = |protocol, fields: &[(&str, &str)]| {
        let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        let result = append_accept(&mut outbox, accept, protocol, None, fields, &date);
        let bytes = outbox.contiguous().expect("one piece").to_vec();
        assert_eq!(result.is_err(), bytes.is_empty(), "whole or not at all");
        result.map(|()| String::from_utf8(bytes).expect("text"))
    };
    let start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert_eq!(write(None, &[]), Ok(format!("{start}\r\n")));
    assert_eq!(
        write(Some("chat"), &[("Set-Cookie", "a=b"), ("X-Node", "7")]),
        Ok(format!("{start}Sec-WebSocket-Protocol: chat\r\nSet-Cookie: a=b\r\nX-Node: 7\r\n\r\n"))
    );
    for (fields, error) in [
        (("Connection", "close"), ResponseError::ReservedField),
        (("upgrade", "h2c"), ResponseError::ReservedField),
        (("Sec-WebSocket-Accept", "x"), ResponseError::ReservedField),
        (("sec-websocket-protocol", "x"), ResponseError::ReservedField),
        (("Content-Length", "0"), ResponseError::ReservedField),
        (("Transfer-Encoding", "chunked"), ResponseError::ReservedField),
        (("X", "a\r\nSet-Cookie: b"), ResponseError::FieldValue),
        (("X Y", "a"), ResponseError::FieldName),
    ] {
        assert_eq!(write(None, &[("X-Good", "v"), fields]), Err(error), "{fields:?}");
    }
    for protocol in ["", "a b", "a\r\nb", "a,b"] {
        assert_eq!(write(Some(protocol), &[]), Err(ResponseError::FieldValue));
    }
}

#[test]
fn faults_have_the_status_and_fields_that_their_rfcs_demand() {
    use HandshakeError::{
        Body, Connection, HttpVersion, Key, Method, NotUpgrade, Origin, Protocols, Version,
    };
    let all = [
        (Method, 405),
        (HttpVersion, 400),
        (NotUpgrade, 426),
        (Connection, 400),
        (Version, 426),
        (Key, 400),
        (Body, 400),
        (Protocols, 400),
        (Origin, 403),
    ];
    for (error, code) in all {
        assert_eq!(error.status().code(), code, "{error}");
        let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
        let mut writer = ResponseWriter::new(&mut outbox, &date, Exchange::FAULT);
        let fields = error.fields().iter().copied();
        writer.send(error.status(), fields, b"").expect("fields that can be sent");
        let response = String::from_utf8(outbox.contiguous().expect("one piece").to_vec());
        let response = response.expect("text");
        let has = |line: &str| response.contains(&format!("\r\n{line}\r\n"));
        assert_eq!(has("Allow: GET"), code == 405, "{response}");
        assert_eq!(has("Sec-WebSocket-Version: 13"), code == 426, "{response}");
        assert_eq!(has("Upgrade: websocket"), code == 426, "{response}");
        // RFC 9110 §7.8.
        assert_eq!(has("Connection: upgrade, close"), code == 426, "{response}");
    }
}
