/* The keeper: a child that ends in good order, and still has WebSockets, forks.
 * The child goes on ending; the new process serves the WebSockets until the
 * last is gone, and then exits. It never returns into httpd, and uses none of
 * its pools: a lock of theirs may have been held when it was forked.
 *
 * It watches httpd's parent, which knows it by a table only:
 * mod_websocket_keepers.c. */
#include "mod_websocket_internal.h"

#include <ap_listen.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ws_clock.h"
#include "ws_shared.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

APLOG_USE_MODULE(websocket);

#define WATCH_INTERVAL 250           /* ms */
#define JOIN_EXTRA MOD_WEBSOCKET_JOIN_EXTRA
#define GUARD 10                     /* s */

/* This process's. */
static struct {
    int parent_fd;                   /* tells its end; -1: cannot be had */
    bool is_orphan;
    mod_websocket_entry_t *entry;    /* of a keeper */
    volatile sig_atomic_t is_terminated;
} process = {.parent_fd = -1};

/* --- a child --- */

void mod_websocket_keeper_child_init(void)
{
#ifdef SYS_pidfd_open
    process.parent_fd = (int)syscall(SYS_pidfd_open, mod_websocket_keepers_parent(), 0);
#endif
    /* it may have ended just now, and its number be another's; httpd -X has
     * none */
    process.is_orphan = getppid() != mod_websocket_keepers_parent();
}

static bool parent_is_there(void)
{
    struct pollfd pollfd = {.fd = process.parent_fd, .events = POLLIN};

    if (process.is_orphan) {
        return false;
    }
    if (process.parent_fd >= 0) {
        return poll(&pollfd, 1, 0) <= 0;
    }
    return ws_shared_owner_lives((uint32_t)mod_websocket_keepers_parent());
}

bool mod_websocket_httpd_ends(void)
{
    return mod_websocket_keepers_are_to_end() || !parent_is_there();
}

/* What other processes know under this one's number. Said by both, so that
 * there is no moment at which it is nobody's. */
static void pass_on(const mod_websocket_estate_t *estate, pid_t from, pid_t to)
{
    uint32_t pid = (uint32_t)from;
    unsigned i;

    atomic_compare_exchange_strong(&process.entry->pid, &pid, (uint32_t)to);
    for (i = 0; i < estate->worker_count; i++) {
        ws_worker_pass(estate->workers[i], from, to);
    }
    ws_seats_move(estate->seats, from, to);
}

/* --- the keeper --- */

#ifdef __linux__

/* Where the kernel finds the command line: fields 48 and 49 of proc(5)'s stat.
 * NULL: not known. */
static char *find_command_line(size_t *plength)
{
    char line[2048];
    unsigned long start = 0;
    unsigned long end = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    const char *at = NULL;
    int field;

    if (file == NULL) {
        return NULL;
    }
    if (fgets(line, sizeof(line), file) != NULL) {
        at = strrchr(line, ')');            /* ends the second field */
    }
    fclose(file);
    for (field = 2; at != NULL && field < 48; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL || sscanf(at, "%lu %lu", &start, &end) != 2 || start == 0 ||
        end <= start) {
        return NULL;
    }
    *plength = end - start;
    return (char *)start; /* NOLINT(performance-no-int-to-ptr) */
}

/* For ps and top. */
static void name_process(const server_rec *server)
{
    char name[64];
    size_t length = 0;
    char *line = find_command_line(&length);

    prctl(PR_SET_NAME, "httpd-keeper");
    snprintf(name, sizeof(name), "%s: websocket keeper",
             server->process->short_name);
    if (line != NULL) {
        memset(line, 0, length);
        strncpy(line, name, length - 1);
    }
}

#else

static void name_process(const server_rec *server)
{
    (void)server;
}

#endif

static void on_terminate(int number)
{
    (void)number;
    process.is_terminated = 1;
}

/* The prefork MPM signals the whole process group. SIGTERM is a stop; a restart
 * is not for us. Signals have been blocked since before the fork. */
static void set_signals(void)
{
    static const int ignored[] = {SIGHUP, SIGUSR1, SIGWINCH, SIGPIPE};
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigset_t none;
    size_t i;

    for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        sigaction(ignored[i], &action, NULL);
    }
    action.sa_handler = SIG_DFL;
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = on_terminate;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* A lock of libc that another thread of the child had at the fork stays locked
 * here: that of the time zone, as log lines need it, or of syslog(3). Whoever
 * comes to it hangs. So this process dies (SIGALRM) if its main thread is not
 * heard of for a time; its clients then connect again. */
static void be_alive(int64_t next)
{
    alarm((unsigned)(next / 1000) + GUARD);
}

/* Why it is to end, if it is, and with which close code. */
static const char *reason_to_end(uint16_t *pcode)
{
    int64_t age = ws_clock_ms() - atomic_load(&process.entry->began);

    *pcode = MOD_WEBSOCKET_GOING_AWAY;
    if (process.is_terminated) {
        return "it was told to (SIGTERM)";
    }
    if (mod_websocket_keepers_are_to_end()) {
        return "httpd ends";
    }
    if (!parent_is_there()) {
        return "httpd's parent process has gone";
    }
    *pcode = MOD_WEBSOCKET_SERVICE_RESTART;
    if (atomic_load(&process.entry->is_recalled)) {
        return "newer keepers need its place";
    }
    return age >= mod_websocket_global.keep_time
               ? "the time of WebSocketReload is over"
               : NULL;
}

static void close_all(const mod_websocket_estate_t *estate, uint16_t code)
{
    mod_websocket_close_all(estate->workers, estate->worker_count, code,
                            mod_websocket_global.drain_timeout);
}

/* The first goes on, for the handlers' timers, until the others have ended. */
static bool have_ended(const mod_websocket_estate_t *estate)
{
    unsigned i;

    for (i = estate->worker_count; i-- > 0;) {
        if (i == 0) {
            ws_loop_end_when_empty(ws_worker_loop(estate->workers[0]));
        }
        if (!ws_worker_wait(estate->workers[i], WATCH_INTERVAL)) {
            return false;
        }
    }
    return true;
}

/* Until the last connection has ended. Returns why it did. */
static const char *serve(const mod_websocket_estate_t *estate)
{
    const char *why = NULL;
    int64_t until = 0;
    uint16_t code;

    be_alive(0);
    while (!have_ended(estate)) {
        be_alive(0);
        if (why != NULL && ws_clock_ms() > until) {
            return "a WebSocket handler blocks its thread";
        }
        if (why == NULL && (why = reason_to_end(&code)) != NULL) {
            close_all(estate, code);
            until =
                ws_clock_ms() + mod_websocket_global.drain_timeout + JOIN_EXTRA;
        }
    }
    return why != NULL ? why : "the last WebSocket has ended";
}

/* The loops, and what they need, become this process's own. */
static bool take_over(const mod_websocket_estate_t *estate)
{
    unsigned i;

    for (i = 0; i < estate->worker_count; i++) {
        if (ws_worker_move(estate->workers[i]) != WS_OK) {
            return false;
        }
    }
    ws_process_move(estate->handlers);
    return true;
}

static bool start_threads(const mod_websocket_estate_t *estate)
{
    unsigned i;

    for (i = 0; i < estate->worker_count; i++) {
        if (i > 0) {
            ws_loop_end_when_empty(ws_worker_loop(estate->workers[i]));
        }
        if (ws_worker_start(estate->workers[i]) != WS_OK) {
            return false;
        }
    }
    if (estate->watch != NULL) {
        ws_watch_start(estate->watch);      /* it is not missed much */
    }
    return true;
}

/* As not all threads are to be had: closes all connections, those of the others
 * in this one. */
static void give_up(const mod_websocket_estate_t *estate)
{
    unsigned i;

    be_alive((mod_websocket_global.drain_timeout + JOIN_EXTRA) *
             (estate->worker_count + 1));
    close_all(estate, MOD_WEBSOCKET_SERVICE_RESTART);
    for (i = 0; i < estate->worker_count; i++) {
        if (ws_worker_wait(estate->workers[i], 0)) {
            ws_worker_finish(estate->workers[i]);
        }
    }
    for (i = 0; i < estate->worker_count; i++) {
        ws_worker_wait(estate->workers[i],
                       mod_websocket_global.drain_timeout + JOIN_EXTRA);
    }
}

/* Does no loop run? */
static bool are_idle(const mod_websocket_estate_t *estate)
{
    unsigned i;

    for (i = 0; i < estate->worker_count; i++) {
        if (!ws_worker_wait(estate->workers[i], 0)) {
            return false;
        }
    }
    return true;
}

static void free_workers(const mod_websocket_estate_t *estate)
{
    unsigned i;

    /* the first one's slot has the budget of all */
    for (i = estate->worker_count; i-- > 0;) {
        ws_worker_join(estate->workers[i], 0);
    }
}

static void live(const mod_websocket_estate_t *estate, pid_t child)
{
    server_rec *server = estate->server;
    const char *why = "no descriptor is to be had";
    int64_t began = ws_clock_ms();
    bool is_over;

    pass_on(estate, child, getpid());
    name_process(server);
    set_signals();
    be_alive(0);
    ap_close_listeners();
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                 "keeper begins: %" APR_SIZE_T_FMT " WebSockets of process "
                 "%d, which ends; for at most %" APR_INT64_T_FMT " s",
                 estate->connections, (int)child,
                 mod_websocket_global.keep_time / 1000);
    if (take_over(estate)) {
        if (start_threads(estate)) {
            why = serve(estate);
        }
        else {
            give_up(estate);
            why = "no thread is to be had";
        }
    }
    be_alive(0);
    is_over =
        are_idle(estate) && ws_process_end(estate->handlers, JOIN_EXTRA);
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                 "keeper ends after %" APR_INT64_T_FMT " s, with %"
                 APR_SIZE_T_FMT " WebSockets at its beginning: %s",
                 (ws_clock_ms() - began) / 1000, estate->connections, why);
    if (is_over) {
        free_workers(estate);
    }
    atomic_store(&process.entry->pid, 0);
    _exit(0);                               /* nothing of httpd's runs */
}

bool mod_websocket_leave_to_keeper(const mod_websocket_estate_t *estate)
{
    pid_t child = getpid();
    pid_t keeper;

    process.entry = mod_websocket_keepers_claim(estate->server);
    if (process.entry == NULL) {
        return false;
    }
    keeper = fork();
    if (keeper == 0) {
        live(estate, child);
    }
    if (keeper < 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, estate->server,
                     "no keeper of WebSockets can be had");
        atomic_store(&process.entry->pid, 0);
        return false;
    }
    pass_on(estate, child, keeper);
    return true;
}
