//! A table of requests, good, borderline and malformed, and what each must come to.
//!
//! Each is fed whole, byte by byte, and cut at every place. The transcript is that of the decoder's
//! tests: `POST /path [body] .` for each request, `!400` for a fault.

use super::{Limits, decoder::tests::transcript};

#[test]
fn every_case_comes_to_what_it_must() {
    let limits = Limits {
        max_head_bytes: 512,
        max_field_count: 8,
        max_target_bytes: 128,
        max_body_bytes: 100,
        max_chunk_line_bytes: 32,
        max_chunk_overhead_bytes: 64,
        max_trailer_bytes: 32,
        requires_length: false,
    };
    let (long_target, long_value) = ("a".repeat(128), "v".repeat(512));
    let long = [
        (
            format!("GET /{} HTTP/1.1{H}", &long_target[1..]),
            format!("GET /{} .", &long_target[1..]),
        ),
        (format!("GET /{long_target} HTTP/1.1{H}"), "!414".into()),
        (format!("GET /{}", "a".repeat(400)), "!414".into()),
        (format!("GET /{} HTTP/1.1{H}", "a".repeat(600)), "!414".into()),
        (format!("{} / HTTP/1.1{H}", "M".repeat(32)), format!("{} / .", "M".repeat(32))),
        (format!("{} / HTTP/1.1{H}", "M".repeat(33)), "!501".into()),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {long_value}\r\n\r\n"), "!431".into()),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{long_value}"), "!431".into()),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(7)), "GET / .".into()),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(8)), "!431".into()),
        (format!("{POST}{CHUNKED}1;{}\r\na\r\n", "x".repeat(31)), "POST / !400".into()),
        (format!("{POST}{CHUNKED}{}", "1\r\na\r\n".repeat(11)), "POST / !413".into()),
        (format!("{POST}{CHUNKED}0\r\nA: {long_value}"), "POST / !431".into()),
        (format!("{POST}{CHUNKED}0\r\n{}", "A:\r\n".repeat(9)), "POST / !431".into()),
    ];
    let cases: Vec<(String, String)> = HEADS
        .iter()
        .map(|(head, expected)| (head.replace("{H}", H), (*expected).to_owned()))
        .chain(BODIES.iter().map(|(fields, body, expected)| {
            (format!("{POST}{fields}\r\n\r\n{body}"), (*expected).to_owned())
        }))
        .chain(CHUNKS.iter().map(|(chunks, expected)| {
            let bytes = format!("{POST}{CHUNKED}{chunks}").replace("{H}", H);
            (bytes, (*expected).to_owned())
        }))
        .chain(long)
        .collect();
    assert!(cases.len() >= 120, "{}", cases.len());
    let (case_step, cut_step) = if cfg!(miri) { (7, 13) } else { (1, 1) };
    for (case, expected) in cases.into_iter().step_by(case_step) {
        let bytes = latin1(&case);
        assert_eq!(transcript([&bytes[..]], &limits), expected, "{case:?}");
        assert_eq!(transcript(bytes.chunks(1), &limits), expected, "{case:?} byte by byte");
        for cut in (0..bytes.len()).step_by(cut_step) {
            let pieces = [&bytes[..cut], &bytes[cut..]];
            assert_eq!(transcript(pieces, &limits), expected, "{case:?} cut at {cut}");
        }
    }
}

/// One byte for each character below 256.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).expect("a byte")).collect()
}

const H: &str = "\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

/// Heads; `{H}` stands for a Host field and the end.
const HEADS: &[(&str, &str)] = &[
    // RFC 9112 §3: request-line.
    ("GET / HTTP/1.1{H}", "GET / ."),
    ("GET / HTTP/1.1{H}GET /b HTTP/1.1{H}", "GET / . GET /b ."),
    ("get / HTTP/1.1{H}", "get / ."),
    ("M-SEARCH / HTTP/1.1{H}", "M-SEARCH / ."),
    ("GET / HTTP/1.1\r\nHost: h\r\n", ""),
    ("GET  / HTTP/1.1{H}", "!400"),
    ("GET /  HTTP/1.1{H}", "!400"),
    ("GET / HTTP/1.1 {H}", "!400"),
    ("GET\t/ HTTP/1.1{H}", "!400"),
    (" GET / HTTP/1.1{H}", "!400"),
    ("GET / {H}", "!400"),
    ("GET /{H}", "!400"),
    ("GET{H}", "!400"),
    ("/ HTTP/1.1{H}", "!400"),
    ("G(T / HTTP/1.1{H}", "!400"),
    ("GÉT / HTTP/1.1{H}", "!400"),
    ("G\0T / HTTP/1.1{H}", "!400"),
    ("GET / x HTTP/1.1{H}", "!400"),
    // §2.3: version.
    ("GET / HTTP/1.0\r\n\r\n", "GET / ."),
    ("GET / HTTP/1.0{H}", "GET / ."),
    ("GET / HTTP/0.9{H}", "!505"),
    ("GET / HTTP/1.2{H}", "!505"),
    ("GET / HTTP/2.0{H}", "!505"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "!505"),
    ("GET / HTTP/1{H}", "!400"),
    ("GET / HTTP/1.{H}", "!400"),
    ("GET / HTTP/1.11{H}", "!400"),
    ("GET / HTTP/11.1{H}", "!400"),
    ("GET / HTTP/1,1{H}", "!400"),
    ("GET / http/1.1{H}", "!400"),
    ("GET / HTTPS/1.1{H}", "!400"),
    // §2.2: line ends, and empty lines before.
    ("\r\nGET / HTTP/1.1{H}", "GET / ."),
    ("\r\n\r\nGET / HTTP/1.1{H}", "!400"),
    ("\nGET / HTTP/1.1{H}", "!400"),
    ("\r", ""),
    ("\rGET / HTTP/1.1{H}", "!400"),
    ("GET / HTTP/1.1\nHost: h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\nHost: h\n\n", "!400"),
    ("GET / HTTP/1.1\n\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\n\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\n\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\rHost: h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", "!400"),
    ("\u{16}\u{3}\u{1}\u{2}", "!400"),
    ("\0", "!400"),
    // §3.2: target.
    ("GET /a/b?c=d&e HTTP/1.1{H}", "GET /a/b ."),
    ("GET /%zz|{}\"<>\\^` HTTP/1.1{H}", "GET /%zz|{}\"<>\\^` ."),
    ("GET //evil HTTP/1.1{H}", "GET //evil ."),
    ("GET http://h/a?b HTTP/1.1{H}", "GET /a ."),
    ("GET HTTP://h HTTP/1.1{H}", "GET / ."),
    ("GET http://h:80?b HTTP/1.1{H}", "GET / ."),
    ("GET http://h/a HTTP/1.1\r\n\r\n", "!400"),
    ("GET http:///a HTTP/1.1{H}", "!400"),
    ("GET http://u@h/ HTTP/1.1{H}", "!400"),
    ("GET ftp://h/ HTTP/1.1{H}", "!400"),
    ("GET a HTTP/1.1{H}", "!400"),
    ("GET ?a HTTP/1.1{H}", "!400"),
    ("GET h:80 HTTP/1.1{H}", "!400"),
    ("GET /#a HTTP/1.1{H}", "!400"),
    ("GET /\u{7f} HTTP/1.1{H}", "!400"),
    ("GET /\u{1} HTTP/1.1{H}", "!400"),
    ("GET /\0 HTTP/1.1{H}", "!400"),
    ("GET /é HTTP/1.1{H}", "!400"),
    ("GET /\u{c3}\u{a9} HTTP/1.1{H}", "!400"),
    ("GET /\ta HTTP/1.1{H}", "!400"),
    ("OPTIONS * HTTP/1.1{H}", "OPTIONS * ."),
    ("GET * HTTP/1.1{H}", "!400"),
    ("OPTIONS /* HTTP/1.1{H}", "OPTIONS /* ."),
    ("CONNECT h:443 HTTP/1.1{H}", "!501"),
    ("CONNECT /a HTTP/1.1{H}", "!400"),
    ("CONNECT h HTTP/1.1{H}", "!400"),
    // §3.2 Host.
    ("GET / HTTP/1.1\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nhOsT:h\r\n\r\n", "GET / ."),
    ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nhost: i\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h, i\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h i\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h/a\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h:8o\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / ."),
    ("GET / HTTP/1.1\r\nHost: é\r\n\r\n", "!400"),
    ("GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", "!400"),
    // §5: field lines.
    ("GET / HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n", "GET / ."),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: \t b \t \r\n\r\n", "GET / ."),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: caf\u{e9}\r\n\r\n", "GET / ."),
    ("GET / HTTP/1.1\r\nHost: h\r\n!#$%&'*+-.^_`|~: b\r\n\r\n", "GET / ."),
    ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n \r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA B: c\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA(: c\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nÉ: c\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA\0: c\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: b\u{7f}\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nA: b\u{b}\r\n\r\n", "!400"),
    ("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", "GET / ."),
    ("GET / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n", "!417"),
];

/// Fields of a POST, what follows the head, and what they come to.
const BODIES: &[(&str, &str, &str)] = &[
    ("Content-Length: 3", "abc", "POST / [abc] ."),
    ("Content-Length: 3", "ab", "POST /"),
    ("Content-Length: 0", "", "POST / ."),
    ("Content-Length: 3", "abcGET / HTTP/1.0\r\n\r\n", "POST / [abc] . GET / ."),
    ("Content-Length: 1", "ab", "POST / [a] ."),
    ("Content-Length: 003", "abc", "POST / [abc] ."),
    ("Content-Length: 100", "", "POST /"),
    ("Content-Length: 101", "", "!413"),
    ("Content-Length: 18446744073709551615", "", "!413"),
    ("Content-Length: 18446744073709551616", "", "!413"),
    ("Content-Length: 18446744073709551619", "abc", "!413"),
    ("Content-Length:", "", "!400"),
    ("Content-Length: +3", "abc", "!400"),
    ("Content-Length: -3", "abc", "!400"),
    ("Content-Length: 0x3", "abc", "!400"),
    ("Content-Length: 3.0", "abc", "!400"),
    ("Content-Length: 3 3", "abc", "!400"),
    ("Content-Length: 3, 3", "abc", "!400"),
    ("Content-Length: 3,", "abc", "!400"),
    ("Content-Length: 3;a", "abc", "!400"),
    ("Content-Length: \u{b2}", "abc", "!400"),
    ("Content-Length: 3\r\nContent-Length: 3", "abc", "!400"),
    ("Content-Length: 3\r\nCONTENT-LENGTH: 4", "abc", "!400"),
    ("Content-Length : 3", "abc", "!400"),
    ("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n", "!400"),
    ("Content-Length: x\r\nTransfer-Encoding: x", "", "!400"),
    ("Transfer-Encoding: CHUNKED", "0\r\n\r\n", "POST / ."),
    ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", "!501"),
    ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "!501"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding: identity", "", "!400"),
    ("Transfer-Encoding: gzip", "", "!400"),
    ("Transfer-Encoding:", "", "!400"),
    ("Transfer-Encoding: xchunked", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding: chunked;x=y", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding : chunked", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding:\u{b}chunked", "0\r\n\r\n", "!400"),
    ("Transfer-Encoding:\r\n chunked", "0\r\n\r\n", "!400"),
    ("Expect: 100-continue\r\nContent-Length: 1", "a", "POST / [a] ."),
    ("Expect: 100-continue, x\r\nContent-Length: 1", "a", "!417"),
];

/// RFC 9112 §7.1: chunks, and what a POST with them comes to.
const CHUNKS: &[(&str, &str)] = &[
    ("0\r\n\r\n", "POST / ."),
    ("3\r\nabc\r\n0\r\n\r\n", "POST / [abc] ."),
    ("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "POST / [abc0123456789] ."),
    ("a\r\n0123456789\r\n000\r\n\r\nGET / HTTP/1.0\r\n\r\n", "POST / [0123456789] . GET / ."),
    ("3;a\r\nabc\r\n0;b=c;d=\"e f\"\r\n\r\n", "POST / [abc] ."),
    ("3 ; a=b\r\nabc\r\n0\r\n\r\n", "POST / [abc] ."),
    ("3\t;\ta\r\nabc\r\n0\r\n\r\n", "POST / [abc] ."),
    ("3;\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3;=b\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3 \r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3 3\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3;a\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3;a\rb\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3;a\0\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("\r\n", "POST / !400"),
    (";a\r\n", "POST / !400"),
    (" 3\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("+3\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("-3\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("0x3\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3h\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("G\r\n", "POST / !400"),
    (":\r\n", "POST / !400"),
    ("3_0\r\n", "POST / !400"),
    ("3,\r\n", "POST / !400"),
    ("3\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("3\rabc\r\n0\r\n\r\n", "POST / !400"),
    ("3\r\nabc\n0\r\n\r\n", "POST / !400"),
    ("3\r\nabc0\r\n\r\n", "POST / !400"),
    ("3\r\nabcd\r\n0\r\n\r\n", "POST / !400"),
    ("3\r\nabc\rX0\r\n\r\n", "POST / !400"),
    ("64\r\n", "POST /"),
    ("65\r\n", "POST / !413"),
    ("FFFFFFFFFFFFFFFF\r\n", "POST / !413"),
    ("10000000000000003\r\nabc\r\n0\r\n\r\n", "POST / !413"),
    ("00000000000000003\r\nabc\r\n0\r\n\r\n", "POST / !400"),
    ("0\r\nT: u\r\n\r\n", "POST / (T u) ."),
    ("0\r\nT:\r\nU: v\r\n\r\n", "POST / (T ) (U v) ."),
    // RFC 9110 §6.5.1: what frames or routes a request is no trailer.
    ("0\r\nContent-Length: 5\r\nU: v\r\n\r\n", "POST / (U v) ."),
    ("0\r\nTransfer-Encoding: gzip\r\n\r\nGET / HTTP/1.1{H}", "POST / . GET / ."),
    ("0\r\nT : u\r\n\r\n", "POST / !400"),
    ("0\r\nT\r\n\r\n", "POST / !400"),
    ("0\r\n: u\r\n\r\n", "POST / !400"),
    ("0\r\n T: u\r\n\r\n", "POST / !400"),
    ("0\r\nT: u\n\r\n", "POST / !400"),
    ("0\r\nT: u\r\n\n", "POST / !400"),
    ("0\r\nT: \0\r\n\r\n", "POST / !400"),
    ("0\r\n\n", "POST / !400"),
    ("0\r\n\rX", "POST / !400"),
    ("0\n\n", "POST / !400"),
];
