/* ws_process: the handlers of one process, with its workers: tells them of its
 * begin, of a move to another process, and of its end.
 *
 * Threads:  the process's own; while it calls, no worker runs.
 * Lifetime: of the process. */
#ifndef WS_PROCESS_H
#define WS_PROCESS_H

#include "ws_websocket.h"

/* Calls child_init. The workers are there, and have no threads yet. Where it
 * fails, the handler's connections that are there are closed, and so are those
 * that wait to be opened. */
void ws_process_begin(ws_process_t *process);

/* The workers have ended: ends what is offloaded, and calls child_exit. False,
 * and child_exit is not called: something is still being worked on after limit
 * ms, so nothing may be freed. */
bool ws_process_end(ws_process_t *process, int64_t limit);

/* The workers pause: the same, but what is offloaded will go on after
 * ws_process_move(), in a process that was forked since, or after
 * ws_process_go_on(), in this one. False: as above, and it goes on already. */
bool ws_process_pause(ws_process_t *process, int64_t limit);

/* Calls child_init as ws_process_begin(), and moved. The workers start after
 * it. */
void ws_process_move(ws_process_t *process);

/* Calls child_init. */
void ws_process_go_on(ws_process_t *process);

#endif
