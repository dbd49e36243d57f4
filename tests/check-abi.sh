#!/bin/sh
# The header of today still says what each released ABI says: tests/abi/. A
# handler that was built then has the same fields at the same places, and finds
# the same functions and constants.
set -eu
LC_ALL=C
export LC_ALL

source_dir=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
today=$source_dir/mod_websocket/mod_websocket.h
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
    echo "$*" >&2
    failed=1
}

# print_layout ABI-DIRECTORY HEADER: what layout.c says of the header.
print_layout() {
    rm -rf "$work/include"
    mkdir "$work/include"
    cp "$2" "$work/include/mod_websocket.h"
    # not in its own directory: its own header would be found first
    cp "$1/layout.c" "$work/layout.c"
    "${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror -I"$work/include" \
        -o "$work/layout" "$work/layout.c" && "$work/layout"
}

# is_kept ABI-DIRECTORY HEADER: are both the same? What differs is in changes.
is_kept() {
    print_layout "$1" "$2" >"$work/found" 2>"$work/changes" &&
        diff -u "$work/expected" "$work/found" >"$work/changes"
}

# names_in HEADER: its functions, constants, and the fields of its structs.
names_in() {
    sed '/^#include </d' "$1" >"$work/names.c"
    "${CC:-cc}" -E -P "$work/names.c" >"$work/text"
    "${CC:-cc}" -E -dM "$work/names.c" >"$work/macros"
    {
        grep -o 'websocket_[a-z_]* *(' "$work/text"
        grep -o 'WEBSOCKET_[A-Z_]*' "$work/text"
        sed -n 's/^#define \(WEBSOCKET_[A-Z_]*\) .*/\1/p' \
            "$work/macros" | grep -v '^WEBSOCKET_PUBLIC$'
        sed -n '/^typedef struct {/,/^}/p' "$work/text" |
            tr '\n' ' ' | tr ';' '\n' | sed -n \
            -e 's/.*(\*\([a-z_]*\))(.*/\1/p' \
            -e '/(/!s/.*[ *]\([a-z_]*\), *\([a-z_]*\)$/\1\n\2/p' \
            -e '/[(,]/!s/.*[ *]\([a-z_]*\)$/\1/p'
    } | tr -d ' (' | sort -u | grep .
}

# check_complete ABI-DIRECTORY: does layout.c know all of the header, and does
# its handler call each function?
check_complete() {
    names_in "$1/mod_websocket.h" >"$work/known"
    count=$(wc -l <"$work/known")
    if [ "$count" -lt 90 ]; then
        fail "only $count names were found in $1/mod_websocket.h"
    fi
    while read -r name; do
        grep -q "[(,] *${name}[,) ]" "$1/layout.c" ||
            fail "$1/layout.c does not know $name"
        case $name in
            *_t) ;;
            websocket_*) grep -q "\<$name(" "$1/handler.c" ||
                fail "$1/handler.c does not call $name()" ;;
        esac
    done <"$work/known"
}

for directory in "$source_dir"/tests/abi/[0-9]*; do
    check_complete "$directory"
    print_layout "$directory" "$directory/mod_websocket.h" >"$work/expected"
    if ! is_kept "$directory" "$today"; then
        fail "mod_websocket.h is not what it was in $directory:"
        grep -E '^[-+][^-+]|error' "$work/changes" >&2 || cat "$work/changes" >&2
    fi
    echo "ABI $(basename "$directory"):" \
        "$(wc -l <"$work/expected") things, of $count names"
done

# ---- Would it be noticed? --------------------------------------------------

# change EXPECTED WHAT SED-SCRIPT: a change of today's header is "kept" or
# "lost" for the first ABI.
change() {
    sed -e "$3" "$today" >"$work/changed.h"
    if cmp -s "$today" "$work/changed.h"; then
        fail "\"$2\" changes nothing in mod_websocket.h: $3"
        return
    fi
    if is_kept "$source_dir/tests/abi/1" "$work/changed.h"; then
        is=kept
    else
        is=lost
    fi
    [ "$is" = "$1" ] || fail "$2: ABI 1 is $is"
}

print_layout "$source_dir/tests/abi/1" \
    "$source_dir/tests/abi/1/mod_websocket.h" >"$work/expected"
change lost "fields change places" \
    's/^    uint32_t abi; /    uint32_t size;/;t
     s/^    uint32_t size; /    uint32_t abi;/'
change lost "a field comes in between" \
    's/^    void (\*open)(websocket_t \*ws);/    void *between;\n&/'
change lost "a field goes" '/^    void (\*drained)(websocket_t \*ws);/d'
change lost "a field has another type" 's/^    int type; /    unsigned type;/'
change lost "a callback takes something else" \
    's/^    void (\*close)(websocket_t \*ws, unsigned code/&, int more/'
change lost "a constant has another value" 's/WEBSOCKET_BINARY = 2/WEBSOCKET_BINARY = 3/'
change lost "a limit has another value" \
    's/^#define WEBSOCKET_TOPIC_MAX 255/#define WEBSOCKET_TOPIC_MAX 256/'
change lost "a function goes" \
    '/^WEBSOCKET_PUBLIC size_t websocket_buffered(/d'
change lost "a function takes another type" \
    's/^\(WEBSOCKET_PUBLIC int websocket_refuse(.*\)int status/\1long status/'
change lost "a function returns another type" \
    's/^WEBSOCKET_PUBLIC uint64_t websocket_id(/WEBSOCKET_PUBLIC uint32_t websocket_id(/'
change lost "a destroy function takes something else" \
    's/(\*websocket_destroy_t)(void \*data)/(*websocket_destroy_t)(void *data, int more)/'
change kept "a field comes at the end" \
    's/^} websocket_handler_t;/    void (*later)(void);\n&/'
change kept "a function comes" \
    's/^WEBSOCKET_PUBLIC size_t websocket_buffered(/WEBSOCKET_PUBLIC int websocket_later(void);\n&/'

exit "$failed"
