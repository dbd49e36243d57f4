/* ws_extension: the header, and what is agreed on. */
#include "ws_extension.h"

#include <stdio.h>

#include "ws_test.h"

#define PMD "permessage-deflate"
#define ALL_OF_IT                                                  \
    PMD "; server_no_context_takeover; client_no_context_takeover" \
        "; server_max_window_bits=10; client_max_window_bits=10"

static const ws_deflate_policy_t generous = {.window_bits = 15,
                                             .server_takeover = true,
                                             .client_takeover = true};

typedef struct {
    ws_deflate_params_t params;
    char answer[WS_EXTENSION_ANSWER_SIZE + 8];
} result_t;

/* The header ends at the end of memory; so does what may be written. */
static ws_status_t negotiate(result_t *result, const char *offers,
                             const ws_deflate_policy_t *policy)
{
    size_t size = strlen(offers) + 1;
    ws_test_edge_t edge = ws_test_edge_create(size);
    ws_test_edge_t answer = ws_test_edge_create(WS_EXTENSION_ANSWER_SIZE);
    char *out = (char *)answer.start + answer.size - WS_EXTENSION_ANSWER_SIZE;
    const char *why = NULL;
    ws_status_t status;

    memset(&result->params, 0xa5, sizeof(result->params));
    memset(out, '#', WS_EXTENSION_ANSWER_SIZE);
    status =
        ws_extension_negotiate(&result->params, out, &why,
                               (const char *)ws_test_edge_put(&edge, offers,
                                                              size),
                               policy);
    if ((status == WS_EPROTO) != (why != NULL) ||
        (status != WS_OK && status != WS_EPROTO)) {
        ck_abort_msg("status %d for \"%s\"", (int)status, offers);
    }
    if (memchr(out, '\0', WS_EXTENSION_ANSWER_SIZE) == NULL) {
        ck_abort_msg("an answer without end for \"%s\"", offers);
    }
    memcpy(result->answer, out, WS_EXTENSION_ANSWER_SIZE);
    ws_test_edge_destroy(&edge);
    ws_test_edge_destroy(&answer);
    return status;
}

/* answer "": nothing is agreed on. */
static void expect(const char *offers, const ws_deflate_policy_t *policy,
                   const char *answer)
{
    static const ws_deflate_params_t none = {0};
    result_t result;

    ck_assert_msg(negotiate(&result, offers, policy) == WS_OK,
                  "\"%s\" is refused", offers);
    ck_assert_msg(strcmp(result.answer, answer) == 0, "\"%s\": \"%s\"", offers,
                  result.answer);
    ck_assert_int_eq(ws_deflate_agreed(&result.params), answer[0] != '\0');
    if (answer[0] == '\0') {
        ck_assert_mem_eq(&result.params, &none, sizeof(none));
    }
}

static void expect_params(const char *offers, const ws_deflate_policy_t *policy,
                          unsigned server_bits, unsigned client_bits,
                          bool server_takeover, bool client_takeover)
{
    result_t result;

    ck_assert_int_eq(negotiate(&result, offers, policy), WS_OK);
    ck_assert_uint_eq(result.params.server_bits, server_bits);
    ck_assert_uint_eq(result.params.client_bits, client_bits);
    ck_assert_int_eq(result.params.server_takeover, server_takeover);
    ck_assert_int_eq(result.params.client_takeover, client_takeover);
}

/* --- the grammar --- */

START_TEST(header_without_an_offer_is_answered_with_nothing)
{
    static const char *const headers[] = {"", " ", ",", " ,\t, ,", "\t"};

    expect(headers[_i], &generous, "");
}
END_TEST

START_TEST(other_extensions_are_passed_over)
{
    static const char *const headers[] = {
        "foo",
        "foo, bar",
        "foo; a; b=1; c=\"x\"",
        "x-webkit-deflate-frame",
        "permessage-bzip2; a=b",
        "permessage-deflat",
        "permessage-deflated",
        "foo; permessage-deflate",
        "foo; server_max_window_bits=99",
        "foo; a; a; a",
    };

    expect(headers[_i], &generous, "");
}
END_TEST

START_TEST(offer_among_other_extensions_is_found)
{
    static const char *const headers[] = {
        PMD,
        "foo, " PMD,
        PMD ", foo",
        "foo; a=\"b\", " PMD ", bar; c",
        ",, " PMD " ,,",
        "foo; server_max_window_bits=99, " PMD,
        "permessage-bzip2," PMD,
    };

    expect(headers[_i], &generous, PMD);
}
END_TEST

START_TEST(white_space_may_stand_between_all_words)
{
    static const char *const headers[] = {
        PMD ";server_max_window_bits=10",
        PMD "; server_max_window_bits=10",
        PMD " ; server_max_window_bits=10",
        "\t" PMD "\t;\tserver_max_window_bits\t=\t10\t",
        " " PMD "  ;  server_max_window_bits  =  10  ",
        " , " PMD " ; server_max_window_bits = \"10\" , ",
        PMD ";server_max_window_bits=\"10\",foo",
    };

    expect(headers[_i], &generous, PMD "; server_max_window_bits=10");
}
END_TEST

START_TEST(quoted_value_is_the_same_as_a_token)
{
    static const char *const values[] = {
        "10", "\"10\"", "\"\\10\"", "\"1\\0\"", "\"\\1\\0\"",
    };
    char header[100];

    snprintf(header, sizeof(header), PMD "; client_max_window_bits=%s",
             values[_i]);
    expect(header, &generous, PMD "; client_max_window_bits=10");
}
END_TEST

/* Longer than anything that is kept of it. */
START_TEST(value_may_be_of_any_length)
{
    char value[3000];
    char header[3100];

    memset(value, '1', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    snprintf(header, sizeof(header), "foo; a=%s, " PMD, value);
    expect(header, &generous, PMD);
    snprintf(header, sizeof(header), "foo; a=\"%s\", " PMD, value);
    expect(header, &generous, PMD);
    snprintf(header, sizeof(header), PMD "; client_max_window_bits=%s", value);
    expect(header, &generous, "");
}
END_TEST

START_TEST(malformed_header_is_refused_and_nothing_is_agreed)
{
    static const char *const headers[] = {
        ";",
        "=",
        "=1",
        "; a",
        "\"permessage-deflate\"",
        "foo bar",
        "foo/1",
        "foo(comment)",
        "fo\xc3\xb6",
        "foo\v",
        "foo\r\n bar",
        "foo;",
        "foo; ",
        "foo;;",
        "foo; ;a",
        "foo;,bar",
        "foo; =1",
        "foo; \"a\"=1",
        "foo; a b",
        "foo; a=",
        "foo; a= ",
        "foo; a=;",
        "foo; a=;b",
        "foo; a=,bar",
        "foo; a==1",
        "foo; a=1=2",
        "foo; a=1 2",
        "foo; a=b@c",
        "foo; a=\"\"",
        "foo; a=\"",
        "foo; a=\"b",
        "foo; a=\"\\",
        "foo; a=\"b\\",
        "foo; a=\"b\\\"",
        "foo; a=\"\\\"\"",
        "foo; a=\"\\\\\"",
        "foo; a=\"b c\"",
        "foo; a=\"b,c\"",
        "foo; a=\"\tb\"",
        "foo; a=\"b\"c",
        "foo; a=\"b\"\"c\"",
        "foo; a=b\"c\"",
        "foo; a=\"\xc3\xa4\"",
        "foo; a='b c'",
    };
    static const char *const before[] = {"", PMD ", ", ""};
    static const char *const behind[] = {"", "", ", permessage-deflate"};
    static const ws_deflate_params_t none = {0};
    char header[120];
    result_t result;
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(headers); i++) {
        snprintf(header, sizeof(header), "%s%s%s", before[_i], headers[i],
                 behind[_i]);
        ck_assert_msg(negotiate(&result, header, &generous) == WS_EPROTO,
                      "\"%s\" is taken", header);
        ck_assert_mem_eq(&result.params, &none, sizeof(none));
        ck_assert_str_eq(result.answer, "");
    }
}
END_TEST

/* Each text is another one: the log line tells which rule was broken. */
START_TEST(refusal_says_which_rule_was_broken)
{
    static const struct {
        const char *header, *word;
    } cases[] = {
        {"; a", "extension without a name"},
        {"foo bar", "commas"},
        {"foo;", "parameter without a name"},
        {"foo; a=", "without its value"},
        {"foo; a=\"b c\"", "no token"},
        {"foo; a=\"", "no token"},
        {"foo; a=\"\"", "empty"},
    };
    ws_deflate_params_t params;
    char answer[WS_EXTENSION_ANSWER_SIZE];
    const char *why = NULL;

    ck_assert_int_eq(ws_extension_negotiate(&params, answer, &why,
                                            cases[_i].header, &generous),
                     WS_EPROTO);
    ck_assert_msg(strstr(why, cases[_i].word) != NULL, "\"%s\": %s",
                  cases[_i].header, why);
}
END_TEST

/* --- the parameters --- */

START_TEST(takeover_is_given_up_by_whoever_is_asked_to)
{
    expect(PMD "; server_no_context_takeover", &generous,
           PMD "; server_no_context_takeover");
    expect_params(PMD "; server_no_context_takeover", &generous, 15, 15, false,
                  true);
    expect(PMD "; client_no_context_takeover", &generous,
           PMD "; client_no_context_takeover");
    expect_params(PMD "; client_no_context_takeover", &generous, 15, 15, true,
                  false);
    expect_params(PMD, &generous, 15, 15, true, true);
}
END_TEST

START_TEST(server_window_is_what_is_asked_for)
{
    char header[100];
    unsigned bits;

    for (bits = 8; bits <= 15; bits++) {
        snprintf(header, sizeof(header), PMD "; server_max_window_bits=%u",
                 bits);
        expect(header, &generous, header);
        expect_params(header, &generous, bits, 15, true, true);
    }
}
END_TEST

START_TEST(client_window_is_what_is_offered)
{
    char header[100];
    unsigned bits;

    for (bits = 8; bits <= 15; bits++) {
        snprintf(header, sizeof(header), PMD "; client_max_window_bits=%u",
                 bits);
        /* 15 is what holds without a word */
        expect(header, &generous, bits < 15 ? header : PMD);
        expect_params(header, &generous, 15, bits, true, true);
    }
    expect(PMD "; client_max_window_bits", &generous, PMD);
    expect_params(PMD "; client_max_window_bits", &generous, 15, 15, true,
                  true);
}
END_TEST

START_TEST(all_parameters_are_agreed_to_in_any_order)
{
    expect(ALL_OF_IT, &generous, ALL_OF_IT);
    expect(PMD "; client_max_window_bits=10; server_no_context_takeover"
               "; server_max_window_bits=10; client_no_context_takeover",
           &generous, ALL_OF_IT);
    expect_params(ALL_OF_IT, &generous, 10, 10, false, false);
}
END_TEST

START_TEST(invalid_window_bits_decline_the_offer)
{
    static const char *const values[] = {
        "0",     "1",    "7",  "16",     "20",  "100",       "08",
        "010",   "0010", "-8", "+8",     "8.0", "8a",        "a",
        "0x8",   "1e1",  "18", "1",      "80",  "150",       "99999999999999",
        "\"7\"", "*",    "1_", "\"08\"", "15a", "000000008", "10101010101010",
    };
    static const char *const names[] = {"server_max_window_bits",
                                        "client_max_window_bits"};
    char header[120];
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(values); i++) {
        snprintf(header, sizeof(header), PMD "; %s=%s", names[_i], values[i]);
        expect(header, &generous, "");
    }
}
END_TEST

START_TEST(invalid_parameters_decline_the_offer)
{
    static const char *const headers[] = {
        PMD "; server_max_window_bits",     /* needs a value */
        PMD "; server_no_context_takeover=1",
        PMD "; server_no_context_takeover=true",
        PMD "; client_no_context_takeover=\"1\"",
        PMD "; unknown",
        PMD "; unknown=1",
        PMD "; server_max_window_bit=10",
        PMD "; server_max_window_bitss=10",
        PMD "; Server_Max_Window_Bits=10",
        PMD "; " PMD,
        PMD "; server_no_context_takeover; unknown",
        PMD "; unknown; server_no_context_takeover",
    };

    expect(headers[_i], &generous, "");
}
END_TEST

START_TEST(parameter_given_twice_declines_the_offer)
{
    static const char *const params[] = {
        "server_no_context_takeover", "client_no_context_takeover",
        "server_max_window_bits=10",  "client_max_window_bits=10",
        "client_max_window_bits",
    };
    char header[160];

    snprintf(header, sizeof(header), PMD "; %s; %s", params[_i], params[_i]);
    expect(header, &generous, "");
    snprintf(header, sizeof(header), PMD "; %s; unknown; %s", params[_i],
             params[_i]);
    expect(header, &generous, "");
    expect(PMD "; client_max_window_bits; client_max_window_bits=9", &generous,
           "");
}
END_TEST

/* --- several offers --- */

START_TEST(first_offer_that_can_be_agreed_to_is_taken)
{
    expect(PMD "; server_max_window_bits=9, " PMD, &generous,
           PMD "; server_max_window_bits=9");
    expect(PMD ", " PMD "; server_max_window_bits=9", &generous, PMD);
    expect(PMD "; server_max_window_bits=7, " PMD
               "; server_max_window_bits=11, " PMD,
           &generous, PMD "; server_max_window_bits=11");
    expect(PMD "; unknown, foo, " PMD "; client_no_context_takeover", &generous,
           PMD "; client_no_context_takeover");
}
END_TEST

/* What one offer says does not reach into the next. */
START_TEST(offers_are_judged_each_for_itself)
{
    expect(PMD "; server_no_context_takeover; client_max_window_bits=9"
               "; unknown, " PMD,
           &generous, PMD);
    expect(PMD "; server_max_window_bits=7, foo; server_max_window_bits=8",
           &generous, "");
    expect(PMD "; client_max_window_bits, " PMD "; client_max_window_bits",
           &generous, PMD);
}
END_TEST

/* --- policies --- */

START_TEST(window_is_the_smaller_of_policy_and_offer)
{
    ws_deflate_policy_t policy = {.server_takeover = true,
                                  .client_takeover = true};
    char header[100];
    char answer[100];
    unsigned asked;
    unsigned bits;

    for (policy.window_bits = 9; policy.window_bits <= 15;
         policy.window_bits++) {
        for (asked = 8; asked <= 15; asked++) {
            bits = asked < policy.window_bits ? asked : policy.window_bits;
            snprintf(header, sizeof(header), PMD "; server_max_window_bits=%u",
                     asked);
            snprintf(answer, sizeof(answer), PMD "; server_max_window_bits=%u",
                     bits);
            expect(header, &policy, answer);
            expect_params(header, &policy, bits, 15, true, true);
            snprintf(header, sizeof(header),
                     PMD "; server_max_window_bits=15"
                         "; client_max_window_bits=%u",
                     asked);
            expect_params(header, &policy, policy.window_bits, bits, true,
                          true);
        }
    }
}
END_TEST

/* RFC 7692 7.1.2.1: we may say it unasked; 7.1.2.2: not to the client. */
START_TEST(policys_window_holds_for_the_client_only_if_it_offers)
{
    const ws_deflate_policy_t policy = {.window_bits = 11,
                                        .server_takeover = true,
                                        .client_takeover = true};

    expect(PMD, &policy, PMD "; server_max_window_bits=11");
    expect_params(PMD, &policy, 11, 15, true, true);
    expect(PMD "; client_max_window_bits", &policy,
           PMD "; server_max_window_bits=11; client_max_window_bits=11");
    expect_params(PMD "; client_max_window_bits", &policy, 11, 11, true, true);
    expect(PMD "; client_max_window_bits=9", &policy,
           PMD "; server_max_window_bits=11; client_max_window_bits=9");
}
END_TEST

START_TEST(policy_without_takeover_says_so_for_both)
{
    static const char *const headers[] = {
        PMD,
        PMD "; server_no_context_takeover",
        PMD "; client_no_context_takeover",
        PMD "; client_no_context_takeover; server_no_context_takeover",
    };
    const ws_deflate_policy_t policy = {.window_bits = 15};

    expect(headers[_i], &policy,
           PMD "; server_no_context_takeover; client_no_context_takeover");
    expect_params(headers[_i], &policy, 15, 15, false, false);
}
END_TEST

START_TEST(longest_answer_fits)
{
    const ws_deflate_policy_t policy = {.window_bits = 10};
    result_t result;

    expect(PMD "; client_max_window_bits", &policy, ALL_OF_IT);
    ck_assert_int_eq(negotiate(&result, ALL_OF_IT, &policy), WS_OK);
    ck_assert_uint_lt(strlen(result.answer), WS_EXTENSION_ANSWER_SIZE);
}
END_TEST

/* --- what holds for any header --- */

/* The value of a parameter in the answer; 0: it is not there. */
static unsigned answered(const char *answer, const char *name)
{
    const char *at = strstr(answer, name);

    return at != NULL ? (unsigned)atoi(at + strlen(name) + 1) : 0;
}

static void check_answer(const result_t *result, const char *header,
                         const ws_deflate_policy_t *policy, bool may_tell)
{
    const ws_deflate_params_t *params = &result->params;
    unsigned server = answered(result->answer, "server_max_window_bits");
    unsigned client = answered(result->answer, "client_max_window_bits");

    if (strncmp(result->answer, PMD, strlen(PMD)) != 0 ||
        params->server_bits < 8 || params->server_bits > policy->window_bits ||
        params->client_bits < 8 || params->client_bits > 15 ||
        (server != 0 ? server : 15) != params->server_bits ||
        (client != 0 ? client : 15) != params->client_bits ||
        (client != 0 && !may_tell) ||
        params->server_takeover > policy->server_takeover ||
        params->client_takeover > policy->client_takeover ||
        (strstr(result->answer, "server_no_") == NULL) !=
            params->server_takeover ||
        (strstr(result->answer, "client_no_") == NULL) !=
            params->client_takeover) {
        ck_abort_msg("\"%s\" is answered with \"%s\"", header, result->answer);
    }
}

/* Words of the grammar in any order: mostly malformed, never more than that. */
START_TEST(random_words_are_refused_or_answered_well)
{
    static const char *const words[] = {
        PMD,
        PMD,
        ";",
        "; ",
        ",",
        ", ",
        "=",
        "\"",
        "\\",
        " ",
        "\t",
        "8",
        "12",
        "15",
        "16",
        "a",
        "\"9\"",
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=10",
        "client_max_window_bits",
        "client_max_window_bits=\"11\"",
        "\xff",
        "@",
    };
    uint32_t seed = 2166136261u + (uint32_t)_i;
    int rounds = ws_test_is_slow() ? 300 : 5000;
    int agreed = 0;
    result_t result;

    while (rounds-- > 0) {
        ws_deflate_policy_t policy = {
            .window_bits = (uint8_t)(9 + ws_test_random(&seed) % 7),
            .server_takeover = ws_test_random(&seed) % 2,
            .client_takeover = ws_test_random(&seed) % 2,
        };
        uint32_t count = ws_test_random(&seed) % 12;
        char header[400] = PMD;

        while (count-- > 0) {
            strcat(header, words[ws_test_random(&seed) % WS_TEST_COUNT(words)]);
        }
        if (negotiate(&result, header, &policy) == WS_OK &&
            ws_deflate_agreed(&result.params)) {
            check_answer(&result, header, &policy,
                         strstr(header, "client_max") != NULL);
            agreed++;
        }
        else {
            ck_assert_str_eq(result.answer, "");
        }
    }
    ck_assert_int_gt(agreed, 0);
}
END_TEST

/* Well-formed offers: each parameter is there or not, with any value. */
START_TEST(random_offers_are_answered_with_no_more_than_is_asked_for)
{
    static const char *const names[] = {"server_no_context_takeover",
                                        "client_no_context_takeover",
                                        "server_max_window_bits",
                                        "client_max_window_bits"};
    uint32_t seed = 19 + (uint32_t)_i;
    int rounds = ws_test_is_slow() ? 200 : 2000;
    result_t result;

    while (rounds-- > 0) {
        ws_deflate_policy_t policy = {
            .window_bits = (uint8_t)(9 + ws_test_random(&seed) % 7),
            .server_takeover = ws_test_random(&seed) % 2,
            .client_takeover = ws_test_random(&seed) % 2,
        };
        unsigned given = ws_test_random(&seed) % 16;
        unsigned bits[4] = {0};
        char header[300] = PMD;
        size_t i;

        for (i = 0; i < 4; i++) {
            size_t at = strlen(header);

            bits[i] = i < 2 ? 0 : 8 + ws_test_random(&seed) % 8;
            if (i == 3 && ws_test_random(&seed) % 3 == 0) {
                bits[i] = 0;                /* without a value */
            }
            if (!(given & (1u << i))) {
                continue;
            }
            at += (size_t)snprintf(header + at, sizeof(header) - at, "; %s",
                                   names[i]);
            if (bits[i] != 0) {
                snprintf(header + at, sizeof(header) - at, "=%u", bits[i]);
            }
        }
        ck_assert_int_eq(negotiate(&result, header, &policy), WS_OK);
        check_answer(&result, header, &policy, given & 8);
        if (((given & 1) && result.params.server_takeover) ||
            ((given & 2) && result.params.client_takeover) ||
            ((given & 4) && (result.params.server_bits > bits[2] ||
                             strstr(result.answer, names[2]) == NULL)) ||
            ((given & 8) && bits[3] != 0 &&
             result.params.client_bits > bits[3]) ||
            ((given & 8) && result.params.client_bits > policy.window_bits)) {
            ck_abort_msg("\"%s\" is answered with \"%s\"", header,
                         result.answer);
        }
    }
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(header_without_an_offer_is_answered_with_nothing, 5),
        WS_TEST_LOOP(other_extensions_are_passed_over, 10),
        WS_TEST_LOOP(offer_among_other_extensions_is_found, 7),
        WS_TEST_LOOP(white_space_may_stand_between_all_words, 7),
        WS_TEST_LOOP(quoted_value_is_the_same_as_a_token, 5),
        WS_TEST(value_may_be_of_any_length),
        WS_TEST_LOOP(malformed_header_is_refused_and_nothing_is_agreed, 3),
        WS_TEST_LOOP(refusal_says_which_rule_was_broken, 7),
        WS_TEST(takeover_is_given_up_by_whoever_is_asked_to),
        WS_TEST(server_window_is_what_is_asked_for),
        WS_TEST(client_window_is_what_is_offered),
        WS_TEST(all_parameters_are_agreed_to_in_any_order),
        WS_TEST_LOOP(invalid_window_bits_decline_the_offer, 2),
        WS_TEST_LOOP(invalid_parameters_decline_the_offer, 12),
        WS_TEST_LOOP(parameter_given_twice_declines_the_offer, 5),
        WS_TEST(first_offer_that_can_be_agreed_to_is_taken),
        WS_TEST(offers_are_judged_each_for_itself),
        WS_TEST(window_is_the_smaller_of_policy_and_offer),
        WS_TEST(policys_window_holds_for_the_client_only_if_it_offers),
        WS_TEST_LOOP(policy_without_takeover_says_so_for_both, 4),
        WS_TEST(longest_answer_fits),
        WS_TEST_LOOP(random_words_are_refused_or_answered_well, 4),
        WS_TEST_LOOP(random_offers_are_answered_with_no_more_than_is_asked_for,
                     4),
    };

    return ws_test_run("extension", tests, WS_TEST_COUNT(tests));
}
