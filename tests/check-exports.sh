#!/bin/sh
# The module exports the functions that mod_websocket.h declares and its
# record, nothing more; websocket-run all of these functions, and none of its
# own; a handler exports websocket_handler alone.
set -eu

source_dir=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
build_dir=${WS_BUILD_DIR:-$source_dir}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# exported FILE: symbols that others can see; those of the linker and of the
# sanitizers aside.
exported() {
    nm -D --defined-only "$1" | awk '{ print $NF }' | sed 's/@.*//' |
        grep -Ev '^(_init|_fini|_edata|_end|__bss_start|__odr_asan.*)$' |
        sort -u
}

# compare FILE EXPECTED [PATTERN]: PATTERN, of what matters.
compare() {
    if [ ! -e "$1" ]; then
        echo "$1 is not built" >&2
        failed=1
        return
    fi
    exported "$1" | grep "${3-}" >"$work/exported" || true
    if ! diff -u "$2" "$work/exported" >"$work/diff"; then
        echo "$1: expected (-), exported (+):" >&2
        grep '^[-+][^-+]' "$work/diff" >&2
        failed=1
    fi
}

# The functions: the preprocessor's output has neither comments nor macros.
# Names behind "extern" are a handler's; a name before "(*" is a type's.
"${CC:-cc}" -E -P -I"$source_dir/mod_websocket" - >"$work/header" <<'END'
#include "mod_websocket.h"
END
tr '\n' ' ' <"$work/header" | tr ';' '\n' | tr '{}' '  ' |
    grep -v typedef | grep -o 'websocket_[a-z0-9_]* *(' | tr -d ' (' |
    sort -u >"$work/declared"
if [ "$(wc -l <"$work/declared")" -lt 10 ]; then
    echo "no functions were found in mod_websocket.h" >&2
    exit 1
fi
{
    cat "$work/declared"
    echo websocket_module
} | sort -u >"$work/expected"
compare "$build_dir/mod_websocket/.libs/mod_websocket.so" "$work/expected"

# The C library's start has symbols of its own.
compare "$build_dir/websocket-run" "$work/declared" '^\(ws\|run\|websocket\)_'

echo websocket_handler >"$work/expected"
handlers=0
for source in "$source_dir"/mod_websocket/handlers/*.c; do
    name=$(basename "$source" .c)
    case $name in
        *_*) continue ;;            # a part of one
    esac
    compare "$build_dir/mod_websocket/handlers/.libs/websocket_$name.so" \
        "$work/expected"
    handlers=$((handlers + 1))
done

if [ "$failed" -ne 0 ]; then
    exit 1
fi
echo "$(wc -l <"$work/declared") functions and $handlers handlers"
