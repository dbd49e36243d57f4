/* ws_test_message: a client's bytes, read by ws_message in pieces that are cut
 * anywhere.
 * Include it in one file of a program. */
#ifndef WS_TEST_MESSAGE_H
#define WS_TEST_MESSAGE_H

#include "ws_message.h"
#include "ws_test.h"

/* What came out of one input: each event as type, length and payload. */
typedef struct {
    ws_test_bytes_t seen;
    size_t events;
    ws_status_t status;              /* how it ended */
    size_t consumed;                 /* bytes of the pieces before that */
} result_t;

WS_TEST_UNUSED static void note(result_t *result, const ws_event_t *event)
{
    uint32_t length = (uint32_t)event->length;

    ws_test_add(&result->seen, &event->opcode, 1);
    ws_test_add(&result->seen, &length, sizeof(length));
    ws_test_add(&result->seen, event->data, event->length);
    result->events++;
}

/* Reads one piece, which lies at the end of memory. */
WS_TEST_UNUSED static void read_piece(ws_message_t *message, result_t *result,
                                      const ws_test_edge_t *edge,
                                      const uint8_t *piece, size_t length,
                                      const ws_message_rules_t *rules)
{
    uint8_t *at = ws_test_edge_put(edge, piece, length);
    uint8_t *end = at + length;
    ws_event_t event;

    do {
        result->status = ws_message_read(message, &event, &at, &length, rules);
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
WS_TEST_UNUSED static result_t run(const ws_test_bytes_t *input, size_t first,
                                   size_t step, const ws_message_rules_t *rules)
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
        read_piece(&message, &result, &edge, input->data + at, length, rules);
        result.consumed = at;
        at += length;
    }
    if (result.status == WS_AGAIN) {
        result.consumed = at;
    }
    ws_message_clear(&message, rules);
    ck_assert_ptr_null(message.partial);
    ws_test_edge_destroy(&edge);
    return result;
}

/* However it is cut, the same comes out. Returns the result of the whole. */
WS_TEST_UNUSED static result_t run_all_ways(const ws_test_bytes_t *input,
                                            const ws_message_rules_t *rules)
{
    size_t ways = ws_test_is_slow() ? 40 : 300;
    size_t step = input->length > 2 * ways ? input->length / ways : 1;
    result_t whole = run(input, 0, 0, rules);
    size_t cut;

    for (cut = 0; cut <= input->length; cut += step) {
        result_t other =
            cut == 0 ? run(input, 0, 1, rules) : run(input, cut, 0, rules);

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

WS_TEST_UNUSED static void expect(ws_test_bytes_t *expected, uint8_t opcode,
                                  const void *payload, size_t length)
{
    uint32_t length32 = (uint32_t)length;

    ws_test_add(expected, &opcode, 1);
    ws_test_add(expected, &length32, sizeof(length32));
    ws_test_add(expected, payload, length);
}

WS_TEST_UNUSED static void expect_text(ws_test_bytes_t *expected,
                                       uint8_t opcode, const char *text)
{
    expect(expected, opcode, text, strlen(text));
}

/* Consumes input and expected. */
WS_TEST_UNUSED static void check_events(ws_test_bytes_t *input,
                                        ws_test_bytes_t *expected,
                                        ws_status_t status,
                                        const ws_message_rules_t *rules)
{
    result_t result;

    result = run_all_ways(input, rules);
    ck_assert_int_eq(result.status, status);
    ck_assert_uint_eq(result.seen.length, expected->length);
    ck_assert(expected->length == 0 ||
              memcmp(result.seen.data, expected->data, expected->length) == 0);
    ws_test_free(&result.seen);
    ws_test_free(input);
    ws_test_free(expected);
}

#endif
