//! [`Trailers`]: the fields behind a chunked body (RFC 9110 §6.5, RFC 9112 §7.1.2).
//!
//! They never join those of the head, and fields on which something has been decided by then are
//! left out: what a proxy looked for in the head must not come in by the back door.

/// The trailer fields of a request, as views into the bytes they came in.
///
/// Fields that frame, route, condition or authenticate a request, or say how its content is to be
/// understood, are left out: they have no meaning here (RFC 9110 §6.5.1).
///
/// ```
/// use sockeye::{App, Response, Status};
///
/// let app = App::new().post("/upload", |request, body| {
///     match request.trailers().first("X-Length").and_then(|value| value.parse().ok()) {
///         Some(length) if body.len() == length => Response::text("as you say"),
///         _ => Response::new(Status::BAD_REQUEST),
///     }
/// });
/// ```
// Invariant: whole field lines that the chunk decoder has checked, and an empty line or nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trailers<'a>(&'a [u8]);

impl<'a> Trailers<'a> {
    /// The fields of a trailer section that has been checked.
    pub(crate) fn of(section: &'a [u8]) -> Self {
        Self(section)
    }

    /// The section, as it was sent.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The value of the first field of this name, if it is text. Case does not matter.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All fields, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.0.split(|byte| *byte == b'\n').filter_map(field)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, [_, value @ ..]) = line.split_at_checked(colon)? else { return None };
    let name = std::str::from_utf8(name).ok()?;
    let is_forbidden = FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden));
    // The CR of the line end goes with the white space.
    (!is_forbidden).then(|| (name, value.trim_ascii()))
}

/// RFC 9110 §6.5.1: fields for "framing, routing, authentication, request modifiers, response
/// controls, or content format".
const FORBIDDEN: [&str; 42] = [
    "accept-encoding",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_without_regard_to_case() {
        let trailers = Trailers::of(b"Digest:\t a=b \r\nX:\r\nx: 2\r\n\r\n");
        let all: Vec<_> = trailers.iter().collect();
        assert_eq!(all, [("Digest", &b"a=b"[..]), ("X", b""), ("x", b"2")]);
        assert_eq!(trailers.first("DIGEST"), Some("a=b"));
        assert_eq!((trailers.first("x"), trailers.first("y")), (Some(""), None));
        assert!(!trailers.is_empty() && Trailers::default().is_empty());
    }

    #[test]
    fn what_has_been_decided_on_is_left_out() {
        let section = FORBIDDEN.map(|name| format!("{}: 1\r\n", name.to_uppercase())).concat();
        assert!(Trailers::of(section.as_bytes()).is_empty());
        let section = section + "Hosts: 1\r\n\r\n";
        assert_eq!(Trailers::of(section.as_bytes()).iter().count(), 1);
    }
}
