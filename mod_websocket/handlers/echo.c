/* echo: sends each message back as it came, text as text, binary as binary.
 * Speaks the subprotocol "echo" to clients that offer it. */
#include "mod_websocket.h"

static int echo_accept(websocket_context_t *context,
                       websocket_request_t *request)
{
    (void)context;
    websocket_request_choose_protocol(request, "echo");
    return 0;
}

/* A client that sends and does not read is not read from either. */
static void echo_message(websocket_t *ws, int type, const void *data,
                         size_t length)
{
    if (websocket_send(ws, type, data, length) == WEBSOCKET_QUEUED) {
        websocket_pause(ws);
    }
}

static void echo_drained(websocket_t *ws)
{
    websocket_resume(ws);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "echo",
    .accept = echo_accept,
    .message = echo_message,
    .drained = echo_drained,
};
