//! The blocking client against a peer that speaks in literal bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "the peer is an ordinary blocking socket")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

use sockeye::{
    client::{Client, CloseCode, Error, Event},
    http::Status,
    ws,
};

/// What the peer reads of the client, unmasked.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    first: u8,
    payload: Vec<u8>,
}

/// A server for one connection. It answers the opening handshake with `answer`, in which KEY
/// stands for what proves that it has read the key, and goes on as `then` says.
fn serve<T: Send + 'static>(
    answer: &'static str,
    then: impl FnOnce(TcpStream, String) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/chat?a=b", listener.local_addr().unwrap());
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let answer = answer.replace('\n', "\r\n").replace("KEY", &proof(&head));
        // In two pieces, so that the client has to put the head together.
        let (first, rest) = answer.split_at(answer.len() / 2);
        stream.write_all(first.as_bytes()).unwrap();
        stream.flush().unwrap();
        std::thread::yield_now();
        stream.write_all(rest.as_bytes()).unwrap();
        then(stream, head)
    });
    (url, peer)
}

/// RFC 6455 §4.2.2: the value of Sec-WebSocket-Accept.
fn proof(head: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha1::{Digest, Sha1};
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
    STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

/// Reads a frame, which must be masked and shorter than 64 KiB.
fn read_frame(stream: &mut TcpStream) -> Frame {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[1] & 0x80, 0x80, "RFC 6455 §5.3: clients mask");
    let length = match header[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u16::from_be_bytes(length)
        }
        short => u16::from(short),
    };
    let mut key = [0; 4];
    stream.read_exact(&mut key).unwrap();
    let mut payload = vec![0; length.into()];
    stream.read_exact(&mut payload).unwrap();
    payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= key[i % 4]);
    Frame { first: header[0], payload }
}

fn frame(first: u8, payload: &[u8]) -> Frame {
    Frame { first, payload: payload.to_vec() }
}

/// Whether the client has ended the connection, and sent nothing before.
fn has_ended(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

fn connect(url: &str) -> Client {
    Client::builder(url).timeout(Duration::from_secs(10)).connect().unwrap()
}

const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\
    Connection: Upgrade\nSec-WebSocket-Accept: KEY\n\n";

#[test]
fn the_request_says_what_was_asked_for() {
    let (url, peer) = serve(
        "HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 101 OK\nUpgrade: WebSocket\n\
         Connection: keep-alive, upgrade\nSec-WebSocket-Protocol: b\n\
         Sec-WebSocket-Accept: KEY\n\n",
        |_, head| head,
    );
    let client = Client::builder(&url)
        .protocol("a")
        .protocol("b")
        .origin("https://example.org")
        .field("Cookie", "c=d")
        .connect()
        .unwrap();
    assert_eq!(client.protocol(), Some("b"));
    let head = peer.join().unwrap();
    assert!(head.starts_with("GET /chat?a=b HTTP/1.1\r\n"), "{head}");
    let host = format!("Host: {}", url.strip_prefix("ws://").unwrap().split('/').next().unwrap());
    for line in [
        &host,
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: a, b",
        "Origin: https://example.org",
        "Cookie: c=d",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {head}");
    }
}

#[test]
fn messages_go_both_ways_and_pings_are_answered() {
    let (url, peer) = serve(ACCEPT, |mut stream, _| {
        let frames = [
            read_frame(&mut stream),
            read_frame(&mut stream),
            read_frame(&mut stream),
            read_frame(&mut stream),
        ];
        // A ping between the fragments of a text, then a pong.
        stream.write_all(b"\x01\x02he\x89\x01?\x80\x03llo\x8a\x01!\x82\x00").unwrap();
        (frames, read_frame(&mut stream), read_frame(&mut stream), {
            stream.write_all(b"\x88\x06\x03\xe8done").unwrap();
            has_ended(&mut stream)
        })
    });
    let mut client = connect(&url);
    client.send("héllo").unwrap();
    client.send(&[0xff; 300]).unwrap();
    client.ping(b"are you there").unwrap();
    client.send("").unwrap();
    assert!(matches!(client.ping(&[0; 126]), Err(Error::PingTooLong)));
    assert_eq!(client.receive().unwrap(), Event::Ping(b"?".to_vec()));
    assert_eq!(client.receive().unwrap(), Event::Text("hello".into()));
    assert_eq!(client.receive().unwrap(), Event::Pong(b"!".to_vec()));
    assert_eq!(client.receive_message().unwrap(), Event::Binary(Vec::new()));
    let closed = client.close(CloseCode::NORMAL, "bye").unwrap();
    assert_eq!(closed, Event::Closed { code: CloseCode::NORMAL, reason: "done".into() });
    assert!(matches!(client.receive(), Err(Error::Closed)));
    assert!(matches!(client.send("more"), Err(Error::Closed)));
    drop(client);
    let (frames, pong, close, ended) = peer.join().unwrap();
    assert_eq!(frames[0], frame(0x81, "héllo".as_bytes()));
    assert_eq!(frames[1], frame(0x82, &[0xff; 300]));
    assert_eq!(frames[2], frame(0x89, b"are you there"));
    assert_eq!(frames[3], frame(0x81, b""));
    assert_eq!(pong, frame(0x8a, b"?"));
    assert_eq!(close, frame(0x88, b"\x03\xe8bye"));
    assert!(ended);
}

#[test]
fn fragments_carry_the_opcode_once() {
    let (url, peer) = serve(ACCEPT, |mut stream, _| [(); 5].map(|()| read_frame(&mut stream)));
    let mut client = connect(&url);
    client.send_fragment("a", false).unwrap();
    assert!(matches!(client.send("whole"), Err(Error::FragmentsUnderWay)));
    assert!(matches!(client.send_fragment(b"bytes", true), Err(Error::FragmentsUnderWay)));
    client.ping(b"").unwrap();
    client.send_fragment("b", false).unwrap();
    client.send_fragment("c", true).unwrap();
    client.send(b"whole").unwrap();
    let expected = [
        frame(0x01, b"a"),
        frame(0x89, b""),
        frame(0x00, b"b"),
        frame(0x80, b"c"),
        frame(0x82, b"whole"),
    ];
    assert_eq!(peer.join().unwrap(), expected);
}

#[test]
fn the_servers_close_is_answered_once_and_the_connection_ended_after_it() {
    for (close, code, reason, answer) in [
        (&b"\x88\x02\x03\xe9"[..], CloseCode::GOING_AWAY, "", &b"\x03\xe9"[..]),
        (b"\x88\x05\x0f\xa1abc", CloseCode::new(4001).unwrap(), "abc", b"\x0f\xa1"),
        (b"\x88\x00", CloseCode::NO_STATUS, "", b""),
    ] {
        let (url, peer) = serve(ACCEPT, move |mut stream, _| {
            stream.write_all(close).unwrap();
            let answer = read_frame(&mut stream);
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            (answer, has_ended(&mut stream))
        });
        let mut client = connect(&url);
        assert_eq!(client.receive().unwrap(), Event::Closed { code, reason: reason.into() });
        assert_eq!(peer.join().unwrap(), (frame(0x88, answer), true));
    }
}

#[test]
fn messages_under_way_can_be_received_after_the_close_was_sent() {
    let (url, peer) = serve(ACCEPT, |mut stream, _| {
        let close = read_frame(&mut stream);
        // A ping is not answered any more.
        stream.write_all(b"\x81\x04late\x89\x00\x88\x02\x03\xe8").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        (close, has_ended(&mut stream))
    });
    let mut client = connect(&url);
    client.send_close(CloseCode::NORMAL, "").unwrap();
    assert!(matches!(client.send("more"), Err(Error::Closed)));
    assert_eq!(client.receive().unwrap().text(), Some("late"));
    assert_eq!(client.receive().unwrap(), Event::Ping(Vec::new()));
    assert!(matches!(client.receive().unwrap(), Event::Closed { .. }));
    assert_eq!(peer.join().unwrap(), (frame(0x88, b"\x03\xe8"), true));
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_so() {
    for (bytes, error, code) in [
        (&b"\x81\x85\0\0\0\0hello"[..], ws::Error::MaskedFrame, 1002_u16),
        (b"\xc1\x00", ws::Error::ReservedBits, 1002),
        (b"\x81\x01\xff", ws::Error::InvalidUtf8, 1007),
        (b"\x82\x7e\x04\x01", ws::Error::MessageTooLong, 1009),
        (b"\x80\x00", ws::Error::UnexpectedContinuation, 1002),
    ] {
        let (url, peer) = serve(ACCEPT, move |mut stream, _| {
            stream.write_all(bytes).unwrap();
            (read_frame(&mut stream), has_ended(&mut stream))
        });
        let timeout = Duration::from_secs(10);
        let builder = Client::builder(&url).max_payload_length(1024).timeout(timeout);
        let mut client = builder.connect().unwrap();
        match client.receive() {
            Err(Error::Protocol(found)) => assert_eq!(found, error),
            other => panic!("{other:?}"),
        }
        assert!(matches!(client.receive(), Err(Error::Closed)));
        assert_eq!(peer.join().unwrap(), (frame(0x88, &code.to_be_bytes()), true));
    }
}

#[test]
fn an_end_without_a_close_is_abnormal() {
    let (url, peer) = serve(ACCEPT, |stream, _| drop(stream));
    let mut client = connect(&url);
    let abnormal = Event::Closed { code: CloseCode::ABNORMAL, reason: String::new() };
    assert_eq!(client.receive().unwrap(), abnormal);
    assert!(matches!(client.receive(), Err(Error::Closed)));
    peer.join().unwrap();
}

#[test]
fn waiting_has_an_end_and_the_connection_goes_on() {
    let (url, peer) = serve(ACCEPT, |mut stream, _| {
        let frame = read_frame(&mut stream);
        stream.write_all(b"\x81\x05there").unwrap();
        frame
    });
    let mut client = Client::builder(&url).timeout(Duration::from_millis(30)).connect().unwrap();
    assert!(matches!(client.receive(), Err(Error::TimedOut(Some(_)))));
    client.set_timeout(Some(Duration::from_secs(10))).unwrap();
    client.send("hello").unwrap();
    assert_eq!(client.receive().unwrap().text(), Some("there"));
    assert_eq!(peer.join().unwrap(), frame(0x81, b"hello"));
}

#[test]
fn a_large_message_arrives_in_one_piece() {
    const BYTES: usize = 20 << 20;
    let (url, peer) = serve(ACCEPT, |mut stream, _| {
        let mut header = [0; 10];
        stream.read_exact(&mut header).unwrap();
        let mut payload = vec![0; 4 + BYTES];
        stream.read_exact(&mut payload).unwrap();
        header[1] &= 0x7f;
        stream.write_all(&header).unwrap();
        let (key, payload) = payload.split_at_mut(4);
        payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= key[i % 4]);
        stream.write_all(payload).unwrap();
    });
    let mut client = connect(&url);
    let message: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
    client.send(&message).unwrap();
    let Event::Binary(echo) = client.receive().unwrap() else { panic!("a binary message") };
    assert!(echo == message, "the echo differs");
    peer.join().unwrap();
}

#[test]
fn servers_that_do_not_open_a_websocket_are_refused() {
    let refusal = |answer| {
        let (url, peer) = serve(answer, |_, _| ());
        let error = Client::builder(&url).protocol("a").connect().unwrap_err();
        peer.join().unwrap();
        error
    };
    match refusal("HTTP/1.1 404 Not Found\nContent-Length: 0\n\n") {
        Error::Refused(status) => assert_eq!(status, Status::NOT_FOUND),
        other => panic!("{other}"),
    }
    for answer in [
        "HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: Upgrade\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\n",
        "HTTP/1.1 101 OK\nConnection: Upgrade\nSec-WebSocket-Accept: KEY\n\n",
        "HTTP/1.1 101 OK\nUpgrade: websocket\nSec-WebSocket-Accept: KEY\n\n",
        "HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: KEY\n\
         Sec-WebSocket-Protocol: b\n\n",
        "HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: KEY\n\
         Sec-WebSocket-Extensions: permessage-deflate\n\n",
    ] {
        assert!(matches!(refusal(answer), Error::Handshake(_)), "{answer}");
    }
    assert!(matches!(refusal("SSH-2.0-OpenSSH\n\n"), Error::NotHttp(_)));
    match refusal("HTTP/1.1 1") {
        Error::Io(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof),
        other => panic!("{other}"),
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = |url| Client::connect(url).unwrap_err().to_string();
    assert!(error("wss://localhost/").contains("ws://"));
    assert!(error("localhost:9001").contains("ws://HOST:PORT/PATH"));
    let refused = error("ws://127.0.0.1:1/");
    assert!(refused.contains("is the server running"), "{refused}");
    assert!(error("ws+unix:/nonexistent/socket").contains("/nonexistent/socket"));
}

#[test]
fn unix_sockets_are_connected_to_as_well() {
    let path = std::env::temp_dir().join(format!("sockeye-client-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let answer = ACCEPT.replace('\n', "\r\n").replace("KEY", &proof(&head));
        stream.write_all(answer.as_bytes()).unwrap();
        stream.write_all(b"\x81\x02hi").unwrap();
        head
    });
    let mut client = connect(&format!("ws+unix:{}:/lobby", path.display()));
    assert_eq!(client.receive().unwrap().text(), Some("hi"));
    let head = peer.join().unwrap();
    assert!(head.starts_with("GET /lobby HTTP/1.1\r\nHost: localhost\r\n"), "{head}");
    std::fs::remove_file(path).unwrap();
}
