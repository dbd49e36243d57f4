/* A handler that has all callbacks of ABI 1 and calls all of its functions. It
 * includes the header of this directory and nothing else of mod_websocket.
 * With PARTS it takes messages in parts. tests/unit/check_abi.c drives it. */
#include <mod_websocket.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 2048

/* --- texts --- */

typedef struct {
    char text[TEXT_SIZE];
} text_t;

static void add(text_t *text, const char *format, ...)
{
    size_t at = strlen(text->text);
    va_list args;

    va_start(args, format);
    vsnprintf(text->text + at, sizeof(text->text) - at, format, args);
    va_end(args);
}

static const char *or_none(const char *text)
{
    return text != NULL ? text : "none";
}

static void say(websocket_t *ws, const char *text)
{
    websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
}

static void say_number(websocket_t *ws, long long number)
{
    text_t text = {""};

    add(&text, "%lld", number);
    say(ws, text.text);
}

/* --- the context --- */

static const websocket_option_t options[] = {
    {"string", WEBSOCKET_STRING, "default", 0, 0, "a text"},
    {"integer", WEBSOCKET_INTEGER, NULL, -10, 10, "a number"},
    {"size", WEBSOCKET_SIZE, "64K", 0, 1048576, "bytes"},
    {"duration", WEBSOCKET_DURATION, "500ms", 0, 0, "a time"},
    {"boolean", WEBSOCKET_BOOLEAN, "on", 0, 0, "yes or no"},
    {"list", WEBSOCKET_LIST, "a,b", 0, 0, "texts"},
    {"error", WEBSOCKET_STRING, NULL, 0, 0, "what is wrong"},
    {NULL, 0, NULL, 0, 0, NULL},
};

typedef struct {
    text_t options;
    int inits;
} state_t;

static void free_state(void *data)
{
    free(data);
}

static const char *configure(websocket_context_t *context)
{
    state_t *state = calloc(1, sizeof(*state));
    const char *error = websocket_option_string(context, "error");
    const char *const *list = websocket_option_list(context, "list");

    websocket_context_set_data(context, state, free_state);
    add(&state->options,
        "string=%s integer=%lld size=%lld duration=%lld "
        "boolean=%lld list=",
        or_none(websocket_option_string(context, "string")),
        (long long)websocket_option_number(context, "integer"),
        (long long)websocket_option_number(context, "size"),
        (long long)websocket_option_number(context, "duration"),
        (long long)websocket_option_number(context, "boolean"));
    for (; *list != NULL; list++) {
        add(&state->options, "%s;", *list);
    }
    websocket_context_log(context, WEBSOCKET_LOG_INFO, "configure %s",
                          state->options.text);
    return error != NULL ? websocket_context_error(context, "%s: %d", error, 7)
                         : NULL;
}

/* Says how often the handler has begun. */
static void tick(websocket_context_t *context, void *baton)
{
    const state_t *state = baton;
    text_t text = {""};

    add(&text, "tick %d", state->inits);
    websocket_context_publish(context, "ticks", WEBSOCKET_TEXT, text.text,
                              strlen(text.text));
}

static int child_init(websocket_context_t *context)
{
    state_t *state = websocket_context_data(context);

    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "child_init");
    state->inits++;
    return websocket_context_timer(context, 1, 5, tick, state);
}

static void child_exit(websocket_context_t *context)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "child_exit");
}

static void moved(websocket_context_t *context)
{
    websocket_context_log(context, WEBSOCKET_LOG_WARNING, "moved");
}

/* --- the request --- */

static void free_text(void *data)
{
    free(data);
}

static void ask(text_t *text, websocket_request_t *request)
{
    add(text, "path=%s\n", websocket_request_path(request));
    add(text, "uri=%s\n", websocket_request_uri(request));
    add(text, "argument=%s\n",
        or_none(websocket_request_argument(request, "a")));
    add(text, "header=%s\n",
        or_none(websocket_request_header(request, "X-Header")));
    add(text, "user=%s\n", or_none(websocket_request_user(request)));
    add(text, "auth_type=%s\n", or_none(websocket_request_auth_type(request)));
    add(text, "client=%s\n", websocket_request_client(request));
    add(text, "tls=%s\n",
        or_none(websocket_request_tls(request, "SSL_PROTOCOL")));
    add(text, "env=%s\n", or_none(websocket_request_env(request, "TENANT")));
    add(text, "expression=%s\n",
        or_none(websocket_request_expression(request, "%{HTTP_HOST}")));
    add(text, "httpd=%d\n", websocket_request_httpd(request) != NULL);
}

static int accept_client(websocket_context_t *context,
                         websocket_request_t *request)
{
    text_t *text = calloc(1, sizeof(*text));

    (void)context;
    websocket_request_set_data(request, text, free_text);
    ask(text, request);
    add(text, "chosen=%d\n", websocket_request_choose_protocol(request, "v2"));
    add(text, "added=%d\n",
        websocket_request_add_header(request, "X-Answer", "yes"));
    return websocket_request_argument(request, "refuse") != NULL
               ? websocket_refuse(request, 403, "asked to")
               : 0;
}

/* --- what a message asks for --- */

typedef void (*command_t)(websocket_t *ws, const char *rest);

static void facts(websocket_t *ws, const char *rest)
{
    text_t *text = websocket_data(ws);

    (void)rest;
    say(ws, text->text);
}

static void about(websocket_t *ws, const char *rest)
{
    state_t *state = websocket_context_data(websocket_context(ws));
    text_t text = {""};

    (void)rest;
    add(&text, "client=%s protocol=%s id=%d buffered=%zu dropped=%d %s",
        websocket_client(ws), websocket_protocol(ws), websocket_id(ws) != 0,
        websocket_buffered(ws), (int)websocket_dropped(ws),
        state->options.text);
    say(ws, text.text);
}

/* What was there is destroyed. */
static void set_data(websocket_t *ws, const char *rest)
{
    text_t *text = calloc(1, sizeof(*text));

    add(text, "%s", rest);
    websocket_set_data(ws, text, free_text);
    say(ws, "set");
}

static void write_log(websocket_t *ws, const char *rest)
{
    websocket_log(ws, WEBSOCKET_LOG_ERROR, "error %s", rest);
    websocket_log(ws, WEBSOCKET_LOG_DEBUG, "debug %s", rest);
    say(ws, "logged");
}

static void binary(websocket_t *ws, const char *rest)
{
    websocket_send(ws, WEBSOCKET_BINARY, rest, strlen(rest));
}

static void resume(websocket_t *ws, void *baton)
{
    (void)baton;
    say(ws, "resumed");
    websocket_resume(ws);
}

static void pause_a_while(websocket_t *ws, const char *rest)
{
    (void)rest;
    say(ws, "paused");
    websocket_pause(ws);
    websocket_timer_start(ws, 20, 0, resume, NULL);
}

typedef struct {
    websocket_timer_t *timer;
    int runs;
} beats_t;

static void beat(websocket_t *ws, void *baton)
{
    beats_t *beats = baton;

    beats->runs++;
    say_number(ws, beats->runs);
    if (beats->runs == 3) {
        websocket_timer_stop(beats->timer);
        free(beats);
    }
}

static void start_timer(websocket_t *ws, const char *rest)
{
    beats_t *beats = calloc(1, sizeof(*beats));

    (void)rest;
    beats->timer = websocket_timer_start(ws, 1, 1, beat, beats);
}

/* The last does not come. */
static void send_until_queued(websocket_t *ws, const char *rest)
{
    char block[1000];
    int result;

    memset(block, 'q', sizeof(block));
    do {
        result = websocket_send(ws, WEBSOCKET_BINARY, block, sizeof(block));
    } while (result == WEBSOCKET_SENT);
    say(ws, result == WEBSOCKET_QUEUED ? "queued" : "not queued");
    (void)rest;
}

static void posted(websocket_t *ws, void *baton)
{
    websocket_ref_t *ref = baton;

    if (ws != NULL) {
        say(ws, "posted");
        websocket_ref_send(ref, WEBSOCKET_TEXT, "sent by reference", 17);
    }
    websocket_ref_release(ref);
}

static void post(websocket_t *ws, const char *rest)
{
    websocket_ref_t *ref = websocket_ref(ws);

    (void)rest;
    if (ref == NULL ||
        websocket_post(ref, posted, websocket_ref_retain(ref)) != 0) {
        say(ws, "failed");
    }
    websocket_ref_release(ref);
}

typedef struct {
    int number;
} work_t;

static void work(void *baton)
{
    ((work_t *)baton)->number *= 2;
}

static void worked(websocket_t *ws, void *baton)
{
    if (ws != NULL) {
        say_number(ws, ((work_t *)baton)->number);
    }
    free(baton);
}

static void offload(websocket_t *ws, const char *rest)
{
    work_t *it = calloc(1, sizeof(*it));

    it->number = atoi(rest);
    if (websocket_offload(ws, work, worked, it) != 0) {
        free(it);
        say(ws, "failed");
    }
}

static void subscribe(websocket_t *ws, const char *rest)
{
    say_number(ws, websocket_subscribe(ws, rest));
}

static void unsubscribe(websocket_t *ws, const char *rest)
{
    say_number(ws, websocket_unsubscribe(ws, rest));
}

static void count_subscribers(websocket_t *ws, const char *rest)
{
    say_number(ws, websocket_subscribers(websocket_context(ws), rest));
}

static void publish(websocket_t *ws, const char *rest)
{
    say_number(ws, websocket_publish(ws, rest, WEBSOCKET_TEXT, "to all", 6, 0));
}

static void publish_to_others(websocket_t *ws, const char *rest)
{
    say_number(ws, websocket_publish(ws, rest, WEBSOCKET_BINARY, "to others", 9,
                                     WEBSOCKET_NOT_TO_SELF));
}

static void greet(websocket_t *ws, void *baton)
{
    (void)baton;
    say(ws, "each");
}

static void greeted(void *baton)
{
    websocket_context_log(baton, WEBSOCKET_LOG_INFO, "each is done");
}

static void each(websocket_t *ws, const char *rest)
{
    websocket_context_t *context = websocket_context(ws);

    (void)rest;
    websocket_context_each(context, greet, greeted, context);
}

/* "CODE REASON" */
static void close_client(websocket_t *ws, const char *rest)
{
    const char *reason = strchr(rest, ' ');

    websocket_close(ws, (unsigned)atoi(rest),
                    reason != NULL ? reason + 1 : NULL);
    if (websocket_send(ws, WEBSOCKET_TEXT, "late", 4) != WEBSOCKET_CLOSED) {
        websocket_log(ws, WEBSOCKET_LOG_ERROR, "sent after a close");
    }
}

static const struct {
    const char *name;
    command_t command;
} commands[] = {
    {"facts", facts},
    {"about", about},
    {"set", set_data},
    {"log", write_log},
    {"binary", binary},
    {"pause", pause_a_while},
    {"timer", start_timer},
    {"queue", send_until_queued},
    {"post", post},
    {"offload", offload},
    {"subscribe", subscribe},
    {"unsubscribe", unsubscribe},
    {"subscribers", count_subscribers},
    {"publish", publish},
    {"others", publish_to_others},
    {"each", each},
    {"close", close_client},
};

/* --- the connection --- */

static void opened(websocket_t *ws)
{
    say(ws, "open");
}

/* "NAME REST" */
static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    char text[TEXT_SIZE];
    size_t name_length;
    size_t i;

    length = length < sizeof(text) ? length : sizeof(text) - 1;
    memcpy(text, data, length);
    text[length] = '\0';
    name_length = strcspn(text, " ");
    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strlen(commands[i].name) == name_length &&
            memcmp(commands[i].name, text, name_length) == 0) {
            commands[i].command(ws, text + name_length +
                                        (text[name_length] == ' '));
            return;
        }
    }
    websocket_send(ws, type, data, length);
}

#ifdef PARTS

/* Tells of each part. */
static void fragment(websocket_t *ws, int type, const void *data, size_t length,
                     int is_last)
{
    text_t text = {""};

    add(&text, "%s %.*s%s", type == WEBSOCKET_TEXT ? "text" : "binary",
        (int)length, (const char *)data, is_last ? " last" : "");
    say(ws, text.text);
}

#endif

static void drained(websocket_t *ws)
{
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "drained");
}

static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "close %u \"%.*s\"", code,
                  (int)length, reason);
    websocket_publish(ws, "left", WEBSOCKET_TEXT, "left", 4, 0);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "frozen",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .configure = configure,
    .child_init = child_init,
    .child_exit = child_exit,
    .moved = moved,
    .accept = accept_client,
    .open = opened,
    .message = message,
#ifdef PARTS
    .fragment = fragment,
#endif
    .drained = drained,
    .close = closed,
};
