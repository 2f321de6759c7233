//! [`Service`]: what one worker serves: its routes and handlers around a [`Core`].
//!
//! Everything here is independent of the reactor. `exchange` answers requests, `active` those that
//! take longer, `handshake` those for WebSockets; `frames` brings events of WebSockets to their
//! handlers, `written` sends what other threads write, `letters` does what these ask for, `expiry`
//! what time asks for.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use super::{
    App, Core, Limits, Remote, WebSocketConfig,
    deflation::Deflation,
    endpoint::{Endpoint, Place},
    page::Page,
};
use crate::{
    base::Key,
    conn::{Connection, Flags, Protocol, Stage},
    http::{Date, HeaderSlots, ProxyHeader, RequestHead, RouteError, Router},
    ws::{self, CloseCode},
};

mod active;
mod audit;
mod exchange;
mod expiry;
mod frames;
mod handshake;
mod letters;
mod written;

use active::Active;
pub use audit::Audit;

/// The routes of a worker, and the state that their handlers share.
pub struct Service {
    pub(super) core: Core,
    // WebSocket routes, and the limits of their decoders.
    routes: Vec<Box<dyn Endpoint>>,
    decoding: Vec<ws::Limits>,
    pages: Vec<Page>,
    // What paths mean: for all hosts, and for each of `hosts` in their order.
    sites: Vec<Site>,
    hosts: Vec<String>,
    // Of connections whose request is not answered when its head has been read.
    exchanges: HashMap<Key, Box<Active>>,
    exchange_count: u64,
    // Bytes of bodies in `exchanges`.
    collected_bytes: usize,
    // A piece of a response in the making: empty between two calls.
    piece: Vec<u8>,
    date: Date,
    // Room for the fields of one head: empty while it is lent.
    slots: HeaderSlots,
    // What a shutdown has been asked to grant.
    pub(super) grace: Option<std::time::Duration>,
}

/// The routes of one host, as numbers.
#[derive(Default)]
struct Site {
    sockets: Router<u16>,
    paths: Router<u16>,
}

/// The site that a request is for.
#[inline]
fn site_of<'s>(sites: &'s [Site], hosts: &[String], head: &RequestHead<'_>) -> &'s Site {
    if hosts.is_empty() { &sites[0] } else { site_of_host(sites, hosts, head) }
}

#[inline(never)]
fn site_of_host<'s>(sites: &'s [Site], hosts: &[String], head: &RequestHead<'_>) -> &'s Site {
    // Without the port. The name is checked; an IPv6 address has its brackets.
    let host = head.host().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let found = hosts.iter().position(|host| host.eq_ignore_ascii_case(name));
    &sites[found.map_or(0, |index| index + 1)]
}

impl Service {
    /// # Errors
    /// A route or a setting with which a server cannot work, in words.
    pub fn new(app: App, remote: Remote, worker: u8, limits: Rc<Limits>) -> Result<Self, String> {
        if let Some(fault) = app.faults.into_iter().next() {
            return Err(fault);
        }
        let mut service = Self {
            core: Core::new(remote, worker, limits),
            routes: Vec::new(),
            decoding: Vec::new(),
            pages: Vec::new(),
            sites: Vec::new(),
            hosts: Vec::new(),
            exchanges: HashMap::new(),
            exchange_count: 0,
            collected_bytes: 0,
            piece: Vec::new(),
            slots: HeaderSlots::new(),
            date: Date::from_unix(0),
            grace: None,
        };
        service.core.proxies = app.proxies;
        service.add_site(app.sockets, app.pages)?;
        for (host, app) in app.hosts {
            if service.hosts.contains(&host) {
                return Err(format!("there are two apps for the host '{host}'"));
            }
            service.hosts.push(host);
            service.add_site(app.sockets, app.pages)?;
        }
        service.core.event_route = number(service.core.configs.len())?;
        service.core.configs.push(Rc::new(WebSocketConfig {
            max_backpressure: service.core.limits.max_event_backpressure,
            close_on_backpressure_limit: true,
            ..WebSocketConfig::default()
        }));
        Ok(service)
    }

    /// Adds the routes of one host.
    fn add_site(
        &mut self,
        sockets: Vec<(String, Box<dyn Endpoint>)>,
        pages: Vec<(Option<&'static str>, String, Page)>,
    ) -> Result<(), String> {
        let mut site = Site::default();
        for (pattern, endpoint) in sockets {
            let config = endpoint.config();
            config.check().map_err(|error| format!("WebSocket route '{pattern}': {error}"))?;
            self.decoding.push(config.limits());
            if config.compression.is_on() {
                let deflation = || Box::new(Deflation::new(config.compression));
                self.core.deflation.get_or_insert_with(deflation);
            }
            self.core.configs.push(Rc::clone(config));
            site.sockets.any(&pattern, number(self.routes.len())?).map_err(explain)?;
            self.routes.push(endpoint);
        }
        for (method, pattern, page) in pages {
            let number = number(self.pages.len())?;
            match method {
                Some(method) => site.paths.add(method, &pattern, number),
                None => site.paths.any(&pattern, number),
            }
            .map_err(explain)?;
            self.pages.push(page);
        }
        self.sites.push(site);
        Ok(())
    }

    /// The date that responses have from now on.
    pub(super) fn set_date(&mut self, unix_seconds: u64) {
        self.date.update(unix_seconds);
    }

    /// Bytes have arrived. What is sent to this connection is corked, and left so.
    #[inline]
    pub(super) fn received(&mut self, key: Key, bytes: &mut [u8]) {
        self.core.stats.bytes_in += bytes.len() as u64;
        let now = self.core.connections.now();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.heard = now;
        connection.flags.remove(Flags::IS_PINGED);
        if connection.stashed_bytes() > 0 || !connection.may_decode() {
            if connection.flags.contains(Flags::EXPECTS_PROXY_HEADER) {
                self.core.resumed.push(key);
            }
            return self.keep(key, bytes);
        }
        let is_websocket = matches!(connection.protocol, Protocol::WebSocket(_));
        self.core.connections.cork(key);
        let done = match is_websocket {
            true => self.decode_frames(key, bytes),
            false => self.decode(key, bytes),
        };
        if done < bytes.len() {
            self.keep(key, &bytes[done..]);
        }
        self.say_farewells();
    }

    /// Where the next bytes of a large message can be received, and how many.
    #[inline]
    pub(super) fn room(&mut self, key: Key) -> Option<(&mut Vec<u8>, usize)> {
        let connection = self.core.connections.get_mut(key)?;
        if connection.stashed_bytes() > 0 || !connection.may_decode() {
            return None;
        }
        match &mut connection.protocol {
            Protocol::WebSocket(decoder) => decoder.room(),
            _ => None,
        }
    }

    /// So many bytes have been received into the room that was given away.
    pub(super) fn received_in_place(&mut self, key: Key, count: usize) {
        self.core.stats.bytes_in += count as u64;
        self.decode_frames(key, &mut []);
        self.say_farewells();
    }

    /// The peer will send no more; with an error, the connection is gone.
    pub(super) fn ended(&mut self, key: Key, error: Option<&std::io::Error>) {
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.flags.insert(Flags::IS_PEER_ENDED);
        if let Some(error) = error {
            let reason = error.to_string();
            self.core.abort(key, &reason);
        } else if connection.stashed_bytes() == 0 {
            self.end_of_input(key);
        }
        self.say_farewells();
    }

    /// Everything that was sent to this connection before this turn has left.
    pub(super) fn settled(&mut self, key: Key) {
        self.core.connections.touch(key);
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        if connection.flags.take(Flags::OWES_DRAIN) {
            let is_open = connection.is_open();
            let (route, place) = place(key, connection);
            if is_open {
                self.core.connections.cork(key);
                self.call(key, route, |endpoint, core| endpoint.drain(core, place));
            }
        }
        if self.core.connections.get(key).is_some_and(Connection::has_exchange) {
            self.core.connections.cork(key);
            self.pump(key);
        }
        self.go_on(key);
    }

    /// Decodes what has been kept, if that may be done now.
    pub(super) fn go_on(&mut self, key: Key) {
        if self.core.goes_on(key).is_none() {
            return;
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        let stash = connection.take_stash();
        // The end of a request may be all that is left of it.
        if stash.is_some() || connection.has_exchange() {
            let mut bytes = stash.unwrap_or_default();
            self.core.connections.cork(key);
            let done = self.decode(key, &mut bytes);
            if let Some(connection) = self.core.connections.get_mut(key) {
                connection.stash_again(bytes, done);
            }
        }
        self.core.connections.touch(key);
        let connection = self.core.connections.get(key);
        if connection
            .is_some_and(|c| c.flags.contains(Flags::IS_PEER_ENDED) && c.stashed_bytes() == 0)
        {
            self.end_of_input(key);
        }
        self.say_farewells();
    }

    /// Keeps bytes for later, if they can still mean something.
    fn keep(&mut self, key: Key, bytes: &[u8]) {
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        if connection.is_decoded() {
            connection.stash(bytes);
            self.core.connections.touch(key);
        }
    }

    /// Decodes a prefix of `input`, and returns its length. It is all of it, unless the
    /// connection may not go on.
    fn decode(&mut self, key: Key, input: &mut [u8]) -> usize {
        let Some(connection) = self.core.connections.get_mut(key) else { return input.len() };
        let mut done = 0;
        if let Protocol::Http(_) = connection.protocol {
            if connection.flags.contains(Flags::EXPECTS_PROXY_HEADER) {
                done = self.proxy_header(key, input);
                let connection = self.core.connections.get(key);
                if connection.is_none_or(|c| {
                    c.flags.contains(Flags::EXPECTS_PROXY_HEADER) || !c.may_decode()
                }) {
                    return done;
                }
            }
            done += self.decode_requests(key, &mut input[done..]);
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return input.len() };
        match connection.protocol {
            Protocol::WebSocket(_) if connection.may_decode() => {
                done + self.decode_frames(key, &mut input[done..])
            }
            Protocol::Lent => input.len(),
            _ => done,
        }
    }

    /// Takes the header of the PROXY protocol, once it is complete.
    #[cold]
    fn proxy_header(&mut self, key: Key, input: &[u8]) -> usize {
        let Ok(header) = ProxyHeader::parse(input) else {
            self.core.abort(key, "");
            return 0;
        };
        let Some(ProxyHeader { source, length }) = header else { return 0 };
        let Some(connection) = self.core.connections.get_mut(key) else { return length };
        connection.flags.remove(Flags::EXPECTS_PROXY_HEADER);
        if let Some(source) = source {
            let proxy = connection.peer.address();
            connection.peer = Some(source).into();
            // The limit is for clients, not for the proxy.
            self.release_address(proxy);
            if !self.admit_address(Some(source)) {
                self.core.stats.refused += 1;
                self.core.abort(key, "");
            }
        }
        length
    }

    /// Nothing more is to be decoded.
    fn end_of_input(&mut self, key: Key) {
        let Some(connection) = self.core.connections.get(key) else { return };
        match connection.stage {
            // A complete request whose response is under way: the end follows that.
            Stage::Http if connection.has_exchange() && is_at_end(&connection.protocol) => {}
            Stage::Http => self.core.end(key),
            // What would it do with a WebSocket?
            Stage::Answering if self.is_handshake(key) => {
                self.abandon(key);
                self.core.abort(key, "");
            }
            // RFC 9112 §9.6: it still reads. The end follows the response, if it has one.
            Stage::Answering => self.end_events(key),
            Stage::WebSocket | Stage::Closing => {
                self.core.lose(key, "the connection ended without a close frame");
            }
            Stage::Ending | Stage::Aborting | Stage::Closed => self.core.connections.touch(key),
        }
    }

    /// The reactor has said its last word on this connection.
    pub(super) fn closed(&mut self, key: Key) {
        if let Some(deflation) = &mut self.core.deflation {
            deflation.close(key);
        }
        if let Some(connection) = self.core.connections.get(key)
            && connection.has_exchange()
        {
            self.abandon(key);
        }
        if let Some(connection) = self.core.connections.remove(key) {
            self.release_address(connection.peer.address());
        }
    }

    /// Tells handlers of their closed sockets.
    pub(super) fn say_farewells(&mut self) {
        while !self.core.farewells.is_empty() {
            for farewell in std::mem::take(&mut self.core.farewells) {
                let route = farewell.route;
                self.call(farewell.key, route, |endpoint, core| endpoint.close(core, &farewell));
            }
        }
    }

    /// Tells handlers what their sockets did not get.
    pub(super) fn report_dropped(&mut self) {
        for (key, dropped) in std::mem::take(&mut self.core.dropped) {
            let Some(connection) = self.core.connections.get(key).filter(|c| c.is_open()) else {
                continue;
            };
            let (route, place) = place(key, connection);
            self.call(key, route, |endpoint, core| endpoint.dropped(core, place, dropped));
        }
    }

    /// Calls a handler. If it panics, its socket is closed with 1011, and the worker lives on.
    #[inline]
    fn call(&mut self, key: Key, route: u16, call: impl FnOnce(&mut dyn Endpoint, &mut Core)) {
        let Self { core, routes, .. } = self;
        let endpoint = &mut *routes[usize::from(route)];
        // What a handler leaves half done is its own; calls into the core are whole.
        if catch_unwind(AssertUnwindSafe(|| call(endpoint, core))).is_err() {
            note_panic(core, key);
        }
    }

    /// Counts a connection of this address, if there is room for it.
    pub(super) fn admit_address(&mut self, peer: Option<std::net::SocketAddr>) -> bool {
        let max = self.core.limits.max_connections_per_address;
        let Some(peer) = peer.filter(|_| max != usize::MAX) else { return true };
        let count = self.core.connections_by_address.entry(peer.ip()).or_default();
        let has_room = *count < max;
        *count += usize::from(has_room);
        has_room
    }

    /// Takes one back that was counted.
    pub(super) fn release_address(&mut self, peer: Option<std::net::SocketAddr>) {
        use std::collections::hash_map::Entry;
        let Some(peer) = peer else { return };
        if let Entry::Occupied(mut entry) = self.core.connections_by_address.entry(peer.ip()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Says that descriptors or memory have run out, once in a while.
    #[cold]
    pub(super) fn note_accept_error(&mut self, error: &std::io::Error) {
        let count = self.core.stats.accept_errors;
        if count.is_power_of_two() {
            let hint = "if descriptors have run out, raise `ulimit -n`";
            log::warn!(worker = self.core.worker, count; "accepting rests: {error}; {hint}");
        }
    }
}

fn is_at_end(protocol: &Protocol) -> bool {
    matches!(protocol, Protocol::Http(decoder) if decoder.is_at_end())
}

#[cold]
fn note_panic(core: &mut Core, key: Key) {
    core.stats.handler_panics += 1;
    log::error!(worker = core.worker, socket:? = key; "a handler panicked: its socket is closed");
    core.fail(key, CloseCode::INTERNAL_ERROR, "internal error");
}

fn place(key: Key, connection: &Connection) -> (u16, Place) {
    (connection.route, Place { key, slot: connection.slot })
}

fn number(count: usize) -> Result<u16, String> {
    u16::try_from(count).map_err(|_| "there are more than 65,535 routes".into())
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn explain(error: RouteError) -> String {
    error.to_string()
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("core", &self.core).finish_non_exhaustive()
    }
}
