/* Lines to standard error: one call each, so that those of several threads do
 * not mix. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

#define LINE_SIZE 2048

static const char *const level_names[] = {
    [WS_LOG_ERROR] = "error",   [WS_LOG_WARNING] = "warning",
    [WS_LOG_NOTICE] = "notice", [WS_LOG_INFO] = "info",
    [WS_LOG_DEBUG] = "debug",
};

void run_error(const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    fprintf(stderr, "websocket-run: %s\n", line);
}

void *run_needed(void *memory)
{
    if (memory == NULL) {
        run_error("out of memory");
        _exit(RUN_FAILED);
    }
    return memory;
}

static bool wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    const ws_log_level_t *most = logger->baton;

    return level <= *most;
}

/* What a client sent may be in it: a terminal is not to act on that. */
static void write_line(const ws_logger_t *logger, ws_log_level_t level,
                       const char *text)
{
    char line[LINE_SIZE];
    size_t length = 0;

    (void)logger;
    for (; *text != '\0' && length < sizeof(line) - 1; text++) {
        bool is_control = (unsigned char)*text < ' ' || *text == 0x7f;

        line[length++] = is_control ? '?' : *text;
    }
    line[length] = '\0';
    fprintf(stderr, "%s: %s\n", level_names[level], line);
}

ws_logger_t run_logger(ws_log_level_t *level)
{
    return (ws_logger_t){
        .wanted = wanted, .write = write_line, .baton = level};
}

bool run_log_level(ws_log_level_t *plevel, const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *plevel = (ws_log_level_t)i;
            return true;
        }
    }
    return false;
}
