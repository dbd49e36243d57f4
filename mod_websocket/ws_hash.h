/* ws_hash: SipHash-2-4, a hash with a key: who does not know the key cannot
 * choose names that fall together.
 * Threads:  any.
 * Lifetime: pure. */
#ifndef WS_HASH_H
#define WS_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t words[2];               /* random */
} ws_hash_key_t;

uint64_t ws_hash(const ws_hash_key_t *key, const void *data, size_t length);

#endif
