//! A peer gets what was meant for it: nothing that another one has left in a buffer.
//!
//! One peer fills the worker's buffers with a pattern, in everything that it can say. Another one
//! asks for every kind of answer: its bytes are looked through for that pattern.

use std::{fs, path::PathBuf, sync::LazyLock};

use sockeye::{App, Files, Limits, Response, WebSocketConfig};

use crate::support::{
    Bed, Frame, Log, On, Peer, Puppet, close_payload, frame, frame_of, get, handshake, scenarios,
};

scenarios!(
    answers_that_wait_have_nothing_of_others;
    calm: answers_to_frames_have_nothing_of_others, answers_to_requests_have_nothing_of_others,
);

/// Said again and again by the one, and never by the other.
const PATTERN: &[u8; 8] = b"~poison~";

/// So many bytes of it in a row are found.
const WINDOW: usize = 6;

const LONGEST: usize = 256 << 10;

fn poison(length: usize) -> Vec<u8> {
    PATTERN.iter().copied().cycle().take(length).collect()
}

/// Looks for the pattern, as it is and as it came in, masked.
#[track_caller]
fn assert_clean(bytes: &[u8]) {
    let mut begins = [false; 256];
    forms().for_each(|form| begins[usize::from(form[0])] = true);
    let is_form = |window: &[u8]| begins[usize::from(window[0])] && forms().any(|f| f == window);
    let found = bytes.windows(WINDOW).position(is_form);
    if let Some(at) = found {
        let around = &bytes[at.saturating_sub(40)..bytes.len().min(at + 40)];
        panic!("at {at} of {} bytes: {}", bytes.len(), String::from_utf8_lossy(around));
    }
}

/// Each window that the pattern has, unmasked and masked.
fn forms() -> impl Iterator<Item = &'static [u8]> {
    static FORMS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        let plain = poison(PATTERN.len() + WINDOW - 1);
        // Without the header of the frame.
        let masked = frame(Frame::BINARY, &plain).split_off(6);
        [plain, masked]
    });
    FORMS.iter().flat_map(|form| form.windows(WINDOW))
}

#[test]
fn the_pattern_is_found_where_it_is() {
    assert_clean(b"~poi ~poi pois~~");
    for dirty in [b"..~poison~..".to_vec(), b"ison~~poi".to_vec(), frame(2, &poison(9))] {
        assert!(std::panic::catch_unwind(|| assert_clean(&dirty)).is_err(), "{dirty:?}");
    }
}

/// A folder with a large file, gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(on: On) -> Self {
        let thread = format!("{:?}-{:?}", on, std::thread::current().id());
        let name = format!("sockeye-leftovers-{}-{thread}", std::process::id());
        let path = std::env::temp_dir().join(name.replace(['(', ')'], "-"));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("clean"), vec![b'c'; LONGEST]).unwrap();
        fs::write(path.join("dirty"), poison(LONGEST)).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve(on: On, folder: &Folder) -> Bed {
    let path = folder.0.clone();
    let limits = Limits { max_control_frames_per_second: u16::MAX, ..Limits::default() };
    on.bed().limits(limits).serve(move || {
        let config = WebSocketConfig { max_payload_length: LONGEST, ..WebSocketConfig::default() };
        App::new()
            .files("/files/*", Files::new(&path))
            .post("/length", |_, body| Response::text(body.len().to_string()))
            .get("/header", |request| {
                Response::text(request.header("X-Header").unwrap_or_default().len().to_string())
            })
            .websocket_with("/socket/*", config, Puppet::new(&Log::off()))
    })
}

/// Fills buffers of every kind, and leaves some of them as they are.
fn defile(bed: &Bed) {
    let mut peer = bed.open("/socket/");
    for length in [5, 125, 126, 4000, 70_000, LONGEST] {
        peer.binary(&poison(length));
        assert_eq!(peer.frame().payload, poison(length));
    }
    let commands = ["subscribe ~poison~", "say ~poison~~poison~", "publish_all ~poison~ ~poison~"];
    for command in commands {
        peer.text(command);
        assert!(!peer.frame().payload.is_empty());
    }
    peer.write(&frame(Frame::PING, &poison(125)));
    peer.expect_frame(Frame::PONG, &poison(125));
    // A message that is cut, and one whose connection ends amid a frame.
    peer.write(&frame_of(Frame::BINARY, &poison(30_000)));
    peer.write(&frame(Frame::BINARY, &poison(5000))[..3000]);
    drop(peer);

    let mut peer = bed.open("/socket/");
    peer.write(&frame(Frame::CLOSE, &close_payload(4000, &"~poison~".repeat(15))));
    peer.expect_close(4000, "");
    peer.expect_goodbye();

    let text = |length| String::from_utf8(poison(length)).unwrap();
    let mut peer = bed.connect();
    peer.write(&get("/header", &format!("X-Header: {}\r\n", text(3000))));
    assert_eq!(peer.expect_status(200).text(), "3000");
    peer.write(&post("/length", &poison(60_000)));
    assert_eq!(peer.expect_status(200).text(), "60000");
    peer.write(&get("/files/dirty", ""));
    assert_eq!(peer.expect_status(200).body, poison(LONGEST));
    peer.write(&get(&format!("/{}", text(2000)), ""));
    peer.expect_status(404);
    peer.write(&get("/files/dirty", &format!("X-Header: {}", text(2000))));
    drop(peer);
    // Answers that nobody reads.
    let mut peer = bed.open_narrow("/socket/");
    for _ in 0..8 {
        peer.pour(frame(Frame::BINARY, &poison(60_000)));
    }
    peer.reset();
}

fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Everything that the server says until it ends the connection.
#[track_caller]
fn answers(mut peer: Peer, questions: &[u8]) -> Vec<u8> {
    peer.write_if_possible(questions);
    let (bytes, _) = peer.read_to_end();
    assert_clean(&bytes);
    bytes
}

fn answers_to_frames_have_nothing_of_others(on: On) {
    let folder = Folder::new(on);
    let bed = serve(on, &folder);
    let close = frame(Frame::CLOSE, &close_payload(1000, "a reason"));
    let echoes = [0, 1, 125, 126, 2000, 65_535, 65_536, 100_000].map(|n| vec![b'e'; n]);
    for _ in 0..3 {
        defile(&bed);
        let mut questions = Vec::new();
        for echo in &echoes {
            questions.extend(frame(Frame::BINARY, echo));
            questions.extend(frame_of(Frame::BINARY, echo));
            questions.extend(frame(Frame::PING, &echo[..echo.len().min(125)]));
            questions.extend(frame_of(0x80, echo));
        }
        let topics = "subscribe news\npublish_many news 40 900\npublish_all news hello\nsend 40 50";
        questions.extend(frame(Frame::TEXT, topics.as_bytes()));
        questions.extend(&close);
        let bytes = answers(bed.open("/socket/"), &questions);
        let least: usize = echoes.iter().map(|echo| 3 * echo.len().min(125)).sum();
        assert!(bytes.len() > least + 40 * 900 + 40 * 50, "{} bytes", bytes.len());
        assert!(bytes.ends_with(&close_payload(1000, "")));

        // Faults, each told with a close frame; and closes of all lengths.
        for (fault, code) in [
            (frame_of(0x83, b"reserved"), 1002),
            (frame_of(0xc1, b"reserved"), 1002),
            (frame_of(0x80, b"continuation"), 1002),
            (frame(Frame::TEXT, b"\xff"), 1007),
            (frame_of(0x81, &vec![b't'; LONGEST + 1])[..2000].to_vec(), 1009),
            (frame(Frame::CLOSE, b""), 1005),
            (frame(Frame::CLOSE, &close_payload(4321, "")), 4321),
            (frame(Frame::CLOSE, &close_payload(1005, "")), 1002),
            (frame(Frame::TEXT, b"close 3000 because"), 3000),
        ] {
            let mut peer = bed.open("/socket/");
            peer.write(&fault);
            let Frame { opcode, payload, .. } = peer.frame();
            assert_eq!(opcode, Frame::CLOSE);
            let said = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            assert_eq!(said, code);
            assert_clean(&payload);
            if code == 3000 {
                peer.close(3000, "");
            }
            assert_clean(&peer.read_to_end().0);
        }
    }
}

fn answers_to_requests_have_nothing_of_others(on: On) {
    let folder = Folder::new(on);
    let bed = serve(on, &folder);
    let end = "Connection: close\r\n";
    let ranged = |range: &str| get("/files/clean", &format!("{end}Range: bytes={range}\r\n"));
    let questions = [
        (get("/none", end), 404),
        (get("/files/", end), 404),
        (get("/files/clean", end), 200),
        (ranged("0-0"), 206),
        (ranged("7-70000"), 206),
        (ranged("-9"), 206),
        (ranged("262143-"), 206),
        (ranged("262144-"), 416),
        (get("/files/clean", &format!("{end}If-Match: \"x\"\r\n")), 412),
        (get("/header", &format!("{end}X-Header: short\r\n")), 200),
        (get("/socket/", end), 426),
        (handshake("/socket/?refuse=403", end), 403),
        (handshake("/socket/", &format!("{end}Sec-WebSocket-Version: 12\r\n")), 426),
        (get(&format!("/{}", "t".repeat(9000)), end), 414),
        (get("/", &format!("{end}X: {}\r\n", "v".repeat(100_000))), 431),
        (b"\0\0\0\0\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\nHost: h\n\n".to_vec(), 400),
        (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n".to_vec(), 505),
        (b"POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n".to_vec(), 400),
        (b"POST /length HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\n\r\n".to_vec(), 400),
        ([&get("/none", "")[..], &get("/header", ""), b"\xff\r\n\r\n"].concat(), 404),
        ([&post("/length", b"12345")[..], &get("/none", end)].concat(), 200),
        ([b"HEAD", &get("/files/clean", end)[3..]].concat(), 200),
        ([b"DELETE", &get("/header", end)[3..]].concat(), 405),
    ];
    for (question, status) in &questions {
        defile(&bed);
        let bytes = answers(bed.connect(), question);
        let text = String::from_utf8_lossy(&bytes);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(text.starts_with(&expected), "{text:.80} to {question:.90?}");
    }
}

fn answers_that_wait_have_nothing_of_others(on: On) {
    let folder = Folder::new(on);
    let bed = serve(on, &folder);
    for _ in 0..2 {
        // Both have more than the kernel takes; the one goes, the other reads.
        let mut slow = bed.open_narrow("/socket/");
        slow.text("subscribe news\nsend 30 3000");
        let mut page = bed.connect_narrow();
        page.write(&get("/files/clean", "Connection: close\r\n"));
        defile(&bed);
        slow.text("send 30 3001\npublish_many news 10 700");
        defile(&bed);
        slow.close(1000, "");
        let (bytes, _) = slow.read_to_end();
        assert_clean(&bytes);
        assert!(bytes.len() > 30 * 6000, "{} bytes", bytes.len());
        let (bytes, _) = page.read_to_end();
        assert_clean(&bytes);
        assert!(bytes.ends_with(&vec![b'c'; LONGEST]), "{} bytes", bytes.len());
    }
}
