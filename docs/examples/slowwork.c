/* slowwork: counts the primes below a number, which takes its time.
 *
 *     WebSocketHandler /path/to/slowwork.so most=5000000
 *
 * Text messages: a number, which is answered with how many primes are below it;
 * "cancel". A client may have one job at a time.
 *
 * In the loop a second of this would stop all of its other connections for a
 * second. websocket_offload() has it done in a thread of a pool, which
 * WebSocketOffload limits. Waiting for a data base, or for a disk, would look
 * the same.
 *
 * To be seen here: offload; who owns a job, and until when; what becomes of it
 * if the client goes away. */
#include <inttypes.h>
#include <mod_websocket.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the thread works on is all in here: it may not look at the connection.
 * The connection has it as its data, to be able to cancel it, and the offload
 * has it until count_done() is called, which is always, once. Either may end
 * first; if the process ends, in different threads. */
typedef struct {
    atomic_int holders;
    atomic_bool is_cancelled;
    int64_t below;
    int64_t primes;
    websocket_context_t *context;    /* stays as long as the process */
} job_t;

static const websocket_option_t options[] = {
    {"most", WEBSOCKET_INTEGER, "5000000", 1, INT64_MAX,
     "the largest number that a client may send"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static void release(void *data)
{
    job_t *job = data;

    if (atomic_fetch_sub(&job->holders, 1) == 1) {
        free(job);
    }
}

static int is_prime(int64_t number)
{
    int64_t i;

    for (i = 2; i <= number / i; i++) {
        if (number % i == 0) {
            return 0;
        }
    }
    return 1;
}

/* In a thread of the pool. It looks now and then whether it is still wanted: a
 * process of httpd that is to end waits for it some seconds only, and a client
 * that goes away must not leave work behind. */
static void count(void *baton)
{
    job_t *job = baton;
    int64_t number;

    for (number = 2; number < job->below; number++) {
        if (atomic_load_explicit(&job->is_cancelled, memory_order_relaxed)) {
            return;
        }
        job->primes += is_prime(number);
    }
}

static void say(websocket_t *ws, const char *text)
{
    websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
}

/* In the loop again; but if the connection is over there is none, and no ws. */
static void count_done(websocket_t *ws, void *baton)
{
    job_t *job = baton;
    char text[24];

    if (ws == NULL) {
        websocket_context_log(job->context, WEBSOCKET_LOG_INFO,
                              "nobody waits for the primes below %" PRId64,
                              job->below);
    }
    else {
        snprintf(text, sizeof(text), "%" PRId64, job->primes);
        say(ws, atomic_load(&job->is_cancelled) ? "cancelled" : text);
        websocket_set_data(ws, NULL, NULL); /* releases what was set */
    }
    release(job);
}

/* Where an offload is refused nothing is called: all is still ours. */
static void begin(websocket_t *ws, int64_t below)
{
    job_t *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        say(ws, "error: out of memory");
        return;
    }
    atomic_init(&job->holders, 2);
    job->below = below;
    job->context = websocket_context(ws);
    if (websocket_offload(ws, count, count_done, job) != 0) {
        say(ws, "error: too much to do, try again later");
        free(job);
        return;
    }
    websocket_set_data(ws, job, release);
}

/* The number that the text is; -1: it is none. Nothing ends it, so it is
 * copied. */
static int64_t parse(const void *data, size_t length)
{
    char text[20];

    if (length == 0 || length >= sizeof(text)) {
        return -1;
    }
    memcpy(text, data, length);
    text[length] = '\0';
    return strspn(text, "0123456789") == length ? strtoll(text, NULL, 10) : -1;
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    job_t *job = websocket_data(ws);
    int64_t below = parse(data, length);

    (void)type;
    if (length == strlen("cancel") && memcmp(data, "cancel", length) == 0) {
        if (job != NULL) {
            atomic_store(&job->is_cancelled, 1);
        }
    }
    else if (below < 0 ||
             below > websocket_option_number(websocket_context(ws), "most")) {
        say(ws, "error: that is no number, or too large");
    }
    else if (job != NULL) {
        say(ws, "error: one at a time");
    }
    else {
        begin(ws, below);
    }
}

/* The client has gone, or has to: nobody will read the result. */
static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    job_t *job = websocket_data(ws);

    (void)code;
    (void)reason;
    (void)length;
    if (job != NULL) {
        atomic_store(&job->is_cancelled, 1);
    }
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "slowwork",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .message = message,
    .close = closed,
};
