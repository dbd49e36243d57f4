#include "ws_option.h"

#include <apr_strings.h>
#include <inttypes.h>
#include <string.h>

#include "ws_value.h"

#define OPTIONS_MAX 1000             /* of a handler */
#define LIST_MAX 10000               /* strings */

typedef struct {
    websocket_option_t declared;     /* a copy; 0 what the handler lacks */
    bool is_given;                   /* not the default */
    const char *string;              /* NULL: no value */
    int64_t number;
    const char **list;               /* its end is NULL */
    size_t list_length;
} option_t;

struct ws_options {
    apr_pool_t *pool;
    option_t *options;
    size_t count;
};

static const char *const no_strings[] = {NULL};

static bool is_number(int type)
{
    return type >= WEBSOCKET_INTEGER && type <= WEBSOCKET_BOOLEAN;
}

const char *ws_option_type_name(int type)
{
    static const char *const names[] = {
        [WEBSOCKET_STRING] = "string",     [WEBSOCKET_INTEGER] = "integer",
        [WEBSOCKET_SIZE] = "size",         [WEBSOCKET_DURATION] = "duration",
        [WEBSOCKET_BOOLEAN] = "boolean",   [WEBSOCKET_LIST] = "list",
    };

    return type >= WEBSOCKET_STRING && type <= WEBSOCKET_LIST ? names[type]
                                                              : NULL;
}

/* --- values --- */

static bool parse_number(int64_t *pnumber, int type, const char *text)
{
    switch (type) {
    case WEBSOCKET_SIZE:
        return ws_value_size(pnumber, text);
    case WEBSOCKET_DURATION:
        return ws_value_duration(pnumber, text);
    case WEBSOCKET_BOOLEAN:
        return ws_value_boolean(pnumber, text);
    default:
        return ws_value_integer(pnumber, text);
    }
}

static bool has_range(const websocket_option_t *declared)
{
    return declared->type != WEBSOCKET_BOOLEAN &&
           (declared->min != 0 || declared->max != 0);
}

/* What an administrator is to write instead. */
static const char *describe(const websocket_option_t *declared,
                            apr_pool_t *pool)
{
    const char *what = "number";
    const char *unit = "";

    switch (declared->type) {
    case WEBSOCKET_SIZE:
        what = "size, as in 100, 64K, 1M";
        unit = " bytes";
        break;
    case WEBSOCKET_DURATION:
        what = "time, as in 30, 500ms, 2min";
        unit = " ms";
        break;
    case WEBSOCKET_BOOLEAN:
        return "neither on nor off";
    default:
        break;
    }
    return has_range(declared)
               ? apr_psprintf(pool, "no %s, from %" PRId64 " to %" PRId64 "%s",
                              what, declared->min, declared->max, unit)
               : apr_psprintf(pool, "no %s", what);
}

static const char *set_number(option_t *option, const char *value,
                              apr_pool_t *pool)
{
    const websocket_option_t *declared = &option->declared;
    int64_t number;

    if (!parse_number(&number, declared->type, value) ||
        (has_range(declared) &&
         (number < declared->min || number > declared->max))) {
        return apr_psprintf(pool, "%s: \"%s\" is %s", declared->name, value,
                            describe(declared, pool));
    }
    option->number = number;
    return NULL;
}

/* Adds what is between the commas. */
static const char *add_to_list(option_t *option, const char *value,
                               apr_pool_t *pool)
{
    size_t count = 1;
    const char **list;
    const char *at;
    size_t length;

    for (at = value; *at != '\0'; at++) {
        count += *at == ',';
    }
    count += option->list_length;
    if (count > LIST_MAX) {
        return apr_psprintf(pool, "%s: a list has at most %d strings",
                            option->declared.name, LIST_MAX);
    }
    list = apr_pcalloc(pool, (count + 1) * sizeof(*list));
    if (option->list_length > 0) {
        memcpy(list, option->list, option->list_length * sizeof(*list));
    }
    for (at = value; option->list_length < count; at += length + 1) {
        length = strcspn(at, ",");
        list[option->list_length++] = apr_pstrmemdup(pool, at, length);
    }
    option->list = list;
    return NULL;
}

static const char *set(option_t *option, const char *value, apr_pool_t *pool)
{
    if (is_number(option->declared.type)) {
        return set_number(option, value, pool);
    }
    if (option->declared.type == WEBSOCKET_LIST) {
        return add_to_list(option, value, pool);
    }
    option->string = apr_pstrdup(pool, value);
    return NULL;
}

/* --- declarations --- */

static bool name_is_good(const char *name)
{
    return *name != '\0' && strpbrk(name, " \t\r\n=\"'") == NULL;
}

static option_t *find(const ws_options_t *options, const char *name)
{
    size_t i;

    for (i = 0; i < options->count; i++) {
        if (strcmp(options->options[i].declared.name, name) == 0) {
            return &options->options[i];
        }
    }
    return NULL;
}

static const char *declare(ws_options_t *options,
                           const websocket_option_t *declared)
{
    option_t *option = &options->options[options->count];
    const char *error = NULL;

    if (!name_is_good(declared->name)) {
        error = "its name is no word";
    }
    else if (find(options, declared->name) != NULL) {
        error = "it is declared twice";
    }
    else if (ws_option_type_name(declared->type) == NULL) {
        error = "it has no type";
    }
    else if (declared->min > declared->max) {
        error = "its range is empty";
    }
    if (error == NULL) {
        option->declared = *declared;
        options->count++;
        if (declared->default_value != NULL) {
            error = set(option, declared->default_value, options->pool);
        }
    }
    return error == NULL
               ? NULL
               : apr_psprintf(options->pool,
                              "is broken: it declares an option \"%s\": %s",
                              declared->name, error);
}

/* A handler that was built with another header has other structs. */
static void copy_declaration(websocket_option_t *copy, const char *at,
                             size_t size)
{
    memset(copy, 0, sizeof(*copy));
    memcpy(copy, at, size < sizeof(*copy) ? size : sizeof(*copy));
}

const char *ws_options_create(ws_options_t **poptions,
                              const websocket_option_t *declared, size_t size,
                              apr_pool_t *pool)
{
    ws_options_t *options = apr_pcalloc(pool, sizeof(*options));
    const size_t needed = offsetof(websocket_option_t, help) +
                          sizeof(declared->help);
    const char *at = (const char *)declared;
    const char *error = NULL;
    websocket_option_t copy;
    size_t count = 0;

    options->pool = pool;
    *poptions = options;
    if (declared == NULL) {
        return NULL;
    }
    if (size < needed) {
        return apr_psprintf(pool,
                            "is broken: its options have a size of "
                            "%" APR_SIZE_T_FMT " bytes",
                            size);
    }
    for (copy_declaration(&copy, at, size); copy.name != NULL;
         copy_declaration(&copy, at + count * size, size)) {
        if (++count > OPTIONS_MAX) {
            return "is broken: its options have no end";
        }
    }
    options->options = apr_pcalloc(pool, (count + 1) * sizeof(option_t));
    for (; error == NULL && count > 0; count--, at += size) {
        copy_declaration(&copy, at, size);
        error = declare(options, &copy);
    }
    return error;
}

/* --- what is given --- */

static const char *names_of(const ws_options_t *options)
{
    const char *names = "";
    size_t i;

    for (i = 0; i < options->count; i++) {
        names = apr_pstrcat(options->pool, names, i > 0 ? ", " : "",
                            options->options[i].declared.name, NULL);
    }
    return names;
}

const char *ws_options_set(ws_options_t *options, const char *name,
                           const char *value)
{
    option_t *option = find(options, name);
    bool is_list;

    if (options->count == 0) {
        return apr_psprintf(options->pool,
                            "takes no options, and no \"%s\"", name);
    }
    if (option == NULL) {
        return apr_psprintf(options->pool,
                            "unknown option \"%s\"; there are: %s", name,
                            names_of(options));
    }
    is_list = option->declared.type == WEBSOCKET_LIST;
    if (option->is_given && !is_list) {
        return apr_psprintf(options->pool, "%s is given twice", name);
    }
    if (!option->is_given && is_list) {
        option->list_length = 0;            /* no default any more */
    }
    option->is_given = true;
    return set(option, value, options->pool);
}

bool ws_options_get(const ws_options_t *options, size_t place,
                    websocket_option_t *declaration)
{
    if (place >= options->count) {
        return false;
    }
    *declaration = options->options[place].declared;
    return true;
}

const char *ws_options_string(const ws_options_t *options, const char *name)
{
    const option_t *option = find(options, name);

    return option != NULL ? option->string : NULL;
}

int64_t ws_options_number(const ws_options_t *options, const char *name)
{
    const option_t *option = find(options, name);

    return option != NULL ? option->number : 0;
}

const char *const *ws_options_list(const ws_options_t *options,
                                   const char *name)
{
    const option_t *option = find(options, name);

    return option != NULL && option->list != NULL
               ? (const char *const *)option->list
               : no_strings;
}
