//! Peers that take more than their share of the one worker: the others' p99 stays below 20 ms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    MAX_P99, alone, descriptors_at_rest, expect_rest, p99_beside,
    support::{
        Frame, Peer, frame, numbered,
        process::{Process, cases},
    },
};

cases!(
    floods_that_nobody_reads,
    a_topic_floods_and_nobody_reads,
    pings_flood,
    echoes_flood_and_are_read,
);

fn report(case: &str, backend: &str, p99: Duration, cost: u64) {
    eprintln!("{case}, {backend}: p99 {p99:?} of the others, {} KiB in all", cost >> 10);
    assert!(p99 < MAX_P99, "{p99:?}");
}

/// 20 peers send all they can, and read nothing: 400 KiB each is the bound.
fn floods_that_nobody_reads(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    let before = process.settled_memory();
    for length in [20, 1000, 60_000] {
        let bytes = frame(Frame::BINARY, &numbered(7, length)).repeat(16_000_000 / length);
        let mut peers: Vec<Peer> = (0..20).map(|_| process.open_narrow("/")).collect();
        peers.iter_mut().for_each(|peer| peer.pour(bytes.clone()));
        let p99 = p99_beside(&process);
        let cost = process.settled_memory().saturating_sub(before);
        report(&format!("a flood of {length} bytes"), backend, p99, cost);
        assert!(cost < 20 * 400 << 10, "{cost}");
        peers.into_iter().for_each(Peer::reset);
    }
    expect_rest(&process, base);
}

/// 100 subscribers read nothing while a topic floods: 100 KiB each is the bound.
fn a_topic_floods_and_nobody_reads(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    let mut slow: Vec<Peer> = (0..100).map(|_| process.open_narrow("/")).collect();
    for peer in &mut slow {
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
    }
    let before = process.settled_memory();
    let stop = Arc::new(AtomicBool::new(false));
    let (address, is_over) = (process.address, Arc::clone(&stop));
    let flood = thread::spawn(move || {
        let mut writer = Peer::real(address, None);
        writer.upgrade("/");
        // As fast as it is taken; a question in between, so that its own commands do not pile up.
        while !is_over.load(Ordering::Relaxed) {
            writer.text("publish_many news 10 1000\nsay next");
            writer.expect_text("next");
        }
    });
    let p99 = p99_beside(&process);
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    let cost = process.settled_memory().saturating_sub(before);
    report("a topic's flood", backend, p99, cost);
    assert!(cost < 100 * 100 << 10, "{cost}");
    slow.into_iter().for_each(Peer::reset);
    expect_rest(&process, base);
}

/// Ten peers send nothing but pings; beyond a thousand in a second they wait.
fn pings_flood(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    let before = process.settled_memory();
    let bytes = frame(Frame::PING, &[7; 125]).repeat(100_000);
    let mut peers: Vec<Peer> = (0..10).map(|_| process.open("/")).collect();
    peers.iter_mut().for_each(|peer| peer.pour(bytes.clone()));
    let p99 = p99_beside(&process);
    let cost = process.settled_memory().saturating_sub(before);
    report("a flood of pings", backend, p99, cost);
    assert!(cost < 10 * 400 << 10, "{cost}");
    peers.into_iter().for_each(Peer::reset);
    expect_rest(&process, base);
}

/// Peers with 64 KiB on their way all the time, which they do read.
fn echoes_flood_and_are_read(backend: &str) {
    let _alone = alone();
    let Some(process) = Process::start(backend, 1000) else { return };
    let base = descriptors_at_rest(&process);
    let before = process.settled_memory();
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let (address, is_over) = (process.address, Arc::clone(&stop));
            let message = numbered(7, 16 << 10);
            thread::spawn(move || {
                let mut peer = Peer::real(address, None);
                peer.upgrade("/");
                while !is_over.load(Ordering::Relaxed) {
                    (0..4).for_each(|_| peer.binary(&message));
                    (0..4).for_each(|_| peer.expect_frame(Frame::BINARY, &message));
                }
            })
        })
        .collect();
    let p99 = p99_beside(&process);
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    let cost = process.settled_memory().saturating_sub(before);
    report("a flood of echoes", backend, p99, cost);
    assert!(cost < 4 * 400 << 10, "{cost}");
    expect_rest(&process, base);
}
