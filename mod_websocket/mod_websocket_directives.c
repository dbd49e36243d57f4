/* The directives: their values are read and checked here; those that load a
 * handler in mod_websocket_loading.c. */
#include "mod_websocket_internal.h"

#include <apr_lib.h>
#include <apr_strings.h>

#include "ws_handshake.h"
#include "ws_value.h"

#define KIB 1024
#define MIB (1024 * KIB)

#define MAX_TIME (24 * 60 * 60 * (apr_int64_t)1000)
#define MAX_SIZE ((apr_int64_t)1024 * MIB)
#define MAX_THREADS 64
#define MAX_OFFLOAD_THREADS 1000
#define MAX_OFFLOAD_QUEUE 1000000
#define MAX_FRAGMENTS ((apr_int64_t)1 << 31)

/* --- values --- */

/* Bytes, from min to 1 GiB. what: the directive, or its parameter. */
static const char *parse_size(apr_int64_t *psize, cmd_parms *cmd,
                              const char *what, const char *text,
                              apr_int64_t min)
{
    int64_t size;

    if (!ws_value_size(&size, text) || size > MAX_SIZE || size < min) {
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" is no size from %" APR_INT64_T_FMT
                            " bytes to 1G",
                            what, text, min);
    }
    *psize = size;
    return NULL;
}

/* A number from min, which is not negative, to max. */
static const char *parse_number(apr_int64_t *pnumber, cmd_parms *cmd,
                                const char *what, const char *text,
                                apr_int64_t min, apr_int64_t max)
{
    int64_t number;

    if (!ws_value_integer(&number, text) || number < min || number > max) {
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" is no number from %" APR_INT64_T_FMT
                            " to %" APR_INT64_T_FMT,
                            what, text, min, max);
    }
    *pnumber = number;
    return NULL;
}

/* ms, from min to 24 hours. */
static const char *parse_time(apr_int64_t *ptime, cmd_parms *cmd,
                              const char *text, apr_int64_t min)
{
    int64_t time;

    if (!ws_value_duration(&time, text) || time > MAX_TIME || time < min) {
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" is no time from %s to 24h, as in 30, "
                            "500ms, 2min",
                            cmd->cmd->name, text, min == 0 ? "0" : "1ms");
    }
    *ptime = time;
    return NULL;
}

/* --- directives --- */

static const char *set_origin(cmd_parms *cmd, void *config, int argc,
                              char *const argv[])
{
    mod_websocket_dir_t *dir = config;
    int i;

    if (argc == 0) {
        return "WebSocketOrigin needs same, any, or origins such as "
               "https://example.org";
    }
    dir->origins = apr_array_make(cmd->pool, argc, sizeof(const char *));
    if (argc == 1 && strcasecmp(argv[0], "any") == 0) {
        return NULL;
    }
    for (i = 0; i < argc; i++) {
        if (strcasecmp(argv[i], "same") != 0 &&
            !ws_origin_pattern_valid(argv[i])) {
            return apr_psprintf(cmd->pool,
                                "WebSocketOrigin: \"%s\" is no origin of the "
                                "form https://example.org, "
                                "http://example.org:8080 or "
                                "https://*.example.org",
                                argv[i]);
        }
        APR_ARRAY_PUSH(dir->origins, const char *) = argv[i];
    }
    return NULL;
}

static const char *set_max_message(cmd_parms *cmd, void *config,
                                   const char *text)
{
    mod_websocket_dir_t *dir = config;

    return parse_size(&dir->max_message, cmd, cmd->cmd->name, text, 1);
}

static const char *set_max_fragments(cmd_parms *cmd, void *config,
                                     const char *text)
{
    mod_websocket_dir_t *dir = config;

    return parse_number(&dir->max_fragments, cmd, cmd->cmd->name, text, 0,
                        MAX_FRAGMENTS);
}

static const char *set_compression_number(int *pnumber, cmd_parms *cmd,
                                          const char *what, const char *value,
                                          int min, int max)
{
    apr_int64_t number = min;
    const char *error = parse_number(&number, cmd, what, value, min, max);

    *pnumber = (int)number;
    return error;
}

static const char *set_switch(int *pswitch, cmd_parms *cmd, const char *what,
                              const char *value)
{
    int64_t is_on;

    if (!ws_value_boolean(&is_on, value)) {
        return apr_psprintf(cmd->pool, "%s: \"%s\" is neither on nor off",
                            what, value);
    }
    *pswitch = (int)is_on;
    return NULL;
}

static const char *set_compression_param(mod_websocket_dir_t *dir,
                                         cmd_parms *cmd, const char *param)
{
    const char *value = ap_strchr_c(param, '=');
    const char *name =
        value == NULL
            ? param
            : apr_pstrmemdup(cmd->pool, param, (apr_size_t)(value - param));
    const char *what =
        apr_pstrcat(cmd->pool, cmd->cmd->name, " ", name, NULL);

    value = value == NULL ? "" : value + 1;
    if (strcasecmp(name, "level") == 0) {
        return set_compression_number(&dir->compression_level, cmd, what,
                                      value, 1, 9);
    }
    if (strcasecmp(name, "window") == 0) {
        return set_compression_number(&dir->compression_window, cmd, what,
                                      value, 9, WS_WINDOW_BITS_MAX);
    }
    if (strcasecmp(name, "threshold") == 0) {
        return parse_size(&dir->compression_threshold, cmd, what, value, 0);
    }
    if (strcasecmp(name, "takeover") == 0) {
        return set_switch(&dir->compression_takeover, cmd, what, value);
    }
    return apr_psprintf(cmd->pool,
                        "%s: \"%s\" is not one of level=1-9, "
                        "threshold=SIZE, window=9-15, takeover=on|off",
                        cmd->cmd->name, param);
}

static const char *set_compression(cmd_parms *cmd, void *config, int argc,
                                   char *const argv[])
{
    mod_websocket_dir_t *dir = config;
    const char *error;
    int i;

    if (argc == 0) {
        return "WebSocketCompression needs on or off";
    }
    error = set_switch(&dir->compression, cmd, cmd->cmd->name, argv[0]);
    for (i = 1; i < argc && error == NULL; i++) {
        error = set_compression_param(dir, cmd, argv[i]);
    }
    return error;
}

static const char *set_compression_memory(cmd_parms *cmd, void *config,
                                          const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    return error != NULL ? error
                         : parse_size(&mod_websocket_global.compression_memory,
                                      cmd, cmd->cmd->name, text, 0);
}

static const char *set_send_queue(cmd_parms *cmd, void *config,
                                  const char *text, const char *policy)
{
    static const char *const policies[] = {
        [WS_QUEUE_CLOSE] = "close",
        [WS_QUEUE_DROP_OLDEST] = "drop-oldest",
        [WS_QUEUE_DROP_NEWEST] = "drop-newest",
        [WS_QUEUE_LATEST] = "latest",
    };
    mod_websocket_dir_t *dir = config;
    int i;

    for (i = 0; policy != NULL && strcasecmp(policy, policies[i]) != 0; i++) {
        if (i == WS_QUEUE_LATEST) {
            return apr_psprintf(cmd->pool,
                                "%s: \"%s\" is not one of close, drop-oldest, "
                                "drop-newest, latest",
                                cmd->cmd->name, policy);
        }
    }
    dir->queue_policy = policy != NULL ? i : WS_QUEUE_CLOSE;
    return parse_size(&dir->send_queue, cmd, cmd->cmd->name, text, 1);
}

static const char *set_send_memory(cmd_parms *cmd, void *config,
                                   const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    return error != NULL ? error
                         : parse_size(&mod_websocket_global.send_memory, cmd,
                                      cmd->cmd->name, text, MIB);
}

/* --- WebSocketRateLimit --- */

/* What its parameters say; 0: not given. */
typedef struct {
    apr_int64_t messages;
    apr_int64_t bytes;
    apr_int64_t burst;
    const char *action;
} rate_t;

/* A number a second: 10/s. */
static const char *parse_rate(apr_int64_t *prate, cmd_parms *cmd,
                              const char *what, const char *value)
{
    size_t length = strlen(value);

    if (length < 3 || strcasecmp(value + length - 2, "/s") != 0) {
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" is no rate of the form 10/s or 64K/s",
                            what, value);
    }
    return parse_size(prate, cmd, what,
                      apr_pstrmemdup(cmd->pool, value, length - 2), 1);
}

static const char *set_rate_param(rate_t *rate, cmd_parms *cmd,
                                  const char *param)
{
    const char *what;
    const char *value = ap_strchr_c(param, '=');
    const char *name = param;

    if (value != NULL) {
        name = apr_pstrmemdup(cmd->pool, param, (apr_size_t)(value - param));
        value++;
        what = apr_pstrcat(cmd->pool, cmd->cmd->name, " ", name, NULL);
        if (strcasecmp(name, "messages") == 0) {
            return parse_rate(&rate->messages, cmd, what, value);
        }
        if (strcasecmp(name, "bytes") == 0) {
            return parse_rate(&rate->bytes, cmd, what, value);
        }
        if (strcasecmp(name, "burst") == 0) {
            return parse_size(&rate->burst, cmd, what, value, 1);
        }
        if (strcasecmp(name, "action") == 0 &&
            (strcasecmp(value, "close") == 0 ||
             strcasecmp(value, "pause") == 0)) {
            rate->action = value;
            return NULL;
        }
    }
    return apr_psprintf(cmd->pool,
                        "%s: \"%s\" is not one of messages=N/s, bytes=N/s, "
                        "burst=N, action=close|pause",
                        cmd->cmd->name, param);
}

/* The burst is of messages, or of bytes where those are not limited. Else what
 * a second allows may come at once. */
static void apply_rate(mod_websocket_dir_t *dir, const rate_t *rate)
{
    apr_int64_t message_burst = rate->messages;
    apr_int64_t byte_burst = rate->bytes;

    if (rate->burst > 0 && rate->messages > 0) {
        message_burst = rate->burst;
    }
    else if (rate->burst > 0) {
        byte_burst = rate->burst;
    }
    dir->message_rate =
        (ws_rate_t){(uint64_t)rate->messages, (uint64_t)message_burst};
    dir->byte_rate = (ws_rate_t){(uint64_t)rate->bytes, (uint64_t)byte_burst};
    dir->over_rate_closes =
        rate->action == NULL || strcasecmp(rate->action, "close") == 0;
}

static const char *set_rate_limit(cmd_parms *cmd, void *config, int argc,
                                  char *const argv[])
{
    mod_websocket_dir_t *dir = config;
    rate_t rate = {0};
    const char *error = NULL;
    int i;

    dir->has_rate = true;
    if (argc == 1 && strcasecmp(argv[0], "off") == 0) {
        apply_rate(dir, &rate);
        return NULL;
    }
    for (i = 0; i < argc && error == NULL; i++) {
        error = set_rate_param(&rate, cmd, argv[i]);
    }
    if (error == NULL && rate.messages == 0 && rate.bytes == 0) {
        error = "WebSocketRateLimit needs messages=N/s, bytes=N/s or both, "
                "or off";
    }
    apply_rate(dir, &rate);
    return error;
}

/* --- times and numbers --- */

/* off is 0. */
static const char *parse_time_or_off(apr_int64_t *ptime, cmd_parms *cmd,
                                     const char *text)
{
    if (strcasecmp(text, "off") == 0) {
        *ptime = 0;
        return NULL;
    }
    return parse_time(ptime, cmd, text, 0);
}

static const char *set_idle_timeout(cmd_parms *cmd, void *config,
                                    const char *text)
{
    mod_websocket_dir_t *dir = config;

    return parse_time_or_off(&dir->idle_timeout, cmd, text);
}

static const char *set_max_age(cmd_parms *cmd, void *config, const char *text)
{
    mod_websocket_dir_t *dir = config;

    return parse_time_or_off(&dir->max_age, cmd, text);
}

static const char *set_max_connections(cmd_parms *cmd, void *config,
                                       const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    return error != NULL
               ? error
               : parse_number(&mod_websocket_global.max_connections, cmd,
                              cmd->cmd->name, text, 1, WS_SEATS_MAX);
}

static const char *set_max_per_client(cmd_parms *cmd, void *config,
                                      const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    return error != NULL
               ? error
               : parse_number(&mod_websocket_global.max_per_client, cmd,
                              cmd->cmd->name, text, 0, WS_SEATS_MAX);
}

static const char *set_ping(cmd_parms *cmd, void *config, const char *interval,
                            const char *timeout)
{
    mod_websocket_dir_t *dir = config;
    const char *error;

    if (timeout == NULL) {
        if (strcasecmp(interval, "off") != 0) {
            return "WebSocketPing needs an interval and a timeout, as in "
                   "30 10, or off";
        }
        dir->ping_interval = 0;
        return NULL;
    }
    error = parse_time(&dir->ping_interval, cmd, interval, 1);
    return error != NULL ? error
                         : parse_time(&dir->ping_timeout, cmd, timeout, 1);
}

static const char *set_close_timeout(cmd_parms *cmd, void *config,
                                     const char *text)
{
    mod_websocket_dir_t *dir = config;

    return parse_time(&dir->close_timeout, cmd, text, 1);
}

static const char *set_threads(cmd_parms *cmd, void *config, const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_int64_t threads = mod_websocket_global.threads;

    (void)config;
    if (error == NULL) {
        error = parse_number(&threads, cmd, cmd->cmd->name, text, 1,
                             MAX_THREADS);
    }
    mod_websocket_global.threads = (int)threads;
    return error;
}

static const char *set_log_size(cmd_parms *cmd, void *config, const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    return error != NULL ? error
                         : parse_size(&mod_websocket_global.log_size, cmd,
                                      cmd->cmd->name, text, WS_LOG_SIZE_MIN);
}

static const char *set_reload(cmd_parms *cmd, void *config, const char *what,
                              const char *time)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    bool keeps = strcasecmp(what, "keep") == 0;

    (void)config;
    if (error != NULL) {
        return error;
    }
    if (!keeps && (strcasecmp(what, "drain") != 0 || time != NULL)) {
        return "WebSocketReload needs keep, perhaps with a time as in keep "
               "1h, or drain";
    }
    mod_websocket_global.reload_keeps = keeps;
    return time == NULL ? NULL
                        : parse_time(&mod_websocket_global.keep_time, cmd,
                                     time, 1);
}

static const char *set_drain_timeout(cmd_parms *cmd, void *config,
                                     const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    return error != NULL ? error
                         : parse_time(&mod_websocket_global.drain_timeout, cmd,
                                      text, 1);
}

static const char *set_offload_param(cmd_parms *cmd, const char *param)
{
    if (strncasecmp(param, "threads=", 8) == 0) {
        return parse_number(&mod_websocket_global.offload_threads, cmd,
                            "WebSocketOffload threads", param + 8, 1,
                            MAX_OFFLOAD_THREADS);
    }
    if (strncasecmp(param, "queue=", 6) == 0) {
        return parse_number(&mod_websocket_global.offload_queue, cmd,
                            "WebSocketOffload queue", param + 6, 0,
                            MAX_OFFLOAD_QUEUE);
    }
    return apr_psprintf(cmd->pool,
                        "WebSocketOffload: \"%s\" is not one of threads=N, "
                        "queue=N",
                        param);
}

static const char *set_offload(cmd_parms *cmd, void *config, int argc,
                               char *const argv[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    int i;

    (void)config;
    if (error == NULL && argc == 0) {
        return "WebSocketOffload needs threads=N, queue=N, or both";
    }
    for (i = 0; i < argc && error == NULL; i++) {
        error = set_offload_param(cmd, argv[i]);
    }
    return error;
}

/* Never in .htaccess: a path there would be code execution. */
#define ANYWHERE (RSRC_CONF | ACCESS_CONF)

const command_rec mod_websocket_directives[] = {
    AP_INIT_TAKE_ARGV("WebSocketHandler", mod_websocket_set_handler, NULL, ANYWHERE,
                      "the handler, by name or path, and its options: "
                      "NAME|PATH [name=value ...], or none"),
    AP_INIT_TAKE2("WebSocketHandlerOption", mod_websocket_set_option, NULL, ANYWHERE,
                  "an option of the section's handler: NAME VALUE"),
    AP_INIT_TAKE_ARGV("WebSocketOrigin", set_origin, NULL, ANYWHERE,
                      "the origins of pages that may connect: same, any, or "
                      "a list (default: same)"),
    AP_INIT_TAKE1("WebSocketMaxMessage", set_max_message, NULL, ANYWHERE,
                  "the largest message that is accepted, bytes (default: 1M)"),
    AP_INIT_TAKE1("WebSocketMaxFragments", set_max_fragments, NULL, ANYWHERE,
                  "the most frames that a message may come in; 0: no limit "
                  "(default: 65536)"),
    AP_INIT_TAKE_ARGV("WebSocketCompression", set_compression, NULL, ANYWHERE,
                      "permessage-deflate: on or off, and level=1-9, "
                      "threshold=SIZE, window=9-15, takeover=on|off "
                      "(default: on level=6 threshold=1K window=15 "
                      "takeover=off)"),
    AP_INIT_TAKE1("WebSocketCompressionMemory", set_compression_memory, NULL,
                  RSRC_CONF,
                  "memory for compression of each child process, bytes "
                  "(default: 64M)"),
    AP_INIT_TAKE12("WebSocketSendQueue", set_send_queue, NULL, ANYWHERE,
                   "bytes waiting for a client at which its queue is full, and "
                   "what then becomes of messages: close, drop-oldest, "
                   "drop-newest or latest (default: 1M close)"),
    AP_INIT_TAKE1("WebSocketSendMemory", set_send_memory, NULL, RSRC_CONF,
                  "bytes waiting for all clients of a child process at which "
                  "those with the longest queues are closed (default: 64M)"),
    AP_INIT_TAKE_ARGV("WebSocketRateLimit", set_rate_limit, NULL, ANYWHERE,
                      "how fast a client may send: messages=N/s, bytes=N/s, "
                      "burst=N, action=close|pause; or off (default: off)"),
    AP_INIT_TAKE1("WebSocketIdleTimeout", set_idle_timeout, NULL, ANYWHERE,
                  "time without a message after which a connection is closed, "
                  "or off (default: off)"),
    AP_INIT_TAKE1("WebSocketMaxAge", set_max_age, NULL, ANYWHERE,
                  "age at which a connection is closed, so that its client "
                  "authenticates again, or off (default: off)"),
    AP_INIT_TAKE1("WebSocketMaxConnections", set_max_connections, NULL,
                  RSRC_CONF,
                  "the most WebSockets that all child processes have together "
                  "(default: 10000)"),
    AP_INIT_TAKE1("WebSocketMaxConnectionsPerClient", set_max_per_client, NULL,
                  RSRC_CONF,
                  "the most WebSockets of one address; 0: no limit (default: "
                  "1000)"),
    AP_INIT_TAKE12("WebSocketPing", set_ping, NULL, ANYWHERE,
                   "silence before a ping, and after it until the connection "
                   "is dropped; or off (default: 30 10)"),
    AP_INIT_TAKE1("WebSocketCloseTimeout", set_close_timeout, NULL, ANYWHERE,
                  "the longest time that a closing handshake may take "
                  "(default: 5)"),
    AP_INIT_TAKE_ARGV("WebSocketOffload", set_offload, NULL, RSRC_CONF,
                      "threads of each child process for what handlers do "
                      "that may block, and how much may wait for them: "
                      "threads=N, queue=N (default: threads=4 queue=1000)"),
    AP_INIT_TAKE1("WebSocketThreads", set_threads, NULL, RSRC_CONF,
                  "threads of each child process that serve WebSockets "
                  "(default: 1)"),
    AP_INIT_TAKE1("WebSocketLogSize", set_log_size, NULL, RSRC_CONF,
                  "bytes of the shared log that published messages go "
                  "through (default: 4M)"),
    AP_INIT_TAKE12("WebSocketReload", set_reload, NULL, RSRC_CONF,
                   "what becomes of the WebSockets of a child that ends in "
                   "good order: keep [TIME], or drain (default: keep 1h)"),
    AP_INIT_TAKE1("WebSocketDrainTimeout", set_drain_timeout, NULL, RSRC_CONF,
                  "the time in which all WebSockets of a process are closed "
                  "(default: 10)"),
    {.name = NULL},
};
