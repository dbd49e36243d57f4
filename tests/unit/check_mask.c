/* ws_mask: unmasking in every way that this processor can, against a loop
 * over bytes. */
#include "ws_mask.h"

#include "ws_test.h"

#define LENGTH_MAX 260
#define STARTS 64
#define MARK 0xd7

static const uint8_t key[4] = {0x01, 0x80, 0xff, 0x5a};

static int impl_count(void)
{
    int count = 0;

    while (ws_mask_impls[count].name != NULL) {
        count++;
    }
    return count;
}

/* Each test has a round for each implementation, and one for ws_mask(). */
static bool runs_here(int round)
{
    return round == impl_count() || ws_mask_impls[round].runs_here();
}

static void mask(int round, uint8_t *data, size_t length, uint64_t offset)
{
    if (round == impl_count()) {
        ws_mask(data, length, key, offset);
    }
    else {
        ws_mask_impls[round].mask(data, length, key, offset);
    }
}

static void fill(uint8_t *bytes, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(i * 7 + 3);
    }
}

static void check_one(int round, size_t start, size_t length, uint64_t offset)
{
    _Alignas(64) uint8_t bytes[STARTS + LENGTH_MAX + 8];
    uint8_t expected[sizeof(bytes)];
    size_t i;

    fill(bytes, sizeof(bytes));
    memset(bytes + start + length, MARK, sizeof(bytes) - start - length);
    memcpy(expected, bytes, sizeof(bytes));
    for (i = 0; i < length; i++) {
        expected[start + i] ^= key[(offset + i) % 4];
    }
    mask(round, bytes + start, length, offset);
    if (memcmp(bytes, expected, sizeof(bytes)) != 0) {
        ck_abort_msg("round %d, start %zu, length %zu, offset %u", round, start,
                     length, (unsigned)offset);
    }
}

START_TEST(any_length_offset_and_start_is_masked_bytewise)
{
    size_t step = ws_test_is_slow() ? 13 : 1;
    size_t start;
    size_t length;
    uint64_t offset;

    for (start = 0; start < STARTS && runs_here(_i); start += step) {
        for (length = 0; length <= LENGTH_MAX; length++) {
            for (offset = 0; offset < 8; offset++) {
                check_one(_i, start, length, offset);
            }
        }
    }
}
END_TEST

START_TEST(large_offset_turns_the_key)
{
    uint64_t offset;

    for (offset = 0; offset < 8 && runs_here(_i); offset++) {
        check_one(_i, 1, 37, ((uint64_t)1 << 32) + offset);
        check_one(_i, 1, 237, ((uint64_t)1 << 32) + offset);
        check_one(_i, 1, 237, UINT64_MAX - 100 + offset);
    }
}
END_TEST

START_TEST(nothing_behind_the_end_is_touched)
{
    ws_test_edge_t edge = ws_test_edge_create(LENGTH_MAX);
    uint8_t bytes[LENGTH_MAX];
    size_t length;

    fill(bytes, sizeof(bytes));
    for (length = 0; length <= LENGTH_MAX && runs_here(_i); length++) {
        uint8_t *at = ws_test_edge_put(&edge, bytes, length);

        mask(_i, at, length, 3);
        mask(_i, at, length, 3);
        ck_assert(memcmp(at, bytes, length) == 0);
    }
    ws_test_edge_destroy(&edge);
}
END_TEST

static void check_pieces(int round, size_t first, size_t second)
{
    uint8_t whole[LENGTH_MAX];
    uint8_t pieces[LENGTH_MAX];

    fill(whole, sizeof(whole));
    fill(pieces, sizeof(pieces));
    mask(round, whole, sizeof(whole), 0);
    mask(round, pieces, first, 0);
    mask(round, pieces + first, second, first);
    mask(round, pieces + first + second, sizeof(pieces) - first - second,
         first + second);
    if (memcmp(whole, pieces, sizeof(whole)) != 0) {
        ck_abort_msg("round %d, %zu and %zu bytes", round, first, second);
    }
}

START_TEST(payload_in_pieces_is_masked_as_in_one)
{
    size_t step = ws_test_is_slow() ? 5 : 1;
    size_t first;
    size_t second;

    for (first = 0; first <= 130 && runs_here(_i); first += step) {
        for (second = 0; second <= 130; second += step) {
            check_pieces(_i, first, second);
        }
    }
}
END_TEST

START_TEST(portable_implementation_is_the_last_and_runs_anywhere)
{
    ck_assert_str_eq(ws_mask_impls[impl_count() - 1].name, "portable");
    ck_assert(ws_mask_impls[impl_count() - 1].runs_here());
}
END_TEST

int main(void)
{
    const int rounds = impl_count() + 1;
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(any_length_offset_and_start_is_masked_bytewise, rounds),
        WS_TEST_LOOP(large_offset_turns_the_key, rounds),
        WS_TEST_LOOP(nothing_behind_the_end_is_touched, rounds),
        WS_TEST_LOOP(payload_in_pieces_is_masked_as_in_one, rounds),
        WS_TEST(portable_implementation_is_the_last_and_runs_anywhere),
    };

    return ws_test_run("mask", tests, WS_TEST_COUNT(tests));
}
