//! [`Server`]: settings, listeners and threads; [`Running`]: a server at work.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{App, Backend, Error, Limits, Remote, Result, Service, Worker};
use crate::reactor::{
    self, Address, EpollReactor, Listener, Reactor, Socket, UringReactor, allowed_processors,
    give_back_memory, pin_thread, unix_time,
};

/// A server before it runs: where it listens, and how.
///
/// The application is made by a closure, once on each worker's thread.
///
/// ```no_run
/// use sockeye::{App, Message, Server, WebSocket, on_message};
///
/// fn main() -> sockeye::Result<()> {
///     let echo = |socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
///         socket.send(message);
///     };
///     Server::new(move || App::new().websocket("/", on_message(echo)))
///         .listen("127.0.0.1:9001")
///         .run()
/// }
/// ```
#[must_use = "a server does nothing until it is started"]
pub struct Server {
    factory: Arc<dyn Fn(&Remote) -> App + Send + Sync>,
    addresses: Vec<String>,
    settings: Settings,
    workers: Option<usize>,
    backend: Backend,
}

#[derive(Debug, Clone)]
struct Settings {
    limits: Limits,
    backlog: i32,
    pin: bool,
    reactor: reactor::Config,
}

impl Server {
    /// A server of this application.
    pub fn new(factory: impl Fn() -> App + Send + Sync + 'static) -> Self {
        Self::with_remote(move |_| factory())
    }

    /// A server of this application, which gets a handle to reach the server's sockets.
    pub fn with_remote(factory: impl Fn(&Remote) -> App + Send + Sync + 'static) -> Self {
        let settings = Settings {
            limits: Limits::default(),
            backlog: 1024,
            pin: false,
            reactor: reactor::Config::default(),
        };
        let (addresses, workers, backend) = (Vec::new(), None, Backend::Auto);
        Self { factory: Arc::new(factory), addresses, settings, workers, backend }
    }

    /// Listens at `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; may be called several times. Port 0
    /// is any free one: see [`Running::addresses`].
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// How many threads serve, 256 at most. Default: one for each processor that the process may
    /// run on.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// How they speak to the kernel. Default [`Backend::Auto`].
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Limits of each worker and connection.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Whether each worker stays on a processor of its own. Default `false`.
    pub fn pin(mut self, pin: bool) -> Self {
        self.settings.pin = pin;
        self
    }

    /// Connections that wait to be accepted, on each worker. The kernel caps it at
    /// `net.core.somaxconn`. Default 1,024.
    pub fn backlog(mut self, count: u16) -> Self {
        self.settings.backlog = count.into();
        self
    }

    /// For how long a worker looks for work before it sleeps. Costs the processor that time, and
    /// answers a quiet connection about three times as fast. Default zero.
    pub fn busy_poll(mut self, duration: Duration) -> Self {
        self.settings.reactor.busy_poll = duration;
        self
    }

    /// Starts the workers, and returns when all of them listen.
    ///
    /// # Errors
    /// [`Error`], if a setting is wrong, or an address or the backend is not to be had.
    pub fn start(self) -> Result<Running> {
        let settings = &self.settings;
        settings.limits.check().map_err(|text| Error::Config(format!("limits: {text}")))?;
        let processors = allowed_processors();
        let count = self.workers.unwrap_or(processors.len().max(1));
        if count == 0 || count > 256 {
            return Err(Error::Config("the number of workers must be between 1 and 256".into()));
        }
        if self.addresses.is_empty() {
            let text = "nowhere to listen: call `listen` with an address";
            return Err(Error::Config(text.into()));
        }
        let backend = self.backend.choose(&settings.reactor)?;
        let (addresses, mut listeners) = bind(&self.addresses, count, settings.backlog)?;
        let remote = Remote::new(count, settings.limits.max_mailbox_bytes);
        let mut running = Running { addresses, backend, remote, threads: Vec::new() };
        let (ready, readiness) = mpsc::channel();
        for worker in running.remote.workers() {
            let seat = Seat {
                worker,
                remote: running.remote.clone(),
                listeners: std::mem::take(&mut listeners[usize::from(worker)]),
                settings: self.settings.clone(),
                processor: processors.get(usize::from(worker) % processors.len().max(1)).copied(),
                backend,
                may_choose: self.backend == Backend::Auto,
            };
            let (factory, ready) = (Arc::clone(&self.factory), ready.clone());
            let thread = thread::Builder::new()
                .name(format!("sockeye-{worker}"))
                .spawn(move || seat.work(&*factory, ready))
                .map_err(Error::Worker)?;
            running.threads.push(thread);
        }
        // Each worker drops its own when it has used it, so that one that panics is noticed.
        drop(ready);
        for _ in 0..count {
            let result = readiness.recv();
            let panicked = || io::Error::other("the function that makes the application panicked");
            result.map_err(|_| Error::Worker(panicked()))??;
        }
        for address in &running.addresses {
            log::info!("listening on {address} ({backend}, {count} workers)");
        }
        Ok(running)
    }

    /// Starts the workers, and returns when the server has been shut down.
    ///
    /// # Errors
    /// As [`Server::start`], and [`Error::Worker`].
    pub fn run(self) -> Result<()> {
        self.start()?.join()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Server");
        out.field("addresses", &self.addresses).field("settings", &self.settings);
        out.field("workers", &self.workers).field("backend", &self.backend);
        out.finish_non_exhaustive()
    }
}

/// A server at work. Dropped, it is shut down without grace.
///
/// ```
/// use std::time::Duration;
/// use sockeye::{App, Response, Server};
///
/// # fn main() -> sockeye::Result<()> {
/// let app = || App::new().get("/", |_| Response::text("Hello, world!"));
/// let running = Server::new(app).listen("127.0.0.1:0").workers(1).start()?;
/// println!("listening on {}", running.addresses()[0]);
/// running.remote().shutdown(Duration::from_secs(1));
/// running.join()
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct Running {
    addresses: Vec<Address>,
    backend: Backend,
    remote: Remote,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Where the server listens, with real ports.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// How the workers speak to the kernel. If that was for the server to choose, a worker that
    /// could not get a ring may use epoll all the same; the log says so.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// A handle to reach the workers.
    #[must_use]
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Waits until the server has been shut down.
    ///
    /// # Errors
    /// [`Error::Worker`], if a worker could not go on. The others are shut down then.
    pub fn join(mut self) -> Result<()> {
        self.join_all().map_err(Error::Worker)
    }

    fn join_all(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            result = result.and(ended.unwrap_or_else(|_| Err(io::Error::other("it panicked"))));
        }
        result
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.remote.shutdown(Duration::ZERO);
            let _ = self.join_all();
        }
    }
}

/// What one worker's thread needs to begin.
struct Seat {
    worker: u8,
    remote: Remote,
    listeners: Vec<Listener>,
    settings: Settings,
    processor: Option<usize>,
    backend: Backend,
    // Whether any other backend will do.
    may_choose: bool,
}

impl Seat {
    fn work(
        self,
        factory: &dyn Fn(&Remote) -> App,
        ready: mpsc::Sender<Result<()>>,
    ) -> io::Result<()> {
        if let Some(processor) = self.processor.filter(|_| self.settings.pin)
            && let Err(error) = pin_thread(processor)
        {
            log::warn!(worker = self.worker; "cannot stay on processor {processor}: {error}");
        }
        let config = self.settings.reactor.clone();
        match self.backend {
            Backend::Epoll => self.serve(EpollReactor::new(&config), factory, ready),
            Backend::Uring | Backend::Auto => match UringReactor::new(&config) {
                // There was one when it was asked for; memory or descriptors may end in between.
                Err(error) if self.may_choose => {
                    let worker = self.worker;
                    log::warn!(worker, backend = "epoll"; "io_uring is not to be had: {error}");
                    self.serve(EpollReactor::new(&config), factory, ready)
                }
                reactor => self.serve(reactor, factory, ready),
            },
        }
    }

    fn serve<R: Reactor<Listener = Listener, Socket = Socket>>(
        self,
        reactor: io::Result<R>,
        factory: &dyn Fn(&Remote) -> App,
        ready: mpsc::Sender<Result<()>>,
    ) -> io::Result<()> {
        let remote = self.remote.clone();
        match self.prepare(reactor, factory) {
            Ok(mut worker) => {
                // Nobody listens any more if another worker has failed; its error is told.
                let _ = ready.send(Ok(()));
                drop(ready);
                let run = catch_unwind(AssertUnwindSafe(|| worker.run()));
                let result = run.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
                if let Err(error) = &result {
                    log::error!("a worker cannot go on, the server is shut down: {error}");
                    remote.shutdown(FAILURE_GRACE);
                }
                result
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                Ok(())
            }
        }
    }

    fn prepare<R: Reactor<Listener = Listener, Socket = Socket>>(
        self,
        reactor: io::Result<R>,
        factory: &dyn Fn(&Remote) -> App,
    ) -> Result<Worker<R>> {
        let reactor = reactor.map_err(Error::Backend)?;
        let app = factory(&self.remote);
        let limits = Rc::new(self.settings.limits);
        let service = Service::new(app, self.remote, self.worker, limits).map_err(Error::Config)?;
        let worker = Worker::new(reactor, service, unix_time);
        let mut worker = worker.giving_back(give_back_memory);
        for listener in self.listeners {
            worker.listen(listener).map_err(Error::Worker)?;
        }
        Ok(worker)
    }
}

/// Binds each address once for each worker. Of port 0 the first one decides for all.
fn bind(
    addresses: &[String],
    workers: usize,
    backlog: i32,
) -> Result<(Vec<Address>, Vec<Vec<Listener>>)> {
    let mut bound = Vec::new();
    let mut listeners: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for text in addresses {
        let explain = |source| Error::Listen { address: text.clone(), source };
        let address: Address = text.parse().map_err(explain)?;
        let is_any = matches!(address, Address::Tcp(tcp) if tcp.port() == 0);
        if !is_any && bound.contains(&address) {
            return Err(Error::Config(format!("{text} is given twice")));
        }
        Listener::probe(&address).map_err(explain)?;
        let first = Listener::bind(&address, backlog).map_err(explain)?;
        let address = first.address().clone();
        for seat in &mut listeners[1..] {
            let another = match address {
                Address::Tcp(_) => Listener::bind(&address, backlog),
                Address::Unix(_) => first.share(),
            };
            seat.push(another.map_err(explain)?);
        }
        listeners[0].push(first);
        bound.push(address);
    }
    Ok((bound, listeners))
}

/// What is left to the others when one worker has failed.
const FAILURE_GRACE: Duration = Duration::from_secs(5);
