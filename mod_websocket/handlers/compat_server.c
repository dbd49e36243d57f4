/* compat_server: a connection, and what a plugin may do with it. A message that
 * is sent goes out at once if that is done in on_message in the loop, and else
 * through a list that the loop is told to look at: so all go out in the order
 * in which they were sent, whoever sent them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compat.h"

#define WAITING_MAX (16u << 20)      /* bytes for the loop; one message: any */
#define CODE_NORMAL 1000             /* RFC 6455 7.4.1 */
#define CODE_LENGTH 2                /* of a Close frame's data: RFC 6455 5.5.1 */
#define REASON_MAX 123

static compat_t *compat_of(const WebSocketServer *server)
{
    return server->state;
}

/* --- messages --- */

compat_message_t *compat_message_create(int type, const void *data,
                                        size_t length)
{
    compat_message_t *message = NULL;

    if (length <= SIZE_MAX - sizeof(*message)) {
        message = malloc(sizeof(*message) + length);
    }
    if (message != NULL) {
        message->next = NULL;
        message->type = type;
        message->length = length;
        if (length > 0) {
            memcpy(message->data, data, length);
        }
    }
    return message;
}

/* Begins the closing handshake, with a Close frame's data. */
static void close_with(websocket_t *ws, const unsigned char *data,
                       size_t length)
{
    unsigned code = CODE_NORMAL;
    char reason[REASON_MAX + 1] = "";

    if (length >= CODE_LENGTH) {
        code = (unsigned)data[0] << 8 | data[1];
        length -= CODE_LENGTH;
        memcpy(reason, data + CODE_LENGTH,
               length < REASON_MAX ? length : REASON_MAX);
    }
    websocket_close(ws, code, reason);
}

/* A client that does not read is not read from either, as when a send waited
 * for it. Loop. Returns whether it is sent. */
static bool deliver(compat_t *compat, websocket_t *ws, int type,
                    const void *data, size_t length)
{
    int new_type = type == COMPAT_TEXT ? WEBSOCKET_TEXT : WEBSOCKET_BINARY;
    int result;

    if (type == COMPAT_CLOSE) {
        close_with(ws, data, length);
        return true;
    }
    result = websocket_send(ws, new_type, length > 0 ? data : "", length);
    if (result == WEBSOCKET_QUEUED) {
        compat->is_clogged = true;
        websocket_pause(ws);
    }
    return result == WEBSOCKET_SENT || result == WEBSOCKET_QUEUED;
}

/* --- the list --- */

/* The list is the caller's from now on. */
static compat_message_t *take_waiting(compat_t *compat)
{
    compat_message_t *first = compat->first;

    compat->first = NULL;
    compat->last = NULL;
    compat->waiting = 0;
    return first;
}

/* ws: NULL if it is over: then nothing is sent, and nothing waits any more. */
static void deliver_waiting(compat_t *compat, websocket_t *ws)
{
    compat_message_t *message;
    compat_message_t *next;

    pthread_mutex_lock(&compat->lock);
    message = take_waiting(compat);
    pthread_mutex_unlock(&compat->lock);
    for (; message != NULL; message = next) {
        next = message->next;
        if (ws != NULL) {
            deliver(compat, ws, message->type, message->data, message->length);
        }
        free(message);
    }
}

/* In the loop. */
static void come_for_waiting(websocket_t *ws, void *baton)
{
    compat_t *compat = baton;

    pthread_mutex_lock(&compat->lock);
    compat->is_posted = false;
    pthread_mutex_unlock(&compat->lock);
    deliver_waiting(compat, ws);
    compat_release(compat);
}

/* Will the loop come, now or when the connection opens? */
static bool tell_loop(compat_t *compat)
{
    if (compat->ref == NULL || compat->is_posted) {
        return true;
    }
    compat->is_posted = websocket_post(compat->ref, come_for_waiting,
                                       compat_retain(compat)) == 0;
    if (!compat->is_posted) {
        compat_release(compat);             /* not the last: we are here */
    }
    return compat->is_posted;
}

static bool has_room(const compat_t *compat, const compat_message_t *message)
{
    return compat->first == NULL || message->type == COMPAT_CLOSE ||
           (compat->waiting < WAITING_MAX &&
            message->length < WAITING_MAX - compat->waiting);
}

static void append(compat_t *compat, compat_message_t *message)
{
    if (compat->first == NULL) {
        compat->first = message;
    }
    else {
        compat->last->next = message;
    }
    compat->last = message;
    compat->waiting += message->length + sizeof(*message);
    compat->is_closing = message->type == COMPAT_CLOSE;
}

/* Any thread. Returns whether the loop will send it. */
static bool send_later(compat_t *compat, int type, const void *data,
                       size_t length)
{
    compat_message_t *message = compat_message_create(type, data, length);
    bool is_good;

    if (message == NULL) {
        return false;
    }
    pthread_mutex_lock(&compat->lock);
    is_good =
        !compat->is_closing && has_room(compat, message) && tell_loop(compat);
    if (is_good) {
        append(compat, message);
    }
    pthread_mutex_unlock(&compat->lock);
    if (!is_good) {
        free(message);
    }
    return is_good;
}

/* --- what the plugin calls --- */

static bool is_inside(const compat_t *compat)
{
    return (compat->asking != NULL || compat->ws != NULL) &&
           pthread_equal(compat->caller, pthread_self());
}

/* What can be used here, in this thread. NULL, both: nothing. */
static void look_inside(websocket_request_t **pasking, websocket_t **pws,
                        compat_t *compat)
{
    bool inside;

    pthread_mutex_lock(&compat->lock);
    inside = is_inside(compat);
    *pasking = inside ? compat->asking : NULL;
    *pws = inside ? compat->ws : NULL;
    pthread_mutex_unlock(&compat->lock);
}

static struct request_rec *server_request(const WebSocketServer *server)
{
    return compat_of(server)->request->record;
}

static const char *server_header_get(const WebSocketServer *server,
                                     const char *key)
{
    return key != NULL ? compat_request_header(compat_of(server)->request, key)
                       : NULL;
}

static void server_header_set(const WebSocketServer *server, const char *key,
                              const char *value)
{
    compat_t *compat = compat_of(server);
    websocket_request_t *asking;
    websocket_t *ws;

    look_inside(&asking, &ws, compat);
    if (asking != NULL && key != NULL && value != NULL) {
        compat_request_set_header(compat->request, key, value);
    }
}

static size_t server_protocol_count(const WebSocketServer *server)
{
    return compat_of(server)->request->protocol_count;
}

static const char *server_protocol_index(const WebSocketServer *server,
                                         size_t index)
{
    const compat_request_t *request = compat_of(server)->request;

    return index < request->protocol_count ? request->protocols[index] : NULL;
}

/* The last choice stands, so it is told when on_connect has returned. */
static void server_protocol_set(const WebSocketServer *server,
                                const char *protocol)
{
    compat_t *compat = compat_of(server);
    const compat_request_t *request = compat->request;
    websocket_request_t *asking;
    websocket_t *ws;
    size_t i;

    look_inside(&asking, &ws, compat);
    if (asking == NULL || protocol == NULL) {
        return;
    }
    for (i = 0; i < request->protocol_count; i++) {
        if (strcmp(request->protocols[i], protocol) == 0) {
            compat->protocol = request->protocols[i];
            return;
        }
    }
    websocket_context_log(compat->context, WEBSOCKET_LOG_WARNING,
                          "protocol_set: the client does not offer %s",
                          protocol);
}

/* Returns whether it was not before. */
static bool begin_closing(compat_t *compat)
{
    bool was;

    pthread_mutex_lock(&compat->lock);
    was = compat->is_closing;
    compat->is_closing = true;
    pthread_mutex_unlock(&compat->lock);
    return !was;
}

/* In on_message, in the loop. */
static bool send_inside(compat_t *compat, websocket_t *ws, int type,
                        const void *data, size_t length)
{
    deliver_waiting(compat, ws);
    return (type != COMPAT_CLOSE || begin_closing(compat)) &&
           deliver(compat, ws, type, data, length);
}

static bool send_message(compat_t *compat, int type, const void *data,
                         size_t length)
{
    websocket_request_t *asking;
    websocket_t *ws;

    look_inside(&asking, &ws, compat);
    return ws != NULL ? send_inside(compat, ws, type, data, length)
                      : send_later(compat, type, data, length);
}

static size_t server_send(const WebSocketServer *server, int type,
                          const unsigned char *data, size_t length)
{
    bool is_known =
        type == COMPAT_TEXT || type == COMPAT_BINARY || type == COMPAT_CLOSE;

    if (!is_known || (data == NULL && length > 0)) {
        return 0;
    }
    return send_message(compat_of(server), type, data, length) ? length : 0;
}

static bool is_closing(compat_t *compat)
{
    bool is_it;

    pthread_mutex_lock(&compat->lock);
    is_it = compat->is_closing;
    pthread_mutex_unlock(&compat->lock);
    return is_it;
}

/* It has no way to say that it could not. */
static void server_close(const WebSocketServer *server)
{
    compat_t *compat = compat_of(server);

    if (!send_message(compat, COMPAT_CLOSE, NULL, 0) && !is_closing(compat)) {
        websocket_context_log(compat->context, WEBSOCKET_LOG_ERROR,
                              "close: out of memory");
    }
}

static const WebSocketServer server_functions = {
    .size = sizeof(WebSocketServer),
    .version = COMPAT_SERVER_VERSION,
    .request = server_request,
    .header_get = server_header_get,
    .header_set = server_header_set,
    .protocol_count = server_protocol_count,
    .protocol_index = server_protocol_index,
    .protocol_set = server_protocol_set,
    .send = server_send,
    .close = server_close,
};

/* --- its life --- */

compat_t *compat_create(websocket_context_t *context, compat_request_t *request)
{
    compat_t *compat = calloc(1, sizeof(*compat));

    if (compat == NULL || pthread_mutex_init(&compat->lock, NULL) != 0) {
        free(compat);
        return NULL;
    }
    compat->server = server_functions;
    compat->server.state = compat;
    compat->plugin = websocket_context_data(context);
    compat->context = context;
    compat->request = request;
    atomic_init(&compat->references, 1);
    return compat;
}

compat_t *compat_retain(compat_t *compat)
{
    atomic_fetch_add(&compat->references, 1);
    return compat;
}

void compat_release(compat_t *compat)
{
    if (atomic_fetch_sub(&compat->references, 1) > 1) {
        return;
    }
    deliver_waiting(compat, NULL);
    if (compat->ref != NULL) {
        websocket_ref_release(compat->ref);
    }
    free(compat->job);
    compat_request_destroy(compat->request);
    pthread_mutex_destroy(&compat->lock);
    free(compat);
}

void compat_enter(compat_t *compat, websocket_request_t *asking,
                  websocket_t *ws)
{
    pthread_mutex_lock(&compat->lock);
    compat->caller = pthread_self();
    compat->asking = asking;
    compat->ws = ws;
    pthread_mutex_unlock(&compat->lock);
}

void compat_leave(compat_t *compat)
{
    pthread_mutex_lock(&compat->lock);
    compat->asking = NULL;
    compat->ws = NULL;
    pthread_mutex_unlock(&compat->lock);
}

bool compat_open(compat_t *compat, websocket_t *ws)
{
    websocket_ref_t *ref = websocket_ref(ws);

    pthread_mutex_lock(&compat->lock);
    compat->ref = ref;
    pthread_mutex_unlock(&compat->lock);
    deliver_waiting(compat, ws);
    return ref != NULL;
}

void compat_read_again(compat_t *compat, websocket_t *ws)
{
    if (!compat->is_clogged && compat->job == NULL) {
        websocket_resume(ws);
    }
}

void compat_begin_work(compat_t *compat)
{
    pthread_mutex_lock(&compat->lock);
    compat->is_busy = true;
    pthread_mutex_unlock(&compat->lock);
}

/* on_disconnect is to be called by who comes last: the end of the connection,
 * or that of the plugin's work on a message. */
static bool is_to_be_told(compat_t *compat)
{
    bool is_it;

    pthread_mutex_lock(&compat->lock);
    is_it = compat->is_over && !compat->is_busy && !compat->is_told;
    compat->is_told = compat->is_told || is_it;
    pthread_mutex_unlock(&compat->lock);
    return is_it;
}

static void tell(compat_t *compat)
{
    const WebSocketPlugin *plugin = compat->plugin->plugin;

    if (is_to_be_told(compat) && plugin->on_disconnect != NULL) {
        plugin->on_disconnect(compat->connection, &compat->server);
    }
}

void compat_end_work(compat_t *compat)
{
    pthread_mutex_lock(&compat->lock);
    compat->is_busy = false;
    pthread_mutex_unlock(&compat->lock);
    tell(compat);
}

void compat_end(compat_t *compat)
{
    pthread_mutex_lock(&compat->lock);
    compat->is_closing = true;
    compat->is_over = true;
    pthread_mutex_unlock(&compat->lock);
    tell(compat);
}
