//! The end of a server: what was sent arrives, everyone is told, and nobody is waited for too long.

use std::{sync::mpsc, time::Duration};

use sockeye::{App, Context, Response};

use crate::support::{
    Bed, End, Frame, Log, On, Peer, Puppet, frame, get, handshake, numbered, scenarios,
};

scenarios!(
    everything_sent_before_arrives,
    a_shutdown_under_load,
    who_does_not_answer_is_dropped,
    a_second_shutdown_shortens_the_time,
    a_second_shutdown_does_not_lengthen_the_time,
    a_slow_reader_has_the_grace_to_read,
    requests_are_answered,
    nobody_is_accepted_any_more,
    who_comes_too_late_is_not_waited_for,
    a_server_without_connections_ends_at_once,
    nothing_can_be_posted_afterwards,
);

const LONG: Duration = Duration::from_secs(8);

fn app(log: &Log) -> impl Fn() -> App + Send + Sync + 'static {
    let log = log.clone();
    move || App::new().websocket("/*", Puppet::new(&log)).get("/page", |_| Response::text("page"))
}

#[track_caller]
fn expect_farewell(peer: &mut Peer) {
    peer.expect_close(1001, "the server is shutting down");
    peer.write_if_possible(&frame(Frame::CLOSE, &1001_u16.to_be_bytes()));
    peer.expect_goodbye();
}

#[track_caller]
fn expect_end_of_server(bed: &Bed) {
    bed.wait_until("the server has ended", || bed.has_ended());
}

fn everything_sent_before_arrives(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(2).serve(app(&log));
    let mut peers: Vec<Peer> = (0..6).map(|n| bed.open_on(n % 2, &format!("/?name={n}"))).collect();
    for peer in &mut peers {
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
    }
    let remote = bed.remote();
    for number in 0..50 {
        remote.publish("news", &numbered(number, 500)).unwrap();
    }
    remote.send(log.id("3"), "and you").unwrap();
    remote.shutdown(LONG);
    for (name, peer) in peers.iter_mut().enumerate() {
        for number in 0..50 {
            assert_eq!(peer.frame().payload, numbered(number, 500));
        }
        if name == 3 {
            peer.expect_text("and you");
        }
        expect_farewell(peer);
    }
    drop(peers);
    expect_end_of_server(&bed);
    assert_eq!(log.lines().iter().filter(|line| line.contains(" close 1001 clean")).count(), 6);
}

fn a_shutdown_under_load(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut peers: Vec<Peer> = (0..5).map(|_| bed.open("/")).collect();
    let count = 300;
    for peer in &mut peers {
        let bytes = (0..count).flat_map(|number| frame(Frame::BINARY, &numbered(number, 1000)));
        peer.pour(bytes.collect());
    }
    bed.wait_for_stats("there is traffic", |stats| stats.messages_in > 10);
    bed.remote().shutdown(LONG);
    for peer in &mut peers {
        // What was echoed before comes in order and without a gap, and then the farewell.
        let mut number = 0;
        loop {
            let frame = peer.frame();
            if frame.opcode == Frame::CLOSE {
                assert_eq!(frame.payload[..2], 1001_u16.to_be_bytes());
                break;
            }
            assert_eq!(frame.payload, numbered(number, 1000));
            number += 1;
        }
        peer.write_if_possible(&frame(Frame::CLOSE, &1001_u16.to_be_bytes()));
    }
    drop(peers);
    expect_end_of_server(&bed);
}

fn who_does_not_answer_is_dropped(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut peer = bed.open("/?name=silent");
    let mut polite = bed.open("/?name=polite");
    let start = bed.clock();
    bed.remote().shutdown(Duration::from_millis(300));
    expect_farewell(&mut polite);
    peer.expect_close(1001, "the server is shutting down");
    peer.read_to_end();
    expect_end_of_server(&bed);
    let time = bed.clock() - start;
    assert!((290..2000).contains(&time.as_millis()), "{time:?}");
    log.wait_for(&bed, "silent close 1006 unclean the server has shut down");
    log.wait_for(&bed, "polite close 1001 clean");
}

fn a_second_shutdown_shortens_the_time(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut peer = bed.open("/");
    let start = bed.clock();
    bed.remote().shutdown(Duration::from_secs(60));
    peer.expect_close(1001, "the server is shutting down");
    bed.remote().shutdown(Duration::ZERO);
    peer.read_to_end();
    expect_end_of_server(&bed);
    assert!((bed.clock() - start).as_millis() < 2000);
}

fn a_second_shutdown_does_not_lengthen_the_time(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut peer = bed.open("/");
    let start = bed.clock();
    bed.remote().shutdown(Duration::from_millis(200));
    bed.remote().shutdown(Duration::from_secs(60));
    peer.expect_close(1001, "the server is shutting down");
    peer.read_to_end();
    expect_end_of_server(&bed);
    assert!((bed.clock() - start).as_millis() < 2000);
}

fn a_slow_reader_has_the_grace_to_read(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut peer = bed.open_narrow("/");
    let count = if on.is_simulated() { 60 } else { 5000 };
    peer.text(&format!("send {count} 1000"));
    log.wait_for(&bed, "sent");
    bed.remote().shutdown(LONG);
    bed.pass(Duration::from_millis(50));
    for number in 0..count {
        assert_eq!(peer.frame().payload, numbered(number, 1000));
    }
    expect_farewell(&mut peer);
    drop(peer);
    expect_end_of_server(&bed);
}

fn requests_are_answered(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut idle = bed.connect();
    idle.write(&get("/page", ""));
    idle.expect_status(200);
    let mut busy = bed.connect();
    busy.write(&get("/page", "").repeat(20));
    for _ in 0..20 {
        busy.expect_status(200);
    }
    bed.remote().shutdown(LONG);
    idle.expect_end(End::Fin);
    busy.expect_end(End::Fin);
    drop((idle, busy));
    expect_end_of_server(&bed);
}

fn nobody_is_accepted_any_more(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut peer = bed.open("/");
    let start = bed.clock();
    bed.remote().shutdown(LONG);
    peer.expect_close(1001, "the server is shutting down");
    // Refused at once; in the moment in between, dropped.
    if on.is_simulated() {
        let mut late = bed.connect();
        late.write_if_possible(&handshake("/", ""));
        assert_eq!(late.read_to_end().0, b"");
    } else {
        let late = std::net::TcpStream::connect(bed.address());
        assert!(late.is_err(), "nobody listens");
    }
    peer.write(&frame(Frame::CLOSE, b""));
    peer.expect_goodbye();
    drop(peer);
    expect_end_of_server(&bed);
    assert!(bed.clock() - start < LONG / 2, "nobody else was waited for");
}

fn who_comes_too_late_is_not_waited_for(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let start = bed.clock();
    // The worker is held up, so that it learns of both at the same time.
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let hold = move |_: &mut Context<'_>| {
        let _ = begun.send(());
        let _ = released.recv();
    };
    if !on.is_simulated() {
        bed.remote().run_on(0, hold).unwrap();
        has_begun.recv().unwrap();
    }
    let mut late = bed.connect();
    bed.remote().shutdown(LONG);
    drop(release);
    late.read_to_end();
    expect_end_of_server(&bed);
    assert!(bed.clock() - start < LONG / 2, "nobody is waited for");
}

fn a_server_without_connections_ends_at_once(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(3).serve(app(&log));
    let start = bed.clock();
    bed.remote().shutdown(Duration::from_secs(60));
    expect_end_of_server(&bed);
    assert!((bed.clock() - start).as_millis() < 2000);
}

fn nothing_can_be_posted_afterwards(on: On) {
    use sockeye::SendError::Closed;
    let log = Log::default();
    let bed = on.bed().serve(app(&log));
    let mut peer = bed.open("/?name=a");
    peer.text("say hello");
    peer.expect_text("hello");
    let (id, remote) = (log.id("a"), bed.remote());
    remote.shutdown(Duration::ZERO);
    peer.read_to_end();
    expect_end_of_server(&bed);
    assert_eq!(remote.send(id, "hello?"), Err(Closed));
    assert_eq!(remote.publish("news", "hello?"), Err(Closed));
    assert_eq!(remote.abort(id), Err(Closed));
    assert_eq!(remote.total_stats().websockets, 0);
    assert_eq!(remote.total_stats().connections, 0);
    remote.shutdown(Duration::ZERO);
}
