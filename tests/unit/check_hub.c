/* ws_hub and ws_worker: publish and subscribe, in one loop, in several, and
 * in several processes. */
#include "ws_hub.h"

#include <apr_general.h>
#include <semaphore.h>
#include <sys/wait.h>

#include "ws_frame.h"
#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_peer.h"
#include "ws_test_socket.h"
#include "ws_worker.h"

#define SLOTS 4

static ws_log_t *log_;
static ws_hub_t *hubs[2];
static peer_t peers[3];
static ws_subscriber_t subscribers[3];

static struct {
    char text[1024];
    ws_log_level_t level;
    int lines;
} logged;

static bool logger_wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    (void)logger;
    (void)level;
    return true;
}

static void logger_write(const ws_logger_t *logger, ws_log_level_t level,
                         const char *text)
{
    (void)logger;
    snprintf(logged.text, sizeof(logged.text), "%s", text);
    logged.level = level;
    logged.lines++;
}

static const ws_logger_t logger = {.wanted = logger_wanted,
                                   .write = logger_write};

/* --- one thread: hubs that the test itself runs, scripted connections --- */

/* Peers 0 and 1 belong to hub 0, peer 2 to hub 1. */
static void begin(void)
{
    int i;

    memset(&logged, 0, sizeof(logged));
    peer_begin();
    peer_limits.send_queue = PEER_OUT;
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, SLOTS), WS_OK);
    for (i = 0; i < 2; i++) {
        hubs[i] = ws_hub_create(log_, &logger);
        ck_assert_ptr_nonnull(hubs[i]);
        ck_assert_ptr_eq(ws_hub_log(hubs[i]), log_);
    }
    for (i = 0; i < 3; i++) {
        peer_start(&peers[i]);
        subscribers[i] = (ws_subscriber_t){.conn = &peers[i].conn,
                                           .id = ws_log_next_id(log_)};
    }
}

static ws_hub_t *hub_of(int i)
{
    return hubs[i / 2];
}

static void end(void)
{
    int i;

    for (i = 0; i < 3; i++) {
        ws_hub_unsubscribe_all(hub_of(i), &subscribers[i]);
        ck_assert_ptr_null(subscribers[i].subscriptions);
        peer_expect_no_more(&peers[i]);
        peer_end(&peers[i]);
    }
    ws_hub_destroy(hubs[0]);
    ws_hub_destroy(hubs[1]);
    ws_log_destroy(log_);
}

static ws_status_t subscribe(int i, const char *topic)
{
    return ws_hub_subscribe(hub_of(i), &subscribers[i], topic, strlen(topic));
}

static ws_status_t unsubscribe(int i, const char *topic)
{
    return ws_hub_unsubscribe(hub_of(i), &subscribers[i], topic,
                              strlen(topic));
}

/* In all hubs. */
static int64_t subscriber_count(const char *topic)
{
    return ws_log_subscribers(log_, topic, strlen(topic));
}

static void publish_except(const char *topic, const char *text, uint64_t except)
{
    ws_record_t record = {.topic = topic,
                          .topic_length = strlen(topic),
                          .except = except,
                          .opcode = WS_OP_TEXT,
                          .data = (const uint8_t *)text,
                          .length = strlen(text)};

    ck_assert_int_eq(ws_log_append(log_, &record, NULL), WS_OK);
}

static void publish(const char *topic, const char *text)
{
    publish_except(topic, text, 0);
}

static bool is_ready(int hub)
{
    ws_source_t source = ws_hub_source(hubs[hub]);

    return source.is_ready(source.baton);
}

/* One turn of the hub's loop. */
static void run_once(int hub)
{
    ws_source_t source = ws_hub_source(hubs[hub]);

    source.run(source.baton);
    peer_end_turn();
}

static void run_all(void)
{
    int hub;

    for (hub = 0; hub < 2; hub++) {
        while (is_ready(hub)) {
            run_once(hub);
        }
    }
}

START_TEST(message_reaches_all_subscribers_of_its_topic_in_order)
{
    int i;

    begin();
    subscribe(0, "a");
    subscribe(0, "b");
    subscribe(1, "b");
    subscribe(2, "a");
    publish("a", "one");
    publish("b", "two");
    publish("c", "for nobody");
    publish("ab", "for nobody");
    publish("", "for nobody");
    publish("a", "three");
    run_all();
    for (i = 0; i <= 2; i += 2) {
        peer_expect(&peers[i], 0x81, "one");
        if (i == 0) {
            peer_expect(&peers[i], 0x81, "two");
        }
        peer_expect(&peers[i], 0x81, "three");
    }
    peer_expect(&peers[1], 0x81, "two");
    end();
}
END_TEST

START_TEST(topic_is_any_bytes)
{
    static const char with_nul[] = "a\0b";
    ws_record_t record = {.topic = with_nul,
                          .topic_length = 3,
                          .opcode = WS_OP_BINARY,
                          .data = (const uint8_t *)"x",
                          .length = 1};

    begin();
    ws_hub_subscribe(hubs[0], &subscribers[0], with_nul, 3);
    ws_hub_subscribe(hubs[0], &subscribers[1], with_nul, 0);
    subscribe(2, "a");
    ck_assert_int_eq(ws_log_append(log_, &record, NULL), WS_OK);
    record.topic_length = 0;
    ck_assert_int_eq(ws_log_append(log_, &record, NULL), WS_OK);
    run_all();
    peer_expect(&peers[0], 0x82, "x");
    peer_expect(&peers[1], 0x82, "x");
    end();
}
END_TEST

START_TEST(sender_is_left_out_on_request)
{
    begin();
    subscribe(0, "a");
    subscribe(1, "a");
    subscribe(2, "a");
    publish_except("a", "not to 1", subscribers[1].id);
    publish_except("a", "not to 2", subscribers[2].id);
    run_all();
    peer_expect(&peers[0], 0x81, "not to 1");
    peer_expect(&peers[0], 0x81, "not to 2");
    peer_expect(&peers[1], 0x81, "not to 2");
    peer_expect(&peers[2], 0x81, "not to 1");
    end();
}
END_TEST

/* Also where others of the same hub still wait for older messages. */
START_TEST(nothing_from_before_subscribing_is_delivered)
{
    begin();
    publish("a", "too early");
    subscribe(0, "a");
    publish("a", "first for 0");
    subscribe(1, "a");
    subscribe(1, "b");
    publish("a", "first for 1");
    run_all();
    peer_expect(&peers[0], 0x81, "first for 0");
    peer_expect(&peers[0], 0x81, "first for 1");
    peer_expect(&peers[1], 0x81, "first for 1");
    end();
}
END_TEST

START_TEST(subscribing_twice_is_once)
{
    begin();
    ck_assert_int_eq(subscribe(0, "a"), WS_OK);
    publish("a", "one");
    ck_assert_int_eq(subscribe(0, "a"), WS_OK);
    run_all();
    peer_expect(&peers[0], 0x81, "one");
    end();
}
END_TEST

START_TEST(who_has_left_gets_nothing_more)
{
    begin();
    subscribe(0, "a");
    subscribe(0, "b");
    subscribe(1, "a");
    publish("a", "one");
    ws_hub_unsubscribe_all(hubs[0], &subscribers[0]);
    ws_hub_unsubscribe_all(hubs[0], &subscribers[0]);
    publish("a", "two");
    publish("b", "three");
    run_all();
    peer_expect(&peers[1], 0x81, "one");
    peer_expect(&peers[1], 0x81, "two");
    end();
}
END_TEST

/* Also of what was published before, and is not delivered yet. */
START_TEST(unsubscribing_ends_one_subscription)
{
    static const char *const topics[] = {"a", "b", "c"};
    int left;
    int i;

    for (left = 0; left < 3; left++) {      /* first, middle, last one */
        begin();
        for (i = 0; i < 3; i++) {
            subscribe(0, topics[i]);
            subscribe(1, topics[i]);
            publish(topics[i], topics[i]);
        }
        ck_assert_int_eq(unsubscribe(0, topics[left]), WS_OK);
        for (i = 0; i < 3; i++) {
            publish(topics[i], "later");
        }
        run_all();
        for (i = 0; i < 3; i++) {
            if (i != left) {
                peer_expect(&peers[0], 0x81, topics[i]);
            }
            peer_expect(&peers[1], 0x81, topics[i]);
        }
        for (i = 0; i < 3; i++) {
            if (i != left) {
                peer_expect(&peers[0], 0x81, "later");
            }
            peer_expect(&peers[1], 0x81, "later");
        }
        end();
    }
}
END_TEST

START_TEST(unsubscribing_needs_a_subscription)
{
    begin();
    ck_assert_int_eq(unsubscribe(0, "a"), WS_EINVAL);
    subscribe(1, "a");
    subscribe(0, "b");
    ck_assert_int_eq(unsubscribe(0, "a"), WS_EINVAL);
    ck_assert_int_eq(unsubscribe(0, "b"), WS_OK);
    ck_assert_int_eq(unsubscribe(0, "b"), WS_EINVAL);
    subscribe(2, "a");
    ck_assert_int_eq(unsubscribe(2, "a"), WS_OK);
    publish("a", "one");
    run_all();
    peer_expect(&peers[1], 0x81, "one");
    end();
}
END_TEST

/* Whether others stay in the topic, and the hub reads on, or nobody does. */
START_TEST(who_subscribes_again_begins_anew)
{
    begin();
    if (_i == 0) {
        subscribe(1, "a");
    }
    subscribe(0, "a");
    publish("a", "one");
    unsubscribe(0, "a");
    publish("a", "two");
    subscribe(0, "a");
    publish("a", "three");
    run_all();
    if (_i == 0) {
        peer_expect(&peers[1], 0x81, "one");
        peer_expect(&peers[1], 0x81, "two");
        peer_expect(&peers[1], 0x81, "three");
    }
    peer_expect(&peers[0], 0x81, "three");
    end();
}
END_TEST

START_TEST(hub_sleeps_when_the_last_has_unsubscribed)
{
    ws_loop_waker_t waker;
    ws_source_t source;

    begin();
    waker = ws_hub_waker(hubs[0]);
    source = ws_hub_source(hubs[0]);
    subscribe(0, "a");
    subscribe(1, "b");
    unsubscribe(0, "a");
    atomic_store(waker.sleeping, 1);
    publish("b", "one");
    ck_assert_uint_eq(*waker.sleeping, 0);
    run_all();
    peer_expect(&peers[1], 0x81, "one");
    publish("b", "never delivered");
    unsubscribe(1, "b");
    ck_assert(!is_ready(0));
    ck_assert_int_eq(source.wait_limit(source.baton), -1);
    atomic_store(waker.sleeping, 1);
    publish("b", "for nobody");
    ck_assert_uint_eq(*waker.sleeping, 1);
    end();
}
END_TEST

START_TEST(subscribers_are_counted)
{
    begin();
    ck_assert_int_eq(subscriber_count("a"), 0);
    subscribe(0, "a");
    subscribe(0, "a");
    ck_assert_int_eq(subscriber_count("a"), 1);
    subscribe(1, "a");
    subscribe(2, "a");
    subscribe(2, "b");
    ck_assert_int_eq(subscriber_count("a"), 3);
    ck_assert_int_eq(subscriber_count("b"), 1);
    unsubscribe(0, "b");
    unsubscribe(0, "a");
    ck_assert_int_eq(subscriber_count("a"), 2);
    ck_assert_int_eq(subscriber_count("b"), 1);
    ws_hub_unsubscribe_all(hubs[1], &subscribers[2]);
    ck_assert_int_eq(subscriber_count("a"), 1);
    ck_assert_int_eq(subscriber_count("b"), 0);
    unsubscribe(1, "a");
    ck_assert_int_eq(subscriber_count("a"), 0);
    end();
}
END_TEST

static const char *numbered(int i)
{
    static char topic[32];

    snprintf(topic, sizeof(topic), "topic %d", i);
    return topic;
}

/* What could not be counted is, when enough others have left: all at once, or
 * as many as come. */
START_TEST(what_was_too_much_to_count_is_counted_later)
{
    const int few = 2900;
    const int many = 5000;
    int i;

    if (ws_test_is_slow()) {
        return;
    }
    begin();
    for (i = 0; i < many; i++) {
        subscribe(0, numbered(i));
    }
    subscribe(2, numbered(few - 1));
    ck_assert_int_eq(subscriber_count("nowhere"), -1);
    if (_i == 0) {
        for (i = many; i-- > few;) {
            ck_assert_int_eq(unsubscribe(0, numbered(i)), WS_OK);
        }
    }
    else {
        for (i = 0; i < many - few; i++) {  /* the oldest, which are counted */
            ck_assert_int_eq(unsubscribe(0, numbered(i)), WS_OK);
        }
        ck_assert_int_eq(subscriber_count(numbered(few - 1)), 2);
        for (i = 0; i < few; i++) {
            unsubscribe(0, numbered(many + i - 1));
            subscribe(0, numbered(many + i));
        }
    }
    ck_assert_int_eq(subscriber_count("nowhere"), 0);
    for (i = 0; _i == 0 && i < few; i++) {
        ck_assert_int_eq(subscriber_count(numbered(i)), i == few - 1 ? 2 : 1);
    }
    end();
}
END_TEST

/* While it has no subscribers a hub reads nothing and is not woken. */
START_TEST(hub_without_subscribers_sleeps_on)
{
    ws_loop_waker_t waker;
    int i;

    begin();
    waker = ws_hub_waker(hubs[0]);
    atomic_store(waker.sleeping, 1);
    publish("a", "x");
    ck_assert_uint_eq(*waker.sleeping, 1);
    ck_assert(!is_ready(0));
    subscribe(0, "a");
    ck_assert(!is_ready(0));
    publish("a", "one");
    ck_assert_uint_eq(*waker.sleeping, 0);
    ck_assert(is_ready(0));
    run_all();
    peer_expect(&peers[0], 0x81, "one");
    ws_hub_unsubscribe_all(hubs[0], &subscribers[0]);
    atomic_store(waker.sleeping, 1);
    for (i = 0; i < 5000; i++) {            /* a lap, and no gap is told */
        publish("a", "nobody hears this");
    }
    ck_assert_uint_eq(*waker.sleeping, 1);
    subscribe(0, "a");
    publish("a", "two");
    run_all();
    peer_expect(&peers[0], 0x81, "two");
    ck_assert_int_eq(logged.lines, 0);
    end();
}
END_TEST

START_TEST(thousands_of_topics_are_told_apart)
{
    const int count = ws_test_is_slow() ? 300 : 4000;
    char topic[32];
    int i;

    begin();
    for (i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "topic %d", i);
        ck_assert_int_eq(subscribe(i % 3, topic), WS_OK);
    }
    for (i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "topic %d", i);
        publish(topic, topic);
        if (i % 100 == 99) {
            run_all();
        }
    }
    run_all();
    for (i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "topic %d", i);
        peer_expect(&peers[i % 3], 0x81, topic);
    }
    ws_hub_unsubscribe_all(hubs[0], &subscribers[0]);
    for (i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "topic %d", i);
        publish(topic, topic);
        if (i % 100 == 99) {
            run_all();
        }
    }
    run_all();
    for (i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "topic %d", i);
        if (i % 3 != 0) {
            peer_expect(&peers[i % 3], 0x81, topic);
        }
    }
    end();
}
END_TEST

START_TEST(one_turn_delivers_a_bounded_number)
{
    int turns = 0;
    int i;

    begin();
    subscribe(0, "a");
    for (i = 0; i < 1000; i++) {
        publish("a", "x");
    }
    while (is_ready(0)) {
        run_once(0);
        turns++;
    }
    ck_assert_int_gt(turns, 1);
    for (i = 0; i < 1000; i++) {
        peer_expect(&peers[0], 0x81, "x");
    }
    end();
}
END_TEST

START_TEST(lapped_hub_warns_and_goes_on)
{
    char number[16];
    int got = 0;
    int i;
    ws_test_frame_t frame;

    begin();
    subscribe(0, "a");
    for (i = 0; i < 5000; i++) {
        snprintf(number, sizeof(number), "%d", i);
        publish("a", number);
    }
    run_all();
    ck_assert_int_eq(logged.lines, 1);
    ck_assert_int_eq(logged.level, WS_LOG_WARNING);
    while (ws_test_next_frame(&frame, peers[0].out, peers[0].out_length,
                              &peers[0].out_at)) {
        got++;
    }
    ck_assert_int_gt(got, 500);
    ck_assert_int_eq(atoi(logged.text), 5000 - got);
    ck_assert_int_eq(frame.first, 0x81);
    ck_assert_uint_eq(frame.length, 4);
    ck_assert_mem_eq(frame.data, "4999", 4);
    end();
}
END_TEST

START_TEST(closed_connection_is_passed_over)
{
    begin();
    subscribe(0, "a");
    subscribe(1, "a");
    ws_conn_close(&peers[0].conn, 1000, "", 0);
    peer_end_turn();
    peer_expect_close(&peers[0], 1000);
    publish("a", "one");
    run_all();
    peer_expect(&peers[1], 0x81, "one");
    end();
}
END_TEST

START_TEST(full_queue_closes_one_subscriber_only)
{
    int i;

    begin();
    peer_limits.send_queue = 100;
    subscribe(0, "a");
    subscribe(1, "a");
    peers[0].room = 0;
    for (i = 0; i < 30; i++) {
        publish("a", "message");
    }
    run_all();
    ck_assert_str_eq(peers[0].log, "open failure(1013) close(1013) ");
    for (i = 0; i < 30; i++) {
        peer_expect(&peers[1], 0x81, "message");
    }
    peer_writable(&peers[0], PEER_UNLIMITED);
    peer_expect_close(&peers[0], 1013);
    end();
}
END_TEST

START_TEST(each_allocation_that_fails_leaves_the_hub_whole)
{
    bool failed = true;
    long n;

    for (n = 0; failed; n++) {
        ws_test_alloc_begin();
        begin();
        subscribe(1, "other");
        ws_test_alloc_fail(n, false);
        if (subscribe(0, "a") != WS_OK) {
            ck_assert(ws_test_alloc.failed);
            ck_assert_ptr_null(subscribers[0].subscriptions);
            ck_assert_int_eq(subscriber_count("a"), 0);
            ck_assert_int_eq(subscribe(0, "a"), WS_OK);
        }
        ck_assert_int_eq(subscriber_count("a"), 1);
        publish("a", "x");
        publish("other", "x");
        run_once(0);
        failed = ws_test_alloc_unfail();
        run_all();
        if (!failed) {
            peer_expect(&peers[0], 0x81, "x");
            peer_expect(&peers[1], 0x81, "x");
        }
        peers[0].out_at = peers[0].out_length;
        peers[1].out_at = peers[1].out_length;
        end();
        ck_assert_int_eq(ws_test_alloc.live, 0);
        ws_test_alloc_end();
    }
    ck_assert_int_gt(n, 4);
}
END_TEST

START_TEST(hub_that_failed_to_subscribe_sleeps_on)
{
    ws_loop_waker_t waker;
    long n;

    for (n = 0; n < 2; n++) {
        begin();
        waker = ws_hub_waker(hubs[0]);
        ws_test_alloc_begin();
        ws_test_alloc_fail(n, false);
        ck_assert_int_eq(subscribe(0, "a"), WS_ENOMEM);
        ck_assert(ws_test_alloc_unfail());
        ws_test_alloc_end();
        atomic_store(waker.sleeping, 1);
        publish("a", "for nobody");
        ck_assert_uint_eq(*waker.sleeping, 1);
        end();
    }
}
END_TEST

/* The loss is told with the next one. */
START_TEST(message_without_memory_is_told_as_lost)
{
    begin();
    subscribe(0, "a");
    publish("a", "one");
    publish("a", "two");
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    run_once(0);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    run_all();
    peer_expect(&peers[0], 0x81, "two");
    ck_assert_int_eq(logged.lines, 1);
    ck_assert_int_eq(atoi(logged.text), 1);
    end();
}
END_TEST

START_TEST(hub_needs_a_slot)
{
    ws_hub_t *more[SLOTS];
    int i;

    begin();
    for (i = 2; i < SLOTS; i++) {
        more[i] = ws_hub_create(log_, NULL);
        ck_assert_ptr_nonnull(more[i]);
    }
    ck_assert_ptr_null(ws_hub_create(log_, NULL));
    ws_hub_destroy(more[2]);
    more[2] = ws_hub_create(log_, NULL);
    ck_assert_ptr_nonnull(more[2]);
    for (i = 2; i < SLOTS; i++) {
        ws_hub_destroy(more[i]);
    }
    end();
}
END_TEST

/* --- workers: "s TOPIC" subscribes, "p TOPIC TEXT" publishes, "n ..." the
 * same but not to oneself. The answer is "ok". --- */

typedef struct {
    ws_link_t link;
    ws_task_t task;
    ws_hub_t *hub;
    ws_subscriber_t subscriber;
} owner_t;

static atomic_int destroyed;
static apr_pool_t *pool;

static const ws_conn_limits_t limits = {.max_message = 65536,
                                        .send_queue = 16 * 1024 * 1024,
                                        .close_timeout = 1000};

static owner_t *owner_of(ws_conn_t *c)
{
    return (owner_t *)((char *)c - offsetof(owner_t, link.conn));
}

static void ignore(ws_conn_t *c)
{
    (void)c;
}

static void obey(ws_conn_t *c, uint8_t opcode, uint8_t *data, size_t length)
{
    owner_t *owner = owner_of(c);
    ws_record_t record = {.topic = (const char *)data + 2,
                          .topic_length = length - 2,
                          .opcode = opcode,
                          .except = data[0] == 'n' ? owner->subscriber.id : 0};
    const uint8_t *space = memchr(data + 2, ' ', length - 2);
    ws_status_t status;

    if (data[0] == 's') {
        status = ws_hub_subscribe(owner->hub, &owner->subscriber, data + 2,
                                  length - 2);
    }
    else {
        record.topic_length = (size_t)(space - data) - 2;
        record.data = space + 1;
        record.length = length - (size_t)(space + 1 - data);
        status = ws_log_append(ws_hub_log(owner->hub), &record, NULL);
    }
    if (status == WS_OK) {
        ws_conn_send(c, WS_OP_TEXT, "ok", 2);
    }
}

static void leave(ws_conn_t *c, uint16_t code, const uint8_t *reason,
                  size_t length)
{
    owner_t *owner = owner_of(c);

    (void)code;
    (void)reason;
    (void)length;
    ws_hub_unsubscribe_all(owner->hub, &owner->subscriber);
}

static void ignore_failure(ws_conn_t *c, uint16_t code, const char *why)
{
    (void)c;
    (void)code;
    (void)why;
}

static const ws_conn_callbacks_t worker_callbacks = {
    .on_open = ignore,
    .on_message = obey,
    .on_drained = ignore,
    .on_close = leave,
    .on_failure = ignore_failure,
};

static void destroy_owner(ws_link_t *link)
{
    atomic_fetch_add(&destroyed, 1);
    free(link);
}

static void add_owner(ws_loop_t *loop, ws_task_t *task)
{
    owner_t *owner = (owner_t *)((char *)task - offsetof(owner_t, task));

    ws_conn_init(&owner->link.conn, ws_loop_turn(loop), &limits,
                 &worker_callbacks);
    owner->subscriber.conn = &owner->link.conn;
    owner->subscriber.id = ws_log_next_id(ws_hub_log(owner->hub));
    if (ws_loop_add(loop, &owner->link, NULL, 0) != WS_OK) {
        abort();
    }
}

static int connect_to(ws_worker_t *worker)
{
    owner_t *owner = calloc(1, sizeof(*owner));
    int server;
    int fd = client_open(&server);

    ws_io_init_fd(&owner->link.conn.io, server);
    owner->link.destroy = destroy_owner;
    owner->hub = ws_worker_hub(worker);
    owner->task.run = add_owner;
    ck_assert(ws_loop_post(ws_worker_loop(worker), &owner->task));
    return fd;
}

static void command(int fd, const char *text)
{
    client_send_text(fd, text);
    client_expect(fd, 0x81, "ok");
}

static ws_worker_t *create_worker(void)
{
    ws_worker_t *worker = ws_worker_create(log_, &logger, NULL, pool);

    ck_assert_ptr_nonnull(worker);
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
    return worker;
}

static void end_worker(ws_worker_t *worker)
{
    ws_worker_stop(worker, 1001, "end", 0);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
}

static void begin_workers(size_t size)
{
    atomic_store(&destroyed, 0);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
    ck_assert_int_eq(ws_log_create(&log_, size, SLOTS), WS_OK);
}

static void end_workers(void)
{
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}

START_TEST(all_threads_see_one_order)
{
    const int count = ws_test_is_slow() ? 30 : 500;
    ws_worker_t *workers[2];
    int listeners[4];
    int talkers[2];
    char text[32];
    uint8_t first[32];
    uint8_t next[32];
    size_t first_length;
    size_t length;
    uint8_t opcode;
    int i;
    int j;

    begin_workers(1024 * 1024);
    for (i = 0; i < 2; i++) {
        workers[i] = create_worker();
        talkers[i] = connect_to(workers[i]);
    }
    for (i = 0; i < 4; i++) {
        listeners[i] = connect_to(workers[i % 2]);
        command(listeners[i], "s room");
    }
    for (i = 0; i < count; i++) {           /* both at once */
        snprintf(text, sizeof(text), "p room %d", i);
        client_send_text(talkers[0], text);
        client_send_text(talkers[1], text);
    }
    for (i = 0; i < 2 * count; i++) {
        ck_assert(client_next(listeners[0], &opcode, first, sizeof(first),
                              &first_length));
        for (j = 1; j < 4; j++) {
            ck_assert(client_next(listeners[j], &opcode, next, sizeof(next),
                                  &length));
            ck_assert_uint_eq(length, first_length);
            ck_assert(memcmp(first, next, length) == 0);
        }
    }
    for (i = 0; i < 2; i++) {
        end_worker(workers[i]);
        close(talkers[i]);
    }
    for (i = 0; i < 4; i++) {
        close(listeners[i]);
    }
    ck_assert_int_eq(destroyed, 6);
    end_workers();
}
END_TEST

START_TEST(publisher_in_another_thread_can_be_left_out)
{
    ws_worker_t *workers[2];
    int fds[2];
    int i;

    begin_workers(WS_LOG_SIZE_MIN);
    for (i = 0; i < 2; i++) {
        workers[i] = create_worker();
        fds[i] = connect_to(workers[i]);
        command(fds[i], "s room");
    }
    command(fds[0], "n room from 0");
    client_expect(fds[1], 0x81, "from 0");
    command(fds[1], "n room from 1");
    client_expect(fds[0], 0x81, "from 1");
    for (i = 0; i < 2; i++) {
        close(fds[i]);
        end_worker(workers[i]);
    }
    end_workers();
}
END_TEST

/* Subscribers come and go while others publish. */
START_TEST(coming_and_going_disturbs_nobody)
{
    const int rounds = ws_test_is_slow() ? 5 : 60;
    ws_worker_t *workers[2];
    char text[32];
    int steady;
    int round;
    int i;

    begin_workers(1024 * 1024);
    workers[0] = create_worker();
    workers[1] = create_worker();
    steady = connect_to(workers[0]);
    command(steady, "s room");
    for (round = 0; round < rounds; round++) {
        int fds[4];

        for (i = 0; i < 4; i++) {
            fds[i] = connect_to(workers[i % 2]);
            command(fds[i], "s room");
        }
        snprintf(text, sizeof(text), "n room round %d", round);
        command(fds[round % 4], text);
        client_expect(steady, 0x81, text + 7);
        for (i = 0; i < 4; i++) {
            if (i != round % 4) {
                client_expect(fds[i], 0x81, text + 7);
            }
            close(fds[i]);
        }
    }
    close(steady);
    end_worker(workers[0]);
    end_worker(workers[1]);
    ck_assert_int_eq(destroyed, rounds * 4 + 1);
    end_workers();
}
END_TEST

/* The child has a worker of its own on the same log. */
static void be_another_process(int in, int out)
{
    ws_worker_t *worker = create_worker();
    int fd = connect_to(worker);
    char byte = 'x';

    command(fd, "s room");
    ck_assert_int_eq(write(out, &byte, 1), 1);
    client_expect(fd, 0x81, "from the parent");
    command(fd, "n room from the child");
    client_expect(fd, 0x81, "bye");
    ck_assert_int_eq(read(in, &byte, 1), 0);
    close(fd);
    end_worker(worker);
    _exit(0);
}

START_TEST(messages_pass_between_processes)
{
    ws_worker_t *worker;
    int down[2];
    int up[2];
    int status = -1;
    char byte;
    pid_t child;
    int fd;

    begin_workers(WS_LOG_SIZE_MIN);
    ck_assert_int_eq(pipe(down), 0);
    ck_assert_int_eq(pipe(up), 0);
    child = fork();
    if (child == 0) {
        close(down[1]);
        be_another_process(down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    worker = create_worker();
    fd = connect_to(worker);
    command(fd, "s room");
    ck_assert_int_eq(read(up[0], &byte, 1), 1);
    ck_assert_int_eq(subscriber_count("room"), 2);
    command(fd, "n room from the parent");
    client_expect(fd, 0x81, "from the child");
    command(fd, "n room bye");
    close(down[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_eq(subscriber_count("room"), 1);
    close(up[0]);
    close(fd);
    end_worker(worker);
    end_workers();
}
END_TEST

/* --- the worker itself --- */

typedef struct {
    ws_task_t task;
    sem_t begun, go_on;
} blocker_t;

static void block(ws_loop_t *loop, ws_task_t *task)
{
    blocker_t *blocker = (blocker_t *)task;

    (void)loop;
    sem_post(&blocker->begun);
    while (sem_wait(&blocker->go_on) != 0) {
        continue;
    }
}

START_TEST(join_gives_up_on_a_worker_that_is_held_up)
{
    blocker_t blocker = {.task = {.run = block}};
    ws_worker_t *worker;

    begin_workers(WS_LOG_SIZE_MIN);
    sem_init(&blocker.begun, 0, 0);
    sem_init(&blocker.go_on, 0, 0);
    worker = create_worker();
    ck_assert(ws_loop_post(ws_worker_loop(worker), &blocker.task));
    while (sem_wait(&blocker.begun) != 0) {
        continue;
    }
    ws_worker_stop(worker, 1001, "end", 0);
    ck_assert(!ws_worker_join(worker, 20));
    sem_post(&blocker.go_on);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
    sem_destroy(&blocker.begun);
    sem_destroy(&blocker.go_on);
    end_workers();
}
END_TEST

START_TEST(worker_needs_a_slot_and_gives_it_back)
{
    ws_worker_t *workers[SLOTS];
    int i;

    begin_workers(WS_LOG_SIZE_MIN);
    for (i = 0; i < SLOTS; i++) {
        workers[i] = create_worker();
    }
    ck_assert_ptr_null(ws_worker_create(log_, &logger, NULL, pool));
    end_worker(workers[1]);
    workers[1] = create_worker();
    for (i = 0; i < SLOTS; i++) {
        end_worker(workers[i]);
    }
    end_workers();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(message_reaches_all_subscribers_of_its_topic_in_order),
        WS_TEST(topic_is_any_bytes),
        WS_TEST(sender_is_left_out_on_request),
        WS_TEST(nothing_from_before_subscribing_is_delivered),
        WS_TEST(subscribing_twice_is_once),
        WS_TEST(who_has_left_gets_nothing_more),
        WS_TEST(unsubscribing_ends_one_subscription),
        WS_TEST(unsubscribing_needs_a_subscription),
        WS_TEST_LOOP(who_subscribes_again_begins_anew, 2),
        WS_TEST(hub_sleeps_when_the_last_has_unsubscribed),
        WS_TEST(subscribers_are_counted),
        WS_TEST_LOOP(what_was_too_much_to_count_is_counted_later, 2),
        WS_TEST(hub_without_subscribers_sleeps_on),
        WS_TEST(thousands_of_topics_are_told_apart),
        WS_TEST(one_turn_delivers_a_bounded_number),
        WS_TEST(lapped_hub_warns_and_goes_on),
        WS_TEST(closed_connection_is_passed_over),
        WS_TEST(full_queue_closes_one_subscriber_only),
        WS_TEST(each_allocation_that_fails_leaves_the_hub_whole),
        WS_TEST(hub_that_failed_to_subscribe_sleeps_on),
        WS_TEST(message_without_memory_is_told_as_lost),
        WS_TEST(hub_needs_a_slot),
        WS_TEST(all_threads_see_one_order),
        WS_TEST(publisher_in_another_thread_can_be_left_out),
        WS_TEST(coming_and_going_disturbs_nobody),
        WS_TEST(messages_pass_between_processes),
        WS_TEST(join_gives_up_on_a_worker_that_is_held_up),
        WS_TEST(worker_needs_a_slot_and_gives_it_back),
    };
    int result;

    apr_initialize();
    result = ws_test_run("hub", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
