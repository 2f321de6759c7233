//! Compressed WebSockets (RFC 7692) through the whole server, on every backend and in both modes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use sockeye::{
    Address, App, Backend, CompressionConfig, Compressor, Decompressor, Message, Prepared, Request,
    Running, Server, Upgrade, WebSocket, WebSocketConfig, WebSocketHandler,
    client::{Client, Compression, CompressionContext, Event},
};

/// Does what its messages say.
struct Obedient;

impl WebSocketHandler for Obedient {
    type Data = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, socket: &mut WebSocket<'_, ()>) {
        socket.subscribe("all").unwrap();
    }

    fn message(&mut self, socket: &mut WebSocket<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default();
        match text.split_once(' ') {
            Some(("publish", rest)) => {
                socket.publish("all", rest);
            }
            Some(("publish-uncompressed", rest)) => {
                socket.publish_uncompressed("all", rest);
            }
            Some(("plain", rest)) => {
                socket.send_uncompressed(rest);
            }
            Some(("prepared", rest)) => {
                socket.send_prepared(&Prepared::new(rest));
            }
            Some(("pieces", rest)) => {
                socket.send_fragment(&rest[..10], false);
                socket.send_fragment(&rest[10..], true);
            }
            // A publish in the same turn goes before what is sent next, and after what was sent.
            Some(("both", rest)) => {
                let id = socket.id();
                socket.send(rest);
                socket.context().publish("all", rest);
                socket.send(rest);
                socket.context().send(id, rest);
                socket.send(rest);
            }
            _ => {
                socket.send(message);
            }
        };
    }
}

fn serve(backend: Backend, compression: CompressionConfig, workers: usize) -> Option<Running> {
    let config = WebSocketConfig { compression, ..WebSocketConfig::default() };
    let app = move || App::new().websocket_with("/", config.clone(), Obedient);
    let server = Server::new(app).backend(backend).workers(workers).listen("127.0.0.1:0");
    match server.start() {
        Ok(running) => Some(running),
        Err(error) if backend == Backend::Uring => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn connect(running: &Running, compression: Option<Compression>) -> Client {
    let Address::Tcp(address) = running.addresses()[0] else { panic!("asked for TCP") };
    let url = format!("ws://{address}/");
    let mut builder = Client::builder(&url).timeout(Duration::from_secs(10));
    if let Some(compression) = compression {
        builder = builder.compression(compression);
    }
    builder.connect().unwrap()
}

fn end(running: Running) {
    running.remote().shutdown(Duration::from_secs(1));
    running.join().unwrap();
}

/// A text that becomes much shorter, and is not like the others.
fn text(number: usize) -> String {
    (0..20).map(|n| format!("{{\"number\":{},\"name\":\"käse\"}}", number * 1000 + n)).collect()
}

fn next(client: &mut Client) -> String {
    match client.receive_message().unwrap() {
        Event::Text(text) => text,
        event => panic!("{event:?}"),
    }
}

const KEPT: Compression = Compression {
    outgoing: CompressionContext::TakenOver { window_bits: 15 },
    incoming: CompressionContext::TakenOver { window_bits: 15 },
};
const FRESH: Compression =
    Compression { outgoing: CompressionContext::Fresh, incoming: CompressionContext::Fresh };
const SMALL: Compression = Compression {
    outgoing: CompressionContext::TakenOver { window_bits: 9 },
    incoming: CompressionContext::TakenOver { window_bits: 9 },
};

const SENDS: Compression = Compression { outgoing: KEPT.outgoing, ..FRESH };
const RECEIVES: Compression = Compression { incoming: KEPT.incoming, ..FRESH };

fn modes() -> [CompressionConfig; 4] {
    let shared = CompressionConfig::shared();
    let dedicated = CompressionConfig::dedicated();
    [
        shared,
        dedicated,
        CompressionConfig { compressor: Compressor::Dedicated { window_bits: 9 }, ..shared },
        CompressionConfig {
            decompressor: Decompressor::Dedicated { window_bits: 10 },
            compressor: Compressor::Off,
            ..dedicated
        },
    ]
}

#[test]
fn whatever_is_sent_arrives_in_order_in_every_mode() {
    for backend in [Backend::Epoll, Backend::Uring] {
        for config in modes() {
            let Some(running) = serve(backend, config, 1) else { continue };
            for offer in [None, Some(FRESH), Some(KEPT), Some(SMALL), Some(SENDS), Some(RECEIVES)] {
                let mut client = connect(&running, offer);
                assert_eq!(client.is_compressed(), offer.is_some());
                for number in 0..4 {
                    let text = text(number);
                    for command in ["", "plain ", "prepared ", "pieces "] {
                        client.send(&format!("{command}{text}")).unwrap();
                        assert_eq!(next(&mut client), text);
                        client.send(&text).unwrap();
                        assert_eq!(next(&mut client), text);
                    }
                    client.send(&format!("both {text}")).unwrap();
                    for _ in 0..5 {
                        assert_eq!(next(&mut client), text);
                    }
                    client.send("short").unwrap();
                    assert_eq!(next(&mut client), "short");
                }
            }
            end(running);
        }
    }
}

#[test]
fn plain_and_compressed_subscribers_of_one_topic_get_the_same() {
    for workers in [1, 2] {
        for config in modes() {
            let Some(running) = serve(Backend::Epoll, config, workers) else { continue };
            let offers =
                [None, Some(FRESH), Some(KEPT), Some(SMALL), None, Some(FRESH), Some(KEPT)];
            let mut clients: Vec<Client> =
                offers.iter().map(|offer| connect(&running, *offer)).collect();
            // Whoever has an echo has subscribed.
            for client in &mut clients {
                client.send("ready").unwrap();
                assert_eq!(next(client), "ready");
            }
            for sender in 0..clients.len() {
                let (first, second) = (text(sender), text(sender + 100));
                clients[sender].send(&format!("publish {first}")).unwrap();
                clients[sender].send(&format!("publish-uncompressed {second}")).unwrap();
                clients[sender].send(&second).unwrap();
                assert_eq!(next(&mut clients[sender]), second);
                for (index, client) in clients.iter_mut().enumerate() {
                    if index != sender {
                        assert_eq!([next(client), next(client)], [first.clone(), second.clone()]);
                        // What is sent to each by itself goes on from there.
                        client.send(&first).unwrap();
                        assert_eq!(next(client), first);
                    }
                }
            }
            let from_outside = text(1000);
            running.remote().publish("all", &from_outside).unwrap();
            for client in &mut clients {
                assert_eq!(next(client), from_outside);
            }
            end(running);
        }
    }
}

/// How many subscribers of each kind there are below.
const KINDS: usize = 20;

#[test]
fn a_broadcast_is_compressed_once_whatever_the_number_of_its_subscribers() {
    for backend in [Backend::Epoll, Backend::Uring] {
        for (mode, workers) in modes().into_iter().zip([1, 1, 2]) {
            let Some(running) = serve(backend, mode, workers) else { continue };
            let offers = [None, Some(FRESH), Some(KEPT), Some(SMALL)];
            let mut clients: Vec<Client> =
                (0..KINDS).flat_map(|_| offers).map(|offer| connect(&running, offer)).collect();
            for client in &mut clients {
                client.send("ready").unwrap();
                assert_eq!(next(client), "ready");
            }
            let compressions = || running.remote().total_stats().compressions;
            assert_eq!(compressions(), 0, "what is below the threshold is not");
            for number in 0..10 {
                running.remote().publish("all", &text(number)).unwrap();
            }
            for client in &mut clients {
                for number in 0..10 {
                    assert_eq!(next(client), text(number));
                }
            }
            // The counts are those of the last turn that has ended.
            for client in &mut clients {
                client.send("x").unwrap();
                assert_eq!(next(client), "x");
            }
            let (made, workers) = (compressions(), workers as u64);
            assert!((10..=10 * workers).contains(&made), "{made} on {workers} of {mode:?}");
            end(running);
        }
    }
}

#[test]
fn fewer_bytes_leave_where_they_can_be_fewer() {
    let sent_bytes = |config, offer, commands: &[String]| {
        let running = serve(Backend::Epoll, config, 1).unwrap();
        let mut client = connect(&running, offer);
        client.send("x").unwrap();
        assert_eq!(next(&mut client), "x");
        let before = running.remote().total_stats().bytes_out;
        for command in commands {
            client.send(command).unwrap();
            next(&mut client);
        }
        // The counts are those of the last turn that has ended.
        client.send("x").unwrap();
        next(&mut client);
        let bytes = running.remote().total_stats().bytes_out - before;
        end(running);
        usize::try_from(bytes).unwrap()
    };
    let texts = vec![text(1); 10];
    let length: usize = texts.iter().map(String::len).sum();
    let shared = CompressionConfig::shared();
    let plain = sent_bytes(shared, None, &texts);
    let compressed = sent_bytes(shared, Some(KEPT), &texts);
    let kept = sent_bytes(CompressionConfig::dedicated(), Some(KEPT), &texts);
    assert!(plain > length && compressed < length / 3, "{plain} {compressed}");
    assert!(kept < compressed / 2, "{kept} {compressed}");
    // And fewer where it tries harder, in what is sent to one and to many.
    let harder = CompressionConfig { level: 9, ..shared };
    let most = sent_bytes(harder, Some(KEPT), &texts);
    assert!(most < compressed, "{most} {compressed}");
    let prepared: Vec<String> = texts.iter().map(|text| format!("prepared {text}")).collect();
    let [easy, hard] = [1, 9].map(|publish_level| {
        sent_bytes(CompressionConfig { publish_level, ..shared }, Some(KEPT), &prepared)
    });
    assert!(hard < easy && hard.abs_diff(most) < 100, "{hard} {easy} {most}");
    // Little memory makes short blocks, which long messages suffer from.
    let long = [(0..10).map(text).collect::<String>()];
    let [little, much] = [1, 9].map(|memory_level| {
        let config = CompressionConfig { memory_level, level: 9, ..shared };
        sent_bytes(config, Some(KEPT), &long)
    });
    assert!(little > much, "{little} {much}");
    // Opted out, or below the threshold, or off.
    let opted_out: Vec<String> = texts.iter().map(|text| format!("plain {text}")).collect();
    assert!(sent_bytes(shared, Some(KEPT), &opted_out) > length);
    let high = CompressionConfig { threshold: 100_000, ..shared };
    assert!(sent_bytes(high, Some(KEPT), &texts) > length);
    let one_way = CompressionConfig { compressor: Compressor::Off, ..shared };
    assert!(sent_bytes(one_way, Some(KEPT), &texts) > length);
    assert!(!connect_off());
}

/// Whether compression is agreed on where it is off.
fn connect_off() -> bool {
    let running = serve(Backend::Epoll, CompressionConfig::off(), 1).unwrap();
    let is_compressed = connect(&running, Some(KEPT)).is_compressed();
    end(running);
    is_compressed
}

#[test]
fn what_is_kept_for_idle_sockets_is_let_go() {
    let release_after = Duration::from_millis(100);
    let config = CompressionConfig { release_after, ..CompressionConfig::dedicated() };
    for backend in [Backend::Epoll, Backend::Uring] {
        let Some(running) = serve(backend, config, 1) else { continue };
        check_release(running);
    }
}

fn check_release(running: Running) {
    let mut client = connect(&running, Some(KEPT));
    let text = text(1);
    let mut lengths = Vec::new();
    for round in 0..3 {
        let before = running.remote().total_stats().bytes_out;
        client.send(&text).unwrap();
        assert_eq!(next(&mut client), text);
        if round == 1 {
            // Nothing is sent for longer than that; a receive that times out is the clock.
            client.set_timeout(Some(Duration::from_millis(400))).unwrap();
            assert!(client.receive().is_err());
            client.set_timeout(Some(Duration::from_secs(10))).unwrap();
        } else {
            client.ping(b"").unwrap();
            assert!(matches!(client.receive().unwrap(), Event::Pong(_)));
        }
        lengths.push(running.remote().total_stats().bytes_out - before);
    }
    // The second refers to the first; the third cannot any more, and is understood all the same.
    assert!(lengths[1] * 2 < lengths[0] && lengths[1] * 2 < lengths[2], "{lengths:?}");
    end(running);
}
