/* run: websocket-run, a program that runs one handler without httpd. It stands
 * where the module stands, on layers 0 to 4, and has of HTTP what an opening
 * handshake needs. Clients come to a port (run_serve), or a script plays them
 * (run_script); both go through run_handshake, and from there on their
 * connections are a worker's.
 *
 * Threads:  the main one reads options, waits for signals or plays the script;
 *           those of run_handshake() and of the workers take no signals. */
#ifndef RUN_H
#define RUN_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_process.h"
#include "ws_wake.h"
#include "ws_watch.h"
#include "ws_websocket.h"

/* What the program ends with. */
enum {
    RUN_GOOD = 0,
    RUN_FAILED = 1,                  /* an expectation of a script; a handler
                                      * that cannot run; no port */
    RUN_USAGE = 2                    /* of the command line, or the script */
};

#define RUN_THREADS_MAX 64

/* Who a client is said to be. */
typedef struct {
    const char *user;                /* NULL: nobody */
    const apr_table_t *env;
} run_identity_t;

/* The command line. Lives as long as the program. */
typedef struct {
    const char *handler;             /* as it was given */
    const apr_array_header_t *settings; /* char *: NAME=VALUE, for it */
    const char *address;
    const char *port;                /* a number */
    const char *script;              /* NULL: serve; "-": standard input */
    const char *location;            /* no slash at its end, so "" is all */
    run_identity_t identity;
    bool any_origin;
    unsigned threads;
    size_t max_message;              /* bytes */
    int64_t timeout;                 /* of a script, ms */
    ws_log_level_t log_level;
} run_options_t;

/* The handler with all it needs to run. */
typedef struct {
    const run_options_t *options;
    ws_logger_t logger;
    websocket_context_t *context;
    ws_conn_limits_t limits;
    ws_log_t *log;
    ws_process_t process;
    ws_worker_t *workers[RUN_THREADS_MAX];
    unsigned started;                /* workers that have a thread */
    atomic_uint next_worker;
    ws_watch_t *watch;
    ws_wake_t stop;                  /* notified: handshakes are to end */
    apr_pool_t *pool;
} run_host_t;

/* --- run_log --- */

/* One line to standard error. */
void run_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What malloc gave; NULL ends the program. */
void *run_needed(void *memory);

/* Writes lines up to *level, which is borrowed, to standard error. */
ws_logger_t run_logger(ws_log_level_t *level);

/* "error", "warning" ... */
bool run_log_level(ws_log_level_t *plevel, const char *name);

/* --- run_options --- */

/* True: *options is filled. False: the program ends with *pstatus, and all is
 * said. */
bool run_options_parse(run_options_t *options, int *pstatus, int argc,
                       char **argv, apr_pool_t *pool);

/* --- run_handler: each says what is wrong --- */

/* Finds the handler, gives it its options, and has it configured. NULL: it
 * cannot be. */
websocket_context_t *run_handler_load(const run_options_t *options,
                                      const ws_logger_t *logger,
                                      apr_pool_t *pool);

/* Prints which options the handler takes. Returns the exit status. */
int run_handler_help(const char *handler, apr_pool_t *pool);

/* --- run_host --- */

/* Has the handler begin, and starts the workers. False: it could not, and said
 * why. Either way run_host_end() follows. */
bool run_host_begin(run_host_t *host, const run_options_t *options,
                    apr_pool_t *pool);

/* Any thread. Handshakes are to end, and connections are closed with 1001. */
void run_host_stop(run_host_t *host);

/* No handshake runs any more: stops, and frees. A handler that blocks ends the
 * program here. */
void run_host_end(run_host_t *host);

/* The program cannot wait for a thread that the handler blocks. */
_Noreturn void run_host_give_up(const char *callback);

/* --- run_http: pure --- */

#define RUN_HEAD_MAX (16 * 1024)     /* bytes of a request's head */

typedef struct {
    const char *method;              /* NULL: it could not be read */
    int major, minor;
    const char *path;                /* decoded */
    const char *query;               /* raw; NULL: none */
    apr_table_t *headers;
} run_request_t;

/* Does the head end in bytes[0..length)? Those before from were looked at
 * before. 1: *pend is its length, with the empty line. 0: not yet. -1: a line
 * does not end as lines do. */
int run_http_find_end(size_t *pend, const char *bytes, size_t from,
                      size_t length);

/* Reads a head. Returns 0, or the status of the refusal; *pwhy says why. */
int run_http_parse(run_request_t *request, const char *head, size_t length,
                   apr_pool_t *pool, const char **pwhy);

/* The head of an answer, with the status's reason. headers: NULL, or more. */
const char *run_http_answer(int status, const apr_table_t *headers,
                            apr_pool_t *pool);

const char *run_http_reason(int status);

/* --- run_request --- */

/* How a handler's questions are answered; the baton is a run_question_t. */
extern const ws_request_ops_t run_request_ops;

typedef struct {
    const run_request_t *request;
    const run_identity_t *identity;
    const char *path;                /* behind the location */
} run_question_t;

/* What of the path lies behind the location; NULL: it is not there. */
const char *run_request_below(const char *path, const char *location);

/* --- run_handshake --- */

#define RUN_HEAD_TIME 10000          /* ms for a head to come */

/* Any thread; blocks. Reads a request from the socket (which does not block),
 * answers it, and gives it to a worker if the answer is yes. Takes over fd.
 * The rest is borrowed. */
void run_handshake(run_host_t *host, int fd, const char *client,
                   const run_identity_t *identity);

/* --- run_page --- */

/* To try a handler from a browser. */
extern const char run_page[];

/* --- run_serve --- */

/* SIGINT and SIGTERM wait from now on, in threads that are made later, too. */
void run_serve_signals(sigset_t *signals);

/* Until one of these. Returns the exit status. */
int run_serve(run_host_t *host, const sigset_t *signals);

/* --- run_script --- */

/* Returns the exit status. */
int run_script(run_host_t *host);

#endif
