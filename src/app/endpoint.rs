//! [`Endpoint`]: a WebSocket route as the worker sees it. The one virtual call on the way of a
//! message ends here: below it everything knows the handler's type.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use super::{
    Close, Context, Core, Dropped, PendingUpgrade, Request, Response, SocketId, Upgrade, WebSocket,
    WebSocketConfig, WebSocketHandler,
    core::Farewell,
    upgrade::{Acceptance, AnyVerdict, Decision, Ticket, Verdict},
};
use crate::{
    base::{CompactSlab, Key},
    http::Status,
    ws::Message,
};

/// A route, its handler, and the data of its sockets.
pub(super) trait Endpoint {
    fn config(&self) -> &Rc<WebSocketConfig>;
    /// The handler, for functions that know its type.
    fn handler(&mut self) -> &mut dyn Any;
    fn upgrade(&mut self, request: &Request<'_>) -> Answer;
    /// Takes the verdict of a [`PendingUpgrade`].
    fn judge(&mut self, verdict: AnyVerdict) -> Answer;
    /// How many sockets there is data of.
    fn data_count(&self) -> usize;
    /// Forgets the data of a socket that could not be opened.
    fn discard(&mut self, slot: u32);
    fn open(&mut self, core: &mut Core, at: Place);
    fn message(&mut self, core: &mut Core, at: Place, message: Message<'_>);
    fn fragment(&mut self, core: &mut Core, at: Place, piece: Message<'_>, is_last: bool);
    fn ping(&mut self, core: &mut Core, at: Place, payload: &[u8]);
    fn pong(&mut self, core: &mut Core, at: Place, payload: &[u8]);
    fn drain(&mut self, core: &mut Core, at: Place);
    fn dropped(&mut self, core: &mut Core, at: Place, dropped: Dropped);
    fn close(&mut self, core: &mut Core, farewell: &Farewell);
}

/// A socket, and where its data is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) key: Key,
    pub(super) slot: u32,
}

/// What a route says to a client that asks for a WebSocket.
pub(super) enum Answer {
    Accept {
        slot: u32,
        protocol: Option<std::borrow::Cow<'static, str>>,
        headers: Vec<(std::borrow::Cow<'static, str>, std::borrow::Cow<'static, str>)>,
    },
    Reject(Response),
    Later(Box<dyn FnOnce(super::Remote, Ticket)>),
}

pub(super) struct Route<H: WebSocketHandler> {
    handler: H,
    config: Rc<WebSocketConfig>,
    data: CompactSlab<H::Data>,
}

impl<H: WebSocketHandler> Route<H> {
    pub(super) fn new(handler: H, config: WebSocketConfig) -> Self {
        Self { handler, config: Rc::new(config), data: CompactSlab::default() }
    }

    fn accept(&mut self, acceptance: Acceptance<H::Data>) -> Answer {
        let Acceptance { data, protocol, headers } = acceptance;
        Answer::Accept { slot: self.data.insert(data), protocol, headers }
    }

    /// Calls the handler with the socket at this place.
    fn with(
        &mut self,
        core: &mut Core,
        at: Place,
        call: impl FnOnce(&mut H, &mut WebSocket<'_, H::Data>),
    ) {
        let Some(data) = self.data.get_mut(at.slot) else { return };
        call(&mut self.handler, &mut WebSocket { core, key: at.key, data });
    }
}

impl<H: WebSocketHandler> Endpoint for Route<H> {
    fn config(&self) -> &Rc<WebSocketConfig> {
        &self.config
    }

    fn handler(&mut self) -> &mut dyn Any {
        &mut self.handler
    }

    fn upgrade(&mut self, request: &Request<'_>) -> Answer {
        let Upgrade(decision) = self.handler.upgrade(request);
        match decision {
            Decision::Accept(acceptance) => self.accept(acceptance),
            Decision::Reject(response) => Answer::Reject(response),
            Decision::Later(start) => Answer::Later(Box::new(|remote, ticket| {
                start(PendingUpgrade::new(remote, ticket));
            })),
        }
    }

    fn judge(&mut self, verdict: AnyVerdict) -> Answer {
        match verdict.downcast::<Verdict<H::Data>>().map(|verdict| *verdict) {
            Ok(Verdict::Accept(acceptance)) => self.accept(acceptance),
            Ok(Verdict::Reject(response)) => Answer::Reject(response),
            Err(_) => Answer::Reject(Response::of_status(Status::INTERNAL_SERVER_ERROR)),
        }
    }

    fn data_count(&self) -> usize {
        self.data.len()
    }

    fn discard(&mut self, slot: u32) {
        let data = self.data.remove(slot);
        // A panic is told by its hook, and has nobody's socket to close.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(data)));
    }

    fn open(&mut self, core: &mut Core, at: Place) {
        self.with(core, at, H::open);
    }

    #[inline]
    fn message(&mut self, core: &mut Core, at: Place, message: Message<'_>) {
        self.with(core, at, |handler, socket| handler.message(socket, message));
    }

    fn fragment(&mut self, core: &mut Core, at: Place, piece: Message<'_>, is_last: bool) {
        self.with(core, at, |handler, socket| handler.fragment(socket, piece, is_last));
    }

    fn ping(&mut self, core: &mut Core, at: Place, payload: &[u8]) {
        self.with(core, at, |handler, socket| handler.ping(socket, payload));
    }

    fn pong(&mut self, core: &mut Core, at: Place, payload: &[u8]) {
        self.with(core, at, |handler, socket| handler.pong(socket, payload));
    }

    fn drain(&mut self, core: &mut Core, at: Place) {
        self.with(core, at, H::drain);
    }

    fn dropped(&mut self, core: &mut Core, at: Place, dropped: Dropped) {
        self.with(core, at, |handler, socket| handler.dropped(socket, dropped));
    }

    fn close(&mut self, core: &mut Core, farewell: &Farewell) {
        let Some(data) = self.data.remove(farewell.slot) else { return };
        let close = Close {
            id: SocketId::new(core.worker, farewell.key),
            code: farewell.code,
            reason: &farewell.reason,
            is_clean: farewell.is_clean,
        };
        self.handler.close(&mut Context(core), data, close);
    }
}
