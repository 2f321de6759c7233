//! A WebSocket client that waits: for tests, examples and tools.
//!
//! Floor 4. One call does one thing and returns when it is done, so there is nothing to poll and
//! no second thread. Who talks over thousands of connections at once wants the reactor instead,
//! as `loadgen` does.

#![forbid(unsafe_code)]

use std::{io, time::Duration};

use crate::{
    base::Outbox,
    ws::{self, Decoder, Limits, Opcode, Role, append_close, append_frame, deflate::Agreement},
};

mod builder;
mod deflation;
mod error;
mod event;
mod masking_keys;
mod url;
mod wire;

use deflation::Deflation;
use masking_keys::MaskingKeys;
use wire::Wire;

pub use crate::ws::{
    CloseCode, Message,
    deflate::{Context as CompressionContext, Preferences as Compression},
};
pub use builder::Builder;
pub use error::Error;
pub use event::Event;
pub use url::{Url, UrlError};

/// A connection to a WebSocket server.
///
/// ```no_run
/// use sockeye::client::{Client, CloseCode};
/// let mut client = Client::connect("ws://127.0.0.1:9001/echo")?;
/// client.send("hello")?;
/// assert_eq!(client.receive()?.text(), Some("hello"));
/// client.close(CloseCode::NORMAL, "bye")?;
/// # Ok::<(), sockeye::client::Error>(())
/// ```
///
/// Pings are answered while [`Client::receive`] waits, and only then. What the server sends
/// meanwhile waits in the kernel; so a client that sends much without receiving can find a server
/// that does not receive either, because it waits for the client. A timeout ends that.
///
/// A client that is dropped without [`Client::close`] ends its connection without a closing
/// handshake.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    decoder: Decoder,
    limits: Limits,
    protocol: Option<String>,
    // If compression has been agreed on.
    deflation: Option<Box<Deflation>>,
    // What a timeout has kept from being sent.
    outbox: Outbox,
    masking_keys: MaskingKeys,
    // The type of the message of which fragments have been sent, but not the last.
    fragmented: Option<Opcode>,
    has_sent_close: bool,
    is_closed: bool,
}

impl Client {
    /// Connects to `ws://HOST:PORT/PATH`, or to `ws+unix:SOCKET:/PATH`.
    ///
    /// # Errors
    /// If the URL is none, if nobody answers, or if the server refuses.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect()
    }

    /// Settings for a connection.
    #[must_use]
    pub fn builder(url: &str) -> Builder<'_> {
        Builder::new(url)
    }

    fn new(
        wire: Wire,
        limits: Limits,
        protocol: Option<String>,
        agreement: Option<&Agreement>,
    ) -> Self {
        Self {
            wire,
            decoder: Decoder::new(Role::Client),
            limits,
            protocol,
            deflation: agreement.map(|agreement| Box::new(Deflation::new(agreement))),
            outbox: Outbox::default(),
            masking_keys: MaskingKeys::new(),
            fragmented: None,
            has_sent_close: false,
            is_closed: false,
        }
    }

    /// Sends a message: `&str` as text, bytes as binary.
    ///
    /// # Errors
    /// If the connection is closed or breaks. After [`Error::TimedOut`] the message is under way:
    /// what is left of it goes with the next one.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        let message = message.into();
        if self.fragmented.is_some() {
            return Err(Error::FragmentsUnderWay);
        }
        self.check_open()?;
        // RFC 6455 §5.3: a new masking key for each frame.
        let key = self.masking_keys.next()?;
        let (opcode, payload) = (message.opcode(), message.as_bytes());
        let is_deflated = self
            .deflation
            .as_mut()
            .is_some_and(|deflation| deflation.append(&mut self.outbox, opcode, payload, key));
        if !is_deflated {
            append_frame(&mut self.outbox, true, opcode, payload, Some(key));
        }
        self.wire.send(&mut self.outbox)
    }

    /// Sends a fragment of a message (RFC 6455 §5.4). Only pings may be sent before the last.
    ///
    /// # Errors
    /// Those of [`Client::send`], and if the fragments before were of the other type.
    pub fn send_fragment<'m>(
        &mut self,
        fragment: impl Into<Message<'m>>,
        is_last: bool,
    ) -> Result<(), Error> {
        let fragment = fragment.into();
        let opcode = match self.fragmented {
            None => fragment.opcode(),
            Some(opcode) if opcode == fragment.opcode() => Opcode::Continuation,
            Some(_) => return Err(Error::FragmentsUnderWay),
        };
        self.send_frame(is_last, opcode, fragment.as_bytes())?;
        self.fragmented = (!is_last).then_some(fragment.opcode());
        Ok(())
    }

    /// Sends a ping with at most 125 bytes. The pong comes as an event.
    ///
    /// # Errors
    /// Those of [`Client::send`], and if the payload is longer.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        // RFC 6455 §5.5: control frames carry at most 125 bytes.
        if payload.len() > 125 {
            return Err(Error::PingTooLong);
        }
        self.send_frame(true, Opcode::Ping, payload)
    }

    /// Sends bytes as they are, without a frame: for tests of what servers refuse.
    ///
    /// # Errors
    /// If the connection is closed or breaks.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.is_closed {
            return Err(Error::Closed);
        }
        self.outbox.append(bytes);
        self.wire.send(&mut self.outbox)
    }

    /// Waits for the next message, ping, pong, or the end. Pings are answered before they are
    /// returned, and so is the server's close.
    ///
    /// # Errors
    /// If the connection breaks, if the server breaks the protocol, after the end, and when the
    /// time is over.
    pub fn receive(&mut self) -> Result<Event, Error> {
        loop {
            if self.is_closed {
                return Err(Error::Closed);
            }
            let input = match self.wire.received() {
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.is_closed = true;
                    self.wire.end();
                    return Ok(Event::broken());
                }
                input => input?,
            };
            let step = match &mut self.deflation {
                None => self.decoder.next(input, &self.limits),
                Some(deflation) => {
                    let mut inflating = deflation.inflating();
                    self.decoder.next_deflated(input, &self.limits, &mut inflating)
                }
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => return Err(self.fail(error)),
            };
            let (consumed, event) = (step.consumed, step.event.map(Event::from));
            self.wire.consume(consumed);
            if let Some(event) = event {
                self.answer(&event)?;
                return Ok(event);
            }
        }
    }

    /// Waits for the next message, and skips pings and pongs.
    ///
    /// # Errors
    /// Those of [`Client::receive`].
    pub fn receive_message(&mut self) -> Result<Event, Error> {
        loop {
            match self.receive()? {
                Event::Ping(_) | Event::Pong(_) => {}
                event => return Ok(event),
            }
        }
    }

    /// Makes the closing handshake, and returns the server's [`Event::Closed`]. Messages that
    /// come before it are discarded. A reason longer than 123 bytes is cut.
    ///
    /// # Errors
    /// Those of [`Client::receive`].
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<Event, Error> {
        self.send_close(code, reason)?;
        loop {
            let event = self.receive()?;
            if matches!(event, Event::Closed { .. }) {
                return Ok(event);
            }
        }
    }

    /// Begins the closing handshake. Nothing can be sent any more, but messages that are under
    /// way can be received until [`Event::Closed`].
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub fn send_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.check_open()?;
        // RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close".
        self.append_close(CloseCode::new(code.code()).map(|code| (code, reason)))
    }

    /// How long [`Client::receive`], and each other call, waits. `None`: without end.
    ///
    /// # Errors
    /// If the time is zero.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        Ok(self.wire.set_timeout(timeout)?)
    }

    /// The subprotocol that the server has chosen.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Whether messages may be compressed: both sides have agreed on that.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.deflation.is_some()
    }

    fn send_frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        // RFC 6455 §5.3: a new masking key for each frame.
        let key = self.masking_keys.next()?;
        append_frame(&mut self.outbox, fin, opcode, payload, Some(key));
        self.wire.send(&mut self.outbox)
    }

    fn append_close(&mut self, status: Option<(CloseCode, &str)>) -> Result<(), Error> {
        self.has_sent_close = true;
        let key = self.masking_keys.next()?;
        append_close(&mut self.outbox, status, Some(key));
        self.wire.send(&mut self.outbox)
    }

    /// Does what the protocol asks for when this has come.
    fn answer(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            // RFC 6455 §5.5.2: a pong "in response, unless it already received a Close frame".
            Event::Ping(payload) if !self.has_sent_close => {
                self.send_frame(true, Opcode::Pong, payload)
            }
            Event::Closed { code, .. } => {
                // RFC 6455 §5.5.1: a Close is answered with one, unless it was the answer itself.
                // That the answer cannot be sent any more changes nothing.
                if !self.has_sent_close {
                    let status = CloseCode::new(code.code()).map(|code| (code, ""));
                    let _ = self.append_close(status);
                }
                self.is_closed = true;
                self.wire.end_after_server();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// RFC 6455 §7.1.7: fails the connection. Says why, if that is possible.
    fn fail(&mut self, error: ws::Error) -> Error {
        if !self.has_sent_close {
            let _ = self.append_close(Some((error.close_code(), "")));
        }
        self.is_closed = true;
        self.wire.end();
        Error::Protocol(error)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed || self.has_sent_close { Err(Error::Closed) } else { Ok(()) }
    }
}
