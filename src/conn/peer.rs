//! [`Peer`]: the address of the other end, in as few bytes as it takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// What a [`SocketAddr`] says of a connected peer, in 22 bytes instead of 32. The flow
/// information of IPv6, which no application asks for, is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A Unix socket has no address.
    Unix,
    /// Address and port.
    V4([u8; 4], u16),
    /// Address, port, and the number of the interface that a link-local address belongs to (zero
    /// if it does not fit).
    V6([u8; 16], u16, u16),
}

impl Peer {
    /// The address in its usual form.
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        Some(match self {
            Self::Unix => return None,
            Self::V4(ip, port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port),
            Self::V6(ip, port, scope) => {
                SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope.into()).into()
            }
        })
    }
}

impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Self {
        match address {
            None => Self::Unix,
            Some(SocketAddr::V4(v4)) => Self::V4(v4.ip().octets(), v4.port()),
            Some(SocketAddr::V6(v6)) => {
                let scope = u16::try_from(v6.scope_id()).unwrap_or(0);
                Self::V6(v6.ip().octets(), v6.port(), scope)
            }
        }
    }
}

const _: () = assert!(size_of::<Peer>() == 22);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in ["127.0.0.1:80", "[::1]:65535", "[2001:db8::7]:1"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Peer::from(Some(address)).address(), Some(address));
        }
        let local = SocketAddrV6::new("fe80::1".parse().expect("an address"), 9, 5, 3);
        let found = Peer::from(Some(local.into())).address().expect("an address");
        assert_eq!(found.to_string(), "[fe80::1%3]:9");
        assert_eq!(Peer::from(None).address(), None);
    }
}
