//! The application under test: what peers send are orders, see [`Handler::obey`].

use std::panic::resume_unwind;

use sockeye::{
    App, Close, CloseCode, Context, Dropped, Message, Request, Response, SendStatus, Status,
    Upgrade, WebSocket, WebSocketHandler,
};

use super::{
    book::{LOCAL, SENDERS, Stage, book},
    events, exchange,
    options::Options,
};

pub fn app(options: &Options, worker: usize) -> App {
    let handler = || Handler { worker };
    let app = App::new()
        .websocket_with("/0", options.configs[0].clone(), handler())
        .websocket_with("/1", options.configs[1].clone(), handler())
        .get("/page/:number", |request| {
            Response::text(format!("page {}", request.parameter("number").unwrap_or_default()))
        })
        .get("/large", |_| Response::text("x".repeat(LARGE_BYTES)))
        .get("/panic", move |_| -> Response {
            book(|book| book.counts[worker].panics += 1);
            resume_unwind(Box::new(Deliberate))
        })
        .on("POST", "/form", |_| Response::text("form"));
    exchange::with_pages(events::with_pages(app, worker), worker)
}

pub const LARGE_BYTES: usize = 100_000;

/// A panic that is meant.
pub struct Deliberate;

struct Handler {
    worker: usize,
}

type Socket<'a> = WebSocket<'a, usize>;

impl WebSocketHandler for Handler {
    type Data = usize;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<usize> {
        let number = request.query("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        match request.query("how").as_deref() {
            Some("reject") => Upgrade::reject(Status::UNAUTHORIZED),
            Some("panic") => {
                book(|book| book.counts[self.worker].panics += 1);
                resume_unwind(Box::new(Deliberate))
            }
            Some("later") => Upgrade::later(move |pending| {
                book(|book| book.pending.push((number, pending)));
            }),
            _ => Upgrade::accept(number),
        }
    }

    fn open(&mut self, socket: &mut Socket<'_>) {
        let number = *socket.data();
        book(|book| book.opened(number, self.worker, socket.id()));
        if number.is_multiple_of(3) {
            let greeting = book(|book| book.payload("hello", 0));
            self.send(socket, true, greeting);
        }
    }

    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        let number = *socket.data();
        let (is_text, bytes) = (message.is_text(), message.as_bytes());
        book(|book| book.received(number, self.worker, is_text, bytes));
        self.obey(socket, is_text, bytes);
    }

    fn fragment(&mut self, socket: &mut Socket<'_>, piece: Message<'_>, is_last: bool) {
        let number = *socket.data();
        let (is_text, bytes) = (piece.is_text(), piece.as_bytes());
        let whole = book(|book| book.received_piece(number, self.worker, is_text, bytes, is_last));
        if let Some(whole) = whole {
            self.obey(socket, is_text, &whole);
        }
    }

    fn ping(&mut self, socket: &mut Socket<'_>, payload: &[u8]) {
        let number = *socket.data();
        book(|book| book.pinged(number, payload));
    }

    fn pong(&mut self, socket: &mut Socket<'_>, payload: &[u8]) {
        let number = *socket.data();
        book(|book| book.ponged(number, payload));
    }

    fn drain(&mut self, socket: &mut Socket<'_>) {
        let number = *socket.data();
        book(|book| book.drained(number));
        if number.is_multiple_of(2) {
            let payload = book(|book| book.payload("drained", 0));
            self.send(socket, true, payload);
        }
    }

    fn dropped(&mut self, socket: &mut Socket<'_>, dropped: Dropped) {
        let number = *socket.data();
        let Dropped { messages, bytes } = dropped;
        book(|book| book.told_dropped(number, self.worker, messages, bytes));
    }

    fn close(&mut self, context: &mut Context<'_>, number: usize, close: Close<'_>) {
        book(|book| book.closed(number, self.worker, close.code, close.reason, close.is_clean));
        if number.is_multiple_of(4) {
            let payload = book(|book| book.payload("gone", 0));
            let text = String::from_utf8_lossy(&payload).into_owned();
            book(|book| book.published(self.worker, None, 0, &payload, None));
            context.publish(TOPICS[0], &text);
        }
    }
}

impl Handler {
    /// A letter says what is to be done, numbers how: `P2,500|` publishes 500 bytes to topic 2.
    fn obey(&mut self, socket: &mut Socket<'_>, is_text: bool, order: &[u8]) {
        let number = *socket.data();
        let (letter, first, second) = read_order(order);
        let topic = first % TOPICS.len();
        match letter {
            b'S' => {
                let result = socket.subscribe(TOPICS[topic]).ok();
                book(|book| book.subscribed(number, topic, result));
            }
            b'U' => {
                let was = socket.unsubscribe(TOPICS[topic]);
                book(|book| book.unsubscribed(number, topic, was));
            }
            b'P' => self.publish(socket, topic, second),
            b'Q' => (0..second.min(12)).for_each(|_| self.publish(socket, topic, 0)),
            b'N' => {
                for _ in 0..first.min(20) {
                    let payload = book(|book| book.payload("n", second));
                    self.send(socket, true, payload);
                }
            }
            b'C' => self.close_socket(socket, first),
            b'A' => {
                book(|book| book.closes(number, None));
                socket.abort();
            }
            b'X' => {
                book(|book| {
                    book.counts[self.worker].panics += 1;
                    book.closes(number, Some(1011));
                });
                resume_unwind(Box::new(Deliberate));
            }
            b'F' => {
                let count = first.clamp(1, 5);
                (1..=count).for_each(|n| self.send_fragment(socket, n == count, second));
            }
            b'G' => {
                let is_last = book(|book| book.sockets[number].is_fragmenting);
                self.send_fragment(socket, is_last, second);
            }
            b'I' => {
                let payload = book(|book| book.payload("ping", 0));
                let status = socket.ping(&payload);
                let buffered = socket.buffered_amount();
                book(|book| {
                    book.sent(number, self.worker, LOCAL, 0x89, payload, status, Some(buffered));
                });
            }
            b'Z' => {
                socket.pause();
                socket.resume();
            }
            b'z' => {
                book(|book| {
                    let socket = &mut book.sockets[number];
                    socket.is_paused |= socket.stage == Stage::Open;
                });
                socket.pause();
            }
            b'V' => events::publish(&mut socket.context(), topic, second),
            b'T' => self.send_to(socket, first, second),
            b'R' => self.post_to(socket, first, second),
            b'K' => self.close_other(socket, first),
            _ => self.send(socket, is_text, order.to_vec()),
        }
    }

    fn send(&self, socket: &mut Socket<'_>, is_text: bool, payload: Vec<u8>) {
        let number = *socket.data();
        let text = std::str::from_utf8(&payload).ok().filter(|_| is_text);
        let message = text.map_or(Message::Binary(&payload), Message::Text);
        let first = 0x80 | if text.is_some() { 1 } else { 2 };
        let status = socket.send(message);
        let buffered = socket.buffered_amount();
        book(|book| book.sent(number, self.worker, LOCAL, first, payload, status, Some(buffered)));
    }

    fn send_fragment(&self, socket: &mut Socket<'_>, is_last: bool, size: usize) {
        let number = *socket.data();
        let is_first = book(|book| !book.sockets[number].is_fragmenting);
        let payload = book(|book| book.payload("f", size));
        let status = socket.send_fragment(Message::Binary(&payload), is_last);
        let first = if is_last { 0x80 } else { 0 } | if is_first { 2 } else { 0 };
        let buffered = socket.buffered_amount();
        book(|book| {
            book.sent(number, self.worker, LOCAL, first, payload, status, Some(buffered));
            book.fragment_sent(number, is_last, status);
        });
    }

    fn publish(&self, socket: &mut Socket<'_>, topic: usize, size: usize) {
        let number = *socket.data();
        let payload = book(|book| book.payload("p", size));
        let text = String::from_utf8_lossy(&payload).into_owned();
        let told = socket.publish(TOPICS[topic], &text);
        book(|book| {
            // A socket that has left its topics is nobody to be left out.
            book.published(self.worker, Some(number), topic, &payload, Some(told));
        });
    }

    fn close_socket(&self, socket: &mut Socket<'_>, code: usize) {
        let number = *socket.data();
        let code = u16::try_from(code).ok().and_then(CloseCode::new).unwrap_or(CloseCode::NORMAL);
        book(|book| book.closes(number, Some(code.code())));
        socket.close(code, "as you wish");
    }

    /// To another socket, as one does it from a handler.
    fn send_to(&self, socket: &mut Socket<'_>, other: usize, size: usize) {
        let Some((other, id)) = other_socket(other) else { return };
        let payload = book(|book| book.payload("t", size));
        let text = String::from_utf8_lossy(&payload).into_owned();
        let status = socket.context().send(id, &text);
        book(|book| {
            if id.worker() == self.worker {
                book.sent(other, self.worker, LOCAL, 0x81, payload, status, None);
            } else if status.is_accepted() {
                book.posted(other, SENDERS + self.worker, payload);
            } else if status == SendStatus::Dropped {
                book.counts[self.worker].mailbox_refused += 1;
                book.saw("a mailbox has no room");
            }
        });
    }

    /// To another socket, as one does it from elsewhere.
    fn post_to(&self, socket: &mut Socket<'_>, other: usize, size: usize) {
        let Some((other, id)) = other_socket(other) else { return };
        let payload = book(|book| book.payload("r", size));
        let text = String::from_utf8_lossy(&payload).into_owned();
        if socket.remote().send(id, &text).is_ok() {
            book(|book| book.posted(other, SENDERS + self.worker, payload));
        }
    }

    fn close_other(&self, socket: &mut Socket<'_>, other: usize) {
        let Some((other, id)) = other_socket(other) else { return };
        book(|book| {
            if id.worker() == self.worker {
                book.closes(other, Some(4000));
            } else {
                book.will_close(other, Some(4000));
            }
        });
        socket.context().close(id, CloseCode::new(4000).expect("a private one"), "");
    }
}

pub fn other_socket(wanted: usize) -> Option<(usize, sockeye::SocketId)> {
    book(|book| {
        let number = wanted % book.sockets.len();
        book.sockets[number].id.map(|id| (number, id))
    })
}

pub fn read_order(order: &[u8]) -> (u8, usize, usize) {
    let letter = order.first().copied().unwrap_or(b'E');
    let words = order.split(|byte| *byte == b'|').next().unwrap_or_default();
    let text = std::str::from_utf8(words.get(1..).unwrap_or_default()).unwrap_or_default();
    let mut numbers = text.split(',').map(|number| number.parse().unwrap_or(0));
    (letter, numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

pub const TOPICS: [&str; 5] = ["a", "b", "news/all", "d", "e"];
