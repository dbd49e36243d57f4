/* ws_message: compressed messages, RFC 7692 6. */
#include "ws_message.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_message.h"
#include "ws_test_zlib.h"

#define MAX (1024 * 1024)
#define RSV1 0x40

/* "Hello" (RFC 7692 7.2.3.1), and what refers back to it (7.2.3.2). */
static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07";
static const char hello_again[] = "\xf2\x00\x11\x00";

static ws_budget_t budget;
static ws_message_rules_t rules;
static ws_test_bytes_t input;
static ws_test_bytes_t expected;

static void begin(bool takeover)
{
    budget.limit = SIZE_MAX;
    rules = (ws_message_rules_t){
        .max_message = MAX,
        .shared = ws_deflate_shared_create(&budget),
        .window_bits = 15,
        .takeover = takeover,
    };
    ck_assert_ptr_nonnull(rules.shared);
}

static void end(void)
{
    ws_deflate_shared_destroy(rules.shared);
    ck_assert_uint_eq(budget.used, 0);
}

/* A message in frames of `step` bytes. */
static void add_message(uint8_t opcode, const void *payload, size_t length,
                        size_t step)
{
    const uint8_t *data = payload;
    size_t at = 0;

    do {
        size_t count = step < length - at ? step : length - at;
        uint8_t first = at == 0 ? opcode : WS_OP_CONTINUATION;

        ws_test_add_frame(&input,
                          (uint8_t)(first | (at + count == length ? 0x80 : 0)),
                          data + at, count);
        at += count;
    } while (at < length);
}

static void add_compressed(uint8_t opcode, const void *data, size_t length,
                           size_t step)
{
    ws_test_bytes_t payload = {0};

    ws_test_add_deflated_alone(&payload, data, length);
    add_message(opcode | RSV1, payload.data, payload.length, step);
    ws_test_free(&payload);
}

static void add_hello(void)
{
    ws_test_add_frame(&input, 0xc1, hello, sizeof(hello));
}

static void add_hello_again(void)
{
    ws_test_add_frame(&input, 0xc1, hello_again, sizeof(hello_again));
}

/* --- whole messages --- */

START_TEST(message_of_any_length_is_inflated_however_it_is_cut)
{
    static const size_t lengths[] = {0,   1,   2,    511,   512,
                                     513, 600, 4096, 70000, 300000};
    size_t length = lengths[_i % (ws_test_is_slow() ? 8 : 10)];
    uint8_t *data = malloc(300000);
    int kind;

    begin(_i >= 10);
    for (kind = 0; kind < WS_TEST_KINDS; kind++) {
        ws_test_fill(data, length, kind, 1);
        add_compressed(WS_OP_BINARY, data, length, SIZE_MAX);
        expect(&expected, WS_OP_BINARY, data, length);
        check_events(&input, &expected, WS_AGAIN, &rules);
    }
    free(data);
    end();
}
END_TEST

/* Two cuts anywhere: frames of 0 bytes among them. */
START_TEST(message_in_frames_that_are_cut_anywhere_is_whole)
{
    const char *text = _i == 0 ? "Hello" : "Hello, \xe2\x82\xac: 1, 1, 1, 1, 1";
    ws_test_bytes_t payload = {0};
    size_t a;
    size_t b;

    begin(_i == 2);
    ws_test_add_deflated_alone(&payload, text, strlen(text));
    for (a = 0; a <= payload.length; a++) {
        for (b = a; b <= payload.length; b += ws_test_is_slow() ? 9 : 1) {
            ws_test_add_frame(&input, 0x41, payload.data, a);
            ws_test_add_text(&input, 0x89, "ping");
            ws_test_add_frame(&input, 0x00, payload.data + a, b - a);
            ws_test_add_text(&input, 0x8a, "");
            ws_test_add_frame(&input, 0x80, payload.data + b,
                              payload.length - b);
            expect_text(&expected, WS_OP_PING, "ping");
            expect_text(&expected, WS_OP_PONG, "");
            expect_text(&expected, WS_OP_TEXT, text);
            check_events(&input, &expected, WS_AGAIN, &rules);
        }
    }
    ws_test_free(&payload);
    end();
}
END_TEST

START_TEST(large_message_in_many_frames_is_whole)
{
    size_t length = ws_test_is_slow() ? 3000 : 20000;
    uint8_t *data = malloc(length);

    begin(_i == 1);
    ws_test_fill(data, length, WS_TEST_NOISE, 3);
    add_compressed(WS_OP_BINARY, data, length, 997);
    expect(&expected, WS_OP_BINARY, data, length);
    ws_test_fill(data, length, WS_TEST_WORDS, 3);
    add_compressed(WS_OP_TEXT, data, length, 13);
    expect(&expected, WS_OP_TEXT, data, length);
    check_events(&input, &expected, WS_AGAIN, &rules);
    free(data);
    end();
}
END_TEST

START_TEST(plain_messages_may_stand_between_compressed_ones)
{
    begin(_i == 1);
    ws_test_add_text(&input, 0x81, "plain");
    add_hello();
    ws_test_add_text(&input, 0x01, "Hel");
    ws_test_add_text(&input, 0x80, "lo");
    ws_test_add_text(&input, 0x82, "");
    if (_i == 1) {
        add_hello_again();
    }
    else {
        add_hello();
    }
    ws_test_add_text(&input, 0x81, "Hello");
    expect_text(&expected, WS_OP_TEXT, "plain");
    expect_text(&expected, WS_OP_TEXT, "Hello");
    expect_text(&expected, WS_OP_TEXT, "Hello");
    expect_text(&expected, WS_OP_BINARY, "");
    expect_text(&expected, WS_OP_TEXT, "Hello");
    expect_text(&expected, WS_OP_TEXT, "Hello");
    check_events(&input, &expected, WS_AGAIN, &rules);
    end();
}
END_TEST

/* RFC 7692 7.2.3.6, and what senders make of it. */
START_TEST(empty_message_is_a_byte_or_none)
{
    begin(_i == 1);
    add_hello();
    ws_test_add_frame(&input, 0xc1, "\0", 1);
    ws_test_add_frame(&input, 0xc2, "", 0);
    ws_test_add_frame(&input, 0x41, "", 0);
    ws_test_add_frame(&input, 0x00, "\0", 1);
    ws_test_add_frame(&input, 0x80, "", 0);
    ws_test_add_frame(&input, 0x42, "", 0);
    ws_test_add_frame(&input, 0x80, "", 0);
    if (_i == 1) {
        add_hello_again();
    }
    else {
        add_hello();
    }
    expect_text(&expected, WS_OP_TEXT, "Hello");
    expect_text(&expected, WS_OP_TEXT, "");
    expect_text(&expected, WS_OP_BINARY, "");
    expect_text(&expected, WS_OP_TEXT, "");
    expect_text(&expected, WS_OP_BINARY, "");
    expect_text(&expected, WS_OP_TEXT, "Hello");
    check_events(&input, &expected, WS_AGAIN, &rules);
    end();
}
END_TEST

START_TEST(context_is_kept_where_it_is_taken_over_and_only_there)
{
    begin(_i == 1);
    add_hello();
    add_hello_again();
    expect_text(&expected, WS_OP_TEXT, "Hello");
    if (_i == 1) {
        add_hello_again();
        expect_text(&expected, WS_OP_TEXT, "Hello");
        expect_text(&expected, WS_OP_TEXT, "Hello");
    }
    check_events(&input, &expected, _i == 1 ? WS_AGAIN : WS_EDATA, &rules);
    end();
}
END_TEST

/* Messages of all kinds, in frames of all lengths; what the client keeps of
 * its context, we keep. */
START_TEST(random_messages_come_out_as_they_went_in)
{
    uint32_t seed = 815 + (uint32_t)_i;
    ws_test_bytes_t payload = {0};
    uint8_t data[900];
    z_stream client;
    int i;

    begin(_i % 2 == 1);
    ws_test_deflater_begin(&client, 6, 9 + _i % 7, Z_DEFAULT_STRATEGY);
    rules.window_bits = (uint8_t)(9 + _i % 7);
    for (i = 0; i < 12; i++) {
        size_t length = ws_test_random(&seed) % sizeof(data);
        size_t step = 1 + ws_test_random(&seed) % 400;

        ws_test_fill(data, length, (int)(ws_test_random(&seed) % 3), seed % 5);
        payload.length = 0;
        switch (ws_test_random(&seed) % 4) {
        case 0:
            ws_test_add_frame(&input, 0x89, data, length % 126);
            expect(&expected, WS_OP_PING, data, length % 126);
            break;
        case 1:
            add_message(WS_OP_BINARY, data, length, step);
            expect(&expected, WS_OP_BINARY, data, length);
            break;
        default:
            if (!rules.takeover) {
                deflateReset(&client);
            }
            ws_test_add_deflated(&payload, &client, data, length);
            add_message(WS_OP_BINARY | RSV1, payload.data, payload.length,
                        step);
            expect(&expected, WS_OP_BINARY, data, length);
        }
    }
    deflateEnd(&client);
    check_events(&input, &expected, WS_AGAIN, &rules);
    ws_test_free(&payload);
    end();
}
END_TEST

/* --- the bit --- */

START_TEST(rsv1_is_for_the_first_frame_of_a_message)
{
    static const uint8_t firsts[] = {0xc0, 0x40, 0xc8, 0xc9, 0xca,
                                     0xe1, 0xd1, 0xb1, 0xa1, 0x91};

    begin(false);
    ws_test_add_frame(&input, 0x41, hello, 3);
    ws_test_add_frame(&input, firsts[_i], hello + 3, 4);
    check_events(&input, &expected, WS_EPROTO, &rules);

    ws_test_add_text(&input, 0x01, "plain");
    ws_test_add_frame(&input, firsts[_i], hello, 7);
    check_events(&input, &expected, WS_EPROTO, &rules);

    ws_test_add_frame(&input, firsts[_i], hello, 7);
    check_events(&input, &expected, WS_EPROTO, &rules);
    end();
}
END_TEST

START_TEST(new_message_inside_a_compressed_one_fails)
{
    static const uint8_t firsts[] = {0x81, 0xc1, 0x42, 0x02};

    begin(_i == 1);
    ws_test_add_frame(&input, 0x41, hello, 7);
    ws_test_add_frame(&input, firsts[_i], hello, 7);
    check_events(&input, &expected, WS_EPROTO, &rules);
    end();
}
END_TEST

START_TEST(rsv1_without_compression_is_refused)
{
    const ws_message_rules_t plain = {.max_message = MAX, .window_bits = 15};

    add_hello();
    check_events(&input, &expected, WS_EPROTO, &plain);
}
END_TEST

/* --- text --- */

START_TEST(inflated_text_must_be_utf8)
{
    static const char *const texts[] = {
        "\xff",
        "\xc3",
        "abc\xe2\x82",
        "\xed\xa0\x80",
        "\xc3\xa4\xa4",
        "a long text, over 16 bytes for sure, and then \xc0\xaf",
    };

    begin(false);
    add_compressed(WS_OP_TEXT, texts[_i], strlen(texts[_i]), 3);
    check_events(&input, &expected, WS_EUTF8, &rules);
    add_compressed(WS_OP_BINARY, texts[_i], strlen(texts[_i]), 3);
    expect_text(&expected, WS_OP_BINARY, texts[_i]);
    check_events(&input, &expected, WS_AGAIN, &rules);
    end();
}
END_TEST

/* The message is not over: the bytes that were flushed are enough. */
START_TEST(invalid_text_fails_as_soon_as_it_is_inflated)
{
    ws_test_bytes_t payload = {0};
    z_stream client;
    size_t all;
    result_t result;

    begin(_i == 1);
    ws_test_deflater_begin(&client, 6, 15, Z_DEFAULT_STRATEGY);
    ws_test_deflate(&payload, &client, "ab\xe2", 3, Z_SYNC_FLUSH);
    ws_test_add_frame(&input, 0x41, payload.data, payload.length);
    result = run(&input, 0, 0, &rules);
    ck_assert_int_eq(result.status, WS_AGAIN);
    payload.length = 0;
    ws_test_deflate(&payload, &client, "\x28", 1, Z_SYNC_FLUSH);
    ws_test_add_frame(&input, 0x00, payload.data, payload.length);
    all = input.length;
    ws_test_add_text(&input, 0x89, "behind");
    result = run(&input, 0, 1, &rules);
    ck_assert_int_eq(result.status, WS_EUTF8);
    ck_assert_uint_lt(result.consumed, all);
    check_events(&input, &expected, WS_EUTF8, &rules);
    deflateEnd(&client);
    ws_test_free(&payload);
    end();
}
END_TEST

/* --- limits --- */

START_TEST(inflated_message_of_just_the_maximum_passes)
{
    static const size_t limits[] = {1,    2,    511,  512,  513,  1023,
                                    1024, 1025, 2047, 2048, 2049, 100000};
    size_t max = limits[_i % (ws_test_is_slow() ? 11 : 12)];
    uint8_t *data = malloc(max + 1);
    int kind;

    begin(false);
    rules.max_message = max;
    for (kind = 0; kind < WS_TEST_KINDS; kind++) {
        size_t step = kind == 0 ? SIZE_MAX : 100;

        ws_test_fill(data, max + 1, kind, 1);
        add_compressed(WS_OP_BINARY, data, max, step);
        expect(&expected, WS_OP_BINARY, data, max);
        check_events(&input, &expected, WS_AGAIN, &rules);
        add_compressed(WS_OP_BINARY, data, max + 1, step);
        check_events(&input, &expected, WS_ETOOBIG, &rules);
    }
    free(data);
    end();
}
END_TEST

START_TEST(maximum_of_zero_lets_empty_compressed_messages_pass)
{
    begin(false);
    rules.max_message = 0;
    ws_test_add_frame(&input, 0xc1, "\0", 1);
    ws_test_add_frame(&input, 0xc1, "", 0);
    expect_text(&expected, WS_OP_TEXT, "");
    expect_text(&expected, WS_OP_TEXT, "");
    add_hello();
    check_events(&input, &expected, WS_ETOOBIG, &rules);
    end();
}
END_TEST

/* Data that cannot be compressed is longer than it would be plain. */
START_TEST(compressed_payload_may_be_longer_than_the_maximum)
{
    uint8_t data[1000];

    begin(false);
    rules.max_message = sizeof(data);
    ws_test_fill(data, sizeof(data), WS_TEST_NOISE, 1);
    add_compressed(WS_OP_BINARY, data, sizeof(data), SIZE_MAX);
    ck_assert_uint_gt(input.length, sizeof(data) + 8);
    expect(&expected, WS_OP_BINARY, data, sizeof(data));
    check_events(&input, &expected, WS_AGAIN, &rules);
    end();
}
END_TEST

/* 64 MiB of zeros in 64 KiB: no more memory is asked for than for a message
 * of the maximum, all growth together. */
START_TEST(bomb_costs_no_more_than_the_maximum)
{
    size_t size = (size_t)(ws_test_is_slow() ? 4 : 64) << 20;
    ws_test_bytes_t payload = {0};
    uint8_t *zeros = calloc(1, 1 << 20);
    ws_message_t message;
    ws_event_t event;
    z_stream client;
    uint8_t *at;
    size_t left;
    size_t i;

    begin(false);
    rules.max_message = 100000;
    ws_test_deflater_begin(&client, 1, 15, Z_DEFAULT_STRATEGY);
    for (i = 0; i < size >> 20; i++) {
        ws_test_deflate(&payload, &client, zeros, 1 << 20,
                        i + 1 == size >> 20 ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    }
    deflateEnd(&client);
    free(zeros);
    ws_test_add_frame(&input, 0xc2, payload.data, payload.length - 4);
    at = input.data;
    left = input.length;
    ws_test_alloc_begin();
    ws_message_init(&message);
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, &rules),
                     WS_ETOOBIG);
    ck_assert_uint_lt(ws_test_alloc.bytes, 2 * rules.max_message + 40000);
    ws_message_clear(&message, &rules);
    ck_assert_int_eq(ws_test_alloc.live, 1); /* the inflater, for the next */
    ws_test_alloc_end();
    ck_assert_uint_eq(budget.used, 0);
    ws_test_free(&payload);
    ws_test_free(&input);
    end();
}
END_TEST

/* --- broken data --- */

START_TEST(data_that_is_broken_fails)
{
    static const struct {
        const char *payload;
        size_t length;
    } cases[] = {
        {"\xf2\x48\xcd\xc9\xc9\x07", 6},    /* cut short */
        {"\xf2\x48\xcd\xc9", 4},
        {"\xf2", 1},
        {"\x06", 1},                        /* no block type */
        {"\xf2\x00\x11\x00\x00", 5},        /* looks back over the start */
        {"\x00\x05\x00\xfa\xff\x48", 6},
        {"\x00\x04\x00\xfb\xff", 5},        /* just the tail is missing */
        {"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", 11}, /* it is there */
        {"Hello, this is plain", 20},
    };

    begin(false);
    add_hello();
    add_message(WS_OP_TEXT | RSV1, cases[_i].payload, cases[_i].length, 2);
    ws_test_add_text(&input, 0x81, "behind");
    expect_text(&expected, WS_OP_TEXT, "Hello");
    check_events(&input, &expected, WS_EDATA, &rules);
    add_message(WS_OP_TEXT | RSV1, cases[_i].payload, cases[_i].length, 100);
    check_events(&input, &expected, WS_EDATA, &rules);
    end();
}
END_TEST

START_TEST(failure_says_what_was_wrong)
{
    static const struct {
        const char *payload;
        size_t length;
        ws_status_t status;
        const char *word;
    } cases[] = {
        {"\x06", 1, WS_EDATA, "broken"},
        {"\xf2", 1, WS_EDATA, "cut short"},
        {"\xfa\x0f\x00", 3, WS_EUTF8, "UTF-8"}, /* one byte, ff */
        {hello, sizeof(hello), WS_ETOOBIG, "WebSocketMaxMessage"},
    };
    ws_message_t message;
    ws_event_t event;
    uint8_t *at;
    size_t left;

    begin(false);
    rules.max_message = 4;
    add_message(WS_OP_TEXT | RSV1, cases[_i].payload, cases[_i].length, 100);
    at = input.data;
    left = input.length;
    ws_message_init(&message);
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, &rules),
                     cases[_i].status);
    ck_assert_msg(strstr(message.why, cases[_i].word) != NULL, "%s",
                  message.why);
    ws_message_clear(&message, &rules);
    ws_test_free(&input);
    end();
}
END_TEST

/* --- memory --- */

/* Reads all of input; returns how that ended. */
static ws_status_t read_all(ws_message_t *message, uint8_t *at, size_t left)
{
    ws_event_t event;
    ws_status_t status;

    do {
        status = ws_message_read(message, &event, &at, &left, &rules);
    } while (status == WS_OK);
    return status;
}

START_TEST(nothing_is_held_between_messages_without_takeover)
{
    ws_message_t message;
    size_t half;

    begin(false);
    add_hello();
    half = input.length;
    add_hello();
    ws_test_alloc_begin();
    ws_message_init(&message);
    ck_assert_int_eq(read_all(&message, input.data, half), WS_AGAIN);
    ck_assert_int_eq(ws_test_alloc.live, 1); /* the inflater, in shared */
    ck_assert_uint_eq(budget.used, 0);
    ck_assert_ptr_null(message.partial);
    ck_assert_ptr_null(message.context);
    ck_assert_int_eq(read_all(&message, input.data + half, half - 1), WS_AGAIN);
    ck_assert_int_gt(ws_test_alloc.live, 1);
    ck_assert_uint_gt(budget.used, 32 * 1024);
    ck_assert_int_eq(read_all(&message, input.data + 2 * half - 1, 1),
                     WS_AGAIN);
    ck_assert_int_eq(ws_test_alloc.live, 1);
    ck_assert_uint_eq(budget.used, 0);
    ck_assert_ptr_null(message.partial);
    ws_message_clear(&message, &rules);
    ws_test_alloc_end();
    ws_test_free(&input);
    end();
}
END_TEST

START_TEST(context_is_all_that_is_held_between_messages_with_takeover)
{
    ws_message_t message;

    begin(true);
    ws_test_add_text(&input, 0x81, "plain");
    ws_test_alloc_begin();
    ws_message_init(&message);
    read_all(&message, input.data, input.length);
    ck_assert_int_eq(ws_test_alloc.live, 0); /* not before it is needed */
    ck_assert_ptr_null(message.context);
    ws_test_alloc_end();
    input.length = 0;
    add_hello();
    add_hello_again();
    ws_test_alloc_begin();
    ck_assert_int_eq(read_all(&message, input.data, input.length), WS_AGAIN);
    ck_assert_int_eq(ws_test_alloc.live, 1);
    ck_assert_ptr_nonnull(message.context);
    ck_assert_ptr_null(message.partial);
    ck_assert_uint_eq(budget.used, 0);      /* reserved by whoever agreed */
    ws_message_clear(&message, &rules);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ck_assert_ptr_null(message.context);
    ws_test_alloc_end();
    ws_test_free(&input);
    end();
}
END_TEST

/* Cleared in the middle of a message, or behind an error: the inflater goes
 * back, and the next message is read with it. */
START_TEST(inflater_goes_back_from_a_message_that_does_not_end)
{
    size_t cut;
    size_t first;
    ws_message_t message;

    for (cut = 1; cut < 40; cut += ws_test_is_slow() ? 5 : 1) {
        begin(_i == 1);
        ws_test_add_frame(&input, 0x41, hello, 4);
        ws_test_add_text(&input, 0x89, "ping");
        ws_test_add_frame(&input, 0x80, cut % 2 ? "\xff\xff" : hello + 4, 3);
        ws_test_add_text(&input, 0x0f, "not a frame");
        first = cut < input.length ? cut : input.length;
        ws_test_alloc_begin();
        ws_message_init(&message);
        read_all(&message, input.data, first);
        ws_message_clear(&message, &rules);
        ck_assert_int_le(ws_test_alloc.live, _i == 1 ? 0 : 1);
        ck_assert_uint_eq(budget.used, 0);
        ws_test_alloc_end();
        input.length = 0;
        add_hello();
        expect_text(&expected, WS_OP_TEXT, "Hello");
        check_events(&input, &expected, WS_AGAIN, &rules);
        end();
    }
}
END_TEST

/* A byte a frame: the work grows with the bytes, not with the frames. */
START_TEST(many_tiny_frames_cost_no_more_memory_than_one)
{
    size_t length = ws_test_is_slow() ? 3000 : 60000;
    uint8_t *data = malloc(length);
    ws_message_t message;
    size_t bytes;

    begin(false);
    ws_test_fill(data, length, WS_TEST_NOISE, 9);
    add_compressed(WS_OP_BINARY, data, length, SIZE_MAX);
    ws_test_alloc_begin();
    ws_message_init(&message);
    ck_assert_int_eq(read_all(&message, input.data, input.length), WS_AGAIN);
    bytes = ws_test_alloc.bytes;
    ws_test_alloc_end();
    input.length = 0;
    add_compressed(WS_OP_BINARY, data, length, 1);
    ws_test_alloc_begin();
    ck_assert_int_eq(read_all(&message, input.data, input.length), WS_AGAIN);
    ck_assert_uint_le(ws_test_alloc.bytes, bytes);
    ck_assert_uint_gt(ws_test_alloc.bytes, length);
    ck_assert_ptr_null(message.partial);
    ws_test_alloc_end();
    ws_message_clear(&message, &rules);
    free(data);
    ws_test_free(&input);
    end();
}
END_TEST

/* Reads input in pieces of `step` bytes; the allocation fail_at fails. Returns
 * whether there was one. */
static bool read_with_failure(size_t step, long fail_at, bool all)
{
    uint8_t *copy = malloc(input.length);
    ws_status_t status = WS_AGAIN;
    ws_message_t message;
    bool failed;
    size_t done;

    memcpy(copy, input.data, input.length);
    ws_test_alloc_begin();
    ws_test_alloc_fail(fail_at, all);
    ws_message_init(&message);
    for (done = 0; done < input.length && status == WS_AGAIN; done += step) {
        size_t left = input.length - done < step ? input.length - done : step;

        status = read_all(&message, copy + done, left);
    }
    failed = ws_test_alloc_unfail();
    ck_assert_int_eq(status, failed ? WS_ENOMEM : WS_AGAIN);
    if (failed) {
        ck_assert_str_eq(message.why, "out of memory");
    }
    ws_message_clear(&message, &rules);
    ck_assert_int_le(ws_test_alloc.live, rules.takeover ? 0 : 1);
    ck_assert_uint_eq(budget.used, 0);
    ws_test_alloc_end();
    free(copy);
    return failed;
}

START_TEST(each_allocation_that_fails_is_told_and_nothing_leaks)
{
    static const size_t steps[] = {1, 40, 700, 100000};
    uint8_t data[4000];
    bool failed;
    size_t i;
    long n;
    long total = 0;

    ws_test_fill(data, sizeof(data), WS_TEST_WORDS, 1);
    for (i = ws_test_is_slow(); i < WS_TEST_COUNT(steps); i++) {
        failed = true;
        for (n = 0; failed; n++) {
            ck_assert_int_lt(n, 1000);
            begin(_i == 1);
            add_compressed(WS_OP_TEXT, data, sizeof(data), 300);
            ws_test_add_text(&input, 0x89, "ping");
            ws_test_add_text(&input, 0x81, "plain");
            add_compressed(WS_OP_TEXT, data, 100, SIZE_MAX);
            failed = read_with_failure(steps[i], n, n % 2 == 0);
            ws_test_free(&input);
            end();
        }
        total += n;
    }
    ck_assert_int_gt(total, 20);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(message_of_any_length_is_inflated_however_it_is_cut, 20),
        WS_TEST_LOOP(message_in_frames_that_are_cut_anywhere_is_whole, 3),
        WS_TEST_LOOP(large_message_in_many_frames_is_whole, 2),
        WS_TEST_LOOP(plain_messages_may_stand_between_compressed_ones, 2),
        WS_TEST_LOOP(empty_message_is_a_byte_or_none, 2),
        WS_TEST_LOOP(context_is_kept_where_it_is_taken_over_and_only_there, 2),
        WS_TEST_LOOP(random_messages_come_out_as_they_went_in, 14),
        WS_TEST_LOOP(rsv1_is_for_the_first_frame_of_a_message, 10),
        WS_TEST_LOOP(new_message_inside_a_compressed_one_fails, 4),
        WS_TEST(rsv1_without_compression_is_refused),
        WS_TEST_LOOP(inflated_text_must_be_utf8, 6),
        WS_TEST_LOOP(invalid_text_fails_as_soon_as_it_is_inflated, 2),
        WS_TEST_LOOP(inflated_message_of_just_the_maximum_passes, 12),
        WS_TEST(maximum_of_zero_lets_empty_compressed_messages_pass),
        WS_TEST(compressed_payload_may_be_longer_than_the_maximum),
        WS_TEST(bomb_costs_no_more_than_the_maximum),
        WS_TEST_LOOP(data_that_is_broken_fails, 9),
        WS_TEST_LOOP(failure_says_what_was_wrong, 4),
        WS_TEST(nothing_is_held_between_messages_without_takeover),
        WS_TEST(context_is_all_that_is_held_between_messages_with_takeover),
        WS_TEST_LOOP(inflater_goes_back_from_a_message_that_does_not_end, 2),
        WS_TEST(many_tiny_frames_cost_no_more_memory_than_one),
        WS_TEST_LOOP(each_allocation_that_fails_is_told_and_nothing_leaks, 2),
    };

    return ws_test_run("message deflate", tests, WS_TEST_COUNT(tests));
}
