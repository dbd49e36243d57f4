#include "ws_conn.h"

#include <stdlib.h>
#include <string.h>

#include "ws_frame.h"
#include "ws_output.h"
#include "ws_utf8.h"

#define REASON_MAX (WS_CONTROL_MAX - 2)

enum {
    CODE_NONE = 1005,                /* RFC 6455 7.4.1: never on the wire */
    CODE_ABNORMAL = 1006
};

void ws_conn_init(ws_conn_t *c, ws_turn_t *turn, const ws_conn_limits_t *limits,
                  const ws_conn_callbacks_t *callbacks)
{
    ws_io_t io = c->io;
    ws_deflate_params_t deflate = c->deflate;

    memset(c, 0, sizeof(*c));
    c->io = io;
    c->deflate = deflate;
    c->turn = turn;
    c->limits = limits;
    c->callbacks = callbacks;
    c->state = WS_CONN_OPEN;
    c->close_code = CODE_ABNORMAL;
    c->alive = turn->now;
    ws_message_init(&c->message);
}

static ws_message_rules_t rules_of(const ws_conn_t *c)
{
    return (ws_message_rules_t){
        .max_message = c->limits->max_message,
        .max_fragments = c->limits->max_fragments,
        .shared = ws_deflate_agreed(&c->deflate) ? c->turn->deflate : NULL,
        .window_bits = c->deflate.client_bits,
        .takeover = c->deflate.client_takeover,
        .stream = c->callbacks->on_fragment != NULL,
    };
}

static void clear_message(ws_conn_t *c)
{
    ws_message_rules_t rules = rules_of(c);

    ws_message_clear(&c->message, &rules);
}

void ws_conn_clear(ws_conn_t *c)
{
    ws_output_clear(c);
    clear_message(c);
    ws_deflater_destroy(c->deflater);
    c->deflater = NULL;
    free(c->guard);
    c->guard = NULL;
    free(c->rest);
    c->rest = NULL;
    c->io.ops->close(&c->io);
}

static void set_state(ws_conn_t *c, ws_conn_state_t state)
{
    if (c->state == WS_CONN_OPEN && state != WS_CONN_OPEN) {
        c->since = c->turn->now;            /* the close timeout begins */
    }
    c->state = (uint8_t)state;
}

void ws_conn_schedule(ws_conn_t *c)
{
    if (!c->is_pending) {
        c->is_pending = true;
        c->next_pending = c->turn->pending;
        c->turn->pending = c;
    }
}

static void tell_close(ws_conn_t *c, const uint8_t *reason, size_t length)
{
    if (!c->close_told) {
        c->close_told = true;
        c->callbacks->on_close(c, c->close_code, reason, length);
    }
}

/* The connection is lost: nothing can be sent any more. */
static void drop(ws_conn_t *c, const char *why)
{
    if (c->state == WS_CONN_DONE) {
        return;
    }
    if (c->state == WS_CONN_OPEN) {
        c->callbacks->on_failure(c, CODE_ABNORMAL, why);
    }
    ws_output_clear(c);
    set_state(c, WS_CONN_DONE);
}

/* Is its input left where it is? */
static bool is_held(const ws_conn_t *c)
{
    return c->paused || c->throttled;
}

/* After a time in which nothing could be heard of the peer. */
static void read_again(ws_conn_t *c)
{
    c->alive = c->turn->now;
    if (c->guard != NULL) {
        c->guard->last_message = c->turn->now;
    }
    c->want_read = c->want_read || c->io.ssl != NULL;
    ws_conn_schedule(c);
}

/* Whatever has kept it from reading. */
static void listen_again(ws_conn_t *c)
{
    if (is_held(c)) {
        c->paused = false;
        c->throttled = false;
        read_again(c);
    }
}

static void queue_close(ws_conn_t *c, uint16_t code, const void *reason,
                        size_t length)
{
    uint8_t payload[WS_CONTROL_MAX];

    length = length < REASON_MAX ? length : REASON_MAX;
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    if (length > 0) {
        memcpy(payload + 2, reason, length);
    }
    length = code == CODE_NONE ? 0 : length + 2;
    if (ws_output_add(c, WS_OP_CLOSE, payload, length) != WS_OK) {
        ws_output_clear(c);                 /* no memory for a last word */
        set_state(c, WS_CONN_DONE);
    }
}

void ws_conn_close(ws_conn_t *c, uint16_t code, const char *reason,
                   size_t length)
{
    if (c->state != WS_CONN_OPEN) {
        return;
    }
    c->close_code = code;
    set_state(c, WS_CONN_CLOSING);
    listen_again(c);                        /* their Close must be seen */
    queue_close(c, code, reason, length);
    ws_conn_schedule(c);
}

void ws_conn_fail(ws_conn_t *c, uint16_t code, const char *why)
{
    if (c->state > WS_CONN_CLOSING) {
        return;
    }
    c->callbacks->on_failure(c, code, why);
    if (c->state == WS_CONN_OPEN) {
        c->close_code = code;
        set_state(c, WS_CONN_FLUSHING);
        queue_close(c, code, why, strlen(why));
    }
    else {
        set_state(c, WS_CONN_FLUSHING);     /* our Close is on its way */
    }
    listen_again(c);
    ws_conn_schedule(c);
}

/* Writes what is there, then does what its end allows. Callbacks run. */
static void settle(ws_conn_t *c)
{
    ws_status_t status = WS_OK;

    if (c->turn->corked == c || c->head != NULL) {
        status = ws_output_write(c);
    }
    if (c->turn->corked == c) {
        c->turn->corked = NULL;
    }
    if (status == WS_EIO) {
        drop(c, "connection lost while writing");
    }
    else if (status == WS_ENOMEM) {
        drop(c, "out of memory");
    }
    if (c->state > WS_CONN_CLOSING) {
        tell_close(c, NULL, 0);
    }
    if (c->state == WS_CONN_FLUSHING && c->head == NULL) {
        c->io.ops->shutdown(&c->io);
        set_state(c, WS_CONN_LINGERING);
    }
    if (c->want_drained && c->head == NULL && c->state == WS_CONN_OPEN) {
        c->want_drained = false;
        c->callbacks->on_drained(c);
    }
}

/* --- input --- */

static void cork(ws_conn_t *c)
{
    c->turn->corked = c;
    c->turn->cork_length = 0;
}

static void receive_close(ws_conn_t *c, const uint8_t *data, size_t length)
{
    uint16_t code = CODE_NONE;
    ws_utf8_t utf8 = {0};
    const uint8_t *reason = length > 2 ? data + 2 : NULL;
    size_t reason_length = length > 2 ? length - 2 : 0;

    if (length == 1) {                      /* RFC 6455 5.5.1 */
        ws_conn_fail(c, 1002, "Close frame with a payload of one byte");
        return;
    }
    if (length >= 2) {
        code = (uint16_t)(data[0] << 8 | data[1]);
        if (!ws_close_code_valid(code)) {
            ws_conn_fail(c, 1002, "invalid close code");
            return;
        }
    }
    if (reason_length > 0 &&
        (ws_utf8_check(&utf8, reason, reason_length) != reason_length ||
         !ws_utf8_complete(&utf8))) {
        ws_conn_fail(c, 1007, "close reason is not UTF-8");
        return;
    }
    if (c->state == WS_CONN_OPEN) {
        c->close_code = code;
        set_state(c, WS_CONN_FLUSHING);
        queue_close(c, code, reason, reason_length);
    }
    else {
        set_state(c, WS_CONN_FLUSHING);
    }
    tell_close(c, reason, reason_length);
}

/* More came than its rate allows: it is failed, or not read for a while. */
static void be_too_fast(ws_conn_t *c)
{
    if (c->limits->guard.over_rate_closes) {
        ws_conn_fail(c, 1008, "client sends faster than allowed");
    }
    else {
        c->throttled = true;
    }
}

/* A message counts when it begins; any part of it is a sign of life. */
static bool allow_message(ws_conn_t *c, bool is_first)
{
    if (c->guard == NULL) {
        return true;
    }
    c->guard->last_message = c->turn->now;
    if (is_first &&
        !ws_guard_message(c->guard, &c->limits->guard, c->turn->now)) {
        be_too_fast(c);
    }
    return c->state == WS_CONN_OPEN;
}

static void deliver(ws_conn_t *c, const ws_event_t *event)
{
    if (c->callbacks->on_fragment != NULL) {
        c->callbacks->on_fragment(c, event->opcode, event->data, event->length,
                                  event->is_last);
    }
    else {
        c->callbacks->on_message(c, event->opcode, event->data, event->length);
    }
}

static void receive(ws_conn_t *c, const ws_event_t *event)
{
    switch (event->opcode) {
    case WS_OP_PING:
        if (c->state == WS_CONN_OPEN &&
            ws_output_add_control(c, WS_OP_PONG, event->data,
                                  event->length) != WS_OK) {
            ws_conn_fail(c, 1011, "out of memory");
        }
        break;
    case WS_OP_PONG:
        break;                              /* that it came is enough */
    case WS_OP_CLOSE:
        receive_close(c, event->data, event->length);
        break;
    default:
        if (c->state == WS_CONN_OPEN && allow_message(c, event->is_first)) {
            deliver(c, event);
        }                                   /* not after our Close */
    }
}

static uint16_t code_of(ws_status_t status)
{
    switch (status) {
    case WS_EUTF8:
    case WS_EDATA:
        return 1007;
    case WS_EPOLICY:
        return 1008;
    case WS_ETOOBIG:
        return 1009;
    case WS_ENOMEM:
        return 1011;
    default:
        return 1002;
    }
}

/* All messages of the input, or as far as a pause or an end lets it. Returns
 * how many bytes were not looked at. */
static size_t receive_all(ws_conn_t *c, uint8_t *data, size_t length)
{
    const ws_message_rules_t rules = rules_of(c);
    ws_event_t event;
    ws_status_t status;

    while (length > 0 && !is_held(c) && c->state <= WS_CONN_CLOSING) {
        status =
            ws_message_read(&c->message, &event, &data, &length, &rules);
        if (status == WS_AGAIN) {
            break;
        }
        if (status != WS_OK) {
            ws_conn_fail(c, code_of(status), c->message.why);
            break;
        }
        receive(c, &event);
        ws_message_release(&c->message);
    }
    if (c->state > WS_CONN_CLOSING) {
        clear_message(c);
        return 0;                           /* data after a Close: 5.5.1 */
    }
    return length;
}

/* A pause came in the middle of the input: keep what follows. */
static void keep_rest(ws_conn_t *c, const uint8_t *data, size_t length)
{
    uint8_t *rest = NULL;

    if (length > 0) {
        rest = malloc(length);
        if (rest == NULL) {
            ws_conn_fail(c, 1011, "out of memory");
            length = 0;
        }
        else {
            memcpy(rest, data, length);
        }
    }
    free(c->rest);
    c->rest = rest;
    c->rest_length = length;
}

static void take_input(ws_conn_t *c, uint8_t *data, size_t length)
{
    size_t left = receive_all(c, data, length);

    if (left > 0 || c->rest != NULL) {
        keep_rest(c, data + (length - left), left);
    }
}

/* Whoever is only to be slower is read later; what is here is here. */
static void take_counted(ws_conn_t *c, uint8_t *data, size_t length)
{
    bool is_within = c->guard == NULL || c->state != WS_CONN_OPEN ||
                     ws_guard_bytes(c->guard, &c->limits->guard, length,
                                    c->turn->now);

    if (is_within || !c->limits->guard.over_rate_closes) {
        take_input(c, data, length);
    }
    if (!is_within && c->state == WS_CONN_OPEN) {
        be_too_fast(c);
    }
}

static void read_end(ws_conn_t *c, ws_status_t status)
{
    if (c->state <= WS_CONN_CLOSING && status == WS_EIO) {
        drop(c, "connection lost");
    }
    else if (c->state <= WS_CONN_CLOSING) {
        drop(c, "connection ended without a Close frame");
    }
    else {
        set_state(c, WS_CONN_DONE);
    }
}

static void read_once(ws_conn_t *c)
{
    ws_turn_t *turn = c->turn;
    size_t size = c->guard == NULL ? turn->input_size
                                   : ws_guard_read_size(&c->limits->guard,
                                                        turn->input_size);
    size_t count = 0;
    ws_status_t status;

    status = c->io.ops->read(&c->io, turn->input, size, &count);
    if (status == WS_OK) {
        c->alive = turn->now;
        c->awaiting_pong = false;
        c->want_read = c->io.more;
        if (c->state <= WS_CONN_CLOSING) {
            take_counted(c, turn->input, count);
        }
    }
    else if (status == WS_AGAIN) {
        c->want_read = false;
    }
    else {
        c->want_read = false;
        read_end(c, status);
    }
}

/* --- what the owner calls --- */

static bool guard_begin(ws_conn_t *c)
{
    const ws_conn_limits_t *limits = c->limits;

    if (limits->queue_policy == WS_QUEUE_CLOSE &&
        !ws_guard_needed(&limits->guard)) {
        return true;
    }
    c->guard = malloc(sizeof(*c->guard));
    if (c->guard != NULL) {
        ws_guard_init(c->guard, &limits->guard, c->turn->now,
                      ws_turn_random(c->turn));
    }
    return c->guard != NULL;
}

void ws_conn_start(ws_conn_t *c, uint8_t *data, size_t length)
{
    bool is_guarded = guard_begin(c);

    cork(c);
    c->callbacks->on_open(c);
    if (!is_guarded) {
        ws_conn_fail(c, 1011, "out of memory");
    }
    take_counted(c, data, length);
    /* over TLS more may wait inside of OpenSSL: no event would tell */
    c->want_read = c->io.ssl != NULL;
    if (c->want_read) {
        ws_conn_schedule(c);
    }
    settle(c);
}

void ws_conn_readable(ws_conn_t *c)
{
    if (c->state == WS_CONN_DONE || (is_held(c) && c->state == WS_CONN_OPEN) ||
        c->rest != NULL) {                  /* ws_conn_run() has that first */
        return;
    }
    cork(c);
    read_once(c);
    settle(c);
    if (c->want_read) {
        ws_conn_schedule(c);
    }
}

void ws_conn_writable(ws_conn_t *c)
{
    size_t before = c->queued;

    if (c->state == WS_CONN_DONE) {
        return;
    }
    settle(c);
    if (c->queued < before) {               /* the peer has made room */
        c->alive = c->turn->now;
        c->awaiting_pong = false;
    }
    if (c->io.read_wants_write) {
        ws_conn_readable(c);
    }
}

void ws_conn_hangup(ws_conn_t *c)
{
    drop(c, "connection lost");
    settle(c);
}

void ws_conn_run(ws_conn_t *c)
{
    uint8_t *rest = c->rest;
    size_t length = c->rest_length;

    c->is_pending = false;
    if (c->state == WS_CONN_DONE) {
        settle(c);
        return;
    }
    cork(c);
    if (rest != NULL && !is_held(c)) {
        c->rest = NULL;
        c->rest_length = 0;
        take_input(c, rest, length);
        free(rest);
    }
    if (c->want_read && !is_held(c) && c->rest == NULL) {
        read_once(c);
    }
    settle(c);
    if (c->want_read && !is_held(c) && c->state != WS_CONN_DONE) {
        ws_conn_schedule(c);
    }
}

/* 0: none. */
static int64_t heartbeat_deadline(const ws_conn_t *c)
{
    const ws_conn_limits_t *limits = c->limits;

    if (limits->ping_interval == 0) {
        return 0;
    }
    if (c->awaiting_pong) {
        return limits->ping_timeout > 0 ? c->since + limits->ping_timeout : 0;
    }
    return c->alive + limits->ping_interval;
}

int64_t ws_conn_deadline(const ws_conn_t *c)
{
    const ws_conn_limits_t *limits = c->limits;
    int64_t deadline;
    int64_t guard;

    if (c->state == WS_CONN_DONE) {
        return 0;
    }
    if (c->state != WS_CONN_OPEN) {
        return limits->close_timeout > 0 ? c->since + limits->close_timeout : 0;
    }
    deadline = heartbeat_deadline(c);
    guard = c->guard != NULL ? ws_guard_deadline(c->guard, &limits->guard,
                                                 !is_held(c))
                             : 0;
    if (deadline == 0 || (guard != 0 && guard < deadline)) {
        return guard;
    }
    return deadline;
}

/* Silence: ask, and drop who does not answer. Who is not read with nothing to
 * be sent cannot be heard and is taken to be alive. */
static void heartbeat(ws_conn_t *c)
{
    if (is_held(c) && c->head == NULL) {
        c->alive = c->turn->now;
        c->awaiting_pong = false;
    }
    else if (c->awaiting_pong) {
        drop(c, "no answer to a ping");
    }
    else {
        c->awaiting_pong = true;
        c->since = c->turn->now;
        if (ws_output_add_control(c, WS_OP_PING, NULL, 0) != WS_OK) {
            ws_conn_fail(c, 1011, "out of memory");
        }
    }
}

/* In order, so that the client may answer. */
static void end(ws_conn_t *c, uint16_t code, const char *why)
{
    c->callbacks->on_failure(c, code, why);
    ws_conn_close(c, code, why, strlen(why));
}

/* Is it still to be heartbeaten? */
static bool tick_guard(ws_conn_t *c)
{
    const ws_guard_limits_t *limits = &c->limits->guard;
    ws_guard_t *guard = c->guard;
    int64_t now = c->turn->now;

    if (guard->wait_until != 0 && now >= guard->wait_until) {
        guard->wait_until = 0;
        c->throttled = false;
        read_again(c);
    }
    if (ws_guard_is_old(guard, now)) {
        end(c, 1008, "too old: authenticate again");
    }
    else if (!is_held(c) && ws_guard_is_idle(guard, limits, now)) {
        end(c, 1001, "idle");
    }
    return c->state == WS_CONN_OPEN;
}

static void tick_open(ws_conn_t *c)
{
    int64_t deadline;

    if (c->guard != NULL && !tick_guard(c)) {
        return;
    }
    deadline = heartbeat_deadline(c);
    if (deadline != 0 && c->turn->now >= deadline) {
        heartbeat(c);
    }
}

void ws_conn_tick(ws_conn_t *c)
{
    int64_t deadline = ws_conn_deadline(c);

    if (deadline == 0 || c->turn->now < deadline) {
        return;
    }
    cork(c);
    if (c->state == WS_CONN_OPEN) {
        tick_open(c);
    }
    else {
        ws_output_clear(c);
        set_state(c, WS_CONN_DONE);
    }
    settle(c);
}

unsigned ws_conn_wants(const ws_conn_t *c)
{
    unsigned wants = 0;

    if (!is_held(c) || c->state != WS_CONN_OPEN) {
        wants |= WS_WANT_READ;
    }
    if (c->head != NULL || (wants != 0 && c->io.read_wants_write)) {
        wants |= WS_WANT_WRITE;
    }
    return c->state == WS_CONN_DONE ? 0 : wants;
}

/* --- what handlers call --- */

void ws_conn_shed(ws_conn_t *c)
{
    if (c->state == WS_CONN_OPEN) {
        ws_output_drop_unsent(c);
        ws_conn_fail(c, 1013, "WebSocketSendMemory is used up: client reads "
                              "too slowly");
    }
    else {
        drop(c, "out of memory for what it is to be sent");
        ws_conn_schedule(c);
    }
}

void ws_conn_pause(ws_conn_t *c)
{
    if (c->state == WS_CONN_OPEN) {
        c->paused = true;
    }
}

void ws_conn_resume(ws_conn_t *c)
{
    if (c->paused) {
        c->paused = false;
        read_again(c);
    }
}
