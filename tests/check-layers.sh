#!/bin/sh
# The layers of docs/ARCHITECTURE.md: what each file includes is on a list, a
# file that is on no list fails, and below httpd there is no mutable state
# outside of structs.
set -eu
LC_ALL=C
export LC_ALL

source_dir=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
build_dir=${WS_BUILD_DIR:-$source_dir}
cd "$source_dir/mod_websocket"
failed=0

fail() {
    echo "$*" >&2
    failed=1
}

# ---- Which files there are, from the bottom up -----------------------------

layer_0='ws_status ws_value ws_clock ws_logger ws_budget ws_deflate ws_frame
    ws_mask ws_mask_simd ws_utf8 ws_utf8_simd ws_message ws_handshake
    ws_extension ws_hash'
layer_1='ws_buf ws_io ws_io_fd ws_io_tls ws_guard ws_conn
    ws_conn_send ws_output ws_broadcast'
layer_2='ws_wake ws_timer ws_activity ws_loop ws_shed ws_offload'
layer_3='ws_shared ws_census ws_log ws_seats ws_hub ws_redis ws_watch
    ws_worker'
layer_4='mod_websocket.h ws_option ws_handler ws_websocket ws_websocket_timer
    ws_ref ws_context ws_process ws_api ws_api_request'
layer_5='mod_websocket mod_websocket_internal mod_websocket_config
    mod_websocket_directives mod_websocket_upgrade mod_websocket_takeover
    mod_websocket_stream mod_websocket_admit mod_websocket_shared
    mod_websocket_child mod_websocket_keeper mod_websocket_keepers
    mod_websocket_loading
    mod_websocket_status'

# in_list WORD LIST
in_list() {
    for word in $2; do
        [ "$word" = "$1" ] && return 0
    done
    return 1
}

# websocket-run: on layers 0 to 4, and beside the module.
program='run run_log run_events run_notation run_options run_handler run_host
    run_http run_request run_page run_handshake run_serve run_client run_stage
    run_script run_play run_expect run_main'

# layer_of FILE: prints 0 to 5, handler, program, or compat or httpd_handler,
# parts of the handler compat; nothing: the file is new.
layer_of() {
    case $1 in
        handlers/compat_request.c) echo httpd_handler; return ;;
        handlers/compat*.[ch]) echo compat; return ;;
        handlers/*.c) echo handler; return ;;
        handlers/*) return ;;
        run/*)
            name=$(basename "$1")
            ! in_list "${name%.[ch]}" "$program" || echo program
            return
            ;;
        mod_websocket.h) echo 4; return ;;
    esac
    name=${1%.[ch]}
    for layer in 0 1 2 3 4 5; do
        eval "names=\$layer_$layer"
        # shellcheck disable=SC2154
        for known in $names; do
            if [ "$known" = "$name" ]; then
                echo "$layer"
                return
            fi
        done
    done
}

# ---- What may be included with <> ------------------------------------------

# Of the language: any layer, and handlers.
language='assert.h ctype.h errno.h inttypes.h limits.h math.h stdalign.h
    stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h
    string.h strings.h time.h'
# Of the system and of libraries: what a layer adds to those below it.
system_of() {
    case $1 in
        0) echo 'arm_neon.h immintrin.h openssl/evp.h openssl/sha.h zlib.h' ;;
        1) echo 'fcntl.h openssl/err.h openssl/ssl.h poll.h sys/socket.h
            sys/types.h sys/uio.h unistd.h' ;;
        2) echo 'apr_errno.h apr_poll.h apr_pools.h apr_portable.h pthread.h
            signal.h sys/eventfd.h' ;;
        3) echo 'openssl/rand.h sys/mman.h sys/wait.h' ;;
        4) echo 'apr_strings.h apr_tables.h dlfcn.h' ;;
        5) echo 'sys/prctl.h sys/resource.h sys/syscall.h' ;;
    esac
}

# Of httpd, APR and APR-util: any, in layer 5 alone.
httpd='^(httpd|http_.*|ap_.*|apr_.*|apu.*|util_.*|mpm_common|mod_ssl_openssl|mod_.*|scoreboard)\.h$'
handlers='jansson.h'
# The handler compat loads plugins, which may have threads. One file of it, and
# of all handlers, sees httpd's request.
compat='dlfcn.h pthread.h'
httpd_handler='apr_strings.h apr_tables.h http_config.h http_core.h http_log.h
    httpd.h'

# What websocket-run adds to layers 0 to 4.
program_system='apr_general.h getopt.h netdb.h netinet/in.h netinet/tcp.h'

# may_use LAYER HEADER
may_use() {
    in_list "$2" "$language" && return 0
    case $1 in
        handler) in_list "$2" "$handlers"; return ;;
        compat) in_list "$2" "$compat"; return ;;
        httpd_handler) in_list "$2" "$httpd_handler"; return ;;
    esac
    highest=$1
    if [ "$1" = program ]; then
        in_list "$2" "$program_system" && return 0
        highest=4
    fi
    for below in 0 1 2 3 4 5; do
        [ "$below" -le "$highest" ] || break
        in_list "$2" "$(system_of "$below")" && return 0
    done
    [ "$1" = 5 ] && printf '%s\n' "$2" | grep -Eq "$httpd"
}

# ---- What may be included with "" ------------------------------------------

# Within a layer, too, there is an order: a file includes what stands before
# it in the lists, and its own header.
position_of() {
    position=0
    for known in $layer_0 $layer_1 $layer_2 $layer_3 $layer_4 $layer_5 \
        $program; do
        position=$((position + 1))
        name=${1#run/}
        if [ "$known" = "$name" ] || [ "$known" = "${name%.[ch]}" ]; then
            echo "$position"
            return
        fi
    done
}

# may_include FILE LAYER HEADER
may_include() {
    case $2 in
        handler) [ "$3" = mod_websocket.h ]; return ;;
        compat | httpd_handler)
            in_list "$3" 'mod_websocket.h compat.h compat_plugin.h'
            return ;;
    esac
    if [ "$3" = mod_websocket_internal.h ]; then
        [ "$2" = 5 ]
        return
    fi
    # Parts of ws_conn and of ws_loop: they know each other.
    case "$1 $3" in
        "ws_conn"*".c ws_output.h" | "ws_loop.c ws_shed.h") return 0 ;;
    esac
    if [ "$2" = program ]; then
        case $3 in
            run*) theirs=$(layer_of "run/$3")
                [ "$theirs" = program ] &&
                    [ "$(position_of "$3")" -le "$(position_of "$1")" ] ;;
            *) theirs=$(layer_of "$3")
                [ -n "$theirs" ] && [ "$theirs" -le 4 ] ;;
        esac
        return
    fi
    theirs=$(layer_of "$3")
    [ -n "$theirs" ] && [ "$theirs" -le "$2" ] || return 1
    [ "$theirs" -lt "$2" ] || [ "$2" = 5 ] ||
        [ "$(position_of "$3")" -le "$(position_of "$1")" ]
}

# ---- Each include of each file ---------------------------------------------

includes=$(mktemp)
trap 'rm -f "$includes"' EXIT
count=0

check_file() {
    layer=$(layer_of "$1")
    if [ -z "$layer" ]; then
        fail "$1 is in no layer: add it to tests/check-layers.sh and to" \
            "docs/ARCHITECTURE.md"
        return
    fi
    # Also what is not at the line's start, or behind white space.
    grep -nE '^[[:space:]]*#[[:space:]]*(include|import)' "$1" >"$includes" ||
        true
    while IFS= read -r line; do
        number=${line%%:*}
        header=$(printf '%s\n' "$line" |
            sed -n 's/^[0-9]*:[^"<]*["<]\([^">]*\)[">].*/\1/p')
        case $line in
            *\"*) may_include "$1" "$layer" "$header" ||
                fail "$1:$number: layer $layer may not include \"$header\"" ;;
            *\<*) may_use "$layer" "$header" ||
                fail "$1:$number: layer $layer may not include <$header>" ;;
            *) fail "$1:$number: an include that is no file name" ;;
        esac
        count=$((count + 1))
    done <"$includes"
}

for file in *.[ch] handlers/*.[ch] run/*.[ch]; do
    [ -e "$file" ] || continue
    check_file "$file"
done
if [ "$count" -eq 0 ]; then
    fail "no file, or no include, was found in $PWD"
fi

# ---- No mutable state ------------------------------------------------------

# Symbols of data that can be written to: .data, .bss, common, thread-local.
# What begins with __ is the compiler's.
writable_data() {
    nm "$1" | awk '$(NF - 1) ~ /^[bBcCdDgGsSvV]$/ { print $NF }' |
        grep -v '^__' | sort -u
}

# constant_data OBJECT: the symbols in sections that are written only by the
# dynamic linker.
constant_data() {
    objdump -t "$1" | awk '$0 ~ /\.data\.rel\.ro/ { print $NF }' | sort -u
}

objects=0
if command -v nm >/dev/null && command -v objdump >/dev/null; then
    found=$(mktemp)
    constant=$(mktemp)
    trap 'rm -f "$includes" "$found" "$constant"' EXIT
    for object in "$build_dir"/mod_websocket/.libs/libws_la-ws_*.o \
        "$build_dir"/mod_websocket/libws_la-ws_*.o \
        "$build_dir"/mod_websocket/run/websocket_run-run_*.o; do
        [ -e "$object" ] || continue
        objects=$((objects + 1))
        writable_data "$object" >"$found" || true
        constant_data "$object" >"$constant"
        state=$(comm -23 "$found" "$constant")
        if [ -n "$state" ]; then
            # shellcheck disable=SC2086
            fail "$(basename "$object"): mutable file-scope state:" $state
        fi
    done
fi

if [ "$failed" -ne 0 ]; then
    exit 1
fi
echo "$count includes and the state of $objects objects are as they should be"
