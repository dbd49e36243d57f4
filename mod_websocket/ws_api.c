/* ws_api: the functions that handlers call; mod_websocket.h describes them. */
#include <apr_strings.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ws_handler.h"
#include "ws_handshake.h"

#define CLOSE_REASON_MAX 123         /* RFC 6455 5.5: 125 less the code */
#define LINE_SIZE 1024               /* of a log line or an error text */

/* Handlers' formats are libc's, as their compiler has checked them; APR's
 * printf functions read some of them differently. */

/* --- the context --- */

void websocket_context_set_data(websocket_context_t *context, void *data,
                                websocket_destroy_t destroy)
{
    context->data = data;
    context->destroy = destroy;
}

void *websocket_context_data(const websocket_context_t *context)
{
    return context->data;
}

const char *websocket_context_error(websocket_context_t *context,
                                    const char *format, ...)
{
    char text[LINE_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return apr_pstrdup(context->pool, text);
}

static ws_log_level_t level_of(int level)
{
    return level < WS_LOG_ERROR || level > WS_LOG_DEBUG
               ? WS_LOG_DEBUG
               : (ws_log_level_t)level;
}

void websocket_context_log(const websocket_context_t *context, int level,
                           const char *format, ...)
{
    va_list args;

    va_start(args, format);
    ws_logger_vprintf(context->logger, level_of(level), format, args);
    va_end(args);
}

/* --- the request --- */

const char *websocket_request_path(const websocket_request_t *request)
{
    return request->ops->path(request->baton);
}

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

int websocket_request_choose_protocol(websocket_request_t *request,
                                      const char *name)
{
    const char *list = request->ops->protocols(request->baton);
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

void websocket_request_set_data(websocket_request_t *request, void *data,
                                websocket_destroy_t destroy)
{
    request->data = data;
    request->destroy = destroy;
}

int websocket_refuse(websocket_request_t *request, int status,
                     const char *why)
{
    request->refusal = apr_pstrdup(request->pool, why);
    return status;
}

/* --- the connection --- */

websocket_context_t *websocket_context(const websocket_t *ws)
{
    return ws->context;
}

void *websocket_data(const websocket_t *ws)
{
    return ws->data;
}

uint64_t websocket_id(const websocket_t *ws)
{
    return ws->subscriber.id;
}

_Static_assert((int)WEBSOCKET_SENT == (int)WS_SEND_SENT &&
                   (int)WEBSOCKET_QUEUED == (int)WS_SEND_QUEUED &&
                   (int)WEBSOCKET_DROPPED == (int)WS_SEND_DROPPED &&
                   (int)WEBSOCKET_CLOSED == (int)WS_SEND_CLOSED,
               "the ABI's results are the connection's");

static uint8_t opcode_of(int type)
{
    return type == WEBSOCKET_TEXT ? WS_OP_TEXT : WS_OP_BINARY;
}

int websocket_send(websocket_t *ws, int type, const void *data, size_t length)
{
    return (int)ws_conn_send(&ws->link.conn, opcode_of(type), data, length);
}

/* Not in the middle of a character: RFC 6455 5.5.1 wants UTF-8. */
static size_t cut_reason(const char *reason)
{
    size_t length = strlen(reason);

    if (length > CLOSE_REASON_MAX) {
        length = CLOSE_REASON_MAX;
        while (length > 0 && ((uint8_t)reason[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    return length;
}

void websocket_close(websocket_t *ws, unsigned code, const char *reason)
{
    reason = reason != NULL ? reason : "";
    ws_conn_close(&ws->link.conn,
                  ws_close_code_valid(code) ? (uint16_t)code : 1011, reason,
                  cut_reason(reason));
}

uint64_t websocket_dropped(const websocket_t *ws)
{
    return ws_conn_dropped(&ws->link.conn);
}

void websocket_pause(websocket_t *ws)
{
    ws_conn_pause(&ws->link.conn);
}

void websocket_resume(websocket_t *ws)
{
    ws_conn_resume(&ws->link.conn);
}

void websocket_log(const websocket_t *ws, int level, const char *format, ...)
{
    const ws_logger_t *logger = ws->logger;
    char line[LINE_SIZE];
    va_list args;

    if (logger == NULL || !logger->wanted(logger, level_of(level))) {
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    ws_logger_printf(logger, level_of(level), "[client %s] %s: %s", ws->client,
                     ws->context->handler.name, line);
}

/* --- topics --- */

/* The name with which the log knows the context's topic. Returns its length;
 * 0: too long. */
static size_t full_topic(uint8_t full[WS_TOPIC_PREFIX + WEBSOCKET_TOPIC_MAX],
                         const websocket_t *ws, const char *topic)
{
    size_t length = strlen(topic);

    if (length > WEBSOCKET_TOPIC_MAX) {
        return 0;
    }
    memcpy(full, ws->context->topic_prefix, WS_TOPIC_PREFIX);
    memcpy(full + WS_TOPIC_PREFIX, topic, length);
    return WS_TOPIC_PREFIX + length;
}

int websocket_subscribe(websocket_t *ws, const char *topic)
{
    uint8_t full[WS_TOPIC_PREFIX + WEBSOCKET_TOPIC_MAX];
    size_t length = full_topic(full, ws, topic);

    if (length == 0 || !ws_conn_is_open(&ws->link.conn)) {
        return -1;
    }
    return ws_hub_subscribe(ws->hub, &ws->subscriber, full, length) == WS_OK
               ? 0
               : -1;
}

int websocket_publish(websocket_t *ws, const char *topic, int type,
                      const void *data, size_t length, int flags)
{
    uint8_t full[WS_TOPIC_PREFIX + WEBSOCKET_TOPIC_MAX];
    ws_record_t record = {
        .topic = (const char *)full,
        .topic_length = full_topic(full, ws, topic),
        .except = flags & WEBSOCKET_NOT_TO_SELF ? ws->subscriber.id : 0,
        .opcode = opcode_of(type),
        .data = data,
        .length = length,
    };

    if (record.topic_length == 0) {
        return -1;
    }
    return ws_log_append(ws_hub_log(ws->hub), &record, NULL) == WS_OK ? 0 : -1;
}
