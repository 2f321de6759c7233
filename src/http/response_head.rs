//! [`ResponseHeadDecoder`]: reads the one response head that a WebSocket client waits for.
//!
//! In the style of the server's side: strict about line ends, incremental, each byte looked at
//! once. What follows the head is left in the input: after a 101 it is of the next protocol.

use std::mem::MaybeUninit;

use super::{
    Error, Fields, HeaderSlots, Limits, Status, Version,
    head::names_a_version,
    head_buffer::{HeadBuffer, Side},
};

/// Reads a response head out of bytes as they arrive.
///
/// ```
/// use sockeye::http::{HeaderSlots, Limits, ResponseHeadDecoder, Status};
/// let mut decoder = ResponseHeadDecoder::default();
/// let mut slots = HeaderSlots::new();
/// let mut input = *b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00";
/// let step = decoder.next(&mut input, &mut slots, &Limits::default())?;
/// assert_eq!(step.consumed, 56);
/// assert_eq!(step.head.map(|head| head.status()), Some(Status::SWITCHING_PROTOCOLS));
/// # Ok::<(), sockeye::http::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct ResponseHeadDecoder {
    buffer: HeadBuffer,
    failed: Option<Error>,
}

/// What one call of [`ResponseHeadDecoder::next`] came to.
#[derive(Debug, Clone, Copy)]
pub struct ResponseStep<'a> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// The head, once it is complete.
    pub head: Option<ResponseHead<'a>>,
}

/// The head of a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'b> {
    status: Status,
    version: Version,
    fields: Fields<'b>,
}

impl ResponseHeadDecoder {
    /// Takes the next bytes. After a head comes the next one (that of the final response after an
    /// interim one, if it has no body).
    ///
    /// # Errors
    /// What the server did wrong; again and again.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        slots: &'a mut HeaderSlots,
        limits: &Limits,
    ) -> Result<ResponseStep<'a>, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Self { buffer, failed } = self;
        buffer.free_complete();
        let length = input.len();
        let step = match buffer.next(input, Side::Response, limits) {
            Ok(None) => Ok(ResponseStep { consumed: length, head: None }),
            Ok(Some((bytes, consumed))) => ResponseHead::parse(bytes, slots, limits)
                .map(|head| ResponseStep { consumed, head: Some(head) }),
            Err(error) => Err(error),
        };
        *failed = step.as_ref().err().copied();
        step
    }
}

impl<'b> ResponseHead<'b> {
    fn parse(bytes: &'b [u8], slots: &'b mut HeaderSlots, limits: &Limits) -> Result<Self, Error> {
        let mut headers = [const { MaybeUninit::uninit() }; HeaderSlots::CAPACITY];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            headers.get_mut(..HeaderSlots::most(limits)).unwrap_or_default(),
        );
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Error::StatusLine),
            Err(httparse::Error::HeaderName) => return Err(Error::FieldName),
            Err(httparse::Error::HeaderValue) => return Err(Error::FieldValue),
            Err(httparse::Error::TooManyHeaders) => return Err(Error::TooManyFields),
            Err(httparse::Error::Version) => return Err(version_fault(bytes)),
            Err(_) => return Err(Error::StatusLine),
        }
        let status = response.code.and_then(Status::new).ok_or(Error::StatusLine)?;
        let version = Version::of_minor(response.version.ok_or(Error::StatusLine)?);
        slots.note(bytes, response.headers);
        Ok(Self { status, version, fields: slots.fields(bytes) })
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The version of HTTP that the server speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The field lines.
    #[must_use]
    pub fn fields(&self) -> Fields<'b> {
        self.fields
    }
}

fn version_fault(bytes: &[u8]) -> Error {
    // As in a request-line, where the version is the last of three words.
    let word = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_version = names_a_version(&[b"- - ", word].concat());
    if is_version { Error::Version } else { Error::StatusLine }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(bytes: &[u8], piece: usize) -> Result<(u16, Version, usize, usize), Error> {
        let limits = Limits { max_head_bytes: 200, max_field_count: 3, ..Limits::default() };
        let mut decoder = ResponseHeadDecoder::default();
        let mut bytes = bytes.to_vec();
        let mut done = 0;
        for piece in bytes.chunks_mut(piece) {
            let mut slots = HeaderSlots::new();
            let step = decoder.next(piece, &mut slots, &limits)?;
            done += step.consumed;
            if let Some(head) = step.head {
                let count = head.fields().iter().count();
                return Ok((head.status().code(), head.version(), count, done));
            }
        }
        Ok((0, Version::Http10, 0, done))
    }

    #[test]
    fn heads_are_read_however_they_are_cut() {
        let (new, old) = (Version::Http11, Version::Http10);
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(200));
        let cases: [(&str, Result<_, Error>); 18] = [
            ("HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\nrest", Ok((101, new, 1, 42))),
            ("HTTP/1.1 101 \r\n\r\n", Ok((101, new, 0, 17))),
            ("HTTP/1.1 101\r\n\r\n", Ok((101, new, 0, 16))),
            ("HTTP/1.0 404 Not Found\r\nA: b\r\nC:d\r\n\r\n", Ok((404, old, 2, 37))),
            ("HTTP/1.1 101 ", Ok((0, old, 0, 13))),
            ("HTTP/2.0 200 OK\r\n\r\n", Err(Error::Version)),
            ("HTTP/11 200 OK\r\n\r\n", Err(Error::StatusLine)),
            ("HTTP/1.1 20 OK\r\n\r\n", Err(Error::StatusLine)),
            ("HTTP/1.1 2000 OK\r\n\r\n", Err(Error::StatusLine)),
            ("HTTP/1.1 999 OK\r\n\r\n", Err(Error::StatusLine)),
            ("HTTP/1.1 200 OK\n", Err(Error::BareLineFeed)),
            ("HTTP/1.1 200 OK\r\nA: b\n", Err(Error::BareLineFeed)),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Err(Error::FieldName)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Err(Error::FieldName)),
            ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", Err(Error::FieldValue)),
            ("HTTP/1.1 200 OK\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n", Err(Error::TooManyFields)),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Err(Error::NotHttp)),
            (&long, Err(Error::HeadTooLong)),
        ];
        for (bytes, expected) in cases {
            for piece in [usize::MAX >> 1, 1, 2, 3, 7] {
                assert_eq!(outcome(bytes.as_bytes(), piece), expected, "{bytes:?} by {piece}");
            }
        }
    }

    #[test]
    fn a_fault_is_repeated_and_interim_heads_follow_each_other() {
        let limits = Limits::default();
        let mut decoder = ResponseHeadDecoder::default();
        for part in ["HTTP/1.1 100 C\r\n", "\r\n", "HTTP/1.1 1", "01 S\r\n\r\n"] {
            let mut slots = HeaderSlots::new();
            let mut bytes = part.as_bytes().to_vec();
            let step = decoder.next(&mut bytes, &mut slots, &limits).expect("good heads");
            assert_eq!(step.consumed, part.len());
            assert_eq!(step.head.is_some(), part.ends_with("\r\n\r\n") || part == "\r\n");
        }
        let mut decoder = ResponseHeadDecoder::default();
        for bytes in ["x", "HTTP/1.1 200 OK\r\n\r\n"] {
            let mut slots = HeaderSlots::new();
            let mut bytes = bytes.as_bytes().to_vec();
            assert_eq!(decoder.next(&mut bytes, &mut slots, &limits).err(), Some(Error::NotHttp));
        }
    }
}
