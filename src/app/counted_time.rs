//! [`CountedTime`]: the time by which deadlines are judged.
//!
//! A worker may come late to its turn: its process was stopped, the machine was, or a handler held
//! it up. What peers said meanwhile waits in the kernel and may take many turns to be read, and
//! who was silent has not been asked whether it lives. So a gap does not count, and what was to
//! happen during it happens [`GRACE`] after it:
//!
//! ```text
//! sleeps, due back for a deadline        stopped                 reads, asks, and goes on
//! ├─────────── 2 s ────────┬── GRACE ──┼──────── 60 s ─────────┼── GRACE ──┼─▶ the deadline
//! └──── this counts ───────┘                                   └───────────┘
//! ```

use std::time::Duration;

/// Time since the reactor began, without the gaps.
#[derive(Debug, Default)]
pub(super) struct CountedTime {
    missed: Duration,
    // When the present wait has begun.
    slept_at: Duration,
    // For how long at most it was to be. `None`: no deadline is set, so that none can be missed.
    planned: Option<Duration>,
    // Whether the turn before came late.
    was_late: bool,
}

impl CountedTime {
    /// The reactor waits from `now` on, for no longer than that.
    pub(super) fn sleep(&mut self, now: Duration, planned: Option<Duration>) {
        (self.slept_at, self.planned) = (now, planned);
    }

    /// The wait is over. Returns the time that counts.
    pub(super) fn wake(&mut self, now: Duration) -> Duration {
        let elapsed = now.saturating_sub(self.slept_at);
        let planned = self.planned.unwrap_or(elapsed);
        let is_late = elapsed.saturating_sub(planned) > GRACE;
        if is_late {
            let counts = planned.saturating_sub(GRACE);
            // A worker whose turns are all that long has to judge as well.
            let counts = if self.was_late { counts.max(GRACE) } else { counts };
            self.missed += elapsed - counts;
        }
        self.was_late = is_late;
        now.saturating_sub(self.missed)
    }

    /// When the counted time will be this, if no gap comes.
    pub(super) fn reactor_time(&self, counted: Duration) -> Duration {
        counted.saturating_add(self.missed)
    }
}

/// Longer than any ordinary turn, and shorter than any idle timeout that makes sense.
const GRACE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_gap_does_not_count_and_what_was_planned_comes_after_it() {
        let mut time = CountedTime::default();
        time.sleep(millis(0), Some(millis(60_000)));
        assert_eq!(time.wake(millis(60_000)), millis(60_000));
        time.sleep(millis(60_000), Some(millis(2000)));
        let counted = time.wake(millis(100_000));
        assert_eq!(counted, millis(61_750));
        assert_eq!(time.reactor_time(counted + GRACE), millis(100_250));
        // Early, or nothing was waited for.
        time.sleep(millis(100_000), Some(millis(5000)));
        assert_eq!(time.wake(millis(101_000)), counted + millis(1000));
        time.sleep(millis(101_000), None);
        assert_eq!(time.wake(millis(901_000)), counted + millis(801_000));
    }

    #[test]
    fn time_goes_on_for_a_worker_that_always_comes_late() {
        let mut time = CountedTime::default();
        let mut counted = Vec::new();
        for now in [0, 1000, 2000, 3000] {
            counted.push(time.wake(millis(now)));
            time.sleep(millis(now), Some(millis(0)));
        }
        assert_eq!(counted, [millis(0), millis(0), GRACE, 2 * GRACE]);
    }
}
