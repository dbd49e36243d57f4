/* ws_deflate: messages to DEFLATE data. */
#include "ws_deflate.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_deflate.h"
#include "ws_test_zlib.h"

#define LARGEST (300 * 1024)

static uint8_t data[LARGEST];

/* --- deflating --- */

/* Deflates a message and has it judged. Returns the payload's length. */
static size_t check_message(ws_deflater_t *deflater, unsigned bits, int level,
                            size_t length, z_stream *judge)
{
    ws_test_bytes_t message = {0};
    const uint8_t *payload = NULL;
    size_t payload_length = 0;

    if (ws_deflate_message(shared, deflater, bits, level, data, length,
                           &payload, &payload_length) != WS_OK) {
        ck_abort_msg("window %u, level %d, length %zu", bits, level, length);
    }
    if (payload_length == 0 ||
        !ws_test_judge(judge, &message, payload, payload_length) ||
        message.length != length ||
        (length > 0 && memcmp(message.data, data, length) != 0)) {
        ck_abort_msg("window %u, level %d, length %zu: another message", bits,
                     level, length);
    }
    ws_test_free(&message);
    return payload_length;
}

static size_t check_alone(unsigned bits, int level, size_t length)
{
    z_stream judge;
    size_t payload_length;

    ws_test_judge_begin(&judge, (int)bits);
    payload_length = check_message(NULL, bits, level, length, &judge);
    inflateEnd(&judge);
    return payload_length;
}

/* _i: the window, and the kind of data. */
START_TEST(message_without_context_fits_the_window)
{
    static const size_t lengths[] = {0,    1,     2,     3,     4,
                                     255,  256,   257,   258,   262,
                                     511,  512,   513,   1000,  4096,
                                     8191, 65535, 65536, 65537, 100000};
    unsigned bits = 8 + (unsigned)_i / WS_TEST_KINDS;
    int kind = _i % WS_TEST_KINDS;
    size_t count = WS_TEST_COUNT(lengths) - (ws_test_is_slow() ? 4 : 0);
    int level;
    size_t i;

    begin();
    ws_test_fill(data, LARGEST, kind, 7);
    for (level = 1; level <= 9; level += ws_test_is_slow() ? 4 : 1) {
        for (i = 0; i < count; i++) {
            size_t length = check_alone(bits, level, lengths[i]);

            if (kind != WS_TEST_NOISE && lengths[i] > 1000 &&
                length > lengths[i] / 2) {
                ck_abort_msg("it is not compressed");
            }
        }
    }
    check_alone(bits, 6, ws_test_is_slow() ? 70000 : LARGEST);
    end();
}
END_TEST

/* Both sides go on with what they had. */
START_TEST(messages_with_context_refer_back_and_fit_the_window)
{
    static const size_t lengths[] = {200, 1, 0, 300, 200, 70000, 0, 200, 5000};
    unsigned bits = 8 + (unsigned)_i;
    int level;

    begin();
    for (level = 1; level <= 9; level += ws_test_is_slow() ? 4 : 1) {
        ws_deflater_t *deflater = ws_deflater_create(bits, level);
        size_t first = 0;
        z_stream judge;
        size_t i;

        ck_assert_ptr_nonnull(deflater);
        ws_test_judge_begin(&judge, (int)bits);
        ws_test_fill(data, LARGEST, WS_TEST_NOISE, 99);
        for (i = 0; i < WS_TEST_COUNT(lengths); i++) {
            size_t length =
                check_message(deflater, bits, level, lengths[i], &judge);

            if (i == 0) {
                first = length;
            }
            else if (i == 4 && bits >= 10) {
                ck_assert_uint_lt(length, first / 4);
            }
            if (i == 5) {                   /* other data from here */
                ws_test_fill(data, LARGEST, WS_TEST_WORDS, 98);
            }
        }
        inflateEnd(&judge);
        ws_deflater_destroy(deflater);
    }
    end();
}
END_TEST

/* The distance at which a random block comes again. The judge has 256 bytes. */
START_TEST(window_of_256_bytes_has_no_longer_distance)
{
    int level = _i + 1;
    size_t least = SIZE_MAX;
    size_t most = 0;
    size_t distance;
    z_stream judge;
    size_t i;

    begin();
    for (distance = 200; distance <= 600;
         distance += ws_test_is_slow() ? 19 : 1) {
        ws_deflater_t *deflater = ws_deflater_create(8, level);
        size_t length;

        ws_test_fill(data, distance, WS_TEST_NOISE, (uint32_t)distance);
        for (i = distance; i < 2400; i++) {
            data[i] = data[i - distance];
        }
        length = check_alone(8, level, 2400);
        least = length < least ? length : least;
        most = length > most ? length : most;
        ws_test_judge_begin(&judge, 8);
        for (i = 0; i < 4; i++) {           /* over the ends of messages */
            check_message(deflater, 8, level, distance, &judge);
        }
        check_message(deflater, 8, level, 2400, &judge);
        inflateEnd(&judge);
        ws_deflater_destroy(deflater);
    }
    ck_assert_uint_lt(least, 2400 / 2);     /* what is near is used */
    ck_assert_uint_gt(most, 2400);
    end();
}
END_TEST

/* The test of the test: it sees a distance that is too long. */
START_TEST(judge_refuses_what_needs_a_larger_window)
{
    ws_test_bytes_t payload = {0};
    ws_test_bytes_t message = {0};
    z_stream deflater;
    z_stream judge;
    size_t i;

    ws_test_fill(data, 257, WS_TEST_NOISE, 5);
    for (i = 257; i < 700; i++) {
        data[i] = data[i - 257];
    }
    ws_test_deflater_begin(&deflater, 9, 15, Z_DEFAULT_STRATEGY);
    ws_test_add_deflated(&payload, &deflater, data, 700);
    deflateEnd(&deflater);
    ck_assert_uint_lt(payload.length, 400);
    ws_test_judge_begin(&judge, 8);
    ck_assert(!ws_test_judge(&judge, &message, payload.data, payload.length));
    inflateEnd(&judge);
    message.length = 0;
    ws_test_judge_begin(&judge, 9);
    ck_assert(ws_test_judge(&judge, &message, payload.data, payload.length));
    ck_assert(!ws_test_judge(&judge, &message, payload.data, 20));
    inflateEnd(&judge);
    ws_test_free(&payload);
    ws_test_free(&message);
}
END_TEST

START_TEST(message_behind_a_reset_refers_to_nothing)
{
    ws_deflater_t *deflater;
    z_stream fresh;
    z_stream judge;
    size_t first;

    begin();
    ws_test_fill(data, 1000, WS_TEST_NOISE, 1);
    deflater = ws_deflater_create(15, 6);
    ws_test_judge_begin(&judge, 15);
    ws_test_judge_begin(&fresh, 15);
    first = check_message(deflater, 15, 6, 1000, &judge);
    ck_assert_uint_lt(check_message(deflater, 15, 6, 1000, &judge), first / 4);
    ws_deflater_reset(deflater);
    ck_assert_uint_eq(check_message(deflater, 15, 6, 1000, &fresh), first);
    ck_assert_uint_lt(check_message(deflater, 15, 6, 1000, &fresh), first / 4);
    ws_deflater_reset(deflater);
    ws_deflater_reset(deflater);
    check_message(deflater, 15, 6, 0, &judge);
    check_message(deflater, 15, 6, 1000, &judge);
    inflateEnd(&judge);
    inflateEnd(&fresh);
    ws_deflater_destroy(deflater);
    end();
}
END_TEST

START_TEST(messages_without_context_refer_to_nothing_in_any_order)
{
    size_t lengths[10][16];
    uint32_t seed = 3;
    int level;
    unsigned bits;
    int i;

    begin();
    ws_test_fill(data, 3000, WS_TEST_WORDS, 1);
    for (level = 1; level <= 9; level++) {
        for (bits = 8; bits <= 15; bits++) {
            lengths[level][bits] = check_alone(bits, level, 3000);
        }
    }
    ck_assert_uint_lt(lengths[9][15], lengths[1][15]);
    ck_assert_uint_lt(lengths[6][15], lengths[6][9]);
    for (i = 0; i < 200; i++) {
        level = 1 + (int)(ws_test_random(&seed) % 9);
        bits = 8 + ws_test_random(&seed) % 8;
        ck_assert_uint_eq(check_alone(bits, level, 3000), lengths[level][bits]);
    }
    end();
}
END_TEST

/* One with context goes its own way beside those without. */
START_TEST(contexts_are_apart)
{
    ws_deflater_t *deflaters[2];
    z_stream judges[2];
    size_t first;
    int i;

    begin();
    ws_test_fill(data, 5000, WS_TEST_NOISE, 1);
    for (i = 0; i < 2; i++) {
        deflaters[i] = ws_deflater_create(15, 6);
        ws_test_judge_begin(&judges[i], 15);
    }
    first = check_message(deflaters[0], 15, 6, 5000, &judges[0]);
    ck_assert_uint_eq(check_alone(15, 6, 5000), first);
    ck_assert_uint_eq(check_message(deflaters[1], 15, 6, 5000, &judges[1]),
                      first);
    for (i = 0; i < 2; i++) {
        ck_assert_uint_lt(check_message(deflaters[i], 15, 6, 5000, &judges[i]),
                          first / 4);
        inflateEnd(&judges[i]);
        ws_deflater_destroy(deflaters[i]);
    }
    ck_assert_uint_eq(check_alone(15, 6, 5000), first);
    end();
}
END_TEST

START_TEST(empty_message_is_a_byte)
{
    const uint8_t *payload = NULL;
    size_t length = 0;
    ws_deflater_t *deflater;

    begin();
    deflater = ws_deflater_create(15, 6);
    ck_assert_int_eq(ws_deflate_message(shared, NULL, 15, 6, NULL, 0, &payload,
                                        &length),
                     WS_OK);
    ck_assert_uint_eq(length, 1);           /* RFC 7692 7.2.3.6 */
    ck_assert_uint_eq(payload[0], 0);
    ck_assert_int_eq(ws_deflate_message(shared, deflater, 15, 6, NULL, 0,
                                        &payload, &length),
                     WS_OK);
    ck_assert_uint_eq(length, 1);
    ck_assert_uint_eq(payload[0], 0);
    ws_deflater_destroy(deflater);
    end();
}
END_TEST

/* RFC 7692 7.2.3.1 */
START_TEST(hello_is_that_of_the_rfc)
{
    const uint8_t *payload = NULL;
    size_t length = 0;

    begin();
    ck_assert_int_eq(ws_deflate_message(shared, NULL, 15, 6, "Hello", 5,
                                        &payload, &length),
                     WS_OK);
    ck_assert_uint_eq(length, 7);
    ck_assert_mem_eq(payload, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    end();
}
END_TEST

static void deflate_noise(size_t length)
{
    const uint8_t *payload;
    size_t payload_length;

    ck_assert_int_eq(ws_deflate_message(shared, NULL, 15, 6, data, length,
                                        &payload, &payload_length),
                     WS_OK);
    ck_assert_uint_ge(payload_length, length);
}

START_TEST(buffer_of_small_messages_is_kept_that_of_a_large_one_not)
{
    size_t before;

    begin();
    ws_test_fill(data, LARGEST, WS_TEST_NOISE, 4);
    ws_test_alloc_begin();
    deflate_noise(1000);
    before = ws_test_alloc.bytes;
    deflate_noise(100000);
    deflate_noise(1);
    ck_assert_uint_eq(ws_test_alloc.bytes, before);
    deflate_noise(LARGEST);
    ck_assert_uint_ge(ws_test_alloc.bytes, before + LARGEST);
    before = ws_test_alloc.bytes;
    deflate_noise(LARGEST);                 /* as long as they come */
    ck_assert_uint_eq(ws_test_alloc.bytes, before);
    deflate_noise(1000);
    before = ws_test_alloc.bytes;
    deflate_noise(LARGEST);
    ck_assert_uint_ge(ws_test_alloc.bytes, before + LARGEST);
    ws_test_alloc_end();
    end();
}
END_TEST

/* --- no memory --- */

START_TEST(nothing_is_made_without_memory)
{
    begin();
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, true);
    ck_assert_ptr_null(ws_deflate_shared_create(&budget));
    ck_assert_ptr_null(ws_inflater_create(15));
    ck_assert_ptr_null(ws_deflater_create(15, 6));
    ck_assert_ptr_null(ws_inflater_take(shared, 15));
    ws_test_alloc_unfail();
    ck_assert_uint_eq(budget.used, 0);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    end();
}
END_TEST

/* Each allocation in turn: of the deflater, of the buffer. */
START_TEST(message_without_memory_can_be_tried_again)
{
    const uint8_t *payload;
    size_t length;
    long n;

    ws_test_fill(data, LARGEST, WS_TEST_NOISE, 3);
    for (n = 0; n < 2; n++) {
        begin();
        ws_test_alloc_begin();
        ws_test_alloc_fail(n, false);
        ck_assert_int_eq(ws_deflate_message(shared, NULL, 15, 6, data, LARGEST,
                                            &payload, &length),
                         WS_ENOMEM);
        ck_assert(ws_test_alloc_unfail());
        ws_test_alloc_end();
        check_alone(15, 1, 5000);
        check_alone(15, 6, LARGEST);
        ws_test_alloc_begin();
        ws_test_alloc_fail(0, false);
        deflate_noise(LARGEST);             /* needs none */
        ck_assert(!ws_test_alloc_unfail());
        ws_test_alloc_end();
        end();
    }
}
END_TEST

/* "the context is lost": the next message refers to nothing before it. */
START_TEST(context_is_lost_with_a_message_for_want_of_memory)
{
    const uint8_t *payload;
    size_t length;
    ws_deflater_t *deflater;
    z_stream judge;

    begin();
    deflater = ws_deflater_create(15, 6);
    ws_test_judge_begin(&judge, 15);
    ws_test_fill(data, LARGEST, WS_TEST_NOISE, 3);
    check_message(deflater, 15, 6, 5000, &judge);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(ws_deflate_message(shared, deflater, 15, 6, data, LARGEST,
                                        &payload, &length),
                     WS_ENOMEM);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    ck_assert_uint_ge(check_message(deflater, 15, 6, 5000, &judge), 5000);
    ck_assert_uint_lt(check_message(deflater, 15, 6, 5000, &judge), 1000);
    inflateEnd(&judge);
    ws_deflater_destroy(deflater);
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(message_without_context_fits_the_window,
                     8 * WS_TEST_KINDS),
        WS_TEST_LOOP(messages_with_context_refer_back_and_fit_the_window, 8),
        WS_TEST_LOOP(window_of_256_bytes_has_no_longer_distance, 9),
        WS_TEST(judge_refuses_what_needs_a_larger_window),
        WS_TEST(message_behind_a_reset_refers_to_nothing),
        WS_TEST(messages_without_context_refer_to_nothing_in_any_order),
        WS_TEST(contexts_are_apart),
        WS_TEST(empty_message_is_a_byte),
        WS_TEST(hello_is_that_of_the_rfc),
        WS_TEST(buffer_of_small_messages_is_kept_that_of_a_large_one_not),
        WS_TEST(nothing_is_made_without_memory),
        WS_TEST(message_without_memory_can_be_tried_again),
        WS_TEST(context_is_lost_with_a_message_for_want_of_memory),
    };

    return ws_test_run("deflate", tests, WS_TEST_COUNT(tests));
}
