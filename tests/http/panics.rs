//! A panic of a handler costs the request at hand: 500 is answered if nothing else has been sent,
//! else the connection is dropped. It is counted, and the worker lives on.

use std::{io::Write, thread, time::Duration};

use sockeye::{
    App, Context, HttpExchange, HttpHandler, Limits, Reply, Request, Response, Running, Status,
};

use crate::bed::{connect, on_each_backend, rest, talk};

/// Panics where the query of the request says so.
struct Panicking;

/// Panics when it is dropped, if it is to.
struct Data(String);

impl Data {
    fn reach(&self, place: &str) {
        assert_ne!(self.0, place, "on purpose");
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.reach("drop");
        }
    }
}

impl HttpHandler for Panicking {
    type Data = Data;

    fn request(&mut self, request: &Request<'_>) -> Reply<Data> {
        let data = Data(request.raw_query().unwrap_or_default().to_owned());
        data.reach("request");
        Reply::receive(data)
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, Data>, _: &[u8]) {
        exchange.data().reach("body");
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, Data>) {
        exchange.data().reach("end");
        match exchange.data().0.as_str() {
            "begun" | "writable" => {
                exchange.begin(&Response::new(Status::OK), None).unwrap();
                exchange.write(&[b'x'; 1 << 20]);
                exchange.data().reach("begun");
            }
            "aborted" => {}
            _ => exchange.respond(Response::text("done")),
        }
    }

    fn writable(&mut self, exchange: &mut HttpExchange<'_, Data>) {
        exchange.data().reach("writable");
    }

    fn aborted(&mut self, _: &mut Context<'_>, data: Data) {
        data.reach("aborted");
    }
}

fn app() -> App {
    App::new()
        .stream("PUT", "/handler", Panicking)
        .get("/page", |request| {
            assert_eq!(request.raw_query(), None, "on purpose");
            Response::text("here")
        })
        .post("/body", |_, _| panic!("on purpose"))
        .get("/dropped", |_| {
            let (data, mut body) = (Data("drop".into()), &b"whole"[..]);
            Response::new(Status::OK).stream(
                "text/plain",
                Some(5),
                move |piece: &mut Vec<u8>, _| {
                    assert_eq!(data.0, "drop");
                    piece.extend(std::mem::take(&mut body));
                    Ok(())
                },
            )
        })
        .get("/source", |_| {
            let mut count = 0;
            Response::new(Status::OK).stream("text/plain", None, move |piece: &mut Vec<u8>, _| {
                count += 1;
                assert!(count < 3, "on purpose");
                piece.extend(b"piece");
                Ok(())
            })
        })
}

fn put(place: &str) -> String {
    format!(
        "PUT /handler?{place} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\
         body"
    )
}

fn wait_for_panics(running: &Running, count: u64, place: &str) {
    for _ in 0..1000 {
        if running.remote().total_stats().handler_panics == count {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{place}: {} panics, not {count}", running.remote().total_stats().handler_panics);
}

#[test]
fn a_panic_costs_one_request() {
    on_each_backend(&Limits::default(), app, |address, running| {
        let mut panics = 0;
        let mut expect = |place: &str, response: &str, start: &str| {
            panics += 1;
            assert!(response.starts_with(start), "{place}: {response}");
            wait_for_panics(running, panics, place);
        };
        for place in ["request", "body", "end"] {
            expect(place, &talk(address, put(place).as_bytes()), "HTTP/1.1 500 ");
        }
        // A response that has begun is not completed.
        for place in ["begun", "writable"] {
            let mut peer = connect(address);
            peer.write_all(put(place).as_bytes()).unwrap();
            let mut bytes = Vec::new();
            let _ = std::io::Read::read_to_end(&mut peer, &mut bytes);
            assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"), "{place}: it seems to be complete");
            expect(place, "", "");
        }
        // The client goes before the response.
        let mut peer = connect(address);
        peer.write_all(put("aborted").as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(20));
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        expect("aborted", "", "");

        let get = |target| format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        expect("page", &talk(address, get("/page?panic").as_bytes()), "HTTP/1.1 500 ");
        let post = b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\
            Connection: close\r\n\r\nx";
        expect("a body's page", &talk(address, post), "HTTP/1.1 500 ");
        let mut peer = connect(address);
        peer.write_all(get("/source").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut peer, &mut bytes);
        assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"), "it seems to be complete");
        expect("source", "", "");

        // What panics while it is dropped has nothing to answer any more.
        let response = talk(address, put("drop").as_bytes());
        assert!(response.ends_with("done"), "{response}");
        let response = talk(address, get("/dropped").as_bytes());
        assert!(response.ends_with("whole"), "{response}");

        let mut peer = connect(address);
        peer.write_all(get("/page").as_bytes()).unwrap();
        assert!(rest(&mut peer).ends_with("here"), "others are served");
    });
}
