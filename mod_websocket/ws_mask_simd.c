/* Unmasking, 64 bytes a turn. That is a multiple of the key, so what is left
 * behind the last turn meets the key turned as data[0] does. */
#include "ws_mask.h"

#include <string.h>

#define TURN 64

#if defined(__x86_64__) || defined(__aarch64__)
/* The key as data[0] meets it. */
static uint32_t turned_key(const uint8_t key[4], uint64_t offset)
{
    uint8_t turned[4];
    uint32_t word;
    size_t i;

    for (i = 0; i < sizeof(turned); i++) {
        turned[i] = key[(offset + i) & 3];
    }
    memcpy(&word, turned, sizeof(word));
    return word;
}
#endif

#if defined(__x86_64__)

#include <immintrin.h>

static void mask_16(uint8_t *data, __m128i key)
{
    __m128i *at = (__m128i *)data;

    _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), key));
}

void ws_mask_sse2(uint8_t *data, size_t len, const uint8_t key[4],
                  uint64_t offset)
{
    const __m128i keys = _mm_set1_epi32((int)turned_key(key, offset));
    size_t i;

    for (i = 0; i + TURN <= len; i += TURN) {
        mask_16(data + i, keys);
        mask_16(data + i + 16, keys);
        mask_16(data + i + 32, keys);
        mask_16(data + i + 48, keys);
    }
    ws_mask_portable(data + i, len - i, key, offset);
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static void mask_32(uint8_t *data, __m256i key)
{
    __m256i *at = (__m256i *)data;

    _mm256_storeu_si256(at, _mm256_xor_si256(_mm256_loadu_si256(at), key));
}

AVX2 void ws_mask_avx2(uint8_t *data, size_t len, const uint8_t key[4],
                       uint64_t offset)
{
    const __m256i keys = _mm256_set1_epi32((int)turned_key(key, offset));
    size_t i;

    for (i = 0; i + TURN <= len; i += TURN) {
        mask_32(data + i, keys);
        mask_32(data + i + 32, keys);
    }
    ws_mask_portable(data + i, len - i, key, offset);
}

#elif defined(__aarch64__)

#include <arm_neon.h>

static void mask_16(uint8_t *data, uint8x16_t key)
{
    vst1q_u8(data, veorq_u8(vld1q_u8(data), key));
}

void ws_mask_neon(uint8_t *data, size_t len, const uint8_t key[4],
                  uint64_t offset)
{
    const uint8x16_t keys =
        vreinterpretq_u8_u32(vdupq_n_u32(turned_key(key, offset)));
    size_t i;

    for (i = 0; i + TURN <= len; i += TURN) {
        mask_16(data + i, keys);
        mask_16(data + i + 16, keys);
        mask_16(data + i + 32, keys);
        mask_16(data + i + 48, keys);
    }
    ws_mask_portable(data + i, len - i, key, offset);
}

#endif
