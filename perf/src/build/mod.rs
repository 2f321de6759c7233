//! [`Workshop`]: builds the peers, from the package registries alone, below the target directory.
//!
//! What is built stays there; it is built again when its sources here, or its compiler, change.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{candidate::Candidate, error::Error};

mod node;
mod tokio;
mod uwebsockets;

/// How to start a server, but for its options.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) executable: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// Where peers are built.
#[derive(Debug)]
pub(crate) struct Workshop {
    // Below it, one directory for each kind of peer.
    directory: PathBuf,
}

impl Workshop {
    /// Beside the present program.
    pub(crate) fn new() -> Result<Self, Error> {
        let program = own_program()?;
        let target = program.ancestors().nth(2).unwrap_or(Path::new("target"));
        Ok(Self { directory: target.join("peers") })
    }

    /// Makes sure that there is such a server.
    pub(crate) fn build(&self, candidate: Candidate) -> Result<Program, Error> {
        match candidate {
            Candidate::Uring | Candidate::Epoll | Candidate::FloorUring | Candidate::FloorEpoll => {
                Ok(Program {
                    executable: own_program()?,
                    arguments: vec!["serve".into(), candidate.name().into()],
                })
            }
            Candidate::Uwebsockets => uwebsockets::build(self),
            Candidate::Fastwebsockets
            | Candidate::TokioWebsockets
            | Candidate::TokioTungstenite
            | Candidate::SockudoWs => tokio::build(self, candidate),
            Candidate::Ws => node::build(self, node::Runtime::Node),
            Candidate::Bun => node::build(self, node::Runtime::Bun),
        }
    }

    /// A directory of this name, which is there.
    fn room(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).map_err(Error::io(format!("cannot make {}", path.display())))?;
        Ok(path)
    }

    /// Where the logs of servers go.
    pub(crate) fn logs(&self) -> Result<PathBuf, Error> {
        self.room("logs")
    }

    /// Runs a command that builds something; its output goes into a log of that name.
    fn run(&self, what: &str, command: &mut Command) -> Result<(), Error> {
        let log = self.logs()?.join(format!("build-{what}.log"));
        let file =
            File::create(&log).map_err(Error::io(format!("cannot write {}", log.display())))?;
        let error_file = file.try_clone().map_err(Error::io("cannot share a log"))?;
        let status = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(error_file)
            .status()
            .map_err(Error::io(format!("cannot run {}", command.get_program().display())))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Build { what: what.to_owned(), status, log })
    }
}

/// The source of the peers, in the repository that this program was built from.
fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// The path of this program.
pub(crate) fn own_program() -> Result<PathBuf, Error> {
    env::current_exe().map_err(Error::io("this program does not know where it is"))
}

/// Cargo, as it runs outside of any package.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Settings that were meant for the program that runs now.
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    command
}

/// What a command prints, without what stands around it.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
