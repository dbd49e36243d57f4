/* ws_test_peer: a connection whose socket is a script: it gives the bytes that
 * the test says, takes as many as the test says, and writes down all that
 * happens. Nothing here allocates, so that allocations can be made to fail.
 * Include it in one file of a program. */
#ifndef WS_TEST_PEER_H
#define WS_TEST_PEER_H

#include <stdarg.h>
#include <stdio.h>

#include "ws_conn.h"
#include "ws_test.h"

#define PEER_READS 64
#define PEER_OUT (256 * 1024)
#define PEER_UNLIMITED SIZE_MAX

typedef struct peer peer_t;

typedef struct {
    ws_status_t status;
    const uint8_t *data;             /* borrowed */
    size_t length;
    bool more;                       /* bytes wait inside of "OpenSSL" */
    bool wants_write;
} peer_read_t;

struct peer {
    ws_conn_t conn;
    /* what its socket gives */
    peer_read_t reads[PEER_READS];
    size_t read_count, read_at;
    /* what its socket takes */
    size_t room;                     /* bytes */
    uint16_t pin;                    /* io.pinned after a cut write */
    bool write_fails;
    size_t out_length;
    size_t out_at;                   /* frames up to here were looked at */
    int writes, shutdowns, closes;
    int opens, drains, ends, failures;
    /* what its owner does then; may be NULL */
    void (*do_open)(peer_t *p);
    void (*do_message)(peer_t *p, uint8_t opcode, uint8_t *data, size_t length);
    void (*do_drained)(peer_t *p);
    void (*do_close)(peer_t *p);
    void (*do_failure)(peer_t *p);
    peer_t *other;
    int count;
    /* what its owner was told, one word an event */
    char log[8192];
    /* what it has sent; from here on nothing is set to zero */
    uint8_t out[PEER_OUT];
};

static peer_t *peer_of(ws_conn_t *c)
{
    return (peer_t *)((char *)c - offsetof(peer_t, conn));
}

static peer_t *peer_of_io(ws_io_t *io)
{
    return peer_of((ws_conn_t *)((char *)io - offsetof(ws_conn_t, io)));
}

/* --- the socket --- */

static ws_status_t peer_io_read(ws_io_t *io, uint8_t *data, size_t size,
                                size_t *pcount)
{
    peer_t *p = peer_of_io(io);
    peer_read_t *read = &p->reads[p->read_at];

    ck_assert_int_eq(p->closes, 0);
    io->more = false;
    io->read_wants_write = false;
    if (p->read_at == p->read_count) {
        return WS_AGAIN;
    }
    io->read_wants_write = read->wants_write;
    if (read->status != WS_OK) {
        p->read_at++;
        return read->status;
    }
    *pcount = read->length < size ? read->length : size;
    memcpy(data, read->data, *pcount);
    read->data += *pcount;
    read->length -= *pcount;
    io->more = read->more;
    if (read->length == 0) {
        p->read_at++;
    }
    return WS_OK;
}

static ws_status_t peer_io_write(ws_io_t *io, const struct iovec *vector,
                                 int count, size_t *pcount)
{
    peer_t *p = peer_of_io(io);
    size_t total = 0;
    int i;

    p->writes++;
    *pcount = 0;
    ck_assert_int_eq(p->closes, 0);
    ck_assert_int_eq(p->shutdowns, 0);
    ck_assert_int_gt(count, 0);
    if (p->write_fails) {
        return WS_EIO;
    }
    for (i = 0; i < count; i++) {
        size_t length = vector[i].iov_len;

        total += length;
        length = length < p->room ? length : p->room;
        ck_assert_uint_le(p->out_length + length, PEER_OUT);
        memcpy(p->out + p->out_length, vector[i].iov_base, length);
        p->out_length += length;
        p->room -= p->room == PEER_UNLIMITED ? 0 : length;
        *pcount += length;
    }
    ck_assert_uint_gt(total, 0);
    io->pinned = *pcount < total ? p->pin : 0;
    return *pcount == total ? WS_OK : WS_AGAIN;
}

static void peer_io_shutdown(ws_io_t *io)
{
    peer_of_io(io)->shutdowns++;
}

static void peer_io_close(ws_io_t *io)
{
    peer_of_io(io)->closes++;
}

static const ws_io_ops_t peer_io_ops = {
    .read = peer_io_read,
    .write = peer_io_write,
    .shutdown = peer_io_shutdown,
    .close = peer_io_close,
};

/* --- the owner --- */

__attribute__((format(printf, 2, 3))) static void peer_log(peer_t *p,
                                                           const char *format,
                                                           ...)
{
    size_t at = strlen(p->log);
    va_list args;

    va_start(args, format);
    vsnprintf(p->log + at, sizeof(p->log) - at, format, args);
    va_end(args);
}

static void peer_on_open(ws_conn_t *c)
{
    peer_t *p = peer_of(c);

    p->opens++;
    peer_log(p, "open ");
    if (p->do_open != NULL) {
        p->do_open(p);
    }
}

/* Long messages by their length. */
static void peer_on_message(ws_conn_t *c, uint8_t opcode, uint8_t *data,
                            size_t length)
{
    peer_t *p = peer_of(c);

    ck_assert_int_eq(p->ends, 0);
    if (length <= 40) {
        peer_log(p, "%s(%.*s) ", opcode == 1 ? "text" : "binary", (int)length,
                 (const char *)data);
    }
    else {
        peer_log(p, "%s[%zu] ", opcode == 1 ? "text" : "binary", length);
    }
    if (p->do_message != NULL) {
        p->do_message(p, opcode, data, length);
    }
}

static void peer_on_drained(ws_conn_t *c)
{
    peer_t *p = peer_of(c);

    ck_assert_int_eq(p->ends, 0);
    p->drains++;
    peer_log(p, "drained ");
    if (p->do_drained != NULL) {
        p->do_drained(p);
    }
}

static void peer_on_close(ws_conn_t *c, uint16_t code, const uint8_t *reason,
                          size_t length)
{
    peer_t *p = peer_of(c);

    ck_assert_int_eq(p->opens, 1);
    ck_assert_int_eq(p->ends, 0);
    p->ends++;
    peer_log(p, "close(%u%s%.*s) ", code, length > 0 ? "," : "", (int)length,
             reason != NULL ? (const char *)reason : "");
    if (p->do_close != NULL) {
        p->do_close(p);
    }
}

static void peer_on_failure(ws_conn_t *c, uint16_t code, const char *why)
{
    peer_t *p = peer_of(c);

    ck_assert_int_eq(p->ends, 0);
    ck_assert_ptr_nonnull(why);
    p->failures++;
    peer_log(p, "failure(%u) ", code);
    if (p->do_failure != NULL) {
        p->do_failure(p);
    }
}

static const ws_conn_callbacks_t peer_callbacks = {
    .on_open = peer_on_open,
    .on_message = peer_on_message,
    .on_drained = peer_on_drained,
    .on_close = peer_on_close,
    .on_failure = peer_on_failure,
};

/* --- the loop --- */

static uint8_t peer_input[4096];
static uint8_t peer_cork[2048];
static ws_turn_t peer_turn;
static ws_conn_limits_t peer_limits;

static void peer_begin(void)
{
    peer_turn = (ws_turn_t){.now = 1000000,
                            .input = peer_input,
                            .input_size = sizeof(peer_input),
                            .cork = peer_cork,
                            .cork_size = sizeof(peer_cork)};
    peer_limits = (ws_conn_limits_t){.max_message = 64 * 1024,
                                     .send_queue = 64 * 1024,
                                     .ping_interval = 10000,
                                     .ping_timeout = 5000,
                                     .close_timeout = 3000};
}

static void peer_init(peer_t *p)
{
    memset(p, 0, offsetof(peer_t, out));
    p->room = PEER_UNLIMITED;
    p->conn.io.ops = &peer_io_ops;
    p->conn.io.fd = -1;
    ws_conn_init(&p->conn, &peer_turn, &peer_limits, &peer_callbacks);
}

/* What a loop does at the end of its turn; until nothing is left to do. */
static void peer_end_turn(void)
{
    int rounds = 0;

    ck_assert_ptr_null(peer_turn.corked);
    while (peer_turn.pending != NULL) {
        ws_conn_t *c = peer_turn.pending;
        ws_conn_t *next;

        ck_assert_int_lt(rounds++, 10000);
        peer_turn.pending = NULL;
        for (; c != NULL; c = next) {
            next = c->next_pending;
            ws_conn_run(c);
            ck_assert_ptr_null(peer_turn.corked);
        }
    }
}

static void peer_start(peer_t *p)
{
    peer_init(p);
    ws_conn_start(&p->conn, NULL, 0);
    peer_end_turn();
}

static void peer_script(peer_t *p, peer_read_t read)
{
    ck_assert_uint_lt(p->read_count, PEER_READS);
    p->reads[p->read_count++] = read;
}

/* Has it read all of input, a turn a read. */
WS_TEST_UNUSED static void peer_feed(peer_t *p, const ws_test_bytes_t *input)
{
    peer_script(p, (peer_read_t){.data = input->data, .length = input->length});
    while (p->read_at < p->read_count &&
           (ws_conn_wants(&p->conn) & WS_WANT_READ)) {
        ws_conn_readable(&p->conn);
        peer_end_turn();
    }
}

/* One frame. */
WS_TEST_UNUSED static void peer_feed_frame(peer_t *p, uint8_t first,
                                           const char *payload)
{
    ws_test_bytes_t input = {0};

    ws_test_add_text(&input, first, payload);
    peer_feed(p, &input);
    ws_test_free(&input);
}

WS_TEST_UNUSED static void peer_feed_close(peer_t *p, unsigned code,
                                           const char *reason)
{
    ws_test_bytes_t input = {0};

    ws_test_add_close(&input, code, reason);
    peer_feed(p, &input);
    ws_test_free(&input);
}

WS_TEST_UNUSED static void peer_feed_status(peer_t *p, ws_status_t status)
{
    peer_script(p, (peer_read_t){.status = status});
    ws_conn_readable(&p->conn);
    peer_end_turn();
}

WS_TEST_UNUSED static void peer_writable(peer_t *p, size_t room)
{
    p->room = room;
    ws_conn_writable(&p->conn);
    peer_end_turn();
}

/* The time goes on and the deadline, if it is over, is seen to. */
WS_TEST_UNUSED static void peer_pass(peer_t *p, int64_t ms)
{
    peer_turn.now += ms;
    ws_conn_tick(&p->conn);
    peer_end_turn();
}

/* The next frame that it has sent. */
static ws_test_frame_t peer_sent(peer_t *p)
{
    ws_test_frame_t frame;

    ck_assert_msg(ws_test_next_frame(&frame, p->out, p->out_length, &p->out_at),
                  "no frame was sent");
    return frame;
}

WS_TEST_UNUSED static void peer_expect(peer_t *p, uint8_t first,
                                       const char *payload)
{
    ws_test_frame_t frame = peer_sent(p);

    ck_assert_uint_eq(frame.first, first);
    ck_assert_msg(frame.length == strlen(payload) &&
                      memcmp(frame.data, payload, frame.length) == 0,
                  "\"%.*s\" is not \"%s\"", (int)frame.length,
                  (const char *)frame.data, payload);
}

WS_TEST_UNUSED static void peer_expect_close(peer_t *p, unsigned code)
{
    ws_test_frame_t frame = peer_sent(p);

    ck_assert_uint_eq(frame.first, 0x88);
    ck_assert_uint_ge(frame.length, 2);
    ck_assert_uint_eq((unsigned)frame.data[0] << 8 | frame.data[1], code);
}

static void peer_expect_no_more(const peer_t *p)
{
    ck_assert_uint_eq(p->out_at, p->out_length);
}

/* --- what tests do often --- */

/* For do_message: the owner answers each message with itself. */
WS_TEST_UNUSED static void peer_echo(peer_t *p, uint8_t opcode, uint8_t *data,
                                     size_t length)
{
    ws_conn_send(&p->conn, opcode, data, length);
}

/* For do_message: the owner pauses at the message "stop". */
WS_TEST_UNUSED static void peer_pause_at_stop(peer_t *p, uint8_t opcode,
                                              uint8_t *data, size_t length)
{
    (void)opcode;
    if (length == 4 && memcmp(data, "stop", 4) == 0) {
        ws_conn_pause(&p->conn);
    }
}

WS_TEST_UNUSED static ws_send_result_t peer_say(peer_t *p, const char *text)
{
    return ws_conn_send(&p->conn, WS_OP_TEXT, text, strlen(text));
}

/* Begins; three messages wait, of which `room` bytes are taken at first. */
WS_TEST_UNUSED static void peer_queue_three(peer_t *p, size_t room,
                                            uint16_t pin)
{
    peer_begin();
    peer_start(p);
    p->room = room;
    p->pin = pin;
    peer_say(p, "first....");               /* 11 bytes a frame */
    peer_say(p, "second...");
    peer_say(p, "third....");
    peer_end_turn();
    ck_assert(ws_conn_wants(&p->conn) & WS_WANT_WRITE);
}

/* The end of every test: it is cleared, and owns nothing any more. */
static void peer_end(peer_t *p)
{
    ws_conn_clear(&p->conn);
    ck_assert_int_eq(p->closes, 1);
    ck_assert_int_eq(p->opens, 1);
    ck_assert_int_le(p->ends, 1);
    ck_assert_int_le(p->shutdowns, 1);
}

#endif
