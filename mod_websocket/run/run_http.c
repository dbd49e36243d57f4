/* HTTP/1.1 as far as an opening handshake goes (RFC 9112 2 to 5): strict, and
 * without a body. */
#include <apr_strings.h>
#include <ctype.h>
#include <string.h>

#include "run.h"
#include "ws_handshake.h"

#define HEADERS_MAX 100

typedef struct {
    run_request_t *request;
    apr_pool_t *pool;
    const char *why;
} reader_t;

int run_http_find_end(size_t *pend, const char *bytes, size_t from,
                      size_t length)
{
    size_t i;

    for (i = from; i < length; i++) {
        if (bytes[i] == '\0') {
            return -1;
        }
        if (bytes[i] != '\n') {
            continue;
        }
        if (i == 0 || bytes[i - 1] != '\r') {
            return -1;
        }
        if (i >= 3 && bytes[i - 2] == '\n') {
            *pend = i + 1;
            return 1;
        }
    }
    return 0;
}

static int refuse(reader_t *reader, int status, const char *why)
{
    reader->why = why;
    return status;
}

/* --- the request line --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. False: wrongly encoded, or what no file's name could have. */
static bool decode(char *path)
{
    char *to = path;

    for (; *path != '\0'; path++) {
        char c = *path;

        if (c == '%') {
            int high = hex_digit(path[1]);
            int low = high >= 0 ? hex_digit(path[2]) : -1;

            c = '\0';
            if (low >= 0) {
                c = (char)(high << 4 | low);
            }
            path += 2;
            if (c == '\0' || c == '/') {
                return false;
            }
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

/* httpd would take away what is superfluous; browsers have. */
static bool is_plain(const char *path)
{
    size_t length;

    for (; *path == '/'; path += length) {
        path++;
        length = strcspn(path, "/");
        if ((length == 0 && *path == '/') ||
            (length == 1 && path[0] == '.') ||
            (length == 2 && path[0] == '.' && path[1] == '.')) {
            return false;
        }
    }
    return true;
}

static int read_target(reader_t *reader, const char *target)
{
    char *path = apr_pstrdup(reader->pool, target);
    char *query = strchr(path, '?');
    const char *at;

    for (at = target; *at > ' ' && *at < 0x7f && *at != '#'; at++) {
        continue;
    }
    if (*target != '/' || *at != '\0') {
        return refuse(reader, 400, "the request's target is no path");
    }
    if (query != NULL) {
        *query++ = '\0';
    }
    if (!decode(path) || !is_plain(path)) {
        return refuse(reader, 400, "the path is wrongly encoded, or has an "
                                   "empty part, \".\" or \"..\"");
    }
    reader->request->path = path;
    reader->request->query = query;
    return 0;
}

static int read_version(reader_t *reader, const char *version)
{
    if (strlen(version) != strlen("HTTP/1.1") ||
        strncmp(version, "HTTP/", 5) != 0 ||
        !isdigit((unsigned char)version[5]) || version[6] != '.' ||
        !isdigit((unsigned char)version[7])) {
        return refuse(reader, 400, "this is not HTTP");
    }
    reader->request->major = version[5] - '0';
    reader->request->minor = version[7] - '0';
    return reader->request->major == 1
               ? 0
               : refuse(reader, 505, "this is not HTTP/1");
}

static int read_request_line(reader_t *reader, char *line)
{
    char *target = strchr(line, ' ');
    char *version = target != NULL ? strchr(target + 1, ' ') : NULL;
    int status;

    if (version == NULL || !ws_token_valid(line, (size_t)(target - line))) {
        return refuse(reader, 400, "this is no request line");
    }
    *target++ = '\0';
    *version++ = '\0';
    status = read_version(reader, version);
    reader->request->method = line;
    return status == 0 ? read_target(reader, target) : status;
}

/* --- headers --- */

/* Without white space at its ends. */
static char *trim(char *value)
{
    size_t length;

    value += strspn(value, " \t");
    length = strlen(value);
    while (length > 0 && strchr(" \t", value[length - 1]) != NULL) {
        value[--length] = '\0';
    }
    return value;
}

static int read_header(reader_t *reader, char *line)
{
    apr_table_t *headers = reader->request->headers;
    char *value = strchr(line, ':');

    if (value == NULL) {
        return refuse(reader, 400, "a line of the head is no header");
    }
    *value++ = '\0';
    value = trim(value);
    if (!ws_header_valid(line, value)) {
        return refuse(reader, 400, "a header's name or value has characters "
                                   "that it may not have");
    }
    if (strcasecmp(line, "Host") == 0 &&
        apr_table_get(headers, line) != NULL) {
        return refuse(reader, 400, "there are two Host headers");
    }
    apr_table_mergen(headers, line, value);
    return 0;
}

/* Cuts a line off; NULL: it is the empty one at the end. */
static char *next_line(char **prest)
{
    char *line = *prest;
    char *end = strstr(line, "\r\n");

    *end = '\0';
    *prest = end + 2;
    return end > line ? line : NULL;
}

int run_http_parse(run_request_t *request, const char *head, size_t length,
                   apr_pool_t *pool, const char **pwhy)
{
    reader_t reader = {.request = request, .pool = pool};
    char *rest = apr_pstrmemdup(pool, head, length);
    char *line = next_line(&rest);
    int count = 0;
    int status;

    request->headers = apr_table_make(pool, 16);
    status = line != NULL
                 ? read_request_line(&reader, line)
                 : refuse(&reader, 400, "this is no request line");
    while (status == 0 && (line = next_line(&rest)) != NULL) {
        status = ++count > HEADERS_MAX
                     ? refuse(&reader, 431, "there are too many headers")
                     : read_header(&reader, line);
    }
    if (status == 0 && apr_table_get(request->headers, "Host") == NULL) {
        status = refuse(&reader, 400, "there is no Host header");
    }
    *pwhy = reader.why;
    return status;
}

/* --- answers --- */

const char *run_http_reason(int status)
{
    switch (status) {
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Refused";
    }
}

typedef struct {
    const char *text;
    apr_pool_t *pool;
} head_t;

static int add_line(void *baton, const char *name, const char *value)
{
    head_t *head = baton;

    head->text =
        apr_pstrcat(head->pool, head->text, name, ": ", value, "\r\n", NULL);
    return 1;
}

const char *run_http_answer(int status, const apr_table_t *headers,
                            apr_pool_t *pool)
{
    head_t head = {.pool = pool};

    head.text = apr_psprintf(pool, "HTTP/1.1 %d %s\r\n", status,
                             run_http_reason(status));
    if (headers != NULL) {
        apr_table_do(add_line, &head, headers, NULL);
    }
    return apr_pstrcat(pool, head.text, "\r\n", NULL);
}
