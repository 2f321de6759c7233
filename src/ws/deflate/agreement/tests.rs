//! Offers and what becomes of them, by RFC 7692 §5 and §7; answers and what clients make of them.

use super::*;
use crate::{http::FieldLines, ws::deflate::check};
use proptest::prelude::*;

const FRESH: Preferences = Preferences { outgoing: Context::Fresh, incoming: Context::Fresh };

const fn taken_over(outgoing: u8, incoming: u8) -> Preferences {
    Preferences {
        outgoing: Context::TakenOver { window_bits: outgoing },
        incoming: Context::TakenOver { window_bits: incoming },
    }
}

/// The answer to these fields, without the extension's name; `-` for none, `400` for fields that
/// fail the handshake.
fn answer(values: &[&str], preferences: &Preferences) -> String {
    let lines = values.iter().map(|value| ("Sec-WebSocket-Extensions", value.as_bytes()));
    let lines = FieldLines::new(lines);
    let fields = lines.fields();
    if check(&fields).is_err() {
        return "400".into();
    }
    let Some(agreement) = Agreement::accept(&fields, preferences) else { return "-".into() };
    let value = agreement.to_field_value();
    // Whatever is answered, a client that made such an offer finds it in order.
    let rest = value.strip_prefix("permessage-deflate").expect("the extension's name");
    rest.trim_start_matches("; ").to_owned()
}

/// Offers, and the answers of a server that keeps nothing.
const OFFERS: &[(&str, &str)] = &[
    ("permessage-deflate", BOTH),
    ("permessage-deflate; client_max_window_bits", BOTH),
    ("permessage-deflate;client_max_window_bits=15", BOTH),
    ("permessage-deflate ; client_max_window_bits = 8", BOTH),
    ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", BOTH),
    ("permessage-deflate; server_max_window_bits=9", BOTH_9),
    ("permessage-deflate; server_max_window_bits=\"9\"", BOTH_9),
    ("permessage-deflate; server_max_window_bits=\"\\9\"", BOTH_9),
    // §7: declined, each of these alone.
    ("permessage-deflate; server_max_window_bits=8", "-"),
    ("permessage-deflate; server_max_window_bits=7", "-"),
    ("permessage-deflate; server_max_window_bits=16", "-"),
    ("permessage-deflate; server_max_window_bits=09", "-"),
    ("permessage-deflate; server_max_window_bits=010", "-"),
    ("permessage-deflate; server_max_window_bits=1", "-"),
    ("permessage-deflate; server_max_window_bits=ten", "-"),
    ("permessage-deflate; server_max_window_bits", "-"),
    ("permessage-deflate; client_max_window_bits=16", "-"),
    ("permessage-deflate; client_max_window_bits=\"155\"", "-"),
    ("permessage-deflate; server_no_context_takeover=1", "-"),
    ("permessage-deflate; client_no_context_takeover=true", "-"),
    ("permessage-deflate; something", "-"),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", "-"),
    ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", "-"),
    ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=10", "-"),
    ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", "-"),
    ("permessage-deflate; Server_no_context_takeover", "-"),
    // Others are ignored.
    ("x-webkit-deflate-frame", "-"),
    ("foo; bar=baz; bar=\"a\"", "-"),
    ("permessage-bzip2; client_max_window_bits", "-"),
    ("", "-"),
    (" , ,", "-"),
    // §5.1: the first that is acceptable.
    ("foo, permessage-deflate", BOTH),
    ("permessage-deflate; server_max_window_bits=8, permessage-deflate", BOTH),
    ("permessage-deflate; x, ,permessage-deflate; server_max_window_bits=9, a", BOTH_9),
    ("permessage-deflate; server_max_window_bits=9, permessage-deflate", BOTH_9),
    ("permessage-deflate, permessage-deflate; server_max_window_bits=9", BOTH),
    // RFC 6455 §9.1: no list of extensions at all.
    (";", "400"),
    ("=", "400"),
    ("permessage-deflate;", "400"),
    ("permessage-deflate; ; a", "400"),
    ("permessage-deflate a", "400"),
    ("permessage-deflate; a=", "400"),
    ("permessage-deflate; a=\"", "400"),
    ("permessage-deflate; a=\"\"", "400"),
    ("permessage-deflate; a=\"b c\"", "400"),
    ("permessage-deflate; a=\"b\"c", "400"),
    ("permessage-deflate; a=\"b\\\"", "400"),
    ("permessage-deflate; a=\"b\\,\"", "400"),
    ("permessage-deflate; a=b=c", "400"),
    ("permessage-deflate, (", "400"),
    ("permessage-deflate, a/b", "400"),
    ("permessage-deflate; \u{e4}", "400"),
];

const BOTH: &str = "server_no_context_takeover; client_no_context_takeover";
const BOTH_9: &str =
    "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9";

#[test]
fn offers_are_accepted_declined_or_malformed() {
    for (offer, expected) in OFFERS {
        assert_eq!(&answer(&[offer], &FRESH), expected, "{offer}");
    }
    // RFC 6455 §9.1: several fields are one list.
    assert_eq!(answer(&["foo", "permessage-deflate"], &FRESH), BOTH);
    assert_eq!(answer(&["permessage-deflate; x", "permessage-deflate"], &FRESH), BOTH);
    assert_eq!(answer(&["permessage-deflate", "a b"], &FRESH), "400");
    assert_eq!(answer(&[], &FRESH), "-");
}

#[test]
fn windows_are_as_large_as_both_sides_want_them() {
    // Offers, the server's windows for sending and receiving, and the answers.
    let cases: &[(&str, (u8, u8), &str)] = &[
        ("", (15, 15), ""),
        ("", (12, 15), ""),
        ("; client_max_window_bits", (15, 15), ""),
        ("; client_max_window_bits", (15, 12), "client_max_window_bits=12"),
        ("; client_max_window_bits=10", (15, 12), "client_max_window_bits=10"),
        ("; client_max_window_bits=8", (15, 15), "client_max_window_bits=8"),
        ("; client_max_window_bits=15", (15, 15), ""),
        ("; server_max_window_bits=10", (15, 15), "server_max_window_bits=10"),
        ("; server_max_window_bits=15", (12, 15), "server_max_window_bits=12"),
        ("; server_max_window_bits=8", (12, 15), "-"),
        // §7.1.2.2: no limit for a client that does not say it knows them.
        ("", (15, 12), "client_no_context_takeover"),
        ("; server_no_context_takeover", (15, 15), "server_no_context_takeover"),
        ("; client_no_context_takeover", (15, 15), "client_no_context_takeover"),
        (
            "; client_no_context_takeover; client_max_window_bits",
            (15, 10),
            "client_no_context_takeover",
        ),
    ];
    for (parameters, (outgoing, incoming), expected) in cases {
        let offer = format!("permessage-deflate{parameters}");
        assert_eq!(&answer(&[&offer], &taken_over(*outgoing, *incoming)), expected, "{offer}");
    }
}

/// What a client with these preferences makes of the value: its windows for sending and
/// receiving, `+` for those that are taken over.
fn made_of(value: &str, preferences: &Preferences) -> String {
    let lines = FieldLines::new([("sec-websocket-extensions", value.as_bytes())]);
    let show =
        |window: Window| format!("{}{}", window.bits, if window.is_taken_over { "+" } else { "" });
    match Agreement::verify(&lines.fields(), preferences) {
        Ok(Some(agreed)) => format!("{} {}", show(agreed.outgoing()), show(agreed.incoming())),
        Ok(None) => "-".into(),
        Err(NotOffered) => "fails".into(),
    }
}

#[test]
fn clients_check_the_answer() {
    let all = taken_over(15, 15);
    let some = taken_over(12, 11);
    let cases: &[(&str, &Preferences, &str)] = &[
        ("permessage-deflate", &all, "15+ 15+"),
        ("permessage-deflate; server_no_context_takeover", &all, "15+ 15"),
        ("permessage-deflate; client_no_context_takeover", &all, "15 15+"),
        ("permessage-deflate; client_max_window_bits=9", &all, "9+ 15+"),
        ("permessage-deflate; client_max_window_bits=8", &all, "8+ 15+"),
        ("permessage-deflate; server_max_window_bits=8", &all, "15+ 8+"),
        ("permessage-deflate; server_max_window_bits=11", &some, "12+ 11+"),
        (
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=14",
            &some,
            "12+ 9+",
        ),
        ("permessage-deflate; server_no_context_takeover", &FRESH, "15 15"),
        (BOTH_9_ANSWERED, &FRESH, "15 9"),
        ("", &all, "-"),
        // §7.1.1.1, §7.1.2.1: what was asked for is missing.
        ("permessage-deflate", &FRESH, "fails"),
        ("permessage-deflate", &some, "fails"),
        ("permessage-deflate; server_max_window_bits=12", &some, "fails"),
        // §7.1.2.2: it has a value in an answer.
        ("permessage-deflate; client_max_window_bits", &all, "fails"),
        ("permessage-deflate; something", &all, "fails"),
        (
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            &all,
            "fails",
        ),
        ("permessage-deflate, permessage-deflate", &all, "fails"),
        ("permessage-deflate, foo", &all, "fails"),
        ("foo", &all, "fails"),
        ("permessage-deflate;", &all, "fails"),
    ];
    for (value, preferences, expected) in cases {
        assert_eq!(&made_of(value, preferences), expected, "{value}");
    }
}

const BOTH_9_ANSWERED: &str = "permessage-deflate; server_no_context_takeover; \
    client_no_context_takeover; server_max_window_bits=9";

fn context() -> impl Strategy<Value = Context> {
    let taken_over = (9..=15_u8).prop_map(|window_bits| Context::TakenOver { window_bits });
    prop_oneof![Just(Context::Fresh), taken_over]
}

fn preferences() -> impl Strategy<Value = Preferences> {
    (context(), context()).prop_map(|(outgoing, incoming)| Preferences { outgoing, incoming })
}

proptest! {
    /// Any two sides agree, and each reads what the other may send.
    #[test]
    fn both_sides_understand_each_other(client in preferences(), server in preferences()) {
        let offer = client.offer();
        let lines = FieldLines::new([("Sec-WebSocket-Extensions", offer.as_bytes())]);
        let ours = Agreement::accept(&lines.fields(), &server).expect("an offer of our own");
        let value = ours.to_field_value();
        let lines = FieldLines::new([("Sec-WebSocket-Extensions", value.as_bytes())]);
        let theirs = Agreement::verify(&lines.fields(), &client);
        let theirs = theirs.expect("an answer to the offer").expect("it is accepted");
        let reads = |sends: Window, receives: Window| {
            sends.bits <= receives.bits && (receives.is_taken_over || !sends.is_taken_over)
        };
        prop_assert!(reads(ours.outgoing(), theirs.incoming()), "{ours:?} {theirs:?}");
        prop_assert!(reads(theirs.outgoing(), ours.incoming()), "{ours:?} {theirs:?}");
        // Nobody keeps more than it wanted to.
        for (window, context) in [
            (ours.outgoing(), server.outgoing),
            (ours.incoming(), server.incoming),
            (theirs.outgoing(), client.outgoing),
            (theirs.incoming(), client.incoming),
        ] {
            match context {
                Context::Fresh => prop_assert!(!window.is_taken_over),
                Context::TakenOver { window_bits } => {
                    prop_assert!(!window.is_taken_over || window.bits <= window_bits);
                }
            }
        }
    }

    #[test]
    fn no_value_is_too_strange(
        value in prop::collection::vec(any::<u8>(), 0..60),
        mild in "[a-c,;= \"\\\\]{0,30}",
    ) {
        for value in [&value[..], mild.as_bytes()] {
            let lines = FieldLines::new([("sec-websocket-extensions", value)]);
            let fields = lines.fields();
            let is_malformed = check(&fields).is_err();
            // Nothing of this names the extension.
            prop_assert_eq!(Agreement::accept(&fields, &FRESH), None);
            prop_assert!(!is_malformed || Agreement::verify(&fields, &FRESH).is_err());
        }
    }
}

#[test]
fn only_the_broken_safaris_are_known_by_their_names() {
    let of = |version: &str| {
        let browser = "Mozilla/5.0 (iPhone; CPU iPhone OS 15_1 like Mac OS X) AppleWebKit/605.1.15";
        is_broken_safari(
            format!("{browser} (KHTML, like Gecko) {version} Mobile/15E148 Safari/604.1")
                .as_bytes(),
        )
    };
    for version in ["15.0", "15.1", "15.2", "15.3", "15.2.1", "15.0.2"] {
        assert!(of(&format!("Version/{version}")), "{version}");
    }
    for version in ["14.1", "15.4", "15.6", "15.10", "15.31", "115.0", "16.3", "15", ""] {
        assert!(!of(&format!("Version/{version}")), "{version}");
    }
    assert!(!of("Chrome/15.2"));
    assert!(!is_broken_safari(b"Version/15.2"));
    assert!(!is_broken_safari(b""));
}
