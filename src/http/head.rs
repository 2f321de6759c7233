//! [`RequestHead`]: request-line and field lines of one request, as views into received bytes.
//!
//! `httparse` finds the pieces; what it tolerates and we do not is refused here: targets that are
//! no URI, versions, lengths that contradict. Line ends have been checked when the end of the head
//! was found. Owns RFC 9112 §3 and §5.

use std::mem::MaybeUninit;

use httparse::Header;

use super::{BodyLength, Error, Fields, Limits, Target, framing::Framing};

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

/// Room for the field lines of one head, lent to the parser.
///
/// It is not initialised, so making one for each call costs nothing; it lives on the stack and
/// no connection owns one.
#[derive(Debug)]
pub struct HeaderSlots<'b>([MaybeUninit<Header<'b>>; HeaderSlots::CAPACITY]);

impl HeaderSlots<'_> {
    /// The most field lines a head can have; [`Limits::max_field_count`] may ask for fewer.
    pub const CAPACITY: usize = 256;

    /// Empty slots.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; HeaderSlots::CAPACITY])
    }
}

impl<'b> HeaderSlots<'b> {
    pub(super) fn limited(&mut self, limits: &Limits) -> &mut [MaybeUninit<Header<'b>>] {
        &mut self.0[..limits.max_field_count.min(HeaderSlots::CAPACITY)]
    }
}

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'b> RequestHead<'b> {
    /// Parses a complete head, from its first byte to the empty line that ends it: one that has
    /// been kept, since a [`Decoder`](super::Decoder) finds the heads of a stream.
    ///
    /// # Errors
    /// What the client did wrong.
    pub fn parse(
        bytes: &'b [u8],
        slots: &'b mut HeaderSlots<'b>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, slots.limited(limits)) {
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
        if target.len() > limits.max_target_bytes {
            return Err(Error::TargetTooLong);
        }
        let target = Target::parse(method, target)?;
        let version = Version::of_minor(minor);
        let fields = Fields::new(request.headers);
        let framing = Framing::decide(version, &fields, limits)?;
        Ok(Self { bytes, method, target, version, fields, framing })
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
