/* What a compiled handler relies on: where each field is, of which type fields
 * and functions are, and what the constants are. Compiled with the header of
 * this directory and with that of today, it must print the same. That nothing
 * of the header is missing here is checked by tests/check-abi.sh. */
#include <stdio.h>

#include "mod_websocket.h"

#define SAME(expression, ...)                                             \
    _Static_assert(__builtin_types_compatible_p(__typeof__(expression),   \
                                                __VA_ARGS__),             \
                   #expression " has another type")

#define FIELD(of, field, ...)                                             \
    SAME(((of *)0)->field, __VA_ARGS__);                                  \
    printf(#of ".%s: %zu bytes at %zu\n", #field,                         \
           sizeof(((of *)0)->field), offsetof(of, field))

#define FUNCTION(name, ...)                                               \
    SAME(name, __VA_ARGS__);                                              \
    puts(#name "()")

#define VALUE(name) printf(#name " = %lld\n", (long long)(name))

typedef websocket_context_t context_t;
typedef websocket_request_t request_t;

static void print_values(void)
{
    VALUE(WEBSOCKET_ABI >= 1);
    VALUE(WEBSOCKET_TEXT);
    VALUE(WEBSOCKET_BINARY);
    VALUE(WEBSOCKET_SENT);
    VALUE(WEBSOCKET_QUEUED);
    VALUE(WEBSOCKET_DROPPED);
    VALUE(WEBSOCKET_CLOSED);
    VALUE(WEBSOCKET_LOG_ERROR);
    VALUE(WEBSOCKET_LOG_WARNING);
    VALUE(WEBSOCKET_LOG_NOTICE);
    VALUE(WEBSOCKET_LOG_INFO);
    VALUE(WEBSOCKET_LOG_DEBUG);
    VALUE(WEBSOCKET_STRING);
    VALUE(WEBSOCKET_INTEGER);
    VALUE(WEBSOCKET_SIZE);
    VALUE(WEBSOCKET_DURATION);
    VALUE(WEBSOCKET_BOOLEAN);
    VALUE(WEBSOCKET_LIST);
    VALUE(WEBSOCKET_POSTS_MAX);
    VALUE(WEBSOCKET_TOPIC_MAX);
    VALUE(WEBSOCKET_NOT_TO_SELF);
}

static void print_option(void)
{
    FIELD(websocket_option_t, name, const char *);
    FIELD(websocket_option_t, type, int);
    FIELD(websocket_option_t, default_value, const char *);
    FIELD(websocket_option_t, min, int64_t);
    FIELD(websocket_option_t, max, int64_t);
    FIELD(websocket_option_t, help, const char *);
}

static void print_handler(void)
{
    FIELD(websocket_handler_t, abi, uint32_t);
    FIELD(websocket_handler_t, size, uint32_t);
    FIELD(websocket_handler_t, name, const char *);
    FIELD(websocket_handler_t, options, const websocket_option_t *);
    FIELD(websocket_handler_t, option_size, size_t);
    FIELD(websocket_handler_t, configure, const char *(*)(context_t *));
    FIELD(websocket_handler_t, child_init, int (*)(context_t *));
    FIELD(websocket_handler_t, child_exit, void (*)(context_t *));
    FIELD(websocket_handler_t, moved, void (*)(context_t *));
    FIELD(websocket_handler_t, accept, int (*)(context_t *, request_t *));
    FIELD(websocket_handler_t, open, void (*)(websocket_t *));
    FIELD(websocket_handler_t, message,
          void (*)(websocket_t *, int, const void *, size_t));
    FIELD(websocket_handler_t, fragment,
          void (*)(websocket_t *, int, const void *, size_t, int));
    FIELD(websocket_handler_t, drained, void (*)(websocket_t *));
    FIELD(websocket_handler_t, close,
          void (*)(websocket_t *, unsigned, const char *, size_t));
    SAME(websocket_handler, const websocket_handler_t);
}

static void print_context_functions(void)
{
    SAME((websocket_destroy_t)0, void (*)(void *));
    FUNCTION(websocket_context_set_data,
             void(context_t *, void *, websocket_destroy_t));
    FUNCTION(websocket_context_data, void *(const context_t *));
    FUNCTION(websocket_option_string,
             const char *(const context_t *, const char *));
    FUNCTION(websocket_option_number,
             int64_t(const context_t *, const char *));
    FUNCTION(websocket_option_list,
             const char *const *(const context_t *, const char *));
    FUNCTION(websocket_context_error,
             const char *(context_t *, const char *, ...));
    FUNCTION(websocket_context_log,
             void(const context_t *, int, const char *, ...));
    FUNCTION(websocket_context_timer,
             int(context_t *, int64_t, int64_t, void (*)(context_t *, void *),
                 void *));
    FUNCTION(websocket_context_each,
             int(context_t *, void (*)(websocket_t *, void *),
                 void (*)(void *), void *));
    FUNCTION(websocket_context_publish,
             int(context_t *, const char *, int, const void *, size_t));
    FUNCTION(websocket_subscribers,
             int64_t(const context_t *, const char *));
}

static void print_request_functions(void)
{
    FUNCTION(websocket_request_path, const char *(const request_t *));
    FUNCTION(websocket_request_uri, const char *(const request_t *));
    FUNCTION(websocket_request_argument,
             const char *(request_t *, const char *));
    FUNCTION(websocket_request_header,
             const char *(const request_t *, const char *));
    FUNCTION(websocket_request_user, const char *(const request_t *));
    FUNCTION(websocket_request_auth_type, const char *(const request_t *));
    FUNCTION(websocket_request_client, const char *(const request_t *));
    FUNCTION(websocket_request_tls, const char *(request_t *, const char *));
    FUNCTION(websocket_request_env,
             const char *(const request_t *, const char *));
    FUNCTION(websocket_request_expression,
             const char *(request_t *, const char *));
    FUNCTION(websocket_request_httpd, void *(const request_t *));
    FUNCTION(websocket_request_choose_protocol,
             int(request_t *, const char *));
    FUNCTION(websocket_request_add_header,
             int(request_t *, const char *, const char *));
    FUNCTION(websocket_request_set_data,
             void(request_t *, void *, websocket_destroy_t));
    FUNCTION(websocket_refuse, int(request_t *, int, const char *));
}

static void print_connection_functions(void)
{
    FUNCTION(websocket_context, context_t *(const websocket_t *));
    FUNCTION(websocket_data, void *(const websocket_t *));
    FUNCTION(websocket_set_data,
             void(websocket_t *, void *, websocket_destroy_t));
    FUNCTION(websocket_id, uint64_t(const websocket_t *));
    FUNCTION(websocket_client, const char *(const websocket_t *));
    FUNCTION(websocket_protocol, const char *(const websocket_t *));
    FUNCTION(websocket_send, int(websocket_t *, int, const void *, size_t));
    FUNCTION(websocket_close, void(websocket_t *, unsigned, const char *));
    FUNCTION(websocket_buffered, size_t(const websocket_t *));
    FUNCTION(websocket_dropped, uint64_t(const websocket_t *));
    FUNCTION(websocket_pause, void(websocket_t *));
    FUNCTION(websocket_resume, void(websocket_t *));
    FUNCTION(websocket_log,
             void(const websocket_t *, int, const char *, ...));
    FUNCTION(websocket_timer_start,
             websocket_timer_t *(websocket_t *, int64_t, int64_t,
                                 void (*)(websocket_t *, void *), void *));
    FUNCTION(websocket_timer_stop, void(websocket_timer_t *));
}

static void print_thread_functions(void)
{
    FUNCTION(websocket_ref, websocket_ref_t *(websocket_t *));
    FUNCTION(websocket_ref_retain, websocket_ref_t *(websocket_ref_t *));
    FUNCTION(websocket_ref_release, void(websocket_ref_t *));
    FUNCTION(websocket_post,
             int(websocket_ref_t *, void (*)(websocket_t *, void *), void *));
    FUNCTION(websocket_ref_send,
             int(websocket_ref_t *, int, const void *, size_t));
    FUNCTION(websocket_offload,
             int(websocket_t *, void (*)(void *),
                 void (*)(websocket_t *, void *), void *));
}

static void print_topic_functions(void)
{
    FUNCTION(websocket_subscribe, int(websocket_t *, const char *));
    FUNCTION(websocket_unsubscribe, int(websocket_t *, const char *));
    FUNCTION(websocket_publish,
             int(websocket_t *, const char *, int, const void *, size_t,
                 int));
}

int main(void)
{
    print_values();
    print_option();
    print_handler();
    print_context_functions();
    print_request_functions();
    print_connection_functions();
    print_thread_functions();
    print_topic_functions();
    return 0;
}
