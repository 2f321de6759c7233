//! Floor 3: where bytes meet protocol. A [`Connection`] is what a worker knows of one peer: what
//! it speaks, what waits to be sent and to be read, and until when. [`Connections`] holds them
//! all, and tells the reactor what they need.

#![forbid(unsafe_code)]
// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

mod compression;
mod connection;
mod connections;
mod flags;
mod held;
mod peer;

pub use compression::Compression;
pub use connection::{Connection, Protocol, Stage};
pub use connections::{Connections, FULL_TURN_BYTES};
pub use flags::Flags;
pub use peer::Peer;
