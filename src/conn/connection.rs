//! [`Connection`]: the state of one peer, without what its application keeps.
//!
//! At rest a connection owns no heap memory: outbox and stash exist only while they hold bytes.

use std::net::SocketAddr;

use super::{Compression, Peer};
use crate::{
    base::{Outbox, Tick},
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
    /// Why nothing is read at present.
    pub pauses: Pauses,
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
    /// Whether the request at hand has a state of its own, apart from the connection.
    pub has_exchange: bool,
    /// Whether a header of the PROXY protocol has to come first.
    pub expects_proxy_header: bool,
    /// Whether a ping has been sent and nothing was heard since.
    pub is_pinged: bool,
    /// Whether the peer has ended its direction.
    pub is_peer_ended: bool,
    /// Whether the application is to be told when everything has left.
    pub owes_drain: bool,
    /// Whether the application has begun a message in fragments and not ended it.
    pub is_fragmenting: bool,
    // Invariant: `None`, or not empty.
    pub(super) outbox: Option<Box<Outbox>>,
    // Received bytes that have not been decoded yet. Invariant: `None`, or not empty.
    #[allow(clippy::box_collection, reason = "8 bytes instead of 24 where there is none")]
    pub(super) stash: Option<Box<Vec<u8>>>,
    // The turn of the last send.
    pub(super) sent_in_turn: u32,
    // Whether the kernel has refused bytes; `Writable` will come.
    pub(super) is_blocked: bool,
    // Whether so much has been produced that decoding waits until the kernel has taken it.
    pub(super) is_full: bool,
    // Whether the reactor has been told to pause.
    pub(super) is_paused: bool,
    pub(super) is_shut_down: bool,
    // Whether the key is in the list of those to look at at the end of the turn...
    pub(super) is_dirty: bool,
    // ...and of those to look at when their sends have settled.
    pub(super) is_awaited: bool,
}

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

/// Reasons not to read. While there is one, nothing is decoded either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The application wishes it.
    pub application: bool,
    /// Too many control frames.
    pub throttled: bool,
}

impl Connection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn accepted(peer: Option<SocketAddr>, now: Tick, deadline: Tick) -> Self {
        Self {
            protocol: Protocol::Http(http::Decoder::default()),
            stage: Stage::Http,
            pauses: Pauses::default(),
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
            has_exchange: false,
            expects_proxy_header: false,
            is_pinged: false,
            is_peer_ended: false,
            owes_drain: false,
            is_fragmenting: false,
            outbox: None,
            stash: None,
            sent_in_turn: 0,
            is_blocked: false,
            is_full: false,
            is_paused: false,
            is_shut_down: false,
            is_dirty: false,
            is_awaited: false,
        }
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
        self.is_blocked
    }

    /// Whether received bytes may be decoded now.
    #[inline]
    #[must_use]
    pub fn may_decode(&self) -> bool {
        !self.is_blocked
            && !self.is_full
            && !self.pauses.application
            && !self.pauses.throttled
            && matches!(self.stage, Stage::Http | Stage::WebSocket | Stage::Closing)
    }

    /// Whether what arrives is decoded, now or later.
    #[must_use]
    pub fn is_decoded(&self) -> bool {
        matches!(self.stage, Stage::Http | Stage::Answering | Stage::WebSocket | Stage::Closing)
    }

    /// Whether the reactor should not receive.
    pub(super) fn wants_pause(&self) -> bool {
        let Pauses { application, throttled } = self.pauses;
        let is_read = !matches!(self.stage, Stage::Ending);
        let is_held_up = self.is_blocked || application || throttled;
        is_read && (is_held_up || self.stashed_bytes() > MAX_STASH_BYTES)
    }

    /// Received bytes that wait to be decoded.
    #[inline]
    #[must_use]
    pub fn stashed_bytes(&self) -> usize {
        self.stash.as_ref().map_or(0, |stash| stash.len())
    }

    /// Takes what has been received and not been decoded.
    pub fn take_stash(&mut self) -> Option<Vec<u8>> {
        self.stash.take().map(|stash| *stash)
    }

    /// Keeps bytes to be decoded later, behind those that are kept already.
    pub fn stash(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.stash.get_or_insert_default().extend_from_slice(bytes);
        }
    }

    /// Keeps what is left of a stash that was taken, from byte `start` on. Nothing can have been
    /// stashed in between.
    pub fn stash_again(&mut self, mut bytes: Vec<u8>, start: usize) {
        bytes.drain(..start);
        if bytes.is_empty() {
            return;
        }
        debug_assert!(self.stash.is_none(), "what came later would stand before it");
        self.stash = Some(Box::new(bytes));
    }

    /// Bytes that wait to be sent, without those of the present turn's cork.
    #[inline]
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len())
    }
}

impl Protocol {
    /// Takes the decoder out for the time of its use.
    #[must_use]
    pub fn lend(&mut self) -> Self {
        std::mem::replace(self, Self::Lent)
    }
}

/// A connection with more than this to decode is not read from.
const MAX_STASH_BYTES: usize = 64 << 10;
