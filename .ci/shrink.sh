#!/usr/bin/env bash
# Trunk's last step: makes what a browser downloads to play smaller. Comments and indentation go, and where binaryen's
# `wasm-opt` is installed (.ci/packages.sh brings it) it goes over the wasm once more and gives its imports short names.
# The same input gives the same bytes; without `wasm-opt` the player is 4 KB larger and as good.
set -euo pipefail
cd "${TRUNK_STAGING_DIR:?Trunk runs this}"
GLUE=sightline-player/sightline-player.js WASM=sightline-player/sightline-player_bg.wasm

# Whole lines only: no text in these files looks like one, and line ends stay, so that nothing changes its meaning.
for file in sightline-player.js sightline-player/element.js "$GLUE"; do
  sed -i -E '/^ *\/\*\*.*\*\/$/d; /^ *\/\*\*/,/\*\/$/d; /^ *\/\/ /d; s/^ +//; /^$/d' "$file"
done

command -v wasm-opt >/dev/null || { echo "no wasm-opt: the player stays larger" >&2; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What rustc has on for wasm32-unknown-unknown and what wasm-bindgen adds; the section that says so is stripped.
wasm-opt --enable-bulk-memory --enable-reference-types --enable-sign-ext --enable-nontrapping-float-to-int \
  --enable-mutable-globals --enable-multivalue --strip-debug --strip-producers --strip-target-features \
  -Os --one-caller-inline-max-function-size=10 "$WASM" -o "$work/small.wasm"
# Names: each line of what this prints is `old => new`.
wasm-opt --enable-bulk-memory --enable-reference-types --enable-sign-ext --enable-nontrapping-float-to-int \
  --enable-mutable-globals --enable-multivalue --minify-imports-and-exports-and-modules "$work/small.wasm" \
  -o "$work/named.wasm" > "$work/names"
sed -E -n 's/^([A-Za-z0-9_]+) => ([A-Za-z0-9_$]+)$/s\/^\1:\/\2:\/; s\/\\bwasm\\.\1\\b\/wasm.\2\/g/p' "$work/names" > "$work/rename.sed"
sed -E -f "$work/rename.sed" -e 's/"\.\/sightline-player_bg\.js": import0/a: import0/' "$GLUE" > "$work/glue.js"
if grep -qE '^__wb[a-zA-Z0-9_]+:|wasm\.[A-Za-z_]{4}|sightline-player_bg\.js' "$work/glue.js"; then
  echo "this wasm-opt names things in another way: they keep their names" >&2
  cp "$work/small.wasm" "$WASM"
else
  cp "$work/named.wasm" "$WASM"
  cp "$work/glue.js" "$GLUE"
fi
