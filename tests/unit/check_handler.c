/* ws_handler: loading handlers, what their structs may look like, and their
 * contexts. */
#include <dlfcn.h>

#include "ws_test_handler.h"

/* --- loading --- */

typedef struct {
    const char *name;
    const char *value;
} param_t;

static const char *path_of(const char *name)
{
    static char path[1024];
    const char *build = getenv("WS_BUILD_DIR");

    snprintf(path, sizeof(path), "%s/tests/unit/plugins/.libs/%s.so",
             build != NULL ? build : ".", name);
    return path;
}

static const char *load(websocket_context_t **pcontext, const char *name,
                        const param_t *params, size_t count)
{
    websocket_context_t *context = NULL;
    const char *error;
    size_t i;

    *pcontext = NULL;
    error = ws_handler_load(&context, path_of(name), &logger, pool);
    for (i = 0; i < count && error == NULL; i++) {
        error = ws_handler_set_option(context, params[i].name, params[i].value);
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

    begin_pool();
    error = load(&context, name, NULL, 0);
    ck_assert_msg(error != NULL, "%s was loaded", name);
    ck_assert_ptr_null(context);
    ck_assert_msg(strstr(error, name) != NULL && strstr(error, what) != NULL,
                  "\"%s\" does not say \"%s\"", error, what);
    end_pool();
}

START_TEST(good_handler_is_configured)
{
    static const param_t params[] = {{"a", "1"}, {"b", "two"}};
    websocket_context_t *context;
    const char *error;

    begin_pool();
    error = load(&context, "good", params, 2);
    ck_assert_msg(error == NULL, "%s", error);
    ck_assert_str_eq(context->handler.name, "good");
    ck_assert_ptr_nonnull(context->handler.message);
    ck_assert_ptr_null(context->handler.accept);
    ck_assert_ptr_null(context->handler.drained);
    ck_assert_str_eq(websocket_context_data(context), "1,two");
    end_pool();
}
END_TEST

START_TEST(handler_loaded_twice_has_two_contexts)
{
    static const param_t param = {"a", "1"};
    websocket_context_t *first;
    websocket_context_t *second;

    begin_pool();
    ck_assert_ptr_null(load(&first, "good", &param, 1));
    ck_assert_ptr_null(load(&second, "good", NULL, 0));
    ck_assert_ptr_ne(first, second);
    ck_assert_str_eq(websocket_context_data(first), "1,2");
    ck_assert_str_eq(websocket_context_data(second), "none,2");
    end_pool();
}
END_TEST

START_TEST(error_of_configure_is_handed_on)
{
    static const param_t params[] = {{"a", "1"}, {"bad", "worse"}};
    websocket_context_t *context;
    const char *error;

    begin_pool();
    error = load(&context, "good", params, 2);
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_nonnull(strstr(error, "good"));
    ck_assert_ptr_nonnull(strstr(error, "no \"bad\" here, nor worse"));
    ck_assert_ptr_null(context);
    end_pool();
}
END_TEST

START_TEST(handler_without_options_takes_none)
{
    static const param_t param = {"a", "1"};
    websocket_context_t *context;
    const char *error;

    begin_pool();
    ck_assert_ptr_null(load(&context, "plain", NULL, 0));
    error = load(&context, "plain", &param, 1);
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_nonnull(strstr(error, "plain"));
    ck_assert_ptr_nonnull(strstr(error, "options"));
    end_pool();
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

START_TEST(handler_with_a_broken_option)
{
    expect_error("bad_option", "declares an option \"size\"");
}
END_TEST

START_TEST(older_handler_lacks_what_came_later)
{
    websocket_context_t *context;

    begin_pool();
    context = load_good("older");
    ck_assert_ptr_nonnull(context->handler.message);
    ck_assert_ptr_null(context->handler.drained);
    ck_assert_ptr_null(context->handler.close);
    end_pool();
}
END_TEST

START_TEST(larger_handler_is_cut_to_what_is_known)
{
    websocket_context_t *context;

    begin_pool();
    context = load_good("larger");
    ck_assert_str_eq(context->handler.name, "larger");
    ck_assert_ptr_null(context->handler.close);
    end_pool();
}
END_TEST

/* --- without a file --- */

static void nop_open(websocket_t *ws)
{
    (void)ws;
}

static void nop_message(websocket_t *ws, int type, const void *data,
                        size_t length)
{
    (void)ws;
    (void)type;
    (void)data;
    (void)length;
}

static void nop_fragment(websocket_t *ws, int type, const void *data,
                         size_t length, int is_last)
{
    (void)is_last;
    nop_message(ws, type, data, length);
}

static void nop_close(websocket_t *ws, unsigned code, const char *reason,
                      size_t length)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)length;
}

static const websocket_handler_t plain = {HANDLER("plain"),
                                          .message = nop_message};

START_TEST(struct_of_the_handler_is_copied)
{
    websocket_handler_t handler = plain;
    websocket_context_t *context;

    begin_pool();
    context = make_context(&handler);
    memset(&handler, 0xff, sizeof(handler));
    ck_assert_str_eq(context->handler.name, "plain");
    ck_assert_ptr_eq(context->handler.message, nop_message);
    ck_assert_ptr_null(context->handler.open);
    end_pool();
}
END_TEST

/* All that its size covers, and nothing behind it. */
START_TEST(handler_has_what_its_size_says)
{
    static const size_t sizes[] = {offsetof(websocket_handler_t, fragment),
                                   offsetof(websocket_handler_t, drained),
                                   offsetof(websocket_handler_t, close),
                                   sizeof(websocket_handler_t)};
    websocket_handler_t handler = {
        HANDLER("sized"),         .open = nop_open,    .message = nop_message,
        .fragment = nop_fragment, .drained = nop_open, .close = nop_close};
    const websocket_handler_t *copy;
    size_t i;

    begin_pool();
    for (i = 0; i < WS_TEST_COUNT(sizes); i++) {
        handler.size = (uint32_t)sizes[i];
        copy = &make_context(&handler)->handler;
        ck_assert_ptr_eq(copy->open, nop_open);
        ck_assert_ptr_eq(copy->message, nop_message);
        ck_assert(copy->fragment == (i > 0 ? nop_fragment : NULL));
        ck_assert(copy->drained == (i > 1 ? nop_open : NULL));
        ck_assert(copy->close == (i > 2 ? nop_close : NULL));
    }
    end_pool();
}
END_TEST

START_TEST(fragment_instead_of_message_will_do)
{
    const websocket_handler_t handler = {HANDLER("parts"),
                                         .fragment = nop_fragment};

    begin_pool();
    ck_assert_ptr_null(make_context(&handler)->handler.message);
    end_pool();
}
END_TEST

/* --- the context --- */

typedef struct {
    int destroyed;
} data_t;

static void count_destroy(void *data)
{
    ((data_t *)data)->destroyed++;
}

START_TEST(data_of_the_context_is_destroyed_with_it)
{
    websocket_context_t *context;
    data_t data = {0};

    begin_pool();
    context = make_context(&plain);
    ck_assert_ptr_null(websocket_context_data(context));
    websocket_context_set_data(context, &data, count_destroy);
    ck_assert_ptr_eq(websocket_context_data(context), &data);
    ck_assert_int_eq(data.destroyed, 0);
    end_pool();
    ck_assert_int_eq(data.destroyed, 1);
}
END_TEST

/* By a function that is in it. */
START_TEST(data_is_destroyed_before_the_library_goes)
{
    static const param_t param = {"a", "1"};
    websocket_context_t *context;

    begin_pool();
    ck_assert_ptr_null(load(&context, "good", &param, 1));
    ck_assert_ptr_nonnull(websocket_context_data(context));
    end_pool();
    ck_assert_ptr_null(dlopen(path_of("good"), RTLD_LAZY | RTLD_NOLOAD));
}
END_TEST

START_TEST(data_that_was_set_before_is_destroyed)
{
    websocket_context_t *context;
    data_t first = {0};
    data_t second = {0};

    begin_pool();
    context = make_context(&plain);
    websocket_context_set_data(context, &first, count_destroy);
    websocket_context_set_data(context, &second, count_destroy);
    ck_assert_int_eq(first.destroyed, 1);
    ck_assert_ptr_eq(websocket_context_data(context), &second);
    websocket_context_set_data(context, &first, NULL);
    ck_assert_int_eq(second.destroyed, 1);
    end_pool();
    ck_assert_int_eq(first.destroyed, 1);
    ck_assert_int_eq(second.destroyed, 1);
}
END_TEST

START_TEST(context_answers_what_its_options_are)
{
    static const websocket_option_t options[] = {
        {"room", WEBSOCKET_STRING, "lobby", 0, 0, "a room"},
        {"users", WEBSOCKET_INTEGER, NULL, 0, 100, "how many"},
        {"names", WEBSOCKET_LIST, NULL, 0, 0, "who"},
        {NULL, 0, NULL, 0, 0, NULL},
    };
    websocket_handler_t handler = plain;
    websocket_context_t *context;
    const char *const *names;
    const char *error;

    begin_pool();
    handler.options = options;
    handler.option_size = sizeof(options[0]);
    context = make_context(&handler);
    ck_assert_ptr_null(ws_handler_set_option(context, "users", "7"));
    ck_assert_ptr_null(ws_handler_set_option(context, "names", "ann,bob"));
    error = ws_handler_set_option(context, "users", "8");
    ck_assert_str_eq(error, "handler plain: users is given twice");
    ck_assert_str_eq(websocket_option_string(context, "room"), "lobby");
    ck_assert_int_eq(websocket_option_number(context, "users"), 7);
    names = websocket_option_list(context, "names");
    ck_assert_str_eq(names[0], "ann");
    ck_assert_str_eq(names[1], "bob");
    ck_assert_ptr_null(names[2]);
    ck_assert_ptr_null(websocket_option_string(context, "other"));
    end_pool();
}
END_TEST

START_TEST(error_text_is_cut_and_kept)
{
    websocket_context_t *context;
    const char *first;
    const char *second;
    char text[3000];

    begin_pool();
    context = make_context(&plain);
    memset(text, 'e', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    first = websocket_context_error(context, "%d: %s", 1, text);
    second = websocket_context_error(context, "%s", "short");
    ck_assert_uint_eq(strlen(first), 1023);
    ck_assert(strncmp(first, "1: eee", 6) == 0);
    ck_assert_str_eq(second, "short");
    end_pool();
}
END_TEST

START_TEST(lines_of_the_context_go_to_the_logger)
{
    websocket_context_t *context;
    char line[3000];

    begin_pool();
    context = make_context(&plain);
    websocket_context_log(context, WEBSOCKET_LOG_WARNING, "%d %s", 1, "two");
    ck_assert_str_eq(logged.text, "1 two\n");
    ck_assert_int_eq(logged.level, WS_LOG_WARNING);
    websocket_context_log(context, -7, "x");
    ck_assert_int_eq(logged.level, WS_LOG_DEBUG);
    websocket_context_log(context, 99, "x");
    ck_assert_int_eq(logged.level, WS_LOG_DEBUG);
    logged.wanted = WS_LOG_ERROR;
    logged.text[0] = '\0';
    websocket_context_log(context, WEBSOCKET_LOG_WARNING, "not wanted");
    ck_assert_str_eq(logged.text, "");
    memset(line, 'l', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    websocket_context_log(context, WEBSOCKET_LOG_ERROR, "%s", line);
    ck_assert_uint_eq(strlen(logged.text), 1024);
    end_pool();
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
        WS_TEST(handler_with_a_broken_option),
        WS_TEST(older_handler_lacks_what_came_later),
        WS_TEST(larger_handler_is_cut_to_what_is_known),
        WS_TEST(struct_of_the_handler_is_copied),
        WS_TEST(handler_has_what_its_size_says),
        WS_TEST(fragment_instead_of_message_will_do),
        WS_TEST(data_of_the_context_is_destroyed_with_it),
        WS_TEST(data_is_destroyed_before_the_library_goes),
        WS_TEST(data_that_was_set_before_is_destroyed),
        WS_TEST(context_answers_what_its_options_are),
        WS_TEST(error_text_is_cut_and_kept),
        WS_TEST(lines_of_the_context_go_to_the_logger),
    };
    int result;

    apr_initialize();
    result = ws_test_run("handler", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
