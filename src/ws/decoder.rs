//! [`Decoder`]: the messages of one connection, one after the other, out of bytes as they arrive.
//!
//! Invariant: any split of the input yields the same events and the same fault. A frame that
//! arrives whole, and is its message's only one, is unmasked, checked and lent where it stands.
//! Everything else (frames that are cut, fragments, what stands between them) goes through
//! `Partial`, which exists only while a frame or message is incomplete. Owns RFC 6455 §5 and §8.1.

use super::{
    CloseCode, Error, Limits, Message,
    deflate::Inflating,
    frame::ReceivedHeader,
    partial::{Partial, Released, Taken},
};
use crate::{base::Shared, simd};

/// Reads frames and joins them to messages.
///
/// Call [`Decoder::next`] with what it has not consumed, be it nothing, until it returns no event;
/// then all input is consumed, and what the last event borrowed of the decoder has been freed.
///
/// ```
/// use sockeye::ws::{Decoder, Event, Limits, Message, Role};
/// let mut decoder = Decoder::new(Role::Server);
/// let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; // RFC 6455 §5.7
/// let step = decoder.next(&mut input, &Limits::default())?;
/// assert_eq!(step.consumed, 11);
/// assert_eq!(step.event, Some(Event::Message(Message::Text("Hello"))));
/// # Ok::<(), sockeye::ws::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    state: State,
    role: Role,
}

/// Whose decoder this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A server's: frames must be masked.
    Server,
    /// A client's: frames must not be masked.
    Client,
}

/// What one call of [`Decoder::next`] came to.
#[derive(Debug)]
pub struct Step<'a> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What they were; `None` if more are needed.
    pub event: Option<Event<'a>>,
    /// What holds the bytes of a large message that arrived in pieces, to send them on uncopied.
    pub(crate) gathered: Option<&'a Shared>,
}

impl<'a> Step<'a> {
    #[inline]
    fn new(consumed: usize, event: Option<Event<'a>>) -> Self {
        Self { consumed, event, gathered: None }
    }
}

/// What the peer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message.
    Message(Message<'a>),
    /// The next piece of a message, only if [`Limits::piecewise`] asks for pieces.
    ///
    /// Messages that are one frame, and arrive at once, are [`Event::Message`] all the same. Pieces
    /// of text are whole characters. A piece may be empty only if it is the last.
    Fragment {
        /// The piece.
        message: Message<'a>,
        /// Whether the message ends with it.
        is_last: bool,
    },
    /// The peer asks whether we are there: to be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// The peer is there.
    Pong(&'a [u8]),
    /// The peer begins or answers the closing handshake, with its code and reason if it has any.
    /// It is the last event: RFC 6455 §5.5.1: no data follows, and what does is ignored.
    Close(Option<(CloseCode, &'a str)>),
}

#[derive(Debug)]
enum State {
    /// Between frames, and between messages.
    Rest,
    Partial(Box<Partial>),
    Closed,
    Failed(Error),
}

impl Decoder {
    /// A decoder of a connection on which no frame has arrived yet.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { state: State::Rest, role }
    }

    /// Takes a prefix of `input`, unmasks it in place, and returns the event in it.
    ///
    /// # Errors
    /// What the peer did wrong; again and again. [`Error::close_code`] answers it.
    #[inline]
    pub fn next<'a>(&'a mut self, input: &'a mut [u8], limits: &Limits) -> Result<Step<'a>, Error> {
        match (&self.state, self.role) {
            (State::Rest, Role::Server) => match short_message(input, limits) {
                Some(length) => Self::next_short(input, length).or_else(|error| self.fail(error)),
                None => self.next_at_rest(input, limits, None),
            },
            (State::Rest, Role::Client) => self.next_at_rest(input, limits, None),
            _ => self.next_elsewhere(input, limits, None),
        }
    }

    /// As [`Decoder::next`], where permessage-deflate has been agreed on (RFC 7692): messages may
    /// be compressed. With [`Limits::piecewise`] such messages are always given away in pieces.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn next_deflated<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &Limits,
        inflating: &mut Inflating<'_>,
    ) -> Result<Step<'a>, Error> {
        match self.state {
            State::Rest => self.next_at_rest(input, limits, Some(inflating)),
            _ => self.next_elsewhere(input, limits, Some(inflating)),
        }
    }

    /// The short way of what arrives most: a whole message of at most 125 bytes, in one frame.
    #[inline]
    fn next_short(input: &mut [u8], length: usize) -> Result<Step<'_>, Error> {
        let [first, _, k0, k1, k2, k3, payload @ ..] = input else {
            return Ok(Step::new(0, None));
        };
        let payload = payload.get_mut(..length).unwrap_or_default();
        simd::mask(payload, [*k0, *k1, *k2, *k3], 0);
        let message = match *first == SHORT_TEXT {
            true => Message::Text(simd::from_utf8(payload).map_err(|_| Error::InvalidUtf8)?),
            false => Message::Binary(payload),
        };
        Ok(Step::new(short_frame(length), Some(Event::Message(message))))
    }

    /// Whether no frame and no message has begun that is not complete.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.state {
            State::Rest | State::Closed => true,
            State::Partial(partial) => partial.is_done(),
            State::Failed(_) => false,
        }
    }

    /// The memory that an incomplete frame or message takes, or one lent by the last call; else
    /// zero.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Partial(partial) => size_of::<Partial>().saturating_add(partial.buffer_bytes()),
            _ => 0,
        }
    }

    /// Where the next bytes of a long payload may be put, if there is one in progress, and how
    /// many: they need not go through the input then. The following call of [`Decoder::next`]
    /// takes what was added, before its input.
    #[inline]
    pub(crate) fn room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        match &mut self.state {
            State::Partial(partial) => partial.room(),
            _ => None,
        }
    }

    /// Frees what the last event borrowed, as the following call of [`Decoder::next`] would: for
    /// whoever does not know when that will be.
    pub(crate) fn let_go(&mut self) {
        if let State::Partial(partial) = &mut self.state {
            match partial.release() {
                Released::All => self.state = State::Rest,
                Released::Close => self.state = State::Closed,
                Released::Some => {}
            }
        }
    }

    fn next_at_rest<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &Limits,
        inflating: Option<&mut Inflating<'_>>,
    ) -> Result<Step<'a>, Error> {
        match ReceivedHeader::read(input, self.role, None, limits, inflating.is_some()) {
            Ok(Some(frame))
                if frame.is_whole(input.len().saturating_sub(frame.header_length())) =>
            {
                let consumed = frame.header_length().saturating_add(frame.payload_length);
                let payload = input.get_mut(frame.header_length()..consumed).unwrap_or_default();
                match frame.event(payload) {
                    Ok(event) => {
                        if let Event::Close(_) = event {
                            self.state = State::Closed;
                        }
                        Ok(Step::new(consumed, Some(event)))
                    }
                    Err(error) => self.fail(error),
                }
            }
            Ok(None) if input.is_empty() => Ok(Step::new(0, None)),
            Ok(_) => {
                self.state = State::Partial(Box::default());
                self.next_elsewhere(input, limits, inflating)
            }
            Err(error) => self.fail(error),
        }
    }

    #[inline(never)]
    fn next_elsewhere<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &Limits,
        inflating: Option<&mut Inflating<'_>>,
    ) -> Result<Step<'a>, Error> {
        let length = input.len();
        self.let_go();
        let partial = match &mut self.state {
            State::Rest => return self.next_at_rest(input, limits, inflating),
            State::Closed => return Ok(Step::new(length, None)),
            State::Failed(error) => return Err(*error),
            State::Partial(partial) => partial,
        };
        let (consumed, taken) = match partial.take(self.role, input, limits, inflating) {
            Ok(taken) => taken,
            Err(error) => return self.fail(error),
        };
        let event = match taken {
            Taken::Nothing => None,
            Taken::Lent(event) => {
                if let Event::Close(_) = event {
                    self.state = State::Closed;
                } else if partial.is_done() {
                    self.state = State::Rest;
                }
                Some(event)
            }
            Taken::Kept => {
                let State::Partial(partial) = &self.state else {
                    return Ok(Step::new(consumed, None));
                };
                return Ok(Step {
                    gathered: partial.gathered(),
                    ..Step::new(consumed, partial.event())
                });
            }
        };
        Ok(Step::new(consumed, event))
    }

    #[cold]
    fn fail<'a>(&mut self, error: Error) -> Result<Step<'a>, Error> {
        self.state = State::Failed(error);
        Err(error)
    }
}

/// The payload length of a client's message that is whole, in one frame with a short header, and
/// within the limits. What is anything else goes the long way, and is judged there.
#[inline]
fn short_message(input: &[u8], limits: &Limits) -> Option<usize> {
    let &[SHORT_TEXT | SHORT_BINARY, second @ 0x80..=0xfd, ..] = input else { return None };
    let length = usize::from(second & 0x7f);
    let is_whole = input.len() >= short_frame(length);
    (is_whole && length <= limits.max_payload_length).then_some(length)
}

/// The length of a client's frame with a short header and this payload, of at most 125 bytes.
#[inline]
fn short_frame(payload_length: usize) -> usize {
    payload_length.wrapping_add(SHORT_HEADER_BYTES)
}

/// FIN and the opcode of a text.
const SHORT_TEXT: u8 = 0x81;
/// FIN and the opcode of binary data.
const SHORT_BINARY: u8 = 0x82;
/// Two bytes, and the masking-key.
const SHORT_HEADER_BYTES: usize = 6;

const _: () = assert!(size_of::<Decoder>() <= 32);

#[cfg(test)]
mod tests;
