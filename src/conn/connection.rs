//! [`Connection`]: the state of one peer, without what its application keeps.
//!
//! At rest a connection owns no heap memory, and it is small: there may be a million at rest.

use std::net::SocketAddr;

use super::{Compression, Flags, Peer, flags::Flow, held::Held};
use crate::{
    base::Tick,
    http::{self, Exchange},
    pubsub::SubscriberId,
    ws,
};

/// One peer, from accept to the reactor's last word on its socket.
#[derive(Debug)]
pub struct Connection {
    /// What it speaks.
    pub protocol: Protocol,
    /// How far it has come.
    pub stage: Stage,
    /// What is true of it.
    pub flags: Flags,
    /// When bytes last arrived, or left after having been refused.
    pub heard: Tick,
    /// When this stage, or the WebSocket's life, has to be over. [`Tick::NEVER`] for no such time.
    pub deadline: Tick,
    /// The registration with the topics, if it ever subscribed.
    pub subscriber: Option<SubscriberId>,
    /// The address of the other end.
    pub peer: Peer,
    /// The application's data of a WebSocket: an index among the data of its route.
    pub slot: u32,
    /// The WebSocket's route.
    pub route: u16,
    /// Control frames received within one second...
    pub control_frame_count: u16,
    /// ...and which one, modulo 65,536.
    pub control_frame_second: u16,
    /// The request that is being answered.
    pub exchange: Exchange,
    /// How messages of the WebSocket are compressed.
    pub compression: Compression,
    pub(super) flow: Flow,
    // What waits to be sent (the outbox), and to be decoded (the stash).
    pub(super) held: Held,
    // The turn of the last send.
    pub(super) sent_in_turn: u32,
}

const _: () = assert!(size_of::<Connection>() == 96);

/// What a connection speaks.
#[derive(Debug)]
pub enum Protocol {
    /// Requests.
    Http(http::Decoder),
    /// Frames.
    WebSocket(ws::Decoder),
    /// The decoder is in use, or nothing more is to be decoded.
    Lent,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Requests are read and answered.
    Http,
    /// A request waits for an answer that comes from elsewhere.
    Answering,
    /// The WebSocket is open.
    WebSocket,
    /// Our close frame is on its way, the peer's is awaited (RFC 6455 §7.1.2).
    Closing,
    /// The last byte to send is queued: when it has left, our direction is ended, and when the
    /// peer has ended its own, the socket is closed. What arrives is thrown away.
    Ending,
    /// The socket is to be closed at once.
    Aborting,
    /// The socket is closed. The slot waits for the reactor's last word.
    Closed,
}

impl Connection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn accepted(peer: Option<SocketAddr>, now: Tick, deadline: Tick) -> Self {
        Self {
            protocol: Protocol::Http(http::Decoder::default()),
            stage: Stage::Http,
            flags: Flags::default(),
            heard: now,
            deadline,
            subscriber: None,
            peer: peer.into(),
            slot: 0,
            route: 0,
            control_frame_count: 0,
            control_frame_second: 0,
            exchange: Exchange::FAULT,
            compression: Compression::default(),
            flow: Flow::default(),
            held: Held::default(),
            sent_in_turn: 0,
        }
    }

    /// Whether the request at hand has a state of its own, apart from the connection.
    #[must_use]
    pub fn has_exchange(&self) -> bool {
        self.flags.contains(Flags::HAS_EXCHANGE)
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::WebSocket
    }

    /// Whether what is published can be sent: to a WebSocket or an event stream.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        let is_stream = matches!(self.stage, Stage::Http | Stage::Answering);
        self.is_open() || is_stream && self.subscriber.is_some()
    }

    /// Whether the peer does not take what is sent.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.flow.contains(Flow::IS_BLOCKED)
    }

    /// Whether received bytes may be decoded now.
    #[inline]
    #[must_use]
    pub fn may_decode(&self) -> bool {
        !self.flow.intersects(Flow::IS_BLOCKED.union(Flow::IS_FULL))
            && !self.flags.intersects(Flags::PAUSES)
            && matches!(self.stage, Stage::Http | Stage::WebSocket | Stage::Closing)
    }

    /// Whether what arrives is decoded, now or later.
    #[must_use]
    pub fn is_decoded(&self) -> bool {
        matches!(self.stage, Stage::Http | Stage::Answering | Stage::WebSocket | Stage::Closing)
    }

    /// Whether the reactor should not receive.
    pub(super) fn wants_pause(&self) -> bool {
        let is_read = !matches!(self.stage, Stage::Ending);
        let is_held_up = self.is_blocked() || self.flags.intersects(Flags::PAUSES);
        is_read && (is_held_up || self.stashed_bytes() > self.max_stash_bytes())
    }

    /// With more than this to decode, nothing is received. One receive may come on top.
    fn max_stash_bytes(&self) -> usize {
        match self.stage {
            Stage::Http | Stage::Answering => MAX_STASHED_REQUEST_BYTES,
            _ => MAX_STASH_BYTES,
        }
    }

    /// Received bytes that wait to be decoded.
    #[inline]
    #[must_use]
    pub fn stashed_bytes(&self) -> usize {
        self.held.stashed_bytes()
    }

    /// Takes what has been received and not been decoded.
    pub fn take_stash(&mut self) -> Option<Vec<u8>> {
        self.held.take_stash()
    }

    /// Keeps bytes to be decoded later, behind those that are kept already.
    pub fn stash(&mut self, bytes: &[u8]) {
        self.held.stash(bytes);
    }

    /// Keeps what is left of a stash that was taken, from byte `start` on. Nothing can have been
    /// stashed in between.
    pub fn stash_again(&mut self, mut bytes: Vec<u8>, start: usize) {
        bytes.drain(..start);
        self.held.stash_again(bytes);
    }

    /// Bytes that wait to be sent, without those of the present turn's cork.
    #[inline]
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.held.queued_bytes()
    }
}

impl Protocol {
    /// Takes the decoder out for the time of its use.
    #[must_use]
    pub fn lend(&mut self) -> Self {
        std::mem::replace(self, Self::Lent)
    }
}

/// A WebSocket with more than this to decode is not read from.
const MAX_STASH_BYTES: usize = 64 << 10;
/// A connection with more than this of requests to decode is not read from: a client that does not
/// read its answers costs them and one receive. Not zero, because who is not read from is not seen
/// to go, which an answer that comes late would be told of.
const MAX_STASHED_REQUEST_BYTES: usize = 4 << 10;
