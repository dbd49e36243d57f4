/* A section of mod_status's page: /server-status, and ?auto for programs. */
#include "mod_websocket_internal.h"

#include <http_protocol.h>
#include <mod_status.h>

static void show_lines(request_rec *r, const ws_log_totals_t *totals)
{
    ap_rprintf(r,
               "WebSockets: %" APR_UINT64_T_FMT "\n"
               "WebSocketCompressionMemory: %" APR_UINT64_T_FMT "\n"
               "WebSocketCompressionMemoryLimit: %" APR_UINT64_T_FMT "\n"
               "WebSocketCompressionUsedUp: %u\n"
               "WebSocketSendMemory: %" APR_UINT64_T_FMT "\n"
               "WebSocketSendMemoryLimit: %" APR_INT64_T_FMT "\n"
               "WebSocketKeepers: %u\n",
               totals->connections, totals->compression,
               totals->compression_limit, totals->used_up, totals->sending,
               mod_websocket_global.send_memory, mod_websocket_keepers());
}

static void show_page(request_rec *r, const ws_log_totals_t *totals)
{
    ap_rprintf(r,
               "<hr />\n<h2>WebSockets</h2>\n<dl>\n"
               "<dt>%" APR_UINT64_T_FMT " open</dt>\n"
               "<dt>Keepers of ended children: %u</dt>\n"
               "<dt>Waiting to be sent: %" APR_UINT64_T_FMT
               " kB in all; each process may hold %" APR_INT64_T_FMT
               " kB</dt>\n"
               "<dt>Memory for compression: %" APR_UINT64_T_FMT
               " kB in all; each process may use %" APR_UINT64_T_FMT
               " kB</dt>\n",
               totals->connections, mod_websocket_keepers(),
               totals->sending / 1024, mod_websocket_global.send_memory / 1024,
               totals->compression / 1024, totals->compression_limit / 1024);
    if (totals->used_up > 0) {
        ap_rprintf(r,
                   "<dt>It is used up in %u of %u: new connections there are "
                   "not compressed</dt>\n",
                   totals->used_up, totals->budgets);
    }
    ap_rputs("</dl>\n", r);
}

int mod_websocket_show_status(request_rec *r, int flags)
{
    ws_log_totals_t totals;

    if (!mod_websocket_totals(&totals)) {
        return DECLINED;
    }
    if (flags & AP_STATUS_SHORT) {
        show_lines(r, &totals);
    }
    else {
        show_page(r, &totals);
    }
    return OK;
}
