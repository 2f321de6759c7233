//! What a server promises, shown on every backend.
//!
//! Each module is a topic. How a scenario becomes tests is said in `support`.
//!
//! ```text
//! cargo test --test server life::uring              one topic on one backend
//! SIM_SEED=n cargo test --test server faults        all of them, with the faults of this seed
//! SOCKEYE_LONG=1 cargo test --test server reused    a million sockets in the same places
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "peers are ordinary")]

#[path = "../support/mod.rs"]
mod support;

mod backpressure;
mod big;
mod compressed;
mod exchanges;
mod held_up;
mod http;
mod ids;
mod leftovers;
mod life;
mod limits;
mod listeners;
mod misuse;
mod remote;
mod shutdown;
mod splits;
mod table;
mod topics;
mod upgrade;
mod written;
