/* ws_guard: how fast a client may send, how long it may be idle, how old its
 * connection may get. It reckons; ws_conn acts.
 * Threads:  the owning loop's thread only.
 * Lifetime: of the connection; those without such limits have none. */
#ifndef WS_GUARD_H
#define WS_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So many a second, and so many at once after a while without any. */
typedef struct {
    uint64_t per_second;             /* 0: no limit; at most 2^30 */
    uint64_t burst;                  /* at least 1; at most 2^30 */
} ws_rate_t;

/* Limits; times in ms, 0: none. */
typedef struct {
    ws_rate_t messages;
    ws_rate_t bytes;
    bool over_rate_closes;           /* else it is read no faster */
    int64_t idle_timeout;            /* without a message, either way */
    int64_t max_age;
} ws_guard_limits_t;

/* Times in ms of the turn's clock, but for the rates'. */
typedef struct {
    int64_t messages_at;             /* ns: what came is paid for until then */
    int64_t bytes_at;
    int64_t wait_until;              /* nothing is read before; 0: it is */
    int64_t last_message;
    int64_t ends;                    /* 0: never */
    uint64_t dropped;                /* messages that it was not sent */
} ws_guard_t;

/* Does any of the limits need a guard? */
bool ws_guard_needed(const ws_guard_limits_t *limits);

/* random: any number; spreads the ends of connections that began together over
 * the last tenth of their age. */
void ws_guard_init(ws_guard_t *guard, const ws_guard_limits_t *limits,
                   int64_t now, uint32_t random);

/* One message came, or so many bytes. Are they within the rate? They are
 * counted if so, and in any case where over-rate clients are only slowed
 * down. Then wait_until is when more may be read. */
bool ws_guard_message(ws_guard_t *guard, const ws_guard_limits_t *limits,
                      int64_t now);
bool ws_guard_bytes(ws_guard_t *guard, const ws_guard_limits_t *limits,
                    uint64_t count, int64_t now);

/* The earliest time at which one of them is over; 0: none is set. Who is not
 * read is not idle. */
int64_t ws_guard_deadline(const ws_guard_t *guard,
                          const ws_guard_limits_t *limits, bool is_read);

/* How many bytes to read at once, of so many: who is only slowed down when it is
 * too fast is not to have sent much more by then. */
size_t ws_guard_read_size(const ws_guard_limits_t *limits, size_t size);

bool ws_guard_is_old(const ws_guard_t *guard, int64_t now);
bool ws_guard_is_idle(const ws_guard_t *guard, const ws_guard_limits_t *limits,
                      int64_t now);

#endif
