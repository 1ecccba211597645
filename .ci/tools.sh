#!/usr/bin/env bash
# Installs the build tools that cargo does not bring: the wasm32 target, wasm-bindgen, trunk, cargo-deny, cargo-fuzz.
#
# usage: .ci/tools.sh [wasm] [deny] [fuzz]     prints what it does; says nothing when nothing is missing
#
# What is on PATH is used when its version fits. Otherwise each tool goes into a folder of its own, named by
# its version, under ~/.cache/sightline: it never replaces a tool of yours and every clone shares it.
set -euo pipefail
cd "$(dirname "$0")/.."

BINDGEN=$(sed -n 's/^wasm-bindgen = .*"=\([0-9.]*\)".*/\1/p' Cargo.toml)   # the crate and its tool must be one version
TRUNK=0.21.14                                                      # 0.22 wants a newer rustc than ours
DENY=0.20.2
FUZZ=0.13.2
. .ci/env.sh
BIN=$CACHE/bin
# Its own for each run: two clones may be at it at once.
BUILD=$CACHE/build-$$
trap 'rm -rf "$BUILD"' EXIT
mkdir -p "$BIN"

fits() { [ "$("$1" --version 2>/dev/null | awk 'NR == 1 {print $2}')" = "$2" ]; }

# tool CRATE PROGRAM VERSION [cargo install arguments]
tool() {
  local crate=$1 program=$2 version=$3; shift 3
  fits "$BIN/$program" "$version" && return
  if fits "$program" "$version"; then ln -sf "$(command -v "$program")" "$BIN/$program"; return; fi
  local root=$CACHE/$crate-$version
  if ! fits "$root/bin/$program" "$version"; then
    echo "Installing $crate $version (once for this machine) ..."
    if ! { command -v cargo-binstall >/dev/null &&
           cargo binstall --no-confirm --quiet --root "$root" "$crate@$version" 2>/dev/null; }; then
      echo "  compiling it; this takes a few minutes"
      # Their own release profiles take five times as long to build and gain us nothing.
      CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
      CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$BUILD" \
        cargo install --quiet --root "$root" "$crate@$version" "$@"
    fi
  fi
  ln -sf "$root/bin/$program" "$BIN/$program"
}

toolchain() {
  command -v rustup >/dev/null || { echo "Rust's rustup is missing: see https://rustup.rs" >&2; exit 1; }
  local channel; channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
  if ! rustup run "$channel" rustc --version >/dev/null 2>&1; then
    echo "Installing Rust $channel ..."
    rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt
  fi
  rustup target list --installed --toolchain "$channel" | grep -qx wasm32-unknown-unknown ||
    rustup target add wasm32-unknown-unknown --toolchain "$channel"
}

toolchain
for wanted in "$@"; do
  case $wanted in
    wasm)
      # Without --locked: the tool's own lock file names versions that have been withdrawn.
      tool wasm-bindgen-cli wasm-bindgen "$BINDGEN"
      tool trunk trunk "$TRUNK" --locked ;;
    deny) tool cargo-deny cargo-deny "$DENY" --locked ;;
    fuzz)
      rustup run nightly rustc --version >/dev/null 2>&1 ||   # the sanitizer is not in stable Rust
        { echo "Installing Rust nightly ..."; rustup toolchain install nightly --profile minimal; }
      tool cargo-fuzz cargo-fuzz "$FUZZ" --locked ;;
    *) echo "usage: $0 [wasm] [deny] [fuzz]" >&2; exit 2 ;;
  esac
done
