#!/bin/bash
# Configures and builds out of tree; quick when there is nothing to do.
#
#   scripts/build.sh DIRECTORY [MAKE-TARGET...] [-- CONFIGURE-ARGUMENT...]
#
# Quiet: everything goes to DIRECTORY/build.log, whose end is shown when
# something fails.
set -eu

source_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=$1
shift
targets=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets="$targets $1"
    shift
done
if [ $# -gt 0 ]; then
    shift
fi

trap 'exit 130' INT             # said nothing, not "make failed"
trap 'exit 143' TERM HUP

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

mkdir -p "$build_dir" 2>/dev/null ||
    stop "$build_dir cannot be made: it needs a source tree you may write to."
build_dir=$(cd "$build_dir" && pwd)
log=$build_dir/build.log
: 2>/dev/null >>"$log" ||
    stop "$build_dir belongs to somebody else, perhaps to root. Remove it:" \
        "    sudo rm -rf $build_dir"
: >"$log"

# logged WHAT COMMAND...
logged() {
    what=$1
    shift
    printf '\n== %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null || {
        # The first error, with what led to it, and the end.
        grep -n -m 5 -E '(error|Error):' "$log" >&2 || true
        echo "..." >&2
        tail -n 25 "$log" >&2
        stop "" "$what failed: all of it is in $log"
    }
}

# One at a time: it writes into the source tree.
(
    flock 9
    cd "$source_dir"
    if [ ! -x configure ] || [ ! -f Makefile.in ] ||
        [ configure.ac -nt configure ] || [ m4/websocket.m4 -nt configure ] ||
        [ Makefile.am -nt Makefile.in ]; then
        logged "autoreconf" autoreconf --force --install
    fi
) 9>"$(dirname "$build_dir")/.autoreconf.lock" || exit 1

arguments="$*"
cd "$build_dir"
if [ ! -f Makefile ] || [ "$source_dir/configure" -nt config.status ] ||
    [ "$(cat .arguments 2>/dev/null)" != "$source_dir $arguments" ]; then
    # Other flags, other objects.
    if [ -f Makefile ]; then
        make clean >/dev/null 2>&1 || true
    fi
    rm -f .arguments
    logged "configure" "$source_dir/configure" "$@"
    printf '%s\n' "$source_dir $arguments" >.arguments
fi
# shellcheck disable=SC2086
logged "make" make -j"$(nproc)" $targets
