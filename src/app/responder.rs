//! [`Responder`]: answers a request later, from any thread.

use std::fmt;

use super::{
    Remote, Response,
    remote::Letter,
    upgrade::{AnyVerdict, Ticket, Unanswered},
};

/// A request that waits for its answer; see [`Response::later`].
///
/// If the client has gone by then, the answer has no effect. Dropped without an answer, it is a
/// 500.
pub struct Responder {
    remote: Remote,
    ticket: Ticket,
    // Posted when this is dropped.
    response: Option<Response>,
}

impl Responder {
    pub(super) fn new(remote: Remote, ticket: Ticket) -> Self {
        Self { remote, ticket, response: None }
    }

    /// Answers. The response may be a stream, or one that comes later still.
    pub fn respond(mut self, response: Response) {
        self.response = Some(response);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let verdict: AnyVerdict = match self.response.take() {
            Some(response) => Box::new(response),
            None => Box::new(Unanswered),
        };
        let ticket = self.ticket;
        // Without weight, so that it always finds room; refused only by a worker that has ended.
        let _ = self.remote.post(ticket.id.worker_number(), Letter::Answer { ticket, verdict }, 0);
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}
