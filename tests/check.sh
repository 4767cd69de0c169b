#!/bin/sh
# Installs what the tests need and runs every check. From a fresh clone: sh tests/check.sh
set -eu
cd "$(dirname "$0")/.."

if ! command -v redis-server >/dev/null 2>&1; then
    echo "== redis-server is missing: installing it"
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo"
    if command -v apt-get >/dev/null 2>&1; then
        $as_root apt-get update -q
        # The tests start servers of their own: no service is wanted.
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends redis-server
    elif command -v brew >/dev/null 2>&1; then
        brew install redis
    else
        echo "Install redis-server (version 6.2 or later) with your system's package manager, then run this again." >&2
        exit 1
    fi
fi

step() {
    echo "== $*"
    "$@"
}

step cargo fmt --all --check

# Each feature alone, then all of them.
for features in "" macros redis http axum test-util; do
    step cargo clippy -q -p dexter-cache --no-default-features --features "$features" -- -D warnings
done
# The benchmarks, with the crates that they compare, are left out: `cargo bench` builds them.
step cargo clippy -q --all-targets --all-features -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc -q --no-deps -p dexter-cache -p dexter-cache-derive --all-features

# Unit tests, integration tests, examples (built), doctests.
step cargo test --all-features
