/* The handler compat on a worker, without httpd: what its plugins do from
 * several threads. Of httpd there is as much as the copy of a request needs.
 * How plugins are loaded, and the request itself: tests/e2e/test_compat.py. */
#include "../../mod_websocket/handlers/compat.h"

#include <httpd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../e2e/compat_counter.c"
#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_socket.h"
#include "ws_offload.h"
#include "ws_process.h"

#define MANY 64                      /* of httpd's modules */

/* --- httpd --- */

ap_conf_vector_t *ap_create_request_config(apr_pool_t *p)
{
    return apr_pcalloc(p, MANY * sizeof(void *));
}

ap_conf_vector_t *ap_create_conn_config(apr_pool_t *p)
{
    return apr_pcalloc(p, MANY * sizeof(void *));
}

struct ap_logconf *ap_new_log_config(apr_pool_t *p,
                                     const struct ap_logconf *old)
{
    return apr_pmemdup(p, old, sizeof(*old));
}

int ap_run_generate_log_id(const conn_rec *c, const request_rec *r,
                           const char **id)
{
    (void)c;
    (void)r;
    *id = "id";
    return OK;
}

const char *ap_document_root(request_rec *r)
{
    (void)r;
    return "/root";
}

const char *ap_context_document_root(request_rec *r)
{
    return ap_document_root(r);
}

const char *ap_context_prefix(request_rec *r)
{
    (void)r;
    return "";
}

void ap_set_document_root(request_rec *r, const char *document_root)
{
    (void)r;
    (void)document_root;
}

void ap_set_context_info(request_rec *r, const char *prefix,
                         const char *document_root)
{
    (void)r;
    (void)prefix;
    (void)document_root;
}

/* A request with these headers: names and values, and NULL. */
static request_rec *make_request(apr_pool_t *pool, const char *const *headers)
{
    request_rec *r = apr_pcalloc(pool, sizeof(*r));

    r->pool = pool;
    r->server = apr_pcalloc(pool, sizeof(*r->server));
    r->connection = apr_pcalloc(pool, sizeof(*r->connection));
    r->connection->pool = pool;
    r->headers_in = apr_table_make(pool, 4);
    for (; headers != NULL && *headers != NULL; headers += 2) {
        apr_table_set(r->headers_in, headers[0], headers[1]);
    }
    return r;
}

static void *httpd_of(void *baton)
{
    return baton;
}

static const ws_request_ops_t request_ops = {.httpd = httpd_of};

/* --- a worker, and connections --- */

extern const websocket_handler_t websocket_handler;

static apr_pool_t *pool;
static ws_log_t *log_;
static ws_worker_t *worker;
static websocket_context_t context;
static ws_process_t process;         /* with the threads for what blocks */
static compat_plugin_t loaded;
static ws_budgets_t budgets;

static bool logger_wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    (void)logger;
    return level <= WS_LOG_WARNING;         /* formatting is tested, too */
}

static void logger_write(const ws_logger_t *logger, ws_log_level_t level,
                         const char *text)
{
    (void)logger;
    (void)level;
    (void)text;
}

static const ws_logger_t logger = {.wanted = logger_wanted,
                                   .write = logger_write};

static ws_conn_limits_t limits = {.max_message = 65536,
                                  .budget = &budgets.compression,
                                  .send_queue = 1024 * 1024,
                                  .close_timeout = 60000};

static void begin_without_thread(WebSocketPlugin *plugin)
{
    loaded = (compat_plugin_t){.plugin = plugin};
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
    context = (websocket_context_t){
        .pool = pool,
        .handler = websocket_handler,
        .logger = &logger,
        .data = &loaded,
    };
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, 2), WS_OK);
    worker = ws_worker_create(log_, &logger, NULL, pool);
    ck_assert_ptr_nonnull(worker);
}

/* blocks: on_message runs in a thread of the pool. */
static void begin(WebSocketPlugin *plugin, bool blocks)
{
    begin_without_thread(plugin);
    loaded.blocks = blocks;
    process = (ws_process_t){.offload = ws_offload_create(4, 100)};
    ck_assert_ptr_nonnull(process.offload);
    context.process = &process;
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
}

static void end(void)
{
    ws_worker_stop(worker, 1001, "end", 0);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
    if (context.process != NULL) {
        ck_assert(ws_process_end(&process, WS_TEST_LIMIT * 1000));
    }
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}

/* Asks the handler. Returns what it says; 0: *ppromise is good. */
static int ask(ws_promise_t *ppromise, const char *const *headers)
{
    websocket_request_t request = {.ops = &request_ops};
    apr_pool_t *of_request;
    int status;

    ck_assert_int_eq(apr_pool_create(&of_request, NULL), APR_SUCCESS);
    request.pool = of_request;
    request.baton = make_request(of_request, headers);
    status = context.handler.accept(&context, &request);
    *ppromise = (ws_promise_t){
        .context = &context,
        .logger = &logger,
        .limits = &limits,
        .client = "192.0.2.7",
        .data = request.data,
        .destroy = request.destroy,
    };
    apr_pool_destroy(of_request);
    return status;
}

static int connect_with(const char *const *headers)
{
    ws_promise_t promise;
    websocket_t *ws;
    ws_io_t io;
    int server;
    int client;

    ck_assert_int_eq(ask(&promise, headers), 0);
    client = client_open(&server);
    ws_io_init_fd(&io, server);
    ws = ws_websocket_create(&promise, &io, NULL, 0);
    ck_assert_ptr_nonnull(ws);
    ws_websocket_post(ws, worker);
    return client;
}

static WebSocketPlugin *counter(void)
{
    return (WebSocketPlugin *)counter_init();
}

static void expect_numbers(int fd, int count)
{
    char text[20];
    int i;

    for (i = 1; i <= count; i++) {
        snprintf(text, sizeof(text), "%d", i);
        client_expect(fd, 0x81, text);
    }
}

/* --- the copy of a request --- */

static apr_sockaddr_t *make_address(apr_pool_t *of_request)
{
    apr_sockaddr_t *address;

    ck_assert_int_eq(apr_sockaddr_info_get(&address, "192.0.2.7", APR_INET,
                                           1234, 0, of_request),
                     APR_SUCCESS);
    return address;
}

static struct ap_logconf *make_levels(apr_pool_t *of_request)
{
    struct ap_logconf *levels = apr_pcalloc(of_request, sizeof(*levels));

    levels->level = APLOG_INFO;
    return levels;
}

/* All that it has of strings: where they are in it, and in its connection. */
static const size_t in_request[] = {
    offsetof(request_rec, the_request),
    offsetof(request_rec, method),
    offsetof(request_rec, protocol),
    offsetof(request_rec, hostname),
    offsetof(request_rec, unparsed_uri),
    offsetof(request_rec, uri),
    offsetof(request_rec, args),
    offsetof(request_rec, path_info),
    offsetof(request_rec, filename),
    offsetof(request_rec, canonical_filename),
    offsetof(request_rec, handler),
    offsetof(request_rec, user),
    offsetof(request_rec, ap_auth_type),
    offsetof(request_rec, useragent_ip),
    offsetof(request_rec, useragent_host),
    offsetof(request_rec, log_id),
    offsetof(request_rec, parsed_uri.scheme),
    offsetof(request_rec, parsed_uri.hostinfo),
    offsetof(request_rec, parsed_uri.user),
    offsetof(request_rec, parsed_uri.password),
    offsetof(request_rec, parsed_uri.hostname),
    offsetof(request_rec, parsed_uri.port_str),
    offsetof(request_rec, parsed_uri.path),
    offsetof(request_rec, parsed_uri.query),
    offsetof(request_rec, parsed_uri.fragment),
};
static const size_t in_connection[] = {
    offsetof(conn_rec, client_ip),   offsetof(conn_rec, local_ip),
    offsetof(conn_rec, remote_host), offsetof(conn_rec, local_host),
    offsetof(conn_rec, log_id),
};
#define STRINGS (WS_TEST_COUNT(in_request) + WS_TEST_COUNT(in_connection))

static char **string_of(request_rec *r, size_t i)
{
    size_t count = WS_TEST_COUNT(in_request);
    char *at = i < count ? (char *)r + in_request[i]
                         : (char *)r->connection + in_connection[i - count];

    return (char **)(void *)at;
}

static void fill_request(request_rec *r)
{
    size_t i;

    for (i = 0; i < STRINGS; i++) {
        *string_of(r, i) = apr_psprintf(r->pool, "string %d", (int)i);
    }
    r->headers_in = apr_table_make(r->pool, 2);
    r->headers_out = apr_table_make(r->pool, 2);
    r->subprocess_env = apr_table_make(r->pool, 2);
    r->notes = apr_table_make(r->pool, 2);
    r->connection->notes = apr_table_make(r->pool, 2);
    r->useragent_addr = make_address(r->pool);
    r->connection->client_addr = make_address(r->pool);
    r->connection->local_addr = make_address(r->pool);
    r->log = make_levels(r->pool);
    r->connection->log = make_levels(r->pool);
    r->connection->id = 42;
    r->connection->base_server = r->server;
}

static void set_all(const request_rec *r, const char *value)
{
    apr_table_t *tables[] = {r->headers_in, r->headers_out, r->subprocess_env,
                             r->notes, r->connection->notes};
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(tables); i++) {
        apr_table_set(tables[i], "name", value);
    }
}

/* As the memory of the live one is used for others. */
static void spoil_request(request_rec *r)
{
    size_t i;

    for (i = 0; i < STRINGS; i++) {
        memset(*string_of(r, i), 'x', strlen(*string_of(r, i)));
    }
    set_all(r, "other");
    r->useragent_addr->port = 1;
    r->connection->client_addr->port = 1;
    r->connection->local_addr->port = 1;
    ((struct ap_logconf *)(uintptr_t)r->log)->level = -1;
    ((struct ap_logconf *)(uintptr_t)r->connection->log)->level = -1;
    memset(r->connection, 'x', sizeof(*r->connection));
}

static void expect_copy(request_rec *r)
{
    apr_table_t *tables[] = {r->headers_in, r->headers_out, r->subprocess_env,
                             r->notes, r->connection->notes};
    char expected[20];
    size_t i;

    for (i = 0; i < STRINGS; i++) {
        snprintf(expected, sizeof(expected), "string %d", (int)i);
        ck_assert_str_eq(*string_of(r, i), expected);
    }
    for (i = 0; i < WS_TEST_COUNT(tables); i++) {
        ck_assert_str_eq(apr_table_get(tables[i], "name"), "value");
    }
    ck_assert_int_eq(r->useragent_addr->port, 1234);
    ck_assert_int_eq(r->connection->client_addr->port, 1234);
    ck_assert_int_eq(r->connection->local_addr->port, 1234);
    ck_assert_int_eq(r->log->level, APLOG_INFO);
    ck_assert_int_eq(r->connection->log->level, APLOG_INFO);
    ck_assert_int_eq(r->connection->id, 42);
}

START_TEST(copy_shares_nothing_with_the_request)
{
    websocket_request_t request = {.ops = &request_ops};
    apr_pool_t *of_request;
    compat_request_t *copy;
    request_rec *r;

    ck_assert_int_eq(apr_pool_create(&of_request, NULL), APR_SUCCESS);
    r = make_request(of_request, NULL);
    fill_request(r);
    set_all(r, "value");
    request.baton = r;
    copy = compat_request_create(&request);
    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_eq(copy->record->server, r->server);
    ck_assert_ptr_eq(copy->record->connection->base_server, r->server);
    ck_assert_ptr_ne(copy->record->connection, r->connection);
    spoil_request(r);
    expect_copy(copy->record);
    apr_pool_destroy(of_request);
    expect_copy(copy->record);
    compat_request_destroy(copy);
}
END_TEST

/* --- threads --- */

START_TEST(thread_sends_before_and_after_the_connection_opens)
{
    static const char *const headers[] = {"X-Count", "100", NULL};
    int rounds = ws_test_is_slow() ? 5 : 100;
    int fd;
    int i;

    begin(counter(), _i);
    for (i = 0; i < rounds; i++) {
        fd = connect_with(headers);
        expect_numbers(fd, 100);
        client_send_text(fd, "count 10");
        expect_numbers(fd, 10);
        close(fd);
    }
    end();
}
END_TEST

/* The plugin's lock says whose turn it is, and that is the order. */
START_TEST(two_threads_that_take_turns_are_in_order)
{
    int fd;

    begin(counter(), _i);
    fd = connect_with(NULL);
    client_send_text(fd, "both 500");
    expect_numbers(fd, 1000);
    close(fd);
    end();
}
END_TEST

START_TEST(thread_closes)
{
    int fd;

    begin(counter(), _i);
    fd = connect_with(NULL);
    client_send_text(fd, "count 3");
    expect_numbers(fd, 3);
    client_send_text(fd, "close");
    client_expect_close(fd, 1000, "");
    client_send_close(fd, 1000);
    client_expect_end(fd);
    close(fd);
    end();
}
END_TEST

/* The thread sends without end, and is joined in on_disconnect. */
START_TEST(client_goes_while_a_thread_sends)
{
    static const char *const headers[] = {"X-Flood", "1", NULL};
    int rounds = ws_test_is_slow() ? 4 : 30;
    uint8_t first = 0;
    uint8_t payload[64];
    size_t length;
    int fd;
    int i;
    int j;

    begin(counter(), _i);
    for (i = 0; i < rounds; i++) {
        fd = connect_with(headers);
        for (j = 0; j < i * 7; j++) {
            ck_assert(
                client_next(fd, &first, payload, sizeof(payload), &length));
        }
        if (i % 2 == 0) {
            client_send_close(fd, 1000);
            while (first != 0x88 &&
                   client_next(fd, &first, payload, sizeof(payload), &length)) {
            }
            ck_assert_uint_eq(first, 0x88);
        }
        close(fd);
    }
    end();
}
END_TEST

START_TEST(worker_ends_while_threads_send)
{
    static const char *const headers[] = {"X-Flood", "1", NULL};
    int fds[8];
    int i;

    begin(counter(), _i);
    for (i = 0; i < 8; i++) {
        fds[i] = connect_with(headers);
        client_wait(fds[i], POLLIN);
    }
    end();
    for (i = 0; i < 8; i++) {
        close(fds[i]);
    }
}
END_TEST

/* As where the client has gone before the 101. */
START_TEST(connection_that_never_opens_is_disconnected)
{
    static const char *const headers[] = {"X-Flood", "1", NULL};
    ws_promise_t promise;

    begin(counter(), false);
    ck_assert_int_eq(ask(&promise, headers), 0);
    ws_promise_drop(&promise);              /* joins the thread */
    end();
}
END_TEST

/* --- memory: all in one thread --- */

static int connects;
static int disconnects;

static void say(const WebSocketServer *server, const char *text)
{
    server->send(server, COMPAT_TEXT, (const unsigned char *)text,
                 strlen(text));
}

static void *on_connect_counted(const WebSocketServer *server)
{
    connects++;
    say(server, "early");
    say(server, "as early");
    return &connects;
}

/* Once it has closed nothing may come any more. */
static size_t on_message_closes(void *connection, const WebSocketServer *server,
                                int type, unsigned char *data, size_t length)
{
    const compat_t *compat = server->state;

    (void)connection;
    ck_assert_ptr_nonnull(compat->ref);     /* other threads can be heard */
    ck_assert(!compat->is_closing);
    server->send(server, type, data, length);
    if (length == 5 && memcmp(data, "close", 5) == 0) {
        server->close(server);
    }
    return 0;
}

static void on_disconnect_counted(void *connection,
                                  const WebSocketServer *server)
{
    ck_assert_ptr_eq(connection, &connects);
    say(server, "too late");
    disconnects++;
}

static WebSocketPlugin counted = {
    .size = sizeof(counted),
    .version = COMPAT_PLUGIN_VERSION,
    .on_connect = on_connect_counted,
    .on_message = on_message_closes,
    .on_disconnect = on_disconnect_counted,
};

static void stop(ws_loop_t *loop, ws_alarm_t *alarm)
{
    (void)alarm;
    ws_loop_stop(loop, 1001, "end", 50);
}

/* A client that says all it has to say, and what becomes of it. */
static void serve_one(int fd)
{
    ws_loop_t *loop = ws_worker_loop(worker);
    ws_promise_t promise;
    websocket_t *ws;
    ws_io_t io;

    if (ask(&promise, NULL) != 0) {
        ck_assert_int_eq(connects, 0);
        close(fd);
        return;
    }
    ws_io_init_fd(&io, fd);
    ws = ws_websocket_create(&promise, &io, NULL, 0);
    if (ws != NULL) {
        ws_websocket_post(ws, worker);
        ws_loop_end_when_empty(loop);
        ws_loop_run(loop);
    }
}

static void say_all(int client)
{
    client_send_text(client, "hello");
    client_send_text(client, "close");
    client_send_text(client, "and more");
    client_send_close(client, 4000);
}

static void expect_all(int client)
{
    client_expect(client, 0x81, "early");
    client_expect(client, 0x81, "as early");
    client_expect(client, 0x81, "hello");
    client_expect(client, 0x81, "close");
    client_expect_close(client, 1000, "");
    client_expect_end(client);
}

/* Where on_message is to run in a thread there is none: who waits for one waits
 * for ever, so that has an end. */
static long fail_at_each(bool blocks, bool all)
{
    ws_alarm_t alarm = {.run = stop};
    bool failed = true;
    int server;
    int client;
    long n;

    limits.close_timeout = 50;              /* of closes that are lost */
    for (n = 0; failed; n++) {
        ws_test_alloc_begin();
        begin_without_thread(&counted);
        loaded.blocks = blocks;
        if (blocks) {
            ck_assert_int_eq(ws_loop_alarm(ws_worker_loop(worker), &alarm, 100),
                             WS_OK);
        }
        connects = disconnects = 0;
        client = client_open(&server);
        say_all(client);
        ws_test_alloc_fail(n, all);
        serve_one(server);
        failed = ws_test_alloc_unfail();
        ws_loop_cancel(ws_worker_loop(worker), &alarm);
        if (!failed && !blocks) {
            expect_all(client);
        }
        close(client);
        end();
        ck_assert_int_eq(connects, disconnects);
        ck_assert_int_eq(ws_test_alloc.live, 0);
        ws_test_alloc_end();
    }
    return n;
}

START_TEST(no_allocation_that_fails_leaves_anything_behind)
{
    ck_assert_int_gt(fail_at_each(false, _i), 8);
}
END_TEST

START_TEST(nothing_is_left_where_no_thread_is_to_be_had)
{
    ck_assert_int_gt(fail_at_each(true, _i), 8);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(copy_shares_nothing_with_the_request),
        WS_TEST_LOOP(thread_sends_before_and_after_the_connection_opens, 2),
        WS_TEST_LOOP(two_threads_that_take_turns_are_in_order, 2),
        WS_TEST_LOOP(thread_closes, 2),
        WS_TEST_LOOP(client_goes_while_a_thread_sends, 2),
        WS_TEST_LOOP(worker_ends_while_threads_send, 2),
        WS_TEST(connection_that_never_opens_is_disconnected),
        WS_TEST_LOOP(no_allocation_that_fails_leaves_anything_behind, 2),
        WS_TEST_LOOP(nothing_is_left_where_no_thread_is_to_be_had, 2),
    };

    apr_initialize();
    return ws_test_run("compat", tests, WS_TEST_COUNT(tests));
}
