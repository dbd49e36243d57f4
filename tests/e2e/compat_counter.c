/* A plugin of the old kind whose connections have a thread each, which sends,
 * for test_compat.py and check_compat.c. Messages say what it does:
 *
 *     count N           sends 1 to N
 *     both N            sends 1, 3, 5 ... to 2 N - 1; on_message the others
 *     flood             sends without end
 *     close             closes
 *
 * It needs nothing of httpd. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat_old.h"

enum {
    IDLE,
    COUNT,
    BOTH,
    FLOOD,
    CLOSE,
    END
};

struct connection {
    const struct old_server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int job;                         /* of the thread */
    long limit;
    long next;                       /* BOTH: what is to be sent now */
};

static void send_number(struct connection *connection, long number)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", number);
    connection->server->send(connection->server, MESSAGE_TYPE_TEXT,
                             (const unsigned char *)text, strlen(text));
}

static void count(struct connection *connection, long limit)
{
    long i;

    for (i = 1; i <= limit; i++) {
        send_number(connection, i);
    }
}

/* Sends every other number, when it is its turn: odd is 1 or 0. */
static void take_turns(struct connection *connection, long odd)
{
    pthread_mutex_lock(&connection->lock);
    while (connection->next <= connection->limit && connection->job != END) {
        if (connection->next % 2 == odd) {
            send_number(connection, connection->next++);
            pthread_cond_broadcast(&connection->changed);
        }
        else {
            pthread_cond_wait(&connection->changed, &connection->lock);
        }
    }
    pthread_mutex_unlock(&connection->lock);
}

static int job_of(struct connection *connection)
{
    int job;

    pthread_mutex_lock(&connection->lock);
    job = connection->job;
    pthread_mutex_unlock(&connection->lock);
    return job;
}

static void flood(struct connection *connection)
{
    long i;

    for (i = 0; job_of(connection) != END; i++) {
        send_number(connection, i);
    }
}

static int next_job(struct connection *connection)
{
    int job;

    pthread_mutex_lock(&connection->lock);
    while (connection->job == IDLE) {
        pthread_cond_wait(&connection->changed, &connection->lock);
    }
    job = connection->job;
    if (job != END) {
        connection->job = IDLE;
    }
    pthread_mutex_unlock(&connection->lock);
    return job;
}

static void *run(void *baton)
{
    struct connection *connection = baton;
    int job;

    while ((job = next_job(connection)) != END) {
        switch (job) {
        case COUNT:
            count(connection, connection->limit);
            break;
        case BOTH:
            take_turns(connection, 1);
            break;
        case FLOOD:
            flood(connection);
            break;
        default:
            connection->server->close(connection->server);
        }
    }
    return NULL;
}

static void give(struct connection *connection, int job, long limit)
{
    pthread_mutex_lock(&connection->lock);
    connection->job = job;
    if (job != END) {
        connection->limit = limit;
        connection->next = 1;
    }
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
}

static void *on_connect(const struct old_server *server)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    connection->server = server;
    pthread_mutex_init(&connection->lock, NULL);
    pthread_cond_init(&connection->changed, NULL);
    if (server->header_get(server, "X-Count") != NULL) {
        connection->job = COUNT;
        connection->limit = atol(server->header_get(server, "X-Count"));
    }
    if (server->header_get(server, "X-Flood") != NULL) {
        connection->job = FLOOD;
    }
    if (pthread_create(&connection->thread, NULL, run, connection) != 0) {
        abort();
    }
    return connection;
}

static size_t on_message(void *plugin_private, const struct old_server *server,
                         const int type, unsigned char *buffer,
                         const size_t buffer_size)
{
    struct connection *connection = plugin_private;
    char text[64] = "";

    (void)server;
    (void)type;
    memcpy(text, buffer,
           buffer_size < sizeof(text) ? buffer_size : sizeof(text) - 1);
    if (strncmp(text, "count ", 6) == 0) {
        give(connection, COUNT, atol(text + 6));
    }
    else if (strncmp(text, "both ", 5) == 0) {
        give(connection, BOTH, 2 * atol(text + 5));
        take_turns(connection, 0);
    }
    else {
        give(connection, strcmp(text, "flood") == 0 ? FLOOD : CLOSE, 0);
    }
    return 0;
}

static void on_disconnect(void *plugin_private, const struct old_server *server)
{
    struct connection *connection = plugin_private;

    (void)server;
    give(connection, END, 0);
    pthread_join(connection->thread, NULL);
    pthread_mutex_destroy(&connection->lock);
    pthread_cond_destroy(&connection->changed);
    free(connection);
}

struct old_plugin *counter_init(void);

struct old_plugin *counter_init(void)
{
    static struct old_plugin plugin = {
        .size = sizeof(plugin),
        .version = 0,
        .on_connect = on_connect,
        .on_message = on_message,
        .on_disconnect = on_disconnect,
    };

    return &plugin;
}
