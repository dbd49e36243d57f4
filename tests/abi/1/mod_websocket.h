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
 *         .abi = WEBSOCKET_ABI,
 *         .size = sizeof(websocket_handler_t),
 *         .name = "echo",
 *         .message = message,
 *     };
 *
 * docs/handlers.md is a tutorial, docs/handler-api.md this reference to read.
 *
 * Threads. A connection belongs to one loop thread of one process for life (but
 * see moved). open, message, fragment, drained and close of one connection, its
 * timers and what is posted to it run there, never two at once. "Loop" below
 * says that a function must be called there: out of a callback of any
 * connection of the same loop. "Any" is any thread of a process, between the
 * begin of child_init and the end of child_exit. Connections of one handler
 * live in several threads and processes. A callback in a loop must not block:
 * all connections of the loop wait; see websocket_offload(). A function that is
 * called in a wrong thread does anything; where the module was configured with
 * --enable-debug it says so and aborts.
 *
 * Strings end with NUL unless a length is given. Text is UTF-8. What a function
 * takes by pointer it has copied when it returns, and what it returns is
 * borrowed, unless it says something else. Times are milliseconds, lengths
 * bytes.
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

/* What this header describes. Later versions add functions, and fields at the
 * ends of structs; a handler built with an older one still loads. */
#define WEBSOCKET_ABI 1

/* An open connection. Valid until its close callback has returned. */
typedef struct websocket websocket_t;
/* One WebSocketHandler directive: a handler with its options. Lives as long as
 * the configuration. */
typedef struct websocket_context_s websocket_context_t;
/* The request that asks for a WebSocket. Valid in accept. */
typedef struct websocket_request websocket_request_t;
/* A counted reference to a connection; outlives it. */
typedef struct websocket_ref_s websocket_ref_t;
/* A timer of a connection. */
typedef struct websocket_timer websocket_timer_t;

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

/* What an option's value may be. */
enum {
    WEBSOCKET_STRING = 1,
    WEBSOCKET_INTEGER = 2,
    WEBSOCKET_SIZE = 3,              /* bytes, or with K, M, G: 64K */
    WEBSOCKET_DURATION = 4,          /* seconds, or with ms, s, min, h: 500ms */
    WEBSOCKET_BOOLEAN = 5,           /* on or off */
    WEBSOCKET_LIST = 6               /* strings with commas between them; given
                                      * several times it adds up */
};

/* An option that the handler takes: name=value of WebSocketHandler, or
 * WebSocketHandlerOption name value. */
typedef struct {
    const char *name;                /* NULL: the end of the array */
    int type;                        /* WEBSOCKET_STRING ... */
    const char *default_value;       /* as it would be written; NULL: none */
    int64_t min, max;                /* of an integer, of a size in bytes, of
                                      * a duration in ms. Both 0: any integer,
                                      * and any size or time from 0 on. */
    const char *help;                /* one line */
} websocket_option_t;

/* Called when the thing that data belongs to ends, in any thread. May be
 * NULL. */
typedef void (*websocket_destroy_t)(void *data);

/* A handler. All callbacks may be NULL but message, or fragment. */
typedef struct {
    uint32_t abi;                    /* WEBSOCKET_ABI */
    uint32_t size;                   /* sizeof(websocket_handler_t) */
    const char *name;                /* for log lines */

    /* The options it takes; the last has no name. NULL: none. What is given
     * and not declared, of the wrong type or out of range is refused while the
     * configuration is read. */
    const websocket_option_t *options;
    size_t option_size;              /* sizeof(websocket_option_t) */

    /* In httpd's parent process, when the configuration has been read, and
     * again at every restart: the options are good and can be asked for.
     * Returns NULL, or what is wrong: then httpd refuses the configuration and
     * names the file and line. See websocket_context_error(). */
    const char *(*configure)(websocket_context_t *context);

    /* In each process that will have connections, before any other callback
     * there: the place to start threads and timers, or to connect to a data
     * base. Signals are blocked, and so they are in threads that are started.
     * Returns 0, or anything else if the handler cannot work, and has logged
     * why: then new clients are refused there with 503, and those that were
     * moved there are closed with 1012. */
    int (*child_init)(websocket_context_t *context);

    /* The last callback in a process, also where child_init failed; threads of
     * the handler must end. No loop runs any more. Not called where the process
     * crashes, is killed, or ends while a handler blocks. */
    void (*child_exit)(websocket_context_t *context);

    /* A child of httpd has ended before its connections did, and they have
     * been moved to a process that was forked from it. All memory and
     * descriptors are as they were. Called there after child_init, before any
     * other callback: child_exit in the old process, child_init and moved in
     * the new one. */
    void (*moved)(websocket_context_t *context);

    /* In a worker thread of httpd: several at once, may block. The handshake
     * is a good one, httpd has authenticated and authorized it and its Origin
     * is allowed. Returns 0 to accept, or the HTTP status to refuse with, as
     * websocket_refuse() gives it. */
    int (*accept)(websocket_context_t *context, websocket_request_t *request);

    /* In the connection's loop. For each open there is one close. */
    void (*open)(websocket_t *ws);

    /* A whole message; text is valid UTF-8. data is borrowed until the
     * callback returns, and never NULL. */
    void (*message)(websocket_t *ws, int type, const void *data,
                    size_t length);

    /* Instead of message, which is then never called: a part of a message, as
     * it came from the network, so that no more of it is in memory. is_last is
     * 1 with the last part of a message, which may be empty, else 0. Text is
     * valid UTF-8, but a character may be cut between two parts.
     * WebSocketMaxMessage holds for the whole. */
    void (*fragment)(websocket_t *ws, int type, const void *data,
                     size_t length, int is_last);

    /* What waited since a send said WEBSOCKET_QUEUED is sent. */
    void (*drained)(websocket_t *ws);

    /* The connection is over; the last callback for it. code is that of the
     * first Close frame, whoever sent it; 1005 if it had none, 1006 if there
     * was no Close frame (RFC 7.1.5). reason is the client's, empty if it
     * gave none, and not NUL-ended. */
    void (*close)(websocket_t *ws, unsigned code, const char *reason,
                  size_t length);
} websocket_handler_t;

/* The handler defines this. */
extern WEBSOCKET_PUBLIC const websocket_handler_t websocket_handler;

/* --- the context --- */

/* Data of the handler's own for one WebSocketHandler directive. Configure only;
 * any thread may read it. What was set before is destroyed. destroy is called
 * when the parent drops the configuration; what a process needs to do at its
 * end is for child_exit. */
WEBSOCKET_PUBLIC void websocket_context_set_data(websocket_context_t *context,
                                                 void *data,
                                                 websocket_destroy_t destroy);
WEBSOCKET_PUBLIC void *
websocket_context_data(const websocket_context_t *context);

/* The value of an option that the handler declares. Configure, and any thread
 * later. NULL if there is neither a value nor a default; and if no option of
 * this name and type is declared. */
WEBSOCKET_PUBLIC const char *
websocket_option_string(const websocket_context_t *context, const char *name);

/* The same for an integer, for a size in bytes, a duration in milliseconds, a
 * boolean as 1 or 0. 0 instead of NULL. */
WEBSOCKET_PUBLIC int64_t
websocket_option_number(const websocket_context_t *context, const char *name);

/* The same for a list: its strings, and behind the last NULL. Never NULL. */
WEBSOCKET_PUBLIC const char *const *
websocket_option_list(const websocket_context_t *context, const char *name);

/* Formats an error for configure to return, at most 1 KiB. Lives as long as
 * the context. */
WEBSOCKET_PUBLIC const char *
websocket_context_error(websocket_context_t *context, const char *format, ...)
    WEBSOCKET_PRINTF(2, 3);

/* One line, at most 1 KiB, to httpd's ErrorLog. Configure; any. */
WEBSOCKET_PUBLIC void websocket_context_log(const websocket_context_t *context,
                                            int level, const char *format, ...)
    WEBSOCKET_PRINTF(3, 4);

/* Calls run in a loop of this process, always the same one, first ms from now
 * and then every interval ms (0: only once) until child_exit. first: 0 or more.
 * Any. Returns 0; -1: out of memory, or the process ends. */
WEBSOCKET_PUBLIC int websocket_context_timer(
    websocket_context_t *context, int64_t first, int64_t interval,
    void (*run)(websocket_context_t *context, void *baton), void *baton);

/* Calls run once for each connection of the context that is open in this
 * process, in its loop; and done (which may be NULL) once, in a loop, after the
 * last. Does not wait for that. Any. Returns 0; -1: out of memory, or the
 * process ends; nothing is called. */
WEBSOCKET_PUBLIC int websocket_context_each(
    websocket_context_t *context, void (*run)(websocket_t *ws, void *baton),
    void (*done)(void *baton), void *baton);

/* --- the request, in accept, in its thread --- */

/* The decoded path behind the <Location>'s: "/lobby" for /ws/chat/lobby in
 * <Location "/ws/chat">, "" for /ws/chat itself. */
WEBSOCKET_PUBLIC const char *
websocket_request_path(const websocket_request_t *request);

/* The whole decoded path. */
WEBSOCKET_PUBLIC const char *
websocket_request_uri(const websocket_request_t *request);

/* The decoded value of the query argument; NULL if there is none, or one that
 * is wrongly encoded. */
WEBSOCKET_PUBLIC const char *
websocket_request_argument(websocket_request_t *request, const char *name);

/* The value of a request header; of several with one name all, with ", "
 * between them. NULL: there is none. */
WEBSOCKET_PUBLIC const char *
websocket_request_header(const websocket_request_t *request, const char *name);

/* Who httpd has found the client to be, and how ("Basic"). NULL: nobody. */
WEBSOCKET_PUBLIC const char *
websocket_request_user(const websocket_request_t *request);
WEBSOCKET_PUBLIC const char *
websocket_request_auth_type(const websocket_request_t *request);

/* The client's address, as mod_remoteip sees it. */
WEBSOCKET_PUBLIC const char *
websocket_request_client(const websocket_request_t *request);

/* A variable of mod_ssl: SSL_PROTOCOL, SSL_CLIENT_S_DN ... NULL: it is empty,
 * or the connection has no TLS. */
WEBSOCKET_PUBLIC const char *
websocket_request_tls(websocket_request_t *request, const char *name);

/* A variable of the request's environment: SetEnv, SetEnvIf, RewriteRule
 * [E=...]. NULL: there is none. */
WEBSOCKET_PUBLIC const char *
websocket_request_env(const websocket_request_t *request, const char *name);

/* The value of a text with httpd's expressions: "%{HTTP_HOST} %{ENV:TENANT}".
 * NULL: it is wrong, which is logged; or there is no httpd. */
WEBSOCKET_PUBLIC const char *
websocket_request_expression(websocket_request_t *request, const char *text);

/* httpd's request_rec, for a handler that includes its headers, too, to be
 * used as any content handler may. NULL: there is no httpd. */
WEBSOCKET_PUBLIC void *
websocket_request_httpd(const websocket_request_t *request);

/* Chooses the subprotocol if the client offers it (RFC 4.2.2). Returns 1 if
 * so, else 0. The first choice stands. */
WEBSOCKET_PUBLIC int
websocket_request_choose_protocol(websocket_request_t *request,
                                  const char *name);

/* Adds a header to the answer, be it yes or no: Set-Cookie, say. Returns 0; -1:
 * no header looks like that (RFC 9110 5), or it is one that the handshake or
 * httpd sets (Connection, Upgrade, Sec-WebSocket-..., Content-Length,
 * Transfer-Encoding, Date, Server). */
WEBSOCKET_PUBLIC int websocket_request_add_header(websocket_request_t *request,
                                                  const char *name,
                                                  const char *value);

/* Data of the handler's own for the connection: websocket_data(). What was set
 * before is destroyed. destroy is called when the connection is freed, also if
 * it never opened. */
WEBSOCKET_PUBLIC void websocket_request_set_data(websocket_request_t *request,
                                                 void *data,
                                                 websocket_destroy_t destroy);

/* For accept to return: refuses with an HTTP status of 400 to 599 (else 500).
 * why goes to the error log, level info, not to the client. */
WEBSOCKET_PUBLIC int websocket_refuse(websocket_request_t *request, int status,
                                      const char *why);

/* --- the connection: loop --- */

WEBSOCKET_PUBLIC websocket_context_t *websocket_context(const websocket_t *ws);

/* What was set, or NULL. */
WEBSOCKET_PUBLIC void *websocket_data(const websocket_t *ws);

/* As in accept; what was set before is destroyed. */
WEBSOCKET_PUBLIC void websocket_set_data(websocket_t *ws, void *data,
                                         websocket_destroy_t destroy);

/* Unique among all connections of this server since it was started; not 0. */
WEBSOCKET_PUBLIC uint64_t websocket_id(const websocket_t *ws);

/* The client's address, as in accept. */
WEBSOCKET_PUBLIC const char *websocket_client(const websocket_t *ws);

/* The subprotocol that was chosen; "": none. */
WEBSOCKET_PUBLIC const char *websocket_protocol(const websocket_t *ws);

/* Sends one message. Text must be UTF-8. Returns WEBSOCKET_SENT ... */
WEBSOCKET_PUBLIC int websocket_send(websocket_t *ws, int type,
                                    const void *data, size_t length);

/* Begins the closing handshake (RFC 7.1.2). code: 1000 to 4999 as RFC 7.4
 * allows; any other is sent as 1011. reason: text of at most 123 bytes, longer
 * text is cut between characters; NULL: none. No message is delivered any
 * more; close() follows when the client has answered or the close timeout is
 * over. Does nothing if the connection is closing. */
WEBSOCKET_PUBLIC void websocket_close(websocket_t *ws, unsigned code,
                                      const char *reason);

/* Bytes that wait to be sent, frames and all. */
WEBSOCKET_PUBLIC size_t websocket_buffered(const websocket_t *ws);

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

/* Calls run first ms from now and then every interval ms (0: only once), until
 * the connection closes: never after its close callback. Loop. NULL: out of
 * memory, or it is closing. The timer is gone when it was stopped, and after
 * its last run. */
WEBSOCKET_PUBLIC websocket_timer_t *
websocket_timer_start(websocket_t *ws, int64_t first, int64_t interval,
                      void (*run)(websocket_t *ws, void *baton), void *baton);

/* In run itself, too. Loop. */
WEBSOCKET_PUBLIC void websocket_timer_stop(websocket_timer_t *timer);

/* --- other threads --- */

/* A reference, to be released. Loop; between open and close, both included.
 * NULL: out of memory. */
WEBSOCKET_PUBLIC websocket_ref_t *websocket_ref(websocket_t *ws);

/* Counts one more; returns ref. Any. */
WEBSOCKET_PUBLIC websocket_ref_t *websocket_ref_retain(websocket_ref_t *ref);

/* Counts one less; the last frees it. Any. */
WEBSOCKET_PUBLIC void websocket_ref_release(websocket_ref_t *ref);

/* Calls run once in the connection's loop; ws is NULL if the connection is
 * over by then. Those of one thread run in their order. Any. Returns 0; -1,
 * and run is not called: the connection is over, out of memory, the process
 * ends, or WEBSOCKET_POSTS_MAX wait already for this connection. */
WEBSOCKET_PUBLIC int websocket_post(websocket_ref_t *ref,
                                    void (*run)(websocket_t *ws, void *baton),
                                    void *baton);
#define WEBSOCKET_POSTS_MAX 4096

/* Has the connection's loop send a message. Any. Returns as websocket_post(). */
WEBSOCKET_PUBLIC int websocket_ref_send(websocket_ref_t *ref, int type,
                                        const void *data, size_t length);

/* Calls work in a thread of a pool, where it may block, and then done in the
 * connection's loop; ws is NULL if the connection is over by then. If the
 * process ends first work may not be called, and done with NULL when no loop
 * runs any more: so done frees baton. Loop. Returns 0; -1, and nothing is
 * called: as much waits as may (WebSocketOffload), out of memory or threads, or
 * the connection is closing. */
WEBSOCKET_PUBLIC int websocket_offload(websocket_t *ws,
                                       void (*work)(void *baton),
                                       void (*done)(websocket_t *ws,
                                                    void *baton),
                                       void *baton);

/* --- topics --- */

#define WEBSOCKET_TOPIC_MAX 255      /* bytes of a topic's name */

enum { WEBSOCKET_NOT_TO_SELF = 1 };  /* flag of websocket_publish() */

/* From now on this connection is sent what is published to the topic, in the
 * order in which it was published, until it closes. Topics belong to the
 * context: another <Location>'s topic of the same name is another. Subscribing
 * again changes nothing. Loop. Returns 0; -1: name too long, out of memory, or
 * the connection is closing. */
WEBSOCKET_PUBLIC int websocket_subscribe(websocket_t *ws, const char *topic);

/* From now on no more: also not what was published and is not yet delivered.
 * (What waits in the connection's own queue already is sent.) Loop. Returns 0;
 * -1: it was not subscribed. */
WEBSOCKET_PUBLIC int websocket_unsubscribe(websocket_t *ws, const char *topic);

/* Sends a message to all subscribers of the topic, in all processes of this
 * httpd. flags: 0 or WEBSOCKET_NOT_TO_SELF. Loop; in close, too.
 * Returns 0; -1: the name or the message is too long (a little under half of
 * WebSocketLogSize), or the shared log is broken. */
WEBSOCKET_PUBLIC int websocket_publish(websocket_t *ws, const char *topic,
                                       int type, const void *data,
                                       size_t length, int flags);

/* The same from nobody. Any. */
WEBSOCKET_PUBLIC int websocket_context_publish(websocket_context_t *context,
                                               const char *topic, int type,
                                               const void *data,
                                               size_t length);

/* How many connections are subscribed to the topic now, in all processes of
 * this httpd. Any. -1: not known, as a process has more topics than are
 * counted. */
WEBSOCKET_PUBLIC int64_t
websocket_subscribers(const websocket_context_t *context, const char *topic);

#ifdef __cplusplus
}
#endif

#endif
