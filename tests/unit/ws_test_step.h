/* ws_test_step: a child that is killed after any of its machine instructions.
 * Threads:  one.
 * Lifetime: a child that was started is killed, or a zombie for ever. */
#ifndef WS_TEST_STEP_H
#define WS_TEST_STEP_H

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "ws_test.h"

/* A child that stands right before function(baton). -1: no ptrace here. */
static pid_t ws_test_step_start(void (*function)(void *baton), void *baton)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        signal(SIGSTOP, SIG_DFL);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(77);
        }
        raise(SIGSTOP);
        function(baton);
        raise(SIGSTOP);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSTOPPED(status) ? child : -1;
}

/* One instruction. false: it has done all. */
static bool ws_test_step(pid_t child)
{
    int status = 0;

    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0) {
        return false;
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

static void ws_test_step_kill(pid_t child)
{
    int status = 0;

    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* How many instructions the function takes; it has run once then. -1: no
 * ptrace here. */
static long ws_test_step_count(void (*function)(void *baton), void *baton)
{
    pid_t child = ws_test_step_start(function, baton);
    long count = 0;

    if (child < 0) {
        return -1;
    }
    while (ws_test_step(child)) {
        count++;
    }
    ws_test_step_kill(child);
    return count;
}

/* A child that was killed after n instructions. */
WS_TEST_UNUSED static void
ws_test_step_die_after(long n, void (*function)(void *baton), void *baton)
{
    pid_t child = ws_test_step_start(function, baton);
    long i;

    ck_assert_int_gt(child, 0);
    for (i = 0; i < n && ws_test_step(child); i++) {
        continue;
    }
    ws_test_step_kill(child);
}

/* A child that does it all, but stands still after n instructions while this
 * one calls meanwhile(). */
WS_TEST_UNUSED static void
ws_test_step_interrupt(long n, void (*function)(void *baton), void *baton,
                       void (*meanwhile)(void))
{
    pid_t child = ws_test_step_start(function, baton);
    int status = 0;
    long i = 0;

    ck_assert_int_gt(child, 0);
    while (i < n && ws_test_step(child)) {
        i++;
    }
    meanwhile();
    if (i == n) {
        ck_assert_int_eq(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    }
    ws_test_step_kill(child);
}

/* To die after each of count instructions is count * count / 2 steps. Which
 * of them, so that it is no more than this? The sanitizers' code is longer. */
static long ws_test_step_every(long count, long steps)
{
    return count * count / 2 / steps + 1;
}

#endif
