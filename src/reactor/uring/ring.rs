//! [`Ring`]: the queues shared with the kernel. What it needs of the kernel, and how it is entered.

use std::{io, os::fd::AsRawFd, time::Duration};

use io_uring::{IoUring, opcode, squeue, types};

use super::super::{MAX_RECEIVE_AHEAD, buffers, sys};

/// A ring that may do everything the reactor asks for.
pub(super) struct Ring {
    ring: IoUring,
    bounds_receives: bool,
}

/// How to enter the kernel. Each submits everything that is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enter {
    /// And nothing else.
    Submit,
    /// And lets it finish what it can at once.
    Poll,
    /// And waits for a completion, for so long at most.
    Wait(Option<Duration>),
}

/// A completion as it is in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reaped {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// What a completion is of: the top byte of its `user_data`. The rest is a key or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Operation {
    Receive,
    Send,
    Accept,
    Writable,
    Wake,
    Cancel,
}

impl Operation {
    pub(in super::super) fn tag(self, payload: u64) -> u64 {
        debug_assert_eq!(payload & !PAYLOAD, 0);
        (self as u64) << 56 | payload
    }
}

impl Reaped {
    pub(super) fn operation(self) -> Operation {
        match self.user_data >> 56 {
            0 => Operation::Receive,
            1 => Operation::Send,
            2 => Operation::Accept,
            3 => Operation::Writable,
            4 => Operation::Wake,
            _ => Operation::Cancel,
        }
    }

    pub(super) fn payload(self) -> u64 {
        self.user_data & PAYLOAD
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring(bounds receives: {})", self.bounds_receives)
    }
}

impl Ring {
    /// `spins`: whether [`Ring::has_news`] will be asked, which costs the kernel a little.
    pub(super) fn new(spins: bool) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_clamp();
        if spins {
            builder.setup_taskrun_flag();
        }
        let mut ring = builder
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)
            .map_err(|error| explain("a ring with DEFER_TASKRUN (Linux 6.1)", &error))?;
        let parameters = ring.params();
        let features = [
            (parameters.is_feature_nodrop(), "NODROP"),
            (parameters.is_feature_ext_arg(), "EXT_ARG"),
            (parameters.is_feature_fast_poll(), "FAST_POLL"),
            (parameters.is_feature_skip_cqe_on_success(), "CQE_SKIP"),
        ];
        if let Some((_, name)) = features.iter().find(|(has, _)| !has) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("lacks {name}")));
        }
        probe_operations(&ring)?;
        let _ = ring.submitter().register_ring_fd();
        let bounds_receives = probe_bounded_receive(&mut ring).unwrap_or(false);
        Ok(Self { ring, bounds_receives })
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Behaves as older kernels do, which cannot bound receives.
    pub(super) fn forget_bounds(&mut self) {
        self.bounds_receives = false;
    }

    /// Whether the next entry has to wait for a submission.
    pub(super) fn is_full(&mut self) -> bool {
        self.ring.submission().is_full()
    }

    pub(super) fn push(&mut self, entry: &squeue::Entry) -> Result<(), squeue::PushError> {
        // SAFETY: descriptors and memory in an entry outlive its operation: sends end while they
        // are submitted, and `Batch` keeps their bytes until then; receives and polls hold no
        // memory of ours but the buffer ring; a descriptor is closed after the last completion
        // of the operations on it.
        unsafe { self.ring.submission().push(entry) }
    }

    pub(super) fn pop(&mut self) -> Option<Reaped> {
        self.ring.completion().next().map(|entry| Reaped {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        })
    }

    pub(super) fn enter(&mut self, how: Enter) -> io::Result<usize> {
        match how {
            Enter::Submit => self.ring.submit(),
            Enter::Poll => {
                let queued = self.queued() as u32;
                let submitter = self.ring.submitter();
                // SAFETY: no argument is passed, and the count is that of the queue.
                unsafe { submitter.enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) }
            }
            Enter::Wait(None) => self.ring.submit_and_wait(1),
            Enter::Wait(Some(timeout)) => {
                let timeout = types::Timespec::from(timeout);
                let args = types::SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(1, &args)
            }
        }
    }

    /// Submissions that the kernel has not taken.
    pub(super) fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Whether the kernel has taken every submission, and keeps no completion back.
    pub(super) fn is_drained(&mut self) -> bool {
        let submissions = self.ring.submission();
        submissions.is_empty() && !submissions.cq_overflow()
    }

    /// Whether [`Enter::Poll`] would bring a completion. Asks no kernel.
    pub(super) fn has_news(&mut self) -> bool {
        self.ring.submission().taskrun() || !self.ring.completion().is_empty()
    }

    /// A receive that goes on until it is cancelled, the buffers run out, or there were so many
    /// bytes that its socket's owner should see them first.
    pub(super) fn multishot_receive(&self, fd: types::Fd) -> squeue::Entry {
        let mut receive = opcode::RecvMulti::new(fd, buffers::GROUP).build();
        if self.bounds_receives {
            limit_multishot(&mut receive, MAX_RECEIVE_AHEAD as u32);
        }
        receive
    }

    /// Ends all operations, so that the kernel lets go of memory and sockets now. By itself it
    /// tears a ring down later, in the background.
    pub(super) fn cancel_all(&mut self) {
        let all = types::CancelBuilder::any();
        let submitter = self.ring.submitter();
        let _ = submitter.register_sync_cancel(Some(types::Timespec::new().sec(1)), all);
        // SAFETY: no argument is passed. Nothing is submitted; what was cancelled finishes.
        let _ = unsafe { submitter.enter::<libc::sigset_t>(0, 0, ENTER_GETEVENTS, None) };
    }
}

fn probe_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        (opcode::RecvMulti::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        (opcode::AcceptMulti::CODE, "ACCEPT"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        // Came with Linux 6.0, as multishot receives did, which have no probe of their own.
        (opcode::SendZc::CODE, "SEND_ZC"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => {
            let text = format!("lacks the operation {name} (Linux 6.0)");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
        None => Ok(()),
    }
}

/// Whether a multishot receive can be told to end after so many bytes (Linux 6.17). Asked with a
/// receive on a descriptor that is no socket: EINVAL comes from an unknown field, before that.
fn probe_bounded_receive(ring: &mut IoUring) -> io::Result<bool> {
    let file = sys::EventFd::new()?;
    let mut receive = opcode::RecvMulti::new(types::Fd(file.as_raw_fd()), buffers::GROUP).build();
    limit_multishot(&mut receive, 1);
    // SAFETY: the descriptor outlives the operation, which fails while it is submitted.
    unsafe { ring.submission().push(&receive) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map(|entry| entry.result());
    Ok(result == Some(-libc::ENOTSOCK))
}

/// Ends a multishot receive after `bytes`: the field `optlen`, which the crate does not name.
fn limit_multishot(entry: &mut squeue::Entry, bytes: u32) {
    const OPTLEN: usize = 44;
    const { assert!(size_of::<squeue::Entry>() == 64) };
    let field = (&raw mut *entry).cast::<u8>();
    // SAFETY: inside of the entry, which has the layout of the kernel's `io_uring_sqe`.
    let field = unsafe { field.add(OPTLEN) };
    // SAFETY: four bytes at an offset that is a multiple of four; any value is valid.
    unsafe { field.cast::<u32>().write(bytes) };
}

/// Whether `io_uring_enter` may succeed when it is called again.
pub(super) fn is_passing(error: &io::Error) -> bool {
    // EBUSY: completions have to be reaped first. EAGAIN: memory is short. ETIME: the timeout.
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME))
}

pub(super) fn explain(what: &str, error: &io::Error) -> io::Error {
    // Nothing of io_uring's: whoever runs out of them is told so.
    if let Some(code @ (libc::EMFILE | libc::ENFILE)) = error.raw_os_error() {
        return io::Error::from_raw_os_error(code);
    }
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => ": forbidden here (container policy or kernel.io_uring_disabled)",
        Some(libc::ENOMEM) => ": raise the limit on locked memory (ulimit -l)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("io_uring: {what}: {error}{hint}"))
}

const PAYLOAD: u64 = (1 << 56) - 1;
pub(super) const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 4096;
/// `IORING_ENTER_GETEVENTS`, which the crate keeps to itself.
const ENTER_GETEVENTS: u32 = 1;
