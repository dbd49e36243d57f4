#include "ws_activity.h"

#include "ws_clock.h"

static void ring(ws_activity_t *activity, bool has_ended)
{
    ws_bell_t *bell = activity->bell;

    pthread_mutex_lock(&bell->lock);
    if (has_ended && activity->stalled != 0 && activity->took < 0) {
        activity->took = ws_clock_ms() - atomic_load(&activity->since);
        bell->is_urgent = true;
    }
    atomic_store(&activity->attention,
                 activity->stalled != 0 && activity->took < 0);
    bell->is_rung = true;
    pthread_cond_signal(&bell->bell);
    pthread_mutex_unlock(&bell->lock);
}

/* Only the loop's thread changes the number of turns. */
void ws_activity_begin(ws_activity_t *activity, int64_t now)
{
    uint64_t turns =
        atomic_load_explicit(&activity->turns, memory_order_relaxed);

    atomic_store_explicit(&activity->since, now, memory_order_relaxed);
    atomic_store(&activity->turns, turns + 1 + turns % 2);
    if (atomic_load(&activity->attention)) {
        ring(activity, false);
    }
}

void ws_activity_end(ws_activity_t *activity)
{
    uint64_t turns =
        atomic_load_explicit(&activity->turns, memory_order_relaxed);

    atomic_store(&activity->turns, turns + turns % 2);
    if (atomic_load(&activity->attention)) {
        ring(activity, true);
    }
}

void ws_activity_sync(ws_activity_t *activity)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&activity->attention)) {    /* it may be reading */
        pthread_mutex_lock(&activity->bell->lock);
        pthread_mutex_unlock(&activity->bell->lock);
    }
}
