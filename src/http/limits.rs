//! [`Limits`]: how much of a request is accepted before it is refused.
//!
//! Each limit is enforced where the bytes arrive (decoder, head buffer, chunked coding) and has a
//! test that reaches it beside the code that enforces it.

use std::fmt;

use super::HeaderSlots;

/// The limits of one request.
///
/// ```
/// use sockeye::HttpLimits;
/// let limits = HttpLimits { max_body_bytes: 64 << 20, ..HttpLimits::default() };
/// assert_eq!(limits.check(), Ok(()));
/// assert!(HttpLimits { max_field_count: 10_000, ..limits }.check().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of request-line and field lines, with the empty line that ends them (431).
    /// Default 16 KiB.
    pub max_head_bytes: usize,
    /// Field lines of one head, and of one trailer section (431). Default 100, at most
    /// [`HeaderSlots::CAPACITY`].
    pub max_field_count: usize,
    /// Bytes of the request target (414). Default 8 KiB.
    pub max_target_bytes: usize,
    /// Bytes of a request's body, without the chunked coding around it (413). Default 1 MiB.
    pub max_body_bytes: u64,
    /// Bytes of the line before a chunk: size and extensions (400). Default 256.
    pub max_chunk_line_bytes: u16,
    /// What the chunks of a body may cost beyond their data (413): their extensions, and for each
    /// chunk below 16 bytes what it lacks to 16. What a body leaves of `max_body_bytes` counts
    /// towards this too. Default 16 KiB.
    pub max_chunk_overhead_bytes: u32,
    /// Bytes of the trailer section after the last chunk (431). Default 4 KiB.
    pub max_trailer_bytes: u32,
    /// Whether bodies have to announce their length: those in chunks are refused then (411), as by
    /// servers whose back ends take none. One route asks for it by
    /// [`HttpHandler::requires_length`](crate::HttpHandler::requires_length). Default no.
    pub requires_length: bool,
}

impl Limits {
    /// Whether a server can work with these limits.
    ///
    /// # Errors
    /// [`LimitsError`] names the limit that makes every request fail, or that is beyond what the
    /// decoder can keep.
    pub fn check(&self) -> Result<(), LimitsError> {
        if self.max_head_bytes < MIN_HEAD_BYTES {
            return Err(LimitsError::HeadBytes);
        }
        if self.max_field_count == 0 || self.max_field_count > HeaderSlots::CAPACITY {
            return Err(LimitsError::FieldCount);
        }
        if self.max_target_bytes == 0 {
            return Err(LimitsError::TargetBytes);
        }
        if self.max_chunk_line_bytes < MIN_CHUNK_LINE_BYTES {
            return Err(LimitsError::ChunkLineBytes);
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head_bytes: 16 << 10,
            max_field_count: 100,
            max_target_bytes: 8 << 10,
            max_body_bytes: 1 << 20,
            max_chunk_line_bytes: 256,
            max_chunk_overhead_bytes: 16 << 10,
            max_trailer_bytes: 4 << 10,
            requires_length: false,
        }
    }
}

/// A limit with which a server cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitsError {
    /// `max_head_bytes` is too small for any request.
    HeadBytes,
    /// `max_field_count` is zero or above [`HeaderSlots::CAPACITY`].
    FieldCount,
    /// `max_target_bytes` is zero.
    TargetBytes,
    /// `max_chunk_line_bytes` is too small for a chunk size.
    ChunkLineBytes,
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadBytes => write!(f, "max_head_bytes must be at least {MIN_HEAD_BYTES}"),
            Self::FieldCount => {
                write!(f, "max_field_count must be between 1 and {}", HeaderSlots::CAPACITY)
            }
            Self::TargetBytes => write!(f, "max_target_bytes must not be zero"),
            Self::ChunkLineBytes => {
                write!(f, "max_chunk_line_bytes must be at least {MIN_CHUNK_LINE_BYTES}")
            }
        }
    }
}

impl std::error::Error for LimitsError {}

/// `GET / HTTP/1.1`, `Host: a` and the empty line.
const MIN_HEAD_BYTES: usize = 27;
/// The 16 digits of the greatest chunk size.
const MIN_CHUNK_LINE_BYTES: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_documented() {
        let limits = Limits::default();
        assert_eq!(limits.check(), Ok(()));
        assert_eq!(limits.max_head_bytes, 16_384);
        assert_eq!(limits.max_field_count, 100);
        assert_eq!(limits.max_target_bytes, 8_192);
        assert_eq!(limits.max_body_bytes, 1_048_576);
        assert_eq!(limits.max_chunk_line_bytes, 256);
        assert_eq!(limits.max_chunk_overhead_bytes, 16_384);
        assert_eq!(limits.max_trailer_bytes, 4_096);
        assert!(!limits.requires_length);
    }

    #[test]
    fn limits_that_refuse_everything_are_refused() {
        let limits = Limits::default();
        let cases = [
            (Limits { max_head_bytes: 26, ..limits }, LimitsError::HeadBytes),
            (Limits { max_field_count: 0, ..limits }, LimitsError::FieldCount),
            (Limits { max_field_count: 257, ..limits }, LimitsError::FieldCount),
            (Limits { max_target_bytes: 0, ..limits }, LimitsError::TargetBytes),
            (Limits { max_chunk_line_bytes: 15, ..limits }, LimitsError::ChunkLineBytes),
        ];
        for (limits, error) in cases {
            assert_eq!(limits.check(), Err(error), "{error}");
        }
        // No body at all is a sensible thing to ask for.
        assert_eq!(Limits { max_body_bytes: 0, ..limits }.check(), Ok(()));
    }
}
