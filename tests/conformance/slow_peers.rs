//! Rule 5: what the kernel does not take comes back, and nothing is lost.

use std::{io::ErrorKind, time::Duration};

use sockeye::{
    base::{Outbox, Shared},
    reactor::Reactor,
};

use crate::{
    bed::{Bed, Peer, key},
    driver::{Driver, assert_same, pattern},
};

pub fn a_slow_reader_loses_nothing<B: Bed>(driver: &mut Driver<B>) {
    let total = 20 * B::MEBIBYTE;
    let mut peer = driver.open(key(0));
    let mut all = driver.fill(key(0));
    let (mut got, mut turns) = (Vec::new(), 0);
    driver.until("most bytes at a slow reader", |driver| {
        turns += 1;
        if turns % 3 == 0 {
            got.extend(peer.read(300_000));
        }
        if all.len() < total && driver.sockets[&key(0)].waiting.len() < 1 << 20 {
            let bytes = pattern(all.len(), 200_000);
            driver.send(key(0), &bytes);
            all.extend(bytes);
        }
        got.len() >= total
    });
    driver.until("the rest", |_| {
        got.extend(peer.read(1 << 20));
        got.len() >= all.len()
    });
    assert_same(&got, &all);
}

pub fn a_large_echo_is_complete<B: Bed>(driver: &mut Driver<B>) {
    driver.echoes = true;
    let mut peer = driver.open(key(0));
    let all = pattern(0, 20 * B::MEBIBYTE);
    let (mut written, mut got) = (0, Vec::new());
    driver.until("the whole echo", |_| {
        // The peer reads nothing before it has written everything it can.
        let count = peer.write(&all[written..]);
        written += count;
        if count == 0 {
            got.extend(peer.read(1 << 20));
        }
        got.len() >= all.len()
    });
    assert_same(&got, &all);
}

pub fn several_sends_come_back_in_order<B: Bed>(driver: &mut Driver<B>) {
    driver.bed.refuse_only_when_full();
    let mut peer = driver.open(key(0));
    driver.holds_back = true;
    let mut all = driver.fill(key(0));
    // Past the owner's own queue: each of these comes back, behind what came back before.
    let mut came_back = std::mem::take(&mut driver.sockets.get_mut(&key(0)).unwrap().waiting);
    for round in 0..20 {
        let bytes = pattern(all.len(), 1000 + round);
        let mut outbox = Outbox::default();
        outbox.append(&bytes);
        match round % 3 {
            0 => driver.bed.reactor().send_shared(key(0), &Shared::from(&bytes[..])),
            1 => driver.bed.reactor().send(key(0), &mut outbox),
            _ => {
                outbox.push_shared(Shared::from(&b"!"[..]), 0);
                driver.bed.reactor().send(key(0), &mut outbox);
            }
        }
        all.extend(bytes);
        if round % 3 == 2 {
            all.push(b'!');
        }
        if round % 5 == 0 {
            driver.turn();
            let seen = driver.sockets.get_mut(&key(0)).unwrap();
            came_back.append_outbox(std::mem::take(&mut seen.waiting));
        }
    }
    driver.turn();
    let seen = driver.sockets.get_mut(&key(0)).unwrap();
    came_back.append_outbox(std::mem::take(&mut seen.waiting));
    seen.waiting = came_back;
    assert!(seen.blocked);
    driver.holds_back = false;
    driver.expect(&mut peer, &all);
}

pub fn several_sends_before_the_first_refusal_come_back_at_once<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let mut all = Vec::new();
    // Within one turn, so that no send knows of the one before; the driver checks that all of
    // it comes back together.
    for _ in 0..40 {
        let bytes = pattern(all.len(), B::MEBIBYTE / 2);
        driver.send(key(0), &bytes);
        all.extend(bytes);
    }
    driver.turn();
    driver.until("refusal", |driver| driver.sockets[&key(0)].blocked);
    driver.expect(&mut peer, &all);
}

pub fn what_came_back_is_told_with_what_was_sent_since<B: Bed>(driver: &mut Driver<B>) {
    driver.bed.refuse_only_when_full();
    let mut peer = driver.open(key(0));
    for round in 0..5 {
        let mut all = pattern(round, 8 * B::MEBIBYTE);
        driver.send(key(0), &all);
        driver.send(key(0), b"small");
        all.extend_from_slice(b"small");
        // Its owner may hear of the first before the turn ends. The driver checks that nothing
        // comes later.
        while driver.note_next() {}
        driver.send(key(0), b"the next one");
        all.extend_from_slice(b"the next one");
        driver.turns(3);
        driver.expect(&mut peer, &all);
        driver.until_sent(key(0));
    }
}

pub fn what_is_sent_before_writable_is_heard_overtakes_nothing<B: Bed>(driver: &mut Driver<B>) {
    driver.bed.refuse_only_when_full();
    let mut peer = driver.open(key(0));
    let mut all = driver.fill(key(0));
    let mut got = Vec::new();
    // There is room again, and the reactor learns of it; its owner has not asked yet.
    for _ in 0..20 {
        got.extend(peer.read(1 << 20));
        driver.bed.pause_between_turns();
        driver.bed.reactor().wait(Some(Duration::from_millis(1))).unwrap();
    }
    let mut came_back = std::mem::take(&mut driver.sockets.get_mut(&key(0)).unwrap().waiting);
    assert!(!came_back.is_empty());
    let mut later = Outbox::default();
    later.append(b"later");
    driver.bed.reactor().send(key(0), &mut later);
    all.extend(b"later");
    driver.holds_back = true;
    while driver.note_next() {}
    driver.until("Writable", |driver| driver.sockets[&key(0)].writables > 0);
    let seen = driver.sockets.get_mut(&key(0)).unwrap();
    came_back.append_outbox(std::mem::take(&mut seen.waiting));
    driver.holds_back = false;
    driver.send_outbox(key(0), came_back);
    driver.until("all bytes", |_| {
        got.extend(peer.read(1 << 20));
        got.len() >= all.len()
    });
    assert_same(&got, &all);
}

pub fn is_blocked_tells_at_once<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    assert!(!driver.bed.reactor().is_blocked(key(0)));
    let mut all = Vec::new();
    // No turn goes by: only `is_blocked` can say when to stop.
    while !driver.bed.reactor().is_blocked(key(0)) {
        let bytes = pattern(all.len(), 100_000);
        driver.send(key(0), &bytes);
        all.extend(bytes);
        assert!(all.len() < 64 << 20, "nothing blocks");
    }
    assert!(driver.bed.reactor().is_blocked(key(0)));
    assert!(!driver.sockets[&key(0)].blocked, "`Unsent` comes through `next`");
    driver.until("Unsent", |driver| {
        let seen = &driver.sockets[&key(0)];
        seen.blocked || seen.writables > 0
    });
    driver.expect(&mut peer, &all);
    driver.until_sent(key(0));
    assert!(!driver.bed.reactor().is_blocked(key(0)));
}

pub fn other_sockets_are_not_held_up<B: Bed>(driver: &mut Driver<B>) {
    let mut slow = driver.open(key(0));
    let mut quick = driver.open(key(1));
    let all = driver.fill(key(0));
    for round in 0..20 {
        driver.send(key(1), &pattern(round * 10, 10));
        driver.turn();
    }
    driver.expect(&mut quick, &pattern(0, 200));
    driver.expect(&mut slow, &all);
}

pub fn bytes_are_received_while_nothing_can_be_sent<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let all = driver.fill(key(0));
    driver.write_all(&mut peer, b"I can write");
    driver.until_received(key(0), 11);
    peer.shutdown();
    driver.until_ended(key(0));
    driver.expect(&mut peer, &all);
}

pub fn a_shutdown_after_sends_loses_nothing<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    // Much more than the kernel takes at once: the shutdown must not overtake the rest.
    let all = pattern(0, 12 * B::MEBIBYTE);
    driver.send(key(0), &all);
    driver.shutdown(key(0));
    let mut got = Vec::new();
    driver.until("the end at the peer", |driver| {
        got.extend(peer.read(1 << 20));
        assert_eq!(driver.sockets[&key(0)].send_error, None);
        peer.is_ended()
    });
    assert_same(&got, &all);
    assert!(!peer.is_reset());
}

pub fn a_break_while_sending_is_an_error_and_stays_one<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.fill(key(0));
    peer.reset();
    driver.until("an error", |driver| driver.sockets[&key(0)].send_error.is_some());
    let error = driver.sockets[&key(0)].send_error;
    assert!(matches!(error, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)), "{error:?}");
    for _ in 0..3 {
        let seen = driver.sockets.get_mut(&key(0)).unwrap();
        (seen.waiting, seen.send_error) = (Outbox::default(), None);
        driver.send(key(0), b"anybody there?");
        driver.until("an error", |driver| driver.sockets[&key(0)].send_error.is_some());
        assert_eq!(driver.sockets[&key(0)].waiting.len(), 14);
    }
    driver.close(key(0));
    driver.until_closed(key(0));
}

pub fn a_break_of_a_paused_slow_reader_is_noticed<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.pause(key(0));
    driver.fill(key(0));
    peer.reset();
    driver.until("an error", |driver| driver.sockets[&key(0)].send_error.is_some());
    driver.close(key(0));
    driver.until_closed(key(0));
}
