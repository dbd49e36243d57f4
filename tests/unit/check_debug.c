/* A debug build (configure --enable-debug): what a handler calls in a wrong
 * thread ends the process, and says why. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "ws_test_worker.h"

#ifndef WS_DEBUG
#error "in no other build is a wrong thread noticed"
#endif

static websocket_t *_Atomic kept;
static websocket_timer_t *timer;
static websocket_ref_t *ref;
static atomic_int opens;

static void run_nothing(websocket_t *ws, void *baton)
{
    (void)ws;
    (void)baton;
}

static void run_no_context(websocket_context_t *context, void *baton)
{
    (void)context;
    (void)baton;
}

static void work_nothing(void *baton)
{
    (void)baton;
}

static void on_open(websocket_t *ws)
{
    timer = websocket_timer_start(ws, 1000000, 0, run_nothing, NULL);
    ref = websocket_ref(ws);
    atomic_store(&kept, ws);
    atomic_fetch_add(&opens, 1);
}

static void on_message(websocket_t *ws, int type, const void *data,
                       size_t length)
{
    websocket_send(ws, type, data, length);
}

static const websocket_handler_t strict = {HANDLER("strict"), .open = on_open,
                                           .message = on_message};

/* --- what may be called in the loop alone --- */

static void call_data(void)
{
    websocket_data(kept);
}

static void call_set_data(void)
{
    websocket_set_data(kept, NULL, NULL);
}

static void call_id(void)
{
    websocket_id(kept);
}

static void call_client(void)
{
    websocket_client(kept);
}

static void call_protocol(void)
{
    websocket_protocol(kept);
}

static void call_send(void)
{
    websocket_send(kept, WEBSOCKET_TEXT, "x", 1);
}

static void call_buffered(void)
{
    websocket_buffered(kept);
}

static void call_dropped(void)
{
    websocket_dropped(kept);
}

static void call_pause(void)
{
    websocket_pause(kept);
}

static void call_resume(void)
{
    websocket_resume(kept);
}

static void call_log(void)
{
    websocket_log(kept, WEBSOCKET_LOG_INFO, "x");
}

static void call_timer_start(void)
{
    websocket_timer_start(kept, 1000000, 0, run_nothing, NULL);
}

static void call_timer_stop(void)
{
    websocket_timer_stop(timer);
}

static void call_ref(void)
{
    websocket_ref_release(websocket_ref(kept));
}

static void call_offload(void)
{
    websocket_offload(kept, work_nothing, run_nothing, NULL);
}

static void call_subscribe(void)
{
    websocket_subscribe(kept, "room");
}

static void call_unsubscribe(void)
{
    websocket_unsubscribe(kept, "room");
}

static void call_publish(void)
{
    websocket_publish(kept, "room", WEBSOCKET_TEXT, "x", 1, 0);
}

static void call_close(void)
{
    websocket_close(kept, 4000, NULL);
}

static const struct {
    const char *name;
    void (*call)(void);
} calls[] = {
    {"websocket_data", call_data},
    {"websocket_set_data", call_set_data},
    {"websocket_id", call_id},
    {"websocket_client", call_client},
    {"websocket_protocol", call_protocol},
    {"websocket_send", call_send},
    {"websocket_buffered", call_buffered},
    {"websocket_dropped", call_dropped},
    {"websocket_pause", call_pause},
    {"websocket_resume", call_resume},
    {"websocket_log", call_log},
    {"websocket_timer_start", call_timer_start},
    {"websocket_timer_stop", call_timer_stop},
    {"websocket_ref", call_ref},
    {"websocket_offload", call_offload},
    {"websocket_subscribe", call_subscribe},
    {"websocket_unsubscribe", call_unsubscribe},
    {"websocket_publish", call_publish},
    {"websocket_close", call_close},
};

#define CALLS WS_TEST_COUNT(calls)

static int begin(void)
{
    int fd;

    begin_process(&strict);
    fd = connect_to(contexts[0], workers[0]);
    wait_until(&opens, 1);
    return fd;
}

/* In a process of its own, whose last words go to the pipe. */
static void call_and_die(int which, int words)
{
    const struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    begin();
    dup2(words, STDERR_FILENO);
    calls[which].call();                    /* this is not the loop's thread */
    _exit(0);
}

START_TEST(call_in_a_wrong_thread_ends_the_process)
{
    char expected[128];
    char words[4096] = "";
    size_t length = 0;
    ssize_t count;
    int status = 0;
    int pipes[2];
    pid_t child;

    ck_assert_int_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        call_and_die(_i, pipes[1]);
    }
    ck_assert_int_gt(child, 0);
    close(pipes[1]);
    while ((count = read(pipes[0], words + length,
                         sizeof(words) - 1 - length)) > 0) {
        length += (size_t)count;
    }
    close(pipes[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                  "%s() ended it with %x", calls[_i].name, (unsigned)status);
    snprintf(expected, sizeof(expected),
             "mod_websocket: handler strict calls %s() in a thread that is "
             "not the connection's loop",
             calls[_i].name);
    ck_assert_msg(strncmp(words, expected, strlen(expected)) == 0,
                  "\"%s\" instead of \"%s\"", words, expected);
}
END_TEST

static void call_all(void)
{
    size_t i;

    for (i = 0; i < CALLS; i++) {
        calls[i].call();
    }
}

/* The loop's; or any, while there is none. */
START_TEST(call_in_a_right_thread_is_served)
{
    int fd = begin();

    if (_i == 0) {
        on_worker(workers[0], call_all);
    }
    else {
        pause_threads();
        call_all();
        start_threads();
    }
    client_expect(fd, 0x81, "x");
    client_expect_close(fd, 4000, "");
    close(fd);
    websocket_ref_release(ref);
    end_process();
}
END_TEST

START_TEST(what_any_thread_may_call_is_served)
{
    int fd = begin();

    ck_assert_ptr_eq(websocket_context(kept), contexts[0]);
    ck_assert_int_eq(websocket_post(ref, run_nothing, NULL), 0);
    ck_assert_int_eq(websocket_ref_send(ref, WEBSOCKET_TEXT, "sent", 4), 0);
    websocket_ref_release(websocket_ref_retain(ref));
    ck_assert_int_eq(websocket_context_timer(contexts[0], 0, 0, run_no_context,
                                             NULL),
                     0);
    ck_assert_int_eq(websocket_context_each(contexts[0], run_nothing, NULL,
                                            NULL),
                     0);
    ck_assert_int_eq(websocket_context_publish(contexts[0], "room",
                                               WEBSOCKET_TEXT, "x", 1),
                     0);
    ck_assert_int_eq(websocket_subscribers(contexts[0], "nobody"), 0);
    websocket_context_log(contexts[0], WEBSOCKET_LOG_INFO, "x");
    client_expect(fd, 0x81, "sent");
    close(fd);
    websocket_ref_release(ref);
    end_process();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(call_in_a_wrong_thread_ends_the_process, (int)CALLS),
        WS_TEST_LOOP(call_in_a_right_thread_is_served, 2),
        WS_TEST(what_any_thread_may_call_is_served),
    };
    int result;

    apr_initialize();
    result = ws_test_run("debug", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
