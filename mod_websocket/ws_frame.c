#include "ws_frame.h"

#include <string.h>

#define RSV_BITS 0x70
#define RSV1 0x40
#define OPCODE_BITS 0x0f
#define MASK_BIT 0x80
#define LENGTH_BITS 0x7f
#define LENGTH_16 126
#define LENGTH_64 127

static ws_status_t refuse(const char **pwhy, const char *why)
{
    *pwhy = why;
    return WS_EPROTO;
}

/* RSV1 may stand where a message begins: RFC 7692 6.1. */
static ws_status_t check_first_byte(uint8_t first, bool may_rsv1,
                                    const char **pwhy)
{
    uint8_t opcode = first & OPCODE_BITS;
    bool begins = opcode == WS_OP_TEXT || opcode == WS_OP_BINARY;

    if ((first & RSV_BITS) != 0 &&
        !((first & RSV_BITS) == RSV1 && may_rsv1 && begins)) {
        return refuse(pwhy, "reserved bit set");
    }
    if ((opcode & 0x7) > WS_OP_BINARY) {    /* 3-7 and 11-15: 5.2 */
        return refuse(pwhy, "reserved opcode");
    }
    if ((opcode & 0x8) && !(first & WS_FIN)) {
        return refuse(pwhy, "fragmented control frame");
    }
    return WS_OK;
}

static ws_status_t check_second_byte(uint8_t opcode, uint8_t second,
                                     const char **pwhy)
{
    if (!(second & MASK_BIT)) {             /* 5.1 */
        return refuse(pwhy, "unmasked frame");
    }
    if ((opcode & 0x8) && (second & LENGTH_BITS) > WS_CONTROL_MAX) {
        return refuse(pwhy, "control frame over 125 bytes");
    }
    return WS_OK;
}

static uint64_t read_big_endian(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* The extended length, of which the first `seen` of `count` bytes are here. It
 * must not fit a shorter form: 5.2. */
static ws_status_t read_long_length(uint64_t *plength, const char **pwhy,
                                    const uint8_t *bytes, size_t seen,
                                    size_t count)
{
    static const uint8_t zeros[6];

    if (count == 8 && seen > 0 && (bytes[0] & 0x80)) {
        return refuse(pwhy, "length with the top bit set");
    }
    if (count == 8 && seen >= sizeof(zeros) &&
        memcmp(bytes, zeros, sizeof(zeros)) == 0) {
        return refuse(pwhy, "length not in its shortest form");
    }
    if (seen < count) {
        return WS_AGAIN;
    }
    *plength = read_big_endian(bytes, count);
    return *plength < LENGTH_16
               ? refuse(pwhy, "length not in its shortest form")
               : WS_OK;
}

static size_t extended_size(uint8_t second)
{
    switch (second & LENGTH_BITS) {
    case LENGTH_16:
        return 2;
    case LENGTH_64:
        return 8;
    default:
        return 0;
    }
}

ws_status_t ws_frame_parse(ws_frame_t *frame, size_t *phead, const char **pwhy,
                           const uint8_t *buf, size_t len, bool may_rsv1)
{
    uint64_t length;
    size_t extended;
    size_t head;
    ws_status_t status;

    if (len < 1) {
        return WS_AGAIN;
    }
    status = check_first_byte(buf[0], may_rsv1, pwhy);
    if (status != WS_OK || len < 2) {
        return status != WS_OK ? status : WS_AGAIN;
    }
    status = check_second_byte(buf[0] & OPCODE_BITS, buf[1], pwhy);
    if (status != WS_OK) {
        return status;
    }
    length = buf[1] & LENGTH_BITS;
    extended = extended_size(buf[1]);
    if (extended > 0) {
        status = read_long_length(&length, pwhy, buf + 2,
                                  len - 2 < extended ? len - 2 : extended,
                                  extended);
        if (status != WS_OK) {
            return status;
        }
    }
    head = 2 + extended + sizeof(frame->key);
    if (len < head) {
        return WS_AGAIN;
    }
    memcpy(frame->key, buf + 2 + extended, sizeof(frame->key));
    frame->length = length;
    frame->opcode = buf[0] & OPCODE_BITS;
    frame->fin = (buf[0] & WS_FIN) != 0;
    frame->rsv1 = (buf[0] & RSV1) != 0;
    *phead = head;
    return WS_OK;
}

size_t ws_frame_write_head(uint8_t head[WS_FRAME_HEAD_SERVER_MAX],
                           uint8_t first, uint64_t length)
{
    size_t extended;
    size_t i;

    head[0] = first;
    if (length < LENGTH_16) {
        head[1] = (uint8_t)length;
        return 2;
    }
    extended = length <= UINT16_MAX ? 2 : 8;
    head[1] = extended == 2 ? LENGTH_16 : LENGTH_64;
    for (i = 0; i < extended; i++) {
        head[2 + i] = (uint8_t)(length >> (8 * (extended - 1 - i)));
    }
    return 2 + extended;
}

bool ws_close_code_valid(unsigned code)
{
    if (code >= 3000 && code <= 4999) {
        return true;
    }
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}
