//! Tests of the simulation: that it keeps the contract, and breaks what it is told to.

use super::*;

const KEY: Key = Key::new(0, 0);

fn told(reactor: &mut SimReactor, timeout: Duration) -> Vec<String> {
    reactor.wait(Some(timeout)).unwrap();
    let mut told = Vec::new();
    while let Some(completion) = reactor.next() {
        told.push(format!("{completion:?}"));
    }
    told
}

/// Everything that comes of one connection that is written to and echoes, under all faults.
fn history(seed: u64) -> Vec<String> {
    let network = SimNetwork::new(seed, SimFaults::drawn(seed));
    let mut reactor = network.reactor();
    let (socket, mut peer) = network.pair();
    reactor.open(KEY, socket).unwrap();
    let mut history = Vec::new();
    // Miri takes long to print what came back.
    let (turns, length) = if cfg!(miri) { (4, 100) } else { (50, 1000) };
    for turn in 0..turns {
        peer.write(&[turn; 100]);
        history.extend(told(&mut reactor, Duration::ZERO));
        let mut bytes = Outbox::default();
        bytes.append(&vec![turn; length]);
        reactor.send(KEY, &mut bytes);
        history.push(format!("{:?}", peer.read_at_most(length / 10 * 7).len()));
        network.advance(Duration::from_millis(1));
    }
    history
}

#[test]
fn the_seed_determines_everything() {
    let seeds = if cfg!(miri) { 0..2 } else { 0..20 };
    let all: Vec<_> = seeds.clone().map(history).collect();
    let again: Vec<_> = seeds.map(history).collect();
    assert_eq!(all, again);
    assert!(all.iter().any(|history| *history != all[0]));
}

#[test]
fn time_passes_when_the_test_says_so() {
    let network = SimNetwork::new(0, SimFaults::default());
    let mut reactor = network.reactor();
    assert!(told(&mut reactor, Duration::from_secs(5)).is_empty());
    assert_eq!(reactor.now(), Duration::ZERO);
    network.advance(Duration::from_secs(1));
    assert_eq!(reactor.now(), Duration::ZERO);
    told(&mut reactor, Duration::ZERO);
    assert_eq!(reactor.now(), Duration::from_secs(1));
    network.set_runs_by_itself(true);
    assert!(told(&mut reactor, Duration::MAX).is_empty());
    assert_eq!(reactor.now(), Duration::from_secs(1));
    assert!(told(&mut reactor, Duration::from_secs(2)).is_empty());
    assert_eq!(reactor.now(), Duration::from_secs(3));
}

#[test]
fn a_clock_that_runs_by_itself_goes_to_the_next_arrival_or_timeout() {
    let network = SimNetwork::new(3, SimFaults { delay: 1000, ..SimFaults::default() });
    network.set_runs_by_itself(true);
    let (mut first, mut second) = (network.reactor(), network.reactor());
    let (socket, mut peer) = network.pair();
    first.open(KEY, socket).unwrap();
    peer.write(b"late");
    // The second has not been asked yet, so it may have something to do.
    assert!(told(&mut first, Duration::from_secs(3)).is_empty());
    assert_eq!(network.now(), Duration::ZERO);
    assert!(told(&mut second, Duration::from_secs(2)).is_empty());
    let arrival = network.now();
    assert!(arrival > Duration::ZERO && arrival < Duration::from_millis(50), "{arrival:?}");
    assert_eq!(told(&mut first, Duration::from_secs(3)).len(), 1);
    // The second still waits until its two seconds are over.
    assert!(told(&mut first, Duration::from_secs(3)).is_empty());
    assert_eq!(network.now(), Duration::from_secs(2));
}

#[test]
fn a_network_is_quiet_when_everybody_has_looked() {
    let network = SimNetwork::new(0, SimFaults::default());
    let mut reactor = network.reactor();
    assert!(!network.is_quiet());
    told(&mut reactor, Duration::ZERO);
    assert!(network.is_quiet());
    reactor.waker().wake();
    assert!(!network.is_quiet());
    assert_eq!(told(&mut reactor, Duration::ZERO), ["Woken"]);
    told(&mut reactor, Duration::ZERO);
    let (socket, mut peer) = network.pair();
    reactor.open(KEY, socket).unwrap();
    peer.write(b"x");
    told(&mut reactor, Duration::ZERO);
    assert!(!network.is_quiet());
    told(&mut reactor, Duration::ZERO);
    assert!(network.is_quiet());
}

#[test]
fn memory_that_was_lent_is_overwritten() {
    let network = SimNetwork::new(0, SimFaults::default());
    let mut reactor = network.reactor();
    let (socket, mut peer) = network.pair();
    reactor.open(KEY, socket).unwrap();
    peer.write(b"lent");
    reactor.wait(None).unwrap();
    let Some(Completion::Received { bytes, .. }) = reactor.next() else { panic!("nothing") };
    assert_eq!(bytes, b"lent");
    assert!(reactor.next().is_none());
    assert_eq!(reactor.buffer[..4], [0xdd; 4]);
}

#[test]
#[should_panic(expected = "used again before its `Closed`")]
fn a_slot_must_not_be_used_again_before_it_is_closed() {
    let network = SimNetwork::new(0, SimFaults { late_closed: 1000, ..SimFaults::default() });
    let mut reactor = network.reactor();
    let (first, second) = (network.pair(), network.pair());
    reactor.open(KEY, first.0).unwrap();
    reactor.close(KEY);
    reactor.open(Key::new(0, 1), second.0).unwrap();
}

#[test]
fn a_failed_accept_is_told_once_and_nothing_is_accepted_until_resume() {
    let faults = SimFaults { accept_failed: 1000, ..SimFaults::default() };
    let network = SimNetwork::new(0, faults);
    let mut reactor = network.reactor();
    reactor.listen(7, network.listener(80)).unwrap();
    let _peer = network.connect(80);
    let failed = told(&mut reactor, Duration::ZERO);
    assert!(failed.len() == 1 && failed[0].starts_with("AcceptFailed"), "{failed:?}");
    network.set_faults(SimFaults::default());
    assert!(told(&mut reactor, Duration::ZERO).is_empty());
    reactor.resume_accept(7);
    let accepted = told(&mut reactor, Duration::ZERO);
    assert!(accepted.len() == 1 && accepted[0].starts_with("Accepted"), "{accepted:?}");
}

#[test]
fn a_reset_ends_receiving_and_sending() {
    let network = SimNetwork::new(0, SimFaults::default());
    let mut reactor = network.reactor();
    let (socket, mut peer) = network.pair();
    reactor.open(KEY, socket).unwrap();
    network.set_faults(SimFaults { reset: 1000, ..SimFaults::default() });
    peer.write(b"never received");
    let ended = told(&mut reactor, Duration::ZERO);
    assert!(ended.len() == 1 && ended[0].contains("Connection reset"), "{ended:?}");
    let mut bytes = Outbox::default();
    bytes.append(b"never sent");
    reactor.send(KEY, &mut bytes);
    let unsent = told(&mut reactor, Duration::ZERO);
    assert!(unsent.len() == 1 && unsent[0].contains("Connection reset"), "{unsent:?}");
    assert!(peer.was_reset());
}

#[test]
fn several_reactors_share_a_port() {
    let network = SimNetwork::new(1, SimFaults::default());
    let mut reactors = [network.reactor(), network.reactor()];
    for reactor in &mut reactors {
        reactor.listen(0, network.listener(80)).unwrap();
    }
    let _peers: Vec<_> = (0..100).map(|_| network.connect(80)).collect();
    let accepted = reactors.each_mut().map(|reactor| told(reactor, Duration::ZERO).len());
    assert_eq!(accepted[0] + accepted[1], 100);
    assert!(accepted.iter().all(|count| *count > 20), "{accepted:?}");
    reactors[0].unlisten(0);
    let _late = network.connect(80);
    assert_eq!(told(&mut reactors[1], Duration::ZERO).len(), 1);
    reactors[1].unlisten(0);
    assert!(network.connect(80).is_closed());
}

#[test]
fn closing_with_unread_bytes_may_cost_the_peer_what_it_has_not_read() {
    let faults = SimFaults { reset_on_close: 1000, ..SimFaults::default() };
    for unread in [false, true] {
        let network = SimNetwork::new(0, faults);
        let mut reactor = network.reactor();
        let (socket, mut peer) = network.pair();
        reactor.open(KEY, socket).unwrap();
        let mut bytes = Outbox::default();
        bytes.append(b"answer");
        reactor.send(KEY, &mut bytes);
        if unread {
            peer.write(b"more of the request");
        }
        reactor.close(KEY);
        told(&mut reactor, Duration::ZERO);
        assert_eq!(peer.was_reset(), unread);
        assert_eq!(peer.read(), if unread { &b""[..] } else { b"answer" });
        assert!(peer.is_closed());
        assert_eq!(network.open_sockets(), 0);
    }
}
