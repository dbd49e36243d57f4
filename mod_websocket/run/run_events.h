/* run_events: what a script's client was sent, as lines (run_notation): each is
 * shown once, and taken by who expects it, in whatever order of the two.
 *
 * Threads:  one.
 * Lifetime: all zero to begin; ends the program where memory is out. */
#ifndef RUN_EVENTS_H
#define RUN_EVENTS_H

#include <stddef.h>

typedef struct run_event run_event_t;

typedef struct {
    run_event_t *first, *last;       /* not taken */
    run_event_t *unshown;            /* the first of them; NULL: none */
    size_t size;                     /* bytes */
} run_events_t;

void run_events_clear(run_events_t *events);

/* Takes over line, malloc'ed. Of many that nobody takes, the oldest go. */
void run_events_add(run_events_t *events, char *line);

/* The first; borrowed until it is taken. NULL: there is none. */
const char *run_events_first(const run_events_t *events);
void run_events_take(run_events_t *events);

/* The next to be shown; NULL: none. Borrowed until one is added or taken. */
const char *run_events_show(run_events_t *events);

#endif
