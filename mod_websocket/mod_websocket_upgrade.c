/* The request: is it a good opening handshake (RFC 6455 4.2), may this page
 * connect, does the handler want it? Then the 101. */
#include "mod_websocket_internal.h"

#include <ap_expr.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>

#include "ws_handshake.h"

APLOG_USE_MODULE(websocket);

#define EXTENSIONS "Sec-WebSocket-Extensions"
#define PROTOCOLS "Sec-WebSocket-Protocol"
#define OPEN_FAILED HTTP_SERVICE_UNAVAILABLE
#define RETRY_AFTER "30"             /* seconds */

/* --- refusals --- */

/* The stream of an HTTP/2 connection: RFC 8441. mod_http2 has made a GET with
 * "Upgrade: websocket" of the client's CONNECT. */
static bool is_stream(const request_rec *r)
{
    return r->connection->master != NULL;
}

/* HTTP/2 has no Upgrade, so no 426 (RFC 9113 8.6): what lacks it was no
 * CONNECT, and what has it is wrong in something else. */
static int refuse_upgrade_of_stream(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Sec-WebSocket-Version", "13");
    return apr_table_get(r->headers_in, "Upgrade") == NULL
               ? HTTP_METHOD_NOT_ALLOWED
               : HTTP_BAD_REQUEST;
}

static int refuse(request_rec *r, int status, const char *why)
{
    apr_table_t *headers = r->err_headers_out;

    if (status == HTTP_UPGRADE_REQUIRED && is_stream(r)) {
        status = refuse_upgrade_of_stream(r);
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "WebSocket handshake refused with %d: %s", status, why);
    if (status == HTTP_METHOD_NOT_ALLOWED) {
        ap_allow_methods(r, REPLACE_ALLOW, is_stream(r) ? "CONNECT" : "GET",
                         NULL);
    }
    if (status == HTTP_UPGRADE_REQUIRED) {  /* RFC 9110 15.5.22 */
        apr_table_setn(headers, "Upgrade", "websocket");
        apr_table_setn(headers, "Connection", "Upgrade");
        apr_table_setn(headers, "Sec-WebSocket-Version", "13");
    }
    return status;
}

static bool has_body(const request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    return apr_table_get(r->headers_in, "Transfer-Encoding") != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

/* A stream has what HTTP/1.1 needs the Connection header for, and always a
 * body of unknown length: the frames. */
static void read_stream_as_http_1(ws_request_head_t *head,
                                  const request_rec *r)
{
    head->http_major = 1;
    head->http_minor = 1;
    head->connection = "Upgrade";
    head->has_body = apr_table_get(r->headers_in, "Content-Length") != NULL;
}

static int check_handshake(request_rec *r)
{
    ws_request_head_t head = {
        .method = r->method,
        .http_major = HTTP_VERSION_MAJOR(r->proto_num),
        .http_minor = HTTP_VERSION_MINOR(r->proto_num),
        .upgrade = apr_table_get(r->headers_in, "Upgrade"),
        .connection = apr_table_get(r->headers_in, "Connection"),
        .key = apr_table_get(r->headers_in, "Sec-WebSocket-Key"),
        .version = apr_table_get(r->headers_in, "Sec-WebSocket-Version"),
        .protocols = apr_table_get(r->headers_in, PROTOCOLS),
        .has_body = has_body(r),
    };
    const char *why = NULL;
    int status;

    if (is_stream(r)) {
        read_stream_as_http_1(&head, r);
    }
    status = ws_handshake_check(&head, &why);
    return status == 0 ? OK : refuse(r, status, why);
}

/* --- the origin --- */

static bool origin_is_allowed(request_rec *r, const mod_websocket_dir_t *dir,
                              const char *origin)
{
    const char *host = apr_table_get(r->headers_in, "Host");
    bool is_tls = ap_ssl_conn_is_ssl(r->connection) != 0;
    int i;

    if (dir->origins == NULL) {
        return ws_origin_is_same(origin, host, is_tls);
    }
    for (i = 0; i < dir->origins->nelts; i++) {
        const char *allowed = APR_ARRAY_IDX(dir->origins, i, const char *);

        if (strcasecmp(allowed, "same") == 0
                ? ws_origin_is_same(origin, host, is_tls)
                : ws_origin_matches(origin, allowed)) {
            return true;
        }
    }
    return dir->origins->nelts == 0;        /* any */
}

/* Against hijacking by a page of another site: RFC 6455 10.2. A request
 * without Origin does not come from a browser's page, and passes. */
static int check_origin(request_rec *r, const mod_websocket_dir_t *dir)
{
    const char *origin = apr_table_get(r->headers_in, "Origin");

    if (origin == NULL || origin_is_allowed(r, dir, origin)) {
        return OK;
    }
    return refuse(r, HTTP_FORBIDDEN,
                  apr_psprintf(r->pool,
                               "origin %s is not allowed for host %s; see "
                               "WebSocketOrigin",
                               origin,
                               apr_table_get(r->headers_in, "Host")));
}

/* --- extensions --- */

/* Of what length is for httpd to say: its LimitRequestFieldSize holds for a
 * header whose lines were joined, too. */
static int check_extensions(request_rec *r)
{
    static const ws_deflate_policy_t any = {WS_WINDOW_BITS_MAX, true,
                                             true};
    const char *offers = apr_table_get(r->headers_in, EXTENSIONS);
    char answer[WS_EXTENSION_ANSWER_SIZE];
    ws_deflate_params_t params;
    const char *why = NULL;

    if (offers == NULL || ws_extension_negotiate(&params, answer, &why, offers,
                                                 &any) == WS_OK) {
        return OK;
    }
    return refuse(r, HTTP_BAD_REQUEST,
                  apr_pstrcat(r->pool, EXTENSIONS, ": ", why, NULL));
}

/* Negotiates compression and reserves the memory for it, or does with less:
 * first without context takeover, then without compression. */
static void agree_on_compression(request_rec *r,
                                 const mod_websocket_dir_t *dir,
                                 ws_promise_t *promise, const char **panswer)
{
    const char *offers = apr_table_get(r->headers_in, EXTENSIONS);
    ws_budget_t *budget = promise->limits->budget;
    char *answer = apr_palloc(r->pool, WS_EXTENSION_ANSWER_SIZE);
    ws_deflate_policy_t policy;
    const char *why;

    if (!mod_websocket_compression(&policy, dir) || offers == NULL ||
        atomic_load(&budget->limit) == 0) {
        return;
    }
    if (ws_budget_is_used_up(budget)) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "WebSocket without compression: "
                      "WebSocketCompressionMemory is used up");
        return;
    }
    *panswer = answer;
    ws_extension_negotiate(&promise->deflate, answer, &why, offers, &policy);
    if (ws_budget_reserve(budget, ws_deflate_cost(&promise->deflate))) {
        return;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "WebSocket without context takeover: too little is left of "
                  "WebSocketCompressionMemory");
    policy.server_takeover = false;
    policy.client_takeover = false;
    ws_extension_negotiate(&promise->deflate, answer, &why, offers, &policy);
}

/* --- the handler --- */

static const char *request_path(void *baton)
{
    const request_rec *r = baton;
    const mod_websocket_dir_t *dir =
        ap_get_module_config(r->per_dir_config, &websocket_module);
    const char *location = dir->location;
    size_t length = location != NULL ? strlen(location) : 0;

    if (length > 0 && strncmp(r->uri, location, length) == 0) {
        return r->uri + length;
    }
    return r->uri;
}

static const char *request_uri(void *baton)
{
    return ((const request_rec *)baton)->uri;
}

static const char *request_query(void *baton)
{
    return ((const request_rec *)baton)->args;
}

static const char *request_header(void *baton, const char *name)
{
    return apr_table_get(((const request_rec *)baton)->headers_in, name);
}

static const char *request_user(void *baton)
{
    return ((const request_rec *)baton)->user;
}

static const char *request_auth_type(void *baton)
{
    return ((const request_rec *)baton)->ap_auth_type;
}

static const char *request_tls(void *baton, const char *name)
{
    request_rec *r = baton;
    const char *value;

    if (!ap_ssl_conn_is_ssl(r->connection)) {
        return NULL;
    }
    value = ap_ssl_var_lookup(r->pool, r->server, r->connection, r, name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static const char *request_env(void *baton, const char *name)
{
    return apr_table_get(((const request_rec *)baton)->subprocess_env, name);
}

static const char *request_expression(void *baton, const char *text)
{
    request_rec *r = baton;
    const char *error = NULL;
    const char *value = NULL;
    ap_expr_info_t info = {.filename = "WebSocketHandler",
                           .flags = AP_EXPR_FLAG_STRING_RESULT |
                                    AP_EXPR_FLAG_DONT_VARY,
                           .module_index = APLOG_MODULE_INDEX};

    error = ap_expr_parse(r->pool, r->pool, &info, text, NULL);
    if (error == NULL) {
        value = ap_expr_str_exec(r, &info, &error);
    }
    if (error != NULL) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "a WebSocket handler's expression \"%s\": %s", text,
                      error);
        return NULL;
    }
    return value;
}

static void *request_httpd(void *baton)
{
    return baton;
}

static const ws_request_ops_t request_ops = {
    .path = request_path,
    .uri = request_uri,
    .query = request_query,
    .header = request_header,
    .user = request_user,
    .auth_type = request_auth_type,
    .tls = request_tls,
    .env = request_env,
    .expression = request_expression,
    .httpd = request_httpd,
};

static void forget(const websocket_request_t *request)
{
    if (request->destroy != NULL) {
        request->destroy(request->data);
    }
}

static int add_header(void *headers, const char *name, const char *value)
{
    apr_table_add(headers, name, value);
    return 1;
}

/* What the handler has added is said with a refusal, too. */
static void add_headers(apr_table_t *headers,
                        const websocket_request_t *request)
{
    if (request->headers != NULL) {
        apr_table_do(add_header, headers, request->headers, NULL);
    }
}

static int ask_handler(request_rec *r, websocket_context_t *context,
                       websocket_request_t *request)
{
    int status = 0;

    if (context->is_broken) {
        return refuse(r, OPEN_FAILED,
                      apr_psprintf(r->pool,
                                   "handler %s could not begin in this "
                                   "process; the error log says why",
                                   context->handler.name));
    }
    if (context->handler.accept != NULL) {
        status = context->handler.accept(context, request);
    }
    if (status == 0) {
        return OK;
    }
    forget(request);
    add_headers(r->err_headers_out, request);
    if (status < 400 || status > 599) {
        return refuse(r, HTTP_INTERNAL_SERVER_ERROR,
                      apr_psprintf(r->pool,
                                   "handler %s answered with %d, which is no "
                                   "status of a refusal",
                                   context->handler.name, status));
    }
    return refuse(r, status,
                  apr_psprintf(r->pool, "by handler %s: %s",
                               context->handler.name,
                               request->refusal != NULL ? request->refusal
                                                        : "no reason given"));
}

/* --- the answer --- */

/* httpd is to write nothing more for this request: what it sends at its end
 * goes past the filters that would make a response of it. */
static void leave_http(request_rec *r)
{
    conn_rec *c = r->connection;

    r->input_filters = c->input_filters;
    r->proto_input_filters = c->input_filters;
    r->output_filters = c->output_filters;
    r->proto_output_filters = c->output_filters;
    c->keepalive = AP_CONN_CLOSE;
}

static void send_101(request_rec *r, const websocket_request_t *request,
                     const char *extensions)
{
    char accept[WS_ACCEPT_LENGTH + 1];
    apr_table_t *headers = r->headers_out;

    ws_handshake_accept(accept,
                        apr_table_get(r->headers_in, "Sec-WebSocket-Key"));
    apr_table_setn(headers, "Upgrade", "websocket");
    apr_table_setn(headers, "Connection", "Upgrade");
    apr_table_set(headers, "Sec-WebSocket-Accept", accept);
    if (request->protocol != NULL) {
        apr_table_setn(headers, PROTOCOLS, request->protocol);
    }
    if (extensions != NULL && *extensions != '\0') {
        apr_table_setn(headers, EXTENSIONS, extensions);
    }
    add_headers(headers, request);
    r->status = HTTP_SWITCHING_PROTOCOLS;
    r->status_line = NULL;
    ap_send_interim_response(r, 1);
    leave_http(r);
}

static const ws_conn_limits_t *limits_of(const mod_websocket_dir_t *dir)
{
    ws_conn_limits_t limits;

    mod_websocket_limits(&limits, dir);
    return mod_websocket_keep_limits(&limits);
}

static int find_seat(request_rec *r, uint32_t *pseat)
{
    const char *why;

    switch (mod_websocket_take_seat(pseat, r)) {
    case WS_OK:
        return OK;
    case WS_EPOLICY:
        why = "WebSocketMaxConnectionsPerClient is reached";
        break;
    case WS_ETOOBIG:
        why = "WebSocketMaxConnections is reached";
        break;
    default:
        why = "the count of connections is broken; restart httpd";
    }
    apr_table_setn(r->err_headers_out, "Retry-After", RETRY_AFTER);
    return refuse(r, OPEN_FAILED, why);
}

/* Is there room for one more? *pstream: what a stream of HTTP/2 needs. */
static int find_room(request_rec *r, mod_websocket_stream_t **pstream)
{
    const char *why = "descriptors run short in this child; see ulimit -n";
    int status = OK;

    if (is_stream(r)) {
        status = mod_websocket_stream_create(pstream, r, &why);
    }
    else if (mod_websocket_is_full(r->connection)) {
        status = OPEN_FAILED;
    }
    if (status == OPEN_FAILED) {
        apr_table_setn(r->err_headers_out, "Retry-After", RETRY_AFTER);
    }
    return status == OK ? OK : refuse(r, status, why);
}

static int upgrade(request_rec *r, const mod_websocket_dir_t *dir)
{
    conn_rec *c = r->connection;
    websocket_request_t request = {.ops = &request_ops,
                                   .baton = r,
                                   .pool = r->pool,
                                   .client = r->useragent_ip};
    ws_promise_t promise = {
        .context = dir->context,
        .logger = mod_websocket_logger(r->server),
        .limits = limits_of(dir),
        .client = apr_pstrdup(c->pool, r->useragent_ip),
    };
    const char *why_not = mod_websocket_cannot_take(c);
    const char *extensions = NULL;
    mod_websocket_stream_t *stream = NULL;
    int status;

    if (why_not != NULL) {
        return refuse(r, HTTP_NOT_IMPLEMENTED, why_not);
    }
    if (promise.limits == NULL) {
        return refuse(r, OPEN_FAILED, "this child serves no WebSockets; the "
                                      "error log says why at its start");
    }
    status = find_seat(r, &promise.seat);
    if (status != OK) {
        return status;
    }
    status = find_room(r, &stream);
    if (status == OK) {
        status = ask_handler(r, dir->context, &request);
    }
    if (status != OK) {
        ws_seats_leave(dir->context->seats, promise.seat);
        if (stream != NULL) {
            mod_websocket_stream_drop(stream);
        }
        return status;
    }
    promise.protocol = request.protocol != NULL
                           ? apr_pstrdup(c->pool, request.protocol)
                           : NULL;
    promise.data = request.data;
    promise.destroy = request.destroy;
    agree_on_compression(r, dir, &promise, &extensions);
    if (stream == NULL) {
        mod_websocket_promise(c, &promise);
    }
    send_101(r, &request, extensions);
    if (stream != NULL) {
        mod_websocket_stream_run(stream, &promise);
    }
    return OK;
}

int mod_websocket_handle(request_rec *r)
{
    const mod_websocket_dir_t *dir =
        ap_get_module_config(r->per_dir_config, &websocket_module);
    int status;

    if (dir->context == NULL || r->main != NULL) {
        return DECLINED;
    }
    status = check_handshake(r);
    if (status == OK) {
        status = check_extensions(r);
    }
    if (status == OK) {
        status = check_origin(r, dir);
    }
    return status == OK ? upgrade(r, dir) : status;
}
