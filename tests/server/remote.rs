//! What other threads can do: functions that run on a worker, with its handlers.

use std::sync::mpsc;

use sockeye::{App, Message, Request, SendError, Upgrade, WebSocket, WebSocketHandler, on_message};

use crate::support::{Log, ON_PURPOSE, On, Puppet, scenarios};

scenarios!(
    what_one_thread_asks_for_is_done_in_its_order,
    functions_run_on_their_worker,
    functions_get_the_handler_of_their_type,
    handlers_ask_each_other,
    functions_may_panic,
    each_worker_has_its_counts,
);

fn what_one_thread_asks_for_is_done_in_its_order(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let mut peer = bed.open("/?name=a");
    peer.text("subscribe news");
    peer.expect_text("subscribe: Ok(true)");
    let (id, remote) = (log.id("a"), bed.remote());
    for round in 0..50 {
        remote.send(id, &format!("{round} 1")).unwrap();
        remote.publish("news", &format!("{round} 2")).unwrap();
        remote
            .run_on(0, move |context| {
                context.publish("news", &format!("{round} 3"));
                assert!(context.send(id, &format!("{round} 4")).is_accepted());
            })
            .unwrap();
        remote.send(id, &format!("{round} 5")).unwrap();
    }
    for round in 0..50 {
        for number in 1..=5 {
            peer.expect_text(&format!("{round} {number}"));
        }
    }
}

fn functions_run_on_their_worker(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(3).serve(Puppet::app(&log));
    for worker in 0..3 {
        assert_eq!(bed.on_worker(worker, |context| context.worker()), worker);
        assert_eq!(bed.on_worker(worker, |context| context.remote().worker_count()), 3);
        let mut peer = bed.open_on(worker, "/");
        peer.text("subscribe news");
        peer.expect_text("subscribe: Ok(true)");
        for other in 0..3 {
            let count = bed.on_worker(other, |context| context.subscriber_count("news"));
            assert_eq!(count, usize::from(other == worker));
        }
        drop(peer);
        bed.wait_for_stats("it is gone", |stats| stats.connections == 0);
    }
    assert_eq!(bed.remote().run_on(3, |_| {}), Err(SendError::Closed));
    assert_eq!(bed.remote().run_on(1000, |_| {}), Err(SendError::Closed));
}

/// Counts, and answers with the count of worker 0, which keeps it for all.
#[derive(Default)]
struct Tally {
    total: u64,
}

impl WebSocketHandler for Tally {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        let (id, length) = (socket.id(), message.len() as u64);
        let asked = socket.remote().run_with(0, move |tally: &mut Self, context| {
            tally.total += length;
            let _ = context.remote().send(id, &tally.total.to_string());
        });
        assert_eq!(asked, Ok(()));
    }
}

fn functions_get_the_handler_of_their_type(on: On) {
    let bed = on.bed().serve(|| {
        let nothing = |_: &mut WebSocket<'_, ()>, _: Message<'_>| {};
        App::new()
            .websocket("/other", on_message(nothing))
            .websocket("/first", Tally { total: 1 })
            .websocket("/second", Tally { total: 2 })
    });
    let (sender, totals) = mpsc::channel();
    let other = sender.clone();
    bed.remote()
        .run_with(0, move |tally: &mut Tally, context| {
            assert_eq!(context.worker(), 0);
            sender.send(Some(tally.total)).unwrap();
        })
        .unwrap();
    // There is no such handler here: the function is dropped.
    bed.remote().run_with(0, move |_: &mut Puppet, _| other.send(None).unwrap()).unwrap();
    bed.on_worker(0, |_| {});
    assert_eq!(totals.iter().collect::<Vec<_>>(), [Some(1)]);
    let refused = bed.remote().run_with(1, |_: &mut Tally, _| {});
    assert_eq!(refused, Err(SendError::Closed));
}

fn handlers_ask_each_other(on: On) {
    let bed = on.bed().workers(2).serve(|| App::new().websocket("/", Tally::default()));
    let mut peers: Vec<_> = (0..6).map(|_| bed.open("/")).collect();
    let mut total = 0;
    for round in 1..=5_u64 {
        for peer in &mut peers {
            peer.text(&"x".repeat(usize::try_from(round).unwrap()));
            total += round;
            peer.expect_text(&total.to_string());
        }
    }
}

fn functions_may_panic(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let remote = bed.remote();
    remote.run_on(0, |_| panic!("{ON_PURPOSE}")).unwrap();
    remote.run_with(0, |_: &mut Puppet, _| panic!("{ON_PURPOSE}")).unwrap();
    assert_eq!(bed.on_worker(0, |context| context.worker()), 0);
    bed.wait_for_stats("both are counted", |stats| stats.handler_panics == 2);
}

fn each_worker_has_its_counts(on: On) {
    let log = Log::default();
    let bed = on.bed().workers(2).serve(Puppet::app(&log));
    let mut first = bed.open_on(0, "/?name=first");
    let mut second = bed.open_on(1, "/?name=second");
    let before = bed.remote().stats();
    for _ in 0..10 {
        first.text("say hello");
        first.expect_text("hello");
    }
    second.text("say hello");
    second.expect_text("hello");
    bed.wait_until("all are counted", || {
        let stats = bed.remote().stats();
        let messages = |worker: usize| stats[worker].messages_in - before[worker].messages_in;
        (messages(0), messages(1)) == (10, 1)
    });
    let stats = bed.remote().stats();
    assert_eq!(bed.remote().total_stats().websockets, stats[0].websockets + stats[1].websockets);
    assert!(stats.iter().all(|stats| stats.websockets >= 1 && stats.turns > 0));
    assert!(stats[0].bytes_in > stats[1].bytes_in - before[1].bytes_in);
}
