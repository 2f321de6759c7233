//! [`Error`]: what a peer can do wrong, and the close code that answers it.

use std::fmt;

use super::CloseCode;

/// A fault of the peer's. The connection can only send [`Error::close_code`] and end
/// (RFC 6455 §7.1.7).
///
/// ```
/// use sockeye::ws::{CloseCode, Error};
/// assert_eq!(Error::InvalidUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A reserved bit of a frame header is set (RFC 6455 §5.2).
    ReservedBits,
    /// A reserved opcode (RFC 6455 §5.2).
    ReservedOpcode,
    /// A client's frame is not masked (RFC 6455 §5.1).
    UnmaskedFrame,
    /// A server's frame is masked (RFC 6455 §5.1).
    MaskedFrame,
    /// A control frame that is a fragment (RFC 6455 §5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (RFC 6455 §5.5).
    ControlTooLong,
    /// A length that a shorter form could have said (RFC 6455 §5.2).
    LengthNotMinimal,
    /// A length of 64 bits (RFC 6455 §5.2).
    LengthTooLarge,
    /// A continuation without a message to continue (RFC 6455 §5.4).
    UnexpectedContinuation,
    /// A message begins before the last one has ended (RFC 6455 §5.4).
    ExpectedContinuation,
    /// A close frame of one byte (RFC 6455 §5.5.1).
    ClosePayload,
    /// A close code that must not be sent (RFC 6455 §7.4).
    CloseCode,
    /// A text or the reason of a close frame is not UTF-8 (RFC 6455 §8.1).
    InvalidUtf8,
    /// A compressed message cannot be inflated (RFC 7692 §7.2.2).
    InvalidDeflate,
    /// A message is longer than the limit.
    MessageTooLong,
    /// The fragments of a message cost more beyond their payload than the limit.
    FragmentOverhead,
}

impl Error {
    /// The code with which the connection is failed.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::LengthNotMinimal
            | Self::LengthTooLarge
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::ClosePayload
            | Self::CloseCode => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooLong | Self::FragmentOverhead => CloseCode::MESSAGE_TOO_BIG,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::ReservedBits => "a reserved bit is set",
            Self::ReservedOpcode => "reserved opcode",
            Self::UnmaskedFrame => "unmasked frame from a client",
            Self::MaskedFrame => "masked frame from a server",
            Self::FragmentedControl => "fragmented control frame",
            Self::ControlTooLong => "control frame too long",
            Self::LengthNotMinimal => "payload length not in its shortest form",
            Self::LengthTooLarge => "payload length of 64 bits",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::ExpectedContinuation => "message before the end of the last one",
            Self::ClosePayload => "close frame with half a code",
            Self::CloseCode => "invalid close code",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::InvalidDeflate => "a compressed message cannot be inflated",
            Self::MessageTooLong => "message too long",
            Self::FragmentOverhead => "too many small fragments",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_answered_by_the_code_that_the_rfc_names() {
        let protocol = [
            Error::ReservedBits,
            Error::ReservedOpcode,
            Error::UnmaskedFrame,
            Error::MaskedFrame,
            Error::FragmentedControl,
            Error::ControlTooLong,
            Error::LengthNotMinimal,
            Error::LengthTooLarge,
            Error::UnexpectedContinuation,
            Error::ExpectedContinuation,
            Error::ClosePayload,
            Error::CloseCode,
        ];
        let others = [Error::InvalidUtf8, Error::MessageTooLong, Error::FragmentOverhead];
        let codes = protocol.map(|error| error.close_code().code());
        assert_eq!(codes, [1002; 12]);
        assert_eq!(others.map(|error| error.close_code().code()), [1007, 1009, 1009]);
        for error in protocol.into_iter().chain(others) {
            // They may be sent as the reason of a close frame.
            assert!((5..=123).contains(&error.to_string().len()), "{error}");
        }
    }
}
