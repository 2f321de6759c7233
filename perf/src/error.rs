//! [`Error`]: why a measurement came to nothing, and what to do.

use std::{fmt, io, path::PathBuf, process::ExitStatus};

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Error {
    /// The options do not go together, or name something that is not there.
    Options(String),
    /// A tool that builds or runs a peer is not there.
    Tool { name: &'static str, hint: &'static str },
    /// A peer could not be built.
    Build { what: String, status: ExitStatus, log: PathBuf },
    /// The sources of a peer are not where its package should have them.
    Sources(PathBuf),
    /// A server did not come up.
    Start { what: String, why: String, output: String },
    /// The load generator failed.
    Load { what: String, why: String },
    /// A server of ours ended.
    Server(String),
    /// The kernel refused something.
    Io { what: String, error: io::Error },
}

impl Error {
    /// For `map_err`: what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::Io { what, error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(text) | Self::Server(text) => f.write_str(text),
            Self::Tool { name, hint } => write!(f, "{name} is not to be had: {hint}"),
            Self::Build { what, status, log } => {
                write!(f, "{what} was not built ({status}); see {}", log.display())
            }
            Self::Sources(path) => write!(f, "there are no sources in {}", path.display()),
            Self::Start { what, why, output } => {
                write!(f, "{what} did not start: {why}")?;
                if output.is_empty() { Ok(()) } else { write!(f, "\n{output}") }
            }
            Self::Load { what, why } => write!(f, "{what}: {why}"),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {}
