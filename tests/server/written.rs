//! Bodies that other threads write.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use sockeye::{App, BodyWriter, Limits, Response, Status, WriteError};

use crate::support::{Bed, ON_PURPOSE, On, Peer, get, scenarios};

scenarios!(
    a_body_is_written_by_another_thread,
    a_writer_is_told_of_room_and_of_the_end,
    a_writer_that_leaves_cuts_its_response_off,
    a_writer_outlives_its_client,
    a_writer_outlives_its_server,
    writers_of_several_workers,
);

type Writers = Arc<Mutex<Vec<BodyWriter>>>;

/// Answers with a writer, which is left for the test to take.
fn app(writers: &Writers) -> impl Fn() -> App + Send + Sync + 'static {
    let writers = Arc::clone(writers);
    move || {
        let answer = |length: Option<u64>| {
            let writers = Arc::clone(&writers);
            move |_: &sockeye::Request<'_>| {
                let writers = Arc::clone(&writers);
                Response::new(Status::OK).written("text/plain", length, move |writer| {
                    writers.lock().unwrap().push(writer);
                })
            }
        };
        let later = answer(None);
        App::new()
            .get("/chunks", answer(None))
            .get("/ten", answer(Some(10)))
            .get("/none", answer(Some(0)))
            .get("/later", move |request| {
                let response = later(request);
                Response::later(|responder| responder.respond(response))
            })
            .get("/panic", |_| {
                Response::new(Status::OK).written("a/b", None, |_| panic!("{ON_PURPOSE}"))
            })
            .get("/now", |_| Response::text("now"))
    }
}

fn take(bed: &Bed, writers: &Writers) -> BodyWriter {
    bed.wait_until("there is a writer", || !writers.lock().unwrap().is_empty());
    writers.lock().unwrap().remove(0)
}

/// Writes all of it, a piece at a time, and reads whenever there is no room.
fn write_all(peer: &mut Peer, writer: BodyWriter, bytes: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    for piece in bytes.chunks(10_000) {
        while let Err(error) = writer.write(piece) {
            assert_eq!(error, WriteError::Full);
            read.extend(peer.read_some());
        }
    }
    writer.end();
    read.extend(peer.read_to_end().0);
    read
}

/// The data of a body in chunks.
fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&bytes[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
        if size == 0 {
            assert_eq!(bytes, b"");
            return body;
        }
    }
}

fn a_body_is_written_by_another_thread(on: On) {
    let writers = Writers::default();
    let bed = on.bed().serve(app(&writers));
    let mut peer = bed.connect();
    // With the next request behind it, which waits for its turn.
    peer.write(&[get("/ten", ""), get("/now", "")].concat());
    let writer = take(&bed, &writers);
    writer.write(b"01234").unwrap();
    assert_eq!(peer.response_head().header("Content-Length"), Some("10"));
    assert_eq!(peer.read_exact(5), b"01234");
    // What goes beyond the length is not sent.
    thread::spawn(move || writer.write_blocking(b"56789-beyond")).join().unwrap().unwrap();
    assert_eq!(peer.read_exact(5), b"56789");
    assert_eq!(peer.response().text(), "now");
    peer.write(&[get("/none", ""), get("/now", "")].concat());
    assert_eq!(peer.response().text(), "");
    assert_eq!(peer.response().text(), "now");
    let head = String::from_utf8(get("/chunks", "")).unwrap().replace("GET", "HEAD");
    peer.write(head.as_bytes());
    assert_eq!(peer.response_head().header("Transfer-Encoding"), Some("chunked"));
    assert!(writers.lock().unwrap().is_empty(), "there is nothing to write");
    for path in ["/chunks", "/later"] {
        let mut peer = bed.connect();
        peer.write(&get(path, "Connection: close\r\n"));
        let writer = take(&bed, &writers);
        let body: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        assert_eq!(peer.response_head().header("Transfer-Encoding"), Some("chunked"));
        assert!(unchunk(&write_all(&mut peer, writer, &body)) == body, "the same bytes");
    }
}

fn a_writer_is_told_of_room_and_of_the_end(on: On) {
    let writers = Writers::default();
    let bed = on.bed().serve(app(&writers));
    let mut peer = bed.connect_narrow();
    peer.write(&get("/chunks", ""));
    let writer = take(&bed, &writers);
    // Who does not read is written for no more than the kernel and the limits hold.
    let piece = [b'x'; 50_000];
    let mut count = 0;
    loop {
        match writer.write(&piece) {
            Ok(()) => count += 1,
            Err(WriteError::Closed) => panic!("the client is still there"),
            Err(WriteError::Full) => {
                let before = writer.buffered_amount();
                // Long enough for a worker that hardly gets a processor.
                bed.pass(Duration::from_millis(500));
                if writer.buffered_amount() == before {
                    break;
                }
            }
        }
        assert!(count < 1000, "50 MB for a client that does not read");
    }
    let (told, tidings) = mpsc::channel();
    writer.on_writable(move || told.send(()).unwrap());
    assert!(tidings.try_recv().is_err());
    peer.response_head();
    let mut read = 0;
    while tidings.try_recv().is_err() {
        read += peer.read_some().len();
    }
    assert!(read > 0);
    writer.write(b"last").unwrap();
    writer.end();
    let mut body = Vec::new();
    while !body.ends_with(b"last\r\n0\r\n\r\n") {
        body.extend(peer.read_some());
    }
    assert!(read + body.len() > count * piece.len(), "all of it");
    peer.write(&get("/now", ""));
    assert_eq!(peer.response().text(), "now");
}

fn a_writer_that_leaves_cuts_its_response_off(on: On) {
    let writers = Writers::default();
    let bed = on.bed().serve(app(&writers));
    for (path, piece) in [("/chunks", &b"some"[..]), ("/chunks", b""), ("/ten", b"some")] {
        for ends in [false, true] {
            let mut peer = bed.connect();
            peer.write(&get(path, ""));
            let writer = take(&bed, &writers);
            writer.write(piece).unwrap();
            if ends && path == "/chunks" {
                continue;
            }
            // An end before all that was announced is none.
            if ends {
                writer.end();
            } else {
                drop(writer);
            }
            let bytes = peer.read_to_end().0;
            assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"));
            assert!(!bytes.ends_with(b"some012345"));
        }
    }
    let mut peer = bed.connect();
    peer.write(&get("/panic", ""));
    let bytes = peer.read_to_end().0;
    assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(bed.stats().handler_panics, 1);
    bed.wait_for_stats("all are gone", |stats| stats.connections == 0);
}

fn a_writer_outlives_its_client(on: On) {
    let writers = Writers::default();
    let bed = on.bed().serve(app(&writers));
    let told = Arc::new(AtomicUsize::new(0));
    for resets in [false, true] {
        let mut peer = bed.connect();
        peer.write(&get("/chunks", ""));
        let writer = take(&bed, &writers);
        writer.write(b"hello").unwrap();
        peer.response_head();
        if resets {
            peer.reset();
        } else {
            drop(peer);
        }
        bed.wait_until("the writer hears of it", || {
            bed.pass(Duration::from_millis(1));
            writer.write(b"more") == Err(WriteError::Closed)
        });
        assert!(writer.is_closed());
        let count = Arc::clone(&told);
        writer.on_writable(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(writer.write_blocking(b"more"), Err(WriteError::Closed));
        writer.end();
    }
    assert_eq!(told.load(Ordering::Relaxed), 2);
    // What is said too late reaches nobody else.
    let mut peer = bed.connect();
    peer.write(&get("/now", ""));
    assert_eq!(peer.response().text(), "now");
}

fn a_writer_outlives_its_server(on: On) {
    let writers = Writers::default();
    let limits = Limits { keep_alive_timeout: Duration::from_secs(60), ..Limits::default() };
    let bed = on.bed().limits(limits).serve(app(&writers));
    let (mut early, mut late) = (bed.connect(), bed.connect());
    early.write(&get("/chunks", ""));
    let in_time = take(&bed, &writers);
    late.write(&get("/chunks", ""));
    let too_late = take(&bed, &writers);
    bed.remote().shutdown(Duration::from_secs(1));
    // What has begun may be completed in the time there is.
    in_time.write(b"in time").unwrap();
    in_time.end();
    early.response_head();
    assert_eq!(unchunk(&early.read_to_end().0), b"in time");
    bed.wait_until("the time is over", || too_late.is_closed());
    assert_eq!(too_late.write(b"x"), Err(WriteError::Closed));
    bed.wait_until("the server has ended", || bed.has_ended());
    assert!(!late.read_to_end().0.ends_with(b"\r\n0\r\n\r\n"));
}

fn writers_of_several_workers(on: On) {
    let writers = Writers::default();
    let bed = on.bed().workers(3).serve(app(&writers));
    let mut peers: Vec<_> = (0..12).map(|_| bed.connect()).collect();
    let mut taken = Vec::new();
    for peer in &mut peers {
        peer.write(&get("/ten", ""));
        taken.push(take(&bed, &writers));
    }
    let pieces = ["01", "23", "45", "67", "89"];
    let threads: Vec<_> = taken
        .into_iter()
        .map(|writer| {
            thread::spawn(move || {
                for piece in pieces {
                    writer.write_blocking(piece.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for peer in &mut peers {
        assert_eq!(peer.response().text(), "0123456789");
    }
}
