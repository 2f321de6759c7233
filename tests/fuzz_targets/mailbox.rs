//! The mailbox against a list.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sockeye::{
    cluster::{Full, Mailbox},
    reactor::Waker,
};

use super::Choices;

pub fn mailbox(data: &[u8]) {
    let mut choices = Choices(data);
    let limit = 1 + usize::from(choices.byte());
    let mailbox = Mailbox::with_limit(limit);
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    mailbox.attach(Waker::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let (mut model, mut bytes, mut closed, mut woken) = (Vec::new(), 0, false, 0);
    let (mut letter, mut taken) = (0_u32, Vec::new());
    // A letter always finds room in an empty box, and if it weighs nothing.
    let fits = |bytes: usize, weight: usize| weight == 0 || bytes == 0 || bytes + weight <= limit;
    while !choices.is_empty() {
        let was_empty = model.is_empty();
        match choices.below(8) {
            0..4 => {
                let weight = choices.below(64);
                letter += 1;
                let expected = match (closed, fits(bytes, weight)) {
                    (true, _) => Err(Full::Closed(letter)),
                    (_, true) => Ok(()),
                    (_, false) => Err(Full::NoRoom(letter)),
                };
                assert_eq!(mailbox.post(letter, weight), expected);
                if expected.is_ok() {
                    model.push(letter);
                    bytes += weight;
                    woken += usize::from(was_empty);
                }
            }
            4..6 => {
                let count = choices.below(5);
                let letters: Vec<_> =
                    (0..count).map(|n| (1000 + letter + n as u32, choices.below(64))).collect();
                letter += 5;
                let mut refused = 0;
                for (new, weight) in &letters {
                    if closed || !fits(bytes, *weight) {
                        refused += 1;
                    } else {
                        model.push(*new);
                        bytes += weight;
                    }
                }
                assert_eq!(mailbox.post_all(letters), refused);
                woken += usize::from(was_empty && !model.is_empty());
            }
            6 => {
                mailbox.take(&mut taken);
                assert_eq!(taken, model);
                taken.clear();
                model.clear();
                bytes = 0;
            }
            _ => {
                closed |= choices.byte() == 7;
                if closed {
                    mailbox.close();
                    model.clear();
                    bytes = 0;
                }
            }
        }
        assert_eq!(mailbox.is_empty(), model.is_empty());
        assert_eq!(wakes.load(Ordering::Relaxed), woken, "who finds it empty wakes the reader");
    }
}
