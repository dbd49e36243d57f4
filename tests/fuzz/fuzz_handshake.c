/* The opening handshake against what RFC 6455 4.2.1, RFC 9110 and RFC 6454 say,
 * read once more and slowly: request heads, lists, tokens, keys, origins.
 *
 * Input: a byte for the kind. A head: a byte of options, one for the version
 * of HTTP, 16 for a key (if the options say so), then lines: method, Upgrade,
 * Connection, Sec-WebSocket-Version, Sec-WebSocket-Protocol, Sec-WebSocket-Key.
 * Lists: a list, tokens. Origins: three of them, a host. */
#include "fuzz.h"
#include "ws_handshake.h"

#define LINES 6

/* --- characters --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool same_text(const char *a, size_t a_length, const char *b,
                      size_t b_length)
{
    size_t i;

    for (i = 0; i < a_length && i < b_length; i++) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return a_length == b_length;
}

/* --- lists and tokens: RFC 9110 5.6 --- */

static bool reference_token(const char *text, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++) {
        if (!is_letter(text[i]) && !is_digit(text[i]) &&
            !is_in(text[i], "!#$%&'*+-.^_`|~")) {
            return false;
        }
    }
    return length > 0;
}

/* Element number `index` of the list that is not empty. */
static bool reference_element(const char *list, size_t index,
                              const char **pelement, size_t *plength)
{
    const char *end;
    const char *last;

    for (;; list = end + 1) {
        for (end = list; *end != '\0' && *end != ','; end++) {
            continue;
        }
        for (last = end; list < last && is_space(*list); list++) {
            continue;
        }
        while (list < last && is_space(last[-1])) {
            last--;
        }
        if (list < last && index-- == 0) {
            *pelement = list;
            *plength = (size_t)(last - list);
            return true;
        }
        if (*end == '\0') {
            return false;
        }
    }
}

static bool reference_has(const char *list, const char *token)
{
    const char *element;
    size_t length;
    size_t i;

    for (i = 0; list != NULL &&
                reference_element(list, i, &element, &length);
         i++) {
        if (same_text(element, length, token, strlen(token))) {
            return true;
        }
    }
    return false;
}

/* Walks the list; returns whether all elements are tokens. */
static bool check_list(const char *list)
{
    const char *at = list;
    const char *end = list + strlen(list);
    bool are_tokens = true;
    const char *element;
    const char *token;
    size_t length;
    size_t i;

    for (i = 0; reference_element(list, i, &element, &length); i++) {
        FUZZ_CHECK(ws_list_next(&at, &token) == length);
        FUZZ_CHECK(token == element);
        FUZZ_CHECK(at >= token + length && at <= end);
        FUZZ_CHECK(ws_token_valid(token, length) ==
                   reference_token(token, length));
        are_tokens = are_tokens && reference_token(token, length);
    }
    FUZZ_CHECK(ws_list_next(&at, &token) == 0);
    FUZZ_CHECK(ws_list_next(&at, &token) == 0);
    FUZZ_CHECK(at == end);
    return are_tokens;
}

static void fuzz_lists(fuzz_input_t *input)
{
    char *list = fuzz_line(input);
    char *token;

    FUZZ_CHECK(!ws_list_has(NULL, "upgrade"));
    if (list == NULL) {
        return;
    }
    check_list(list);
    while ((token = fuzz_line(input)) != NULL) {
        FUZZ_CHECK(ws_list_has(list, token) == reference_has(list, token));
        FUZZ_CHECK(ws_token_valid(token, strlen(token)) ==
                   reference_token(token, strlen(token)));
        free(token);
    }
    free(list);
}

/* --- keys --- */

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                             "uvwxyz0123456789+/";

/* Writes the base64 of data, NUL-ended: RFC 4648 4. */
static void reference_base64(char *text, const uint8_t *data, size_t length)
{
    size_t bits = length * 8;
    size_t bit;
    size_t i;

    for (bit = 0; bit < bits; bit += 6) {
        unsigned value = 0;

        for (i = bit; i < bit + 6; i++) {
            value <<= 1;
            if (i < bits && (data[i / 8] & 0x80 >> i % 8)) {
                value |= 1;
            }
        }
        *text++ = base64[value];
    }
    for (; bit % 8 != 0; bit += 6) {
        *text++ = '=';
    }
    *text = '\0';
}

/* 16 bytes are 21 characters, one with two bits and four of 0, "==". */
static bool reference_key(const char *key)
{
    size_t i;

    if (strlen(key) != 24 || key[22] != '=' || key[23] != '=') {
        return false;
    }
    for (i = 0; i < 22; i++) {
        if (!is_in(key[i], base64)) {
            return false;
        }
    }
    return is_in(key[21], "AQgw");
}

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t w[80];
    uint32_t s[5];
    unsigned t;

    memcpy(s, state, sizeof(s));
    for (t = 0; t < 80; t++) {
        uint32_t f = t < 20   ? (s[1] & s[2]) | (~s[1] & s[3])
                     : t < 40 ? s[1] ^ s[2] ^ s[3]
                     : t < 60 ? (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])
                              : s[1] ^ s[2] ^ s[3];
        uint32_t k = t < 20   ? 0x5a827999u
                     : t < 40 ? 0x6ed9eba1u
                     : t < 60 ? 0x8f1bbcdcu
                              : 0xca62c1d6u;
        uint32_t next;

        w[t] = t < 16 ? (uint32_t)block[4 * t] << 24 |
                            (uint32_t)block[4 * t + 1] << 16 |
                            (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3]
                      : rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        next = rotate(s[0], 5) + f + s[4] + k + w[t];
        s[4] = s[3];
        s[3] = s[2];
        s[2] = rotate(s[1], 30);
        s[1] = s[0];
        s[0] = next;
    }
    for (t = 0; t < 5; t++) {
        state[t] += s[t];
    }
}

/* FIPS 180-4, for what fits in two blocks: 60 bytes. */
static void reference_accept(char accept[29], const char *key)
{
    uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u,
                         0xc3d2e1f0u};
    uint8_t block[128] = {0};
    uint8_t digest[20];
    size_t i;

    memcpy(block, key, 24);
    memcpy(block + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    block[60] = 0x80;
    block[126] = 60 * 8 >> 8;
    block[127] = 60 * 8 & 0xff;
    sha1_block(state, block);
    sha1_block(state, block + 64);
    for (i = 0; i < sizeof(digest); i++) {
        digest[i] = (uint8_t)(state[i / 4] >> (24 - i % 4 * 8));
    }
    reference_base64(accept, digest, sizeof(digest));
}

static void check_accept(const char *key)
{
    char *accept = fuzz_alloc(WS_ACCEPT_LENGTH + 1);
    char expected[WS_ACCEPT_LENGTH + 1];

    ws_handshake_accept(accept, key);
    reference_accept(expected, key);
    FUZZ_CHECK(strcmp(accept, expected) == 0);
    free(accept);
}

/* --- heads --- */

/* May the head be refused with this status, 0: accepted? */
static bool reference_check(const ws_request_head_t *head, int status)
{
    bool is_405 = strcmp(head->method, "GET") != 0;
    bool is_426 = !reference_has(head->upgrade, "websocket") ||
                  head->version == NULL || strcmp(head->version, "13") != 0;
    bool is_400 = head->http_major != 1 || head->http_minor < 1 ||
                  !reference_has(head->connection, "upgrade") ||
                  head->key == NULL || !reference_key(head->key) ||
                  head->has_body ||
                  (head->protocols != NULL && !check_list(head->protocols));

    switch (status) {
    case 0:
        return !is_405 && !is_426 && !is_400;
    case 405:
        return is_405;
    case 426:
        return is_426;
    case 400:
        return is_400;
    default:
        return false;
    }
}

static void fuzz_head(fuzz_input_t *input)
{
    unsigned options = fuzz_byte(input);
    unsigned version = fuzz_byte(input);
    char *lines[LINES];
    uint8_t bytes[16] = {0};
    size_t length = options & 2 ? sizeof(bytes) : 0;
    const uint8_t *key = fuzz_take(input, &length);
    ws_request_head_t head = {
        .http_major = (int)(version >> 4),
        .http_minor = (int)(version & 15),
        .has_body = (options & 1) != 0,
    };
    char encoded[25];
    const char *why = NULL;
    int status;
    size_t i;

    for (i = 0; i < LINES; i++) {
        lines[i] = fuzz_line(input);
    }
    head.method = lines[0] != NULL ? lines[0] : "GET";
    head.upgrade = lines[1];
    head.connection = lines[2];
    head.version = lines[3];
    head.protocols = lines[4];
    head.key = lines[5];
    if (options & 2) {
        memcpy(bytes, key, length);
        reference_base64(encoded, bytes, sizeof(bytes));
        head.key = encoded;
    }
    status = ws_handshake_check(&head, &why);
    FUZZ_CHECK(reference_check(&head, status));
    FUZZ_CHECK((status == 0) == (why == NULL));
    if (head.key != NULL && reference_key(head.key)) {
        check_accept(head.key);
    }
    for (i = 0; i < LINES; i++) {
        free(lines[i]);
    }
}

/* --- origins: RFC 6454 4 and 6.2 --- */

typedef struct {
    bool is_https;
    const char *host;
    size_t host_length;
    unsigned port;
} reference_origin_t;

static bool reference_host(reference_origin_t *origin, const char *text)
{
    bool is_literal = text[0] == '[';
    bool is_open = is_literal;
    unsigned long port = 0;
    size_t at = 0;
    size_t digits;

    while (text[at] != '\0' && (is_open || text[at] != ':')) {
        if (is_in(text[at], "/?#@ \t,\"<>\\*")) {
            return false;
        }
        at++;
        if (is_open && text[at - 1] == ']') {
            is_open = false;
            if (text[at] != '\0' && text[at] != ':') {
                return false;
            }
        }
    }
    origin->host = text;
    origin->host_length = at;
    if (at == 0 || is_open) {
        return false;
    }
    if (text[at] == '\0') {
        return true;
    }
    for (digits = 0; is_digit(text[at + 1 + digits]); digits++) {
        port = port * 10 + (unsigned)(text[at + 1 + digits] - '0');
        if (digits == 5) {
            return false;
        }
    }
    origin->port = (unsigned)port;
    return digits > 0 && text[at + 1 + digits] == '\0' && port >= 1 &&
           port <= 65535;
}

static bool reference_parse(reference_origin_t *origin, const char *text)
{
    size_t length = strlen(text);

    if (length >= 7 && same_text(text, 7, "http://", 7)) {
        origin->is_https = false;
        origin->port = 80;
        return reference_host(origin, text + 7);
    }
    if (length >= 8 && same_text(text, 8, "https://", 8)) {
        origin->is_https = true;
        origin->port = 443;
        return reference_host(origin, text + 8);
    }
    return false;
}

static bool same_place(const reference_origin_t *a,
                       const reference_origin_t *b)
{
    return a->port == b->port &&
           same_text(a->host, a->host_length, b->host, b->host_length);
}

static bool reference_equal(const char *a, const char *b)
{
    reference_origin_t first;
    reference_origin_t second;

    return reference_parse(&first, a) && reference_parse(&second, b) &&
           first.is_https == second.is_https && same_place(&first, &second);
}

static bool reference_same(const char *origin, const char *host, bool is_tls)
{
    reference_origin_t theirs;
    reference_origin_t ours;

    if (host == NULL || !reference_parse(&theirs, origin) ||
        (is_tls && !theirs.is_https)) {
        return false;
    }
    ours.port = theirs.is_https ? 443 : 80;
    return reference_host(&ours, host) && same_place(&theirs, &ours);
}

/* An origin of that host, with the scheme of the other origin. */
static char *origin_of(const char *host, const char *other)
{
    const char *scheme = lower(other[4]) == 's' ? "https://" : "http://";
    char *origin = fuzz_alloc(strlen(scheme) + strlen(host) + 1);

    strcpy(origin, scheme);
    strcat(origin, host);
    return origin;
}

static void check_host(const char *origin, const char *host)
{
    bool is_same = ws_origin_is_same(origin, host, false);
    bool is_same_tls = ws_origin_is_same(origin, host, true);
    char *whole;

    FUZZ_CHECK(is_same == reference_same(origin, host, false));
    FUZZ_CHECK(is_same_tls == reference_same(origin, host, true));
    FUZZ_CHECK(is_same || !is_same_tls);
    if (ws_origin_pattern_valid(origin) && host != NULL) {
        whole = origin_of(host, origin);
        FUZZ_CHECK(is_same == ws_origin_matches(origin, whole));
        free(whole);
    }
}

/* The pattern that stands for the subdomains of b. */
static void check_wildcard(const char *a, const char *b)
{
    reference_origin_t first;
    reference_origin_t second;
    bool matches = false;
    char *pattern = fuzz_alloc(strlen(b) + 3);
    size_t scheme = strcspn(b, ":") + 3;
    bool is_good = reference_parse(&second, b) && second.host[0] != '.' &&
                   second.host[0] != '[';

    if (reference_parse(&second, b)) {
        sprintf(pattern, "%.*s*.%s", (int)scheme, b, b + scheme);
        FUZZ_CHECK(ws_origin_pattern_valid(pattern) == is_good);
        if (is_good && reference_parse(&first, a) &&
            first.host_length > second.host_length + 1 &&
            first.host[0] != '.') {
            size_t cut = first.host_length - second.host_length;

            matches = first.host[cut - 1] == '.' &&
                      first.is_https == second.is_https;
            first.host += cut;
            first.host_length -= cut;
            matches = matches && same_place(&first, &second);
        }
        FUZZ_CHECK(ws_origin_matches(a, pattern) == matches);
    }
    free(pattern);
}

static void fuzz_origins(fuzz_input_t *input)
{
    char *origins[3];
    char *host;
    reference_origin_t parsed;
    bool equal[3][3];
    size_t a, b, c;

    for (a = 0; a < 3; a++) {
        origins[a] = fuzz_line(input);
        if (origins[a] == NULL) {
            origins[a] = (char *)fuzz_copy("", 1);
        }
        if (strstr(origins[a], "//*.") != NULL) {   /* a pattern: see below */
            strstr(origins[a], "//*.")[2] = 'x';
        }
    }
    host = fuzz_line(input);
    for (a = 0; a < 3; a++) {
        FUZZ_CHECK(ws_origin_pattern_valid(origins[a]) ==
                   reference_parse(&parsed, origins[a]));
        check_host(origins[a], host);
        for (b = 0; b < 3; b++) {
            equal[a][b] = ws_origin_matches(origins[a], origins[b]);
            FUZZ_CHECK(equal[a][b] == reference_equal(origins[a], origins[b]));
            check_wildcard(origins[a], origins[b]);
        }
        FUZZ_CHECK(equal[a][a] == ws_origin_pattern_valid(origins[a]));
    }
    for (a = 0; a < 3; a++) {
        for (b = 0; b < 3; b++) {
            FUZZ_CHECK(equal[a][b] == equal[b][a]);
            for (c = 0; c < 3; c++) {
                FUZZ_CHECK(equal[a][c] || !equal[a][b] || !equal[b][c]);
            }
        }
        free(origins[a]);
    }
    free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};

    switch (fuzz_byte(&input) & 3) {
    case 0:
        fuzz_lists(&input);
        break;
    case 1:
        fuzz_origins(&input);
        break;
    default:
        fuzz_head(&input);
        break;
    }
    return 0;
}
