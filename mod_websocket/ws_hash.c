/* J.-P. Aumasson, D. J. Bernstein: SipHash, a fast short-input PRF (2012). */
#include "ws_hash.h"

#include <string.h>

typedef struct {
    uint64_t a, b, c, d;             /* v0 to v3 of the paper */
} state_t;

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void mix(state_t *v, int rounds)
{
    int i;

    for (i = 0; i < rounds; i++) {
        v->a += v->b;
        v->b = rotate(v->b, 13) ^ v->a;
        v->a = rotate(v->a, 32);
        v->c += v->d;
        v->d = rotate(v->d, 16) ^ v->c;
        v->a += v->d;
        v->d = rotate(v->d, 21) ^ v->a;
        v->c += v->b;
        v->b = rotate(v->b, 17) ^ v->c;
        v->c = rotate(v->c, 32);
    }
}

static void take_in(state_t *v, uint64_t word)
{
    v->d ^= word;
    mix(v, 2);
    v->a ^= word;
}

/* Little-endian; compilers make one load of it. */
static uint64_t word_at(const uint8_t *bytes)
{
    return (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 |
           (uint64_t)bytes[2] << 16 | (uint64_t)bytes[3] << 24 |
           (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 |
           (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
}

uint64_t ws_hash(const ws_hash_key_t *key, const void *data, size_t length)
{
    state_t v = {key->words[0] ^ 0x736f6d6570736575u,
                 key->words[1] ^ 0x646f72616e646f6du,
                 key->words[0] ^ 0x6c7967656e657261u,
                 key->words[1] ^ 0x7465646279746573u};
    uint8_t last[8] = {0};
    const uint8_t *bytes = data;
    size_t left = length;

    for (; left >= 8; left -= 8) {
        take_in(&v, word_at(bytes));
        bytes += 8;
    }
    if (left > 0) {
        memcpy(last, bytes, left);
    }
    last[7] = (uint8_t)length;
    take_in(&v, word_at(last));
    v.c ^= 0xff;
    mix(&v, 4);
    return v.a ^ v.b ^ v.c ^ v.d;
}
