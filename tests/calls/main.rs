//! Failure at the N-th call: for each scene, the first, second, third … call of each kind fails in
//! each way it can, until the scene is over without.
//!
//! Each time: nobody panics, hangs or turns round; what can be tried again is, and what cannot
//! costs one connection at most; a new connection is served; no descriptor is left behind. A
//! server that cannot start says what to do.
//!
//! ```text
//! cargo test --test calls                      on io_uring, epoll and the simulation
//! cargo test --test calls uring -- --nocapture   says how many calls failed
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "peers are ordinary")]

use std::{
    fs, panic,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EBADF, EBUSY, ECANCELED, ECONNABORTED, ECONNRESET,
    EINTR, EINVAL, EIO, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, ENOSYS, ENOTCONN, EPERM, EPIPE,
    EPROTO, ETIMEDOUT,
};
use scenes::{FILES, SCENES, Scene, app, content, still_serves};
use shim::{Call, SHORT};
use sockeye::{Address, Backend, Server, reactor::SimFaults};
use support::{On, run};

mod scenes;
#[allow(unsafe_code, clippy::cast_possible_truncation, reason = "stands in for the C library")]
mod shim;
#[path = "../support/mod.rs"]
mod support;

/// What a failure may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Nothing,
    Connection,
}

/// The ways in which calls of a server that runs can fail.
///
/// EAGAIN of an accept, a receive or a send is left out: the kernel says so when there is nothing
/// or no room, and then tells when there is. A lie would be believed. The simulation has both.
const WAYS: &[(Call, Cost, &[i32])] = &[
    (Call::Accept, Cost::Nothing, &[EINTR, ECONNABORTED, EPROTO, ETIMEDOUT]),
    (Call::Accept, Cost::Nothing, &[EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM]),
    (Call::Close, Cost::Nothing, &[EINTR, EIO]),
    (Call::EpollControl, Cost::Connection, &[ENOMEM, ENOSPC]),
    (Call::EpollWait, Cost::Nothing, &[EINTR]),
    (Call::Open, Cost::Nothing, &[EINTR, EAGAIN, ENOSYS, EPERM]),
    (Call::Open, Cost::Connection, &[EMFILE, ENFILE, ENOMEM, EIO, EACCES]),
    (Call::PeerName, Cost::Connection, &[ENOTCONN, ENOBUFS]),
    (Call::Read, Cost::Nothing, &[EINTR, EAGAIN]),
    (Call::ReadAt, Cost::Nothing, &[EINTR, SHORT]),
    (Call::ReadAt, Cost::Connection, &[EIO]),
    (Call::Receive, Cost::Nothing, &[EINTR]),
    (Call::Receive, Cost::Connection, &[ECONNRESET, ETIMEDOUT, ENOMEM, EIO]),
    (Call::RingEnter, Cost::Nothing, &[EINTR, EAGAIN, EBUSY]),
    (Call::Send, Cost::Nothing, &[EINTR, SHORT]),
    (Call::Send, Cost::Connection, &[EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EIO, EPERM]),
    (Call::Shutdown, Cost::Connection, &[ENOTCONN]),
    (Call::Stat, Cost::Connection, &[EIO, ENOMEM, EACCES]),
    (Call::SubmitAccept, Cost::Nothing, &[EINTR, EAGAIN, ECANCELED, ECONNABORTED]),
    (Call::SubmitAccept, Cost::Nothing, &[EMFILE, ENFILE, ENOBUFS, ENOMEM]),
    (Call::SubmitPoll, Cost::Nothing, &[ECANCELED, ENOMEM]),
    (Call::SubmitReceive, Cost::Nothing, &[EINTR, EAGAIN, ECANCELED, ENOBUFS]),
    (Call::SubmitReceive, Cost::Connection, &[ECONNRESET, ENOMEM, EIO]),
    (Call::SubmitSend, Cost::Nothing, &[EAGAIN]),
    (Call::SubmitSend, Cost::Connection, &[EPIPE, ECONNRESET, ENOMEM, ENOBUFS]),
    (Call::Write, Cost::Nothing, &[EINTR]),
];

/// The ways in which a start can fail.
const WAYS_AT_START: &[(Call, &[i32])] = &[
    (Call::Socket, &[EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES]),
    (Call::SetOption, &[ENOMEM, ENOBUFS]),
    (Call::Fcntl, &[EMFILE, EINVAL]),
    (Call::Bind, &[EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM]),
    (Call::Listen, &[EADDRINUSE]),
    (Call::SocketName, &[ENOBUFS]),
    (Call::EpollCreate, &[EMFILE, ENFILE, ENOMEM]),
    (Call::EpollControl, &[ENOMEM, ENOSPC]),
    (Call::EventFd, &[EMFILE, ENFILE, ENOMEM]),
    (Call::Thread, &[EAGAIN]),
    (Call::Map, &[ENOMEM]),
    (Call::RingSetup, &[ENOSYS, EPERM, EMFILE, ENFILE, ENOMEM]),
    (Call::RingRegister, &[EINVAL, EPERM, ENOMEM]),
    (Call::RingEnter, &[EINTR, EAGAIN, EBUSY]),
    (Call::SubmitAccept, &[EMFILE, EINVAL]),
    (Call::SubmitPoll, &[ENOMEM]),
];

/// Calls that never succeed again: the worker has to give up, and the server with it.
const FATAL: &[(Call, &[i32])] = &[
    (Call::EpollWait, &[EBADF, EINVAL]),
    (Call::RingEnter, &[EBADF, EIO, EAGAIN, EINTR, EBUSY, ENOMEM]),
];

#[test]
fn every_call_may_fail_uring() {
    let _alone = Alone::new();
    run(On::Uring, every_call_may_fail);
}

#[test]
fn every_call_may_fail_epoll() {
    let _alone = Alone::new();
    run(On::Epoll, every_call_may_fail);
}

fn every_call_may_fail(on: On) {
    let folder = Folder::new(on);
    for (name, scene) in SCENES {
        let mut failed = 0;
        for &(call, cost, errors) in WAYS {
            for &error in errors {
                let play = |nth: &u64| play(on, &folder, name, scene, (call, *nth, error, cost));
                failed += numbers().take_while(play).count();
            }
        }
        assert!(failed > 0, "{name}: not one call was there to fail");
        eprintln!("{on:?}: {name}: {failed} calls failed");
    }
}

/// Every number up to 50, and then fewer: those of a loop are alike.
fn numbers() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(1), |nth| Some(nth + 1 + if *nth < 50 { 0 } else { nth / 5 }))
}

/// Plays a scene with a call that fails. Whether there was such a call.
fn play(on: On, folder: &Folder, name: &str, scene: Scene, way: (Call, u64, i32, Cost)) -> bool {
    let (call, nth, error, cost) = way;
    let _told = Tell(format!("{on:?}: {name}: {call:?} {nth} fails with {error}"));
    let panics = PANICS.load(Ordering::SeqCst);
    let before = descriptors();
    let bed = on.bed().workers(2).serve(app(&folder.0));
    let calls = shim::calls();
    shim::fail(call, nth, error);
    let lost = scene(&bed);
    let failed = shim::relent();
    assert!(shim::calls() - calls < MAX_CALLS, "{} calls", shim::calls() - calls);
    assert!(lost <= usize::from(failed && cost == Cost::Connection), "{lost} connections lost");
    if !bed.has_ended() {
        still_serves(&bed);
        let calls = shim::calls();
        thread::sleep(REST);
        assert!(shim::calls() - calls < MAX_CALLS_AT_REST, "it turns round");
    }
    drop(bed);
    assert_eq!(descriptors(), before, "as many descriptors as before");
    assert_eq!(PANICS.load(Ordering::SeqCst), panics, "nobody panics");
    failed
}

#[test]
fn a_start_fails_with_advice_or_serves_uring() {
    let _alone = Alone::new();
    run(On::Uring, |_| a_start_fails_with_advice_or_serves(Backend::Uring));
}

#[test]
fn a_start_fails_with_advice_or_serves_epoll() {
    let _alone = Alone::new();
    run(On::Epoll, |_| a_start_fails_with_advice_or_serves(Backend::Epoll));
}

#[test]
fn a_start_that_may_choose_falls_back() {
    let _alone = Alone::new();
    run(On::Uring, |_| a_start_fails_with_advice_or_serves(Backend::Auto));
}

fn a_start_fails_with_advice_or_serves(backend: Backend) {
    let path = std::env::temp_dir().join(format!("sockeye-calls-{}.sock", std::process::id()));
    let start = || {
        let app = || sockeye::App::new().get("/", |_| sockeye::Response::text("here"));
        let server = Server::new(app).backend(backend).workers(2).listen("127.0.0.1:0");
        let server = server.listen(format!("unix:{}", path.display()));
        shim::as_server(|| server.start())
    };
    let (mut served, mut refused) = (0, 0);
    for &(call, errors) in WAYS_AT_START {
        for &error in errors {
            for nth in 1.. {
                let _told = Tell(format!("{backend}: at its start {call:?} {nth} fails: {error}"));
                let before = descriptors();
                shim::fail(call, nth, error);
                let result = start();
                let failed = shim::relent();
                match result {
                    Ok(running) => {
                        served += 1;
                        for address in running.addresses() {
                            fetch(address);
                        }
                    }
                    Err(told) => {
                        refused += 1;
                        assert!(failed, "{told}");
                        let is_ring =
                            matches!(call, Call::Map | Call::RingSetup | Call::RingRegister);
                        assert!(backend != Backend::Auto || !is_ring, "{told}");
                        // Nobody can do anything about calls that are not known or not right.
                        let text = told.to_string();
                        assert!(error == EINVAL || has_advice(&text), "no advice: {text}");
                    }
                }
                assert_eq!(descriptors(), before, "as many descriptors as before");
                assert!(!path.exists(), "the path is removed");
                if !failed {
                    break;
                }
            }
        }
    }
    eprintln!("{backend}: {refused} starts failed, {served} did not");
    assert!(served > 0 && (refused > 0 || backend == Backend::Auto));
}

fn fetch(address: &Address) {
    use std::io::{Read, Write};
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    match address {
        Address::Tcp(address) => {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request).unwrap();
            stream.read_to_string(&mut answer).unwrap();
        }
        Address::Unix(path) => {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request).unwrap();
            stream.read_to_string(&mut answer).unwrap();
        }
    }
    assert!(answer.ends_with("here"), "{answer}");
}

/// Whether an error says more than that there was one.
fn has_advice(text: &str) -> bool {
    ["; ", "forbidden here", "raise the limit"].iter().any(|advice| text.contains(advice))
}

#[test]
fn a_worker_that_cannot_go_on_ends_the_server_uring() {
    let _alone = Alone::new();
    run(On::Uring, |_| a_worker_that_cannot_go_on_ends_the_server(Backend::Uring, Call::RingEnter));
}

#[test]
fn a_worker_that_cannot_go_on_ends_the_server_epoll() {
    let _alone = Alone::new();
    run(On::Epoll, |_| a_worker_that_cannot_go_on_ends_the_server(Backend::Epoll, Call::EpollWait));
}

fn a_worker_that_cannot_go_on_ends_the_server(backend: Backend, call: Call) {
    let errors = FATAL.iter().filter(|(of, _)| *of == call).flat_map(|(_, errors)| *errors);
    for &error in errors {
        let _told = Tell(format!("{backend}: {call:?} fails with {error} from now on"));
        let before = descriptors();
        let app = || sockeye::App::new().get("/", |_| sockeye::Response::text("here"));
        let server = Server::new(app).backend(backend).workers(2).listen("127.0.0.1:0");
        let running = server.start().unwrap();
        let Address::Tcp(address) = running.addresses()[0] else { panic!("asked for TCP") };
        let peers: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(address)).collect();
        let (calls, begin) = (shim::calls(), Instant::now());
        shim::fail_from(call, 1, error);
        let _ = running.remote().run_on(0, |_| {});
        let result = running.join();
        assert!(shim::relent(), "it was called");
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with("a worker cannot go on: "), "{text}");
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        assert!(shim::calls() - calls < MAX_CALLS, "{} calls", shim::calls() - calls);
        drop(peers);
        assert_eq!(descriptors(), before, "as many descriptors as before");
    }
}

/// A connection over TCP whose address is not to be had looks like one over a Unix socket. Those
/// may be a proxy's, who is believed.
#[test]
fn a_connection_that_has_lost_its_address_is_nobody_to_be_trusted() {
    use std::io::{Read, Write};
    let _alone = Alone::new();
    run(On::Uring, |_| {
        let app = || {
            sockeye::App::new()
                .proxies(sockeye::Proxies::at(["unix"]).x_forwarded_for())
                .get("/", |request| sockeye::Response::text(format!("{:?}", request.client_ip())))
        };
        let server = Server::new(app).backend(Backend::Uring).workers(1).listen("127.0.0.1:0");
        let running = server.start().unwrap();
        let Address::Tcp(address) = running.addresses()[0] else { panic!("asked for TCP") };
        let ask = || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                X-Forwarded-For: 192.0.2.1\r\n\r\n";
            let _ = stream.write_all(request);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        shim::fail(Call::PeerName, 1, ENOTCONN);
        assert_eq!(ask(), "", "it is closed");
        assert!(shim::relent(), "the address was asked for");
        assert!(ask().ends_with("Some(127.0.0.1)"), "others are served");
    });
}

#[test]
fn every_occasion_of_a_fault_sim() {
    let _alone = Alone::new();
    run(On::Sim, every_occasion_of_a_fault);
}

fn every_occasion_of_a_fault(on: On) {
    let folder = Folder::new(on);
    let none = SimFaults::default();
    let faults = [
        (Cost::Nothing, SimFaults { short_read: 1, ..none }),
        (Cost::Nothing, SimFaults { short_send: 1, ..none }),
        (Cost::Nothing, SimFaults { would_block: 1, ..none }),
        (Cost::Nothing, SimFaults { late_send: 1, ..none }),
        (Cost::Nothing, SimFaults { spurious_wake: 1, ..none }),
        (Cost::Nothing, SimFaults { overflow: 1, ..none }),
        (Cost::Nothing, SimFaults { no_buffers: 1, ..none }),
        (Cost::Nothing, SimFaults { full_queue: 1, ..none }),
        (Cost::Nothing, SimFaults { delay: 1, ..none }),
        (Cost::Nothing, SimFaults { late_pause: 1, ..none }),
        (Cost::Nothing, SimFaults { late_closed: 1, ..none }),
        (Cost::Nothing, SimFaults { accept_failed: 1, ..none }),
        (Cost::Connection, SimFaults { open_failed: 1, ..none }),
        (Cost::Connection, SimFaults { reset: 1, ..none }),
        (Cost::Connection, SimFaults { reset_on_close: 1, ..none }),
    ];
    for (name, scene) in SCENES {
        let mut failed = 0;
        for (cost, fault) in faults {
            for nth in numbers() {
                let _told = Tell(format!("{name}: occasion {nth} of {fault:?}"));
                let bed = on.bed().workers(2).serve(app(&folder.0));
                let network = bed.network().unwrap();
                network.fail_nth(fault, nth);
                let lost = scene(&bed);
                let happened = network.has_failed();
                let allowed = happened && cost == Cost::Connection;
                assert!(lost <= usize::from(allowed), "{lost} connections lost");
                if !bed.has_ended() {
                    still_serves(&bed);
                }
                if !happened {
                    break;
                }
                failed += 1;
            }
        }
        assert!(failed > 0, "{name}: not one occasion");
        eprintln!("{on:?}: {name}: {failed} faults");
    }
}

/// One test after the other: what fails is of the whole process.
struct Alone(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static PANICS: AtomicU64 = AtomicU64::new(0);

impl Alone {
    fn new() -> Self {
        static ONCE: std::sync::Once = std::sync::Once::new();
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        ONCE.call_once(|| {
            let hook = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                PANICS.fetch_add(1, Ordering::SeqCst);
                hook(info);
            }));
        });
        Self(guard)
    }
}

/// Says what a test was doing when it failed.
struct Tell(String);

impl Drop for Tell {
    fn drop(&mut self) {
        if thread::panicking() {
            shim::relent();
            eprintln!("{}", self.0);
        }
    }
}

/// A folder of files that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(on: On) -> Self {
        let name = format!("sockeye-calls-{}-{on:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        for (name, length) in FILES {
            fs::write(path.join(name), content(length)).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

const PATIENCE: Duration = Duration::from_secs(10);
/// More calls than any scene takes.
const MAX_CALLS: u64 = 5000;
const REST: Duration = Duration::from_millis(5);
/// More calls than two workers make that have nothing to do.
const MAX_CALLS_AT_REST: u64 = 40;
