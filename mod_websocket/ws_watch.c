#include "ws_watch.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ws_clock.h"

#define LINE_SIZE 512

struct ws_watch {
    const ws_logger_t *logger;
    int64_t limit;                   /* ms */
    ws_bell_t bell;                  /* its lock guards what follows */
    ws_activity_t *loops;
    unsigned count;                  /* loops that were ever added */
    bool is_stopping;
    bool is_started;                 /* of who starts and stops it */
    pthread_t thread;
};

/* --- what it says --- */

/* In line: which callback runs in the loop, as far as it stands still. */
static void describe(const ws_activity_t *activity, char line[LINE_SIZE])
{
    const char *callback = atomic_load(&activity->callback);
    const char *handler = atomic_load(&activity->handler);
    const char *client = atomic_load(&activity->client);

    if (callback == NULL) {
        snprintf(line, LINE_SIZE, "no handler is running");
    }
    else if (client == NULL) {
        snprintf(line, LINE_SIZE, "handler %s is in its callback \"%s\"",
                 handler, callback);
    }
    else {
        snprintf(line, LINE_SIZE,
                 "handler %s is in its callback \"%s\" for client %s", handler,
                 callback, client);
    }
}

static void tell_stall(const ws_watch_t *watch, const ws_activity_t *activity,
                       int64_t ms)
{
    char what[LINE_SIZE];

    describe(activity, what);
    ws_logger_printf(watch->logger, WS_LOG_WARNING,
                     "WebSocket thread %u has been in one turn for %" PRId64
                     " ms and serves nobody else: %s",
                     activity->number, ms, what);
}

static void tell_end(const ws_watch_t *watch, const ws_activity_t *activity)
{
    ws_logger_printf(watch->logger, WS_LOG_WARNING,
                     "WebSocket thread %u turns again, after %" PRId64 " ms",
                     activity->number, activity->took);
}

/* --- looking; the lock is held --- */

/* Asks for attention before it looks: what the loop does from then on it tells
 * us, or has to wait for us before it frees anything. Returns whether the loop
 * has turned since the last look. */
static bool look(const ws_watch_t *watch, ws_activity_t *activity)
{
    uint64_t turns;
    int64_t ms;
    bool has_turned;

    atomic_store(&activity->attention, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (activity->stalled != 0 && activity->took >= 0) {
        tell_end(watch, activity);
        activity->stalled = 0;
    }
    turns = atomic_load(&activity->turns);
    has_turned = turns != activity->seen;
    activity->seen = turns;
    if (turns % 2 == 0 || turns == activity->stalled) {
        return has_turned;
    }
    ms = ws_clock_ms() - atomic_load(&activity->since);
    if (ms >= watch->limit && atomic_load(&activity->turns) == turns) {
        activity->stalled = turns;
        activity->took = -1;
        tell_stall(watch, activity, ms);
    }
    return true;
}

/* It is looked at again soon: it need not tell us anything until then, unless
 * its turn has been told. */
static void leave_alone(ws_activity_t *activity)
{
    if (activity->stalled == 0) {
        atomic_store(&activity->attention, false);
    }
}

/* A loop that begins a turn ends a sleep, but is not looked at before a while
 * has passed: most turns are over at once. */
static void wait_for_next(ws_watch_t *watch, bool may_sleep)
{
    ws_bell_t *bell = &watch->bell;
    struct timespec when;

    while (may_sleep && !bell->is_rung && !watch->is_stopping) {
        pthread_cond_wait(&bell->bell, &bell->lock);
    }
    when = ws_clock_in(watch->limit / 2);
    while (!bell->is_urgent && !watch->is_stopping &&
           pthread_cond_timedwait(&bell->bell, &bell->lock, &when) !=
               ETIMEDOUT) {
        continue;
    }
}

static void *run(void *baton)
{
    ws_watch_t *watch = baton;
    ws_activity_t *activity;
    bool has_turned;

    pthread_mutex_lock(&watch->bell.lock);
    while (!watch->is_stopping) {
        has_turned = false;
        watch->bell.is_rung = false;
        watch->bell.is_urgent = false;
        for (activity = watch->loops; activity != NULL;
             activity = activity->next) {
            has_turned |= look(watch, activity);
        }
        for (activity = watch->loops; has_turned && activity != NULL;
             activity = activity->next) {
            leave_alone(activity);
        }
        wait_for_next(watch, !has_turned);
    }
    pthread_mutex_unlock(&watch->bell.lock);
    return NULL;
}

/* --- its life --- */

ws_watch_t *ws_watch_create(const ws_logger_t *logger, int64_t limit)
{
    ws_watch_t *watch = calloc(1, sizeof(*watch));
    pthread_condattr_t attributes;

    if (watch == NULL) {
        return NULL;
    }
    watch->logger = logger;
    watch->limit = limit;
    pthread_mutex_init(&watch->bell.lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->bell.bell, &attributes);
    pthread_condattr_destroy(&attributes);
    return watch;
}

void ws_watch_destroy(ws_watch_t *watch)
{
    ws_watch_stop(watch);
    pthread_cond_destroy(&watch->bell.bell);
    pthread_mutex_destroy(&watch->bell.lock);
    free(watch);
}

static void wake_up(ws_watch_t *watch)
{
    watch->bell.is_rung = true;
    pthread_cond_signal(&watch->bell.bell);
}

void ws_watch_add(ws_watch_t *watch, ws_loop_t *loop)
{
    ws_activity_t *activity = ws_loop_activity(loop);

    pthread_mutex_lock(&watch->bell.lock);
    activity->bell = &watch->bell;
    activity->number = watch->count++;
    activity->next = watch->loops;
    watch->loops = activity;
    wake_up(watch);
    pthread_mutex_unlock(&watch->bell.lock);
}

void ws_watch_remove(ws_watch_t *watch, ws_loop_t *loop)
{
    ws_activity_t *activity = ws_loop_activity(loop);
    ws_activity_t **at = &watch->loops;

    pthread_mutex_lock(&watch->bell.lock);
    while (*at != NULL && *at != activity) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = activity->next;
    }
    atomic_store(&activity->attention, false);
    pthread_mutex_unlock(&watch->bell.lock);
}

bool ws_watch_start(ws_watch_t *watch)
{
    sigset_t all;
    sigset_t before;
    int error;

    if (watch->is_started) {
        return true;
    }
    watch->is_stopping = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&watch->thread, NULL, run, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    watch->is_started = error == 0;
    errno = error;
    return error == 0;
}

void ws_watch_stop(ws_watch_t *watch)
{
    if (!watch->is_started) {
        return;
    }
    pthread_mutex_lock(&watch->bell.lock);
    watch->is_stopping = true;
    wake_up(watch);
    pthread_mutex_unlock(&watch->bell.lock);
    pthread_join(watch->thread, NULL);
    watch->is_started = false;
}
