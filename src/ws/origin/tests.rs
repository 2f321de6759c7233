//! Which pages may open a WebSocket (RFC 6455 §10.2).

use super::*;
use crate::http::{Decoder, Event, HeaderSlots, Limits};

fn allows(origin: &Origin, host: &str, fields: &str) -> bool {
    let mut bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").into_bytes();
    let (mut decoder, mut slots) = (Decoder::default(), HeaderSlots::new());
    let step = decoder.next(&mut bytes, &mut slots, &Limits::default()).expect("a good head");
    let Some(Event::Request(head)) = step.event else { panic!("a head") };
    origin.allows(&head)
}

fn field(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

#[test]
fn the_same_host_and_port_is_the_same() {
    let cases = [
        ("example.org", "http://example.org", true),
        ("example.org", "https://example.org", true),
        ("example.org", "HTTPS://EXAMPLE.ORG", true),
        ("Example.Org", "https://example.org", true),
        ("example.org:80", "http://example.org", true),
        ("example.org:443", "https://example.org", true),
        ("example.org", "http://example.org:80", true),
        ("example.org", "https://example.org:443", true),
        ("example.org:", "https://example.org", true),
        ("example.org:8080", "http://example.org:8080", true),
        ("127.0.0.1:9001", "http://127.0.0.1:9001", true),
        ("[::1]", "http://[::1]", true),
        ("[::1]:9001", "https://[::1]:9001", true),
        ("example.org:80", "https://example.org", false),
        ("example.org:443", "http://example.org", false),
        ("example.org", "http://example.org:8080", false),
        ("example.org:8080", "http://example.org", false),
        ("example.org", "http://www.example.org", false),
        ("www.example.org", "http://example.org", false),
        ("example.org", "http://example.org.evil.example", false),
        ("example.org", "http://evil-example.org", false),
        ("example.org", "http://example.org@evil.example", false),
        ("example.org", "http://evil.example/example.org", false),
        ("example.org", "http://example.org/", false),
        ("example.org", "http://example.org http://evil.example", false),
        ("example.org", "example.org", false),
        ("example.org", "//example.org", false),
        ("example.org", "ftp://example.org", false),
        ("example.org", "chrome-extension://example.org", false),
        ("example.org", "http://", false),
        ("example.org", "file://", false),
        ("example.org", "", false),
        ("example.org", "null", false),
        ("null", "null", false),
        ("example.org", "http://example.org:65536", false),
        ("[::1]", "http://[::2]", false),
        ("[::1]:9001", "http://[::1]", false),
    ];
    for (host, origin, expected) in cases {
        assert_eq!(allows(&Origin::Same, host, &field(origin)), expected, "{origin} of {host}");
    }
}

#[test]
fn clients_that_are_no_browsers_have_no_origin() {
    let list = Origin::list(["https://example.org"]).expect("an origin");
    for origin in [Origin::Same, list, Origin::Any] {
        assert!(allows(&origin, "example.org", ""));
        let twice = field("http://example.org").repeat(2);
        assert!(!allows(&origin, "example.org", &twice), "{origin:?}: which one?");
    }
}

#[test]
fn a_list_names_schemes_hosts_and_ports() {
    let allowed = ["https://example.org", "http://localhost:3000", "HTTP://A.example:80"];
    let list = Origin::list(allowed).expect("origins");
    let cases = [
        ("https://example.org", true),
        ("https://example.org:443", true),
        ("HTTPS://Example.Org", true),
        ("http://localhost:3000", true),
        ("http://a.example", true),
        ("http://example.org", false),
        ("https://example.org:8443", false),
        ("https://localhost:3000", false),
        ("http://localhost", false),
        ("https://sub.example.org", false),
        ("https://example.org.evil.example", false),
        ("null", false),
        ("", false),
    ];
    for (origin, expected) in cases {
        // Which host is meant does not matter here.
        assert_eq!(allows(&list, "other.example", &field(origin)), expected, "{origin}");
    }
    let files = Origin::list(vec![String::from("null"), "file://".into(), "app://x".into()]);
    let files = files.expect("origins");
    for (origin, expected) in
        [("null", true), ("file://", true), ("app://x", true), ("http://x", false), ("", false)]
    {
        assert_eq!(allows(&files, "other.example", &field(origin)), expected, "{origin}");
    }
    let nobody = Origin::list::<[&str; 0]>([]).expect("an empty list");
    assert!(!allows(&nobody, "example.org", &field("http://example.org")));
}

#[test]
fn any_is_any() {
    for origin in ["http://evil.example", "null", "", "nonsense"] {
        assert!(allows(&Origin::Any, "example.org", &field(origin)));
    }
}

#[test]
fn what_is_no_origin_is_refused_when_the_list_is_made() {
    for origin in [
        "",
        "example.org",
        "*",
        "https://*.example.org",
        "https://example.org/",
        "https://example.org/path",
        "https://user@example.org",
        "https://example.org:x",
        "https://example.org:65536",
        "://example.org",
        "1http://example.org",
        "https:/example.org",
        "NULL",
    ] {
        let result = Origin::list(["https://good.example", origin]);
        assert_eq!(result, Err(OriginError { origin: origin.into() }), "{origin}");
    }
}
