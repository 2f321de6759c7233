//! WebSocket and HTTP servers that spend little: one reactor per core, io_uring or epoll,
//! callbacks, publish/subscribe.
//!
//! ```no_run
//! use sockeye::{App, Message, Request, Server, Status, Upgrade, WebSocket, WebSocketHandler};
//!
//! struct Chat;
//!
//! impl WebSocketHandler for Chat {
//!     type Data = String; // Kept per socket, typed, not boxed.
//!
//!     fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
//!         match request.query("name") {
//!             Some(name) => Upgrade::accept(name.into_owned()),
//!             None => Upgrade::reject(Status::BAD_REQUEST),
//!         }
//!     }
//!     fn open(&mut self, socket: &mut WebSocket<'_, String>) {
//!         socket.subscribe("lobby").ok();
//!     }
//!     fn message(&mut self, socket: &mut WebSocket<'_, String>, message: Message<'_>) {
//!         socket.publish("lobby", message);
//!     }
//! }
//!
//! fn main() -> sockeye::Result<()> {
//!     // The closure is called once on each core: handlers need no `Send` and no locks.
//!     Server::new(|| App::new().websocket("/chat", Chat)).listen("127.0.0.1:9001").run()
//! }
//! ```
//!
//! # How the parts meet
//!
//! ```text
//!            one worker per core, nothing shared between them on the way of a message
//!          ┌───────────────────────────────────────────────────────────────────────────┐
//! sockets  │ Reactor ──bytes──▶ Decoder ──Message<'_>──▶ your handler ──send──▶ cork ─┐ │
//!  ◀───────│    ▲      (in place, unmasked, checked)         │                       │ │
//!          │    └──────────────── one send per receive ──────┼───────────────────────┘ │
//!          │                                                 └─publish─▶ Topics ─────┐ │
//!          │    one send per subscriber at the end of the turn ◀──────────────────────┤ │
//!          └──────────────────────────────────────────────────────────────────────────┼─┘
//!  other workers ◀──────────────────────── mailbox ◀──────────────────────────────────┘
//!  your threads  ─── Remote ─▶ mailbox
//! ```
//!
//! - [`Server`] has the settings and starts the workers; [`Running`] is a server at work.
//! - [`App`] has the routes: [`WebSocketHandler`]s, and closures that answer a [`Request`] with a
//!   [`Response`].
//! - [`WebSocket`] is an open socket, lent to its handler. [`SocketId`] names it from elsewhere,
//!   [`Remote`] reaches it from any thread, [`Context`] from the same worker.
//! - [`WebSocketConfig`] and [`Limits`] bound what a peer can cost, [`Stats`] count what it did.
//!
//! # What a handler may rely on
//!
//! - It is called on one thread, for one event at a time. Nothing re-enters it.
//! - A [`Message`] is complete, unmasked and, if it is text, valid UTF-8. It is lent from the
//!   receive buffer: the borrow checker keeps it from being kept.
//! - What it sends in one call leaves in one send, in order. What is published leaves at the end
//!   of the turn, in one send per subscriber, and stays in order with what is sent.
//! - `open` and `close` come in pairs. After `close` a [`SocketId`] is inert for ever.
//! - A panic costs the socket at hand (1011), not the worker.
//!
//! # Where to look in the source
//!
//! Six floors, imports downward only: `base` and `simd`; the protocols `http`, `ws` and `pubsub`,
//! which do no I/O; `reactor`, which knows no protocol; `conn`; `cluster` and `client`; `app`.
//! `ARCHITECTURE.md` tells the way of a message through them.

#![warn(missing_docs)]

#[doc(hidden)]
pub mod app;
#[doc(hidden)]
pub mod base;
pub mod client;
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
    App, Backend, BasicAuth, BearerAuth, BodySource, BodyWriter, Close, CompressionConfig,
    Compressor, Context, Decompressor, Dropped, Error, Event, EventStream, Files, HttpExchange,
    HttpHandler, Limits, OnMessage, Origin, PendingUpgrade, Prepared, Proxies, Remote, Reply,
    Request, Responder, Response, Result, Running, SendError, SendStatus, Server, SocketId, Stats,
    TicketError, Tickets, Upgrade, WebSocket, WebSocketConfig, WebSocketHandler, WriteError,
    on_message,
};
pub use http::{
    Limits as HttpLimits, Multipart, MultipartError, Part, PartHead, ResponseError, Status,
    Trailers,
};
pub use pubsub::{Error as TopicError, Limits as TopicLimits};
pub use reactor::Address;
pub use ws::{CloseCode, Message, OriginError};

/// Keeps the README's example compiling.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
