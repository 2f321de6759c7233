//! What a server promises, shown on every backend.
//!
//! Each module is a topic. How a scenario becomes tests is said in `support`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod backpressure;
mod life;
mod topics;
