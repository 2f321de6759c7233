//! Workers that come late to their turns, or find more to do than a turn has room for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sockeye::{Limits, WebSocketConfig};

use crate::support::{Frame, Log, On, Peer, Puppet, frame, numbered, scenarios};

scenarios!(
    nobody_is_suspected_after_a_gap,
    a_request_is_not_late_because_the_server_was,
    letters_that_came_while_others_waited_are_opened,
);

/// Answers pings until a text comes.
#[track_caller]
fn read_text(peer: &mut Peer) -> String {
    loop {
        let frame = peer.frame();
        match frame.opcode {
            Frame::PING => peer.write(&crate::support::frame(Frame::PONG, &frame.payload)),
            _ => return String::from_utf8(frame.payload).unwrap(),
        }
    }
}

fn nobody_is_suspected_after_a_gap(on: On) {
    let log = Log::default();
    let config =
        WebSocketConfig { idle_timeout: Duration::from_secs(1), ..WebSocketConfig::default() };
    let bed = on.bed().serve(Puppet::app_with(&log, config));
    let mut peers: Vec<Peer> = (0..6).map(|_| bed.open("/")).collect();
    let writes: Vec<Vec<u8>> =
        (0..3).map(|part| frame(Frame::TEXT, format!("say {part}").as_bytes())).collect();
    bed.hold_up(Duration::from_secs(3), || {
        // Half of them say something meanwhile, which nobody reads before the gap is over.
        peers.iter_mut().step_by(2).for_each(|peer| peer.write(&writes.concat()));
    });
    for peer in peers.iter_mut().step_by(2) {
        for part in 0..3 {
            assert_eq!(read_text(peer), part.to_string());
        }
    }
    // The other half has not been asked, and answers when it is.
    for peer in &mut peers {
        peer.text("say alive");
        assert_eq!(read_text(peer), "alive");
    }
    assert_eq!(bed.stats().idle_timeouts, 0);
    // Who does not answer is found out all the same.
    bed.wait_for_stats("all are silent", |stats| stats.websockets == 0);
    assert_eq!(bed.stats().idle_timeouts, 6);
}

fn a_request_is_not_late_because_the_server_was(on: On) {
    let log = Log::default();
    let limits = Limits { header_timeout: Duration::from_secs(1), ..Limits::default() };
    let bed = on.bed().limits(limits).serve(Puppet::app(&log));
    let request = crate::support::handshake("/", "");
    let mut peer = bed.connect();
    peer.write(&request[..20]);
    bed.pass(Duration::from_millis(50));
    bed.hold_up(Duration::from_secs(3), || peer.write(&request[20..]));
    peer.expect_switch();
}

fn letters_that_came_while_others_waited_are_opened(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open_narrow("/");
    peer.text("subscribe news");
    peer.expect_text("subscribe: Ok(true)");
    let (opened, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&seen);
    // While the worker is held up, more is published than three turns have room for; in the first
    // of them, another letter is posted. The peer does not read, so that nothing else wakes.
    let (remote, message) = (bed.remote(), numbered(0, 1 << 20));
    bed.hold_up(Duration::from_millis(200), || {
        let mine = Arc::clone(&opened);
        remote
            .run_on(0, move |context| {
                mine.store(true, Ordering::Relaxed);
                let post = move |_: &mut sockeye::Context<'_>| flag.store(true, Ordering::Relaxed);
                context.remote().run_on(0, post).unwrap();
            })
            .unwrap();
        for _ in 0..12 {
            remote.publish("news", &message).unwrap();
        }
    });
    bed.wait_until("the first letter is opened", || opened.load(Ordering::Relaxed));
    let start = bed.clock();
    bed.wait_until("the last letter is opened", || seen.load(Ordering::Relaxed));
    // The timer that the connection had for its request would wake the worker after ten.
    assert!(bed.clock() - start < Duration::from_secs(5), "{:?}", bed.clock() - start);
}
