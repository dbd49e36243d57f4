#include "layers.h"

#include <apr_general.h>
#include <dirent.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOG_SIZE (32u << 20)         /* no reader is to be overtaken */
#define REPORT 60000                 /* ms */
#define STOP_LIMIT 100               /* ms: for closing handshakes */
#define FAILURES_SHOWN 20

int64_t soak_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint32_t soak_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

void soak_fail(soak_t *soak, const char *format, ...)
{
    char line[1024];
    va_list args;

    if (atomic_fetch_add(&soak->failures, 1) >= FAILURES_SHOWN) {
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    fprintf(stderr, "soak: %s\n", line);
}

/* --- log lines --- */

static bool wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    (void)logger;
    (void)level;
    return true;                            /* formatting is tested, too */
}

/* From level warn on there is one to expect: of members of a room who do not
 * read. */
static void write_line(const ws_logger_t *logger, ws_log_level_t level,
                       const char *text)
{
    soak_t *soak = logger->baton;

    if (level > WS_LOG_WARNING) {
        return;
    }
    if (strstr(text, "chat: closing with 1013: ") != NULL) {
        atomic_fetch_add(&soak->overfull, 1);
        return;
    }
    soak_fail(soak, "a line of the log: %s", text);
}

/* --- connections --- */

ws_deflate_params_t soak_deflate_of(soak_place_t place)
{
    ws_deflate_params_t params = {0};

    if (place == SOAK_AT_ECHO_DEFLATED || place == SOAK_AT_ECHO_TAKEOVER) {
        params.server_bits = 15;
        params.client_bits = 15;
    }
    if (place == SOAK_AT_ECHO_TAKEOVER) {
        params.server_takeover = true;
        params.client_takeover = true;
    }
    return params;
}

static const char *path_of(void *baton)
{
    return baton;
}

static const char *nothing(void *baton)
{
    (void)baton;
    return NULL;
}

static const char *no_header(void *baton, const char *name)
{
    (void)baton;
    (void)name;
    return NULL;
}

/* The handler's accept, as mod_websocket_upgrade.c calls it. */
static bool ask_handler(ws_promise_t *promise, const char *room)
{
    static const ws_request_ops_t ops = {
        .path = path_of, .query = nothing, .header = no_header};
    char path[80];
    websocket_request_t request = {.ops = &ops, .baton = path};

    snprintf(path, sizeof(path), "/%s", room);
    if (promise->context->handler.accept(promise->context, &request) != 0) {
        return false;
    }
    promise->data = request.data;
    promise->destroy = request.destroy;
    return true;
}

static const ws_conn_limits_t *limits_of(const soak_t *soak,
                                         soak_place_t place)
{
    switch (place) {
    case SOAK_AT_ECHO_STRICT:
    case SOAK_AT_CHAT_STRICT:
        return &soak->strict;
    case SOAK_AT_ECHO_QUICK:
        return &soak->quick;
    default:
        return &soak->normal;
    }
}

static ws_promise_t promise_of(soak_t *soak, soak_place_t place)
{
    bool is_chat = place == SOAK_AT_CHAT || place == SOAK_AT_CHAT_STRICT;
    ws_promise_t promise = {
        .context = is_chat ? soak->chat : soak->echo,
        .logger = soak->echo->logger,
        .limits = limits_of(soak, place),
        .deflate = soak_deflate_of(place),
        .client = "192.0.2.1",
    };

    /* as mod_websocket_upgrade.c does with less */
    if (!ws_budget_reserve(&soak->budgets.compression,
                           ws_deflate_cost(&promise.deflate))) {
        soak_fail(soak, "the budget for compression is too small");
        memset(&promise.deflate, 0, sizeof(promise.deflate));
    }
    return promise;
}

int soak_connect(soak_t *soak, soak_place_t place, const char *room,
                 unsigned worker, uint8_t *early, size_t early_length)
{
    ws_promise_t promise = promise_of(soak, place);
    websocket_t *ws;
    ws_io_t io;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) != 0) {
        perror("socketpair");
        abort();
    }
    if (!ask_handler(&promise, room)) {
        soak_fail(soak, "the handler refused room %s", room);
        abort();
    }
    ws_io_init_fd(&io, fds[0]);
    ws = ws_websocket_create(&promise, &io, early, early_length);
    if (ws == NULL) {
        soak_fail(soak, "out of memory");
        return fds[1];
    }
    pthread_mutex_lock(&soak->lock);
    ws_websocket_post(ws, soak->workers[worker % SOAK_WORKERS]);
    pthread_mutex_unlock(&soak->lock);
    return fds[1];
}

/* --- workers --- */

static ws_worker_t *create_worker(soak_t *soak, apr_pool_t **ppool)
{
    ws_worker_t *worker = NULL;

    if (apr_pool_create(ppool, NULL) == APR_SUCCESS) {
        worker = ws_worker_create(soak->log, soak->echo->logger,
                                  &soak->budgets.compression, *ppool);
    }
    if (worker == NULL || ws_worker_start(worker) != WS_OK) {
        perror("ws_worker_create");
        abort();
    }
    return worker;
}

static void join_worker(soak_t *soak, ws_worker_t *worker, apr_pool_t *pool)
{
    if (!ws_worker_join(worker, SOAK_LIMIT)) {
        soak_fail(soak, "a worker did not end");
        abort();
    }
    apr_pool_destroy(pool);
}

/* What a child does that ends while its successor is there already:
 * connections are posted to it until it is withdrawn. */
static void replace_worker(soak_t *soak, unsigned i, int pause)
{
    apr_pool_t *pool;
    apr_pool_t *old_pool;
    ws_worker_t *worker = create_worker(soak, &pool);
    ws_worker_t *old = soak->workers[i];    /* written by this thread alone */

    atomic_fetch_add(&soak->stops, 1);
    ws_worker_stop(old, 1012, "service restart", STOP_LIMIT);
    poll(NULL, 0, pause);
    pthread_mutex_lock(&soak->lock);
    soak->workers[i] = worker;
    old_pool = soak->pools[i];
    soak->pools[i] = pool;
    pthread_mutex_unlock(&soak->lock);
    join_worker(soak, old, old_pool);
    atomic_fetch_add(&soak->replaced, 1);
}

/* --- figures --- */

static unsigned descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;

    if (directory == NULL) {
        return 0;                           /* not Linux: not counted */
    }
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

static void add_up(soak_figures_t *sum, const soak_t *soak)
{
    int kind;

    memset(sum, 0, sizeof(*sum));
    for (kind = 0; kind < SOAK_KINDS; kind++) {
        sum->connections += soak->figures[kind].connections;
        sum->messages += soak->figures[kind].messages;
        sum->received += soak->figures[kind].received;
        sum->closed += soak->figures[kind].closed;
    }
}

static void report(const soak_t *soak, int64_t elapsed)
{
    soak_figures_t sum;

    add_up(&sum, soak);
    printf("%4d min: %llu connections, %llu open, %llu messages sent, %llu "
           "received, %llu workers replaced, %u failures\n",
           (int)(elapsed / 60000), (unsigned long long)sum.connections,
           (unsigned long long)ws_log_totals(soak->log).connections,
           (unsigned long long)sum.messages, (unsigned long long)sum.received,
           (unsigned long long)soak->replaced, soak->failures);
    fflush(stdout);
}

static void print_table(const soak_t *soak)
{
    struct rusage usage;
    soak_figures_t sum;
    int kind;

    printf("\n%-14s %12s %14s %14s %18s\n", "clients", "connections",
           "messages sent", "received", "closed by a stop");
    for (kind = 0; kind < SOAK_KINDS; kind++) {
        const soak_figures_t *f = &soak->figures[kind];

        printf("%-14s %12llu %14llu %14llu %18llu\n",
               soak_kind_name((soak_kind_t)kind),
               (unsigned long long)f->connections,
               (unsigned long long)f->messages,
               (unsigned long long)f->received, (unsigned long long)f->closed);
    }
    add_up(&sum, soak);
    printf("%-14s %12llu %14llu %14llu %18llu\n", "together",
           (unsigned long long)sum.connections,
           (unsigned long long)sum.messages, (unsigned long long)sum.received,
           (unsigned long long)sum.closed);
    getrusage(RUSAGE_SELF, &usage);
    printf("%llu workers replaced, %llu queues overfull, at most %ld MiB "
           "resident, %u failures\n",
           (unsigned long long)soak->replaced,
           (unsigned long long)soak->overfull, usage.ru_maxrss / 1024,
           soak->failures);
}

/* --- the whole --- */

static void set_limits(soak_t *soak)
{
    soak->normal = (ws_conn_limits_t){
        .max_message = 1 << 20,
        .max_fragments = 65536,
        .compression_level = 6,
        .compression_threshold = 64,
        .budget = &soak->budgets.compression,
        .send_queue = 4 << 20,
        .ping_interval = 30000,
        .ping_timeout = 30000,
        .close_timeout = 20000,
    };
    soak->strict = soak->normal;
    soak->strict.max_message = SOAK_STRICT_MESSAGE;
    soak->strict.max_fragments = SOAK_STRICT_FRAGMENTS;
    soak->strict.send_queue = 16384;
    soak->quick = soak->normal;             /* for who answers no ping: others
                                             * may be too slow to */
    soak->quick.ping_interval = 200;
    soak->quick.ping_timeout = 200;
    soak->quick.close_timeout = 200;
    soak->budgets.compression.limit = 1u << 30;
}

static websocket_context_t *load(const ws_logger_t *logger, apr_pool_t *pool,
                                 const char *name)
{
    const char *build = getenv("WS_BUILD_DIR");
    websocket_context_t *context = NULL;
    const char *error;
    char path[1024];

    snprintf(path, sizeof(path),
             "%s/mod_websocket/handlers/.libs/websocket_%s.so",
             build != NULL ? build : ".", name);
    error = ws_handler_load(&context, path, logger, pool);
    if (error == NULL) {
        error = ws_handler_configure(context);
    }
    if (error != NULL) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    ws_handler_set_key(context, name);
    return context;
}

/* Replaces workers, and reports, for as long as it is to last. */
static void watch(soak_t *soak)
{
    const int64_t begin = soak_now();
    const int64_t end = begin + soak->options.duration;
    const int between = soak->options.duration < 10000 ? 100 : 10000;
    uint32_t random = soak->options.seed;
    int64_t next_report = begin + REPORT;
    int64_t now;

    for (now = begin; now < end; now = soak_now()) {
        poll(NULL, 0, (int)(soak_random(&random) % (unsigned)between));
        /* with some, the loop has ended and is still posted to */
        replace_worker(soak, soak_random(&random) % SOAK_WORKERS,
                       (int)(soak_random(&random) % (2 * STOP_LIMIT)));
        if (soak->options.reports && now >= next_report) {
            report(soak, now - begin);
            next_report += REPORT;
        }
    }
}

static void run_drivers(soak_t *soak)
{
    unsigned count = soak->options.drivers;
    soak_driver_t *drivers = calloc(count, sizeof(*drivers));
    unsigned i;

    for (i = 0; drivers != NULL && i < count; i++) {
        drivers[i].soak = soak;
        drivers[i].random = soak->options.seed + (i + 1) * 7919;
        if (pthread_create(&drivers[i].thread, NULL, soak_drive,
                           &drivers[i]) != 0) {
            abort();
        }
    }
    watch(soak);
    atomic_store(&soak->is_over, true);
    for (i = 0; drivers != NULL && i < count; i++) {
        pthread_join(drivers[i].thread, NULL);
    }
    free(drivers);
}

/* Clients are gone; connections may have something to find out yet. */
static void wait_until_empty(soak_t *soak)
{
    int64_t limit = soak_now() + SOAK_LIMIT;

    while (ws_log_totals(soak->log).connections > 0) {
        if (soak_now() > limit) {
            soak_fail(soak, "%llu connections are left",
                      (unsigned long long)ws_log_totals(soak->log)
                          .connections);
            return;
        }
        poll(NULL, 0, 5);
    }
}

static void run_workers(soak_t *soak)
{
    unsigned i;

    for (i = 0; i < SOAK_WORKERS; i++) {
        soak->workers[i] = create_worker(soak, &soak->pools[i]);
    }
    run_drivers(soak);
    wait_until_empty(soak);
    if (soak->budgets.compression.used != 0) {
        soak_fail(soak, "%zu bytes of the budget for compression are left",
                  (size_t)soak->budgets.compression.used);
    }
    for (i = 0; i < SOAK_WORKERS; i++) {
        ws_worker_stop(soak->workers[i], 1001, "end", 0);
        join_worker(soak, soak->workers[i], soak->pools[i]);
    }
}

bool soak_run(const soak_options_t *options)
{
    static soak_t nothing_yet;
    soak_t *soak = malloc(sizeof(*soak));
    ws_logger_t logger = {.wanted = wanted, .write = write_line};
    apr_pool_t *pool;
    unsigned before;
    bool is_good;

    if (soak == NULL || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        abort();
    }
    *soak = nothing_yet;
    soak->options = *options;
    pthread_mutex_init(&soak->lock, NULL);
    logger.baton = soak;
    set_limits(soak);
    soak->echo = load(&logger, pool, "echo");
    soak->chat = load(&logger, pool, "chat");
    before = descriptors();
    if (ws_log_create(&soak->log, LOG_SIZE, 2 * SOAK_WORKERS) != WS_OK) {
        perror("ws_log_create");
        abort();
    }
    run_workers(soak);
    ws_log_destroy(soak->log);
    if (descriptors() != before) {
        soak_fail(soak, "%u descriptors are open; %u were before",
                  descriptors(), before);
    }
    if (options->reports) {
        print_table(soak);
    }
    is_good = soak->failures == 0;
    apr_pool_destroy(pool);
    pthread_mutex_destroy(&soak->lock);
    free(soak);
    return is_good;
}
