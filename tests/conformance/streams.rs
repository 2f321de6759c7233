//! Rules 3 and 4: bytes arrive and leave, all of them, in order.

use sockeye::{
    base::{Outbox, Shared},
    reactor::Reactor,
};

use crate::{
    bed::{Bed, Peer, key},
    driver::{Driver, assert_same, pattern},
};

pub fn a_line_is_echoed<B: Bed>(driver: &mut Driver<B>) {
    driver.echoes = true;
    let mut peer = driver.open(key(3));
    driver.write_all(&mut peer, b"first contact");
    driver.expect(&mut peer, b"first contact");
    assert_eq!(driver.sockets[&key(3)].received, b"first contact");
}

pub fn many_small_messages_keep_their_order<B: Bed>(driver: &mut Driver<B>) {
    driver.echoes = true;
    let mut peer = driver.open(key(0));
    let all = pattern(0, 2000 * 7);
    let mut echoed = Vec::new();
    for message in all.chunks(7) {
        driver.write_all(&mut peer, message);
        driver.turn();
        echoed.extend(peer.read(1 << 20));
    }
    driver.until("all echoes", |_| {
        echoed.extend(peer.read(1 << 20));
        echoed.len() >= all.len()
    });
    assert_same(&echoed, &all);
    assert_same(&driver.sockets[&key(0)].received, &all);
}

pub fn bytes_that_came_before_open_are_received<B: Bed>(driver: &mut Driver<B>) {
    let (socket, mut peer) = driver.bed.pair();
    peer.write(b"early");
    peer.shutdown();
    driver.open_socket(key(1), socket);
    driver.until_ended(key(1));
    assert_eq!(driver.sockets[&key(1)].received, b"early");
    assert_eq!(driver.sockets[&key(1)].ended, Some(None));
}

pub fn a_large_transfer_is_received_in_order<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let all = pattern(0, 8 * B::MEBIBYTE);
    driver.write_all(&mut peer, &all);
    peer.shutdown();
    driver.until_ended(key(0));
    assert_same(&driver.sockets[&key(0)].received, &all);
}

pub fn what_is_received_straight_into_a_place_is_in_order_too<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let all = pattern(0, 8 * B::MEBIBYTE);
    let mut written = 0;
    for turn in 0.. {
        driver.gulp = [0, 9, 20_000, 100_000, 1 << 20][turn % 5];
        written += peer.write(&all[written..]);
        if written == all.len() {
            break;
        }
        driver.turn();
    }
    peer.shutdown();
    driver.until_ended(key(0));
    assert_eq!(driver.sockets[&key(0)].ended, Some(None));
    assert_same(&driver.sockets[&key(0)].received, &all);
    assert!(driver.gulped > 0 || !B::RECEIVES_INTO, "nothing came that way");
}

pub fn nothing_is_received_into_a_place_without_room<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.write_all(&mut peer, &pattern(0, 200_000));
    driver.until_received(key(0), 1);
    let mut full = Vec::new();
    assert_eq!(driver.bed.reactor().receive_into(key(0), &mut full, 100), 0);
    full.reserve(100);
    assert_eq!(driver.bed.reactor().receive_into(key(0), &mut full, 0), 0);
    assert_eq!(driver.bed.reactor().receive_into(key(9), &mut full, 100), 0, "nobody's");
    driver.until_received(key(0), 200_000);
    assert_same(&driver.sockets[&key(0)].received, &pattern(0, 200_000));
}

pub fn connections_do_not_mix<B: Bed>(driver: &mut Driver<B>) {
    driver.echoes = true;
    let mut peers: Vec<_> = (0..50).map(|n| driver.open(key(n))).collect();
    for round in 0..20 {
        for (n, peer) in peers.iter_mut().enumerate() {
            driver.write_all(peer, &pattern(n * 1000 + round * 50, 50));
        }
        driver.turn();
    }
    for (n, peer) in peers.iter_mut().enumerate() {
        driver.expect(peer, &pattern(n * 1000, 1000));
    }
}

pub fn two_hundred_sockets_with_much_data_lose_nothing<B: Bed>(driver: &mut Driver<B>) {
    let data: Vec<_> = (0..200).map(|n| pattern(n * 7, B::MEBIBYTE / 7)).collect();
    let mut peers: Vec<_> = (0..200).map(|n| driver.open(key(n))).collect();
    let mut written = vec![0; peers.len()];
    driver.until("everything received", |driver| {
        // The peers are ahead of the reactor, so that its buffers run out.
        for (n, peer) in peers.iter_mut().enumerate() {
            written[n] += peer.write(&data[n][written[n]..]);
        }
        driver.sockets.values().all(|seen| seen.received.len() == B::MEBIBYTE / 7)
    });
    for (seen, data) in driver.sockets.values().zip(&data) {
        assert_same(&seen.received, data);
    }
}

pub fn no_socket_is_starved_by_a_busy_one<B: Bed>(driver: &mut Driver<B>) {
    driver.forgets = true;
    let mut busy: Vec<_> = (0..20).map(|n| driver.open(key(n))).collect();
    let mut quiet = driver.open(key(20));
    let bytes = pattern(0, B::MEBIBYTE);
    for _ in 0..20 {
        for peer in &mut busy {
            peer.write(&bytes);
        }
        driver.turn();
    }
    quiet.write(b"here I am");
    let mut turns = 0;
    driver.until("the quiet one's turn", |driver| {
        for peer in &mut busy {
            peer.write(&bytes);
        }
        turns += 1;
        driver.sockets[&key(20)].received_count > 0
    });
    assert!(turns < 300, "{turns} turns");
}

pub fn the_peer_may_end_its_direction_first<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.write_all(&mut peer, b"request");
    peer.shutdown();
    driver.until_ended(key(0));
    assert_eq!(driver.sockets[&key(0)].ended, Some(None));
    driver.send(key(0), b"answer");
    driver.expect(&mut peer, b"answer");
    assert!(!peer.is_ended());
    driver.close(key(0));
    driver.until_closed(key(0));
    driver.until_over(&mut peer);
    assert!(!peer.is_reset());
}

pub fn the_server_may_end_its_direction_first<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.send(key(0), b"last words");
    driver.shutdown(key(0));
    driver.expect(&mut peer, b"last words");
    driver.until_over(&mut peer);
    assert!(peer.is_ended() && !peer.is_reset());
    driver.write_all(&mut peer, b"still listening?");
    driver.until_received(key(0), 16);
    peer.shutdown();
    driver.until_ended(key(0));
    assert_eq!(driver.sockets[&key(0)].ended, Some(None));
    // Nothing can be sent after a shutdown.
    driver.send(key(0), b"too late");
    driver.until("refusal", |driver| driver.sockets[&key(0)].send_error.is_some());
}

pub fn a_broken_connection_ends_with_an_error<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.write_all(&mut peer, b"abc");
    driver.until_received(key(0), 3);
    peer.reset();
    driver.until_ended(key(0));
    let error = driver.sockets[&key(0)].ended.unwrap();
    assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset));
    driver.close(key(0));
    driver.until_closed(key(0));
}

pub fn a_single_send_may_be_large<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let all = pattern(0, 16 * B::MEBIBYTE);
    driver.send(key(0), &all);
    driver.expect(&mut peer, &all);
    driver.until_sent(key(0));
    driver.send_shared(key(0), &Shared::from(&all[..]));
    driver.send(key(0), b"and more");
    driver.expect(&mut peer, &[&all[..], b"and more"].concat());
}

pub fn many_sends_of_one_turn_keep_their_order<B: Bed>(driver: &mut Driver<B>) {
    let mut peers: Vec<_> = (0..20).map(|n| driver.open(key(n))).collect();
    for round in 0..50 {
        for n in 0..20 {
            driver.send(key(n), &pattern(round * 100, 100));
        }
    }
    for peer in &mut peers {
        driver.expect(peer, &pattern(0, 5000));
    }
}

pub fn sends_of_many_sizes_keep_their_order<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let (mut sent, mut got) = (0, Vec::new());
    // Around the sizes from which on a backend does otherwise.
    for size in [1, 4096, 16_383, 16_384, 16_385, 7, 65_535, 65_536, 65_537, 100_000, 3] {
        driver.send(key(0), &pattern(sent, size));
        sent += size;
        // And a small one in the same turn: it must neither overtake nor be overtaken.
        driver.send(key(0), &pattern(sent, 5));
        sent += 5;
        if sent % 3 == 0 {
            driver.turn();
        }
        got.extend(peer.read(1 << 20));
    }
    driver.until("all bytes", |_| {
        got.extend(peer.read(1 << 20));
        got.len() >= sent
    });
    assert_same(&got, &pattern(0, sent));
}

pub fn a_gathered_send_may_have_many_pieces<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    // Two thousand pieces are more than one system call takes.
    for pieces in [2, 16, 17, 63, 64, 65, 200, 2000] {
        let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
        for n in 0..pieces {
            let bytes = pattern(n * 3, 50);
            outbox.push_shared(Shared::from(&bytes[..]), 0);
            expected.extend(bytes);
            if n % 2 == 0 {
                expected.extend_from_slice(outbox.append(b"between"));
            }
        }
        driver.send_outbox(key(0), outbox);
        // In the same turn: it must not go before pieces that took a second call.
        driver.send(key(0), b"the next send");
        expected.extend_from_slice(b"the next send");
        driver.expect(&mut peer, &expected);
    }
}

pub fn a_range_of_a_shared_buffer_is_sent<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    let bytes = Shared::from(&pattern(0, 10_000)[..]);
    let mut outbox = Outbox::default();
    outbox.push_shared_range(bytes.clone(), 10..5000);
    outbox.push_shared_range(bytes.clone(), 9000..9001);
    driver.send_outbox(key(0), outbox);
    driver.expect(&mut peer, &[&bytes[10..5000], &bytes[9000..9001]].concat());
}

pub fn one_buffer_goes_to_many<B: Bed>(driver: &mut Driver<B>) {
    let mut peers: Vec<_> = (0..200).map(|n| driver.open(key(n))).collect();
    let small = Shared::from(&b"to all of you"[..]);
    let large = Shared::from(&pattern(5, B::MEBIBYTE / 10)[..]);
    for n in 0..200 {
        driver.send_shared(key(n), &small);
    }
    for n in 0..200 {
        driver.send_shared(key(n), &large);
        driver.send_shared(key(n), &small);
    }
    let expected = [&small[..], &large, &small].concat();
    drop((small, large));
    for peer in &mut peers {
        driver.expect(peer, &expected);
    }
}

pub fn nothing_to_send_is_no_send<B: Bed>(driver: &mut Driver<B>) {
    let mut peer = driver.open(key(0));
    driver.send(key(0), b"");
    driver.send_shared(key(0), &Shared::from(&b""[..]));
    driver.turns(3);
    driver.send(key(0), b"something");
    driver.expect(&mut peer, b"something");
}

pub fn received_bytes_may_be_changed_in_place<B: Bed>(driver: &mut Driver<B>) {
    use sockeye::reactor::Completion;
    let mut peer = driver.open(key(0));
    let mut received = 0;
    assert_eq!(peer.write(&[1; 10_000]), 10_000);
    while received < 10_000 {
        driver.bed.pause_between_turns();
        let timeout = Some(std::time::Duration::from_secs(5));
        driver.bed.reactor().wait(timeout).unwrap();
        while let Some(completion) = driver.bed.reactor().next() {
            let Completion::Received { bytes, .. } = completion else { continue };
            received += bytes.len();
            // Each piece is new: what was done to the one before is not seen.
            assert!(bytes.iter().all(|byte| *byte == 1));
            bytes.fill(2);
        }
    }
    assert_eq!(received, 10_000);
}

/// The queue of requests is as good as full when the send comes, for each count near that.
pub fn a_send_finds_room_in_a_full_queue<B: Bed>(driver: &mut Driver<B>) {
    let mut peers: Vec<_> = (0..270).map(|n| driver.open(key(n))).collect();
    let mut expected = Vec::new();
    for requests in 250..=258 {
        // A kernel may finish only some of the requests in each turn.
        driver.turns(20);
        // To pause a socket that receives is one request to the kernel.
        (0..requests).for_each(|n| driver.pause(key(n)));
        let bytes = pattern(expected.len(), 5000);
        driver.send(key(268), &bytes);
        // If the bytes had been let go of, these would be where they were.
        (0..4).for_each(|_| driver.send(key(269), &[0xee; 5000]));
        driver.turns(20);
        expected.extend(bytes);
        (0..requests).for_each(|n| driver.resume(key(n)));
        peers[269].read(1 << 20);
    }
    driver.expect(&mut peers[268], &expected);
}
