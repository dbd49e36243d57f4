/* compat_plugin: the binary interface of plugins that were written for
 * apache-websocket: what such a plugin is, and what it can call. Its layout is
 * theirs, bit for bit; docs/compat.md says what stands behind it here.
 *
 * Threads:  on_connect: a worker thread of httpd. on_message and on_disconnect
 *           of one connection: one thread at a time, not always the same.
 *           send and close: any thread; the rest of a server: see below.
 * Lifetime: a plugin lives as long as the configuration; a server from the
 *           begin of on_connect to the end of on_disconnect, and is at the
 *           same address for all that time. */
#ifndef COMPAT_PLUGIN_H
#define COMPAT_PLUGIN_H

#include <stddef.h>

struct request_rec;

/* The types of messages. PING and PONG cannot be sent. */
enum {
    COMPAT_TEXT = 0,
    COMPAT_BINARY = 128,
    COMPAT_CLOSE = 255,
    COMPAT_PING = 256,
    COMPAT_PONG = 257
};

#define COMPAT_PLUGIN_VERSION 0
#define COMPAT_SERVER_VERSION 1

/* A connection, as a plugin sees it. */
typedef struct WebSocketServer {
    unsigned int size;               /* sizeof(WebSocketServer) */
    unsigned int version;            /* COMPAT_SERVER_VERSION */
    void *state;                     /* not the plugin's */

    /* The request, which lives as long as the server. */
    struct request_rec *(*request)(const struct WebSocketServer *server);

    /* A header of the request, or NULL. */
    const char *(*header_get)(const struct WebSocketServer *server,
                              const char *key);

    /* A header of the 101. In on_connect, in its thread. */
    void (*header_set)(const struct WebSocketServer *server, const char *key,
                       const char *value);

    /* The subprotocols that the client offers, in its order. NULL: there are
     * not so many. */
    size_t (*protocol_count)(const struct WebSocketServer *server);
    const char *(*protocol_index)(const struct WebSocketServer *server,
                                  size_t index);

    /* Chooses one of them. In on_connect, in its thread. */
    void (*protocol_set)(const struct WebSocketServer *server,
                         const char *protocol);

    /* Returns length if the message is on its way, else 0. */
    size_t (*send)(const struct WebSocketServer *server, int type,
                   const unsigned char *data, size_t length);

    void (*close)(const struct WebSocketServer *server);
} WebSocketServer;

/* A plugin. All of its functions may be NULL but on_message. */
typedef struct WebSocketPlugin {
    unsigned int size;               /* sizeof(WebSocketPlugin), or more */
    unsigned int version;            /* COMPAT_PLUGIN_VERSION */

    /* The configuration is dropped. */
    void (*destroy)(struct WebSocketPlugin *plugin);

    /* Before the 101. Returns what the other callbacks are given; NULL: the
     * client is refused. */
    void *(*on_connect)(const WebSocketServer *server);

    /* A message; data may be changed. What it returns means nothing. */
    size_t (*on_message)(void *connection, const WebSocketServer *server,
                         int type, unsigned char *data, size_t length);

    /* Once for each on_connect that returned something. */
    void (*on_disconnect)(void *connection, const WebSocketServer *server);
} WebSocketPlugin;

/* What a plugin exports, by whatever name. NULL: it cannot work. */
typedef WebSocketPlugin *(*compat_init_t)(void);

#endif
