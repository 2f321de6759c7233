//! [`Puppet`]: a handler that does what its peers tell it, and writes down what it is told.

use sockeye::{
    App, Close, CloseCode, Context, Dropped, Message, Request, SendStatus, Status, Upgrade,
    WebSocket, WebSocketConfig, WebSocketHandler,
};

use super::{Log, ON_PURPOSE};

/// A handler for scenarios.
///
/// A text is a list of commands, one in a line, all carried out in one turn; a binary message is
/// echoed. `?name=N` in the target gives a socket a name, which its lines in the log begin with;
/// `?panic=EVENT` makes the handler panic there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Puppet {
    log: Log,
}

/// What is kept for a socket.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    name: String,
    panic: String,
}

impl Puppet {
    pub(crate) fn new(log: &Log) -> Self {
        Self { log: log.clone() }
    }

    /// An application with a puppet at every path.
    pub(crate) fn app(log: &Log) -> impl Fn() -> App + Send + Sync + 'static {
        Self::app_with(log, WebSocketConfig::default())
    }

    pub(crate) fn app_with(
        log: &Log,
        config: WebSocketConfig,
    ) -> impl Fn() -> App + Send + Sync + 'static {
        let log = log.clone();
        move || App::new().websocket_with("/*", config.clone(), Self::new(&log))
    }

    fn note(&self, data: &Strings, event: &str) {
        let space = if data.name.is_empty() { "" } else { " " };
        self.log.push(format!("{}{space}{event}", data.name));
        let kind = event.split(' ').next();
        assert!(kind != Some(&data.panic), "{ON_PURPOSE}");
    }

    fn obey(&self, socket: &mut WebSocket<'_, Strings>, command: &str) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "say" => self.note_status(socket, |socket| socket.send(rest)),
            "tell" => {
                let id = self.log.id(first);
                self.note_status(socket, |socket| socket.context().send(id, second));
            }
            "send" => self.send_many(socket, first.parse().unwrap(), second.parse().unwrap()),
            "subscribe" => {
                let result = socket.subscribe(rest).map_err(|error| error.to_string());
                socket.send(&format!("subscribe: {result:?}"));
            }
            "unsubscribe" => {
                let result = socket.unsubscribe(rest);
                socket.send(&format!("unsubscribe: {result}"));
            }
            "topics" => {
                let mut topics: Vec<String> = socket.topics().map(str::to_owned).collect();
                topics.sort_unstable();
                socket.send(&topics.join(" "));
            }
            "is_subscribed" => {
                let result = socket.is_subscribed(rest);
                socket.send(&result.to_string());
            }
            "publish" => {
                let result = socket.publish(first, second);
                self.log.push(format!("publish {result}"));
            }
            "publish_many" => {
                let (count, length) = second.split_once(' ').unwrap();
                for number in 0..count.parse().unwrap() {
                    socket.publish(first, &numbered(number, length.parse().unwrap()));
                }
            }
            "publish_all" => socket.context().publish(first, second),
            "count" => {
                let count = socket.context().subscriber_count(rest);
                socket.send(&count.to_string());
            }
            "worker" => {
                let worker = socket.id().worker();
                socket.send(&worker.to_string());
            }
            "fragment" => {
                self.note_status(socket, |socket| socket.send_fragment(second, first == "last"));
            }
            "ping" => self.note_status(socket, |socket| socket.ping(rest.as_bytes())),
            "close" => {
                let code = first.parse().ok().and_then(CloseCode::new).unwrap();
                socket.close(code, second);
            }
            "close_other" => {
                let id = self.log.id(first);
                socket.context().close(id, CloseCode::NORMAL, second);
            }
            "abort" => socket.abort(),
            "pause" => socket.pause(),
            "resume" => socket.resume(),
            "buffered" => self.log.push(format!("buffered {}", socket.buffered_amount())),
            "panic" => panic!("{ON_PURPOSE}"),
            "" => {}
            _ => panic!("'{command}' is no command"),
        }
    }

    fn note_status(
        &self,
        socket: &mut WebSocket<'_, Strings>,
        act: impl FnOnce(&mut WebSocket<'_, Strings>) -> SendStatus,
    ) {
        let status = act(socket);
        self.log.push(format!("status {status:?}"));
    }

    /// Sends so many messages, numbered and each of this length, and says what became of them.
    fn send_many(&self, socket: &mut WebSocket<'_, Strings>, count: u32, length: usize) {
        let (mut sent, mut queued, mut dropped, mut closed) = (0, 0, 0, 0);
        for number in 0..count {
            match socket.send(&numbered(number, length)) {
                SendStatus::Sent => sent += 1,
                SendStatus::Queued { .. } => queued += 1,
                SendStatus::Dropped => dropped += 1,
                SendStatus::Closed => closed += 1,
            }
        }
        self.log.push(format!("sent {sent} queued {queued} dropped {dropped} closed {closed}"));
    }
}

/// The message of this number: it begins with it.
pub(crate) fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(length, 0x55);
    bytes
}

impl WebSocketHandler for Puppet {
    type Data = Strings;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Strings> {
        let value = |name| request.query(name).unwrap_or_default().into_owned();
        let data = Strings { name: value("name"), panic: value("panic") };
        self.note(&data, "upgrade");
        match value("refuse").parse().ok().and_then(Status::new) {
            Some(status) => Upgrade::reject(status),
            None => Upgrade::accept(data),
        }
    }

    fn open(&mut self, socket: &mut WebSocket<'_, Strings>) {
        let id = socket.id();
        self.log.name(&socket.data().name, id);
        self.note(socket.data(), "open");
    }

    fn message(&mut self, socket: &mut WebSocket<'_, Strings>, message: Message<'_>) {
        match message {
            Message::Text(text) => {
                self.note(socket.data(), &format!("message {text}"));
                text.lines().for_each(|command| self.obey(socket, command));
            }
            Message::Binary(bytes) => {
                socket.send(bytes);
                self.log.note_buffered(socket.buffered_amount());
            }
        }
    }

    fn fragment(&mut self, socket: &mut WebSocket<'_, Strings>, piece: Message<'_>, is_last: bool) {
        self.note(socket.data(), &format!("fragment {} {is_last}", piece.len()));
        socket.send_fragment(piece, is_last);
    }

    fn ping(&mut self, socket: &mut WebSocket<'_, Strings>, payload: &[u8]) {
        self.log.note_buffered(socket.buffered_amount());
        self.note(socket.data(), &format!("ping {}", String::from_utf8_lossy(payload)));
    }

    fn pong(&mut self, socket: &mut WebSocket<'_, Strings>, payload: &[u8]) {
        self.note(socket.data(), &format!("pong {}", String::from_utf8_lossy(payload)));
    }

    fn drain(&mut self, socket: &mut WebSocket<'_, Strings>) {
        let buffered = socket.buffered_amount();
        self.note(socket.data(), &format!("drain {buffered}"));
    }

    fn dropped(&mut self, socket: &mut WebSocket<'_, Strings>, dropped: Dropped) {
        let Dropped { messages, bytes } = dropped;
        self.log.note_buffered(socket.buffered_amount());
        self.note(socket.data(), &format!("dropped {messages} {bytes}"));
    }

    fn close(&mut self, context: &mut Context<'_>, data: Strings, close: Close<'_>) {
        assert_eq!(close.id.worker(), context.worker());
        let how = if close.is_clean { "clean" } else { "unclean" };
        self.note(&data, &format!("close {} {how} {}", close.code, close.reason));
    }
}
