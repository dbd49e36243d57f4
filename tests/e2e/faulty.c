/* A handler with faults, for test_faults.py. Messages are commands; what is
 * none is echoed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <mod_websocket.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MANY 65536

static int held[MANY];
static int held_count;

static void say(websocket_t *ws, const char *text)
{
    websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
}

/* Without a core, and without a word of a sanitizer. */
static void die_in_silence(void)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_DFL);
}

static void kill_self(int number)
{
    (void)number;
    kill(getpid(), SIGKILL);
}

/* Data of which the second half cannot be touched. */
static char *half_readable(size_t length)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    mprotect(pages + page, page, PROT_NONE);
    return pages + page - length / 2;
}

/* Killed with SIGKILL while it copies into the log, and has its lock. */
static void die_with_the_lock(websocket_t *ws)
{
    die_in_silence();
    signal(SIGSEGV, kill_self);
    websocket_publish(ws, "room", WEBSOCKET_TEXT, half_readable(2000), 2000,
                      0);
}

/* Until there is such a file. */
static void block_until(const char *path)
{
    const struct timespec rest = {0, 1000000};

    while (access(path, F_OK) != 0) {
        nanosleep(&rest, NULL);
    }
}

/* All that there are, but for so many. */
static void take_descriptors(long left)
{
    while (held_count < MANY &&
           (held[held_count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        held_count++;
    }
    while (left-- > 0 && held_count > 0) {
        close(held[--held_count]);
    }
}

static void give_descriptors(void)
{
    while (held_count > 0) {
        close(held[--held_count]);
    }
}

static long number_in(const char *text)
{
    const char *space = strchr(text, ' ');

    return space != NULL ? atol(space) : 0;
}

/* Returns whether it was a command. */
static int obey(websocket_t *ws, const char *text)
{
    char answer[64];

    if (strcmp(text, "pid") == 0) {
        snprintf(answer, sizeof(answer), "%ld", (long)getpid());
        say(ws, answer);
    }
    else if (strcmp(text, "subscribe") == 0) {
        say(ws, websocket_subscribe(ws, "room") == 0 ? "yes" : "no");
    }
    else if (strncmp(text, "publish ", 8) == 0) {
        websocket_publish(ws, "room", WEBSOCKET_TEXT, text + 8,
                          strlen(text + 8), 0);
    }
    else if (strcmp(text, "crash") == 0) {
        die_in_silence();
        *half_readable(0) = 'x';            /* a real one: signals wait */
    }
    else if (strcmp(text, "die with the lock") == 0) {
        die_with_the_lock(ws);
    }
    else if (strncmp(text, "block until ", 12) == 0) {
        block_until(text + 12);
        say(ws, "done");
    }
    else if (strncmp(text, "take ", 5) == 0) {
        take_descriptors(number_in(text));
        say(ws, "taken");
    }
    else if (strcmp(text, "give") == 0) {
        give_descriptors();
        say(ws, "given");
    }
    else {
        return 0;
    }
    return 1;
}

static int accept_any(websocket_context_t *context,
                      websocket_request_t *request)
{
    char *leak = malloc(1000);

    (void)context;
    if (leak != NULL) {
        memset(leak, 'l', 1000);
    }
    /* nothing frees it */
    websocket_request_set_data(request, leak, NULL);
    return 0;
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    char text[256] = "";

    if (length < sizeof(text)) {
        memcpy(text, data, length);
    }
    if (type != WEBSOCKET_TEXT || !obey(ws, text)) {
        websocket_send(ws, type, data, length);
    }
}

static void opened(websocket_t *ws)
{
    websocket_log(ws, WEBSOCKET_LOG_INFO, "handler opens %llu",
                  (unsigned long long)websocket_id(ws));
}

static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    (void)reason;
    (void)length;
    websocket_log(ws, WEBSOCKET_LOG_INFO, "handler closes %llu with %u",
                  (unsigned long long)websocket_id(ws), code);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "faulty",
    .accept = accept_any,
    .open = opened,
    .message = message,
    .close = closed,
};
