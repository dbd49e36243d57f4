#include "ws_buf.h"

#include <stdlib.h>
#include <string.h>

#include "ws_frame.h"

ws_buf_t *ws_buf_create(ws_budget_t *budget, size_t length)
{
    ws_buf_t *buf;

    if (length > UINT32_MAX) {
        return NULL;
    }
    buf = malloc(sizeof(*buf) + length);
    if (buf != NULL) {
        buf->budget = budget;
        buf->references = 1;
        buf->length = (uint32_t)length;
        if (budget != NULL) {
            ws_budget_charge(budget, sizeof(*buf) + length);
        }
    }
    return buf;
}

ws_buf_t *ws_buf_create_frame(ws_budget_t *budget, uint8_t opcode,
                              const void *data, size_t length)
{
    uint8_t head[WS_FRAME_HEAD_SERVER_MAX];
    size_t head_length =
        ws_frame_write_head(head, (uint8_t)(opcode | WS_FIN), length);
    ws_buf_t *buf = NULL;

    if (length <= UINT32_MAX - sizeof(head)) {
        buf = ws_buf_create(budget, head_length + length);
    }
    if (buf != NULL) {
        memcpy(buf->data, head, head_length);
        if (length > 0) {
            memcpy(buf->data + head_length, data, length);
        }
    }
    return buf;
}

void ws_buf_unref(ws_buf_t *buf)
{
    if (--buf->references == 0) {
        if (buf->budget != NULL) {
            ws_budget_release(buf->budget, sizeof(*buf) + buf->length);
        }
        free(buf);
    }
}
