/* ws_loop: polls the connections of one thread, runs their timers and the
 * tasks that other threads post.
 *
 * A turn: wait for events; handle them; timers; tasks; the source (what came
 * from the shared log); connections with something left to do; free those
 * that are done.
 *
 * Threads:  ws_loop_run() by one thread; ws_loop_post(), ws_loop_pause(),
 *           ws_loop_stop(), ws_loop_drain() and ws_loop_close_bound() by any;
 *           the rest by the loop's own thread, or while it does not run.
 * Lifetime: destroy it after ws_loop_run() has returned. */
#ifndef WS_LOOP_H
#define WS_LOOP_H

#include <apr_poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ws_activity.h"
#include "ws_conn.h"
#include "ws_timer.h"
#include "ws_wake.h"

typedef struct ws_loop ws_loop_t;
typedef struct ws_link ws_link_t;
typedef struct ws_task ws_task_t;
typedef struct ws_alarm ws_alarm_t;

/* Embedded in what it is about; must stay until it has run. */
struct ws_task {
    ws_task_t *next;
    void (*run)(ws_loop_t *loop, ws_task_t *task);
};

/* Runs at a time. Embedded in what it is about; cancel it before that is
 * freed. All zero to begin. */
struct ws_alarm {
    ws_timer_t timer;
    /* It is not set any more, and may be set anew, or freed. */
    void (*run)(ws_loop_t *loop, ws_alarm_t *alarm);
};

/* A connection and what its loop knows of it. Embedded by the owner. */
struct ws_link {
    ws_conn_t conn;
    apr_pollfd_t pollfd;
    ws_timer_t timer;
    ws_loop_t *loop;
    ws_link_t *next, *prev;
    /* Frees the owner's struct; the connection is clear by then. */
    void (*destroy)(ws_link_t *link);
    bool is_bound;                   /* by the owner: the other end is in this
                                      * process, so it cannot be moved */
    bool is_polled;
    bool is_done;
};

/* A second source of work besides the sockets. */
typedef struct {
    bool (*is_ready)(void *baton);   /* is there work? */
    void (*run)(void *baton);        /* does some of it */
    int64_t (*wait_limit)(void *baton); /* look again after so many ms; -1:
                                      * only when woken */
    void *baton;
} ws_source_t;

typedef struct {
    /* Both are borrowed, outlive the loop, and may be shared with other
     * processes: who has brought work for the source sets *sleeping from 1 to
     * 0 and, if it was 1, notifies. */
    const ws_wake_t *wake;
    _Atomic uint32_t *sleeping;
    _Atomic uint32_t *connections;   /* told how many the loop holds; NULL */
} ws_loop_waker_t;

/* NULL: out of memory or descriptors. The budgets are borrowed (NULL: none):
 * memory for compression, and for what waits to be sent, is charged to them.
 * The latter is this loop's alone: where it comes to its limit (0: none), the
 * connections with the longest queues are closed. pool is only used until the
 * call returns and when the loop is destroyed. */
ws_loop_t *ws_loop_create(const ws_loop_waker_t *waker,
                          ws_budget_t *compression, ws_budget_t *sending,
                          apr_pool_t *pool);
void ws_loop_destroy(ws_loop_t *loop);

/* *source is copied. Before the loop runs. */
void ws_loop_set_source(ws_loop_t *loop, const ws_source_t *source);

/* Runs until ws_loop_stop(), or until ws_loop_pause(): then everything is as
 * it was, but that bound connections are gone, and it can be run again. */
void ws_loop_run(ws_loop_t *loop);

/* Any thread. Has ws_loop_run() return after its turn. What is posted while it
 * pauses is run when it goes on. */
void ws_loop_pause(ws_loop_t *loop);

/* Any thread. Takes a pause back, or has one that pauses ready to be run. */
void ws_loop_unpause(ws_loop_t *loop);

/* Of one that pauses, in a process that was forked since: polls its sockets by
 * itself from now on; what the process before polls with stays as it is. */
ws_status_t ws_loop_move(ws_loop_t *loop);

/* Any thread. Has ws_loop_run() return when there is no connection (any more),
 * too. */
void ws_loop_end_when_empty(ws_loop_t *loop);

/* While it does not run: has it neither connections nor tasks? */
bool ws_loop_is_empty(ws_loop_t *loop);

/* Any thread. Has task->run() called on the loop's thread. Returns false, and
 * does nothing, if the loop has stopped. */
bool ws_loop_post(ws_loop_t *loop, ws_task_t *task);

/* Any thread, and signal handlers. Closes all connections, those too that are
 * added later, with code and reason (static text), and ends the loop when the
 * last is gone, at the latest after limit ms. The first call counts. */
void ws_loop_stop(ws_loop_t *loop, uint16_t code, const char *reason,
                  int64_t limit);

/* The same, but the closes are spread over the first so many ms: those who
 * connect again do not come all at once. */
void ws_loop_drain(ws_loop_t *loop, uint16_t code, const char *reason,
                   int64_t spread, int64_t limit);

/* Any thread. Closes bound connections, those too that are added later. The
 * first call counts. */
void ws_loop_close_bound(ws_loop_t *loop, uint16_t code, const char *reason);

/* What to lend to ws_conn_init(). */
ws_turn_t *ws_loop_turn(ws_loop_t *loop);

/* Takes over link, whose conn is initialized, and starts it with length bytes
 * of input. WS_ENOMEM, WS_EIO, WS_ECLOSED: not taken; no callback was made. */
ws_status_t ws_loop_add(ws_loop_t *loop, ws_link_t *link, uint8_t *data,
                        size_t length);

/* Calls visit for each connection. It may send and close. */
void ws_loop_each(ws_loop_t *loop, void (*visit)(ws_link_t *link, void *baton),
                  void *baton);

/* Sets it, or sets it anew: it runs in so many ms (0 or more), not in the run
 * of another. WS_ENOMEM: it is not set. */
ws_status_t ws_loop_alarm(ws_loop_t *loop, ws_alarm_t *alarm, int64_t delay);

/* Does nothing if it is not set. */
void ws_loop_cancel(ws_loop_t *loop, ws_alarm_t *alarm);

/* Any thread. Is this the loop's thread, or has it none? */
bool ws_loop_is_here(const ws_loop_t *loop);

/* What it is doing; the owner writes down which callback runs. */
ws_activity_t *ws_loop_activity(ws_loop_t *loop);

/* Connections it holds. */
size_t ws_loop_count(const ws_loop_t *loop);

#endif
