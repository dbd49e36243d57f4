/* The chat with a client that may send anything: to each message there is
 * exactly one answer, the one that docs/chat.md describes, and whatever leaves
 * the chat is a JSON object of a known form. Also with allocations that fail.
 *
 * Input: a byte of choices, one for the allocation that fails, one for the
 * options; then lines: the option room, if it is given; the path, the argument
 * "room"; then messages, a line each, "!" before a binary one. */
#include "fuzz.h"

#include <jansson.h>

/* The chat's own allocations, and jansson's, fail when their time has come. */
static void *limited_malloc(size_t size);
static json_t *limited_loadb(const char *text, size_t length, size_t flags,
                             json_error_t *error);
#define malloc limited_malloc
#define json_loadb limited_loadb
#include "handlers/chat.c"
#undef malloc
#undef json_loadb

#include <stdarg.h>

#define OUTPUT_MAX 2                 /* more were too many */

enum {
    PUBLISH_FAILS = 1,
    SUBSCRIBE_FAILS = 2,
    SEND_DROPS = 4,
    ALLOCATION_FAILS = 8
};

struct websocket_context_s {
    char *room;
    int64_t name_length;
    int64_t message_length;
};

struct websocket_request {
    const char *path;
    const char *room;
    void *data;
    websocket_destroy_t destroy;
    int refused;
};

struct websocket {
    websocket_context_t *context;
    void *data;
    uint64_t id;
    unsigned options;
    bool subscribed;
    bool closed;
    unsigned logged;
    struct {
        int to;
        char *text;
    } outputs[OUTPUT_MAX];
    unsigned count;
};

static size_t allocations_left = SIZE_MAX;  /* until one fails */

static void *limited_malloc(size_t size)
{
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left--;
    return malloc(size);
}

/* Not in the midst of it: jansson's parser has assertions that do not hold
 * when it is out of memory. */
static json_t *limited_loadb(const char *text, size_t length, size_t flags,
                             json_error_t *error)
{
    size_t left = allocations_left;
    json_t *value = NULL;

    if (left > 0) {
        allocations_left = SIZE_MAX;
        value = json_loadb(text, length, flags, error);
        allocations_left = left;
    }
    return value;
}

/* --- what the module gives a handler --- */

const char *websocket_option_string(const websocket_context_t *context,
                                    const char *name)
{
    FUZZ_CHECK(strcmp(name, "room") == 0);
    return context->room;
}

int64_t websocket_option_number(const websocket_context_t *context,
                                const char *name)
{
    if (strcmp(name, "name-length") == 0) {
        return context->name_length;
    }
    FUZZ_CHECK(strcmp(name, "message-length") == 0);
    return context->message_length;
}

const char *websocket_request_path(const websocket_request_t *request)
{
    return request->path;
}

const char *websocket_request_argument(websocket_request_t *request,
                                       const char *name)
{
    FUZZ_CHECK(strcmp(name, "room") == 0);
    return request->room;
}

void websocket_request_set_data(websocket_request_t *request, void *data,
                                websocket_destroy_t destroy)
{
    request->data = data;
    request->destroy = destroy;
}

int websocket_refuse(websocket_request_t *request, int status, const char *why)
{
    FUZZ_CHECK(status >= 400 && status <= 599);
    FUZZ_CHECK(why[0] != '\0');
    request->refused = status;
    return status;
}

websocket_context_t *websocket_context(const websocket_t *ws)
{
    return ws->context;
}

void *websocket_data(const websocket_t *ws)
{
    return ws->data;
}

uint64_t websocket_id(const websocket_t *ws)
{
    return ws->id;
}

static void output(websocket_t *ws, int to, const void *data, size_t length)
{
    char *text = fuzz_alloc(length + 1);

    memcpy(text, data, length);
    text[length] = '\0';
    FUZZ_CHECK(strlen(text) == length);
    FUZZ_CHECK(ws->count < OUTPUT_MAX);
    ws->outputs[ws->count].to = to;
    ws->outputs[ws->count].text = text;
    ws->count++;
}

int websocket_send(websocket_t *ws, int type, const void *data, size_t length)
{
    FUZZ_CHECK(type == WEBSOCKET_TEXT);
    output(ws, TO_SENDER, data, length);
    return ws->options & SEND_DROPS ? WEBSOCKET_DROPPED : WEBSOCKET_SENT;
}

void websocket_close(websocket_t *ws, unsigned code, const char *reason)
{
    FUZZ_CHECK(code == 1011);
    FUZZ_CHECK(reason != NULL);
    ws->closed = true;
}

void websocket_log(const websocket_t *ws, int level, const char *format, ...)
{
    FUZZ_CHECK(level == WEBSOCKET_LOG_ERROR);
    FUZZ_CHECK(format[0] != '\0');
    ((websocket_t *)(uintptr_t)ws)->logged++;
}

int websocket_subscribe(websocket_t *ws, const char *topic)
{
    FUZZ_CHECK(strcmp(topic, ((const member_t *)ws->data)->room) == 0);
    if (ws->options & SUBSCRIBE_FAILS) {
        return -1;
    }
    ws->subscribed = true;
    return 0;
}

int websocket_publish(websocket_t *ws, const char *topic, int type,
                      const void *data, size_t length, int flags)
{
    FUZZ_CHECK(strcmp(topic, ((const member_t *)ws->data)->room) == 0);
    FUZZ_CHECK(strlen(topic) <= WEBSOCKET_TOPIC_MAX);
    FUZZ_CHECK(type == WEBSOCKET_TEXT);
    FUZZ_CHECK(flags == WEBSOCKET_NOT_TO_SELF);
    output(ws, TO_OTHERS, data, length);
    return ws->options & PUBLISH_FAILS ? -1 : 0;
}

/* --- what may leave the chat --- */

static const struct {
    const char *type;
    int to;
    const char *keys[5];             /* besides type */
} forms[] = {
    {"welcome", TO_SENDER, {"message", "clientId"}},
    {"user_joined", TO_OTHERS, {"message", "clientId", "timestamp"}},
    {"chat", TO_OTHERS, {"clientId", "message", "timestamp", "username"}},
    {"typing", TO_OTHERS, {"clientId", "username", "isTyping", "timestamp"}},
    {"pong", TO_SENDER, {"timestamp"}},
    {"user_left", TO_OTHERS, {"message", "clientId", "timestamp"}},
    {"error", TO_SENDER, {"message"}},
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    FUZZ_CHECK(text != NULL);
    return text;
}

static bool is_timestamp(const char *text)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    size_t i;

    for (i = 0; i < sizeof(form); i++) {
        if (form[i] == '0' ? text[i] < '0' || text[i] > '9'
                           : text[i] != form[i]) {
            return false;
        }
    }
    return true;
}

static void reference_id(char id[9], uint64_t number)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t mixed = number * 0x9e3779b1u;
    int i;

    for (i = 0; i < 8; i++) {
        id[i] = digits[mixed >> (28 - 4 * i) & 15];
    }
    id[8] = '\0';
}

static void check_value(const websocket_t *ws, const json_t *object,
                        const char *key)
{
    char id[9];

    if (strcmp(key, "isTyping") == 0) {
        FUZZ_CHECK(json_is_boolean(json_object_get(object, key)));
    }
    else if (strcmp(key, "timestamp") == 0) {
        FUZZ_CHECK(is_timestamp(text_of(object, key)));
    }
    else if (strcmp(key, "clientId") == 0) {
        reference_id(id, ws->id);
        FUZZ_CHECK(strcmp(text_of(object, key), id) == 0);
    }
    else {
        FUZZ_CHECK(text_of(object, key)[0] != '\0');
    }
}

/* The output, which has one of the forms; to be released. */
static json_t *parse_output(const websocket_t *ws, unsigned which)
{
    json_t *object = json_loads(ws->outputs[which].text,
                                JSON_REJECT_DUPLICATES, NULL);
    size_t form = 0;
    size_t i;

    FUZZ_CHECK(json_is_object(object));
    while (strcmp(forms[form].type, text_of(object, "type")) != 0) {
        form++;
        FUZZ_CHECK(form < sizeof(forms) / sizeof(forms[0]));
    }
    FUZZ_CHECK(ws->outputs[which].to == forms[form].to);
    for (i = 0; i < 5 && forms[form].keys[i] != NULL; i++) {
        check_value(ws, object, forms[form].keys[i]);
    }
    FUZZ_CHECK(json_object_size(object) == i + 1);
    return object;
}

static void forget_outputs(websocket_t *ws)
{
    while (ws->count > 0) {
        free(ws->outputs[--ws->count].text);
    }
    ws->logged = 0;
}

/* Is each output as it should be, and of the type that is named for it?
 * NULL: there is none. When memory was short there may be less, and a line of
 * the log. */
static void check_outputs(websocket_t *ws, const char *first,
                          const char *second)
{
    const char *types[2] = {first, second};
    unsigned expected = second != NULL ? 2 : first != NULL ? 1 : 0;
    unsigned failed = 0;
    unsigned i;

    for (i = 0; i < ws->count; i++) {
        json_t *object = parse_output(ws, i);

        if (ws->outputs[i].to == TO_OTHERS && (ws->options & PUBLISH_FAILS)) {
            failed++;
        }
        if (!(ws->options & ALLOCATION_FAILS)) {
            FUZZ_CHECK(types[i] != NULL &&
                       strcmp(text_of(object, "type"), types[i]) == 0);
        }
        json_decref(object);
    }
    FUZZ_CHECK(ws->count <= expected);
    FUZZ_CHECK(ws->logged == failed + expected - ws->count);
    FUZZ_CHECK(ws->count == expected || (ws->options & ALLOCATION_FAILS));
}

/* --- what a message is answered with --- */

static size_t reference_characters(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t count = 0;

    while (*at != '\0') {
        at += *at < 0x80 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
        count++;
    }
    return count;
}

static bool reference_blank(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text != ' ' && *text != '\t' && *text != '\r' && *text != '\n') {
            return false;
        }
    }
    return true;
}

/* The name that the others see in name. false: it is no name. */
static bool reference_name(const websocket_t *ws, const json_t *object,
                           char name[20], const char **pname)
{
    const websocket_context_t *context = ws->context;
    const json_t *value = json_object_get(object, "username");

    memcpy(name, "Client ", 7);
    reference_id(name + 7, ws->id);
    *pname = name;
    if (value == NULL || json_typeof(value) == JSON_NULL) {
        return true;
    }
    if (json_typeof(value) != JSON_STRING) {
        return false;
    }
    if (!reference_blank(json_string_value(value))) {
        *pname = json_string_value(value);
        return (int64_t)reference_characters(*pname) <= context->name_length;
    }
    return true;
}

/* The type of the answer to the message, and the text and name in it. */
static const char *reference_answer(const websocket_t *ws,
                                    const json_t *object, char name[20],
                                    const char **pname, const char **ptext)
{
    const websocket_context_t *context = ws->context;
    const char *type;

    *ptext = NULL;
    *pname = NULL;
    if (!json_is_object(object) ||
        !json_is_string(json_object_get(object, "type"))) {
        return "error";
    }
    type = json_string_value(json_object_get(object, "type"));
    if (strcmp(type, "ping") == 0) {
        return "pong";
    }
    if (strcmp(type, "chat") == 0) {
        *ptext = json_string_value(json_object_get(object, "message"));
        return *ptext != NULL && !reference_blank(*ptext) &&
                       (int64_t)reference_characters(*ptext) <=
                           context->message_length &&
                       reference_name(ws, object, name, pname)
                   ? "chat"
                   : "error";
    }
    if (strcmp(type, "typing") == 0) {
        return json_is_boolean(json_object_get(object, "isTyping")) &&
                       reference_name(ws, object, name, pname)
                   ? "typing"
                   : "error";
    }
    return "error";
}

static void check_answer(const websocket_t *ws, const json_t *object,
                         const char *name, const char *text)
{
    json_t *answer = parse_output(ws, 0);
    const char *type = text_of(answer, "type");

    if (strcmp(type, "chat") == 0) {
        FUZZ_CHECK(strcmp(text_of(answer, "message"), text) == 0);
        FUZZ_CHECK(strcmp(text_of(answer, "username"), name) == 0);
    }
    if (strcmp(type, "typing") == 0) {
        FUZZ_CHECK(strcmp(text_of(answer, "username"), name) == 0);
        FUZZ_CHECK(json_equal(json_object_get(answer, "isTyping"),
                              json_object_get(object, "isTyping")));
    }
    json_decref(answer);
}

/* --- the life of a connection --- */

/* The allocation that is to fail may be one of what the function does. */
static void with_failures(websocket_t *ws, size_t when,
                          void (*function)(websocket_t *ws))
{
    allocations_left = ws->options & ALLOCATION_FAILS ? when : SIZE_MAX;
    function(ws);
    allocations_left = SIZE_MAX;
}

static void call_close(websocket_t *ws)
{
    websocket_handler.close(ws, 1006, "", 0);
}

static void run_message(websocket_t *ws, size_t when, int type,
                        const uint8_t *data, size_t length)
{
    json_t *object = type == WEBSOCKET_TEXT
                         ? json_loadb((const char *)data, length,
                                      JSON_REJECT_DUPLICATES, NULL)
                         : NULL;
    char fallback[20];
    const char *name;
    const char *text;
    const char *expected =
        reference_answer(ws, object, fallback, &name, &text);

    allocations_left = ws->options & ALLOCATION_FAILS ? when : SIZE_MAX;
    websocket_handler.message(ws, type, data, length);
    allocations_left = SIZE_MAX;
    check_outputs(ws, expected, NULL);
    if (!(ws->options & ALLOCATION_FAILS)) {
        check_answer(ws, object, name, text);
    }
    forget_outputs(ws);
    json_decref(object);
}

static void run_messages(websocket_t *ws, size_t when, fuzz_input_t *input)
{
    while (input->left > 0) {
        int type = WEBSOCKET_TEXT;
        size_t length = 0;
        const uint8_t *line;
        uint8_t *data;

        while (length < input->left && input->data[length] != '\n') {
            length++;
        }
        line = fuzz_take(input, &length);
        fuzz_byte(input);
        if (length > 0 && line[0] == '!') {
            type = WEBSOCKET_BINARY;
            line++;
            length--;
        }
        data = fuzz_copy(line, length);
        run_message(ws, when, type, data, length);
        free(data);
    }
}

static void run_connection(websocket_t *ws, size_t when, fuzz_input_t *input)
{
    with_failures(ws, when, websocket_handler.open);
    if (ws->closed) {
        FUZZ_CHECK(!ws->subscribed);
        check_outputs(ws, NULL, NULL);
    }
    else {
        FUZZ_CHECK(ws->subscribed);
        check_outputs(ws, "welcome", "user_joined");
    }
    forget_outputs(ws);
    if (!ws->closed) {
        run_messages(ws, when, input);
    }
    with_failures(ws, when, call_close);
    check_outputs(ws, ws->closed ? NULL : "user_left", NULL);
    forget_outputs(ws);
}

static bool reference_room(const char *room)
{
    size_t i;

    for (i = 0; room[i] != '\0'; i++) {
        char c = room[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) {
            return false;
        }
    }
    return i >= 1 && i <= 64;
}

static bool run_accept(websocket_context_t *context, fuzz_input_t *input,
                       websocket_t *ws)
{
    const char *expected = context->room;
    websocket_request_t request = {0};
    char *path = fuzz_line(input);
    char *room = fuzz_line(input);
    int status;

    request.path = path != NULL ? path : "";
    request.room = room;
    if (request.path[0] != '\0' && strcmp(request.path, "/") != 0) {
        expected = request.path + (request.path[0] == '/');
    }
    else if (room != NULL) {
        expected = room;
    }
    status = websocket_handler.accept(context, &request);
    FUZZ_CHECK(status == request.refused);
    FUZZ_CHECK((request.data == NULL) == (status != 0));
    if (status != 503 || !(ws->options & ALLOCATION_FAILS)) {
        FUZZ_CHECK(status == (reference_room(expected) ? 0 : 400));
    }
    if (status == 0) {
        FUZZ_CHECK(strcmp(((member_t *)request.data)->room, expected) == 0);
    }
    ws->data = request.data;
    free(path);
    free(room);
    return status == 0;
}

/* The options' types are tested elsewhere: here they have any good value. */
static bool run_configure(websocket_context_t *context, fuzz_input_t *input)
{
    unsigned choice = fuzz_byte(input);
    unsigned name = (choice >> 1) % 8;
    unsigned message = choice >> 4;
    const char *error;

    context->room = choice & 1 ? fuzz_line(input) : NULL;
    if (context->room == NULL) {
        context->room = (char *)fuzz_copy("lobby", 6);
    }
    context->name_length = name == 0 ? 40 : name;
    context->message_length = message == 0 ? 2000 : message * 4;
    error = websocket_handler.configure(context);
    FUZZ_CHECK((error == NULL) == reference_room(context->room));
    return error == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    websocket_context_t context = {0};
    websocket_t ws = {.context = &context};
    size_t when;

    json_object_seed(1);
    json_set_alloc_funcs(limited_malloc, free);
    ws.options = fuzz_byte(&input);
    when = fuzz_byte(&input);
    ws.id = 1 + size * 0x100000001u;
    allocations_left = ws.options & ALLOCATION_FAILS ? when : SIZE_MAX;
    if (run_configure(&context, &input) &&
        run_accept(&context, &input, &ws)) {
        run_connection(&ws, when, &input);
    }
    allocations_left = SIZE_MAX;
    free(ws.data);
    free(context.room);
    return 0;
}
