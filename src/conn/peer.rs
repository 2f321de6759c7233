//! [`Peer`]: the address of the other end, in as few bytes as it takes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// What a [`SocketAddr`] says of a connected peer, in 20 bytes instead of 32. The flow
/// information of IPv6, which no application asks for, is left out.
///
/// ```text
/// 0                                16     18     20
/// +--------------------------------+------+------+
/// | address                        | port | kind |
/// +--------------------------------+------+------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    // Of IPv4 the first four bytes; the others are zero.
    ip: [u8; 16],
    port: u16,
    // `UNIX` or `V4`. Otherwise it is an address of IPv6, and this the number of the interface that
    // a link-local one belongs to (zero if it does not fit).
    kind: u16,
}

impl Peer {
    /// The address in its usual form; `None` for a Unix socket.
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        let Self { ip, port, kind } = self;
        let [a, b, c, d, ..] = ip;
        match kind {
            UNIX => None,
            V4 => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)),
            scope => Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope.into()).into()),
        }
    }
}

impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Self {
        match address {
            None => Self { ip: [0; 16], port: 0, kind: UNIX },
            Some(SocketAddr::V4(v4)) => {
                let mut ip = [0; 16];
                ip[..4].copy_from_slice(&v4.ip().octets());
                Self { ip, port: v4.port(), kind: V4 }
            }
            Some(SocketAddr::V6(v6)) => {
                let scope = u16::try_from(v6.scope_id()).ok().filter(|scope| *scope < V4);
                Self { ip: v6.ip().octets(), port: v6.port(), kind: scope.unwrap_or(0) }
            }
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

const UNIX: u16 = u16::MAX;
const V4: u16 = u16::MAX - 1;

const _: () = assert!(size_of::<Peer>() == 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in ["127.0.0.1:80", "[::1]:65535", "[2001:db8::7]:1", "[::ffff:1.2.3.4]:5"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Peer::from(Some(address)).address(), Some(address));
        }
        assert_eq!(Peer::from(None).address(), None);
    }

    #[test]
    fn the_interface_of_a_link_local_address_comes_back_if_it_fits() {
        for (scope, text) in [
            (3, "[fe80::1%3]:9"),
            (u32::from(V4) - 1, "[fe80::1%65533]:9"),
            (u32::from(V4), "[fe80::1]:9"),
            (u32::from(UNIX), "[fe80::1]:9"),
            (70_000, "[fe80::1]:9"),
        ] {
            let local = SocketAddrV6::new("fe80::1".parse().expect("an address"), 9, 5, scope);
            let found = Peer::from(Some(local.into())).address().expect("an address");
            assert_eq!(found.to_string(), text);
        }
    }
}
