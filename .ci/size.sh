#!/usr/bin/env bash
# The size budget of what a browser downloads to play: the player's .wasm and .js, each compressed as it is sent.
set -euo pipefail
cd "$(dirname "$0")/../www/dist"
BUDGET=$((60 * 1024))

sum=0
while read -r file; do
  size=$(gzip -9 -c "$file" | wc -c)
  printf '  %7d  %s\n' "$size" "$file"
  sum=$((sum + size))
done < <(find . \( -path './sightline-player*' -o -name 'sightline-player*' \) -type f \( -name '*.js' -o -name '*.wasm' \) | sort -u)
printf '  %7d  of %d bytes, gzip\n' "$sum" "$BUDGET"
[ "$sum" -gt 0 ] || { echo "nothing was built" >&2; exit 1; }
[ "$sum" -le "$BUDGET" ] || { echo "over the budget" >&2; exit 1; }
