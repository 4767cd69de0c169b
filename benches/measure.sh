#!/bin/sh
# Runs every benchmark and makes the report: sh benches/measure.sh [folder]. Leave the machine alone meanwhile.
# The first run builds the crates that are compared.
set -eu
cd "$(dirname "$0")/.."

step() {
    echo "== $*"
    "$@"
}

# Removal by pattern is to be cheap where there is much that it does not match.
export DEXTER_KEYS="${DEXTER_KEYS:-1000000}"
for bench in l1_hit redis_hit tiered_hit load stampede churn hit_ratio tags bulk full invalidate memory outages; do
    step cargo bench -q -p benches --bench "$bench"
done
# oxcache cannot be resolved beside hitbox: a package with a lock file of its own.
step cargo bench -q --manifest-path benches/versus/oxcache/Cargo.toml --bench oxcache --target-dir "${CARGO_TARGET_DIR:-target}/versus"
step cargo run -q -p benches --bin footprint
step cargo run -q -p benches --bin report -- "${1:-benches/report}"
