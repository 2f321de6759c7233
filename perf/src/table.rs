//! Tables in Markdown, which are read as they stand on a terminal too.

use std::fmt::Write;

use crate::{
    machine::Machine,
    options::Compress,
    results::significant,
    shape::Load,
    summary::{Line, Summary},
};

/// The whole result.
pub(crate) fn document(summaries: &[Summary], machine: &Machine, command: &str) -> String {
    let mut text = format!("# Side by side\n\n{}- Command: `{command}`\n\n", machine.describe());
    text += LEGEND;
    text += "\n";
    text += &overview(summaries);
    for summary in summaries {
        text += "\n";
        text += &details(summary);
    }
    text
}

/// One line for each shape: our ratios, the goals, and the floors.
fn overview(summaries: &[Summary]) -> String {
    use crate::candidate::Candidate;
    let mut rows = Vec::new();
    for summary in summaries {
        let ratio = |candidate| {
            let line = summary.line(candidate);
            line.and_then(|line| line.ratio).map(|ratio| format!("{ratio:.2}"))
        };
        let with_goal = |candidate| {
            let ratio = ratio(candidate)?;
            let line = summary.line(candidate)?;
            Some(match line.goal {
                Some(goal) if line.ratio.is_some_and(|ratio| ratio <= goal) => {
                    format!("**{ratio}** (≤ {goal:.2})")
                }
                Some(goal) => format!("{ratio} (≤ {goal:.2})"),
                None => ratio,
            })
        };
        let base = summary.line(Candidate::BASELINE).and_then(|line| line.value(&summary.shape));
        rows.push(vec![
            summary.shape.title(),
            with_goal(Candidate::Uring).unwrap_or_default(),
            with_goal(Candidate::Epoll).unwrap_or_default(),
            ratio(Candidate::FloorUring).unwrap_or_default(),
            ratio(Candidate::FloorEpoll).unwrap_or_default(),
            base.map(significant).unwrap_or_default(),
            summary.shape.metric.title().to_owned(),
        ]);
    }
    let head = [
        "shape",
        "io_uring (goal)",
        "epoll (goal)",
        "floor io_uring",
        "floor epoll",
        "uWebSockets",
        "in",
    ];
    format!("## Ratios to uWebSockets\n\n{}", table(&head, &rows))
}

/// All candidates of one shape.
pub(crate) fn details(summary: &Summary) -> String {
    let shape = &summary.shape;
    let mut text = format!("## {}\n\n", shape.title());
    let _ = writeln!(text, "`{}`: {}\n", shape.name, shape.metric.title());
    let has_calls = summary.lines.iter().any(|line| line.median.system_calls.is_some());
    let mut head = vec![
        "server",
        "ratio",
        "median",
        "range",
        "each s",
        "user us",
        "system us",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "resident",
    ];
    if has_calls {
        head.push("calls");
    }
    // How much was saved belongs to what that has cost.
    if shape.compress != Compress::None {
        head.push("bytes received");
    }
    let rows: Vec<_> =
        summary.lines.iter().map(|line| details_row(line, summary, has_calls)).collect();
    text += &table(&head, &rows);
    if summary.lines.iter().any(|line| line.limited > 0) {
        text += match shape.load {
            Load::EchoAtRate { .. } => {
                "\n† the generator was late: part of the latency is its own.\n"
            }
            _ => "\n† the generator was the limit: more than this could have been served.\n",
        };
    }
    text
}

fn details_row(line: &Line, summary: &Summary, has_calls: bool) -> Vec<String> {
    let Line { candidate, median, range, ratio, .. } = line;
    let number = |value: Option<f64>| value.map(significant).unwrap_or_default();
    let mark = if 2 * line.limited > line.rounds { " †" } else { "" };
    let range = range.map(|(least, most)| format!("{}–{}", significant(least), significant(most)));
    let mebibytes = median.resident_bytes.map(|bytes| format!("{:.1} MiB", bytes / 1_048_576.0));
    let mut row = vec![
        candidate.label().to_owned(),
        ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        number(line.value(&summary.shape)),
        range.unwrap_or_default(),
        format!("{}{mark}", number(median.per_second)),
        number(median.user_us),
        number(median.system_us),
        number(median.p50_us),
        number(median.p99_us),
        number(median.p99_9_us),
        mebibytes.unwrap_or_default(),
    ];
    if has_calls {
        row.push(number(median.system_calls));
    }
    if summary.shape.compress != Compress::None {
        row.push(number(median.bytes_received));
    }
    row
}

/// Columns as wide as what stands in them; all but the first to the right.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).chain([head[column].chars().count(), 3]).max()
    };
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(3)).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            let width = *width;
            let _ = match column {
                0 => write!(text, "| {cell:<width$} |"),
                _ => write!(text, " {cell:>width$} |"),
            };
        }
        text.push('\n');
    };
    line(&mut head.iter().map(|&cell| cell.to_owned()));
    let rule = |(column, width): (usize, &usize)| {
        let right = usize::from(column > 0);
        "-".repeat(width - right) + &":"[..right]
    };
    line(&mut widths.iter().enumerate().map(rule));
    for row in rows {
        line(&mut row.iter().cloned());
    }
    text
}

const LEGEND: &str = "\
Each number is the median over the rounds. A ratio is the median of the ratios to uWebSockets of
the same round; below 1 is better. Bold: the goal is reached. How this is measured, and how to
read it: `perf/README.md`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_straight() {
        let rows = vec![vec!["long name".into(), "1".into()], vec!["–".into(), "22.50".into()]];
        let expected = "\
| name      |     n |
| --------- | ----: |
| long name |     1 |
| –         | 22.50 |
";
        assert_eq!(table(&["name", "n"], &rows), expected);
    }
}
