//! [`Machine`]: what a result was measured on, and with what.

use std::{fs, path::Path};

use sockeye::reactor::unix_time;

use crate::build::output;

/// What a result was measured on, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// `YYYY-MM-DD`.
    pub(crate) date: String,
    pub(crate) processor: String,
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look() -> Self {
        let processor = first_value("/proc/cpuinfo", "model name").unwrap_or("unknown".into());
        let count = sockeye::reactor::allowed_processors().len();
        let memory = first_value("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).display().to_string();
        let commit =
            output("git", &["-C", &root, "describe", "--always", "--dirty", "--abbrev=10"]);
        let first_line = |text: Option<String>| {
            text.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or("none".into())
        };
        let date = date(unix_time());
        let facts = vec![
            ("Date", date.clone()),
            ("Processor", format!("{processor}, {count} to use")),
            ("Memory", memory),
            ("Kernel", kernel.trim().to_owned()),
            ("Commit", commit.unwrap_or("unknown".into())),
            ("Rust", first_line(output("rustc", &["--version"]))),
            ("C++", first_line(output("g++", &["--version"]))),
            ("Node", first_line(output("node", &["--version"]))),
        ];
        Self { date, processor, facts }
    }

    /// As a list in Markdown.
    pub(crate) fn describe(&self) -> String {
        self.facts.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect()
    }

    /// The name of a directory for results.
    pub(crate) fn directory(&self) -> String {
        format!("{}-{}", self.date, slug(&self.processor))
    }
}

/// Processes that want to run, on average over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn first_value(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.to_ascii_lowercase().chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// The civil date, proleptic Gregorian calendar: years of 365.2425 days that begin in March.
fn date(unix_seconds: u64) -> String {
    let days = unix_seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_767_225_599, "2025-12-31"),
            (1_767_225_600, "2026-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn names_of_processors_become_names_of_directories() {
        assert_eq!(slug("AMD EPYC"), "amd-epyc");
        let long = "Intel(R) Xeon(R) CPU @ 2.20GHz ";
        assert_eq!(slug(long), "intel-r-xeon-r-cpu-2-20ghz");
    }
}
