#include "run_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run_events.h"
#include "run_notation.h"
#include "ws_frame.h"
#include "ws_handshake.h"
#include "ws_mask.h"

#define ADDRESS "127.0.0.1"
#define READ_SIZE (64 * 1024)
#define HANDSHAKE_LIMIT 5            /* s, for the handler's accept */
#define GOING_AWAY 1001
#define CLOSE_WITHOUT_CODE 1005      /* RFC 6455 7.1.5 */
#define CLOSE_LOST 1006

typedef struct {
    uint8_t *data;
    size_t length, size;
} bytes_t;

/* What its handshake is given. */
typedef struct {
    run_host_t *host;
    const run_identity_t *identity;
    int fd;
} arrival_t;

struct run_client {
    run_client_state_t state;
    int fd;                          /* -1: the connection is over */
    arrival_t arrival;
    pthread_t thread;                /* does its handshake */
    bytes_t in, out;
    size_t out_at;                   /* bytes of out that are sent */
    apr_pool_t *pool;
    apr_table_t *headers;            /* of the answer */
    bool close_has_come;
    bool is_to_end;                  /* when all is sent */
    bool is_fragmented;              /* a message has more parts to come */
    uint64_t awaited;
    uint32_t random;                 /* for masking keys */
    struct {
        uint8_t head[WS_FRAME_HEAD_MAX];
        size_t length;
        uint64_t left;               /* bytes of the payload */
    } frame;                         /* that is being sent */
    run_events_t events;
    char name[RUN_NAME_MAX + 1];
};

/* --- buffers --- */

static void make_room(bytes_t *bytes, size_t length)
{
    size_t size = bytes->size;

    while (size - bytes->length < length) {
        size = size > 0 ? size * 2 : READ_SIZE;
    }
    if (size > bytes->size) {
        bytes->data = run_needed(realloc(bytes->data, size));
        bytes->size = size;
    }
}

static void append(bytes_t *bytes, const void *data, size_t length)
{
    if (length > 0) {
        make_room(bytes, length);
        memcpy(bytes->data + bytes->length, data, length);
        bytes->length += length;
    }
}

/* --- its begin --- */

static void *do_handshake(void *baton)
{
    arrival_t *arrival = baton;

    run_handshake(arrival->host, arrival->fd, ADDRESS, arrival->identity);
    return NULL;
}

/* False: errno. */
static bool connect_to_handler(run_client_t *client)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) != 0) {
        return false;
    }
    client->arrival.fd = fds[1];
    errno = pthread_create(&client->thread, NULL, do_handshake,
                           &client->arrival);
    if (errno != 0) {
        close(fds[0]);
        close(fds[1]);
        return false;
    }
    client->fd = fds[0];
    return true;
}

run_client_t *run_client_create(run_host_t *host, const char *name,
                                const char *request,
                                const run_identity_t *identity)
{
    run_client_t *client = run_needed(calloc(1, sizeof(*client)));

    client->arrival.host = host;
    client->arrival.identity = identity;
    client->random = 1;
    snprintf(client->name, sizeof(client->name), "%s", name);
    apr_pool_create(&client->pool, NULL);
    run_needed(client->pool);
    if (!connect_to_handler(client)) {
        apr_pool_destroy(client->pool);
        free(client);
        return NULL;
    }
    append(&client->out, request, strlen(request));
    return client;
}

static void end(run_client_t *client)
{
    if (client->fd >= 0) {
        close(client->fd);
        client->fd = -1;
    }
    client->out.length = 0;
    client->awaited = 0;
}

const char *run_client_name(const run_client_t *client)
{
    return client->name;
}

run_client_state_t run_client_state(const run_client_t *client)
{
    return client->state;
}

/* --- sending --- */

/* Follows the frames that go out, to know where one is cut. What is no frame
 * is the end of that: the handler's side closes. */
static void follow(run_client_t *client, const uint8_t *data, size_t length)
{
    ws_frame_t frame;
    const char *why;
    size_t head;

    while (length > 0) {
        if (client->frame.left > 0) {
            size_t step = client->frame.left < length
                              ? (size_t)client->frame.left
                              : length;

            client->frame.left -= step;
            data += step;
            length -= step;
            continue;
        }
        client->frame.head[client->frame.length++] = *data++;
        length--;
        switch (ws_frame_parse(&frame, &head, &why, client->frame.head,
                               client->frame.length, true)) {
        case WS_AGAIN:
            break;
        case WS_OK:
            client->frame.left = frame.length;
            client->frame.length = 0;
            break;
        default:
            client->frame.length = 0;
            return;
        }
    }
}

bool run_client_is_within_frame(const run_client_t *client)
{
    return client->frame.left > 0 || client->frame.length > 0;
}

bool run_client_is_within_message(const run_client_t *client)
{
    return client->is_fragmented;
}

void run_client_send_raw(run_client_t *client, const uint8_t *data,
                         size_t length)
{
    append(&client->out, data, length);
    follow(client, data, length);
}

/* Anything will do: there is nobody between the two. */
static void make_key(uint8_t key[4], run_client_t *client)
{
    client->random = client->random * 1664525u + 1013904223u;
    memcpy(key, &client->random, 4);
}

static void send_frame(run_client_t *client, uint8_t first,
                       const uint8_t *data, size_t length)
{
    uint8_t head[WS_FRAME_HEAD_MAX];
    size_t head_length = ws_frame_write_head(head, first, length);
    uint8_t *key = head + head_length;
    uint8_t *masked;

    head[1] |= 0x80;                        /* MASK */
    make_key(key, client);
    run_client_send_raw(client, head, head_length + 4);
    if (length == 0) {
        return;
    }
    make_room(&client->out, length);
    masked = client->out.data + client->out.length;
    memcpy(masked, data, length);
    ws_mask(masked, length, key, 0);
    client->out.length += length;
    follow(client, masked, length);
}

void run_client_send(run_client_t *client, uint8_t opcode,
                     const uint8_t *data, size_t length, bool is_last)
{
    uint8_t first = client->is_fragmented ? WS_OP_CONTINUATION : opcode;

    client->is_fragmented = !is_last;
    send_frame(client, is_last ? first | WS_FIN : first, data, length);
}

void run_client_close(run_client_t *client, unsigned code, const char *reason)
{
    uint8_t data[WS_CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t length = strnlen(reason, sizeof(data) - 2);

    memcpy(data + 2, reason, length);
    send_frame(client, WS_OP_CLOSE | WS_FIN, data, 2 + length);
    client->state = RUN_CLIENT_CLOSING;
}

void run_client_drop(run_client_t *client)
{
    client->is_to_end = true;
    client->state = RUN_CLIENT_CLOSING;
}

void run_client_ping(run_client_t *client, uint64_t number)
{
    uint8_t data[sizeof(number)];

    client->awaited = number;
    memcpy(data, &number, sizeof(data));
    send_frame(client, WS_OP_PING | WS_FIN, data, sizeof(data));
}

uint64_t run_client_awaited(const run_client_t *client)
{
    return client->awaited;
}

/* --- what comes: the answer --- */

static void read_status(run_client_t *client, const char *head)
{
    static const char accepted[] = "HTTP/1.1 101 ";
    char line[sizeof("refused 999")];

    if (strncmp(head, accepted, strlen(accepted)) == 0) {
        client->state = RUN_CLIENT_OPEN;
        return;
    }
    client->state = RUN_CLIENT_REFUSED;
    snprintf(line, sizeof(line), "refused %.3s", head + strlen("HTTP/1.1 "));
    run_events_add(&client->events, strdup(line));
    end(client);
}

static void read_headers(run_client_t *client, char *head)
{
    char *next = strstr(head, "\r\n") + 2;
    char *line;

    client->headers = apr_table_make(client->pool, 8);
    while (*(line = next) != '\r') {
        char *value = strstr(line, ": ");

        next = strstr(line, "\r\n");
        *next = '\0';
        next += 2;
        *value = '\0';
        apr_table_add(client->headers, line, value + 2);
    }
}

/* Returns how many bytes of input it has taken. */
static size_t read_answer(run_client_t *client, uint8_t *data, size_t length)
{
    char *head = (char *)data;
    size_t head_length;

    if (run_http_find_end(&head_length, head, 0, length) != 1) {
        return 0;
    }
    head[head_length - 1] = '\0';
    read_headers(client, head);
    read_status(client, head);
    return head_length;
}

typedef struct {
    const char *value;
    bool is_there;
} sought_t;

static int compare(void *baton, const char *name, const char *value)
{
    sought_t *sought = baton;

    (void)name;
    sought->is_there =
        sought->is_there || strcmp(value, sought->value) == 0;
    return 1;
}

bool run_client_was_answered(const run_client_t *client, const char *name,
                             const char *value)
{
    sought_t sought = {.value = value};

    if (client->headers != NULL) {
        apr_table_do(compare, &sought, client->headers, name, NULL);
    }
    return sought.is_there;
}

const char *run_client_protocol(const run_client_t *client)
{
    const char *protocol =
        apr_table_get(client->headers, "Sec-WebSocket-Protocol");

    return protocol != NULL ? protocol : "";
}

/* --- what comes: frames --- */

/* The head of a server's frame. Returns its length; 0: not all is there. */
static size_t read_frame_head(uint64_t *pframe, const uint8_t *data,
                              size_t length)
{
    size_t extra = 0;
    size_t i;

    if (length < 2) {
        return 0;
    }
    *pframe = data[1];
    if (data[1] >= 126) {
        extra = data[1] == 126 ? 2 : 8;
        *pframe = 0;
    }
    if (length < 2 + extra) {
        return 0;
    }
    for (i = 0; i < extra; i++) {
        *pframe = *pframe << 8 | data[2 + i];
    }
    return 2 + extra;
}

static void take_close(run_client_t *client, const uint8_t *data,
                       size_t length)
{
    unsigned code = length >= 2 ? (unsigned)data[0] << 8 | data[1]
                                : CLOSE_WITHOUT_CODE;
    size_t rest = length >= 2 ? 2 : 0;

    run_events_add(&client->events,
                   run_notation_close(code, data + rest, length - rest));
    client->close_has_come = true;
    if (client->state == RUN_CLIENT_OPEN) { /* ours is the second then */
        send_frame(client, WS_OP_CLOSE | WS_FIN, data, length);
    }
    client->state = RUN_CLIENT_CLOSING;     /* the server ends it: RFC 7.1.1 */
}

static void take_pong(run_client_t *client, const uint8_t *data,
                      size_t length)
{
    if (client->awaited != 0 && length == sizeof(client->awaited) &&
        memcmp(data, &client->awaited, length) == 0) {
        client->awaited = 0;
        return;
    }
    run_events_add(&client->events,
                   run_notation_message(WS_OP_PONG, data, length));
}

/* Our side sends no message in fragments. */
static void take_frame(run_client_t *client, uint8_t opcode,
                       const uint8_t *data, size_t length)
{
    switch (opcode) {
    case WS_OP_CLOSE:
        take_close(client, data, length);
        break;
    case WS_OP_PING:
        send_frame(client, WS_OP_PONG | WS_FIN, data, length);
        break;
    case WS_OP_PONG:
        take_pong(client, data, length);
        break;
    default:
        run_events_add(&client->events,
                       run_notation_message(opcode, data, length));
    }
}

/* Returns how many bytes of input it has taken. */
static size_t read_frame(run_client_t *client, uint8_t *data, size_t length)
{
    uint64_t payload = 0;
    size_t head = read_frame_head(&payload, data, length);

    if (head == 0 || length - head < payload) {
        return 0;
    }
    take_frame(client, data[0] & 0x0f, data + head, (size_t)payload);
    return head + (size_t)payload;
}

/* --- its socket --- */

static void read_input(run_client_t *client)
{
    size_t at = 0;
    size_t taken;

    do {
        uint8_t *data = client->in.data + at;
        size_t length = client->in.length - at;

        taken = client->state == RUN_CLIENT_CONNECTING
                    ? read_answer(client, data, length)
                    : read_frame(client, data, length);
        at += taken;
    } while (taken > 0 && client->fd >= 0);
    client->in.length -= at;
    memmove(client->in.data, client->in.data + at, client->in.length);
}

/* The handler's side has ended. */
static void lose(run_client_t *client)
{
    if (!client->close_has_come) {
        run_events_add(&client->events,
                       run_notation_close(CLOSE_LOST, NULL, 0));
    }
    client->state = RUN_CLIENT_CLOSED;
    end(client);
}

static void do_read(run_client_t *client)
{
    ssize_t got;

    make_room(&client->in, READ_SIZE);
    got = recv(client->fd, client->in.data + client->in.length, READ_SIZE, 0);
    if (got > 0) {
        client->in.length += (size_t)got;
        read_input(client);
    }
    else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        lose(client);
    }
}

static void do_write(run_client_t *client)
{
    ssize_t sent =
        send(client->fd, client->out.data + client->out_at,
             client->out.length - client->out_at, MSG_NOSIGNAL);

    if (sent > 0) {
        client->out_at += (size_t)sent;
    }
    else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        client->out_at = client->out.length; /* reading tells the rest */
    }
    if (client->out_at == client->out.length) {
        client->out.length = 0;
        client->out_at = 0;
    }
    if (client->is_to_end && client->out.length == 0) {
        client->is_to_end = false;
        shutdown(client->fd, SHUT_WR);
    }
}

int run_client_fd(const run_client_t *client)
{
    return client->fd;
}

run_events_t *run_client_events(run_client_t *client)
{
    return &client->events;
}

short run_client_wants(const run_client_t *client)
{
    return client->out.length > 0 || client->is_to_end ? POLLIN | POLLOUT
                                                       : POLLIN;
}

void run_client_ready(run_client_t *client, short events)
{
    if ((events & POLLOUT) != 0) {
        do_write(client);
    }
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        do_read(client);
    }
}

/* --- its end --- */

static void join_handshake(run_client_t *client)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HANDSHAKE_LIMIT;
    if (pthread_timedjoin_np(client->thread, NULL, &until) != 0) {
        run_host_give_up("accept");
    }
}

/* The handler is told, if it listens; its answer is not waited for. */
void run_client_destroy(run_client_t *client)
{
    if (client->state == RUN_CLIENT_OPEN) {
        run_client_close(client, GOING_AWAY, "");
        do_write(client);
    }
    end(client);
    join_handshake(client);
    run_events_clear(&client->events);
    apr_pool_destroy(client->pool);
    free(client->in.data);
    free(client->out.data);
    free(client);
}
