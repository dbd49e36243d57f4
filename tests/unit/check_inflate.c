/* ws_deflate: DEFLATE data to messages, and what is none. */
#include "ws_deflate.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_deflate.h"
#include "ws_test_zlib.h"

#define LARGEST (300 * 1024)

static uint8_t data[LARGEST];

/* --- inflating --- */

/* Inflates with `room` bytes more each time it asks for more, the last of them
 * at the end of memory. data comes in pieces of `step` bytes. Returns the
 * status of the first call that fails, or of the end. */
static ws_status_t inflate_in(ws_inflater_t *inflater, ws_test_bytes_t *out,
                              const uint8_t *payload, size_t length,
                              size_t step, size_t room)
{
    ws_test_edge_t edge = ws_test_edge_create(room);
    uint8_t *to = edge.start + edge.size - room;
    ws_status_t status = WS_OK;
    size_t left = 0;
    const uint8_t *at = payload;
    size_t count;

    while (length > 0 && status == WS_OK) {
        left = step < length ? step : length;
        length -= left;
        do {
            const uint8_t *expected_end = at + left;

            count = 0;
            status = ws_inflater_run(inflater, &at, &left, to, room, &count);
            ws_test_add(out, to, count);
            if (count > room || at + left != expected_end ||
                (status == WS_OK && left > 0) ||
                (status == WS_AGAIN && count < room)) {
                ck_abort_msg("status %d, %zu bytes left", (int)status, left);
            }
        } while (status == WS_AGAIN);
    }
    ws_test_edge_destroy(&edge);
    return status == WS_OK ? ws_inflater_end(inflater) : status;
}

static ws_status_t inflate_alone(const void *payload, size_t length,
                                 size_t step, size_t room)
{
    ws_inflater_t *inflater = ws_inflater_take(shared, 15);
    ws_test_bytes_t out = {0};
    ws_status_t status =
        inflate_in(inflater, &out, payload, length, step, room);

    ws_inflater_give(shared, inflater);
    ws_test_free(&out);
    return status;
}

/* Must give a message of `length` bytes of data, however it is cut. */
static void check_payload(const ws_test_bytes_t *payload, size_t length)
{
    static const size_t rooms[] = {1, 2, 3, 7, 100, 257, 258, 259, 4096};
    ws_test_bytes_t out = {0};
    ws_inflater_t *inflater;
    size_t step;
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(rooms); i++) {
        for (step = 1; step <= payload->length + 1;
             step +=
             step < 12 || ws_test_is_slow() == false ? 1 + step / 20 : step) {
            inflater = ws_inflater_take(shared, 15);
            out.length = 0;
            if (inflate_in(inflater, &out, payload->data, payload->length, step,
                           rooms[i]) != WS_OK ||
                out.length != length || memcmp(out.data, data, length) != 0) {
                ck_abort_msg("in pieces of %zu, room %zu: %zu bytes", step,
                             rooms[i], out.length);
            }
            ws_inflater_give(shared, inflater);
        }
    }
    ws_test_free(&out);
}

/* What it is that a payload is made of. */
enum {
    DYNAMIC,                         /* Huffman codes of its own */
    FIXED,
    STORED,
    FINISHED,                        /* ends with BFINAL, then an empty block */
    LAST_IS_FINAL,                   /* the empty block itself has BFINAL */
    FINAL_BETWEEN,                   /* BFINAL in the middle; what follows looks
                                      * back over it */
    FLUSHED,                         /* flushes, so empty blocks, within */
    EMPTY_BLOCKS,                    /* in front, between, behind */
    SHAPES
};

#define SHAPE_LENGTH 1500

/* Where a shape may end: behind what is in front of an empty block's 00 00 ff
 * ff. */
static struct {
    size_t ends[16];
    size_t count;
} shape_ends;

static void note_end(size_t end)
{
    ck_assert_uint_lt(shape_ends.count, WS_TEST_COUNT(shape_ends.ends));
    shape_ends.ends[shape_ends.count++] = end;
}

static bool is_end(size_t length)
{
    size_t i;

    for (i = 0; i < shape_ends.count; i++) {
        if (shape_ends.ends[i] == length) {
            return true;
        }
    }
    return false;
}

static void add_piece(ws_test_bytes_t *payload, z_stream *stream, size_t from,
                      size_t to, int flush)
{
    ws_test_deflate(payload, stream, data + from, to - from, flush);
    if (flush != Z_FINISH) {
        note_end(payload->length - 4);
    }
}

/* Two streams: the second knows the first's data, and refers to it. */
static void add_final_between(ws_test_bytes_t *payload)
{
    z_stream stream;

    ws_test_deflater_begin(&stream, 6, 15, Z_DEFAULT_STRATEGY);
    add_piece(payload, &stream, 0, 700, Z_FINISH);
    deflateEnd(&stream);
    ws_test_deflater_begin(&stream, 6, 15, Z_DEFAULT_STRATEGY);
    ck_assert_int_eq(deflateSetDictionary(&stream, data, 700), Z_OK);
    memcpy(data + 700, data, 700);          /* nothing but references */
    add_piece(payload, &stream, 700, 1400, Z_SYNC_FLUSH);
    add_piece(payload, &stream, 1400, SHAPE_LENGTH, Z_SYNC_FLUSH);
    deflateEnd(&stream);
}

/* The payload of SHAPE_LENGTH bytes of data. */
static void add_shape(ws_test_bytes_t *payload, int shape)
{
    z_stream stream;
    int i;

    shape_ends.count = 0;
    ws_test_fill(data, SHAPE_LENGTH, WS_TEST_WORDS, 11);
    if (shape == FINAL_BETWEEN) {
        add_final_between(payload);
        payload->length -= 4;
        return;
    }
    ws_test_deflater_begin(&stream,
                           shape == STORED || shape == LAST_IS_FINAL ? 0 : 6,
                           15, shape == FIXED ? Z_FIXED : Z_DEFAULT_STRATEGY);
    switch (shape) {
    case FINISHED:
        add_piece(payload, &stream, 0, SHAPE_LENGTH, Z_FINISH);
        ws_test_add(payload, "\0", 1);      /* RFC 7692 7.2.3.4 */
        note_end(payload->length);
        break;
    case LAST_IS_FINAL:
        add_piece(payload, &stream, 0, SHAPE_LENGTH, Z_SYNC_FLUSH);
        payload->length -= 5;
        ws_test_add(payload, "\x01", 1);
        note_end(1);
        break;
    case FLUSHED:
        for (i = 0; i < SHAPE_LENGTH; i += 300) {
            add_piece(payload, &stream, (size_t)i, (size_t)i + 300,
                      i % 600 == 0 ? Z_FULL_FLUSH : Z_SYNC_FLUSH);
        }
        payload->length -= 4;
        break;
    case EMPTY_BLOCKS:
        ws_test_add(payload, "\0\0\0\xff\xff\1\0\0\xff\xff\3\0", 12);
        note_end(1);
        note_end(6);
        add_piece(payload, &stream, 0, SHAPE_LENGTH, Z_SYNC_FLUSH);
        ws_test_add(payload, "\3\0\0\0\0\xff\xff\1\0\0\xff\xff\0", 13);
        note_end(payload->length - 10);
        note_end(payload->length - 5);
        note_end(payload->length);
        break;
    default:
        if (shape == STORED) {
            note_end(1);
        }
        add_piece(payload, &stream, 0, SHAPE_LENGTH, Z_SYNC_FLUSH);
        payload->length -= 4;
        break;
    }
    deflateEnd(&stream);
}

START_TEST(payload_of_any_blocks_is_inflated_however_it_is_cut)
{
    ws_test_bytes_t payload = {0};

    begin();
    add_shape(&payload, _i);
    check_payload(&payload, SHAPE_LENGTH);
    ws_test_free(&payload);
    end();
}
END_TEST

/* RFC 7692 7.2.3.1 to 7.2.3.5 */
START_TEST(examples_of_the_rfc_are_inflated)
{
    static const struct {
        const char *payload;
        size_t length;
    } cases[] = {
        {"\xf2\x48\xcd\xc9\xc9\x07\x00", 7},
        {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11},
        {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8},
        {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13},
    };
    ws_test_bytes_t payload = {0};

    begin();
    memcpy(data, "Hello", 5);
    ws_test_add(&payload, cases[_i].payload, cases[_i].length);
    check_payload(&payload, 5);
    ws_test_free(&payload);
    end();
}
END_TEST

/* 7.2.3.2: the second "Hello" refers to the first. */
START_TEST(context_goes_on_from_message_to_message)
{
    static const struct {
        const char *payload;
        size_t length;
    } messages[] = {
        {"\xf2\x48\xcd\xc9\xc9\x07\x00", 7},
        {"\xf2\x00\x11\x00\x00", 5},
        {"\xf3\x00\x11\x00\x00", 5},        /* the same with BFINAL */
        {"\xf2\x00\x11\x00\x00", 5},
    };
    size_t step;
    size_t i;

    for (step = 1; step < 9; step++) {
        ws_inflater_t *inflater = ws_inflater_create(15);

        for (i = 0; i < WS_TEST_COUNT(messages); i++) {
            ws_test_bytes_t out = {0};

            ck_assert_int_eq(inflate_in(inflater, &out,
                                        (const uint8_t *)messages[i].payload,
                                        messages[i].length, step, 2),
                             WS_OK);
            ck_assert_uint_eq(out.length, 5);
            ck_assert_mem_eq(out.data, "Hello", 5);
            ws_test_free(&out);
        }
        ws_inflater_destroy(inflater);
    }
}
END_TEST

/* Behind a message of any shape the context is in good order. */
START_TEST(context_goes_on_behind_any_message)
{
    static const char text[] = "the quick brown fox jumps over lazy dogs, the ";
    ws_inflater_t *inflater = ws_inflater_create(15);
    ws_test_bytes_t payload = {0};
    ws_test_bytes_t out = {0};
    z_stream stream;
    int shape;
    int i;

    for (i = 0; i < SHAPES; i++) {
        shape = (_i + i * 3) % SHAPES;
        payload.length = 0;
        out.length = 0;
        add_shape(&payload, shape);
        ck_assert_int_eq(inflate_in(inflater, &out, payload.data,
                                    payload.length, 100, 100),
                         WS_OK);
        ck_assert_uint_eq(out.length, SHAPE_LENGTH);
        /* refers to that */
        payload.length = 0;
        out.length = 0;
        ws_test_deflater_begin(&stream, 9, 15, Z_DEFAULT_STRATEGY);
        deflateSetDictionary(&stream, data, SHAPE_LENGTH);
        ws_test_add_deflated(&payload, &stream, text, strlen(text));
        deflateEnd(&stream);
        ck_assert_int_eq(inflate_in(inflater, &out, payload.data,
                                    payload.length, 1, 1),
                         WS_OK);
        ck_assert_uint_eq(out.length, strlen(text));
        ck_assert_mem_eq(out.data, text, out.length);
    }
    ws_test_free(&payload);
    ws_test_free(&out);
    ws_inflater_destroy(inflater);
}
END_TEST

START_TEST(each_window_inflates_what_was_made_for_it)
{
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_RLE,
                                     Z_FIXED, Z_FILTERED};
    int bits = 9 + _i;
    size_t all = ws_test_is_slow() ? 70000 : LARGEST;
    ws_test_bytes_t payload = {0};
    ws_test_bytes_t out = {0};
    ws_inflater_t *inflater;
    z_stream stream;
    size_t i;

    begin();
    ws_test_fill(data, all, WS_TEST_WORDS, 8);
    for (i = 0; i < WS_TEST_COUNT(strategies); i++) {
        ws_test_deflater_begin(&stream, 9, bits, strategies[i]);
        payload.length = 0;
        out.length = 0;
        ws_test_add_deflated(&payload, &stream, data, all);
        deflateEnd(&stream);
        inflater = ws_inflater_take(shared, (unsigned)bits);
        ck_assert_int_eq(inflate_in(inflater, &out, payload.data,
                                    payload.length, 4096, 900),
                         WS_OK);
        ck_assert_uint_eq(out.length, all);
        ck_assert(memcmp(out.data, data, all) == 0);
        ws_inflater_give(shared, inflater);
    }
    ws_test_free(&payload);
    ws_test_free(&out);
    end();
}
END_TEST

/* By our own deflater: zlib's makes none for 256 bytes. */
START_TEST(window_of_256_bytes_inflates_what_was_made_for_it)
{
    ws_test_bytes_t out = {0};
    ws_inflater_t *inflater;
    const uint8_t *payload;
    size_t length;

    begin();
    ws_test_fill(data, 50000, WS_TEST_WORDS, 8);
    ck_assert_int_eq(ws_deflate_message(shared, NULL, 8, 9, data, 50000,
                                        &payload, &length),
                     WS_OK);
    inflater = ws_inflater_take(shared, 8);
    ck_assert_int_eq(inflate_in(inflater, &out, payload, length, 7, 1), WS_OK);
    ck_assert_uint_eq(out.length, 50000);
    ck_assert(memcmp(out.data, data, 50000) == 0);
    ws_inflater_give(shared, inflater);
    ws_test_free(&out);
    end();
}
END_TEST

/* --- what is no message --- */

START_TEST(payload_that_is_cut_short_is_refused_at_its_end)
{
    static const size_t rooms[] = {1, 3, 5000};
    ws_test_bytes_t payload = {0};
    size_t cut;
    size_t i;

    begin();
    add_shape(&payload, _i);
    ck_assert(is_end(payload.length));
    for (cut = 1; cut <= payload.length; cut++) {
        for (i = ws_test_is_slow(); i < WS_TEST_COUNT(rooms); i++) {
            ws_status_t status =
                inflate_alone(payload.data, cut, cut, rooms[i]);

            if (status != (is_end(cut) ? WS_OK : WS_EDATA)) {
                ck_abort_msg("cut at %zu of %zu, room %zu: %d", cut,
                             payload.length, rooms[i], (int)status);
            }
        }
    }
    ws_test_free(&payload);
    end();
}
END_TEST

/* The tail would make a good end of it, but another one than it is. */
START_TEST(tail_is_not_taken_for_data_that_is_missing)
{
    static const struct {
        const char *payload;
        size_t length;
    } cases[] = {
        {"\x00\x04\x00\xfb\xff", 5},        /* a stored block of 4 bytes */
        {"\x00\x06\x00\xf9\xff"
         "ab",
         7},
        {"\x01\x04\x00\xfb\xff", 5},        /* the same, the last one */
        {"\x02\x08\x20\x80", 4},            /* its first byte ends a block */
    };
    size_t room;

    begin();
    for (room = 1; room < 9; room++) {
        ck_assert_int_eq(inflate_alone(cases[_i].payload, cases[_i].length, 3,
                                       room),
                         WS_EDATA);
    }
    end();
}
END_TEST

START_TEST(data_that_is_not_deflate_is_refused)
{
    static const struct {
        const char *payload;
        size_t length;
    } cases[] = {
        {"\x06", 1},                        /* block type 3 */
        {"\x07", 1},
        {"\x00\x05\x00\x05\x00", 5},        /* lengths that do not match */
        {"\xf2\x00\x11\x00\x00", 5},        /* looks back over the start */
        {"\xfc\xff\xff\xff", 4},            /* more codes than there are */
        {"\xff\xff\xff\xff", 4},
    };
    const uint8_t *at = (const uint8_t *)cases[_i].payload;
    size_t left = cases[_i].length;
    uint8_t out[100];
    size_t count = 0;
    ws_inflater_t *inflater;

    begin();
    inflater = ws_inflater_take(shared, 15);
    ck_assert_int_eq(ws_inflater_run(inflater, &at, &left, out, sizeof(out),
                                     &count),
                     WS_EDATA);
    ws_inflater_give(shared, inflater);
    ck_assert_int_eq(inflate_alone(cases[_i].payload, cases[_i].length, 1, 1),
                     WS_EDATA);
    end();
}
END_TEST

/* The tail that a sender must leave out, and more behind the end. */
START_TEST(garbage_behind_the_end_is_refused)
{
    static const struct {
        const char *garbage;
        size_t length;
    } cases[] = {
        {WS_TEST_TAIL, 4},   {"\x00", 1},    {"\x00\x00", 2},
        {"\xff", 1},         {"garbage", 7}, {"\x00\x00\xff\xff\x07", 5},
        {"\x00\x00\xff", 3},
    };
    ws_test_bytes_t payload = {0};

    begin();
    ws_test_add(&payload, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    ws_test_add(&payload, cases[_i].garbage, cases[_i].length);
    ck_assert_int_eq(inflate_alone(payload.data, payload.length, 1, 1),
                     WS_EDATA);
    ck_assert_int_eq(inflate_alone(payload.data, payload.length, 100, 100),
                     WS_EDATA);
    ws_test_free(&payload);
    end();
}
END_TEST

/* No step of the input and no room changes what comes out of garbage. */
START_TEST(random_bytes_end_in_the_same_way_however_they_are_cut)
{
    uint32_t seed = 31337 + (uint32_t)_i;
    int rounds = ws_test_is_slow() ? 20 : 1500;
    ws_test_bytes_t payload = {0};

    begin();
    while (rounds-- > 0) {
        ws_status_t status;
        size_t i;

        payload.length = 0;
        add_shape(&payload, (int)(ws_test_random(&seed) % SHAPES));
        if (ws_test_random(&seed) % 2) {
            payload.length = 1 + ws_test_random(&seed) % 60;
        }
        for (i = ws_test_random(&seed) % 4; i > 0; i--) {
            payload.data[ws_test_random(&seed) % payload.length] ^=
                (uint8_t)(1 << ws_test_random(&seed) % 8);
        }
        status =
            inflate_alone(payload.data, payload.length, payload.length, 100000);
        if ((status != WS_OK && status != WS_EDATA) ||
            inflate_alone(payload.data, payload.length, 1, 100000) != status ||
            inflate_alone(payload.data, payload.length, 7, 3) != status) {
            ck_abort_msg("status %d, seed %u", (int)status, seed);
        }
    }
    ws_test_free(&payload);
    end();
}
END_TEST

/* --- the inflaters of a thread --- */

START_TEST(inflater_that_is_taken_knows_nothing_of_what_it_did)
{
    ws_test_bytes_t payload = {0};
    ws_inflater_t *inflater;
    const uint8_t *at;
    uint8_t out[64];
    size_t left;
    size_t count;
    size_t cut;
    unsigned bits;

    begin();
    add_shape(&payload, _i);
    for (cut = 0; cut <= payload.length; cut += cut < 20 ? 1 : 37) {
        for (bits = 8; bits <= 15; bits += 7) {
            /* gives up in the middle of a message */
            inflater = ws_inflater_take(shared, bits);
            at = payload.data;
            left = cut;
            count = 0;
            ws_inflater_run(inflater, &at, &left, out, sizeof(out), &count);
            if (cut % 3 == 0) {
                ws_inflater_end(inflater);
            }
            ws_inflater_give(shared, inflater);
            /* refers to nothing, and may not */
            if (inflate_alone("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 1, 1) !=
                    WS_OK ||
                inflate_alone("\xf2\x00\x11\x00\x00", 5, 1, 1) != WS_EDATA ||
                inflate_alone("\x00", 1, 1, 1) != WS_OK) {
                ck_abort_msg("cut at %zu, window %u", cut, bits);
            }
        }
    }
    ws_test_free(&payload);
    end();
}
END_TEST

START_TEST(one_inflater_is_kept_for_the_next_message)
{
    ws_inflater_t *inflaters[3];
    long live;
    int i;

    begin();
    ws_test_alloc_begin();
    ws_inflater_give(shared, ws_inflater_take(shared, 15));
    live = ws_test_alloc.live;
    ck_assert_int_eq(live, 1);
    for (i = 0; i < 3; i++) {
        inflaters[i] = ws_inflater_take(shared, 8 + (unsigned)i);
    }
    ck_assert_ptr_ne(inflaters[0], inflaters[1]);
    ck_assert_int_eq(ws_test_alloc.live, live + 2);
    for (i = 0; i < 3; i++) {
        ws_inflater_give(shared, inflaters[i]);
    }
    ck_assert_int_eq(ws_test_alloc.live, live);
    ws_deflate_shared_destroy(shared);
    ck_assert_int_eq(ws_test_alloc.live, -1); /* shared, made before */
    ws_test_alloc_end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(payload_of_any_blocks_is_inflated_however_it_is_cut,
                     SHAPES),
        WS_TEST_LOOP(examples_of_the_rfc_are_inflated, 4),
        WS_TEST(context_goes_on_from_message_to_message),
        WS_TEST_LOOP(context_goes_on_behind_any_message, SHAPES),
        WS_TEST_LOOP(each_window_inflates_what_was_made_for_it, 7),
        WS_TEST(window_of_256_bytes_inflates_what_was_made_for_it),
        WS_TEST_LOOP(payload_that_is_cut_short_is_refused_at_its_end, SHAPES),
        WS_TEST_LOOP(tail_is_not_taken_for_data_that_is_missing, 4),
        WS_TEST_LOOP(data_that_is_not_deflate_is_refused, 6),
        WS_TEST_LOOP(garbage_behind_the_end_is_refused, 7),
        WS_TEST_LOOP(random_bytes_end_in_the_same_way_however_they_are_cut, 4),
        WS_TEST_LOOP(inflater_that_is_taken_knows_nothing_of_what_it_did,
                     SHAPES),
        WS_TEST(one_inflater_is_kept_for_the_next_message),
    };

    return ws_test_run("inflate", tests, WS_TEST_COUNT(tests));
}
