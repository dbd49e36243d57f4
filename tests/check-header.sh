#!/bin/sh
# The public header compiles alone, as C99 and as C++17, without a warning, and
# a handler can be made in either; and the examples need no other header of
# ours.
set -eu

source_dir=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/alone.c" <<'END'
#include "mod_websocket.h"
#include "mod_websocket.h"
int main(void)
{
    return 0;
}
END
cp "$work/alone.c" "$work/alone.cc"
mkdir "$work/include"
cp "$source_dir/mod_websocket/mod_websocket.h" "$work/include"

cat >"$work/handler.c" <<'END'
#include <mod_websocket.h>

static const websocket_option_t options[] = {
    {"limit", WEBSOCKET_SIZE, "64K", 1, 1048576, "bytes"},
    {NULL, 0, NULL, 0, 0, NULL}
};

static void message(websocket_t *ws, int type, const void *data,
                    size_t length)
{
    if (length > 0) {
        websocket_log(ws, WEBSOCKET_LOG_DEBUG, "%d bytes", (int)length);
    }
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "of C",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .message = message
};
END

# C++17 has no designated initializers.
cat >"$work/handler.cc" <<'END'
#include <mod_websocket.h>

#include <string>

namespace {

struct Guest {
    std::string name;
};

const websocket_option_t options[] = {
    {"greeting", WEBSOCKET_STRING, "hello", 0, 0, "what is said first"},
    {nullptr, 0, nullptr, 0, 0, nullptr},
};

int accept(websocket_context_t *, websocket_request_t *request)
{
    const char *user = websocket_request_user(request);

    websocket_request_set_data(
        request, new Guest{user != nullptr ? user : "nobody"},
        [](void *guest) { delete static_cast<Guest *>(guest); });
    return 0;
}

void open(websocket_t *ws)
{
    const std::string text =
        std::string(websocket_option_string(websocket_context(ws),
                                            "greeting")) +
        " " + static_cast<Guest *>(websocket_data(ws))->name;

    websocket_send(ws, WEBSOCKET_TEXT, text.data(), text.size());
}

void message(websocket_t *ws, int type, const void *data, std::size_t length)
{
    websocket_publish(ws, "all", type, data, length, WEBSOCKET_NOT_TO_SELF);
}

websocket_handler_t make_handler()
{
    websocket_handler_t handler{};

    handler.abi = WEBSOCKET_ABI;
    handler.size = sizeof(handler);
    handler.name = "of C++";
    handler.options = options;
    handler.option_size = sizeof(options[0]);
    handler.accept = accept;
    handler.open = open;
    handler.message = message;
    return handler;
}

} // namespace

const websocket_handler_t websocket_handler = make_handler();
END

# compile COMPILER STANDARD NAME, when there is such a compiler: the header
# alone, and a handler, which must show what it is.
compile() {
    if ! command -v "$1" >/dev/null; then
        echo "no $1: not tried"
        return 0
    fi
    echo "$1 $2"
    "$1" "$2" -Wall -Wextra -pedantic -Werror \
        -I"$source_dir/mod_websocket" -c -o "$work/alone.o" "$work/alone.$3"
    "$1" "$2" -Wall -Wextra -pedantic -Werror -fPIC -shared \
        -fvisibility=hidden -I"$source_dir/mod_websocket" \
        -o "$work/handler.so" "$work/handler.$3"
    nm -D "$work/handler.so" >"$work/symbols"
    for symbol in '[DRB] websocket_handler' 'U websocket_send'; do
        grep -q " $symbol\$" "$work/symbols" || {
            echo "a handler of $1 $2 has no \"$symbol\"" >&2
            return 1
        }
    done
}

compile gcc -std=c99 c
compile clang -std=c99 c
compile g++ -std=c++17 cc
compile clang++ -std=c++17 cc

# example COMPILER FILE OPTION...
example() {
    if ! command -v "$1" >/dev/null; then
        return 0
    fi
    compiler=$1
    file=$2
    shift 2
    "$compiler" "$@" -Wall -Wextra -pedantic -Werror -I"$work/include" -fPIC \
        -c -o "$work/alone.o" "$file"
}

for file in "$source_dir"/docs/examples/*.c; do
    example gcc "$file"
    example clang "$file"
done
for file in "$source_dir"/docs/examples/*.cpp; do
    example g++ "$file" -std=c++17
    example clang++ "$file" -std=c++17
done
