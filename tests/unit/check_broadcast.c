/* ws_broadcast: one message for many connections. */
#include "ws_broadcast.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"
#include "ws_test_zlib.h"

#define PEERS 8

/* Whose window is 0: without compression. */
static const struct {
    uint8_t window;
    bool takeover;
} kinds[PEERS] = {{0, false},  {9, false},  {9, true},  {12, true},
                  {12, false}, {15, false}, {15, true}, {0, false}};

static peer_t peers[PEERS];
static z_stream judges[PEERS];
static ws_conn_limits_t limits[PEERS];
static ws_budget_t budget;
static uint8_t words[4000];
static uint8_t noise[4000];

static void begin(void)
{
    int i;

    ws_test_fill(words, sizeof(words), WS_TEST_WORDS, 1);
    ws_test_fill(noise, sizeof(noise), WS_TEST_NOISE, 1);
    budget = (ws_budget_t){.limit = SIZE_MAX};
    peer_begin();
    peer_turn.deflate = ws_deflate_shared_create(&budget);
    ck_assert_ptr_nonnull(peer_turn.deflate);
    for (i = 0; i < PEERS; i++) {
        limits[i] = peer_limits;
        limits[i].compression_level = 6;
        limits[i].compression_threshold = 100;
        limits[i].budget = &budget;
        peer_init(&peers[i]);
        peers[i].conn.deflate = (ws_deflate_params_t){
            .server_bits = kinds[i].window,
            .client_bits = kinds[i].window,
            .server_takeover = kinds[i].takeover,
            .client_takeover = kinds[i].takeover,
        };
        ws_conn_init(&peers[i].conn, &peer_turn, &limits[i], &peer_callbacks);
        ws_conn_start(&peers[i].conn, NULL, 0);
        ws_test_judge_begin(&judges[i],
                            kinds[i].window != 0 ? kinds[i].window : 15);
    }
    peer_end_turn();
}

static void end(void)
{
    int i;

    for (i = 0; i < PEERS; i++) {
        peer_expect_no_more(&peers[i]);
        peer_end(&peers[i]);
        inflateEnd(&judges[i]);
    }
    ws_deflate_shared_destroy(peer_turn.deflate);
    ck_assert_uint_eq(budget.used, 0);
}

static void send_to_all(const void *data, size_t length)
{
    ws_broadcast_t broadcast;
    int i;

    ws_broadcast_begin(&broadcast, 0, WS_OP_BINARY, data, length);
    for (i = 0; i < PEERS; i++) {
        ws_broadcast_send(&broadcast, &peers[i].conn);
    }
    ws_broadcast_end(&broadcast);
    peer_end_turn();
}

static void expect_plain(int i, const void *data, size_t length)
{
    ws_test_frame_t frame = peer_sent(&peers[i]);

    ck_assert_uint_eq(frame.first, 0x82);
    ck_assert_uint_eq(frame.length, length);
    ck_assert(length == 0 || memcmp(frame.data, data, length) == 0);
}

/* Returns the length of the payload. */
static size_t expect_compressed(int i, const void *data, size_t length)
{
    ws_test_frame_t frame = peer_sent(&peers[i]);
    ws_test_bytes_t message = {0};

    ck_assert_uint_eq(frame.first, 0xc2);
    if (!kinds[i].takeover) {
        inflateReset(&judges[i]);
    }
    ck_assert(ws_test_judge(&judges[i], &message, frame.data, frame.length));
    ck_assert_uint_eq(message.length, length);
    ck_assert(memcmp(message.data, data, length) == 0);
    ws_test_free(&message);
    return frame.length;
}

static size_t expect_as_negotiated(int i, const void *data, size_t length)
{
    if (kinds[i].window == 0) {
        expect_plain(i, data, length);
        return length;
    }
    return expect_compressed(i, data, length);
}

START_TEST(each_connection_gets_what_it_negotiated)
{
    size_t lengths[PEERS];
    int i;

    begin();
    send_to_all(words, sizeof(words));
    for (i = 0; i < PEERS; i++) {
        lengths[i] = expect_as_negotiated(i, words, sizeof(words));
    }
    ck_assert_uint_eq(lengths[1], lengths[2]);
    ck_assert_uint_eq(lengths[5], lengths[6]);
    ck_assert_uint_lt(lengths[5], lengths[1]);
    end();
}
END_TEST

/* Nothing is sent yet: the queues hold the buffers. */
START_TEST(message_is_made_once_for_each_window)
{
    ws_broadcast_t broadcast;
    ws_buf_t *buf;
    int i;

    begin();
    ws_broadcast_begin(&broadcast, 0, WS_OP_BINARY, words, sizeof(words));
    for (i = 0; i < PEERS; i++) {
        ws_broadcast_send(&broadcast, &peers[i].conn);
    }
    for (i = 0; i < WS_WINDOW_BITS_MAX + 1; i++) {
        buf = broadcast.bufs[i];
        if (i != 0 && i != 9 && i != 12 && i != 15) {
            ck_assert_ptr_null(buf);
            continue;
        }
        ck_assert_ptr_nonnull(buf);
        ck_assert_uint_eq(buf->references, 3); /* the broadcast's, and two */
        ck_assert_uint_eq(buf->data[0], i == 0 ? 0x82 : 0xc2);
    }
    ws_broadcast_end(&broadcast);
    peer_end_turn();
    for (i = 0; i < PEERS; i++) {
        expect_as_negotiated(i, words, sizeof(words));
    }
    end();
}
END_TEST

START_TEST(text_stays_text)
{
    ws_broadcast_t broadcast;

    begin();
    ws_broadcast_begin(&broadcast, 0, WS_OP_TEXT, words, sizeof(words));
    ws_broadcast_send(&broadcast, &peers[0].conn);
    ws_broadcast_send(&broadcast, &peers[5].conn);
    ws_broadcast_end(&broadcast);
    peer_end_turn();
    ck_assert_uint_eq(peer_sent(&peers[0]).first, 0x81);
    ck_assert_uint_eq(peer_sent(&peers[5]).first, 0xc1);
    end();
}
END_TEST

START_TEST(nothing_is_made_for_nobody)
{
    ws_broadcast_t broadcast;

    begin();
    ws_test_alloc_begin();
    ws_broadcast_begin(&broadcast, 0, WS_OP_TEXT, words, sizeof(words));
    ws_broadcast_end(&broadcast);
    ck_assert_uint_eq(ws_test_alloc.bytes, 0);
    ws_test_alloc_end();
    end();
}
END_TEST

/* Of each connection's own. */
START_TEST(threshold_is_each_connections_own)
{
    static const size_t lengths[] = {99, 100, 101, 0};
    size_t length = lengths[_i];
    int i;

    begin();
    limits[2].compression_threshold = 0;
    limits[3].compression_threshold = 1000;
    limits[6].compression_threshold = length + 1;
    send_to_all(words, length);
    for (i = 0; i < PEERS; i++) {
        if (kinds[i].window == 0 || length == 0 ||
            length < limits[i].compression_threshold) {
            expect_plain(i, words, length);
        }
        else {
            expect_compressed(i, words, length);
        }
    }
    end();
}
END_TEST

/* ... and one plain buffer is shared by all. */
START_TEST(what_cannot_be_compressed_goes_to_all_as_it_is)
{
    ws_broadcast_t broadcast;
    int i;

    begin();
    ws_broadcast_begin(&broadcast, 0, WS_OP_BINARY, noise, sizeof(noise));
    for (i = 0; i < PEERS; i++) {
        ws_broadcast_send(&broadcast, &peers[i].conn);
    }
    ck_assert_ptr_eq(broadcast.bufs[9], broadcast.bufs[0]);
    ck_assert_ptr_eq(broadcast.bufs[12], broadcast.bufs[0]);
    ck_assert_ptr_eq(broadcast.bufs[15], broadcast.bufs[0]);
    ck_assert_uint_eq(broadcast.bufs[0]->references, PEERS + 4);
    ws_broadcast_end(&broadcast);
    peer_end_turn();
    for (i = 0; i < PEERS; i++) {
        expect_plain(i, noise, sizeof(noise));
    }
    end();
}
END_TEST

/* With contexts of their own, before and behind. */
START_TEST(messages_of_a_connections_own_stay_readable_between_broadcasts)
{
    int round;
    int i;

    begin();
    for (round = 0; round < 3; round++) {
        for (i = 0; i < PEERS; i++) {
            ws_conn_send(&peers[i].conn, WS_OP_BINARY, words + 100 * round,
                         2000);
        }
        send_to_all(round == 1 ? noise : words, 3000);
        for (i = 0; i < PEERS; i++) {
            ws_conn_send(&peers[i].conn, WS_OP_BINARY, words + 50 * round,
                         2000);
        }
        peer_end_turn();
        for (i = 0; i < PEERS; i++) {
            expect_as_negotiated(i, words + 100 * round, 2000);
            if (round == 1) {
                expect_plain(i, noise, 3000);
            }
            else {
                expect_as_negotiated(i, words, 3000);
            }
            expect_as_negotiated(i, words + 50 * round, 2000);
        }
    }
    end();
}
END_TEST

START_TEST(connection_that_is_closed_is_passed_over)
{
    int i;

    begin();
    for (i = 0; i < PEERS; i += 2) {
        peer_feed_close(&peers[i], 1000, "");
        peer_expect_close(&peers[i], 1000);
    }
    send_to_all(words, 1000);
    for (i = 1; i < PEERS; i += 2) {
        expect_as_negotiated(i, words, 1000);
    }
    end();
}
END_TEST

/* Each allocation in turn. Who gets the message gets it whole; who does not is
 * closed with 1011; nothing leaks. */
START_TEST(want_of_memory_closes_with_1011_who_gets_nothing)
{
    bool all = _i % 2 == 1;
    const uint8_t *data = _i < 2 ? words : noise;
    bool failed = true;
    int lost = 0;
    long n;
    int i;

    for (n = 0; failed; n++) {
        ck_assert_int_lt(n, 200);
        begin();
        ws_test_alloc_begin();
        ws_test_alloc_fail(n, all);
        send_to_all(_i < 2 ? words : noise, 2000);
        failed = ws_test_alloc_unfail();
        ws_test_alloc_end();
        for (i = 0; i < PEERS; i++) {
            peer_t *p = &peers[i];

            if (ws_conn_is_open(&p->conn)) {
                ck_assert_str_eq(p->log, "open ");
                if (p->out[0] == 0x82) {
                    expect_plain(i, data, 2000);
                }
                else {
                    expect_compressed(i, data, 2000);
                }
                continue;
            }
            lost++;
            ck_assert_str_eq(p->log, "open failure(1011) close(1011) ");
            if (p->out_length > 0) {        /* no memory for a Close, too */
                peer_expect_close(p, 1011);
            }
        }
        if (all && n == 0) {
            ck_assert_int_eq(lost, PEERS);
        }
        if (!failed) {
            for (i = 0; i < PEERS; i++) {
                ck_assert(ws_conn_is_open(&peers[i].conn));
            }
        }
        end();
    }
    ck_assert_int_gt(n, 5);
    ck_assert_int_gt(lost, 0);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(each_connection_gets_what_it_negotiated),
        WS_TEST(message_is_made_once_for_each_window),
        WS_TEST(text_stays_text),
        WS_TEST(nothing_is_made_for_nobody),
        WS_TEST_LOOP(threshold_is_each_connections_own, 4),
        WS_TEST(what_cannot_be_compressed_goes_to_all_as_it_is),
        WS_TEST(messages_of_a_connections_own_stay_readable_between_broadcasts),
        WS_TEST(connection_that_is_closed_is_passed_over),
        WS_TEST_LOOP(want_of_memory_closes_with_1011_who_gets_nothing, 4),
    };

    return ws_test_run("broadcast", tests, WS_TEST_COUNT(tests));
}
