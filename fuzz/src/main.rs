//! Gives the fuzzer's bytes to the target that `FUZZ_TARGET` names.
#![no_main]
#![allow(unreachable_pub, reason = "shared with a test")]

use std::sync::LazyLock;

#[path = "../../tests/fuzz_targets/mod.rs"]
mod fuzz_targets;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    let found = fuzz_targets::TARGETS.iter().find(|(target, _)| *target == name);
    found.expect("there is such a target").1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
