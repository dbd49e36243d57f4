/* counter: counts for each client, by a timer of its connection.
 *
 *     WebSocketHandler /path/to/counter.so every=1s fastest=50ms
 *
 * Text messages: "start", "stop" (a later start goes on from there) and "fast",
 * which halves the time between two numbers.
 *
 * To be seen here: options, data of a connection, timers.
 *
 * Threads:  all callbacks of one connection run in its loop, never two at once;
 *           so its data needs no lock.
 * Lifetime: the data is the connection's, which frees it. */
#include <inttypes.h>
#include <mod_websocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    websocket_timer_t *timer;        /* NULL: it stands still */
    int64_t every;                   /* ms */
    uint64_t number;
} counter_t;

/* What is not declared is refused while httpd reads its configuration, and so
 * is what is out of range. */
static const websocket_option_t options[] = {
    {"every", WEBSOCKET_DURATION, "1s", 10, 3600000,
     "the time between two numbers"},
    {"fastest", WEBSOCKET_DURATION, "50ms", 10, 3600000,
     "how short \"fast\" may make it"},
    {NULL, 0, NULL, 0, 0, NULL},
};

/* How options go together is for configure to say. */
static const char *configure(websocket_context_t *context)
{
    int64_t every = websocket_option_number(context, "every");
    int64_t fastest = websocket_option_number(context, "fastest");

    return fastest <= every
               ? NULL
               : websocket_context_error(context,
                                         "fastest is %" PRId64 " ms, more than "
                                         "every, which is %" PRId64 " ms",
                                         fastest, every);
}

/* Here, and not in open: who has no memory can still say no. */
static int accept_client(websocket_context_t *context,
                         websocket_request_t *request)
{
    counter_t *counter = calloc(1, sizeof(*counter));

    if (counter == NULL) {
        return websocket_refuse(request, 503, "out of memory");
    }
    counter->every = websocket_option_number(context, "every");
    websocket_request_set_data(request, counter, free);
    return 0;
}

/* What a send returns can be passed over here: where a client does not read,
 * WebSocketSendQueue ends the matter. Who sends much looks at it. */
static void count(websocket_t *ws, void *baton)
{
    counter_t *counter = baton;
    char text[24];
    int length = snprintf(text, sizeof(text), "%" PRIu64, ++counter->number);

    websocket_send(ws, WEBSOCKET_TEXT, text, (size_t)length);
}

/* Nobody needs to stop it when the connection closes: the timers of a
 * connection end with it. */
static void start(websocket_t *ws, counter_t *counter)
{
    counter->timer = websocket_timer_start(ws, counter->every, counter->every,
                                           count, counter);
    if (counter->timer == NULL) {
        websocket_close(ws, 1011, "no timer is to be had");
    }
}

static void stop(counter_t *counter)
{
    websocket_timer_stop(counter->timer);
    counter->timer = NULL;
}

/* A timer keeps its interval: this takes another one. */
static void go_faster(websocket_t *ws, counter_t *counter)
{
    int64_t fastest = websocket_option_number(websocket_context(ws), "fastest");

    counter->every /= 2;
    if (counter->every < fastest) {
        counter->every = fastest;
    }
    if (counter->timer != NULL) {
        stop(counter);
        start(ws, counter);
    }
}

/* A message is not NUL-terminated. */
static int is(const char *command, const void *data, size_t length)
{
    return length == strlen(command) && memcmp(data, command, length) == 0;
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    static const char help[] = "error: start, stop or fast?";
    counter_t *counter = websocket_data(ws);

    (void)type;
    if (is("start", data, length)) {
        if (counter->timer == NULL) {
            start(ws, counter);
        }
    }
    else if (is("stop", data, length)) {
        if (counter->timer != NULL) {
            stop(counter);
        }
    }
    else if (is("fast", data, length)) {
        go_faster(ws, counter);
    }
    else {
        websocket_send(ws, WEBSOCKET_TEXT, help, sizeof(help) - 1);
    }
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "counter",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .configure = configure,
    .accept = accept_client,
    .message = message,
};
