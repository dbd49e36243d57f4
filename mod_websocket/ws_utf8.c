#include "ws_utf8.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080u
#define SHORT 64                     /* not worth a choice */

static bool runs_anywhere(void)
{
    return true;
}

static size_t skip_nothing(const uint8_t *data, size_t len)
{
    (void)data;
    (void)len;
    return 0;
}

#if defined(__x86_64__)
static bool runs_with_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static bool runs_with_ssse3(void)
{
    return __builtin_cpu_supports("ssse3");
}
#endif

const ws_utf8_impl_t ws_utf8_impls[] = {
#if defined(__x86_64__)
    {"avx2", runs_with_avx2, ws_utf8_skip_avx2},
    {"ssse3", runs_with_ssse3, ws_utf8_skip_ssse3},
#elif defined(__aarch64__)
    {"neon", runs_anywhere, ws_utf8_skip_neon},
#endif
    {"portable", runs_anywhere, skip_nothing},
    {NULL, NULL, NULL},
};

/* The first byte of a sequence decides how many follow and what the first of
 * those may be: RFC 3629 4, the table UTF8-octets. That range is what rules
 * out overlong forms (C0, C1, E0, F0), surrogates (ED) and what lies beyond
 * U+10FFFF (F4 and above). */
static bool begin_sequence(ws_utf8_t *state, uint8_t first)
{
    state->low = 0x80;
    state->high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
        state->needed = 1;
    }
    else if (first >= 0xe0 && first <= 0xef) {
        state->needed = 2;
        state->low = first == 0xe0 ? 0xa0 : 0x80;
        state->high = first == 0xed ? 0x9f : 0xbf;
    }
    else if (first >= 0xf0 && first <= 0xf4) {
        state->needed = 3;
        state->low = first == 0xf0 ? 0x90 : 0x80;
        state->high = first == 0xf4 ? 0x8f : 0xbf;
    }
    else {
        return false;
    }
    return true;
}

static size_t skip_ascii(const uint8_t *data, size_t at, size_t len)
{
    uint64_t word;

    while (at + sizeof(word) <= len) {
        memcpy(&word, data + at, sizeof(word));
        if (word & HIGH_BITS) {
            break;
        }
        at += sizeof(word);
    }
    while (at < len && data[at] < 0x80) {
        at++;
    }
    return at;
}

/* Goes on at data[at], until len or until the first byte that is wrong. */
static size_t check_bytes(ws_utf8_t *state, const uint8_t *data, size_t at,
                          size_t len)
{
    while (at < len) {
        if (state->needed == 0) {
            at = skip_ascii(data, at, len);
            if (at == len) {
                break;
            }
            if (!begin_sequence(state, data[at])) {
                return at;
            }
        }
        else {
            if (data[at] < state->low || data[at] > state->high) {
                return at;
            }
            state->needed--;
            state->low = 0x80;
            state->high = 0xbf;
        }
        at++;
    }
    return len;
}

/* What the vectors do not skip is left to the bytes' own check: it finishes
 * the sequence that the last call left open, and it alone finds the index of
 * a byte that is wrong. */
size_t ws_utf8_check_by(const ws_utf8_impl_t *impl, ws_utf8_t *state,
                        const uint8_t *data, size_t len)
{
    size_t at = 0;

    if (state->needed > 0) {
        size_t open = state->needed < len ? state->needed : len;

        at = check_bytes(state, data, 0, open);
        if (at < open || state->needed > 0) {
            return at;
        }
    }
    at += impl->skip(data + at, len - at);
    return check_bytes(state, data, at, len);
}

size_t ws_utf8_check(ws_utf8_t *state, const uint8_t *data, size_t len)
{
    const ws_utf8_impl_t *impl = ws_utf8_impls;

    if (len < SHORT) {
        return check_bytes(state, data, 0, len);
    }
    while (!impl->runs_here()) {
        impl++;
    }
    return ws_utf8_check_by(impl, state, data, len);
}
