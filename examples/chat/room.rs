//! [`Room`]: who is in it, and what was said last.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use sockeye::{PendingUpgrade, Prepared, Remote, SocketId, Status, Upgrade};

use crate::Guest;

pub(crate) struct Room {
    name: String,
    remote: Remote,
    people: Vec<(SocketId, String)>,
    history: VecDeque<Value>,
}

impl Room {
    pub(crate) fn new(name: &str, remote: Remote) -> Self {
        Self { name: name.to_owned(), remote, people: Vec::new(), history: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Lets somebody in, if nobody of this name is there.
    pub(crate) fn admit(&mut self, name: &str, guest: Guest, pending: PendingUpgrade<Guest>) {
        if self.people.iter().any(|(_, taken)| taken == name) {
            // Before the answer, so that it cannot be mistaken for another visit.
            drop(guest);
            return pending.answer(Upgrade::reject(Status::CONFLICT));
        }
        let id = guest.id;
        pending.answer(Upgrade::accept(guest));
        self.people.push((id, name.to_owned()));
        let people = self.names();
        let welcome = json!({
            "type": "welcome", "name": name, "room": self.name,
            "people": people, "history": self.history,
        });
        // Posted after the answer, so it arrives when the socket is open.
        self.send(id, &prepare(&welcome));
        let joined = json!({ "type": "joined", "name": name, "people": people });
        self.tell(&joined, Some(id));
    }

    pub(crate) fn say(&mut self, id: SocketId, text: &str) {
        let Some(from) = self.name_of(id) else { return };
        let message = json!({ "type": "message", "from": from, "text": text, "time": now() });
        self.tell(&message, None);
        self.history.push_back(message);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    pub(crate) fn leave(&mut self, id: SocketId) {
        let Some(name) = self.name_of(id) else { return };
        self.people.retain(|(other, _)| *other != id);
        self.tell(&json!({ "type": "left", "name": name, "people": self.names() }), None);
    }

    fn tell(&self, event: &Value, except: Option<SocketId>) {
        let event = prepare(event);
        for (id, _) in self.people.iter().filter(|(id, _)| Some(*id) != except) {
            self.send(*id, &event);
        }
    }

    fn send(&self, id: SocketId, event: &Prepared) {
        if self.remote.send_prepared(id, event).is_err() {
            let _ = self.remote.abort(id);
        }
    }

    fn name_of(&self, id: SocketId) -> Option<String> {
        self.people.iter().find(|(other, _)| *other == id).map(|(_, name)| name.clone())
    }

    fn names(&self) -> Vec<&String> {
        self.people.iter().map(|(_, name)| name).collect()
    }
}

fn prepare(event: &Value) -> Prepared {
    Prepared::new(&event.to_string())
}

/// Milliseconds since 1970, as pages count them.
#[allow(clippy::disallowed_methods, reason = "people want to know when something was said")]
fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

const HISTORY: usize = 50;
