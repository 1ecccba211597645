#!/usr/bin/env bash
# Packs the player as it was built for the pages: target/npm/sightline-player-VERSION.tgz
set -euo pipefail
cd "$(dirname "$0")/.."
command -v npm >/dev/null || { echo "packing wants npm" >&2; exit 1; }
stage=target/npm/stage
rm -rf "$stage" && mkdir -p "$stage"
cp www/dist/sightline-player/* player/npm/README.md player/npm/package.json LICENSE-MIT LICENSE-APACHE "$stage"
(cd "$stage" && npm pack --silent --pack-destination ..)
