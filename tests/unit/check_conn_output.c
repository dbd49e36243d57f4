/* ws_conn, its output: pongs, the queue, shared buffers, other connections. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_peer.h"

static peer_t peer;
static peer_t second;

static void begin(void)
{
    peer_begin();
    peer_start(&peer);
}

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
    peer_queue_three(&peer, 0, 0);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("0");
}
END_TEST

START_TEST(pong_waits_for_a_frame_that_is_partly_sent)
{
    size_t room;

    for (room = 1; room < 11; room++) {
        peer_queue_three(&peer, room, 0);
        peer_feed_frame(&peer, 0x89, "ping");
        check_order("1");
    }
    peer_queue_three(&peer, 11, 0);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    peer_queue_three(&peer, 12, 0);
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
        peer.do_message = peer_echo;
        peer.room = room;
        peer_feed_frame(&peer, 0x81, "first....");
        peer.do_message = NULL;
        peer_say(&peer, "second...");
        peer_say(&peer, "third....");
        peer_feed_frame(&peer, 0x89, "ping");
        check_order("1");
    }
}
END_TEST

START_TEST(pong_waits_for_what_tls_must_see_again)
{
    peer_queue_three(&peer, 0, 1);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    peer_queue_three(&peer, 0, 11);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    peer_queue_three(&peer, 0, 12);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("2");
    peer_queue_three(&peer, 5, 6);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("1");
    peer_queue_three(&peer, 5, 7);
    peer_feed_frame(&peer, 0x89, "ping");
    check_order("2");
}
END_TEST

START_TEST(only_the_last_pong_is_kept_while_blocked)
{
    size_t queued;
    char text[8];
    int i;

    peer_queue_three(&peer, 3, 0);
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

    peer_queue_three(&peer, 3, 0);
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

/* --- a slow reader --- */

START_TEST(send_while_blocked_is_queued_then_drained)
{
    begin();
    peer.room = 5;
    ck_assert_int_eq(peer_say(&peer, "first"), WS_SEND_SENT);
    peer_end_turn();
    ck_assert_int_eq(peer_say(&peer, "second"), WS_SEND_QUEUED);
    ck_assert_int_eq(peer_say(&peer, "third"), WS_SEND_QUEUED);
    peer_end_turn();
    peer_writable(&peer, 3);
    ck_assert_int_eq(peer.drains, 0);
    peer_writable(&peer, PEER_UNLIMITED);
    ck_assert_str_eq(peer.log, "open drained ");
    ck_assert_uint_eq(ws_conn_wants(&peer.conn), WS_WANT_READ);
    peer_expect(&peer, 0x81, "first");
    peer_expect(&peer, 0x81, "second");
    peer_expect(&peer, 0x81, "third");
    ck_assert_int_eq(peer_say(&peer, "fourth"), WS_SEND_SENT);
    peer_end_turn();
    ck_assert_str_eq(peer.log, "open drained ");
    peer_expect(&peer, 0x81, "fourth");
    peer_end(&peer);
}
END_TEST

static void say_more(peer_t *p)
{
    if (p->count++ < 3) {
        peer_say(p, "more");
    }
}

START_TEST(send_in_drained_goes_out)
{
    peer_queue_three(&peer, 0, 0);
    peer.do_drained = say_more;
    peer_say(&peer, "fourth");
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
        ck_assert_int_eq(peer_say(&peer, "first...."), WS_SEND_SENT);
        peer_end_turn();
        ck_assert_int_eq(peer_say(&peer, "second..."), WS_SEND_QUEUED);
        ck_assert_int_eq(peer_say(&peer, "third...."), WS_SEND_QUEUED);
        if (peer.conn.queued < 30) {
            ck_assert_int_eq(peer_say(&peer, "fourth..."), WS_SEND_QUEUED);
        }
        ck_assert_int_eq(peer_say(&peer, "fifth...."), WS_SEND_CLOSED);
        ck_assert_int_eq(peer_say(&peer, "sixth...."), WS_SEND_CLOSED);
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
    peer_say(&peer, "first....");
    peer_say(&peer, "second...");
    peer_say(&peer, "third....");
    peer_end_turn();
    ck_assert_int_eq(peer_say(&peer, "fourth..."), WS_SEND_CLOSED);
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
        ck_assert_int_eq(peer_say(&peer, "message"), WS_SEND_SENT);
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
        peer_say(&peer, text);
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
    peer.do_message = peer_echo;
    peer.room = rooms[_i];
    peer_feed(&peer, &input);
    while (peer.conn.head != NULL) {
        if (messages++ % 5 == 0) {
            peer_say(&peer, "message in the cork");
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
    ws_buf_t *buf = ws_buf_create_frame(NULL, WS_OP_TEXT, "all", 3);
    int i;

    begin();
    peer_start(&second);
    second.room = 2;
    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(ws_conn_send_buf(&peer.conn, buf, 0), WS_SEND_SENT);
        ws_conn_send_buf(&second.conn, buf, 0);
    }
    peer_end_turn();
    ck_assert_uint_eq(buf->references, 4);
    ck_assert_int_eq(ws_conn_send_buf(&second.conn, buf, 0),
                     WS_SEND_QUEUED);
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
    ws_conn_send_buf(&p->conn, shared, 0);
    ws_conn_send(&p->conn, opcode, data, length);
}

START_TEST(buffer_keeps_its_place_among_gathered_messages)
{
    begin();
    shared = ws_buf_create_frame(NULL, WS_OP_BINARY, "all", 3);
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

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(ping_is_answered_with_its_payload),
        WS_TEST(pong_overtakes_what_waits),
        WS_TEST(pong_waits_for_a_frame_that_is_partly_sent),
        WS_TEST(pong_waits_for_a_cut_answer),
        WS_TEST(pong_waits_for_what_tls_must_see_again),
        WS_TEST(only_the_last_pong_is_kept_while_blocked),
        WS_TEST(only_the_last_pong_is_kept_beside_a_ping_of_ours),
        WS_TEST(pong_that_is_partly_sent_is_not_replaced),
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
    };

    return ws_test_run("conn output", tests, WS_TEST_COUNT(tests));
}
