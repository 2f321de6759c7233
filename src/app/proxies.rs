//! [`Proxies`]: whom to believe what they say of the client's address.

// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)
)]

use std::net::{IpAddr, SocketAddr};

use super::Request;

/// Proxies in front of the server, and how they tell whom they speak for.
///
/// What others say of themselves is not believed: the fields count only if the connection comes
/// from one of these addresses, and of the addresses in them only the last one that is not a
/// proxy's.
///
/// ```
/// use sockeye::{App, Proxies, Response};
///
/// let app = App::new()
///     .proxies(Proxies::at(["10.0.0.0/8", "::1"]).x_forwarded_for())
///     .get("/", |request| Response::text(format!("{:?}", request.client_ip())));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    networks: Vec<Network>,
    has_unix: bool,
    field: Field,
    pub(super) speaks_proxy_protocol: bool,
    pub(super) fault: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Field {
    #[default]
    None,
    Forwarded,
    XForwardedFor,
}

#[derive(Debug, Clone, Copy)]
struct Network {
    ip: IpAddr,
    prefix: u32,
}

impl Proxies {
    /// Those at these addresses: `192.0.2.1`, `10.0.0.0/8`, `fd00::/8`, or `unix` for whoever
    /// comes through a Unix socket.
    #[must_use]
    pub fn at<'n>(networks: impl IntoIterator<Item = &'n str>) -> Self {
        let mut proxies = Self::default();
        for text in networks {
            match Network::parse(text) {
                _ if text == "unix" => proxies.has_unix = true,
                Some(network) => proxies.networks.push(network),
                None => {
                    let hint = "write an IP address, with /BITS for a network";
                    proxies.fault = Some(format!("'{text}' is no address of proxies: {hint}"));
                }
            }
        }
        proxies
    }

    /// They write the Forwarded field (RFC 7239).
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.field = Field::Forwarded;
        self
    }

    /// They write the X-Forwarded-For field.
    #[must_use]
    pub fn x_forwarded_for(mut self) -> Self {
        self.field = Field::XForwardedFor;
        self
    }

    /// They begin each connection with a header of the PROXY protocol, version 1 or 2. A
    /// connection from them without one is dropped, one from others is served without.
    #[must_use]
    pub fn proxy_protocol(mut self) -> Self {
        self.speaks_proxy_protocol = true;
        self
    }

    /// Whether this peer is one of them.
    pub(super) fn are_at(&self, peer: Option<SocketAddr>) -> bool {
        peer.map_or(self.has_unix, |peer| self.contain(peer.ip()))
    }

    fn contain(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }

    /// Goes back along the way of a request, as far as those who tell of it are believed.
    fn client_of(&self, request: &Request<'_>) -> Option<IpAddr> {
        let peer = request.remote_addr();
        let mut client = peer.map(|peer| peer.ip());
        if !self.are_at(peer) || self.field == Field::None {
            return client;
        }
        let name = if self.field == Field::Forwarded { "forwarded" } else { "x-forwarded-for" };
        let fields: Vec<&str> = request
            .headers()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .collect();
        let stations = fields.iter().rev().flat_map(|value| split(value, ',').into_iter().rev());
        for station in stations {
            let node = match self.field {
                Field::Forwarded => node_of(station),
                _ => Some(station.trim()),
            };
            // Who is unknown there, or hides, cannot be looked behind.
            let Some(ip) = node.and_then(ip_of) else { return client };
            client = Some(ip);
            if !self.contain(ip) {
                break;
            }
        }
        client
    }
}

impl Request<'_> {
    /// The client's address, as far as it is known: that of the connection, or what
    /// [`Proxies`] that are believed say of it. `None` for a Unix socket without such a proxy.
    #[must_use]
    pub fn client_ip(&self) -> Option<IpAddr> {
        match self.proxies {
            Some(proxies) => proxies.client_of(self),
            None => self.remote_addr().map(|peer| peer.ip()),
        }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().ok()?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        (prefix <= bits).then_some(Self { ip, prefix })
    }

    fn contains(&self, ip: IpAddr) -> bool {
        // An IPv4 client of a socket for both has a mapped address.
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let differing = u32::from(own) ^ u32::from(ip);
                differing.leading_zeros() >= self.prefix
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let differing = u128::from(own) ^ u128::from(ip);
                differing.leading_zeros() >= self.prefix
            }
            _ => false,
        }
    }
}

/// The value of `for` in one element of Forwarded (RFC 7239 §4).
fn node_of(element: &str) -> Option<&str> {
    split(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        name.eq_ignore_ascii_case("for").then(|| quoted.unwrap_or(value))
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `[::1]`, `[::1]:80`, `::1`.
fn ip_of(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok().map(IpAddr::V6);
    }
    match node.split_once(':') {
        Some((ip, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => {
            ip.parse().ok().map(IpAddr::V4).or_else(|| node.parse().ok())
        }
        _ => node.parse().ok(),
    }
}

/// Splits at a separator that is not inside of quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let proxies = Proxies::at(["10.0.0.0/8", "192.0.2.1", "fd00::/8", "0.0.0.0/32"]);
        assert_eq!(proxies.fault, None);
        for (ip, expected) in [
            ("10.1.2.3", true),
            ("11.0.0.0", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("fd12::1", true),
            ("fc00::1", false),
            ("::ffff:10.0.0.1", true),
            ("::", false),
        ] {
            assert_eq!(proxies.contain(ip.parse().unwrap()), expected, "{ip}");
        }
        assert!(Proxies::at(["0.0.0.0/0"]).contain("1.2.3.4".parse().unwrap()));
        assert!(Proxies::at(["unix"]).are_at(None) && !proxies.are_at(None));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "localhost", "::/129"] {
            assert!(Proxies::at([text]).fault.is_some(), "{text}");
        }
    }

    #[test]
    fn nodes() {
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        for (node, expected) in [
            ("192.0.2.1", ip("192.0.2.1")),
            ("192.0.2.1:80", ip("192.0.2.1")),
            ("[2001:db8::1]:80", ip("2001:db8::1")),
            ("[2001:db8::1]", ip("2001:db8::1")),
            ("2001:db8::1", ip("2001:db8::1")),
            ("::1", ip("::1")),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("[::1", None),
            ("192.0.2.1:", None),
        ] {
            assert_eq!(ip_of(node), expected, "{node}");
        }
        assert_eq!(node_of("proto=http; For=\"[::1]:80\";by=x"), Some("[::1]:80"));
        assert_eq!(node_of("by=\"a;for=1.2.3.4\""), None);
        assert_eq!(split("a=\"x,y\",b", ','), ["a=\"x,y\"", "b"]);
    }
}
