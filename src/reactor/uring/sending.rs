//! The sends of a [`UringReactor`]: what is batched, what is made at once, what is refused.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use io_uring::{opcode, squeue, types};

use super::{
    super::{
        Completion, Socket,
        batch::{self, Batch},
        unsent::{Failure, send_now, send_slice_now},
    },
    Made, Operation, UringReactor,
    ring::Reaped,
};
use crate::base::{Key, Outbox, Shared};

/// What becomes of a send to this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Open,
    Refused,
    Nobody,
}

impl UringReactor {
    /// Sends what is small with the batch, and what is large at once.
    pub(super) fn send_outbox(&mut self, key: Key, bytes: &mut Outbox) {
        if bytes.is_empty() {
            return;
        }
        match self.settle(key) {
            Room::Nobody => bytes.clear(),
            Room::Open if bytes.len() <= batch::COPY_BYTES => {
                self.push_send(key, |batch, fd| batch.send(key, fd, bytes));
            }
            Room::Open => {
                let Some(entry) = self.sockets.get_mut(key) else { return };
                let result = send_now(entry.socket.as_raw_fd(), bytes);
                self.refuse(key, std::mem::take(bytes), result);
            }
            Room::Refused => self.give_back(key, std::mem::take(bytes)),
        }
    }

    /// Like [`UringReactor::send_outbox`].
    pub(super) fn send_buffer(&mut self, key: Key, bytes: &Shared) {
        if bytes.is_empty() {
            return;
        }
        let room = self.settle(key);
        if room == Room::Open && bytes.len() <= batch::SHARE_BYTES {
            return self.push_send(key, |batch, fd| batch.send_shared(key, fd, bytes));
        }
        let Some(entry) = self.sockets.get_mut(key) else { return };
        let mut rest = Outbox::default();
        match room {
            Room::Nobody => {}
            Room::Open => {
                let (sent, result) = send_slice_now(entry.socket.as_raw_fd(), bytes);
                rest.push_shared(bytes.clone(), sent);
                self.refuse(key, rest, result);
            }
            Room::Refused => {
                rest.push_shared(bytes.clone(), 0);
                self.give_back(key, rest);
            }
        }
    }

    /// Queues a send that the batch holds the bytes for.
    fn push_send(&mut self, key: Key, make: impl FnOnce(&mut Batch, RawFd) -> squeue::Entry) {
        // First, because to submit is to let go of the bytes in the batch.
        if self.ring.is_full() || self.batch.is_full() {
            self.submit();
        }
        let Some(entry) = self.sockets.get_mut(key) else { return };
        entry.batch = self.batch.number();
        let send = make(&mut self.batch, entry.socket.as_raw_fd());
        self.push(send);
        if self.batch.is_full() {
            self.submit();
        }
    }

    /// Makes room for a send of this socket: at most one stands in a batch, because the second
    /// could succeed where the first was refused, and what is sent at once must not overtake it.
    pub(super) fn settle(&mut self, key: Key) -> Room {
        let number = self.batch.number();
        if self.sockets.get_mut(key).is_some_and(|entry| entry.batch == number) {
            self.submit();
        }
        match self.sockets.get_mut(key) {
            Some(entry) if entry.closing => Room::Nobody,
            Some(entry) if entry.blocked || entry.failed.is_some() => Room::Refused,
            Some(_) => Room::Open,
            None => Room::Nobody,
        }
    }

    /// A send that did not succeed as a whole.
    #[allow(clippy::cast_sign_loss, reason = "checked")]
    pub(super) fn settle_refused(&mut self, reaped: Reaped) {
        let index = reaped.payload() as usize;
        let Some((key, mut rest)) = self.batch.take_back(index) else { return };
        let error = match reaped.result {
            sent if sent >= 0 => {
                rest.advance((sent as usize).min(rest.len()));
                libc::EAGAIN
            }
            code => -code,
        };
        self.refuse(key, rest, Err(io::Error::from_raw_os_error(error)));
    }

    /// What is left of a send that was made, and why.
    fn refuse(&mut self, key: Key, rest: Outbox, result: io::Result<()>) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        match result {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => entry.failed = entry.failed.or(Some(Failure::from(&error))),
        }
        if rest.is_empty() || entry.closing {
            return;
        }
        if entry.failed.is_none() {
            entry.blocked = true;
            self.refused.push(key);
        }
        self.give_back(key, rest);
    }

    /// Tells the owner of bytes that were not sent.
    fn give_back(&mut self, key: Key, rest: Outbox) {
        if self.sockets.get_mut(key).is_some() && self.unsent.push(key, rest) {
            self.queue.push_back(Made::Unsent { key });
        }
    }

    /// Asks to be told when the socket has room.
    pub(super) fn arm_writable(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if entry.closing || !entry.blocked || std::mem::replace(&mut entry.polling, true) {
            return;
        }
        let fd = types::Fd(entry.socket.as_raw_fd());
        let poll = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
        self.push(poll.user_data(Operation::Writable.tag(key.pack())));
    }

    /// What a poll for POLLOUT means for the owner.
    pub(super) fn writable(&mut self, key: Key) -> Option<Completion<'static, Socket>> {
        let entry = self.sockets.get_mut(key)?;
        entry.polling = false;
        if entry.closing {
            self.release_if_idle(key);
            return None;
        }
        entry.blocked = false;
        Some(Completion::Writable { key })
    }
}
