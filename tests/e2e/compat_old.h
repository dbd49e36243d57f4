/* What plugins for apache-websocket were compiled with: its layout and names,
 * with nothing of ours, which would change along with a mistake of ours. */
#ifndef COMPAT_OLD_H
#define COMPAT_OLD_H

#include <httpd.h>

#define MESSAGE_TYPE_TEXT 0
#define MESSAGE_TYPE_BINARY 128
#define MESSAGE_TYPE_CLOSE 255
#define MESSAGE_TYPE_PING 256
#define MESSAGE_TYPE_PONG 257

struct old_server {
    unsigned int size;
    unsigned int version;
    void *state;
    request_rec *(*request)(const struct old_server *server);
    const char *(*header_get)(const struct old_server *server, const char *key);
    void (*header_set)(const struct old_server *server, const char *key,
                       const char *value);
    size_t (*protocol_count)(const struct old_server *server);
    const char *(*protocol_index)(const struct old_server *server,
                                  const size_t index);
    void (*protocol_set)(const struct old_server *server, const char *protocol);
    size_t (*send)(const struct old_server *server, const int type,
                   const unsigned char *buffer, const size_t buffer_size);
    void (*close)(const struct old_server *server);
};

struct old_plugin {
    unsigned int size;
    unsigned int version;
    void (*destroy)(struct old_plugin *plugin);
    void *(*on_connect)(const struct old_server *server);
    size_t (*on_message)(void *plugin_private, const struct old_server *server,
                         const int type, unsigned char *buffer,
                         const size_t buffer_size);
    void (*on_disconnect)(void *plugin_private,
                          const struct old_server *server);
};

#endif
