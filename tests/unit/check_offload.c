/* ws_offload: which jobs run, where and how many at once, and what becomes of
 * them where the process pauses, forks or ends. With real threads and
 * processes. */
#include "ws_offload.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "ws_test.h"
#include "ws_test_alloc.h"

#define LIMIT (1000 * WS_TEST_LIMIT) /* ms: nothing takes so long */
#define SHORT 20                     /* ms: to wait in vain */

static void sem_get(sem_t *sem)
{
    while (sem_wait(sem) != 0) {
        if (errno != EINTR) {
            abort();
        }
    }
}

static void sem_give(sem_t *sem, int count)
{
    for (; count > 0; count--) {
        sem_post(sem);
    }
}

/* --- the calls below the pool --- */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *baton);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *baton);
int __real_pthread_join(pthread_t thread, void **presult);
int __wrap_pthread_join(pthread_t thread, void **presult);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                                  const struct timespec *when);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                                  const struct timespec *when);
int __real_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);

static struct {
    int created;                     /* threads of the pool: under its lock */
    int joined;
    int may_create;                  /* then there are none to be had */
    bool has_threads_wait;           /* those that are new, for go_on */
    void *(*run)(void *);
    sem_t go_on;
    sem_t sleeps;                    /* a thread is about to wait for a job */
    sem_t waits;                     /* somebody is about to wait for those
                                      * that run */
    void (*on_signal)(void);         /* once, with the pool's lock held */
} hook;

static void *run_late(void *baton)
{
    sem_get(&hook.go_on);
    return hook.run(baton);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *baton)
{
    if (hook.created == hook.may_create) {
        return EAGAIN;
    }
    hook.created++;
    hook.run = run;
    return __real_pthread_create(thread, attributes,
                                 hook.has_threads_wait ? run_late : run, baton);
}

int __wrap_pthread_join(pthread_t thread, void **presult)
{
    hook.joined++;
    return __real_pthread_join(thread, presult);
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
    sem_post(&hook.sleeps);
    return __real_pthread_cond_wait(cond, lock);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                                  const struct timespec *when)
{
    sem_post(&hook.waits);
    return __real_pthread_cond_timedwait(cond, lock, when);
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    void (*on_signal)(void) = hook.on_signal;

    if (on_signal != NULL) {
        hook.on_signal = NULL;
        on_signal();
    }
    return __real_pthread_cond_signal(cond);
}

/* --- jobs --- */

#define JOBS_MAX 4096

typedef struct {
    ws_job_t job;
    sem_t *gate;                     /* what it waits for; NULL: nothing */
    int again;                       /* how often it is submitted again */
    pthread_t worked_in, finished_in;
    int worked, finished, dropped;
    bool was_late;                   /* finished before it was worked */
} test_job_t;

static ws_offload_t *pool;
static test_job_t jobs[JOBS_MAX];
static _Atomic(test_job_t *) order[JOBS_MAX]; /* in which they began */
static atomic_int begun_count;
static atomic_int running;
static atomic_int running_most;
static sem_t begun;
static sem_t done;

static void set_most(atomic_int *most, int now)
{
    int before = atomic_load(most);

    while (now > before && !atomic_compare_exchange_weak(most, &before, now)) {
        continue;
    }
}

static void work(ws_job_t *job)
{
    test_job_t *t = (test_job_t *)job;

    set_most(&running_most, atomic_fetch_add(&running, 1) + 1);
    atomic_store(&order[atomic_fetch_add(&begun_count, 1) % JOBS_MAX], t);
    t->worked++;
    t->worked_in = pthread_self();
    sem_post(&begun);
    if (t->gate != NULL) {
        sem_get(t->gate);
    }
}

static bool submit(test_job_t *t);

static void finish(ws_job_t *job, bool was_run)
{
    test_job_t *t = (test_job_t *)job;

    memset(job, 0xee, sizeof(*job));        /* as if it were freed */
    t->finished_in = pthread_self();
    if (was_run) {
        t->finished++;
        t->was_late = t->worked != t->finished;
        atomic_fetch_sub(&running, 1);
    }
    else {
        t->dropped++;
    }
    /* nobody holds the pool's lock, or this would not return */
    if (t->again > 0) {
        t->again--;
        if (submit(t)) {
            return;
        }
    }
    sem_post(&done);
}

static bool submit(test_job_t *t)
{
    t->job.work = work;
    t->job.finish = finish;
    return ws_offload_submit(pool, &t->job);
}

/* count jobs, from jobs[first] on. */
static void submit_all(int first, int count)
{
    int i;

    for (i = first; i < first + count; i++) {
        ck_assert(submit(&jobs[i]));
    }
}

/* The same; they have begun, and wait for the gate. */
static void block(int first, int count, sem_t *gate)
{
    int i;

    for (i = first; i < first + count; i++) {
        jobs[i].gate = gate;
    }
    submit_all(first, count);
    for (i = 0; i < count; i++) {
        sem_get(&begun);
    }
}

static void wait_done(int count)
{
    for (; count > 0; count--) {
        sem_get(&done);
    }
}

static bool all_are(int first, int count, int finished, int dropped)
{
    bool result = true;
    int i;

    for (i = first; i < first + count; i++) {
        result &= jobs[i].worked == finished && jobs[i].finished == finished &&
                  jobs[i].dropped == dropped && !jobs[i].was_late;
    }
    return result;
}

static bool began_in_order(int first, int count)
{
    bool result = true;
    int i;

    for (i = first; i < first + count; i++) {
        result &= atomic_load(&order[i]) == &jobs[i];
    }
    return result;
}

/* --- a pool --- */

static void begin(unsigned threads_max, unsigned queue_max)
{
    hook.may_create = -1;
    sem_init(&hook.go_on, 0, 0);
    sem_init(&hook.sleeps, 0, 0);
    sem_init(&hook.waits, 0, 0);
    sem_init(&begun, 0, 0);
    sem_init(&done, 0, 0);
    pool = ws_offload_create(threads_max, queue_max);
    ck_assert_ptr_nonnull(pool);
}

static void end(void)
{
    ck_assert(ws_offload_stop(pool, LIMIT));
    ck_assert_int_eq(hook.joined, hook.created);
    ws_offload_destroy(pool);
}

/* Opens a gate when somebody waits for what runs. */
typedef struct {
    pthread_t thread;
    sem_t *gate;
    int count;
} opener_t;

static void *run_opener(void *baton)
{
    opener_t *opener = baton;

    sem_get(&hook.waits);
    sem_give(opener->gate, opener->count);
    return NULL;
}

static void start_opener(opener_t *opener, sem_t *gate, int count)
{
    opener->gate = gate;
    opener->count = count;
    ck_assert_int_eq(__real_pthread_create(&opener->thread, NULL, run_opener,
                                           opener),
                     0);
}

static void join_opener(const opener_t *opener)
{
    ck_assert_int_eq(__real_pthread_join(opener->thread, NULL), 0);
}

/* --- jobs and threads --- */

START_TEST(unused_pool_has_no_thread)
{
    begin(4, 4);
    ck_assert(ws_offload_pause(pool, 0));
    ck_assert(ws_offload_resume(pool));
    end();
    ck_assert_int_eq(hook.created, 0);
}
END_TEST

START_TEST(job_is_worked_and_finished_in_the_same_other_thread)
{
    begin(4, 4);
    submit_all(0, 1);
    wait_done(1);
    ck_assert(all_are(0, 1, 1, 0));
    ck_assert(pthread_equal(jobs[0].worked_in, jobs[0].finished_in));
    ck_assert(!pthread_equal(jobs[0].worked_in, pthread_self()));
    end();
    ck_assert_int_eq(hook.created, 1);
}
END_TEST

START_TEST(jobs_begin_in_their_order)
{
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(1, 100);
    block(0, 1, &gate);
    submit_all(1, 100);
    sem_post(&gate);
    wait_done(101);
    ck_assert(began_in_order(0, 101));
    ck_assert(all_are(0, 101, 1, 0));
    submit_all(101, 2);                     /* behind an empty queue */
    wait_done(2);
    ck_assert(began_in_order(101, 2));
    end();
}
END_TEST

START_TEST(queue_takes_no_more_than_it_may)
{
    const int queue = _i;
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(2, (unsigned)queue);
    block(0, 2, &gate);
    jobs[2].gate = &gate;
    submit_all(2, queue);                   /* just what it may have */
    ck_assert(!submit(&jobs[100]));
    ck_assert(!submit(&jobs[100]));
    if (queue > 0) {
        sem_post(&gate);
        sem_get(&begun);                    /* jobs[2] */
        submit_all(101, 1);
        ck_assert(!submit(&jobs[100]));
    }
    sem_give(&gate, 3);
    wait_done(2 + queue + (queue > 0));
    end();
    ck_assert(all_are(0, 2 + queue, 1, 0));
    ck_assert(all_are(100, 1, 0, 0));
}
END_TEST

/* Though none of them has begun. */
START_TEST(queue_does_not_hold_what_a_thread_is_for)
{
    begin(3, 1);
    hook.has_threads_wait = true;
    submit_all(0, 4);
    ck_assert(!submit(&jobs[4]));
    ck_assert_int_eq(hook.created, 3);
    sem_give(&hook.go_on, 3);
    wait_done(4);
    end();
    ck_assert(all_are(0, 4, 1, 0));
}
END_TEST

/* The same of threads that have nothing to do. */
START_TEST(queue_does_not_hold_what_an_idle_thread_is_for)
{
    sem_t gate;
    int i;

    sem_init(&gate, 0, 0);
    begin(3, 0);
    block(0, 3, &gate);
    sem_give(&gate, 3);
    for (i = 0; i < 3; i++) {
        sem_get(&hook.sleeps);
    }
    block(3, 3, &gate);
    ck_assert(!submit(&jobs[6]));
    sem_give(&gate, 3);
    wait_done(6);
    end();
    ck_assert_int_eq(hook.created, 3);
}
END_TEST

START_TEST(idle_thread_takes_the_next_job)
{
    begin(4, 4);
    submit_all(0, 1);
    sem_get(&hook.sleeps);
    submit_all(1, 1);
    wait_done(2);
    ck_assert_int_eq(hook.created, 1);
    ck_assert(pthread_equal(jobs[0].worked_in, jobs[1].worked_in));
    end();
}
END_TEST

/* Each job waits for all others: a thread for each is needed, and used. */
START_TEST(all_threads_work_at_once)
{
    const int threads = 1 + _i;
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin((unsigned)threads, 100);
    block(0, threads, &gate);
    ck_assert_int_eq(hook.created, threads);
    submit_all(threads, 100);
    ck_assert_int_eq(hook.created, threads);
    sem_give(&gate, threads);
    wait_done(threads + 100);
    ck_assert_int_eq(running_most, threads);
    ck_assert_int_eq(hook.created, threads);
    end();
}
END_TEST

static sigset_t seen_signals;
static char seen_name[32];

static void look(ws_job_t *job)
{
    test_job_t *t = (test_job_t *)job;

    t->worked++;
    pthread_sigmask(SIG_BLOCK, NULL, &seen_signals);
    prctl(PR_GET_NAME, seen_name);
}

START_TEST(thread_has_a_name_and_takes_no_signals)
{
    sigset_t ours;

    begin(1, 1);
    jobs[0].job = (ws_job_t){.work = look, .finish = finish};
    ck_assert(ws_offload_submit(pool, &jobs[0].job));
    wait_done(1);
    ck_assert_int_eq(sigismember(&seen_signals, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&seen_signals, SIGUSR1), 1);
    pthread_sigmask(SIG_BLOCK, NULL, &ours);
    ck_assert_int_eq(sigismember(&ours, SIGTERM), 0);
#ifdef HAVE_PTHREAD_SETNAME_NP
    ck_assert_str_eq(seen_name, "ws-offload");
#endif
    end();
}
END_TEST

START_TEST(job_may_be_submitted_again_when_it_is_finished)
{
    begin(2, 2);
    jobs[0].again = 3;
    submit_all(0, 1);
    wait_done(1);
    ck_assert(all_are(0, 1, 4, 0));
    end();
}
END_TEST

/* --- many who submit --- */

#define SUBMITTERS 4
#define EACH 500
#define THREADS 3
#define QUEUE 16

static atomic_int accepted;
static atomic_int waiting_most;
static atomic_bool has_stopped;

/* Until all of its jobs are taken, or the pool has been stopped. */
static void *run_submitter(void *baton)
{
    const int first = *(int *)baton;
    int i = first;

    while (i < first + EACH && !atomic_load(&has_stopped)) {
        if (!submit(&jobs[i])) {
            sched_yield();
            continue;
        }
        i++;
        atomic_fetch_add(&accepted, 1);
        /* what has begun since makes it less, never more */
        set_most(&waiting_most,
                 atomic_load(&accepted) - atomic_load(&begun_count));
    }
    return NULL;
}

typedef struct {
    pthread_t threads[SUBMITTERS];
    int firsts[SUBMITTERS];
} submitters_t;

static void start_submitters(submitters_t *submitters)
{
    int i;

    for (i = 0; i < SUBMITTERS; i++) {
        submitters->firsts[i] = i * EACH;
        ck_assert_int_eq(__real_pthread_create(&submitters->threads[i], NULL,
                                               run_submitter,
                                               &submitters->firsts[i]),
                         0);
    }
}

static void join_submitters(const submitters_t *submitters)
{
    int i;

    for (i = 0; i < SUBMITTERS; i++) {
        ck_assert_int_eq(__real_pthread_join(submitters->threads[i], NULL), 0);
    }
}

static bool bounds_were_kept(void)
{
    return atomic_load(&running_most) <= THREADS &&
           atomic_load(&waiting_most) <= THREADS + QUEUE;
}

/* Without pauses, and with many. */
START_TEST(many_threads_may_submit)
{
    submitters_t submitters;
    int i;

    begin(THREADS, QUEUE);
    start_submitters(&submitters);
    for (i = 0; i < 50 * _i; i++) {
        ck_assert(ws_offload_pause(pool, LIMIT));
        ck_assert_int_eq(atomic_load(&running), 0);
        ck_assert_int_eq(hook.joined, hook.created);
        ck_assert(ws_offload_resume(pool));
    }
    join_submitters(&submitters);
    wait_done(SUBMITTERS * EACH);
    end();
    ck_assert(all_are(0, SUBMITTERS * EACH, 1, 0));
    ck_assert(bounds_were_kept());
}
END_TEST

START_TEST(stop_while_jobs_come_finishes_each_that_was_taken)
{
    submitters_t submitters;
    int finished = 0;
    int i;

    begin(THREADS, QUEUE);
    start_submitters(&submitters);
    for (i = 0; i < EACH; i++) {
        sem_get(&begun);
    }
    ck_assert(ws_offload_stop(pool, LIMIT));
    atomic_store(&has_stopped, true);
    join_submitters(&submitters);
    for (i = 0; i < SUBMITTERS * EACH; i++) {
        ck_assert_int_eq(jobs[i].worked, jobs[i].finished);
        ck_assert_int_le(jobs[i].finished + jobs[i].dropped, 1);
        finished += jobs[i].finished + jobs[i].dropped;
    }
    ck_assert_int_eq(finished, atomic_load(&accepted));
    ck_assert(bounds_were_kept());
    end();
}
END_TEST

/* --- a pause --- */

START_TEST(pause_waits_for_what_runs_and_begins_nothing)
{
    opener_t opener;
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(2, 4);
    block(0, 2, &gate);
    submit_all(2, 3);
    start_opener(&opener, &gate, 2);
    ck_assert(ws_offload_pause(pool, LIMIT));
    join_opener(&opener);
    ck_assert(all_are(0, 2, 1, 0));
    ck_assert(all_are(2, 3, 0, 0));
    ck_assert_int_eq(hook.created, 2);
    ck_assert_int_eq(hook.joined, 2);
    ck_assert(ws_offload_resume(pool));
    wait_done(5);
    ck_assert(all_are(2, 3, 1, 0));
    ck_assert_int_eq(hook.created, 4);
    end();
}
END_TEST

/* They need a thread each when it goes on. */
START_TEST(what_comes_in_a_pause_waits)
{
    sem_t gate;
    int i;

    sem_init(&gate, 0, 0);
    begin(3, 4);
    submit_all(10, 1);                      /* a thread that is to end */
    wait_done(1);
    sem_get(&begun);
    ck_assert(ws_offload_pause(pool, LIMIT));
    for (i = 0; i < 4; i++) {
        jobs[i].gate = &gate;
    }
    submit_all(0, 4);
    ck_assert(!submit(&jobs[4]));
    ck_assert_int_eq(hook.created, 1);
    ck_assert(all_are(0, 4, 0, 0));
    ck_assert(ws_offload_resume(pool));
    for (i = 0; i < 3; i++) {
        sem_get(&begun);
    }
    ck_assert_int_eq(hook.created, 1 + 3);
    sem_give(&gate, 4);
    wait_done(4);
    end();
    ck_assert(all_are(0, 4, 1, 0));
}
END_TEST

/* The thread that has nothing to do in the pause takes what waits, though the
 * other is still held up. */
START_TEST(pause_that_takes_too_long_is_taken_back)
{
    sem_t gates[2];
    int64_t began;

    sem_init(&gates[0], 0, 0);
    sem_init(&gates[1], 0, 0);
    begin(2, 4);
    block(0, 1, &gates[0]);
    block(1, 1, &gates[1]);
    submit_all(2, 1);
    began = ws_test_now();
    ck_assert(!ws_offload_pause(pool, SHORT));
    ck_assert_int_ge(ws_test_now() - began, SHORT - 1);
    sem_post(&gates[1]);
    sem_get(&hook.sleeps);
    ck_assert(all_are(1, 1, 1, 0));
    ck_assert(all_are(2, 1, 0, 0));
    submit_all(3, 1);
    ck_assert(!ws_offload_pause(pool, 0));
    ck_assert_int_eq(hook.joined, 0);
    ck_assert(ws_offload_resume(pool));
    wait_done(3);
    ck_assert(all_are(1, 3, 1, 0));
    ck_assert_int_eq(hook.created, 2);
    sem_post(&gates[0]);
    wait_done(1);
    end();
    ck_assert(all_are(0, 1, 1, 0));
}
END_TEST

/* --- another process --- */

static void expect_good_end(pid_t pid)
{
    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "ended with status %x", (unsigned)status);
}

static void begin_process(void)
{
    alarm(WS_TEST_LIMIT);
    ws_offload_move(pool);
}

/* Two that ran before, and five that waited. */
static bool ends_well(int worked, int dropped)
{
    return ws_offload_stop(pool, LIMIT) && hook.joined == hook.created &&
           all_are(0, 2, 1, 0) && all_are(2, 5, worked, dropped);
}

/* It may stop at once, too. */
START_TEST(what_waits_is_run_in_another_process)
{
    const bool is_resumed = _i == 0;
    opener_t opener;
    pid_t pid;
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(2, 8);
    block(0, 2, &gate);
    submit_all(2, 5);
    start_opener(&opener, &gate, 2);
    ck_assert(ws_offload_pause(pool, LIMIT));
    join_opener(&opener);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        begin_process();
        if (is_resumed) {
            if (!ws_offload_resume(pool)) {
                _exit(2);
            }
            wait_done(2 + 5);
        }
        _exit(ends_well(is_resumed, !is_resumed) ? 0 : 1);
    }
    expect_good_end(pid);
    ck_assert(all_are(2, 5, 0, 0));         /* they are not ours any more */
    ws_offload_destroy(pool);
}
END_TEST

static pid_t forked;

static void fork_here(void)
{
    forked = fork();
    if (forked == 0) {
        begin_process();
        if (!ws_offload_resume(pool)) {
            _exit(2);
        }
        wait_done(1);
        _exit(ws_offload_stop(pool, LIMIT) && all_are(0, 1, 1, 0) ? 0 : 1);
    }
}

/* The thread sanitizer takes a lock that is made anew for the old one. */
extern void __tsan_init(void) __attribute__((weak));

/* The fork is where the lock is held: the other process has one of its own. */
START_TEST(locks_are_made_anew)
{
    if (__tsan_init != NULL) {
        return;
    }
    begin(1, 1);
    ck_assert(ws_offload_pause(pool, LIMIT));
    hook.on_signal = fork_here;
    submit_all(0, 1);
    ck_assert_int_gt(forked, 0);
    expect_good_end(forked);
    end();
    ck_assert(all_are(0, 1, 0, 1));
}
END_TEST

/* --- the end --- */

START_TEST(stop_finishes_what_waits)
{
    opener_t opener;
    sem_t gate;
    int i;

    sem_init(&gate, 0, 0);
    begin(2, 8);
    block(0, 2, &gate);
    jobs[4].again = 1;
    submit_all(2, 5);
    start_opener(&opener, &gate, 2);
    ck_assert(ws_offload_stop(pool, LIMIT));
    join_opener(&opener);
    ck_assert(all_are(0, 2, 1, 0));
    ck_assert(all_are(2, 5, 0, 1));
    for (i = 2; i < 7; i++) {
        ck_assert(pthread_equal(jobs[i].finished_in, pthread_self()));
    }
    ck_assert_int_eq(jobs[4].again, 0);     /* it tried, and was refused */
    ck_assert(!submit(&jobs[7]));
    end();                                  /* once more changes nothing */
    ck_assert(all_are(2, 5, 0, 1));
}
END_TEST

START_TEST(stop_in_a_pause_finishes_what_waits)
{
    begin(2, 8);
    ck_assert(ws_offload_pause(pool, LIMIT));
    submit_all(0, 3);
    end();
    ck_assert(all_are(0, 3, 0, 1));
    ck_assert_int_eq(hook.created, 0);
}
END_TEST

/* Also after a pause that took too long. */
START_TEST(stop_that_takes_too_long_frees_nothing)
{
    int64_t began;
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(1, 4);
    block(0, 1, &gate);
    submit_all(1, 2);
    ck_assert(_i == 0 || !ws_offload_pause(pool, 0));
    began = ws_test_now();
    ck_assert(!ws_offload_stop(pool, SHORT));
    ck_assert_int_ge(ws_test_now() - began, SHORT - 1);
    ck_assert(all_are(1, 2, 0, 0));
    ck_assert(!submit(&jobs[3]));
    sem_post(&gate);
    sem_get(&hook.sleeps);                  /* instead of the next job */
    ck_assert(all_are(0, 1, 1, 0));
    ck_assert(all_are(1, 2, 0, 0));
    end();
    ck_assert(all_are(1, 2, 0, 1));
}
END_TEST

/* --- nothing to be had --- */

START_TEST(job_is_refused_without_a_first_thread)
{
    begin(2, 4);
    hook.may_create = 0;
    ck_assert(!submit(&jobs[0]));
    ck_assert(all_are(0, 1, 0, 0));
    hook.may_create = -1;
    submit_all(0, 1);
    wait_done(1);
    end();
    ck_assert(all_are(0, 1, 1, 0));
}
END_TEST

START_TEST(job_waits_without_a_further_thread)
{
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(3, 2);
    hook.may_create = 1;
    block(0, 1, &gate);
    submit_all(1, 2);
    ck_assert(!submit(&jobs[3]));           /* the queue is what it is */
    sem_post(&gate);
    wait_done(3);
    ck_assert(all_are(0, 3, 1, 0));
    ck_assert_int_eq(hook.created, 1);
    end();
}
END_TEST

/* As many as are missing, then. */
START_TEST(next_job_gets_the_threads_that_were_not_to_be_had)
{
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(3, 2);
    hook.may_create = 1;
    block(0, 1, &gate);
    jobs[1].gate = &gate;
    submit_all(1, 1);
    hook.may_create = -1;
    block(2, 1, &gate);
    sem_get(&begun);
    ck_assert_int_eq(hook.created, 3);
    sem_give(&gate, 3);
    wait_done(3);
    end();
}
END_TEST

START_TEST(jobs_wait_where_a_pause_ends_without_a_thread)
{
    begin(2, 4);
    ck_assert(ws_offload_pause(pool, LIMIT));
    submit_all(0, 2);
    hook.may_create = 0;
    errno = 0;
    ck_assert(!ws_offload_resume(pool));
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert(!submit(&jobs[2]));
    ck_assert(all_are(0, 3, 0, 0));
    hook.may_create = 1;
    if (_i == 0) {
        submit_all(2, 1);
    }
    else {
        ck_assert(ws_offload_resume(pool));
    }
    wait_done(3 - _i);
    ck_assert(all_are(0, 3 - _i, 1, 0));
    ck_assert(began_in_order(0, 3 - _i));
    end();
}
END_TEST

START_TEST(out_of_memory_there_is_no_pool)
{
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, true);
    ck_assert_ptr_null(ws_offload_create(2, 2));
    ws_test_alloc_unfail();
    pool = ws_offload_create(2, 2);
    ck_assert_int_eq(ws_test_alloc.live, 1);
    ws_offload_destroy(pool);
    ck_assert_int_eq(ws_test_alloc.live, 0);
    ws_test_alloc_end();
}
END_TEST

/* Neither those who submit them nor the pool's threads. */
START_TEST(jobs_need_no_memory)
{
    sem_t gate;

    sem_init(&gate, 0, 0);
    begin(2, 4);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, true);
    block(0, 2, &gate);
    submit_all(2, 4);
    sem_give(&gate, 2);
    wait_done(6);
    ck_assert(ws_offload_pause(pool, LIMIT));
    ck_assert(ws_offload_resume(pool));
    ck_assert(!ws_test_alloc_unfail());
    ws_test_alloc_end();
    end();
    ck_assert(all_are(0, 6, 1, 0));
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(unused_pool_has_no_thread),
        WS_TEST(job_is_worked_and_finished_in_the_same_other_thread),
        WS_TEST(jobs_begin_in_their_order),
        WS_TEST_LOOP(queue_takes_no_more_than_it_may, 4),
        WS_TEST(queue_does_not_hold_what_a_thread_is_for),
        WS_TEST(queue_does_not_hold_what_an_idle_thread_is_for),
        WS_TEST(idle_thread_takes_the_next_job),
        WS_TEST_LOOP(all_threads_work_at_once, 8),
        WS_TEST(thread_has_a_name_and_takes_no_signals),
        WS_TEST(job_may_be_submitted_again_when_it_is_finished),
        WS_TEST_LOOP(many_threads_may_submit, 2),
        WS_TEST(stop_while_jobs_come_finishes_each_that_was_taken),
        WS_TEST(pause_waits_for_what_runs_and_begins_nothing),
        WS_TEST(what_comes_in_a_pause_waits),
        WS_TEST(pause_that_takes_too_long_is_taken_back),
        WS_TEST_LOOP(what_waits_is_run_in_another_process, 2),
        WS_TEST(locks_are_made_anew),
        WS_TEST(stop_finishes_what_waits),
        WS_TEST(stop_in_a_pause_finishes_what_waits),
        WS_TEST_LOOP(stop_that_takes_too_long_frees_nothing, 2),
        WS_TEST(job_is_refused_without_a_first_thread),
        WS_TEST(job_waits_without_a_further_thread),
        WS_TEST(next_job_gets_the_threads_that_were_not_to_be_had),
        WS_TEST_LOOP(jobs_wait_where_a_pause_ends_without_a_thread, 2),
        WS_TEST(out_of_memory_there_is_no_pool),
        WS_TEST(jobs_need_no_memory),
    };

    return ws_test_run("offload", tests, WS_TEST_COUNT(tests));
}
