//! All rules at once: peers and owner do anything at any time. The driver checks every completion;
//! here is checked that bytes arrive in order, all of them where nobody broke off, and that every
//! key is closed in the end.

use std::{collections::BTreeMap, time::Duration};

use sockeye::{
    base::{Key, Shared},
    reactor::{Reactor, SimRandom},
};

use crate::{
    bed::{Bed, Peer},
    driver::{Driver, assert_same, pattern},
};

/// Both ends of one connection, as the case knows them.
struct Ends<P> {
    peer: P,
    written: Vec<u8>,
    sent: Vec<u8>,
    got: Vec<u8>,
    peer_shut: bool,
    server_shut: bool,
    // Somebody broke off: bytes may be lost from then on.
    broken: bool,
    closing: bool,
}

pub fn anything_may_happen_at_any_time<B: Bed>(driver: &mut Driver<B>) {
    let seed = driver.bed.seed();
    for round in 0..B::ROUNDS {
        run(driver, &mut SimRandom::new(seed ^ u64::from(round) << 32), round * 1000);
    }
}

fn run<B: Bed>(driver: &mut Driver<B>, random: &mut SimRandom, first_generation: u32) {
    let mut slots: BTreeMap<usize, (Key, Ends<B::Peer>)> = BTreeMap::new();
    let mut generation = first_generation;
    for _ in 0..1500 {
        let slot = random.below(SLOTS);
        match slots.get_mut(&slot) {
            None => {
                generation += 1;
                let key = Key::new(u32::try_from(slot).unwrap(), generation);
                let peer = driver.open(key);
                slots.insert(slot, (key, Ends::new(peer)));
            }
            Some((key, ends)) => act(driver, random, *key, ends),
        }
        driver.gulp = [0, 0, 9, 5_000, 300_000][random.below(5)];
        match random.below(8) {
            0..2 => driver.turn_for(Duration::ZERO),
            2 => driver.wait(Duration::ZERO),
            3..5 => drop(driver.note_next()),
            _ => {}
        }
        note_breaks(driver, &mut slots);
        slots.retain(|_, (key, ends)| {
            let closed = driver.sockets[key].closed;
            if closed {
                check(driver, *key, ends);
            }
            !closed
        });
    }
    settle(driver, &mut slots);
}

/// One thing that a peer or the owner does.
fn act<B: Bed>(driver: &mut Driver<B>, random: &mut SimRandom, key: Key, ends: &mut Ends<B::Peer>) {
    let magnitude = random.below(17);
    let size = 1 + random.below(1 << magnitude);
    let can_send = !ends.server_shut && !ends.closing && driver.sockets[&key].send_error.is_none();
    match random.below(100) {
        0..25 if !ends.peer_shut && !ends.broken => {
            let bytes = pattern(ends.written.len(), size);
            let count = ends.peer.write(&bytes);
            ends.written.extend(&bytes[..count]);
        }
        25..50 => ends.got.extend(ends.peer.read(size)),
        50..70 if can_send => {
            let bytes = pattern(ends.sent.len(), size);
            if size.is_multiple_of(2) {
                driver.send(key, &bytes);
            } else {
                driver.send_shared(key, &Shared::from(&bytes[..]));
            }
            ends.sent.extend(bytes);
        }
        70..75 => driver.pause(key),
        75..90 => driver.resume(key),
        90..93 => drop(driver.bed.reactor().is_blocked(key)),
        93..95 if !ends.peer_shut && !ends.broken => {
            ends.peer.shutdown();
            ends.peer_shut = true;
        }
        95 if can_send => {
            driver.shutdown(key);
            ends.server_shut = true;
        }
        96 if !ends.broken => {
            ends.peer.reset();
            ends.broken = true;
        }
        97.. if !ends.closing => {
            driver.close(key);
            ends.closing = true;
        }
        _ => {}
    }
}

/// Where connections break by themselves, notes which did.
fn note_breaks<B: Bed>(driver: &Driver<B>, slots: &mut BTreeMap<usize, (Key, Ends<B::Peer>)>) {
    if driver.bed.may_break() {
        for (key, ends) in slots.values_mut() {
            let seen = &driver.sockets[key];
            let ended = seen.ended.is_some_and(|error| error.is_some());
            ends.broken |= ended || seen.send_error.is_some() || ends.peer.is_reset();
        }
    }
}

/// Everything that can arrive arrives, and then everything is closed.
fn settle<B: Bed>(driver: &mut Driver<B>, slots: &mut BTreeMap<usize, (Key, Ends<B::Peer>)>) {
    slots.values().for_each(|(key, _)| driver.resume(*key));
    driver.until("all that is under way", |driver| {
        note_breaks(driver, slots);
        slots.values_mut().all(|(key, ends)| {
            let seen = &driver.sockets[key];
            if ends.broken || ends.closing {
                return true;
            }
            ends.got.extend(ends.peer.read(1 << 20));
            ends.got.len() >= ends.sent.len() && seen.received.len() >= ends.written.len()
        })
    });
    for (key, ends) in slots.values_mut() {
        if !ends.broken && !ends.closing {
            assert_same(&driver.sockets[key].received, &ends.written);
            assert_same(&ends.got, &ends.sent);
        }
        if !ends.closing {
            driver.close(*key);
        }
    }
    for (key, ends) in slots.values_mut() {
        driver.until_closed(*key);
        check(driver, *key, ends);
    }
}

/// Rule 4: what arrived is the beginning of what was sent.
fn check<B: Bed>(driver: &mut Driver<B>, key: Key, ends: &mut Ends<B::Peer>) {
    let seen = driver.sockets.remove(&key).unwrap();
    assert_same(&seen.received, &ends.written[..seen.received.len()]);
    if !ends.broken {
        ends.got.extend(ends.peer.read(1 << 20));
        assert_same(&ends.got, &ends.sent[..ends.got.len()]);
    }
}

impl<P> Ends<P> {
    fn new(peer: P) -> Self {
        Self {
            peer,
            written: Vec::new(),
            sent: Vec::new(),
            got: Vec::new(),
            peer_shut: false,
            server_shut: false,
            broken: false,
            closing: false,
        }
    }
}

const SLOTS: usize = 12;
