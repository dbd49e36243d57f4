/* ws_loop: polls the connections of one thread, runs their timers and the
 * tasks that other threads post.
 *
 * A turn: wait for events; handle them; timers; tasks; the source (what came
 * from the shared log); connections with something left to do; free those
 * that are done.
 *
 * Threads:  ws_loop_run() by one thread; ws_loop_post() and ws_loop_stop() by
 *           any; the rest by the loop's own thread, or before it runs.
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

/* Embedded in what it is about; must stay until it has run. */
struct ws_task {
    ws_task_t *next;
    void (*run)(ws_loop_t *loop, ws_task_t *task);
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

/* NULL: out of memory or descriptors. budgets are borrowed (NULL: none): memory for
 * compression, and for what waits to be sent, is charged to them. Where the
 * latter comes to its limit (0: none), the connections with the longest queues
 * are closed. pool is only used until the call returns and
 * when the loop is destroyed. */
ws_loop_t *ws_loop_create(const ws_loop_waker_t *waker,
                          ws_budgets_t *budgets, apr_pool_t *pool);
void ws_loop_destroy(ws_loop_t *loop);

/* *source is copied. Before the loop runs. */
void ws_loop_set_source(ws_loop_t *loop, const ws_source_t *source);

/* Runs until ws_loop_stop(). */
void ws_loop_run(ws_loop_t *loop);

/* Any thread. Has task->run() called on the loop's thread. Returns false, and
 * does nothing, if the loop has stopped. */
bool ws_loop_post(ws_loop_t *loop, ws_task_t *task);

/* Any thread. Closes all connections, those too that are added later, with
 * code and reason (static text), and ends the loop when the last is gone, at
 * the latest after limit ms. */
void ws_loop_stop(ws_loop_t *loop, uint16_t code, const char *reason,
                  int64_t limit);

/* What to lend to ws_conn_init(). */
ws_turn_t *ws_loop_turn(ws_loop_t *loop);

/* Takes over link, whose conn is initialized, and starts it with length bytes
 * of input. WS_ENOMEM, WS_EIO, WS_ECLOSED: not taken; no callback was made. */
ws_status_t ws_loop_add(ws_loop_t *loop, ws_link_t *link, uint8_t *data,
                        size_t length);

/* What it is doing; the owner writes down which callback runs. */
ws_activity_t *ws_loop_activity(ws_loop_t *loop);

/* Connections it holds. */
size_t ws_loop_count(const ws_loop_t *loop);

#endif
