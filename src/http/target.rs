//! [`Target`]: the request target in its four forms (RFC 9112 §3.2), and hosts (RFC 3986 §3.2).

use super::Error;

/// What a request asks for. Nothing is decoded.
///
/// An absolute-form target (as proxies get it) is taken apart, so that its path and query read
/// like those of an origin-form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'b> {
    raw: &'b str,
    authority: Option<&'b str>,
    path: &'b str,
    query: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Takes the target of a request with this method apart.
    pub(super) fn parse(method: &str, raw: &'b str) -> Result<Self, Error> {
        // RFC 9112 §3.2: no fragment, no white space; beyond ASCII nothing is a URI.
        if !raw.bytes().fold(true, |sound, byte| sound & byte.is_ascii_graphic() & (byte != b'#')) {
            return Err(Error::Target);
        }
        if method == "CONNECT" {
            // RFC 9112 §3.2.3: with a port, always.
            let ends_with_digit = raw.ends_with(|last: char| last.is_ascii_digit());
            let is_authority = is_host(raw.as_bytes()) && raw.contains(':') && ends_with_digit;
            return Err(if is_authority { Error::Connect } else { Error::Target });
        }
        if raw.starts_with('/') {
            return Ok(Self::split(raw, None, raw));
        }
        if raw == "*" && method == "OPTIONS" {
            return Ok(Self { raw, authority: None, path: raw, query: None });
        }
        let (scheme, rest) = raw.split_once("://").ok_or(Error::Target)?;
        if !SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
            return Err(Error::Target);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_host(authority.as_bytes()) {
            return Err(Error::Target);
        }
        Ok(Self::split(raw, Some(authority), path))
    }

    fn split(raw: &'b str, authority: Option<&'b str>, rest: &'b str) -> Self {
        let mark = rest.bytes().position(|byte| byte == b'?');
        let (path, query) = match mark.and_then(|mark| rest.split_at_checked(mark)) {
            Some((path, query)) => (path, query.get(1..)),
            None => (rest, None),
        };
        // RFC 9110 §4.2.3: an empty path is the path "/".
        Self { raw, authority, path: if path.is_empty() { "/" } else { path }, query }
    }

    /// The target as it was sent.
    #[must_use]
    pub fn raw(&self) -> &'b str {
        self.raw
    }

    /// Host and port of an absolute-form target.
    #[must_use]
    pub fn authority(&self) -> Option<&'b str> {
        self.authority
    }

    /// The path; `*` if the request is about the server as a whole.
    #[must_use]
    pub fn path(&self) -> &'b str {
        self.path
    }

    /// What follows the first `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'b str> {
        self.query
    }
}

/// Whether this is `uri-host [ ":" port ]` with a host (RFC 9110 §4.2.1 demands one).
pub(crate) fn is_host(value: &[u8]) -> bool {
    // Most names have nothing special: their end is that of the first pass.
    let name = value.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(value.len());
    match value.get(name..) {
        Some([]) if name > 0 => true,
        Some([b':', port @ ..]) if name > 0 => is_port(port),
        _ => is_special_host(value),
    }
}

// RFC 3986 §3.2.3: a port may be empty; 65535 is the greatest there is.
fn is_port(port: &[u8]) -> bool {
    if port.len() < 5 {
        return port.iter().all(u8::is_ascii_digit);
    }
    let add = |number: u32, byte: &u8| {
        let digit = byte.wrapping_sub(b'0').into();
        let number = number.saturating_mul(10).saturating_add(digit);
        (byte.is_ascii_digit() && number <= 0xffff).then_some(number)
    };
    port.iter().try_fold(0, add).is_some()
}

// RFC 3986 §3.2.2: IPv6 addresses, and the literals of versions to come.
fn is_ip_literal(literal: &str) -> bool {
    if let Some(future) = literal.strip_prefix(['v', 'V']) {
        let Some((version, address)) = future.split_once('.') else { return false };
        let is_hex = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_hex
            && !address.is_empty()
            && address.bytes().all(|byte| byte == b':' || is_name_byte(byte));
    }
    literal.parse::<std::net::Ipv6Addr>().is_ok()
}

// RFC 3986 §3.2.2: an address in brackets, or a name with bytes that are percent-encoded.
#[cold]
fn is_special_host(value: &[u8]) -> bool {
    if let Some(rest) = value.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']');
        let Some((literal, [_, after @ ..])) = end.and_then(|end| rest.split_at_checked(end))
        else {
            return false;
        };
        return std::str::from_utf8(literal).is_ok_and(is_ip_literal)
            && (after.is_empty() || after.strip_prefix(b":").is_some_and(is_port));
    }
    let colon = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    let (name, after) = value.split_at(colon);
    let is_sound = |byte: &u8| *byte == b'%' || is_name_byte(*byte);
    let is_escape = |rest: &[u8]| {
        rest.first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    !name.is_empty()
        && name.iter().all(is_sound)
        && name.split(|byte| *byte == b'%').skip(1).all(is_escape)
        && after.strip_prefix(b":").is_none_or(is_port)
}

// RFC 3986 §2.2, §2.3: unreserved and sub-delims.
fn is_name_byte(byte: u8) -> bool {
    NAME.get(usize::from(byte)) == Some(&true)
}

#[expect(clippy::indexing_slicing, reason = "the compiler does it")]
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || matches!(byte, b'!' | b'$' | b'&'..=b',' | b';' | b'=');
        byte += 1;
    }
    table
};

const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> Result<(Option<&str>, &str, Option<&str>), Error> {
        Target::parse("GET", raw).map(|t| (t.authority(), t.path(), t.query()))
    }

    #[test]
    fn origin_and_absolute_forms_read_alike() {
        assert_eq!(parts("/"), Ok((None, "/", None)));
        assert_eq!(parts("/a/b?c=d?e"), Ok((None, "/a/b", Some("c=d?e"))));
        assert_eq!(parts("/?"), Ok((None, "/", Some(""))));
        assert_eq!(parts("//double//"), Ok((None, "//double//", None)));
        assert_eq!(parts("http://h:80/a?b"), Ok((Some("h:80"), "/a", Some("b"))));
        assert_eq!(parts("HTTPS://h"), Ok((Some("h"), "/", None)));
        assert_eq!(parts("ws://h?q"), Ok((Some("h"), "/", Some("q"))));
        assert_eq!(Target::parse("GET", "ws://h?q").map(|t| t.raw()), Ok("ws://h?q"));
    }

    #[test]
    fn asterisk_and_authority_belong_to_their_methods() {
        assert_eq!(Target::parse("OPTIONS", "*").map(|t| t.path()), Ok("*"));
        assert_eq!(parts("*"), Err(Error::Target));
        assert_eq!(Target::parse("CONNECT", "a:443"), Err(Error::Connect));
        assert_eq!(Target::parse("CONNECT", "[::1]:443"), Err(Error::Connect));
        for raw in ["a", "a:", "/", "http://a:1/", "*", "[::1]", ":443", "a:x"] {
            assert_eq!(Target::parse("CONNECT", raw), Err(Error::Target), "{raw}");
        }
    }

    #[test]
    fn other_targets_are_refused() {
        let targets = [
            "a",
            "a:80",
            "?q",
            "/#",
            "/a#b",
            "/\u{e9}",
            "/\u{7f}",
            "http:/a",
            "http:a",
            "http://",
            "http:///a",
            "ftp://h/",
            "http://u@h/",
            "http://u:p@h/",
            "http://h:x/",
            "http://[::1/",
        ];
        for raw in targets {
            assert_eq!(parts(raw), Err(Error::Target), "{raw}");
        }
    }

    #[test]
    fn hosts() {
        let hosts = [
            "a",
            "example.org",
            "example.org:80",
            "example.org:",
            "127.0.0.1:65535",
            "[::1]",
            "[::ffff:1.2.3.4]:80",
            "a_b",
            "a%20b",
            "[v1.a:b]",
            "xn--bcher-kva.example",
        ];
        for host in hosts {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        let others = [
            "", ":80", "a b", "a/b", "a@b", "a:65536", "a:-1", "a:+1", "a:1:2", "::1", "[::1",
            "[::1]80", "[]", "[a]", "a%2", "a%zz", "[v.a]", "[v1.]", "a?b", "a#b", "h\u{e9}",
        ];
        for host in others {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        // RFC 3986 §3.2.2: sub-delims, and so commas, may stand in a registered name.
        assert!(is_host(b"a,b"));
    }
}
