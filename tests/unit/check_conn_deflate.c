/* ws_conn with permessage-deflate: what is compressed when, contexts, close
 * codes, memory. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"
#include "ws_test_zlib.h"

#define THRESHOLD 100

static const ws_deflate_params_t none = {0};
static const ws_deflate_params_t alone = {.server_bits = 15, .client_bits = 15};
static const ws_deflate_params_t takeover = {.server_bits = 15,
                                             .client_bits = 15,
                                             .server_takeover = true,
                                             .client_takeover = true};

static peer_t peer;
static peer_t second;
static ws_budget_t budget;
static uint8_t words[8000];                 /* can be compressed */
static uint8_t noise[8000];                 /* cannot */

static void start(peer_t *p, const ws_deflate_params_t *params)
{
    peer_init(p);
    p->conn.deflate = *params;
    ws_conn_init(&p->conn, &peer_turn, &peer_limits, &peer_callbacks);
    ws_conn_start(&p->conn, NULL, 0);
    peer_end_turn();
}

/* Without a connection. */
static void begin_turn(void)
{
    ws_test_fill(words, sizeof(words), WS_TEST_WORDS, 1);
    ws_test_fill(noise, sizeof(noise), WS_TEST_NOISE, 1);
    budget = (ws_budget_t){.limit = SIZE_MAX};
    peer_begin();
    peer_limits.compression_level = 6;
    peer_limits.compression_threshold = THRESHOLD;
    peer_limits.budget = &budget;
    peer_turn.deflate = ws_deflate_shared_create(&budget);
    ck_assert_ptr_nonnull(peer_turn.deflate);
}

static void begin(const ws_deflate_params_t *params)
{
    begin_turn();
    start(&peer, params);
}

static void end_turn_over(void)
{
    ws_deflate_shared_destroy(peer_turn.deflate);
    ck_assert_uint_eq(budget.used, 0);
}

static void end(void)
{
    peer_end(&peer);
    end_turn_over();
}

static void send_binary(peer_t *p, const void *data, size_t length)
{
    ck_assert_int_eq(ws_conn_send(&p->conn, WS_OP_BINARY, data, length),
                     WS_SEND_SENT);
    peer_end_turn();
}

static void expect_plain(peer_t *p, const void *data, size_t length)
{
    ws_test_frame_t frame = peer_sent(p);

    ck_assert_uint_eq(frame.first, 0x82);
    ck_assert_uint_eq(frame.length, length);
    ck_assert(length == 0 || memcmp(frame.data, data, length) == 0);
}

/* judge: of a client that goes on with its window. Returns the length of the
 * payload. */
static size_t expect_compressed(peer_t *p, z_stream *judge, const void *data,
                                size_t length)
{
    ws_test_frame_t frame = peer_sent(p);
    ws_test_bytes_t message = {0};

    ck_assert_uint_eq(frame.first, 0xc2);
    ck_assert(ws_test_judge(judge, &message, frame.data, frame.length));
    ck_assert_uint_eq(message.length, length);
    ck_assert(memcmp(message.data, data, length) == 0);
    ws_test_free(&message);
    return frame.length;
}

static size_t expect_alone(peer_t *p, const void *data, size_t length)
{
    z_stream judge;
    size_t payload_length;

    ws_test_judge_begin(&judge, p->conn.deflate.server_bits);
    payload_length = expect_compressed(p, &judge, data, length);
    inflateEnd(&judge);
    return payload_length;
}

/* --- sending --- */

START_TEST(message_from_the_threshold_on_is_compressed)
{
    const ws_deflate_params_t *params = _i == 0 ? &alone : &takeover;
    z_stream judge;

    begin(params);
    ws_test_judge_begin(&judge, 15);
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, THRESHOLD - 1), 0);
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, THRESHOLD), 15);
    send_binary(&peer, words, 0);
    send_binary(&peer, words, THRESHOLD - 1);
    send_binary(&peer, words, THRESHOLD);
    send_binary(&peer, words, THRESHOLD - 1);
    send_binary(&peer, words, THRESHOLD + 1);
    expect_plain(&peer, words, 0);
    expect_plain(&peer, words, THRESHOLD - 1);
    expect_compressed(&peer, &judge, words, THRESHOLD);
    expect_plain(&peer, words, THRESHOLD - 1);
    expect_compressed(&peer, &judge, words, THRESHOLD + 1);
    peer_expect_no_more(&peer);
    inflateEnd(&judge);
    end();
}
END_TEST

START_TEST(threshold_of_zero_leaves_empty_messages_as_they_are)
{
    begin(&alone);
    peer_limits.compression_threshold = 0;
    send_binary(&peer, "", 0);
    expect_plain(&peer, "", 0);
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, 0), 0);
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, 1), 15);
    end();
}
END_TEST

START_TEST(messages_longer_than_can_be_compressed_are_left_as_they_are)
{
    begin(&takeover);
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, WS_DEFLATE_LENGTH_MAX), 15);
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, WS_DEFLATE_LENGTH_MAX + 1),
                      0);
    end();
}
END_TEST

START_TEST(nothing_is_compressed_where_nothing_is_negotiated)
{
    begin(&none);
    send_binary(&peer, words, sizeof(words));
    expect_plain(&peer, words, sizeof(words));
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, sizeof(words)), 0);
    end();
}
END_TEST

START_TEST(text_keeps_its_opcode_and_control_frames_are_plain)
{
    char ping[126] = {0};
    ws_test_frame_t frame;

    begin(&takeover);
    peer_limits.compression_threshold = 1;
    memset(ping, 'p', 125);
    ck_assert_int_eq(ws_conn_send(&peer.conn, WS_OP_TEXT, words, 1000),
                     WS_SEND_SENT);
    peer_end_turn();
    peer_feed_frame(&peer, 0x89, ping);
    peer_pass(&peer, 10000);
    peer_feed_close(&peer, 1000, ping + 2);
    frame = peer_sent(&peer);
    ck_assert_uint_eq(frame.first, 0xc1);
    peer_expect(&peer, 0x8a, ping);
    peer_expect(&peer, 0x89, "");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    end();
}
END_TEST

/* The judge has no more than the window that was agreed on. */
START_TEST(messages_fit_the_window_that_was_negotiated)
{
    ws_deflate_params_t params = takeover;
    z_stream judge;
    int i;

    params.server_bits = (uint8_t)(8 + _i / 2);
    params.server_takeover = _i % 2;
    begin(&params);
    ck_assert_uint_eq(ws_conn_deflates(&peer.conn, 1000), params.server_bits);
    ws_test_judge_begin(&judge, params.server_bits);
    for (i = 0; i < 5; i++) {
        send_binary(&peer, words + i, sizeof(words) - 5);
        if (params.server_takeover) {
            expect_compressed(&peer, &judge, words + i, sizeof(words) - 5);
        }
        else {
            expect_alone(&peer, words + i, sizeof(words) - 5);
        }
    }
    inflateEnd(&judge);
    end();
}
END_TEST

START_TEST(level_is_that_of_the_limits)
{
    size_t lengths[10];
    int level;

    for (level = 1; level <= 9; level += 4) {
        begin(_i == 0 ? &alone : &takeover);
        peer_limits.compression_level = level;
        send_binary(&peer, words, sizeof(words));
        lengths[level] = expect_alone(&peer, words, sizeof(words));
        end();
    }
    ck_assert_uint_lt(lengths[9], lengths[1]);
    ck_assert_uint_lt(lengths[5], lengths[1]);
}
END_TEST

/* --- what cannot be compressed --- */

START_TEST(incompressible_message_is_sent_as_it_is)
{
    begin(&alone);
    send_binary(&peer, noise, 1000);
    send_binary(&peer, words, 1000);
    send_binary(&peer, noise, 1000);
    expect_plain(&peer, noise, 1000);
    expect_alone(&peer, words, 1000);
    expect_plain(&peer, noise, 1000);
    end();
}
END_TEST

/* Our context has it, so the client must have it, too. */
START_TEST(incompressible_message_is_compressed_with_takeover)
{
    size_t length;
    z_stream judge;

    begin(&takeover);
    ws_test_judge_begin(&judge, 15);
    send_binary(&peer, noise, 1000);
    send_binary(&peer, noise, 1000);
    send_binary(&peer, words, 1000);
    send_binary(&peer, noise, 1000);
    length = expect_compressed(&peer, &judge, noise, 1000);
    ck_assert_uint_gt(length, 1000);
    ck_assert_uint_lt(expect_compressed(&peer, &judge, noise, 1000), 100);
    expect_compressed(&peer, &judge, words, 1000);
    ck_assert_uint_lt(expect_compressed(&peer, &judge, noise, 1000), 100);
    inflateEnd(&judge);
    end();
}
END_TEST

/* --- contexts --- */

START_TEST(context_is_kept_where_it_is_taken_over_and_only_there)
{
    size_t first;
    z_stream judge;

    begin(&takeover);
    ws_test_judge_begin(&judge, 15);
    send_binary(&peer, words, 2000);
    send_binary(&peer, words, 2000);
    first = expect_compressed(&peer, &judge, words, 2000);
    ck_assert_uint_lt(expect_compressed(&peer, &judge, words, 2000), first / 4);
    inflateEnd(&judge);
    end();

    begin(&alone);
    send_binary(&peer, words, 2000);
    send_binary(&peer, words, 2000);
    ck_assert_uint_eq(expect_alone(&peer, words, 2000), first);
    ck_assert_uint_eq(expect_alone(&peer, words, 2000), first);
    end();
}
END_TEST

/* A message for all, made without context. */
static ws_buf_t *create_shared(const void *data, size_t length)
{
    const uint8_t *payload;
    size_t payload_length;
    ws_buf_t *buf;

    ck_assert_int_eq(ws_deflate_message(peer_turn.deflate, NULL, 15, 6, data,
                                        length, &payload, &payload_length),
                     WS_OK);
    buf = ws_buf_create_frame(NULL, WS_OP_BINARY | WS_RSV1, payload,
                              payload_length);
    ck_assert_ptr_nonnull(buf);
    return buf;
}

/* It is in the client's window, but not in ours: what is behind it must not
 * look over it. */
START_TEST(context_begins_anew_behind_a_compressed_buffer)
{
    ws_buf_t *buf;
    z_stream judge;
    int i;

    begin(&takeover);
    buf = create_shared(words + 2000, 3000);
    ws_test_judge_begin(&judge, 15);
    ws_conn_send_buf(&peer.conn, buf, 0);      /* before there is a context */
    peer_end_turn();
    expect_compressed(&peer, &judge, words + 2000, 3000);
    for (i = 0; i < 3; i++) {
        send_binary(&peer, noise, 1000);
        send_binary(&peer, noise, 1000);
        ws_conn_send_buf(&peer.conn, buf, 0);
        peer_end_turn();
        ck_assert_uint_gt(expect_compressed(&peer, &judge, noise, 1000), 1000);
        ck_assert_uint_lt(expect_compressed(&peer, &judge, noise, 1000), 100);
        expect_compressed(&peer, &judge, words + 2000, 3000);
    }
    inflateEnd(&judge);
    ck_assert_uint_eq(buf->references, 1);
    ws_buf_unref(buf);
    end();
}
END_TEST

START_TEST(context_goes_on_behind_a_plain_buffer)
{
    ws_buf_t *buf;
    z_stream judge;

    begin(&takeover);
    buf = ws_buf_create_frame(NULL, WS_OP_BINARY, words, 2000);
    ws_test_judge_begin(&judge, 15);
    send_binary(&peer, noise, 1000);
    ws_conn_send_buf(&peer.conn, buf, 0);
    peer_end_turn();
    send_binary(&peer, noise, 1000);
    expect_compressed(&peer, &judge, noise, 1000);
    expect_plain(&peer, words, 2000);
    ck_assert_uint_lt(expect_compressed(&peer, &judge, noise, 1000), 100);
    inflateEnd(&judge);
    ws_buf_unref(buf);
    end();
}
END_TEST

/* All that connections of a thread share is used by turns. */
START_TEST(connections_do_not_get_in_each_others_way)
{
    z_stream judges[2];
    int i;

    begin(&takeover);
    start(&second, &takeover);
    for (i = 0; i < 2; i++) {
        ws_test_judge_begin(&judges[i], 15);
    }
    for (i = 0; i < 4; i++) {
        send_binary(&peer, words + 100 * i, 1500);
        send_binary(&second, noise + 100 * i, 1500);
        expect_compressed(&peer, &judges[0], words + 100 * i, 1500);
        expect_compressed(&second, &judges[1], noise + 100 * i, 1500);
    }
    for (i = 0; i < 2; i++) {
        inflateEnd(&judges[i]);
    }
    peer_end(&second);
    end();
}
END_TEST

/* What the socket does not take is copied: the next message is compressed
 * into the same buffer. */
START_TEST(compressed_messages_wait_for_a_slow_reader_unharmed)
{
    static const size_t rooms[] = {0, 1, 5, 1000, 2047, 2048, 5000};
    z_stream judge;
    int i;

    begin(&takeover);
    peer.room = rooms[_i];
    for (i = 0; i < 4; i++) {
        ws_conn_send(&peer.conn, WS_OP_BINARY, noise + 1000 * i, 4000);
        ws_conn_send(&peer.conn, WS_OP_BINARY, words + 1000 * i, 4000);
    }
    peer_end_turn();
    peer_writable(&peer, 3000);
    peer_writable(&peer, PEER_UNLIMITED);
    ws_test_judge_begin(&judge, 15);
    for (i = 0; i < 4; i++) {
        expect_compressed(&peer, &judge, noise + 1000 * i, 4000);
        expect_compressed(&peer, &judge, words + 1000 * i, 4000);
    }
    peer_expect_no_more(&peer);
    inflateEnd(&judge);
    end();
}
END_TEST

/* --- receiving --- */

static const void *wanted;
static size_t wanted_length;

static void check_message(peer_t *p, uint8_t opcode, uint8_t *data,
                          size_t length)
{
    ck_assert_uint_eq(opcode, WS_OP_BINARY);
    ck_assert_uint_eq(length, wanted_length);
    ck_assert(length == 0 || memcmp(data, wanted, length) == 0);
    p->count++;
}

/* Has it receive a message, in two frames with a ping between. */
static void feed_message(peer_t *p, z_stream *client, const void *data,
                         size_t length)
{
    ws_test_bytes_t payload = {0};
    ws_test_bytes_t input = {0};
    size_t half;

    wanted = data;
    wanted_length = length;
    ws_test_add_deflated(&payload, client, data, length);
    half = payload.length / 2;
    ws_test_add_frame(&input, 0x42, payload.data, half);
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_frame(&input, 0x80, payload.data + half, payload.length - half);
    peer_feed(p, &input);
    ws_test_free(&payload);
    ws_test_free(&input);
}

START_TEST(compressed_messages_are_received)
{
    static const size_t lengths[] = {0, 1, 500, 8000, 8000, 3, 7000};
    z_stream client;
    size_t i;

    begin(_i == 0 ? &alone : &takeover);
    peer.do_message = check_message;
    ws_test_deflater_begin(&client, 6, 15, Z_DEFAULT_STRATEGY);
    for (i = 0; i < WS_TEST_COUNT(lengths); i++) {
        if (_i == 0) {
            deflateReset(&client);
        }
        feed_message(&peer, &client, i % 2 ? noise : words, lengths[i]);
        ck_assert_int_eq(peer.count, (int)i + 1);
        peer_expect(&peer, 0x8a, "ping");
    }
    ck_assert_int_eq(peer.failures, 0);
    deflateEnd(&client);
    end();
}
END_TEST

/* Ours and the client's are two things. */
START_TEST(takeover_and_window_of_receiving_are_the_clients)
{
    ws_deflate_params_t params = {.server_bits = 15,
                                  .client_bits = 9,
                                  .server_takeover = _i == 0,
                                  .client_takeover = _i == 1};
    z_stream client;

    begin(&params);
    peer.do_message = check_message;
    ws_test_deflater_begin(&client, 6, 9, Z_DEFAULT_STRATEGY);
    feed_message(&peer, &client, words, 200);
    feed_message(&peer, &client, words, 200); /* refers to the first */
    ck_assert_int_eq(peer.count, _i == 0 ? 1 : 2);
    deflateEnd(&client);
    end();
}
END_TEST

/* Each in the middle of a message: two inflaters at a time. */
START_TEST(messages_of_two_connections_may_overlap)
{
    ws_test_bytes_t payload = {0};
    ws_test_bytes_t parts[2] = {{0}};
    int i;

    begin(&alone);
    start(&second, &alone);
    peer.do_message = check_message;
    second.do_message = check_message;
    wanted = words;
    wanted_length = 3000;
    ws_test_add_deflated_alone(&payload, words, 3000);
    ws_test_add_frame(&parts[0], 0x42, payload.data, 100);
    ws_test_add_frame(&parts[1], 0x80, payload.data + 100,
                      payload.length - 100);
    for (i = 0; i < 4; i++) {
        peer_feed(i % 2 == 0 ? &peer : &second, &parts[i / 2]);
    }
    ck_assert_int_eq(peer.count, 1);
    ck_assert_int_eq(second.count, 1);
    ck_assert_uint_eq(budget.used, 0);
    ws_test_free(&payload);
    ws_test_free(&parts[0]);
    ws_test_free(&parts[1]);
    peer_end(&second);
    end();
}
END_TEST

START_TEST(compressed_message_is_echoed_compressed)
{
    ws_test_bytes_t payload = {0};
    ws_test_bytes_t input = {0};

    begin(&alone);
    peer.do_message = peer_echo;
    ws_test_add_deflated_alone(&payload, words, 2000);
    ws_test_add_frame(&input, 0xc2, payload.data, payload.length);
    peer_feed(&peer, &input);
    expect_alone(&peer, words, 2000);
    ws_test_free(&payload);
    ws_test_free(&input);
    end();
}
END_TEST

/* --- what a client must not do --- */

static void feed_frames(peer_t *p, uint8_t first, const void *payload,
                        size_t length, int more)
{
    ws_test_bytes_t input = {0};

    ws_test_add_frame(&input, first, payload, length);
    while (more-- > 0) {
        ws_test_add_frame(&input, 0x00, "", 0);
    }
    peer_feed(p, &input);
    ws_test_free(&input);
}

static void expect_failure(unsigned code)
{
    char expected[64];

    snprintf(expected, sizeof(expected), "open failure(%u) close(%u) ", code,
             code);
    ck_assert_str_eq(peer.log, expected);
    peer_expect_close(&peer, code);
    peer_expect_no_more(&peer);
    ck_assert_uint_eq(budget.used, 0);
}

START_TEST(compressed_frame_where_nothing_is_negotiated_is_1002)
{
    begin(&none);
    feed_frames(&peer, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 0);
    expect_failure(1002);
    end();
}
END_TEST

START_TEST(compressed_frame_without_a_compressor_is_1002)
{
    begin(&none);
    ws_deflate_shared_destroy(peer_turn.deflate);
    peer_turn.deflate = NULL;
    send_binary(&peer, words, 1000);
    expect_plain(&peer, words, 1000);
    feed_frames(&peer, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 0);
    expect_failure(1002);
    peer_end(&peer);
}
END_TEST

START_TEST(rsv1_on_a_continuation_is_1002)
{
    begin(&alone);
    feed_frames(&peer, 0x41, "\xf2\x48", 2, 0);
    feed_frames(&peer, 0xc0, "\xcd\xc9\xc9\x07\x00", 5, 0);
    expect_failure(1002);
    end();
}
END_TEST

START_TEST(broken_data_is_1007)
{
    begin(_i == 0 ? &alone : &takeover);
    feed_frames(&peer, 0xc2, "\x06", 1, 0);
    expect_failure(1007);
    end();
    begin(_i == 0 ? &alone : &takeover);
    feed_frames(&peer, 0xc2, "\xf2\x48\xcd", 3, 0);
    expect_failure(1007);
    end();
}
END_TEST

START_TEST(inflated_text_that_is_not_utf8_is_1007)
{
    ws_test_bytes_t payload = {0};

    begin(&alone);
    ws_test_add_deflated_alone(&payload, "\xff", 1);
    feed_frames(&peer, 0xc1, payload.data, payload.length, 0);
    expect_failure(1007);
    ws_test_free(&payload);
    end();
}
END_TEST

START_TEST(message_in_too_many_frames_is_1008)
{
    begin(&alone);
    peer_limits.max_fragments = 3;
    feed_frames(&peer, 0x41, "\xf2\x48", 2, 2);
    ck_assert_str_eq(peer.log, "open ");
    feed_frames(&peer, 0x80, "\xcd\xc9\xc9\x07\x00", 5, 0);
    expect_failure(1008);
    end();

    begin(&none);
    peer_limits.max_fragments = 3;
    feed_frames(&peer, 0x01, "text", 4, 3);
    expect_failure(1008);
    end();
}
END_TEST

START_TEST(inflated_message_over_the_limit_is_1009)
{
    ws_test_bytes_t payload = {0};

    begin(_i == 0 ? &alone : &takeover);
    peer_limits.max_message = 4999;
    ws_test_add_deflated_alone(&payload, words, 5000);
    feed_frames(&peer, 0xc2, payload.data, payload.length, 0);
    expect_failure(1009);
    ws_test_free(&payload);
    end();
}
END_TEST

/* --- memory --- */

START_TEST(idle_connection_holds_what_it_held_before_compressed_traffic)
{
    z_stream client;
    long live;
    int i;

    begin(&alone);
    peer.do_message = check_message;
    ws_test_deflater_begin(&client, 6, 15, Z_DEFAULT_STRATEGY);
    /* what the thread's connections share is made once */
    feed_message(&peer, &client, words, 5000);
    send_binary(&peer, words, 5000);
    ws_test_alloc_begin();
    live = ws_test_alloc.live;
    start(&second, &alone);
    second.do_message = check_message;
    for (i = 0; i < 3; i++) {
        deflateReset(&client);
        feed_message(&second, &client, words, 5000);
        send_binary(&second, words, 5000);
        send_binary(&second, noise, 5000);
    }
    ck_assert_int_eq(ws_test_alloc.live, live);
    ck_assert_uint_eq(budget.used, 0);
    ck_assert_ptr_null(second.conn.deflater);
    ws_test_alloc_end();
    ck_assert_int_eq(second.count, 3);
    deflateEnd(&client);
    peer_end(&second);
    end();
}
END_TEST

START_TEST(connection_with_takeover_holds_its_contexts_until_it_is_cleared)
{
    z_stream client;

    begin_turn();
    ws_test_deflater_begin(&client, 6, 15, Z_DEFAULT_STRATEGY);
    start(&second, &alone);                 /* makes what is shared */
    send_binary(&second, words, 5000);
    ws_test_alloc_begin();
    start(&peer, &takeover);
    peer.do_message = check_message;
    send_binary(&peer, words, THRESHOLD - 1);
    ck_assert_int_eq(ws_test_alloc.live, 0); /* none was needed yet */
    feed_message(&peer, &client, words, 5000);
    ck_assert_int_eq(ws_test_alloc.live, 1);
    send_binary(&peer, words, 5000);
    feed_message(&peer, &client, words, 5000);
    send_binary(&peer, words, 5000);
    ck_assert_int_eq(ws_test_alloc.live, 2);
    ck_assert_uint_eq(budget.used, 0);      /* charged when it was agreed */
    peer_end(&peer);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    deflateEnd(&client);
    peer_end(&second);
    end_turn_over();
}
END_TEST

START_TEST(message_of_a_small_window_takes_less_while_it_lasts)
{
    ws_deflate_params_t params = alone;
    size_t used[2];
    int i;

    for (i = 0; i < 2; i++) {
        params.client_bits = i == 0 ? 15 : 9;
        begin(&params);
        feed_frames(&peer, 0x42, "\xf2\x48", 2, 0);
        used[i] = budget.used;
        end();
    }
    ck_assert_uint_eq(used[0] - used[1], 32768 - 512);
}
END_TEST

START_TEST(close_inside_a_compressed_message_frees_it)
{
    ws_test_bytes_t payload = {0};

    begin(_i == 0 ? &alone : &takeover);
    ws_test_add_deflated_alone(&payload, words, 5000);
    feed_frames(&peer, 0x42, payload.data, 500, 0);
    if (_i == 0) {
        ck_assert_uint_gt(budget.used, 32768);
    }
    peer_feed_close(&peer, 1000, "");
    ck_assert_uint_eq(budget.used, 0);
    ck_assert_ptr_null(peer.conn.message.partial);
    ck_assert_ptr_null(peer.conn.message.context);
    ck_assert_str_eq(peer.log, "open close(1000) ");
    ws_test_free(&payload);
    end();
}
END_TEST

START_TEST(connection_lost_inside_a_compressed_message_frees_it)
{
    begin(_i == 0 ? &alone : &takeover);
    feed_frames(&peer, 0x42, "\xf2\x48", 2, 0);
    peer_feed_status(&peer, WS_EOF);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    end();
}
END_TEST

/* Whatever is sent for want of memory, compressed or not, with context or
 * without, the client understands it. */
static void check_wire(bool has_context)
{
    ws_test_frame_t frame;
    z_stream judge;

    ws_test_judge_begin(&judge, 15);
    while (
        ws_test_next_frame(&frame, peer.out, peer.out_length, &peer.out_at)) {
        ws_test_bytes_t message = {0};
        bool good = true;

        if (frame.first == 0x88) {
            ck_assert_uint_eq(peer.out_at, peer.out_length);
            continue;
        }
        if (frame.first == 0xc2) {
            if (!has_context) {
                inflateReset(&judge);
            }
            good = ws_test_judge(&judge, &message, frame.data, frame.length);
        }
        else {
            ck_assert_uint_eq(frame.first, 0x82);
            ws_test_add(&message, frame.data, frame.length);
        }
        if (!good || message.length != 1500 ||
            (memcmp(message.data, words, message.length) != 0 &&
             memcmp(message.data, noise, message.length) != 0)) {
            ck_abort_msg("a message that nobody has sent");
        }
        ws_test_free(&message);
    }
    inflateEnd(&judge);
}

static void play(const ws_test_bytes_t *input)
{
    int i;

    for (i = 0; i < 3; i++) {
        ws_conn_send(&peer.conn, WS_OP_BINARY, words, 1500);
        ws_conn_send(&peer.conn, WS_OP_BINARY, noise, 1500);
        peer_end_turn();
    }
    if (ws_conn_wants(&peer.conn) & WS_WANT_READ) {
        peer_feed(&peer, input);
    }
    ws_conn_send(&peer.conn, WS_OP_BINARY, words, 1500);
    ws_conn_hangup(&peer.conn);
    peer_end_turn();
}

START_TEST(any_allocation_that_fails_leaves_good_messages)
{
    const ws_deflate_params_t *params = _i / 2 == 0 ? &alone : &takeover;
    ws_test_bytes_t payload = {0};
    ws_test_bytes_t input = {0};
    bool failed = true;
    long n;

    ws_test_fill(words, sizeof(words), WS_TEST_WORDS, 1);
    ws_test_add_deflated_alone(&payload, words, 1500);
    ws_test_add_frame(&input, 0x42, payload.data, 100);
    ws_test_add_frame(&input, 0x80, payload.data + 100, payload.length - 100);
    for (n = 0; failed; n++) {
        ck_assert_int_lt(n, 400);
        begin_turn();
        ws_test_alloc_begin();
        ws_test_alloc_fail(n, _i % 2 == 1);
        start(&peer, params);
        peer.do_message = peer_echo;
        play(&input);
        failed = ws_test_alloc_unfail();
        ck_assert_int_eq(peer.ends, 1);
        ws_conn_clear(&peer.conn);
        ws_deflate_shared_destroy(peer_turn.deflate);
        ck_assert_int_eq(ws_test_alloc.live, -1); /* shared itself */
        ws_test_alloc_end();
        ck_assert_uint_eq(budget.used, 0);
        check_wire(_i / 2 == 1);
    }
    ck_assert_int_gt(n, 5);
    ws_test_free(&payload);
    ws_test_free(&input);
}
END_TEST

START_TEST(message_that_cannot_be_compressed_for_want_of_memory_is_plain)
{
    begin(&alone);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);           /* the deflater */
    ws_conn_send(&peer.conn, WS_OP_BINARY, words, 1500);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    peer_end_turn();
    send_binary(&peer, words, 1500);
    expect_plain(&peer, words, 1500);
    expect_alone(&peer, words, 1500);
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(message_from_the_threshold_on_is_compressed, 2),
        WS_TEST(threshold_of_zero_leaves_empty_messages_as_they_are),
        WS_TEST(messages_longer_than_can_be_compressed_are_left_as_they_are),
        WS_TEST(nothing_is_compressed_where_nothing_is_negotiated),
        WS_TEST(text_keeps_its_opcode_and_control_frames_are_plain),
        WS_TEST_LOOP(messages_fit_the_window_that_was_negotiated, 16),
        WS_TEST_LOOP(level_is_that_of_the_limits, 2),
        WS_TEST(incompressible_message_is_sent_as_it_is),
        WS_TEST(incompressible_message_is_compressed_with_takeover),
        WS_TEST(context_is_kept_where_it_is_taken_over_and_only_there),
        WS_TEST(context_begins_anew_behind_a_compressed_buffer),
        WS_TEST(context_goes_on_behind_a_plain_buffer),
        WS_TEST(connections_do_not_get_in_each_others_way),
        WS_TEST_LOOP(compressed_messages_wait_for_a_slow_reader_unharmed, 7),
        WS_TEST_LOOP(compressed_messages_are_received, 2),
        WS_TEST_LOOP(takeover_and_window_of_receiving_are_the_clients, 2),
        WS_TEST(messages_of_two_connections_may_overlap),
        WS_TEST(compressed_message_is_echoed_compressed),
        WS_TEST(compressed_frame_where_nothing_is_negotiated_is_1002),
        WS_TEST(compressed_frame_without_a_compressor_is_1002),
        WS_TEST(rsv1_on_a_continuation_is_1002),
        WS_TEST_LOOP(broken_data_is_1007, 2),
        WS_TEST(inflated_text_that_is_not_utf8_is_1007),
        WS_TEST(message_in_too_many_frames_is_1008),
        WS_TEST_LOOP(inflated_message_over_the_limit_is_1009, 2),
        WS_TEST(idle_connection_holds_what_it_held_before_compressed_traffic),
        WS_TEST(
            connection_with_takeover_holds_its_contexts_until_it_is_cleared),
        WS_TEST(message_of_a_small_window_takes_less_while_it_lasts),
        WS_TEST_LOOP(close_inside_a_compressed_message_frees_it, 2),
        WS_TEST_LOOP(connection_lost_inside_a_compressed_message_frees_it, 2),
        WS_TEST_LOOP(any_allocation_that_fails_leaves_good_messages, 4),
        WS_TEST(message_that_cannot_be_compressed_for_want_of_memory_is_plain),
    };

    return ws_test_run("conn deflate", tests, WS_TEST_COUNT(tests));
}
