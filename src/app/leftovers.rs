//! [`Leftovers`]: when memory that was freed goes back to the machine.
//!
//! An allocator keeps what it is given: glibc's returns only what is free at the end of its heap,
//! and after a burst something in use stands there for long. So a worker through which much has
//! gone has it look at the whole heap, but only when it is quiet, because that takes 0.1 ms for
//! each mebibyte that goes back.

use std::time::Duration;

/// Watches how much a worker moves.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    // When the present window has begun, and what had been moved until then.
    since: Duration,
    moved: u64,
    // What had been moved when memory was given back last.
    moved_before: u64,
}

impl Leftovers {
    /// Looks at the clock and the sum of all bytes received and sent. True if memory is to be
    /// given back now: much has been moved since that was done, and for a while nearly nothing.
    pub(super) fn look(&mut self, now: Duration, moved: u64) -> bool {
        if now < self.since + WINDOW {
            return false;
        }
        let is_quiet = moved - self.moved < LITTLE_BYTES;
        (self.since, self.moved) = (now, moved);
        let is_due = is_quiet && self.is_owed(moved);
        if is_due {
            self.moved_before = moved;
        }
        is_due
    }

    /// When to look again, should nothing happen until then.
    pub(super) fn due_at(&self, moved: u64) -> Option<Duration> {
        self.is_owed(moved).then(|| self.since + WINDOW)
    }

    fn is_owed(&self, moved: u64) -> bool {
        moved - self.moved_before >= MUCH_BYTES
    }
}

const WINDOW: Duration = Duration::from_secs(1);
/// What is moved in a window of a worker that is quiet is less.
const LITTLE_BYTES: u64 = 1 << 20;
/// Less does not leave enough behind to be looked for.
const MUCH_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn memory_goes_back_once_after_a_burst_when_a_second_was_quiet() {
        let mut leftovers = Leftovers::default();
        assert_eq!(leftovers.due_at(0), None);
        assert!(!leftovers.look(seconds(10), MUCH_BYTES));
        assert_eq!(leftovers.due_at(MUCH_BYTES), Some(seconds(11)));
        assert!(!leftovers.look(Duration::from_millis(10_900), MUCH_BYTES));
        assert!(leftovers.look(seconds(11), MUCH_BYTES + LITTLE_BYTES - 1));
        assert!(!leftovers.look(seconds(12), MUCH_BYTES + LITTLE_BYTES));
        assert_eq!(leftovers.due_at(MUCH_BYTES + LITTLE_BYTES), None);
    }

    #[test]
    fn a_worker_that_is_never_quiet_keeps_its_memory() {
        let mut leftovers = Leftovers::default();
        for second in 1..100 {
            assert!(!leftovers.look(seconds(second), second * LITTLE_BYTES));
        }
    }
}
