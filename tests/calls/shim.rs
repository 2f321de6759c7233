//! The calls of the C library by which a server reaches the kernel, defined anew: the N-th one of a
//! kind fails as a test wants it, all others go through.
//!
//! What an executable defines comes before what its libraries do, so that the standard library,
//! mio and io-uring use these. Only calls of a server's threads count: of the workers, and of the
//! test's own thread while it says so ([`as_server`]). Of the ring, what is submitted counts too:
//! the N-th submission of a kind is turned into one that does nothing but fail.

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_long, c_uint, c_void},
    ptr,
    sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Call {
    None,
    Accept,
    Bind,
    Close,
    EpollControl,
    EpollCreate,
    EpollWait,
    EventFd,
    Fcntl,
    Listen,
    Map,
    Open,
    PeerName,
    Read,
    ReadAt,
    Receive,
    RingEnter,
    RingRegister,
    RingSetup,
    Send,
    SetOption,
    Shutdown,
    Socket,
    SocketName,
    Stat,
    Thread,
    Write,
    // Submissions.
    SubmitAccept,
    SubmitPoll,
    SubmitReceive,
    SubmitSend,
}

/// Instead of an error: the call does a part of what it is asked for.
pub(crate) const SHORT: i32 = -1;

static CALL: AtomicU32 = AtomicU32::new(0);
static ERROR: AtomicI32 = AtomicI32::new(0);
static LEFT: AtomicU64 = AtomicU64::new(0);
static FIRED: AtomicBool = AtomicBool::new(false);
static LASTS: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_SERVER: Cell<bool> = const { Cell::new(false) };
    static RING: Cell<Option<SubmissionQueue>> = const { Cell::new(None) };
}

/// From now on the N-th call of this kind fails.
pub(crate) fn fail(call: Call, nth: u64, error: i32) {
    CALL.store(0, Ordering::SeqCst);
    FIRED.store(false, Ordering::SeqCst);
    LASTS.store(false, Ordering::SeqCst);
    ERROR.store(error, Ordering::SeqCst);
    LEFT.store(nth, Ordering::SeqCst);
    CALL.store(call as u32, Ordering::SeqCst);
}

/// From now on the N-th call of this kind fails, and every one after it.
pub(crate) fn fail_from(call: Call, nth: u64, error: i32) {
    fail(call, nth, error);
    LASTS.store(true, Ordering::SeqCst);
}

/// Nothing fails any more. Whether something has.
pub(crate) fn relent() -> bool {
    CALL.store(0, Ordering::SeqCst);
    LASTS.store(false, Ordering::SeqCst);
    FIRED.load(Ordering::SeqCst)
}

/// How many calls there have been.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::SeqCst)
}

/// Runs a function whose calls count.
pub(crate) fn as_server<T>(function: impl FnOnce() -> T) -> T {
    IS_SERVER.set(true);
    let result = function();
    IS_SERVER.set(false);
    result
}

/// The error of this call, if it is the one that has to fail.
fn verdict(call: Call) -> Option<i32> {
    if !is_server() {
        return None;
    }
    CALLS.fetch_add(1, Ordering::SeqCst);
    if CALL.load(Ordering::SeqCst) != call as u32 {
        return None;
    }
    let lasts = LASTS.load(Ordering::SeqCst) && FIRED.load(Ordering::SeqCst);
    if !lasts && LEFT.fetch_sub(1, Ordering::SeqCst) != 1 {
        return None;
    }
    FIRED.store(true, Ordering::SeqCst);
    Some(ERROR.load(Ordering::SeqCst))
}

fn is_server() -> bool {
    if !IS_SERVER.get() {
        let mut name = [0_u8; 16];
        // SAFETY: 16 bytes are valid for writes, which is what this call wants.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        if !name.starts_with(b"sockeye-") {
            return false;
        }
        IS_SERVER.set(true);
    }
    true
}

fn set_errno(error: i32) {
    // SAFETY: always valid for this thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: a valid pointer.
    unsafe { *errno = error };
}

/// The C library's own function.
fn original(cache: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let mut found = cache.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name is a C string.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?} is not there");
        cache.store(found, Ordering::Relaxed);
    }
    found
}

/// Calls the C library's own function.
macro_rules! original {
    ($name:ident($($arg:ident: $type:ty),*) -> $result:ty) => {{
        static ORIGINAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
        let name = concat!(stringify!($name), "\0");
        let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap();
        let found = original(&ORIGINAL, name);
        type Function = unsafe extern "C" fn($($type),*) -> $result;
        // SAFETY: the function of this name has this signature; those with a variable number of
        // arguments take so many integers in the same registers.
        let function = unsafe { std::mem::transmute::<*mut c_void, Function>(found) };
        // SAFETY: the arguments are the caller's.
        unsafe { function($($arg),*) }
    }};
}

/// Calls that return -1 when they fail, and do nothing then.
macro_rules! calls {
    ($($call:ident: fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {$(
        /// # Safety
        /// - That of the function of this name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            if let Some(error) = verdict(Call::$call) {
                set_errno(error);
                return -1;
            }
            original!($name($($arg: $type),*) -> $result)
        }
    )*};
}

calls! {
    Accept: fn accept4(fd: c_int, to: *mut c_void, len: *mut c_uint, flags: c_int) -> c_int;
    Bind: fn bind(fd: c_int, address: *const c_void, len: c_uint) -> c_int;
    EpollControl: fn epoll_ctl(fd: c_int, op: c_int, of: c_int, event: *mut c_void) -> c_int;
    EpollCreate: fn epoll_create1(flags: c_int) -> c_int;
    EpollWait: fn epoll_wait(fd: c_int, events: *mut c_void, n: c_int, timeout: c_int) -> c_int;
    EventFd: fn eventfd(count: c_uint, flags: c_int) -> c_int;
    Fcntl: fn fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int;
    Listen: fn listen(fd: c_int, backlog: c_int) -> c_int;
    PeerName: fn getpeername(fd: c_int, to: *mut c_void, len: *mut c_uint) -> c_int;
    Read: fn read(fd: c_int, to: *mut c_void, len: usize) -> isize;
    Receive: fn recv(fd: c_int, to: *mut c_void, len: usize, flags: c_int) -> isize;
    SetOption: fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void,
        len: c_uint) -> c_int;
    Shutdown: fn shutdown(fd: c_int, how: c_int) -> c_int;
    Socket: fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    SocketName: fn getsockname(fd: c_int, to: *mut c_void, len: *mut c_uint) -> c_int;
    Stat: fn statx(fd: c_int, path: *const c_char, flags: c_int, mask: c_uint,
        to: *mut c_void) -> c_int;
    Write: fn write(fd: c_int, from: *const c_void, len: usize) -> isize;
}

/// # Safety
/// - That of the function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(fd: c_int, to: *mut c_void, len: usize, at: i64) -> isize {
    let mut len = len;
    match verdict(Call::ReadAt) {
        Some(SHORT) => len = len.min(1),
        Some(error) => {
            set_errno(error);
            return -1;
        }
        None => {}
    }
    original!(pread64(fd: c_int, to: *mut c_void, len: usize, at: i64) -> isize)
}

/// # Safety
/// - That of the function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn send(fd: c_int, from: *const c_void, len: usize, flags: c_int) -> isize {
    let mut len = len;
    match verdict(Call::Send) {
        Some(SHORT) => len = len.min(1),
        Some(error) => {
            set_errno(error);
            return -1;
        }
        None => {}
    }
    original!(send(fd: c_int, from: *const c_void, len: usize, flags: c_int) -> isize)
}

/// # Safety
/// - That of the function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> isize {
    match verdict(Call::Send) {
        Some(SHORT) => {
            // SAFETY: the caller's message.
            let mut one = unsafe { *message };
            one.msg_iovlen = one.msg_iovlen.min(1);
            let message = &raw const one;
            return original!(sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int)
                -> isize);
        }
        Some(error) => {
            set_errno(error);
            return -1;
        }
        None => {}
    }
    original!(sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> isize)
}

/// Linux closes the descriptor even if it says that something went wrong.
///
/// # Safety
/// - That of the function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    let verdict = verdict(Call::Close);
    let result = original!(close(fd: c_int) -> c_int);
    let Some(error) = verdict else { return result };
    set_errno(error);
    -1
}

/// # Safety
/// - That of the function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut c_void,
    attributes: *const c_void,
    start: *const c_void,
    argument: *mut c_void,
) -> c_int {
    if let Some(error) = verdict(Call::Thread) {
        return error;
    }
    original!(pthread_create(thread: *mut c_void, attributes: *const c_void,
        start: *const c_void, argument: *mut c_void) -> c_int)
}

/// # Safety
/// - That of the function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    // Those without a file are stacks of signal handlers, of the standard library.
    if fd >= 0
        && let Some(error) = verdict(Call::Map)
    {
        set_errno(error);
        return libc::MAP_FAILED;
    }
    let memory = original!(mmap(at: *mut c_void, len: usize, protection: c_int, flags: c_int,
        fd: c_int, offset: i64) -> *mut c_void);
    if let Some(ring) = RING.get()
        && ring.fd == fd
    {
        RING.set(Some(match offset {
            QUEUE_OFFSET => SubmissionQueue { queue: memory, ..ring },
            ENTRIES_OFFSET => SubmissionQueue { entries: memory, ..ring },
            _ => ring,
        }));
    }
    memory
}

/// # Safety
/// - That of the function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let call = match number {
        libc::SYS_io_uring_setup => Call::RingSetup,
        libc::SYS_io_uring_register => Call::RingRegister,
        libc::SYS_io_uring_enter => Call::RingEnter,
        libc::SYS_openat2 => Call::Open,
        _ => Call::None,
    };
    if call != Call::None
        && let Some(error) = verdict(call)
    {
        set_errno(error);
        return -1;
    }
    if call == Call::RingEnter
        && b > 0
        && let Some(ring) = RING.get()
    {
        RING.set(Some(ring.look()));
    }
    let result = original!(syscall(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long,
        e: c_long, f: c_long) -> c_long);
    if call == Call::RingSetup && result >= 0 {
        // SAFETY: the kernel has just filled in these parameters.
        RING.set(Some(unsafe { SubmissionQueue::new(result, b as *const u32) }));
    }
    result
}

/// The queue of submissions of a thread's ring.
#[derive(Clone, Copy)]
struct SubmissionQueue {
    fd: c_int,
    queue: *mut c_void,
    entries: *mut c_void,
    // Where head, tail, mask and the array of indices stand in `queue`.
    offsets: [u32; 4],
    // Submissions before this one have been looked at.
    seen: u32,
}

impl SubmissionQueue {
    /// # Safety
    /// - `parameters` are those of `io_uring_setup` after it has succeeded.
    unsafe fn new(fd: c_long, parameters: *const u32) -> Self {
        // `sq_off` comes after ten numbers: head, tail, ring_mask, ring_entries, flags, dropped,
        // array.
        // SAFETY: all of this is inside of the parameters.
        let offset = |number: usize| unsafe { *parameters.wrapping_add(10 + number) };
        let offsets = [offset(0), offset(1), offset(2), offset(6)];
        let (queue, entries) = (ptr::null_mut(), ptr::null_mut());
        Self { fd: fd as c_int, queue, entries, offsets, seen: 0 }
    }

    fn number(&self, offset: u32) -> u32 {
        let at = self.queue.cast::<u8>().wrapping_add(offset as usize).cast::<u32>();
        // SAFETY: the kernel has said that a number stands there.
        let number = unsafe { AtomicU32::from_ptr(at) };
        number.load(Ordering::Acquire)
    }

    /// Looks at what is about to be submitted, and lets it fail if it is its turn.
    fn look(mut self) -> Self {
        let [_, tail, mask, array] = self.offsets;
        let (tail, mask) = (self.number(tail), self.number(mask));
        while self.seen != tail {
            let index = self.number(array + 4 * (self.seen & mask));
            self.seen = self.seen.wrapping_add(1);
            let entry = self.entries.cast::<u8>().wrapping_add(64 * index as usize);
            // SAFETY: an entry of 64 bytes, which only this thread uses until it is submitted.
            let entry = unsafe { &mut *entry.cast::<[u8; 64]>() };
            let call = match entry[0] {
                6 => Call::SubmitPoll,
                13 => Call::SubmitAccept,
                26 => Call::SubmitSend,
                27 => Call::SubmitReceive,
                _ => continue,
            };
            if let Some(error) = verdict(call) {
                refuse(entry, error);
            }
        }
        self
    }
}

/// Makes a submission one of IORING_OP_NOP with IORING_NOP_INJECT_RESULT (Linux 6.10). Its
/// `user_data` stays, and whether it has a completion when it succeeds.
fn refuse(entry: &mut [u8; 64], error: i32) {
    const SKIP_SUCCESS: u8 = 1 << 6;
    let (flags, user_data) = (entry[1] & SKIP_SUCCESS, entry[32..40].to_vec());
    entry.fill(0);
    entry[1] = flags;
    entry[24..28].copy_from_slice(&(-error).to_ne_bytes());
    entry[28] = 1;
    entry[32..40].copy_from_slice(&user_data);
}

const QUEUE_OFFSET: i64 = 0;
const ENTRIES_OFFSET: i64 = 0x1000_0000;
