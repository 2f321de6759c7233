//! Rule 7: a paused socket receives little, and loses nothing.

use sockeye::reactor::MAX_RECEIVE_AHEAD;

use crate::{
    bed::{Bed, Peer, key},
    driver::{Driver, assert_same, pattern},
};

pub fn a_paused_socket_receives_a_bounded_amount<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.write_all(&mut peer, b"before");
    driver.until_received(key(0), 6);
    driver.pause(key(0));
    driver.turn();
    let all = pattern(0, 4 * B::MEBIBYTE);
    let mut written = 0;
    for _ in 0..50 {
        written += peer.write(&all[written..]);
        driver.turn();
    }
    let ahead = driver.sockets[&key(0)].received_while_paused;
    assert!(ahead <= MAX_RECEIVE_AHEAD, "{ahead} bytes");
    driver.resume(key(0));
    driver.until("the rest", |driver| {
        written += peer.write(&all[written..]);
        driver.sockets[&key(0)].received.len() == 6 + all.len()
    });
    assert_same(&driver.sockets[&key(0)].received[6..], &all);
}

pub fn a_socket_paused_amid_data_receives_a_bounded_amount<B: Bed>(driver: &mut Driver<B>) {
    for n in 0..10 {
        let mut peer = driver.open(key(n));
        let all = pattern(0, 4 * B::MEBIBYTE);
        let mut written = 0;
        driver.until("some bytes", |driver| {
            written += peer.write(&all[written..]);
            driver.sockets[&key(n)].received.len() >= 1000
        });
        driver.pause(key(n));
        for _ in 0..20 {
            written += peer.write(&all[written..]);
            driver.turn();
        }
        let ahead = driver.sockets[&key(n)].received_while_paused;
        assert!(ahead <= MAX_RECEIVE_AHEAD, "{ahead} bytes");
        driver.resume(key(n));
        driver.until("the rest", |driver| {
            written += peer.write(&all[written..]);
            driver.sockets[&key(n)].received.len() == all.len()
        });
        assert_same(&driver.sockets[&key(n)].received, &all);
    }
}

pub fn pausing_back_and_forth_loses_nothing<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let all = pattern(0, 2 * B::MEBIBYTE);
    let (mut written, mut round) = (0, 0);
    driver.until("everything", |driver| {
        round += 1;
        let end = (written + 20_000).min(all.len());
        written += peer.write(&all[written..end]);
        // All orders of the two, with and without a turn between them.
        for step in 0..round % 4 {
            if (round + step) % 2 == 0 {
                driver.pause(key(0));
            } else {
                driver.resume(key(0));
            }
            if round % 3 == 0 {
                driver.turn();
            }
        }
        driver.resume(key(0));
        driver.sockets[&key(0)].received.len() == all.len()
    });
    assert_same(&driver.sockets[&key(0)].received, &all);
}

pub fn pausing_and_resuming_twice_is_like_once<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.pause(key(0));
    driver.pause(key(0));
    driver.turn();
    driver.pause(key(0));
    driver.turn();
    driver.resume(key(0));
    driver.resume(key(0));
    driver.turn();
    driver.resume(key(0));
    driver.write_all(&mut peer, b"once");
    driver.until_received(key(0), 4);
    driver.turns(3);
    assert_eq!(driver.sockets[&key(0)].received, b"once");
}

pub fn the_peers_end_is_not_lost_while_paused<B: Bed>(driver: &mut Driver<B>) {
    for (n, breaks) in [(0, false), (1, true)] {
        let mut peer = driver.open(key(n));
        driver.turn();
        driver.pause(key(n));
        driver.turns(2);
        driver.write_all(&mut peer, b"last words");
        if breaks {
            peer.reset();
        } else {
            peer.shutdown();
        }
        driver.turns(5);
        driver.resume(key(n));
        driver.until_ended(key(n));
        let seen = &driver.sockets[&key(n)];
        assert_eq!(seen.ended.unwrap().is_some(), breaks);
        if !breaks {
            assert_eq!(seen.received, b"last words");
        }
    }
}

pub fn a_paused_socket_sends<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.pause(key(0));
    driver.send(key(0), b"unasked");
    driver.expect(&mut peer, b"unasked");
    let all = driver.fill(key(0));
    driver.expect(&mut peer, &all);
    driver.shutdown(key(0));
    driver.until_over(&mut peer);
}
