/* ws_websocket: the connections that handlers serve.
 *
 * Threads:  its loop's thread, but for _create and _post.
 * Lifetime: a websocket_t belongs to its worker once it is posted. */
#ifndef WS_WEBSOCKET_H
#define WS_WEBSOCKET_H

#include <apr_tables.h>

#include "ws_handler.h"
#include "ws_hub.h"
#include "ws_loop.h"
#include "ws_offload.h"
#include "ws_worker.h"

typedef struct ws_errand ws_errand_t;

/* What the connections of a process have in common: ws_process.h. Filled by the
 * owner, and not changed any more once it has begun. */
struct ws_process {
    ws_log_t *log;
    ws_worker_t **workers;
    unsigned worker_count;
    ws_offload_t *offload;           /* NULL: none is to be had */
    websocket_context_t **contexts;
    size_t context_count;
    /* Work that was done when its loop had ended: told at the end. */
    _Atomic(ws_errand_t *) orphans;
};

/* How a handler's questions about the request are answered. A result is
 * borrowed as long as the request, or NULL. */
typedef struct {
    /* The decoded path behind the location's, and the whole; never NULL. */
    const char *(*path)(void *baton);
    const char *(*uri)(void *baton);
    /* The raw query string. */
    const char *(*query)(void *baton);
    const char *(*header)(void *baton, const char *name);
    const char *(*user)(void *baton);
    const char *(*auth_type)(void *baton);
    const char *(*tls)(void *baton, const char *name);
    const char *(*env)(void *baton, const char *name);
    const char *(*expression)(void *baton, const char *text);
    void *(*httpd)(void *baton);
} ws_request_ops_t;

/* Close code: connect again. */
enum { WS_CODE_RESTART = 1012 };

struct websocket_request {
    const ws_request_ops_t *ops;
    void *baton;
    apr_pool_t *pool;
    const char *client;              /* address */
    /* what the handler decided */
    const char *protocol;            /* NULL: none */
    const char *refusal;             /* why; NULL: not said */
    apr_table_t *headers;            /* of the answer; NULL: none */
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
    websocket_ref_t *ref;            /* NULL: nobody has asked for one */
    websocket_timer_t *timers;
    uint32_t seat;                   /* of context->seats */
    char client[];                   /* address, for log lines; and behind its
                                      * NUL the subprotocol */
};

/* What is to become of a connection that was promised to a handler. */
typedef struct {
    websocket_context_t *context;
    const ws_logger_t *logger;
    const ws_conn_limits_t *limits;
    ws_deflate_params_t deflate;     /* its cost is reserved: limits->budget */
    uint32_t seat;                   /* of context->seats */
    const char *client;              /* address, for log lines */
    const char *protocol;            /* subprotocol; NULL: none */
    void *data;                      /* of the handler's */
    websocket_destroy_t destroy;
    bool is_bound;                   /* see ws_link_t */
} ws_promise_t;

/* It cannot be kept: destroys data, gives back what is reserved, and leaves
 * the seat. */
void ws_promise_drop(const ws_promise_t *promise);

/* A connection that is not yet with a worker. Takes over io's descriptor (and
 * SSL), early (malloc'ed), data, and what is reserved, also when it fails.
 * client and protocol are copied; the rest of *promise is borrowed and outlives
 * it. NULL: out of memory. */
websocket_t *ws_websocket_create(const ws_promise_t *promise,
                                 const ws_io_t *io, uint8_t *early,
                                 size_t early_length);

/* Frees one that no worker has. Its client, which has seen a 101, is sent a
 * Close with this code, if the socket takes it. */
void ws_websocket_discard(websocket_t *ws, uint16_t code);

/* Any thread. Gives it to a worker, whose loop opens it. */
void ws_websocket_post(websocket_t *ws, ws_worker_t *worker);

/* --- among those who call handlers --- */

/* Around each callback of the handler's: a handler that blocks is found out
 * (ws_watch). callback: its name, static. */
void ws_websocket_enter(const websocket_t *ws, const char *callback);
void ws_websocket_leave(const websocket_t *ws);

static inline websocket_t *ws_websocket_of(ws_link_t *link)
{
    return (websocket_t *)((char *)link - offsetof(websocket_t, link));
}

/* Is it between open and close? */
static inline bool ws_websocket_is_open(const websocket_t *ws)
{
    return ws->link.loop != NULL && ws_conn_is_open(&ws->link.conn);
}

/* No loop runs any more: tells whose work is done, and was not told yet. */
void ws_ref_end_orphans(ws_process_t *process);

/* The connection is over: its references, and its timers. */
void ws_ref_end(websocket_t *ws);
void ws_timers_end(websocket_t *ws);

/* In a debug build: aborts if this is not the connection's loop. */
#ifdef WS_DEBUG
void ws_websocket_check(const websocket_t *ws, const char *function);
#define WS_CHECK_LOOP(ws) ws_websocket_check(ws, __func__)
#else
#define WS_CHECK_LOOP(ws) ((void)0)
#endif

#endif
