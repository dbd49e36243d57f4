#include "ws_process.h"

#include <pthread.h>
#include <signal.h>

#include "ws_context.h"

static void close_its_own(ws_link_t *link, void *context)
{
    websocket_t *ws = ws_websocket_of(link);

    if (ws->context == context) {
        websocket_close(ws, WS_CODE_RESTART, "service restart");
    }
}

/* Those that are here came from another process. At once: before a loop runs,
 * which would give it their messages. */
static void close_connections(const ws_process_t *process,
                              websocket_context_t *context)
{
    unsigned i;

    for (i = 0; i < process->worker_count; i++) {
        ws_loop_each(ws_worker_loop(process->workers[i]), close_its_own,
                     context);
    }
}

static void begin(ws_process_t *process, websocket_context_t *context)
{
    context->process = process;
    context->inits++;
    context->is_broken = context->handler.child_init != NULL &&
                         context->handler.child_init(context) != 0;
    if (context->is_broken) {
        ws_logger_printf(context->logger, WS_LOG_ERROR,
                         "handler %s: its child_init failed: this process "
                         "serves none of its WebSockets",
                         context->handler.name);
        close_connections(process, context);
    }
}

/* Signals are for the process's own threads, and not for those that handlers
 * start here; but SIGALRM ends a keeper that hangs. */
void ws_process_begin(ws_process_t *process)
{
    sigset_t all;
    sigset_t before;
    size_t i;

    sigfillset(&all);
    sigdelset(&all, SIGALRM);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (i = 0; i < process->context_count; i++) {
        begin(process, process->contexts[i]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void end(websocket_context_t *context)
{
    if (context->handler.child_exit != NULL) {
        context->handler.child_exit(context);
    }
    context->inits++;
    ws_context_end_timers(context);
    context->process = NULL;
}

/* The last is the first. */
static void end_all(ws_process_t *process)
{
    size_t i;

    for (i = process->context_count; i-- > 0;) {
        end(process->contexts[i]);
    }
}

bool ws_process_end(ws_process_t *process, int64_t limit)
{
    if (process->offload != NULL) {
        if (!ws_offload_stop(process->offload, limit)) {
            return false;
        }
        ws_offload_destroy(process->offload);
        process->offload = NULL;
        ws_ref_end_orphans(process);
    }
    end_all(process);
    return true;
}

bool ws_process_pause(ws_process_t *process, int64_t limit)
{
    if (process->offload != NULL &&
        !ws_offload_pause(process->offload, limit)) {
        ws_offload_resume(process->offload);
        return false;
    }
    end_all(process);
    return true;
}

static void tell_moved(const ws_process_t *process)
{
    size_t i;

    for (i = 0; i < process->context_count; i++) {
        websocket_context_t *context = process->contexts[i];

        if (!context->is_broken && context->handler.moved != NULL) {
            context->handler.moved(context);
        }
    }
}

void ws_process_go_on(ws_process_t *process)
{
    ws_process_begin(process);
    if (process->offload != NULL) {
        ws_offload_resume(process->offload);
    }
}

void ws_process_move(ws_process_t *process)
{
    if (process->offload != NULL) {
        ws_offload_move(process->offload);
    }
    ws_process_begin(process);
    tell_moved(process);
    if (process->offload != NULL) {
        ws_offload_resume(process->offload);
    }
}
