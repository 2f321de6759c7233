//! [`Audit`]: what a worker holds, for tests that want to see all of it given back.

use super::Service;
use crate::{app::Stats, conn::Protocol};

/// How much of everything a worker holds. All counts are zero when every peer has gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audit {
    /// Slots of connections, closed ones whose sockets have not gone yet included.
    pub connections: usize,
    /// Deadlines: whether there is one.
    pub has_timers: bool,
    /// Bytes gathered for a connection, and not sent.
    pub corked_bytes: usize,
    /// What frames and messages of WebSockets hold that are not complete, in bytes.
    pub incomplete_bytes: usize,
    /// Exchanges under way: bodies, and answers that come later.
    pub waiting: usize,
    /// Sockets that handlers keep data for.
    pub socket_data: usize,
    /// Subscribers of topics.
    pub subscribers: usize,
    /// Topics, those that only other workers want included.
    pub topics: usize,
    /// Addresses with connections.
    pub addresses: usize,
    /// What handlers have not been told, connections to look at, messages to be delivered.
    pub pending: usize,
}

impl Service {
    /// What the worker holds now.
    #[doc(hidden)]
    #[must_use]
    pub fn audit(&self) -> Audit {
        let core = &self.core;
        let outgoing: usize = core.outgoing.iter().map(Vec::len).sum();
        let untold = core.farewells.len() + core.dropped.len() + core.resumed.len();
        let unsettled = usize::from(core.connections.is_awaiting());
        let incomplete =
            core.connections.keys().filter_map(|key| match &core.connections.get(key)?.protocol {
                Protocol::WebSocket(decoder) => Some(decoder.held_bytes()),
                _ => None,
            });
        let undelivered = usize::from(core.topics.has_pending());
        Audit {
            connections: core.connections.len(),
            has_timers: core.connections.next_expiry().is_some(),
            corked_bytes: core.connections.corked_bytes(),
            incomplete_bytes: incomplete.sum(),
            waiting: self.exchanges.len(),
            socket_data: self.routes.iter().map(|route| route.data_count()).sum(),
            subscribers: core.topics.len(),
            topics: core.topics.topic_count(),
            addresses: core.connections_by_address.len(),
            pending: outgoing + untold + unsettled + undelivered,
        }
    }

    /// The counts as of now.
    #[doc(hidden)]
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.core.stats
    }
}
