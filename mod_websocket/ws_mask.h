/* ws_mask: RFC 6455 5.3, unmasking in place.
 * Threads:  pure functions; any thread. */
#ifndef WS_MASK_H
#define WS_MASK_H

#include <stddef.h>
#include <stdint.h>

/* XORs data[0..len) with the key. offset is how many bytes of the same
 * payload came before data. */
void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], uint64_t offset);

#endif
