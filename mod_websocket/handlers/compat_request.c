/* compat_request: a copy of httpd's request_rec that stays when the request has
 * gone. Everything that it has is in a pool of its own, or lives as long as the
 * configuration; what would lead into the life of the request (filters, other
 * requests, other modules' data) is not in it. It is there to be read, and to
 * be named in ap_log_rerror(). */
#include "compat.h"

#include <httpd.h>

#include <apr_strings.h>
#include <apr_tables.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>

/* httpd's structs grow at their end, within a series; zeros for those that are
 * behind what we know. */
#define SPARE 256

static apr_table_t *copy_table(apr_pool_t *pool, const apr_table_t *table)
{
    return table != NULL ? apr_table_clone(pool, table)
                         : apr_table_make(pool, 2);
}

static apr_sockaddr_t *copy_address(apr_pool_t *pool,
                                    const apr_sockaddr_t *address)
{
    apr_sockaddr_t *copy = NULL;

    if (address != NULL &&
        apr_sockaddr_info_copy(&copy, address, pool) != APR_SUCCESS) {
        return NULL;
    }
    return copy;
}

static const struct ap_logconf *copy_levels(apr_pool_t *pool,
                                            const struct ap_logconf *levels)
{
    return levels != NULL ? ap_new_log_config(pool, levels) : NULL;
}

/* Made now: httpd would make it when the first line is logged, in the pool, in
 * whatever thread that is. */
static const char *copy_log_id(apr_pool_t *pool, const char *id,
                               const conn_rec *c, const request_rec *r)
{
    if (id == NULL) {
        ap_run_generate_log_id(c, r, &id);
    }
    return apr_pstrdup(pool, id != NULL ? id : "");
}

static conn_rec *copy_connection(apr_pool_t *pool, const conn_rec *c)
{
    conn_rec *copy = apr_pcalloc(pool, sizeof(*copy) + SPARE);

    copy->pool = pool;
    copy->base_server = c->base_server;
    copy->local_addr = copy_address(pool, c->local_addr);
    copy->client_addr = copy_address(pool, c->client_addr);
    copy->client_ip = apr_pstrdup(pool, c->client_ip);
    copy->remote_host = apr_pstrdup(pool, c->remote_host);
    copy->local_ip = apr_pstrdup(pool, c->local_ip);
    copy->local_host = apr_pstrdup(pool, c->local_host);
    copy->id = c->id;
    copy->conn_config = ap_create_conn_config(pool);
    copy->notes = copy_table(pool, c->notes);
    copy->double_reverse = c->double_reverse;
    copy->keepalive = AP_CONN_CLOSE;
    copy->keepalives = c->keepalives;
    copy->log = copy_levels(pool, c->log);
    copy->log_id = copy_log_id(pool, c->log_id, c, NULL);
    return copy;
}

static void copy_request_line(request_rec *copy, const request_rec *r)
{
    apr_pool_t *pool = copy->pool;

    copy->the_request = apr_pstrdup(pool, r->the_request);
    copy->method = apr_pstrdup(pool, r->method);
    copy->method_number = r->method_number;
    copy->protocol = apr_pstrdup(pool, r->protocol);
    copy->proto_num = r->proto_num;
    copy->hostname = apr_pstrdup(pool, r->hostname);
    copy->unparsed_uri = apr_pstrdup(pool, r->unparsed_uri);
    copy->uri = apr_pstrdup(pool, r->uri);
    copy->args = apr_pstrdup(pool, r->args);
    copy->path_info = apr_pstrdup(pool, r->path_info);
    copy->filename = apr_pstrdup(pool, r->filename);
    copy->canonical_filename = apr_pstrdup(pool, r->canonical_filename);
    copy->handler = apr_pstrdup(pool, r->handler);
}

static void copy_parsed_uri(request_rec *copy, const request_rec *r)
{
    apr_pool_t *pool = copy->pool;

    copy->parsed_uri = r->parsed_uri;
    copy->parsed_uri.scheme = apr_pstrdup(pool, r->parsed_uri.scheme);
    copy->parsed_uri.hostinfo = apr_pstrdup(pool, r->parsed_uri.hostinfo);
    copy->parsed_uri.user = apr_pstrdup(pool, r->parsed_uri.user);
    copy->parsed_uri.password = apr_pstrdup(pool, r->parsed_uri.password);
    copy->parsed_uri.hostname = apr_pstrdup(pool, r->parsed_uri.hostname);
    copy->parsed_uri.port_str = apr_pstrdup(pool, r->parsed_uri.port_str);
    copy->parsed_uri.path = apr_pstrdup(pool, r->parsed_uri.path);
    copy->parsed_uri.query = apr_pstrdup(pool, r->parsed_uri.query);
    copy->parsed_uri.fragment = apr_pstrdup(pool, r->parsed_uri.fragment);
    copy->parsed_uri.hostent = NULL;
}

static void copy_client(request_rec *copy, const request_rec *r)
{
    apr_pool_t *pool = copy->pool;

    copy->user = apr_pstrdup(pool, r->user);
    copy->ap_auth_type = apr_pstrdup(pool, r->ap_auth_type);
    copy->useragent_addr = copy_address(pool, r->useragent_addr);
    copy->useragent_ip = apr_pstrdup(pool, r->useragent_ip);
    copy->useragent_host = apr_pstrdup(pool, r->useragent_host);
    copy->double_reverse = r->double_reverse;
}

static void copy_tables(request_rec *copy, const request_rec *r)
{
    apr_pool_t *pool = copy->pool;

    copy->headers_in = copy_table(pool, r->headers_in);
    copy->headers_out = copy_table(pool, r->headers_out);
    copy->err_headers_out = apr_table_make(pool, 2);
    copy->trailers_in = apr_table_make(pool, 2);
    copy->trailers_out = apr_table_make(pool, 2);
    copy->subprocess_env = copy_table(pool, r->subprocess_env);
    copy->notes = copy_table(pool, r->notes);
}

/* Those of other modules are the server's: a request's own go with it. What
 * httpd's core has of a request it looks for without asking whether it is
 * there. */
static void copy_configuration(request_rec *copy, request_rec *r)
{
    core_request_config *core = apr_pcalloc(copy->pool, sizeof(*core) + SPARE);

    copy->server = r->server;
    copy->per_dir_config = r->server->lookup_defaults;
    copy->request_config = ap_create_request_config(copy->pool);
    ap_set_core_module_config(copy->request_config, core);
    ap_set_document_root(copy, ap_document_root(r));
    ap_set_context_info(copy, ap_context_prefix(r),
                        ap_context_document_root(r));
    copy->log = copy_levels(copy->pool, r->log);
    copy->log_id = copy_log_id(copy->pool, r->log_id, r->connection, r);
}

static request_rec *copy_request(apr_pool_t *pool, request_rec *r)
{
    request_rec *copy = apr_pcalloc(pool, sizeof(*copy) + SPARE);

    copy->pool = pool;
    copy->connection = copy_connection(pool, r->connection);
    copy->request_time = r->request_time;
    copy->status = HTTP_SWITCHING_PROTOCOLS;
    copy_request_line(copy, r);
    copy_parsed_uri(copy, r);
    copy_client(copy, r);
    copy_tables(copy, r);
    copy_configuration(copy, r);
    return copy;
}

/* A list with commas and white space: RFC 9110 5.6.1. */
static void list_protocols(compat_request_t *copy)
{
    apr_pool_t *pool = copy->record->pool;
    apr_array_header_t *names = apr_array_make(pool, 2, sizeof(char *));
    const char *list =
        apr_table_get(copy->record->headers_in, "Sec-WebSocket-Protocol");
    char *rest = NULL;
    char *name = NULL;

    if (list != NULL) {
        name = apr_strtok(apr_pstrdup(pool, list), ", \t", &rest);
    }
    for (; name != NULL; name = apr_strtok(NULL, ", \t", &rest)) {
        APR_ARRAY_PUSH(names, const char *) = name;
    }
    copy->protocols = (const char *const *)names->elts;
    copy->protocol_count = (size_t)names->nelts;
}

/* The pool is made in this thread and destroyed in another: it has no parent,
 * and an allocator of its own, without a lock. Where memory runs out httpd
 * does what it does for its own requests. */
compat_request_t *compat_request_create(const websocket_request_t *request)
{
    request_rec *r = websocket_request_httpd(request);
    compat_request_t *copy;
    apr_pool_t *pool;

    if (r == NULL ||
        apr_pool_create_unmanaged_ex(&pool, apr_pool_abort_get(r->pool),
                                     NULL) != APR_SUCCESS) {
        return NULL;
    }
    copy = apr_pcalloc(pool, sizeof(*copy));
    copy->record = copy_request(pool, r);
    copy->answer = apr_table_make(pool, 2);
    list_protocols(copy);
    return copy;
}

void compat_request_destroy(compat_request_t *copy)
{
    if (copy != NULL) {
        apr_pool_destroy(copy->record->pool);
    }
}

const char *compat_request_header(const compat_request_t *copy,
                                  const char *name)
{
    return apr_table_get(copy->record->headers_in, name);
}

void compat_request_set_header(compat_request_t *copy, const char *name,
                               const char *value)
{
    apr_table_set(copy->answer, name, value);
    apr_table_set(copy->record->headers_out, name, value);
}

void compat_request_answer(const compat_request_t *copy,
                           const websocket_context_t *context,
                           websocket_request_t *request)
{
    const apr_array_header_t *headers = apr_table_elts(copy->answer);
    const apr_table_entry_t *header;
    int i;

    for (i = 0; i < headers->nelts; i++) {
        header = &APR_ARRAY_IDX(headers, i, apr_table_entry_t);
        if (websocket_request_add_header(request, header->key, header->val) !=
            0) {
            websocket_context_log(context, WEBSOCKET_LOG_WARNING,
                                  "header_set: no plugin can set %s, or not to "
                                  "that value",
                                  header->key);
        }
    }
}
