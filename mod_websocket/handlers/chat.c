/* chat: rooms. Who writes is read by all others in the room, in whichever
 * child of httpd they are.
 *
 * Text messages, JSON objects with a "type".
 * From a client: chat {message, username?}, typing {isTyping, username?},
 * ping {timestamp?}. To clients: welcome, user_joined, chat, typing, pong,
 * user_left, error.
 *
 * The room is the path behind the location (/ws/chat/lobby), or ?room=, or
 * the option room. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mod_websocket.h"

#define ROOM_MAX 64                  /* bytes; they are ASCII */
#define ID_SIZE 9                    /* 8 hexadecimal digits */
#define FALLBACK_SIZE (sizeof("Client ") + ID_SIZE)

typedef struct {
    char room[ROOM_MAX + 1];
    int has_joined;                  /* do the others know? */
} member_t;

/* --- configuration --- */

static int room_is_valid(const char *room)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(room);

    return length > 0 && length <= ROOM_MAX && strspn(room, allowed) == length;
}

static const websocket_option_t options[] = {
    {"room", WEBSOCKET_STRING, "lobby", 0, 0,
     "the room where the URL names none"},
    {"name-length", WEBSOCKET_INTEGER, "40", 1, 100000,
     "the longest name, in characters"},
    {"message-length", WEBSOCKET_INTEGER, "2000", 1, 100000,
     "the longest message, in characters"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static const char *chat_configure(websocket_context_t *context)
{
    return room_is_valid(websocket_option_string(context, "room"))
               ? NULL
               : "room must be 1 to 64 letters, digits, '-', '_' or '.'";
}

/* --- the handshake --- */

static int chat_accept(websocket_context_t *context,
                       websocket_request_t *request)
{
    const char *path = websocket_request_path(request);
    const char *room;
    member_t *member;

    path += *path == '/';
    room = *path != '\0' ? path : websocket_request_argument(request, "room");
    room = room != NULL ? room : websocket_option_string(context, "room");
    if (!room_is_valid(room)) {
        return websocket_refuse(request, 400,
                                "a room's name is 1 to 64 letters, digits, "
                                "'-', '_' or '.'");
    }
    member = malloc(sizeof(*member));
    if (member == NULL) {
        return websocket_refuse(request, 503, "out of memory");
    }
    strcpy(member->room, room);
    member->has_joined = 0;
    websocket_request_set_data(request, member, free);
    return 0;
}

/* --- sending --- */

/* What a client is called by the others. The factor is odd, so each number has
 * an id of its own, and neighbours do not look alike. */
static void client_id(char id[ID_SIZE], const websocket_t *ws)
{
    uint32_t mixed = (uint32_t)websocket_id(ws) * 0x9e3779b1u;

    snprintf(id, ID_SIZE, "%08lx", (unsigned long)mixed);
}

/* ISO 8601, UTC, milliseconds */
static json_t *timestamp(void)
{
    struct timespec now;
    struct tm utc;
    char text[40];
    size_t length;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, sizeof(text) - length, ".%03ldZ",
             now.tv_nsec / 1000000);
    return json_string(text);
}

enum { TO_SENDER, TO_OTHERS };

/* Steals object. NULL is what jansson gives when it is out of memory. */
static void say(websocket_t *ws, int to, json_t *object)
{
    const member_t *member = websocket_data(ws);
    char *text = NULL;
    int result = -1;

    if (object != NULL) {
        text = json_dumps(object, JSON_COMPACT);
        json_decref(object);
    }
    if (text != NULL && to == TO_OTHERS) {
        result = websocket_publish(ws, member->room, WEBSOCKET_TEXT, text,
                                   strlen(text), WEBSOCKET_NOT_TO_SELF);
    }
    else if (text != NULL) {
        websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
        result = 0;
    }
    free(text);
    if (result != 0) {
        websocket_log(ws, WEBSOCKET_LOG_ERROR,
                      "a message could not be delivered");
    }
}

static void say_error(websocket_t *ws, const char *text)
{
    say(ws, TO_SENDER,
        json_pack("{s:s, s:s}", "type", "error", "message", text));
}

/* user_joined and user_left */
static void announce(websocket_t *ws, const char *type, const char *what)
{
    char id[ID_SIZE];
    char text[64];

    client_id(id, ws);
    snprintf(text, sizeof(text), "Client %s %s", id, what);
    say(ws, TO_OTHERS,
        json_pack("{s:s, s:s, s:s, s:o}", "type", type, "message", text,
                  "clientId", id, "timestamp", timestamp()));
}

static void chat_open(websocket_t *ws)
{
    member_t *member = websocket_data(ws);
    char id[ID_SIZE];

    if (websocket_subscribe(ws, member->room) != 0) {
        websocket_close(ws, 1011, "out of memory");
        return;
    }
    client_id(id, ws);
    say(ws, TO_SENDER,
        json_pack("{s:s, s:s, s:s}", "type", "welcome", "message",
                  "Welcome to the chat", "clientId", id));
    announce(ws, "user_joined", "joined the chat");
    member->has_joined = 1;
}

static void chat_close(websocket_t *ws, unsigned code, const char *reason,
                       size_t length)
{
    const member_t *member = websocket_data(ws);

    (void)code;
    (void)reason;
    (void)length;
    if (member->has_joined) {
        announce(ws, "user_left", "left the chat");
    }
}

/* --- receiving --- */

static size_t option(const websocket_t *ws, const char *name)
{
    return (size_t)websocket_option_number(websocket_context(ws), name);
}

static size_t characters(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static int is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* The username, or "Client <id>" in fallback. NULL: it was an error, and the
 * client knows. */
static const char *username_of(websocket_t *ws, const json_t *object,
                               char fallback[FALLBACK_SIZE])
{
    const json_t *value = json_object_get(object, "username");
    const char *name = json_string_value(value);
    char id[ID_SIZE];
    char text[80];

    if (value == NULL || json_is_null(value) ||
        (name != NULL && is_blank(name))) {
        client_id(id, ws);
        snprintf(fallback, FALLBACK_SIZE, "Client %s", id);
        return fallback;
    }
    if (name == NULL) {
        say_error(ws, "\"username\" must be a string");
        return NULL;
    }
    if (characters(name) > option(ws, "name-length")) {
        snprintf(text, sizeof(text),
                 "\"username\" is longer than %zu characters",
                 option(ws, "name-length"));
        say_error(ws, text);
        return NULL;
    }
    return name;
}

static void receive_chat(websocket_t *ws, const json_t *object)
{
    const char *message =
        json_string_value(json_object_get(object, "message"));
    char fallback[FALLBACK_SIZE];
    char text[80];
    char id[ID_SIZE];
    const char *username;

    if (message == NULL || is_blank(message)) {
        say_error(ws, "\"message\" must be a string that is not empty");
        return;
    }
    if (characters(message) > option(ws, "message-length")) {
        snprintf(text, sizeof(text),
                 "\"message\" is longer than %zu characters",
                 option(ws, "message-length"));
        say_error(ws, text);
        return;
    }
    username = username_of(ws, object, fallback);
    if (username == NULL) {
        return;
    }
    client_id(id, ws);
    say(ws, TO_OTHERS,
        json_pack("{s:s, s:s, s:s, s:o, s:s}", "type", "chat", "clientId", id,
                  "message", message, "timestamp", timestamp(), "username",
                  username));
}

static void receive_typing(websocket_t *ws, const json_t *object)
{
    const json_t *is_typing = json_object_get(object, "isTyping");
    char fallback[FALLBACK_SIZE];
    char id[ID_SIZE];
    const char *username;

    if (!json_is_boolean(is_typing)) {
        say_error(ws, "\"isTyping\" must be true or false");
        return;
    }
    username = username_of(ws, object, fallback);
    if (username == NULL) {
        return;
    }
    client_id(id, ws);
    say(ws, TO_OTHERS,
        json_pack("{s:s, s:s, s:s, s:b, s:o}", "type", "typing", "clientId",
                  id, "username", username, "isTyping",
                  json_is_true(is_typing), "timestamp", timestamp()));
}

static void receive_ping(websocket_t *ws)
{
    say(ws, TO_SENDER,
        json_pack("{s:s, s:o}", "type", "pong", "timestamp", timestamp()));
}

static void receive(websocket_t *ws, const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));

    if (type == NULL) {
        say_error(ws, "a message must be an object with a \"type\"");
    }
    else if (strcmp(type, "chat") == 0) {
        receive_chat(ws, object);
    }
    else if (strcmp(type, "typing") == 0) {
        receive_typing(ws, object);
    }
    else if (strcmp(type, "ping") == 0) {
        receive_ping(ws);
    }
    else {
        say_error(ws, "unknown \"type\"; there are chat, typing, ping");
    }
}

static void chat_message(websocket_t *ws, int type, const void *data,
                         size_t length)
{
    json_error_t error;
    json_t *object;

    if (type != WEBSOCKET_TEXT) {
        say_error(ws, "binary messages are not understood here");
        return;
    }
    object = json_loadb(data, length, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        say_error(ws, "this is not JSON");
        return;
    }
    receive(ws, object);
    json_decref(object);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "chat",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .configure = chat_configure,
    .accept = chat_accept,
    .open = chat_open,
    .message = chat_message,
    .close = chat_close,
};
