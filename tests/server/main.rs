//! What a server promises, shown on every backend.
//!
//! Each module is a topic. How a scenario becomes tests is said in `support`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "peers are ordinary")]

#[path = "../support/mod.rs"]
mod support;

mod backpressure;
mod big;
mod compressed;
mod http;
mod ids;
mod life;
mod limits;
mod listeners;
mod misuse;
mod remote;
mod shutdown;
mod topics;
mod upgrade;
