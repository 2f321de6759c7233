//! [`Wire`]: a socket that waits, with what it has received and not yet been used.

use std::{
    io::{self, IoSlice},
    time::Duration,
};

use super::Error;
use crate::{
    base::Outbox,
    reactor::{Clock, Socket},
};

/// Both directions of the connection, blocking.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    timeout: Option<Duration>,
    buffer: Box<[u8]>,
    // Invariant: start <= end <= buffer.len(); what is between has not been used yet.
    start: usize,
    end: usize,
}

impl Wire {
    /// A wire over a socket that has this timeout.
    pub(super) fn new(socket: Socket, timeout: Option<Duration>) -> Self {
        Self { socket, timeout, buffer: vec![0; BUFFER_BYTES].into(), start: 0, end: 0 }
    }

    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout = timeout;
        self.socket.set_timeout(timeout)
    }

    /// What has been received and not been consumed; if that is nothing, waits for more.
    ///
    /// # Errors
    /// `UnexpectedEof` if the server has ended its direction.
    pub(super) fn received(&mut self) -> Result<&mut [u8], Error> {
        if self.start == self.end {
            let count = self.socket.receive_blocking(&mut self.buffer);
            let count = count.map_err(|error| self.explain(error))?;
            if count == 0 {
                return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            (self.start, self.end) = (0, count);
        }
        Ok(&mut self.buffer[self.start..self.end])
    }

    /// Is done with so many of the received bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    /// Sends everything. What cannot be sent in time stays in the outbox.
    pub(super) fn send(&self, outbox: &mut Outbox) -> Result<(), Error> {
        while !outbox.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = outbox.slices(&mut pieces);
            let sent = self.socket.send_blocking(&pieces[..count]);
            outbox.advance(sent.map_err(|error| self.explain(error))?);
        }
        Ok(())
    }

    /// Waits a while for the server to end the connection, whatever it sends until then; then
    /// ends it from this side.
    pub(super) fn end_after_server(&mut self) {
        self.drain();
        self.socket.end_sending();
    }

    /// Ends the connection from this side, and waits a while for the server to do the same. Who
    /// closes a socket with bytes left to receive takes back what he sent last.
    pub(super) fn end(&mut self) {
        self.socket.end_sending();
        self.drain();
    }

    fn drain(&mut self) {
        let clock = Clock::start();
        while clock.now() < END_TIMEOUT {
            let rest = (END_TIMEOUT - clock.now()).max(Duration::from_millis(1));
            if self.socket.set_timeout(Some(rest)).is_err()
                || !matches!(self.socket.receive_blocking(&mut self.buffer), Ok(1..))
            {
                break;
            }
        }
        (self.start, self.end) = (0, 0);
    }

    fn explain(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::TimedOut(self.timeout),
            _ => Error::Io(error),
        }
    }
}

const BUFFER_BYTES: usize = 64 << 10;
const PIECES: usize = 16;
/// RFC 6455 §7.1.1: "In abnormal cases (such as not having received a TCP Close from the server
/// after a reasonable time period) a client MAY initiate the TCP Close."
const END_TIMEOUT: Duration = Duration::from_secs(1);
