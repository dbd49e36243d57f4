/* ws_utf8: checking in every way that this processor can, against a decoder
 * that takes the long way. */
#include "ws_utf8.h"

#include "ws_test.h"

#define PAD 192                      /* three turns of the vectors */
#define FILL 'a'

static int impl_count(void)
{
    int count = 0;

    while (ws_utf8_impls[count].name != NULL) {
        count++;
    }
    return count;
}

/* Each test has a round for each implementation, and one for
 * ws_utf8_check(). */
static bool runs_here(int round)
{
    return round == impl_count() || ws_utf8_impls[round].runs_here();
}

static size_t check(int round, ws_utf8_t *state, const uint8_t *data,
                    size_t length)
{
    if (round == impl_count()) {
        return ws_utf8_check(state, data, length);
    }
    return ws_utf8_check_by(&ws_utf8_impls[round], state, data, length);
}

/* The index of the first byte that may not stand there, RFC 3629; length if
 * there is none. *popen: a sequence is left open at the end. */
static size_t reference(const uint8_t *data, size_t length, bool *popen)
{
    size_t at = 0;

    *popen = false;
    while (at < length) {
        uint32_t least;
        uint32_t low;                /* what the sequence can be, so far */
        uint32_t high;
        unsigned count;
        unsigned i;
        uint8_t first = data[at];

        if (first < 0x80) {
            at++;
            continue;
        }
        if (first < 0xc0 || first >= 0xf8) {
            return at;
        }
        count = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        least = count == 1 ? 0x80 : count == 2 ? 0x800 : 0x10000;
        low = first & (0x3fu >> count);
        for (i = 0;; i++) {
            unsigned shift = 6 * (count - i);
            uint32_t from = low << shift;

            high = from | ((1u << shift) - 1);
            if (high < least || from > 0x10ffff ||
                (from >= 0xd800 && high <= 0xdfff)) {
                return at + i;
            }
            if (i == count) {
                break;
            }
            if (at + i + 1 == length) {
                *popen = true;
                return length;
            }
            if ((data[at + i + 1] & 0xc0) != 0x80) {
                return at + i + 1;
            }
            low = low << 6 | (data[at + i + 1] & 0x3f);
        }
        at += count + 1;
    }
    return length;
}

static size_t encode(uint8_t bytes[4], uint32_t point, size_t length)
{
    static const uint8_t marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t i;

    for (i = length; i-- > 1;) {
        bytes[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    bytes[0] = (uint8_t)(marks[length] | point);
    return length;
}

static size_t length_of(uint32_t point)
{
    return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

/* In two pieces: the index, or SIZE_MAX if all is right but *state does not
 * say whether a sequence is left open. */
static size_t check_cut(int round, const uint8_t *data, size_t length,
                        size_t cut, bool open)
{
    ws_utf8_t state = {0};
    size_t at = check(round, &state, data, cut);

    if (at == cut) {
        at += check(round, &state, data + cut, length - cut);
    }
    if (at == length && ws_utf8_complete(&state) == open) {
        return SIZE_MAX;
    }
    return at;
}

/* Whole, byte by byte, and cut in two at every place. */
static void check_one(int round, const uint8_t *data, size_t length)
{
    ws_utf8_t state = {0};
    bool open;
    size_t expected = reference(data, length, &open);
    size_t cut;
    size_t at;

    for (cut = 0; cut <= length; cut++) {
        at = check_cut(round, data, length, cut, open);
        if (at != expected) {
            ck_abort_msg("round %d, length %zu, cut at %zu: %zu, not %zu",
                         round, length, cut, at, expected);
        }
    }
    for (at = 0; at < length && check(round, &state, data + at, 1) == 1; at++) {
        continue;
    }
    ck_assert_uint_eq(at, expected);
}

/* Alone. Then in the middle of a text, with ASCII before it so that it begins
 * right before a vector's border, on it, or behind it; and at the end of one.
 * The result is that of the bytes alone, but for those that are left open. */
static void check_quickly(int round, const uint8_t *data, size_t length,
                          size_t before)
{
    static uint8_t text[PAD];
    const size_t end = before + length;
    size_t expected;
    bool open;

    if (text[0] != FILL) {
        memset(text, FILL, sizeof(text));
    }
    memcpy(text + before, data, length);
    expected = reference(data, length, &open);
    if (check_cut(round, data, length, 0, open) != expected ||
        check_cut(round, text, end, 0, open) != before + expected) {
        ck_abort_msg("round %d: %02x %02x %02x %02x at the end", round, data[0],
                     length > 1 ? data[1] : 0, length > 2 ? data[2] : 0,
                     length > 3 ? data[3] : 0);
    }
    if (expected == length && !open) {      /* else the next byte is wrong */
        expected += PAD - end;
    }
    if (check_cut(round, text, PAD, 0, false) != before + expected) {
        ck_abort_msg("round %d: %02x %02x %02x %02x behind %zu bytes", round,
                     data[0], length > 1 ? data[1] : 0,
                     length > 2 ? data[2] : 0, length > 3 ? data[3] : 0,
                     before);
    }
    memset(text + before, FILL, length);
}

/* A code point in length bytes, which may be wrong: alone, and in a text. */
static size_t check_point(int round, uint32_t point, size_t length)
{
    uint8_t bytes[4];
    ws_utf8_t state = {0};

    encode(bytes, point, length);
    check_quickly(round, bytes, length, 61 + point % 6);
    return check(round, &state, bytes, length);
}

START_TEST(every_code_point_is_accepted)
{
    uint32_t step = ws_test_is_slow() ? 61 : 1;
    uint32_t point;

    for (point = 0; point <= 0x10ffff && runs_here(_i); point += step) {
        size_t length = length_of(point);

        if (point >= 0xd800 && point <= 0xdfff) {
            continue;
        }
        if (check_point(_i, point, length) != length) {
            ck_abort_msg("U+%X", (unsigned)point);
        }
    }
}
END_TEST

static void check_range(int round, uint32_t first, uint32_t end, uint32_t step,
                        size_t length, size_t expected)
{
    uint32_t point;

    for (point = first; point < end && runs_here(round); point += step) {
        if (check_point(round, point, length) != expected) {
            ck_abort_msg("%X in %zu bytes", (unsigned)point, length);
        }
    }
}

/* Vectors that took right text for wrong would only be slow. */
START_TEST(text_of_all_code_points_is_skipped_to_its_last_turn)
{
    const size_t room = 5 * 0x110000;
    uint8_t *text = malloc(room);
    size_t length = 0;
    uint32_t point;

    ck_assert_ptr_nonnull(text);
    for (point = 0; point <= 0x10ffff; point++) {
        if (point < 0xd800 || point > 0xdfff) {
            length += encode(text + length, point, length_of(point));
        }
        if (point % 8 == 0) {
            text[length++] = FILL;
            text[length++] = FILL;
        }
    }
    if (_i < impl_count() - 1 && ws_utf8_impls[_i].runs_here()) {
        ck_assert_uint_gt(ws_utf8_impls[_i].skip(text, length), length - 67);
    }
    free(text);
}
END_TEST

START_TEST(every_surrogate_is_refused_at_its_second_byte)
{
    check_range(_i, 0xd800, 0xe000, 1, 3, 1);
}
END_TEST

START_TEST(every_overlong_form_is_refused)
{
    uint32_t step = ws_test_is_slow() ? 61 : 1;

    check_range(_i, 0, 0x80, 1, 2, 0);
    check_range(_i, 0, 0x800, 1, 3, 1);
    check_range(_i, 0, 0x10000, step, 4, 1);
}
END_TEST

START_TEST(what_lies_beyond_the_last_code_point_is_refused)
{
    uint32_t step = ws_test_is_slow() ? 6101 : 1;

    check_range(_i, 0x110000, 0x140000, step, 4, 1);
    check_range(_i, 0x140000, 0x200000, step, 4, 0);
}
END_TEST

START_TEST(all_pairs_of_bytes_are_judged_like_the_reference)
{
    uint8_t bytes[2];
    unsigned i;
    unsigned step = ws_test_is_slow() ? 7 : 1;

    for (i = 0; i < 256 && runs_here(_i); i++) {
        bytes[0] = (uint8_t)i;
        check_one(_i, bytes, 1);
        check_quickly(_i, bytes, 1, 61 + i % 6);
    }
    for (i = 0; i < 0x10000 && runs_here(_i); i += step) {
        bytes[0] = (uint8_t)(i >> 8);
        bytes[1] = (uint8_t)i;
        check_one(_i, bytes, 2);
        check_quickly(_i, bytes, 2, 61 + i % 6);
    }
}
END_TEST

START_TEST(all_triples_of_bytes_are_judged_like_the_reference)
{
    uint32_t step = ws_test_is_slow() ? 251 : 1;
    uint8_t bytes[3];
    uint32_t i;

    for (i = 0; i < 0x1000000 && runs_here(_i); i += step) {
        bytes[0] = (uint8_t)(i >> 16);
        bytes[1] = (uint8_t)(i >> 8);
        bytes[2] = (uint8_t)i;
        check_quickly(_i, bytes, 3, 61 + i % 6);
    }
}
END_TEST

START_TEST(four_bytes_of_border_values_are_judged_like_the_reference)
{
    static const uint8_t values[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f,
                                     0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
                                     0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1,
                                     0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xfb, 0xfc,
                                     0xfd, 0xfe, 0xff};
    const size_t n = sizeof(values);
    const size_t step = ws_test_is_slow() ? 37 : 1;
    uint8_t bytes[4];
    size_t before;
    size_t i;

    for (i = 0; i < n * n * n * n && runs_here(_i); i += step) {
        bytes[0] = values[i % n];
        bytes[1] = values[i / n % n];
        bytes[2] = values[i / n / n % n];
        bytes[3] = values[i / n / n / n];
        for (before = 59; before < 66; before++) {
            check_quickly(_i, bytes, 4, before);
        }
    }
}
END_TEST

static const char *const sequences[] = {
    "\xff",
    "\x80",
    "\xc3\xa4",
    "\xe2\x82\xac",
    "\xf0\x9f\x98\x80",
    "\xe2\x28",
    "\xf0\x9f\x98\x28",
    "\xed\xa0\x80",
    "\xc3",
    "\xc0\x80",
    "\xf0\x9f\x98\x80\x80",
    "\xe2\x82\xac\xf4\x90",
};

#define SEQUENCE_MAX 5

START_TEST(bad_byte_is_found_wherever_it_stands)
{
    size_t step = ws_test_is_slow() ? 10 : 1;
    ws_test_edge_t edge = ws_test_edge_create(PAD);
    uint8_t bytes[PAD];
    size_t before;
    size_t after;
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(sequences) && runs_here(_i); i++) {
        size_t length = strlen(sequences[i]);

        for (before = 0; before <= 130; before += step) {
            for (after = 0; after <= 50; after += 5 * step) {
                memset(bytes, FILL, sizeof(bytes));
                memcpy(bytes + before, sequences[i], length);
                check_one(_i,
                          ws_test_edge_put(&edge, bytes,
                                           before + length + after),
                          before + length + after);
            }
        }
    }
    ws_test_edge_destroy(&edge);
}
END_TEST

/* Length bytes of whole sequences of all lengths, and a bad one sometimes. */
static void make_text(uint8_t *text, size_t length, uint32_t *random)
{
    static const char *const good[] = {
        "a",
        " words ",
        "\xc4\x91",
        "\xe1\xba\xbf",
        "\xe4\xb8\xad",
        "\xef\xbf\xbd",
        "\xf0\x9f\x98\x80",
        "\xf4\x8f\xbf\xbf",
    };
    size_t at = 0;

    while (at < length) {
        bool bad = ws_test_random(random) % 128 == 0;
        const char *next =
            bad ? sequences[ws_test_random(random) % WS_TEST_COUNT(sequences)]
                : good[ws_test_random(random) % WS_TEST_COUNT(good)];
        size_t count = strlen(next);

        count = count < length - at ? count : length - at;
        memcpy(text + at, next, count);
        at += count;
    }
}

START_TEST(mixed_text_of_any_length_is_judged_like_the_reference)
{
    const size_t step = ws_test_is_slow() ? 17 : 1;
    ws_test_edge_t edge = ws_test_edge_create(512);
    uint32_t random = 20260901;
    uint8_t text[260];
    size_t length;
    int turn;

    for (length = 0; length <= sizeof(text) && runs_here(_i); length += step) {
        for (turn = 0; turn < 40; turn++) {
            make_text(text, length, &random);
            check_one(_i, ws_test_edge_put(&edge, text, length), length);
        }
    }
    ws_test_edge_destroy(&edge);
}
END_TEST

START_TEST(mixed_text_may_begin_at_any_address)
{
    const size_t step = ws_test_is_slow() ? 17 : 1;
    _Alignas(64) uint8_t room[64 + 260];
    uint32_t random = 20260902;
    size_t start;
    size_t length;
    bool open;

    for (start = 0; start < 64 && runs_here(_i); start++) {
        for (length = 0; length <= 260; length += step) {
            size_t expected;

            make_text(room + start, length, &random);
            expected = reference(room + start, length, &open);
            if (check_cut(_i, room + start, length, 0, open) != expected) {
                ck_abort_msg("start %zu, length %zu", start, length);
            }
        }
    }
}
END_TEST

START_TEST(open_sequence_is_not_complete)
{
    static const char text[] = "\xf0\x9f\x98\x80";
    size_t cut;

    for (cut = 0; cut <= 4 && runs_here(_i); cut++) {
        ws_utf8_t state = {0};

        ck_assert_uint_eq(check(_i, &state, (const uint8_t *)text, cut), cut);
        ck_assert_int_eq(ws_utf8_complete(&state), cut == 0 || cut == 4);
    }
}
END_TEST

START_TEST(portable_implementation_is_the_last_and_runs_anywhere)
{
    ck_assert_str_eq(ws_utf8_impls[impl_count() - 1].name, "portable");
    ck_assert(ws_utf8_impls[impl_count() - 1].runs_here());
}
END_TEST

int main(void)
{
    const int rounds = impl_count() + 1;
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(every_code_point_is_accepted, rounds),
        WS_TEST_LOOP(text_of_all_code_points_is_skipped_to_its_last_turn,
                     rounds - 1),
        WS_TEST_LOOP(every_surrogate_is_refused_at_its_second_byte, rounds),
        WS_TEST_LOOP(every_overlong_form_is_refused, rounds),
        WS_TEST_LOOP(what_lies_beyond_the_last_code_point_is_refused, rounds),
        WS_TEST_LOOP(all_pairs_of_bytes_are_judged_like_the_reference, rounds),
        WS_TEST_LOOP(all_triples_of_bytes_are_judged_like_the_reference,
                     rounds),
        WS_TEST_LOOP(four_bytes_of_border_values_are_judged_like_the_reference,
                     rounds),
        WS_TEST_LOOP(bad_byte_is_found_wherever_it_stands, rounds),
        WS_TEST_LOOP(mixed_text_of_any_length_is_judged_like_the_reference,
                     rounds),
        WS_TEST_LOOP(mixed_text_may_begin_at_any_address, rounds),
        WS_TEST_LOOP(open_sequence_is_not_complete, rounds),
        WS_TEST(portable_implementation_is_the_last_and_runs_anywhere),
    };

    return ws_test_run("utf8", tests, WS_TEST_COUNT(tests));
}
