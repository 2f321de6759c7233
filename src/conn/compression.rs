//! [`Compression`]: how the messages of one connection are compressed, in one byte.

use crate::ws::deflate::{Agreement, WINDOW_BITS};

/// What is done to the messages of a connection. Nothing, by default.
///
/// ```text
///   7      6           5           4         3          2 1 0
/// +------+-----------+-----------+---------+----------+----------------------+
/// | void | keeps     | keeps     | inflates| takes    | window for sending:  |
/// |      | incoming  | outgoing  |         | shared   | bits - 8, or 0: none |
/// +------+-----------+-----------+---------+----------+----------------------+
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compression(u8);

impl Compression {
    /// What has been agreed on, and whether use is made of it for sending.
    #[must_use]
    pub fn new(agreement: &Agreement, deflates: bool) -> Self {
        let mut bits = INFLATES;
        if agreement.incoming().is_taken_over {
            bits |= KEEPS_INCOMING;
        }
        let window = agreement.outgoing();
        if deflates && WINDOW_BITS.contains(&window.bits) {
            bits |= window.bits - BELOW_WINDOWS;
            if window.is_taken_over {
                bits |= KEEPS_OUTGOING;
            }
            if agreement.takes_any_window() {
                bits |= TAKES_SHARED;
            }
        }
        Self(bits)
    }

    /// Whether messages to this connection may be compressed.
    #[inline]
    #[must_use]
    pub fn deflates(self) -> bool {
        self.0 & WINDOW != 0
    }

    /// The bits of the window that is used for this.
    #[must_use]
    pub fn window_bits(self) -> u8 {
        (self.0 & WINDOW) + BELOW_WINDOWS
    }

    /// Whether this connection can be sent what was compressed for many.
    #[must_use]
    pub fn takes_shared(self) -> bool {
        self.0 & TAKES_SHARED != 0
    }

    /// Whether messages from this connection may be compressed.
    #[inline]
    #[must_use]
    pub fn inflates(self) -> bool {
        self.0 & INFLATES != 0
    }

    /// Whether messages to it may refer to earlier ones.
    #[must_use]
    pub fn keeps_outgoing(self) -> bool {
        self.0 & KEEPS_OUTGOING != 0
    }

    /// Whether messages from it may refer to earlier ones.
    #[must_use]
    pub fn keeps_incoming(self) -> bool {
        self.0 & KEEPS_INCOMING != 0
    }

    /// Notes that the peer was sent something of which the history of what was said does not
    /// know. The next message must not refer to anything: it would miss its aim.
    pub fn make_void(&mut self) {
        if self.keeps_outgoing() {
            self.0 |= VOID;
        }
    }

    /// Whether that has happened since this was asked last.
    pub fn take_void(&mut self) -> bool {
        let was_void = self.0 & VOID != 0;
        self.0 &= !VOID;
        was_void
    }
}

/// What is subtracted from the bits of a window.
const BELOW_WINDOWS: u8 = 8;
const WINDOW: u8 = 0x07;
const TAKES_SHARED: u8 = 0x08;
const INFLATES: u8 = 0x10;
const KEEPS_OUTGOING: u8 = 0x20;
const KEEPS_INCOMING: u8 = 0x40;
const VOID: u8 = 0x80;
