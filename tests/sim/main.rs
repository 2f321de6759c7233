//! Whole workers in a simulated world: a seed draws faults, limits and what everybody does, and a
//! reference model checks every byte.
//!
//! ```text
//! cargo test --test sim                        some hundred seeds
//! SIM_SEED=n cargo test --test sim             one, with what happened at its end if it fails
//! SIM_SEEDS=n cargo test --release --test sim  so many, from SIM_FROM on
//! SIM_SECONDS=n …                              for so long
//! ```
#![allow(unreachable_pub, reason = "a test has no users")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

mod book;
mod client;
mod handler;
mod options;
mod script;
mod world;

use options::Options;
use world::{Outcome, run};

/// Seeds that once showed a fault.
const REGRESSIONS: &[u64] = &[
    // A throttled socket was not read any more once its closing began: the peer's answer was lost.
    192, // What came back from the kernel in two pieces changed its order.
    700,
    // An upgrade that was answered late opened a socket whose connection had just been dropped.
    9064, // A socket that overflowed while it left its topics was closed twice.
    74_533,
];

const SEEDS: u64 = 1000;

#[test]
fn every_byte_is_as_the_model_says() {
    if let Some(seed) = number("SIM_SEED") {
        println!("{:#?}", Options::drawn(seed));
        return examine(seed);
    }
    let from = number("SIM_FROM").unwrap_or(0);
    let seconds = number("SIM_SECONDS");
    let seeds = number("SIM_SEEDS").unwrap_or(if seconds.is_some() { u64::MAX } else { SEEDS });
    let (mut messages, mut count) = (0, 0);
    let started = now();
    for seed in (from..).take(usize::try_from(seeds).unwrap_or(usize::MAX)) {
        messages += examine_quickly(seed);
        count += 1;
        if count % 64 == 0 && seconds.is_some_and(|seconds| started.elapsed().as_secs() >= seconds)
        {
            break;
        }
    }
    println!("{count} seeds from {from} on, {messages} messages, {:?}", started.elapsed());
    assert!(messages > count, "hardly anything happened");
}

#[test]
fn what_was_wrong_once_is_right() {
    for &seed in REGRESSIONS {
        examine_quickly(seed);
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

/// Returns how many messages there were.
fn examine_quickly(seed: u64) -> u64 {
    let outcome = attempt(&Options::drawn(seed), false);
    if !outcome.failures.is_empty() {
        examine(seed);
        panic!("seed {seed} fails only without its events: {:?}", outcome.failures);
    }
    outcome.messages
}

/// Runs a seed; if it fails, says how, with as few steps as will do.
fn examine(seed: u64) {
    let mut options = Options::drawn(seed);
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
    let options = Options { steps, ..Options::drawn(seed) };
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
        Outcome { failures: vec![format!("panic: {text}")], events, messages: 0 }
    })
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[allow(clippy::disallowed_methods, reason = "how long a run of tests takes is real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
