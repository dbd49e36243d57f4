/* A handler that says what it is told, and does what it is told: for the tests
 * of websocket-run. */
#include <mod_websocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const websocket_option_t options[] = {
    {"word", WEBSOCKET_STRING, NULL, 0, 0, "a word"},
    {"count", WEBSOCKET_INTEGER, "3", -1, 9, "how many"},
    {"size", WEBSOCKET_SIZE, "1K", 1, 4096, "how large"},
    {"time", WEBSOCKET_DURATION, "2s", 0, 5000, "how long"},
    {"fails", WEBSOCKET_BOOLEAN, "off", 0, 0, "whether child_init fails"},
    {"names", WEBSOCKET_LIST, "a,b", 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static int probe_init(websocket_context_t *context)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "child_init");
    return (int)websocket_option_number(context, "fails");
}

static void probe_exit(websocket_context_t *context)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "child_exit");
}

static void sleep_for(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static const char *or_none(const char *text)
{
    return text != NULL ? text : "-";
}

static char *describe(websocket_request_t *request)
{
    char *text = malloc(1024);

    if (text != NULL) {
        snprintf(text, 1024, "path=%s uri=%s q=%s user=%s by=%s env=%s "
                             "cookie=%s client=%s tls=%s expr=%s httpd=%d",
                 websocket_request_path(request),
                 websocket_request_uri(request),
                 or_none(websocket_request_argument(request, "q")),
                 or_none(websocket_request_user(request)),
                 or_none(websocket_request_auth_type(request)),
                 or_none(websocket_request_env(request, "TENANT")),
                 or_none(websocket_request_header(request, "cookie")),
                 websocket_request_client(request),
                 or_none(websocket_request_tls(request, "SSL_PROTOCOL")),
                 or_none(websocket_request_expression(request, "x")),
                 websocket_request_httpd(request) != NULL);
    }
    return text;
}

static int probe_accept(websocket_context_t *context,
                        websocket_request_t *request)
{
    const char *status = websocket_request_argument(request, "status");
    const char *ms = websocket_request_argument(request, "sleep");

    (void)context;
    websocket_request_add_header(request, "X-Probe", "one");
    websocket_request_add_header(request, "X-Probe", "two");
    websocket_request_choose_protocol(request, "probe");
    websocket_request_set_data(request, describe(request), free);
    if (ms != NULL) {
        sleep_for(strtol(ms, NULL, 10));
    }
    if (status == NULL) {
        return 0;
    }
    websocket_refuse(request, 400, "asked to");
    return atoi(status);
}

static void probe_open(websocket_t *ws)
{
    websocket_subscribe(ws, "all");
}

static void say(websocket_t *ws, const char *text)
{
    websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
}

static void tick(websocket_t *ws, void *baton)
{
    (void)baton;
    say(ws, "tick");
}

static void publish_now(void *baton)
{
    websocket_context_publish(baton, "all", WEBSOCKET_TEXT, "offloaded", 9);
}

static void done(websocket_t *ws, void *baton)
{
    (void)ws;
    (void)baton;
}

static int is(const void *data, size_t length, const char *word)
{
    return length == strlen(word) && memcmp(data, word, length) == 0;
}

static void probe_message(websocket_t *ws, int type, const void *data,
                          size_t length)
{
    if (is(data, length, "describe")) {
        say(ws, websocket_data(ws));
    }
    else if (is(data, length, "protocol")) {
        say(ws, websocket_protocol(ws));
    }
    else if (is(data, length, "later")) {
        websocket_timer_start(ws, 50, 0, tick, NULL);
    }
    else if (is(data, length, "offload")) {
        websocket_offload(ws, publish_now, done, websocket_context(ws));
    }
    else if (is(data, length, "pause")) {
        websocket_pause(ws);
    }
    else if (is(data, length, "block")) {
        for (;;) {
            sleep_for(1000);
        }
    }
    else if (is(data, length, "close")) {
        websocket_close(ws, 4001, "as you wish");
    }
    else if (is(data, length, "leak")) {
        /* two, as a copy of one may be left in a register */
        say(ws, malloc(10) != NULL && malloc(11) != NULL ? "leaked" : "not");
    }
    else {
        websocket_publish(ws, "all", type, data, length, 0);
    }
}

static void probe_close(websocket_t *ws, unsigned code, const char *reason,
                        size_t length)
{
    char text[200];

    snprintf(text, sizeof(text), "left: %u %.*s", code, (int)length, reason);
    websocket_publish(ws, "all", WEBSOCKET_TEXT, text, strlen(text), 0);
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "%s", text);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "probe",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .child_init = probe_init,
    .child_exit = probe_exit,
    .accept = probe_accept,
    .open = probe_open,
    .message = probe_message,
    .close = probe_close,
};
