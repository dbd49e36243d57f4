/* A handler of a time to come. */
#include "mod_websocket.h"

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI + 1,
    .size = sizeof(websocket_handler_t) + 64,
    .name = "new_abi",
    .message = message,
};
