//! [`World`]: workers on simulated reactors, their peers, and a clock, moved step by step.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use sockeye::{
    CloseCode, Context, Remote, SendError, Status, Upgrade,
    app::{Audit, Service, Worker},
    reactor::{SimFaults, SimNetwork, SimRandom, SimReactor},
};

use super::{
    book::{Book, Letter, OUTSIDE, Stage, To, book, close_book, open_book},
    client::Client,
    events, exchange,
    handler::{TOPICS, app, other_socket},
    options::{Ending, Options, pick},
};

/// What a run came to.
pub struct Outcome {
    pub failures: Vec<String>,
    pub events: Vec<String>,
    /// Messages that handlers and peers got: a run in which nothing happens proves nothing.
    pub messages: u64,
    /// How often what has happened.
    pub seen: BTreeMap<&'static str, u64>,
}

/// Runs one world from its beginning to its end, or until something is wrong.
pub fn run(options: &Options, with_events: bool) -> Outcome {
    let mut world = World::new(options, with_events);
    world.live();
    let messages = book(|book| book.counts.iter().map(|c| c.messages_in + c.messages_out).sum());
    world.note_faults();
    // What is dropped now may still be wrong.
    drop(world);
    let outcome = book(|book| {
        let loads = book.loads;
        book.check(loads == 0, || format!("{loads} exchanges keep their data"));
        let events = book.events.take().unwrap_or_default().into();
        let (failures, seen) = (std::mem::take(&mut book.failures), std::mem::take(&mut book.seen));
        Outcome { failures, events, messages, seen }
    });
    close_book();
    outcome
}

struct World {
    options: Options,
    random: SimRandom,
    network: SimNetwork,
    remote: Remote,
    workers: Vec<Worker<SimReactor>>,
    is_over: Vec<bool>,
    clients: Vec<Client>,
}

/// What other threads read of a worker's counts.
fn book_of(remote: &Remote, worker: usize) -> sockeye::Stats {
    remote.stats()[worker]
}

const PORT: u16 = 80;

/// Bytes of all connections.
struct Bytes {
    received: u64,
    written: u64,
    sent: u64,
    taken: u64,
}

impl World {
    fn new(options: &Options, with_events: bool) -> Self {
        let network = SimNetwork::new(options.seed, options.faults);
        let remote = Remote::new(options.workers, options.limits.max_mailbox_bytes);
        let mut new = Book::new(options, &network);
        new.events = with_events.then(Default::default);
        open_book(new);
        let workers = (0..options.workers).map(|number| {
            let limits = Rc::new(options.limits.clone());
            let number8 = u8::try_from(number).expect("a handful");
            let service = Service::new(app(options, number), remote.clone(), number8, limits);
            let service = service.expect("good settings");
            let mut worker = Worker::new(network.reactor(), service, || 784_111_777);
            worker.listen(network.listener(PORT)).expect("a free number");
            worker
        });
        Self {
            options: options.clone(),
            random: SimRandom::new(options.seed ^ 0x0f_0f0f),
            workers: workers.collect(),
            is_over: vec![false; options.workers],
            clients: Vec::new(),
            network,
            remote,
        }
    }

    fn live(&mut self) {
        for step in 0..self.options.steps {
            self.step();
            if self.has_failed() {
                return book(|book| book.note(|| format!("in step {step}")));
            }
        }
        self.settle();
        if !self.has_failed() {
            self.end();
        }
    }

    fn has_failed(&self) -> bool {
        book(|book| !book.failures.is_empty())
    }

    fn step(&mut self) {
        let extras = self.options.extras;
        if self.random.happens(extras.exchanges / 4) {
            return self.work_elsewhere();
        }
        match self.random.below(100) {
            0..35 => {
                let worker = self.random.below(self.workers.len());
                self.turn(worker);
            }
            35..45 if self.clients.len() < self.options.clients => self.connect(),
            35..83 => {
                if let Some(client) = self.any_client() {
                    client.act();
                }
            }
            83..90 => {
                let time = self.random.below(20_000) as u64;
                self.network.advance(Duration::from_micros(time));
            }
            90 if self.options.jumps => {
                let time = Duration::from_millis(*pick(&mut self.random, &[300, 2000, 15_000]));
                book(|book| {
                    book.note(|| format!("the clock jumps by {time:?}"));
                    book.saw("the clock jumps");
                });
                self.network.advance(time);
            }
            91 if self.options.rude => {
                if let Some(client) = self.any_client() {
                    client.be_rude();
                }
            }
            91..95 => self.answer_pending(),
            _ => self.reach_in(),
        }
    }

    /// What other threads do for requests that wait for them.
    fn work_elsewhere(&mut self) {
        match self.random.below(6) {
            0 | 1 => exchange::answer_one(),
            2 => exchange::write_all(),
            _ => exchange::write_one(false),
        }
    }

    fn any_client(&mut self) -> Option<&mut Client> {
        let count = self.clients.len();
        (count > 0).then(|| &mut self.clients[self.random.below(count)])
    }

    fn connect(&mut self) {
        let peer = self.network.connect(PORT);
        let client = book(|book| Client::connected(book, peer));
        self.clients.push(client);
    }

    fn turn(&mut self, number: usize) {
        if self.is_over[number] {
            return;
        }
        book(|book| {
            book.note(|| format!("w{number} turns"));
            book.begin_turn(number);
        });
        let goes_on = self.workers[number].turn(Some(Duration::ZERO)).expect("it can go on");
        self.is_over[number] = !goes_on;
    }

    /// Answers one of those that wait. Some are forgotten for ever.
    fn answer_pending(&mut self) {
        let (answer, pending) = book(|book| {
            let count = book.pending.len();
            let index = (0..count).find(|&at| !book.pending[at].0.is_multiple_of(5));
            let pending = index.map(|index| book.pending.swap_remove(index));
            (book.random.below(8), pending)
        });
        let Some((number, pending)) = pending else { return };
        match answer {
            0 => drop(pending),
            1 => pending.answer(Upgrade::reject(Status::UNAUTHORIZED)),
            _ => pending.answer(Upgrade::accept(number)),
        }
    }

    /// What other threads of the application do.
    fn reach_in(&mut self) {
        let Some(wanted) = (!self.clients.is_empty()).then(|| self.random.below(100)) else {
            return;
        };
        let topic = self.random.below(TOPICS.len());
        let size = *pick(&mut self.random, &[0, 100, 3000]);
        if self.random.happens(3 * self.options.extras.events) {
            return self.publish_event_outside(wanted, topic, size);
        }
        match self.random.below(10) {
            0..4 => self.publish_outside(topic, size),
            4..7 => {
                let Some((number, id)) = other_socket(wanted) else { return };
                let payload = book(|book| book.payload("o", size));
                let text = String::from_utf8_lossy(&payload).into_owned();
                if self.remote.send(id, &text).is_ok() {
                    let to = To::Socket(number);
                    let letter = Letter { source: OUTSIDE, to, first: 0x81, payload };
                    book(|book| book.letters[id.worker()].push_back(letter));
                }
            }
            7 => {
                let worker = self.random.below(self.workers.len());
                let posted = self.remote.run_on(worker, move |context| {
                    let payload = book(|book| book.payload("inside", size));
                    let text = String::from_utf8_lossy(&payload).into_owned();
                    book(|book| book.published(worker, None, topic, &payload, None));
                    context.publish(TOPICS[topic], &text);
                });
                let is_due = posted.is_ok() || self.options.has_small_mailbox();
                book(|book| book.check(is_due, || format!("run_on: {posted:?}")));
            }
            8 => {
                let Some((number, id)) = other_socket(wanted) else { return };
                book(|book| book.will_close(number, Some(4001)));
                let code = CloseCode::new(4001).expect("a private one");
                let posted = self.remote.close(id, code, "from outside");
                book(|book| book.check(posted.is_ok(), || format!("close: {posted:?}")));
            }
            _ => {
                let Some((number, id)) = other_socket(wanted) else { return };
                book(|book| book.will_close(number, None));
                let posted = self.remote.abort(id);
                book(|book| book.check(posted.is_ok(), || format!("abort: {posted:?}")));
            }
        }
    }

    fn publish_event_outside(&mut self, wanted: usize, topic: usize, size: usize) {
        if wanted.is_multiple_of(2) {
            let worker = wanted % self.workers.len();
            let publish = move |context: &mut Context<'_>| events::publish(context, topic, size);
            let posted = self.remote.run_on(worker, publish);
            let is_due = posted.is_ok() || self.options.has_small_mailbox();
            return book(|book| book.check(is_due, || format!("run_on: {posted:?}")));
        }
        let (data, head) = book(|book| book.new_event(size));
        let result = self.remote.publish_event(TOPICS[topic], &head.event(&data));
        self.is_published(result, topic, &data.into_bytes());
    }

    fn publish_outside(&mut self, topic: usize, size: usize) {
        let payload = book(|book| book.payload("out", size));
        let text = String::from_utf8_lossy(&payload).into_owned();
        let result = self.remote.publish(TOPICS[topic], &text);
        self.is_published(result, topic, &payload);
    }

    fn is_published(&self, result: Result<(), SendError>, topic: usize, payload: &[u8]) {
        book(|book| {
            if result.is_err() {
                book.saw("a mailbox has no room");
            }
            let may_fail = result == Err(SendError::Full) && book.options.has_small_mailbox();
            book.check(result.is_ok() || may_fail, || format!("publish: {result:?}"));
            for letters in &mut book.letters {
                let (to, payload) = (To::Topic(topic), payload.to_vec());
                letters.push_back(Letter { source: OUTSIDE, to, first: 0x81, payload });
            }
        });
    }

    /// Reads again from all that do not want to be read from.
    fn resume_all(&mut self) {
        for number in 0..self.clients.len() {
            let id = book(|book| {
                let socket = &mut book.sockets[number];
                std::mem::take(&mut socket.is_paused).then_some(socket.id).flatten()
            });
            let Some(id) = id else { continue };
            let resume = move |context: &mut Context<'_>| context.resume(id);
            while self.remote.run_on(id.worker(), resume) == Err(SendError::Full) {
                self.turn(id.worker());
            }
        }
    }

    /// Faults stop, and everything that is owed arrives.
    fn settle(&mut self) {
        self.network.set_faults(SimFaults::default());
        book(|book| book.note(|| "everything settles".into()));
        self.pass(Duration::from_millis(200), Duration::from_millis(20), Client::settle);
        self.pass_until_settled();
        self.await_heartbeats();
        self.pass_until_settled();
        if !self.has_failed() {
            self.check_accounts();
        }
    }

    fn pass_until_settled(&mut self) {
        // Control frames beyond the limit of their second come in later ones.
        let step = Duration::from_millis(250);
        for _ in 0..200 {
            self.resume_all();
            self.pass(step, step, Client::settle);
            let is_waiting = book(|book| {
                let waits = |s: &super::book::Socket| {
                    s.stage == Stage::Open && (s.is_paused || !s.inputs.is_empty())
                };
                book.sockets.iter().any(waits)
            });
            let is_owed = book(|book| {
                let forgotten = |(number, _): &(usize, _)| book.exchanges[*number].is_forgotten();
                !book.writings.is_empty() || !book.responders.iter().all(forgotten)
            });
            // A throttled socket may have something unread that no handler waits for.
            let is_read = self.bytes().is_none_or(|bytes| bytes.received == bytes.written);
            let is_settled = !is_waiting && !is_owed && is_read && self.network.is_quiet();
            if is_settled || self.has_failed() {
                return;
            }
        }
        book(|book| {
            let is_open = |socket: &super::book::Socket| socket.stage == Stage::Open;
            let unread = book.sockets.iter().filter(|socket| is_open(socket));
            let unread: usize = unread.map(|socket| socket.inputs.len()).sum();
            let (writings, responders) = (book.writings.len(), book.responders.len());
            book.fail(format!(
                "it does not settle: {unread} unread, {writings} being written, {responders} owed"
            ));
        });
    }

    /// Who listens to a quiet stream hears that it lives.
    fn await_heartbeats(&mut self) {
        let streams = || {
            let is_alive = |book: &Book, number: usize| {
                let socket = &book.sockets[number];
                socket
                    .stream
                    .as_ref()
                    .filter(|stream| {
                        stream.heartbeat <= Duration::from_secs(1)
                            && !book.is_stream_uncertain(number)
                    })
                    .map(|stream| (number, stream.signs_of_life()))
            };
            book(|book| (0..book.sockets.len()).filter_map(|n| is_alive(book, n)).collect())
        };
        let before: Vec<(usize, u32)> = streams();
        if before.is_empty() || self.has_failed() {
            return;
        }
        self.pass(Duration::from_millis(1400), Duration::from_millis(200), Client::settle);
        let after: Vec<(usize, u32)> = streams();
        book(|book| {
            for (before, after) in before.iter().zip(&after) {
                let lives = before.0 == after.0 && before.1 < after.1;
                book.check(lives, || format!("no heartbeat: {before:?}, {after:?}"));
            }
            book.check(before.len() == after.len(), || "a quiet stream has ended".into());
        });
    }

    /// What the network did, and what of it the workers noticed.
    fn note_faults(&self) {
        for (name, count) in self.network.fault_counts() {
            book(|book| *book.seen.entry(name).or_default() += count);
        }
        for stats in self.remote.stats() {
            book(|book| {
                *book.seen.entry("accepting rests").or_default() += stats.accept_errors;
                *book.seen.entry("a connection is refused").or_default() += stats.refused;
                *book.seen.entry("a worker refuses a letter").or_default() += stats.mailbox_refused;
            });
        }
    }

    /// Lets time pass: all workers turn, all peers act.
    fn pass(&mut self, time: Duration, step: Duration, act: fn(&mut Client)) {
        let end = self.network.now() + time;
        loop {
            for _ in 0..8 {
                for client in &mut self.clients {
                    act(client);
                }
                self.answer_pending();
                exchange::answer_one();
                exchange::write_all();
                (0..self.workers.len()).for_each(|worker| self.turn(worker));
                let owes = self.clients.iter().any(Client::owes);
                if self.network.is_quiet() && !owes || self.has_failed() {
                    break;
                }
            }
            if self.network.now() >= end || self.has_failed() {
                return;
            }
            self.network.advance(step);
        }
    }

    fn check_accounts(&mut self) {
        for number in 0..self.clients.len() {
            // Nothing is owed to a peer that has gone, whether the server has noticed or not.
            let is_open = book(|book| {
                let socket = &book.sockets[number];
                socket.stage == Stage::Open && socket.peer.is_some()
            });
            if is_open {
                book(|book| book.settle_account(number));
            }
        }
        (0..self.workers.len()).for_each(|number| self.check_stats(number));
        let (accepted, refused) =
            self.workers.iter().fold((0, 0), |(accepted, refused), worker| {
                let stats = worker.service().stats();
                (accepted + stats.accepted, refused + stats.refused)
            });
        self.check_bytes();
        let connected = self.clients.len() as u64;
        book(|book| {
            book.check(accepted == connected, || {
                format!("{accepted} of {connected} connections accepted")
            });
            let may_refuse = book.options.limits.max_connections < 100;
            book.check(refused == 0 || may_refuse, || format!("{refused} connections refused"));
        });
    }

    /// What a worker has counted is what the model has.
    fn check_stats(&self, number: usize) {
        let stats = *self.workers[number].service().stats();
        let audit = self.workers[number].service().audit();
        book(|book| {
            let counts = book.counts[number];
            let open = book.sockets.iter().filter(|socket| {
                socket.worker == number
                    && socket.stream.is_none()
                    && matches!(socket.stage, Stage::Open | Stage::Closing)
            });
            let open = open.count() as u64;
            let mut same = |name: &str, got: u64, expected: u64| {
                book.check(got == expected, || {
                    format!("w{number}: {name} is {got}, expected {expected}")
                });
            };
            same("messages_in", stats.messages_in, counts.messages_in);
            let published = stats
                .published
                .clamp(counts.published, counts.published + counts.published_perhaps);
            same("published", stats.published, published);
            same("websockets", stats.websockets, open);
            same("websockets by calls", counts.opened - counts.closed, open);
            same("socket data", audit.socket_data as u64, open);
            same("connections", stats.connections, audit.connections as u64);
            same("corked", audit.corked_bytes as u64, 0);
            same("handler_panics", stats.handler_panics, counts.panics);
            same("protocol_errors", stats.protocol_errors, counts.protocol_errors);
            same("idle_timeouts", stats.idle_timeouts, counts.idle_timeouts);
            let sent = counts.messages_out + stats.deliveries;
            book.check(stats.messages_out >= sent, || {
                format!("w{number}: {} messages out of {sent}", stats.messages_out)
            });
            let dropped = counts.refused.0 + counts.dropped.0;
            book.check(stats.dropped_messages >= dropped, || {
                format!("w{number}: {} dropped of {dropped}", stats.dropped_messages)
            });
            book.check(stats.mailbox_refused >= counts.mailbox_refused, || {
                format!("w{number}: {} letters refused", stats.mailbox_refused)
            });
            book.check_deliveries(number, &stats);
            book.check(book_of(&self.remote, number) == stats, || {
                format!("w{number}: others read other counts")
            });
        });
    }

    /// Where nobody has gone, bytes are counted to the last one.
    fn check_bytes(&self) {
        let Some(Bytes { received, written, sent, taken }) = self.bytes() else { return };
        book(|book| {
            book.saw("bytes are counted to the last one");
            book.check(received == written, || format!("{received} bytes in, of {written}"));
            book.check(sent == taken, || format!("{sent} bytes out, {taken} taken"));
        });
    }

    /// What the workers have counted and what the peers know, if nobody has gone.
    fn bytes(&self) -> Option<Bytes> {
        let (received, sent) = self.workers.iter().fold((0, 0), |(received, sent), worker| {
            let stats = worker.service().stats();
            (received + stats.bytes_in, sent + stats.bytes_out)
        });
        book(|book| {
            let taken = book.sockets.iter().map(|socket| {
                let peer = socket.peer.as_ref().filter(|peer| !peer.is_ended())?;
                Some(peer.taken_bytes())
            });
            let taken = taken.sum::<Option<u64>>()?;
            Some(Bytes { received, written: book.written_bytes, sent, taken })
        })
    }

    /// Everybody goes, and everything is given back.
    fn end(&mut self) {
        book(|book| {
            book.is_settling = true;
            let ending = book.options.ending;
            book.note(|| format!("the end: {ending:?}"));
        });
        match self.options.ending {
            Ending::Closes => self.clients.iter_mut().for_each(Client::finish),
            Ending::Vanishes => self.clients.iter_mut().for_each(Client::vanish),
            Ending::Shutdown => {
                book(|book| {
                    for socket in &mut book.sockets {
                        socket.codes.push(1001);
                        socket.is_uncertain = true;
                    }
                });
                self.remote.shutdown(Duration::from_secs(20));
            }
        }
        self.pass(Duration::from_secs(1), Duration::from_millis(100), Client::settle);
        for number in 0..self.workers.len() {
            let audit = self.workers[number].service().audit();
            let is_left = audit.connections == 0 && audit.has_timers;
            book(|book| book.check(!is_left, || format!("w{number} has a timer of nobody")));
        }
        self.pass(Duration::from_secs(200), Duration::from_secs(7), Client::settle);
        if self.has_failed() {
            return;
        }
        for number in 0..self.workers.len() {
            let audit = self.workers[number].service().audit();
            let keys = self.workers[number].reactor().keys().count();
            let is_over = self.is_over[number];
            book(|book| {
                let is_shut = book.options.ending == Ending::Shutdown;
                // What did not end within the grace of a shutdown ends with its worker.
                let is_left = is_shut && audit.socket_data + audit.subscribers == 0;
                let is_empty = audit == Audit::default() && keys == 0;
                book.check(is_empty || is_left, || format!("w{number} keeps {keys}, {audit:?}"));
                book.check(is_over == is_shut, || format!("w{number} is over: {is_over}"));
            });
        }
        self.workers.clear();
        let open = self.network.open_sockets();
        book(|book| {
            book.check(open == 0, || format!("{open} sockets are still open"));
            for number in 0..book.sockets.len() {
                let stage = book.sockets[number].stage;
                let is_told = matches!(stage, Stage::Fresh | Stage::Closed)
                    || book.sockets[number].stream.is_some();
                book.check(is_told, || format!("c{number} was never closed: {stage:?}"));
            }
        });
    }
}
