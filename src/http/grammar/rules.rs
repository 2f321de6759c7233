//! The grammar of request heads (RFC 9112 §3, §5; RFC 9110 §5; RFC 3986), one function for each
//! rule, with no thought of speed. The unit tests and the fuzzer compare the decoder with it.
//!
//! Where the house is stricter or laxer than the grammar, the rule says so.

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
pub fn is_request_head(input: &[u8]) -> bool {
    request_head(input) == Some(true)
}

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
        && method.len() <= MAX_METHOD_BYTES
        && fields.len() <= MAX_FIELD_COUNT
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

/// `uri-host [ ":" port ]`.
fn uri_host(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => ipv_future(literal) || literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && reg_name(host),
    };
    // Stricter: no port that none can have.
    let number = port.trim_start_matches('0');
    let is_port = port.chars().all(|c| c.is_ascii_digit());
    is_host && is_port && (number.is_empty() || number.parse::<u16>().is_ok())
}

/// `"v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )`
fn ipv_future(text: &str) -> bool {
    let Some((version, address)) = text.get(1..).and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    text.starts_with(['v', 'V'])
        && !version.is_empty()
        && version.chars().all(|c| c.is_ascii_hexdigit())
        && !address.is_empty()
        && address.chars().all(|c| c == ':' || unreserved_or_sub_delim(c))
}

/// `*( unreserved / pct-encoded / sub-delims )`
fn reg_name(mut text: &str) -> bool {
    while let Some(first) = text.chars().next() {
        let length = if first == '%' { 3 } else { first.len_utf8() };
        let Some(part) = text.get(..length) else { return false };
        let is_escape = || part[1..].chars().all(|c| c.is_ascii_hexdigit());
        if !(unreserved_or_sub_delim(first) || first == '%' && is_escape()) {
            return false;
        }
        text = &text[length..];
    }
    true
}

fn unreserved_or_sub_delim(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c)
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

/// RFC 9112 §6.3. Stricter: one Content-Length, within the limit, and chunked is the only coding.
fn message_framing(fields: &Fields<'_>, minor: u8) -> bool {
    let codings = values(fields, "transfer-encoding");
    let lengths = values(fields, "content-length");
    let is_number = |value: &[u8]| {
        let digits = std::str::from_utf8(value).unwrap_or_default();
        digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.parse::<u64>().is_ok_and(|length| length <= MAX_BODY_BYTES)
    };
    match (&lengths[..], codings.is_empty()) {
        ([], true) => true,
        ([length], true) => is_number(length),
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

/// The limits as they are by default.
const MAX_METHOD_BYTES: usize = 32;
/// As by default.
const MAX_FIELD_COUNT: usize = 100;
/// As by default.
const MAX_BODY_BYTES: u64 = 1 << 20;
