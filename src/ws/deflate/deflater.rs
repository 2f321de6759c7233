//! [`Deflaters`]: the compressors of one worker.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

use super::{TAIL, WINDOW_BITS};

/// Deflates messages for any number of connections, one after the other.
///
/// There is one compressor for each size of window that is in use. `perf/README.md` has what they
/// take.
///
/// ```
/// use sockeye::ws::deflate::Deflaters;
/// let mut deflaters = Deflaters::default();
/// let text = [b'a'; 100];
/// assert!(deflaters.deflate(&text, 15, 1, b"").is_some_and(|deflated| deflated.len() < 10));
/// assert_eq!(deflaters.deflate(b"short", 15, 1, b""), None); // It would become longer.
/// ```
pub struct Deflaters {
    memory_level: u8,
    uses: u64,
    // By the bits of their windows, from 9 on.
    compressors: [Option<Compressor>; 7],
    // Where the output goes. Its length is its capacity, so that it is cleared once only.
    output: Vec<u8>,
}

struct Compressor {
    deflate: Deflate,
    level: u8,
}

impl Deflaters {
    /// Those with compressors of this memory level, from 1 to 9: how many symbols of a message they
    /// can gather before they have to end a block, 2 to the power of this plus 6.
    #[must_use]
    pub fn new(memory_level: u8) -> Self {
        let memory_level = memory_level.clamp(1, 9);
        Self { memory_level, uses: 0, compressors: [const { None }; 7], output: Vec::new() }
    }

    /// How often a compressor was put to work.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.uses
    }

    /// The payload of a frame with RSV1 that carries this message (RFC 7692 §7.2.1), made with a
    /// window of this size. `history` is what was said before, if it may be referred to.
    ///
    /// `None` if that would be no shorter than the message: it is to be sent as it is.
    pub fn deflate(
        &mut self,
        message: &[u8],
        window_bits: u8,
        level: u8,
        history: &[u8],
    ) -> Option<&[u8]> {
        let index = usize::from(window_bits.checked_sub(*WINDOW_BITS.start())?);
        let place = self.compressors.get_mut(index)?;
        let memory_level = self.memory_level;
        let compressor =
            place.get_or_insert_with(|| Compressor::new(window_bits, level, memory_level));
        compressor.begin(level, history)?;
        // With room for whatever it becomes, so that each stream comes to its end: a compressor
        // that is stopped amid its output cannot be relied on to forget that when it is reset.
        let room = zlib_rs::compress_bound(message.len()).checked_add(SPARE_BYTES)?;
        if self.output.len() > KEPT_BYTES && room <= KEPT_BYTES {
            self.output = Vec::new();
        }
        if self.output.len() < room {
            self.output.resize(room.next_power_of_two().max(MIN_OUTPUT_BYTES), 0);
        }
        self.uses = self.uses.saturating_add(1);
        let deflate = &mut compressor.deflate;
        let status = deflate.compress(message, &mut self.output, DeflateFlush::SyncFlush);
        let length = usize::try_from(deflate.total_out()).unwrap_or(usize::MAX);
        let is_whole = status == Ok(Status::Ok)
            && deflate.total_in() == message.len() as u64
            && length < self.output.len();
        if !is_whole {
            *place = None;
            return None;
        }
        // §7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end".
        let payload = self.output.get(..length)?.strip_suffix(&TAIL)?;
        (payload.len() < message.len()).then_some(payload)
    }
}

impl Compressor {
    fn new(window_bits: u8, level: u8, memory_level: u8) -> Self {
        let config = DeflateConfig {
            level: level.into(),
            // Negative for deflate without a header.
            window_bits: i32::from(window_bits).wrapping_neg(),
            mem_level: memory_level.into(),
            ..DeflateConfig::default()
        };
        Self { deflate: Deflate::new_with_config(config), level }
    }

    /// Forgets everything but this history.
    fn begin(&mut self, level: u8, history: &[u8]) -> Option<()> {
        self.deflate.reset();
        if self.level != level {
            self.deflate.set_level(level.into()).ok()?;
            self.level = level;
        }
        if !history.is_empty() {
            self.deflate.set_dictionary(history).ok()?;
        }
        Some(())
    }
}

impl Default for Deflaters {
    fn default() -> Self {
        Self::new(DEFAULT_MEMORY_LEVEL)
    }
}

impl fmt::Debug for Deflaters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.compressors.iter().flatten().count();
        write!(f, "Deflaters({count} of {})", self.compressors.len())
    }
}

/// Blocks of 4096 symbols. zlib's default has four times as many, which makes nothing shorter, and
/// zlib-rs clears the room for them twice with each message: `perf/README.md`.
const DEFAULT_MEMORY_LEVEL: u8 = 6;
/// What a flush takes beyond the bound of what is flushed.
const SPARE_BYTES: usize = 16;
const MIN_OUTPUT_BYTES: usize = 4 << 10;
/// What a message that was longer needed is not kept.
const KEPT_BYTES: usize = 256 << 10;
