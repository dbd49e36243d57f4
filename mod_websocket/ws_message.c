#include "ws_message.h"

#include <stdlib.h>
#include <string.h>

#include "ws_mask.h"
#include "ws_utf8.h"

#define BUFFER_FIRST 512             /* bytes; doubles from here */

struct ws_partial {
    /* the frame being read; in_payload says that its head was read */
    ws_frame_t frame;
    uint64_t offset;                 /* bytes of its payload read so far */
    bool in_payload;
    uint8_t head[WS_FRAME_HEAD_MAX]; /* a head that the input's end cut */
    size_t head_length;
    uint8_t control[WS_CONTROL_MAX]; /* a control payload that was cut */

    /* the data message being collected; opcode 0: none */
    uint8_t opcode;
    bool is_compressed;
    bool has_data;                   /* of compressed data: any byte? */
    uint32_t fragments;              /* frames so far */
    ws_inflater_t *inflater;
    size_t unmasked;                 /* bytes of the payload that follow and are
                                      * unmasked: there was no room for what
                                      * they inflate to */
    bool is_ahead;                   /* the inflater has the first of them, but
                                      * it waits: who has more output than
                                      * there was room for has input left */
    ws_utf8_t utf8;
    uint8_t *buffer;
    size_t length;                   /* in it, or in all parts so far */
    size_t capacity;
    bool delivered;                  /* buffer was handed out last time */
};

void ws_message_init(ws_message_t *message)
{
    message->partial = NULL;
    message->context = NULL;
    message->why = NULL;
}

/* The inflater of a message that is over. */
static void let_inflater_go(ws_partial_t *state,
                            const ws_message_rules_t *rules)
{
    if (state->inflater != NULL && !rules->takeover) {
        ws_inflater_give(rules->shared, state->inflater);
    }
    state->inflater = NULL;
}

static void clear_state(ws_partial_t *state, const ws_message_rules_t *rules)
{
    let_inflater_go(state, rules);
    free(state->buffer);
}

void ws_message_clear(ws_message_t *message, const ws_message_rules_t *rules)
{
    if (message->partial != NULL) {
        clear_state(message->partial, rules);
        free(message->partial);
        message->partial = NULL;
    }
    ws_inflater_destroy(message->context);
    message->context = NULL;
}

/* All but the two arrays, which their lengths guard: this runs once a read. */
static void begin(ws_partial_t *state)
{
    memset(state, 0, offsetof(ws_partial_t, head));
    state->head_length = 0;
    memset(&state->opcode, 0,
           sizeof(*state) - offsetof(ws_partial_t, opcode));
}

static ws_status_t fail(ws_message_t *message, ws_status_t status,
                        const char *why)
{
    message->why = why;
    return status;
}

/* The state to go on with. Made when something is cut; until then a message
 * is read with a state on the caller's stack. */
static ws_status_t keep(ws_message_t *message, ws_partial_t *state,
                        const ws_message_rules_t *rules)
{
    if (message->partial == NULL) {
        message->partial = malloc(sizeof(*message->partial));
        if (message->partial == NULL) {
            clear_state(state, rules);
            return fail(message, WS_ENOMEM, "out of memory");
        }
    }
    if (message->partial != state) {
        *message->partial = *state;
    }
    return WS_OK;
}

static bool is_idle(const ws_partial_t *state)
{
    return !state->in_payload && state->head_length == 0 && state->opcode == 0;
}

/* Makes the buffer hold at least size bytes, and at most limit, which is not
 * less. Doubling keeps the time linear. */
static ws_status_t grow(ws_message_t *message, ws_partial_t *state,
                        size_t size, size_t limit)
{
    size_t capacity = state->capacity == 0 ? BUFFER_FIRST : state->capacity;
    uint8_t *grown;

    if (size <= state->capacity) {
        return WS_OK;
    }
    while (capacity < size) {
        capacity *= 2;
    }
    capacity = capacity < limit ? capacity : limit;
    grown = realloc(state->buffer, capacity);
    if (grown == NULL) {
        return fail(message, WS_ENOMEM, "out of memory");
    }
    state->buffer = grown;
    state->capacity = capacity;
    return WS_OK;
}

static ws_status_t append(ws_message_t *message, ws_partial_t *state,
                          const uint8_t *data, size_t count, size_t max)
{
    ws_status_t status = grow(message, state, state->length + count, max);

    if (status == WS_OK && count > 0) {
        memcpy(state->buffer + state->length, data, count);
        state->length += count;
    }
    return status;
}

static ws_status_t begin_inflating(ws_message_t *message, ws_partial_t *state,
                                   const ws_message_rules_t *rules)
{
    if (!rules->takeover) {
        state->inflater = ws_inflater_take(rules->shared, rules->window_bits);
    }
    else {
        if (message->context == NULL) {
            message->context = ws_inflater_create(rules->window_bits);
        }
        state->inflater = message->context;
    }
    return state->inflater != NULL
               ? WS_OK
               : fail(message, WS_ENOMEM, "out of memory");
}

static ws_status_t begin_message(ws_message_t *message, ws_partial_t *state,
                                 const ws_message_rules_t *rules)
{
    state->opcode = state->frame.opcode;
    state->is_compressed = state->frame.rsv1;
    state->has_data = false;
    state->fragments = 0;
    memset(&state->utf8, 0, sizeof(state->utf8));
    return state->is_compressed ? begin_inflating(message, state, rules)
                                : WS_OK;
}

/* A data frame begins: does it fit what came before (5.4) and the limits? */
static ws_status_t begin_data_frame(ws_message_t *message, ws_partial_t *state,
                                    const ws_message_rules_t *rules)
{
    ws_status_t status = WS_OK;

    if (state->frame.opcode == WS_OP_CONTINUATION) {
        if (state->opcode == 0) {
            return fail(message, WS_EPROTO, "continuation without a start");
        }
    }
    else {
        if (state->opcode != 0) {
            return fail(message, WS_EPROTO, "new message inside a message");
        }
        status = begin_message(message, state, rules);
    }
    state->fragments++;
    if (rules->max_fragments > 0 && state->fragments > rules->max_fragments) {
        return fail(message, WS_EPOLICY,
                    "message in more frames than WebSocketMaxFragments");
    }
    if (!state->is_compressed &&
        state->frame.length > rules->max_message - state->length) {
        return fail(message, WS_ETOOBIG, "message over WebSocketMaxMessage");
    }
    return status;
}

/* Reads a head from the input, or the rest of one that was cut. */
static ws_status_t read_head(ws_message_t *message, ws_partial_t *state,
                             uint8_t **pdata, size_t *plength,
                             const ws_message_rules_t *rules)
{
    bool may_rsv1 = rules->shared != NULL;
    size_t before = state->head_length;
    size_t taken = sizeof(state->head) - before;
    size_t head;
    ws_status_t status;

    if (before == 0) {
        status = ws_frame_parse(&state->frame, &head, &message->why, *pdata,
                                *plength, may_rsv1);
        taken = *plength;
    }
    else {
        taken = taken < *plength ? taken : *plength;
        memcpy(state->head + before, *pdata, taken);
        status = ws_frame_parse(&state->frame, &head, &message->why,
                                state->head, before + taken, may_rsv1);
    }
    if (status == WS_AGAIN) {
        if (before == 0) {                  /* a head is never over 14 bytes */
            memcpy(state->head, *pdata, taken);
        }
        state->head_length = before + taken;
        *pdata += taken;
        *plength -= taken;
        return WS_AGAIN;
    }
    if (status != WS_OK) {
        return status;
    }
    *pdata += head - before;
    *plength -= head - before;
    state->head_length = 0;
    state->offset = 0;
    state->in_payload = true;
    return ws_frame_is_control(&state->frame)
               ? WS_OK
               : begin_data_frame(message, state, rules);
}

/* Hands out the control frame in *event when all of it is there. It lies in
 * the input if it was not cut, else in state->control. */
static ws_status_t end_control(ws_partial_t *state, ws_event_t *event,
                               uint8_t *data, size_t count)
{
    size_t length = (size_t)state->frame.length;

    if (count < length) {
        memcpy(state->control + (state->offset - count), data, count);
        data = state->control;
    }
    if (state->offset < length) {
        return WS_AGAIN;
    }
    state->in_payload = false;
    event->opcode = state->frame.opcode;
    event->is_first = true;
    event->is_last = true;
    event->data = data;
    event->length = length;
    return WS_OK;
}

static ws_status_t check_text(ws_message_t *message, ws_partial_t *state,
                              const uint8_t *data, size_t count)
{
    if (state->opcode == WS_OP_TEXT &&
        ws_utf8_check(&state->utf8, data, count) != count) {
        return fail(message, WS_EUTF8, "text is not UTF-8");
    }
    return WS_OK;
}

/* Inflates what there is room for at out, and judges it. WS_AGAIN: there was no
 * room for all. The room is for one byte over the limit at most, which tells
 * that the limit is passed. */
static ws_status_t inflate_some(ws_message_t *message, ws_partial_t *state,
                                const uint8_t **pdata, size_t *pcount,
                                uint8_t *out, size_t room,
                                const ws_message_rules_t *rules)
{
    size_t length = 0;
    ws_status_t status = ws_inflater_run(state->inflater, pdata, pcount, out,
                                         room, &length);
    ws_status_t text = check_text(message, state, out, length);

    state->length += length;
    if (text != WS_OK) {
        return text;
    }
    if (state->length > rules->max_message) {
        return fail(message, WS_ETOOBIG,
                    "inflated message over WebSocketMaxMessage");
    }
    if (status == WS_EDATA) {
        return fail(message, status, "compressed data is broken");
    }
    return status == WS_ENOMEM ? fail(message, status, "out of memory")
                               : status;
}

/* Inflates a piece of the payload. */
static ws_status_t inflate_data(ws_message_t *message, ws_partial_t *state,
                                const uint8_t *data, size_t count,
                                const ws_message_rules_t *rules)
{
    ws_status_t status = WS_AGAIN;

    while (status == WS_AGAIN) {
        status =
            grow(message, state, state->length + 1, rules->max_message + 1);
        if (status == WS_OK) {
            status = inflate_some(message, state, &data, &count,
                                  state->buffer + state->length,
                                  state->capacity - state->length, rules);
        }
    }
    return status;
}

/* Not a byte of payload, where an empty message has one (RFC 7692 7.2.3.6):
 * senders whose compressor had nothing to flush do this. */
static ws_status_t end_inflating(ws_message_t *message, ws_partial_t *state)
{
    return !state->has_data || ws_inflater_end(state->inflater) == WS_OK
               ? WS_OK
               : fail(message, WS_EDATA, "compressed data is cut short");
}

/* The message's data has ended: is it whole? inline: on the way of each small
 * message. */
static inline ws_status_t check_end(ws_message_t *message, ws_partial_t *state)
{
    ws_status_t status =
        state->is_compressed ? end_inflating(message, state) : WS_OK;

    if (status == WS_OK && state->opcode == WS_OP_TEXT &&
        !ws_utf8_complete(&state->utf8)) {
        status = fail(message, WS_EUTF8, "text is not UTF-8");
    }
    return status;
}

static ws_status_t take_data(ws_message_t *message, ws_partial_t *state,
                             const uint8_t *data, size_t count,
                             const ws_message_rules_t *rules)
{
    bool is_last = state->frame.fin && state->offset == state->frame.length;
    ws_status_t status = WS_OK;

    if (!state->is_compressed) {
        status = check_text(message, state, data, count);
    }
    else if (count > 0) {
        state->has_data = true;
        status = inflate_data(message, state, data, count, rules);
    }
    return status == WS_OK && is_last ? check_end(message, state) : status;
}

static ws_status_t end_data(ws_message_t *message, ws_partial_t *state,
                            ws_event_t *event, uint8_t *data, size_t count,
                            const ws_message_rules_t *rules)
{
    bool ended = state->offset == state->frame.length;
    bool whole = ended && state->frame.fin && !state->is_compressed &&
                 state->buffer == NULL && state->length == 0;
    ws_status_t status = take_data(message, state, data, count, rules);

    if (status == WS_OK && !whole && !state->is_compressed) {
        status = append(message, state, data, count, rules->max_message);
    }
    if (status != WS_OK) {
        return status;
    }
    if (!ended) {
        return WS_AGAIN;
    }
    state->in_payload = false;
    if (!state->frame.fin) {
        return WS_AGAIN;                    /* the next frame goes on */
    }
    let_inflater_go(state, rules);
    event->opcode = state->opcode;
    event->is_first = true;
    event->is_last = true;
    event->data = whole ? data : state->buffer;
    event->length = whole ? count : state->length;
    state->delivered = !whole;
    state->opcode = 0;
    return WS_OK;
}

/* Takes what the input has of the payload. WS_AGAIN: no event ended. */
static ws_status_t read_payload(ws_message_t *message, ws_partial_t *state,
                                ws_event_t *event, uint8_t **pdata,
                                size_t *plength,
                                const ws_message_rules_t *rules)
{
    uint64_t left = state->frame.length - state->offset;
    size_t count = left < *plength ? (size_t)left : *plength;
    uint8_t *data = *pdata;

    ws_mask(data, count, state->frame.key, state->offset);
    state->offset += count;
    *pdata += count;
    *plength -= count;
    if (ws_frame_is_control(&state->frame)) {
        return end_control(state, event, data, count);
    }
    return end_data(message, state, event, data, count, rules);
}

/* --- in parts --- */

/* Inflates as much of the *pcount bytes of payload as the thread's buffer has
 * room for, and makes of *pcount how many of them need not come again. */
static ws_status_t inflate_part(ws_message_t *message, ws_partial_t *state,
                                ws_event_t *event, uint8_t *data,
                                size_t *pcount, const ws_message_rules_t *rules)
{
    const uint8_t *at = data + state->is_ahead;
    size_t left = *pcount - state->is_ahead;
    size_t room = rules->max_message + 1 - state->length;
    size_t before = state->length;
    ws_status_t status;

    ws_mask(data + state->unmasked, *pcount - state->unmasked,
            state->frame.key, state->offset + state->unmasked);
    state->has_data = true;
    event->data = ws_deflate_part(rules->shared);
    if (event->data == NULL) {
        return fail(message, WS_ENOMEM, "out of memory");
    }
    status = inflate_some(message, state, &at, &left, event->data,
                          room < WS_PART_SIZE ? room : WS_PART_SIZE, rules);
    event->length = state->length - before;
    state->is_ahead = status == WS_AGAIN && left == 0;
    state->unmasked = left + state->is_ahead;
    *pcount -= state->unmasked;
    return status == WS_AGAIN ? WS_OK : status;
}

/* The same where nothing is compressed: they are the part. */
static ws_status_t take_part(ws_message_t *message, ws_partial_t *state,
                             ws_event_t *event, uint8_t *data, size_t count)
{
    ws_mask(data, count, state->frame.key, state->offset);
    event->data = data;
    event->length = count;
    state->length += count;
    return check_text(message, state, data, count);
}

/* read_payload() where messages are not collected. */
static ws_status_t stream_payload(ws_message_t *message, ws_partial_t *state,
                                  ws_event_t *event, uint8_t **pdata,
                                  size_t *plength,
                                  const ws_message_rules_t *rules)
{
    uint64_t left = state->frame.length - state->offset;
    size_t count = left < *plength ? (size_t)left : *plength;
    ws_status_t status;
    bool is_last;

    if (state->is_compressed && count > 0) {
        status = inflate_part(message, state, event, *pdata, &count, rules);
    }
    else {
        status = take_part(message, state, event, *pdata, count);
    }
    state->offset += count;
    *pdata += count;
    *plength -= count;
    state->in_payload = state->offset < state->frame.length;
    is_last = !state->in_payload && state->frame.fin;
    if (status == WS_OK && is_last) {
        status = check_end(message, state);
    }
    if (status != WS_OK) {
        return status;
    }
    if (event->length == 0 && !is_last) {
        return WS_AGAIN;                    /* nothing new */
    }
    event->opcode = state->opcode;
    event->is_first = event->length == state->length;
    event->is_last = is_last;
    if (is_last) {
        let_inflater_go(state, rules);
        state->opcode = 0;
    }
    return WS_OK;
}

/* --- what callers call --- */

void ws_message_release(ws_message_t *message)
{
    ws_partial_t *state = message->partial;

    if (state == NULL) {
        return;
    }
    if (state->delivered) {
        free(state->buffer);
        state->buffer = NULL;
        state->length = 0;
        state->capacity = 0;
        state->delivered = false;
    }
    if (is_idle(state)) {
        free(state);
        message->partial = NULL;
    }
}

ws_status_t ws_message_read(ws_message_t *message, ws_event_t *event,
                            uint8_t **pdata, size_t *plength,
                            const ws_message_rules_t *rules)
{
    ws_partial_t fresh;
    ws_partial_t *state;
    ws_status_t status = WS_AGAIN;
    ws_status_t kept;

    ws_message_release(message);
    state = message->partial;
    if (state == NULL) {
        begin(&fresh);
        state = &fresh;
    }
    while (status == WS_AGAIN && *plength > 0) {
        if (!state->in_payload) {
            status = read_head(message, state, pdata, plength, rules);
            if (status != WS_OK) {
                break;
            }
        }
        status = rules->stream && !ws_frame_is_control(&state->frame)
                     ? stream_payload(message, state, event, pdata, plength,
                                      rules)
                     : read_payload(message, state, event, pdata, plength,
                                    rules);
    }
    if (status != WS_OK && status != WS_AGAIN) {
        if (state == &fresh) {
            clear_state(state, rules);
        }
        return status;
    }
    if (!is_idle(state) || state->delivered) {
        kept = keep(message, state, rules);
        status = kept == WS_OK ? status : kept;
    }
    return status;
}
