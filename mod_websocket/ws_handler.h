/* ws_handler: handlers: loading them, their contexts, and the connections that
 * they serve. What mod_websocket.h declares and hides is defined here.
 *
 * Threads:  loading and contexts: the thread that reads the configuration.
 *           websocket_t: its loop's thread, but for _create and _post.
 * Lifetime: a context lives as long as the pool it was made in; a websocket_t
 *           belongs to its worker once it is posted. */
#ifndef WS_HANDLER_H
#define WS_HANDLER_H

#include <apr_pools.h>

#include "mod_websocket.h"
#include "ws_hub.h"
#include "ws_logger.h"
#include "ws_loop.h"
#include "ws_seats.h"
#include "ws_worker.h"

#define WS_TOPIC_PREFIX 16           /* bytes; sets contexts apart */

struct websocket_context {
    apr_pool_t *pool;
    websocket_handler_t handler;     /* a copy; NULL what the plugin lacks */
    const ws_logger_t *logger;
    ws_seats_t *seats;               /* NULL: connections are not counted */
    uint8_t topic_prefix[WS_TOPIC_PREFIX];
    void *data;
    websocket_destroy_t destroy;
};

/* How a handler's questions about the request are answered. */
typedef struct {
    /* The decoded path behind the location's. */
    const char *(*path)(void *baton);
    /* The raw query string, or NULL. */
    const char *(*query)(void *baton);
    /* Sec-WebSocket-Protocol, or NULL. */
    const char *(*protocols)(void *baton);
} ws_request_ops_t;

struct websocket_request {
    const ws_request_ops_t *ops;
    void *baton;
    apr_pool_t *pool;
    /* what the handler decided */
    const char *protocol;            /* NULL: none */
    const char *refusal;             /* why; NULL: not said */
    void *data;
    websocket_destroy_t destroy;
};

struct websocket {
    ws_link_t link;
    union {
        struct {                     /* until it is open */
            ws_task_t task;
            uint8_t *early;          /* input that came with the request */
            size_t early_length;
        } posted;
        ws_subscriber_t subscriber;  /* from then on */
    };
    websocket_context_t *context;
    const ws_logger_t *logger;
    ws_hub_t *hub;
    void *data;
    websocket_destroy_t destroy;
    uint32_t seat;                   /* of context->seats */
    char client[];                   /* address, for log lines */
};

/* Loads the shared object, checks its ABI, makes a context and has the
 * handler configured. Returns NULL, or what is wrong (in pool).
 * logger is borrowed and outlives pool. */
const char *ws_handler_load(websocket_context_t **pcontext, const char *path,
                            const websocket_param_t *params, size_t count,
                            const ws_logger_t *logger, apr_pool_t *pool);

/* In a process to which connections were moved, before their loops run. */
void ws_handler_tell_moved(websocket_context_t *context);

/* Topics of contexts with different keys are different. */
void ws_handler_set_key(websocket_context_t *context, const char *key);

/* What is to become of a connection that was promised to a handler. */
typedef struct {
    websocket_context_t *context;
    const ws_logger_t *logger;
    const ws_conn_limits_t *limits;
    ws_deflate_params_t deflate;     /* its cost is reserved: limits->budget */
    uint32_t seat;                   /* of context->seats */
    const char *client;              /* address, for log lines */
    void *data;                      /* of the handler's */
    websocket_destroy_t destroy;
    bool is_bound;                   /* see ws_link_t */
} ws_promise_t;

/* It cannot be kept: destroys data, gives back what is reserved, and leaves
 * the seat. */
void ws_promise_drop(const ws_promise_t *promise);

/* A connection that is not yet with a worker. Takes over io's descriptor (and
 * SSL), early (malloc'ed), data, and what is reserved, also when it fails.
 * client is copied; the rest of *promise is borrowed and outlives it. NULL:
 * out of memory. */
websocket_t *ws_websocket_create(const ws_promise_t *promise,
                                 const ws_io_t *io, uint8_t *early,
                                 size_t early_length);

/* Frees one that no worker has. Its client, which has seen a 101, is sent a
 * Close with this code, if the socket takes it. */
void ws_websocket_discard(websocket_t *ws, uint16_t code);

/* Any thread. Gives it to a worker, whose loop opens it. */
void ws_websocket_post(websocket_t *ws, ws_worker_t *worker);

#endif
