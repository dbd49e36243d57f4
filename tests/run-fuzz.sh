#!/bin/sh
# Fuzzing, with libFuzzer: tests/fuzz/README.md. "make fuzz" and "make
# fuzz-corpus" call it.
#
#   run-fuzz.sh run      builds the targets and lets each of them run
#   run-fuzz.sh merge    what was found goes into tests/fuzz/corpus, as far as
#                        it reaches anything new
#
# From the environment: WS_SRC_DIR, WS_BUILD_DIR, FUZZ_TARGETS, FUZZ_SECONDS
# for each, FUZZ_JOBS at once, CLANG, FUZZ_CFLAGS, FUZZ_LIBS.
set -eu

WS_SRC_DIR=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
WS_BUILD_DIR=${WS_BUILD_DIR:-$PWD}
FUZZ_TARGETS=${FUZZ_TARGETS:-chat deflate extension handshake log message}
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
FUZZ_JOBS=${FUZZ_JOBS:-2}
CLANG=${CLANG:-clang}
export WS_SRC_DIR WS_BUILD_DIR FUZZ_SECONDS

fuzz=$WS_SRC_DIR/tests/fuzz
work=$WS_BUILD_DIR/fuzz
findings=$work/findings
sanitizers="-fsanitize=fuzzer,address,undefined
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
# What holds up nothing else on the machine.
limits="-timeout=25 -rss_limit_mb=2560"

# ---- What a target is made of ----------------------------------------------

# sources_of TARGET: in mod_websocket/, besides what the target includes.
sources_of() {
    case $1 in
        chat) ;;
        deflate) echo ws_deflate ws_budget ;;
        extension) echo ws_extension ws_handshake ;;
        handshake) echo ws_handshake ;;
        log) echo ws_budget ws_census ws_deflate ws_hash ws_shared ws_wake ;;
        message) echo ws_message ws_frame ws_mask ws_mask_simd ws_utf8 \
            ws_utf8_simd ws_deflate ws_budget ;;
        *)
            echo "There is no fuzz target $1" >&2
            return 1
            ;;
    esac
}

# length_of TARGET: longer inputs only take longer.
length_of() {
    case $1 in
        chat) echo 1000 ;;
        deflate) echo 2500 ;;
        log) echo 512 ;;
        message) echo 2000 ;;
        *) echo 600 ;;
    esac
}

# A trial, so that what is missing is told in one line.
check_clang() {
    command -v "$CLANG" >/dev/null || {
        echo "$CLANG is missing: fuzzing needs clang and its runtime library." \
            "scripts/packages.sh build test fuzz installs them." >&2
        exit 1
    }
    mkdir -p "$work"
    echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n);
        int LLVMFuzzerTestOneInput(const char *d, unsigned long n)
        { return d == 0 && n > 0; }' >"$work/trial.c"
    # shellcheck disable=SC2086     # words
    "$CLANG" $sanitizers "$work/trial.c" -o "$work/trial" \
        >"$work/trial.log" 2>&1 || {
        cat "$work/trial.log" >&2
        echo "$CLANG cannot build a fuzz target. Its runtime library is" \
            "missing (Debian: libclang-rt-dev; Fedora: compiler-rt)?" \
            "scripts/packages.sh fuzz installs it." >&2
        exit 1
    }
}

# is_current TARGET: no source or header is newer than the program.
is_current() {
    [ -x "$work/fuzz_$1" ] &&
        [ -z "$(find "$fuzz" "$WS_SRC_DIR/mod_websocket" "$0" \
            \( -name '*.[ch]' -o -name '*.sh' \) -newer "$work/fuzz_$1")" ]
}

build() {
    is_current "$1" && return
    files=
    names=$(sources_of "$1")
    for name in $names; do
        files="$files $WS_SRC_DIR/mod_websocket/$name.c"
    done
    echo "building fuzz_$1"
    # shellcheck disable=SC2086
    "$CLANG" -g -O1 -std=gnu11 ${FUZZ_CFLAGS--D_GNU_SOURCE} \
        -I"$WS_SRC_DIR/mod_websocket" $sanitizers "$fuzz/fuzz_$1.c" $files \
        -o "$work/fuzz_$1" ${FUZZ_LIBS--lcrypto -lz -ljansson} -pthread
}

# ---- Running ---------------------------------------------------------------

# run TARGET: the corpus grows in the build directory.
run() {
    corpus=$work/corpus/$1
    log=$work/$1.log
    mkdir -p "$corpus" "$findings" "$fuzz/corpus/$1"
    set -- "$1" -max_total_time="$FUZZ_SECONDS" -max_len="$(length_of "$1")" \
        -artifact_prefix="$findings/$1-" -print_final_stats=1
    if [ -e "$fuzz/$1.dict" ]; then
        set -- "$@" -dict="$fuzz/$1.dict"
    fi
    target=$1
    shift
    status=0
    # shellcheck disable=SC2086
    "$work/fuzz_$target" "$@" $limits "$corpus" "$fuzz/corpus/$target" \
        >"$log" 2>&1 </dev/null || status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.*\(cov: [0-9]* ft: [0-9]*\).*/\1/p' "$log" |
        tail -n 1)
    echo "$target: ${executions:-0} executions, ${coverage:-no coverage}"
    if [ "$status" -ne 0 ]; then
        echo "$target: FOUND SOMETHING. See $log"
        sed -n 's/.*Test unit written to /    input: /p' "$log"
        return 1
    fi
}

# merge TARGET: the seeds all stay. Counters of how often a place is reached
# are left out: they would make the corpus several times as large.
merge() {
    kept=$work/merged/$1
    rm -rf "$kept"
    mkdir -p "$kept" "$work/corpus/$1"
    cp "$fuzz/corpus/$1"/seed-* "$kept"
    # shellcheck disable=SC2086
    "$work/fuzz_$1" -merge=1 -use_counters=0 $limits "$kept" \
        "$work/corpus/$1" "$fuzz/corpus/$1" >"$work/$1-merge.log" 2>&1 || {
        tail -n 5 "$work/$1-merge.log" >&2
        return 1
    }
    rm -f "$fuzz/corpus/$1"/*
    cp "$kept"/* "$fuzz/corpus/$1"
    echo "$1: $(find "$kept" -type f | wc -l) inputs," \
        "$(cat "$kept"/* | wc -c) bytes"
}

case ${1-run} in
    one)                        # one of several at a time; see below
        run "$2"
        ;;
    run)
        check_clang
        for target in $FUZZ_TARGETS; do
            build "$target"
        done
        echo "$FUZZ_SECONDS s each, $FUZZ_JOBS at a time:"
        # shellcheck disable=SC2086
        printf '%s\n' $FUZZ_TARGETS |
            xargs -n 1 -P "$FUZZ_JOBS" "$0" one || {
            echo "The inputs that fail are in $findings" >&2
            exit 1
        }
        ;;
    merge)
        check_clang
        for target in $FUZZ_TARGETS; do
            build "$target"
            merge "$target"
        done
        ;;
    *)
        echo "Usage: $0 [run|merge]" >&2
        exit 2
        ;;
esac
