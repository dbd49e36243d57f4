/* The keeper: a child that ends in good order, and still has WebSockets, forks.
 * The child goes on ending; the new process serves the WebSockets until the
 * last is gone, and then exits. It never returns into httpd, and uses none of
 * its pools: a lock of theirs may have been held when it was forked.
 *
 * Keepers are no children of httpd's parent, which knows them by a table in
 * shared memory only. They in turn watch the parent. */
#include "mod_websocket_internal.h"

#include <ap_listen.h>
#include <errno.h>
#include <http_core.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "ws_clock.h"
#include "ws_shared.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

APLOG_USE_MODULE(websocket);

/* Of the data that survives a graceful restart. The number is that of its
 * layout: a restart may load a new version. */
#define TABLE_KEY "mod_websocket_keepers_1"

/* How many there may be: so many generations of all children, but each worker
 * costs a descriptor in every process (ws_log). */
#define GENERATIONS 32
#define MIN_KEEPERS 8
#define MAX_KEEPERS 1024
#define SHARE_OF_DESCRIPTORS 8       /* at most an eighth of them */

#define FEW_SPARE_SERVERS 10         /* httpd's default is not few */

#define WATCH_INTERVAL 250           /* ms */
#define JOIN_EXTRA 2000              /* ms */
#define GUARD 10                     /* s */

/* One keeper. */
typedef struct {
    _Atomic uint32_t pid;            /* 0: free */
    _Atomic bool is_recalled;        /* newer ones need the place */
    _Atomic int64_t began;           /* ms, monotonic */
} entry_t;

/* In shared memory. */
typedef struct {
    _Atomic bool httpd_ends;
    unsigned max;                    /* entries */
    unsigned headroom;               /* of them are for those to come */
    entry_t entries[];
} table_t;

/* What survives a restart: in the process pool. */
typedef struct {
    table_t *table;
    bool is_noted;                   /* note_mpm_settings(), once */
} retained_t;

/* This process's. */
static struct {
    table_t *table;                  /* NULL: there are no WebSockets here */
    pid_t parent;                    /* httpd's */
    int parent_fd;                   /* tells its end; -1: cannot be had */
    bool is_orphan;
    entry_t *entry;                  /* of a keeper */
    volatile sig_atomic_t is_terminated;
} process = {.parent_fd = -1};

/* --- the table --- */

unsigned mod_websocket_keepers(void)
{
    unsigned count = 0;
    unsigned i;

    for (i = 0; process.table != NULL && i < process.table->max; i++) {
        count += ws_shared_owner_lives(
            atomic_load(&process.table->entries[i].pid));
    }
    return count;
}

/* For the keeper to be: in this process's name, until it has been forked.
 * NULL: all are in use. */
static entry_t *claim_entry(void)
{
    entry_t *entry;
    uint32_t pid;
    unsigned i;

    for (i = 0; i < process.table->max; i++) {
        entry = &process.table->entries[i];
        pid = atomic_load(&entry->pid);
        if (!ws_shared_owner_lives(pid) &&
            atomic_compare_exchange_strong(&entry->pid, &pid,
                                           (uint32_t)getpid())) {
            atomic_store(&entry->is_recalled, false);
            atomic_store(&entry->began, ws_clock_ms());
            return entry;
        }
    }
    return NULL;
}

/* The oldest that goes on; NULL: there are few enough. */
static entry_t *find_surplus(void)
{
    const table_t *table = process.table;
    entry_t *oldest = NULL;
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < table->max; i++) {
        entry_t *entry = &process.table->entries[i];

        if (!ws_shared_owner_lives(atomic_load(&entry->pid)) ||
            atomic_load(&entry->is_recalled)) {
            continue;
        }
        count++;
        if (oldest == NULL ||
            atomic_load(&entry->began) < atomic_load(&oldest->began)) {
            oldest = entry;
        }
    }
    return count > table->max - table->headroom ? oldest : NULL;
}

static void recall_surplus(server_rec *server)
{
    entry_t *entry;

    while ((entry = find_surplus()) != NULL) {
        atomic_store(&entry->is_recalled, true);
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "too many keepers of WebSockets, at most %u may stay: "
                     "the oldest, process %u, is to close its connections",
                     process.table->max - process.table->headroom,
                     (unsigned)atomic_load(&entry->pid));
    }
}

/* --- httpd's parent --- */

unsigned mod_websocket_keepers_max(unsigned children, unsigned workers)
{
    struct rlimit limit;
    unsigned slots = MAX_KEEPERS;
    unsigned max;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur / SHARE_OF_DESCRIPTORS < slots) {
        slots = (unsigned)(limit.rlim_cur / SHARE_OF_DESCRIPTORS);
    }
    max = slots / workers;
    max = max < children * GENERATIONS ? max : children * GENERATIONS;
    return max > MIN_KEEPERS ? max : MIN_KEEPERS;
}

bool mod_websocket_keepers_create(unsigned max, unsigned children)
{
    retained_t *retained = ap_retained_data_get(TABLE_KEY);
    table_t *table;

    if (retained != NULL) {
        return true;
    }
    table = ws_shared_map(sizeof(table_t) + max * sizeof(entry_t));
    if (table == NULL) {
        return false;
    }
    table->max = max;
    table->headroom = children < max / 2 ? children : max / 2;
    retained = ap_retained_data_create(TABLE_KEY, sizeof(*retained));
    retained->table = table;
    return true;
}

/* A child that is retired leaves a keeper, and so many processes in the end. */
static void note_mpm_settings(server_rec *server)
{
    int requests = 0;
    int threads = 0;
    int daemons = 0;
    int min_spare = 0;
    int max_spare = 0;
    bool is_threaded;
    int few;

    ap_mpm_query(AP_MPMQ_MAX_REQUESTS_DAEMON, &requests);
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &daemons);
    is_threaded = threads > 1;
    ap_mpm_query(AP_MPMQ_MIN_SPARE_THREADS, &min_spare);
    ap_mpm_query(is_threaded ? AP_MPMQ_MAX_SPARE_THREADS
                             : AP_MPMQ_MAX_SPARE_DAEMONS,
                 &max_spare);
    few = is_threaded ? min_spare + 2 * threads : FEW_SPARE_SERVERS;
    if (requests > 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "MaxConnectionsPerChild is %d: each child that it ends "
                     "leaves its WebSockets to another process; 0 is better "
                     "with WebSockets",
                     requests);
    }
    if (max_spare < few && max_spare < daemons * (is_threaded ? threads : 1)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "%s is %d: each child that it ends leaves its WebSockets "
                     "to another process; a greater number is better with "
                     "WebSockets",
                     is_threaded ? "MaxSpareThreads" : "MaxSpareServers",
                     max_spare);
    }
}

/* The configuration is dropped: because httpd ends? A supervisor may kill what
 * is left of httpd when the parent is gone, and the first process of a
 * container takes all others with it. So the parent waits for the keepers. */
static apr_status_t wait_for_keepers(void *baton)
{
    server_rec *server = baton;
    int64_t limit = mod_websocket_global.drain_timeout + JOIN_EXTRA;
    int64_t until = ws_clock_ms() + limit;

    if (getpid() != process.parent ||
        ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_EXITING) {
        return APR_SUCCESS;
    }
    atomic_store(&process.table->httpd_ends, true);
    if (mod_websocket_keepers() == 0) {
        return APR_SUCCESS;
    }
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                 "waiting for %u keepers of WebSockets",
                 mod_websocket_keepers());
    ap_close_listeners();                   /* for an httpd that starts now */
    while (mod_websocket_keepers() > 0 && ws_clock_ms() < until) {
        poll(NULL, 0, 20);
    }
    return APR_SUCCESS;
}

void mod_websocket_keepers_configure(apr_pool_t *pconf, server_rec *server)
{
    retained_t *retained = ap_retained_data_get(TABLE_KEY);

    if (retained == NULL) {
        return;                             /* there never were any */
    }
    process.table = retained->table;
    process.parent = getpid();
    if (mod_websocket_has_handlers() && mod_websocket_global.reload_keeps &&
        !retained->is_noted) {
        retained->is_noted = true;
        note_mpm_settings(server);
    }
    /* a pre-cleanup: while the log and the listeners are there */
    apr_pool_pre_cleanup_register(pconf, server, wait_for_keepers);
}

/* Now and then, in the parent, which is told of the end of its children only. */
int mod_websocket_keepers_monitor(apr_pool_t *pool, server_rec *server)
{
    unsigned i;

    (void)pool;
    for (i = 0; process.table != NULL && i < process.table->max; i++) {
        entry_t *entry = &process.table->entries[i];
        uint32_t pid = atomic_load(&entry->pid);

        if (pid != 0 && !ws_shared_owner_lives(pid) &&
            atomic_compare_exchange_strong(&entry->pid, &pid, 0)) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, server,
                         "keeper of WebSockets, process %u, has ended without "
                         "a word: its connections are lost",
                         (unsigned)pid);
        }
    }
    return DECLINED;
}

/* A graceful stop: the parent closes its listeners at once, and then sees its
 * children end. No hook says so earlier. */
void mod_websocket_keepers_child_status(server_rec *server, pid_t pid,
                                        ap_generation_t generation, int slot,
                                        mpm_child_status status)
{
    (void)server;
    (void)pid;
    (void)generation;
    (void)slot;
    if (process.table != NULL && status == MPM_CHILD_EXITED &&
        ap_listeners != NULL && !ap_listeners->active) {
        atomic_store(&process.table->httpd_ends, true);
    }
}

/* --- a child, and the keeper that it becomes --- */

void mod_websocket_keeper_child_init(void)
{
#ifdef SYS_pidfd_open
    process.parent_fd = (int)syscall(SYS_pidfd_open, process.parent, 0);
#endif
    /* it may have ended just now, and its number be another's; httpd -X has
     * none */
    process.is_orphan = getppid() != process.parent;
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
    return ws_shared_owner_lives((uint32_t)process.parent);
}

bool mod_websocket_httpd_ends(void)
{
    return atomic_load(&process.table->httpd_ends) || !parent_is_there();
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
    if (atomic_load(&process.table->httpd_ends)) {
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

    process.entry = claim_entry();
    if (process.entry == NULL) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, estate->server,
                     "no more than %u keepers of WebSockets can be had",
                     process.table->max);
        return false;
    }
    recall_surplus(estate->server);
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
