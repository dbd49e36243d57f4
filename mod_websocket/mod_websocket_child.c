/* A child: it runs workers, and ends them, or leaves them to a keeper, when it
 * ends. */
#include "mod_websocket_internal.h"

#include <ap_mpm.h>
#include <apr_signal.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "ws_clock.h"

APLOG_USE_MODULE(websocket);

/* How long the closing handshakes of a child may take after a stop that is not
 * graceful, ms: httpd's parent complains after 3 s, and kills after 9 s. */
#define STOP_LIMIT 2000
#define JOIN_EXTRA MOD_WEBSOCKET_JOIN_EXTRA
#define STOP_PACE 2                  /* from one close to the next, ms */

/* ms: a turn of a loop that takes longer is logged. */
#define TURN_LIMIT 1000

/* For how long a handler may hold up its loop before there is no keeper, ms.
 * The child's other loops wait. */
#define PAUSE_LIMIT 5000

#define GOING_AWAY MOD_WEBSOCKET_GOING_AWAY
#define SERVICE_RESTART MOD_WEBSOCKET_SERVICE_RESTART

/* In a list; each lives as long as the process. */
typedef struct kept_limits {
    struct kept_limits *next;
    ws_conn_limits_t limits;
} kept_limits_t;

/* This process's. */
static struct {
    apr_pool_t *pool;                /* below no other, and without a lock: a
                                      * keeper goes on with it */
    server_rec *server;
    ws_process_t handlers;           /* have begun, if it has contexts */
    ws_watch_t *watch;               /* NULL: none */
    ws_worker_t **workers;
    unsigned worker_count;           /* guarded by lock */
    unsigned next_worker;            /* guarded by lock */
    bool is_threaded;                /* its MPM */
    _Atomic bool is_stopping;
    _Atomic int64_t stop_limit;
    _Atomic uint16_t end_code;       /* for who comes too late */
    ws_budget_t *compression;        /* of the first worker, for all */
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

/* --- a child --- */

void mod_websocket_close_all(ws_worker_t **workers, unsigned count,
                             uint16_t code, int64_t limit)
{
    bool is_end = code == GOING_AWAY;
    int64_t spread = limit / 4 * 3;
    int64_t quickly = 0;
    unsigned i;

    for (i = 0; i < count; i++) {
        quickly += (int64_t)ws_worker_count(workers[i]) * STOP_PACE;
    }
    if (is_end) {
        spread = quickly < limit / 2 ? quickly : limit / 2;
        limit = limit < spread + STOP_LIMIT ? limit : spread + STOP_LIMIT;
    }
    for (i = 0; i < count; i++) {
        ws_worker_drain(workers[i], code,
                        is_end ? "server is going away" : "service restart",
                        spread, limit);
    }
}

/* Signal handlers, too. The first call counts. */
static void stop_workers(uint16_t code, int64_t limit)
{
    if (atomic_exchange(&process.is_stopping, true)) {
        return;
    }
    atomic_store(&process.end_code, code);
    atomic_store(&process.stop_limit, limit);
    mod_websocket_close_all(process.workers, process.worker_count, code,
                            limit);
}

/* httpd's parent waits for this child, and not for long. */
static void stop_at_once(void)
{
    int64_t limit = mod_websocket_global.drain_timeout;

    stop_workers(GOING_AWAY, limit < STOP_LIMIT ? limit : STOP_LIMIT);
}

/* httpd ends gracefully. */
static void stop(void)
{
    stop_workers(GOING_AWAY, mod_websocket_global.drain_timeout);
}

/* The clients are to connect again, one by one, to another child. */
static void drain(void)
{
    stop_workers(SERVICE_RESTART, mod_websocket_global.drain_timeout);
}

/* httpd ends, while this child still answers requests that came before it was
 * told to end: nothing else is said to it now. The event MPM sends the signal
 * to itself, too, to wake a thread. */
static void on_terminate(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)number;
    (void)context;
    if (info->si_pid != getpid()) {
        stop_at_once();
    }
    errno = saved;
}

static void watch_for_terminate(void)
{
    struct sigaction action = {.sa_sigaction = on_terminate,
                               .sa_flags = SA_SIGINFO};

    sigaction(SIGTERM, &action, NULL);
}

/* The child stays until it has answered its requests. */
static void begin_graceful_end(void)
{
    unsigned i;

    if (mod_websocket_httpd_ends()) {
        stop();
    }
    else if (!mod_websocket_global.reload_keeps) {
        drain();
    }
    else {
        atomic_store(&process.end_code, SERVICE_RESTART);
        for (i = 0; i < process.worker_count; i++) {
            ws_worker_close_bound(process.workers[i], SERVICE_RESTART,
                                  "service restart");
        }
        watch_for_terminate();
    }
}

/* On the prefork MPM graceful is always 0, which says nothing; the cleanup of
 * the child's pool follows at once. */
void mod_websocket_child_stopping(apr_pool_t *pchild, int graceful)
{
    (void)pchild;
    if (process.worker_count == 0 || !process.is_threaded) {
        return;
    }
    if (graceful) {
        begin_graceful_end();
    }
    else {
        stop_at_once();
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

/* The prefork MPM ends a child out of its handler of SIGTERM and SIGHUP when
 * httpd is stopped, or restarted ungracefully; else it returns from its loop.
 * A signal is blocked while it is handled. */
static bool is_in_signal_handler(void)
{
    sigset_t blocked;

    return pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 &&
           (sigismember(&blocked, SIGTERM) == 1 ||
            sigismember(&blocked, SIGHUP) == 1);
}

/* Stops the workers, unless they are to be left to a keeper. */
static void decide(void)
{
    if (!process.is_threaded && is_in_signal_handler()) {
        stop_at_once();
    }
    else if (mod_websocket_httpd_ends()) {
        stop();
    }
    else if (!mod_websocket_global.reload_keeps) {
        drain();
    }
}

static bool pause_workers(unsigned count)
{
    int64_t until = ws_clock_ms() + PAUSE_LIMIT;
    bool is_good = true;
    unsigned i;

    for (i = 0; i < count; i++) {
        ws_worker_pause(process.workers[i]);
    }
    for (i = 0; i < count; i++) {
        int64_t left = until - ws_clock_ms();

        is_good = ws_worker_wait(process.workers[i], left > 0 ? left : 0) &&
                  is_good;
    }
    return is_good;
}

/* There is no keeper: the loops go on, to close all connections. Where no
 * process can be had there may be no thread either. */
static void drain_paused(unsigned count)
{
    unsigned i;

    process.worker_count = count;
    drain();
    withdraw_workers();
    for (i = 0; i < count; i++) {
        if (ws_worker_wait(process.workers[i], 0)) {
            if (ws_worker_start(process.workers[i]) != WS_OK) {
                ws_worker_finish(process.workers[i]);
            }
        }
        else {
            ws_loop_unpause(ws_worker_loop(process.workers[i]));
        }
    }
}

static bool has_connections(unsigned count, size_t *pconnections)
{
    bool has = false;
    unsigned i;

    for (i = 0; i < count; i++) {
        ws_loop_t *loop = ws_worker_loop(process.workers[i]);

        *pconnections += ws_loop_count(loop);
        has = has || !ws_loop_is_empty(loop);
    }
    return has;
}

/* True: the workers are a keeper's. False: they have stopped, or will. */
static bool leave_to_keeper(unsigned count)
{
    mod_websocket_estate_t estate = {.server = process.server,
                                     .workers = process.workers,
                                     .worker_count = count,
                                     .handlers = &process.handlers,
                                     .watch = process.watch,
                                     .seats = mod_websocket_seats()};
    bool is_left = false;
    bool is_paused = pause_workers(count);
    sigset_t before;

    if (is_paused && !has_connections(count, &estate.connections)) {
        return false;
    }
    /* nobody works for the handlers any more, and they know it */
    is_paused = is_paused && ws_process_pause(&process.handlers, PAUSE_LIMIT);
    if (is_paused) {
        if (process.watch != NULL) {
            ws_watch_stop(process.watch);
        }
        lock_workers(&before);              /* no thread holds it in the fork */
        is_left = mod_websocket_leave_to_keeper(&estate);
        unlock_workers(&before);
    }
    if (is_paused && !is_left) {
        ws_process_go_on(&process.handlers);
    }
    if (!is_left) {
        drain_paused(count);
    }
    return is_left;
}

/* One that pauses is run to its end here: as there was nothing to leave to a
 * keeper, or it did so when it was asked to go on already. From then on it
 * takes nothing any more, which nobody would run. */
static bool end_worker(ws_worker_t *worker)
{
    if (!ws_worker_wait(worker, process.stop_limit + JOIN_EXTRA)) {
        return false;
    }
    ws_worker_stop(worker, GOING_AWAY, "", 0);
    ws_worker_finish(worker);
    return true;
}

/* False: a handler holds one up. */
static bool have_ended(unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        if (!end_worker(process.workers[i])) {
            return false;
        }
    }
    return true;
}

/* The child ends: of all MPMs, in whatever way. */
static apr_status_t end_workers(void *baton)
{
    unsigned count;
    unsigned i;

    (void)baton;
    if (process.handlers.worker_count == 0) {
        return APR_SUCCESS;
    }
    if (process.is_threaded) {
        apr_signal(SIGTERM, SIG_IGN);       /* no more orders: that httpd ends
                                             * is seen otherwise, too */
    }
    decide();
    count = withdraw_workers();
    if (!process.is_stopping && leave_to_keeper(count)) {
        return APR_SUCCESS;
    }
    if (!have_ended(count) ||
        !ws_process_end(&process.handlers, JOIN_EXTRA)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, process.server,
                     "a WebSocket handler blocks its thread; the child ends "
                     "without it");
        _exit(0);                           /* what it uses must stay */
    }
    /* the first one's slot has the budget of all */
    for (i = process.handlers.worker_count; i-- > 0;) {
        ws_worker_join(process.workers[i], 0);
    }
    if (process.watch != NULL) {
        ws_watch_destroy(process.watch);
        process.watch = NULL;
    }
    return APR_SUCCESS;
}

/* NULL: it cannot be had. */
static ws_worker_t *create_worker(unsigned wanted)
{
    ws_worker_t *worker = ws_worker_create(
        mod_websocket_log(), mod_websocket_logger(process.server),
        process.compression, process.pool);
    ws_budgets_t *budgets;

    if (worker == NULL) {
        return NULL;
    }
    budgets = ws_hub_budgets(ws_worker_hub(worker));
    if (process.compression == NULL) {
        process.compression = &budgets->compression;
        atomic_store(&process.compression->limit,
                     (size_t)mod_websocket_global.compression_memory);
    }
    atomic_store(&budgets->sending.limit,
                 (size_t)mod_websocket_global.send_memory / wanted);
    return worker;
}

static void create_workers(void)
{
    unsigned wanted = (unsigned)mod_websocket_global.threads;

    if (apr_pool_create_unmanaged_ex(&process.pool, NULL, NULL) !=
        APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, process.server,
                     "out of memory; this child serves no WebSockets");
        return;
    }
    process.workers =
        apr_pcalloc(process.pool, wanted * sizeof(*process.workers));
    while (process.worker_count < wanted &&
           (process.workers[process.worker_count] = create_worker(wanted)) !=
               NULL) {
        process.worker_count++;
    }
}

/* As many as there are. Handlers may know the others: these end, and stay. */
static void start_threads(void)
{
    unsigned count = 0;
    unsigned i;

    while (count < process.worker_count &&
           ws_worker_start(process.workers[count]) == WS_OK) {
        count++;
    }
    for (i = count; i < process.worker_count; i++) {
        ws_worker_stop(process.workers[i], GOING_AWAY, "", 0);
        ws_worker_finish(process.workers[i]);
    }
    process.worker_count = count;
}

/* Handlers begin before any loop runs. */
static void start_workers(void)
{
    create_workers();
    process.handlers = (ws_process_t){
        .log = mod_websocket_log(),
        .workers = process.workers,
        .worker_count = process.worker_count,
        .offload =
            ws_offload_create((unsigned)mod_websocket_global.offload_threads,
                              (unsigned)mod_websocket_global.offload_queue),
    };
    if (process.worker_count > 0) {
        process.handlers.contexts = mod_websocket_contexts(
            &process.handlers.context_count, process.pool);
        ws_process_begin(&process.handlers);
        start_threads();
    }
    if (process.worker_count < (unsigned)mod_websocket_global.threads) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, process.server,
                     "a thread for WebSockets cannot be started; after "
                     "WebSocketThreads or ServerLimit was raised, stop and "
                     "start httpd");
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

static bool serves_websockets(void)
{
    return mod_websocket_log() != NULL && mod_websocket_has_handlers();
}

/* Of a pool's cleanups the first that was registered runs last, after all pools
 * below have gone: a keeper then inherits little that it does not need, of
 * other modules' connections and threads. */
void mod_websocket_child_begin(apr_pool_t *pchild, server_rec *server)
{
    (void)server;
    if (serves_websockets()) {
        apr_pool_cleanup_register(pchild, NULL, end_workers,
                                  apr_pool_cleanup_null);
    }
}

void mod_websocket_child_init(apr_pool_t *pchild, server_rec *server)
{
    int threaded = AP_MPMQ_NOT_SUPPORTED;

    (void)pchild;
    if (!serves_websockets()) {
        return;
    }
    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    process.is_threaded = threaded != AP_MPMQ_NOT_SUPPORTED;
    process.server = server;
    process.end_code = GOING_AWAY;
    mod_websocket_admit_child_init();
    mod_websocket_keeper_child_init();
    start_workers();
    start_watch();
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
        ws_websocket_discard(ws, atomic_load(&process.end_code));
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

    limits->budget = process.compression;
    lock_workers(&before);
    if (process.worker_count > 0 && !process.is_stopping) {
        kept = find_or_keep(limits);
    }
    unlock_workers(&before);
    return kept;
}
