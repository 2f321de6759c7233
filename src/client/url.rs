//! [`Url`]: where a WebSocket is (RFC 6455 §3), and which addresses that means.

use std::{fmt, io, net::ToSocketAddrs, path::PathBuf, str::FromStr};

use crate::reactor::Address;

/// `ws://HOST[:PORT][/PATH][?QUERY]`, or `ws+unix:PATH[:TARGET]` for a Unix socket.
///
/// ```
/// use sockeye::client::Url;
/// let url: Url = "ws://[::1]:9001/chat?name=Ada".parse()?;
/// assert_eq!((url.host(), url.target()), ("[::1]:9001", "/chat?name=Ada"));
/// let url: Url = "ws+unix:/run/chat.sock:/lobby".parse()?;
/// assert_eq!((url.host(), url.target()), ("localhost", "/lobby"));
/// # Ok::<(), sockeye::client::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    place: Place,
    // As it stands in the Host field.
    host: String,
    target: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Why a text is no [`Url`], and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlError {
    /// It does not begin with `ws:` or `ws+unix:`.
    Scheme,
    /// It begins with `wss:`.
    Tls,
    /// There is no host, or one with characters that no host has.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// A path or query with spaces, control or other characters that must be percent-encoded.
    Target,
    /// It has a fragment (`#…`), which a WebSocket URL must not have.
    Fragment,
    /// There is no path of a Unix socket.
    Path,
}

impl Url {
    /// What goes into the Host field.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path and query, as in the request-line.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Where to connect to: the first that answers will do.
    ///
    /// # Errors
    /// If the host's name is unknown.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        match &self.place {
            Place::Tcp { host, port } => {
                let found = (host.as_str(), *port).to_socket_addrs()?;
                Ok(found.map(Address::Tcp).collect())
            }
            Place::Unix(path) => Ok(vec![Address::Unix(path.clone())]),
        }
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // RFC 6455 §3: "Fragment identifiers are meaningless [...] and MUST NOT be used".
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let scheme_end = text.find(':').ok_or(UrlError::Scheme)?;
        let rest = &text[scheme_end + 1..];
        match text[..scheme_end].to_ascii_lowercase().as_str() {
            "ws" => tcp(rest.strip_prefix("//").ok_or(UrlError::Scheme)?),
            "ws+unix" => unix(rest.strip_prefix("//").unwrap_or(rest)),
            "wss" => Err(UrlError::Tls),
            _ => Err(UrlError::Scheme),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { .. } => write!(f, "ws://{}{}", self.host, self.target),
            Place::Unix(path) => write!(f, "ws+unix:{}:{}", path.display(), self.target),
        }
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "write ws://HOST:PORT/PATH or ws+unix:SOCKET:/PATH",
            Self::Tls => "TLS is not implemented in the client: write ws:// in place of wss://",
            Self::Host => "malformed host: write ws://HOST:PORT/PATH, without user and password",
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Target => "percent-encode the characters of path and query",
            Self::Fragment => "leave out the fragment, or write %23 in place of #",
            Self::Path => "write ws+unix:SOCKET:/PATH",
        })
    }
}

impl std::error::Error for UrlError {}

fn tcp(rest: &str) -> Result<Url, UrlError> {
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(authority_end);
    let name_end = match authority.strip_prefix('[') {
        Some(v6) => v6.find(']').ok_or(UrlError::Host)? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at(name_end);
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_good) {
        return Err(UrlError::Host);
    }
    let port = match port.strip_prefix(':') {
        // RFC 6455 §3: "The port component is OPTIONAL; the default for 'ws' is port 80".
        None if port.is_empty() => 80,
        None => return Err(UrlError::Host),
        Some("") => 80,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?
        }
        Some(_) => return Err(UrlError::Port),
    };
    let host = if port == 80 { name.to_owned() } else { format!("{name}:{port}") };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Url { place: Place::Tcp { host: name, port }, host, target: checked_target(target)? })
}

fn unix(rest: &str) -> Result<Url, UrlError> {
    let (path, target) = rest.split_once(':').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err(UrlError::Path);
    }
    let host = "localhost".to_owned();
    Ok(Url { place: Place::Unix(path.into()), host, target: checked_target(target)? })
}

/// RFC 6455 §3: the resource name is "/" if the path is empty, the path, and "?" with the query.
fn checked_target(target: &str) -> Result<String, UrlError> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(UrlError::Target);
    }
    Ok(if target.starts_with('/') { target.to_owned() } else { format!("/{target}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_target() {
        let cases = [
            ("ws://a", "a", "/"),
            ("WS://a:80/", "a", "/"),
            ("ws://a:/x", "a", "/x"),
            ("ws://a.b-c:9001/x/y?z=1&z", "a.b-c:9001", "/x/y?z=1&z"),
            ("ws://127.0.0.1:65535?q", "127.0.0.1:65535", "/?q"),
            ("ws://[::1]", "[::1]", "/"),
            ("ws://[fe80::1]:8080/%20", "[fe80::1]:8080", "/%20"),
            ("ws+unix:/run/s.sock", "localhost", "/"),
            ("ws+unix:///run/s.sock:/a?b", "localhost", "/a?b"),
            ("ws+unix:relative.sock:a", "localhost", "/a"),
        ];
        for (text, host, target) in cases {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.host(), url.target()), (host, target), "{text}");
            assert_eq!(url.to_string().parse::<Url>().unwrap(), url, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_says_so() {
        let cases = [
            ("", UrlError::Scheme),
            ("http://a", UrlError::Scheme),
            ("127.0.0.1:9001", UrlError::Scheme),
            ("ws:a", UrlError::Scheme),
            ("wss://a", UrlError::Tls),
            ("ws://", UrlError::Host),
            ("ws://:80", UrlError::Host),
            ("ws://user@a", UrlError::Host),
            ("ws://a b", UrlError::Host),
            ("ws://[::1", UrlError::Host),
            ("ws://[::1]x", UrlError::Host),
            ("ws://a:0", UrlError::Port),
            ("ws://a:+1", UrlError::Port),
            ("ws://a:65536", UrlError::Port),
            ("ws://a/ b", UrlError::Target),
            ("ws://a/é", UrlError::Target),
            ("ws://a/\r\nb", UrlError::Target),
            ("ws://a/#b", UrlError::Fragment),
            ("ws+unix:", UrlError::Path),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_host_may_have_several_addresses() {
        let url: Url = "ws://[::1]:7".parse().unwrap();
        assert_eq!(url.addresses().unwrap(), ["[::1]:7".parse().unwrap()]);
        let url: Url = "ws+unix:/x:/y".parse().unwrap();
        assert_eq!(url.addresses().unwrap(), [Address::Unix("/x".into())]);
    }
}
