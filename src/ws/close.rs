//! [`CloseCode`]: why a connection ends (RFC 6455 §7.4), and the payload of close frames (§5.5.1).

use std::fmt;

use super::Error;
use crate::simd;

/// Why a connection ends.
///
/// ```
/// use sockeye::CloseCode;
/// assert_eq!(CloseCode::new(1000), Some(CloseCode::NORMAL));
/// assert_eq!(CloseCode::new(4321).map(CloseCode::code), Some(4321));
/// assert_eq!(CloseCode::new(1005), None, "it stands for the lack of one");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// A server goes down, or a browser left the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of data that is not accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The peer's close frame had no code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// The connection ended without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// The peer sent data that is not what it claims to be, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer broke a rule that no other code names.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// The peer sent a message that is too big.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// The server did not negotiate an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// The server met something that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The server is overloaded.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// A gateway got an invalid answer from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code of this number, if it may stand in a close frame: those that RFC 6455 §7.4 and its
    /// registry define, and those of libraries and applications, 3000 to 4999.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Whether it may stand in a close frame. RFC 6455 §7.4.1: 1005 and 1006 must not.
    #[must_use]
    pub const fn may_be_sent(self) -> bool {
        Self::new(self.0).is_some()
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Reads the payload of a close frame. That it is not one byte was checked with its length.
pub(super) fn read_payload(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, Error> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(Error::ClosePayload) };
    };
    let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(Error::CloseCode)?;
    // RFC 6455 §5.5.1, §8.1: the reason is UTF-8.
    let reason = simd::from_utf8(reason).map_err(|_| Error::InvalidUtf8)?;
    Ok(Some((code, reason)))
}

/// RFC 6455 §5.5: 125 bytes, of which the code takes two.
pub(super) const MAX_REASON_BYTES: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_sent_can_be_made_of_a_number() {
        let known: Vec<u16> =
            (0..=u16::MAX).filter(|code| CloseCode::new(*code).is_some()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(known, expected);
        for code in [CloseCode::NO_STATUS, CloseCode::ABNORMAL] {
            assert!(!code.may_be_sent() && CloseCode::new(code.code()).is_none());
        }
    }

    #[test]
    fn payloads_have_a_code_and_a_reason_or_nothing() {
        assert_eq!(read_payload(b""), Ok(None));
        assert_eq!(read_payload(b"\x03\xe8"), Ok(Some((CloseCode::NORMAL, ""))));
        assert_eq!(read_payload(b"\x03\xe8bye"), Ok(Some((CloseCode::NORMAL, "bye"))));
        assert_eq!(read_payload(b"\x03"), Err(Error::ClosePayload));
        assert_eq!(read_payload(b"\x03\xed"), Err(Error::CloseCode));
        assert_eq!(read_payload(b"\x03\xe8\xff"), Err(Error::InvalidUtf8));
    }
}
