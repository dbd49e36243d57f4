/* A handler that declares an option whose default is none of its type. */
#include "mod_websocket.h"

static const websocket_option_t options[] = {
    {"size", WEBSOCKET_SIZE, "much", 0, 0, "how much"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "bad_option",
    .options = options,
    .option_size = sizeof(options[0]),
    .message = message,
};
