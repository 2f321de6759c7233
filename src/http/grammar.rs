//! The grammar of request heads (RFC 9112 §3, §5; RFC 9110 §5; RFC 3986), one function for each
//! rule, with no thought of speed; and the decoder's verdicts compared with it.
//!
//! Where the house is stricter or laxer than the grammar, the rule says so.

use proptest::prelude::*;

use super::{Decoder, Error, Event, HeaderSlots, Limits};

/// What is left after a rule has matched.
type Rest<'a> = Option<&'a [u8]>;

fn literal<'a>(input: &'a [u8], text: &str) -> Rest<'a> {
    input.strip_prefix(text.as_bytes())
}

fn many(input: &[u8], is_member: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| !is_member(*byte)).unwrap_or(input.len());
    input.split_at(end)
}

fn token(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let (token, rest) = many(input, tchar);
    (!token.is_empty()).then_some((token, rest))
}

/// `HTTP-message` up to the end of its head, of a request. Stricter than the RFC: one empty line
/// before it at most, and none of the leniencies for line ends and white space.
fn request_head(input: &[u8]) -> Option<bool> {
    let input = literal(input, "\r\n").unwrap_or(input);
    let (method, rest) = token(input)?;
    let rest = literal(rest, " ")?;
    let (target, rest) = many(rest, |byte| byte.is_ascii_graphic());
    let rest = literal(rest, " HTTP/1.")?;
    let (minor, mut rest) = rest.split_first()?;
    rest = literal(rest, "\r\n")?;
    let mut fields = Vec::new();
    while literal(rest, "\r\n").is_none() {
        let (name, after) = token(rest)?;
        let after = literal(after, ":")?;
        let field_value = |byte: u8| byte >= b' ' && byte != 0x7f || byte == b'\t';
        let (value, after) = many(after, field_value);
        rest = literal(after, "\r\n")?;
        fields.push((name.to_ascii_lowercase(), value.trim_ascii()));
    }
    literal(rest, "\r\n")?;
    let is_sound = matches!(minor, b'0' | b'1')
        && request_target(method, target)
        && host_fields(&fields, *minor)
        && message_framing(&fields, *minor)
        && expectation(&fields, *minor);
    Some(is_sound)
}

/// `request-target`. Laxer than RFC 3986: what is visible may stand in a path. Stricter: no
/// schemes but those of HTTP and WebSocket, no userinfo, no CONNECT.
fn request_target(method: &[u8], target: &[u8]) -> bool {
    let text = String::from_utf8_lossy(target).to_ascii_lowercase();
    if method == b"CONNECT" || text.contains('#') {
        return false;
    }
    let absolute = ["http://", "https://", "ws://", "wss://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .is_some_and(|rest| uri_host(rest.split(['/', '?']).next().unwrap_or_default()));
    text.starts_with('/') || text == "*" && method == b"OPTIONS" || absolute
}

/// `uri-host [ ":" port ]`, for the names that are drawn here.
fn uri_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c);
    !name.is_empty()
        && name.chars().all(is_name)
        && port.chars().all(|c| c.is_ascii_digit())
        && (port.is_empty() || port.trim_start_matches('0').parse::<u16>().is_ok())
}

type Fields<'a> = [(Vec<u8>, &'a [u8])];

fn values<'f>(fields: &'f Fields<'_>, name: &str) -> Vec<&'f [u8]> {
    let is_named = |field: &&(Vec<u8>, &'f [u8])| field.0 == name.as_bytes();
    fields.iter().filter(is_named).map(|(_, value)| *value).collect()
}

/// RFC 9112 §3.2: one Host, in 1.1 at least.
fn host_fields(fields: &Fields<'_>, minor: u8) -> bool {
    match values(fields, "host")[..] {
        [] => minor == b'0',
        [host] => std::str::from_utf8(host).is_ok_and(uri_host),
        _ => false,
    }
}

/// RFC 9112 §6.3. Stricter: one Content-Length, and chunked is the only coding.
fn message_framing(fields: &Fields<'_>, minor: u8) -> bool {
    let codings = values(fields, "transfer-encoding");
    let lengths = values(fields, "content-length");
    let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    match (&lengths[..], codings.is_empty()) {
        ([], true) => true,
        ([length], true) => is_number(length) && length.len() < 7,
        ([], false) => {
            let all = codings.join(&b","[..]).to_ascii_lowercase();
            let members: Vec<&[u8]> = all
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
                .filter(|member| !member.is_empty())
                .collect();
            minor == b'1' && members == [b"chunked"]
        }
        _ => false,
    }
}

/// RFC 9110 §10.1.1: none but `100-continue`; in 1.0 it is ignored.
fn expectation(fields: &Fields<'_>, minor: u8) -> bool {
    let members = values(fields, "expect");
    let mut members = members.iter().flat_map(|value| value.split(|byte| *byte == b','));
    let is_known = |member: &[u8]| {
        let member = member.trim_ascii();
        member.is_empty() || member.eq_ignore_ascii_case(b"100-continue")
    };
    minor == b'0' || members.all(is_known)
}

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
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_decoder_accepts_what_the_grammar_does(bytes in head()) {
        // Of what is behind the first empty line nothing is asked.
        let start = usize::from(bytes.starts_with(b"\r\n")) * 2;
        let end = bytes[start..].windows(4).position(|four| four == b"\r\n\r\n");
        let bytes = &bytes[..end.map_or(bytes.len(), |end| start + end + 4)];
        let by_grammar = request_head(bytes) == Some(true);
        let by_decoder = verdict(bytes) == Ok(true);
        prop_assert_eq!(by_decoder, by_grammar, "{:?}", String::from_utf8_lossy(bytes));
    }
}
