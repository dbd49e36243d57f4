/* ws_worker: a thread with its loop and its hub.
 * Threads:  created and destroyed by one thread; the rest by any.
 * Lifetime: log and logger are borrowed and outlive it. */
#ifndef WS_WORKER_H
#define WS_WORKER_H

#include <apr_pools.h>

#include "ws_hub.h"
#include "ws_loop.h"
#include "ws_watch.h"

typedef struct ws_worker ws_worker_t;

/* Makes the loop and starts its thread, which takes no signals. budgets: see
 * ws_loop_create(); NULL: those of its own hub's slot.
 * NULL: no memory, descriptors, thread, or slot in the log. */
ws_worker_t *ws_worker_create(ws_log_t *log, const ws_logger_t *logger,
                              ws_budgets_t *budgets, apr_pool_t *pool);

/* Has its loop watched for as long as it lives. watch is borrowed and outlives
 * it. */
void ws_worker_watch(ws_worker_t *worker, ws_watch_t *watch);

/* Begins the end: ws_loop_stop(). */
void ws_worker_stop(ws_worker_t *worker, uint16_t code, const char *reason,
                    int64_t limit);

/* After ws_worker_stop(): waits for the thread, then frees. Returns false, and
 * frees nothing, if the thread has not ended within limit ms: a handler holds
 * it up. */
bool ws_worker_join(ws_worker_t *worker, int64_t limit);

ws_loop_t *ws_worker_loop(const ws_worker_t *worker);
ws_hub_t *ws_worker_hub(const ws_worker_t *worker);

#endif
