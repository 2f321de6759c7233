//! The decoder's verdicts on request heads, compared with the grammar of the RFCs in `rules`.

use proptest::prelude::*;

use super::{Decoder, Error, Event, HeaderSlots, Limits};

#[allow(unreachable_pub, reason = "shared with the fuzzer")]
mod rules;

/// The decoder's verdict on bytes that end with a head.
fn verdict(bytes: &[u8]) -> Result<bool, Error> {
    let mut bytes = bytes.to_vec();
    let mut slots = HeaderSlots::new();
    let mut decoder = Decoder::default();
    let step = decoder.next(&mut bytes, &mut slots, &Limits::default())?;
    Ok(matches!(step.event, Some(Event::Request(_))))
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(
        &[
            "GET",
            "POST",
            "OPTIONS",
            "CONNECT",
            "get",
            "G(T",
            " ",
            "  ",
            "\t",
            "/",
            "/a?b",
            "*",
            "a",
            "http://h/",
            "http://h:1?x",
            "http://u@h/",
            "HTTP/1.1",
            "HTTP/1.0",
            "HTTP/2.0",
            "\r\n",
            "\n",
            "\r",
            ":",
            ": ",
            " : ",
            "Host",
            "Host: h",
            "Host: h:80",
            "Host: h, i",
            "A",
            "A: b",
            "Content-Length: 3",
            "Content-Length: +3",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Expect: 100-continue",
            "Expect: x",
            "\0",
            "\u{7f}",
            "#",
            "é",
            ",",
            "chunked",
            "h",
        ][..],
    )
    .prop_map(str::to_owned)
}

/// A good head with some of its parts replaced, dropped or repeated.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::collection::vec((0_usize..16, word(), 0_u8..4), 0..4);
    let fields = prop::collection::vec(word(), 0..3);
    (parts, fields, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(changes, fields, at, byte, flips)| {
            let mut parts: Vec<String> =
                ["GET", " ", "/", " ", "HTTP/1.1", "\r\n", "Host", ": ", "h"]
                    .map(str::to_owned)
                    .to_vec();
            for field in fields {
                parts.extend(["\r\n".to_owned(), field]);
            }
            parts.extend(["\r\n".to_owned(), "\r\n".to_owned()]);
            for (place, word, change) in changes {
                let place = place % parts.len();
                match change {
                    0 => parts[place] = word,
                    1 => parts.insert(place, word),
                    2 => drop(parts.remove(place)),
                    _ => parts.insert(place, parts[place].clone()),
                }
                if parts.is_empty() {
                    parts.push(word_of_nothing());
                }
            }
            let mut bytes = parts.concat().into_bytes();
            if flips && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

fn word_of_nothing() -> String {
    "\r\n".to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 4096 }))]

    #[test]
    fn the_decoder_accepts_what_the_grammar_does(bytes in head()) {
        // Of what is behind the first empty line nothing is asked.
        let start = usize::from(bytes.starts_with(b"\r\n")) * 2;
        let end = bytes[start..].windows(4).position(|four| four == b"\r\n\r\n");
        let bytes = &bytes[..end.map_or(bytes.len(), |end| start + end + 4)];
        let by_grammar = rules::is_request_head(bytes);
        let by_decoder = verdict(bytes) == Ok(true);
        prop_assert_eq!(by_decoder, by_grammar, "{:?}", String::from_utf8_lossy(bytes));
    }
}
