/* The stream of HTTP/2 (RFC 8441): its thread becomes a byte pump between
 * httpd's filters and a socket pair, whose other end is an ordinary connection
 * of a loop. docs/ARCHITECTURE.md says why. */
#include "mod_websocket_internal.h"

#include <ap_mmn.h>

APLOG_USE_MODULE(websocket);

/* ap_get_pollfd_from_conn() is there: httpd 2.4.58 */
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 129)

#include <ap_mpm.h>
#include <apr_optional.h>
#include <apr_portable.h>
#include <errno.h>
#include <http_core.h>
#include <mod_http2.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <util_filter.h>

#define READ_SIZE 16384              /* bytes of one read, in each direction */
#define READS_AT_ONCE 8              /* then output has its turn */
#define ABORT_CHECK 1000             /* ms: see wait_for_both() */

/* Of the 6 streams that mod_http2 lets a new connection process at once. Those
 * above wait, and so would the pages of a browser. */
#define STREAMS_PER_CONNECTION 3

/* Lives in the request's pool. */
struct mod_websocket_stream {
    request_rec *r;
    conn_rec *c;
    _Atomic unsigned *connection_streams;
    int fd;                          /* our end of the pair */
    int loop_fd;                     /* the loop's; -1: it has it */
    int input_fd;                    /* readable when the filters have input;
                                      * httpd's. -1: there will be none */
    apr_bucket_brigade *input;       /* read, but not yet with the loop */
    apr_bucket_brigade *output;
    bool request_ended;              /* the first EOS was the request's */
    bool input_ended;                /* END_STREAM came */
    bool output_ended;               /* the loop has ended its side */
    bool input_waits;                /* the filters may have more */
    const char *why;                 /* it ended otherwise; for the log */
};

typedef struct mod_websocket_stream stream_t;

/* Streams that this child serves. */
static _Atomic unsigned child_streams;
static _Atomic bool is_limit_told;

/* After our END_STREAM it does not matter which way the client ends. */
static bool end_because(stream_t *stream, const char *why)
{
    stream->why = stream->output_ended ? NULL : why;
    return false;
}

/* --- before the 101 --- */

static bool find_input_fd(int *pfd, conn_rec *c)
{
    apr_pollfd_t pollfd = {.desc_type = APR_NO_DESC};

    *pfd = -1;
    if (ap_get_pollfd_from_conn(c, &pollfd, NULL) != APR_SUCCESS) {
        return false;
    }
    switch (pollfd.desc_type) {
    case APR_POLL_FILE:
        return apr_os_file_get(pfd, pollfd.desc.f) == APR_SUCCESS;
    case APR_POLL_SOCKET:
        return apr_os_sock_get(pfd, pollfd.desc.s) == APR_SUCCESS;
    default:
        return true;
    }
}

const char *mod_websocket_cannot_pump(conn_rec *c)
{
    int fd;

    return find_input_fd(&fd, c) ? NULL : "httpd cannot wait for this stream";
}

/* A stream holds a thread of mod_http2, and its connection one of the MPM, as
 * long as it is open. The other half is for everything else. */
static unsigned child_limit(server_rec *server)
{
    APR_OPTIONAL_FN_TYPE(http2_get_num_workers) *get_workers =
        APR_RETRIEVE_OPTIONAL_FN(http2_get_num_workers);
    int threads = 0;
    int least = 0;
    int most = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    if (get_workers != NULL) {
        get_workers(server, &least, &most);
    }
    if (most > 0 && most < threads) {
        threads = most;
    }
    return threads > 0 ? (unsigned)threads / 2 : 0;
}

/* Has the stream reset with HTTP_1_1_REQUIRED: browsers then come again with
 * HTTP/1.1, where a WebSocket holds no thread. The note is what mod_ssl tells
 * mod_http2 when it needs a renegotiation. */
static int ask_for_http_1(request_rec *r)
{
    apr_table_setn(r->notes, "ssl-renegotiate-forbidden", "websocket");
    return HTTP_FORBIDDEN;
}

static void tell_limit(server_rec *server, unsigned limit)
{
    if (!atomic_exchange(&is_limit_told, true)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "new WebSockets over HTTP/2 are told to use HTTP/1.1 "
                     "while this child serves %u; see ThreadsPerChild and "
                     "H2MaxWorkers",
                     limit);
    }
}

static bool is_one_too_many(stream_t *stream, const char **pwhy)
{
    server_rec *server = stream->r->server;
    unsigned limit = child_limit(server);

    if (atomic_fetch_add(stream->connection_streams, 1) >=
        STREAMS_PER_CONNECTION) {
        *pwhy = "the connection's other streams need room; HTTP/1.1 required";
    }
    if (atomic_fetch_add(&child_streams, 1) >= limit) {
        *pwhy = "this child's other requests need threads; HTTP/1.1 required";
        tell_limit(server, limit);
    }
    return *pwhy != NULL;
}

static apr_status_t release(void *baton)
{
    stream_t *stream = baton;

    if (stream->fd >= 0) {
        close(stream->fd);
    }
    if (stream->loop_fd >= 0) {
        close(stream->loop_fd);
    }
    atomic_fetch_sub(stream->connection_streams, 1);
    atomic_fetch_sub(&child_streams, 1);
    return APR_SUCCESS;
}

static bool make_pair(stream_t *stream)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   pair) != 0) {
        return false;
    }
    stream->fd = pair[0];
    stream->loop_fd = pair[1];
    return !mod_websocket_is_full_at(pair[0]) &&
           !mod_websocket_is_full_at(pair[1]);
}

int mod_websocket_stream_create(mod_websocket_stream_t **pstream,
                                request_rec *r, const char **pwhy)
{
    conn_rec *c = r->connection;
    _Atomic unsigned *streams = mod_websocket_streams_of(c->master);
    stream_t *stream = apr_pcalloc(r->pool, sizeof(*stream));

    *pwhy = NULL;
    if (streams == NULL || !find_input_fd(&stream->input_fd, c)) {
        *pwhy = "the stream has no connection";
        return HTTP_NOT_IMPLEMENTED;
    }
    stream->r = r;
    stream->c = c;
    stream->connection_streams = streams;
    stream->fd = -1;
    stream->loop_fd = -1;
    apr_pool_cleanup_register(r->pool, stream, release, apr_pool_cleanup_null);
    if (is_one_too_many(stream, pwhy)) {
        apr_pool_cleanup_run(r->pool, stream, release);
        return ask_for_http_1(r);
    }
    if (!make_pair(stream)) {
        apr_pool_cleanup_run(r->pool, stream, release);
        *pwhy = "descriptors run short in this child; see ulimit -n";
        return HTTP_SERVICE_UNAVAILABLE;
    }
    stream->input = apr_brigade_create(r->pool, c->bucket_alloc);
    stream->output = apr_brigade_create(r->pool, c->bucket_alloc);
    *pstream = stream;
    return OK;
}

void mod_websocket_stream_drop(mod_websocket_stream_t *stream)
{
    apr_pool_cleanup_run(stream->r->pool, stream, release);
}

/* --- from the client to the loop --- */

/* The end of the stream is the end of TCP: RFC 8441 5. */
static void end_input(stream_t *stream)
{
    stream->input_ended = true;
    shutdown(stream->fd, SHUT_WR);
}

/* The first EOS ends the request, which has no body; the second the stream. */
static void take_metadata(stream_t *stream, const apr_bucket *bucket)
{
    if (!APR_BUCKET_IS_EOS(bucket)) {
        return;
    }
    if (stream->request_ended) {
        end_input(stream);
    }
    stream->request_ended = true;
}

/* WS_AGAIN: the loop takes no more now. */
static ws_status_t write_data(stream_t *stream, apr_bucket *bucket)
{
    const char *data;
    apr_size_t length;
    ssize_t sent = 0;

    if (apr_bucket_read(bucket, &data, &length, APR_BLOCK_READ) !=
        APR_SUCCESS) {
        return WS_EIO;
    }
    if (length > 0) {
        sent = send(stream->fd, data, length, MSG_NOSIGNAL);
    }
    if (sent < 0) {
        return errno == EAGAIN || errno == EINTR ? WS_AGAIN : WS_EIO;
    }
    if ((apr_size_t)sent < length) {
        apr_bucket_split(bucket, (apr_size_t)sent);
    }
    apr_bucket_delete(bucket);
    return WS_OK;
}

static ws_status_t write_bucket(stream_t *stream, apr_bucket *bucket)
{
    if (!APR_BUCKET_IS_METADATA(bucket)) {
        return write_data(stream, bucket);
    }
    take_metadata(stream, bucket);
    apr_bucket_delete(bucket);
    return WS_OK;
}

static ws_status_t write_input(stream_t *stream)
{
    ws_status_t status = WS_OK;

    while (status == WS_OK && !APR_BRIGADE_EMPTY(stream->input)) {
        status = write_bucket(stream, APR_BRIGADE_FIRST(stream->input));
    }
    return status;
}

/* The loop has dropped the WebSocket. What it has written before goes out. */
static void drop_input(stream_t *stream)
{
    apr_brigade_cleanup(stream->input);
    end_input(stream);
}

/* WS_AGAIN: the client has sent nothing more. */
static ws_status_t read_input(stream_t *stream)
{
    apr_status_t status =
        ap_get_brigade(stream->c->input_filters, stream->input,
                       AP_MODE_READBYTES, APR_NONBLOCK_READ, READ_SIZE);

    if (APR_STATUS_IS_EOF(status)) {
        end_input(stream);
        return WS_OK;
    }
    if (APR_STATUS_IS_EAGAIN(status) ||
        (status == APR_SUCCESS && APR_BRIGADE_EMPTY(stream->input))) {
        return WS_AGAIN;
    }
    return status == APR_SUCCESS ? WS_OK : WS_EIO;
}

/* Until there is no more, or the loop takes no more: what is then left in the
 * filters keeps the client's window small. */
static bool pump_input(stream_t *stream)
{
    ws_status_t status = WS_OK;
    int reads = 0;

    while (status == WS_OK && !stream->input_ended &&
           reads < READS_AT_ONCE) {
        status = write_input(stream);
        if (status == WS_EIO) {
            drop_input(stream);
            return true;
        }
        if (status == WS_OK && !stream->input_ended) {
            status = read_input(stream);
            reads++;
        }
    }
    stream->input_waits = status == WS_OK && !stream->input_ended;
    return status != WS_EIO || end_because(stream, "the client is gone");
}

/* --- from the loop to the client --- */

/* Waits while the client takes nothing, for as long as H2StreamTimeout or
 * Timeout says. */
static bool pass_output(stream_t *stream)
{
    conn_rec *c = stream->c;
    apr_status_t status;

    APR_BRIGADE_INSERT_TAIL(stream->output,
                            apr_bucket_flush_create(c->bucket_alloc));
    status = ap_pass_brigade(c->output_filters, stream->output);
    apr_brigade_cleanup(stream->output);
    return status == APR_SUCCESS ||
           end_because(stream, "the client is gone, or takes nothing");
}

static bool end_output(stream_t *stream)
{
    stream->r->eos_sent = 1;                /* httpd sends no second one */
    APR_BRIGADE_INSERT_TAIL(stream->output,
                            apr_bucket_eos_create(stream->c->bucket_alloc));
    stream->output_ended = pass_output(stream);
    return stream->output_ended;
}

static bool pump_output(stream_t *stream)
{
    char data[READ_SIZE];
    ssize_t count = recv(stream->fd, data, sizeof(data), 0);

    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (count <= 0) {
        return end_output(stream);
    }
    APR_BRIGADE_INSERT_TAIL(
        stream->output,
        apr_bucket_heap_create(data, (apr_size_t)count, NULL,
                               stream->c->bucket_alloc));
    return pass_output(stream);
}

/* --- both --- */

/* While the loop takes no more there is nothing to wait for on the other side,
 * where a reset would show: look for one now and then. */
static bool wait_for_both(stream_t *stream, struct pollfd pollfds[2])
{
    bool is_blocked = !APR_BRIGADE_EMPTY(stream->input);
    int timeout;

    pollfds[0].fd = stream->fd;
    pollfds[0].events = (short)((stream->output_ended ? 0 : POLLIN) |
                                (is_blocked ? POLLOUT : 0));
    pollfds[1].fd =
        is_blocked || stream->input_ended ? -1 : stream->input_fd;
    pollfds[1].events = POLLIN;
    timeout = pollfds[1].fd < 0 ? ABORT_CHECK : -1;
    if (poll(pollfds, 2, stream->input_waits ? 0 : timeout) < 0) {
        pollfds[0].revents = 0;
        pollfds[1].revents = 0;
        return errno == EINTR || end_because(stream, "poll failed");
    }
    return !stream->c->aborted || end_because(stream, "the client is gone");
}

static bool pump_once(stream_t *stream)
{
    struct pollfd pollfds[2];

    if (!wait_for_both(stream, pollfds)) {
        return false;
    }
    if ((pollfds[0].revents & POLLOUT) != 0 || pollfds[1].revents != 0 ||
        stream->input_waits) {
        if (!pump_input(stream)) {
            return false;
        }
    }
    if ((pollfds[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) {
        return true;
    }
    if (stream->output_ended) {
        return end_because(stream, "the WebSocket was dropped");
    }
    return pump_output(stream);
}

static void pump(stream_t *stream)
{
    bool goes_on = pump_input(stream);

    while (goes_on && !(stream->input_ended && stream->output_ended)) {
        goes_on = pump_once(stream);
    }
}

/* mod_reqtimeout takes what comes for the request's body, and the time limits
 * of bodies are set by default. */
static void lift_time_limit(stream_t *stream)
{
    request_rec *r = stream->r;

    ap_remove_input_filter_byhandle(stream->c->input_filters, "reqtimeout");
    r->input_filters = stream->c->input_filters;
    r->proto_input_filters = stream->c->input_filters;
}

void mod_websocket_stream_run(mod_websocket_stream_t *stream,
                              const ws_promise_t *promise)
{
    ws_promise_t bound = *promise;
    ws_io_t io;

    lift_time_limit(stream);
    ws_io_init_fd(&io, stream->loop_fd);
    stream->loop_fd = -1;
    bound.is_bound = true;                  /* to this thread */
    mod_websocket_deliver(&bound, &io, NULL, 0);
    pump(stream);
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, stream->r,
                  "stream of HTTP/2 ended: %s",
                  stream->why != NULL ? stream->why : "by both sides");
    mod_websocket_stream_drop(stream);
}

#else

const char *mod_websocket_cannot_pump(conn_rec *c)
{
    (void)c;
    return "a WebSocket over HTTP/2 needs httpd 2.4.58";
}

int mod_websocket_stream_create(mod_websocket_stream_t **pstream,
                                request_rec *r, const char **pwhy)
{
    (void)pstream;
    *pwhy = mod_websocket_cannot_pump(r->connection);
    return HTTP_NOT_IMPLEMENTED;
}

void mod_websocket_stream_drop(mod_websocket_stream_t *stream)
{
    (void)stream;
}

void mod_websocket_stream_run(mod_websocket_stream_t *stream,
                              const ws_promise_t *promise)
{
    (void)stream;
    (void)promise;
}

#endif
