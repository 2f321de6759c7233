//! `perf instructions`: how many instructions each kernel takes, by callgrind, against a record.
//!
//! Counts do not depend on how busy the machine is, so that a check can be strict where times
//! cannot. They do depend on the compiler, and on which vector instructions the processor has
//! (callgrind knows them up to AVX2, so newer processors all count alike); the record says what
//! it was made with, and counts made with something else are shown and not judged.

use std::{
    fmt::Write,
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    build::{output, own_program},
    error::Error,
    kernels,
    options::Instructions,
    results::significant,
};

/// Counts, prints, and compares or records.
pub(crate) fn run(options: &Instructions) -> Result<(), Error> {
    let path = options.file.clone().unwrap_or_else(default_record);
    let record = match fs::read_to_string(&path) {
        Ok(text) => Record::parse(&text),
        Err(_) if options.record => Record::default(),
        Err(error) => return Err(Error::Io { what: path.display().to_string(), error }),
    };
    let mut found = Record { environment: environment(), counts: Vec::new() };
    println!("{:<42} {:>12} {:>12} {:>8}", "kernel", "instructions", "recorded", "change");
    for kernel in kernels::all() {
        if !kernel.name.starts_with(&options.beginning) {
            continue;
        }
        let each = count(kernel.name)? / f64::from(kernel.count);
        let recorded = record.find(kernel.name);
        let change = recorded.map(|recorded| percent(each, recorded));
        let recorded = recorded.map_or("–".into(), significant);
        let shown = change.map_or("new".into(), |change| format!("{change:+.1} %"));
        println!("{:<42} {:>12} {recorded:>12} {shown:>8}", kernel.name, significant(each));
        found.counts.push((kernel.name.to_owned(), each));
    }
    if options.record {
        let text = record.updated(found).to_csv();
        fs::write(&path, text).map_err(Error::io(path.display().to_string()))?;
        println!("Recorded in {}", path.display());
        return Ok(());
    }
    judge(&record, &found, options.tolerance)
}

/// `perf kernel`: under callgrind, which counts only inside of [`counted_run`].
pub(crate) fn run_kernel(name: &str) -> Result<(), Error> {
    let mut kernels = kernels::all();
    let found = kernels.iter_mut().find(|kernel| kernel.name == name);
    let Some(kernel) = found else {
        return Err(Error::Options(format!("there is no kernel '{name}'")));
    };
    // Memory is allocated and tables are filled the first time.
    black_box((kernel.run)());
    black_box(counted_run(kernel));
    Ok(())
}

/// Callgrind finds it by this name.
#[inline(never)]
fn counted_run(kernel: &mut kernels::Kernel) -> usize {
    (kernel.run)()
}

/// Instructions of one run.
fn count(name: &str) -> Result<f64, Error> {
    let program = own_program()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--toggle-collect=*counted_run*"])
        .arg(&program)
        .args(["kernel", name])
        .stdin(Stdio::null())
        .output()
        .map_err(|_| NO_VALGRIND)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(collected).filter(|count| *count > 0.0);
    match count {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(Error::Load { what: name.to_owned(), why: text.into_owned() }),
    }
}

/// `==7== Collected : 1234`.
fn collected(line: &str) -> Option<f64> {
    line.split_once("Collected :")?.1.trim().parse().ok()
}

/// Counts, and what they were made with.
#[derive(Debug, Default, PartialEq)]
struct Record {
    environment: String,
    counts: Vec<(String, f64)>,
}

impl Record {
    fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            if let Some(environment) = line.strip_prefix("# ") {
                environment.clone_into(&mut record.environment);
            } else if let Some((name, count)) = line.rsplit_once(';')
                && let Ok(count) = count.parse()
            {
                record.counts.push((name.to_owned(), count));
            }
        }
        record
    }

    fn to_csv(&self) -> String {
        let mut text = format!("# {}\nkernel;instructions\n", self.environment);
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name};{count:.2}");
        }
        text
    }

    fn find(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }

    /// With the new counts, and the old ones of kernels that were not counted now.
    fn updated(self, mut new: Self) -> Self {
        let names: Vec<_> = kernels::all().iter().map(|kernel| kernel.name).collect();
        for (name, count) in self.counts {
            if new.find(&name).is_none() && names.contains(&&*name) {
                new.counts.push((name, count));
            }
        }
        new
    }
}

fn judge(record: &Record, found: &Record, tolerance: f64) -> Result<(), Error> {
    let mut faults = Vec::new();
    for (name, count) in &found.counts {
        match record.find(name) {
            None => faults.push(format!("{name} is not in the record")),
            Some(recorded) if percent(*count, recorded) > tolerance => {
                faults.push(format!("{name} takes {:+.1} %", percent(*count, recorded)));
            }
            Some(_) => {}
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let mut text = faults.join("\n");
    if record.environment != found.environment {
        // Another compiler or processor counts otherwise: that is no fault of the code.
        println!(
            "{text}\nNot judged: the record was made with another compiler or processor.\
             \n  then: {}\n  now:  {}",
            record.environment, found.environment
        );
        return Ok(());
    }
    text += "\nIf that is meant to be: perf instructions --record, and say why in the commit.";
    Err(Error::Options(text))
}

fn percent(count: f64, recorded: f64) -> f64 {
    (count / recorded - 1.0) * 100.0
}

/// What counts depend on.
fn environment() -> String {
    let compiler = output("rustc", &["--version"]).unwrap_or("an unknown compiler".into());
    let valgrind = output("valgrind", &["--version"]).unwrap_or("no valgrind".into());
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| flags.split_ascii_whitespace().any(|word| word == flag);
    let vectors = ["avx2", "sha_ni"].map(|flag| if has(flag) { flag } else { "" });
    format!("{compiler}; {valgrind}; {} {}", std::env::consts::ARCH, vectors.join(" "))
}

fn default_record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.csv")
}

const NO_VALGRIND: Error =
    Error::Tool { name: "valgrind", hint: "it counts (Debian: apt install valgrind)" };

#[cfg(test)]
mod tests {
    use super::*;

    fn record(environment: &str, counts: &[(&str, f64)]) -> Record {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Record { environment: environment.into(), counts }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record("rustc 1; x86_64", &[("mask/20 B", 12.25), ("a, b/1; 2", 7.0)]);
        assert_eq!(Record::parse(&record.to_csv()), record);
    }

    #[test]
    fn growth_beyond_the_tolerance_is_a_fault() {
        let old = record("then", &[("a", 100.0), ("b", 100.0)]);
        assert!(judge(&old, &record("then", &[("a", 104.9), ("b", 50.0)]), 5.0).is_ok());
        let error = judge(&old, &record("then", &[("a", 105.1), ("b", 100.0)]), 5.0).unwrap_err();
        assert!(error.to_string().contains("a takes +5.1 %"), "{error}");
        let elsewhere = record("now", &[("a", 105.1), ("b", 100.0)]);
        assert!(judge(&old, &elsewhere, 5.0).is_ok(), "another machine's counts are not judged");
        assert!(judge(&old, &record("then", &[("c", 1.0)]), 5.0).is_err(), "unknown");
    }

    #[test]
    fn names_are_different_and_runs_agree() {
        let mut kernels = kernels::all();
        for kernel in &mut kernels {
            let first = (kernel.run)();
            assert!(first > 0 && kernel.count > 0, "{}", kernel.name);
            assert_eq!((kernel.run)(), first, "{}", kernel.name);
        }
        let mut names: Vec<_> = kernels.iter().map(|kernel| kernel.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kernels.len());
    }

    #[test]
    fn the_count_is_found_in_what_callgrind_prints() {
        assert_eq!(collected("==21== Collected : 123456"), Some(123_456.0));
        assert_eq!(collected("==21== Events    : Ir"), None);
    }
}
