//! WebSocket and HTTP servers: thread per core, io_uring or epoll, publish/subscribe.

#![warn(missing_docs)]

#[doc(hidden)]
pub mod app;
#[doc(hidden)]
pub mod base;
#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod conn;
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

pub use app::{
    App, Backend, Close, Context, Dropped, Error, Limits, OnMessage, Origin, PendingUpgrade,
    Prepared, Remote, Request, Response, Result, Running, SendError, SendStatus, Server, SocketId,
    Stats, Upgrade, WebSocket, WebSocketConfig, WebSocketHandler, on_message,
};
pub use http::{Limits as HttpLimits, Status};
pub use pubsub::{Error as TopicError, Limits as TopicLimits};
pub use reactor::Address;
pub use ws::{CloseCode, Message, OriginError};
