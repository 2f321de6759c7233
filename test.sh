#!/bin/sh
# Every check of the project: format, lints, tests.
set -eu
cd "$(dirname "$0")"
echo "== format";  cargo fmt --all --check
echo "== lints";   cargo clippy --workspace --all-targets --quiet -- -D warnings
echo "== tests";   cargo test --workspace --quiet
