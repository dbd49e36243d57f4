/* ws_message, in parts: what is put together of them is what else comes whole,
 * the same errors come, and nothing is collected. */
#include "ws_message.h"

#include <stdio.h>

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_message.h"
#include "ws_test_zlib.h"

#define MAX (1024 * 1024)
#define RSV1 0x40

static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07";
static const char euro[] = "\xe2\x82\xac";

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
        .stream = true,
    };
    ck_assert_ptr_nonnull(rules.shared);
}

static void end(void)
{
    ws_test_free(&input);
    ws_test_free(&expected);
    if (rules.shared != NULL) {
        ws_deflate_shared_destroy(rules.shared);
    }
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

/* --- reading in parts --- */

typedef struct {
    result_t result;                 /* as if it had come whole */
    ws_test_bytes_t message;         /* its parts so far */
    uint8_t opcode;                  /* of its parts; 0: none yet */
    size_t parts;
    bool moves;                      /* what is left comes from elsewhere */
} stream_t;

/* Bytes that are handed out lie in the input, unless they were compressed. */
static void note_part(stream_t *stream, const ws_event_t *event,
                      const uint8_t *start, const uint8_t *at)
{
    bool is_input = event->data >= start && event->data < at;

    if (event->is_first != (stream->opcode == 0) ||
        (!event->is_first && event->opcode != stream->opcode) ||
        (event->length == 0 && !event->is_last) ||
        (!is_input && event->length > WS_PART_SIZE) ||
        (!is_input && rules.shared == NULL && event->length > 0)) {
        ck_abort_msg("a part is not as it must be");
    }
    stream->parts++;
    stream->opcode = event->opcode;
    ws_test_add(&stream->message, event->data, event->length);
    if (event->length > 0) {
        memset(event->data, 0xaa, event->length);   /* it is the caller's */
    }
    if (event->is_last) {
        const ws_event_t whole = {.opcode = event->opcode,
                                  .data = stream->message.data,
                                  .length = stream->message.length};

        note(&stream->result, &whole);
        stream->message.length = 0;
        stream->opcode = 0;
    }
}

static void stream_piece(ws_message_t *message, stream_t *stream,
                         const ws_test_edge_t *edge, const uint8_t *piece,
                         size_t length)
{
    uint8_t *at = ws_test_edge_put(edge, piece, length);
    uint8_t *kept = malloc(length);
    result_t *result = &stream->result;
    const uint8_t *start;
    ws_event_t event;

    do {
        start = at;
        result->status = ws_message_read(message, &event, &at, &length, &rules);
        if (at + length != edge->start + edge->size) {
            ck_abort_msg("the input was moved on wrongly");
        }
        if (result->status == WS_OK && event.opcode >= WS_OP_CLOSE) {
            ck_assert(event.is_first && event.is_last);
            note(result, &event);
        }
        else if (result->status == WS_OK) {
            note_part(stream, &event, start, at);
        }
        if (stream->moves) {
            ws_message_release(message);
            memcpy(kept, at, length);
            memset((uint8_t *)(uintptr_t)start, 0x55,
                   (size_t)(edge->start + edge->size - start));
            at = ws_test_edge_put(edge, kept, length);
        }
    } while (result->status == WS_OK);
    free(kept);
    if (result->status == WS_AGAIN) {
        ck_assert_uint_eq(length, 0);
    }
    else {
        ck_assert_ptr_nonnull(message->why);
    }
}

/* Like run(). */
static stream_t stream(size_t first, size_t step, bool moves)
{
    ws_test_edge_t edge = ws_test_edge_create(input.length + 1);
    stream_t stream = {.result = {.status = WS_AGAIN}, .moves = moves};
    ws_message_t message;
    size_t at = 0;

    ws_message_init(&message);
    while (at < input.length && stream.result.status == WS_AGAIN) {
        size_t length = step > 0               ? step
                        : at == 0 && first > 0 ? first
                                               : SIZE_MAX;

        if (length > input.length - at) {
            length = input.length - at;
        }
        stream_piece(&message, &stream, &edge, input.data + at, length);
        at += length;
    }
    ws_message_clear(&message, &rules);
    ck_assert_ptr_null(message.partial);
    ws_test_edge_destroy(&edge);
    return stream;
}

static void stream_free(stream_t *stream)
{
    ws_test_free(&stream->result.seen);
    ws_test_free(&stream->message);
}

static void check_same(const stream_t *stream, const result_t *whole)
{
    const ws_test_bytes_t *seen = &stream->result.seen;

    ck_assert_int_eq(stream->result.status, whole->status);
    ck_assert_uint_eq(stream->result.events, whole->events);
    ck_assert_uint_eq(seen->length, whole->seen.length);
    ck_assert(seen->length == 0 ||
              memcmp(seen->data, whole->seen.data, seen->length) == 0);
}

/* However the input is cut, the parts are those of the messages that are
 * collected otherwise. */
static void check_parts(void)
{
    size_t ways = ws_test_is_slow() ? 20 : 100;
    size_t step = input.length > 2 * ways ? input.length / ways : 1;
    ws_message_rules_t collecting = rules;
    result_t whole;
    stream_t parts;
    size_t cut;

    collecting.stream = false;
    whole = run(&input, 0, 0, &collecting);
    for (cut = 0; cut <= input.length; cut += step) {
        parts = stream(cut, 0, false);
        check_same(&parts, &whole);
        stream_free(&parts);
    }
    for (step = 1; step < 40; step += 12) {
        parts = stream(0, step, step > 20);
        check_same(&parts, &whole);
        stream_free(&parts);
    }
    parts = stream(0, 0, true);
    check_same(&parts, &whole);
    stream_free(&parts);
    ws_test_free(&whole.seen);
}

/* The same, and this is what comes. */
static void check_expected(ws_status_t status)
{
    stream_t parts = stream(0, 0, false);
    const ws_test_bytes_t *seen = &parts.result.seen;

    ck_assert_int_eq(parts.result.status, status);
    ck_assert_uint_eq(seen->length, expected.length);
    ck_assert(seen->length == 0 ||
              memcmp(seen->data, expected.data, seen->length) == 0);
    stream_free(&parts);
    check_parts();
    ws_test_free(&input);
    ws_test_free(&expected);
}

/* --- which parts --- */

/* Reads a piece of input; a word an event: the opcode, the bytes, and a dot
 * for the last part. */
static const char *words(ws_message_t *message, size_t from, size_t length)
{
    static char text[200];
    uint8_t *at = input.data + from;
    ws_event_t event;

    text[0] = '\0';
    while (ws_message_read(message, &event, &at, &length, &rules) == WS_OK) {
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, "%u(%.*s)%s ", event.opcode,
                 (int)event.length, (const char *)event.data,
                 event.is_last ? "." : "");
    }
    return text;
}

START_TEST(each_frame_is_a_part_with_the_opcode_of_its_message)
{
    ws_message_t message;

    begin(false);
    ws_message_init(&message);
    ws_test_add_text(&input, 0x01, "Hel");
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_text(&input, 0x00, "lo, ");
    ws_test_add_text(&input, 0x80, "world");
    ws_test_add_text(&input, 0x82, "whole");
    ws_test_add_text(&input, 0x02, "by");
    ws_test_add_text(&input, 0x80, "tes");
    ck_assert_str_eq(words(&message, 0, input.length),
                     "1(Hel) 9(ping). 1(lo, ) 1(world). 2(whole). 2(by) "
                     "2(tes). ");
    ck_assert_ptr_null(message.partial);
    end();
}
END_TEST

START_TEST(part_comes_before_the_frame_ends)
{
    ws_message_t message;

    begin(false);
    ws_message_init(&message);
    ws_test_add_text(&input, 0x81, "Hello");
    ck_assert_str_eq(words(&message, 0, 6), "");
    ck_assert_str_eq(words(&message, 6, 1), "1(H) ");
    ck_assert_str_eq(words(&message, 7, 3), "1(ell) ");
    ck_assert_str_eq(words(&message, 10, 1), "1(o). ");
    ck_assert_ptr_null(message.partial);
    end();
}
END_TEST

START_TEST(compressed_part_comes_as_soon_as_it_can_be_inflated)
{
    ws_test_bytes_t payload = {0};
    ws_message_t message;
    z_stream client;
    size_t half;

    begin(_i == 1);
    ws_message_init(&message);
    ws_test_deflater_begin(&client, 6, 15, Z_DEFAULT_STRATEGY);
    ws_test_deflate(&payload, &client, "Hel", 3, Z_SYNC_FLUSH);
    half = payload.length;
    ws_test_add_deflated(&payload, &client, "lo", 2);
    deflateEnd(&client);
    ws_test_add_frame(&input, 0xc1, payload.data, payload.length);
    ck_assert_str_eq(words(&message, 0, 6), "");
    ck_assert_str_eq(words(&message, 6, half), "1(Hel) ");
    ck_assert_str_eq(words(&message, 6 + half, input.length - half - 6),
                     "1(lo). ");
    ws_message_clear(&message, &rules);
    ws_test_free(&payload);
    end();
}
END_TEST

START_TEST(no_part_is_empty_but_the_last)
{
    ws_message_t message;

    begin(false);
    ws_message_init(&message);
    ws_test_add_text(&input, 0x01, "");
    ws_test_add_text(&input, 0x00, "");
    ws_test_add_text(&input, 0x80, "");
    ws_test_add_text(&input, 0x82, "");
    ws_test_add_text(&input, 0x02, "");
    ws_test_add_text(&input, 0x80, "all");
    ws_test_add_text(&input, 0x02, "all");
    ws_test_add_text(&input, 0x00, "");
    ws_test_add_text(&input, 0x89, "");
    ws_test_add_text(&input, 0x80, "");
    ws_test_add_frame(&input, 0xc1, "\0", 1);
    ws_test_add_frame(&input, 0xc1, "", 0);
    ws_test_add_frame(&input, 0x41, "", 0);
    ws_test_add_frame(&input, 0x00, hello, 7);
    ws_test_add_frame(&input, 0x80, "", 0);
    check_parts();
    ck_assert_str_eq(words(&message, 0, input.length),
                     "1(). 2(). 2(all). 2(all) 9(). 2(). 1(). 1(). "
                     "1(Hello) 1(). ");
    end();
}
END_TEST

/* --- they are the message --- */

START_TEST(parts_of_any_length_are_the_message_however_it_is_cut)
{
    static const size_t lengths[] = {0,   1,   7,     125,   126,  127,
                                     511, 513, 65535, 65536, 70000};
    uint8_t *payload = malloc(70000);

    begin(false);
    ws_deflate_shared_destroy(rules.shared);
    rules.shared = NULL;
    ws_test_fill(payload, 70000, WS_TEST_NOISE, 1);
    add_message(WS_OP_BINARY, payload, lengths[_i], SIZE_MAX);
    ws_test_add_text(&input, 0x81, "behind");
    expect(&expected, WS_OP_BINARY, payload, lengths[_i]);
    expect_text(&expected, WS_OP_TEXT, "behind");
    check_expected(WS_AGAIN);
    free(payload);
    end();
}
END_TEST

START_TEST(parts_of_any_length_are_the_compressed_message)
{
    static const size_t lengths[] = {
        0,
        1,
        600,
        WS_PART_SIZE - 1,
        WS_PART_SIZE,
        WS_PART_SIZE + 1,
        2 * WS_PART_SIZE,
        70000,
    };
    uint8_t *data = malloc(70000);
    int kind;

    begin(_i >= 8);
    for (kind = 0; kind < WS_TEST_KINDS; kind++) {
        ws_test_fill(data, lengths[_i % 8], kind, 1);
        add_compressed(WS_OP_BINARY, data, lengths[_i % 8], SIZE_MAX);
        add_compressed(WS_OP_BINARY, data, lengths[_i % 8], 50);
        expect(&expected, WS_OP_BINARY, data, lengths[_i % 8]);
        expect(&expected, WS_OP_BINARY, data, lengths[_i % 8]);
        check_expected(WS_AGAIN);
    }
    free(data);
    end();
}
END_TEST

START_TEST(parts_are_no_larger_than_the_buffer)
{
    uint8_t *data = calloc(1, 4 * WS_PART_SIZE);
    stream_t parts;

    begin(false);
    add_compressed(WS_OP_BINARY, data, 4 * WS_PART_SIZE, SIZE_MAX);
    parts = stream(0, 0, false);
    ck_assert_uint_eq(parts.result.events, 1);
    ck_assert_uint_ge(parts.parts, 4);
    ck_assert_uint_le(parts.parts, 5);      /* one more, if it ends there */
    stream_free(&parts);
    free(data);
    end();
}
END_TEST

/* Messages of all kinds, in frames of all lengths. */
START_TEST(random_messages_come_in_parts_as_they_went_in)
{
    uint32_t seed = 4711 + (uint32_t)_i;
    static uint8_t data[3 * WS_PART_SIZE];
    ws_test_bytes_t payload = {0};
    z_stream client;
    int i;

    begin(_i % 2 == 1);
    ws_test_deflater_begin(&client, 6, 9 + _i % 7, Z_DEFAULT_STRATEGY);
    rules.window_bits = (uint8_t)(9 + _i % 7);
    for (i = 0; i < 8; i++) {
        size_t length = ws_test_random(&seed) % 900;
        size_t step = 1 + ws_test_random(&seed) % 400;
        int kind = (int)(ws_test_random(&seed) % WS_TEST_KINDS);

        length = kind == WS_TEST_ZEROS ? length * 53 : length;
        ws_test_fill(data, length, kind, seed % 5);
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
    check_expected(WS_AGAIN);
    ws_test_free(&payload);
    end();
}
END_TEST

/* --- text --- */

START_TEST(character_may_be_cut_between_parts)
{
    ws_message_t message;

    begin(false);
    ws_message_init(&message);
    ws_test_add_frame(&input, 0x01, euro, 1);
    ws_test_add_text(&input, 0x89, "\xff");
    ws_test_add_frame(&input, 0x00, euro + 1, 1);
    ws_test_add_text(&input, 0x00, "");
    ws_test_add_frame(&input, 0x80, euro + 2, 1);
    check_parts();
    ck_assert_str_eq(words(&message, 0, input.length),
                     "1(\xe2) 9(\xff). 1(\x82) 1(\xac). ");
    ws_test_free(&input);
    add_compressed(WS_OP_TEXT, euro, 3, 1);
    expect_text(&expected, WS_OP_TEXT, euro);
    check_expected(WS_AGAIN);
    end();
}
END_TEST

START_TEST(text_is_judged_as_a_whole)
{
    static const struct {
        uint8_t opcode;
        const char *text;
        ws_status_t status;
    } cases[] = {
        {WS_OP_TEXT, "\xc3\xa4 \xf0\x9f\x98\x80", WS_AGAIN},
        {WS_OP_TEXT, "\xc3", WS_EUTF8},
        {WS_OP_TEXT, "abc\xe2\x82", WS_EUTF8},
        {WS_OP_TEXT, "abc\xe2\x28", WS_EUTF8},
        {WS_OP_TEXT, "\xed\xa0\x80", WS_EUTF8},
        {WS_OP_TEXT, "\xc3\xa4\xa4", WS_EUTF8},
        {WS_OP_BINARY, "\xc3\xff", WS_AGAIN},
    };
    const char *text = cases[_i].text;
    size_t step;

    begin(false);
    for (step = 1; step <= 4; step++) {
        int compresses;

        for (compresses = 0; compresses < 2; compresses++) {
            ws_test_add_text(&input, 0x81, "\xc3\xa4");
            expect_text(&expected, WS_OP_TEXT, "\xc3\xa4");
            if (compresses) {
                add_compressed(cases[_i].opcode, text, strlen(text), step);
            }
            else {
                add_message(cases[_i].opcode, text, strlen(text), step);
            }
            if (cases[_i].status == WS_AGAIN) {
                expect_text(&expected, cases[_i].opcode, text);
            }
            check_expected(cases[_i].status);
        }
    }
    end();
}
END_TEST

/* Of a frame of 1000 bytes the third is wrong. */
START_TEST(invalid_text_fails_at_its_byte)
{
    static const uint8_t key[4] = {0, 0, 0, 0};
    ws_message_t message;
    ws_event_t event;
    uint8_t *at;
    size_t left = 1;

    begin(false);
    ws_message_init(&message);
    ws_test_add_head(&input, 0x81, 1000, key);
    ws_test_add(&input, "ab\xe2\x28", 4);
    ck_assert_str_eq(words(&message, 0, input.length - 1), "1(ab\xe2) ");
    at = input.data + input.length - 1;
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, &rules),
                     WS_EUTF8);
    ck_assert_str_eq(message.why, "text is not UTF-8");
    ws_message_clear(&message, &rules);
    end();
}
END_TEST

/* --- limits --- */

START_TEST(maximum_holds_for_the_sum_of_the_parts)
{
    static const uint8_t key[4] = {1, 2, 3, 4};

    begin(false);
    rules.max_message = 10;
    ws_test_add_text(&input, 0x81, "0123456789");
    ws_test_add_text(&input, 0x01, "01234");
    ws_test_add_text(&input, 0x89, "a ping may be longer");
    ws_test_add_text(&input, 0x80, "56789");
    expect_text(&expected, WS_OP_TEXT, "0123456789");
    expect_text(&expected, WS_OP_PING, "a ping may be longer");
    expect_text(&expected, WS_OP_TEXT, "0123456789");
    check_expected(WS_AGAIN);

    ws_test_add_text(&input, 0x01, "01234");
    ws_test_add_text(&input, 0x00, "56789");
    ws_test_add_text(&input, 0x89, "");
    expect_text(&expected, WS_OP_PING, "");
    ws_test_add_head(&input, 0x80, 1, key); /* fails at the head */
    check_expected(WS_ETOOBIG);

    ws_test_add_head(&input, 0x82, INT64_MAX, key);
    check_expected(WS_ETOOBIG);
    end();
}
END_TEST

START_TEST(maximum_holds_for_what_is_inflated)
{
    static const size_t limits[] = {1,
                                    511,
                                    WS_PART_SIZE - 1,
                                    WS_PART_SIZE,
                                    WS_PART_SIZE + 1,
                                    2 * WS_PART_SIZE - 1,
                                    2 * WS_PART_SIZE};
    size_t max = limits[_i];
    uint8_t *data = malloc(max + 1);
    stream_t parts;
    int kind;

    begin(false);
    rules.max_message = max;
    for (kind = 0; kind < WS_TEST_KINDS; kind++) {
        ws_test_fill(data, max + 1, kind, 1);
        add_compressed(WS_OP_BINARY, data, max, 1000);
        expect(&expected, WS_OP_BINARY, data, max);
        check_expected(WS_AGAIN);
        add_compressed(WS_OP_BINARY, data, max + 1, SIZE_MAX);
        parts = stream(0, 0, false);
        ck_assert_uint_le(parts.message.length, max);
        ck_assert_uint_ge(parts.message.length + WS_PART_SIZE, max);
        ck_assert(parts.message.length == 0 ||
                  memcmp(parts.message.data, data, parts.message.length) == 0);
        stream_free(&parts);
        check_expected(WS_ETOOBIG);
    }
    free(data);
    end();
}
END_TEST

/* Nobody looks at what lies behind the maximum. */
START_TEST(maximum_is_passed_before_what_is_wrong_behind_it)
{
    begin(false);
    rules.max_message = 8;
    add_compressed(WS_OP_TEXT, "01234567\xff", 9, SIZE_MAX);
    check_expected(WS_EUTF8);
    add_compressed(WS_OP_TEXT, "012345678\xff", 10, SIZE_MAX);
    check_expected(WS_ETOOBIG);
    end();
}
END_TEST

START_TEST(frames_are_counted_not_parts)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    int i;

    begin(false);
    rules.max_fragments = 3;
    for (i = 0; i < 2; i++) {
        ws_test_add_text(&input, 0x01, "many parts, if it is cut");
        ws_test_add_text(&input, 0x00, "");
        ws_test_add_text(&input, 0x80, "at each byte");
        expect_text(&expected, WS_OP_TEXT,
                    "many parts, if it is cutat each byte");
    }
    ws_test_add_text(&input, 0x02, "a");
    ws_test_add_text(&input, 0x00, "");
    ws_test_add_text(&input, 0x00, "c");
    ws_test_add_head(&input, 0x80, 1, key);
    check_expected(WS_EPOLICY);
    end();
}
END_TEST

/* --- what is wrong --- */

START_TEST(frames_that_do_not_fit_fail)
{
    static const uint8_t firsts[][2] = {{0x81, 0x80}, {0x01, 0x81},
                                        {0x00, 0x02}, {0x01, 0xc0},
                                        {0x41, 0xc1}, {0x41, 0xc0},
                                        {0x01, 0x83}, {0x02, 0x09}};
    size_t i;

    begin(_i >= 8);
    for (i = 0; i < 2; i++) {
        uint8_t first = firsts[_i % 8][i];

        ws_test_add_frame(&input, first, first & RSV1 ? hello : "abc", 3);
    }
    if (firsts[_i % 8][0] == 0x81) {
        expect_text(&expected, WS_OP_TEXT, "abc");
    }
    check_expected(WS_EPROTO);
    end();
}
END_TEST

START_TEST(compressed_data_that_is_broken_fails)
{
    static const struct {
        const char *payload;
        size_t length;
    } cases[] = {
        {"\xf2\x48\xcd\xc9\xc9\x07", 6},    /* cut short */
        {"\xf2", 1},
        {"\x06", 1},                        /* no block type */
        {"\xf2\x00\x11\x00\x00", 5},        /* looks back over the start */
        {"\x00\x05\x00\xfa\xff\x48", 6},
        {"\x00\x04\x00\xfb\xff", 5},
        {"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", 11},
        {"Hello, this is plain", 20},
    };
    size_t step;

    begin(false);
    for (step = 1; step < 20; step += 6) {
        ws_test_add_frame(&input, 0xc1, hello, 7);
        add_message(WS_OP_TEXT | RSV1, cases[_i].payload, cases[_i].length,
                    step);
        ws_test_add_text(&input, 0x81, "behind");
        expect_text(&expected, WS_OP_TEXT, "Hello");
        check_expected(WS_EDATA);
    }
    end();
}
END_TEST

/* Several parts of it are good. */
START_TEST(large_message_that_is_cut_short_fails_at_its_end)
{
    uint8_t *zeros = calloc(1, 3 * WS_PART_SIZE);
    ws_test_bytes_t payload = {0};
    size_t cut;

    begin(_i == 1);
    ws_test_add_deflated_alone(&payload, zeros, 3 * WS_PART_SIZE);
    for (cut = 1; cut < payload.length; cut += 5) {
        add_message(WS_OP_BINARY | RSV1, payload.data, cut, 20);
        check_expected(WS_EDATA);
    }
    ws_test_free(&payload);
    free(zeros);
    end();
}
END_TEST

/* --- memory --- */

/* Nothing is copied, nothing is allocated. */
START_TEST(message_in_one_piece_costs_nothing)
{
    ws_message_t message;

    begin(false);
    ws_test_add_text(&input, 0x81, "text");
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_text(&input, 0x82, "");
    ws_test_alloc_begin();
    ws_message_init(&message);
    words(&message, 0, input.length);
    ck_assert_uint_eq(ws_test_alloc.bytes, 0);
    ws_test_alloc_end();
    end();
}
END_TEST

/* A frame of 1 GiB. */
START_TEST(long_message_costs_what_a_short_one_costs)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    static uint8_t piece[65536];
    uint64_t left = (uint64_t)(ws_test_is_slow() ? 1 : 64) << 24;
    uint64_t sum = 0;
    ws_message_t message;
    ws_event_t event = {0};
    size_t live;

    begin(false);
    rules.max_message = (size_t)left;
    ws_test_add_head(&input, 0x82, left, key);
    ws_test_alloc_begin();
    ws_message_init(&message);
    words(&message, 0, input.length);
    live = ws_test_alloc.bytes;
    ck_assert_uint_lt(live, 1024);
    while (sum < rules.max_message) {
        uint8_t *at = piece;
        size_t count = sizeof(piece);

        ck_assert(!event.is_last);
        if (ws_message_read(&message, &event, &at, &count, &rules) != WS_OK ||
            event.data != piece || event.length != sizeof(piece)) {
            ck_abort_msg("the piece is not the part");
        }
        sum += event.length;
    }
    ck_assert(event.is_last);
    ws_message_release(&message);
    ck_assert_uint_eq(ws_test_alloc.bytes, live);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    end();
}
END_TEST

static void add_bomb(size_t size)
{
    uint8_t *zeros = calloc(1, 1 << 20);
    ws_test_bytes_t payload = {0};
    z_stream client;
    size_t i;

    ws_test_deflater_begin(&client, 1, 15, Z_DEFAULT_STRATEGY);
    for (i = 0; i < size >> 20; i++) {
        ws_test_deflate(&payload, &client, zeros, 1 << 20,
                        i + 1 == size >> 20 ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    }
    deflateEnd(&client);
    free(zeros);
    ws_test_add_frame(&input, 0xc2, payload.data, payload.length - 4);
    ws_test_free(&payload);
}

/* 64 MiB of zeros in 64 KiB, in one piece. */
START_TEST(bomb_costs_one_part)
{
    size_t size = (size_t)(ws_test_is_slow() ? 4 : 64) << 20;
    ws_status_t status;
    ws_message_t message;
    ws_event_t event;
    size_t sum = 0;
    uint8_t *at;
    size_t left;

    begin(false);
    rules.max_message = _i == 0 ? size : size - 1;
    add_bomb(size);
    at = input.data;
    left = input.length;
    ws_test_alloc_begin();
    ws_message_init(&message);
    do {
        status = ws_message_read(&message, &event, &at, &left, &rules);
        sum += status == WS_OK ? event.length : 0;
        if (status == WS_OK && event.length > WS_PART_SIZE) {
            ck_abort_msg("a part is too large");
        }
    } while (status == WS_OK && !event.is_last);
    ck_assert_int_eq(status, _i == 0 ? WS_OK : WS_ETOOBIG);
    ck_assert_uint_le(sum, rules.max_message);
    ck_assert_uint_ge(sum + WS_PART_SIZE, rules.max_message);
    ck_assert_uint_lt(ws_test_alloc.bytes, WS_PART_SIZE + 50000);
    ws_message_clear(&message, &rules);
    ck_assert_int_eq(ws_test_alloc.live, 2); /* the inflater and the part */
    ws_test_alloc_end();
    ck_assert_uint_eq(budget.used, 0);
    end();
}
END_TEST

/* All its bytes have come, and its output is not over. */
START_TEST(output_without_input_is_asked_for_by_a_byte_that_is_left)
{
    uint8_t *zeros = calloc(1, 2 * WS_PART_SIZE);
    bool was_left = false;
    ws_message_t message;
    ws_event_t event;

    begin(false);
    add_compressed(WS_OP_BINARY, zeros, 2 * WS_PART_SIZE, SIZE_MAX);
    ws_message_init(&message);
    do {
        uint8_t *at = input.data;
        size_t left = input.length;

        ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, &rules),
                         WS_OK);
        ck_assert(event.is_last == (left == 0));
        was_left = was_left || left == 1;
        memmove(input.data, at, left);
        input.length = left;
    } while (!event.is_last);
    ck_assert(was_left);
    ws_message_clear(&message, &rules);
    free(zeros);
    end();
}
END_TEST

/* The last byte of the payload may hold what ends the message, too: at some of
 * these lengths a part is full, and the inflater has that byte. */
START_TEST(message_that_ends_right_behind_a_full_part_is_whole)
{
    uint8_t *zeros = calloc(1, WS_PART_SIZE + 600);
    size_t over;

    for (over = 0; over < 600; over += ws_test_is_slow() ? 7 : 1) {
        stream_t parts;

        begin(_i == 1);
        add_compressed(WS_OP_BINARY, zeros, WS_PART_SIZE + over, SIZE_MAX);
        expect(&expected, WS_OP_BINARY, zeros, WS_PART_SIZE + over);
        parts = stream(0, 0, false);
        ck_assert_int_eq(parts.result.status, WS_AGAIN);
        ck_assert_uint_eq(parts.result.seen.length, expected.length);
        stream_free(&parts);
        end();
    }
    free(zeros);
}
END_TEST

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

START_TEST(nothing_is_held_between_messages_but_a_context)
{
    uint8_t *zeros = calloc(1, 3 * WS_PART_SIZE);
    ws_message_t message;
    long before;

    ws_test_alloc_begin();
    begin(_i == 1);
    add_compressed(WS_OP_BINARY, zeros, 3 * WS_PART_SIZE, SIZE_MAX);
    before = ws_test_alloc.live;
    ws_message_init(&message);
    ck_assert_int_eq(read_all(&message, input.data, input.length - 1),
                     WS_AGAIN);
    ck_assert_int_eq(ws_test_alloc.live - before, 3); /* and what is cut */
    ck_assert(_i == 1 || budget.used > 0);
    ck_assert_int_eq(read_all(&message, input.data + input.length - 1, 1),
                     WS_AGAIN);
    ck_assert_int_eq(ws_test_alloc.live - before, 2); /* inflater and part */
    ck_assert_uint_eq(budget.used, 0);
    ck_assert_ptr_null(message.partial);
    ck_assert((message.context != NULL) == (_i == 1));
    ws_message_clear(&message, &rules);
    ck_assert_int_eq(ws_test_alloc.live - before, _i == 1 ? 1 : 2);
    end();
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    free(zeros);
}
END_TEST

/* Between two parts, too: the inflater goes back, whatever waits in it. */
START_TEST(message_that_does_not_end_lets_its_inflater_go)
{
    uint8_t *zeros = calloc(1, 3 * WS_PART_SIZE);
    ws_message_t message;
    ws_event_t event;
    int parts;
    int i;

    begin(_i == 1);
    add_compressed(WS_OP_BINARY, zeros, 3 * WS_PART_SIZE, SIZE_MAX);
    for (parts = 0; parts < 3; parts++) {
        uint8_t *copy = malloc(input.length);
        uint8_t *at = copy;
        size_t left = input.length;

        memcpy(copy, input.data, input.length);
        ws_message_init(&message);
        for (i = 0; i <= parts; i++) {
            ck_assert_int_eq(
                ws_message_read(&message, &event, &at, &left, &rules), WS_OK);
        }
        ws_message_clear(&message, &rules);
        ck_assert_uint_eq(budget.used, 0);
        free(copy);
    }
    expect(&expected, WS_OP_BINARY, zeros, 3 * WS_PART_SIZE);
    check_expected(WS_AGAIN);
    free(zeros);
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
    ck_assert_int_le(ws_test_alloc.live, rules.takeover ? 1 : 2);
    ck_assert_uint_eq(budget.used, 0);
    ws_test_alloc_end();
    free(copy);
    return failed;
}

START_TEST(each_allocation_that_fails_is_told_and_nothing_leaks)
{
    static const size_t steps[] = {1, 40, 700, 1000000};
    static uint8_t data[2 * WS_PART_SIZE];
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
            add_message(WS_OP_TEXT, data, 3000, 1000);
            add_compressed(WS_OP_TEXT, data, sizeof(data), 3000);
            ws_test_add_text(&input, 0x89, "ping");
            ws_test_add_text(&input, 0x81, "plain");
            add_compressed(WS_OP_TEXT, data, 100, SIZE_MAX);
            failed = read_with_failure(steps[i], n, n % 2 == 0);
            end();
        }
        total += n;
    }
    ck_assert_int_gt(total, 15);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(each_frame_is_a_part_with_the_opcode_of_its_message),
        WS_TEST(part_comes_before_the_frame_ends),
        WS_TEST_LOOP(compressed_part_comes_as_soon_as_it_can_be_inflated, 2),
        WS_TEST(no_part_is_empty_but_the_last),
        WS_TEST_LOOP(parts_of_any_length_are_the_message_however_it_is_cut, 11),
        WS_TEST_LOOP(parts_of_any_length_are_the_compressed_message, 16),
        WS_TEST(parts_are_no_larger_than_the_buffer),
        WS_TEST_LOOP(random_messages_come_in_parts_as_they_went_in, 14),
        WS_TEST(character_may_be_cut_between_parts),
        WS_TEST_LOOP(text_is_judged_as_a_whole, 7),
        WS_TEST(invalid_text_fails_at_its_byte),
        WS_TEST(maximum_holds_for_the_sum_of_the_parts),
        WS_TEST_LOOP(maximum_holds_for_what_is_inflated, 7),
        WS_TEST(maximum_is_passed_before_what_is_wrong_behind_it),
        WS_TEST(frames_are_counted_not_parts),
        WS_TEST_LOOP(frames_that_do_not_fit_fail, 16),
        WS_TEST_LOOP(compressed_data_that_is_broken_fails, 8),
        WS_TEST_LOOP(large_message_that_is_cut_short_fails_at_its_end, 2),
        WS_TEST(message_in_one_piece_costs_nothing),
        WS_TEST(long_message_costs_what_a_short_one_costs),
        WS_TEST_LOOP(bomb_costs_one_part, 2),
        WS_TEST(output_without_input_is_asked_for_by_a_byte_that_is_left),
        WS_TEST_LOOP(message_that_ends_right_behind_a_full_part_is_whole, 2),
        WS_TEST_LOOP(nothing_is_held_between_messages_but_a_context, 2),
        WS_TEST_LOOP(message_that_does_not_end_lets_its_inflater_go, 2),
        WS_TEST_LOOP(each_allocation_that_fails_is_told_and_nothing_leaks, 2),
    };

    return ws_test_run("stream", tests, WS_TEST_COUNT(tests));
}
