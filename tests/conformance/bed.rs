//! What a case runs on: a reactor, and peers that the case plays by itself.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::SockRef;
use sockeye::{
    base::Key,
    reactor::{
        Address, Config, EpollReactor, Listener, Reactor, SimFaults, SimNetwork, SimPeer,
        SimReactor, Socket, UringReactor,
    },
};

/// A reactor, and a way to connect to it.
pub trait Bed: Sized {
    type Reactor: Reactor;
    type Peer: Peer;

    /// So many bytes in place of so many mebibytes: as much as fills what there is to fill.
    const MEBIBYTE: usize = 1 << 20;
    /// How often to do what is different each time.
    const ROUNDS: u32 = 10;
    /// Whether `receive_into` ever brings something. On an old ring nothing.
    const RECEIVES_INTO: bool = true;

    /// What else it depends on.
    fn seed(&self) -> u64 {
        0
    }

    /// Whether connections break without anybody's doing.
    fn may_break(&self) -> bool {
        false
    }

    fn reactor(&mut self) -> &mut Self::Reactor;

    /// Something to listen with, and where.
    fn listener(&mut self) -> (<Self::Reactor as Reactor>::Listener, SocketAddr);

    /// Connects a peer. `None` if nobody listens there.
    fn connect(&mut self, address: SocketAddr) -> Option<Self::Peer>;

    /// A connection without the reactor's listening: the server's socket, and the peer.
    fn pair(&mut self) -> (<Self::Reactor as Reactor>::Socket, Self::Peer);

    /// From now on a send is refused only when the peer has really no room.
    fn refuse_only_when_full(&mut self) {}

    /// Lets some time pass for what is under way.
    fn pause_between_turns(&mut self) {}
}

/// The other end of a connection. Nothing here waits.
pub trait Peer {
    /// Sends as much as is taken, and says how much that was.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// What has arrived, of at most `count` bytes.
    fn read(&mut self, count: usize) -> Vec<u8>;
    /// Whether the server has ended its direction. To be asked after reading.
    fn is_ended(&mut self) -> bool;
    /// Whether the connection broke. To be asked after reading.
    fn is_reset(&mut self) -> bool;
    fn shutdown(&mut self);
    /// Breaks the connection.
    fn reset(&mut self);
}

/// A backend of the kernel's.
pub trait Backend {
    type Reactor: Reactor<Listener = Listener, Socket = Socket>;
    /// As in [`Bed`].
    const RECEIVES_INTO: bool = true;

    fn start(config: &Config) -> io::Result<Self::Reactor>;
}

pub struct Epoll;

impl Backend for Epoll {
    type Reactor = EpollReactor;

    fn start(config: &Config) -> io::Result<EpollReactor> {
        EpollReactor::new(config)
    }
}

pub struct Uring;

impl Backend for Uring {
    type Reactor = UringReactor;

    fn start(config: &Config) -> io::Result<UringReactor> {
        UringReactor::new(config)
    }
}

pub struct UringOfLinux61;

impl Backend for UringOfLinux61 {
    type Reactor = UringReactor;
    // Its receives do not end by themselves.
    const RECEIVES_INTO: bool = false;

    fn start(config: &Config) -> io::Result<UringReactor> {
        UringReactor::like_linux_6_1(config)
    }
}

/// Sockets of the kernel, over the loopback interface.
pub struct KernelBed<B: Backend> {
    reactor: B::Reactor,
}

impl<B: Backend> KernelBed<B> {
    /// `None`, with a line that says why, if this machine lacks the backend.
    pub fn start(config: &Config) -> Option<Self> {
        match B::start(config) {
            Ok(reactor) => Some(Self { reactor }),
            Err(error) if std::env::var_os("SOCKEYE_REQUIRE_URING").is_some() => panic!("{error}"),
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }
}

impl<B: Backend> Bed for KernelBed<B> {
    type Reactor = B::Reactor;
    type Peer = TcpPeer;

    const RECEIVES_INTO: bool = B::RECEIVES_INTO;

    fn reactor(&mut self) -> &mut B::Reactor {
        &mut self.reactor
    }

    fn listener(&mut self) -> (Listener, SocketAddr) {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 1024).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("asked for TCP") };
        (listener, address)
    }

    fn connect(&mut self, address: SocketAddr) -> Option<TcpPeer> {
        match TcpStream::connect(address) {
            Ok(stream) => Some(TcpPeer::new(stream)),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn pair(&mut self) -> (Socket, TcpPeer) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        (Socket::from(std::os::fd::OwnedFd::from(socket)), TcpPeer::new(peer))
    }
}

pub struct TcpPeer {
    stream: TcpStream,
    ended: bool,
    reset: bool,
}

impl TcpPeer {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, ended: false, reset: false }
    }
}

impl Peer for TcpPeer {
    fn write(&mut self, bytes: &[u8]) -> usize {
        match self.stream.write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.reset = true;
                0
            }
        }
    }

    fn read(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count.min(4 << 20)];
        let mut len = 0;
        while len < all.len() {
            match self.stream.read(&mut all[len..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => len += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.reset = true;
                    break;
                }
            }
        }
        all.truncate(len);
        all
    }

    fn is_ended(&mut self) -> bool {
        self.ended
    }

    fn is_reset(&mut self) -> bool {
        self.reset
    }

    fn shutdown(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(&mut self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
        // The descriptor is closed when another one takes its place.
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        self.stream = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        self.reset = true;
    }
}

/// The simulation.
pub struct SimBed {
    network: SimNetwork,
    reactor: SimReactor,
    ports: u16,
    seed: u64,
    faults: SimFaults,
}

impl SimBed {
    /// Faults that lose nothing; none at all with the first seed.
    pub fn start(seed: u64) -> Self {
        let faults = if seed == 0 { SimFaults::default() } else { SimFaults::harmless(seed) };
        Self::with_faults(seed, faults)
    }

    pub fn with_faults(seed: u64, faults: SimFaults) -> Self {
        let network = SimNetwork::new(seed, faults);
        let reactor = network.reactor();
        Self { network, reactor, ports: 0, seed, faults }
    }

    /// How many connections the server has not closed.
    pub fn open_sockets(&self) -> usize {
        self.network.open_sockets()
    }
}

impl Drop for SimBed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to replay: SIM_SEED={}, {:?}", self.seed, self.faults);
        }
    }
}

impl Bed for SimBed {
    type Reactor = SimReactor;
    type Peer = SimPeer;

    const MEBIBYTE: usize = 1 << 16;
    const ROUNDS: u32 = 1;
    // Only behind a short read: one receive takes all that the window lets in.
    const RECEIVES_INTO: bool = false;

    fn seed(&self) -> u64 {
        self.seed
    }

    fn may_break(&self) -> bool {
        self.faults.reset > 0 || self.faults.reset_on_close > 0
    }

    fn reactor(&mut self) -> &mut SimReactor {
        &mut self.reactor
    }

    fn listener(&mut self) -> (<SimReactor as Reactor>::Listener, SocketAddr) {
        self.ports += 1;
        (self.network.listener(self.ports), SocketAddr::from(([10, 0, 0, 2], self.ports)))
    }

    fn connect(&mut self, address: SocketAddr) -> Option<SimPeer> {
        let peer = self.network.connect(address.port());
        (!peer.is_closed()).then_some(peer)
    }

    fn pair(&mut self) -> (<SimReactor as Reactor>::Socket, SimPeer) {
        self.network.pair()
    }

    fn refuse_only_when_full(&mut self) {
        let faults = SimFaults { short_send: 0, would_block: 0, ..self.faults };
        self.network.set_faults(faults);
    }

    fn pause_between_turns(&mut self) {
        self.network.advance(Duration::from_millis(1));
    }
}

impl Peer for SimPeer {
    fn write(&mut self, bytes: &[u8]) -> usize {
        // A kernel would not take everything at once either.
        let count = bytes.len().min(64 << 10);
        SimPeer::write(self, &bytes[..count]);
        count
    }

    fn read(&mut self, count: usize) -> Vec<u8> {
        self.read_at_most(count)
    }

    fn is_ended(&mut self) -> bool {
        SimPeer::is_ended(self)
    }

    fn is_reset(&mut self) -> bool {
        self.was_reset()
    }

    fn shutdown(&mut self) {
        SimPeer::shutdown(self);
    }

    fn reset(&mut self) {
        SimPeer::reset(self);
    }
}

/// The seeds to run with: the one that `SIM_SEED` names, or as many as `SIM_SEEDS` says.
pub fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(32),
    }
}

/// Key number `index`, in its first life.
pub fn key(index: u32) -> Key {
    Key::new(index, 0)
}
