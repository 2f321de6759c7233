//! The client's side of the opening handshake (RFC 6455 §4.1).

use super::*;
use crate::{
    http::{Date, Decoder, Event, HeaderSlots, Limits, ResponseHeadDecoder},
    ws::{Opening, append_accept},
};

const NONCE: [u8; 16] = *b"the sample nonce";

fn written(request: &ClientRequest<'_>) -> Result<String, ClientHandshakeError> {
    let mut outbox = Outbox::default();
    let result = ClientHandshake::new(NONCE).append_request(&mut outbox, request);
    let bytes = outbox.contiguous().expect("one piece").to_vec();
    assert_eq!(result.is_err(), bytes.is_empty(), "whole or not at all");
    result.map(|()| String::from_utf8(bytes).expect("text"))
}

fn verified(response: &str, offered: &[&str]) -> Result<Option<String>, ClientHandshakeError> {
    let mut bytes = response.as_bytes().to_vec();
    let (mut decoder, mut slots) = (ResponseHeadDecoder::default(), HeaderSlots::new());
    let step = decoder.next(&mut bytes, &mut slots, &Limits::default()).expect("a good head");
    let head = step.head.expect("a whole head");
    let protocol = ClientHandshake::new(NONCE).verify(&head, offered)?;
    Ok(protocol.map(str::to_owned))
}

#[test]
fn the_request_is_that_of_the_rfc() {
    let request = ClientRequest {
        host: "server.example.com:8080",
        target: "/chat?room=1",
        protocols: &["chat", "superchat"],
        origin: Some("http://example.com"),
        deflate: None,
        fields: &[("Authorization", "Bearer x"), ("Cookie", "a=b")],
    };
    let expected = "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com:8080\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\
        Authorization: Bearer x\r\nCookie: a=b\r\n\r\n";
    assert_eq!(written(&request).as_deref(), Ok(expected));
    let expected = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    assert_eq!(written(&ClientRequest::default()).as_deref(), Ok(expected));
}

#[test]
fn what_would_break_the_request_is_not_sent() {
    use ClientHandshakeError::{Field, Host, Protocols, Target};
    let good = ClientRequest::default();
    for host in ["", "a b", "a/b", "a\r\nX: y", "user@a", "a:x", ":80"] {
        assert_eq!(written(&ClientRequest { host, ..good }), Err(Host), "{host}");
    }
    for target in ["", "chat", "/a b", "/a#b", "/a\r\nX: y", "http://a/", "*", "/\u{e4}", "/\0"] {
        assert_eq!(written(&ClientRequest { target, ..good }), Err(Target), "{target}");
    }
    for protocols in [&[""][..], &["a b"], &["a", "a"], &["a,b"], &["a\r\nX: y"]] {
        assert_eq!(written(&ClientRequest { protocols, ..good }), Err(Protocols), "{protocols:?}");
    }
    assert_eq!(written(&ClientRequest { origin: Some("a\r\nX: y"), ..good }), Err(Field));
    for field in [
        ("", "v"),
        ("A B", "v"),
        ("A", "v\r\nX: y"),
        ("A", "v\n"),
        ("A", " v"),
        ("host", "v"),
        ("Upgrade", "h2c"),
        ("Connection", "close"),
        ("Sec-WebSocket-Key", "v"),
        ("sec-websocket-version", "8"),
        ("Sec-WebSocket-Protocol", "v"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Origin", "v"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
    ] {
        let fields = &[("X-Good", "v"), field];
        assert_eq!(written(&ClientRequest { fields, ..good }), Err(Field), "{field:?}");
    }
}

const GOOD: [&str; 4] = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

#[test]
fn the_response_must_be_as_the_rfc_demands() {
    use ClientHandshakeError::{
        Accept, Connection, Extension, HttpVersion, Protocol, Status, Upgrade,
    };
    let status = |code| Err(Status(http_status(code)));
    let some = |protocol: &str| Ok(Some(String::from(protocol)));
    let cases = [
        (0, "HTTP/1.1 101 Switching Protocols", Ok(None)),
        (0, "HTTP/1.1 101 ", Ok(None)),
        (0, "HTTP/1.1 101 Anything", Ok(None)),
        (0, "HTTP/1.0 101 Switching Protocols", Err(HttpVersion)),
        (0, "HTTP/1.1 200 OK", status(200)),
        (0, "HTTP/1.1 401 Unauthorized", status(401)),
        (0, "HTTP/1.1 302 Found", status(302)),
        (0, "HTTP/1.1 100 Continue", status(100)),
        (0, "HTTP/1.1 426 Upgrade Required", status(426)),
        (1, "", Err(Upgrade)),
        (1, "Upgrade:", Err(Upgrade)),
        (1, "upgrade: WebSocket", Ok(None)),
        (1, "Upgrade: WEBSOCKET", Ok(None)),
        (1, "Upgrade: h2c", Err(Upgrade)),
        (1, "Upgrade: websocket, h2c", Err(Upgrade)),
        (1, "Upgrade: websocket\r\nUpgrade: websocket", Err(Upgrade)),
        (2, "", Err(Connection)),
        (2, "Connection: close", Err(Connection)),
        (2, "Connection: upgrade", Ok(None)),
        (2, "CONNECTION: UPGRADE", Ok(None)),
        (2, "Connection: keep-alive, Upgrade", Ok(None)),
        (2, "Connection: keep-alive\r\nConnection: Upgrade", Ok(None)),
        (3, "", Err(Accept)),
        (3, "Sec-WebSocket-Accept:", Err(Accept)),
        (3, "sec-websocket-accept:   s3pPLMBiTxaQ9kYGzzhZRbK+xOo=  ", Ok(None)),
        (3, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo", Err(Accept)),
        (3, "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=", Err(Accept)),
        (3, "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==", Err(Accept)),
        (
            3,
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            Err(Accept),
        ),
        (4, "Sec-WebSocket-Extensions: permessage-deflate", Err(Extension)),
        (4, "Sec-WebSocket-Extensions: x-unknown; a=b", Err(Extension)),
        (4, "Sec-WebSocket-Extensions:", Ok(None)),
        (4, "Sec-WebSocket-Protocol: chat", some("chat")),
        (4, "sec-websocket-protocol: superchat", some("superchat")),
        (4, "Sec-WebSocket-Protocol: other", Err(Protocol)),
        (4, "Sec-WebSocket-Protocol: Chat", Err(Protocol)),
        (4, "Sec-WebSocket-Protocol: chat, superchat", Err(Protocol)),
        (4, "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat", Err(Protocol)),
        (4, "Sec-WebSocket-Protocol:", Err(Protocol)),
        (4, "X-Other: y", Ok(None)),
    ];
    for (index, line, expected) in cases {
        let mut lines = GOOD.to_vec();
        lines.resize(5, "");
        lines[index] = line;
        lines.retain(|line| !line.is_empty());
        let response = lines.join("\r\n") + "\r\n\r\n";
        assert_eq!(verified(&response, &["chat", "superchat"]), expected, "{line}");
    }
    let chosen = format!("{}\r\nSec-WebSocket-Protocol: chat\r\n\r\n", GOOD.join("\r\n"));
    assert_eq!(verified(&chosen, &[]), Err(Protocol), "none was offered");
}

fn http_status(code: u16) -> Status {
    Status::new(code).expect("a status")
}

#[test]
fn both_sides_understand_each_other() {
    let request = ClientRequest { protocols: &["a", "b"], ..ClientRequest::default() };
    for seed in (0..=255).step_by(if cfg!(miri) { 50 } else { 1 }) {
        let handshake = ClientHandshake::new([seed; 16]);
        let mut outbox = Outbox::default();
        handshake.append_request(&mut outbox, &request).expect("a good request");
        let mut bytes = outbox.contiguous().expect("one piece").to_vec();
        let (mut decoder, mut slots) = (Decoder::default(), HeaderSlots::new());
        let step = decoder.next(&mut bytes, &mut slots, &Limits::default()).expect("a good head");
        let Some(Event::Request(head)) = step.event else { panic!("a head") };
        let opening = Opening::read(&head).expect("a good handshake");
        let chosen = opening.protocols().last();

        let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
        append_accept(&mut outbox, opening.accept(), chosen, None, [], &date)
            .expect("a good answer");
        let mut bytes = outbox.contiguous().expect("one piece").to_vec();
        let (mut decoder, mut slots) = (ResponseHeadDecoder::default(), HeaderSlots::new());
        let step = decoder.next(&mut bytes, &mut slots, &Limits::default()).expect("a good head");
        let head = step.head.expect("a whole head");
        assert_eq!(handshake.verify(&head, request.protocols), Ok(Some("b")));
        // The answer to another client's key proves nothing.
        let other = ClientHandshake::new([seed ^ 1; 16]);
        let fault = other.verify(&head, request.protocols);
        assert_eq!(fault, Err(ClientHandshakeError::Accept));
    }
}
