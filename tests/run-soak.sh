#!/bin/sh
# The soak test: docs/reliability.md. "make soak" calls it.
#
# From the environment: MINUTES; SANITIZE: nothing, "address" (a sanitized
# module in httpd) or "thread" (layers 0 to 4 without httpd); SEED;
# WS_BUILD_DIR: where the module was built. Arguments go to tests/soak/soak.py.
# What is sanitized is built below WS_BUILD_DIR.
set -eu

WS_SRC_DIR=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
WS_BUILD_DIR=${WS_BUILD_DIR:-$PWD}
MINUTES=${MINUTES:-60}
SEED=${SEED:-1}
python=${WS_PYTHON:-/usr/bin/python3}
sanitize=${SANITIZE-}

build() {
    echo "building $1 with --enable-sanitizers=$sanitize"
    "$WS_SRC_DIR/scripts/build.sh" "$WS_BUILD_DIR" "$@" -- \
        --enable-sanitizers="$sanitize"
}

case $sanitize in
    '') ;;
    address | thread) WS_BUILD_DIR=$WS_BUILD_DIR/soak-$sanitize ;;
    *)
        echo "SANITIZE is address or thread, not \"$sanitize\"" >&2
        exit 2
        ;;
esac
export WS_SRC_DIR WS_BUILD_DIR

if [ "$sanitize" = thread ]; then
    build all                   # not both at once: make would do some twice
    build tests/soak/soak_layers
    # No suppression of any kind: TSAN_OPTIONS of the caller is not taken.
    TSAN_OPTIONS="second_deadlock_stack=1" \
        exec "$WS_BUILD_DIR/tests/soak/soak_layers" \
        "$(awk "BEGIN { print int($MINUTES * 60) }")" "$SEED"
fi
"$python" -c 'import h2' 2>/dev/null || {
    echo "h2 for $python is missing (Debian, Fedora: python3-h2)" >&2
    exit 1
}
if [ -n "$sanitize" ]; then
    build all
    WS_SANITIZE=$sanitize
    export WS_SANITIZE
fi
export PYTHONDONTWRITEBYTECODE=1
exec "$python" "$WS_SRC_DIR/tests/soak/soak.py" --minutes "$MINUTES" \
    --seed "$SEED" "$@"
