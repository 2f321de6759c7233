//! [`Options`]: what a seed draws before anything happens.

use std::time::Duration;

use sockeye::{
    HttpLimits, Limits, TopicLimits, WebSocketConfig,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Closes,
    Vanishes,
    Shutdown,
}

impl Options {
    pub fn drawn(seed: u64) -> Self {
        let mut random = SimRandom::new(seed ^ 0x5eed);
        let random = &mut random;
        let faults = match random.below(4) {
            0 => SimFaults::default(),
            1 => SimFaults::harmless(seed),
            _ => SimFaults::drawn(seed),
        };
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
