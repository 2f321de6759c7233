//! [`WorkerSet`]: which other workers have subscribers of a topic; [`InterestChange`]: what this
//! worker has to tell them about its own.

use super::TopicName;

/// A set of workers, by their numbers.
///
/// ```
/// use sockeye::pubsub::WorkerSet;
///
/// let mut workers = WorkerSet::default();
/// workers.insert(3);
/// workers.insert(200);
/// assert!(workers.contains(3));
/// assert_eq!(workers.iter().collect::<Vec<_>>(), [3, 200]);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct WorkerSet([u64; 4]);

impl WorkerSet {
    /// Adds a worker; returns whether it is new.
    pub fn insert(&mut self, worker: u8) -> bool {
        let (word, bit) = self.place(worker);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a worker out; returns whether it was there.
    pub fn remove(&mut self, worker: u8) -> bool {
        let (word, bit) = self.place(worker);
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    /// Whether the worker is in the set.
    #[must_use]
    pub fn contains(&self, worker: u8) -> bool {
        let mut copy = *self;
        let (word, bit) = copy.place(worker);
        *word & bit != 0
    }

    /// Whether nobody is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Number of workers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The workers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + use<> {
        let mut words = self.0;
        std::iter::from_fn(move || {
            let (first, word) = FIRSTS.iter().zip(&mut words).find(|(_, word)| **word != 0)?;
            let lowest = word.trailing_zeros();
            // Without its lowest bit; it has one.
            *word &= word.wrapping_sub(1);
            u8::try_from(lowest).ok().map(|lowest| first | lowest)
        })
    }

    /// The word with the worker's bit, and the bit.
    fn place(&mut self, worker: u8) -> (&mut u64, u64) {
        let [first, second, third, last] = &mut self.0;
        let word = match worker / 64 {
            0 => first,
            1 => second,
            2 => third,
            _ => last,
        };
        (word, 1 << (worker % 64))
    }
}

/// A topic got its first local subscriber, or lost its last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterestChange {
    /// The topic.
    pub topic: TopicName,
    /// Whether this worker has subscribers of it now.
    pub interested: bool,
}

/// The worker of the lowest bit of each word.
const FIRSTS: [u8; 4] = [0, 64, 128, 192];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_every_worker_in_order() {
        let mut set = WorkerSet::default();
        for worker in (0..=255).rev() {
            assert!(set.insert(worker));
            assert!(!set.insert(worker));
        }
        assert_eq!(set.len(), 256);
        assert!(set.iter().eq(0..=255));
        for worker in 0..=255 {
            assert!(set.contains(worker));
            assert!(set.remove(worker));
            assert!(!set.remove(worker));
        }
        assert!(set.is_empty());
    }
}
