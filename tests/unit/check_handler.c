/* ws_handler and ws_api: loading handlers, and what handlers call. */
#include "ws_process.h"

#include <apr_general.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_socket.h"

static apr_pool_t *pool;

static struct {
    pthread_mutex_t lock;
    char text[8192];                 /* all lines, each ended by a newline */
    ws_log_level_t level;            /* of the last */
} logged = {.lock = PTHREAD_MUTEX_INITIALIZER};

static ws_log_level_t wanted = WS_LOG_DEBUG;

static bool logger_wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    (void)logger;
    return level <= wanted;
}

static void logger_write(const ws_logger_t *logger, ws_log_level_t level,
                         const char *text)
{
    size_t at;

    (void)logger;
    pthread_mutex_lock(&logged.lock);
    at = strlen(logged.text);
    snprintf(logged.text + at, sizeof(logged.text) - at, "%s\n", text);
    logged.level = level;
    pthread_mutex_unlock(&logged.lock);
}

static const ws_logger_t logger = {.wanted = logger_wanted,
                                   .write = logger_write};

static void begin(void)
{
    logged.text[0] = '\0';
    wanted = WS_LOG_DEBUG;
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
}

static void end(void)
{
    apr_pool_destroy(pool);
}

/* --- loading --- */

typedef struct {
    const char *name;
    const char *value;
} param_t;

static const char *load(websocket_context_t **pcontext, const char *name,
                        const param_t *params, size_t count)
{
    websocket_context_t *context = NULL;
    const char *error;
    size_t i;
    const char *build = getenv("WS_BUILD_DIR");
    char path[1024];

    snprintf(path, sizeof(path), "%s/tests/unit/plugins/.libs/%s.so",
             build != NULL ? build : ".", name);
    *pcontext = NULL;
    error = ws_handler_load(&context, path, &logger, pool);
    for (i = 0; i < count && error == NULL; i++) {
        error = ws_handler_set_option(context, params[i].name,
                                      params[i].value);
    }
    if (error == NULL) {
        error = ws_handler_configure(context);
    }
    if (error == NULL) {
        *pcontext = context;
    }
    return error;
}

static websocket_context_t *load_good(const char *name)
{
    websocket_context_t *context;
    const char *error = load(&context, name, NULL, 0);

    ck_assert_msg(error == NULL, "%s", error);
    ck_assert_ptr_nonnull(context);
    return context;
}

/* The error names the file, or the handler, and says what. */
static void expect_error(const char *name, const char *what)
{
    websocket_context_t *context;
    const char *error;

    begin();
    error = load(&context, name, NULL, 0);
    ck_assert_msg(error != NULL, "%s was loaded", name);
    ck_assert_ptr_null(context);
    ck_assert_msg(strstr(error, name) != NULL && strstr(error, what) != NULL,
                  "\"%s\" does not say \"%s\"", error, what);
    end();
}

START_TEST(good_handler_is_configured)
{
    static const param_t params[] = {{"a", "1"}, {"b", "two"}};
    websocket_context_t *context;
    const char *error;

    begin();
    error = load(&context, "good", params, 2);
    ck_assert_msg(error == NULL, "%s", error);
    ck_assert_str_eq(context->handler.name, "good");
    ck_assert_ptr_nonnull(context->handler.message);
    ck_assert_ptr_null(context->handler.accept);
    ck_assert_ptr_null(context->handler.drained);
    ck_assert_str_eq(websocket_context_data(context), "1,two");
    end();
}
END_TEST

START_TEST(handler_loaded_twice_has_two_contexts)
{
    static const param_t param = {"a", "1"};
    websocket_context_t *first;
    websocket_context_t *second;

    begin();
    ck_assert_ptr_null(load(&first, "good", &param, 1));
    ck_assert_ptr_null(load(&second, "good", NULL, 0));
    ck_assert_ptr_ne(first, second);
    ck_assert_str_eq(websocket_context_data(first), "1,2");
    ck_assert_str_eq(websocket_context_data(second), "none,2");
    end();
}
END_TEST

START_TEST(error_of_configure_is_handed_on)
{
    static const param_t params[] = {{"a", "1"}, {"bad", "worse"}};
    websocket_context_t *context;
    const char *error;

    begin();
    error = load(&context, "good", params, 2);
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_nonnull(strstr(error, "good"));
    ck_assert_ptr_nonnull(strstr(error, "no \"bad\" here, nor worse"));
    ck_assert_ptr_null(context);
    end();
}
END_TEST

START_TEST(handler_without_options_takes_none)
{
    static const param_t param = {"a", "1"};
    websocket_context_t *context;
    const char *error;

    begin();
    ck_assert_ptr_null(load(&context, "plain", NULL, 0));
    error = load(&context, "plain", &param, 1);
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_nonnull(strstr(error, "plain"));
    ck_assert_ptr_nonnull(strstr(error, "options"));
    end();
}
END_TEST

START_TEST(file_that_is_not_there)
{
    expect_error("not_there", "cannot be loaded");
}
END_TEST

START_TEST(file_without_the_symbol)
{
    expect_error("no_symbol", "websocket_handler");
}
END_TEST

START_TEST(handler_of_a_newer_abi)
{
    expect_error("new_abi", "ABI 2");
}
END_TEST

START_TEST(handler_without_an_abi)
{
    expect_error("no_abi", "ABI 0");
}
END_TEST

START_TEST(handler_that_is_too_small)
{
    expect_error("small", "size");
}
END_TEST

START_TEST(handler_without_message)
{
    expect_error("no_message", "no message");
}
END_TEST

START_TEST(handler_without_name)
{
    expect_error("no_name", "no name");
}
END_TEST

START_TEST(older_handler_lacks_what_came_later)
{
    websocket_context_t *context;

    begin();
    context = load_good("older");
    ck_assert_ptr_nonnull(context->handler.message);
    ck_assert_ptr_null(context->handler.drained);
    ck_assert_ptr_null(context->handler.close);
    end();
}
END_TEST

START_TEST(larger_handler_is_cut_to_what_is_known)
{
    websocket_context_t *context;

    begin();
    context = load_good("larger");
    ck_assert_str_eq(context->handler.name, "larger");
    ck_assert_ptr_null(context->handler.close);
    end();
}
END_TEST

static int data_destroyed;

static void count_destroy(void *data)
{
    ck_assert_ptr_eq(data, &data_destroyed);
    data_destroyed++;
}

START_TEST(data_of_the_context_is_destroyed_with_it)
{
    websocket_context_t *context;

    data_destroyed = 0;
    begin();
    context = load_good("plain");
    websocket_context_set_data(context, &data_destroyed, count_destroy);
    ck_assert_ptr_eq(websocket_context_data(context), &data_destroyed);
    ck_assert_int_eq(data_destroyed, 0);
    end();
    ck_assert_int_eq(data_destroyed, 1);
}
END_TEST

START_TEST(lines_of_the_context_go_to_the_logger)
{
    websocket_context_t *context;
    char line[3000];

    begin();
    context = load_good("plain");
    websocket_context_log(context, WEBSOCKET_LOG_WARNING, "%d %s", 1, "two");
    ck_assert_str_eq(logged.text, "1 two\n");
    ck_assert_int_eq(logged.level, WS_LOG_WARNING);
    websocket_context_log(context, -7, "x");
    ck_assert_int_eq(logged.level, WS_LOG_DEBUG);
    websocket_context_log(context, 99, "x");
    ck_assert_int_eq(logged.level, WS_LOG_DEBUG);
    wanted = WS_LOG_ERROR;
    logged.text[0] = '\0';
    websocket_context_log(context, WEBSOCKET_LOG_WARNING, "not wanted");
    ck_assert_str_eq(logged.text, "");
    memset(line, 'l', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    websocket_context_log(context, WEBSOCKET_LOG_ERROR, "%s", line);
    ck_assert_uint_eq(strlen(logged.text), 1024);
    end();
}
END_TEST

/* --- the request --- */

typedef struct {
    const char *path, *query, *protocols;
} fake_t;

static const char *fake_path(void *baton)
{
    return ((const fake_t *)baton)->path;
}

static const char *fake_query(void *baton)
{
    return ((const fake_t *)baton)->query;
}

static const char *fake_header(void *baton, const char *name)
{
    return strcmp(name, "Sec-WebSocket-Protocol") == 0
               ? ((const fake_t *)baton)->protocols
               : NULL;
}

static const ws_request_ops_t fake_ops = {.path = fake_path,
                                          .query = fake_query,
                                          .header = fake_header};

START_TEST(argument_is_found_and_decoded)
{
    static const struct {
        const char *query, *name, *value;
    } cases[] = {
        {NULL, "a", NULL},
        {"", "a", NULL},
        {"a=1", "a", "1"},
        {"a=1", "b", NULL},
        {"a=1", "", NULL},
        {"a=1&b=2", "b", "2"},
        {"a=1&b=2&c=3", "c", "3"},
        {"ab=1&a=2", "a", "2"},
        {"a=1&a=2", "a", "1"},
        {"a", "a", ""},
        {"a=", "a", ""},
        {"a&b", "b", ""},
        {"a=&b=2", "a", ""},
        {"&&a=1&&", "a", "1"},
        {"a==", "a", "="},
        {"a=b=c", "a", "b=c"},
        {"a=1;b=2", "a", "1;b=2"},
        {"=1", "", "1"},
        {"a=x+y", "a", "x y"},
        {"a=%2B", "a", "+"},
        {"a=%41%5a%7A", "a", "AZz"},
        {"a=%26%3D%25", "a", "&=%"},
        {"a=%C3%a4", "a", "\xc3\xa4"},
        {"%61=1", "a", "1"},
        {"a+b=1", "a b", "1"},
        {"a%3D=1", "a=", "1"},
        {"A=1", "a", NULL},
        {"a=%00", "a", NULL},
        {"a=x%00y", "a", NULL},
        {"a=%", "a", NULL},
        {"a=%4", "a", NULL},
        {"a=%4&b=1", "a", NULL},
        {"a=%4&b=1", "b", "1"},
        {"a=%4g", "a", NULL},
        {"a=%g4", "a", NULL},
        {"a=%-1", "a", NULL},
        {"a=% 1", "a", NULL},
        {"a=%4%41", "a", NULL},
        {"%zz=1&a=2", "a", "2"},
        {"%00=1&a=2", "a", "2"},
        {"a=%ff", "a", "\xff"},
    };
    size_t i;

    begin();
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        fake_t fake = {.query = cases[i].query};
        websocket_request_t request = {.ops = &fake_ops,
                                       .baton = &fake,
                                       .pool = pool};
        const char *value = websocket_request_argument(&request, cases[i].name);

        if (cases[i].value == NULL) {
            ck_assert_msg(value == NULL, "%s of %s: \"%s\"", cases[i].name,
                          cases[i].query, value);
        }
        else {
            ck_assert_msg(value != NULL && strcmp(value, cases[i].value) == 0,
                          "%s of %s: \"%s\"", cases[i].name, cases[i].query,
                          value != NULL ? value : "none");
        }
    }
    end();
}
END_TEST

START_TEST(protocol_is_chosen_from_what_is_offered)
{
    fake_t fake = {.protocols = " v2.json,, v1.json ,\tChat"};
    websocket_request_t request = {.ops = &fake_ops,
                                   .baton = &fake,
                                   .pool = NULL};

    begin();
    request.pool = pool;
    ck_assert_int_eq(websocket_request_choose_protocol(&request, "v3"), 0);
    ck_assert_int_eq(websocket_request_choose_protocol(&request, "v1"), 0);
    ck_assert_int_eq(websocket_request_choose_protocol(&request, ""), 0);
    ck_assert_int_eq(websocket_request_choose_protocol(&request, "chat"), 0);
    ck_assert_int_eq(websocket_request_choose_protocol(&request, "V1.json"), 0);
    ck_assert_ptr_null(request.protocol);
    ck_assert_int_eq(websocket_request_choose_protocol(&request, "v1.json"), 1);
    ck_assert_str_eq(request.protocol, "v1.json");
    ck_assert_int_eq(websocket_request_choose_protocol(&request, "v2.json"), 0);
    ck_assert_int_eq(websocket_request_choose_protocol(&request, "v1.json"), 1);
    ck_assert_str_eq(request.protocol, "v1.json");
    end();
}
END_TEST

START_TEST(no_protocol_is_chosen_where_none_is_offered)
{
    fake_t fake = {.protocols = NULL};
    websocket_request_t request = {.ops = &fake_ops, .baton = &fake};

    ck_assert_int_eq(websocket_request_choose_protocol(&request, "a"), 0);
    ck_assert_ptr_null(request.protocol);
}
END_TEST

START_TEST(request_tells_its_path_and_keeps_a_refusal)
{
    fake_t fake = {.path = "/lobby"};
    websocket_request_t request = {.ops = &fake_ops, .baton = &fake};
    char why[] = "because";

    begin();
    request.pool = pool;
    ck_assert_str_eq(websocket_request_path(&request), "/lobby");
    ck_assert_int_eq(websocket_refuse(&request, 403, why), 403);
    why[0] = 'B';
    ck_assert_str_eq(request.refusal, "because");
    websocket_request_set_data(&request, &fake, count_destroy);
    ck_assert_ptr_eq(request.data, &fake);
    ck_assert_ptr_eq(request.destroy, count_destroy);
    end();
}
END_TEST

/* --- connections, on a worker --- */

static ws_log_t *log_;
static ws_worker_t *worker;
static websocket_context_t *context;
static atomic_int destroyed;

static ws_budgets_t budgets = {.compression = {.limit = 1024 * 1024}};

static const ws_conn_limits_t limits = {.max_message = 65536,
                                        .compression_level = 6,
                                        .budget = &budgets.compression,
                                        .send_queue = 1024 * 1024,
                                        .close_timeout = 1000};

static void count_data(void *data)
{
    (void)data;
    atomic_fetch_add(&destroyed, 1);
}

static void begin_worker(const char *handler)
{
    begin();
    atomic_store(&destroyed, 0);
    context = load_good(handler);
    ws_handler_set_key(context, "one");
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, 2), WS_OK);
    worker = ws_worker_create(log_, &logger, &budgets.compression, pool);
    ck_assert_ptr_nonnull(worker);
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
}

static void end_worker(void)
{
    ws_worker_stop(worker, 1001, "end", 0);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
    ws_log_destroy(log_);
    end();
}

static ws_promise_t promise_of(websocket_context_t *of)
{
    return (ws_promise_t){
        .context = of,
        .logger = &logger,
        .limits = &limits,
        .client = "192.0.2.7",
        .data = &destroyed,
        .destroy = count_data,
    };
}

static websocket_t *make_websocket(websocket_context_t *of, int *pclient,
                                   const ws_test_bytes_t *early)
{
    const ws_promise_t promise = promise_of(of);
    uint8_t *copy = NULL;
    websocket_t *ws;
    ws_io_t io;
    int fd;

    *pclient = client_open(&fd);
    ws_io_init_fd(&io, fd);
    if (early != NULL) {
        copy = malloc(early->length);
        memcpy(copy, early->data, early->length);
    }
    ws = ws_websocket_create(&promise, &io, copy,
                             early != NULL ? early->length : 0);
    ck_assert_ptr_nonnull(ws);
    ck_assert_ptr_eq(websocket_context(ws), of);
    ck_assert_ptr_eq(websocket_data(ws), &destroyed);
    return ws;
}

static int connect_to(websocket_context_t *of)
{
    int fd;

    ws_websocket_post(make_websocket(of, &fd, NULL), worker);
    return fd;
}

START_TEST(connection_is_opened_served_and_closed)
{
    int fd;

    begin_worker("good");
    fd = connect_to(context);
    client_send_text(fd, "hello");
    client_expect(fd, 0x81, "hello");
    client_send_close(fd, 4711);
    client_expect_close(fd, 4711, "");
    client_expect_end(fd);
    close(fd);
    ws_worker_stop(worker, 1001, "end", 0);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
    ck_assert_int_eq(destroyed, 1);
    ck_assert_str_eq(logged.text,
                     "[client 192.0.2.7] good: open\n"
                     "[client 192.0.2.7] good: plugin open\n"
                     "[client 192.0.2.7] good: closed with 4711\n"
                     "[client 192.0.2.7] good: plugin close 4711 \"\"\n");
    ws_log_destroy(log_);
    end();
}
END_TEST

START_TEST(move_is_told_to_who_wants_to_know)
{
    websocket_context_t *contexts[3];
    ws_process_t process = {.contexts = contexts, .context_count = 3};

    begin();
    contexts[0] = load_good("plain");
    contexts[1] = load_good("good");
    contexts[2] = load_good("older");
    ws_process_begin(&process);
    ck_assert_str_eq(logged.text, "");
    ck_assert(ws_process_pause(&process, 0));
    ws_process_move(&process);
    ck_assert_str_eq(logged.text, "plugin moved\n");
    ck_assert(ws_process_end(&process, 0));
    end();
}
END_TEST

START_TEST(handler_with_nothing_but_message_serves)
{
    int fd;

    begin_worker(_i == 0 ? "plain" : "older");
    fd = connect_to(context);
    client_send_text(fd, "hello");
    client_expect(fd, 0x81, "hello");
    close(fd);
    end_worker();
    ck_assert_int_eq(destroyed, 1);
}
END_TEST

START_TEST(early_input_is_served_first)
{
    ws_test_bytes_t early = {0};
    int fd;

    begin_worker("good");
    ws_test_add_text(&early, 0x81, "early");
    ws_test_add_text(&early, 0x81, "rest");
    early.length -= 2;
    ws_websocket_post(make_websocket(context, &fd, &early), worker);
    client_expect(fd, 0x81, "early");
    early.data += early.length;
    ck_assert_int_eq(send(fd, early.data, 2, 0), 2);
    client_expect(fd, 0x81, "rest");
    free(early.data - early.length);
    close(fd);
    end_worker();
}
END_TEST

static void free_task(ws_loop_t *loop, ws_task_t *task)
{
    (void)loop;
    free(task);
}

static bool is_running(ws_loop_t *loop)
{
    ws_task_t *task = calloc(1, sizeof(*task));

    task->run = free_task;
    if (ws_loop_post(loop, task)) {
        return true;
    }
    free(task);
    return false;
}

START_TEST(connection_for_a_worker_that_has_ended_is_freed)
{
    ws_test_bytes_t early = {0};
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;
    websocket_t *ws;
    ws_loop_t *loop;
    int fd;

    begin_worker("good");
    ws_test_add_text(&early, 0x81, "early");
    ws = make_websocket(context, &fd, &early);
    loop = ws_worker_loop(worker);
    ws_worker_stop(worker, 1001, "end", 0);
    while (is_running(loop)) {
        ck_assert_int_lt(ws_test_now(), limit);
    }
    ws_websocket_post(ws, worker);
    client_expect_close(fd, 1001, "");
    client_expect_end(fd);
    close(fd);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
    ck_assert_int_eq(destroyed, 1);
    ck_assert_str_eq(logged.text, "");
    ws_test_free(&early);
    ws_log_destroy(log_);
    end();
}
END_TEST

START_TEST(ids_are_unique)
{
    uint8_t first[8];
    uint8_t second[8];
    uint8_t opcode;
    size_t length;
    int fds[2];

    begin_worker("good");
    fds[0] = connect_to(context);
    fds[1] = connect_to(context);
    client_send_text(fds[0], "i");
    client_send_text(fds[1], "i");
    ck_assert(client_next(fds[0], &opcode, first, 8, &length));
    ck_assert_uint_eq(length, 8);
    ck_assert_uint_eq(opcode, 0x82);
    ck_assert(client_next(fds[1], &opcode, second, 8, &length));
    ck_assert(memcmp(first, second, 8) != 0);
    close(fds[0]);
    close(fds[1]);
    end_worker();
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

    begin_worker("good");
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        size_t at = 2 + cases[i].before;
        int fd = connect_to(context);

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
    end_worker();
}
END_TEST

START_TEST(close_takes_a_short_reason_or_none)
{
    int fd;

    begin_worker("good");
    fd = connect_to(context);
    client_send_text(fd, "c short");
    client_expect_close(fd, 4000, "short");
    close(fd);
    fd = connect_to(context);
    client_send_text(fd, "c");
    client_expect_close(fd, 4000, "");
    close(fd);
    end_worker();
}
END_TEST

START_TEST(close_with_a_code_that_is_none_is_1011)
{
    int fd;

    begin_worker("good");
    fd = connect_to(context);
    client_send_text(fd, "x");
    client_expect_close(fd, 1011, "no such code");
    close(fd);
    end_worker();
}
END_TEST

START_TEST(topics_belong_to_the_context)
{
    websocket_context_t *other;
    int fds[3];
    int i;

    begin_worker("good");
    other = load_good("good");
    ws_handler_set_key(other, "two");
    for (i = 0; i < 3; i++) {
        fds[i] = connect_to(i < 2 ? context : other);
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
    end_worker();
}
END_TEST

/* The same configuration read again: topics span the restart. */
START_TEST(contexts_of_one_key_share_topics)
{
    websocket_context_t *again;
    int fds[2];

    begin_worker("good");
    again = load_good("good");
    ws_handler_set_key(again, "one");
    fds[0] = connect_to(context);
    fds[1] = connect_to(again);
    client_send_text(fds[0], "s room");
    client_expect(fds[0], 0x81, "0");
    client_send_text(fds[1], "p across");
    client_expect(fds[0], 0x81, "across");
    close(fds[0]);
    close(fds[1]);
    end_worker();
}
END_TEST

START_TEST(topic_has_a_longest_name)
{
    char text[2 + WEBSOCKET_TOPIC_MAX + 2] = "s ";
    int fd;

    begin_worker("good");
    fd = connect_to(context);
    memset(text + 2, 't', WEBSOCKET_TOPIC_MAX);
    client_send_text(fd, text);
    client_expect(fd, 0x81, "0");
    text[2 + WEBSOCKET_TOPIC_MAX] = 't';
    client_send_text(fd, text);
    client_expect(fd, 0x81, "-1");
    client_send_text(fd, "s ");             /* empty, but a name */
    client_expect(fd, 0x81, "0");
    close(fd);
    end_worker();
}
END_TEST

/* --- what is reserved for compression --- */

/* A promise for whose contexts memory is reserved. */
static ws_promise_t promise_with_takeover(void)
{
    ws_promise_t promise = promise_of(context);

    promise.deflate = (ws_deflate_params_t){.server_bits = 15,
                                            .client_bits = 15,
                                            .server_takeover = true,
                                            .client_takeover = true};
    ck_assert(ws_budget_reserve(&budgets.compression,
                                ws_deflate_cost(&promise.deflate)));
    ck_assert_uint_gt(budgets.compression.used, 0);
    return promise;
}

/* The client's end, in *pclient. */
static websocket_t *make_from(const ws_promise_t *promise, int *pclient)
{
    websocket_t *ws;
    ws_io_t io;
    int fd;

    *pclient = client_open(&fd);
    ws_io_init_fd(&io, fd);
    ws = ws_websocket_create(promise, &io, NULL, 0);
    ck_assert_ptr_nonnull(ws);
    return ws;
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

    begin_worker("good");
    promise = promise_with_takeover();
    reserved = budgets.compression.used;
    ws_websocket_post(make_from(&promise, &fd), worker);
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
    end_worker();
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

    begin_worker("good");
    promises[0] = promise_with_takeover();
    first = budgets.compression.used;
    promises[1] = promise_of(context);
    promises[1].deflate = (ws_deflate_params_t){.server_bits = 9,
                                                .client_bits = 15,
                                                .server_takeover = true};
    ck_assert(
        ws_budget_reserve(&budgets.compression,
                          ws_deflate_cost(&promises[1].deflate)));
    both = budgets.compression.used;
    ws_websocket_post(make_from(&promises[0], &fds[0]), worker);
    ws_websocket_post(make_from(&promises[1], &fds[1]), worker);
    close(fds[0]);
    wait_until_used(0, both - first);
    ck_assert_uint_eq(budgets.compression.used, both - first);
    close(fds[1]);
    wait_until_used(0, 0);
    end_worker();
}
END_TEST

START_TEST(reservation_is_given_back_when_the_worker_has_ended)
{
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;
    ws_promise_t promise;
    int fd;

    begin_worker("good");
    promise = promise_with_takeover();
    ws_worker_stop(worker, 1001, "end", 0);
    while (is_running(ws_worker_loop(worker))) {
        ck_assert_int_lt(ws_test_now(), limit);
    }
    ws_websocket_post(make_from(&promise, &fd), worker);
    client_expect_close(fd, 1001, "");
    close(fd);
    ck_assert_uint_eq(budgets.compression.used, 0);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
    ck_assert_int_eq(destroyed, 1);
    ws_log_destroy(log_);
    end();
}
END_TEST

/* A descriptor that cannot be polled. */
START_TEST(reservation_is_given_back_when_the_loop_cannot_take_it)
{
    ws_promise_t promise;
    websocket_t *ws;
    ws_io_t io;

    begin_worker("good");
    promise = promise_with_takeover();
    ws_io_init_fd(&io, open("/dev/null", O_RDWR | O_CLOEXEC));
    ws = ws_websocket_create(&promise, &io, NULL, 0);
    ck_assert_ptr_nonnull(ws);
    ws_websocket_post(ws, worker);
    wait_until_used(0, 0);
    end_worker();
    ck_assert_int_eq(destroyed, 1);
    ck_assert_ptr_nonnull(strstr(logged.text, "dropped before it was open"));
}
END_TEST

START_TEST(reservation_is_given_back_when_it_is_discarded)
{
    ws_promise_t promise;
    int fd;

    begin();
    atomic_store(&destroyed, 0);
    context = load_good("good");
    promise = promise_with_takeover();
    ws_websocket_discard(make_from(&promise, &fd), 1001);
    client_expect_close(fd, 1001, "");
    client_expect_end(fd);
    close(fd);
    ck_assert_uint_eq(budgets.compression.used, 0);
    ck_assert_int_eq(destroyed, 1);
    end();
}
END_TEST

START_TEST(reservation_is_given_back_when_there_is_no_memory)
{
    ws_promise_t promise;
    uint8_t *early = malloc(10);
    ws_io_t io;
    int client;
    int fd;

    begin();
    atomic_store(&destroyed, 0);
    context = load_good("good");
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
    end();
}
END_TEST

START_TEST(reservation_is_given_back_when_the_promise_is_dropped)
{
    ws_promise_t promise;

    atomic_store(&destroyed, 0);
    promise = promise_with_takeover();
    ws_promise_drop(&promise);
    ck_assert_uint_eq(budgets.compression.used, 0);
    ck_assert_int_eq(destroyed, 1);

    /* nothing is reserved, nothing to destroy, and no budget */
    promise = promise_of(NULL);
    promise.deflate =
        (ws_deflate_params_t){.server_bits = 15, .client_bits = 15};
    promise.limits = &(const ws_conn_limits_t){.budget = NULL};
    promise.destroy = NULL;
    ws_promise_drop(&promise);
    ck_assert_int_eq(destroyed, 1);
}
END_TEST

/* Compression without context takeover. */
static int connect_compressed(void)
{
    ws_promise_t promise = promise_of(context);
    int fd;

    promise.deflate =
        (ws_deflate_params_t){.server_bits = 15, .client_bits = 15};
    ws_websocket_post(make_from(&promise, &fd), worker);
    return fd;
}

/* The budget goes through worker and loop to what its connections share. */
START_TEST(message_is_charged_to_the_budget_while_it_lasts)
{
    ws_test_bytes_t bytes = {0};
    int fd;

    begin_worker("good");
    fd = connect_compressed();
    ws_test_add_frame(&bytes, 0x41, "\xca\x48\xcd", 3);
    client_send(fd, &bytes);
    wait_until_used(32768, 65536);
    ws_test_add_frame(&bytes, 0x80, "\xc9\xc9\x07\x00", 4);
    client_send(fd, &bytes);
    client_expect(fd, 0x81, "hello");
    wait_until_used(0, 0);
    close(fd);
    end_worker();
}
END_TEST

/* No byte came, so no memory was taken for it. */
START_TEST(empty_message_is_not_at_null)
{
    ws_test_bytes_t frame = {0};
    int fd;

    begin_worker("good");
    fd = connect_compressed();
    ws_test_add_frame(&frame, 0xc1, "", 0);
    client_send(fd, &frame);
    client_expect(fd, 0x81, "");
    close(fd);
    end_worker();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(good_handler_is_configured),
        WS_TEST(handler_loaded_twice_has_two_contexts),
        WS_TEST(error_of_configure_is_handed_on),
        WS_TEST(handler_without_options_takes_none),
        WS_TEST(file_that_is_not_there),
        WS_TEST(file_without_the_symbol),
        WS_TEST(handler_of_a_newer_abi),
        WS_TEST(handler_without_an_abi),
        WS_TEST(handler_that_is_too_small),
        WS_TEST(handler_without_message),
        WS_TEST(handler_without_name),
        WS_TEST(older_handler_lacks_what_came_later),
        WS_TEST(larger_handler_is_cut_to_what_is_known),
        WS_TEST(data_of_the_context_is_destroyed_with_it),
        WS_TEST(lines_of_the_context_go_to_the_logger),
        WS_TEST(argument_is_found_and_decoded),
        WS_TEST(protocol_is_chosen_from_what_is_offered),
        WS_TEST(no_protocol_is_chosen_where_none_is_offered),
        WS_TEST(request_tells_its_path_and_keeps_a_refusal),
        WS_TEST(connection_is_opened_served_and_closed),
        WS_TEST(move_is_told_to_who_wants_to_know),
        WS_TEST_LOOP(handler_with_nothing_but_message_serves, 2),
        WS_TEST(early_input_is_served_first),
        WS_TEST(connection_for_a_worker_that_has_ended_is_freed),
        WS_TEST(ids_are_unique),
        WS_TEST(close_reason_is_cut_between_characters),
        WS_TEST(close_takes_a_short_reason_or_none),
        WS_TEST(close_with_a_code_that_is_none_is_1011),
        WS_TEST(topics_belong_to_the_context),
        WS_TEST(contexts_of_one_key_share_topics),
        WS_TEST(topic_has_a_longest_name),
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
    result = ws_test_run("handler", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
