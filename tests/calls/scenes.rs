//! What is done while a call fails. Each scene says how many connections it has lost; whatever came
//! before the end of one has to be right.

use std::{path::Path, time::Duration};

use sockeye::{App, Files, Response};

use crate::support::{
    Bed, Frame, Log, Peer, Puppet, close_payload, frame, get, handshake, numbered,
};

pub(crate) type Scene = fn(&Bed) -> usize;

pub(crate) const SCENES: [(&str, Scene); 7] = [
    ("a socket opens, gets an echo and closes", echo),
    ("a reader is slow", slow_reader),
    ("a topic has subscribers on two workers", broadcast),
    ("three requests come on one connection", requests),
    ("files are fetched", download),
    ("a body is sent", upload),
    ("the server is shut down", shutdown),
];

/// What is served.
pub(crate) fn app(folder: &Path) -> impl Fn() -> App + Send + Sync + 'static {
    let (log, folder) = (Log::default(), folder.to_owned());
    move || {
        App::new()
            .websocket("/socket", Puppet::new(&log))
            .get("/page", |request| {
                Response::text(request.raw_query().unwrap_or_default().to_owned())
            })
            .post("/length", |_, body| Response::text(body.len().to_string()))
            .files("/files/*", Files::new(&folder))
    }
}

/// The files that are served.
pub(crate) const FILES: [(&str, usize); 2] = [("small", 1000), ("large", 600_000)];

/// What a server has to be able to do after all that.
pub(crate) fn still_serves(bed: &Bed) {
    assert_eq!(echo(bed), 0, "a new connection is served");
}

fn lost(end: Option<()>) -> usize {
    usize::from(end.is_none())
}

fn echo(bed: &Bed) -> usize {
    let mut peer = bed.connect();
    let mut act = || {
        open(&mut peer)?;
        peer.write_if_possible(&frame(Frame::BINARY, b"hello"));
        expect(&mut peer, Frame::BINARY, b"hello")?;
        close(&mut peer)
    };
    lost(act())
}

/// More than all buffers hold: the rest is sent when there is room.
fn slow_reader(bed: &Bed) -> usize {
    let mut peer = bed.connect_narrow();
    let mut act = || {
        open(&mut peer)?;
        let command = format!("send {BURST} {BURST_BYTES}");
        peer.write_if_possible(&frame(Frame::TEXT, command.as_bytes()));
        bed.pass(Duration::from_millis(10));
        for number in 0..BURST {
            expect(&mut peer, Frame::BINARY, &numbered(number, BURST_BYTES))?;
        }
        close(&mut peer)
    };
    lost(act())
}

fn broadcast(bed: &Bed) -> usize {
    let mut all: Vec<Peer> = (0..4).map(|_| bed.connect()).collect();
    let act = |peer: &mut Peer| {
        open(peer)?;
        peer.write_if_possible(&frame(Frame::TEXT, b"subscribe news"));
        expect(peer, Frame::TEXT, b"subscribe: Ok(true)")
    };
    let before = all.len();
    all.retain_mut(|peer| act(peer).is_some());
    let subscribed = all.len();
    let _ = bed.remote().publish("news", "something");
    let _ = bed.remote().publish("news", "more");
    all.retain_mut(|peer| {
        let mut act = || {
            expect(peer, Frame::TEXT, b"something")?;
            expect(peer, Frame::TEXT, b"more")?;
            close(peer)
        };
        act().is_some()
    });
    (before - subscribed) + (subscribed - all.len())
}

fn requests(bed: &Bed) -> usize {
    let mut peer = bed.connect();
    let mut act = || {
        for word in ["one", "two", "three"] {
            peer.write_if_possible(&get(&format!("/page?{word}"), ""));
            let response = peer.response_or_end(true)?;
            assert_eq!((response.status, response.text()), (200, word));
        }
        Some(())
    };
    lost(act())
}

/// What a failed call costs here may be a response that says so.
fn download(bed: &Bed) -> usize {
    let mut peer = bed.connect();
    let mut act = || {
        let mut failed = false;
        for (name, length) in FILES {
            peer.write_if_possible(&get(&format!("/files/{name}"), ""));
            let response = peer.response_or_end(true)?;
            match response.status {
                200 => assert!(response.body == content(length), "the file as it is"),
                404 | 500 | 503 => failed = true,
                status => panic!("{status}"),
            }
        }
        (!failed).then_some(())
    };
    lost(act())
}

pub(crate) fn content(length: usize) -> Vec<u8> {
    (0_u8..251).cycle().take(length).collect()
}

fn upload(bed: &Bed) -> usize {
    let mut peer = bed.connect();
    let mut act = || {
        let head = "POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n";
        peer.write_if_possible(head.as_bytes());
        for _ in 0..20 {
            peer.write_if_possible(&[b'x'; 10_000]);
        }
        let response = peer.response_or_end(true)?;
        assert_eq!((response.status, response.text()), (200, "200000"));
        Some(())
    };
    lost(act())
}

fn shutdown(bed: &Bed) -> usize {
    let mut peer = bed.connect();
    let mut act = || {
        open(&mut peer)?;
        bed.remote().shutdown(Duration::from_secs(5));
        let goodbye = peer.frame_or_end()?;
        assert_eq!(
            (goodbye.opcode, &goodbye.payload[..2]),
            (Frame::CLOSE, &1001_u16.to_be_bytes()[..])
        );
        peer.write_if_possible(&frame(Frame::CLOSE, &close_payload(1001, "")));
        assert_eq!(peer.frame_or_end(), None, "nothing after the close frame");
        Some(())
    };
    let end = act();
    bed.remote().shutdown(Duration::from_secs(5));
    drop(peer);
    bed.wait_until("the server ends", || bed.has_ended());
    lost(end)
}

fn open(peer: &mut Peer) -> Option<()> {
    peer.write_if_possible(&handshake("/socket", ""));
    assert_eq!(peer.response_or_end(false)?.status, 101);
    Some(())
}

fn close(peer: &mut Peer) -> Option<()> {
    peer.write_if_possible(&frame(Frame::CLOSE, &close_payload(1000, "")));
    expect(peer, Frame::CLOSE, &close_payload(1000, ""))
}

fn expect(peer: &mut Peer, opcode: u8, payload: &[u8]) -> Option<()> {
    let frame = peer.frame_or_end()?;
    let what = (frame.is_last, frame.opcode, frame.payload == payload);
    assert_eq!(
        what,
        (true, opcode, true),
        "instead: {:?}",
        String::from_utf8_lossy(&frame.payload)
    );
    Some(())
}

/// Together more than the kernel's buffers hold, and less than a socket may owe.
const BURST: u32 = 200;
const BURST_BYTES: usize = 20_000;
