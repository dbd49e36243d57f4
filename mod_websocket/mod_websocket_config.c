/* What the configuration says: settings, their defaults, how sections are
 * merged; and what is derived of it: loggers, keys of topics. */
#include "mod_websocket_internal.h"

#include <apr_strings.h>

APLOG_USE_MODULE(websocket);

#define UNSET (-1)
#define KIB 1024
#define MIB (1024 * KIB)

/* Defaults; docs/directives.md says them too. Times in ms, sizes in bytes. */
#define DEFAULT_MAX_MESSAGE (1 * MIB)
#define DEFAULT_MAX_FRAGMENTS 65536
#define DEFAULT_COMPRESSION_LEVEL 6
#define DEFAULT_COMPRESSION_THRESHOLD (1 * KIB)
#define DEFAULT_COMPRESSION_WINDOW WS_WINDOW_BITS_MAX
#define DEFAULT_COMPRESSION_MEMORY (64 * MIB)
#define DEFAULT_SEND_QUEUE (1 * MIB)
#define DEFAULT_SEND_MEMORY (64 * MIB)
#define DEFAULT_MAX_CONNECTIONS 10000
#define DEFAULT_MAX_PER_CLIENT 1000
#define DEFAULT_PING_INTERVAL 30000
#define DEFAULT_PING_TIMEOUT 10000
#define DEFAULT_CLOSE_TIMEOUT 5000
#define DEFAULT_THREADS 1
#define DEFAULT_OFFLOAD_THREADS 4
#define DEFAULT_OFFLOAD_QUEUE 1000
#define DEFAULT_LOG_SIZE (4 * MIB)
#define DEFAULT_KEEP_TIME (60 * 60 * 1000)
#define DEFAULT_DRAIN_TIMEOUT 10000

/* A context, and where it stands in the configuration. */
typedef struct {
    websocket_context_t *context;
    server_rec *server;
    const char *location;
    const ap_directive_t *where;
} place_t;

static apr_array_header_t *places;   /* of place_t */
static apr_array_header_t *waiting;  /* of const mod_websocket_dir_t *: have
                                      * options that may lack a handler */

mod_websocket_global_t mod_websocket_global;

int mod_websocket_config_begin(apr_pool_t *pconf, apr_pool_t *plog,
                               apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    places = apr_array_make(pconf, 4, sizeof(place_t));
    waiting = apr_array_make(pconf, 4, sizeof(const mod_websocket_dir_t *));
    mod_websocket_global = (mod_websocket_global_t){
        .threads = DEFAULT_THREADS,
        .offload_threads = DEFAULT_OFFLOAD_THREADS,
        .offload_queue = DEFAULT_OFFLOAD_QUEUE,
        .log_size = DEFAULT_LOG_SIZE,
        .compression_memory = DEFAULT_COMPRESSION_MEMORY,
        .send_memory = DEFAULT_SEND_MEMORY,
        .max_connections = DEFAULT_MAX_CONNECTIONS,
        .max_per_client = DEFAULT_MAX_PER_CLIENT,
        .reload_keeps = 1,
        .keep_time = DEFAULT_KEEP_TIME,
        .drain_timeout = DEFAULT_DRAIN_TIMEOUT,
    };
    return OK;
}

bool mod_websocket_has_handlers(void)
{
    return places->nelts > 0;
}

void mod_websocket_add_place(websocket_context_t *context,
                             const cmd_parms *cmd)
{
    place_t *place = apr_array_push(places);

    place->context = context;
    place->server = cmd->server;
    place->location = cmd->path;
    place->where = cmd->directive;
}

void mod_websocket_expect_handler(const mod_websocket_dir_t *dir)
{
    APR_ARRAY_PUSH(waiting, const mod_websocket_dir_t *) = dir;
}

websocket_context_t **mod_websocket_contexts(size_t *pcount, apr_pool_t *pool)
{
    websocket_context_t **contexts =
        apr_palloc(pool, (size_t)(places->nelts + 1) * sizeof(*contexts));
    int i;

    for (i = 0; i < places->nelts; i++) {
        contexts[i] = APR_ARRAY_IDX(places, i, place_t).context;
    }
    *pcount = (size_t)places->nelts;
    return contexts;
}

/* --- checking --- */

/* As httpd itself says it, while there is no error log yet. */
static int refuse_line(const ap_directive_t *where, const char *error)
{
    ap_log_error(APLOG_MARK, APLOG_STARTUP, 0, NULL,
                 "Syntax error on line %d of %s:", where->line_num,
                 where->filename);
    ap_log_error(APLOG_MARK, APLOG_STARTUP, 0, NULL, "%s", error);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* An option may stand behind the handler, so it knows all only now. */
int mod_websocket_config_check(apr_pool_t *pconf, apr_pool_t *plog,
                               apr_pool_t *ptemp, server_rec *server)
{
    int i;

    (void)pconf;
    (void)plog;
    (void)server;
    for (i = 0; i < waiting->nelts; i++) {
        const mod_websocket_dir_t *dir =
            APR_ARRAY_IDX(waiting, i, const mod_websocket_dir_t *);

        if (dir->options->nelts > 0) {
            return refuse_line(
                APR_ARRAY_IDX(dir->options, 0, mod_websocket_option_t).where,
                "WebSocketHandlerOption: its section has no "
                "WebSocketHandler");
        }
    }
    for (i = 0; i < places->nelts; i++) {
        const place_t *place = &APR_ARRAY_IDX(places, i, place_t);
        const char *error = ws_handler_configure(place->context);

        if (error != NULL) {
            return refuse_line(place->where,
                               apr_pstrcat(ptemp, "WebSocketHandler: ", error,
                                           NULL));
        }
    }
    return OK;
}

/* --- creating and merging --- */

void *mod_websocket_dir_create(apr_pool_t *pool, char *path)
{
    mod_websocket_dir_t *dir = apr_pcalloc(pool, sizeof(*dir));

    (void)path;
    dir->max_message = UNSET;
    dir->max_fragments = UNSET;
    dir->compression = UNSET;
    dir->compression_level = UNSET;
    dir->compression_threshold = UNSET;
    dir->compression_window = UNSET;
    dir->compression_takeover = UNSET;
    dir->send_queue = UNSET;
    dir->queue_policy = UNSET;
    dir->idle_timeout = UNSET;
    dir->max_age = UNSET;
    dir->ping_interval = UNSET;
    dir->ping_timeout = UNSET;
    dir->close_timeout = UNSET;
    return dir;
}

static apr_int64_t merged(apr_int64_t base, apr_int64_t add)
{
    return add == UNSET ? base : add;
}

static int merged_int(int base, int add)
{
    return (int)merged(base, add);
}

static void merge_compression(mod_websocket_dir_t *dir,
                              const mod_websocket_dir_t *base,
                              const mod_websocket_dir_t *add)
{
    dir->compression = merged_int(base->compression, add->compression);
    dir->compression_level =
        merged_int(base->compression_level, add->compression_level);
    dir->compression_threshold =
        merged(base->compression_threshold, add->compression_threshold);
    dir->compression_window =
        merged_int(base->compression_window, add->compression_window);
    dir->compression_takeover =
        merged_int(base->compression_takeover, add->compression_takeover);
}

static void merge_rate(mod_websocket_dir_t *dir,
                       const mod_websocket_dir_t *base,
                       const mod_websocket_dir_t *add)
{
    const mod_websocket_dir_t *rate = add->has_rate ? add : base;

    dir->has_rate = rate->has_rate;
    dir->message_rate = rate->message_rate;
    dir->byte_rate = rate->byte_rate;
    dir->over_rate_closes = rate->over_rate_closes;
}

void *mod_websocket_dir_merge(apr_pool_t *pool, void *base_dir, void *add_dir)
{
    const mod_websocket_dir_t *base = base_dir;
    const mod_websocket_dir_t *add = add_dir;
    const mod_websocket_dir_t *handler = add->has_handler ? add : base;
    mod_websocket_dir_t *dir = apr_pcalloc(pool, sizeof(*dir));

    dir->has_handler = handler->has_handler;
    dir->context = handler->context;
    dir->location = handler->location;
    dir->options = add->options;
    dir->origins = add->origins != NULL ? add->origins : base->origins;
    dir->max_message = merged(base->max_message, add->max_message);
    dir->max_fragments = merged(base->max_fragments, add->max_fragments);
    dir->send_queue = merged(base->send_queue, add->send_queue);
    dir->queue_policy = merged_int(base->queue_policy, add->queue_policy);
    dir->idle_timeout = merged(base->idle_timeout, add->idle_timeout);
    dir->max_age = merged(base->max_age, add->max_age);
    dir->ping_interval = merged(base->ping_interval, add->ping_interval);
    dir->ping_timeout = merged(base->ping_timeout, add->ping_timeout);
    dir->close_timeout = merged(base->close_timeout, add->close_timeout);
    merge_compression(dir, base, add);
    merge_rate(dir, base, add);
    return dir;
}

void mod_websocket_limits(ws_conn_limits_t *limits,
                          const mod_websocket_dir_t *dir)
{
    memset(limits, 0, sizeof(*limits));
    limits->max_message =
        (size_t)merged(DEFAULT_MAX_MESSAGE, dir->max_message);
    limits->max_fragments =
        (uint32_t)merged(DEFAULT_MAX_FRAGMENTS, dir->max_fragments);
    limits->compression_level =
        merged_int(DEFAULT_COMPRESSION_LEVEL, dir->compression_level);
    limits->compression_threshold = (size_t)merged(
        DEFAULT_COMPRESSION_THRESHOLD, dir->compression_threshold);
    limits->send_queue = (size_t)merged(DEFAULT_SEND_QUEUE, dir->send_queue);
    limits->queue_policy =
        (ws_queue_policy_t)merged_int(WS_QUEUE_CLOSE, dir->queue_policy);
    limits->guard.messages = dir->message_rate;
    limits->guard.bytes = dir->byte_rate;
    limits->guard.over_rate_closes = dir->over_rate_closes;
    limits->guard.idle_timeout = merged(0, dir->idle_timeout);
    limits->guard.max_age = merged(0, dir->max_age);
    limits->ping_interval = merged(DEFAULT_PING_INTERVAL, dir->ping_interval);
    limits->ping_timeout = merged(DEFAULT_PING_TIMEOUT, dir->ping_timeout);
    limits->close_timeout = merged(DEFAULT_CLOSE_TIMEOUT, dir->close_timeout);
}

static bool drops_queued(const mod_websocket_dir_t *dir)
{
    return dir->queue_policy == WS_QUEUE_DROP_OLDEST ||
           dir->queue_policy == WS_QUEUE_LATEST;
}

bool mod_websocket_compression(ws_deflate_policy_t *policy,
                               const mod_websocket_dir_t *dir)
{
    policy->window_bits =
        (uint8_t)merged(DEFAULT_COMPRESSION_WINDOW, dir->compression_window);
    policy->client_takeover = merged_int(0, dir->compression_takeover) != 0;
    /* what was compressed looks back at what may be dropped */
    policy->server_takeover = policy->client_takeover && !drops_queued(dir);
    return merged_int(1, dir->compression) != 0;
}

/* --- logging --- */

static int httpd_level(ws_log_level_t level)
{
    switch (level) {
    case WS_LOG_ERROR:
        return APLOG_ERR;
    case WS_LOG_WARNING:
        return APLOG_WARNING;
    case WS_LOG_NOTICE:
        return APLOG_NOTICE;
    case WS_LOG_INFO:
        return APLOG_INFO;
    default:
        return APLOG_DEBUG;
    }
}

static bool is_wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    const server_rec *server = logger->baton;

    return APLOG_IS_LEVEL(server, httpd_level(level));
}

static void write_line(const ws_logger_t *logger, ws_log_level_t level,
                       const char *text)
{
    const server_rec *server = logger->baton;

    ap_log_error(APLOG_MARK, httpd_level(level), 0, server, "%s", text);
}

void *mod_websocket_server_create(apr_pool_t *pool, server_rec *server)
{
    ws_logger_t *logger = apr_pcalloc(pool, sizeof(*logger));

    logger->wanted = is_wanted;
    logger->write = write_line;
    logger->baton = server;
    return logger;
}

const ws_logger_t *mod_websocket_logger(server_rec *server)
{
    return ap_get_module_config(server->module_config, &websocket_module);
}

/* --- keys --- */

/* What sets a context's topics apart: the server's name and addresses, the
 * location, the handler. It stays the same over restarts, so that children of
 * before and after one understand each other. */
static const char *key_of(const place_t *place, apr_pool_t *pool)
{
    const server_rec *server = place->server;
    const server_addr_rec *address;
    const char *key = "";

    if (server->is_virtual) {
        key = apr_psprintf(pool, "%s:%d", server->server_hostname,
                           (int)server->port);
        for (address = server->addrs; address != NULL;
             address = address->next) {
            key = apr_psprintf(pool, "%s %s:%d", key, address->virthost,
                               (int)address->host_port);
        }
    }
    return apr_psprintf(pool, "%s|%s|%s", key,
                        place->location != NULL ? place->location : "",
                        place->context->handler.name);
}

/* A virtual host without a directive of ours would log as the main server. */
static void make_loggers(server_rec *server, apr_pool_t *pconf)
{
    for (; server != NULL; server = server->next) {
        ap_set_module_config(server->module_config, &websocket_module,
                             mod_websocket_server_create(pconf, server));
    }
}

void mod_websocket_config_end(server_rec *server, ws_seats_t *seats,
                              apr_pool_t *pconf, apr_pool_t *ptemp)
{
    int i;

    make_loggers(server, pconf);
    for (i = 0; i < places->nelts; i++) {
        const place_t *place = &APR_ARRAY_IDX(places, i, place_t);

        ws_handler_set_key(place->context, key_of(place, ptemp));
        place->context->seats = seats;
    }
}
