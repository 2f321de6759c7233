//! [`Decoder`]: the requests of one connection, one after the other, out of bytes as they arrive.
//!
//! Invariant: any split of the input yields the same events, if adjoining body pieces are joined.
//! A head that arrives whole is lent where it stands; a connection between requests owns no heap
//! memory. Owns RFC 9112 §2.2 and §6.

use super::{
    BodyLength, Error, HeaderSlots, Limits, RequestHead, Trailers,
    chunked::{ChunkDecoder, Piece},
    head_buffer::{HeadBuffer, Side},
    head_lines::HeadLines,
};

/// Reads requests.
///
/// Each request is one [`Event::Request`], any number of [`Event::Body`], perhaps
/// [`Event::Trailers`], and one [`Event::End`], also if it has no body. Call [`Decoder::next`] with
/// what it has not consumed until it returns no event; then all input is consumed.
///
/// To drain a body nobody wants, drop its pieces until `End`. To wait for a slow handler before the
/// next pipelined request, stop calling. After answering `101` or a fault, or when the connection
/// is not kept alive, do not call again: what is left of the input is not HTTP, or not to be read.
///
/// ```
/// use sockeye::http::{Decoder, Event, HeaderSlots, Limits};
/// let mut decoder = Decoder::default();
/// let mut input = *b"POST /form HTTP/1.1\r\nHost: example.org\r\nContent-Length: 2\r\n\r\nhi";
/// let (mut seen, mut done) = (Vec::new(), 0);
/// let mut slots = HeaderSlots::new();
/// loop {
///     let step = decoder.next(&mut input[done..], &mut slots, &Limits::default())?;
///     done += step.consumed;
///     match step.event {
///         Some(Event::Request(head)) => seen.push(format!("{} {}", head.method(), head.path())),
///         Some(Event::Body(piece)) => seen.push(format!("{} bytes", piece.len())),
///         Some(Event::Trailers(_)) => seen.push("trailers".into()),
///         Some(Event::End) => seen.push("end".into()),
///         None => break,
///     }
/// }
/// assert_eq!(seen, ["POST /form", "2 bytes", "end"]);
/// # Ok::<(), sockeye::http::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    // Invariant: holds bytes only of a head or trailer section that is incomplete or just lent.
    buffer: HeadBuffer,
    state: State,
}

/// What one call of [`Decoder::next`] came to.
#[derive(Debug)]
pub struct Step<'a> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What they were; `None` if more are needed.
    pub event: Option<Event<'a>>,
    /// After a head, what follows it in the input; else nothing. Who takes the body from here
    /// says so to [`Decoder::skip_body`].
    pub rest: &'a [u8],
}

/// A part of a request.
#[derive(Debug)]
pub enum Event<'a> {
    /// The head of a request.
    Request(RequestHead<'a>),
    /// The next bytes of the body, never none, without the coding they came in.
    Body(&'a [u8]),
    /// The fields behind a body in chunks, if there are any.
    Trailers(Trailers<'a>),
    /// The request is complete.
    End,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Head,
    Known {
        remaining: u64,
    },
    Chunked(ChunkDecoder),
    End,
    Failed(Error),
}

impl Decoder {
    /// Takes a prefix of `input` and returns the event in it.
    ///
    /// `slots` is room for the field lines, whatever they held before.
    ///
    /// # Errors
    /// What the client did wrong; again and again. [`Error::status`] answers it.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        slots: &'a mut HeaderSlots,
        limits: &Limits,
    ) -> Result<Step<'a>, Error> {
        let Self { buffer, state } = self;
        match state {
            State::Head => {
                let head = next_head(buffer, input, slots, limits);
                *state = match &head {
                    Ok(Step { event: Some(Event::Request(head)), .. }) => State::after(head.body()),
                    Ok(_) => State::Head,
                    Err(error) => State::Failed(*error),
                };
                head
            }
            State::End => {
                buffer.free_complete();
                *state = State::Head;
                Ok(Step { consumed: 0, event: Some(Event::End), rest: &[] })
            }
            State::Known { .. } | State::Chunked(_) => {
                buffer.free_complete();
                match state.next_piece(input, limits) {
                    Ok((consumed, piece)) => {
                        let event = state.event_of(piece, buffer);
                        Ok(Step { consumed, event, rest: &[] })
                    }
                    Err(error) => {
                        *state = State::Failed(error);
                        Err(error)
                    }
                }
            }
            State::Failed(error) => Err(*error),
        }
    }

    /// Skips a body of known length whose bytes have been taken from [`Step::rest`], all of them.
    /// [`Event::End`] is next.
    pub fn skip_body(&mut self) {
        if let State::Known { .. } = self.state {
            self.state = State::End;
        }
    }

    /// Passes over [`Event::End`], if it is next.
    #[inline]
    pub fn skip_end(&mut self) {
        if let State::End = self.state {
            self.buffer.free_complete();
            self.state = State::Head;
        }
    }

    /// Whether no request has begun, or the last one has ended: the connection may be closed
    /// without harm, and its keep-alive time runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Head) && self.buffer.is_empty()
    }

    /// Whether the head of a request has begun and is incomplete: its deadline runs.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head) && !self.buffer.is_empty()
    }

    /// Whether all bytes of a request have been taken, and only [`Event::End`] is to come.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Whether bytes of a body are still to come.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Known { .. } | State::Chunked(_))
    }
}

impl State {
    fn after(body: BodyLength) -> Self {
        match body {
            BodyLength::None => Self::End,
            BodyLength::Known(remaining) => Self::Known { remaining },
            BodyLength::Chunked => Self::Chunked(ChunkDecoder::default()),
        }
    }

    fn next_piece<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
    ) -> Result<(usize, Piece<'a>), Error> {
        Ok(match self {
            Self::Known { remaining } => {
                let length = usize::try_from(*remaining).unwrap_or(usize::MAX);
                let data = input.get(..length).unwrap_or(input);
                *remaining = remaining.saturating_sub(data.len() as u64);
                if *remaining == 0 {
                    *self = Self::End;
                }
                (data.len(), if data.is_empty() { Piece::More } else { Piece::Data(data) })
            }
            Self::Chunked(chunks) => chunks.next(input, limits)?,
            Self::Head | Self::End | Self::Failed(_) => (0, Piece::More),
        })
    }

    fn event_of<'a>(&mut self, piece: Piece<'a>, buffer: &'a mut HeadBuffer) -> Option<Event<'a>> {
        match piece {
            Piece::Data(data) => Some(Event::Body(data)),
            Piece::More => None,
            Piece::Trailers(piece) => {
                buffer.gather(piece, false);
                None
            }
            Piece::End(piece)
                if buffer.kept_bytes().saturating_add(piece.len()) > EMPTY_LINE_BYTES =>
            {
                *self = Self::End;
                Some(Event::Trailers(Trailers::of(buffer.gather(piece, true))))
            }
            Piece::End(_) => {
                *buffer = HeadBuffer::default();
                *self = Self::Head;
                Some(Event::End)
            }
        }
    }
}

#[inline]
fn next_head<'a>(
    buffer: &'a mut HeadBuffer,
    input: &'a [u8],
    slots: &'a mut HeaderSlots,
    limits: &Limits,
) -> Result<Step<'a>, Error> {
    if buffer.is_empty()
        && let Some(lines) = HeadLines::find(input, slots, limits)
    {
        let (bytes, rest) = input.split_at(lines.length);
        let head = RequestHead::of_lines(bytes, &lines, slots, limits)?;
        return Ok(Step { consumed: lines.length, event: Some(Event::Request(head)), rest });
    }
    let Some((bytes, consumed)) = buffer.next(input, Side::Request, limits)? else {
        return Ok(Step { consumed: input.len(), event: None, rest: &[] });
    };
    let head = RequestHead::parse(bytes, slots, limits)?;
    let rest = input.get(consumed..).unwrap_or_default();
    Ok(Step { consumed, event: Some(Event::Request(head)), rest })
}

/// A trailer section without fields.
const EMPTY_LINE_BYTES: usize = 2;

const _: () = assert!(size_of::<Decoder>() <= 32);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a stream means, in words: `POST /path [body] .` for each request, `!400` for a fault.
    /// The pieces are the bytes of each receive.
    pub(in crate::http) fn transcript<'p>(
        pieces: impl IntoIterator<Item = &'p [u8]>,
        limits: &Limits,
    ) -> String {
        let mut decoder = Decoder::default();
        let (mut words, mut body) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut piece = piece.to_vec();
            let mut done = 0;
            loop {
                let mut slots = HeaderSlots::new();
                let step = match decoder.next(&mut piece[done..], &mut slots, limits) {
                    Ok(step) => step,
                    Err(error) => {
                        words.push(format!("!{}", error.status().code()));
                        let mut slots = HeaderSlots::new();
                        let again = decoder.next(&mut [], &mut slots, limits);
                        assert_eq!(again.err(), Some(error), "a fault is repeated");
                        return words.join(" ");
                    }
                };
                done += step.consumed;
                match step.event {
                    Some(Event::Request(head)) => {
                        words.push(format!("{} {}", head.method(), head.path()));
                    }
                    Some(Event::Body(data)) => {
                        assert!(!data.is_empty());
                        body.extend_from_slice(data);
                    }
                    Some(Event::Trailers(trailers)) => {
                        let fields = trailers.iter().map(|(name, value)| {
                            format!("({name} {})", String::from_utf8_lossy(value))
                        });
                        if !body.is_empty() {
                            words.push(format!("[{}]", String::from_utf8_lossy(&body)));
                            body.clear();
                        }
                        words.extend(fields);
                        assert!(decoder.is_at_end() && !decoder.is_idle());
                    }
                    Some(Event::End) => {
                        if !body.is_empty() {
                            words.push(format!("[{}]", String::from_utf8_lossy(&body)));
                            body.clear();
                        }
                        words.push(".".into());
                        assert!(decoder.is_idle(), "between requests nothing is kept");
                    }
                    None => break,
                }
            }
            assert_eq!(done, piece.len(), "without an event all is consumed");
        }
        words.join(" ")
    }

    const STREAM: &[u8] = b"\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n\
        POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody\
        POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
        2;x=y\r\nch\r\n4\r\nunks\r\n0\r\nT: u\r\nHost: i\r\nV:\r\n\r\n\
        GET /d HTTP/1.0\r\n\r\n";
    const MEANING: &str = "GET /a . POST /b [body] . POST /c [chunks] (T u) (V ) . GET /d .";

    #[test]
    fn the_largest_limits_are_none() {
        let limits = Limits {
            max_head_bytes: usize::MAX,
            max_target_bytes: usize::MAX,
            max_field_count: usize::MAX,
            max_body_bytes: u64::MAX,
            ..Limits::default()
        };
        assert_eq!(transcript([STREAM], &limits), MEANING);
        assert_eq!(transcript(STREAM.chunks(1), &limits), MEANING);
    }

    #[test]
    fn every_pair_of_cuts_of_a_stream_means_the_same() {
        let limits = Limits::default();
        let step = if cfg!(miri) { 29 } else { 1 };
        for first in (0..=STREAM.len()).step_by(step) {
            for second in (first..=STREAM.len()).step_by(step) {
                let pieces = [&STREAM[..first], &STREAM[first..second], &STREAM[second..]];
                assert_eq!(transcript(pieces, &limits), MEANING, "cut at {first}, {second}");
            }
        }
        assert_eq!(transcript(STREAM.chunks(1), &limits), MEANING);
    }

    #[test]
    fn a_whole_head_is_lent_and_a_cut_one_kept_until_the_next_call() {
        let limits = Limits::default();
        let mut decoder = Decoder::default();
        let mut bytes = *b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
        let (first, second) = bytes.split_at_mut(20);
        for (piece, consumed) in [(first, 20), (second, 28)] {
            assert!(decoder.is_idle() || decoder.is_in_head());
            let mut slots = HeaderSlots::new();
            let step = decoder.next(piece, &mut slots, &limits).expect("a good head");
            assert_eq!(step.consumed, consumed);
        }
        assert!(decoder.is_in_body() && !decoder.buffer.is_empty());
        let mut slots = HeaderSlots::new();
        let step = decoder.next(&mut bytes[48..], &mut slots, &limits).expect("a body");
        assert!(matches!(step.event, Some(Event::Body(b"body"))));
        assert!(decoder.buffer.is_empty() && !decoder.is_in_body());

        let mut decoder = Decoder::default();
        let start = bytes.as_ptr();
        let mut slots = HeaderSlots::new();
        let step = decoder.next(&mut bytes, &mut slots, &limits).expect("a good head");
        let Some(Event::Request(head)) = step.event else { panic!("a head") };
        assert_eq!(head.method().as_ptr(), start);
        assert!(decoder.buffer.is_empty());
    }

    #[test]
    fn what_follows_a_head_is_left_to_the_next_protocol() {
        let mut bytes = *b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n\x81\x80mask";
        let mut decoder = Decoder::default();
        let mut slots = HeaderSlots::new();
        let step = decoder.next(&mut bytes, &mut slots, &Limits::default()).expect("a good head");
        assert_eq!(step.consumed, bytes.len() - 6);
    }

    fn token() -> impl Strategy<Value = &'static str> {
        prop::sample::select(
            &[
                "GET",
                "POST",
                " ",
                "/",
                "/x?y",
                "HTTP/1.1",
                "HTTP/1.0",
                "\r\n",
                "\r\n\r\n",
                "\n",
                "\r",
                "Host: h",
                "Content-Length: 3",
                "Transfer-Encoding: chunked",
                ":",
                "\0",
                "é",
                "Expect: 100-continue",
                "Connection: close",
                "3\r\nabc\r\n",
                "0\r\n\r\n",
                "abc",
                "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            ][..],
        )
    }

    proptest! {
        #[test]
        fn any_split_means_the_same(
            tokens in prop::collection::vec(token(), 0..12),
            mut cuts in prop::collection::vec(0_usize..400, 0..8),
            max_head_bytes in 40_usize..120,
            max_target_bytes in 1_usize..8,
            max_body_bytes in 0_u64..8,
        ) {
            let bytes = tokens.concat().into_bytes();
            let limits = Limits {
                max_head_bytes, max_target_bytes, max_body_bytes, max_field_count: 3,
                ..Limits::default()
            };
            cuts.sort_unstable();
            let mut start = 0;
            let mut pieces = Vec::new();
            for cut in cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]) {
                pieces.push(&bytes[start..cut]);
                start = cut;
            }
            let whole = transcript([&bytes[..]], &limits);
            prop_assert_eq!(transcript(pieces, &limits), whole.clone());
            prop_assert_eq!(transcript(bytes.chunks(1), &limits), whole);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let limits = Limits::default();
            let whole = transcript([&bytes[..]], &limits);
            prop_assert_eq!(transcript(bytes.chunks(1), &limits), whole);
        }
    }
}
