//! The house rules that a machine can keep: floors, sizes, where unsafe code may stand, and words
//! that do not belong into a finished file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// Each module of the crate, and the modules it may import. Downward only; `ws` may use `http`,
/// because the opening handshake is HTTP.
const FLOORS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("simd", &[]),
    ("http", &["base", "simd"]),
    ("ws", &["base", "simd", "http"]),
    ("pubsub", &["base", "simd"]),
    ("reactor", &["base"]),
    ("conn", &["base", "simd", "http", "ws", "pubsub", "reactor"]),
    ("cluster", &["base", "simd", "http", "ws", "pubsub", "reactor", "conn"]),
    ("client", &["base", "simd", "http", "ws", "pubsub", "reactor", "conn"]),
    ("app", &["base", "simd", "http", "ws", "pubsub", "reactor", "conn", "cluster", "client"]),
];

/// Floors 0 and 1 are told the time and are given bytes; they fetch neither.
const WITHOUT_IO: &[&str] = &["base", "simd", "http", "ws", "pubsub"];

/// What a floor without I/O does not name. Addresses are plain data and therefore free.
const IO_WORDS: &[&str] = &[
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "thread",
    "thread_local",
    "fs",
    "env",
    "process",
    "libc",
    "mio",
    "socket2",
    "io_uring",
];

/// Where unsafe code may stand: files and folders.
const UNSAFE_ALLOWED: &[&str] = &[
    "src/simd/",
    "src/reactor/uring.rs",
    "src/reactor/uring/",
    "src/reactor/buffers.rs",
    "src/reactor/sys.rs",
    // Libraries in C that ours is compared with.
    "perf/peers/deflate/src/foreign.rs",
    // Limits and CPU time of a process, which no library here speaks of.
    "tests/descriptors.rs",
    // The functions of the C library, defined anew.
    "tests/calls/shim.rs",
];

const MAX_COLUMNS: usize = 100;
const MAX_LINES: usize = 600;
const MAX_LINES_OF_EXAMPLE: usize = 99;

/// A Rust file of this repository.
struct Source {
    /// From the root of the repository, with slashes.
    path: String,
    text: String,
    /// The text with comments, strings and characters blanked; the same lines.
    code: String,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let code = blank_comments_and_literals(&text);
        Self { path, text, code }
    }

    /// The module of the crate that this file belongs to, if it is the library's.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?;
        let name = name.strip_suffix(".rs").unwrap_or(name);
        (name != "lib").then_some(name)
    }

    /// Whether the whole file is tests.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/cases.rs")
    }

    /// How many lines come before the unit tests, which stand last in a file.
    fn lines_without_tests(&self) -> usize {
        let lines: Vec<&str> = self.code.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]"
                && pair[1].starts_with("mod ")
                && pair[1].ends_with('{')
        });
        tests.unwrap_or(lines.len())
    }

    /// The code before the unit tests.
    fn code_without_tests(&self) -> String {
        let lines = if self.is_test() { 0 } else { self.lines_without_tests() };
        self.code.lines().take(lines).fold(String::new(), |code, line| code + line + "\n")
    }
}

/// What was found, one line each.
#[derive(Default)]
struct Faults(String);

impl Faults {
    fn add(&mut self, source: &Source, line: usize, fault: &str) {
        writeln!(self.0, "{}:{line}: {fault}", source.path).unwrap();
    }

    #[track_caller]
    fn expect_none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}

/// All Rust files of the repository, in order.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "loadgen", "perf"] {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let sources: Vec<Source> = paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            Source::new(name, fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(sources.len() > 10, "the files are somewhere else");
    sources
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap();
        if path.is_dir() && name != "target" && name != "node_modules" {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

#[test]
fn imports_go_downward() {
    let mut faults = Faults::default();
    for source in sources() {
        let Some(module) = source.module() else { continue };
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == module) else {
            faults.add(&source, 1, &format!("no floor is known for the module {module}"));
            continue;
        };
        for (line, import) in imports(&source) {
            let is_floor = FLOORS.iter().any(|(name, _)| *name == import);
            if is_floor && import != module && !allowed.contains(&import.as_str()) {
                faults.add(&source, line, &format!("{module} may not import {import}"));
            }
        }
    }
    faults.expect_none();
}

#[test]
fn protocols_do_no_io() {
    let mut faults = Faults::default();
    for source in sources() {
        if !source.module().is_some_and(|module| WITHOUT_IO.contains(&module)) {
            continue;
        }
        for (index, line) in source.code_without_tests().lines().enumerate() {
            let is_path = |word: &str| line.contains("use ") || line.contains(&format!("{word}::"));
            for word in words(line).filter(|word| IO_WORDS.contains(word) && is_path(word)) {
                faults.add(&source, index + 1, &format!("{word} in a floor without I/O"));
            }
        }
    }
    faults.expect_none();
}

#[test]
fn unsafe_code_stays_where_it_is_allowed() {
    let mut faults = Faults::default();
    for source in sources() {
        if UNSAFE_ALLOWED.iter().any(|allowed| source.path.starts_with(allowed)) {
            continue;
        }
        for (index, line) in source.code.lines().enumerate() {
            if words(line).any(|word| word == "unsafe") {
                faults.add(&source, index + 1, "unsafe code");
            }
        }
    }
    faults.expect_none();
}

#[test]
fn files_and_lines_are_short() {
    let mut faults = Faults::default();
    for source in sources() {
        let lines = source.lines_without_tests();
        if !source.is_test() && lines > MAX_LINES {
            faults.add(&source, lines, &format!("more than {MAX_LINES} lines without tests"));
        }
        if source.path.starts_with("examples/")
            && source.text.lines().count() > MAX_LINES_OF_EXAMPLE
        {
            faults.add(&source, lines, &format!("more than {MAX_LINES_OF_EXAMPLE} lines"));
        }
        for (index, line) in source.text.lines().enumerate() {
            if line.chars().count() > MAX_COLUMNS {
                faults.add(&source, index + 1, &format!("more than {MAX_COLUMNS} columns"));
            }
        }
    }
    faults.expect_none();
}

#[test]
fn files_say_what_they_are() {
    let mut faults = Faults::default();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            faults.add(&source, 1, "does not begin with a module comment");
        }
    }
    faults.expect_none();
}

#[test]
fn nothing_is_left_undone() {
    let mut faults = Faults::default();
    for source in sources() {
        for (index, line) in source.code.lines().enumerate() {
            for left in ["todo!", "unimplemented!", "dbg!", "#[ignore"] {
                if line.contains(left) {
                    faults.add(&source, index + 1, left);
                }
            }
        }
    }
    faults.expect_none();
}

/// Peers choose topics, paths and addresses: with a hash that they can compute, they could choose
/// those that collide. The standard library's tables are seeded at random unless they are told not
/// to.
#[test]
fn tables_are_hashed_with_a_secret() {
    let mut faults = Faults::default();
    let (mut tables, open) = (0, ["with_hasher", "BuildHasher", "DefaultHasher", "hasher"]);
    for source in sources().iter().filter(|source| source.module().is_some()) {
        for (index, line) in source.code_without_tests().lines().enumerate() {
            tables += words(line).filter(|word| matches!(*word, "HashMap" | "HashSet")).count();
            if words(line).any(|word| open.iter().any(|open| word.contains(open))) {
                faults.add(source, index + 1, "a hash without a secret");
            }
        }
    }
    assert!(tables > 5, "the tables are something else");
    faults.expect_none();
}

/// Where the limits are that an application can set, and as which type.
const LIMITS: &[(&str, &str)] = &[
    ("src/app/limits.rs", "Limits"),
    ("src/app/config.rs", "WebSocketConfig"),
    ("src/http/limits.rs", "Limits"),
    ("src/pubsub/mod.rs", "Limits"),
    ("src/ws/limits.rs", "Limits"),
];

/// Tests that set all limits, or draw them, and so reach none in particular.
const SETS_ALL_LIMITS: &[&str] =
    &["tests/sim/options.rs", "tests/server/misuse.rs", "tests/fuzz_targets/"];

#[test]
fn limits_have_a_default_and_a_test() {
    let (mut faults, sources) = (Faults::default(), sources());
    let tests: Vec<(&str, String)> = sources
        .iter()
        .filter(|test| !SETS_ALL_LIMITS.iter().any(|other| test.path.starts_with(other)))
        .filter_map(|test| tests_of(test).map(|code| (&*test.path, code)))
        .collect();
    let words: Vec<(&str, HashSet<&str>)> =
        tests.iter().map(|(path, code)| (*path, words(code).collect())).collect();
    let mut count = 0;
    for (path, name) in LIMITS {
        let source = sources.iter().find(|source| source.path == *path).unwrap();
        for (line, field, doc) in fields(source, name) {
            count += 1;
            if !doc.contains("Default") {
                faults.add(source, line, &format!("{field}: no word about its default"));
            }
            // The file of the limits itself tests their defaults only.
            let is_set = words.iter().any(|(test, words)| test != path && words.contains(field));
            if !is_set {
                faults.add(source, line, &format!("{field}: no test that reaches it"));
            }
        }
    }
    assert!(count > 40, "{count} limits only: they are somewhere else");
    faults.expect_none();
}

#[test]
fn limits_that_are_constant_say_what_of() {
    let mut faults = Faults::default();
    for source in sources().iter().filter(|source| source.module().is_some()) {
        let lines: Vec<&str> = source.text.lines().take(source.lines_without_tests()).collect();
        for (index, pair) in lines.windows(2).enumerate() {
            let names_limit = pair[1].contains("const MAX_") && !pair[1].trim().starts_with("//");
            if !source.is_test() && names_limit && !pair[0].trim().starts_with("///") {
                faults.add(source, index + 2, "a limit without a comment");
            }
        }
    }
    faults.expect_none();
}

/// The public fields of a struct: line, name and comment. Those that have limits of their own are
/// left out.
fn fields<'s>(source: &'s Source, name: &str) -> Vec<(usize, &'s str, String)> {
    let head = format!("pub struct {name} {{");
    let lines = source.text.lines().enumerate().skip_while(|(_, line)| *line != head).skip(1);
    let (mut found, mut doc) = (Vec::new(), String::new());
    for (index, line) in lines.take_while(|(_, line)| *line != "}") {
        if let Some(text) = line.trim().strip_prefix("///") {
            doc += text;
        } else if let Some((field, kind)) =
            line.trim().strip_prefix("pub ").and_then(|rest| rest.split_once(':'))
        {
            let text = std::mem::take(&mut doc);
            if !kind.contains("::Limits") {
                found.push((index + 1, field, text));
            }
        }
    }
    found
}

/// The code of the tests in a file.
fn tests_of(source: &Source) -> Option<String> {
    if source.is_test() {
        return Some(source.code.clone());
    }
    let lines = source.lines_without_tests();
    let code: Vec<&str> = source.code.lines().skip(lines).collect();
    (!code.is_empty()).then(|| code.join("\n"))
}

#[test]
fn security_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let sources = sources();
    let targets = sources.iter().find(|s| s.path == "tests/fuzz_targets/mod.rs").unwrap();
    let (mut count, mut missing) = (0, String::new());
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.contains("| --- |"));
    for row in rows.skip(1) {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            writeln!(missing, "no test: {row}").unwrap();
        }
        for name in names {
            count += 1;
            let exists = if name.contains("::") {
                sources.iter().any(|source| has_test(source, name))
            } else if name.contains('/') || name == "fuzz" {
                root.join(name).exists()
            } else {
                targets.text.contains(&format!("(\"{name}\", "))
            };
            if !exists {
                writeln!(missing, "{name}").unwrap();
            }
        }
    }
    assert!(count > 20 && missing.is_empty(), "\n{count} names; these are not there:\n{missing}");
}

/// Whether a file has the test, or is the module, of this name: `server::life::a_test`.
fn has_test(source: &Source, name: &str) -> bool {
    let Some((modules, last)) = name.rsplit_once("::") else { return false };
    let path = source.path.trim_end_matches(".rs").replace('/', "::");
    let is_module = path.ends_with(&format!("::{name}")) && source.text.contains("#[test]");
    let is_inside = path
        .trim_start_matches("src::")
        .trim_start_matches("tests::")
        .trim_end_matches("::tests")
        .trim_end_matches("::main")
        .ends_with(modules.trim_end_matches("::tests"));
    let has_function = || words(&source.code).zip(words(&source.code).skip(1));
    is_module && last != "main"
        || is_inside && has_function().any(|pair| pair == ("fn", last))
        || path.ends_with(&format!("::{name}")) && source.code.contains("scenarios!")
        || path.ends_with(&format!("::{name}::tests"))
}

/// The modules of the crate that a file names, each with its line: `crate::x`, `crate::{x, y::z}`,
/// and `super` where that is the root of the crate.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = after(&source.code, "crate::");
    let depth = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
    found.extend(after(&source.code_without_tests(), &"super::".repeat(depth)));
    found
}

/// The names that follow each `prefix`, with their lines. Braces are looked into, one level deep.
fn after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + prefix.len()..];
        let tree = rest.strip_prefix('{').map_or(rest, |inside| &inside[..closing(inside)]);
        let names = if tree.len() == rest.len() { vec![rest] } else { branches(tree) };
        let names = names.into_iter().filter_map(|name| words(name).next());
        found.extend(names.map(|name| (line, name.to_owned())));
    }
    found
}

/// Where the brace that was opened before `code` is closed.
fn closing(code: &str) -> usize {
    let mut depth = 1;
    let end = code.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    end.unwrap_or(code.len())
}

/// The parts of a use tree between the commas of its outermost level.
fn branches(tree: &str) -> Vec<&str> {
    let mut depth = 0;
    tree.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    })
    .collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The code with spaces in place of comments and of what stands between quotes.
fn blank_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| raw_string(rest)).or_else(|| quoted(rest));
        let length = skipped.unwrap_or(first.len_utf8());
        let (part, tail) = rest.split_at(length);
        if skipped.is_some() {
            code.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = tail;
        } else {
            // A whole word at once: the r or b within one begins no string.
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(length);
            code.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    code
}

fn comment(code: &str) -> Option<usize> {
    if code.starts_with("//") {
        return Some(code.find('\n').unwrap_or(code.len()));
    }
    code.starts_with("/*").then(|| code.find("*/").map_or(code.len(), |end| end + 2))
}

/// `r"…"`, `r#"…"#` and so on, with `b` or `c` before.
fn raw_string(code: &str) -> Option<usize> {
    let start = code.strip_prefix(['b', 'c']).unwrap_or(code).strip_prefix('r')?;
    let hashes = start.find(|c| c != '#')?;
    let inside = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &start[..hashes]);
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(code.len() - inside.len() + length)
}

/// `"…"` or `'…'`, with `b` or `c` before; a lifetime is neither.
fn quoted(code: &str) -> Option<usize> {
    let start = code.strip_prefix(['b', 'c']).unwrap_or(code);
    let quote = start.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = &start[1..];
    let is_lifetime =
        quote == '\'' && !inside.starts_with('\\') && inside.chars().nth(1) != Some('\'');
    if is_lifetime {
        return None;
    }
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(code.len() - inside.len() + end.map_or(inside.len(), |at| at + 1))
}

#[test]
fn the_rules_find_what_they_look_for() {
    let code = blank_comments_and_literals(
        "// unsafe\nlet a = \"unsafe \\\" unsafe\"; /* unsafe */ b'\\'' 'x' r#\"unsafe\"# &'a str",
    );
    assert_eq!(words(&code).collect::<Vec<_>>(), ["let", "a", "a", "str"]);
    assert_eq!(blank_comments_and_literals("for x in number {}"), "for x in number {}");

    let text =
        "use crate::{\n    base::{Key, Slab},\n    http,\n};\nfn f(_: crate::ws::Opcode) {}\n";
    let source = Source::new("src/conn/mod.rs".to_owned(), text.to_owned());
    let names: Vec<(usize, String)> = imports(&source);
    let expected =
        [(1, "base"), (1, "http"), (5, "ws")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(names, expected);

    let text = "use super::super::reactor::Reactor;\nuse super::http::Http;\n";
    let source = Source::new("src/conn/http.rs".to_owned(), text.to_owned());
    assert_eq!(imports(&source), [(1, "reactor".to_owned())]);

    let text = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::http::X;\n}\n";
    let source = Source::new("src/ws/mod.rs".to_owned(), text.to_owned());
    assert_eq!((source.lines_without_tests(), imports(&source).len()), (1, 0));
}
