#include "ws_guard.h"

#include <string.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define JITTER 10                    /* of the age, one part in so many */
#define READ_LEAST 4096
#define READ_MOST (16 * 1024)

bool ws_guard_needed(const ws_guard_limits_t *limits)
{
    return limits->messages.per_second > 0 || limits->bytes.per_second > 0 ||
           limits->idle_timeout > 0 || limits->max_age > 0;
}

void ws_guard_init(ws_guard_t *guard, const ws_guard_limits_t *limits,
                   int64_t now, uint32_t random)
{
    int64_t spread = limits->max_age / JITTER;

    memset(guard, 0, sizeof(*guard));
    guard->last_message = now;
    if (limits->max_age > 0) {
        guard->ends = now + limits->max_age - random % (spread + 1);
    }
}

/* --- rates --- */

/* The time that so many take at this rate, ns. */
static int64_t span(const ws_rate_t *rate, uint64_t count)
{
    return (int64_t)(count * NS_PER_S / rate->per_second);
}

/* How long until count more are within the rate, ms; 0: they are. */
static int64_t time_until(int64_t paid_until, const ws_rate_t *rate,
                          uint64_t count, int64_t now)
{
    int64_t start = paid_until > now * NS_PER_MS ? paid_until : now * NS_PER_MS;
    int64_t over =
        start + span(rate, count) - span(rate, rate->burst) - now * NS_PER_MS;

    return over > 0 ? (over + NS_PER_MS - 1) / NS_PER_MS : 0;
}

static bool spend(ws_guard_t *guard, int64_t *paid_until,
                  const ws_rate_t *rate, bool over_closes, uint64_t count,
                  int64_t now)
{
    int64_t wait;

    if (rate->per_second == 0) {
        return true;
    }
    if (over_closes && time_until(*paid_until, rate, count, now) > 0) {
        return false;
    }
    if (*paid_until < now * NS_PER_MS) {
        *paid_until = now * NS_PER_MS;
    }
    *paid_until += span(rate, count);
    if (over_closes) {
        return true;
    }
    wait = time_until(*paid_until, rate, 1, now);
    if (wait > 0 && now + wait > guard->wait_until) {
        guard->wait_until = now + wait;
    }
    return wait == 0;
}

bool ws_guard_message(ws_guard_t *guard, const ws_guard_limits_t *limits,
                      int64_t now)
{
    return spend(guard, &guard->messages_at, &limits->messages,
                 limits->over_rate_closes, 1, now);
}

bool ws_guard_bytes(ws_guard_t *guard, const ws_guard_limits_t *limits,
                    uint64_t count, int64_t now)
{
    return spend(guard, &guard->bytes_at, &limits->bytes,
                 limits->over_rate_closes, count, now);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t ws_guard_read_size(const ws_guard_limits_t *limits, size_t size)
{
    size_t burst = (size_t)limits->bytes.burst;

    if (limits->over_rate_closes || (limits->messages.per_second == 0 &&
                                     limits->bytes.per_second == 0)) {
        return size;
    }
    if (limits->bytes.per_second > 0 && burst < READ_MOST) {
        return smaller(size, burst > READ_LEAST ? burst : READ_LEAST);
    }
    return smaller(size, READ_MOST);
}

/* --- times --- */

static int64_t earlier(int64_t a, int64_t b)
{
    if (a == 0 || b == 0) {
        return a + b;
    }
    return a < b ? a : b;
}

int64_t ws_guard_deadline(const ws_guard_t *guard,
                          const ws_guard_limits_t *limits, bool is_read)
{
    int64_t idle = limits->idle_timeout > 0 && is_read
                       ? guard->last_message + limits->idle_timeout
                       : 0;

    return earlier(earlier(idle, guard->ends), guard->wait_until);
}

bool ws_guard_is_old(const ws_guard_t *guard, int64_t now)
{
    return guard->ends > 0 && now >= guard->ends;
}

bool ws_guard_is_idle(const ws_guard_t *guard, const ws_guard_limits_t *limits,
                      int64_t now)
{
    return limits->idle_timeout > 0 &&
           now >= guard->last_message + limits->idle_timeout;
}
