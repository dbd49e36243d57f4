#include "ws_logger.h"

#include <stdio.h>

#define LINE_MAX_BYTES 1024

void ws_logger_vprintf(const ws_logger_t *logger, ws_log_level_t level,
                       const char *format, va_list args)
{
    char line[LINE_MAX_BYTES];

    if (logger == NULL || !logger->wanted(logger, level)) {
        return;
    }
    if (vsnprintf(line, sizeof(line), format, args) >= 0) {
        logger->write(logger, level, line);
    }
}

void ws_logger_printf(const ws_logger_t *logger, ws_log_level_t level,
                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    ws_logger_vprintf(logger, level, format, args);
    va_end(args);
}
