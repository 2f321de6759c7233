//! The way to a WebSocket: the handshake, what it may ask for, and answers that come later.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use sockeye::{
    App, Close, Context, Limits, Message, Origin, PendingUpgrade, Request, Response, Status,
    Upgrade, WebSocket, WebSocketConfig, WebSocketHandler,
};

use crate::support::{
    Bed, End, Frame, Log, ON_PURPOSE, On, Puppet, frame, get, handshake, scenarios,
};

scenarios!(
    bytes_behind_the_handshake_are_the_first_frames,
    a_handshake_may_come_byte_by_byte,
    bad_handshakes_have_their_status,
    a_refusal_leaves_the_connection_open,
    routes_have_their_own_handlers,
    the_origin_decides,
    a_subprotocol_is_chosen,
    the_handler_sees_the_request_and_adds_headers,
    a_protocol_that_was_not_offered_is_the_handlers_doing,
    an_answer_comes_later,
    a_refusal_comes_later,
    an_answer_is_forgotten,
    an_answer_comes_too_late,
    the_client_has_gone_before_the_answer,
    the_worker_answers_in_between,
    the_start_of_a_later_answer_panics,
    later_and_later_again_is_an_error,
    a_shutdown_comes_before_the_answer,
    data_that_is_dropped_panics,
);

fn bytes_behind_the_handshake_are_the_first_frames(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.connect();
    let frames = [frame(Frame::TEXT, b"say one"), frame(Frame::BINARY, b"two")].concat();
    let half = frame(Frame::TEXT, b"say three");
    peer.write(&[&handshake("/", "")[..], &frames, &half[..5]].concat());
    peer.expect_switch();
    peer.expect_text("one");
    peer.expect_frame(Frame::BINARY, b"two");
    peer.write(&half[5..]);
    peer.expect_text("three");
}

fn a_handshake_may_come_byte_by_byte(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.connect();
    for byte in handshake("/", "Sec-WebSocket-Extensions: permessage-foo\r\n") {
        peer.write(&[byte]);
        bed.pass(Duration::from_micros(100));
    }
    let response = peer.expect_switch();
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    peer.text("say hello");
    peer.expect_text("hello");
}

fn bad_handshakes_have_their_status(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let good = String::from_utf8(handshake("/", "")).unwrap();
    let cases: [(&str, &str, u16); 12] = [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("Connection: Upgrade", "Connection: keep-alive", 400),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Host: test\r\n", "", 400),
        ("Host: test", "Host: test\r\nHost: test", 400),
        ("Host: test", "Host: test\r\nContent-Length: 3", 400),
        ("GET", "POST", 405),
        ("HTTP/1.1", "HTTP/2.0", 505),
    ];
    for (from, to, status) in cases {
        let mut peer = bed.connect();
        peer.write(good.replace(from, to).as_bytes());
        let response = peer.response();
        assert_eq!(response.status, status, "{to:?}: {response:?}");
        if status == 426 {
            // RFC 6455 §4.4; RFC 9110 §15.5.22.
            assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
            assert_eq!(response.header("Upgrade"), Some("websocket"));
        }
        if status == 405 {
            assert_eq!(response.header("Allow"), Some("GET"));
        }
    }
    assert_eq!(log.lines(), [""; 0], "no handler was asked");
    bed.wait_for_stats("nothing is open", |stats| stats.websockets == 0);
}

fn a_refusal_leaves_the_connection_open(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.connect();
    peer.write(&handshake("/?refuse=401", ""));
    assert_eq!(peer.expect_status(401).text(), "401 Unauthorized");
    // Two in one segment: what follows a refusal is a request, and not a frame.
    peer.write(&[handshake("/?refuse=403", ""), handshake("/?name=a", "")].concat());
    peer.expect_status(403);
    peer.expect_switch();
    peer.text("say hello");
    peer.expect_text("hello");
    log.expect(
        &bed,
        &["upgrade", "upgrade", "a upgrade", "a open", "a message say hello", "status Sent"],
    );
}

fn routes_have_their_own_handlers(on: On) {
    let logs = [Log::default(), Log::default(), Log::default()];
    let [exact, parameter, rest] = logs.clone();
    let bed = on.bed().serve(move || {
        let config = WebSocketConfig { max_payload_length: 10, ..WebSocketConfig::default() };
        App::new()
            .websocket("/*", Puppet::new(&rest))
            .websocket("/rooms/:room", Puppet::new(&parameter))
            .websocket_with("/rooms/one", config, Puppet::new(&exact))
            .get("/rooms/one", |_| Response::text("a page"))
    });
    let mut peers = ["/rooms/one", "/rooms/two", "/rooms/two/more"].map(|path| bed.open(path));
    for (peer, log) in peers.iter_mut().zip(&logs) {
        peer.text("say hi");
        peer.expect_text("hi");
        assert_eq!(log.count("open"), 1);
    }
    // The limit is that of its route.
    peers[1].binary(&[0; 11]);
    peers[1].expect_frame(Frame::BINARY, &[0; 11]);
    peers[0].binary(&[0; 11]);
    peers[0].expect_close(1009, "message too long");
    let mut page = bed.connect();
    page.write(&get("/rooms/one", ""));
    assert_eq!(page.expect_status(200).text(), "a page");
    page.write(&get("/rooms/two", ""));
    page.expect_status(426);
}

fn the_origin_decides(on: On) {
    let route = |origin| WebSocketConfig { origin, ..WebSocketConfig::default() };
    let bed = on.bed().serve(move || {
        let list = Origin::list(["https://good.example", "null"]).unwrap();
        let puppet = Puppet::default;
        App::new()
            .websocket_with("/same", route(Origin::Same), puppet())
            .websocket_with("/any", route(Origin::Any), puppet())
            .websocket_with("/list", route(list), puppet())
    });
    let cases = [
        ("/same", "http://test", 101),
        ("/same", "https://TEST", 101),
        ("/same", "http://test:8080", 403),
        ("/same", "http://evil.example", 403),
        ("/same", "null", 403),
        ("/any", "http://evil.example", 101),
        ("/list", "https://good.example", 101),
        ("/list", "https://good.example:443", 101),
        ("/list", "http://good.example", 403),
        ("/list", "null", 101),
        ("/list", "http://test", 403),
    ];
    for (target, origin, status) in cases {
        let mut peer = bed.connect();
        peer.write(&handshake(target, &format!("Origin: {origin}\r\n")));
        let found = peer.response_head().status;
        assert_eq!(found, status, "{origin} at {target}");
    }
    for target in ["/same", "/any", "/list"] {
        // No browser.
        bed.open(target);
    }
}

fn a_subprotocol_is_chosen(on: On) {
    let protocols = vec!["chat.v2".to_owned(), "chat.v1".to_owned()];
    let config = WebSocketConfig { protocols, ..WebSocketConfig::default() };
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let cases = [
        ("chat.v1, chat.v2", Some("chat.v2")),
        ("chat.v1", Some("chat.v1")),
        ("other", None),
        ("CHAT.V1", None),
    ];
    for (offer, chosen) in cases {
        let mut peer = bed.connect();
        peer.write(&handshake("/", &format!("Sec-WebSocket-Protocol: {offer}\r\n")));
        let response = peer.expect_switch();
        assert_eq!(response.header("Sec-WebSocket-Protocol"), chosen, "of {offer}");
    }
    let twice = "Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: chat.v2\r\n";
    let mut peer = bed.connect();
    peer.write(&handshake("/", twice));
    let response = peer.expect_switch();
    assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("chat.v2"));
    let mut peer = bed.connect();
    peer.write(&handshake("/", "Sec-WebSocket-Protocol: chat.v1, chat.v1\r\n"));
    peer.expect_status(400);
}

/// Looks at requests, and decides by their query.
struct Doorkeeper;

impl WebSocketHandler for Doorkeeper {
    type Data = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let room = request.parameter("room").unwrap_or_default();
        let agent = request.header("user-agent").unwrap_or_default();
        assert_eq!((request.method(), request.worker()), ("GET", 0));
        assert_eq!(request.host(), Some("test"));
        assert!(request.remote_addr().is_some());
        let seen =
            format!("{room} {agent} [{}]", request.protocols().collect::<Vec<_>>().join("+"));
        let answer = match request.query("answer").as_deref() {
            Some("json") => Upgrade::respond(Response::json("{}").with_status(Status::CONFLICT)),
            Some("bad header") => Upgrade::accept(()).header("X-Bad", "a\r\nb"),
            _ => Upgrade::accept(()),
        };
        match request.query("protocol") {
            Some(name) => answer.header("X-Seen", seen).protocol(name.into_owned()),
            None => answer.header("X-Seen", seen),
        }
    }
}

fn doorkeeper() -> App {
    App::new().websocket("/rooms/:room", Doorkeeper)
}

fn the_handler_sees_the_request_and_adds_headers(on: On) {
    let bed = on.bed().serve(doorkeeper);
    let more = "User-Agent: me\r\nSec-WebSocket-Protocol: a, b\r\n";
    let mut peer = bed.connect();
    peer.write(&handshake("/rooms/r%C3%B6d?protocol=b", more));
    let response = peer.expect_switch();
    assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("b"));
    assert_eq!(response.header("X-Seen"), Some("röd me [a+b]"));
    let mut peer = bed.connect();
    peer.write(&handshake("/rooms/1?answer=json", ""));
    let response = peer.expect_status(409);
    assert_eq!(
        (response.text(), response.header("Content-Type")),
        ("{}", Some("application/json"))
    );
    assert_eq!(response.header("X-Seen"), Some("1  []"));
    // What cannot be sent is a 500, and no WebSocket.
    peer.write(&handshake("/rooms/1?answer=bad+header", ""));
    peer.expect_status(500);
}

fn a_protocol_that_was_not_offered_is_the_handlers_doing(on: On) {
    let bed = on.bed().serve(doorkeeper);
    let mut peer = bed.connect();
    peer.write(&handshake("/rooms/1?protocol=mine", ""));
    let response = peer.expect_switch();
    assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("mine"));
}

type Waiting = Arc<Mutex<Vec<PendingUpgrade<Ticket>>>>;

/// Lets everyone wait; the scenario answers.
#[derive(Clone, Default)]
struct Patience {
    log: Log,
    waiting: Waiting,
    // Data that has been made and not been dropped.
    alive: Arc<AtomicUsize>,
}

struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Patience {
    fn app(&self) -> impl Fn() -> App + Send + Sync + 'static {
        let patience = self.clone();
        move || {
            App::new().websocket("/*", patience.clone()).get("/page", |_| Response::text("page"))
        }
    }

    fn ticket(&self) -> Ticket {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Ticket(Arc::clone(&self.alive))
    }

    #[track_caller]
    fn next(&self, bed: &Bed) -> PendingUpgrade<Ticket> {
        bed.wait_until("somebody waits", || !self.waiting.lock().unwrap().is_empty());
        self.waiting.lock().unwrap().remove(0)
    }

    #[track_caller]
    fn expect_alive(&self, bed: &Bed, count: usize) {
        bed.wait_until(format_args!("{count} are alive"), || {
            self.alive.load(Ordering::Relaxed) == count
        });
    }
}

impl WebSocketHandler for Patience {
    type Data = Ticket;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Ticket> {
        let waiting = Arc::clone(&self.waiting);
        let panics = request.query("panic").is_some();
        Upgrade::later(move |pending| {
            assert!(!panics, "{ON_PURPOSE}");
            waiting.lock().unwrap().push(pending);
        })
    }

    fn open(&mut self, socket: &mut WebSocket<'_, Ticket>) {
        self.log.push("open".to_owned());
        self.log.name("", socket.id());
    }

    fn message(&mut self, socket: &mut WebSocket<'_, Ticket>, message: Message<'_>) {
        socket.send(message);
    }

    fn close(&mut self, _: &mut Context<'_>, _: Ticket, close: Close<'_>) {
        self.log.push(format!("close {}", close.code));
    }
}

fn an_answer_comes_later(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    let mut peer = bed.connect();
    // Frames behind the handshake wait for the answer as well.
    peer.write(&[handshake("/", ""), frame(Frame::TEXT, b"first")].concat());
    let pending = patience.next(&bed);
    peer.write(&frame(Frame::TEXT, b"second"));
    peer.expect_silence(Duration::from_millis(20));
    let (id, remote, ticket) = (pending.id(), bed.remote(), patience.ticket());
    thread::spawn(move || {
        pending.answer(Upgrade::accept(ticket).header("X-Later", "yes"));
        remote.send(id, "greeting").unwrap();
    })
    .join()
    .unwrap();
    let response = peer.expect_switch();
    assert_eq!(response.header("X-Later"), Some("yes"));
    let mut texts: Vec<String> = (0..3).map(|_| peer.read_text()).collect();
    assert_eq!(
        texts.iter().filter(|text| *text != "greeting").collect::<Vec<_>>(),
        ["first", "second"]
    );
    texts.sort_unstable();
    assert_eq!(texts, ["first", "greeting", "second"]);
    assert_eq!(patience.log.id(""), id);
    patience.expect_alive(&bed, 1);
    peer.close(1000, "");
    peer.expect_close(1000, "");
    patience.log.expect(&bed, &["open", "close 1000"]);
    patience.expect_alive(&bed, 0);
}

fn a_refusal_comes_later(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    let mut peer = bed.connect();
    peer.write(&[get("/page", ""), handshake("/", ""), handshake("/", "")].concat());
    assert_eq!(peer.expect_status(200).text(), "page");
    let pending = patience.next(&bed);
    let id = pending.id();
    pending.answer(Upgrade::reject(Status::UNAUTHORIZED).header("X-Why", "who?"));
    let response = peer.expect_status(401);
    assert_eq!(response.header("X-Why"), Some("who?"));
    // No other socket gets the id that this one was to have.
    assert_eq!(response.header("Connection"), Some("close"));
    peer.expect_end(End::Fin);
    let mut peer = bed.connect();
    peer.write(&handshake("/", ""));
    let pending = patience.next(&bed);
    assert_ne!(pending.id(), id);
    pending.answer(Upgrade::accept(patience.ticket()));
    peer.expect_switch();
    bed.remote().send(id, "for nobody").unwrap();
    peer.text("hello");
    peer.expect_text("hello");
}

fn an_answer_is_forgotten(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    let mut peer = bed.connect();
    peer.write(&handshake("/", ""));
    drop(patience.next(&bed));
    peer.expect_status(500);
    peer.expect_end(End::Fin);
}

fn an_answer_comes_too_late(on: On) {
    let patience = Patience::default();
    let limits = Limits { answer_timeout: Duration::from_millis(100), ..Limits::default() };
    let bed = on.bed().limits(limits).serve(patience.app());
    let mut peer = bed.connect();
    let start = bed.clock();
    peer.write(&handshake("/", ""));
    let pending = patience.next(&bed);
    peer.expect_status(503);
    assert!((bed.clock() - start).as_millis() >= 90);
    peer.expect_end(End::Fin);
    pending.answer(Upgrade::accept(patience.ticket()));
    patience.expect_alive(&bed, 0);
    assert_eq!(patience.log.lines(), [""; 0]);
}

fn the_client_has_gone_before_the_answer(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    for resets in [false, true] {
        let mut peer = bed.connect();
        peer.write(&handshake("/", ""));
        let pending = patience.next(&bed);
        if resets {
            peer.reset();
        } else {
            drop(peer);
        }
        bed.wait_for_stats("it is gone", |stats| stats.connections == 0);
        // Its place is taken by another, whom the answer does not concern.
        let mut other = bed.connect();
        other.write(&handshake("/", ""));
        let later = patience.next(&bed);
        pending.answer(Upgrade::accept(patience.ticket()));
        other.expect_silence(Duration::from_millis(20));
        patience.expect_alive(&bed, 0);
        later.answer(Upgrade::reject(Status::FORBIDDEN));
        other.expect_status(403);
        drop(other);
        bed.wait_for_stats("it is gone too", |stats| stats.connections == 0);
    }
    assert_eq!(patience.log.lines(), [""; 0]);
}

fn the_worker_answers_in_between(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    let mut waiting = bed.connect();
    waiting.write(&handshake("/", ""));
    let pending = patience.next(&bed);
    let mut other = bed.connect();
    other.write(&get("/page", ""));
    other.expect_status(200);
    pending.answer(Upgrade::accept(patience.ticket()));
    waiting.expect_switch();
}

fn the_start_of_a_later_answer_panics(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    let mut peer = bed.connect();
    peer.write(&handshake("/?panic", ""));
    peer.expect_status(500);
    peer.expect_end(End::Fin);
    assert_eq!(bed.stats().handler_panics, 1);
}

fn later_and_later_again_is_an_error(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    let mut peer = bed.connect();
    peer.write(&handshake("/", ""));
    patience.next(&bed).answer(Upgrade::later(drop));
    peer.expect_status(500);
}

fn a_shutdown_comes_before_the_answer(on: On) {
    let patience = Patience::default();
    let bed = on.bed().serve(patience.app());
    let mut peer = bed.connect();
    peer.write(&handshake("/", ""));
    let pending = patience.next(&bed);
    bed.remote().shutdown(Duration::from_secs(5));
    peer.expect_silence(Duration::from_millis(20));
    pending.answer(Upgrade::accept(patience.ticket()));
    let response = peer.expect_status(503);
    assert_eq!(response.header("Connection"), Some("close"));
    peer.expect_end(End::Fin);
    patience.expect_alive(&bed, 0);
    drop(peer);
    bed.wait_until("it is over", || bed.has_ended());
}

/// Data whose drop panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{ON_PURPOSE}");
    }
}

/// Makes sockets whose data nobody should drop.
struct Bomber(Arc<Mutex<Vec<PendingUpgrade<Bomb>>>>);

impl WebSocketHandler for Bomber {
    type Data = Bomb;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Bomb> {
        let waiting = Arc::clone(&self.0);
        match request.query("later") {
            Some(_) => Upgrade::later(move |pending| waiting.lock().unwrap().push(pending)),
            None => Upgrade::accept(Bomb).header("X-Bad", "a\nb"),
        }
    }
}

fn data_that_is_dropped_panics(on: On) {
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let handler = Arc::clone(&waiting);
    let bed = on.bed().serve(move || {
        let page = App::new().get("/page", |_| Response::text("page"));
        page.websocket("/", Bomber(Arc::clone(&handler)))
    });
    let mut witness = bed.connect();
    let mut peer = bed.connect();
    peer.write(&handshake("/", ""));
    peer.expect_status(500);
    // An answer that comes when its client has gone.
    let mut peer = bed.connect();
    peer.write(&handshake("/?later", ""));
    bed.wait_until("it waits", || !waiting.lock().unwrap().is_empty());
    drop(peer);
    bed.wait_for_stats("it is gone", |stats| stats.connections <= 2);
    waiting.lock().unwrap().remove(0).answer(Upgrade::accept(Bomb));
    // And one that is accepted, and closed.
    let mut peer = bed.connect();
    peer.write(&handshake("/?later", ""));
    bed.wait_until("it waits", || !waiting.lock().unwrap().is_empty());
    waiting.lock().unwrap().remove(0).answer(Upgrade::accept(Bomb));
    peer.expect_switch();
    peer.close(1000, "");
    peer.expect_close(1000, "");
    witness.write(&get("/page", ""));
    witness.expect_status(200);
    bed.wait_for_stats("panics are counted", |stats| stats.handler_panics >= 2);
}
