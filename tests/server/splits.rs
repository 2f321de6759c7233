//! Any split of a stream of requests gives the same responses, whole server included.

use std::time::Duration;

use sockeye::{App, HttpExchange, HttpHandler, Reply, Request, Response, Status, Trailers};

use crate::support::{End, On, Peer, scenarios};

scenarios!(any_split_of_a_stream_gives_the_same_responses);

/// Returns a body in the pieces in which it comes, and what a trailer says.
struct Echo;

impl HttpHandler for Echo {
    type Data = ();

    fn request(&mut self, _: &Request<'_>) -> Reply<()> {
        Reply::receive(())
    }

    fn body(&mut self, exchange: &mut HttpExchange<'_, ()>, piece: &[u8]) {
        // With a length, so that the cuts do not show in chunks.
        exchange.begin(&Response::new(Status::OK), Some(11)).unwrap();
        exchange.write(piece);
    }

    fn trailers(&mut self, exchange: &mut HttpExchange<'_, ()>, trailers: Trailers<'_>) {
        exchange.write(trailers.first("more").unwrap_or_default().as_bytes());
    }

    fn end(&mut self, exchange: &mut HttpExchange<'_, ()>) {
        exchange.end();
    }
}

fn app() -> App {
    App::new()
        .get("/now", |_| Response::text("now"))
        .get("/later", |_| Response::later(|responder| responder.respond(Response::text("later"))))
        .post("/collect", |request, body| {
            let trailers = request.trailers();
            assert!(trailers.first("host").is_none());
            let more = trailers.first("T").unwrap_or_default();
            Response::text(format!("{}{more}", String::from_utf8_lossy(body)))
        })
        .stream("POST", "/echo", Echo)
}

const STREAM: &str = "GET /now HTTP/1.1\r\nHost: h\r\n\r\n\
    POST /collect HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\ncollected\
    GET /later HTTP/1.1\r\nHost: h\r\n\r\n\
    POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world\
    POST /collect HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
    4\r\nhalf\r\n5;a=b\r\n-half\r\n0\r\nHost: x\r\nT: trailer\r\n\r\n\
    HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n\
    POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
    1\r\nh\r\n4\r\nello\r\n0\r\nMore: , you!\r\n\r\n\
    GET /none HTTP/1.1\r\nHost: h\r\n\r\n\
    GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn answer(peer: &mut Peer) -> String {
    let (bytes, end) = peer.read_to_end();
    assert_eq!(end, End::Fin);
    let text = String::from_utf8(bytes).unwrap();
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

fn any_split_of_a_stream_gives_the_same_responses(on: On) {
    let bed = on.bed().serve(app);
    let mut peer = bed.connect();
    peer.write(STREAM.as_bytes());
    let whole = answer(&mut peer);
    assert_eq!(whole.matches("HTTP/1.1 200 OK").count(), 8, "{whole}");
    assert!(whole.contains("half-halftrailer") && whole.contains("hello, you!"), "{whole}");
    let mut seed = 1_u64;
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    // All peers in step, so that there is time between two pieces of one.
    let mut peers: Vec<(Peer, Vec<usize>)> = (0..200)
        .map(|_| {
            let count = 1 + draw(12);
            let mut cuts: Vec<usize> = (0..count).map(|_| draw(STREAM.len())).collect();
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            (bed.connect(), cuts)
        })
        .collect();
    for index in 0..14 {
        for (peer, cuts) in &mut peers {
            if let Some([start, end]) = cuts.get(index..index + 2)
                && start < end
            {
                peer.write(&STREAM.as_bytes()[*start..*end]);
            }
        }
        bed.pass(Duration::from_millis(2));
    }
    for (peer, cuts) in &mut peers {
        assert_eq!(answer(peer), whole, "{cuts:?}");
    }
}
