/* ws_shed: who goes when too much waits to be sent. */
#include "ws_shed.h"

#include <string.h>

#include "ws_frame.h"
#include "ws_test.h"
#include "ws_test_alloc.h"

enum { COUNT = 20 };

static ws_link_t links[COUNT];
static size_t room[COUNT];           /* bytes that the socket takes */
static int codes[COUNT];             /* it was failed with; 0: not */
static ws_budget_t budget;
static ws_turn_t turn;
static const ws_conn_limits_t limits = {.max_message = 1000,
                                        .send_queue = 1 << 30};

static size_t index_of(const ws_conn_t *c)
{
    return (size_t)((const ws_link_t *)(const void *)((const char *)c -
                                                      offsetof(ws_link_t,
                                                               conn)) -
                    links);
}

/* --- sockets and owners --- */

static ws_status_t io_read(ws_io_t *io, uint8_t *data, size_t size,
                           size_t *pcount)
{
    (void)io;
    (void)data;
    (void)size;
    (void)pcount;
    return WS_AGAIN;
}

static ws_status_t io_write(ws_io_t *io, const struct iovec *vector, int count,
                            size_t *pcount)
{
    ws_conn_t *c = (ws_conn_t *)((char *)io - offsetof(ws_conn_t, io));
    size_t *left = &room[index_of(c)];
    size_t total = 0;
    int i;

    for (i = 0; i < count; i++) {
        total += vector[i].iov_len;
    }
    *pcount = total < *left ? total : *left;
    *left -= *pcount;
    return *pcount == total ? WS_OK : WS_AGAIN;
}

static void io_nothing(ws_io_t *io)
{
    (void)io;
}

static const ws_io_ops_t ops = {.read = io_read,
                                .write = io_write,
                                .shutdown = io_nothing,
                                .close = io_nothing};

static void on_event(ws_conn_t *c)
{
    (void)c;
}

static void on_message(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                       size_t length)
{
    (void)c;
    (void)opcode;
    (void)data;
    (void)length;
}

static void on_close(ws_conn_t *c, uint16_t code, const uint8_t *reason,
                     size_t length)
{
    (void)c;
    (void)code;
    (void)reason;
    (void)length;
}

static void on_failure(ws_conn_t *c, uint16_t code, const char *why)
{
    (void)why;
    codes[index_of(c)] = code;
}

static const ws_conn_callbacks_t callbacks = {.on_open = on_event,
                                              .on_message = on_message,
                                              .on_drained = on_event,
                                              .on_close = on_close,
                                              .on_failure = on_failure};

static void end_turn(void)
{
    while (turn.pending != NULL) {
        ws_conn_t *c = turn.pending;

        turn.pending = c->next_pending;
        ws_conn_run(c);
    }
}

/* --- the tests' own --- */

static void begin(void)
{
    static uint8_t cork[64];
    int i;

    turn = (ws_turn_t){.now = 1000,
                       .cork = cork,
                       .cork_size = sizeof(cork),
                       .sending = &budget};
    atomic_store(&budget.used, 0);
    atomic_store(&budget.limit, 0);
    memset(links, 0, sizeof(links));
    memset(room, 0, sizeof(room));
    memset(codes, 0, sizeof(codes));
    for (i = 0; i < COUNT; i++) {
        links[i].conn.io.ops = &ops;
        links[i].next = i + 1 < COUNT ? &links[i + 1] : NULL;
        ws_conn_init(&links[i].conn, &turn, &limits, &callbacks);
        ws_conn_start(&links[i].conn, NULL, 0);
    }
    end_turn();
}

static void end(void)
{
    int i;

    for (i = 0; i < COUNT; i++) {
        ws_conn_clear(&links[i].conn);
    }
    ck_assert_uint_eq(budget.used, 0);
}

static void queue(int who, size_t length)
{
    static uint8_t data[10000];

    ck_assert_int_le((int)length, (int)sizeof(data));
    ws_conn_send(&links[who].conn, WS_OP_BINARY, data, length);
    end_turn();
}

/* From here on what is used is just the limit. */
static void shed(void)
{
    atomic_store(&budget.limit, atomic_load(&budget.used));
    ws_shed(links, COUNT, &budget);
    end_turn();
}

static int count_gone(void)
{
    int count = 0;
    int i;

    for (i = 0; i < COUNT; i++) {
        ck_assert(codes[i] == 0 || codes[i] == 1013);
        count += codes[i] != 0;
    }
    return count;
}

/* These and no others: an x for one that is gone. */
static void expect_gone(const char *who)
{
    int count = 0;
    int i;

    for (i = 0; who[i] != '\0'; i++) {
        ck_assert_msg((codes[i] != 0) == (who[i] == 'x'), "%d: %d", i,
                      codes[i]);
        count += who[i] == 'x';
    }
    ck_assert_int_eq(count_gone(), count);
}

START_TEST(longest_goes_and_no_more)
{
    begin();
    queue(0, 1000);
    queue(1, 3000);
    queue(2, 2000);
    queue(4, 100);
    shed();
    expect_gone(".x....");
    ck_assert_uint_lt(budget.used, 3600);
    shed();                                 /* of what is left */
    expect_gone(".xx...");
    end();
}
END_TEST

START_TEST(as_many_go_as_an_eighth_takes)
{
    int i;

    begin();
    for (i = 0; i < COUNT; i++) {           /* 2.5 of 20 equal ones */
        queue(i, 500);
        queue(i, 500);
    }
    shed();
    ck_assert_int_eq(count_gone(), 3);
    end();
}
END_TEST

/* Also before the turn has tried to send it. */
START_TEST(who_takes_what_it_is_sent_stays)
{
    static const uint8_t data[9000];

    begin();
    room[0] = SIZE_MAX;
    queue(1, 10);
    queue(1, 10);
    ws_conn_send(&links[0].conn, WS_OP_BINARY, data, sizeof(data));
    ck_assert_ptr_nonnull(links[0].conn.head);
    shed();
    expect_gone(".x");
    end();
}
END_TEST

/* What several have in their queues is nobody's alone. */
START_TEST(shared_buffers_count_by_their_share)
{
    uint8_t data[5000] = {0};
    ws_buf_t *buf;
    int i;

    begin();
    buf = ws_buf_create_frame(&budget, WS_OP_BINARY, data, sizeof(data));
    for (i = 0; i < 5; i++) {
        ws_conn_send_buf(&links[i].conn, buf, 0);
    }
    end_turn();
    ws_buf_unref(buf);
    queue(5, 1500);
    shed();
    expect_gone(".....x");
    end();
}
END_TEST

/* A frame of which a part is out cannot be freed; who holds it is cut off when
 * that was not enough, before others are closed. */
START_TEST(who_is_closing_already_is_cut_off_first)
{
    begin();
    room[0] = 10;
    queue(0, 5000);
    queue(1, 1000);
    shed();
    expect_gone("x.....");
    ck_assert_uint_gt(budget.used, 5000);
    ck_assert(!ws_conn_is_done(&links[0].conn));
    shed();
    expect_gone("x.....");
    ck_assert(ws_conn_is_done(&links[0].conn));
    ck_assert_uint_lt(budget.used, 1200);
    end();
}
END_TEST

START_TEST(without_memory_one_goes)
{
    begin();
    queue(1, 1000);
    queue(2, 2000);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    atomic_store(&budget.limit, atomic_load(&budget.used));
    ws_shed(links, COUNT, &budget);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    expect_gone(".x....");
    end_turn();
    end();
}
END_TEST

START_TEST(nobody_goes_where_nothing_waits)
{
    begin();
    shed();
    expect_gone("......");
    atomic_store(&budget.used, 1000);       /* another's */
    ws_shed(links, COUNT, &budget);
    ws_shed(NULL, 0, &budget);
    expect_gone("......");
    atomic_store(&budget.used, 0);
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(longest_goes_and_no_more),
        WS_TEST(as_many_go_as_an_eighth_takes),
        WS_TEST(who_takes_what_it_is_sent_stays),
        WS_TEST(shared_buffers_count_by_their_share),
        WS_TEST(who_is_closing_already_is_cut_off_first),
        WS_TEST(without_memory_one_goes),
        WS_TEST(nobody_goes_where_nothing_waits),
    };

    return ws_test_run("shed", tests, WS_TEST_COUNT(tests));
}
