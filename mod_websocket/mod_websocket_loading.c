/* WebSocketHandler and WebSocketHandlerOption: a handler is loaded where it
 * stands, and given its options. */
#include "mod_websocket_internal.h"

#include <apr_strings.h>

#ifndef WS_HANDLERS_DIR
#error "configure sets WS_HANDLERS_DIR"
#endif

static const char *handler_path(cmd_parms *cmd, const char *name)
{
    if (ap_strchr_c(name, '/') != NULL) {
        return ap_server_root_relative(cmd->pool, name);
    }
    return apr_pstrcat(cmd->pool, WS_HANDLERS_DIR, "/websocket_", name, ".so",
                       NULL);
}

/* The options of the directive itself, name=value. */
static const char *set_inline_options(websocket_context_t *context,
                                      cmd_parms *cmd, int argc,
                                      char *const argv[])
{
    const char *error = NULL;
    int i;

    for (i = 0; i < argc && error == NULL; i++) {
        const char *equals = ap_strchr_c(argv[i], '=');

        if (equals == NULL || equals == argv[i]) {
            return apr_psprintf(cmd->pool,
                                "\"%s\" is no option of the form name=value",
                                argv[i]);
        }
        error = ws_handler_set_option(
            context,
            apr_pstrmemdup(cmd->pool, argv[i],
                           (apr_size_t)(equals - argv[i])),
            equals + 1);
    }
    return error;
}

/* Those of WebSocketHandlerOption that came before the handler. */
static const char *set_early_options(const mod_websocket_dir_t *dir,
                                     cmd_parms *cmd)
{
    const char *error = NULL;
    int i;

    for (i = 0; dir->options != NULL && i < dir->options->nelts &&
                error == NULL;
         i++) {
        const mod_websocket_option_t *option =
            &APR_ARRAY_IDX(dir->options, i, mod_websocket_option_t);

        error = ws_handler_set_option(dir->context, option->name,
                                      option->value);
        if (error != NULL) {
            error = apr_psprintf(cmd->pool,
                                 "WebSocketHandlerOption on line %d: %s",
                                 option->where->line_num, error);
        }
    }
    if (dir->options != NULL) {
        dir->options->nelts = 0;
    }
    return error;
}

static const char *check_handler_file(cmd_parms *cmd, const char *name,
                                      const char *path)
{
    apr_finfo_t info;

    if (path == NULL) {
        return apr_psprintf(cmd->pool, "WebSocketHandler: bad path \"%s\"",
                            name);
    }
    if (apr_stat(&info, path, APR_FINFO_TYPE, cmd->temp_pool) == APR_SUCCESS) {
        return NULL;
    }
    if (ap_strchr_c(name, '/') != NULL) {
        return apr_psprintf(cmd->pool, "WebSocketHandler: there is no %s",
                            path);
    }
    return apr_psprintf(cmd->pool,
                        "WebSocketHandler: unknown handler \"%s\": there is "
                        "no %s",
                        name, path);
}

static const char *load_handler(cmd_parms *cmd, mod_websocket_dir_t *dir,
                                int argc, char *const argv[])
{
    const char *path = handler_path(cmd, argv[0]);
    const char *error = check_handler_file(cmd, argv[0], path);

    if (error != NULL) {
        return error;
    }
    error = ws_handler_load(&dir->context, path,
                            mod_websocket_logger(cmd->server), cmd->pool);
    if (error == NULL) {
        error = set_early_options(dir, cmd);
    }
    if (error == NULL) {
        error = set_inline_options(dir->context, cmd, argc - 1, argv + 1);
    }
    if (error != NULL) {
        return apr_pstrcat(cmd->pool, "WebSocketHandler: ", error, NULL);
    }
    mod_websocket_add_place(dir->context, cmd);
    return NULL;
}

const char *mod_websocket_set_handler(cmd_parms *cmd, void *config, int argc,
                                      char *const argv[])
{
    mod_websocket_dir_t *dir = config;

    if (argc == 0) {
        return "WebSocketHandler needs the name or the path of a handler, or "
               "none";
    }
    dir->has_handler = true;
    dir->location = cmd->path;
    dir->context = NULL;
    if (argc == 1 && strcasecmp(argv[0], "none") == 0) {
        return NULL;
    }
    return load_handler(cmd, dir, argc, argv);
}

/* Whichever of the two directives comes first. */
const char *mod_websocket_set_option(cmd_parms *cmd, void *config,
                                     const char *name, const char *value)
{
    mod_websocket_dir_t *dir = config;
    mod_websocket_option_t *option;
    const char *error;

    if (dir->context != NULL) {
        error = ws_handler_set_option(dir->context, name, value);
        return error == NULL ? NULL
                             : apr_pstrcat(cmd->pool,
                                           "WebSocketHandlerOption: ", error,
                                           NULL);
    }
    if (dir->options == NULL) {
        dir->options =
            apr_array_make(cmd->pool, 4, sizeof(mod_websocket_option_t));
        mod_websocket_expect_handler(dir);
    }
    option = apr_array_push(dir->options);
    option->name = name;
    option->value = value;
    option->where = cmd->directive;
    return NULL;
}
