/* ws_test_deflate: what the tests of ws_deflate begin and end with.
 * Lifetime: from begin() to end(). */
#ifndef WS_TEST_DEFLATE_H
#define WS_TEST_DEFLATE_H

#include "ws_deflate.h"
#include "ws_test.h"

static ws_deflate_shared_t *shared;
static ws_budget_t budget;

static void begin(void)
{
    atomic_store(&budget.used, 0);
    budget.limit = 1024 * 1024;
    shared = ws_deflate_shared_create(&budget);
    ck_assert_ptr_nonnull(shared);
}

/* All that was charged was given back. */
static void end(void)
{
    ws_deflate_shared_destroy(shared);
    ck_assert_uint_eq(budget.used, 0);
}

#endif
