//! Bodies collected and in pieces, answers that come later, responses in pieces.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use sockeye::{
    App, Context, HttpExchange, HttpHandler, Limits, Reply, Request, Responder, Response, Status,
};

use crate::bed::{connect, head, on_each_backend, response, rest, talk};

fn text(body: &[u8]) -> Response {
    Response::text(String::from_utf8_lossy(body).into_owned())
}

#[test]
fn bodies_are_collected_however_they_arrive() {
    let app = || App::new().post("/", |_, body| text(body)).get("/", |_| Response::text("get"));
    let requests: &[&[u8]] = &[
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n\
            0\r\nTrailer: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend",
    ];
    let bodies = ["hello", "hello", "", "get", "end"];
    on_each_backend(&Limits::default(), app, |address, _| {
        let whole = requests.concat();
        for size in [whole.len(), 1, 7, 100] {
            let mut peer = connect(address);
            for piece in whole.chunks(size) {
                peer.write_all(piece).unwrap();
                if size == 1 {
                    thread::sleep(Duration::from_micros(300));
                }
            }
            for body in bodies {
                let response = response(&mut peer);
                assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
                assert_eq!(response.split_once("\r\n\r\n").unwrap().1, body);
            }
            assert_eq!(rest(&mut peer), "");
        }
    });
}

#[test]
fn a_body_is_invited_if_it_is_wanted() {
    let app =
        || App::new().with_body("POST", "/", 5, |_, body| text(body)).any("/no", |_| text(b""));
    on_each_backend(&Limits::default(), app, |address, _| {
        let head_of = |path: &str, length: u64| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
                Content-Length: {length}\r\n\r\n"
            )
        };
        let mut peer = connect(address);
        peer.write_all(head_of("/", 5).as_bytes()).unwrap();
        assert_eq!(head(&mut peer), "HTTP/1.1 100 Continue\r\n\r\n");
        peer.write_all(b"hello").unwrap();
        assert!(response(&mut peer).ends_with("\r\n\r\nhello"));
        // Who does not wait is not invited.
        peer.write_all((head_of("/", 5) + "hel").as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(20));
        peer.write_all(b"lo").unwrap();
        let answer = response(&mut peer);
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nhello"));
        peer.write_all(head_of("/", 6).as_bytes()).unwrap();
        let refused = rest(&mut peer);
        assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
        let refused = talk(address, head_of("/no", 6).as_bytes());
        assert!(refused.starts_with("HTTP/1.1 200 OK\r\n"), "{refused}");
        assert!(refused.contains("\r\nConnection: close\r\n"), "{refused}");
    });
}

#[test]
fn longer_bodies_than_the_page_takes_are_refused() {
    let app = || {
        App::new()
            .with_body("POST", "/small", 5, |_, body| text(body))
            .with_body("POST", "/big", 5 << 20, |_, body| Response::text(body.len().to_string()))
            .post("/usual", |_, body| Response::text(body.len().to_string()))
    };
    on_each_backend(&Limits::default(), app, |address, _| {
        let post = |path: &str, length: usize| {
            let fields = format!("Host: h\r\nConnection: close\r\nContent-Length: {length}");
            let mut bytes = format!("POST {path} HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes();
            bytes.resize(bytes.len() + length, b'x');
            talk(address, &bytes)
        };
        assert!(post("/small", 5).starts_with("HTTP/1.1 200"));
        assert!(post("/small", 6).starts_with("HTTP/1.1 413"));
        assert!(post("/big", 5 << 20).ends_with("\r\n\r\n5242880"));
        assert!(post("/usual", 1 << 20).ends_with("\r\n\r\n1048576"));
        let chunked = b"POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
            4\r\nabcd\r\n2\r\n";
        assert!(talk(address, chunked).starts_with("HTTP/1.1 413"));
    });
}

#[test]
fn answers_come_later_and_in_order() {
    let app = || {
        App::new()
            .get("/later/:name", |request| {
                let name = request.parameter("name").unwrap().into_owned();
                Response::later(|responder: Responder| {
                    thread::spawn(move || {
                        thread::sleep(Duration::from_millis(30));
                        responder.respond(Response::text(name));
                    });
                })
            })
            .get("/now", |_| Response::text("now"))
            .get("/never", |_| Response::later(drop))
            .post("/body", |_, body| {
                let body = body.to_vec();
                Response::later(move |responder| responder.respond(text(&body)))
            })
    };
    on_each_backend(&Limits::default(), app, |address, running| {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let requests = [get("/later/a"), get("/now"), get("/never"), get("/later/b"), get("/now")];
        let mut peer = connect(address);
        peer.write_all(requests.concat().as_bytes()).unwrap();
        for body in ["a", "now", "500 Internal Server Error", "b", "now"] {
            assert!(response(&mut peer).ends_with(&format!("\r\n\r\n{body}")), "{body}");
        }
        let body = "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
        peer.write_all(body.as_bytes()).unwrap();
        assert!(response(&mut peer).ends_with("\r\n\r\nhi"));
        // Who has said all it has to say is still answered.
        peer.write_all(get("/later/c").as_bytes()).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(rest(&mut peer).ends_with("\r\n\r\nc"));
        // Who has gone does no harm.
        for _ in 0..20 {
            connect(address).write_all(get("/later/d").as_bytes()).unwrap();
        }
        thread::sleep(Duration::from_millis(100));
        assert!(talk(address, b"GET /now HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nnow"));
        assert_eq!(running.remote().total_stats().handler_panics, 0);
    });
}

#[test]
fn an_answer_that_does_not_come_is_a_503() {
    let limits = Limits { answer_timeout: Duration::from_millis(100), ..Limits::default() };
    let app = || {
        App::new().get("/", |_| {
            Response::later(|responder| {
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(300));
                    drop(responder);
                });
            })
        })
    };
    on_each_backend(&limits, app, |address, _| {
        let answer = talk(address, b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("Connection: close"), "{answer}");
    });
}

/// The bytes of a body in chunks, and what follows it.
fn unchunk(mut text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let end = text.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&text[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&text[end + 2..end + 2 + size]);
        text = &text[end + 4 + size..];
        if size == 0 {
            return (body, text);
        }
    }
}

#[test]
fn a_source_is_asked_as_the_client_reads() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    const LENGTH: usize = 64 << 20;
    let source = || {
        let mut left = LENGTH;
        MADE.store(0, Ordering::Relaxed);
        move |piece: &mut Vec<u8>, max: usize| {
            let now = left.min(max);
            left -= now;
            MADE.fetch_add(now, Ordering::Relaxed);
            piece.resize(now, b'x');
            Ok(())
        }
    };
    let app = move || {
        App::new()
            .get("/known", move |_| {
                Response::new(Status::OK).stream("a/b", Some(LENGTH as u64), source())
            })
            .get("/unknown", move |_| Response::new(Status::OK).stream("a/b", None, source()))
            .get("/short", move |_| {
                let mut done = false;
                Response::new(Status::OK).stream("a/b", Some(9), move |piece: &mut Vec<u8>, _| {
                    piece.extend_from_slice(if done { b"" } else { b"short" });
                    done = true;
                    Ok(())
                })
            })
            .get("/now", |_| Response::text("now"))
    };
    on_each_backend(&Limits::default(), app, |address, _| {
        for (path, first) in [("/known", LENGTH), ("/unknown", 0)] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            let mut peer = connect(address);
            let next = "GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            peer.write_all((request + next).as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(200));
            let ahead = MADE.load(Ordering::Relaxed);
            assert!(ahead < 8 << 20, "{ahead} bytes for a client that does not read");
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let (length, rest) = match first {
                0 => {
                    let (body, rest) = unchunk(&all[end..]);
                    (body.len(), rest)
                }
                length => (length, &all[end + length..]),
            };
            assert_eq!(length, LENGTH);
            assert!(rest.starts_with(b"HTTP/1.1 200 OK") && rest.ends_with(b"\r\n\r\nnow"));
        }
        let head = talk(address, b"HEAD /known HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert!(head.ends_with(&format!("Content-Length: {LENGTH}\r\n\r\n")), "{head}");
        let old = talk(address, b"GET /unknown HTTP/1.0\r\n\r\n");
        assert!(old.len() > LENGTH && old.ends_with("xxx"));
        // A body that is shorter than announced must not look whole.
        let mut peer = connect(address);
        peer.write_all(b"GET /short HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut all = Vec::new();
        let _ = peer.read_to_end(&mut all);
        assert!(!all.ends_with(b"\r\n\r\nshort1234"));
    });
}

struct Gone(Arc<AtomicUsize>);

impl HttpHandler for Gone {
    type Data = u32;

    fn request(&mut self, _: &Request<'_>) -> Reply<u32> {
        Reply::receive(7)
    }

    fn body(&mut self, _: &mut HttpExchange<'_, u32>, piece: &[u8]) {
        assert!(!piece.starts_with(b"panic"), "as it was asked to");
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, u32>) {
        let responder = exchange.responder();
        thread::spawn(move || responder.respond(Response::text("from a thread")));
    }

    fn aborted(&mut self, _: &mut Context<'_>, data: u32) {
        assert_eq!(data, 7);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_handler_hears_of_clients_that_go_and_its_panics_stay_its_own() {
    let gone = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&gone);
    let app = move || App::new().stream("POST", "/", Gone(Arc::clone(&gone)));
    on_each_backend(&Limits::default(), app, |address, running| {
        seen.store(0, Ordering::Relaxed);
        let request = |body: &str| {
            let fields = "Host: h\r\nConnection: close\r\nContent-Length: 5";
            format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n{body}")
        };
        let mut peer = connect(address);
        peer.write_all(request("ab").as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(20));
        drop(peer);
        let start = Instant::now();
        while seen.load(Ordering::Relaxed) == 0 && start.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(seen.load(Ordering::Relaxed), 1);
        assert!(talk(address, request("panic").as_bytes()).starts_with("HTTP/1.1 500 "));
        assert!(talk(address, request("hello").as_bytes()).ends_with("\r\n\r\nfrom a thread"));
        assert_eq!(running.remote().total_stats().handler_panics, 1);
        assert_eq!(seen.load(Ordering::Relaxed), 1, "those are answered, not gone");
    });
}

#[test]
fn pipelined_requests_behind_a_slow_one_cost_a_bounded_amount() {
    let (sender, receiver) = mpsc::channel::<Responder>();
    let app = move || {
        let sender = sender.clone();
        App::new()
            .get("/slow", move |_| {
                let sender = sender.clone();
                Response::later(move |responder| sender.send(responder).unwrap())
            })
            .get("/fast", |_| Response::text("fast"))
    };
    on_each_backend(&Limits::default(), app, |address, running| {
        let mut peer = connect(address);
        peer.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let responder = receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        let request = b"GET /fast HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
        peer.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut sent = 0;
        // Until the kernel's buffers on both sides are full: the server does not read on.
        while sent < 64 << 20 {
            match peer.write(&request[sent % request.len()..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        assert!(sent < 64 << 20, "the server reads without end");
        let read = running.remote().total_stats().bytes_in;
        // 4 KiB, and one receive.
        assert!(read <= (4 + 64) << 10, "{read} bytes are kept");
        responder.respond(Response::text("slow"));
        assert!(response(&mut peer).ends_with("slow"));
        let mut reader = peer.try_clone().unwrap();
        let whole = sent / (request.len() / 1000);
        for _ in 0..whole.min(5000) {
            assert!(response(&mut reader).ends_with("\r\n\r\nfast"));
        }
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte).unwrap(), 1);
    });
}

#[test]
fn a_header_that_is_too_long_is_a_500() {
    let limits = Limits { max_response_header_bytes: 100, ..Limits::default() };
    let app = || {
        let long = |request: &Request<'_>| {
            let length: usize = request.query("length").unwrap().parse().unwrap();
            Response::text("body").header("X", "y".repeat(length))
        };
        App::new().get("/whole", long).get("/stream", move |request| {
            long(request).stream("a/b", None, |_: &mut Vec<u8>, _| Ok(()))
        })
    };
    on_each_backend(&limits, app, |address, _| {
        for path in ["/whole", "/stream"] {
            for (length, status) in [(99, 200), (100, 500)] {
                let request = format!(
                    "GET {path}?length={length} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                );
                let answer = talk(address, request.as_bytes());
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {length}");
            }
        }
    });
}

/// Reads as slowly as it is told to, and answers with the length.
struct Slow;

impl HttpHandler for Slow {
    type Data = usize;

    fn request(&mut self, _: &Request<'_>) -> Reply<usize> {
        Reply::receive(0)
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, usize>, piece: &[u8]) {
        *exchange.data() += piece.len();
        exchange.pause();
        let responder = exchange.responder();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            responder.respond(Response::text("answered while it was paused"));
        });
    }

    fn end(&mut self, _: &mut HttpExchange<'_, usize>) {}
}

#[test]
fn who_has_ended_its_direction_gets_the_whole_response() {
    const LENGTH: usize = 3 << 20;
    let app = || {
        let source = || {
            let mut left = LENGTH;
            move |piece: &mut Vec<u8>, max: usize| {
                piece.resize(left.min(max), b'x');
                left -= piece.len();
                Ok(())
            }
        };
        App::new()
            .get("/", move |_| Response::new(Status::OK).stream("a/b", None, source()))
            .get("/known", move |_| {
                Response::new(Status::OK).stream("a/b", Some(LENGTH as u64), source())
            })
            .stream("POST", "/", Slow)
    };
    on_each_backend(&Limits::default(), app, |address, _| {
        for path in ["/", "/known"] {
            let mut peer = connect(address);
            peer.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            thread::sleep(Duration::from_millis(50));
            let answer = rest(&mut peer);
            assert!(answer.len() > LENGTH, "{path}: {}", answer.len());
        }
        let mut peer = connect(address);
        let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        peer.write_all(post).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(rest(&mut peer).ends_with("answered while it was paused"));
    });
}

#[test]
fn who_never_reads_its_answers_is_not_read_from() {
    let app = || App::new().get("/", |_| Response::text("x".repeat(1000)));
    on_each_backend(&Limits::default(), app, |address, running| {
        let mut peer = connect(address);
        let requests = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
        peer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut sent = 0;
        while sent < 256 << 20 {
            match peer.write(&requests[sent % requests.len()..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        assert!(sent < 256 << 20, "the server reads without end");
        // What it has answered fits into the kernel's buffers, one turn and one stash.
        let stats = running.remote().total_stats();
        let answered = stats.requests * 1000;
        assert!(answered < 16 << 20, "{answered} bytes of answers");
        assert!(talk(address, b"GET / HTTP/1.0\r\n\r\n").ends_with("xxx"), "others are served");
    });
}

#[test]
fn bodies_being_collected_are_bounded_together() {
    let limits = Limits { max_collected_bytes: 1000, ..Limits::default() };
    let app = || App::new().post("/", |_, body| Response::text(body.len().to_string()));
    on_each_backend(&limits, app, |address, _| {
        for round in 0..3 {
            let begin = || {
                let mut peer = connect(address);
                peer.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 600\r\n\r\n")
                    .unwrap();
                thread::sleep(Duration::from_millis(20));
                peer.write_all(&[b'x'; 550]).unwrap();
                thread::sleep(Duration::from_millis(20));
                peer
            };
            let (mut first, mut second) = (begin(), begin());
            let refused = rest(&mut second);
            assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
            if round == 1 {
                // What an abandoned one had kept is free again.
                drop(first);
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            first.write_all(&[b'x'; 50]).unwrap();
            assert!(response(&mut first).ends_with("\r\n\r\n600"));
        }
    });
}

/// Begins a response with a header of so many bytes as the query says.
struct Header;

impl HttpHandler for Header {
    type Data = usize;

    fn request(&mut self, request: &Request<'_>) -> Reply<usize> {
        Reply::receive(request.raw_query().map_or(0, |bytes| bytes.parse().unwrap()))
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, usize>) {
        let head = Response::new(Status::OK).header("X-A", "x".repeat(*exchange.data() - 3));
        match exchange.begin(&head, Some(2)) {
            Ok(()) => {
                exchange.write(b"ok");
                exchange.end();
            }
            Err(error) => exchange.respond(Response::text(error.to_string())),
        }
    }
}

#[test]
fn the_header_of_a_streamed_response_is_bounded() {
    let limits = Limits { max_response_header_bytes: 1000, ..Limits::default() };
    let app = || App::new().stream("GET", "/", Header);
    on_each_backend(&limits, app, |address, _| {
        let get = |bytes: usize| {
            let request = format!("GET /?{bytes} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            talk(address, request.as_bytes())
        };
        assert!(get(1000).ends_with("\r\n\r\nok"));
        let refused = get(1001);
        assert!(refused.ends_with("\r\n\r\nthe header exceeds max_response_header_bytes"));
        assert!(!refused.contains("X-A"));
    });
}
