/* ws_hash: the numbers that its authors give for it. */
#include "ws_hash.h"

#include "ws_test.h"

/* SipHash-2-4 of 0, 1, 2 ... with the key 0, 1, 2 ... 15. */
static const uint64_t expected[] = {
    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a,
    0x85676696d7fb7e2d, 0xcf2794e0277187b7, 0x18765564cd99a68d,
    0xcbc9466e58fee3ce, 0xab0200f58b01d137, 0x93f5f5799a932462,
    0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee,
    0xa129ca6149be45e5, 0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794,
};

static const ws_hash_key_t key = {{0x0706050403020100, 0x0f0e0d0c0b0a0908}};

/* Each ends where memory ends. */
START_TEST(hash_is_siphash)
{
    ws_test_edge_t edge = ws_test_edge_create(1);
    uint8_t data[WS_TEST_COUNT(expected)];
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(expected); i++) {
        data[i] = (uint8_t)i;
        ck_assert_uint_eq(ws_hash(&key, ws_test_edge_put(&edge, data, i), i),
                          expected[i]);
    }
    ws_test_edge_destroy(&edge);
}
END_TEST

START_TEST(each_bit_of_the_key_matters)
{
    ws_hash_key_t other;
    int i;

    for (i = 0; i < 128; i++) {
        other = key;
        other.words[i / 64] ^= (uint64_t)1 << i % 64;
        ck_assert_uint_ne(ws_hash(&other, "room", 4),
                          ws_hash(&key, "room", 4));
    }
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(hash_is_siphash),
        WS_TEST(each_bit_of_the_key_matters),
    };

    return ws_test_run("hash", tests, WS_TEST_COUNT(tests));
}
