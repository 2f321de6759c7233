//! [`CompressionConfig`]: how messages of a WebSocket route are compressed (RFC 7692).

use std::{str::FromStr, time::Duration};

use crate::ws::deflate::{Context, Preferences};

/// How messages are compressed, with clients that can do that too (permessage-deflate, RFC 7692).
/// Default: not at all.
///
/// ```
/// use sockeye::{CompressionConfig, WebSocketConfig};
///
/// let config = WebSocketConfig {
///     compression: CompressionConfig { threshold: 256, ..CompressionConfig::shared() },
///     ..WebSocketConfig::default()
/// };
/// ```
///
/// # What it costs
/// Each worker has one compressor, for all its connections, and a few decompressors. A connection
/// whose messages are compressed by themselves (*shared*) takes no memory more than one without
/// compression. A *dedicated* one keeps the last bytes that were sent to it, or received from it,
/// so that messages may refer to earlier ones: at most the size of the window, and only as much as
/// there was.
///
/// A published message is compressed once for all its subscribers on a worker, dedicated ones
/// among them. For those it is a new beginning: what is sent to them next refers to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionConfig {
    /// For messages to clients.
    pub compressor: Compressor,
    /// For messages from clients.
    pub decompressor: Decompressor,
    /// How hard to try: from 1, fast, to 9, small. Level 1 takes a third of the time of level 6,
    /// for 40 % more bytes of JSON; 7 makes it as short as zlib does at its 6. Default 1.
    pub level: u8,
    /// The same for messages that are compressed once for many: published and prepared ones. The
    /// first route that compresses decides, for all routes. Default 6.
    pub publish_level: u8,
    /// How much memory the compressors of a worker take, from 1 to 9: for the largest window
    /// 260 KiB at level 1, 290 KiB at level 6, and 370 KiB at level 8. With less, messages of more
    /// than 4 KiB become less short; with more, each message takes longer, and is no shorter. The
    /// first route that compresses decides, for all routes. Default 6.
    pub memory_level: u8,
    /// Messages of fewer bytes are sent as they are; so is what would not become shorter.
    /// Default 64.
    pub threshold: usize,
    /// After so long without a byte from the client, what a dedicated compressor keeps for it is
    /// let go. Zero for never. Default 60 s.
    pub release_after: Duration,
}

/// How messages to clients are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compressor {
    /// Not at all.
    #[default]
    Off,
    /// Each by itself.
    Shared,
    /// With references to what was sent before. Each message costs the time to look through that:
    /// 4 us for windows of 4 KiB, 26 us for those of 32 KiB.
    Dedicated {
        /// How far back: 2 to the power of this, from 9 (512 bytes) to 15 (32 KiB).
        window_bits: u8,
    },
}

/// How messages from clients may be compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decompressor {
    /// Not at all; then [`CompressionConfig::compressor`] must be off too, since permessage-deflate
    /// has no such thing as one direction only.
    #[default]
    Off,
    /// Each by itself.
    Shared,
    /// With references to what was sent before.
    Dedicated {
        /// How far back: 2 to the power of this, from 9 (512 bytes) to 15 (32 KiB). Clients that
        /// cannot limit themselves to that do without such references.
        window_bits: u8,
    },
}

impl CompressionConfig {
    /// Nothing is compressed.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            compressor: Compressor::Off,
            decompressor: Decompressor::Off,
            level: 1,
            publish_level: 6,
            memory_level: 6,
            threshold: 64,
            release_after: Duration::from_secs(60),
        }
    }

    /// Each message is compressed by itself, in both directions.
    #[must_use]
    pub const fn shared() -> Self {
        let (compressor, decompressor) = (Compressor::Shared, Decompressor::Shared);
        Self { compressor, decompressor, ..Self::off() }
    }

    /// Messages refer to earlier ones, within 4 KiB of those sent and 32 KiB of those received.
    #[must_use]
    pub const fn dedicated() -> Self {
        Self {
            compressor: Compressor::Dedicated { window_bits: 12 },
            decompressor: Decompressor::Dedicated { window_bits: 15 },
            ..Self::off()
        }
    }

    /// Whether clients may have permessage-deflate at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.decompressor != Decompressor::Off
    }

    /// Whether a server can work with these settings.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.is_on() && self.compressor != Compressor::Off {
            return Err("compressor is on, and decompressor off: the extension has both".into());
        }
        for (level, name) in [
            (self.level, "level"),
            (self.publish_level, "publish_level"),
            (self.memory_level, "memory_level"),
        ] {
            if !(1..=9).contains(&level) {
                return Err(format!("compression {name} must be from 1 to 9"));
            }
        }
        if !self.preferences().are_sound() {
            return Err("window_bits must be from 9 to 15".into());
        }
        Ok(())
    }

    /// What clients are to be asked for.
    pub(super) fn preferences(&self) -> Preferences {
        Preferences {
            outgoing: match self.compressor {
                Compressor::Dedicated { window_bits } => Context::TakenOver { window_bits },
                Compressor::Off | Compressor::Shared => Context::Fresh,
            },
            incoming: match self.decompressor {
                Decompressor::Dedicated { window_bits } => Context::TakenOver { window_bits },
                Decompressor::Off | Decompressor::Shared => Context::Fresh,
            },
        }
    }
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self::off()
    }
}

/// `off`, `shared` and `dedicated`, as the functions of these names make them.
impl FromStr for CompressionConfig {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "off" => Ok(Self::off()),
            "shared" => Ok(Self::shared()),
            "dedicated" => Ok(Self::dedicated()),
            _ => Err("expected off, shared or dedicated".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_documented_and_nonsense_is_refused() {
        let shared = CompressionConfig::shared();
        assert_eq!(CompressionConfig::default(), CompressionConfig::off());
        assert!(!CompressionConfig::off().is_on() && shared.is_on());
        for config in [CompressionConfig::off(), shared, CompressionConfig::dedicated()] {
            assert_eq!(config.check(), Ok(()));
        }
        let window = |window_bits| Compressor::Dedicated { window_bits };
        let bad = [
            CompressionConfig { level: 0, ..shared },
            CompressionConfig { publish_level: 10, ..shared },
            CompressionConfig { memory_level: 0, ..shared },
            CompressionConfig { memory_level: 10, ..shared },
            CompressionConfig { decompressor: Decompressor::Off, ..shared },
            CompressionConfig { compressor: window(8), ..shared },
            CompressionConfig { compressor: window(16), ..shared },
            CompressionConfig {
                decompressor: Decompressor::Dedicated { window_bits: 8 },
                ..shared
            },
        ];
        for config in bad {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
