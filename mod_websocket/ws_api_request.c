/* ws_api_request: what handlers ask of a request, and answer to it. The
 * functions are mod_websocket.h's. */
#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#include "ws_handshake.h"
#include "ws_websocket.h"

enum { SERVER_ERROR = 500 };         /* RFC 9110 15.6.1 */

const char *websocket_request_path(const websocket_request_t *request)
{
    return request->ops->path(request->baton);
}

const char *websocket_request_uri(const websocket_request_t *request)
{
    return request->ops->uri(request->baton);
}

const char *websocket_request_header(const websocket_request_t *request,
                                     const char *name)
{
    return request->ops->header(request->baton, name);
}

const char *websocket_request_user(const websocket_request_t *request)
{
    return request->ops->user(request->baton);
}

const char *websocket_request_auth_type(const websocket_request_t *request)
{
    return request->ops->auth_type(request->baton);
}

const char *websocket_request_client(const websocket_request_t *request)
{
    return request->client;
}

const char *websocket_request_tls(websocket_request_t *request,
                                  const char *name)
{
    return request->ops->tls(request->baton, name);
}

const char *websocket_request_env(const websocket_request_t *request,
                                  const char *name)
{
    return request->ops->env(request->baton, name);
}

const char *websocket_request_expression(websocket_request_t *request,
                                         const char *text)
{
    return request->ops->expression(request->baton, text);
}

void *websocket_request_httpd(const websocket_request_t *request)
{
    return request->ops->httpd(request->baton);
}

/* --- the query --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX and + decoded; NULL if wrongly encoded, or if it hides a NUL. */
static const char *decode(const char *text, size_t length, apr_pool_t *pool)
{
    char *decoded = apr_palloc(pool, length + 1);
    char *to = decoded;
    size_t i;
    int high;
    int low;

    for (i = 0; i < length; i++) {
        if (text[i] == '%') {
            high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
            low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0 || (high | low) == 0) {
                return NULL;
            }
            *to++ = (char)(high << 4 | low);
            i += 2;
        }
        else {
            *to++ = text[i] == '+' ? ' ' : text[i];
        }
    }
    *to = '\0';
    return decoded;
}

const char *websocket_request_argument(websocket_request_t *request,
                                       const char *name)
{
    const char *at = request->ops->query(request->baton);
    const char *key;
    size_t length;
    size_t key_length;

    while (at != NULL && *at != '\0') {
        length = strcspn(at, "&");
        key_length = strcspn(at, "=&");
        key = decode(at, key_length, request->pool);
        if (key != NULL && strcmp(key, name) == 0) {
            key_length += key_length < length;
            return decode(at + key_length, length - key_length,
                          request->pool);
        }
        at += length;
        at += *at == '&';
    }
    return NULL;
}

/* --- the answer --- */

int websocket_request_choose_protocol(websocket_request_t *request,
                                      const char *name)
{
    const char *list =
        request->ops->header(request->baton, "Sec-WebSocket-Protocol");
    const char *token;
    size_t length;

    while (list != NULL && (length = ws_list_next(&list, &token)) > 0) {
        if (length == strlen(name) && memcmp(token, name, length) == 0) {
            if (request->protocol == NULL) {
                request->protocol = apr_pstrmemdup(request->pool, token,
                                                   length);
            }
            return strcmp(request->protocol, name) == 0;
        }
    }
    return 0;
}

static bool is_reserved(const char *name)
{
    static const char *const reserved[] = {
        "Connection", "Upgrade",           "Content-Length",
        "Date",       "Transfer-Encoding", "Server"};
    static const char prefix[] = "Sec-WebSocket-";
    size_t i;

    for (i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (strcasecmp(name, reserved[i]) == 0) {
            return true;
        }
    }
    return strncasecmp(name, prefix, sizeof(prefix) - 1) == 0;
}

int websocket_request_add_header(websocket_request_t *request,
                                 const char *name, const char *value)
{
    if (!ws_header_valid(name, value) || is_reserved(name)) {
        return -1;
    }
    if (request->headers == NULL) {
        request->headers = apr_table_make(request->pool, 2);
    }
    apr_table_add(request->headers, name, value);
    return 0;
}

void websocket_request_set_data(websocket_request_t *request, void *data,
                                websocket_destroy_t destroy)
{
    void *old = request->data;
    websocket_destroy_t destroy_old = request->destroy;

    request->data = data;
    request->destroy = destroy;
    if (destroy_old != NULL) {
        destroy_old(old);
    }
}

int websocket_refuse(websocket_request_t *request, int status,
                     const char *why)
{
    request->refusal = apr_pstrdup(request->pool, why);
    return status >= 400 && status <= 599 ? status : SERVER_ERROR;
}
