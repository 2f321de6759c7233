//! Errors of whoever sets up a server: each says what to do.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sockeye::{
    App, Backend, Error, HttpLimits, Limits, Response, Server, TopicLimits, WebSocketConfig,
};

use crate::support::{ON_PURPOSE, Puppet, silence_panics_on_purpose};

fn app() -> App {
    App::new().websocket("/*", Puppet::default()).get("/", |_| Response::text("hello"))
}

/// The text of the error with which a server does not start.
#[track_caller]
fn error_of(server: Server) -> String {
    match server.start() {
        Ok(running) => panic!("it listens on {:?}", running.addresses()),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn expect_words(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "no '{word}' in '{error}'");
    }
}

fn server(factory: impl Fn() -> App + Send + Sync + 'static) -> Server {
    Server::new(factory).listen("127.0.0.1:0").workers(2)
}

#[test]
fn routes_that_cannot_be() {
    let page = |pattern: &'static str| server(move || app().get(pattern, |_| Response::text("")));
    let socket =
        |pattern: &'static str| server(move || App::new().websocket(pattern, Puppet::default()));
    for (pattern, words) in [
        ("page", &["`page`", "`/`"][..]),
        ("", &["`/`"]),
        ("/a*b", &["/a*b"]),
        ("/*/more", &["/*/more"]),
        ("/:/x", &["/:/x"]),
        ("/:a/:a", &["/:a/:a"]),
    ] {
        expect_words(&error_of(page(pattern)), words);
        expect_words(&error_of(socket(pattern)), words);
    }
    expect_words(&error_of(page("/")), &["`GET /`", "remove one"]);
    let twice = server(|| app().websocket("/*", Puppet::default()));
    expect_words(&error_of(twice), &["/*", "remove one"]);
    let method = server(|| app().on("GE T", "/x", |_| Response::text("")));
    expect_words(&error_of(method), &["GE T"]);
}

#[test]
fn settings_of_a_route_that_cannot_be() {
    let route = |config: WebSocketConfig| {
        server(move || App::new().websocket_with("/r", config.clone(), Puppet::default()))
    };
    let config = WebSocketConfig::default();
    let bad = [
        (WebSocketConfig { max_payload_length: 0, ..config.clone() }, "max_payload_length"),
        (WebSocketConfig { max_backpressure: 0, ..config.clone() }, "usize::MAX"),
        (
            WebSocketConfig { idle_timeout: Duration::from_millis(1), ..config.clone() },
            "at least 200 ms",
        ),
        (WebSocketConfig { protocols: vec!["a,b".into()], ..config }, "'a,b'"),
    ];
    for (config, word) in bad {
        expect_words(&error_of(route(config)), &["'/r'", word]);
    }
}

#[test]
fn limits_that_let_nothing_through() {
    let limits = Limits::default();
    let zero = Duration::ZERO;
    let http = HttpLimits { max_field_count: 0, ..limits.http };
    let topics = |change: fn(&mut TopicLimits)| {
        let mut topics = limits.topics;
        change(&mut topics);
        Limits { topics, ..limits.clone() }
    };
    let bad = [
        (Limits { max_connections: 0, ..limits.clone() }, "max_connections"),
        (
            Limits { max_connections_per_address: 0, ..limits.clone() },
            "max_connections_per_address",
        ),
        (
            Limits { max_control_frames_per_second: 0, ..limits.clone() },
            "max_control_frames_per_second",
        ),
        (Limits { max_mailbox_bytes: 0, ..limits.clone() }, "max_mailbox_bytes"),
        (Limits { header_timeout: zero, ..limits.clone() }, "header_timeout"),
        (Limits { keep_alive_timeout: zero, ..limits.clone() }, "keep_alive_timeout"),
        (Limits { body_timeout: zero, ..limits.clone() }, "body_timeout"),
        (Limits { answer_timeout: zero, ..limits.clone() }, "answer_timeout"),
        (Limits { close_timeout: zero, ..limits.clone() }, "close_timeout"),
        (Limits { http, ..limits.clone() }, "max_field_count"),
        (topics(|topics| topics.max_topics = 0), "max_topics"),
        (topics(|topics| topics.max_subscribers = 0), "max_subscribers"),
        (topics(|topics| topics.max_topics_per_subscriber = 0), "max_topics_per_subscriber"),
        (topics(|topics| topics.max_topic_name_bytes = 0), "max_topic_name_bytes"),
        (topics(|topics| topics.max_pending_messages = 0), "max_pending_messages"),
        (topics(|topics| topics.max_pending_bytes = 0), "max_pending_bytes"),
        (topics(|topics| topics.max_sets = 0), "max_sets"),
    ];
    for (limits, name) in bad {
        expect_words(&error_of(server(app).limits(limits)), &[name, "must"]);
    }
}

#[test]
fn addresses_that_cannot_be() {
    expect_words(&error_of(Server::new(app)), &["listen"]);
    for address in ["nowhere", "127.0.0.1", "127.0.0.1:70000", ":9001", "[::1", "unix:", ""] {
        let error = error_of(Server::new(app).listen(address));
        expect_words(&error, &["HOST:PORT", "unix:PATH"]);
    }
    let error = error_of(Server::new(app).listen("203.0.113.7:9001"));
    expect_words(&error, &["203.0.113.7:9001", "no interface of this machine"]);
    let error = error_of(Server::new(app).listen("unix:/no/such/folder/socket"));
    expect_words(&error, &["/no/such/folder/socket", "No such file"]);
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for backend in [Backend::Auto, Backend::Epoll] {
        let error = error_of(Server::new(app).listen(&*address).backend(backend));
        expect_words(&error, &[&address, "another process", "another port"]);
    }
    drop(taken);
    let running = Server::new(app).listen(&*address).workers(2).start().unwrap();
    // By another server of ours, too, which would share it otherwise.
    let error = error_of(Server::new(app).listen(&*address));
    expect_words(&error, &["another process"]);
    let twice = error_of(Server::new(app).listen("127.0.0.1:0").listen(&*address));
    expect_words(&twice, &["another process"]);
    drop(running);
}

#[test]
fn a_path_that_is_taken() {
    let folder = std::env::temp_dir().join(format!("sockeye-misuse-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = format!("unix:{}", folder.join("socket").display());
    let running = Server::new(app).listen(&*path).workers(2).start().unwrap();
    expect_words(&error_of(Server::new(app).listen(&*path)), &["another path"]);
    drop(running);
    // What a server that has ended left there is in nobody's way.
    drop(Server::new(app).listen(&*path).start().unwrap());
    let file = folder.join("file");
    std::fs::write(&file, "precious").unwrap();
    error_of(Server::new(app).listen(format!("unix:{}", file.display())));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_port_without_the_right_to_it() {
    // Who may bind it (root, or a system that lets everyone) shows nothing here.
    match TcpListener::bind("127.0.0.1:1") {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let error = error_of(Server::new(app).listen("127.0.0.1:1"));
            expect_words(&error, &["127.0.0.1:1", "1024", "CAP_NET_BIND_SERVICE"]);
        }
        _ => eprintln!("skipped: every port may be bound here"),
    }
}

#[test]
fn an_application_that_panics_at_its_start() {
    silence_panics_on_purpose();
    let count = AtomicUsize::new(0);
    // One worker has started by then.
    let server = server(move || match count.fetch_add(1, Ordering::Relaxed) {
        0 => app(),
        _ => panic!("{ON_PURPOSE}"),
    });
    expect_words(&error_of(server.workers(3)), &["worker", "panicked"]);
}

#[test]
fn workers_that_cannot_be() {
    for count in [0, 257] {
        expect_words(&error_of(server(app).workers(count)), &["workers", "1 and 256"]);
    }
}

#[test]
fn errors_have_their_kind_and_their_source() {
    use std::error::Error as _;
    let error = server(|| app().get("nothing", |_| Response::text(""))).start().unwrap_err();
    assert!(matches!(error, Error::Config(_)) && error.source().is_none());
    let error = Server::new(app).listen("nowhere").start().unwrap_err();
    assert!(matches!(error, Error::Listen { ref address, .. } if address == "nowhere"));
    assert!(error.source().is_some());
}
