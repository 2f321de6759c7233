//! System calls of a server for each message, counted by strace.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{error::Error, load::Time};

/// A server's process that is watched.
#[derive(Debug)]
pub(crate) struct Trace {
    strace: Child,
    log: PathBuf,
}

impl Trace {
    /// Watches all threads of a process.
    pub(crate) fn start(pid: u32, log: PathBuf) -> Result<Self, Error> {
        let strace = Command::new("strace")
            .args(["-c", "-f", "-q", "-p", &pid.to_string(), "-o"])
            .arg(&log)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|_| NO_STRACE)?;
        // Until it has attached itself.
        thread::sleep(Duration::from_millis(300));
        Ok(Self { strace, log })
    }

    /// After the process has ended: how many calls it made.
    pub(crate) fn finish(mut self) -> Result<u64, Error> {
        self.strace.wait().map_err(Error::io("strace is lost"))?;
        let text =
            fs::read_to_string(&self.log).map_err(Error::io("strace has written nothing"))?;
        total(&text).ok_or(NO_STRACE)
    }
}

/// Calls for each message: the difference of two runs, one longer than the other, so that what
/// happens at the begin and at the end does not count.
pub(crate) fn of_each(
    mut run: impl FnMut(Time) -> Result<(u64, u64), Error>,
) -> Result<Option<f64>, Error> {
    let (short_calls, short_count) = run(Time { duration: 0.3, warmup: 0.1 })?;
    let (long_calls, long_count) = run(Time { duration: 1.8, warmup: 0.1 })?;
    Ok(quotient(long_calls.checked_sub(short_calls), long_count.checked_sub(short_count)))
}

#[allow(clippy::cast_precision_loss, reason = "a quotient of counts")]
fn quotient(calls: Option<u64>, count: Option<u64>) -> Option<f64> {
    match (calls?, count?) {
        (_, 0) => None,
        (calls, count) => Some(calls as f64 / count as f64),
    }
}

/// `% time  seconds  usecs/call  calls  [errors]  syscall`; the last line is the total.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

const NO_STRACE: Error =
    Error::Tool { name: "strace", hint: "--syscalls needs it (Debian: apt install strace)" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        let text = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.600000           6     10000           sendto
 40.00    0.400000           4     10050        50 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    1.000000           5     20050        50 total
";
        assert_eq!(total(text), Some(20_050));
        assert_eq!(total(""), None);
    }

    #[test]
    fn what_happens_once_does_not_count() {
        let mut runs = [(1000 + 2 * 300, 300), (1000 + 2 * 900, 900)].into_iter();
        let calls = of_each(|_| Ok(runs.next().unwrap())).unwrap();
        assert_eq!(calls, Some(2.0));
    }
}
