/* ws_loop: a real loop in a thread of its own, with sockets. */
#include "ws_loop.h"

#include <apr_general.h>
#include <pthread.h>
#include <semaphore.h>

#include "ws_frame.h"
#include "ws_test_alloc.h"
#include "ws_test_socket.h"

/* A connection and its owner. */
typedef struct {
    ws_link_t link;
    ws_task_t task;
} owner_t;

static struct {
    apr_pool_t *pool;
    ws_loop_t *loop;
    ws_wake_t wake;
    _Atomic uint32_t sleeping;
    pthread_t thread;
    ws_conn_limits_t limits;
    atomic_int created, refused, opened, closed, destroyed, last_code, ended;
    void (*do_message)(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                       size_t length);
    ws_conn_t *_Atomic kept;         /* for a test's own use */
} test;

/* --- how long it wants to sleep --- */

apr_status_t __real_apr_pollset_poll(apr_pollset_t *pollset,
                                     apr_interval_time_t wait,
                                     apr_int32_t *pcount,
                                     const apr_pollfd_t **pevents);
apr_status_t __wrap_apr_pollset_poll(apr_pollset_t *pollset,
                                     apr_interval_time_t wait,
                                     apr_int32_t *pcount,
                                     const apr_pollfd_t **pevents);

static _Atomic apr_interval_time_t last_wait; /* us */

apr_status_t __wrap_apr_pollset_poll(apr_pollset_t *pollset,
                                     apr_interval_time_t wait,
                                     apr_int32_t *pcount,
                                     const apr_pollfd_t **pevents)
{
    atomic_store(&last_wait, wait);
    return __real_apr_pollset_poll(pollset, wait, pcount, pevents);
}

/* --- what the connections do --- */

static void on_open(ws_conn_t *c)
{
    (void)c;
    atomic_fetch_add(&test.opened, 1);
}

static void on_message(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                       size_t length)
{
    test.do_message(c, opcode, data, length);
}

static void echo(ws_conn_t *c, uint8_t opcode, uint8_t *data, size_t length)
{
    ws_conn_send(c, opcode, data, length);
}

static void on_drained(ws_conn_t *c)
{
    (void)c;
}

static void on_close(ws_conn_t *c, uint16_t code, const uint8_t *reason,
                     size_t length)
{
    (void)c;
    (void)reason;
    (void)length;
    atomic_store(&test.last_code, code);
    atomic_fetch_add(&test.closed, 1);
}

static void on_failure(ws_conn_t *c, uint16_t code, const char *why)
{
    (void)c;
    (void)code;
    (void)why;
}

static const ws_conn_callbacks_t callbacks = {
    .on_open = on_open,
    .on_message = on_message,
    .on_drained = on_drained,
    .on_close = on_close,
    .on_failure = on_failure,
};

static void destroy(ws_link_t *link)
{
    atomic_fetch_add(&test.destroyed, 1);
    free(link);
}

/* --- the loop --- */

static void *run(void *baton)
{
    (void)baton;
    ws_loop_run(test.loop);
    atomic_store(&test.ended, 1);
    return NULL;
}

static void prepare(void)
{
    ws_loop_waker_t waker = {.wake = &test.wake, .sleeping = &test.sleeping};

    memset(&test, 0, sizeof(test));
    test.do_message = echo;
    test.limits = (ws_conn_limits_t){.max_message = 32 * 1024 * 1024,
                                     .send_queue = 32 * 1024 * 1024,
                                     .close_timeout = 1000 * WS_TEST_LIMIT};
    ck_assert_int_eq(apr_pool_create(&test.pool, NULL), APR_SUCCESS);
    ck_assert_int_eq(ws_wake_init(&test.wake), WS_OK);
    test.loop = ws_loop_create(&waker, NULL, NULL, test.pool);
    ck_assert_ptr_nonnull(test.loop);
}

static void start(void)
{
    ck_assert_int_eq(pthread_create(&test.thread, NULL, run, NULL), 0);
}

static void begin(void)
{
    prepare();
    start();
}

/* Waits for the loop's thread; all that was added must have ended. */
static void join(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WS_TEST_LIMIT;
    ck_assert_msg(pthread_timedjoin_np(test.thread, NULL, &until) == 0,
                  "the loop does not end");
    ck_assert_int_eq(test.opened, test.created - test.refused);
    ck_assert_int_eq(test.closed, test.opened);
    ck_assert_int_eq(test.destroyed, test.created);
    ck_assert_uint_eq(ws_loop_count(test.loop), 0);
    ws_loop_destroy(test.loop);
    ws_wake_clear(&test.wake);
    apr_pool_destroy(test.pool);
}

static void end(void)
{
    ws_loop_stop(test.loop, 1001, "end of test", 0);
    join();
}

static void run_add(ws_loop_t *loop, ws_task_t *task)
{
    owner_t *owner = (owner_t *)((char *)task - offsetof(owner_t, task));

    ws_conn_init(&owner->link.conn, ws_loop_turn(loop), &test.limits,
                 &callbacks);
    if (ws_loop_add(loop, &owner->link, NULL, 0) != WS_OK) {
        atomic_fetch_add(&test.refused, 1);
        ws_conn_clear(&owner->link.conn);
        destroy(&owner->link);
    }
}

static owner_t *make_owner(int *pclient)
{
    owner_t *owner = calloc(1, sizeof(*owner));
    int fd;

    *pclient = client_open(&fd);
    ws_io_init_fd(&owner->link.conn.io, fd);
    owner->link.destroy = destroy;
    owner->task.run = run_add;
    atomic_fetch_add(&test.created, 1);
    return owner;
}

/* A new connection; returns the client's end. */
static int connect_client(void)
{
    int fd;
    owner_t *owner = make_owner(&fd);

    ck_assert(ws_loop_post(test.loop, &owner->task));
    return fd;
}

typedef struct {
    ws_task_t task;
    void (*call)(void);
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
} call_t;

static void run_call(ws_loop_t *loop, ws_task_t *task)
{
    call_t *call = (call_t *)task;

    (void)loop;
    if (call->call != NULL) {
        call->call();
    }
    pthread_mutex_lock(&call->lock);
    call->done = true;
    pthread_cond_signal(&call->cond);
    pthread_mutex_unlock(&call->lock);
}

/* On the loop's thread; waits until it is done. */
static void on_loop(void (*function)(void))
{
    call_t call = {.task = {.run = run_call}, .call = function};
    struct timespec until;

    pthread_mutex_init(&call.lock, NULL);
    pthread_cond_init(&call.cond, NULL);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WS_TEST_LIMIT;
    ck_assert(ws_loop_post(test.loop, &call.task));
    pthread_mutex_lock(&call.lock);
    while (!call.done) {
        ck_assert_int_eq(pthread_cond_timedwait(&call.cond, &call.lock, &until),
                         0);
    }
    pthread_mutex_unlock(&call.lock);
    pthread_mutex_destroy(&call.lock);
    pthread_cond_destroy(&call.cond);
}

/* Turns go by until the counter has the value. */
static void wait_until(atomic_int *counter, int value)
{
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    while (atomic_load(counter) != value) {
        ck_assert_int_lt(ws_test_now(), limit);
        on_loop(NULL);
    }
}

/* --- tests --- */

START_TEST(messages_are_echoed)
{
    int fd;

    begin();
    fd = connect_client();
    client_send_text(fd, "one");
    client_expect(fd, 0x81, "one");
    client_send_text(fd, "two");
    client_expect(fd, 0x81, "two");
    client_send_close(fd, 1001);
    client_expect_close(fd, 1001, "");
    client_expect_end(fd);
    close(fd);
    wait_until(&test.destroyed, 1);
    ck_assert_int_eq(test.last_code, 1001);
    end();
}
END_TEST

/* More than socket and cork hold: it waits for the socket in between. */
START_TEST(large_messages_are_echoed)
{
    const size_t size = ws_test_is_slow() ? 1024 * 1024 : 8 * 1024 * 1024;
    ws_test_bytes_t bytes = {0};
    uint8_t *payload = malloc(size);
    uint8_t *back = malloc(size);
    size_t length = 0;
    uint8_t first = 0;
    size_t i;
    int fd;

    for (i = 0; i < size; i++) {
        payload[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    begin();
    fd = connect_client();
    ws_test_add_frame(&bytes, 0x82, payload, size);
    client_send(fd, &bytes);
    client_send_text(fd, "behind");
    ck_assert(client_next(fd, &first, back, size, &length));
    ck_assert_uint_eq(length, size);
    ck_assert(memcmp(payload, back, size) == 0);
    client_expect(fd, 0x81, "behind");
    close(fd);
    end();
    free(payload);
    free(back);
}
END_TEST

#define CLIENTS 100

START_TEST(many_connections_have_each_their_own)
{
    char text[32];
    int fds[CLIENTS];
    int round;
    int i;

    begin();
    for (i = 0; i < CLIENTS; i++) {
        fds[i] = connect_client();
    }
    for (round = 0; round < 3; round++) {
        for (i = 0; i < CLIENTS; i++) {
            snprintf(text, sizeof(text), "%d of client %d", round, i);
            client_send_text(fds[i], text);
        }
        for (i = CLIENTS; i-- > 0;) {
            snprintf(text, sizeof(text), "%d of client %d", round, i);
            client_expect(fds[i], 0x81, text);
        }
    }
    for (i = 0; i < CLIENTS; i += 2) {
        close(fds[i]);
    }
    wait_until(&test.destroyed, CLIENTS / 2);
    ck_assert_int_eq(test.last_code, 1006);
    for (i = 1; i < CLIENTS; i += 2) {
        client_send_text(fds[i], "still here");
        client_expect(fds[i], 0x81, "still here");
    }
    end();
    for (i = 1; i < CLIENTS; i += 2) {
        close(fds[i]);
    }
}
END_TEST

START_TEST(connection_added_before_the_loop_runs_is_served)
{
    owner_t *owner;
    int fd;

    prepare();
    owner = make_owner(&fd);
    client_send_text(fd, "early bird");
    run_add(test.loop, &owner->task);
    ck_assert_uint_eq(ws_loop_count(test.loop), 1);
    start();
    client_expect(fd, 0x81, "early bird");
    end();
    close(fd);
}
END_TEST

/* --- tasks --- */

#define THREADS 4
#define TASKS 500

typedef struct {
    ws_task_t task;
    int thread, number;
} numbered_t;

static numbered_t tasks[THREADS][TASKS];
static int next_number[THREADS];     /* the loop's thread */
static atomic_int tasks_run;

static void run_numbered(ws_loop_t *loop, ws_task_t *task)
{
    numbered_t *n = (numbered_t *)task;

    (void)loop;
    if (next_number[n->thread] == n->number) {
        next_number[n->thread]++;
    }
    atomic_fetch_add(&tasks_run, 1);
}

static void *post_many(void *baton)
{
    numbered_t *mine = baton;
    int i;

    for (i = 0; i < TASKS; i++) {
        if (!ws_loop_post(test.loop, &mine[i].task)) {
            return mine;
        }
    }
    return NULL;
}

START_TEST(tasks_of_many_threads_run_once_and_in_order)
{
    pthread_t threads[THREADS];
    void *failed;
    int i;
    int j;

    begin();
    atomic_store(&tasks_run, 0);
    for (i = 0; i < THREADS; i++) {
        next_number[i] = 0;
        for (j = 0; j < TASKS; j++) {
            tasks[i][j] = (numbered_t){.task = {.run = run_numbered},
                                       .thread = i,
                                       .number = j};
        }
    }
    for (i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, tasks[i]),
                         0);
    }
    for (i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    wait_until(&tasks_run, THREADS * TASKS);
    end();
    for (i = 0; i < THREADS; i++) {
        ck_assert_int_eq(next_number[i], TASKS);
    }
}
END_TEST

/* Whatever post() has said yes to has run when the loop has ended. */
START_TEST(no_task_is_forgotten_by_a_stop)
{
    const int rounds = ws_test_is_slow() ? 5 : 100;
    int round;

    for (round = 0; round < rounds; round++) {
        int posted = 0;
        int i;

        begin();
        atomic_store(&tasks_run, 0);
        for (i = 0; i < TASKS; i++) {
            tasks[0][i] = (numbered_t){.task = {.run = run_numbered}};
            if (i == 5 + round % 50) {
                ws_loop_stop(test.loop, 1001, "", 0);
            }
            if (!ws_loop_post(test.loop, &tasks[0][i].task)) {
                break;
            }
            posted++;
        }
        ws_loop_stop(test.loop, 1001, "", 0);
        join();
        ck_assert_int_eq(tasks_run, posted);
    }
}
END_TEST

static atomic_int sources_run;
static atomic_int source_has;

static bool source_is_ready(void *baton)
{
    (void)baton;
    return atomic_load(&source_has) > 0;
}

static void source_run(void *baton)
{
    (void)baton;
    if (atomic_load(&source_has) > 0) {
        atomic_fetch_sub(&source_has, 1);
        atomic_fetch_add(&sources_run, 1);
    }
}

START_TEST(source_is_run_when_it_has_work)
{
    const ws_source_t source = {.is_ready = source_is_ready, .run = source_run};
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;
    int i;

    prepare();
    atomic_store(&sources_run, 0);
    atomic_store(&source_has, 0);
    ws_loop_set_source(test.loop, &source);
    start();
    for (i = 1; i <= 200; i++) {
        atomic_fetch_add(&source_has, 1);
        if (atomic_exchange(&test.sleeping, 0) == 1) {
            ws_wake_notify(&test.wake);
        }
        while (atomic_load(&sources_run) < i) {
            ck_assert_int_lt(ws_test_now(), limit);
        }
    }
    end();
}
END_TEST

/* --- timers --- */

START_TEST(silence_is_pinged_and_dropped)
{
    int64_t started;
    int fd;

    prepare();
    test.limits.ping_interval = 30;
    test.limits.ping_timeout = 40;
    start();
    started = ws_test_now();
    fd = connect_client();
    client_expect(fd, 0x89, "");
    client_expect_end(fd);
    ck_assert_int_ge(ws_test_now() - started, 65);
    close(fd);
    wait_until(&test.destroyed, 1);
    ck_assert_int_eq(test.last_code, 1006);
    end();
}
END_TEST

START_TEST(answer_to_pings_keeps_it_open)
{
    ws_test_bytes_t bytes = {0};
    int fd;
    int i;

    prepare();
    test.limits.ping_interval = 10;
    test.limits.ping_timeout = 1000 * WS_TEST_LIMIT;
    start();
    fd = connect_client();
    for (i = 0; i < 10; i++) {
        client_expect(fd, 0x89, "");
        ws_test_add_text(&bytes, 0x8a, "");
        client_send(fd, &bytes);
    }
    ck_assert_int_eq(test.closed, 0);
    end();
    close(fd);
}
END_TEST

START_TEST(close_timeout_ends_who_does_not_answer)
{
    int64_t started;
    int fd;

    prepare();
    test.limits.close_timeout = 50;
    start();
    fd = connect_client();
    started = ws_test_now();
    client_send_close(fd, 1001);
    client_expect_close(fd, 1001, "");
    client_expect_end(fd);                  /* FIN; ours never comes */
    wait_until(&test.destroyed, 1);
    ck_assert_int_ge(ws_test_now() - started, 45);
    close(fd);
    end();
}
END_TEST

/* --- the end --- */

START_TEST(stop_without_connections_ends_at_once)
{
    begin();
    ws_loop_stop(test.loop, 1001, "", 1000 * WS_TEST_LIMIT * 10);
    join();
}
END_TEST

START_TEST(stop_closes_with_code_and_reason)
{
    int fds[3];
    int i;

    begin();
    for (i = 0; i < 3; i++) {
        fds[i] = connect_client();
        client_send_text(fds[i], "x");
        client_expect(fds[i], 0x81, "x");
    }
    ws_loop_stop(test.loop, 1012, "restart", 1000 * WS_TEST_LIMIT * 10);
    ws_loop_stop(test.loop, 1001, "the first one counts", 0);
    for (i = 0; i < 3; i++) {
        client_expect_close(fds[i], 1012, "restart");
        client_send_close(fds[i], 1012);
        client_expect_end(fds[i]);
        close(fds[i]);
    }
    join();
    ck_assert_int_eq(test.last_code, 1012);
}
END_TEST

START_TEST(stop_drops_who_does_not_answer_in_time)
{
    int64_t started;
    int fd;

    begin();
    fd = connect_client();
    on_loop(NULL);
    started = ws_test_now();
    ws_loop_stop(test.loop, 1001, "bye", 60);
    client_expect_close(fd, 1001, "bye");
    join();
    ck_assert_int_ge(ws_test_now() - started, 55);
    client_expect_end(fd);
    close(fd);
}
END_TEST

START_TEST(connection_added_while_stopping_is_closed_too)
{
    int first;
    int second;

    begin();
    first = connect_client();
    on_loop(NULL);
    ws_loop_stop(test.loop, 1001, "bye", 1000 * WS_TEST_LIMIT * 10);
    client_expect_close(first, 1001, "bye");
    second = connect_client();
    on_loop(NULL);
    client_expect_close(second, 1001, "bye");
    client_send_close(second, 1001);
    client_expect_end(second);
    close(second);
    client_send_close(first, 1001);
    client_expect_end(first);
    close(first);
    join();
}
END_TEST

START_TEST(post_after_the_end_is_refused)
{
    ws_task_t task = {.run = run_add};
    struct timespec until;

    begin();
    ws_loop_stop(test.loop, 1001, "", 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WS_TEST_LIMIT;
    ck_assert_int_eq(pthread_timedjoin_np(test.thread, NULL, &until), 0);
    ck_assert(!ws_loop_post(test.loop, &task));
    ws_loop_destroy(test.loop);
    ws_wake_clear(&test.wake);
    apr_pool_destroy(test.pool);
}
END_TEST

/* --- the peers --- */

/* One reads nothing while much waits for it; the other notices nothing. */
START_TEST(slow_reader_delays_nobody)
{
    const size_t size = ws_test_is_slow() ? 1024 * 1024 : 4 * 1024 * 1024;
    ws_test_bytes_t bytes = {0};
    uint8_t *payload = calloc(1, size);
    uint8_t first = 0;
    size_t length = 0;
    int slow;
    int fast;
    int i;

    begin();
    slow = connect_client();
    fast = connect_client();
    for (i = 0; i < 3; i++) {
        ws_test_add_frame(&bytes, 0x82, payload, size);
    }
    client_send(slow, &bytes);
    for (i = 0; i < 200; i++) {
        client_send_text(fast, "quick");
        client_expect(fast, 0x81, "quick");
    }
    for (i = 0; i < 3; i++) {
        ck_assert(client_next(slow, &first, payload, size, &length));
        ck_assert_uint_eq(length, size);
    }
    close(slow);
    end();
    close(fast);
    free(payload);
}
END_TEST

static void close_self(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                       size_t length)
{
    ws_conn_send(c, opcode, data, length);
    ws_conn_close(c, 4001, "enough", 6);
}

START_TEST(close_inside_a_callback_frees_once)
{
    int fd;

    prepare();
    test.do_message = close_self;
    start();
    fd = connect_client();
    client_send_text(fd, "last");
    client_expect(fd, 0x81, "last");
    client_expect_close(fd, 4001, "enough");
    client_send_close(fd, 4001);
    client_expect_end(fd);
    close(fd);
    wait_until(&test.destroyed, 1);
    ck_assert_int_eq(test.last_code, 4001);
    end();
}
END_TEST

static void remember_or_fail_other(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                                   size_t length)
{
    ws_conn_t *other = atomic_load(&test.kept);

    (void)opcode;
    (void)data;
    (void)length;
    if (other == NULL) {
        atomic_store(&test.kept, c);
    }
    else {
        ws_conn_fail(other, 1011, "by another");
    }
    ws_conn_send(c, WS_OP_TEXT, "done", 4);
}

START_TEST(connection_ended_by_another_is_freed_once)
{
    int first;
    int second;

    prepare();
    test.do_message = remember_or_fail_other;
    start();
    first = connect_client();
    second = connect_client();
    client_send_text(first, "x");
    client_expect(first, 0x81, "done");
    client_send_text(second, "x");
    client_expect(second, 0x81, "done");
    client_expect_close(first, 1011, "by another");
    client_expect_end(first);
    close(first);
    wait_until(&test.destroyed, 1);
    end();
    close(second);
}
END_TEST

static sem_t begun;
static sem_t go_on;

static void run_wait(ws_loop_t *loop, ws_task_t *task)
{
    (void)loop;
    (void)task;
    sem_post(&begun);
    while (sem_wait(&go_on) != 0) {
        continue;
    }
}

/* The first that speaks is kept; who speaks later sends to it. */
static void keep_or_send(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                         size_t length)
{
    ws_conn_t *other = atomic_load(&test.kept);

    if (other == NULL) {
        atomic_store(&test.kept, c);
    }
    else {
        ws_conn_send(other, opcode, data, length);
    }
    ws_conn_send(c, opcode, data, length);
}

/* It is sent something, and hangs up, in one and the same turn. */
START_TEST(connection_that_ends_with_output_to_come_is_freed_once)
{
    ws_task_t task = {.run = run_wait};
    int first;
    int second;

    sem_init(&begun, 0, 0);
    sem_init(&go_on, 0, 0);
    prepare();
    test.do_message = keep_or_send;
    start();
    first = connect_client();
    second = connect_client();
    client_send_text(first, "one");
    client_expect(first, 0x81, "one");
    client_send_text(second, "two");
    client_expect(second, 0x81, "two");
    client_expect(first, 0x81, "two");
    ck_assert(ws_loop_post(test.loop, &task));
    while (sem_wait(&begun) != 0) {
        continue;
    }
    client_send_text(second, "three");      /* both events wait */
    close(first);
    sem_post(&go_on);
    client_expect(second, 0x81, "three");
    wait_until(&test.destroyed, 1);
    end();
    close(second);
    sem_destroy(&begun);
    sem_destroy(&go_on);
}
END_TEST

static void pause_and_keep(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                           size_t length)
{
    ws_conn_send(c, opcode, data, length);
    ws_conn_pause(c);
    atomic_store(&test.kept, c);
}

static void resume_kept(void)
{
    ws_conn_resume(atomic_load(&test.kept));
}

START_TEST(paused_connection_reads_on_when_resumed)
{
    ws_test_bytes_t bytes = {0};
    struct pollfd p;
    int fd;

    prepare();
    test.do_message = pause_and_keep;
    start();
    fd = connect_client();
    ws_test_add_text(&bytes, 0x81, "one");
    ws_test_add_text(&bytes, 0x81, "two");
    client_send(fd, &bytes);
    client_expect(fd, 0x81, "one");
    client_send_text(fd, "three");
    on_loop(NULL);
    on_loop(NULL);
    p = (struct pollfd){.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    on_loop(resume_kept);
    client_expect(fd, 0x81, "two");
    on_loop(resume_kept);
    client_expect(fd, 0x81, "three");
    end();
    close(fd);
}
END_TEST

/* A client that is gone while nothing is read from it. */
START_TEST(paused_connection_that_hangs_up_is_freed)
{
    int fd;

    prepare();
    test.do_message = pause_and_keep;
    start();
    fd = connect_client();
    client_send_text(fd, "one");
    client_expect(fd, 0x81, "one");
    on_loop(NULL);
    close(fd);
    wait_until(&test.destroyed, 1);
    ck_assert_int_eq(test.last_code, 1006);
    end();
}
END_TEST

/* --- alarms; the loop runs a turn at a time in the test's thread --- */

typedef struct {
    ws_alarm_t alarm;
    int64_t set;                     /* when, on the loop's clock */
    int64_t delay;
    int runs;
    int place;                       /* among all that ran */
    void (*act)(ws_loop_t *loop);    /* in its run; may be NULL */
} alarm_t;

static alarm_t alarms[100];
static int alarms_run;

static void run_alarm(ws_loop_t *loop, ws_alarm_t *it)
{
    alarm_t *alarm = (alarm_t *)it;

    ck_assert_uint_eq(it->timer.place, 0);
    ck_assert_int_ge(ws_loop_turn(loop)->now, alarm->set + alarm->delay);
    alarm->runs++;
    alarm->place = ++alarms_run;
    if (alarm->act != NULL) {
        alarm->act(loop);
    }
}

static ws_status_t set_alarm(alarm_t *alarm, int64_t delay)
{
    alarm->alarm.run = run_alarm;
    alarm->set = ws_loop_turn(test.loop)->now;
    alarm->delay = delay;
    return ws_loop_alarm(test.loop, &alarm->alarm, delay);
}

static void prepare_alarms(void)
{
    prepare();
    memset(alarms, 0, sizeof(alarms));
    alarms_run = 0;
}

static void turn(void)
{
    ws_loop_pause(test.loop);
    ws_loop_run(test.loop);
    ws_loop_unpause(test.loop);
}

static void turns_until(const int *count, int value)
{
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    while (*count < value) {
        ck_assert_int_lt(ws_test_now(), limit);
        turn();
    }
}

static void finish(void)
{
    start();
    end();
}

START_TEST(alarms_run_once_when_they_are_due)
{
    static const int64_t delays[] = {20, 0, 10, 30, 1, 5};
    static const int places[] = {5, 1, 4, 6, 2, 3};
    size_t i;

    prepare_alarms();
    for (i = 0; i < WS_TEST_COUNT(delays); i++) {
        ck_assert_int_eq(set_alarm(&alarms[i], delays[i]), WS_OK);
    }
    ck_assert_int_eq(alarms_run, 0);        /* not out of here */
    turns_until(&alarms_run, WS_TEST_COUNT(delays));
    turn();
    for (i = 0; i < WS_TEST_COUNT(delays); i++) {
        ck_assert_int_eq(alarms[i].runs, 1);
        ck_assert_int_eq(alarms[i].place, places[i]);
    }
    finish();
}
END_TEST

START_TEST(alarm_that_is_set_anew_runs_at_the_new_time)
{
    prepare_alarms();
    set_alarm(&alarms[0], 1);
    set_alarm(&alarms[1], 1000000);
    set_alarm(&alarms[0], 30);              /* later, and sooner */
    set_alarm(&alarms[1], 10);
    turns_until(&alarms_run, 2);
    ck_assert_int_eq(alarms[0].place, 2);
    ck_assert_int_eq(alarms[1].place, 1);
    set_alarm(&alarms[0], 0);               /* after its run, too */
    turns_until(&alarms_run, 3);
    ck_assert_int_eq(alarms[0].runs, 2);
    finish();
}
END_TEST

START_TEST(alarm_that_is_cancelled_does_not_run)
{
    prepare_alarms();
    ws_loop_cancel(test.loop, &alarms[0].alarm); /* was never set */
    set_alarm(&alarms[0], 0);
    set_alarm(&alarms[1], 0);
    set_alarm(&alarms[2], 0);
    ws_loop_cancel(test.loop, &alarms[1].alarm);
    ws_loop_cancel(test.loop, &alarms[1].alarm);
    turns_until(&alarms_run, 2);
    turn();
    ck_assert_int_eq(alarms[1].runs, 0);
    set_alarm(&alarms[1], 0);
    turns_until(&alarms_run, 3);
    ck_assert_int_eq(alarms[1].runs, 1);
    finish();
}
END_TEST

static void cancel_others(ws_loop_t *loop)
{
    int i;

    for (i = 0; i < 10; i++) {
        ws_loop_cancel(loop, &alarms[i].alarm);
    }
}

/* All are due, and the first that runs is the only one. */
START_TEST(alarm_may_cancel_those_that_are_due_with_it)
{
    int i;

    prepare_alarms();
    for (i = 0; i < 10; i++) {
        alarms[i].act = cancel_others;
        set_alarm(&alarms[i], 0);
    }
    turn();
    turn();
    ck_assert_int_eq(alarms_run, 1);
    finish();
}
END_TEST

static void set_first_again(ws_loop_t *loop)
{
    (void)loop;
    set_alarm(&alarms[0], 0);
}

/* One that is set for at once in each of its runs ends a turn, and keeps
 * neither other alarms nor connections waiting. */
START_TEST(alarm_set_anew_in_its_run_starves_nobody)
{
    int fd;
    int i;

    prepare_alarms();
    fd = connect_client();
    alarms[0].act = set_first_again;
    for (i = 0; i < 20; i++) {
        set_alarm(&alarms[i], i < 10 ? 0 : 10);
    }
    turn();
    ck_assert_int_ge(alarms_run, 10);
    ck_assert_int_le(alarms_run, 20);
    client_send_text(fd, "hello");
    turn();
    client_expect(fd, 0x81, "hello");
    for (i = 1; i < 20; i++) {
        turns_until(&alarms[i].runs, 1);
        ck_assert_int_eq(alarms[i].runs, 1);
    }
    turns_until(&alarms[0].runs, alarms[0].runs + 5);
    ws_loop_cancel(test.loop, &alarms[0].alarm);
    finish();
    close(fd);
}
END_TEST

static atomic_int rings;

static void ring(ws_loop_t *loop, ws_alarm_t *alarm)
{
    (void)loop;
    (void)alarm;
    atomic_fetch_add(&rings, 1);
}

static void set_ring(ws_loop_t *loop, ws_task_t *task)
{
    static ws_alarm_t alarm = {.run = ring};

    (void)task;
    ws_loop_alarm(loop, &alarm, 30);
}

START_TEST(alarm_wakes_a_loop_that_sleeps)
{
    ws_task_t task = {.run = set_ring};
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    begin();
    atomic_store(&rings, 0);
    ck_assert(ws_loop_post(test.loop, &task));
    while (atomic_load(&rings) == 0) {      /* which does not wake it */
        ck_assert_int_lt(ws_test_now(), limit);
        poll(NULL, 0, 1);
    }
    end();
}
END_TEST

/* As late as can be said; and later than a poll can wait. */
START_TEST(alarm_may_be_years_away)
{
    static const int64_t delays[] = {INT64_MAX, INT64_MAX / 2, 30LL * 86400000,
                                     2147483648, 3600001};
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;
    apr_interval_time_t wait;
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(delays); i++) {
        prepare_alarms();
        ck_assert_int_eq(set_alarm(&alarms[0], delays[i]), WS_OK);
        atomic_store(&last_wait, 0);
        start();
        while (atomic_load(&last_wait) == 0) {
            ck_assert_int_lt(ws_test_now(), limit);
            poll(NULL, 0, 1);
        }
        wait = atomic_load(&last_wait);
        ck_assert_msg(wait > 0 && wait / 1000 <= INT32_MAX, "%lld",
                      (long long)wait);
        end();
        ck_assert_int_eq(alarms_run, 0);
    }
}
END_TEST

START_TEST(alarms_keep_through_a_pause)
{
    struct timespec until;

    prepare_alarms();
    set_alarm(&alarms[0], 1000000);
    set_alarm(&alarms[1], 30);
    start();
    ws_loop_pause(test.loop);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WS_TEST_LIMIT;
    ck_assert_int_eq(pthread_timedjoin_np(test.thread, NULL, &until), 0);
    ws_loop_unpause(test.loop);
    turns_until(&alarms_run, 1);
    ck_assert_int_eq(alarms[1].runs, 1);
    finish();
}
END_TEST

/* More than there is room for at first. */
START_TEST(alarm_without_memory_is_not_set)
{
    int i;

    prepare_alarms();
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(set_alarm(&alarms[0], 0), WS_ENOMEM);
    ck_assert(ws_test_alloc_unfail());
    ck_assert_uint_eq(alarms[0].alarm.timer.place, 0);
    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(set_alarm(&alarms[i], 0), WS_OK);
        ws_test_alloc_fail(0, false);       /* there is room for it now */
        ck_assert_int_eq(set_alarm(&alarms[i], 0), WS_OK);
        ck_assert(!ws_test_alloc_unfail());
    }
    ws_test_alloc_end();
    turns_until(&alarms_run, 100);
    finish();
}
END_TEST

/* --- all connections --- */

static int visits;

static void visit_and_send(ws_link_t *link, void *baton)
{
    ck_assert_ptr_eq(baton, &visits);
    visits++;
    ws_conn_send(&link->conn, WS_OP_TEXT, "hello", 5);
}

static void visit_and_close(ws_link_t *link, void *baton)
{
    visit_and_send(link, baton);
    ws_conn_close(&link->conn, 4000, "all", 3);
}

static void visit_each(void)
{
    ws_loop_each(test.loop, visit_and_send, &visits);
}

static void close_each(void)
{
    ws_loop_each(test.loop, visit_and_close, &visits);
}

START_TEST(each_connection_is_visited_once)
{
    int fds[5];
    int i;

    begin();
    visits = 0;
    on_loop(visit_each);
    ck_assert_int_eq(visits, 0);
    for (i = 0; i < 5; i++) {
        fds[i] = connect_client();
    }
    on_loop(visit_each);
    ck_assert_int_eq(visits, 5);
    for (i = 0; i < 5; i++) {
        client_expect(fds[i], 0x81, "hello");
    }
    close(fds[0]);
    wait_until(&test.destroyed, 1);
    on_loop(close_each);
    ck_assert_int_eq(visits, 9);
    for (i = 1; i < 5; i++) {
        client_expect(fds[i], 0x81, "hello");
        client_expect_close(fds[i], 4000, "all");
        close(fds[i]);
    }
    wait_until(&test.destroyed, 5);
    end();
}
END_TEST

/* --- whose thread it is --- */

static bool is_here;

static void look_here(void)
{
    is_here = ws_loop_is_here(test.loop);
}

START_TEST(loop_knows_its_thread)
{
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    prepare();
    ck_assert(ws_loop_is_here(test.loop));  /* it has none */
    start();
    on_loop(look_here);
    ck_assert(is_here);
    ck_assert(!ws_loop_is_here(test.loop));
    ws_loop_stop(test.loop, 1001, "", 0);
    while (!ws_loop_is_here(test.loop)) {   /* it has ended */
        ck_assert_int_lt(ws_test_now(), limit);
        poll(NULL, 0, 1);
    }
    join();
}
END_TEST

/* --- the end, when there is nothing to do --- */

START_TEST(empty_loop_ends_when_it_is_told)
{
    prepare_alarms();
    set_alarm(&alarms[0], 1000000);         /* alarms do not keep it */
    start();
    if (_i == 0) {
        on_loop(NULL);                      /* it sleeps, or will */
    }
    ws_loop_end_when_empty(test.loop);
    ws_loop_end_when_empty(test.loop);
    join();
}
END_TEST

START_TEST(loop_that_is_told_ends_with_its_last_connection)
{
    int fds[2];
    int i;

    begin();
    for (i = 0; i < 2; i++) {
        fds[i] = connect_client();
        client_send_text(fds[i], "x");
        client_expect(fds[i], 0x81, "x");
    }
    ws_loop_end_when_empty(test.loop);
    close(fds[0]);
    wait_until(&test.destroyed, 1);
    client_send_text(fds[1], "still here");
    client_expect(fds[1], 0x81, "still here");
    close(fds[1]);
    join();
    ck_assert_int_eq(test.last_code, 1006);
}
END_TEST

/* Each posts the next: the loop ends when its time is over all the same, and
 * all that was posted has run. */
static atomic_int again_posted;
static atomic_int again_run;

static void run_again(ws_loop_t *loop, ws_task_t *task)
{
    atomic_fetch_add(&again_run, 1);
    if (ws_loop_post(loop, task)) {
        atomic_fetch_add(&again_posted, 1);
    }
}

START_TEST(stop_does_not_wait_for_tasks_that_have_no_end)
{
    ws_task_t task = {.run = run_again};
    int fd;

    begin();
    atomic_store(&again_posted, 1);
    atomic_store(&again_run, 0);
    fd = connect_client();
    ck_assert(ws_loop_post(test.loop, &task));
    on_loop(NULL);
    ws_loop_stop(test.loop, 1001, "bye", _i == 0 ? 0 : 50);
    client_expect_close(fd, 1001, "bye");
    join();
    ck_assert_int_gt(again_run, 0);
    ck_assert_int_eq(again_run, again_posted);
    close(fd);
}
END_TEST

static owner_t *last_one;

static void run_add_last(ws_loop_t *loop, ws_task_t *task)
{
    (void)task;
    ck_assert(ws_loop_post(loop, &last_one->task));
}

/* Its task is among the last. */
START_TEST(connection_that_comes_at_the_last_moment_is_closed_too)
{
    ws_task_t task = {.run = run_add_last};
    int fd;

    prepare();
    last_one = make_owner(&fd);
    ck_assert(ws_loop_post(test.loop, &task));
    ws_loop_stop(test.loop, 1001, "bye", 0);
    start();
    client_expect_close(fd, 1001, "bye");
    client_expect_end(fd);
    join();
    close(fd);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(messages_are_echoed),
        WS_TEST(large_messages_are_echoed),
        WS_TEST(many_connections_have_each_their_own),
        WS_TEST(connection_added_before_the_loop_runs_is_served),
        WS_TEST(tasks_of_many_threads_run_once_and_in_order),
        WS_TEST(no_task_is_forgotten_by_a_stop),
        WS_TEST(source_is_run_when_it_has_work),
        WS_TEST(silence_is_pinged_and_dropped),
        WS_TEST(answer_to_pings_keeps_it_open),
        WS_TEST(close_timeout_ends_who_does_not_answer),
        WS_TEST(stop_without_connections_ends_at_once),
        WS_TEST(stop_closes_with_code_and_reason),
        WS_TEST(stop_drops_who_does_not_answer_in_time),
        WS_TEST(connection_added_while_stopping_is_closed_too),
        WS_TEST(post_after_the_end_is_refused),
        WS_TEST(slow_reader_delays_nobody),
        WS_TEST(close_inside_a_callback_frees_once),
        WS_TEST(connection_ended_by_another_is_freed_once),
        WS_TEST(connection_that_ends_with_output_to_come_is_freed_once),
        WS_TEST(paused_connection_reads_on_when_resumed),
        WS_TEST(paused_connection_that_hangs_up_is_freed),
        WS_TEST(alarms_run_once_when_they_are_due),
        WS_TEST(alarm_that_is_set_anew_runs_at_the_new_time),
        WS_TEST(alarm_that_is_cancelled_does_not_run),
        WS_TEST(alarm_may_cancel_those_that_are_due_with_it),
        WS_TEST(alarm_set_anew_in_its_run_starves_nobody),
        WS_TEST(alarm_wakes_a_loop_that_sleeps),
        WS_TEST(alarm_may_be_years_away),
        WS_TEST(alarms_keep_through_a_pause),
        WS_TEST(alarm_without_memory_is_not_set),
        WS_TEST(each_connection_is_visited_once),
        WS_TEST(loop_knows_its_thread),
        WS_TEST_LOOP(empty_loop_ends_when_it_is_told, 2),
        WS_TEST(loop_that_is_told_ends_with_its_last_connection),
        WS_TEST_LOOP(stop_does_not_wait_for_tasks_that_have_no_end, 2),
        WS_TEST(connection_that_comes_at_the_last_moment_is_closed_too),
    };
    int result;

    apr_initialize();
    result = ws_test_run("loop", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
