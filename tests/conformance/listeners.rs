//! Listening and accepting. First what all reactors do, then what only a kernel has.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    time::Duration,
};

use socket2::{Domain, SockAddr, Type};
use sockeye::reactor::{Address, Completion, Config, Listener, Reactor};

use crate::{
    bed::{Backend, Bed, KernelBed, Peer, TcpPeer, key},
    driver::Driver,
};

pub fn connections_are_accepted<B: Bed>(driver: &mut Driver<B>) {
    let address = driver.listen(4);
    let mut peers: Vec<_> = (0..100).map(|_| driver.bed.connect(address).unwrap()).collect();
    driver.until("all of them", |driver| driver.accepted.len() == 100);
    let mut sources: Vec<_> = driver.accepted.iter().map(|(_, _, peer)| peer.unwrap()).collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 100);
    for (n, (listener, socket, _)) in (0..).zip(std::mem::take(&mut driver.accepted)) {
        assert_eq!(listener, 4);
        driver.open_socket(key(n), socket);
        driver.send(key(n), b"welcome");
    }
    for peer in &mut peers {
        driver.expect(peer, b"welcome");
    }
}

pub fn several_listeners_are_told_apart<B: Bed>(driver: &mut Driver<B>) {
    let addresses: Vec<_> = (0..3).map(|number| driver.listen(number)).collect();
    for _ in 0..3 {
        for (number, address) in addresses.iter().enumerate() {
            let _peer = driver.bed.connect(*address).unwrap();
            driver.until("Accepted", |driver| !driver.accepted.is_empty());
            assert_eq!(driver.accepted.pop().unwrap().0, number);
        }
    }
}

pub fn a_listeners_number_is_in_use_until_unlisten<B: Bed>(driver: &mut Driver<B>) {
    let first = driver.listen(1);
    let (listener, _) = driver.bed.listener();
    let error = driver.bed.reactor().listen(1, listener).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    driver.bed.reactor().unlisten(1);
    assert!(driver.bed.connect(first).is_none(), "nobody listens any more");
    for _ in 0..10 {
        let address = driver.listen(1);
        let _peer = driver.bed.connect(address).expect("somebody listens");
        driver.until("Accepted", |driver| !driver.accepted.is_empty());
        driver.accepted.clear();
        driver.bed.reactor().unlisten(1);
        assert!(driver.bed.connect(address).is_none());
    }
    // Numbers that were never used.
    driver.bed.reactor().unlisten(1);
    driver.bed.reactor().unlisten(17);
    driver.bed.reactor().resume_accept(17);
    driver.turns(3);
    assert!(driver.accepted.is_empty() && driver.accept_failures.is_empty());
}

pub fn accepted_connections_outlive_their_listener<B: Bed>(driver: &mut Driver<B>) {
    let address = driver.listen(0);
    let mut peer = driver.bed.connect(address).unwrap();
    driver.until("Accepted", |driver| !driver.accepted.is_empty());
    driver.bed.reactor().unlisten(0);
    let (_, socket, _) = driver.accepted.pop().unwrap();
    driver.open_socket(key(0), socket);
    driver.write_all(&mut peer, b"hello");
    driver.until_received(key(0), 5);
}

pub fn resuming_a_listener_that_does_not_rest_changes_nothing<B: Bed>(driver: &mut Driver<B>) {
    let address = driver.listen(0);
    driver.bed.reactor().resume_accept(0);
    driver.turn();
    driver.bed.reactor().resume_accept(0);
    let _peer = driver.bed.connect(address).unwrap();
    driver.until("Accepted", |driver| !driver.accepted.is_empty());
    driver.turns(3);
    assert_eq!(driver.accepted.len(), 1);
}

/// Accepts one connection and echoes one line.
fn serve<R: Reactor>(
    reactor: &mut R,
    mut peer: impl std::io::Read + std::io::Write,
) -> Option<SocketAddr> {
    peer.write_all(b"hello").unwrap();
    let mut source = None;
    let (mut received, mut opened) = (0, 0);
    while received < 5 {
        reactor.wait(Some(Duration::from_secs(5))).unwrap();
        loop {
            let socket = match reactor.next() {
                None => break,
                Some(Completion::Accepted { socket, peer, .. }) => {
                    source = peer;
                    socket
                }
                Some(Completion::Received { key, bytes }) => {
                    received += bytes.len();
                    let mut reply = sockeye::base::Outbox::default();
                    reply.append(bytes);
                    reactor.send(key, &mut reply);
                    continue;
                }
                // Whoever looked whether somebody listens here.
                Some(Completion::Ended { .. }) => continue,
                Some(other) => panic!("{other:?}"),
            };
            reactor.open(key(opened), socket).unwrap();
            opened += 1;
        }
    }
    (0..opened).for_each(|n| reactor.close(key(n)));
    let mut closed = 0;
    while closed < opened {
        reactor.wait(Some(Duration::from_secs(5))).unwrap();
        while let Some(completion) = reactor.next() {
            closed += u32::from(matches!(completion, Completion::Closed { .. }));
        }
    }
    let mut reply = Vec::new();
    peer.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"hello");
    source
}

pub fn tcp_over_both_versions_of_ip<B: Backend>(config: &Config) {
    for text in ["127.0.0.1:0", "[::1]:0"] {
        let Some(mut bed) = KernelBed::<B>::start(config) else { return };
        let listener = match Listener::bind(&text.parse().unwrap(), 16) {
            Ok(listener) => listener,
            Err(error) if text.contains("::1") => {
                eprintln!("skipped: no IPv6 here: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let Address::Tcp(bound) = *listener.address() else { panic!("asked for TCP") };
        assert_ne!(bound.port(), 0);
        bed.reactor().listen(0, listener).unwrap();
        let peer = TcpStream::connect(bound).unwrap();
        let local = peer.local_addr().unwrap();
        assert_eq!(serve(bed.reactor(), peer), Some(local));
    }
}

pub fn peers_over_both_versions_have_their_own_address<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let listener = match Listener::bind(&"[::]:0".parse().unwrap(), 16) {
        Ok(listener) => listener,
        Err(error) => return eprintln!("skipped: no IPv6 here: {error}"),
    };
    let Address::Tcp(bound) = *listener.address() else { panic!("asked for TCP") };
    bed.reactor().listen(0, listener).unwrap();
    let peer = match TcpStream::connect(("127.0.0.1", bound.port())) {
        Ok(peer) => peer,
        Err(error) => return eprintln!("skipped: IPv6 sockets are for IPv6 only here: {error}"),
    };
    let local = peer.local_addr().unwrap();
    assert!(local.is_ipv4());
    assert_eq!(serve(bed.reactor(), peer), Some(local));
}

/// A path that no other test uses.
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sockeye-{}-{name}", std::process::id()))
}

pub fn unix_sockets<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let path = socket_path(std::any::type_name::<B>());
    let address = Address::Unix(path.clone());
    assert_eq!(format!("unix:{}", path.display()).parse::<Address>().unwrap(), address);
    // A file that a process left behind.
    drop(UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&address, 16).unwrap();
    // Somebody listens there now.
    let error = Listener::bind(&address, 16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    bed.reactor().listen(0, listener).unwrap();
    assert_eq!(serve(bed.reactor(), UnixStream::connect(&path).unwrap()), None);
    bed.reactor().unlisten(0);
    assert!(!path.exists(), "the file goes with its listener");
    // A file that is no socket is nobody's to take over.
    std::fs::write(&path, b"precious").unwrap();
    let error = Listener::bind(&address, 16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
}

pub fn a_busy_unix_listener_is_not_abandoned<B: Backend>(config: &Config) {
    let Some(_bed) = KernelBed::<B>::start(config) else { return };
    let path = socket_path(&format!("busy-{}", std::any::type_name::<B>()));
    let address = Address::Unix(path.clone());
    let _listener = Listener::bind(&address, 1).unwrap();
    // So many wait to be accepted that a connect would wait, too.
    let target = SockAddr::unix(&path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&target) {
            Ok(()) => waiting.push(socket),
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(Listener::bind(&address, 1).unwrap_err().kind(), ErrorKind::AddrInUse);
}

pub fn workers_share_a_unix_socket<B: Backend>(config: &Config) {
    let Some(mut first) = KernelBed::<B>::start(config) else { return };
    let Some(mut second) = KernelBed::<B>::start(config) else { return };
    let path = socket_path(&format!("shared-{}", std::any::type_name::<B>()));
    let listener = Listener::bind(&Address::Unix(path.clone()), 16).unwrap();
    second.reactor().listen(0, listener.share().unwrap()).unwrap();
    first.reactor().listen(0, listener).unwrap();
    first.reactor().unlisten(0);
    assert!(path.exists(), "the second still listens");
    serve(second.reactor(), UnixStream::connect(&path).unwrap());
    // The first hears nothing of it: it sleeps through its whole timeout.
    let peer = UnixStream::connect(&path).unwrap();
    first.reactor().wait(Some(Duration::from_millis(50))).unwrap();
    assert!(first.reactor().next().is_none());
    assert!(first.reactor().now() >= Duration::from_millis(45), "{:?}", first.reactor().now());
    drop(peer);
    second.reactor().unlisten(0);
    assert!(!path.exists());
}

pub fn the_port_is_free_after_unlisten<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let (listener, address) = bed.listener();
    bed.reactor().listen(0, listener).unwrap();
    bed.reactor().wait(Some(Duration::ZERO)).unwrap();
    bed.reactor().unlisten(0);
    // Without SO_REUSEPORT, as another program would ask for it.
    let other = std::net::TcpListener::bind(address).expect("the port is free at once");
    drop(other);
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

pub fn a_port_in_use_is_noticed<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let (listener, address) = bed.listener();
    bed.reactor().listen(0, listener).unwrap();
    assert_eq!(Listener::probe(&Address::Tcp(address)).unwrap_err().kind(), ErrorKind::AddrInUse);
    // Workers of one server share the port on purpose.
    let mut other = KernelBed::<B>::start(config).unwrap();
    let shared = Listener::bind(&Address::Tcp(address), 16).unwrap();
    other.reactor().listen(0, shared).unwrap();
    bed.reactor().unlisten(0);
    serve(other.reactor(), TcpStream::connect(address).unwrap());
}

pub fn clients_connect_from_a_reactor<B: Backend>(config: &Config) {
    let Some(bed) = KernelBed::<B>::start(config) else { return };
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(server.local_addr().unwrap());
    let socket = sockeye::reactor::connect(&address).unwrap();
    let mut peer = TcpPeer::new(server.accept().unwrap().0);
    let mut driver = Driver::new(bed);
    driver.open_socket(key(0), socket);
    driver.send(key(0), b"from a client");
    driver.expect(&mut peer, b"from a client");
    peer.write(b"from a server");
    driver.until_received(key(0), 13);
}
