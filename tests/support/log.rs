//! [`Log`]: what handlers tell a scenario.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use sockeye::SocketId;

use super::Bed;

/// Lines that handlers have written, and the ids of their sockets by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    lines: Vec<String>,
    ids: HashMap<String, SocketId>,
    most_buffered: usize,
    is_off: bool,
}

impl Log {
    /// A log that keeps no lines.
    pub(crate) fn off() -> Self {
        Self(Arc::new(Mutex::new(Inside { is_off: true, ..Inside::default() })))
    }

    pub(crate) fn push(&self, line: String) {
        let mut inside = self.inside();
        if !inside.is_off {
            inside.lines.push(line);
        }
    }

    pub(crate) fn name(&self, name: &str, id: SocketId) {
        self.inside().ids.insert(name.to_owned(), id);
    }

    /// The id of the socket that was opened last under this name.
    #[track_caller]
    pub(crate) fn id(&self, name: &str) -> SocketId {
        self.inside().ids[name]
    }

    /// Remembers how many bytes waited for a peer, if it was never more.
    pub(crate) fn note_buffered(&self, bytes: usize) {
        let mut inside = self.inside();
        inside.most_buffered = inside.most_buffered.max(bytes);
    }

    /// The most bytes that handlers saw waiting for a peer.
    pub(crate) fn most_buffered(&self) -> usize {
        self.inside().most_buffered
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.inside().lines.clone()
    }

    /// How many lines begin like this.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.inside().lines.iter().filter(|line| line.starts_with(start)).count()
    }

    /// The rest of the last line that begins like this, after a space.
    #[track_caller]
    pub(crate) fn last(&self, start: &str) -> String {
        let lines = self.lines();
        let mut rests = lines.iter().rev().filter_map(|line| line.strip_prefix(start));
        rests.next().unwrap_or_else(|| panic!("no {start} in {lines:?}")).trim_start().to_owned()
    }

    /// Waits until there is a line that begins like this.
    #[track_caller]
    pub(crate) fn wait_for(&self, bed: &Bed, start: &str) {
        bed.wait_until(format_args!("{start} in {self:?}"), || self.count(start) > 0);
    }

    /// Waits until there are so many lines, and compares them. That something drained does not
    /// count: anything may have to wait for a moment.
    #[track_caller]
    pub(crate) fn expect(&self, bed: &Bed, lines: &[&str]) {
        let told = || {
            let all = self.lines().into_iter();
            all.filter(|line| !line.contains("drain ")).collect::<Vec<_>>()
        };
        bed.wait_until(format_args!("{lines:?} in {self:?}"), || told().len() >= lines.len());
        assert_eq!(told(), lines);
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }
}
