/* ws_offload: a pool of threads in which jobs may block. It has as many threads
 * as jobs needed at once so far, up to a limit; none before the first job. Jobs
 * begin in the order in which they came.
 * A process that ends may leave its jobs to one that it forks: pause, fork;
 * there, move and resume.
 *
 * Threads:  _submit by any, also out of a job; the rest by the one that
 *           created it. No submit may be going on when the process forks.
 * Lifetime: a job is the owner's, and must stay until its finish is called. */
#ifndef WS_OFFLOAD_H
#define WS_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ws_offload ws_offload_t;
typedef struct ws_job ws_job_t;

/* Embedded in what it is about. */
struct ws_job {
    ws_job_t *next;
    void (*work)(ws_job_t *job);     /* in a thread of the pool; may block */
    /* Once for each job that was taken: behind work, in the same thread; or,
     * was_run being false, instead of it, in that of ws_offload_stop(). May
     * free the job, or submit it again. */
    void (*finish)(ws_job_t *job, bool was_run);
};

/* threads_max: 1 or more. queue_max: jobs that may wait for a thread; 0: a job
 * is taken only if there is a thread for it. NULL: out of memory. */
ws_offload_t *ws_offload_create(unsigned threads_max, unsigned queue_max);

/* After a stop; or after a pause, if what waits is another process's. */
void ws_offload_destroy(ws_offload_t *pool);

/* Takes a job; allocates nothing. false, and nothing is called: queue_max wait
 * already (those that run, or that a thread is about to take, do not count),
 * there is no thread and none is to be had, or the pool has been stopped. */
bool ws_offload_submit(ws_offload_t *pool, ws_job_t *job);

/* Begins no more jobs, and ends the threads when they have finished those that
 * run. What waits stays, and more may come. Returns false if a job still runs
 * after limit ms: resume it, or stop it. */
bool ws_offload_pause(ws_offload_t *pool, int64_t limit);

/* After a pause, also one that returned false: goes on. Returns false if jobs
 * wait, there is no thread and none is to be had; errno. They wait on then,
 * until the next submit or resume that gets one. */
bool ws_offload_resume(ws_offload_t *pool);

/* After a pause that returned true and a fork: makes it this process's own, to
 * be resumed or stopped. */
void ws_offload_move(ws_offload_t *pool);

/* Takes and begins no more jobs, ends the threads as a pause does, and then
 * finishes what waits. Returns false if a job still runs after limit ms:
 * nothing is finished, and nothing that jobs use may be freed; it can be called
 * again. */
bool ws_offload_stop(ws_offload_t *pool, int64_t limit);

#endif
