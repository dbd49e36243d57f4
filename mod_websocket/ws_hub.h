/* ws_hub: the topics of one loop: who subscribes, and delivery of what the
 * shared log brings. How many subscribe it tells all processes:
 * ws_log_subscribers().
 *
 * Publishing appends to the log and nothing more. Each loop's hub reads the
 * log in its order and sends each record to its own subscribers, framed once.
 *
 * Threads:  the owning loop's thread only.
 * Lifetime: owned by its loop's worker; outlives all subscribers. */
#ifndef WS_HUB_H
#define WS_HUB_H

#include <stdint.h>
#include <sys/types.h>

#include "ws_conn.h"
#include "ws_log.h"
#include "ws_logger.h"
#include "ws_loop.h"

typedef struct ws_hub ws_hub_t;
typedef struct ws_subscription ws_subscription_t;

/* Embedded in what receives; zero but for conn and id to begin. */
typedef struct {
    ws_conn_t *conn;
    uint64_t id;                     /* ws_log_next_id() */
    ws_subscription_t *subscriptions;
} ws_subscriber_t;

/* NULL: out of memory, or no slot is free. log and logger are borrowed. */
ws_hub_t *ws_hub_create(ws_log_t *log, const ws_logger_t *logger);
void ws_hub_destroy(ws_hub_t *hub);

/* For the loop that is to run it. */
ws_loop_waker_t ws_hub_waker(const ws_hub_t *hub);
ws_source_t ws_hub_source(ws_hub_t *hub);

ws_log_t *ws_hub_log(const ws_hub_t *hub);

/* In the shared memory of the hub's slot; their limits are 0 to begin. */
ws_budgets_t *ws_hub_budgets(const ws_hub_t *hub);

/* ws_log_slot_pass(). Any thread. */
void ws_hub_pass(ws_hub_t *hub, pid_t from, pid_t to);

/* From now on: what was appended before is not delivered. Twice is once. */
ws_status_t ws_hub_subscribe(ws_hub_t *hub, ws_subscriber_t *subscriber,
                             const void *topic, size_t length);

/* From now on no more: also not what was appended and is not delivered yet; but
 * what waits in the connection's queue has been delivered. Who subscribes again
 * begins anew. WS_EINVAL: it was not subscribed. */
ws_status_t ws_hub_unsubscribe(ws_hub_t *hub, ws_subscriber_t *subscriber,
                               const void *topic, size_t length);

/* Ends all subscriptions. */
void ws_hub_unsubscribe_all(ws_hub_t *hub, ws_subscriber_t *subscriber);

#endif
