//! [`Shape`]: a kind of load, by name.

use crate::{
    error::Error,
    options::{Compress, Mode},
};

/// A kind of load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) load: Load,
    pub(crate) metric: Metric,
    pub(crate) compress: Compress,
    /// How hard a server of ours compresses, if not as by itself. uWebSockets always takes 6.
    pub(crate) level: Option<u8>,
    /// Threads of the server.
    pub(crate) workers: usize,
    /// Microseconds that a server of ours looks for work before it sleeps.
    pub(crate) busy_poll: u64,
    /// The ratios that we want to reach: io_uring, epoll.
    pub(crate) goal: Option<(f64, f64)>,
    /// Whether it is measured unless others are asked for.
    pub(crate) is_headline: bool,
}

/// What the generator does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Load {
    Echo {
        payload: usize,
        text: bool,
        connections: usize,
        pipeline: usize,
    },
    /// At half of the rate that saturates uWebSockets.
    EchoAtRate {
        payload: usize,
        connections: usize,
    },
    Broadcast {
        payload: usize,
        text: bool,
        connections: usize,
        in_flight: usize,
    },
    /// Groups, each with its publisher.
    Rooms {
        payload: usize,
        connections: usize,
        rooms: usize,
    },
    Http {
        connections: usize,
        pipeline: usize,
    },
    Connect {
        connections: usize,
    },
    Idle {
        connections: usize,
    },
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// CPU time of the server for each message.
    Cpu,
    /// The median latency.
    Median,
    /// The latency that 99 of 100 messages do not exceed.
    P99,
    /// Resident memory that each connection adds.
    Memory,
}

impl Metric {
    /// With its unit.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cpu => "server CPU time of each, us",
            Self::Median => "median latency, us",
            Self::P99 => "p99 latency, us",
            Self::Memory => "resident memory of each connection, bytes",
        }
    }
}

impl Shape {
    fn new(name: impl Into<String>, mode: Mode, load: Load) -> Self {
        Self {
            name: name.into(),
            mode,
            load,
            metric: Metric::Cpu,
            compress: Compress::None,
            level: None,
            workers: 1,
            busy_poll: 0,
            goal: None,
            is_headline: false,
        }
    }

    /// A shape with ratios to reach belongs to the headline.
    fn goal(self, uring: f64, epoll: f64) -> Self {
        Self { goal: Some((uring, epoll)), is_headline: true, ..self }
    }

    /// Bytes of the longest message that the server is told to accept: what our default is,
    /// unless that is too little.
    pub(crate) fn max_payload(&self) -> usize {
        let payload = match self.load {
            Load::Echo { payload, .. }
            | Load::EchoAtRate { payload, .. }
            | Load::Broadcast { payload, .. }
            | Load::Rooms { payload, .. } => payload,
            Load::Http { .. } | Load::Connect { .. } | Load::Idle { .. } => 0,
        };
        payload.max(16 << 10)
    }

    /// Whether an echo without a protocol means something here.
    pub(crate) fn has_floor(&self) -> bool {
        let is_echo = matches!(self.load, Load::Echo { .. } | Load::EchoAtRate { .. });
        is_echo && self.compress == Compress::None && self.workers == 1
    }

    /// For readers.
    pub(crate) fn title(&self) -> String {
        let mut title = match self.load {
            Load::Echo { payload, text, connections, pipeline } => {
                let kind = if text { " text" } else { "" };
                let (size, clients) = (size(payload), clients(connections));
                match pipeline {
                    1 => format!("echo {size}{kind}, {clients}"),
                    many => format!("echo {size}{kind}, {clients}, {many} messages per segment"),
                }
            }
            Load::EchoAtRate { payload, connections } => {
                let (size, clients) = (size(payload), clients(connections));
                format!("echo {size}, {clients}, at half of uWebSockets' saturation rate")
            }
            Load::Broadcast { payload, text, connections, in_flight } => {
                let kind = if text { " text" } else { "" };
                let size = size(payload);
                format!("broadcast {size}{kind} to {connections}, {in_flight} in flight")
            }
            Load::Rooms { payload, connections, rooms } => {
                format!("broadcast {} in {rooms} rooms of {}", size(payload), connections / rooms)
            }
            Load::Http { connections, pipeline: 1 } => {
                format!("HTTP hello, {}", clients(connections))
            }
            Load::Http { connections, pipeline } => {
                format!("HTTP hello, {}, {pipeline} pipelined", clients(connections))
            }
            Load::Connect { connections } => format!("connect and close, {connections} at a time"),
            Load::Idle { connections } => format!("{connections} connections at rest"),
        };
        title += match self.compress {
            Compress::None => "",
            Compress::Shared => ", compressed",
            Compress::Dedicated => ", compressed with context takeover",
        };
        if let Some(level) = self.level {
            title += &format!(" at level {level}");
        }
        if self.workers > 1 {
            title += &format!(", {} workers", self.workers);
        }
        if self.busy_poll > 0 {
            title += ", busy polling where the server can";
        }
        title
    }

    /// The command line of the generator for this shape, without what all shapes have.
    pub(crate) fn arguments(&self, rate: Option<f64>) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |name: &str, value: usize| {
            arguments.extend([name.to_owned(), value.to_string()]);
        };
        let mut is_text = false;
        match self.load {
            Load::Echo { payload, text, connections, pipeline } => {
                is_text = text;
                add("--payload", payload);
                add("--connections", connections);
                add("--pipeline", pipeline);
                add("--segment", pipeline);
            }
            Load::EchoAtRate { payload, connections } => {
                add("--payload", payload);
                add("--connections", connections);
            }
            Load::Broadcast { payload, text, connections, in_flight } => {
                is_text = text;
                add("--payload", payload);
                add("--connections", connections);
                add("--in-flight", in_flight);
                add("--segment", in_flight);
            }
            Load::Rooms { payload, connections, rooms } => {
                add("--payload", payload);
                add("--connections", connections);
                add("--rooms", rooms);
            }
            Load::Http { connections, pipeline } => {
                add("--connections", connections);
                add("--pipeline", pipeline);
            }
            Load::Connect { connections } => add("--connections", connections),
            Load::Idle { connections } => {
                add("--connections", connections);
                if self.compress != Compress::None {
                    // So that there is something to compress.
                    add("--payload", 1 << 10);
                    is_text = true;
                }
            }
        }
        if is_text {
            arguments.push("--text".into());
        }
        if self.compress != Compress::None {
            arguments.push("--deflate".into());
        }
        if self.compress == Compress::Dedicated {
            arguments.push("--takeover".into());
        }
        if let (Load::EchoAtRate { .. }, Some(rate)) = (self.load, rate) {
            arguments.extend(["--rate".into(), format!("{rate:.0}")]);
        }
        arguments
    }

    /// The generator's scenario.
    pub(crate) fn scenario(&self) -> &'static str {
        match self.load {
            Load::Echo { .. } | Load::EchoAtRate { .. } => "echo",
            Load::Broadcast { .. } | Load::Rooms { .. } => "broadcast",
            Load::Http { .. } => "http",
            Load::Connect { .. } => "connect",
            Load::Idle { .. } => "idle",
        }
    }
}

/// Every shape, in the order of the tables.
pub(crate) fn all() -> Vec<Shape> {
    let mut shapes = echoes();
    shapes.extend(broadcasts());
    let http = |name: &str, pipeline| {
        Shape::new(name, Mode::Http, Load::Http { connections: 200, pipeline })
    };
    shapes.push(http("http-200c", 1).goal(0.92, 0.98));
    shapes.push(http("http-200c-16x", 16).goal(0.80, 0.80));
    let connect = Load::Connect { connections: 50 };
    shapes.push(Shape::new("connect-50c", Mode::Echo, connect).goal(0.90, 1.00));
    let latency = Load::EchoAtRate { payload: 20, connections: 200 };
    let latency = Shape::new("latency-20b-200c", Mode::Echo, latency).goal(0.90, 1.00);
    shapes.push(Shape { metric: Metric::P99, ..latency });
    let spin = Shape::new("spin-20b-1c", Mode::Echo, echo(20, 1, 1)).goal(0.35, 0.35);
    shapes.push(Shape { metric: Metric::Median, busy_poll: 50, ..spin });
    let idle = Load::Idle { connections: 10_000 };
    let plain = Shape::new("idle-10000c", Mode::Echo, idle).goal(0.70, 0.70);
    shapes.push(Shape { metric: Metric::Memory, ..plain });
    for (name, compress) in [("shared", Compress::Shared), ("dedicated", Compress::Dedicated)] {
        let idle = Shape::new(format!("idle-10000c-{name}"), Mode::Echo, idle);
        shapes.push(Shape { metric: Metric::Memory, compress, ..idle });
    }
    shapes
}

fn echoes() -> Vec<Shape> {
    let shape = |name: &str, load| Shape::new(name, Mode::Echo, load);
    let mut shapes = Vec::new();
    for (size, payload) in [("20b", 20), ("1k", 1 << 10), ("16k", 16 << 10), ("256k", 256 << 10)] {
        for connections in [1, 10, 200, 1000] {
            let name = format!("echo-{size}-{connections}c");
            let shape = Shape::new(name, Mode::Echo, echo(payload, connections, 1));
            shapes.push(match (size, connections) {
                ("20b", 200) => shape.goal(0.88, 0.95),
                ("20b", 1000) => shape.goal(0.86, 0.95),
                ("16k", 200) => shape.goal(1.00, 1.00),
                _ => shape,
            });
        }
    }
    shapes.push(shape("echo-256k-50c", echo(256 << 10, 50, 1)).goal(0.95, 0.95));
    shapes.push(shape("echo-1m-20c", echo(1 << 20, 20, 1)).goal(0.80, 0.80));
    shapes.push(shape("echo-20b-200c-10x", echo(20, 200, 10)));
    shapes.push(shape("echo-20b-200c-16x", echo(20, 200, 16)).goal(0.80, 0.80));
    let text = Load::Echo { payload: 1 << 10, text: true, connections: 200, pipeline: 1 };
    let deflate = shape("echo-1k-200c-deflate", text).goal(0.65, 0.65);
    shapes.push(Shape { compress: Compress::Shared, ..deflate });
    let same_level = shape("echo-1k-200c-deflate-level-6", text);
    shapes.push(Shape { compress: Compress::Shared, level: Some(6), ..same_level });
    // The least level at which zlib-rs makes these texts as short as zlib does at 6; the bytes that
    // were received say whether it still does.
    let same_size = shape("echo-1k-200c-deflate-same-size", text);
    shapes.push(Shape { compress: Compress::Shared, level: Some(7), ..same_size });
    let dedicated = shape("echo-1k-200c-deflate-dedicated", text);
    shapes.push(Shape { compress: Compress::Dedicated, ..dedicated });
    shapes
}

fn broadcasts() -> Vec<Shape> {
    let shape = |name: &str, payload, text, in_flight| {
        let load = Load::Broadcast { payload, text, connections: 1000, in_flight };
        Shape::new(name, Mode::Broadcast, load)
    };
    let deflate = shape("broadcast-1k-1000c-deflate", 1 << 10, true, 1).goal(0.33, 0.35);
    let rooms = Load::Rooms { payload: 100, connections: 1000, rooms: 100 };
    let two_workers = shape("broadcast-100b-1000c-2w", 100, false, 1);
    vec![
        shape("broadcast-100b-1000c", 100, false, 1).goal(0.85, 0.97),
        shape("broadcast-100b-1000c-16x", 100, false, 16).goal(0.75, 0.85),
        shape("broadcast-1k-1000c", 1 << 10, false, 1),
        Shape::new("broadcast-100b-100x10", Mode::Rooms, rooms),
        Shape { compress: Compress::Shared, ..deflate },
        Shape { workers: 2, ..two_workers },
    ]
}

/// Those that are asked for.
///
/// # Errors
/// If one asks for nothing that there is.
pub(crate) fn select(wanted: &[String], quick: bool) -> Result<Vec<Shape>, Error> {
    let mut chosen = vec![false; all().len()];
    let quick: Vec<String> = if quick && wanted.is_empty() {
        QUICK.iter().map(|name| (*name).to_owned()).collect()
    } else {
        wanted.to_vec()
    };
    for word in &quick {
        let exact = all().iter().any(|shape| shape.name == *word);
        let mut found = false;
        for (shape, chosen) in all().iter().zip(&mut chosen) {
            let is_meant = shape.name == *word || !exact && shape.name.starts_with(word.as_str());
            if word == "all" || is_meant {
                (*chosen, found) = (true, true);
            }
        }
        if !found {
            let text = format!("there is no shape '{word}': see perf compare --list");
            return Err(Error::Options(text));
        }
    }
    let nothing_asked = quick.is_empty();
    let shapes = all().into_iter().zip(chosen);
    let is_chosen = |(shape, chosen): (Shape, bool)| {
        (chosen || nothing_asked && shape.is_headline).then_some(shape)
    };
    Ok(shapes.filter_map(is_chosen).collect())
}

fn echo(payload: usize, connections: usize, pipeline: usize) -> Load {
    Load::Echo { payload, text: false, connections, pipeline }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn clients(connections: usize) -> String {
    match connections {
        1 => "1 connection".into(),
        many => format!("{many} connections"),
    }
}

const QUICK: [&str; 4] =
    ["echo-20b-200c", "echo-20b-200c-16x", "broadcast-100b-1000c", "http-200c"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_chosen_by_name_and_by_beginning() {
        let names = |wanted: &[&str], quick| {
            let wanted: Vec<_> = wanted.iter().map(|word| (*word).to_owned()).collect();
            select(&wanted, quick)
                .map(|shapes| shapes.into_iter().map(|shape| shape.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["echo-20b-200c"], false).unwrap(), ["echo-20b-200c"]);
        assert_eq!(names(&["echo-1m", "http"], false).unwrap().len(), 3);
        assert_eq!(names(&["all"], false).unwrap().len(), all().len());
        assert_eq!(names(&[], true).unwrap().len(), QUICK.len());
        assert!(names(&[], false).unwrap().len() > QUICK.len());
        assert!(names(&["echo-21b"], false).is_err());
    }

    #[test]
    fn names_and_titles_are_different() {
        for value in [|shape: &Shape| shape.name.clone(), Shape::title] {
            let mut values: Vec<_> = all().iter().map(value).collect();
            values.sort();
            values.dedup();
            assert_eq!(values.len(), all().len());
        }
    }

    #[test]
    fn the_generator_understands_every_shape() {
        use clap::Parser;
        for shape in all() {
            let mut line = vec!["loadgen".to_owned(), shape.scenario().to_owned()];
            line.extend(shape.arguments(Some(1000.0)));
            let parsed = loadgen::Options::try_parse_from(&line);
            assert!(parsed.is_ok(), "{line:?}: {parsed:?}");
        }
    }
}
