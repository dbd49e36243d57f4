/* layers: a soak test of layers 0 to 4, without httpd: several workers over one
 * log, the bundled handlers, and clients of all kinds at the other ends of
 * socket pairs. Threads that stand for httpd's post the connections; workers
 * are stopped and replaced while they do.
 *
 * Made for the thread sanitizer, under which httpd itself does not run.
 *
 * Threads:  soak_run() starts its own and waits for them; the functions that
 *           clients use are called by any of them.
 * Lifetime: everything ends with soak_run(). */
#ifndef SOAK_LAYERS_H
#define SOAK_LAYERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "ws_websocket.h"

#define SOAK_WORKERS 3
#define SOAK_LIMIT 60000             /* ms that anything may take */

typedef struct {
    int64_t duration;                /* ms */
    uint32_t seed;                   /* not 0 */
    unsigned drivers;                /* threads that clients live in */
    unsigned clients;                /* of each driver, at once */
    bool reports;                    /* a line a minute, a table at the end */
} soak_options_t;

/* What a client does: its place in the tables of figures. */
typedef enum {
    SOAK_ECHO,                       /* well-behaved: all is checked */
    SOAK_DEFLATED,
    SOAK_CHAT,
    SOAK_HALF_CLOSED,                /* FIN, and no Close, behind a message */
    SOAK_FLOODER,                    /* not so: */
    SOAK_DEAF,
    SOAK_PINGER,
    SOAK_CUT,
    SOAK_SILENT,
    SOAK_WRONG,
    SOAK_KINDS
} soak_kind_t;

/* Where a connection goes: a context with its limits. */
typedef enum {
    SOAK_AT_ECHO,
    SOAK_AT_ECHO_STRICT,             /* small limits */
    SOAK_AT_ECHO_QUICK,              /* quick pings */
    SOAK_AT_ECHO_DEFLATED,
    SOAK_AT_ECHO_TAKEOVER,
    SOAK_AT_CHAT,
    SOAK_AT_CHAT_STRICT,
    SOAK_PLACES
} soak_place_t;

#define SOAK_STRICT_MESSAGE 4096     /* bytes, WebSocketMaxMessage */
#define SOAK_STRICT_FRAGMENTS 8

typedef struct {
    _Atomic uint64_t connections;
    _Atomic uint64_t messages;       /* sent by clients */
    _Atomic uint64_t received;       /* messages that clients were sent */
    _Atomic uint64_t closed;         /* by a worker that was stopped */
} soak_figures_t;

typedef struct {
    soak_options_t options;
    pthread_mutex_t lock;            /* guards workers and pools */
    ws_worker_t *workers[SOAK_WORKERS];
    apr_pool_t *pools[SOAK_WORKERS]; /* of the workers */
    ws_log_t *log;
    ws_budgets_t budgets;
    websocket_context_t *echo, *chat;
    ws_conn_limits_t normal, strict, quick;
    _Atomic bool is_over;            /* clients are to leave */
    _Atomic unsigned failures;
    _Atomic uint32_t next_id;        /* of clients */
    _Atomic uint64_t stops;          /* of workers, begun */
    _Atomic uint64_t replaced;       /* workers */
    _Atomic uint64_t overfull;       /* queues of who does not read */
    soak_figures_t figures[SOAK_KINDS];
} soak_t;

/* Runs it. True: all was as it should be; else what was not is on stderr. */
bool soak_run(const soak_options_t *options);

/* Something is wrong: the soak goes on and will be judged bad. */
void soak_fail(soak_t *soak, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Opens a WebSocket and returns the client's end, which does not block. room:
 * of the chat. early, malloc'ed, is taken over: what came with the request. */
int soak_connect(soak_t *soak, soak_place_t place, const char *room,
                 unsigned worker, uint8_t *early, size_t early_length);

int64_t soak_now(void);
uint32_t soak_random(uint32_t *state);

/* What is negotiated at a place. */
ws_deflate_params_t soak_deflate_of(soak_place_t place);

/* --- layers_client.c --- */

/* A thread's main function: clients that come and go until it is over. */
typedef struct {
    soak_t *soak;
    pthread_t thread;
    uint32_t random;
} soak_driver_t;

void *soak_drive(void *driver);

const char *soak_kind_name(soak_kind_t kind);

#endif
