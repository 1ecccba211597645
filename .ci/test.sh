#!/usr/bin/env bash
# Every test. Ends with one line of counts, and fails if any test failed.
#
# usage: .ci/test.sh [cargo test arguments]
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp); trap 'rm -f "$log"' EXIT
failed=0

step() {
  echo "== $1"; shift
  "$@" 2>&1 | tee -a "$log"
  [ "${PIPESTATUS[0]}" = 0 ] || failed=1
}

export SIGHTLINE_BIN=$PWD/target/debug/sightline
step 'units: wire, player, proxy' cargo test -q -p sightline-wire -p sightline-player -p sightline --no-fail-fast "$@"
rm -rf target/tests/seen
# Whole systems share two cores: more than two of them at once would only measure each other.
step 'whole system: cameras, sockets, browsers' \
  cargo test -p sightline-tests --no-fail-fast "$@" -- --test-threads=2
# Only a whole run has seen everything.
[ $# -gt 0 ] || step 'docs/browsers.md' cargo run -q -p sightline-tests --bin browsers-table -- --check

# One line of counts, from the lines each test program closes with.
awk '/^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i
       if ($(i+1) ~ /^ignored/) s += $i } }
     END { printf "%d passed, %d failed, %d skipped\n", p, f, s }' "$log"
exit "$failed"
