/* ws_conn, for an owner who takes messages in parts. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"
#include "ws_test_zlib.h"

#define LARGE (5 * WS_PART_SIZE)            /* bytes of a compressed message */

static const ws_deflate_params_t none = {0};
static const ws_deflate_params_t alone = {.server_bits = 15, .client_bits = 15};
static const ws_deflate_params_t takeover = {.server_bits = 15,
                                             .client_bits = 15,
                                             .server_takeover = true,
                                             .client_takeover = true};

static peer_t peer;
static peer_t second;
static ws_budget_t budget;

/* --- the owner --- */

/* As peer_on_message(); a plus for a part that is not the last. */
static void on_fragment(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                        size_t length, bool is_last)
{
    peer_t *p = peer_of(c);
    const char *word = opcode == WS_OP_TEXT ? "text" : "binary";

    ck_assert_int_eq(p->ends, 0);
    ck_assert(ws_conn_is_open(c));
    ck_assert(is_last || length > 0);
    if (length <= 40) {
        peer_log(p, "%s(%.*s)%s ", word, (int)length, (const char *)data,
                 is_last ? "" : "+");
    }
    else {
        peer_log(p, "%s[%zu]%s ", word, length, is_last ? "" : "+");
    }
    if (p->do_message != NULL) {
        p->do_message(p, opcode, data, length);
    }
}

static const ws_conn_callbacks_t in_parts = {
    .on_open = peer_on_open,
    .on_fragment = on_fragment,
    .on_drained = peer_on_drained,
    .on_close = peer_on_close,
    .on_failure = peer_on_failure,
};

static void start(peer_t *p, const ws_deflate_params_t *params)
{
    peer_init(p);
    p->conn.deflate = *params;
    ws_conn_init(&p->conn, &peer_turn, &peer_limits, &in_parts);
    ws_conn_start(&p->conn, NULL, 0);
    peer_end_turn();
}

static void begin_turn(void)
{
    budget = (ws_budget_t){.limit = SIZE_MAX};
    peer_begin();
    peer_limits.compression_level = 6;
    peer_limits.compression_threshold = 1;
    peer_limits.max_message = LARGE;
    peer_limits.budget = &budget;
    peer_turn.deflate = ws_deflate_shared_create(&budget);
    ck_assert_ptr_nonnull(peer_turn.deflate);
}

static void begin(const ws_deflate_params_t *params)
{
    begin_turn();
    start(&peer, params);
}

static void end(void)
{
    peer_end(&peer);
    ws_deflate_shared_destroy(peer_turn.deflate);
    ck_assert_uint_eq(budget.used, 0);
}

static void pause_here(peer_t *p, uint8_t opcode, uint8_t *data, size_t length)
{
    (void)opcode;
    (void)data;
    (void)length;
    ws_conn_pause(&p->conn);
}

static void close_here(peer_t *p, uint8_t opcode, uint8_t *data, size_t length)
{
    (void)opcode;
    (void)data;
    (void)length;
    ws_conn_close(&p->conn, 4000, "enough", 6);
}

static void fail_here(peer_t *p, uint8_t opcode, uint8_t *data, size_t length)
{
    (void)opcode;
    (void)data;
    (void)length;
    ws_conn_fail(&p->conn, 1008, "not this");
}

/* A compressed message of LARGE bytes of the same kind, all in one frame. */
static void add_large(ws_test_bytes_t *input, int kind)
{
    ws_test_bytes_t payload = {0};
    uint8_t *data = malloc(LARGE);

    ws_test_fill(data, LARGE, kind, 1);
    ws_test_add_deflated_alone(&payload, data, LARGE);
    ws_test_add_frame(input, 0xc2, payload.data, payload.length);
    ws_test_free(&payload);
    free(data);
}

/* What the log says of the lengths of parts, added up. */
static size_t sum_of_parts(const peer_t *p)
{
    const char *at = p->log;
    size_t sum = 0;

    while ((at = strchr(at, '[')) != NULL) {
        sum += strtoul(++at, NULL, 10);
    }
    return sum;
}

static bool ends_with(const peer_t *p, const char *text)
{
    size_t length = strlen(p->log);

    return length >= strlen(text) &&
           strcmp(p->log + length - strlen(text), text) == 0;
}

/* --- parts --- */

START_TEST(parts_come_as_they_arrive)
{
    ws_test_bytes_t input = {0};

    begin(&none);
    ws_test_add_text(&input, 0x01, "Hello");
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_text(&input, 0x00, ", ");
    ws_test_add_text(&input, 0x80, "world");
    ws_test_add_text(&input, 0x82, "whole");
    ws_test_add_close(&input, 1000, "bye");
    peer_script(&peer, (peer_read_t){.data = input.data, .length = 9});
    peer_script(&peer, (peer_read_t){.data = input.data + 9,
                                     .length = input.length - 9});
    ws_conn_readable(&peer.conn);
    ck_assert_str_eq(peer.log, "open text(Hel)+ ");
    peer_end_turn();
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(Hel)+ text(lo)+ text(, )+ "
                               "text(world) binary(whole) close(1000,bye) ");
    peer_expect(&peer, 0x8a, "ping");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    ws_test_free(&input);
    end();
}
END_TEST

START_TEST(bytes_that_came_with_the_request_are_parts)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t rest;

    begin_turn();
    ws_test_add_text(&input, 0x81, "early");
    peer_init(&peer);
    ws_conn_init(&peer.conn, &peer_turn, &peer_limits, &in_parts);
    ws_conn_start(&peer.conn, input.data, input.length - 2);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(ear)+ ");
    rest = (ws_test_bytes_t){input.data + input.length - 2, 2, 2};
    peer_feed(&peer, &rest);
    ck_assert_str_eq(peer.log, "open text(ear)+ text(ly) ");
    ws_test_free(&input);
    end();
}
END_TEST

START_TEST(compressed_message_comes_in_parts)
{
    ws_test_bytes_t input = {0};

    begin(_i == 0 ? &alone : &takeover);
    add_large(&input, WS_TEST_ZEROS);
    add_large(&input, WS_TEST_WORDS);
    peer_feed(&peer, &input);
    ck_assert_uint_eq(sum_of_parts(&peer), 2 * LARGE);
    ck_assert_ptr_null(strstr(peer.log, "failure"));
    ck_assert_ptr_nonnull(strstr(peer.log, "open binary[16384]+ "
                                           "binary[16384]+ "));
    ws_test_free(&input);
    end();
}
END_TEST

/* --- pause --- */

/* At each part, of which one read has several. */
START_TEST(pause_inside_the_input_keeps_the_rest)
{
    ws_test_bytes_t input = {0};

    begin(&none);
    peer.do_message = pause_here;
    ws_test_add_text(&input, 0x01, "one");
    ws_test_add_text(&input, 0x00, "two");
    ws_test_add_text(&input, 0x80, "three");
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text(one)+ ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), 0);
    ws_conn_readable(&peer.conn);           /* told in vain */
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(one)+ ");
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(one)+ text(two)+ ");
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(one)+ text(two)+ text(three) ");
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    ws_test_free(&input);
    end();
}
END_TEST

static const ws_deflate_params_t *params_of(int i)
{
    return i == 0 ? &alone : &takeover;
}

/* Zeros: one read has all of the message, and at the end no byte of it is
 * left, yet parts are. */
START_TEST(pause_stops_between_parts_of_the_same_bytes)
{
    ws_test_bytes_t input = {0};
    size_t sum = 0;
    int parts = 0;

    begin(params_of(_i));
    peer.do_message = pause_here;
    add_large(&input, WS_TEST_ZEROS);
    ck_assert_uint_lt(input.length, sizeof(peer_input));
    peer_feed(&peer, &input);
    do {
        size_t now = sum_of_parts(&peer);

        ck_assert_uint_le(now, sum + WS_PART_SIZE);
        sum = now;
        parts++;
        ck_assert_int_lt(parts, 8);
        ws_conn_readable(&peer.conn);       /* told in vain */
        peer_end_turn();
        ck_assert_uint_eq(sum_of_parts(&peer), sum);
        ws_conn_resume(&peer.conn);
        peer_end_turn();
    } while (peer.conn.paused);
    ck_assert_int_ge(parts, 5);
    ck_assert_uint_eq(sum_of_parts(&peer), LARGE);
    peer.do_message = NULL;
    peer_feed_frame(&peer, 0x81, "behind");
    ck_assert(ends_with(&peer, " text(behind) "));
    ws_test_free(&input);
    end();
}
END_TEST

/* --- ends --- */

START_TEST(no_part_comes_after_a_close)
{
    ws_test_bytes_t input = {0};
    bool compresses = _i % 2 == 1;

    begin(compresses ? &alone : &none);
    peer.do_message = _i < 2 ? close_here : fail_here;
    if (compresses) {
        add_large(&input, WS_TEST_ZEROS);
    }
    else {
        ws_test_add_text(&input, 0x02, "a part");
        ws_test_add_text(&input, 0x80, "another");
    }
    ws_test_add_text(&input, 0x81, "next");
    if (_i < 2) {
        ws_test_add_close(&input, 4000, "");
    }
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log,
                     _i == 0   ? "open binary(a part)+ close(4000) "
                     : _i == 1 ? "open binary[16384]+ close(4000) "
                     : _i == 2 ? "open binary(a part)+ failure(1008) "
                                 "close(1008) "
                               : "open binary[16384]+ failure(1008) "
                                 "close(1008) ");
    peer_expect_close(&peer, _i < 2 ? 4000 : 1008);
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.shutdowns, 1);
    ws_test_free(&input);
    end();
}
END_TEST

START_TEST(close_of_who_paused_between_parts_is_seen)
{
    ws_test_bytes_t input = {0};

    begin(params_of(_i));
    peer.do_message = pause_here;
    add_large(&input, WS_TEST_ZEROS);
    ws_test_add_close(&input, 1000, "");
    peer_feed(&peer, &input);
    ws_conn_close(&peer.conn, 1001, "", 0);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open binary[16384]+ close(1001) ");
    ck_assert_int_eq(peer.shutdowns, 1);
    ws_test_free(&input);
    end();
}
END_TEST

START_TEST(message_over_the_limit_is_1009_behind_its_parts)
{
    ws_test_bytes_t input = {0};

    begin(&alone);
    peer_limits.max_message = _i == 0 ? 10 : LARGE - 1;
    if (_i == 0) {
        ws_test_add_text(&input, 0x01, "01234");
        ws_test_add_text(&input, 0x80, "567890");
    }
    else {
        add_large(&input, WS_TEST_ZEROS);
    }
    peer_feed(&peer, &input);
    ck_assert(ends_with(&peer, "+ failure(1009) close(1009) "));
    peer_expect_close(&peer, 1009);
    ws_test_free(&input);
    end();
}
END_TEST

START_TEST(text_that_is_wrong_is_1007_at_once)
{
    ws_test_bytes_t input = {0};

    begin(&none);
    ws_test_add_text(&input, 0x01, "good");
    ws_test_add_text(&input, 0x00, "\xff");
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text(good)+ failure(1007) close(1007) ");
    peer_expect_close(&peer, 1007);
    ws_test_free(&input);
    end();
}
END_TEST

/* Between two parts, paused or not. */
START_TEST(end_inside_a_message_frees_it)
{
    ws_test_bytes_t input = {0};
    long live;

    add_large(&input, WS_TEST_ZEROS);
    begin(&alone);
    peer_feed(&peer, &input);               /* the thread has what it needs */
    peer_end(&peer);
    input.length = 0;
    add_large(&input, WS_TEST_ZEROS);
    ws_test_alloc_begin();
    live = ws_test_alloc.live;
    start(&peer, &alone);
    peer.do_message = _i % 2 ? pause_here : NULL;
    input.length--;
    peer_feed(&peer, &input);
    if (_i < 2) {
        ws_conn_hangup(&peer.conn);
        ck_assert(ends_with(&peer, "+ failure(1006) close(1006) "));
    }
    peer_end(&peer);
    ck_assert_int_eq(ws_test_alloc.live, live);
    ws_test_alloc_end();
    ck_assert_uint_eq(budget.used, 0);
    ws_deflate_shared_destroy(peer_turn.deflate);
    ws_test_free(&input);
}
END_TEST

/* --- rates and times --- */

/* Three parts each. */
static void feed_messages(int count)
{
    ws_test_bytes_t input = {0};
    int i;

    for (i = 0; i < count; i++) {
        ws_test_add_text(&input, 0x01, "a");
        ws_test_add_text(&input, 0x00, "b");
        ws_test_add_text(&input, 0x80, "c");
    }
    peer_feed(&peer, &input);
    ws_test_free(&input);
}

static void begin_guarded(ws_guard_limits_t limits)
{
    begin_turn();
    peer_limits.ping_interval = 0;
    peer_limits.guard = limits;
    start(&peer, &none);
}

START_TEST(message_counts_once)
{
    begin_guarded((ws_guard_limits_t){.messages = {10, 2},
                                      .over_rate_closes = true});
    feed_messages(2);
    ck_assert_str_eq(peer.log, "open text(a)+ text(b)+ text(c) "
                               "text(a)+ text(b)+ text(c) ");
    peer_feed_frame(&peer, 0x81, "over");
    ck_assert(ends_with(&peer, " text(c) failure(1008) close(1008) "));
    end();
}
END_TEST

START_TEST(who_is_too_fast_is_read_later)
{
    begin_guarded((ws_guard_limits_t){.messages = {10, 1}});
    feed_messages(2);
    ck_assert_str_eq(peer.log, "open text(a)+ ");
    ck_assert(!(ws_conn_wants(&peer.conn) & WS_WANT_READ));
    peer_pass(&peer, 100);
    ck_assert_str_eq(peer.log, "open text(a)+ text(b)+ text(c) text(a)+ ");
    peer_pass(&peer, 100);
    ck_assert_str_eq(peer.log, "open text(a)+ text(b)+ text(c) "
                               "text(a)+ text(b)+ text(c) ");
    ck_assert(ws_conn_wants(&peer.conn) & WS_WANT_READ);
    end();
}
END_TEST

START_TEST(bytes_over_the_rate_wait_inside_a_message)
{
    begin_guarded((ws_guard_limits_t){.bytes = {1000, 20}});
    peer_feed_frame(&peer, 0x01, "0123456789");
    ck_assert(ws_conn_wants(&peer.conn) & WS_WANT_READ);
    peer_feed_frame(&peer, 0x00, "0123456789");
    ck_assert_str_eq(peer.log, "open text(0123456789)+ text(0123456789)+ ");
    ck_assert(!(ws_conn_wants(&peer.conn) & WS_WANT_READ));
    peer_pass(&peer, 20);
    ck_assert(ws_conn_wants(&peer.conn) & WS_WANT_READ);
    peer_feed_frame(&peer, 0x80, "");
    ck_assert(ends_with(&peer, "+ text() "));
    end();
}
END_TEST

START_TEST(each_part_keeps_it_from_being_idle)
{
    int i;

    begin_guarded((ws_guard_limits_t){.idle_timeout = 1000});
    peer_feed_frame(&peer, 0x01, "begin");
    for (i = 0; i < 5; i++) {
        peer_pass(&peer, 900);
        peer_feed_frame(&peer, 0x00, "go on");
    }
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 999);
    peer_feed_frame(&peer, 0x89, "");       /* is no part */
    peer_feed_frame(&peer, 0x00, "");       /* nor is this */
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 1);
    ck_assert(ends_with(&peer, "+ failure(1001) "));
    end();
}
END_TEST

/* --- what is shared --- */

/* Each part goes back compressed: it does not lie where that is made. */
START_TEST(parts_may_be_sent_on)
{
    static const char *const texts[] = {"one, one, one", "two, two, two"};
    ws_test_bytes_t input = {0};
    ws_test_bytes_t all = {0};
    ws_test_frame_t frame;
    uint8_t *data = malloc(LARGE);
    z_stream judge;

    begin(params_of(_i));
    peer.do_message = peer_echo;
    ws_test_judge_begin(&judge, 15);
    ws_test_fill(data, LARGE, WS_TEST_WORDS, 1);
    add_large(&input, WS_TEST_WORDS);
    ws_test_add_text(&input, 0x01, texts[0]);
    ws_test_add_text(&input, 0x80, texts[1]);
    peer_feed(&peer, &input);
    while (ws_test_next_frame(&frame, peer.out, peer.out_length,
                              &peer.out_at)) {
        if (_i == 0) {
            inflateReset(&judge);
        }
        if (frame.first & 0x40) {
            ck_assert(ws_test_judge(&judge, &all, frame.data, frame.length));
        }
        else {
            ws_test_add(&all, frame.data, frame.length);
        }
    }
    ck_assert_uint_eq(all.length, LARGE + strlen(texts[0]) + strlen(texts[1]));
    ck_assert(memcmp(all.data, data, LARGE) == 0);
    ck_assert_mem_eq(all.data + LARGE, texts[0], strlen(texts[0]));
    inflateEnd(&judge);
    free(data);
    ws_test_free(&all);
    ws_test_free(&input);
    end();
}
END_TEST

static ws_test_bytes_t seen[2];             /* by both peers */

static void collect_and_pause(peer_t *p, uint8_t opcode, uint8_t *data,
                              size_t length)
{
    (void)opcode;
    ws_test_add(&seen[p == &second], data, length);
    ws_conn_pause(&p->conn);
}

/* Two that take turns, part by part, and one buffer. */
START_TEST(connections_do_not_disturb_each_other)
{
    ws_test_bytes_t input[2] = {{0}, {0}};
    uint8_t *data = malloc(LARGE);

    begin(params_of(_i));
    start(&second, params_of(_i));
    peer.do_message = collect_and_pause;
    second.do_message = collect_and_pause;
    add_large(&input[0], WS_TEST_ZEROS);
    add_large(&input[1], WS_TEST_WORDS);
    peer_feed(&peer, &input[0]);
    peer_feed(&second, &input[1]);
    while (seen[0].length < LARGE || seen[1].length < LARGE) {
        size_t before = seen[0].length + seen[1].length;

        ws_conn_resume(&peer.conn);
        ws_conn_resume(&second.conn);
        peer_end_turn();
        ws_conn_readable(&second.conn);     /* more than one read */
        peer_end_turn();
        ck_assert_uint_gt(seen[0].length + seen[1].length, before);
    }
    ws_test_fill(data, LARGE, WS_TEST_ZEROS, 1);
    ck_assert(memcmp(seen[0].data, data, LARGE) == 0);
    ws_test_fill(data, LARGE, WS_TEST_WORDS, 1);
    ck_assert(memcmp(seen[1].data, data, LARGE) == 0);
    free(data);
    ws_test_free(&seen[0]);
    ws_test_free(&seen[1]);
    ws_test_free(&input[0]);
    ws_test_free(&input[1]);
    peer_end(&second);
    end();
}
END_TEST

/* --- when memory is short --- */

/* Parts that are cut, a pause at each of them, all that it takes. */
static void play(const ws_test_bytes_t *input, size_t step)
{
    size_t at;
    int i;

    start(&peer, &alone);
    peer.do_message = pause_here;
    for (at = 0; at < input->length; at += step) {
        size_t left = input->length - at;
        ws_test_bytes_t piece = {.data = input->data + at,
                                 .length = left < step ? left : step};

        peer.read_at = peer.read_count = 0;
        peer_feed(&peer, &piece);
        for (i = 0; i < 12; i++) {
            ws_conn_resume(&peer.conn);
            peer_end_turn();
        }
    }
    ws_conn_hangup(&peer.conn);
    peer_end_turn();
}

START_TEST(any_allocation_that_fails_ends_one_connection_in_good_order)
{
    static const size_t steps[] = {40, 4000};
    ws_test_bytes_t input = {0};
    bool failed = true;
    long n;

    ws_test_add_text(&input, 0x01, "a part");
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_text(&input, 0x80, "and the last");
    add_large(&input, WS_TEST_ZEROS);
    ws_test_add_text(&input, 0x81, "behind");
    ws_test_add_close(&input, 1000, "bye");
    for (n = 0; failed; n++) {
        ck_assert_int_lt(n, 4000);
        begin_turn();
        ws_test_alloc_begin();
        ws_test_alloc_fail(n / 2, n % 2 == 1);
        play(&input, steps[_i]);
        failed = ws_test_alloc_unfail();
        ck_assert(ws_conn_is_done(&peer.conn));
        ck_assert_int_eq(peer.ends, 1);
        ck_assert_int_le(peer.failures, 1);
        ck_assert(failed == (strstr(peer.log, "close(1000,bye)") == NULL));
        peer_end(&peer);
        ck_assert_int_le(ws_test_alloc.live, 2); /* the thread's own */
        ws_test_alloc_end();
        ck_assert_uint_eq(budget.used, 0);
        ws_deflate_shared_destroy(peer_turn.deflate);
    }
    ck_assert_int_gt(n, 8);
    ws_test_free(&input);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(parts_come_as_they_arrive),
        WS_TEST(bytes_that_came_with_the_request_are_parts),
        WS_TEST_LOOP(compressed_message_comes_in_parts, 2),
        WS_TEST(pause_inside_the_input_keeps_the_rest),
        WS_TEST_LOOP(pause_stops_between_parts_of_the_same_bytes, 2),
        WS_TEST_LOOP(no_part_comes_after_a_close, 4),
        WS_TEST_LOOP(close_of_who_paused_between_parts_is_seen, 2),
        WS_TEST_LOOP(message_over_the_limit_is_1009_behind_its_parts, 2),
        WS_TEST(text_that_is_wrong_is_1007_at_once),
        WS_TEST_LOOP(end_inside_a_message_frees_it, 4),
        WS_TEST(message_counts_once),
        WS_TEST(who_is_too_fast_is_read_later),
        WS_TEST(bytes_over_the_rate_wait_inside_a_message),
        WS_TEST(each_part_keeps_it_from_being_idle),
        WS_TEST_LOOP(parts_may_be_sent_on, 2),
        WS_TEST_LOOP(connections_do_not_disturb_each_other, 2),
        WS_TEST_LOOP(
            any_allocation_that_fails_ends_one_connection_in_good_order, 2),
    };

    return ws_test_run("conn stream", tests, WS_TEST_COUNT(tests));
}
