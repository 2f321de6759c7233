#!/usr/bin/env bash
# Fuzzes one target, guided by coverage, on the stable toolchain.
#
#   fuzz/run.sh TARGET [SECONDS]   default 60 s; see tests/fuzz_targets/mod.rs for the targets
#   fuzz/run.sh all [SECONDS]      each of them, one after the other
#   fuzz/run.sh TARGET merge       makes the corpus small again
#   SANITIZER=address fuzz/run.sh …  with AddressSanitizer
#
# The compiler's own coverage pass is what `cargo fuzz` uses on nightly too; RUSTC_BOOTSTRAP lets
# stable take its options. What is new goes to fuzz/work, and by `merge` to fuzz/corpus; what fails
# is written to fuzz/crashes, where `cargo test --test corpus` finds it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
target=${1:?a target, or all} seconds=${2:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
flags='--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1'
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$option"
done
[ -z "${SANITIZER:-}" ] || flags+=" -Zsanitizer=$SANITIZER"
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags cargo build --release --quiet --target "$host"
binary=$CARGO_TARGET_DIR/$host/release/sockeye-fuzz

fuzz() {
    mkdir -p "work/$1" "corpus/$1" "crashes/$1"
    if [ "$seconds" = merge ]; then
        mkdir -p "work/small"
        # As few files as reach every place, however often each is passed: they run as plain tests.
        FUZZ_TARGET=$1 "$binary" -set_cover_merge=1 -use_counters=0 -max_len=4096 \
            work/small "corpus/$1" "work/$1"
        rm -r "corpus/$1" && mv work/small "corpus/$1"
        return
    fi
    FUZZ_TARGET=$1 "$binary" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="crashes/$1/" "work/$1" "corpus/$1"
}

if [ "$target" = all ]; then
    sed -n 's/^    ("\([a-z]*\)", .*/\1/p' ../tests/fuzz_targets/mod.rs | while read -r name; do
        fuzz "$name"
    done
else
    fuzz "$target"
fi
