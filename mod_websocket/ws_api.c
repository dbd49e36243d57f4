/* ws_api: the functions that handlers call; mod_websocket.h describes them.
 * Those for other threads, for timers and for requests are elsewhere. */
#include <apr_strings.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ws_handshake.h"
#include "ws_process.h"

#define CLOSE_REASON_MAX 123         /* RFC 6455 5.5: 125 less the code */
#define LINE_SIZE 1024               /* of a log line or an error text */

/* Handlers' formats are libc's, as their compiler has checked them; APR's
 * printf functions read some of them differently. */

/* --- the context --- */

void websocket_context_set_data(websocket_context_t *context, void *data,
                                websocket_destroy_t destroy)
{
    void *old = context->data;
    websocket_destroy_t destroy_old = context->destroy;

    context->data = data;
    context->destroy = destroy;
    if (destroy_old != NULL) {
        destroy_old(old);
    }
}

void *websocket_context_data(const websocket_context_t *context)
{
    return context->data;
}

const char *websocket_option_string(const websocket_context_t *context,
                                    const char *name)
{
    return ws_options_string(context->options, name);
}

int64_t websocket_option_number(const websocket_context_t *context,
                                const char *name)
{
    return ws_options_number(context->options, name);
}

const char *const *websocket_option_list(const websocket_context_t *context,
                                         const char *name)
{
    return ws_options_list(context->options, name);
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

/* --- the connection --- */

websocket_context_t *websocket_context(const websocket_t *ws)
{
    return ws->context;
}

void *websocket_data(const websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    return ws->data;
}

void websocket_set_data(websocket_t *ws, void *data,
                        websocket_destroy_t destroy)
{
    void *old = ws->data;
    websocket_destroy_t destroy_old = ws->destroy;

    WS_CHECK_LOOP(ws);
    ws->data = data;
    ws->destroy = destroy;
    if (destroy_old != NULL) {
        destroy_old(old);
    }
}

uint64_t websocket_id(const websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    return ws->subscriber.id;
}

const char *websocket_client(const websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    return ws->client;
}

const char *websocket_protocol(const websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    return ws->client + strlen(ws->client) + 1;
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
    WS_CHECK_LOOP(ws);
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
    WS_CHECK_LOOP(ws);
    reason = reason != NULL ? reason : "";
    ws_conn_close(&ws->link.conn,
                  ws_close_code_valid(code) ? (uint16_t)code : 1011, reason,
                  cut_reason(reason));
}

size_t websocket_buffered(const websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    return ws_conn_buffered(&ws->link.conn);
}

uint64_t websocket_dropped(const websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    return ws_conn_dropped(&ws->link.conn);
}

void websocket_pause(websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    ws_conn_pause(&ws->link.conn);
}

void websocket_resume(websocket_t *ws)
{
    WS_CHECK_LOOP(ws);
    ws_conn_resume(&ws->link.conn);
}

void websocket_log(const websocket_t *ws, int level, const char *format, ...)
{
    const ws_logger_t *logger = ws->logger;
    char line[LINE_SIZE];
    va_list args;

    WS_CHECK_LOOP(ws);
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
                         const websocket_context_t *context, const char *topic)
{
    size_t length = strlen(topic);

    if (length > WEBSOCKET_TOPIC_MAX) {
        return 0;
    }
    memcpy(full, context->topic_prefix, WS_TOPIC_PREFIX);
    memcpy(full + WS_TOPIC_PREFIX, topic, length);
    return WS_TOPIC_PREFIX + length;
}

int websocket_subscribe(websocket_t *ws, const char *topic)
{
    uint8_t full[WS_TOPIC_PREFIX + WEBSOCKET_TOPIC_MAX];
    size_t length = full_topic(full, ws->context, topic);

    WS_CHECK_LOOP(ws);
    if (length == 0 || !ws_websocket_is_open(ws)) {
        return -1;
    }
    return ws_hub_subscribe(ws->hub, &ws->subscriber, full, length) == WS_OK
               ? 0
               : -1;
}

int websocket_unsubscribe(websocket_t *ws, const char *topic)
{
    uint8_t full[WS_TOPIC_PREFIX + WEBSOCKET_TOPIC_MAX];
    size_t length = full_topic(full, ws->context, topic);

    WS_CHECK_LOOP(ws);
    if (length == 0) {
        return -1;
    }
    return ws_hub_unsubscribe(ws->hub, &ws->subscriber, full, length) == WS_OK
               ? 0
               : -1;
}

/* except: the id of who is not to get it; 0: nobody. */
static int publish(const websocket_context_t *context, ws_log_t *log,
                   const char *topic, int type, const void *data,
                   size_t length, uint64_t except)
{
    uint8_t full[WS_TOPIC_PREFIX + WEBSOCKET_TOPIC_MAX];
    ws_record_t record = {
        .topic = (const char *)full,
        .topic_length = full_topic(full, context, topic),
        .except = except,
        .opcode = opcode_of(type),
        .data = data,
        .length = length,
    };

    if (record.topic_length == 0) {
        return -1;
    }
    return ws_log_append(log, &record, NULL) == WS_OK ? 0 : -1;
}

int websocket_publish(websocket_t *ws, const char *topic, int type,
                      const void *data, size_t length, int flags)
{
    WS_CHECK_LOOP(ws);
    return publish(ws->context, ws_hub_log(ws->hub), topic, type, data, length,
                   flags & WEBSOCKET_NOT_TO_SELF ? ws->subscriber.id : 0);
}

int websocket_context_publish(websocket_context_t *context, const char *topic,
                              int type, const void *data, size_t length)
{
    return context->process == NULL
               ? -1
               : publish(context, context->process->log, topic, type, data,
                         length, 0);
}

int64_t websocket_subscribers(const websocket_context_t *context,
                              const char *topic)
{
    uint8_t full[WS_TOPIC_PREFIX + WEBSOCKET_TOPIC_MAX];
    size_t length = full_topic(full, context, topic);

    if (length == 0 || context->process == NULL) {
        return 0;
    }
    return ws_log_subscribers(context->process->log, full, length);
}
