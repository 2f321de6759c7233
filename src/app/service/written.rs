//! Responses whose bodies are written by other threads: see [`BodyWriter`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Service, active::State, exchange::note_panic};
use crate::{
    app::{
        BodyWriter, Response, SocketId,
        body_writer::{BodyReader, Taken, body_pipe},
        upgrade::Ticket,
    },
    base::Key,
    http::{BodySize, Coding},
};

/// A response that is written elsewhere.
#[derive(Debug)]
pub(super) struct Written {
    reader: BodyReader,
    coding: Coding,
    // What is left of an announced length.
    remaining: u64,
}

impl Service {
    /// Sends the head, and lets the writer begin.
    pub(super) fn begin_written(
        &mut self,
        key: Key,
        head: &Response,
        size: BodySize,
        start: Box<dyn FnOnce(BodyWriter) + Send>,
    ) {
        let Some((exchange, coding)) = self.begin_response(key, head, size) else { return };
        let remaining = match coding {
            Coding::Length(bytes) => bytes,
            Coding::Chunked | Coding::Close => u64::MAX,
        };
        if exchange.is_head || remaining == 0 {
            return self.finish(key);
        }
        let number = self.exchange_count + 1;
        let ticket = Ticket { id: SocketId::new(self.core.worker, key), number };
        let (writer, reader) = body_pipe(self.core.remote.clone(), ticket);
        self.begin_exchange(key, State::Written(Written { reader, coding, remaining }));
        // If it panics, the writer is dropped with it, and the response is cut off.
        if catch_unwind(AssertUnwindSafe(|| start(writer))).is_err() {
            note_panic(&mut self.core);
        }
    }

    /// The writer has something, if this is still its exchange.
    pub(super) fn written(&mut self, ticket: Ticket) {
        let key = ticket.id.key();
        if self.exchanges.get(&key).is_some_and(|active| active.is(ticket)) {
            self.pump(key);
        }
    }

    /// Sends what the writer has, as far as there is room.
    pub(super) fn send_written(&mut self, key: Key, room: usize) {
        let Some(State::Written(written)) = self.exchanges.get_mut(&key).map(|a| a.state_mut())
        else {
            return;
        };
        let Written { reader, coding, remaining } = written;
        let piece = &mut self.piece;
        piece.clear();
        let taken = reader.take(piece, room);
        // What goes beyond the announced length would be taken for the next response.
        piece.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
        let coding = *coding;
        let is_whole = match coding {
            Coding::Length(_) => {
                *remaining -= piece.len() as u64;
                *remaining == 0
            }
            Coding::Chunked | Coding::Close => taken == Taken::Last,
        };
        if !is_whole && matches!(taken, Taken::Last | Taken::Torn) {
            log::warn!(worker = self.core.worker; "a response is cut off by its writer");
            return self.core.abort(key, "");
        }
        self.core.append(key, |outbox| {
            if !piece.is_empty() {
                coding.append(outbox, piece);
            }
            if is_whole {
                coding.end(outbox);
            }
        });
        if is_whole {
            self.finish(key);
        } else if taken == Taken::More {
            self.core.connections.await_settled(key);
        }
    }
}
