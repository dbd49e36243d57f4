/* ws_worker: a thread with its loop and its hub.
 * A process that ends may leave its workers to one that it forks: pause and
 * wait for all, fork; there, move and start them.
 *
 * Threads:  _stop, _drain, _close_bound, _pause, _count, _loop and _hub by any
 *           thread, the first two and _count by signal handlers too; the rest
 *           by the one that created it.
 * Lifetime: log and logger are borrowed and outlive it. */
#ifndef WS_WORKER_H
#define WS_WORKER_H

#include <apr_pools.h>
#include <sys/types.h>

#include "ws_hub.h"
#include "ws_loop.h"
#include "ws_watch.h"

typedef struct ws_worker ws_worker_t;

/* Makes the loop and the hub. What waits to be sent is charged to the slot of
 * its own hub; memory for compression to the budget that is given, or (NULL)
 * there, too. NULL: no memory, descriptors, or slot in the log. */
ws_worker_t *ws_worker_create(ws_log_t *log, const ws_logger_t *logger,
                              ws_budget_t *compression, apr_pool_t *pool);

/* Gives it a thread, which takes no signals; again after a pause and the wait
 * for it. WS_EIO: none is to be had; errno. */
ws_status_t ws_worker_start(ws_worker_t *worker);

/* Has its loop watched for as long as it lives. watch is borrowed and outlives
 * it. */
void ws_worker_watch(ws_worker_t *worker, ws_watch_t *watch);

/* Begins the end: ws_loop_stop(). */
void ws_worker_stop(ws_worker_t *worker, uint16_t code, const char *reason,
                    int64_t limit);

/* ws_loop_drain(), ws_loop_close_bound(). */
void ws_worker_drain(ws_worker_t *worker, uint16_t code, const char *reason,
                     int64_t spread, int64_t limit);
void ws_worker_close_bound(ws_worker_t *worker, uint16_t code,
                           const char *reason);

/* Begins a pause: ws_loop_pause(). */
void ws_worker_pause(ws_worker_t *worker);

/* After one of these: waits for the thread to end. Returns false if it has not
 * within limit ms: a handler holds it up. */
bool ws_worker_wait(ws_worker_t *worker, int64_t limit);

/* Waits, then frees; frees nothing if it returns false. */
bool ws_worker_join(ws_worker_t *worker, int64_t limit);


/* After a pause and the wait for it, and then a stop: does in this thread what
 * is left to do. */
void ws_worker_finish(ws_worker_t *worker);

/* After a pause, the wait for it and a fork: makes it this process's own, to
 * be started. */
ws_status_t ws_worker_move(ws_worker_t *worker);

/* Whose its place among the log's readers is: ws_log_slot_pass(). */
void ws_worker_pass(ws_worker_t *worker, pid_t from, pid_t to);

/* Connections that it holds, or held a moment ago. */
size_t ws_worker_count(const ws_worker_t *worker);

ws_loop_t *ws_worker_loop(const ws_worker_t *worker);
ws_hub_t *ws_worker_hub(const ws_worker_t *worker);

#endif
