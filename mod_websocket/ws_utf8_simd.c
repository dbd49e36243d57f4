/* UTF-8 in vectors, 64 bytes a turn.
 *
 * Nearly all that can be wrong shows in two neighbours: a byte and the one
 * before it. Three tables of 16, asked with the upper and the lower half of
 * the first and the upper half of the second, say which mistakes each half
 * allows; what all three allow has been made. (J. Keiser, D. Lemire,
 * "Validating UTF-8 In Less Than One Instruction Per Byte", 2021.)
 *
 * A turn in which something is wrong is not skipped, so a mistake is found by
 * ws_utf8.c, which goes on from there byte by byte. */
#include "ws_utf8.h"

#define TURN 64

#if defined(__x86_64__) || defined(__aarch64__)

enum {
    UNFINISHED = 0x01,               /* a lead byte, then no continuation */
    STRAY = 0x02,                    /* ASCII, then a continuation */
    OVERLONG_2 = 0x04,               /* C0, C1 */
    OVERLONG_3 = 0x08,               /* E0, then 80 to 9F */
    SURROGATE = 0x10,                /* ED, then A0 to BF */
    BEYOND = 0x20,                   /* F4 to FF, then 90 to BF */
    OUTSIDE_4 = 0x40,                /* F0 or F5 to FF, then 80 to 8F */
    CONTINUED = 0x80,                /* two continuations: right if they are
                                      * the last of three bytes, or of four */

    ANY = UNFINISHED | STRAY | CONTINUED,
    SECOND = STRAY | OVERLONG_2 | CONTINUED
};

static const uint8_t first_upper[16] = {
    [0x0 ... 0x7] = STRAY,
    [0x8 ... 0xb] = CONTINUED,
    [0xc] = UNFINISHED | OVERLONG_2,
    [0xd] = UNFINISHED,
    [0xe] = UNFINISHED | OVERLONG_3 | SURROGATE,
    [0xf] = UNFINISHED | BEYOND | OUTSIDE_4,
};

static const uint8_t first_lower[16] = {
    [0x0] = ANY | OVERLONG_2 | OVERLONG_3 | OUTSIDE_4,
    [0x1] = ANY | OVERLONG_2,
    [0x2 ... 0x3] = ANY,
    [0x4] = ANY | BEYOND,
    [0x5 ... 0xc] = ANY | BEYOND | OUTSIDE_4,
    [0xd] = ANY | BEYOND | OUTSIDE_4 | SURROGATE,
    [0xe ... 0xf] = ANY | BEYOND | OUTSIDE_4,
};

static const uint8_t second_upper[16] = {
    [0x0 ... 0x7] = UNFINISHED,
    [0x8] = SECOND | OVERLONG_3 | OUTSIDE_4,
    [0x9] = SECOND | OVERLONG_3 | BEYOND,
    [0xa ... 0xb] = SECOND | SURROGATE | BEYOND,
    [0xc ... 0xf] = UNFINISHED,
};

/* Subtracted with saturation, these leave the top bit (and perhaps others) of
 * what begins three bytes or more, and four bytes, and of nothing else. */
#define BELOW_3 (0xe0 - 0x80)
#define BELOW_4 (0xf0 - 0x80)

/* Where the sequence begins in which data[at - 1] stands: it may go on behind
 * at, and its lead byte may be one of those that are wrong by themselves. */
static size_t begin_of_last(const uint8_t *data, size_t at)
{
    size_t back;

    for (back = 1; back <= 3 && back <= at; back++) {
        if (data[at - back] < 0x80) {
            return at;
        }
        if (data[at - back] >= 0xc0) {
            return at - back;
        }
    }
    return at;
}

#endif

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define SSSE3 __attribute__((target("ssse3")))

/* --- AVX2 --- */

AVX2 static inline __m256i look_up_32(const uint8_t table[16], __m256i halves)
{
    __m128i once = _mm_loadu_si128((const __m128i *)table);

    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(once), halves);
}

/* Not zero where now, with what was before it, is wrong. */
AVX2 static inline __m256i wrong_32(__m256i before, __m256i now)
{
    const __m256i half = _mm256_set1_epi8(0x0f);
    __m256i middle = _mm256_permute2x128_si256(before, now, 0x21);
    __m256i back_1 = _mm256_alignr_epi8(now, middle, 15);
    __m256i back_2 = _mm256_alignr_epi8(now, middle, 14);
    __m256i back_3 = _mm256_alignr_epi8(now, middle, 13);
    __m256i upper = _mm256_and_si256(_mm256_srli_epi16(back_1, 4), half);
    __m256i lower = _mm256_and_si256(back_1, half);
    __m256i second = _mm256_and_si256(_mm256_srli_epi16(now, 4), half);
    __m256i made =
        _mm256_and_si256(_mm256_and_si256(look_up_32(first_upper, upper),
                                          look_up_32(first_lower, lower)),
                         look_up_32(second_upper, second));
    __m256i inside =
        _mm256_or_si256(_mm256_subs_epu8(back_2, _mm256_set1_epi8(BELOW_3)),
                        _mm256_subs_epu8(back_3, _mm256_set1_epi8(BELOW_4)));

    return _mm256_xor_si256(
        made, _mm256_and_si256(inside, _mm256_set1_epi8((char)CONTINUED)));
}

AVX2 size_t ws_utf8_skip_avx2(const uint8_t *data, size_t len)
{
    __m256i before = _mm256_setzero_si256();
    size_t at;

    for (at = 0; at + TURN <= len; at += TURN) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(data + at));
        __m256i b = _mm256_loadu_si256((const __m256i *)(data + at + 32));
        __m256i all = _mm256_or_si256(before, _mm256_or_si256(a, b));

        if (_mm256_movemask_epi8(all) != 0) {   /* not ASCII alone */
            __m256i wrong =
                _mm256_or_si256(wrong_32(before, a), wrong_32(a, b));

            if (!_mm256_testz_si256(wrong, wrong)) {
                break;
            }
        }
        before = b;
    }
    return begin_of_last(data, at);
}

/* --- SSSE3 --- */

SSSE3 static inline __m128i look_up_16(const uint8_t table[16], __m128i halves)
{
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)table), halves);
}

SSSE3 static inline __m128i wrong_16(__m128i before, __m128i now)
{
    const __m128i half = _mm_set1_epi8(0x0f);
    __m128i back_1 = _mm_alignr_epi8(now, before, 15);
    __m128i back_2 = _mm_alignr_epi8(now, before, 14);
    __m128i back_3 = _mm_alignr_epi8(now, before, 13);
    __m128i upper = _mm_and_si128(_mm_srli_epi16(back_1, 4), half);
    __m128i lower = _mm_and_si128(back_1, half);
    __m128i second = _mm_and_si128(_mm_srli_epi16(now, 4), half);
    __m128i made = _mm_and_si128(_mm_and_si128(look_up_16(first_upper, upper),
                                               look_up_16(first_lower, lower)),
                                 look_up_16(second_upper, second));
    __m128i inside =
        _mm_or_si128(_mm_subs_epu8(back_2, _mm_set1_epi8(BELOW_3)),
                     _mm_subs_epu8(back_3, _mm_set1_epi8(BELOW_4)));

    return _mm_xor_si128(made,
                         _mm_and_si128(inside, _mm_set1_epi8((char)CONTINUED)));
}

SSSE3 size_t ws_utf8_skip_ssse3(const uint8_t *data, size_t len)
{
    __m128i before = _mm_setzero_si128();
    size_t at;

    for (at = 0; at + TURN <= len; at += TURN) {
        __m128i a = _mm_loadu_si128((const __m128i *)(data + at));
        __m128i b = _mm_loadu_si128((const __m128i *)(data + at + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(data + at + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(data + at + 48));
        __m128i all = _mm_or_si128(before, _mm_or_si128(_mm_or_si128(a, b),
                                                        _mm_or_si128(c, d)));

        if (_mm_movemask_epi8(all) != 0) {      /* not ASCII alone */
            __m128i wrong =
                _mm_or_si128(_mm_or_si128(wrong_16(before, a), wrong_16(a, b)),
                             _mm_or_si128(wrong_16(b, c), wrong_16(c, d)));
            __m128i right = _mm_cmpeq_epi8(wrong, _mm_setzero_si128());

            if (_mm_movemask_epi8(right) != 0xffff) {
                break;
            }
        }
        before = d;
    }
    return begin_of_last(data, at);
}

#elif defined(__aarch64__)

#include <arm_neon.h>

/* Not zero where now, with what was before it, is wrong. */
static inline uint8x16_t wrong_16(uint8x16_t before, uint8x16_t now)
{
    uint8x16_t back_1 = vextq_u8(before, now, 15);
    uint8x16_t back_2 = vextq_u8(before, now, 14);
    uint8x16_t back_3 = vextq_u8(before, now, 13);
    uint8x16_t upper = vqtbl1q_u8(vld1q_u8(first_upper), vshrq_n_u8(back_1, 4));
    uint8x16_t lower =
        vqtbl1q_u8(vld1q_u8(first_lower), vandq_u8(back_1, vdupq_n_u8(0x0f)));
    uint8x16_t second = vqtbl1q_u8(vld1q_u8(second_upper), vshrq_n_u8(now, 4));
    uint8x16_t made = vandq_u8(vandq_u8(upper, lower), second);
    uint8x16_t inside = vorrq_u8(vqsubq_u8(back_2, vdupq_n_u8(BELOW_3)),
                                 vqsubq_u8(back_3, vdupq_n_u8(BELOW_4)));

    return veorq_u8(made, vandq_u8(inside, vdupq_n_u8(CONTINUED)));
}

size_t ws_utf8_skip_neon(const uint8_t *data, size_t len)
{
    uint8x16_t before = vdupq_n_u8(0);
    size_t at;

    for (at = 0; at + TURN <= len; at += TURN) {
        uint8x16_t a = vld1q_u8(data + at);
        uint8x16_t b = vld1q_u8(data + at + 16);
        uint8x16_t c = vld1q_u8(data + at + 32);
        uint8x16_t d = vld1q_u8(data + at + 48);
        uint8x16_t all =
            vorrq_u8(before, vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d)));

        if (vmaxvq_u8(all) >= 0x80) {           /* not ASCII alone */
            uint8x16_t wrong =
                vorrq_u8(vorrq_u8(wrong_16(before, a), wrong_16(a, b)),
                         vorrq_u8(wrong_16(b, c), wrong_16(c, d)));

            if (vmaxvq_u8(wrong) != 0) {
                break;
            }
        }
        before = d;
    }
    return begin_of_last(data, at);
}

#endif
