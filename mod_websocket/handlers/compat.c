/* compat: runs plugins that were written for apache-websocket, as they are:
 *
 *     WebSocketHandler compat plugin=/path/old.so init=echo_init
 *
 * docs/compat.md says what is as it was there, and what is not.
 *
 * Such a plugin had a thread for each connection, and could block it.
 * So on_message runs in a thread of the pool, one message of a connection at a
 * time: nothing is read from it meanwhile. With blocking=off it runs in the
 * loop. */
#include "compat.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define RETRY 20                     /* ms, until a thread may be free */
#define FORBIDDEN 403
#define UNAVAILABLE 503
#define INTERNAL_ERROR 1011          /* RFC 6455 7.4.1 */

/* --- the configuration --- */

static void unload(void *data)
{
    compat_plugin_t *loaded = data;

    if (loaded->plugin != NULL && loaded->plugin->destroy != NULL) {
        loaded->plugin->destroy(loaded->plugin);
    }
    if (loaded->library != NULL) {
        dlclose(loaded->library);
    }
    free(loaded);
}

static const char *check_plugin(websocket_context_t *context,
                                const WebSocketPlugin *plugin, const char *init)
{
    if (plugin == NULL) {
        return websocket_context_error(context, "%s() returned NULL", init);
    }
    if (plugin->version != COMPAT_PLUGIN_VERSION) {
        return websocket_context_error(context,
                                       "the plugin has version %u; version %d "
                                       "can be run",
                                       plugin->version, COMPAT_PLUGIN_VERSION);
    }
    if (plugin->size < sizeof(*plugin)) {
        return websocket_context_error(context,
                                       "what %s() returned is broken: it has a "
                                       "size of %u bytes",
                                       init, plugin->size);
    }
    if (plugin->on_message == NULL) {
        return "the plugin has no on_message";
    }
    return NULL;
}

/* RTLD_LOCAL: two plugins may have functions of the same name. */
static const char *load(compat_plugin_t *loaded, websocket_context_t *context,
                        const char *path, const char *init)
{
    WebSocketPlugin *plugin;
    compat_init_t function;
    const char *error;

    loaded->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (loaded->library == NULL) {
        return websocket_context_error(context, "plugin cannot be loaded: %s",
                                       dlerror());
    }
    *(void **)&function = dlsym(loaded->library, init);
    if (function == NULL) {
        return websocket_context_error(context, "plugin %s has no symbol %s",
                                       path, init);
    }
    plugin = function();
    error = check_plugin(context, plugin, init);
    if (error == NULL) {
        loaded->plugin = plugin;            /* to be destroyed by its own */
    }
    return error;
}

static const char *configure(websocket_context_t *context)
{
    const char *path = websocket_option_string(context, "plugin");
    const char *init = websocket_option_string(context, "init");
    compat_plugin_t *loaded;

    if (path == NULL || init == NULL) {
        return "needs plugin=PATH and init=SYMBOL";
    }
    if (path[0] != '/') {
        return websocket_context_error(context, "plugin=%s is no absolute path",
                                       path);
    }
    loaded = calloc(1, sizeof(*loaded));
    if (loaded == NULL) {
        return "out of memory";
    }
    loaded->blocks = websocket_option_number(context, "blocking") != 0;
    websocket_context_set_data(context, loaded, unload);
    return load(loaded, context, path, init);
}

/* --- connections --- */

/* Its websocket_t is freed. It may never have been open. */
static void forget(void *data)
{
    compat_t *compat = data;

    compat_end(compat);
    compat_release(compat);
}

/* What on_connect has set; the last call of each kind counts. */
static void answer(const compat_t *compat, websocket_request_t *request)
{
    compat_request_answer(compat->request, compat->context, request);
    if (compat->protocol != NULL) {
        websocket_request_choose_protocol(request, compat->protocol);
    }
}

/* Returns whether the plugin wants the client. */
static bool connect_plugin(compat_t *compat, websocket_request_t *request)
{
    const WebSocketPlugin *plugin = compat->plugin->plugin;

    if (plugin->on_connect == NULL) {
        return true;
    }
    compat_enter(compat, request, NULL);
    compat->connection = plugin->on_connect(&compat->server);
    compat_leave(compat);
    return compat->connection != NULL;
}

static int compat_accept(websocket_context_t *context,
                         websocket_request_t *request)
{
    compat_request_t *copy = compat_request_create(request);
    compat_t *compat = NULL;

    if (copy != NULL) {
        compat = compat_create(context, copy);
    }
    if (compat == NULL) {
        compat_request_destroy(copy);
        return websocket_refuse(request, UNAVAILABLE, "out of memory");
    }
    if (!connect_plugin(compat, request)) {
        compat_release(compat);
        return websocket_refuse(request, FORBIDDEN,
                                "the plugin's on_connect returned NULL");
    }
    answer(compat, request);
    websocket_request_set_data(request, compat, forget);
    return 0;
}

static void opened(websocket_t *ws)
{
    if (!compat_open(websocket_data(ws), ws)) {
        websocket_close(ws, INTERNAL_ERROR, "out of memory");
    }
}

static void call_plugin(compat_t *compat, compat_message_t *message)
{
    compat->plugin->plugin->on_message(compat->connection, &compat->server,
                                       message->type, message->data,
                                       message->length);
}

static void call_in_loop(compat_t *compat, websocket_t *ws,
                         compat_message_t *message)
{
    compat_enter(compat, NULL, ws);
    call_plugin(compat, message);
    compat_leave(compat);
    free(message);
}

/* In a thread of the pool. */
static void work(void *baton)
{
    compat_t *compat = baton;

    call_plugin(compat, compat->job);
}

/* ws is NULL if the connection is over. What was sent in work was posted before
 * this, so it is on its way, and if it closed nothing more comes. */
static void work_is_done(websocket_t *ws, void *baton)
{
    compat_t *compat = baton;

    free(compat->job);
    compat->job = NULL;
    compat_end_work(compat);
    if (ws != NULL) {
        compat_read_again(compat, ws);
    }
    compat_release(compat);
}

/* Where too much waits for threads it tries again, and reads nothing
 * meanwhile. */
static void begin_work(websocket_t *ws, void *baton)
{
    compat_t *compat = baton;

    compat_begin_work(compat);
    if (websocket_offload(ws, work, work_is_done, compat_retain(compat)) == 0) {
        return;
    }
    compat_end_work(compat);
    compat_release(compat);                 /* not the last: ws has one */
    if (websocket_timer_start(ws, RETRY, 0, begin_work, compat) == NULL) {
        websocket_close(ws, INTERNAL_ERROR, "out of memory");
    }
}

/* A copy: plugins may change what they are given. */
static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    compat_t *compat = websocket_data(ws);
    int old_type = type == WEBSOCKET_TEXT ? COMPAT_TEXT : COMPAT_BINARY;
    compat_message_t *copy = compat_message_create(old_type, data, length);

    if (copy == NULL) {
        websocket_close(ws, INTERNAL_ERROR, "out of memory");
    }
    else if (!compat->plugin->blocks) {
        call_in_loop(compat, ws, copy);
    }
    else {
        websocket_pause(ws);
        compat->job = copy;
        begin_work(ws, compat);
    }
}

static void drained(websocket_t *ws)
{
    compat_t *compat = websocket_data(ws);

    compat->is_clogged = false;
    compat_read_again(compat, ws);
}

static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    (void)code;
    (void)reason;
    (void)length;
    compat_end(websocket_data(ws));
}

static const websocket_option_t options[] = {
    {.name = "plugin",
     .type = WEBSOCKET_STRING,
     .help = "the plugin's shared object, an absolute path"},
    {.name = "init",
     .type = WEBSOCKET_STRING,
     .help = "the function in it that returns the plugin"},
    {.name = "blocking",
     .type = WEBSOCKET_BOOLEAN,
     .default_value = "on",
     .help = "off: on_message never blocks, and runs in the loop"},
    {.name = NULL},
};

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "compat",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .configure = configure,
    .accept = compat_accept,
    .open = opened,
    .message = message,
    .drained = drained,
    .close = closed,
};
