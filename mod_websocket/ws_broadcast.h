/* ws_broadcast: one message for many connections: framed once, and compressed
 * once for each size of window that they negotiated, at the level of the first
 * that needs it.
 * Threads:  the thread of the connections' loop.
 * Lifetime: for one message; on the caller's stack. */
#ifndef WS_BROADCAST_H
#define WS_BROADCAST_H

#include "ws_buf.h"
#include "ws_conn.h"

typedef struct {
    uint32_t topic;                  /* see ws_conn_send_buf() */
    uint8_t opcode;
    const void *data;
    size_t length;
    ws_buf_t *bufs[WS_WINDOW_BITS_MAX + 1]; /* by window; 0: as it is */
} ws_broadcast_t;

/* opcode: WS_OP_TEXT or WS_OP_BINARY. data is borrowed until the end. */
void ws_broadcast_begin(ws_broadcast_t *broadcast, uint32_t topic,
                        uint8_t opcode, const void *data, size_t length);

/* Sends it to one connection. Out of memory closes that with 1011. */
void ws_broadcast_send(ws_broadcast_t *broadcast, ws_conn_t *c);

void ws_broadcast_end(ws_broadcast_t *broadcast);

#endif
