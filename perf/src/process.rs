//! [`Server`]: a server that runs, on a processor of its own.

use std::{
    fs::{self, File},
    io,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sockeye::reactor::{allowed_processors, pin_thread};

use crate::{build::Program, candidate::Candidate, error::Error, options::Compress, shape::Shape};

/// Who runs where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Processors {
    /// Two different ones, unless others are asked for.
    pub(crate) fn choose(server: Option<usize>, load: Option<usize>) -> Result<Self, Error> {
        let allowed = allowed_processors();
        let (first, last) = (allowed.first().copied(), allowed.last().copied());
        let (Some(first), Some(last)) = (first, last) else {
            return Err(Error::Options("there is no processor".into()));
        };
        let chosen = Self { server: server.unwrap_or(first), load: load.unwrap_or(last) };
        for processor in [chosen.server, chosen.load] {
            if !allowed.contains(&processor) {
                let text = format!("processor {processor} may not be used; {allowed:?} may");
                return Err(Error::Options(text));
            }
        }
        if chosen.server == chosen.load && (server.is_none() || load.is_none()) {
            let hint = "there is but one processor for server and load: to share it, name it by \
                        --server-cpu and --load-cpu";
            return Err(Error::Options(hint.into()));
        }
        Ok(chosen)
    }
}

/// A server that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts it for this shape, and waits until it accepts.
    pub(crate) fn start(
        program: &Program,
        candidate: Candidate,
        shape: &Shape,
        processors: Processors,
        log: &Path,
    ) -> Result<Self, Error> {
        let port = free_port().map_err(Error::io("there is no free port"))?;
        let mut command = Command::new(&program.executable);
        command.args(&program.arguments).args(arguments(candidate, shape, port));
        let file = File::create(log).map_err(Error::io(log.display().to_string()))?;
        let error_file = file.try_clone().map_err(Error::io("cannot share a log"))?;
        command.stdin(Stdio::null()).stdout(file).stderr(error_file);
        let explain = |why: String| {
            let output = fs::read_to_string(log).unwrap_or_default();
            Error::Start { what: candidate.label().to_owned(), why, output }
        };
        // Several workers need more than one processor.
        let processor = (shape.workers == 1).then_some(processors.server);
        let child = spawn(command, processor).map_err(|error| explain(error.to_string()))?;
        let mut server = Self { child, port };
        server.wait_until_ready().map_err(explain)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if begin.elapsed() > START_TIME {
                return Err(format!("nobody accepts on port {} after {START_TIME:?}", self.port));
            }
            thread::sleep(Duration::from_millis(10));
        }
        // What it does once, after its start, is not to be measured.
        thread::sleep(SETTLE_TIME);
        Ok(())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the generator has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The options that all servers share, and those of ours.
fn arguments(candidate: Candidate, shape: &Shape, port: u16) -> Vec<String> {
    let compress = match shape.compress {
        Compress::None => "none",
        Compress::Shared => "shared",
        Compress::Dedicated => "dedicated",
    };
    let mut arguments = vec![("port", port.to_string())];
    if !candidate.is_floor() {
        arguments.push(("mode", shape.mode.name().to_owned()));
        arguments.push(("max-payload", shape.max_payload().to_string()));
        arguments.push(("idle-timeout", IDLE_TIMEOUT_SECONDS.to_string()));
        arguments.push(("compress", compress.to_owned()));
    }
    if candidate.is_ours() {
        arguments.push(("workers", shape.workers.to_string()));
        arguments.push(("busy-poll", shape.busy_poll.to_string()));
        arguments.extend(shape.level.map(|level| ("level", level.to_string())));
    }
    arguments.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
}

/// A process inherits the processors of the thread that starts it.
pub(crate) fn spawn(mut command: Command, processor: Option<usize>) -> io::Result<Child> {
    let starter = thread::spawn(move || {
        if let Some(processor) = processor {
            pin_thread(processor)?;
        }
        command.spawn()
    });
    starter.join().unwrap_or_else(|_| Err(io::Error::other("cannot start a process")))
}

/// One that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

const START_TIME: Duration = Duration::from_secs(20);
const SETTLE_TIME: Duration = Duration::from_millis(100);
const IDLE_TIMEOUT_SECONDS: u64 = 120;
