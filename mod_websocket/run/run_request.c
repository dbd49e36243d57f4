/* What a handler asks of a request. */
#include <string.h>

#include "run.h"

const char *run_request_below(const char *path, const char *location)
{
    size_t length = strlen(location);

    if (strncmp(path, location, length) != 0) {
        return NULL;
    }
    path += length;
    return *path == '/' || *path == '\0' ? path : NULL;
}

static const char *path(void *baton)
{
    return ((const run_question_t *)baton)->path;
}

static const char *uri(void *baton)
{
    return ((const run_question_t *)baton)->request->path;
}

static const char *query(void *baton)
{
    return ((const run_question_t *)baton)->request->query;
}

static const char *header(void *baton, const char *name)
{
    return apr_table_get(((const run_question_t *)baton)->request->headers,
                         name);
}

static const char *user(void *baton)
{
    return ((const run_question_t *)baton)->identity->user;
}

/* httpd, too, says how, where it says who. */
static const char *auth_type(void *baton)
{
    return user(baton) != NULL ? "Basic" : NULL;
}

static const char *env(void *baton, const char *name)
{
    return apr_table_get(((const run_question_t *)baton)->identity->env, name);
}

/* There is neither TLS nor an expression. */
static const char *nothing(void *baton, const char *name)
{
    (void)baton;
    (void)name;
    return NULL;
}

static void *httpd(void *baton)
{
    (void)baton;
    return NULL;
}

const ws_request_ops_t run_request_ops = {
    .path = path,
    .uri = uri,
    .query = query,
    .header = header,
    .user = user,
    .auth_type = auth_type,
    .tls = nothing,
    .env = env,
    .expression = nothing,
    .httpd = httpd,
};
