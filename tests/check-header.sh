#!/bin/sh
# The public header compiles alone, as C99 and as C++17, without a warning.
set -eu

source_dir=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/alone.c" <<'END'
#include "mod_websocket.h"
#include "mod_websocket.h"
int main(void)
{
    return 0;
}
END
cp "$work/alone.c" "$work/alone.cc"

# compile COMPILER STANDARD FILE, when there is such a compiler
compile() {
    if ! command -v "$1" >/dev/null; then
        echo "no $1: not tried"
        return 0
    fi
    echo "$*"
    "$@" -Wall -Wextra -pedantic -Werror -I"$source_dir/mod_websocket" \
        -c -o "$work/alone.o"
}

compile gcc -std=c99 "$work/alone.c"
compile clang -std=c99 "$work/alone.c"
compile g++ -std=c++17 "$work/alone.cc"
compile clang++ -std=c++17 "$work/alone.cc"
