/* ws_timer: timers of one loop, ordered by when they are due (a binary heap).
 * Threads:  the owning loop's thread only.
 * Lifetime: a ws_timer_t is embedded in what it is about; cancel it before
 *           that is freed. */
#ifndef WS_TIMER_H
#define WS_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "ws_status.h"

typedef struct {
    int64_t when;                    /* ms, monotonic */
    size_t place;                    /* in the heap, from 1; 0: not set */
} ws_timer_t;

typedef struct {
    ws_timer_t **heap;               /* heap[0] is not used */
    size_t count;
    size_t capacity;
} ws_timers_t;

void ws_timers_init(ws_timers_t *timers);
void ws_timers_clear(ws_timers_t *timers);

/* Makes room for count timers in all, so that ws_timer_set() cannot fail. */
ws_status_t ws_timers_reserve(ws_timers_t *timers, size_t count);

/* Sets, or sets anew. There must be room: ws_timers_reserve(). */
void ws_timer_set(ws_timers_t *timers, ws_timer_t *timer, int64_t when);

/* Does nothing if the timer is not set. */
void ws_timer_cancel(ws_timers_t *timers, ws_timer_t *timer);

/* The first that is due at now, no longer set; NULL: none is. */
ws_timer_t *ws_timers_due(ws_timers_t *timers, int64_t now);

/* When the first is due; -1: none is set. */
int64_t ws_timers_next(const ws_timers_t *timers);

#endif
