/* ws_utf8: is this UTF-8 (RFC 3629)? Told at the byte where it stops being so.
 * Threads:  pure functions; any thread.
 * Lifetime: ws_utf8_t is plain data; zero it to begin a text. */
#ifndef WS_UTF8_H
#define WS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t needed;                  /* continuation bytes still to come */
    uint8_t low, high;               /* what the next of them may be */
} ws_utf8_t;

/* Checks the next len bytes of a text. Returns len if they may stand there,
 * else the index of the first byte that may not. After that *state is
 * undefined. */
size_t ws_utf8_check(ws_utf8_t *state, const uint8_t *data, size_t len);

/* Does the text end here, with no sequence left open? */
static inline bool ws_utf8_complete(const ws_utf8_t *state)
{
    return state->needed == 0;
}

#endif
