//! [`Check`]: compares what one connection receives with what it has to receive.
//!
//! As long as the server sends one plain frame for each message, a receive is one comparison of
//! bytes. Whatever differs (a ping, a fragmented message, a wrong answer) is taken apart by the
//! decoder of the library, which is the judge then.

use sockeye::{
    base::Outbox,
    ws::{
        Decoder, Event, Limits, Message, Opcode, Role, append_frame,
        deflate::{History, Inflating},
    },
};

use crate::{
    Error,
    traffic::{COMPARED_BYTES, Framing, Traffic},
};

/// Where a connection stands in the cycle of messages.
#[derive(Debug, Default)]
pub(crate) struct Check {
    // Invariant: below the period; all bytes before it were as expected. At a frame's begin while
    // `unusual` is there.
    position: usize,
    unusual: Option<Box<Unusual>>,
    // What the server said before, if it may refer to that.
    history: Option<Box<History>>,
}

#[derive(Debug)]
struct Unusual {
    decoder: Decoder,
    replies: Outbox,
}

impl Check {
    /// Takes the next received bytes; returns how many messages are complete with them.
    ///
    /// # Errors
    /// If the bytes are wrong, or the server closes the connection.
    #[inline]
    pub(crate) fn received(
        &mut self,
        connection: usize,
        bytes: &mut [u8],
        traffic: &Traffic,
    ) -> Result<usize, Error> {
        if traffic.deflated().is_some() {
            return self.received_deflated(connection, bytes, traffic);
        }
        let is_usual = self.unusual.is_none()
            && bytes.len() <= COMPARED_BYTES
            && traffic.expected(self.position)[..bytes.len()] == *bytes;
        if is_usual {
            return Ok(self.advance(bytes.len(), traffic));
        }
        if bytes.len() > COMPARED_BYTES {
            let (first, rest) = bytes.split_at_mut(COMPARED_BYTES);
            let completed = self.received(connection, first, traffic)?;
            return Ok(completed + self.received(connection, rest, traffic)?);
        }
        self.received_unusual(connection, bytes, traffic)
    }

    /// What the protocol asks to send: pongs.
    pub(crate) fn take_replies(&mut self) -> Option<Outbox> {
        let unusual = self.unusual.as_mut()?;
        let replies = std::mem::take(&mut unusual.replies);
        if unusual.decoder.is_idle() {
            self.unusual = None;
        }
        (!replies.is_empty()).then_some(replies)
    }

    fn advance(&mut self, count: usize, traffic: &Traffic) -> usize {
        let before = self.position / traffic.frame_bytes();
        let position = self.position + count;
        let completed = position / traffic.frame_bytes() - before;
        let period = traffic.period();
        self.position = if position < period { position } else { position % period };
        completed
    }

    /// Frames that are known to carry what is due need not be inflated.
    fn received_deflated(
        &mut self,
        connection: usize,
        bytes: &mut [u8],
        traffic: &Traffic,
    ) -> Result<usize, Error> {
        let (mut completed, mut start) = (0, 0);
        // A frame that refers to earlier ones means something else each time.
        if let (None, Some(deflated), false) =
            (&self.unusual, traffic.deflated(), traffic.takes_over())
        {
            let deflated = deflated.borrow();
            let number = |position| position / traffic.frame_bytes();
            while let Some(length) = deflated.recognise(number(self.position), &bytes[start..]) {
                start += length;
                completed += 1;
                self.position = (self.position + traffic.frame_bytes()) % traffic.period();
            }
        }
        if start == bytes.len() {
            return Ok(completed);
        }
        Ok(completed + self.received_unusual(connection, &mut bytes[start..], traffic)?)
    }

    #[cold]
    fn received_unusual(
        &mut self,
        connection: usize,
        bytes: &mut [u8],
        traffic: &Traffic,
    ) -> Result<usize, Error> {
        if traffic.framing() == Framing::Raw {
            let message = Message::Binary(&traffic.expected(self.position)[..bytes.len()]);
            let what = compare(Message::Binary(bytes), message).err().unwrap_or_default();
            return Err(Error::Wrong { connection, what });
        }
        let limits = Limits { max_payload_length: MAX_PAYLOAD_LENGTH, ..Limits::default() };
        let protocol = |error| Error::Protocol { connection, error };
        if self.unusual.is_none() {
            self.unusual = Some(self.decode_from_here(traffic, &limits).map_err(protocol)?);
        }
        if traffic.takes_over() && self.history.is_none() {
            self.history = Some(Box::new(History::new(15)));
        }
        let Self { position, unusual: Some(unusual), history } = self else { return Ok(0) };
        let (mut completed, mut start) = (0, 0);
        loop {
            let (begin, is_whole) = (start, unusual.decoder.is_idle());
            let step = match traffic.deflated() {
                None => unusual.decoder.next(&mut bytes[start..], &limits),
                Some(deflated) => {
                    let inflaters = &mut deflated.borrow_mut().inflaters;
                    let mut inflating = Inflating { inflaters, history: history.as_deref_mut() };
                    unusual.decoder.next_deflated(&mut bytes[start..], &limits, &mut inflating)
                }
            };
            let step = step.map_err(protocol)?;
            start += step.consumed;
            match step.event {
                None => return Ok(completed),
                Some(Event::Message(message) | Event::Fragment { message, .. }) => {
                    let number = *position / traffic.frame_bytes();
                    compare(message, traffic.message(number))
                        .map_err(|what| Error::Wrong { connection, what })?;
                    *position = (*position + traffic.frame_bytes()) % traffic.period();
                    completed += 1;
                    // What a server sends is not masked: it stands there as it came.
                    if let (Some(deflated), true) = (traffic.deflated(), is_whole) {
                        deflated.borrow_mut().learn(number, &bytes[begin..start]);
                    }
                }
                Some(Event::Ping(payload)) => {
                    let key = Some([0x5a; 4]);
                    append_frame(&mut unusual.replies, true, Opcode::Pong, payload, key);
                }
                Some(Event::Pong(_)) => {}
                Some(Event::Close(status)) => {
                    let how = status.map_or_else(
                        || "a close without a code".to_owned(),
                        |(code, reason)| format!("close code {} '{reason}'", code.code()),
                    );
                    return Err(Error::Ended { connection, how });
                }
            }
        }
    }

    /// A decoder that has seen the begin of the present frame.
    fn decode_from_here(
        &mut self,
        traffic: &Traffic,
        limits: &Limits,
    ) -> Result<Box<Unusual>, sockeye::ws::Error> {
        let mut decoder = Decoder::new(Role::Client);
        let seen = self.position % traffic.frame_bytes();
        self.position -= seen;
        let mut begin = traffic.expected(self.position)[..seen].to_vec();
        decoder.next(&mut begin, limits)?;
        Ok(Box::new(Unusual { decoder, replies: Outbox::default() }))
    }
}

/// Says how a message differs from the expected one.
pub(crate) fn compare(got: Message<'_>, expected: Message<'_>) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    let kind = |message: Message<'_>| if message.is_text() { "text" } else { "binary" };
    if got.is_text() != expected.is_text() {
        return Err(format!("a {} message, not a {} one", kind(got), kind(expected)));
    }
    let (got, expected) = (got.as_bytes(), expected.as_bytes());
    if got.len() != expected.len() {
        return Err(format!("a message of {} bytes, not {}", got.len(), expected.len()));
    }
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    let at = differs.unwrap_or(0);
    Err(format!("byte {at} is {:#04x}, not {:#04x}", got[at], expected[at]))
}

const MAX_PAYLOAD_LENGTH: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{options::Payload, random::Random};
    use sockeye::ws::{append_deflated, deflate::Deflaters};

    fn traffic(payload: usize, text: bool) -> Traffic {
        Traffic::new(
            Payload { payload, text, deflate: false, takeover: false },
            1,
            1,
            &mut Random::new(1),
        )
        .unwrap()
    }

    fn frames(traffic: &Traffic, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in 0..count {
            let (message, mut outbox) = (traffic.message(number), Outbox::default());
            append_frame(&mut outbox, true, message.opcode(), message.as_bytes(), None);
            bytes.extend_from_slice(outbox.contiguous().unwrap());
        }
        bytes
    }

    #[test]
    fn the_cycle_is_recognised_however_it_is_cut() {
        for payload in [0, 1, 20, 125, 126, 5000, 70_000] {
            let traffic = traffic(payload, payload % 2 == 0);
            let bytes = frames(&traffic, 40);
            for piece in [1, 2, 7, 22, 1000, 60_000, bytes.len()] {
                let mut check = Check::default();
                let received = bytes.clone();
                let mut completed = 0;
                // Byte by byte takes too long for the large ones, and shows nothing more.
                for part in received.chunks(piece.max(bytes.len() / 10_000)) {
                    completed += check.received(0, &mut part.to_vec(), &traffic).unwrap();
                }
                assert_eq!(completed, 40, "{payload} bytes by {piece}");
                assert!(check.unusual.is_none());
            }
        }
    }

    #[test]
    fn pings_and_fragments_are_understood() {
        let traffic = traffic(20, true);
        let mut bytes = Outbox::default();
        for number in 0..20 {
            let text = traffic.message(number);
            append_frame(&mut bytes, true, Opcode::Ping, b"?", None);
            append_frame(&mut bytes, false, text.opcode(), &text.as_bytes()[..7], None);
            append_frame(&mut bytes, true, Opcode::Ping, b"!", None);
            append_frame(&mut bytes, true, Opcode::Continuation, &text.as_bytes()[7..], None);
        }
        let bytes = bytes.contiguous().unwrap().to_vec();
        for piece in [1, 3, 11, bytes.len()] {
            let mut check = Check::default();
            let (mut completed, mut pongs) = (0, 0);
            for part in bytes.chunks(piece) {
                completed += check.received(0, &mut part.to_vec(), &traffic).unwrap();
                pongs += check.take_replies().map_or(0, |replies| replies.len());
            }
            // Two masked pongs of a byte for each message.
            assert_eq!((completed, pongs), (20, 20 * 2 * 7));
            assert!(check.unusual.is_none(), "back to comparing");
        }
    }

    #[test]
    fn answers_may_refer_to_earlier_ones() {
        let payload = Payload { payload: 300, text: true, deflate: true, takeover: true };
        let traffic = Traffic::new(payload, 1, 1, &mut Random::new(1)).unwrap();
        let (mut deflaters, mut said) = (Deflaters::default(), History::new(15));
        let mut bytes = Vec::new();
        for number in 0..40 {
            let (text, mut frame) = (traffic.message(number), Outbox::default());
            let deflated = deflaters.deflate(text.as_bytes(), 15, 6, said.bytes()).unwrap();
            append_deflated(&mut frame, text.opcode(), deflated, None);
            said.push(text.as_bytes());
            bytes.extend_from_slice(frame.contiguous().unwrap());
        }
        for piece in [1, 50, bytes.len()] {
            let (mut check, mut completed) = (Check::default(), 0);
            for part in bytes.chunks(piece) {
                completed += check.received(0, &mut part.to_vec(), &traffic).unwrap();
                assert!(check.take_replies().is_none());
            }
            assert_eq!(completed, 40, "by {piece}");
        }
    }

    #[test]
    fn compressed_answers_are_inflated_and_recognised() {
        let payload = Payload { payload: 1000, text: true, deflate: true, takeover: false };
        let traffic = Traffic::new(payload, 1, 1, &mut Random::new(1)).unwrap();
        let mut deflaters = Deflaters::default();
        let mut bytes = Vec::new();
        for number in 0..40 {
            let (text, mut frame) = (traffic.message(number), Outbox::default());
            // A server may do it well, badly, or not at all.
            match number % 4 {
                0 => append_frame(&mut frame, true, text.opcode(), text.as_bytes(), None),
                other => {
                    let level = [1, 1, 6, 9][other];
                    let deflated = deflaters.deflate(text.as_bytes(), 15, level, b"").unwrap();
                    append_deflated(&mut frame, text.opcode(), deflated, None);
                }
            }
            bytes.extend_from_slice(frame.contiguous().unwrap());
        }
        for piece in [1, 7, 300, 5000, bytes.len()] {
            let (mut check, mut completed) = (Check::default(), 0);
            for part in bytes.chunks(piece) {
                completed += check.received(0, &mut part.to_vec(), &traffic).unwrap();
                assert!(check.take_replies().is_none());
            }
            assert_eq!(completed, 40, "by {piece}");
        }
        // Known frames, in the wrong place.
        let end = usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) + 4;
        let result = Check::default().received(0, &mut bytes[end..].to_vec(), &traffic);
        assert!(matches!(result, Err(Error::Wrong { .. })), "{result:?}");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let traffic = traffic(20, false);
        let bytes = frames(&traffic, 3);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let mut check = Check::default();
            match check.received(7, &mut changed, &traffic) {
                Err(Error::Wrong { connection, .. } | Error::Protocol { connection, .. }) => {
                    assert_eq!(connection, 7);
                }
                // A longer length waits for bytes that will not come.
                Ok(completed) => assert!(completed < 3, "byte {at}"),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn lost_repeated_and_swapped_messages_are_noticed() {
        let traffic = traffic(1, false);
        let frame = traffic.frame_bytes();
        let bytes = frames(&traffic, 4);
        for order in [[0, 2], [0, 0], [1, 0]] {
            let part = |number: usize| &bytes[number * frame..(number + 1) * frame];
            let mut received = [part(order[0]), part(order[1])].concat();
            let result = Check::default().received(0, &mut received, &traffic);
            assert!(matches!(result, Err(Error::Wrong { .. })), "{order:?}");
        }
    }

    #[test]
    fn a_close_says_why() {
        let mut outbox = Outbox::default();
        let status = Some((sockeye::ws::CloseCode::GOING_AWAY, "restart"));
        sockeye::ws::append_close(&mut outbox, status, None);
        let mut bytes = outbox.contiguous().unwrap().to_vec();
        let error = Check::default().received(0, &mut bytes, &traffic(5, true)).unwrap_err();
        assert!(error.to_string().contains("1001 'restart'"), "{error}");
    }
}
