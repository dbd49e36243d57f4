/* All layers at once, with a failure at each point in turn: a log, a worker
 * and four connections with a handler, from their creation to their end. */
#include <apr_general.h>
#include <dirent.h>
#include <stdio.h>

#include "ws_websocket.h"
#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_fault.h"
#include "ws_test_socket.h"

#define CLIENTS 4
#define BIG 3000                     /* bytes of the large messages */

/* --- what a client does, and what becomes of it --- */

typedef struct {
    int fd;                          /* -1: closed */
    uint8_t *got;
    size_t got_length;
    /* its connection */
    int opens, closes, destroyed;
    unsigned close_code;
    bool is_failed;                  /* the log says that it was */
    bool has_end;                    /* it was sent a Close frame */
    bool is_subscribed;
    char name[16];
} client_t;

static client_t clients[CLIENTS];
static websocket_context_t context;
static ws_budgets_t budgets;
static ws_log_t *log_;
static ws_worker_t *worker;
static apr_pool_t *pool;
static ws_task_t script_task;
static int turns;
static int64_t deadline;             /* by then all has long been over */
static int lines;                    /* that were logged */
static const uint8_t big[BIG];

/* --- the handler --- */

static client_t *client_of(websocket_t *ws)
{
    return websocket_data(ws);
}

static void opened(websocket_t *ws)
{
    client_t *client = client_of(ws);

    client->opens++;
    client->is_subscribed = websocket_subscribe(ws, "room") == 0;
}

/* "p..." is published, everything else echoed. */
static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    ck_assert_int_eq(client_of(ws)->opens, 1);
    ck_assert_int_eq(client_of(ws)->closes, 0);
    if (length > 0 && *(const char *)data == 'p') {
        websocket_publish(ws, "room", type, data, length, 0);
    }
    else {
        websocket_send(ws, type, data, length);
    }
}

static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    client_t *client = client_of(ws);

    (void)reason;
    (void)length;
    ck_assert_int_eq(client->opens, 1);
    ck_assert_int_eq(client->closes, 0);
    ck_assert_int_eq(client->destroyed, 0);
    client->closes++;
    client->close_code = code;
}

static void destroy(void *data)
{
    ((client_t *)data)->destroyed++;
}

/* --- the log lines --- */

static bool logger_wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    (void)logger;
    return level <= WS_LOG_INFO;
}

static void logger_write(const ws_logger_t *logger, ws_log_level_t level,
                         const char *text)
{
    int i;

    (void)logger;
    (void)level;
    lines++;
    for (i = 0; i < CLIENTS; i++) {
        if (strstr(text, clients[i].name) != NULL) {
            clients[i].is_failed = true;
        }
    }
}

static const ws_logger_t logger = {.wanted = logger_wanted,
                                   .write = logger_write};

/* --- the script: a step a turn. Nothing of it is a point. --- */

static void send_bytes(int who, ws_test_bytes_t *bytes)
{
    ssize_t sent = 0;

    if (clients[who].fd >= 0 && bytes->length > 0) {
        sent = __real_send(clients[who].fd, bytes->data, bytes->length,
                           MSG_NOSIGNAL);
        ck_assert(sent == (ssize_t)bytes->length || sent < 0);
    }
    ws_test_free(bytes);
}

static void say(int who, uint8_t first, const void *data, size_t length)
{
    ws_test_bytes_t bytes = {0};

    ws_test_add_frame(&bytes, first, data, length);
    send_bytes(who, &bytes);
}

static void say_all(uint8_t first, const void *data, size_t length)
{
    int i;

    for (i = 0; i < CLIENTS; i++) {
        say(i, first, data, length);
    }
}

/* A message that comes in two reads. */
static void say_half(int who, bool is_second)
{
    static ws_test_bytes_t bytes;
    ws_test_bytes_t half = {0};

    if (!is_second) {
        ws_test_add_frame(&bytes, 0x82, big, BIG);
        ws_test_add(&half, bytes.data, BIG / 2);
    }
    else {
        ws_test_add(&half, bytes.data + BIG / 2, bytes.length - BIG / 2);
        ws_test_free(&bytes);
    }
    send_bytes(who, &half);
}

/* What has come so far; at the end it closes, too. */
static void listen_to(client_t *client)
{
    uint8_t data[16384];
    ssize_t count;

    if (client->fd < 0) {
        return;
    }
    while ((count = __real_recv(client->fd, data, sizeof(data), 0)) > 0) {
        client->got = realloc(client->got, client->got_length + (size_t)count);
        memcpy(client->got + client->got_length, data, (size_t)count);
        client->got_length += (size_t)count;
    }
    if (count == 0 || errno != EAGAIN) {
        close(client->fd);
        client->fd = -1;
    }
}

static void play(int turn)
{
    int i;

    switch (turn) {
    case 2:
        say_all(0x81, "echo", 4);
        say_all(0x01, "ec", 2);
        say_all(0x80, "ho", 2);
        say_all(0x89, "ping", 4);
        break;
    case 6:
        say(0, 0x81, "published", 9);
        say_half(1, false);
        break;
    case 10:
        say_half(1, true);
        say(2, 0xc1, "\xca\x48\xcd\xc9\xc9\x07\x00", 7);  /* "hello" */
        say(3, 0xc1, "\xca\x48\xcd\xc9\xc9\x07\x00", 7);
        break;
    case 14:
        say(2, 0x82, big, BIG);             /* comes back compressed */
        say(3, 0x82, big, BIG);
        break;
    case 18:                                /* more than the socket takes */
        for (i = 0; i < 20; i++) {
            say(0, 0x82, big, BIG);
        }
        say(3, 0x01, "in a fragment", 13);
        break;
    case 30:
        say(3, 0x80, "p", 1);
        say_all(0x88, "\x03\xe8", 2);
        break;
    default:
        break;
    }
}

static bool all_over(void)
{
    return ws_loop_count(ws_worker_loop(worker)) == 0;
}

static void run_script(ws_loop_t *loop, ws_task_t *task)
{
    int i;

    ws_test_alloc.counts = false;
    turns++;
    play(turns);
    for (i = 0; i < CLIENTS; i++) {
        if (i != 0 || turns < 18 || turns > 26) {   /* one reads late */
            listen_to(&clients[i]);
        }
    }
    ws_test_alloc.counts = true;
    ck_assert_int_lt(ws_test_now(), deadline);
    if (turns > 30 && all_over()) {
        ws_loop_stop(loop, 1001, "end", 0);
    }
    else {
        ck_assert(ws_loop_post(loop, task));
    }
}

/* --- one run --- */

static ws_conn_limits_t limits = {.max_message = 65536,
                                  .compression_level = 6,
                                  .compression_threshold = 100,
                                  .budget = &budgets.compression,
                                  .send_queue = 1024 * 1024,
                                  .ping_interval = 30000,
                                  .ping_timeout = 10000};

static ws_deflate_params_t deflate_of(int who)
{
    ws_deflate_params_t deflate = {0};

    if (who >= 2) {
        deflate.server_bits = 15;
        deflate.client_bits = 15;
        deflate.server_takeover = who == 3;
        deflate.client_takeover = who == 3;
        ck_assert(ws_budget_reserve(&budgets.compression,
                                    ws_deflate_cost(&deflate)));
    }
    return deflate;
}

/* The first byte came with the request. */
static void connect_client(int who)
{
    client_t *client = &clients[who];
    ws_promise_t promise = {.context = &context,
                            .logger = &logger,
                            .limits = &limits,
                            .deflate = deflate_of(who),
                            .client = client->name,
                            .data = client,
                            .destroy = destroy};
    int size = 4096;
    uint8_t *early = NULL;
    ws_test_bytes_t frame = {0};
    websocket_t *ws;
    ws_io_t io;
    int fd;

    ws_test_alloc.counts = false;
    client->fd = client_open(&fd);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    ws_test_add_text(&frame, 0x81, "early");
    ws_test_alloc.counts = true;
    early = __real_malloc(frame.length);
    memcpy(early, frame.data, frame.length);
    ws_test_alloc.live++;
    ws_io_init_fd(&io, fd);
    ws = ws_websocket_create(&promise, &io, early, frame.length);
    ws_test_alloc.counts = false;
    ws_test_free(&frame);
    ws_test_alloc.counts = true;
    if (ws != NULL) {
        ws_websocket_post(ws, worker);
    }
}

static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count;
}

static void prepare(void)
{
    int i;

    memset(clients, 0, sizeof(clients));
    for (i = 0; i < CLIENTS; i++) {
        clients[i].fd = -1;
        snprintf(clients[i].name, sizeof(clients[i].name), "client-%d", i);
    }
    memset(&context, 0, sizeof(context));
    context.handler.name = "faults";
    context.handler.open = opened;
    context.handler.message = message;
    context.handler.close = closed;
    context.logger = &logger;
    atomic_store(&budgets.compression.used, 0);
    atomic_store(&budgets.compression.limit, 16 * 1024 * 1024);
    log_ = NULL;
    worker = NULL;
    turns = 0;
    deadline = ws_test_now() + WS_TEST_LIMIT * 1000;
    lines = 0;
    script_task.run = run_script;
}

static void serve(void)
{
    int i;

    for (i = 0; i < CLIENTS; i++) {
        connect_client(i);
    }
    ck_assert(ws_loop_post(ws_worker_loop(worker), &script_task));
    ws_test_fault.thread(ws_test_fault.baton);
    ck_assert(ws_worker_join(worker, 0));
}

static void run_layers(void)
{
    ws_watch_t *watch;

    if (ws_log_create(&log_, WS_LOG_SIZE_MIN, 2) != WS_OK) {
        ck_assert(ws_test_alloc.failed);
        return;
    }
    worker = ws_worker_create(log_, &logger, &budgets.compression, pool);
    if (worker != NULL && ws_worker_start(worker) != WS_OK) {
        ck_assert(ws_worker_join(worker, 0));
        worker = NULL;
    }
    if (worker != NULL) {
        watch = ws_watch_create(&logger, 60000);
        if (watch != NULL) {
            ws_worker_watch(worker, watch);
        }
        serve();
        if (watch != NULL) {
            ws_watch_destroy(watch);
        }
    }
    else {
        ck_assert(ws_test_alloc.failed);
    }
    ws_log_destroy(log_);
}

/* What is looked at afterwards does not fail. */
static void run_all(void)
{
    run_layers();
    ws_test_alloc_unfail();
    ws_test_fault.soft_at = -1;
}

/* --- what must hold after each --- */

/* Whole frames; only the last is cut, where no Close could be sent. Returns
 * how many are data. */
static int count_messages(client_t *client)
{
    ws_test_frame_t frame;
    size_t at = 0;
    int count = 0;

    while (ws_test_next_frame(&frame, client->got, client->got_length, &at)) {
        switch (frame.first) {
        case 0x81:
        case 0x82:
        case 0xc1:
        case 0xc2:
            count++;
            break;
        case 0x88:
            client->has_end = true;
            break;
        default:
            ck_assert_uint_eq(frame.first, 0x8a);
            ck_assert_uint_eq(frame.length, 4);
            break;
        }
    }
    ck_assert_msg(!client->has_end || at == client->got_length,
                  "%s got %zu bytes of which %zu are frames; it was closed "
                  "with %u",
                  client->name, client->got_length, at, client->close_code);
    return count;
}

static bool is_disturbed(const client_t *client)
{
    return client->opens == 0 || client->is_failed ||
           client->close_code != 1000 || !client->has_end;
}

/* Each that was opened was closed once, and its data destroyed once; the rest
 * of it is gone. Returns how many were disturbed. */
static int check_clients(void)
{
    int disturbed = 0;
    int i;

    for (i = 0; i < CLIENTS; i++) {
        client_t *client = &clients[i];

        ck_assert_int_eq(client->closes, client->opens);
        ck_assert_int_eq(client->destroyed, 1);
        listen_to(client);                  /* what was sent before the end */
        count_messages(client);
        disturbed += is_disturbed(client);
        /* what is lost is said, unless the client had ended it already */
        ck_assert(!is_disturbed(client) || client->is_failed ||
                  client->close_code == 1000);
        if (client->fd >= 0) {
            close(client->fd);
            client->fd = -1;
        }
    }
    return disturbed;
}

/* All that was said has come: 3 + 20 echoes for the first, 4, 5, 5; and what
 * is published, twice, though not to those that have gone. */
static void check_answers(void)
{
    static const int echoes[CLIENTS] = {23, 4, 5, 5};
    int i;

    for (i = 0; i < CLIENTS; i++) {
        int count = count_messages(&clients[i]);

        ck_assert(clients[i].is_subscribed);
        ck_assert_msg(count > echoes[i] && count <= echoes[i] + 2,
                      "%d messages for client %d", count, i);
    }
}

/* After a run: nothing is left of it. Returns how many were disturbed; -1: it
 * did not come to serving. */
static int finish(int descriptors)
{
    bool has_served = worker != NULL;
    int disturbed = has_served ? check_clients() : -1;
    int i;

    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
    ck_assert_uint_eq(budgets.compression.used, 0);
    ck_assert_int_eq(count_descriptors(), descriptors);
    for (i = 0; i < CLIENTS; i++) {
        free(clients[i].got);
    }
    return disturbed;
}

/* Closing handshakes end by themselves, unless a failure is in their way. */
enum { PATIENT = 60000, IMPATIENT = 1000 };

static int begin(int64_t close_timeout)
{
    limits.close_timeout = close_timeout;
    ck_assert_int_eq(__real_apr_pool_create_ex(&pool, NULL, NULL, NULL),
                     APR_SUCCESS);
    prepare();
    return count_descriptors();
}

static long next_of(long n)
{
    return n + (ws_test_is_slow() ? 13 : 1);
}

/* --- tests --- */

START_TEST(without_a_failure_all_is_served)
{
    int descriptors = begin(PATIENT);

    ws_test_alloc_begin();
    run_all();
    check_clients();
    check_answers();
    ck_assert_int_eq(finish(descriptors), 0);
    ck_assert_int_eq(lines, 0);
    apr_pool_destroy(pool);
}
END_TEST

/* Whoever it hits is one; it is said in the log; nobody else is disturbed. */
START_TEST(a_failure_at_any_point_hits_one_connection_at_most)
{
    bool failed = true;
    int hit = 0;
    int disturbed;
    long n;

    for (n = 0; failed; n = next_of(n)) {
        int descriptors = begin(IMPATIENT);

        ws_test_alloc_begin();
        ws_test_alloc_fail(n, false);
        run_all();
        failed = ws_test_alloc.failed;
        disturbed = finish(descriptors);
        ck_assert_msg(disturbed <= 1, "point %ld disturbs %d", n, disturbed);
        hit += disturbed > 0;
        apr_pool_destroy(pool);
    }
    ck_assert_int_gt(hit, ws_test_is_slow() ? 0 : 40);
    printf("faults: %ld points, of which %d hit a connection\n", n, hit);
}
END_TEST

START_TEST(failures_from_any_point_on_leave_nothing_behind)
{
    bool failed = true;
    long n;

    for (n = 0; failed; n = next_of(n)) {
        int descriptors = begin(IMPATIENT);

        ws_test_alloc_begin();
        ws_test_alloc_fail(n, true);
        run_all();
        failed = ws_test_alloc.failed;
        finish(descriptors);
        apr_pool_destroy(pool);
    }
}
END_TEST

/* EAGAIN, EINTR, and half of the bytes are no failures. */
START_TEST(what_is_put_off_at_any_point_disturbs_nobody)
{
    bool hit = true;
    long n;

    for (n = 0; hit; n = next_of(n)) {
        int descriptors = begin(PATIENT);

        ws_test_alloc_begin();
        ws_test_soft_at(n, _i);
        run_all();
        hit = ws_test_fault.soft_hit;
        check_clients();
        check_answers();
        ck_assert_int_eq(finish(descriptors), 0);
        ck_assert_int_eq(lines, 0);
        apr_pool_destroy(pool);
    }
    ck_assert_int_gt(n, 30);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(without_a_failure_all_is_served),
        WS_TEST(a_failure_at_any_point_hits_one_connection_at_most),
        WS_TEST(failures_from_any_point_on_leave_nothing_behind),
        WS_TEST_LOOP(what_is_put_off_at_any_point_disturbs_nobody,
                     WS_TEST_SOFT_KINDS),
    };
    int result;

    apr_initialize();
    result = ws_test_run("faults", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
