//! [`Options`]: what a seed draws before anything happens.

use std::time::Duration;

use sockeye::{
    CompressionConfig, Compressor, Decompressor, HttpLimits, Limits, TopicLimits, WebSocketConfig,
    reactor::{SimFaults, SimRandom},
};

/// One world: how large, how faulty, within which limits.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub steps: usize,
    pub workers: usize,
    pub clients: usize,
    pub faults: SimFaults,
    /// Whether the clock jumps by seconds.
    pub jumps: bool,
    /// Whether peers end, break and forget their connections.
    pub rude: bool,
    /// Out of 1000 things that peers send, so many are against the protocol.
    pub bad: u16,
    pub configs: [WebSocketConfig; 2],
    pub limits: Limits,
    /// How it ends: the peers close, or they vanish, or the server is shut down.
    pub ending: Ending,
    pub extras: Extras,
}

/// How often peers do what those of the first worlds did not do, each out of 1000 occasions.
///
/// All of it is drawn from a stream of numbers of its own, and nothing is drawn where a rate is
/// zero: without extras, a world is what it was before there were any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras {
    /// A WebSocket is asked for with permessage-deflate.
    pub offers: u16,
    /// A message of such a one is compressed.
    pub deflates: u16,
    /// A peer wants no WebSocket.
    pub plain: u16,
    /// A request is one of the following, in proportion.
    pub exchanges: u16,
    pub streams: u16,
    pub written: u16,
    pub later: u16,
    pub uploads: u16,
    /// An order is to publish an event.
    pub events: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Closes,
    Vanishes,
    Shutdown,
}

impl Options {
    pub fn drawn(seed: u64) -> Self {
        let mut options = Self::plain(seed);
        let mut random = SimRandom::new(seed ^ 0xe8_7a5);
        let random = &mut random;
        let rate = |random: &mut SimRandom, rates: &[u16]| *pick(random, rates);
        if random.below(2) == 0 {
            options.extras.offers = rate(random, &[300, 700, 1000]);
            options.extras.deflates = rate(random, &[0, 500, 900]);
            for config in &mut options.configs {
                config.compression = compression(random);
            }
        }
        if random.below(3) > 0 {
            options.extras = Extras {
                plain: rate(random, &[0, 100, 500]),
                exchanges: rate(random, &[100, 500, 900]),
                streams: rate(random, &[0, 1, 4]),
                written: rate(random, &[0, 1, 4]),
                later: rate(random, &[0, 1, 4]),
                uploads: rate(random, &[0, 1, 4]),
                events: rate(random, &[0, 100]),
                ..options.extras
            };
            options.limits.max_event_backpressure = *pick(random, &[1000, 64 << 10]);
        }
        if random.below(2) == 0 && options.faults != SimFaults::default() {
            let rates = &[0, 0, 10, 100, 400];
            options.faults.overflow = rate(random, rates);
            options.faults.no_buffers = rate(random, rates);
            options.faults.full_queue = rate(random, rates);
        }
        options.steps *= *pick(random, &[1, 3, 8]);
        options.faults.open_failed = match options.breaks() {
            true => rate(random, &[0, 0, 50, 300]),
            false => 0,
        };
        options
    }

    /// As the first worlds were.
    pub fn plain(seed: u64) -> Self {
        let mut random = SimRandom::new(seed ^ 0x5eed);
        let random = &mut random;
        let faults = match random.below(4) {
            0 => SimFaults::default(),
            1 => SimFaults::harmless(seed),
            _ => SimFaults::drawn(seed),
        };
        let faults = SimFaults { overflow: 0, no_buffers: 0, full_queue: 0, ..faults };
        let configs = [config(random), config(random)];
        let most = *pick(random, &[3, 8, 20]);
        Self {
            seed,
            steps: 40 << random.below(4),
            workers: *pick(random, &[1, 1, 2, 3, 4]),
            clients: 1 + random.below(most),
            faults,
            jumps: random.below(4) == 0,
            rude: random.below(3) == 0,
            bad: *pick(random, &[0, 0, 20, 100]),
            configs,
            limits: limits(random),
            ending: *pick(random, &[Ending::Closes, Ending::Vanishes, Ending::Shutdown]),
            extras: Extras::default(),
        }
    }

    /// Whether a connection may break without anybody's doing.
    pub fn breaks(&self) -> bool {
        self.faults.reset > 0 || self.faults.reset_on_close > 0
    }

    /// Whether turns are so small that letters may wait for the next one.
    pub fn has_small_turns(&self) -> bool {
        self.limits.topics.max_pending_messages < 100
    }

    /// Whether messages between workers may be refused.
    pub fn has_small_mailbox(&self) -> bool {
        self.limits.max_mailbox_bytes < 1 << 20
    }
}

pub fn pick<'a, T>(random: &mut SimRandom, items: &'a [T]) -> &'a T {
    &items[random.below(items.len())]
}

fn config(random: &mut SimRandom) -> WebSocketConfig {
    let milliseconds = Duration::from_millis;
    WebSocketConfig {
        max_payload_length: *pick(random, &[200, 16 << 10, 200 << 10]),
        idle_timeout: milliseconds(*pick(random, &[0, 1000, 120_000])),
        send_pings_automatically: random.below(3) > 0,
        reset_idle_timeout_on_send: random.below(3) == 0,
        max_lifetime: milliseconds(*pick(random, &[0, 0, 0, 700])),
        max_backpressure: *pick(random, &[300, 2 << 10, 64 << 10, usize::MAX]),
        close_on_backpressure_limit: random.below(4) == 0,
        protocols: vec!["chat".into()],
        piecewise: random.below(3) == 0,
        ..WebSocketConfig::default()
    }
}

fn compression(random: &mut SimRandom) -> CompressionConfig {
    let windows = [9, 10, 12, 15];
    let (compressor, decompressor) = match random.below(5) {
        0 => (Compressor::Off, Decompressor::Off),
        1 => (Compressor::Off, Decompressor::Shared),
        2 => (Compressor::Shared, Decompressor::Shared),
        _ => (
            Compressor::Dedicated { window_bits: *pick(random, &windows) },
            Decompressor::Dedicated { window_bits: *pick(random, &windows) },
        ),
    };
    CompressionConfig {
        compressor,
        decompressor,
        level: *pick(random, &[1, 1, 6]),
        publish_level: *pick(random, &[1, 6]),
        memory_level: *pick(random, &[1, 8]),
        threshold: *pick(random, &[0, 20, 64, 1000]),
        release_after: Duration::from_millis(*pick(random, &[0, 100, 1000, 60_000])),
    }
}

fn limits(random: &mut SimRandom) -> Limits {
    Limits {
        max_connections: *pick(random, &[1 << 20, 1 << 20, 1 << 20, 3]),
        max_control_frames_per_second: *pick(random, &[1000, 1000, 2]),
        max_mailbox_bytes: *pick(random, &[16 << 20, 16 << 20, 400]),
        http: HttpLimits { max_body_bytes: 2000, ..HttpLimits::default() },
        topics: TopicLimits {
            max_pending_messages: *pick(random, &[4096, 4096, 3, 1]),
            max_sets: *pick(random, &[65_536, 65_536, 2]),
            ..TopicLimits::default()
        },
        ..Limits::default()
    }
}
