//! HTTP/1.1 without I/O (RFC 9110, RFC 9112): bytes in, events and bytes out.
//!
//! Reading: [`Decoder`] turns received bytes into [`Event`]s, one request after the other.
//! Routing: [`Router`] finds what a path and method mean. Writing: [`ResponseWriter`] appends
//! responses to an outbox. [`ResponseHeadDecoder`] reads the one head that a client needs.

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

#[cfg(test)]
mod cases;
mod chunked;
mod date;
mod decoder;
mod error;
mod fields;
mod framing;
#[cfg(test)]
mod grammar;
mod head;
mod head_buffer;
mod head_lines;
mod limits;
mod multipart;
mod percent;
mod proxy_header;
mod query;
mod response;
mod response_head;
mod router;
mod status;
mod target;
mod token;
mod trailers;

pub use date::Date;
pub use decoder::{Decoder, Event, Step};
pub use error::Error;
#[cfg(test)]
pub(crate) use fields::Lines as FieldLines;
pub use fields::{Fields, HeaderSlots, Repeated};
pub use framing::BodyLength;
pub use head::{RequestHead, Version};
pub use limits::{Limits, LimitsError};
pub use multipart::{Multipart, MultipartError, Part, PartHead};
pub use percent::{PercentError, decode};
pub use proxy_header::{NotProxyHeader, ProxyHeader};
pub use query::{pairs, query};
pub use response::{BodySize, Coding, Exchange, ResponseError, ResponseWriter};
pub use response_head::{ResponseHead, ResponseHeadDecoder, ResponseStep};
pub use router::{MAX_PARAMETERS, Match, NoMatch, Parameters, RouteError, Router};
pub use status::Status;
pub use target::Target;
pub(crate) use target::is_host;
pub(crate) use token::{is_field_value, is_token};
pub use trailers::Trailers;
