#include "ws_worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "ws_clock.h"

struct ws_worker {
    ws_hub_t *hub;
    ws_loop_t *loop;
    ws_watch_t *watch;               /* NULL: none */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;            /* is_running became false */
    bool is_running;
    bool has_thread;                 /* that is not joined yet */
};

static void *run(void *baton)
{
    ws_worker_t *worker = baton;

    ws_loop_run(worker->loop);
    pthread_mutex_lock(&worker->lock);
    worker->is_running = false;
    pthread_cond_signal(&worker->ended);
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* Signals are for the process's own threads. */
ws_status_t ws_worker_start(ws_worker_t *worker)
{
    sigset_t all;
    sigset_t before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ws_loop_unpause(worker->loop);
    worker->is_running = true;              /* it may end before we go on */
    error = pthread_create(&worker->thread, NULL, run, worker);
    if (error != 0) {
        worker->is_running = false;
    }
    worker->has_thread = error == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return error == 0 ? WS_OK : WS_EIO;
}

static void worker_free(ws_worker_t *worker)
{
    if (worker->watch != NULL) {
        ws_watch_remove(worker->watch, worker->loop);
    }
    if (worker->loop != NULL) {
        ws_loop_destroy(worker->loop);
    }
    if (worker->hub != NULL) {
        ws_hub_destroy(worker->hub);
    }
    pthread_cond_destroy(&worker->ended);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}

static void init_locks(ws_worker_t *worker)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&worker->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

ws_worker_t *ws_worker_create(ws_log_t *log, const ws_logger_t *logger,
                              ws_budget_t *compression, apr_pool_t *pool)
{
    ws_worker_t *worker = calloc(1, sizeof(*worker));
    ws_loop_waker_t waker;
    ws_budgets_t *budgets;
    ws_source_t source;

    if (worker == NULL) {
        return NULL;
    }
    init_locks(worker);
    worker->hub = ws_hub_create(log, logger);
    if (worker->hub != NULL) {
        waker = ws_hub_waker(worker->hub);
        budgets = ws_hub_budgets(worker->hub);
        worker->loop = ws_loop_create(
            &waker, compression != NULL ? compression : &budgets->compression,
            &budgets->sending, pool);
    }
    if (worker->loop != NULL) {
        source = ws_hub_source(worker->hub);
        ws_loop_set_source(worker->loop, &source);
    }
    if (worker->loop == NULL) {
        worker_free(worker);
        return NULL;
    }
    return worker;
}

void ws_worker_watch(ws_worker_t *worker, ws_watch_t *watch)
{
    worker->watch = watch;
    ws_watch_add(watch, worker->loop);
}

void ws_worker_stop(ws_worker_t *worker, uint16_t code, const char *reason,
                    int64_t limit)
{
    ws_loop_stop(worker->loop, code, reason, limit);
}

void ws_worker_drain(ws_worker_t *worker, uint16_t code, const char *reason,
                     int64_t spread, int64_t limit)
{
    ws_loop_drain(worker->loop, code, reason, spread, limit);
}

void ws_worker_close_bound(ws_worker_t *worker, uint16_t code,
                           const char *reason)
{
    ws_loop_close_bound(worker->loop, code, reason);
}

void ws_worker_pause(ws_worker_t *worker)
{
    ws_loop_pause(worker->loop);
}

bool ws_worker_wait(ws_worker_t *worker, int64_t limit)
{
    struct timespec end = ws_clock_in(limit);
    bool has_ended;

    pthread_mutex_lock(&worker->lock);
    while (worker->is_running &&
           pthread_cond_timedwait(&worker->ended, &worker->lock, &end) !=
               ETIMEDOUT) {
        continue;
    }
    has_ended = !worker->is_running;
    pthread_mutex_unlock(&worker->lock);
    if (has_ended && worker->has_thread) {
        pthread_join(worker->thread, NULL);
        worker->has_thread = false;
    }
    return has_ended;
}

bool ws_worker_join(ws_worker_t *worker, int64_t limit)
{
    if (!ws_worker_wait(worker, limit)) {
        return false;
    }
    worker_free(worker);
    return true;
}

void ws_worker_finish(ws_worker_t *worker)
{
    ws_loop_unpause(worker->loop);
    ws_loop_run(worker->loop);
}

ws_status_t ws_worker_move(ws_worker_t *worker)
{
    init_locks(worker);
    return ws_loop_move(worker->loop);
}

void ws_worker_pass(ws_worker_t *worker, pid_t from, pid_t to)
{
    ws_hub_pass(worker->hub, from, to);
}

size_t ws_worker_count(const ws_worker_t *worker)
{
    return atomic_load(ws_hub_waker(worker->hub).connections);
}

ws_loop_t *ws_worker_loop(const ws_worker_t *worker)
{
    return worker->loop;
}

ws_hub_t *ws_worker_hub(const ws_worker_t *worker)
{
    return worker->hub;
}
