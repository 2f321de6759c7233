//! The owner of a reactor that every case uses. It checks each completion against the contract.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::LazyLock,
    time::{Duration, Instant},
};

use sockeye::{
    base::{Key, Outbox, Shared},
    reactor::{Completion, Reactor, SimRandom},
};

use crate::bed::{Bed, Peer};

type SocketOf<B> = <<B as Bed>::Reactor as Reactor>::Socket;

/// Owns sockets as a worker does, and remembers all that it was told.
pub struct Driver<B: Bed> {
    pub bed: B,
    pub sockets: BTreeMap<Key, Seen>,
    pub accepted: Vec<(usize, SocketOf<B>, Option<SocketAddr>)>,
    pub accept_failures: Vec<(usize, io::Error)>,
    pub woken: usize,
    pub completions: usize,
    /// Sends back what it receives.
    pub echoes: bool,
    /// Leaves `waiting` where it is when there is room again.
    pub holds_back: bool,
    /// Counts what it receives, and does not keep it.
    pub forgets: bool,
    /// After each receive asks for so much more, straight into a buffer with as much room.
    pub gulp: usize,
    /// What came in that way.
    pub gulped: usize,
}

/// What is known of one socket.
#[derive(Debug, Default)]
pub struct Seen {
    pub received: Vec<u8>,
    pub received_count: usize,
    /// The peer's end, with the error if it was none.
    pub ended: Option<Option<ErrorKind>>,
    /// What came back and was not sent again yet.
    pub waiting: Outbox,
    /// Between `Unsent` and `Writable`.
    pub blocked: bool,
    pub writables: usize,
    pub send_error: Option<ErrorKind>,
    pub paused: bool,
    pub received_while_paused: usize,
    shutting_down: bool,
    closing: bool,
    pub closed: bool,
}

impl<B: Bed> Driver<B> {
    pub fn new(bed: B) -> Self {
        Self {
            bed,
            sockets: BTreeMap::new(),
            accepted: Vec::new(),
            accept_failures: Vec::new(),
            woken: 0,
            completions: 0,
            echoes: false,
            holds_back: false,
            forgets: false,
            gulp: 0,
            gulped: 0,
        }
    }

    /// Opens a new connection under this key.
    pub fn open(&mut self, key: Key) -> B::Peer {
        let (socket, peer) = self.bed.pair();
        self.open_socket(key, socket);
        peer
    }

    pub fn open_socket(&mut self, key: Key, socket: SocketOf<B>) {
        self.bed.reactor().open(key, socket).unwrap();
        let before = self.sockets.insert(key, Seen::default());
        assert!(before.is_none(), "a case must not use a key twice");
    }

    /// Listens under this number.
    pub fn listen(&mut self, number: usize) -> SocketAddr {
        let (listener, address) = self.bed.listener();
        self.bed.reactor().listen(number, listener).unwrap();
        address
    }

    pub fn send(&mut self, key: Key, bytes: &[u8]) {
        let mut outbox = Outbox::default();
        outbox.append(bytes);
        self.send_outbox(key, outbox);
    }

    /// Sends, or queues behind what already waits.
    pub fn send_outbox(&mut self, key: Key, mut bytes: Outbox) {
        let seen = self.sockets.get_mut(&key).unwrap();
        if seen.blocked || !seen.waiting.is_empty() {
            seen.waiting.append_outbox(bytes);
        } else {
            self.bed.reactor().send(key, &mut bytes);
            assert!(bytes.is_empty(), "`send` leaves nothing behind");
        }
    }

    pub fn send_shared(&mut self, key: Key, bytes: &Shared) {
        let seen = self.sockets.get_mut(&key).unwrap();
        if seen.blocked || !seen.waiting.is_empty() {
            seen.waiting.push_shared(bytes.clone(), 0);
        } else {
            self.bed.reactor().send_shared(key, bytes);
        }
    }

    pub fn pause(&mut self, key: Key) {
        self.bed.reactor().pause(key);
        let seen = self.sockets.get_mut(&key).unwrap();
        seen.paused = true;
        seen.received_while_paused = 0;
    }

    pub fn resume(&mut self, key: Key) {
        self.bed.reactor().resume(key);
        self.sockets.get_mut(&key).unwrap().paused = false;
    }

    /// Ends the sending direction, after the rest if some of it comes back.
    pub fn shutdown(&mut self, key: Key) {
        self.bed.reactor().shutdown(key);
        self.sockets.get_mut(&key).unwrap().shutting_down = true;
    }

    pub fn close(&mut self, key: Key) {
        self.bed.reactor().close(key);
        self.sockets.get_mut(&key).unwrap().closing = true;
    }

    /// One turn: what was requested is submitted, and all that there is to tell is noted.
    pub fn turn(&mut self) {
        self.turn_for(Duration::from_millis(2));
    }

    pub fn turn_for(&mut self, timeout: Duration) {
        self.wait(timeout);
        while self.note_next() {}
    }

    /// A turn without its completions.
    pub fn wait(&mut self, timeout: Duration) {
        self.bed.pause_between_turns();
        self.bed.reactor().wait(Some(timeout)).unwrap();
    }

    pub fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
        }
    }

    /// Turns until this holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let begin = Instant::now();
        let mut turns = 0;
        while !holds(self) {
            let patience = turns < 100_000 && begin.elapsed() < Duration::from_secs(60);
            assert!(patience, "never came: {what}; {:?}", self.sockets);
            self.turn();
            turns += 1;
        }
    }

    pub fn until_closed(&mut self, key: Key) {
        self.until("Closed", |driver| driver.sockets[&key].closed);
    }

    /// Turns until everything that was sent has been taken.
    pub fn until_sent(&mut self, key: Key) {
        // Rule 5: what was sent before a wait is settled in the turn after it.
        self.turn();
        self.until("everything sent", |driver| {
            let seen = &driver.sockets[&key];
            !seen.blocked && seen.waiting.is_empty()
        });
    }

    /// Sends until the peer, who does not read, lets no more in; returns what was sent.
    pub fn fill(&mut self, key: Key) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.sockets[&key].blocked {
            // Mostly sizes that a ring sends in batches, and some that it sends at once.
            for size in [9_001, 1_001, 12_001, 50_001, 10_001, 3] {
                let bytes = pattern(all.len(), size);
                self.send(key, &bytes);
                all.extend(bytes);
            }
            self.turn();
            assert!(all.len() < 64 << 20, "nothing blocks");
        }
        all
    }

    /// Reads from a peer until it has everything, and compares.
    pub fn expect(&mut self, peer: &mut B::Peer, expected: &[u8]) {
        let mut got = Vec::new();
        self.until("all bytes at the peer", |_| {
            got.extend(peer.read(1 << 20));
            got.len() >= expected.len() || peer.is_ended() || peer.is_reset()
        });
        assert_same(&got, expected);
    }

    /// Receives more of a socket without a completion.
    fn gulp(&mut self, key: Key) {
        // With less room than may be received, and with more.
        let room = self.gulp - self.gulp / 3;
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(b"before");
        let (place, capacity) = (bytes.as_ptr(), bytes.capacity());
        for max in [1, self.gulp / 2, self.gulp] {
            let before = bytes.len();
            let count = self.bed.reactor().receive_into(key, &mut bytes, max);
            assert!(count <= max && bytes.len() == before + count, "rule 3: {count} of {max}");
        }
        assert!((bytes.as_ptr(), bytes.capacity()) == (place, capacity), "the bytes were moved");
        assert_eq!(&bytes[..6], b"before");
        self.gulped += bytes.len() - 6;
        let seen = live(&mut self.sockets, key);
        assert!(bytes.len() == 6 || seen.ended.is_none() && !seen.paused && !seen.closing);
        seen.received.extend_from_slice(&bytes[6..]);
    }

    /// One completion. False: there is none.
    pub fn note_next(&mut self) -> bool {
        let Some(completion) = self.bed.reactor().next() else { return false };
        self.completions += 1;
        match completion {
            Completion::Accepted { listener, socket, peer } => {
                self.accepted.push((listener, socket, peer));
            }
            Completion::AcceptFailed { listener, error } => {
                self.accept_failures.push((listener, error));
            }
            Completion::Woken => self.woken += 1,
            Completion::Received { key, bytes } => {
                let seen = live(&mut self.sockets, key);
                assert!(!bytes.is_empty(), "rule 3: at least one byte");
                assert!(seen.ended.is_none(), "rule 1: bytes after the end");
                if seen.paused {
                    seen.received_while_paused += bytes.len();
                }
                seen.received_count += 1;
                if !self.forgets {
                    seen.received.extend_from_slice(bytes);
                }
                if self.echoes && !seen.closing {
                    let mut reply = Outbox::default();
                    reply.append(bytes);
                    self.send_outbox(key, reply);
                } else if self.gulp > 0 {
                    self.gulp(key);
                }
            }
            Completion::Ended { key, error } => {
                let seen = live(&mut self.sockets, key);
                assert!(seen.ended.is_none(), "rule 1: `Ended` comes once");
                seen.ended = Some(error.map(|error| error.kind()));
            }
            Completion::Unsent { key, rest, error } => {
                let seen = live(&mut self.sockets, key);
                assert!(!rest.is_empty(), "rule 5: nothing came back");
                // Rule 5: all that was under way is in `rest`, so that nothing sent later waits.
                assert!(seen.waiting.is_empty(), "rule 5: came back behind what was sent later");
                seen.waiting = rest;
                match error {
                    None => {
                        assert_eq!(seen.send_error, None, "rule 5: an error is the last word");
                        seen.blocked = true;
                    }
                    Some(error) => seen.send_error = Some(error.kind()),
                }
            }
            Completion::Writable { key } => {
                let seen = live(&mut self.sockets, key);
                assert!(seen.blocked, "rule 5: `Writable` without `Unsent`");
                seen.blocked = false;
                seen.writables += 1;
                if !self.holds_back && !seen.closing {
                    self.bed.reactor().send(key, &mut seen.waiting);
                    assert!(seen.waiting.is_empty());
                    if seen.shutting_down {
                        self.bed.reactor().shutdown(key);
                    }
                }
            }
            Completion::Closed { key } => {
                let seen = live(&mut self.sockets, key);
                assert!(seen.closing, "rule 1: `Closed` without `close`");
                seen.closed = true;
            }
        }
        true
    }
}

/// Rule 1: a key has completions only between `open` and `Closed`.
fn live(sockets: &mut BTreeMap<Key, Seen>, key: Key) -> &mut Seen {
    let seen = sockets.get_mut(&key).expect("rule 1: a key that was never opened");
    assert!(!seen.closed, "rule 1: {key:?} is not silent after `Closed`");
    seen
}

/// Bytes number `start` and following of an endless sequence.
pub fn pattern(start: usize, count: usize) -> Vec<u8> {
    // A prime, so that no size of a buffer divides the period.
    const PERIOD: usize = 65_521;
    static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = SimRandom::new(1);
        (0..PERIOD).map(|_| random.next_u64().to_le_bytes()[0]).collect()
    });
    let mut bytes = Vec::with_capacity(count);
    let mut at = start % PERIOD;
    while bytes.len() < count {
        let end = PERIOD.min(at + count - bytes.len());
        bytes.extend_from_slice(&TABLE[at..end]);
        at = 0;
    }
    bytes
}

/// Says where two long sequences differ, instead of printing both.
pub fn assert_same(got: &[u8], expected: &[u8]) {
    if got != expected {
        let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
        panic!("{} bytes, not {}; first difference {differs:?}", got.len(), expected.len());
    }
}

impl<B: Bed> Driver<B> {
    /// Has the peer write everything, and turns while it cannot.
    pub fn write_all(&mut self, peer: &mut B::Peer, bytes: &[u8]) {
        let mut written = 0;
        self.until("room for the peer's bytes", |_| {
            written += peer.write(&bytes[written..]);
            written == bytes.len()
        });
    }

    /// Turns until the socket has received so many bytes in all.
    pub fn until_received(&mut self, key: Key, count: usize) {
        self.until("bytes received", |driver| driver.sockets[&key].received.len() >= count);
    }

    pub fn until_ended(&mut self, key: Key) {
        self.until("Ended", |driver| driver.sockets[&key].ended.is_some());
    }

    /// Turns until the peer sees the end.
    pub fn until_over(&mut self, peer: &mut B::Peer) {
        self.until("the end at the peer", |_| {
            peer.read(1 << 20);
            peer.is_ended() || peer.is_reset()
        });
    }
}
