//! [`Row`]: one measurement, and the CSV file of all.

use std::fmt::Write;

use crate::{candidate::Candidate, load::Report, shape::Metric};

/// One measurement. What does not apply is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) noun: String,
    pub(crate) per_second: Option<f64>,
    pub(crate) cpu_us: Option<f64>,
    pub(crate) user_us: Option<f64>,
    pub(crate) system_us: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) resident_bytes: Option<f64>,
    pub(crate) bytes_per_connection: Option<f64>,
    /// What the generator received for each message, frames and all.
    pub(crate) bytes_received: Option<f64>,
    pub(crate) system_calls: Option<f64>,
    pub(crate) server_busy: Option<f64>,
    pub(crate) generator_busy: Option<f64>,
    pub(crate) limit: String,
}

impl Row {
    pub(crate) fn new(report: &Report) -> Self {
        let mut row = Self::default();
        if let Some(load) = &report.load {
            row.noun.clone_from(&load.noun);
            row.limit.clone_from(&load.limit);
            row.per_second = Some(load.per_second);
            let is_any = load.per_second > 0.0;
            row.bytes_received = is_any.then(|| load.received_bytes_per_second / load.per_second);
            row.p50_us = Some(load.latency.p50);
            row.p99_us = Some(load.latency.p99);
            row.p99_9_us = Some(load.latency.p99_9);
            row.generator_busy = Some(load.generator.busy);
            if let Some(server) = &load.server {
                row.cpu_us = Some(server.cpu_us_each);
                row.user_us = Some(server.user_us_each);
                row.system_us = Some(server.system_us_each);
                row.server_busy = Some(server.busiest_thread);
                row.resident_bytes = Some(as_f64(server.resident_bytes));
            }
        }
        if let Some(idle) = &report.idle {
            "connections".clone_into(&mut row.noun);
            row.bytes_per_connection = idle.resident_bytes_per_connection;
            row.resident_bytes = idle.resident_at_rest_bytes.map(as_f64);
        }
        row
    }

    /// The value that decides.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Cpu => self.cpu_us,
            Metric::Median => self.p50_us,
            Metric::P99 => self.p99_us,
            Metric::Memory => self.bytes_per_connection,
        }
    }

    /// Whether the generator was what held everything up.
    pub(crate) fn is_limited_by_generator(&self) -> bool {
        self.limit == "generator"
    }
}

/// A measurement in its place.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) shape: String,
    pub(crate) candidate: Candidate,
    pub(crate) round: u32,
    pub(crate) row: Row,
}

/// All measurements, one a line.
pub(crate) fn csv(entries: &[Entry]) -> String {
    let mut text = format!("{}\n", COLUMNS.join(","));
    for Entry { shape, candidate, round, row } in entries {
        let _ = write!(text, "{shape},{},{round},{}", candidate.name(), row.noun);
        for number in [
            row.per_second,
            row.cpu_us,
            row.user_us,
            row.system_us,
            row.p50_us,
            row.p99_us,
            row.p99_9_us,
            row.resident_bytes,
            row.bytes_per_connection,
            row.bytes_received,
            row.system_calls,
            row.server_busy,
            row.generator_busy,
        ] {
            let number = number.map(significant).unwrap_or_default();
            let _ = write!(text, ",{number}");
        }
        let _ = writeln!(text, ",{}", row.limit);
    }
    text
}

/// Four digits that mean something.
pub(crate) fn significant(number: f64) -> String {
    let size = number.abs();
    let digits = match size {
        _ if size >= 1000.0 || size == 0.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ if size >= 1.0 => 3,
        _ => 4,
    };
    format!("{number:.digits$}")
}

#[allow(clippy::cast_precision_loss, reason = "bytes of a process")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

const COLUMNS: [&str; 18] = [
    "shape",
    "candidate",
    "round",
    "noun",
    "per_second",
    "cpu_us",
    "user_us",
    "system_us",
    "p50_us",
    "p99_us",
    "p99.9_us",
    "resident_bytes",
    "bytes_per_connection",
    "bytes_received",
    "system_calls",
    "server_busy",
    "generator_busy",
    "limit",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_as_many_fields_as_there_are_columns() {
        let row = Row { cpu_us: Some(3.25), limit: "server".into(), ..Row::default() };
        let (shape, candidate) = ("echo".to_owned(), Candidate::Uring);
        let text = csv(&[Entry { shape, candidate, round: 2, row }]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "echo,uring,2,,,3.250,,,,,,,,,,,,server");
        assert_eq!(lines[1].split(',').count(), COLUMNS.len());
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
    }

    #[test]
    fn numbers_have_four_digits() {
        for (number, text) in [
            (123_456.7, "123457"),
            (456.78, "456.8"),
            (45.678, "45.68"),
            (4.5678, "4.568"),
            (0.045_678, "0.0457"),
            (0.0, "0"),
        ] {
            assert_eq!(significant(number), text);
        }
    }
}
