/* Frames and messages, compressed or not, against a parser that takes one byte
 * after the other: the same events, each at the same byte, and the same error
 * as soon as the bytes prove it, however the input is cut; whole messages, and
 * in parts. Masks, UTF-8, heads and close codes on their own, too.
 *
 * Input: a byte of options, one each for the largest message, the most frames
 * of a message, and where the input is cut; then what a client sends. Or, by
 * the options, frames to be made: the first byte, one that says how the frame
 * is made, one for the length of the payload, the payload. */
#include "fuzz.h"
#include "reference.h"
#include "ws_frame.h"
#include "ws_mask.h"
#include "ws_message.h"
#include "ws_utf8.h"

#define BYTEWISE_MAX 3000            /* bytes; longer input is only cut */
#define REPEATED 90                  /* times that a payload is */

enum {                               /* options */
    DEFLATE = 1,
    TAKEOVER = 2,
    MADE = 4,                        /* frames to be made */
    PARTS = 8,                       /* not messages, but their parts */
    RELEASE = 16                     /* at once, not by the next read */
    /* the other three: the window's bits, 8 and more */
};

enum {                               /* how a frame is made */
    LENGTH_FORM = 3,                 /* 1: 16 bits; 2: 64 bits; 3: unmasked */
    COMPRESS = 4,
    KEY = 8,
    REPEAT = 16,
    SPLIT = 32,
    PING_BETWEEN = 64,
    WRONG_LENGTH = 128
};

/* --- heads and close codes: RFC 6455 5.2, 7.4 --- */

/* Like ws_frame_parse(), by as many bytes as are there. */
static ws_status_t reference_head(ws_frame_t *frame, size_t *phead,
                                  const uint8_t *head, size_t count,
                                  bool may_rsv1)
{
    unsigned opcode, form, extended, i;

    if (count < 1) {
        return WS_AGAIN;
    }
    opcode = head[0] & 15;
    if ((head[0] & 0x30) != 0 ||
        ((head[0] & 0x40) != 0 && (!may_rsv1 || opcode < 1 || opcode > 2))) {
        return WS_EPROTO;
    }
    if ((opcode > 2 && opcode < 8) || opcode > 10 ||
        (opcode >= 8 && head[0] < 0x80)) {
        return WS_EPROTO;
    }
    if (count < 2) {
        return WS_AGAIN;
    }
    form = head[1] & 127;
    if (head[1] < 128 || (opcode >= 8 && form > 125)) {
        return WS_EPROTO;
    }
    extended = form == 126 ? 2 : form == 127 ? 8 : 0;
    frame->length = extended > 0 ? 0 : form;
    for (i = 0; i < extended; i++) {
        if (count < 3 + i) {
            return WS_AGAIN;
        }
        frame->length = frame->length << 8 | head[2 + i];
        if ((extended == 8 && i == 0 && head[2] >= 128) ||
            (extended == 8 && i == 5 && frame->length == 0) ||
            (extended == 2 && i == 1 && frame->length < 126)) {
            return WS_EPROTO;
        }
    }
    if (extended == 8 && frame->length < 65536) {
        return WS_EPROTO;
    }
    if (count < 2 + extended + 4) {
        return WS_AGAIN;
    }
    memcpy(frame->key, head + 2 + extended, 4);
    frame->fin = head[0] >= 128;
    frame->rsv1 = (head[0] & 0x40) != 0;
    frame->opcode = (uint8_t)opcode;
    *phead = 2 + extended + 4;
    return WS_OK;
}

static void check_head(const uint8_t *data, size_t length, bool may_rsv1)
{
    static const ws_frame_t untouched = {.length = 4711, .opcode = 99};
    size_t count;

    for (count = 0; count <= length && count <= 16; count++) {
        uint8_t *copy = fuzz_copy(data, count);
        ws_frame_t frame = untouched;
        ws_frame_t expected = untouched;
        size_t head = 4711;
        size_t expected_head = 4711;
        const char *why = NULL;
        ws_status_t status =
            ws_frame_parse(&frame, &head, &why, copy, count, may_rsv1);

        FUZZ_CHECK(status == reference_head(&expected, &expected_head, copy,
                                            count, may_rsv1));
        FUZZ_CHECK((status == WS_EPROTO) == (why != NULL));
        if (status == WS_OK) {
            FUZZ_CHECK(head == expected_head);
            FUZZ_CHECK(frame.length == expected.length);
            FUZZ_CHECK(frame.opcode == expected.opcode);
            FUZZ_CHECK(frame.fin == expected.fin);
            FUZZ_CHECK(frame.rsv1 == expected.rsv1);
            FUZZ_CHECK(memcmp(frame.key, expected.key, 4) == 0);
            FUZZ_CHECK(ws_frame_is_control(&frame) == (frame.opcode >= 8));
        }
        else {
            FUZZ_CHECK(frame.length == untouched.length);
            FUZZ_CHECK(head == 4711);
        }
        free(copy);
    }
}

/* What is written is read again. */
static void check_write(unsigned first, uint64_t length)
{
    uint8_t *head = fuzz_alloc(WS_FRAME_HEAD_SERVER_MAX);
    uint8_t masked[WS_FRAME_HEAD_MAX] = {0};
    size_t count = ws_frame_write_head(head, (uint8_t)first, length);
    ws_frame_t frame;
    size_t head_length;

    FUZZ_CHECK(count == 2 || count == 4 || count == 10);
    FUZZ_CHECK(head[0] == first && head[1] < 128);
    memcpy(masked, head, count);
    masked[0] = 0x82;
    masked[1] |= 128;
    FUZZ_CHECK(reference_head(&frame, &head_length, masked, count + 4,
                              false) == WS_OK);
    FUZZ_CHECK(head_length == count + 4);
    FUZZ_CHECK(frame.length == length);
    free(head);
}

static void check_close_code(unsigned code)
{
    static const unsigned registered[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                          1009, 1010, 1011, 1012, 1013, 1014};
    bool may = code / 1000 == 3 || code / 1000 == 4;
    size_t i;

    for (i = 0; i < sizeof(registered) / sizeof(registered[0]); i++) {
        may = may || code == registered[i];
    }
    FUZZ_CHECK(ws_close_code_valid(code) == may);
}

/* --- masks and UTF-8, in each way --- */

static void check_masks(const uint8_t *data, size_t length, uint32_t seed)
{
    const ws_mask_impl_t *impl;
    size_t skipped = seed % 9 < length ? seed % 9 : length;
    uint64_t offset = seed % 2 ? seed : UINT64_MAX - seed % 7;
    uint8_t key[4];
    size_t i;

    memcpy(key, &seed, sizeof(key));
    for (impl = ws_mask_impls;; impl++) {
        uint8_t *copy = fuzz_copy(data, length);

        if (impl->name == NULL) {
            ws_mask(copy + skipped, length - skipped, key, offset);
        }
        else if (impl->runs_here()) {
            impl->mask(copy + skipped, length - skipped, key, offset);
        }
        for (i = 0; i < length; i++) {
            uint8_t byte = data[i];

            if (i >= skipped && (impl->name == NULL || impl->runs_here())) {
                byte ^= key[(offset + (i - skipped)) % 4];
            }
            FUZZ_CHECK(copy[i] == byte);
        }
        free(copy);
        if (impl->name == NULL) {
            break;
        }
    }
}

static size_t check_utf8_piece(const ws_utf8_impl_t *impl, ws_utf8_t *state,
                               const uint8_t *data, size_t length)
{
    uint8_t *copy = fuzz_copy(data, length);
    size_t good = impl->name == NULL
                      ? ws_utf8_check(state, copy, length)
                      : ws_utf8_check_by(impl, state, copy, length);

    free(copy);
    return good;
}

static void check_utf8(const uint8_t *data, size_t length, uint32_t seed)
{
    const ws_utf8_impl_t *impl;
    size_t cut = length > 0 ? fuzz_random(&seed) % length : 0;
    bool is_complete = false;
    size_t expected = reference_utf8(data, length, &is_complete);

    for (impl = ws_utf8_impls;; impl++) {
        ws_utf8_t state = {0};
        size_t good;

        if (impl->name == NULL || impl->runs_here()) {
            good = check_utf8_piece(impl, &state, data, cut);
            if (good == cut) {
                good += check_utf8_piece(impl, &state, data + cut,
                                         length - cut);
            }
            FUZZ_CHECK(good == expected);
            FUZZ_CHECK(good < length ||
                       ws_utf8_complete(&state) == is_complete);
        }
        if (impl->name == NULL) {
            break;
        }
    }
}

static void fuzz_parts(fuzz_input_t *input, uint32_t seed)
{
    uint64_t length = 0;
    size_t i;

    check_head(input->data, input->left, false);
    check_head(input->data, input->left, true);
    for (i = 0; i < 8 && i < input->left; i++) {
        length = length << 8 | input->data[i];
    }
    check_write(seed & 255, length >> 1 >> seed % 63);
    for (i = 0; i + 1 < input->left && i < 64; i++) {
        check_close_code((unsigned)input->data[i] << 8 | input->data[i + 1]);
    }
    check_masks(input->data, input->left, seed);
    check_utf8(input->data, input->left, seed);
}

/* --- what is expected --- */

typedef struct {
    uint8_t opcode;
    size_t end;                      /* bytes of the wire that make it */
    size_t start, length;            /* of its data */
} event_t;

typedef struct {
    const ws_message_rules_t *rules;

    /* what comes out */
    fuzz_bytes_t events;             /* event_t */
    fuzz_bytes_t data;
    ws_status_t status;
    size_t proven;                   /* bytes of the wire that prove it */

    /* the frame being read */
    uint8_t head[WS_FRAME_HEAD_MAX];
    size_t head_length;
    ws_frame_t frame;
    bool in_payload;
    uint64_t offset;
    fuzz_bytes_t control;

    /* the message being read; opcode 0: none */
    unsigned opcode;
    bool is_compressed;
    unsigned fragments;
    fuzz_bytes_t payload;
    fuzz_bytes_t places;             /* size_t for each byte of it: bytes of
                                      * the wire, with this one */
    reference_inflater_t inflater;
} parser_t;

static size_t event_count(const parser_t *parser)
{
    return parser->events.length / sizeof(event_t);
}

static event_t event_at(const parser_t *parser, size_t index)
{
    event_t event;

    memcpy(&event, parser->events.data + index * sizeof(event), sizeof(event));
    return event;
}

static void add_event(parser_t *parser, unsigned opcode, size_t end,
                      const uint8_t *data, size_t length)
{
    event_t event = {(uint8_t)opcode, end, parser->data.length, length};

    fuzz_add(&parser->data, data, length);
    fuzz_add(&parser->events, &event, sizeof(event));
}

/* What was found wrong with a message's data may lie behind: nothing came
 * after it. */
static void fail(parser_t *parser, ws_status_t status, size_t proven)
{
    parser->status = status;
    parser->proven = proven;
    while (event_count(parser) > 0 &&
           event_at(parser, event_count(parser) - 1).end > proven) {
        parser->events.length -= sizeof(event_t);
    }
}

/* Where the wire was when so many bytes of payload were taken; those of the
 * tail come with the end. */
static size_t place_of(const parser_t *parser, size_t taken, size_t end)
{
    size_t place;

    if (taken * sizeof(place) > parser->places.length) {
        return end;
    }
    memcpy(&place, parser->places.data + (taken - 1) * sizeof(place),
           sizeof(place));
    return place;
}

static bool settle_plain(parser_t *parser, size_t at, bool has_ended)
{
    bool is_complete = false;
    size_t good;

    if (parser->opcode != WS_OP_TEXT) {
        return true;
    }
    good = reference_utf8(parser->payload.data, parser->payload.length,
                          &is_complete);
    if (good < parser->payload.length) {
        fail(parser, WS_EUTF8, place_of(parser, good + 1, at));
        return false;
    }
    if (has_ended && !is_complete) {
        fail(parser, WS_EUTF8, at);
        return false;
    }
    return true;
}

static bool settle_compressed(parser_t *parser, size_t at, bool has_ended)
{
    reference_inflater_t *inflater = &parser->inflater;
    size_t max = parser->rules->max_message;
    bool is_complete = true;
    reference_status_t status;
    size_t count, good;

    if (!parser->rules->takeover) {
        inflater->out.length = 0;
    }
    status = reference_inflate(inflater, parser->payload.data,
                               parser->payload.length, has_ended, max + 1);
    count = inflater->out.length - inflater->begin;
    good = count;
    if (parser->opcode == WS_OP_TEXT) {
        good = reference_utf8(reference_output(inflater), count, &is_complete);
    }
    if (good < count) {
        fail(parser, WS_EUTF8,
             place_of(parser, reference_taken(inflater, good), at));
        return false;
    }
    if (count == max + 1) {
        fail(parser, WS_ETOOBIG,
             place_of(parser, reference_taken(inflater, max), at));
        return false;
    }
    if (status == REFERENCE_BAD) {
        fail(parser, WS_EDATA,
             place_of(parser, (inflater->bit + 7) / 8, at));
        return false;
    }
    if (has_ended && !is_complete) {
        fail(parser, WS_EUTF8, at);
        return false;
    }
    return true;
}

/* Looks at the data of the message so far, if there is one: false if it is
 * wrong, and that is the first thing that is. */
static bool settle(parser_t *parser, size_t at, bool has_ended)
{
    if (parser->opcode == 0 || parser->payload.length == 0) {
        return true;
    }
    return parser->is_compressed ? settle_compressed(parser, at, has_ended)
                                 : settle_plain(parser, at, has_ended);
}

static void fail_frame(parser_t *parser, ws_status_t status, size_t at)
{
    if (settle(parser, at, false)) {
        fail(parser, status, at);
    }
}

static void end_message(parser_t *parser, size_t at)
{
    if (!settle(parser, at, true)) {
        return;
    }
    if (!parser->is_compressed) {
        add_event(parser, parser->opcode, at, parser->payload.data,
                  parser->payload.length);
    }
    else if (parser->payload.length == 0) {
        add_event(parser, parser->opcode, at, NULL, 0);
    }
    else {
        const reference_inflater_t *inflater = &parser->inflater;

        add_event(parser, parser->opcode, at, reference_output(inflater),
                  inflater->out.length - inflater->begin);
    }
    parser->opcode = 0;
    parser->payload.length = 0;
    parser->places.length = 0;
}

static void end_frame(parser_t *parser, size_t at)
{
    parser->in_payload = false;
    parser->head_length = 0;
    if (parser->frame.opcode >= 8) {
        add_event(parser, parser->frame.opcode, at, parser->control.data,
                  parser->control.length);
        parser->control.length = 0;
    }
    else if (parser->frame.fin) {
        end_message(parser, at);
    }
}

static void begin_frame(parser_t *parser, size_t at)
{
    const ws_message_rules_t *rules = parser->rules;
    bool begins = parser->frame.opcode != WS_OP_CONTINUATION;

    parser->in_payload = true;
    parser->offset = 0;
    if (parser->frame.opcode < 8) {
        if (begins == (parser->opcode != 0)) {
            fail_frame(parser, WS_EPROTO, at);
            return;
        }
        if (begins) {
            parser->opcode = parser->frame.opcode;
            parser->is_compressed = parser->frame.rsv1;
            parser->fragments = 0;
        }
        parser->fragments++;
        if (rules->max_fragments > 0 &&
            parser->fragments > rules->max_fragments) {
            fail_frame(parser, WS_EPOLICY, at);
            return;
        }
        if (!parser->is_compressed &&
            parser->frame.length >
                rules->max_message - parser->payload.length) {
            fail_frame(parser, WS_ETOOBIG, at);
            return;
        }
    }
    if (parser->frame.length == 0) {
        end_frame(parser, at);
    }
}

/* One byte more: the wire had `at` bytes, with this one. */
static void parse_byte(parser_t *parser, uint8_t byte, size_t at)
{
    size_t head;
    ws_status_t status;

    if (!parser->in_payload) {
        parser->head[parser->head_length++] = byte;
        status = reference_head(&parser->frame, &head, parser->head,
                                parser->head_length,
                                parser->rules->shared != NULL);
        if (status == WS_OK) {
            begin_frame(parser, at);
        }
        else if (status != WS_AGAIN) {
            fail_frame(parser, status, at);
        }
        return;
    }
    byte ^= parser->frame.key[parser->offset++ % 4];
    if (parser->frame.opcode >= 8) {
        fuzz_add_byte(&parser->control, byte);
    }
    else {
        fuzz_add_byte(&parser->payload, byte);
        fuzz_add(&parser->places, &at, sizeof(at));
    }
    if (parser->offset == parser->frame.length) {
        end_frame(parser, at);
    }
}

static void parse(parser_t *parser, const fuzz_bytes_t *wire)
{
    size_t at;

    parser->status = WS_AGAIN;
    for (at = 0; at < wire->length && parser->status == WS_AGAIN; at++) {
        parse_byte(parser, wire->data[at], at + 1);
    }
    if (parser->status == WS_AGAIN) {
        settle(parser, wire->length, false);
    }
}

static void parser_clear(parser_t *parser)
{
    fuzz_free(&parser->events);
    fuzz_free(&parser->data);
    fuzz_free(&parser->control);
    fuzz_free(&parser->payload);
    fuzz_free(&parser->places);
    reference_clear(&parser->inflater);
}

/* --- what is there --- */

typedef enum { WHOLE, BYTEWISE, CUT } way_t;

typedef struct {
    const parser_t *expected;
    const ws_message_rules_t *rules;
    ws_message_t message;
    ws_status_t status;
    size_t events;
    unsigned options;
    way_t way;
    /* where messages come in parts: the message so far; opcode 0: none */
    uint8_t opcode;
    fuzz_bytes_t parts;
} run_t;

static void check_event(const run_t *run, const ws_event_t *event, size_t end)
{
    const parser_t *expected = run->expected;
    event_t wanted;

    if (expected->inflater.is_far) {
        return;
    }
    FUZZ_CHECK(run->events < event_count(expected));
    wanted = event_at(expected, run->events);
    FUZZ_CHECK(event->opcode == wanted.opcode);
    FUZZ_CHECK(event->length == wanted.length);
    FUZZ_CHECK(event->length == 0 ||
               memcmp(event->data, expected->data.data + wanted.start,
                      event->length) == 0);
    FUZZ_CHECK(end == wanted.end);
}

/* What was read of the input, up to `at`, gave it. */
static void check_part(run_t *run, const ws_event_t *event,
                       const uint8_t *input, const uint8_t *at, size_t end)
{
    bool lies_there = event->data >= input && event->data < at;

    FUZZ_CHECK(event->opcode == WS_OP_TEXT || event->opcode == WS_OP_BINARY);
    FUZZ_CHECK(event->is_first == (run->opcode == 0));
    FUZZ_CHECK(event->is_first || event->opcode == run->opcode);
    FUZZ_CHECK(event->is_last || event->length > 0);
    FUZZ_CHECK(lies_there || event->length == 0 ||
               (run->rules->shared != NULL && event->length <= WS_PART_SIZE));
    run->opcode = event->opcode;
    fuzz_add(&run->parts, event->data, event->length);
    FUZZ_CHECK(run->parts.length <= run->rules->max_message);
    if (event->length > 0) {
        memset(event->data, 0xaa, event->length);   /* it is ours */
    }
    if (event->is_last) {
        const ws_event_t whole = {.opcode = event->opcode,
                                  .data = run->parts.data,
                                  .length = run->parts.length};

        check_event(run, &whole, end);
        run->events++;
        run->opcode = 0;
        run->parts.length = 0;
    }
}

static void check_any(run_t *run, const ws_event_t *event,
                      const uint8_t *input, const uint8_t *at, size_t end)
{
    if (run->rules->stream && event->opcode < WS_OP_CLOSE) {
        check_part(run, event, input, at, end);
        return;
    }
    FUZZ_CHECK(event->is_first && event->is_last);
    check_event(run, event, end);
    run->events++;
}

/* All that has come of a message that has not ended was handed out; or a part
 * of it, if something is wrong with it. */
static void check_open_message(const run_t *run)
{
    const parser_t *expected = run->expected;
    const reference_inflater_t *inflater = &expected->inflater;
    const uint8_t *data = expected->payload.data;
    size_t length = expected->payload.length;

    if (inflater->is_far) {
        return;
    }
    if (expected->is_compressed && length > 0) {
        data = reference_output(inflater);
        length = inflater->out.length - inflater->begin;
    }
    FUZZ_CHECK(run->status == WS_AGAIN ? run->parts.length == length
                                       : run->parts.length <= length);
    FUZZ_CHECK(run->parts.length == 0 ||
               memcmp(run->parts.data, data, run->parts.length) == 0);
}

/* start: bytes of the wire before this piece */
static void read_piece(run_t *run, const uint8_t *data, size_t length,
                       size_t start)
{
    uint8_t *piece = fuzz_copy(data, length);
    uint8_t *at = piece;
    size_t left = length;
    ws_event_t event;

    do {
        const uint8_t *from = at;
        size_t before = left;

        run->status = ws_message_read(&run->message, &event, &at, &left,
                                      run->rules);
        FUZZ_CHECK(at + left == from + before);
        if (run->status == WS_OK) {
            check_any(run, &event, from, at, start + length - left);
            if (run->options & RELEASE) {
                ws_message_release(&run->message);
            }
            if (run->rules->stream && run->way == CUT) {
                ws_message_release(&run->message);
                at = fuzz_copy(at, left);   /* as after a pause */
                free(piece);
                piece = at;
            }
        }
    } while (run->status == WS_OK);
    ws_message_release(&run->message);      /* before its bytes are gone */
    free(piece);
    if (run->status == WS_AGAIN) {
        FUZZ_CHECK(left == 0);
        return;
    }
    FUZZ_CHECK(run->message.why != NULL);
    if (!run->expected->inflater.is_far) {
        FUZZ_CHECK(run->status == run->expected->status);
        FUZZ_CHECK(run->expected->proven > start);
        FUZZ_CHECK(run->expected->proven <= start + length);
    }
}

/* Nothing is kept between two messages, but a context. */
static void check_idle(const run_t *run, const ws_budget_t *budget)
{
    const parser_t *expected = run->expected;

    if (run->status != WS_AGAIN || expected->inflater.is_far ||
        expected->head_length > 0 || expected->opcode != 0) {
        return;
    }
    FUZZ_CHECK(run->message.partial == NULL);
    FUZZ_CHECK(run->message.context == NULL || run->rules->takeover);
    FUZZ_CHECK(atomic_load(&budget->used) == 0);
}

static void run(const fuzz_bytes_t *wire, const parser_t *expected, way_t way,
                bool stream, unsigned options, uint32_t seed)
{
    ws_budget_t budget = {.limit = 0};
    ws_message_rules_t rules = *expected->rules;
    run_t run = {.expected = expected,
                 .rules = &rules,
                 .options = options,
                 .way = way};
    size_t at = 0;

    rules.stream = stream;
    run.status = WS_AGAIN;
    if (rules.shared != NULL) {
        rules.shared = ws_deflate_shared_create(&budget);
        FUZZ_CHECK(rules.shared != NULL);
    }
    ws_message_init(&run.message);
    while (at < wire->length && run.status == WS_AGAIN) {
        size_t length = way == WHOLE      ? wire->length
                        : way == BYTEWISE ? 1
                        : seed & 0x80000
                            ? 1 + fuzz_random(&seed) % wire->length
                            : 1 + fuzz_random(&seed) % 40;

        if (length > wire->length - at) {
            length = wire->length - at;
        }
        read_piece(&run, wire->data + at, length, at);
        at += length;
    }
    if (!expected->inflater.is_far) {
        FUZZ_CHECK(run.status == expected->status);
        FUZZ_CHECK(run.events == event_count(expected));
    }
    if (stream) {
        check_open_message(&run);
    }
    check_idle(&run, &budget);
    ws_message_clear(&run.message, &rules);
    FUZZ_CHECK(run.message.partial == NULL && run.message.context == NULL);
    FUZZ_CHECK(atomic_load(&budget.used) == 0);
    if (rules.shared != NULL) {
        ws_deflate_shared_destroy(rules.shared);
    }
    fuzz_free(&run.parts);
}

/* --- making frames --- */

typedef struct {
    fuzz_bytes_t wire;
    ws_deflate_shared_t *shared;
    ws_deflater_t *deflater;         /* NULL: the client keeps no context */
    unsigned bits;
} maker_t;

static void make_frame(maker_t *maker, unsigned first, unsigned how,
                       const uint8_t *payload, size_t length)
{
    uint64_t told = length + (how & WRONG_LENGTH ? 1 : 0);
    unsigned form = how & LENGTH_FORM;
    unsigned extended = form == 1 || (form != 2 && told > 125) ? 2
                        : form == 2                           ? 8
                                                              : 0;
    uint8_t key[4] = {0};
    size_t i;

    if (how & KEY) {
        memcpy(key, "\x5a\xc3\x0f\x81", 4);
    }
    if (extended == 2 && told > 65535) {
        extended = 8;
    }
    fuzz_add_byte(&maker->wire, first);
    fuzz_add_byte(&maker->wire, (form == 3 ? 0u : 128u) |
                                    (extended == 2   ? 126u
                                     : extended == 8 ? 127u
                                                     : (unsigned)told));
    for (i = extended; i > 0; i--) {
        fuzz_add_byte(&maker->wire, told >> 8 * (i - 1) & 255);
    }
    if (form != 3) {
        fuzz_add(&maker->wire, key, 4);
    }
    for (i = 0; i < length; i++) {
        fuzz_add_byte(&maker->wire, payload[i] ^ key[i % 4]);
    }
}

static void make_frames(maker_t *maker, unsigned first, unsigned how,
                        const uint8_t *payload, size_t length)
{
    size_t half = length / 2;

    if (!(how & SPLIT) || length == 0) {
        make_frame(maker, first, how, payload, length);
        return;
    }
    make_frame(maker, first & 0x7f, how, payload, half);
    if (how & PING_BETWEEN) {
        make_frame(maker, 0x89, how & KEY, payload, half % 126);
    }
    make_frame(maker, first & 0x80, how, payload + half, length - half);
}

static void make_next(maker_t *maker, fuzz_input_t *input)
{
    unsigned first = fuzz_byte(input);
    unsigned how = fuzz_byte(input);
    size_t length = fuzz_byte(input);
    const uint8_t *data = fuzz_take(input, &length);
    fuzz_bytes_t payload = {0};
    unsigned times = how & REPEAT ? REPEATED : 1;
    const uint8_t *out;
    size_t out_length;

    while (times-- > 0) {
        fuzz_add(&payload, data, length);
    }
    if (how & COMPRESS) {
        FUZZ_CHECK(ws_deflate_message(maker->shared, maker->deflater,
                                      maker->bits, 6, payload.data,
                                      payload.length, &out,
                                      &out_length) == WS_OK);
        make_frames(maker, first, how, out, out_length);
    }
    else {
        make_frames(maker, first, how, payload.data, payload.length);
    }
    fuzz_free(&payload);
}

static fuzz_bytes_t make_wire(fuzz_input_t *input, ws_deflate_shared_t *shared,
                              const ws_message_rules_t *rules)
{
    maker_t maker = {.shared = shared, .bits = rules->window_bits};

    if (rules->takeover) {
        maker.deflater = ws_deflater_create(maker.bits, 6);
        FUZZ_CHECK(maker.deflater != NULL);
    }
    while (input->left > 0) {
        make_next(&maker, input);
    }
    ws_deflater_destroy(maker.deflater);
    return maker.wire;
}

static void fuzz_messages(fuzz_input_t *input, unsigned options,
                          ws_message_rules_t *rules, uint32_t seed)
{
    ws_deflate_shared_t *shared = ws_deflate_shared_create(NULL);
    fuzz_bytes_t wire = {0};
    parser_t expected = {.rules = rules};
    int stream;

    FUZZ_CHECK(shared != NULL);
    rules->shared = options & DEFLATE ? shared : NULL;
    if (options & MADE) {
        wire = make_wire(input, shared, rules);
    }
    else {
        fuzz_add(&wire, input->data, input->left);
    }
    expected.inflater.window = (size_t)1 << rules->window_bits;
    parse(&expected, &wire);
    for (stream = 0; stream < 2; stream++) {
        run(&wire, &expected, WHOLE, stream, options, seed);
        run(&wire, &expected, CUT, stream, options, seed);
        if (wire.length <= BYTEWISE_MAX) {
            run(&wire, &expected, BYTEWISE, stream, options, seed);
        }
    }
    parser_clear(&expected);
    fuzz_free(&wire);
    ws_deflate_shared_destroy(shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t largest[] = {0,    1,    5,    125,   126,    200,
                                       512,  513,  1000, 1024,  5000,   65535,
                                       65536, 70000, 1 << 20};
    fuzz_input_t input = {data, size};
    unsigned options = fuzz_byte(&input);
    ws_message_rules_t rules = {
        .max_message = largest[fuzz_byte(&input) % 15],
        .max_fragments = fuzz_byte(&input) % 16,
        .window_bits = (uint8_t)(8 + (options >> 5)),
        .takeover = (options & TAKEOVER) != 0,
    };
    uint32_t seed = fuzz_byte(&input) * 0x1010101u;

    if (options & PARTS) {
        fuzz_parts(&input, seed);
        return 0;
    }
    fuzz_messages(&input, options, &rules, seed);
    return 0;
}
