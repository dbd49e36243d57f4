/* The handler and what it runs on: the shared log, the workers, their watch.
 * What httpd's parent and child do, in one process; their defaults hold. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

#define LOG_SIZE (4 * 1024 * 1024)
#define MEMORY (64 * 1024 * 1024)    /* for compression, and for sending */
#define OFFLOAD_THREADS 4
#define OFFLOAD_QUEUE 1000

#define GOING_AWAY 1001
#define STOP_LIMIT 2000              /* ms: for closing handshakes */
#define JOIN_LIMIT 3000              /* ms: for callbacks to return */
#define TURN_LIMIT 1000              /* ms: a longer turn is logged */

static ws_conn_limits_t limits_of(const run_options_t *options)
{
    return (ws_conn_limits_t){
        .max_message = options->max_message,
        .max_fragments = 65536,
        .compression_level = 6,
        .compression_threshold = 1024,
        .send_queue = 1024 * 1024,
        /* a client of a script that waits for its next line answers none */
        .ping_interval = options->script == NULL ? 30000 : 0,
        .ping_timeout = 10000,
        .close_timeout = 5000,
    };
}

/* --- the begin --- */

static bool add_worker(run_host_t *host, unsigned wanted)
{
    ws_worker_t *worker = ws_worker_create(host->log, &host->logger,
                                           host->limits.budget, host->pool);
    ws_budgets_t *budgets;

    if (worker == NULL) {
        run_error("threads for connections: %s", strerror(errno));
        return false;
    }
    budgets = ws_hub_budgets(ws_worker_hub(worker));
    if (host->limits.budget == NULL) {
        host->limits.budget = &budgets->compression;
        atomic_store(&budgets->compression.limit, MEMORY);
    }
    atomic_store(&budgets->sending.limit, MEMORY / wanted);
    host->workers[host->process.worker_count++] = worker;
    return true;
}

static bool create_workers(run_host_t *host, unsigned wanted)
{
    while (host->process.worker_count < wanted) {
        if (!add_worker(host, wanted)) {
            return false;
        }
    }
    return true;
}

/* Before any loop runs. */
static bool begin_handler(run_host_t *host)
{
    host->process.offload = ws_offload_create(OFFLOAD_THREADS, OFFLOAD_QUEUE);
    if (host->process.offload == NULL) {
        run_error("%s", strerror(ENOMEM));
        return false;
    }
    host->process.contexts = &host->context;
    host->process.context_count = 1;
    ws_process_begin(&host->process);
    return !host->context->is_broken;       /* which is logged */
}

static bool start_threads(run_host_t *host)
{
    for (; host->started < host->process.worker_count; host->started++) {
        if (ws_worker_start(host->workers[host->started]) != WS_OK) {
            run_error("threads for connections: %s", strerror(errno));
            return false;
        }
    }
    return true;
}

/* Without one, too, the handler runs. */
static void start_watch(run_host_t *host)
{
    unsigned i;

    host->watch = ws_watch_create(&host->logger, TURN_LIMIT);
    for (i = 0; host->watch != NULL && i < host->process.worker_count; i++) {
        ws_worker_watch(host->workers[i], host->watch);
    }
    if (host->watch == NULL || !ws_watch_start(host->watch)) {
        run_error("a handler that blocks will not be told of: %s",
                  strerror(errno));
    }
}

bool run_host_begin(run_host_t *host, const run_options_t *options,
                    apr_pool_t *pool)
{
    host->options = options;
    host->pool = pool;
    host->stop = (ws_wake_t){-1, -1};
    host->limits = limits_of(options);
    host->process.workers = host->workers;
    host->context = run_handler_load(options, &host->logger, pool);
    if (host->context == NULL) {
        return false;
    }
    if (ws_wake_init(&host->stop) != WS_OK ||
        ws_log_create(&host->log, LOG_SIZE, options->threads) != WS_OK) {
        run_error("%s", strerror(errno));
        return false;
    }
    host->process.log = host->log;
    if (!create_workers(host, options->threads) || !begin_handler(host) ||
        !start_threads(host)) {
        return false;
    }
    start_watch(host);
    return true;
}

/* --- the end --- */

void run_host_give_up(const char *callback)
{
    run_error("the handler's %s does not end; ending without it", callback);
    _exit(RUN_FAILED);                      /* what it uses must stay */
}

void run_host_stop(run_host_t *host)
{
    unsigned i;

    ws_wake_notify(&host->stop);
    for (i = 0; i < host->process.worker_count; i++) {
        ws_worker_stop(host->workers[i], GOING_AWAY, "server is going away",
                       STOP_LIMIT);
    }
}

/* One without a thread may have tasks, of the handler's begin. */
static void end_worker(run_host_t *host, unsigned i)
{
    if (i >= host->started) {
        ws_worker_finish(host->workers[i]);
    }
    else if (!ws_worker_wait(host->workers[i], STOP_LIMIT + JOIN_LIMIT)) {
        run_host_give_up("callback");
    }
}

static void end_workers(run_host_t *host)
{
    unsigned i;

    run_host_stop(host);
    for (i = 0; i < host->process.worker_count; i++) {
        end_worker(host, i);
    }
    if (host->process.context_count > 0 &&
        !ws_process_end(&host->process, JOIN_LIMIT)) {
        run_host_give_up("offloaded work");
    }
    /* the first one's slot has the budget of all */
    for (i = host->process.worker_count; i-- > 0;) {
        ws_worker_join(host->workers[i], 0);
    }
}

void run_host_end(run_host_t *host)
{
    if (host->process.worker_count > 0) {
        end_workers(host);
    }
    if (host->watch != NULL) {
        ws_watch_destroy(host->watch);
    }
    if (host->log != NULL) {
        ws_log_destroy(host->log);
    }
    ws_wake_clear(&host->stop);
}
