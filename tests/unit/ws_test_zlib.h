/* ws_test_zlib: the other side of permessage-deflate, by zlib itself. The
 * judge inflates what a server sent as the poorest client may: it has a window
 * of just the size that was agreed on.
 * Lifetime: a z_stream belongs to the test, which ends it. */
#ifndef WS_TEST_ZLIB_H
#define WS_TEST_ZLIB_H

#include <zlib.h>

#include "ws_test.h"

#define WS_TEST_TAIL "\x00\x00\xff\xff"

/* --- a client that compresses --- */

WS_TEST_UNUSED static void ws_test_deflater_begin(z_stream *stream, int level,
                                                  int bits, int strategy)
{
    memset(stream, 0, sizeof(*stream));
    ck_assert_int_eq(deflateInit2(stream, level, Z_DEFLATED, -bits, 9,
                                  strategy),
                     Z_OK);
}

/* Adds what zlib makes of data. flush: zlib's. */
WS_TEST_UNUSED static void ws_test_deflate(ws_test_bytes_t *out,
                                           z_stream *stream, const void *data,
                                           size_t length, int flush)
{
    uint8_t piece[4096];

    stream->next_in = (Bytef *)(uintptr_t)data;
    stream->avail_in = (uInt)length;
    do {
        stream->next_out = piece;
        stream->avail_out = sizeof(piece);
        deflate(stream, flush);
        ws_test_add(out, piece, sizeof(piece) - stream->avail_out);
    } while (stream->avail_out == 0);
}

/* Adds a message's payload. The context goes on. */
WS_TEST_UNUSED static void ws_test_add_deflated(ws_test_bytes_t *out,
                                                z_stream *stream,
                                                const void *data, size_t length)
{
    ws_test_deflate(out, stream, data, length, Z_SYNC_FLUSH);
    ck_assert(out->length >= 4 &&
              memcmp(out->data + out->length - 4, WS_TEST_TAIL, 4) == 0);
    out->length -= 4;
}

/* The same, of a client without context. */
WS_TEST_UNUSED static void ws_test_add_deflated_alone(ws_test_bytes_t *out,
                                                      const void *data,
                                                      size_t length)
{
    z_stream stream;

    ws_test_deflater_begin(&stream, 6, 15, Z_DEFAULT_STRATEGY);
    ws_test_add_deflated(out, &stream, data, length);
    deflateEnd(&stream);
}

/* --- a client that inflates --- */

WS_TEST_UNUSED static void ws_test_judge_begin(z_stream *judge, int bits)
{
    memset(judge, 0, sizeof(*judge));
    ck_assert_int_eq(inflateInit2(judge, -bits), Z_OK);
}

/* A byte of output at a time: zlib would look back over its window into the
 * output of the same call. */
WS_TEST_UNUSED static bool ws_test_judge_bytes(z_stream *judge,
                                               ws_test_bytes_t *out,
                                               const void *data, size_t length)
{
    uint8_t byte;
    int result;

    judge->next_in = (Bytef *)(uintptr_t)data;
    judge->avail_in = (uInt)length;
    do {
        judge->next_out = &byte;
        judge->avail_out = 1;
        result = inflate(judge, Z_SYNC_FLUSH);
        if (result != Z_OK && result != Z_BUF_ERROR) {
            return false;
        }
        ws_test_add(out, &byte, 1 - judge->avail_out);
    } while (judge->avail_out == 0 || judge->avail_in > 0);
    return true;
}

/* Adds the message that a payload holds. false: it is not one, or it is one
 * for a larger window. */
WS_TEST_UNUSED static bool ws_test_judge(z_stream *judge, ws_test_bytes_t *out,
                                         const void *payload, size_t length)
{
    return ws_test_judge_bytes(judge, out, payload, length) &&
           inflateSyncPoint(judge) == 1 && /* just the tail is missing */
           ws_test_judge_bytes(judge, out, WS_TEST_TAIL, 4);
}

/* --- data --- */

enum {
    WS_TEST_ZEROS,
    WS_TEST_WORDS,
    WS_TEST_NOISE,
    WS_TEST_KINDS
};

/* All ASCII but for noise. */
WS_TEST_UNUSED static void ws_test_fill(uint8_t *data, size_t length, int kind,
                                        uint32_t seed)
{
    static const char *const words[] = {"the ",  "quick ", "brown ", "fox ",
                                        "jumps", " over ", "lazy ",  "dogs, "};
    const char *word = "";
    size_t i;

    for (i = 0; i < length; i++) {
        if (kind == WS_TEST_WORDS && *word == '\0') {
            word = words[ws_test_random(&seed) % 8];
        }
        data[i] = kind == WS_TEST_ZEROS   ? 0
                  : kind == WS_TEST_WORDS ? (uint8_t)*word++
                                          : (uint8_t)ws_test_random(&seed);
    }
}

#endif
