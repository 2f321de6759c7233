//! Rules 1 and 2: keys live from `open` to `Closed`, and leave nothing behind.

use sockeye::{
    base::{Key, Outbox, Shared},
    reactor::Reactor,
};

use crate::{
    bed::{Bed, Peer, key},
    driver::{Driver, pattern},
};

pub fn closed_comes_once_and_then_silence<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.write_all(&mut peer, b"before");
    driver.until_received(key(0), 6);
    driver.close(key(0));
    driver.bed.reactor().close(key(0));
    driver.until_closed(key(0));
    driver.bed.reactor().close(key(0));
    let completions = driver.completions;
    for _ in 0..20 {
        peer.write(b"is anybody there?");
        driver.turn();
    }
    assert_eq!(driver.completions, completions);
    driver.until_over(&mut peer);
}

pub fn a_socket_is_closed_in_the_turn_in_which_it_is_opened<B: Bed>(driver: &mut Driver<B>) {
    let mut peers = Vec::new();
    for n in 0..10 {
        peers.push(driver.open(key(n)));
        driver.close(key(n));
    }
    for (n, peer) in (0..10).zip(&mut peers) {
        driver.until_closed(key(n));
        driver.until_over(peer);
    }
}

pub fn a_close_sends_first_what_was_sent<B: Bed>(driver: &mut Driver<B>) {
    driver.bed.refuse_only_when_full();
    let mut peers: Vec<_> = (0..40).map(|n| driver.open(key(n))).collect();
    let shared = Shared::from(&b", goodbye"[..]);
    for n in 0..40 {
        driver.send(key(n), b"farewell");
        driver.send_shared(key(n), &shared);
        driver.close(key(n));
    }
    for (n, peer) in (0..40).zip(&mut peers) {
        driver.until_closed(key(n));
        driver.expect(peer, b"farewell, goodbye");
        driver.until_over(peer);
        assert!(peer.is_ended() && !peer.is_reset());
    }
}

pub fn a_close_with_unsent_bytes_frees_the_key<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let all = driver.fill(key(0));
    driver.send(key(0), b"never sent");
    driver.close(key(0));
    driver.until_closed(key(0));
    let mut got = 0;
    driver.until("the end at the peer", |_| {
        got += peer.read(1 << 20).len();
        peer.is_ended() || peer.is_reset()
    });
    assert!(got < all.len());
}

pub fn a_close_while_the_peer_writes_frees_the_key<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    peer.write(&pattern(0, 4 * B::MEBIBYTE));
    driver.turn();
    peer.write(&pattern(0, 4 * B::MEBIBYTE));
    driver.close(key(0));
    driver.until_closed(key(0));
    driver.until_over(&mut peer);
}

pub fn a_close_after_the_peers_end_frees_the_key<B: Bed>(driver: &mut Driver<B>) {
    for (n, breaks) in [(0, false), (1, true)] {
        let mut peer = driver.open(key(n));
        if breaks {
            peer.reset();
        } else {
            peer.shutdown();
        }
        driver.until_ended(key(n));
        driver.close(key(n));
        driver.until_closed(key(n));
    }
}

pub fn a_close_while_paused_frees_the_key<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.pause(key(0));
    driver.write_all(&mut peer, b"unread");
    driver.turn();
    driver.close(key(0));
    driver.until_closed(key(0));
    driver.until_over(&mut peer);
}

pub fn a_slot_may_be_used_again_after_closed<B: Bed>(driver: &mut Driver<B>) {
    driver.echoes = true;
    for generation in 0..300 {
        let key = Key::new(5, generation);
        let mut peer = driver.open(key);
        let own = generation.to_be_bytes();
        driver.write_all(&mut peer, &own);
        driver.expect(&mut peer, &own);
        // Some of this is under way while the key is closed; none of it may reach the next one.
        peer.write(&[0xff; 1000]);
        if generation % 3 == 0 {
            driver.turn();
        }
        driver.close(key);
        driver.until_closed(key);
        assert_eq!(driver.sockets[&key].received[..4], own);
    }
}

pub fn requests_for_stale_keys_do_nothing<B: Bed>(driver: &mut Driver<B>) {
    let (old, new) = (Key::new(2, 8), Key::new(2, 9));
    let never = [Key::new(2, 0), Key::new(2, 10), Key::new(1, 9), Key::new(70_000, 9)];
    drop(driver.open(old));
    driver.close(old);
    driver.until_closed(old);
    let mut peer = driver.open(new);
    for _ in 0..3 {
        for stale in [&[old], &never[..]].concat() {
            let reactor = driver.bed.reactor();
            let mut outbox = Outbox::default();
            outbox.append(b"to nobody");
            reactor.send(stale, &mut outbox);
            assert!(outbox.is_empty());
            reactor.send_shared(stale, &Shared::from(&b"to nobody"[..]));
            assert!(!reactor.is_blocked(stale));
            reactor.pause(stale);
            reactor.resume(stale);
            reactor.pause(stale);
            reactor.shutdown(stale);
            reactor.close(stale);
        }
        driver.turn();
    }
    driver.write_all(&mut peer, b"alive");
    driver.until_received(new, 5);
    driver.send(new, b"and well");
    driver.expect(&mut peer, b"and well");
    assert!(!peer.is_ended());
}

pub fn requests_after_close_do_nothing<B: Bed>(driver: &mut Driver<B>) {
    let mut peers: Vec<_> = (0..4).map(|n| driver.open(key(n))).collect();
    driver.turn();
    for n in 0..4 {
        driver.close(key(n));
        let reactor = driver.bed.reactor();
        let mut outbox = Outbox::default();
        outbox.append(b"too late");
        reactor.send(key(n), &mut outbox);
        assert!(outbox.is_empty());
        reactor.send_shared(key(n), &Shared::from(&b"too late"[..]));
        assert!(!reactor.is_blocked(key(n)));
        reactor.pause(key(n));
        reactor.resume(key(n));
        reactor.shutdown(key(n));
    }
    for (n, peer) in (0..4).zip(&mut peers) {
        driver.until_closed(key(n));
        driver.expect(peer, b"");
        assert!(peer.is_ended());
    }
}

pub fn many_connections_come_and_go<B: Bed>(driver: &mut Driver<B>) {
    driver.echoes = true;
    for generation in 0..5 {
        let keys: Vec<_> = (0..100).map(|index| Key::new(index, generation)).collect();
        let mut peers: Vec<_> = keys.iter().map(|key| driver.open(*key)).collect();
        for (n, peer) in peers.iter_mut().enumerate() {
            driver.write_all(peer, &pattern(n, 100));
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            driver.expect(peer, &pattern(n, 100));
            match n % 3 {
                0 => peer.shutdown(),
                1 => peer.reset(),
                _ => {}
            }
        }
        keys.iter().for_each(|key| driver.close(*key));
        keys.iter().for_each(|key| driver.until_closed(*key));
    }
}

pub fn sockets_that_nobody_opened_are_closed<B: Bed>(driver: &mut Driver<B>) {
    let address = driver.listen(0);
    let mut peer = driver.bed.connect(address).expect("somebody listens");
    driver.until("Accepted", |driver| !driver.accepted.is_empty());
    driver.accepted.clear();
    driver.until_over(&mut peer);
}

pub fn dropping_the_reactor_closes_everything<B: Bed>(mut driver: Driver<B>) {
    let address = driver.listen(0);
    let mut waiting = driver.bed.connect(address).expect("somebody listens");
    let mut slow = driver.open(key(0));
    driver.fill(key(0));
    let mut busy = driver.open(key(1));
    busy.write(&pattern(0, 1 << 20));
    let mut paused = driver.open(key(2));
    driver.pause(key(2));
    let mut closing = driver.open(key(3));
    driver.turn();
    busy.write(&pattern(0, 1 << 20));
    driver.close(key(3));
    driver.send(key(1), b"not submitted");
    drop(driver);
    // A kernel tears a ring down in the background.
    let begin = std::time::Instant::now();
    for peer in [&mut waiting, &mut slow, &mut busy, &mut paused, &mut closing] {
        while !(peer.is_ended() || peer.is_reset()) {
            peer.read(1 << 20);
            assert!(begin.elapsed() < std::time::Duration::from_secs(10), "still open");
        }
    }
}
