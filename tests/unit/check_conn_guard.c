/* ws_conn and ws_guard: rates, idle connections, old ones. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"

static peer_t peer;

static void begin(ws_guard_limits_t limits)
{
    peer_begin();
    peer_limits.ping_interval = 0;
    peer_limits.guard = limits;
    peer_start(&peer);
}

/* So many messages in one read, "0", "1", ... */
static void feed_messages(int count)
{
    ws_test_bytes_t input = {0};
    char text[12];
    int i;

    for (i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%d", i);
        ws_test_add_text(&input, 0x81, text);
    }
    peer_feed(&peer, &input);
    ws_test_free(&input);
}

static int messages(void)
{
    const char *at = peer.log;
    int count = 0;

    while ((at = strstr(at, "text")) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* --- messages, close --- */

static const ws_guard_limits_t closes_at_ten = {
    .messages = {10, 5}, .over_rate_closes = true};

START_TEST(burst_is_allowed_and_one_more_is_not)
{
    begin(closes_at_ten);
    feed_messages(5);
    ck_assert_int_eq(messages(), 5);
    ck_assert_int_eq(peer.failures, 0);
    feed_messages(1);
    ck_assert_int_eq(messages(), 5);
    peer_expect_close(&peer, 1008);
    peer_end(&peer);

    begin(closes_at_ten);
    feed_messages(6);
    ck_assert_int_eq(messages(), 5);
    peer_expect_close(&peer, 1008);
    peer_end(&peer);
}
END_TEST

START_TEST(rate_is_allowed_for_ever)
{
    int i;

    begin(closes_at_ten);
    feed_messages(5);
    for (i = 0; i < 50; i++) {
        peer_pass(&peer, 100);
        peer.log[0] = '\0';
        feed_messages(1);
        ck_assert_int_eq(messages(), 1);
    }
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 99);
    feed_messages(1);
    peer_expect_close(&peer, 1008);
    peer_end(&peer);
}
END_TEST

/* What is saved up while nothing comes is the burst, and no more. */
START_TEST(pause_does_not_save_up_more_than_the_burst)
{
    begin(closes_at_ten);
    peer_pass(&peer, 1000000);
    feed_messages(6);
    ck_assert_int_eq(messages(), 5);
    peer_expect_close(&peer, 1008);
    peer_end(&peer);
}
END_TEST

START_TEST(control_frames_are_no_messages)
{
    int i;

    begin(closes_at_ten);
    for (i = 0; i < 20; i++) {
        peer_feed_frame(&peer, 0x89, "");
        peer_feed_frame(&peer, 0x8a, "");
        peer_expect(&peer, 0x8a, "");
    }
    feed_messages(5);
    ck_assert_int_eq(peer.failures, 0);
    peer_feed_close(&peer, 1000, "");
    peer_expect_close(&peer, 1000);
    peer_end(&peer);
}
END_TEST

/* Fragments are bytes; the message counts when it is whole. */
START_TEST(message_in_fragments_is_one)
{
    ws_test_bytes_t input = {0};
    int i;

    begin(closes_at_ten);
    for (i = 0; i < 5; i++) {
        ws_test_add_text(&input, 0x01, "a");
        ws_test_add_text(&input, 0x00, "b");
        ws_test_add_text(&input, 0x80, "c");
    }
    peer_feed(&peer, &input);
    ck_assert_int_eq(messages(), 5);
    ck_assert_int_eq(peer.failures, 0);
    ws_test_free(&input);
    peer_end(&peer);
}
END_TEST

/* --- messages, pause --- */

static const ws_guard_limits_t slows_at_ten = {.messages = {10, 5}};

START_TEST(who_is_too_fast_is_read_later)
{
    int i;

    begin(slows_at_ten);
    feed_messages(8);
    ck_assert_int_eq(messages(), 5);
    ck_assert(!(ws_conn_wants(&peer.conn) & WS_WANT_READ));
    for (i = 6; i <= 8; i++) {
        ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 100);
        peer_pass(&peer, 99);
        ck_assert_int_eq(messages(), i - 1);
        peer_pass(&peer, 1);
        ck_assert_int_eq(messages(), i);
    }
    peer_pass(&peer, 100);
    ck_assert(ws_conn_wants(&peer.conn) & WS_WANT_READ);
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), 0);
    ck_assert_str_eq(peer.log, "open text(0) text(1) text(2) text(3) text(4) "
                               "text(5) text(6) text(7) ");
    peer_end(&peer);
}
END_TEST

/* A handler's pause and ours are two: the one does not end the other. */
START_TEST(pause_of_the_handler_stays_a_pause)
{
    begin(slows_at_ten);
    feed_messages(6);
    ws_conn_pause(&peer.conn);
    peer_pass(&peer, 1000);
    ck_assert_int_eq(messages(), 5);
    ck_assert(!(ws_conn_wants(&peer.conn) & WS_WANT_READ));
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_int_eq(messages(), 6);
    peer_end(&peer);

    begin(slows_at_ten);
    feed_messages(6);
    ws_conn_pause(&peer.conn);
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_int_eq(messages(), 5);
    peer_pass(&peer, 100);
    ck_assert_int_eq(messages(), 6);
    peer_end(&peer);
}
END_TEST

/* Their Close may be behind what was not read yet. */
START_TEST(closing_ends_the_wait)
{
    ws_test_bytes_t input = {0};
    int i;

    begin(slows_at_ten);
    for (i = 0; i < 7; i++) {
        ws_test_add_text(&input, 0x81, "x");
    }
    ws_test_add_close(&input, 1000, "");
    peer_feed(&peer, &input);
    ws_conn_close(&peer.conn, 1001, "", 0);
    peer_end_turn();
    peer_expect_close(&peer, 1001);
    ck_assert_int_eq(messages(), 5);
    ck_assert_int_eq(peer.ends, 1);
    ws_test_free(&input);
    peer_end(&peer);
}
END_TEST

/* What cannot be heard is not held against it. */
START_TEST(silence_while_it_waits_is_no_death)
{
    ws_guard_limits_t limits = {.messages = {1, 1}};

    begin(limits);
    peer_limits.ping_interval = 300;
    peer_limits.ping_timeout = 300;
    feed_messages(3);
    peer_pass(&peer, 400);
    peer_pass(&peer, 400);
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 200);
    ck_assert_int_eq(messages(), 2);
    peer_end(&peer);
}
END_TEST

/* --- bytes --- */

START_TEST(bytes_over_the_burst_close)
{
    ws_guard_limits_t limits = {.bytes = {1000, 100},
                                .over_rate_closes = true};
    char payload[95];

    memset(payload, 'a', sizeof(payload));
    payload[94] = '\0';                     /* and a head of 6 bytes: 100 */
    begin(limits);
    peer_feed_frame(&peer, 0x81, payload);
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 100);
    peer_feed_frame(&peer, 0x81, payload);
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 99);
    peer_feed_frame(&peer, 0x81, payload);
    peer_expect_close(&peer, 1008);
    peer_end(&peer);
}
END_TEST

START_TEST(bytes_over_the_burst_wait)
{
    ws_guard_limits_t limits = {.bytes = {1000, 100}};
    char payload[501];

    memset(payload, 'a', sizeof(payload));
    payload[500] = '\0';
    begin(limits);
    peer_feed_frame(&peer, 0x81, payload);
    ck_assert_int_eq(messages(), 1);        /* 508 bytes: 408 too many */
    ck_assert(!(ws_conn_wants(&peer.conn) & WS_WANT_READ));
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 409);
    peer_pass(&peer, 409);
    ck_assert(ws_conn_wants(&peer.conn) & WS_WANT_READ);
    peer_end(&peer);
}
END_TEST

START_TEST(bytes_that_came_with_the_request_count)
{
    ws_test_bytes_t early = {0};

    peer_begin();
    peer_limits.guard = (ws_guard_limits_t){.bytes = {1000, 10},
                                            .over_rate_closes = true};
    ws_test_add_text(&early, 0x81, "hello");    /* 11 bytes */
    peer_init(&peer);
    ws_conn_start(&peer.conn, early.data, early.length);
    peer_end_turn();
    ck_assert_int_eq(messages(), 0);
    peer_expect_close(&peer, 1008);
    ws_test_free(&early);
    peer_end(&peer);
}
END_TEST

/* The largest that can be configured do not overflow. */
START_TEST(extremes_are_reckoned_well)
{
    ws_guard_limits_t limits = {.messages = {1, 1 << 30},
                                .bytes = {1 << 30, 1 << 30},
                                .over_rate_closes = true};
    ws_guard_t guard;
    int64_t now = INT64_C(1) << 40;         /* ms: 34 years */
    int i;

    ws_guard_init(&guard, &limits, now, 0);
    ck_assert(ws_guard_bytes(&guard, &limits, 1 << 30, now));
    ck_assert(!ws_guard_bytes(&guard, &limits, 2, now));
    ck_assert(ws_guard_bytes(&guard, &limits, 1 << 30, now + 1001));
    for (i = 0; i < 1000; i++) {
        ck_assert(ws_guard_message(&guard, &limits, now));
    }
}
END_TEST

/* --- idle and old --- */

START_TEST(idle_connection_is_closed)
{
    begin((ws_guard_limits_t){.idle_timeout = 1000});
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 1000);
    peer_pass(&peer, 999);
    peer_feed_frame(&peer, 0x89, "");       /* is no message */
    peer_expect(&peer, 0x8a, "");
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 1);
    peer_expect_close(&peer, 1001);
    ck_assert(!ws_conn_is_open(&peer.conn));
    peer_feed_close(&peer, 1001, "");
    ck_assert_str_eq(peer.log, "open failure(1001) close(1001) ");
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

/* What it has sent waits here. */
START_TEST(who_is_not_read_is_not_idle)
{
    begin((ws_guard_limits_t){.messages = {1, 1}, .idle_timeout = 500});
    feed_messages(3);
    peer_pass(&peer, 600);
    peer_pass(&peer, 400);
    ck_assert_int_eq(messages(), 2);
    peer_pass(&peer, 1000);
    ck_assert_int_eq(messages(), 3);
    ck_assert_int_eq(peer.failures, 0);
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 1000);
    peer_pass(&peer, 1000);
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 500);
    peer_pass(&peer, 500);
    peer_expect_close(&peer, 1001);
    peer_end(&peer);
}
END_TEST

/* A slow rate is no reason not to hear of its end for minutes. */
START_TEST(little_is_read_at_once_where_little_is_allowed)
{
    const ws_guard_limits_t slow = {.bytes = {1000, 1000}};
    const ws_guard_limits_t fast = {.bytes = {1 << 20, 1 << 20}};
    const ws_guard_limits_t some = {.messages = {10, 10}};
    const ws_guard_limits_t closes = {.bytes = {1000, 1000},
                                      .over_rate_closes = true};
    const ws_guard_limits_t idle = {.idle_timeout = 1000};

    ck_assert_uint_eq(ws_guard_read_size(&slow, 131072), 4096);
    ck_assert_uint_eq(ws_guard_read_size(&fast, 131072), 16384);
    ck_assert_uint_eq(ws_guard_read_size(&some, 131072), 16384);
    ck_assert_uint_eq(ws_guard_read_size(&closes, 131072), 131072);
    ck_assert_uint_eq(ws_guard_read_size(&idle, 131072), 131072);
    ck_assert_uint_eq(ws_guard_read_size(&slow, 100), 100);
}
END_TEST

START_TEST(messages_of_either_side_keep_it_open)
{
    begin((ws_guard_limits_t){.idle_timeout = 1000});
    peer_pass(&peer, 900);
    feed_messages(1);
    peer_pass(&peer, 900);
    peer_say(&peer, "hello");
    peer_end_turn();
    peer_pass(&peer, 900);
    ck_assert_int_eq(peer.failures, 0);
    peer_pass(&peer, 100);
    peer_expect(&peer, 0x81, "hello");
    peer_expect_close(&peer, 1001);
    peer_end(&peer);
}
END_TEST

START_TEST(old_connection_is_closed_with_jitter)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;
    int i;

    for (i = 0; i < 200; i++) {
        int64_t age;

        begin((ws_guard_limits_t){.max_age = 10000});
        peer_turn.random = (uint32_t)i * 2654435761u;
        peer_end(&peer);
        peer_start(&peer);
        age = ws_conn_deadline(&peer.conn) - peer_turn.now;
        least = age < least ? age : least;
        most = age > most ? age : most;
        feed_messages(1);
        peer_pass(&peer, age - 1);
        ck_assert_int_eq(peer.failures, 0);
        peer_pass(&peer, 1);
        peer_expect_close(&peer, 1008);
        peer_end(&peer);
    }
    ck_assert_int_ge(least, 9000);
    ck_assert_int_le(least, 9050);
    ck_assert_int_le(most, 10000);
    ck_assert_int_ge(most, 9950);
}
END_TEST

START_TEST(heartbeat_goes_on_beside_them)
{
    begin((ws_guard_limits_t){.idle_timeout = 60000, .max_age = 60000});
    peer_limits.ping_interval = 10000;
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 10000);
    peer_pass(&peer, 10000);
    peer_expect(&peer, 0x89, "");
    peer_pass(&peer, 5000);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    peer_end(&peer);
}
END_TEST

/* --- memory --- */

START_TEST(without_limits_there_is_no_guard)
{
    begin((ws_guard_limits_t){.over_rate_closes = true});
    ck_assert_ptr_null(peer.conn.guard);
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 0);
    peer_end(&peer);
}
END_TEST

START_TEST(guard_that_cannot_be_had_closes)
{
    peer_begin();
    peer_limits.guard.idle_timeout = 1;
    peer_init(&peer);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ws_conn_start(&peer.conn, NULL, 0);
    ck_assert(ws_test_alloc_unfail());
    peer_end_turn();
    peer_expect_close(&peer, 1011);
    ck_assert_str_eq(peer.log, "open failure(1011) close(1011) ");
    peer_end(&peer);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(burst_is_allowed_and_one_more_is_not),
        WS_TEST(rate_is_allowed_for_ever),
        WS_TEST(pause_does_not_save_up_more_than_the_burst),
        WS_TEST(control_frames_are_no_messages),
        WS_TEST(message_in_fragments_is_one),
        WS_TEST(who_is_too_fast_is_read_later),
        WS_TEST(pause_of_the_handler_stays_a_pause),
        WS_TEST(closing_ends_the_wait),
        WS_TEST(silence_while_it_waits_is_no_death),
        WS_TEST(bytes_over_the_burst_close),
        WS_TEST(bytes_over_the_burst_wait),
        WS_TEST(bytes_that_came_with_the_request_count),
        WS_TEST(extremes_are_reckoned_well),
        WS_TEST(idle_connection_is_closed),
        WS_TEST(who_is_not_read_is_not_idle),
        WS_TEST(little_is_read_at_once_where_little_is_allowed),
        WS_TEST(messages_of_either_side_keep_it_open),
        WS_TEST(old_connection_is_closed_with_jitter),
        WS_TEST(heartbeat_goes_on_beside_them),
        WS_TEST(without_limits_there_is_no_guard),
        WS_TEST(guard_that_cannot_be_had_closes),
    };

    return ws_test_run("conn guard", tests, WS_TEST_COUNT(tests));
}
