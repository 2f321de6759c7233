//! [`Opening`]: the opening handshake as the server sees it (RFC 6455 §4.2).
//!
//! A request is read strictly: whatever §4.2.1 demands is demanded, and each fault has a status.
//! What is left to others: the route, the origin (see [`super::Origin`]), the choice of a
//! subprotocol, and that no byte after the head is taken for a frame before the 101 is written.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use sha1::{Digest, Sha1};

use super::deflate::{self, Agreement, Preferences, is_broken_safari};
use crate::{
    base::Outbox,
    http::{
        BodyLength, Date, Exchange, RequestHead, ResponseError, ResponseWriter, Status, Version,
        is_token,
    },
};

/// A request that asks for a WebSocket, and may have it as far as the protocol goes.
///
/// ```
/// use sockeye::{base::Outbox, http, ws::{HandshakeError, Opening, append_accept}};
/// let mut input = *b"GET / HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
///     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: soap, chat\r\n\r\n";
/// let (mut decoder, mut slots) = (http::Decoder::default(), http::HeaderSlots::new());
/// let step = decoder.next(&mut input, &mut slots, &http::Limits::default()).unwrap();
/// let Some(http::Event::Request(head)) = step.event else { panic!("a request") };
///
/// let opening = Opening::read(&head)?;
/// let protocol = opening.protocols().find(|protocol| *protocol == "chat");
/// let (mut outbox, date) = (Outbox::default(), http::Date::from_unix(0));
/// append_accept(&mut outbox, opening.accept(), protocol, None, [], &date).unwrap();
/// assert!(outbox.contiguous().unwrap().starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
/// # Ok::<(), HandshakeError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    head: RequestHead<'a>,
    key: &'a [u8],
}

/// The value of Sec-WebSocket-Accept: proof that a key was read (RFC 6455 §4.2.2).
///
/// ```
/// use sockeye::ws::Accept;
/// let accept = Accept::of_key(b"dGhlIHNhbXBsZSBub25jZQ=="); // RFC 6455 §1.3
/// assert_eq!(accept.as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept([u8; 28]);

/// Why a request does not open a WebSocket.
///
/// ```
/// use sockeye::{http::Status, ws::HandshakeError};
/// assert_eq!(HandshakeError::Version.status(), Status::UPGRADE_REQUIRED);
/// assert!(HandshakeError::Version.fields().contains(&("Sec-WebSocket-Version", b"13")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// The method is not GET.
    Method,
    /// The version of HTTP is below 1.1.
    HttpVersion,
    /// Upgrade does not name `websocket`.
    NotUpgrade,
    /// Connection does not name `Upgrade`.
    Connection,
    /// Sec-WebSocket-Version is not 13.
    Version,
    /// Sec-WebSocket-Key is missing, repeated, or not 16 bytes in base64.
    Key,
    /// The request has a body, whose bytes could be taken for frames.
    Body,
    /// Sec-WebSocket-Protocol is not a list of different tokens.
    Protocols,
    /// Sec-WebSocket-Extensions is not a list of extensions.
    Extensions,
    /// The page that asks is not allowed to (for users of [`super::Origin`]).
    Origin,
}

impl<'a> Opening<'a> {
    /// Whether the request asks for a WebSocket, well or badly. If not, a route may answer it as
    /// any other request.
    #[must_use]
    pub fn is_asked_for(head: &RequestHead<'_>) -> bool {
        // RFC 9110 §7.8: an Upgrade in a request of HTTP/1.0 is ignored.
        head.has_upgrade()
            && head.version() >= Version::Http11
            && head.fields().list_contains("upgrade", "websocket")
    }

    /// Reads the request of a client.
    ///
    /// # Errors
    /// What RFC 6455 §4.2.1 demands and the request does not have; [`HandshakeError::status`]
    /// answers it.
    pub fn read(head: &RequestHead<'a>) -> Result<Self, HandshakeError> {
        let fields = head.fields();
        // RFC 6455 §4.2.1, 1: "An HTTP/1.1 or higher GET request".
        if head.method() != "GET" {
            return Err(HandshakeError::Method);
        }
        if head.version() < Version::Http11 {
            return Err(HandshakeError::HttpVersion);
        }
        // 2: Host, which the reader of requests demands. 3, 4: Upgrade and Connection.
        if !Self::is_asked_for(head) {
            return Err(HandshakeError::NotUpgrade);
        }
        if !fields.list_contains("connection", "upgrade") {
            return Err(HandshakeError::Connection);
        }
        // 6, and §11.3.5: once, with the value 13. §4.4: the answer says which version would do.
        if fields.single("sec-websocket-version") != Ok(Some(b"13")) {
            return Err(HandshakeError::Version);
        }
        // 5, and §11.3.1: once, 16 bytes in base64.
        let key = fields.single("sec-websocket-key").ok().flatten().unwrap_or_default();
        if !is_key(key) {
            return Err(HandshakeError::Key);
        }
        if head.body() != BodyLength::None {
            return Err(HandshakeError::Body);
        }
        let opening = Self { head: *head, key };
        opening.check_protocols()?;
        // RFC 6455 §9.1: a value that does not follow the grammar fails the handshake.
        deflate::check(&fields).map_err(|_| HandshakeError::Extensions)?;
        Ok(opening)
    }

    /// How messages of this connection may be compressed, if the client offers what suits these
    /// preferences (RFC 7692 §5). Safari 15.0 to 15.3 is never taken at its word.
    #[must_use]
    pub fn deflate(&self, preferences: &Preferences) -> Option<Agreement> {
        let fields = self.head.fields();
        if fields.all("user-agent").any(is_broken_safari) {
            return None;
        }
        Agreement::accept(&fields, preferences)
    }

    /// The answer to the client's key.
    #[must_use]
    pub fn accept(&self) -> Accept {
        Accept::of_key(self.key)
    }

    /// The subprotocols that the client speaks, the preferred one first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let offered = self.head.fields().list(PROTOCOLS);
        offered.filter_map(|protocol| std::str::from_utf8(protocol).ok())
    }

    /// RFC 6455 §4.1, 10: one or more tokens, "all unique".
    fn check_protocols(&self) -> Result<(), HandshakeError> {
        let fields = self.head.fields();
        let mut seen: [&[u8]; MAX_PROTOCOLS] = [&[]; MAX_PROTOCOLS];
        for (count, protocol) in fields.list(PROTOCOLS).enumerate() {
            let Some((earlier, [place, ..])) = seen.split_at_mut_checked(count) else {
                return Err(HandshakeError::Protocols);
            };
            if earlier.contains(&protocol) || !is_token(protocol) {
                return Err(HandshakeError::Protocols);
            }
            *place = protocol;
        }
        let is_empty_list = seen[0].is_empty() && fields.first(PROTOCOLS).is_some();
        if is_empty_list { Err(HandshakeError::Protocols) } else { Ok(()) }
    }
}

impl Accept {
    /// The proof for this key, as it stood in the field.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        let mut value = [0; 28];
        // 20 bytes become 28 characters exactly.
        let written = general_purpose::STANDARD.encode_slice(digest, &mut value);
        debug_assert_eq!(written, Ok(28));
        Self(value)
    }

    /// The value of the field.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl HandshakeError {
    /// The status with which a server answers.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Method => Status::METHOD_NOT_ALLOWED,
            Self::NotUpgrade | Self::Version => Status::UPGRADE_REQUIRED,
            Self::Origin => Status::FORBIDDEN,
            Self::HttpVersion
            | Self::Connection
            | Self::Key
            | Self::Body
            | Self::Protocols
            | Self::Extensions => Status::BAD_REQUEST,
        }
    }

    /// The fields that the response must have besides.
    #[must_use]
    pub const fn fields(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            // RFC 9110 §15.5.6.
            Self::Method => &[("Allow", b"GET")],
            // RFC 9110 §15.5.22, RFC 6455 §4.4.
            Self::NotUpgrade | Self::Version => {
                &[("Upgrade", b"websocket"), ("Sec-WebSocket-Version", b"13")]
            }
            _ => &[],
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Method => "a WebSocket is opened by GET",
            Self::HttpVersion => "a WebSocket needs HTTP/1.1",
            Self::NotUpgrade => "Upgrade does not name websocket",
            Self::Connection => "Connection does not name Upgrade",
            Self::Version => "Sec-WebSocket-Version is not 13",
            Self::Key => "Sec-WebSocket-Key is not 16 bytes in base64",
            Self::Body => "a request for a WebSocket has no body",
            Self::Protocols => "Sec-WebSocket-Protocol is not a list of different tokens",
            Self::Extensions => "Sec-WebSocket-Extensions is not a list of extensions",
            Self::Origin => "a page of this Origin may not open this WebSocket",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for HandshakeError {}

/// Appends the 101 that opens a WebSocket (RFC 6455 §4.2.2). Frames may follow at once.
///
/// `protocol` is one of those the client offered, or none; `deflate` is what [`Opening::deflate`]
/// found. `fields` are the application's.
///
/// # Errors
/// [`ResponseError`], and nothing is appended, if a field cannot be sent, or is one that is written
/// here, or if the protocol is no token.
pub fn append_accept<'f>(
    outbox: &mut Outbox,
    accept: Accept,
    protocol: Option<&'f str>,
    deflate: Option<&Agreement>,
    fields: impl IntoIterator<Item = (&'f str, &'f [u8]), IntoIter: Clone>,
    date: &Date,
) -> Result<(), ResponseError> {
    let fields = fields.into_iter();
    let is_ours = |name: &str| OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    if fields.clone().any(|(name, _)| is_ours(name)) {
        return Err(ResponseError::ReservedField);
    }
    if protocol.is_some_and(|protocol| !is_token(protocol.as_bytes())) {
        return Err(ResponseError::FieldValue);
    }
    let accept = accept.as_bytes();
    let handshake = [
        ("Upgrade", &b"websocket"[..]),
        ("Connection", &b"Upgrade"[..]),
        ("Sec-WebSocket-Accept", accept),
    ];
    // The lifetime of the fields is the caller's; those written here live shorter.
    let ours = handshake.into_iter().map(shorten);
    let chosen = protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol.as_bytes()));
    let extension = deflate.map(Agreement::to_field_value);
    let agreed = extension.as_ref().map(|value| ("Sec-WebSocket-Extensions", value.as_bytes()));
    let chosen = chosen.into_iter().map(shorten).chain(agreed.into_iter().map(shorten));
    let all = ours.chain(chosen).chain(fields.map(shorten));
    let exchange = Exchange { version: Version::Http11, is_head: false, keep_alive: true };
    ResponseWriter::new(outbox, date, exchange).send(Status::SWITCHING_PROTOCOLS, all, b"")
}

fn shorten<'s, 'f: 's>(field: (&'f str, &'f [u8])) -> (&'s str, &'s [u8]) {
    field
}

/// Whether this is 16 bytes in base64: 22 characters and `==`.
fn is_key(key: &[u8]) -> bool {
    // RFC 6455's own example, "AQIDBAUGBwgJCgsMDQ4PEC==", has bits beyond the last byte.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let mut nonce = [0; 18];
    key.len() == KEY_BYTES && LENIENT.decode_slice(key, &mut nonce) == Ok(16)
}

/// 16 bytes in base64.
const KEY_BYTES: usize = 24;
/// RFC 6455 §1.3.
pub(super) const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// More subprotocols are not offered by anyone honest, and comparing them costs their square.
const MAX_PROTOCOLS: usize = 64;
const PROTOCOLS: &str = "sec-websocket-protocol";
/// Fields of the 101 that are written here.
const OURS: [&str; 5] =
    ["upgrade", "connection", "sec-websocket-accept", PROTOCOLS, deflate::EXTENSIONS];

#[cfg(test)]
mod tests;
