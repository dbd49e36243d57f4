/* ws_option: what a handler declares, and what an administrator gives. */
#include "ws_option.h"

#include <apr_general.h>
#include <stdio.h>

#include "ws_test.h"

static apr_pool_t *pool;

static void begin(void)
{
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
}

static void end(void)
{
    apr_pool_destroy(pool);
}

#define END                       \
    {                             \
        NULL, 0, NULL, 0, 0, NULL \
    }

static ws_options_t *declare(const websocket_option_t *declared)
{
    ws_options_t *options = NULL;
    const char *error =
        ws_options_create(&options, declared, sizeof(*declared), pool);

    ck_assert_msg(error == NULL, "%s", error);
    ck_assert_ptr_nonnull(options);
    return options;
}

static void give(ws_options_t *options, const char *name, const char *value)
{
    const char *error = ws_options_set(options, name, value);

    ck_assert_msg(error == NULL, "%s=%s: %s", name, value, error);
}

static void expect_error(ws_options_t *options, const char *name,
                         const char *value, const char *expected)
{
    const char *error = ws_options_set(options, name, value);

    ck_assert_msg(error != NULL, "%s=%s is taken", name, value);
    ck_assert_str_eq(error, expected);
}

/* The strings, each with a | behind it. */
static void expect_list(const ws_options_t *options, const char *name,
                        const char *expected)
{
    const char *const *list = ws_options_list(options, name);
    char text[1024] = "";

    ck_assert_ptr_nonnull(list);
    for (; *list != NULL; list++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s|",
                 *list);
    }
    ck_assert_str_eq(text, expected);
}

/* --- declarations --- */

static const websocket_option_t all_types[] = {
    {"string", WEBSOCKET_STRING, NULL, 0, 0, "text"},
    {"integer", WEBSOCKET_INTEGER, NULL, 0, 0, "a number"},
    {"size", WEBSOCKET_SIZE, NULL, 0, 0, "bytes"},
    {"duration", WEBSOCKET_DURATION, NULL, 0, 0, "time"},
    {"boolean", WEBSOCKET_BOOLEAN, NULL, 0, 0, "on or off"},
    {"list", WEBSOCKET_LIST, NULL, 0, 0, "texts"},
    END,
};

START_TEST(declarations_can_be_listed)
{
    websocket_option_t option;
    ws_options_t *options;
    size_t i;

    begin();
    options = declare(all_types);
    for (i = 0; i < WS_TEST_COUNT(all_types) - 1; i++) {
        ck_assert(ws_options_get(options, i, &option));
        ck_assert_str_eq(option.name, all_types[i].name);
        ck_assert_str_eq(option.help, all_types[i].help);
        ck_assert_int_eq(option.type, all_types[i].type);
        ck_assert_str_eq(ws_option_type_name(option.type), option.name);
    }
    ck_assert(!ws_options_get(options, i, &option));
    ck_assert_ptr_null(ws_option_type_name(0));
    ck_assert_ptr_null(ws_option_type_name(-1));
    ck_assert_ptr_null(ws_option_type_name(WEBSOCKET_LIST + 1));
    end();
}
END_TEST

/* None at all, or only the end of them. */
START_TEST(handler_without_options_takes_none)
{
    static const websocket_option_t only_end[] = {END};
    websocket_option_t option;
    ws_options_t *options;

    begin();
    options = declare(_i == 0 ? NULL : only_end);
    ck_assert(!ws_options_get(options, 0, &option));
    expect_error(options, "a", "1", "takes no options, and no \"a\"");
    ck_assert_ptr_null(ws_options_string(options, "a"));
    ck_assert_int_eq(ws_options_number(options, "a"), 0);
    expect_list(options, "a", "");
    end();
}
END_TEST

START_TEST(broken_declaration_is_an_error)
{
    static const struct {
        websocket_option_t option;
        const char *error;
    } cases[] = {
        {{"", WEBSOCKET_STRING, NULL, 0, 0, ""}, "\"\": its name is no word"},
        {{"a b", WEBSOCKET_STRING, NULL, 0, 0, ""},
         "\"a b\": its name is no word"},
        {{"a=b", WEBSOCKET_STRING, NULL, 0, 0, ""},
         "\"a=b\": its name is no word"},
        {{"a\n", WEBSOCKET_STRING, NULL, 0, 0, ""}, "its name is no word"},
        {{"\t", WEBSOCKET_STRING, NULL, 0, 0, ""}, "its name is no word"},
        {{"'a'", WEBSOCKET_STRING, NULL, 0, 0, ""}, "its name is no word"},
        {{"\"a", WEBSOCKET_STRING, NULL, 0, 0, ""}, "its name is no word"},
        {{"first", WEBSOCKET_STRING, NULL, 0, 0, ""},
         "\"first\": it is declared twice"},
        {{"a", 0, NULL, 0, 0, ""}, "\"a\": it has no type"},
        {{"a", WEBSOCKET_LIST + 1, NULL, 0, 0, ""}, "\"a\": it has no type"},
        {{"a", -1, NULL, 0, 0, ""}, "\"a\": it has no type"},
        {{"a", WEBSOCKET_INTEGER, NULL, 2, 1, ""}, "\"a\": its range is empty"},
        {{"a", WEBSOCKET_SIZE, NULL, 1, 0, ""}, "\"a\": its range is empty"},
        {{"a", WEBSOCKET_INTEGER, "x", 0, 0, ""},
         "\"a\": a: \"x\" is no number"},
        {{"a", WEBSOCKET_INTEGER, "", 0, 0, ""}, "\"a\": a: \"\" is no number"},
        {{"a", WEBSOCKET_INTEGER, "0", 1, 2, ""},
         "\"a\": a: \"0\" is no number, from 1 to 2"},
        {{"a", WEBSOCKET_SIZE, "3K", 0, 2048, ""},
         "\"a\": a: \"3K\" is no size, as in 100, 64K, 1M, from 0 to 2048 "
         "bytes"},
        {{"a", WEBSOCKET_DURATION, "1m", 0, 0, ""},
         "\"a\": a: \"1m\" is no time, as in 30, 500ms, 2min"},
        {{"a", WEBSOCKET_BOOLEAN, "yes", 0, 0, ""},
         "\"a\": a: \"yes\" is neither on nor off"},
    };
    size_t i;

    begin();
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        const websocket_option_t declared[] = {
            {"first", WEBSOCKET_STRING, NULL, 0, 0, ""},
            cases[i].option,
            END,
        };
        ws_options_t *options;
        const char *error =
            ws_options_create(&options, declared, sizeof(declared[0]), pool);

        ck_assert_msg(error != NULL, "%s: is taken", cases[i].error);
        ck_assert_msg(strstr(error, "is broken: it declares an option") !=
                              NULL &&
                          strstr(error, cases[i].error) != NULL,
                      "\"%s\" does not say: %s", error, cases[i].error);
    }
    end();
}
END_TEST

START_TEST(declarations_without_an_end_are_noticed)
{
    static websocket_option_t declared[1002];
    static char names[1002][8];
    ws_options_t *options;
    const char *error;
    size_t i;

    begin();
    for (i = 0; i < WS_TEST_COUNT(declared); i++) {
        snprintf(names[i], sizeof(names[i]), "%zu", i);
        declared[i] =
            (websocket_option_t){.name = names[i], .type = WEBSOCKET_STRING};
    }
    error = ws_options_create(&options, declared, sizeof(declared[0]), pool);
    ck_assert_str_eq(error, "is broken: its options have no end");
    declared[1001].name = NULL;
    error = ws_options_create(&options, declared, sizeof(declared[0]), pool);
    ck_assert_str_eq(error, "is broken: its options have no end");
    declared[1000].name = NULL;
    options = declare(declared);
    give(options, "999", "the last");
    ck_assert_str_eq(ws_options_string(options, "999"), "the last");
    end();
}
END_TEST

/* Of a handler that was built with a header in which they are larger. */
START_TEST(larger_declarations_are_stepped_over)
{
    static const struct {
        websocket_option_t option;
        const char *more;
    } declared[] = {
        {{"a", WEBSOCKET_INTEGER, "1", 0, 9, "first"}, "x"},
        {{"b", WEBSOCKET_STRING, "two", 0, 0, "second"}, "y"},
        {END, "z"},
    };
    websocket_option_t option;
    ws_options_t *options = NULL;

    begin();
    ck_assert_ptr_null(ws_options_create(&options, &declared[0].option,
                                         sizeof(declared[0]), pool));
    ck_assert_int_eq(ws_options_number(options, "a"), 1);
    ck_assert_str_eq(ws_options_string(options, "b"), "two");
    ck_assert(ws_options_get(options, 1, &option));
    ck_assert_str_eq(option.help, "second");
    ck_assert(!ws_options_get(options, 2, &option));
    end();
}
END_TEST

/* There is none that is smaller: this is the first ABI. */
START_TEST(smaller_declarations_are_an_error)
{
    static const size_t sizes[] = {0, 1, sizeof(websocket_option_t) - 1,
                                   offsetof(websocket_option_t, help)};
    ws_options_t *options;
    const char *error;
    char expected[80];
    size_t i;

    begin();
    for (i = 0; i < WS_TEST_COUNT(sizes); i++) {
        error = ws_options_create(&options, all_types, sizes[i], pool);
        snprintf(expected, sizeof(expected),
                 "is broken: its options have a size of %zu bytes", sizes[i]);
        ck_assert_msg(error != NULL, "%zu is taken", sizes[i]);
        ck_assert_str_eq(error, expected);
    }
    end();
}
END_TEST

/* --- values --- */

START_TEST(values_have_their_types)
{
    ws_options_t *options;

    begin();
    options = declare(all_types);
    give(options, "string", "a text, with = and more");
    give(options, "integer", "-42");
    give(options, "size", "64K");
    give(options, "duration", "2min");
    give(options, "boolean", "on");
    give(options, "list", "one,two");
    ck_assert_str_eq(ws_options_string(options, "string"),
                     "a text, with = and more");
    ck_assert_int_eq(ws_options_number(options, "integer"), -42);
    ck_assert_int_eq(ws_options_number(options, "size"), 65536);
    ck_assert_int_eq(ws_options_number(options, "duration"), 120000);
    ck_assert_int_eq(ws_options_number(options, "boolean"), 1);
    expect_list(options, "list", "one|two|");
    end();
}
END_TEST

START_TEST(no_value_and_no_default_is_nothing)
{
    ws_options_t *options;

    begin();
    options = declare(all_types);
    ck_assert_ptr_null(ws_options_string(options, "string"));
    ck_assert_int_eq(ws_options_number(options, "integer"), 0);
    ck_assert_int_eq(ws_options_number(options, "size"), 0);
    ck_assert_int_eq(ws_options_number(options, "duration"), 0);
    ck_assert_int_eq(ws_options_number(options, "boolean"), 0);
    expect_list(options, "list", "");
    end();
}
END_TEST

START_TEST(value_of_another_type_is_nothing)
{
    static const char *const names[] = {"string",   "integer", "size",
                                        "duration", "boolean", "list",
                                        "unknown",  ""};
    ws_options_t *options;
    size_t i;

    begin();
    options = declare(all_types);
    give(options, "string", "1");
    give(options, "integer", "1");
    give(options, "size", "1");
    give(options, "duration", "1");
    give(options, "boolean", "on");
    give(options, "list", "1");
    for (i = 0; i < WS_TEST_COUNT(names); i++) {
        bool is_number = i >= 1 && i <= 4;

        ck_assert((ws_options_string(options, names[i]) != NULL) == (i == 0));
        ck_assert((ws_options_number(options, names[i]) != 0) == is_number);
        expect_list(options, names[i], i == 5 ? "1|" : "");
    }
    end();
}
END_TEST

static const websocket_option_t ranges[] = {
    {"integer", WEBSOCKET_INTEGER, NULL, -5, 5, ""},
    {"positive", WEBSOCKET_INTEGER, NULL, 1, INT64_MAX, ""},
    {"negative", WEBSOCKET_INTEGER, NULL, INT64_MIN, -1, ""},
    {"one", WEBSOCKET_INTEGER, NULL, 1, 1, ""},
    {"any", WEBSOCKET_INTEGER, NULL, 0, 0, ""},
    {"size", WEBSOCKET_SIZE, NULL, 1024, 1048576, ""},
    {"duration", WEBSOCKET_DURATION, NULL, 100, 60000, ""},
    {"boolean", WEBSOCKET_BOOLEAN, NULL, 5, 6, ""},
    {"string", WEBSOCKET_STRING, NULL, 5, 6, ""},
    END,
};

START_TEST(value_must_be_in_the_range)
{
    static const struct {
        const char *name, *value;
        bool is_good;
    } cases[] = {
        {"integer", "-5", true},
        {"integer", "5", true},
        {"integer", "-6", false},
        {"integer", "6", false},
        {"integer", "99999999999999999999", false},
        {"positive", "1", true},
        {"positive", "9223372036854775807", true},
        {"positive", "0", false},
        {"negative", "-9223372036854775808", true},
        {"negative", "0", false},
        {"one", "1", true},
        {"one", "2", false},
        {"any", "-9223372036854775808", true},
        {"any", "9223372036854775807", true},
        {"size", "1024", true},
        {"size", "1M", true},
        {"size", "1023", false},
        {"size", "1048577", false},
        {"size", "2M", false},
        {"size", "-1024", false},
        {"duration", "100ms", true},
        {"duration", "1min", true},
        {"duration", "99ms", false},
        {"duration", "61", false},
        {"boolean", "on", true},            /* these have none */
        {"boolean", "off", true},
        {"string", "", true},
    };
    ws_options_t *options;
    size_t i;

    begin();
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        options = declare(ranges);
        ck_assert_msg((ws_options_set(options, cases[i].name, cases[i].value) ==
                       NULL) == cases[i].is_good,
                      "%s=%s", cases[i].name, cases[i].value);
    }
    options = declare(ranges);
    expect_error(options, "integer", "6",
                 "integer: \"6\" is no number, from -5 to 5");
    expect_error(options, "size", "1x",
                 "size: \"1x\" is no size, as in 100, 64K, 1M, from 1024 to "
                 "1048576 bytes");
    expect_error(options, "duration", "1h",
                 "duration: \"1h\" is no time, as in 30, 500ms, 2min, from "
                 "100 to 60000 ms");
    expect_error(options, "boolean", "1",
                 "boolean: \"1\" is neither on nor off");
    end();
}
END_TEST

static const websocket_option_t with_defaults[] = {
    {"string", WEBSOCKET_STRING, "of old", 0, 0, ""},
    {"size", WEBSOCKET_SIZE, "1K", 0, 0, ""},
    {"boolean", WEBSOCKET_BOOLEAN, "on", 0, 0, ""},
    {"list", WEBSOCKET_LIST, "a,b", 0, 0, ""},
    END,
};

START_TEST(default_holds_until_a_value_is_given)
{
    ws_options_t *options;

    begin();
    options = declare(with_defaults);
    ck_assert_str_eq(ws_options_string(options, "string"), "of old");
    ck_assert_int_eq(ws_options_number(options, "size"), 1024);
    ck_assert_int_eq(ws_options_number(options, "boolean"), 1);
    expect_list(options, "list", "a|b|");
    give(options, "string", "");
    give(options, "size", "0");
    give(options, "boolean", "off");
    ck_assert_str_eq(ws_options_string(options, "string"), "");
    ck_assert_int_eq(ws_options_number(options, "size"), 0);
    ck_assert_int_eq(ws_options_number(options, "boolean"), 0);
    end();
}
END_TEST

START_TEST(value_is_given_once)
{
    static const char *const names[] = {"string", "size", "boolean"};
    ws_options_t *options;
    char expected[80];
    size_t i;

    begin();
    options = declare(with_defaults);
    for (i = 0; i < WS_TEST_COUNT(names); i++) {
        give(options, names[i], i == 1 ? "1" : "on");
        snprintf(expected, sizeof(expected), "%s is given twice", names[i]);
        expect_error(options, names[i], i == 1 ? "1" : "on", expected);
    }
    end();
}
END_TEST

START_TEST(lists_add_up)
{
    ws_options_t *options;

    begin();
    options = declare(all_types);
    give(options, "list", "one");
    expect_list(options, "list", "one|");
    give(options, "list", "two,three");
    give(options, "list", "one");
    expect_list(options, "list", "one|two|three|one|");
    end();
}
END_TEST

START_TEST(what_is_given_replaces_the_default_of_a_list)
{
    ws_options_t *options;

    begin();
    options = declare(with_defaults);
    give(options, "list", "x");
    expect_list(options, "list", "x|");
    give(options, "list", "y,z");
    expect_list(options, "list", "x|y|z|");
    end();
}
END_TEST

/* Spaces and nothing are strings, too. */
START_TEST(list_is_cut_at_commas_alone)
{
    static const struct {
        const char *value, *list;
    } cases[] = {
        {"", "|"},       {",", "||"},       {"a,", "a||"},
        {",a", "|a|"},   {"a,,b", "a||b|"}, {"a b, c", "a b| c|"},
        {"a;b", "a;b|"},
    };
    ws_options_t *options;
    size_t i;

    begin();
    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        options = declare(with_defaults);
        give(options, "list", cases[i].value);
        expect_list(options, "list", cases[i].list);
    }
    end();
}
END_TEST

START_TEST(list_has_a_limit)
{
    static char value[20002];
    const char *const *list;
    ws_options_t *options;
    size_t count = 0;

    begin();
    options = declare(all_types);
    memset(value, ',', 9998);               /* 9,999 strings */
    give(options, "list", value);
    give(options, "list", "the last");
    expect_error(options, "list", "one more",
                 "list: a list has at most 10000 strings");
    for (list = ws_options_list(options, "list"); *list != NULL; list++) {
        count++;
    }
    ck_assert_uint_eq(count, 10000);
    ck_assert_str_eq(list[-1], "the last");
    options = declare(all_types);
    memset(value, ',', sizeof(value) - 1);
    expect_error(options, "list", value,
                 "list: a list has at most 10000 strings");
    end();
}
END_TEST

START_TEST(unknown_option_is_told_with_those_that_there_are)
{
    ws_options_t *options;

    begin();
    options = declare(with_defaults);
    expect_error(options, "strings", "x",
                 "unknown option \"strings\"; there are: string, size, "
                 "boolean, list");
    expect_error(options, "String", "x",
                 "unknown option \"String\"; there are: string, size, "
                 "boolean, list");
    expect_error(options, "", "x",
                 "unknown option \"\"; there are: string, size, boolean, "
                 "list");
    ck_assert_str_eq(ws_options_string(options, "string"), "of old");
    end();
}
END_TEST

START_TEST(names_and_values_are_copied)
{
    char value[] = "value";
    char list[] = "a,b";
    ws_options_t *options;

    begin();
    options = declare(all_types);
    give(options, "string", value);
    give(options, "list", list);
    memset(value, 'x', sizeof(value) - 1);
    memset(list, 'x', sizeof(list) - 1);
    ck_assert_str_eq(ws_options_string(options, "string"), "value");
    expect_list(options, "list", "a|b|");
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(declarations_can_be_listed),
        WS_TEST_LOOP(handler_without_options_takes_none, 2),
        WS_TEST(broken_declaration_is_an_error),
        WS_TEST(declarations_without_an_end_are_noticed),
        WS_TEST(larger_declarations_are_stepped_over),
        WS_TEST(smaller_declarations_are_an_error),
        WS_TEST(values_have_their_types),
        WS_TEST(no_value_and_no_default_is_nothing),
        WS_TEST(value_of_another_type_is_nothing),
        WS_TEST(value_must_be_in_the_range),
        WS_TEST(default_holds_until_a_value_is_given),
        WS_TEST(value_is_given_once),
        WS_TEST(lists_add_up),
        WS_TEST(what_is_given_replaces_the_default_of_a_list),
        WS_TEST(list_is_cut_at_commas_alone),
        WS_TEST(list_has_a_limit),
        WS_TEST(unknown_option_is_told_with_those_that_there_are),
        WS_TEST(names_and_values_are_copied),
    };
    int result;

    apr_initialize();
    result = ws_test_run("option", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
