/* A plugin of the old kind, without threads, for test_compat.py. The query
 * string says what on_connect does: what=value, with & between. Text messages
 * are commands; what is none is echoed. */
#include "compat_old.h"

#include <apr_strings.h>
#include <ctype.h>
#include <fcntl.h>
#include <http_log.h>
#include <http_core.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

APLOG_USE_MODULE(core);

#define PUSHED (1 << 20)             /* bytes */

struct connection {
    const char *name;                /* of the request's pool */
    int is_inside;                   /* of on_message */
    int is_closed;                   /* by the plugin */
    char sent_early[200];            /* what send() gave in on_connect */
};

/* --- what is told to the test --- */

static void note(const char *what)
{
    char path[1024];
    int fd;

    snprintf(path, sizeof(path), "%s/notes", getenv("WS_TEST_SERVER"));
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd >= 0) {
        (void)!write(fd, what, strlen(what));
        close(fd);
    }
}

static void say(const struct old_server *server, const char *text)
{
    server->send(server, MESSAGE_TYPE_TEXT, (const unsigned char *)text,
                 strlen(text));
}

/* --- on_connect --- */

/* The value of the argument, in the request's pool. */
static const char *argument(const struct old_server *server, const char *name)
{
    request_rec *r = server->request(server);
    char *rest = NULL;
    char *pair = apr_pstrdup(r->pool, r->args != NULL ? r->args : "");
    size_t length = strlen(name);

    for (pair = apr_strtok(pair, "&", &rest); pair != NULL;
         pair = apr_strtok(NULL, "&", &rest)) {
        if (strncmp(pair, name, length) == 0 && pair[length] == '=') {
            return pair + length + 1;
        }
    }
    return NULL;
}

static void send_early(const struct old_server *server,
                       struct connection *connection)
{
    const char *text = argument(server, "early");
    long count = text != NULL ? atol(text) : 0;
    const char *length_text = argument(server, "length");
    size_t length = length_text != NULL ? (size_t)atol(length_text) : 10;
    unsigned char *data = calloc(1, length + 32);
    long i;

    for (i = 0; i < count; i++) {
        snprintf((char *)data, 32, "early %ld", i);
        snprintf(connection->sent_early + strlen(connection->sent_early),
                 sizeof(connection->sent_early) -
                     strlen(connection->sent_early),
                 "%zu ",
                 server->send(server, MESSAGE_TYPE_BINARY, data, length));
    }
    free(data);
}

/* Until there is such a file. */
static void block_until(const char *path)
{
    const struct timespec rest = {0, 1000000};

    while (access(path, F_OK) != 0) {
        nanosleep(&rest, NULL);
    }
}

static void *on_connect(const struct old_server *server)
{
    request_rec *r = server->request(server);
    struct connection *connection;
    const char *name = argument(server, "name");

    if (server->size < sizeof(*server) || server->version != 1 ||
        server->header_get(server, "X-Refuse-Me") != NULL) {
        return NULL;
    }
    server->header_set(server, "X-Old", "thing");
    server->header_set(server, "x-old", "plugin");
    server->header_set(server, "Upgrade", "something else");
    if (argument(server, "first") != NULL) {
        server->protocol_set(server, argument(server, "first"));
    }
    if (argument(server, "protocol") != NULL) {
        server->protocol_set(server, argument(server, "protocol"));
    }
    connection = calloc(1, sizeof(*connection));
    connection->name = name != NULL ? name : "nobody";
    send_early(server, connection);
    if (argument(server, "wait") != NULL) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "old plugin waits");
        block_until(argument(server, "wait"));
    }
    if (argument(server, "close") != NULL) {
        server->close(server);
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "old plugin connects %s",
                  connection->name);
    return connection;
}

/* --- on_message --- */

static const char *or_none(const char *text)
{
    return text != NULL ? text : "(none)";
}

static const char *fact(const struct old_server *server, const char *name)
{
    request_rec *r = server->request(server);
    conn_rec *c = r->connection;
    const char *space = strchr(name, ' ');
    const char *what = space != NULL ? space + 1 : "";

    if (strncmp(name, "header ", 7) == 0) {
        return or_none(server->header_get(server, what));
    }
    if (strncmp(name, "in ", 3) == 0) {
        return or_none(apr_table_get(r->headers_in, what));
    }
    if (strncmp(name, "out ", 4) == 0) {
        return or_none(apr_table_get(r->headers_out, what));
    }
    if (strncmp(name, "env ", 4) == 0) {
        return or_none(apr_table_get(r->subprocess_env, what));
    }
    if (strncmp(name, "note ", 5) == 0) {
        return or_none(apr_table_get(r->notes, what));
    }
    if (strcmp(name, "line") == 0) {
        return apr_pstrcat(r->pool, r->the_request, "|", r->method, "|",
                           r->unparsed_uri, "|", r->uri, "|", r->args, "|",
                           r->protocol, "|", r->parsed_uri.query, NULL);
    }
    if (strcmp(name, "client") == 0) {
        return apr_psprintf(r->pool, "%s|%s|%s|%s|%d", or_none(r->user),
                            or_none(r->ap_auth_type), r->useragent_ip,
                            c->client_ip,
                            r->useragent_addr->port == c->client_addr->port);
    }
    if (strcmp(name, "server") == 0) {
        return apr_psprintf(r->pool, "%s|%s|%s|%d|%d", r->hostname,
                            r->server->server_hostname, c->local_ip,
                            c->local_addr->port, ap_get_server_port(r));
    }
    if (strcmp(name, "root") == 0) {
        return apr_pstrcat(r->pool, ap_document_root(r), "|",
                           ap_context_document_root(r), "|",
                           ap_context_prefix(r), "|", ap_get_server_name(r),
                           NULL);
    }
    return "(unknown)";
}

static void list_protocols(const struct old_server *server)
{
    char text[500] = "";
    size_t count = server->protocol_count(server);
    size_t i;

    for (i = 0; i < count; i++) {
        strncat(text, server->protocol_index(server, i), 50);
        strcat(text, ";");
    }
    strcat(text, server->protocol_index(server, count) == NULL ? "end" : "?");
    say(server, text);
}

static void try_types(const struct old_server *server)
{
    static const int types[] = {MESSAGE_TYPE_PING, MESSAGE_TYPE_PONG, 1, -1};
    char text[100] = "";
    size_t i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%zu ",
                 server->send(server, types[i], (const unsigned char *)"x", 1));
    }
    say(server, text);
}

static void send_close(const struct old_server *server)
{
    static const unsigned char payload[] = {4001 >> 8, 4001 & 0xff, 'b', 'y',
                                            'e'};

    server->send(server, MESSAGE_TYPE_CLOSE, payload, sizeof(payload));
}

/* More than buffers of 64 KiB hold. */
static void push(const struct old_server *server)
{
    static unsigned char data[PUSHED];

    server->send(server, MESSAGE_TYPE_BINARY, data, sizeof(data));
}

static int obey(struct connection *connection, const struct old_server *server,
                const char *text)
{
    if (strncmp(text, "fact ", 5) == 0) {
        say(server, fact(server, text + 5));
    }
    else if (strncmp(text, "log ", 4) == 0) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING | APLOG_TOCLIENT, APR_EGENERAL,
                      server->request(server), "old plugin says %s", text + 4);
        ap_log_cerror(APLOG_MARK, APLOG_WARNING, 0,
                      server->request(server)->connection, "old plugin adds %s",
                      text + 4);
        say(server, "logged");
    }
    else if (strcmp(text, "protocols") == 0) {
        list_protocols(server);
    }
    else if (strcmp(text, "types") == 0) {
        try_types(server);
    }
    else if (strcmp(text, "early") == 0) {
        say(server, connection->sent_early);
    }
    else if (strcmp(text, "late") == 0) {
        server->header_set(server, "X-Late", "yes");
        server->protocol_set(server, "b");
        say(server, fact(server, "out X-Late"));
    }
    else if (strcmp(text, "close") == 0) {
        say(server, "last");
        server->close(server);
        connection->is_closed = 1;
        say(server, "too late");
    }
    else if (strcmp(text, "send close") == 0) {
        send_close(server);
        connection->is_closed = 1;
    }
    else if (strncmp(text, "push and ", 9) == 0) {
        push(server);
        if (strcmp(text + 9, "return") != 0) {
            return obey(connection, server, text + 9);
        }
    }
    else if (strncmp(text, "block until ", 12) == 0) {
        say(server, "blocking");
        block_until(text + 12);
        say(server, "done");
    }
    else {
        return 0;
    }
    return 1;
}

static size_t on_message(void *plugin_private, const struct old_server *server,
                         const int type, unsigned char *buffer,
                         const size_t buffer_size)
{
    struct connection *connection = plugin_private;
    char text[1024] = "";
    size_t i;

    if (connection->is_inside || connection->is_closed) {
        abort();                            /* never twice at once */
    }
    connection->is_inside = 1;
    if (buffer_size < sizeof(text)) {
        memcpy(text, buffer, buffer_size);
    }
    if (type != MESSAGE_TYPE_TEXT || !obey(connection, server, text)) {
        /* it is the plugin's to change */
        for (i = 0; type == MESSAGE_TYPE_TEXT && i < buffer_size; i++) {
            buffer[i] = (unsigned char)toupper(buffer[i]);
        }
        server->send(server, type, buffer, buffer_size);
    }
    connection->is_inside = 0;
    return 12345;                           /* means nothing */
}

static void on_disconnect(void *plugin_private, const struct old_server *server)
{
    struct connection *connection = plugin_private;

    if (connection->is_inside) {
        abort();
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, server->request(server),
                  "old plugin disconnects %s, sends %d", connection->name,
                  (int)server->send(server, MESSAGE_TYPE_TEXT,
                                    (const unsigned char *)"x", 1));
    free(connection);
}

/* --- the plugin --- */

static void destroy(struct old_plugin *plugin)
{
    (void)plugin;
    note("destroy\n");
}

struct old_plugin *echo_init(void);
struct old_plugin *null_init(void);
struct old_plugin *version_init(void);
struct old_plugin *size_init(void);
struct old_plugin *deaf_init(void);
struct old_plugin *least_init(void);

struct old_plugin *echo_init(void)
{
    static struct old_plugin plugin = {
        .size = sizeof(plugin),
        .version = 0,
        .destroy = destroy,
        .on_connect = on_connect,
        .on_message = on_message,
        .on_disconnect = on_disconnect,
    };

    note("init\n");
    return &plugin;
}

/* --- and such as are broken --- */

struct old_plugin *null_init(void)
{
    return NULL;
}

struct old_plugin *version_init(void)
{
    static struct old_plugin plugin = {.size = sizeof(plugin),
                                       .version = 1,
                                       .on_message = on_message};

    return &plugin;
}

struct old_plugin *size_init(void)
{
    static struct old_plugin plugin = {.size = sizeof(plugin) - 1,
                                       .version = 0,
                                       .on_message = on_message};

    return &plugin;
}

struct old_plugin *deaf_init(void)
{
    static struct old_plugin plugin = {.size = sizeof(plugin), .version = 0};

    return &plugin;
}

/* --- one that has only what it must have --- */

static size_t answer(void *plugin_private, const struct old_server *server,
                     const int type, unsigned char *buffer,
                     const size_t buffer_size)
{
    (void)type;
    (void)buffer;
    (void)buffer_size;
    say(server, plugin_private == NULL ? "nothing" : "something");
    return 0;
}

struct old_plugin *least_init(void)
{
    static struct old_plugin plugin = {.size = sizeof(plugin),
                                       .version = 0,
                                       .on_message = answer};

    return &plugin;
}
