#include "ws_timer.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64

void ws_timers_init(ws_timers_t *timers)
{
    timers->heap = NULL;
    timers->count = 0;
    timers->capacity = 0;
}

void ws_timers_clear(ws_timers_t *timers)
{
    free(timers->heap);
    ws_timers_init(timers);
}

ws_status_t ws_timers_reserve(ws_timers_t *timers, size_t count)
{
    size_t capacity = timers->capacity;
    ws_timer_t **heap;

    if (count < capacity) {
        return WS_OK;
    }
    capacity = capacity == 0 ? FIRST_CAPACITY : capacity;
    while (capacity <= count) {
        capacity *= 2;
    }
    heap = realloc(timers->heap, capacity * sizeof(*heap));
    if (heap == NULL) {
        return WS_ENOMEM;
    }
    timers->heap = heap;
    timers->capacity = capacity;
    return WS_OK;
}

static void put(ws_timers_t *timers, size_t place, ws_timer_t *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void rise(ws_timers_t *timers, size_t place, ws_timer_t *timer)
{
    while (place > 1 && timers->heap[place / 2]->when > timer->when) {
        put(timers, place, timers->heap[place / 2]);
        place /= 2;
    }
    put(timers, place, timer);
}

static void sink(ws_timers_t *timers, size_t place, ws_timer_t *timer)
{
    size_t child;

    for (;;) {
        child = place * 2;
        if (child < timers->count &&
            timers->heap[child + 1]->when < timers->heap[child]->when) {
            child++;
        }
        if (child > timers->count ||
            timers->heap[child]->when >= timer->when) {
            break;
        }
        put(timers, place, timers->heap[child]);
        place = child;
    }
    put(timers, place, timer);
}

void ws_timer_set(ws_timers_t *timers, ws_timer_t *timer, int64_t when)
{
    ws_timer_cancel(timers, timer);
    timer->when = when;
    timers->count++;
    rise(timers, timers->count, timer);
}

void ws_timer_cancel(ws_timers_t *timers, ws_timer_t *timer)
{
    size_t place = timer->place;
    ws_timer_t *last;

    if (place == 0) {
        return;
    }
    timer->place = 0;
    last = timers->heap[timers->count--];
    if (last == timer) {
        return;
    }
    if (place > 1 && timers->heap[place / 2]->when > last->when) {
        rise(timers, place, last);
    }
    else {
        sink(timers, place, last);
    }
}

ws_timer_t *ws_timers_due(ws_timers_t *timers, int64_t now)
{
    ws_timer_t *first;

    if (timers->count == 0 || timers->heap[1]->when > now) {
        return NULL;
    }
    first = timers->heap[1];
    ws_timer_cancel(timers, first);
    return first;
}

int64_t ws_timers_next(const ws_timers_t *timers)
{
    return timers->count == 0 ? -1 : timers->heap[1]->when;
}
