//! [`Error`]: why a server cannot start or go on.

use std::{fmt, io};

/// Why a server cannot start or go on. Its text says what to do.
///
/// ```
/// use sockeye::{App, Error, Server};
///
/// let error = Server::new(App::new).listen("nowhere").start().unwrap_err();
/// assert!(matches!(error, Error::Listen { .. }));
/// assert!(error.to_string().contains("HOST:PORT"));
/// ```
#[derive(Debug)]
pub enum Error {
    /// A route, a limit or another setting with which no server can work.
    Config(String),
    /// An address where it is not possible to listen.
    Listen {
        /// As it was given.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The backend that was asked for is not to be had.
    Backend(io::Error),
    /// A worker could not go on.
    Worker(io::Error),
}

/// With [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) => f.write_str(text),
            Self::Listen { address, source } => {
                write!(f, "cannot listen on {address}: {source}{}", hint(source))
            }
            Self::Backend(source) => {
                write!(f, "{source}{}; the backend `epoll` needs less", hint(source))
            }
            Self::Worker(source) => write!(f, "a worker cannot go on: {source}{}", hint(source)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(_) => None,
            Self::Listen { source, .. } | Self::Backend(source) | Self::Worker(source) => {
                Some(source)
            }
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process listens there: stop it, or choose another port (0 for any)"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 and paths of others need the right to use them: \
            choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => match error.raw_os_error() {
            Some(libc::EMFILE) => "; raise the limit with `ulimit -n`",
            Some(libc::ENFILE) => "; the machine has none left: raise the sysctl fs.file-max",
            Some(libc::ENOSPC) => "; raise the sysctl fs.epoll.max_user_watches",
            Some(libc::EAGAIN) => "; no more threads may be started: see `ulimit -u`",
            Some(libc::ENOMEM | libc::ENOBUFS) => {
                "; the kernel has no memory for it: free some, or start fewer workers"
            }
            _ => "",
        },
    }
}
