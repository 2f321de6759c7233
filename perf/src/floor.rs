//! An echo without any protocol, over the reactors of the library: what the kernel costs, whoever
//! speaks to it. What a server costs above this is its own.
//!
//! It does to bytes what a server cannot avoid: they are received into the reactor's buffer, and
//! copied once into what is sent.

use std::{io, mem};

use sockeye::{
    base::{Key, KeyedSlab, Outbox},
    reactor::{Address, Completion, Config, EpollReactor, Listener, Reactor, Socket, UringReactor},
};

use crate::{
    error::Error,
    options::{Kind, Serve},
};

/// Echoes until it is ended.
pub(crate) fn run(options: &Serve) -> Result<(), Error> {
    let failure = Error::io("cannot echo");
    let serve = || -> io::Result<()> {
        let address: Address = format!("{}:{}", options.host, options.port).parse()?;
        let listener = Listener::bind(&address, BACKLOG)?;
        println!("listening on {address} without a protocol");
        let config = Config::default();
        match options.kind {
            Kind::FloorUring => Floor::new(UringReactor::new(&config)?).run(listener),
            _ => Floor::new(EpollReactor::new(&config)?).run(listener),
        }
    };
    serve().map_err(failure)
}

struct Floor<R> {
    reactor: R,
    connections: KeyedSlab<Connection>,
    // Reused for every echo.
    echo: Outbox,
}

#[derive(Default)]
struct Connection {
    // What the kernel did not take.
    waiting: Outbox,
    is_blocked: bool,
}

impl<R: Reactor<Listener = Listener, Socket = Socket>> Floor<R> {
    fn new(reactor: R) -> Self {
        Self { reactor, connections: KeyedSlab::with_limit(1 << 20), echo: Outbox::default() }
    }

    fn run(mut self, listener: Listener) -> io::Result<()> {
        self.reactor.listen(0, listener)?;
        loop {
            self.reactor.wait(None)?;
            while let Some(completion) = self.reactor.next() {
                match completion {
                    Completion::Received { key, bytes } => {
                        self.echo.append(bytes);
                        self.send(key);
                    }
                    Completion::Accepted { socket, .. } => self.open(socket),
                    Completion::Unsent { key, rest, error: None } => self.block(key, rest),
                    Completion::Writable { key } => self.unblock(key),
                    Completion::Ended { key, .. } | Completion::Unsent { key, .. } => {
                        self.reactor.close(key);
                    }
                    Completion::Closed { key } => drop(self.connections.remove(key)),
                    Completion::AcceptFailed { error, .. } => return Err(error),
                    Completion::Woken => {}
                }
            }
        }
    }

    fn send(&mut self, key: Key) {
        match self.connections.get_mut(key) {
            Some(connection) if connection.is_blocked => {
                connection.waiting.append_outbox(mem::take(&mut self.echo));
            }
            _ => self.reactor.send(key, &mut self.echo),
        }
    }

    fn open(&mut self, socket: Socket) {
        if let Ok(key) = self.connections.insert_with(|_| Connection::default())
            && self.reactor.open(key, socket).is_err()
        {
            self.connections.remove(key);
        }
    }

    /// Who does not read is not read from.
    fn block(&mut self, key: Key, rest: Outbox) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.is_blocked = true;
            connection.waiting.append_outbox(rest);
            self.reactor.pause(key);
        }
    }

    fn unblock(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.is_blocked = false;
            self.reactor.send(key, &mut connection.waiting);
            self.reactor.resume(key);
        }
    }
}

const BACKLOG: i32 = 1024;
