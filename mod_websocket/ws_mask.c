#include "ws_mask.h"

#include <string.h>

void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], uint64_t offset)
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
