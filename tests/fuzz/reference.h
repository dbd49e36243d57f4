/* reference: UTF-8 (RFC 3629) and DEFLATE (RFC 1951) read slowly and simply,
 * to compare with. */
#ifndef WS_FUZZ_REFERENCE_H
#define WS_FUZZ_REFERENCE_H

#include "fuzz.h"

/* --- UTF-8 --- */

/* The index of the first byte with which no text can begin any more, or
 * length. *pcomplete: does the text end between two characters? */
FUZZ_UNUSED static size_t reference_utf8(const uint8_t *data, size_t length,
                                         bool *pcomplete)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    uint32_t value = 0;
    unsigned size = 0;               /* continuation bytes in all */
    unsigned needed = 0;
    size_t i;

    for (i = 0; i < length; i++) {
        uint8_t byte = data[i];
        uint32_t low, high;          /* what the character may become */

        if (needed > 0) {
            if (byte >> 6 != 2) {
                return i;
            }
            value = value << 6 | (byte & 0x3f);
            needed--;
        }
        else {
            size = byte < 0x80         ? 0
                   : byte >> 5 == 0x06 ? 1
                   : byte >> 4 == 0x0e ? 2
                   : byte >> 3 == 0x1e ? 3
                                       : 4;
            if (size == 4) {
                return i;
            }
            needed = size;
            value = size == 0 ? byte : byte & (0x3fu >> size);
        }
        low = value << 6 * needed;
        high = low + (1u << 6 * needed) - 1;
        if (high < smallest[size] || low > 0x10ffff ||
            (low >= 0xd800 && high <= 0xdfff)) {
            return i;
        }
    }
    *pcomplete = needed == 0;
    return length;
}

/* --- DEFLATE, one message after the other --- */

typedef enum {
    REFERENCE_END,                   /* the message is whole */
    REFERENCE_MORE,                  /* its data goes on behind the input */
    REFERENCE_BAD,
    REFERENCE_FULL                   /* more output than the limit */
} reference_status_t;

/* What a message was inflated to, and all that it may look back on. */
typedef struct {
    fuzz_bytes_t out;                /* since there is this context */
    size_t begin;                    /* of the message, in out */
    fuzz_bytes_t taken;              /* uint32_t for each byte of the message:
                                      * bytes of input that gave it */
    size_t window;                   /* bytes */
    bool is_far;                     /* it looked back over the window */

    const uint8_t *data;
    size_t length;
    bool has_tail;                   /* 00 00 ff ff follow: RFC 7692 7.2.2 */
    size_t bit;
    size_t limit;
    reference_status_t status;       /* END: so far so good */
} reference_inflater_t;

typedef struct {
    unsigned count[16];              /* codes of each length */
    unsigned symbols[320];
    unsigned longest;
} reference_code_t;

/* The next bits, the first one lowest. 0 when it fails. */
FUZZ_QUIET static unsigned reference_bits(reference_inflater_t *in,
                                          unsigned count)
{
    static const uint8_t tail[] = {0x00, 0x00, 0xff, 0xff};
    unsigned value = 0;
    unsigned i;

    for (i = 0; i < count; i++, in->bit++) {
        size_t at = in->bit / 8;
        unsigned byte;

        if (at >= in->length + (in->has_tail ? sizeof(tail) : 0)) {
            in->status = REFERENCE_MORE;
            return 0;
        }
        byte = at < in->length ? in->data[at] : tail[at - in->length];
        value |= (byte >> in->bit % 8 & 1) << i;
    }
    return value;
}

FUZZ_UNUSED static bool reference_fails(reference_inflater_t *in)
{
    if (in->status == REFERENCE_END) {
        in->status = REFERENCE_BAD;
    }
    return false;
}

FUZZ_QUIET static void reference_put(reference_inflater_t *in, unsigned byte)
{
    uint32_t taken = (uint32_t)((in->bit + 7) / 8);

    if (in->status != REFERENCE_END) {
        return;
    }
    if (taken > in->length) {        /* the tail is an empty block's */
        in->status = REFERENCE_BAD;
        return;
    }
    if (in->out.length - in->begin == in->limit) {
        in->status = REFERENCE_FULL;
        return;
    }
    fuzz_add_byte(&in->out, byte);
    fuzz_add(&in->taken, &taken, sizeof(taken));
}

/* RFC 1951 3.2.2. A code that is not used up is bad, but for one of a single
 * code of one bit, or of no code at all, where that is allowed. */
FUZZ_UNUSED static bool reference_make_code(reference_code_t *code,
                                            const unsigned *lengths,
                                            unsigned count, bool may_be_one)
{
    unsigned length, i;
    unsigned at = 0;
    long left = 1;

    memset(code, 0, sizeof(*code));
    for (length = 1; length < 16; length++) {
        left *= 2;
        for (i = 0; i < count; i++) {
            if (lengths[i] == length) {
                code->symbols[at++] = i;
                code->count[length]++;
                code->longest = length;
                left--;
            }
        }
        if (left < 0) {
            return false;
        }
    }
    return left == 0 || code->longest == 0 ||
           (may_be_one && code->longest == 1);
}

/* The next symbol; 1000 if it is none. */
FUZZ_QUIET static unsigned reference_symbol(reference_inflater_t *in,
                                            const reference_code_t *code)
{
    unsigned value = 0;
    unsigned first = 0;
    unsigned at = 0;
    unsigned length;

    for (length = 1; length < 16; length++) {
        value = value << 1 | reference_bits(in, 1);
        if (in->status != REFERENCE_END) {
            return 1000;
        }
        if (value - first < code->count[length]) {
            return code->symbols[at + value - first];
        }
        at += code->count[length];
        first = (first + code->count[length]) << 1;
        if (length >= code->longest) {
            break;
        }
    }
    return 1000;
}

FUZZ_UNUSED static bool reference_stored(reference_inflater_t *in)
{
    unsigned length, inverse;

    in->bit = (in->bit + 7) / 8 * 8;
    length = reference_bits(in, 16);
    inverse = reference_bits(in, 16);
    if (in->status != REFERENCE_END || (length ^ inverse) != 0xffff) {
        return reference_fails(in);
    }
    while (length-- > 0 && in->status == REFERENCE_END) {
        unsigned byte = reference_bits(in, 8);

        reference_put(in, byte);
    }
    return in->status == REFERENCE_END;
}

FUZZ_UNUSED static void reference_copy(reference_inflater_t *in,
                                       unsigned length, size_t distance)
{
    if (distance > in->out.length) {
        reference_fails(in);
        return;
    }
    in->is_far = in->is_far || distance > in->window;
    while (length-- > 0) {
        reference_put(in, in->out.data[in->out.length - distance]);
    }
}

/* 3.2.5: how many extra bits, and the smallest value. */
FUZZ_UNUSED static unsigned reference_length(reference_inflater_t *in,
                                             unsigned symbol)
{
    unsigned group = (symbol - 257) / 4;
    unsigned extra = symbol == 285 || group < 2 ? 0 : group - 1;
    unsigned value = reference_bits(in, extra);

    if (symbol == 285) {
        return 258;
    }
    if (group < 2) {
        return symbol - 257 + 3;
    }
    return 3 + ((4 + (symbol - 257) % 4) << extra) + value;
}

FUZZ_UNUSED static size_t reference_distance(reference_inflater_t *in,
                                             unsigned symbol)
{
    unsigned extra = symbol < 4 ? 0 : symbol / 2 - 1;
    unsigned value = reference_bits(in, extra);

    return symbol < 4 ? symbol + 1 : 1 + ((2 + symbol % 2) << extra) + value;
}

FUZZ_UNUSED static bool reference_codes(reference_inflater_t *in,
                                        const reference_code_t *literals,
                                        const reference_code_t *distances)
{
    for (;;) {
        unsigned symbol = reference_symbol(in, literals);
        unsigned length;
        size_t distance;

        if (symbol == 256) {
            return true;
        }
        if (symbol < 256) {
            reference_put(in, symbol);
        }
        else if (symbol > 285) {
            return reference_fails(in);
        }
        else {
            length = reference_length(in, symbol);
            symbol = in->status == REFERENCE_END
                         ? reference_symbol(in, distances)
                         : 1000;
            if (symbol > 29) {
                return reference_fails(in);
            }
            distance = reference_distance(in, symbol);
            if (in->status == REFERENCE_END) {
                reference_copy(in, length, distance);
            }
        }
        if (in->status != REFERENCE_END) {
            return false;
        }
    }
}

/* 3.2.6 */
FUZZ_UNUSED static bool reference_fixed(reference_inflater_t *in)
{
    static reference_code_t literals, distances;
    unsigned lengths[288];
    unsigned i;

    if (literals.longest == 0) {
        for (i = 0; i < 288; i++) {
            lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
        }
        reference_make_code(&literals, lengths, 288, false);
        for (i = 0; i < 32; i++) {
            lengths[i] = 5;
        }
        reference_make_code(&distances, lengths, 32, false);
    }
    return reference_codes(in, &literals, &distances);
}

/* 3.2.7: the lengths of the codes, themselves in a code. */
FUZZ_UNUSED static bool reference_read_lengths(reference_inflater_t *in,
                                               unsigned *lengths,
                                               unsigned wanted,
                                               unsigned code_count)
{
    static const uint8_t order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
    unsigned code_lengths[19] = {0};
    reference_code_t code;
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < code_count; i++) {
        code_lengths[order[i]] = reference_bits(in, 3);
    }
    if (in->status != REFERENCE_END ||
        !reference_make_code(&code, code_lengths, 19, false)) {
        return reference_fails(in);
    }
    while (count < wanted) {
        unsigned symbol = reference_symbol(in, &code);
        unsigned value = 0;
        unsigned times = 1;

        if (code.longest == 0 && symbol == 1000) {
            symbol = 0;              /* zlib tells of it at the end */
        }
        if (symbol < 16) {
            value = symbol;
        }
        else if (symbol == 16) {
            times = 3 + reference_bits(in, 2);
            value = count > 0 ? lengths[count - 1] : 99;
        }
        else {
            times = symbol == 17 ? 3 + reference_bits(in, 3)
                                 : 11 + reference_bits(in, 7);
        }
        if (in->status != REFERENCE_END || value == 99 || symbol > 18 ||
            times > wanted - count) {
            return reference_fails(in);
        }
        while (times-- > 0) {
            lengths[count++] = value;
        }
    }
    return true;
}

FUZZ_UNUSED static bool reference_dynamic(reference_inflater_t *in)
{
    reference_code_t literals, distances;
    unsigned lengths[320];
    unsigned header = reference_bits(in, 14);
    unsigned literal_count = 257 + (header & 31);
    unsigned distance_count = 1 + (header >> 5 & 31);

    if (in->status != REFERENCE_END || literal_count > 286 ||
        distance_count > 30 ||
        !reference_read_lengths(in, lengths, literal_count + distance_count,
                                4 + (header >> 10)) ||
        lengths[256] == 0 ||
        !reference_make_code(&literals, lengths, literal_count, true) ||
        !reference_make_code(&distances, lengths + literal_count,
                             distance_count, true)) {
        return reference_fails(in);
    }
    return reference_codes(in, &literals, &distances);
}

FUZZ_UNUSED static bool reference_block(reference_inflater_t *in, unsigned type)
{
    switch (type) {
    case 0:
        return reference_stored(in);
    case 1:
        return reference_fixed(in);
    case 2:
        return reference_dynamic(in);
    default:
        return reference_fails(in);
    }
}

/* Inflates the payload of one message, as far as it is there; has_ended: it
 * is all there. Output behind that of the messages before; at most limit
 * bytes of it. Returns the status; the input taken until then is
 * (in->bit + 7) / 8, which counts the tail, too. */
FUZZ_UNUSED static reference_status_t
reference_inflate(reference_inflater_t *in, const uint8_t *data, size_t length,
                  bool has_ended, size_t limit)
{
    in->begin = in->out.length;
    in->taken.length = 0;
    in->data = data;
    in->length = length;
    in->has_tail = has_ended;
    in->bit = 0;
    in->limit = limit;
    in->status = REFERENCE_END;
    for (;;) {
        unsigned head;

        if (has_ended && in->bit == 8 * (length + 4)) {
            return REFERENCE_END;
        }
        head = reference_bits(in, 3);
        if (in->status != REFERENCE_END || !reference_block(in, head >> 1)) {
            break;
        }
        if ((head & 1) && in->bit != 8 * (length + 4)) {
            in->bit = (in->bit + 7) / 8 * 8;        /* a last block */
            if (has_ended && in->bit == 8 * (length + 4)) {
                in->status = REFERENCE_BAD;
                break;
            }
        }
    }
    if (has_ended && in->status == REFERENCE_MORE) {
        in->status = REFERENCE_BAD;
    }
    return in->status;
}

/* The output of the message; NULL if it is empty. */
FUZZ_UNUSED static const uint8_t *
reference_output(const reference_inflater_t *in)
{
    return in->out.length > in->begin ? in->out.data + in->begin : NULL;
}

/* Bytes of input that were taken when that byte of the message was there. */
FUZZ_UNUSED static size_t reference_taken(const reference_inflater_t *in,
                                          size_t index)
{
    uint32_t taken;

    memcpy(&taken, in->taken.data + index * sizeof(taken), sizeof(taken));
    return taken;
}

FUZZ_UNUSED static void reference_clear(reference_inflater_t *in)
{
    fuzz_free(&in->out);
    fuzz_free(&in->taken);
}

#endif
