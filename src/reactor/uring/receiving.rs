//! [`Received`]: the receives of a [`UringReactor`].
//!
//! Each socket has one multishot receive in the ring. It ends when it has brought enough for one
//! turn, when the buffers have run out, when it is paused, and with the peer's last byte; all but
//! the last are begun again.

use std::{io, os::fd::AsRawFd};

use io_uring::{cqueue, types};

use super::{
    super::{buffers::Piece, sys, unsent::retry},
    Made, Operation, UringReactor,
    ring::Reaped,
};
use crate::base::Key;

/// What a completion of a receive comes to.
pub(super) enum Received {
    Bytes(Key, Piece),
    End(Key, Option<io::Error>),
}

impl UringReactor {
    pub(super) fn arm_receive(&mut self, key: Key) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if entry.receiving || entry.ended || entry.closing || !entry.wanted {
            return;
        }
        entry.receiving = true;
        let receive = self.ring.multishot_receive(types::Fd(entry.socket.as_raw_fd()));
        self.push(receive.user_data(Operation::Receive.tag(key.pack())));
    }

    /// Releases what `next` has lent.
    pub(super) fn take_back_lent(&mut self) {
        if let Some((key, piece)) = self.lent.take() {
            self.buffers.release(piece);
            if self.sockets.get_mut(key).is_some_and(|entry| !entry.receiving) {
                self.served.push(key);
            }
        }
    }

    /// Receives on where the kernel has stopped. Those that got nothing come first, or else they
    /// might get nothing again.
    pub(super) fn receive_on(&mut self) {
        let mut starved = std::mem::take(&mut self.starved);
        let mut served = std::mem::take(&mut self.served);
        for key in starved.drain(..).chain(served.drain(..)) {
            self.arm_receive(key);
        }
        (self.starved, self.served) = (starved, served);
    }

    /// Receives by a system call of its own, between two receives of the ring: then there is
    /// nothing on its way that would have to come first.
    pub(super) fn receive_behind(&mut self, key: Key, bytes: &mut Vec<u8>, max: usize) -> usize {
        let max = max.min(bytes.capacity() - bytes.len());
        let Some(entry) = self.sockets.get_mut(key) else { return 0 };
        let is_between = !entry.receiving && entry.wanted && !entry.ended && !entry.closing;
        if max == 0 || !is_between {
            return 0;
        }
        match retry(|| sys::receive_behind(entry.socket.as_raw_fd(), bytes, max)) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The kernel tells it once.
            Err(error) => {
                entry.ended = true;
                let error = error.raw_os_error().unwrap_or(libc::EIO);
                self.queue.push_back(Made::Ended { key, error });
                0
            }
        }
    }

    #[allow(clippy::cast_sign_loss, reason = "checked")]
    pub(super) fn received(&mut self, reaped: Reaped) -> Option<Received> {
        let key = Key::unpack(reaped.payload());
        let piece = cqueue::buffer_select(reaped.flags).map(|buffer| {
            let more = cqueue::buffer_more(reaped.flags);
            self.buffers.reported(buffer, reaped.result.max(0) as u32, more)
        });
        let entry = self.sockets.get_mut(key);
        let wants = entry.as_ref().is_some_and(|entry| !entry.closing && !entry.ended);
        if let Some(entry) = entry {
            entry.receiving &= cqueue::more(reaped.flags);
        }
        match piece {
            Some(piece) if wants && reaped.result > 0 => return Some(Received::Bytes(key, piece)),
            Some(piece) => self.buffers.release(piece),
            None => {}
        }
        if wants {
            return self.receive_ended(key, reaped.result);
        }
        self.release_if_idle(key);
        None
    }

    pub(super) fn receive_ended(&mut self, key: Key, result: i32) -> Option<Received> {
        let entry = self.sockets.get_mut(key)?;
        match -result {
            libc::ENOBUFS => self.starved.push(key),
            // Paused. If it has been resumed in between, go on.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.arm_receive(key),
            0 => {
                entry.ended = true;
                return Some(Received::End(key, None));
            }
            code => {
                entry.ended = true;
                return Some(Received::End(key, Some(io::Error::from_raw_os_error(code))));
            }
        }
        None
    }
}
