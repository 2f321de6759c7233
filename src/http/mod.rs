//! HTTP/1.1 without I/O (RFC 9110, RFC 9112): bytes in, events and bytes out.

mod fields;

pub use fields::{Fields, Repeated};
