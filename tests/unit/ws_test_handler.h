/* ws_test_handler: handlers that are in the test itself, their contexts, and
 * the log lines. Include it in one file of a program. */
#ifndef WS_TEST_HANDLER_H
#define WS_TEST_HANDLER_H

#include <apr_general.h>
#include <pthread.h>
#include <stdio.h>

#include "ws_handler.h"
#include "ws_test.h"

static apr_pool_t *pool;

/* --- log lines --- */

static struct {
    pthread_mutex_t lock;
    ws_log_level_t wanted;           /* and what matters more */
    char text[16384];                /* all lines, each ended by a newline */
    ws_log_level_t level;            /* of the last */
} logged = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool logger_wanted(const ws_logger_t *logger, ws_log_level_t level)
{
    (void)logger;
    return level <= logged.wanted;
}

static void logger_write(const ws_logger_t *logger, ws_log_level_t level,
                         const char *text)
{
    size_t at;

    (void)logger;
    pthread_mutex_lock(&logged.lock);
    at = strlen(logged.text);
    snprintf(logged.text + at, sizeof(logged.text) - at, "%s\n", text);
    logged.level = level;
    pthread_mutex_unlock(&logged.lock);
}

static const ws_logger_t logger = {.wanted = logger_wanted,
                                   .write = logger_write};

WS_TEST_UNUSED static bool logged_has(const char *text)
{
    bool has;

    pthread_mutex_lock(&logged.lock);
    has = strstr(logged.text, text) != NULL;
    pthread_mutex_unlock(&logged.lock);
    return has;
}

/* --- contexts --- */

static void begin_pool(void)
{
    logged.text[0] = '\0';
    logged.wanted = WS_LOG_DEBUG;
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
}

static void end_pool(void)
{
    apr_pool_destroy(pool);
}

/* Nothing is given, and it is not yet configured. */
WS_TEST_UNUSED static websocket_context_t *make_context(
    const websocket_handler_t *handler)
{
    websocket_context_t *context = NULL;
    const char *error =
        ws_handler_create(&context, handler, "of the test", &logger, pool);

    ck_assert_msg(error == NULL, "%s", error);
    ck_assert_ptr_nonnull(context);
    return context;
}

/* The begin of each: what it must have. */
#define HANDLER(text) \
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t), .name = (text)

#endif
