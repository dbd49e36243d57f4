/* ws_value: values as they are written in a configuration.
 * Threads:  any. Lifetime: nothing is kept. */
#ifndef WS_VALUE_H
#define WS_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* Each: false, and nothing is set, if text is none, or does not fit. */

bool ws_value_integer(int64_t *pvalue, const char *text);

/* Bytes: a number, or one with K, M or G for KiB, MiB, GiB behind it. */
bool ws_value_size(int64_t *pvalue, const char *text);

/* ms: a number of seconds, or one with httpd's units behind it: ms, s, mi or
 * min, h. */
bool ws_value_duration(int64_t *pvalue, const char *text);

/* on or off: 1 or 0. */
bool ws_value_boolean(int64_t *pvalue, const char *text);

#endif
