//! Ids of sockets that have been closed reach nobody, however often their places are reused.

use std::{collections::VecDeque, env, sync::mpsc, thread};

use sockeye::{App, CloseCode, Message, Request, SocketId, Upgrade, WebSocket, WebSocketHandler};

use crate::support::{Frame, Log, On, Puppet, frame, handshake, scenarios};

scenarios!(an_old_id_reaches_nobody; calm: a_place_that_is_reused_keeps_its_owner);

fn an_old_id_reaches_nobody(on: On) {
    let log = Log::default();
    let bed = on.bed().serve(Puppet::app(&log));
    let old = bed.open("/?name=old");
    log.wait_for(&bed, "old open");
    let id = log.id("old");
    drop(old);
    bed.wait_for_stats("it is gone", |stats| stats.connections == 0);
    let mut new = bed.open("/?name=new");
    log.wait_for(&bed, "new open");
    assert_ne!(log.id("new"), id);
    assert_eq!(log.id("new").to_string().split('-').nth(1), id.to_string().split('-').nth(1));
    let remote = bed.remote();
    remote.send(id, "for the old one").unwrap();
    remote.close(id, CloseCode::NORMAL, "").unwrap();
    remote.abort(id).unwrap();
    bed.on_worker(0, move |context| {
        assert_eq!(context.send(id, "for the old one"), sockeye::SendStatus::Closed);
        context.close(id, CloseCode::NORMAL, "");
        context.pause(id);
        context.resume(id);
    });
    new.text("say fine");
    new.expect_text("fine");
    new.close(1000, "");
    new.expect_close(1000, "");
}

/// Publishes the id of each socket when it opens; any message but its own name is foreign.
struct Named {
    ids: mpsc::Sender<SocketId>,
}

impl WebSocketHandler for Named {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, ()>) {
        let _ = self.ids.send(socket.id());
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        socket.send(message);
    }
}

/// Sockets come and go in a few places, while another thread sends to, closes and aborts all that
/// have gone. In the short run some thousand; with `SOCKEYE_LONG` a million.
fn a_place_that_is_reused_keeps_its_owner(on: On) {
    let rounds: u64 = match env::var_os("SOCKEYE_LONG") {
        Some(_) if !on.is_simulated() => 1_000_000,
        _ if on.is_simulated() => 500,
        _ => 10_000,
    };
    let (sender, ids) = mpsc::channel();
    let bed = on.bed().serve(move || App::new().websocket("/", Named { ids: sender.clone() }));
    let remote = bed.remote();
    let (gone, newly_gone) = mpsc::channel::<SocketId>();
    let thread = thread::spawn(move || {
        let mut recent = VecDeque::new();
        while let Ok(id) = newly_gone.recv() {
            recent.push_back(id);
            if recent.len() > 8 {
                recent.pop_front();
            }
            for id in &recent {
                // What the mailbox has no room for is not needed.
                let _ = remote.send(*id, "not for you");
                let _ = remote.close(*id, CloseCode::NORMAL, "not you");
                let _ = remote.abort(*id);
            }
        }
    });
    // The handshake, one message, and its end, in one segment.
    let visit =
        [handshake("/", ""), frame(Frame::TEXT, b"mine"), frame(Frame::CLOSE, b"")].concat();
    for _ in 0..rounds {
        let mut peer = bed.connect();
        peer.write(&visit);
        peer.expect_switch();
        peer.expect_text("mine");
        peer.expect_frame(Frame::CLOSE, b"");
        gone.send(ids.recv().unwrap()).unwrap();
    }
    drop(gone);
    thread.join().unwrap();
}
