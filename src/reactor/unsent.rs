//! [`Unsent`]: what came back of one socket's sends, and has not been told yet. And the sending by
//! system calls that both kernel backends do.

use std::{
    io::{self, IoSlice},
    os::fd::RawFd,
};

use super::sys;
use crate::base::Outbox;

/// Rule 5 of the contract: everything that came back so far is told at once, so that nothing of
/// it can come behind what the owner sends later.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    // Boxed, because most sockets never have one.
    rest: Option<Box<Outbox>>,
    // The error after which nothing is sent any more.
    failed: Option<i32>,
}

impl Unsent {
    /// Adds to what came back. True if its owner has to be told: there was nothing before.
    pub(super) fn push(&mut self, bytes: Outbox) -> bool {
        match &mut self.rest {
            Some(rest) => rest.append_outbox(bytes),
            None => {
                self.rest = Some(Box::new(bytes));
                return true;
            }
        }
        false
    }

    /// Everything that came back since it was last told, and why.
    pub(super) fn take(&mut self) -> Option<(Outbox, Option<io::Error>)> {
        let rest = *self.rest.take()?;
        Some((rest, self.failed.map(io::Error::from_raw_os_error)))
    }

    /// Whether something came back that the owner has not been told of.
    pub(super) fn is_waiting(&self) -> bool {
        self.rest.is_some()
    }

    /// From now on nothing is sent, for this reason.
    pub(super) fn fail(&mut self, error: &io::Error) {
        self.failed.get_or_insert(error.raw_os_error().unwrap_or(libc::EIO));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}

/// Sends until the outbox is empty or the kernel takes no more.
///
/// # Errors
/// `WouldBlock` if there is no room; otherwise see `send(2)`. The outbox holds the rest then.
pub(super) fn send_now(socket: RawFd, bytes: &mut Outbox) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = retry(|| match bytes.contiguous() {
            Some(all) => sys::send(socket, all),
            None => {
                let mut pieces = [IoSlice::new(&[]); PIECES_PER_SEND];
                let count = bytes.slices(&mut pieces);
                sys::send_vectored(socket, &pieces[..count])
            }
        })?;
        bytes.advance(count);
    }
    Ok(())
}

/// Like [`send_now`], of a slice; says how much was sent, and why it was not all.
pub(super) fn send_slice_now(socket: RawFd, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut sent = 0;
    while sent < bytes.len() {
        match retry(|| sys::send(socket, &bytes[sent..])) {
            Ok(count) => sent += count,
            Err(error) => return (sent, Err(error)),
        }
    }
    (sent, Ok(()))
}

pub(super) fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

const PIECES_PER_SEND: usize = 64;
