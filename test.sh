#!/usr/bin/env bash
# Every check of the project. CI runs this, and nothing else.
#
#   ./test.sh           what CI runs: format, lints, tests, docs, other people's clients, a browser,
#                       and the Autobahn suite in both roles
#   ./test.sh quick     format, lints and tests only
#   ./test.sh long      what CI runs, with more rounds and cases, and the check of the checks
#   ./test.sh --help
#
# Takes Rust, a C compiler, Python 3 and Node; what else is missing is installed with apt-get (as
# root, or with sudo), npm and pip, the latter two into folders of the project.
#
# A step that fails does not keep the others from running; the exit status tells in the end.
# Without io_uring its part is skipped, loudly. SOCKEYE_REQUIRE_URING=1, the default where CI=true,
# makes that a failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

mode=${1:-ci}
case $mode in
    ci | quick | long) ;;
    -h | --help | help)
        sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
        exit 0
        ;;
    *)
        echo "test.sh: no such mode: $mode (quick, long or nothing; --help tells more)" >&2
        exit 2
        ;;
esac

target=${CARGO_TARGET_DIR:-$PWD/target}
export SOCKEYE_EXAMPLES=${SOCKEYE_EXAMPLES:-$target/release/examples}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
if [ "${CI:-}" = true ]; then
    require_uring=${SOCKEYE_REQUIRE_URING:-1}
else
    require_uring=${SOCKEYE_REQUIRE_URING:-0}
fi
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi

# Steps

names=() results=() seconds=()

# step NAME COMMAND...  Runs the command and remembers how it went.
step() {
    local name=$1 started=$SECONDS status
    shift
    printf '\n%s== %s%s\n' "$bold" "$name" "$plain"
    # In a subshell of its own and outside of any condition, so that -e holds inside.
    (
        set -e
        "$@"
    )
    status=$?
    if [ $status -eq 0 ]; then
        note "$name" ok $((SECONDS - started))
    else
        note "$name" FAILED $((SECONDS - started))
    fi
    echo "-- $name: ${results[-1]}, ${seconds[-1]} s"
    return $status
}

note() {
    names+=("$1") results+=("$2") seconds+=("$3")
}

summary() {
    local index passed=0 failed=0 skipped=0
    printf '\n%s%-44s %-8s %7s%s\n' "$bold" step result seconds "$plain"
    for index in "${!names[@]}"; do
        printf '%-44s %-8s %7s\n' "${names[index]}" "${results[index]}" "${seconds[index]}"
        case ${results[index]} in
            ok) passed=$((passed + 1)) ;;
            skipped) skipped=$((skipped + 1)) ;;
            *) failed=$((failed + 1)) ;;
        esac
    done
    printf '%-44s %-8s %7s\n\n' together '' $SECONDS
    if [ $skipped -gt 0 ]; then
        echo "$passed passed, $failed failed, $skipped skipped"
    else
        echo "$passed passed, $failed failed"
    fi
    [ $failed -eq 0 ]
}

# What is needed

has() { command -v "$1" >/dev/null 2>&1; }

install_packages() {
    echo "installing $*"
    has apt-get || { echo "no apt-get here: install $* by hand" >&2; return 1; }
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

tools() {
    local missing=()
    has cargo || { echo "Rust is missing: install it with rustup" >&2; return 1; }
    has cc || missing+=(gcc libc6-dev)
    if [ "$mode" != quick ]; then
        has curl || missing+=(curl)
        has valgrind || missing+=(valgrind)
        { has node && has npm; } || missing+=(nodejs npm)
        python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
        has chromium || [ -n "${CHROMIUM:-}" ] || missing+=(chromium fonts-liberation)
        has h2load || missing+=(nghttp2-client)
        has nginx || missing+=(nginx-light)
        has haproxy || missing+=(haproxy)
    fi
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
    cargo --version
    [ "$mode" = quick ] || other_tools
}

other_tools() {
    local folder wanted
    for folder in tests/interop tests/browser; do
        if [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
            (cd "$folder" && npm ci --silent --no-audit --no-fund)
        fi
    done
    wanted=$(sha256sum <tests/interop/requirements.txt)
    if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
        python3 -m venv .venv
        .venv/bin/pip install --quiet --requirement tests/interop/requirements.txt
        echo "$wanted" >.venv/installed
    fi
    tests/autobahn/setup.sh
    echo "node $(node --version), $(python3 --version), $(chromium --version 2>/dev/null)"
}

# The checks

lints() {
    cargo clippy --workspace --all-targets --quiet -- -D warnings
}

tests() {
    timeout --kill-after=10 1500 cargo test --workspace --no-fail-fast --quiet
}

docs() {
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
}

# Every meeting of threads at a mailbox.
models() {
    CARGO_TARGET_DIR=$target/loom RUSTFLAGS='--cfg loom' timeout --kill-after=10 600 \
        cargo test --quiet --lib mailbox::models
}

# Both backends and the simulation, with AddressSanitizer. RUSTC_BOOTSTRAP lets stable take the
# option.
sanitized() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    export CARGO_TARGET_DIR=$target/address RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
    SIM_SEEDS=${SIM_SEEDS:-200} timeout --kill-after=10 1800 cargo test --quiet --target "$host" \
        --test conformance --test server --test http --test sim
}

# The same under other people's tests and load: the Autobahn suite, and a mixed load for a while.
# A server that ends with a report ends with a status, too.
sanitized_load() {
    local backend=$1 host server pid line status=0
    host=$(rustc -vV | sed -n 's/^host: //p')
    cargo build --release --quiet --package loadgen
    CARGO_TARGET_DIR=$target/address RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
        cargo build --release --quiet --target "$host" --example echo --example mixed
    SOCKEYE_EXAMPLES=$target/address/$host/release/examples
    AUTOBAHN_ROUNDS=${AUTOBAHN_ROUNDS:-20} autobahn server "$backend" 2 dedicated
    exec {server}< <(exec "$SOCKEYE_EXAMPLES/mixed" --listen 127.0.0.1:0 --workers 2 \
        --backend "$backend")
    pid=$!
    read -r -t 20 line <&"$server"
    timeout --kill-after=10 120 "$target/release/loadgen" mixed \
        "$(grep -o 'ws://[0-9.:]*' <<<"$line" | head -n 1)" --duration 30s || status=$?
    kill "$pid" || status=$?
    wait "$pid" || status=$?
    return $status
}

# Floors 0 and 1 and the simulated reactor, where nightly has Miri. What is repeated elsewhere is
# repeated a few times only (`cfg(miri)`): each step costs a thousand times what it costs there.
interpreted() {
    if ! cargo +nightly miri --version >/dev/null 2>&1; then
        echo 'no Miri here: rustup toolchain install nightly --component miri rust-src'
        return
    fi
    CARGO_TARGET_DIR=$target/miri MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=1 \
        timeout --kill-after=10 3000 cargo +nightly miri test --quiet --lib -- \
        base:: simd:: ws:: http:: pubsub:: reactor::sim
}

coverage() {
    has_llvm_tools || rustup component add llvm-tools
    timeout --kill-after=10 3000 tests/coverage.py
}

has_llvm_tools() {
    [ -x "$(rustc --print target-libdir)/../bin/llvm-cov" ]
}

many_worlds() {
    SIM_SECONDS=600 SIM_FROM=$((RANDOM * 1000000)) SIM_SEEDS=1000000000 \
        cargo test --release --quiet --test sim
}

# Whether io_uring can be used here, asked of the server itself.
io_uring_works() {
    local line
    line=$(timeout 3 "$SOCKEYE_EXAMPLES/echo" --listen 127.0.0.1:0 --backend uring 2>&1 |
        head -n 1) || true
    echo "$line"
    case $line in
        *'listening on '*io_uring*) return 0 ;;
        *) return 1 ;;
    esac
}

# A file counts as a test, too.
node_tests() {
    timeout --kill-after=10 900 \
        node --test --test-reporter=spec --test-timeout=300000 "$1"/*.test.js
}

python_tests() {
    timeout --kill-after=10 900 .venv/bin/python -m pytest -p no:cacheprovider -q tests/interop
}

# curl, requests, h2load, and nginx and HAProxy in front.
http_peers() {
    PYTHON=.venv/bin/python timeout --kill-after=10 600 tests/http/peers.sh "$1"
}

autobahn() {
    timeout --kill-after=10 1800 python3 tests/autobahn/drive.py "$@"
}

# The real kernel's faults: floods, signals, resets, links that go down.
faults() {
    timeout --kill-after=10 1800 \
        cargo test --release --quiet --test faults -- --test-threads=1 --nocapture
}

# A mixed load for so long, on a server of its own, in which nothing may drift.
soak() {
    local backend=$1 seconds=$2 server pid line status=0
    cargo build --release --quiet --package loadgen
    exec {server}< <(exec "$SOCKEYE_EXAMPLES/mixed" --listen 127.0.0.1:0 --workers 2 \
        --backend "$backend")
    pid=$!
    read -r -t 10 line <&"$server"
    timeout --kill-after=10 $((seconds + 120)) "$target/release/loadgen" soak \
        "$(grep -o 'ws://[0-9.:]*' <<<"$line" | head -n 1)" --pid "$pid" \
        --duration "${seconds}s" --warmup 5s || status=$?
    kill "$pid"
    return $status
}

deep_properties() {
    PROPTEST_CASES=4096 cargo test --workspace --release --quiet --lib
}

step 'tools' tools
step 'format' cargo fmt --all --check
step 'lints' lints
step 'tests, and the house rules' tests

if [ "$mode" != quick ]; then
    step 'mailbox, every meeting of threads' models
    step 'docs' docs
    step 'benchmarks, each once' cargo test --benches --quiet
    step 'instructions of the kernels' cargo run --release --quiet -p perf -- instructions
    step 'examples' cargo build --release --quiet --examples
    if [ -n "${SOCKEYE_BACKENDS:-}" ]; then
        echo "backends as asked for: $SOCKEYE_BACKENDS"
    elif [ "$require_uring" = 1 ]; then
        export SOCKEYE_BACKENDS='uring epoll'
        step 'io_uring can be used' io_uring_works
    elif io_uring_works; then
        export SOCKEYE_BACKENDS='uring epoll'
    else
        export SOCKEYE_BACKENDS='epoll'
        printf '\n%s!! No io_uring here: its half of all that follows is SKIPPED.%s\n' "$bold" "$plain"
        note 'io_uring' skipped 0
    fi

    step 'clients: ws (Node)' node_tests tests/interop
    step 'clients: websockets (Python), curl, raw' python_tests
    for backend in $SOCKEYE_BACKENDS; do
        step "HTTP peers, $backend" http_peers "$backend"
    done
    step 'browser' node_tests tests/browser
    [ "$mode" = long ] || export AUTOBAHN_ROUNDS=${AUTOBAHN_ROUNDS:-100}
    for server in 'uring 1 dedicated' 'uring 2 shared' 'epoll 1 shared' 'epoll 2 dedicated'; do
        case " $SOCKEYE_BACKENDS " in
            *" ${server%% *} "*) step "Autobahn: server, $server" autobahn server $server ;;
        esac
    done
    step 'Autobahn: client, dedicated' autobahn client dedicated
    if [ "$mode" = long ]; then
        export SOCKEYE_LONG=1
        soak_seconds=300
    else
        soak_seconds=20
    fi
    step 'faults of the real kernel' faults
    for backend in $SOCKEYE_BACKENDS; do
        step "soak, $backend, $soak_seconds s" soak "$backend" "$soak_seconds"
    done
fi

if [ "$mode" = long ]; then
    step 'Autobahn: client, shared' autobahn client shared
    step 'properties, many cases' deep_properties
    step 'AddressSanitizer' sanitized
    for backend in $SOCKEYE_BACKENDS; do
        step "AddressSanitizer: Autobahn and load, $backend" sanitized_load "$backend"
    done
    step 'Miri' interpreted
    step 'coverage' coverage
    step 'simulation, ten minutes' many_worlds
    step 'fuzzing, a minute each' fuzz/run.sh all 60
    step 'Autobahn: finds faults' .autobahn/bin/python tests/autobahn/selftest.py
fi

summary
