//! [`Process`]: a server in a process of its own, so that what it costs can be counted.
//!
//! The test file runs itself again: it has a test `the_server`, which serves if `SOCKEYE_SERVE`
//! names a backend, and does nothing otherwise.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sockeye::reactor::{self, UringReactor};

use super::{Peer, get, handshake};

/// A server in another process.
pub(crate) struct Process {
    child: Child,
    // Closing it ends the server.
    _stdin: ChildStdin,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Runs the server below with so many descriptors. `None` if the backend is not to be had.
    pub(crate) fn start(backend: &str, descriptors: u32) -> Option<Self> {
        Self::start_within(&[], backend, descriptors)
    }

    /// The same, as what this command runs: `ip netns exec …`, for instance.
    pub(crate) fn start_within(within: &[&str], backend: &str, descriptors: u32) -> Option<Self> {
        if backend == "uring"
            && let Err(error) = UringReactor::probe(&reactor::Config::default())
        {
            eprintln!("skipped: {error}");
            return None;
        }
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        let mut words = within.iter().copied().chain(["sh", "-c", &script]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg(env::current_exe().unwrap())
            .args(["--exact", "the_server", "--nocapture", "--test-threads=1"])
            .env("SOCKEYE_SERVE", backend)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.parse().unwrap();
            }
        };
        let stdin = child.stdin.take().unwrap();
        thread::spawn(move || lines.for_each(drop));
        Some(Self { child, _stdin: stdin, address })
    }

    pub(crate) fn connect(&self) -> Peer {
        Peer::real(self.address, None)
    }

    pub(crate) fn open(&self, target: &str) -> Peer {
        let mut peer = self.connect();
        peer.upgrade(target);
        peer
    }

    pub(crate) fn open_narrow(&self, target: &str) -> Peer {
        let mut peer = Peer::real(self.address, Some(8 << 10));
        peer.upgrade(target);
        peer
    }

    /// A WebSocket whose messages may be compressed.
    pub(crate) fn open_deflated(&self, target: &str) -> Peer {
        let mut peer = self.connect();
        peer.write(&handshake(target, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
        let agreed = peer.expect_switch();
        let agreed = agreed.header("Sec-WebSocket-Extensions").unwrap();
        assert_eq!(agreed.contains("no_context_takeover"), target == "/shared", "{agreed}");
        peer
    }

    /// How many WebSockets the server has.
    pub(crate) fn websockets(&self) -> u64 {
        let mut peer = self.connect();
        peer.write(&get("/websockets", "Connection: close\r\n"));
        peer.response().text().parse().unwrap()
    }

    /// Processor time that the server has used, of all its threads.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program, which may have spaces, ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// The most memory that the server ever had in use, in bytes.
    pub(crate) fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Bytes of memory that the server has in use.
    pub(crate) fn memory(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE_BYTES
    }

    /// Runs until the server's memory has been the same for a while; returns what it was at most.
    pub(crate) fn settled_memory(&self) -> u64 {
        let (mut most, mut last, mut same) = (0, 0, 0);
        for _ in 0..200 {
            thread::sleep(Duration::from_millis(20));
            let memory = self.memory();
            most = most.max(memory);
            same = if memory == last { same + 1 } else { 0 };
            last = memory;
            if same == 10 {
                break;
            }
        }
        most
    }

    /// How many descriptors the server has.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Sends the server a signal: TERM, STOP, CONT.
    pub(crate) fn signal(&self, name: &str) {
        let (signal, pid) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    }

    /// Waits for the server's end, and says whether it was a good one.
    pub(crate) fn has_ended_well(&mut self, patience: Duration) -> bool {
        let start = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.success(),
                None if start.elapsed() > patience => break false,
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A test of each case with each backend.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        mod uring {
            $(#[test]
            fn $name() {
                super::$name("uring");
            })*
        }
        mod epoll {
            $(#[test]
            fn $name() {
                super::$name("epoll");
            })*
        }
    };
}
pub(crate) use cases;

const PAGE_BYTES: u64 = 4096;
const TICKS_PER_SECOND: u64 = 100;
