/* fuzz: what the fuzz targets share: taking an input apart, and saying that
 * something does not hold. */
#ifndef WS_FUZZ_H
#define WS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_UNUSED __attribute__((unused))

/* For what runs so often that to follow it would cost more than it tells. */
#if defined(__clang__)
#define FUZZ_QUIET __attribute__((no_sanitize("coverage"), unused))
#else
#define FUZZ_QUIET FUZZ_UNUSED
#endif

/* libFuzzer calls it, and so does replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- what must hold --- */

FUZZ_UNUSED static void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

#define FUZZ_CHECK(condition) \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

/* --- memory: as large as asked for, so that a byte too far is seen --- */

FUZZ_UNUSED static void *fuzz_alloc(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);

    FUZZ_CHECK(memory != NULL);
    return memory;
}

FUZZ_UNUSED static uint8_t *fuzz_copy(const void *data, size_t length)
{
    uint8_t *copy = malloc(length);     /* of 0 bytes too: none may be read */

    FUZZ_CHECK(copy != NULL || length == 0);
    if (length > 0) {
        memcpy(copy, data, length);
    }
    return copy;
}

/* Bytes that grow. All zero: empty. */
typedef struct {
    uint8_t *data;
    size_t length;
    size_t capacity;
} fuzz_bytes_t;

FUZZ_QUIET static void fuzz_add(fuzz_bytes_t *bytes, const void *data,
                                size_t length)
{
    if (length > bytes->capacity - bytes->length) {
        bytes->capacity = 2 * bytes->capacity + length + 64;
        bytes->data = realloc(bytes->data, bytes->capacity);
        FUZZ_CHECK(bytes->data != NULL);
    }
    if (length > 0) {
        memcpy(bytes->data + bytes->length, data, length);
        bytes->length += length;
    }
}

FUZZ_QUIET static void fuzz_add_byte(fuzz_bytes_t *bytes, unsigned byte)
{
    uint8_t value = (uint8_t)byte;

    fuzz_add(bytes, &value, 1);
}

FUZZ_UNUSED static bool fuzz_same(const fuzz_bytes_t *a, const fuzz_bytes_t *b)
{
    return a->length == b->length &&
           (a->length == 0 || memcmp(a->data, b->data, a->length) == 0);
}

FUZZ_UNUSED static void fuzz_free(fuzz_bytes_t *bytes)
{
    free(bytes->data);
    memset(bytes, 0, sizeof(*bytes));
}

/* --- the input: options first, zeros behind its end --- */

typedef struct {
    const uint8_t *data;
    size_t left;
} fuzz_input_t;

FUZZ_UNUSED static unsigned fuzz_byte(fuzz_input_t *input)
{
    if (input->left == 0) {
        return 0;
    }
    input->left--;
    return *input->data++;
}

FUZZ_UNUSED static unsigned fuzz_u16(fuzz_input_t *input)
{
    unsigned high = fuzz_byte(input);

    return high << 8 | fuzz_byte(input);
}

/* The next bytes, at most *plength of them; *plength is how many. */
FUZZ_UNUSED static const uint8_t *fuzz_take(fuzz_input_t *input,
                                            size_t *plength)
{
    const uint8_t *data = input->data;

    if (*plength > input->left) {
        *plength = input->left;
    }
    input->data += *plength;
    input->left -= *plength;
    return data;
}

/* The text up to the next line's end, or the input's; NUL-ended, cut at a NUL
 * that it holds; to be freed. NULL: there is none any more, or the line is
 * one byte 01, which stands for "is not there". */
FUZZ_UNUSED static char *fuzz_line(fuzz_input_t *input)
{
    const uint8_t *at = input->data;
    size_t length = 0;
    size_t text_length;
    char *text;

    if (input->left == 0) {
        return NULL;
    }
    while (length < input->left && at[length] != '\n') {
        length++;
    }
    input->data += length;
    input->left -= length;
    fuzz_byte(input);
    if (length == 1 && at[0] == 1) {
        return NULL;
    }
    text_length = strnlen((const char *)at, length);
    text = fuzz_alloc(text_length + 1);
    memcpy(text, at, text_length);
    text[text_length] = '\0';
    return text;
}

/* --- numbers out of a seed --- */

FUZZ_QUIET static uint32_t fuzz_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

#endif
