//! A server to test, and peers that speak to it in literal bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use sockeye::{Address, App, Backend, Limits, Running, Server};

/// Runs a test once on each backend that works here.
pub(crate) fn on_each_backend(
    limits: &Limits,
    app: impl Fn() -> App + Clone + Send + Sync + 'static,
    test: impl Fn(SocketAddr, &Running),
) {
    for backend in [Backend::Epoll, Backend::Uring] {
        let server = Server::new(app.clone()).limits(limits.clone()).backend(backend).workers(1);
        match server.listen("127.0.0.1:0").start() {
            Ok(running) => {
                let Address::Tcp(address) = running.addresses()[0] else { panic!("not TCP") };
                test(address, &running);
                running.remote().shutdown(Duration::ZERO);
                running.join().unwrap();
            }
            Err(error) if backend == Backend::Uring => eprintln!("skipped: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    peer.set_nodelay(true).unwrap();
    peer
}

/// Sends this and returns everything that comes until the server closes.
pub(crate) fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut peer = connect(address);
    peer.write_all(bytes).unwrap();
    rest(&mut peer)
}

/// Everything that comes until the server closes, without the dates.
pub(crate) fn rest(peer: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    without_dates(&bytes)
}

/// One response with Content-Length, without its date.
pub(crate) fn response(peer: &mut TcpStream) -> String {
    let head = head(peer);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    peer.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}

/// Up to the empty line, without the date.
pub(crate) fn head(peer: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        peer.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    without_dates(&bytes)
}

fn without_dates(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}
