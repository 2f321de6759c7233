//! [`Mailbox`]: what other threads want of a worker, in the order in which each of them wrote it.
//!
//! A worker takes all of it at once, at the beginning of a turn, so that the lock is held for as
//! long as it takes to swap two vectors. Who finds the box empty wakes the worker; who does not
//! knows that somebody else has.

use std::mem;
#[cfg(not(all(test, loom)))]
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

#[cfg(all(test, loom))]
use self::checked::{AtomicBool, Mutex, MutexGuard, OnceLock, Ordering, PoisonError};
use crate::reactor::Waker;

#[cfg(all(test, loom))]
mod checked;
#[cfg(all(test, loom))]
mod models;

/// A bounded queue with many writers and one reader.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    // Invariant: whether the queue has letters. Changed under the lock; read without, so that a
    // reader that has none pays no more than a load.
    has_letters: AtomicBool,
    waker: OnceLock<Waker>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Queue<T> {
    letters: Vec<T>,
    bytes: usize,
    is_closed: bool,
}

/// The box has no room for this letter, or its worker has gone.
#[derive(Debug, PartialEq, Eq)]
pub enum Full<T> {
    /// Try again later.
    NoRoom(T),
    /// There is no reader any more.
    Closed(T),
}

impl<T> Mailbox<T> {
    /// An empty box for letters of at most this weight in all. One letter always finds room.
    #[must_use]
    pub fn with_limit(max_bytes: usize) -> Self {
        let queue = Queue { letters: Vec::new(), bytes: 0, is_closed: false };
        let has_letters = AtomicBool::new(false);
        Self { queue: Mutex::new(queue), has_letters, waker: OnceLock::new(), max_bytes }
    }

    /// Says how the reader is woken. Before that nobody is.
    pub fn attach(&self, waker: Waker) {
        // In this order: whoever posts after the look finds the waker, and who posted before it
        // is found by it.
        if self.waker.set(waker).is_ok() && !self.lock().letters.is_empty() {
            self.wake();
        }
    }

    /// Posts a letter.
    ///
    /// # Errors
    /// [`Full`], with the letter.
    pub fn post(&self, letter: T, bytes: usize) -> Result<(), Full<T>> {
        let mut queue = self.lock();
        let was_empty = queue.letters.is_empty();
        queue.push(letter, bytes, self.max_bytes)?;
        self.has_letters.store(true, Ordering::Release);
        drop(queue);
        if was_empty {
            self.wake();
        }
        Ok(())
    }

    /// Posts several letters with their weights, and returns how many found no room. Letters
    /// without weight always do.
    pub fn post_all(&self, letters: impl IntoIterator<Item = (T, usize)>) -> usize {
        let mut queue = self.lock();
        let was_empty = queue.letters.is_empty();
        let mut refused = 0;
        for (letter, bytes) in letters {
            refused += usize::from(queue.push(letter, bytes, self.max_bytes).is_err());
        }
        let is_first = was_empty && !queue.letters.is_empty();
        self.has_letters.store(!queue.letters.is_empty(), Ordering::Release);
        drop(queue);
        if is_first {
            self.wake();
        }
        refused
    }

    /// Moves all letters to the end of `letters`.
    pub fn take(&self, letters: &mut Vec<T>) {
        let mut queue = self.lock();
        queue.bytes = 0;
        if letters.is_empty() {
            mem::swap(&mut queue.letters, letters);
        } else {
            letters.append(&mut queue.letters);
        }
        self.has_letters.store(false, Ordering::Release);
    }

    /// Whether there is something to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_letters.load(Ordering::Acquire)
    }

    /// Refuses letters from now on, and drops those that are there.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.is_closed = true;
        queue.bytes = 0;
        let letters = mem::take(&mut queue.letters);
        self.has_letters.store(false, Ordering::Release);
        // A letter's own drop may post another one.
        drop(queue);
        drop(letters);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // No code of others runs under the lock, so that a poisoned queue is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    fn push(&mut self, letter: T, bytes: usize, max_bytes: usize) -> Result<(), Full<T>> {
        if self.is_closed {
            return Err(Full::Closed(letter));
        }
        if bytes > 0 && self.bytes > 0 && self.bytes + bytes > max_bytes {
            return Err(Full::NoRoom(letter));
        }
        self.bytes += bytes;
        self.letters.push(letter);
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn the_first_letter_wakes_and_the_limit_is_a_result() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let mailbox = Mailbox::with_limit(10);
        assert_eq!(mailbox.post(0, 8), Ok(()));
        let counted = Arc::clone(&wakes);
        mailbox.attach(Waker::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(wakes.load(Ordering::Relaxed), 1, "what was posted before is told");
        assert_eq!(mailbox.post(1, 3), Err(Full::NoRoom(1)));
        assert_eq!(mailbox.post(2, 2), Ok(()));
        assert_eq!(mailbox.post_all([(3, 0), (4, 1)]), 1, "only the one with a weight is refused");
        assert_eq!(wakes.load(Ordering::Relaxed), 1);

        let mut letters = Vec::new();
        mailbox.take(&mut letters);
        assert_eq!(letters, [0, 2, 3]);
        assert_eq!(mailbox.post(5, 1000), Ok(()), "one letter always finds room");
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        mailbox.close();
        assert_eq!(mailbox.post(6, 1), Err(Full::Closed(6)));
        assert!(mailbox.is_empty());
    }

    #[test]
    fn each_writer_keeps_its_order() {
        let mailbox = Arc::new(Mailbox::with_limit(usize::MAX));
        let writers: Vec<_> = (0..4_usize)
            .map(|writer| {
                let mailbox = Arc::clone(&mailbox);
                std::thread::spawn(move || {
                    for n in 0..1000_usize {
                        mailbox.post((writer, n), 1).unwrap();
                    }
                })
            })
            .collect();
        let (mut next, mut letters) = ([0; 4], Vec::new());
        while next.iter().sum::<usize>() < 4000 {
            mailbox.take(&mut letters);
            for (writer, n) in letters.drain(..) {
                assert_eq!(next[writer], n);
                next[writer] += 1;
            }
        }
        for writer in writers {
            writer.join().unwrap();
        }
    }
}
