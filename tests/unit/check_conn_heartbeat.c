/* ws_conn, its heartbeat: pings, and who does not answer. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_peer.h"

static peer_t peer;

static void begin(void)
{
    peer_begin();
    peer_start(&peer);
}

START_TEST(silence_is_asked_then_dropped)
{
    begin();
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 10000);
    peer_pass(&peer, 9999);
    peer_expect_no_more(&peer);
    peer_pass(&peer, 1);
    peer_expect(&peer, 0x89, "");
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 5000);
    peer_pass(&peer, 4999);
    ck_assert_str_eq(peer.log, "open ");
    peer_pass(&peer, 1);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

START_TEST(any_byte_is_a_sign_of_life)
{
    const ws_test_bytes_t byte = {(uint8_t *)(uintptr_t) "\x81", 1, 1};

    begin();
    peer_pass(&peer, 9000);
    peer_feed(&peer, &byte);
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 10000);
    peer_pass(&peer, 9999);
    peer_expect_no_more(&peer);
    peer_end(&peer);

    begin();
    peer_pass(&peer, 10000);
    peer_expect(&peer, 0x89, "");
    peer_pass(&peer, 4000);
    peer_feed_frame(&peer, 0x8a, "");
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 10000);
    peer_pass(&peer, 5000);
    ck_assert_str_eq(peer.log, "open ");
    peer_pass(&peer, 5000);
    peer_expect(&peer, 0x89, "");
    peer_end(&peer);
}
END_TEST

START_TEST(no_interval_means_no_heartbeat)
{
    begin();
    peer_limits.ping_interval = 0;
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), 0);
    peer_pass(&peer, 100000000);
    ck_assert_str_eq(peer.log, "open ");
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

/* "Times in ms, 0: none" */
START_TEST(no_timeout_means_that_silence_is_borne)
{
    begin();
    peer_limits.ping_timeout = 0;
    peer_pass(&peer, 10000);
    peer_expect(&peer, 0x89, "");
    peer_pass(&peer, 0);
    peer_pass(&peer, 1000);
    ck_assert_str_eq(peer.log, "open ");
    peer_end(&peer);
}
END_TEST

/* It cannot be heard. */
START_TEST(paused_connection_is_taken_to_be_alive)
{
    int i;

    begin();
    ws_conn_pause(&peer.conn);
    for (i = 0; i < 10; i++) {
        peer_pass(&peer, 10000);
    }
    ck_assert_str_eq(peer.log, "open ");
    peer_expect_no_more(&peer);
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 10000);
    peer_pass(&peer, 10000);
    peer_expect(&peer, 0x89, "");
    peer_pass(&peer, 1000);
    ws_conn_pause(&peer.conn);              /* with a ping on its way */
    peer_pass(&peer, 4000);
    ck_assert_str_eq(peer.log, "open ");
    peer_end(&peer);
}
END_TEST

START_TEST(paused_connection_that_takes_nothing_is_dropped)
{
    peer_queue_three(&peer, 0, 0);
    ws_conn_pause(&peer.conn);
    peer_pass(&peer, 10000);
    ck_assert_str_eq(peer.log, "open ");
    peer_pass(&peer, 5000);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    peer_end(&peer);
}
END_TEST

START_TEST(room_that_the_peer_makes_is_a_sign_of_life)
{
    int i;

    peer_queue_three(&peer, 0, 0);
    ws_conn_pause(&peer.conn);
    for (i = 0; i < 20; i++) {
        peer_pass(&peer, 9000);
        peer_writable(&peer, 1);
    }
    ck_assert_str_eq(peer.log, "open ");
    peer_pass(&peer, 10000);
    peer_writable(&peer, 1);
    peer_pass(&peer, 5000);
    ck_assert_str_eq(peer.log, "open ");
    peer_end(&peer);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(silence_is_asked_then_dropped),
        WS_TEST(any_byte_is_a_sign_of_life),
        WS_TEST(no_interval_means_no_heartbeat),
        WS_TEST(no_timeout_means_that_silence_is_borne),
        WS_TEST(paused_connection_is_taken_to_be_alive),
        WS_TEST(paused_connection_that_takes_nothing_is_dropped),
        WS_TEST(room_that_the_peer_makes_is_a_sign_of_life),
    };

    return ws_test_run("conn heartbeat", tests, WS_TEST_COUNT(tests));
}
