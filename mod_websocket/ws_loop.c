#include "ws_loop.h"

#include <apr_portable.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ws_clock.h"
#include "ws_shed.h"

#define EVENTS_PER_TURN 512
#define INPUT_SIZE (128 * 1024)      /* bytes of one read */
#define CORK_SIZE (64 * 1024)
#define WAIT_MAX (60 * 60 * 1000)    /* ms; APR takes no more than an int */

/* What other threads and signal handlers ask for: written by who comes first,
 * read when it is ASKED. */
enum { NOT_ASKED, BEING_ASKED, ASKED };

typedef struct {
    _Atomic int state;
    uint16_t code;
    const char *reason;              /* static */
    int64_t spread;                  /* ms */
    int64_t limit;                   /* ms */
} order_t;

struct ws_loop {
    apr_pool_t *pool;
    apr_pollset_t *pollset;
    apr_socket_t *socket;            /* stands for each descriptor in turn */
    apr_pollfd_t wake_pollfd;
    ws_loop_waker_t waker;
    ws_source_t source;
    ws_turn_t turn;
    ws_activity_t activity;
    ws_timers_t timers;
    ws_timers_t alarms;
    ws_link_t *links;
    ws_link_t *done;                 /* to be freed at the turn's end */
    size_t count;

    pthread_mutex_t lock;            /* guards the fields below */
    ws_task_t *tasks;
    ws_task_t **tasks_end;
    bool stopped;                    /* takes no more tasks */

    order_t stop;
    order_t stop_bound;              /* for bound connections only */
    _Atomic bool pause_asked;
    _Atomic bool ends_when_empty;
    _Atomic bool is_running;
    pthread_t thread;                /* which runs it, if is_running */

    /* the loop's own view of a stop */
    bool is_stopping;
    bool is_bound_closed;
    int64_t stop_began;
    int64_t stop_deadline;
    ws_link_t *to_close;             /* it and those behind it are still to be
                                      * closed */
    size_t close_total;              /* when the stop began */
    size_t close_count;              /* closed since */
    uint32_t close_phase;            /* of CLOSE_PHASES: of the first */
};

#define CLOSE_PHASES 1024

/* Somebody's queue grew over the budget. */
static void shed(ws_turn_t *turn)
{
    const ws_loop_t *loop =
        (ws_loop_t *)((char *)turn - offsetof(ws_loop_t, turn));

    ws_shed(loop->links, loop->count, turn->sending);
}

/* --- creation --- */

/* An apr_pollfd_t wants an apr_socket_t, which takes some 300 bytes of pool.
 * With APR_POLLSET_NOCOPY the pollset reads the descriptor out of it during
 * the call only, so one serves for all connections. */
static apr_status_t poll_add(ws_loop_t *loop, apr_pollfd_t *pollfd, int fd)
{
    apr_os_sock_put(&loop->socket, &fd, loop->pool);
    pollfd->desc_type = APR_POLL_SOCKET;
    pollfd->desc.s = loop->socket;
    return apr_pollset_add(loop->pollset, pollfd);
}

static void poll_remove(ws_loop_t *loop, apr_pollfd_t *pollfd, int fd)
{
    apr_os_sock_put(&loop->socket, &fd, loop->pool);
    apr_pollset_remove(loop->pollset, pollfd);
}

static bool init_polling(ws_loop_t *loop)
{
    if (apr_pollset_create(&loop->pollset, EVENTS_PER_TURN, loop->pool,
                           APR_POLLSET_NOCOPY) != APR_SUCCESS) {
        return false;
    }
    loop->wake_pollfd.reqevents = APR_POLLIN;
    return poll_add(loop, &loop->wake_pollfd, loop->waker.wake->read_fd) ==
           APR_SUCCESS;
}

ws_loop_t *ws_loop_create(const ws_loop_waker_t *waker,
                          ws_budget_t *compression, ws_budget_t *sending,
                          apr_pool_t *pool)
{
    ws_loop_t *loop = calloc(1, sizeof(*loop));

    if (loop == NULL) {
        return NULL;
    }
    loop->waker = *waker;
    loop->tasks_end = &loop->tasks;
    loop->turn.now = ws_clock_ms();
    loop->turn.input_size = INPUT_SIZE;
    loop->turn.input = malloc(INPUT_SIZE);
    loop->turn.cork_size = CORK_SIZE;
    loop->turn.cork = malloc(CORK_SIZE);
    loop->turn.deflate = ws_deflate_shared_create(compression);
    loop->turn.sending = sending;
    loop->turn.shed = shed;
    loop->turn.random = (uint32_t)ws_clock_ns();
    ws_timers_init(&loop->timers);
    ws_timers_init(&loop->alarms);
    pthread_mutex_init(&loop->lock, NULL);
    if (apr_pool_create(&loop->pool, pool) != APR_SUCCESS) {
        loop->pool = NULL;
    }
    if (loop->turn.input == NULL || loop->turn.cork == NULL ||
        loop->turn.deflate == NULL || loop->pool == NULL ||
        !init_polling(loop)) {
        ws_loop_destroy(loop);
        return NULL;
    }
    return loop;
}

void ws_loop_destroy(ws_loop_t *loop)
{
    ws_timers_clear(&loop->timers);
    ws_timers_clear(&loop->alarms);
    pthread_mutex_destroy(&loop->lock);
    free(loop->turn.input);
    free(loop->turn.cork);
    if (loop->turn.deflate != NULL) {
        ws_deflate_shared_destroy(loop->turn.deflate);
    }
    if (loop->pool != NULL) {
        apr_pool_destroy(loop->pool);
    }
    free(loop);
}

void ws_loop_set_source(ws_loop_t *loop, const ws_source_t *source)
{
    loop->source = *source;
}

ws_turn_t *ws_loop_turn(ws_loop_t *loop)
{
    return &loop->turn;
}

ws_activity_t *ws_loop_activity(ws_loop_t *loop)
{
    return &loop->activity;
}

size_t ws_loop_count(const ws_loop_t *loop)
{
    return loop->count;
}

/* --- connections --- */

static void set_count(ws_loop_t *loop, size_t count)
{
    loop->count = count;
    if (loop->waker.connections != NULL) {
        atomic_store_explicit(loop->waker.connections, (uint32_t)count,
                              memory_order_relaxed);
    }
}

static void finish(ws_loop_t *loop, ws_link_t *link)
{
    link->is_done = true;
    if (link->is_polled) {
        poll_remove(loop, &link->pollfd, link->conn.io.fd);
    }
    ws_timer_cancel(&loop->timers, &link->timer);
    if (loop->to_close == link) {
        loop->to_close = link->next;
    }
    if (link->prev != NULL) {
        link->prev->next = link->next;
    }
    else {
        loop->links = link->next;
    }
    if (link->next != NULL) {
        link->next->prev = link->prev;
    }
    set_count(loop, loop->count - 1);
    link->next = loop->done;
    loop->done = link;
}

static apr_int16_t events_of(unsigned wants)
{
    apr_int16_t events = 0;

    if (wants & WS_WANT_READ) {
        events |= APR_POLLIN;
    }
    if (wants & WS_WANT_WRITE) {
        events |= APR_POLLOUT;
    }
    return events;
}

/* Polls for what the connection waits for now. */
static bool watch(ws_loop_t *loop, ws_link_t *link)
{
    apr_int16_t events = events_of(ws_conn_wants(&link->conn));

    if (link->is_polled && events == link->pollfd.reqevents) {
        return true;
    }
    if (link->is_polled) {
        poll_remove(loop, &link->pollfd, link->conn.io.fd);
    }
    link->pollfd.reqevents = events;
    link->pollfd.client_data = link;
    link->is_polled =
        poll_add(loop, &link->pollfd, link->conn.io.fd) == APR_SUCCESS;
    return link->is_polled;
}

/* After each call into a connection: what does it wait for now? */
static void update(ws_loop_t *loop, ws_link_t *link)
{
    ws_conn_t *c = &link->conn;
    int64_t deadline;

    if (link->is_done) {
        return;
    }
    if (!ws_conn_is_done(c) && !watch(loop, link)) {
        ws_conn_hangup(c);
    }
    if (ws_conn_is_done(c)) {
        finish(loop, link);
        return;
    }
    /* A deadline mostly moves away with each message. The timer then stays,
     * and is set anew when it is over. */
    deadline = ws_conn_deadline(c);
    if (deadline != 0 &&
        (link->timer.place == 0 || deadline < link->timer.when)) {
        ws_timer_set(&loop->timers, &link->timer, deadline);
    }
}

static void close_by(ws_link_t *link, const order_t *order)
{
    ws_conn_close(&link->conn, order->code, order->reason,
                  strlen(order->reason));
}

ws_status_t ws_loop_add(ws_loop_t *loop, ws_link_t *link, uint8_t *data,
                        size_t length)
{
    if (ws_timers_reserve(&loop->timers, loop->count + 1) != WS_OK) {
        return WS_ENOMEM;
    }
    link->loop = loop;
    link->timer.place = 0;
    link->is_done = false;
    link->is_polled = false;
    if (!watch(loop, link)) {
        return WS_EIO;
    }
    link->prev = NULL;
    link->next = loop->links;
    if (loop->links != NULL) {
        loop->links->prev = link;
    }
    loop->links = link;
    set_count(loop, loop->count + 1);
    ws_conn_start(&link->conn, data, length);
    if (loop->is_stopping) {
        close_by(link, &loop->stop);
    }
    else if (loop->is_bound_closed && link->is_bound) {
        close_by(link, &loop->stop_bound);
    }
    update(loop, link);
    return WS_OK;
}

/* One that became pending after it was done stays until that has run. */
static void free_done(ws_loop_t *loop)
{
    ws_link_t **at = &loop->done;
    ws_link_t *link;

    while ((link = *at) != NULL) {
        if (link->conn.is_pending) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        ws_conn_clear(&link->conn);
        link->destroy(link);
    }
}

/* --- one turn --- */

static ws_link_t *link_of(ws_conn_t *c)
{
    return (ws_link_t *)((char *)c - offsetof(ws_link_t, conn));
}

static void handle_event(ws_loop_t *loop, const apr_pollfd_t *event)
{
    ws_link_t *link = event->client_data;
    ws_conn_t *c;

    if (link == NULL) {
        ws_wake_drain(loop->waker.wake);
        return;
    }
    if (link->is_done) {
        return;
    }
    c = &link->conn;
    if (event->rtnevents & APR_POLLOUT) {
        ws_conn_writable(c);
    }
    if (event->rtnevents & (APR_POLLIN | APR_POLLHUP | APR_POLLERR)) {
        if (ws_conn_wants(c) & WS_WANT_READ) {
            ws_conn_readable(c);            /* a hang-up shows there */
        }
        else if (event->rtnevents & (APR_POLLHUP | APR_POLLERR)) {
            ws_conn_hangup(c);
        }
    }
    update(loop, link);
}

static void run_timers(ws_loop_t *loop)
{
    ws_timer_t *timer;
    ws_link_t *link;

    while ((timer = ws_timers_due(&loop->timers, loop->turn.now)) != NULL) {
        link = (ws_link_t *)((char *)timer - offsetof(ws_link_t, timer));
        ws_conn_tick(&link->conn);
        update(loop, link);
    }
}

/* As many as there are now: one that is set anew each time it runs, for at
 * once, is not run for ever. */
static void run_alarms(ws_loop_t *loop)
{
    size_t left = loop->alarms.count;
    ws_timer_t *timer;
    ws_alarm_t *alarm;

    while (left-- > 0 &&
           (timer = ws_timers_due(&loop->alarms, loop->turn.now)) != NULL) {
        alarm = (ws_alarm_t *)((char *)timer - offsetof(ws_alarm_t, timer));
        alarm->run(loop, alarm);
    }
}

ws_status_t ws_loop_alarm(ws_loop_t *loop, ws_alarm_t *alarm, int64_t delay)
{
    size_t count = loop->alarms.count + (alarm->timer.place == 0);
    int64_t most = INT64_MAX - loop->turn.now;

    if (ws_timers_reserve(&loop->alarms, count) != WS_OK) {
        return WS_ENOMEM;
    }
    ws_timer_set(&loop->alarms, &alarm->timer,
                 loop->turn.now + (delay < most ? delay : most));
    return WS_OK;
}

void ws_loop_cancel(ws_loop_t *loop, ws_alarm_t *alarm)
{
    ws_timer_cancel(&loop->alarms, &alarm->timer);
}

static void run_tasks(ws_loop_t *loop)
{
    ws_task_t *task;
    ws_task_t *next;

    pthread_mutex_lock(&loop->lock);
    task = loop->tasks;
    loop->tasks = NULL;
    loop->tasks_end = &loop->tasks;
    pthread_mutex_unlock(&loop->lock);
    for (; task != NULL; task = next) {
        next = task->next;
        task->run(loop, task);
    }
}

/* Those that become pending again have their turn in the next. */
static void run_pending(ws_loop_t *loop)
{
    ws_conn_t *c = loop->turn.pending;
    ws_conn_t *next;

    loop->turn.pending = NULL;
    for (; c != NULL; c = next) {
        next = c->next_pending;
        ws_conn_run(c);
        update(loop, link_of(c));
    }
}

static bool has_tasks(ws_loop_t *loop)
{
    bool has;

    pthread_mutex_lock(&loop->lock);
    has = loop->tasks != NULL;
    pthread_mutex_unlock(&loop->lock);
    return has;
}

static bool is_asked(const order_t *order)
{
    return atomic_load(&order->state) == ASKED;
}

static bool has_orders(const ws_loop_t *loop)
{
    return atomic_load(&loop->pause_asked) ||
           (!loop->is_stopping && is_asked(&loop->stop)) ||
           (!loop->is_bound_closed && is_asked(&loop->stop_bound));
}

static bool has_work(ws_loop_t *loop)
{
    return loop->turn.pending != NULL || loop->done != NULL ||
           has_tasks(loop) || has_orders(loop) ||
           (loop->source.is_ready != NULL &&
            loop->source.is_ready(loop->source.baton));
}

/* When the next connection is to be closed, of those that a stop closes one
 * after another. */
static int64_t close_due(const ws_loop_t *loop)
{
    uint64_t place = loop->close_count * CLOSE_PHASES + loop->close_phase;

    return loop->stop_began +
           (int64_t)((uint64_t)loop->stop.spread * place /
                     (loop->close_total * CLOSE_PHASES));
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one < 0 || other < one ? other : one;
}

/* Microseconds to wait, for apr_pollset_poll(). */
static apr_interval_time_t time_to_wait(const ws_loop_t *loop)
{
    int64_t next = ws_timers_next(&loop->timers);
    int64_t alarm = ws_timers_next(&loop->alarms);
    int64_t limit = -1;
    int64_t wait;

    if (alarm >= 0) {
        next = earlier(next, alarm);
    }
    if (loop->source.wait_limit != NULL) {
        limit = loop->source.wait_limit(loop->source.baton);
    }
    if (limit >= 0) {
        next = earlier(next, loop->turn.now + limit);
    }
    if (loop->is_stopping) {
        next = earlier(next, loop->stop_deadline);
    }
    if (loop->to_close != NULL) {
        next = earlier(next, close_due(loop));
    }
    if (next < 0) {
        return -1;
    }
    wait = next - loop->turn.now;
    if (wait > WAIT_MAX) {
        wait = WAIT_MAX;
    }
    return wait > 0 ? wait * 1000 : 0;
}

/* Says that it sleeps before it looks for work for the last time: who brings
 * work after that look sees it sleeping, and wakes it. */
static void wait_for_events(ws_loop_t *loop)
{
    const apr_pollfd_t *events = NULL;
    apr_int32_t count = 0;
    apr_interval_time_t wait = 0;
    apr_int32_t i;

    if (!has_work(loop)) {
        atomic_store(loop->waker.sleeping, 1);
        wait = has_work(loop) ? 0 : time_to_wait(loop);
    }
    if (apr_pollset_poll(loop->pollset, wait, &count, &events) !=
        APR_SUCCESS) {
        count = 0;                          /* time is up, or a signal */
    }
    atomic_store(loop->waker.sleeping, 0);
    loop->turn.now = ws_clock_ms();
    ws_activity_begin(&loop->activity, loop->turn.now);
    for (i = 0; i < count; i++) {
        handle_event(loop, &events[i]);
    }
}

/* --- the end --- */

/* Anything will do that differs from loop to loop. */
static uint32_t some_phase(const ws_loop_t *loop)
{
    uint64_t mixed = ((uint64_t)(uintptr_t)loop ^ (uint64_t)loop->turn.now) *
                     0x9e3779b97f4a7c15u;

    return (uint32_t)(mixed >> 40) % CLOSE_PHASES;
}

static void begin_stop(ws_loop_t *loop)
{
    loop->is_stopping = true;
    loop->stop_began = loop->turn.now;
    loop->stop_deadline = loop->turn.now + loop->stop.limit;
    loop->to_close = loop->links;
    loop->close_total = loop->count;
    loop->close_phase = some_phase(loop);
}

static void close_those_due(ws_loop_t *loop)
{
    ws_link_t *link;

    while ((link = loop->to_close) != NULL &&
           close_due(loop) <= loop->turn.now) {
        loop->to_close = link->next;
        loop->close_count++;
        close_by(link, &loop->stop);
        update(loop, link);
    }
}

static void close_bound(ws_loop_t *loop)
{
    ws_link_t *link;
    ws_link_t *next;

    loop->is_bound_closed = true;
    for (link = loop->links; link != NULL; link = next) {
        next = link->next;
        if (link->is_bound) {
            close_by(link, &loop->stop_bound);
            update(loop, link);
        }
    }
}

static void obey(ws_loop_t *loop)
{
    if (!loop->is_stopping && is_asked(&loop->stop)) {
        begin_stop(loop);
    }
    if (!loop->is_bound_closed && is_asked(&loop->stop_bound)) {
        close_bound(loop);
    }
    close_those_due(loop);
}

static void drop_bound(ws_loop_t *loop)
{
    ws_link_t *link;
    ws_link_t *next;

    for (link = loop->links; link != NULL; link = next) {
        next = link->next;
        if (link->is_bound) {
            ws_conn_hangup(&link->conn);
            update(loop, link);
        }
    }
    run_pending(loop);
    free_done(loop);
}

static void drop_all(ws_loop_t *loop)
{
    ws_link_t *link;

    while ((link = loop->links) != NULL) {
        ws_conn_hangup(&link->conn);
        update(loop, link);
    }
    run_pending(loop);
    free_done(loop);
}

static bool is_overdue(const ws_loop_t *loop)
{
    return loop->is_stopping && loop->turn.now >= loop->stop_deadline;
}

static bool may_end(const ws_loop_t *loop)
{
    return is_overdue(loop) ||
           (loop->count == 0 &&
            (loop->is_stopping || atomic_load(&loop->ends_when_empty)));
}

/* No task may come once it has ended: nobody would run it. Where the time is
 * over it does not wait until there is none, as each may post the next. */
static bool try_to_end(ws_loop_t *loop)
{
    bool ended = false;

    if (!may_end(loop)) {
        return false;
    }
    pthread_mutex_lock(&loop->lock);
    if (loop->tasks == NULL || is_overdue(loop)) {
        loop->stopped = true;
        ended = true;
    }
    pthread_mutex_unlock(&loop->lock);
    return ended;
}

/* It has ended: the last tasks, and the last words of those that they add. */
static void clean_up(ws_loop_t *loop)
{
    run_tasks(loop);
    run_pending(loop);
    drop_all(loop);
}

static void turn(ws_loop_t *loop)
{
    wait_for_events(loop);
    run_timers(loop);
    run_alarms(loop);
    run_tasks(loop);
    obey(loop);
    if (loop->source.run != NULL) {
        loop->source.run(loop->source.baton);
    }
    run_pending(loop);
    if (ws_turn_is_over(&loop->turn)) {
        shed(&loop->turn);
    }
    free_done(loop);
}

void ws_loop_run(ws_loop_t *loop)
{
    bool is_paused = false;
    bool has_ended = try_to_end(loop);

    loop->thread = pthread_self();
    atomic_store(&loop->is_running, true);
    if (has_ended) {
        clean_up(loop);
    }
    while (!has_ended && !is_paused) {
        turn(loop);
        is_paused = atomic_load(&loop->pause_asked);
        has_ended = !is_paused && try_to_end(loop);
        if (is_paused) {
            drop_bound(loop);
        }
        if (has_ended) {
            clean_up(loop);
        }
        ws_activity_end(&loop->activity);
    }
    atomic_store(&loop->is_running, false);
}

bool ws_loop_is_here(const ws_loop_t *loop)
{
    return !atomic_load(&loop->is_running) ||
           pthread_equal(loop->thread, pthread_self());
}

void ws_loop_each(ws_loop_t *loop, void (*visit)(ws_link_t *link, void *baton),
                  void *baton)
{
    ws_link_t *link;

    for (link = loop->links; link != NULL; link = link->next) {
        visit(link, baton);
    }
}

/* --- while it pauses --- */

void ws_loop_unpause(ws_loop_t *loop)
{
    atomic_store(&loop->pause_asked, false);
}

/* The other process may still have what this one polls with (an epoll
 * descriptor is shared with it, that of a kqueue is not even inherited). */
ws_status_t ws_loop_move(ws_loop_t *loop)
{
    ws_link_t *link;
    ws_link_t *next;

    pthread_mutex_init(&loop->lock, NULL);
    apr_pollset_destroy(loop->pollset);
    if (!init_polling(loop)) {
        return WS_EIO;
    }
    for (link = loop->links; link != NULL; link = next) {
        next = link->next;
        link->is_polled = false;
        update(loop, link);
    }
    return WS_OK;
}

bool ws_loop_is_empty(ws_loop_t *loop)
{
    return loop->count == 0 && loop->done == NULL && !has_tasks(loop);
}

/* --- other threads --- */

/* Always, not only if the loop says that it sleeps: a process that was killed
 * may have taken that word back and not have woken it. */
static void wake_up(ws_loop_t *loop)
{
    atomic_store(loop->waker.sleeping, 0);
    ws_wake_notify(loop->waker.wake);
}

bool ws_loop_post(ws_loop_t *loop, ws_task_t *task)
{
    bool posted;

    pthread_mutex_lock(&loop->lock);
    posted = !loop->stopped;
    if (posted) {
        task->next = NULL;
        *loop->tasks_end = task;
        loop->tasks_end = &task->next;
    }
    pthread_mutex_unlock(&loop->lock);
    if (posted) {
        wake_up(loop);
    }
    return posted;
}

void ws_loop_end_when_empty(ws_loop_t *loop)
{
    if (!atomic_exchange(&loop->ends_when_empty, true)) {
        wake_up(loop);
    }
}

void ws_loop_pause(ws_loop_t *loop)
{
    atomic_store(&loop->pause_asked, true);
    wake_up(loop);
}

/* No lock, which a signal's handler could find held. */
static bool begin_order(order_t *order)
{
    int state = NOT_ASKED;

    return atomic_compare_exchange_strong(&order->state, &state, BEING_ASKED);
}

void ws_loop_drain(ws_loop_t *loop, uint16_t code, const char *reason,
                   int64_t spread, int64_t limit)
{
    if (begin_order(&loop->stop)) {
        loop->stop.code = code;
        loop->stop.reason = reason;
        loop->stop.spread = spread;
        loop->stop.limit = limit;
        atomic_store(&loop->stop.state, ASKED);
    }
    wake_up(loop);
}

void ws_loop_stop(ws_loop_t *loop, uint16_t code, const char *reason,
                  int64_t limit)
{
    ws_loop_drain(loop, code, reason, 0, limit);
}

void ws_loop_close_bound(ws_loop_t *loop, uint16_t code, const char *reason)
{
    if (begin_order(&loop->stop_bound)) {
        loop->stop_bound.code = code;
        loop->stop_bound.reason = reason;
        atomic_store(&loop->stop_bound.state, ASKED);
    }
    wake_up(loop);
}
