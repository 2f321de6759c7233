//! [`ClientHandshake`]: the opening handshake as the client sees it (RFC 6455 §4.1).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Accept,
    deflate::{Agreement, EXTENSIONS, NotOffered, Preferences},
};
use crate::{
    base::Outbox,
    http::{ResponseHead, Status, Version, is_field_value, is_host, is_token},
};

/// One attempt to open a WebSocket.
///
/// ```
/// use sockeye::{base::Outbox, ws::{ClientHandshake, ClientRequest}};
/// let handshake = ClientHandshake::new(*b"the sample nonce"); // random, in earnest
/// let mut outbox = Outbox::default();
/// let request = ClientRequest { host: "example.org", target: "/chat", ..Default::default() };
/// handshake.append_request(&mut outbox, &request)?;
/// assert!(outbox.contiguous().is_some_and(|bytes| bytes.starts_with(b"GET /chat HTTP/1.1\r\n")));
/// # Ok::<(), sockeye::ws::ClientHandshakeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientHandshake {
    // Invariant: base64.
    key: [u8; 24],
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct ClientRequest<'a> {
    /// Host and port, as in the URI.
    pub host: &'a str,
    /// Path and query. Default `/`.
    pub target: &'a str,
    /// The subprotocols that the client speaks, the preferred one first.
    pub protocols: &'a [&'a str],
    /// How messages may be compressed, if the server can do that too (RFC 7692 §5).
    pub deflate: Option<Preferences>,
    /// The page on whose behalf a browser asks.
    pub origin: Option<&'a str>,
    /// Other fields, such as Authorization or Cookie.
    pub fields: &'a [(&'a str, &'a str)],
}

impl Default for ClientRequest<'_> {
    fn default() -> Self {
        let (protocols, deflate, origin, fields) = (&[][..], None, None, &[][..]);
        Self { host: "localhost", target: "/", protocols, deflate, origin, fields }
    }
}

/// Why a handshake cannot be sent, or does not open a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientHandshakeError {
    /// The request's host is none.
    Host,
    /// The request's target is not a path with or without a query.
    Target,
    /// The request's subprotocols are not different tokens.
    Protocols,
    /// A field of the request cannot be sent, or is one that is written here.
    Field,
    /// The response is of HTTP/1.0.
    HttpVersion,
    /// The response's status is not 101.
    Status(Status),
    /// The response's Upgrade is not `websocket`.
    Upgrade,
    /// The response's Connection does not name `Upgrade`.
    Connection,
    /// The response does not prove that the key was read.
    Accept,
    /// The response uses an extension that was not offered.
    Extension,
    /// The response chooses a subprotocol that was not offered, or several.
    Protocol,
}

impl ClientHandshake {
    /// A handshake with this nonce, which must be random (RFC 6455 §4.1, 7).
    #[must_use]
    pub fn new(nonce: [u8; 16]) -> Self {
        let mut key = [0; 24];
        // 16 bytes become 24 characters exactly.
        let written = STANDARD.encode_slice(nonce, &mut key);
        debug_assert_eq!(written, Ok(24));
        Self { key }
    }

    /// Appends the request.
    ///
    /// # Errors
    /// What cannot be sent; nothing is appended then.
    pub fn append_request(
        &self,
        outbox: &mut Outbox,
        request: &ClientRequest<'_>,
    ) -> Result<(), ClientHandshakeError> {
        request.check()?;
        let mut field = |name: &str, value: &[u8]| {
            outbox.append(name.as_bytes());
            outbox.append(value);
            outbox.append(b"\r\n");
        };
        field("GET ", &[request.target.as_bytes(), b" HTTP/1.1"].concat());
        field("Host: ", request.host.as_bytes());
        field("Upgrade: ", b"websocket");
        field("Connection: ", b"Upgrade");
        field("Sec-WebSocket-Key: ", &self.key);
        field("Sec-WebSocket-Version: ", b"13");
        if !request.protocols.is_empty() {
            field("Sec-WebSocket-Protocol: ", request.protocols.join(", ").as_bytes());
        }
        if let Some(preferences) = &request.deflate {
            field("Sec-WebSocket-Extensions: ", preferences.offer().as_bytes());
        }
        if let Some(origin) = request.origin {
            field("Origin: ", origin.as_bytes());
        }
        for (name, value) in request.fields {
            field(&format!("{name}: "), value.as_bytes());
        }
        outbox.append(b"\r\n");
        Ok(())
    }

    /// Checks the response, and gives the subprotocol that the server chose from those offered.
    ///
    /// # Errors
    /// What RFC 6455 §4.1 demands and the response does not have: the connection is failed.
    pub fn verify<'h>(
        &self,
        head: &ResponseHead<'h>,
        offered: &[&str],
    ) -> Result<Option<&'h str>, ClientHandshakeError> {
        self.verify_deflate(head, offered, None).map(|(protocol, _)| protocol)
    }

    /// As [`ClientHandshake::verify`], when compression was offered: gives also what the server
    /// has made of that.
    ///
    /// # Errors
    /// As [`ClientHandshake::verify`].
    pub fn verify_deflate<'h>(
        &self,
        head: &ResponseHead<'h>,
        offered: &[&str],
        deflate: Option<&Preferences>,
    ) -> Result<(Option<&'h str>, Option<Agreement>), ClientHandshakeError> {
        let fields = head.fields();
        // RFC 6455 §4.1, of the response: 1.
        if head.status() != Status::SWITCHING_PROTOCOLS {
            return Err(ClientHandshakeError::Status(head.status()));
        }
        // RFC 9110 §15.2: there is no 1xx in HTTP/1.0.
        if head.version() < Version::Http11 {
            return Err(ClientHandshakeError::HttpVersion);
        }
        // 2, 3: Upgrade and Connection, without regard to case.
        let upgrade = fields.single("upgrade").ok().flatten();
        if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(ClientHandshakeError::Upgrade);
        }
        if !fields.list_contains("connection", "upgrade") {
            return Err(ClientHandshakeError::Connection);
        }
        // 4: the proof.
        let accept = fields.single("sec-websocket-accept").ok().flatten();
        if accept != Some(Accept::of_key(&self.key).as_bytes()) {
            return Err(ClientHandshakeError::Accept);
        }
        // 5: no extension that was not offered; RFC 7692 §7.1: nor such a parameter of it.
        let agreement = match deflate {
            Some(preferences) => Agreement::verify(&fields, preferences),
            None if fields.list(EXTENSIONS).next().is_some() => Err(NotOffered),
            None => Ok(None),
        };
        let agreement = agreement.map_err(|_| ClientHandshakeError::Extension)?;
        // 6, and §11.3.4: once, one of those offered.
        let protocol = match fields.single("sec-websocket-protocol") {
            Ok(None) => None,
            Ok(Some(chosen)) => {
                let chosen = std::str::from_utf8(chosen).ok();
                let chosen = chosen.filter(|chosen| offered.contains(chosen));
                Some(chosen.ok_or(ClientHandshakeError::Protocol)?)
            }
            Err(_) => return Err(ClientHandshakeError::Protocol),
        };
        Ok((protocol, agreement))
    }
}

impl ClientRequest<'_> {
    fn check(&self) -> Result<(), ClientHandshakeError> {
        if !is_host(self.host.as_bytes()) {
            return Err(ClientHandshakeError::Host);
        }
        // RFC 6455 §3: a resource name begins with a slash and has no fragment.
        let is_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !self.target.starts_with('/') || !self.target.bytes().all(is_target) {
            return Err(ClientHandshakeError::Target);
        }
        // RFC 6455 §4.1, 10: tokens, all unique.
        for (index, protocol) in self.protocols.iter().enumerate() {
            let is_new = !self.protocols.iter().take(index).any(|earlier| earlier == protocol);
            if !is_new || !is_token(protocol.as_bytes()) {
                return Err(ClientHandshakeError::Protocols);
            }
        }
        let is_ours = |name: &str| OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
        let is_sound = |(name, value): &(&str, &str)| {
            is_token(name.as_bytes()) && is_field_value(value.as_bytes()) && !is_ours(name)
        };
        let origin_is_sound = self.origin.is_none_or(|origin| is_field_value(origin.as_bytes()));
        if origin_is_sound && self.fields.iter().all(is_sound) {
            Ok(())
        } else {
            Err(ClientHandshakeError::Field)
        }
    }
}

impl fmt::Display for ClientHandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host is not one",
            Self::Target => "the target is not a path with or without a query",
            Self::Protocols => "the subprotocols are not different tokens",
            Self::Field => "a field cannot be sent, or is written by the handshake itself",
            Self::HttpVersion => "the response is of HTTP/1.0",
            Self::Status(status) => return write!(f, "the response is {status}"),
            Self::Upgrade => "the response does not upgrade to websocket",
            Self::Connection => "the response's Connection does not name Upgrade",
            Self::Accept => "the response does not prove that the key was read",
            Self::Extension => "the response uses an extension that was not offered",
            Self::Protocol => "the response chooses a subprotocol that was not offered",
        })
    }
}

impl std::error::Error for ClientHandshakeError {}

/// Fields that the request has already, or that would frame a body.
const OURS: [&str; 10] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    EXTENSIONS,
    "origin",
    "content-length",
    "transfer-encoding",
];

#[cfg(test)]
mod tests;
