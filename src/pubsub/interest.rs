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
        let (word, bit) = place(worker);
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Takes a worker out; returns whether it was there.
    pub fn remove(&mut self, worker: u8) -> bool {
        let (word, bit) = place(worker);
        let was_there = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        was_there
    }

    /// Whether the worker is in the set.
    #[must_use]
    pub fn contains(&self, worker: u8) -> bool {
        let (word, bit) = place(worker);
        self.0[word] & bit != 0
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
        let mut word = 0;
        std::iter::from_fn(move || {
            while *words.get(word)? == 0 {
                word += 1;
            }
            let bit = words[word].trailing_zeros();
            words[word] &= words[word] - 1;
            u8::try_from(word * 64 + bit as usize).ok()
        })
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

fn place(worker: u8) -> (usize, u64) {
    (usize::from(worker / 64), 1 << (worker % 64))
}

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
