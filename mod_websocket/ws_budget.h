/* ws_budget: memory that a whole process may use for a purpose, counted.
 * Threads:  all of the process's; it lies in shared memory, where other
 *           processes may read it.
 * Lifetime: outlives all that is charged to it. */
#ifndef WS_BUDGET_H
#define WS_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Bytes. */
typedef struct {
    _Atomic size_t used;
    _Atomic size_t limit;
} ws_budget_t;

/* Those that a process has. */
typedef struct {
    ws_budget_t compression;         /* contexts that connections keep, and what
                                      * inflates a message of which a part is
                                      * here. Charged over the limit, too: only
                                      * what new connections may negotiate
                                      * depends on it. */
    ws_budget_t sending;             /* output that waits in queues */
} ws_budgets_t;

/* Charges bytes; false, and nothing is charged, if the limit is passed. */
bool ws_budget_reserve(ws_budget_t *budget, size_t bytes);

/* Charges bytes whatever the limit is. */
void ws_budget_charge(ws_budget_t *budget, size_t bytes);

/* Never below 0: the memory may have a new owner, when a process that ends
 * gives back what it had. */
void ws_budget_release(ws_budget_t *budget, size_t bytes);

/* Is nothing left of it? */
bool ws_budget_is_used_up(const ws_budget_t *budget);

#endif
