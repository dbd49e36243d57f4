/* ws_conn: a connection, driven by a script in the place of its socket. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"

static peer_t peer;
static peer_t second;

static void begin(void)
{
    peer_begin();
    peer_start(&peer);
}

/* The owner answers each message with itself. */
static void echo(peer_t *p, uint8_t opcode, uint8_t *data, size_t length)
{
    ws_conn_send(&p->conn, opcode, data, length);
}

static ws_send_result_t say(peer_t *p, const char *text)
{
    return ws_conn_send(&p->conn, WS_OP_TEXT, text, strlen(text));
}

/* --- messages --- */

START_TEST(open_comes_first_and_echo_follows)
{
    begin();
    ck_assert_str_eq(peer.log, "open ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    peer.do_message = echo;
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
    peer.do_message = echo;
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
        peer.do_message = echo;
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
    peer.do_message = echo;
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
    peer.do_message = echo;
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

/* --- ping and pong --- */

START_TEST(ping_is_answered_with_its_payload)
{
    char payload[126];

    begin();
    memset(payload, 'p', 125);
    payload[125] = '\0';
    peer_feed_frame(&peer, 0x89, "");
    peer_feed_frame(&peer, 0x89, "x");
    peer_feed_frame(&peer, 0x89, payload);
    peer_feed_frame(&peer, 0x8a, "nobody asked");
    peer_expect(&peer, 0x8a, "");
    peer_expect(&peer, 0x8a, "x");
    peer_expect(&peer, 0x8a, payload);
    peer_expect_no_more(&peer);
    ck_assert_str_eq(peer.log, "open ");
    peer_end(&peer);
}
END_TEST

/* Three messages wait; `room` bytes of them are taken at first. */
static void queue_three(size_t room, uint16_t pin)
{
    begin();
    peer.room = room;
    peer.pin = pin;
    say(&peer, "first....");                /* 11 bytes a frame */
    say(&peer, "second...");
    say(&peer, "third....");
    peer_end_turn();
    ck_assert(ws_conn_wants(&peer.conn) & WS_WANT_WRITE);
}

static void check_order(const char *where)
{
    static const char *const texts[] = {"first....", "second...", "third...."};
    int i;

    peer_writable(&peer, PEER_UNLIMITED);
    for (i = 0; i < 3; i++) {
        if (where[0] == '0' + i) {
            peer_expect(&peer, 0x8a, "ping");
        }
        peer_expect(&peer, 0x81, texts[i]);
    }
    peer_expect_no_more(&peer);
    ck_assert_uint_eq(peer.conn.queued, 0);
    peer_end(&peer);
}

START_TEST(pong_overtakes_what_waits)
{
    queue_three(0, 0);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("0");
}
END_TEST

START_TEST(pong_waits_for_a_frame_that_is_partly_sent)
{
    size_t room;

    for (room = 1; room < 11; room++) {
        queue_three(room, 0);
        peer_feed_frame(&peer, 0x89, "ping");
        check_order("1");
    }
    queue_three(11, 0);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    queue_three(12, 0);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("2");
}
END_TEST

/* They were gathered in the cork and lie in the queue as one piece. */
START_TEST(pong_waits_for_a_cut_answer)
{
    size_t room;

    for (room = 1; room < 11; room++) {
        begin();
        peer.do_message = echo;
        peer.room = room;
        peer_feed_frame(&peer, 0x81, "first....");
        peer.do_message = NULL;
        say(&peer, "second...");
        say(&peer, "third....");
        peer_feed_frame(&peer, 0x89, "ping");
        check_order("1");
    }
}
END_TEST

START_TEST(pong_waits_for_what_tls_must_see_again)
{
    queue_three(0, 1);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    queue_three(0, 11);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    queue_three(0, 12);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("2");
    queue_three(5, 6);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    queue_three(5, 7);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("2");
}
END_TEST

START_TEST(only_the_last_pong_is_kept_while_blocked)
{
    size_t queued;
    char text[8];
    int i;

    queue_three(3, 0);
    peer_feed_frame(&peer, 0x89, "ping 0");
    queued = peer.conn.queued;
    for (i = 1; i <= 9; i++) {
        snprintf(text, sizeof(text), "ping %d", i);
        peer_feed_frame(&peer, 0x89, text);
        ck_assert_uint_eq(peer.conn.queued, queued);
    }
    peer_writable(&peer, PEER_UNLIMITED);
    peer_expect(&peer, 0x81, "first....");
    peer_expect(&peer, 0x8a, "ping 9");
    peer_expect(&peer, 0x81, "second...");
    peer_expect(&peer, 0x81, "third....");
    peer_expect_no_more(&peer);
    ck_assert_uint_eq(peer.conn.queued, 0);
    peer_end(&peer);
}
END_TEST

/* A ping of ours that waits too must not hide the pong. */
START_TEST(only_the_last_pong_is_kept_beside_a_ping_of_ours)
{
    size_t queued;

    queue_three(3, 0);
    peer_feed_frame(&peer, 0x89, "ping 0");
    peer_pass(&peer, 10000);
    queued = peer.conn.queued;
    peer_feed_frame(&peer, 0x89, "ping 1");
    ck_assert_uint_eq(peer.conn.queued, queued);
    peer_writable(&peer, PEER_UNLIMITED);
    peer_expect(&peer, 0x81, "first....");
    peer_expect(&peer, 0x8a, "ping 1");
    peer_expect(&peer, 0x89, "");
    peer_expect(&peer, 0x81, "second...");
    peer_expect(&peer, 0x81, "third....");
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

/* A pong of which a part is out must go on as it is. */
START_TEST(pong_that_is_partly_sent_is_not_replaced)
{
    begin();
    peer.room = 3;
    peer_feed_frame(&peer, 0x89, "ping 1");
    peer_feed_frame(&peer, 0x89, "ping 2");
    peer_feed_frame(&peer, 0x89, "ping 3");
    peer_writable(&peer, 3);
    peer_feed_frame(&peer, 0x89, "ping 4");
    peer_writable(&peer, PEER_UNLIMITED);
    peer_expect(&peer, 0x8a, "ping 1");
    peer_expect(&peer, 0x8a, "ping 4");
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

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
    ck_assert_int_eq(say(&peer, "too late"), WS_SEND_CLOSED);
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
    queue_three(4, 0);
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
    peer.do_message = echo;
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

/* --- a slow reader --- */

START_TEST(send_while_blocked_is_queued_then_drained)
{
    begin();
    peer.room = 5;
    ck_assert_int_eq(say(&peer, "first"), WS_SEND_SENT);
    peer_end_turn();
    ck_assert_int_eq(say(&peer, "second"), WS_SEND_QUEUED);
    ck_assert_int_eq(say(&peer, "third"), WS_SEND_QUEUED);
    peer_end_turn();
    peer_writable(&peer, 3);
    ck_assert_int_eq(peer.drains, 0);
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_str_eq(peer.log, "open drained ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    peer_expect(&peer, 0x81, "first");
    peer_expect(&peer, 0x81, "second");
    peer_expect(&peer, 0x81, "third");
    ck_assert_int_eq(say(&peer, "fourth"), WS_SEND_SENT);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open drained ");
    peer_expect(&peer, 0x81, "fourth");
    peer_end(&peer);
}
END_TEST

static void say_more(peer_t *p)
{
    if (p->count++ < 3) {
        say(p, "more");
    }
}

START_TEST(send_in_drained_goes_out)
{
    queue_three(0, 0);
    peer.do_drained = say_more;
    say(&peer, "fourth");
    peer_writable(&peer, 4);
    ck_assert_int_eq(peer.drains, 0);
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_int_eq(peer.drains, 1);
    peer_expect(&peer, 0x81, "first....");
    peer_expect(&peer, 0x81, "second...");
    peer_expect(&peer, 0x81, "third....");
    peer_expect(&peer, 0x81, "fourth");
    peer_expect(&peer, 0x81, "more");
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

static void echo_and_note(peer_t *p, uint8_t opcode, uint8_t *data,
                          size_t length)
{
    p->count = (int)ws_conn_send(&p->conn, opcode, data, length);
}

/* In a callback, while output is gathered. */
START_TEST(answer_while_blocked_is_queued)
{
    begin();
    peer.do_message = echo_and_note;
    peer.room = 4;
    peer_feed_frame(&peer, 0x81, "one");
    ck_assert_int_eq(peer.count, WS_SEND_SENT);
    peer_feed_frame(&peer, 0x81, "two");
    ck_assert_int_eq(peer.count, WS_SEND_QUEUED);
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_str_eq(peer.log, "open text(one) text(two) drained ");
    peer_expect(&peer, 0x81, "one");
    peer_expect(&peer, 0x81, "two");
    peer_end(&peer);
}
END_TEST

/* The frame of which a part is out is finished, then comes the Close. */
START_TEST(full_queue_closes_with_1013)
{
    size_t room;

    for (room = 0; room < 11; room++) {
        begin();
        peer_limits.send_queue = 30;
        peer.room = room;
        ck_assert_int_eq(say(&peer, "first...."), WS_SEND_SENT);
        peer_end_turn();
        ck_assert_int_eq(say(&peer, "second..."), WS_SEND_QUEUED);
        ck_assert_int_eq(say(&peer, "third...."), WS_SEND_QUEUED);
        if (peer.conn.queued < 30) {
            ck_assert_int_eq(say(&peer, "fourth..."), WS_SEND_QUEUED);
        }
        ck_assert_int_eq(say(&peer, "fifth...."), WS_SEND_CLOSED);
        ck_assert_int_eq(say(&peer, "sixth...."), WS_SEND_CLOSED);
        peer_end_turn();
        ck_assert_str_eq(peer.log, "open failure(1013) close(1013) ");
        peer_writable(&peer, PEER_UNLIMITED);
        if (room > 0) {
            peer_expect(&peer, 0x81, "first....");
        }
        peer_expect_close(&peer, 1013);
        peer_expect_no_more(&peer);
        ck_assert_uint_eq(peer.conn.queued, 0);
        ck_assert_int_eq(peer.shutdowns, 1);
        peer_end(&peer);
    }
}
END_TEST

START_TEST(full_queue_keeps_what_tls_must_see_again)
{
    begin();
    peer_limits.send_queue = 30;
    peer.room = 0;
    peer.pin = 12;
    say(&peer, "first....");
    say(&peer, "second...");
    say(&peer, "third....");
    peer_end_turn();
    ck_assert_int_eq(say(&peer, "fourth..."), WS_SEND_CLOSED);
    peer_end_turn();
    peer_writable(&peer, PEER_UNLIMITED);
    peer_expect(&peer, 0x81, "first....");
    peer_expect(&peer, 0x81, "second...");
    peer_expect_close(&peer, 1013);
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

/* Many messages in one turn are no slow reader: the socket is tried first. */
START_TEST(queue_of_one_turn_is_written_before_it_is_full)
{
    int i;

    begin();
    peer_limits.send_queue = 100;
    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(say(&peer, "message"), WS_SEND_SENT);
    }
    peer_end_turn();
    for (i = 0; i < 100; i++) {
        peer_expect(&peer, 0x81, "message");
    }
    peer_expect_no_more(&peer);
    ck_assert_str_eq(peer.log, "open ");
    peer_end(&peer);
}
END_TEST

/* More entries than one system call takes. */
START_TEST(long_queue_goes_out_in_order)
{
    char text[16];
    int i;

    begin();
    peer.room = 1;
    for (i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "message %d", i);
        say(&peer, text);
    }
    peer_end_turn();
    for (i = 0; i < 20; i++) {
        peer_writable(&peer, 17);
    }
    peer_writable(&peer, PEER_UNLIMITED);
    for (i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "message %d", i);
        peer_expect(&peer, 0x81, text);
    }
    peer_expect_no_more(&peer);
    ck_assert_uint_eq(peer.conn.queued, 0);
    peer_end(&peer);
}
END_TEST

/* A byte at a time, with pings in between. */
START_TEST(any_cut_of_the_output_leaves_whole_frames)
{
    ws_test_bytes_t input = {0};
    ws_test_frame_t frame;
    size_t messages = 0;
    size_t rooms[] = {1, 2, 3, 5, 7, 11, 13, 64};
    int i;

    for (i = 0; i < 6; i++) {
        ws_test_add_text(&input, 0x81, "message in the cork");
        ws_test_add_text(&input, 0x89, "ping");
    }
    begin();
    peer.do_message = echo;
    peer.room = rooms[_i];
    peer_feed(&peer, &input);
    while (peer.conn.head != NULL) {
        if (messages++ % 5 == 0) {
            say(&peer, "message in the cork");
            peer_feed_frame(&peer, 0x89, "ping");
        }
        if (messages > 200) {
            break;
        }
        peer_writable(&peer, rooms[_i]);
    }
    peer_writable(&peer, PEER_UNLIMITED);
    while (
        ws_test_next_frame(&frame, peer.out, peer.out_length, &peer.out_at)) {
        if (frame.first == 0x8a) {
            ck_assert_uint_eq(frame.length, 4);
            ck_assert_mem_eq(frame.data, "ping", 4);
        }
        else {
            ck_assert_uint_eq(frame.first, 0x81);
            ck_assert_uint_eq(frame.length, 19);
            ck_assert_mem_eq(frame.data, "message in the cork", 19);
        }
    }
    peer_expect_no_more(&peer);
    ck_assert_uint_eq(peer.conn.queued, 0);
    peer_end(&peer);
    ws_test_free(&input);
}
END_TEST

/* --- shared buffers, other connections --- */

START_TEST(buffer_is_shared_and_let_go)
{
    ws_buf_t *buf = ws_buf_create_frame(WS_OP_TEXT, "all", 3);
    int i;

    begin();
    peer_start(&second);
    second.room = 2;
    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(ws_conn_send_buf(&peer.conn, buf), WS_SEND_SENT);
        ws_conn_send_buf(&second.conn, buf);
    }
    peer_end_turn();
    ck_assert_uint_eq(buf->references, 4);
    ck_assert_int_eq(ws_conn_send_buf(&second.conn, buf), WS_SEND_QUEUED);
    peer_writable(&second, 4);
    ck_assert_uint_eq(buf->references, 4);
    for (i = 0; i < 3; i++) {
        peer_expect(&peer, 0x81, "all");
    }
    peer_end(&second);
    ck_assert_uint_eq(buf->references, 1);
    peer_end(&peer);
    ws_buf_unref(buf);
}
END_TEST

static ws_buf_t *shared;

static void send_both_ways(peer_t *p, uint8_t opcode, uint8_t *data,
                           size_t length)
{
    ws_conn_send(&p->conn, opcode, data, length);
    ws_conn_send_buf(&p->conn, shared);
    ws_conn_send(&p->conn, opcode, data, length);
}

START_TEST(buffer_keeps_its_place_among_gathered_messages)
{
    begin();
    shared = ws_buf_create_frame(WS_OP_BINARY, "all", 3);
    peer.do_message = send_both_ways;
    peer_feed_frame(&peer, 0x81, "mine");
    peer_expect(&peer, 0x81, "mine");
    peer_expect(&peer, 0x82, "all");
    peer_expect(&peer, 0x81, "mine");
    peer_expect_no_more(&peer);
    ck_assert_int_eq(peer.writes, 1);
    ck_assert_uint_eq(shared->references, 1);
    ws_buf_unref(shared);
    peer_end(&peer);
}
END_TEST

static void send_to_other(peer_t *p, uint8_t opcode, uint8_t *data,
                          size_t length)
{
    ws_conn_send(&p->other->conn, opcode, data, length);
    ws_conn_send(&p->conn, opcode, data, length);
}

START_TEST(message_to_another_goes_out_at_the_turns_end)
{
    ws_test_bytes_t input = {0};

    begin();
    peer_start(&second);
    peer.other = &second;
    peer.do_message = send_to_other;
    ws_test_add_text(&input, 0x81, "one");
    ws_test_add_text(&input, 0x81, "two");
    peer_script(&peer,
                (peer_read_t){.data = input.data, .length = input.length});
    ws_conn_readable(&peer.conn);
    ck_assert_int_eq(peer.writes, 1);
    ck_assert_int_eq(second.writes, 0);
    peer_end_turn();
    ck_assert_int_eq(second.writes, 1);
    peer_expect(&second, 0x81, "one");
    peer_expect(&second, 0x81, "two");
    peer_expect(&peer, 0x81, "one");
    peer_expect(&peer, 0x81, "two");
    peer_end(&peer);
    peer_end(&second);
    ws_test_free(&input);
}
END_TEST

static void close_other(peer_t *p, uint8_t opcode, uint8_t *data, size_t length)
{
    (void)opcode;
    (void)data;
    (void)length;
    ws_conn_close(&p->other->conn, 4000, "kicked", 6);
}

START_TEST(another_is_closed_inside_a_callback)
{
    begin();
    peer_start(&second);
    peer.other = &second;
    peer.do_message = close_other;
    peer_feed_frame(&peer, 0x81, "kick");
    peer_expect(&second, 0x88, "\x0f\xa0kicked");
    peer_feed_close(&second, 4000, "");
    ck_assert_str_eq(second.log, "open close(4000) ");
    peer_end(&peer);
    peer_end(&second);
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
    queue_three(0, 0);
    say(&peer, "x");
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

/* --- heartbeat --- */

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
    queue_three(0, 0);
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

    queue_three(0, 0);
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
    queue_three(5, 0);
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

/* --- pause and resume --- */

static void pause_at_stop(peer_t *p, uint8_t opcode, uint8_t *data,
                          size_t length)
{
    (void)opcode;
    if (length == 4 && memcmp(data, "stop", 4) == 0) {
        ws_conn_pause(&p->conn);
    }
}

START_TEST(pause_inside_the_input_keeps_the_rest)
{
    ws_test_bytes_t input = {0};
    ws_test_bytes_t rest;

    begin();
    peer.do_message = pause_at_stop;
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
    peer.do_message = pause_at_stop;
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
    peer.do_message = pause_at_stop;
    peer.do_drained = resume_here;
    peer.room = 0;
    say(&peer, "x");
    peer_end_turn();
    ck_assert_int_eq(say(&peer, "y"), WS_SEND_QUEUED);
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
    peer.do_message = pause_at_stop;
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
    ck_assert_int_eq(say(&peer, "out"), WS_SEND_SENT);
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
    peer.do_message = pause_at_stop;
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

/* --- the end of the connection --- */

START_TEST(end_while_open_is_1006)
{
    begin();
    peer_feed_status(&peer, _i == 0 ? WS_EOF : WS_EIO);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    ck_assert(ws_conn_is_done(&peer.conn));
    ck_assert_int_eq(peer.shutdowns, 0);
    ck_assert_int_eq(say(&peer, "x"), WS_SEND_CLOSED);
    ws_conn_readable(&peer.conn);
    ws_conn_writable(&peer.conn);
    ws_conn_hangup(&peer.conn);
    peer_pass(&peer, 1000000);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    peer_end(&peer);
}
END_TEST

START_TEST(end_inside_a_message_frees_it)
{
    ws_test_bytes_t input = {0};

    ws_test_alloc_begin();
    begin();
    ws_test_add_text(&input, 0x01, "the first fragment");
    ws_test_add_text(&input, 0x80, "the second, cut");
    input.length -= 3;
    peer_feed(&peer, &input);
    peer_feed_status(&peer, WS_EOF);
    ck_assert_str_eq(peer.log, "open failure(1006) close(1006) ");
    peer_end(&peer);
    ws_test_free(&input);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
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
    queue_three(3, 0);
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
        queue_three(3, 0);
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
    say(&peer, "x");
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
    peer.do_message = echo;
    peer.write_fails = true;
    memset(large, 'l', sizeof(large));
    ws_test_add_frame(&input, 0x81, large, 3900);
    peer_feed(&peer, &input);
    ck_assert_str_eq(peer.log, "open text[3900] failure(1006) close(1006) ");
    peer_end(&peer);

    begin();
    peer.do_message = echo;
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
    queue_three(3, 0);
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

/* --- no memory --- */

/* Cuts, a queue, pings, a pause, a buffer of others, a Close. The scripted
 * bytes are made before; nothing but the layers allocates. */
typedef struct {
    ws_test_bytes_t early, first, second, close;
} scenario_t;

static void scenario_message(peer_t *p, uint8_t opcode, uint8_t *data,
                             size_t length)
{
    ws_conn_send(&p->conn, opcode, data, length);
    ws_conn_send_buf(&p->conn, shared);
    ws_conn_send(&p->conn, opcode, data, length);
    pause_at_stop(p, opcode, data, length);
}

static void play(const scenario_t *scenario, size_t room)
{
    size_t half = scenario->second.length / 2;
    int i;

    peer_begin();
    peer_init(&peer);
    peer.do_message = scenario_message;
    ws_conn_start(&peer.conn, scenario->early.data, scenario->early.length);
    peer_end_turn();
    peer.room = room;
    peer_feed(&peer, &scenario->first);
    say(&peer, "mm");
    ws_conn_send_buf(&peer.conn, shared);
    peer_writable(&peer, 7);
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    peer_script(&peer,
                (peer_read_t){.data = scenario->second.data, .length = half});
    peer_script(&peer, (peer_read_t){.data = scenario->second.data + half,
                                     .length = scenario->second.length - half});
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    ws_conn_readable(&peer.conn);
    peer_end_turn();
    peer_pass(&peer, 10000);
    for (i = 0; i < 10; i++) {
        peer_writable(&peer, 13);
    }
    ws_conn_resume(&peer.conn);
    peer_end_turn();
    peer_feed(&peer, &scenario->close);
    peer_writable(&peer, PEER_UNLIMITED);
    peer_feed_status(&peer, WS_EOF);
    ws_conn_hangup(&peer.conn);
    peer_end_turn();
}

/* What is on the wire is whole frames of what was said; only the last may be
 * cut, if the connection was dropped. */
static void check_wire(void)
{
    ws_test_frame_t frame;
    size_t i;

    while (
        ws_test_next_frame(&frame, peer.out, peer.out_length, &peer.out_at)) {
        switch (frame.first) {
        case 0x81:
        case 0x82:
            for (i = 0; i < frame.length; i++) {
                if (memchr("mstop", frame.data[i], 5) == NULL) {
                    ck_abort_msg("a frame was cut by another");
                }
            }
            break;
        case 0x88:
            ck_assert_uint_eq(peer.out_at, peer.out_length);
            break;
        case 0x89:
            ck_assert_uint_eq(frame.length, 0);
            break;
        default:
            ck_assert_uint_eq(frame.first, 0x8a);
            ck_assert_uint_eq(frame.length, 4);
            break;
        }
    }
    ck_assert(peer.out_at == peer.out_length || peer.shutdowns == 0);
}

/* Once, and from then on always. */
START_TEST(any_allocation_that_fails_ends_one_connection_in_good_order)
{
    static const size_t rooms[] = {0, 1, 5, 40, 3000, PEER_UNLIMITED};
    uint8_t text[1900];
    scenario_t scenario = {{0}, {0}, {0}, {0}};
    scenario_t original;
    bool failed = true;
    long n;

    memset(text, 'm', sizeof(text));
    ws_test_add_frame(&scenario.early, 0x81, text, 20);
    ws_test_add_frame(&scenario.early, 0x81, text, 20);
    ws_test_add_frame(&scenario.first, 0x81, text, 1900);
    ws_test_add_text(&scenario.first, 0x89, "ping");
    ws_test_add_text(&scenario.first, 0x81, "stop");
    ws_test_add_frame(&scenario.first, 0x82, text, 1500);
    ws_test_add_text(&scenario.first, 0x89, "ping");
    ws_test_add_frame(&scenario.second, 0x01, text, 1000);
    ws_test_add_text(&scenario.second, 0x89, "ping");
    ws_test_add_frame(&scenario.second, 0x80, text, 900);
    ws_test_add_text(&scenario.second, 0x81, "stop");
    ws_test_add_frame(&scenario.second, 0x81, text, 900);
    ws_test_add_close(&scenario.close, 1000, "bye");
    shared = ws_buf_create_frame(WS_OP_TEXT, "mmmm", 4);
    original = scenario;                    /* early is unmasked in place */
    original.early = (ws_test_bytes_t){0};
    ws_test_add(&original.early, scenario.early.data, scenario.early.length);
    for (n = 0; failed; n++) {
        ck_assert_int_lt(n, 4000);
        memcpy(scenario.early.data, original.early.data, original.early.length);
        ws_test_alloc_begin();
        ws_test_alloc_fail(n / 2, n % 2 == 1);
        play(&scenario, rooms[_i]);
        failed = ws_test_alloc_unfail();
        ck_assert(ws_conn_is_done(&peer.conn));
        ck_assert_int_eq(peer.opens, 1);
        ck_assert_int_eq(peer.ends, 1);
        ck_assert_int_le(peer.failures, 1);
        check_wire();
        peer_end(&peer);
        ck_assert_uint_eq(shared->references, 1);
        ck_assert_int_eq(ws_test_alloc.live, 0);
        ws_test_alloc_end();
    }
    ck_assert_int_gt(n, 8);
    ws_buf_unref(shared);
    ws_test_free(&original.early);
    ws_test_free(&scenario.early);
    ws_test_free(&scenario.first);
    ws_test_free(&scenario.second);
    ws_test_free(&scenario.close);
}
END_TEST

START_TEST(send_without_memory_is_dropped_and_closes)
{
    queue_three(0, 0);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(say(&peer, "fourth"), WS_SEND_DROPPED);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open failure(1011) close(1011) ");
    peer_writable(&peer, PEER_UNLIMITED);
    peer_expect(&peer, 0x81, "first....");
    peer_expect(&peer, 0x81, "second...");
    peer_expect(&peer, 0x81, "third....");
    peer_expect_close(&peer, 1011);
    peer_expect_no_more(&peer);
    peer_end(&peer);
}
END_TEST

/* The socket took a part of a frame and there is no memory for the rest: no
 * Close can follow, it would be read as payload. */
START_TEST(frame_that_is_cut_for_want_of_memory_is_not_followed)
{
    ws_test_bytes_t input = {0};
    uint8_t text[3000];

    memset(text, 'm', sizeof(text));
    ws_test_add_frame(&input, 0x81, text, sizeof(text));
    begin();
    peer.do_message = echo;
    peer.room = 100;
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    peer_script(&peer,
                (peer_read_t){.data = input.data, .length = input.length});
    ws_conn_readable(&peer.conn);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    peer_end_turn();
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_uint_eq(peer.out_length, 100);
    ck_assert_int_eq(peer.ends, 1);
    ck_assert(ws_conn_is_done(&peer.conn));
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
        WS_TEST(ping_is_answered_with_its_payload),
        WS_TEST(pong_overtakes_what_waits),
        WS_TEST(pong_waits_for_a_frame_that_is_partly_sent),
        WS_TEST(pong_waits_for_a_cut_answer),
        WS_TEST(pong_waits_for_what_tls_must_see_again),
        WS_TEST(only_the_last_pong_is_kept_while_blocked),
        WS_TEST(only_the_last_pong_is_kept_beside_a_ping_of_ours),
        WS_TEST(pong_that_is_partly_sent_is_not_replaced),
        WS_TEST(close_of_the_client_is_answered),
        WS_TEST(close_of_the_server_waits_for_the_answer),
        WS_TEST(close_that_crosses_keeps_the_first_code),
        WS_TEST(messages_and_pings_after_our_close_are_passed_over),
        WS_TEST(close_without_a_code_is_1005),
        WS_TEST(longest_reason_passes_both_ways),
        WS_TEST_LOOP(invalid_close_frames_fail, 14),
        WS_TEST(data_after_a_close_is_thrown_away),
        WS_TEST(close_goes_out_behind_what_waits),
        WS_TEST_LOOP(violation_is_answered_with_its_code, 9),
        WS_TEST(message_over_the_limit_is_1009_at_its_head),
        WS_TEST(unmasked_frame_is_1002),
        WS_TEST(violation_while_closing_ends_it_without_a_second_close),
        WS_TEST(send_while_blocked_is_queued_then_drained),
        WS_TEST(send_in_drained_goes_out),
        WS_TEST(answer_while_blocked_is_queued),
        WS_TEST(full_queue_closes_with_1013),
        WS_TEST(full_queue_keeps_what_tls_must_see_again),
        WS_TEST(queue_of_one_turn_is_written_before_it_is_full),
        WS_TEST(long_queue_goes_out_in_order),
        WS_TEST_LOOP(any_cut_of_the_output_leaves_whole_frames, 8),
        WS_TEST(buffer_is_shared_and_let_go),
        WS_TEST(buffer_keeps_its_place_among_gathered_messages),
        WS_TEST(message_to_another_goes_out_at_the_turns_end),
        WS_TEST(another_is_closed_inside_a_callback),
        WS_TEST(close_inside_open),
        WS_TEST(close_inside_message_ends_the_messages),
        WS_TEST(close_inside_drained),
        WS_TEST(calls_inside_close_change_nothing),
        WS_TEST(silence_is_asked_then_dropped),
        WS_TEST(any_byte_is_a_sign_of_life),
        WS_TEST(no_interval_means_no_heartbeat),
        WS_TEST(no_timeout_means_that_silence_is_borne),
        WS_TEST(paused_connection_is_taken_to_be_alive),
        WS_TEST(paused_connection_that_takes_nothing_is_dropped),
        WS_TEST(room_that_the_peer_makes_is_a_sign_of_life),
        WS_TEST(close_without_an_answer_ends_in_time),
        WS_TEST(close_that_cannot_be_sent_ends_in_time),
        WS_TEST(peer_that_does_not_hang_up_ends_in_time),
        WS_TEST(pause_inside_the_input_keeps_the_rest),
        WS_TEST(input_before_the_rest_had_its_turn_keeps_the_order),
        WS_TEST(resume_in_drained_keeps_the_order_when_reading_wants_to_write),
        WS_TEST(paused_connection_does_not_want_to_write_in_order_to_read),
        WS_TEST(close_while_paused_reads_on),
        WS_TEST(paused_connection_sends),
        WS_TEST(resume_over_tls_reads_without_an_event),
        WS_TEST(pause_with_more_inside_of_tls_waits),
        WS_TEST_LOOP(end_while_open_is_1006, 2),
        WS_TEST(end_inside_a_message_frees_it),
        WS_TEST_LOOP(end_while_closing_keeps_our_code, 2),
        WS_TEST_LOOP(end_while_flushing_is_the_end, 2),
        WS_TEST_LOOP(hangup_in_any_state_is_the_end, 4),
        WS_TEST(write_error_drops),
        WS_TEST(write_error_inside_a_callback_drops_after_it),
        WS_TEST(write_error_with_a_queue_drops),
        WS_TEST(write_error_of_the_close_is_told_once),
        WS_TEST(reading_that_wants_to_write_goes_on_when_writable),
        WS_TEST(failure_by_the_owner_sends_its_code),
        WS_TEST_LOOP(
            any_allocation_that_fails_ends_one_connection_in_good_order, 6),
        WS_TEST(send_without_memory_is_dropped_and_closes),
        WS_TEST(frame_that_is_cut_for_want_of_memory_is_not_followed),
    };

    return ws_test_run("conn", tests, WS_TEST_COUNT(tests));
}
