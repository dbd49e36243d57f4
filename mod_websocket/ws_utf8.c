#include "ws_utf8.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080u

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

size_t ws_utf8_check(ws_utf8_t *state, const uint8_t *data, size_t len)
{
    size_t at = 0;

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
