//! [`Framing`]: what the fields of a request say about the connection: how long the body is,
//! whether the connection goes on, which host is meant (RFC 9112 §3.2, §6, §9.3).
//!
//! Where two readers could understand a message differently it is refused, because the difference
//! is what smuggles requests.

use super::{Error, Fields, Limits, Version, target};

/// How the end of a request's body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body (or a Content-Length of zero).
    None,
    /// The body has this many bytes.
    Known(u64),
    /// The body is in chunks.
    Chunked,
}

/// The decisions about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) body: BodyLength,
    pub(super) keep_alive: bool,
    pub(super) expect_continue: bool,
    pub(super) has_upgrade: bool,
}

impl Framing {
    /// Decides for a request of this version with these fields.
    pub(super) fn decide(
        version: Version,
        fields: &Fields<'_>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let seen = Seen::look(fields)?;
        check_host(version, seen.host)?;
        let body = match seen.content_length {
            // RFC 9112 §6.1: both "ought to be handled as an error".
            Some(_) if seen.transfer_encoding => return Err(Error::TwoLengths),
            Some(value) => content_length(value, limits.max_body_bytes)?,
            None if seen.transfer_encoding => {
                let body = transfer_encoding(version, fields)?;
                // RFC 9110 §15.5.12: a server may insist on a Content-Length.
                if limits.requires_length {
                    return Err(Error::LengthRequired);
                }
                body
            }
            None => BodyLength::None,
        };
        let expects = seen.expect && expects_continue(version, fields)?;
        Ok(Self {
            body,
            keep_alive: keep_alive(version, fields, seen.connection),
            expect_continue: expects && body != BodyLength::None,
            has_upgrade: seen.upgrade,
        })
    }
}

/// Which of the fields that matter here there are: one pass for all of them.
#[derive(Debug, Default)]
struct Seen<'b> {
    host: Option<&'b [u8]>,
    content_length: Option<&'b [u8]>,
    transfer_encoding: bool,
    connection: bool,
    expect: bool,
    upgrade: bool,
}

impl<'b> Seen<'b> {
    fn look(fields: &Fields<'b>) -> Result<Self, Error> {
        let mut seen = Self::default();
        for (name, value) in fields.raw() {
            // Most names are told apart by their length.
            match name.len() {
                4 if is_called(name, b"host") => {
                    only(seen.host.replace(value), Error::Host)?;
                }
                // RFC 9110 §8.6 allows to repair a repeated length. Nobody honest sends one.
                14 if is_called(name, b"content-length") => {
                    only(seen.content_length.replace(value), Error::ContentLength)?;
                }
                17 => seen.transfer_encoding |= is_called(name, b"transfer-encoding"),
                10 => seen.connection |= is_called(name, b"connection"),
                7 => seen.upgrade |= is_called(name, b"upgrade"),
                6 => seen.expect |= is_called(name, b"expect"),
                _ => {}
            }
        }
        Ok(seen)
    }
}

/// Whether a token is this one, which is letters and dashes, without regard to case. In a token
/// only capitals become other letters by the bit that makes them small.
#[inline]
fn is_called<const LENGTH: usize>(name: &[u8], small: &[u8; LENGTH]) -> bool {
    name.first_chunk::<LENGTH>().is_some_and(|name| {
        name.iter().zip(small).fold(0, |joined, (byte, other)| joined | (byte | 0x20) ^ other) == 0
    })
}

fn only(before: Option<&[u8]>, error: Error) -> Result<(), Error> {
    if before.is_some() { Err(error) } else { Ok(()) }
}

fn check_host(version: Version, host: Option<&[u8]>) -> Result<(), Error> {
    match host {
        Some(value) if target::is_host(value) => Ok(()),
        Some(_) => Err(Error::Host),
        None if version == Version::Http10 => Ok(()),
        None => Err(Error::MissingHost),
    }
}

/// RFC 9112 §9.3: 1.1 persists unless told otherwise, 1.0 only if asked to.
fn keep_alive(version: Version, fields: &Fields<'_>, has_connection: bool) -> bool {
    if !has_connection {
        return version == Version::Http11;
    }
    !fields.list_contains("connection", "close")
        && (version == Version::Http11 || fields.list_contains("connection", "keep-alive"))
}

fn content_length(value: &[u8], max: u64) -> Result<BodyLength, Error> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Error::ContentLength);
    }
    let add = |length: u64, digit: &u8| length.checked_mul(10)?.checked_add((digit & 0xf).into());
    match value.iter().try_fold(0, add) {
        Some(0) => Ok(BodyLength::None),
        Some(length) if length <= max => Ok(BodyLength::Known(length)),
        _ => Err(Error::BodyTooLong),
    }
}

fn transfer_encoding(version: Version, fields: &Fields<'_>) -> Result<BodyLength, Error> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    // RFC 9112 §6.1: a coding in a message of 1.0 means that its framing is faulty.
    if version == Version::Http10 {
        return Err(Error::TransferEncoding);
    }
    let mut codings = fields.list("transfer-encoding");
    let first = codings.next().ok_or(Error::TransferEncoding)?;
    let Some(last) = codings.by_ref().last() else {
        // RFC 9112 §6.3: the last coding must be chunked, or the length is unknown.
        return if is_chunked(first) {
            Ok(BodyLength::Chunked)
        } else {
            Err(Error::TransferEncoding)
        };
    };
    let chunked_count = fields.list("transfer-encoding").filter(|c| is_chunked(c)).count();
    if is_chunked(last) && chunked_count == 1 {
        return Err(Error::UnknownTransferCoding);
    }
    Err(Error::TransferEncoding)
}

fn expects_continue(version: Version, fields: &Fields<'_>) -> Result<bool, Error> {
    // RFC 9110 §10.1.1: an expectation in a request of 1.0 is ignored.
    if version == Version::Http10 {
        return Ok(false);
    }
    let mut expects = false;
    for expectation in fields.list("expect") {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Error::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Lines;

    fn decide(version: Version, headers: &[(&str, &str)]) -> Result<Framing, Error> {
        let lines = Lines::new(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        let limits = Limits { max_body_bytes: 1000, ..Limits::default() };
        Framing::decide(version, &lines.fields(), &limits)
    }

    fn body(headers: &[(&str, &str)]) -> Result<BodyLength, Error> {
        let headers = [&[("host", "a")], headers].concat();
        decide(Version::Http11, &headers).map(|framing| framing.body)
    }

    #[test]
    fn content_lengths() {
        let of = |value| body(&[("Content-Length", value)]);
        assert_eq!(of("0"), Ok(BodyLength::None));
        assert_eq!(of("1000"), Ok(BodyLength::Known(1000)));
        assert_eq!(of("0005"), Ok(BodyLength::Known(5)));
        for value in ["1001", "18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(of(value), Err(Error::BodyTooLong), "{value}");
        }
        for value in ["", "+5", "-5", "5 5", "5,5", "0x5", "5.0", "five", "5\t6", "٥"] {
            assert_eq!(of(value), Err(Error::ContentLength), "{value}");
        }
        let twice = [("Content-Length", "5"), ("content-length", "5")];
        assert_eq!(body(&twice), Err(Error::ContentLength));
    }

    #[test]
    fn transfer_encodings() {
        let of = |value| body(&[("Transfer-Encoding", value)]);
        for value in ["chunked", "Chunked", " , chunked ,"] {
            assert_eq!(of(value), Ok(BodyLength::Chunked), "{value}");
        }
        for value in ["gzip, chunked", "x, gzip, chunked", "identity, chunked"] {
            assert_eq!(of(value), Err(Error::UnknownTransferCoding), "{value}");
        }
        let faults = [
            "",
            ",",
            "gzip",
            "identity",
            "chunked, gzip",
            "chunked, chunked",
            "chunked;q=1",
            "\"chunked\"",
            "xchunked",
            "chunked, identity",
            "chun ked",
            "chunked\u{b}",
        ];
        for value in faults {
            assert_eq!(of(value), Err(Error::TransferEncoding), "{value}");
        }
        let split = [("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")];
        assert_eq!(body(&split), Err(Error::UnknownTransferCoding));
        let both = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")];
        assert_eq!(body(&both), Err(Error::TwoLengths));
        let lines = Lines::new([("Host", &b"h"[..]), ("Transfer-Encoding", b"chunked")]);
        let limits = Limits { requires_length: true, ..Limits::default() };
        let strict = Framing::decide(Version::Http11, &lines.fields(), &limits);
        assert_eq!(strict, Err(Error::LengthRequired));
        let old = decide(Version::Http10, &[("Transfer-Encoding", "chunked")]);
        assert_eq!(old, Err(Error::TransferEncoding));
    }

    #[test]
    fn connections_persist_by_version_and_wish() {
        let keeps = |version, value: &str| {
            decide(version, &[("host", "a"), ("Connection", value)]).map(|f| f.keep_alive)
        };
        let cases = [
            ("", true, false),
            ("close", false, false),
            ("Close, TE", false, false),
            ("TE ,\tclose", false, false),
            ("keep-alive", true, true),
            ("Keep-Alive, Upgrade", true, true),
            ("keep-alive, close", false, false),
            ("closed", true, false),
        ];
        for (value, new, old) in cases {
            assert_eq!(keeps(Version::Http11, value), Ok(new), "{value}");
            assert_eq!(keeps(Version::Http10, value), Ok(old), "{value}");
        }
    }

    #[test]
    fn expectations() {
        let of = |version, value, length| {
            let headers = [("host", "a"), ("Expect", value), ("Content-Length", length)];
            decide(version, &headers).map(|framing| framing.expect_continue)
        };
        assert_eq!(of(Version::Http11, "100-Continue", "5"), Ok(true));
        assert_eq!(of(Version::Http11, "100-continue", "0"), Ok(false));
        assert_eq!(of(Version::Http11, "200-ok", "5"), Err(Error::Expectation));
        assert_eq!(of(Version::Http10, "100-continue", "5"), Ok(false));
    }

    #[test]
    fn hosts_are_one_and_whole() {
        assert_eq!(decide(Version::Http11, &[]), Err(Error::MissingHost));
        assert!(decide(Version::Http10, &[]).is_ok());
        for version in [Version::Http10, Version::Http11] {
            let twice = decide(version, &[("host", "a"), ("Host", "a")]);
            assert_eq!(twice, Err(Error::Host));
            assert_eq!(decide(version, &[("host", "")]), Err(Error::Host));
        }
    }
}
