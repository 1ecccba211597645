#!/usr/bin/env bash
# Trunk's last step: makes what a browser downloads to play smaller. Where binaryen's `wasm-opt` is installed it goes over
# the wasm once more and gives its imports short names; `esbuild` minifies the scripts (.ci/packages.sh brings both).
# The same input gives the same bytes; without the two the player is 7 KB larger and as good.
set -euo pipefail
LOADER=$(realpath "$(dirname "$0")/load.js")
cd "${TRUNK_STAGING_DIR:?Trunk runs this}"
GLUE=sightline-player/sightline-player.js WASM=sightline-player/sightline-player_bg.wasm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Our own loader in place of the one that is written. The sum is of the one that ours was made after: `wasm-bindgen` is
# pinned (Cargo.toml), and another version may do something else there.
written=$(sed -n '/^let wasmModule, wasmInstance, wasm;$/,$p' "$GLUE" | cksum)
if [ "$written" != '2829268660 3636' ]; then
  echo "wasm-bindgen writes another loader (cksum: $written): see whether .ci/load.js still does what that does" >&2
  exit 1
fi
sed -i '/^let wasmModule, wasmInstance, wasm;$/,$d' "$GLUE"
cat "$LOADER" >> "$GLUE"

# Last of all, when names have been given: the lines of the glue are read above.
minify() {
  command -v esbuild >/dev/null || { echo "no esbuild: the scripts stay larger" >&2; return 0; }
  # `#private` and `static` blocks stay as they are; every browser with a MediaSource in WebAssembly's age has them.
  esbuild --minify --target=es2022 --log-level=warning --allow-overwrite --outdir=. sightline-player.js sightline-player/*.js
}

if ! command -v wasm-opt >/dev/null; then
  echo "no wasm-opt: the player stays larger" >&2
  minify
  exit 0
fi

# opt OUT [passes]   with what rustc and wasm-bindgen use of WebAssembly, in one go: what is written and read again grows.
# rustc puts the stack in front of everything: no object lies in the first kilobyte.
opt() {
  wasm-opt --enable-bulk-memory --enable-reference-types --enable-sign-ext --enable-nontrapping-float-to-int \
    --enable-mutable-globals --enable-multivalue "$WASM" -o "$1" --strip-debug --strip-producers --strip-target-features \
    --low-memory-unused --one-caller-inline-max-function-size=20 --flatten --rereloop -Oz -Oz --optimize-instructions "${@:2}"
}

# mend WASM GLUE   binaryen before 109 exports the first table whichever is meant. The one that the glue knows is the second.
mend() {
  local name; name=$(sed -nE 's/^ *const table = wasm\.([A-Za-z0-9_$]+);$/\1/p' "$2" | head -n 1)
  [ -z "$name" ] || LC_ALL=C sed -i -E "s/(\\x$(printf %02x ${#name})${name/\$/\\\$}\\x01)\\x00/\\1\\x01/" "$1"
}

# What this prints is `old => new`, a line for each name.
opt "$work/small.wasm" --minify-imports-and-exports-and-modules > "$work/names"
sed -nE 's/^(\w+) => ([A-Za-z0-9_$]+)$/s\/^( *)\1:\/\\1\2:\/; s\/\\bwasm\\.\1\\b\/wasm.\2\/g/p' "$work/names" > "$work/rename.sed"
sed -E -f "$work/rename.sed" -e 's/"\.\/sightline-player_bg\.js": import0/a: import0/' "$GLUE" > "$work/glue.js"
if grep -qE '^ *__wb\w+:|\bwasm\.\w{4}|sightline-player_bg\.js' "$work/glue.js"; then
  echo "this wasm-opt tells of new names in another way: the old ones stay" >&2
  opt "$work/small.wasm"
else
  cp "$work/glue.js" "$GLUE"
fi
mend "$work/small.wasm" "$GLUE"
cp "$work/small.wasm" "$WASM"
minify
