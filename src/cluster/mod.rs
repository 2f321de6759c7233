//! Floor 4: beyond one core. [`Mailbox`] is how workers, and threads of the application, reach
//! another worker.

#![forbid(unsafe_code)]
// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

mod mailbox;

pub use mailbox::{Full, Mailbox};
