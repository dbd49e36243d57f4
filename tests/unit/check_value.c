/* ws_value: how values are written in a configuration. */
#include "ws_value.h"

#include "ws_test.h"

#define UNTOUCHED 4711

typedef struct {
    const char *text;
    bool is_good;
    int64_t value;
} value_case_t;

static void expect(bool (*parse)(int64_t *pvalue, const char *text),
                   const value_case_t *cases, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        int64_t value = UNTOUCHED;
        bool is_good = parse(&value, cases[i].text);

        ck_assert_msg(is_good == cases[i].is_good, "\"%s\" is %s",
                      cases[i].text, is_good ? "good" : "none");
        ck_assert_msg(value == (is_good ? cases[i].value : UNTOUCHED),
                      "\"%s\" is %lld", cases[i].text, (long long)value);
    }
}

START_TEST(integers)
{
    static const value_case_t cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"1", true, 1},
        {"-1", true, -1},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+", false, 0},
        {"+1", false, 0},
        {"--1", false, 0},
        {"-+1", false, 0},
        {"- 1", false, 0},
        {" 1", false, 0},
        {"\t1", false, 0},
        {"1 ", false, 0},
        {"1 2", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
        {"1.0", false, 0},
        {"1,000", false, 0},
        {"1K", false, 0},
        {"1s", false, 0},
        {"one", false, 0},
        {"on", false, 0},
        {"\xd9\xa1", false, 0},             /* an Arabic digit */
    };

    expect(ws_value_integer, cases, WS_TEST_COUNT(cases));
}
END_TEST

START_TEST(sizes)
{
    static const value_case_t cases[] = {
        {"0", true, 0},
        {"100", true, 100},
        {"1K", true, 1024},
        {"1k", true, 1024},
        {"64K", true, 65536},
        {"1M", true, 1048576},
        {"1m", true, 1048576},
        {"1G", true, 1073741824},
        {"1g", true, 1073741824},
        {"0G", true, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"9007199254740991K", true, INT64_MAX - 1023},
        {"8589934591G", true, INT64_MAX - 1073741823},
        {"9007199254740992K", false, 0},
        {"8796093022208M", false, 0},
        {"8589934592G", false, 0},
        {"9223372036854775807G", false, 0},
        {"9223372036854775808", false, 0},
        {"", false, 0},
        {"K", false, 0},
        {"-1", false, 0},
        {"-0", false, 0},
        {"-1K", false, 0},
        {"+1K", false, 0},
        {"1 K", false, 0},
        {" 1K", false, 0},
        {"1K ", false, 0},
        {"1KK", false, 0},
        {"1KB", false, 0},
        {"1KiB", false, 0},
        {"1T", false, 0},
        {"1B", false, 0},
        {"1.5M", false, 0},
        {"1ms", false, 0},
        {"1h", false, 0},
    };

    expect(ws_value_size, cases, WS_TEST_COUNT(cases));
}
END_TEST

START_TEST(durations)
{
    static const value_case_t cases[] = {
        {"0", true, 0},
        {"1", true, 1000},
        {"30", true, 30000},
        {"0ms", true, 0},
        {"1ms", true, 1},
        {"500ms", true, 500},
        {"500MS", true, 500},
        {"2s", true, 2000},
        {"2S", true, 2000},
        {"2mi", true, 120000},
        {"2min", true, 120000},
        {"2Min", true, 120000},
        {"3h", true, 10800000},
        {"24H", true, 86400000},
        {"9223372036854775807ms", true, INT64_MAX},
        {"9223372036854775s", true, 9223372036854775000},
        {"9223372036854775", true, 9223372036854775000},
        {"9223372036854776", false, 0},
        {"9223372036854776s", false, 0},
        {"153722867280913min", false, 0},
        {"2562047788016h", false, 0},
        {"9223372036854775808ms", false, 0},
        {"", false, 0},
        {"ms", false, 0},
        {"h", false, 0},
        {"-1", false, 0},
        {"-1ms", false, 0},
        {"-0s", false, 0},
        {"+1s", false, 0},
        {"1 s", false, 0},
        {" 1s", false, 0},
        {"1s ", false, 0},
        {"1m", false, 0},                   /* minutes, or milliseconds? */
        {"1minutes", false, 0},
        {"1sec", false, 0},
        {"1d", false, 0},
        {"1h30min", false, 0},
        {"0.5s", false, 0},
        {"1K", false, 0},
    };

    expect(ws_value_duration, cases, WS_TEST_COUNT(cases));
}
END_TEST

START_TEST(booleans)
{
    static const value_case_t cases[] = {
        {"on", true, 1},     {"On", true, 1},   {"ON", true, 1},
        {"off", true, 0},    {"Off", true, 0},  {"OFF", true, 0},
        {"", false, 0},      {"o", false, 0},   {"one", false, 0},
        {"offf", false, 0},  {"on ", false, 0}, {" on", false, 0},
        {"yes", false, 0},   {"no", false, 0},  {"true", false, 0},
        {"false", false, 0}, {"1", false, 0},   {"0", false, 0},
    };

    expect(ws_value_boolean, cases, WS_TEST_COUNT(cases));
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(integers),
        WS_TEST(sizes),
        WS_TEST(durations),
        WS_TEST(booleans),
    };

    return ws_test_run("value", tests, WS_TEST_COUNT(tests));
}
