//! A table of requests, good, borderline and malformed, and how a server must answer them.
//!
//! All are sent whole on connections of their own, then again byte by byte, all connections in
//! step. An answer is written as the statuses of its responses, `200[body]` for one whose body
//! matters, `200h` for one to HEAD, `400!` for one after which the connection is closed, `200.` if
//! it is closed without saying so, and `?` for a request that is not complete. To see what the
//! server makes of what follows, each case but those is followed by one more good request.

use std::time::Duration;

use sockeye::{App, HttpLimits, Limits, Message, Response, WebSocket, on_message};

use crate::support::{Bed, End, On, Peer, scenarios};

scenarios!(; calm: every_case_is_answered_as_it_must_be);

fn app() -> App {
    let echo = |body: &[u8]| Response::text(String::from_utf8_lossy(body).into_owned());
    App::new()
        .with_body("*", "/", None, move |_, body| echo(body))
        .with_body("*", "/:name", None, move |request, body| match request.path().len() {
            // The names of the table are short, or not there.
            0..=40 if request.path() != "/%00" && request.path() != "/\\" => echo(body),
            _ => Response::new(sockeye::Status::NOT_FOUND),
        })
        .with_body("*", "/a/b", None, move |_, body| echo(body))
        .with_body("POST", "/r/only-post", None, move |_, body| echo(body))
        .with_body("POST", "/r/small", 4, move |_, body| echo(body))
        .get("/plain", |_| Response::text("plain"))
        .websocket("/r/ws", on_message(|_: &mut WebSocket<'_, ()>, _: Message<'_>| {}))
}

fn every_case_is_answered_as_it_must_be(on: On) {
    let http = HttpLimits {
        max_head_bytes: 512,
        max_field_count: 8,
        max_target_bytes: 128,
        max_body_bytes: 100,
        max_chunk_line_bytes: 32,
        max_chunk_overhead_bytes: 64,
        max_trailer_bytes: 32,
        requires_length: false,
    };
    assert!(CASES.len() >= 250, "{}", CASES.len());
    let bed = on.bed().limits(Limits { http, ..Limits::default() }).serve(app);
    let mut faults = Vec::new();
    for size in [usize::MAX, 1] {
        for ((case, expected), answer) in CASES.iter().zip(answers(&bed, size)) {
            let expected = expand(expected);
            let closes = expected.ends_with(['!', '?', '.']);
            let after = if closes { "" } else { " 200[after]" };
            if answer != format!("{expected}{after}").trim_end_matches(['?', '.']).trim() {
                faults.push(format!("{case:?} in {size}: {answer} instead of {expected}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Sends all cases in pieces of this size, and returns the answers.
fn answers(bed: &Bed, size: usize) -> Vec<String> {
    let mut peers: Vec<(Peer, Vec<u8>)> = CASES
        .iter()
        .map(|(case, expected)| {
            let follows = if expected.ends_with('?') { "" } else { AFTER };
            let text = expand(case) + follows;
            let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            (bed.connect(), bytes)
        })
        .collect();
    let longest = peers.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
    for start in (0..longest).step_by(size.min(longest)) {
        for (peer, bytes) in &mut peers {
            let end = bytes.len().min(start.saturating_add(size));
            if start < end {
                // The server may have closed already.
                peer.write_if_possible(&bytes[start..end]);
            }
        }
        // A real server reads meanwhile.
        if bed.on.is_simulated() {
            bed.pass(Duration::from_micros(1));
        }
    }
    let heads = CASES.iter().map(|(_, expected)| expected);
    let transcripts = peers.iter_mut().zip(heads).map(|((peer, _), expected)| {
        peer.shutdown_if_possible();
        let (answer, end) = peer.read_to_end();
        assert_eq!(end, End::Fin, "{expected}");
        transcript(&String::from_utf8(answer).unwrap(), expected)
    });
    transcripts.collect()
}

/// Puts the answer into the words of the table.
fn transcript(mut answer: &str, expected: &str) -> String {
    let mut words = Vec::new();
    let mut wanted = expected.split(' ');
    while let Some((head, rest)) = answer.split_once("\r\n\r\n") {
        let status = &head["HTTP/1.1 ".len()..][..3];
        if status == "100" {
            answer = rest;
            continue;
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length: usize = field("Content-Length: ").unwrap_or("0").parse().unwrap();
        let wanted = wanted.next().unwrap_or("[");
        let length = if wanted.contains('h') { 0 } else { length };
        let body = &rest[..length];
        answer = &rest[length..];
        let closes = field("Connection: ").is_some_and(|value| value.contains("close"));
        let shown = match () {
            () if wanted.contains('h') => "h".to_owned(),
            () if status == "200" && !body.is_empty() => format!("[{body}]"),
            () => String::new(),
        };
        words.push(format!("{status}{shown}{}", if closes { "!" } else { "" }));
    }
    assert_eq!(answer, "", "half a response");
    words.join(" ")
}

/// Replaces what the table abbreviates: heads, and `{x*9}` for nine of a character.
fn expand(text: &str) -> String {
    let mut text = text
        .replace("{H}", "\r\nHost: h\r\n\r\n")
        .replace("{G}", "GET / HTTP/1.1\r\nHost: h\r\n")
        .replace("{P}", "POST / HTTP/1.1\r\nHost: h\r\n")
        .replace("{C}", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    while let Some(star) = text.find('*').filter(|star| {
        *star > 1 && text[..*star].ends_with(|c: char| c.is_ascii_alphabetic()) && {
            text.as_bytes()[*star - 2] == b'{'
        }
    }) {
        let end = star + text[star..].find('}').unwrap();
        let count: usize = text[star + 1..end].parse().unwrap();
        let repeated = text[star - 1..star].repeat(count);
        text.replace_range(star - 2..=end, &repeated);
    }
    text
}

const AFTER: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nafter";

#[rustfmt::skip]
const CASES: &[(&str, &str)] = &[
    ("GET / HTTP/1.1{H}", "200"),
    ("GET / HTTP/1.1{H}GET /b HTTP/1.1{H}", "200 200"),
    ("get / HTTP/1.1{H}", "200"),
    ("M-SEARCH / HTTP/1.1{H}", "200"),
    ("{G}", "?"),
    ("GET  / HTTP/1.1{H}", "400!"),
    ("GET /  HTTP/1.1{H}", "400!"),
    ("GET / HTTP/1.1 {H}", "400!"),
    ("GET\t/ HTTP/1.1{H}", "400!"),
    (" GET / HTTP/1.1{H}", "400!"),
    ("GET / {H}", "400!"),
    ("GET /{H}", "400!"),
    ("GET{H}", "400!"),
    ("/ HTTP/1.1{H}", "400!"),
    ("G(T / HTTP/1.1{H}", "400!"),
    ("GÉT / HTTP/1.1{H}", "400!"),
    ("G\0T / HTTP/1.1{H}", "400!"),
    ("GET / x HTTP/1.1{H}", "400!"),
    ("GET / HTTP/1.0\r\n\r\n", "200!"),
    ("GET / HTTP/1.0{H}", "200!"),
    ("GET / HTTP/0.9{H}", "505!"),
    ("GET / HTTP/1.2{H}", "505!"),
    ("GET / HTTP/2.0{H}", "505!"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505!"),
    ("GET / HTTP/1{H}", "400!"),
    ("GET / HTTP/1.{H}", "400!"),
    ("GET / HTTP/1.11{H}", "400!"),
    ("GET / HTTP/11.1{H}", "400!"),
    ("GET / HTTP/1,1{H}", "400!"),
    ("GET / http/1.1{H}", "400!"),
    ("GET / HTTPS/1.1{H}", "400!"),
    ("\r\nGET / HTTP/1.1{H}", "200"),
    ("\r\n\r\nGET / HTTP/1.1{H}", "400!"),
    ("\nGET / HTTP/1.1{H}", "400!"),
    ("\r", "?"),
    ("\rGET / HTTP/1.1{H}", "400!"),
    ("GET / HTTP/1.1\nHost: h\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\nHost: h\n\n", "400!"),
    ("GET / HTTP/1.1\n\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h\n\n", "400!"),
    ("{G}\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\rHost: h\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r{H}", "400!"),
    ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", "400!"),
    ("\u{16}\u{3}\u{1}\u{2}", "400!"),
    ("\0", "400!"),
    ("GET /a/b?c=d&e HTTP/1.1{H}", "200"),
    ("GET /%zz|{}\"<>\\^` HTTP/1.1{H}", "200"),
    ("GET //evil HTTP/1.1{H}", "404"),
    ("GET http://h/a?b HTTP/1.1{H}", "200"),
    ("GET HTTP://h HTTP/1.1{H}", "200"),
    ("GET http://h:80?b HTTP/1.1{H}", "200"),
    ("GET http://h/a HTTP/1.1\r\n\r\n", "400!"),
    ("GET http:///a HTTP/1.1{H}", "400!"),
    ("GET http://u@h/ HTTP/1.1{H}", "400!"),
    ("GET ftp://h/ HTTP/1.1{H}", "400!"),
    ("GET a HTTP/1.1{H}", "400!"),
    ("GET ?a HTTP/1.1{H}", "400!"),
    ("GET h:80 HTTP/1.1{H}", "400!"),
    ("GET /#a HTTP/1.1{H}", "400!"),
    ("GET /\u{7f} HTTP/1.1{H}", "400!"),
    ("GET /\u{1} HTTP/1.1{H}", "400!"),
    ("GET /\0 HTTP/1.1{H}", "400!"),
    ("GET /é HTTP/1.1{H}", "400!"),
    ("GET /\u{c3}\u{a9} HTTP/1.1{H}", "400!"),
    ("GET /\ta HTTP/1.1{H}", "400!"),
    ("OPTIONS * HTTP/1.1{H}", "204"),
    ("GET * HTTP/1.1{H}", "400!"),
    ("OPTIONS /* HTTP/1.1{H}", "200"),
    ("CONNECT h:443 HTTP/1.1{H}", "501!"),
    ("CONNECT /a HTTP/1.1{H}", "400!"),
    ("CONNECT h HTTP/1.1{H}", "400!"),
    ("GET / HTTP/1.1\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nhOsT:h\r\n\r\n", "200"),
    ("GET / HTTP/1.1\r\nHost: h{H}", "400!"),
    ("{G}host: i\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h, i\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h i\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h/a\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h:8o\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200"),
    ("GET / HTTP/1.1\r\nHost: é\r\n\r\n", "400!"),
    ("GET / HTTP/1.0\r\nHost: h{H}", "400!"),
    ("{G}A:\r\n\r\n", "200"),
    ("{G}A: \t b \t \r\n\r\n", "200"),
    ("{G}A: caf\u{e9}\r\n\r\n", "200"),
    ("{G}!#$%&'*+-.^_`|~: b\r\n\r\n", "200"),
    ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", "400!"),
    ("{G}A: b\r\n c\r\n\r\n", "400!"),
    ("{G}A: b\r\n\tc\r\n\r\n", "400!"),
    ("{G}A: b\r\n \r\n\r\n", "400!"),
    ("{G}A\r\n\r\n", "400!"),
    ("{G}: b\r\n\r\n", "400!"),
    ("{G}A B: c\r\n\r\n", "400!"),
    ("{G}A(: c\r\n\r\n", "400!"),
    ("{G}É: c\r\n\r\n", "400!"),
    ("{G}A\0: c\r\n\r\n", "400!"),
    ("{G}A: b\0c\r\n\r\n", "400!"),
    ("{G}A: b\u{7f}\r\n\r\n", "400!"),
    ("{G}A: b\u{b}\r\n\r\n", "400!"),
    ("{G}Expect: 100-continue\r\n\r\n", "200"),
    ("{G}Expect: 200-ok\r\n\r\n", "417!"),
    ("{P}Content-Length: 3\r\n\r\nabc", "200[abc]"),
    ("{P}Content-Length: 3\r\n\r\nab", "?"),
    ("{P}Content-Length: 0\r\n\r\n", "200"),
    ("{P}Content-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n", "200[abc] 200!"),
    ("{P}Content-Length: 1\r\n\r\nab", "200[a]"),
    ("{P}Content-Length: 003\r\n\r\nabc", "200[abc]"),
    ("{P}Content-Length: 100\r\n\r\n", "?"),
    ("{P}Content-Length: 101\r\n\r\n", "413!"),
    ("{P}Content-Length: 18446744073709551615\r\n\r\n", "413!"),
    ("{P}Content-Length: 18446744073709551616\r\n\r\n", "413!"),
    ("{P}Content-Length: 18446744073709551619\r\n\r\nabc", "413!"),
    ("{P}Content-Length:\r\n\r\n", "400!"),
    ("{P}Content-Length: +3\r\n\r\nabc", "400!"),
    ("{P}Content-Length: -3\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 0x3\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3.0\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3 3\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3, 3\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3,\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3;a\r\n\r\nabc", "400!"),
    ("{P}Content-Length: \u{b2}\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3\r\nCONTENT-LENGTH: 4\r\n\r\nabc", "400!"),
    ("{P}Content-Length : 3\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Content-Length: x\r\nTransfer-Encoding: x\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", "200"),
    ("{P}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501!"),
    ("{P}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501!"),
    ("{P}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: identity\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: gzip\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding:\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: chunked;x=y\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Expect: 100-continue\r\nContent-Length: 1\r\n\r\na", "200[a]"),
    ("{P}Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\na", "417!"),
    ("{C}0\r\n\r\n", "200"),
    ("{C}3\r\nabc\r\n0\r\n\r\n", "200[abc]"),
    ("{C}3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "200[abc0123456789]"),
    ("{C}a\r\n0123456789\r\n000\r\n\r\nGET / HTTP/1.0\r\n\r\n", "200[0123456789] 200!"),
    ("{C}3;a\r\nabc\r\n0;b=c;d=\"e f\"\r\n\r\n", "200[abc]"),
    ("{C}3 ; a=b\r\nabc\r\n0\r\n\r\n", "200[abc]"),
    ("{C}3\t;\ta\r\nabc\r\n0\r\n\r\n", "200[abc]"),
    ("{C}3;\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3;=b\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3 \r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3 3\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3;a\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3;a\rb\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3;a\0\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}\r\n", "400!"),
    ("{C};a\r\n", "400!"),
    ("{C} 3\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}+3\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}-3\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}0x3\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3h\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}G\r\n", "400!"),
    ("{C}:\r\n", "400!"),
    ("{C}3_0\r\n", "400!"),
    ("{C}3,\r\n", "400!"),
    ("{C}3\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}3\rabc\r\n0\r\n\r\n", "400!"),
    ("{C}3\r\nabc\n0\r\n\r\n", "400!"),
    ("{C}3\r\nabc0\r\n\r\n", "400!"),
    ("{C}3\r\nabcd\r\n0\r\n\r\n", "400!"),
    ("{C}3\r\nabc\rX0\r\n\r\n", "400!"),
    ("{C}64\r\n", "?"),
    ("{C}65\r\n", "413!"),
    ("{C}FFFFFFFFFFFFFFFF\r\n", "413!"),
    ("{C}10000000000000003\r\nabc\r\n0\r\n\r\n", "413!"),
    ("{C}00000000000000003\r\nabc\r\n0\r\n\r\n", "400!"),
    ("{C}0\r\nT: u\r\n\r\n", "200"),
    ("{C}0\r\nT:\r\nU: v\r\n\r\n", "200"),
    ("{C}0\r\nT : u\r\n\r\n", "400!"),
    ("{C}0\r\nT\r\n\r\n", "400!"),
    ("{C}0\r\n: u\r\n\r\n", "400!"),
    ("{C}0\r\n T: u\r\n\r\n", "400!"),
    ("{C}0\r\nT: u\n\r\n", "400!"),
    ("{C}0\r\nT: u\r\n\n", "400!"),
    ("{C}0\r\nT: \0\r\n\r\n", "400!"),
    ("{C}0\r\n\n", "400!"),
    ("{C}0\r\n\rX", "400!"),
    ("{C}0\n\n", "400!"),
    ("GET /none/such HTTP/1.1{H}", "404"),
    ("GET /r/only-post HTTP/1.1{H}", "405"),
    ("HEAD /r/only-post HTTP/1.1{H}", "405h"),
    ("BREW /r/only-post HTTP/1.1{H}", "405"),
    ("post /r/only-post HTTP/1.1{H}", "405"),
    ("POST /r/only-post HTTP/1.1{H}", "200"),
    ("HEAD / HTTP/1.1{H}", "200h"),
    ("HEAD / HTTP/1.1{H}GET / HTTP/1.1{H}", "200h 200"),
    ("HEAD /none/such HTTP/1.1{H}", "404h"),
    ("GET /none/such HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "404"),
    (
        "GET /none/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "404",
    ),
    ("GET /none/such HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", "404!"),
    ("GET /r/ws HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", "426!"),
    ("POST /r/small HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd", "200[abcd]"),
    ("POST /r/small HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde", "413!"),
    ("POST /r/small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "413!"),
    (
        "POST /r/small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n1\r\n",
        "413!",
    ),
    ("GET /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "200[plain]"),
    ("GET /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", "413!"),
    ("GET /plain HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx", "200[plain]."),
    ("GET /r/ws HTTP/1.1{H}", "426"),
    ("POST /r/ws HTTP/1.1{H}", "405"),
    ("GET /r/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "426"),
    ("GET /r/ws HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "426"),
    ("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "200"),
    ("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "200"),
    ("{G}Connection: close\r\n\r\n", "200!"),
    ("{G}Connection: Close, TE\r\n\r\n", "200!"),
    ("{G}Connection: TE\r\nConnection: close\r\n\r\n", "200!"),
    ("{G}Connection: keep-alive\r\n\r\n", "200"),
    ("{G}Connection: closed\r\n\r\n", "200"),
    ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200"),
    ("GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n", "200!"),
    (
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400!",
    ),
    ("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "200[abc]!"),
    ("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", "200[abc]!"),
    ("POST / HTTP/1.0\r\nExpect: other\r\nContent-Length: 3\r\n\r\nabc", "200[abc]!"),
    ("{P}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", "400!"),
    ("{P}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n", "400!"),
    ("{P}Content-Length: 0\r\nContent-Length: 30\r\n\r\n", "400!"),
    ("{P}Content-Length: 0, 30\r\n\r\n", "400!"),
    ("{P}Content-Length: \r\n 30\r\n\r\n", "400!"),
    ("{P}Content-Length: 3\0\r\n\r\nabc", "400!"),
    ("{P}Content-Length: 1e1\r\n\r\n", "400!"),
    ("{P}Content-Length: 0b1\r\n\r\n", "400!"),
    ("{P}Content-Length: 3_0\r\n\r\n", "400!"),
    ("{P}Content-Length:3\r\n\r\nabc", "200[abc]"),
    ("{P}Content-Length:\t3\t\r\n\r\nabc", "200[abc]"),
    ("{P}Content_Length: 3\r\n\r\n", "200"),
    ("{P}Transfer_Encoding: chunked\r\n\r\n", "200"),
    ("{P}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: chunke\u{64}\r\n\r\n0\r\n\r\n", "200"),
    ("{P}Transfer-Encoding:chunked\r\n\r\n0\r\n\r\n", "200"),
    ("{P}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", "200"),
    ("{P}Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n", "200"),
    ("{P}Transfer-Encoding: \u{b}chunked\r\n\r\n", "400!"),
    ("{P}Transfer-Encoding: cow\r\n\r\n", "400!"),
    ("{P}X: y\nTransfer-Encoding: chunked\r\n\r\n", "400!"),
    ("{P}X: y\rTransfer-Encoding: chunked\r\n\r\n", "400!"),
    ("{P}X: \r\n\r\nGET / HTTP/1.1{H}", "200 200"),
    ("{P}Content-Length: 20\r\n\r\nGET /b HTTP/1.1\r\n\r\n!", "200[GET /b HTTP/1.1\r\n\r\n!]"),
    ("{C}0\r\n\r\nGET / HTTP/1.1{H}", "200 200"),
    ("{C}0\r\nContent-Length: 5\r\n\r\n", "200"),
    ("{C}1\r\na\r\n0\r\n\r\n{C}1\r\nb\r\n0\r\n\r\n", "200[a] 200[b]"),
    ("{C}00\r\n\r\n", "200"),
    ("{C}1;a=\"\\\"\"\r\nx\r\n0\r\n\r\n", "200[x]"),
    ("{C}1;a b\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a \r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a=\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a=b c\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a=\"b\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a=\"b\"c\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a=\"\0\"\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a;;b\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1;a=b=c\r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1 ; a = b ;c=\"d;e=f\" ; g\r\nx\r\n0\r\n\r\n", "200[x]"),
    ("{C}1; \r\nx\r\n0\r\n\r\n", "400!"),
    ("{C}1\r\nx\r\n 0\r\n\r\n", "400!"),
    ("{C}1\r\nx\r\n0 \r\n\r\n", "400!"),
    ("{C}1\r\nx\r\n0\r\nA: b\r\n c\r\n\r\n", "400!"),
    ("GET /{a*127} HTTP/1.1{H}", "404"),
    ("GET /{a*128} HTTP/1.1{H}", "414!"),
    ("GET /{a*400}", "414!"),
    ("{M*32} / HTTP/1.1{H}", "200"),
    ("{M*33} / HTTP/1.1{H}", "501!"),
    ("{M*600}", "414!"),
    ("{G}A: {v*600}\r\n\r\n", "431!"),
    ("{G}{v*600}", "431!"),
    ("{G}A: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\nA: 6\r\nA: 7\r\n\r\n", "200"),
    ("{G}A: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\nA: 6\r\nA: 7\r\nA: 8\r\n\r\n", "431!"),
    ("{C}1;{x*40}\r\n", "400!"),
    ("{C}0\r\nA: {v*40}\r\n\r\n", "431!"),
    ("{P}Content-Length: 100\r\n\r\n{b*100}", "200[{b*100}]"),
    ("{P}Content-Length: 101\r\n\r\n{b*101}", "413!"),
    ("GET http://h:80/ HTTP/1.1{H}", "200"),
    ("GET http://other/ HTTP/1.1{H}", "200"),
    ("GET https://h/ HTTP/1.1{H}", "200"),
    ("GET http://h HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "400!"),
    ("GET http://h:x/ HTTP/1.1{H}", "400!"),
    ("GET http:/h/ HTTP/1.1{H}", "400!"),
    ("GET //none/such HTTP/1.1{H}", "404"),
    ("GET /\\ HTTP/1.1{H}", "404"),
    ("GET /%00 HTTP/1.1{H}", "404"),
    ("GET / HTTP/1.1\r\nHost: h\u{e9}\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "400!"),
    ("GET / HTTP/1.1\r\nHost: h:\r\n\r\n", "200"),];
