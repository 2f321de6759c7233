//! A whole worker on the simulated reactor, where the input decides what peers and kernel do.
//!
//! Whatever that is: `open` and `close` come in pairs, what a peer gets is responses and then
//! frames, and in the end everything is given back.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

use sockeye::{
    App, Close, Context, Limits, Message, Remote, Request, Response, SocketId, Upgrade, WebSocket,
    WebSocketConfig, WebSocketHandler,
    app::{Audit, Service, Worker},
    reactor::{SimFaults, SimNetwork, SimPeer},
};

use super::Choices;

#[derive(Default)]
struct Seen {
    open: BTreeSet<SocketId>,
    failure: Option<String>,
}

impl Seen {
    fn check(&mut self, is_right: bool, text: &str) {
        if !is_right {
            self.failure.get_or_insert_with(|| text.to_owned());
        }
    }
}

struct Handler(Rc<RefCell<Seen>>);

impl WebSocketHandler for Handler {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, ()>) {
        let is_new = self.0.borrow_mut().open.insert(socket.id());
        self.0.borrow_mut().check(is_new, "opened twice");
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        let is_open = self.0.borrow().open.contains(&socket.id());
        self.0.borrow_mut().check(is_open, "a message for a socket that is closed");
        let topics = ["a", "b", "c"];
        let topic = topics[usize::from(message.as_bytes().get(1).copied().unwrap_or(0)) % 3];
        match message.as_bytes().first() {
            Some(b'S') => _ = socket.subscribe(topic),
            Some(b'U') => _ = socket.unsubscribe(topic),
            Some(b'P') => _ = socket.publish(topic, message),
            Some(b'C') => socket.close(sockeye::CloseCode::NORMAL, "asked for"),
            Some(b'A') => socket.abort(),
            Some(b'Z') => socket.pause(),
            Some(b'F') => _ = socket.send_fragment(message, false),
            Some(b'X') => std::panic::resume_unwind(Box::new("meant")),
            _ => _ = socket.send(message),
        }
    }

    fn close(&mut self, _: &mut Context<'_>, (): (), close: Close<'_>) {
        let was_open = self.0.borrow_mut().open.remove(&close.id);
        self.0.borrow_mut().check(was_open, "closed, and was not open");
    }
}

#[allow(clippy::too_many_lines, reason = "one arm for each decision")]
pub fn worker(data: &[u8]) {
    let mut choices = Choices(data);
    let rate = |choices: &mut Choices<'_>| [0, 0, 100, 500][choices.below(4)];
    let faults = SimFaults {
        short_read: rate(&mut choices),
        short_send: rate(&mut choices),
        would_block: rate(&mut choices),
        late_send: rate(&mut choices),
        spurious_wake: rate(&mut choices),
        late_pause: rate(&mut choices),
        late_closed: rate(&mut choices),
        accept_failed: rate(&mut choices),
        reset: rate(&mut choices) / 50,
        reset_on_close: rate(&mut choices),
        ..SimFaults::default()
    };
    let network = SimNetwork::new(u64::from(choices.byte()), faults);
    let seen = Rc::new(RefCell::new(Seen::default()));
    let config = WebSocketConfig {
        max_payload_length: [100, 70_000][choices.below(2)],
        max_backpressure: [50, 64 << 10][choices.below(2)],
        piecewise: choices.below(2) == 1,
        ..WebSocketConfig::default()
    };
    let app = App::new()
        .websocket_with("/ws", config, Handler(Rc::clone(&seen)))
        .get("/", |_| Response::text("page"))
        .on("POST", "/", |_| Response::text("x".repeat(3000)));
    let remote = Remote::new(1, 1000);
    let limits = Limits { max_connections: 5, ..Limits::default() };
    let service = Service::new(app, remote.clone(), 0, Rc::new(limits)).expect("good settings");
    let mut worker = Worker::new(network.reactor(), service, || 0);
    worker.listen(network.listener(80)).expect("the only one");
    let mut peers: Vec<SimPeer> = Vec::new();
    let turn = |worker: &mut Worker<_>| {
        assert!(worker.turn(Some(Duration::ZERO)).expect("it goes on"));
        if let Some(failure) = seen.borrow_mut().failure.take() {
            panic!("{failure}");
        }
    };
    while !choices.is_empty() {
        if peers.is_empty() {
            peers.push(network.connect(80));
        }
        let which = choices.below(peers.len());
        match choices.below(12) {
            0..3 => {
                let count = choices.below(64);
                peers[which].write(choices.bytes(count));
            }
            3 => peers[which].write(OPENING),
            4 => peers.push(network.connect(80)),
            5 => drop(peers[which].read_at_most(usize::from(choices.byte()))),
            6 => peers[which].set_window(usize::from(choices.byte())),
            7 => match choices.below(3) {
                0 => peers[which].shutdown(),
                1 => peers[which].reset(),
                _ => drop(peers.swap_remove(which)),
            },
            8 => network.advance(Duration::from_millis(u64::from(choices.byte()) * 50)),
            9 => _ = remote.publish("a", "from outside"),
            _ => turn(&mut worker),
        }
    }
    network.set_faults(SimFaults::default());
    drop(peers);
    for _ in 0..40 {
        (0..6).for_each(|_| turn(&mut worker));
        // Those that are paused notice nothing until they are written to.
        let _ = remote.run_on(0, |_| {});
        for id in seen.borrow().open.iter().copied() {
            let _ = remote.run_on(0, move |context| context.resume(id));
        }
        network.advance(Duration::from_secs(7));
    }
    assert!(seen.borrow().open.is_empty(), "{:?} were never closed", seen.borrow().open);
    assert_eq!(worker.service().audit(), Audit::default());
    assert_eq!((network.open_sockets(), worker.reactor().keys().count()), (0, 0));
}

const OPENING: &[u8] = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
