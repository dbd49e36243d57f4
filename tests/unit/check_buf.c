/* ws_buf: counted bytes. */
#include "ws_buf.h"

#include "ws_frame.h"
#include "ws_test.h"
#include "ws_test_alloc.h"

START_TEST(frame_holds_head_and_payload)
{
    static const size_t lengths[] = {0,     1,     125,   126,   127,
                                     65535, 65536, 65537, 200000};
    uint8_t *payload = malloc(200000);
    size_t i;

    ws_test_alloc_begin();

    ck_assert_ptr_nonnull(payload);
    for (i = 0; i < 200000; i++) {
        payload[i] = (uint8_t)(i * 31 >> 3);
    }
    for (i = 0; i < WS_TEST_COUNT(lengths); i++) {
        ws_buf_t *buf = ws_buf_create_frame(NULL, WS_OP_TEXT, payload,
                                            lengths[i]);
        ws_test_frame_t frame;
        size_t at = 0;

        ck_assert_ptr_nonnull(buf);
        ck_assert_uint_eq(buf->references, 1);
        ck_assert(ws_test_next_frame(&frame, buf->data, buf->length, &at));
        ck_assert_uint_eq(at, buf->length);
        ck_assert_uint_eq(frame.first, 0x81);
        ck_assert_uint_eq(frame.length, lengths[i]);
        ck_assert(memcmp(frame.data, payload, lengths[i]) == 0);
        ws_buf_unref(buf);
    }
    ck_assert_int_eq(ws_test_alloc.live, 0);
    free(payload);
}
END_TEST

START_TEST(frame_without_payload_needs_no_data)
{
    ws_buf_t *buf = ws_buf_create_frame(NULL, WS_OP_PING, NULL, 0);

    ck_assert_ptr_nonnull(buf);
    ck_assert_uint_eq(buf->length, 2);
    ck_assert_uint_eq(buf->data[0], 0x89);
    ck_assert_uint_eq(buf->data[1], 0);
    ws_buf_unref(buf);
}
END_TEST

START_TEST(last_reference_frees)
{
    ws_buf_t *buf;
    int i;

    ws_test_alloc_begin();
    buf = ws_buf_create(NULL, 10);
    ck_assert_ptr_nonnull(buf);
    ck_assert_uint_eq(buf->length, 10);
    memset(buf->data, 7, 10);
    for (i = 0; i < 5; i++) {
        ck_assert_ptr_eq(ws_buf_ref(buf), buf);
    }
    ck_assert_uint_eq(buf->references, 6);
    for (i = 0; i < 5; i++) {
        ws_buf_unref(buf);
        ck_assert_int_eq(ws_test_alloc.live, 1);
    }
    ck_assert_uint_eq(buf->references, 1);
    ck_assert_uint_eq(buf->data[9], 7);
    ws_buf_unref(buf);
    ck_assert_int_eq(ws_test_alloc.live, 0);
}
END_TEST

/* Refused by the length alone: nothing of data is touched. */
START_TEST(oversize_is_refused)
{
    static const uint8_t one = 0;

    ws_test_alloc_begin();
    if (sizeof(size_t) > 4) {
        ck_assert_ptr_null(ws_buf_create(NULL, (size_t)UINT32_MAX + 1));
        ck_assert_ptr_null(ws_buf_create(NULL, SIZE_MAX));
        ck_assert_ptr_null(
            ws_buf_create_frame(NULL, WS_OP_BINARY, &one,
                                (size_t)UINT32_MAX - 9));
        ck_assert_ptr_null(
            ws_buf_create_frame(NULL, WS_OP_BINARY, &one,
                                (size_t)UINT32_MAX + 1));
        ck_assert_ptr_null(
            ws_buf_create_frame(NULL, WS_OP_BINARY, &one, SIZE_MAX));
    }
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ck_assert_uint_eq(ws_test_alloc.bytes, 0);
}
END_TEST

START_TEST(no_memory_gives_null)
{
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, true);
    ck_assert_ptr_null(ws_buf_create(NULL, 1));
    ck_assert_ptr_null(ws_buf_create_frame(NULL, WS_OP_TEXT, "a", 1));
    ck_assert(ws_test_alloc_unfail());
    ck_assert_int_eq(ws_test_alloc.live, 0);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(frame_holds_head_and_payload),
        WS_TEST(frame_without_payload_needs_no_data),
        WS_TEST(last_reference_frees),
        WS_TEST(oversize_is_refused),
        WS_TEST(no_memory_gives_null),
    };

    return ws_test_run("buf", tests, WS_TEST_COUNT(tests));
}
