//! WebSocket and HTTP servers: thread per core, io_uring or epoll, publish/subscribe.

#![warn(missing_docs)]

#[doc(hidden)]
pub mod base;
pub mod client;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod pubsub;
#[doc(hidden)]
pub mod reactor;
#[doc(hidden)]
pub mod simd;
#[doc(hidden)]
pub mod ws;
