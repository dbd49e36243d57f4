#include "ws_context.h"

#include <stdlib.h>

/* --- timers --- */

struct ws_context_timer {
    ws_task_t task;                  /* gives it to its loop */
    ws_alarm_t alarm;
    ws_context_timer_t *next, *prev;
    websocket_context_t *context;
    unsigned inits;                  /* the context's, when it was made */
    int64_t first;                   /* ms */
    int64_t interval;                /* ms; 0: once */
    void (*run)(websocket_context_t *context, void *baton);
    void *baton;
};

static ws_context_timer_t *timer_of(ws_alarm_t *alarm)
{
    return (ws_context_timer_t *)((char *)alarm -
                                  offsetof(ws_context_timer_t, alarm));
}

static void unlink_timer(ws_context_timer_t *timer)
{
    if (timer->prev != NULL) {
        timer->prev->next = timer->next;
    }
    else {
        timer->context->timers = timer->next;
    }
    if (timer->next != NULL) {
        timer->next->prev = timer->prev;
    }
}

/* Without memory for its place among the others it cannot go on. */
static void set_timer(ws_loop_t *loop, ws_context_timer_t *timer,
                      int64_t delay)
{
    if (ws_loop_alarm(loop, &timer->alarm, delay) != WS_OK) {
        ws_logger_printf(timer->context->logger, WS_LOG_ERROR,
                         "handler %s: a timer has stopped: out of memory",
                         timer->context->handler.name);
        unlink_timer(timer);
        free(timer);
    }
}

static void run_timer(ws_loop_t *loop, ws_alarm_t *alarm)
{
    ws_context_timer_t *timer = timer_of(alarm);
    websocket_context_t *context = timer->context;
    void (*run)(websocket_context_t *context, void *baton) = timer->run;
    void *baton = timer->baton;

    if (timer->interval > 0) {
        set_timer(loop, timer, timer->interval);
    }
    else {
        unlink_timer(timer);
        free(timer);
    }
    ws_activity_call(ws_loop_activity(loop), context->handler.name, "timer",
                     NULL);
    run(context, baton);
    ws_activity_return(ws_loop_activity(loop));
}

/* On the loop. The process may have been left since it was made. */
static void start_timer(ws_loop_t *loop, ws_task_t *task)
{
    ws_context_timer_t *timer = (ws_context_timer_t *)task;
    websocket_context_t *context = timer->context;

    if (timer->inits != context->inits) {
        free(timer);
        return;
    }
    timer->next = context->timers;
    if (timer->next != NULL) {
        timer->next->prev = timer;
    }
    context->timers = timer;
    set_timer(loop, timer, timer->first);
}

int websocket_context_timer(websocket_context_t *context, int64_t first,
                            int64_t interval,
                            void (*run)(websocket_context_t *context,
                                        void *baton),
                            void *baton)
{
    ws_context_timer_t *timer;

    if (context->process == NULL) {
        return -1;
    }
    timer = calloc(1, sizeof(*timer));
    if (timer == NULL) {
        return -1;
    }
    timer->task.run = start_timer;
    timer->alarm.run = run_timer;
    timer->context = context;
    timer->inits = context->inits;
    timer->first = first > 0 ? first : 0;
    timer->interval = interval;
    timer->run = run;
    timer->baton = baton;
    if (!ws_loop_post(ws_worker_loop(context->process->workers[0]),
                      &timer->task)) {
        free(timer);
        return -1;
    }
    return 0;
}

void ws_context_end_timers(websocket_context_t *context)
{
    ws_context_timer_t *timer;

    while ((timer = context->timers) != NULL) {
        ws_loop_cancel(ws_worker_loop(context->process->workers[0]),
                       &timer->alarm);
        unlink_timer(timer);
        free(timer);
    }
}

/* --- all connections --- */

/* Goes from loop to loop. */
typedef struct {
    ws_task_t task;
    websocket_context_t *context;
    ws_process_t *process;
    unsigned next;                   /* worker */
    void (*run)(websocket_t *ws, void *baton);
    void (*done)(void *baton);
    void *baton;
} tour_t;

/* False: no loop takes it any more. */
static bool go_on(tour_t *tour)
{
    while (tour->next < tour->process->worker_count) {
        ws_worker_t *worker = tour->process->workers[tour->next++];

        if (ws_loop_post(ws_worker_loop(worker), &tour->task)) {
            return true;
        }
    }
    return false;
}

static void visit(ws_link_t *link, void *baton)
{
    websocket_t *ws = ws_websocket_of(link);
    const tour_t *tour = baton;

    if (ws->context == tour->context && ws_websocket_is_open(ws)) {
        ws_websocket_enter(ws, "each");
        tour->run(ws, tour->baton);
        ws_websocket_leave(ws);
    }
}

static void finish(ws_loop_t *loop, const tour_t *tour)
{
    if (tour->done != NULL) {
        ws_activity_call(ws_loop_activity(loop), tour->context->handler.name,
                         "each", NULL);
        tour->done(tour->baton);
        ws_activity_return(ws_loop_activity(loop));
    }
}

static void visit_all(ws_loop_t *loop, ws_task_t *task)
{
    tour_t *tour = (tour_t *)task;

    ws_loop_each(loop, visit, tour);
    if (!go_on(tour)) {
        finish(loop, tour);
        free(tour);
    }
}

int websocket_context_each(websocket_context_t *context,
                           void (*run)(websocket_t *ws, void *baton),
                           void (*done)(void *baton), void *baton)
{
    tour_t *tour;

    if (context->process == NULL) {
        return -1;
    }
    tour = malloc(sizeof(*tour));
    if (tour == NULL) {
        return -1;
    }
    *tour = (tour_t){.task = {.run = visit_all},
                     .context = context,
                     .process = context->process,
                     .run = run,
                     .done = done,
                     .baton = baton};
    if (!go_on(tour)) {
        free(tour);
        return -1;
    }
    return 0;
}
