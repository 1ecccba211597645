#!/usr/bin/env bash
# The one definition of "checked", the same here and in CI. Tells how far it is and how long each step took.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS

step() {
  local began=$SECONDS
  echo "==> $1"; shift
  "$@"
  echo "    $((SECONDS - began)) s, $((SECONDS - start)) s in all"
}

docs() { RUSTDOCFLAGS='-D warnings' cargo doc -q --no-deps --document-private-items -p sightline-wire -p sightline-player -p sightline; }
deny() { .ci/tools.sh deny && cargo deny --all-features check --hide-inclusion-graph "$@"; }

# Advisories need a database from the network; where there is none, licences, bans and sources still hold.
advisories() {
  if ! deny advisories; then
    echo "    advisories could not be checked (no database within reach?)" >&2
    [ -z "${SIGHTLINE_ADVISORIES:-}" ]
  fi
}

step 'tools'        .ci/tools.sh wasm
step 'formatting'   cargo fmt --all --check
step 'player and pages' make pages
step 'size budget'  .ci/size.sh
step 'lints'        cargo clippy -q --workspace --all-targets -- -D warnings
step 'lints, wasm32' cargo clippy -q -p sightline-player --target wasm32-unknown-unknown -- -D warnings
step 'licences'     deny licenses bans sources
step 'advisories'   advisories
step 'docs'         docs
step 'tests'        make test
