//! The peers over tokio: a package of their own, built like this one.

use super::{Program, Workshop, cargo, sources};
use crate::{candidate::Candidate, error::Error};

pub(super) fn build(workshop: &Workshop, candidate: Candidate) -> Result<Program, Error> {
    let room = workshop.room("tokio")?;
    let manifest = sources("tokio").join("Cargo.toml");
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--bin", candidate.name()]);
    command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(&room);
    workshop.run(candidate.name(), &mut command)?;
    Ok(Program { executable: room.join("release").join(candidate.name()), arguments: Vec::new() })
}
