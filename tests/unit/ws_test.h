/* ws_test: what the unit tests share: running a suite, input that ends at a
 * page that must not be touched, frames as a client sends them. */
#ifndef WS_TEST_H
#define WS_TEST_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define WS_TEST_LIMIT 20             /* seconds for what takes none */

#define WS_TEST_UNUSED __attribute__((unused))

/* --- running --- */

/* Are there fewer rounds to be made, as each takes long (valgrind)? */
WS_TEST_UNUSED static bool ws_test_is_slow(void)
{
    const char *preload = getenv("LD_PRELOAD");

    return getenv("WS_SLOW") != NULL ||
           (preload != NULL && strstr(preload, "vgpreload") != NULL);
}

typedef struct {
    const char *name;
    const TTest *test;
    int rounds;                      /* _i runs from 0 to rounds - 1; 0: 1 */
} ws_test_entry_t;

#define WS_TEST(test)  \
    {                  \
#test, test, 0 \
    }
#define WS_TEST_LOOP(test, rounds) \
    {                              \
#test, test, rounds        \
    }

/* For main() to return. */
WS_TEST_UNUSED static int ws_test_run(const char *name,
                                      const ws_test_entry_t *tests,
                                      size_t count)
{
    Suite *suite = suite_create(name);
    SRunner *runner;
    int failed;
    size_t i;

    for (i = 0; i < count; i++) {
        TCase *tcase = tcase_create(tests[i].name);

        tcase_set_timeout(tcase, 60);
        if (tests[i].rounds == 0) {
            tcase_add_test(tcase, tests[i].test);
        }
        else {
            tcase_add_loop_test(tcase, tests[i].test, 0, tests[i].rounds);
        }
        suite_add_tcase(suite, tcase);
    }
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define WS_TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A generator of numbers that are the same each time. */
WS_TEST_UNUSED static uint32_t ws_test_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* --- input that ends where memory ends --- */

typedef struct {
    uint8_t *start;
    size_t size;                     /* writable; then a page that faults */
} ws_test_edge_t;

WS_TEST_UNUSED static ws_test_edge_t ws_test_edge_create(size_t at_least)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ws_test_edge_t edge;

    edge.size = (at_least + page - 1) / page * page;
    edge.start = mmap(NULL, edge.size + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(edge.start, MAP_FAILED);
    ck_assert_int_eq(mprotect(edge.start + edge.size, page, PROT_NONE), 0);
    return edge;
}

WS_TEST_UNUSED static void ws_test_edge_destroy(ws_test_edge_t *edge)
{
    munmap(edge->start, edge->size + (size_t)sysconf(_SC_PAGESIZE));
}

/* A copy of data whose last byte is the last one that may be touched. */
WS_TEST_UNUSED static uint8_t *ws_test_edge_put(const ws_test_edge_t *edge,
                                                const void *data, size_t length)
{
    uint8_t *at = edge->start + edge->size - length;

    if (length > edge->size) {              /* an assertion takes too long */
        ck_abort_msg("the edge is too small");
    }
    if (length > 0) {
        memcpy(at, data, length);
    }
    return at;
}

/* --- bytes that a client sends --- */

typedef struct {
    uint8_t *data;
    size_t length;
    size_t capacity;
} ws_test_bytes_t;

WS_TEST_UNUSED static void ws_test_add(ws_test_bytes_t *bytes, const void *data,
                                       size_t length)
{
    if (bytes->length + length > bytes->capacity) {
        bytes->capacity = (bytes->length + length) * 2 + 64;
        bytes->data = realloc(bytes->data, bytes->capacity);
        ck_assert_ptr_nonnull(bytes->data);
    }
    if (length > 0) {
        memcpy(bytes->data + bytes->length, data, length);
    }
    bytes->length += length;
}

WS_TEST_UNUSED static void ws_test_free(ws_test_bytes_t *bytes)
{
    free(bytes->data);
    memset(bytes, 0, sizeof(*bytes));
}

/* Only the head of a masked frame. first: opcode, with 0x80 for the last. */
WS_TEST_UNUSED static void ws_test_add_head(ws_test_bytes_t *bytes,
                                            uint8_t first, uint64_t length,
                                            const uint8_t key[4])
{
    uint8_t head[14] = {first};
    size_t at = 2;
    int extended = 0;

    if (length < 126) {
        head[1] = (uint8_t)(0x80 | length);
    }
    else {
        extended = length <= 0xffff ? 2 : 8;
        head[1] = extended == 2 ? 0xfe : 0xff;
    }
    for (; extended > 0; extended--) {
        head[at++] = (uint8_t)(length >> (8 * (extended - 1)));
    }
    memcpy(head + at, key, 4);
    ws_test_add(bytes, head, at + 4);
}

/* A masked frame, with a key that differs from frame to frame. */
WS_TEST_UNUSED static void ws_test_add_frame(ws_test_bytes_t *bytes,
                                             uint8_t first, const void *payload,
                                             size_t length)
{
    const uint8_t n = (uint8_t)bytes->length;
    const uint8_t key[4] = {(uint8_t)(0x5a ^ n), 0xc3, (uint8_t)(n + 1), 0x97};
    size_t i;

    ws_test_add_head(bytes, first, length, key);
    ws_test_add(bytes, payload, length);
    for (i = 0; i < length; i++) {
        bytes->data[bytes->length - length + i] ^= key[i & 3];
    }
}

WS_TEST_UNUSED static void ws_test_add_text(ws_test_bytes_t *bytes,
                                            uint8_t first, const char *text)
{
    ws_test_add_frame(bytes, first, text, strlen(text));
}

/* A Close with a code and a reason. */
WS_TEST_UNUSED static void ws_test_add_close(ws_test_bytes_t *bytes,
                                             unsigned code, const char *reason)
{
    uint8_t payload[125] = {(uint8_t)(code >> 8), (uint8_t)code};

    memcpy(payload + 2, reason, strlen(reason));
    ws_test_add_frame(bytes, 0x88, payload, 2 + strlen(reason));
}

/* --- bytes that a server sends --- */

typedef struct {
    uint8_t first;
    const uint8_t *data;
    size_t length;
} ws_test_frame_t;

/* Reads the frame at *pat, which is unmasked, and moves *pat on. false: there
 * is no whole frame. Written apart from ws_frame on purpose. */
WS_TEST_UNUSED static bool ws_test_next_frame(ws_test_frame_t *frame,
                                              const uint8_t *data,
                                              size_t length, size_t *pat)
{
    size_t left = length - *pat;
    const uint8_t *at = data + *pat;
    size_t head = 2;
    size_t i;

    if (left < 2) {
        return false;
    }
    ck_assert_msg((at[1] & 0x80) == 0, "a server's frame is masked");
    frame->first = at[0];
    frame->length = at[1];
    if (at[1] >= 126) {
        head += at[1] == 126 ? 2 : 8;
        if (left < head) {
            return false;
        }
        frame->length = 0;
        for (i = 2; i < head; i++) {
            frame->length = frame->length << 8 | at[i];
        }
        ck_assert_uint_ge(frame->length, head == 4 ? 126 : 65536);
    }
    if (left < head || left - head < frame->length) {
        return false;
    }
    frame->data = at + head;
    *pat += head + frame->length;
    return true;
}

/* --- waiting --- */

WS_TEST_UNUSED static int64_t ws_test_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
