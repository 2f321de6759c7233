//! [`Accepting`]: the listeners of a [`UringReactor`].
//!
//! Each has one multishot accept in the ring. A connection is owned from the moment its completion
//! leaves the ring, so that none is lost when the reactor goes.

use std::{io, os::fd::AsRawFd, time::Duration};

use io_uring::{cqueue, opcode, types};

use super::{
    super::{Completion, Listener, Socket, is_passing_accept_error, sys},
    Operation, UringReactor,
    ring::{Enter, Reaped},
};

#[derive(Debug)]
pub(super) struct Accepting {
    listener: Listener,
    armed: bool,
    resting: bool,
    closing: bool,
}

impl UringReactor {
    pub(super) fn begin_accepting(&mut self, number: usize, listener: Listener) -> io::Result<()> {
        if self.listeners.len() <= number {
            self.listeners.resize_with(number + 1, || None);
        }
        if self.listeners[number].is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.listeners[number] =
            Some(Accepting { listener, armed: false, resting: false, closing: false });
        self.arm_accept(number);
        Ok(())
    }

    pub(super) fn go_on_accepting(&mut self, number: usize) {
        if let Some(Some(accepting)) = self.listeners.get_mut(number) {
            accepting.resting = false;
            self.arm_accept(number);
        }
    }

    pub(super) fn end_accepting(&mut self, number: usize) {
        let Some(Some(accepting)) = self.listeners.get_mut(number) else { return };
        accepting.closing = true;
        if accepting.armed {
            self.cancel(Operation::Accept, number as u64);
        }
        // The ring refers to the listening socket until the accept has ended, which it does at
        // once; should it not, this does not spin.
        let mut how = Enter::Poll;
        let armed = |it: &Option<Accepting>| it.as_ref().is_some_and(|it| it.armed);
        while self.failure.is_none() && armed(&self.listeners[number]) {
            self.enter(how);
            how = Enter::Wait(Some(Duration::from_millis(1)));
        }
        self.listeners[number] = None;
        self.accepted.retain(|(of, result)| *of != number || result.is_ok());
    }

    /// Takes over what the kernel has accepted.
    pub(super) fn note_accepted(&mut self, reaped: Reaped) {
        let number = reaped.payload() as usize;
        let result = match reaped.result {
            // SAFETY: a successful accept hands over a new descriptor.
            fd @ 0.. => Ok(unsafe { sys::own(fd) }),
            code => Err(io::Error::from_raw_os_error(-code)),
        };
        if let Some(Some(accepting)) = self.listeners.get_mut(number) {
            accepting.armed &= cqueue::more(reaped.flags);
            // Now, so that those accepted before it do not begin anew.
            accepting.resting |= result.as_ref().is_err_and(|e| !is_passing_accept_error(e));
        }
        self.accepted.push_back((number, result));
    }

    /// What an accept means for the owner.
    pub(super) fn accepted(
        &mut self,
        number: usize,
        result: io::Result<Socket>,
    ) -> Option<Completion<'static, Socket>> {
        let error = match result {
            Ok(socket) => {
                // A multishot accept may end at any time, for instance when completions pile up.
                self.arm_accept(number);
                let peer = socket.peer();
                let listener = self.listeners.get(number).and_then(Option::as_ref);
                if peer.is_none() && listener.is_some_and(|it| it.listener.is_tcp()) {
                    // It is gone already. To its owner it would look like one of a Unix socket,
                    // which may be trusted with more.
                    return None;
                }
                return Some(Completion::Accepted { listener: number, socket, peer });
            }
            Err(error) => error,
        };
        if is_passing_accept_error(&error) {
            self.arm_accept(number);
            return None;
        }
        Some(Completion::AcceptFailed { listener: number, error })
    }

    fn arm_accept(&mut self, number: usize) {
        let Some(Some(accepting)) = self.listeners.get_mut(number) else { return };
        if accepting.armed || accepting.resting || accepting.closing {
            return;
        }
        accepting.armed = true;
        let fd = types::Fd(accepting.listener.as_raw_fd());
        let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build().user_data(Operation::Accept.tag(number as u64)));
    }
}
