#!/bin/bash
# What docs/handlers.md promises: with the installed package alone, and
# without this source tree, websocket-new writes a handler that "make" builds,
# "make test" tests, "make install" installs, and httpd serves by its name.
# TAP. It builds anew: the prefix is compiled in.
# shellcheck disable=SC2317     # "try" calls functions
set -u

source_dir=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
work=$(mktemp -d)
prefix=$work/prefix
number=0
bad=0
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# result STATUS NAME
result() {
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        sed 's/^/# /' "$work/log" 2>/dev/null | tail -n 30
        bad=1
    fi
}

# try NAME COMMAND...
try() {
    local name=$1
    shift
    "$@" >"$work/log" 2>&1
    result $? "$name"
}

# refuses STATUS TEXT COMMAND...: ends so, and says this.
refuses() {
    local status=$1 text=$2
    shift 2
    "$@" >"$work/out" 2>&1
    [ $? -eq "$status" ] && grep -qF -- "$text" "$work/out"
}

install_package() {
    "$source_dir/scripts/build.sh" "$work/build" install -- --enable-werror \
        --prefix="$prefix"
}

# What comes from here is the test's: a client, and httpd's configuration.
try "the package is installed" install_package
cp "$source_dir/tests/e2e/wire.py" "$work/wire.py"
printf 'LIMIT = 30\nclient_context = None\n' >"$work/httpd.py"   # it asks for
export PATH=$prefix/bin:$PATH
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig

cat >"$work/steps" <<'END'
cd "$work" || exit 1
[ ! -e "$source_dir/mod_websocket" ]
result $? "the source tree is out of sight"
try "websocket-new writes a handler" websocket-new greeter
try "it does not write over another" \
    refuses 1 "greeter is there already" websocket-new greeter
for name in "" Greeter 9lives a-b 'a b' ../up \
    abcdefghijklmnopqrstuvwxyzabcdefg; do
    try "\"$name\" is no name" refuses 1 "" websocket-new "$name" there
done
try "it needs a name" refuses 2 "usage: websocket-new NAME" websocket-new
try "it knows its options" \
    refuses 2 "unknown option --quickly" websocket-new --quickly
[ ! -e there ]
result $? "what is refused leaves nothing"
try "make builds it" make -C greeter
try "make test passes" make -C greeter test
sed -i 's/expect text 1: hello/expect text 7: hello/' greeter/test.ws
try "make test fails where it must" \
    refuses 2 "test.ws:5" make -C greeter test
try "make install installs it" make -C greeter install
try "websocket-run finds it by its name" \
    refuses 0 "greeting" websocket-run --help greeter
try "its options are checked" \
    refuses 1 'unknown option "colour"; there are: greeting' \
    websocket-run greeter colour=red --script /dev/null
try "httpd serves it by its name" python3 "$work/serve.py"
try "make uninstall removes it" make -C greeter uninstall
try "and then it is unknown" \
    refuses 1 "greeter" websocket-run --help greeter
END

cat >"$work/serve.py" <<'END'
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import sys
import time

work = pathlib.Path(os.environ["work"])
sys.path.insert(0, str(work))
from wire import TEXT, Wire, frame      # noqa: E402


def ask(what):
    return subprocess.run(["apxs", "-q", what], check=True, text=True,
                          capture_output=True).stdout.strip()


with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
module = next((work / "prefix").rglob("mod_websocket.so"))
modules = ask("LIBEXECDIR")
user = ""
if os.geteuid() == 0:
    name = next(n for n in ("www-data", "apache", "nobody")
                if n in [p.pw_name for p in pwd.getpwall()])
    user = f"User {name}\nGroup #{pwd.getpwnam(name).pw_gid}"
load = "\n".join(f"""
<IfModule !{name}_module>
    LoadModule {name}_module {modules}/mod_{name}.so
</IfModule>""" for name in ("mpm_event", "unixd", "authz_core"))
config = work / "httpd.conf"
config.write_text(f"""
ServerRoot {work}
ServerName localhost
PidFile {work}/httpd.pid
DefaultRuntimeDir {work}
ErrorLog {work}/error.log
Listen 127.0.0.1:{port}
{load}
LoadModule websocket_module {module}
{user}
<Location "/ws/greeter">
    WebSocketHandler greeter "greeting=Hello there"
</Location>
""")
program = f"{ask('SBINDIR')}/{ask('PROGNAME')}"
httpd = subprocess.Popen([program, "-DFOREGROUND", "-f", config])
try:
    end = time.monotonic() + 30
    while True:
        try:
            wire = Wire(("127.0.0.1", port), False)
            break
        except OSError:
            assert httpd.poll() is None, (work / "error.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
    assert wire.open("/ws/greeter").status == 101
    wire.expect(TEXT, "Hello there!")
    wire.send(frame(TEXT, "ten minutes"))
    wire.expect(TEXT, "1: ten minutes")
finally:
    httpd.send_signal(signal.SIGTERM)
    httpd.wait(30)
END

export work source_dir prefix
# Only root can hide it; for others it stays, and only the last case says so.
if [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    export -f result try refuses
    # shellcheck disable=SC2016
    unshare --mount bash -c '
        mount -t tmpfs none "$source_dir" || exit 1
        number=1
        bad=0
        . "$work/steps"
        echo "$number $bad" >"$work/counts"
    '
    read -r number bad_there <"$work/counts" || bad_there=1
    [ "$bad_there" -eq 0 ] || bad=1
else
    sed -i '/mod_websocket" \]/,/out of sight/d' "$work/steps"
    # shellcheck source=/dev/null
    . "$work/steps"
    echo "# not root: the source tree was not hidden"
fi
echo "1..$number"
exit "$bad"
