/* Layers 0 to 4 together: a short run of the soak test (tests/soak/layers.h)
 * of several workers, many threads that post, and clients of all kinds. */
#include <apr_general.h>

#include "../soak/layers.h"
#include "ws_test.h"

START_TEST(workers_come_and_go_under_clients_of_all_kinds)
{
    const soak_options_t options = {
        .duration = 1500,
        .seed = 4711,
        .drivers = 3,
        .clients = ws_test_is_slow() ? 10 : 30,
    };

    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_msg(soak_run(&options), "see what was said above");
    apr_terminate();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(workers_come_and_go_under_clients_of_all_kinds),
    };

    return ws_test_run("together", tests, WS_TEST_COUNT(tests));
}
