/* ws_process: the handlers of one process, with its workers: tells them of its
 * begin, of a move to another process, and of its end.
 *
 * Threads:  the process's own; while it calls, no worker runs.
 * Lifetime: of the process. */
#ifndef WS_PROCESS_H
#define WS_PROCESS_H

#include "ws_websocket.h"

/* Filled by the owner, and not changed any more once it has begun. */
struct ws_process {
    ws_log_t *log;
    ws_worker_t **workers;
    unsigned worker_count;
    websocket_context_t **contexts;
    size_t context_count;
};

/* Calls child_init. The workers are there, and have no threads yet. */
void ws_process_begin(ws_process_t *process);

/* Calls child_exit: the process ends, or its workers, which pause, will be
 * moved; then it is begun again, here or in the new process. */
void ws_process_end(ws_process_t *process);

/* In the new process: calls moved. Connections whose handler could not begin
 * here will be closed. */
void ws_process_moved(ws_process_t *process);

#endif
