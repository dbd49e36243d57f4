/* ws_frame: the head of one RFC 6455 frame, from bytes and to bytes.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-+-+-+-+-------+-+-------------+-------------------------------+
 *   |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
 *   |I|S|S|S|  (4)  |A|     (7)     |            (16/64)            |
 *   |N|V|V|V|       |S|             |  (if payload len is 126/127)  |
 *   | |1|2|3|       |K|             |                               |
 *   +-+-+-+-+-------+-+-------------+-------------------------------+
 *   then the masking key (4 bytes, if MASK), then the payload
 *
 * Threads:  pure functions; any thread.
 * Lifetime: nothing is kept. */
#ifndef WS_FRAME_H
#define WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_status.h"

enum {
    WS_OP_CONTINUATION = 0x0,
    WS_OP_TEXT = 0x1,
    WS_OP_BINARY = 0x2,
    WS_OP_CLOSE = 0x8,
    WS_OP_PING = 0x9,
    WS_OP_PONG = 0xA
};

#define WS_FIN 0x80                  /* or'ed to an opcode to write a frame */
#define WS_FRAME_HEAD_MAX 14         /* 2 + 8 + 4: bytes of a client's head */
#define WS_FRAME_HEAD_SERVER_MAX 10  /* 2 + 8: a server does not mask */
#define WS_CONTROL_MAX 125           /* payload of a control frame: 5.5 */

typedef struct {
    uint64_t length;                 /* of the payload, bytes */
    uint8_t opcode;
    bool fin;
    bool rsv1;                       /* compressed: RFC 7692 6 */
    uint8_t key[4];                  /* the masking key */
} ws_frame_t;

static inline bool ws_frame_is_control(const ws_frame_t *frame)
{
    return (frame->opcode & 0x8) != 0;
}

/* Reads the head of a frame that a client sent, from buf[0..len).
 * may_rsv1: RSV1 has a meaning, in the first frame of a message.
 * WS_OK:     *frame is filled, *phead is the length of the head.
 * WS_AGAIN:  the head is not all there yet; nothing was written.
 * WS_EPROTO: a client must not send this (RFC 6455 5.2, 5.5, 5.1: reserved
 *            bit or opcode, long or fragmented control frame, unmasked frame,
 *            length not in its shortest form or over 2^63-1). Told as soon as
 *            the bytes seen so far prove it; *pwhy says what, static text. */
ws_status_t ws_frame_parse(ws_frame_t *frame, size_t *phead, const char **pwhy,
                           const uint8_t *buf, size_t len, bool may_rsv1);

/* Writes the head of a server's frame (unmasked) and returns its length, 2, 4
 * or 10. first is the first byte: an opcode, or'ed with WS_FIN for the last
 * frame of a message. */
size_t ws_frame_write_head(uint8_t head[WS_FRAME_HEAD_SERVER_MAX],
                           uint8_t first, uint64_t length);

/* May this code stand in a Close frame? RFC 6455 7.4.1, 7.4.2 and the IANA
 * registry: 1000-1003, 1007-1014, 3000-4999. */
bool ws_close_code_valid(unsigned code);

#endif
