#include "ws_offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "ws_clock.h"

typedef enum {
    GOES_ON,
    PAUSED,
    STOPPED
} state_t;

struct ws_offload {
    unsigned threads_max;
    unsigned queue_max;
    pthread_mutex_t lock;            /* guards what follows */
    pthread_cond_t changed;          /* a job came, or it is another state */
    pthread_cond_t rested;           /* a thread has finished its job */
    state_t state;
    bool is_leaving;                 /* the threads end: none has a job */
    ws_job_t *first;                 /* of those that wait */
    ws_job_t **plast;
    unsigned waiting;
    unsigned started;                /* threads that are not joined yet */
    unsigned idle;                   /* of these have no job */
    pthread_t threads[];
};

/* --- a thread --- */

/* Waits for a job. NULL: the thread is to end. */
static ws_job_t *take_job(ws_offload_t *pool)
{
    ws_job_t *job;

    while (!pool->is_leaving &&
           (pool->first == NULL || pool->state != GOES_ON)) {
        pthread_cond_wait(&pool->changed, &pool->lock);
    }
    if (pool->is_leaving) {
        return NULL;
    }
    job = pool->first;
    pool->first = job->next;
    if (pool->first == NULL) {
        pool->plast = &pool->first;
    }
    pool->waiting--;
    pool->idle--;
    return job;
}

static void set_name(void)
{
#ifdef HAVE_PTHREAD_SETNAME_NP
    pthread_setname_np(pthread_self(), "ws-offload");
#endif
}

static void *run(void *baton)
{
    ws_offload_t *pool = baton;
    ws_job_t *job;

    set_name();
    pthread_mutex_lock(&pool->lock);
    while ((job = take_job(pool)) != NULL) {
        pthread_mutex_unlock(&pool->lock);
        job->work(job);
        job->finish(job, true);             /* it is the owner's again */
        pthread_mutex_lock(&pool->lock);
        pool->idle++;
        pthread_cond_signal(&pool->rested);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are for the process's own threads. */
static bool start_thread(ws_offload_t *pool)
{
    sigset_t all;
    sigset_t before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&pool->threads[pool->started], NULL, run, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        errno = error;
        return false;
    }
    pool->started++;
    pool->idle++;
    return true;
}

/* As far as may be, one for each job that waits. Returns whether there is any
 * thread. An idle one may have been woken for a job and not have taken it yet,
 * so they are counted against all that wait. */
static bool start_threads(ws_offload_t *pool, unsigned jobs)
{
    while (pool->idle < jobs && pool->started < pool->threads_max &&
           start_thread(pool)) {
        continue;
    }
    return pool->started > 0;
}

/* --- jobs come --- */

static bool has_room(const ws_offload_t *pool)
{
    return pool->waiting < pool->idle ||
           pool->waiting - pool->idle < pool->queue_max;
}

static bool may_take(ws_offload_t *pool)
{
    if (pool->state == STOPPED) {
        return false;
    }
    if (pool->state == GOES_ON && !start_threads(pool, pool->waiting + 1)) {
        return false;
    }
    return has_room(pool);
}

bool ws_offload_submit(ws_offload_t *pool, ws_job_t *job)
{
    bool is_taken;

    pthread_mutex_lock(&pool->lock);
    is_taken = may_take(pool);
    if (is_taken) {
        job->next = NULL;
        *pool->plast = job;
        pool->plast = &job->next;
        pool->waiting++;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    return is_taken;
}

/* --- its life --- */

static void init_locks(ws_offload_t *pool)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->rested, &attributes);
    pthread_condattr_destroy(&attributes);
}

ws_offload_t *ws_offload_create(unsigned threads_max, unsigned queue_max)
{
    ws_offload_t *pool =
        calloc(1, sizeof(*pool) + threads_max * sizeof(pool->threads[0]));

    if (pool == NULL) {
        return NULL;
    }
    pool->threads_max = threads_max;
    pool->queue_max = queue_max;
    pool->plast = &pool->first;
    init_locks(pool);
    return pool;
}

void ws_offload_destroy(ws_offload_t *pool)
{
    pthread_cond_destroy(&pool->rested);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Waits until no job runs. From then on no thread has anything to do, and so
 * all of them can be joined. */
static bool rest(ws_offload_t *pool, state_t state, int64_t limit)
{
    struct timespec end = ws_clock_in(limit);

    pthread_mutex_lock(&pool->lock);
    pool->state = state;
    while (pool->idle < pool->started &&
           pthread_cond_timedwait(&pool->rested, &pool->lock, &end) !=
               ETIMEDOUT) {
        continue;
    }
    pool->is_leaving = pool->idle == pool->started;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    return pool->is_leaving;
}

static void join_threads(ws_offload_t *pool)
{
    unsigned i;

    for (i = 0; i < pool->started; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_mutex_lock(&pool->lock);
    pool->is_leaving = false;
    pool->started = 0;
    pool->idle = 0;
    pthread_mutex_unlock(&pool->lock);
}

bool ws_offload_pause(ws_offload_t *pool, int64_t limit)
{
    if (!rest(pool, PAUSED, limit)) {
        return false;
    }
    join_threads(pool);
    return true;
}

bool ws_offload_resume(ws_offload_t *pool)
{
    bool is_served;

    pthread_mutex_lock(&pool->lock);
    pool->state = GOES_ON;
    is_served = pool->waiting == 0 || start_threads(pool, pool->waiting);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    return is_served;
}

void ws_offload_move(ws_offload_t *pool)
{
    init_locks(pool);
}

bool ws_offload_stop(ws_offload_t *pool, int64_t limit)
{
    ws_job_t *job;
    ws_job_t *next;

    if (!rest(pool, STOPPED, limit)) {
        return false;
    }
    join_threads(pool);
    job = pool->first;
    pool->first = NULL;
    for (; job != NULL; job = next) {
        next = job->next;
        job->finish(job, false);
    }
    return true;
}
