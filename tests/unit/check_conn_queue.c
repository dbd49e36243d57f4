/* ws_conn: what becomes of messages for a client that reads too slowly, and
 * the memory that they take. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"

static peer_t peer;
static peer_t second;
static ws_budget_t sending;

/* A client that takes `room` bytes and then no more. Each message of these
 * tests is a frame of 10 bytes. */
static void begin(ws_queue_policy_t policy, size_t limit, size_t room)
{
    peer_begin();
    atomic_store(&sending.used, 0);
    atomic_store(&sending.limit, 0);
    peer_turn.sending = &sending;
    peer_limits.send_queue = limit;
    peer_limits.queue_policy = policy;
    peer_start(&peer);
    peer.room = room;
}

static void end(void)
{
    peer_end(&peer);
    ck_assert_uint_eq(sending.used, 0);
}

static ws_send_result_t say(const char *text)
{
    ws_send_result_t result = peer_say(&peer, text);

    peer_end_turn();
    return result;
}

static ws_send_result_t say_topic(const char *text, uint32_t topic)
{
    ws_buf_t *buf =
        ws_buf_create_frame(&sending, WS_OP_TEXT, text, strlen(text));
    ws_send_result_t result = ws_conn_send_buf(&peer.conn, buf, topic);

    ws_buf_unref(buf);
    peer_end_turn();
    return result;
}

static void expect_rest(const char *const *texts)
{
    peer_writable(&peer, PEER_UNLIMITED);
    for (; *texts != NULL; texts++) {
        peer_expect(&peer, 0x81, *texts);
    }
    peer_expect_no_more(&peer);
    ck_assert_uint_eq(peer.conn.queued, 0);
}

#define REST(...) expect_rest((const char *const[]){__VA_ARGS__, NULL})

/* --- policies --- */

START_TEST(full_queue_closes)
{
    begin(WS_QUEUE_CLOSE, 20, 0);
    ck_assert_int_eq(say("aaaaaaaa"), WS_SEND_SENT);
    ck_assert_int_eq(say("bbbbbbbb"), WS_SEND_QUEUED);
    ck_assert_int_eq(say("cccccccc"), WS_SEND_CLOSED);
    ck_assert_str_eq(peer.log, "open failure(1013) close(1013) ");
    end();
}
END_TEST

START_TEST(newest_is_dropped)
{
    begin(WS_QUEUE_DROP_NEWEST, 20, 0);
    say("aaaaaaaa");
    ck_assert_int_eq(say("bbbbbbbb"), WS_SEND_QUEUED);
    ck_assert_int_eq(say("cccccccc"), WS_SEND_DROPPED);
    ck_assert_int_eq(say_topic("dddddddd", 1), WS_SEND_DROPPED);
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 2);
    REST("aaaaaaaa", "bbbbbbbb");
    ck_assert_int_eq(say("eeeeeeee"), WS_SEND_SENT);
    REST("eeeeeeee");
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 2);
    ck_assert_int_eq(peer.failures, 0);
    end();
}
END_TEST

START_TEST(oldest_is_dropped)
{
    begin(WS_QUEUE_DROP_OLDEST, 20, 0);
    say("aaaaaaaa");
    say("bbbbbbbb");
    ck_assert_int_eq(say("cccccccc"), WS_SEND_QUEUED);
    ck_assert_int_eq(say("dddddddd"), WS_SEND_QUEUED);
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 2);
    ck_assert_uint_eq(peer.conn.queued, 20);
    REST("cccccccc", "dddddddd");
    end();
}
END_TEST

/* Nothing may come into a frame of which a part is out. */
START_TEST(frame_that_is_cut_is_not_dropped)
{
    static const uint16_t pins[] = {0, 15};
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(pins); i++) {
        begin(WS_QUEUE_DROP_OLDEST, 30, 0);
        say_topic("aaaaaaaa", 1);
        say_topic("bbbbbbbb", 1);
        say_topic("cccccccc", 1);
        peer.pin = pins[i];
        peer_writable(&peer, 4);
        ck_assert_int_eq(say_topic("dddddddd", 1), WS_SEND_QUEUED);
        ck_assert_int_eq(say_topic("eeeeeeee", 1), WS_SEND_QUEUED);
        peer.pin = 0;
        ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 1);
        if (pins[i] == 0) {
            REST("aaaaaaaa", "cccccccc", "dddddddd", "eeeeeeee");
        }
        else {
            REST("aaaaaaaa", "bbbbbbbb", "dddddddd", "eeeeeeee");
        }
        end();
    }
}
END_TEST

START_TEST(many_small_ones_make_room_for_a_large_one)
{
    char large[61];

    memset(large, 'L', sizeof(large));
    large[60] = '\0';
    begin(WS_QUEUE_DROP_OLDEST, 20, 0);
    say_topic("aaaaaaaa", 0);
    say_topic("bbbbbbbb", 0);
    say_topic(large, 0);
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 1);
    say_topic("cccccccc", 0);
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 3);
    REST("cccccccc");
    end();
}
END_TEST

START_TEST(latest_of_a_topic_takes_the_place_of_those_before)
{
    begin(WS_QUEUE_LATEST, 1000, 0);
    say_topic("a1......", 1);
    say_topic("b1......", 2);
    say_topic("a2......", 1);
    say_topic("none....", 0);
    say_topic("a3......", 1);
    say_topic("b2......", 2);
    say_topic("none....", 0);
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 3);
    REST("none....", "a3......", "b2......", "none....");
    end();
}
END_TEST

/* A client that keeps up gets them all, also when many come in one turn. */
START_TEST(latest_drops_nothing_that_need_not_wait)
{
    ws_buf_t *buf;
    int i;

    begin(WS_QUEUE_LATEST, 1000, PEER_UNLIMITED);
    buf = ws_buf_create_frame(&sending, WS_OP_TEXT, "x", 1);
    for (i = 0; i < 10; i++) {
        ck_assert_int_eq(ws_conn_send_buf(&peer.conn, buf, 1), WS_SEND_SENT);
    }
    ws_buf_unref(buf);
    peer_end_turn();
    for (i = 0; i < 10; i++) {
        peer_expect(&peer, 0x81, "x");
    }
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 0);
    end();
}
END_TEST

START_TEST(latest_of_too_many_topics_drops_the_oldest)
{
    begin(WS_QUEUE_LATEST, 20, 0);
    say_topic("a1......", 1);
    say_topic("b1......", 2);
    say_topic("c1......", 3);
    ck_assert_uint_eq(ws_conn_dropped(&peer.conn), 1);
    REST("b1......", "c1......");
    end();
}
END_TEST

/* Pongs and the Close are no messages. */
START_TEST(control_frames_are_never_dropped)
{
    static const ws_queue_policy_t policies[] = {
        WS_QUEUE_DROP_OLDEST, WS_QUEUE_DROP_NEWEST, WS_QUEUE_LATEST};
    size_t i;
    int n;

    for (i = 0; i < WS_TEST_COUNT(policies); i++) {
        begin(policies[i], 20, 0);
        say_topic("aaaaaaaa", 1);
        say_topic("bbbbbbbb", 1);
        peer_feed_frame(&peer, 0x89, "ping");
        for (n = 0; n < 20; n++) {
            say_topic("cccccccc", 1);
        }
        ws_conn_close(&peer.conn, 1000, "", 0);
        peer_end_turn();
        peer_writable(&peer, PEER_UNLIMITED);
        peer_expect(&peer, 0x8a, "ping");
        while (peer.out[peer.out_at] == 0x81) {
            peer_sent(&peer);
        }
        peer_expect_close(&peer, 1000);
        peer_expect_no_more(&peer);
        end();
    }
}
END_TEST

/* Whatever is said and taken, in any order: what arrives is in order, whole,
 * and with what was dropped it is all. */
START_TEST(nothing_is_lost_that_is_not_counted)
{
    static const ws_queue_policy_t policies[] = {
        WS_QUEUE_DROP_OLDEST, WS_QUEUE_DROP_NEWEST, WS_QUEUE_LATEST};
    uint32_t seed = 1 + (uint32_t)_i;
    unsigned said = 0;
    unsigned seen = 0;
    unsigned latest[3] = {0};
    char text[20];
    int n;

    begin(policies[_i % 3], 64, 30);
    for (n = 0; n < 400; n++) {
        if (ws_test_random(&seed) % 3 == 0) {
            peer.pin = (uint16_t)(ws_test_random(&seed) % 20);
            peer_writable(&peer, ws_test_random(&seed) % 16);
            continue;
        }
        snprintf(text, sizeof(text), "%u.%u", said, said % 3);
        if (ws_test_random(&seed) % 2 == 0) {
            say_topic(text, 1 + said % 3);
        }
        else {
            say(text);
        }
        said++;
    }
    peer.pin = 0;
    peer_writable(&peer, PEER_UNLIMITED);
    while (peer.out_at < peer.out_length) {
        ws_test_frame_t frame = peer_sent(&peer);
        unsigned number;
        unsigned topic;

        snprintf(text, sizeof(text), "%.*s", (int)frame.length,
                 (const char *)frame.data);
        ck_assert_int_eq(sscanf(text, "%u.%u", &number, &topic), 2);
        ck_assert_uint_ge(number, latest[topic]);
        latest[topic] = number + 1;
        seen++;
    }
    ck_assert_uint_eq(seen + ws_conn_dropped(&peer.conn), said);
    ck_assert_uint_gt(ws_conn_dropped(&peer.conn), 0);
    ck_assert_uint_gt(seen, 20);
    ck_assert_int_eq(peer.failures, 0);
    end();
}
END_TEST

/* --- memory --- */

static int sheds;

static void shed_both(ws_turn_t *turn)
{
    (void)turn;
    sheds++;
    ws_conn_shed(&peer.conn);
    ws_conn_shed(&second.conn);
}

static void shed_none(ws_turn_t *turn)
{
    (void)turn;
    sheds++;
}

START_TEST(what_waits_is_charged_once)
{
    ws_buf_t *buf;
    size_t one;
    int i;

    begin(WS_QUEUE_CLOSE, 100000, 0);
    peer_start(&second);
    second.room = 0;
    buf = ws_buf_create_frame(&sending, WS_OP_TEXT, "0123456789", 10);
    one = sending.used;
    ck_assert_uint_ge(one, 12);
    ck_assert_uint_le(one, 12 + 64);
    for (i = 0; i < 10; i++) {
        ws_conn_send_buf(&peer.conn, buf, 0);
        ws_conn_send_buf(&second.conn, buf, 0);
    }
    peer_end_turn();
    ws_buf_unref(buf);
    ck_assert_uint_ge(sending.used, one + 20 * sizeof(void *));
    ck_assert_uint_le(sending.used, one + 20 * 64);
    peer_writable(&second, PEER_UNLIMITED);
    ck_assert_uint_ge(sending.used, one);
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_uint_eq(sending.used, 0);
    peer_end(&second);
    end();
}
END_TEST

START_TEST(over_the_budget_connections_are_shed)
{
    begin(WS_QUEUE_DROP_OLDEST, 100000, 0);
    peer_turn.shed = shed_both;
    peer_start(&second);
    second.room = 0;
    sheds = 0;
    atomic_store(&sending.limit, 400);
    peer_say(&second, "0123456789");
    peer_end_turn();
    while (say("aaaaaaaa") != WS_SEND_CLOSED) {
        ck_assert_uint_lt(peer.conn.queued, 400);
    }
    ck_assert_int_eq(sheds, 1);
    ck_assert_uint_lt(sending.used, 200);   /* the Closes, what was gathered */
    ck_assert_str_eq(peer.log, "open failure(1013) close(1013) ");
    ck_assert_str_eq(second.log, "open failure(1013) close(1013) ");
    peer_writable(&peer, PEER_UNLIMITED);
    peer_expect_close(&peer, 1013);
    peer_end(&second);
    end();
}
END_TEST

/* One whose Close is out already has nothing more to win. */
START_TEST(closing_connection_is_dropped_at_once)
{
    begin(WS_QUEUE_CLOSE, 100000, 0);
    say("aaaaaaaa");
    say("bbbbbbbb");
    ws_conn_close(&peer.conn, 1000, "", 0);
    peer_end_turn();
    ws_conn_shed(&peer.conn);
    peer_end_turn();
    ck_assert(ws_conn_is_done(&peer.conn));
    ck_assert_uint_eq(sending.used, 0);
    ck_assert_str_eq(peer.log, "open close(1000) ");
    end();
}
END_TEST

/* Nobody is shed for what a client that keeps up is sent, nor for control
 * frames. */
START_TEST(who_keeps_up_sheds_nobody)
{
    int i;

    begin(WS_QUEUE_CLOSE, 100000, PEER_UNLIMITED);
    peer_turn.shed = shed_none;
    sheds = 0;
    atomic_store(&sending.limit, 1);
    for (i = 0; i < 10; i++) {
        ck_assert_int_eq(say_topic("aaaaaaaa", 1), WS_SEND_SENT);
        peer_feed_frame(&peer, 0x89, "");
    }
    ck_assert_int_eq(sheds, 0);
    peer.room = 0;
    ck_assert_int_eq(say("aaaaaaaa"), WS_SEND_SENT);
    ck_assert_int_eq(say("bbbbbbbb"), WS_SEND_QUEUED);
    ck_assert_int_eq(sheds, 1);
    peer_feed_frame(&peer, 0x89, "");
    ck_assert_int_eq(sheds, 1);
    end();
}
END_TEST

START_TEST(no_limit_is_no_limit)
{
    int i;

    begin(WS_QUEUE_CLOSE, 100000, 0);
    peer_turn.shed = shed_none;
    sheds = 0;
    for (i = 0; i < 1000; i++) {
        say("aaaaaaaa");
    }
    ck_assert_int_eq(sheds, 0);
    ck_assert_int_eq(peer.failures, 0);
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(full_queue_closes),
        WS_TEST(newest_is_dropped),
        WS_TEST(oldest_is_dropped),
        WS_TEST(frame_that_is_cut_is_not_dropped),
        WS_TEST(many_small_ones_make_room_for_a_large_one),
        WS_TEST(latest_of_a_topic_takes_the_place_of_those_before),
        WS_TEST(latest_drops_nothing_that_need_not_wait),
        WS_TEST(latest_of_too_many_topics_drops_the_oldest),
        WS_TEST(control_frames_are_never_dropped),
        WS_TEST_LOOP(nothing_is_lost_that_is_not_counted, 30),
        WS_TEST(what_waits_is_charged_once),
        WS_TEST(over_the_budget_connections_are_shed),
        WS_TEST(closing_connection_is_dropped_at_once),
        WS_TEST(who_keeps_up_sheds_nobody),
        WS_TEST(no_limit_is_no_limit),
    };

    return ws_test_run("conn queue", tests, WS_TEST_COUNT(tests));
}
