//! [`Tick`]: coarse time, for deadlines.

use std::time::Duration;

/// Coarse time: a count of [`Tick::MILLISECONDS`] since the reactor began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u32);

impl Tick {
    /// A time that does not come.
    pub const NEVER: Self = Self(u32::MAX);

    /// Length of a tick. At this length 32 bits last for four years.
    pub const MILLISECONDS: u32 = 32;

    /// The tick that has begun at this time.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "4 years of ticks")]
    pub fn at(since_start: Duration) -> Self {
        Self((since_start.as_millis() / u128::from(Self::MILLISECONDS)) as u32)
    }

    /// The first tick that is certainly not earlier than `duration` after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(u128::from(Self::MILLISECONDS));
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).saturating_add(1);
        Self(self.0.saturating_add(ticks))
    }

    /// Time from this tick's begin to the begin of `later`; zero if that is past.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        let ticks = u64::from(later.0.saturating_sub(self.0));
        Duration::from_millis(ticks * u64::from(Self::MILLISECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_never_cut_short() {
        for ms in [0, 1, 31, 32, 33, 1000] {
            let begun_late_in_tick = Tick::at(Duration::from_millis(32 * 100 + 31));
            let deadline = begun_late_in_tick.after(Duration::from_millis(ms));
            assert!(u64::from(deadline.0) * 32 >= 32 * 100 + 31 + ms);
        }
    }
}
