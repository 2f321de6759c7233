//! [`Partial`]: what a decoder keeps of frames and messages that are not complete.
//!
//! Bytes are unmasked, checked and copied once, in blocks small enough to stay in the first-level
//! cache meanwhile. Memory grows with what has arrived: from the declared length alone nothing is
//! allocated.

use super::{
    Error, Event, Limits, Message, Opcode, Role,
    deflate::{Inflater, Inflating},
    frame::{MAX_HEADER_BYTES, Progress, ReceivedHeader, control_event},
};
use crate::{
    base::{BLOCK_BYTES, Shared},
    simd::Utf8,
};

/// A frame or message in progress.
#[derive(Debug, Default)]
pub(super) struct Partial {
    header: PartialHeader,
    frame: Option<Frame>,
    message: Option<Gathering>,
    // Invariant: holds bytes only while a control frame is in progress or lent.
    control: Vec<u8>,
    lent: Lent,
    // Where in the message the room begins that was given away. Bytes behind that are payload of
    // the frame in progress, still masked.
    room: Option<usize>,
}

/// What [`Partial::take`] found.
#[derive(Debug)]
pub(super) enum Taken<'i> {
    Nothing,
    /// An event that borrows the input.
    Lent(Event<'i>),
    /// An event that borrows what is kept: [`Partial::event`] gives it.
    Kept,
}

/// What [`Partial::release`] left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Released {
    Some,
    All,
    /// Nothing, and there is nothing to come.
    Close,
}

/// What the last event borrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Lent {
    #[default]
    Nothing,
    Control(Opcode),
    Message {
        is_last: bool,
    },
}

/// The beginning of a header.
#[derive(Debug, Default)]
struct PartialHeader {
    bytes: [u8; MAX_HEADER_BYTES],
    // Invariant: less than a whole header.
    length: usize,
}

/// A frame whose payload is not complete.
#[derive(Debug)]
struct Frame {
    header: ReceivedHeader,
    // Invariant: at most the header's `payload_length`.
    position: usize,
}

/// A message that is not complete.
#[derive(Debug)]
struct Gathering {
    content: Content,
    // The content of a large message that is complete.
    gathered: Option<Shared>,
    progress: Progress,
    piecewise: bool,
    inflation: Option<Inflation>,
}

/// What a compressed message needs until it is complete.
#[derive(Debug)]
struct Inflation {
    inflater: Inflater,
    // How many bytes more it may become.
    room: usize,
}

#[derive(Debug)]
enum Content {
    Text(String, Utf8),
    Binary(Vec<u8>),
}

impl Partial {
    /// Takes what `input` has up to the first event, and says how many bytes that is.
    pub(super) fn take<'i>(
        &mut self,
        role: Role,
        mut input: &'i mut [u8],
        limits: &Limits,
        mut inflating: Option<&mut Inflating<'_>>,
    ) -> Result<(usize, Taken<'i>), Error> {
        let available = input.len();
        let inflates = inflating.is_some();
        if let Some(start) = self.room.take()
            && self.take_placed(start)
        {
            return Ok((0, Taken::Kept));
        }
        loop {
            if self.frame.is_none() {
                let Some((header, used)) = self.read_header(role, input, limits, inflates)? else {
                    return Ok((available, Taken::Nothing));
                };
                input = input.get_mut(used..).unwrap_or_default();
                if header.is_whole(input.len()) {
                    let (payload, rest) = input.split_at_mut(header.payload_length);
                    let event = header.event(payload)?;
                    return Ok((available.saturating_sub(rest.len()), Taken::Lent(event)));
                }
                self.begin(header, limits, inflating.as_deref_mut())?;
            }
            let (payload, rest) = input.split_at_mut(self.useful_bytes(input.len()));
            let is_exhausted = rest.is_empty();
            let taken = self.take_payload(payload, inflating.as_deref_mut())?;
            if !matches!(taken, Taken::Nothing) {
                return Ok((available.saturating_sub(rest.len()), taken));
            }
            if is_exhausted && self.frame.is_some() {
                return Ok((available, Taken::Nothing));
            }
            input = rest;
        }
    }

    /// Room for the next bytes of the payload in progress, and for how many of them. Not for
    /// texts, which have to be checked before they are texts, nor for what is not kept as it comes.
    pub(super) fn room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let Frame { header, position } = self.frame.as_ref()?;
        let missing = header.payload_length.saturating_sub(*position);
        let gathering = self.message.as_mut()?;
        let is_kept = !gathering.piecewise && gathering.inflation.is_none();
        let is_worth_it = missing >= MIN_ROOM_BYTES && !gathering.content.is_empty();
        if header.opcode.is_control() || !is_kept || !is_worth_it {
            return None;
        }
        gathering.content.reserve(1, missing.saturating_sub(1), header.is_single());
        let Content::Binary(bytes) = &mut gathering.content else { return None };
        self.room = Some(bytes.len());
        Some((bytes, missing))
    }

    /// Takes what was put into the room that began here. Whether the message is complete.
    fn take_placed(&mut self, start: usize) -> bool {
        let (Some(frame), Some(gathering)) = (&mut self.frame, &mut self.message) else {
            return false;
        };
        let Content::Binary(bytes) = &mut gathering.content else { return false };
        let placed = bytes.get_mut(start..).unwrap_or_default();
        frame.header.unmask(placed, frame.position);
        frame.position = frame.position.saturating_add(placed.len());
        debug_assert!(frame.position <= frame.header.payload_length, "more than there was room");
        if frame.position < frame.header.payload_length {
            return false;
        }
        let is_last = frame.header.fin;
        self.frame = None;
        if is_last {
            self.lent = Lent::Message { is_last };
            gathering.complete(is_last);
        }
        is_last
    }

    /// The event that [`Taken::Kept`] announced.
    pub(super) fn event(&self) -> Option<Event<'_>> {
        match (self.lent, &self.message) {
            (Lent::Control(opcode), _) => control_event(opcode, &self.control).ok(),
            (Lent::Message { is_last }, Some(gathering)) => {
                let message = match (&gathering.gathered, &gathering.content) {
                    (Some(bytes), _) => Message::Binary(bytes),
                    (None, Content::Text(text, _)) => Message::Text(text),
                    (None, Content::Binary(bytes)) => Message::Binary(bytes),
                };
                Some(if gathering.piecewise {
                    Event::Fragment { message, is_last }
                } else {
                    Event::Message(message)
                })
            }
            _ => None,
        }
    }

    /// What holds the bytes of the last event, if they are many.
    pub(super) fn gathered(&self) -> Option<&Shared> {
        self.message.as_ref()?.gathered.as_ref()
    }

    /// Lets go of what the last event borrowed.
    pub(super) fn release(&mut self) -> Released {
        match std::mem::take(&mut self.lent) {
            Lent::Nothing => return Released::Some,
            Lent::Control(Opcode::Close) => return Released::Close,
            Lent::Control(_) => self.control = Vec::new(),
            Lent::Message { is_last: true } => self.message = None,
            Lent::Message { is_last: false } => {
                match self.message.as_mut().map(|gathering| &mut gathering.content) {
                    Some(Content::Text(text, _)) => text.clear(),
                    Some(Content::Binary(bytes)) => bytes.clear(),
                    None => {}
                }
            }
        }
        if self.is_done() { Released::All } else { Released::Some }
    }

    /// Whether everything that began is complete.
    pub(super) fn is_done(&self) -> bool {
        let message_is_done =
            self.message.is_none() || self.lent == Lent::Message { is_last: true };
        self.frame.is_none() && self.header.length == 0 && message_is_done
    }

    /// The memory that the contents take.
    pub(super) fn buffer_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |gathering| match &gathering.content {
            Content::Text(text, _) => text.capacity(),
            // The one or the other: what is complete has been taken out of the content.
            Content::Binary(bytes) => {
                gathering.gathered.as_ref().map_or(bytes.capacity(), |bytes| bytes.len())
            }
        });
        message.saturating_add(self.control.capacity())
    }

    /// The next header and how many bytes of `input` belong to it; or `None`, when all of the
    /// input has been taken and more is needed.
    fn read_header(
        &mut self,
        role: Role,
        input: &[u8],
        limits: &Limits,
        inflates: bool,
    ) -> Result<Option<(ReceivedHeader, usize)>, Error> {
        let progress = self.message.as_ref().map(|gathering| &gathering.progress);
        let kept = self.header.length;
        let length = kept.saturating_add(input.len()).min(MAX_HEADER_BYTES);
        if let Some(room) = self.header.bytes.get_mut(kept..length)
            && let Some(added) = input.get(..room.len())
        {
            room.copy_from_slice(added);
        }
        let bytes = self.header.bytes.get(..length).unwrap_or_default();
        let Some(header) = ReceivedHeader::read(bytes, role, progress, limits, inflates)? else {
            // Then all of the input was added: a header is never longer than that.
            self.header.length = length;
            return Ok(None);
        };
        self.header.length = 0;
        Ok(Some((header, header.header_length().saturating_sub(kept))))
    }

    fn begin(
        &mut self,
        header: ReceivedHeader,
        limits: &Limits,
        inflating: Option<&mut Inflating<'_>>,
    ) -> Result<(), Error> {
        let content = match header.opcode {
            Opcode::Text => Some(Content::Text(String::new(), Utf8::default())),
            Opcode::Binary => Some(Content::Binary(Vec::new())),
            _ => None,
        };
        if let Some(content) = content {
            let (progress, piecewise) = (Progress::default(), limits.piecewise);
            let inflation = match inflating.filter(|_| header.deflated) {
                Some(inflating) => {
                    let room = limits.max_payload_length;
                    Some(Inflation { inflater: inflating.begin()?, room })
                }
                None => None,
            };
            let gathered = None;
            self.message = Some(Gathering { content, gathered, progress, piecewise, inflation });
        }
        if let Some(gathering) = &mut self.message
            && !header.opcode.is_control()
        {
            gathering.progress.add(&header);
        }
        self.frame = Some(Frame { header, position: 0 });
        Ok(())
    }

    /// How many of the available bytes can be taken as one piece of payload.
    fn useful_bytes(&self, available: usize) -> usize {
        let Some(frame) = &self.frame else { return 0 };
        let missing = frame.header.payload_length.saturating_sub(frame.position);
        let useful = available.min(missing);
        match &self.message {
            _ if frame.header.opcode.is_control() => useful,
            // Then a piece has at most a thousand times as many bytes.
            Some(Gathering { inflation: Some(_), piecewise: true, .. }) => {
                useful.min(DEFLATED_PIECE_BYTES)
            }
            // A character that was cut is given away by itself: its other bytes are elsewhere.
            Some(Gathering { content: Content::Text(_, utf8), piecewise: true, .. })
                if utf8.pending() > 0 =>
            {
                useful.min(1)
            }
            _ => useful,
        }
    }

    /// Takes a piece of the payload of the frame in progress.
    fn take_payload<'i>(
        &mut self,
        payload: &'i mut [u8],
        inflating: Option<&mut Inflating<'_>>,
    ) -> Result<Taken<'i>, Error> {
        let Some(frame) = &mut self.frame else { return Ok(Taken::Nothing) };
        let (header, position) = (frame.header, frame.position);
        // At most the payload's length: nothing wraps.
        frame.position = position.wrapping_add(payload.len());
        let missing = header.payload_length.saturating_sub(frame.position);
        if missing == 0 {
            self.frame = None;
        }
        if header.opcode.is_control() {
            header.unmask(payload, position);
            return self.take_control(header, payload, missing);
        }
        let Some(gathering) = &mut self.message else { return Ok(Taken::Nothing) };
        let is_last = header.fin && missing == 0;
        let taken = if let (Some(_), Some(inflating)) = (&gathering.inflation, inflating) {
            gathering.inflate(header, payload, position, inflating)?;
            if is_last {
                gathering.finish_inflating(inflating)?;
            }
            let is_piece = gathering.piecewise && !gathering.content.is_empty();
            if is_last || is_piece { Taken::Kept } else { Taken::Nothing }
        } else if gathering.piecewise {
            header.unmask(payload, position);
            gathering.content.piece(payload, is_last)?
        } else {
            gathering.content.reserve(payload.len(), missing, header.is_single());
            for block in payload.chunks_mut(BLOCK_BYTES) {
                // Blocks are whole keys long: each begins at the same byte of the key.
                header.unmask(block, position);
                gathering.content.push(block)?;
            }
            if is_last { Taken::Kept } else { Taken::Nothing }
        };
        if is_last {
            gathering.content.finish()?;
        }
        match taken {
            Taken::Kept => {
                self.lent = Lent::Message { is_last };
                gathering.complete(is_last);
            }
            Taken::Lent(_) if is_last => self.message = None,
            _ => {}
        }
        Ok(taken)
    }

    fn take_control<'i>(
        &mut self,
        header: ReceivedHeader,
        payload: &[u8],
        missing: usize,
    ) -> Result<Taken<'i>, Error> {
        self.control.reserve_exact(payload.len().saturating_add(missing));
        self.control.extend_from_slice(payload);
        if missing > 0 {
            return Ok(Taken::Nothing);
        }
        control_event(header.opcode, &self.control)?;
        self.lent = Lent::Control(header.opcode);
        Ok(Taken::Kept)
    }
}

impl Gathering {
    /// Lets the bytes of a large message be shared, if it is complete now.
    fn complete(&mut self, is_last: bool) {
        if let Content::Binary(bytes) = &mut self.content
            && is_last
            && bytes.len() >= MIN_SHARED_BYTES
        {
            self.gathered = Some(std::mem::take(bytes).into());
        }
    }

    /// Inflates a piece of the payload of a frame, of which the first byte has this position.
    fn inflate(
        &mut self,
        header: ReceivedHeader,
        payload: &mut [u8],
        position: usize,
        inflating: &mut Inflating<'_>,
    ) -> Result<(), Error> {
        let Some(Inflation { inflater, room }) = &mut self.inflation else { return Ok(()) };
        for block in payload.chunks_mut(BLOCK_BYTES) {
            header.unmask(block, position);
            let content = &mut self.content;
            inflating.inflate(inflater, block, room, |piece, room| content.grow(piece, room))?;
        }
        Ok(())
    }

    fn finish_inflating(&mut self, inflating: &mut Inflating<'_>) -> Result<(), Error> {
        let Some(Inflation { inflater, mut room }) = self.inflation.take() else { return Ok(()) };
        let content = &mut self.content;
        inflating.finish(inflater, &mut room, |piece, room| content.grow(piece, room))
    }
}

impl Content {
    /// Adds bytes that have been inflated. No more than `room` will follow.
    fn grow(&mut self, bytes: &[u8], room: usize) -> Result<(), Error> {
        let (length, capacity) = self.length_and_capacity();
        let needed = length.saturating_add(bytes.len());
        if needed > capacity {
            let target = needed.max(capacity.saturating_mul(2)).min(needed.saturating_add(room));
            self.reserve_exact(target);
        }
        self.push(bytes)
    }

    /// Makes room for bytes that have arrived, and for more of those that are `missing` in the
    /// frame if memory must grow.
    fn reserve(&mut self, arrived: usize, missing: usize, is_single: bool) {
        let (length, capacity) = self.length_and_capacity();
        let needed = length.saturating_add(arrived);
        if needed <= capacity {
            return;
        }
        // In steps that follow what has arrived, and no more than the frame declares.
        let ahead = needed.saturating_add(EAGER_BYTES).saturating_mul(4);
        let mut target = needed.saturating_add(missing).min(ahead);
        if !is_single {
            target = target.max(capacity.saturating_mul(2));
        }
        self.reserve_exact(target);
    }

    /// With the bytes of a character that is not complete.
    fn length_and_capacity(&self) -> (usize, usize) {
        match self {
            Self::Text(text, utf8) => (text.len().saturating_add(utf8.pending()), text.capacity()),
            Self::Binary(bytes) => (bytes.len(), bytes.capacity()),
        }
    }

    fn reserve_exact(&mut self, capacity: usize) {
        match self {
            Self::Text(text, _) => text.reserve_exact(capacity.saturating_sub(text.len())),
            Self::Binary(bytes) => bytes.reserve_exact(capacity.saturating_sub(bytes.len())),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text, _) => text.is_empty(),
            Self::Binary(bytes) => bytes.is_empty(),
        }
    }

    /// Adds bytes that have been unmasked.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Text(text, utf8) => {
                // RFC 6455 §8.1. At the first impossible byte, not at the end of the message.
                let (joined, whole) = utf8.decode(bytes).map_err(|_| Error::InvalidUtf8)?;
                text.extend(joined);
                text.push_str(whole);
            }
            Self::Binary(kept) => kept.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// Gives bytes away that have been unmasked, as far as they are whole characters.
    fn piece<'i>(&mut self, bytes: &'i [u8], is_last: bool) -> Result<Taken<'i>, Error> {
        let message = match self {
            Self::Text(text, utf8) => {
                let (joined, whole) = utf8.decode(bytes).map_err(|_| Error::InvalidUtf8)?;
                if let Some(joined) = joined {
                    // Then `bytes` was one byte, and there is nothing else.
                    text.push(joined);
                    return Ok(Taken::Kept);
                }
                Message::Text(whole)
            }
            Self::Binary(_) => Message::Binary(bytes),
        };
        if message.is_empty() && !is_last {
            return Ok(Taken::Nothing);
        }
        Ok(Taken::Lent(Event::Fragment { message, is_last }))
    }

    fn finish(&self) -> Result<(), Error> {
        match self {
            Self::Text(_, utf8) => utf8.finish().map_err(|_| Error::InvalidUtf8),
            Self::Binary(_) => Ok(()),
        }
    }
}

/// Memory grows to four times what has arrived and this, so that most messages get theirs at once.
const EAGER_BYTES: usize = 16 << 10;
/// What is shorter is copied sooner than shared.
const MIN_SHARED_BYTES: usize = 16 << 10;
/// For less than this a receive of its own costs more than a copy.
const MIN_ROOM_BYTES: usize = 16 << 10;
/// What is inflated for one piece of a message that is given away in pieces.
const DEFLATED_PIECE_BYTES: usize = 1 << 10;

// For unmasking block by block.
const _: () = assert!(BLOCK_BYTES.is_multiple_of(4));
