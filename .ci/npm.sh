#!/usr/bin/env bash
# Packs the player as it was built for the pages: target/npm/sightline-player-VERSION.tgz
#
# The script for pages without a bundler and its folder are those that the proxy serves, byte for byte.
#
# usage: .ci/npm.sh [FOLDER]     packs into another folder than target/npm
set -euo pipefail
cd "$(dirname "$0")/.."
command -v npm >/dev/null || { echo "packing wants npm" >&2; exit 1; }
out=${1:-target/npm}
rm -rf "$out/stage" && mkdir -p "$out/stage"
stage=$(realpath "$out/stage")
cp -r www/dist/sightline-player www/dist/sightline-player.js LICENSE-MIT LICENSE-APACHE "$stage"
cd player/npm
cp README.md package.json react.js vue.js svelte.js {react,vue,svelte,inline}.d.ts "$stage"
cp index.d.ts element.d.ts "$stage/sightline-player"
cd "$stage"
# All browsers that play can unpack it; so it weighs a third more than the .wasm as it is sent, and not three times as much.
{
  echo '// The .wasm inside of a script: see inline.d.ts.'
  echo "import { setWasm } from './sightline-player/index.js';"
  echo "export * from './sightline-player/index.js';"
  echo "const packed = '$(gzip -9 -n -c sightline-player/sightline-player_bg.wasm | base64 -w 0)';"
  cat <<'JS'
setWasm(() => {
  const bytes = Uint8Array.from(atob(packed), char => char.charCodeAt(0));
  const wasm = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(wasm, { headers: { 'content-type': 'application/wasm' } });
});
JS
} > inline.js
npm pack --silent --pack-destination ..
