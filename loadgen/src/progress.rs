//! [`Progress`]: a line that moves while a run goes on, if somebody is looking.

use std::{io::IsTerminal, time::Duration};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::options::Common;

/// The line on the terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    noun: &'static str,
    begin: Option<Duration>,
    // When the line was last written, and the count then.
    last: (Duration, u64),
}

impl Progress {
    pub(crate) fn new(common: &Common, noun: &'static str) -> Self {
        let is_seen = !common.quiet && std::io::stderr().is_terminal();
        let bar = is_seen.then(|| {
            let length = (common.warmup + common.duration).as_millis();
            let bar = ProgressBar::with_draw_target(
                u64::try_from(length).ok(),
                ProgressDrawTarget::stderr(),
            );
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, noun, begin: None, last: (Duration::ZERO, 0) }
    }

    pub(crate) fn opened(&self, open: usize, of: usize) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{open} of {of} connections"));
        }
    }

    #[inline]
    pub(crate) fn turn(&mut self, now: Duration, count: u64) {
        if now >= self.last.0 + PERIOD && self.bar.is_some() {
            self.write(now, count);
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    #[cold]
    fn write(&mut self, now: Duration, count: u64) {
        let Some(bar) = &self.bar else { return };
        let begin = *self.begin.get_or_insert(now);
        let seconds = (now - self.last.0).as_secs_f64();
        // The count begins anew when the warm-up is over.
        let new = count.checked_sub(self.last.1).unwrap_or(count);
        let rate = (new as f64 / seconds).round();
        bar.set_position(u64::try_from((now - begin).as_millis()).unwrap_or(0));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let rate = HumanCount(rate as u64);
        bar.set_message(format!("{rate} {}/s", self.noun));
        self.last = (now, count);
    }
}

const PERIOD: Duration = Duration::from_millis(200);
