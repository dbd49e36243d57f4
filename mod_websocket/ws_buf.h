/* ws_buf: bytes to be sent, counted, so that one broadcast is one copy.
 * Threads:  the owning loop's thread only (the count is not atomic).
 * Lifetime: freed with the last reference. */
#ifndef WS_BUF_H
#define WS_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "ws_budget.h"

typedef struct {
    ws_budget_t *budget;             /* its memory is charged to it; or NULL */
    uint32_t references;
    uint32_t length;                 /* bytes */
    uint8_t data[];                  /* whole frames, heads and payloads */
} ws_buf_t;

/* A buffer of length bytes, not initialized, with one reference, the
 * caller's. It is charged to budget, whatever its limit; NULL: to none.
 * NULL: out of memory. */
ws_buf_t *ws_buf_create(ws_budget_t *budget, size_t length);

/* One unfragmented frame: opcode and a copy of data. NULL: out of memory, or
 * over 4 GiB. */
ws_buf_t *ws_buf_create_frame(ws_budget_t *budget, uint8_t opcode,
                              const void *data, size_t length);

static inline ws_buf_t *ws_buf_ref(ws_buf_t *buf)
{
    buf->references++;
    return buf;
}

void ws_buf_unref(ws_buf_t *buf);

#endif
