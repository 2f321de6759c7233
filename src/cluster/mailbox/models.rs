//! Every way in which threads can meet at a [`Mailbox`], as loom finds them.
//!
//! ```text
//! RUSTFLAGS='--cfg loom' cargo test --release --lib mailbox::models
//! ```
//!
//! A waker that is not called is a reader that waits for ever, which loom reports as a deadlock.

use std::sync::{Arc as Plain, atomic::AtomicUsize as Count};

use loom::{
    model::Builder,
    sync::{Arc, Notify},
    thread,
};

use super::*;

/// How often a model lets a thread be interrupted where it need not be: more take hours, and two
/// show nearly all faults of this kind.
const PREEMPTIONS: usize = 2;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(threads);
}

/// A box, and what its reader sleeps on.
fn mailbox<T>(max_bytes: usize) -> (Arc<Mailbox<T>>, Arc<Notify>) {
    (Arc::new(Mailbox::with_limit(max_bytes)), Arc::new(Notify::new()))
}

fn waker(bell: &Arc<Notify>) -> Waker {
    let bell = Arc::clone(bell);
    Waker::new(move || bell.notify())
}

/// Takes letters as a worker does, which sleeps while there are none, until there were so many.
fn read<T>(mailbox: &Mailbox<T>, bell: &Notify, count: usize) -> Vec<T> {
    let mut letters = Vec::new();
    while letters.len() < count {
        if mailbox.is_empty() {
            bell.wait();
        } else {
            mailbox.take(&mut letters);
        }
    }
    letters
}

#[test]
fn nothing_is_lost_and_each_writer_keeps_its_order() {
    model(|| {
        let (mailbox, bell) = mailbox(usize::MAX);
        mailbox.attach(waker(&bell));
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || {
                    assert!(mailbox.post((writer, 0), 1).is_ok());
                    assert_eq!(mailbox.post_all([((writer, 1), 1)]), 0);
                })
            })
            .collect();
        let letters = read(&mailbox, &bell, 4);
        for writer in 0..2 {
            let of_writer = letters.iter().filter(|letter| letter.0 == writer);
            let numbers: Vec<_> = of_writer.map(|letter| letter.1).collect();
            assert_eq!(numbers, [0, 1]);
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn a_letter_that_comes_while_the_waker_is_attached_wakes() {
    model(|| {
        let (mailbox, bell) = mailbox(usize::MAX);
        let writer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || assert!(mailbox.post("early", 1).is_ok()))
        };
        mailbox.attach(waker(&bell));
        // Without a look beforehand: who attaches sleeps until it is woken. Loom's bell may ring
        // without a reason, but need not.
        let mut letters = Vec::new();
        while letters.is_empty() {
            bell.wait();
            mailbox.take(&mut letters);
        }
        assert_eq!(letters, ["early"]);
        writer.join().unwrap();
    });
}

#[test]
fn there_is_never_more_than_the_limit() {
    model(|| {
        let (mailbox, _) = mailbox(3);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || usize::from(mailbox.post(2, 2).is_ok()))
            })
            .collect();
        let mut first = Vec::new();
        mailbox.take(&mut first);
        let posted: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        let mut second = Vec::new();
        mailbox.take(&mut second);
        assert!(first.len() <= 1 && second.len() <= 1, "{first:?} {second:?}");
        assert_eq!(first.len() + second.len(), posted, "what was accepted is there, once");
        assert!(posted >= 1, "one letter always finds room");
    });
}

#[test]
fn a_box_that_is_closed_keeps_nothing() {
    struct Counted(Plain<Count>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    model(|| {
        let (mailbox, bell) = mailbox(usize::MAX);
        mailbox.attach(waker(&bell));
        let dropped = Plain::new(Count::new(0));
        let writer = {
            let (mailbox, dropped) = (Arc::clone(&mailbox), Plain::clone(&dropped));
            thread::spawn(move || drop(mailbox.post(Counted(dropped), 1)))
        };
        mailbox.close();
        writer.join().unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "accepted or not, it is gone, once");
        assert!(mailbox.is_empty());
    });
}
