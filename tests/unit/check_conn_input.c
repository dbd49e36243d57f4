/* ws_conn, its input: messages, violations, pause and resume. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_peer.h"

static peer_t peer;

static void begin(void)
{
    peer_begin();
    peer_start(&peer);
}

/* --- messages --- */

START_TEST(open_comes_first_and_echo_follows)
{
    begin();
    ck_assert_str_eq(peer.log, "open ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    peer.do_message = peer_echo;
    peer_feed_frame(&peer, 0x81, "hello");
    peer_feed_frame(&peer, 0x82, "bytes");
    peer_feed_frame(&peer, 0x81, "");
    ck_assert_str_eq(peer.log, "open text(hello) binary(bytes) text() ");
    peer_expect(&peer, 0x81, "hello");
    peer_expect(&peer, 0x82, "bytes");
    peer_expect(&peer, 0x81, "");
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

START_TEST(answers_to_one_read_are_one_write)
{
    ws_test_bytes_t input = {0};
    char text[16];
    int i;

    begin();
    peer.do_message = peer_echo;
    for (i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "message %d", i);
        ws_test_add_text(&input, i % 5 == 4 ? 0x89 : 0x81, text);
    }
    peer_feed(&peer, &input);
    ck_assert_int_eq(peer.writes, 1);
    for (i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "message %d", i);
        peer_expect(&peer, i % 5 == 4 ? 0x8a : 0x81, text);
    }
    peer_expect_no_more(&peer);
    ws_test_free(&input);
    peer_end(&peer);
}
END_TEST

START_TEST(input_that_is_cut_anywhere_gives_the_same)
{
    ws_test_bytes_t input = {0};
    size_t cut;
    size_t i;

    ws_test_add_text(&input, 0x01, "Hel");
    ws_test_add_text(&input, 0x89, "ping");
    ws_test_add_text(&input, 0x80, "lo");
    ws_test_add_text(&input, 0x81, "two");
    ws_test_add_close(&input, 1000, "bye");
    for (cut = 1; cut <= input.length; cut++) {
        begin();
        peer.do_message = peer_echo;
        for (i = 0; i < input.length; i += cut) {
            size_t length = input.length - i < cut ? input.length - i : cut;

            peer_script(&peer, (peer_read_t){.data = input.data + i,
                                             .length = length});
            ws_conn_readable(&peer.conn);
            peer_end_turn();
            if (cut == 1 && peer.read_at == peer.read_count) {
                peer.read_at = peer.read_count = 0;
            }
        }
        ck_assert_str_eq(peer.log,
                         "open text(Hello) text(two) close(1000,bye) ");
        peer_expect(&peer, 0x8a, "ping");
        peer_expect(&peer, 0x81, "Hello");
        peer_expect(&peer, 0x81, "two");
        peer_expect_close(&peer, 1000);
        peer_end(&peer);
    }
    ws_test_free(&input);
}
END_TEST

/* The cork holds 2 KiB: it overflows, and what is larger goes past it. */
START_TEST(output_over_the_cork_stays_in_order)
{
    static char texts[5][6000];
    static const size_t lengths[] = {1500, 1500, 5999, 3, 2044};
    ws_test_bytes_t input = {0};
    size_t i;

    begin();
    peer.do_message = peer_echo;
    for (i = 0; i < 5; i++) {
        memset(texts[i], 'a' + (int)i, lengths[i]);
        texts[i][lengths[i]] = '\0';
        ws_test_add_text(&input, 0x81, texts[i]);
    }
    peer_feed(&peer, &input);
    for (i = 0; i < 5; i++) {
        peer_expect(&peer, 0x81, texts[i]);
    }
    peer_expect_no_more(&peer);
    ws_test_free(&input);
    peer_end(&peer);
}
END_TEST

START_TEST(early_data_comes_after_open)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t rest;

    ws_test_add_text(&input, 0x81, "early");
    ws_test_add_text(&input, 0x81, "cut here");
    peer_begin();
    peer_init(&peer);
    peer.do_message = peer_echo;
    ws_conn_start(&peer.conn, input.data, input.length - 4);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(early) ");
    ck_assert_int_eq(peer.writes, 1);
    rest = (ws_test_bytes_t){input.data + input.length - 4, 4, 4};
    peer_feed(&peer, &rest);
    ck_assert_str_eq(peer.log, "open text(early) text(cut here) ");
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(early_data_waits_for_who_pauses_in_open)
{
    ws_test_bytes_t input = {0};

    ws_test_add_text(&input, 0x81, "early");
    peer_begin();
    peer_init(&peer);
    ws_conn_pause(&peer.conn);
    ws_conn_start(&peer.conn, input.data, input.length);
    ws_test_free(&input);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open ");
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(early) ");
    peer_end(&peer);
}
END_TEST

/* Over TLS more may wait inside of OpenSSL when the connection starts. */
START_TEST(start_over_tls_reads_without_an_event)
{
    ws_test_bytes_t input = {0};

    ws_test_add_text(&input, 0x81, "inside");
    peer_begin();
    peer_init(&peer);
    peer.conn.io.ssl = (SSL *)&peer;        /* never used, but not NULL */
    peer_script(&peer,
                (peer_read_t){.data = input.data, .length = input.length});
    ws_conn_start(&peer.conn, NULL, 0);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(inside) ");
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(bytes_that_wait_inside_of_tls_are_read_in_the_same_turn)
{
    ws_test_bytes_t input = {0};
    size_t half;

    begin();
    ws_test_add_text(&input, 0x81, "one");
    half = input.length;
    ws_test_add_text(&input, 0x81, "two");
    peer_script(&peer, (peer_read_t){.data = input.data,
                                     .length = half,
                                     .more = true});
    peer_script(&peer, (peer_read_t){.data = input.data + half,
                                     .length = input.length - half});
    ws_conn_readable(&peer.conn);
    ck_assert_str_eq(peer.log, "open text(one) ");
    ck_assert_ptr_eq(peer_turn.pending, &peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(one) text(two) ");
    ck_assert(!peer.conn.is_pending);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

/* --- what a client must not do --- */

START_TEST(violation_is_answered_with_its_code)
{
    static const struct {
        uint8_t first;
        const char *payload;
        unsigned code;
    } cases[] = {
        {0xc1, "rsv1", 1002},      {0xa1, "rsv2", 1002},
        {0x91, "rsv3", 1002},      {0x83, "opcode 3", 1002},
        {0x8b, "opcode 11", 1002}, {0x09, "cut ping", 1002},
        {0x80, "no start", 1002},  {0x81, "\xff", 1007},
        {0x81, "\xc3", 1007},
    };
    ws_test_bytes_t input = {0};
    char expected[80];

    begin();
    peer.do_message = peer_echo;
    ws_test_add_text(&input, 0x81, "good");
    ws_test_add_text(&input, cases[_i].first, cases[_i].payload);
    ws_test_add_text(&input, 0x81, "behind");
    peer_feed(&peer, &input);
    snprintf(expected, sizeof(expected),
             "open text(good) failure(%u) close(%u) ", cases[_i].code,
             cases[_i].code);
    ck_assert_str_eq(peer.log, expected);
    peer_expect(&peer, 0x81, "good");
    peer_expect_close(&peer, cases[_i].code);
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.writes, 1);
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_feed_status(&peer, WS_EOF);
    ck_assert(ws_conn_is_done(&peer.conn));
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(message_over_the_limit_is_1009_at_its_head)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    ws_test_bytes_t input = {0};

    begin();
    ws_test_add_head(&input, 0x82, peer_limits.max_message + 1, key);
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open failure(1009) close(1009) ");
    peer_expect_close(&peer, 1009);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(unmasked_frame_is_1002)
{
    const ws_test_bytes_t input = {(uint8_t *)(uintptr_t) "\x81\x05hello", 7,
                                   7};

    begin();
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open failure(1002) close(1002) ");
    peer_expect_close(&peer, 1002);
    peer_end(&peer);
}
END_TEST

START_TEST(violation_while_closing_ends_it_without_a_second_close)
{
    begin();
    ws_conn_close(&peer.conn, 1000, "", 0);
    peer_end_turn();
    peer_feed_frame(&peer, 0xf3, "");
    ck_assert_str_eq(peer.log, "open failure(1002) close(1000) ");
    peer_expect_close(&peer, 1000);
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.shutdowns, 1);
    peer_end(&peer);
}
END_TEST

/* --- pause and resume --- */

START_TEST(pause_inside_the_input_keeps_the_rest)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t rest;

    begin();
    peer.do_message = peer_pause_at_stop;
    ws_test_add_text(&input, 0x81, "one");
    ws_test_add_text(&input, 0x81, "stop");
    ws_test_add_text(&input, 0x81, "two");
    ws_test_add_text(&input, 0x81, "stop");
    ws_test_add_text(&input, 0x81, "three");
    ws_test_add_text(&input, 0x81, "a message that is cut");
    input.length -= 5;
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text(one) text(stop) ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), 0);
    ws_conn_readable(&peer.conn);           /* told in vain */
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(one) text(stop) ");
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log,
                     "open text(one) text(stop) text(two) text(stop) ");
    ws_conn_resume(&peer.conn);
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(one) text(stop) text(two) "
                               "text(stop) text(three) ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    rest = (ws_test_bytes_t){input.data + input.length, 5, 5};
    peer_feed(&peer, &rest);
    ck_assert_str_eq(peer.log, "open text(one) text(stop) text(two) text(stop) "
                               "text(three) text(a message that is cut) ");
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

/* More comes before the rest had its turn: a hang-up, or an event for what
 * was resumed by another connection's callback. */
START_TEST(input_before_the_rest_had_its_turn_keeps_the_order)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t more = {0};

    begin();
    peer.do_message = peer_pause_at_stop;
    ws_test_add_text(&input, 0x81, "stop");
    ws_test_add_text(&input, 0x81, "one");
    ws_test_add_text(&input, 0x81, "two");
    ws_test_add_text(&more, 0x81, "three");
    peer_feed(&peer, &input);
    peer_script(&peer, (peer_read_t){.data = more.data, .length = more.length});
    ws_conn_resume(&peer.conn);
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log,
                     "open text(stop) text(one) text(two) text(three) ");
    peer_end(&peer);
    ws_test_free(&input);
    ws_test_free(&more);
}
END_TEST

static void resume_here(peer_t *p)
{
    ws_conn_resume(&p->conn);
}

/* The usual way to hold a fast client: pause while the queue is full, resume
 * when it is drained. Over TLS the write that was cut leaves read_wants_write
 * behind. */
START_TEST(resume_in_drained_keeps_the_order_when_reading_wants_to_write)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t more = {0};

    begin();
    peer.do_message = peer_pause_at_stop;
    peer.do_drained = resume_here;
    peer.room = 0;
    peer_say(&peer, "x");
    peer_end_turn();
    ck_assert_int_eq(peer_say(&peer, "y"), WS_SEND_QUEUED);
    ws_test_add_text(&input, 0x81, "stop");
    ws_test_add_text(&input, 0x81, "one");
    ws_test_add_text(&more, 0x81, "two");
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text(stop) ");
    peer_script(&peer, (peer_read_t){.data = more.data, .length = more.length});
    peer.conn.io.read_wants_write = true;
    peer_writable(&peer, PEER_UNLIMITED);
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(stop) drained text(one) text(two) ");
    peer_end(&peer);
    ws_test_free(&input);
    ws_test_free(&more);
}
END_TEST

/* Else the loop would spin: the socket is writable all the time. */
START_TEST(paused_connection_does_not_want_to_write_in_order_to_read)
{
    begin();
    ws_conn_pause(&peer.conn);
    peer.conn.io.read_wants_write = true;
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), 0);
    ws_conn_resume(&peer.conn);
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ | WS_WANT_WRITE);
    peer_end(&peer);
}
END_TEST

START_TEST(close_while_paused_reads_on)
{
    ws_test_bytes_t input = {0};

    begin();
    peer.do_message = peer_pause_at_stop;
    ws_test_add_text(&input, 0x81, "stop");
    ws_test_add_text(&input, 0x81, "passed over");
    ws_test_add_close(&input, 1000, "bye");
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text(stop) ");
    ws_conn_close(&peer.conn, 1001, "", 0);
    ck_assert_uint_eq(ws_conn_wants(&peer.conn) & WS_WANT_READ, WS_WANT_READ);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(stop) close(1001,bye) ");
    peer_expect_close(&peer, 1001);
    peer_expect_no_more(&peer);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(paused_connection_sends)
{
    begin();
    ws_conn_pause(&peer.conn);
    ck_assert_int_eq(peer_say(&peer, "out"), WS_SEND_SENT);
    peer_end_turn();
    peer_expect(&peer, 0x81, "out");
    peer_end(&peer);
}
END_TEST

/* Bytes inside of OpenSSL are not told by an event: resume looks. */
START_TEST(resume_over_tls_reads_without_an_event)
{
    ws_test_bytes_t input = {0};

    begin();
    peer.conn.io.ssl = (SSL *)&peer;
    ws_conn_pause(&peer.conn);
    ws_test_add_text(&input, 0x81, "inside");
    peer_script(&peer,
                (peer_read_t){.data = input.data, .length = input.length});
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open ");
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(inside) ");
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

START_TEST(pause_with_more_inside_of_tls_waits)
{
    ws_test_bytes_t input = {0};

    begin();
    peer.do_message = peer_pause_at_stop;
    ws_test_add_text(&input, 0x81, "stop");
    peer_script(&peer, (peer_read_t){.data = input.data,
                                     .length = input.length,
                                     .more = true});
    peer_script(&peer,
                (peer_read_t){.data = input.data, .length = input.length});
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(stop) ");
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open text(stop) text(stop) ");
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(open_comes_first_and_echo_follows),
        WS_TEST(answers_to_one_read_are_one_write),
        WS_TEST(input_that_is_cut_anywhere_gives_the_same),
        WS_TEST(output_over_the_cork_stays_in_order),
        WS_TEST(early_data_comes_after_open),
        WS_TEST(early_data_waits_for_who_pauses_in_open),
        WS_TEST(start_over_tls_reads_without_an_event),
        WS_TEST(bytes_that_wait_inside_of_tls_are_read_in_the_same_turn),
        WS_TEST_LOOP(violation_is_answered_with_its_code, 9),
        WS_TEST(message_over_the_limit_is_1009_at_its_head),
        WS_TEST(unmasked_frame_is_1002),
        WS_TEST(violation_while_closing_ends_it_without_a_second_close),
        WS_TEST(pause_inside_the_input_keeps_the_rest),
        WS_TEST(input_before_the_rest_had_its_turn_keeps_the_order),
        WS_TEST(resume_in_drained_keeps_the_order_when_reading_wants_to_write),
        WS_TEST(paused_connection_does_not_want_to_write_in_order_to_read),
        WS_TEST(close_while_paused_reads_on),
        WS_TEST(paused_connection_sends),
        WS_TEST(resume_over_tls_reads_without_an_event),
        WS_TEST(pause_with_more_inside_of_tls_waits),
    };

    return ws_test_run("conn input", tests, WS_TEST_COUNT(tests));
}
