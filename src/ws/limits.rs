//! [`Limits`]: how much of a message is accepted before the connection is failed.
//!
//! Both are enforced at the header of the frame that would pass them, before a byte of its payload
//! is kept.

/// The limits of one connection's messages.
///
/// ```
/// use sockeye::ws::Limits;
/// let limits = Limits { max_payload_length: 1 << 20, ..Limits::default() };
/// assert!(!limits.piecewise);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, over all its fragments (1009). Default 16 KiB.
    pub max_payload_length: usize,
    /// What the fragments of a message may cost beyond their payload (1009): each one below 16
    /// bytes, but the last, is charged what it lacks to 16. What a message leaves of
    /// `max_payload_length` counts towards this too. Default 16 KiB.
    pub max_fragment_overhead_bytes: usize,
    /// Whether messages that do not arrive at once are given away in pieces, as they arrive,
    /// instead of being gathered. Default no.
    pub piecewise: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload_length: 16 << 10,
            max_fragment_overhead_bytes: 16 << 10,
            piecewise: false,
        }
    }
}
