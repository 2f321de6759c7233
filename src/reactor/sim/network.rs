//! [`SimNetwork`] and [`SimPeer`]: the other side of a [`SimReactor`], played by a test.
//!
//! One virtual clock, one source of randomness and any number of reactors share a network. What a
//! peer writes goes into segments that arrive in order, at once or (with the fault `delay`) later.
//! What a server sends waits in the connection until the peer reads it, up to the peer's window.

use std::{
    cell::{RefCell, RefMut},
    collections::VecDeque,
    fmt,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    SimFaults, SimRandom, SimReactor,
    faults::{NAMES, NUMBERS},
};

/// A network in memory. Clones are handles of the same network.
///
/// ```
/// use sockeye::reactor::{Completion, Reactor, SimFaults, SimNetwork};
///
/// let network = SimNetwork::new(1, SimFaults::default());
/// let mut reactor = network.reactor();
/// reactor.listen(0, network.listener(80)).unwrap();
/// let peer = network.connect(80);
/// reactor.wait(None).unwrap();
/// assert!(matches!(reactor.next(), Some(Completion::Accepted { listener: 0, .. })));
/// # drop(peer);
/// ```
#[derive(Clone)]
pub struct SimNetwork(Rc<RefCell<State>>);

impl SimNetwork {
    /// An empty network. Everything that will happen follows from the seed and from what the
    /// test does.
    #[must_use]
    pub fn new(seed: u64, faults: SimFaults) -> Self {
        Self(Rc::new(RefCell::new(State {
            random: SimRandom::new(seed),
            faults,
            once: None,
            counts: [0; NAMES.len()],
            now: Duration::ZERO,
            runs_by_itself: false,
            links: Vec::new(),
            ports: Vec::new(),
            reactors: Vec::new(),
        })))
    }

    /// A reactor of this network. Several share the connections of a port that all listen at.
    #[must_use]
    pub fn reactor(&self) -> SimReactor {
        let woken = Arc::new(AtomicBool::new(false));
        let mut state = self.state();
        state.reactors.push(Rest { at_rest: false, until: None, woken: Arc::clone(&woken) });
        let number = state.reactors.len() - 1;
        drop(state);
        SimReactor::new(self.clone(), number, woken)
    }

    /// Something to give to `listen`. Peers may connect from now on.
    #[must_use]
    pub fn listener(&self, port: u16) -> SimListener {
        let mut state = self.state();
        let port = Port { port, backlog: VecDeque::new(), open: true };
        state.ports.push(port);
        SimListener { network: self.clone(), id: state.ports.len() - 1 }
    }

    /// A new connection to one of the port's listeners. If there is none, the peer
    /// [is closed](SimPeer::is_closed).
    #[must_use]
    pub fn connect(&self, port: u16) -> SimPeer {
        #[allow(clippy::cast_possible_truncation, reason = "a port from the dynamic range")]
        let source = 49152 + (self.state().links.len() % 16384) as u16;
        self.connect_from(port, SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), source))
    }

    /// Like [`SimNetwork::connect`], from an address of the test's choice.
    #[must_use]
    pub fn connect_from(&self, port: u16, source: SocketAddr) -> SimPeer {
        let mut state = self.state();
        let link = state.link(Some(source));
        let open = state.ports.iter().enumerate().filter(|(_, p)| p.open && p.port == port);
        let open: Vec<usize> = open.map(|(id, _)| id).collect();
        if open.is_empty() {
            state.links[link].server_closed = true;
        } else {
            let chosen = open[state.random.below(open.len())];
            let at = state.arrival(Duration::ZERO);
            state.ports[chosen].backlog.push_back((at, link));
            state.stir();
        }
        SimPeer { network: self.clone(), link }
    }

    /// A connection that needs no listener: a socket to be opened, and its peer.
    #[must_use]
    pub fn pair(&self) -> (SimSocket, SimPeer) {
        let link = self.state().link(None);
        (SimSocket { network: self.clone(), link }, SimPeer { network: self.clone(), link })
    }

    /// Other rates of faults from now on, for instance none, so that everything must settle.
    pub fn set_faults(&self, faults: SimFaults) {
        self.state().faults = faults;
    }

    /// The N-th occasion from now on of the faults whose rates are not zero here is one, whatever
    /// the rates of the network.
    pub fn fail_nth(&self, faults: SimFaults, nth: u64) {
        self.state().once = Some((faults, nth));
    }

    /// Whether the occasion of [`SimNetwork::fail_nth`] has come. It comes no more from now on.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().once.take().is_some_and(|(_, left)| left == 0)
    }

    /// How often each fault has happened at its rate, by its name.
    pub fn fault_counts(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        NAMES.into_iter().zip(self.state().counts)
    }

    /// Lets virtual time pass.
    pub fn advance(&self, time: Duration) {
        let mut state = self.state();
        state.now += time;
        state.stir();
    }

    /// Virtual time since the network was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.state().now
    }

    /// Whether the clock runs by itself: when no reactor has anything to do, `wait` moves it to
    /// the next arrival, or to the earliest end of all the waits. Off by default: then only
    /// [`SimNetwork::advance`] moves the clock, and a `wait` with nothing to do returns at once.
    pub fn set_runs_by_itself(&self, runs: bool) {
        self.state().runs_by_itself = runs;
    }

    /// Whether every reactor has looked and found nothing since anything was last done, and
    /// nothing is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let state = self.state();
        state.all_rest() && state.next_arrival().is_none()
    }

    /// Connections whose server side is still open: accepted, waiting to be, or opened.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.state().links.iter().filter(|link| !link.server_closed).count()
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimNetwork")
    }
}

/// The peer's end of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct SimPeer {
    network: SimNetwork,
    link: usize,
}

impl SimPeer {
    /// Sends everything to the server; nothing if the connection is over.
    pub fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.push(What::Bytes(bytes.to_vec().into()));
        }
    }

    /// What has arrived and was not read before.
    pub fn read(&mut self) -> Vec<u8> {
        self.read_at_most(usize::MAX)
    }

    /// Like [`SimPeer::read`], of at most `count` bytes.
    pub fn read_at_most(&mut self, count: usize) -> Vec<u8> {
        let mut state = self.network.state();
        state.stir();
        let outgoing = &mut state.links[self.link].outgoing;
        let rest = outgoing.split_off(count.min(outgoing.len()));
        std::mem::replace(outgoing, rest).into()
    }

    /// How many bytes the server's kernel has taken for this peer, read or not.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.network.state().links[self.link].taken_bytes
    }

    /// How many of them wait to be read.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.network.state().links[self.link].outgoing.len()
    }

    /// Whether the server may send nothing more before the peer reads.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.network.state().links[self.link].room() == 0
    }

    /// Ends the sending direction.
    pub fn shutdown(&mut self) {
        self.push(What::End);
    }

    /// Breaks the connection.
    pub fn reset(&mut self) {
        self.push(What::Reset);
        self.network.state().links[self.link].peer_closed = true;
    }

    /// How many bytes the server may send before the peer reads. 256 KiB by default.
    pub fn set_window(&mut self, bytes: usize) {
        let mut state = self.network.state();
        state.links[self.link].window = bytes;
        state.stir();
    }

    /// Whether the server has ended its direction, and everything has been read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        let state = self.network.state();
        let link = &state.links[self.link];
        (link.server_shut || link.server_closed) && link.outgoing.is_empty()
    }

    /// Whether the server has closed the connection. Bytes may still wait to be read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.network.state().links[self.link].server_closed
    }

    /// Whether the connection broke.
    #[must_use]
    pub fn was_reset(&self) -> bool {
        self.network.state().links[self.link].broken
    }

    fn push(&mut self, what: What) {
        let mut state = self.network.state();
        let after = state.links[self.link].last_arrival;
        let at = state.arrival(after);
        let resets = state.happens(|faults| faults.reset_on_close);
        let link = &mut state.links[self.link];
        if link.server_closed && resets && matches!(what, What::Bytes(_)) {
            link.break_off();
        }
        let shut = link.peer_shut && !matches!(what, What::Reset);
        if link.server_closed || link.peer_closed || shut {
            return;
        }
        link.peer_shut |= matches!(what, What::End);
        link.last_arrival = at;
        link.incoming.push_back(Segment { at, what });
        state.stir();
    }
}

impl Drop for SimPeer {
    fn drop(&mut self) {
        self.push(What::End);
        let mut state = self.network.state();
        state.links[self.link].peer_closed = true;
        state.stir();
    }
}

/// A listening socket of a [`SimNetwork`].
#[derive(Debug)]
pub struct SimListener {
    network: SimNetwork,
    id: usize,
}

impl SimListener {
    pub(super) fn accept(&self) -> Option<(SimSocket, Option<SocketAddr>)> {
        let mut state = self.network.state();
        let now = state.now;
        let backlog = &mut state.ports[self.id].backlog;
        backlog.front().filter(|(at, _)| *at <= now)?;
        let (_, link) = backlog.pop_front()?;
        let source = state.links[link].source;
        Some((SimSocket { network: self.network.clone(), link }, source))
    }

    pub(super) fn has_connection(&self) -> bool {
        let state = self.network.state();
        state.ports[self.id].backlog.front().is_some_and(|(at, _)| *at <= state.now)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut state = self.network.state();
        state.ports[self.id].open = false;
        for (_, link) in std::mem::take(&mut state.ports[self.id].backlog) {
            state.links[link].break_off();
            state.links[link].server_closed = true;
        }
    }
}

/// The server's end of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct SimSocket {
    pub(super) network: SimNetwork,
    pub(super) link: usize,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let resets = state.happens(|faults| faults.reset_on_close);
        let link = &mut state.links[self.link];
        if resets && link.incoming.iter().any(|segment| matches!(segment.what, What::Bytes(_))) {
            link.break_off();
        }
        link.server_closed = true;
        link.incoming.clear();
    }
}

/// What all handles of a network share.
pub(super) struct State {
    pub(super) random: SimRandom,
    pub(super) faults: SimFaults,
    // Faults of which one occasion is chosen, and how many are left until then.
    once: Option<(SimFaults, u64)>,
    // How often each has happened.
    counts: [u64; NAMES.len()],
    pub(super) now: Duration,
    runs_by_itself: bool,
    pub(super) links: Vec<Link>,
    ports: Vec<Port>,
    reactors: Vec<Rest>,
}

/// Whether a reactor has anything to do, and until when it would wait.
struct Rest {
    at_rest: bool,
    until: Option<Duration>,
    woken: Arc<AtomicBool>,
}

struct Port {
    port: u16,
    backlog: VecDeque<(Duration, usize)>,
    open: bool,
}

/// One connection.
pub(super) struct Link {
    source: Option<SocketAddr>,
    incoming: VecDeque<Segment>,
    last_arrival: Duration,
    outgoing: VecDeque<u8>,
    taken_bytes: u64,
    window: usize,
    peer_shut: bool,
    peer_closed: bool,
    server_shut: bool,
    server_closed: bool,
    broken: bool,
}

struct Segment {
    at: Duration,
    what: What,
}

enum What {
    Bytes(VecDeque<u8>),
    End,
    Reset,
}

impl State {
    fn link(&mut self, source: Option<SocketAddr>) -> usize {
        self.links.push(Link {
            source,
            incoming: VecDeque::new(),
            last_arrival: Duration::ZERO,
            outgoing: VecDeque::new(),
            taken_bytes: 0,
            window: WINDOW_BYTES,
            peer_shut: false,
            peer_closed: false,
            server_shut: false,
            server_closed: false,
            broken: false,
        });
        self.links.len() - 1
    }

    /// Whether this fault happens now.
    pub(super) fn happens(&mut self, rate: impl Fn(&SimFaults) -> u16) -> bool {
        if let Some((faults, left)) = &mut self.once
            && rate(faults) > 0
            && *left > 0
        {
            *left -= 1;
            if *left == 0 {
                return true;
            }
        }
        let happens = self.random.happens(rate(&self.faults));
        if happens {
            self.counts[usize::from(rate(&NUMBERS))] += 1;
        }
        happens
    }

    /// Draws when something that is sent now arrives.
    fn arrival(&mut self, after: Duration) -> Duration {
        let delayed = self.happens(|faults| faults.delay);
        let delay = if delayed { self.random.below(MAX_DELAY_MICROS) } else { 0 };
        after.max(self.now + Duration::from_micros(delay as u64))
    }

    fn next_arrival(&self) -> Option<Duration> {
        let segments = self.links.iter().flat_map(|link| link.incoming.iter().map(|s| s.at));
        let connections = self.ports.iter().flat_map(|port| port.backlog.iter().map(|c| c.0));
        segments.chain(connections).filter(|at| *at > self.now).min()
    }

    fn all_rest(&self) -> bool {
        self.reactors.iter().all(|rest| rest.at_rest && !rest.woken.load(Ordering::Acquire))
    }

    /// Something has happened: every reactor has to look again.
    fn stir(&mut self) {
        for rest in &mut self.reactors {
            rest.at_rest = false;
        }
    }

    pub(super) fn note_request(&mut self, reactor: usize) {
        self.reactors[reactor].at_rest = false;
    }

    /// A reactor has found nothing to do. True if the clock has moved, so that there may be now.
    pub(super) fn rest(&mut self, reactor: usize, timeout: Option<Duration>) -> bool {
        let until = timeout.and_then(|timeout| self.now.checked_add(timeout));
        let rest = &mut self.reactors[reactor];
        (rest.at_rest, rest.until) = (true, until);
        if !self.runs_by_itself || !self.all_rest() {
            return false;
        }
        let ends = self.reactors.iter().filter_map(|rest| rest.until);
        match ends.chain(self.next_arrival()).min() {
            Some(at) if at > self.now => {
                self.now = at;
                true
            }
            _ => false,
        }
    }
}

impl Link {
    /// Whether a receive would have a result.
    pub(super) fn is_readable(&self, now: Duration) -> bool {
        self.broken || self.incoming.front().is_some_and(|segment| segment.at <= now)
    }

    /// How many bytes have arrived.
    pub(super) fn available(&self, now: Duration) -> usize {
        let arrived = self.incoming.iter().take_while(|segment| segment.at <= now);
        arrived.map(Segment::len).sum()
    }

    /// Takes what has arrived, into the buffer. `None`: nothing has; `Ok(0)`: nothing will.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        buffer: &mut [u8],
    ) -> Option<io::Result<usize>> {
        if self.broken {
            return Some(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
        }
        let mut count = 0;
        while let Some(segment) = self.incoming.front_mut()
            && segment.at <= now
            && count < buffer.len()
        {
            match &mut segment.what {
                What::Bytes(bytes) => {
                    let take = bytes.len().min(buffer.len() - count);
                    bytes.read_exact(&mut buffer[count..count + take]).expect("as many there are");
                    count += take;
                    if bytes.is_empty() {
                        self.incoming.pop_front();
                    }
                }
                What::End if count == 0 => return Some(Ok(0)),
                What::Reset if count == 0 => {
                    self.break_off();
                    return Some(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
                }
                What::End | What::Reset => break,
            }
        }
        (count > 0).then_some(Ok(count))
    }

    /// Room for bytes to the peer.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.outgoing.len())
    }

    /// Whether a send would fail, because the peer is gone or the direction has been ended.
    pub(super) fn refuses(&self, now: Duration) -> Option<io::Error> {
        let reset = |segment: &Segment| segment.at <= now && matches!(segment.what, What::Reset);
        if self.broken || self.incoming.iter().any(reset) {
            return Some(io::Error::from_raw_os_error(libc::ECONNRESET));
        }
        let gone = self.peer_closed || self.server_shut;
        gone.then(|| io::Error::from_raw_os_error(libc::EPIPE))
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.outgoing.extend(bytes);
        self.taken_bytes += bytes.len() as u64;
    }

    pub(super) fn shut(&mut self) {
        self.server_shut = true;
    }

    /// The connection is gone, with everything that was under way.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
        self.incoming.clear();
        self.outgoing.clear();
    }
}

impl Segment {
    fn len(&self) -> usize {
        match &self.what {
            What::Bytes(bytes) => bytes.len(),
            What::End | What::Reset => 0,
        }
    }
}

const WINDOW_BYTES: usize = 256 << 10;
/// How late a segment may be.
const MAX_DELAY_MICROS: usize = 50_000;
