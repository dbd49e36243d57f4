#include "ws_deflate.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* What zlib says that it needs (zconf.h), and its structs. */
#define INFLATE_STATE (8 * 1024)
#define DEFLATE_STATE (6 * 1024)

#define TAIL_LENGTH 4                /* RFC 7692 7.2.1: 00 00 ff ff */
#define OUT_KEPT (256 * 1024)        /* bytes of output kept for the next */
#define FLUSH_ROOM 16                /* more than zlib needs for a flush */

/* zlib's raw deflate refuses a window of 256 bytes. With one of 512 it never
 * looks back over 512 - 262 = 250 bytes, as it keeps its look-ahead (zlib's
 * MIN_LOOKAHEAD) out of the window: that fits 256. */
#define ZLIB_BITS_MIN 9

struct ws_inflater {
    z_stream stream;
    uint8_t bits;
};

struct ws_deflater {
    z_stream stream;
    int level;
    bool is_stale;                   /* to be reset before it is used */
};

struct ws_deflate_shared {
    ws_budget_t *budget;
    ws_inflater_t *spare;            /* of the last message */
    ws_deflater_t *deflaters[WS_WINDOW_BITS_MAX + 1];   /* by bits */
    uint8_t *out;
    size_t out_size;
    uint8_t *part;                   /* not out: a part may be sent on */
};

/* --- memory --- */

static unsigned zlib_bits(unsigned bits)
{
    return bits < ZLIB_BITS_MIN ? ZLIB_BITS_MIN : bits;
}

/* Hash tables and buffers as large as the window. 1 to 9 for zlib. */
static int memory_level(unsigned bits)
{
    return (int)zlib_bits(bits) - 7;
}

static size_t inflater_cost(unsigned bits)
{
    return ((size_t)1 << bits) + INFLATE_STATE;
}

static size_t deflater_cost(unsigned bits)
{
    return ((size_t)1 << (zlib_bits(bits) + 2)) +
           ((size_t)1 << (memory_level(bits) + 9)) + DEFLATE_STATE;
}

size_t ws_deflate_cost(const ws_deflate_params_t *params)
{
    size_t cost = 0;

    if (params->client_takeover) {
        cost += inflater_cost(params->client_bits);
    }
    if (params->server_takeover) {
        cost += deflater_cost(params->server_bits);
    }
    return cost;
}

/* --- what a thread's connections share --- */

ws_deflate_shared_t *ws_deflate_shared_create(ws_budget_t *budget)
{
    ws_deflate_shared_t *shared = calloc(1, sizeof(*shared));

    if (shared != NULL) {
        shared->budget = budget;
    }
    return shared;
}

void ws_deflate_shared_destroy(ws_deflate_shared_t *shared)
{
    unsigned bits;

    for (bits = 0; bits <= WS_WINDOW_BITS_MAX; bits++) {
        ws_deflater_destroy(shared->deflaters[bits]);
    }
    ws_inflater_destroy(shared->spare);
    free(shared->out);
    free(shared->part);
    free(shared);
}

/* --- inflating --- */

ws_inflater_t *ws_inflater_create(unsigned bits)
{
    ws_inflater_t *inflater = calloc(1, sizeof(*inflater));

    if (inflater == NULL) {
        return NULL;
    }
    inflater->bits = (uint8_t)bits;
    if (inflateInit2(&inflater->stream, -(int)bits) != Z_OK) {
        free(inflater);
        return NULL;
    }
    return inflater;
}

void ws_inflater_destroy(ws_inflater_t *inflater)
{
    if (inflater != NULL) {
        inflateEnd(&inflater->stream);
        free(inflater);
    }
}

static ws_inflater_t *take_spare(ws_deflate_shared_t *shared, unsigned bits)
{
    ws_inflater_t *inflater = shared->spare;

    shared->spare = NULL;
    inflateReset2(&inflater->stream, -(int)bits);
    inflater->bits = (uint8_t)bits;
    return inflater;
}

ws_inflater_t *ws_inflater_take(ws_deflate_shared_t *shared, unsigned bits)
{
    ws_inflater_t *inflater = shared->spare != NULL
                                  ? take_spare(shared, bits)
                                  : ws_inflater_create(bits);

    if (inflater != NULL && shared->budget != NULL) {
        ws_budget_charge(shared->budget, inflater_cost(bits));
    }
    return inflater;
}

void ws_inflater_give(ws_deflate_shared_t *shared, ws_inflater_t *inflater)
{
    if (shared->budget != NULL) {
        ws_budget_release(shared->budget, inflater_cost(inflater->bits));
    }
    if (shared->spare == NULL) {
        shared->spare = inflater;
    }
    else {
        ws_inflater_destroy(inflater);
    }
}

static ws_status_t status_of(int result)
{
    switch (result) {
    case Z_OK:
    case Z_BUF_ERROR:                       /* no progress: not an error */
    case Z_STREAM_END:
        return WS_OK;
    case Z_MEM_ERROR:
        return WS_ENOMEM;
    default:
        return WS_EDATA;
    }
}

/* One call of inflate(), which may take and give less than it could. */
static ws_status_t inflate_some(ws_inflater_t *inflater, int flush,
                                const uint8_t **pdata, size_t *plength,
                                uint8_t *out, size_t size, size_t *pcount)
{
    z_stream *stream = &inflater->stream;
    size_t room = size - *pcount;
    uInt in = *plength < UINT_MAX ? (uInt)*plength : UINT_MAX;
    int result;

    stream->next_in = (Bytef *)(uintptr_t)*pdata;
    stream->avail_in = in;
    stream->next_out = out + *pcount;
    stream->avail_out = room < UINT_MAX ? (uInt)room : UINT_MAX;
    result = inflate(stream, flush);
    *pdata += in - stream->avail_in;
    *plength -= in - stream->avail_in;
    *pcount = (size_t)(stream->next_out - out);
    if (result == Z_STREAM_END) {
        /* A last block is not the last of the message (RFC 7692 7.2.3.4).
         * What follows may look back over it: the window stays. */
        result = inflateResetKeep(stream);
    }
    return status_of(result);
}

ws_status_t ws_inflater_run(ws_inflater_t *inflater, const uint8_t **pdata,
                            size_t *plength, uint8_t *out, size_t size,
                            size_t *pcount)
{
    ws_status_t status;

    do {                                    /* zlib may hold output */
        status = inflate_some(inflater, Z_SYNC_FLUSH, pdata, plength, out,
                              size, pcount);
    } while (status == WS_OK && *plength > 0 && *pcount < size);
    if (status == WS_OK && *pcount == size) {
        return WS_AGAIN;
    }
    return status;
}

/* No output waits any more, and the tail ends a block that is empty. So it gets
 * no room: what would need some was cut short. */
ws_status_t ws_inflater_end(ws_inflater_t *inflater)
{
    static const uint8_t tail[TAIL_LENGTH] = {0x00, 0x00, 0xff, 0xff};
    const uint8_t *at = tail;
    size_t left = TAIL_LENGTH;
    size_t count = 0;
    uint8_t none;
    ws_status_t status;

    status = inflate_some(inflater, Z_BLOCK, &at, &left, &none, 0, &count);
    if (status != WS_OK) {
        return status;
    }
    /* zlib's data_type: 128 at the end of a block, and the bits that are left
     * of the last byte: the message must end with the block of the tail. */
    return left == 0 && (inflater->stream.data_type & (128 | 63)) == 128
               ? WS_OK
               : WS_EDATA;
}

uint8_t *ws_deflate_part(ws_deflate_shared_t *shared)
{
    if (shared->part == NULL) {
        shared->part = malloc(WS_PART_SIZE);
    }
    return shared->part;
}

/* --- deflating --- */

ws_deflater_t *ws_deflater_create(unsigned bits, int level)
{
    ws_deflater_t *deflater = calloc(1, sizeof(*deflater));

    if (deflater == NULL) {
        return NULL;
    }
    deflater->level = level;
    if (deflateInit2(&deflater->stream, level, Z_DEFLATED,
                     -(int)zlib_bits(bits), memory_level(bits),
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(deflater);
        return NULL;
    }
    return deflater;
}

void ws_deflater_destroy(ws_deflater_t *deflater)
{
    if (deflater != NULL) {
        deflateEnd(&deflater->stream);
        free(deflater);
    }
}

void ws_deflater_reset(ws_deflater_t *deflater)
{
    deflater->is_stale = true;
}

/* The thread's own for this window, without context, at this level. */
static ws_deflater_t *take_deflater(ws_deflate_shared_t *shared, unsigned bits,
                                    int level)
{
    ws_deflater_t **at = &shared->deflaters[zlib_bits(bits)];

    if (*at == NULL) {
        *at = ws_deflater_create(bits, level);
    }
    else {
        deflateReset(&(*at)->stream);
        if ((*at)->level != level) {        /* it holds no input: only set */
            deflateParams(&(*at)->stream, level, Z_DEFAULT_STRATEGY);
            (*at)->level = level;
        }
    }
    return *at;
}

/* Room for size bytes of output, of which length are there. A buffer that one
 * large message needed is not kept for ever. */
static bool make_room(ws_deflate_shared_t *shared, size_t size, size_t length)
{
    uint8_t *grown;

    if (shared->out_size >= size &&
        (shared->out_size <= OUT_KEPT || size > OUT_KEPT)) {
        return true;
    }
    size = size < OUT_KEPT ? OUT_KEPT : size;
    if (length == 0) {
        free(shared->out);
        shared->out = NULL;
        shared->out_size = 0;
    }
    grown = realloc(shared->out, size);
    if (grown == NULL) {
        return false;
    }
    shared->out = grown;
    shared->out_size = size;
    return true;
}

/* All of the stream's input, and an empty block that ends at a byte. */
static bool deflate_all(ws_deflate_shared_t *shared, z_stream *stream,
                        size_t *plength)
{
    size_t length = 0;
    size_t room;

    if (!make_room(shared,
                   deflateBound(stream, stream->avail_in) + FLUSH_ROOM,
                   0)) {
        return false;
    }
    do {
        if (length == shared->out_size &&
            !make_room(shared, shared->out_size * 2, length)) {
            return false;
        }
        room = shared->out_size - length;
        stream->next_out = shared->out + length;
        stream->avail_out = room < UINT_MAX ? (uInt)room : UINT_MAX;
        deflate(stream, Z_SYNC_FLUSH);
        length = (size_t)(stream->next_out - shared->out);
    } while (stream->avail_out == 0);
    *plength = length;
    return length > TAIL_LENGTH;            /* else zlib has failed */
}

ws_status_t ws_deflate_message(ws_deflate_shared_t *shared,
                               ws_deflater_t *deflater, unsigned bits,
                               int level, const void *data, size_t length,
                               const uint8_t **pout, size_t *pout_length)
{
    static const uint8_t empty[] = {0x00};  /* 7.2.3.6; zlib may not flush */

    if (length == 0) {
        *pout = empty;
        *pout_length = sizeof(empty);
        return WS_OK;
    }
    if (deflater == NULL) {
        deflater = take_deflater(shared, bits, level);
    }
    else if (deflater->is_stale) {
        deflateReset(&deflater->stream);
        deflater->is_stale = false;
    }
    if (deflater == NULL) {
        return WS_ENOMEM;
    }
    deflater->stream.next_in = (Bytef *)(uintptr_t)data;
    deflater->stream.avail_in = (uInt)length;
    if (!deflate_all(shared, &deflater->stream, pout_length)) {
        deflater->is_stale = true;
        deflater->stream.avail_in = 0;      /* data is the caller's */
        return WS_ENOMEM;
    }
    *pout = shared->out;
    *pout_length -= TAIL_LENGTH;            /* the tail: 7.2.1 */
    return WS_OK;
}
