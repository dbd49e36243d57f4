/* ws_api_request: what handlers ask of a request, and answer to it. */
#include "ws_test_handler.h"
#include "ws_websocket.h"

/* A request, and what was asked of it. */
typedef struct {
    const char *path, *query, *protocols;
    const char *asked;               /* name, or text */
} fake_t;

static const char *fake_path(void *baton)
{
    return ((const fake_t *)baton)->path;
}

static const char *fake_uri(void *baton)
{
    return ((const fake_t *)baton)->path != NULL ? "/ws/chat/lobby" : NULL;
}

static const char *fake_query(void *baton)
{
    return ((const fake_t *)baton)->query;
}

static const char *fake_header(void *baton, const char *name)
{
    ((fake_t *)baton)->asked = name;
    return strcmp(name, "Sec-WebSocket-Protocol") == 0
               ? ((const fake_t *)baton)->protocols
               : NULL;
}

static const char *fake_user(void *baton)
{
    return ((const fake_t *)baton)->path != NULL ? "ann" : NULL;
}

static const char *fake_auth_type(void *baton)
{
    return ((const fake_t *)baton)->path != NULL ? "Basic" : NULL;
}

static const char *fake_tls(void *baton, const char *name)
{
    ((fake_t *)baton)->asked = name;
    return ((const fake_t *)baton)->path != NULL ? "TLSv1.3" : NULL;
}

static const char *fake_env(void *baton, const char *name)
{
    ((fake_t *)baton)->asked = name;
    return ((const fake_t *)baton)->path != NULL ? "a tenant" : NULL;
}

static const char *fake_expression(void *baton, const char *text)
{
    ((fake_t *)baton)->asked = text;
    return ((const fake_t *)baton)->path != NULL ? "a value" : NULL;
}

static void *fake_httpd(void *baton)
{
    return ((const fake_t *)baton)->path != NULL ? baton : NULL;
}

static const ws_request_ops_t fake_ops = {.path = fake_path,
                                          .uri = fake_uri,
                                          .query = fake_query,
                                          .header = fake_header,
                                          .user = fake_user,
                                          .auth_type = fake_auth_type,
                                          .tls = fake_tls,
                                          .env = fake_env,
                                          .expression = fake_expression,
                                          .httpd = fake_httpd};

/* --- what it is asked --- */

START_TEST(questions_go_to_the_request)
{
    fake_t fake = {.path = "/lobby", .protocols = "chat"};
    websocket_request_t request = {.ops = &fake_ops,
                                   .baton = &fake,
                                   .client = "192.0.2.7"};

    ck_assert_str_eq(websocket_request_path(&request), "/lobby");
    ck_assert_str_eq(websocket_request_uri(&request), "/ws/chat/lobby");
    ck_assert_str_eq(websocket_request_client(&request), "192.0.2.7");
    ck_assert_str_eq(websocket_request_user(&request), "ann");
    ck_assert_str_eq(websocket_request_auth_type(&request), "Basic");
    ck_assert_str_eq(websocket_request_header(&request,
                                              "Sec-WebSocket-Protocol"),
                     "chat");
    ck_assert_ptr_null(websocket_request_header(&request, "Cookie"));
    ck_assert_str_eq(fake.asked, "Cookie");
    ck_assert_str_eq(websocket_request_tls(&request, "SSL_PROTOCOL"),
                     "TLSv1.3");
    ck_assert_str_eq(fake.asked, "SSL_PROTOCOL");
    ck_assert_str_eq(websocket_request_env(&request, "TENANT"), "a tenant");
    ck_assert_str_eq(fake.asked, "TENANT");
    ck_assert_str_eq(websocket_request_expression(&request, "%{HTTP_HOST}"),
                     "a value");
    ck_assert_str_eq(fake.asked, "%{HTTP_HOST}");
    ck_assert_ptr_eq(websocket_request_httpd(&request), &fake);
}
END_TEST

START_TEST(what_is_not_there_is_null)
{
    fake_t fake = {.path = NULL};
    websocket_request_t request = {.ops = &fake_ops, .baton = &fake};

    ck_assert_ptr_null(websocket_request_user(&request));
    ck_assert_ptr_null(websocket_request_auth_type(&request));
    ck_assert_ptr_null(websocket_request_header(&request, "Cookie"));
    ck_assert_ptr_null(websocket_request_tls(&request, "SSL_PROTOCOL"));
    ck_assert_ptr_null(websocket_request_env(&request, "TENANT"));
    ck_assert_ptr_null(websocket_request_expression(&request, "%{"));
    ck_assert_ptr_null(websocket_request_argument(&request, "a"));
    ck_assert_ptr_null(websocket_request_httpd(&request));
}
END_TEST

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

    begin_pool();
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
    end_pool();
}
END_TEST

START_TEST(protocol_is_chosen_from_what_is_offered)
{
    fake_t fake = {.protocols = " v2.json,, v1.json ,\tChat"};
    websocket_request_t request = {.ops = &fake_ops,
                                   .baton = &fake,
                                   .pool = NULL};

    begin_pool();
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
    end_pool();
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

/* --- what is answered --- */

static int count_header(void *baton, const char *name, const char *value)
{
    (void)name;
    (void)value;
    (*(int *)baton)++;
    return 1;
}

static int header_count(const websocket_request_t *request)
{
    int count = 0;

    if (request->headers != NULL) {
        apr_table_do(count_header, &count, request->headers, NULL);
    }
    return count;
}

START_TEST(header_is_added_if_one_may_look_like_that)
{
    static const struct {
        const char *name, *value;
        int result;
    } cases[] = {
        {"X-Room", "lobby", 0},
        {"X-Empty", "", 0},
        {"X-Tab", "a\tb", 0},
        {"X-Latin", "\xe4", 0},
        {"Set-Cookie", "a=1; Path=/; HttpOnly", 0},
        {"!#$%&'*+-.^_`|~09azAZ", "every sign", 0},
        {"Sec-WebSocket", "not reserved", 0},
        {"X-Sec-WebSocket-Key", "neither", 0},
        {"Dates", "neither", 0},
        /* lines of its own */
        {"X-A", "a\r\nX-B: b", -1},
        {"X-A", "a\nX-B: b", -1},
        {"X-A", "a\r", -1},
        {"X-A", "\n", -1},
        {"X-A\r\nX-B", "b", -1},
        {"X-A: a\r\nX-B", "b", -1},
        /* no token, no text: RFC 9110 5.1, 5.5 */
        {"", "a", -1},
        {"X A", "a", -1},
        {"X-A ", "a", -1},
        {" X-A", "a", -1},
        {"X-A:", "a", -1},
        {"X\"A", "a", -1},
        {"X-\xe4", "a", -1},
        {"X-A", "a\x01", -1},
        {"X-A", "\x7f", -1},
        {"X-A", "\x1b[31m", -1},
        /* those of the handshake and of httpd */
        {"Connection", "close", -1},
        {"connection", "close", -1},
        {"CONNECTION", "close", -1},
        {"Upgrade", "h2c", -1},
        {"Content-Length", "1", -1},
        {"content-length", "1", -1},
        {"Transfer-Encoding", "chunked", -1},
        {"Date", "now", -1},
        {"Server", "other", -1},
        {"Sec-WebSocket-Accept", "a", -1},
        {"sec-websocket-protocol", "a", -1},
        {"SEC-WEBSOCKET-EXTENSIONS", "a", -1},
        {"Sec-WebSocket-Anything", "a", -1},
        {"Sec-WebSocket-", "a", -1},
    };
    fake_t fake = {.path = "/"};
    websocket_request_t request = {.ops = &fake_ops, .baton = &fake};
    int count = 0;
    size_t i;

    begin_pool();
    request.pool = pool;
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        int result = websocket_request_add_header(&request, cases[i].name,
                                                  cases[i].value);

        ck_assert_msg(result == cases[i].result, "%s: %s: %d", cases[i].name,
                      cases[i].value, result);
        count += result == 0;
        ck_assert_int_eq(header_count(&request), count);
        if (result == 0) {
            ck_assert_str_eq(apr_table_get(request.headers, cases[i].name),
                             cases[i].value);
        }
    }
    end_pool();
}
END_TEST

static int add_header(void *baton, const char *name, const char *value)
{
    strcat(baton, name);
    strcat(strcat(strcat(baton, ": "), value), "\n");
    return 1;
}

START_TEST(headers_of_one_name_are_all_kept_and_copied)
{
    fake_t fake = {.path = "/"};
    websocket_request_t request = {.ops = &fake_ops, .baton = &fake};
    char name[] = "Set-Cookie";
    char value[] = "a=1";
    char all[80] = "";

    begin_pool();
    request.pool = pool;
    ck_assert_int_eq(websocket_request_add_header(&request, name, value), 0);
    value[0] = 'b';
    ck_assert_int_eq(websocket_request_add_header(&request, name, value), 0);
    name[0] = '\0';
    value[0] = '\0';
    ck_assert_int_eq(header_count(&request), 2);
    apr_table_do(add_header, all, request.headers, NULL);
    ck_assert_str_eq(all, "Set-Cookie: a=1\nSet-Cookie: b=1\n");
    end_pool();
}
END_TEST

START_TEST(refusal_has_a_status_and_keeps_why)
{
    static const struct {
        int status, result;
    } cases[] = {
        {400, 400}, {403, 403},  {404, 404}, {429, 429}, {503, 503},
        {599, 599}, {600, 500},  {399, 500}, {302, 500}, {200, 500},
        {101, 500}, {1000, 500}, {0, 500},   {-1, 500},  {INT32_MIN, 500},
    };
    fake_t fake = {.path = "/"};
    websocket_request_t request = {.ops = &fake_ops, .baton = &fake};
    char why[] = "because";
    size_t i;

    begin_pool();
    request.pool = pool;
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        ck_assert_int_eq(websocket_refuse(&request, cases[i].status, why),
                         cases[i].result);
    }
    why[0] = 'B';
    ck_assert_str_eq(request.refusal, "because");
    ck_assert_int_eq(websocket_refuse(&request, 403, NULL), 403);
    ck_assert_ptr_null(request.refusal);
    end_pool();
}
END_TEST

static void count_destroy(void *data)
{
    (*(int *)data)++;
}

START_TEST(data_that_was_set_before_is_destroyed)
{
    fake_t fake = {.path = "/"};
    websocket_request_t request = {.ops = &fake_ops, .baton = &fake};
    int first = 0;
    int second = 0;

    websocket_request_set_data(&request, &first, count_destroy);
    ck_assert_ptr_eq(request.data, &first);
    ck_assert_ptr_eq(request.destroy, count_destroy);
    websocket_request_set_data(&request, &second, count_destroy);
    ck_assert_int_eq(first, 1);
    ck_assert_int_eq(second, 0);
    ck_assert_ptr_eq(request.data, &second);
    websocket_request_set_data(&request, NULL, NULL);
    ck_assert_int_eq(first, 1);
    ck_assert_int_eq(second, 1);
    ck_assert_ptr_null(request.data);
    ck_assert_ptr_null(request.destroy);
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(questions_go_to_the_request),
        WS_TEST(what_is_not_there_is_null),
        WS_TEST(argument_is_found_and_decoded),
        WS_TEST(protocol_is_chosen_from_what_is_offered),
        WS_TEST(no_protocol_is_chosen_where_none_is_offered),
        WS_TEST(header_is_added_if_one_may_look_like_that),
        WS_TEST(headers_of_one_name_are_all_kept_and_copied),
        WS_TEST(refusal_has_a_status_and_keeps_why),
        WS_TEST(data_that_was_set_before_is_destroyed),
    };
    int result;

    apr_initialize();
    result = ws_test_run("request", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
