#!/usr/bin/env bash
# The one definition of "checked", the same here and in CI. Tells how far it is and how long each step took.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/env.sh
start=$SECONDS

step() {
  local began=$SECONDS
  echo "==> $1"; shift
  "$@"
  echo "    $((SECONDS - began)) s, $((SECONDS - start)) s in all"
}

docs() { RUSTDOCFLAGS='-D warnings' cargo doc -q --no-deps --document-private-items -p sightline-wire -p sightline-player -p sightline; }
deny() { cargo deny --all-features "$@"; }

# Advisories need a database from the network. Where it cannot be had, that is said and the rest still holds.
advisories() {
  if deny fetch db >/dev/null 2>&1; then
    deny check --hide-inclusion-graph advisories
  else
    echo "    no advisory database within reach: not checked" >&2
  fi
}

step 'tools'        .ci/tools.sh wasm deny
step 'formatting'   cargo fmt --all --check
step 'player and pages' make pages
step 'size budget'  .ci/size.sh
step 'lints'        cargo clippy -q --workspace --all-targets -- -D warnings
step 'lints, wasm32' cargo clippy -q -p sightline-player --target wasm32-unknown-unknown -- -D warnings
step 'licences'     deny check --hide-inclusion-graph licenses bans sources
step 'advisories'   advisories
step 'docs'         docs
step 'tests'        make test
