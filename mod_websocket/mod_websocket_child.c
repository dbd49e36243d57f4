/* The processes: the parent makes the shared log before it forks; a child runs
 * workers, and ends them when it ends. */
#include "mod_websocket_internal.h"

#include <ap_mpm.h>
#include <apr_portable.h>
#include <errno.h>
#include <http_core.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

APLOG_USE_MODULE(websocket);

/* Of the data that survives a graceful restart. The number is that of its
 * layout, ws_log's structs included: a restart may load a new version. */
#define LOG_KEY "mod_websocket_log_3"

/* Readers of the log: every child that the MPM may ever have, those of
 * before a graceful restart too. Each takes a descriptor in every process. */
#define MAX_CHILDREN 512
#define SPARE_SLOTS 16

/* Descriptors that are left to httpd: a worker may have a connection, a file
 * and a backend. */
#define RESERVE_MIN 32
#define RESERVE_PER_THREAD 3

/* How long closing handshakes may take when a child ends, ms. httpd's parent
 * kills a child that does not end within some seconds of a stop. */
#define GRACEFUL_LIMIT 5000
#define STOP_LIMIT 2000
#define JOIN_EXTRA 2000

/* ms: a turn of a loop that takes longer is logged. */
#define TURN_LIMIT 1000

enum { GOING_AWAY = 1001, SERVICE_RESTART = 1012 };

/* In a list; each lives as long as the process. */
typedef struct kept_limits {
    struct kept_limits *next;
    ws_conn_limits_t limits;
} kept_limits_t;

/* What survives a restart: in the process pool. */
typedef struct {
    ws_seats_t *seats;
    ws_log_t *log;
    apr_size_t asked_size;
} retained_t;

/* This process's. */
static struct {
    retained_t *retained;
    apr_pool_t *pool;                /* the child's */
    server_rec *server;
    ws_watch_t *watch;               /* NULL: none */
    ws_worker_t **workers;
    unsigned worker_count;           /* guarded by lock */
    unsigned next_worker;            /* guarded by lock */
    _Atomic bool is_stopping;
    int64_t stop_limit;
    int descriptor_limit;            /* the first that is httpd's own */
    _Atomic bool is_full_told;
    _Atomic bool is_limit_told;
    ws_budgets_t *budgets;           /* of the first worker, for all */
    kept_limits_t *limits;           /* guarded by lock */
} process;

/* Guards what the end of the child takes away: mod_http2's threads may still
 * run then. The prefork MPM ends a child in a signal handler of its one thread,
 * which must not have to wait for that thread: so signals are blocked. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_workers(sigset_t *before)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    pthread_mutex_lock(&lock);
}

static void unlock_workers(const sigset_t *before)
{
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* --- the parent --- */

static unsigned slots_needed(server_rec *server)
{
    int children = 0;

    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &children);
    if (children < 1 || children > MAX_CHILDREN) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "ServerLimit is %d; only %d children can serve "
                     "WebSockets",
                     children, MAX_CHILDREN);
        children = MAX_CHILDREN;
    }
    return (unsigned)(children * mod_websocket_global.threads) + SPARE_SLOTS;
}

static int make_log(retained_t *retained, server_rec *server)
{
    apr_size_t size = (apr_size_t)mod_websocket_global.log_size;
    unsigned slots;
    ws_status_t status;

    if (retained->log != NULL) {
        if (retained->asked_size != size) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                         "WebSocketLogSize takes effect when httpd is stopped "
                         "and started, not with a restart");
        }
        return OK;
    }
    slots = slots_needed(server);
    status = ws_log_create(&retained->log, size, slots);
    if (status == WS_ENOMEM) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "the shared log of %" APR_SIZE_T_FMT " bytes for "
                     "WebSockets cannot be made; see WebSocketLogSize",
                     size);
    }
    else if (status != WS_OK) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "%u descriptors for WebSockets cannot be had: one for "
                     "each child of ServerLimit and thread of "
                     "WebSocketThreads; see ulimit -n",
                     slots);
    }
    if (status != WS_OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    retained->asked_size = size;
    return OK;
}

static int make_seats(retained_t *retained, server_rec *server)
{
    uint32_t count = (uint32_t)mod_websocket_global.max_connections;

    if (retained->seats != NULL) {
        if (ws_seats_count(retained->seats) < count) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                         "WebSocketMaxConnections over %u takes effect when "
                         "httpd is stopped and started, not with a restart",
                         ws_seats_count(retained->seats));
        }
        return OK;
    }
    if (ws_seats_create(&retained->seats, count) != WS_OK) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "the shared memory for %u WebSockets cannot be made; see "
                     "WebSocketMaxConnections",
                     count);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

int mod_websocket_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp, server_rec *server)
{
    (void)plog;
    if (!mod_websocket_has_handlers()) {
        return OK;
    }
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;                          /* the configuration is read twice */
    }
    process.retained = ap_retained_data_get(LOG_KEY);
    if (process.retained == NULL) {
        process.retained =
            ap_retained_data_create(LOG_KEY, sizeof(*process.retained));
    }
    if (make_log(process.retained, server) != OK ||
        make_seats(process.retained, server) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    mod_websocket_config_end(server, process.retained->seats, pconf, ptemp);
    return OK;
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

/* From now on nothing is posted to a worker. Returns how many there were. */
static unsigned withdraw_workers(void)
{
    unsigned count;
    sigset_t before;

    lock_workers(&before);
    count = process.worker_count;
    process.worker_count = 0;
    unlock_workers(&before);
    return count;
}

/* The child ends: of all MPMs, in whatever way. */
static apr_status_t end_workers(void *baton)
{
    unsigned count;
    unsigned i;

    (void)baton;
    stop_workers(GOING_AWAY, "server is going away", STOP_LIMIT);
    count = withdraw_workers();
    /* the first one's slot has the budgets of all */
    for (i = count; i-- > 0;) {
        if (!ws_worker_join(process.workers[i],
                            process.stop_limit + JOIN_EXTRA)) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, process.server,
                         "a WebSocket handler blocks its thread; the child "
                         "ends without it");
            _exit(0);                       /* what it uses must stay */
        }
    }
    if (process.watch != NULL) {
        ws_watch_destroy(process.watch);
        process.watch = NULL;
    }
    return APR_SUCCESS;
}

/* A WebSocket holds a descriptor and no worker, so httpd does not limit them.
 * It must keep enough for itself: a child that cannot accept ends, and when
 * they all do, so does the server. */
static int find_descriptor_limit(void)
{
    struct rlimit limit;
    int threads = 0;
    rlim_t reserve;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > INT_MAX) {
        return INT_MAX;
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    reserve = RESERVE_MIN +
              RESERVE_PER_THREAD * (rlim_t)(threads > 0 ? threads : 1);
    reserve = reserve < limit.rlim_cur / 2 ? reserve : limit.rlim_cur / 2;
    return (int)(limit.rlim_cur - reserve);
}

static void start_workers(void)
{
    unsigned wanted = (unsigned)mod_websocket_global.threads;

    process.workers =
        apr_pcalloc(process.pool, wanted * sizeof(*process.workers));
    while (process.worker_count < wanted) {
        ws_worker_t *worker =
            ws_worker_create(process.retained->log,
                             mod_websocket_logger(process.server),
                             process.budgets, process.pool);

        if (worker == NULL) {
            ap_log_error(APLOG_MARK, APLOG_ERR, errno, process.server,
                         "a thread for WebSockets cannot be started; after "
                         "WebSocketThreads or ServerLimit was raised, stop "
                         "and start httpd");
            return;
        }
        if (process.budgets == NULL) {
            process.budgets = ws_hub_budgets(ws_worker_hub(worker));
            atomic_store(&process.budgets->compression.limit,
                         (size_t)mod_websocket_global.compression_memory);
            atomic_store(&process.budgets->sending.limit,
                         (size_t)mod_websocket_global.send_memory);
        }
        process.workers[process.worker_count++] = worker;
    }
}

/* Says which handler holds a worker up. */
static void start_watch(void)
{
    unsigned i;

    process.watch = ws_watch_create(mod_websocket_logger(process.server),
                                    TURN_LIMIT);
    for (i = 0; process.watch != NULL && i < process.worker_count; i++) {
        ws_worker_watch(process.workers[i], process.watch);
    }
    if (process.watch == NULL || !ws_watch_start(process.watch)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, process.server,
                     "handlers that block will not be logged: their watch "
                     "cannot be started");
    }
}

void mod_websocket_child_init(apr_pool_t *pchild, server_rec *server)
{
    if (process.retained == NULL || process.retained->log == NULL ||
        !mod_websocket_has_handlers()) {
        return;
    }
    ws_seats_sweep(process.retained->seats);    /* of one that crashed */
    process.pool = pchild;
    process.server = server;
    process.descriptor_limit = find_descriptor_limit();
    /* before the pools below pchild, which the loops live in, are gone */
    apr_pool_pre_cleanup_register(pchild, NULL, end_workers);
    start_workers();
    start_watch();
}

ws_status_t mod_websocket_take_seat(uint32_t *pseat, request_rec *r)
{
    const apr_sockaddr_t *address = r->useragent_addr;
    const ws_seats_limits_t limits = {
        .all = (uint32_t)mod_websocket_global.max_connections,
        .per_client = (uint32_t)mod_websocket_global.max_per_client,
    };
    ws_status_t status = ws_seats_take(
        process.retained->seats,
        ws_seats_client(address->ipaddr_ptr, (size_t)address->ipaddr_len),
        &limits, pseat);

    if (status == WS_ETOOBIG && !atomic_exchange(&process.is_limit_told, true)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, process.server,
                     "new WebSockets are refused while there are %u; see "
                     "WebSocketMaxConnections",
                     limits.all);
    }
    return status;
}

bool mod_websocket_is_full_at(int fd)
{
    /* the kernel gives the lowest that is free: its number says how many are
     * in use */
    if (fd < process.descriptor_limit) {
        return false;
    }
    if (!atomic_exchange(&process.is_full_told, true)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, process.server,
                     "new WebSockets are refused while this child has %d "
                     "descriptors in use; see ulimit -n",
                     process.descriptor_limit);
    }
    return true;
}

bool mod_websocket_totals(ws_log_totals_t *totals)
{
    if (process.retained == NULL || process.retained->log == NULL) {
        return false;
    }
    *totals = ws_log_totals(process.retained->log);
    return true;
}

bool mod_websocket_is_full(conn_rec *c)
{
    int fd;

    return apr_os_sock_get(&fd, ap_get_conn_socket(c)) == APR_SUCCESS &&
           mod_websocket_is_full_at(fd);
}

void mod_websocket_post(websocket_t *ws)
{
    sigset_t before;
    unsigned count;

    lock_workers(&before);
    count = process.worker_count;
    if (count > 0) {
        ws_websocket_post(ws,
                          process.workers[process.next_worker++ % count]);
    }
    unlock_workers(&before);
    if (count == 0) {
        ws_websocket_discard(ws, GOING_AWAY);
    }
}

/* A location's settings are merged anew for each request; they are few. Kept to
 * the end of the process: a promise may outlive the child's pool, from which
 * other threads could take memory at the same time, too. */
static const ws_conn_limits_t *find_or_keep(const ws_conn_limits_t *limits)
{
    kept_limits_t *kept = process.limits;

    while (kept != NULL &&
           memcmp(&kept->limits, limits, sizeof(*limits)) != 0) {
        kept = kept->next;
    }
    if (kept == NULL) {
        kept = malloc(sizeof(*kept));
        if (kept == NULL) {
            return NULL;
        }
        kept->limits = *limits;
        kept->next = process.limits;
        process.limits = kept;
    }
    return &kept->limits;
}

const ws_conn_limits_t *mod_websocket_keep_limits(ws_conn_limits_t *limits)
{
    const ws_conn_limits_t *kept = NULL;
    sigset_t before;

    limits->budget =
        process.budgets != NULL ? &process.budgets->compression : NULL;
    lock_workers(&before);
    if (process.worker_count > 0 && !process.is_stopping) {
        kept = find_or_keep(limits);
    }
    unlock_workers(&before);
    return kept;
}
