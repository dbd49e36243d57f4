/* A handler that says nothing of its ABI. */
#include "mod_websocket.h"

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = 0,
    .size = sizeof(websocket_handler_t),
    .name = "no_abi",
    .message = message,
};
