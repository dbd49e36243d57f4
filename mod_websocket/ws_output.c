#include "ws_output.h"

#include <stdlib.h>
#include <string.h>

#include "ws_frame.h"

#define VECTOR_MAX 64

/* What a chunk is: the opcode of a lone control frame, or one of these. */
enum {
    MESSAGE = 0,                     /* one; may be dropped */
    MIXED = 0xff                     /* not a lone message: what was gathered,
                                      * of which the first frame may be cut;
                                      * or a Close */
};

struct ws_chunk {
    ws_chunk_t *next;
    ws_buf_t *buf;                   /* whole frames; one reference is ours */
    uint32_t topic;                  /* of a message; 0: none */
    uint8_t kind;
};

static bool is_control(const ws_chunk_t *chunk)
{
    return chunk->kind != MESSAGE && chunk->kind != MIXED;
}

static void chunk_destroy(ws_conn_t *c, ws_chunk_t *chunk)
{
    if (c->turn->sending != NULL) {
        ws_budget_release(c->turn->sending, sizeof(*chunk));
    }
    ws_buf_unref(chunk->buf);
    free(chunk);
}

static bool is_corked(const ws_conn_t *c)
{
    return c->turn->corked == c;
}

/* Takes over the reference, also when it fails. */
static ws_chunk_t *chunk_create(ws_conn_t *c, ws_buf_t *buf, uint8_t kind)
{
    ws_chunk_t *chunk = buf != NULL ? malloc(sizeof(*chunk)) : NULL;

    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->buf = buf;
        chunk->topic = 0;
        chunk->kind = kind;
        if (c->turn->sending != NULL) {
            ws_budget_charge(c->turn->sending, sizeof(*chunk));
        }
    }
    else if (buf != NULL) {
        ws_buf_unref(buf);
    }
    return chunk;
}

static void insert(ws_conn_t *c, ws_chunk_t **at, ws_chunk_t *chunk)
{
    chunk->next = *at;
    *at = chunk;
    if (chunk->next == NULL) {
        c->tail = chunk;
    }
    c->queued += chunk->buf->length;
}

static ws_status_t push(ws_conn_t *c, ws_buf_t *buf, uint8_t kind,
                        uint32_t topic)
{
    ws_chunk_t *chunk = chunk_create(c, buf, kind);

    if (chunk == NULL) {
        return WS_ENOMEM;
    }
    chunk->topic = topic;
    insert(c, c->head == NULL ? &c->head : &c->tail->next, chunk);
    return WS_OK;
}

static void pop(ws_conn_t *c)
{
    ws_chunk_t *chunk = c->head;

    c->queued -= chunk->buf->length - c->head_offset;
    c->head = chunk->next;
    c->head_offset = 0;
    c->head_cut = false;
    if (c->head == NULL) {
        c->tail = NULL;
    }
    chunk_destroy(c, chunk);
}

/* What the socket left of a vector goes into the (empty) queue. */
static ws_status_t queue_rest(ws_conn_t *c, const struct iovec *vector,
                              int count, size_t sent)
{
    size_t total = 0;
    size_t at = 0;
    size_t skip = sent;
    ws_buf_t *buf;
    int i;

    for (i = 0; i < count; i++) {
        total += vector[i].iov_len;
    }
    if (sent == total) {
        return WS_OK;
    }
    buf = ws_buf_create(c->turn->sending, total - sent);
    for (i = 0; buf != NULL && i < count; i++) {
        size_t length = vector[i].iov_len;

        if (skip >= length) {
            skip -= length;
            continue;
        }
        memcpy(buf->data + at, (const uint8_t *)vector[i].iov_base + skip,
               length - skip);
        at += length - skip;
        skip = 0;
    }
    c->head_cut = sent > 0;
    if (push(c, buf, MIXED, 0) != WS_OK) {  /* nothing may follow a cut frame */
        c->write_failed = true;
        return WS_ENOMEM;
    }
    return WS_OK;
}

/* Writes past the (empty) queue; the cork first. */
static ws_status_t write_through(ws_conn_t *c, const void *head,
                                 size_t head_length, const void *data,
                                 size_t length)
{
    ws_turn_t *turn = c->turn;
    struct iovec vector[3];
    size_t sent = 0;
    int count = 0;
    ws_status_t status;

    if (turn->cork_length > 0) {
        vector[count++] = (struct iovec){turn->cork, turn->cork_length};
    }
    if (head_length > 0) {
        vector[count++] =
            (struct iovec){(void *)(uintptr_t)head, head_length};
    }
    if (length > 0) {
        vector[count++] = (struct iovec){(void *)(uintptr_t)data, length};
    }
    turn->cork_length = 0;
    if (count == 0 || c->write_failed) {
        return WS_OK;
    }
    status = c->io.ops->write(&c->io, vector, count, &sent);
    if (status == WS_EIO) {
        c->write_failed = true;
        return WS_OK;                       /* ws_output_write() tells it */
    }
    c->blocked = status == WS_AGAIN;
    return queue_rest(c, vector, count, sent);
}

static ws_status_t push_frame(ws_conn_t *c, uint8_t opcode, const void *data,
                              size_t length)
{
    ws_buf_t *buf =
        ws_buf_create_frame(c->turn->sending, opcode, data, length);
    bool is_message = (opcode & WS_OP_CLOSE) == 0;

    return push(c, buf, is_message ? MESSAGE : MIXED, 0);
}

ws_status_t ws_output_add(ws_conn_t *c, uint8_t opcode, const void *data,
                          size_t length)
{
    ws_turn_t *turn = c->turn;
    uint8_t head[WS_FRAME_HEAD_SERVER_MAX];
    size_t head_length;
    ws_status_t status;

    if (c->head != NULL || !is_corked(c)) {
        return push_frame(c, opcode, data, length);
    }
    head_length = ws_frame_write_head(head, (uint8_t)(opcode | WS_FIN), length);
    if (head_length + length > turn->cork_size) {
        return write_through(c, head, head_length, data, length);
    }
    if (head_length + length > turn->cork_size - turn->cork_length) {
        status = write_through(c, NULL, 0, NULL, 0);
        if (status != WS_OK || c->head != NULL) {
            return status != WS_OK ? status
                                   : push_frame(c, opcode, data, length);
        }
    }
    memcpy(turn->cork + turn->cork_length, head, head_length);
    turn->cork_length += head_length;
    if (length > 0) {
        memcpy(turn->cork + turn->cork_length, data, length);
        turn->cork_length += length;
    }
    return WS_OK;
}

/* Where a frame that overtakes may go: behind the frames that are partly out
 * and behind what TLS must be offered again. */
static ws_chunk_t **front(ws_conn_t *c)
{
    ws_chunk_t **at = &c->head;
    size_t covered = 0;

    if (c->head != NULL && (c->head_offset > 0 || c->head_cut)) {
        covered = c->head->buf->length - c->head_offset;
        at = &c->head->next;
    }
    while (*at != NULL && covered < c->io.pinned) {
        covered += (*at)->buf->length;
        at = &(*at)->next;
    }
    return at;
}

ws_status_t ws_output_add_control(ws_conn_t *c, uint8_t opcode,
                                  const void *data, size_t length)
{
    ws_chunk_t **at;
    ws_chunk_t *chunk;
    ws_buf_t *buf;

    if (c->head == NULL) {
        return ws_output_add(c, opcode, data, length);
    }
    buf = ws_buf_create_frame(c->turn->sending, opcode, data, length);
    if (buf == NULL) {
        return WS_ENOMEM;
    }
    at = front(c);
    while (*at != NULL && is_control(*at) && (*at)->kind != opcode) {
        at = &(*at)->next;
    }
    if (*at != NULL && (*at)->kind == opcode) {
        c->queued += buf->length;
        c->queued -= (*at)->buf->length;
        ws_buf_unref((*at)->buf);
        (*at)->buf = buf;
        return WS_OK;
    }
    chunk = chunk_create(c, buf, opcode);
    if (chunk == NULL) {
        return WS_ENOMEM;
    }
    insert(c, at, chunk);
    return WS_OK;
}

ws_status_t ws_output_add_buf(ws_conn_t *c, ws_buf_t *buf, uint32_t topic)
{
    ws_turn_t *turn = c->turn;
    ws_buf_t *gathered;

    if (is_corked(c) && turn->cork_length > 0) {
        gathered = ws_buf_create(turn->sending, turn->cork_length);
        if (gathered == NULL) {
            return WS_ENOMEM;
        }
        memcpy(gathered->data, turn->cork, turn->cork_length);
        turn->cork_length = 0;
        if (push(c, gathered, MIXED, 0) != WS_OK) {
            return WS_ENOMEM;
        }
    }
    return push(c, ws_buf_ref(buf), MESSAGE, topic);
}

static int gather(const ws_conn_t *c, struct iovec vector[VECTOR_MAX])
{
    const ws_chunk_t *chunk = c->head;
    size_t offset = c->head_offset;
    int count = 0;

    for (; chunk != NULL && count < VECTOR_MAX; chunk = chunk->next) {
        vector[count].iov_base = chunk->buf->data + offset;
        vector[count].iov_len = chunk->buf->length - offset;
        offset = 0;
        count++;
    }
    return count;
}

static void advance(ws_conn_t *c, size_t sent)
{
    size_t left;

    while (sent > 0) {
        left = c->head->buf->length - c->head_offset;
        if (sent < left) {
            c->head_offset += (uint32_t)sent;
            c->queued -= sent;
            return;
        }
        sent -= left;
        pop(c);
    }
}

ws_status_t ws_output_write(ws_conn_t *c)
{
    struct iovec vector[VECTOR_MAX];
    ws_status_t status = WS_OK;
    size_t sent;

    if (is_corked(c) && c->turn->cork_length > 0) {
        status = write_through(c, NULL, 0, NULL, 0);
        if (status != WS_OK || c->blocked) {
            return status != WS_OK ? status : WS_AGAIN;
        }
    }
    while (c->head != NULL && status == WS_OK && !c->write_failed) {
        status = c->io.ops->write(&c->io, vector, gather(c, vector), &sent);
        advance(c, sent);
    }
    c->blocked = status == WS_AGAIN;
    return c->write_failed ? WS_EIO : status;
}

/* --- dropping --- */

static void set_tail(ws_conn_t *c)
{
    for (c->tail = c->head; c->tail != NULL && c->tail->next != NULL;) {
        c->tail = c->tail->next;
    }
}

static void remove_at(ws_conn_t *c, ws_chunk_t **at)
{
    ws_chunk_t *chunk = *at;

    *at = chunk->next;
    c->queued -= chunk->buf->length;
    chunk_destroy(c, chunk);
}

size_t ws_output_drop_oldest(ws_conn_t *c, size_t limit)
{
    ws_chunk_t **at = front(c);
    size_t dropped = 0;

    while (*at != NULL && c->queued >= limit) {
        if ((*at)->kind == MESSAGE) {
            remove_at(c, at);
            dropped++;
        }
        else {
            at = &(*at)->next;
        }
    }
    if (*at == NULL) {                      /* it has come to the end */
        set_tail(c);
    }
    return dropped;
}

bool ws_output_has_topic(const ws_conn_t *c, uint32_t topic)
{
    const ws_chunk_t *chunk = c->head;

    while (chunk != NULL && chunk->topic != topic) {
        chunk = chunk->next;
    }
    return chunk != NULL;
}

size_t ws_output_drop_topic(ws_conn_t *c, uint32_t topic)
{
    ws_chunk_t **at = front(c);
    size_t dropped = 0;

    while (*at != NULL) {
        if ((*at)->topic == topic) {
            remove_at(c, at);
            dropped++;
        }
        else {
            at = &(*at)->next;
        }
    }
    set_tail(c);
    return dropped;
}

/* What others have, too, counts for each by its share. */
size_t ws_conn_queue_memory(const ws_conn_t *c)
{
    const ws_chunk_t *chunk;
    size_t memory = 0;

    for (chunk = c->head; chunk != NULL; chunk = chunk->next) {
        memory += sizeof(*chunk) + (sizeof(*chunk->buf) + chunk->buf->length) /
                                       chunk->buf->references;
    }
    return memory;
}

void ws_output_drop_unsent(ws_conn_t *c)
{
    ws_chunk_t **at = front(c);

    while (*at != NULL) {
        remove_at(c, at);
    }
    set_tail(c);
}

void ws_output_clear(ws_conn_t *c)
{
    if (is_corked(c)) {
        c->turn->cork_length = 0;
    }
    while (c->head != NULL) {
        pop(c);
    }
    c->blocked = false;
}
