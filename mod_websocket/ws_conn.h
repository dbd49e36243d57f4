/* ws_conn: one WebSocket: bytes to messages, messages to bytes.
 * Input, output queue, heartbeat, closing handshake, limits. It never waits
 * and knows no loop: its owner tells it when the socket is readable or
 * writable and when its deadline is over, and asks what it wants next.
 *
 * Threads:  the owning loop's thread only.
 * Lifetime: memory belongs to the owner, who embeds a ws_conn_t in a struct of
 *           its own. Callbacks come only out of the functions marked (*);
 *           everything else, ws_conn_close() too, is safe inside of them.
 *           Do not clear a connection inside of its own callbacks. */
#ifndef WS_CONN_H
#define WS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_buf.h"
#include "ws_guard.h"
#include "ws_io.h"
#include "ws_message.h"
#include "ws_status.h"

typedef struct ws_conn ws_conn_t;
typedef struct ws_turn ws_turn_t;
typedef struct ws_chunk ws_chunk_t;         /* an entry of the output queue */

/* What becomes of messages for a client whose queue is full. */
typedef enum {
    WS_QUEUE_CLOSE,                  /* its connection is closed with 1013 */
    WS_QUEUE_DROP_OLDEST,
    WS_QUEUE_DROP_NEWEST,
    WS_QUEUE_LATEST                  /* of each topic only the newest waits,
                                      * full or not; then as DROP_OLDEST */
} ws_queue_policy_t;

/* Limits; shared by many connections, outlives them. Times in ms, 0: none. */
typedef struct {
    size_t max_message;              /* bytes of one message, received */
    uint32_t max_fragments;          /* frames of one; 0: no limit */
    int compression_level;           /* of zlib, 1 to 9 */
    size_t compression_threshold;    /* bytes; a message under it is sent as
                                      * it is */
    ws_budget_t *budget;             /* the contexts that a connection keeps
                                      * are charged to it */
    size_t send_queue;               /* bytes queued at which it is full */
    ws_queue_policy_t queue_policy;  /* those that drop what waits need
                                      * connections that do not take our
                                      * context over */
    ws_guard_limits_t guard;
    int64_t ping_interval;           /* silence before a ping */
    int64_t ping_timeout;            /* silence after it: the peer is dead */
    int64_t close_timeout;           /* for a closing handshake to end */
} ws_conn_limits_t;

/* Each is called for one connection; none may be NULL. */
typedef struct {
    /* First of all callbacks, exactly once. */
    void (*on_open)(ws_conn_t *c);
    /* opcode: WS_OP_TEXT or WS_OP_BINARY. data is borrowed until the callback
     * returns and may be changed; it may be NULL if length is 0. */
    void (*on_message)(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                       size_t length);
    /* The queue is empty again after a send that returned WS_SEND_QUEUED. */
    void (*on_drained)(ws_conn_t *c);
    /* Last of all callbacks, exactly once after on_open. code: of the first
     * Close frame, whoever sent it (1005: it had none; 1006: there was no
     * Close). reason: the peer's text, not NUL-ended, borrowed. */
    void (*on_close)(ws_conn_t *c, uint16_t code, const uint8_t *reason,
                     size_t length);
    /* For the log: the connection is being failed with code, because of why
     * (static text). Comes before on_close, and at once, out of a send too:
     * it must only log. */
    void (*on_failure)(ws_conn_t *c, uint16_t code, const char *why);
} ws_conn_callbacks_t;

/* What a loop lends to its connections for a turn. */
struct ws_turn {
    int64_t now;                     /* ms, monotonic */
    uint8_t *input;                  /* one read goes here */
    size_t input_size;
    uint8_t *cork;                   /* gathers the output of one connection */
    size_t cork_size;
    size_t cork_length;
    ws_conn_t *corked;               /* which; NULL: none */
    ws_conn_t *pending;              /* those for which ws_conn_run() is due */
    ws_deflate_shared_t *deflate;    /* NULL: nobody compresses */
    ws_budget_t *sending;            /* what waits in queues is charged to it;
                                      * NULL: no limit */
    /* It is over the limit: calls ws_conn_shed() for as many connections as it
     * takes, those with the longest queues first. */
    void (*shed)(ws_turn_t *turn);
    uint32_t random;                 /* state of ws_turn_random() */
};

/* Does more wait in queues than may? */
static inline bool ws_turn_is_over(const ws_turn_t *turn)
{
    return turn->sending != NULL && atomic_load(&turn->sending->limit) > 0 &&
           ws_budget_is_used_up(turn->sending);
}

/* A number of a sequence that is good enough to spread things in time. */
static inline uint32_t ws_turn_random(ws_turn_t *turn)
{
    turn->random = turn->random * 1664525u + 1013904223u;
    return turn->random >> 8;
}

typedef enum {
    WS_CONN_OPEN,
    WS_CONN_CLOSING,                 /* our Close is out, theirs is awaited */
    WS_CONN_FLUSHING,                /* nothing more to say or to hear: the
                                      * queue goes out, input is thrown away */
    WS_CONN_LINGERING,               /* FIN is out, theirs is awaited */
    WS_CONN_DONE                     /* may be cleared */
} ws_conn_state_t;

/* Fields are ws_conn.c's own, but for io and deflate, which the owner fills. */
struct ws_conn {
    ws_io_t io;
    const ws_conn_limits_t *limits;
    const ws_conn_callbacks_t *callbacks;
    ws_turn_t *turn;
    ws_message_t message;
    ws_deflater_t *deflater;         /* ours, if we take our context over */
    ws_guard_t *guard;               /* NULL: no limit needs it */
    ws_chunk_t *head, *tail;         /* output queue */
    size_t queued;                   /* bytes in it */
    uint32_t head_offset;            /* bytes of the head that are sent */
    ws_deflate_params_t deflate;     /* what was negotiated */
    uint16_t close_code;
    uint8_t state;                   /* ws_conn_state_t */
    bool head_cut : 1;               /* a frame in the head is partly sent */
    bool blocked : 1;                /* the socket took no more */
    bool write_failed : 1;
    bool close_told : 1;
    bool paused : 1;
    bool want_drained : 1;
    bool want_read : 1;              /* input waits that no event will tell */
    bool awaiting_pong : 1;
    bool is_pending : 1;
    bool throttled : 1;              /* sends too fast: see guard->wait_until */
    uint8_t *rest;                   /* input kept by a pause */
    size_t rest_length;
    ws_conn_t *next_pending;
    int64_t alive;                   /* ms: the last sign of life */
    int64_t since;                   /* ms: of the ping, or of the closing */
};

typedef enum {
    WS_SEND_SENT,                    /* the socket, or this turn, has it */
    WS_SEND_QUEUED,                  /* the socket is full, it waits in the
                                      * queue; on_drained follows */
    WS_SEND_DROPPED,                 /* the queue is full (DROP_NEWEST) */
    WS_SEND_CLOSED                   /* no longer open, or just closed: full
                                      * queue, 1013; out of memory, 1011 */
} ws_send_result_t;

enum { WS_WANT_READ = 1, WS_WANT_WRITE = 2 };

/* c->io and c->deflate must be filled (the latter all zero, if turn->deflate is
 * NULL). Takes nothing over but that. */
void ws_conn_init(ws_conn_t *c, ws_turn_t *turn, const ws_conn_limits_t *limits,
                  const ws_conn_callbacks_t *callbacks);

/* Closes the socket and frees what the connection owns. No callback. */
void ws_conn_clear(ws_conn_t *c);

/* (*) Begins: on_open, then the length bytes of input that came with the
 * request (may be 0; written into to unmask). */
void ws_conn_start(ws_conn_t *c, uint8_t *data, size_t length);

/* (*) The socket is readable: one read, and all messages in it. */
void ws_conn_readable(ws_conn_t *c);

/* (*) The socket is writable. */
void ws_conn_writable(ws_conn_t *c);

/* (*) The socket has an error or was hung up: told even if nothing is wanted. */
void ws_conn_hangup(ws_conn_t *c);

/* (*) Does what the deadline asks for, if it is over. */
void ws_conn_tick(ws_conn_t *c);

/* (*) Called once for each connection of turn->pending, at the end of a turn. */
void ws_conn_run(ws_conn_t *c);

/* Has ws_conn_run() called at the end of this turn. */
void ws_conn_schedule(ws_conn_t *c);

/* When ws_conn_tick() is due, ms on the clock of turn->now; 0: never. */
int64_t ws_conn_deadline(const ws_conn_t *c);

/* Which events of the socket it waits for: WS_WANT_ bits. */
unsigned ws_conn_wants(const ws_conn_t *c);

/* One message. opcode: WS_OP_TEXT (must be UTF-8) or WS_OP_BINARY. data is
 * copied where the socket does not take it at once. */
ws_send_result_t ws_conn_send(ws_conn_t *c, uint8_t opcode, const void *data,
                              size_t length);

/* One message, its frame made before; adds a reference. Compressed only if
 * ws_conn_deflates() says so, and without context. topic: a number that stands
 * for what it is about (WS_QUEUE_LATEST); 0: none. */
ws_send_result_t ws_conn_send_buf(ws_conn_t *c, ws_buf_t *buf, uint32_t topic);

/* Ends a connection for the memory that its queue takes: with 1013; one that
 * is closing already, at once. */
void ws_conn_shed(ws_conn_t *c);

/* The memory that its queue takes, bytes. */
size_t ws_conn_queue_memory(const ws_conn_t *c);

/* Bytes that wait to be sent. */
static inline size_t ws_conn_buffered(const ws_conn_t *c)
{
    return c->queued + (c->turn->corked == c ? c->turn->cork_length : 0);
}

/* How many messages were not sent because the queue was full. */
uint64_t ws_conn_dropped(const ws_conn_t *c);

/* Are messages of this length sent compressed? The window (8 to 15), or 0. */
unsigned ws_conn_deflates(const ws_conn_t *c, size_t length);

/* Begins the closing handshake. code: valid in a Close frame, or 1005 for one
 * without a code. reason: UTF-8, cut to 123 bytes by the caller. Nothing
 * happens if it is closing already. */
void ws_conn_close(ws_conn_t *c, uint16_t code, const char *reason,
                   size_t length);

/* Ends it at once with a Close of this code; why is static text for the peer
 * and, through on_failure, for the log. */
void ws_conn_fail(ws_conn_t *c, uint16_t code, const char *why);

/* Stops and goes on with reading; messages wait. */
void ws_conn_pause(ws_conn_t *c);
void ws_conn_resume(ws_conn_t *c);

static inline bool ws_conn_is_done(const ws_conn_t *c)
{
    return c->state == WS_CONN_DONE;
}

static inline bool ws_conn_is_open(const ws_conn_t *c)
{
    return c->state == WS_CONN_OPEN;
}

#endif
