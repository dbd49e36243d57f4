/* The processes: the parent makes the shared log before it forks; a child runs
 * workers, and ends them when it ends. */
#include "mod_websocket_internal.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <http_core.h>

APLOG_USE_MODULE(websocket);

#define LOG_KEY "mod_websocket_log"  /* of the data that survives a restart */

/* Readers of the log: every child that the MPM may ever have, those of
 * before a graceful restart too. Each takes a descriptor in every process. */
#define MAX_CHILDREN 512
#define SPARE_SLOTS 16

/* How long closing handshakes may take when a child ends, ms. httpd's parent
 * kills a child that does not end within some seconds of a stop. */
#define GRACEFUL_LIMIT 5000
#define STOP_LIMIT 2000
#define JOIN_EXTRA 2000

enum { GOING_AWAY = 1001, SERVICE_RESTART = 1012 };

/* In a list; each lives as long as the child. */
typedef struct kept_limits {
    struct kept_limits *next;
    ws_conn_limits_t limits;
} kept_limits_t;

/* What survives a restart: in the process pool. */
typedef struct {
    ws_log_t *log;
    apr_size_t asked_size;
} retained_t;

/* This process's. */
static struct {
    retained_t *retained;
    apr_pool_t *pool;                /* the child's */
    server_rec *server;
    ws_worker_t **workers;
    unsigned worker_count;
    _Atomic unsigned next_worker;
    bool is_stopping;
    int64_t stop_limit;
    apr_thread_mutex_t *limits_lock;
    kept_limits_t *limits;           /* guarded by limits_lock */
} process;

/* --- the parent --- */

static unsigned slots_needed(void)
{
    int children = 0;

    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &children);
    if (children < 1 || children > MAX_CHILDREN) {
        children = MAX_CHILDREN;
    }
    return (unsigned)children * mod_websocket_threads() + SPARE_SLOTS;
}

static int make_log(retained_t *retained, server_rec *server)
{
    apr_size_t size = mod_websocket_log_size();

    if (retained->log != NULL) {
        if (retained->asked_size != size) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                         "WebSocketLogSize takes effect when httpd is stopped "
                         "and started, not with a restart");
        }
        return OK;
    }
    if (ws_log_create(&retained->log, size, slots_needed()) != WS_OK) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "the shared log of %" APR_SIZE_T_FMT " bytes for "
                     "WebSockets cannot be made; see WebSocketLogSize",
                     size);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    retained->asked_size = size;
    return OK;
}

int mod_websocket_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp, server_rec *server)
{
    (void)pconf;
    (void)plog;
    if (!mod_websocket_has_handlers()) {
        return OK;
    }
    mod_websocket_config_end(ptemp);
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;                          /* the configuration is read twice */
    }
    process.retained = ap_retained_data_get(LOG_KEY);
    if (process.retained == NULL) {
        process.retained =
            ap_retained_data_create(LOG_KEY, sizeof(*process.retained));
    }
    return make_log(process.retained, server);
}

/* --- a child --- */

static void stop_workers(uint16_t code, const char *reason, int64_t limit)
{
    unsigned i;

    if (process.is_stopping) {
        return;
    }
    process.is_stopping = true;
    process.stop_limit = limit;
    for (i = 0; i < process.worker_count; i++) {
        ws_worker_stop(process.workers[i], code, reason, limit);
    }
}

void mod_websocket_child_stopping(apr_pool_t *pchild, int graceful)
{
    (void)pchild;
    if (graceful) {
        stop_workers(SERVICE_RESTART, "service restart", GRACEFUL_LIMIT);
    }
    else {
        stop_workers(GOING_AWAY, "server is going away", STOP_LIMIT);
    }
}

/* The child ends: of all MPMs, in whatever way. */
static apr_status_t end_workers(void *baton)
{
    unsigned i;

    (void)baton;
    stop_workers(GOING_AWAY, "server is going away", STOP_LIMIT);
    for (i = 0; i < process.worker_count; i++) {
        if (!ws_worker_join(process.workers[i],
                            process.stop_limit + JOIN_EXTRA)) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, process.server,
                         "a WebSocket handler blocks its thread; its "
                         "connections are dropped");
        }
    }
    process.worker_count = 0;
    return APR_SUCCESS;
}

static void start_workers(void)
{
    unsigned wanted = mod_websocket_threads();

    process.workers =
        apr_pcalloc(process.pool, wanted * sizeof(*process.workers));
    while (process.worker_count < wanted) {
        ws_worker_t *worker =
            ws_worker_create(process.retained->log,
                             mod_websocket_logger(process.server),
                             process.pool);

        if (worker == NULL) {
            ap_log_error(APLOG_MARK, APLOG_ERR, errno, process.server,
                         "a thread for WebSockets cannot be started; after "
                         "WebSocketThreads or ServerLimit was raised, stop "
                         "and start httpd");
            return;
        }
        process.workers[process.worker_count++] = worker;
    }
}

void mod_websocket_child_init(apr_pool_t *pchild, server_rec *server)
{
    if (process.retained == NULL || process.retained->log == NULL ||
        !mod_websocket_has_handlers()) {
        return;
    }
    process.pool = pchild;
    process.server = server;
    apr_thread_mutex_create(&process.limits_lock, APR_THREAD_MUTEX_DEFAULT,
                            pchild);
    start_workers();
    /* before the pools below pchild, which the loops live in, are gone */
    apr_pool_pre_cleanup_register(pchild, NULL, end_workers);
}

ws_worker_t *mod_websocket_worker(void)
{
    if (process.worker_count == 0) {
        return NULL;
    }
    return process.workers[process.next_worker++ % process.worker_count];
}

/* A location's settings are merged anew for each request; they are few. */
const ws_conn_limits_t *mod_websocket_keep_limits(const ws_conn_limits_t *limits)
{
    kept_limits_t *kept;

    if (process.worker_count == 0) {
        return NULL;
    }
    apr_thread_mutex_lock(process.limits_lock);
    kept = process.limits;
    while (kept != NULL &&
           memcmp(&kept->limits, limits, sizeof(*limits)) != 0) {
        kept = kept->next;
    }
    if (kept == NULL) {
        kept = apr_palloc(process.pool, sizeof(*kept));
        kept->limits = *limits;
        kept->next = process.limits;
        process.limits = kept;
    }
    apr_thread_mutex_unlock(process.limits_lock);
    return &kept->limits;
}
