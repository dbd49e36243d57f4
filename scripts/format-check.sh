#!/bin/sh
# clang-format's opinion of the sources, but for the column in which a
# comment behind code begins: that one is for the eye to choose.
set -eu

cd "$(dirname "$0")/.."
clang_format=${CLANG_FORMAT:-clang-format}
command -v "$clang_format" >/dev/null || {
    echo "clang-format is missing (Debian: clang-format;" \
        "Fedora: clang-tools-extra)" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

normalize() {
    sed -e 's|\([^ ]\)  *\(/[/*].*\)$|\1 \2|' -e 's|^ *\([^ ].*\*/\)$|\1|'
}

status=0
find docs/examples mod_websocket tests -name '*.[ch]' -o -name '*.cpp' | sort >"$work/files"
while read -r file; do
    normalize <"$file" >"$work/is"
    "$clang_format" --style=file "$file" | normalize >"$work/should_be"
    diff -u --label "$file" --label "$file (formatted)" \
        "$work/is" "$work/should_be" || status=1
done <"$work/files"
exit $status
