/* ws_ref: how other threads reach a connection. A worker runs a turn at a time
 * in the test's own thread, or in one of its own. */
#include <sched.h>
#include <sys/wait.h>

#include "ws_test_alloc.h"
#include "ws_test_worker.h"

#define THREADS 3
#define CLIENTS 8

static websocket_t *_Atomic kept;    /* that was opened last */
static websocket_ref_t *refs[CLIENTS];
static atomic_int opens;
static atomic_int closes;
static atomic_int runs;              /* of what is posted */
static atomic_int nulls;             /* with no connection any more */

static void on_open(websocket_t *ws)
{
    refs[atomic_load(&opens)] = websocket_ref(ws);
    atomic_store(&kept, ws);
    atomic_fetch_add(&opens, 1);
}

static void on_message(websocket_t *ws, int type, const void *data,
                       size_t length)
{
    websocket_send(ws, type, data, length);
}

static void on_close(websocket_t *ws, unsigned code, const char *reason,
                     size_t length)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)length;
    atomic_fetch_add(&closes, 1);
}

static const websocket_handler_t handler = {HANDLER("referred"),
                                            .open = on_open,
                                            .message = on_message,
                                            .close = on_close};

static void clear(void)
{
    memset(refs, 0, sizeof(refs));
    atomic_store(&opens, 0);
    atomic_store(&closes, 0);
    atomic_store(&runs, 0);
    atomic_store(&nulls, 0);
}

/* One connection, and the test is its loop's thread. */
static int begin_alone(void)
{
    int fd;

    clear();
    begin_turns(&handler);
    fd = connect_to(contexts[0], workers[0]);
    turn();
    ck_assert_ptr_nonnull(refs[0]);
    return fd;
}

static void end_alone(int fd)
{
    close(fd);
    end_process();
    websocket_ref_release(refs[0]);
}

static void close_client(int fd)
{
    shutdown(fd, SHUT_RDWR);
    turns_until(&closes, closes + 1);
}

static void count_run(websocket_t *ws, void *baton)
{
    ck_assert_ptr_eq(baton, &runs);
    atomic_fetch_add(&runs, 1);
    if (ws == NULL) {
        atomic_fetch_add(&nulls, 1);
    }
    else {
        ck_assert_ptr_eq(ws, atomic_load(&kept));
    }
}

static void run_never(websocket_t *ws, void *baton)
{
    (void)ws;
    (void)baton;
    ck_abort_msg("what was not taken runs");
}

/* --- references --- */

/* It frees what it has when the last is released, be that before or after the
 * connection is over. */
START_TEST(reference_outlives_the_connection)
{
    websocket_ref_t *more;
    long before;
    int fd = begin_alone();

    close(fd);
    fd = connect_to(contexts[0], workers[0]);
    turns_until(&closes, 1);
    turns_until(&opens, 2);
    websocket_ref_release(refs[0]);
    ws_test_alloc_begin();
    more = websocket_ref(kept);
    ck_assert_ptr_eq(websocket_ref_retain(more), more);
    ck_assert_int_eq(ws_test_alloc.live, 0); /* the connection has one */
    websocket_ref_release(more);
    websocket_ref_release(refs[1]);
    before = ws_test_alloc.live;
    close_client(fd);
    turn();
    ck_assert_int_lt(ws_test_alloc.live, before); /* the connection went */
    before = ws_test_alloc.live;
    ck_assert_int_eq(websocket_post(more, run_never, NULL), -1);
    ck_assert_int_eq(websocket_ref_send(more, WEBSOCKET_TEXT, "late", 4), -1);
    websocket_ref_release(more);
    ck_assert_int_eq(ws_test_alloc.live, before - 1);
    ws_test_alloc_end();
    close(fd);
    end_process();
}
END_TEST

START_TEST(reference_released_before_the_end_costs_nothing_then)
{
    int fd = begin_alone();
    int second;

    ws_test_alloc_begin();
    ws_test_alloc.counts = false;
    second = connect_to(contexts[0], workers[0]);
    ws_test_alloc.counts = true;
    turn();                                 /* makes a reference */
    websocket_ref_release(refs[1]);
    ck_assert_int_eq(ws_test_alloc.live, 1);
    close_client(second);
    turn();
    ck_assert_int_eq(ws_test_alloc.live, -1); /* the connection */
    ws_test_alloc_end();
    close(second);
    end_alone(fd);
}
END_TEST

static void refer_at_the_end(websocket_t *ws, unsigned code, const char *reason,
                             size_t length)
{
    on_close(ws, code, reason, length);
    refs[0] = websocket_ref(ws);
    ck_assert_ptr_nonnull(refs[0]);
}

START_TEST(reference_can_be_had_in_close)
{
    const websocket_handler_t late = {HANDLER("late"), .message = on_message,
                                      .close = refer_at_the_end};
    int fd;

    clear();
    begin_turns(&late);
    fd = connect_to(contexts[0], workers[0]);
    turn();
    close_client(fd);
    ck_assert_int_eq(websocket_post(refs[0], run_never, NULL), -1);
    end_alone(fd);
}
END_TEST

START_TEST(reference_without_memory_is_null)
{
    int fd = begin_alone();
    int second = connect_to(contexts[0], workers[0]);

    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    turn();
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    ck_assert_int_eq(opens, 2);
    ck_assert_ptr_null(refs[1]);
    refs[1] = websocket_ref(kept);
    ck_assert_ptr_nonnull(refs[1]);
    ck_assert_int_eq(websocket_post(refs[1], count_run, &runs), 0);
    turn();
    ck_assert_int_eq(runs, 1);
    websocket_ref_release(refs[1]);
    close(second);
    end_alone(fd);
}
END_TEST

/* --- posts --- */

static int order[10];
static int order_count;

static void run_in_order(websocket_t *ws, void *baton)
{
    ck_assert_ptr_eq(ws, kept);
    order[order_count++] = *(int *)baton;
}

START_TEST(posts_run_once_and_in_order)
{
    static int numbers[10];
    int fd = begin_alone();
    int i;

    order_count = 0;
    for (i = 0; i < 10; i++) {
        numbers[i] = i;
        ck_assert_int_eq(websocket_post(refs[0], run_in_order, &numbers[i]), 0);
    }
    ck_assert_int_eq(order_count, 0);       /* not out of here */
    turn();
    turn();
    ck_assert_int_eq(order_count, 10);
    for (i = 0; i < 10; i++) {
        ck_assert_int_eq(order[i], i);
    }
    end_alone(fd);
}
END_TEST

static void post_again(websocket_t *ws, void *baton)
{
    ck_assert_ptr_nonnull(ws);
    if (atomic_fetch_add(&runs, 1) < 4) {
        ck_assert_int_eq(websocket_post(baton, post_again, baton), 0);
    }
}

/* In the next turn: others have theirs in between. */
START_TEST(post_may_post_another)
{
    int fd = begin_alone();
    int i;

    ck_assert_int_eq(websocket_post(refs[0], post_again, refs[0]), 0);
    for (i = 1; i <= 5; i++) {
        turn();
        ck_assert_int_eq(runs, i);
    }
    turn();
    ck_assert_int_eq(runs, 5);
    end_alone(fd);
}
END_TEST

/* Its client has gone in the same turn, before it was run. */
START_TEST(post_that_comes_too_late_is_told)
{
    int fd = begin_alone();

    ck_assert_int_eq(websocket_post(refs[0], count_run, &runs), 0);
    ck_assert_int_eq(websocket_ref_send(refs[0], WEBSOCKET_TEXT, "x", 1), 0);
    close(fd);
    turn();
    ck_assert_int_eq(closes, 1);
    ck_assert_int_eq(runs, 1);
    ck_assert_int_eq(nulls, 1);
    ck_assert_int_eq(websocket_post(refs[0], run_never, NULL), -1);
    turn();
    end_alone(-1);
}
END_TEST

/* As long as there is a close callback to come. */
START_TEST(post_finds_a_connection_that_is_closing)
{
    int fd = begin_alone();

    websocket_close(kept, 4000, NULL);
    turn();
    ck_assert_int_eq(websocket_post(refs[0], count_run, &runs), 0);
    turn();
    ck_assert_int_eq(runs, 1);
    ck_assert_int_eq(nulls, 0);
    client_expect_close(fd, 4000, "");
    client_send_close(fd, 4000);
    turns_until(&closes, 1);
    ck_assert_int_eq(websocket_post(refs[0], run_never, NULL), -1);
    end_alone(fd);
}
END_TEST

/* A thread that posts more than is done is told so: of each connection. */
START_TEST(so_many_posts_may_wait_for_a_connection)
{
    int fds[2];
    int round;
    int i;

    fds[0] = begin_alone();
    fds[1] = connect_to(contexts[0], workers[0]);
    turns_until(&opens, 2);
    for (round = 0; round < 2; round++) {
        for (i = 0; i < WEBSOCKET_POSTS_MAX; i++) {
            ck_assert_int_eq(i % 2 == 0
                                 ? websocket_post(refs[1], count_run, &runs)
                                 : websocket_ref_send(refs[1], WEBSOCKET_BINARY,
                                                      NULL, 0),
                             0);
        }
        for (i = 0; i < 3; i++) {
            ck_assert_int_eq(websocket_post(refs[1], run_never, NULL), -1);
            ck_assert_int_eq(websocket_ref_send(refs[1], WEBSOCKET_TEXT, "x",
                                                1),
                             -1);
        }
        ck_assert_int_eq(websocket_ref_send(refs[0], WEBSOCKET_TEXT, "y", 1),
                         0);
        atomic_store(&runs, 0);
        turn();
        ck_assert_int_eq(runs, WEBSOCKET_POSTS_MAX / 2);
        client_expect(fds[0], 0x81, "y");
        for (i = 0; i < WEBSOCKET_POSTS_MAX / 2; i++) {
            client_expect(fds[1], 0x82, "");
        }
    }
    close(fds[1]);
    end_alone(fds[0]);
    websocket_ref_release(refs[1]);
}
END_TEST

/* And what is refused takes no place. */
START_TEST(post_without_memory_is_refused)
{
    int fd = begin_alone();
    int i;

    ws_test_alloc_begin();
    for (i = 0; i < WEBSOCKET_POSTS_MAX + 5; i++) {
        ws_test_alloc_fail(0, false);
        ck_assert_int_eq(i % 2 == 0
                             ? websocket_post(refs[0], run_never, NULL)
                             : websocket_ref_send(refs[0], WEBSOCKET_TEXT, "x",
                                                  1),
                         -1);
        ck_assert(ws_test_alloc_unfail());
    }
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ck_assert_int_eq(websocket_post(refs[0], count_run, &runs), 0);
    turn();
    ck_assert_int_eq(runs, 1);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    end_alone(fd);
}
END_TEST

/* --- messages --- */

START_TEST(messages_are_sent_as_they_were)
{
    static char large[3000];
    uint8_t back[3000];
    char text[] = "text";
    uint8_t first;
    size_t length;
    int fd = begin_alone();

    memset(large, 'l', sizeof(large));
    ck_assert_int_eq(websocket_ref_send(refs[0], WEBSOCKET_TEXT, text, 4), 0);
    memset(text, 'x', 4);                   /* it was copied */
    ck_assert_int_eq(websocket_ref_send(refs[0], WEBSOCKET_BINARY, large,
                                        sizeof(large)),
                     0);
    memset(large, 'x', sizeof(large));
    ck_assert_int_eq(websocket_ref_send(refs[0], WEBSOCKET_TEXT, NULL, 0), 0);
    turn();
    client_expect(fd, 0x81, "text");
    ck_assert(client_next(fd, &first, back, sizeof(back), &length));
    ck_assert_uint_eq(first, 0x82);
    ck_assert_uint_eq(length, sizeof(large));
    memset(large, 'l', sizeof(large));
    ck_assert_mem_eq(back, large, sizeof(large));
    client_expect(fd, 0x81, "");
    end_alone(fd);
}
END_TEST

/* --- threads --- */

static void begin_threaded(int *fds, int count)
{
    int i;

    clear();
    begin_process(&handler);
    for (i = 0; i < count; i++) {
        fds[i] = connect_to(contexts[0], workers[0]);
        wait_until(&opens, i + 1);
    }
}

typedef struct {
    int thread, number;
} numbered_t;

static int last[THREADS];            /* the loop's */
static atomic_int wrong;

static void run_numbered(websocket_t *ws, void *baton)
{
    numbered_t *numbered = baton;

    if (ws == NULL || !ws_loop_is_here(ws->link.loop) ||
        numbered->number != last[numbered->thread] + 1) {
        atomic_fetch_add(&wrong, 1);
    }
    last[numbered->thread] = numbered->number;
    free(numbered);
    atomic_fetch_add(&runs, 1);
}

/* As many as are taken, each with its number. */
static void *post_numbered(void *baton)
{
    const int count = ws_test_is_slow() ? 300 : 10000;
    const int thread = *(int *)baton;
    int number = 1;

    while (number <= count) {
        numbered_t *numbered = malloc(sizeof(*numbered));

        *numbered = (numbered_t){.thread = thread, .number = number};
        if (websocket_post(refs[0], run_numbered, numbered) == 0) {
            number++;
        }
        else {                              /* so many wait already */
            free(numbered);
            sched_yield();
        }
    }
    return NULL;
}

START_TEST(posts_of_each_thread_keep_their_order)
{
    const int count = ws_test_is_slow() ? 300 : 10000;
    pthread_t threads[THREADS];
    int ids[THREADS];
    int fds[1];
    int i;

    begin_threaded(fds, 1);
    atomic_store(&wrong, 0);
    for (i = 0; i < THREADS; i++) {
        ids[i] = i;
        last[i] = 0;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_numbered,
                                        &ids[i]),
                         0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    wait_until(&runs, THREADS * count);
    ck_assert_int_eq(wrong, 0);
    close(fds[0]);
    end_process();
    websocket_ref_release(refs[0]);
}
END_TEST

/* Threads with references of their own post and send to connections that close
 * meanwhile: what was taken is run, once, and what was not is not. */
static atomic_int taken;
static atomic_bool is_over;

static void count_taken(websocket_t *ws, void *baton)
{
    (void)baton;
    atomic_fetch_add(ws != NULL ? &runs : &nulls, 1);
}

static void *post_while_they_close(void *baton)
{
    websocket_ref_t *own[CLIENTS];
    int i;

    (void)baton;
    for (i = 0; i < CLIENTS; i++) {
        own[i] = websocket_ref_retain(refs[i]);
    }
    while (!atomic_load(&is_over)) {
        for (i = 0; i < CLIENTS; i++) {
            if (websocket_post(own[i], count_taken, NULL) == 0) {
                atomic_fetch_add(&taken, 1);
            }
            websocket_ref_send(own[i], WEBSOCKET_TEXT, "x", 1);
        }
        sched_yield();
    }
    for (i = 0; i < CLIENTS; i++) {
        websocket_ref_release(own[i]);
    }
    return NULL;
}

START_TEST(posts_while_connections_close_are_run_or_refused)
{
    const int rounds = ws_test_is_slow() ? 2 : 20;
    pthread_t threads[THREADS];
    int fds[CLIENTS];
    int round;
    int i;

    for (round = 0; round < rounds; round++) {
        begin_threaded(fds, CLIENTS);
        atomic_store(&taken, 0);
        atomic_store(&is_over, false);
        for (i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                            post_while_they_close, NULL),
                             0);
        }
        for (i = 0; i < CLIENTS; i++) {
            close(fds[i]);
        }
        if (round % 2 == 0) {
            wait_until(&closes, CLIENTS);
        }
        stop_workers();
        atomic_store(&is_over, true);
        for (i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        ck_assert_int_eq(runs + nulls, taken);
        end_process();
        for (i = 0; i < CLIENTS; i++) {
            websocket_ref_release(refs[i]);
        }
    }
}
END_TEST

static void *release_one(void *baton)
{
    int i;

    for (i = 0; i < 100; i++) {
        websocket_ref_release(websocket_ref_retain(baton));
    }
    websocket_ref_release(baton);
    return NULL;
}

/* The last is one of them, or the connection itself. */
START_TEST(last_release_frees_in_whatever_thread)
{
    const int rounds = ws_test_is_slow() ? 10 : 200;
    pthread_t threads[THREADS];
    int round;
    int fds[1];
    int i;

    begin_threaded(fds, 0);
    for (round = 0; round < rounds; round++) {
        atomic_store(&opens, 0);
        fds[0] = connect_to(contexts[0], workers[0]);
        wait_until(&opens, 1);
        for (i = 1; i < THREADS; i++) {
            websocket_ref_retain(refs[0]);
        }
        for (i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, release_one,
                                            refs[0]),
                             0);
        }
        close(fds[0]);
        for (i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    end_process();
    ck_assert_int_eq(closes, rounds);
}
END_TEST

/* --- another process --- */

static pid_t here;
static char texts[][8] = {"second", "third", "fourth", "late"};

/* This process's copy of it does nothing. */
static void send_there(websocket_t *ws, void *baton)
{
    if (getpid() != here) {
        websocket_send(ws, WEBSOCKET_TEXT, baton, strlen(baton));
    }
}

static void serve_there(void)
{
    ws_worker_pass(workers[0], here, getpid());
    ws_loop_end_when_empty(ws_worker_loop(workers[0]));
    if (ws_worker_move(workers[0]) != WS_OK) {
        _exit(1);
    }
    ws_process_move(&process);
    if (ws_worker_start(workers[0]) != WS_OK ||
        websocket_post(refs[0], send_there, texts[2]) != 0 ||
        !ws_worker_wait(workers[0], LIMIT_MS)) {
        _exit(2);
    }
    _exit(websocket_post(refs[0], send_there, texts[3]) == -1 ? 0 : 3);
}

/* What was posted in a pause, and before it, and what is posted over there. */
START_TEST(posts_move_with_the_connection)
{
    int status = -1;
    int fds[1];
    pid_t there;

    here = getpid();
    begin_threaded(fds, 1);
    client_send_text(fds[0], "first");
    client_expect(fds[0], 0x81, "first");
    pause_threads();
    ck_assert_int_eq(websocket_post(refs[0], send_there, texts[0]), 0);
    ck_assert_int_eq(websocket_post(refs[0], send_there, texts[1]), 0);
    ck_assert(ws_process_pause(&process, LIMIT_MS));
    there = fork();
    if (there == 0) {
        serve_there();
    }
    ck_assert_int_gt(there, 0);
    ws_worker_pass(workers[0], here, there);
    client_expect(fds[0], 0x81, "second");
    client_expect(fds[0], 0x81, "third");
    client_expect(fds[0], 0x81, "fourth");
    client_send_text(fds[0], "fifth");
    client_expect(fds[0], 0x81, "fifth");
    shutdown(fds[0], SHUT_RDWR);
    ck_assert_int_eq(waitpid(there, &status, 0), there);
    ck_assert_msg(status == 0, "ended with status %x", (unsigned)status);
    close(fds[0]);
    stop_workers();                         /* here they just end */
    free_workers();
    websocket_ref_release(refs[0]);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(reference_outlives_the_connection),
        WS_TEST(reference_released_before_the_end_costs_nothing_then),
        WS_TEST(reference_can_be_had_in_close),
        WS_TEST(reference_without_memory_is_null),
        WS_TEST(posts_run_once_and_in_order),
        WS_TEST(post_may_post_another),
        WS_TEST(post_that_comes_too_late_is_told),
        WS_TEST(post_finds_a_connection_that_is_closing),
        WS_TEST(so_many_posts_may_wait_for_a_connection),
        WS_TEST(post_without_memory_is_refused),
        WS_TEST(messages_are_sent_as_they_were),
        WS_TEST(posts_of_each_thread_keep_their_order),
        WS_TEST(posts_while_connections_close_are_run_or_refused),
        WS_TEST(last_release_frees_in_whatever_thread),
        WS_TEST(posts_move_with_the_connection),
    };
    int result;

    apr_initialize();
    result = ws_test_run("ref", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
