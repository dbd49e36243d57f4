/* ws_test_alloc: an allocator that can fail, and that counts. The program is
 * linked with --wrap for malloc, calloc, realloc and free, which reaches the
 * layers but not the libraries below them, and works under every tool. What
 * check itself allocates for an assertion is left alone.
 * Threads:  one; a test with threads does not count.
 * Include it in one file of a program. */
#ifndef WS_TEST_ALLOC_H
#define WS_TEST_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include "ws_test.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
void __real__mark_point(const char *file, int line);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);
void __wrap__mark_point(const char *file, int line);

static struct {
    volatile bool counts;            /* the compiler knows what free() reads */
    long fail_at;                    /* fails when it gets to 0; < 0: never */
    bool fail_all;                   /* and all that follow, too */
    bool failed;                     /* one was made to fail */
    long live;                       /* blocks that are not freed */
    size_t bytes;                    /* asked for */
} ws_test_alloc = {.fail_at = -1};

static bool ws_test_alloc_fails(size_t size)
{
    if (!ws_test_alloc.counts) {
        return false;
    }
    if (ws_test_alloc.fail_at == 0) {
        ws_test_alloc.failed = true;
        if (!ws_test_alloc.fail_all) {
            ws_test_alloc.fail_at = -1;
        }
        return true;
    }
    if (ws_test_alloc.fail_at > 0) {
        ws_test_alloc.fail_at--;
    }
    ws_test_alloc.bytes += size;
    return false;
}

static void *ws_test_alloc_count(void *memory)
{
    if (ws_test_alloc.counts && memory != NULL) {
        ws_test_alloc.live++;
    }
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return ws_test_alloc_fails(size) ? NULL
                                     : ws_test_alloc_count(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return ws_test_alloc_fails(count * size)
               ? NULL
               : ws_test_alloc_count(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (ws_test_alloc_fails(size)) {
        return NULL;
    }
    return old == NULL ? ws_test_alloc_count(__real_malloc(size))
                       : __real_realloc(old, size);
}

void __wrap_free(void *memory)
{
    if (ws_test_alloc.counts && memory != NULL) {
        ws_test_alloc.live--;
    }
    __real_free(memory);
}

void __wrap__mark_point(const char *file, int line)
{
    if (!ws_test_alloc.counts) {            /* there may be threads */
        __real__mark_point(file, line);
        return;
    }
    ws_test_alloc.counts = false;
    __real__mark_point(file, line);
    ws_test_alloc.counts = true;
}

/* Counts from here, from 0, with no failures. */
WS_TEST_UNUSED static void ws_test_alloc_begin(void)
{
    memset(&ws_test_alloc, 0, sizeof(ws_test_alloc));
    ws_test_alloc.counts = true;
    ws_test_alloc.fail_at = -1;
}

/* Counts no more. */
WS_TEST_UNUSED static void ws_test_alloc_end(void)
{
    ws_test_alloc.counts = false;
}

/* The n-th allocation from now on fails, from 0; all: and those after it. */
WS_TEST_UNUSED static void ws_test_alloc_fail(long n, bool all)
{
    ws_test_alloc.fail_at = n;
    ws_test_alloc.fail_all = all;
    ws_test_alloc.failed = false;
}

/* No more failures. Did one happen? */
WS_TEST_UNUSED static bool ws_test_alloc_unfail(void)
{
    ws_test_alloc.fail_at = -1;
    return ws_test_alloc.failed;
}

#endif
