//! Requests that take longer, and what is not a page of bytes: bodies in pieces, answers that come
//! later, responses in pieces, files, event streams, credentials, clients behind proxies.
//!
//! The kernel's side of all this is in `tests/http`; here it is shown under a virtual clock too,
//! and with faults.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockeye::{
    App, BasicAuth, Context, Event, EventStream, Files, HttpExchange, HttpHandler, Limits, Proxies,
    Reply, Request, Responder, Response, Status, Tickets, Upgrade, WebSocket, WebSocketHandler,
};

use crate::support::{Bed, End, Frame, On, Peer, get, numbered, scenarios};

scenarios!(
    a_body_is_collected_or_taken_in_pieces,
    a_body_is_invited_if_it_is_wanted,
    a_handler_pauses_a_body_for_a_slow_reader,
    a_handler_hears_of_a_client_that_goes,
    answers_come_later_and_in_their_order,
    an_answer_for_a_client_that_has_gone,
    an_answer_that_never_comes_is_a_503,
    a_source_is_asked_as_the_client_reads,
    files_are_sent_whole_and_in_parts,
    one_publish_reaches_event_streams_and_sockets,
    an_event_stream_says_that_it_lives,
    a_ticket_opens_one_socket,
    a_proxy_tells_who_the_client_is,
    hosts_have_apps_and_pages_pass_requests_on,
);

fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

fn with_length(path: &str, body: &[u8]) -> Vec<u8> {
    post(path, &format!("Content-Length: {}\r\n", body.len()), body)
}

fn in_chunks(path: &str, body: &[u8], trailer: &str) -> Vec<u8> {
    let mut bytes = post(path, "Transfer-Encoding: chunked\r\n", b"");
    for chunk in body.chunks(1000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(format!("0\r\n{trailer}\r\n").bytes());
    bytes
}

/// Returns a body as it comes, and waits with the rest for a client that does not read.
#[derive(Default)]
struct Echo {
    gone: Arc<AtomicUsize>,
}

impl HttpHandler for Echo {
    type Data = Vec<u8>;

    fn max_body_bytes(&self) -> Option<u64> {
        Some(1 << 30)
    }

    fn request(&mut self, _: &Request<'_>) -> Reply<Vec<u8>> {
        Reply::receive(Vec::new())
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, Vec<u8>>, piece: &[u8]) {
        exchange.begin(&Response::new(Status::OK), None).unwrap();
        let taken = exchange.try_write(piece);
        if taken < piece.len() {
            exchange.data().extend_from_slice(&piece[taken..]);
            exchange.pause();
        }
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, Vec<u8>>) {
        exchange.begin(&Response::new(Status::OK), None).unwrap();
        assert!(exchange.data().is_empty(), "the end comes behind the pause");
        exchange.end();
    }

    fn writable(&mut self, exchange: &mut HttpExchange<'_, Vec<u8>>) {
        let kept = std::mem::take(exchange.data());
        let taken = exchange.try_write(&kept);
        exchange.data().extend_from_slice(&kept[taken..]);
        if exchange.data().is_empty() {
            exchange.resume();
        }
    }

    fn aborted(&mut self, _: &mut Context<'_>, _: Vec<u8>) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads a body in chunks, behind its head.
fn read_chunks(peer: &mut Peer) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(peer.read_exact(1));
        }
        let digits = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap();
        body.extend(peer.read_exact(size));
        assert_eq!(peer.read_exact(2), b"\r\n");
        if size == 0 {
            return body;
        }
    }
}

fn bodies() -> App {
    let collect = |request: &Request<'_>, body: &[u8]| {
        let trailer = request.trailers().first("T").unwrap_or_default().to_owned();
        Response::text(format!("{} {trailer}", body.len()))
    };
    App::new()
        .with_body("POST", "/collect", 100_000, collect)
        .with_body("POST", "/small", 5, collect)
        .stream("POST", "/echo", Echo::default())
}

fn a_body_is_collected_or_taken_in_pieces(on: On) {
    let bed = on.bed().serve(bodies);
    let mut peer = bed.connect();
    for length in [0, 1, 5000, 100_000] {
        let body = numbered(1, length);
        peer.write(&with_length("/collect", &body));
        assert_eq!(peer.response().text(), format!("{length} "));
        peer.write(&in_chunks("/collect", &body, "T: trailer\r\n"));
        assert_eq!(peer.response().text(), format!("{length} trailer"));
        for bytes in [with_length("/echo", &body), in_chunks("/echo", &body, "")] {
            peer.pour(bytes);
            assert_eq!(peer.response_head().status, 200);
            assert!(read_chunks(&mut peer) == body, "{length} bytes come back as they were");
        }
    }
    for bytes in [with_length("/small", b"123456"), in_chunks("/small", b"123456", "")] {
        let mut peer = bed.connect();
        peer.write(&bytes);
        assert_eq!(peer.expect_status(413).header("Connection"), Some("close"));
        peer.expect_end(End::Fin);
    }
}

fn a_body_is_invited_if_it_is_wanted(on: On) {
    let bed = on.bed().serve(bodies);
    let mut peer = bed.connect();
    for path in ["/collect", "/echo"] {
        peer.write(&post(path, "Expect: 100-continue\r\nContent-Length: 4\r\n", b""));
        assert_eq!(peer.response_head().status, 100);
        peer.write(b"body");
        match path {
            "/echo" => {
                peer.response_head();
                assert_eq!(read_chunks(&mut peer), b"body");
            }
            _ => assert_eq!(peer.response().text(), "4 "),
        }
    }
    peer.write(&post("/small", "Expect: 100-continue\r\nContent-Length: 6\r\n", b""));
    peer.expect_status(413);
    peer.expect_end(End::Fin);
}

fn a_handler_pauses_a_body_for_a_slow_reader(on: On) {
    let bed = on.bed().serve(bodies);
    let length = if on.is_simulated() { 1 << 20 } else { 16 << 20 };
    let body = numbered(7, length);
    let mut peer = bed.connect_narrow();
    peer.pour(with_length("/echo", &body));
    bed.pass(Duration::from_millis(200));
    // The kernel's buffers are full, and what the server keeps is bounded.
    let received = usize::try_from(bed.stats().bytes_in).unwrap();
    assert!(received < length, "all of it has been received");
    peer.response_head();
    assert!(read_chunks(&mut peer) == body, "the same bytes");
}

fn a_handler_hears_of_a_client_that_goes(on: On) {
    let gone = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&gone);
    let app = move || App::new().stream("POST", "/", Echo { gone: Arc::clone(&gone) });
    let bed = on.bed().serve(app);
    let mut peer = bed.connect();
    peer.write(&post("/", "Content-Length: 9\r\n", b"half"));
    peer.response_head();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    peer.reset();
    bed.wait_until("it hears", || count.load(Ordering::Relaxed) == 1);
    let mut peer = bed.connect();
    peer.write(&with_length("/", b"whole"));
    peer.response_head();
    assert_eq!(read_chunks(&mut peer), b"whole");
    assert_eq!(count.load(Ordering::Relaxed), 1, "who has been answered has not gone");
}

type Waiting = Arc<Mutex<Vec<Responder>>>;

fn later(waiting: &Waiting) -> impl Fn() -> App + Send + Sync + 'static {
    let waiting = Arc::clone(waiting);
    move || {
        let waiting = Arc::clone(&waiting);
        App::new().get("/now", |_| Response::text("now")).get("/later", move |_| {
            let waiting = Arc::clone(&waiting);
            Response::later(move |responder| waiting.lock().unwrap().push(responder))
        })
    }
}

fn take(bed: &Bed, waiting: &Waiting) -> Responder {
    bed.wait_until("a request waits", || !waiting.lock().unwrap().is_empty());
    waiting.lock().unwrap().remove(0)
}

fn answers_come_later_and_in_their_order(on: On) {
    let waiting = Waiting::default();
    let bed = on.bed().serve(later(&waiting));
    let mut peer = bed.connect();
    let requests = ["/later", "/now", "/later", "/later", "/now"].map(|path| get(path, ""));
    peer.write(&requests.concat());
    take(&bed, &waiting).respond(Response::text("one"));
    let second = take(&bed, &waiting);
    assert_eq!((peer.response().text(), peer.response().text()), ("one", "now"));
    peer.expect_silence(Duration::from_millis(20));
    second.respond(Response::text("two"));
    let third = take(&bed, &waiting);
    assert_eq!(peer.response().text(), "two");
    peer.shutdown();
    bed.pass(Duration::from_millis(10));
    third.respond(Response::text("three"));
    // Who has said all it has to say is still answered.
    assert_eq!((peer.response().text(), peer.response().text()), ("three", "now"));
    peer.expect_end(End::Fin);
}

fn an_answer_for_a_client_that_has_gone(on: On) {
    let waiting = Waiting::default();
    let bed = on.bed().serve(later(&waiting));
    for _ in 0..5 {
        let mut peer = bed.connect();
        peer.write(&get("/later", ""));
        let responder = take(&bed, &waiting);
        peer.reset();
        bed.wait_for_stats("it has gone", |stats| stats.connections == 0);
        // Its place may be another's by now.
        let mut other = bed.connect();
        responder.respond(Response::text("for nobody"));
        other.write(&get("/now", ""));
        assert_eq!(other.response().text(), "now");
    }
}

fn an_answer_that_never_comes_is_a_503(on: On) {
    let limits = Limits { answer_timeout: Duration::from_millis(300), ..Limits::default() };
    let waiting = Waiting::default();
    let bed = on.bed().limits(limits).serve(later(&waiting));
    let mut peer = bed.connect();
    peer.write(&get("/later", ""));
    let responder = take(&bed, &waiting);
    assert_eq!(peer.expect_status(503).header("Connection"), Some("close"));
    peer.expect_end(End::Fin);
    responder.respond(Response::text("too late"));
    // One that is dropped is an answer, too.
    let mut peer = bed.connect();
    peer.write(&get("/later", ""));
    drop(take(&bed, &waiting));
    peer.expect_status(500);
}

fn a_source_is_asked_as_the_client_reads(on: On) {
    let length = if on.is_simulated() { 1 << 20 } else { 32 << 20 };
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let source = move || {
        let (made, mut left) = (Arc::clone(&made), length);
        made.store(0, Ordering::Relaxed);
        move |piece: &mut Vec<u8>, max: usize| {
            let now = left.min(max).min(10_000);
            left -= now;
            made.fetch_add(now, Ordering::Relaxed);
            piece.resize(now, b'x');
            Ok(())
        }
    };
    let app = move || {
        let (known, unknown) = (source.clone(), source.clone());
        let known = move |_: &Request<'_>| {
            Response::new(Status::OK).stream("a/b", Some(length as u64), known())
        };
        let unknown =
            move |_: &Request<'_>| Response::new(Status::OK).stream("a/b", None, unknown());
        App::new().get("/known", known).get("/unknown", unknown)
    };
    let bed = on.bed().serve(app);
    for path in ["/known", "/unknown"] {
        let mut peer = bed.connect_narrow();
        peer.write(&[get(path, ""), get("/none", "")].concat());
        bed.pass(Duration::from_millis(200));
        let ahead = count.load(Ordering::Relaxed);
        assert!(ahead < length, "{ahead} bytes for a client that does not read");
        let body = match path {
            "/known" => peer.response().body,
            _ => {
                peer.response_head();
                read_chunks(&mut peer)
            }
        };
        assert_eq!(body.len(), length);
        peer.expect_status(404);
    }
    let mut peer = bed.connect_narrow();
    peer.write(&get("/known", ""));
    peer.read_exact(1000);
    peer.reset();
    bed.wait_for_stats("it is given up", |stats| stats.connections == 0);
    assert!(count.load(Ordering::Relaxed) < length);
}

/// A folder that goes with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(on: On) -> Self {
        let name = format!("sockeye-exchanges-{}-{on:?}", std::process::id());
        let path = std::env::temp_dir().join(name.replace(['(', ')'], "-"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files_are_sent_whole_and_in_parts(on: On) {
    let folder = Folder::new(on);
    let large = numbered(3, 1_000_000);
    fs::write(folder.0.join("large.bin"), &large).unwrap();
    fs::write(folder.0.join("small.txt"), "0123456789").unwrap();
    fs::write(folder.0.join("index.html"), "<p>").unwrap();
    let path = folder.0.clone();
    let bed = on.bed().serve(move || App::new().files("/*", Files::new(&path)));
    let mut peer = bed.connect_narrow();
    let mut ask = |target: &str, fields: &str| {
        peer.write(&get(target, fields));
        peer.response()
    };
    let small = ask("/small.txt", "");
    assert_eq!(small.text(), "0123456789");
    let (tag, date) =
        (small.header("ETag").unwrap(), small.header("Last-Modified").unwrap().to_owned());
    assert_eq!(ask("/small.txt", &format!("If-None-Match: {tag}\r\n")).status, 304);
    assert_eq!(ask("/small.txt", &format!("If-Modified-Since: {date}\r\n")).status, 304);
    let part = ask("/small.txt", "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.header("Content-Range"), Some("bytes 2-4/10"));
    assert_eq!(ask("/small.txt", "Range: bytes=10-\r\n").status, 416);
    assert!(ask("/large.bin", "").body == large);
    assert!(ask("/large.bin", "Range: bytes=100000-899999\r\n").body == large[100_000..900_000]);
    assert_eq!(ask("/", "").text(), "<p>");
    for target in ["/none", "/../small.txt", "/%2e%2e/small.txt", "/..%2fsmall.txt", "/a%00"] {
        assert_eq!(ask(target, "").status, 404, "{target}");
    }
}

/// Listens to the news, and opens for a ticket where one is asked for.
struct Listener(Option<Tickets<String>>);

impl WebSocketHandler for Listener {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        let Some(tickets) = &self.0 else { return Upgrade::accept(String::new()) };
        match request.query("ticket").and_then(|ticket| tickets.redeem(&ticket)) {
            Some(name) => Upgrade::accept(name),
            None => Upgrade::reject(Status::FORBIDDEN),
        }
    }

    fn open(&mut self, socket: &mut WebSocket<'_, String>) {
        socket.subscribe("news").unwrap();
        if self.0.is_some() {
            let name = socket.data().clone();
            socket.send(&name);
        }
    }
}

fn events() -> App {
    let events = |request: &Request<'_>| {
        let mut stream = EventStream::new()
            .topic("news")
            .retry(Duration::from_millis(1500))
            .heartbeat(Duration::from_secs(1));
        if let Some(last) = request.header("Last-Event-ID") {
            stream = stream.event(&Event::new("again").id(last));
        }
        Response::events(stream)
    };
    App::new().get("/events", events).websocket("/ws", Listener(None))
}

fn listen(bed: &Bed, fields: &str, first: &str) -> Peer {
    let mut peer = bed.connect();
    peer.write(&get("/events", fields));
    let head = peer.response_head();
    assert_eq!(head.header("Content-Type"), Some("text/event-stream"));
    expect(&mut peer, first);
    peer
}

#[track_caller]
fn expect(peer: &mut Peer, text: &str) {
    assert_eq!(String::from_utf8_lossy(&peer.read_exact(text.len())), text);
}

fn one_publish_reaches_event_streams_and_sockets(on: On) {
    let bed = on.bed().workers(2).serve(events);
    let mut new = listen(&bed, "", "retry: 1500\n\n");
    let mut old = listen(&bed, "Last-Event-ID: 7\r\n", "retry: 1500\n\nid: 7\ndata: again\n\n");
    let mut socket = bed.open("/ws");
    bed.wait_for_stats("all listen", |stats| stats.connections == 3 && stats.websockets == 1);
    bed.remote().publish("news", "two\nlines").unwrap();
    bed.remote().publish_event("news", &Event::new("x").id("8").name("n")).unwrap();
    for stream in [&mut new, &mut old] {
        expect(stream, "data: two\ndata: lines\n\nid: 8\nevent: n\ndata: x\n\n");
    }
    socket.expect_text("two\nlines");
    socket.expect_text("x");
    new.reset();
    bed.wait_for_stats("it has gone", |stats| stats.connections == 2);
}

fn an_event_stream_says_that_it_lives(on: On) {
    let bed = on.bed().serve(events);
    let mut stream = listen(&bed, "", "retry: 1500\n\n");
    let start = bed.clock();
    expect(&mut stream, ":\n\n:\n\n");
    let time = (bed.clock() - start).as_millis();
    assert!((1500..4000).contains(&time), "two heartbeats after {time} ms");
}

fn a_ticket_opens_one_socket(on: On) {
    let tickets = Tickets::new(Duration::from_secs(60)).max_per_name(2);
    let app = move || {
        let (users, desk) = (BasicAuth::new("test").user("ada", "lovelace"), tickets.clone());
        let issue = move |request: &Request<'_>| match users.check(request) {
            Ok(name) => match desk.issue(name, name.to_owned()) {
                Ok(ticket) => Response::text(ticket),
                Err(_) => Response::new(Status::TOO_MANY_REQUESTS),
            },
            Err(unauthorized) => unauthorized,
        };
        App::new().get("/ticket", issue).websocket("/ws", Listener(Some(tickets.clone())))
    };
    let bed = on.bed().serve(app);
    let mut peer = bed.connect();
    peer.write(&get("/ticket", ""));
    let refused = peer.expect_status(401);
    let challenge = "Basic realm=\"test\", charset=\"UTF-8\"";
    assert_eq!(refused.header("WWW-Authenticate"), Some(challenge));
    let ada = "Authorization: Basic YWRhOmxvdmVsYWNl\r\n";
    peer.write(&get("/ticket", ada));
    let ticket = peer.expect_status(200).text().to_owned();
    let mut socket = bed.open(&format!("/ws?ticket={ticket}"));
    socket.expect_frame(Frame::TEXT, b"ada");
    let mut again = bed.connect();
    again.write(&crate::support::handshake(&format!("/ws?ticket={ticket}"), ""));
    again.expect_status(403);
    for status in [200, 429, 429] {
        peer.write(&get("/ticket", ada));
        peer.expect_status(status);
    }
}

fn behind(proxies: Proxies) -> impl Fn() -> App + Send + Sync + 'static {
    move || {
        App::new().proxies(proxies.clone()).get("/", |request| {
            Response::text(request.client_ip().map(|ip| ip.to_string()).unwrap_or_default())
        })
    }
}

/// What PROXY protocol version 2 says of a client at 192.0.2.9:80.
const BINARY_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\
    \xc0\0\x02\x09\x7f\0\0\x01\0\x50\0\x50";

fn a_proxy_tells_who_the_client_is(on: On) {
    // Where peers come from, in the simulation and in fact.
    let all = || Proxies::at(["127.0.0.1", "10.0.0.1"]);
    let bed = on.bed().serve(behind(all().x_forwarded_for()));
    let mut peer = bed.connect();
    for (field, client) in [("192.0.2.7", "192.0.2.7"), ("198.51.100.1, 192.0.2.7", "192.0.2.7")] {
        peer.write(&get("/", &format!("X-Forwarded-For: {field}\r\n")));
        assert_eq!(peer.response().text(), client, "{field}");
    }
    drop(peer);
    let bed = on.bed().serve(behind(all().forwarded()));
    let mut peer = bed.connect();
    peer.write(&get("/", "Forwarded: for=\"[2001:db8::1]:80\"\r\n"));
    assert_eq!(peer.response().text(), "2001:db8::1");
    drop(peer);
    let bed = on.bed().serve(behind(all().proxy_protocol()));
    for header in [&b"PROXY TCP4 192.0.2.9 127.0.0.1 80 80\r\n"[..], BINARY_HEADER] {
        let mut peer = bed.connect();
        peer.write(&[header, &get("/", "")].concat());
        assert_eq!(peer.response().text(), "192.0.2.9");
    }
    let mut peer = bed.connect();
    peer.write_if_possible(&get("/", ""));
    assert_eq!(peer.read_to_end().0, b"", "who does not begin with it is none of them");
    drop(peer);
    // Somebody else is not believed.
    let bed = on.bed().serve(behind(Proxies::at(["192.0.2.1"]).x_forwarded_for()));
    let mut peer = bed.connect();
    peer.write(&get("/", "X-Forwarded-For: 192.0.2.7\r\n"));
    assert_ne!(peer.response().text(), "192.0.2.7");
}

fn hosts_have_apps_and_pages_pass_requests_on(on: On) {
    let app = || {
        let other = App::new().get("/", |_| Response::text("other"));
        App::new()
            .get("/a", |_| Response::pass())
            .get("/:name", |request| match request.path() {
                "/b" => Response::pass(),
                path => Response::text(path.to_owned()),
            })
            .get("/*", |_| Response::text("rest"))
            .host("other", other)
    };
    let bed = on.bed().serve(app);
    let mut peer = bed.connect();
    for (host, path, answer) in
        [("h", "/a", "/a"), ("h", "/b", "rest"), ("h", "/c/d", "rest"), ("OTHER:8", "/", "other")]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        peer.write(request.as_bytes());
        assert_eq!(peer.response().text(), answer, "{host} {path}");
    }
}
