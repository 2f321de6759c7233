//! [`Address`] and [`Listener`]: where a server listens, and the sockets that do.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    os::fd::{AsRawFd, RawFd},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use socket2::{Domain, Protocol, SockAddr, Socket as Socket2, Type};

use super::Socket;

/// Where to listen or to connect: `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let invalid = |why: &str| {
            let form = "write HOST:PORT, [IPV6]:PORT or unix:PATH";
            let text = format!("'{text}' is no address ({why}): {form}");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        match text.strip_prefix("unix:") {
            // The kernel would choose an abstract name, which nobody knows.
            Some("") => return Err(invalid("the path is missing")),
            Some(path) => return Ok(Self::Unix(path.into())),
            None if text.contains("://") => return Err(invalid("it has a scheme")),
            None if text.starts_with(':') => {
                return Err(invalid("the host is missing, which is 0.0.0.0 for all interfaces"));
            }
            None => {}
        }
        let mut found = text.to_socket_addrs().map_err(|error| invalid(&error.to_string()))?;
        found.next().map(Self::Tcp).ok_or_else(|| invalid("the host has no address"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket of the kernel.
///
/// TCP listeners are made with SO_REUSEPORT, one for each worker, and the kernel spreads the
/// connections. Unix sockets have no such thing: workers share one, by [`Listener::share`].
#[derive(Debug)]
pub struct Listener {
    socket: Socket2,
    address: Address,
    // The last of those who share a path removes it.
    path: Option<Arc<BoundPath>>,
}

impl Listener {
    /// Binds and listens. Accepted sockets inherit TCP_NODELAY.
    ///
    /// The kernel caps `backlog` at `net.core.somaxconn`. A Unix path where nobody listens any
    /// more is taken over.
    ///
    /// # Errors
    /// `AddrInUse`, `PermissionDenied`, `AddrNotAvailable`, or what else the kernel says.
    pub fn bind(address: &Address, backlog: i32) -> io::Result<Self> {
        match address {
            Address::Tcp(tcp) => Self::bind_tcp(*tcp, backlog),
            Address::Unix(path) => Self::bind_unix(path, backlog),
        }
    }

    fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        let socket = Socket2::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, address: Address::Tcp(bound), path: None })
    }

    fn bind_unix(path: &Path, backlog: i32) -> io::Result<Self> {
        let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let target = SockAddr::unix(path)?;
        if let Err(error) = socket.bind(&target) {
            if error.kind() == io::ErrorKind::AddrInUse && !is_socket(path) {
                let text = "something that is no socket is there already";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            if error.kind() != io::ErrorKind::AddrInUse || !is_abandoned(&target) {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            socket.bind(&target)?;
        }
        socket.listen(backlog)?;
        let bound = Arc::new(BoundPath(path.into()));
        Ok(Self { socket, address: Address::Unix(path.into()), path: Some(bound) })
    }

    /// Whether somebody listens at this port already. With SO_REUSEPORT a bind would succeed
    /// beside another process of the same user, and take half of its connections.
    ///
    /// # Errors
    /// The one that a bind without SO_REUSEPORT gives.
    pub fn probe(address: &Address) -> io::Result<()> {
        let Address::Tcp(tcp) = address else { return Ok(()) };
        let socket = Socket2::new(Domain::for_address(*tcp), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&(*tcp).into())
    }

    /// Another handle of the same socket, for another worker.
    ///
    /// # Errors
    /// If descriptors have run out.
    pub fn share(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket, address: self.address.clone(), path: self.path.clone() })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Connects, and waits for that. For clients that have the time.
///
/// # Errors
/// If nobody answers.
pub fn connect(address: &Address) -> io::Result<Socket> {
    let socket = match address {
        Address::Tcp(tcp) => {
            let socket = Socket2::new(Domain::for_address(*tcp), Type::STREAM, None)?;
            socket.set_tcp_nodelay(true)?;
            socket.connect(&(*tcp).into())?;
            socket
        }
        Address::Unix(path) => {
            let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
            socket.connect(&SockAddr::unix(path)?)?;
            socket
        }
    };
    Ok(Socket::from(std::os::fd::OwnedFd::from(socket)))
}

/// The file of a Unix socket.
#[derive(Debug)]
struct BoundPath(PathBuf);

impl Drop for BoundPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// Whether a socket stands there that nobody listens at any more.
fn is_abandoned(target: &SockAddr) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    // Without waiting: whoever lets others wait is there.
    let probe = Socket2::new(Domain::UNIX, Type::STREAM.nonblocking(), None);
    probe.is_ok_and(|probe| probe.connect(target).is_err_and(refused))
}
