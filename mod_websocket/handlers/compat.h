/* compat: what the parts of the handler compat know of each other. It runs
 * plugins that were written for another module: compat_plugin.h.
 *
 *     compat.c          the handler: loads the plugin, and calls it
 *     compat_server.c   what the plugin calls
 *     compat_request.c  the copy of the request; what includes httpd's headers
 *
 * Threads:  what is said at each function; "loop": the connection's.
 * Lifetime: a compat_t is counted: by its websocket_t, and by each thing that
 *           is under way for it. */
#ifndef COMPAT_H
#define COMPAT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "compat_plugin.h"
#include "mod_websocket.h"

/* A plugin in use: one WebSocketHandler directive. */
typedef struct {
    void *library;
    WebSocketPlugin *plugin;         /* its own */
    bool blocks;                     /* may it? See docs/compat.md */
} compat_plugin_t;

/* A message, of the connection or for it. */
typedef struct compat_message {
    struct compat_message *next;
    int type;                        /* COMPAT_TEXT ... */
    size_t length;
    unsigned char data[];
} compat_message_t;

/* The request as it was. */
typedef struct {
    struct request_rec *record;
    struct apr_table_t *answer;      /* headers for the 101 */
    const char *const *protocols;    /* what the client offers */
    size_t protocol_count;
} compat_request_t;

/* A connection. */
typedef struct {
    WebSocketServer server;          /* its state is this compat_t */
    const compat_plugin_t *plugin;
    websocket_context_t *context;
    compat_request_t *request;
    void *connection;                /* what on_connect gave */
    atomic_uint references;

    /* loop */
    compat_message_t *job;           /* blocks: what is to be given, or is */
    bool is_clogged;                 /* the client does not read: nor do we */

    pthread_mutex_t lock;            /* of all below */
    /* Who is inside of a callback of the plugin, with what can be used there
     * in that thread alone. */
    pthread_t caller;
    websocket_request_t *asking;     /* in on_connect; else NULL */
    websocket_t *ws;                 /* in on_message, in the loop; else NULL */
    const char *protocol;            /* that on_connect chose, or NULL */
    /* What waits for the loop, in its order. */
    websocket_ref_t *ref;            /* NULL: it is not open yet */
    compat_message_t *first;
    compat_message_t *last;
    size_t waiting;                  /* bytes */
    bool is_posted;                  /* the loop will come for it */
    /* How it ends. */
    bool is_closing;                 /* nothing more is sent */
    bool is_busy;                    /* on_message runs, not in the loop */
    bool is_over;                    /* nothing more comes */
    bool is_told;                    /* of that: on_disconnect was called */
} compat_t;

/* --- compat_request.c --- */

/* A copy of the request that needs nothing of it. Accept. NULL: no memory, or
 * there is no httpd. */
compat_request_t *compat_request_create(const websocket_request_t *request);

/* Any thread. */
void compat_request_destroy(compat_request_t *copy);

/* A header that the client sent, or NULL. Any thread. */
const char *compat_request_header(const compat_request_t *copy,
                                  const char *name);

/* A header for the answer; takes the place of one of its name. Accept. */
void compat_request_set_header(compat_request_t *copy, const char *name,
                               const char *value);

/* Has the answer have these headers. Accept. */
void compat_request_answer(const compat_request_t *copy,
                           const websocket_context_t *context,
                           websocket_request_t *request);

/* --- compat_server.c --- */

/* Takes request over. NULL: out of memory; then it does not. */
compat_t *compat_create(websocket_context_t *context,
                        compat_request_t *request);

/* Any thread. */
compat_t *compat_retain(compat_t *compat);
void compat_release(compat_t *compat);

/* A copy of data; NULL: out of memory. */
compat_message_t *compat_message_create(int type, const void *data,
                                        size_t length);

/* What follows until compat_leave() is done in this thread in a callback of
 * the plugin's: on_connect, then asking is given; on_message, then ws is. */
void compat_enter(compat_t *compat, websocket_request_t *asking,
                  websocket_t *ws);
void compat_leave(compat_t *compat);

/* The connection is open: what was sent before goes out. Returns whether there
 * was memory for that. Loop. */
bool compat_open(compat_t *compat, websocket_t *ws);

/* The client reads again; a job is done. Loop. */
void compat_read_again(compat_t *compat, websocket_t *ws);

/* The plugin works on a message outside of the loop: on_disconnect is not called
 * before that has ended. Loop. */
void compat_begin_work(compat_t *compat);

/* Calls on_disconnect if the connection is over by now. Any thread. */
void compat_end_work(compat_t *compat);

/* The connection is over: nothing is sent any more. Calls on_disconnect, once,
 * unless the plugin still works on a message. Any thread. */
void compat_end(compat_t *compat);

#endif
