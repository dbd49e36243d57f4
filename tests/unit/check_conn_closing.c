/* ws_conn, its end: the closing handshake, and all other ways to end. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_peer.h"

static peer_t peer;

static void begin(void)
{
    peer_begin();
    peer_start(&peer);
}

/* --- the closing handshake --- */

START_TEST(close_of_the_client_is_answered)
{
    begin();
    peer_feed_close(&peer, 1000, "bye");
    ck_assert_str_eq(peer.log, "open close(1000,bye) ");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.shutdowns, 1);
    ck_assert(!ws_conn_is_done(&peer.conn));
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    peer_feed_status(&peer, WS_EOF);
    ck_assert(ws_conn_is_done(&peer.conn));
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), 0);
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), 0);
    ck_assert_int_eq(peer.shutdowns, 1);
    ck_assert_str_eq(peer.log, "open close(1000,bye) ");
    peer_end(&peer);
}
END_TEST

START_TEST(close_of_the_server_waits_for_the_answer)
{
    begin();
    ws_conn_close(&peer.conn, 1001, "going", 5);
    ws_conn_close(&peer.conn, 1000, "again", 5);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open ");
    ck_assert(!ws_conn_is_open(&peer.conn));
    peer_expect(&peer, 0x88, "\x03\xe9going");
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.shutdowns, 0);
    peer_feed_close(&peer, 1001, "ok");
    ck_assert_str_eq(peer.log, "open close(1001,ok) ");
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_expect_no_more(&peer);
    peer_feed_status(&peer, WS_EOF);
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

/* The code is the first one's; the reason the peer's. */
START_TEST(close_that_crosses_keeps_the_first_code)
{
    begin();
    ws_conn_close(&peer.conn, 4001, "", 0);
    peer_end_turn();
    peer_feed_close(&peer, 1000, "mine");
    ck_assert_str_eq(peer.log, "open close(4001,mine) ");
    peer_end(&peer);
}
END_TEST

START_TEST(messages_and_pings_after_our_close_are_passed_over)
{
    begin();
    ws_conn_close(&peer.conn, 1000, "", 0);
    peer_end_turn();
    peer_feed_frame(&peer, 0x81, "late");
    peer_feed_frame(&peer, 0x89, "ping");
    ck_assert_int_eq(peer_say(&peer, "too late"), WS_SEND_CLOSED);
    peer_feed_close(&peer, 1000, "");
    ck_assert_str_eq(peer.log, "open close(1000) ");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

START_TEST(close_without_a_code_is_1005)
{
    begin();
    peer_feed_frame(&peer, 0x88, "");
    ck_assert_str_eq(peer.log, "open close(1005) ");
    peer_expect(&peer, 0x88, "");
    peer_expect_no_more(&peer);
    peer_end(&peer);

    begin();
    ws_conn_close(&peer.conn, 1005, "ignored", 7);
    peer_end_turn();
    peer_expect(&peer, 0x88, "");
    peer_feed_frame(&peer, 0x88, "");
    ck_assert_str_eq(peer.log, "open close(1005) ");
    peer_end(&peer);
}
END_TEST

START_TEST(longest_reason_passes_both_ways)
{
    char reason[124];

    memset(reason, 'r', 123);
    reason[123] = '\0';
    begin();
    ws_conn_close(&peer.conn, 3000, reason, 123);
    peer_end_turn();
    ck_assert_uint_eq(peer.out_length, 127);
    peer_feed_close(&peer, 3000, reason);
    ck_assert_ptr_nonnull(strstr(peer.log, reason));
    peer_end(&peer);
}
END_TEST

START_TEST(invalid_close_frames_fail)
{
    static const struct {
        const char *payload;
        size_t length;
        unsigned code;
    } cases[] = {
        {"\x03", 1, 1002},           {"\x00\x00", 2, 1002},
        {"\x03\xe7", 2, 1002},       {"\x03\xec", 2, 1002},
        {"\x03\xed", 2, 1002},       {"\x03\xee", 2, 1002},
        {"\x03\xf7", 2, 1002},       {"\x03\xf8", 2, 1002},
        {"\x0b\xb7", 2, 1002},       {"\x13\x88", 2, 1002},
        {"\xff\xff", 2, 1002},       {"\x03\xe8\xff", 3, 1007},
        {"\x03\xe8ok\xc3", 5, 1007}, {"\x03\xe8\xed\xa0\x80", 5, 1007},
    };
    ws_test_bytes_t input = {0};
    char expected[64];

    ws_test_add_frame(&input, 0x88, cases[_i].payload, cases[_i].length);
    begin();
    peer_feed(&peer, &input);
    snprintf(expected, sizeof(expected), "open failure(%u) close(%u) ",
             cases[_i].code, cases[_i].code);
    ck_assert_str_eq(peer.log, expected);
    peer_expect_close(&peer, cases[_i].code);
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_end(&peer);

    /* as an answer to our own: no second Close goes out */
    begin();
    ws_conn_close(&peer.conn, 1000, "", 0);
    peer_end_turn();
    peer_feed(&peer, &input);
    snprintf(expected, sizeof(expected), "open failure(%u) close(1000) ",
             cases[_i].code);
    ck_assert_str_eq(peer.log, expected);
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(data_after_a_close_is_thrown_away)
{
    ws_test_bytes_t input = {0};

    begin();
    ws_test_add_close(&input, 1000, "");
    ws_test_add_text(&input, 0x81, "behind");
    ws_test_add_text(&input, 0xff, "garbage");
    peer_feed(&peer, &input);
    peer_feed_frame(&peer, 0x81, "later");
    peer_feed_close(&peer, 1001, "again");
    ck_assert_str_eq(peer.log, "open close(1000) ");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

/* What waited goes out first, then the Close, then FIN. */
START_TEST(close_goes_out_behind_what_waits)
{
    peer_queue_three(&peer, 4, 0);
    peer_feed_close(&peer, 1000, "");
    ck_assert_int_eq(peer.shutdowns, 0);
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ | WS_WANT_WRITE);
    peer_writable(&peer, 20);
    ck_assert_int_eq(peer.shutdowns, 0);
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_expect(&peer, 0x81, "first....");
    peer_expect(&peer, 0x81, "second...");
    peer_expect(&peer, 0x81, "third....");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    ck_assert_str_eq(peer.log, "open close(1000) ");
    peer_end(&peer);
}
END_TEST

/* --- close inside callbacks --- */

static void close_here(peer_t *p)
{
    ws_conn_close(&p->conn, 4001, "here", 4);
}

static void close_in_message(peer_t *p, uint8_t opcode, uint8_t *data,
                             size_t length)
{
    ws_conn_send(&p->conn, opcode, data, length);
    close_here(p);
    ck_assert_int_eq(ws_conn_send(&p->conn, opcode, data, length),
                     WS_SEND_CLOSED);
}

START_TEST(close_inside_open)
{
    ws_test_bytes_t input = {0};

    peer_begin();
    peer_init(&peer);
    peer.do_open = close_here;
    ws_test_add_text(&input, 0x81, "early");
    ws_conn_start(&peer.conn, input.data, input.length);
    peer_end_turn();
    peer_expect(&peer, 0x88, "\x0f\xa1here");
    ck_assert_str_eq(peer.log, "open ");
    peer_feed_close(&peer, 4001, "");
    ck_assert_str_eq(peer.log, "open close(4001) ");
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(close_inside_message_ends_the_messages)
{
    ws_test_bytes_t input = {0};

    begin();
    peer.do_message = close_in_message;
    ws_test_add_text(&input, 0x81, "one");
    ws_test_add_text(&input, 0x81, "two");
    ws_test_add_close(&input, 1000, "crossed");
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text(one) close(4001,crossed) ");
    peer_expect(&peer, 0x81, "one");
    peer_expect(&peer, 0x88, "\x0f\xa1here");
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.writes, 1);
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(close_inside_drained)
{
    peer_queue_three(&peer, 0, 0);
    peer_say(&peer, "x");
    peer.do_drained = close_here;
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_int_eq(peer.drains, 1);
    peer_feed_close(&peer, 4001, "");
    ck_assert_str_eq(peer.log, "open drained close(4001) ");
    peer_end(&peer);
}
END_TEST

static void try_everything(peer_t *p)
{
    ws_conn_close(&p->conn, 4001, "here", 4);
    ws_conn_fail(&p->conn, 1011, "here");
    ws_conn_pause(&p->conn);
    ws_conn_resume(&p->conn);
    ck_assert_int_eq(ws_conn_send(&p->conn, WS_OP_TEXT, "x", 1),
                     WS_SEND_CLOSED);
}

START_TEST(calls_inside_close_change_nothing)
{
    begin();
    peer.do_close = try_everything;
    peer_feed_close(&peer, 1000, "");
    ck_assert_str_eq(peer.log, "open close(1000) ");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    peer_end(&peer);

    begin();
    peer.do_close = try_everything;
    peer_feed_status(&peer, WS_EOF);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

/* --- time limits of the closing --- */

START_TEST(close_without_an_answer_ends_in_time)
{
    begin();
    ws_conn_close(&peer.conn, 1001, "", 0);
    peer_end_turn();
    ck_assert_int_eq(ws_conn_deadline(&peer.conn), peer_turn.now + 3000);
    peer_pass(&peer, 2000);
    peer_feed_frame(&peer, 0x89, "alive, but that does not count");
    peer_pass(&peer, 999);
    ck_assert_str_eq(peer.log, "open ");
    peer_pass(&peer, 1);
    ck_assert_str_eq(peer.log, "open close(1001) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

START_TEST(close_that_cannot_be_sent_ends_in_time)
{
    peer_queue_three(&peer, 5, 0);
    peer_feed_close(&peer, 1000, "");
    peer_pass(&peer, 2999);
    ck_assert(!ws_conn_is_done(&peer.conn));
    peer_pass(&peer, 1);
    ck_assert(ws_conn_is_done(&peer.conn));
    ck_assert_str_eq(peer.log, "open close(1000) ");
    ck_assert_int_eq(peer.shutdowns, 0);
    peer_end(&peer);
}
END_TEST

START_TEST(peer_that_does_not_hang_up_ends_in_time)
{
    begin();
    peer_feed_close(&peer, 1000, "");
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_pass(&peer, 1500);
    peer_feed_frame(&peer, 0x81, "talks on");
    peer_pass(&peer, 1500);
    ck_assert(ws_conn_is_done(&peer.conn));
    ck_assert_str_eq(peer.log, "open close(1000) ");
    peer_end(&peer);
}
END_TEST

/* --- the end of the connection --- */

START_TEST(end_while_open_is_1006)
{
    begin();
    peer_feed_status(&peer, _i == 0 ? WS_EOF : WS_EIO);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    ck_assert_int_eq(peer.shutdowns, 0);
    ck_assert_int_eq(peer_say(&peer, "x"), WS_SEND_CLOSED);
    ws_conn_readable(&peer.conn);
    ws_conn_writable(&peer.conn);
    ws_conn_hangup(&peer.conn);
    peer_pass(&peer, 1000000);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    peer_end(&peer);
}
END_TEST

START_TEST(end_while_closing_keeps_our_code)
{
    begin();
    ws_conn_close(&peer.conn, 1001, "", 0);
    peer_end_turn();
    peer_feed_status(&peer, _i == 0 ? WS_EOF : WS_EIO);
    ck_assert_str_eq(peer.log, "open close(1001) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

START_TEST(end_while_flushing_is_the_end)
{
    peer_queue_three(&peer, 3, 0);
    peer_feed_close(&peer, 1000, "");
    peer_feed_status(&peer, _i == 0 ? WS_EOF : WS_EIO);
    ck_assert_str_eq(peer.log, "open close(1000) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

START_TEST(hangup_in_any_state_is_the_end)
{
    static const char *const logs[] = {"open failure(1006) close(1006) ",
                                       "open close(1001) ", "open close(1000) ",
                                       "open close(1000) "};

    if (_i == 2) {
        peer_queue_three(&peer, 3, 0);
    }
    else {
        begin();
    }
    if (_i == 1) {
        ws_conn_close(&peer.conn, 1001, "", 0);
        peer_end_turn();
    }
    if (_i >= 2) {
        peer_feed_close(&peer, 1000, "");
    }
    ws_conn_hangup(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, logs[_i]);
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

START_TEST(write_error_drops)
{
    begin();
    peer.write_fails = true;
    peer_say(&peer, "x");
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

START_TEST(write_error_inside_a_callback_drops_after_it)
{
    ws_test_bytes_t input = {0};
    char large[4000];

    begin();
    peer.do_message = peer_echo;
    peer.write_fails = true;
    memset(large, 'l', sizeof(large));
    ws_test_add_frame(&input, 0x81, large, 3900);
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text[3900] failure(1006) close(1006) ");
    peer_end(&peer);

    begin();
    peer.do_message = peer_echo;
    peer.write_fails = true;
    input.length = 0;
    ws_test_add_text(&input, 0x81, "one");
    ws_test_add_text(&input, 0x81, "two");
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log,
                     "open text(one) text(two) failure(1006) close(1006) ");
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(write_error_with_a_queue_drops)
{
    peer_queue_three(&peer, 3, 0);
    peer.write_fails = true;
    ws_conn_writable(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    ck_assert_uint_eq(peer.conn.queued, 0);
    peer_end(&peer);
}
END_TEST

START_TEST(write_error_of_the_close_is_told_once)
{
    begin();
    peer.write_fails = true;
    ws_conn_close(&peer.conn, 1001, "", 0);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open close(1001) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
}
END_TEST

START_TEST(reading_that_wants_to_write_goes_on_when_writable)
{
    ws_test_bytes_t input = {0};

    begin();
    peer_script(&peer, (peer_read_t){.status = WS_AGAIN, .wants_write = true});
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ | WS_WANT_WRITE);
    ws_test_add_text(&input, 0x81, "after");
    peer_script(&peer,
                (peer_read_t){.data = input.data, .length = input.length});
    ws_conn_writable(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(after) ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(failure_by_the_owner_sends_its_code)
{
    begin();
    ws_conn_fail(&peer.conn, 1011, "the owner's reason");
    ws_conn_fail(&peer.conn, 1002, "too late");
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open failure(1011) close(1011) ");
    peer_expect(&peer, 0x88, "\x03\xf3the owner's reason");
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(close_of_the_client_is_answered),
        WS_TEST(close_of_the_server_waits_for_the_answer),
        WS_TEST(close_that_crosses_keeps_the_first_code),
        WS_TEST(messages_and_pings_after_our_close_are_passed_over),
        WS_TEST(close_without_a_code_is_1005),
        WS_TEST(longest_reason_passes_both_ways),
        WS_TEST_LOOP(invalid_close_frames_fail, 14),
        WS_TEST(data_after_a_close_is_thrown_away),
        WS_TEST(close_goes_out_behind_what_waits),
        WS_TEST(close_inside_open),
        WS_TEST(close_inside_message_ends_the_messages),
        WS_TEST(close_inside_drained),
        WS_TEST(calls_inside_close_change_nothing),
        WS_TEST(close_without_an_answer_ends_in_time),
        WS_TEST(close_that_cannot_be_sent_ends_in_time),
        WS_TEST(peer_that_does_not_hang_up_ends_in_time),
        WS_TEST_LOOP(end_while_open_is_1006, 2),
        WS_TEST_LOOP(end_while_closing_keeps_our_code, 2),
        WS_TEST_LOOP(end_while_flushing_is_the_end, 2),
        WS_TEST_LOOP(hangup_in_any_state_is_the_end, 4),
        WS_TEST(write_error_drops),
        WS_TEST(write_error_inside_a_callback_drops_after_it),
        WS_TEST(write_error_with_a_queue_drops),
        WS_TEST(write_error_of_the_close_is_told_once),
        WS_TEST(reading_that_wants_to_write_goes_on_when_writable),
        WS_TEST(failure_by_the_owner_sends_its_code),
    };

    return ws_test_run("conn closing", tests, WS_TEST_COUNT(tests));
}
