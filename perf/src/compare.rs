//! `perf compare`: every candidate in turns, under the same load.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    build::{Program, Workshop},
    candidate::Candidate,
    chart,
    error::Error,
    load::{self, Time},
    machine::{Machine, load_average},
    options::{Compare, Peer},
    process::{Processors, Server},
    results::{Entry, Row, csv},
    shape::{self, Load, Shape},
    summary::Summary,
    syscalls, table,
};

/// Builds, measures, and writes the results.
pub(crate) fn run(options: &Compare) -> Result<(), Error> {
    if options.list {
        list();
        return Ok(());
    }
    let shapes = shape::select(&options.shapes, options.quick)?;
    let processors = Processors::choose(options.server_cpu, options.load_cpu)?;
    let workshop = Workshop::new()?;
    let programs = build(&workshop, &shapes, options)?;
    let machine = Machine::look();
    let output = output(options, &machine);
    fs::create_dir_all(&output).map_err(Error::io(output.display().to_string()))?;
    let plan = Plan::new(options);
    let mut comparison =
        Comparison { plan, processors, workshop, programs, entries: Vec::new(), failures: 0 };
    comparison.warn();
    let progress = comparison.progress(&shapes);
    let mut summaries = Vec::new();
    for shape in &shapes {
        comparison.measure(shape, &progress);
        let summary = Summary::new(shape, &comparison.entries);
        progress.suspend(|| println!("{}", table::details(&summary)));
        summaries.push(summary);
        // After each shape, so that an interrupted run leaves what it has found.
        write(&output, &summaries, &comparison.entries, &machine)?;
    }
    progress.finish_and_clear();
    println!("The results are in {}", output.display());
    match comparison.failures {
        0 => Ok(()),
        count => Err(Error::Options(format!("{count} measurements failed; see above"))),
    }
}

/// How to measure.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: u32,
    time: Time,
    syscalls: bool,
}

impl Plan {
    fn new(options: &Compare) -> Self {
        let (rounds, duration, warmup) = match options.quick {
            true => (2, Duration::from_secs(1), Duration::from_millis(300)),
            false => (options.rounds, options.duration, options.warmup),
        };
        let time = Time { duration: duration.as_secs_f64(), warmup: warmup.as_secs_f64() };
        Self { rounds, time, syscalls: options.syscalls }
    }
}

struct Comparison {
    plan: Plan,
    processors: Processors,
    workshop: Workshop,
    programs: Vec<(Candidate, Program)>,
    entries: Vec<Entry>,
    failures: usize,
}

impl Comparison {
    /// About what makes numbers worthless.
    fn warn(&self) {
        let average = load_average();
        if average > 0.7 {
            eprintln!(
                "warning: other programs are at work here (load average {average:.1}); the \
                 ratios of one round suffer less from that than the numbers do"
            );
        }
        let Processors { server, load } = self.processors;
        if server == load {
            eprintln!("warning: server and load share processor {server}; only CPU times count");
        }
    }

    fn progress(&self, shapes: &[Shape]) -> ProgressBar {
        let each = |shape: &Shape| self.candidates(shape).count() as u64;
        let count = shapes.iter().map(each).sum::<u64>() * u64::from(self.plan.rounds);
        let style = ProgressStyle::with_template("{pos}/{len} [{elapsed} of {duration}] {msg}");
        let bar = ProgressBar::new(count);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    fn candidates(&self, shape: &Shape) -> impl Iterator<Item = (Candidate, &Program)> {
        let programs = self.programs.iter().map(|(candidate, program)| (*candidate, program));
        programs.filter(|(candidate, _)| candidate.can(shape))
    }

    /// All rounds of one shape.
    fn measure(&mut self, shape: &Shape, progress: &ProgressBar) {
        let mut candidates: Vec<_> = self
            .candidates(shape)
            .map(|(candidate, program)| (candidate, program.clone()))
            .collect();
        let rate = self.rate(shape, progress);
        for round in 1..=self.plan.rounds {
            for (candidate, program) in &candidates {
                progress.set_message(format!("{}: {}", shape.name, candidate.label()));
                match self.measure_once(*candidate, program, shape, rate) {
                    Ok(row) => self.entries.push(Entry {
                        shape: shape.name.clone(),
                        candidate: *candidate,
                        round,
                        row,
                    }),
                    Err(error) => {
                        self.failures += 1;
                        let label = candidate.label();
                        progress.suspend(|| eprintln!("{label}, round {round}: {error}"));
                    }
                }
                progress.inc(1);
            }
            // Nobody is always the one after the same neighbour's heat.
            candidates.rotate_left(1);
        }
        if self.plan.syscalls {
            self.count_system_calls(shape, rate, &candidates, progress);
        }
    }

    fn start(
        &self,
        candidate: Candidate,
        program: &Program,
        shape: &Shape,
    ) -> Result<Server, Error> {
        let log = self.workshop.logs()?.join(format!("{}.log", candidate.name()));
        Server::start(program, candidate, shape, self.processors, &log)
    }

    fn measure_once(
        &self,
        candidate: Candidate,
        program: &Program,
        shape: &Shape,
        rate: Option<f64>,
    ) -> Result<Row, Error> {
        let server = self.start(candidate, program, shape)?;
        let is_raw = candidate.is_floor();
        let report = load::measure(&server, shape, is_raw, rate, self.plan.time, self.processors)?;
        Ok(Row::new(&report))
    }

    /// Half of what saturates the baseline, or who comes first without it.
    fn rate(&self, shape: &Shape, progress: &ProgressBar) -> Option<f64> {
        let Load::EchoAtRate { payload, connections } = shape.load else { return None };
        let closed = Load::Echo { payload, text: false, connections, pipeline: 1 };
        let closed = Shape { load: closed, ..shape.clone() };
        let (candidate, program) = self
            .candidates(shape)
            .find(|(candidate, _)| *candidate == Candidate::BASELINE)
            .or_else(|| self.candidates(shape).next())?;
        progress.set_message(format!("{}: {} at its limit", shape.name, candidate.label()));
        match self.measure_once(candidate, program, &closed, None) {
            Ok(row) => row.per_second.map(|rate| rate / 2.0),
            Err(error) => {
                progress.suspend(|| eprintln!("{}: {error}", shape.name));
                None
            }
        }
    }

    /// One more run of each under strace, which is too slow for anything else.
    fn count_system_calls(
        &mut self,
        shape: &Shape,
        rate: Option<f64>,
        candidates: &[(Candidate, Program)],
        progress: &ProgressBar,
    ) {
        for (candidate, program) in candidates {
            progress.set_message(format!("{}: {} by strace", shape.name, candidate.label()));
            let is_raw = candidate.is_floor();
            let run = |time| {
                let server = self.start(*candidate, program, shape)?;
                let log = self.workshop.logs()?.join("strace.txt");
                let trace = syscalls::Trace::start(server.pid(), log)?;
                let report = load::measure(&server, shape, is_raw, rate, time, self.processors)?;
                drop(server);
                Ok((trace.finish()?, report.load.map_or(0, |load| load.count)))
            };
            match syscalls::of_each(run) {
                Ok(calls) => {
                    let is_meant = |entry: &&mut Entry| {
                        entry.shape == shape.name && entry.candidate == *candidate
                    };
                    for entry in self.entries.iter_mut().filter(is_meant) {
                        entry.row.system_calls = calls;
                    }
                }
                Err(error) => progress.suspend(|| eprintln!("{}: {error}", candidate.label())),
            }
        }
    }
}

/// Ours must be there; a peer that cannot be built is left out, with a word about it.
fn build(
    workshop: &Workshop,
    shapes: &[Shape],
    options: &Compare,
) -> Result<Vec<(Candidate, Program)>, Error> {
    let mut programs = Vec::new();
    for candidate in chosen(options) {
        if !shapes.iter().any(|shape| candidate.can(shape)) {
            continue;
        }
        let begin = Instant::now();
        eprint!("building {} …", candidate.label());
        match workshop.build(candidate) {
            Ok(program) => {
                eprintln!(" {:.1} s", begin.elapsed().as_secs_f64());
                programs.push((candidate, program));
            }
            Err(error) => {
                eprintln!(" left out");
                let is_asked_for = options.peers.contains(&Peer::One(candidate));
                if is_asked_for || candidate.is_ours() {
                    return Err(error);
                }
                eprintln!("  {error}");
            }
        }
    }
    Ok(programs)
}

fn chosen(options: &Compare) -> Vec<Candidate> {
    let is_chosen = |candidate: &Candidate| {
        if candidate.is_ours() {
            return options.ours.iter().any(|backend| Candidate::from(*backend) == *candidate);
        }
        if options.peers.is_empty() {
            return !options.quick || *candidate == Candidate::BASELINE;
        }
        options.peers.contains(&Peer::All) || options.peers.contains(&Peer::One(*candidate))
    };
    Candidate::ALL.into_iter().filter(is_chosen).collect()
}

fn output(options: &Compare, machine: &Machine) -> PathBuf {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    match &options.output {
        Some(path) => path.clone(),
        None if options.quick => results.join("quick"),
        None => results.join(machine.directory()),
    }
}

fn write(
    output: &Path,
    summaries: &[Summary],
    entries: &[Entry],
    machine: &Machine,
) -> Result<(), Error> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let command = format!("cargo run --release -p perf -- {}", arguments.join(" "));
    let save = |name: &str, text: &str| {
        let path = output.join(name);
        fs::write(&path, text).map_err(Error::io(path.display().to_string()))
    };
    save("results.csv", &csv(entries))?;
    save("README.md", &table::document(summaries, machine, &command))?;
    if let Some(summary) = summaries.last() {
        chart::draw(summary, &output.join(format!("{}.svg", summary.shape.name)))?;
    }
    Ok(())
}

fn list() {
    println!("Shapes (* measured unless others are asked for):");
    for shape in shape::all() {
        let mark = if shape.is_headline { '*' } else { ' ' };
        println!("  {mark} {:<28} {}", shape.name, shape.title());
    }
    println!("\nPeers:");
    for peer in Candidate::peers() {
        println!("    {:<28} {}", peer.name(), peer.label());
    }
}
