/* A handler without a message callback. */
#include "mod_websocket.h"

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "no_message",
};
