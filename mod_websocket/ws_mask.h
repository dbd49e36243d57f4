/* ws_mask: RFC 6455 5.3, unmasking in place.
 * Threads:  pure functions; any thread. */
#ifndef WS_MASK_H
#define WS_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* XORs data[0..len) with the key. offset is how many bytes of the same
 * payload came before data. */
void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], uint64_t offset);

/* --- the ways to do it: for ws_mask.c, the tests and the benchmark --- */

typedef struct {
    const char *name;
    bool (*runs_here)(void);         /* has this processor what it takes? */
    void (*mask)(uint8_t *data, size_t len, const uint8_t key[4],
                 uint64_t offset);
} ws_mask_impl_t;

/* The best first; the portable one, which runs anywhere; then a NULL name. */
extern const ws_mask_impl_t ws_mask_impls[];

void ws_mask_portable(uint8_t *data, size_t len, const uint8_t key[4],
                      uint64_t offset);

/* ws_mask_simd.c */
#if defined(__x86_64__)
void ws_mask_avx2(uint8_t *data, size_t len, const uint8_t key[4],
                  uint64_t offset);
void ws_mask_sse2(uint8_t *data, size_t len, const uint8_t key[4],
                  uint64_t offset);
#elif defined(__aarch64__)
void ws_mask_neon(uint8_t *data, size_t len, const uint8_t key[4],
                  uint64_t offset);
#endif

#endif
