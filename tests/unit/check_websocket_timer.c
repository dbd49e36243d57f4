/* ws_websocket_timer: timers of connections. A worker runs a turn at a time in
 * the test's own thread, which may do what callbacks may. */
#include "ws_test_alloc.h"
#include "ws_test_worker.h"

static websocket_t *kept;            /* that was opened last */
static atomic_int opens;
static atomic_int closes;
static bool is_closed;               /* kept */

static void on_open(websocket_t *ws)
{
    kept = ws;
    is_closed = false;
    atomic_fetch_add(&opens, 1);
}

static void on_message(websocket_t *ws, int type, const void *data,
                       size_t length)
{
    websocket_send(ws, type, data, length);
}

static websocket_timer_t *of_close;  /* that was begun in close */

static void run_never(websocket_t *ws, void *baton)
{
    (void)ws;
    (void)baton;
    ck_abort_msg("a timer runs");
}

static void on_close(websocket_t *ws, unsigned code, const char *reason,
                     size_t length)
{
    (void)code;
    (void)reason;
    (void)length;
    of_close = websocket_timer_start(ws, 0, 0, run_never, NULL);
    is_closed = ws == kept || is_closed;
    atomic_fetch_add(&closes, 1);
}

static const websocket_handler_t handler = {HANDLER("timed"), .open = on_open,
                                            .message = on_message,
                                            .close = on_close};

static int begin(void)
{
    int fd;

    atomic_store(&opens, 0);
    atomic_store(&closes, 0);
    begin_turns(&handler);
    fd = connect_to(contexts[0], workers[0]);
    turn();
    ck_assert_int_eq(opens, 1);
    return fd;
}

static void end(int fd)
{
    close(fd);
    end_process();
    ck_assert_int_eq(closes, opens);
    ck_assert_ptr_null(of_close);
}

/* --- a timer that knows when it is to run --- */

typedef struct alarm alarm_t;

struct alarm {
    websocket_t *ws;
    websocket_timer_t *timer;
    int64_t set, first, interval;    /* ms, on the loop's clock */
    atomic_int runs;
    void (*act)(alarm_t *alarm);    /* in its run; may be NULL */
    alarm_t *other;
};

static int64_t loop_now(void)
{
    return ws_loop_turn(ws_worker_loop(workers[0]))->now;
}

static void run(websocket_t *ws, void *baton)
{
    alarm_t *alarm = baton;

    ck_assert(!is_closed);
    ck_assert_ptr_eq(ws, alarm->ws);
    ck_assert_int_ge(loop_now() - alarm->set - alarm->first,
                     alarm->runs * alarm->interval);
    atomic_fetch_add(&alarm->runs, 1);
    if (alarm->act != NULL) {
        alarm->act(alarm);
    }
}

static void set(alarm_t *alarm, int64_t first, int64_t interval)
{
    *alarm = (alarm_t){.ws = kept,
                       .set = loop_now(),
                       .first = first > 0 ? first : 0,
                       .interval = interval > 0 ? interval : 0};
    alarm->timer = websocket_timer_start(kept, first, interval, run, alarm);
    ck_assert_ptr_nonnull(alarm->timer);
}

/* --- when it runs --- */

START_TEST(timer_runs_once_or_again_and_again)
{
    alarm_t at_once;
    alarm_t negative;
    alarm_t once;
    alarm_t again;
    alarm_t far;
    int fd = begin();

    set(&at_once, 0, 0);
    set(&negative, -3, -3);
    set(&once, 20, 0);
    set(&again, 10, 5);
    set(&far, INT64_MAX, INT64_MAX);
    ck_assert_int_eq(at_once.runs, 0);      /* not out of here */
    turns_until(&again.runs, 5);
    ck_assert_int_eq(at_once.runs, 1);
    ck_assert_int_eq(negative.runs, 1);
    ck_assert_int_eq(once.runs, 1);
    ck_assert_int_eq(far.runs, 0);
    end(fd);
}
END_TEST

START_TEST(interval_may_be_as_long_as_can_be_said)
{
    alarm_t alarm;
    int fd = begin();

    set(&alarm, 0, INT64_MAX);
    turns_until(&alarm.runs, 1);
    turn();
    ck_assert_int_eq(alarm.runs, 1);
    end(fd);
}
END_TEST

START_TEST(timers_of_connections_are_their_own)
{
    alarm_t alarms[4];
    int fds[4];
    int i;

    fds[0] = begin();
    set(&alarms[0], 0, 1);
    for (i = 1; i < 4; i++) {
        fds[i] = connect_to(contexts[0], workers[0]);
        turns_until(&opens, i + 1);
        set(&alarms[i], i, 1);
    }
    turns_until(&alarms[3].runs, 3);
    close(fds[1]);
    turns_until(&closes, 1);
    alarms[1].runs = 0;
    turns_until(&alarms[0].runs, alarms[0].runs + 5);
    turns_until(&alarms[2].runs, alarms[2].runs + 5);
    ck_assert_int_eq(alarms[1].runs, 0);
    close(fds[2]);
    close(fds[3]);
    end(fds[0]);
}
END_TEST

/* --- stopping --- */

START_TEST(timer_that_is_stopped_runs_no_more)
{
    alarm_t never;
    alarm_t again;
    alarm_t other;
    int fd = begin();

    set(&never, 0, 1);
    set(&again, 0, 1);
    set(&other, 0, 1);
    websocket_timer_stop(never.timer);
    turns_until(&again.runs, 3);
    websocket_timer_stop(again.timer);
    turns_until(&other.runs, other.runs + 3);
    ck_assert_int_eq(again.runs, 3);
    ck_assert_int_eq(never.runs, 0);
    end(fd);
}
END_TEST

/* Begin, middle and end of the connection's list. */
START_TEST(any_of_them_may_be_stopped)
{
    alarm_t alarms[3];
    int fd = begin();
    int i;

    for (i = 0; i < 3; i++) {
        set(&alarms[i], 0, 1);
    }
    websocket_timer_stop(alarms[_i].timer);
    for (i = 0; i < 3; i++) {
        if (i != _i) {
            turns_until(&alarms[i].runs, alarms[i].runs + 3);
        }
    }
    ck_assert_int_eq(alarms[_i].runs, 0);
    end(fd);
}
END_TEST

static void stop_self(alarm_t *alarm)
{
    websocket_timer_stop(alarm->timer);
}

static void stop_other(alarm_t *alarm)
{
    if (alarm->other != NULL) {
        websocket_timer_stop(alarm->other->timer);
        alarm->other->other = NULL;
        alarm->other = NULL;
    }
}

/* A once and an interval. */
START_TEST(timer_may_stop_itself_in_its_run)
{
    alarm_t stops;
    alarm_t other;
    int fd = begin();

    set(&stops, 0, _i);
    stops.act = stop_self;
    set(&other, 5, 1);
    turns_until(&other.runs, 5);
    ck_assert_int_eq(stops.runs, 1);
    end(fd);
}
END_TEST

/* Both are due: whichever runs first is the only one. */
START_TEST(timer_may_stop_another_that_is_due_with_it)
{
    alarm_t pair[2];
    alarm_t last;
    int fd = begin();
    int i;

    for (i = 0; i < 2; i++) {
        set(&pair[i], 0, _i);
        pair[i].act = stop_other;
        pair[i].other = &pair[1 - i];
    }
    set(&last, 10, 0);
    turns_until(&last.runs, 1);
    ck_assert((pair[0].runs == 0) != (pair[1].runs == 0));
    end(fd);
}
END_TEST

static void start_again(alarm_t *alarm)
{
    int runs = alarm->runs;

    if (runs < 10) {
        set(alarm, alarm->first, 0);
        alarm->runs = runs;
        alarm->act = start_again;
    }
}

START_TEST(timer_may_start_another_in_its_run)
{
    alarm_t alarm;
    int fd = begin();

    set(&alarm, 1, 0);
    alarm.act = start_again;
    turns_until(&alarm.runs, 10);
    turn();
    turn();
    ck_assert_int_eq(alarm.runs, 10);
    end(fd);
}
END_TEST

static void start_for_ever(alarm_t *alarm)
{
    int runs = alarm->runs;

    set(alarm, 0, 0);
    alarm->runs = runs;
    alarm->act = start_for_ever;
}

START_TEST(timer_that_is_always_due_starves_nobody)
{
    alarm_t alarm;
    alarm_t other;
    int fd = begin();

    set(&alarm, 0, 0);
    alarm.act = start_for_ever;
    set(&other, 10, 0);
    turn();
    ck_assert_int_ge(alarm.runs, 1);
    ck_assert_int_le(alarm.runs, 2);
    client_send_text(fd, "hello");
    turn();
    client_expect(fd, 0x81, "hello");
    turns_until(&other.runs, 1);
    turns_until(&alarm.runs, alarm.runs + 5);
    end(fd);
}
END_TEST

/* --- the end of the connection --- */

static void close_own(alarm_t *alarm)
{
    websocket_close(alarm->ws, 4000, "time is over");
}

/* Timers run on while it closes, and are gone when it is closed. */
START_TEST(timer_may_close_the_connection)
{
    alarm_t closing;
    alarm_t again;
    int fd = begin();

    set(&closing, 5, _i);
    closing.act = close_own;
    set(&again, 0, 1);
    turns_until(&closing.runs, 1);
    turn();
    client_expect_close(fd, 4000, "time is over");
    turns_until(&again.runs, again.runs + 2);
    ck_assert(!is_closed);
    client_send_close(fd, 4000);
    turns_until(&closes, 1);
    again.runs = 0;
    turn();
    turn();
    ck_assert_int_eq(again.runs, 0);
    end(fd);
}
END_TEST

/* With all kinds of timers, due and not; nothing of them is left. */
START_TEST(no_timer_runs_after_close)
{
    alarm_t alarms[6];
    int fd = begin();
    int i;

    ws_test_alloc_begin();
    for (i = 0; i < 6; i++) {
        set(&alarms[i], i < 3 ? 0 : 1000000, i % 3);
    }
    if (_i > 0) {
        turn();
    }
    shutdown(fd, SHUT_RDWR);
    turns_until(&closes, 1);
    for (i = 0; i < 6; i++) {
        alarms[i].runs = 0;
    }
    turn();
    turn();
    for (i = 0; i < 6; i++) {
        ck_assert_int_eq(alarms[i].runs, 0);
    }
    ck_assert_int_eq(ws_test_alloc.live, 0); /* the alarms' places have come,
                                              * the connection has gone */
    ws_test_alloc_end();
    end(fd);
}
END_TEST

START_TEST(timer_that_runs_once_is_gone_then)
{
    alarm_t alarm;
    int fd = begin();
    int i;

    ws_test_alloc_begin();
    for (i = 0; i < 10; i++) {
        set(&alarm, 0, 0);
        turns_until(&alarm.runs, 1);
        ck_assert_int_eq(ws_test_alloc.live, 1); /* the alarms' places */
    }
    ck_assert_ptr_null(kept->timers);
    ws_test_alloc_end();
    end(fd);
}
END_TEST

START_TEST(no_timer_begins_while_it_closes)
{
    int fd = begin();

    websocket_close(kept, 4000, NULL);
    ck_assert_ptr_null(websocket_timer_start(kept, 0, 1, run_never, NULL));
    turn();
    client_expect_close(fd, 4000, "");
    ck_assert_ptr_null(websocket_timer_start(kept, 0, 1, run_never, NULL));
    end(fd);                                /* nor in its close callback */
}
END_TEST

/* At each of its allocations. */
START_TEST(timer_without_memory_is_null)
{
    alarm_t alarm;
    int fd = begin();
    int i;

    ws_test_alloc_begin();
    for (i = 0; i < 2; i++) {
        ws_test_alloc_fail(i, false);
        ck_assert_ptr_null(websocket_timer_start(kept, 0, 1, run_never, NULL));
        ck_assert(ws_test_alloc_unfail());
        ck_assert_int_eq(ws_test_alloc.live, 0);
        turn();
    }
    ws_test_alloc_fail(2, false);
    set(&alarm, 0, 0);
    ck_assert(!ws_test_alloc_unfail());
    turns_until(&alarm.runs, 1);
    ws_test_alloc_end();
    end(fd);
}
END_TEST

/* --- with a thread --- */

static atomic_int beats;

static void beat(websocket_t *ws, void *baton)
{
    (void)baton;
    websocket_send(ws, WEBSOCKET_TEXT, "beat", 4);
    atomic_fetch_add(&beats, 1);
}

static void open_and_beat(websocket_t *ws)
{
    ck_assert_ptr_nonnull(websocket_timer_start(ws, 0, 2, beat, NULL));
}

START_TEST(timers_run_while_the_loop_sleeps)
{
    const websocket_handler_t beating = {HANDLER("beating"),
                                         .open = open_and_beat,
                                         .message = on_message};
    int fds[5];
    int round;
    int i;

    begin_process(&beating);
    for (i = 0; i < 5; i++) {
        fds[i] = connect_to(contexts[0], workers[0]);
    }
    for (round = 0; round < 5; round++) {
        for (i = 0; i < 5; i++) {
            client_expect(fds[i], 0x81, "beat");
        }
    }
    for (i = 0; i < 5; i++) {
        close(fds[i]);
    }
    end_process();
    ck_assert_int_ge(beats, 25);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(timer_runs_once_or_again_and_again),
        WS_TEST(interval_may_be_as_long_as_can_be_said),
        WS_TEST(timers_of_connections_are_their_own),
        WS_TEST(timer_that_is_stopped_runs_no_more),
        WS_TEST_LOOP(any_of_them_may_be_stopped, 3),
        WS_TEST_LOOP(timer_may_stop_itself_in_its_run, 2),
        WS_TEST_LOOP(timer_may_stop_another_that_is_due_with_it, 2),
        WS_TEST(timer_may_start_another_in_its_run),
        WS_TEST(timer_that_is_always_due_starves_nobody),
        WS_TEST_LOOP(timer_may_close_the_connection, 2),
        WS_TEST_LOOP(no_timer_runs_after_close, 2),
        WS_TEST(timer_that_runs_once_is_gone_then),
        WS_TEST(no_timer_begins_while_it_closes),
        WS_TEST(timer_without_memory_is_null),
        WS_TEST(timers_run_while_the_loop_sleeps),
    };
    int result;

    apr_initialize();
    result = ws_test_run("websocket_timer", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
