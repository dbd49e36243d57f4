#!/bin/sh
# The end-to-end tests: pytest against a private httpd. Arguments go to pytest.
# WS_BUILD_DIR is where the module was built, WS_SANITIZE how ("address").
set -eu

if [ "${WS_SKIP_E2E-}" = 1 ]; then
    exit 77                     # automake's "skipped"
fi
WS_SRC_DIR=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
WS_BUILD_DIR=${WS_BUILD_DIR:-$PWD}
WS_SCREENSHOTS=${WS_SCREENSHOTS:-$WS_BUILD_DIR/screenshots}
mkdir -p "$WS_SCREENSHOTS"
export WS_SRC_DIR WS_BUILD_DIR WS_SCREENSHOTS
python=${WS_PYTHON:-/usr/bin/python3}

"$python" -c 'import pytest, websockets, h2' 2>/dev/null || {
    echo "pytest, websockets or h2 for $python are missing (Debian, Fedora:" \
        "python3-pytest python3-websockets python3-h2)" >&2
    exit 1
}
# The source tree may be read-only, and has its own configuration or none.
export PYTHONDONTWRITEBYTECODE=1

# A directory of our own: pytest's usual one is closed to httpd's user again
# whenever another pytest of the same user starts.
base=$(mktemp -d "${TMPDIR:-/tmp}/mod_websocket-e2e.XXXXXX")
status=0
"$python" -m pytest -p no:cacheprovider --rootdir="$WS_SRC_DIR/tests/e2e" \
    --basetemp="$base/pytest" "$@" "$WS_SRC_DIR/tests/e2e" || status=$?
if [ "$status" -eq 0 ]; then
    rm -rf "$base"
else
    echo "the logs of the servers are in $base" >&2
fi
exit "$status"
