//! Calls that wait, for clients that have the time. Reactors never make them.

use std::{
    io::{self, IoSlice, Read},
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use socket2::{Domain, SockAddr, SockRef, Socket as Socket2, Type};

use super::{Address, Socket, sys};

/// How to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connecting {
    /// How long to wait for the peer, now and in every call that waits; `None`: for as long as the
    /// kernel does.
    pub timeout: Option<Duration>,
    /// The local address to connect from. Give it port 0: the kernel chooses one, anew for each
    /// peer.
    pub from: Option<SocketAddr>,
}

impl Connecting {
    /// Connects, and waits for that.
    ///
    /// # Errors
    /// If nobody answers, or not in time (`TimedOut`).
    pub fn connect(&self, address: &Address) -> io::Result<Socket> {
        let (socket, peer) = match address {
            Address::Tcp(tcp) => {
                let socket = Socket2::new(Domain::for_address(*tcp), Type::STREAM, None)?;
                socket.set_tcp_nodelay(true)?;
                (socket, SockAddr::from(*tcp))
            }
            Address::Unix(path) => {
                (Socket2::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?)
            }
        };
        if let (Some(from), Address::Tcp(_)) = (self.from, address) {
            sys::bind_without_port(socket.as_raw_fd())?;
            socket.bind(&from.into())?;
        }
        if self.timeout.is_some() {
            socket.set_read_timeout(self.timeout)?;
            // On Linux this bounds the connecting as well.
            socket.set_write_timeout(self.timeout)?;
        }
        match socket.connect(&peer) {
            Err(error) if is_timeout(&error) => Err(io::ErrorKind::TimedOut.into()),
            result => result.map(|()| Socket::from(OwnedFd::from(socket))),
        }
    }
}

impl Socket {
    /// How long the calls below may wait. `None`: for ever.
    ///
    /// # Errors
    /// If the time is zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let socket = SockRef::from(self);
        socket.set_read_timeout(timeout)?;
        socket.set_write_timeout(timeout)
    }

    /// Waits for bytes. Zero means that the peer has ended its direction.
    ///
    /// # Errors
    /// `WouldBlock` if the time is over; otherwise see `recv(2)`.
    pub fn receive_blocking(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = SockRef::from(self);
        loop {
            match (&*socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Waits until the kernel has taken some of the bytes; returns how many.
    ///
    /// # Errors
    /// `WouldBlock` if the time is over; otherwise see `sendmsg(2)`.
    pub fn send_blocking(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = SockRef::from(self);
        loop {
            match socket.send_vectored_with_flags(pieces, libc::MSG_NOSIGNAL) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Ends the sending direction.
    pub fn end_sending(&self) {
        sys::shutdown(self.as_raw_fd());
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EAGAIN))
}
