//! Floor 5: what users touch, and the [`Worker`] that ties one core together.
//!
//! ```text
//! Server ──▶ Worker<R> ──▶ Service ──▶ handlers ──▶ WebSocket, Context ──▶ Core
//!            reactor       routes                   what they may do       connections, topics
//! Remote ──▶ letters ──▶
//! ```

#![forbid(unsafe_code)]
// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

mod auth;
mod backend;
mod body_source;
mod body_writer;
mod builder;
mod compression;
mod config;
mod context;
mod core;
mod counted_time;
mod deflation;
mod delivery;
mod endpoint;
mod error;
mod event;
mod files;
mod handler;
mod http_handler;
mod leftovers;
mod limits;
mod page;
mod prepared;
mod proxies;
mod remote;
mod request;
mod responder;
mod response;
mod send_status;
mod server;
mod service;
mod socket_id;
mod stats;
mod upgrade;
mod websocket;
mod worker;

pub use self::core::Core;
pub use auth::{BasicAuth, BearerAuth, TicketError, Tickets};
pub use backend::Backend;
pub use body_source::BodySource;
pub use body_writer::{BodyWriter, WriteError};
pub use builder::App;
pub use compression::{CompressionConfig, Compressor, Decompressor};
pub use config::{Origin, WebSocketConfig};
pub use context::{Close, Context};
pub use error::{Error, Result};
pub use event::{Event, EventStream};
pub use files::Files;
pub use handler::{OnMessage, WebSocketHandler, on_message};
pub use http_handler::{HttpExchange, HttpHandler, Reply};
pub use limits::Limits;
pub use prepared::Prepared;
pub use proxies::Proxies;
pub use remote::{Remote, SendError};
pub use request::Request;
pub use responder::Responder;
pub use response::Response;
pub use send_status::{Dropped, SendStatus};
pub use server::{Running, Server};
pub use service::{Audit, Service};
pub use socket_id::SocketId;
pub use stats::Stats;
pub use upgrade::{PendingUpgrade, Upgrade};
pub use websocket::WebSocket;
pub use worker::Worker;
