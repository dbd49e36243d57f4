/* ws_watch: loops that stand still in a handler, and what is said of them. */
#include "ws_watch.h"

#include <apr_general.h>
#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/wait.h>

#include "ws_process.h"
#include "ws_test.h"
#include "ws_test_socket.h"

#define SLOTS 4
#define SHORT 40                     /* ms: a stall is soon told */
#define LONG (1000 * WS_TEST_LIMIT)  /* ms: nothing takes so long */

static apr_pool_t *pool;
static ws_log_t *log_;
static ws_watch_t *watch;
static websocket_context_t context;
static _Atomic bool is_destroyed;

/* --- what is logged --- */

static struct {
    pthread_mutex_t lock;
    char text[16384];
    size_t at;                       /* what was found ends here */
    int lines;
} logged = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool logger_wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    (void)logger;
    return level <= WS_LOG_WARNING;
}

static void logger_write(const ws_logger_t *logger, ws_log_level_t level,
                         const char *text)
{
    size_t at;

    (void)logger;
    (void)level;
    pthread_mutex_lock(&logged.lock);
    at = strlen(logged.text);
    snprintf(logged.text + at, sizeof(logged.text) - at, "%s\n", text);
    logged.lines++;
    pthread_mutex_unlock(&logged.lock);
}

static const ws_logger_t logger = {.wanted = logger_wanted,
                                   .write = logger_write};

static int lines(void)
{
    int count;

    pthread_mutex_lock(&logged.lock);
    count = logged.lines;
    pthread_mutex_unlock(&logged.lock);
    return count;
}

/* A line with this text, behind those that were found before. A busy machine
 * may hold any turn up, which is told as well. */
static bool find_line(const char *text)
{
    const char *found;

    pthread_mutex_lock(&logged.lock);
    found = strstr(logged.text + logged.at, text);
    if (found != NULL) {
        logged.at = (size_t)(strchr(found, '\n') - logged.text);
    }
    pthread_mutex_unlock(&logged.lock);
    return found != NULL;
}

static void expect_line(const char *text)
{
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    while (!find_line(text)) {
        ck_assert_msg(ws_test_now() < limit, "no \"%s\" in\n%s", text,
                      logged.text);
        usleep(1000);
    }
}

static void expect_stall(void)
{
    expect_line("has been in one turn");
}

static void expect_end(void)
{
    expect_line("turns again");
}

/* --- what blocks --- */

typedef struct {
    ws_task_t task;
    sem_t begun, go_on;
} gate_t;

static gate_t gate;
static sem_t turned;

static void gate_init(gate_t *g)
{
    sem_init(&g->begun, 0, 0);
    sem_init(&g->go_on, 0, 0);
}

static void sem_get(sem_t *sem)
{
    while (sem_wait(sem) != 0) {
        ck_assert_int_eq(errno, EINTR);
    }
}

static void pass(gate_t *g)
{
    sem_post(&g->begun);
    sem_get(&g->go_on);
}

static void run_gate(ws_loop_t *loop, ws_task_t *task)
{
    (void)loop;
    pass((gate_t *)task);
}

static void block(ws_worker_t *worker, gate_t *g)
{
    gate_init(g);
    g->task.run = run_gate;
    ck_assert(ws_loop_post(ws_worker_loop(worker), &g->task));
    sem_get(&g->begun);
}

/* --- workers --- */

static void begin(int64_t limit)
{
    logged.text[0] = '\0';
    logged.lines = 0;
    logged.at = 0;
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, SLOTS), WS_OK);
    sem_init(&turned, 0, 0);
    watch = ws_watch_create(&logger, limit);
    ck_assert_ptr_nonnull(watch);
}

static ws_worker_t *create_worker(void)
{
    ws_worker_t *worker = ws_worker_create(log_, &logger, NULL, pool);

    ck_assert_ptr_nonnull(worker);
    ws_worker_watch(worker, watch);
    ck_assert_int_eq(ws_worker_start(worker), WS_OK);
    return worker;
}

static void end_worker(ws_worker_t *worker)
{
    ws_worker_stop(worker, 1001, "end", 0);
    ck_assert(ws_worker_join(worker, WS_TEST_LIMIT * 1000));
}

static void end(void)
{
    ws_watch_destroy(watch);
    ws_log_destroy(log_);
    apr_pool_destroy(pool);
}

static void run_turn(ws_loop_t *loop, ws_task_t *task)
{
    (void)loop;
    free(task);
    sem_post(&turned);
}

/* Some turns go by. */
static void turn(ws_worker_t *worker, int count)
{
    for (; count > 0; count--) {
        ws_task_t *task = calloc(1, sizeof(*task));

        task->run = run_turn;
        ck_assert(ws_loop_post(ws_worker_loop(worker), task));
        sem_get(&turned);
    }
}

/* --- tests --- */

START_TEST(stall_is_told_once_and_its_end_too)
{
    ws_worker_t *worker;
    int64_t began;
    int64_t took;
    const char *after;

    begin(SHORT);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    began = ws_test_now();
    block(worker, &gate);
    while (find_line("in one turn")) {      /* of a turn before */
        continue;
    }
    expect_line("WebSocket thread 0 has been in one turn for ");
    ck_assert_int_ge(ws_test_now() - began, SHORT - 1);
    usleep(SHORT * 4 * 1000);               /* looks go by, and say nothing */
    ck_assert(!find_line("in one turn"));
    ck_assert_ptr_nonnull(strstr(logged.text, " ms and serves nobody else: "
                                              "no handler is running\n"));
    sem_post(&gate.go_on);
    expect_line("WebSocket thread 0 turns again, after ");
    took = ws_test_now() - began;
    after = logged.text + logged.at;        /* of the last line */
    while (strncmp(after, "after ", 6) != 0) {
        after--;
    }
    after += 6;
    ck_assert_int_ge(atoi(after), 5 * SHORT - 1);
    ck_assert_int_le(atoi(after), took + 1);
    end_worker(worker);
    end();
}
END_TEST

START_TEST(each_stall_is_told)
{
    ws_worker_t *worker;
    int i;

    begin(SHORT);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    for (i = 0; i < 3; i++) {
        block(worker, &gate);
        expect_stall();
        sem_post(&gate.go_on);
        expect_end();
    }
    end_worker(worker);
    end();
}
END_TEST

START_TEST(loop_that_turns_is_not_told)
{
    ws_worker_t *worker;

    begin(LONG);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    turn(worker, 2000);
    end_worker(worker);
    end();
    ck_assert_int_eq(lines(), 0);
}
END_TEST

START_TEST(one_that_stands_is_told_while_others_turn)
{
    ws_worker_t *workers[3];
    int i;

    begin(SHORT);
    for (i = 0; i < 3; i++) {
        workers[i] = create_worker();
    }
    ck_assert(ws_watch_start(watch));
    block(workers[1], &gate);
    while (!find_line("WebSocket thread 1 has been in one turn")) {
        turn(workers[0], 1);
        turn(workers[2], 1);
    }
    sem_post(&gate.go_on);
    expect_line("WebSocket thread 1 turns again");
    for (i = 0; i < 3; i++) {
        end_worker(workers[i]);
    }
    end();
}
END_TEST

START_TEST(all_that_stand_are_told)
{
    ws_worker_t *workers[3];
    gate_t gates[3];
    int i;

    begin(SHORT);
    for (i = 0; i < 3; i++) {
        workers[i] = create_worker();
        block(workers[i], &gates[i]);
    }
    ck_assert(ws_watch_start(watch));
    for (i = 0; i < 3; i++) {
        expect_stall();
    }
    for (i = 0; i < 3; i++) {
        sem_post(&gates[i].go_on);
    }
    for (i = 0; i < 3; i++) {
        expect_end();
    }
    for (i = 0; i < 3; i++) {
        end_worker(workers[i]);
    }
    end();
}
END_TEST

/* --- which handler --- */

static void opened(websocket_t *ws)
{
    (void)ws;
    if (context.data == NULL) {
        pass(&gate);
    }
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    (void)ws;
    (void)type;
    (void)data;
    (void)length;
    pass(&gate);
}

static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)length;
    pass(&gate);
}

static void ignore_close(websocket_t *ws, unsigned code, const char *reason,
                         size_t length)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)length;
}

static void destroy(void *data)
{
    (void)data;
    if (context.handler.close == NULL) {
        pass(&gate);
    }
    atomic_store(&is_destroyed, true);
}

static void drained(websocket_t *ws)
{
    (void)ws;
}

static int connect_to(ws_worker_t *worker)
{
    static const ws_conn_limits_t limits = {.max_message = 65536,
                                            .send_queue = 65536,
                                            .close_timeout = 1000};
    const ws_promise_t promise = {.context = &context,
                                  .logger = &logger,
                                  .limits = &limits,
                                  .client = "192.0.2.7",
                                  .data = &gate,
                                  .destroy = destroy};
    ws_io_t io;
    int server;
    int client = client_open(&server);
    websocket_t *ws;

    atomic_store(&is_destroyed, false);
    ws_io_init_fd(&io, server);
    ws = ws_websocket_create(&promise, &io, NULL, 0);
    ck_assert_ptr_nonnull(ws);
    ws_websocket_post(ws, worker);
    return client;
}

static void expect_told(const char *callback)
{
    char what[128];

    sem_get(&gate.begun);
    snprintf(what, sizeof(what),
             ": handler slow is in its callback \"%s\" for client 192.0.2.7",
             callback);
    expect_line(what);
    sem_post(&gate.go_on);
    expect_end();
}

/* In the open callback, a message, the close, or the destruction of data. */
START_TEST(callback_that_blocks_is_named)
{
    ws_worker_t *worker;
    int fd;

    begin(SHORT);
    memset(&context, 0, sizeof(context));
    context.handler.name = "slow";
    context.handler.open = opened;
    context.handler.message = message;
    context.handler.drained = drained;
    context.handler.close = _i == 0 ? closed : NULL;
    gate_init(&gate);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    fd = connect_to(worker);
    expect_told("open");
    client_send_text(fd, "hello");
    expect_told("message");
    close(fd);
    expect_told(_i == 0 ? "close" : "destroy");
    block(worker, &gate);                   /* behind the callbacks */
    expect_line(": no handler is running");
    sem_post(&gate.go_on);
    end_worker(worker);
    end();
}
END_TEST

static void pass_context(websocket_context_t *of, void *baton)
{
    (void)of;
    pass(baton);
}

static void nothing(websocket_t *ws, void *baton)
{
    (void)ws;
    (void)baton;
}

static void pass_gate(void *baton)
{
    pass(baton);
}

/* A post that comes too late. */
static void pass_post(websocket_t *ws, void *baton)
{
    ck_assert_ptr_null(ws);
    pass(baton);
}

static websocket_ref_t *_Atomic ref;

static void refer(websocket_t *ws)
{
    atomic_store(&ref, websocket_ref(ws));
}

static void wait_for_ref(void)
{
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    while (atomic_load(&ref) == NULL) {
        ck_assert_int_lt(ws_test_now(), limit);
        usleep(1000);
    }
}

/* It runs when the connection is over. */
static void post_at_the_end(websocket_t *ws, unsigned code, const char *reason,
                            size_t length)
{
    (void)ws;
    (void)code;
    (void)reason;
    (void)length;
    websocket_post(ref, pass_post, &gate);
}

/* A timer of the context, the end of a tour, a post: for no connection. */
START_TEST(callback_for_no_client_is_named)
{
    static const char *const names[] = {"timer", "each", "post"};
    websocket_context_t *contexts[] = {&context};
    char what[128];
    ws_worker_t *worker;
    ws_process_t process;
    int fd;

    begin(SHORT);
    memset(&context, 0, sizeof(context));
    context.handler.name = "slow";
    context.handler.open = refer;
    context.handler.close = _i == 2 ? post_at_the_end : ignore_close;
    gate_init(&gate);
    worker = create_worker();
    process = (ws_process_t){.log = log_,
                             .workers = &worker,
                             .worker_count = 1,
                             .contexts = contexts,
                             .context_count = 1};
    ws_process_begin(&process);
    ck_assert(ws_watch_start(watch));
    fd = connect_to(worker);
    wait_for_ref();
    if (_i == 0) {
        websocket_context_timer(&context, 0, 0, pass_context, &gate);
    }
    else if (_i == 1) {
        websocket_context_each(&context, nothing, pass_gate, &gate);
    }
    else {
        shutdown(fd, SHUT_RDWR);
    }
    sem_get(&gate.begun);
    snprintf(what, sizeof(what), ": handler slow is in its callback \"%s\"\n",
             names[_i]);
    expect_line(what);
    sem_post(&gate.go_on);
    expect_end();
    end_worker(worker);
    close(fd);
    websocket_ref_release(ref);
    end();
}
END_TEST

/* Connections are freed while it reads whose callback it is. */
START_TEST(names_are_read_while_connections_go)
{
    const int rounds = ws_test_is_slow() ? 20 : 300;
    ws_worker_t *worker;
    int fd;
    int i;

    begin(2);
    memset(&context, 0, sizeof(context));
    context.handler.name = "slow";
    context.handler.message = message;
    context.handler.close = closed;
    gate_init(&gate);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    for (i = 0; i < rounds; i++) {
        fd = connect_to(worker);
        close(fd);
        sem_get(&gate.begun);
        usleep((useconds_t)(i * 37 % 4000));
        sem_post(&gate.go_on);
    }
    end_worker(worker);
    end();
}
END_TEST

/* --- its thread --- */

/* How often a thread of this process has waited; *pnumber: threads. */
static long waits(pid_t thread)
{
    char path[64];
    char line[256];
    long count = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)thread);
    file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &count) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return count;
}

/* The youngest of our threads. */
static pid_t newest_thread(void)
{
    DIR *directory = opendir("/proc/self/task");
    struct dirent *entry;
    pid_t newest = 0;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        pid_t thread = (pid_t)atoi(entry->d_name);

        newest = thread > newest ? thread : newest;
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return newest;
}

/* Not so in the time that it takes to fall asleep. */
START_TEST(idle_loops_do_not_wake_it)
{
    ws_worker_t *worker;
    pid_t thread;
    long before = -1;
    int64_t limit = ws_test_now() + WS_TEST_LIMIT * 1000;

    begin(4);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    thread = newest_thread();
    do {
        before = waits(thread);
        usleep(100000);                     /* 50 looks, if it looked */
        ck_assert_int_lt(ws_test_now(), limit);
    } while (before >= 0 && waits(thread) > before + 1);
    turn(worker, 1);
    block(worker, &gate);                   /* and yet it sees this */
    expect_stall();
    sem_post(&gate.go_on);
    end_worker(worker);
    end();
}
END_TEST

START_TEST(stopped_it_says_nothing_and_started_again_it_goes_on)
{
    ws_worker_t *worker;

    begin(SHORT);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    ck_assert(ws_watch_start(watch));
    ws_watch_stop(watch);
    ws_watch_stop(watch);
    block(worker, &gate);
    usleep(SHORT * 4 * 1000);
    ck_assert_int_eq(lines(), 0);
    ck_assert(ws_watch_start(watch));
    expect_stall();
    sem_post(&gate.go_on);
    expect_end();
    end_worker(worker);
    end();
}
END_TEST

/* Stopped in the middle of a stall: it was told, and ends all the same. */
START_TEST(stop_during_a_stall_holds_up_nobody)
{
    ws_worker_t *worker;

    begin(SHORT);
    worker = create_worker();
    ck_assert(ws_watch_start(watch));
    block(worker, &gate);
    expect_stall();
    ws_watch_stop(watch);
    sem_post(&gate.go_on);
    turn(worker, 10);
    ck_assert(ws_watch_start(watch));
    expect_end();
    end_worker(worker);
    end();
}
END_TEST

/* A process that goes on with the loops of its parent's. */
START_TEST(it_goes_on_after_a_fork)
{
    ws_worker_t *worker;
    int status = -1;
    pid_t child;

    begin(SHORT);
    ck_assert(ws_watch_start(watch));
    ws_watch_stop(watch);
    child = fork();
    if (child == 0) {
        worker = create_worker();
        if (!ws_watch_start(watch)) {
            _exit(1);
        }
        block(worker, &gate);
        expect_stall();
        sem_post(&gate.go_on);
        expect_end();
        end_worker(worker);
        ws_watch_stop(watch);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    end();
}
END_TEST

START_TEST(loops_come_and_go_while_it_watches)
{
    ws_worker_t *workers[SLOTS];
    int round;
    int i;

    begin(2);
    ck_assert(ws_watch_start(watch));
    for (round = 0; round < 20; round++) {
        for (i = 0; i < SLOTS; i++) {
            workers[i] = create_worker();
            turn(workers[i], 3);
        }
        for (i = 0; i < SLOTS; i++) {
            end_worker(workers[(i + round) % SLOTS]);
        }
    }
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(stall_is_told_once_and_its_end_too),
        WS_TEST(each_stall_is_told),
        WS_TEST(loop_that_turns_is_not_told),
        WS_TEST(one_that_stands_is_told_while_others_turn),
        WS_TEST(all_that_stand_are_told),
        WS_TEST_LOOP(callback_that_blocks_is_named, 2),
        WS_TEST_LOOP(callback_for_no_client_is_named, 3),
        WS_TEST(names_are_read_while_connections_go),
        WS_TEST(idle_loops_do_not_wake_it),
        WS_TEST(stopped_it_says_nothing_and_started_again_it_goes_on),
        WS_TEST(stop_during_a_stall_holds_up_nobody),
        WS_TEST(it_goes_on_after_a_fork),
        WS_TEST(loops_come_and_go_while_it_watches),
    };
    int result;

    apr_initialize();
    result = ws_test_run("watch", tests, WS_TEST_COUNT(tests));
    apr_terminate();
    return result;
}
