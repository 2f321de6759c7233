//! [`Inflaters`]: the decompressors of one worker; [`Inflater`]: one of them at a message.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{History, TAIL};
use crate::ws::Error;

/// Inflates messages for any number of connections.
///
/// A message takes one of these decompressors, of about 48 KiB, from its first byte to its last;
/// a few are kept for those to come.
///
/// ```
/// use sockeye::ws::{Decoder, Event, Limits, Message, Role, deflate::{Inflaters, Inflating}};
/// let mut inflaters = Inflaters::default();
/// let mut inflating = Inflating { inflaters: &mut inflaters, history: None };
/// let mut decoder = Decoder::new(Role::Client);
/// let mut input = *b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"; // RFC 7692 §7.2.3.1
/// let step = decoder.next_deflated(&mut input, &Limits::default(), &mut inflating)?;
/// assert_eq!(step.event, Some(Event::Message(Message::Text("Hello"))));
/// # Ok::<(), sockeye::ws::Error>(())
/// ```
#[derive(Debug)]
pub struct Inflaters {
    free: Vec<Inflater>,
    output: Box<[u8]>,
}

/// What a [`Decoder`](crate::ws::Decoder) needs to inflate messages.
#[derive(Debug)]
pub struct Inflating<'a> {
    /// Those of the worker.
    pub inflaters: &'a mut Inflaters,
    /// What the peer said before, if it may refer to that.
    pub history: Option<&'a mut History>,
}

/// A decompressor at work on one message.
pub(in crate::ws) struct Inflater {
    inflate: Box<Inflate>,
    // Whether anything has been taken, and whether what has been was the end of a stream.
    has_begun: bool,
    has_ended: bool,
}

impl Default for Inflaters {
    fn default() -> Self {
        Self { free: Vec::new(), output: vec![0; PIECE_BYTES].into() }
    }
}

impl Inflating<'_> {
    /// A decompressor for a message that begins.
    pub(in crate::ws) fn begin(&mut self) -> Result<Inflater, Error> {
        let mut inflater = self.inflaters.free.pop().unwrap_or_else(Inflater::new);
        inflater.reset();
        // A window of 15 bits holds any history, and what was deflated for a smaller one.
        if let Some(history) = self.history.as_ref().filter(|h| !h.bytes().is_empty()) {
            let set = inflater.inflate.set_dictionary(history.bytes());
            set.map_err(|_| Error::InvalidDeflate)?;
        }
        Ok(inflater)
    }

    /// Takes the next bytes of a message, and gives away what they become, piece by piece, each
    /// with how much more there is room for.
    ///
    /// # Errors
    /// [`Error::InvalidDeflate`]; [`Error::MessageTooLong`] before more than `room` bytes are
    /// given away; and what `take` answers.
    pub(in crate::ws) fn inflate(
        &mut self,
        inflater: &mut Inflater,
        mut input: &[u8],
        room: &mut usize,
        mut take: impl FnMut(&[u8], usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            // One byte more than there is room for shows that there is more.
            let most = self.inflaters.output.len().min(room.saturating_add(1));
            let output = self.inflaters.output.get_mut(..most).unwrap_or_default();
            let (used, made) = inflater.step(input, output)?;
            // What fits is judged before it is too much, so that the cuts of the input do not
            // decide which of two faults is seen.
            let piece = output.get(..made.min(*room)).unwrap_or_default();
            *room = room.saturating_sub(piece.len());
            if !piece.is_empty() {
                take(piece, *room)?;
                if let Some(history) = &mut self.history {
                    history.push(piece);
                }
            }
            if made > piece.len() {
                return Err(Error::MessageTooLong);
            }
            input = input.get(used..).unwrap_or_default();
            // Room that is left says that nothing waits inside.
            if input.is_empty() && made < most {
                return Ok(());
            }
            if used == 0 && made == 0 {
                return Err(Error::InvalidDeflate);
            }
        }
    }

    /// Ends a message: its last block must be complete.
    pub(in crate::ws) fn finish(
        &mut self,
        mut inflater: Inflater,
        room: &mut usize,
        take: impl FnMut(&[u8], usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Nothing at all stands for an empty message, though RFC 7692 §7.2.3.6 asks for a byte.
        // And a final block (§7.2.3.4) needs no tail.
        if inflater.has_begun && !inflater.has_ended {
            self.inflate(&mut inflater, &TAIL, room, take)?;
            // An empty final block fits only where the last one has ended.
            let (_, made) = inflater.step(&FINAL, &mut [0])?;
            if made > 0 || !inflater.has_ended {
                return Err(Error::InvalidDeflate);
            }
        }
        if self.inflaters.free.len() < KEPT_INFLATERS {
            self.inflaters.free.push(inflater);
        }
        Ok(())
    }
}

impl Inflater {
    fn new() -> Self {
        Self { inflate: Box::new(Inflate::new(false, 15)), has_begun: false, has_ended: false }
    }

    fn reset(&mut self) {
        self.inflate.reset(false);
        (self.has_begun, self.has_ended) = (false, false);
    }

    /// Inflates a part of `input` into a part of `output`; returns how much of both.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Error> {
        if self.has_ended && !input.is_empty() {
            // RFC 7692 §7.2.3.4: a block with BFINAL need not be the message's last.
            self.inflate.reset(false);
            self.has_ended = false;
        }
        self.has_begun |= !input.is_empty();
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, output, InflateFlush::SyncFlush)
            .map_err(|_| Error::InvalidDeflate)?;
        self.has_ended |= status == Status::StreamEnd;
        let used = self.inflate.total_in().saturating_sub(before.0);
        let made = self.inflate.total_out().saturating_sub(before.1);
        // No more than the slices have.
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Ok((count(used), count(made)))
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inflater({} bytes to {})", self.inflate.total_in(), self.inflate.total_out())
    }
}

/// What is inflated at a time.
const PIECE_BYTES: usize = 16 << 10;
/// Kept for messages to come: as many as are likely to arrive in pieces at a time.
const KEPT_INFLATERS: usize = 4;
/// An empty block of fixed codes with BFINAL (RFC 1951 §3.2.3, §3.2.6).
const FINAL: [u8; 2] = [0x03, 0x00];
