/* ws_context: what a handler does with all of its connections in a process.
 * The functions are those of mod_websocket.h.
 *
 * Threads:  any. Lifetime: what is posted belongs to the loop. */
#ifndef WS_CONTEXT_H
#define WS_CONTEXT_H

#include "ws_websocket.h"

/* Frees its timers; the loop does not run. */
void ws_context_end_timers(websocket_context_t *context);

#endif
