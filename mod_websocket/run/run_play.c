/* What the clients of a script do. */
#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "run_notation.h"
#include "run_script.h"
#include "ws_frame.h"
#include "ws_value.h"

#define NORMAL_CLOSURE 1000
#define REASON_MAX (WS_CONTROL_MAX - 2)

/* --- open --- */

static bool has_host(const char *headers)
{
    return strncasecmp(headers, "Host:", 5) == 0 ||
           strcasestr(headers, "\nHost:") != NULL;
}

static const char *request_of(const command_t *command, const char *target)
{
    const char *headers = command->script->headers;

    return apr_pstrcat(command->pool, "GET ", target, " HTTP/1.1\r\n",
                       has_host(headers) ? "" : "Host: localhost\r\n",
                       "Upgrade: websocket\r\n"
                       "Connection: Upgrade\r\n"
                       "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                       "Sec-WebSocket-Version: 13\r\n",
                       headers, "\r\n", NULL);
}

static bool is_answered(run_client_t *client)
{
    return run_client_state(client) != RUN_CLIENT_CONNECTING;
}

static void show_answer(const run_client_t *client, apr_pool_t *pool)
{
    const char *protocol;

    if (run_client_state(client) == RUN_CLIENT_OPEN) {
        protocol = run_client_protocol(client);
        run_stage_print('<', client,
                        apr_pstrcat(pool, "accepted",
                                    *protocol != '\0' ? " " : "", protocol,
                                    NULL));
    }
}

static int connect_client(command_t *command, const char *target)
{
    script_t *script = command->script;
    run_client_t *client =
        run_client_create(script->host, command->name,
                          request_of(command, target), script->identity);

    if (client == NULL) {
        return run_script_failed(command, "%s", strerror(errno));
    }
    script->headers = "";
    run_stage_add(&script->stage, client);
    run_stage_print('>', client,
                    apr_pstrcat(command->pool, "open ", target, NULL));
    if (!run_stage_await(&script->stage, client, is_answered)) {
        return run_script_failed(command,
                                 "the handler's accept does not return");
    }
    show_answer(client, command->pool);
    return RUN_GOOD;
}

static bool is_there(const run_client_t *client)
{
    return client != NULL &&
           run_client_state(client) != RUN_CLIENT_CLOSED &&
           run_client_state(client) != RUN_CLIENT_REFUSED;
}

int run_play_open(command_t *command)
{
    const char *target = run_script_word(command);

    if (*target != '/' || *command->rest != '\0') {
        return run_script_wrong(command, "write: open [NAME] /PATH[?QUERY], "
                                         "with %%20 for a blank; a name begins "
                                         "with a letter");
    }
    if (is_there(command->client)) {
        return run_script_wrong(command, "the connection is open already");
    }
    if (command->client == NULL &&
        command->script->stage.count == RUN_CLIENTS_MAX) {
        return run_script_wrong(command, "there are %d connections already",
                                RUN_CLIENTS_MAX);
    }
    return connect_client(command, target);
}

/* What the request has anyway, or a client cannot do. */
static bool is_ours(const char *name)
{
    static const char *const names[] = {
        "Connection",        "Content-Length",        "Transfer-Encoding",
        "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade",
        "Sec-WebSocket-Extensions"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

int run_play_header(command_t *command)
{
    script_t *script = command->script;
    char *name = command->rest + strspn(command->rest, " \t");
    const char *value = run_script_cut_header(name);

    if (value == NULL) {
        return run_script_wrong(command, "write: header NAME: VALUE");
    }
    if (is_ours(name)) {
        return run_script_wrong(command, "the handshake sets %s itself", name);
    }
    script->headers = apr_pstrcat(script->pool, script->headers, name, ": ",
                                  value, "\r\n", NULL);
    return RUN_GOOD;
}

/* --- who a client is --- */

/* Clients that are there keep theirs. */
static run_identity_t *copy_identity(script_t *script)
{
    run_identity_t *identity =
        apr_pmemdup(script->pool, script->identity, sizeof(*identity));

    script->identity = identity;
    return identity;
}

int run_play_user(command_t *command)
{
    const char *name = command->rest + strspn(command->rest, " \t");

    copy_identity(command->script)->user =
        *name != '\0' ? apr_pstrdup(command->script->pool, name) : NULL;
    return RUN_GOOD;
}

int run_play_env(command_t *command)
{
    script_t *script = command->script;
    char *name = command->rest + strspn(command->rest, " \t");
    char *value = strchr(name, '=');
    apr_table_t *env;

    if (value == NULL || value == name) {
        return run_script_wrong(command, "write: env NAME=VALUE");
    }
    *value++ = '\0';
    env = apr_table_copy(script->pool, script->identity->env);
    apr_table_set(env, name, value);
    copy_identity(script)->env = env;
    return RUN_GOOD;
}

/* --- what it sends --- */

/* Prints it; takes line over. */
static void echo(const command_t *command, const char *prefix, char *line)
{
    run_needed(line);
    run_stage_print('>', command->client,
                    apr_pstrcat(command->pool, prefix, line, NULL));
    free(line);
}

static int send_frame(command_t *command)
{
    const char *why;
    size_t length;
    uint8_t *data = run_notation_read_hex(&length, command->rest, &why);

    if (data == NULL) {
        return run_script_wrong(command, "%s", why);
    }
    echo(command, "frame ", run_notation_hex(data, length));
    run_client_send_raw(command->client, data, length);
    free(data);
    return RUN_GOOD;
}

static int send_message(command_t *command, const char *kind, bool is_last)
{
    const char *why;
    uint8_t opcode;
    size_t length;
    uint8_t *data =
        run_notation_read(&opcode, &length, kind, command->rest, &why);

    if (data == NULL) {
        return run_script_wrong(command, "%s", why);
    }
    echo(command, is_last ? "" : "fragment ",
         run_notation_message(opcode, data, length));
    run_client_send(command->client, opcode, data, length, is_last);
    free(data);
    return RUN_GOOD;
}

int run_play_send(command_t *command)
{
    int status = run_script_check_open(command);
    const char *kind = run_script_word(command);

    if (status != RUN_GOOD) {
        return status;
    }
    return strcmp(kind, "frame") == 0 ? send_frame(command)
                                      : send_message(command, kind, true);
}

int run_play_fragment(command_t *command)
{
    int status = run_script_check_open(command);
    const char *kind = run_script_word(command);

    return status == RUN_GOOD ? send_message(command, kind, false) : status;
}

/* --- the end --- */

static bool is_over(run_client_t *client)
{
    return run_client_state(client) == RUN_CLIENT_CLOSED;
}

static int await_end(command_t *command)
{
    return run_stage_await(&command->script->stage, command->client, is_over)
               ? RUN_GOOD
               : run_script_failed(command, "the connection does not end");
}

static int close_client(command_t *command, unsigned code,
                        const char *reason)
{
    echo(command, "",
         run_notation_close(code, (const uint8_t *)reason, strlen(reason)));
    run_client_close(command->client, code, reason);
    return await_end(command);
}

int run_play_close(command_t *command)
{
    int status = run_script_check_open(command);
    const char *word = run_script_word(command);
    int64_t code = NORMAL_CLOSURE;

    if (status != RUN_GOOD) {
        return status;
    }
    if (*word != '\0' &&
        (!ws_value_integer(&code, word) || code < 0 || code > UINT16_MAX)) {
        return run_script_wrong(command, "\"%s\" is no code of a Close frame",
                                word);
    }
    if (strlen(command->rest) > REASON_MAX) {
        return run_script_wrong(command, "a Close frame's reason has at most "
                                         "%d bytes",
                                REASON_MAX);
    }
    return close_client(command, (unsigned)code, command->rest);
}

int run_play_drop(command_t *command)
{
    int status = run_script_check_open(command);

    if (status != RUN_GOOD) {
        return status;
    }
    run_stage_print('>', command->client, "drop");
    run_client_drop(command->client);
    return await_end(command);
}

int run_play_wait(command_t *command)
{
    const char *text = run_script_word(command);
    int64_t time;

    if (!ws_value_duration(&time, text)) {
        return run_script_wrong(command,
                                "write: wait TIME, as in 2, 500ms, 1min");
    }
    run_stage_wait(&command->script->stage, time);
    return RUN_GOOD;
}

/* Who has cut a frame cannot say anything more. */
static int end_client(script_t *script, run_client_t *client)
{
    command_t command = {.script = script,
                         .name = run_client_name(client),
                         .client = client,
                         .pool = script->pool};
    int status = RUN_GOOD;

    if (run_client_state(client) == RUN_CLIENT_OPEN) {
        status = run_client_is_within_frame(client)
                     ? run_play_drop(&command)
                     : close_client(&command, NORMAL_CLOSURE, "");
    }
    if (status == RUN_GOOD) {
        run_stage_settle(&script->stage);
    }
    return status;
}

int run_play_end(script_t *script)
{
    int status = RUN_GOOD;
    unsigned i;

    for (i = 0; status == RUN_GOOD && i < script->stage.count; i++) {
        status = end_client(script, script->stage.clients[i]);
    }
    return status;
}
