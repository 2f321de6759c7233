//! [`SocketId`]: names a WebSocket from anywhere in the process.

use std::fmt;

use crate::base::Key;

/// Names one WebSocket of the server, for as long as it lives and never another one.
///
/// Eight bytes, to be copied and sent anywhere. What is done by the id of a socket that has been
/// closed has no effect, also when its place has been taken by another.
///
/// ```
/// # use std::sync::mpsc;
/// use sockeye::{Message, Remote, SendError, SocketId};
///
/// fn greet(remote: &Remote, id: SocketId) -> Result<(), SendError> {
///     remote.send(id, "hello from another thread")
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u64);

impl SocketId {
    pub(crate) fn new(worker: u8, key: Key) -> Self {
        Self(u64::from(worker) << 56 | key.pack())
    }

    /// The number of the worker that has the socket.
    #[must_use]
    pub fn worker(self) -> usize {
        usize::from(self.worker_number())
    }

    #[allow(clippy::cast_possible_truncation, reason = "the top byte")]
    pub(crate) fn worker_number(self) -> u8 {
        (self.0 >> 56) as u8
    }

    pub(crate) fn key(self) -> Key {
        Key::unpack(self.0)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({}:{:?})", self.worker(), self.key())
    }
}

/// As `worker-index-generation`, for logs.
impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.worker(), self.key().index(), self.key().generation())
    }
}

const _: () = assert!(size_of::<SocketId>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_worker_index_and_generation() {
        let key = Key::new(77, u32::MAX);
        let id = SocketId::new(255, key);
        assert_eq!((id.worker(), id.key()), (255, key));
        assert_eq!(id.to_string(), "255-77-4294967295");
    }
}
