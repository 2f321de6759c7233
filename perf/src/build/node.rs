//! The peers in JavaScript: npm brings `ws`, and Bun with everything it needs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Program, Workshop, output, sources};
use crate::error::Error;

/// What runs the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runtime {
    Node,
    Bun,
}

pub(super) fn build(workshop: &Workshop, runtime: Runtime) -> Result<Program, Error> {
    let room = workshop.room("node")?;
    let mut is_current = room.join("node_modules").exists();
    for name in FILES {
        let (from, to) = (sources("node").join(name), room.join(name));
        let text = fs::read(&from).map_err(Error::io(from.display().to_string()))?;
        if fs::read(&to).is_ok_and(|old| old == text) {
            continue;
        }
        is_current &= !name.ends_with(".json");
        fs::write(&to, text).map_err(Error::io(to.display().to_string()))?;
    }
    if !is_current {
        output("npm", &["--version"]).ok_or(NO_NPM)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&room);
        workshop.run("node", &mut npm)?;
    }
    let path = |name: &str| room.join(name).display().to_string();
    Ok(match runtime {
        Runtime::Node => Program { executable: "node".into(), arguments: vec![path("ws.mjs")] },
        Runtime::Bun => Program { executable: find_bun(&room)?, arguments: vec![path("bun.mjs")] },
    })
}

/// The package `bun` is a script that looks for this; npm has chosen the one for this machine.
fn find_bun(room: &Path) -> Result<PathBuf, Error> {
    let directory = room.join("node_modules/@oven");
    let entries = fs::read_dir(&directory).map_err(|_| Error::Sources(directory.clone()))?;
    let mut programs = entries.flatten().map(|entry| entry.path().join("bin/bun"));
    programs.find(|path| path.exists()).ok_or(Error::Sources(directory))
}

const FILES: [&str; 5] = ["package.json", "package-lock.json", "options.mjs", "ws.mjs", "bun.mjs"];
const NO_NPM: Error = Error::Tool { name: "npm", hint: "install Node to compare with ws and Bun" };
