/* ws_message: scripted frames to messages. */
#include "ws_message.h"

#include "ws_test.h"
#include "ws_test_alloc.h"

#define MAX (1024 * 1024)
#define RULES(max) (&(const ws_message_rules_t){.max_message = (max)})

static const char euro[] = "\xe2\x82\xac";

/* What came out of one input: each event as type, length and payload. */
typedef struct {
    ws_test_bytes_t seen;
    size_t events;
    ws_status_t status;              /* how it ended */
    size_t consumed;                 /* bytes of the pieces before that */
} result_t;

static void note(result_t *result, const ws_event_t *event)
{
    uint32_t length = (uint32_t)event->length;

    ws_test_add(&result->seen, &event->opcode, 1);
    ws_test_add(&result->seen, &length, sizeof(length));
    ws_test_add(&result->seen, event->data, event->length);
    result->events++;
}

/* Reads one piece, which lies at the end of memory. */
static void read_piece(ws_message_t *message, result_t *result,
                       const ws_test_edge_t *edge, const uint8_t *piece,
                       size_t length, size_t max)
{
    uint8_t *at = ws_test_edge_put(edge, piece, length);
    uint8_t *end = at + length;
    ws_event_t event;

    do {
        result->status = ws_message_read(message, &event, &at, &length, RULES(max));
        if (at + length != end) {
            ck_abort_msg("the input was moved on wrongly");
        }
        if (result->status == WS_OK) {
            note(result, &event);
        }
    } while (result->status == WS_OK);
    if (result->status == WS_AGAIN) {
        ck_assert_uint_eq(length, 0);
    }
    else {
        ck_assert_ptr_nonnull(message->why);
    }
}

/* Reads input in pieces: `first` bytes, then the rest; step > 0: each piece
 * has that many. */
static result_t run(const ws_test_bytes_t *input, size_t first, size_t step,
                    size_t max)
{
    ws_test_edge_t edge = ws_test_edge_create(input->length + 1);
    result_t result = {.status = WS_AGAIN};
    ws_message_t message;
    size_t at = 0;

    ws_message_init(&message);
    while (at < input->length && result.status == WS_AGAIN) {
        size_t length = step > 0               ? step
                        : at == 0 && first > 0 ? first
                                               : SIZE_MAX;

        if (length > input->length - at) {
            length = input->length - at;
        }
        read_piece(&message, &result, &edge, input->data + at, length, max);
        result.consumed = at;
        at += length;
    }
    if (result.status == WS_AGAIN) {
        result.consumed = at;
    }
    ws_message_clear(&message, RULES(MAX));
    ck_assert_ptr_null(message.partial);
    ws_test_edge_destroy(&edge);
    return result;
}

/* However it is cut, the same comes out. Returns the result of the whole. */
static result_t run_all_ways(const ws_test_bytes_t *input, size_t max)
{
    size_t ways = ws_test_is_slow() ? 40 : 300;
    size_t step = input->length > 2 * ways ? input->length / ways : 1;
    result_t whole = run(input, 0, 0, max);
    size_t cut;

    for (cut = 0; cut <= input->length; cut += step) {
        result_t other =
            cut == 0 ? run(input, 0, 1, max) : run(input, cut, 0, max);

        ck_assert_int_eq(other.status, whole.status);
        ck_assert_uint_eq(other.events, whole.events);
        ck_assert_uint_eq(other.seen.length, whole.seen.length);
        ck_assert(whole.seen.length == 0 ||
                  memcmp(other.seen.data, whole.seen.data, whole.seen.length) ==
                      0);
        ws_test_free(&other.seen);
    }
    return whole;
}

static void expect(ws_test_bytes_t *expected, uint8_t opcode,
                   const void *payload, size_t length)
{
    uint32_t length32 = (uint32_t)length;

    ws_test_add(expected, &opcode, 1);
    ws_test_add(expected, &length32, sizeof(length32));
    ws_test_add(expected, payload, length);
}

static void expect_text(ws_test_bytes_t *expected, uint8_t opcode,
                        const char *text)
{
    expect(expected, opcode, text, strlen(text));
}

/* Consumes input and expected. */
static void check_events(ws_test_bytes_t *input, ws_test_bytes_t *expected,
                         ws_status_t status, size_t max)
{
    result_t result;

    result = run_all_ways(input, max);
    ck_assert_int_eq(result.status, status);
    ck_assert_uint_eq(result.seen.length, expected->length);
    ck_assert(expected->length == 0 ||
              memcmp(result.seen.data, expected->data, expected->length) == 0);
    ws_test_free(&result.seen);
    ws_test_free(input);
    ws_test_free(expected);
}

START_TEST(message_of_any_length_is_read_however_it_is_cut)
{
    static const size_t lengths[] = {0,   1,   7,     125,   126,  127,
                                     511, 513, 65535, 65536, 70000};
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};
    uint8_t *payload = malloc(70000);
    size_t i;

    for (i = 0; i < 70000; i++) {
        payload[i] = (uint8_t)(i * 13 >> 2);
    }
    ws_test_add_frame(&input, 0x82, payload, lengths[_i]);
    expect(&expected, WS_OP_BINARY, payload, lengths[_i]);
    check_events(&input, &expected, WS_AGAIN, MAX);
    free(payload);
}
END_TEST

START_TEST(several_messages_glued_come_one_by_one)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x81, "one");
    ws_test_add_text(&input, 0x82, "");
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_text(&input, 0x81, "");
    ws_test_add_text(&input, 0x8a, "");
    ws_test_add_text(&input, 0x81, "two \xc3\xa4");
    ws_test_add_text(&input, 0x88, "\x03\xe8");
    expect_text(&expected, WS_OP_TEXT, "one");
    expect_text(&expected, WS_OP_BINARY, "");
    expect_text(&expected, WS_OP_PING, "ping");
    expect_text(&expected, WS_OP_TEXT, "");
    expect_text(&expected, WS_OP_PONG, "");
    expect_text(&expected, WS_OP_TEXT, "two \xc3\xa4");
    expect_text(&expected, WS_OP_CLOSE, "\x03\xe8");
    check_events(&input, &expected, WS_AGAIN, MAX);
}
END_TEST

START_TEST(fragments_with_control_frames_between_make_one_message)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};
    char long_ping[126];

    memset(long_ping, 'p', 125);
    long_ping[125] = '\0';
    ws_test_add_text(&input, 0x01, "Hel");
    ws_test_add_text(&input, 0x89, long_ping);
    ws_test_add_text(&input, 0x00, "");
    ws_test_add_text(&input, 0x8a, "pong");
    ws_test_add_text(&input, 0x00, "lo, ");
    ws_test_add_text(&input, 0x89, "");
    ws_test_add_text(&input, 0x80, "world");
    ws_test_add_text(&input, 0x82, "next");
    expect_text(&expected, WS_OP_PING, long_ping);
    expect_text(&expected, WS_OP_PONG, "pong");
    expect_text(&expected, WS_OP_PING, "");
    expect_text(&expected, WS_OP_TEXT, "Hello, world");
    expect_text(&expected, WS_OP_BINARY, "next");
    check_events(&input, &expected, WS_AGAIN, MAX);
}
END_TEST

START_TEST(empty_fragments_are_nothing)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x01, "");
    ws_test_add_text(&input, 0x00, "");
    ws_test_add_text(&input, 0x80, "");
    ws_test_add_text(&input, 0x02, "");
    ws_test_add_text(&input, 0x80, "all");
    ws_test_add_text(&input, 0x02, "all");
    ws_test_add_text(&input, 0x80, "");
    ws_test_add_text(&input, 0x01, "");
    ws_test_add_text(&input, 0x89, "");
    ws_test_add_text(&input, 0x80, "");
    expect_text(&expected, WS_OP_TEXT, "");
    expect_text(&expected, WS_OP_BINARY, "all");
    expect_text(&expected, WS_OP_BINARY, "all");
    expect_text(&expected, WS_OP_PING, "");
    expect_text(&expected, WS_OP_TEXT, "");
    check_events(&input, &expected, WS_AGAIN, MAX);
}
END_TEST

/* More than one frame, growth of the buffer, cut anywhere. */
START_TEST(large_message_of_many_fragments_is_whole)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};
    uint8_t payload[3000];
    ws_test_bytes_t all = {0};
    uint32_t seed = 77;
    size_t i;

    for (i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)ws_test_random(&seed);
    }
    for (i = 0; i < 12; i++) {
        size_t length = i * 61;

        ws_test_add_frame(&input,
                          i == 0    ? 0x02
                          : i == 11 ? 0x80
                                    : 0x00,
                          payload, length);
        ws_test_add(&all, payload, length);
    }
    expect(&expected, WS_OP_BINARY, all.data, all.length);
    check_events(&input, &expected, WS_AGAIN, all.length);
    ws_test_free(&all);
}
END_TEST

START_TEST(byte_after_byte_of_random_frames_is_as_the_whole)
{
    uint32_t seed = 4711 + (uint32_t)_i;
    ws_test_bytes_t input = {0};
    result_t result;
    bool open = false;
    uint8_t payload[700];
    int i;

    memset(payload, 'x', sizeof(payload));
    for (i = 0; i < 12; i++) {
        uint32_t kind = ws_test_random(&seed) % 4;
        size_t length = ws_test_random(&seed) % 300;
        bool fin = ws_test_random(&seed) % 2;

        if (kind == 0) {
            ws_test_add_frame(&input, 0x89, payload, length % 126);
            continue;
        }
        ws_test_add_frame(&input,
                          (uint8_t)((fin ? 0x80 : 0) |
                                    (open ? 0 : 1 + kind % 2)),
                          payload, kind == 3 ? 0 : length);
        open = !fin;
    }
    result = run_all_ways(&input, MAX);
    ck_assert_int_eq(result.status, WS_AGAIN);
    ws_test_free(&result.seen);
    ws_test_free(&input);
}
END_TEST

START_TEST(message_of_just_the_maximum_passes)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x81, "0123456789");
    ws_test_add_text(&input, 0x01, "01234");
    ws_test_add_text(&input, 0x89, "a ping may be longer");
    ws_test_add_text(&input, 0x80, "56789");
    expect_text(&expected, WS_OP_TEXT, "0123456789");
    expect_text(&expected, WS_OP_PING, "a ping may be longer");
    expect_text(&expected, WS_OP_TEXT, "0123456789");
    check_events(&input, &expected, WS_AGAIN, 10);
}
END_TEST

/* Of the failing frame only the head is there. */
START_TEST(message_over_the_maximum_fails_at_the_head)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_head(&input, 0x81, 11, key);
    check_events(&input, &expected, WS_ETOOBIG, 10);

    ws_test_add_text(&input, 0x01, "01234");
    ws_test_add_text(&input, 0x00, "56789");
    ws_test_add_head(&input, 0x80, 1, key);
    check_events(&input, &expected, WS_ETOOBIG, 10);

    ws_test_add_head(&input, 0x82, INT64_MAX, key);
    check_events(&input, &expected, WS_ETOOBIG, MAX);

    ws_test_add_text(&input, 0x02, "01234");
    ws_test_add_head(&input, 0x80, INT64_MAX, key);
    check_events(&input, &expected, WS_ETOOBIG, MAX);
}
END_TEST

START_TEST(maximum_of_zero_lets_empty_messages_pass)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x81, "");
    ws_test_add_head(&input, 0x81, 1, key);
    expect_text(&expected, WS_OP_TEXT, "");
    check_events(&input, &expected, WS_ETOOBIG, 0);
}
END_TEST

START_TEST(continuation_without_a_start_fails)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x80, "x");
    check_events(&input, &expected, WS_EPROTO, MAX);

    ws_test_add_text(&input, 0x01, "a");
    ws_test_add_text(&input, 0x80, "b");
    ws_test_add_text(&input, 0x00, "c");
    expect_text(&expected, WS_OP_TEXT, "ab");
    check_events(&input, &expected, WS_EPROTO, MAX);
}
END_TEST

START_TEST(new_message_inside_a_message_fails)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x01, "a");
    ws_test_add_text(&input, 0x81, "b");
    check_events(&input, &expected, WS_EPROTO, MAX);

    ws_test_add_text(&input, 0x02, "");
    ws_test_add_text(&input, 0x8a, "pong");
    ws_test_add_text(&input, 0x02, "b");
    expect_text(&expected, WS_OP_PONG, "pong");
    check_events(&input, &expected, WS_EPROTO, MAX);
}
END_TEST

START_TEST(what_the_head_refuses_fails_here_too)
{
    static const char *const heads[] = {"\xc1\x80", "\x83\x80",
                                        "\x09\x80", "\x89\xfe",
                                        "\x81\x01", "\x81\xfe\x00\x7d"};
    static const size_t lengths[] = {1, 1, 1, 2, 2, 4};
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(heads); i++) {
        ws_test_bytes_t input = {0};
        ws_test_bytes_t expected = {0};

        ws_test_add_text(&input, 0x81, "ok");
        ws_test_add(&input, heads[i], lengths[i]);
        expect_text(&expected, WS_OP_TEXT, "ok");
        check_events(&input, &expected, WS_EPROTO, MAX);
    }
}
END_TEST

START_TEST(utf8_sequence_split_over_fragments_passes)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_frame(&input, 0x01, euro, 1);
    ws_test_add_text(&input, 0x89, "\xff");
    ws_test_add_frame(&input, 0x00, euro + 1, 1);
    ws_test_add_text(&input, 0x00, "");
    ws_test_add_frame(&input, 0x80, euro + 2, 1);
    ws_test_add_text(&input, 0x81, "\xf0\x9f\x98\x80");
    expect_text(&expected, WS_OP_PING, "\xff");
    expect_text(&expected, WS_OP_TEXT, euro);
    expect_text(&expected, WS_OP_TEXT, "\xf0\x9f\x98\x80");
    check_events(&input, &expected, WS_AGAIN, MAX);
}
END_TEST

START_TEST(text_that_ends_inside_a_sequence_fails)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_frame(&input, 0x81, euro, 2);
    check_events(&input, &expected, WS_EUTF8, MAX);

    ws_test_add_frame(&input, 0x01, euro, 2);
    ws_test_add_frame(&input, 0x80, "", 0);
    check_events(&input, &expected, WS_EUTF8, MAX);
}
END_TEST

START_TEST(binary_is_not_judged_as_text)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x82, "\xff\xfe\x80");
    ws_test_add_text(&input, 0x02, "\xc3");
    ws_test_add_text(&input, 0x80, "\x28");
    expect_text(&expected, WS_OP_BINARY, "\xff\xfe\x80");
    expect_text(&expected, WS_OP_BINARY, "\xc3\x28");
    check_events(&input, &expected, WS_AGAIN, MAX);
}
END_TEST

/* The state of one text does not reach into the next. */
START_TEST(each_text_is_judged_anew)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t expected = {0};

    ws_test_add_text(&input, 0x01, "\xc3");
    ws_test_add_text(&input, 0x80, "\xa4");
    ws_test_add_text(&input, 0x81, "\xa4");
    expect_text(&expected, WS_OP_TEXT, "\xc3\xa4");
    check_events(&input, &expected, WS_EUTF8, MAX);
}
END_TEST

/* The frame declares 1000 bytes; the third that comes is wrong. */
START_TEST(invalid_text_fails_at_its_byte)
{
    static const uint8_t key[4] = {0, 0, 0, 0};
    ws_test_bytes_t input = {0};
    result_t result;
    size_t head;

    ws_test_add_head(&input, 0x81, 1000, key);
    head = input.length;
    ws_test_add(&input, "ab\xe2\x28", 4);
    result = run(&input, 0, 1, MAX);
    ck_assert_int_eq(result.status, WS_EUTF8);
    ck_assert_uint_eq(result.consumed, head + 3);
    ws_test_free(&result.seen);
    result = run(&input, 0, 0, MAX);
    ck_assert_int_eq(result.status, WS_EUTF8);
    ws_test_free(&result.seen);
    input.length--;
    result = run(&input, 0, 0, MAX);
    ck_assert_int_eq(result.status, WS_AGAIN);
    ws_test_free(&result.seen);
    ws_test_free(&input);
}
END_TEST

/* Nothing is copied, nothing is allocated. */
START_TEST(message_in_one_piece_lies_in_the_input)
{
    ws_test_bytes_t input = {0};
    ws_message_t message;
    ws_event_t event;
    uint8_t *at;
    size_t left;

    ws_test_add_text(&input, 0x81, "text");
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_text(&input, 0x82, "");
    ws_test_alloc_begin();
    ws_message_init(&message);
    at = input.data;
    left = input.length;
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, RULES(MAX)), WS_OK);
    ck_assert_ptr_eq(event.data, input.data + 6);
    ck_assert_uint_eq(event.length, 4);
    ck_assert_mem_eq(event.data, "text", 4);
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, RULES(MAX)), WS_OK);
    ck_assert_ptr_eq(event.data, input.data + 16);
    ck_assert_mem_eq(event.data, "ping", 4);
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, RULES(MAX)), WS_OK);
    ck_assert_uint_eq(event.length, 0);
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, RULES(MAX)),
                     WS_AGAIN);
    ck_assert_uint_eq(ws_test_alloc.bytes, 0);
    ck_assert_ptr_null(message.partial);
    ws_message_clear(&message, RULES(MAX));
    ws_test_alloc_end();
    ws_test_free(&input);
}
END_TEST

/* "between two messages a ws_message_t owns no memory" */
START_TEST(memory_is_given_back_between_messages)
{
    ws_test_bytes_t input = {0};
    ws_message_t message;
    ws_event_t event;
    uint8_t *at;
    size_t left;

    ws_test_add_text(&input, 0x81, "a message that is cut");
    ws_test_alloc_begin();
    ws_message_init(&message);
    at = input.data;
    left = 15;
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, RULES(MAX)),
                     WS_AGAIN);
    ck_assert_int_gt(ws_test_alloc.live, 0);
    left = input.length - 15;
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, RULES(MAX)), WS_OK);
    ck_assert_mem_eq(event.data, "a message that is cut", event.length);
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left, RULES(MAX)),
                     WS_AGAIN);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ck_assert_ptr_null(message.partial);
    ws_test_alloc_end();
    ws_test_free(&input);
}
END_TEST

START_TEST(memory_grows_by_what_came_not_by_what_is_declared)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    ws_test_bytes_t input = {0};
    ws_message_t message;
    ws_event_t event;
    uint8_t *at;
    size_t left;

    ws_test_add_head(&input, 0x82, (uint64_t)1 << 30, key);
    ws_test_add(&input, "0123456789", 10);
    ws_test_alloc_begin();
    ws_message_init(&message);
    at = input.data;
    left = input.length;
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left,
                                     RULES((size_t)1 << 31)),
                     WS_AGAIN);
    ck_assert_uint_lt(ws_test_alloc.bytes, 4096);
    ws_message_clear(&message, RULES(MAX));
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    ws_test_free(&input);
}
END_TEST

/* ... and never over the maximum. */
START_TEST(buffer_is_not_larger_than_the_maximum)
{
    ws_test_bytes_t input = {0};
    ws_message_t message;
    ws_event_t event;
    uint8_t payload[601];
    uint8_t *at;
    size_t left;

    memset(payload, 'a', sizeof(payload));
    ws_test_add_frame(&input, 0x81, payload, sizeof(payload));
    ws_test_alloc_begin();
    ws_message_init(&message);
    at = input.data;
    left = input.length - 1;
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left,
                                     RULES(sizeof(payload))),
                     WS_AGAIN);
    ck_assert_uint_lt(ws_test_alloc.bytes, sizeof(payload) + 400);
    left = 1;
    ck_assert_int_eq(ws_message_read(&message, &event, &at, &left,
                                     RULES(sizeof(payload))),
                     WS_OK);
    ck_assert_uint_eq(event.length, sizeof(payload));
    ws_message_clear(&message, RULES(MAX));
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    ws_test_free(&input);
}
END_TEST

/* Reads input in pieces of `step` bytes. Returns how it ended. */
static ws_status_t read_with_failures(const ws_test_bytes_t *input, size_t step,
                                      long fail_at, bool all, bool *pfailed)
{
    uint8_t *copy = malloc(input->length);
    ws_status_t status = WS_AGAIN;
    ws_message_t message;
    ws_event_t event;
    size_t done;

    memcpy(copy, input->data, input->length);
    ws_test_alloc_begin();
    ws_test_alloc_fail(fail_at, all);
    ws_message_init(&message);
    for (done = 0; done < input->length && status == WS_AGAIN; done += step) {
        uint8_t *at = copy + done;
        size_t left = input->length - done < step ? input->length - done : step;

        do {
            status = ws_message_read(&message, &event, &at, &left, RULES(MAX));
        } while (status == WS_OK);
    }
    *pfailed = ws_test_alloc_unfail();
    if (*pfailed) {
        ck_assert_int_eq(status, WS_ENOMEM);
        ck_assert_ptr_nonnull(message.why);
    }
    ws_message_clear(&message, RULES(MAX));
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    free(copy);
    return status;
}

START_TEST(each_allocation_that_fails_is_told_and_nothing_leaks)
{
    static const size_t steps[] = {3, 40, 700, 5000, 1};
    ws_test_bytes_t input = {0};
    uint8_t payload[2000];
    bool failed = true;
    size_t i;
    long n;
    long total = 0;

    memset(payload, 'a', sizeof(payload));
    ws_test_add_frame(&input, 0x01, payload, sizeof(payload));
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_frame(&input, 0x80, payload, sizeof(payload));
    ws_test_add_text(&input, 0x81, "short");
    ws_test_add_frame(&input, 0x81, payload, 300);
    for (i = 0; i < WS_TEST_COUNT(steps) - ws_test_is_slow(); i++) {
        failed = true;
        for (n = 0; failed; n++) {
            ck_assert_int_lt(n, 1000);
            read_with_failures(&input, steps[i], n, n % 2 == 0, &failed);
        }
        total += n;
    }
    ck_assert_int_gt(total, 20);
    ws_test_free(&input);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(message_of_any_length_is_read_however_it_is_cut, 11),
        WS_TEST(several_messages_glued_come_one_by_one),
        WS_TEST(fragments_with_control_frames_between_make_one_message),
        WS_TEST(empty_fragments_are_nothing),
        WS_TEST(large_message_of_many_fragments_is_whole),
        WS_TEST_LOOP(byte_after_byte_of_random_frames_is_as_the_whole, 20),
        WS_TEST(message_of_just_the_maximum_passes),
        WS_TEST(message_over_the_maximum_fails_at_the_head),
        WS_TEST(maximum_of_zero_lets_empty_messages_pass),
        WS_TEST(continuation_without_a_start_fails),
        WS_TEST(new_message_inside_a_message_fails),
        WS_TEST(what_the_head_refuses_fails_here_too),
        WS_TEST(utf8_sequence_split_over_fragments_passes),
        WS_TEST(text_that_ends_inside_a_sequence_fails),
        WS_TEST(binary_is_not_judged_as_text),
        WS_TEST(each_text_is_judged_anew),
        WS_TEST(invalid_text_fails_at_its_byte),
        WS_TEST(message_in_one_piece_lies_in_the_input),
        WS_TEST(memory_is_given_back_between_messages),
        WS_TEST(memory_grows_by_what_came_not_by_what_is_declared),
        WS_TEST(buffer_is_not_larger_than_the_maximum),
        WS_TEST(each_allocation_that_fails_is_told_and_nothing_leaks),
    };

    return ws_test_run("message", tests, WS_TEST_COUNT(tests));
}
