/* ws_logger: where log lines go. Injected, so that nothing below httpd knows
 * how httpd logs.
 * Threads:  write() may be called from any thread at once.
 * Lifetime: outlives whatever was given a pointer to it. */
#ifndef WS_LOGGER_H
#define WS_LOGGER_H

#include <stdarg.h>
#include <stdbool.h>

typedef enum {
    WS_LOG_ERROR,
    WS_LOG_WARNING,
    WS_LOG_NOTICE,
    WS_LOG_INFO,
    WS_LOG_DEBUG
} ws_log_level_t;

typedef struct ws_logger {
    /* Is a line of this level wanted? Asked before a line is formatted. */
    bool (*wanted)(const struct ws_logger *logger, ws_log_level_t level);
    /* text is one line without its end; borrowed */
    void (*write)(const struct ws_logger *logger, ws_log_level_t level,
                  const char *text);
    void *baton;
} ws_logger_t;

/* Formats and writes one line, at most 1 KiB; a NULL logger drops it. */
void ws_logger_printf(const ws_logger_t *logger, ws_log_level_t level,
                      const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ws_logger_vprintf(const ws_logger_t *logger, ws_log_level_t level,
                       const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

#endif
