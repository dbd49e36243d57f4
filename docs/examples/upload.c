/* upload: takes binary messages of any size, and has none of them in memory.
 *
 *     WebSocketHandler /path/to/upload.so directory=/var/uploads
 *     WebSocketMaxMessage 1G
 *
 * Each is answered with {"bytes":N,"checksum":"..."}, the checksum being FNV-1a
 * of 64 bits. Without a directory it is only counted. Texts are not taken.
 *
 * A disk may take long, and no other client of the loop should wait for it: so
 * a thread of a pool writes. While it has a part of an upload no more of it is
 * read; what the client sends waits in the network.
 *
 * To be seen here: fragment in place of message; pause and resume; offload with
 * data that two have; an upload that breaks off leaves nothing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <mod_websocket.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FNV_START 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

/* Of a connection. While a part is written a thread has the path and the file,
 * else the loop. When the process ends both may let go at a time. */
typedef struct {
    atomic_int holders;              /* the connection, and a part */
    int file;                        /* -1: none is open */
    char path[512];
    uint64_t bytes;
    uint64_t checksum;
} client_t;

typedef struct {
    client_t *client;
    int error;                       /* errno; 0: it is written */
    int is_last;
    size_t length;
    char data[];
} part_t;

static const websocket_option_t options[] = {
    {"directory", WEBSOCKET_STRING, NULL, 0, 0,
     "where uploads are stored; not given: they are only counted"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static const char *configure(websocket_context_t *context)
{
    const char *directory = websocket_option_string(context, "directory");
    struct stat status;

    if (directory == NULL) {
        return NULL;
    }
    return strlen(directory) < 400 && stat(directory, &status) == 0 &&
                   S_ISDIR(status.st_mode)
               ? NULL
               : websocket_context_error(context, "directory: %s is none",
                                         directory);
}

/* What is not complete goes. To take a large file away may block, too, but a
 * connection that is over has nothing done elsewhere any more. */
static void release(void *data)
{
    client_t *client = data;

    if (atomic_fetch_sub(&client->holders, 1) > 1) {
        return;
    }
    if (client->file >= 0) {
        close(client->file);
        unlink(client->path);
    }
    free(client);
}

static int accept_client(websocket_context_t *context,
                         websocket_request_t *request)
{
    client_t *client = calloc(1, sizeof(*client));

    (void)context;
    if (client == NULL) {
        return websocket_refuse(request, 503, "out of memory");
    }
    atomic_init(&client->holders, 1);
    client->file = -1;
    client->checksum = FNV_START;
    websocket_request_set_data(request, client, release);
    return 0;
}

/* --- in a thread of the pool --- */

/* O_EXCL: what is there already is somebody else's. Returns 0, or errno. */
static int store(client_t *client, const char *data, size_t length)
{
    ssize_t written;

    if (client->file < 0) {
        client->file =
            open(client->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }
    for (; client->file >= 0 && length > 0; length -= (size_t)written) {
        written = write(client->file, data, length);
        if (written < 0) {
            return errno;
        }
        data += written;
    }
    return client->file >= 0 ? 0 : errno;
}

static void write_part(void *baton)
{
    part_t *part = baton;

    part->error = store(part->client, part->data, part->length);
    if (part->error == 0 && part->is_last) {
        part->error = close(part->client->file) == 0 ? 0 : errno;
        part->client->file = -1;
    }
}

/* --- in the loop --- */

static void answer(websocket_t *ws, client_t *client)
{
    char text[100];
    int length =
        snprintf(text, sizeof(text),
                 "{\"bytes\":%" PRIu64 ",\"checksum\":\"%016" PRIx64 "\"}",
                 client->bytes, client->checksum);

    websocket_send(ws, WEBSOCKET_TEXT, text, (size_t)length);
    client->bytes = 0;
    client->checksum = FNV_START;
}

/* ws is NULL if the connection has gone meanwhile; the client is still there,
 * as the part holds it. */
static void part_written(websocket_t *ws, void *baton)
{
    part_t *part = baton;

    if (ws != NULL && part->error != 0) {
        websocket_log(ws, WEBSOCKET_LOG_ERROR, "%s: %s", part->client->path,
                      strerror(part->error));
        websocket_close(ws, 1011, "it cannot be stored");
    }
    else if (ws != NULL) {
        if (part->is_last) {
            answer(ws, part->client);
        }
        websocket_resume(ws);
    }
    release(part->client);
    free(part);
}

/* What is passed to fragment is gone afterwards: the thread gets a copy. */
static void pass_on(websocket_t *ws, const void *data, size_t length,
                    int is_last)
{
    client_t *client = websocket_data(ws);
    part_t *part = malloc(sizeof(*part) + length);

    if (part == NULL) {
        websocket_close(ws, 1011, "out of memory");
        return;
    }
    *part = (part_t){client, 0, is_last, length};
    memcpy(part->data, data, length);
    atomic_fetch_add(&client->holders, 1);
    if (websocket_offload(ws, write_part, part_written, part) != 0) {
        release(client);            /* nothing is called: all is still ours */
        free(part);
        websocket_close(ws, 1013, "too much to do, try again later");
        return;
    }
    websocket_pause(ws);
}

/* An id is unique until httpd is stopped, so the time is in the name, too. */
static void name_file(const websocket_t *ws, client_t *client,
                      const char *directory)
{
    struct timespec now;

    timespec_get(&now, TIME_UTC);
    snprintf(client->path, sizeof(client->path), "%s/%lld.%09ld-%" PRIu64,
             directory, (long long)now.tv_sec, now.tv_nsec, websocket_id(ws));
}

static void fragment(websocket_t *ws, int type, const void *data, size_t length,
                     int is_last)
{
    client_t *client = websocket_data(ws);
    const char *directory =
        websocket_option_string(websocket_context(ws), "directory");
    const unsigned char *byte = data;
    size_t i;

    if (type == WEBSOCKET_TEXT) {
        websocket_close(ws, 1003, "binary messages only");
        return;
    }
    client->bytes += length;
    for (i = 0; i < length; i++) {
        client->checksum = (client->checksum ^ byte[i]) * FNV_PRIME;
    }
    if (directory != NULL) {
        if (client->file < 0) {
            name_file(ws, client, directory);
        }
        pass_on(ws, data, length, is_last);
    }
    else if (is_last) {
        answer(ws, client);
    }
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI,
    .size = sizeof(websocket_handler_t),
    .name = "upload",
    .options = options,
    .option_size = sizeof(websocket_option_t),
    .configure = configure,
    .accept = accept_client,
    .fragment = fragment,
};
