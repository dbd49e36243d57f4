#!/bin/sh
# The conformance suite: every case in every mode, and a table of them by
# section of the RFCs. Arguments go to pytest; tests/conformance/README.md has
# some. WS_BUILD_DIR is where the module was built, WS_SANITIZE how ("address").
set -eu

WS_SRC_DIR=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
WS_BUILD_DIR=${WS_BUILD_DIR:-$PWD}
export WS_SRC_DIR WS_BUILD_DIR
python=${WS_PYTHON:-/usr/bin/python3}

"$python" -c 'import pytest, xdist, websockets, h2' 2>/dev/null || {
    echo "pytest, its xdist, websockets or h2 for $python are missing" \
        "(Debian, Fedora: python3-pytest python3-pytest-xdist" \
        "python3-websockets python3-h2)" >&2
    exit 1
}
export PYTHONDONTWRITEBYTECODE=1

base=$(mktemp -d "${TMPDIR:-/tmp}/mod_websocket-conformance.XXXXXX")
status=0
# The directory comes first: pytest reads our options' names there.
"$python" -m pytest "$WS_SRC_DIR/tests/conformance" -p no:cacheprovider \
    --rootdir="$WS_SRC_DIR/tests/conformance" --basetemp="$base/pytest" \
    -n 3 -q -rN --tb=no --show-capture=no "$@" || status=$?
if [ "$status" -eq 0 ]; then
    rm -rf "$base"
else
    echo "the logs of the servers are in $base" >&2
fi
exit "$status"
