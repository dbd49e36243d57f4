/* ws_websocket and ws_api: connections, from the hand-over to their end, and
 * what handlers do with them. */
#include "ws_test_alloc.h"
#include "ws_test_worker.h"

/* --- the handler --- */

static websocket_t *kept;            /* that was opened last */
static atomic_int drained;
static atomic_int destroyed;

static void count_data(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

static void on_open(websocket_t *ws)
{
    kept = ws;
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "handler open");
}

static void send_number(websocket_t *ws, int64_t number)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)number);
    websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
}

/* "s TOPIC" subscribes, "p TEXT" publishes to "room", "n TEXT" not to itself,
 * "c REASON" closes, "x" with a code that is none, "i" tells the id. All else
 * is echoed. */
static void on_message(websocket_t *ws, int type, const void *data,
                       size_t length)
{
    char text[2048];
    uint64_t id = websocket_id(ws);

    ck_assert_ptr_nonnull(data);
    ck_assert_uint_lt(length, sizeof(text));
    memcpy(text, data, length);
    text[length] = '\0';
    switch (text[0]) {
    case 's':
        send_number(ws, websocket_subscribe(ws, text + 2));
        break;
    case 'p':
    case 'n':
        websocket_publish(ws, "room", WEBSOCKET_TEXT, text + 2, length - 2,
                          text[0] == 'n' ? WEBSOCKET_NOT_TO_SELF : 0);
        break;
    case 'c':
        websocket_close(ws, 4000, length > 2 ? text + 2 : NULL);
        break;
    case 'x':
        websocket_close(ws, 1005, "no such code");
        break;
    case 'i':
        websocket_send(ws, WEBSOCKET_BINARY, &id, sizeof(id));
        break;
    default:
        websocket_send(ws, type, data, length);
        break;
    }
}

static void on_close(websocket_t *ws, unsigned code, const char *reason,
                     size_t length)
{
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "handler close %u \"%.*s\"", code,
                  (int)length, reason);
    websocket_publish(ws, "room", WEBSOCKET_TEXT, "left", 4, 0);
}

static void on_drained(websocket_t *ws)
{
    ck_assert_ptr_eq(ws, kept);
    atomic_fetch_add(&drained, 1);
}

static const websocket_handler_t good = {HANDLER("good"), .open = on_open,
                                         .message = on_message,
                                         .drained = on_drained,
                                         .close = on_close};

static void echo(websocket_t *ws, int type, const void *data, size_t length)
{
    ck_assert_ptr_nonnull(data);
    websocket_send(ws, type, data, length);
}

static const websocket_handler_t plain = {HANDLER("plain"), .message = echo};

static websocket_context_t *context;

static void begin(const websocket_handler_t *handler)
{
    atomic_store(&drained, 0);
    atomic_store(&destroyed, 0);
    context = begin_process(handler);
}

/* With data that is counted. */
static ws_promise_t promise_with_data(websocket_context_t *of)
{
    ws_promise_t promise = promise_of(of);

    promise.data = &destroyed;
    promise.destroy = count_data;
    return promise;
}

static int connect_with_data(websocket_context_t *of)
{
    const ws_promise_t promise = promise_with_data(of);

    return connect_from(&promise, workers[0]);
}

/* --- from the hand-over to the end --- */

START_TEST(connection_is_opened_served_and_closed)
{
    int fd;

    begin(&good);
    fd = connect_with_data(context);
    client_send_text(fd, "hello");
    client_expect(fd, 0x81, "hello");
    client_send_close(fd, 4711);
    client_expect_close(fd, 4711, "");
    client_expect_end(fd);
    close(fd);
    end_process();
    ck_assert_int_eq(destroyed, 1);
    ck_assert_str_eq(logged.text,
                     "[client 192.0.2.7] good: open\n"
                     "[client 192.0.2.7] good: handler open\n"
                     "[client 192.0.2.7] good: closed with 4711\n"
                     "[client 192.0.2.7] good: handler close 4711 \"\"\n");
}
END_TEST

static void trap(websocket_t *ws)
{
    (void)ws;
    __builtin_trap();
}

/* All other callbacks may be missing, or be more than it had when it was
 * built. */
START_TEST(handler_with_nothing_but_message_serves)
{
    websocket_handler_t handler = plain;
    int fd;

    if (_i == 1) {
        handler.size = offsetof(websocket_handler_t, fragment);
        handler.drained = trap;
        memset(&handler.close, 0xff, sizeof(handler.close));
    }
    begin(&handler);
    fd = connect_with_data(context);
    client_send_text(fd, "hello");
    client_expect(fd, 0x81, "hello");
    close(fd);
    end_process();
    ck_assert_int_eq(destroyed, 1);
}
END_TEST

START_TEST(early_input_is_served_first)
{
    ws_test_bytes_t early = {0};
    ws_promise_t promise;
    int fd;

    begin(&good);
    ws_test_add_text(&early, 0x81, "early");
    ws_test_add_text(&early, 0x81, "rest");
    early.length -= 2;
    promise = promise_with_data(context);
    ws_websocket_post(make_from(&promise, &fd, &early), workers[0]);
    client_expect(fd, 0x81, "early");
    ck_assert_int_eq(send(fd, early.data + early.length, 2, 0), 2);
    client_expect(fd, 0x81, "rest");
    ws_test_free(&early);
    close(fd);
    end_process();
}
END_TEST

START_TEST(connection_for_a_worker_that_has_ended_is_freed)
{
    ws_test_bytes_t early = {0};
    ws_promise_t promise;
    websocket_t *ws;
    int fd;

    begin(&good);
    ws_test_add_text(&early, 0x81, "early");
    promise = promise_with_data(context);
    ws = make_from(&promise, &fd, &early);
    stop_workers();
    ws_websocket_post(ws, workers[0]);
    client_expect_close(fd, 1001, "");
    client_expect_end(fd);
    close(fd);
    end_process();
    ck_assert_int_eq(destroyed, 1);
    ck_assert_str_eq(logged.text, "");
    ws_test_free(&early);
}
END_TEST

/* --- what a handler may ask, and set --- */

/* One connection, in the test's own thread, which may do with it what its
 * callbacks may. */
static int begin_alone(void)
{
    ws_promise_t promise;
    int fd;

    atomic_store(&drained, 0);
    atomic_store(&destroyed, 0);
    context = begin_turns(&good);
    promise = promise_with_data(context);
    promise.protocol = "chat.v2";
    fd = connect_from(&promise, workers[0]);
    turn();
    ck_assert_ptr_nonnull(kept);
    return fd;
}

START_TEST(connection_knows_where_it_comes_from)
{
    ws_promise_t promise;
    char client[300];
    char protocol[300];
    int fds[2];

    fds[0] = begin_alone();
    ck_assert_ptr_eq(websocket_context(kept), context);
    ck_assert_ptr_eq(websocket_data(kept), &destroyed);
    ck_assert_str_eq(websocket_client(kept), "192.0.2.7");
    ck_assert_str_eq(websocket_protocol(kept), "chat.v2");
    ck_assert_uint_ne(websocket_id(kept), 0);
    promise = promise_of(context);
    memset(client, 'c', sizeof(client));
    client[sizeof(client) - 1] = '\0';
    memset(protocol, 'p', sizeof(protocol));
    protocol[sizeof(protocol) - 1] = '\0';
    promise.client = client;
    promise.protocol = _i == 0 ? protocol : NULL;
    fds[1] = connect_from(&promise, workers[0]);
    client[0] = '\0';                       /* it was copied */
    protocol[0] = '\0';
    turn();
    ck_assert_ptr_null(websocket_data(kept));
    ck_assert_uint_eq(strlen(websocket_client(kept)), 299);
    ck_assert_uint_eq(strlen(websocket_protocol(kept)), _i == 0 ? 299 : 0);
    close(fds[0]);
    close(fds[1]);
    end_process();
}
END_TEST

START_TEST(data_that_was_set_before_is_destroyed)
{
    atomic_int others = 0;
    int fd = begin_alone();

    websocket_set_data(kept, &others, count_data);
    ck_assert_int_eq(destroyed, 1);
    ck_assert_ptr_eq(websocket_data(kept), &others);
    websocket_set_data(kept, NULL, NULL);
    ck_assert_int_eq(others, 1);
    ck_assert_ptr_null(websocket_data(kept));
    websocket_set_data(kept, &others, count_data);
    ck_assert_int_eq(others, 1);
    close(fd);
    end_process();
    ck_assert_int_eq(others, 2);
    ck_assert_int_eq(destroyed, 1);
}
END_TEST

/* So that a socket is full soon. */
static void make_small(void)
{
    int size = 4096;

    setsockopt(kept->link.conn.io.fd, SOL_SOCKET, SO_SNDBUF, &size,
               sizeof(size));
}

static int send_until_not(int result)
{
    static const uint8_t block[1000];
    int got;

    while ((got = websocket_send(kept, WEBSOCKET_BINARY, block,
                                 sizeof(block))) == result) {
        turn();
    }
    return got;
}

START_TEST(slow_client_is_waited_for)
{
    uint8_t payload[1000];
    size_t length;
    uint8_t first;
    int fd = begin_alone();
    int64_t limit = ws_test_now() + LIMIT_MS;

    make_small();
    ck_assert_uint_eq(websocket_buffered(kept), 0);
    ck_assert_int_eq(send_until_not(WEBSOCKET_SENT), WEBSOCKET_QUEUED);
    ck_assert_int_eq(websocket_send(kept, WEBSOCKET_TEXT, "last", 4),
                     WEBSOCKET_QUEUED);
    ck_assert_uint_ge(websocket_buffered(kept), 1004 + 6);
    turn();
    ck_assert_int_eq(drained, 0);
    do {
        ck_assert_int_lt(ws_test_now(), limit);
        turn();
        ck_assert(client_next(fd, &first, payload, 1000, &length));
    } while (first != 0x81);
    turns_until(&drained, 1);
    ck_assert_uint_eq(websocket_buffered(kept), 0);
    ck_assert_uint_eq(websocket_dropped(kept), 0);
    ck_assert_int_eq(websocket_send(kept, WEBSOCKET_TEXT, "x", 1),
                     WEBSOCKET_SENT);
    turn();
    client_expect(fd, 0x81, "x");
    close(fd);
    end_process();
    ck_assert_int_eq(drained, 1);
}
END_TEST

/* What was dropped is counted, and said at the end. */
START_TEST(messages_that_are_dropped_are_counted)
{
    int fd;

    context = begin_turns(&good);
    limits.send_queue = 4000;
    limits.queue_policy = WS_QUEUE_DROP_NEWEST;
    fd = connect_to(context, workers[0]);
    turn();
    make_small();
    ck_assert_int_eq(send_until_not(WEBSOCKET_SENT), WEBSOCKET_QUEUED);
    ck_assert_int_eq(send_until_not(WEBSOCKET_QUEUED), WEBSOCKET_DROPPED);
    ck_assert_int_eq(websocket_send(kept, WEBSOCKET_TEXT, "too much", 8),
                     WEBSOCKET_DROPPED);
    ck_assert_uint_eq(websocket_dropped(kept), 2);
    end_process();
    close(fd);
    ck_assert(logged_has("2 messages were dropped"));
}
END_TEST

START_TEST(nothing_is_sent_once_it_is_closing)
{
    int fd = begin_alone();

    websocket_close(kept, 4000, NULL);
    websocket_close(kept, 4001, "the first one counts");
    ck_assert_int_eq(websocket_send(kept, WEBSOCKET_TEXT, "late", 4),
                     WEBSOCKET_CLOSED);
    ck_assert_int_eq(websocket_subscribe(kept, "room"), -1);
    turn();
    client_expect_close(fd, 4000, "");
    close(fd);
    end_process();
}
END_TEST

START_TEST(paused_connection_reads_on_when_resumed)
{
    struct pollfd p;
    int fd = begin_alone();

    websocket_pause(kept);
    client_send_text(fd, "one");
    turn();
    turn();
    p = (struct pollfd){.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    websocket_resume(kept);
    turn();
    turn();
    client_expect(fd, 0x81, "one");
    close(fd);
    end_process();
}
END_TEST

START_TEST(line_of_a_connection_names_client_and_handler)
{
    char text[3000];
    int fd = begin_alone();

    logged.text[0] = '\0';
    websocket_log(kept, WEBSOCKET_LOG_WARNING, "%s %d", "number", 1);
    ck_assert_str_eq(logged.text, "[client 192.0.2.7] good: number 1\n");
    ck_assert_int_eq(logged.level, WS_LOG_WARNING);
    websocket_log(kept, 99, "x");
    ck_assert_int_eq(logged.level, WS_LOG_DEBUG);
    logged.text[0] = '\0';
    logged.wanted = WS_LOG_ERROR;
    websocket_log(kept, WEBSOCKET_LOG_WARNING, "not wanted");
    ck_assert_str_eq(logged.text, "");
    memset(text, 'l', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    websocket_log(kept, WEBSOCKET_LOG_ERROR, "%s", text);
    ck_assert_uint_eq(strlen(logged.text), 1024);
    close(fd);
    end_process();
}
END_TEST

START_TEST(ids_are_unique)
{
    uint8_t first[8];
    uint8_t second[8];
    uint8_t opcode;
    size_t length;
    int fds[2];

    begin(&good);
    fds[0] = connect_to(context, workers[0]);
    fds[1] = connect_to(context, workers[0]);
    client_send_text(fds[0], "i");
    client_send_text(fds[1], "i");
    ck_assert(client_next(fds[0], &opcode, first, 8, &length));
    ck_assert_uint_eq(length, 8);
    ck_assert_uint_eq(opcode, 0x82);
    ck_assert(client_next(fds[1], &opcode, second, 8, &length));
    ck_assert(memcmp(first, second, 8) != 0);
    close(fds[0]);
    close(fds[1]);
    end_process();
}
END_TEST

/* Of 123 bytes, and never in the middle of a character. */
START_TEST(close_reason_is_cut_between_characters)
{
    static const struct {
        const char *unit;
        size_t before, kept; /* bytes of ASCII in front; of all */
    } cases[] = {
        {"a", 0, 123},
        {"\xc3\xa4", 0, 122},
        {"\xc3\xa4", 1, 123},
        {"\xe2\x82\xac", 0, 123},
        {"\xe2\x82\xac", 1, 121},
        {"\xe2\x82\xac", 2, 122},
        {"\xf0\x9f\x98\x80", 0, 120},
        {"\xf0\x9f\x98\x80", 1, 121},
        {"\xf0\x9f\x98\x80", 2, 122},
        {"\xf0\x9f\x98\x80", 3, 123},
    };
    char text[400] = "c ";
    char expected[124];
    size_t i;

    begin(&good);
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        size_t at = 2 + cases[i].before;
        int fd = connect_to(context, workers[0]);

        memset(text + 2, 'x', cases[i].before);
        while (at < 250) {
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s",
                                   cases[i].unit);
        }
        client_send_text(fd, text);
        snprintf(expected, sizeof(expected), "%.*s", (int)cases[i].kept,
                 text + 2);
        client_expect_close(fd, 4000, expected);
        close(fd);
    }
    end_process();
}
END_TEST

START_TEST(close_takes_a_short_reason_or_none)
{
    int fd;

    begin(&good);
    fd = connect_to(context, workers[0]);
    client_send_text(fd, "c short");
    client_expect_close(fd, 4000, "short");
    close(fd);
    fd = connect_to(context, workers[0]);
    client_send_text(fd, "c");
    client_expect_close(fd, 4000, "");
    close(fd);
    end_process();
}
END_TEST

START_TEST(close_with_a_code_that_is_none_is_1011)
{
    int fd;

    begin(&good);
    fd = connect_to(context, workers[0]);
    client_send_text(fd, "x");
    client_expect_close(fd, 1011, "no such code");
    close(fd);
    end_process();
}
END_TEST

/* --- topics --- */

START_TEST(topics_belong_to_the_context)
{
    websocket_context_t *other;
    int fds[3];
    int i;

    begin(&good);
    other = add_context(&good);
    for (i = 0; i < 3; i++) {
        fds[i] = connect_with_data(i < 2 ? context : other);
        client_send_text(fds[i], "s room");
        client_expect(fds[i], 0x81, "0");
    }
    client_send_text(fds[0], "p to all");
    client_expect(fds[0], 0x81, "to all");
    client_expect(fds[1], 0x81, "to all");
    client_send_text(fds[0], "n to others");
    client_expect(fds[1], 0x81, "to others");
    client_send_text(fds[2], "p elsewhere");
    client_expect(fds[2], 0x81, "elsewhere");
    client_send_text(fds[0], "echo");
    client_expect(fds[0], 0x81, "echo");
    client_send_close(fds[0], 4711);        /* its handler publishes then */
    client_expect_close(fds[0], 4711, "");
    client_expect(fds[1], 0x81, "left");
    for (i = 0; i < 3; i++) {
        close(fds[i]);
    }
    end_process();
}
END_TEST

/* The same configuration read again: topics span the restart. */
START_TEST(contexts_of_one_key_share_topics)
{
    websocket_context_t *again;
    int fds[2];

    begin(&good);
    again = add_context(&good);
    ws_handler_set_key(again, "0");
    fds[0] = connect_with_data(context);
    fds[1] = connect_with_data(again);
    client_send_text(fds[0], "s room");
    client_expect(fds[0], 0x81, "0");
    client_send_text(fds[1], "p across");
    client_expect(fds[0], 0x81, "across");
    close(fds[0]);
    close(fds[1]);
    end_process();
}
END_TEST

START_TEST(topic_has_a_longest_name)
{
    char text[2 + WEBSOCKET_TOPIC_MAX + 2] = "s ";
    int fd;

    begin(&good);
    fd = connect_with_data(context);
    memset(text + 2, 't', WEBSOCKET_TOPIC_MAX);
    client_send_text(fd, text);
    client_expect(fd, 0x81, "0");
    text[2 + WEBSOCKET_TOPIC_MAX] = 't';
    client_send_text(fd, text);
    client_expect(fd, 0x81, "-1");
    client_send_text(fd, "s ");             /* empty, but a name */
    client_expect(fd, 0x81, "0");
    close(fd);
    end_process();
}
END_TEST

START_TEST(what_is_too_long_is_not_published)
{
    static uint8_t large[WS_LOG_SIZE_MIN];
    char topic[WEBSOCKET_TOPIC_MAX + 2];
    int fd = begin_alone();

    memset(topic, 't', sizeof(topic));
    topic[sizeof(topic) - 1] = '\0';
    ck_assert_int_eq(websocket_publish(kept, topic, WEBSOCKET_TEXT, "x", 1, 0),
                     -1);
    ck_assert_int_eq(websocket_publish(kept, "room", WEBSOCKET_BINARY, large,
                                       sizeof(large), 0),
                     -1);
    topic[WEBSOCKET_TOPIC_MAX] = '\0';
    ck_assert_int_eq(websocket_subscribe(kept, topic), 0);
    ck_assert_int_eq(websocket_publish(kept, topic, WEBSOCKET_TEXT, "yes", 3,
                                       0),
                     0);
    turn();
    client_expect(fd, 0x81, "yes");
    close(fd);
    end_process();
}
END_TEST

START_TEST(topic_that_is_left_brings_nothing_more)
{
    char topic[WEBSOCKET_TOPIC_MAX + 2];
    int fd = begin_alone();

    memset(topic, 't', sizeof(topic));
    topic[sizeof(topic) - 1] = '\0';
    ck_assert_int_eq(websocket_unsubscribe(kept, "room"), -1);
    ck_assert_int_eq(websocket_unsubscribe(kept, topic), -1);
    ck_assert_int_eq(websocket_subscribe(kept, "room"), 0);
    ck_assert_int_eq(websocket_subscribe(kept, "other"), 0);
    websocket_publish(kept, "room", WEBSOCKET_TEXT, "published before", 16, 0);
    ck_assert_int_eq(websocket_unsubscribe(kept, "room"), 0);
    ck_assert_int_eq(websocket_unsubscribe(kept, "room"), -1);
    websocket_publish(kept, "room", WEBSOCKET_TEXT, "and after", 9, 0);
    websocket_publish(kept, "other", WEBSOCKET_TEXT, "other", 5, 0);
    turn();
    client_expect(fd, 0x81, "other");
    close(fd);
    end_process();
}
END_TEST

START_TEST(subscribers_of_a_topic_are_counted)
{
    char topic[WEBSOCKET_TOPIC_MAX + 2];
    int fd = begin_alone();

    memset(topic, 't', sizeof(topic));
    topic[sizeof(topic) - 1] = '\0';
    ck_assert_int_eq(websocket_subscribers(context, "room"), 0);
    ck_assert_int_eq(websocket_subscribe(kept, "room"), 0);
    ck_assert_int_eq(websocket_subscribe(kept, "room"), 0);
    ck_assert_int_eq(websocket_subscribers(context, "room"), 1);
    ck_assert_int_eq(websocket_subscribers(context, topic), 0);
    ck_assert_int_eq(websocket_subscribers(add_context(&good), "room"), 0);
    close(fd);
    turn();
    ck_assert_int_eq(websocket_subscribers(context, "room"), 0);
    process.context_count = 1;              /* the other has not begun */
    end_process();
}
END_TEST

/* --- what is reserved for compression --- */

/* A promise for whose contexts memory is reserved. */
static ws_promise_t promise_with_takeover(void)
{
    ws_promise_t promise = promise_with_data(context);

    promise.deflate = (ws_deflate_params_t){.server_bits = 15,
                                            .client_bits = 15,
                                            .server_takeover = true,
                                            .client_takeover = true};
    ck_assert(ws_budget_reserve(&budgets.compression,
                                ws_deflate_cost(&promise.deflate)));
    ck_assert_uint_gt(budgets.compression.used, 0);
    return promise;
}

static void wait_until_used(size_t least, size_t most)
{
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    while (budgets.compression.used < least ||
           budgets.compression.used > most) {
        ck_assert_int_lt(ws_test_now(), limit);
        poll(NULL, 0, 1);
    }
}

START_TEST(reservation_is_given_back_when_the_connection_ends)
{
    ws_promise_t promise;
    uint8_t payload[16];
    size_t reserved;
    size_t length;
    uint8_t first;
    int fd;

    begin(&good);
    limits.close_timeout = 50;
    promise = promise_with_takeover();
    reserved = budgets.compression.used;
    fd = connect_from(&promise, workers[0]);
    client_send_text(fd, "hello");
    ck_assert(client_next(fd, &first, payload, sizeof(payload), &length));
    ck_assert_uint_eq(first, 0xc1);
    ck_assert_uint_eq(length, 7);
    ck_assert_mem_eq(payload, "\xca\x48\xcd\xc9\xc9\x07\x00", 7);
    ck_assert_uint_eq(budgets.compression.used, reserved);
    if (_i == 0) {
        client_send_close(fd, 4711);
    }
    else {
        close(fd);
    }
    wait_until_used(0, 0);
    if (_i == 0) {
        close(fd);
    }
    end_process();
    ck_assert_int_eq(destroyed, 1);
}
END_TEST

/* Of each connection its own part. */
START_TEST(reservations_add_up)
{
    ws_promise_t promises[2];
    size_t first;
    size_t both;
    int fds[2];

    begin(&good);
    promises[0] = promise_with_takeover();
    first = budgets.compression.used;
    promises[1] = promise_with_data(context);
    promises[1].deflate = (ws_deflate_params_t){.server_bits = 9,
                                                .client_bits = 15,
                                                .server_takeover = true};
    ck_assert(ws_budget_reserve(&budgets.compression,
                                ws_deflate_cost(&promises[1].deflate)));
    both = budgets.compression.used;
    fds[0] = connect_from(&promises[0], workers[0]);
    fds[1] = connect_from(&promises[1], workers[0]);
    close(fds[0]);
    wait_until_used(0, both - first);
    ck_assert_uint_eq(budgets.compression.used, both - first);
    close(fds[1]);
    wait_until_used(0, 0);
    end_process();
}
END_TEST

START_TEST(reservation_is_given_back_when_the_worker_has_ended)
{
    ws_promise_t promise;
    int fd;

    begin(&good);
    promise = promise_with_takeover();
    stop_workers();
    fd = connect_from(&promise, workers[0]);
    client_expect_close(fd, 1001, "");
    close(fd);
    ck_assert_uint_eq(budgets.compression.used, 0);
    end_process();
    ck_assert_int_eq(destroyed, 1);
}
END_TEST

/* A descriptor that cannot be polled. */
START_TEST(reservation_is_given_back_when_the_loop_cannot_take_it)
{
    ws_promise_t promise;
    websocket_t *ws;
    ws_io_t io;

    begin(&good);
    promise = promise_with_takeover();
    ws_io_init_fd(&io, open("/dev/null", O_RDWR | O_CLOEXEC));
    ws = ws_websocket_create(&promise, &io, NULL, 0);
    ck_assert_ptr_nonnull(ws);
    ws_websocket_post(ws, workers[0]);
    wait_until_used(0, 0);
    end_process();
    ck_assert_int_eq(destroyed, 1);
    ck_assert_ptr_nonnull(strstr(logged.text, "dropped before it was open"));
}
END_TEST

START_TEST(reservation_is_given_back_when_it_is_discarded)
{
    ws_promise_t promise;
    int fd;

    begin(&good);
    promise = promise_with_takeover();
    ws_websocket_discard(make_from(&promise, &fd, NULL), 1001);
    client_expect_close(fd, 1001, "");
    client_expect_end(fd);
    close(fd);
    ck_assert_uint_eq(budgets.compression.used, 0);
    ck_assert_int_eq(destroyed, 1);
    end_process();
}
END_TEST

START_TEST(reservation_is_given_back_when_there_is_no_memory)
{
    ws_promise_t promise;
    uint8_t *early = malloc(10);
    ws_io_t io;
    int client;
    int fd;

    begin(&good);
    promise = promise_with_takeover();
    client = client_open(&fd);
    ws_io_init_fd(&io, fd);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_ptr_null(ws_websocket_create(&promise, &io, early, 10));
    ck_assert(ws_test_alloc_unfail());
    ck_assert_int_eq(ws_test_alloc.live, -1); /* early */
    ws_test_alloc_end();
    client_expect_end(client);
    close(client);
    ck_assert_uint_eq(budgets.compression.used, 0);
    ck_assert_int_eq(destroyed, 1);
    end_process();
}
END_TEST

START_TEST(reservation_is_given_back_when_the_promise_is_dropped)
{
    ws_promise_t promise;

    begin(&good);
    promise = promise_with_takeover();
    ws_promise_drop(&promise);
    ck_assert_uint_eq(budgets.compression.used, 0);
    ck_assert_int_eq(destroyed, 1);

    /* nothing is reserved, nothing to destroy, and no budget */
    promise = promise_with_data(NULL);
    promise.deflate =
        (ws_deflate_params_t){.server_bits = 15, .client_bits = 15};
    promise.limits = &(const ws_conn_limits_t){.budget = NULL};
    promise.destroy = NULL;
    ws_promise_drop(&promise);
    ck_assert_int_eq(destroyed, 1);
    end_process();
}
END_TEST

/* Compression without context takeover. */
static int connect_compressed(void)
{
    ws_promise_t promise = promise_with_data(context);
    int fd;

    promise.deflate =
        (ws_deflate_params_t){.server_bits = 15, .client_bits = 15};
    fd = connect_from(&promise, workers[0]);
    return fd;
}

/* The budget goes through worker and loop to what its connections share. */
START_TEST(message_is_charged_to_the_budget_while_it_lasts)
{
    ws_test_bytes_t bytes = {0};
    int fd;

    begin(&good);
    fd = connect_compressed();
    ws_test_add_frame(&bytes, 0x41, "\xca\x48\xcd", 3);
    client_send(fd, &bytes);
    wait_until_used(32768, 65536);
    ws_test_add_frame(&bytes, 0x80, "\xc9\xc9\x07\x00", 4);
    client_send(fd, &bytes);
    client_expect(fd, 0x81, "hello");
    wait_until_used(0, 0);
    close(fd);
    end_process();
}
END_TEST

/* No byte came, so no memory was taken for it. */
START_TEST(empty_message_is_not_at_null)
{
    ws_test_bytes_t frame = {0};
    int fd;

    begin(&good);
    fd = connect_compressed();
    ws_test_add_frame(&frame, 0xc1, "", 0);
    client_send(fd, &frame);
    client_expect(fd, 0x81, "");
    close(fd);
    end_process();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(connection_is_opened_served_and_closed),
        WS_TEST_LOOP(handler_with_nothing_but_message_serves, 2),
        WS_TEST(early_input_is_served_first),
        WS_TEST(connection_for_a_worker_that_has_ended_is_freed),
        WS_TEST_LOOP(connection_knows_where_it_comes_from, 2),
        WS_TEST(data_that_was_set_before_is_destroyed),
        WS_TEST(slow_client_is_waited_for),
        WS_TEST(messages_that_are_dropped_are_counted),
        WS_TEST(nothing_is_sent_once_it_is_closing),
        WS_TEST(paused_connection_reads_on_when_resumed),
        WS_TEST(line_of_a_connection_names_client_and_handler),
        WS_TEST(ids_are_unique),
        WS_TEST(close_reason_is_cut_between_characters),
        WS_TEST(close_takes_a_short_reason_or_none),
        WS_TEST(close_with_a_code_that_is_none_is_1011),
        WS_TEST(topics_belong_to_the_context),
        WS_TEST(contexts_of_one_key_share_topics),
        WS_TEST(topic_has_a_longest_name),
        WS_TEST(what_is_too_long_is_not_published),
        WS_TEST(topic_that_is_left_brings_nothing_more),
        WS_TEST(subscribers_of_a_topic_are_counted),
        WS_TEST_LOOP(reservation_is_given_back_when_the_connection_ends, 2),
        WS_TEST(reservations_add_up),
        WS_TEST(reservation_is_given_back_when_the_worker_has_ended),
        WS_TEST(reservation_is_given_back_when_the_loop_cannot_take_it),
        WS_TEST(reservation_is_given_back_when_it_is_discarded),
        WS_TEST(reservation_is_given_back_when_there_is_no_memory),
        WS_TEST(reservation_is_given_back_when_the_promise_is_dropped),
        WS_TEST(message_is_charged_to_the_budget_while_it_lasts),
        WS_TEST(empty_message_is_not_at_null),
    };
    int result;

    apr_initialize();
    result = ws_test_run("websocket", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
