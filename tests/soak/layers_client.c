/* The clients of the soak test without httpd. Each driver's thread polls its
 * own; a client is one connection, after which another takes its place. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "layers.h"

#define ROOMS 8
#define SENDERS 128                  /* that a member remembers; 2^n */
#define PAYLOAD_MAX 200000
#define READ_SIZE 8192

typedef struct {
    uint8_t *data;
    size_t length, capacity;
} bytes_t;

typedef enum {
    TALKING,
    CLOSING,                         /* our Close is out */
    CLOSED                           /* theirs was first: only TCP's end */
} state_t;

typedef struct {
    uint32_t id;
    uint32_t number;                 /* of its last message */
} sender_t;

typedef struct {
    soak_t *soak;
    uint32_t *random;                /* of the driver */
    int fd;                          /* -1: none */
    soak_kind_t kind;
    state_t state;
    int64_t begin;
    int64_t moved;                   /* ms: when it last said something, or
                                      * was sent more than a ping */
    int64_t next;                    /* ms: when it does something again */
    uint64_t stops;                  /* of workers, that were over when it
                                      * began */
    unsigned rounds;                 /* that it will still make */
    bytes_t out;
    size_t sent;                     /* of out */
    bytes_t in;
    bool is_fin_due;                 /* shutdown(2) behind the output */
    bool must_echo;                  /* an echo is awaited: */
    uint8_t opcode;
    bytes_t expected;
    unsigned code;                   /* that a wrong client is closed with */
    uint32_t id;                     /* chat */
    uint32_t number;
    sender_t senders[SENDERS];
    z_stream inflater, deflater;     /* SOAK_DEFLATED */
    bool has_streams;
    bool takeover;
} client_t;

const char *soak_kind_name(soak_kind_t kind)
{
    static const char *const names[SOAK_KINDS] = {
        [SOAK_ECHO] = "echo",
        [SOAK_DEFLATED] = "compressed",
        [SOAK_CHAT] = "chat",
        [SOAK_HALF_CLOSED] = "half-closed",
        [SOAK_FLOODER] = "flooder",
        [SOAK_DEAF] = "deaf",
        [SOAK_PINGER] = "pinger",
        [SOAK_CUT] = "cut",
        [SOAK_SILENT] = "silent",
        [SOAK_WRONG] = "wrong",
    };

    return names[kind];
}

static uint32_t below(client_t *c, uint32_t limit)
{
    return soak_random(c->random) % limit;
}

static soak_figures_t *figures(client_t *c)
{
    return &c->soak->figures[c->kind];
}

static void fail(client_t *c, const char *what)
{
    soak_fail(c->soak, "%s client %u: %s", soak_kind_name(c->kind), c->id,
              what);
}

/* --- bytes --- */

static void reserve(bytes_t *bytes, size_t more)
{
    if (bytes->length + more > bytes->capacity) {
        bytes->capacity = (bytes->length + more) * 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (bytes->data == NULL) {
            abort();
        }
    }
}

static void add(bytes_t *bytes, const void *data, size_t length)
{
    reserve(bytes, length + 1);             /* so that data is never NULL */
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static void add_frame(client_t *c, uint8_t first, const void *payload,
                      size_t length)
{
    uint8_t head[14] = {first};
    const uint32_t key = soak_random(c->random);
    size_t at = 2;
    size_t i;
    int size = length < 126 ? 0 : length < 65536 ? 2 : 8;

    head[1] = (uint8_t)(0x80 | (size == 0 ? length : size == 2 ? 126 : 127));
    for (; size > 0; size--) {
        head[at++] = (uint8_t)(length >> (8 * (size - 1)));
    }
    memcpy(head + at, &key, 4);
    add(&c->out, head, at + 4);
    add(&c->out, payload, length);
    for (i = 0; i < length; i++) {
        c->out.data[c->out.length - length + i] ^= head[at + (i & 3)];
    }
}

static void add_close(client_t *c, unsigned code)
{
    const uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};

    add_frame(c, 0x88, payload, 2);
}

static void make_payload(client_t *c, size_t length)
{
    size_t i;

    c->expected.length = 0;
    reserve(&c->expected, length + 1);
    for (i = 0; i < length; i++) {
        c->expected.data[i] = (uint8_t)('a' + below(c, 7));
    }
    c->expected.length = length;
}

/* --- compression --- */

static void begin_streams(client_t *c)
{
    memset(&c->inflater, 0, sizeof(c->inflater));
    memset(&c->deflater, 0, sizeof(c->deflater));
    if (inflateInit2(&c->inflater, -15) != Z_OK ||
        deflateInit2(&c->deflater, 1, Z_DEFLATED, -15, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        abort();
    }
    c->has_streams = true;
}

static void end_streams(client_t *c)
{
    if (c->has_streams) {
        inflateEnd(&c->inflater);
        deflateEnd(&c->deflater);
        c->has_streams = false;
    }
}

/* Into bytes, without the four that are left out. */
static void deflate_payload(client_t *c, bytes_t *bytes, const uint8_t *data,
                            size_t length)
{
    uLong bound = deflateBound(&c->deflater, length) + 64;

    if (!c->takeover) {
        deflateReset(&c->deflater);
    }
    reserve(bytes, bound);
    c->deflater.next_in = (Bytef *)(uintptr_t)data;
    c->deflater.avail_in = (uInt)length;
    c->deflater.next_out = bytes->data + bytes->length;
    c->deflater.avail_out = (uInt)bound;
    deflate(&c->deflater, Z_SYNC_FLUSH);
    bytes->length += bound - c->deflater.avail_out - 4;
}

static bool inflate_equals(client_t *c, const uint8_t *data, size_t length)
{
    const size_t size = c->expected.length + 1;
    uint8_t *got = malloc(size);
    bytes_t input = {0};
    bool is_equal = false;

    add(&input, data, length);
    add(&input, "\x00\x00\xff\xff", 4);
    if (!c->takeover) {
        inflateReset(&c->inflater);
    }
    c->inflater.next_in = input.data;
    c->inflater.avail_in = (uInt)input.length;
    c->inflater.next_out = got;
    c->inflater.avail_out = (uInt)size;
    if (got != NULL && inflate(&c->inflater, Z_SYNC_FLUSH) >= 0) {
        is_equal = c->inflater.avail_out == 1 && c->inflater.avail_in == 0 &&
                   memcmp(got, c->expected.data, size - 1) == 0;
    }
    free(got);
    free(input.data);
    return is_equal;
}

/* --- what clients do --- */

/* A message whose echo is awaited, in one frame or in several with a ping
 * between them. */
static void send_echo(client_t *c)
{
    static const size_t lengths[] = {0,   1,    125,   126,  127,
                                     999, 4000, 65535, 65536};
    size_t length = below(c, 50) == 0
                        ? below(c, PAYLOAD_MAX)
                        : lengths[below(c, below(c, 10) == 0 ? 9 : 7)];
    bytes_t payload;
    bytes_t packed = {0};
    uint8_t first;
    size_t at = 0;

    make_payload(c, length);
    payload = c->expected;
    c->opcode = (uint8_t)(1 + below(c, 2));
    first = c->opcode;
    if (c->kind == SOAK_DEFLATED && length > 0 && below(c, 4) > 0) {
        deflate_payload(c, &packed, payload.data, payload.length);
        payload = packed;
        first |= 0x40;
    }
    while (below(c, 3) == 0 && payload.length - at > 1) {
        size_t part = below(c, (uint32_t)(payload.length - at));

        add_frame(c, first, payload.data + at, part);
        add_frame(c, 0x89, "between", 7);
        first = 0;
        at += part;
    }
    add_frame(c, 0x80 | first, payload.data + at, payload.length - at);
    free(packed.data);
    c->must_echo = true;
    figures(c)->messages++;
}

static void say(client_t *c, int padding)
{
    char text[512];
    int length;

    length = snprintf(text, sizeof(text),
                      "{\"type\":\"chat\",\"username\":\"%u\","
                      "\"message\":\"%u %u %0*d\"}",
                      c->id, c->id, ++c->number, padding, 0);
    add_frame(c, 0x81, text, (size_t)length);
    figures(c)->messages++;
}

static void leave(client_t *c)
{
    add_close(c, 1000);
    c->state = CLOSING;
}

static void flood_with_pings(client_t *c)
{
    unsigned i;

    for (i = 0; i < 200; i++) {
        add_frame(c, 0x89, "are you there?", below(c, 15));
    }
    figures(c)->messages += 200;
}

/* What is good as far as it goes. */
static void send_part(client_t *c)
{
    size_t i;

    for (i = 0; i < 3; i++) {
        make_payload(c, below(c, 300));
        add_frame(c, below(c, 2) ? 0x81 : 0x01, c->expected.data,
                  c->expected.length);
        if ((c->out.data[c->out.length - 1] & 1) != 0) {
            add_frame(c, 0x89, "p", 1);
        }
    }
    c->out.length = 1 + below(c, (uint32_t)c->out.length - 1);
}

/* Bytes, and the code that they are closed with. Sent behind a good frame.
 * (Masked with a key of zeros where the payload matters.) */
static void send_wrong(client_t *c)
{
#define KEY "\x00\x00\x00\x00"
    static const struct {
        unsigned code;
        size_t length;
        const char *bytes;
    } cases[] = {
        {1002, 3, "\x81\x01x"},                     /* not masked */
        {1002, 6, "\xc1\x80" KEY},                  /* RSV1 */
        {1002, 6, "\xa1\x80" KEY},                  /* RSV2 */
        {1002, 6, "\x83\x80" KEY},                  /* opcode 3 */
        {1002, 6, "\x8b\x80" KEY},                  /* opcode 11 */
        {1002, 6, "\x09\x80" KEY},                  /* a ping in fragments */
        {1002, 8, "\x89\xfe\x00\x7e" KEY},          /* a long ping */
        {1002, 6, "\x80\x80" KEY},                  /* continues nothing */
        {1002, 12, "\x01\x80" KEY "\x81\x80" KEY},  /* starts inside */
        {1002, 8, "\x81\xfe\x00\x05" KEY},          /* length too long */
        {1002, 14, "\x82\xff\x80\0\0\0\0\0\0\0" KEY}, /* 2^63 */
        {1002, 7, "\x88\x81" KEY "x"},              /* Close of one byte */
        {1002, 8, "\x88\x82" KEY "\x03\xed"},       /* 1005 */
        {1007, 9, "\x88\x83" KEY "\x03\xe8\xff"},   /* reason */
        {1007, 8, "\x81\x82" KEY "\xc0\x80"},       /* text */
        {1009, 14, "\x82\xff\0\0\0\0\0\1\0\0" KEY}, /* large */
        {1008, 0, NULL},                            /* many fragments */
    };
    size_t i = below(c, sizeof(cases) / sizeof(cases[0]));
    unsigned n;

    add_frame(c, 0x8a, "a pong", 6);
    add(&c->out, cases[i].bytes != NULL ? cases[i].bytes : "",
        cases[i].length);
    if (cases[i].code == 1008) {
        for (n = 0; n <= SOAK_STRICT_FRAGMENTS; n++) {
            add_frame(c, n == 0 ? 0x01 : 0x00, "f", 1);
        }
    }
    c->code = cases[i].code;
    c->state = CLOSING;                     /* the answer may only be Close */
#undef KEY
}

/* Is its connection to be ended by its own side, in whatever state? */
static bool vanishes(const client_t *c)
{
    return c->kind == SOAK_DEAF || c->kind == SOAK_CUT ||
           c->kind == SOAK_PINGER || c->kind == SOAK_FLOODER;
}

static bool is_good(const client_t *c)
{
    return c->kind <= SOAK_HALF_CLOSED;
}

/* Everything that it says without being asked. */
static void act(client_t *c, int64_t now)
{
    if (c->state != TALKING || now < c->next || c->must_echo ||
        c->sent < c->out.length) {
        return;
    }
    if (c->rounds == 0 && is_good(c)) {
        leave(c);
        return;
    }
    c->moved = now;
    c->rounds -= c->rounds > 0;
    switch (c->kind) {
    case SOAK_ECHO:
    case SOAK_DEFLATED:
        send_echo(c);
        c->next = now + below(c, 20);
        break;
    case SOAK_HALF_CLOSED:
        send_echo(c);
        c->is_fin_due = true;
        break;
    case SOAK_CHAT:
        say(c, (int)below(c, 40));
        c->next = now + below(c, 60);
        break;
    case SOAK_FLOODER:
        say(c, 270);
        break;
    case SOAK_PINGER:
        flood_with_pings(c);
        c->next = now + below(c, 100);
        break;
    case SOAK_CUT:
        send_part(c);
        c->rounds = 0;
        break;
    case SOAK_WRONG:
        send_wrong(c);
        break;
    default:                                /* says nothing */
        break;
    }
}

/* --- what they are sent --- */

/* Each sender's messages must come one after the other. */
static void check_chat(client_t *c, const uint8_t *data, size_t length)
{
    char text[2200];
    const char *at;
    sender_t *sender;
    unsigned id;
    unsigned number;

    if (length >= sizeof(text)) {
        fail(c, "a message that nobody sent");
        return;
    }
    memcpy(text, data, length);
    text[length] = '\0';
    if (strstr(text, "\"type\":\"chat\"") == NULL) {
        if (strstr(text, "\"type\":\"error\"") != NULL) {
            fail(c, text);
        }
        return;                             /* someone came, or went */
    }
    at = strstr(text, "\"message\":\"");
    if (at == NULL || sscanf(at + 11, "%u %u ", &id, &number) != 2) {
        fail(c, text);
        return;
    }
    sender = &c->senders[id % SENDERS];
    if (id == c->id || (sender->id == id && number != sender->number + 1)) {
        soak_fail(c->soak, "message %u of %u came behind %u", number, id,
                  sender->number);
    }
    sender->id = id;
    sender->number = number;
}

static void check_echo(client_t *c, uint8_t first, const uint8_t *data,
                       size_t length)
{
    bool is_equal;

    if ((first & 0x40) != 0 && c->has_streams) {
        is_equal = inflate_equals(c, data, length);
        first &= (uint8_t)~0x40;
    }
    else {
        is_equal = length == c->expected.length &&
                   memcmp(data, c->expected.data, length) == 0;
    }
    if (!c->must_echo || !is_equal || first != (0x80 | c->opcode)) {
        fail(c, "this is not what was sent");
    }
    c->must_echo = false;
}

static void receive_close(client_t *c, unsigned code)
{
    const bool is_stop = code == 1012 || code == 1001;

    if (is_stop) {
        figures(c)->closed++;
    }
    else if (c->code != 0 ? code != c->code
                          : c->state == TALKING && is_good(c)) {
        soak_fail(c->soak, "%s client closed with %u instead of %u",
                  soak_kind_name(c->kind), code, c->code);
    }
    if (c->state == TALKING) {
        add_close(c, code);
    }
    c->state = CLOSED;
    c->must_echo = false;
}

static void receive_frame(client_t *c, uint8_t first, const uint8_t *data,
                          size_t length)
{
    switch (first & 0x0f) {
    case 8:
        receive_close(c, length >= 2 ? (unsigned)(data[0] << 8 | data[1])
                                     : 1005);
        return;
    case 9:
        if (c->kind != SOAK_SILENT && c->state == TALKING) {
            add_frame(c, 0x8a, data, length);
        }
        return;
    case 10:
        return;
    default:
        c->moved = soak_now();
        figures(c)->received++;
    }
    if (c->kind == SOAK_CHAT || c->kind == SOAK_FLOODER) {
        check_chat(c, data, length);
    }
    else if (is_good(c)) {
        check_echo(c, first, data, length);
    }
}

/* The frame at the beginning of the input. Returns its size; 0: not whole. */
static size_t next_frame(client_t *c, const uint8_t *data, size_t length)
{
    size_t head = 2;
    uint64_t payload;
    size_t i;

    if (length < 2) {
        return 0;
    }
    payload = data[1];
    if (payload >= 126) {
        head += payload == 126 ? 2 : 8;
        if (length < head) {
            return 0;
        }
        for (payload = 0, i = 2; i < head; i++) {
            payload = payload << 8 | data[i];
        }
    }
    if (payload > PAYLOAD_MAX || (data[0] & 0x80) == 0) {
        fail(c, "a frame that no server sends");
        abort();
    }
    if (length - head < payload) {
        return 0;
    }
    receive_frame(c, data[0], data + head, (size_t)payload);
    return head + (size_t)payload;
}

static void receive(client_t *c)
{
    size_t at = 0;
    size_t size;

    do {
        size = next_frame(c, c->in.data + at, c->in.length - at);
        at += size;
    } while (size > 0);
    memmove(c->in.data, c->in.data + at, c->in.length - at);
    c->in.length -= at;
}

/* --- the life of a client --- */

static void end(client_t *c)
{
    close(c->fd);
    c->fd = -1;
    end_streams(c);
}

/* A worker that is stopped gives up in the end who has not answered its Close.
 * If there was something that it had not read yet, its Close is lost. */
static bool was_reset_by_stop(const client_t *c, int error)
{
    return error == ECONNRESET && atomic_load(&c->soak->stops) > c->stops;
}

/* The other side has ended, with this error or 0: may it? */
static void hung_up(client_t *c, int error)
{
    if (was_reset_by_stop(c, error)) {
        figures(c)->closed++;
        end(c);
        return;
    }
    if (is_good(c) && (c->state == TALKING || c->must_echo) &&
        !(c->kind == SOAK_HALF_CLOSED && !c->must_echo)) {
        fail(c, "the connection is lost");
    }
    if (c->kind == SOAK_WRONG && c->state == CLOSING) {
        fail(c, "ended without a Close");
    }
    end(c);
}

static soak_place_t place_of(client_t *c)
{
    switch (c->kind) {
    case SOAK_DEFLATED:
        c->takeover = below(c, 2) == 0;
        return c->takeover ? SOAK_AT_ECHO_TAKEOVER : SOAK_AT_ECHO_DEFLATED;
    case SOAK_CHAT:
        return SOAK_AT_CHAT;
    case SOAK_FLOODER:
    case SOAK_DEAF:
        return SOAK_AT_CHAT_STRICT;
    case SOAK_SILENT:
        return SOAK_AT_ECHO_QUICK;
    case SOAK_WRONG:
        return SOAK_AT_ECHO_STRICT;
    case SOAK_CUT:
        return (soak_place_t)below(c, SOAK_PLACES);
    default:
        return SOAK_AT_ECHO;
    }
}

static soak_kind_t choose_kind(client_t *c)
{
    static const struct {
        soak_kind_t kind;
        unsigned share;
    } shares[] = {
        {SOAK_ECHO, 25},   {SOAK_DEFLATED, 15}, {SOAK_CHAT, 25},
        {SOAK_HALF_CLOSED, 5}, {SOAK_FLOODER, 2}, {SOAK_DEAF, 4},
        {SOAK_PINGER, 3},  {SOAK_CUT, 10},      {SOAK_SILENT, 3},
        {SOAK_WRONG, 8},
    };
    uint32_t at = below(c, 100);
    size_t i = 0;

    while (at >= shares[i].share) {
        at -= shares[i].share;
        i++;
    }
    return shares[i].kind;
}

/* The first frame may come with the request. */
static uint8_t *take_early(client_t *c, size_t *plength)
{
    uint8_t *early = NULL;

    *plength = 0;
    if (c->kind == SOAK_ECHO && below(c, 4) == 0) {
        send_echo(c);
        *plength = below(c, (uint32_t)c->out.length) + 1;
        early = malloc(*plength);
        if (early == NULL) {
            abort();
        }
        memcpy(early, c->out.data, *plength);
        c->sent = *plength;
    }
    return early;
}

static void begin(client_t *c, int64_t now)
{
    soak_place_t place;
    uint8_t *early;
    size_t length;
    char room[16];

    c->kind = choose_kind(c);
    place = place_of(c);
    c->state = TALKING;
    c->begin = now;
    c->stops = atomic_load(&c->soak->replaced);
    c->moved = now;
    c->next = now;
    c->rounds = c->kind == SOAK_HALF_CLOSED ? 1 : below(c, 60);
    c->out.length = 0;
    c->sent = 0;
    c->in.length = 0;
    c->is_fin_due = false;
    c->must_echo = false;
    c->code = 0;
    c->id = atomic_fetch_add(&c->soak->next_id, 1) + 1;
    c->number = 0;
    memset(c->senders, 0, sizeof(c->senders));
    if (c->kind == SOAK_DEFLATED) {
        begin_streams(c);
    }
    if (place == SOAK_AT_CHAT_STRICT) {
        strcpy(room, "flood");
    }
    else {
        snprintf(room, sizeof(room), "room%u", below(c, ROOMS));
    }
    early = take_early(c, &length);
    c->fd = soak_connect(c->soak, place, room, below(c, 100), early, length);
    figures(c)->connections++;
}

static void send_out(client_t *c)
{
    while (c->sent < c->out.length) {
        ssize_t count = send(c->fd, c->out.data + c->sent,
                             c->out.length - c->sent, MSG_NOSIGNAL);

        if (count < 0) {
            if (errno != EAGAIN) {          /* recv() tells what was said */
                c->sent = c->out.length;
            }
            break;
        }
        c->sent += (size_t)count;
    }
    if (c->sent == c->out.length) {
        c->sent = 0;
        c->out.length = 0;
        if (c->is_fin_due) {
            shutdown(c->fd, SHUT_WR);
            c->is_fin_due = false;
            c->state = CLOSING;
        }
    }
}

static void read_in(client_t *c)
{
    ssize_t count;

    reserve(&c->in, READ_SIZE);
    count = recv(c->fd, c->in.data + c->in.length, READ_SIZE, 0);
    if (count > 0) {
        c->in.length += (size_t)count;
        receive(c);
    }
    else if (count == 0 || errno != EAGAIN) {
        hung_up(c, count == 0 ? 0 : errno);
    }
}

static short events_of(const client_t *c)
{
    short events = c->kind == SOAK_DEAF ? 0 : POLLIN;

    if (c->sent < c->out.length) {
        events |= POLLOUT;
    }
    return events;
}

static void fail_hanging(client_t *c, int64_t now)
{
    soak_fail(c->soak,
              "%s client %u, %lld ms old: nothing has happened for a long "
              "time; state %d, %u rounds left, %zu of %zu bytes sent, %zu "
              "unread%s",
              soak_kind_name(c->kind), c->id, (long long)(now - c->begin),
              (int)c->state, c->rounds, c->sent, c->out.length, c->in.length,
              c->must_echo ? ", waits for an echo" : "");
}

static void turn(client_t *c, short events, int64_t now)
{
    if (c->kind == SOAK_DEAF && (events & POLLHUP) != 0) {
        end(c);                             /* its queue was full: 1013 */
        return;
    }
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        read_in(c);
    }
    if (c->fd < 0) {
        return;
    }
    act(c, now);
    send_out(c);
    if (vanishes(c) && c->rounds == 0 && c->sent == c->out.length &&
        now - c->begin > 300) {
        end(c);
    }
    else if (now - c->moved > SOAK_LIMIT) {
        fail_hanging(c, now);
        end(c);
    }
}

/* It is over: who behaves says good-bye, the others vanish. */
static void send_away(client_t *c)
{
    if (!is_good(c) && c->kind != SOAK_WRONG) {
        end(c);
    }
    else {
        c->rounds = 0;
    }
}

static void clear(client_t *c)
{
    free(c->out.data);
    free(c->in.data);
    free(c->expected.data);
}

/* Begins what is to begin, and waits a little for something to happen. */
static bool wait_for_events(client_t *clients, struct pollfd *polled,
                            unsigned count, bool is_over, int64_t now)
{
    bool any = false;
    unsigned i;

    for (i = 0; i < count; i++) {
        if (clients[i].fd < 0 && !is_over) {
            begin(&clients[i], now);
        }
        else if (clients[i].fd >= 0 && is_over) {
            send_away(&clients[i]);
        }
        any |= clients[i].fd >= 0;
        polled[i] = (struct pollfd){.fd = clients[i].fd,
                                    .events = events_of(&clients[i])};
    }
    poll(polled, count, 5);
    return any;
}

void *soak_drive(void *baton)
{
    soak_driver_t *driver = baton;
    const unsigned count = driver->soak->options.clients;
    client_t *clients = calloc(count, sizeof(*clients));
    struct pollfd *polled = calloc(count, sizeof(*polled));
    int64_t now = soak_now();
    unsigned i;

    if (clients == NULL || polled == NULL) {
        abort();
    }
    for (i = 0; i < count; i++) {
        clients[i].soak = driver->soak;
        clients[i].random = &driver->random;
        clients[i].fd = -1;
    }
    while (wait_for_events(clients, polled, count,
                           atomic_load(&driver->soak->is_over), now)) {
        now = soak_now();
        for (i = 0; i < count; i++) {
            if (clients[i].fd >= 0) {
                turn(&clients[i], polled[i].revents, now);
            }
        }
    }
    for (i = 0; i < count; i++) {
        clear(&clients[i]);
    }
    free(clients);
    free(polled);
    return NULL;
}
