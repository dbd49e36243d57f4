/* What a script expects of the handler. */
#include <apr_strings.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "run_notation.h"
#include "run_script.h"

#define LINE_SHOWN 1000              /* bytes of an event in an error */

/* The beginning, of what is too long to be read. */
static const char *shorten(const command_t *command, const char *line)
{
    return strlen(line) <= LINE_SHOWN
               ? line
               : apr_psprintf(command->pool, "%.*s...", LINE_SHOWN, line);
}

static int disappoint(const command_t *command, const char *expected,
                      const char *got)
{
    return run_script_failed(command, "expected %s, got %s",
                             shorten(command, expected),
                             shorten(command, got));
}

/* --- what is no event --- */

static int expect_nothing(const command_t *command)
{
    const char *event =
        run_events_first(run_client_events(command->client));

    return event == NULL ? RUN_GOOD : disappoint(command, "nothing", event);
}

static int expect_header(const command_t *command)
{
    char *name = command->rest + strspn(command->rest, " \t");
    const char *line = apr_pstrdup(command->pool, name);
    const char *value = run_script_cut_header(name);

    if (value == NULL) {
        return run_script_wrong(command, "write: expect header NAME: VALUE");
    }
    return run_client_was_answered(command->client, name, value)
               ? RUN_GOOD
               : run_script_failed(command, "the answer has no header \"%s\"",
                                   line);
}

/* --- events: is this one like that? --- */

static bool is_same(const char *event, const char *expected)
{
    return strcmp(event, expected) == 0;
}

/* Without a code, or a reason, any will do. */
static bool is_close(const char *event, const char *expected)
{
    size_t length = strlen(expected);
    const char *blank = strchr(expected, ' ');
    bool has_reason = blank != NULL && strchr(blank + 1, ' ') != NULL;

    return strncmp(event, expected, length) == 0 &&
           (event[length] == '\0' || (event[length] == ' ' && !has_reason));
}

/* Text, plain or escaped. */
static bool is_like(const char *event, const char *expected)
{
    size_t word = strcspn(event, " ");

    if (strncmp(event, "text", word) != 0 &&
        strncmp(event, "escaped", word) != 0) {
        return false;
    }
    event += word + (event[word] == ' ');
    return run_notation_like(event, expected + strlen("like "));
}

/* --- what the line of a script means --- */

/* As an event would be written. NULL: it is wrong, and was said. */
static const char *rewrite(const command_t *command, const char *kind)
{
    const char *why;
    const char *line;
    uint8_t opcode;
    size_t length;
    uint8_t *data =
        run_notation_read(&opcode, &length, kind, command->rest, &why);
    char *written;

    if (data == NULL) {
        run_script_wrong(command, "%s", why);
        return NULL;
    }
    written = run_needed(run_notation_message(opcode, data, length));
    line = apr_pstrdup(command->pool, written);
    free(written);
    free(data);
    return line;
}

static const char *copy(const command_t *command, const char *kind)
{
    return apr_pstrcat(command->pool, kind, *command->rest != '\0' ? " " : "",
                       command->rest, NULL);
}

static const char *copy_pattern(const command_t *command, const char *kind)
{
    return apr_pstrcat(command->pool, kind, " ", command->rest, NULL);
}

typedef struct {
    const char *word;
    const char *(*line_of)(const command_t *command, const char *kind);
    bool (*is_it)(const char *event, const char *expected);
} kind_t;

static const kind_t kinds[] = {
    {"binary", rewrite, is_same}, {"close", copy, is_close},
    {"escaped", rewrite, is_same}, {"like", copy_pattern, is_like},
    {"pong", copy, is_same},      {"refused", copy, is_same},
    {"text", rewrite, is_same},
};

static const kind_t *kind_of(const char *word)
{
    size_t i;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(word, kinds[i].word) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

static bool has_event(run_client_t *client)
{
    return run_events_first(run_client_events(client)) != NULL;
}

static int expect_event(command_t *command, const kind_t *kind)
{
    run_stage_t *stage = &command->script->stage;
    run_events_t *events = run_client_events(command->client);
    const char *expected = kind->line_of(command, kind->word);

    if (expected == NULL) {
        return RUN_USAGE;
    }
    run_stage_await(stage, command->client, has_event);
    run_stage_show(stage);
    if (!has_event(command->client)) {
        return run_script_failed(command,
                                 "expected %s, and nothing came within %" PRId64
                                 " ms",
                                 shorten(command, expected), stage->limit);
    }
    if (!kind->is_it(run_events_first(events), expected)) {
        return disappoint(command, expected, run_events_first(events));
    }
    run_events_take(events);
    return RUN_GOOD;
}

int run_expect(command_t *command)
{
    const char *word = run_script_word(command);
    const kind_t *kind = kind_of(word);

    if (command->client == NULL) {
        return run_script_check_open(command);
    }
    if (strcmp(word, "nothing") == 0) {
        return expect_nothing(command);
    }
    if (strcmp(word, "header") == 0) {
        return expect_header(command);
    }
    if (kind == NULL) {
        return run_script_wrong(command,
                                "\"%s\" cannot be expected; there are text, "
                                "escaped, binary, like, close, refused, pong, "
                                "header and nothing",
                                word);
    }
    return expect_event(command, kind);
}
