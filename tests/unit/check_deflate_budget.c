/* ws_deflate: the memory that compression takes, and who may have it. */
#include "ws_deflate.h"

#include <malloc.h>
#include <pthread.h>

#include "ws_test.h"
#include "ws_test_deflate.h"
#include "ws_test_zlib.h"

START_TEST(budget_is_reserved_up_to_its_limit)
{
    ws_budget_t b = {.limit = 100};

    ck_assert(!ws_budget_is_used_up(&b));
    ck_assert(ws_budget_reserve(&b, 60));
    ck_assert(!ws_budget_reserve(&b, 41));
    ck_assert_uint_eq(b.used, 60);
    ck_assert(!ws_budget_reserve(&b, SIZE_MAX));
    ck_assert(!ws_budget_reserve(&b, SIZE_MAX - 59));
    ck_assert_uint_eq(b.used, 60);
    ck_assert(!ws_budget_is_used_up(&b));
    ck_assert(ws_budget_reserve(&b, 40));
    ck_assert_uint_eq(b.used, 100);
    ck_assert(ws_budget_is_used_up(&b));
    ck_assert(!ws_budget_reserve(&b, 1));
    ck_assert(ws_budget_reserve(&b, 0));
    ws_budget_release(&b, 1);
    ck_assert(!ws_budget_is_used_up(&b));
    ck_assert(ws_budget_reserve(&b, 1));
    ws_budget_release(&b, 100);
    ck_assert_uint_eq(b.used, 0);
}
END_TEST

START_TEST(no_more_is_given_back_than_is_used)
{
    ws_budget_t b = {.limit = 100};

    ck_assert(ws_budget_reserve(&b, 60));
    ws_budget_release(&b, 61);
    ck_assert_uint_eq(b.used, 0);
    ck_assert(ws_budget_reserve(&b, 100));
}
END_TEST

START_TEST(budget_of_nothing_is_used_up)
{
    ws_budget_t b = {.limit = 0};

    ck_assert(ws_budget_is_used_up(&b));
    ck_assert(!ws_budget_reserve(&b, 1));
    ck_assert(ws_budget_reserve(&b, 0));
    ck_assert_uint_eq(b.used, 0);
}
END_TEST

/* Messages are refused to nobody: what they need goes over the limit. */
START_TEST(messages_are_charged_over_the_limit_while_they_last)
{
    ws_inflater_t *inflaters[8];
    size_t used = 0;
    unsigned bits;

    begin();
    budget.limit = 1000;
    for (bits = 8; bits <= 15; bits++) {
        inflaters[bits - 8] = ws_inflater_take(shared, bits);
        ck_assert_ptr_nonnull(inflaters[bits - 8]);
        ck_assert_uint_ge(budget.used, used + ((size_t)1 << bits));
        used = budget.used;
    }
    ck_assert(ws_budget_is_used_up(&budget));
    ck_assert(!ws_budget_reserve(&budget, 1));
    ck_assert(ws_budget_reserve(&budget, 0));
    for (bits = 15; bits >= 8; bits--) {
        ws_inflater_give(shared, inflaters[bits - 8]);
    }
    ck_assert_uint_eq(budget.used, 0);
    end();
}
END_TEST

START_TEST(memory_without_a_budget_is_not_counted)
{
    ws_inflater_t *inflater;

    begin();
    ws_deflate_shared_destroy(shared);
    shared = ws_deflate_shared_create(NULL);
    inflater = ws_inflater_take(shared, 15);
    ck_assert_ptr_nonnull(inflater);
    ck_assert_uint_eq(budget.used, 0);
    ws_inflater_give(shared, inflater);
    end();
}
END_TEST

typedef struct {
    ws_budget_t *budget;
    size_t most;
    unsigned granted;
    uint32_t seed;
} thread_t;

static void *use_budget(void *baton)
{
    thread_t *t = baton;
    int rounds = ws_test_is_slow() ? 2000 : 100000;
    size_t held[4] = {0};
    size_t used;

    while (rounds-- > 0) {
        size_t i = ws_test_random(&t->seed) % 4;
        size_t bytes = ws_test_random(&t->seed) % 400;

        ws_budget_release(t->budget, held[i]);
        held[i] = ws_budget_reserve(t->budget, bytes) ? bytes : 0;
        t->granted += held[i] != 0;
        used = atomic_load(&t->budget->used);
        t->most = used > t->most ? used : t->most;
    }
    ws_budget_release(t->budget, held[0] + held[1] + held[2] + held[3]);
    return NULL;
}

START_TEST(threads_together_stay_under_the_limit)
{
    ws_budget_t b = {.limit = 1000};
    thread_t threads[4];
    pthread_t ids[4];
    int i;

    for (i = 0; i < 4; i++) {
        threads[i] = (thread_t){.budget = &b, .seed = 77 + (uint32_t)i};
        ck_assert_int_eq(pthread_create(&ids[i], NULL, use_budget, &threads[i]),
                         0);
    }
    for (i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        ck_assert_uint_le(threads[i].most, b.limit);
        ck_assert_uint_gt(threads[i].granted, 0);
    }
    ck_assert_uint_eq(b.used, 0);
}
END_TEST

START_TEST(only_contexts_that_are_kept_cost)
{
    ws_deflate_params_t params = {0};
    size_t server = 0;
    size_t client = 0;
    unsigned bits;

    ck_assert_uint_eq(ws_deflate_cost(&params), 0);
    for (bits = 8; bits <= 15; bits++) {
        params = (ws_deflate_params_t){.server_bits = (uint8_t)bits,
                                       .client_bits = (uint8_t)bits};
        ck_assert_uint_eq(ws_deflate_cost(&params), 0);
        params.server_takeover = true;
        ck_assert_uint_ge(ws_deflate_cost(&params), server);
        server = ws_deflate_cost(&params);
        params.server_takeover = false;
        params.client_takeover = true;
        ck_assert_uint_gt(ws_deflate_cost(&params), client);
        client = ws_deflate_cost(&params);
        params.server_takeover = true;
        ck_assert_uint_eq(ws_deflate_cost(&params), server + client);
    }
    ck_assert_uint_gt(server, 256 * 1024);
    ck_assert_uint_lt(server, 280 * 1024);
    ck_assert_uint_gt(client, 32 * 1024);
    ck_assert_uint_lt(client, 48 * 1024);
}
END_TEST

/* What malloc says, where a tool does not stand in its place; else always
 * the same. */
static size_t heap_in_use(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

START_TEST(cost_is_what_zlib_takes)
{
    static uint8_t data[70000];
    static uint8_t out[sizeof(data) + 1];
    const unsigned bits = 8 + (unsigned)_i;
    const ws_deflate_params_t params = {.server_bits = (uint8_t)bits,
                                        .client_bits = (uint8_t)bits,
                                        .server_takeover = true,
                                        .client_takeover = true};
    const size_t cost = ws_deflate_cost(&params);
    ws_deflater_t *deflater;
    ws_inflater_t *inflater;
    const uint8_t *payload;
    size_t count = 0;
    size_t length;
    size_t before;
    size_t taken;

    begin();
    ws_test_fill(data, sizeof(data), WS_TEST_NOISE, 1);
    /* what is shared is there, and as large as it will be */
    ck_assert_int_eq(ws_deflate_message(shared, NULL, bits, 6, data,
                                        sizeof(data), &payload, &length),
                     WS_OK);
    before = heap_in_use();
    deflater = ws_deflater_create(bits, 6);
    inflater = ws_inflater_create(bits);
    ck_assert_int_eq(ws_deflate_message(shared, deflater, bits, 6, data,
                                        sizeof(data), &payload, &length),
                     WS_OK);
    ck_assert_int_eq(ws_inflater_run(inflater, &payload, &length, out,
                                     sizeof(out), &count),
                     WS_OK);
    ck_assert_uint_eq(count, sizeof(data));
    taken = heap_in_use() - before;
    if (taken > 0) {
        ck_assert_uint_le(taken, cost);
        ck_assert_uint_ge(taken, cost - 10 * 1024);
    }
    ws_inflater_destroy(inflater);
    ws_deflater_destroy(deflater);
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(budget_is_reserved_up_to_its_limit),
        WS_TEST(no_more_is_given_back_than_is_used),
        WS_TEST(budget_of_nothing_is_used_up),
        WS_TEST(messages_are_charged_over_the_limit_while_they_last),
        WS_TEST(memory_without_a_budget_is_not_counted),
        WS_TEST(threads_together_stay_under_the_limit),
        WS_TEST(only_contexts_that_are_kept_cost),
        WS_TEST_LOOP(cost_is_what_zlib_takes, 8),
    };

    return ws_test_run("deflate_budget", tests, WS_TEST_COUNT(tests));
}
