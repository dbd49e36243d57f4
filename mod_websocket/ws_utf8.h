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

/* --- the ways to do it: for ws_utf8.c, the tests and the benchmark --- */

typedef struct {
    const char *name;
    bool (*runs_here)(void);         /* has this processor what it takes? */
    /* How much of data may be skipped: that much is UTF-8 and ends between
     * two sequences. What lies behind it is the caller's to check. */
    size_t (*skip)(const uint8_t *data, size_t len);
} ws_utf8_impl_t;

/* The best first; the portable one, which runs anywhere; then a NULL name. */
extern const ws_utf8_impl_t ws_utf8_impls[];

/* ws_utf8_check() in the way that is asked for. */
size_t ws_utf8_check_by(const ws_utf8_impl_t *impl, ws_utf8_t *state,
                        const uint8_t *data, size_t len);

/* ws_utf8_simd.c */
#if defined(__x86_64__)
size_t ws_utf8_skip_avx2(const uint8_t *data, size_t len);
size_t ws_utf8_skip_ssse3(const uint8_t *data, size_t len);
#elif defined(__aarch64__)
size_t ws_utf8_skip_neon(const uint8_t *data, size_t len);
#endif

#endif
