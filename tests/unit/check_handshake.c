/* ws_handshake: the opening handshake's checks. */
#include "ws_handshake.h"

#include "ws_test.h"

static const ws_request_head_t good = {
    .method = "GET",
    .http_major = 1,
    .http_minor = 1,
    .upgrade = "websocket",
    .connection = "Upgrade",
    .key = "dGhlIHNhbXBsZSBub25jZQ==",
    .version = "13",
};

static int check(const ws_request_head_t *head)
{
    const char *why = NULL;
    int status = ws_handshake_check(head, &why);

    ck_assert_int_eq(why != NULL, status != 0);
    return status;
}

START_TEST(example_of_the_rfc_is_answered_as_there)
{
    char accept[WS_ACCEPT_LENGTH + 2];

    memset(accept, '#', sizeof(accept));
    ws_handshake_accept(accept, "dGhlIHNhbXBsZSBub25jZQ==");
    ck_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    ck_assert_int_eq(accept[WS_ACCEPT_LENGTH + 1], '#');
    ck_assert_int_eq(check(&good), 0);
}
END_TEST

START_TEST(method_other_than_get_is_405)
{
    static const char *const methods[] = {"POST", "HEAD", "get", "CONNECT", ""};
    ws_request_head_t head = good;

    head.method = methods[_i];
    ck_assert_int_eq(check(&head), 405);
}
END_TEST

START_TEST(protocol_other_than_http_1_1_is_400)
{
    ws_request_head_t head = good;

    head.http_minor = 0;
    ck_assert_int_eq(check(&head), 400);
    head.http_major = 0;
    head.http_minor = 9;
    ck_assert_int_eq(check(&head), 400);
    head.http_major = 2;
    head.http_minor = 0;
    ck_assert_int_eq(check(&head), 400);
}
END_TEST

START_TEST(upgrade_in_any_spelling_passes)
{
    static const char *const spellings[] = {
        "websocket",           "WebSocket",
        "WEBSOCKET",           " websocket ",
        "h2c, websocket",      "h2c,websocket",
        "websocket,h2c",       ",,websocket,",
        "h2c\t,\twebsocket\t", "foo/2, WebSocket , bar",
    };
    ws_request_head_t head = good;

    head.upgrade = spellings[_i];
    ck_assert_int_eq(check(&head), 0);
}
END_TEST

START_TEST(upgrade_to_something_else_is_426)
{
    static const char *const spellings[] = {NULL,           "",
                                            "h2c",          "websockets",
                                            "web socket",   "xwebsocket",
                                            "websocket/13", "websocket;q=1",
                                            ",,",           "\"websocket\""};
    ws_request_head_t head = good;

    head.upgrade = spellings[_i];
    ck_assert_int_eq(check(&head), 426);
}
END_TEST

START_TEST(connection_in_any_spelling_passes)
{
    static const char *const spellings[] = {"Upgrade",
                                            "upgrade",
                                            "keep-alive, Upgrade",
                                            "keep-alive,UPGRADE",
                                            "upgrade , close",
                                            " Upgrade"};
    ws_request_head_t head = good;

    head.connection = spellings[_i];
    ck_assert_int_eq(check(&head), 0);
}
END_TEST

START_TEST(connection_without_upgrade_is_400)
{
    static const char *const spellings[] = {NULL, "", "keep-alive", "upgraded",
                                            "keep-alive upgrade"};
    ws_request_head_t head = good;

    head.connection = spellings[_i];
    ck_assert_int_eq(check(&head), 400);
}
END_TEST

START_TEST(version_other_than_13_is_426)
{
    static const char *const versions[] = {NULL,  "",      "8",   "12", "14",
                                           "013", "13, 8", "13 ", "130"};
    ws_request_head_t head = good;

    head.version = versions[_i];
    ck_assert_int_eq(check(&head), 426);
}
END_TEST

START_TEST(key_that_is_not_16_bytes_is_400)
{
    static const char *const keys[] = {
        NULL,
        "",
        "dGhlIHNhbXBsZSBub25j",             /* 15 bytes */
        "dGhlIHNhbXBsZSBub25jZWU=",         /* 17 */
        "dGhlIHNhbXBsZSBub25jZWVl",         /* 18 */
        "dGhlIHNhbXBsZSBub25jZQ",           /* no padding */
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZR==",         /* not canonical */
        "dGhlIHNhbXBsZSBub25jZf==",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub2=jZQ==",
        "dGhlIHNhbXBsZSBu-25jZQ==",         /* not of the alphabet */
        "dGhlIHNhbXBsZSBu_25jZQ==",
        "dGhlIHNhbXBsZSBu\xc3\xa4"
        "5jZQ==",
        "dGhlIHNhbXBsZSBu!25jZQ==",
        " GhlIHNhbXBsZSBub25jZQ==",         /* white space */
        "dGhlIHNhbX sZSBub25jZQ==",
        "\tGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZ\n==",
        "dGhlIHNhbXBsZSBub25\vZQ==",
        "dGhlIHNhbXBsZSBub25jZQ== ",
        " dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==,x",
        "========================",
    };
    ws_request_head_t head = good;

    head.key = keys[_i];
    ck_assert_int_eq(check(&head), 400);
}
END_TEST

START_TEST(any_canonical_key_passes)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
                                   "qrstuvwxyz0123456789+/";
    char key[] = "AAAAAAAAAAAAAAAAAAAAAA==";
    ws_request_head_t head = good;
    size_t place;
    size_t i;

    head.key = key;
    for (place = 0; place < 22; place++) {
        for (i = 0; i < 64; i++) {
            key[place] = alphabet[i];
            ck_assert_int_eq(check(&head),
                             place == 21 && i % 16 != 0 ? 400 : 0);
        }
        key[place] = 'A';
    }
}
END_TEST

START_TEST(body_is_400)
{
    ws_request_head_t head = good;

    head.has_body = true;
    ck_assert_int_eq(check(&head), 400);
}
END_TEST

START_TEST(list_of_protocols_must_be_of_tokens)
{
    static const struct {
        const char *list;
        int status;
    } cases[] = {
        {"chat", 0},
        {"chat, superchat", 0},
        {"", 0},
        {" , ,", 0},
        {"v1.json+x!#$%&'*-^_`|~", 0},
        {"chat superchat", 400},
        {"chat, super/chat", 400},
        {"chat;q=1", 400},
        {"\"chat\"", 400},
        {"ch\xc3\xa4t", 400},
        {"a, b, c@d", 400},
    };
    ws_request_head_t head = good;

    head.protocols = cases[_i].list;
    ck_assert_int_eq(check(&head), cases[_i].status);
}
END_TEST

START_TEST(list_is_walked_element_by_element)
{
    static const char *const expected[] = {"a", "b c", "d"};
    const char *list = " ,\t a ,b c\t,, ,d ";
    const char *token;
    size_t i;

    for (i = 0; i < 3; i++) {
        size_t length = ws_list_next(&list, &token);

        ck_assert_uint_eq(length, strlen(expected[i]));
        ck_assert(strncmp(token, expected[i], length) == 0);
    }
    ck_assert_uint_eq(ws_list_next(&list, &token), 0);
    ck_assert_uint_eq(ws_list_next(&list, &token), 0);
    list = "";
    ck_assert_uint_eq(ws_list_next(&list, &token), 0);
    list = " , , ";
    ck_assert_uint_eq(ws_list_next(&list, &token), 0);
}
END_TEST

START_TEST(list_has_what_stands_in_it)
{
    ck_assert(ws_list_has("a, B ,c", "b"));
    ck_assert(ws_list_has("A", "a"));
    ck_assert(!ws_list_has("a, b", "ab"));
    ck_assert(!ws_list_has("ab", "a"));
    ck_assert(!ws_list_has("a b", "a"));
    ck_assert(!ws_list_has("", "a"));
    ck_assert(!ws_list_has(NULL, "a"));
}
END_TEST

START_TEST(every_byte_is_or_is_not_of_a_token)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    int c;

    for (c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'};
        bool expected = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                        (c >= 'A' && c <= 'Z') ||
                        (c != 0 && strchr(others, c) != NULL);

        ck_assert_msg(ws_token_valid(text, 3) == expected, "byte %d", c);
        ck_assert_msg(ws_token_valid(text + 1, 1) == expected, "byte %d", c);
    }
    ck_assert(!ws_token_valid("", 0));
}
END_TEST

/* --- origins --- */

START_TEST(origin_of_the_same_site)
{
    static const struct {
        const char *origin;
        const char *host;
        bool is_tls;
        bool same;
    } cases[] = {
        {"http://example.org", "example.org", false, true},
        {"http://example.org", "EXAMPLE.org", false, true},
        {"HTTP://Example.ORG", "example.org", false, true},
        {"http://example.org:80", "example.org", false, true},
        {"http://example.org", "example.org:80", false, true},
        {"http://example.org:8080", "example.org:8080", false, true},
        {"http://example.org:8080", "example.org", false, false},
        {"http://example.org", "example.org:8080", false, false},
        {"http://example.org", "example.com", false, false},
        {"http://example.org", "www.example.org", false, false},
        {"http://example.org.evil.com", "example.org", false, false},
        {"http://evil.com/example.org", "example.org", false, false},
        {"http://example.org@evil.com", "example.org", false, false},
        {"http://example.org", "example.org.", false, false},
        /* over TLS: only https */
        {"https://example.org", "example.org", true, true},
        {"https://example.org", "example.org:443", true, true},
        {"https://example.org:443", "example.org", true, true},
        {"https://example.org:8443", "example.org:8443", true, true},
        {"https://example.org:8443", "example.org", true, false},
        {"http://example.org", "example.org", true, false},
        {"http://example.org:443", "example.org:443", true, false},
        /* without: a proxy may have taken the TLS off */
        {"https://example.org", "example.org", false, true},
        {"https://example.org", "example.org:443", false, true},
        {"https://example.org:443", "example.org", false, true},
        {"https://example.org", "example.org:80", false, false},
        /* IPv6 */
        {"http://[::1]", "[::1]", false, true},
        {"http://[::1]:8080", "[::1]:8080", false, true},
        {"http://[::1]", "[::1]:80", false, true},
        {"http://[::1]:8080", "[::1]:8081", false, false},
        {"http://[2001:DB8::1]", "[2001:db8::1]", false, true},
        {"http://[::1", "[::1", false, false},
        {"http://::1", "::1", false, false},
        /* what is no origin, or no host */
        {"null", "null", false, false},
        {"", "", false, false},
        {"http://", "", false, false},
        {"file://", "", false, false},
        {"example.org", "example.org", false, false},
        {"ws://example.org", "example.org", false, false},
        {"http://example.org", NULL, false, false},
        {"http://example.org", "", false, false},
        {"http://example.org:", "example.org:", false, false},
        {"http://example.org:0", "example.org:0", false, false},
        {"http://example.org:65536", "example.org:65536", false, false},
        {"http://example.org:80x", "example.org:80x", false, false},
        {"http://example.org:-1", "example.org:-1", false, false},
        {"http://exa mple.org", "exa mple.org", false, false},
        {"http://a,b", "a,b", false, false},
        {"http://example.org/", "example.org", false, false},
    };
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        ck_assert_msg(ws_origin_is_same(cases[i].origin, cases[i].host,
                                        cases[i].is_tls) == cases[i].same,
                      "%s at %s", cases[i].origin,
                      cases[i].host != NULL ? cases[i].host : "no host");
    }
}
END_TEST

START_TEST(origins_that_are_equal)
{
    static const struct {
        const char *a;
        const char *b;
        bool equal;
    } cases[] = {
        {"https://example.org", "https://example.org", true},
        {"https://example.org", "HTTPS://EXAMPLE.ORG", true},
        {"https://example.org", "https://example.org:443", true},
        {"http://example.org:80", "http://example.org", true},
        {"http://[::1]:80", "http://[::1]", true},
        {"http://example.org:65535", "http://example.org:65535", true},
        {"https://example.org", "http://example.org", false},
        {"https://example.org", "https://example.org:80", false},
        {"http://example.org:443", "https://example.org:443", false},
        {"https://example.org", "https://example.com", false},
        {"https://example.org", "https://example.org:444", false},
        {"https://example.org", "https://sub.example.org", false},
        {"null", "null", false},
        {"", "", false},
        {"garbage", "garbage", false},
        {"https://example.org/", "https://example.org/", false},
        {"https://example.org", "null", false},
    };
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        ck_assert_msg(ws_origin_matches(cases[i].a, cases[i].b) ==
                          cases[i].equal,
                      "%s and %s", cases[i].a, cases[i].b);
        ck_assert_msg(ws_origin_matches(cases[i].b, cases[i].a) ==
                          cases[i].equal,
                      "%s and %s", cases[i].b, cases[i].a);
    }
}
END_TEST

START_TEST(subdomains_match_a_wildcard)
{
    static const struct {
        const char *origin;
        const char *pattern;
        bool matches;
    } cases[] = {
        {"https://a.example.org", "https://*.example.org", true},
        {"HTTPS://A.Example.ORG", "https://*.example.org", true},
        {"https://a.b.c.example.org", "https://*.example.org", true},
        {"https://a.example.org:443", "https://*.example.org", true},
        {"https://a.example.org:8443", "https://*.example.org:8443", true},
        {"http://a.example.org", "http://*.example.org:80", true},
        {"https://a.org", "https://*.org", true},
        {"https://example.org", "https://*.example.org", false},
        {"https://.example.org", "https://*.example.org", false},
        {"https://.a.example.org", "https://*.example.org", false},
        {"https://aexample.org", "https://*.example.org", false},
        {"https://a.example.org.evil.org", "https://*.example.org", false},
        {"https://evil.org/.example.org", "https://*.example.org", false},
        {"https://evil.org#.example.org", "https://*.example.org", false},
        {"https://evil@a.example.org", "https://*.example.org", false},
        {"http://a.example.org", "https://*.example.org", false},
        {"https://a.example.org:444", "https://*.example.org", false},
        {"https://a.example.org", "https://*.example.org:444", false},
        {"https://*.example.org", "https://*.example.org", false},
        {"https://*", "https://*", false},
        {"null", "https://*.example.org", false},
        {"https://[::1].example.org", "https://*.example.org", false},
    };
    size_t i;

    for (i = 0; i < WS_TEST_COUNT(cases); i++) {
        ck_assert_msg(ws_origin_matches(cases[i].origin, cases[i].pattern) ==
                          cases[i].matches,
                      "%s and %s", cases[i].origin, cases[i].pattern);
    }
}
END_TEST

START_TEST(wildcards_are_whole_labels_at_the_front)
{
    ck_assert(ws_origin_pattern_valid("https://*.a"));
    ck_assert(ws_origin_pattern_valid("http://*.example.org:8080"));
    ck_assert(!ws_origin_pattern_valid("https://*"));
    ck_assert(!ws_origin_pattern_valid("https://*."));
    ck_assert(!ws_origin_pattern_valid("https://*..a"));
    ck_assert(!ws_origin_pattern_valid("https://*.[::1]"));
    ck_assert(!ws_origin_pattern_valid("https://*a.example.org"));
    ck_assert(!ws_origin_pattern_valid("https://a.*.example.org"));
    ck_assert(!ws_origin_pattern_valid("https://*.*.example.org"));
    ck_assert(!ws_origin_pattern_valid("https://*:443"));
    ck_assert(!ws_origin_pattern_valid("*.example.org"));
    ck_assert(!ws_origin_pattern_valid("*"));
}
END_TEST

START_TEST(origin_is_scheme_host_and_port)
{
    ck_assert(ws_origin_pattern_valid("http://a"));
    ck_assert(ws_origin_pattern_valid("https://a.example:1"));
    ck_assert(ws_origin_pattern_valid("https://127.0.0.1:65535"));
    ck_assert(ws_origin_pattern_valid("https://[::1]:8443"));
    ck_assert(!ws_origin_pattern_valid("null"));
    ck_assert(!ws_origin_pattern_valid(""));
    ck_assert(!ws_origin_pattern_valid("https://"));
    ck_assert(!ws_origin_pattern_valid("https://a/b"));
    ck_assert(!ws_origin_pattern_valid("https://a?b"));
    ck_assert(!ws_origin_pattern_valid("https://a#b"));
    ck_assert(!ws_origin_pattern_valid("https://u@a"));
    ck_assert(!ws_origin_pattern_valid("https://a:b"));
    ck_assert(!ws_origin_pattern_valid("https://a:123456"));
    ck_assert(!ws_origin_pattern_valid("https://[::1"));
    ck_assert(!ws_origin_pattern_valid("https://[::1]x"));
    ck_assert(!ws_origin_pattern_valid("ftp://a"));
    ck_assert(!ws_origin_pattern_valid("https:a"));
    ck_assert(!ws_origin_pattern_valid("a"));
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(example_of_the_rfc_is_answered_as_there),
        WS_TEST_LOOP(method_other_than_get_is_405, 5),
        WS_TEST(protocol_other_than_http_1_1_is_400),
        WS_TEST_LOOP(upgrade_in_any_spelling_passes, 10),
        WS_TEST_LOOP(upgrade_to_something_else_is_426, 10),
        WS_TEST_LOOP(connection_in_any_spelling_passes, 6),
        WS_TEST_LOOP(connection_without_upgrade_is_400, 5),
        WS_TEST_LOOP(version_other_than_13_is_426, 9),
        WS_TEST_LOOP(key_that_is_not_16_bytes_is_400, 25),
        WS_TEST(any_canonical_key_passes),
        WS_TEST(body_is_400),
        WS_TEST_LOOP(list_of_protocols_must_be_of_tokens, 11),
        WS_TEST(list_is_walked_element_by_element),
        WS_TEST(list_has_what_stands_in_it),
        WS_TEST(every_byte_is_or_is_not_of_a_token),
        WS_TEST(origin_of_the_same_site),
        WS_TEST(origins_that_are_equal),
        WS_TEST(subdomains_match_a_wildcard),
        WS_TEST(wildcards_are_whole_labels_at_the_front),
        WS_TEST(origin_is_scheme_host_and_port),
    };

    return ws_test_run("handshake", tests, WS_TEST_COUNT(tests));
}
