//! The chat example as its pages see it: names, rooms, who is there, what was said last, with
//! people on several workers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use support::{End, Frame, Peer, frame, get, handshake};

mod support;

/// The example, in a process of its own.
struct Chat {
    child: Child,
    address: SocketAddr,
}

impl Chat {
    /// Starts it; `None` if the backend is not to be had.
    fn start(backend: &str) -> Option<Self> {
        let mut child = Command::new(example())
            .args(["--listen", "127.0.0.1:0", "--workers", "3", "--backend", backend])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some((_, address)) = line.split_once("ws://") else {
            eprintln!("skipped: {backend} is not to be had");
            assert_ne!(backend, "epoll");
            let _ = child.wait();
            return None;
        };
        let address = address.split('/').next().unwrap().parse().unwrap();
        Some(Self { child, address })
    }

    fn connect(&self) -> Peer {
        Peer::real(self.address, None)
    }

    /// Somebody enters a room; returns what they are told.
    #[track_caller]
    fn enter(&self, name: &str, room: &str) -> (Person, Value) {
        let mut peer = self.connect();
        peer.upgrade(&format!("/chat?name={name}&room={room}"));
        let mut person = Person(peer);
        let welcome = person.hear();
        assert_eq!(welcome["type"], "welcome");
        (person, welcome)
    }

    #[track_caller]
    fn refuses(&self, query: &str, status: u16) {
        let mut peer = self.connect();
        peer.write(&handshake(&format!("/chat?{query}"), ""));
        let response = peer.response();
        assert_eq!(response.status, status, "{query}");
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody in a room.
struct Person(Peer);

impl Person {
    #[track_caller]
    fn hear(&mut self) -> Value {
        serde_json::from_str(&self.0.read_text()).unwrap()
    }

    #[track_caller]
    fn expect(&mut self, event: &Value) {
        assert_eq!(self.hear(), *event);
    }

    /// Hears what somebody says.
    #[track_caller]
    fn expect_message(&mut self, from: &str, text: &str) {
        let event = self.hear();
        assert!(event["time"].as_u64().unwrap() > 1_700_000_000_000, "{event}");
        assert_eq!(
            (&event["type"], &event["from"], &event["text"]),
            (&json!("message"), &json!(from), &json!(text))
        );
    }

    fn say(&mut self, text: &str) {
        self.0.text(&json!({ "type": "message", "text": text }).to_string());
    }
}

/// The example's program. It is there already unless only this test is run.
fn example() -> PathBuf {
    let built = Command::new(env!("CARGO")).args(["build", "-q", "--example", "chat"]).status();
    assert!(built.unwrap().success());
    let folder = env::current_exe().unwrap();
    folder.parent().unwrap().parent().unwrap().join("examples/chat")
}

#[test]
fn people_talk_on_every_backend() {
    for backend in ["uring", "epoll"] {
        let Some(chat) = Chat::start(backend) else { continue };
        let mut peer = chat.connect();
        peer.write(&get("/", ""));
        assert!(peer.expect_status(200).text().contains("<html"));
        names_are_checked(&chat);
        people_come_and_go(&chat);
        the_last_messages_are_kept(&chat);
        nonsense_closes(&chat);
        many_talk_at_once(&chat);
    }
}

fn names_are_checked(chat: &Chat) {
    let long = "x".repeat(33);
    for query in ["", "name=ada", "room=r", "name=&room=r", "name=%20&room=r", "name=a%00b&room=r"]
    {
        chat.refuses(query, 400);
    }
    chat.refuses(&format!("name={long}&room=r"), 400);
    chat.refuses(&format!("name=ada&room={long}"), 400);
    let (_ada, _) = chat.enter("ada", "r");
    chat.refuses("name=ada&room=r", 409);
    chat.refuses("name=+ada+&room=r", 409);
    // Elsewhere there is room.
    chat.enter("ada", "other");
}

fn people_come_and_go(chat: &Chat) {
    let (mut ada, welcome) = chat.enter("ada", "lobby");
    let expected = json!({
        "type": "welcome", "name": "ada", "room": "lobby", "people": ["ada"], "history": [],
    });
    assert_eq!(welcome, expected);
    let (mut jorn, welcome) = chat.enter("J%C3%B8rn", "lobby");
    assert_eq!(welcome["people"], json!(["ada", "Jørn"]));
    ada.expect(&json!({ "type": "joined", "name": "Jørn", "people": ["ada", "Jørn"] }));
    let (mut stranger, _) = chat.enter("stranger", "elsewhere");
    ada.say("hello <b>Jørn</b>");
    ada.expect_message("ada", "hello <b>Jørn</b>");
    jorn.expect_message("ada", "hello <b>Jørn</b>");
    // One that closes, and one that is lost, have left.
    jorn.0.close(1000, "");
    ada.expect(&json!({ "type": "left", "name": "Jørn", "people": ["ada"] }));
    let (lost, _) = chat.enter("J%C3%B8rn", "lobby");
    ada.expect(&json!({ "type": "joined", "name": "Jørn", "people": ["ada", "Jørn"] }));
    lost.0.reset();
    ada.expect(&json!({ "type": "left", "name": "Jørn", "people": ["ada"] }));
    stranger.say("alone");
    stranger.expect_message("stranger", "alone");
}

fn the_last_messages_are_kept(chat: &Chat) {
    let (mut ada, _) = chat.enter("ada", "library");
    for number in 0..60 {
        ada.say(&number.to_string());
        ada.expect_message("ada", &number.to_string());
    }
    drop(ada);
    // The name is free as soon as that has been noticed.
    let (_, welcome) = chat.enter("bob", "library");
    let history = welcome["history"].as_array().unwrap();
    let texts: Vec<&str> = history.iter().map(|event| event["text"].as_str().unwrap()).collect();
    let expected: Vec<String> = (10..60).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
}

fn nonsense_closes(chat: &Chat) {
    let nonsense =
        ["", "hello", "{}", "[1]", r#"{"type":"message"}"#, r#"{"type":"x","text":"y"}"#];
    for text in nonsense {
        let (mut person, _) = chat.enter("eve", &format!("n{}", text.len()));
        person.0.text(text);
        person.0.expect_close(1003, "that is no message");
        person.0.write(&frame(Frame::CLOSE, b""));
        person.0.expect_end(End::Fin);
    }
}

fn many_talk_at_once(chat: &Chat) {
    let count = 12;
    let mut people: Vec<Person> = Vec::new();
    for name in 0..count {
        let (person, _) = chat.enter(&format!("p{name}"), "hall");
        for before in &mut people {
            assert_eq!(before.hear()["type"], "joined");
        }
        people.push(person);
    }
    for person in &mut people {
        for number in 0..10 {
            person.say(&number.to_string());
        }
    }
    let histories: Vec<Vec<Value>> =
        people.iter_mut().map(|person| (0..10 * count).map(|_| person.hear()).collect()).collect();
    assert!(histories.iter().all(|history| *history == histories[0]), "one order for all");
}
