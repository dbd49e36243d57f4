/* What all processes have together: httpd's parent makes it before it forks, and
 * it stays over restarts. */
#include "mod_websocket_internal.h"

#include <ap_mpm.h>
#include <errno.h>
#include <http_core.h>

APLOG_USE_MODULE(websocket);

/* The number is that of the layout, that of the structs that are pointed to
 * included: a restart may load a new version. */
#define SHARED_KEY "mod_websocket_log_4"

/* Readers of the log: every child that the MPM may ever have, those of before
 * a graceful restart too. Each takes a descriptor in every process. */
#define MAX_CHILDREN 512
#define SPARE_SLOTS 16

/* In the process pool. */
static struct {
    ws_seats_t *seats;
    ws_log_t *log;
    apr_size_t asked_size;           /* of the log */
} *shared;

ws_log_t *mod_websocket_log(void)
{
    return shared != NULL ? shared->log : NULL;
}

ws_seats_t *mod_websocket_seats(void)
{
    return shared != NULL ? shared->seats : NULL;
}

bool mod_websocket_totals(ws_log_totals_t *totals)
{
    if (mod_websocket_log() == NULL) {
        return false;
    }
    *totals = ws_log_totals(shared->log);
    return true;
}

static unsigned children_at_once(server_rec *server)
{
    int children = 0;

    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &children);
    if (children < 1 || children > MAX_CHILDREN) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "ServerLimit is %d; only %d children can serve "
                     "WebSockets",
                     children, MAX_CHILDREN);
        children = MAX_CHILDREN;
    }
    return (unsigned)children;
}

static int make_log(server_rec *server)
{
    apr_size_t size = (apr_size_t)mod_websocket_global.log_size;
    unsigned threads = (unsigned)mod_websocket_global.threads;
    unsigned children = children_at_once(server);
    unsigned keepers = mod_websocket_keepers_max(children, threads);
    unsigned slots = (children + keepers) * threads + SPARE_SLOTS;
    ws_status_t status;

    if (!mod_websocket_keepers_create(keepers, children)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "no shared memory for keepers of WebSockets");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (shared->log != NULL) {
        if (shared->asked_size != size) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                         "WebSocketLogSize takes effect when httpd is stopped "
                         "and started, not with a restart");
        }
        return OK;
    }
    status = ws_log_create(&shared->log, size, slots);
    if (status == WS_ENOMEM) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "the shared log of %" APR_SIZE_T_FMT " bytes for "
                     "WebSockets cannot be made; see WebSocketLogSize",
                     size);
    }
    else if (status != WS_OK) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "%u descriptors for WebSockets cannot be had: one for "
                     "each child of ServerLimit, and %u keepers, and thread "
                     "of WebSocketThreads; see ulimit -n",
                     slots, keepers);
    }
    if (status != WS_OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    shared->asked_size = size;
    return OK;
}

static int make_seats(server_rec *server)
{
    uint32_t count = (uint32_t)mod_websocket_global.max_connections;

    if (shared->seats != NULL) {
        if (ws_seats_count(shared->seats) < count) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                         "WebSocketMaxConnections over %u takes effect when "
                         "httpd is stopped and started, not with a restart",
                         ws_seats_count(shared->seats));
        }
        return OK;
    }
    if (ws_seats_create(&shared->seats, count) != WS_OK) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, server,
                     "the shared memory for %u WebSockets cannot be made; see "
                     "WebSocketMaxConnections",
                     count);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static int prepare(server_rec *server)
{
    shared = ap_retained_data_get(SHARED_KEY);
    if (shared == NULL) {
        shared = ap_retained_data_create(SHARED_KEY, sizeof(*shared));
    }
    if (make_log(server) != OK || make_seats(server) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

int mod_websocket_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp, server_rec *server)
{
    bool is_first =
        ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
    int status = OK;

    (void)plog;
    if (mod_websocket_has_handlers()) {
        /* the configuration is read twice */
        status = is_first ? OK : prepare(server);
    }
    if (mod_websocket_has_handlers() && status == OK && !is_first) {
        mod_websocket_config_end(server, shared->seats, pconf,
                                 ptemp);
    }
    if (status == OK && !is_first) {
        mod_websocket_keepers_configure(pconf, server);
    }
    return status;
}
