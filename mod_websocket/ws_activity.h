/* ws_activity: what a loop is doing, written down for who watches it.
 *
 * The loop says where each turn begins and ends, and what it calls in between.
 * Each is a store; only when the watcher has asked for attention does the loop
 * take a lock and wake it. One rule holds it together: the loop stores, then
 * looks for the request; the watcher asks, then looks what is stored.
 *
 * Threads:  ws_activity_begin() to _sync() by the loop's thread; the rest by
 *           the watcher, who holds its lock.
 * Lifetime: embedded in its loop. */
#ifndef WS_ACTIVITY_H
#define WS_ACTIVITY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Where the loop finds its watcher. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t bell;
    /* guarded by lock */
    bool is_rung;                    /* a loop began to turn */
    bool is_urgent;                  /* there is something to be told */
} ws_bell_t;

typedef struct ws_activity ws_activity_t;

struct ws_activity {
    _Atomic uint64_t turns;          /* odd: inside of one */
    _Atomic int64_t since;           /* ms: when it began */
    _Atomic bool attention;          /* ring the bell at the next change */
    /* The callback that runs; NULL: none. client belongs to a connection; NULL:
     * it is called for none. */
    const char *_Atomic handler;
    const char *_Atomic callback;
    const char *_Atomic client;

    /* the watcher's, guarded by bell->lock */
    ws_activity_t *next;
    ws_bell_t *bell;
    unsigned number;
    uint64_t seen;                   /* turns, at the last look */
    uint64_t stalled;                /* the turn that was told; 0: none */
    int64_t took;                    /* ms: how long that was; < 0: it lasts */
};

void ws_activity_begin(ws_activity_t *activity, int64_t now);
void ws_activity_end(ws_activity_t *activity);

/* All three are borrowed until ws_activity_return(), client until a
 * ws_activity_sync() after that. */
static inline void ws_activity_call(ws_activity_t *activity,
                                    const char *handler, const char *callback,
                                    const char *client)
{
    atomic_store_explicit(&activity->client, client, memory_order_release);
    atomic_store_explicit(&activity->handler, handler, memory_order_release);
    atomic_store_explicit(&activity->callback, callback, memory_order_release);
}

static inline void ws_activity_return(ws_activity_t *activity)
{
    atomic_store_explicit(&activity->callback, NULL, memory_order_relaxed);
    atomic_store_explicit(&activity->client, NULL, memory_order_relaxed);
}

/* From now on the watcher reads nothing that has returned: it may be freed. */
void ws_activity_sync(ws_activity_t *activity);

#endif
