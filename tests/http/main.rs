//! The HTTP side of a server, end to end, on every backend that this machine has.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "the peers are ordinary blocking sockets")]
#![allow(clippy::disallowed_methods, reason = "the tests wait for a server in real time")]

mod auth;
mod bed;
mod deadlines;
mod events;
mod exchanges;
mod files;
mod panics;
mod proxies;
mod routes;
