/* A handler without a message callback. */
#include "mod_websocket.h"

const websocket_handler_t websocket_handler = {
    WEBSOCKET_ABI, sizeof(websocket_handler_t),
    "no_message",  NULL,
    NULL,          NULL,
    NULL,          NULL,
    NULL};
