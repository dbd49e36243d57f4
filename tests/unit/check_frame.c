/* ws_frame: heads of frames. */
#include "ws_frame.h"

#include "ws_test.h"

static const uint8_t key[4] = {0x11, 0x22, 0x33, 0x44};

static const uint64_t lengths[] = {
    0,
    1,
    124,
    125,
    126,
    127,
    255,
    256,
    65534,
    65535,
    65536,
    65537,
    UINT32_MAX,
    (uint64_t)1 << 32,
    (uint64_t)INT64_MAX - 1,
    (uint64_t)INT64_MAX,
};

static ws_test_edge_t edge;

static void begin(void)
{
    edge = ws_test_edge_create(64);
}

static void end(void)
{
    ws_test_edge_destroy(&edge);
}

/* The shortest prefix that is refused; 0: none is. */
static size_t refused_at(const uint8_t *bytes, size_t length)
{
    ws_frame_t frame;
    size_t head;
    size_t cut;

    for (cut = 0; cut <= length; cut++) {
        const char *why = NULL;
        ws_status_t status =
            ws_frame_parse(&frame, &head, &why,
                           ws_test_edge_put(&edge, bytes, cut), cut,
                           false);

        if (status == WS_EPROTO) {
            ck_assert_ptr_nonnull(why);
            return cut;
        }
        if (status == WS_OK) {
            return 0;
        }
        if (status != WS_AGAIN) {
            ck_abort_msg("status %d", (int)status);
        }
    }
    return 0;
}

START_TEST(parse_waits_at_every_cut)
{
    ws_test_bytes_t bytes = {0};
    ws_frame_t frame;
    ws_frame_t untouched;
    size_t cut;
    size_t head = 99;
    const char *why = NULL;

    begin();
    memset(&untouched, 0xa5, sizeof(untouched));
    ws_test_add_head(&bytes, 0x82, lengths[_i], key);
    for (cut = 0; cut < bytes.length; cut++) {
        memset(&frame, 0xa5, sizeof(frame));
        ck_assert_int_eq(
            ws_frame_parse(&frame, &head, &why,
                           ws_test_edge_put(&edge, bytes.data, cut), cut,
                           false),
            WS_AGAIN);
        ck_assert_uint_eq(head, 99);
        ck_assert_mem_eq(&frame, &untouched, sizeof(frame));
    }
    ck_assert_int_eq(ws_frame_parse(&frame, &head, &why,
                                    ws_test_edge_put(&edge, bytes.data,
                                                     bytes.length),
                                    bytes.length, false),
                     WS_OK);
    ck_assert_uint_eq(head, bytes.length);
    ck_assert_uint_eq(frame.length, lengths[_i]);
    ck_assert_uint_eq(frame.opcode, WS_OP_BINARY);
    ck_assert(frame.fin);
    ck_assert_mem_eq(frame.key, key, 4);
    ck_assert_ptr_null(why);
    ws_test_free(&bytes);
    end();
}
END_TEST

START_TEST(parse_ignores_what_follows)
{
    ws_test_bytes_t bytes = {0};
    ws_frame_t frame;
    size_t head;
    const char *why;

    ws_test_add_head(&bytes, 0x01, lengths[_i], key);
    ws_test_add(&bytes, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    ck_assert_int_eq(ws_frame_parse(&frame, &head, &why, bytes.data,
                                    bytes.length, false),
                     WS_OK);
    ck_assert_uint_eq(head, bytes.length - 8);
    ck_assert_uint_eq(frame.length, lengths[_i]);
    ck_assert(!frame.fin);
    ws_test_free(&bytes);
}
END_TEST

static bool may_begin(uint8_t first)
{
    static const bool known[16] = {[0] = true, [1] = true, [2] = true,
                                   [8] = true, [9] = true, [10] = true};
    bool is_control = (first & 0x0f) >= 8;

    return (first & 0x70) == 0 && known[first & 0x0f] &&
           (!is_control || (first & 0x80));
}

/* All opcodes, with and without FIN, with all combinations of RSV bits. */
START_TEST(every_first_byte_is_taken_or_refused_at_once)
{
    int first;

    begin();
    for (first = 0; first <= 255; first++) {
        uint8_t bytes[6] = {(uint8_t)first, 0x85, 1, 2, 3, 4};
        ws_frame_t frame;
        size_t head = 0;
        const char *why = NULL;

        ck_assert_uint_eq(refused_at(bytes, sizeof(bytes)),
                          may_begin((uint8_t)first) ? 0 : 1);
        if (may_begin((uint8_t)first)) {
            ck_assert_int_eq(ws_frame_parse(&frame, &head, &why, bytes, 6, false),
                             WS_OK);
            ck_assert_uint_eq(frame.opcode, first & 0x0f);
            ck_assert_int_eq(frame.fin, (first & 0x80) != 0);
            ck_assert_int_eq(ws_frame_is_control(&frame), (first & 0x0f) >= 8);
        }
    }
    end();
}
END_TEST

START_TEST(every_second_byte_is_taken_or_refused_at_once)
{
    static const uint8_t firsts[] = {0x00, 0x80, 0x01, 0x81, 0x02,
                                     0x82, 0x88, 0x89, 0x8a};
    size_t i;
    int second;

    begin();
    for (i = 0; i < sizeof(firsts); i++) {
        for (second = 0; second <= 255; second++) {
            uint8_t bytes[2] = {firsts[i], (uint8_t)second};
            bool good = (second & 0x80) &&
                        ((firsts[i] & 8) == 0 || (second & 0x7f) <= 125);

            ck_assert_uint_eq(refused_at(bytes, 2), good ? 0 : 2);
        }
    }
    end();
}
END_TEST

START_TEST(length_of_16_bits_must_need_them)
{
    uint8_t bytes[8] = {0x82, 0xfe};
    unsigned step = ws_test_is_slow() ? 5 : 1;
    unsigned length;

    begin();
    for (length = 0; length <= 0xffff; length += length < 300 ? 1 : step) {
        bytes[2] = (uint8_t)(length >> 8);
        bytes[3] = (uint8_t)length;
        if (refused_at(bytes, sizeof(bytes)) != (length >= 126 ? 0 : 4)) {
            ck_abort_msg("length %u", length);
        }
    }
    end();
}
END_TEST

/* Proven by the six zero bytes in front, or by the first byte's top bit. */
START_TEST(length_of_64_bits_is_refused_at_the_byte_that_proves_it)
{
    static const struct {
        uint64_t length;
        size_t refused;
    } cases[] = {
        {0, 8},
        {1, 8},
        {125, 8},
        {126, 8},
        {65535, 8},
        {65536, 0},
        {(uint64_t)1 << 32, 0},
        {(uint64_t)1 << 48, 0},
        {INT64_MAX, 0},
        {(uint64_t)1 << 63, 3},
        {((uint64_t)1 << 63) + 5, 3},
        {UINT64_MAX, 3},
    };
    size_t i;
    int j;

    begin();
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        uint8_t bytes[14] = {0x82, 0xff};

        for (j = 0; j < 8; j++) {
            bytes[2 + j] = (uint8_t)(cases[i].length >> (56 - 8 * j));
        }
        ck_assert_uint_eq(refused_at(bytes, sizeof(bytes)), cases[i].refused);
    }
    end();
}
END_TEST

START_TEST(head_that_was_written_is_the_shortest)
{
    uint8_t head[WS_FRAME_HEAD_SERVER_MAX + 1];
    ws_test_frame_t frame;
    size_t at = 0;
    size_t length;
    uint64_t value = 0;
    size_t i;

    memset(head, 0xee, sizeof(head));
    length = ws_frame_write_head(head, WS_FIN | WS_OP_TEXT, lengths[_i]);
    ck_assert_uint_eq(length, lengths[_i] < 126     ? 2
                              : lengths[_i] < 65536 ? 4
                                                    : 10);
    ck_assert_uint_eq(head[0], 0x81);
    for (i = length; i < sizeof(head); i++) {
        ck_assert_uint_eq(head[i], 0xee);
    }
    if (lengths[_i] == 0) {
        ck_assert(ws_test_next_frame(&frame, head, length, &at));
        ck_assert_uint_eq(frame.length, 0);
    }
    for (i = length == 2 ? 1 : 2; i < length; i++) {
        value = value << 8 | head[i];
    }
    ck_assert_uint_eq(value, lengths[_i]);
}
END_TEST

/* With the MASK bit and a key it is a client's. */
START_TEST(head_that_was_written_is_parsed_back)
{
    uint8_t head[WS_FRAME_HEAD_MAX];
    ws_frame_t frame;
    size_t length;
    size_t parsed = 0;
    const char *why = NULL;

    length = ws_frame_write_head(head, WS_OP_BINARY, lengths[_i]);
    head[1] |= 0x80;
    memcpy(head + length, key, 4);
    ck_assert_int_eq(ws_frame_parse(&frame, &parsed, &why, head, length + 4,
                                    false),
                     WS_OK);
    ck_assert_uint_eq(parsed, length + 4);
    ck_assert_uint_eq(frame.length, lengths[_i]);
    ck_assert(!frame.fin);
}
END_TEST

START_TEST(close_code_is_valid_by_the_registry)
{
    static const struct {
        unsigned first, last;
    } valid[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};
    unsigned code;
    size_t i;

    for (code = 0; code <= 70000; code++) {
        bool expected = false;

        for (i = 0; i < WS_TEST_COUNT(valid); i++) {
            expected =
                expected || (code >= valid[i].first && code <= valid[i].last);
        }
        if (ws_close_code_valid(code) != expected) {
            ck_abort_msg("code %u", code);
        }
    }
}
END_TEST

int main(void)
{
    const int count = (int)WS_TEST_COUNT(lengths);
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(parse_waits_at_every_cut, count),
        WS_TEST_LOOP(parse_ignores_what_follows, count),
        WS_TEST(every_first_byte_is_taken_or_refused_at_once),
        WS_TEST(every_second_byte_is_taken_or_refused_at_once),
        WS_TEST(length_of_16_bits_must_need_them),
        WS_TEST(length_of_64_bits_is_refused_at_the_byte_that_proves_it),
        WS_TEST_LOOP(head_that_was_written_is_the_shortest, count),
        WS_TEST_LOOP(head_that_was_written_is_parsed_back, count),
        WS_TEST(close_code_is_valid_by_the_registry),
    };

    return ws_test_run("frame", tests, WS_TEST_COUNT(tests));
}
