#!/bin/sh
# Every shell script passes shellcheck.
set -eu

cd "${WS_SRC_DIR:-$(dirname "$0")/..}"
command -v shellcheck >/dev/null || {
    echo "shellcheck is missing (Debian: shellcheck; Fedora: ShellCheck)" >&2
    exit 77
}
shellcheck demo check .ci/run scripts/*.sh tests/*.sh \
    mod_websocket/new/websocket-new.in
