//! permessage-deflate (RFC 7692) without I/O: negotiation, and messages deflated and inflated.
//!
//! ```text
//! Sec-WebSocket-Extensions ──▶ Agreement ──▶ two Windows, one for each direction
//!
//! message ──▶ Deflaters ──▶ payload of a frame with RSV1      one set of these for a worker,
//! frames  ──▶ Decoder ──▶ Inflaters ──▶ message               whatever the number of connections
//! ```
//!
//! **A connection owns no compressor.** What context takeover (§7.1.1) needs of earlier messages is
//! the end of their text, so that is what a connection keeps, as a [`History`] of at most the size
//! of its window. The worker's compressor is given it as a preset dictionary before each message.
//! That costs the time to look through the history once, which is why windows for sending are
//! small by default; for receiving it costs a copy.
//!
//! **Bounds.** Inflating goes by pieces of at most 16 KiB, and no piece is made that would pass
//! the limit of the message by more than a byte. What would not become shorter is not deflated.

mod agreement;
mod deflater;
mod extensions;
mod history;
mod inflater;

pub(super) use agreement::NotOffered;
pub use agreement::{Agreement, Context, Preferences, Window, is_broken_safari};
pub use deflater::Deflaters;
pub use extensions::MalformedExtensions;
pub(super) use extensions::{EXTENSIONS, check};
pub use history::History;
pub(super) use inflater::Inflater;
pub use inflater::{Inflaters, Inflating};

/// The sizes of LZ77 windows that deflating is possible with, as powers of two. The extension
/// knows 8 too (RFC 7692 §7.1.2); zlib's raw deflate, and those made after it, do not.
pub const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// What ends each message, and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

#[cfg(test)]
mod tests;
