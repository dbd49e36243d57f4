/* ws_message: bytes that a client sent to whole messages and control frames.
 * Pull style: the caller owns the input and asks for one event at a time.
 *
 * Payloads are unmasked in the caller's buffer, and a message that lies there
 * whole and in one frame is handed out where it lies. Only what is cut by the
 * end of the input is copied, into a buffer that grows with the bytes that
 * have arrived, never by a declared length.
 *
 * Threads:  one at a time.
 * Lifetime: between two messages a ws_message_t owns no memory. */
#ifndef WS_MESSAGE_H
#define WS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "ws_frame.h"
#include "ws_status.h"

typedef struct ws_partial ws_partial_t;     /* what is cut; defined in the .c */

typedef struct {
    ws_partial_t *partial;           /* NULL: between messages */
    const char *why;                 /* after an error: what, static text */
} ws_message_t;

typedef struct {
    uint8_t opcode;                  /* TEXT, BINARY, CLOSE, PING or PONG */
    /* Valid until ws_message_release(), and as long as the caller leaves its
     * input buffer alone. */
    uint8_t *data;
    size_t length;
} ws_event_t;

void ws_message_init(ws_message_t *message);
void ws_message_clear(ws_message_t *message);

/* Consumes bytes from *pdata (moves it on, lessens *plength; writes into the
 * buffer to unmask) up to and including the next event.
 * max is the largest message, bytes.
 * WS_OK:      *event is filled.
 * WS_AGAIN:   all input was consumed and no event ended in it.
 * WS_EPROTO, WS_EUTF8, WS_ETOOBIG, WS_ENOMEM: message->why says what; do not
 *             call again. WS_ETOOBIG is told by a frame's head, before its
 *             payload is there; WS_EUTF8 at the byte that is wrong. */
ws_status_t ws_message_read(ws_message_t *message, ws_event_t *event,
                            uint8_t **pdata, size_t *plength, size_t max);

/* Lets go of the last event's data. To be called after each event, or with
 * the next ws_message_read() at the latest. */
void ws_message_release(ws_message_t *message);

#endif
