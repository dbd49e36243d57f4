/* A handler that is too small to have a message callback. */
#include "mod_websocket.h"

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = offsetof(websocket_handler_t, message),
    .name = "small",
    .message = message,
};
