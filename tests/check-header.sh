#!/bin/sh
# The public header compiles alone, as C99 and as C++17, without a warning; and
# the examples need no other header of ours.
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
mkdir "$work/include"
cp "$source_dir/mod_websocket/mod_websocket.h" "$work/include"

# compile COMPILER STANDARD FILE, when there is such a compiler
compile() {
    if ! command -v "$1" >/dev/null; then
        echo "no $1: not tried"
        return 0
    fi
    echo "$*"
    "$@" -Wall -Wextra -pedantic -Werror -I"$work/include" \
        -c -o "$work/alone.o"
}

compile gcc -std=c99 "$work/alone.c"
compile clang -std=c99 "$work/alone.c"
compile g++ -std=c++17 "$work/alone.cc"
compile clang++ -std=c++17 "$work/alone.cc"

for example in "$source_dir"/docs/examples/*.c; do
    compile gcc -fPIC "$example"
    compile clang -fPIC "$example"
done
for example in "$source_dir"/docs/examples/*.cpp; do
    compile g++ -std=c++17 -fPIC "$example"
    compile clang++ -std=c++17 -fPIC "$example"
done
