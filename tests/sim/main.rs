//! Whole workers in a simulated world: a seed draws faults, limits and what everybody does, and a
//! reference model checks every byte.
//!
//! ```text
//! cargo test --test sim                        some hundred seeds
//! SIM_SEED=n cargo test --test sim             one, with what happened at its end if it fails
//! SIM_EVENTS=n …                               with the last so many things that happened
//! SIM_SEEDS=n cargo test --release --test sim  so many, from SIM_FROM on
//! SIM_SECONDS=n …                              for so long
//! SIM_GOES_ON=1 …                              to the end, whatever fails
//! SIM_PLAIN=1 …                                worlds as they were before they had compression,
//!                                              event streams, uploads and bodies in pieces
//! ```
#![allow(unreachable_pub, reason = "a test has no users")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

mod book;
mod client;
mod deflation;
mod events;
mod exchange;
mod handler;
mod options;
mod script;
mod world;

use options::Options;
use world::{Outcome, run};

/// Seeds that once showed a fault in a plain world.
const PLAIN_REGRESSIONS: &[u64] = &[
    192,    // a throttled socket was not read any more once its closing began
    700,    // what came back from the kernel in two pieces changed its order
    9_064,  // a late answer opened a socket whose connection had just been dropped
    74_533, // a socket that overflowed while it left its topics was closed twice
];

/// Seeds that once showed a fault.
const REGRESSIONS: &[u64] = &[
    // Heads of upgrades and close frames were not counted as bytes out.
    6,
];

const SEEDS: u64 = 1000;

/// How a seed becomes a world.
type Draw = fn(u64) -> Options;

#[test]
fn every_byte_is_as_the_model_says() {
    let draw: Draw = if number("SIM_PLAIN").is_some() { Options::plain } else { Options::drawn };
    if let Some(seed) = number("SIM_SEED") {
        println!("{:#?}", draw(seed));
        return examine(draw, seed);
    }
    let from = number("SIM_FROM").unwrap_or(0);
    let seconds = number("SIM_SECONDS");
    let seeds = number("SIM_SEEDS").unwrap_or(if seconds.is_some() { u64::MAX } else { SEEDS });
    let (mut messages, mut count) = (0, 0);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let started = now();
    let goes_on = number("SIM_GOES_ON").is_some();
    let mut failing = Vec::new();
    for seed in (from..).take(usize::try_from(seeds).unwrap_or(usize::MAX)) {
        let outcome = attempt(&draw(seed), false);
        count += 1;
        messages += outcome.messages;
        for (what, times) in outcome.seen.into_iter().filter(|(_, times)| *times > 0) {
            *seen.entry(what).or_default() += times;
        }
        if !outcome.failures.is_empty() {
            println!("seed {seed}: {}", outcome.failures.join("; "));
            failing.push(seed);
            if !goes_on {
                break;
            }
        }
        if count % 64 == 0 && seconds.is_some_and(|seconds| started.elapsed().as_secs() >= seconds)
        {
            break;
        }
    }
    if let Some(&seed) = failing.first() {
        println!("{} of {count} seeds fail", failing.len());
        examine(draw, seed);
        panic!("seed {seed} fails only without its events");
    }
    println!("{seen:#?}");
    println!("{count} seeds from {from} on, {messages} messages, {:?}", started.elapsed());
    assert!(messages > count, "hardly anything happened");
    if count >= SEEDS && number("SIM_PLAIN").is_none() {
        let never: Vec<_> = EVENTS.iter().filter(|what| !seen.contains_key(*what)).collect();
        assert!(never.is_empty(), "so many worlds, and never: {never:?}");
    }
}

#[test]
fn what_was_wrong_once_is_right() {
    for &seed in PLAIN_REGRESSIONS {
        examine_quickly(Options::plain, seed);
    }
    for &seed in REGRESSIONS {
        examine_quickly(Options::drawn, seed);
    }
}

#[test]
fn a_seed_determines_everything() {
    for seed in 0..20 {
        let (first, second) =
            (attempt(&Options::drawn(seed), true), attempt(&Options::drawn(seed), true));
        assert_eq!(first.events, second.events, "seed {seed}");
    }
}

fn examine_quickly(draw: Draw, seed: u64) {
    let outcome = attempt(&draw(seed), false);
    if !outcome.failures.is_empty() {
        examine(draw, seed);
        panic!("seed {seed} fails only without its events: {:?}", outcome.failures);
    }
}

/// Runs a seed; if it fails, says how, with as few steps as will do.
fn examine(draw: Draw, seed: u64) {
    let mut options = draw(seed);
    let outcome = attempt(&options, true);
    if outcome.failures.is_empty() {
        return;
    }
    let mut shortest = (options.steps, outcome);
    let mut low = 0;
    while low + 1 < shortest.0 {
        options.steps = low.midpoint(shortest.0);
        let outcome = attempt(&options, true);
        if outcome.failures.is_empty() {
            low = options.steps;
        } else {
            shortest = (options.steps, outcome);
        }
    }
    let (steps, Outcome { failures, events, .. }) = shortest;
    let options = Options { steps, ..draw(seed) };
    panic!(
        "\n{}\n\nseed {seed}, {steps} steps: {}\n{options:?}\n\n\
        SIM_SEED={seed} cargo test --test sim",
        events.join("\n"),
        failures.join("; "),
    );
}

/// One run. A panic of the server, or of the test, is a failure too.
fn attempt(options: &Options, with_events: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(options, with_events))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let mut events = Vec::new();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            book::book(|book| book.events.take().unwrap_or_default().into())
        }));
        events.extend(caught.unwrap_or_else(|_| Vec::<String>::new()));
        let _ = catch_unwind(AssertUnwindSafe(book::close_book));
        let text = text.unwrap_or_else(|| "a panic without words".into());
        let failures = vec![format!("panic: {text}")];
        Outcome { failures, events, messages: 0, seen: BTreeMap::new() }
    })
}

/// What a thousand worlds have to have seen, each of these: else they are no test of it.
const EVENTS: &[&str] = &[
    // Of the kernel: clock, queues, buffers, descriptors, memory.
    "accept_failed",
    "accepting rests",
    "delay",
    "full_queue",
    "late_closed",
    "late_pause",
    "late_send",
    "no_buffers",
    "open_failed",
    "overflow",
    "reset",
    "reset_on_close",
    "short_read",
    "short_send",
    "spurious_wake",
    "the clock jumps",
    "would_block",
    // Of the limits.
    "a connection is refused",
    "a mailbox has no room",
    "a slow reader is closed",
    "a slow reader loses messages",
    "a slow stream is ended",
    "a worker refuses a letter",
    "a writer finds no room",
    "a writer is told of room",
    "an idle socket is closed",
    "an upload waits for its reader",
    "compressed messages are dropped",
    // Of WebSockets.
    "a message comes from another worker",
    "a message comes from outside",
    "a peer compresses a message",
    "a peer compresses what it may not",
    "a socket closes cleanly",
    "a socket is closed by a shutdown",
    "a socket is closed for a fault of its peer",
    "a socket is closed for a panic",
    "a socket is lost",
    "compression is agreed on",
    "the server compresses a message",
    // Of event streams.
    "a stream has a heartbeat",
    "an event arrives",
    "an event stream is opened",
    "an event with an id or a name arrives",
    // Of requests.
    "a body arrives in pieces",
    "a body is collected",
    "a body is cut off",
    "a handler gets trailers",
    "a page gets trailers",
    "a request is answered from elsewhere",
    "a writer has no reader",
    "a written body ends",
    "a written body is torn",
    "an upload is aborted",
    "an upload is received",
    // Of the model: what is said to be equal has been compared.
    "bytes are counted to the last one",
    "deliveries are counted to the last one",
];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[allow(clippy::disallowed_methods, reason = "how long a run of tests takes is real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
