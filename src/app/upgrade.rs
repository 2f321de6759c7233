//! [`Upgrade`]: whether a client gets its WebSocket, said at once or later.

use std::{any::Any, borrow::Cow, fmt, marker::PhantomData};

use super::{Remote, Response, SocketId, remote::Letter};
use crate::http::Status;

/// The answer to a client that asks for a WebSocket.
///
/// ```
/// use sockeye::{Request, Status, Upgrade};
///
/// fn upgrade(request: &Request<'_>) -> Upgrade<String> {
///     match request.query("name") {
///         Some(name) => Upgrade::accept(name.into_owned()),
///         None => Upgrade::reject(Status::BAD_REQUEST),
///     }
/// }
/// ```
pub struct Upgrade<D>(pub(super) Decision<D>);

pub(super) enum Decision<D> {
    Accept(Acceptance<D>),
    Reject(Response),
    Later(Box<dyn FnOnce(PendingUpgrade<D>)>),
}

/// What goes into the 101, and the socket's data.
pub(super) struct Acceptance<D> {
    pub(super) data: D,
    pub(super) protocol: Option<Cow<'static, str>>,
    pub(super) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl<D> Upgrade<D> {
    /// Yes, with this data.
    #[must_use]
    pub fn accept(data: D) -> Self {
        Self(Decision::Accept(Acceptance { data, protocol: None, headers: Vec::new() }))
    }

    /// No, with this status.
    #[must_use]
    pub fn reject(status: Status) -> Self {
        Self::respond(Response::of_status(status))
    }

    /// No, with this response.
    #[must_use]
    pub fn respond(response: Response) -> Self {
        Self(Decision::Reject(response))
    }

    /// Not yet: `start` gets a [`PendingUpgrade`], which may be answered from any thread. Until
    /// then nothing is read from the client. After `Limits::answer_timeout` it gets a 503.
    ///
    /// ```
    /// use std::{thread, time::Duration};
    /// use sockeye::{PendingUpgrade, Request, Status, Upgrade};
    ///
    /// fn upgrade(request: &Request<'_>) -> Upgrade<String> {
    ///     let token = request.query("token").unwrap_or_default().into_owned();
    ///     Upgrade::later(|pending: PendingUpgrade<String>| {
    ///         thread::spawn(move || match look_up(&token) {
    ///             Some(user) => pending.answer(Upgrade::accept(user)),
    ///             None => pending.answer(Upgrade::reject(Status::UNAUTHORIZED)),
    ///         });
    ///     })
    /// }
    /// # fn look_up(token: &str) -> Option<String> { Some(token.to_owned()) }
    /// ```
    #[must_use]
    pub fn later(start: impl FnOnce(PendingUpgrade<D>) + 'static) -> Self {
        Self(Decision::Later(Box::new(start)))
    }

    /// An acceptance with this subprotocol. It should be one that the client offers: it fails the
    /// connection otherwise (RFC 6455 §4.1). No effect on a refusal.
    #[must_use]
    pub fn protocol(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        if let Decision::Accept(acceptance) = &mut self.0 {
            acceptance.protocol = Some(name.into());
        }
        self
    }

    /// An acceptance with one more header field in its 101; a refusal with one in its response.
    #[must_use]
    pub fn header(
        self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(match self.0 {
            Decision::Accept(mut acceptance) => {
                acceptance.headers.push((name.into(), value.into()));
                Decision::Accept(acceptance)
            }
            Decision::Reject(response) => Decision::Reject(response.header(name, value)),
            later @ Decision::Later(_) => later,
        })
    }
}

impl<D> fmt::Debug for Upgrade<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Decision::Accept(_) => "Upgrade(accept)",
            Decision::Reject(_) => "Upgrade(reject)",
            Decision::Later(_) => "Upgrade(later)",
        })
    }
}

/// A request for a WebSocket that waits for its answer; see [`Upgrade::later`].
///
/// If the client has gone by then, the answer has no effect. Dropped without an answer, it is a
/// 500.
pub struct PendingUpgrade<D> {
    remote: Remote,
    ticket: Ticket,
    // Posted when this is dropped.
    verdict: Option<AnyVerdict>,
    data: PhantomData<fn(D)>,
}

/// Names a request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) id: SocketId,
    // Tells the request from a later one of the same connection.
    pub(super) number: u64,
}

/// A verdict whose type only its route knows.
pub(super) type AnyVerdict = Box<dyn Any + Send>;

/// An answer that has crossed threads.
pub(super) enum Verdict<D> {
    Accept(Acceptance<D>),
    Reject(Response),
}

impl<D> PendingUpgrade<D> {
    pub(super) fn new(remote: Remote, ticket: Ticket) -> Self {
        Self { remote, ticket, verdict: None, data: PhantomData }
    }

    /// The id that the socket will have, if it is accepted. If not, it is nobody's for ever: the
    /// connection ends with the refusal.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.ticket.id
    }
}

impl<D: Send + 'static> PendingUpgrade<D> {
    /// Answers. Data that is not needed any more, because the client has gone, is dropped on the
    /// worker that had the request. An answer that is [`Upgrade::later`] once more is a 500.
    pub fn answer(mut self, upgrade: Upgrade<D>) {
        let verdict = match upgrade.0 {
            Decision::Accept(acceptance) => Verdict::Accept(acceptance),
            Decision::Reject(response) => Verdict::Reject(response),
            Decision::Later(_) => {
                Verdict::Reject(Response::of_status(Status::INTERNAL_SERVER_ERROR))
            }
        };
        self.verdict = Some(Box::new(verdict));
    }
}

impl<D> Drop for PendingUpgrade<D> {
    fn drop(&mut self) {
        let verdict = self.verdict.take().unwrap_or_else(|| Box::new(Unanswered));
        let ticket = self.ticket;
        // Without weight, so that it always finds room; refused only by a worker that has ended.
        let _ = self.remote.post(ticket.id.worker_number(), Letter::Answer { ticket, verdict }, 0);
    }
}

/// The verdict of a [`PendingUpgrade`] that was dropped.
pub(super) struct Unanswered;

impl<D> fmt::Debug for PendingUpgrade<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingUpgrade({:?})", self.id())
    }
}
