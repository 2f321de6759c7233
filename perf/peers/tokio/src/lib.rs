//! What the peer servers over tokio have in common: the command line, one thread, the listener,
//! the idle timeout, echo and fan-out.
//!
//! Each library is used as its documentation recommends, and as well as we know how: messages
//! that arrived together are answered together where the library can, nothing is locked or
//! allocated that the library does not ask for.

#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    future::Future,
    process,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinHandle, LocalSet},
};

pub mod handshake;

/// Why a connection ended.
pub type Failure = Box<dyn std::error::Error>;

/// The command line.
#[derive(Debug, Clone)]
pub struct Options {
    pub host: String,
    pub port: u16,
    pub mode: Mode,
    pub max_payload: usize,
    pub idle_timeout: Duration,
}

/// What the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Echo,
    Broadcast,
}

impl Options {
    /// Reads the command line, or explains it and exits.
    pub fn parse(modes: &[Mode]) -> Self {
        let mut options = Self {
            host: "127.0.0.1".into(),
            port: 9001,
            mode: Mode::Echo,
            max_payload: 16 << 10,
            idle_timeout: Duration::from_secs(120),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if name == "--help" || name == "-h" {
                print!("{USAGE}");
                process::exit(0);
            }
            let value = arguments.next().unwrap_or_default();
            let is_known = match name.as_str() {
                "--host" => Some(options.host = value),
                "--port" => value.parse().ok().map(|port| options.port = port),
                "--max-payload" => value.parse().ok().map(|bytes| options.max_payload = bytes),
                "--idle-timeout" => {
                    value.parse().ok().map(|secs| options.idle_timeout = Duration::from_secs(secs))
                }
                "--mode" => Mode::find(&value, modes).map(|mode| options.mode = mode),
                "--compress" => (value == "none").then_some(()),
                _ => None,
            };
            if is_known.is_none() {
                eprint!("error: {name} is unknown here, or its value is\n\n{USAGE}");
                process::exit(2);
            }
        }
        options
    }
}

impl Mode {
    fn find(name: &str, modes: &[Self]) -> Option<Self> {
        let mode = match name {
            "echo" => Self::Echo,
            "broadcast" => Self::Broadcast,
            _ => return None,
        };
        modes.contains(&mode).then_some(mode)
    }
}

/// Accepts for ever, and serves each connection by a task of its own, all on this thread.
pub fn serve<F, T>(options: Options, connection: F)
where
    F: Fn(TcpStream, Activity) -> T + 'static,
    T: Future<Output = Result<(), Failure>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| fail(&error.to_string()));
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let address = (options.host.as_str(), options.port);
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => fail(&format!("cannot listen on {address:?}: {error}")),
        };
        println!("listening on {}:{}", options.host, options.port);
        let idle = Idle::start(options.idle_timeout);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            let activity = Activity::default();
            let served = connection(stream, activity.clone());
            idle.watch(activity, tokio::task::spawn_local(served));
        }
    });
}

fn fail(what: &str) -> ! {
    eprintln!("error: {what}");
    process::exit(1);
}

/// Says that a connection is alive.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<AtomicBool>);

impl Activity {
    /// Something was received.
    #[inline]
    pub fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The idle timeout, as cheap as a server can have it: one sweep over all connections, instead of
/// a timer for each. A connection without a mark between two sweeps is closed.
#[derive(Clone, Default)]
struct Idle(Rc<RefCell<Vec<(Activity, AbortHandle)>>>);

impl Idle {
    fn start(timeout: Duration) -> Self {
        let idle = Self::default();
        if !timeout.is_zero() {
            let connections = idle.0.clone();
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(timeout).await;
                    connections.borrow_mut().retain(|(activity, task)| {
                        let was_active = activity.0.swap(false, Ordering::Relaxed);
                        if !was_active {
                            task.abort();
                        }
                        was_active && !task.is_finished()
                    });
                }
            });
        }
        idle
    }

    fn watch(&self, activity: Activity, task: JoinHandle<Result<(), Failure>>) {
        activity.mark();
        let mut connections = self.0.borrow_mut();
        if connections.len() == connections.capacity() {
            connections.retain(|(_, task)| !task.is_finished());
        }
        connections.push((activity, task.abort_handle()));
    }
}

/// Sends every message back. Those that arrived together leave together: they are collected
/// first, because some libraries send what waits before they look for the next message.
pub async fn echo<S, M, E>(
    mut socket: S,
    activity: Activity,
    is_message: impl Fn(&M) -> bool,
) -> Result<(), Failure>
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
    E: std::error::Error + 'static,
    S::Error: std::error::Error + 'static,
{
    let mut together = Vec::new();
    while let Some(message) = socket.next().await {
        activity.mark();
        together.push(message?);
        while together.len() < MAX_TOGETHER
            && let Some(Some(message)) = socket.next().now_or_never()
        {
            together.push(message?);
        }
        for message in together.drain(..) {
            if is_message(&message) {
                socket.feed(message).await?;
            }
        }
        socket.flush().await?;
    }
    Ok(())
}

/// All sockets of a server, for messages to each.
pub struct Hub<M>(Arc<Mutex<Vec<(u64, mpsc::UnboundedSender<M>)>>>);

impl<M> Clone for Hub<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> Default for Hub<M> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<M: Clone> Hub<M> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, mpsc::UnboundedSender<M>)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn join(&self) -> (u64, mpsc::UnboundedReceiver<M>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut members = self.lock();
        let id = members.last().map_or(0, |(id, _)| id + 1);
        members.push((id, sender));
        (id, receiver)
    }

    fn leave(&self, id: u64) {
        self.lock().retain(|(other, _)| *other != id);
    }

    fn publish(&self, from: u64, message: &M) {
        for (id, member) in self.lock().iter() {
            if *id != from {
                // Who has just left does not hear it.
                let _ = member.send(message.clone());
            }
        }
    }
}

/// Passes every message on to all others. What has come together for a socket leaves together.
pub async fn broadcast<S, M, E>(
    mut socket: S,
    activity: Activity,
    hub: Hub<M>,
    is_message: impl Fn(&M) -> bool,
) -> Result<(), Failure>
where
    M: Clone,
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
    E: std::error::Error + 'static,
    S::Error: std::error::Error + 'static,
{
    let (id, mut receiver) = hub.join();
    let result = async {
        loop {
            tokio::select! {
                received = socket.next() => {
                    let Some(message) = received else { return Ok(()) };
                    let message = message?;
                    activity.mark();
                    if is_message(&message) {
                        hub.publish(id, &message);
                    }
                }
                heard = receiver.recv() => {
                    let mut next = heard;
                    while let Some(message) = next {
                        socket.feed(message).await?;
                        next = receiver.try_recv().ok();
                    }
                    socket.flush().await?;
                }
            }
        }
    }
    .await;
    hub.leave(id);
    result
}

const MAX_TOGETHER: usize = 64;
const USAGE: &str = "\
A WebSocket server over another library, on one thread.

  --host ADDR           [default: 127.0.0.1]
  --port N              [default: 9001]
  --mode MODE           echo or broadcast, if the library can [default: echo]
  --max-payload BYTES   longest message [default: 16384]
  --idle-timeout SECS   0 for never [default: 120]
  --compress none       none of these compress
";
