#!/bin/sh
# "make install" puts everything where it belongs below DESTDIR, as anybody,
# and "make uninstall" leaves no file behind. WS_BUILD_DIR: what to install.
set -eu

cd "${WS_BUILD_DIR:-$PWD}"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

value_of() {
    make --no-print-directory -s print-directories | sed -n "s/^$1=//p"
}

make install DESTDIR="$root" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log"
    rm -f "$root.log"
    echo "make install failed"
    exit 1
}
rm -f "$root.log"

status=0
for file in \
    "$(value_of bindir)/websocket-run" \
    "$(value_of mandir)/man1/websocket-run.1" \
    "$(value_of moduledir)/mod_websocket.so" \
    "$(value_of handlersdir)/websocket_echo.so" \
    "$(value_of handlersdir)/websocket_chat.so" \
    "$(value_of handlersdir)/websocket_compat.so" \
    "$(value_of includedir)/mod_websocket.h" \
    "$(value_of bindir)/websocket-new" \
    "$(value_of mandir)/man1/websocket-new.1" \
    "$(value_of pkgconfigdir)/mod_websocket.pc" \
    "$(value_of pkgdatadir)/skeleton/handler.c" \
    "$(value_of pkgdatadir)/websocket.conf" \
    "$(value_of pkgdatadir)/examples/README.md" \
    "$(value_of pkgdatadir)/examples/auth.c" \
    "$(value_of pkgdatadir)/examples/counter.c" \
    "$(value_of pkgdatadir)/examples/counter.ws" \
    "$(value_of pkgdatadir)/examples/slowwork.c" \
    "$(value_of pkgdatadir)/examples/ticker.cpp" \
    "$(value_of pkgdatadir)/examples/upload.c" \
    "$(value_of pkgdatadir)/www/index.html"; do
    if [ ! -f "$root$file" ]; then
        echo "not installed: $file"
        status=1
    fi
done
# what it needs is there: handlers are loaded, and find what they call
"$root$(value_of bindir)/websocket-run" --help \
    "$root$(value_of handlersdir)/websocket_chat.so" >/dev/null || status=1
find "$root" -name '*.la' | grep . && status=1
find "$root" -path '*/examples/*.so' | grep . && status=1
grep -n '@[A-Za-z]*@' "$root$(value_of pkgdatadir)/websocket.conf" \
    "$root$(value_of pkgconfigdir)/mod_websocket.pc" && status=1

# An example is built as its README says.
PKG_CONFIG_SYSROOT_DIR=$root
PKG_CONFIG_PATH=$root$(value_of pkgconfigdir)
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
for file in "$root$(value_of pkgdatadir)"/examples/*.c; do
    # shellcheck disable=SC2046     # one word a flag
    ${CC:-cc} -shared -fPIC -Werror -o "$root.so" "$file" \
        $(pkg-config --cflags mod_websocket) || status=1
done
rm -f "$root.so"

make uninstall DESTDIR="$root" >/dev/null 2>&1 || {
    echo "make uninstall failed"
    exit 1
}
left=$(find "$root" ! -type d)
if [ -n "$left" ]; then
    echo "left behind: $left"
    status=1
fi
exit $status
