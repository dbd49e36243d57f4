#include "ws_websocket.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GOING_AWAY = 1001, INTERNAL_ERROR = 1011 };

static websocket_t *websocket_of(ws_conn_t *c)
{
    return (websocket_t *)((char *)c - offsetof(websocket_t, link.conn));
}

/* Where no loop has it yet, nobody waits. */
void ws_websocket_enter(const websocket_t *ws, const char *callback)
{
    if (ws->link.loop != NULL) {
        ws_activity_call(ws_loop_activity(ws->link.loop),
                         ws->context->handler.name, callback, ws->client);
    }
}

void ws_websocket_leave(const websocket_t *ws)
{
    if (ws->link.loop != NULL) {
        ws_activity_return(ws_loop_activity(ws->link.loop));
    }
}

#ifdef WS_DEBUG
void ws_websocket_check(const websocket_t *ws, const char *function)
{
    if (ws->link.loop != NULL && !ws_loop_is_here(ws->link.loop)) {
        fprintf(stderr,
                "mod_websocket: handler %s calls %s() in a thread that is not "
                "the connection's loop; see websocket_post()\n",
                ws->context->handler.name, function);
        abort();
    }
}
#endif

static void on_open(ws_conn_t *c)
{
    websocket_t *ws = websocket_of(c);

    websocket_log(ws, WEBSOCKET_LOG_DEBUG, "open");
    if (ws->context->handler.open != NULL) {
        ws_websocket_enter(ws, "open");
        ws->context->handler.open(ws);
        ws_websocket_leave(ws);
    }
}

/* Handlers need not know that nothing can be at no place. */
static const uint8_t nothing = 0;

static void on_message(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                       size_t length)
{
    websocket_t *ws = websocket_of(c);

    ws_websocket_enter(ws, "message");
    ws->context->handler.message(ws, opcode, length > 0 ? data : &nothing,
                                 length);
    ws_websocket_leave(ws);
}

static void on_fragment(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                        size_t length, bool is_last)
{
    websocket_t *ws = websocket_of(c);

    ws_websocket_enter(ws, "fragment");
    ws->context->handler.fragment(ws, opcode, length > 0 ? data : &nothing,
                                  length, is_last);
    ws_websocket_leave(ws);
}

static void on_drained(ws_conn_t *c)
{
    websocket_t *ws = websocket_of(c);

    if (ws->context->handler.drained != NULL) {
        ws_websocket_enter(ws, "drained");
        ws->context->handler.drained(ws);
        ws_websocket_leave(ws);
    }
}

static void log_close(const websocket_t *ws, uint16_t code)
{
    uint64_t dropped = websocket_dropped(ws);

    if (dropped == 0) {
        websocket_log(ws, WEBSOCKET_LOG_DEBUG, "closed with %u", code);
    }
    else {
        websocket_log(ws, WEBSOCKET_LOG_INFO,
                      "closed with %u; %" PRIu64 " messages were dropped, as "
                      "the client read too slowly",
                      code, dropped);
    }
}

/* Leaves its topics first: it gets nothing more, and what the handler
 * publishes here is for those who stay. */
static void on_close(ws_conn_t *c, uint16_t code, const uint8_t *reason,
                     size_t length)
{
    websocket_t *ws = websocket_of(c);

    log_close(ws, code);
    ws_hub_unsubscribe_all(ws->hub, &ws->subscriber);
    if (ws->context->handler.close != NULL) {
        ws_websocket_enter(ws, "close");
        ws->context->handler.close(
            ws, code, reason != NULL ? (const char *)reason : "", length);
        ws_websocket_leave(ws);
    }
    ws_timers_end(ws);
    ws_ref_end(ws);
}

/* What the peer did wrong is for who wants to know; what we could not do is
 * for all. */
static int level_of_failure(uint16_t code)
{
    switch (code) {
    case 1011:
        return WEBSOCKET_LOG_ERROR;
    case 1013:
        return WEBSOCKET_LOG_WARNING;
    default:
        return WEBSOCKET_LOG_INFO;
    }
}

static void on_failure(ws_conn_t *c, uint16_t code, const char *why)
{
    websocket_log(websocket_of(c), level_of_failure(code),
                  "closing with %u: %s", code, why);
}

static const ws_conn_callbacks_t callbacks = {
    .on_open = on_open,
    .on_message = on_message,
    .on_drained = on_drained,
    .on_close = on_close,
    .on_failure = on_failure,
};

static const ws_conn_callbacks_t streaming = {
    .on_open = on_open,
    .on_fragment = on_fragment,
    .on_drained = on_drained,
    .on_close = on_close,
    .on_failure = on_failure,
};

void ws_promise_drop(const ws_promise_t *promise)
{
    size_t cost = ws_deflate_cost(&promise->deflate);

    if (cost > 0) {
        ws_budget_release(promise->limits->budget, cost);
    }
    if (promise->seat != WS_SEAT_NONE) {
        ws_seats_leave(promise->context->seats, promise->seat);
    }
    if (promise->destroy != NULL) {
        promise->destroy(promise->data);
    }
}

static void free_websocket(websocket_t *ws)
{
    ws_promise_t promise = {
        .context = ws->context,
        .limits = ws->link.conn.limits,
        .deflate = ws->link.conn.deflate,
        .seat = ws->seat,
        .data = ws->data,
        .destroy = ws->destroy,
    };

    ws_websocket_enter(ws, "destroy");
    ws_promise_drop(&promise);
    ws_websocket_leave(ws);
    if (ws->link.loop != NULL) {
        ws_activity_sync(ws_loop_activity(ws->link.loop));
    }
    free(ws);
}

static void destroy_link(ws_link_t *link)
{
    free_websocket(ws_websocket_of(link));
}

websocket_t *ws_websocket_create(const ws_promise_t *promise,
                                 const ws_io_t *io, uint8_t *early,
                                 size_t early_length)
{
    const char *protocol = promise->protocol != NULL ? promise->protocol : "";
    size_t size = strlen(promise->client) + 1;
    size_t protocol_size = strlen(protocol) + 1;
    websocket_t *ws = calloc(1, sizeof(*ws) + size + protocol_size);
    ws_io_t lost = *io;

    if (ws == NULL) {
        ws_logger_printf(promise->logger, WS_LOG_ERROR,
                         "[client %s] %s: dropped before it was open: out of "
                         "memory",
                         promise->client, promise->context->handler.name);
        lost.ops->close(&lost);
        free(early);
        ws_promise_drop(promise);
        return NULL;
    }
    ws->link.conn.io = *io;
    ws->link.conn.limits = promise->limits;
    ws->link.conn.deflate = promise->deflate;
    ws->link.destroy = destroy_link;
    ws->link.is_bound = promise->is_bound;
    ws->context = promise->context;
    ws->logger = promise->logger;
    ws->data = promise->data;
    ws->destroy = promise->destroy;
    ws->seat = promise->seat;
    ws->posted.early = early;
    ws->posted.early_length = early_length;
    memcpy(ws->client, promise->client, size);
    memcpy(ws->client + size, protocol, protocol_size);
    return ws;
}

/* Says good-bye once: it never opened. */
static void refuse_client(websocket_t *ws, uint16_t code)
{
    ws_io_t *io = &ws->link.conn.io;
    uint8_t bytes[] = {WS_FIN | WS_OP_CLOSE, 2, (uint8_t)(code >> 8),
                       (uint8_t)code};
    struct iovec vector = {bytes, sizeof(bytes)};
    size_t count;

    io->ops->write(io, &vector, 1, &count);
    io->ops->shutdown(io);
    io->ops->close(io);
    free_websocket(ws);
}

void ws_websocket_discard(websocket_t *ws, uint16_t code)
{
    free(ws->posted.early);
    refuse_client(ws, code);
}

/* On the loop: the connection begins. */
static void open_websocket(ws_loop_t *loop, ws_task_t *task)
{
    websocket_t *ws =
        (websocket_t *)((char *)task - offsetof(websocket_t, posted.task));
    ws_conn_t *c = &ws->link.conn;
    uint8_t *early = ws->posted.early;
    size_t early_length = ws->posted.early_length;

    ws->subscriber = (ws_subscriber_t){
        .conn = c,
        .id = ws_log_next_id(ws_hub_log(ws->hub)),
    };
    ws_conn_init(c, ws_loop_turn(loop), c->limits,
                 ws->context->handler.fragment != NULL ? &streaming
                                                       : &callbacks);
    if (ws->context->is_broken) {           /* it was promised elsewhere */
        refuse_client(ws, WS_CODE_RESTART);
    }
    else if (ws_loop_add(loop, &ws->link, early, early_length) != WS_OK) {
        websocket_log(ws, WEBSOCKET_LOG_ERROR,
                      "dropped before it was open: out of memory or "
                      "descriptors");
        refuse_client(ws, INTERNAL_ERROR);
    }
    free(early);
}

void ws_websocket_post(websocket_t *ws, ws_worker_t *worker)
{
    ws->hub = ws_worker_hub(worker);
    ws->posted.task.run = open_websocket;
    if (!ws_loop_post(ws_worker_loop(worker), &ws->posted.task)) {
        ws_websocket_discard(ws, GOING_AWAY);   /* the child is ending */
    }
}
