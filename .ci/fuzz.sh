#!/usr/bin/env bash
# Fuzzes what reads a peer's bytes. Ends at the first input that breaks something, and says where that input is.
#
# usage: .ci/fuzz.sh SECONDS_EACH TARGET...
#
# What is found on the way stays in proxy/fuzz/found and is where the next run begins. An input that broke something
# belongs into proxy/fuzz/corpus/TARGET once the fault is mended: proxy/tests/fuzz_corpus.rs then runs it for ever.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/env.sh
seconds=$1; shift

mkdir -p www/dist   # the proxy is compiled anew each time while its folder of pages is missing
cd proxy
cp ../Cargo.lock fuzz/Cargo.lock   # what is fuzzed is what is shipped
for target in "$@"; do
  mkdir -p "fuzz/found/$target"
  echo "== $target, $seconds s"
  # No single piece of memory may be larger than a message or two; the harness bounds what is held in all.
  cargo +nightly fuzz run "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -max_len=65536 -malloc_limit_mb=32 -print_final_stats=1
done
