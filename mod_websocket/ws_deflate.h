/* ws_deflate: the compression of permessage-deflate, RFC 7692 7.2: messages to
 * raw DEFLATE data and back. zlib does the work.
 *
 * A connection that takes no context over borrows what it needs from the
 * others of its thread for the length of a message; one that does has an
 * inflater and a deflater of its own.
 *
 * Threads:  a ws_deflate_shared_t, and all made with it, by one
 *           thread.
 * Lifetime: a budget outlives all that is charged to it; a shared outlives
 *           the messages that are made or read with it. */
#ifndef WS_DEFLATE_H
#define WS_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_budget.h"
#include "ws_status.h"

#define WS_WINDOW_BITS_MIN 8         /* RFC 7692 7.1.2 */
#define WS_WINDOW_BITS_MAX 15
#define WS_RSV1 0x40                 /* or'ed to an opcode: "compressed" */

/* What was negotiated for a connection. All zero: no compression. */
typedef struct {
    uint8_t server_bits;             /* log2 of the window that we compress
                                      * with, 8 to 15 */
    uint8_t client_bits;             /* the same for the client */
    bool server_takeover;            /* our context is kept between messages */
    bool client_takeover;            /* the client's is */
} ws_deflate_params_t;

static inline bool ws_deflate_agreed(const ws_deflate_params_t *params)
{
    return params->server_bits != 0;
}

/* --- memory --- */

/* The memory, bytes, that a connection with these parameters holds from one
 * message to the next: 0 without context takeover. */
size_t ws_deflate_cost(const ws_deflate_params_t *params);

/* --- what the connections of a thread share --- */

typedef struct ws_deflate_shared ws_deflate_shared_t;

/* NULL: out of memory. budget is borrowed; NULL: memory is not counted. */
ws_deflate_shared_t *ws_deflate_shared_create(ws_budget_t *budget);
void ws_deflate_shared_destroy(ws_deflate_shared_t *shared);

/* --- inflating --- */

typedef struct ws_inflater ws_inflater_t;

/* An inflater without context, for a window of 2^bits bytes, of a client that
 * takes it over. NULL: out of memory. */
ws_inflater_t *ws_inflater_create(unsigned bits);
void ws_inflater_destroy(ws_inflater_t *inflater);

/* The same for one message, charged to the budget until it is given back, in
 * whatever state. */
ws_inflater_t *ws_inflater_take(ws_deflate_shared_t *shared, unsigned bits);
void ws_inflater_give(ws_deflate_shared_t *shared, ws_inflater_t *inflater);

/* Inflates what it can of *pdata (moves it on, lessens *plength) into out, and
 * adds to *pcount, the bytes that are in out, at most size.
 * WS_OK:     all input was taken, and no output waits.
 * WS_AGAIN:  out is full; call again with more room.
 * WS_EDATA:  this is not DEFLATE data, or it looks back further than the
 *            window. What looks back too far, but not behind the output of
 *            this call, is not noticed: zlib inflates it.
 * WS_ENOMEM: out of memory. */
ws_status_t ws_inflater_run(ws_inflater_t *inflater, const uint8_t **pdata,
                            size_t *plength, uint8_t *out, size_t size,
                            size_t *pcount);

/* The message's payload, of one byte at least, has ended and all of it was
 * inflated: takes the four bytes that a sender leaves out (RFC 7692 7.2.2).
 * WS_OK, or WS_EDATA: the data was cut short. */
ws_status_t ws_inflater_end(ws_inflater_t *inflater);

#define WS_PART_SIZE ((size_t)16 * 1024)

/* WS_PART_SIZE bytes, the same each time: what is inflated goes there where it
 * is handed on at once. NULL: out of memory. */
uint8_t *ws_deflate_part(ws_deflate_shared_t *shared);

/* --- deflating --- */

typedef struct ws_deflater ws_deflater_t;

/* For a connection that keeps its context. NULL: out of memory. */
ws_deflater_t *ws_deflater_create(unsigned bits, int level);
void ws_deflater_destroy(ws_deflater_t *deflater);

/* Forgets the context: the next message refers to nothing before it. */
void ws_deflater_reset(ws_deflater_t *deflater);

#define WS_DEFLATE_LENGTH_MAX ((size_t)1 << 30)  /* bytes of a message */

/* Compresses one message of at most WS_DEFLATE_LENGTH_MAX bytes. deflater: the
 * connection's; NULL: without context, for a window of 2^bits bytes, at this
 * level (1 to 9).
 * WS_OK:     *pout, *pout_length are the payload, valid until the next call
 *            with this shared.
 * WS_ENOMEM: out of memory; the context is lost. */
ws_status_t ws_deflate_message(ws_deflate_shared_t *shared,
                               ws_deflater_t *deflater, unsigned bits,
                               int level, const void *data, size_t length,
                               const uint8_t **pout, size_t *pout_length);

#endif
