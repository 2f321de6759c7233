//! Rules 3 and 8 and the clock: `wait` ends when it should, and sleeps when it can.

use std::{
    thread,
    time::{Duration, Instant},
};

use sockeye::reactor::{Completion, Config, Reactor};

use crate::{
    bed::{Backend, Bed, KernelBed, Peer, key},
    driver::{Driver, pattern},
};

pub fn a_waker_is_heard<B: Bed>(driver: &mut Driver<B>) {
    let waker = driver.bed.reactor().waker();
    driver.turns(2);
    assert_eq!(driver.woken, 0);
    waker.wake();
    driver.until("Woken", |driver| driver.woken == 1);
    driver.turns(3);
    assert_eq!(driver.woken, 1);
    // Between two waits, and several times.
    (0..100).for_each(|_| waker.clone().wake());
    driver.until("Woken", |driver| driver.woken >= 2);
    driver.turns(3);
    let woken = driver.woken;
    driver.turns(3);
    assert_eq!(driver.woken, woken);
}

pub fn a_waker_may_outlive_its_reactor<B: Bed>(mut driver: Driver<B>) {
    let waker = driver.bed.reactor().waker();
    drop(driver);
    waker.wake();
}

pub fn another_thread_ends_a_wait<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let reactor = bed.reactor();
    for round in 0..20 {
        let waker = reactor.waker();
        let thread = thread::spawn(move || {
            // Sometimes before the wait begins, sometimes after.
            thread::sleep(Duration::from_millis(round % 4));
            waker.wake();
        });
        let begin = Instant::now();
        loop {
            reactor.wait(None).unwrap();
            if matches!(reactor.next(), Some(Completion::Woken)) {
                break;
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(5));
        thread.join().unwrap();
        assert!(reactor.next().is_none());
    }
}

pub fn a_timeout_may_be_as_long_as_there_is<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let reactor = bed.reactor();
    let day = Duration::from_secs(24 * 3600);
    // Among them those that wrap to nothing when they are counted in milliseconds.
    for timeout in [Duration::MAX, 100 * 365 * day, Duration::from_millis(1 << 32), 50 * day] {
        let waker = reactor.waker();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        let mut waits = 0;
        loop {
            reactor.wait(Some(timeout)).unwrap();
            waits += 1;
            if reactor.next().is_some() {
                break;
            }
        }
        assert!(waits < 5, "{waits} waits in 20 ms");
        thread.join().unwrap();
    }
}

pub fn no_wake_up_of_many_threads_is_lost<B: Backend>(config: &Config) {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    const EACH: usize = 5000;
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let reactor = bed.reactor();
    let mail = Arc::new(AtomicUsize::new(0));
    let threads = (0..4).map(|_| {
        let (mail, waker) = (Arc::clone(&mail), reactor.waker());
        thread::spawn(move || {
            for _ in 0..EACH {
                mail.fetch_add(1, Ordering::AcqRel);
                waker.wake();
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut got = 0;
    while got < 4 * EACH {
        // Without a timeout: a lost wake-up would hang.
        reactor.wait(None).unwrap();
        while let Some(completion) = reactor.next() {
            assert!(matches!(completion, Completion::Woken));
            got += mail.swap(0, Ordering::AcqRel);
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

pub fn a_wait_with_nothing_to_do_sleeps_until_its_timeout<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let (socket, _peer) = bed.pair();
    let reactor = bed.reactor();
    reactor.open(key(0), socket).unwrap();
    let begin = Instant::now();
    let mut waits = 0;
    while begin.elapsed() < Duration::from_millis(100) {
        reactor.wait(Some(Duration::from_millis(20))).unwrap();
        while reactor.next().is_some() {}
        waits += 1;
    }
    // A few may end early.
    assert!(waits <= 10, "{waits} waits in 100 ms");
    assert!(reactor.now() >= Duration::from_millis(90), "{:?}", reactor.now());
    let before = reactor.now();
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(300)] {
        reactor.wait(Some(timeout)).unwrap();
        assert!(reactor.next().is_none());
    }
    assert!(reactor.now() >= before);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

pub fn an_echo_needs_no_timeout<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let (socket, mut peer) = bed.pair();
    let reactor = bed.reactor();
    reactor.open(key(0), socket).unwrap();
    let client = thread::spawn(move || {
        for round in 0..200 {
            let message = pattern(round, 64);
            assert_eq!(peer.write(&message), 64);
            let mut got = Vec::new();
            while got.len() < 64 {
                got.extend(peer.read(64 - got.len()));
                thread::yield_now();
            }
            assert_eq!(got, message);
        }
        peer.shutdown();
    });
    let mut outbox = sockeye::base::Outbox::default();
    'all: loop {
        // Nothing but the completion itself ends this wait.
        reactor.wait(None).unwrap();
        while let Some(completion) = reactor.next() {
            match completion {
                Completion::Received { bytes, .. } => drop(outbox.append(bytes)),
                Completion::Ended { error: None, .. } => break 'all,
                other => panic!("{other:?}"),
            }
            reactor.send(key(0), &mut outbox);
        }
    }
    client.join().unwrap();
}

pub fn a_close_needs_no_timeout<B: Backend>(config: &Config) {
    let Some(mut bed) = KernelBed::<B>::start(config) else { return };
    let pairs: Vec<_> = (0..3).map(|_| bed.pair()).collect();
    let mut peers = Vec::new();
    for (n, (socket, peer)) in (0..).zip(pairs) {
        bed.reactor().open(key(n), socket).unwrap();
        peers.push(peer);
    }
    let mut driver = Driver::new(bed);
    for n in 0..3 {
        driver.sockets.insert(key(n), crate::driver::Seen::default());
    }
    driver.pause(key(1));
    driver.fill(key(2));
    for n in 0..3 {
        driver.close(key(n));
        while !driver.sockets[&key(n)].closed {
            driver.turn_for(Duration::from_secs(3600));
        }
    }
}
