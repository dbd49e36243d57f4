/* The connection: taking the socket, and the TLS session, out of httpd.
 * docs/ARCHITECTURE.md tells the whole story. */
#include "mod_websocket_internal.h"

#include <apr_portable.h>
#include <errno.h>
#include <fcntl.h>
#include <http_core.h>
#include <http_ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <util_filter.h>

APLOG_USE_MODULE(websocket);

#define READ_SIZE 8192               /* what httpd's core reads at a time */

/* Ours of each connection that a client opened. Lives in c->pool. */
typedef struct {
    conn_rec *c;
    SSL *ssl;                        /* mod_ssl's; NULL: plain */
    _Atomic unsigned streams;        /* of HTTP/2 with a WebSocket */
    bool is_promised;
    ws_promise_t promise;

    /* once taken */
    bool is_taken;
    int fd;                          /* ours */
    uint8_t *early;                  /* what came behind the request */
    size_t early_length;
} record_t;

static record_t *record_of(conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &websocket_module);
}

int mod_websocket_remember_ssl(conn_rec *c, SSL *ssl, int is_proxy)
{
    record_t *record = is_proxy ? NULL : record_of(c);

    if (record != NULL) {
        record->ssl = ssl;
    }
    return OK;
}

const char *mod_websocket_cannot_take(conn_rec *c)
{
    const record_t *record = record_of(c);

    if (c->master != NULL) {
        return mod_websocket_cannot_pump(c);
    }
    if (record == NULL) {
        return "the connection was not accepted by httpd";
    }
    if (ap_ssl_conn_is_ssl(c) && record->ssl == NULL) {
        return "TLS is not done by mod_ssl";
    }
    return NULL;
}

_Atomic unsigned *mod_websocket_streams_of(conn_rec *master)
{
    record_t *record = record_of(master);

    return record != NULL ? &record->streams : NULL;
}

void mod_websocket_promise(conn_rec *c, const ws_promise_t *promise)
{
    record_t *record = record_of(c);

    record->promise = *promise;
    record->is_promised = true;
}

/* --- httpd is finished with the connection, but still has it --- */

/* Puts another descriptor in the place of the connection's, on which there is
 * nothing to read, and returns the connection's; -1: it cannot. */
static int swap_descriptor(conn_rec *c)
{
    apr_socket_t *socket_of_c = ap_get_conn_socket(c);
    int idle;
    int fd;

    if (socket_of_c == NULL ||
        apr_os_sock_get(&fd, socket_of_c) != APR_SUCCESS || fd < 0) {
        return -1;                          /* closed by a hard stop */
    }
    idle = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (idle < 0) {
        return -1;
    }
    apr_os_sock_put(&socket_of_c, &idle, c->pool);
    return fd;
}

static bool append(record_t *record, const char *data, size_t length)
{
    uint8_t *grown;

    if (length == 0) {
        return true;
    }
    grown = realloc(record->early, record->early_length + length);
    if (grown == NULL) {
        return false;
    }
    memcpy(grown + record->early_length, data, length);
    record->early = grown;
    record->early_length += length;
    return true;
}

static bool append_brigade(record_t *record, apr_bucket_brigade *brigade)
{
    apr_bucket *bucket;

    for (bucket = APR_BRIGADE_FIRST(brigade);
         bucket != APR_BRIGADE_SENTINEL(brigade);
         bucket = APR_BUCKET_NEXT(bucket)) {
        const char *data;
        apr_size_t length;

        if (APR_BUCKET_IS_METADATA(bucket)) {
            continue;
        }
        if (apr_bucket_read(bucket, &data, &length, APR_NONBLOCK_READ) !=
                APR_SUCCESS ||
            !append(record, data, length)) {
            return false;
        }
    }
    return true;
}

/* A client may send frames right behind its request. They lie in httpd's
 * filters by now, decrypted. As the descriptor was swapped the filters hold
 * all that there will ever be: this ends. */
static bool drain_filters(record_t *record)
{
    conn_rec *c = record->c;
    apr_bucket_brigade *brigade =
        apr_brigade_create(c->pool, c->bucket_alloc);
    bool is_good = true;

    while (is_good && ap_get_brigade(c->input_filters, brigade,
                                     AP_MODE_READBYTES, APR_NONBLOCK_READ,
                                     READ_SIZE) == APR_SUCCESS &&
           !APR_BRIGADE_EMPTY(brigade)) {
        is_good = append_brigade(record, brigade);
        apr_brigade_cleanup(brigade);
    }
    return is_good;
}

static void take_descriptor(record_t *record)
{
    conn_rec *c = record->c;

    if (c->aborted) {
        return;                             /* the client has gone */
    }
    record->fd = swap_descriptor(c);
    if (record->fd < 0) {
        ap_log_cerror(APLOG_MARK, APLOG_ERR, errno, c,
                      "WebSocket dropped: no descriptor to be had");
        return;
    }
    record->is_taken = drain_filters(record);
    if (!record->is_taken) {
        ap_log_cerror(APLOG_MARK, APLOG_ERR, 0, c,
                      "WebSocket dropped: out of memory");
        close(record->fd);
        return;
    }
    if (record->ssl != NULL) {
        SSL_up_ref(record->ssl);
    }
}

int mod_websocket_take(conn_rec *c)
{
    record_t *record = record_of(c);

    if (record == NULL || !record->is_promised || record->is_taken) {
        return OK;
    }
    take_descriptor(record);
    /* httpd now closes at once: no close_notify, no lingering */
    c->aborted = 1;
    return OK;
}

/* --- httpd has let go of the connection --- */

/* mod_ssl's callbacks and data are of a connection that is no more. */
static void detach_from_mod_ssl(SSL *ssl)
{
    SSL_set_info_callback(ssl, NULL);
    SSL_set_msg_callback(ssl, NULL);
    SSL_set_app_data(ssl, NULL);
}

static bool init_io(ws_io_t *io, const record_t *record)
{
    fcntl(record->fd, F_SETFL, fcntl(record->fd, F_GETFL) | O_NONBLOCK);
    fcntl(record->fd, F_SETFD, FD_CLOEXEC);
    if (record->ssl == NULL) {
        ws_io_init_fd(io, record->fd);
        return true;
    }
    detach_from_mod_ssl(record->ssl);
    if (ws_io_init_tls(io, record->fd, record->ssl) == WS_OK) {
        return true;
    }
    SSL_free(record->ssl);
    close(record->fd);
    return false;
}

static void forget(record_t *record)
{
    free(record->early);
    ws_promise_drop(&record->promise);
}

void mod_websocket_deliver(const ws_promise_t *promise, const ws_io_t *io,
                           uint8_t *early, size_t early_length)
{
    websocket_t *ws =
        ws_websocket_create(promise, io, early, early_length);

    if (ws != NULL) {
        mod_websocket_post(ws);
    }
}

static apr_status_t hand_over(void *baton)
{
    record_t *record = baton;
    ws_io_t io;

    if (!record->is_promised) {
        return APR_SUCCESS;
    }
    if (!record->is_taken) {
        forget(record);
        return APR_SUCCESS;
    }
    if (!init_io(&io, record)) {
        ws_logger_printf(record->promise.logger, WS_LOG_ERROR,
                         "[client %s] WebSocket dropped: out of memory",
                         record->promise.client);
        forget(record);
        return APR_SUCCESS;
    }
    mod_websocket_deliver(&record->promise, &io, record->early,
                          record->early_length);
    return APR_SUCCESS;
}

int mod_websocket_watch_connection(conn_rec *c, void *csd)
{
    record_t *record;

    (void)csd;
    if (c->master != NULL || c->outgoing) {
        return DECLINED;
    }
    record = apr_pcalloc(c->pool, sizeof(*record));
    record->c = c;
    record->fd = -1;
    ap_set_module_config(c->conn_config, &websocket_module, record);
    apr_pool_cleanup_register(c->pool, record, hand_over,
                              apr_pool_cleanup_null);
    return DECLINED;
}
