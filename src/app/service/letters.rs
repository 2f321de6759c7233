//! What other threads ask of a worker.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Service;
use crate::app::{Context, Dropped, SendStatus, endpoint::Endpoint, remote::Letter};

impl Service {
    /// Does what a letter asks for.
    pub(in crate::app) fn open_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Send { id, prepared } => {
                let status = self.core.send_prepared(id.key(), &prepared);
                if status == SendStatus::Dropped {
                    let dropped = Dropped { messages: 1, bytes: prepared.len() as u64 };
                    self.core.dropped.push((id.key(), dropped));
                }
            }
            Letter::Publish { topic, framed } => self.core.publish_here(&topic, framed),
            Letter::Close { id, status } => {
                let status = status.as_ref().map(|(code, reason)| (*code, &**reason));
                self.core.begin_close(id.key(), status);
            }
            Letter::Abort { id } => self.abort_socket(id.key()),
            Letter::Answer { ticket, verdict } => {
                // What nobody waits for is dropped there, and that is the application's code.
                if catch_unwind(AssertUnwindSafe(|| self.judge(ticket, verdict))).is_err() {
                    self.core.stats.handler_panics += 1;
                    log::error!(worker = self.core.worker; "dropping a socket's data panicked");
                }
            }
            Letter::Written { ticket } => self.written(ticket),
            Letter::Run(function) => self.run(|_, context| function(context)),
            Letter::RunWith { handler, function } => self.run(|routes, context| {
                let mut handlers = routes.iter_mut().map(|route| route.handler());
                match handlers.find(|found| (**found).type_id() == handler) {
                    Some(found) => function(found, context),
                    None => log::warn!("`run_with` asks for a handler that no route has"),
                }
            }),
            Letter::Shutdown { grace } => {
                self.grace = Some(self.grace.map_or(grace, |before| before.min(grace)));
            }
        }
        self.say_farewells();
    }

    /// Calls a function of the application. If it panics, the worker lives on.
    fn run(&mut self, function: impl FnOnce(&mut [Box<dyn Endpoint>], &mut Context<'_>)) {
        let Self { core, routes, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| function(routes, &mut Context(core)))).is_err() {
            core.stats.handler_panics += 1;
            log::error!(worker = core.worker; "a function of another thread panicked");
        }
    }

    /// Only what is a WebSocket can be reached by a socket's id.
    fn abort_socket(&mut self, key: crate::base::Key) {
        if self.core.connections.get(key).is_some_and(crate::conn::Connection::is_open) {
            self.core.abort(key, "aborted by the application");
        }
    }
}
