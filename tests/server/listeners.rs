//! Where a server listens, and settings of its workers. With real sockets only.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use sockeye::{Address, App, Backend, Response, Running, Server};

use crate::support::{Frame, Log, Peer, Puppet, frame, handshake};

fn start(configure: impl Fn(Server) -> Server) -> Vec<Running> {
    let backends = [Backend::Uring, Backend::Epoll];
    let servers = backends.into_iter().filter_map(|backend| {
        let app = || {
            App::new()
                .get("/", |request| Response::text(format!("{:?}", request.remote_addr())))
                .websocket("/*", Puppet::new(&Log::off()))
        };
        match configure(Server::new(app).backend(backend)).start() {
            Ok(running) => Some(running),
            Err(sockeye::Error::Backend(error)) => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    });
    let servers: Vec<Running> = servers.collect();
    assert!(!servers.is_empty());
    servers
}

#[track_caller]
fn tcp(address: &Address) -> std::net::SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{} is a path", path.display()),
    }
}

#[test]
fn several_addresses_and_any_free_port() {
    for running in start(|server| {
        server.listen("127.0.0.1:0").listen("[::1]:0").listen("localhost:0").workers(3)
    }) {
        assert_eq!(running.addresses().len(), 3);
        assert_eq!(running.remote().worker_count(), 3);
        for address in running.addresses() {
            let address = tcp(address);
            assert_ne!(address.port(), 0);
            // Often enough that every worker has some.
            for _ in 0..20 {
                let mut peer = Peer::real(address, None);
                peer.upgrade("/");
                peer.text("say hello");
                peer.expect_text("hello");
            }
        }
        let stats = running.remote().stats();
        assert!(stats.iter().all(|stats| stats.accepted > 0), "{stats:?}");
        running.remote().shutdown(Duration::from_secs(1));
        running.join().unwrap();
    }
}

#[test]
fn the_remote_address_is_known() {
    for running in start(|server| server.listen("127.0.0.1:0").workers(1)) {
        let mut stream = TcpStream::connect(tcp(&running.addresses()[0])).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.contains(&stream.local_addr().unwrap().to_string()), "{response}");
    }
}

#[test]
fn unix_sockets_are_shared_by_workers() {
    let folder = std::env::temp_dir().join(format!("sockeye-listeners-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let address = format!("unix:{}", path.display());
    for running in start(|server| {
        // One at a time has the path.
        let name = format!("{server:?}");
        let backend = if name.contains("Epoll") { "epoll" } else { "uring" };
        server.listen(format!("{address}-{backend}")).workers(2)
    }) {
        let Address::Unix(path) = running.addresses()[0].clone() else { panic!("a path") };
        for _ in 0..10 {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let hello = frame(Frame::TEXT, b"say hello");
            stream.write_all(&[handshake("/", ""), hello].concat()).unwrap();
            let mut response = Vec::new();
            while !response.ends_with(b"\x81\x05hello") {
                let mut bytes = [0; 1000];
                let count = stream.read(&mut bytes).unwrap();
                assert!(count > 0, "ended after {}", response.escape_ascii());
                response.extend_from_slice(&bytes[..count]);
            }
        }
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.ends_with("None"), "{response}");
        running.remote().shutdown(Duration::from_secs(1));
        running.join().unwrap();
        assert!(!path.exists(), "the path is removed");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn settings_of_the_workers() {
    for running in start(|server| {
        let server = server.listen("127.0.0.1:0").workers(2).pin(true).backlog(10);
        server.busy_poll(Duration::from_micros(200))
    }) {
        assert_ne!(running.backend(), Backend::Auto);
        for _ in 0..10 {
            let mut peer = Peer::real(tcp(&running.addresses()[0]), None);
            peer.upgrade("/");
            peer.text("say hello");
            peer.expect_text("hello");
        }
        // Dropped, it ends without grace.
    }
}

#[test]
fn a_server_that_is_dropped_ends() {
    for running in start(|server| server.listen("127.0.0.1:0").workers(2)) {
        let address = tcp(&running.addresses()[0]);
        let mut peer = Peer::real(address, None);
        peer.upgrade("/");
        drop(running);
        peer.read_to_end();
        assert!(TcpStream::connect(address).is_err());
    }
}
