//! [`Bed`]: a running server, real or simulated.

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use sockeye::{
    Address, App, Context, Limits, Remote, Running, Server, Stats,
    app::{Service, Worker},
    reactor::{SimFaults, SimNetwork, SimReactor},
};

use super::{On, Peer};

/// Settings of a server that is to be.
pub(crate) struct Builder {
    on: On,
    workers: u8,
    limits: Limits,
}

impl Builder {
    pub(super) fn new(on: On) -> Self {
        Self { on, workers: 1, limits: Limits::default() }
    }

    pub(crate) fn workers(mut self, count: u8) -> Self {
        self.workers = count;
        self
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves the application that the closure makes on each worker.
    pub(crate) fn serve(self, factory: impl Fn() -> App + Send + Sync + 'static) -> Bed {
        match self.on.backend() {
            Some(backend) => {
                let server = Server::new(factory).backend(backend).limits(self.limits);
                let server = server.listen("127.0.0.1:0").workers(self.workers.into());
                Bed { on: self.on, inside: Rc::new(Inside::Real(server.start().unwrap())) }
            }
            None => self.simulate(&factory),
        }
    }

    fn simulate(self, factory: &dyn Fn() -> App) -> Bed {
        let (seed, faulty) = self.on.seed();
        let faults = if faulty { SimFaults::harmless(seed) } else { SimFaults::default() };
        let network = SimNetwork::new(seed, faults);
        let remote = Remote::new(self.workers.into(), self.limits.max_mailbox_bytes);
        let limits = Rc::new(self.limits);
        let worker = |number| {
            let service =
                Service::new(factory(), remote.clone(), number, Rc::clone(&limits)).unwrap();
            let mut worker = Worker::new(network.reactor(), service, || 784_111_777);
            worker.listen(network.listener(PORT)).unwrap();
            Some(worker)
        };
        let workers = RefCell::new((0..self.workers).map(worker).collect());
        let sim = Sim { network, remote, workers, next_source: Cell::new(1024) };
        Bed { on: self.on, inside: Rc::new(Inside::Sim(sim)) }
    }
}

/// A running server. Dropped, it makes sure that nothing of its connections is left.
pub(crate) struct Bed {
    pub(crate) on: On,
    inside: Rc<Inside>,
}

pub(super) enum Inside {
    Real(Running),
    Sim(Sim),
}

pub(super) struct Sim {
    pub(super) network: SimNetwork,
    remote: Remote,
    // `None` for one that has ended.
    workers: RefCell<Vec<Option<Worker<SimReactor>>>>,
    next_source: Cell<u16>,
}

impl Bed {
    /// A new connection.
    #[track_caller]
    pub(crate) fn connect(&self) -> Peer {
        match &*self.inside {
            Inside::Real(_) => Peer::real(self.address(), None),
            Inside::Sim(sim) => {
                sim.next_source.set(sim.next_source.get().wrapping_add(1));
                let source = SocketAddr::new(IpAddr::from([10, 0, 0, 1]), sim.next_source.get());
                Peer::simulated(Rc::clone(&self.inside), sim.network.connect_from(PORT, source))
            }
        }
    }

    /// A new connection with small buffers.
    #[track_caller]
    pub(crate) fn connect_narrow(&self) -> Peer {
        match &*self.inside {
            Inside::Real(_) => Peer::real(self.address(), Some(NARROW)),
            Inside::Sim(_) => {
                let mut peer = self.connect();
                peer.set_window(NARROW);
                peer
            }
        }
    }

    /// A new WebSocket, open.
    #[track_caller]
    pub(crate) fn open(&self, target: &str) -> Peer {
        Self::upgraded(self.connect(), target)
    }

    /// A new WebSocket of a [`Puppet`](super::Puppet), served by this worker.
    #[track_caller]
    pub(crate) fn open_on(&self, worker: usize, target: &str) -> Peer {
        for _ in 0..1000 {
            let mut peer = self.open(target);
            peer.text("worker");
            if peer.read_text() == worker.to_string() {
                return peer;
            }
        }
        panic!("worker {worker} gets no connections");
    }

    /// A new WebSocket with small buffers.
    #[track_caller]
    pub(crate) fn open_narrow(&self, target: &str) -> Peer {
        Self::upgraded(self.connect_narrow(), target)
    }

    #[track_caller]
    fn upgraded(mut peer: Peer, target: &str) -> Peer {
        peer.upgrade(target);
        peer
    }

    pub(crate) fn remote(&self) -> Remote {
        match &*self.inside {
            Inside::Real(running) => running.remote(),
            Inside::Sim(sim) => sim.remote.clone(),
        }
    }

    /// Where a real server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match &*self.inside {
            Inside::Real(running) => match running.addresses()[0] {
                Address::Tcp(address) => address,
                Address::Unix(_) => panic!("it listens at a path"),
            },
            Inside::Sim(_) => panic!("nobody can connect to a simulation"),
        }
    }

    /// The network of a simulation.
    pub(crate) fn network(&self) -> Option<&SimNetwork> {
        match &*self.inside {
            Inside::Real(_) => None,
            Inside::Sim(sim) => Some(&sim.network),
        }
    }

    /// What all workers have done.
    pub(crate) fn stats(&self) -> Stats {
        self.remote().total_stats()
    }

    /// What incomplete messages hold; `None` where nobody can look inside.
    pub(crate) fn incomplete_bytes(&self) -> Option<usize> {
        let Inside::Sim(sim) = &*self.inside else { return None };
        let workers = sim.workers.borrow();
        let held = workers.iter().flatten().map(|worker| worker.service().audit().incomplete_bytes);
        Some(held.sum())
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.inside.pass(time);
    }

    /// Lets time pass in which no worker does anything, but for what it has begun.
    pub(crate) fn hold_up(&self, time: Duration, meanwhile: impl FnOnce()) {
        match &*self.inside {
            Inside::Real(running) => {
                let remote = running.remote();
                let (begun, has_begun) = mpsc::channel();
                for worker in 0..remote.worker_count() {
                    let begun = begun.clone();
                    let hold = move |_: &mut Context<'_>| {
                        let _ = begun.send(());
                        thread::sleep(time);
                    };
                    remote.run_on(worker, hold).unwrap();
                    has_begun.recv().unwrap();
                }
                meanwhile();
                thread::sleep(time);
            }
            Inside::Sim(sim) => {
                meanwhile();
                sim.network.advance(time);
            }
        }
    }

    /// Waits until something is the case.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: impl fmt::Display, mut is_so: impl FnMut() -> bool) {
        let start = self.clock();
        while !is_so() {
            assert!(self.clock() - start < PATIENCE, "in vain: {what}; {:?}", self.stats());
            self.inside.pass(Duration::from_millis(1));
        }
    }

    /// Waits until the numbers are these.
    #[track_caller]
    pub(crate) fn wait_for_stats(&self, what: &str, is_so: impl Fn(&Stats) -> bool) {
        self.wait_until(what, || is_so(&self.stats()));
    }

    /// Time since some time.
    pub(crate) fn clock(&self) -> Duration {
        match &*self.inside {
            Inside::Real(_) => EPOCH.with(Instant::elapsed),
            Inside::Sim(sim) => sim.network.now(),
        }
    }

    /// Calls a function on a worker's thread, and returns what it returned.
    #[track_caller]
    pub(crate) fn on_worker<T: Send + 'static>(
        &self,
        worker: usize,
        function: impl FnOnce(&mut Context<'_>) -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = mpsc::channel();
        let call = move |context: &mut Context<'_>| sender.send(function(context)).unwrap();
        self.remote().run_on(worker, call).unwrap();
        if let Inside::Sim(sim) = &*self.inside {
            sim.settle();
        }
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    /// Whether the shutdown is over.
    pub(crate) fn has_ended(&self) -> bool {
        // A worker that has ended takes no letters.
        let remote = self.remote();
        (0..remote.worker_count()).all(|worker| remote.run_on(worker, |_| {}).is_err())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if thread::panicking() || self.has_ended() {
            return;
        }
        self.wait_for_stats("all connections are gone", |stats| {
            stats.connections == 0 && stats.websockets == 0
        });
        if let Inside::Sim(sim) = &*self.inside {
            assert_eq!(sim.network.open_sockets(), 0, "every socket is closed");
        }
    }
}

impl Inside {
    pub(super) fn pass(&self, time: Duration) {
        match self {
            Self::Real(_) => thread::sleep(time),
            Self::Sim(sim) => sim.pass(time),
        }
    }
}

impl Sim {
    fn pass(&self, time: Duration) {
        let end = self.network.now() + time;
        let step = (time / 1000).max(Duration::from_millis(1));
        while self.network.now() < end {
            self.settle();
            let rest = end.saturating_sub(self.network.now());
            self.network.advance(step.min(rest));
        }
        self.settle();
    }

    /// Lets every worker do what it can do now.
    pub(super) fn settle(&self) {
        // A bound, because a fault may have delayed something to a later time.
        for _ in 0..10 {
            self.turn();
            if self.network.is_quiet() {
                break;
            }
        }
    }

    fn turn(&self) {
        for seat in self.workers.borrow_mut().iter_mut() {
            if let Some(worker) = seat
                && !worker.turn(Some(Duration::ZERO)).unwrap()
            {
                *seat = None;
            }
        }
    }
}

thread_local! {
    static EPOCH: Instant = Instant::now();
}

/// For how long a scenario waits for what must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const PORT: u16 = 80;

/// The room in a narrow peer's buffers, about.
const NARROW: usize = 32 << 10;
