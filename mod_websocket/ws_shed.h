/* ws_shed: which connections go when too much waits to be sent.
 * Threads:  the thread of the connections' loop.
 * Lifetime: nothing is kept. */
#ifndef WS_SHED_H
#define WS_SHED_H

#include <stddef.h>

#include "ws_budget.h"
#include "ws_loop.h"

/* Sheds as many of these connections, count at most, as would make an eighth of
 * the budget free: those that do not take what they are sent, the longest
 * queues first. */
void ws_shed(ws_link_t *links, size_t count, const ws_budget_t *budget);

#endif
