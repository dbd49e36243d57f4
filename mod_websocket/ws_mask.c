#include "ws_mask.h"

#include <string.h>

#define SHORT 64                     /* not worth a choice */

static bool runs_anywhere(void)
{
    return true;
}

#if defined(__x86_64__)
static bool runs_with_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
#endif

const ws_mask_impl_t ws_mask_impls[] = {
#if defined(__x86_64__)
    {"avx2", runs_with_avx2, ws_mask_avx2},
    {"sse2", runs_anywhere, ws_mask_sse2},
#elif defined(__aarch64__)
    {"neon", runs_anywhere, ws_mask_neon},
#endif
    {"portable", runs_anywhere, ws_mask_portable},
    {NULL, NULL, NULL},
};

void ws_mask_portable(uint8_t *data, size_t len, const uint8_t key[4],
                      uint64_t offset)
{
    uint8_t turned[8];
    uint64_t word;
    uint64_t key_word;
    size_t i;

    for (i = 0; i < sizeof(turned); i++) {  /* the key as data[0] meets it */
        turned[i] = key[(offset + i) & 3];
    }
    memcpy(&key_word, turned, sizeof(key_word));
    for (i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
        memcpy(&word, data + i, sizeof(word));
        word ^= key_word;
        memcpy(data + i, &word, sizeof(word));
    }
    for (; i < len; i++) {
        data[i] ^= turned[i & 7];
    }
}

void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], uint64_t offset)
{
    const ws_mask_impl_t *impl = ws_mask_impls;

    if (len < SHORT) {
        ws_mask_portable(data, len, key, offset);
        return;
    }
    while (!impl->runs_here()) {
        impl++;
    }
    impl->mask(data, len, key, offset);
}
