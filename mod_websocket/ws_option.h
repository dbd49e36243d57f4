/* ws_option: what a handler may be told in the configuration: the options that
 * it declares, and their values in one context.
 *
 * Threads:  ws_options_create() and _set() by the thread that reads the
 *           configuration; the rest by any, later.
 * Lifetime: that of the pool. Declarations are borrowed from the handler. */
#ifndef WS_OPTION_H
#define WS_OPTION_H

#include <apr_pools.h>
#include <stdbool.h>
#include <stddef.h>

#include "mod_websocket.h"

typedef struct ws_options ws_options_t;

/* declared: an array, each of size bytes, the last without a name; NULL: none.
 * Returns NULL, or what is wrong with it (in pool). */
const char *ws_options_create(ws_options_t **poptions,
                              const websocket_option_t *declared, size_t size,
                              apr_pool_t *pool);

/* Both are copied. Returns NULL, or what is wrong. */
const char *ws_options_set(ws_options_t *options, const char *name,
                           const char *value);

/* The declaration with this place, from 0; false: there are no more. What the
 * handler did not know of is zero. */
bool ws_options_get(const ws_options_t *options, size_t place,
                    websocket_option_t *declaration);

/* What a type is called. */
const char *ws_option_type_name(int type);

/* websocket_option_string(), _number(), _list() */
const char *ws_options_string(const ws_options_t *options, const char *name);
int64_t ws_options_number(const ws_options_t *options, const char *name);
const char *const *ws_options_list(const ws_options_t *options,
                                   const char *name);

#endif
