//! Rule 6 of the reactor's contract where descriptors run out, and that none is ever left behind.
//!
//! Descriptors are counted per process, so each case runs in a process of its own: this file runs
//! itself again, with the case's name in the environment.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "the peers are ordinary sockets")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::RawFd,
    process::Command,
    time::{Duration, Instant},
};

use sockeye::{
    base::{Key, Outbox},
    reactor::{Address, Completion, Config, EpollReactor, Listener, Reactor, Socket, UringReactor},
};

/// Runs this test again in a process of its own. True in that process.
fn is_alone(name: &str) -> bool {
    if std::env::var("SOCKEYE_CASE").is_ok_and(|case| case == name) {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("SOCKEYE_CASE", name)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    text.lines().filter(|line| line.starts_with("skipped")).for_each(|line| eprintln!("{line}"));
    false
}

/// Declares a test of one case with each backend.
macro_rules! case {
    ($case:ident, $epoll:ident, $uring:ident) => {
        #[test]
        fn $epoll() {
            if is_alone(stringify!($epoll)) {
                $case(|| EpollReactor::new(&Config::default()));
            }
        }

        #[test]
        fn $uring() {
            if is_alone(stringify!($uring)) {
                match UringReactor::probe(&Config::default()) {
                    Ok(()) => $case(|| UringReactor::new(&Config::default())),
                    Err(error) if std::env::var_os("SOCKEYE_REQUIRE_URING").is_some() => {
                        panic!("{error}")
                    }
                    Err(error) => eprintln!("skipped: {error}"),
                }
            }
        }
    };
}

case!(listener_rests, epoll_listener_rests, uring_listener_rests);
case!(nothing_is_left_open, epoll_leaves_nothing_open, uring_leaves_nothing_open);
case!(thousands_end_at_once, epoll_hears_thousands_end, uring_hears_thousands_end);
case!(start_is_refused, epoll_start_is_refused, uring_start_is_refused);

fn listen(reactor: &mut impl Reactor<Listener = Listener>, number: usize) -> SocketAddr {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 4096).unwrap();
    let Address::Tcp(address) = *listener.address() else { panic!("asked for TCP") };
    reactor.listen(number, listener).unwrap();
    address
}

fn turn<R: Reactor>(reactor: &mut R, mut each: impl FnMut(&mut R, Told<R::Socket>)) {
    reactor.wait(Some(Duration::from_millis(20))).unwrap();
    loop {
        let told = match reactor.next() {
            None => return,
            Some(Completion::Accepted { socket, .. }) => Told::Accepted(socket),
            Some(Completion::AcceptFailed { error, .. }) => Told::AcceptFailed(error),
            Some(Completion::Received { key, bytes }) => Told::Received(key, bytes.to_vec()),
            Some(Completion::Ended { key, .. }) => Told::Ended(key),
            Some(Completion::Closed { .. }) => Told::Closed,
            Some(other) => panic!("{other:?}"),
        };
        each(reactor, told);
    }
}

enum Told<S> {
    Accepted(S),
    AcceptFailed(io::Error),
    Received(Key, Vec<u8>),
    Ended(Key),
    Closed,
}

/// At the limit a listener rests, costs nothing, disturbs nobody, and serves again afterwards.
fn listener_rests<R: Reactor<Listener = Listener, Socket = Socket>>(
    start: impl Fn() -> io::Result<R>,
) {
    let mut reactor = start().unwrap();
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let Address::Tcp(address) = *listener.address() else { panic!("asked for TCP") };
    // All of them now: they need descriptors as well.
    let mut old_peer = TcpStream::connect(address).unwrap();
    let mut peers: Vec<_> = (0..5).map(|_| TcpStream::connect(address)).collect();
    // And the limit before the listening: a ring remembers the one that it was given an accept
    // under.
    let before = set_limit(limit_with_free(4));
    reactor.listen(0, listener).unwrap();
    let mut opened = false;
    let (mut accepted, mut failures) = (Vec::new(), Vec::new());
    while failures.is_empty() {
        turn(&mut reactor, |reactor, told| match told {
            Told::Accepted(socket) if opened => accepted.push(socket),
            Told::Accepted(socket) => {
                reactor.open(Key::new(0, 0), socket).unwrap();
                opened = true;
            }
            Told::AcceptFailed(error) => failures.push(error),
            _ => panic!("nothing else happens"),
        });
    }
    assert_eq!(failures[0].raw_os_error(), Some(libc::EMFILE));
    assert_eq!(accepted.len(), 3);

    rests_without_effort(&mut reactor);
    serves_as_before(&mut reactor, &mut old_peer);

    // It is still too early: it says so again, and once.
    failures.clear();
    reactor.resume_accept(0);
    for _ in 0..5 {
        turn(&mut reactor, |_, told| match told {
            Told::AcceptFailed(error) => failures.push(error),
            _ => panic!("there is no descriptor"),
        });
    }
    assert_eq!(failures.len(), 1);

    // Descriptors are free again.
    let first = accepted.len();
    accepted.clear();
    set_limit(before);
    reactor.resume_accept(0);
    while first + accepted.len() < 5 {
        turn(&mut reactor, |_, told| match told {
            Told::Accepted(socket) => accepted.push(socket),
            _ => panic!("nothing else happens"),
        });
    }
    peers.push(TcpStream::connect(address));
    let mut late = false;
    while !late {
        turn(&mut reactor, |_, told| late |= matches!(told, Told::Accepted(_)));
    }
}

/// Connections wait, and nothing turns.
fn rests_without_effort<R: Reactor>(reactor: &mut R) {
    let cpu = cpu_time();
    let begin = Instant::now();
    let mut turns = 0;
    while begin.elapsed() < Duration::from_millis(400) {
        turn(reactor, |_, _| panic!("the listener rests"));
        turns += 1;
    }
    assert!(turns <= 40, "{turns} turns of 20 ms in 400 ms");
    let spent = cpu_time() - cpu;
    assert!(spent < Duration::from_millis(100), "{spent:?} of CPU time while resting");
}

/// Who is connected is served as before.
fn serves_as_before<R: Reactor>(reactor: &mut R, old_peer: &mut TcpStream) {
    old_peer.write_all(b"still here?").unwrap();
    let mut got: Vec<u8> = Vec::new();
    while got.len() < 11 {
        turn(reactor, |reactor, told| {
            let Told::Received(key, bytes) = told else { panic!("the listener rests") };
            got.extend(&bytes);
            let mut reply = Outbox::default();
            reply.append(&bytes);
            reactor.send(key, &mut reply);
        });
    }
    turn(reactor, |_, _| panic!("nothing more"));
    let mut reply = [0; 11];
    old_peer.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"still here?");
}

/// Whatever was under way, the process has as many descriptors afterwards as it had before.
fn nothing_is_left_open<R: Reactor<Listener = Listener, Socket = Socket>>(
    start: impl Fn() -> io::Result<R>,
) {
    drop(start().unwrap());
    let before = open_descriptors();
    for round in 0..6 {
        let mut reactor = start().unwrap();
        let address = listen(&mut reactor, 0);
        let mut peers: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut sockets = Vec::new();
        while sockets.len() < 20 {
            turn(&mut reactor, |_, told| match told {
                Told::Accepted(socket) => sockets.push(socket),
                _ => panic!("nothing else happens"),
            });
        }
        let mut closed = 0;
        for (n, socket) in (0..).zip(sockets) {
            let key = Key::new(n, round);
            reactor.open(key, socket).unwrap();
            peers[n as usize].write_all(b"some bytes").unwrap();
            match n % 4 {
                0 => reactor.close(key),
                1 => reactor.pause(key),
                2 => {
                    let mut outbox = Outbox::default();
                    outbox.append(&vec![0; 1 << 20]);
                    reactor.send(key, &mut outbox);
                }
                _ => {}
            }
        }
        // Rounds end in different states: nothing submitted, something reaped, all quiet.
        if round % 3 > 0 {
            reactor.wait(Some(Duration::ZERO)).unwrap();
        }
        if round % 3 > 1 {
            for _ in 0..20 {
                reactor.wait(Some(Duration::from_millis(1))).unwrap();
                while let Some(completion) = reactor.next() {
                    closed += usize::from(matches!(completion, Completion::Closed { .. }));
                }
            }
            assert_eq!(closed, 5);
            // Even connections that were accepted and not looked at.
            let late: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
            reactor.wait(Some(Duration::from_millis(20))).unwrap();
            peers.extend(late);
        }
        drop(reactor);
        for mut peer in peers {
            peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut rest = Vec::new();
            match peer.read_to_end(&mut rest) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            }
        }
        assert_eq!(open_descriptors(), before);
    }
}

/// More completions at once than a completion queue holds: none is lost.
fn thousands_end_at_once<R: Reactor<Listener = Listener, Socket = Socket>>(
    start: impl Fn() -> io::Result<R>,
) {
    const COUNT: usize = 6000;
    if set_limit(3 * COUNT as u64) < 3 * COUNT as u64 {
        return eprintln!("skipped: this user may not have {} descriptors", 3 * COUNT);
    }
    let mut reactor = start().unwrap();
    let pairs: Vec<_> =
        (0..COUNT).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
    let mut peers = Vec::new();
    for (n, (socket, peer)) in (0..).zip(pairs) {
        let socket = Socket::from(std::os::fd::OwnedFd::from(socket));
        reactor.open(Key::new(n, 0), socket).unwrap();
        peers.push(peer);
    }
    turn(&mut reactor, |_, _| panic!("nobody has done anything"));
    peers.iter_mut().for_each(|peer| peer.write_all(b"x").unwrap());
    drop(peers);
    let (mut received, mut ended, mut closed) = (0, vec![false; COUNT], 0);
    let begin = Instant::now();
    while closed < COUNT {
        turn(&mut reactor, |reactor, told| match told {
            Told::Received(_, bytes) => received += bytes.len(),
            Told::Ended(key) => {
                assert!(!std::mem::replace(&mut ended[key.index()], true));
                reactor.close(key);
            }
            Told::Closed => closed += 1,
            _ => panic!("nothing else happens"),
        });
        assert!(begin.elapsed() < Duration::from_secs(60), "{closed} of {COUNT} closed");
    }
    assert_eq!(received, COUNT);
}

/// Without descriptors there is no reactor, but an error that says so.
fn start_is_refused<R: Reactor>(start: impl Fn() -> io::Result<R>) {
    for free in 0..2 {
        let before = set_limit(limit_with_free(free));
        let error = start().err().expect("there are too few descriptors");
        set_limit(before);
        assert_eq!(error.raw_os_error().unwrap_or(libc::EMFILE), libc::EMFILE, "{error}");
        assert!(error.to_string().contains("Too many open files"), "{error}");
    }
    start().unwrap();
}

/// Sets how many descriptors this process may have; returns how many it could have before, or
/// can have now if that is fewer than asked for.
#[allow(unsafe_code, reason = "no library here speaks of limits")]
fn set_limit(count: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for writes.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let before = limit.rlim_cur;
    limit.rlim_cur = count.min(limit.rlim_max);
    // SAFETY: the structure is valid for reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    if count > before { limit.rlim_cur } else { before }
}

#[allow(unsafe_code, reason = "no library here speaks of CPU time")]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for writes.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// The open ones, without the one that reads the directory.
fn descriptors() -> Vec<RawFd> {
    let names = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let all: Vec<RawFd> = names.collect();
    all.into_iter().filter(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}

fn open_descriptors() -> usize {
    descriptors().len()
}

/// The limit under which so many more descriptors can be opened.
fn limit_with_free(count: usize) -> u64 {
    let used = descriptors();
    let free = (0..).filter(|number| !used.contains(number));
    free.take(count + 1).last().unwrap().try_into().unwrap()
}
