/* ws_message: bytes that a client sent to messages and control frames.
 * Pull style: the caller owns the input and asks for one event at a time.
 *
 * Payloads are unmasked in the caller's buffer, and a message that lies there
 * whole and in one frame is handed out where it lies. Only what is cut by the
 * end of the input is copied, into a buffer that grows with the bytes that
 * have arrived, never by a declared length.
 *
 * Or (rules->stream) messages are handed out in the parts that arrive, and
 * nothing is collected: a part lies in the input, or is what fits of inflated
 * data into one buffer of the thread.
 *
 * Threads:  one at a time.
 * Lifetime: between two messages a ws_message_t owns no memory, but for the
 *           context of a client that takes it over. */
#ifndef WS_MESSAGE_H
#define WS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_deflate.h"
#include "ws_frame.h"
#include "ws_status.h"

typedef struct ws_partial ws_partial_t;     /* what is cut; defined in the .c */

/* What holds for a connection. The same for all calls of one message. */
typedef struct {
    size_t max_message;              /* bytes of a message, inflated; under
                                      * SIZE_MAX. What inflates to nothing
                                      * has no limit, and costs no memory. */
    uint32_t max_fragments;          /* frames of a message; 0: no limit */
    /* permessage-deflate, where it was negotiated; else shared is NULL */
    ws_deflate_shared_t *shared;
    uint8_t window_bits;             /* of the client */
    bool takeover;                   /* the client keeps its context */
    bool stream;                     /* messages come in parts */
} ws_message_rules_t;

typedef struct {
    ws_partial_t *partial;           /* NULL: nothing is cut */
    ws_inflater_t *context;          /* kept from message to message; NULL:
                                      * none yet, or no context takeover */
    const char *why;                 /* after an error: what, static text */
} ws_message_t;

typedef struct {
    uint8_t opcode;                  /* TEXT, BINARY, CLOSE, PING or PONG;
                                      * of the message, for all its parts */
    bool is_first, is_last;          /* of its parts; both: it is whole */
    /* Valid until ws_message_release(), and as long as the caller leaves its
     * input buffer alone. May be NULL if length is 0. A part: until anything
     * is read with the same shared, and empty only if it is the last. A text
     * may be cut inside of a character. */
    uint8_t *data;
    size_t length;
} ws_event_t;

void ws_message_init(ws_message_t *message);
void ws_message_clear(ws_message_t *message,
                      const ws_message_rules_t *rules);

/* Consumes bytes from *pdata (moves it on, lessens *plength; writes into the
 * buffer to unmask) up to and including the next event. All that is left, as
 * it is now, must come first in the next call: a part may be followed by
 * another of the same bytes.
 * WS_OK:      *event is filled.
 * WS_AGAIN:   all input was consumed and no event ended in it.
 * WS_EPROTO, WS_EUTF8, WS_EDATA, WS_ETOOBIG, WS_EPOLICY, WS_ENOMEM:
 *             message->why says what; do not call again. WS_ETOOBIG is told
 *             by a frame's head, before its payload is there, or while
 *             inflating; WS_EUTF8 at the byte that is wrong. Parts of the
 *             message may have come before it. */
ws_status_t ws_message_read(ws_message_t *message, ws_event_t *event,
                            uint8_t **pdata, size_t *plength,
                            const ws_message_rules_t *rules);

/* Lets go of the last event's data. To be called after each event, or with
 * the next ws_message_read() at the latest. */
void ws_message_release(ws_message_t *message);

#endif
