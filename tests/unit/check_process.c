/* ws_process and ws_context: the life of handlers in a process, their timers,
 * and what they do with all of their connections. */
#include <sched.h>

#include "ws_test_alloc.h"
#include "ws_test_worker.h"

/* --- a handler that writes down what happens to it --- */

static int init_result;
static atomic_int messages;
static atomic_int opens;
static atomic_int closes;
static atomic_int destroyed;
static atomic_int is_subscriber;     /* on_open() subscribes */

static void tell(const websocket_context_t *context, const char *what)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "%s %s",
                          context->handler.name, what);
}

static int on_init(websocket_context_t *context)
{
    tell(context, "init");
    return strcmp(context->handler.name, "b") == 0 ? init_result : 0;
}

static void on_exit_(websocket_context_t *context)
{
    tell(context, "exit");
}

static void on_moved(websocket_context_t *context)
{
    tell(context, "moved");
}

static void on_open(websocket_t *ws)
{
    if (atomic_load(&is_subscriber)) {
        ck_assert_int_eq(websocket_subscribe(ws, "room"), 0);
    }
    atomic_fetch_add(&opens, 1);
    tell(websocket_context(ws), "open");
}

static void on_message(websocket_t *ws, int type, const void *data,
                       size_t length)
{
    atomic_fetch_add(&messages, 1);
    websocket_send(ws, type, data, length);
}

static void on_close(websocket_t *ws, unsigned code, const char *reason,
                     size_t length)
{
    (void)code;
    (void)reason;
    (void)length;
    atomic_fetch_add(&closes, 1);
    tell(websocket_context(ws), "close");
}

static void count_destroy(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

#define CALLBACKS                                                     \
    .child_init = on_init, .child_exit = on_exit_, .moved = on_moved, \
    .open = on_open, .message = on_message, .close = on_close

static const websocket_handler_t a = {HANDLER("a"), CALLBACKS};
static const websocket_handler_t b = {HANDLER("b"), CALLBACKS};
static const websocket_handler_t c = {HANDLER("c"), CALLBACKS};
static const websocket_handler_t plain = {HANDLER("plain"),
                                          .message = on_message};

static void begin(unsigned worker_count)
{
    init_result = 0;
    atomic_store(&messages, 0);
    atomic_store(&opens, 0);
    atomic_store(&closes, 0);
    atomic_store(&destroyed, 0);
    atomic_store(&is_subscriber, 0);
    begin_workers(worker_count);
    logged.wanted = WS_LOG_NOTICE;
}

static int connect_with_data(websocket_context_t *context)
{
    ws_promise_t promise = promise_of(context);

    promise.data = &destroyed;
    promise.destroy = count_destroy;
    return connect_from(&promise, workers[0]);
}

/* --- begin and end --- */

START_TEST(child_init_comes_first_and_child_exit_last)
{
    int fd;

    begin(1);
    add_context(&a);
    ck_assert_str_eq(logged.text, "");
    ws_process_begin(&process);
    ck_assert_str_eq(logged.text, "a init\n");
    start_threads();
    fd = connect_to(contexts[0], workers[0]);
    client_send_text(fd, "x");
    client_expect(fd, 0x81, "x");
    end_process();
    ck_assert_str_eq(logged.text, "a init\na open\na close\na exit\n");
    close(fd);
}
END_TEST

/* Who began last, and may use the others, ends first. */
START_TEST(handlers_begin_in_order_and_end_the_other_way_round)
{
    begin(1);
    add_context(&a);
    add_context(&plain);
    add_context(&b);
    add_context(&c);
    ws_process_begin(&process);
    ck_assert(ws_process_pause(&process, LIMIT_MS));
    logged.text[0] = '\0';
    ws_process_move(&process);
    ck_assert(ws_process_end(&process, LIMIT_MS));
    ck_assert_str_eq(logged.text, "a init\nb init\nc init\n"
                                  "a moved\nb moved\nc moved\n"
                                  "c exit\nb exit\na exit\n");
    free_workers();
}
END_TEST

/* As where no process could be had for a move. */
START_TEST(process_may_begin_again)
{
    int fd;

    begin(1);
    add_context(&a);
    ws_process_begin(&process);
    start_threads();
    fd = connect_to(contexts[0], workers[0]);
    client_send_text(fd, "x");
    client_expect(fd, 0x81, "x");
    pause_threads();
    ck_assert(ws_process_pause(&process, LIMIT_MS));
    ws_process_go_on(&process);
    start_threads();
    client_send_text(fd, "y");
    client_expect(fd, 0x81, "y");
    end_process();
    ck_assert_str_eq(logged.text, "a init\na open\na exit\n"
                                  "a init\na close\na exit\n");
    close(fd);
}
END_TEST

static void run_nothing(websocket_context_t *context, void *baton)
{
    (void)context;
    (void)baton;
    ck_abort_msg("a timer runs");
}

static void visit_nothing(websocket_t *ws, void *baton)
{
    (void)ws;
    (void)baton;
    ck_abort_msg("a connection is visited");
}

static void done_nothing(void *baton)
{
    (void)baton;
    ck_abort_msg("a tour is done");
}

static void expect_refusals(websocket_context_t *context)
{
    ck_assert_int_eq(websocket_context_timer(context, 0, 1, run_nothing, NULL),
                     -1);
    ck_assert_int_eq(websocket_context_each(context, visit_nothing,
                                            done_nothing, NULL),
                     -1);
    ck_assert_int_eq(websocket_context_publish(context, "room", WEBSOCKET_TEXT,
                                               "x", 1),
                     -1);
}

START_TEST(before_child_init_and_after_child_exit_nothing_is_done)
{
    websocket_context_t *context;

    begin(1);
    context = add_context(&a);
    expect_refusals(context);
    turn();
    ws_process_begin(&process);
    ck_assert(ws_process_end(&process, LIMIT_MS));
    expect_refusals(context);
    turn();
    free_workers();
}
END_TEST

static int init_calls(websocket_context_t *context)
{
    ck_assert_int_eq(websocket_context_publish(context, "room", WEBSOCKET_TEXT,
                                               "x", 1),
                     0);
    ck_assert_int_eq(websocket_context_each(context, visit_nothing,
                                            count_destroy, &destroyed),
                     0);
    return 0;
}

START_TEST(child_init_may_call_what_any_thread_may)
{
    const websocket_handler_t handler = {HANDLER("early"),
                                         .child_init = init_calls,
                                         .message = on_message};

    begin(2);
    add_context(&handler);
    ws_process_begin(&process);
    ck_assert_int_eq(destroyed, 0);         /* no loop runs yet */
    start_threads();
    wait_until(&destroyed, 1);
    end_process();
}
END_TEST

/* --- child_init fails --- */

START_TEST(handler_that_cannot_begin_does_not_hinder_others)
{
    int fd;

    begin(1);
    add_context(&a);
    add_context(&b);
    add_context(&c);
    init_result = _i == 0 ? -1 : 1;
    ws_process_move(&process);
    ck_assert(!contexts[0]->is_broken);
    ck_assert(contexts[1]->is_broken);
    ck_assert(!contexts[2]->is_broken);
    start_threads();
    fd = connect_to(contexts[2], workers[0]);
    client_send_text(fd, "x");
    client_expect(fd, 0x81, "x");
    end_process();
    ck_assert_str_eq(logged.text,
                     "a init\nb init\n"
                     "handler b: its child_init failed: this process serves "
                     "none of its WebSockets\n"
                     "c init\na moved\nc moved\nc open\nc close\n"
                     "c exit\nb exit\na exit\n");
    close(fd);
}
END_TEST

/* The next begin may be better. */
START_TEST(broken_is_a_process_not_a_handler)
{
    begin(1);
    add_context(&b);
    init_result = 1;
    ws_process_begin(&process);
    ck_assert(contexts[0]->is_broken);
    ck_assert(ws_process_end(&process, LIMIT_MS));
    init_result = 0;
    ws_process_begin(&process);
    ck_assert(!contexts[0]->is_broken);
    ck_assert(ws_process_end(&process, LIMIT_MS));
    free_workers();
}
END_TEST

/* It is given none of the messages that came in between, and no connection that
 * was promised to it elsewhere: in a process that was forked, with memory and
 * without, and where none could be. */
START_TEST(connections_of_a_handler_that_cannot_begin_are_closed)
{
    int good;
    int bad;
    int late;

    begin(1);
    add_context(&a);
    add_context(&b);
    ws_process_begin(&process);
    good = connect_to(contexts[0], workers[0]);
    bad = connect_with_data(contexts[1]);
    turn();
    ck_assert_int_eq(opens, 2);
    ck_assert(ws_process_pause(&process, LIMIT_MS));
    client_send_text(good, "good");
    client_send_text(bad, "bad");
    late = connect_with_data(contexts[1]);
    client_send_text(late, "late");
    init_result = 1;
    ws_test_alloc_begin();
    ws_test_alloc_fail(_i == 1 ? 0 : -1, true);
    if (_i < 2) {
        ws_process_move(&process);
    }
    else {
        ws_process_go_on(&process);
    }
    ws_test_alloc_unfail();
    ws_test_alloc_end();
    turn();
    turn();
    client_expect(good, 0x81, "good");
    ck_assert_int_eq(messages, 1);
    ck_assert_int_eq(opens, 2);
    if (_i != 1) {
        client_expect_close(bad, 1012, "service restart");
        client_send_close(bad, 1012);
    }
    shutdown(bad, SHUT_WR);
    turns_until(&closes, 1);
    client_expect_close(late, 1012, "");
    client_expect_end(late);
    turns_until(&destroyed, 2);
    client_expect_end(bad);
    ck_assert_int_eq(messages, 1);
    close(good);
    close(bad);
    close(late);
    end_process();
}
END_TEST

/* --- timers --- */

typedef struct {
    websocket_context_t *context;
    int64_t set, first, interval;    /* ms, on the loop's clock */
    atomic_int runs;
} mark_t;

static int64_t loop_now(void)
{
    return ws_loop_turn(ws_worker_loop(workers[0]))->now;
}

static void run_timer(websocket_context_t *context, void *baton)
{
    mark_t *timer = baton;

    ck_assert_ptr_eq(context, timer->context);
    ck_assert(ws_loop_is_here(ws_worker_loop(workers[0])));
    ck_assert_int_ge(loop_now(),
                     timer->set + timer->first + timer->runs * timer->interval);
    atomic_fetch_add(&timer->runs, 1);
}

static int set_timer(mark_t *timer, websocket_context_t *context, int64_t first,
                     int64_t interval)
{
    *timer = (mark_t){.context = context,
                      .set = loop_now(),
                      .first = first > 0 ? first : 0,
                      .interval = interval};
    return websocket_context_timer(context, first, interval, run_timer, timer);
}

START_TEST(timer_runs_once_or_again_and_again)
{
    mark_t once;
    mark_t at_once;
    mark_t negative;
    mark_t again;

    begin(1);
    add_context(&a);
    ws_process_begin(&process);
    ck_assert_int_eq(set_timer(&once, contexts[0], 20, 0), 0);
    ck_assert_int_eq(set_timer(&at_once, contexts[0], 0, 0), 0);
    ck_assert_int_eq(set_timer(&negative, contexts[0], -5, -5), 0);
    ck_assert_int_eq(set_timer(&again, contexts[0], 10, 5), 0);
    turns_until(&again.runs, 5);
    ck_assert_int_eq(once.runs, 1);
    ck_assert_int_eq(at_once.runs, 1);
    ck_assert_int_eq(negative.runs, 1);
    end_process();
}
END_TEST

START_TEST(timers_of_contexts_are_their_own)
{
    mark_t timers[4];
    int i;

    begin(1);
    add_context(&a);
    add_context(&b);
    ws_process_begin(&process);
    for (i = 0; i < 4; i++) {
        set_timer(&timers[i], contexts[i % 2], i, 1);
    }
    for (i = 0; i < 4; i++) {
        turns_until(&timers[i].runs, timers[i].runs + 3);
    }
    end_process();
}
END_TEST

static void *thread_of;              /* where the timers run */
static atomic_int runs_elsewhere;

static void run_in_thread(websocket_context_t *context, void *baton)
{
    (void)context;
    if (thread_of == NULL) {
        thread_of = (void *)pthread_self();
    }
    if (thread_of != (void *)pthread_self()) {
        atomic_fetch_add(&runs_elsewhere, 1);
    }
    atomic_fetch_add((atomic_int *)baton, 1);
}

START_TEST(timers_run_in_one_loop_whoever_sets_them)
{
    atomic_int runs = 0;

    begin(3);
    add_context(&a);
    ws_process_begin(&process);
    websocket_context_timer(contexts[0], 0, 0, run_in_thread, &runs);
    start_threads();
    websocket_context_timer(contexts[0], 1, 0, run_in_thread, &runs);
    websocket_context_timer(contexts[0], 0, 0, run_in_thread, &runs);
    wait_until(&runs, 3);
    ck_assert_int_eq(runs_elsewhere, 0);
    end_process();
}
END_TEST

static void set_another(websocket_context_t *context, void *baton)
{
    atomic_int *runs = baton;

    if (atomic_fetch_add(runs, 1) < 4) {
        ck_assert_int_eq(websocket_context_timer(context, 0, 0, set_another,
                                                 baton),
                         0);
    }
}

START_TEST(timer_may_set_another_in_its_run)
{
    atomic_int runs = 0;

    begin(1);
    add_context(&a);
    ws_process_begin(&process);
    websocket_context_timer(contexts[0], 0, 0, set_another, &runs);
    turns_until(&runs, 5);
    turn();
    turn();
    ck_assert_int_eq(runs, 5);
    end_process();
}
END_TEST

/* Neither one that is set, nor one that has not even begun; and not in what
 * begins anew. Nothing of them is left. */
START_TEST(no_timer_runs_after_child_exit)
{
    mark_t timers[3];
    mark_t posted;
    mark_t later;
    int i;

    begin(1);
    add_context(&a);
    ws_process_begin(&process);
    turn();
    ws_test_alloc_begin();
    set_timer(&timers[0], contexts[0], 0, 1);
    set_timer(&timers[1], contexts[0], 1, 0);
    set_timer(&timers[2], contexts[0], 1000000, 1);
    turns_until(&timers[0].runs, 3);
    ck_assert_int_eq(timers[1].runs, 1);
    set_timer(&posted, contexts[0], 0, 1);
    ck_assert(ws_process_end(&process, LIMIT_MS));
    timers[0].runs = 0;
    turn();
    turn();
    ws_process_begin(&process);
    set_timer(&later, contexts[0], 5, 0);
    turns_until(&later.runs, 1);
    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(timers[i].runs, i == 1);
    }
    ck_assert_int_eq(posted.runs, 0);
    ck_assert(ws_process_end(&process, LIMIT_MS));
    ck_assert_int_eq(ws_test_alloc.live, 1); /* the alarms' places */
    ws_test_alloc_end();
    stop_workers();
    free_workers();
}
END_TEST

/* Its child_exit is still to come: what it sets there is freed as well. */
static void exit_and_set(websocket_context_t *context)
{
    websocket_context_timer(context, 0, 1, run_nothing, NULL);
}

START_TEST(timer_that_child_exit_sets_does_not_run)
{
    const websocket_handler_t handler = {HANDLER("late"),
                                         .child_exit = exit_and_set,
                                         .message = on_message};

    begin(1);
    add_context(&handler);
    ws_process_begin(&process);
    turn();
    ws_test_alloc_begin();
    ck_assert(ws_process_end(&process, LIMIT_MS));
    turn();
    ws_process_begin(&process);
    turn();
    stop_workers();
    ck_assert(ws_process_end(&process, LIMIT_MS));
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    free_workers();
}
END_TEST

/* At each of its allocations. */
START_TEST(timer_without_memory_is_refused_or_told)
{
    mark_t timer;

    begin(1);
    add_context(&a);
    ws_process_begin(&process);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(set_timer(&timer, contexts[0], 0, 0), -1);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_fail(1, false);
    ck_assert_int_eq(set_timer(&timer, contexts[0], 0, 0), 0);
    turn();
    turn();
    ck_assert(ws_test_alloc_unfail());
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ck_assert_int_eq(timer.runs, 0);
    ck_assert(logged_has("handler a: a timer has stopped: out of memory"));
    ck_assert_int_eq(logged.level, WS_LOG_ERROR);
    ck_assert_int_eq(set_timer(&timer, contexts[0], 0, 0), 0);
    turns_until(&timer.runs, 1);
    ws_test_alloc_end();
    end_process();
}
END_TEST

/* --- all connections --- */

#define CLIENTS 12

static pthread_mutex_t visited_lock = PTHREAD_MUTEX_INITIALIZER;
static websocket_t *visited[CLIENTS];
static atomic_int visits;
static atomic_int dones;
static atomic_int visits_at_done;

static void clear_visits(void)
{
    atomic_store(&visits, 0);
    atomic_store(&dones, 0);
    memset(visited, 0, sizeof(visited));
}

static void visit(websocket_t *ws, void *baton)
{
    int i;

    ck_assert_ptr_eq(baton, &visits);
    ck_assert_ptr_eq(websocket_context(ws), contexts[0]);
    ck_assert(ws_loop_is_here(ws->link.loop));
    pthread_mutex_lock(&visited_lock);
    for (i = 0; visited[i] != NULL; i++) {
        ck_assert_ptr_ne(visited[i], ws);   /* once */
    }
    visited[i] = ws;
    pthread_mutex_unlock(&visited_lock);
    websocket_send(ws, WEBSOCKET_TEXT, "visited", 7);
    atomic_fetch_add(&visits, 1);
}

static void visit_and_close(websocket_t *ws, void *baton)
{
    visit(ws, baton);
    websocket_close(ws, 4000, "all");
}

static bool is_on_a_loop(void)
{
    unsigned i;

    for (i = 0; i < process.worker_count; i++) {
        if (ws_loop_is_here(ws_worker_loop(workers[i]))) {
            return true;
        }
    }
    return false;
}

static void done(void *baton)
{
    ck_assert_ptr_eq(baton, &visits);
    ck_assert(is_on_a_loop());
    atomic_store(&visits_at_done, atomic_load(&visits));
    atomic_fetch_add(&dones, 1);
}

/* Of two contexts, over three workers; those of the first come first. */
static void connect_all(int fds[CLIENTS])
{
    int i;

    begin(3);
    add_context(&a);
    add_context(&b);
    ws_process_begin(&process);
    start_threads();
    clear_visits();
    for (i = 0; i < CLIENTS; i++) {
        fds[i] = connect_to(contexts[i >= CLIENTS / 2], workers[i % 3]);
    }
    wait_until(&opens, CLIENTS);
}

static void close_all(const int fds[CLIENTS])
{
    int i;

    for (i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
}

START_TEST(each_connection_of_the_context_is_visited_once)
{
    int fds[CLIENTS];
    int i;

    connect_all(fds);
    ck_assert_int_eq(websocket_context_each(contexts[0], visit, done, &visits),
                     0);
    wait_until(&dones, 1);
    ck_assert_int_eq(visits_at_done, CLIENTS / 2);
    for (i = 0; i < CLIENTS / 2; i++) {
        client_expect(fds[i], 0x81, "visited");
    }
    clear_visits();                         /* and nobody need be told */
    ck_assert_int_eq(websocket_context_each(contexts[0], visit, NULL, &visits),
                     0);
    wait_until(&visits, CLIENTS / 2);
    end_process();
    ck_assert_int_eq(dones, 0);
    close_all(fds);
}
END_TEST

START_TEST(visit_may_close)
{
    int fds[CLIENTS];
    int i;

    connect_all(fds);
    websocket_context_each(contexts[0], visit_and_close, done, &visits);
    for (i = 0; i < CLIENTS / 2; i++) {
        client_expect(fds[i], 0x81, "visited");
        client_expect_close(fds[i], 4000, "all");
    }
    wait_until(&dones, 1);
    clear_visits();                         /* those that close are not open */
    websocket_context_each(contexts[0], visit, done, &visits);
    wait_until(&dones, 1);
    ck_assert_int_eq(visits, 0);
    client_send_text(fds[CLIENTS - 1], "others stay");
    client_expect(fds[CLIENTS - 1], 0x81, "others stay");
    end_process();
    close_all(fds);
}
END_TEST

START_TEST(tour_of_no_connection_is_done)
{
    begin(2);
    add_context(&a);
    ws_process_begin(&process);
    start_threads();
    clear_visits();
    websocket_context_each(contexts[0], visit_nothing, done, &visits);
    wait_until(&dones, 1);
    end_process();
    ck_assert_int_eq(dones, 1);
}
END_TEST

/* One that is promised, but not yet open. */
START_TEST(connection_that_is_not_open_is_not_visited)
{
    int fd;

    begin(1);
    add_context(&a);
    ws_process_begin(&process);
    clear_visits();
    websocket_context_each(contexts[0], visit_nothing, done, &visits);
    fd = connect_to(contexts[0], workers[0]);
    turn();
    ck_assert_int_eq(dones, 1);
    ck_assert_int_eq(opens, 1);
    end_process();
    close(fd);
}
END_TEST

/* Whichever it is. */
START_TEST(tour_passes_over_a_worker_that_has_stopped)
{
    int fds[CLIENTS];
    int i;

    connect_all(fds);
    ws_worker_stop(workers[_i], 1001, "gone", 0);
    ck_assert(ws_worker_wait(workers[_i], LIMIT_MS));
    ck_assert_int_eq(websocket_context_each(contexts[0], visit, done, &visits),
                     0);
    wait_until(&dones, 1);
    ck_assert_int_eq(visits_at_done, CLIENTS / 3);
    for (i = 0; i < CLIENTS / 2; i++) {
        if (i % 3 == _i) {
            client_expect_close(fds[i], 1001, "gone");
        }
        else {
            client_expect(fds[i], 0x81, "visited");
        }
    }
    end_process();
    ck_assert_int_eq(dones, 1);
    close_all(fds);
}
END_TEST

START_TEST(without_a_worker_there_is_no_tour)
{
    int fds[CLIENTS];

    connect_all(fds);
    stop_workers();
    ck_assert_int_eq(websocket_context_each(contexts[0], visit_nothing,
                                            done_nothing, &visits),
                     -1);
    ck_assert_int_eq(websocket_context_timer(contexts[0], 0, 1, run_nothing,
                                             NULL),
                     -1);
    end_process();
    close_all(fds);
}
END_TEST

START_TEST(tour_without_memory_is_refused)
{
    begin(1);
    add_context(&a);
    ws_process_begin(&process);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(websocket_context_each(contexts[0], visit_nothing,
                                            done_nothing, &visits),
                     -1);
    ck_assert(ws_test_alloc_unfail());
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ck_assert_int_eq(websocket_context_each(contexts[0], visit_nothing, done,
                                            &visits),
                     0);
    turn();
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    end_process();
}
END_TEST

/* Several threads send some on their way, while connections come and go and
 * then all workers stop: each that was promised is done, once. */
#define TOURISTS 3
#define TOURS_MAX 20                 /* on their way */

static atomic_int begun;
static atomic_bool is_over;

static void count_visit(websocket_t *ws, void *baton)
{
    (void)ws;
    atomic_fetch_add((atomic_int *)baton, 1);
}

static void count_done(void *baton)
{
    (void)baton;
    atomic_fetch_add(&dones, 1);
}

static void *send_tours(void *baton)
{
    while (!atomic_load(&is_over)) {
        if (atomic_load(&begun) - atomic_load(&dones) > TOURS_MAX) {
            sched_yield();
            continue;
        }
        if (websocket_context_each(contexts[0], count_visit, count_done,
                                   baton) == 0) {
            atomic_fetch_add(&begun, 1);
        }
    }
    return NULL;
}

START_TEST(tours_are_done_once_while_workers_stop)
{
    const int rounds = ws_test_is_slow() ? 2 : 10;
    pthread_t threads[TOURISTS];
    int fds[CLIENTS];
    int round;
    int i;

    for (round = 0; round < rounds; round++) {
        connect_all(fds);
        atomic_store(&begun, 0);
        atomic_store(&is_over, false);
        for (i = 0; i < TOURISTS; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, send_tours,
                                            &visits),
                             0);
        }
        for (i = 0; i < CLIENTS; i++) {
            close(fds[i]);
            fds[i] = connect_to(contexts[0], workers[i % 3]);
        }
        wait_until(&opens, 2 * CLIENTS);
        stop_workers();
        atomic_store(&is_over, true);
        for (i = 0; i < TOURISTS; i++) {
            pthread_join(threads[i], NULL);
        }
        end_process();
        ck_assert_int_eq(dones, begun);
        close_all(fds);
    }
}
END_TEST

/* --- publishing --- */

static void *publish(void *baton)
{
    websocket_context_t *context = baton;

    return websocket_context_publish(context, "room", WEBSOCKET_TEXT, "news",
                                     4) == 0
               ? NULL
               : baton;
}

START_TEST(any_thread_may_publish)
{
    char topic[WEBSOCKET_TOPIC_MAX + 2];
    int fds[CLIENTS];
    pthread_t thread;
    void *failed;
    int i;

    begin(3);
    atomic_store(&is_subscriber, 1);
    add_context(&a);
    add_context(&b);
    ws_process_begin(&process);
    start_threads();
    for (i = 0; i < CLIENTS; i++) {
        fds[i] = connect_to(contexts[i >= CLIENTS / 2], workers[i % 3]);
    }
    wait_until(&opens, CLIENTS);
    ck_assert_int_eq(pthread_create(&thread, NULL, publish, contexts[0]), 0);
    ck_assert_int_eq(pthread_join(thread, &failed), 0);
    ck_assert_ptr_null(failed);
    ck_assert_int_eq(websocket_context_publish(contexts[1], "room",
                                               WEBSOCKET_BINARY, "\x01\x02", 2),
                     0);
    for (i = 0; i < CLIENTS; i++) {
        if (i < CLIENTS / 2) {
            client_expect(fds[i], 0x81, "news");
        }
        else {
            client_expect(fds[i], 0x82, "\x01\x02");
        }
    }
    memset(topic, 't', sizeof(topic));
    topic[sizeof(topic) - 1] = '\0';
    ck_assert_int_eq(websocket_context_publish(contexts[0], topic,
                                               WEBSOCKET_TEXT, "", 0),
                     -1);
    end_process();
    close_all(fds);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(child_init_comes_first_and_child_exit_last),
        WS_TEST(handlers_begin_in_order_and_end_the_other_way_round),
        WS_TEST(process_may_begin_again),
        WS_TEST(before_child_init_and_after_child_exit_nothing_is_done),
        WS_TEST(child_init_may_call_what_any_thread_may),
        WS_TEST_LOOP(handler_that_cannot_begin_does_not_hinder_others, 2),
        WS_TEST(broken_is_a_process_not_a_handler),
        WS_TEST_LOOP(connections_of_a_handler_that_cannot_begin_are_closed, 3),
        WS_TEST(timer_runs_once_or_again_and_again),
        WS_TEST(timers_of_contexts_are_their_own),
        WS_TEST(timers_run_in_one_loop_whoever_sets_them),
        WS_TEST(timer_may_set_another_in_its_run),
        WS_TEST(no_timer_runs_after_child_exit),
        WS_TEST(timer_that_child_exit_sets_does_not_run),
        WS_TEST(timer_without_memory_is_refused_or_told),
        WS_TEST(each_connection_of_the_context_is_visited_once),
        WS_TEST(visit_may_close),
        WS_TEST(tour_of_no_connection_is_done),
        WS_TEST(connection_that_is_not_open_is_not_visited),
        WS_TEST_LOOP(tour_passes_over_a_worker_that_has_stopped, 3),
        WS_TEST(without_a_worker_there_is_no_tour),
        WS_TEST(tour_without_memory_is_refused),
        WS_TEST(tours_are_done_once_while_workers_stop),
        WS_TEST(any_thread_may_publish),
    };
    int result;

    apr_initialize();
    result = ws_test_run("process", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
