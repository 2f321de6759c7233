//! Requests and responses around the WebSockets: routing, keep-alive, limits and deadlines.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sockeye::{
    App, HttpExchange, HttpHandler, HttpLimits, Limits, Reply, Request, Response, Status,
};

use crate::support::{Bed, End, ON_PURPOSE, On, Puppet, get, handshake, scenarios};

scenarios!(
    pages_are_found_by_path_and_method,
    a_head_has_no_body,
    requests_in_one_segment_are_answered_in_order,
    a_request_may_come_byte_by_byte,
    bodies_are_thrown_away,
    the_client_ends_a_connection,
    old_clients_get_one_answer,
    malformed_requests_are_refused_and_closed,
    a_request_that_is_too_large,
    a_page_panics,
    a_page_answers_what_cannot_be_sent,
    a_head_that_drips_has_a_deadline,
    a_body_that_drips_has_a_deadline,
    who_says_nothing_is_closed,
    keep_alive_has_an_end,
    the_client_ends_its_direction_and_reads_on,
    a_flood_of_requests,
    pipelined_requests_leave_others_their_turn,
    what_follows_a_request_that_waits_is_hardly_read,
    a_length_may_be_required,
);

fn app() -> App {
    let mut count = 0;
    App::new()
        .get("/", |_| Response::text("Hello, world!"))
        .get("/users/:name", |request| {
            let name = request.parameter("name").unwrap_or_default();
            let greeting = request.query("greeting").unwrap_or("Hello".into());
            Response::html(format!("{greeting}, {name}!"))
                .header("X-Path", request.path().to_owned())
        })
        .on("POST", "/users/:name", |_| Response::new(Status::CREATED))
        .get("/files/*", |request| {
            Response::text(request.parameter("*").unwrap_or_default().into_owned())
        })
        .any("/any", |request| Response::text(request.method().to_owned()))
        .get("/count", move |_| {
            count += 1;
            Response::json(count.to_string())
        })
        .get("/large", |_| Response::text("x".repeat(10_000)))
        .get("/panic", |_| panic!("{ON_PURPOSE}"))
        .get("/bad", |_| Response::text("").header("Content-Length", "7"))
        .websocket("/socket", Puppet::default())
}

fn serve(on: On) -> Bed {
    on.bed().serve(app)
}

fn request(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes()
}

fn pages_are_found_by_path_and_method(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    let mut answer = |method: &str, target: &str| {
        peer.write(&request(method, target));
        peer.response()
    };
    let hello = answer("GET", "/");
    assert_eq!((hello.status, hello.text()), (200, "Hello, world!"));
    assert_eq!(hello.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(hello.header("Content-Length"), Some("13"));
    assert_eq!(hello.header("Connection"), None);
    assert!(hello.header("Date").is_some_and(|date| date.ends_with(" GMT")));
    let user = answer("GET", "/users/J%C3%B8rn?greeting=God+dag&more");
    assert_eq!(user.text(), "God dag, Jørn!");
    assert_eq!(user.header("X-Path"), Some("/users/J%C3%B8rn"));
    let created = answer("POST", "/users/x");
    assert_eq!((created.status, created.header("Content-Length")), (201, Some("0")));
    assert_eq!(answer("GET", "/files/a/b/c").text(), "a/b/c");
    assert_eq!(answer("PURGE", "/any").text(), "PURGE");
    assert_eq!(answer("GET", "http://test/").text(), "Hello, world!");
    assert_eq!(answer("GET", "/nowhere").status, 404);
    assert_eq!(answer("GET", "/users").status, 404);
    assert_eq!(answer("get", "/").status, 405);
    let not_allowed = answer("DELETE", "/users/x");
    assert_eq!(not_allowed.status, 405);
    let mut allow: Vec<&str> = not_allowed.header("Allow").unwrap().split(", ").collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "POST"]);
    let no_page = answer("GET", "/socket");
    assert_eq!((no_page.status, no_page.header("Upgrade")), (426, Some("websocket")));
    assert_eq!(answer("POST", "/socket").status, 405);
    bed.wait_for_stats("all are counted", |stats| stats.requests == 12);
}

fn a_head_has_no_body(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    peer.write(&[request("HEAD", "/large"), request("HEAD", "/nowhere"), get("/", "")].concat());
    let head = peer.response_head();
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("10000")));
    assert_eq!(peer.response_head().status, 404);
    assert_eq!(peer.response().text(), "Hello, world!");
}

fn requests_in_one_segment_are_answered_in_order(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    let requests: Vec<u8> = [get("/count", ""), get("/large", ""), get("/", "")].concat();
    peer.write(&requests.repeat(100));
    for number in 1..=100 {
        assert_eq!(peer.response().text(), number.to_string());
        assert_eq!(peer.response().body.len(), 10_000);
        assert_eq!(peer.response().body.len(), 13);
    }
}

fn a_request_may_come_byte_by_byte(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    for _ in 0..2 {
        for byte in get("/users/me", "X-Some: thing\r\n") {
            peer.write(&[byte]);
            bed.pass(Duration::from_micros(50));
        }
        assert_eq!(peer.response().text(), "Hello, me!");
    }
}

fn bodies_are_thrown_away(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    let chunked = "POST /users/x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nGET /\r\n0\r\n\r\n";
    let long = format!(
        "POST /users/x HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n{}",
        "GET / HTTP/1.1\r\n\r\n ".repeat(6000).split_at(100_000 - 5).0
    );
    peer.write(chunked.as_bytes());
    peer.expect_status(201);
    peer.write(long.as_bytes());
    peer.expect_status(201);
    peer.write(&[b"12345", &get("/", "")[..]].concat());
    assert_eq!(peer.response().text(), "Hello, world!");
    // A body whose end cannot be found, or that is too long, ends the connection.
    peer.write(b"POST /users/x HTTP/1.1\r\nHost: test\r\nContent-Length: 9999999\r\n\r\n");
    peer.expect_status(413);
    peer.expect_end(End::Fin);
}

fn the_client_ends_a_connection(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    peer.write(&[get("/", "Connection: close\r\n"), get("/count", "")].concat());
    let response = peer.expect_status(200);
    assert_eq!(response.header("Connection"), Some("close"));
    assert_eq!(peer.read_to_end().0, b"", "the second was not answered");
}

fn old_clients_get_one_answer(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    peer.write(b"GET / HTTP/1.0\r\n\r\n");
    let response = peer.expect_status(200);
    assert_eq!(response.header("Connection"), Some("close"));
    peer.expect_end(End::Fin);
    let mut peer = bed.connect();
    peer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = peer.expect_status(200);
    if response.header("Connection") == Some("keep-alive") {
        peer.write(b"GET / HTTP/1.0\r\n\r\n");
        peer.expect_status(200);
    }
    peer.expect_end(End::Fin);
    // An Upgrade of HTTP/1.0 is ignored (RFC 9110 §7.8).
    let old = String::from_utf8(handshake("/socket", "")).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    let mut peer = bed.connect();
    peer.write(old.as_bytes());
    peer.expect_status(426);
}

fn malformed_requests_are_refused_and_closed(on: On) {
    let bed = serve(on);
    let cases: [(&[u8], u16); 9] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET  / HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: test\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost : test\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: test\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: +1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\
            Transfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/3.0\r\nHost: test\r\n\r\n", 505),
    ];
    for (bytes, status) in cases {
        let mut peer = bed.connect();
        // One that is good before it, and one behind it that nobody can be sure of.
        peer.write(&[&get("/", "")[..], bytes, &get("/", "")].concat());
        peer.expect_status(200);
        let response = peer.response();
        assert_eq!(response.status, status, "{}", bytes.escape_ascii());
        assert_eq!(response.header("Connection"), Some("close"));
        peer.expect_end(End::Fin);
    }
    bed.wait_for_stats("all are counted", |stats| stats.bad_requests == 9);
}

fn a_request_that_is_too_large(on: On) {
    let http = HttpLimits {
        max_head_bytes: 1000,
        max_field_count: 5,
        max_target_bytes: 100,
        ..HttpLimits::default()
    };
    let bed = on.bed().limits(Limits { http, ..Limits::default() }).serve(app);
    let cases = [
        (get("/", &format!("X-Long: {}\r\n", "x".repeat(1000))), 431),
        (get("/", &"X: y\r\n".repeat(5)), 431),
        (get(&format!("/{}", "x".repeat(100)), ""), 414),
        (handshake("/socket", &"X: y\r\n".repeat(5)), 431),
    ];
    for (bytes, status) in cases {
        let mut peer = bed.connect();
        peer.write(&bytes);
        peer.expect_status(status);
        peer.expect_end(End::Fin);
    }
    let mut peer = bed.connect();
    // Without an end in sight.
    peer.write(&[b"GET / HTTP/1.1\r\nX: ", &[b'x'; 1000][..]].concat());
    peer.expect_status(431);
}

fn a_page_panics(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    peer.write(&[get("/panic", ""), get("/", "")].concat());
    peer.expect_status(500);
    assert_eq!(peer.response().text(), "Hello, world!");
    bed.wait_for_stats("it is counted", |stats| stats.handler_panics == 1);
}

fn a_page_answers_what_cannot_be_sent(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    peer.write(&get("/bad", ""));
    peer.expect_status(500);
}

fn deadlines(on: On) -> Bed {
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(600),
        ..Limits::default()
    };
    on.bed().limits(limits).serve(app)
}

fn a_head_that_drips_has_a_deadline(on: On) {
    let bed = deadlines(on);
    for first in [true, false] {
        let mut peer = bed.connect();
        if !first {
            peer.write(&get("/", ""));
            peer.expect_status(200);
        }
        let start = bed.clock();
        peer.write(b"GET / HTTP/1.1\r\nX: ");
        while (bed.clock() - start).as_millis() < 150 {
            peer.write(b"x");
            bed.pass(Duration::from_millis(10));
        }
        let response = peer.expect_status(408);
        let time = bed.clock() - start;
        assert!((290..490).contains(&time.as_millis()) || !on.is_simulated(), "{time:?}");
        assert_eq!(response.header("Connection"), Some("close"));
        peer.expect_end(End::Fin);
    }
}

fn a_body_that_drips_has_a_deadline(on: On) {
    let bed = deadlines(on);
    let mut peer = bed.connect();
    peer.write(b"POST /any HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n");
    let start = bed.clock();
    while (bed.clock() - start).as_millis() < 150 {
        peer.write(b"x");
        bed.pass(Duration::from_millis(10));
    }
    // The page did not wait for the body, so that there may be an answer already.
    let (bytes, _) = peer.read_to_end();
    assert!((bed.clock() - start).as_millis() >= 290);
    assert!(bytes.starts_with(b"HTTP/1.1 "), "{}", bytes.escape_ascii());
}

fn who_says_nothing_is_closed(on: On) {
    let bed = deadlines(on);
    let mut peer = bed.connect();
    let start = bed.clock();
    peer.expect_end(End::Fin);
    assert!((bed.clock() - start).as_millis() >= 290);
}

fn keep_alive_has_an_end(on: On) {
    let bed = deadlines(on);
    let mut peer = bed.connect();
    for _ in 0..3 {
        bed.pass(Duration::from_millis(50));
        peer.write(&get("/", ""));
        peer.expect_status(200);
    }
    let start = bed.clock();
    peer.expect_end(End::Fin);
    assert!((bed.clock() - start).as_millis() >= 550);
}

fn the_client_ends_its_direction_and_reads_on(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect();
    peer.write(&get("/large", "").repeat(20));
    peer.shutdown();
    for _ in 0..20 {
        assert_eq!(peer.response().body.len(), 10_000);
    }
    peer.expect_end(End::Fin);
}

fn a_flood_of_requests(on: On) {
    let bed = serve(on);
    let mut peer = bed.connect_narrow();
    let count = if on.is_simulated() { 200 } else { 800 };
    peer.pour(get("/large", "").repeat(count));
    let mut before = 0;
    bed.wait_until("the server reads no more", || {
        bed.pass(Duration::from_millis(50));
        let now = bed.stats().requests;
        now > 5 && std::mem::replace(&mut before, now) == now
    });
    assert!(bed.stats().requests < count as u64);
    for _ in 0..count {
        assert_eq!(peer.response().body.len(), 10_000);
    }
}

fn pipelined_requests_leave_others_their_turn(on: On) {
    let order = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&order);
    let app = move || {
        let log = Arc::clone(&log);
        App::new().get("/:name", move |request| {
            let name = request.raw_parameter("name").unwrap_or_default().to_owned();
            log.lock().unwrap().push_str(&name);
            Response::text(name)
        })
    };
    let limits = Limits { max_pipelined_requests: 3, ..Limits::default() };
    let bed = on.bed().limits(limits).serve(app);
    let mut peers = [("a", bed.connect()), ("b", bed.connect())];
    // A body that nobody wants goes with its request.
    let post = "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz";
    for (name, peer) in &mut peers {
        peer.write(&[get(&format!("/{name}"), "").repeat(6), post.into()].concat());
        peer.write(&get(&format!("/{name}"), "").repeat(4));
    }
    for (name, peer) in &mut peers {
        for number in 0..11 {
            let response = peer.response();
            let is_post = number == 6;
            assert_eq!(response.status, if is_post { 405 } else { 200 });
            assert!(is_post || response.text() == *name);
        }
    }
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 20);
    if on == On::Sim {
        assert_eq!(*order, "aaabbbaaabbbaabbaabb");
    }
}

fn what_follows_a_request_that_waits_is_hardly_read(on: On) {
    let waiting = Arc::new(Mutex::new(None));
    let seat = Arc::clone(&waiting);
    let app = move || {
        let seat = Arc::clone(&seat);
        App::new().get("/", |_| Response::text("quick")).get("/slow", move |_| {
            let seat = Arc::clone(&seat);
            Response::later(move |responder| *seat.lock().unwrap() = Some(responder))
        })
    };
    let bed = on.bed().serve(app);
    let mut peer = bed.connect();
    peer.write(&get("/slow", ""));
    bed.wait_until("the slow one waits", || waiting.lock().unwrap().is_some());
    let before = bed.stats().bytes_in;
    let count = 10_000;
    peer.pour(get("/", "").repeat(count));
    bed.pass(Duration::from_millis(200));
    // 4 KiB that are kept do not keep it from one more receive.
    let kept = bed.stats().bytes_in - before;
    assert!((1..=(4 + 64) << 10).contains(&kept), "{kept} bytes are kept");
    waiting.lock().unwrap().take().unwrap().respond(Response::text("slow"));
    assert_eq!(peer.response().text(), "slow");
    for _ in 0..count {
        assert_eq!(peer.response().text(), "quick");
    }
}

/// Counts what it gets, if it knows beforehand how much that is.
struct Known;

impl HttpHandler for Known {
    type Data = usize;

    fn requires_length(&self) -> bool {
        true
    }

    fn request(&mut self, _: &Request<'_>) -> Reply<usize> {
        Reply::receive(0)
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, usize>, piece: &[u8]) {
        *exchange.data() += piece.len();
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, usize>) {
        let count = exchange.data().to_string();
        exchange.respond(Response::text(count));
    }
}

fn a_length_may_be_required(on: On) {
    let chunked = |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked");
        (head + "\r\n\r\n2\r\nhi\r\n0\r\n\r\n").into_bytes()
    };
    let known = b"POST /known HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    let app = || {
        let length = |_: &Request<'_>, body: &[u8]| Response::text(body.len().to_string());
        App::new().stream("POST", "/known", Known).post("/any", length)
    };
    for requires_length in [false, true] {
        let http = HttpLimits { requires_length, ..HttpLimits::default() };
        let bed = on.bed().limits(Limits { http, ..Limits::default() }).serve(app);
        let mut peer = bed.connect();
        peer.write(known);
        assert_eq!(peer.response().text(), "2");
        peer.write(b"POST /known HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(peer.response().text(), "0", "no body has a length");
        // Where the next request begins is not looked for.
        for (path, is_refused) in [("/any", requires_length), ("/known", true)] {
            let mut peer = bed.connect();
            peer.write(&chunked(path));
            let response = peer.response();
            assert_eq!(response.status, if is_refused { 411 } else { 200 });
            if is_refused {
                assert_eq!(response.header("Connection"), Some("close"));
                peer.expect_end(End::Fin);
            }
        }
    }
}
