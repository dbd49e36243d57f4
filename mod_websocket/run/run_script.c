/* The language of scripts: one command a line; websocket-run(1) tells it. */
#include "run_script.h"

#include <apr_strings.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws_handshake.h"

#define ERROR_SIZE 4096

/* --- errors --- */

static void say(const command_t *command, const char *format, va_list args)
{
    char text[ERROR_SIZE];

    vsnprintf(text, sizeof(text), format, args);
    fprintf(stderr, "%s:%u: %s%s%s\n", command->script->name,
            command->script->line, command->name,
            *command->name != '\0' ? ": " : "", text);
}

int run_script_wrong(const command_t *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(command, format, args);
    va_end(args);
    return RUN_USAGE;
}

int run_script_failed(const command_t *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(command, format, args);
    va_end(args);
    return RUN_FAILED;
}

int run_script_check_open(const command_t *command)
{
    if (command->client == NULL) {
        return run_script_wrong(command, "there is no such connection; write: "
                                         "open [NAME] /PATH");
    }
    switch (run_client_state(command->client)) {
    case RUN_CLIENT_OPEN:
        return RUN_GOOD;
    case RUN_CLIENT_REFUSED:
        return run_script_failed(command, "the connection was refused");
    default:
        return run_script_failed(command, "the connection is closed");
    }
}

/* --- words --- */

char *run_script_word(command_t *command)
{
    char *word = command->rest + strspn(command->rest, " \t");
    size_t length = strcspn(word, " \t");

    command->rest = word + length;
    if (*command->rest != '\0') {
        *command->rest++ = '\0';
    }
    return word;
}

const char *run_script_cut_header(char *text)
{
    char *value = strchr(text, ':');

    if (value == NULL) {
        return NULL;
    }
    *value++ = '\0';
    value += strspn(value, " \t");
    return ws_header_valid(text, value) ? value : NULL;
}

/* What may stand where a name may, too. */
static bool is_keyword(const char *word)
{
    static const char *const keywords[] = {
        "binary",  "close", "escaped", "frame",   "header", "like",
        "nothing", "open",  "pong",    "refused", "text"};
    size_t i;

    for (i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        if (strcmp(word, keywords[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_name(const char *word)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(word);

    return isalpha((unsigned char)*word) && length <= RUN_NAME_MAX &&
           strspn(word, allowed) == length && !is_keyword(word);
}

/* Takes the client's name, if one stands there. */
static void read_name(command_t *command)
{
    const char *rest = command->rest + strspn(command->rest, " \t");
    const char *word =
        apr_pstrmemdup(command->pool, rest, strcspn(rest, " \t"));

    if (is_name(word)) {
        command->name = word;
        run_script_word(command);
    }
    command->client = run_stage_find(&command->script->stage, command->name);
}

/* --- lines --- */

typedef struct {
    const char *word;
    bool takes_name;
    bool settles;                    /* the handler has something to do */
    int (*run)(command_t *command);
} verb_t;

static const verb_t verbs[] = {
    {"close", true, true, run_play_close},
    {"drop", true, true, run_play_drop},
    {"env", false, false, run_play_env},
    {"expect", true, false, run_expect},
    {"fragment", true, true, run_play_fragment},
    {"header", false, false, run_play_header},
    {"open", true, true, run_play_open},
    {"send", true, true, run_play_send},
    {"user", false, false, run_play_user},
    {"wait", false, false, run_play_wait},
};

static const verb_t *verb_of(const char *word)
{
    size_t i;

    for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(word, verbs[i].word) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static int run_command(command_t *command)
{
    const char *word = run_script_word(command);
    const verb_t *verb = verb_of(word);
    int status;

    if (verb == NULL) {
        return run_script_wrong(command,
                                "unknown command \"%s\"; there are open, send, "
                                "fragment, expect, close, drop, wait, header, "
                                "user and env",
                                word);
    }
    if (verb->takes_name) {
        read_name(command);
    }
    status = verb->run(command);
    if (verb->settles && status == RUN_GOOD) {
        run_stage_settle(&command->script->stage);
    }
    return status;
}

static int run_line(script_t *script, char *line, apr_pool_t *pool)
{
    command_t command = {
        .script = script, .name = "", .rest = line, .pool = pool};
    size_t length = strcspn(line, "\n");

    script->line++;
    length -= length > 0 && line[length - 1] == '\r';
    line[length] = '\0';
    line += strspn(line, " \t");
    return *line == '\0' || *line == '#' ? RUN_GOOD : run_command(&command);
}

static int run_lines(script_t *script, FILE *file)
{
    int status = RUN_GOOD;
    char *line = NULL;
    apr_pool_t *pool;
    size_t size = 0;

    apr_pool_create(&pool, script->pool);
    run_needed(pool);
    while (status == RUN_GOOD && getline(&line, &size, file) >= 0) {
        status = run_line(script, line, pool);
        apr_pool_clear(pool);
    }
    if (status == RUN_GOOD && ferror(file)) {
        run_error("script %s: %s", script->name, strerror(errno));
        status = RUN_FAILED;
    }
    free(line);
    return status;
}

static int run_file(run_host_t *host, const char *path, FILE *file)
{
    script_t *script = apr_pcalloc(host->pool, sizeof(*script));
    int status;

    script->host = host;
    script->stage.limit = host->options->timeout;
    script->name = path;
    script->headers = "";
    script->identity = &host->options->identity;
    script->pool = host->pool;
    status = run_lines(script, file);
    if (status == RUN_GOOD) {
        status = run_play_end(script);
    }
    run_stage_clear(&script->stage);
    return status;
}

int run_script(run_host_t *host)
{
    const char *path = host->options->script;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    int status;

    if (file == NULL) {
        run_error("script %s: %s", path, strerror(errno));
        return RUN_FAILED;
    }
    status = run_file(host, path, file);
    if (file != stdin) {
        fclose(file);
    }
    return status;
}
