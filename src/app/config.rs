//! [`WebSocketConfig`]: how the WebSockets of one route behave.

use std::time::Duration;

use super::CompressionConfig;
use crate::ws;

pub use ws::Origin;

/// Settings of a WebSocket route. The names are those of uWebSockets where it has the setting.
///
/// ```
/// use std::time::Duration;
/// use sockeye::{App, Message, Origin, WebSocket, WebSocketConfig, on_message};
///
/// let config = WebSocketConfig {
///     max_payload_length: 1 << 20,
///     idle_timeout: Duration::from_secs(30),
///     origin: Origin::Any,
///     ..WebSocketConfig::default()
/// };
/// let echo = on_message(|socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
///     socket.send(message);
/// });
/// let app = App::new().websocket_with("/echo", config, echo);
/// ```
#[derive(Debug, Clone)]
pub struct WebSocketConfig {
    /// Bytes of a message, over all its fragments. More closes the socket with 1009.
    /// Default 16 KiB.
    pub max_payload_length: usize,
    /// After so long without a byte from the peer the socket is closed (1006). Zero for never.
    /// Default 120 s.
    pub idle_timeout: Duration,
    /// Whether a quiet peer is asked with a ping, so early that it can answer before
    /// `idle_timeout`. Default `true`.
    pub send_pings_automatically: bool,
    /// Whether what is sent counts as a sign of life too. Default `false`.
    pub reset_idle_timeout_on_send: bool,
    /// After so long the socket is closed with 1000 and `please reconnect`. Zero for never.
    /// Default zero.
    pub max_lifetime: Duration,
    /// Bytes that may wait for a peer that does not read. A message for which there is no room is
    /// dropped, which is reported and counted; one always finds room if nothing waits.
    /// `usize::MAX` for no limit. Default 64 KiB.
    pub max_backpressure: usize,
    /// Whether a message that finds no room closes the socket instead (1006). Default `false`.
    pub close_on_backpressure_limit: bool,
    /// Which pages may open a WebSocket (RFC 6455 §10.2). Clients other than browsers, which send
    /// no Origin, always may. Default [`Origin::Same`].
    pub origin: Origin,
    /// The subprotocols spoken here, the preferred one first. The first that the client offers is
    /// chosen, if the handler does not choose another. Default none.
    pub protocols: Vec<String>,
    /// How messages are compressed, with clients that can do that. Default
    /// [`CompressionConfig::off`].
    pub compression: CompressionConfig,
    /// Whether messages that do not arrive at once are handed over piece by piece, as they
    /// arrive, by [`WebSocketHandler::fragment`](crate::WebSocketHandler::fragment) and without
    /// being kept. Default `false`.
    pub piecewise: bool,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            max_payload_length: 16 << 10,
            idle_timeout: Duration::from_secs(120),
            send_pings_automatically: true,
            reset_idle_timeout_on_send: false,
            max_lifetime: Duration::ZERO,
            max_backpressure: 64 << 10,
            close_on_backpressure_limit: false,
            origin: Origin::Same,
            protocols: Vec::new(),
            compression: CompressionConfig::off(),
            piecewise: false,
        }
    }
}

impl WebSocketConfig {
    /// Whether a server can work with these settings.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.max_payload_length == 0 {
            return Err("max_payload_length must not be zero".into());
        }
        if self.max_backpressure == 0 {
            let hint = "usize::MAX means no limit";
            return Err(format!("max_backpressure must not be zero ({hint})"));
        }
        if !self.idle_timeout.is_zero() && self.idle_timeout < MIN_IDLE_TIMEOUT {
            return Err("idle_timeout must be zero (never) or at least 200 ms".into());
        }
        self.compression.check()?;
        match self.protocols.iter().find(|protocol| !is_protocol(protocol)) {
            Some(name) => Err(format!("'{name}' is no name of a subprotocol: it must be a token")),
            None => Ok(()),
        }
    }

    /// The limits of the decoder.
    pub(super) fn limits(&self) -> ws::Limits {
        ws::Limits {
            max_payload_length: self.max_payload_length,
            piecewise: self.piecewise,
            ..ws::Limits::default()
        }
    }

    /// Bytes that may be queued for a peer. What the kernel has not been asked to take is not
    /// backpressure, and still bounded.
    pub(super) fn queue_limit(&self, is_blocked: bool) -> usize {
        if is_blocked { self.max_backpressure } else { self.max_backpressure.max(MAX_TURN_BYTES) }
    }

    /// How long a peer may be quiet before it is asked for a sign of life.
    pub(super) fn ping_after(&self) -> Duration {
        let margin = (self.idle_timeout / 4).min(MAX_PING_MARGIN);
        self.idle_timeout - margin
    }
}

/// RFC 6455 §4.1: a subprotocol's name is a token (RFC 9110 §5.6.2).
fn is_protocol(name: &str) -> bool {
    let is_separator = |byte: u8| b"()<>@,;:\\\"/[]?={}".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !is_separator(byte))
}

/// What a handler may send to one socket in one turn, if `max_backpressure` is less.
const MAX_TURN_BYTES: usize = 16 << 20;
const MIN_IDLE_TIMEOUT: Duration = Duration::from_millis(200);
/// A quiet peer has this long for its pong, if `idle_timeout` is long enough for that.
const MAX_PING_MARGIN: Duration = Duration::from_secs(16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_documented_and_nonsense_is_refused() {
        let config = WebSocketConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.max_payload_length, 16_384);
        assert_eq!(config.max_backpressure, 65_536);
        assert_eq!(config.ping_after(), Duration::from_secs(104));
        let second = Duration::from_secs(1);
        let short = WebSocketConfig { idle_timeout: second, ..config.clone() };
        assert_eq!(short.ping_after(), Duration::from_millis(750));
        let bad = [
            WebSocketConfig { max_payload_length: 0, ..config.clone() },
            WebSocketConfig { max_backpressure: 0, ..config.clone() },
            WebSocketConfig { idle_timeout: Duration::from_millis(1), ..config.clone() },
            WebSocketConfig { protocols: vec!["a b".into()], ..config.clone() },
            WebSocketConfig { protocols: vec![String::new()], ..config },
        ];
        for config in bad {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
