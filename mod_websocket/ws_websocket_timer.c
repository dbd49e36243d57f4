/* ws_websocket_timer: timers of connections. The functions are mod_websocket.h's. */
#include <stdlib.h>

#include "ws_websocket.h"

struct websocket_timer {
    ws_alarm_t alarm;
    websocket_t *ws;
    websocket_timer_t *next, *prev;  /* of the connection */
    int64_t interval;                /* ms; 0: once */
    void (*run)(websocket_t *ws, void *baton);
    void *baton;
    bool *pstopped;                  /* while it runs: tells that */
};

void websocket_timer_stop(websocket_timer_t *timer)
{
    websocket_t *ws = timer->ws;

    WS_CHECK_LOOP(ws);
    if (timer->pstopped != NULL) {
        *timer->pstopped = true;
    }
    ws_loop_cancel(ws->link.loop, &timer->alarm);
    if (timer->prev != NULL) {
        timer->prev->next = timer->next;
    }
    else {
        ws->timers = timer->next;
    }
    if (timer->next != NULL) {
        timer->next->prev = timer->prev;
    }
    free(timer);
}

void ws_timers_end(websocket_t *ws)
{
    while (ws->timers != NULL) {
        websocket_timer_stop(ws->timers);
    }
}

/* It may be stopped in its run. There is room to set it again. */
static void run_timer(ws_loop_t *loop, ws_alarm_t *alarm)
{
    websocket_timer_t *timer =
        (websocket_timer_t *)((char *)alarm -
                              offsetof(websocket_timer_t, alarm));
    websocket_t *ws = timer->ws;
    bool is_stopped = false;

    if (timer->interval > 0) {
        ws_loop_alarm(loop, alarm, timer->interval);
    }
    timer->pstopped = &is_stopped;
    ws_websocket_enter(ws, "timer");
    timer->run(ws, timer->baton);
    ws_websocket_leave(ws);
    if (is_stopped) {
        return;
    }
    timer->pstopped = NULL;
    if (timer->interval <= 0) {
        websocket_timer_stop(timer);
    }
}

websocket_timer_t *websocket_timer_start(websocket_t *ws, int64_t first,
                                         int64_t interval,
                                         void (*run)(websocket_t *ws,
                                                     void *baton),
                                         void *baton)
{
    websocket_timer_t *timer = NULL;

    WS_CHECK_LOOP(ws);
    if (ws_websocket_is_open(ws)) {
        timer = calloc(1, sizeof(*timer));
    }
    if (timer == NULL) {
        return NULL;
    }
    timer->alarm.run = run_timer;
    timer->ws = ws;
    timer->interval = interval;
    timer->run = run;
    timer->baton = baton;
    if (ws_loop_alarm(ws->link.loop, &timer->alarm, first > 0 ? first : 0) !=
        WS_OK) {
        free(timer);
        return NULL;
    }
    timer->next = ws->timers;
    if (timer->next != NULL) {
        timer->next->prev = timer;
    }
    ws->timers = timer;
    return timer;
}
