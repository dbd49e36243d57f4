/* mod_websocket_internal: what the httpd side of the module shares among its
 * files. Only mod_websocket*.c include it, and httpd's headers.
 *
 *   mod_websocket.c           the module record and its hooks
 *   mod_websocket_config.c    settings, defaults, merging; loggers, keys
 *   mod_websocket_directives.c  how they are read
 *   mod_websocket_loading.c   how handlers are loaded
 *   mod_websocket_upgrade.c   the request: opening handshake, 101
 *   mod_websocket_takeover.c  the connection: the socket leaves httpd
 *   mod_websocket_stream.c    the stream of HTTP/2: its thread pumps bytes
 *   mod_websocket_admit.c     is there room for one more?
 *   mod_websocket_shared.c    what all processes have: the log, the seats
 *   mod_websocket_child.c     a child: workers, their end
 *   mod_websocket_keepers.c   the table of all keepers; httpd's parent
 *   mod_websocket_keeper.c    the process that serves what a child leaves
 *   mod_websocket_status.c    what mod_status shows
 *
 * Threads and lifetimes are httpd's: configuration by the main thread of the
 * parent, requests and connections by any worker thread. */
#ifndef MOD_WEBSOCKET_INTERNAL_H
#define MOD_WEBSOCKET_INTERNAL_H

#include <httpd.h>

#include <ap_mpm.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_log.h>

#include "ws_extension.h"
#include "ws_process.h"

/* what LoadModule looks for */
extern WEBSOCKET_PUBLIC module AP_MODULE_DECLARE_DATA websocket_module;

/* --- configuration --- */

/* A WebSocketHandlerOption that came before the section's WebSocketHandler. */
typedef struct {
    const char *name;
    const char *value;
    const ap_directive_t *where;
} mod_websocket_option_t;

/* Of a directory or location. A time or size that was not set is -1. */
typedef struct {
    bool has_handler;                /* WebSocketHandler was given */
    websocket_context_t *context;    /* NULL: none */
    const char *location;            /* the section's path; NULL: server */
    apr_array_header_t *options;     /* of mod_websocket_option_t: those that
                                      * wait for the handler */
    apr_array_header_t *origins;     /* of const char *; NULL: not set. Empty:
                                      * any. "same" stands for itself. */
    apr_int64_t max_message;         /* bytes */
    apr_int64_t max_fragments;       /* 0: no limit */
    apr_int64_t send_queue;          /* bytes */
    int queue_policy;                /* ws_queue_policy_t */
    bool has_rate;                   /* WebSocketRateLimit was given */
    ws_rate_t message_rate;
    ws_rate_t byte_rate;
    bool over_rate_closes;
    apr_int64_t idle_timeout;        /* ms; 0: none */
    apr_int64_t max_age;             /* ms; 0: none */
    apr_int64_t ping_interval;       /* ms; 0: no pings */
    apr_int64_t ping_timeout;        /* ms */
    apr_int64_t close_timeout;       /* ms */
    int compression;                 /* 0: off; 1: on */
    int compression_level;
    apr_int64_t compression_threshold;  /* bytes */
    int compression_window;          /* bits */
    int compression_takeover;        /* 0: off; 1: on */
} mod_websocket_dir_t;

/* Of the whole server, with their defaults. Set anew by each reading of the
 * configuration. */
typedef struct {
    int threads;                     /* of a child */
    apr_int64_t offload_threads;     /* of a child, at most */
    apr_int64_t offload_queue;       /* jobs of a child that may wait */
    apr_int64_t log_size;            /* bytes */
    apr_int64_t compression_memory;  /* bytes, of a child */
    apr_int64_t send_memory;         /* bytes, of a child */
    apr_int64_t max_connections;     /* of all processes */
    apr_int64_t max_per_client;      /* 0: no limit */
    int reload_keeps;                /* 1: keep; 0: drain */
    apr_int64_t keep_time;           /* ms */
    apr_int64_t drain_timeout;       /* ms */
} mod_websocket_global_t;

extern mod_websocket_global_t mod_websocket_global;

extern const command_rec mod_websocket_directives[];

/* WebSocketHandler, WebSocketHandlerOption. */
const char *mod_websocket_set_handler(cmd_parms *cmd, void *config, int argc,
                                      char *const argv[]);
const char *mod_websocket_set_option(cmd_parms *cmd, void *config,
                                     const char *name, const char *value);

void *mod_websocket_dir_create(apr_pool_t *pool, char *path);
void *mod_websocket_dir_merge(apr_pool_t *pool, void *base, void *add);
void *mod_websocket_server_create(apr_pool_t *pool, server_rec *server);

/* pre_config: forgets what an earlier reading of the configuration left. */
int mod_websocket_config_begin(apr_pool_t *pconf, apr_pool_t *plog,
                               apr_pool_t *ptemp);

/* check_config: has all handlers configured. */
int mod_websocket_config_check(apr_pool_t *pconf, apr_pool_t *plog,
                               apr_pool_t *ptemp, server_rec *server);

/* After the configuration was read: sets the keys and seats of all contexts,
 * and each server's logger. */
void mod_websocket_config_end(server_rec *server, ws_seats_t *seats,
                              apr_pool_t *pconf, apr_pool_t *ptemp);

/* Remembers where a WebSocketHandler stands. */
void mod_websocket_add_place(websocket_context_t *context,
                             const cmd_parms *cmd);

/* The section has options: a WebSocketHandler must follow in it. */
void mod_websocket_expect_handler(const mod_websocket_dir_t *dir);

/* Does any WebSocketHandler stand in the configuration? */
bool mod_websocket_has_handlers(void);

/* The contexts of all WebSocketHandlers; an array in pool. */
websocket_context_t **mod_websocket_contexts(size_t *pcount,
                                             apr_pool_t *pool);

/* Fills in the limits that hold for a location, but for the budget. */
void mod_websocket_limits(ws_conn_limits_t *limits,
                          const mod_websocket_dir_t *dir);

/* What may be negotiated at a location. False: no compression. */
bool mod_websocket_compression(ws_deflate_policy_t *policy,
                               const mod_websocket_dir_t *dir);

/* Logs to the server's ErrorLog. Lives as long as the configuration. */
const ws_logger_t *mod_websocket_logger(server_rec *server);

/* --- the request --- */

int mod_websocket_handle(request_rec *r);

/* --- the connection --- */

int mod_websocket_watch_connection(conn_rec *c, void *csd);
int mod_websocket_remember_ssl(conn_rec *c, SSL *ssl, int is_proxy);
int mod_websocket_take(conn_rec *c);

/* Can the connection be taken out of httpd? NULL, or why not. */
const char *mod_websocket_cannot_take(conn_rec *c);

/* Takes the connection when httpd is finished with it. *promise is copied;
 * what it holds will be given back, whatever happens. */
void mod_websocket_promise(conn_rec *c, const ws_promise_t *promise);

/* Keeps the promise: gives the connection to a worker. Takes over io, the
 * promise's data and early (malloc'ed, or NULL). */
void mod_websocket_deliver(const ws_promise_t *promise, const ws_io_t *io,
                           uint8_t *early, size_t early_length);

/* --- the stream of HTTP/2, which cannot be taken --- */

typedef struct mod_websocket_stream mod_websocket_stream_t;

/* Can the stream carry a WebSocket? NULL, or why not. */
const char *mod_websocket_cannot_pump(conn_rec *c);

/* How many streams of this HTTP/2 connection carry a WebSocket; NULL: it did
 * not come from a client. */
_Atomic unsigned *mod_websocket_streams_of(conn_rec *master);

/* Reserves what the stream needs, before anything is promised; it is freed
 * with the request. OK, or the status of the refusal, and *pwhy says why. */
int mod_websocket_stream_create(mod_websocket_stream_t **pstream,
                                request_rec *r, const char **pwhy);

/* Gives back what was reserved: nothing will be promised. */
void mod_websocket_stream_drop(mod_websocket_stream_t *stream);

/* After the 101: delivers the promise and serves the stream until its end. */
void mod_websocket_stream_run(mod_websocket_stream_t *stream,
                              const ws_promise_t *promise);

/* --- is there room? --- */

/* In a child, before it serves anybody. */
void mod_websocket_admit_child_init(void);

/* Finds a seat for the request's client. WS_OK, and the status of
 * ws_seats_take() if there is none. */
ws_status_t mod_websocket_take_seat(uint32_t *pseat, request_rec *r);

/* Is this descriptor, which was just opened, so near to the process's limit
 * that httpd needs the rest for itself? */
bool mod_websocket_is_full_at(int fd);
bool mod_websocket_is_full(conn_rec *c);      /* the connection's descriptor */

/* --- what all processes have --- */

int mod_websocket_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp, server_rec *server);

/* NULL: there is no WebSocketHandler, nor was any. */
ws_log_t *mod_websocket_log(void);
ws_seats_t *mod_websocket_seats(void);

/* What all processes have together; false: there are no WebSockets here. */
bool mod_websocket_totals(ws_log_totals_t *totals);

/* --- the processes --- */

/* The first thing of a child, so that our cleanup is the last of its pool. */
void mod_websocket_child_begin(apr_pool_t *pchild, server_rec *server);
void mod_websocket_child_init(apr_pool_t *pchild, server_rec *server);
void mod_websocket_child_stopping(apr_pool_t *pchild, int graceful);

/* Gives ws to a worker; discards it if the child is ending. */
void mod_websocket_post(websocket_t *ws);

/* Gives the limits the child's budget, and returns a copy that lives as long
 * as the child; NULL: the child has no worker, or is ending. The same limits
 * give the same copy. */
const ws_conn_limits_t *mod_websocket_keep_limits(ws_conn_limits_t *limits);

enum {
    MOD_WEBSOCKET_GOING_AWAY = 1001,
    MOD_WEBSOCKET_SERVICE_RESTART = 1012
};

/* Closes all connections of the workers within limit ms, and ends them. Those
 * who are to connect again (1012) are given time to do so one by one; when
 * httpd ends (1001) somebody waits for that. Signal handlers, too. */
void mod_websocket_close_all(ws_worker_t **workers, unsigned count,
                             uint16_t code, int64_t limit);

/* --- the keeper --- */

/* What a child leaves: workers that pause. */
typedef struct {
    server_rec *server;
    ws_worker_t **workers;
    unsigned worker_count;
    ws_process_t *handlers;          /* have ended here, and begin there */
    ws_watch_t *watch;               /* of the workers; stopped; NULL: none */
    ws_seats_t *seats;
    size_t connections;
} mod_websocket_estate_t;

/* Of the parent, before it forks: how many keepers there may be where the MPM
 * may have so many children, each with so many workers. */
unsigned mod_websocket_keepers_max(unsigned children, unsigned workers);

/* Of the parent: makes room in shared memory, unless it is there already.
 * False: there is no memory, errno. */
bool mod_websocket_keepers_create(unsigned max, unsigned children);

/* Of the parent, after each reading of the configuration, also if there are no
 * WebSockets in it any more. */
void mod_websocket_keepers_configure(apr_pool_t *pconf, server_rec *server);

/* Of the parent, whenever a child has ended. */
void mod_websocket_keepers_child_status(server_rec *server, pid_t pid,
                                        ap_generation_t generation, int slot,
                                        mpm_child_status status);

/* Says which keepers have died. */
int mod_websocket_keepers_monitor(apr_pool_t *pool, server_rec *server);

/* How long it may take until all has ended when connections have, ms. */
#define MOD_WEBSOCKET_JOIN_EXTRA 2000

/* A keeper's place in the table. */
typedef struct {
    _Atomic uint32_t pid;            /* 0: free */
    _Atomic bool is_recalled;        /* newer ones need the place */
    _Atomic int64_t began;           /* ms, monotonic */
} mod_websocket_entry_t;

/* Of a child: a place for the keeper to be, in the child's name until it has
 * been forked; the oldest keepers make room. NULL: none is to be had, the log
 * says so. */
mod_websocket_entry_t *mod_websocket_keepers_claim(server_rec *server);

/* Has httpd's parent said that all is to end? */
bool mod_websocket_keepers_are_to_end(void);

/* httpd's parent. */
pid_t mod_websocket_keepers_parent(void);

/* Of a child: finds its parent. */
void mod_websocket_keeper_child_init(void);

/* Does all of httpd end, or has its parent gone? True where there is none, too
 * (httpd -X). */
bool mod_websocket_httpd_ends(void);

/* Leaves what there is to a keeper. Nothing is posted to the workers any more,
 * and signals are blocked. False: none can be had, the log says why. */
bool mod_websocket_leave_to_keeper(const mod_websocket_estate_t *estate);

/* Keepers that there are. */
unsigned mod_websocket_keepers(void);

/* --- mod_status --- */

int mod_websocket_show_status(request_rec *r, int flags);

#endif
