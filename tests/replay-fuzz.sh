#!/bin/sh
# Gives each fuzz target all inputs that are kept for it. TAP.
#
#   replay-fuzz.sh TARGET...       WS_BUILD_DIR has the replay programs
set -u

WS_SRC_DIR=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
WS_BUILD_DIR=${WS_BUILD_DIR:-$PWD}
number=0
failed=0

echo "1..$#"
for target in "$@"; do
    number=$((number + 1))
    if output=$("$WS_BUILD_DIR/tests/fuzz/replay_$target" \
        "$WS_SRC_DIR/tests/fuzz/corpus/$target" 2>&1); then
        echo "ok $number - $target, $output"
    else
        failed=1
        echo "not ok $number - $target"
        printf '%s\n' "$output" | sed 's/^/# /'
    fi
done
exit $failed
