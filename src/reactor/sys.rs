//! The system calls that both kernel backends make: sockets, the clock, the wake-up.
//!
//! Each function wraps one call and turns `errno` into `io::Error`. Nothing here decides anything.

use std::{
    ffi::CStr,
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

/// A connected socket. Dropping it closes the connection.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// The peer's address; `None` for a Unix socket, or if the connection is gone.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        // SAFETY: a `sockaddr_storage` may be all zero bytes.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut len = SOCKADDR_STORAGE_LEN;
        // SAFETY: both pointers are valid for writes, and `len` says how much `storage` holds.
        let result =
            unsafe { libc::getpeername(self.as_raw_fd(), (&raw mut storage).cast(), &raw mut len) };
        (result == 0).then(|| address(&storage))?
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Takes over a descriptor that the ring has accepted.
///
/// # Safety
/// - `fd` is open, and owned by nobody else.
pub(super) unsafe fn own(fd: RawFd) -> Socket {
    // SAFETY: the caller's promise.
    Socket(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Accepts one connection, `close-on-exec`. The socket blocks, but no call here lets it.
///
/// # Errors
/// `WouldBlock` if none is waiting; otherwise see `accept(2)`.
pub(super) fn accept(listener: RawFd) -> io::Result<(Socket, Option<SocketAddr>)> {
    // SAFETY: a `sockaddr_storage` may be all zero bytes.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut len = SOCKADDR_STORAGE_LEN;
    // SAFETY: both pointers are valid for writes, and `len` says how much `storage` holds.
    let fd = unsafe {
        libc::accept4(listener, (&raw mut storage).cast(), &raw mut len, libc::SOCK_CLOEXEC)
    };
    let fd = check(fd as isize)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok((unsafe { own(fd as RawFd) }, address(&storage)))
}

/// Receives what is there, without waiting. Zero means that the peer has ended its direction.
///
/// # Errors
/// `WouldBlock` if nothing is there; otherwise see `recv(2)`.
pub(super) fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for writes of its length.
    check(unsafe {
        libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
    })
}

/// Receives behind what `bytes` holds, without waiting and without growing it: at most `max`.
///
/// # Errors
/// `WouldBlock` if there is nothing; otherwise see `recv(2)`.
pub(super) fn receive_behind(socket: RawFd, bytes: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    let room = bytes.spare_capacity_mut();
    let length = room.len().min(max);
    // SAFETY: the room is valid for writes of its length, which is not exceeded.
    let count =
        check(unsafe { libc::recv(socket, room.as_mut_ptr().cast(), length, libc::MSG_DONTWAIT) })?;
    // SAFETY: the kernel has written so many bytes behind the length, inside of the capacity.
    unsafe { bytes.set_len(bytes.len() + count) };
    Ok(count)
}

/// Sends what there is room for, without waiting.
///
/// # Errors
/// `WouldBlock` if there is no room; otherwise see `send(2)`.
pub(super) fn send(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the bytes are valid for reads of their length.
    check(unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), SEND_FLAGS) })
}

/// Sends what there is room for of several pieces, without waiting.
///
/// # Errors
/// `WouldBlock` if there is no room; otherwise see `sendmsg(2)`.
pub(super) fn send_vectored(socket: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a `msghdr` may be all zero bytes: no name, no pieces, no control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    // `IoSlice` has the layout of `iovec`; the kernel only reads.
    header.msg_iov = pieces.as_ptr().cast_mut().cast();
    header.msg_iovlen = pieces.len();
    // SAFETY: the header points to pieces that live until the call returns.
    check(unsafe { libc::sendmsg(socket, &raw const header, SEND_FLAGS) })
}

/// Ends the sending direction.
pub(super) fn shutdown(socket: RawFd) {
    // SAFETY: takes no pointers. A failure means that the connection is gone already.
    unsafe { libc::shutdown(socket, libc::SHUT_WR) };
}

/// Lets the port be chosen by `connect`, so that it need be free for that one peer only.
///
/// # Errors
/// If this is no IP socket.
pub(super) fn bind_without_port(socket: RawFd) -> io::Result<()> {
    let one: libc::c_int = 1;
    // SAFETY: the option's value is valid for reads of the size given.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const one).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result as isize).map(drop)
}

/// Restricts the calling thread to one processor.
///
/// # Errors
/// If the process may not run there.
pub fn pin_thread(processor: usize) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` may be all zero bytes: the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if processor >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the processor's number is inside of the set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: the set is valid for reads of the size given; 0 is the calling thread.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    check(result as isize).map(drop)
}

/// The processors that the calling thread may run on, in order.
#[must_use]
pub fn allowed_processors() -> Vec<usize> {
    // SAFETY: a `cpu_set_t` may be all zero bytes: the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid for writes of the size given; 0 is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        return Vec::new();
    }
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the processor's number is inside of the set.
        .filter(|processor| unsafe { libc::CPU_ISSET(*processor, &set) })
        .collect()
}

/// An `eventfd`: a descriptor that becomes readable when it is written to.
#[derive(Debug)]
pub(super) struct EventFd(OwnedFd);

impl EventFd {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd =
            check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } as isize)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Makes it readable.
    pub(super) fn signal(&self) {
        let one = 1_u64;
        // SAFETY: eight bytes are valid for reads. A failure means that the count is at its
        // maximum, so that it is readable already.
        unsafe { libc::write(self.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes it unreadable again.
    pub(super) fn reset(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes are valid for writes. A failure means that the count was zero.
        unsafe { libc::read(self.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The monotonic clock, from a begin on.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows zero.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the clock was started.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Has the allocator give memory that was freed back to the machine, if it is glibc's: of its own
/// accord it gives only what is free at the end of its heap.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Seconds since 1970, for the `Date` field.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn unix_time() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// Bytes from the kernel's source of randomness.
///
/// # Errors
/// If there is no such source.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the bytes are valid for writes of their length.
    let count = check(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) })?;
    if count == N { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Opens a file below a folder for reading. Neither `..` nor a symbolic link leads out of the
/// folder, whatever happens to the tree meanwhile: the kernel resolves the path, and sees to it.
///
/// # Errors
/// `EXDEV` for a way out, `ENOSYS` or `EPERM` where the call is not to be had (before Linux 5.6);
/// otherwise see `openat2(2)`.
pub fn open_beneath(folder: &impl AsRawFd, path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: an `open_how` may be all zero bytes.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    // Without waiting, so that a pipe among the files does not hold up its reader.
    how.flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path ends with NUL, and `how` is valid for reads of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            folder.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    let fd = check(result as isize)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a `sockaddr_in`, which is smaller.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a `sockaddr_in6`, which is smaller.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // A peer over IPv4 is one, even if an IPv6 socket has accepted it.
            Some(SocketAddr::new(ip.to_canonical(), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

#[allow(clippy::cast_sign_loss, reason = "negative results are errors")]
fn check(result: isize) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

/// `MSG_NOSIGNAL`: a broken pipe is a result, not a signal.
pub(super) const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
#[allow(clippy::cast_possible_truncation, reason = "128")]
const SOCKADDR_STORAGE_LEN: libc::socklen_t = size_of::<libc::sockaddr_storage>() as u32;
