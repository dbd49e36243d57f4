/* ws_clock: the one clock of all times here: monotonic, so that it does not
 * jump when the time of day is set.
 * Threads:  any. */
#ifndef WS_CLOCK_H
#define WS_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t ws_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t ws_clock_ms(void)
{
    return ws_clock_ns() / 1000000;
}

/* The time in so many ms, for a pthread_cond_t that waits by this clock. */
static inline struct timespec ws_clock_in(int64_t ms)
{
    int64_t when = ws_clock_ns() + ms * 1000000;

    return (struct timespec){.tv_sec = (time_t)(when / 1000000000),
                             .tv_nsec = (long)(when % 1000000000)};
}

#endif
