/* Workers that pause and go on, here or in a process that was forked; stops
 * that take their time. With real sockets, threads and processes. */
#include <apr_general.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>

#include "ws_frame.h"
#include "ws_test.h"
#include "ws_test_socket.h"
#include "ws_worker.h"

/* An echo that is also sent what is published to TOPIC. */
typedef struct {
    ws_link_t link;
    ws_task_t task;
    ws_hub_t *hub;
    ws_subscriber_t subscriber;
} owner_t;

#define TOPIC "room"

static apr_pool_t *pool;
static ws_log_t *log_;
static ws_worker_t *worker;
static atomic_int opened;
static atomic_int closed;
static atomic_int last_code;
static atomic_int destroyed;

static const ws_conn_limits_t limits = {.max_message = 65536,
                                        .send_queue = 65536,
                                        .close_timeout = 1000 * WS_TEST_LIMIT};
static ws_conn_limits_t pinging;

/* --- the connections --- */

static owner_t *owner_of(ws_conn_t *c)
{
    return (owner_t *)((char *)c - offsetof(owner_t, link.conn));
}

static void on_open(ws_conn_t *c)
{
    owner_t *owner = owner_of(c);

    atomic_fetch_add(&opened, 1);
    if (ws_hub_subscribe(owner->hub, &owner->subscriber, TOPIC,
                         strlen(TOPIC)) != WS_OK) {
        abort();
    }
}

static void on_message(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                       size_t length)
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
    owner_t *owner = owner_of(c);

    (void)reason;
    (void)length;
    ws_hub_unsubscribe_all(owner->hub, &owner->subscriber);
    atomic_store(&last_code, code);
    atomic_fetch_add(&closed, 1);
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
    atomic_fetch_add(&destroyed, 1);
    free(link);
}

static void run_add(ws_loop_t *loop, ws_task_t *task)
{
    owner_t *owner = (owner_t *)((char *)task - offsetof(owner_t, task));
    ws_conn_t *c = &owner->link.conn;

    owner->subscriber.conn = c;
    owner->subscriber.id = ws_log_next_id(log_);
    ws_conn_init(c, ws_loop_turn(loop), &pinging, &callbacks);
    if (ws_loop_add(loop, &owner->link, NULL, 0) != WS_OK) {
        abort();
    }
}

static int connect_one(bool is_bound)
{
    owner_t *owner = calloc(1, sizeof(*owner));
    int server;
    int fd = client_open(&server);

    ws_io_init_fd(&owner->link.conn.io, server);
    owner->link.destroy = destroy;
    owner->link.is_bound = is_bound;
    owner->hub = ws_worker_hub(worker);
    owner->task.run = run_add;
    ck_assert(ws_loop_post(ws_worker_loop(worker), &owner->task));
    return fd;
}

static void echo(int fd, const char *text)
{
    client_send_text(fd, text);
    client_expect(fd, 0x81, text);
}

static int connect_client(void)
{
    int fd = connect_one(false);

    echo(fd, "first");
    return fd;
}

static void publish(const char *text)
{
    ws_record_t record = {.topic = TOPIC,
                          .topic_length = strlen(TOPIC),
                          .opcode = WS_OP_TEXT,
                          .data = (const uint8_t *)text,
                          .length = strlen(text)};

    ck_assert_int_eq(ws_log_append(log_, &record, NULL), WS_OK);
}

/* --- the worker --- */

static void begin(void)
{
    pinging = limits;
    atomic_store(&opened, 0);
    atomic_store(&closed, 0);
    atomic_store(&destroyed, 0);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, 3), WS_OK);
    worker = ws_worker_create(log_, NULL, NULL, pool);
    ck_assert_ptr_nonnull(worker);
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
}

static void pause_worker(void)
{
    ws_worker_pause(worker);
    ck_assert(ws_worker_wait(worker, WS_TEST_LIMIT * 1000));
}

static void end(void)
{
    ws_worker_stop(worker, 1001, "end", 0);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
    ck_assert_int_eq(closed, opened);
    ck_assert_int_eq(destroyed, opened);
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}

static bool is_silent(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 50) == 0;
}

/* --- a pause --- */

START_TEST(pause_keeps_everything)
{
    int late;
    int fd;

    begin();
    fd = connect_client();
    pause_worker();
    client_send_text(fd, "in the pause");
    late = connect_one(false);
    client_send_text(late, "posted");
    publish("published");
    ck_assert(is_silent(fd));
    ck_assert(!ws_loop_is_empty(ws_worker_loop(worker)));
    ck_assert_uint_eq(ws_loop_count(ws_worker_loop(worker)), 1);
    ck_assert_uint_eq(ws_worker_count(worker), 1);
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
    client_expect(fd, 0x81, "in the pause");
    client_expect(fd, 0x81, "published");
    client_expect(late, 0x81, "posted");
    echo(fd, "on it goes");
    end();
    client_expect_close(fd, 1001, "end");
    close(fd);
    close(late);
}
END_TEST

START_TEST(pauses_and_goes_on_many_times)
{
    const int rounds = ws_test_is_slow() ? 20 : 300;
    int fd;
    int i;

    begin();
    fd = connect_client();
    for (i = 0; i < rounds; i++) {
        client_send_text(fd, "before");
        pause_worker();
        ck_assert_int_eq(ws_worker_start(worker), WS_OK);
        client_expect(fd, 0x81, "before");
    }
    end();
    close(fd);
}
END_TEST

/* A thread that ends at once has ended, whoever sees it first. */
START_TEST(thread_that_ends_at_once_is_waited_for)
{
    const int rounds = ws_test_is_slow() ? 50 : 2000;
    int i;

    begin();
    pause_worker();
    for (i = 0; i < rounds; i++) {
        ws_loop_end_when_empty(ws_worker_loop(worker));
        ck_assert_int_eq(ws_worker_start(worker), WS_OK);
        ck_assert(ws_worker_wait(worker, WS_TEST_LIMIT * 1000));
    }
    end();
}
END_TEST

START_TEST(deadline_that_comes_in_a_pause_is_kept)
{
    int fd;

    begin();
    pinging.ping_interval = 30;
    pinging.ping_timeout = 1000 * WS_TEST_LIMIT;
    fd = connect_client();
    client_expect(fd, 0x89, "");
    pause_worker();
    client_send_text(fd, "alive");
    ck_assert(is_silent(fd));
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
    client_expect(fd, 0x81, "alive");
    client_expect(fd, 0x89, "");
    end();
    close(fd);
}
END_TEST

START_TEST(pause_drops_what_is_bound)
{
    int bound;
    int fd;

    begin();
    fd = connect_client();
    bound = connect_one(true);
    echo(bound, "x");
    pause_worker();
    client_expect_end(bound);
    ck_assert_int_eq(closed, 1);
    ck_assert_int_eq(destroyed, 1);
    ck_assert_int_eq(last_code, 1006);
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
    echo(fd, "stays");
    end();
    close(bound);
    close(fd);
}
END_TEST

START_TEST(empty_worker_is_freed_after_a_pause)
{
    begin();
    pause_worker();
    ck_assert(ws_loop_is_empty(ws_worker_loop(worker)));
    ck_assert(ws_worker_join(worker, 0));
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}
END_TEST

static sem_t go_on;

static void run_wait(ws_loop_t *loop, ws_task_t *task)
{
    (void)loop;
    (void)task;
    while (sem_wait(&go_on) != 0) {
        continue;
    }
}

START_TEST(pause_of_a_worker_that_is_held_up_can_be_taken_back)
{
    ws_task_t task = {.run = run_wait};
    int fd;

    sem_init(&go_on, 0, 0);
    begin();
    fd = connect_client();
    ck_assert(ws_loop_post(ws_worker_loop(worker), &task));
    ws_worker_pause(worker);
    ck_assert(!ws_worker_wait(worker, 20));
    ws_loop_unpause(ws_worker_loop(worker));
    sem_post(&go_on);
    echo(fd, "runs");
    end();
    close(fd);
    sem_destroy(&go_on);
}
END_TEST

START_TEST(stop_after_a_pause_can_be_finished_without_a_thread)
{
    int fd;

    begin();
    fd = connect_client();
    pause_worker();
    client_send_close(fd, 1012);
    ws_worker_drain(worker, 1012, "restart", 0, 1000 * WS_TEST_LIMIT);
    shutdown(fd, SHUT_WR);
    ws_worker_finish(worker);
    ck_assert_int_eq(destroyed, 1);
    ck_assert(ws_worker_join(worker, 0));
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
    close(fd);
}
END_TEST

/* --- another process --- */

static void end_process(void)
{
    _exit(ws_worker_join(worker, WS_TEST_LIMIT * 1000) && closed == opened &&
                  destroyed == opened
              ? 0
              : 1);
}

/* Forks; the new process serves until its last connection has ended. */
static pid_t move_worker(void)
{
    pid_t here = getpid();
    pid_t there = fork();

    ck_assert_int_ge(there, 0);
    if (there == 0) {
        ws_worker_pass(worker, here, getpid());
        ws_loop_end_when_empty(ws_worker_loop(worker));
        if (ws_worker_move(worker) != WS_OK ||
            ws_worker_start(worker) != WS_OK) {
            _exit(2);
        }
        end_process();
    }
    ws_worker_pass(worker, here, there);
    return there;
}

static void expect_good_end(pid_t pid)
{
    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "ended with status %x", (unsigned)status);
}

/* Here they were never closed: the process just ends. */
static void forget_worker(void)
{
    ws_worker_stop(worker, 1001, "", 0);
    ws_worker_finish(worker);
    ck_assert(ws_worker_join(worker, 0));
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}

START_TEST(connections_live_on_in_another_process)
{
    pid_t pid;
    int fds[20];
    int late;
    int i;

    begin();
    for (i = 0; i < 20; i++) {
        fds[i] = connect_client();
    }
    pause_worker();
    client_send_text(fds[0], "in between");
    late = connect_one(false);
    publish("one");
    pid = move_worker();
    echo(late, "late");                     /* it came behind "one" */
    publish("two");
    client_expect(fds[0], 0x81, "in between");
    for (i = 0; i < 20; i++) {
        client_expect(fds[i], 0x81, "one");
        client_expect(fds[i], 0x81, "two");
        echo(fds[i], "over there");
    }
    client_expect(late, 0x81, "two");
    ck_assert_uint_eq(ws_log_totals(log_).connections, 21);
    ck_assert_int_eq(ws_log_subscribers(log_, TOPIC, strlen(TOPIC)), 21);
    for (i = 0; i < 20; i++) {
        shutdown(fds[i], SHUT_RDWR);
    }
    publish("three");
    client_expect(late, 0x81, "three");
    echo(late, "alone");
    shutdown(late, SHUT_RDWR);
    expect_good_end(pid);
    ck_assert_uint_eq(ws_log_totals(log_).connections, 0);
    ck_assert_int_eq(ws_log_subscribers(log_, TOPIC, strlen(TOPIC)), 0);
    forget_worker();
    for (i = 0; i < 20; i++) {
        close(fds[i]);
    }
    close(late);
}
END_TEST

/* What is polled with is not shared: this process gives up its own. */
START_TEST(other_process_polls_for_itself)
{
    pid_t pid;
    int fd;

    begin();
    fd = connect_client();
    pause_worker();
    pid = move_worker();
    echo(fd, "there");
    forget_worker();                        /* polls for it no more */
    client_expect_close(fd, 1001, "");
    echo(fd, "still there");
    shutdown(fd, SHUT_RDWR);
    expect_good_end(pid);
    close(fd);
}
END_TEST

START_TEST(slot_of_the_log_is_passed_on)
{
    ws_log_slot_t *slots[3];
    pid_t pid;
    int fd;

    begin();
    fd = connect_client();
    pause_worker();
    pid = move_worker();
    slots[0] = ws_log_slot_take(log_);
    slots[1] = ws_log_slot_take(log_);
    ck_assert_ptr_nonnull(slots[1]);
    ck_assert_ptr_null(ws_log_slot_take(log_));
    echo(fd, "there");
    shutdown(fd, SHUT_RDWR);
    expect_good_end(pid);
    slots[2] = ws_log_slot_take(log_);      /* it was freed over there */
    ck_assert_ptr_nonnull(slots[2]);
    /* what is no longer ours is not passed on */
    ws_log_slot_pass(slots[2], pid, getppid());
    ck_assert_uint_eq(slots[2]->owner, (uint32_t)getpid());
    forget_worker();
    close(fd);
}
END_TEST

/* --- stops that take their time --- */

#define SPREAD 400

START_TEST(drain_spreads_the_closes)
{
    const int count = 8;
    int64_t times[8];
    int64_t began;
    int fds[8];
    int i;

    begin();
    for (i = 0; i < count; i++) {
        fds[i] = connect_client();
    }
    began = ws_test_now();
    ws_worker_drain(worker, 1012, "restart", SPREAD, 1000 * WS_TEST_LIMIT);
    /* who came last goes first */
    for (i = count; i-- > 0;) {
        client_expect_close(fds[i], 1012, "restart");
        times[i] = ws_test_now() - began;
        client_send_close(fds[i], 1012);
        client_expect_end(fds[i]);
        close(fds[i]);
    }
    for (i = 0; i < count; i++) {           /* none before its time */
        ck_assert_int_ge(times[i], SPREAD * (count - 1 - i) / count - 1);
    }
    ck_assert(ws_worker_join(worker, 1000 * WS_TEST_LIMIT));
    ck_assert_int_eq(destroyed, count);
    ck_assert_int_eq(last_code, 1012);
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}
END_TEST

/* Those whose turn has not come talk on, and may leave by themselves. */
START_TEST(drain_lets_others_talk_on)
{
    int fds[4];
    int late;
    int i;

    begin();
    for (i = 0; i < 4; i++) {
        fds[i] = connect_client();
    }
    ws_worker_drain(worker, 1012, "restart", 1000 * WS_TEST_LIMIT,
                    1000 * WS_TEST_LIMIT);
    late = connect_one(false);              /* closed at once */
    client_expect_close(late, 1012, "restart");
    for (i = 0; i < 3; i++) {
        echo(fds[i], "still here");
        close(fds[i]);
    }
    shutdown(fds[3], SHUT_RDWR);
    close(fds[3]);
    close(late);
    ck_assert(ws_worker_join(worker, 1000 * WS_TEST_LIMIT));
    ck_assert_int_eq(destroyed, 5);
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}
END_TEST

/* The next to be closed leaves before its turn comes. */
START_TEST(drain_goes_on_behind_one_that_left)
{
    int fds[4];
    int i;

    begin();
    for (i = 0; i < 4; i++) {
        fds[i] = connect_client();
    }
    ws_worker_drain(worker, 1012, "restart", 2 * SPREAD,
                    1000 * WS_TEST_LIMIT * 10);
    shutdown(fds[3], SHUT_RDWR);
    for (i = 3; i-- > 0;) {
        client_expect_close(fds[i], 1012, "restart");
        client_send_close(fds[i], 1012);
        client_expect_end(fds[i]);
        close(fds[i]);
    }
    close(fds[3]);
    ck_assert(ws_worker_join(worker, 1000 * WS_TEST_LIMIT));
    ck_assert_int_eq(destroyed, 4);
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}
END_TEST

START_TEST(only_bound_ones_are_closed)
{
    int early;
    int late;
    int fd;

    begin();
    early = connect_one(true);
    echo(early, "x");
    fd = connect_client();
    ws_worker_close_bound(worker, 1012, "restart");
    ws_worker_close_bound(worker, 1001, "the first one counts");
    client_expect_close(early, 1012, "restart");
    late = connect_one(true);
    client_expect_close(late, 1012, "restart");
    echo(fd, "stays");
    end();
    client_expect_close(fd, 1001, "end");
    close(early);
    close(late);
    close(fd);
}
END_TEST

static void on_signal(int number)
{
    (void)number;
    ws_worker_stop(worker, 1001, "by a signal", 1000 * WS_TEST_LIMIT);
}

START_TEST(stop_may_come_from_a_signal_handler)
{
    int fd;

    begin();
    signal(SIGUSR1, on_signal);
    fd = connect_client();
    raise(SIGUSR1);
    ws_worker_stop(worker, 1012, "too late", 0);
    client_expect_close(fd, 1001, "by a signal");
    client_send_close(fd, 1001);
    client_expect_end(fd);
    close(fd);
    ck_assert(ws_worker_join(worker, 1000 * WS_TEST_LIMIT));
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(pause_keeps_everything),
        WS_TEST(pauses_and_goes_on_many_times),
        WS_TEST(thread_that_ends_at_once_is_waited_for),
        WS_TEST(deadline_that_comes_in_a_pause_is_kept),
        WS_TEST(pause_drops_what_is_bound),
        WS_TEST(empty_worker_is_freed_after_a_pause),
        WS_TEST(pause_of_a_worker_that_is_held_up_can_be_taken_back),
        WS_TEST(stop_after_a_pause_can_be_finished_without_a_thread),
        WS_TEST(connections_live_on_in_another_process),
        WS_TEST(other_process_polls_for_itself),
        WS_TEST(slot_of_the_log_is_passed_on),
        WS_TEST(drain_spreads_the_closes),
        WS_TEST(drain_lets_others_talk_on),
        WS_TEST(drain_goes_on_behind_one_that_left),
        WS_TEST(only_bound_ones_are_closed),
        WS_TEST(stop_may_come_from_a_signal_handler),
    };
    int result;

    apr_initialize();
    result = ws_test_run("move", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
