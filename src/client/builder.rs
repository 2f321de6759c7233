//! [`Builder`]: what a client asks for in its opening handshake (RFC 6455 §4.1).

use std::{io, time::Duration};

use super::{Client, Compression, Error, Url, wire::Wire};
use crate::{
    base::Outbox,
    http::{self, HeaderSlots, ResponseHeadDecoder, Status},
    reactor::{self, Connecting, Socket},
    ws::{ClientHandshake, ClientRequest, Limits, deflate::Agreement},
};

/// Settings of a [`Client`].
///
/// ```no_run
/// use sockeye::client::Client;
/// use std::time::Duration;
/// let client = Client::builder("ws://127.0.0.1:9001/chat")
///     .protocol("chat.v2")
///     .origin("https://example.com")
///     .field("Authorization", "Bearer 7f3a")
///     .timeout(Duration::from_secs(5))
///     .connect()?;
/// assert_eq!(client.protocol(), Some("chat.v2"));
/// # Ok::<(), sockeye::client::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder<'a> {
    url: &'a str,
    protocols: Vec<&'a str>,
    origin: Option<&'a str>,
    fields: Vec<(&'a str, &'a str)>,
    compression: Option<Compression>,
    limits: Limits,
    timeout: Option<Duration>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(url: &'a str) -> Self {
        let limits = Limits { max_payload_length: MAX_PAYLOAD_LENGTH, ..Limits::default() };
        let (protocols, fields) = (Vec::new(), Vec::new());
        let (origin, compression, timeout) = (None, None, None);
        Self { url, protocols, origin, fields, compression, limits, timeout }
    }

    /// Offers a subprotocol. Those offered first are preferred.
    #[must_use]
    pub fn protocol(mut self, name: &'a str) -> Self {
        self.protocols.push(name);
        self
    }

    /// Says, as a browser would, which site the client belongs to.
    #[must_use]
    pub fn origin(mut self, origin: &'a str) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Adds a field to the request.
    #[must_use]
    pub fn field(mut self, name: &'a str, value: &'a str) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Offers to compress messages (permessage-deflate, RFC 7692). Default: no.
    /// [`Client::is_compressed`] says what the server has made of it.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Bytes of a message that the client accepts. Default 64 MiB.
    #[must_use]
    pub fn max_payload_length(mut self, bytes: usize) -> Self {
        self.limits.max_payload_length = bytes;
        self
    }

    /// How long to wait for the server: when connecting, and in each call. Default: ten seconds
    /// for the opening handshake, and without end afterwards.
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        assert!(!timeout.is_zero(), "a timeout of zero leaves no time to connect");
        self.timeout = Some(timeout);
        self
    }

    /// Connects, and makes the opening handshake.
    ///
    /// # Errors
    /// If the URL is none, if nobody answers, or if the server refuses.
    pub fn connect(self) -> Result<Client, Error> {
        let url: Url = self.url.parse()?;
        let timeout = Some(self.timeout.unwrap_or(HANDSHAKE_TIMEOUT));
        let socket = connect(&url, timeout)
            .map_err(|error| Error::Connect { url: self.url.to_owned(), error })?;
        let mut wire = Wire::new(socket, timeout);
        let (protocol, agreement) = self.shake_hands(&url, &mut wire)?;
        wire.set_timeout(self.timeout)?;
        Ok(Client::new(wire, self.limits, protocol, agreement.as_ref()))
    }

    /// Returns the subprotocol that the server has chosen, and how messages are compressed.
    fn shake_hands(
        &self,
        url: &Url,
        wire: &mut Wire,
    ) -> Result<(Option<String>, Option<Agreement>), Error> {
        // RFC 6455 §4.1: "a nonce consisting of a randomly selected 16-byte value".
        let handshake = ClientHandshake::new(reactor::random()?);
        let request = ClientRequest {
            host: url.host(),
            target: url.target(),
            protocols: &self.protocols,
            deflate: self.compression,
            origin: self.origin,
            fields: &self.fields,
        };
        let mut outbox = Outbox::default();
        handshake.append_request(&mut outbox, &request)?;
        wire.send(&mut outbox)?;
        let mut decoder = ResponseHeadDecoder::default();
        loop {
            let input = wire.received()?;
            let mut slots = HeaderSlots::new();
            let step = decoder
                .next(input, &mut slots, &http::Limits::default())
                .map_err(Error::NotHttp)?;
            let consumed = step.consumed;
            let answer = match step.head {
                Some(head) if head.status() == Status::SWITCHING_PROTOCOLS => {
                    let (protocols, offer) = (&self.protocols, self.compression.as_ref());
                    let (protocol, agreement) =
                        handshake.verify_deflate(&head, protocols, offer)?;
                    Some((protocol.map(str::to_owned), agreement))
                }
                // RFC 9110 §15.2: interim responses may come before the final one.
                Some(head) if head.status().is_informational() => None,
                Some(head) => return Err(Error::Refused(head.status())),
                None => None,
            };
            wire.consume(consumed);
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }
}

/// Tries one address after the other.
fn connect(url: &Url, timeout: Option<Duration>) -> io::Result<Socket> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in url.addresses()? {
        match (Connecting { timeout, from: None }).connect(&address) {
            Err(error) => failure = error,
            connected => return connected,
        }
    }
    Err(failure)
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a message, unless the application says otherwise.
const MAX_PAYLOAD_LENGTH: usize = 64 << 20;
