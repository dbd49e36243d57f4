#include "ws_handler.h"

#include <apr_strings.h>
#include <dlfcn.h>
#include <openssl/evp.h>
#include <string.h>

/* --- loading --- */

static apr_status_t close_library(void *library)
{
    dlclose(library);
    return APR_SUCCESS;
}

static apr_status_t destroy_data(void *baton)
{
    websocket_context_t *context = baton;

    if (context->destroy != NULL) {
        context->destroy(context->data);
        context->destroy = NULL;
    }
    return APR_SUCCESS;
}

/* What of the handler's struct is there; the rest stays NULL. */
static const char *copy_handler(websocket_handler_t *copy,
                                const websocket_handler_t *handler,
                                apr_pool_t *pool)
{
    const size_t needed = offsetof(websocket_handler_t, message) +
                          sizeof(handler->message);
    size_t size = handler->size;

    if (handler->abi == 0 || handler->abi > WEBSOCKET_ABI) {
        return apr_psprintf(pool,
                            "was built for ABI %u of mod_websocket; this one "
                            "has ABI %u",
                            (unsigned)handler->abi, (unsigned)WEBSOCKET_ABI);
    }
    if (size < needed) {
        return apr_psprintf(pool, "is broken: its websocket_handler has a "
                                  "size of %u bytes",
                            (unsigned)handler->size);
    }
    memset(copy, 0, sizeof(*copy));
    memcpy(copy, handler, size < sizeof(*copy) ? size : sizeof(*copy));
    if (copy->message == NULL && copy->fragment == NULL) {
        return "is broken: its websocket_handler has no message callback, and "
               "no fragment callback";
    }
    if (copy->name == NULL) {
        return "is broken: its websocket_handler has no name";
    }
    return NULL;
}

/* RTLD_LOCAL: two handlers may have functions of the same name. */
static const char *open_library(const websocket_handler_t **phandler,
                                const char *path, apr_pool_t *pool)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        return apr_psprintf(pool, "cannot be loaded: %s", dlerror());
    }
    apr_pool_cleanup_register(pool, library, close_library,
                              apr_pool_cleanup_null);
    *phandler = dlsym(library, "websocket_handler");
    return *phandler == NULL ? "is no handler: it has no symbol "
                               "websocket_handler"
                             : NULL;
}

const char *ws_handler_create(websocket_context_t **pcontext,
                              const websocket_handler_t *handler,
                              const char *name, const ws_logger_t *logger,
                              apr_pool_t *pool)
{
    websocket_context_t *context = apr_pcalloc(pool, sizeof(*context));
    const char *error = copy_handler(&context->handler, handler, pool);

    if (error == NULL) {
        error = ws_options_create(&context->options, context->handler.options,
                                  context->handler.option_size, pool);
    }
    if (error != NULL) {
        return apr_psprintf(pool, "handler %s %s", name, error);
    }
    context->pool = pool;
    context->logger = logger;
    apr_pool_cleanup_register(pool, context, destroy_data,
                              apr_pool_cleanup_null);
    *pcontext = context;
    return NULL;
}

const char *ws_handler_load(websocket_context_t **pcontext, const char *path,
                            const ws_logger_t *logger, apr_pool_t *pool)
{
    const websocket_handler_t *handler = NULL;
    const char *error = open_library(&handler, path, pool);

    return error == NULL
               ? ws_handler_create(pcontext, handler, path, logger, pool)
               : apr_psprintf(pool, "handler %s %s", path, error);
}

/* Says whose error it is. */
static const char *name_error(const websocket_context_t *context,
                              const char *error)
{
    return error == NULL ? NULL
                         : apr_psprintf(context->pool, "handler %s: %s",
                                        context->handler.name, error);
}

const char *ws_handler_set_option(websocket_context_t *context,
                                  const char *name, const char *value)
{
    return name_error(context, ws_options_set(context->options, name, value));
}

const char *ws_handler_configure(websocket_context_t *context)
{
    return context->handler.configure == NULL
               ? NULL
               : name_error(context, context->handler.configure(context));
}

void ws_handler_set_key(websocket_context_t *context, const char *key)
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};

    EVP_Digest(key, strlen(key), digest, NULL, EVP_sha256(), NULL);
    memcpy(context->topic_prefix, digest, sizeof(context->topic_prefix));
}
