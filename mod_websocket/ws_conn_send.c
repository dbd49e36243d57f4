/* The sending side of ws_conn: what may be queued, and how it is compressed. */
#include "ws_conn.h"
#include "ws_output.h"

static void count_dropped(ws_conn_t *c, size_t count)
{
    if (c->guard != NULL) {
        c->guard->dropped += count;
    }
}

/* The newer message is about the same thing, so those that wait may go. */
static void drop_outdated(ws_conn_t *c, uint32_t topic)
{
    if (c->limits->queue_policy != WS_QUEUE_LATEST || topic == 0 ||
        !ws_output_has_topic(c, topic)) {
        return;
    }
    if (!c->blocked) {
        ws_output_write(c);                 /* maybe nothing need wait */
    }
    count_dropped(c, ws_output_drop_topic(c, topic));
}

/* The queue is full: makes room, or says what becomes of one more message. */
static ws_send_result_t overflow(ws_conn_t *c)
{
    switch (c->limits->queue_policy) {
    case WS_QUEUE_DROP_NEWEST:
        count_dropped(c, 1);
        return WS_SEND_DROPPED;
    case WS_QUEUE_DROP_OLDEST:
    case WS_QUEUE_LATEST:
        count_dropped(c, ws_output_drop_oldest(c, c->limits->send_queue));
        return WS_SEND_SENT;
    default:
        ws_output_drop_unsent(c);           /* so that the Close gets through */
        ws_conn_fail(c, 1013, "send queue is full: client reads too slowly");
        return WS_SEND_CLOSED;
    }
}

/* May one more message be queued? WS_SEND_SENT: yes. Tries the socket before
 * it says no: much may have been added in one turn. */
static ws_send_result_t may_send(ws_conn_t *c, uint32_t topic)
{
    if (c->state != WS_CONN_OPEN) {
        return WS_SEND_CLOSED;
    }
    drop_outdated(c, topic);
    if (c->queued >= c->limits->send_queue) {
        ws_output_write(c);                 /* an error comes again */
    }
    return c->queued >= c->limits->send_queue ? overflow(c) : WS_SEND_SENT;
}

static ws_send_result_t sent(ws_conn_t *c, ws_status_t status)
{
    if (status != WS_OK) {
        ws_conn_fail(c, 1011, "out of memory");
        return WS_SEND_CLOSED;
    }
    if (c->guard != NULL) {
        c->guard->last_message = c->turn->now;
    }
    if (c->turn->corked != c) {
        ws_conn_schedule(c);
    }
    if (c->blocked && ws_turn_is_over(c->turn)) {
        c->turn->shed(c->turn);
    }
    if (c->state != WS_CONN_OPEN) {
        return WS_SEND_CLOSED;
    }
    if (c->blocked) {
        c->want_drained = true;
        return WS_SEND_QUEUED;
    }
    return WS_SEND_SENT;
}

uint64_t ws_conn_dropped(const ws_conn_t *c)
{
    return c->guard != NULL ? c->guard->dropped : 0;
}

unsigned ws_conn_deflates(const ws_conn_t *c, size_t length)
{
    return ws_deflate_agreed(&c->deflate) && length > 0 &&
                   length >= c->limits->compression_threshold &&
                   length <= WS_DEFLATE_LENGTH_MAX
               ? c->deflate.server_bits
               : 0;
}

/* Compresses *pdata, unless that is of no use; never, once the context has it:
 * what a client does not get it cannot look back at. */
static void deflate(ws_conn_t *c, uint8_t *pfirst, const void **pdata,
                    size_t *plength)
{
    unsigned bits = ws_conn_deflates(c, *plength);
    int level = c->limits->compression_level;
    const uint8_t *out;
    size_t length;

    if (bits == 0) {
        return;
    }
    if (c->deflate.server_takeover && c->deflater == NULL) {
        c->deflater = ws_deflater_create(bits, level);
    }
    if (ws_deflate_message(c->turn->deflate, c->deflater, bits, level, *pdata,
                           *plength, &out, &length) == WS_OK &&
        (length < *plength || c->deflater != NULL)) {
        *pfirst |= WS_RSV1;
        *pdata = out;
        *plength = length;
    }
}

ws_send_result_t ws_conn_send(ws_conn_t *c, uint8_t opcode, const void *data,
                              size_t length)
{
    uint8_t first = opcode;
    ws_send_result_t result = may_send(c, 0);

    if (result != WS_SEND_SENT) {
        return result;
    }
    deflate(c, &first, &data, &length);
    return sent(c, ws_output_add(c, first, data, length));
}

ws_send_result_t ws_conn_send_buf(ws_conn_t *c, ws_buf_t *buf, uint32_t topic)
{
    ws_send_result_t result = may_send(c, topic);

    if (result != WS_SEND_SENT) {
        return result;
    }
    if (c->deflater != NULL && (buf->data[0] & WS_RSV1)) {
        ws_deflater_reset(c->deflater);     /* the client's window moves on */
    }
    return sent(c, ws_output_add_buf(c, buf, topic));
}
