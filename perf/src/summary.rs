//! [`Summary`]: the medians of one shape, and the ratios to the baseline.
//!
//! A ratio is the median of the ratios of single rounds, each with the baseline of the same
//! round: what the machine does besides changes slowly, and so strikes both.

use crate::{
    candidate::Candidate,
    results::{Entry, Row},
    shape::Shape,
};

/// What came of one shape.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) shape: Shape,
    pub(crate) lines: Vec<Line>,
}

/// What came of one candidate.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) candidate: Candidate,
    /// Median of each number by itself.
    pub(crate) median: Row,
    /// Of the value that decides: least and most.
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) ratio: Option<f64>,
    /// The ratio that we want to reach.
    pub(crate) goal: Option<f64>,
    /// Measurements that the generator held up.
    pub(crate) limited: usize,
    pub(crate) rounds: usize,
}

impl Line {
    /// The value that decides.
    pub(crate) fn value(&self, shape: &Shape) -> Option<f64> {
        self.median.value(shape.metric)
    }
}

impl Summary {
    pub(crate) fn new(shape: &Shape, entries: &[Entry]) -> Self {
        let of = |candidate: Candidate| {
            entries
                .iter()
                .filter(|entry| entry.shape == shape.name && entry.candidate == candidate)
                .collect::<Vec<_>>()
        };
        let baseline = of(Candidate::BASELINE);
        let lines = Candidate::ALL.into_iter().filter_map(|candidate| {
            let entries = of(candidate);
            (!entries.is_empty()).then(|| line(shape, candidate, &entries, &baseline))
        });
        Self { shape: shape.clone(), lines: lines.collect() }
    }

    /// The line of a candidate.
    pub(crate) fn line(&self, candidate: Candidate) -> Option<&Line> {
        self.lines.iter().find(|line| line.candidate == candidate)
    }
}

fn line(shape: &Shape, candidate: Candidate, entries: &[&Entry], baseline: &[&Entry]) -> Line {
    let value = |entry: &Entry| entry.row.value(shape.metric);
    let values: Vec<f64> = entries.iter().filter_map(|entry| value(entry)).collect();
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    let ratios = entries.iter().filter_map(|entry| {
        let base = baseline.iter().find(|base| base.round == entry.round)?;
        let base = value(base).filter(|base| *base > 0.0)?;
        Some(value(entry)? / base)
    });
    let goal = shape.goal.and_then(|(uring, epoll)| match candidate {
        Candidate::Uring => Some(uring),
        Candidate::Epoll => Some(epoll),
        _ => None,
    });
    Line {
        candidate,
        median: median_row(entries),
        range: least.zip(most),
        ratio: median(ratios.collect()),
        goal,
        limited: entries.iter().filter(|entry| entry.row.is_limited_by_generator()).count(),
        rounds: entries.len(),
    }
}

fn median_row(entries: &[&Entry]) -> Row {
    let of = |number: fn(&Row) -> Option<f64>| {
        median(entries.iter().filter_map(|entry| number(&entry.row)).collect())
    };
    Row {
        noun: entries.first().map(|entry| entry.row.noun.clone()).unwrap_or_default(),
        per_second: of(|row| row.per_second),
        cpu_us: of(|row| row.cpu_us),
        user_us: of(|row| row.user_us),
        system_us: of(|row| row.system_us),
        p50_us: of(|row| row.p50_us),
        p99_us: of(|row| row.p99_us),
        p99_9_us: of(|row| row.p99_9_us),
        resident_bytes: of(|row| row.resident_bytes),
        bytes_per_connection: of(|row| row.bytes_per_connection),
        bytes_received: of(|row| row.bytes_received),
        system_calls: of(|row| row.system_calls),
        server_busy: of(|row| row.server_busy),
        generator_busy: of(|row| row.generator_busy),
        limit: String::new(),
    }
}

/// The one in the middle, or between the two there.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_counted_within_a_round() {
        let shape = shape::select(&["echo-20b-200c".into()], false).unwrap().remove(0);
        let entry = |candidate, round, cpu_us| Entry {
            shape: shape.name.clone(),
            candidate,
            round,
            row: Row { cpu_us: Some(cpu_us), limit: "generator".into(), ..Row::default() },
        };
        // The machine gets slower from round to round; ours takes half in each.
        let entries: Vec<_> = (1..=3)
            .flat_map(|round| {
                let cost = 4.0 * f64::from(round);
                [
                    entry(Candidate::Uwebsockets, round, cost),
                    entry(Candidate::Uring, round, cost / 2.0),
                ]
            })
            .chain([entry(Candidate::Epoll, 7, 1.0)])
            .collect();
        let summary = Summary::new(&shape, &entries);
        let ours = summary.line(Candidate::Uring).unwrap();
        assert_eq!((ours.ratio, ours.goal), (Some(0.5), Some(0.88)));
        assert_eq!((ours.value(&shape), ours.range), (Some(4.0), Some((2.0, 6.0))));
        assert_eq!((ours.limited, ours.rounds), (3, 3));
        assert_eq!(summary.line(Candidate::Uwebsockets).unwrap().ratio, Some(1.0));
        assert_eq!(summary.line(Candidate::Epoll).unwrap().ratio, None);
        assert!(summary.line(Candidate::Bun).is_none());
    }
}
