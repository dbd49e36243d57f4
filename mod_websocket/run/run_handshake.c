/* One request, from its first byte to the 101, or to another answer: the
 * checks are those of mod_websocket_upgrade.c, in the same order. */
#include <apr_strings.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "ws_clock.h"
#include "ws_extension.h"
#include "ws_handshake.h"

#define EXTENSIONS "Sec-WebSocket-Extensions"
#define PROTOCOLS "Sec-WebSocket-Protocol"

#define LINGER_TIME 1000             /* ms for a client to take an answer */

/* Instead of a status: nobody is there to be answered. */
#define GONE (-1)

typedef struct {
    run_host_t *host;
    int fd;
    const char *client;
    const run_identity_t *identity;
    apr_pool_t *pool;
    int64_t until;                   /* ms */
    char *bytes;                     /* RUN_HEAD_MAX */
    size_t length;
    size_t head_length;
    run_request_t request;
    apr_table_t *headers;            /* of the answer */
} handshake_t;

static const char *header(const handshake_t *h, const char *name)
{
    return apr_table_get(h->request.headers, name);
}

/* --- bytes --- */

/* False: the time is over, or the program ends. */
static bool await(const handshake_t *h, short events)
{
    struct pollfd fds[] = {
        {.fd = h->fd, .events = events},
        {.fd = h->host->stop.read_fd, .events = POLLIN},
    };
    int64_t left = h->until - ws_clock_ms();

    return left > 0 && poll(fds, 2, (int)left) > 0 && fds[1].revents == 0;
}

static bool is_to_stop(const handshake_t *h)
{
    struct pollfd fd = {.fd = h->host->stop.read_fd, .events = POLLIN};

    return poll(&fd, 1, 0) > 0;
}

/* Bytes that came; 0: the end; GONE: an error, the end of the time. */
static ssize_t receive(const handshake_t *h, void *data, size_t size)
{
    while (await(h, POLLIN)) {
        ssize_t got = recv(h->fd, data, size, 0);

        if (got >= 0 || (errno != EAGAIN && errno != EINTR)) {
            return got;
        }
    }
    return GONE;
}

static bool send_all(const handshake_t *h, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(h->fd, data, length, MSG_NOSIGNAL);

        if (sent >= 0) {
            data += sent;
            length -= (size_t)sent;
        }
        else if ((errno != EAGAIN && errno != EINTR) || !await(h, POLLOUT)) {
            return false;
        }
    }
    return true;
}

static int refuse(const handshake_t *h, int status, const char *why)
{
    ws_logger_printf(&h->host->logger, WS_LOG_INFO,
                     "[client %s] refused with %d: %s", h->client, status,
                     why);
    return status;
}

static int read_more(handshake_t *h)
{
    ssize_t got = receive(h, h->bytes + h->length, RUN_HEAD_MAX - h->length);

    if (got <= 0) {
        return got < 0 && ws_clock_ms() >= h->until && h->length > 0 &&
                       !is_to_stop(h)
                   ? refuse(h, 408, "the request does not come to its end")
                   : GONE;
    }
    h->length += (size_t)got;
    return 0;
}

static int read_head(handshake_t *h)
{
    const char *why = NULL;
    size_t from = 0;
    int status = 0;
    int end = 0;

    h->until = ws_clock_ms() + RUN_HEAD_TIME;
    while (status == 0 && end == 0) {
        if (h->length == RUN_HEAD_MAX) {
            return refuse(h, 431, "the request's head is too long");
        }
        from = h->length;
        status = read_more(h);
        end = run_http_find_end(&h->head_length, h->bytes, from, h->length);
    }
    if (status == 0 && end < 0) {
        status = refuse(h, 400, "this is not HTTP");
    }
    if (status == 0) {
        status = run_http_parse(&h->request, h->bytes, h->head_length,
                                h->pool, &why);
        status = status == 0 ? 0 : refuse(h, status, why);
    }
    return status;
}

/* --- is it a good one? --- */

static bool has_body(const handshake_t *h)
{
    const char *length = header(h, "Content-Length");

    return header(h, "Transfer-Encoding") != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

static int check_head(const handshake_t *h)
{
    ws_request_head_t head = {
        .method = h->request.method,
        .http_major = h->request.major,
        .http_minor = h->request.minor,
        .upgrade = header(h, "Upgrade"),
        .connection = header(h, "Connection"),
        .key = header(h, "Sec-WebSocket-Key"),
        .version = header(h, "Sec-WebSocket-Version"),
        .protocols = header(h, PROTOCOLS),
        .has_body = has_body(h),
    };
    const char *why = NULL;
    int status = ws_handshake_check(&head, &why);

    return status == 0 ? 0 : refuse(h, status, why);
}

/* Nothing is kept between messages, so no memory has to be reserved. */
static int check_extensions(const handshake_t *h, ws_deflate_params_t *params,
                            char *answer)
{
    static const ws_deflate_policy_t policy = {
        .window_bits = WS_WINDOW_BITS_MAX};
    const char *offers = header(h, EXTENSIONS);
    const char *why = NULL;

    *answer = '\0';
    if (offers == NULL || ws_extension_negotiate(params, answer, &why, offers,
                                                 &policy) == WS_OK) {
        return 0;
    }
    return refuse(h, 400, apr_pstrcat(h->pool, EXTENSIONS, ": ", why, NULL));
}

/* RFC 6455 10.2 */
static int check_origin(const handshake_t *h)
{
    const char *origin = header(h, "Origin");

    if (origin == NULL || h->host->options->any_origin ||
        ws_origin_is_same(origin, header(h, "Host"), false)) {
        return 0;
    }
    return refuse(h, 403,
                  apr_psprintf(h->pool,
                               "origin %s is not allowed for host %s; see "
                               "--origin",
                               origin, header(h, "Host")));
}

/* --- the handler --- */

static int ask_handler(handshake_t *h, websocket_request_t *request)
{
    websocket_context_t *context = h->host->context;
    int status = context->handler.accept != NULL
                     ? context->handler.accept(context, request)
                     : 0;

    if (request->headers != NULL) {
        h->headers = apr_table_overlay(h->pool, h->headers, request->headers);
    }
    if (status == 0) {
        return 0;
    }
    if (request->destroy != NULL) {
        request->destroy(request->data);
    }
    if (status < 400 || status > 599) {
        return refuse(h, 500,
                      apr_psprintf(h->pool,
                                   "handler %s answered with %d, which is no "
                                   "status of a refusal",
                                   context->handler.name, status));
    }
    return refuse(h, status,
                  apr_psprintf(h->pool, "by handler %s: %s",
                               context->handler.name,
                               request->refusal != NULL ? request->refusal
                                                        : "no reason given"));
}

/* --- answers --- */

/* The client is to see the answer before the end, and the end before a reset:
 * that would take the answer away. */
static void linger(handshake_t *h)
{
    char bytes[4096];

    h->until = ws_clock_ms() + LINGER_TIME;
    shutdown(h->fd, SHUT_WR);
    while (receive(h, bytes, sizeof(bytes)) > 0) {
        continue;
    }
}

static void answer(handshake_t *h, int status, const char *type,
                   const char *body)
{
    bool is_head = h->request.method != NULL &&
                   strcmp(h->request.method, "HEAD") == 0;
    const char *head;

    apr_table_setn(h->headers, "Content-Type", type);
    apr_table_setn(h->headers, "Content-Length",
                   apr_psprintf(h->pool, "%" APR_SIZE_T_FMT, strlen(body)));
    apr_table_mergen(h->headers, "Connection", "close");
    head = run_http_answer(status, h->headers, h->pool);
    h->until = ws_clock_ms() + LINGER_TIME;
    if (send_all(h, head, strlen(head)) &&
        (is_head || send_all(h, body, strlen(body)))) {
        linger(h);
    }
}

static void answer_refusal(handshake_t *h, int status)
{
    if (status == 405) {
        apr_table_setn(h->headers, "Allow", "GET");
    }
    if (status == 426) {                    /* RFC 9110 15.5.22 */
        apr_table_setn(h->headers, "Upgrade", "websocket");
        apr_table_setn(h->headers, "Connection", "Upgrade");
        apr_table_setn(h->headers, "Sec-WebSocket-Version", "13");
    }
    answer(h, status, "text/plain",
           apr_psprintf(h->pool, "%d %s\n", status, run_http_reason(status)));
}

/* A browser that was led here by hand. */
static bool wants_page(const handshake_t *h)
{
    const char *types = header(h, "Accept");

    return strcmp(h->request.method, "GET") == 0 &&
           header(h, "Upgrade") == NULL && types != NULL &&
           strstr(types, "text/html") != NULL;
}

/* The page needs no more than is in it, and its own server. */
static void answer_page(handshake_t *h)
{
    apr_table_setn(h->headers, "Content-Security-Policy",
                   "default-src 'none'; style-src 'unsafe-inline'; "
                   "script-src 'unsafe-inline'; connect-src ws: wss:");
    apr_table_setn(h->headers, "Cache-Control", "no-store");
    answer(h, 200, "text/html; charset=utf-8", run_page);
}

static bool send_101(handshake_t *h, const char *protocol,
                     const char *extensions)
{
    char accept[WS_ACCEPT_LENGTH + 1];
    const char *head;

    ws_handshake_accept(accept, header(h, "Sec-WebSocket-Key"));
    apr_table_setn(h->headers, "Upgrade", "websocket");
    apr_table_setn(h->headers, "Connection", "Upgrade");
    apr_table_setn(h->headers, "Sec-WebSocket-Accept", accept);
    if (protocol != NULL) {
        apr_table_setn(h->headers, PROTOCOLS, protocol);
    }
    if (*extensions != '\0') {
        apr_table_setn(h->headers, EXTENSIONS, extensions);
    }
    head = run_http_answer(101, h->headers, h->pool);
    h->until = ws_clock_ms() + LINGER_TIME;
    return send_all(h, head, strlen(head));
}

/* --- the connection --- */

/* What came behind the request, to be freed by a ws_websocket_create(). */
static uint8_t *copy_early(const handshake_t *h, size_t length)
{
    uint8_t *early = length > 0 ? malloc(length) : NULL;

    if (early != NULL) {
        memcpy(early, h->bytes + h->head_length, length);
    }
    return early;
}

static ws_worker_t *next_worker(run_host_t *host)
{
    return host->workers[atomic_fetch_add(&host->next_worker, 1) %
                         host->process.worker_count];
}

static void hand_over(handshake_t *h, const ws_promise_t *promise)
{
    size_t length = h->length - h->head_length;
    uint8_t *early = copy_early(h, length);
    websocket_t *ws = NULL;
    ws_io_t io;

    if (length > 0 && early == NULL) {
        ws_promise_drop(promise);
        return;
    }
    ws_io_init_fd(&io, h->fd);
    h->fd = -1;
    ws = ws_websocket_create(promise, &io, early, length);
    if (ws != NULL) {
        ws_websocket_post(ws, next_worker(h->host));
    }
}

static int upgrade(handshake_t *h, const char *path)
{
    char extensions[WS_EXTENSION_ANSWER_SIZE];
    run_question_t question = {
        .request = &h->request, .identity = h->identity, .path = path};
    websocket_request_t request = {.ops = &run_request_ops,
                                   .baton = &question,
                                   .pool = h->pool,
                                   .client = h->client};
    ws_promise_t promise = {.context = h->host->context,
                            .logger = &h->host->logger,
                            .limits = &h->host->limits,
                            .seat = WS_SEAT_NONE,
                            .client = h->client};
    int status = check_extensions(h, &promise.deflate, extensions);

    if (status == 0) {
        status = check_origin(h);
    }
    if (status == 0) {
        status = ask_handler(h, &request);
    }
    if (status != 0) {
        return status;
    }
    promise.protocol = request.protocol;
    promise.data = request.data;
    promise.destroy = request.destroy;
    if (send_101(h, request.protocol, extensions)) {
        hand_over(h, &promise);
    }
    else {
        ws_promise_drop(&promise);
    }
    return 0;
}

static int answer_request(handshake_t *h)
{
    const char *path =
        run_request_below(h->request.path, h->host->options->location);
    int status;

    if (path == NULL) {
        return refuse(h, 404,
                      apr_pstrcat(h->pool, "the path is not below ",
                                  h->host->options->location, NULL));
    }
    if (wants_page(h)) {
        answer_page(h);
        return 0;
    }
    status = check_head(h);
    return status == 0 ? upgrade(h, path) : status;
}

static void serve(handshake_t *h)
{
    int status;

    h->bytes = apr_palloc(h->pool, RUN_HEAD_MAX);
    h->headers = apr_table_make(h->pool, 8);
    status = read_head(h);
    if (status == 0) {
        status = answer_request(h);
    }
    if (status > 0) {
        answer_refusal(h, status);
    }
}

void run_handshake(run_host_t *host, int fd, const char *client,
                   const run_identity_t *identity)
{
    handshake_t h = {
        .host = host, .fd = fd, .client = client, .identity = identity};

    if (apr_pool_create(&h.pool, NULL) == APR_SUCCESS) {
        serve(&h);
        apr_pool_destroy(h.pool);
    }
    if (h.fd >= 0) {
        close(h.fd);
    }
}
