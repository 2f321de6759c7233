//! The client's address, told by proxies that are believed.

use std::{io::Write, thread, time::Duration};

use sockeye::{App, Limits, Proxies, Response, Server};

use crate::bed::{connect, on_each_backend, rest, talk};

fn app_with(proxies: Proxies) -> impl Fn() -> App + Clone + Send + Sync {
    move || {
        App::new().proxies(proxies.clone()).get("/", |request| {
            let ip = request.client_ip().map(|ip| ip.to_string()).unwrap_or_default();
            Response::text(ip)
        })
    }
}

fn check(proxies: Proxies, cases: &[(&str, &str)]) {
    on_each_backend(&Limits::default(), app_with(proxies), |address, _| {
        for (fields, ip) in cases {
            let request = format!("GET / HTTP/1.0\r\n{fields}\r\n");
            let answer = talk(address, request.as_bytes());
            assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, *ip, "{fields}");
        }
    });
}

#[test]
fn x_forwarded_for_is_read_from_behind() {
    let cases = [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.1.1\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1"),
        ("X-Forwarded-For: 1.2.3.4, nonsense, 10.0.0.2\r\n", "10.0.0.2"),
        ("X-Forwarded-For: nonsense\r\n", "127.0.0.1"),
        ("X-Forwarded-For: [2001:db8::1]:80\r\n", "2001:db8::1"),
        ("Forwarded: for=6.6.6.6\r\n", "127.0.0.1"),
    ];
    check(Proxies::at(["127.0.0.1", "10.0.0.0/8"]).x_forwarded_for(), &cases);
}

#[test]
fn forwarded_is_read_from_behind() {
    let cases = [
        ("Forwarded: for=1.2.3.4\r\n", "1.2.3.4"),
        ("Forwarded: for=6.6.6.6, FOR=\"[2001:db8::1]:4711\";proto=https\r\n", "2001:db8::1"),
        ("Forwarded: for=6.6.6.6;by=\"a, for=7.7.7.7\", for=1.2.3.4\r\n", "1.2.3.4"),
        ("Forwarded: for=unknown\r\n", "127.0.0.1"),
        ("Forwarded: for=_hidden, for=10.0.0.1\r\n", "10.0.0.1"),
        ("Forwarded: proto=https\r\n", "127.0.0.1"),
        ("X-Forwarded-For: 6.6.6.6\r\n", "127.0.0.1"),
    ];
    check(Proxies::at(["127.0.0.0/8", "10.0.0.0/8"]).forwarded(), &cases);
}

#[test]
fn others_are_not_believed() {
    let cases = [("X-Forwarded-For: 6.6.6.6\r\n", "127.0.0.1")];
    check(Proxies::at(["192.0.2.1"]).x_forwarded_for(), &cases);
    check(Proxies::at(["127.0.0.1"]), &cases);
}

#[test]
fn the_proxy_protocol_comes_first() {
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 80\r\n".to_vec();
    let mut block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    block.extend_from_slice(&[192, 0, 2, 7, 10, 0, 0, 1, 0xc3, 0x50, 0, 80]);
    let local = b"PROXY UNKNOWN\r\n".to_vec();
    let proxies = Proxies::at(["127.0.0.1"]).proxy_protocol();
    let limits = Limits { max_connections_per_address: 2, ..Limits::default() };
    on_each_backend(&limits, app_with(proxies), |address, running| {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        for _ in 0..3 {
            for (header, ip) in [(&line, "192.0.2.7"), (&block, "192.0.2.7"), (&local, "127.0.0.1")]
            {
                let bytes = [&header[..], request].concat();
                for size in [1, 20, bytes.len()] {
                    let mut peer = connect(address);
                    for piece in bytes.chunks(size) {
                        peer.write_all(piece).unwrap();
                        thread::sleep(Duration::from_micros(if size == 1 { 200 } else { 2000 }));
                    }
                    assert!(rest(&mut peer).ends_with(&format!("\r\n\r\n{ip}")));
                }
            }
        }
        // Without the header, or with half of one, nobody is served.
        for bytes in [&request[..], b"PROXY TCP4 nonsense\r\n"] {
            let mut peer = connect(address);
            peer.write_all(bytes).unwrap();
            let mut byte = Vec::new();
            let _ = std::io::Read::read_to_end(&mut peer, &mut byte);
            assert_eq!(byte, b"");
        }
        assert_eq!(running.remote().total_stats().refused, 0);
        // The limit of connections is that of the client, not of the proxy.
        let opened: Vec<_> = (0..3)
            .map(|_| {
                let mut peer = connect(address);
                peer.write_all(&line).unwrap();
                thread::sleep(Duration::from_millis(20));
                peer
            })
            .collect();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(running.remote().total_stats().refused, 1);
        drop(opened);
    });
}

#[test]
fn a_network_that_is_none_is_refused_at_the_start() {
    let server = Server::new(app_with(Proxies::at(["10.0.0.0/99"])));
    let error = server.listen("127.0.0.1:0").workers(1).start().unwrap_err();
    assert!(error.to_string().contains("10.0.0.0/99"), "{error}");
}
