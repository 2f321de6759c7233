//! [`Wire`]: the generator's sockets, by number, over a reactor.
//!
//! Keeps what the kernel does not take until it does, and knows when a number may be used again.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use sockeye::{
    base::{Key, Outbox, Shared},
    reactor::{Address, Completion, Connecting, Reactor, Socket},
};

use crate::Error;

/// All sockets of the generator.
#[derive(Debug)]
pub(crate) struct Wire<R> {
    reactor: R,
    address: Address,
    sources: usize,
    slots: Vec<Slot>,
    open: usize,
    // Sockets that have room for what waits.
    writable: Vec<Key>,
}

#[derive(Debug)]
struct Slot {
    key: Key,
    is_open: bool,
    // What waits for the socket to have room. `None`: it has, as far as we know.
    waiting: Option<Box<Outbox>>,
}

/// What has happened to a socket.
pub(crate) enum Event<'a> {
    Received {
        index: usize,
        bytes: &'a mut [u8],
    },
    /// The server has ended the connection, in an orderly way if there is no error.
    Ended {
        index: usize,
        error: Option<io::Error>,
    },
    /// The number may be used again.
    Closed {
        index: usize,
    },
    /// Nothing of interest.
    Nothing,
}

impl<R: Reactor<Socket = Socket>> Wire<R> {
    /// No sockets yet; they will connect from so many local addresses.
    pub(crate) fn new(reactor: R, address: Address, sources: usize) -> Self {
        Self { reactor, address, sources, slots: Vec::new(), open: 0, writable: Vec::new() }
    }

    /// Where sockets connect to from now on.
    pub(crate) fn set_address(&mut self, address: Address) {
        self.address = address;
    }

    /// Connects number `index`, which must not be in use. Waits for that.
    pub(crate) fn connect(&mut self, index: usize) -> Result<(), Error> {
        let connecting = Connecting { timeout: Some(CONNECT_TIMEOUT), from: self.source(index) };
        let explain = |error| {
            let address = self.address.clone();
            Error::Connect { address, open: self.open, error }
        };
        let socket = connecting.connect(&self.address).map_err(explain)?;
        while self.slots.len() <= index {
            let key = Key::new(u32::try_from(self.slots.len()).unwrap_or(u32::MAX), 0);
            self.slots.push(Slot { key, is_open: false, waiting: None });
        }
        let slot = &mut self.slots[index];
        slot.is_open = true;
        self.open += 1;
        let key = slot.key;
        self.reactor.open(key, socket).map_err(|error| {
            let address = self.address.clone();
            Error::Connect { address, open: self.open, error }
        })
    }

    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        for key in self.writable.drain(..) {
            let slot = &mut self.slots[key.index()];
            if slot.is_open
                && slot.key == key
                && let Some(mut waiting) = slot.waiting.take()
            {
                self.reactor.send(key, &mut waiting);
            }
        }
        Ok(self.reactor.wait(timeout)?)
    }

    /// Time since the begin, as of the last `wait`.
    pub(crate) fn now(&self) -> Duration {
        self.reactor.now()
    }

    /// What has happened, until nothing more has.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Event<'_>> {
        Some(match self.reactor.next()? {
            Completion::Received { key, bytes } => {
                let index = key.index();
                match self.slots.get(index) {
                    Some(slot) if slot.is_open && slot.key == key => {
                        Event::Received { index, bytes }
                    }
                    _ => Event::Nothing,
                }
            }
            Completion::Ended { key, error } => match self.slots.get(key.index()) {
                Some(slot) if slot.is_open => Event::Ended { index: key.index(), error },
                _ => Event::Nothing,
            },
            Completion::Unsent { key, rest, error } => {
                let slot = &mut self.slots[key.index()];
                match error {
                    _ if !slot.is_open => Event::Nothing,
                    None => {
                        slot.waiting.get_or_insert_default().append_outbox(rest);
                        Event::Nothing
                    }
                    // What the server sent before comes first, and tells more.
                    Some(_) => Event::Nothing,
                }
            }
            Completion::Writable { key } => {
                self.writable.push(key);
                Event::Nothing
            }
            Completion::Closed { key } => {
                let slot = &mut self.slots[key.index()];
                slot.key = Key::new(
                    u32::try_from(key.index()).unwrap_or(u32::MAX),
                    key.generation().wrapping_add(1),
                );
                Event::Closed { index: key.index() }
            }
            Completion::Accepted { .. } | Completion::AcceptFailed { .. } | Completion::Woken => {
                Event::Nothing
            }
        })
    }

    /// Sends bytes that are sent again and again.
    #[inline]
    pub(crate) fn send_shared(&mut self, index: usize, bytes: &Shared) {
        let slot = &mut self.slots[index];
        match &mut slot.waiting {
            None if slot.is_open => self.reactor.send_shared(slot.key, bytes),
            Some(waiting) => waiting.push_shared(bytes.clone(), 0),
            None => {}
        }
    }

    /// Sends everything in the outbox.
    pub(crate) fn send(&mut self, index: usize, outbox: &mut Outbox) {
        let slot = &mut self.slots[index];
        match &mut slot.waiting {
            None if slot.is_open => self.reactor.send(slot.key, outbox),
            Some(waiting) => waiting.append_outbox(std::mem::take(outbox)),
            None => outbox.clear(),
        }
    }

    /// Reads no more from this connection, or reads again.
    pub(crate) fn set_paused(&mut self, index: usize, is_paused: bool) {
        let slot = &self.slots[index];
        match is_paused {
            _ if !slot.is_open => {}
            true => self.reactor.pause(slot.key),
            false => self.reactor.resume(slot.key),
        }
    }

    /// Ends our direction. Nothing may wait to be sent.
    pub(crate) fn shutdown(&mut self, index: usize) {
        let slot = &self.slots[index];
        if slot.is_open {
            self.reactor.shutdown(slot.key);
        }
    }

    /// Closes the connection. `Closed` follows.
    pub(crate) fn close(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if std::mem::replace(&mut slot.is_open, false) {
            self.open -= 1;
            slot.waiting = None;
            self.reactor.close(slot.key);
        }
    }

    /// Connections from one address are numbered by its ports, and those are few. On the loopback
    /// network every address 127.x.y.z is ours.
    fn source(&self, index: usize) -> Option<SocketAddr> {
        let Address::Tcp(SocketAddr::V4(peer)) = &self.address else { return None };
        if !peer.ip().is_loopback() || self.sources < 2 {
            return None;
        }
        let number = u32::try_from(index % self.sources).ok()?;
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number);
        Some(SocketAddr::new(IpAddr::V4(ip), 0))
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
