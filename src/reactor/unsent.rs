//! [`Unsent`]: what came back of sends, and has not been told yet. And the sending by system calls
//! that both kernel backends do.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{self, IoSlice},
    num::NonZeroU16,
    os::fd::RawFd,
};

use super::sys;
use crate::base::{Key, Outbox};

/// What came back of sends, by socket. Apart from the sockets' entries, because most sockets never
/// have any.
///
/// Rule 5 of the contract: everything that came back so far is told at once, so that nothing of
/// it can come behind what the owner sends later.
#[derive(Debug, Default)]
pub(super) struct Unsent(BTreeMap<Key, Outbox>);

impl Unsent {
    /// Adds to what came back. True if its owner has to be told: there was nothing before.
    pub(super) fn push(&mut self, key: Key, bytes: Outbox) -> bool {
        match self.0.entry(key) {
            Entry::Occupied(mut rest) => {
                rest.get_mut().append_outbox(bytes);
                false
            }
            Entry::Vacant(place) => {
                place.insert(bytes);
                true
            }
        }
    }

    /// Everything that came back since it was last told, or nothing if the socket has gone.
    pub(super) fn take(&mut self, key: Key) -> Option<Outbox> {
        self.0.remove(&key)
    }

    /// Whether something came back that the owner has not been told of.
    pub(super) fn is_waiting(&self, key: Key) -> bool {
        self.0.contains_key(&key)
    }
}

/// Why nothing is sent to a socket any more: an error of the kernel's, in two bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure(NonZeroU16);

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        let code = error.raw_os_error().and_then(|code| u16::try_from(code).ok());
        Self(code.and_then(NonZeroU16::new).unwrap_or(EIO))
    }
}

impl From<Failure> for io::Error {
    fn from(Failure(code): Failure) -> Self {
        Self::from_raw_os_error(code.get().into())
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

#[allow(clippy::cast_possible_truncation, reason = "it is 5")]
const EIO: NonZeroU16 = NonZeroU16::new(libc::EIO as u16).expect("not zero");
const PIECES_PER_SEND: usize = 64;
