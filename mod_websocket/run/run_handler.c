/* The handler: which file it is, and what it is told. */
#include <apr_strings.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

#define ENDING ".so"

static bool is_file(const char *handler)
{
    size_t length = strlen(handler);

    return strchr(handler, '/') != NULL ||
           (length > strlen(ENDING) &&
            strcmp(handler + length - strlen(ENDING), ENDING) == 0);
}

/* Without a slash dlopen() would look elsewhere. */
static const char *path_of(const char *handler, apr_pool_t *pool)
{
    if (!is_file(handler)) {
        return apr_pstrcat(pool, WS_HANDLERS_DIR, "/websocket_", handler,
                           ENDING, NULL);
    }
    return strchr(handler, '/') != NULL
               ? handler
               : apr_pstrcat(pool, "./", handler, NULL);
}

/* It stays in memory to the end: a report of what has leaked, which comes
 * last, names its functions then. */
static void keep(const char *path)
{
    (void)dlopen(path, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

/* NULL: it says why. */
static websocket_context_t *load(const char *handler,
                                 const ws_logger_t *logger, apr_pool_t *pool)
{
    const char *path = path_of(handler, pool);
    websocket_context_t *context = NULL;
    const char *error;

    if (access(path, F_OK) != 0) {
        if (is_file(handler)) {
            run_error("handler %s: %s", handler, strerror(errno));
        }
        else {
            run_error("unknown handler \"%s\": there is no %s; for a file of "
                      "your own write ./%s" ENDING,
                      handler, path, handler);
        }
        return NULL;
    }
    error = ws_handler_load(&context, path, logger, pool);
    if (error != NULL) {
        run_error("%s", error);
        return NULL;
    }
    keep(path);
    return context;
}

static const char *give_options(websocket_context_t *context,
                                const apr_array_header_t *settings,
                                apr_pool_t *pool)
{
    const char *error = NULL;
    int i;

    for (i = 0; error == NULL && i < settings->nelts; i++) {
        const char *setting = APR_ARRAY_IDX(settings, i, const char *);
        const char *end = strchr(setting, '=');

        error = ws_handler_set_option(
            context, apr_pstrmemdup(pool, setting, (size_t)(end - setting)),
            end + 1);
    }
    return error;
}

websocket_context_t *run_handler_load(const run_options_t *options,
                                      const ws_logger_t *logger,
                                      apr_pool_t *pool)
{
    websocket_context_t *context = load(options->handler, logger, pool);
    const char *error = NULL;

    if (context == NULL) {
        return NULL;
    }
    ws_handler_set_key(context, "websocket-run");
    error = give_options(context, options->settings, pool);
    if (error == NULL) {
        error = ws_handler_configure(context);
    }
    if (error != NULL) {
        run_error("%s", error);
        return NULL;
    }
    return context;
}

/* --- what it takes --- */

static const char *unit_of(int type)
{
    switch (type) {
    case WEBSOCKET_SIZE:
        return " bytes";
    case WEBSOCKET_DURATION:
        return " ms";
    default:
        return "";
    }
}

static bool has_range(const websocket_option_t *option)
{
    return option->type >= WEBSOCKET_INTEGER &&
           option->type <= WEBSOCKET_DURATION &&
           (option->min != 0 || option->max != 0);
}

static void print_option(const websocket_option_t *option)
{
    printf("\n  %s=%s\n", option->name, ws_option_type_name(option->type));
    if (option->help != NULL) {
        printf("      %s\n", option->help);
    }
    if (has_range(option)) {
        printf("      from %" PRId64 " to %" PRId64 "%s\n", option->min,
               option->max, unit_of(option->type));
    }
    if (option->default_value != NULL) {
        printf("      default: %s\n", option->default_value);
    }
}

int run_handler_help(const char *handler, apr_pool_t *pool)
{
    ws_log_level_t level = WS_LOG_INFO;
    ws_logger_t logger = run_logger(&level);
    websocket_context_t *context = load(handler, &logger, pool);
    websocket_option_t option;
    size_t i;

    if (context == NULL) {
        return RUN_FAILED;
    }
    if (!ws_options_get(context->options, 0, &option)) {
        printf("The handler %s takes no options.\n", context->handler.name);
        return RUN_GOOD;
    }
    printf("The handler %s takes these options:\n", context->handler.name);
    for (i = 0; ws_options_get(context->options, i, &option); i++) {
        print_option(&option);
    }
    return RUN_GOOD;
}
