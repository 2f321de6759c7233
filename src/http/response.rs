//! [`ResponseWriter`]: appends a response, head and body, to an outbox (RFC 9110 §6, RFC 9112 §4).
//!
//! The fields that frame the message (Content-Length, Connection, Date) are written here and
//! nowhere else, so that a response always ends where its recipient thinks it ends. Everything is
//! checked before the first byte is appended: a response is written whole or not at all.

use std::fmt;

use super::{
    Date, RequestHead, Status, Version,
    token::{is_field_value, is_token},
};
use crate::base::{Outbox, Shared};

/// What a response depends on of its request: three bytes to keep while a handler is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// Whether the method was HEAD: the response then ends with its head.
    pub is_head: bool,
    /// Whether the connection goes on after the response. To close it, set this to `false`.
    pub keep_alive: bool,
}

impl Exchange {
    /// For the answer to a fault: without a request, and the last thing on its connection.
    pub const FAULT: Self = Self { version: Version::Http11, is_head: false, keep_alive: false };
}

impl RequestHead<'_> {
    /// What a response to this request depends on.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        Exchange {
            version: self.version(),
            is_head: self.method() == "HEAD",
            keep_alive: self.keep_alive(),
        }
    }
}

/// Writes the response of one exchange.
///
/// ```
/// use sockeye::{base::Outbox, http::{Date, Exchange, ResponseWriter, Status}};
/// let (mut outbox, date) = (Outbox::default(), Date::from_unix(784_111_777));
/// let mut writer = ResponseWriter::new(&mut outbox, &date, Exchange::FAULT);
/// writer.send(Status::BAD_REQUEST, [("Content-Type", &b"text/plain"[..])], b"no")?;
/// assert_eq!(
///     outbox.contiguous(),
///     Some(
///         &b"HTTP/1.1 400 Bad Request\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
///         Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"[..]
///     )
/// );
/// # Ok::<(), sockeye::http::ResponseError>(())
/// ```
#[derive(Debug)]
pub struct ResponseWriter<'o> {
    outbox: &'o mut Outbox,
    date: &'o Date,
    exchange: Exchange,
    content_type: Option<&'o str>,
}

impl<'o> ResponseWriter<'o> {
    /// A writer for the response of this exchange. `date` is the time of the response.
    #[must_use]
    pub fn new(outbox: &'o mut Outbox, date: &'o Date, exchange: Exchange) -> Self {
        Self { outbox, date, exchange, content_type: None }
    }

    /// The same, which writes a Content-Type before the other fields.
    #[must_use]
    pub fn with_content_type(self, content_type: Option<&'o str>) -> Self {
        Self { content_type, ..self }
    }

    /// Appends a response with this body. To HEAD, the same without the body.
    ///
    /// An informational status (1xx) makes an interim response, after which another follows.
    ///
    /// # Errors
    /// [`ResponseError`], and nothing is appended, if a field cannot be sent or if a response of
    /// this status has no body and `body` is not empty.
    pub fn send<'f>(
        &mut self,
        status: Status,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8]), IntoIter: Clone>,
        body: &[u8],
    ) -> Result<(), ResponseError> {
        let sent = if self.exchange.is_head { &[] } else { body };
        // Beside a small body the head takes one reservation; a large one has its own way.
        let (beside, behind) = match sent.len() <= COPY_BYTES {
            true => (sent, &[][..]),
            false => (&[][..], sent),
        };
        self.coded_head(status, fields.into_iter(), Coding::Length(body.len() as u64), beside)?;
        if !behind.is_empty() {
            self.outbox.append(behind);
        }
        Ok(())
    }

    /// As [`ResponseWriter::send`], with a body that is queued by reference and not copied.
    ///
    /// # Errors
    /// As [`ResponseWriter::send`].
    pub fn send_shared<'f>(
        &mut self,
        status: Status,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8]), IntoIter: Clone>,
        body: Shared,
    ) -> Result<(), ResponseError> {
        self.coded_head(status, fields.into_iter(), Coding::Length(body.len() as u64), &[])?;
        if !self.exchange.is_head {
            self.outbox.push_shared(body, 0);
        }
        Ok(())
    }

    /// Appends the head of a response whose body follows by and by, and says how its end will be
    /// known. If it is [`Coding::Close`], the connection must end after it.
    ///
    /// # Errors
    /// As [`ResponseWriter::send`]; a status without a body has a length of 0.
    pub fn begin<'f>(
        &mut self,
        status: Status,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8]), IntoIter: Clone>,
        length: BodySize,
    ) -> Result<Coding, ResponseError> {
        let coding = match length {
            BodySize::Known(bytes) => Coding::Length(bytes),
            // RFC 9112 §7.1: never to a client of 1.0.
            BodySize::Unknown if self.exchange.version == Version::Http11 => Coding::Chunked,
            BodySize::Unknown | BodySize::Endless => Coding::Close,
        };
        self.exchange.keep_alive &= coding != Coding::Close;
        self.coded_head(status, fields.into_iter(), coding, &[])?;
        Ok(coding)
    }

    #[inline]
    fn coded_head<'f>(
        &mut self,
        status: Status,
        fields: impl Iterator<Item = (&'f str, &'f [u8])> + Clone,
        coding: Coding,
        body: &[u8],
    ) -> Result<(), ResponseError> {
        if coding != Coding::Length(0) && !status.allows_body() {
            return Err(ResponseError::BodyNotAllowed);
        }
        let content_type = self.content_type.map(str::as_bytes);
        if !content_type.is_none_or(is_field_value) {
            return Err(ResponseError::FieldValue);
        }
        let mut names_upgrade = false;
        let type_length = content_type.map_or(0, <[u8]>::len);
        // It is only the room to begin with: it may wrap.
        let mut most = AROUND_FIELDS_BYTES.wrapping_add(type_length).wrapping_add(body.len());
        for (name, value) in fields.clone() {
            check_field(status, name, value)?;
            names_upgrade |= name.eq_ignore_ascii_case("upgrade");
            most = most.wrapping_add(name.len()).wrapping_add(value.len()).wrapping_add(4);
        }
        let connection = self.connection_line(status, names_upgrade).unwrap_or_default();
        let date = self.date.line();
        self.outbox.append_with(most, |out| {
            match status.line() {
                _ if status == Status::OK => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
                Some(line) => out.extend_from_slice(line.as_bytes()),
                None => out.extend_from_slice(&uncommon_status_line(status)),
            }
            if !status.is_informational() {
                out.extend_from_slice(date);
            }
            if let Some(content_type) = content_type {
                out.extend_from_slice(b"Content-Type: ");
                out.extend_from_slice(content_type);
                out.extend_from_slice(b"\r\n");
            }
            for (name, value) in fields {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(connection);
            match coding {
                Coding::Length(body_bytes) if status.allows_body() => {
                    append_content_length(out, body_bytes);
                }
                Coding::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
                // RFC 9110 §8.6: none in 1xx and 204; in 304 it would be that of the response to
                // GET.
                Coding::Length(_) | Coding::Close => out.extend_from_slice(b"\r\n"),
            }
            out.extend_from_slice(body);
        });
        Ok(())
    }

    fn connection_line(&self, status: Status, names_upgrade: bool) -> Option<&'static [u8]> {
        match self.exchange {
            _ if status.is_informational() => None,
            // RFC 9110 §7.8: who sends Upgrade (in a 426, say) names it in Connection.
            Exchange { keep_alive: false, .. } if names_upgrade => {
                Some(b"Connection: upgrade, close\r\n")
            }
            Exchange { version: Version::Http10, .. } if names_upgrade => {
                Some(b"Connection: upgrade, keep-alive\r\n")
            }
            _ if names_upgrade => Some(b"Connection: upgrade\r\n"),
            Exchange { keep_alive: false, .. } => Some(b"Connection: close\r\n"),
            // RFC 9112 §9.3: a client of 1.0 must be told that its wish is granted.
            Exchange { version: Version::Http10, .. } => Some(b"Connection: keep-alive\r\n"),
            Exchange { version: Version::Http11, .. } => None,
        }
    }
}

/// Appends the last field line and the empty line after it.
fn append_content_length(out: &mut Vec<u8>, body_bytes: u64) {
    out.extend_from_slice(b"Content-Length: ");
    append_decimal(out, body_bytes);
    out.extend_from_slice(b"\r\n\r\n");
}

fn append_decimal(out: &mut Vec<u8>, number: u64) {
    if number >= 10 {
        append_decimal(out, number / 10);
    }
    out.push(b'0' | u8::try_from(number % 10).unwrap_or_default());
}

/// How long a body is that does not stand ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySize {
    /// So many bytes.
    Known(u64),
    /// To be seen when it is over.
    Unknown,
    /// Over when the connection is.
    Endless,
}

/// How the recipient of a response knows the end of its body (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the connection is closed.
    Close,
}

impl Coding {
    /// Appends a piece of a body, which is not empty.
    pub fn append(self, outbox: &mut Outbox, piece: &[u8]) {
        if self != Self::Chunked {
            outbox.append(piece);
            return;
        }
        let mut line = *b"0000000000000000\r\n";
        let mut rest = piece.len();
        let mut places = line.iter_mut().rev().skip(2);
        for digit in places.by_ref() {
            *digit = b"0123456789abcdef".get(rest % 16).copied().unwrap_or_default();
            rest /= 16;
            if rest == 0 {
                break;
            }
        }
        let unused = places.len();
        outbox.append_two(line.get(unused..).unwrap_or_default(), piece);
        outbox.append(b"\r\n");
    }

    /// Appends what ends a body.
    pub fn end(self, outbox: &mut Outbox) {
        if self == Self::Chunked {
            outbox.append(b"0\r\n\r\n");
        }
    }
}

fn check_field(status: Status, name: &str, value: &[u8]) -> Result<(), ResponseError> {
    if !is_field_value(value) {
        return Err(ResponseError::FieldValue);
    }
    if !is_token(name.as_bytes()) {
        return Err(ResponseError::FieldName);
    }
    // The one response whose Connection is its sender's affair.
    if status == Status::SWITCHING_PROTOCOLS && name.eq_ignore_ascii_case("connection") {
        return Ok(());
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(ResponseError::ReservedField);
    }
    Ok(())
}

fn uncommon_status_line(status: Status) -> [u8; 15] {
    let mut line = *b"HTTP/1.1 000 \r\n";
    let code = usize::from(status.code());
    line[9..12].copy_from_slice(&[digit(code / 100), digit(code / 10 % 10), digit(code % 10)]);
    line
}

fn digit(number: usize) -> u8 {
    b'0' | u8::try_from(number).unwrap_or_default()
}

/// At least as many bytes as the lines that the writer writes itself.
const AROUND_FIELDS_BYTES: usize = 256;
/// Bodies up to this size are written with their heads.
const COPY_BYTES: usize = 4 << 10;
/// Fields that the writer writes itself.
const RESERVED: [&str; 5] =
    ["content-length", "transfer-encoding", "connection", "keep-alive", "date"];

/// Why a response cannot be sent: a mistake of the application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// A field name that is no token.
    FieldName,
    /// A field value with CR, LF, NUL or another control, or with white space around.
    FieldValue,
    /// A field that the writer writes itself.
    ReservedField,
    /// A body with a status that has none.
    BodyNotAllowed,
    /// More bytes of names and values than the server is to send.
    HeaderTooLong,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FieldName => "a field name must be a token, without spaces or separators",
            Self::FieldValue => "a field value must not contain controls, or begin or end blank",
            Self::ReservedField => {
                "Content-Length, Transfer-Encoding, Connection, Keep-Alive and Date are written by \
                the server"
            }
            Self::HeaderTooLong => "the header exceeds max_response_header_bytes",
            Self::BodyNotAllowed => "responses of status 1xx, 204 and 304 have no body",
        })
    }
}

impl std::error::Error for ResponseError {}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Exchange = Exchange { version: Version::Http11, is_head: false, keep_alive: true };
    const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

    fn write(
        exchange: Exchange,
        status: Status,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<String, ResponseError> {
        let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        let mut writer = ResponseWriter::new(&mut outbox, &date, exchange);
        let result = writer.send(status, fields.clone(), body.as_bytes());
        let bytes = outbox.contiguous().expect("one piece").to_vec();
        if result.is_err() {
            assert!(bytes.is_empty(), "whole or not at all");
        }
        let mut shared = Outbox::default();
        let again = ResponseWriter::new(&mut shared, &date, exchange).send_shared(
            status,
            fields,
            Shared::from(body.as_bytes()),
        );
        assert_eq!((again, shared.len()), (result, bytes.len()));
        result.map(|()| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn a_response_has_date_length_and_body() {
        let expected =
            format!("HTTP/1.1 200 OK\r\n{DATE}X-A: b\r\nContent-Length: 13\r\n\r\nHello, world!");
        assert_eq!(write(KEEP, Status::OK, &[("X-A", "b")], "Hello, world!"), Ok(expected));
        let expected = format!("HTTP/1.1 404 Not Found\r\n{DATE}Content-Length: 0\r\n\r\n");
        assert_eq!(write(KEEP, Status::NOT_FOUND, &[], ""), Ok(expected));
        let status = Status::new(299).expect("a status");
        let expected = format!("HTTP/1.1 299 \r\n{DATE}Content-Length: 0\r\n\r\n");
        assert_eq!(write(KEEP, status, &[], ""), Ok(expected));
    }

    #[test]
    fn lengths_are_written_in_full() {
        for length in [1, 9, 10, 99, 100, 12_345] {
            let response = write(KEEP, Status::OK, &[], &"x".repeat(length)).expect("a response");
            assert!(response.contains(&format!("\r\nContent-Length: {length}\r\n\r\nx")));
        }
        let mut out = Vec::new();
        append_content_length(&mut out, u64::MAX);
        assert_eq!(out, format!("Content-Length: {}\r\n\r\n", u64::MAX).into_bytes());
    }

    #[test]
    fn the_connection_is_mentioned_when_it_must_be() {
        let line = |version, keep_alive| {
            let exchange = Exchange { version, keep_alive, is_head: false };
            let response = write(exchange, Status::OK, &[], "").expect("a response");
            let lines = response.split("\r\n").filter_map(|l| l.strip_prefix("Connection: "));
            lines.map(str::to_owned).collect::<Vec<_>>().join(",")
        };
        assert_eq!(line(Version::Http11, true), "");
        assert_eq!(line(Version::Http11, false), "close");
        assert_eq!(line(Version::Http10, true), "keep-alive");
        assert_eq!(line(Version::Http10, false), "close");
    }

    #[test]
    fn an_upgrade_that_is_offered_is_named_in_connection() {
        let upgrade = [("Upgrade", "websocket")];
        let old = Exchange { version: Version::Http10, ..KEEP };
        for (exchange, line) in [
            (KEEP, "upgrade"),
            (old, "upgrade, keep-alive"),
            (Exchange::FAULT, "upgrade, close"),
            (Exchange { keep_alive: false, ..old }, "upgrade, close"),
        ] {
            let expected = format!(
                "HTTP/1.1 426 Upgrade Required\r\n{DATE}Upgrade: websocket\r\n\
                Connection: {line}\r\nContent-Length: 0\r\n\r\n"
            );
            assert_eq!(write(exchange, Status::UPGRADE_REQUIRED, &upgrade, ""), Ok(expected));
        }
    }

    #[test]
    fn some_responses_have_no_body() {
        let head = Exchange { is_head: true, ..KEEP };
        let expected = format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: 4\r\n\r\n");
        assert_eq!(write(head, Status::OK, &[], "body"), Ok(expected));
        for (status, line) in
            [(Status::NO_CONTENT, "204 No Content"), (Status::NOT_MODIFIED, "304 Not Modified")]
        {
            let expected = format!("HTTP/1.1 {line}\r\n{DATE}\r\n");
            assert_eq!(write(KEEP, status, &[], ""), Ok(expected));
            assert_eq!(write(KEEP, status, &[], "x"), Err(ResponseError::BodyNotAllowed));
        }
        let expected = "HTTP/1.1 100 Continue\r\n\r\n".to_owned();
        assert_eq!(write(Exchange::FAULT, Status::CONTINUE, &[], ""), Ok(expected));
        let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\n\r\n";
        let written = write(KEEP, Status::SWITCHING_PROTOCOLS, &upgrade, "");
        assert_eq!(written.as_deref(), Ok(expected));
    }

    #[test]
    fn a_body_that_follows_has_a_length_or_chunks_or_ends_the_connection() {
        let begin = |version, length| {
            let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
            let exchange = Exchange { version, ..KEEP };
            let mut writer = ResponseWriter::new(&mut outbox, &date, exchange);
            let coding = writer.begin(Status::OK, [], length).expect("a response");
            coding.append(&mut outbox, &[b'x'; 26]);
            coding.append(&mut outbox, b"y");
            coding.end(&mut outbox);
            let text = String::from_utf8(outbox.contiguous().expect("one piece").to_vec());
            let text = text.expect("text").replace(&"x".repeat(26), "{x}");
            text.strip_prefix(&format!("HTTP/1.1 200 OK\r\n{DATE}")).expect("a head").to_owned()
        };
        let (new, old) = (Version::Http11, Version::Http10);
        let chunked = "Transfer-Encoding: chunked\r\n\r\n1a\r\n{x}\r\n1\r\ny\r\n0\r\n\r\n";
        assert_eq!(begin(new, BodySize::Unknown), chunked);
        assert_eq!(begin(old, BodySize::Unknown), "Connection: close\r\n\r\n{x}y");
        assert_eq!(begin(new, BodySize::Endless), "Connection: close\r\n\r\n{x}y");
        assert_eq!(begin(new, BodySize::Known(27)), "Content-Length: 27\r\n\r\n{x}y");
        let (mut outbox, date) = (Outbox::default(), Date::from_unix(0));
        let mut writer = ResponseWriter::new(&mut outbox, &date, KEEP);
        let refused = writer.begin(Status::NO_CONTENT, [], BodySize::Unknown);
        assert_eq!(refused, Err(ResponseError::BodyNotAllowed));
    }

    #[test]
    fn fields_that_would_split_or_frame_the_response_are_refused() {
        let cases = [
            ("", "v", ResponseError::FieldName),
            ("A B", "v", ResponseError::FieldName),
            ("A:", "v", ResponseError::FieldName),
            ("A\r\nB", "v", ResponseError::FieldName),
            ("\u{e9}", "v", ResponseError::FieldName),
            ("A", "v\r\nSet-Cookie: x", ResponseError::FieldValue),
            ("A", "v\n", ResponseError::FieldValue),
            ("A", "v\r", ResponseError::FieldValue),
            ("A", "\0", ResponseError::FieldValue),
            ("A", " v", ResponseError::FieldValue),
            ("Content-Length", "5", ResponseError::ReservedField),
            ("transfer-encoding", "chunked", ResponseError::ReservedField),
            ("CONNECTION", "close", ResponseError::ReservedField),
            ("Date", "x", ResponseError::ReservedField),
        ];
        for (name, value, error) in cases {
            let fields = [("X-Good", "v"), (name, value)];
            assert_eq!(write(KEEP, Status::OK, &fields, "body"), Err(error), "{name}: {value}");
        }
    }
}
