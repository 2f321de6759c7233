//! [`SimFaults`]: what may go wrong in a simulated network, and how often. [`SimRandom`] decides.

/// Rates of faults, each out of 1000 occasions. All are zero by default.
///
/// Every one of these happens with real kernels as well, and the contract of
/// [`Reactor`](crate::reactor::Reactor) allows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SimFaults {
    /// A receive brings only some of the bytes that are there.
    pub short_read: u16,
    /// The kernel takes only some of the bytes that it has room for.
    pub short_send: u16,
    /// The kernel takes nothing though it has room, and is writable some turns later.
    pub would_block: u16,
    /// A send is made at the next `wait`, as io_uring does; otherwise at once, as epoll does.
    pub late_send: u16,
    /// A `wait` ends with nothing to tell though there is something.
    pub spurious_wake: u16,
    /// What a peer does reaches the server up to 50 ms later, so that connections overtake one
    /// another.
    pub delay: u16,
    /// Up to 64 KiB that are there already arrive in spite of `pause`.
    pub late_pause: u16,
    /// `Closed` comes some turns late, and completions of the closed key come before it.
    pub late_closed: u16,
    /// An accept fails: descriptors, buffers or memory are short (EMFILE, ENFILE, ENOBUFS,
    /// ENOMEM).
    pub accept_failed: u16,
    /// A connection cannot be opened: memory is short (ENOMEM).
    pub open_failed: u16,
    /// A connection breaks while it receives or sends.
    pub reset: u16,
    /// A socket that is closed while bytes wait to be received resets the connection, and the
    /// peer loses what it has not read, as RFC 1122 §4.2.2.13 has it.
    pub reset_on_close: u16,
    /// A turn ends in the middle of its completions, and the rest comes in the next one, as when
    /// a completion queue overflows.
    pub overflow: u16,
    /// Nothing more is received in this turn: the buffers are used up (ENOBUFS).
    pub no_buffers: u16,
    /// A request finds the submission queue full: what was requested before is carried out first.
    pub full_queue: u16,
}

/// How often each fault has happened, by the names of the fields of [`SimFaults`].
pub(super) const NAMES: [&str; 15] = [
    "short_read",
    "short_send",
    "would_block",
    "late_send",
    "spurious_wake",
    "delay",
    "late_pause",
    "late_closed",
    "accept_failed",
    "open_failed",
    "reset",
    "reset_on_close",
    "overflow",
    "no_buffers",
    "full_queue",
];

/// Where each fault stands in [`NAMES`]: what asks for its rate finds its number here.
pub(super) const NUMBERS: SimFaults = SimFaults {
    short_read: 0,
    short_send: 1,
    would_block: 2,
    late_send: 3,
    spurious_wake: 4,
    delay: 5,
    late_pause: 6,
    late_closed: 7,
    accept_failed: 8,
    open_failed: 9,
    reset: 10,
    reset_on_close: 11,
    overflow: 12,
    no_buffers: 13,
    full_queue: 14,
};

impl SimFaults {
    /// Faults that lose no bytes and no connection, with rates that the seed draws, many of
    /// them zero.
    #[must_use]
    pub fn harmless(seed: u64) -> Self {
        let mut random = SimRandom::new(seed);
        Self {
            short_read: random.rate(),
            short_send: random.rate(),
            would_block: random.rate(),
            late_send: random.rate(),
            spurious_wake: random.rate(),
            delay: random.rate(),
            late_pause: random.rate(),
            late_closed: random.rate(),
            overflow: random.rate(),
            no_buffers: random.rate(),
            full_queue: random.rate(),
            ..Self::default()
        }
    }

    /// All faults, with rates that the seed draws. Those that cost connections are rarer.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut random = SimRandom::new(!seed);
        Self {
            accept_failed: random.rate(),
            reset: random.rate() / 50,
            reset_on_close: random.rate(),
            ..Self::harmless(seed)
        }
    }
}

/// Numbers that look random and depend on a seed alone (splitmix64).
#[derive(Debug, Clone)]
pub struct SimRandom(u64);

impl SimRandom {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be zero.
    #[allow(clippy::cast_possible_truncation, reason = "below `end`")]
    pub fn below(&mut self, end: usize) -> usize {
        (self.next_u64() % end as u64) as usize
    }

    /// True in `rate` out of 1000 cases.
    pub fn happens(&mut self, rate: u16) -> bool {
        rate > 0 && self.next_u64() % 1000 < u64::from(rate)
    }

    /// Puts the items into any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }

    /// A rate of faults: zero as often as not.
    fn rate(&mut self) -> u16 {
        const RATES: [u16; 8] = [0, 0, 0, 0, 10, 100, 300, 700];
        RATES[self.below(RATES.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_everything_and_seeds_differ() {
        let draw = |seed| {
            let mut random = SimRandom::new(seed);
            std::array::from_fn::<u64, 8, _>(|_| random.next_u64())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // The first number of splitmix64 for seed 0, as published.
        assert_eq!(draw(0)[0], 0xe220_a839_7b1d_cdaf);
        assert_eq!(SimFaults::drawn(3), SimFaults::drawn(3));
    }

    #[test]
    fn rates_are_out_of_a_thousand() {
        let mut random = SimRandom::new(1);
        assert!((0..1000).all(|_| !random.happens(0)));
        assert!((0..1000).all(|_| random.happens(1000)));
        let hits = (0..10_000).filter(|_| random.happens(100)).count();
        assert!((800..1200).contains(&hits), "{hits}");
        let mut items: Vec<u32> = (0..50).collect();
        random.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn many_rates_are_zero_and_the_harmless_ones_lose_nothing() {
        let all: Vec<SimFaults> = (0..200).map(SimFaults::drawn).collect();
        let zero = all.iter().filter(|faults| faults.short_read == 0).count();
        assert!((60..140).contains(&zero), "{zero}");
        assert!(all.iter().any(|faults| faults.reset > 0));
        let harmless = SimFaults::harmless(5);
        assert_eq!((harmless.reset, harmless.accept_failed, harmless.reset_on_close), (0, 0, 0));
    }
}
