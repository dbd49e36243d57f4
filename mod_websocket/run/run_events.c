#include "run_events.h"

#include <stdlib.h>
#include <string.h>

#include "run.h"

#define SIZE_LIMIT ((size_t)64 << 20)

struct run_event {
    run_event_t *next;
    size_t size;
    char *line;
};

void run_events_take(run_events_t *events)
{
    run_event_t *event = events->first;

    events->first = event->next;
    events->size -= event->size;
    if (events->unshown == event) {
        events->unshown = event->next;
    }
    free(event->line);
    free(event);
}

void run_events_clear(run_events_t *events)
{
    while (events->first != NULL) {
        run_events_take(events);
    }
}

void run_events_add(run_events_t *events, char *line)
{
    run_event_t *event = run_needed(calloc(1, sizeof(*event)));

    event->line = run_needed(line);
    event->size = sizeof(*event) + strlen(line);
    if (events->first == NULL) {
        events->first = event;
    }
    else {
        events->last->next = event;
    }
    events->last = event;
    events->size += event->size;
    if (events->unshown == NULL) {
        events->unshown = event;
    }
    while (events->size > SIZE_LIMIT && events->first != events->unshown) {
        run_events_take(events);
    }
}

const char *run_events_first(const run_events_t *events)
{
    return events->first != NULL ? events->first->line : NULL;
}

const char *run_events_show(run_events_t *events)
{
    run_event_t *event = events->unshown;

    if (event == NULL) {
        return NULL;
    }
    events->unshown = event->next;
    return event->line;
}
