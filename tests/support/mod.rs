//! What the scenario tests share: servers on every backend, peers that say any bytes to them, and
//! a handler that does what a peer tells it.
//!
//! A scenario is a function that takes an [`On`] and is written once, in blocking style.
//! [`scenarios!`] makes a test of it on each backend:
//!
//! - `uring` and `epoll`: real threads and sockets;
//! - `sim`: workers over [`SimReactor`](sockeye::reactor::SimReactor), stepped by the test's own
//!   thread whenever a peer waits, in virtual time;
//! - `faults`: the same with faults that lose nothing, once for each of several seeds.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test uses a part of this")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests wait for peers")]

use std::{env, thread};

use sockeye::{
    Backend,
    reactor::{self, UringReactor},
};

mod bed;
mod log;
mod peer;
pub(crate) mod process;
mod puppet;
mod wire;

pub(crate) use bed::{Bed, Builder};
pub(crate) use log::Log;
pub(crate) use peer::{End, Peer};
pub(crate) use puppet::{Puppet, numbered};
pub(crate) use wire::{Frame, Response, close_payload, frame, frame_of, get, handshake};

/// Where a scenario takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Uring,
    Epoll,
    /// The simulation, without faults.
    Sim,
    /// The simulation, with the faults of this seed.
    Faults(u64),
}

impl On {
    /// A server of an application, with the default settings and one worker.
    pub(crate) fn bed(self) -> Builder {
        Builder::new(self)
    }

    pub(crate) fn is_simulated(self) -> bool {
        self.backend().is_none()
    }

    /// How a real server speaks to the kernel.
    pub(crate) fn backend(self) -> Option<Backend> {
        match self {
            Self::Uring => Some(Backend::Uring),
            Self::Epoll => Some(Backend::Epoll),
            Self::Sim | Self::Faults(_) => None,
        }
    }

    /// The seed and whether there are faults.
    fn seed(self) -> (u64, bool) {
        match self {
            Self::Faults(seed) => (seed, true),
            _ => (0, false),
        }
    }
}

/// Runs a scenario, if this machine has the backend.
pub(crate) fn run(on: On, scenario: fn(On)) {
    silence_panics_on_purpose();
    if on == On::Uring
        && let Err(error) = UringReactor::probe(&reactor::Config::default())
    {
        return eprintln!("skipped: {error}");
    }
    scenario(on);
}

/// Runs a scenario under faults: of the seed in `SIM_SEED`, or of a few.
pub(crate) fn run_with_faults(scenario: fn(On)) {
    silence_panics_on_purpose();
    let seeds = match env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=FAULT_SEEDS).collect(),
    };
    for seed in seeds {
        let _told = TellSeed(seed);
        scenario(On::Faults(seed));
    }
}

/// Says which seed made a test fail.
struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("repeat it with SIM_SEED={}", self.0);
        }
    }
}

/// Handlers panic where a scenario says so: that needs no trace.
pub(crate) fn silence_panics_on_purpose() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            if text != Some(ON_PURPOSE) {
                hook(info);
            }
        }));
    });
}

/// A test of each scenario on each backend. After `calm:` those to which faults make a difference.
macro_rules! scenarios {
    ($($name:ident),* $(,)? $(; calm: $($calm:ident),* $(,)?)?) => {
        $crate::support::scenarios!(@on uring Uring: $($name)* $($($calm)*)?);
        $crate::support::scenarios!(@on epoll Epoll: $($name)* $($($calm)*)?);
        $crate::support::scenarios!(@on sim Sim: $($name)* $($($calm)*)?);
        mod faults {
            $(#[test]
            fn $name() {
                $crate::support::run_with_faults(super::$name);
            })*
        }
    };
    (@on $module:ident $on:ident: $($name:ident)*) => {
        mod $module {
            $(#[test]
            fn $name() {
                $crate::support::run($crate::support::On::$on, super::$name);
            })*
        }
    };
}
pub(crate) use scenarios;

/// What handlers panic with.
pub(crate) const ON_PURPOSE: &str = "on purpose";

const FAULT_SEEDS: u64 = 8;
