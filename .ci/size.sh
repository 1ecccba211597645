#!/usr/bin/env bash
# The size budgets of what a browser downloads to play: the player's .wasm and .js, each compressed as it is sent.
set -euo pipefail
cd "$(dirname "$0")/../www/dist"
ALL=$((60 * 1024))      # everything: the element, its controls, both ways to the screen
SESSION=$((45 * 1024))  # what `import 'sightline-player'` loads: the player on a <video> of the page's own
SESSION_FILES=(sightline-player/index.js sightline-player/sightline-player.js sightline-player/sightline-player_bg.wasm)

size() { gzip -9 -c "$1" | wc -c; }

sum=0 session=0
while read -r file; do
  bytes=$(size "$file")
  printf '  %7d  %s\n' "$bytes" "$file"
  sum=$((sum + bytes))
done < <(find . \( -path './sightline-player*' -o -name 'sightline-player*' \) -type f \( -name '*.js' -o -name '*.wasm' \) | sort -u)
[ "$sum" -gt 0 ] || { echo "nothing was built" >&2; exit 1; }
for file in "${SESSION_FILES[@]}"; do session=$((session + $(size "$file"))); done
printf '  %7d  of %d bytes, gzip\n' "$sum" "$ALL"
printf '  %7d  of %d of them without element, controls and decoders\n' "$session" "$SESSION"
over=0
[ "$sum" -le "$ALL" ] || { echo "over the budget" >&2; over=1; }
[ "$session" -le "$SESSION" ] || { echo "over the budget of the session alone" >&2; over=1; }
exit "$over"
