/* A handler of this ABI whose struct has grown since. */
#include "mod_websocket.h"

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t) + 8,
    .name = "larger",
    .message = message,
};
