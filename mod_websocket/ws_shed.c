#include "ws_shed.h"

#include <stdlib.h>

#define PART 8                       /* one of so many parts is made free */

/* A connection that does not take what it is sent. */
typedef struct {
    ws_conn_t *conn;
    size_t memory;                   /* of its queue */
} blocked_t;

/* Those that are closing already first: they have had their time. Then the
 * longest. */
static int by_memory(const void *a, const void *b)
{
    const blocked_t *first = a;
    const blocked_t *second = b;
    int is_open = ws_conn_is_open(first->conn);

    if (is_open != ws_conn_is_open(second->conn)) {
        return is_open ? 1 : -1;
    }
    return first->memory < second->memory ? 1 : first->memory > second->memory
                                                    ? -1
                                                    : 0;
}

/* At most count of them. Returns how many. */
static size_t find_blocked(ws_link_t *link, blocked_t *found, size_t count)
{
    size_t i = 0;

    for (; link != NULL && i < count; link = link->next) {
        if (link->conn.blocked && link->conn.head != NULL) {
            found[i].conn = &link->conn;
            found[i].memory = ws_conn_queue_memory(&link->conn);
            i++;
        }
    }
    return i;
}

/* So much at once, so that this is not done for each next message again. What
 * cannot be freed yet (a frame of which a part is out, what others have in
 * their queues, too) is reckoned as if it were: who holds it is cut off the
 * next time. Where there is no memory for the list, the first that is found
 * goes. */
void ws_shed(ws_link_t *links, size_t count, const ws_budget_t *budget)
{
    size_t limit = atomic_load(&budget->limit);
    size_t used = atomic_load(&budget->used);
    size_t target = limit - limit / PART;
    blocked_t one;
    blocked_t *list = malloc(count * sizeof(*list));
    blocked_t *found = list != NULL ? list : &one;
    size_t i;

    count = find_blocked(links, found, list != NULL ? count : 1);
    qsort(found, count, sizeof(*found), by_memory);
    for (i = 0; i < count && used > target; i++) {
        used -= found[i].memory < used ? found[i].memory : used;
        ws_conn_shed(found[i].conn);
    }
    free(list);
}
