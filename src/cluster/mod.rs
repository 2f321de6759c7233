//! Floor 4: beyond one core. [`Mailbox`] is how workers, and threads of the application, reach
//! another worker.

#![forbid(unsafe_code)]

mod mailbox;

pub use mailbox::{Full, Mailbox};
