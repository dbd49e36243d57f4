/* ws_conn, when memory is short. */
#include "ws_conn.h"

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"

static peer_t peer;
static ws_buf_t *shared;

static void begin(void)
{
    peer_begin();
    peer_start(&peer);
}

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

/* Cuts, a queue, pings, a pause, a buffer of others, a Close. The scripted
 * bytes are made before; nothing but the layers allocates. */
typedef struct {
    ws_test_bytes_t early, first, second, close;
} scenario_t;

static void scenario_message(peer_t *p, uint8_t opcode, uint8_t *data,
                             size_t length)
{
    ws_conn_send(&p->conn, opcode, data, length);
    ws_conn_send_buf(&p->conn, shared, 0);
    ws_conn_send(&p->conn, opcode, data, length);
    peer_pause_at_stop(p, opcode, data, length);
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
    peer_say(&peer, "mm");
    ws_conn_send_buf(&peer.conn, shared, 0);
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
    shared = ws_buf_create_frame(NULL, WS_OP_TEXT, "mmmm", 4);
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

START_TEST(send_without_memory_closes)
{
    peer_queue_three(&peer, 0, 0);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(peer_say(&peer, "fourth"), WS_SEND_CLOSED);
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
    peer.do_message = peer_echo;
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
        WS_TEST(end_inside_a_message_frees_it),
        WS_TEST_LOOP(
            any_allocation_that_fails_ends_one_connection_in_good_order, 6),
        WS_TEST(send_without_memory_closes),
        WS_TEST(frame_that_is_cut_for_want_of_memory_is_not_followed),
    };

    return ws_test_run("conn memory", tests, WS_TEST_COUNT(tests));
}
