#!/bin/bash
# ./demo, as an ordinary user and as root, with each MPM, with and without
# TLS. Works on a copy of the source tree that only its owner can read.
# Prints TAP: "ok N - what" or "not ok N - what", and the plan at the end.
set -u
set -m                  # each demo leads a process group, as in a terminal

source_dir=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
chmod 755 "$work"
tree=$work/tree
output=$work/output
count=0
failures=0
demo_pid=
port=18080

leave() {
    if [ -n "$demo_pid" ]; then
        kill -TERM "$demo_pid" 2>/dev/null
        wait "$demo_pid" 2>/dev/null
    fi
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 1' INT TERM HUP

# verdict STATUS WHAT
verdict() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
        return
    fi
    failures=$((failures + 1))
    echo "not ok $count - $2"
    sed 's/^/# /' "$output"
}

# expect WHAT COMMAND...
expect() {
    local what=$1
    shift
    "$@"
    verdict $? "$what"
}

# as WHO COMMAND...: nobody, or whoever we are
as() {
    local who=$1
    shift
    if [ "$who" = "$(id -un)" ]; then
        exec env HOME="$work" TMPDIR="$work/tmp" "$@"
    fi
    exec setpriv --reuid "$who" --regid "$(id -g "$who")" --clear-groups \
        env HOME="$work" TMPDIR="$work/tmp" "$@"
}

find_port() {
    port=$((port + 1))
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((port + 1))
    done
}

get() {
    curl --silent --insecure --noproxy '*' --max-time 5 "$@"
}

has_status() {
    [ "$(get --output /dev/null --write-out '%{http_code}' "${@:2}")" = "$1" ]
}

has_policy() {
    get --head "$1" | grep -qi "^content-security-policy: default-src 'none'"
}

upgrades() {
    # 101, and then curl waits for more: not for long
    get --max-time 2 --http1.1 --include --header 'Connection: Upgrade' \
        --header 'Upgrade: websocket' --header 'Sec-WebSocket-Version: 13' \
        --header 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$1" |
        grep -aq '^HTTP/1.1 101 '
}

is_gone() {
    local try
    for ((try = 0; try < 20; try++)); do
        "$@" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

is_announced() {
    local try
    for ((try = 0; try < 1800; try++)); do
        grep -q 'Ctrl-C stops it' "$output" && return 0
        kill -0 "$demo_pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

is_refused() {
    (as "$1" "$tree/demo" --port "$port") >"$output.refused" 2>&1
    [ $? -eq 1 ] && grep -q "Port $port is taken" "$output.refused"
}

runs_unprivileged() {
    # The children's user; the parent's may be root.
    ps -o user= -o pid= --sid "$1" |
        awk -v parent="$1" '$2 != parent && $1 == "root" { bad = 1 }
            END { exit bad }'
}

# run_demo WHO MPM SCHEME SIGNAL
run_demo() {
    local who=$1 mpm=$2 scheme=$3 signal=$4
    local name="$who, $mpm, $scheme" options=(--mpm "$2")
    local url websocket status httpd run_dir
    find_port
    options+=(--port "$port")
    [ "$scheme" = http ] || options+=(--tls)
    url=$scheme://localhost:$port

    : >"$output"
    (as "$who" "$tree/demo" "${options[@]}") >"$output" 2>&1 </dev/null &
    demo_pid=$!
    if ! is_announced; then
        verdict 1 "$name: starts"
        kill -TERM "$demo_pid" 2>/dev/null
        wait "$demo_pid" 2>/dev/null
        demo_pid=
        return
    fi
    verdict 0 "$name: starts"
    sleep 0.3                           # the error log follows
    httpd=$(sed -n 's/.*\[pid \([0-9]*\)\] AH00094.*/\1/p' "$output")
    run_dir=$(sed -n "s/.*AH00094.* -f \(.*\)\/httpd.conf .*/\1/p" "$output")

    expect "$name: the page" has_status 200 "$url/"
    expect "$name: an ordinary page" has_status 200 "$url/about.html"
    expect "$name: the status page" has_status 200 "$url/server-status"
    expect "$name: a strict content security policy" has_policy "$url/"
    for websocket in echo chat; do
        expect "$name: /ws/$websocket upgrades" upgrades "$url/ws/$websocket"
    done
    expect "$name: the children are unprivileged" runs_unprivileged "$httpd"
    if [ "$mpm" = event ]; then
        expect "$name: a second one says that the port is taken" \
            is_refused "$who"
    fi

    kill "-$signal" -- "-$demo_pid"     # as a terminal would
    wait "$demo_pid"
    status=$?
    demo_pid=
    verdict "$status" "$name: SIG$signal ends it with status 0"
    expect "$name: leaves no process" is_gone kill -0 -- "-$httpd"
    expect "$name: leaves no directory" is_gone test -e "$run_dir"
}

copy_tree() {
    mkdir "$tree" "$work/tmp"
    tar -C "$source_dir" --exclude=./.git --exclude=./build \
        --exclude=./autom4te.cache --exclude=__pycache__ -cf - . |
        tar -C "$tree" -xf -
    chmod 700 "$tree"
}

has_exit_status() {
    "${@:2}" >"$output" 2>&1 </dev/null
    [ $? -eq "$1" ]
}

copy_tree
if [ "$(id -u)" -eq 0 ]; then
    users=(nobody root)
    chown -R "nobody:$(id -g nobody)" "$tree" "$work/tmp"
else
    users=("$(id -un)")
fi

expect "--help" has_exit_status 0 "$tree/demo" --help
expect "an unknown option" has_exit_status 2 "$tree/demo" --no-such-option
expect "a port that is no number" has_exit_status 2 "$tree/demo" --port x
expect "a privileged port" has_exit_status 2 "$tree/demo" --port 80
expect "a port without a value" has_exit_status 2 "$tree/demo" --port
expect "an unknown MPM" has_exit_status 2 "$tree/demo" --mpm motorz

for user in "${users[@]}"; do
    for scheme in http https; do
        run_demo "$user" event "$scheme" INT
        run_demo "$user" worker "$scheme" TERM
        run_demo "$user" prefork "$scheme" HUP
    done
done
echo "1..$count"
[ "$failures" -eq 0 ]
