#include "ws_handshake.h"

#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#define KEY_BYTES 16                 /* RFC 6455 4.1, item 7 */
#define KEY_LENGTH 24                /* in base64 */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

size_t ws_list_next(const char **plist, const char **ptoken)
{
    const char *at = *plist;
    size_t length;

    at += strspn(at, " \t,");
    length = strcspn(at, ",");
    *ptoken = at;
    *plist = at + length;
    while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t')) {
        length--;
    }
    return length;
}

bool ws_list_has(const char *list, const char *token)
{
    const char *element;
    size_t length;

    if (list == NULL) {
        return false;
    }
    while ((length = ws_list_next(&list, &element)) > 0) {
        if (length == strlen(token) &&
            strncasecmp(element, token, length) == 0) {
            return true;
        }
    }
    return false;
}

bool ws_token_valid(const char *text, size_t length)
{
    static const char separators[] = "()<>@,;:\\\"/[]?={}";
    size_t i;

    for (i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] >= 127 ||
            strchr(separators, text[i]) != NULL) {
            return false;
        }
    }
    return length > 0;
}

bool ws_header_valid(const char *name, const char *value)
{
    for (; *value != '\0'; value++) {
        if (((uint8_t)*value < ' ' && *value != '\t') || *value == 0x7f) {
            return false;
        }
    }
    return ws_token_valid(name, strlen(name));
}

/* Does the key decode to 16 bytes? 24 characters with two of padding do, and
 * the four bits that the last character has too many must be 0, else two
 * keys would decode alike (RFC 4648 3.5). */
static bool key_is_valid(const char *key)
{
    unsigned char bytes[KEY_LENGTH];
    unsigned char again[KEY_LENGTH + 1];

    if (strlen(key) != KEY_LENGTH || strcmp(key + KEY_LENGTH - 2, "==") != 0 ||
        strchr(key, '=') != key + KEY_LENGTH - 2 ||
        strpbrk(key, " \t\r\n") != NULL) {
        return false;
    }
    if (EVP_DecodeBlock(bytes, (const unsigned char *)key, KEY_LENGTH) < 0) {
        return false;
    }
    EVP_EncodeBlock(again, bytes, KEY_BYTES);
    return memcmp(again, key, KEY_LENGTH) == 0;
}

static int refuse(int status, const char **pwhy, const char *why)
{
    *pwhy = why;
    return status;
}

static int check_protocols(const char *list, const char **pwhy)
{
    const char *token;
    size_t length;

    if (list == NULL) {
        return 0;
    }
    while ((length = ws_list_next(&list, &token)) > 0) {
        if (!ws_token_valid(token, length)) {
            return refuse(400, pwhy, "Sec-WebSocket-Protocol is no list of "
                                     "tokens");
        }
    }
    return 0;
}

int ws_handshake_check(const ws_request_head_t *head, const char **pwhy)
{
    if (strcmp(head->method, "GET") != 0) {
        return refuse(405, pwhy, "method is not GET");
    }
    if (head->http_major != 1 || head->http_minor < 1) {
        return refuse(400, pwhy, "protocol is not HTTP/1.1");
    }
    if (!ws_list_has(head->upgrade, "websocket")) {
        return refuse(426, pwhy, "no \"Upgrade: websocket\": not a WebSocket "
                                 "client");
    }
    if (!ws_list_has(head->connection, "upgrade")) {
        return refuse(400, pwhy, "no \"Connection: Upgrade\"; a proxy in "
                                 "between may have removed it");
    }
    if (head->version == NULL || strcmp(head->version, "13") != 0) {
        return refuse(426, pwhy, "Sec-WebSocket-Version is not 13");
    }
    if (head->key == NULL) {
        return refuse(400, pwhy, "no Sec-WebSocket-Key");
    }
    if (!key_is_valid(head->key)) {
        return refuse(400, pwhy, "Sec-WebSocket-Key is not 16 bytes in "
                                 "base64");
    }
    if (head->has_body) {
        return refuse(400, pwhy, "request has a body");
    }
    return check_protocols(head->protocols, pwhy);
}

void ws_handshake_accept(char accept[WS_ACCEPT_LENGTH + 1], const char *key)
{
    unsigned char text[KEY_LENGTH + sizeof(GUID)];
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    unsigned int length = 0;

    memcpy(text, key, KEY_LENGTH);
    memcpy(text + KEY_LENGTH, GUID, sizeof(GUID) - 1);
    EVP_Digest(text, KEY_LENGTH + sizeof(GUID) - 1, digest, &length,
               EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)accept, digest, 20);
}

typedef struct {
    bool is_https;
    const char *host;                /* with the brackets of IPv6 */
    size_t host_length;
    unsigned port;
} origin_t;

static bool parse_port(unsigned *pport, const char *text)
{
    unsigned port = 0;

    if (*text == '\0' || strlen(text) > 5) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(*text - '0');
    }
    *pport = port;
    return port > 0 && port <= 65535;
}

/* HOST[:PORT]; the port stays as it was where none is given. */
static bool parse_host(origin_t *origin, const char *text)
{
    size_t length = strcspn(text, ":");

    if (*text == '[') {                     /* [IPv6] holds colons */
        length = strcspn(text, "]");
        if (text[length] != ']') {
            return false;
        }
        length++;
    }
    if (length == 0 || strcspn(text, "/?#@ \t,\"<>\\*") < length) {
        return false;
    }
    origin->host = text;
    origin->host_length = length;
    if (text[length] == '\0') {
        return true;
    }
    return text[length] == ':' && parse_port(&origin->port, text + length + 1);
}

/* Returns what stands behind the scheme, or NULL. "null" has none: RFC 6454
 * 6.1. */
static const char *parse_scheme(origin_t *origin, const char *text)
{
    if (strncasecmp(text, "https://", 8) == 0) {
        origin->is_https = true;
        origin->port = 443;
        return text + 8;
    }
    if (strncasecmp(text, "http://", 7) == 0) {
        origin->is_https = false;
        origin->port = 80;
        return text + 7;
    }
    return NULL;
}

static bool parse_origin(origin_t *origin, const char *text)
{
    const char *host = parse_scheme(origin, text);

    return host != NULL && parse_host(origin, host);
}

/* One whose host begins with "*." is parsed without that. */
static bool parse_pattern(origin_t *pattern, bool *pis_wild, const char *text)
{
    const char *host = parse_scheme(pattern, text);

    *pis_wild = host != NULL && strncmp(host, "*.", 2) == 0;
    host += *pis_wild ? 2 : 0;
    return host != NULL && parse_host(pattern, host) &&
           !(*pis_wild && (*host == '.' || *host == '['));
}

static bool same_host(const origin_t *a, const origin_t *b)
{
    return a->port == b->port && a->host_length == b->host_length &&
           strncasecmp(a->host, b->host, a->host_length) == 0;
}

bool ws_origin_is_same(const char *origin, const char *host, bool is_tls)
{
    origin_t theirs;
    origin_t ours;

    if (host == NULL || !parse_origin(&theirs, origin)) {
        return false;
    }
    if (is_tls && !theirs.is_https) {
        return false;
    }
    ours.port = theirs.is_https ? 443 : 80;
    return parse_host(&ours, host) && same_host(&theirs, &ours);
}

/* Takes away what "*." stands for. False: nothing. */
static bool cut_labels(origin_t *origin, size_t rest)
{
    size_t labels = origin->host_length - rest;

    if (origin->host_length < rest + 2 || origin->host[0] == '.' ||
        origin->host[labels - 1] != '.') {
        return false;
    }
    origin->host += labels;
    origin->host_length = rest;
    return true;
}

bool ws_origin_matches(const char *origin, const char *pattern)
{
    origin_t theirs;
    origin_t ours;
    bool is_wild;

    return parse_origin(&theirs, origin) &&
           parse_pattern(&ours, &is_wild, pattern) &&
           theirs.is_https == ours.is_https &&
           (!is_wild || cut_labels(&theirs, ours.host_length)) &&
           same_host(&theirs, &ours);
}

bool ws_origin_pattern_valid(const char *pattern)
{
    origin_t parsed;
    bool is_wild;

    return parse_pattern(&parsed, &is_wild, pattern);
}
