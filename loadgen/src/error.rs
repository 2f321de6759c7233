//! [`Error`]: why a measurement came to nothing, and what to do.

use std::{fmt, io, path::PathBuf, time::Duration};

use sockeye::{client, http, reactor::Address, ws};

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// The URL cannot be used.
    Url(client::UrlError),
    /// The options contradict each other.
    Options(&'static str),
    /// The generator's reactor could not be set up.
    Backend(io::Error),
    /// The processor cannot be used.
    Processor(usize, io::Error),
    /// There is no such process, or it is not ours.
    Process(u32, io::Error),
    /// A connection could not be opened.
    Connect {
        /// Where to.
        address: Address,
        /// How many were open.
        open: usize,
        /// Why.
        error: io::Error,
    },
    /// The server did not accept the WebSocket.
    Refused(http::Status),
    /// The opening handshake went wrong.
    Handshake(ws::ClientHandshakeError),
    /// The answer is not HTTP.
    NotHttp(http::Error),
    /// An answer was not what was asked for.
    Wrong {
        /// The connection's number.
        connection: usize,
        /// What is wrong about it.
        what: String,
    },
    /// The server broke the WebSocket protocol.
    Protocol {
        /// The connection's number.
        connection: usize,
        /// The fault.
        error: ws::Error,
    },
    /// The server ended a connection.
    Ended {
        /// The connection's number.
        connection: usize,
        /// Its close code and reason, or the kernel's word.
        how: String,
    },
    /// Nothing came for so long.
    Silent {
        /// How long.
        time: Duration,
        /// How many answers were due.
        due: u64,
    },
    /// The messages that have not been answered fill the memory.
    TooSlow {
        /// How many there are.
        due: u64,
    },
    /// Something has changed in the course of a soak that should not.
    Drift(Vec<String>),
    /// The reactor gave up.
    Io(io::Error),
    /// A result could not be written.
    Write(PathBuf, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "cannot use this URL: {error}"),
            Self::Options(text) => f.write_str(text),
            Self::Backend(error) => write!(f, "{error}: try --backend epoll"),
            Self::Processor(number, error) => {
                write!(f, "cannot run on processor {number} ({error}): see taskset -p $$")
            }
            Self::Process(pid, error) => {
                write!(f, "cannot read /proc/{pid} ({error}): give --pid the server's process id")
            }
            Self::Connect { address, open, error } => {
                write!(f, "cannot connect to {address} with {open} connections open ({error})")?;
                f.write_str(connect_hint(error))
            }
            Self::Refused(status) => {
                let code = status.code();
                write!(f, "the server answered {code}, not 101: is a WebSocket at this path?")
            }
            Self::Handshake(error) => write!(f, "opening handshake: {error}"),
            Self::NotHttp(error) => write!(f, "the answer is not HTTP: {error}"),
            Self::Wrong { connection, what } => {
                write!(f, "wrong answer on connection {connection}: {what}")
            }
            Self::Protocol { connection, error } => {
                write!(f, "the server broke the protocol on connection {connection}: {error}")
            }
            Self::Ended { connection, how } => {
                write!(f, "the server ended connection {connection}: {how}")
            }
            Self::Silent { time, due } => write!(
                f,
                "nothing came for {time:?} though {due} answers were due: the server has lost \
                 them, or needs more --patience"
            ),
            Self::TooSlow { due } => {
                write!(f, "{due} messages wait for their answer: lower --rate")
            }
            Self::Drift(faults) => write!(f, "the server drifts: {}", faults.join("; ")),
            Self::Io(error) => write!(f, "{error}"),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

impl From<client::UrlError> for Error {
    fn from(error: client::UrlError) -> Self {
        Self::Url(error)
    }
}

impl From<ws::ClientHandshakeError> for Error {
    fn from(error: ws::ClientHandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn connect_hint(error: &io::Error) -> &'static str {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    match (error.raw_os_error(), error.kind()) {
        (Some(EMFILE), _) => {
            ": descriptors have run out; raise the limit with ulimit -n, here and for the server"
        }
        (Some(ENFILE), _) => ": the machine's descriptors have run out; raise fs.file-max",
        (_, io::ErrorKind::AddrNotAvailable) => {
            ": ports have run out; use more --sources, or widen net.ipv4.ip_local_port_range"
        }
        (_, io::ErrorKind::ConnectionRefused) => ": is the server running there?",
        (_, io::ErrorKind::TimedOut) => {
            ": the server does not accept fast enough; are its descriptors or its backlog at \
             their limit?"
        }
        _ => "",
    }
}
