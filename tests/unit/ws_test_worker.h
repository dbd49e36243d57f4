/* ws_test_worker: a process of handlers: workers, contexts, and clients at the
 * other ends of socket pairs. A worker runs in a thread of its own, or a turn
 * at a time in the test's. Everything that waits has a limit.
 * Include it in one file of a program. */
#ifndef WS_TEST_WORKER_H
#define WS_TEST_WORKER_H

#include "ws_process.h"
#include "ws_test_handler.h"
#include "ws_test_socket.h"

#define WORKERS_MAX 4
#define CONTEXTS_MAX 4
#define LIMIT_MS (WS_TEST_LIMIT * 1000)

static ws_log_t *log_;
static ws_worker_t *workers[WORKERS_MAX];
static websocket_context_t *contexts[CONTEXTS_MAX];
static ws_process_t process;
static ws_budgets_t budgets;
static ws_conn_limits_t limits;

/* --- life --- */

/* So many workers, without threads. */
static void begin_workers(unsigned count)
{
    unsigned i;

    begin_pool();
    memset(&budgets, 0, sizeof(budgets));
    atomic_store(&budgets.compression.limit, 1024 * 1024);
    limits = (ws_conn_limits_t){.max_message = 65536,
                                .compression_level = 6,
                                .budget = &budgets.compression,
                                .send_queue = 1024 * 1024,
                                .close_timeout = LIMIT_MS};
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, count + 1), WS_OK);
    process = (ws_process_t){.log = log_,
                             .workers = workers,
                             .worker_count = count,
                             .contexts = contexts};
    for (i = 0; i < count; i++) {
        workers[i] =
            ws_worker_create(log_, &logger, &budgets.compression, pool);
        ck_assert_ptr_nonnull(workers[i]);
    }
}

/* One more of the process's contexts; its topics are its own. */
static void configure_context(websocket_context_t *context)
{
    const char *error = ws_handler_configure(context);
    char key[16];

    ck_assert_msg(error == NULL, "%s", error);
    ck_assert_uint_lt(process.context_count, CONTEXTS_MAX);
    snprintf(key, sizeof(key), "%zu", process.context_count);
    ws_handler_set_key(context, key);
    contexts[process.context_count++] = context;
}

WS_TEST_UNUSED static websocket_context_t *add_context(
    const websocket_handler_t *handler)
{
    websocket_context_t *context = make_context(handler);

    configure_context(context);
    return context;
}

WS_TEST_UNUSED static void start_threads(void)
{
    unsigned i;

    for (i = 0; i < process.worker_count; i++) {
        ck_assert_int_eq(ws_worker_start(workers[i]), WS_OK);
    }
}

WS_TEST_UNUSED static void pause_threads(void)
{
    unsigned i;

    for (i = 0; i < process.worker_count; i++) {
        ws_worker_pause(workers[i]);
        ck_assert(ws_worker_wait(workers[i], LIMIT_MS));
    }
}

/* No loop runs any more, or takes anything. */
static void stop_workers(void)
{
    unsigned i;

    for (i = 0; i < process.worker_count; i++) {
        ws_worker_stop(workers[i], 1001, "end", 0);
        ck_assert(ws_worker_wait(workers[i], LIMIT_MS));
        ws_worker_finish(workers[i]);
    }
}

static void free_workers(void)
{
    unsigned i;

    for (i = 0; i < process.worker_count; i++) {
        ck_assert(ws_worker_join(workers[i], 0));
    }
    ws_log_destroy(log_);
    end_pool();
}

/* One worker with a thread, and one context: the common case. */
WS_TEST_UNUSED static websocket_context_t *begin_process(
    const websocket_handler_t *handler)
{
    websocket_context_t *context;

    begin_workers(1);
    context = add_context(handler);
    ws_process_begin(&process);
    start_threads();
    return context;
}

/* The same without the thread. */
WS_TEST_UNUSED static websocket_context_t *begin_turns(
    const websocket_handler_t *handler)
{
    websocket_context_t *context;

    begin_workers(1);
    context = add_context(handler);
    ws_process_begin(&process);
    return context;
}

WS_TEST_UNUSED static void end_process(void)
{
    stop_workers();
    ck_assert(ws_process_end(&process, LIMIT_MS));
    free_workers();
}

/* --- a turn at a time --- */

WS_TEST_UNUSED static void turn_of(ws_worker_t *worker)
{
    ws_loop_t *loop = ws_worker_loop(worker);

    ws_loop_pause(loop);
    ws_loop_run(loop);
    ws_loop_unpause(loop);
}

/* Of the only worker. */
WS_TEST_UNUSED static void turn(void)
{
    turn_of(workers[0]);
}

WS_TEST_UNUSED static void turns_until(const atomic_int *count, int value)
{
    int64_t limit = ws_test_now() + LIMIT_MS;

    while (atomic_load(count) < value) {
        ck_assert_int_lt(ws_test_now(), limit);
        turn();
    }
}

/* --- waiting --- */

WS_TEST_UNUSED static void wait_until(const atomic_int *count, int value)
{
    int64_t limit = ws_test_now() + LIMIT_MS;

    while (atomic_load(count) < value) {
        ck_assert_msg(ws_test_now() < limit, "%d instead of %d",
                      atomic_load(count), value);
        poll(NULL, 0, 1);
    }
}

typedef struct {
    ws_task_t task;
    void (*call)(void);
    atomic_int done;
} call_t;

static void run_call(ws_loop_t *loop, ws_task_t *task)
{
    call_t *call = (call_t *)task;

    (void)loop;
    if (call->call != NULL) {
        call->call();
    }
    atomic_store(&call->done, 1);
}

/* In the worker's thread; waits until it is done. */
WS_TEST_UNUSED static void on_worker(ws_worker_t *worker, void (*call)(void))
{
    call_t it = {.task = {.run = run_call}, .call = call};

    ck_assert(ws_loop_post(ws_worker_loop(worker), &it.task));
    wait_until(&it.done, 1);
}

/* --- connections --- */

WS_TEST_UNUSED static ws_promise_t promise_of(websocket_context_t *context)
{
    return (ws_promise_t){.context = context,
                          .logger = &logger,
                          .limits = &limits,
                          .client = "192.0.2.7"};
}

/* With no worker yet. early may be NULL. */
WS_TEST_UNUSED static websocket_t *make_from(const ws_promise_t *promise,
                                             int *pclient,
                                             const ws_test_bytes_t *early)
{
    uint8_t *copy = NULL;
    websocket_t *ws;
    ws_io_t io;
    int fd;

    *pclient = client_open(&fd);
    ws_io_init_fd(&io, fd);
    if (early != NULL) {
        copy = malloc(early->length);
        memcpy(copy, early->data, early->length);
    }
    ws = ws_websocket_create(promise, &io, copy,
                             early != NULL ? early->length : 0);
    ck_assert_ptr_nonnull(ws);
    return ws;
}

/* Returns the client's end. */
WS_TEST_UNUSED static int connect_from(const ws_promise_t *promise,
                                       ws_worker_t *worker)
{
    int fd;

    ws_websocket_post(make_from(promise, &fd, NULL), worker);
    return fd;
}

WS_TEST_UNUSED static int connect_to(websocket_context_t *context,
                                     ws_worker_t *worker)
{
    const ws_promise_t promise = promise_of(context);

    return connect_from(&promise, worker);
}

#endif
