//! [`Process`]: what /proc tells about CPU time and memory, of the server and of ourselves.

use std::{fs, io, time::Duration};

use crate::Error;

/// The server: one process or several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server(Vec<u32>);

/// What a process has used so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) resident_bytes: u64,
    /// CPU time of each thread, by its number.
    pub(crate) threads: Vec<(u32, Duration)>,
}

impl Server {
    /// # Errors
    /// If one of the processes cannot be looked at.
    pub(crate) fn new(pids: &[u32]) -> Result<Self, Error> {
        let server = Self(pids.to_vec());
        server.usage()?;
        Ok(server)
    }

    /// `None` if no process has been named.
    pub(crate) fn usage(&self) -> Result<Option<Usage>, Error> {
        let mut sum = Usage::default();
        for pid in &self.0 {
            add_process(&mut sum, *pid).map_err(|error| Error::Process(*pid, error))?;
        }
        Ok((!self.0.is_empty()).then_some(sum))
    }
}

impl Usage {
    /// What has been used since `earlier`, but for the memory, which is as it is.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |thread: u32| {
            let found = earlier.threads.iter().find(|(id, _)| *id == thread);
            found.map_or(Duration::ZERO, |(_, time)| *time)
        };
        let threads = self.threads.iter();
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            resident_bytes: self.resident_bytes,
            threads: threads.map(|(id, time)| (*id, time.saturating_sub(before(*id)))).collect(),
        }
    }

    /// CPU time. That of the threads is exact; but if one has ended, its time is missing there,
    /// and the sum in hundredths of a second is better.
    pub(crate) fn total(&self) -> Duration {
        let exact: Duration = self.threads.iter().map(|(_, time)| *time).sum();
        let rounded = self.user + self.system;
        let error = Duration::from_millis(2 * TICK_MILLIS);
        if exact.abs_diff(rounded) <= error { exact } else { rounded }
    }

    /// The part of [`Usage::total`] in user mode. The kernel samples that.
    pub(crate) fn user(&self) -> Duration {
        let rounded = self.user + self.system;
        if rounded.is_zero() {
            return Duration::ZERO;
        }
        self.total().mul_f64(self.user.as_secs_f64() / rounded.as_secs_f64())
    }

    /// The CPU time of the thread that used most.
    pub(crate) fn busiest_thread(&self) -> Duration {
        self.threads.iter().map(|(_, time)| *time).max().unwrap_or_default()
    }
}

/// CPU time of the calling thread.
pub(crate) fn own_time() -> Duration {
    fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| run_time(&text))
        .unwrap_or_default()
}

fn add_process(sum: &mut Usage, pid: u32) -> io::Result<()> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let times = cpu_times(&stat).ok_or(io::ErrorKind::InvalidData)?;
    sum.user += times.0;
    sum.system += times.1;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    sum.resident_bytes += resident_bytes(&status).unwrap_or(0);
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        let id = task.file_name().to_string_lossy().parse().unwrap_or(0);
        // A thread may end while we look.
        if let Ok(text) = fs::read_to_string(task.path().join("schedstat"))
            && let Some(time) = run_time(&text)
        {
            sum.threads.push((id, time));
        }
    }
    Ok(())
}

/// Fields 14 and 15, proc_pid_stat(5). The name before them may hold spaces and parentheses.
fn cpu_times(stat: &str) -> Option<(Duration, Duration)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    let mut next =
        || Some(Duration::from_millis(fields.next()?.parse::<u64>().ok()? * TICK_MILLIS));
    Some((next()?, next()?))
}

/// The first field: nanoseconds on a processor.
fn run_time(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split_ascii_whitespace().next()?.parse().ok()?))
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

/// Linux tells times to programs in hundredths of a second, whatever it counts in.
const TICK_MILLIS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_found() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 123 45 0 0 20 0 1 0 99 0 0";
        let times = (Duration::from_millis(1230), Duration::from_millis(450));
        assert_eq!(cpu_times(stat), Some(times));
        assert_eq!(cpu_times("7 (a) S 1"), None);
        assert_eq!(run_time("1500 2 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t    4 kB\n"), Some(4096));
    }

    #[test]
    fn exact_times_are_preferred_unless_a_thread_has_ended() {
        let millis = Duration::from_millis;
        let mut usage = Usage {
            user: millis(30),
            system: millis(70),
            resident_bytes: 0,
            threads: vec![(1, millis(60)), (2, millis(45))],
        };
        assert_eq!((usage.total(), usage.user()), (millis(105), millis(105).mul_f64(0.3)));
        usage.threads.pop();
        assert_eq!((usage.total(), usage.user()), (millis(100), millis(30)));
        assert_eq!(Usage::default().user(), Duration::ZERO);
    }

    #[test]
    fn a_process_can_look_at_itself() {
        let server = Server::new(&[std::process::id()]).unwrap();
        let before = server.usage().unwrap().unwrap();
        let (mut number, begin) = (1_u64, own_time());
        while own_time() - begin < Duration::from_millis(30) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let used = server.usage().unwrap().unwrap().since(&before);
        assert!(used.busiest_thread() >= Duration::from_millis(25), "{used:?}");
        assert!(used.resident_bytes > 0);
        assert_eq!(Server::new(&[]).unwrap().usage().unwrap(), None);
        assert!(matches!(Server::new(&[u32::MAX]), Err(Error::Process(u32::MAX, _))));
    }
}
