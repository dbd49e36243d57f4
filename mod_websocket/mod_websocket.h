/* mod_websocket.h: what a handler of mod_websocket is made of, and what it can
 * call. The only header that a handler includes. C99 and C++.
 *
 * A handler is a shared object with one exported constant, websocket_handler:
 *
 *     #include <mod_websocket.h>
 *
 *     static void message(websocket_t *ws, int type, const void *data,
 *                         size_t length)
 *     {
 *         websocket_send(ws, type, data, length);
 *     }
 *
 *     const websocket_handler_t websocket_handler = {
 *         WEBSOCKET_ABI, sizeof(websocket_handler_t), "echo",
 *         NULL, NULL, NULL, message, NULL, NULL, NULL};
 *
 * Threads: a connection belongs to one loop thread of one httpd child for
 * life; if the child ends before it does, see moved. open, message, drained
 * and close of one connection run there, never two at once, and every function
 * that takes a websocket_t must be called there, out of a callback of any
 * connection of the same loop. Connections of one handler may live in several
 * threads and processes. A callback must not block: it holds up all
 * connections of its loop.
 *
 * Strings end with NUL unless a length is given. Text is UTF-8.
 *
 * "RFC" below is RFC 6455. */
#ifndef MOD_WEBSOCKET_H
#define MOD_WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WEBSOCKET_PUBLIC __attribute__((visibility("default")))
#define WEBSOCKET_PRINTF(text, first) \
    __attribute__((__format__(__printf__, text, first)))
#else
#define WEBSOCKET_PUBLIC
#define WEBSOCKET_PRINTF(text, first)
#endif

/* What this header describes. Later versions add to the ends of structs; a
 * handler built with an older one still loads. */
#define WEBSOCKET_ABI 1

/* An open connection. */
typedef struct websocket websocket_t;
/* One WebSocketHandler directive: a handler with its parameters. */
typedef struct websocket_context websocket_context_t;
/* The request that asks for a WebSocket. */
typedef struct websocket_request websocket_request_t;

/* The type of a message: RFC 5.6. */
enum { WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2 };

/* What became of a message that was sent. */
enum {
    WEBSOCKET_SENT = 0,              /* on its way */
    WEBSOCKET_QUEUED = 1,            /* the client reads slowly: it waits in
                                      * the queue. Better send no more until
                                      * drained() is called. */
    WEBSOCKET_DROPPED = 2,           /* its queue is full: this message goes to
                                      * nobody (WebSocketSendQueue drop-newest),
                                      * the connection goes on */
    WEBSOCKET_CLOSED = 3             /* the connection is closing, or is closed
                                      * now: with 1013 as its queue was full,
                                      * with 1011 as memory ran out */
};

/* How much a log line matters: httpd's LogLevel websocket:... decides. */
enum {
    WEBSOCKET_LOG_ERROR = 0,
    WEBSOCKET_LOG_WARNING = 1,
    WEBSOCKET_LOG_NOTICE = 2,
    WEBSOCKET_LOG_INFO = 3,
    WEBSOCKET_LOG_DEBUG = 4
};

/* One name=value of the WebSocketHandler directive. */
typedef struct {
    const char *name;
    const char *value;
} websocket_param_t;

/* Called when the thing that data belongs to ends. May be NULL. */
typedef void (*websocket_destroy_t)(void *data);

/* A handler. All callbacks but message may be NULL. */
typedef struct {
    uint32_t abi;                    /* WEBSOCKET_ABI */
    uint32_t size;                   /* sizeof(websocket_handler_t) */
    const char *name;                /* for log lines */

    /* In httpd's parent process, while the configuration is read, and again
     * at every restart. params are borrowed until it returns. Returns NULL,
     * or what is wrong: then httpd refuses the configuration and names the
     * file and line. See websocket_context_error(). */
    const char *(*configure)(websocket_context_t *context,
                             const websocket_param_t *params, size_t count);

    /* In a worker thread of httpd: several at once, may block. The handshake
     * is a good one, httpd has authenticated and authorized it and its Origin
     * is allowed. Returns 0 to accept, or the HTTP status to refuse with, as
     * websocket_refuse() gives it. request is borrowed until it returns. */
    int (*accept)(websocket_context_t *context, websocket_request_t *request);

    /* In the connection's loop. For each open there is one close. */
    void (*open)(websocket_t *ws);

    /* A whole message; text is valid UTF-8. data is borrowed until the
     * callback returns, and never NULL. */
    void (*message)(websocket_t *ws, int type, const void *data,
                    size_t length);

    /* What waited since a send said WEBSOCKET_QUEUED is sent. */
    void (*drained)(websocket_t *ws);

    /* The connection is over; the last callback for it. code is that of the
     * first Close frame, whoever sent it; 1005 if it had none, 1006 if there
     * was no Close frame (RFC 7.1.5). reason is the client's, empty if it
     * gave none, and not NUL-ended. */
    void (*close)(websocket_t *ws, unsigned code, const char *reason,
                  size_t length);

    /* The child of httpd that the context's connections lived in is ending,
     * and they have been moved to a process that was forked from it. All
     * memory and descriptors are as they were, so most handlers need not know
     * this. But of threads that the handler started none is there, and a lock
     * that one of them held stays locked: start anew here what is needed.
     * Called once, in the new process, before any other callback there. */
    void (*moved)(websocket_context_t *context);
} websocket_handler_t;

/* The handler defines this. */
extern WEBSOCKET_PUBLIC const websocket_handler_t websocket_handler;

/* --- the context --- */

/* Data of the handler's own for one WebSocketHandler directive. Set it in
 * configure; any thread may read it. destroy is called when httpd drops the
 * configuration. */
WEBSOCKET_PUBLIC void websocket_context_set_data(websocket_context_t *context,
                                                 void *data,
                                                 websocket_destroy_t destroy);
WEBSOCKET_PUBLIC void *
websocket_context_data(const websocket_context_t *context);

/* Formats an error for configure to return, at most 1 KiB. Lives as long as
 * the context. */
WEBSOCKET_PUBLIC const char *
websocket_context_error(websocket_context_t *context, const char *format, ...)
    WEBSOCKET_PRINTF(2, 3);

/* One line, at most 1 KiB, to httpd's ErrorLog. Any thread. */
WEBSOCKET_PUBLIC void websocket_context_log(const websocket_context_t *context,
                                            int level, const char *format, ...)
    WEBSOCKET_PRINTF(3, 4);

/* --- the request, in accept --- */

/* The decoded path behind the <Location>'s: "/lobby" for /ws/chat/lobby in
 * <Location "/ws/chat">, "" for /ws/chat itself. */
WEBSOCKET_PUBLIC const char *
websocket_request_path(const websocket_request_t *request);

/* The decoded value of the query argument; NULL if there is none, or one that
 * is wrongly encoded. Borrowed like request. */
WEBSOCKET_PUBLIC const char *
websocket_request_argument(websocket_request_t *request, const char *name);

/* Chooses the subprotocol if the client offers it (RFC 4.2.2). Returns 1 if
 * so, else 0. The first choice stands. */
WEBSOCKET_PUBLIC int
websocket_request_choose_protocol(websocket_request_t *request,
                                  const char *name);

/* Data of the handler's own for the connection: websocket_data(). destroy is
 * called when the connection is freed, also if it never opened. */
WEBSOCKET_PUBLIC void websocket_request_set_data(websocket_request_t *request,
                                                 void *data,
                                                 websocket_destroy_t destroy);

/* For accept to return: refuses with an HTTP status of 400 to 599 (else 500).
 * why goes to the error log, level info, not to the client. */
WEBSOCKET_PUBLIC int websocket_refuse(websocket_request_t *request, int status,
                                      const char *why);

/* --- the connection --- */

WEBSOCKET_PUBLIC websocket_context_t *websocket_context(const websocket_t *ws);

/* What accept set, or NULL. */
WEBSOCKET_PUBLIC void *websocket_data(const websocket_t *ws);

/* Unique among all connections of this server since it was started; not 0. */
WEBSOCKET_PUBLIC uint64_t websocket_id(const websocket_t *ws);

/* Sends one message; data is copied, length in bytes. Text must be UTF-8. */
WEBSOCKET_PUBLIC int websocket_send(websocket_t *ws, int type,
                                    const void *data, size_t length);

/* Begins the closing handshake (RFC 7.1.2). code: 1000 to 4999 as RFC 7.4
 * allows; any other is sent as 1011. reason: text of at most 123 bytes, longer
 * text is cut between characters; NULL: none. No message is delivered any
 * more; close() follows when the client has answered or the close timeout is
 * over. Does nothing if the connection is closing. */
WEBSOCKET_PUBLIC void websocket_close(websocket_t *ws, unsigned code,
                                      const char *reason);

/* How many messages the client was not sent because it read too slowly, in all
 * (WebSocketSendQueue drop-oldest, drop-newest, latest). */
WEBSOCKET_PUBLIC uint64_t websocket_dropped(const websocket_t *ws);

/* Stops and goes on with reading from this client. What it sends waits, first
 * here, then in the kernel, then at the client. */
WEBSOCKET_PUBLIC void websocket_pause(websocket_t *ws);
WEBSOCKET_PUBLIC void websocket_resume(websocket_t *ws);

/* One line, at most 1 KiB, to httpd's ErrorLog, with the client's address. */
WEBSOCKET_PUBLIC void websocket_log(const websocket_t *ws, int level,
                                    const char *format, ...)
    WEBSOCKET_PRINTF(3, 4);

/* --- topics --- */

#define WEBSOCKET_TOPIC_MAX 255      /* bytes of a topic's name */

enum { WEBSOCKET_NOT_TO_SELF = 1 };  /* flag of websocket_publish() */

/* From now on this connection is sent what is published to the topic, in the
 * order in which it was published, until it closes. Topics belong to the
 * context: another <Location>'s topic of the same name is another. Subscribing
 * again changes nothing. Returns 0; -1: name too long, or out of memory. */
WEBSOCKET_PUBLIC int websocket_subscribe(websocket_t *ws, const char *topic);

/* Sends a message to all subscribers of the topic, in all processes of this
 * httpd. flags: 0 or WEBSOCKET_NOT_TO_SELF. May be called in close.
 * Returns 0; -1: the name or the message is too long (a little under half of
 * WebSocketLogSize), or the shared log is broken. */
WEBSOCKET_PUBLIC int websocket_publish(websocket_t *ws, const char *topic,
                                       int type, const void *data,
                                       size_t length, int flags);

#ifdef __cplusplus
}
#endif

#endif
