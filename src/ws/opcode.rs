//! [`Opcode`]: what a frame carries (RFC 6455 §5.2, §11.8).

/// What a frame carries.
///
/// ```
/// use sockeye::ws::Opcode;
/// assert_eq!(Opcode::from_bits(0x9), Some(Opcode::Ping));
/// assert!(Opcode::Ping.is_control() && !Opcode::Text.is_control());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message, or the first fragment of one.
    Text = 0x1,
    /// A binary message, or the first fragment of one.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer to a ping, or a sign of life.
    Pong = 0xa,
}

impl Opcode {
    /// The opcode of these four bits, unless they are reserved.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    /// The four bits of the frame header.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether this is a control frame, which may stand between the fragments of a message
    /// (RFC 6455 §5.5).
    #[inline]
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_opcodes_correspond() {
        // RFC 6455 §5.2: 3-7 and B-F are reserved.
        let known: Vec<u8> = (0..=255).filter(|bits| Opcode::from_bits(*bits).is_some()).collect();
        assert_eq!(known, [0, 1, 2, 8, 9, 10]);
        for bits in known {
            let opcode = Opcode::from_bits(bits).expect("a known opcode");
            assert_eq!((opcode.bits(), opcode.is_control()), (bits, bits >= 8));
        }
    }
}
