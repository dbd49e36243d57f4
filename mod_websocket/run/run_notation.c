#include "run_notation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws_frame.h"
#include "ws_utf8.h"

static const char out_of_memory[] = "out of memory";

/* --- writing --- */

/* Text that grows; bytes is NULL when memory was out. */
typedef struct {
    char *bytes;
    size_t length;
} line_t;

/* For all that will be added, at most. */
static line_t line_create(size_t size)
{
    return (line_t){.bytes = malloc(size + 1)};
}

static void add(line_t *line, const void *data, size_t length)
{
    if (length > 0) {                       /* else data may be NULL */
        memcpy(line->bytes + line->length, data, length);
    }
    line->length += length;
}

static char *line_end(line_t *line)
{
    line->bytes[line->length] = '\0';
    return line->bytes;
}

static void add_hex(line_t *line, const uint8_t *data, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < length; i++) {
        line->bytes[line->length++] = digits[data[i] >> 4];
        line->bytes[line->length++] = digits[data[i] & 15];
    }
}

static bool is_visible(uint8_t byte)
{
    return byte >= ' ' && byte != 0x7f;
}

/* Can it stand in a line as it is? */
static bool is_plain(const uint8_t *data, size_t length)
{
    ws_utf8_t state = {0};
    size_t i;

    for (i = 0; i < length; i++) {
        if (!is_visible(data[i])) {
            return false;
        }
    }
    return ws_utf8_check(&state, data, length) == length &&
           ws_utf8_complete(&state);
}

static char letter_of(uint8_t byte)
{
    switch (byte) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\\':
        return '\\';
    default:
        return '\0';
    }
}

/* Where it is UTF-8 it stays; else each byte over 127 is a number. */
static void add_escaped(line_t *line, const uint8_t *data, size_t length)
{
    ws_utf8_t state = {0};
    bool is_utf8 = ws_utf8_check(&state, data, length) == length &&
                   ws_utf8_complete(&state);
    size_t i;

    for (i = 0; i < length; i++) {
        char letter = letter_of(data[i]);

        if (letter != '\0') {
            add(line, "\\", 1);
            add(line, &letter, 1);
        }
        else if (is_visible(data[i]) && (is_utf8 || data[i] < 0x80)) {
            add(line, &data[i], 1);
        }
        else {
            add(line, "\\x", 2);
            add_hex(line, &data[i], 1);
        }
    }
}

#define ESCAPE_MAX 4                 /* \xHH */

static char *write_text(const char *word, const uint8_t *data, size_t length)
{
    line_t line = line_create(strlen(word) + 1 + ESCAPE_MAX * length);

    if (line.bytes == NULL) {
        return NULL;
    }
    add(&line, word, strlen(word));
    if (length > 0) {
        add(&line, " ", 1);
    }
    if (is_plain(data, length)) {
        add(&line, data, length);
    }
    else {
        add_escaped(&line, data, length);
    }
    return line_end(&line);
}

static char *write_hex(const char *word, const uint8_t *data, size_t length)
{
    line_t line = line_create(strlen(word) + 1 + 2 * length);

    if (line.bytes == NULL) {
        return NULL;
    }
    add(&line, word, strlen(word));
    if (length > 0 && *word != '\0') {
        add(&line, " ", 1);
    }
    add_hex(&line, data, length);
    return line_end(&line);
}

char *run_notation_hex(const uint8_t *data, size_t length)
{
    return write_hex("", data, length);
}

char *run_notation_message(uint8_t opcode, const uint8_t *data, size_t length)
{
    switch (opcode) {
    case WS_OP_TEXT:
        return write_text(is_plain(data, length) ? "text" : "escaped", data,
                          length);
    case WS_OP_PONG:
        return write_hex("pong", data, length);
    default:
        return write_hex("binary", data, length);
    }
}

char *run_notation_close(unsigned code, const uint8_t *reason, size_t length)
{
    char word[sizeof("close 65535")];

    snprintf(word, sizeof(word), "close %hu", (unsigned short)code);
    return write_text(word, reason, length);
}

/* --- reading --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two digits, or -1. */
static int hex_byte(const char *text)
{
    int high = hex_digit(text[0]);
    int low = high >= 0 ? hex_digit(text[1]) : -1;

    return low >= 0 ? high << 4 | low : -1;
}

uint8_t *run_notation_read_hex(size_t *plength, const char *text,
                               const char **pwhy)
{
    uint8_t *data = malloc(strlen(text) / 2 + 1);
    size_t length = 0;
    int byte = 0;

    *pwhy = out_of_memory;
    for (text += strspn(text, " \t"); data != NULL && *text != '\0' && byte >= 0;
         text += strspn(text, " \t")) {
        byte = hex_byte(text);
        if (byte >= 0) {
            data[length++] = (uint8_t)byte;
            text += 2;
        }
    }
    if (byte < 0) {
        *pwhy = "these are no hexadecimal bytes, as in 00ff10";
        free(data);
        return NULL;
    }
    *plength = length;
    return data;
}

/* What stands behind the backslash; moves on behind it. -1: nothing does. */
static int read_escape(const char **ptext)
{
    static const char letters[] = "nrt\\";
    static const char meanings[] = "\n\r\t\\";
    const char *text = *ptext;
    const char *letter = *text != '\0' ? strchr(letters, *text) : NULL;

    if (letter != NULL) {
        *ptext = text + 1;
        return meanings[letter - letters];
    }
    *ptext = text + 3;
    return *text == 'x' ? hex_byte(text + 1) : -1;
}

static uint8_t *read_escaped(size_t *plength, const char *text,
                             const char **pwhy)
{
    uint8_t *data = malloc(strlen(text) + 1);
    size_t length = 0;
    int byte;

    *pwhy = out_of_memory;
    while (data != NULL && *text != '\0') {
        byte = (uint8_t)*text++;
        if (byte == '\\') {
            byte = read_escape(&text);
        }
        if (byte < 0) {
            *pwhy = "a backslash is written \\\\; there are \\n, \\r, \\t and "
                    "\\xHH";
            free(data);
            return NULL;
        }
        data[length++] = (uint8_t)byte;
    }
    *plength = length;
    return data;
}

uint8_t *run_notation_read(uint8_t *popcode, size_t *plength,
                           const char *kind, const char *rest,
                           const char **pwhy)
{
    *popcode = WS_OP_TEXT;
    *pwhy = out_of_memory;
    if (strcmp(kind, "text") == 0) {
        *plength = strlen(rest);
        return (uint8_t *)strdup(rest);
    }
    if (strcmp(kind, "escaped") == 0) {
        return read_escaped(plength, rest, pwhy);
    }
    *popcode = WS_OP_BINARY;
    if (strcmp(kind, "binary") == 0) {
        return run_notation_read_hex(plength, rest, pwhy);
    }
    *pwhy = "a message is text, escaped or binary";
    return NULL;
}

/* Each * as short as it can be; where that was too short, the last one longer. */
bool run_notation_like(const char *text, const char *pattern)
{
    const char *star = NULL;
    const char *from = text;

    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        }
        else if (*pattern == *text) {
            pattern++;
            text++;
        }
        else if (star != NULL) {
            pattern = star + 1;
            text = ++from;
        }
        else {
            return false;
        }
    }
    pattern += strspn(pattern, "*");
    return *pattern == '\0';
}
