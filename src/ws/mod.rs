//! WebSocket without I/O (RFC 6455): bytes in, events and bytes out, for both roles.
//!
//! Reading: [`Decoder`] turns received bytes into [`Event`]s, unmasked and checked in place.
//! Writing: [`append_frame`], [`append_close`] and [`frame()`]. Opening: [`Opening`] and [`Origin`]
//! for servers, [`ClientHandshake`] for clients. The closing handshake is its user's: this floor
//! says what arrived, and writes what it is told to.

#![forbid(unsafe_code)]
// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

mod client;
mod close;
mod decoder;
pub mod deflate;
mod encoder;
mod error;
mod frame;
mod limits;
mod message;
mod opcode;
mod opening;
mod origin;
mod partial;

pub use client::{ClientHandshake, ClientHandshakeError, ClientRequest};
pub use close::CloseCode;
pub use decoder::{Decoder, Event, Role, Step};
pub(crate) use encoder::append_header;
pub use encoder::{
    append_close, append_deflated, append_frame, frame, frame_deflated, framed_length,
    framed_payload,
};
pub use error::Error;
pub use frame::{EncodedHeader, FrameHeader};
pub use limits::Limits;
pub use message::Message;
pub use opcode::Opcode;
pub use opening::{Accept, HandshakeError, Opening, append_accept};
pub use origin::{Origin, OriginError};
