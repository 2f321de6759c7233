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
                let is_path = address.starts_with("unix:");
                let hint = if is_path { path_hint(source) } else { hint(source) };
                write!(f, "cannot listen on {address}: {source}{hint}")
            }
            // Another backend would need them too.
            Self::Backend(source) if is_out_of_descriptors(source) => {
                write!(f, "a worker cannot start: {source}{}", hint(source))
            }
            Self::Backend(source) => {
                let hint = "choose the backend `epoll`, or `auto`, which falls back to it";
                write!(f, "{source}; {hint}")
            }
            Self::Worker(source) => write!(f, "a worker cannot go on: {source}{}", hint(source)),
        }
    }
}

/// As [`Display`](fmt::Display): what a `main` prints that returns this error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
            "; ports below 1024 need the right to use them: choose one from 1024 on, or grant \
            CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        // What the kernel says when it will not make another thread.
        io::ErrorKind::WouldBlock => {
            "; there may be no more threads: choose fewer workers, or raise `ulimit -u`"
        }
        _ if is_out_of_descriptors(error) => {
            "; descriptors have run out: choose fewer workers, or raise `ulimit -n`"
        }
        _ => "",
    }
}

/// As [`hint`], for the path of a Unix socket.
fn path_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; something is there: stop the server that listens there, remove the file, \
            or choose another path"
        }
        io::ErrorKind::NotFound => "; its folder must be there before",
        io::ErrorKind::PermissionDenied => "; this user may not write to the folder",
        io::ErrorKind::InvalidInput => "; at most 107 bytes",
        _ => hint(error),
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(error: &Error, words: &[&str], unwanted: &str) {
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "no '{word}' in '{text}'");
        }
        assert!(!text.contains(unwanted), "'{unwanted}' in '{text}'");
    }

    #[test]
    fn each_error_says_what_helps_against_it() {
        let system = io::Error::from_raw_os_error;
        for code in [libc::EMFILE, libc::ENFILE] {
            expect(&Error::Backend(system(code)), &["ulimit -n"], "auto");
            expect(&Error::Worker(system(code)), &["ulimit -n"], "auto");
        }
        expect(&Error::Backend(system(libc::EPERM)), &["`epoll`", "`auto`"], "port");
        expect(&Error::Worker(system(libc::EAGAIN)), &["fewer workers", "ulimit -u"], "port");
        let listen = |address: &str, code| {
            let address = address.to_owned();
            Error::Listen { address, source: system(code) }
        };
        expect(&listen("127.0.0.1:80", libc::EADDRINUSE), &["another port"], "path");
        expect(&listen("unix:a", libc::EADDRINUSE), &["remove", "another path"], "port");
        expect(&listen("unix:a/b", libc::ENOENT), &["folder"], "port");
        expect(&listen("127.0.0.1:80", libc::EACCES), &["CAP_NET_BIND_SERVICE"], "auto");
        expect(&listen("unix:a", libc::EACCES), &["may not write"], "port");
    }
}
