/* mod_websocket: WebSockets inside of httpd. This file holds the module record
 * and its hooks; mod_websocket_internal.h says where the rest is. */
#include "mod_websocket_internal.h"

#include <apr_optional_hooks.h>
#include <http_protocol.h>
#include <mod_ssl_openssl.h>
#include <mod_status.h>
#include <mpm_common.h>

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_pre_config(mod_websocket_config_begin, NULL, NULL,
                       APR_HOOK_MIDDLE);
    ap_hook_check_config(mod_websocket_config_check, NULL, NULL,
                         APR_HOOK_MIDDLE);
    ap_hook_post_config(mod_websocket_post_config, NULL, NULL,
                        APR_HOOK_MIDDLE);
    ap_hook_child_status(mod_websocket_keepers_child_status, NULL, NULL,
                         APR_HOOK_MIDDLE);
    ap_hook_child_init(mod_websocket_child_begin, NULL, NULL,
                       APR_HOOK_REALLY_FIRST);
    ap_hook_child_init(mod_websocket_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(mod_websocket_child_stopping, NULL, NULL,
                           APR_HOOK_MIDDLE);
    ap_hook_monitor(mod_websocket_keepers_monitor, NULL, NULL,
                    APR_HOOK_MIDDLE);
    ap_hook_handler(mod_websocket_handle, NULL, NULL, APR_HOOK_FIRST);

    /* before mod_ssl's, so that our cleanup of the connection's pool, which
     * run last-in first-out, comes after mod_ssl's */
    ap_hook_pre_connection(mod_websocket_watch_connection, NULL, NULL,
                           APR_HOOK_REALLY_FIRST);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, mod_websocket_remember_ssl, NULL,
                      NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_close_connection(mod_websocket_take, NULL, NULL,
                                 APR_HOOK_REALLY_LAST);
    APR_OPTIONAL_HOOK(ap, status_hook, mod_websocket_show_status, NULL, NULL,
                      APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(websocket) = {
    STANDARD20_MODULE_STUFF,
    mod_websocket_dir_create,
    mod_websocket_dir_merge,
    mod_websocket_server_create,
    NULL,                            /* servers do not inherit loggers */
    mod_websocket_directives,
    register_hooks,
    0,                               /* flags */
};
