//! [`ProxyHeader`]: what a proxy says of its client before the first request: versions 1 and 2 of
//! the PROXY protocol.
//!
//! Strict: a proxy is a machine of ours, and what it does not say well is not from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A header of the PROXY protocol.
///
/// ```
/// use sockeye::http::ProxyHeader;
/// let bytes = b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 80\r\nGET / HTTP/1.1\r\n";
/// let header = ProxyHeader::parse(bytes)?.expect("it is complete");
/// assert_eq!((header.source, header.length), ("192.0.2.7:50000".parse().ok(), 40));
/// assert_eq!(ProxyHeader::parse(b"PROXY TC")?, None);
/// # Ok::<(), sockeye::http::NotProxyHeader>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client; `None` if the proxy speaks for itself, or does not know.
    pub source: Option<SocketAddr>,
    /// Bytes of the header.
    pub length: usize,
}

/// Bytes that are no header of the PROXY protocol, and cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotProxyHeader;

impl ProxyHeader {
    /// The header that these bytes begin with; `None` if there may be one when more have come.
    ///
    /// # Errors
    /// [`NotProxyHeader`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, NotProxyHeader> {
        let begins_with = |start: &[u8]| bytes.iter().zip(start).all(|(a, b)| a == b);
        if begins_with(LINE_START) {
            line(bytes)
        } else if begins_with(SIGNATURE) {
            block(bytes)
        } else {
            Err(NotProxyHeader)
        }
    }
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxyHeader> {
    let window = bytes.get(..MAX_LINE_BYTES).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() < MAX_LINE_BYTES { Ok(None) } else { Err(NotProxyHeader) };
    };
    let text = window.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    let text = text.and_then(|text| text.strip_suffix('\r')).ok_or(NotProxyHeader)?;
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    let length = end.saturating_add(1);
    if family == Some("UNKNOWN") {
        return Ok(Some(ProxyHeader { source: None, length }));
    }
    let (source, target) = (ip(words.next()), ip(words.next()));
    let (port, target_port) = (port(words.next()), port(words.next()));
    let (Some(source), Some(target), Some(port), Some(_), None) =
        (source, target, port, target_port, words.next())
    else {
        return Err(NotProxyHeader);
    };
    match family {
        Some("TCP4") if source.is_ipv4() && target.is_ipv4() => {}
        Some("TCP6") if source.is_ipv6() && target.is_ipv6() => {}
        _ => return Err(NotProxyHeader),
    }
    Ok(Some(ProxyHeader { source: Some(SocketAddr::new(source, port)), length }))
}

fn ip(word: Option<&str>) -> Option<IpAddr> {
    word?.parse().ok()
}

fn port(word: Option<&str>) -> Option<u16> {
    // Not a sign, and no zero in front.
    let word = word.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))?;
    word.parse().ok().filter(|_| word == "0" || !word.starts_with('0'))
}

/// Version 2: sixteen bytes, and addresses behind them.
fn block(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxyHeader> {
    let Some(&[command, family, high, low]) = bytes.get(12..).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let body_bytes = usize::from(u16::from_be_bytes([high, low]));
    if body_bytes > MAX_BODY_BYTES {
        return Err(NotProxyHeader);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NotProxyHeader),
    };
    let length = body_bytes.saturating_add(16);
    let Some(body) = bytes.get(16..length) else { return Ok(None) };
    let source = match family {
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let body: &[u8; 12] = body.first_chunk().ok_or(NotProxyHeader)?;
            let ip = Ipv4Addr::new(body[0], body[1], body[2], body[3]);
            Some(SocketAddr::new(ip.into(), u16::from_be_bytes([body[8], body[9]])))
        }
        // TCP over IPv6.
        0x21 => {
            let body: &[u8; 36] = body.first_chunk().ok_or(NotProxyHeader)?;
            let ip: [u8; 16] = *body.first_chunk().ok_or(NotProxyHeader)?;
            let port = u16::from_be_bytes([body[32], body[33]]);
            Some(SocketAddr::new(Ipv6Addr::from(ip).into(), port))
        }
        // Neither, or a Unix socket.
        0x00 | 0x31 => None,
        _ => return Err(NotProxyHeader),
    };
    Ok(Some(ProxyHeader { source: source.filter(|_| !is_local), length }))
}

impl std::fmt::Display for NotProxyHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no header of the PROXY protocol")
    }
}

impl std::error::Error for NotProxyHeader {}

const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const MAX_LINE_BYTES: usize = 107;
/// Addresses, and what may be behind them, which is passed over.
const MAX_BODY_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all beginnings of a header only the whole is one.
    fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxyHeader> {
        let whole = ProxyHeader::parse(bytes);
        if let Ok(Some(header)) = whole {
            for end in 0..header.length {
                assert_eq!(ProxyHeader::parse(&bytes[..end]), Ok(None), "{end} bytes");
            }
            assert_eq!(ProxyHeader::parse(&[bytes, b"GET"].concat()), whole);
        }
        whole
    }

    fn block_of(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    #[test]
    fn lines() {
        let source = |text: &str| {
            parse(format!("{text}\r\n").as_bytes()).map(|header| header.expect("whole").source)
        };
        let address = |text: &str| Ok(Some(text.parse().expect("an address")));
        assert_eq!(source("PROXY TCP4 1.2.3.4 5.6.7.8 9 65535"), address("1.2.3.4:9"));
        assert_eq!(source("PROXY TCP6 2001:db8::1 ::1 0 80"), address("[2001:db8::1]:0"));
        assert_eq!(source("PROXY UNKNOWN"), Ok(None));
        assert_eq!(source("PROXY UNKNOWN whatever it is"), Ok(None));
        for text in [
            "PROXY TCP4 1.2.3.4 5.6.7.8 9",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9 10 11",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9 65536",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +9 10",
            "PROXY TCP4 1.2.3.4 5.6.7.8 09 10",
            "PROXY TCP4 1.2.3 5.6.7.8 9 10",
            "PROXY TCP4 ::1 ::1 9 10",
            "PROXY TCP6 1.2.3.4 5.6.7.8 9 10",
            "PROXY TCP4  1.2.3.4 5.6.7.8 9 10",
            "PROXY UDP4 1.2.3.4 5.6.7.8 9 10",
            "PROXY ",
            "proxy UNKNOWN",
            "GET / HTTP/1.1",
        ] {
            assert_eq!(source(text), Err(NotProxyHeader), "{text}");
        }
        assert_eq!(parse(b"PROXY UNKNOWN\n"), Err(NotProxyHeader));
        assert_eq!(
            parse(format!("PROXY UNKNOWN {}", "x".repeat(93)).as_bytes()),
            Err(NotProxyHeader)
        );
    }

    #[test]
    fn blocks() {
        let four = [1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x34, 0, 80];
        let source = |bytes: &[u8]| parse(bytes).map(|header| header.expect("whole").source);
        let address = "1.2.3.4:4660".parse().ok();
        assert_eq!(source(&block_of(0x21, 0x11, &four)), Ok(address));
        assert_eq!(source(&block_of(0x21, 0x11, &[&four[..], &[0xea; 40]].concat())), Ok(address));
        assert_eq!(source(&block_of(0x20, 0x11, &four)), Ok(None));
        assert_eq!(source(&block_of(0x20, 0, &[])), Ok(None));
        let six = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0, 7, 0, 80]].concat();
        assert_eq!(source(&block_of(0x21, 0x21, &six)), Ok("[::1]:7".parse().ok()));
        assert_eq!(source(&block_of(0x21, 0x31, &[0; 216])), Ok(None));
        for bytes in [
            block_of(0x21, 0x11, &four[..11]),
            block_of(0x21, 0x21, &six[..35]),
            block_of(0x22, 0x11, &four),
            block_of(0x11, 0x11, &four),
            block_of(0x21, 0x12, &four),
            block_of(0x21, 0x11, &[0; 4097]),
        ] {
            assert_eq!(parse(&bytes), Err(NotProxyHeader), "{bytes:?}");
        }
    }
}
