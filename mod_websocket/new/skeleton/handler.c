/* @NAME@: greets who comes, and answers each text with its number.
 *
 * The options, in httpd.conf: WebSocketHandler @NAME@ greeting=Hello */
#include <mod_websocket.h>
#include <stdio.h>
#include <stdlib.h>

/* What belongs to one connection. */
typedef struct {
    unsigned count;                  /* messages so far */
} client_t;

static const websocket_option_t options[] = {
    {"greeting", WEBSOCKET_STRING, "Welcome", 0, 0, "what a client is told"},
    {NULL, 0, NULL, 0, 0, NULL},
};

/* In a thread of httpd, before the connection is open: look at the request,
 * and attach data, or refuse. */
static int @NAME@_accept(websocket_context_t *context,
                        websocket_request_t *request)
{
    client_t *client = calloc(1, sizeof(*client));

    (void)context;
    if (client == NULL) {
        return websocket_refuse(request, 503, "out of memory");
    }
    websocket_request_set_data(request, client, free);
    return 0;
}

/* From here on in the connection's loop, which other connections share: never
 * wait for anything in it. */
static void @NAME@_open(websocket_t *ws)
{
    char text[200];
    int length = snprintf(
        text, sizeof(text), "%s!",
        websocket_option_string(websocket_context(ws), "greeting"));

    if (length >= (int)sizeof(text)) {
        length = sizeof(text) - 1;
    }
    websocket_send(ws, WEBSOCKET_TEXT, text, (size_t)length);
}

/* One whole message. data has no NUL at its end. */
static void @NAME@_message(websocket_t *ws, int type, const void *data,
                          size_t length)
{
    client_t *client = websocket_data(ws);
    char text[200];
    int size;

    if (type != WEBSOCKET_TEXT) {
        websocket_close(ws, 1003, "only text is understood here");
        return;
    }
    if (length > 100) {
        length = 100;
        websocket_log(ws, WEBSOCKET_LOG_INFO, "a long message was cut");
        /* not in the middle of a character: what is sent must be UTF-8 */
        while (length > 0 &&
               (((const unsigned char *)data)[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    client->count++;
    size = snprintf(text, sizeof(text), "%u: ", client->count);
    for (size_t i = 0; i < length; i++) {
        text[size++] = ((const char *)data)[i];
    }
    websocket_send(ws, type, text, (size_t)size);
}

/* What httpd, and websocket-run, look for. */
const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "@NAME@",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .accept = @NAME@_accept,
    .open = @NAME@_open,
    .message = @NAME@_message,
};
