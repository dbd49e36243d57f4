/* auth: lets in who has a good token, and knows who that is.
 *
 *     WebSocketHandler /path/to/auth.so tokens=/etc/tokens
 *
 * The file has lines "TOKEN USER". A client gives its token in the cookie
 * "token", or as ?token=. Below the location each user has a place that nobody
 * else may come to: /ws/auth/ann is ann's. The message "whoami" is answered with
 * what is known of the client.
 *
 * httpd's own AuthType and Require are done before a handler is asked: this is
 * for tokens that only your application knows.
 *
 * To be seen here: accept, which may block; refusals; headers of the answer;
 * facts of the request, which have to be copied. */
#include <errno.h>
#include <mod_websocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USER_MAX 64                  /* bytes of a name */

typedef struct {
    char user[USER_MAX + 1];
    char facts[512];                 /* the answer to "whoami" */
} client_t;

static const websocket_option_t options[] = {
    {"tokens", WEBSOCKET_STRING, NULL, 0, 0, "the file of tokens; needed"},
    {NULL, 0, NULL, 0, 0, NULL},
};

/* httpd's parent may be root and its children not: that the file can be read
 * here does not say that it can in accept. */
static const char *configure(websocket_context_t *context)
{
    const char *path = websocket_option_string(context, "tokens");
    FILE *file = path != NULL ? fopen(path, "re") : NULL;

    if (path == NULL) {
        return "tokens=FILE is missing";
    }
    if (file == NULL) {
        return websocket_context_error(context, "tokens: %s: %s", path,
                                       strerror(errno));
    }
    fclose(file);
    return NULL;
}

/* Of "a=1; token=abc". Several headers come with ", " between them. */
static const char *find_cookie(const char *cookies, size_t *plength)
{
    static const char name[] = "token=";

    while (cookies != NULL && *cookies != '\0') {
        cookies += strspn(cookies, " ,;");
        if (strncmp(cookies, name, sizeof(name) - 1) == 0) {
            cookies += sizeof(name) - 1;
            *plength = strcspn(cookies, " ,;");
            return cookies;
        }
        cookies += strcspn(cookies, ",;");
    }
    return NULL;
}

/* NULL: there is none. A query gets into logs and histories: tokens there should
 * be good for a minute only. */
static const char *find_token(websocket_request_t *request, size_t *plength)
{
    const char *token = websocket_request_argument(request, "token");

    if (token == NULL) {
        return find_cookie(websocket_request_header(request, "Cookie"),
                           plength);
    }
    *plength = strlen(token);
    return token;
}

/* Takes as long wherever they differ, which tells nothing to who guesses. */
static int is_same(const char *known, const char *token, size_t length)
{
    unsigned char difference = 0;
    size_t i;

    if (strlen(known) != length) {
        return 0;
    }
    for (i = 0; i < length; i++) {
        difference |= (unsigned char)(token[i] ^ known[i]);
    }
    return difference == 0;
}

/* Returns -1 if there is no reading the file; user stays as it is if the token
 * is not in it. This blocks: in accept nobody waits but this client. */
static int look_up(const char *path, const char *token, size_t length,
                   char user[USER_MAX + 1])
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;

    if (file == NULL) {
        return -1;
    }
    while (getline(&line, &size, file) >= 0) {
        char *rest = NULL;
        const char *known = strtok_r(line, " \n", &rest);
        const char *name = strtok_r(NULL, " \n", &rest);

        if (name != NULL && strlen(name) <= USER_MAX &&
            is_same(known, token, length)) {
            strcpy(user, name);
        }
    }
    free(line);
    fclose(file);
    return 0;
}

/* Adds a line. Messages of text are UTF-8, and a name may be anything. */
static void note(client_t *client, const char *what, const char *value)
{
    char *at = client->facts + strlen(client->facts);
    size_t size = sizeof(client->facts) - (size_t)(at - client->facts);

    snprintf(at, size, "%s %.99s\n", what, value != NULL ? value : "(none)");
    for (; *at != '\0'; at++) {
        *at = *at < '\n' || *at > '~' ? '?' : *at;
    }
}

/* Of each 401 it must be said what is asked for: RFC 9110 15.5.2. */
static int ask_for_token(websocket_request_t *request, const char *why)
{
    websocket_request_add_header(request, "WWW-Authenticate", "Token");
    return websocket_refuse(request, 401, why);
}

static int accept_client(websocket_context_t *context,
                         websocket_request_t *request)
{
    const char *path = websocket_request_path(request);
    size_t length = 0;
    const char *token = find_token(request, &length);
    client_t *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        return websocket_refuse(request, 503, "out of memory");
    }
    websocket_request_set_data(request, client, free); /* refused or not */
    if (token == NULL) {
        return ask_for_token(request, "no token");
    }
    if (look_up(websocket_option_string(context, "tokens"), token, length,
                client->user) != 0) {
        return websocket_refuse(request, 500, "tokens: cannot be read");
    }
    if (client->user[0] == '\0') {
        return ask_for_token(request, "unknown token");
    }
    if (strlen(path) > 1 && strcmp(path + 1, client->user) != 0) {
        return websocket_refuse(request, 403, "somebody else's place");
    }
    /* the request is gone when the WebSocket is open */
    note(client, "user", client->user);
    note(client, "login", websocket_request_user(request));
    note(client, "tls", websocket_request_tls(request, "SSL_PROTOCOL"));
    note(client, "tenant", websocket_request_env(request, "TENANT"));
    return 0;
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    const client_t *client = websocket_data(ws);
    int is_whoami = length == 6 && memcmp(data, "whoami", 6) == 0;
    const char *answer = is_whoami ? client->facts : "error: whoami?";

    (void)type;
    websocket_send(ws, WEBSOCKET_TEXT, answer, strlen(answer));
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "auth",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .configure = configure,
    .accept = accept_client,
    .message = message,
};
