/* run_notation: messages as scripts write them, one a line: "text hello",
 * "binary 00ff10", "close 1000 bye".
 *
 * Text with characters that a line cannot hold, or a reader not see, is written
 * as "escaped", with \n, \r, \t, \\ and \xHH.
 *
 * Threads:  pure functions; any thread.
 * Lifetime: what is returned is malloc'ed and the caller's; NULL where memory
 *           is out. */
#ifndef RUN_NOTATION_H
#define RUN_NOTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The line of a message, text or binary, or of a pong. */
char *run_notation_message(uint8_t opcode, const uint8_t *data,
                           size_t length);

/* The line of a Close frame. */
char *run_notation_close(unsigned code, const uint8_t *reason, size_t length);

/* The bytes of "binary", in hexadecimal. */
char *run_notation_hex(const uint8_t *data, size_t length);

/* The message that kind ("text", "escaped", "binary") and what stands behind it
 * mean. NULL: *pwhy says why not. */
uint8_t *run_notation_read(uint8_t *popcode, size_t *plength,
                           const char *kind, const char *rest,
                           const char **pwhy);

/* Hexadecimal digits, with white space between any two bytes. NULL: *pwhy. */
uint8_t *run_notation_read_hex(size_t *plength, const char *text,
                               const char **pwhy);

/* Is text what the pattern says? A * in it stands for any text. */
bool run_notation_like(const char *text, const char *pattern);

#endif
