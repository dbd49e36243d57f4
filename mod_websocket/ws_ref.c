/* ws_ref: how other threads reach a connection: references, what is posted by
 * them, and work that is done elsewhere. The functions are mod_websocket.h's. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ws_websocket.h"

struct websocket_ref_s {
    _Atomic unsigned count;
    _Atomic unsigned posts;          /* that wait */
    _Atomic bool is_over;
    const char *handler;             /* name */
    ws_loop_t *loop;
    websocket_t *ws;                 /* the loop's own; NULL: it is over */
};

/* --- references --- */

/* The connection has one of its own. */
websocket_ref_t *websocket_ref(websocket_t *ws)
{
    websocket_ref_t *ref = ws->ref;

    WS_CHECK_LOOP(ws);
    if (ref == NULL) {
        ref = calloc(1, sizeof(*ref));
        if (ref == NULL) {
            return NULL;
        }
        atomic_store(&ref->count, 1);
        ref->handler = ws->context->handler.name;
        ref->loop = ws->link.loop;
        ref->ws = ws;
        ws->ref = ref;
    }
    return websocket_ref_retain(ref);
}

websocket_ref_t *websocket_ref_retain(websocket_ref_t *ref)
{
    atomic_fetch_add(&ref->count, 1);
    return ref;
}

void websocket_ref_release(websocket_ref_t *ref)
{
    if (atomic_fetch_sub(&ref->count, 1) == 1) {
        free(ref);
    }
}

void ws_ref_end(websocket_t *ws)
{
    if (ws->ref != NULL) {
        atomic_store(&ws->ref->is_over, true);
        ws->ref->ws = NULL;
        websocket_ref_release(ws->ref);
        ws->ref = NULL;
    }
}

/* ws_websocket_enter(), also where the connection is over. */
static void enter(ws_loop_t *loop, const websocket_ref_t *ref,
                  const char *callback)
{
    ws_activity_call(ws_loop_activity(loop), ref->handler, callback,
                     ref->ws != NULL ? ref->ws->client : NULL);
}

/* --- posts --- */

typedef struct {
    ws_task_t task;
    websocket_ref_t *ref;
    void (*run)(websocket_t *ws, void *baton);
    void *baton;
} post_t;

static void run_post(ws_loop_t *loop, ws_task_t *task)
{
    post_t *post = (post_t *)task;
    websocket_t *ws = post->ref->ws;

    atomic_fetch_sub(&post->ref->posts, 1);
    enter(loop, post->ref, "post");
    post->run(ws, post->baton);
    ws_activity_return(ws_loop_activity(loop));
    websocket_ref_release(post->ref);
    free(post);
}

/* With room for extra bytes behind it. NULL: it cannot be had. */
static post_t *make_post(websocket_ref_t *ref,
                         void (*run)(websocket_t *ws, void *baton),
                         void *baton, size_t extra)
{
    post_t *post;

    if (atomic_load(&ref->is_over)) {
        return NULL;
    }
    post = malloc(sizeof(*post) + extra);
    if (post != NULL) {
        *post = (post_t){.task = {.run = run_post},
                         .ref = ref,
                         .run = run,
                         .baton = baton};
    }
    return post;
}

/* Takes it, also where it cannot be posted. */
static int send_off(post_t *post)
{
    websocket_ref_t *ref = post->ref;

    websocket_ref_retain(ref);
    if (atomic_fetch_add(&ref->posts, 1) < WEBSOCKET_POSTS_MAX &&
        ws_loop_post(ref->loop, &post->task)) {
        return 0;
    }
    atomic_fetch_sub(&ref->posts, 1);
    websocket_ref_release(ref);
    free(post);
    return -1;
}

int websocket_post(websocket_ref_t *ref,
                   void (*run)(websocket_t *ws, void *baton), void *baton)
{
    post_t *post = make_post(ref, run, baton, 0);

    return post != NULL ? send_off(post) : -1;
}

/* --- messages --- */

typedef struct {
    int type;
    size_t length;
    uint8_t data[];
} letter_t;

static void send_letter(websocket_t *ws, void *baton)
{
    const letter_t *letter = baton;

    if (ws != NULL) {
        websocket_send(ws, letter->type, letter->data, letter->length);
    }
}

int websocket_ref_send(websocket_ref_t *ref, int type, const void *data,
                       size_t length)
{
    post_t *post =
        make_post(ref, send_letter, NULL, sizeof(letter_t) + length);
    letter_t *letter;

    if (post == NULL) {
        return -1;
    }
    letter = (letter_t *)(post + 1);
    letter->type = type;
    letter->length = length;
    if (length > 0) {
        memcpy(letter->data, data, length);
    }
    post->baton = letter;
    return send_off(post);
}

/* --- work elsewhere --- */

typedef ws_errand_t errand_t;

struct ws_errand {
    ws_job_t job;
    ws_task_t task;                  /* when it is done */
    errand_t *next;                  /* orphan */
    ws_process_t *process;
    websocket_ref_t *ref;
    void (*work)(void *baton);
    void (*done)(websocket_t *ws, void *baton);
    void *baton;
};

static void end_errand(errand_t *errand, websocket_t *ws)
{
    errand->done(ws, errand->baton);
    websocket_ref_release(errand->ref);
    free(errand);
}

static void finish_in_loop(ws_loop_t *loop, ws_task_t *task)
{
    errand_t *errand = (errand_t *)((char *)task - offsetof(errand_t, task));

    enter(loop, errand->ref, "offload");
    end_errand(errand, errand->ref->ws);
    ws_activity_return(ws_loop_activity(loop));
}

static void work(ws_job_t *job)
{
    const errand_t *errand = (const errand_t *)job;

    errand->work(errand->baton);
}

/* A loop that has stopped may still be telling its connections that they are
 * over: done, which may use the same data as close, waits until no loop runs. */
static void finish(ws_job_t *job, bool was_run)
{
    errand_t *errand = (errand_t *)job;
    _Atomic(errand_t *) *orphans = &errand->process->orphans;

    if (was_run && ws_loop_post(errand->ref->loop, &errand->task)) {
        return;
    }
    errand->next = atomic_load(orphans);
    while (!atomic_compare_exchange_weak(orphans, &errand->next, errand)) {
        continue;
    }
}

void ws_ref_end_orphans(ws_process_t *process)
{
    errand_t *errand = atomic_exchange(&process->orphans, NULL);
    errand_t *next;

    for (; errand != NULL; errand = next) {
        next = errand->next;
        end_errand(errand, NULL);
    }
}

int websocket_offload(websocket_t *ws, void (*work_)(void *baton),
                      void (*done)(websocket_t *ws, void *baton), void *baton)
{
    ws_process_t *process = ws->context->process;
    errand_t *errand = NULL;

    WS_CHECK_LOOP(ws);
    if (ws_websocket_is_open(ws) && process != NULL &&
        process->offload != NULL) {
        errand = calloc(1, sizeof(*errand));
    }
    if (errand == NULL) {
        return -1;
    }
    errand->job.work = work;
    errand->job.finish = finish;
    errand->task.run = finish_in_loop;
    errand->process = process;
    errand->ref = websocket_ref(ws);
    errand->work = work_;
    errand->done = done;
    errand->baton = baton;
    if (errand->ref == NULL ||
        !ws_offload_submit(process->offload, &errand->job)) {
        if (errand->ref != NULL) {
            websocket_ref_release(errand->ref);
        }
        free(errand);
        return -1;
    }
    return 0;
}
