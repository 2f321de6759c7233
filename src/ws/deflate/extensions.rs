//! The grammar of Sec-WebSocket-Extensions (RFC 6455 §9.1), and permessage-deflate's parameters in
//! it (RFC 7692 §7.1).
//!
//! ```text
//! extension-list  = 1#extension
//! extension       = token *( ";" extension-param )
//! extension-param = token [ "=" ( token | quoted-string ) ]
//! ```
//!
//! Two kinds of fault, of different weight: what does not follow the grammar spoils the field
//! (§9.1: "the recipient MUST _Fail the WebSocket Connection_"); parameters that are unknown,
//! repeated or out of range spoil only the member of the list that has them (RFC 7692 §7).

use std::fmt;

use crate::http::{Fields, is_token};

/// The field is not a list of extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedExtensions;

/// The parameters of one permessage-deflate, offered or agreed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<u8>,
    /// Offers may have it without a value: `Some(None)`.
    pub(super) client_max_window_bits: Option<Option<u8>>,
}

/// One member of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// permessage-deflate, with parameters that make sense.
    Deflate(Parameters),
    /// permessage-deflate, with a parameter that is unknown, repeated, or has no sound value.
    Unsound,
    /// Another extension.
    Other,
}

/// Whether the fields of a handshake follow the grammar.
pub(in crate::ws) fn check(fields: &Fields<'_>) -> Result<(), MalformedExtensions> {
    extensions(fields).try_for_each(|extension| extension.map(drop))
}

/// The members of the list, over all fields (RFC 6455 §9.1: "the field MAY appear multiple
/// times"). Ends after the first that is malformed.
pub(super) fn extensions<'a>(
    fields: &Fields<'a>,
) -> impl Iterator<Item = Result<Extension, MalformedExtensions>> + use<'a> {
    fields.all(EXTENSIONS).flat_map(|value| {
        let mut scanner = Scanner(value);
        std::iter::from_fn(move || {
            let next = scanner.extension().transpose();
            if let Some(Err(_)) = next {
                scanner.0 = b"";
            }
            next
        })
    })
}

/// What is left of a field's value.
struct Scanner<'a>(&'a [u8]);

/// The value of a parameter, as it stands in the field.
#[derive(Clone, Copy)]
enum Value<'a> {
    Token(&'a [u8]),
    /// What stands between the quotes, not unescaped.
    Quoted(&'a [u8]),
}

impl<'a> Scanner<'a> {
    /// The next member; `None` at the end.
    fn extension(&mut self) -> Result<Option<Extension>, MalformedExtensions> {
        // RFC 9110 §5.6.1.2: empty members of a list are to be ignored.
        while self.eats(b',') {}
        self.skip_space();
        if self.0.is_empty() {
            return Ok(None);
        }
        // RFC 7692 §7: a name is a registered token; those are compared as they are.
        let is_deflate = self.token()? == NAME;
        let mut parameters = Some(Parameters::default());
        while self.eats(b';') {
            self.skip_space();
            let name = self.token()?;
            let value = if self.eats(b'=') { Some(self.value()?) } else { None };
            parameters = parameters.and_then(|parameters| parameters.with(name, value));
        }
        self.skip_space();
        if !matches!(self.0, [] | [b',', ..]) {
            return Err(MalformedExtensions);
        }
        Ok(Some(match parameters {
            _ if !is_deflate => Extension::Other,
            Some(parameters) => Extension::Deflate(parameters),
            None => Extension::Unsound,
        }))
    }

    fn value(&mut self) -> Result<Value<'a>, MalformedExtensions> {
        self.skip_space();
        let Some(inside) = self.0.strip_prefix(b"\"") else {
            return self.token().map(Value::Token);
        };
        let mut is_escaped = false;
        let end = inside.iter().position(|byte| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        });
        let Some((quoted, [_, rest @ ..])) = end.and_then(|end| inside.split_at_checked(end))
        else {
            return Err(MalformedExtensions);
        };
        self.0 = rest;
        // RFC 6455 §9.1: unescaped, it "MUST conform to the 'token' ABNF".
        let mut is_empty = true;
        for byte in unescape(quoted) {
            is_empty = false;
            if !is_token(&[byte]) {
                return Err(MalformedExtensions);
            }
        }
        if is_empty { Err(MalformedExtensions) } else { Ok(Value::Quoted(quoted)) }
    }

    fn token(&mut self) -> Result<&'a [u8], MalformedExtensions> {
        let end = self.0.iter().position(|byte| !is_token(&[*byte])).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() { Err(MalformedExtensions) } else { Ok(token) }
    }

    fn eats(&mut self, byte: u8) -> bool {
        self.skip_space();
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }
}

impl Parameters {
    /// Adds a parameter; `None` if that makes no sense.
    fn with(mut self, name: &[u8], value: Option<Value<'_>>) -> Option<Self> {
        // RFC 7692 §7: "contains an unknown parameter", "with an invalid value", "multiple
        // parameters with the same name": each a reason to decline.
        let is_new = match (name, value) {
            (b"server_no_context_takeover", None) => {
                !std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            (b"client_no_context_takeover", None) => {
                !std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            (b"server_max_window_bits", Some(value)) => {
                self.server_max_window_bits.replace(value.window_bits()?).is_none()
            }
            (b"client_max_window_bits", value) => {
                let bits = match value {
                    Some(value) => Some(value.window_bits()?),
                    None => None,
                };
                self.client_max_window_bits.replace(bits).is_none()
            }
            _ => false,
        };
        is_new.then_some(self)
    }
}

impl Value<'_> {
    /// RFC 7692 §7.1.2: "a decimal integer value without leading zeroes between 8 to 15,
    /// inclusive".
    fn window_bits(self) -> Option<u8> {
        const TEXTS: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];
        let is_this = |text: &str| match self {
            Self::Token(token) => token == text.as_bytes(),
            Self::Quoted(quoted) => unescape(quoted).eq(text.bytes()),
        };
        (8..=15).zip(TEXTS).find_map(|(bits, text)| is_this(text).then_some(bits))
    }
}

/// RFC 9110 §5.6.4: a backslash stands for what follows it.
fn unescape(quoted: &[u8]) -> impl Iterator<Item = u8> {
    let mut bytes = quoted.iter().copied();
    std::iter::from_fn(move || match bytes.next() {
        Some(b'\\') => bytes.next(),
        byte => byte,
    })
}

impl fmt::Display for MalformedExtensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sec-WebSocket-Extensions is not a list of extensions")
    }
}

impl std::error::Error for MalformedExtensions {}

/// The field.
pub(in crate::ws) const EXTENSIONS: &str = "sec-websocket-extensions";
/// RFC 7692 §7: the registered name.
pub(super) const NAME: &[u8] = b"permessage-deflate";
