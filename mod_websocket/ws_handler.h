/* ws_handler: handlers: loading them, and their contexts. What mod_websocket.h
 * declares and hides is defined here and in ws_websocket.h.
 *
 * Threads:  the one that reads the configuration.
 * Lifetime: a context lives as long as the pool it was made in. */
#ifndef WS_HANDLER_H
#define WS_HANDLER_H

#include <apr_pools.h>
#include <stdbool.h>
#include <stdint.h>

#include "mod_websocket.h"
#include "ws_logger.h"
#include "ws_option.h"
#include "ws_seats.h"

#define WS_TOPIC_PREFIX 16           /* bytes; sets contexts apart */

typedef struct ws_process ws_process_t;
typedef struct ws_context_timer ws_context_timer_t;

struct websocket_context_s {
    apr_pool_t *pool;
    websocket_handler_t handler;     /* a copy; NULL what the plugin lacks */
    ws_options_t *options;
    const ws_logger_t *logger;
    ws_seats_t *seats;               /* NULL: connections are not counted */
    uint8_t topic_prefix[WS_TOPIC_PREFIX];
    void *data;
    websocket_destroy_t destroy;

    /* from child_init to child_exit: ws_process.h */
    ws_process_t *process;           /* NULL: before, or after */
    bool is_broken;                  /* child_init could not do its work */
    unsigned inits;                  /* calls of child_init, and of _exit */
    ws_context_timer_t *timers;      /* the first loop's */
};

/* Checks the handler's ABI, and makes a context for it. name: for errors. The
 * struct is copied; what it points to is borrowed, as is logger, and outlives
 * pool. Returns NULL, or what is wrong (in pool). */
const char *ws_handler_create(websocket_context_t **pcontext,
                              const websocket_handler_t *handler,
                              const char *name, const ws_logger_t *logger,
                              apr_pool_t *pool);

/* The same with the handler that the shared object has. */
const char *ws_handler_load(websocket_context_t **pcontext, const char *path,
                            const ws_logger_t *logger, apr_pool_t *pool);

/* Gives it an option. Returns NULL, or what is wrong (in pool). */
const char *ws_handler_set_option(websocket_context_t *context,
                                  const char *name, const char *value);

/* It has all options: has the handler configured. Returns NULL, or what is
 * wrong (in pool). */
const char *ws_handler_configure(websocket_context_t *context);

/* Topics of contexts with different keys are different. */
void ws_handler_set_key(websocket_context_t *context, const char *key);

#endif
