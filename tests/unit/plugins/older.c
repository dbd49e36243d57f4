/* A handler built with a header that knew nothing behind message: what
 * follows there is not its struct any more. */
#include "mod_websocket.h"

static void trap(websocket_t *ws)
{
    (void)ws;
    __builtin_trap();
}

static void trap_close(websocket_t *ws, unsigned code, const char *reason,
                       size_t length)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)length;
    __builtin_trap();
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = offsetof(websocket_handler_t, drained),
    .name = "older",
    .message = message,
    .drained = trap,
    .close = trap_close,
};
