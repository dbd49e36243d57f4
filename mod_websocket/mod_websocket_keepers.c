/* All keepers: a table in shared memory. They are no children of httpd's parent,
 * which knows them by it only: it makes the table, says in it that httpd ends,
 * waits for them then, and tells of those that died. */
#include "mod_websocket_internal.h"

#include <ap_listen.h>
#include <http_core.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ws_clock.h"
#include "ws_shared.h"

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

/* In shared memory. */
typedef struct {
    _Atomic bool httpd_ends;
    unsigned max;                    /* entries */
    unsigned headroom;               /* of them are for those to come */
    mod_websocket_entry_t entries[];
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
} process;

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
static mod_websocket_entry_t *claim_entry(void)
{
    mod_websocket_entry_t *entry;
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
static mod_websocket_entry_t *find_surplus(void)
{
    const table_t *table = process.table;
    mod_websocket_entry_t *oldest = NULL;
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < table->max; i++) {
        mod_websocket_entry_t *entry = &process.table->entries[i];

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
    mod_websocket_entry_t *entry;

    while ((entry = find_surplus()) != NULL) {
        atomic_store(&entry->is_recalled, true);
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "too many keepers of WebSockets, at most %u may stay: "
                     "the oldest, process %u, is to close its connections",
                     process.table->max - process.table->headroom,
                     (unsigned)atomic_load(&entry->pid));
    }
}

mod_websocket_entry_t *mod_websocket_keepers_claim(server_rec *server)
{
    mod_websocket_entry_t *entry = claim_entry();

    if (entry == NULL) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "no more than %u keepers of WebSockets can be had",
                     process.table->max);
        return NULL;
    }
    recall_surplus(server);
    return entry;
}

bool mod_websocket_keepers_are_to_end(void)
{
    return atomic_load(&process.table->httpd_ends);
}

pid_t mod_websocket_keepers_parent(void)
{
    return process.parent;
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
    table = ws_shared_map(sizeof(table_t) + max * sizeof(mod_websocket_entry_t));
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
    int64_t limit = mod_websocket_global.drain_timeout + MOD_WEBSOCKET_JOIN_EXTRA;
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
        mod_websocket_entry_t *entry = &process.table->entries[i];
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
