//! uWebSockets, from the C++ sources inside the package `libuwebsockets-sys`, without its
//! bindings: the peer is a C++ program of ours, compiled as uWebSockets' own Makefile compiles
//! its examples.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Program, Workshop, cargo, output, sources};
use crate::error::Error;

pub(super) fn build(workshop: &Workshop) -> Result<Program, Error> {
    let room = workshop.room("uwebsockets")?;
    let executable = room.join("uwebsockets");
    let main = sources("uwebsockets").join("main.cpp");
    let compiler = output("g++", &["--version"]).ok_or(NO_COMPILER)?;
    let text = fs::read_to_string(&main).map_err(Error::io(main.display().to_string()))?;
    let has_zlib = Path::new("/usr/include/zlib.h").exists();
    let stamp = format!("{PACKAGE} {compiler} {has_zlib} {FLAGS:?}\n{text}");
    let stamp_path = room.join("stamp");
    let is_current = fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp);
    if !is_current || !executable.exists() {
        let library = find_sources(workshop, &room)?;
        compile(workshop, &room, &library, &main, &executable, has_zlib)?;
        fs::write(&stamp_path, stamp).map_err(Error::io("cannot write a stamp"))?;
    }
    Ok(Program { executable, arguments: Vec::new() })
}

/// Has cargo fetch the package, and asks it where it is.
fn find_sources(workshop: &Workshop, room: &Path) -> Result<PathBuf, Error> {
    let manifest = room.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\npath = \"lib.rs\"\n[dependencies]\n{PACKAGE}\n[workspace]\n"
    );
    fs::write(&manifest, text).map_err(Error::io("cannot write a manifest"))?;
    fs::write(room.join("lib.rs"), "").map_err(Error::io("cannot write a manifest"))?;
    let path = manifest.display().to_string();
    workshop.run("uwebsockets-fetch", cargo().args(["fetch", "--manifest-path", &path]))?;
    let metadata = cargo()
        .args(["metadata", "--format-version", "1", "--offline", "--manifest-path", &path])
        .output()
        .map_err(Error::io("cannot run cargo metadata"))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.stdout).unwrap_or(serde_json::Value::Null);
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let package = packages.iter().find(|package| package["name"] == "libuwebsockets-sys");
    let manifest = package.and_then(|package| package["manifest_path"].as_str()).unwrap_or("");
    let library = Path::new(manifest).with_file_name("uWebSockets");
    if library.join("src/App.h").exists() { Ok(library) } else { Err(Error::Sources(library)) }
}

fn compile(
    workshop: &Workshop,
    room: &Path,
    library: &Path,
    main: &Path,
    executable: &Path,
    has_zlib: bool,
) -> Result<(), Error> {
    let headers = format!("-I{}", library.join("src").display());
    let sockets = library.join("uSockets/src");
    let socket_headers = format!("-I{}", sockets.display());
    let mut objects = Vec::new();
    for directory in ["", "eventing", "crypto"] {
        for source in c_files(&sockets.join(directory))? {
            let name = source.file_stem().unwrap_or_default();
            let object = room.join(name).with_extension("o");
            let mut command = Command::new("gcc");
            command.args(FLAGS).args(["-std=c11", "-DLIBUS_NO_SSL", &socket_headers, "-c"]);
            command.arg(source).arg("-o").arg(&object);
            workshop.run("uwebsockets", &mut command)?;
            objects.push(object);
        }
    }
    let mut command = Command::new("g++");
    command.args(FLAGS).args(["-std=c++20", &headers, &socket_headers]).arg(main).args(objects);
    command.arg("-o").arg(executable);
    // Without zlib only the shapes with compression are out of reach.
    command.arg(if has_zlib { "-lz" } else { "-DUWS_NO_ZLIB" });
    workshop.run("uwebsockets", &mut command)
}

fn c_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(directory).map_err(|_| Error::Sources(directory.to_owned()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "c")).collect();
    paths.sort();
    Ok(paths)
}

const PACKAGE: &str = "libuwebsockets-sys = \"=0.0.10\"";
const FLAGS: [&str; 3] = ["-O3", "-march=native", "-flto"];
const NO_COMPILER: Error =
    Error::Tool { name: "g++", hint: "uWebSockets needs a C++ compiler (Debian: apt install g++)" };
