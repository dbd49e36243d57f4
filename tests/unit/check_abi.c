/* Handlers that were built with the header of a released ABI: each callback and
 * each function does what it did. */
#include "ws_test_worker.h"

/* --- the handler of tests/abi/1 --- */

static websocket_context_t *load(const char *name)
{
    const char *build = getenv("WS_BUILD_DIR");
    websocket_context_t *context = NULL;
    const char *error;
    char path[1024];

    snprintf(path, sizeof(path), "%s/tests/abi/1/.libs/%s.so",
             build != NULL ? build : ".", name);
    error = ws_handler_load(&context, path, &logger, pool);
    ck_assert_msg(error == NULL, "%s", error);
    return context;
}

static websocket_context_t *begin(const char *name)
{
    websocket_context_t *context;

    begin_workers(2);
    logged.wanted = WS_LOG_INFO;
    process.offload = ws_offload_create(2, 16);
    ck_assert_ptr_nonnull(process.offload);
    context = load(name);
    configure_context(context);
    ws_process_begin(&process);
    start_threads();
    return context;
}

static int connect_one(websocket_context_t *context, unsigned worker)
{
    int fd = connect_to(context, workers[worker]);

    client_expect(fd, 0x81, "open");
    return fd;
}

static void ask(int fd, const char *question, const char *answer)
{
    client_send_text(fd, question);
    client_expect(fd, 0x81, answer);
}

static void wait_for_line(const char *line)
{
    int64_t limit = ws_test_now() + LIMIT_MS;

    while (!logged_has(line)) {
        ck_assert_msg(ws_test_now() < limit, "no \"%s\" in\n%s", line,
                      logged.text);
        poll(NULL, 0, 1);
    }
}

/* --- configure --- */

START_TEST(options_are_read)
{
    static const char expected[] =
        "string=default integer=0 size=65536 duration=500 boolean=1 "
        "list=a;b;";
    websocket_context_t *context;
    const char *error;

    begin_pool();
    context = load("handler");
    ck_assert_ptr_null(ws_handler_configure(context));
    ck_assert(logged_has(expected));
    context = load("handler");
    ck_assert_ptr_null(ws_handler_set_option(context, "string", "given"));
    ck_assert_ptr_null(ws_handler_set_option(context, "integer", "-10"));
    ck_assert_ptr_null(ws_handler_set_option(context, "size", "1M"));
    ck_assert_ptr_null(ws_handler_set_option(context, "duration", "2min"));
    ck_assert_ptr_null(ws_handler_set_option(context, "boolean", "off"));
    ck_assert_ptr_null(ws_handler_set_option(context, "list", "x"));
    ck_assert_ptr_null(ws_handler_set_option(context, "list", "y,z"));
    ck_assert_ptr_nonnull(ws_handler_set_option(context, "integer", "-11"));
    ck_assert_ptr_nonnull(ws_handler_set_option(context, "size", "2M"));
    ck_assert_ptr_nonnull(ws_handler_set_option(context, "other", "x"));
    ck_assert_ptr_null(ws_handler_set_option(context, "error", "bad"));
    error = ws_handler_configure(context);
    ck_assert_str_eq(error, "handler frozen: bad: 7");
    ck_assert(logged_has("string=given integer=-10 size=1048576 "
                         "duration=120000 boolean=0 list=x;y;z;"));
    end_pool();
}
END_TEST

/* --- accept --- */

static const char *fake_path(void *baton)
{
    (void)baton;
    return "/lobby";
}

static const char *fake_uri(void *baton)
{
    (void)baton;
    return "/ws/lobby";
}

static const char *fake_query(void *baton)
{
    return baton;
}

static const char *fake_header(void *baton, const char *name)
{
    (void)baton;
    return strcmp(name, "X-Header") == 0                 ? "of header"
           : strcmp(name, "Sec-WebSocket-Protocol") == 0 ? "v1, v2"
                                                         : NULL;
}

static const char *fake_user(void *baton)
{
    (void)baton;
    return "ann";
}

static const char *fake_auth_type(void *baton)
{
    (void)baton;
    return "Basic";
}

/* A name, or a text. */
static const char *fake_answer(void *baton, const char *name)
{
    (void)baton;
    return strcmp(name, "SSL_PROTOCOL") == 0   ? "TLSv1.3"
           : strcmp(name, "TENANT") == 0       ? "of env"
           : strcmp(name, "%{HTTP_HOST}") == 0 ? "of expression"
                                               : NULL;
}

static void *fake_httpd(void *baton)
{
    return baton;
}

static const ws_request_ops_t fake_ops = {.path = fake_path,
                                          .uri = fake_uri,
                                          .query = fake_query,
                                          .header = fake_header,
                                          .user = fake_user,
                                          .auth_type = fake_auth_type,
                                          .tls = fake_answer,
                                          .env = fake_answer,
                                          .expression = fake_answer,
                                          .httpd = fake_httpd};

static websocket_request_t request_of(char *query)
{
    return (websocket_request_t){.ops = &fake_ops,
                                 .baton = query,
                                 .pool = pool,
                                 .client = "192.0.2.7"};
}

/* The data that accept has set comes with the connection. */
START_TEST(request_is_asked_and_answered)
{
    static char query[] = "b=1&a=%C3%A4";
    websocket_context_t *context = begin("handler");
    websocket_request_t request = request_of(query);
    ws_promise_t promise = promise_of(context);
    int fd;

    ck_assert_int_eq(context->handler.accept(context, &request), 0);
    ck_assert_str_eq(apr_table_get(request.headers, "X-Answer"), "yes");
    ck_assert_str_eq(request.protocol, "v2");
    promise.protocol = request.protocol;
    promise.data = request.data;
    promise.destroy = request.destroy;
    fd = connect_from(&promise, workers[0]);
    client_expect(fd, 0x81, "open");
    ask(fd, "facts",
        "path=/lobby\nuri=/ws/lobby\nargument=\xc3\xa4\nheader=of header\n"
        "user=ann\nauth_type=Basic\nclient=192.0.2.7\ntls=TLSv1.3\n"
        "env=of env\nexpression=of expression\nhttpd=1\nchosen=1\nadded=0\n");
    ask(fd, "set something else", "set");
    ask(fd, "facts", "something else");
    ask(fd, "about",
        "client=192.0.2.7 protocol=v2 id=1 buffered=0 dropped=0 "
        "string=default integer=0 size=65536 duration=500 boolean=1 "
        "list=a;b;");
    close(fd);
    end_process();
}
END_TEST

START_TEST(request_is_refused)
{
    static char query[] = "refuse=1";
    websocket_context_t *context;
    websocket_request_t request;

    begin_pool();
    context = load("handler");
    request = request_of(query);
    ck_assert_int_eq(context->handler.accept(context, &request), 403);
    ck_assert_str_eq(request.refusal, "asked to");
    request.destroy(request.data);
    end_pool();
}
END_TEST

/* --- the connection --- */

START_TEST(messages_come_and_go)
{
    char long_text[3000];
    uint8_t back[3000];
    uint8_t first;
    size_t length;
    ws_test_bytes_t bytes = {0};
    websocket_context_t *context = begin("handler");
    int fd = connect_one(context, 0);

    ask(fd, "echo", "echo");
    ask(fd, "", "");
    ws_test_add_frame(&bytes, 0x82, "\x01\x02", 2);
    client_send(fd, &bytes);
    client_expect(fd, 0x82, "\x01\x02");
    client_send_text(fd, "binary as such");
    client_expect(fd, 0x82, "as such");
    memset(long_text, 'l', sizeof(long_text));
    ws_test_add_frame(&bytes, 0x81, long_text, sizeof(long_text));
    client_send(fd, &bytes);
    ck_assert(client_next(fd, &first, back, sizeof(back), &length));
    ck_assert_uint_eq(length, 2047);
    ask(fd, "log this", "logged");
    ck_assert(logged_has("[client 192.0.2.7] frozen: error this\n"));
    ck_assert(!logged_has("debug this"));
    client_send_close(fd, 4711);
    client_expect_close(fd, 4711, "");
    wait_for_line("close 4711 \"\"");
    close(fd);
    end_process();
}
END_TEST

START_TEST(connection_is_closed)
{
    websocket_context_t *context = begin("handler");
    int fd = connect_one(context, 0);
    int other = connect_one(context, 1);

    ask(other, "subscribe left", "0");
    client_send_text(fd, "close 4001 enough of it");
    client_expect_close(fd, 4001, "enough of it");
    client_send_close(fd, 4001);
    client_expect(other, 0x81, "left");
    wait_for_line("close 4001 \"\"");
    close(fd);
    fd = connect_one(context, 0);
    client_send_text(fd, "close 1");
    client_expect_close(fd, 1011, "");
    close(fd);
    wait_for_line("close 1011 \"\"");
    ck_assert(!logged_has("sent after a close"));
    close(other);
    end_process();
}
END_TEST

START_TEST(connection_is_paused_and_resumed)
{
    websocket_context_t *context = begin("handler");
    int fd = connect_one(context, 0);

    client_send_text(fd, "pause");
    client_expect(fd, 0x81, "paused");
    client_send_text(fd, "meanwhile");
    client_expect(fd, 0x81, "resumed");
    client_expect(fd, 0x81, "meanwhile");
    close(fd);
    end_process();
}
END_TEST

START_TEST(timer_runs_until_it_is_stopped)
{
    websocket_context_t *context = begin("handler");
    int fd = connect_one(context, 0);

    client_send_text(fd, "timer");
    client_expect(fd, 0x81, "1");
    client_expect(fd, 0x81, "2");
    client_expect(fd, 0x81, "3");
    ask(fd, "and no more", "and no more");
    close(fd);
    end_process();
}
END_TEST

START_TEST(slow_client_is_told_of)
{
    websocket_context_t *context = begin("handler");
    uint8_t payload[1000];
    uint8_t first;
    size_t length;
    int fd = connect_one(context, 0);

    client_send_text(fd, "queue");
    do {
        ck_assert(client_next(fd, &first, payload, sizeof(payload), &length));
    } while (first == 0x82);
    ck_assert_uint_eq(length, 6);
    ck_assert_mem_eq(payload, "queued", 6);
    wait_for_line("drained");
    close(fd);
    end_process();
}
END_TEST

/* --- other threads --- */

START_TEST(references_posts_and_offload)
{
    websocket_context_t *context = begin("handler");
    int fd = connect_one(context, 0);

    client_send_text(fd, "post");
    client_expect(fd, 0x81, "posted");
    client_expect(fd, 0x81, "sent by reference");
    ask(fd, "offload 21", "42");
    close(fd);
    end_process();
}
END_TEST

START_TEST(all_connections_are_visited)
{
    websocket_context_t *context = begin("handler");
    int fds[4];
    int i;

    for (i = 0; i < 4; i++) {
        fds[i] = connect_one(context, (unsigned)i % 2);
    }
    client_send_text(fds[1], "each");
    for (i = 0; i < 4; i++) {
        client_expect(fds[i], 0x81, "each");
    }
    wait_for_line("each is done");
    for (i = 0; i < 4; i++) {
        close(fds[i]);
    }
    end_process();
}
END_TEST

/* --- topics --- */

/* Each hub tells how many it has, in its own time. */
static void wait_for_answer(int fd, const char *question, const char *answer)
{
    int64_t limit = ws_test_now() + LIMIT_MS;
    uint8_t payload[32];
    uint8_t first;
    size_t length;

    do {
        ck_assert_int_lt(ws_test_now(), limit);
        client_send_text(fd, question);
        ck_assert(client_next(fd, &first, payload, sizeof(payload), &length));
    } while (length != strlen(answer) || memcmp(payload, answer, length) != 0);
}

START_TEST(topics_are_published_to)
{
    websocket_context_t *context = begin("handler");
    int fds[2];
    int i;

    for (i = 0; i < 2; i++) {
        fds[i] = connect_one(context, (unsigned)i);
        ask(fds[i], "subscribe room", "0");
    }
    wait_for_answer(fds[0], "subscribers room", "2");
    ask(fds[0], "publish room", "0");
    client_expect(fds[0], 0x81, "to all");
    client_expect(fds[1], 0x81, "to all");
    ask(fds[0], "others room", "0");
    client_expect(fds[1], 0x82, "to others");
    ask(fds[1], "unsubscribe room", "0");
    ask(fds[1], "unsubscribe room", "-1");
    wait_for_answer(fds[1], "subscribers room", "1");
    ask(fds[1], "publish room", "0");
    client_expect(fds[0], 0x81, "to all");
    ask(fds[1], "nothing more", "nothing more");
    wait_for_answer(fds[1], "subscribers nobody", "0");
    for (i = 0; i < 2; i++) {
        close(fds[i]);
    }
    end_process();
}
END_TEST

/* --- the process --- */

static void wait_for_text(int fd, const char *text)
{
    int64_t limit = ws_test_now() + LIMIT_MS;
    uint8_t payload[32];
    uint8_t first;
    size_t length;

    do {
        ck_assert_int_lt(ws_test_now(), limit);
        ck_assert(client_next(fd, &first, payload, sizeof(payload), &length));
    } while (length != strlen(text) || memcmp(payload, text, length) != 0);
}

/* The timer that child_init begins publishes. */
START_TEST(process_begins_moves_and_ends)
{
    websocket_context_t *context = begin("handler");
    int fd = connect_one(context, 0);
    size_t length;

    client_send_text(fd, "subscribe ticks");
    wait_for_text(fd, "tick 1");
    pause_threads();
    ck_assert(ws_process_pause(&process, LIMIT_MS));
    ws_process_move(&process);
    start_threads();
    wait_for_text(fd, "tick 2");
    close(fd);
    wait_for_line("close 1006");
    end_process();
    ck_assert_ptr_nonnull(
        strstr(logged.text, "child_init\nchild_exit\nchild_init\nmoved\n"));
    length = strlen(logged.text);
    ck_assert_str_eq(logged.text + length - 11, "child_exit\n");
}
END_TEST

/* --- messages in parts --- */

START_TEST(messages_come_in_parts)
{
    ws_test_bytes_t bytes = {0};
    websocket_context_t *context = begin("parts");
    int fd = connect_one(context, 0);

    ws_test_add_text(&bytes, 0x01, "one");
    client_send(fd, &bytes);
    client_expect(fd, 0x81, "text one");
    ws_test_add_text(&bytes, 0x00, "two");
    client_send(fd, &bytes);
    client_expect(fd, 0x81, "text two");
    ws_test_add_text(&bytes, 0x80, "three");
    client_send(fd, &bytes);
    client_expect(fd, 0x81, "text three last");
    ws_test_add_frame(&bytes, 0x82, "", 0);
    client_send(fd, &bytes);
    client_expect(fd, 0x81, "binary  last");
    close(fd);
    end_process();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(options_are_read),
        WS_TEST(request_is_asked_and_answered),
        WS_TEST(request_is_refused),
        WS_TEST(messages_come_and_go),
        WS_TEST(connection_is_closed),
        WS_TEST(connection_is_paused_and_resumed),
        WS_TEST(timer_runs_until_it_is_stopped),
        WS_TEST(slow_client_is_told_of),
        WS_TEST(references_posts_and_offload),
        WS_TEST(all_connections_are_visited),
        WS_TEST(topics_are_published_to),
        WS_TEST(process_begins_moves_and_ends),
        WS_TEST(messages_come_in_parts),
    };
    int result;

    apr_initialize();
    result = ws_test_run("abi", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
