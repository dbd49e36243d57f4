#include "ws_broadcast.h"

#include <string.h>

void ws_broadcast_begin(ws_broadcast_t *broadcast, uint32_t topic,
                        uint8_t opcode, const void *data, size_t length)
{
    memset(broadcast, 0, sizeof(*broadcast));
    broadcast->topic = topic;
    broadcast->opcode = opcode;
    broadcast->data = data;
    broadcast->length = length;
}

static ws_buf_t *plain(ws_broadcast_t *broadcast, const ws_conn_t *c)
{
    if (broadcast->bufs[0] == NULL) {
        broadcast->bufs[0] =
            ws_buf_create_frame(c->turn->sending, broadcast->opcode,
                                broadcast->data, broadcast->length);
    }
    return broadcast->bufs[0];
}

/* For a window of this size, without context; c says at which level. As it is
 * where compression does not help. */
static ws_buf_t *deflated(ws_broadcast_t *broadcast, unsigned bits,
                          const ws_conn_t *c)
{
    ws_buf_t **at = &broadcast->bufs[bits];
    const uint8_t *out;
    size_t length;

    if (*at != NULL) {
        return *at;
    }
    if (ws_deflate_message(c->turn->deflate, NULL, bits,
                           c->limits->compression_level, broadcast->data,
                           broadcast->length, &out, &length) == WS_OK &&
        length < broadcast->length) {
        *at = ws_buf_create_frame(c->turn->sending,
                                  (uint8_t)(broadcast->opcode | WS_RSV1), out,
                                  length);
    }
    else if (plain(broadcast, c) != NULL) {
        *at = ws_buf_ref(plain(broadcast, c));
    }
    return *at;
}

void ws_broadcast_send(ws_broadcast_t *broadcast, ws_conn_t *c)
{
    unsigned bits = ws_conn_deflates(c, broadcast->length);
    ws_buf_t *buf;

    if (!ws_conn_is_open(c)) {
        return;
    }
    buf = bits != 0 ? deflated(broadcast, bits, c) : plain(broadcast, c);
    if (buf == NULL) {
        ws_conn_fail(c, 1011, "out of memory");
        return;
    }
    ws_conn_send_buf(c, buf, broadcast->topic);
}

void ws_broadcast_end(ws_broadcast_t *broadcast)
{
    size_t i;

    for (i = 0; i < sizeof(broadcast->bufs) / sizeof(broadcast->bufs[0]);
         i++) {
        if (broadcast->bufs[i] != NULL) {
            ws_buf_unref(broadcast->bufs[i]);
        }
    }
}
