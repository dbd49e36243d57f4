/* ws_timer: the heap, against a plain array. */
#include "ws_timer.h"

#include "ws_test.h"
#include "ws_test_alloc.h"

#define TIMERS 200

static ws_timers_t timers;
static ws_timer_t timer[TIMERS];
static int64_t due[TIMERS];          /* the reference; -1: not set */

static void begin(void)
{
    size_t i;

    ws_test_alloc_begin();
    ws_timers_init(&timers);
    memset(timer, 0, sizeof(timer));
    for (i = 0; i < TIMERS; i++) {
        due[i] = -1;
    }
    ck_assert_int_eq(ws_timers_reserve(&timers, TIMERS), WS_OK);
}

static int64_t first_due(void)
{
    int64_t first = -1;
    size_t i;

    for (i = 0; i < TIMERS; i++) {
        if (due[i] >= 0 && (first < 0 || due[i] < first)) {
            first = due[i];
        }
    }
    return first;
}

static void check_all(void)
{
    size_t set = 0;
    size_t i;

    for (i = 0; i < TIMERS; i++) {
        ck_assert_int_eq(timer[i].place != 0, due[i] >= 0);
        if (due[i] >= 0) {
            set++;
            ck_assert_int_eq(timer[i].when, due[i]);
            ck_assert_ptr_eq(timers.heap[timer[i].place], &timer[i]);
        }
    }
    ck_assert_uint_eq(timers.count, set);
    ck_assert_int_eq(ws_timers_next(&timers), first_due());
}

/* Takes out what is due; each must be the earliest that is left. */
static void run_due(int64_t now)
{
    ws_timer_t *t;

    while ((t = ws_timers_due(&timers, now)) != NULL) {
        int64_t first = first_due();

        ck_assert_int_le(first, now);
        ck_assert_int_eq(t->when, first);
        ck_assert_uint_eq(t->place, 0);
        due[t - timer] = -1;
        ck_assert_int_eq(ws_timers_next(&timers), first_due());
    }
    ck_assert(first_due() < 0 || first_due() > now);
}

START_TEST(random_operations_keep_the_order)
{
    const int rounds = ws_test_is_slow() ? 500 : 10000;
    uint32_t seed = 0x1234567 + (uint32_t)_i;
    int64_t now = 0;
    int i;

    begin();
    for (i = 0; i < rounds; i++) {
        size_t n = ws_test_random(&seed) % TIMERS;

        switch (ws_test_random(&seed) % 8) {
        case 0:
            now += ws_test_random(&seed) % 20;
            run_due(now);
            break;
        case 1:
        case 2:
            ws_timer_cancel(&timers, &timer[n]);
            due[n] = -1;
            break;
        default:
            due[n] = now + (int64_t)(ws_test_random(&seed) %
                                     (_i % 2 == 0 ? 1000 : 5));
            ws_timer_set(&timers, &timer[n], due[n]);
            break;
        }
        if (i % 32 == 0) {
            check_all();
        }
    }
    run_due(INT64_MAX);
    check_all();
    ws_timers_clear(&timers);
    ck_assert_int_eq(ws_test_alloc.live, 0);
}
END_TEST

START_TEST(timers_come_in_order_of_time)
{
    size_t i;
    int64_t last = -1;
    ws_timer_t *t;

    begin();
    for (i = 0; i < TIMERS; i++) {
        ws_timer_set(&timers, &timer[i], (int64_t)(i * 67 % TIMERS));
    }
    ck_assert_ptr_null(ws_timers_due(&timers, -1));
    for (i = 0; i < TIMERS; i++) {
        t = ws_timers_due(&timers, TIMERS);
        ck_assert_ptr_nonnull(t);
        ck_assert_int_eq(t->when, last + 1);
        last = t->when;
    }
    ck_assert_ptr_null(ws_timers_due(&timers, TIMERS));
    ck_assert_int_eq(ws_timers_next(&timers), -1);
    ws_timers_clear(&timers);
}
END_TEST

START_TEST(timer_is_due_at_its_time_and_not_before)
{
    begin();
    ws_timer_set(&timers, &timer[0], 100);
    ck_assert_ptr_null(ws_timers_due(&timers, 99));
    ck_assert_uint_ne(timer[0].place, 0);
    ck_assert_ptr_eq(ws_timers_due(&timers, 100), &timer[0]);
    ck_assert_uint_eq(timer[0].place, 0);
    ck_assert_ptr_null(ws_timers_due(&timers, 1000));
    ws_timers_clear(&timers);
}
END_TEST

START_TEST(set_again_moves_and_cancel_forgets)
{
    begin();
    ws_timer_set(&timers, &timer[0], 100);
    ws_timer_set(&timers, &timer[1], 200);
    ws_timer_set(&timers, &timer[0], 300);
    ck_assert_uint_eq(timers.count, 2);
    ck_assert_int_eq(ws_timers_next(&timers), 200);
    ws_timer_set(&timers, &timer[0], 50);
    ck_assert_int_eq(ws_timers_next(&timers), 50);
    ws_timer_cancel(&timers, &timer[0]);
    ck_assert_uint_eq(timer[0].place, 0);
    ws_timer_cancel(&timers, &timer[0]);
    ck_assert_int_eq(ws_timers_next(&timers), 200);
    ws_timer_cancel(&timers, &timer[1]);
    ck_assert_int_eq(ws_timers_next(&timers), -1);
    ws_timers_clear(&timers);
}
END_TEST

START_TEST(reserve_grows_and_keeps_what_is_set)
{
    size_t i;

    memset(timer, 0, sizeof(timer));
    ws_timers_init(&timers);
    for (i = 0; i < TIMERS; i++) {
        ck_assert_int_eq(ws_timers_reserve(&timers, i + 1), WS_OK);
        ck_assert_uint_gt(timers.capacity, i + 1);
        ws_timer_set(&timers, &timer[i], (int64_t)(TIMERS - i));
    }
    for (i = TIMERS; i-- > 0;) {
        ck_assert_ptr_eq(ws_timers_due(&timers, INT64_MAX), &timer[i]);
    }
    ws_timers_clear(&timers);
    ck_assert_int_eq(ws_timers_next(&timers), -1);
}
END_TEST

START_TEST(reserve_without_memory_changes_nothing)
{
    begin();
    ws_timer_set(&timers, &timer[0], 5);
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(ws_timers_reserve(&timers, TIMERS * 10), WS_ENOMEM);
    ck_assert(ws_test_alloc_unfail());
    ck_assert_int_eq(ws_timers_next(&timers), 5);
    ck_assert_int_eq(ws_timers_reserve(&timers, TIMERS * 10), WS_OK);
    ck_assert_ptr_eq(ws_timers_due(&timers, 5), &timer[0]);
    ws_timers_clear(&timers);
    ck_assert_int_eq(ws_test_alloc.live, 0);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(random_operations_keep_the_order, 4),
        WS_TEST(timers_come_in_order_of_time),
        WS_TEST(timer_is_due_at_its_time_and_not_before),
        WS_TEST(set_again_moves_and_cancel_forgets),
        WS_TEST(reserve_grows_and_keeps_what_is_set),
        WS_TEST(reserve_without_memory_changes_nothing),
    };

    return ws_test_run("timer", tests, WS_TEST_COUNT(tests));
}
