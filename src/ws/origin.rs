//! [`Origin`]: which pages may open a WebSocket (RFC 6455 §4.2.2, §10.2; RFC 6454).
//!
//! Browsers let any page connect to any server, with the user's cookies, and say which page it is
//! in the Origin field. Other clients can say what they like, or nothing.

use std::{fmt, iter};

use crate::http::{RequestHead, is_host};

/// Whose pages may open a WebSocket. Clients that are no browsers (without Origin) always may.
///
/// ```
/// use sockeye::Origin;
/// let origin = Origin::list(["https://example.org", "http://localhost:3000"])?;
/// assert!(matches!(origin, Origin::List(origins) if origins.len() == 2));
/// assert!(Origin::list(["https://example.org/path"]).is_err());
/// # Ok::<(), sockeye::ws::OriginError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// Pages of the same host and port. Whether TLS stands before this server is not known here:
    /// the port of a Host without one is that of the origin's scheme.
    #[default]
    Same,
    /// Pages of these origins. Made by [`Origin::list`].
    List(Box<[Box<str>]>),
    /// All pages.
    Any,
}

/// Not an origin: `scheme://host`, `scheme://host:port`, or `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginError {
    /// What was given.
    pub origin: Box<str>,
}

impl Origin {
    /// Allows the pages of these origins, each `scheme://host` or `scheme://host:port`, without a
    /// path; `null` stands for pages that have none (files, sandboxed frames).
    ///
    /// # Errors
    /// [`OriginError`] names the one that is no origin.
    pub fn list<I>(origins: I) -> Result<Self, OriginError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let check = |origin: I::Item| {
            let origin = origin.as_ref();
            // A star would be a name like others, and allow nothing: whoever writes it means more.
            let is_origin = Parsed::read(origin).is_some() && !origin.contains('*');
            if is_origin || origin == NULL {
                Ok(Box::from(origin))
            } else {
                Err(OriginError { origin: Box::from(origin) })
            }
        };
        origins.into_iter().map(check).collect::<Result<_, _>>().map(Self::List)
    }

    /// Whether the page that sends this request may open a WebSocket.
    #[must_use]
    pub fn allows(&self, head: &RequestHead<'_>) -> bool {
        // RFC 6454 §7.3: one Origin field at most.
        let Ok(origin) = head.fields().single("origin") else { return false };
        let Some(origin) = origin else { return true };
        let Ok(origin) = std::str::from_utf8(origin) else { return *self == Self::Any };
        match self {
            Self::Any => true,
            Self::List(allowed) => allowed.iter().any(|allowed| is_same(allowed, origin)),
            Self::Same => Parsed::read(origin).zip(head.host()).is_some_and(|(origin, host)| {
                let (name, port) = split_port(host);
                // An origin whose scheme has no port of its own is none of a web page.
                origin.default_port.is_some()
                    && origin.host.eq_ignore_ascii_case(name)
                    && origin.port == port.parse().ok().or(origin.default_port)
            }),
        }
    }
}

fn is_same(allowed: &str, origin: &str) -> bool {
    match (Parsed::read(allowed), Parsed::read(origin)) {
        (Some(allowed), Some(origin)) => {
            allowed.scheme.eq_ignore_ascii_case(origin.scheme)
                && allowed.host.eq_ignore_ascii_case(origin.host)
                && allowed.port == origin.port
        }
        (None, None) => allowed == NULL && origin == NULL,
        _ => false,
    }
}

/// The parts of an origin.
struct Parsed<'o> {
    scheme: &'o str,
    host: &'o str,
    /// The port, also if it is that of the scheme.
    port: Option<u16>,
    default_port: Option<u16>,
}

impl<'o> Parsed<'o> {
    /// RFC 6454 §7.1: `scheme "://" host [ ":" port ]`.
    fn read(origin: &'o str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        // Pages from files have no host, and some browsers say `file://`.
        if !is_scheme || !(authority.is_empty() || is_host(authority.as_bytes())) {
            return None;
        }
        let (host, port) = split_port(authority);
        let default_port = iter::zip(["http", "https"], [80, 443])
            .find(|(known, _)| scheme.eq_ignore_ascii_case(known))
            .map(|(_, port)| port);
        Some(Self { scheme, host, port: port.parse().ok().or(default_port), default_port })
    }
}

/// Host and port of an authority that has been checked; the port is empty if there is none.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        // The last colon may be one of an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an origin (scheme://host or scheme://host:port): {:?}", self.origin)
    }
}

impl std::error::Error for OriginError {}

const NULL: &str = "null";

#[cfg(test)]
mod tests;
