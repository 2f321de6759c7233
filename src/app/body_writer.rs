//! [`BodyWriter`]: writes the body of a response from any thread.
//!
//! ```text
//! writer's thread                      worker
//! write ──▶ [pieces, bounded] ──▶ take, as the client reads ──▶ outbox
//!     └── a letter, if the worker waits for one ──▶ │
//! writable, closed ◀────────────────────────────────┘
//! ```
//!
//! Invariant: if the pipe holds something that the worker has not seen and will not look for by
//! itself, a letter is on its way: `is_expected` says that one is, or that the worker comes back.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Remote, remote::Letter, upgrade::Ticket};

/// Writes the body of one response, from any thread; see
/// [`Response::written`](crate::Response::written).
///
/// What is written waits here until the client takes it: less than 64 KiB and one piece.
/// When the client has gone, or the server, or the time for it, every call says
/// [`WriteError::Closed`] and does nothing. Dropped without [`BodyWriter::end`], the connection is
/// dropped too, so that the client does not take what it has for the whole.
pub struct BodyWriter {
    pipe: Arc<Pipe>,
    remote: Remote,
    ticket: Ticket,
}

/// Why a piece has not been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// The client does not read as fast: wait until there is room.
    Full,
    /// Nobody reads any more.
    Closed,
}

/// The worker's end.
pub(super) struct BodyReader(Arc<Pipe>);

/// What the worker finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Perhaps something, and nothing is left: a letter tells of more.
    Some,
    /// Something, and more is there.
    More,
    /// The last of it.
    Last,
    /// The writer was dropped without an end.
    Torn,
}

struct Pipe {
    queue: Mutex<Queue>,
    has_changed: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    // How many of them the worker has taken already.
    taken: usize,
    end: End,
    // Whether the worker will look, by itself or because of a letter.
    is_expected: bool,
    is_closed: bool,
    // Called once, when there is room again or nobody reads any more.
    on_writable: Option<Box<dyn FnOnce() + Send>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Ended,
    Torn,
}

/// Both ends for the exchange of this ticket.
pub(super) fn body_pipe(remote: Remote, ticket: Ticket) -> (BodyWriter, BodyReader) {
    let pipe = Arc::new(Pipe { queue: Mutex::default(), has_changed: Condvar::new() });
    (BodyWriter { pipe: Arc::clone(&pipe), remote, ticket }, BodyReader(pipe))
}

impl BodyWriter {
    /// Writes a piece, all of it or nothing.
    ///
    /// # Errors
    /// [`WriteError::Full`] if 64 KiB wait already.
    /// [`WriteError::Closed`] if nobody reads any more.
    pub fn write(&self, piece: &[u8]) -> Result<(), WriteError> {
        let mut queue = self.pipe.lock();
        if queue.is_closed {
            return Err(WriteError::Closed);
        }
        if queue.is_full() {
            return Err(WriteError::Full);
        }
        let taken = std::mem::take(&mut queue.taken);
        queue.bytes.drain(..taken);
        queue.bytes.extend_from_slice(piece);
        self.tell(queue);
        Ok(())
    }

    /// Writes a piece, and waits for room as long as it takes. Not for a worker's thread, nor for
    /// one of an async runtime: those have [`BodyWriter::on_writable`].
    ///
    /// # Errors
    /// [`WriteError::Closed`].
    pub fn write_blocking(&self, piece: &[u8]) -> Result<(), WriteError> {
        loop {
            match self.write(piece) {
                Err(WriteError::Full) => self.wait_writable(PATIENCE)?,
                result => return result,
            };
        }
    }

    /// Waits until the worker has taken what was written, and returns whether it has: if not, the
    /// time is over.
    ///
    /// # Errors
    /// [`WriteError::Closed`].
    pub fn wait_writable(&self, timeout: Duration) -> Result<bool, WriteError> {
        let queue = self.pipe.lock();
        let must_wait = |queue: &mut Queue| !queue.is_closed && queue.is_full();
        let waited = self.pipe.has_changed.wait_timeout_while(queue, timeout, must_wait);
        let (queue, result) = waited.unwrap_or_else(PoisonError::into_inner);
        if queue.is_closed { Err(WriteError::Closed) } else { Ok(!result.timed_out()) }
    }

    /// Calls this once: when there is room, which may be now, or when nobody reads any more. It is
    /// called on the thread of the worker or on this one, and must not wait for anything. Replaces
    /// one that has not been called.
    pub fn on_writable(&self, call: impl FnOnce() + Send + 'static) {
        let mut queue = self.pipe.lock();
        if !queue.is_closed && queue.is_full() {
            let before = queue.on_writable.replace(Box::new(call));
            drop(queue);
            return drop(before);
        }
        drop(queue);
        call();
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pipe.lock().is_closed
    }

    /// Bytes that the worker has not taken yet.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.pipe.lock().waiting()
    }

    /// Ends the body.
    pub fn end(self) {
        self.finish(End::Ended);
    }

    /// The first word counts.
    fn finish(&self, end: End) {
        let mut queue = self.pipe.lock();
        if queue.end == End::Open {
            queue.end = end;
            self.tell(queue);
        }
    }

    /// Sees to it that the worker looks.
    fn tell(&self, mut queue: MutexGuard<'_, Queue>) {
        let is_expected = std::mem::replace(&mut queue.is_expected, true);
        let is_closed = queue.is_closed;
        drop(queue);
        if !is_expected && !is_closed {
            // One at a time, so that it needs no weight; refused only by a worker that has ended.
            let ticket = self.ticket;
            let _ = self.remote.post(ticket.id.worker_number(), Letter::Written { ticket }, 0);
        }
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        self.finish(End::Torn);
    }
}

impl BodyReader {
    /// Moves up to so many bytes to `piece`, which is empty.
    pub(super) fn take(&self, piece: &mut Vec<u8>, max_bytes: usize) -> Taken {
        let mut queue = self.0.lock();
        let end = queue.taken + queue.waiting().min(max_bytes);
        piece.extend_from_slice(&queue.bytes[queue.taken..end]);
        queue.taken = end;
        if queue.waiting() == 0 {
            (queue.bytes, queue.taken) = (Vec::new(), 0);
        }
        let taken = match queue.end {
            _ if queue.waiting() > 0 => Taken::More,
            End::Open => Taken::Some,
            End::Ended => Taken::Last,
            End::Torn => Taken::Torn,
        };
        queue.is_expected = taken != Taken::Some;
        if !queue.is_full() {
            self.0.tell_writer(queue);
        }
        taken
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.is_closed = true;
        (queue.bytes, queue.taken) = (Vec::new(), 0);
        self.0.tell_writer(queue);
    }
}

impl Queue {
    fn waiting(&self) -> usize {
        self.bytes.len() - self.taken
    }

    fn is_full(&self) -> bool {
        self.waiting() >= MAX_WAITING_BYTES
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code of others runs under the lock, so that a poisoned queue is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_writer(&self, mut queue: MutexGuard<'_, Queue>) {
        let call = queue.on_writable.take();
        drop(queue);
        self.has_changed.notify_all();
        if let Some(call) = call
            && catch_unwind(AssertUnwindSafe(call)).is_err()
        {
            log::error!("a function for `on_writable` panicked");
        }
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyWriter")
    }
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyReader")
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the client does not read as fast: try again when there is room",
            Self::Closed => "nobody reads the response any more",
        })
    }
}

impl std::error::Error for WriteError {}

/// When so much waits for the worker, there is no room for more.
const MAX_WAITING_BYTES: usize = 64 << 10;
/// How long a blocking write sleeps at a time; whatever happens wakes it.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{app::SocketId, base::KeyedSlab};

    fn pipe() -> (Remote, BodyWriter, BodyReader) {
        let remote = Remote::new(1, 1000);
        let key = KeyedSlab::with_limit(1).insert_with(|_| ()).expect("room for one");
        let ticket = Ticket { id: SocketId::new(0, key), number: 1 };
        let (writer, reader) = body_pipe(remote.clone(), ticket);
        (remote, writer, reader)
    }

    fn letters(remote: &Remote) -> usize {
        let mut letters = Vec::new();
        remote.letters(0).take(&mut letters);
        letters.len()
    }

    #[test]
    fn one_letter_is_on_its_way_at_a_time() {
        let (remote, writer, reader) = pipe();
        for _ in 0..10 {
            writer.write(b"0123456789").unwrap();
        }
        assert_eq!(letters(&remote), 1);
        let mut piece = Vec::new();
        assert_eq!(reader.take(&mut piece, 60), Taken::More);
        assert_eq!((piece.len(), writer.buffered_amount()), (60, 40));
        writer.write(b"x").unwrap();
        assert_eq!(letters(&remote), 0, "the worker comes back for the rest");
        piece.clear();
        assert_eq!(reader.take(&mut piece, 60), Taken::Some);
        assert!(piece.ends_with(b"9x"));
        writer.end();
        assert_eq!(letters(&remote), 1);
        piece.clear();
        assert_eq!((reader.take(&mut piece, 60), piece.len()), (Taken::Last, 0));
    }

    #[test]
    fn a_full_pipe_is_a_result_and_room_is_told_once() {
        let (_remote, writer, reader) = pipe();
        let large = vec![0; 2 * MAX_WAITING_BYTES];
        assert_eq!(writer.write(b"x"), Ok(()));
        assert_eq!(writer.write(&large), Ok(()), "a piece is not taken in parts");
        assert_eq!(writer.write(b"x"), Err(WriteError::Full));
        assert_eq!(writer.wait_writable(Duration::from_millis(1)), Ok(false));
        let (told, tidings) = mpsc::channel();
        writer.on_writable(move || told.send(()).unwrap());
        let mut piece = Vec::new();
        reader.take(&mut piece, 10);
        assert!(tidings.try_recv().is_err(), "there is no room yet");
        reader.take(&mut piece, MAX_WAITING_BYTES);
        assert!(tidings.try_recv().is_ok());
        assert_eq!(writer.wait_writable(Duration::ZERO), Ok(true));
        assert_eq!(writer.write(b"x"), Ok(()));
    }

    #[test]
    fn whoever_goes_first_is_missed() {
        let (_remote, writer, reader) = pipe();
        let large = vec![0; MAX_WAITING_BYTES];
        writer.write(&large).unwrap();
        let (told, tidings) = mpsc::channel();
        writer.on_writable(move || told.send(()).unwrap());
        drop(reader);
        assert!(tidings.try_recv().is_ok());
        assert!(writer.is_closed());
        assert_eq!(writer.write(b"x"), Err(WriteError::Closed));
        assert_eq!(writer.wait_writable(PATIENCE), Err(WriteError::Closed));
        assert_eq!(writer.write_blocking(b"x"), Err(WriteError::Closed));

        let (_remote, writer, reader) = pipe();
        writer.write(b"x").unwrap();
        drop(writer);
        assert_eq!(reader.take(&mut Vec::new(), 10), Taken::Torn);
    }
}
