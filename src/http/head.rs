//! [`RequestHead`]: request-line and field lines of one request, as views into received bytes.
//!
//! [`HeadLines`] has found the parts, or `httparse` says what is wrong. What that tolerates and we
//! do not is refused here: targets that are no URI, versions, lengths that contradict. Line ends
//! have been checked when the end of the head was found. Owns RFC 9112 §3 and §5.

use std::mem::MaybeUninit;

use super::{
    BodyLength, Error, Fields, HeaderSlots, Limits, Target, framing::Framing, head_lines::HeadLines,
};
use crate::simd;

/// The head of a request.
///
/// Names of fields are compared without regard to case, the method with it.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'b> {
    bytes: &'b [u8],
    method: &'b str,
    target: Target<'b>,
    version: Version,
    fields: Fields<'b>,
    framing: Framing,
}

/// A version of HTTP that is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunks, and connections close unless both sides say otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl<'b> RequestHead<'b> {
    /// Parses a complete head, from its first byte to the empty line that ends it: one that has
    /// been kept, since a [`Decoder`](super::Decoder) finds the heads of a stream.
    ///
    /// # Errors
    /// What the client did wrong.
    pub fn parse(
        bytes: &'b [u8],
        slots: &'b mut HeaderSlots,
        limits: &Limits,
    ) -> Result<Self, Error> {
        match HeadLines::find(bytes, slots, limits) {
            Some(lines) if lines.length == bytes.len() => {
                Self::of_lines(bytes, &lines, slots, limits)
            }
            _ => Self::with_care(bytes, slots, limits),
        }
    }

    /// The head whose parts have been found.
    #[inline]
    pub(super) fn of_lines(
        bytes: &'b [u8],
        lines: &HeadLines,
        slots: &'b HeaderSlots,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let before_version = bytes.get(..lines.target_end).unwrap_or_default();
        // Methods are tokens: if there is anything beyond ASCII, it is in the target.
        let text = simd::from_utf8(before_version).map_err(|_| Error::Target)?;
        let method = text.get(..lines.method_end).unwrap_or_default();
        let target = text.get(lines.method_end.saturating_add(1)..).unwrap_or_default();
        Self::of_parts(bytes, (method, target, lines.version), slots.fields(bytes), limits)
    }

    #[inline]
    fn of_parts(
        bytes: &'b [u8],
        (method, target, version): (&'b str, &'b str, Version),
        fields: Fields<'b>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        if target.len() > limits.max_target_bytes {
            return Err(Error::TargetTooLong);
        }
        let target = Target::parse(method, target)?;
        let framing = Framing::decide(version, &fields, limits)?;
        Ok(Self { bytes, method, target, version, fields, framing })
    }

    /// A head that has something against it, or in it that few have, as an empty line before.
    #[cold]
    fn with_care(
        bytes: &'b [u8],
        slots: &'b mut HeaderSlots,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut headers = [const { MaybeUninit::uninit() }; HeaderSlots::CAPACITY];
        let mut request = httparse::Request::new(&mut []);
        let headers = headers.get_mut(..HeaderSlots::most(limits)).unwrap_or_default();
        match request.parse_with_uninit_headers(bytes, headers) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Error::RequestLine),
            Err(error) => return Err(fault(error, bytes)),
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Error::RequestLine);
        };
        if method.len() > MAX_METHOD_BYTES {
            return Err(Error::MethodTooLong);
        }
        slots.note(bytes, request.headers);
        let parts = (method, target, Version::of_minor(minor));
        Self::of_parts(bytes, parts, slots.fields(bytes), limits)
    }

    /// All of it, as it was sent.
    #[must_use]
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// The method, as it was sent: methods are case-sensitive.
    #[must_use]
    pub fn method(&self) -> &'b str {
        self.method
    }

    /// What the request asks for.
    #[must_use]
    pub fn target(&self) -> Target<'b> {
        self.target
    }

    /// The path of the target, not decoded; `*` if the server as a whole is meant.
    #[must_use]
    pub fn path(&self) -> &'b str {
        self.target.path()
    }

    /// What follows the first `?` of the target, not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&'b str> {
        self.target.query()
    }

    /// The host and port the request is for: the target's if it has them (RFC 9112 §3.2.2), else
    /// those of the Host field, which only requests of HTTP/1.0 may lack.
    #[must_use]
    pub fn host(&self) -> Option<&'b str> {
        let field = || self.fields.first("host").and_then(|value| std::str::from_utf8(value).ok());
        self.target.authority().or_else(field)
    }

    /// The version of HTTP that the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The field lines.
    #[must_use]
    pub fn fields(&self) -> Fields<'b> {
        self.fields
    }

    /// How long the body is that follows.
    #[must_use]
    pub fn body(&self) -> BodyLength {
        self.framing.body
    }

    /// Whether the client would send another request on this connection.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.framing.keep_alive
    }

    /// Whether there is a field named Upgrade.
    pub(crate) fn has_upgrade(&self) -> bool {
        self.framing.has_upgrade
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    #[must_use]
    pub fn expect_continue(&self) -> bool {
        self.framing.expect_continue
    }
}

impl Version {
    pub(super) fn of_minor(minor: u8) -> Self {
        if minor == 0 { Self::Http10 } else { Self::Http11 }
    }
}

fn fault(error: httparse::Error, bytes: &[u8]) -> Error {
    match error {
        httparse::Error::HeaderName => Error::FieldName,
        httparse::Error::HeaderValue => Error::FieldValue,
        httparse::Error::TooManyHeaders => Error::TooManyFields,
        httparse::Error::Version if names_a_version(bytes) => Error::Version,
        _ => Error::RequestLine,
    }
}

/// Whether the first line ends like `HTTP-name "/" DIGIT "." DIGIT` (RFC 9112 §2.3).
pub(super) fn names_a_version(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.rsplit(|byte| *byte == b' ');
    let is_version = |word: &[u8]| match word {
        [name @ .., major, b'.', minor] => {
            name == b"HTTP/" && major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    };
    words.next().is_some_and(is_version) && words.count() == 2
}

/// Longer methods are not implemented by anyone (RFC 9112 §3 answers them with 501).
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// What a request-line has around its target: the longest method, two spaces, the version, CRLF.
pub(super) const AROUND_TARGET_BYTES: usize = MAX_METHOD_BYTES + 2 + 8 + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with<T>(bytes: &[u8], look: impl FnOnce(Result<RequestHead<'_>, Error>) -> T) -> T {
        let mut slots = HeaderSlots::new();
        look(RequestHead::parse(bytes, &mut slots, &Limits::default()))
    }

    #[test]
    fn a_head_shows_its_parts() {
        let bytes = b"POST /a/b?c=d HTTP/1.1\r\nHost: h:1\r\nX:  y z \r\nContent-Length: 3\r\n\
            Expect: 100-continue\r\n\r\n";
        with(bytes, |head| {
            let head = head.expect("a good head");
            assert_eq!(head.method(), "POST");
            assert_eq!((head.path(), head.query()), ("/a/b", Some("c=d")));
            assert_eq!(head.target().raw(), "/a/b?c=d");
            assert_eq!(head.version(), Version::Http11);
            assert_eq!(head.host(), Some("h:1"));
            assert_eq!(head.fields().first("x"), Some(&b"y z"[..]));
            assert_eq!(head.body(), BodyLength::Known(3));
            assert!(head.keep_alive() && head.expect_continue());
        });
    }

    #[test]
    fn the_host_of_the_target_wins() {
        let bytes = b"\r\nGET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n";
        with(bytes, |head| assert_eq!(head.expect("a good head").host(), Some("a")));
    }

    #[test]
    fn versions_and_garbage_are_told_apart() {
        let cases = [
            ("GET / HTTP/2.0", Error::Version),
            ("GET / HTTP/1.2", Error::Version),
            ("GET / HTTP/0.9", Error::Version),
            ("GET / HTTP/3", Error::RequestLine),
            ("GET / http/1.1", Error::RequestLine),
            ("GET / FTP/1.1", Error::RequestLine),
            ("GET /", Error::RequestLine),
            ("GET a b HTTP/2.0", Error::RequestLine),
        ];
        for (line, expected) in cases {
            let bytes = format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
            with(&bytes, |head| assert_eq!(head.err(), Some(expected), "{line}"));
        }
    }

    /// What the pass over blocks makes of a head, if anything, and what the careful way does.
    fn both_ways(bytes: &[u8], limits: &Limits) -> (Option<String>, String) {
        let show = |head: Result<RequestHead<'_>, Error>| match head {
            Ok(head) => {
                let fields: Vec<_> = head.fields().iter().collect();
                format!("{} {:?} {:?} {fields:?}", head.method(), head.target(), head.version())
            }
            // Of several things that are wrong, they need not name the same.
            Err(_) => "refused".to_owned(),
        };
        let mut slots = HeaderSlots::new();
        let quick = HeadLines::find(bytes, &mut slots, limits)
            .filter(|lines| lines.length == bytes.len())
            .map(|lines| show(RequestHead::of_lines(bytes, &lines, &slots, limits)));
        (quick, show(RequestHead::with_care(bytes, &mut slots, limits)))
    }

    #[test]
    fn lines_that_cross_blocks_anywhere_read_the_same() {
        let limits = Limits::default();
        for length in (0..200).step_by(if cfg!(miri) { 31 } else { 1 }) {
            let long = "l".repeat(length);
            for head in [
                format!("GET /{long} HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n"),
                format!("GET / HTTP/1.0\r\nA{long}: \t b c\t \r\nHost:h\r\n\r\n"),
                format!("POST / HTTP/1.1\r\nA:{long}\r\nHost: h\r\nContent-Length: 1\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nHost: h\r\nA: {long}\u{e9}\tb\r\n\r\n"),
            ] {
                let (quick, careful) = both_ways(head.as_bytes(), &limits);
                assert_eq!(quick, Some(careful), "{head:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_found_in_one_pass_is_what_the_careful_way_finds(
            parts in prop::collection::vec(
                prop::sample::select(&[
                    "Host: h", "A: b", "A:", "A :b", " c", "\t", ":", "\r\n", "\r\n", "\r\n",
                    "\r", "\n", "\0", "\u{7f}", "\u{e9}",
                    "0123456789012345678901234567890123456789",
                ][..]),
                0..16,
            ),
            line in prop::sample::select(&[
                "GET / HTTP/1.1", "GET / HTTP/1.0", "GET /  HTTP/1.1", "GET HTTP/1.1",
                " / HTTP/1.1", "GET  HTTP/1.1", "G(T / HTTP/1.1", "GET / HTTP/1.2",
                "GET /\t HTTP/1.1", "GET\t/ HTTP/1.1",
            ][..]),
            max_field_count in 1_usize..5,
            max_target_bytes in 1_usize..3,
        ) {
            let limits = Limits { max_field_count, max_target_bytes, ..Limits::default() };
            let head = [&[line, "\r\n"], &parts[..], &["\r\n\r\n"]].concat().concat();
            let end = head.find("\r\n\r\n").map_or(head.len(), |end| end + 4);
            let (quick, careful) = both_ways(&head.as_bytes()[..end], &limits);
            if let Some(quick) = quick {
                prop_assert_eq!(quick, careful, "{:?}", head);
            }
        }
    }
}
