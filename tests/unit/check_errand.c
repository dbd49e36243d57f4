/* websocket_offload(): work in other threads, for connections that may be over
 * by the time it is done. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "ws_test_alloc.h"
#include "ws_test_worker.h"

/* --- a handler each of whose messages is work that waits for the test --- */

static sem_t go_on;
static atomic_int offloaded;         /* accepted */
static atomic_int refused;
static atomic_int works;             /* begun */
static atomic_int dones;
static atomic_int dones_over;        /* of connections that are over */
static atomic_int dones_here;        /* in the test's thread */
static atomic_int closes;
static pthread_t test_thread;
static pthread_t loop_thread;
static pthread_t done_thread;
static websocket_t *opened;

static void work(void *baton)
{
    ck_assert_ptr_eq(baton, &works);
    atomic_fetch_add(&works, 1);
    sem_wait(&go_on);
}

static void done(websocket_t *ws, void *baton)
{
    ck_assert_ptr_eq(baton, &works);
    done_thread = pthread_self();
    atomic_fetch_add(&dones_over, ws == NULL);
    atomic_fetch_add(&dones_here,
                     pthread_equal(done_thread, test_thread) != 0);
    if (ws != NULL) {
        websocket_send(ws, WEBSOCKET_TEXT, "done", 4);
    }
    atomic_fetch_add(&dones, 1);
}

static void on_open(websocket_t *ws)
{
    opened = ws;
    loop_thread = pthread_self();
}

static void on_message(websocket_t *ws, int type, const void *data,
                       size_t length)
{
    (void)type;
    if (length == 1 && *(const char *)data == 'c') {
        websocket_close(ws, 1000, NULL);
    }
    if (websocket_offload(ws, work, done, &works) == 0) {
        atomic_fetch_add(&offloaded, 1);
    }
    else {
        atomic_fetch_add(&refused, 1);
    }
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

static const websocket_handler_t handler = {
    HANDLER("errands"), .open = on_open, .message = on_message,
    .close = on_close};

static void clear(void)
{
    atomic_store(&offloaded, 0);
    atomic_store(&refused, 0);
    atomic_store(&works, 0);
    atomic_store(&dones, 0);
    atomic_store(&dones_over, 0);
    atomic_store(&dones_here, 0);
    test_thread = pthread_self();
    atomic_store(&closes, 0);
    ck_assert_int_eq(sem_init(&go_on, 0, 0), 0);
}

/* Returns a client. */
static int begin(unsigned threads, unsigned queue)
{
    clear();
    begin_process(&handler);
    process.offload = ws_offload_create(threads, queue);
    ck_assert_ptr_nonnull(process.offload);
    return connect_to(contexts[0], workers[0]);
}

static void release(int count)
{
    while (count-- > 0) {
        sem_post(&go_on);
    }
}

/* --- */

START_TEST(done_is_called_in_the_loop)
{
    int fd = begin(1, 0);

    client_send_text(fd, "w");
    wait_until(&works, 1);
    ck_assert_int_eq(dones, 0);
    release(1);
    client_expect(fd, 0x81, "done");
    ck_assert(pthread_equal(done_thread, loop_thread));
    ck_assert_int_eq(dones_over, 0);
    end_process();
    ck_assert_int_eq(dones, 1);
    close(fd);
}
END_TEST

START_TEST(connection_that_is_over_is_null)
{
    int fd = begin(1, 0);

    client_send_text(fd, "w");
    wait_until(&works, 1);
    close(fd);
    wait_until(&closes, 1);
    ck_assert_int_eq(dones, 0);
    release(1);
    wait_until(&dones, 1);
    ck_assert_int_eq(dones_over, 1);
    ck_assert(pthread_equal(done_thread, loop_thread));
    end_process();
}
END_TEST

START_TEST(what_is_too_much_is_refused)
{
    int fd = begin(1, 1);

    client_send_text(fd, "w");
    wait_until(&works, 1);
    client_send_text(fd, "w");
    wait_until(&offloaded, 2);
    client_send_text(fd, "w");
    wait_until(&refused, 1);
    release(2);
    client_expect(fd, 0x81, "done");
    client_expect(fd, 0x81, "done");
    ck_assert_int_eq(works, 2);
    end_process();
    ck_assert_int_eq(dones, 2);
    close(fd);
}
END_TEST

START_TEST(closing_connection_is_refused)
{
    int fd = begin(1, 1);

    client_send_text(fd, "c");
    wait_until(&refused, 1);
    ck_assert_int_eq(offloaded, 0);
    end_process();
    ck_assert_int_eq(works, 0);
    close(fd);
}
END_TEST

START_TEST(without_a_pool_all_is_refused)
{
    int fd;

    clear();
    begin_process(&handler);
    fd = connect_to(contexts[0], workers[0]);
    client_send_text(fd, "w");
    wait_until(&refused, 1);
    end_process();
    close(fd);
}
END_TEST

/* _i: the allocation that fails. */
START_TEST(out_of_memory_refuses)
{
    int fd;

    clear();
    begin_turns(&handler);
    process.offload = ws_offload_create(1, 1);
    fd = connect_to(contexts[0], workers[0]);
    turn();
    ws_test_alloc_begin();
    ws_test_alloc_fail(_i, false);
    ck_assert_int_eq(websocket_offload(opened, work, done, &works), -1);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();                     /* it is for one thread */
    ck_assert_int_eq(websocket_offload(opened, work, done, &works), 0);
    release(1);
    turns_until(&dones, 1);
    ck_assert_int_eq(dones, 1);
    end_process();
    close(fd);
}
END_TEST

/* What close and done have in common is used by one at a time. */
START_TEST(where_the_loop_has_ended_done_waits_for_the_end)
{
    int fd = begin(1, 1);

    client_send_text(fd, "w");
    client_send_text(fd, "w");
    wait_until(&works, 1);
    wait_until(&offloaded, 2);
    stop_workers();
    ck_assert_int_eq(closes, 1);
    ck_assert(!ws_process_end(&process, 0));
    ck_assert_int_eq(dones, 0);
    release(1);
    ck_assert(ws_process_end(&process, LIMIT_MS));
    ck_assert_int_eq(works, 1);              /* the other never began */
    ck_assert_int_eq(dones, 2);
    ck_assert_int_eq(dones_over, 2);
    ck_assert_int_eq(dones_here, 2);
    free_workers();
    close(fd);
}
END_TEST

START_TEST(what_waits_goes_on_after_a_pause)
{
    int fd = begin(1, 5);

    client_send_text(fd, "w");
    client_send_text(fd, "w");
    wait_until(&works, 1);
    wait_until(&offloaded, 2);
    pause_threads();
    ck_assert(!ws_process_pause(&process, 0));
    release(1);
    wait_until(&works, 2);                   /* it went on already */
    release(1);
    ck_assert(ws_process_pause(&process, LIMIT_MS));
    ck_assert_int_eq(dones, 0);
    ws_process_go_on(&process);
    start_threads();
    client_expect(fd, 0x81, "done");
    client_expect(fd, 0x81, "done");
    end_process();
    ck_assert_int_eq(dones, 2);
    close(fd);
}
END_TEST

/* --- threads of handlers --- */

static atomic_int blocked;

static void *look_at_signals(void *baton)
{
    sigset_t mask;

    (void)baton;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    atomic_store(&blocked, sigismember(&mask, SIGTERM) == 1 &&
                               sigismember(&mask, SIGUSR1) == 1 &&
                               sigismember(&mask, SIGALRM) == 0);
    return NULL;
}

static int start_thread(websocket_context_t *context)
{
    pthread_t thread;

    (void)context;
    ck_assert_int_eq(pthread_create(&thread, NULL, look_at_signals, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return 0;
}

START_TEST(threads_of_child_init_take_no_signals)
{
    static const websocket_handler_t threaded = {
        HANDLER("threaded"), .child_init = start_thread,
        .message = on_message};
    sigset_t before;
    sigset_t after;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    atomic_store(&blocked, 0);
    begin_turns(&threaded);
    ck_assert_int_eq(blocked, 1);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    ck_assert_int_eq(sigismember(&before, SIGTERM),
                     sigismember(&after, SIGTERM));
    end_process();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(done_is_called_in_the_loop),
        WS_TEST(connection_that_is_over_is_null),
        WS_TEST(what_is_too_much_is_refused),
        WS_TEST(closing_connection_is_refused),
        WS_TEST(without_a_pool_all_is_refused),
        WS_TEST_LOOP(out_of_memory_refuses, 2),
        WS_TEST(where_the_loop_has_ended_done_waits_for_the_end),
        WS_TEST(what_waits_goes_on_after_a_pause),
        WS_TEST(threads_of_child_init_take_no_signals),
    };
    int result;

    apr_initialize();
    result = ws_test_run("errand", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
