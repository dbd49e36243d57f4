/* A handler that writes down what happens to it in its context's data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mod_websocket.h"

static const websocket_option_t options[] = {
    {"a", WEBSOCKET_STRING, NULL, 0, 0, "anything"},
    {"b", WEBSOCKET_STRING, "2", 0, 0, "anything else"},
    {"bad", WEBSOCKET_STRING, NULL, 0, 0, "nothing"},
    {NULL, 0, NULL, 0, 0, NULL},
};

/* In this file, which must still be there. */
static void free_text(void *text)
{
    free(text);
}

static const char *configure(websocket_context_t *context)
{
    const char *a = websocket_option_string(context, "a");
    const char *b = websocket_option_string(context, "b");
    const char *bad = websocket_option_string(context, "bad");
    char *text = calloc(1, 256);

    websocket_context_set_data(context, text, free_text);
    if (bad != NULL) {
        return websocket_context_error(context, "no \"bad\" here, nor %s",
                                       bad);
    }
    snprintf(text, 256, "%s,%s", a != NULL ? a : "none",
             b != NULL ? b : "none");
    return NULL;
}

static void log_line(websocket_t *ws, const char *text)
{
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "%s", text);
}

static void opened(websocket_t *ws)
{
    log_line(ws, "plugin open");
}

/* "s TOPIC" subscribes, "p TEXT" publishes to "room", "n TEXT" not to itself,
 * "c REASON" closes, "x" with a code that is none, "i" tells the id. */
static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    char text[2048];
    uint64_t id = websocket_id(ws);
    int result;

    if (data == NULL) {
        log_line(ws, "plugin got NULL");
        return;
    }
    length = length < sizeof(text) ? length : sizeof(text) - 1;
    memcpy(text, data, length);
    text[length] = '\0';
    switch (text[0]) {
    case 's':
        result = websocket_subscribe(ws, text + 2);
        snprintf(text, sizeof(text), "%d", result);
        websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
        break;
    case 'p':
    case 'n':
        websocket_publish(ws, "room", WEBSOCKET_TEXT, text + 2, length - 2,
                          text[0] == 'n' ? WEBSOCKET_NOT_TO_SELF : 0);
        break;
    case 'c':
        websocket_close(ws, 4000, length > 2 ? text + 2 : NULL);
        break;
    case 'x':
        websocket_close(ws, 1005, "no such code");
        break;
    case 'i':
        websocket_send(ws, WEBSOCKET_BINARY, &id, sizeof(id));
        break;
    default:
        websocket_send(ws, type, data, length);
        break;
    }
}

static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "plugin close %u \"%.*s\"", code,
                  (int)length, reason);
    websocket_publish(ws, "room", WEBSOCKET_TEXT, "left", 4, 0);
}

static void moved(websocket_context_t *context)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "plugin moved");
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "good",
    .options = options,
    .option_size = sizeof(options[0]),
    .configure = configure,
    .open = opened,
    .message = message,
    .close = closed,
    .moved = moved,
};
