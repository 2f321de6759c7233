//! [`BodySource`]: the body of a response, made as the client takes it.

use std::io;

/// Makes the body of a response piece by piece.
///
/// Asked whenever the client has taken what was made before, so that a slow client costs no more
/// memory than a piece. It runs on the worker's thread and must not wait for anything.
///
/// A closure `FnMut(&mut Vec<u8>, usize) -> io::Result<()>` is one.
pub trait BodySource: Send + 'static {
    /// Appends the next bytes to `piece`, which is empty; none if the body is over. About
    /// `max_bytes` are wanted; fewer cost speed, more cost memory.
    ///
    /// # Errors
    /// If the body cannot be completed. The connection is dropped then, so that the client does
    /// not take what it has for the whole.
    fn produce(&mut self, piece: &mut Vec<u8>, max_bytes: usize) -> io::Result<()>;
}

impl<F: FnMut(&mut Vec<u8>, usize) -> io::Result<()> + Send + 'static> BodySource for F {
    fn produce(&mut self, piece: &mut Vec<u8>, max_bytes: usize) -> io::Result<()> {
        self(piece, max_bytes)
    }
}
